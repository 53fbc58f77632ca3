//! How work grows, counted in what a run asks of the system: counts do not depend on how busy a machine is.

use std::fs;
use std::process::Command;

use rusqlite::{Connection, params};

use crate::names::without_ages;
use crate::support::{World, envelope, finish, has};

/// The lines of a run's trace: how it looked into directories, opened and looked at files, and read.
fn trace(world: &World, arguments: &[&str], status: i32) -> Vec<String> {
    assert!(has("strace"), "install strace");
    let trace = world.path("trace");
    let mut strace = Command::new("strace");
    let calls = "trace=getdents64,openat,stat,lstat,newfstatat,statx,statfs,read,pread64";
    strace.args(["-f", "-y", "-q", "-e", calls, "-o"]).arg(&trace).arg(env!("CARGO_BIN_EXE_airpouch")).args(arguments);
    finish(strace.current_dir(world.dir.path())).exits(status);
    fs::read_to_string(&trace).unwrap().lines().map(str::to_owned).collect()
}

/// How often a run looked into directories and opened or looked at files of batches.
fn looks(world: &World, arguments: &[&str], status: i32) -> usize {
    let line = |l: &&String| l.contains("airpouch-") || l.contains("getdents64");
    trace(world, arguments, status).iter().filter(line).count()
}

/// How many pages of the ledger a run read.
fn pages(world: &World, arguments: &[&str], status: i32) -> usize {
    let line = |l: &&String| l.contains("pread64") && l.contains("/ledger.db");
    trace(world, arguments, status).iter().filter(line).count()
}

/// A world with so many packed batches of one envelope each.
fn packed(batches: usize) -> World {
    let world = World::new();
    for n in 0..batches {
        world.put(&format!("{n}.json"), &envelope(&n.to_string()));
    }
    world.pack(&["--max-batch", "1"]).exits(0).prints(&format!("{batches} for zone default"));
    world
}

/// The same, carried and imported.
fn imported(batches: usize) -> World {
    let world = packed(batches);
    world.carry(&[]).exits(0).prints("SAFE TO REMOVE");
    world.import(&[]).exits(0).prints(&format!("batch {batches}"));
    world
}

fn ledger(world: &World, site: &str) -> Connection {
    Connection::open(world.path(site).join("ledger.db")).unwrap()
}

/// Puts so many more batches into the exporter's ledger, carried long ago, with manifests of a usual size that are none.
fn many_carried(world: &World, batches: i64) {
    let mut ledger = ledger(world, "exporter");
    let change = ledger.transaction().unwrap();
    let batch = "INSERT INTO packed_batch (stream, sequence, sha256, manifest, state, envelopes, bytes)
                 VALUES (1, ?1, randomblob(32), zeroblob(3000), 'packed', 1, 100)";
    let carried = "INSERT INTO carried VALUES (?1, 1, ?1, 1, 'device')";
    for number in 1_000..1_000 + batches {
        change.prepare_cached(batch).unwrap().execute([number]).unwrap();
        let carry = "INSERT INTO carry VALUES (?1, '2026-11-25T02:05:00Z', '/media/stick', 'mark', 100, 1)";
        change.prepare_cached(carry).unwrap().execute([number]).unwrap();
        change.prepare_cached(carried).unwrap().execute([number]).unwrap();
    }
    change.commit().unwrap();
}

/// Puts so many more batches into the importer's ledger and inbox, delivered just now, with manifests of a usual size that
/// are none.
fn many_delivered(world: &World, batches: i64) {
    let mut ledger = ledger(world, "importer");
    let stream: String = ledger.query_row("SELECT stream FROM batch", [], |r| r.get(0)).unwrap();
    let prefix = &stream.replace('-', "")[..16];
    let change = ledger.transaction().unwrap();
    let batch = "INSERT INTO batch (stream, sequence, sha256, manifest, state, zone, envelopes, bytes, before_envelopes, before_bytes, done_at)
                 VALUES (?1, ?2, randomblob(32), zeroblob(3000), 'delivered', 'default', 1, 100, ?2 - 1, 100 * (?2 - 1), unixepoch())
                 RETURNING lower(substr(hex(sha256), 1, 16))";
    for number in 3..3 + batches {
        let mut insert = change.prepare_cached(batch).unwrap();
        let digits: String = insert.query_row(params![stream, number], |r| r.get(0)).unwrap();
        fs::create_dir(world.path(format!("importer/inbox/airpouch-{prefix}-{number:08}.{digits}"))).unwrap();
    }
    change.commit().unwrap();
}

#[test]
fn carry_opens_each_batch_a_fixed_number_of_times() {
    let looks_at = |batches: usize| looks(&packed(batches), &["carry", "medium", "--site", "exporter"], 0);
    let (few, many) = (looks_at(16), looks_at(64));
    assert!(many <= few * 9 / 2, "16 batches: {few} looks, 64 batches: {many}");
}

#[test]
fn carry_of_one_batch_opens_no_earlier_one() {
    let looks_at = |batches: usize| {
        let world = packed(batches);
        world.carry(&["--no-overlap"]).exits(0);
        world.made("new.json");
        world.pack(&[]).exits(0);
        fs::create_dir(world.path("second")).unwrap();
        looks(&world, &["carry", "second", "--site", "exporter", "--no-overlap"], 0)
    };
    let (few, many) = (looks_at(8), looks_at(64));
    assert!(many <= few + 8, "after 8 batches: {few} looks, after 64: {many}");
}

#[test]
fn pack_with_nothing_new_opens_no_batch() {
    let looks_at = |batches: usize| {
        looks(&packed(batches), &["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"], 0)
    };
    let (few, many) = (looks_at(8), looks_at(64));
    assert!(many <= few + 8, "with 8 batches: {few} looks, with 64: {many}");
}

#[test]
fn import_with_nothing_to_do_opens_no_batch() {
    let looks_at = |batches: usize| {
        let world = imported(batches);
        let trace =
            trace(&world, &["import", "--to", "dir:out", "--trust", "trust", "--site", "importer"], 0).into_iter();
        trace.filter(|l| l.contains("/inbox/") || l.contains("airpouch-")).count()
    };
    assert_eq!((looks_at(4), looks_at(32)), (0, 0));
}

#[test]
fn status_of_either_side_reads_no_manifest() {
    let world = imported(8);
    let status = |site: &str| without_ages(&world.run(["status", "--site", site]).exits(0).stdout);
    let before = (status("exporter"), status("importer"));
    assert!(before.0.contains("batches 1 to 8: 8 carried"), "{before:#?}");
    assert!(before.0.contains("        8  Example Feed"), "{before:#?}");
    assert!(before.1.contains("batches 1 to 8: 8 delivered"), "{before:#?}");
    ledger(&world, "exporter").execute("UPDATE packed_batch SET manifest = x'00'", []).unwrap();
    ledger(&world, "importer").execute("UPDATE batch SET manifest = x'00'", []).unwrap();
    assert_eq!((status("exporter"), status("importer")), before);
}

#[test]
fn carry_of_one_batch_reads_no_other_manifest() {
    let world = packed(8);
    world.carry(&["--no-overlap"]).exits(0);
    world.made("new.json");
    world.pack(&[]).exits(0).prints("packed batch 9");
    ledger(&world, "exporter").execute("UPDATE packed_batch SET manifest = x'00' WHERE sequence < 9", []).unwrap();
    world.carry(&["--no-overlap"]).exits(0).prints("new: batch 9 ");
}

#[test]
fn import_with_nothing_to_do_reads_no_manifest() {
    let world = imported(4);
    ledger(&world, "importer").execute("UPDATE batch SET manifest = x'00'", []).unwrap();
    world.import_inbox(&[]).exits(0);
}

#[test]
fn status_of_many_batches_reads_few_pages_of_the_ledger() {
    let exporter = |batches| {
        let world = packed(2);
        many_carried(&world, batches);
        pages(&world, &["status", "--site", "exporter"], 0)
    };
    let importer = |batches| {
        let world = imported(2);
        many_delivered(&world, batches);
        pages(&world, &["status", "--site", "importer"], 0)
    };
    // 9,000 manifests would be as many pages; what is counted of them takes less than one for fifty.
    for (side, few, many) in
        [("exporter", exporter(1_000), exporter(10_000)), ("importer", importer(1_000), importer(10_000))]
    {
        assert!(few > 0 && many <= few + 9_000 / 20, "{side}: {few} pages of 1,000 batches, {many} of 10,000");
    }
}

#[test]
fn carry_of_one_batch_after_many_reads_few_pages_of_the_ledger() {
    let pages_of = |batches| {
        let world = packed(2);
        many_carried(&world, batches);
        pages(&world, &["carry", "medium", "--site", "exporter", "--no-overlap"], 0)
    };
    let (few, many) = (pages_of(1_000), pages_of(10_000));
    // The second one is beyond the size up to which a ledger is read through before it is used.
    assert!(many <= few + 9_000 / 20, "{few} pages after 1,000 batches, {many} after 10,000");
}

#[test]
fn import_with_nothing_to_do_reads_few_pages_of_the_ledger() {
    let pages_of = |batches| {
        let world = imported(2);
        many_delivered(&world, batches);
        pages(&world, &["import", "--to", "dir:out", "--trust", "trust", "--site", "importer"], 0)
    };
    let (few, many) = (pages_of(1_000), pages_of(10_000));
    assert!(many <= few + 9_000 / 20, "{few} pages after 1,000 batches, {many} after 10,000");
}
