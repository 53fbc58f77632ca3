//! deliver: groups of envelopes to the sink, and what the sink settled to the ledger.
//!
//! A group is durable before it is noted, noted before it is seen, and recorded after it is settled. A crash
//! at any point leaves either nothing of the group, or a note from which the next run finishes it.

use super::decide::{self, Decision, Known, decide};
use super::unpack::{UnpackedEnvelope, unpack};
use super::{ImportOptions, take};
use crate::disk;
use crate::envelope::Envelope;
use crate::error::Result;
use crate::ledger::Ledger;
use crate::ledger::delivered::{AsideRow, Group, IncomingRow, State};
use crate::limits::PLACING_GROUP;
use crate::pack::batch_line;
use crate::policy::Objection;
use crate::report::{DeliveredBatch, Finding, ImportReport, Observer, Weight};
use crate::set_aside::{self, BatchPlace, ConnectorName, Kind, Reason};
use crate::shelf::PartFault;
use crate::shelf::check::read_index;
use crate::shelf::kept::KeptShelf;
use crate::sink::{Deliverable, Sink};
use crate::site::Site;
use crate::text::{count, harmless};
use crate::verify::part_finding;

/// Findings about single envelopes that are shown one by one; the rest is counted.
const SHOWN_MAX: u64 = 20;

/// Delivers to one sink.
pub struct Delivering<'a> {
    site: &'a Site,
    ledger: &'a mut Ledger,
    sink: &'a mut dyn Sink,
    destination: i64,
    options: &'a ImportOptions,
    report: &'a mut ImportReport,
    group: Group,
    /// What is to be taken away from held/ or quarantine/ once the group is settled.
    released: Vec<(Kind, crate::digest::Digest)>,
    /// Digests in the group, so that one content is not delivered twice within it.
    in_group: std::collections::HashSet<crate::digest::Digest>,
    shown: u64,
}

/// Where an envelope came from, for names and reasons.
struct Origin<'a> {
    row_id: i64,
    stream: crate::stream::StreamId,
    sequence: u64,
    ordinal: usize,
    name: &'a str,
    sha256: crate::digest::Digest,
    connector: ConnectorName,
}

impl<'a> Delivering<'a> {
    /// Begins with an empty group.
    pub fn new(
        site: &'a Site,
        ledger: &'a mut Ledger,
        sink: &'a mut dyn Sink,
        destination: i64,
        options: &'a ImportOptions,
        report: &'a mut ImportReport,
    ) -> Self {
        let (group, released) = (Group::default(), Vec::new());
        Self {
            site,
            ledger,
            sink,
            destination,
            options,
            report,
            group,
            released,
            in_group: Default::default(),
            shown: 0,
        }
    }

    /// The batches to deliver, in order.
    pub fn admitted(&self) -> Result<Vec<IncomingRow>> {
        self.ledger.incoming_in(State::Admitted)
    }

    /// What waits goes first, for it is older: what is released, and what nothing speaks against any more.
    pub fn retry_set_aside(&mut self) -> Result<()> {
        for row in self.ledger.set_aside()? {
            let (kind, known) = match row.kind.as_str() {
                "held" => (Kind::Held, Known::Held),
                "released" => (Kind::Quarantined, Known::Released),
                _ => continue,
            };
            let bytes = match set_aside::get(self.site, kind, row.sha256) {
                Ok(bytes) => bytes,
                Err(e) => {
                    let lost =
                        Finding::new(Weight::Incomplete, "lost-from-site", e.what).at(e.place.unwrap_or_default());
                    self.report.findings.push(lost.advise("have its batch sent again, and import it with --redeliver"));
                    continue;
                }
            };
            let parsed = Envelope::parse(&bytes);
            self.one_set_aside(&row, kind, known, bytes, parsed)?;
        }
        self.commit()
    }

    fn one_set_aside(
        &mut self,
        row: &AsideRow,
        kind: Kind,
        known: Known,
        bytes: Vec<u8>,
        parsed: std::result::Result<Envelope, crate::envelope::NotAnEnvelope>,
    ) -> Result<()> {
        let Some(stream) = crate::stream::StreamId::parse(&row.stream) else { return Ok(()) };
        let connector = ConnectorName { id: row.connector.clone(), name: row.connector_name.clone() };
        let origin = Origin {
            row_id: row.batch,
            stream,
            sequence: row.sequence,
            ordinal: row.ordinal,
            name: &row.name,
            sha256: row.sha256,
            connector,
        };
        let decision = decide(&bytes, &parsed, known, false, &self.options.policy, &self.options.applicants, self.sink);
        match decision {
            Decision::Deliver { .. } => {
                self.released.push((kind, row.sha256));
                self.report.released += 1;
                self.carry_out(&origin, bytes, &parsed, decision)
            }
            Decision::Empty => {
                self.ledger.forget_aside(row.sha256)?;
                self.released.push((kind, row.sha256));
                self.carry_out(&origin, bytes, &parsed, decision)
            }
            // Released, but the sink cannot take it, or its applicant is mapped to nobody: it stays, and is said.
            Decision::Hold(objection) | Decision::Quarantine(objection) if known == Known::Released => {
                let finding = Finding::new(
                    Weight::Incomplete,
                    objection.code,
                    format!("released, and still not delivered: {}", objection.what),
                );
                self.report
                    .findings
                    .push(finding.at(harmless(&row.name)).advise(decide::advice(objection.code, row.sha256)));
                Ok(())
            }
            Decision::Quarantine(_) => {
                self.carry_out(&origin, bytes, &parsed, decision)?;
                self.released.push((kind, row.sha256));
                Ok(())
            }
            Decision::Hold(_) | Decision::AsBefore | Decision::AlreadyDelivered => Ok(()),
        }
    }

    /// Delivers one batch from the inbox.
    pub fn batch(&mut self, row: &IncomingRow, observer: &dyn Observer) -> Result<()> {
        let shelf = KeptShelf::new(take::folder(self.site, &row.manifest, row.sha256));
        let index = match read_index(&shelf, &row.manifest) {
            Ok(index) => index,
            Err(fault) => return self.spoiled(row, &row.manifest.index.name, &fault),
        };
        observer.begin(&format!("delivering batch {}", row.manifest.sequence), row.manifest.totals.bytes);
        let threads = self.options.threads;
        let fault = unpack(&shelf, &row.manifest, &index, threads, |envelope| {
            observer.advance(envelope.bytes.len() as u64);
            self.envelope(row, &index, envelope)
        });
        let fault = fault.and_then(|fault| self.commit().map(|()| fault));
        observer.end();
        if let Some((name, fault)) = fault? {
            return self.spoiled(row, &name, &fault);
        }
        self.ledger.set_done(row.id, disk::now().0)?;
        self.report
            .delivered_batches
            .push(DeliveredBatch { batch: batch_line(&row.manifest, row.sha256), late: row.late });
        Ok(())
    }

    /// A batch of which a file is gone waits for it; one whose signer contradicts himself is refused from here on.
    fn spoiled(&mut self, row: &IncomingRow, name: &str, fault: &PartFault) -> Result<()> {
        let (state, code) = match fault {
            PartFault::Lie(_) => (State::Refused, "lying-batch"),
            _ => (State::Incomplete, "incomplete"),
        };
        self.ledger.set_state(row.id, state, Some(code))?;
        self.report.findings.push(part_finding(&row.manifest, name, fault));
        Ok(())
    }

    fn envelope(
        &mut self,
        row: &IncomingRow,
        index: &crate::batch::index::Index,
        envelope: UnpackedEnvelope,
    ) -> Result<()> {
        let line = &index.lines[envelope.ordinal - 1];
        let known = self.known(line.sha256)?;
        let decision = decide(
            &envelope.bytes,
            &envelope.parsed,
            known,
            self.options.redeliver,
            &self.options.policy,
            &self.options.applicants,
            self.sink,
        );
        let entry = &row.manifest.connectors[line.connector];
        let origin = Origin {
            row_id: row.id,
            stream: row.manifest.stream,
            sequence: row.manifest.sequence.get(),
            ordinal: envelope.ordinal,
            name: &line.name,
            sha256: line.sha256,
            connector: ConnectorName { id: entry.id.clone(), name: entry.name.clone() },
        };
        self.carry_out(&origin, envelope.bytes, &envelope.parsed, decision)
    }

    fn known(&self, sha256: crate::digest::Digest) -> Result<Known> {
        if self.in_group.contains(&sha256) {
            return Ok(Known::Delivered);
        }
        Ok(match self.ledger.aside_kind(sha256)?.as_deref() {
            Some("held") => Known::Held,
            Some("quarantined") => Known::Quarantined,
            // It was tried at the beginning of this run, and is not to be tried again.
            Some(_) => Known::Quarantined,
            None if self.ledger.is_delivered(self.destination, sha256)? => Known::Delivered,
            None => Known::New,
        })
    }

    fn carry_out(
        &mut self,
        origin: &Origin<'_>,
        bytes: Vec<u8>,
        parsed: &std::result::Result<Envelope, crate::envelope::NotAnEnvelope>,
        decision: Decision,
    ) -> Result<()> {
        match decision {
            Decision::AlreadyDelivered => self.report.already_delivered += 1,
            Decision::AsBefore => {}
            Decision::Empty => {
                self.report.empty += 1;
                self.group.empty.push((origin.sha256, origin.row_id, origin.ordinal));
            }
            Decision::Deliver { instead, applicant } => {
                self.in_group.insert(origin.sha256);
                self.sink.stage(Deliverable {
                    sha256: origin.sha256,
                    bytes: instead.unwrap_or(bytes),
                    batch: origin.row_id,
                    ordinal: origin.ordinal,
                    name: format!("{}-{:08}-{:08}", origin.stream.prefix(), origin.sequence, origin.ordinal),
                    applicant,
                })?;
            }
            Decision::Hold(objection) => self.put_aside(Kind::Held, origin, &bytes, parsed, objection)?,
            Decision::Quarantine(objection) => self.put_aside(Kind::Quarantined, origin, &bytes, parsed, objection)?,
        }
        if self.sink.staged() >= PLACING_GROUP || self.group.aside.len() + self.group.empty.len() >= PLACING_GROUP {
            self.commit()?;
        }
        Ok(())
    }

    fn put_aside(
        &mut self,
        kind: Kind,
        origin: &Origin<'_>,
        bytes: &[u8],
        parsed: &std::result::Result<Envelope, crate::envelope::NotAnEnvelope>,
        objection: Objection,
    ) -> Result<()> {
        let reason = Reason {
            code: objection.code.to_owned(),
            what: objection.what,
            place: objection.place,
            advice: decide::advice(objection.code, origin.sha256),
            batch: BatchPlace { stream: origin.stream, sequence: origin.sequence, ordinal: origin.ordinal },
            connector: origin.connector.clone(),
            name: origin.name.to_owned(),
            sha256: origin.sha256,
        };
        set_aside::put(self.site, kind, bytes, &reason)?;
        match kind {
            Kind::Held => self.report.held += 1,
            Kind::Quarantined => self.report.quarantined += 1,
        }
        self.shown += 1;
        if self.shown <= SHOWN_MAX {
            let finding = Finding::new(Weight::Incomplete, objection.code, format!("{}: {}", kind.word(), reason.what));
            let place = format!("{} (envelope {} of batch {})", harmless(origin.name), origin.ordinal, origin.sequence);
            self.report.findings.push(finding.at(place).advise(reason.advice.clone()));
        }
        self.in_group.insert(origin.sha256);
        let applicant = parsed.as_ref().ok().and_then(|e| e.applicant.clone());
        self.group.aside.push((kind, reason, origin.row_id, applicant));
        Ok(())
    }

    /// Durable, noted, seen, recorded: in this order.
    pub fn commit(&mut self) -> Result<()> {
        self.group.placing = self.sink.prepare()?;
        let group = std::mem::take(&mut self.group);
        if !group.aside.is_empty() {
            disk::sync_file_system(self.site.root())?;
        }
        if !(group.aside.is_empty() && group.empty.is_empty() && group.placing.is_empty()) {
            self.ledger.note_group(self.destination, &group)?;
        }
        if !group.placing.is_empty() {
            let delivery = self.sink.settle()?;
            self.report.delivered += delivery.0.len() as u64;
            self.ledger.settle(self.destination, &delivery, self.sink.high_water())?;
        }
        for (kind, sha256) in std::mem::take(&mut self.released) {
            set_aside::remove(self.site, kind, sha256)?;
        }
        self.in_group.clear();
        Ok(())
    }
}

impl Drop for Delivering<'_> {
    fn drop(&mut self) {
        if self.shown > SHOWN_MAX {
            let rest = count(self.shown - SHOWN_MAX, "envelope");
            self.report.findings.push(
                Finding::new(Weight::Incomplete, "more", format!("{rest} more were held or quarantined"))
                    .advise("airpouch quarantine list, airpouch status"),
            );
        }
    }
}
