//! What is remembered of carries, and which batches are due.

use rusqlite::params;

use super::{ExporterLedger, ExporterView, StreamRow};
use crate::deed::{CarriedBatch, Deed, MediumFacts};
use crate::error::Result;
use crate::ledger::asking::{all, first};
use crate::report::Proof;
use crate::shelf::read_back::ReadBack;
use crate::stream::{Numbers, Sequence};

/// Batches of a carry in one line of the journal.
const CARRIED_IN_A_LINE: usize = 100;

/// What is remembered of one carry.
#[derive(Debug, Clone)]
pub struct CarryRow {
    /// When it ended.
    pub at: String,
    /// Where to.
    pub medium: String,
    /// [`crate::disk::Mount::mount_id`] of the medium; old ledgers have the column `mark` for it.
    pub mount_id: String,
    /// Bytes written.
    pub bytes: u64,
    /// How long that took.
    pub millis: u64,
}

/// One batch's carry: in which, as new or repeated, and with which proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedRow {
    /// The carry's id, rising.
    pub carry: i64,
    /// Whether it was written as new or because it was asked for.
    pub is_new: bool,
    /// How sure it is.
    pub proof: Proof,
    /// When.
    pub at: String,
    /// [`crate::disk::Mount::mount_id`] of the medium; old ledgers have the column `mark` for it.
    pub mount_id: String,
}

/// Whether this row of `carried`, under the name `d`, took something new: it was written as new, or the batch was
/// found on a medium before any carry was recorded that put it there.
const TAKES: &str = "(d.is_new = 1 OR NOT EXISTS (SELECT 1 FROM carried e
    WHERE e.stream = d.stream AND e.sequence = d.sequence AND e.carry < d.carry))";

impl ExporterView {
    /// Numbers of a stream that no carry took yet and that are not lost; among them those that are sealed only.
    /// The answer comes from the indexes alone, whatever the size of the manifests.
    pub fn uncarried(&self, stream: &StreamRow) -> Result<Numbers> {
        let sql = "SELECT sequence FROM packed_batch b WHERE stream = ?1
                   AND NOT EXISTS (SELECT 1 FROM carried c WHERE c.stream = b.stream AND c.sequence = b.sequence)
                   AND NOT EXISTS (SELECT 1 FROM lost_batch l WHERE l.stream = b.stream AND l.sequence = b.sequence)";
        self.numbers_by(sql, params![stream.id])
    }

    /// Which of these numbers are batches that were signed.
    pub fn packed_among(&self, stream: &StreamRow, numbers: &Numbers) -> Result<Numbers> {
        let sql =
            "SELECT sequence FROM packed_batch WHERE stream = ?1 AND sequence BETWEEN ?2 AND ?3 AND state = 'packed'";
        self.among(sql, stream, numbers)
    }

    /// Which of these numbers are batches, whether they were signed or not.
    pub fn sealed_among(&self, stream: &StreamRow, numbers: &Numbers) -> Result<Numbers> {
        self.among(
            "SELECT sequence FROM packed_batch WHERE stream = ?1 AND sequence BETWEEN ?2 AND ?3",
            stream,
            numbers,
        )
    }

    fn among(&self, sql: &str, stream: &StreamRow, numbers: &Numbers) -> Result<Numbers> {
        let mut found = Vec::new();
        for range in numbers.ranges() {
            let (first, last) = (*range.start() as i64, *range.end() as i64);
            found.extend_from_slice(self.numbers_by(sql, params![stream.id, first, last])?.ranges());
        }
        Ok(found.into_iter().collect())
    }

    /// Batches of a stream that the last carries took which took something new, but for those that are lost.
    pub fn taken_by_last_carries(&self, stream: &StreamRow, count: u32) -> Result<Numbers> {
        // With the plus sign SQLite goes to the rows of these few carries, and not through all that the stream ever had.
        let sql = format!(
            "SELECT DISTINCT d.sequence FROM carried d WHERE +d.stream = ?1 AND {TAKES}
             AND d.carry IN (SELECT DISTINCT d.carry FROM carried d WHERE {TAKES} ORDER BY d.carry DESC LIMIT ?2)"
        );
        Ok(self.numbers_by(&sql, params![stream.id, count])?.without(&self.lost_numbers(stream)?))
    }

    /// How a batch was carried, oldest first.
    pub fn carries_of(&self, stream: &StreamRow, sequence: Sequence) -> Result<Vec<CarriedRow>> {
        let sql = "SELECT d.carry, d.is_new, d.proof, c.at, c.mark FROM carried d JOIN carry c ON c.id = d.carry
                   WHERE d.stream = ?1 AND d.sequence = ?2 ORDER BY d.carry";
        all(&self.connection, sql, params![stream.id, sequence.get() as i64], |r| {
            Ok(CarriedRow { carry: r.get(0)?, is_new: r.get(1)?, proof: r.get(2)?, at: r.get(3)?, mount_id: r.get(4)? })
        })
    }

    /// The newest carry that wrote something, for the speed to expect.
    pub fn last_carry(&self) -> Result<Option<CarryRow>> {
        let sql = "SELECT at, medium, mark, bytes, millis FROM carry WHERE bytes > 0 ORDER BY id DESC LIMIT 1";
        let read = |r: &rusqlite::Row<'_>| {
            let (bytes, millis) = (r.get::<_, i64>(3)? as u64, r.get::<_, i64>(4)? as u64);
            Ok(CarryRow { at: r.get(0)?, medium: r.get(1)?, mount_id: r.get(2)?, bytes, millis })
        };
        first(&self.connection, sql, [], read)
    }

    pub(super) fn numbers_by(&self, sql: &str, params: impl rusqlite::Params) -> Result<Numbers> {
        all(&self.connection, sql, params, |r| r.get::<_, i64>(0).map(|n| n as u64))
    }
}

impl ExporterLedger {
    /// Records a carry and the batches in it.
    pub fn record_carry(
        &mut self,
        carry: &CarryRow,
        device: &MediumFacts,
        batches: &[(&StreamRow, &ReadBack, bool)],
    ) -> Result<()> {
        let change = self.change()?;
        change.execute(
            "INSERT INTO carry (at, medium, mark, bytes, millis) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![carry.at, carry.medium, carry.mount_id, carry.bytes as i64, carry.millis as i64],
        )?;
        let id = change.last_insert_rowid();
        {
            let mut insert = change.prepare_cached("INSERT INTO carried VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for (stream, read, is_new) in batches {
                insert.execute(params![id, stream.id, read.sequence().get() as i64, is_new, read.proof()])?;
            }
        }
        // Some at a time, so that a line of the journal holds them.
        for some in batches.chunks(CARRIED_IN_A_LINE) {
            let mut of_batch =
                change.prepare_cached("SELECT sha256 FROM packed_batch WHERE stream = ?1 AND sequence = ?2")?;
            let mut carried = Vec::new();
            for (stream, read, is_new) in some {
                let (sequence, proof) = (read.sequence().get(), read.proof());
                let sha256 = of_batch.query_row(params![stream.id, sequence as i64], |r| r.get(0))?;
                carried.push(CarriedBatch { stream: stream.stream, sequence, sha256, is_new: *is_new, proof });
            }
            let (medium, file_system) = (carry.medium.clone(), carry.mount_id.clone());
            let (device, bytes) = (device.clone(), carry.bytes);
            change.note(&Deed::Carried { medium, file_system, device, bytes, batches: carried })?;
        }
        change.commit()
    }
}
