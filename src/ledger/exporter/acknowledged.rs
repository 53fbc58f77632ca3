//! What the importer said to have, and how often somebody typed a code that says nothing.

use rusqlite::{Connection, params};

use super::{ExporterLedger, ExporterView, StreamRow};
use crate::deed::{Deed, WhyRefused};
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::asking::{all, first};
use crate::limits::WRONG_CODES_TIME;
use crate::stream::{Numbers, StreamId};

/// What a code of arrival says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The stream.
    pub stream: StreamId,
    /// The batch up to which nothing is missing.
    pub sequence: u64,
    /// Lower numbers that have not arrived.
    pub without: Numbers,
    /// The code, as it was said.
    pub code: String,
}

impl ExporterView {
    /// The newest batches of a stream that were signed, with their digests; the newest first.
    pub fn heads(&self, stream: &StreamRow, count: u64) -> Result<Vec<(u64, Digest)>> {
        let sql = "SELECT sequence, sha256 FROM packed_batch WHERE stream = ?1 AND state = 'packed'
                   ORDER BY sequence DESC LIMIT ?2";
        all(&self.connection, sql, params![stream.id, count as i64], |r| Ok((r.get::<_, i64>(0)? as u64, r.get(1)?)))
    }

    /// All numbers of a stream that are batches which were signed.
    pub fn packed_numbers(&self, stream: &StreamRow) -> Result<Numbers> {
        self.numbers_by("SELECT sequence FROM packed_batch WHERE stream = ?1 AND state = 'packed'", [stream.id])
    }

    /// The batches of a stream that the importer has.
    pub fn acknowledged(&self, stream: &StreamRow) -> Result<Numbers> {
        acknowledged(&self.connection, stream)
    }

    /// The last batch of a stream that the importer has, and when it said so.
    pub fn last_acknowledged(&self, stream: &StreamRow) -> Result<Option<(u64, String)>> {
        let sql = "SELECT last, at FROM acknowledged WHERE stream = ?1 ORDER BY last DESC LIMIT 1";
        first(&self.connection, sql, [stream.id], |r| Ok((r.get::<_, i64>(0)? as u64, r.get(1)?)))
    }
}

impl ExporterLedger {
    /// The importer has these batches. Gives those of which it had not said so before; where there are none, nothing is noted.
    ///
    /// # Errors
    /// SQLite refused; then nothing is acknowledged.
    pub fn acknowledge(&mut self, stream: &StreamRow, said: &Acknowledgement, at: &str) -> Result<Numbers> {
        let change = self.change()?;
        let all: Numbers = [1..=said.sequence].into_iter().collect();
        let new = all.without(&said.without).without(&acknowledged(&change, stream)?);
        if new.is_empty() {
            return Ok(new);
        }
        for range in new.ranges() {
            let (first, last) = (*range.start() as i64, *range.end() as i64);
            let sql = "INSERT INTO acknowledged VALUES (?1, ?2, ?3, ?4)";
            change.prepare_cached(sql)?.execute(params![stream.id, first, last, at])?;
        }
        let Acknowledgement { stream, sequence, without, code } = said.clone();
        change.note(&Deed::Acknowledged { stream, sequence, without, code, sequences: new.clone() })?;
        change.commit()?;
        Ok(new)
    }

    /// How many wrong codes count now. One whose time is in the future was typed before the clock was set back, and counts
    /// from now on: a clock that is set back neither forgives it nor makes it count for longer than another one.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn wrong_codes(&mut self, now: i64) -> Result<u64> {
        let change = self.change()?;
        change.execute("UPDATE wrong_code SET at = ?1 WHERE at > ?1", [now])?;
        change.execute("DELETE FROM wrong_code WHERE at <= ?1", [now.saturating_sub(WRONG_CODES_TIME)])?;
        let count: i64 = change.query_row("SELECT count(*) FROM wrong_code", [], |r| r.get(0))?;
        change.commit()?;
        Ok(count as u64)
    }

    /// When the first of the wrong codes that count stops to do so.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn wrong_codes_until(&self) -> Result<Option<i64>> {
        let oldest: Option<i64> = self.connection.query_row("SELECT min(at) FROM wrong_code", [], |r| r.get(0))?;
        Ok(oldest.map(|at| at.saturating_add(WRONG_CODES_TIME)))
    }

    /// Somebody typed a code that fits no batch.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn note_wrong_code(&mut self, wrong: u64, now: i64) -> Result<()> {
        let change = self.change()?;
        change.execute("INSERT INTO wrong_code (at) VALUES (?1)", [now])?;
        change.note(&Deed::ArrivalRefused { why: WhyRefused::FitsNoBatch, wrong })?;
        change.commit()
    }
}

fn acknowledged(connection: &Connection, stream: &StreamRow) -> Result<Numbers> {
    all(connection, "SELECT first, last FROM acknowledged WHERE stream = ?1", [stream.id], |r| {
        Ok(r.get::<_, i64>(0)? as u64..=r.get::<_, i64>(1)? as u64)
    })
}
