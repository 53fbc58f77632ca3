use std::path::PathBuf;

use airpouch::audit::{AskedAudit, audit};
use airpouch::clock;
use airpouch::deed::Deed;
use airpouch::dossier::{Audited, review};
use airpouch::error::{Error, Result};
use airpouch::ledger::look;
use airpouch::ledger::noted::Notes;
use airpouch::report::{ExitStatus, ReviewReport};
use airpouch::site::{Role, Site};
use airpouch::text::harmless;

use super::output::Output;
use super::{record, record_page, settings};

/// Show what was done in a month, for the person who goes through it, and note that it was done
///
/// Shows each transfer of the month with who did it and by which ticket, what was held, quarantined, released and accepted,
/// the numbers by connector, whether the journal holds, and where it ended before the month and at its end. The review is
/// itself an event of the journal.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch review --month 2026-11 --operator \"A. Officer\"\n  airpouch review --month 2026-11 --html 2026-11.html   to print and sign"
)]
pub struct Args {
    /// The month (UTC), such as 2026-11
    #[arg(long, value_name = "MONTH")]
    month: String,
    /// The site, of either side
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Write a page to print and sign into this new file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    record: record::Args,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    let month = month(&args.month)?;
    args.html.as_deref().map(record_page::is_free).transpose()?;
    let role = look(&site)?.role();
    output.is_at(role);
    let mut report = ReviewReport::default();
    let ended = record::noting(&site, role, &args.record, output, |notes| {
        report = of_month(args, &site, role, &month)?;
        note(&report, notes)
    })?;
    if report.month.is_empty() {
        return ended.map(|()| ExitStatus::Done);
    }
    if let Some(path) = &args.html {
        output.note(&format!("wrote {}", path.display()));
    }
    Ok(output.show_ended(&report, ended))
}

/// The review; its page is written before it is noted that there was one.
fn of_month(args: &Args, site: &Site, role: Role, month: &str) -> Result<ReviewReport> {
    let audited = Audited {
        site,
        place: record_page::place(site),
        role,
        audit: audit(site, &AskedAudit::default())?,
        at: clock::utc_now(),
    };
    let report = review(audited, month)?;
    if let Some(path) = &args.html {
        record_page::write(path, &report.html())?;
    }
    Ok(report)
}

fn note(report: &ReviewReport, notes: &Notes<'_>) -> Result<()> {
    let journal = &report.record.journal;
    notes.add(&Deed::Reviewed {
        month: report.month.clone(),
        lines: journal.lines,
        last: journal.sha256.clone().unwrap_or_default(),
        holds: journal.holds,
    })
}

/// A month that has begun.
fn month(text: &str) -> Result<String> {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is_month = bytes.len() == 7 && bytes[4] == b'-' && [0, 1, 2, 3, 5, 6].into_iter().all(is_digit);
    if !is_month || !(b"01"..=b"12").contains(&bytes[5..].try_into().unwrap_or(b"00")) {
        return Err(Error::usage(format!("invalid month {:?}", harmless(text)))
            .advise("write a year and a month, such as 2025-01"));
    }
    if text > &clock::utc_now()[..7] {
        return Err(Error::usage(format!("the month {text} has not begun, by the clock of this machine")));
    }
    Ok(text.to_owned())
}
