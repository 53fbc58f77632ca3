//! The exporter's memory: streams, batches by number, envelopes by digest, files by stamp, carries.

mod carries;
mod lost;
mod summary;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rusqlite::{Connection, Row, params};

use super::{Ledger, digest_of, lost};
use crate::batch::manifest::{Manifest, Succeeds};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::source::{SourceFile, Stamp};
use crate::stream::{Sequence, StreamId};
use crate::trust::PublicKey;

use summary::note_batch;

pub use carries::{CarriedRow, CarryRow};
pub use lost::LostRow;
pub use summary::{PackedBatch, PackedConnector};

/// A stream of this exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    id: i64,
    /// Its UUID.
    pub stream: StreamId,
    /// The zone that it is for.
    pub zone: String,
    /// What it goes on from.
    pub succeeds: Option<Succeeds>,
    /// Whether its zone goes on with it.
    pub active: bool,
}

/// A batch of the ledger.
#[derive(Debug, Clone)]
pub struct BatchRow {
    /// Its digest.
    pub sha256: Digest,
    /// Its bytes, as they were sealed.
    pub bytes: Vec<u8>,
    /// The same, read.
    pub manifest: Manifest,
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

/// What the ledger knows of a file that has not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Its content, and whether this stream has packed it.
    Content {
        /// Its digest.
        sha256: Digest,
        /// Whether this stream has packed it.
        packed: bool,
    },
    /// It is no envelope, and that was said.
    Refused,
}

/// What is to be remembered of a file.
#[derive(Debug, Clone)]
pub struct Sight<'a> {
    /// The file.
    pub file: &'a SourceFile,
    /// Its digest, or why it is no envelope.
    pub content: std::result::Result<Digest, String>,
}

const STREAMS: &str =
    "SELECT id, uuid, zone, active, succeeds_stream, succeeds_sequence, succeeds_sha256 FROM stream WHERE ";

/// What one stream packed, or has from those before it (under the number 0), counts as packed in another one too.
const INHERIT: &str = "INSERT OR IGNORE INTO packed_envelope SELECT ?2, e.sha256, 0 FROM packed_envelope e
     LEFT JOIN packed_batch b ON b.stream = e.stream AND b.sequence = e.sequence
     WHERE e.stream = ?1 AND (e.sequence = 0 OR b.state = 'packed')";

impl Ledger {
    /// All streams, oldest first.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn streams(&self) -> Result<Vec<StreamRow>> {
        self.streams_where("true ORDER BY id", [])
    }

    fn streams_where(&self, condition: &str, values: impl rusqlite::Params) -> Result<Vec<StreamRow>> {
        let sql = format!("{STREAMS}{condition}");
        let mut query = self.connection.prepare_cached(&sql).map_err(|e| lost(&e))?;
        let rows = query.query_map(values, stream_row);
        rows.and_then(Iterator::collect).map_err(|e| lost(&e))
    }

    /// The stream with which a zone goes on.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn active_stream(&self, zone: &str) -> Result<Option<StreamRow>> {
        Ok(self.streams_where("zone = ?1 AND active = 1", [zone])?.pop())
    }

    /// A stream and those that it goes on from, newest first.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn lineage(&self, stream: &StreamRow) -> Result<Vec<StreamRow>> {
        let all: HashMap<StreamId, StreamRow> = self.streams()?.into_iter().map(|s| (s.stream, s)).collect();
        let mut seen = HashSet::from([stream.stream]);
        let mut out = vec![stream.clone()];
        while let Some(before) = out.last().and_then(|s| s.succeeds).and_then(|s| all.get(&s.stream))
            && seen.insert(before.stream)
        {
            out.push(before.clone());
        }
        Ok(out)
    }

    /// Begins a stream for a zone; one that was active is so no longer.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn begin_stream(&mut self, stream: StreamId, zone: &str, succeeds: Option<Succeeds>) -> Result<StreamRow> {
        let mut work = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            insert_stream(&change, stream, zone, succeeds)?;
            change.commit()
        };
        work().map_err(|e| lost(&e))?;
        self.begun(zone)
    }

    /// Begins the stream that goes on from another one. What that one and those before it packed counts as packed in it.
    /// Streams are looked at back to the first one in which all that was before it counts already: else each of many
    /// renewals would read what all of them had.
    ///
    /// # Errors
    /// SQLite refused; then nothing has begun.
    pub fn begin_successor(
        &mut self,
        stream: StreamId,
        old: &StreamRow,
        succeeds: Option<Succeeds>,
    ) -> Result<StreamRow> {
        let lineage = self.lineage(old)?;
        let mut work = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            let new = insert_stream(&change, stream, &old.zone, succeeds)?;
            for before in &lineage {
                change.prepare_cached(INHERIT)?.execute(params![before.id, new])?;
                let sql = "SELECT inherits FROM stream WHERE id = ?1";
                if change.prepare_cached(sql)?.query_row([before.id], |r| r.get(0))? {
                    break;
                }
            }
            change.execute("UPDATE stream SET inherits = 1 WHERE id = ?1", [new])?;
            change.commit()
        };
        work().map_err(|e| lost(&e))?;
        self.begun(&old.zone)
    }

    fn begun(&self, zone: &str) -> Result<StreamRow> {
        self.active_stream(zone)?.ok_or_else(|| Error::failed("the new stream is not in the ledger"))
    }

    /// The newest batches of a stream, by number.
    ///
    /// # Errors
    /// SQLite refused, or a row is no manifest.
    pub fn last_batches(&self, stream: &StreamRow, count: u64) -> Result<Vec<BatchRow>> {
        let last = self.last_sequence(stream)?.map_or(0, Sequence::get);
        self.batches_between(stream, (last + 1).saturating_sub(count), last)
    }

    fn batches_between(&self, stream: &StreamRow, first: u64, last: u64) -> Result<Vec<BatchRow>> {
        let sql = "SELECT sha256, manifest, state FROM packed_batch
                   WHERE stream = ?1 AND sequence BETWEEN ?2 AND ?3 ORDER BY sequence";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let rows = query.query_map(params![stream.id, first as i64, last as i64], |r| {
            Ok((digest_of(r, 0)?, r.get::<_, Vec<u8>>(1)?, r.get(2)?))
        });
        let rows: Vec<_> = rows.and_then(Iterator::collect).map_err(|e| lost(&e))?;
        let read = |(sha256, bytes, state): (Digest, Vec<u8>, PackedState)| {
            let manifest = Manifest::parse(&bytes)
                .map_err(|e| Error::failed(format!("the ledger holds a manifest that is none: {e}")))?;
            Ok(BatchRow { sha256, manifest, bytes, state })
        };
        rows.into_iter().map(read).collect()
    }

    /// Each stream with the last number that is used, 0 where none is; found by the index, without a look at the rows.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn last_sequences(&self) -> Result<Vec<(StreamId, u64)>> {
        let sql = "SELECT uuid, (SELECT max(sequence) FROM packed_batch b WHERE b.stream = s.id) FROM stream s";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let rows = query.query_map([], |r| {
            let uuid: String = r.get(0)?;
            let stream = StreamId::parse(&uuid).ok_or(rusqlite::Error::InvalidColumnName(uuid))?;
            Ok((stream, r.get::<_, Option<i64>>(1)?.unwrap_or(0) as u64))
        });
        rows.and_then(Iterator::collect).map_err(|e| lost(&e))
    }

    /// The last number of a stream that is used.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn last_sequence(&self, stream: &StreamRow) -> Result<Option<Sequence>> {
        let sql = "SELECT max(sequence) FROM packed_batch WHERE stream = ?1";
        let last: Option<i64> = self.connection.query_row(sql, [stream.id], |r| r.get(0)).map_err(|e| lost(&e))?;
        Ok(last.and_then(|n| Sequence::new(n as u64)))
    }

    /// Which of this content the stream has packed. All is looked up in one transaction: one by one each look would lock
    /// the ledger.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn packed_of(&self, stream: &StreamRow, contents: impl Iterator<Item = Digest>) -> Result<HashSet<Digest>> {
        let _reading = self.connection.unchecked_transaction().map_err(|e| lost(&e))?;
        let sql = "SELECT 1 FROM packed_envelope WHERE stream = ?1 AND sha256 = ?2";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let mut packed = HashSet::new();
        for sha256 in contents {
            if query.exists(params![stream.id, sha256.as_bytes()]).map_err(|e| lost(&e))? {
                packed.insert(sha256);
            }
        }
        Ok(packed)
    }

    /// All that is known of the files of a source, by path, for one stream.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn seen_files(&self, stream: Option<&StreamRow>, source: &Path) -> Result<HashMap<Vec<u8>, (Stamp, Seen)>> {
        let sql = "SELECT path, dev, ino, size, mtime, ctime, s.sha256, refusal, e.sha256 IS NOT NULL FROM seen_file s
                   LEFT JOIN packed_envelope e ON e.stream = ?1 AND e.sha256 = s.sha256 WHERE source = ?2";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let stream = stream.map_or(-1, |s| s.id);
        let rows = query.query_map(params![stream, source.to_string_lossy()], |r| {
            let nanos = |column: usize| -> rusqlite::Result<i128> {
                let text: String = r.get(column)?;
                text.parse().map_err(|_| rusqlite::Error::InvalidColumnName(text))
            };
            let stamp = Stamp {
                dev: r.get::<_, i64>(1)? as u64,
                ino: r.get::<_, i64>(2)? as u64,
                size: r.get::<_, i64>(3)? as u64,
                mtime: nanos(4)?,
                ctime: nanos(5)?,
            };
            let seen = match r.get::<_, Option<String>>(7)? {
                Some(_) => Seen::Refused,
                None => Seen::Content { sha256: digest_of(r, 6)?, packed: r.get(8)? },
            };
            Ok((r.get::<_, Vec<u8>>(0)?, (stamp, seen)))
        });
        rows.and_then(Iterator::collect).map_err(|e| lost(&e))
    }

    /// Seals a batch: in one transaction its number, its bytes, its envelopes and the files that they came from.
    /// After this the number is used, whatever happens.
    ///
    /// # Errors
    /// SQLite refused; then the number is not used.
    pub fn seal(
        &mut self,
        stream: &StreamRow,
        manifest: &Manifest,
        envelopes: &[Digest],
        source: &Path,
        sights: &[Sight<'_>],
    ) -> Result<Digest> {
        let bytes = manifest.encode();
        let sha256 = Digest::of(&bytes);
        let sequence = manifest.sequence.get() as i64;
        let mut sorted = envelopes.to_vec();
        sorted.sort_unstable();
        let mut work = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            note_batch(&change, stream, &bytes, manifest, PackedState::Sealed)?;
            {
                let mut insert = change.prepare_cached("INSERT INTO packed_envelope VALUES (?1, ?2, ?3)")?;
                for envelope in &sorted {
                    insert.execute(params![stream.id, envelope.as_bytes(), sequence])?;
                }
            }
            remember(&change, source, sights)?;
            change.commit()
        };
        work().map_err(|e| lost(&e))?;
        Ok(sha256)
    }

    /// Takes into the ledger a batch that lies on a shelf beyond it (`stream renew`).
    ///
    /// # Errors
    /// SQLite refused.
    pub fn take_in(
        &mut self,
        stream: &StreamRow,
        bytes: &[u8],
        manifest: &Manifest,
        envelopes: &[Digest],
        signers: &[PublicKey],
    ) -> Result<()> {
        let mut work = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            let sequence = manifest.sequence.get() as i64;
            note_batch(&change, stream, bytes, manifest, PackedState::Packed)?;
            for envelope in envelopes {
                change.execute(
                    "INSERT OR IGNORE INTO packed_envelope VALUES (?1, ?2, ?3)",
                    params![stream.id, envelope.as_bytes(), sequence],
                )?;
            }
            for key in signers {
                change.execute("INSERT OR IGNORE INTO signer VALUES (?1)", [key.bytes()])?;
            }
            // A stream that went on from this one before does not know what has come to it now.
            let sql = "UPDATE stream SET inherits = 0 WHERE zone = (SELECT zone FROM stream WHERE id = ?1)";
            change.execute(sql, [stream.id])?;
            change.commit()
        };
        work().map_err(|e| lost(&e))
    }

    /// Remembers files that were read for nothing new, and forgets those that are gone.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn remember_files(&mut self, source: &Path, sights: &[Sight<'_>], gone: &[Vec<u8>]) -> Result<()> {
        if sights.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let mut work = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            remember(&change, source, sights)?;
            {
                let mut delete = change.prepare_cached("DELETE FROM seen_file WHERE source = ?1 AND path = ?2")?;
                for path in gone {
                    delete.execute(params![source.to_string_lossy(), path])?;
                }
            }
            change.commit()
        };
        work().map_err(|e| lost(&e))
    }

    /// A sealed batch is signed and in the outbox; with these keys.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn mark_packed(&mut self, stream: &StreamRow, sequence: Sequence, signers: &[PublicKey]) -> Result<()> {
        let mut work = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            for key in signers {
                change.execute("INSERT OR IGNORE INTO signer VALUES (?1)", [key.bytes()])?;
            }
            change.execute(
                "UPDATE packed_batch SET state = 'packed' WHERE stream = ?1 AND sequence = ?2",
                params![stream.id, sequence.get() as i64],
            )?;
            change.commit()
        };
        work().map_err(|e| lost(&e))
    }

    /// The keys that this exporter has signed with.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn signers(&self) -> Result<Vec<PublicKey>> {
        let mut query = self.connection.prepare_cached("SELECT public_key FROM signer").map_err(|e| lost(&e))?;
        let rows = query.query_map([], |r| r.get::<_, Vec<u8>>(0));
        let rows: Vec<Vec<u8>> = rows.and_then(Iterator::collect).map_err(|e| lost(&e))?;
        Ok(rows
            .iter()
            .filter_map(|b| <&[u8; 32]>::try_from(b.as_slice()).ok())
            .filter_map(|b| PublicKey::from_bytes(b).ok())
            .collect())
    }

    /// How many files of a source are remembered as no envelope.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn refused_files(&self) -> Result<Vec<(String, String)>> {
        let sql = "SELECT path, refusal FROM seen_file WHERE refusal IS NOT NULL ORDER BY path";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let rows = query.query_map([], |r| Ok((crate::text::harmless_bytes(&r.get::<_, Vec<u8>>(0)?), r.get(1)?)));
        rows.and_then(Iterator::collect).map_err(|e| lost(&e))
    }
}

/// Begins a stream for a zone; one that was active is so no longer. Gives the ledger's number for it.
fn insert_stream(
    change: &Connection,
    stream: StreamId,
    zone: &str,
    succeeds: Option<Succeeds>,
) -> rusqlite::Result<i64> {
    change.execute("UPDATE stream SET active = 0 WHERE zone = ?1", [zone])?;
    change.execute(
        "INSERT INTO stream (uuid, zone, active, succeeds_stream, succeeds_sequence, succeeds_sha256) VALUES (?1, ?2, 1, ?3, ?4, ?5)",
        params![
            stream.to_string(),
            zone,
            succeeds.map(|s| s.stream.to_string()),
            succeeds.map(|s| s.sequence.get() as i64),
            succeeds.map(|s| s.sha256.as_bytes().to_vec()),
        ],
    )?;
    Ok(change.last_insert_rowid())
}

fn stream_row(r: &Row<'_>) -> rusqlite::Result<StreamRow> {
    let succeeds = match r.get::<_, Option<String>>(4)? {
        Some(stream) => {
            StreamId::parse(&stream).zip(Sequence::new(r.get::<_, i64>(5)? as u64)).map(|(stream, sequence)| {
                Ok::<_, rusqlite::Error>(Succeeds { stream, sequence, sha256: digest_of(r, 6)? })
            })
        }
        None => None,
    };
    let uuid: String = r.get(1)?;
    let stream = StreamId::parse(&uuid).ok_or(rusqlite::Error::InvalidColumnName(uuid))?;
    Ok(StreamRow { id: r.get(0)?, stream, zone: r.get(2)?, active: r.get(3)?, succeeds: succeeds.transpose()? })
}

fn remember(change: &rusqlite::Connection, source: &Path, sights: &[Sight<'_>]) -> rusqlite::Result<()> {
    let source = source.to_string_lossy();
    let mut insert =
        change.prepare_cached("INSERT OR REPLACE INTO seen_file VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
    let mut sorted: Vec<&Sight<'_>> = sights.iter().collect();
    sorted.sort_unstable_by_key(|sight| sight.file.path.as_os_str().as_encoded_bytes());
    for sight in sorted {
        let stamp = sight.file.stamp;
        insert.execute(params![
            source,
            sight.file.path.as_os_str().as_encoded_bytes(),
            stamp.dev as i64,
            stamp.ino as i64,
            stamp.size as i64,
            stamp.mtime.to_string(),
            stamp.ctime.to_string(),
            sight.content.as_ref().ok().map(|d| d.as_bytes()),
            sight.content.as_ref().err(),
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{Role, Site};

    #[test]
    fn stream_with_a_hole_goes_on_after_its_largest_number() {
        let dir = tempfile::tempdir().unwrap();
        let (mut ledger, _) = Ledger::open(&Site::new(dir.path().join("site")), Role::Exporter).unwrap();
        let stream = ledger.begin_stream(StreamId::from_random([7; 16]), "zone", None).unwrap();
        assert_eq!(
            (ledger.last_sequence(&stream).unwrap(), ledger.last_sequences().unwrap()),
            (None, vec![(stream.stream, 0)])
        );
        // As `stream renew` leaves it that found only later numbers on a medium.
        for number in [4, 9] {
            let sql = "INSERT INTO packed_batch (stream, sequence, sha256, manifest, state) VALUES (?1, ?2, x'00', x'00', 'packed')";
            ledger.connection.execute(sql, params![stream.id, number]).unwrap();
        }
        assert_eq!(ledger.last_sequence(&stream).unwrap(), Sequence::new(9));
        assert_eq!(ledger.last_sequences().unwrap(), [(stream.stream, 9)]);
        assert_eq!(ledger.uncarried(&stream).unwrap().to_string(), "4,9");
    }
}
