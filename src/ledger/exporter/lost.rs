//! Batches that will never come, because their files were lost before they left.

use std::collections::HashMap;

use rusqlite::params;

use super::{ExporterLedger, ExporterView, StreamRow};
use crate::deed::Deed;
use crate::digest::Digest;
use crate::error::Result;
use crate::stream::{Numbers, Sequence};
use crate::text::harmless_bytes;

/// Names of envelopes that one row lists at most; the rest is counted.
const NAMES_MAX: usize = 20;

/// What became of the envelopes of a batch that will never come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostRow {
    /// Its number.
    pub sequence: u64,
    /// How many envelopes it had.
    pub envelopes: u64,
    /// How many of them were packed again.
    pub again: u64,
    /// In which batches of the zone's stream.
    pub within: Numbers,
    /// Names of those that were not, as far as they are known: the first few.
    pub gone: Vec<String>,
}

impl ExporterView {
    /// The envelopes of a batch that count as packed, each with the name of a file of a source that had its content.
    pub fn envelopes_of(&self, stream: &StreamRow, sequence: Sequence) -> Result<HashMap<Digest, Option<String>>> {
        let sql = "SELECT sha256 FROM packed_envelope WHERE stream = ?1 AND sequence = ?2";
        let mut query = self.connection.prepare_cached(sql)?;
        let rows = query.query_map(params![stream.id, sequence.get() as i64], |r| Ok((r.get(0)?, None)))?;
        let mut envelopes: HashMap<Digest, Option<String>> = rows.collect::<rusqlite::Result<_>>()?;
        let mut files =
            self.connection.prepare_cached("SELECT sha256, path FROM seen_file WHERE sha256 IS NOT NULL")?;
        let mut files = files.query([])?;
        while let Some(row) = files.next()? {
            if let Some(name) = envelopes.get_mut(&row.get(0)?) {
                *name = Some(harmless_bytes(&row.get::<_, Vec<u8>>(1)?));
            }
        }
        Ok(envelopes)
    }

    /// Numbers of a stream that will never come.
    pub fn lost_numbers(&self, stream: &StreamRow) -> Result<Numbers> {
        self.numbers_by("SELECT sequence FROM lost_batch WHERE stream = ?1", params![stream.id])
    }

    /// Numbers of a stream that will never come, of which no pack has said yet what became of their envelopes.
    pub fn untold_losses(&self, stream: &StreamRow) -> Result<Numbers> {
        self.numbers_by("SELECT sequence FROM lost_batch WHERE stream = ?1 AND told = 0", params![stream.id])
    }

    /// What became of the envelopes of a batch that will never come; `active` is the stream of its zone.
    pub fn loss(&self, stream: &StreamRow, active: &StreamRow, sequence: u64) -> Result<LostRow> {
        let sql = "SELECT l.name, p.sequence FROM lost_envelope l
                   LEFT JOIN packed_envelope p ON p.stream = ?3 AND p.sha256 = l.sha256
                   WHERE l.stream = ?1 AND l.sequence = ?2 ORDER BY l.name";
        let mut query = self.connection.prepare_cached(sql)?;
        let mut rows = query.query(params![stream.id, sequence as i64, active.id])?;
        let mut row = LostRow { sequence, ..LostRow::default() };
        let mut within = std::collections::BTreeSet::new();
        while let Some(r) = rows.next()? {
            row.envelopes += 1;
            match (r.get::<_, Option<i64>>(1)?, r.get::<_, Option<String>>(0)?) {
                // A stream that goes on from the one in which they were packed knows no number of theirs.
                (Some(number), _) => {
                    row.again += 1;
                    within.extend((number > 0).then_some(number as u64));
                }
                (None, Some(name)) if row.gone.len() < NAMES_MAX => row.gone.push(name),
                (None, _) => {}
            }
        }
        row.within = within.into_iter().collect();
        Ok(row)
    }
}

impl ExporterLedger {
    /// Gives up a batch: its number stays used, and its envelopes no longer count as packed, neither in its own stream
    /// nor in `active`, which may have inherited them.
    ///
    /// # Errors
    /// SQLite refused; then nothing has changed.
    #[expect(clippy::too_many_arguments, reason = "one transaction writes all of it")]
    pub fn give_up_batch(
        &mut self,
        stream: &StreamRow,
        active: &StreamRow,
        sequence: Sequence,
        envelopes: &HashMap<Digest, Option<String>>,
        at: &str,
    ) -> Result<()> {
        let number = sequence.get() as i64;
        let change = self.change()?;
        let sql = "INSERT INTO lost_batch (stream, sequence, at) VALUES (?1, ?2, ?3)";
        change.execute(sql, params![stream.id, number, at])?;
        {
            let mut keep = change.prepare("INSERT INTO lost_envelope VALUES (?1, ?2, ?3, ?4)")?;
            let mut forget =
                change.prepare("DELETE FROM packed_envelope WHERE stream = ?1 AND sha256 = ?2 AND sequence = ?3")?;
            for (sha256, name) in envelopes {
                keep.execute(params![stream.id, number, sha256.as_bytes(), name])?;
                forget.execute(params![stream.id, sha256.as_bytes(), number])?;
                forget.execute(params![active.id, sha256.as_bytes(), 0])?;
            }
        }
        let (stream, sequence) = (stream.stream, sequence.get());
        change.note(&Deed::GivenUp { stream, sequence, envelopes: envelopes.len() as u64 })?;
        change.commit()
    }

    /// A pack has said what became of the envelopes of these batches.
    pub fn losses_are_told(&self, stream: &StreamRow) -> Result<()> {
        let sql = "UPDATE lost_batch SET told = 1 WHERE stream = ?1 AND told = 0";
        self.connection.execute(sql, [stream.id])?;
        Ok(())
    }
}
