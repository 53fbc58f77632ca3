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
mod continuity;
pub mod decide;
mod deliver;
mod owners;
mod take;
mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::applicants::Applicants;
use crate::batch::manifest::Succeeds;
use crate::code::Code;
use crate::destination::{Destination, Reach};
use crate::digest::Digest;
use crate::disk;
use crate::envelope::Connector;
use crate::error::{Error, Result};
use crate::examining::Program;
use crate::findings::{self, missing};
use crate::ledger::importer::{Admitted, AsideKind, DestinationRow, ImporterLedger, ImporterView, IncomingRow, State};
use crate::policy::Policy;
use crate::report::call::Call;
use crate::report::{DeliveredBatch, Finding, Head, ImportReport, Observer, Unmapped, head_code};
use crate::shelf::PartFault;
use crate::shelf::inbox::Inbox;
use crate::shelf::kept::KeptShelf;
use crate::sink::{self, Ended, Opened};
use crate::site::{Site, refuse_below};
use crate::stream::{Lineages, StreamId, is_settled};
use crate::text::count;
use crate::trust::TrustStore;

use continuity::Continuity;
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
    /// How that is reached.
    pub reach: Reach,
    /// Connectors that have another id here, from the id there.
    pub connectors: BTreeMap<String, String>,
    /// What another destination than the known one means.
    pub other_destination: OtherDestination,
    /// What may cross.
    pub policy: Policy,
    /// In whose name.
    pub applicants: Applicants,
    /// What to do about a gap.
    pub on_gap: OnGap,
    /// Whether to go on with a ledger that is not the one this site worked with last.
    pub accept_ledger: bool,
    /// Whether to deliver again what was delivered.
    pub redeliver: bool,
    /// Seconds that delivered batches stay in the inbox.
    pub keep: u64,
    /// Bytes of one stream that are copied to held/ and quarantine/; what is more lies in the inbox alone.
    pub set_aside_quota: u64,
    /// Processors to use.
    pub threads: usize,
    /// The time, for the record.
    pub at: String,
    /// How this run was called, for the commands in reasons.
    pub call: Call,
    /// The program that examines one envelope in a process of its own, where a run has died of it.
    pub program: Program,
}

impl ImportOptions {
    /// A connector as it is to be known here. The stock connector takes envelopes as they are.
    fn connector_here(&self, connector: &Connector) -> Connector {
        let mut here = connector.clone();
        if let Some(id) = self.connectors.get(&connector.id).filter(|_| self.to.takes_messages()) {
            here.id.clone_from(id);
        }
        here
    }
}

/// Imports from a medium, or goes on from the inbox. The report holds what was done, also if the run stops.
///
/// # Errors
/// The medium or the destination is not there; another destination than the known one; the system or SQLite refused.
pub fn import(
    site: &Site,
    ledger: &mut ImporterLedger,
    medium: Option<&Path>,
    store: &TrustStore,
    options: &ImportOptions,
    observer: &dyn Observer,
    report: &mut ImportReport,
) -> Result<()> {
    check_apart(site, medium, &options.to)?;
    let (mut continuity, accepted) = Continuity::check(site, ledger, options.accept_ledger, &options.at)?;
    report.findings.extend(accepted);
    let done = import_on(site, ledger, medium, store, options, observer, &mut continuity, report);
    // Also where the run stops: what it did until then is in the ledger.
    let ended = continuity.end(site, ledger, &options.at);
    done.and(ended)
}

#[allow(clippy::too_many_arguments, reason = "all that import was given, and the count of its turns")]
fn import_on(
    site: &Site,
    ledger: &mut ImporterLedger,
    medium: Option<&Path>,
    store: &TrustStore,
    options: &ImportOptions,
    observer: &dyn Observer,
    continuity: &mut Continuity,
    report: &mut ImportReport,
) -> Result<()> {
    take::look_through_inbox(site, ledger, store)?;
    let mut on_medium = BTreeSet::new();
    if let Some(medium) = medium {
        on_medium = take::take(site, ledger, medium, store, options, observer, continuity, report)?;
    }
    let target = target(ledger, options)?;
    if options.redeliver {
        reopen(ledger, medium.is_some().then_some(&on_medium))?;
    }
    admit_all(site, ledger, store, options, report)?;
    report_incomplete(site, ledger, &on_medium, report)?;
    let delivered = match has_work(ledger, &target)? {
        true => continuity
            .begin(site, ledger, &options.at)
            .and_then(|()| deliver_all(site, ledger, target, options, observer, report)),
        false => Ok(()),
    };
    if delivered.is_err() {
        // What is missing is said at every run, also where the destination is broken.
        report_missing(ledger, report)?;
        count_aside(ledger, report)?;
        return delivered;
    }
    // Also where nothing is to do: the run that was cut off may have come to the very end.
    if let Some(destination) = ledger.destination()? {
        deliver::sweep_delivered(site, ledger, destination.id)?;
    }
    report_missing(ledger, report)?;
    count_aside(ledger, report)?;
    prune(site, ledger, options.keep)
}

/// Medium and destination are none of the site's own directories, and nothing is delivered onto the medium.
fn check_apart(site: &Site, medium: Option<&Path>, to: &Destination) -> Result<()> {
    if let Some(medium) = medium {
        site.refuse_inside("the medium", medium)?;
    }
    if let Some(path) = to.path() {
        site.refuse_inside("the destination", path)?;
        medium.map_or(Ok(()), |medium| refuse_below("the destination", path, "the medium", medium))?;
    }
    Ok(())
}

/// What the destination of this run is to the site.
enum Target {
    /// The first one.
    First,
    /// The one that it delivers to.
    Known(DestinationRow),
    /// Another platform.
    New,
    /// The one that it delivers to, under another address or emptied on purpose.
    Same,
}

/// A site delivers to one destination. Which one is known from the day when it was first reached.
fn target(ledger: &ImporterView, options: &ImportOptions) -> Result<Target> {
    let Some(known) = ledger.destination()? else { return Ok(Target::First) };
    let same = known.is(&options.to);
    match options.other_destination {
        OtherDestination::New if !same => Ok(Target::New),
        OtherDestination::Same if known.kind != options.to.kind() => Err(Error::usage(format!(
            "this site delivers to {}:; {} is no other address of that",
            known.kind, options.to
        ))
        .advise("another platform: --new-destination")),
        OtherDestination::Same => Ok(Target::Same),
        _ if same => Ok(Target::Known(known)),
        _ => Err(Error::usage(format!(
            "this site delivers to the destination {}; now {} is named",
            Destination::shown(&known.kind, &known.address),
            options.to
        ))
        .advise(
            "another platform, all again from the inbox: `airpouch import --new-destination`; the same one elsewhere: `airpouch import --same-destination`",
        )),
    }
}

fn reopen(ledger: &ImporterLedger, only: Option<&BTreeSet<Digest>>) -> Result<()> {
    for batch in ledger.batches_in(State::Delivered)? {
        let wanted = only.is_none_or(|only| only.contains(&batch.sha256));
        if wanted && ledger.standing_of(batch.sha256)?.is_some_and(|standing| !standing.pruned) {
            ledger.set_state(batch.id, State::Admitted, None)?;
        }
    }
    Ok(())
}

fn admit_all(
    site: &Site,
    ledger: &mut ImporterLedger,
    store: &TrustStore,
    options: &ImportOptions,
    report: &mut ImportReport,
) -> Result<()> {
    recheck_admitted(site, ledger, store, options, report)?;
    let mut waiting: BTreeMap<StreamId, Vec<i64>> = BTreeMap::new();
    for batch in ledger.batches_in(State::Whole)? {
        waiting.entry(batch.stream).or_default().push(batch.id);
    }
    let order = succession_order(waiting.keys().copied().collect(), &ledger.lineages(true)?);
    let mut lineages = ledger.lineages(false)?;
    for stream in order {
        let batches = waiting.remove(&stream).unwrap_or_default();
        admit_stream(site, ledger, store, options, stream, &batches, &mut lineages, report)?;
    }
    Ok(())
}

/// What was admitted and not delivered to its end is held against the trust store of today.
fn recheck_admitted(
    site: &Site,
    ledger: &mut ImporterLedger,
    store: &TrustStore,
    options: &ImportOptions,
    report: &mut ImportReport,
) -> Result<()> {
    let lineages = ledger.lineages(false)?;
    let mut signers = Vec::new();
    for batch in ledger.batches_in(State::Admitted)? {
        let Some(row) = ledger.incoming_by_id(batch.id)? else { continue };
        match admit::open(site, &lineages, store, options, &row)? {
            Ok(opened) => signers.push((row.id, opened.signers)),
            Err(refusal) => refuse(site, ledger, &row, refusal, report)?,
        }
    }
    match signers.is_empty() {
        true => Ok(()),
        false => ledger.note_signers(&signers),
    }
}

/// A batch that may be admitted, as far as its place in the stream is judged by it.
struct Candidate {
    id: i64,
    standing: Option<Code>,
    succeeds: Option<Succeeds>,
    signers: Vec<Digest>,
    heir_of: Option<StreamId>,
}

#[allow(clippy::too_many_arguments, reason = "a step between two places, with the rules of the run")]
fn admit_stream(
    site: &Site,
    ledger: &mut ImporterLedger,
    store: &TrustStore,
    options: &ImportOptions,
    stream: StreamId,
    batches: &[i64],
    lineages: &mut Lineages,
    report: &mut ImportReport,
) -> Result<()> {
    let (mut candidates, mut links) = (Vec::new(), Vec::new());
    for id in batches {
        let Some(row) = ledger.incoming_by_id(*id)? else { continue };
        match admit::open(site, lineages, store, options, &row)? {
            Ok(admit::Opened { link, signers, heir_of }) => {
                let (standing, succeeds) = (row.standing, row.manifest.succeeds);
                candidates.push(Candidate { id: row.id, standing, succeeds, signers, heir_of });
                links.push(link);
            }
            Err(refusal) => refuse(site, ledger, &row, refusal, report)?,
        }
    }
    let (Some(first), Some(last)) = (links.first(), links.last()) else { return Ok(()) };
    let position = ledger.position(stream, &(first.sequence..=last.sequence))?;
    let waits = options.on_gap == OnGap::Hold
        && position.last().is_none()
        && waits_for_the_old_one(ledger, candidates.iter().find_map(|c| c.succeeds))?;
    for (verdict, candidate) in admit::admit(position, &links, options.on_gap).into_iter().zip(&candidates) {
        let verdict = if waits { admit::Admission::Keep(admit::Kept::Waiting) } else { verdict };
        match verdict {
            admit::Admission::Admit { late } => {
                let Candidate { id, heir_of, ref signers, .. } = *candidate;
                ledger.set_admitted(&Admitted { id, stream, late, signers, heir_of })?;
                candidate.succeeds.iter().for_each(|s| lineages.add(stream, s.stream));
            }
            admit::Admission::Keep(kept) => {
                // What is missing is said at every run, elsewhere; that a batch waits for it, once.
                if candidate.standing != Some(kept.code()) {
                    ledger.set_state(candidate.id, State::Whole, Some(kept.code()))?;
                    if let Some(row) = ledger.incoming_by_id(candidate.id)? {
                        report.findings.push(kept.finding(&row.manifest, row.sha256));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Whether the end of the stream that this one goes on from has not come, and is still waited for.
fn waits_for_the_old_one(ledger: &ImporterView, succeeds: Option<Succeeds>) -> Result<bool> {
    let Some(succeeds) = succeeds else { return Ok(false) };
    let (from, to) = (ledger.last_admitted(succeeds.stream)?.unwrap_or(0) + 1, succeeds.sequence.get());
    let end_has_come = from > to || is_settled(&(from..=to), &ledger.settled(succeeds.stream)?);
    Ok(!end_has_come || !ledger.gaps(Some(succeeds.stream))?.is_empty())
}

/// Where the files of a batch lie in the inbox.
fn shelf_of(site: &Site, row: &IncomingRow) -> KeptShelf {
    Inbox::new(site.inbox()).shelf(row.manifest.stream, row.manifest.sequence, row.sha256)
}

/// Puts a file of the inbox aside that is not what the manifest names any more, so that it can be brought again.
fn put_away_damaged(site: &Site, row: &IncomingRow, name: &str, fault: &PartFault) -> Result<()> {
    match fault {
        PartFault::NotAsNamed(_) => shelf_of(site, row).put_away_damaged(name),
        _ => Ok(()),
    }
}

fn refuse(
    site: &Site,
    ledger: &ImporterLedger,
    row: &IncomingRow,
    refusal: admit::Refusal,
    report: &mut ImportReport,
) -> Result<()> {
    match refusal {
        admit::Refusal::NotNow(finding) => {
            let is_new = row.standing != Some(finding.code);
            if is_new {
                ledger.set_state(row.id, State::Whole, Some(finding.code))?;
            }
            // A signature that has not come is missing, as a number is: that is said at every run until it comes.
            if is_new || finding.code == Code::TooFewSignatures {
                report.findings.push(*finding);
            }
        }
        admit::Refusal::Lost { name, fault } => {
            put_away_damaged(site, row, &name, &fault)?;
            ledger.set_state(row.id, State::Incomplete, None)?;
            let finding = findings::part(&row.manifest, &name, &fault);
            report.findings.push(match fault {
                // It lies here: another medium is of no use before that is settled.
                PartFault::Unreadable(_) => finding.at(shelf_of(site, row).dir().display().to_string()).advise(format!(
                    "make it readable there (owner, mode, disk), then: airpouch import; or remove it and ask the exporter to resend it: airpouch carry MEDIUM --resend {}:{}",
                    row.manifest.stream, row.manifest.sequence
                )),
                _ => finding,
            });
        }
        admit::Refusal::Never(finding) => {
            ledger.set_state(row.id, State::Refused, Some(finding.code))?;
            report.findings.push(*finding);
        }
    }
    Ok(())
}

/// Streams so that each stands behind those that it goes on from.
fn succession_order(mut streams: Vec<StreamId>, lineages: &Lineages) -> Vec<StreamId> {
    streams.sort_by_cached_key(|s| (lineages.of(*s, None).len(), *s));
    streams
}

/// Batches of which parts are missing, at every run until they come; what the medium at hand showed of
/// them has been said already. One whose parts have come back after all is looked at in the next run.
fn report_incomplete(
    site: &Site,
    ledger: &ImporterLedger,
    said: &BTreeSet<Digest>,
    report: &mut ImportReport,
) -> Result<()> {
    for batch in ledger.batches_in(State::Incomplete)? {
        let Some(row) = ledger.incoming_by_id(batch.id)? else { continue };
        let shelf = shelf_of(site, &row);
        let missing: Vec<_> = row.manifest.parts().filter(|p| !shelf.has(p)).collect();
        if missing.is_empty() {
            ledger.set_state(row.id, State::Whole, None)?;
        }
        for part in missing.iter().filter(|_| !said.contains(&row.sha256)) {
            report.findings.push(findings::part(&row.manifest, part.name, &PartFault::Missing));
        }
    }
    Ok(())
}

/// Whether the sink has to be opened at all.
fn has_work(ledger: &ImporterView, target: &Target) -> Result<bool> {
    let unfinished = match target {
        Target::New | Target::Same => return Ok(true),
        Target::Known(row) => ledger.unsettled(row.id)? > 0 || !ledger.open_works(row.id)?.is_empty(),
        Target::First => false,
    };
    Ok(unfinished || ledger.has_batch_in(State::Admitted)? || ledger.has_waiting()?)
}

fn deliver_all(
    site: &Site,
    ledger: &mut ImporterLedger,
    target: Target,
    options: &ImportOptions,
    observer: &dyn Observer,
    report: &mut ImportReport,
) -> Result<()> {
    let known = known_before(ledger, &target, options)?;
    let Opened { mut sink, mark } = sink::open(&options.to, &options.reach, known, options.threads, observer)?;
    // Only now: a destination that was never reached is not known.
    let destination = match target {
        Target::Known(row) => {
            if row.mark != mark {
                ledger.move_destination(&options.to, &mark)?;
            }
            row
        }
        Target::First => ledger.begin_destination(&options.to, &mark, false, &options.at)?,
        Target::New => ledger.begin_destination(&options.to, &mark, true, &options.at)?,
        Target::Same => {
            ledger.move_destination(&options.to, &mark)?;
            let row = ledger.destination()?.ok_or_else(|| Error::failed("the destination is not in the ledger"))?;
            // Nobody knows how far a broken run came on its way to the old address.
            ledger.forget_unsettled(row.id)?;
            row
        }
    };
    let mut delivering = Delivering::new(site, ledger, sink.as_mut(), destination.id, options, report)?;
    let unsettled = delivering.recover()?;
    if unsettled > 0 {
        let what = format!("the last run was cut off; {} may come a second time", count(unsettled, "envelope"));
        delivering.report(Finding::new(Code::DeliveredAgain, what));
    }
    let delivered = deliver_each(&mut delivering, observer);
    // A work must not stay open because its run has failed; what cannot be told now is told in the next run.
    let ended = delivered.as_ref().err().map_or(Ended::Run, |error| Ended::Failed(&error.what));
    let closed = delivering.close(ended);
    let kept = delivering.keep_suspects();
    let said = if unsettled > 0 { ledger.unsettled_is_said(destination.id) } else { Ok(()) };
    delivered.and(closed).and(said).and(kept)
}

/// What the ledger knows of the destination before it is opened. Under another address it is the same one.
fn known_before(ledger: &ImporterView, target: &Target, options: &ImportOptions) -> Result<sink::Known> {
    let mut known = sink::Known {
        high_water: ledger.high_water(options.to.kind())?,
        connectors: deliver::connectors_to_go(ledger, matches!(target, Target::New))?,
        ..sink::Known::default()
    };
    let there = match target {
        Target::Known(row) => Some(row.clone()),
        Target::Same => ledger.destination()?,
        Target::First | Target::New => None,
    };
    if let Some(row) = there {
        known.works = ledger.open_works(row.id)?;
        known.registered = ledger.registered(row.id)?;
        known.shown = ledger.shown(row.id)?;
        if matches!(target, Target::Known(_)) {
            known.is_unfinished = ledger.unsettled(row.id)? > 0;
            known.mark = Some(row.mark);
        }
    }
    Ok(known)
}

/// What waits, then each batch of each stream; and what the destination could not take at once goes to it again.
fn deliver_each(delivering: &mut Delivering<'_>, observer: &dyn Observer) -> Result<()> {
    loop {
        delivering.retry_set_aside()?;
        let mut batches: BTreeMap<StreamId, Vec<i64>> = BTreeMap::new();
        for batch in delivering.ledger().batches_in(State::Admitted)? {
            batches.entry(batch.stream).or_default().push(batch.id);
        }
        for stream in succession_order(batches.keys().copied().collect(), &delivering.ledger().lineages(false)?) {
            for id in batches.remove(&stream).unwrap_or_default() {
                if let Some(row) = delivering.ledger().incoming_by_id(id)? {
                    delivering.batch(&row, observer)?;
                }
            }
        }
        if !delivering.goes_on()? {
            return Ok(());
        }
    }
}

/// Numbers that have not come, at every run until they heal or are settled.
fn report_missing(ledger: &ImporterView, report: &mut ImportReport) -> Result<()> {
    report.findings.extend(missing::gone_works(ledger)?);
    report.findings.extend(missing::findings(&missing::all(ledger)?));
    let mut newest: BTreeMap<StreamId, &DeliveredBatch> = BTreeMap::new();
    for done in &report.delivered_batches {
        let known = newest.entry(done.batch.stream).or_insert(done);
        if done.batch.sequence > known.batch.sequence {
            *known = done;
        }
    }
    let mut heads = Vec::new();
    for DeliveredBatch { batch, .. } in newest.values() {
        let (stream, sequence) = (batch.stream, batch.sequence);
        let is_last = ledger.last_admitted(stream)?.is_none_or(|last| last <= sequence);
        heads.push(Head { stream, sequence, code: head_code(batch.sha256), is_last });
    }
    report.heads = heads;
    Ok(())
}

fn count_aside(ledger: &ImporterView, report: &mut ImportReport) -> Result<()> {
    for count in ledger.aside_counts()? {
        match count.kind {
            AsideKind::Held => report.held_in_all += count.number,
            AsideKind::Quarantined | AsideKind::Released => report.quarantined_in_all += count.number,
        }
    }
    let unmapped = ledger.unmapped_applicants()?.into_iter();
    report.unmapped = unmapped.map(|(id, envelopes)| Unmapped { id, envelopes }).collect();
    Ok(())
}

/// Removes delivered batches from the inbox once they were kept long enough. Nothing else ever goes by age.
fn prune(site: &Site, ledger: &ImporterLedger, keep: u64) -> Result<()> {
    let before = disk::now().0.saturating_sub(i64::try_from(keep).unwrap_or(i64::MAX));
    let inbox = Inbox::new(site.inbox());
    for batch in ledger.done_before(before)? {
        inbox.remove(batch.stream, batch.sequence, batch.sha256)?;
        ledger.set_pruned(batch.id, true)?;
    }
    Ok(())
}
