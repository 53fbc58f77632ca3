//! What was promised and does not come is told by every import and by status.

use crate::support::{Unjudged, World};

const DAY: i64 = 86_400;

/// A site that has taken a batch, with a promise of the next one within a day.
fn promised() -> World {
    let world = World::new();
    world.made("a.json");
    world.pack(&["--promise", "24h"]).exits(0);
    world.carry(&[]).exits(0);
    world.import(&[]).exits(0);
    world
}

/// The batches were taken so much longer ago.
fn older(world: &World, seconds: i64, condition: &str) {
    let sql = format!("UPDATE batch SET taken_at = taken_at - {seconds} WHERE {condition}");
    rusqlite::Connection::open(world.path("importer/ledger.db")).unwrap().execute_batch(&sql).unwrap();
}

fn status(world: &World, more: &[&str]) -> Unjudged {
    world.run([&["status", "--site", "importer"], more].concat())
}

#[test]
fn promise_that_passed_is_told_by_every_import_and_by_status_until_a_batch_comes() {
    let world = promised();
    status(&world, &[]).exits(0).says_nothing_of("promises");
    status(&world, &["--check"]).exits(0);
    older(&world, 31 * 3600, "true");
    let words = "last batch 31 h ago (1); the exporter promises one every 24 h";
    world.import_inbox(&[]).exits(3).mentions("overdue: ").mentions(words);
    world.import_inbox(&[]).exits(3).mentions(words);
    status(&world, &[]).exits(0).prints(words);
    status(&world, &["--check"]).exits(1).prints("AIRPOUCH WARNING");
    world.made("b.json");
    world.pack(&["--promise", "24h"]).exits(0);
    world.carry(&[]).exits(0);
    world.import(&[]).exits(0).says_nothing_of("promises");
    status(&world, &["--check"]).exits(0);
}

#[test]
fn heartbeats_keep_the_promise_and_are_told_apart_from_content() {
    let world = promised();
    world.pack(&["--promise", "24h", "--heartbeat"]).exits(0);
    world.carry(&[]).exits(0);
    world.import(&[]).exits(0).says_nothing_of("heartbeats");
    older(&world, 3 * DAY, "sequence = 1");
    let words = "only heartbeats for 3 d: the last batch with envelopes is 1";
    world.import_inbox(&[]).exits(0).mentions(words);
    status(&world, &[]).exits(0).prints(words).says_nothing_of("the exporter promises one");
}

#[test]
fn stream_that_another_one_goes_on_from_is_not_waited_for() {
    let world = promised();
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    world.made("b.json");
    world.pack(&["--promise", "24h"]).exits(0);
    world.carry(&[]).exits(0);
    world.import(&[]).exits(0);
    older(&world, 31 * 3600, "sequence = 1 AND succeeds_stream IS NULL");
    world.import_inbox(&[]).exits(0).says_nothing_of("promises");
}

#[test]
fn exporter_that_promises_nothing_is_never_overdue() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    older(&world, 900 * DAY, "true");
    world.import_inbox(&[]).exits(0);
    status(&world, &["--check"]).exits(0);
}
