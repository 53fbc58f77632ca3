//! Up to which batch nothing is missing of a stream.

use rusqlite::params;

use super::ImporterView;
use crate::arrival::ArrivedHead;
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::asking::{all, any, first};
use crate::stream::{Numbers, StreamId};

impl ImporterView {
    /// The newest batch of a stream up to which each number was admitted here, or is not waited for any more; none if number 1
    /// is missing.
    ///
    /// The exporter may remove what this says. So of the numbers up to that batch only those count as arrived which that batch
    /// names, directly or by what it names: what a person gave up did not arrive, and what came of another history under one of
    /// these numbers is not what the exporter has.
    pub fn arrived(&self, stream: StreamId) -> Result<Option<ArrivedHead>> {
        let here = self.admitted_numbers(stream)?;
        let known = here.with(&self.settled(stream)?);
        let Some(end) = known.ranges().first().filter(|range| *range.start() == 1).map(|range| *range.end()) else {
            return Ok(None);
        };
        let Some(sequence) = here.ranges().iter().rfind(|range| *range.start() <= end) else {
            return Ok(None);
        };
        let sequence = (*sequence.end()).min(end);
        let Some((zone, sha256)) = self.admitted_last(stream, sequence)? else { return Ok(None) };
        let numbers: Numbers = [1..=sequence].into_iter().collect();
        let without = numbers.without(&self.named_from(stream, sequence, sha256)?);
        Ok(Some(ArrivedHead { zone, stream, sequence, sha256, without }))
    }

    /// The numbers of this batch and of those before it that were admitted and are named from it.
    fn named_from(&self, stream: StreamId, sequence: u64, sha256: Digest) -> Result<Numbers> {
        let sql = "SELECT 1 FROM batch WHERE sha256 = ?1 AND stream = ?2 AND sequence = ?3
                   AND state IN ('admitted', 'delivered')";
        let (mut named, mut at) = (vec![sequence], Some((sequence, sha256)));
        while let Some((number, digest)) = at.take() {
            let Some(row) = self.incoming(digest)? else { break };
            let names = row.manifest.link(digest).names;
            for (below, name) in (1..number).rev().zip(names) {
                if any(&self.connection, sql, params![name.as_bytes(), stream.to_string(), below as i64])? {
                    named.push(below);
                    at = Some((below, name));
                }
            }
        }
        Ok(named.into_iter().collect())
    }

    fn admitted_numbers(&self, stream: StreamId) -> Result<Numbers> {
        let sql = "SELECT sequence FROM batch WHERE stream = ?1 AND state IN ('admitted', 'delivered')";
        all(&self.connection, sql, [stream.to_string()], |r| r.get::<_, i64>(0).map(|number| number as u64))
    }

    /// Zone and digest of the batch of this number that was admitted; of several, which only a person lets in, the last one.
    fn admitted_last(&self, stream: StreamId, sequence: u64) -> Result<Option<(String, Digest)>> {
        let sql = "SELECT zone, sha256 FROM batch WHERE stream = ?1 AND sequence = ?2
                   AND state IN ('admitted', 'delivered') ORDER BY id DESC LIMIT 1";
        first(&self.connection, sql, params![stream.to_string(), sequence as i64], |r| Ok((r.get(0)?, r.get(1)?)))
    }
}
