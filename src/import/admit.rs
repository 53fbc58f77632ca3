//! admit: may this batch be delivered, and is it its turn?

mod admitted;
mod open;
mod order;

use std::collections::BTreeMap;

use super::{Import, OnGap, put_away_damaged, shelf_of};
use crate::batch::manifest::Succeeds;
use crate::code::Code;
use crate::error::Result;
use crate::findings;
use crate::ledger::importer::{AdmissionNote, ImporterView, IncomingRow, State};
use crate::shelf::PartFault;
use crate::stream::{Lineages, StreamId, is_settled};

pub use admitted::Admitted;

use open::{OpenedBatch, Refusal, open};
use order::{Kept, StreamAdmission, admit};

/// A batch that may be admitted, as far as its place in the stream is judged by it.
struct Candidate {
    id: i64,
    standing: Option<Code>,
    succeeds: Option<Succeeds>,
    opened: OpenedBatch,
}

impl Import<'_> {
    /// Admits what may be delivered and is next in its stream.
    pub(super) fn admit_all(&mut self) -> Result<()> {
        self.recheck_admitted()?;
        let mut waiting: BTreeMap<StreamId, Vec<i64>> = BTreeMap::new();
        for batch in self.ledger.batches_in(State::Whole)? {
            waiting.entry(batch.stream).or_default().push(batch.id);
        }
        let order = succession_order(waiting.keys().copied().collect(), &self.ledger.lineages(true)?);
        let mut lineages = self.ledger.lineages(false)?;
        for stream in order {
            let batches = waiting.remove(&stream).unwrap_or_default();
            self.admit_stream(stream, &batches, &mut lineages)?;
        }
        Ok(())
    }

    /// What was admitted and not delivered to its end is held against the trust store of today.
    fn recheck_admitted(&mut self) -> Result<()> {
        let lineages = self.ledger.lineages(false)?;
        let mut signers = Vec::new();
        for batch in self.ledger.batches_in(State::Admitted)? {
            let Some(row) = self.ledger.incoming_by_id(batch.id)? else { continue };
            match open(self.site, &lineages, self.trust, self.options, &row)? {
                Ok(opened) => signers.push((row.id, opened.signers)),
                Err(refusal) => self.refuse(&row, refusal)?,
            }
        }
        match signers.is_empty() {
            true => Ok(()),
            false => self.ledger.note_signers(&signers),
        }
    }

    fn admit_stream(&mut self, stream: StreamId, batches: &[i64], lineages: &mut Lineages) -> Result<()> {
        let (mut candidates, mut links) = (Vec::new(), Vec::new());
        for id in batches {
            let Some(row) = self.ledger.incoming_by_id(*id)? else { continue };
            match open(self.site, lineages, self.trust, self.options, &row)? {
                Ok(opened) => {
                    links.push(opened.link.clone());
                    let (standing, succeeds) = (row.standing, row.manifest.succeeds);
                    candidates.push(Candidate { id: row.id, standing, succeeds, opened });
                }
                Err(refusal) => self.refuse(&row, refusal)?,
            }
        }
        let (Some(first), Some(last)) = (links.first(), links.last()) else { return Ok(()) };
        let position = self.ledger.position(stream, &(first.sequence..=last.sequence))?;
        let waits = self.options.on_gap == OnGap::Hold
            && position.last().is_none()
            && waits_for_the_old_one(self.ledger, candidates.iter().find_map(|c| c.succeeds))?;
        for (verdict, candidate) in admit(position, &links, self.options.on_gap).into_iter().zip(&candidates) {
            match if waits { StreamAdmission::Keep(Kept::Waiting) } else { verdict } {
                StreamAdmission::Admit { late } => {
                    let OpenedBatch { zone, inherits, signers, heir_of, pairs, .. } = &candidate.opened;
                    let (id, heir_of) = (candidate.id, *heir_of);
                    self.ledger.set_admitted(&AdmissionNote {
                        id,
                        stream,
                        late,
                        zone,
                        inherits,
                        signers,
                        heir_of,
                        pairs,
                    })?;
                    candidate.succeeds.iter().for_each(|s| lineages.add(stream, s.stream));
                }
                StreamAdmission::Keep(kept) => self.keep(candidate, &kept)?,
            }
        }
        Ok(())
    }

    /// What is missing is said at every run, elsewhere; that a batch waits for it, once.
    fn keep(&mut self, candidate: &Candidate, kept: &Kept) -> Result<()> {
        if candidate.standing == Some(kept.code()) {
            return Ok(());
        }
        self.ledger.set_state(candidate.id, State::Whole, Some(kept.code()))?;
        if let Some(row) = self.ledger.incoming_by_id(candidate.id)? {
            self.report.findings.push(kept.finding(&row.manifest, row.sha256));
        }
        Ok(())
    }

    fn refuse(&mut self, row: &IncomingRow, refusal: Refusal) -> Result<()> {
        match refusal {
            Refusal::NotNow(finding) => {
                let is_new = row.standing != Some(finding.code);
                if is_new {
                    self.ledger.set_state(row.id, State::Whole, Some(finding.code))?;
                }
                // A signature that has not come is missing, as a number is: that is said at every run until it comes.
                if is_new || finding.code == Code::TooFewSignatures {
                    self.report.findings.push(*finding);
                }
            }
            Refusal::Lost { name, fault } => {
                put_away_damaged(self.site, row, &name, &fault)?;
                self.ledger.set_state(row.id, State::Incomplete, None)?;
                let finding = findings::part(&row.manifest, &name, &fault);
                self.report.findings.push(match fault {
                    // It lies here: another medium is of no use before that is settled.
                    PartFault::Unreadable(_) => finding.at(shelf_of(self.site, row).dir().display().to_string()).advise(format!(
                        "make it readable there (owner, mode, disk), then: airpouch import; or remove it and ask the exporter to resend it: airpouch carry MEDIUM --resend {}:{}",
                        row.manifest.stream, row.manifest.sequence
                    )),
                    _ => finding,
                });
            }
            Refusal::Never(finding) => {
                self.ledger.set_state(row.id, State::Refused, Some(finding.code))?;
                self.report.findings.push(*finding);
            }
        }
        Ok(())
    }
}

/// Whether the end of the stream that this one goes on from has not come, and is still waited for.
fn waits_for_the_old_one(ledger: &ImporterView, succeeds: Option<Succeeds>) -> Result<bool> {
    let Some(succeeds) = succeeds else { return Ok(false) };
    let (from, to) = (ledger.last_admitted(succeeds.stream)?.unwrap_or(0) + 1, succeeds.sequence.get());
    let end_has_come = from > to || is_settled(&(from..=to), &ledger.settled(succeeds.stream)?);
    Ok(!end_has_come || !ledger.gaps(Some(succeeds.stream))?.is_empty())
}

/// Streams, each behind those that it goes on from.
pub(super) fn succession_order(mut streams: Vec<StreamId>, lineages: &Lineages) -> Vec<StreamId> {
    streams.sort_by_cached_key(|s| (lineages.of(*s, None).len(), *s));
    streams
}
