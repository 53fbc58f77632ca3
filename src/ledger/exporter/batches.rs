//! Batches by number: sealed with their bytes and their envelopes, then packed with their signers.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, params};

use super::files::{Sight, remember};
use super::{ExporterLedger, ExporterView, Sealed, StreamRow};
use crate::batch::draft::Draft;
use crate::batch::manifest::Manifest;
use crate::batch::signed::SignedBatch;
use crate::clock;
use crate::deed::Deed;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ledger::asking::all;
use crate::report::BatchLine;
use crate::stream::{Numbers, Sequence, Size, StreamId};
use crate::trust::PublicKey;

/// A batch of the ledger.
#[derive(Debug, Clone)]
pub struct BatchRow {
    /// What was sealed.
    pub sealed: Sealed,
    /// How far it has come.
    pub state: PackedState,
}

/// How far a batch has come at the exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackedState {
    /// Its number is used and its bytes are fixed.
    Sealed,
    /// Signed, and in the outbox.
    Packed,
}

impl PackedState {
    /// The word in the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Packed => "packed",
        }
    }

    /// The state of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Sealed, Self::Packed].into_iter().find(|s| s.word() == word)
    }
}

impl ExporterView {
    /// The newest batches of a stream, by number.
    ///
    /// # Errors
    /// SQLite refused, or a row is no manifest.
    pub fn last_batches(&self, stream: &StreamRow, count: u64) -> Result<Vec<BatchRow>> {
        let last = self.last_sequence(stream)?.map_or(0, Sequence::get);
        self.batches_between(stream, (last + 1).saturating_sub(count), last)
    }

    /// One batch.
    ///
    /// # Errors
    /// SQLite refused, or the row is no manifest.
    pub fn batch(&self, stream: &StreamRow, sequence: u64) -> Result<Option<BatchRow>> {
        Ok(self.batches_between(stream, sequence, sequence)?.pop())
    }

    /// The manifests of the last batches of a stream with these numbers, at most so many; the newest first.
    ///
    /// # Errors
    /// SQLite refused, or a row is no manifest.
    pub fn last_manifests(&self, stream: StreamId, numbers: &Range<u64>, count: u64) -> Result<Vec<Manifest>> {
        let Some(row) = self.streams()?.into_iter().find(|row| row.stream == stream) else { return Ok(Vec::new()) };
        let first = numbers.end.saturating_sub(count).max(numbers.start);
        let rows = self.batches_between(&row, first, numbers.end.saturating_sub(1))?;
        Ok(rows.into_iter().rev().map(|row| row.sealed.manifest().clone()).collect())
    }

    fn batches_between(&self, stream: &StreamRow, first: u64, last: u64) -> Result<Vec<BatchRow>> {
        let sql = "SELECT sha256, manifest, state FROM packed_batch
                   WHERE stream = ?1 AND sequence BETWEEN ?2 AND ?3 ORDER BY sequence";
        let rows: Vec<_> = all(&self.connection, sql, params![stream.id, first as i64, last as i64], |r| {
            Ok((r.get(0)?, r.get::<_, Vec<u8>>(1)?, r.get(2)?))
        })?;
        let read = |(sha256, bytes, state): (Digest, Vec<u8>, PackedState)| {
            let manifest = Manifest::parse(&bytes)
                .map_err(|e| Error::failed(format!("the ledger holds a manifest that is none: {e}")))?;
            Ok(BatchRow { sealed: Sealed::new(manifest, bytes, sha256), state })
        };
        rows.into_iter().map(read).collect()
    }

    /// Which of this content the stream has packed. All is looked up in one transaction: one by one each look would lock
    /// the ledger.
    pub fn packed_of(&self, stream: &StreamRow, contents: impl Iterator<Item = Digest>) -> Result<HashSet<Digest>> {
        let _reading = self.connection.unchecked_transaction()?;
        let sql = "SELECT 1 FROM packed_envelope WHERE stream = ?1 AND sha256 = ?2";
        let mut query = self.connection.prepare_cached(sql)?;
        let mut packed = HashSet::new();
        for sha256 in contents {
            if query.exists(params![stream.id, sha256.as_bytes()])? {
                packed.insert(sha256);
            }
        }
        Ok(packed)
    }

    /// The keys that this exporter has signed with.
    pub fn signers(&self) -> Result<Vec<PublicKey>> {
        let rows: Vec<Vec<u8>> =
            all(&self.connection, "SELECT public_key FROM signer", [], |r| r.get::<_, Vec<u8>>(0))?;
        Ok(rows
            .iter()
            .filter_map(|b| <&[u8; 32]>::try_from(b.as_slice()).ok())
            .filter_map(|b| PublicKey::from_bytes(b).ok())
            .collect())
    }
}

impl ExporterLedger {
    /// Seals a batch: in one transaction its number, its bytes, its envelopes and the files that they came from.
    /// After this the number is used, whatever happens.
    ///
    /// # Errors
    /// SQLite refused; then the number is not used.
    #[expect(clippy::too_many_arguments, reason = "one transaction writes all of it")]
    pub fn seal(
        &mut self,
        stream: &StreamRow,
        draft: Draft,
        envelopes: &[Digest],
        source: &Path,
        sights: &[Sight<'_>],
    ) -> Result<Sealed> {
        let (manifest, bytes) = draft.into_parts();
        let sha256 = Digest::of(&bytes);
        let sequence = manifest.sequence.get() as i64;
        let mut sorted = envelopes.to_vec();
        sorted.sort_unstable();
        let change = self.change()?;
        note_batch(&change, stream, &bytes, &manifest, PackedState::Sealed)?;
        {
            let mut insert = change.prepare_cached("INSERT INTO packed_envelope VALUES (?1, ?2, ?3)")?;
            for envelope in &sorted {
                insert.execute(params![stream.id, envelope.as_bytes(), sequence])?;
            }
        }
        remember(&change, source, sights)?;
        change.commit()?;
        Ok(Sealed::new(manifest, bytes, sha256))
    }

    /// Takes into the ledger a batch that lies on a shelf beyond it (`stream renew`).
    pub fn take_in(&mut self, stream: &StreamRow, batch: &SignedBatch, envelopes: &[Digest]) -> Result<()> {
        let change = self.change()?;
        let sequence = batch.sequence.get() as i64;
        note_batch(&change, stream, batch.bytes(), batch, PackedState::Packed)?;
        for envelope in envelopes {
            change.execute(
                "INSERT OR IGNORE INTO packed_envelope VALUES (?1, ?2, ?3)",
                params![stream.id, envelope.as_bytes(), sequence],
            )?;
        }
        for key in batch.signers() {
            change.execute("INSERT OR IGNORE INTO signer VALUES (?1)", [key.bytes()])?;
        }
        // A stream that went on from this one before does not know what has come to it now.
        let sql = "UPDATE stream SET inherits = 0 WHERE zone = (SELECT zone FROM stream WHERE id = ?1)";
        change.execute(sql, [stream.id])?;
        change.commit()
    }

    /// A sealed batch is signed and in the outbox; with these keys.
    pub fn record_packed(&mut self, stream: &StreamRow, batch: BatchLine, signers: &[PublicKey]) -> Result<()> {
        let sequence = batch.sequence;
        let change = self.change()?;
        for key in signers {
            change.execute("INSERT OR IGNORE INTO signer VALUES (?1)", [key.bytes()])?;
        }
        change.execute(
            "UPDATE packed_batch SET state = 'packed', packed_at = ?3 WHERE stream = ?1 AND sequence = ?2",
            params![stream.id, sequence as i64, clock::now().0],
        )?;
        change.note(&Deed::Packed { batch, signers: signers.iter().map(PublicKey::fingerprint).collect() })?;
        change.commit()
    }
}

impl ExporterLedger {
    /// Batches are signed with these keys too.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn note_signed(&mut self, stream: &StreamRow, sequences: &Numbers, signers: &[PublicKey]) -> Result<()> {
        let change = self.change()?;
        for key in signers {
            change.execute("INSERT OR IGNORE INTO signer VALUES (?1)", [key.bytes()])?;
        }
        let (stream, sequences) = (stream.stream, sequences.clone());
        change.note(&Deed::Signed {
            stream,
            sequences,
            signers: signers.iter().map(PublicKey::fingerprint).collect(),
        })?;
        change.commit()
    }
}

/// Notes a batch, with what is counted of it.
fn note_batch(
    change: &Connection,
    stream: &StreamRow,
    bytes: &[u8],
    manifest: &Manifest,
    state: PackedState,
) -> rusqlite::Result<()> {
    let sequence = manifest.sequence.get() as i64;
    let Size { envelopes, bytes: size } = manifest.size();
    change.execute(
        "INSERT INTO packed_batch (stream, sequence, sha256, manifest, state, envelopes, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![stream.id, sequence, Digest::of(bytes).as_bytes(), bytes, state, envelopes as i64, size as i64],
    )?;
    // SQL: the values on the right of SET are those from before.
    let mut count = change.prepare_cached(
        "INSERT INTO packed_connector VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET
         name = CASE WHEN excluded.sequence >= sequence THEN excluded.name ELSE name END,
         sequence = max(sequence, excluded.sequence), envelopes = envelopes + excluded.envelopes",
    )?;
    for entry in &manifest.connectors {
        count.execute(params![stream.id, entry.id, sequence, entry.name, entry.envelopes as i64])?;
    }
    Ok(())
}
