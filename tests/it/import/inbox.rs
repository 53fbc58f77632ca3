//! An inbox that is damaged while a batch waits in it, and what leaves it.

use std::fs;
use std::path::PathBuf;

use airpouch::digest::Digest;
use serde_json::json;

use super::{bring_back, flip, import_as, report, take_away};
use crate::support::{World, envelope};

/// The file of a number in the inbox with this end.
fn in_inbox(world: &World, number: u64, end: &str) -> PathBuf {
    let found = world.sh(&format!("ls importer/inbox/*-{number:08}.*/*{end}")).exits(0).stdout;
    world.path(found.lines().next().unwrap())
}

/// A batch that waits in the inbox for the one before it.
fn waiting(world: &World) {
    world.send_new(&["1.json"]);
    take_away(world, 1, "first");
    world.send_new(&["2.json"]);
    world.import(&["--on-gap", "hold"]).exits(3).says("waits in the inbox");
    world.sh("mv medium second && mkdir medium").exits(0);
    bring_back(world, "first");
}

#[test]
fn damaged_volume_in_the_inbox_is_reported_and_replaced_from_the_medium() {
    let world = World::new();
    waiting(&world);
    flip(&in_inbox(&world, 2, ".v0001.tar.zst"), 60);
    let run = world.import(&["--on-gap", "hold"]).exits(4).says("does not match its digest").says("--resend 2");
    run.prints("delivered 1 envelope");
    assert_eq!(world.delivered_bytes(), [envelope("1.json")]);
    // From now on it is missing, at every run, until the stick comes again.
    world.import_inbox(&[]).exits(3).says("v0001.tar.zst is missing");
    world.run(["status", "--site", "importer"]).exits(0).prints("1 incomplete").prints("--resend 2");
    bring_back(&world, "second");
    world.import(&[]).exits(0).prints("delivered 1 envelope");
    assert_eq!(world.delivered_bytes(), ["1.json", "2.json"].map(envelope));
    assert_eq!(world.import(&[]).exits(0).said(), "");
}

#[test]
fn damaged_index_in_the_inbox_is_reported_and_replaced_from_the_medium() {
    let world = World::new();
    waiting(&world);
    flip(&in_inbox(&world, 2, ".index.zst"), 20);
    world.import_inbox(&["--on-gap", "hold"]).exits(4).says(".index.zst").says("--resend 2");
    world.import(&["--on-gap", "hold"]).exits(3).says(".index.zst is missing").prints("delivered 1 envelope");
    bring_back(&world, "second");
    world.import(&["--on-gap", "hold"]).exits(0);
    assert_eq!(world.delivered_bytes(), ["1.json", "2.json"].map(envelope));
}

#[test]
fn truncated_file_in_the_inbox_is_reported_and_replaced_from_the_medium() {
    for end in [".v0001.tar.zst", ".index.zst"] {
        let world = World::new();
        waiting(&world);
        let path = in_inbox(&world, 2, end);
        fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        world.import(&["--on-gap", "hold"]).exits(3).says(end).says("--resend 2").prints("delivered 1 envelope");
        bring_back(&world, "second");
        world.import(&["--on-gap", "hold"]).exits(0).prints("delivered 1 envelope");
        assert_eq!(world.delivered_bytes(), ["1.json", "2.json"].map(envelope));
    }
}

#[test]
fn damaged_manifest_in_the_inbox_is_reported_and_replaced_from_the_medium() {
    let world = World::new();
    waiting(&world);
    flip(&in_inbox(&world, 2, ".manifest"), 200);
    world.import(&["--on-gap", "hold"]).exits(4).prints("delivered 1 envelope").says("batch 2");
    assert_eq!(world.delivered_bytes(), [envelope("1.json")]);
    bring_back(&world, "second");
    world.import(&["--on-gap", "hold"]).exits(0).prints("delivered 1 envelope");
    assert_eq!(world.delivered_bytes(), ["1.json", "2.json"].map(envelope));
}

#[test]
fn missing_batch_in_the_inbox_is_reported_and_replaced_from_the_medium() {
    let world = World::new();
    waiting(&world);
    world.sh("rm -r importer/inbox/*-00000002.*").exits(0);
    world.import(&["--on-gap", "hold"]).exits(3).says("batch 2").says("--resend 2").prints("delivered 1 envelope");
    bring_back(&world, "second");
    world.import(&["--on-gap", "hold"]).exits(0).prints("delivered 1 envelope");
    assert_eq!(world.delivered_bytes(), ["1.json", "2.json"].map(envelope));
}

#[test]
fn changed_held_envelope_is_replaced_from_the_inbox() {
    let world = World::new();
    world.send_new(&["a.json"]);
    import_as(&world, &["medium"]).exits(3);
    let held = format!("importer/held/{}.json", Digest::of(&envelope("a.json")));
    flip(&world.path(&held), 100);
    world.import_inbox(&[]).exits(0);
    assert_eq!(world.delivered_bytes(), [envelope("a.json")], "the batch still lies in the inbox");
}

#[test]
fn delivered_batch_leaves_the_inbox_and_stays_known() {
    let world = World::new();
    world.send_new(&["1.json"]);
    world.send_new(&["2.json"]);
    take_away(&world, 2, "second");
    world.send_new(&["3.json"]);
    world.import(&["--on-gap", "hold", "--keep", "0s"]).exits(3);
    let left = world.sh("ls importer/inbox").exits(0).stdout;
    assert!(left.lines().count() == 1 && left.contains("-00000003."), "what waits stays: {left}");
    bring_back(&world, "second");
    let told = report(&world, &["--on-gap", "hold", "--keep", "30d"], 0);
    assert_eq!((&told["outcome"]["delivered"], &told["replayed"]), (&json!(2), &json!(1)), "{told}");
    assert_eq!(fs::read_dir(world.path("importer/inbox")).unwrap().count(), 2, "kept for a while");
    world.import_inbox(&["--keep", "0s"]).exits(0);
    assert_eq!(fs::read_dir(world.path("importer/inbox")).unwrap().count(), 0);
    assert_eq!(world.import(&[]).exits(0).said(), "", "all three are known");
    assert_eq!(world.delivered_bytes(), ["1.json", "2.json", "3.json"].map(envelope));
    world.import_inbox(&["--keep", "a while"]).exits(2).says("invalid duration");
}
