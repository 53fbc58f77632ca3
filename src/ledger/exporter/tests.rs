//! What is counted and inherited, against what the manifests say.

use rusqlite::{StatementStatus, params};

use super::super::opened::look;
use super::super::schema::{APPLICATION_ID, MIGRATIONS};
use super::*;
use crate::batch::draft::Draft;
use crate::batch::manifest::{ConnectorEntry, Format, IndexEntry, Manifest, Succeeds, Totals};
use crate::batch::name;
use crate::batch::signed::SignedBatch;
use crate::digest::Digest;
use crate::report::BatchLine;
use crate::stream::{Sequence, Size, StreamId};
use crate::trust::{PrivateKey, SignatureFile, TrustStore, Unverified};

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

/// What a key signed, whatever rule it breaks.
fn signed(manifest: &Manifest) -> SignedBatch {
    let (key, bytes) = (PrivateKey::from_seed([1; 32]), manifest.encode());
    let file = SignatureFile { name: "any.sig".into(), signature: key.sign(&bytes), named: true };
    let authentic = TrustStore::of_keys(&[key.public()]).authenticate(Unverified::new(bytes, vec![file])).unwrap();
    authentic.into_signed(|_| Ok::<_, ()>(manifest.clone())).unwrap()
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

fn assert_three(ledger: &ExporterView, stream: &StreamRow) {
    use PackedState::{Packed, Sealed};
    let batch = |sequence, state, envelopes| PackedBatch {
        sequence,
        state,
        size: Size { envelopes, bytes: 100 * envelopes },
        packed_at: None,
    };
    let batches = ledger.packed_batches(stream).unwrap().into_iter().map(|b| PackedBatch { packed_at: None, ..b });
    assert_eq!(batches.collect::<Vec<_>>(), [batch(1, Packed, 3), batch(2, Packed, 3), batch(5, Sealed, 9)]);
    let connector =
        |id: &str, name: &str, envelopes, last| PackedConnector { id: id.into(), name: name.into(), envelopes, last };
    assert_eq!(ledger.packed_connectors(stream).unwrap(), [connector("a", "Newest", 14, 5), connector("b", "B", 1, 1)]);
    let [_, second, last] = three(stream.stream).map(|m| (m.sequence, Digest::of(&m.encode())));
    assert_eq!(ledger.packed_head(stream).unwrap(), Some(last.1));
    let succeeds = Succeeds { stream: stream.stream, sequence: second.0, sha256: second.1 };
    assert_eq!(ledger.last_packed(stream).unwrap(), Some(succeeds));
}

#[test]
fn counts_of_a_stream_are_those_of_its_manifests() {
    let (_dir, site) = site();
    let (mut ledger, _) = ExporterLedger::open(&site).unwrap();
    let stream = ledger.begin_stream(StreamId::from_random([7; 16]), "default", None).unwrap();
    let [first, second, third] = three(stream.stream);
    ledger.seal(&stream, Draft::unchecked(&first), &[], "src".as_ref(), &[]).unwrap();
    ledger.record_packed(&stream, BatchLine::of(&first, Digest::of(b"first")), &[]).unwrap();
    ledger.take_in(&stream, &signed(&second), &[]).unwrap();
    ledger.seal(&stream, Draft::unchecked(&third), &[], "src".as_ref(), &[]).unwrap();
    assert_three(&ledger, &stream);
}

#[test]
fn earlier_batch_taken_in_later_keeps_the_newest_name() {
    let (_dir, site) = site();
    let (mut ledger, _) = ExporterLedger::open(&site).unwrap();
    let stream = ledger.begin_stream(StreamId::from_random([7; 16]), "default", None).unwrap();
    for batch in three(stream.stream).iter().rev() {
        ledger.take_in(&stream, &signed(batch), &[]).unwrap();
    }
    let [first, _] = &ledger.packed_connectors(&stream).unwrap()[..] else { panic!("two connectors") };
    assert_eq!((first.name.as_str(), first.envelopes), ("Newest", 14));
}

#[test]
fn counts_of_an_older_ledger_are_read_from_its_manifests() {
    let (_dir, site) = site();
    site.prepare(Role::Exporter).unwrap();
    let at = MIGRATIONS.iter().position(|m| m.contains("CREATE TABLE packed_connector")).unwrap();
    let older = Connection::open(site.ledger()).unwrap();
    MIGRATIONS[..at].iter().for_each(|migration| older.execute_batch(migration).unwrap());
    older.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
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
    let (ledger, _) = ExporterLedger::open(&site).unwrap();
    assert_three(&ledger, &ledger.active_stream("default").unwrap().unwrap());
}

/// Steps of SQLite's machine that this statement took since it was compiled, and how often it was run.
fn work(ledger: &ExporterView, sql: &str) -> (i32, i32) {
    let query = ledger.connection.prepare_cached(sql).unwrap();
    (query.reset_status(StatementStatus::VmStep), query.reset_status(StatementStatus::Run))
}

#[test]
fn zone_with_many_old_streams_finds_its_stream_in_as_many_steps() {
    let steps = |streams: u16| {
        let (_dir, site) = site();
        let (mut ledger, _) = ExporterLedger::open(&site).unwrap();
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
        let ledger = ExporterView::over(look(&site).unwrap().0);
        assert!(ledger.active_stream("zone").unwrap().is_some());
        let sql = format!("{}zone = ?1 AND active = 1", streams::STREAMS);
        work(&ledger, &sql)
    };
    let (few, many) = (steps(2), steps(60));
    assert!(few.0 > 0 && few.1 == 1, "{few:?}");
    assert_eq!(few, many);
}

/// A stream with one packed batch of the envelopes of these names, and what goes on from it.
fn packed(ledger: &mut ExporterLedger, stream: &StreamRow, names: &[&str]) -> Succeeds {
    let last = ledger.last_sequence(stream).unwrap();
    let batch = manifest(stream.stream, last.map_or(1, |last| last.get() + 1), &[("a", "A", names.len() as u64)]);
    let envelopes: Vec<Digest> = names.iter().map(|n| Digest::of(n.as_bytes())).collect();
    ledger.seal(stream, Draft::unchecked(&batch), &envelopes, "src".as_ref(), &[]).unwrap();
    ledger.record_packed(stream, BatchLine::of(&batch, Digest::of(b"batch")), &[]).unwrap();
    ledger.last_packed(stream).unwrap().unwrap()
}

fn renewed(ledger: &mut ExporterLedger, number: u8, old: &StreamRow, succeeds: Succeeds) -> StreamRow {
    ledger.begin_successor(StreamId::from_random([number; 16]), old, Some(succeeds)).unwrap()
}

fn count_as_packed(ledger: &ExporterView, stream: &StreamRow, names: &[&str]) -> usize {
    ledger.packed_of(stream, names.iter().map(|n| Digest::of(n.as_bytes()))).unwrap().len()
}

#[test]
fn each_of_many_renewals_inherits_from_the_stream_before_alone() {
    let (_dir, site) = site();
    let (mut ledger, _) = ExporterLedger::open(&site).unwrap();
    let mut stream = ledger.begin_stream(StreamId::from_random([1; 16]), "default", None).unwrap();
    let names = ["one", "two", "three", "four", "five"];
    for (n, name) in names.iter().enumerate() {
        let last = packed(&mut ledger, &stream, &[name]);
        stream = renewed(&mut ledger, n as u8 + 2, &stream, last);
    }
    assert_eq!(count_as_packed(&ledger, &stream, &names), 5);
    // Behind the first stream there is none; each later one reads one.
    assert_eq!(work(&ledger, streams::INHERIT).1, 5);
}

#[test]
fn batch_taken_into_an_older_stream_counts_as_packed_after_the_next_renewal() {
    let (_dir, site) = site();
    let (mut ledger, _) = ExporterLedger::open(&site).unwrap();
    let old = ledger.begin_stream(StreamId::from_random([1; 16]), "default", None).unwrap();
    let last = packed(&mut ledger, &old, &["one"]);
    let stream = renewed(&mut ledger, 2, &old, last);
    let late = manifest(old.stream, 2, &[("a", "A", 1)]);
    ledger.take_in(&old, &signed(&late), &[Digest::of(b"late")]).unwrap();
    let last = packed(&mut ledger, &stream, &["two"]);
    let stream = renewed(&mut ledger, 3, &stream, last);
    assert_eq!(count_as_packed(&ledger, &stream, &["one", "late", "two"]), 3);
}

#[test]
fn batch_given_up_after_renewals_is_not_inherited_again() {
    let (_dir, site) = site();
    let (mut ledger, _) = ExporterLedger::open(&site).unwrap();
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

#[test]
fn statement_used_for_many_streams_is_compiled_once() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("site"));
    let (mut ledger, _) = ExporterLedger::open(&site).unwrap();
    let streams: Vec<_> =
        (1..=4).map(|n| ledger.begin_stream(StreamId::from_random([n; 16]), "zone", None).unwrap()).collect();
    let view = ExporterView::over(look(&site).unwrap().0);
    for ledger in [&*ledger, &view] {
        for stream in &streams {
            assert!(ledger.lost_numbers(stream).unwrap().is_empty());
            assert!(ledger.active_stream(&stream.zone).unwrap().is_some());
            assert!(ledger.carried_so_far(stream).unwrap().is_empty());
            assert!(ledger.packed_among(stream, &"1-7".parse().unwrap()).unwrap().is_empty());
        }
        for sql in [
            "SELECT sequence FROM lost_batch WHERE stream = ?1",
            "SELECT sequence, proof, min(carry) FROM carried WHERE stream = ?1 GROUP BY sequence, proof",
        ] {
            let query = ledger.connection.prepare_cached(sql).unwrap();
            let status = |of| query.get_status(of);
            assert_eq!((status(StatementStatus::Run), status(StatementStatus::RePrepare)), (4, 0), "{sql}");
        }
    }
}

#[test]
fn stream_with_a_hole_continues_after_its_largest_number() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = ExporterLedger::open(&Site::new(dir.path().join("site"))).unwrap();
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
