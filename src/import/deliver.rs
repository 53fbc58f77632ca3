//! deliver: groups of envelopes to the sink, and what the sink settled to the ledger.
//!
//! A group is durable before it is noted, noted before it is seen, and recorded after it is settled. A crash
//! at any point leaves either nothing of the group, or a note from which the next run finishes it; to queues, from which
//! it sends the group again and says so.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::decide::{self, Decision, Known, Rules, decide};
use super::owners::Owners;
use super::unpack::{Ahead, Read, UnpackedEnvelope, unpack};
use super::{ImportOptions, put_away_damaged, shelf_of};
use crate::applicants::CameBy;
use crate::batch::index::{Index, Names};
use crate::code::Code;
use crate::digest::Digest;
use crate::disk;
use crate::envelope::{Envelope, NotAnEnvelope};
use crate::error::{Error, Result};
use crate::examining::{Apart, EXAMINE_APART, Examining};
use crate::findings;
use crate::fit::{Examined, Unfit};
use crate::lack;
use crate::ledger::importer::{
    Aside, AsideKind, AsideRow, Group, ImporterLedger, ImporterView, IncomingRow, KnownBefore, State,
};
use crate::limits::{ASIDE_GROUP, BATCH_ENVELOPES_MAX, DEATHS_MAX};
use crate::policy::Objection;
use crate::report::{BatchLine, DeliveredBatch, Event, Finding, ImportReport, Observer, Outcome, PassedOver};
use crate::set_aside::{self, BatchPlace, ConnectorName, Kind, Reason};
use crate::shelf::PartFault;
use crate::shelf::check::{envelopes_at, read_index};
use crate::sink::{Deferred, Deliverable, Delivery, Ended, Origin, Prepared, Refused, Sink};
use crate::site::Site;
use crate::stream::{Lineages, StreamId};
use crate::text::{self, count, harmless};

/// An envelope as it was read, if it is one.
type Parsed = std::result::Result<Envelope, NotAnEnvelope>;

/// Takes away what a crash left in held/ and quarantine/ of envelopes that were delivered.
pub fn sweep_delivered(site: &Site, ledger: &ImporterView, destination: i64) -> Result<()> {
    for kind in [Kind::Held, Kind::Quarantined] {
        for sha256 in set_aside::digests(site, kind)? {
            if ledger.aside_kind(sha256)?.is_none() && ledger.is_delivered(destination, sha256)? {
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

/// Where an envelope that waits was set aside, and what is known of it by that.
fn kind_of(row: &AsideRow) -> (Kind, Known) {
    match row.kind {
        AsideKind::Held => (Kind::Held, Known::Held),
        AsideKind::Quarantined | AsideKind::Released => (Kind::Quarantined, Known::Released),
    }
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
}

impl<'a> Delivering<'a> {
    /// Begins with an empty group.
    ///
    /// # Errors
    /// The system refused.
    pub fn new(
        site: &'a Site,
        ledger: &'a mut ImporterLedger,
        sink: &'a mut dyn Sink,
        destination: i64,
        options: &'a ImportOptions,
        report: &'a mut ImportReport,
    ) -> Result<Self> {
        Ok(Self {
            site,
            ledger,
            sink,
            destination,
            options,
            report,
            group: Group::default(),
            released: Vec::new(),
            in_run: HashSet::new(),
            before: Arc::default(),
            staged: HashMap::new(),
            owners: Owners::default(),
            deferred: BTreeMap::new(),
            has_deferred: false,
            is_again: false,
            aside_bytes: None,
            uncopied: BTreeMap::new(),
            forked: None,
            lineages: None,
            came_by: CameBy::default(),
            examining: Arc::new(Examining::open(site)?),
        })
    }

    /// The ledger as it stands now.
    pub fn ledger(&self) -> &ImporterView {
        self.ledger
    }

    /// Tells the sink how many connectors have something to go, so that it need not defer one that is alone.
    pub fn announce(&mut self) -> Result<()> {
        let mut connectors: BTreeSet<String> = BTreeSet::new();
        let waits = self.ledger.aside_by_connector()?.into_iter().filter(|(_, _, is_held, _)| *is_held);
        connectors.extend(waits.map(|(_, connector, ..)| connector));
        for batch in self.ledger.batches_in(State::Admitted)? {
            // More than one is all that matters.
            if connectors.len() > 1 {
                break;
            }
            let row = self.ledger.incoming_by_id(batch.id)?;
            connectors.extend(row.into_iter().flat_map(|row| row.manifest.connectors).map(|entry| entry.id));
        }
        self.sink.expects(connectors.len());
        Ok(())
    }

    /// Waits until the sink may take what it deferred; then all that is left goes to it once more.
    pub fn goes_on(&mut self) -> Result<bool> {
        let goes_on = self.sink.wait_for_deferred();
        self.report.findings.append(&mut self.sink.findings());
        if goes_on? {
            self.deferred.clear();
            self.report.outcome.deferred = 0;
            self.is_again = true;
            return Ok(true);
        }
        Ok(false)
    }

    /// What waits goes first, for it is older: what is released, and what nothing speaks against any more.
    pub fn retry_set_aside(&mut self) -> Result<()> {
        for batch in self.ledger.batches_with_waiting()? {
            self.forked = self.ledger.shares_its_number(batch)?;
            self.retry_batch(batch)?;
        }
        self.commit(true)?;
        self.close_works(Ended::Batch)
    }

    /// What waits of one batch, in its order. What lies in the inbox alone is unpacked once more.
    fn retry_batch(&mut self, batch: i64) -> Result<()> {
        let in_inbox = self.ledger.waiting_in_inbox(batch)?;
        let mut from = 1;
        if let Some(row) = self.ledger.incoming_by_id(batch)?.filter(|_| !in_inbox.is_empty()) {
            let shelf = shelf_of(self.site, &row);
            let mut done = Ok(());
            let read = envelopes_at(&shelf, &row.manifest, &in_inbox, &mut |ordinal, bytes| {
                done = self.retry_copies(batch, from..=ordinal).and_then(|()| self.retry_one(batch, ordinal, bytes));
                from = ordinal + 1;
                done.is_ok()
            });
            done?;
            if let Err((name, fault)) = lack::apart(read)? {
                self.spoiled(&row, &name, &fault)?;
            }
        }
        self.retry_copies(batch, from..=BATCH_ENVELOPES_MAX as usize)
    }

    fn retry_one(&mut self, batch: i64, ordinal: usize, bytes: Vec<u8>) -> Result<()> {
        let row = self.ledger.aside_at(batch, ordinal)?;
        row.map_or(Ok(()), |row| self.one_set_aside(&row, bytes))
    }

    /// What was copied and waits at these places of a batch.
    fn retry_copies(&mut self, batch: i64, mut places: RangeInclusive<usize>) -> Result<()> {
        loop {
            let rows = self.ledger.waiting_copies(batch, &places)?;
            let Some(last) = rows.last() else { return Ok(()) };
            places = last.ordinal + 1..=*places.end();
            for row in rows {
                match set_aside::get(self.site, kind_of(&row).0, row.sha256) {
                    Ok(bytes) => self.one_set_aside(&row, bytes)?,
                    // What the machine lacks to read it says nothing of the file.
                    Err(cause) if cause.lack.is_some() => return Err(cause),
                    Err(cause) => self.lost_from_site(&row, cause)?,
                }
            }
        }
    }

    fn one_set_aside(&mut self, row: &AsideRow, bytes: Vec<u8>) -> Result<()> {
        let (kind, known) = kind_of(row);
        let copied = row.copied.then_some(kind);
        self.came_by = self.came_by(row.stream, row.batch)?;
        let origin = Origin {
            batch: row.batch,
            stream: row.stream,
            sequence: row.sequence,
            ordinal: row.ordinal,
            name: row.name.clone(),
            sha256: row.sha256,
            mtime: row.mtime,
            connector: row.connector.clone(),
            connector_name: row.connector_name.clone(),
        };
        let is_known_for_it = [Code::StoppedARun, Code::StopsRuns].contains(&row.code);
        let suspected = self.suspect(row.sha256, &bytes, is_known_for_it);
        let _note = self.examining.note(&[row.sha256]);
        self.examining.settle([row.sha256].into_iter());
        let (decision, parsed) = match suspected {
            Some(decision) => (decision, None),
            None => {
                let parsed = Envelope::parse(&bytes);
                (self.decide(row.stream, &bytes, &parsed, None, (known, false))?, parsed.ok())
            }
        };
        let envelope = parsed.as_ref();
        match decision {
            // Runs died of it again since it was released: a person decides anew.
            Decision::Quarantine(objection) if objection.code == Code::StopsRuns && known == Known::Released => {
                self.put_aside(Kind::Quarantined, &origin, &bytes, None, objection, copied).map(drop)
            }
            decision @ (Decision::Deliver { .. } | Decision::Empty(_)) => {
                self.released.push((kind, row.sha256));
                self.report.released += u64::from(matches!(decision, Decision::Deliver { .. }));
                self.carry_out(&origin, bytes, envelope, decision, copied)
            }
            // Released, but the site's settings hold it, or the sink cannot take it: it stays, and is said.
            Decision::Hold(objection) | Decision::Quarantine(objection) if known == Known::Released => {
                let what = format!("released, and still not delivered: {}", objection.what);
                let finding = Finding::new(objection.code, what)
                    .of_batch(row.stream, row.sequence)
                    .of_envelope(row.ordinal, harmless(&row.name))
                    .of_connector(harmless(&row.connector), harmless(&row.connector_name));
                let advice = objection.code.advice(row.sha256, &row.connector);
                self.report.findings.push(finding.labelled(AsideKind::Held.word()).advise(advice));
                Ok(())
            }
            Decision::Quarantine(objection) => {
                self.report.outcome.quarantined += 1;
                if self.put_aside(Kind::Quarantined, &origin, &bytes, envelope, objection, copied)? {
                    self.released.push((kind, row.sha256));
                }
                self.commit_if_full()
            }
            // The first reason is gone, and there is another one.
            Decision::Hold(objection) if objection.code != row.code => {
                self.put_aside(Kind::Held, &origin, &bytes, envelope, objection, copied).map(drop)
            }
            Decision::Hold(_) | Decision::AsBefore | Decision::AlreadyDelivered => Ok(()),
        }
    }

    /// Its file is gone or was changed. What was only held is unpacked once more, while its batch lies in the inbox;
    /// what a person has released was looked at, and nothing else takes its place.
    fn lost_from_site(&mut self, row: &AsideRow, cause: Error) -> Result<()> {
        let batch = self.ledger.incoming_by_id(row.batch)?.filter(|b| b.state == State::Delivered && !b.pruned);
        if let Some(batch) = batch.filter(|_| row.kind == AsideKind::Held) {
            self.ledger.forget_aside(row.sha256)?;
            return self.ledger.set_state(batch.id, State::Admitted, None);
        }
        let lost = Finding::new(Code::LostFromSite, cause.what).at(cause.place.unwrap_or_default());
        self.report.findings.push(lost.advise(format!(
            "at the exporter: airpouch carry MEDIUM --resend {}:{}; then here: airpouch import MEDIUM --redeliver",
            row.stream, row.sequence
        )));
        Ok(())
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
    pub fn batch(&mut self, row: &IncomingRow, observer: &dyn Observer) -> Result<()> {
        let before = self.report.outcome;
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
        let is_settled =
            |sha256| known.aside.contains_key(&sha256) || known.delivered.contains(&sha256) && !options.redeliver;
        let examining = Arc::clone(&self.examining);
        let (policy, examiner) = (&options.policy, self.sink.examiner());
        let ahead = Ahead { policy, examiner, is_settled: &is_settled, examining: &examining };
        let fault = unpack(&shelf, &row.manifest, &index, options.threads, ahead, |envelope| {
            observer.advance(envelope.bytes.len() as u64);
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
            self.ledger.set_done(row.id, disk::now().0)?;
            if self.options.redeliver {
                self.ledger.settle_gone(self.destination, row.id)?;
            }
        }
        self.close_works(Ended::Batch)?;
        self.report_batch(row, before, observer);
        Ok(())
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
        let UnpackedEnvelope { ordinal, bytes, read, note } = envelope;
        let line = &index.lines[ordinal - 1];
        let known = self.known(line.sha256);
        // What waits was tried at the beginning of this run; that it still waits is no news.
        if matches!(known, Known::Held | Known::Quarantined) {
            return Ok(());
        }
        if known == Known::InThisRun || known == Known::Delivered && !self.options.redeliver {
            self.report.outcome.already_delivered += 1;
            return Ok(());
        }
        let suspected = if read.is_none() { self.suspect(line.sha256, &bytes, false) } else { None };
        let _note = if read.is_none() { self.examining.note(&[line.sha256]) } else { note };
        let (decision, parsed) = match suspected {
            Some(decision) => (decision, None),
            None => {
                let read = read.unwrap_or_else(|| Read { parsed: Envelope::parse(&bytes), examined: None });
                let (stream, known) = (row.manifest.stream, (known, self.options.redeliver));
                (self.decide(stream, &bytes, &read.parsed, read.examined, known)?, read.parsed.ok())
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
        self.carry_out(&origin, bytes, parsed.as_ref(), decision, None)
    }

    /// What becomes of an envelope in whose examination a run has died; nothing if it is to be examined as any other.
    /// `again`: it is set aside for that.
    fn suspect(&self, sha256: Digest, bytes: &[u8], again: bool) -> Option<Decision> {
        let deaths = self.examining.deaths(sha256);
        if deaths >= DEATHS_MAX {
            return Some(Decision::Quarantine(decide::stops_runs(deaths)));
        }
        if deaths == 0 && !again {
            return None;
        }
        let arguments = [EXAMINE_APART, &self.sink.examiner().to_string()];
        let how = match self.options.program.examine(&arguments, bytes) {
            Ok(Apart::CameThrough) => return None,
            Ok(Apart::Died(how)) => how,
            Err(cause) => format!("it cannot be started: {cause}"),
        };
        Some(Decision::Hold(decide::stopped_a_run(&how)))
    }

    /// Decides, and asks ledger and destination about the connector of what is to go there. With what is known of the
    /// envelope it is said whether it is to go again.
    fn decide(
        &mut self,
        stream: StreamId,
        bytes: &[u8],
        parsed: &Parsed,
        examined: Option<std::result::Result<Examined, Unfit>>,
        (known, redeliver): (Known, bool),
    ) -> Result<Decision> {
        let (policy, applicants) = (&self.options.policy, &self.options.applicants);
        let rules = Rules { policy, applicants, came_by: &self.came_by, examiner: self.sink.examiner() };
        let decision = decide(bytes, parsed, examined, known, redeliver, rules);
        let (Decision::Deliver { .. }, Ok(envelope)) = (&decision, parsed) else { return Ok(decision) };
        let here = self.options.connector_here(&envelope.connector);
        let take_over = &self.options.reach.take_over;
        let objection = self.owners.objection(self.ledger, take_over, stream, &envelope.connector, &here.id)?;
        if let Some(objection) = objection {
            return Ok(Decision::Hold(objection));
        }
        let (ledger, destination) = (&*self.ledger, self.destination);
        let unfit =
            self.sink.admits(&here, &mut |id, name, is_ours| ledger.note_registered(destination, id, name, is_ours));
        self.ledger.note_shown(self.destination, self.sink.exist())?;
        Ok(unfit?.map_or(decision, Decision::of_unfit))
    }

    fn known(&self, sha256: Digest) -> Known {
        if self.in_run.contains(&sha256) {
            return Known::InThisRun;
        }
        match self.before.aside.get(&sha256) {
            Some(AsideKind::Held) => Known::Held,
            // A released one was tried at the beginning of this run, and is not to be tried again.
            Some(AsideKind::Quarantined | AsideKind::Released) => Known::Quarantined,
            None if self.before.delivered.contains(&sha256) => Known::Delivered,
            None => Known::New,
        }
    }

    fn carry_out(
        &mut self,
        origin: &Origin,
        bytes: Vec<u8>,
        envelope: Option<&Envelope>,
        decision: Decision,
        copied: Option<Kind>,
    ) -> Result<()> {
        match decision {
            Decision::AlreadyDelivered => self.report.outcome.already_delivered += 1,
            Decision::AsBefore => {}
            Decision::Empty(incompatible) => {
                self.report.pass_over(passed_over(origin, incompatible));
                self.report.outcome.empty += 1;
                self.in_run.insert(origin.sha256);
                self.group.empty.push((origin.sha256, origin.batch, origin.ordinal));
            }
            Decision::Deliver { examined, instead, applicant } => {
                let Some(envelope) = envelope else { return Ok(()) };
                let (messages, incompatible) = match &examined {
                    Examined::Messages(messages) => (messages.count(), messages.split().incompatible().len()),
                    Examined::Whole => (0, 0),
                };
                let staged = Staged {
                    messages: messages as u64,
                    incompatible: Some(passed_over(origin, incompatible as u64)),
                    connector: origin.connector_name.clone(),
                    copied,
                };
                self.staged.insert(origin.sha256, staged);
                self.in_run.insert(origin.sha256);
                self.sink.stage(Deliverable {
                    origin: origin.clone(),
                    bytes: instead.unwrap_or(bytes),
                    examined,
                    connector: self.options.connector_here(&envelope.connector),
                    name: self.name(origin),
                    applicant,
                })?;
            }
            Decision::Hold(objection) => {
                self.report.outcome.held += 1;
                self.put_aside(Kind::Held, origin, &bytes, envelope, objection, copied)?;
            }
            Decision::Quarantine(objection) => {
                self.report.outcome.quarantined += 1;
                self.put_aside(Kind::Quarantined, origin, &bytes, envelope, objection, copied)?;
            }
        }
        self.commit_if_full()
    }

    fn commit_if_full(&mut self) -> Result<()> {
        if self.sink.is_full() || self.group.aside.len() + self.group.empty.len() >= ASIDE_GROUP {
            self.commit(false)?;
        }
        Ok(())
    }

    /// A portable name that no other envelope has, also where two batches bear one number.
    fn name(&self, origin: &Origin) -> String {
        let name = format!("{}-{:08}-{:08}", origin.stream.prefix(), origin.sequence, origin.ordinal);
        self.forked.map_or_else(|| name.clone(), |sha256| format!("{name}-{}", sha256.short()))
    }

    /// Sets an envelope aside; `copied` says where it lies already, if it was copied before. `false` if it has to stay as
    /// it was: it lies there alone, and nothing can be written where it belongs now.
    fn put_aside(
        &mut self,
        kind: Kind,
        origin: &Origin,
        bytes: &[u8],
        envelope: Option<&Envelope>,
        objection: Objection,
        copied: Option<Kind>,
    ) -> Result<bool> {
        let reason = Reason {
            code: objection.code.word().to_owned(),
            what: objection.what,
            place: objection.place,
            advice: self.options.call.complete(&objection.code.advice(origin.sha256, &origin.connector)),
            batch: BatchPlace { stream: origin.stream, sequence: origin.sequence, ordinal: origin.ordinal },
            connector: ConnectorName { id: origin.connector.clone(), name: origin.connector_name.clone() },
            name: origin.name.clone(),
            sha256: origin.sha256,
        };
        let finding = Finding::new(objection.code, reason.what.clone()).labelled(kind.word());
        self.report.findings.push(
            finding
                .of_batch(origin.stream, origin.sequence)
                .of_envelope(origin.ordinal, harmless(&origin.name))
                .of_connector(harmless(&origin.connector), harmless(&origin.connector_name))
                .advise(reason.advice.clone())
                .ranked(objection.rank),
        );
        self.in_run.insert(origin.sha256);
        let written = match copied {
            Some(there) if there == kind => set_aside::put_reason(self.site, kind, &reason),
            Some(_) => set_aside::put(self.site, kind, bytes, &reason),
            None => self.copy_within_quota(kind, bytes, &reason),
        };
        let is_copied = written.is_ok() || copied == Some(kind);
        if let Err(cause) = written {
            let uncopied = self.uncopied.entry((origin.stream, origin.sequence)).or_insert((0, cause.what));
            uncopied.0 += 1;
            if copied.is_some_and(|there| there != kind) {
                return Ok(false);
            }
        }
        let (batch, bytes) = (origin.batch, bytes.len() as u64);
        let applicant = envelope.and_then(|e| e.applicant.clone());
        self.group.aside.push(Aside { kind, reason, batch, applicant, mtime: origin.mtime, copied: is_copied, bytes });
        Ok(true)
    }

    /// Copies an envelope of the inbox to held/ or quarantine/. Where that fails it stays in the inbox alone.
    fn copy_within_quota(&mut self, kind: Kind, bytes: &[u8], reason: &Reason) -> Result<()> {
        let of_stream = match &mut self.aside_bytes {
            Some(all) => all,
            none => none.insert(self.ledger.aside_bytes()?),
        };
        let used = of_stream.entry(reason.batch.stream).or_default();
        let (size, quota) = (bytes.len() as u64, self.options.set_aside_quota);
        if *used + size > quota {
            return Err(Error::failed(format!("the stream has used up its {} there", text::size(quota))));
        }
        let put = set_aside::put(self.site, kind, bytes, reason);
        match put {
            Ok(()) => *used += size,
            // What was written of it is of no use.
            Err(_) => set_aside::remove(self.site, kind, reason.sha256).unwrap_or_default(),
        }
        put
    }

    /// Durable, noted, seen, recorded: in this order. With `all` it waits until the destination has everything.
    pub fn commit(&mut self, all: bool) -> Result<()> {
        let (ledger, destination) = (&mut *self.ledger, self.destination);
        let prepared = self.sink.prepare(&mut |work| ledger.note_opened(destination, &[work]));
        // What was opened is noted in any case, for it is there.
        self.note_opened()?;
        self.report.findings.append(&mut self.sink.findings());
        let mut delivery = Delivery::default();
        if prepared.is_err() {
            // What came through before is not to go again.
            drop(self.sink.landed(&mut delivery));
            self.note_opened()?;
            self.record(std::mem::take(&mut delivery))?;
        }
        match prepared? {
            Prepared::Placing(placing) => self.group.placing = placing,
            Prepared::Sending(number) => self.group.on_their_way = Some(number),
        }
        let group = std::mem::take(&mut self.group);
        self.note(&group)?;
        let settled = self.sink.settle(all, &mut delivery);
        self.note_opened()?;
        self.record(delivery)?;
        self.note_closed()?;
        settled?;
        if all {
            for (kind, sha256) in std::mem::take(&mut self.released) {
                set_aside::remove(self.site, kind, sha256)?;
            }
            if !self.options.redeliver {
                self.in_run.clear();
            }
        }
        Ok(())
    }

    fn note_opened(&mut self) -> Result<()> {
        self.ledger.note_opened(self.destination, &self.sink.opened())
    }

    fn note(&mut self, group: &Group) -> Result<()> {
        if group.aside.iter().any(|aside| aside.copied) {
            disk::sync_file_system(self.site.root())?;
        }
        if !group.is_empty() {
            self.ledger.note_group(self.destination, group)?;
        }
        Ok(())
    }

    /// Records what the sink settled. What it does not take is set aside.
    fn record(&mut self, mut delivery: Delivery) -> Result<()> {
        if delivery.placed.is_empty() && delivery.refused.is_empty() && delivery.deferred.is_empty() {
            return Ok(());
        }
        self.report.outcome.delivered += delivery.placed.len() as u64;
        // What is refused may come again until it is set aside, which is noted behind it.
        let on_their_way = delivery.on_their_way.filter(|_| !delivery.refused.is_empty());
        delivery.on_their_way = delivery.on_their_way.map(|n| n + delivery.refused.len() as u64);
        self.ledger.settle(self.destination, &delivery, self.sink.high_water())?;
        for placing in &delivery.placed {
            let staged = self.staged.remove(&placing.sha256).unwrap_or_default();
            self.report.messages += staged.messages;
            staged.incompatible.into_iter().for_each(|passed_over| self.report.pass_over(passed_over));
        }
        delivery.deferred.into_iter().for_each(|deferred| self.defer(deferred));
        for refused in delivery.refused {
            let Refused { origin, bytes, code, what, place, .. } = refused;
            let parsed = Envelope::parse(&bytes).ok();
            let copied = self.staged.remove(&origin.sha256).and_then(|staged| staged.copied);
            self.report.outcome.quarantined += 1;
            let objection = Objection::new(code, what, place);
            let moved = self.put_aside(Kind::Quarantined, &origin, &bytes, parsed.as_ref(), objection, copied)?;
            // What was held before lies in held/ no more, but here.
            self.released.retain(|(kind, sha256)| (moved && *kind == Kind::Held) || *sha256 != origin.sha256);
        }
        self.group.on_their_way = on_their_way;
        let group = std::mem::take(&mut self.group);
        self.note(&group)
    }

    /// The sink cannot take an envelope at the moment. One that was held or released before is so still.
    fn defer(&mut self, deferred: Deferred) {
        let Deferred { placing, code, what, advice } = deferred;
        let staged = self.staged.remove(&placing.sha256).unwrap_or_default();
        let were_aside = self.released.len();
        self.released.retain(|(_, sha256)| *sha256 != placing.sha256);
        self.report.released -= (were_aside - self.released.len()) as u64;
        // In this run it may go once more.
        self.in_run.remove(&placing.sha256);
        self.has_deferred = true;
        self.report.outcome.deferred += 1;
        let finding = Finding::new(code, what).advise(advice);
        self.deferred.entry((staged.connector, code)).or_insert((0, finding)).0 += 1;
    }

    /// Reports what the sink could not take in this run, once for each connector and reason.
    fn report_deferred(&mut self) {
        for ((connector, _), (number, mut finding)) in std::mem::take(&mut self.deferred) {
            let envelopes = count(number, "envelope");
            finding.what = format!("{envelopes} of {}: {}", harmless(&connector), finding.what);
            self.report.findings.push(finding.labelled("not delivered"));
        }
    }

    /// Reports what is set aside and lies in the inbox alone, once for each batch.
    fn report_uncopied(&mut self) {
        for ((stream, sequence), (number, why)) in std::mem::take(&mut self.uncopied) {
            let envelopes = count(number, "envelope");
            let what = format!("{envelopes} of batch {sequence} could not be copied to held/ or quarantine/: {why}");
            let finding = Finding::new(Code::KeptInInbox, what).of_batch(stream, sequence);
            self.report.findings.push(finding.advise(
                "nothing is lost: they are kept in inbox/, which airpouch does not clear of them; make room, or raise set_aside_quota",
            ));
        }
    }

    /// What a dead run was at stays known until it is settled.
    pub fn keep_suspects(&self) -> Result<()> {
        self.examining.save()
    }

    /// Closes the works of what has ended.
    pub fn close_works(&mut self, ended: Ended<'_>) -> Result<()> {
        if !matches!(ended, Ended::Batch) {
            self.report_deferred();
        }
        self.report_uncopied();
        self.note_opened()?;
        let closed = self.sink.close_works(ended);
        self.report.findings.append(&mut self.sink.findings());
        self.note_closed()?;
        closed
    }

    /// Works that are closed are no business of the next run, but those that are gone with what was delivered under them.
    fn note_closed(&mut self) -> Result<()> {
        self.ledger.note_gone(self.destination, self.sink.gone())?;
        self.ledger.forget_works(&self.sink.closed())
    }
}

#[cfg(test)]
mod tests;
