//! When it was done: for whoever asks how old the last one is. The answers come from indexes, whatever the number of batches.

use std::collections::HashMap;

use super::{ExporterView, StreamRow};
use crate::error::Result;
use crate::ledger::asking::first;
use crate::ledger::noted::changed_of;
use crate::report::Proof;

/// How a batch was carried so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CarriedSoFar {
    /// With which proofs.
    pub proofs: Vec<Proof>,
    /// The first carry that took it.
    pub first: i64,
}

impl ExporterView {
    /// How each batch of a stream was carried, by number.
    pub fn carried_so_far(&self, stream: &StreamRow) -> Result<HashMap<u64, CarriedSoFar>> {
        let sql = "SELECT sequence, proof, min(carry) FROM carried WHERE stream = ?1 GROUP BY sequence, proof";
        let mut query = self.connection.prepare_cached(sql)?;
        let mut rows = query.query([stream.id])?;
        let mut carried: HashMap<u64, CarriedSoFar> = HashMap::new();
        while let Some(row) = rows.next()? {
            let carry = row.get(2)?;
            let of = carried.entry(row.get::<_, i64>(0)? as u64).or_default();
            of.first = if of.proofs.is_empty() { carry } else { of.first.min(carry) };
            of.proofs.push(row.get(1)?);
        }
        Ok(carried)
    }

    /// When a carry ended, as it was noted then: RFC 3339 in UTC.
    pub fn carry_ended(&self, carry: i64) -> Result<Option<String>> {
        first(&self.connection, "SELECT at FROM carry WHERE id = ?1", [carry], |r| r.get(0))
    }

    /// When a run last found another journal than the ledger knew, RFC 3339 in UTC.
    pub fn journal_changed(&self) -> Result<Option<String>> {
        changed_of(&self.connection)
    }
}
