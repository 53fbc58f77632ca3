//! What is asked of all batches of a stream at once. The answers come from indexes and counts, whatever the number and
//! the size of the manifests.

use rusqlite::{Connection, OptionalExtension, params};

use super::{PackedState, StreamRow};
use crate::batch::manifest::{Manifest, Succeeds};
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::{Ledger, digest_of, lost};
use crate::stream::{Sequence, Size};

/// A batch without what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedBatch {
    /// Its number.
    pub sequence: u64,
    /// How far it has come.
    pub state: PackedState,
    /// What it holds.
    pub size: Size,
}

/// A connector of which envelopes were packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedConnector {
    /// Its id.
    pub id: String,
    /// Its name, by the newest batch.
    pub name: String,
    /// Its envelopes.
    pub envelopes: u64,
}

impl Ledger {
    /// All batches of a stream, by number.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn packed_batches(&self, stream: &StreamRow) -> Result<Vec<PackedBatch>> {
        let sql = "SELECT sequence, state, envelopes, bytes FROM packed_batch WHERE stream = ?1 ORDER BY sequence";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let rows = query.query_map([stream.id], |r| {
            let number = |column| r.get::<_, i64>(column).map(|n| n as u64);
            let size = Size { envelopes: number(2)?, bytes: number(3)? };
            Ok(PackedBatch { sequence: number(0)?, state: r.get(1)?, size })
        });
        rows.and_then(Iterator::collect).map_err(|e| lost(&e))
    }

    /// The digest of the last batch of a stream.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn packed_head(&self, stream: &StreamRow) -> Result<Option<Digest>> {
        let sql = "SELECT sha256 FROM packed_batch WHERE stream = ?1 ORDER BY sequence DESC LIMIT 1";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        query.query_row([stream.id], |r| digest_of(r, 0)).optional().map_err(|e| lost(&e))
    }

    /// The last batch of a stream that was signed, as another stream goes on from it.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn last_packed(&self, stream: &StreamRow) -> Result<Option<Succeeds>> {
        let sql = "SELECT sequence, sha256 FROM packed_batch WHERE stream = ?1 AND state = 'packed' ORDER BY sequence DESC LIMIT 1";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let last = query.query_row([stream.id], |r| Ok((r.get::<_, i64>(0)?, digest_of(r, 1)?))).optional();
        let last = last.map_err(|e| lost(&e))?;
        Ok(last.and_then(|(number, sha256)| {
            let sequence = Sequence::new(number as u64)?;
            Some(Succeeds { stream: stream.stream, sequence, sha256 })
        }))
    }

    /// The connectors of a stream of which envelopes were packed, by id.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn packed_connectors(&self, stream: &StreamRow) -> Result<Vec<PackedConnector>> {
        let sql = "SELECT connector, name, envelopes FROM packed_connector WHERE stream = ?1 ORDER BY connector";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let rows = query.query_map([stream.id], |r| {
            Ok(PackedConnector { id: r.get(0)?, name: r.get(1)?, envelopes: r.get::<_, i64>(2)? as u64 })
        });
        rows.and_then(Iterator::collect).map_err(|e| lost(&e))
    }
}

/// Notes a batch, with what is counted of it.
pub(super) fn note_batch(
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
    // What stands on the right of SET is as it was before.
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

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::batch::manifest::{ConnectorEntry, Format, IndexEntry, Totals};
    use crate::batch::name;
    use crate::ledger::MIGRATIONS;
    use crate::site::{Role, Site};
    use crate::stream::StreamId;

    fn manifest(stream: StreamId, number: u64, connectors: &[(&str, &str, u64)]) -> Manifest {
        let sequence = Sequence::new(number).unwrap();
        let entry = |&(id, name, envelopes): &(&str, &str, u64)| ConnectorEntry {
            id: id.into(),
            name: name.into(),
            kind: "EXTERNAL_IMPORT".into(),
            scope: None,
            auto: None,
            validate_before_import: None,
            envelopes,
        };
        let envelopes = connectors.iter().map(|c| c.2).sum();
        Manifest {
            airpouch: Format::Batch1,
            stream,
            sequence,
            previous: None,
            succeeds: None,
            zone: "default".into(),
            created: "2026-11-25T02:05:00Z".into(),
            producer: "airpouch 0.1.0".into(),
            promise: None,
            totals: Totals { envelopes, bytes: 100 * envelopes, packed: 18 },
            before: Size::default(),
            connectors: connectors.iter().map(entry).collect(),
            applicants: Vec::new(),
            index: IndexEntry { name: name::index(stream, sequence), bytes: 9, sha256: Digest::of(b""), unpacked: 15 },
            volumes: Vec::new(),
            history: Vec::new(),
        }
    }

    /// Three batches of two connectors, one of which has another name in each.
    fn three(stream: StreamId) -> [Manifest; 3] {
        [
            manifest(stream, 1, &[("a", "Old", 2), ("b", "B", 1)]),
            manifest(stream, 2, &[("a", "New", 3)]),
            manifest(stream, 5, &[("a", "Newer", 4), ("a", "Newest", 5)]),
        ]
    }

    fn site() -> (tempfile::TempDir, Site) {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("site"));
        (dir, site)
    }

    fn assert_three(ledger: &Ledger, stream: &StreamRow) {
        use PackedState::{Packed, Sealed};
        let batch = |sequence, state, envelopes| PackedBatch {
            sequence,
            state,
            size: Size { envelopes, bytes: 100 * envelopes },
        };
        assert_eq!(
            ledger.packed_batches(stream).unwrap(),
            [batch(1, Packed, 3), batch(2, Packed, 3), batch(5, Sealed, 9)]
        );
        let connector =
            |id: &str, name: &str, envelopes| PackedConnector { id: id.into(), name: name.into(), envelopes };
        assert_eq!(ledger.packed_connectors(stream).unwrap(), [connector("a", "Newest", 14), connector("b", "B", 1)]);
        let [_, second, last] = three(stream.stream).map(|m| (m.sequence, Digest::of(&m.encode())));
        assert_eq!(ledger.packed_head(stream).unwrap(), Some(last.1));
        let succeeds = Succeeds { stream: stream.stream, sequence: second.0, sha256: second.1 };
        assert_eq!(ledger.last_packed(stream).unwrap(), Some(succeeds));
    }

    #[test]
    fn counts_of_a_stream_are_those_of_its_manifests() {
        let (_dir, site) = site();
        let (mut ledger, _) = Ledger::open(&site, Role::Exporter).unwrap();
        let stream = ledger.begin_stream(StreamId::from_random([7; 16]), "default", None).unwrap();
        let [first, second, third] = three(stream.stream);
        ledger.seal(&stream, &first, &[], "src".as_ref(), &[]).unwrap();
        ledger.mark_packed(&stream, first.sequence, &[]).unwrap();
        ledger.take_in(&stream, &second.encode(), &second, &[], &[]).unwrap();
        ledger.seal(&stream, &third, &[], "src".as_ref(), &[]).unwrap();
        assert_three(&ledger, &stream);
    }

    #[test]
    fn earlier_batch_taken_in_later_keeps_the_newest_name() {
        let (_dir, site) = site();
        let (mut ledger, _) = Ledger::open(&site, Role::Exporter).unwrap();
        let stream = ledger.begin_stream(StreamId::from_random([7; 16]), "default", None).unwrap();
        for batch in three(stream.stream).iter().rev() {
            ledger.take_in(&stream, &batch.encode(), batch, &[], &[]).unwrap();
        }
        let [first, _] = &ledger.packed_connectors(&stream).unwrap()[..] else { panic!("two connectors") };
        assert_eq!((first.name.as_str(), first.envelopes), ("Newest", 14));
    }

    #[test]
    fn counts_of_an_older_ledger_come_from_its_manifests() {
        let (_dir, site) = site();
        site.prepare(Role::Exporter).unwrap();
        let at = MIGRATIONS.iter().position(|m| m.contains("CREATE TABLE packed_connector")).unwrap();
        let older = Connection::open(site.ledger()).unwrap();
        MIGRATIONS[..at].iter().for_each(|migration| older.execute_batch(migration).unwrap());
        older.pragma_update(None, "application_id", crate::ledger::APPLICATION_ID).unwrap();
        older.pragma_update(None, "user_version", at as i64).unwrap();
        older.execute("INSERT INTO meta VALUES ('role', 'exporter')", []).unwrap();
        let id = StreamId::from_random([7; 16]);
        older.execute("INSERT INTO stream (uuid, zone, active) VALUES (?1, 'default', 1)", [id.to_string()]).unwrap();
        for (manifest, state) in three(id).iter().zip(["packed", "packed", "sealed"]) {
            let (bytes, sequence) = (manifest.encode(), manifest.sequence.get() as i64);
            let sql = "INSERT INTO packed_batch VALUES (1, ?1, ?2, ?3, ?4)";
            older.execute(sql, params![sequence, Digest::of(&bytes).as_bytes(), bytes, state]).unwrap();
        }
        drop(older);
        let (ledger, _) = Ledger::open(&site, Role::Exporter).unwrap();
        assert_three(&ledger, &ledger.active_stream("default").unwrap().unwrap());
    }

    /// Steps of SQLite's machine that this statement took since it was compiled, and how often it was run.
    fn work(ledger: &Ledger, sql: &str) -> (i32, i32) {
        let query = ledger.connection.prepare_cached(sql).unwrap();
        (query.reset_status(StatementStatus::VmStep), query.reset_status(StatementStatus::Run))
    }

    #[test]
    fn zone_with_many_old_streams_finds_its_stream_in_as_many_steps() {
        let steps = |streams: u16| {
            let (_dir, site) = site();
            let (mut ledger, _) = Ledger::open(&site, Role::Exporter).unwrap();
            for n in 0..streams {
                let [high, low] = n.to_be_bytes();
                ledger
                    .begin_stream(
                        StreamId::from_random([high, low, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]),
                        "zone",
                        None,
                    )
                    .unwrap();
            }
            let ledger = Ledger::look(&site).unwrap();
            assert!(ledger.active_stream("zone").unwrap().is_some());
            let sql = format!("{}zone = ?1 AND active = 1", super::super::STREAMS);
            work(&ledger, &sql)
        };
        let (few, many) = (steps(2), steps(60));
        assert!(few.0 > 0 && few.1 == 1, "{few:?}");
        assert_eq!(few, many);
    }

    /// A stream with one packed batch of the envelopes of these names, and what goes on from it.
    fn packed(ledger: &mut Ledger, stream: &StreamRow, names: &[&str]) -> Succeeds {
        let last = ledger.last_sequence(stream).unwrap();
        let batch = manifest(stream.stream, last.map_or(1, |last| last.get() + 1), &[("a", "A", names.len() as u64)]);
        let envelopes: Vec<Digest> = names.iter().map(|n| Digest::of(n.as_bytes())).collect();
        ledger.seal(stream, &batch, &envelopes, "src".as_ref(), &[]).unwrap();
        ledger.mark_packed(stream, batch.sequence, &[]).unwrap();
        ledger.last_packed(stream).unwrap().unwrap()
    }

    fn renewed(ledger: &mut Ledger, number: u8, old: &StreamRow, succeeds: Succeeds) -> StreamRow {
        ledger.begin_successor(StreamId::from_random([number; 16]), old, Some(succeeds)).unwrap()
    }

    fn count_as_packed(ledger: &Ledger, stream: &StreamRow, names: &[&str]) -> usize {
        ledger.packed_of(stream, names.iter().map(|n| Digest::of(n.as_bytes()))).unwrap().len()
    }

    #[test]
    fn each_of_many_renewals_inherits_from_the_stream_before_alone() {
        let (_dir, site) = site();
        let (mut ledger, _) = Ledger::open(&site, Role::Exporter).unwrap();
        let mut stream = ledger.begin_stream(StreamId::from_random([1; 16]), "default", None).unwrap();
        let names = ["one", "two", "three", "four", "five"];
        for (n, name) in names.iter().enumerate() {
            let last = packed(&mut ledger, &stream, &[name]);
            stream = renewed(&mut ledger, n as u8 + 2, &stream, last);
        }
        assert_eq!(count_as_packed(&ledger, &stream, &names), 5);
        // Behind the first stream there is none; each later one reads one.
        assert_eq!(work(&ledger, super::super::INHERIT).1, 5);
    }

    #[test]
    fn batch_taken_into_an_older_stream_counts_as_packed_after_the_next_renewal() {
        let (_dir, site) = site();
        let (mut ledger, _) = Ledger::open(&site, Role::Exporter).unwrap();
        let old = ledger.begin_stream(StreamId::from_random([1; 16]), "default", None).unwrap();
        let last = packed(&mut ledger, &old, &["one"]);
        let stream = renewed(&mut ledger, 2, &old, last);
        let late = manifest(old.stream, 2, &[("a", "A", 1)]);
        ledger.take_in(&old, &late.encode(), &late, &[Digest::of(b"late")], &[]).unwrap();
        let last = packed(&mut ledger, &stream, &["two"]);
        let stream = renewed(&mut ledger, 3, &stream, last);
        assert_eq!(count_as_packed(&ledger, &stream, &["one", "late", "two"]), 3);
    }

    #[test]
    fn batch_given_up_after_renewals_is_not_inherited_again() {
        let (_dir, site) = site();
        let (mut ledger, _) = Ledger::open(&site, Role::Exporter).unwrap();
        let first = ledger.begin_stream(StreamId::from_random([1; 16]), "default", None).unwrap();
        let last = packed(&mut ledger, &first, &["lost"]);
        let second = renewed(&mut ledger, 2, &first, last);
        let last = packed(&mut ledger, &second, &["two"]);
        let third = renewed(&mut ledger, 3, &second, last);
        let envelopes = ledger.envelopes_of(&first, Sequence::FIRST).unwrap();
        ledger.give_up_batch(&first, &third, Sequence::FIRST, &envelopes, "2026-11-28T07:00:00Z").unwrap();
        let last = packed(&mut ledger, &third, &["three"]);
        let fourth = renewed(&mut ledger, 4, &third, last);
        assert_eq!(count_as_packed(&ledger, &fourth, &["two", "three"]), 2);
        assert_eq!(count_as_packed(&ledger, &fourth, &["lost"]), 0);
    }
}
