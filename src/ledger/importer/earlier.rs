//! What came before a batch in its stream, to compare it with.

use std::collections::BTreeSet;
use std::ops::Range;

use rusqlite::params;

use super::ImporterView;
use crate::batch::manifest::Manifest;
use crate::code::Code;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ledger::asking::{all, any};
use crate::stream::StreamId;

impl ImporterView {
    /// The manifests of the last batches of a stream with these numbers that were delivered or are being delivered; the
    /// newest first.
    ///
    /// # Errors
    /// SQLite refused, or a row is no manifest.
    pub fn last_manifests(&self, stream: StreamId, numbers: &Range<u64>, count: u64) -> Result<Vec<Manifest>> {
        let sql = "SELECT manifest FROM batch
                   WHERE stream = ?1 AND sequence >= ?2 AND sequence < ?3 AND state IN ('admitted', 'delivered')
                   ORDER BY sequence DESC, id DESC LIMIT ?4";
        let values = params![stream.to_string(), numbers.start as i64, numbers.end as i64, count as i64];
        let rows: Vec<Vec<u8>> = all(&self.connection, sql, values, |r| r.get(0))?;
        let read = |bytes: &Vec<u8>| {
            Manifest::parse(bytes).map_err(|e| Error::failed(format!("the ledger holds a manifest that is none: {e}")))
        };
        rows.iter().map(read).collect()
    }

    /// The fingerprints of the keys that signed the batches of a stream with these numbers.
    pub fn signers_between(&self, stream: StreamId, numbers: &Range<u64>) -> Result<BTreeSet<Digest>> {
        let sql = "SELECT DISTINCT s.signer FROM batch b JOIN batch_signer s ON s.batch = b.id
                   WHERE b.stream = ?1 AND b.sequence >= ?2 AND b.sequence < ?3";
        let values = params![stream.to_string(), numbers.start as i64, numbers.end as i64];
        let signers: Vec<String> = all(&self.connection, sql, values, |r| r.get(0))?;
        Ok(signers.iter().filter_map(|text| text.parse().ok()).collect())
    }

    /// Whether anything of the batches of a stream with these numbers was set aside for a command or an internal type.
    pub fn has_acts(&self, stream: StreamId, numbers: &Range<u64>) -> Result<bool> {
        let sql = "SELECT 1 FROM set_aside a JOIN batch b ON b.id = a.batch
                   WHERE b.stream = ?1 AND b.sequence >= ?2 AND b.sequence < ?3 AND a.code IN (?4, ?5)
                   UNION ALL SELECT 1 FROM decided d JOIN batch b ON b.id = d.batch
                   WHERE b.stream = ?1 AND b.sequence >= ?2 AND b.sequence < ?3 AND d.code IN (?4, ?5)";
        let (first, end) = (numbers.start as i64, numbers.end as i64);
        let values = params![stream.to_string(), first, end, Code::Command, Code::InternalType];
        any(&self.connection, sql, values)
    }
}
