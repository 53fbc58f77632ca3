//! What is said at every run until it is settled: numbers that have not come, parts that are missing, what is set aside.

use std::collections::{BTreeMap, BTreeSet};

use super::{Import, shelf_of};
use crate::clock;
use crate::digest::Digest;
use crate::error::Result;
use crate::findings::silence::{self, WaitedFor};
use crate::findings::{self, missing};
use crate::ledger::importer::{AsideKind, State};
use crate::pairing::{Arrivals, arrivals};
use crate::report::{DeliveredBatch, Head, Unmapped, head_code};
use crate::shelf::PartFault;
use crate::stream::StreamId;

impl Import<'_> {
    /// What is missing and what is set aside, also where the destination is broken.
    pub(super) fn report_what_is_left(&mut self) -> Result<()> {
        let expected = WaitedFor::of(self.trust, self.options.quiet_after);
        self.report.findings.extend(missing::gone_works(self.ledger)?);
        self.report.findings.extend(missing::findings(&missing::all(self.ledger)?));
        self.report.findings.extend(silence::findings(
            self.ledger,
            &self.ledger.last_heard()?,
            &expected,
            clock::now().0,
        )?);
        self.report.heads = self.heads()?;
        self.report_arrivals()?;
        self.count_aside()
    }

    /// Batches of which parts are missing, at every run until they come; what the medium at hand showed of
    /// them has been said already. One whose parts have come back after all is looked at in the next run.
    pub(super) fn report_incomplete(&mut self, said: &BTreeSet<Digest>) -> Result<()> {
        for batch in self.ledger.batches_in(State::Incomplete)? {
            let Some(row) = self.ledger.incoming_by_id(batch.id)? else { continue };
            let shelf = shelf_of(self.site, &row);
            let missing: Vec<_> = row.manifest.parts().filter(|p| !shelf.has(p)).collect();
            if missing.is_empty() {
                self.ledger.set_state(row.id, State::Whole, None)?;
            }
            for part in missing.iter().filter(|_| !said.contains(&row.sha256)) {
                self.report.findings.push(findings::part(&row.manifest, part.name, &PartFault::Missing));
            }
        }
        Ok(())
    }

    /// The newest batch that was delivered of each stream, with the code that two people compare.
    fn heads(&self) -> Result<Vec<Head>> {
        let mut newest: BTreeMap<StreamId, &DeliveredBatch> = BTreeMap::new();
        for done in &self.report.delivered_batches {
            let known = newest.entry(done.batch.stream).or_insert(done);
            if done.batch.sequence > known.batch.sequence {
                *known = done;
            }
        }
        let mut heads = Vec::new();
        for DeliveredBatch { batch, .. } in newest.values() {
            let (stream, sequence) = (batch.stream, batch.sequence);
            let is_last = self.ledger.last_admitted(stream)?.is_none_or(|last| last <= sequence);
            heads.push(Head { stream, sequence, code: head_code(batch.sha256), is_last });
        }
        Ok(heads)
    }

    /// What a person says to the exporter of the streams of which something came in this run. A key that cannot be read stops nothing.
    fn report_arrivals(&mut self) -> Result<()> {
        let done = self.report.delivered_batches.iter().map(|done| &done.batch);
        let streams: BTreeSet<StreamId> = self.report.taken.iter().chain(done).map(|batch| batch.stream).collect();
        let streams: Vec<StreamId> = streams.into_iter().collect();
        let Arrivals { lines, damaged } = arrivals(self.site, self.ledger, &streams)?;
        self.report.arrivals = lines;
        self.report.findings.extend(damaged);
        Ok(())
    }

    fn count_aside(&mut self) -> Result<()> {
        for count in self.ledger.aside_counts()? {
            match count.kind {
                AsideKind::Held => self.report.held_in_all += count.number,
                AsideKind::Quarantined | AsideKind::Released => self.report.quarantined_in_all += count.number,
            }
        }
        let unmapped = self.ledger.unmapped_applicants()?.into_iter();
        self.report.unmapped = unmapped.map(|(id, envelopes)| Unmapped { id, envelopes }).collect();
        Ok(())
    }
}
