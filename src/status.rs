//! status: what a site has, since when, and what waits there for a person. Reads the ledger without its lock; changes
//! nothing, and asks nobody but the disk.

mod exporter;
mod importer;
mod settle;

use std::collections::{BTreeMap, BTreeSet};

use crate::clock;
use crate::code::{Code, Severity};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::findings::silence::WaitedFor;
use crate::journal;
use crate::ledger::View;
use crate::ledger::noted::JournalEnd;
use crate::report::{
    AsideStatus, ConnectorStatus, Finding, Signer, StatusReport, StatusView, StreamStatus, When, when,
};
use crate::site::Site;
use crate::stream::StreamId;
use crate::text::{count, harmless};

use settle::ToSettle;

/// How long after a run found another journal than its ledger knew that is shown here, in seconds; `audit` shows it for good.
const JOURNAL_ALARM: i64 = 7 * 86_400;

/// What is asked of a site.
#[derive(Debug, Default)]
pub struct StatusQuery<'a> {
    /// The names of signers, by the fingerprints of their keys.
    pub names: BTreeMap<Digest, String>,
    /// What is waited for.
    pub expected: WaitedFor,
    /// One stream, by the beginning of its UUID, or one connector, by its id or name.
    pub about: Option<&'a str>,
    /// Whether everything is shown.
    pub all: bool,
    /// Whether arrival codes are shown: only then keys of pairings are read.
    pub arrivals: bool,
    /// The time now, in seconds since 1970.
    pub now: i64,
}

impl StatusQuery<'_> {
    fn signer(&self, key: Digest) -> Signer {
        Signer { who: self.names.get(&key).cloned(), key }
    }
}

/// What `status` shows of a site.
///
/// # Errors
/// SQLite refused; nothing has the name that is asked for.
pub fn status(site: &Site, ledger: &View, query: &StatusQuery<'_>) -> Result<StatusReport> {
    let view = if query.all { StatusView::All } else { StatusView::Screen };
    let root = site.root().display().to_string();
    let role = ledger.role().word();
    let mut status = StatusReport { role, site: root, view, now: query.now, ..StatusReport::default() };
    let mut settle = ToSettle::new(role);
    let (known, changed) = match ledger {
        View::Exporter(ledger) => {
            exporter::gather(site, ledger, query, &mut status, &mut settle)?;
            (ledger.journal_end()?, ledger.journal_changed()?)
        }
        View::Importer(ledger) => {
            importer::gather(site, ledger, query, &mut status, &mut settle)?;
            (ledger.journal_end()?, ledger.journal_changed()?)
        }
    };
    changed_journal(site, known, changed, query.now, &mut settle);
    if let Some(about) = query.about {
        narrow(&mut status, &mut settle, about)?;
    }
    aside_to_settle(&status, &mut settle);
    (status.to_settle, status.lines) = settle.sorted();
    Ok(status)
}

/// Whether the journal is another one than the ledger knows, now or as a run found of late. What cannot be read says
/// nothing here.
fn changed_journal(site: &Site, known: Option<JournalEnd>, changed: Option<String>, now: i64, settle: &mut ToSettle) {
    let is_there =
        known.as_ref().and_then(|end| journal::still_has(site, end.lines, &end.last).ok().flatten()).unwrap_or(true);
    let found = changed.and_then(|at| clock::seconds(&at)).filter(|at| now.saturating_sub(*at) < JOURNAL_ALARM);
    let finding = |what| Finding::new(Code::JournalChanged, what).weighing(Severity::Note).advise("airpouch audit");
    match (is_there, found) {
        (false, _) => {
            settle.push(
                1,
                finding("the journal is not the one that the ledger knows: it was changed, cut off or replaced"),
            );
        }
        (true, Some(at)) => {
            let what = "a run found another journal than its ledger knew";
            settle.push_since(1, finding(what), when(Some(at), now));
        }
        (true, None) => {}
    }
}

/// Leaves only what is asked for.
fn narrow(status: &mut StatusReport, settle: &mut ToSettle, about: &str) -> Result<()> {
    let is_named = |(id, of): (&String, &ConnectorStatus)| id == about || of.name == about;
    let ids: BTreeSet<String> = status
        .streams
        .iter()
        .flat_map(|stream| stream.connectors.iter().filter(|c| is_named(*c)).map(|(id, _)| id.clone()))
        .collect();
    if ids.is_empty() {
        let beginning = about.to_ascii_lowercase();
        status.streams.retain(|stream| stream.stream.to_string().starts_with(&beginning));
        status.view = StatusView::Streams;
    } else {
        for stream in &mut status.streams {
            stream.connectors.retain(|id, _| ids.contains(id));
        }
        status.streams.retain(|stream| !stream.connectors.is_empty());
        status.set_aside.retain(|aside| ids.contains(&aside.connector));
        status.view = StatusView::Connectors;
    }
    if status.streams.is_empty() {
        let what =
            format!("no stream begins with {about:?}, and no connector has that id or name", about = harmless(about));
        return Err(Error::usage(what).advise("see what there is: airpouch status --all"));
    }
    let left: BTreeSet<StreamId> = status.streams.iter().map(|stream| stream.stream).collect();
    status.set_aside.retain(|aside| left.contains(&aside.stream));
    settle.retain(|finding| finding.stream.is_some_and(|stream| left.contains(&stream)));
    Ok(())
}

/// What is set aside, of the streams and connectors that are shown.
fn aside_to_settle(status: &StatusReport, settle: &mut ToSettle) {
    for (code, what, advice) in [
        (Code::Applicant, "waiting for an applicant that is not mapped", "airpouch applicants"),
        (Code::Held, "held", "airpouch quarantine list, which says for each what lets it go"),
        (Code::Quarantined, "quarantined", "airpouch quarantine list"),
    ] {
        let of = |aside: &AsideStatus| match (aside.kind, aside.code) {
            ("held", Code::Applicant) => Code::Applicant,
            ("held", _) => Code::Held,
            _ => Code::Quarantined,
        };
        let such: Vec<&AsideStatus> = status.set_aside.iter().filter(|aside| of(aside) == code).collect();
        let Some(oldest) = such.iter().map(|aside| aside.oldest).reduce(When::earlier) else { continue };
        let number = such.iter().map(|aside| aside.envelopes).sum();
        let finding = Finding::new(code, format!("{} {what}", count(number, "envelope"))).advise(advice);
        let since = format!("the oldest taken {}", when(oldest.at, status.now));
        settle.push_since(number, finding.weighing(Severity::Note), since);
    }
}

/// How often a state occurs and which batches have it, while they are counted.
#[derive(Debug, Default)]
struct States(BTreeMap<&'static str, Vec<u64>>);

impl States {
    fn count(&mut self, word: &'static str, sequence: u64) {
        self.0.entry(word).or_default().push(sequence);
    }

    fn write(self, stream: &mut StreamStatus) {
        for (word, sequences) in self.0 {
            stream.batches.insert(word, sequences.len() as u64);
            stream.numbers.insert(word, sequences.into_iter().collect());
        }
    }
}
