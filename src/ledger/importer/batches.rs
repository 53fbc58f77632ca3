//! Batches that came, each with how far it has come. A manifest is read only of the batch in work.

use rusqlite::{Connection, Row, params};

use super::kept::{ObjectList, note_index, note_list};
use super::meta::put_meta;
use super::{ImporterLedger, ImporterView};
use crate::batch::manifest::Manifest;
use crate::batch::signed::SignedBatch;
use crate::clock;
use crate::code::Code;
use crate::deed::{Deed, TakenFrom};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ledger::asking::{all, any, first};
use crate::stream::{Sequence, StreamId};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Days that are kept of each connector.
const DAYS_KEPT: i64 = 14;

/// How far a batch has come on this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Parts of it are missing in the inbox.
    Incomplete,
    /// Whole in the inbox, and not admitted (yet).
    Whole,
    /// Being delivered.
    Admitted,
    /// Done.
    Delivered,
    /// Its signed manifest is wrong.
    Refused,
}

impl State {
    const ALL: [Self; 5] = [Self::Incomplete, Self::Whole, Self::Admitted, Self::Delivered, Self::Refused];

    /// The word in the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Whole => "whole",
            Self::Admitted => "admitted",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
        }
    }

    /// The state of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word)
    }
}

/// A batch that came.
#[derive(Debug, Clone)]
pub struct IncomingRow {
    /// The ledger's number for it.
    pub id: i64,
    /// Its digest.
    pub sha256: Digest,
    /// Its manifest.
    pub manifest: Manifest,
    /// How far it has come.
    pub state: State,
    /// Why it is not admitted, as it was last said.
    pub standing: Option<Code>,
    /// Whether later numbers were delivered before it.
    pub late: bool,
    /// Whether its files were removed from the inbox.
    pub pruned: bool,
    /// When it was done, in seconds since 1970.
    pub done_at: Option<i64>,
}

impl IncomingRow {
    /// Which one it is.
    pub fn batch_id(&self) -> BatchId {
        let Manifest { stream, sequence, .. } = self.manifest;
        BatchId { id: self.id, stream, sequence, sha256: self.sha256 }
    }
}

/// A batch by what its folder in the inbox is named for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchId {
    /// The ledger's number for it.
    pub id: i64,
    /// Its stream.
    pub stream: StreamId,
    /// Its number.
    pub sequence: Sequence,
    /// Its digest.
    pub sha256: Digest,
}

/// The state of a batch, without what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchStanding {
    /// Which one.
    pub batch: BatchId,
    /// How far it has come.
    pub state: State,
    /// Why it is not admitted, as it was last said.
    pub standing: Option<Code>,
    /// Whether its files were removed from the inbox.
    pub pruned: bool,
}

impl ImporterView {
    /// A batch by its digest.
    pub fn incoming(&self, sha256: Digest) -> Result<Option<IncomingRow>> {
        self.incoming_where("sha256 = ?1", params![sha256.as_bytes()])
    }

    /// A batch by the ledger's number for it.
    pub fn incoming_by_id(&self, id: i64) -> Result<Option<IncomingRow>> {
        self.incoming_where("id = ?1", [id])
    }

    fn incoming_where(&self, condition: &str, values: impl rusqlite::Params) -> Result<Option<IncomingRow>> {
        let sql =
            format!("SELECT id, sha256, manifest, state, standing, late, pruned, done_at FROM batch WHERE {condition}");
        let row = first(&self.connection, &sql, values, |r| {
            let manifest = Manifest::parse(r.get_ref(2)?.as_blob()?);
            let (id, sha256, state) = (r.get(0)?, r.get(1)?, r.get(3)?);
            let (standing, late, pruned, done_at) = (r.get(4)?, r.get(5)?, r.get(6)?, r.get(7)?);
            Ok(manifest.map(|manifest| IncomingRow { id, sha256, manifest, state, standing, late, pruned, done_at }))
        })?;
        row.transpose().map_err(|e| Error::failed(format!("the ledger holds a manifest that is none: {e}")))
    }

    /// The batches of this number, of whatever stream; a hundred of them at most.
    pub fn batches_numbered(&self, sequence: u64) -> Result<Vec<BatchId>> {
        let sql = "SELECT id, stream, sequence, sha256 FROM batch WHERE sequence = ?1 ORDER BY stream, id LIMIT 100";
        all(&self.connection, sql, [i64::try_from(sequence).unwrap_or(i64::MAX)], |r| batch_id(r, 0))
    }

    /// The batches in a state, by stream and number.
    pub fn batches_in(&self, state: State) -> Result<Vec<BatchId>> {
        // Those that are delivered are by far the most: only of the others there is an index of few rows.
        let hint = if state == State::Delivered { "" } else { " AND state <> 'delivered'" };
        let sql = format!(
            "SELECT id, stream, sequence, sha256 FROM batch WHERE state = ?1{hint} ORDER BY stream, sequence, id"
        );
        all(&self.connection, &sql, [state], |r| batch_id(r, 0))
    }

    /// The batches that were admitted or delivered, and lie in the inbox.
    pub fn kept_in_inbox(&self) -> Result<Vec<BatchId>> {
        // The first half is answered by an index alone: of the rows, which hold the manifests, none is read.
        let sql = "SELECT id, stream, sequence, sha256 FROM batch WHERE state = 'delivered' AND pruned = 0 UNION ALL
                   SELECT id, stream, sequence, sha256 FROM batch WHERE state = 'admitted' AND state <> 'delivered' AND pruned = 0";
        all(&self.connection, sql, [], |r| batch_id(r, 0))
    }

    /// Whether any batch is in a state other than delivered.
    pub fn has_batch_in(&self, state: State) -> Result<bool> {
        let sql = "SELECT 1 FROM batch WHERE state = ?1 AND state <> 'delivered'";
        any(&self.connection, sql, [state])
    }

    /// Whether nothing ever came.
    pub fn knows_no_batch(&self) -> Result<bool> {
        Ok(!any(&self.connection, "SELECT 1 FROM batch", [])?)
    }

    /// The state of a batch.
    pub fn standing_of(&self, sha256: Digest) -> Result<Option<BatchStanding>> {
        let sql = "SELECT id, stream, sequence, sha256, state, standing, pruned FROM batch WHERE sha256 = ?1";
        first(&self.connection, sql, [sha256.as_bytes()], standing)
    }

    /// Where the batches stand whose digests begin so.
    pub fn standing_by_beginning(&self, digits: &str) -> Result<Vec<BatchStanding>> {
        let Some((from, to)) = Digest::range_of(digits) else { return Ok(Vec::new()) };
        let sql =
            "SELECT id, stream, sequence, sha256, state, standing, pruned FROM batch WHERE sha256 BETWEEN ?1 AND ?2";
        all(&self.connection, sql, [from.as_bytes(), to.as_bytes()], standing)
    }

    /// Gives each batch that is not done, by stream and number.
    ///
    /// # Errors
    /// SQLite refused, or what `each` says.
    pub fn each_open_batch(&self, mut each: impl FnMut(BatchStanding) -> Result<()>) -> Result<()> {
        let sql = "SELECT id, stream, sequence, sha256, state, standing, pruned FROM batch WHERE state <> 'delivered'
                   ORDER BY stream, sequence, id";
        let mut query = self.connection.prepare_cached(sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            each(standing(row)?)?;
        }
        Ok(())
    }

    /// Delivered batches that were done before this time, still lie in the inbox, and do not hold the only copy of
    /// anything that is set aside.
    pub fn done_before(&self, seconds: i64) -> Result<Vec<BatchId>> {
        let sql =
            "SELECT id, stream, sequence, sha256 FROM batch WHERE state = 'delivered' AND pruned = 0 AND done_at <= ?1
                   AND NOT EXISTS (SELECT 1 FROM set_aside a WHERE a.batch = batch.id AND a.copied = 0)";
        all(&self.connection, sql, [seconds], |r| batch_id(r, 0))
    }

    /// The digest of a batch, if another one that was admitted bears the same number of the same stream.
    pub fn shares_its_number(&self, id: i64) -> Result<Option<Digest>> {
        let sql = "SELECT a.sha256 FROM batch a JOIN batch b ON b.stream = a.stream AND b.sequence = a.sequence AND b.id <> a.id
                   WHERE a.id = ?1 AND b.state IN ('admitted', 'delivered')";
        first(&self.connection, sql, [id], |r| r.get(0))
    }

    /// Whether a batch that was delivered is to be delivered once more.
    pub fn is_reopened(&self, id: i64) -> Result<bool> {
        Ok(self.meta(&reopened(id))?.is_some())
    }
}

impl ImporterLedger {
    /// Notes a batch, or its new state if it is known.
    pub fn note_incoming(&mut self, manifest: &Manifest, sha256: Digest, bytes: &[u8], state: State) -> Result<()> {
        let change = self.change()?;
        put_incoming(&change, manifest, sha256, bytes, state)?;
        change.commit()
    }

    /// Notes that a batch is whole in the inbox, with whoever signed it, and the medium that brought it.
    pub fn note_taken(&mut self, batch: &SignedBatch, from: Option<&TakenFrom>) -> Result<()> {
        let change = self.change()?;
        put_incoming(&change, batch, batch.sha256(), batch.bytes(), State::Whole)?;
        change.note(&Deed::taken(batch, from))?;
        change.commit()
    }

    /// Moves a batch to a state, with what is said of it there.
    pub fn set_state(&self, id: i64, state: State, standing: Option<Code>) -> Result<()> {
        let change = self.change()?;
        let sql = "UPDATE batch SET state = ?2, standing = ?3 WHERE id = ?1";
        change.execute(sql, params![id, state, standing])?;
        if let (State::Refused, Some(code)) = (state, standing) {
            let BatchId { stream, sequence, sha256, .. } = named(&change, id)?;
            change.note(&Deed::Refused { stream, sequence: sequence.get(), sha256, code })?;
        }
        change.commit()
    }

    /// A delivered batch is to be delivered once more. That is remembered until it is done, by whichever run.
    pub fn reopen(&self, id: i64) -> Result<()> {
        let change = self.change()?;
        change.execute("UPDATE batch SET state = 'admitted', standing = NULL WHERE id = ?1", [id])?;
        put_meta(&change, &reopened(id), "")?;
        change.commit()
    }

    /// A batch is done: every envelope of it was delivered or set aside. `aside` are those that had been set aside before it
    /// was delivered; of these it is noted which had come by another batch. `list` is that of its objects.
    pub fn set_done(
        &self,
        id: i64,
        delivered: &Deed,
        aside: impl Iterator<Item = Digest>,
        list: ObjectList,
    ) -> Result<()> {
        let change = self.change()?;
        for sha256 in aside {
            let sql =
                "INSERT OR IGNORE INTO aside_before SELECT ?1, sha256 FROM set_aside WHERE sha256 = ?2 AND batch <> ?1";
            change.prepare_cached(sql)?.execute(params![id, sha256.as_bytes()])?;
        }
        let sql = "UPDATE batch SET state = 'delivered', done_at = ?2 WHERE id = ?1";
        change.execute(sql, params![id, clock::now().0])?;
        change.execute("DELETE FROM meta WHERE key = ?1", [reopened(id)])?;
        note_list(&change, id, list)?;
        change.note(delivered)?;
        change.commit()
    }

    /// The files of a batch were removed from the inbox, and its index was kept, or was not there to be kept.
    pub fn set_pruned(&self, id: i64, has_index: bool) -> Result<()> {
        let change = self.change()?;
        change.execute("UPDATE batch SET pruned = 1 WHERE id = ?1", [id])?;
        note_index(&change, id, has_index)?;
        let BatchId { stream, sequence, sha256, .. } = named(&change, id)?;
        change.note(&Deed::Pruned { stream, sequence: sequence.get(), sha256 })?;
        change.commit()
    }

    /// The files of a batch came again that had been removed from the inbox.
    pub fn set_back(&self, id: i64) -> Result<()> {
        self.connection.execute("UPDATE batch SET pruned = 0 WHERE id = ?1", [id])?;
        Ok(())
    }
}

/// Under what it is remembered that a batch is delivered once more.
fn reopened(id: i64) -> String {
    format!("reopened_{id}")
}

/// What a batch is named for, by the ledger's number for it.
pub(super) fn named(change: &Connection, id: i64) -> Result<BatchId> {
    let sql = "SELECT id, stream, sequence, sha256 FROM batch WHERE id = ?1";
    Ok(change.prepare_cached(sql)?.query_row([id], |r| batch_id(r, 0))?)
}

fn put_incoming(change: &Connection, manifest: &Manifest, sha256: Digest, bytes: &[u8], state: State) -> Result<()> {
    let (stream, sequence) = (manifest.stream.to_string(), manifest.sequence.get() as i64);
    let now = clock::now().0;
    let update =
        "UPDATE batch SET state = ?2, taken_at = CASE WHEN ?2 = 'whole' THEN ?3 ELSE taken_at END WHERE sha256 = ?1";
    if change.execute(update, params![sha256.as_bytes(), state, now])? > 0 {
        return Ok(());
    }
    let values = params![
        stream,
        sequence,
        sha256.as_bytes(),
        bytes,
        state,
        manifest.zone,
        manifest.totals.envelopes as i64,
        manifest.totals.bytes as i64,
        manifest.before.envelopes as i64,
        manifest.before.bytes as i64,
        manifest.succeeds.map(|s| s.stream.to_string()),
        manifest.succeeds.map(|s| s.sequence.get() as i64),
        now,
        manifest.promise.map(|seconds| seconds as i64),
    ];
    change.prepare_cached(
            "INSERT INTO batch (stream, sequence, sha256, manifest, state, zone, envelopes, bytes, before_envelopes, before_bytes,
             succeeds_stream, succeeds_sequence, taken_at, promise) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(values)?;
    for entry in &manifest.connectors {
        // SQL: the values on the right of SET are those from before.
        change
            .prepare_cached(
                "INSERT INTO came_connector VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET
                 name = CASE WHEN excluded.sequence >= sequence THEN excluded.name ELSE name END,
                 type = CASE WHEN excluded.sequence >= sequence THEN excluded.type ELSE type END,
                 sequence = max(sequence, excluded.sequence), envelopes = envelopes + excluded.envelopes",
            )?
            .execute(params![stream, entry.id, sequence, entry.name, entry.kind, entry.envelopes as i64])?;
        put_day(change, &stream, &entry.id, now)?;
    }
    for entry in &manifest.applicants {
        change.prepare_cached(
                "INSERT INTO came_applicant VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET envelopes = envelopes + excluded.envelopes",
            )?
            .execute(params![entry.id.as_deref().unwrap_or(""), entry.id.is_some(), entry.envelopes as i64])?;
    }
    Ok(())
}

/// A connector brought envelopes today. Whatever was long before says no more how often it comes.
fn put_day(change: &Connection, stream: &str, connector: &str, now: i64) -> Result<()> {
    let day = now / DAY;
    change
        .prepare_cached("INSERT OR REPLACE INTO came_day VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![connector, day, now, stream])?;
    change
        .prepare_cached("DELETE FROM came_day WHERE connector = ?1 AND day <= ?2")?
        .execute(params![connector, day - DAYS_KEPT])?;
    Ok(())
}

pub(super) fn batch_id(row: &Row<'_>, at: usize) -> rusqlite::Result<BatchId> {
    let number: i64 = row.get(at + 2)?;
    let sequence = Sequence::new(number as u64).ok_or(rusqlite::Error::IntegralValueOutOfRange(at + 2, number))?;
    Ok(BatchId { id: row.get(at)?, stream: row.get(at + 1)?, sequence, sha256: row.get(at + 3)? })
}

fn standing(row: &Row<'_>) -> rusqlite::Result<BatchStanding> {
    Ok(BatchStanding { batch: batch_id(row, 0)?, state: row.get(4)?, standing: row.get(5)?, pruned: row.get(6)? })
}
