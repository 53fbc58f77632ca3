//! deliver: groups of envelopes to the sink, and what the sink settled to the ledger.
//!
//! A group is durable before it is noted, noted before it is seen, and recorded after it is settled. A crash
//! at any point leaves either nothing of the group, or a note from which the next run finishes it; to queues, from which
//! it sends the group again and says so.

mod aside;
mod listed;
mod record;
mod waiting;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::admit::{Admitted, succession_order};
use super::decide::{self, Case, Decision, Known, Rules, decide};
use super::owners::Owners;
use super::target::Target;
use super::unpack::{self, Ahead, Read, UnpackedEnvelope, unpack};
use super::{Import, ImportOptions, put_away_damaged, shelf_of};
use crate::applicants::CameBy;
use crate::batch::index::{Index, Names};
use crate::code::Code;
use crate::deed::{ApplicantCount, ConnectorCount, Deed, DeliveryDeed, applicants_in_a_line, connectors_in_a_line};
use crate::digest::Digest;
use crate::envelope::Envelope;
use crate::error::{Error, Result, unless_stopped};
use crate::examining::{Apart, EXAMINE_APART, Examining};
use crate::findings;
use crate::fit::Examined;
use crate::lack;
use crate::ledger::importer::{AsideKind, Group, ImporterLedger, ImporterView, IncomingRow, KnownBefore, State};
use crate::limits::{ASIDE_GROUP, DEATHS_MAX};
use crate::objects::ListDraft;
use crate::report::{
    BatchLine, DeliveredBatch, Event, Finding, ImportReport, NamedConnector, Observer, Outcome, PassedOver,
};
use crate::set_aside::{self, Kind};
use crate::shelf::PartFault;
use crate::shelf::check::read_index;
use crate::sink::{self, Deliverable, Ended, OpenedSink, Origin, Sink};
use crate::site::Site;
use crate::stream::{Lineages, StreamId};
use crate::text::count;

use record::InLedger;

impl Import<'_> {
    /// Delivers what waits and what is admitted, once the destination is reached.
    pub(super) fn deliver_all(&mut self, target: Target) -> Result<()> {
        let ImportOptions { to, reach, threads, .. } = self.options;
        let known = target.known_before(self.ledger, self.options)?;
        let OpenedSink { mut sink, mark } = sink::open(to, reach, known, *threads, self.observer)?;
        let destination = target.reached(self.ledger, self.options, &mark)?;
        let observer = self.observer;
        let mut delivering = Delivering::new(self, sink.as_mut(), destination)?;
        let unsettled = delivering.recover()?;
        if unsettled > 0 {
            let what = format!("the last run was cut off; {} may come a second time", count(unsettled, "envelope"));
            delivering.report(Finding::new(Code::DeliveredAgain, what));
        }
        let delivered = delivering.each(observer);
        let (delivered, is_whole) = delivering.finish_if_stopped(delivered);
        // A work must not stay open because its run has failed; what cannot be told now is told in the next run.
        let failed = delivered.as_ref().err().filter(|_| !is_whole);
        let ended = failed.map_or(Ended::Run, |error| Ended::Failed(&error.what));
        let closed = delivering.close(ended);
        let kept = delivering.keep_suspects();
        let said = if unsettled > 0 { self.ledger.unsettled_is_said(destination) } else { Ok(()) };
        delivered.and(closed).and(said).and(kept)
    }
}

/// Takes away what a crash left in held/ and quarantine/ of envelopes that were delivered, or rejected without their copy.
pub fn sweep_delivered(site: &Site, ledger: &ImporterView, destination: i64) -> Result<()> {
    for kind in [Kind::Held, Kind::Quarantined] {
        for sha256 in set_aside::digests(site, kind)? {
            let is_left = match ledger.rejected_copy(sha256)? {
                Some(is_kept) => !is_kept,
                None => ledger.aside_kind(sha256)?.is_none() && ledger.is_delivered(destination, sha256)?,
            };
            if is_left {
                set_aside::remove(site, kind, sha256)?;
            }
        }
    }
    Ok(())
}

/// What is kept of an envelope while it is on its way to the sink.
#[derive(Default)]
struct Staged {
    /// Its messages, where the sink takes it apart.
    messages: u64,
    /// What is passed over of it.
    incompatible: Option<PassedOver>,
    /// The connector that wrote it.
    connector: String,
    /// Where it lies already, if it was set aside before and copied there.
    copied: Option<Kind>,
}

/// An envelope on which was decided.
struct InHand {
    /// By what it came.
    origin: Origin,
    /// Its bytes.
    bytes: Vec<u8>,
    /// What they say, if they are one and it was examined.
    envelope: Option<Envelope>,
    /// Where it lies already, if it was set aside before and copied there.
    copied: Option<Kind>,
}

/// Objects of an envelope that are passed over.
fn passed_over(origin: &Origin, objects: u64) -> PassedOver {
    let Origin { stream, sequence, ordinal, .. } = *origin;
    PassedOver { stream, sequence, ordinal, name: origin.name.clone(), objects }
}

/// Delivers to one sink.
pub struct Delivering<'a> {
    site: &'a Site,
    ledger: &'a mut ImporterLedger,
    sink: &'a mut dyn Sink,
    destination: i64,
    options: &'a ImportOptions,
    observer: &'a dyn Observer,
    report: &'a mut ImportReport,
    group: Group,
    /// What is to be taken away from held/ or quarantine/ once the group is settled.
    released: Vec<(Kind, Digest)>,
    /// Digests of the batch in work that were looked at, so that one content is not delivered twice within it; when
    /// everything is delivered again, of the whole run.
    in_run: HashSet<Digest>,
    /// What was known of the batch in work.
    before: Arc<KnownBefore>,
    /// What is on its way to the sink.
    staged: HashMap<Digest, Staged>,
    /// Which streams may deliver under which connector's id.
    owners: Owners,
    /// What the sink cannot take at the moment, by connector and reason: how many, and what is reported of them.
    deferred: BTreeMap<(String, Code), (u64, Finding)>,
    /// Whether something of the batch in work was among it.
    has_deferred: bool,
    /// Whether all that is left goes to the sink once more.
    is_again: bool,
    /// Bytes that were copied to held/ and quarantine/, by stream; asked for once.
    aside_bytes: Option<HashMap<StreamId, u64>>,
    /// What could not be copied there since it was last reported, by batch: how many, and why.
    uncopied: BTreeMap<(StreamId, u64), (u64, String)>,
    /// The digest of the batch in work, where another one bears its number.
    forked: Option<Digest>,
    /// Which stream goes on from which, once that was asked for.
    lineages: Option<Lineages>,
    /// The stream of the batch in work, and those that it succeeds.
    came_by: CameBy,
    /// Where examinations are noted.
    examining: Arc<Examining>,
    /// The objects of the batch in work, where a list of them is made.
    objects: Option<ListDraft>,
}

impl<'a> Delivering<'a> {
    /// Begins with an empty group.
    ///
    /// # Errors
    /// The system refused.
    pub fn new(run: &'a mut Import<'_>, sink: &'a mut dyn Sink, destination: i64) -> Result<Self> {
        let Import { site, ledger, options, observer, report, .. } = run;
        Ok(Self {
            site,
            ledger,
            sink,
            destination,
            options,
            observer: *observer,
            report,
            group: Group::default(),
            released: Vec::new(),
            in_run: HashSet::new(),
            before: Arc::default(),
            staged: HashMap::new(),
            owners: Owners::new(options.reach.take_over.clone()),
            deferred: BTreeMap::new(),
            has_deferred: false,
            is_again: false,
            aside_bytes: None,
            uncopied: BTreeMap::new(),
            forked: None,
            lineages: None,
            came_by: CameBy::default(),
            examining: Arc::new(Examining::open(site)?),
            objects: None,
        })
    }

    /// Adds to the report.
    pub fn report(&mut self, finding: Finding) {
        self.report.findings.push(finding);
    }

    /// What waits, then each batch of each stream; and what the destination could not take at once goes to it again.
    fn each(&mut self, observer: &dyn Observer) -> Result<()> {
        loop {
            self.retry_set_aside()?;
            let mut batches: BTreeMap<StreamId, Vec<i64>> = BTreeMap::new();
            for batch in self.ledger.batches_in(State::Admitted)? {
                batches.entry(batch.stream).or_default().push(batch.id);
            }
            for stream in succession_order(batches.keys().copied().collect(), &self.ledger.lineages(false)?) {
                for id in batches.remove(&stream).unwrap_or_default() {
                    if let Some(admitted) = Admitted::of(self.ledger, id)? {
                        self.unless_stopped(stream, admitted.row().manifest.sequence.get())?;
                        self.batch(&admitted, observer)?;
                    }
                }
            }
            if !self.goes_on()? {
                return Ok(());
            }
        }
    }

    /// In a run that was asked to stop, what is on its way to the destination comes to its end, so that all that is there is
    /// recorded. Also returns whether nothing is left on its way.
    fn finish_if_stopped(&mut self, delivered: Result<()>) -> (Result<()>, bool) {
        match delivered {
            Err(stop) if stop.is_stop() => match self.commit(true) {
                Ok(()) => (Err(stop), true),
                Err(error) => (Err(error), false),
            },
            delivered => (delivered, false),
        }
    }

    /// Between two envelopes, or two batches.
    pub(super) fn unless_stopped(&self, stream: StreamId, sequence: u64) -> Result<()> {
        unless_stopped(self.observer, || {
            format!(
                "at batch {sequence} of stream {stream}; what was delivered is recorded, and the next import goes on from there, without the medium"
            )
        })
    }

    /// Waits until the sink may take what it deferred; then all that is left goes to it once more.
    pub fn goes_on(&mut self) -> Result<bool> {
        let (effects, goes_on) = self.sink.wait();
        self.record(effects)?;
        if goes_on? {
            self.deferred.clear();
            self.report.outcome.deferred = 0;
            self.is_again = true;
            return Ok(true);
        }
        Ok(false)
    }

    /// The streams and signers of a batch, where they make a difference to applicants.
    fn came_by(&mut self, stream: StreamId, batch: i64) -> Result<CameBy> {
        if !self.options.applicants.is_narrowed() {
            return Ok(CameBy::default());
        }
        if self.lineages.is_none() {
            self.lineages = Some(self.ledger.heirs()?);
        }
        let streams = self.lineages.as_ref().map_or_else(|| vec![stream.uuid()], |lineages| lineages.of(stream, None));
        Ok(CameBy { streams, signers: self.ledger.signers_of(batch)? })
    }

    /// Delivers one batch from the inbox.
    pub fn batch(&mut self, admitted: &Admitted, observer: &dyn Observer) -> Result<()> {
        let row = admitted.row();
        let (before, messages) = (self.report.outcome, self.report.messages);
        self.has_deferred = false;
        self.forked = self.ledger.shares_its_number(row.id)?;
        self.came_by = self.came_by(row.manifest.stream, row.id)?;
        let shelf = shelf_of(self.site, row);
        let index = match lack::apart(read_index(&shelf, &row.manifest, Names::Keep))? {
            Ok(index) => index,
            Err(fault) => return self.spoiled(row, &row.manifest.index.name, &fault),
        };
        let digests = index.lines.iter().map(|line| line.sha256);
        self.before = Arc::new(self.ledger.known_of(self.destination, digests)?);
        observer.begin(&format!("delivering batch {}", row.manifest.sequence), row.manifest.totals.bytes);
        let (options, known) = (self.options, Arc::clone(&self.before));
        let is_settled = |sha256| {
            let is_decided = known.aside.contains_key(&sha256) || known.rejected.contains(&sha256);
            is_decided || known.delivered.contains(&sha256) && !options.redeliver
        };
        // Also of what is settled, for a run that was cut off has read it for this list; but not of what runs died.
        let lists = options.policy.record.objects;
        self.objects = lists.then(ListDraft::default);
        let is_listed = |sha256| lists && !known.deadly.contains(&sha256);
        let examining = Arc::clone(&self.examining);
        let (policy, examiner) = (&options.policy, self.sink.examiner());
        let threads = options.threads;
        let ahead =
            Ahead { threads, policy, examiner, is_settled: &is_settled, is_listed: &is_listed, examining: &examining };
        let fault = unpack(&shelf, &row.manifest, &index, ahead, |envelope| {
            observer.advance(envelope.bytes.len() as u64);
            self.unless_stopped(row.manifest.stream, row.manifest.sequence.get())?;
            self.envelope(row, &index, envelope)
        });
        let fault = fault.and_then(|fault| self.commit(true).map(|()| fault));
        observer.end();
        if let Some((name, fault)) = fault? {
            return self.spoiled(row, &name, &fault);
        }
        self.examining.settle(index.lines.iter().map(|line| line.sha256));
        // A batch of which something waits for the destination stays open: the next run goes through it again.
        if !self.has_deferred {
            let outcome = self.report.outcome.since(before);
            let delivered = self.delivered(row, &index, outcome, messages)?;
            let list = self.keep_list(row)?;
            self.ledger.set_done(row.id, &delivered, self.before.aside.keys().copied(), list)?;
            if self.options.redeliver {
                self.ledger.settle_gone(self.destination, row.id)?;
            }
        }
        self.close(Ended::Batch)?;
        self.report_rejected(row, &index);
        self.report_batch(row, before, observer);
        Ok(())
    }

    /// What is written down of a batch that is done; `outcome` and what was sent beyond `messages` are of this run.
    fn delivered(&self, row: &IncomingRow, index: &Index, outcome: Outcome, messages: u64) -> Result<Deed> {
        let counts = row.manifest.connectors.iter().zip(&index.kinds.objects).map(|(entry, kinds)| ConnectorCount {
            connector: NamedConnector { id: entry.id.clone(), name: entry.name.clone() },
            envelopes: entry.envelopes,
            types: kinds.types.clone(),
            markings: kinds.markings.clone(),
        });
        let applicants = row
            .manifest
            .applicants
            .iter()
            .map(|entry| ApplicantCount { id: entry.id.clone(), envelopes: entry.envelopes });
        let delivery = DeliveryDeed {
            batch: BatchLine::of(&row.manifest, row.sha256),
            destination: self.options.to.to_string(),
            late: row.late,
            outcome,
            messages: self.report.messages - messages,
            connectors: connectors_in_a_line(counts.collect()),
            applicants: applicants_in_a_line(applicants.collect()),
        };
        let again = self.ledger.is_reopened(row.id)?;
        Ok(if again { Deed::Redelivered(delivery) } else { Deed::Delivered(delivery) })
    }

    /// What a person rejected is not delivered; that it came again is worth a line.
    fn report_rejected(&mut self, row: &IncomingRow, index: &Index) {
        let rejected = index.lines.iter().filter(|line| self.before.rejected.contains(&line.sha256)).count();
        if rejected > 0 && !self.is_again {
            let (sequence, envelopes) = (row.manifest.sequence.get(), count(rejected as u64, "envelope"));
            let what = format!("{envelopes} of batch {sequence} not delivered: rejected here before");
            let finding = Finding::new(Code::Rejected, what).of_batch(row.manifest.stream, sequence);
            self.report.findings.push(finding.advise("who did it, and why: airpouch quarantine list --rejected"));
        }
    }

    fn report_batch(&mut self, row: &IncomingRow, before: Outcome, observer: &dyn Observer) {
        let reported = self.report.delivered_batches.iter().position(|done| done.batch.sha256 == row.sha256);
        if let Some(at) = reported.filter(|_| self.is_again) {
            // What the destination has now it had not when this run began.
            self.report.outcome.already_delivered = before.already_delivered;
            let more = self.report.outcome.since(before);
            let done = &mut self.report.delivered_batches[at];
            done.outcome.deferred = 0;
            done.outcome = done.outcome.and(more);
            observer.event(&Event::Delivered(done));
            return;
        }
        let delivered = DeliveredBatch {
            batch: BatchLine::of(&row.manifest, row.sha256),
            late: row.late && row.done_at.is_none(),
            outcome: self.report.outcome.since(before),
        };
        observer.event(&Event::Delivered(&delivered));
        self.report.delivered_batches.push(delivered);
    }

    /// A batch of which a file is gone waits for it; one whose signer contradicts himself is refused from here on.
    fn spoiled(&mut self, row: &IncomingRow, name: &str, fault: &PartFault) -> Result<()> {
        match fault {
            PartFault::Lie(_) => self.ledger.set_state(row.id, State::Refused, Some(Code::InvalidBatch))?,
            // The disk may answer better in the next run.
            PartFault::Unreadable(_) => {}
            PartFault::Missing | PartFault::NotAsNamed(_) => {
                put_away_damaged(self.site, row, name, fault)?;
                self.ledger.set_state(row.id, State::Incomplete, None)?;
            }
        }
        self.report.findings.push(findings::part(&row.manifest, name, fault));
        Ok(())
    }

    fn envelope(&mut self, row: &IncomingRow, index: &Index, envelope: UnpackedEnvelope) -> Result<()> {
        let UnpackedEnvelope { ordinal, bytes, read, objects, note } = envelope;
        let line = &index.lines[ordinal - 1];
        let known = self.known(line.sha256);
        // What waits was tried at the beginning of this run; that it still waits is no news.
        if matches!(known, Known::Held | Known::Quarantined) {
            self.list(ordinal, objects);
            return Ok(());
        }
        if known == Known::InThisRun || known == Known::Delivered && !self.options.redeliver {
            self.list(ordinal, objects);
            self.report.outcome.already_delivered += 1;
            return Ok(());
        }
        let suspected = if read.is_none() { self.suspect(line.sha256, &bytes, false)? } else { None };
        let _note = if read.is_none() { self.examining.note(&[line.sha256]) } else { note };
        let (decision, parsed) = match suspected {
            Some(decision) => {
                self.list(ordinal, objects);
                (decision, None)
            }
            None => {
                let (read, objects) = match read {
                    Some(read) => (read, objects),
                    None => {
                        let (parsed, objects) = unpack::parse(&bytes, self.objects.is_some());
                        (Read { parsed, examined: None }, objects)
                    }
                };
                self.list(ordinal, objects);
                let (parsed, redeliver) = (&read.parsed, self.options.redeliver);
                let case = Case { bytes: &bytes, parsed, examined: read.examined, known, redeliver };
                (self.decide(row.manifest.stream, case)?, read.parsed.ok())
            }
        };
        let entry = &row.manifest.connectors[line.connector];
        let origin = Origin {
            batch: row.id,
            stream: row.manifest.stream,
            sequence: row.manifest.sequence.get(),
            ordinal,
            name: line.name.clone(),
            sha256: line.sha256,
            mtime: Some(line.mtime),
            connector: entry.id.clone(),
            connector_name: entry.name.clone(),
        };
        self.carry_out(InHand { origin, bytes, envelope: parsed, copied: None }, decision)
    }

    /// What becomes of an envelope in whose examination a run has died; nothing if it is to be examined as any other.
    /// `again`: it is set aside for that.
    fn suspect(&self, sha256: Digest, bytes: &[u8], again: bool) -> Result<Option<Decision>> {
        let deaths = self.examining.deaths(sha256);
        if deaths >= DEATHS_MAX {
            return Ok(Some(Decision::Quarantine(decide::stops_runs(deaths))));
        }
        if deaths == 0 && !again {
            return Ok(None);
        }
        let arguments = [EXAMINE_APART, &self.sink.examiner().to_string()];
        let how = match self.options.program.examine(&arguments, bytes, self.observer) {
            Ok(Apart::CameThrough) => return Ok(None),
            Ok(Apart::Stopped(signal)) => {
                let at = "while an envelope was examined in a process of its own; the next import examines it again";
                return Err(Error::stopped(signal, at));
            }
            Ok(Apart::Died(how)) => how,
            Err(cause) => format!("it cannot be started: {cause}"),
        };
        Ok(Some(Decision::Hold(decide::stopped_a_run(&how))))
    }

    /// Decides, and asks ledger and destination about the connector of what is to go there.
    fn decide(&mut self, stream: StreamId, case: Case<'_>) -> Result<Decision> {
        let (policy, applicants) = (&self.options.policy, &self.options.applicants);
        let rules = Rules { policy, applicants, came_by: &self.came_by, examiner: self.sink.examiner() };
        let parsed = case.parsed;
        let decision = decide(case, rules);
        let (Decision::Deliver { .. }, Ok(envelope)) = (&decision, parsed) else { return Ok(decision) };
        let here = self.options.connector_here(&envelope.connector);
        let objection = self.owners.objection(self.ledger, stream, &envelope.connector, &here.id)?;
        if let Some(objection) = objection {
            return Ok(Decision::Hold(objection));
        }
        let (effects, unfit) =
            self.sink.admits(&here, &mut InLedger { ledger: self.ledger, destination: self.destination });
        self.record(effects)?;
        Ok(unfit?.map_or(decision, Decision::of_unfit))
    }

    fn known(&self, sha256: Digest) -> Known {
        if self.in_run.contains(&sha256) {
            return Known::InThisRun;
        }
        // A person decided for good, whichever batch brings it.
        if self.before.rejected.contains(&sha256) {
            return Known::Quarantined;
        }
        match self.before.aside.get(&sha256) {
            Some(AsideKind::Held) => Known::Held,
            // A released one was tried at the beginning of this run, and is not to be tried again.
            Some(AsideKind::Quarantined | AsideKind::Released) => Known::Quarantined,
            None if self.before.delivered.contains(&sha256) => Known::Delivered,
            None => Known::New,
        }
    }

    fn carry_out(&mut self, of: InHand, decision: Decision) -> Result<()> {
        match decision {
            Decision::AlreadyDelivered => self.report.outcome.already_delivered += 1,
            Decision::AsBefore => {}
            Decision::Empty(incompatible) => {
                self.report.pass_over(passed_over(&of.origin, incompatible));
                self.report.outcome.empty += 1;
                self.in_run.insert(of.origin.sha256);
                self.group.empty.push((of.origin.sha256, of.origin.batch, of.origin.ordinal));
            }
            Decision::Deliver { examined, instead, applicant } => {
                let InHand { origin, bytes, envelope: Some(envelope), copied } = of else { return Ok(()) };
                let (messages, incompatible) = match &examined {
                    Examined::Messages(messages) => (messages.count(), messages.split().incompatible().len()),
                    Examined::Whole => (0, 0),
                };
                let staged = Staged {
                    messages: messages as u64,
                    incompatible: Some(passed_over(&origin, incompatible as u64)),
                    connector: origin.connector_name.clone(),
                    copied,
                };
                self.staged.insert(origin.sha256, staged);
                self.in_run.insert(origin.sha256);
                let is_full = self.sink.stage(Deliverable {
                    name: self.name(&origin),
                    origin,
                    bytes: instead.unwrap_or(bytes),
                    examined,
                    connector: self.options.connector_here(&envelope.connector),
                    applicant,
                })?;
                if is_full {
                    return self.commit(false);
                }
            }
            Decision::Hold(objection) => {
                self.report.outcome.held += 1;
                self.put_aside(Kind::Held, &of, objection)?;
            }
            Decision::Quarantine(objection) => {
                self.report.outcome.quarantined += 1;
                self.put_aside(Kind::Quarantined, &of, objection)?;
            }
        }
        self.commit_if_full()
    }

    fn commit_if_full(&mut self) -> Result<()> {
        if self.group.aside.len() + self.group.empty.len() >= ASIDE_GROUP {
            self.commit(false)?;
        }
        Ok(())
    }

    /// A portable name that no other envelope has, also where two batches bear one number.
    fn name(&self, origin: &Origin) -> String {
        let name = format!("{}-{:08}-{:08}", origin.stream.prefix(), origin.sequence, origin.ordinal);
        self.forked.map_or_else(|| name.clone(), |sha256| format!("{name}-{}", sha256.short()))
    }

    /// What a dead run was at stays known until it is settled.
    pub fn keep_suspects(&self) -> Result<()> {
        self.examining.save()
    }
}

#[cfg(test)]
mod tests;
