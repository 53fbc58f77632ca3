//! Sites with years of work behind them, made by SQL out of a real one.

use rusqlite::{Connection, params};

use crate::support::World;

/// A world whose exporter has packed a batch.
pub fn exported() -> World {
    let world = World::new();
    world.made("a.json");
    world.pack(&[]).exits(0);
    world
}

/// The same, carried and imported.
pub fn imported() -> World {
    let world = exported();
    world.carry(&[]).exits(0);
    world.import(&[]).exits(0);
    world
}

pub fn open(world: &World, site: &str) -> Connection {
    Connection::open(world.path(site).join("ledger.db")).unwrap()
}

#[track_caller]
pub fn execute(world: &World, site: &str, sql: &str) {
    assert!(open(world, site).execute(sql, []).unwrap() > 0, "nothing was changed: {sql}");
}

pub fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A second since 1970, as SQLite writes it.
pub fn date(form: &str, at: i64) -> String {
    let sql = "SELECT strftime(?1, ?2, 'unixepoch')";
    Connection::open_in_memory().unwrap().query_row(sql, params![form, at], |r| r.get(0)).unwrap()
}

/// Puts so many more streams into the importer's ledger, each of so many batches and connectors. Each third one lacks
/// batches 100 to 109, and has given up 40 to 49; one has a fork; of one batch of one of them 496 of 500 envelopes are held.
pub fn with_streams(world: &World, streams: i64, batches: i64, connectors: i64) {
    let mut ledger = open(world, "importer");
    let change = ledger.transaction().unwrap();
    let signer: String = change.query_row("SELECT signer FROM stream_signer", [], |r| r.get(0)).unwrap();
    let numbers = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?2)";
    let batch = format!(
        "{numbers} INSERT INTO batch (stream, sequence, sha256, manifest, state, standing, zone, envelopes, bytes, before_envelopes,
         before_bytes, taken_at, done_at)
         SELECT ?1, n, randomblob(32), zeroblob(100), 'delivered', NULL, 'default', 500, 50000, 500 * (n - 1), 50000 * (n - 1),
         unixepoch() - 3600 * (?2 - n) - 60, unixepoch() - 3600 * (?2 - n) FROM n
         WHERE ?3 = 0 OR n NOT BETWEEN 100 AND 109 AND n NOT BETWEEN 40 AND 49"
    );
    let connector = format!(
        "{numbers} INSERT INTO came_connector SELECT ?1, 'feed-' || (n - 1), ?3, 'Feed ' || (n - 1), 'EXTERNAL_IMPORT', 9 FROM n"
    );
    for n in 1..=streams {
        let stream = format!("{n:08x}-58a1-4d0b-9a6e-5b1f0c2d7e94");
        let is_broken = i64::from(n % 3 == 0);
        change.execute(&batch, params![stream, batches, is_broken]).unwrap();
        change.execute(&connector, params![stream, connectors, batches]).unwrap();
        change.execute("INSERT INTO stream_signer VALUES (?1, ?2)", [&stream, &signer]).unwrap();
        if is_broken == 1 {
            let settled = "INSERT INTO settled VALUES (?1, 40, 49, 'the stick burned', '2026-11-27T07:00:00Z')";
            change.execute(settled, [&stream]).unwrap();
        }
    }
    let fork = "INSERT INTO batch (stream, sequence, sha256, manifest, state, standing, zone, envelopes, bytes)
        SELECT stream, sequence, randomblob(32), manifest, 'whole', 'fork', zone, envelopes, bytes FROM batch
        WHERE stream LIKE '00000002-%' AND sequence = 2";
    assert_eq!(change.execute(fork, []).unwrap(), 1);
    let held = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 496)
        INSERT INTO set_aside (sha256, kind, code, what, place, batch, ordinal, name, connector, connector_name)
        SELECT randomblob(32), 'held', 'applicant', 'not mapped', '', b.id, n, n || '.json', 'feed-7', 'Feed 7' FROM n, batch b
        WHERE b.stream LIKE '00000001-%' AND b.sequence = ?1";
    assert_eq!(change.execute(held, [batches]).unwrap(), 496);
    change.commit().unwrap();
}
