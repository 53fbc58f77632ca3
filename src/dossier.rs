//! dossier: what the journal of a site has of some batches, for pages that a person signs. It reads the journal alone, and
//! so tells of batches whose files are gone.

mod collect;

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::clock::TimeSpan;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::journal;
use crate::report::{AuditReport, DossierReport, JournalPoint, JournalState, Logged, ReviewReport};
use crate::site::{Role, Site};

use collect::Collected;

/// Which batches are asked for; what is empty excludes none.
#[derive(Debug, Clone, Default)]
pub struct AskedBatches {
    /// Of a stream whose UUID begins so.
    pub stream: Option<String>,
    /// With one of these numbers.
    pub numbers: Option<RangeInclusive<u64>>,
    /// With which something was done in this time.
    pub time: TimeSpan,
}

/// The site, whose journal was audited just now, and when that was.
#[derive(Debug)]
pub struct Audited<'a> {
    /// The site.
    pub site: &'a Site,
    /// Where it lies, from the root on.
    pub place: String,
    /// Its side.
    pub role: Role,
    /// What `audit` found.
    pub audit: AuditReport,
    /// When, by the clock of this machine.
    pub at: String,
}

/// Everything that the journal has of the batches that are asked for.
///
/// # Errors
/// There is no journal, or no such batch in it; the system refused.
pub fn record(audited: Audited<'_>, asked: &AskedBatches) -> Result<DossierReport> {
    let mut collected = Collected::new(asked.clone(), asked.time.clone(), false);
    let end = read(audited.site, audited.audit.lines, |event, _| collected.take(event))?;
    let (batches, others) = collected.ended();
    if batches.is_empty() && others.is_empty() && (asked.numbers.is_some() || asked.stream.is_some()) {
        return Err(Error::usage(format!("the journal has nothing of {}", asked.words()))
            .advise("see which batches there are: airpouch log"));
    }
    Ok(DossierReport { batches, others, ..report_of(audited, asked.words(), end) })
}

/// What was done in a month, such as `2026-11`.
///
/// # Errors
/// There is no journal; the system refused.
pub fn review(audited: Audited<'_>, month: &str) -> Result<ReviewReport> {
    let span = TimeSpan { since: Some(month.to_owned()), until: Some(month.to_owned()) };
    let mut collected = Collected::new(AskedBatches::default(), span.clone(), true);
    let (mut begin, mut end, mut has_begun) = (JournalPoint::default(), JournalPoint::default(), false);
    let last = read(audited.site, audited.audit.lines, |event, point| {
        has_begun |= span.has(event.of("at"));
        if !has_begun && event.of("at") < month {
            begin = point.clone();
        }
        if event.of("at") < month || span.has(event.of("at")) {
            end = point;
        }
        collected.take(event);
    })?;
    let (batches, others) = collected.ended();
    let is_over = audited.at.as_str() > month && !audited.at.starts_with(month);
    let record = DossierReport { batches, others, ..report_of(audited, format!("the month {month}"), last) };
    Ok(ReviewReport::of(month, is_over, begin, end, record))
}

fn report_of(audited: Audited<'_>, asked: String, end: JournalPoint) -> DossierReport {
    let Audited { place, role, audit, at, .. } = audited;
    DossierReport {
        site: place,
        side: role.word(),
        asked,
        made: at,
        journal: JournalState {
            holds: audit.findings.is_empty(),
            lines: audit.lines,
            sha256: end.sha256,
            signed: audit.signed,
            code: audit.code,
            first: audit.first,
            last: audit.last,
        },
        findings: audit.findings,
        ..DossierReport::default()
    }
}

/// Hands over the events of the lines that were audited, each with where the journal ended then. A line that is none is
/// passed over: `audit` has found it.
fn read(site: &Site, lines: u64, mut take: impl FnMut(Logged, JournalPoint)) -> Result<JournalPoint> {
    let mut journal = journal::read(site)?;
    let mut end = JournalPoint::default();
    while end.lines < lines
        && let Some(line) = journal.next_line()?
    {
        // Cut off, or too long: `audit` does not count it either.
        if line.last() != Some(&b'\n') {
            continue;
        }
        end = JournalPoint { lines: end.lines + 1, sha256: Some(Digest::of(line).to_string()) };
        if let Ok(event @ Value::Object(_)) = serde_json::from_slice(line) {
            take(Logged(event), end.clone());
        }
    }
    Ok(end)
}

impl AskedBatches {
    /// What is asked for, in words.
    pub fn words(&self) -> String {
        let numbers = match &self.numbers {
            None => "all batches".to_owned(),
            Some(numbers) if numbers.start() == numbers.end() => format!("batch {}", numbers.start()),
            Some(numbers) => format!("batches {} to {}", numbers.start(), numbers.end()),
        };
        let part = |word: &str, text: &Option<String>| text.as_ref().map(|text| format!(" {word} {text}"));
        let parts = [part("of stream", &self.stream), part("since", &self.time.since), part("until", &self.time.until)];
        parts.into_iter().flatten().fold(numbers, |words, part| words + &part)
    }
}
