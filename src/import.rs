//! import: custody first, then judgement, then delivery.
//!
//! ```text
//! MEDIUM --take--> INBOX --admit--> --unpack--> --decide--> --deliver--> SINK --settle--> LEDGER
//! ```
//!
//! *Take* copies what a trusted key signed, so that the stick may leave. Everything after it reads the inbox.
//! *Admit* says where each batch stands in its stream. *Decide* says of each envelope whether it goes, waits,
//! or stays. *Deliver* gives groups to the sink, and the ledger records only what the sink settled.

pub mod admit;
pub mod decide;
mod deliver;
mod take;
mod unpack;

use std::path::Path;

use crate::disk;
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::ledger::delivered::{DestinationRow, IncomingRow, State};
use crate::policy::Policy;
use crate::report::{Finding, ImportReport, Observer, Weight, head_code};
use crate::shelf::kept::KeptShelf;
use crate::sink::directory::Directory;
use crate::sink::{Destination, Sink};
use crate::site::Site;
use crate::stream::Missing;
use crate::text::{count, size};
use crate::trust::TrustStore;

use decide::Applicants;
use deliver::Delivering;

/// What to do about numbers that have not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// Deliver what is there, and report what is missing until it comes.
    Deliver,
    /// Keep what comes after a gap until the gap is filled or settled.
    Hold,
}

/// What a destination other than the known one means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherDestination {
    /// A question: the run stops.
    Ask,
    /// Another platform: everything in the inbox is delivered again.
    New,
    /// The same one under another address.
    Same,
}

/// How to import.
pub struct ImportOptions {
    /// The zone that this is.
    pub zone: String,
    /// Where to deliver.
    pub to: Destination,
    /// What another destination than the known one means.
    pub other_destination: OtherDestination,
    /// What may cross.
    pub policy: Policy,
    /// In whose name.
    pub applicants: Applicants,
    /// What to do about a gap.
    pub on_gap: OnGap,
    /// Whether to deliver again what was delivered.
    pub redeliver: bool,
    /// Seconds that delivered batches stay in the inbox.
    pub keep: u64,
    /// Processors to use.
    pub threads: usize,
    /// The time, for the record.
    pub at: String,
}

/// Imports from a medium, or goes on from the inbox.
///
/// # Errors
/// The medium or the destination is not there; another destination than the known one; the system or SQLite refused.
pub fn import(
    site: &Site,
    ledger: &mut Ledger,
    medium: Option<&Path>,
    store: &TrustStore,
    options: &ImportOptions,
    observer: &dyn Observer,
) -> Result<ImportReport> {
    let mut report = ImportReport::default();
    take::sweep(site)?;
    let mut on_medium = Vec::new();
    if let Some(medium) = medium {
        on_medium = take::take(site, ledger, medium, store, options, observer, &mut report)?;
    }
    let known = settle_destination(ledger, options)?;
    if options.redeliver {
        reopen(ledger, medium.is_some().then_some(on_medium.as_slice()))?;
    }
    admit_all(site, ledger, store, options, &mut report)?;
    report_incomplete(site, ledger, &on_medium, &mut report)?;
    if has_work(ledger, known.as_ref())? {
        deliver_all(site, ledger, known, options, observer, &mut report)?;
    }
    report_missing(ledger, &mut report)?;
    count_aside(ledger, &mut report)?;
    prune(site, ledger, options.keep)?;
    Ok(report)
}

/// A site delivers to one destination. Which one is known from its first delivery on.
fn settle_destination(ledger: &mut Ledger, options: &ImportOptions) -> Result<Option<DestinationRow>> {
    let known = ledger.destination()?;
    let Some(other) = known.as_ref().filter(|k| !k.is(&options.to)) else {
        return Ok(known);
    };
    match options.other_destination {
        OtherDestination::Ask => Err(Error::usage(format!(
            "this site delivers to the destination {}:{}; now {} is named",
            other.kind,
            crate::text::harmless(&other.address),
            options.to
        ))
        .advise("if it is another platform: --new-destination (all again from the inbox); if only the address changed: --same-destination")),
        OtherDestination::Same => {
            ledger.move_destination(&options.to)?;
            ledger.destination()
        }
        OtherDestination::New => {
            let row = ledger.begin_destination(&options.to, &options.at)?;
            ledger.reopen_all()?;
            Ok(Some(row))
        }
    }
}

fn reopen(ledger: &Ledger, only: Option<&[crate::digest::Digest]>) -> Result<()> {
    for row in ledger.incoming_in(State::Delivered)? {
        if !row.pruned && only.is_none_or(|only| only.contains(&row.sha256)) {
            ledger.set_state(row.id, State::Admitted, None)?;
        }
    }
    Ok(())
}

fn admit_all(
    site: &Site,
    ledger: &mut Ledger,
    store: &TrustStore,
    options: &ImportOptions,
    report: &mut ImportReport,
) -> Result<()> {
    for stream in ledger.incoming_streams()? {
        let waiting: Vec<IncomingRow> =
            ledger.incoming_in(State::Whole)?.into_iter().filter(|r| r.manifest.stream == stream).collect();
        if waiting.is_empty() {
            continue;
        }
        let mut candidates = Vec::new();
        for row in waiting {
            match admit::open(site, ledger, store, options, &row) {
                Ok(link) => candidates.push((row, link)),
                Err(refusal) => refuse(ledger, &row, &refusal, report)?,
            }
        }
        let position = ledger.position(stream)?;
        let links: Vec<_> = candidates.iter().map(|(_, link)| link.clone()).collect();
        for (verdict, (row, _)) in admit::admit(position, &links, options.on_gap).into_iter().zip(&candidates) {
            match verdict {
                admit::Admission::Admit { late } => {
                    ledger.set_admitted(row.id, late)?;
                }
                admit::Admission::Keep(kept) => keep(ledger, row, &kept, report)?,
            }
        }
    }
    Ok(())
}

/// A batch that stays in the inbox and is not delivered; told when it is new.
fn keep(ledger: &Ledger, row: &IncomingRow, kept: &admit::Kept, report: &mut ImportReport) -> Result<()> {
    if row.standing.as_deref() != Some(kept.code()) {
        ledger.set_state(row.id, State::Whole, Some(kept.code()))?;
        report.findings.push(kept.finding(&row.manifest, row.sha256));
    }
    Ok(())
}

fn refuse(ledger: &Ledger, row: &IncomingRow, refusal: &admit::Refusal, report: &mut ImportReport) -> Result<()> {
    match refusal {
        admit::Refusal::NotNow(finding) => {
            if row.standing.as_deref() != Some(finding.code) {
                ledger.set_state(row.id, State::Whole, Some(finding.code))?;
                report.findings.push(finding.clone());
            }
        }
        admit::Refusal::Incomplete => ledger.set_state(row.id, State::Incomplete, None)?,
        admit::Refusal::Never(finding) => {
            ledger.set_state(row.id, State::Refused, Some(finding.code))?;
            report.findings.push(finding.clone());
        }
    }
    Ok(())
}

/// Batches of which parts are missing, at every run until they come; what the medium at hand showed of
/// them has been said already.
fn report_incomplete(
    site: &Site,
    ledger: &Ledger,
    said: &[crate::digest::Digest],
    report: &mut ImportReport,
) -> Result<()> {
    for row in ledger.incoming_in(State::Incomplete)? {
        if said.contains(&row.sha256) {
            continue;
        }
        let shelf = KeptShelf::new(take::folder(site, &row.manifest, row.sha256));
        for part in row.manifest.parts().filter(|p| !shelf.has(p)) {
            let fault = crate::shelf::PartFault::Missing;
            report.findings.push(crate::verify::part_finding(&row.manifest, part.name, &fault));
        }
    }
    Ok(())
}

/// Whether the sink has to be opened at all.
fn has_work(ledger: &Ledger, known: Option<&DestinationRow>) -> Result<bool> {
    let unfinished = match known {
        Some(row) => !ledger.placings(row.id)?.is_empty(),
        None => false,
    };
    Ok(unfinished
        || !ledger.incoming_in(State::Admitted)?.is_empty()
        || ledger.set_aside()?.iter().any(|a| a.kind != "quarantined"))
}

fn deliver_all(
    site: &Site,
    ledger: &mut Ledger,
    known: Option<DestinationRow>,
    options: &ImportOptions,
    observer: &dyn Observer,
    report: &mut ImportReport,
) -> Result<()> {
    let high_water = ledger.meta("high_water")?.and_then(|t| t.parse().ok()).unwrap_or(0);
    let mut sink: Box<dyn Sink> = match &options.to {
        Destination::Directory(path) => Box::new(Directory::open(path, high_water)?),
    };
    let destination = match known {
        Some(row) => row,
        // Only now: a destination that was never reached is not known.
        None => ledger.begin_destination(&options.to, &options.at)?,
    };
    let delivery = sink.recover(ledger.placings(destination.id)?)?;
    if !delivery.0.is_empty() {
        report.delivered += delivery.0.len() as u64;
        ledger.settle(destination.id, &delivery, sink.high_water())?;
    }
    let mut delivering = Delivering::new(site, ledger, sink.as_mut(), destination.id, options, report);
    delivering.retry_set_aside()?;
    for row in delivering.admitted()? {
        delivering.batch(&row, observer)?;
    }
    Ok(())
}

/// Numbers that have not come, at every run until they heal or are settled.
fn report_missing(ledger: &Ledger, report: &mut ImportReport) -> Result<()> {
    for stream in ledger.incoming_streams()? {
        let position = ledger.position(stream)?;
        for missing in position.missing() {
            let begins = position.first().is_some_and(|first| missing.numbers.end() < &first);
            report.findings.push(missing_finding(stream, &missing, begins));
        }
        if let Some(row) = ledger.incoming_in(State::Delivered)?.iter().rfind(|r| r.manifest.stream == stream) {
            report.head = Some(head_code(row.sha256));
        }
    }
    Ok(())
}

/// The finding about numbers that have not come.
pub fn missing_finding(stream: crate::stream::StreamId, missing: &Missing, begins: bool) -> Finding {
    let (first, last) = (*missing.numbers.start(), *missing.numbers.end());
    let numbers = if first == last { format!("batch {first}") } else { format!("batches {first} to {last}") };
    let how_much =
        missing.size.map_or_else(String::new, |s| format!(", {}, {}", count(s.envelopes, "envelope"), size(s.bytes)));
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    let (code, what) = if begins {
        ("unknown-start", format!("this stream begins at {} here; {numbers} unknown{how_much}", last + 1))
    } else {
        ("gap", format!("gap: {numbers} missing{how_much}"))
    };
    Finding::new(Weight::Incomplete, code, what)
        .at(format!("stream {stream}"))
        .advise(format!("bring it: airpouch carry MEDIUM --resend N; or give it up: airpouch stream accept {stream} {range} --reason TEXT"))
}

fn count_aside(ledger: &Ledger, report: &mut ImportReport) -> Result<()> {
    let mut unmapped: std::collections::BTreeMap<Option<String>, u64> = std::collections::BTreeMap::new();
    for row in ledger.set_aside()? {
        match row.kind.as_str() {
            "held" => report.held_in_all += 1,
            _ => report.quarantined_in_all += 1,
        }
        if row.code == "applicant" {
            *unmapped.entry(row.applicant).or_default() += 1;
        }
    }
    report.unmapped = unmapped.into_iter().collect();
    Ok(())
}

/// Removes delivered batches from the inbox once they were kept long enough. Nothing else ever goes by age.
fn prune(site: &Site, ledger: &Ledger, keep: u64) -> Result<()> {
    let now = disk::now().0;
    for row in ledger.incoming_in(State::Delivered)?.into_iter().filter(|r| !r.pruned) {
        let old = row.done_at.is_some_and(|at| now.saturating_sub(at) >= i64::try_from(keep).unwrap_or(i64::MAX));
        if old {
            take::remove(site, &row)?;
            ledger.set_pruned(row.id)?;
        }
    }
    Ok(())
}
