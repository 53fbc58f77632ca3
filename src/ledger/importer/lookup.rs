//! What is kept of batches to look up in, as it is asked for, and what the ledger knows of a single envelope.

use rusqlite::params;

use super::batches::{BatchId, batch_id};
use super::{ImporterView, ObjectList, State};
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::asking::{all, first};
use crate::stream::{Sequence, StreamId};

/// A batch that came, by what can be looked up in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupRow {
    /// Which one.
    pub batch: BatchId,
    /// How far it has come.
    pub state: State,
    /// Whether its files were removed from the inbox.
    pub pruned: bool,
    /// Whether its index was kept then; none if an older airpouch removed it.
    pub has_index: Option<bool>,
    /// The list of its objects.
    pub list: ObjectList,
    /// When it came, in seconds since 1970; an older airpouch did not note it.
    pub taken_at: Option<i64>,
}

/// By which batch an envelope was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveredBy {
    /// Its stream.
    pub stream: StreamId,
    /// Its number.
    pub sequence: Sequence,
    /// Whether there was nothing in it to deliver.
    pub is_empty: bool,
    /// When that batch was done, in seconds since 1970.
    pub done_at: Option<i64>,
    /// Whether envelopes of it were delivered later, that had been set aside.
    pub has_later: bool,
}

impl ImporterView {
    /// All batches but those that were refused, by stream and number.
    pub fn lookups(&self) -> Result<Vec<LookupRow>> {
        let sql = "SELECT b.id, b.stream, b.sequence, b.sha256, b.state, b.pruned, b.taken_at, l.has_index, l.list, l.records,
                   l.sha256, l.unread FROM batch b LEFT JOIN lookup l ON l.batch = b.id WHERE b.state <> 'refused'
                   ORDER BY b.stream, b.sequence, b.id";
        all(&self.connection, sql, [], |r| {
            let word: Option<String> = r.get(8)?;
            let list = match word.as_deref() {
                None => ObjectList::NeverMade,
                Some("off") => ObjectList::Off,
                Some("too-many") => ObjectList::TooMany,
                Some(_) => ObjectList::Kept {
                    records: r.get::<_, i64>(9)? as u64,
                    sha256: r.get(10)?,
                    unread: r.get::<_, i64>(11)? as u64,
                },
            };
            Ok(LookupRow {
                batch: batch_id(r, 0)?,
                state: r.get(4)?,
                pruned: r.get(5)?,
                taken_at: r.get(6)?,
                has_index: r.get(7)?,
                list,
            })
        })
    }

    /// Whether the index of a batch was kept when it was pruned; none if an older airpouch did that, or nobody.
    pub fn has_kept_index(&self, batch: i64) -> Result<Option<bool>> {
        let has = first(&self.connection, "SELECT has_index FROM lookup WHERE batch = ?1", [batch], |r| r.get(0))?;
        Ok(has.flatten())
    }

    /// The batches that the ledger knows envelopes of whose digests lie between these two.
    pub fn lookups_with(&self, (from, to): (Digest, Digest)) -> Result<Vec<i64>> {
        let sql =
            "SELECT d.batch FROM destination t JOIN delivered d ON d.destination = t.id AND d.sha256 BETWEEN ?1 AND ?2
                   UNION SELECT batch FROM set_aside WHERE sha256 BETWEEN ?1 AND ?2
                   UNION SELECT batch FROM decided WHERE sha256 BETWEEN ?1 AND ?2";
        all(&self.connection, sql, params![from.as_bytes(), to.as_bytes()], |r| r.get(0))
    }

    /// By which batch an envelope was delivered: to the destination of now, or else to the last one before it.
    pub fn delivered_by(&self, sha256: Digest) -> Result<Option<DeliveredBy>> {
        let sql = "SELECT b.id, b.stream, b.sequence, b.sha256, d.applicant IS NULL, b.done_at, b.aside_delivered_at IS NOT NULL
                   FROM destination t JOIN delivered d ON d.destination = t.id AND d.sha256 = ?1 JOIN batch b ON b.id = d.batch
                   ORDER BY t.current DESC, t.id DESC LIMIT 1";
        first(&self.connection, sql, [sha256.as_bytes()], |r| {
            let BatchId { stream, sequence, .. } = batch_id(r, 0)?;
            Ok(DeliveredBy { stream, sequence, is_empty: r.get(4)?, done_at: r.get(5)?, has_later: r.get(6)? })
        })
    }
}
