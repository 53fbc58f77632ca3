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
fn connector_that_came_daily_and_is_quiet_is_reported_until_it_comes_again() {
    let world = World::new();
    let ledger = || rusqlite::Connection::open(world.path("importer/ledger.db")).unwrap();
    for day in 0..6 {
        world.send_new(&[&format!("{day}.json")]);
        world.import(&[]).exits(0).says_nothing_of("quiet");
        // A day goes by.
        let sql = "UPDATE batch SET taken_at = taken_at - 86400;
                   CREATE TABLE aged AS SELECT connector, day - 1 AS day, at - 86400 AS at, stream FROM came_day;
                   DELETE FROM came_day; INSERT INTO came_day SELECT * FROM aged; DROP TABLE aged;";
        ledger().execute_batch(sql).unwrap();
    }
    world.import_inbox(&["--quiet-after", "2d"]).exits(0);
    ledger().execute_batch("UPDATE came_day SET day = day - 3, at = at - 3 * 86400").unwrap();
    let words = "nothing for 4 d; it came on 6 of the 7 days up to then";
    world.import_inbox(&[]).exits(3).mentions("quiet: ").mentions(words);
    world.import_inbox(&["--quiet-after", "5d"]).exits(0).says_nothing_of("quiet");
    world.import_inbox(&["--quiet-after", "off"]).exits(0).says_nothing_of("quiet");
    status(&world, &[]).exits(0).prints(words);
    status(&world, &["--check"]).exits(1).prints("AIRPOUCH WARNING");
    status(&world, &["--quiet-after", "soon"]).exits(2).says("invalid duration");
    std::fs::write(world.path("importer/airpouch.toml"), "quiet_after = \"off\"\n").unwrap();
    status(&world, &["--check"]).exits(0);
    std::fs::remove_file(world.path("importer/airpouch.toml")).unwrap();
    world.send_new(&["again.json"]);
    world.import(&[]).exits(0).says_nothing_of("quiet");
}

#[test]
fn stream_that_trust_toml_lists_and_of_which_nothing_has_come_is_named() {
    let world = World::new();
    world.key("site-b", [8; 32]);
    let other = "230fef21-9908-4f5a-9773-602f5205811a";
    let toml = format!(
        "[[key]]\nfile = \"site-a.pub.pem\"\n[[key]]\nfile = \"site-b.pub.pem\"\nwho = \"Site B\"\nstreams = [\"{other}\"]\n"
    );
    std::fs::write(world.path("trust/trust.toml"), &toml).unwrap();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0).mentions("nothing has come of it yet; trust.toml lists it for Site B").mentions(other);
    status(&world, &["--trust", "trust"]).exits(0).prints("nothing has come of it yet");
    status(&world, &["--trust", "trust", "--check"]).exits(0);
    std::fs::write(world.path("trust/trust.toml"), toml + "until = 0\n").unwrap();
    world.import_inbox(&[]).exits(0).says_nothing_of("nothing has come");
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
