//! What SQL says of many batches, against what the values say.

use rusqlite::params;

use super::super::schema::{APPLICATION_ID, MIGRATIONS};
use super::*;
use crate::batch::manifest::{ApplicantEntry, ConnectorEntry, Format, IndexEntry, Manifest, Totals, VolumeEntry};
use crate::batch::name;
use crate::digest::Digest;
use crate::stream::{Numbers, Sequence, Size, StreamId};

/// The digest under which a batch is noted; its manifest's links name it.
fn digest(stream: StreamId, number: u64) -> Digest {
    Digest::of(format!("{stream}/{number}").as_bytes())
}

fn manifest(stream: StreamId, number: u64) -> Manifest {
    let sequence = Sequence::new(number).unwrap();
    Manifest {
        airpouch: Format::Batch1,
        stream,
        sequence,
        previous: (number > 1).then(|| digest(stream, number - 1)),
        succeeds: None,
        zone: "restricted".into(),
        created: "2026-11-25T02:05:00Z".into(),
        producer: "airpouch 0.1.0".into(),
        promise: None,
        totals: Totals { envelopes: number, bytes: 10 * number, packed: 18 },
        before: Size { envelopes: number * (number - 1) / 2, bytes: 5 * number * (number - 1) },
        connectors: vec![ConnectorEntry {
            id: "feed".into(),
            name: format!("Feed {number}"),
            kind: "EXTERNAL_IMPORT".into(),
            scope: None,
            auto: None,
            validate_before_import: None,
            envelopes: number,
        }],
        applicants: vec![ApplicantEntry { id: None, envelopes: number }],
        index: IndexEntry { name: name::index(stream, sequence), bytes: 9, sha256: Digest::of(b""), unpacked: 15 },
        volumes: vec![VolumeEntry {
            name: name::volume(stream, sequence, 1),
            bytes: 9,
            sha256: Digest::of(b""),
            unpacked: 1024,
            envelopes: number,
        }],
        history: (1..number.saturating_sub(1)).rev().take(32).map(|n| digest(stream, n)).collect(),
    }
}

/// Puts a batch into the ledger as the one before the last list of migrations did: without looking into its manifest.
fn insert_plainly(ledger: &Connection, manifest: &Manifest, state: &str) {
    let bytes = manifest.encode();
    let sha256 = Digest::of(&bytes);
    let values = params![manifest.stream.to_string(), manifest.sequence.get() as i64, sha256.as_bytes(), bytes, state];
    let sql = "INSERT INTO batch (stream, sequence, sha256, manifest, state) VALUES (?1, ?2, ?3, ?4, ?5)";
    ledger.execute(sql, values).unwrap();
}

fn stream(n: u8) -> StreamId {
    StreamId::from_random([n; 16])
}

#[test]
fn gaps_by_sql_are_those_of_the_position() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = ImporterLedger::open(&Site::new(dir.path().join("site"))).unwrap();
    type Numbered = &'static [u64];
    type Settled = &'static [(u64, u64)];
    let cases: [(Numbered, Settled); 7] = [
        (&[1, 2, 3], &[]),
        (&[1, 4, 9], &[]),
        (&[5, 6, 40], &[]),
        (&[1, 9], &[(3, 4)]),
        (&[1, 9], &[(2, 8)]),
        (&[7, 9], &[(1, 3), (8, 8)]),
        (&[3], &[]),
    ];
    for (n, (numbers, settled)) in cases.iter().enumerate() {
        let stream = stream(n as u8);
        for number in *numbers {
            let manifest = manifest(stream, *number);
            ledger.note_incoming(&manifest, digest(stream, *number), &manifest.encode(), State::Admitted).unwrap();
        }
        for (from, to) in *settled {
            let numbers: Numbers = [*from..=*to].into_iter().collect();
            ledger.settle_gap(stream, &numbers, "lost", "2026-11-25T02:05:00Z").unwrap();
        }
        let position = ledger.position(stream, &(1..=50)).unwrap();
        let gaps: Vec<_> = ledger.gaps(Some(stream)).unwrap().into_iter().map(|(_, missing, _)| missing).collect();
        assert_eq!(gaps, position.missing(), "{numbers:?} without {settled:?}");
        let begins =
            ledger.gaps(Some(stream)).unwrap().iter().filter(|(_, m, _)| *m.numbers.end() < numbers[0]).count();
        assert_eq!(ledger.gaps(Some(stream)).unwrap().iter().filter(|(.., begins)| *begins).count(), begins);
    }
    let all = ledger.gaps(None).unwrap();
    let each: Vec<_> = (0..cases.len()).flat_map(|n| ledger.gaps(Some(stream(n as u8))).unwrap()).collect();
    assert_eq!(all.len(), each.len());
    assert!(each.iter().all(|gap| all.contains(gap)));
}

#[test]
fn position_near_a_number_equals_the_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = ImporterLedger::open(&Site::new(dir.path().join("site"))).unwrap();
    let stream = stream(1);
    for number in (1..=120).filter(|n| n % 7 != 0) {
        let manifest = manifest(stream, number);
        ledger.note_incoming(&manifest, digest(stream, number), &manifest.encode(), State::Delivered).unwrap();
    }
    for number in [1, 7, 49, 119, 120, 121, 130] {
        let (near, whole) = (ledger.position(stream, &(number..=number)), ledger.position(stream, &(1..=200)));
        let (near, whole) = (near.unwrap(), whole.unwrap());
        for sha256 in [digest(stream, number), Digest::of(b"another")] {
            let link = manifest(stream, number).link(sha256);
            assert_eq!(near.standing(&link), whole.standing(&link), "{number}");
        }
    }
}

#[test]
fn batches_of_an_older_ledger_are_counted_as_new_ones_are() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("site"));
    site.prepare(Role::Importer).unwrap();
    let old = Connection::open(site.ledger()).unwrap();
    MIGRATIONS[..2].iter().for_each(|migration| old.execute_batch(migration).unwrap());
    old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    old.pragma_update(None, "user_version", 2).unwrap();
    old.execute("INSERT INTO meta VALUES ('role', 'importer')", []).unwrap();
    for (number, state) in [(1, "delivered"), (2, "delivered"), (5, "whole")] {
        insert_plainly(&old, &manifest(stream(1), number), state);
    }
    drop(old);
    let (ledger, made) = ImporterLedger::open(&site).unwrap();
    assert!(!made);
    let mut came = Vec::new();
    ledger
        .each_came(|batch| {
            came.push(batch);
            Ok(())
        })
        .unwrap();
    let sums = came.iter().fold((0, 0), |sum, b| (sum.0 + b.size.envelopes, sum.1 + b.size.bytes));
    assert_eq!((came.iter().map(|b| b.sequence).collect::<Vec<_>>(), sums), (vec![1, 2, 5], (8, 80)));
    assert!(came.iter().all(|b| b.taken_at.is_none()), "nobody noted when they were taken: {came:?}");
    let head = Some((2, Digest::of(&manifest(stream(1), 2).encode())));
    assert_eq!(ledger.zone_and_head(stream(1)).unwrap(), ("restricted".to_owned(), head));
    let connector = CameConnector {
        id: "feed".into(),
        name: "Feed 5".into(),
        kind: "EXTERNAL_IMPORT".into(),
        envelopes: 8,
        last: 5,
    };
    assert_eq!(ledger.came_connectors(stream(1)).unwrap(), [connector]);
    assert_eq!(ledger.came_applicants().unwrap().into_iter().collect::<Vec<_>>(), [(None, 8)]);
    assert_eq!(ledger.turn().unwrap().identity.len(), 32, "it is known again from now on");
}
