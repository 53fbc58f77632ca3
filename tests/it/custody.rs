//! What is set aside where held/ and quarantine/ take no more, and a ledger that is not the one it was.

use std::fs;

use crate::support::{APPLICANT, Unjudged, World, envelope, envelope_with, files};
use airpouch::digest::Digest;
use serde_json::json;

/// An import of what lies in the inbox, without the usual mapping.
fn import_unmapped(world: &World, more: &[&str]) -> Unjudged {
    world.run(["import", "--to", "dir:out", "--trust", "trust", "--site", "importer"].iter().chain(more))
}

fn inbox_is_empty(world: &World) -> bool {
    fs::read_dir(world.path("importer/inbox")).unwrap().next().is_none()
}

/// An envelope that the policy quarantines.
fn command() -> Vec<u8> {
    let mut command: serde_json::Value = serde_json::from_slice(&envelope("command")).unwrap();
    command["bundle"]["objects"][0]["opencti_operation"] = json!("delete");
    serde_json::to_vec(&command).unwrap()
}

#[test]
fn held_envelope_beyond_the_quota_is_delivered_from_the_inbox() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    let run = import_unmapped(&world, &["medium", "--set-aside-quota", "0", "--keep", "0s"]).exits(3);
    run.says("1 envelope of batch 1 could not be copied").says("nothing is lost");
    assert!(files(&world.path("importer/held")).is_empty());
    world.run(["quarantine", "list", "--site", "importer"]).exits(0).prints("kept in the inbox alone");
    fs::remove_dir_all(world.medium()).unwrap();
    import_unmapped(&world, &["--keep", "0s"]).exits(0);
    assert!(!inbox_is_empty(&world), "the only copy was cleared away");
    world.import_inbox(&["--keep", "0s"]).exits(0).prints("delivered 1 envelope, all of them held before,");
    assert_eq!(world.delivered_bytes(), [envelope("a.json")]);
    assert!(inbox_is_empty(&world), "it is not needed any more");
}

#[test]
fn quarantined_envelope_beyond_the_quota_can_be_released() {
    let world = World::new();
    world.put("command.json", &command());
    world.send(&[]).exits(0);
    world.import(&["--set-aside-quota", "0", "--keep", "0s"]).exits(3).says("kept in inbox/");
    assert!(files(&world.path("importer/quarantine")).is_empty());
    let digest = Digest::of(&command()).to_string();
    world.run(["quarantine", "release", &digest, "--reason", "asked the feed", "--site", "importer"]).exits(0);
    world.import_inbox(&["--keep", "0s"]).exits(0).prints("delivered 1 envelope");
    assert_eq!(world.delivered_bytes(), [command()]);
    assert!(inbox_is_empty(&world));
}

#[test]
fn envelopes_inside_and_beyond_the_quota_are_delivered_in_their_order() {
    let world = World::new();
    let names = ["1.json", "2.json", "3.json", "4.json"];
    let long = |name: &str| {
        envelope_with(name, json!({"entities_types": [if name == "2.json" { "x".repeat(9_000) } else { "x".into() }]}))
    };
    names.iter().for_each(|name| drop(world.put(name, &long(name))));
    world.send(&["--volume-size", "64KiB"]).exits(0);
    // The second one does not fit, and those behind it do.
    import_unmapped(&world, &["medium", "--set-aside-quota", "8000"]).exits(3).says("1 envelope of batch 1 could not");
    assert_eq!(files(&world.path("importer/held")).len(), 6, "three envelopes, three reasons");
    world.import_inbox(&[]).exits(0).prints("delivered 4 envelopes");
    assert_eq!(world.delivered_bytes(), names.map(long));
}

#[test]
fn envelope_beyond_the_quota_of_held_stops_no_other() {
    let world = World::new();
    let nobody = envelope_with("n", json!({"applicant_id": null}));
    world.put("nobody.json", &nobody);
    world.made("b.json");
    world.send(&[]).exits(0);
    // Whatever the reason is for which nothing can be written there: no room, no right, or this.
    let taken = world.path(format!("importer/held/{}.json.partial", Digest::of(&nobody)));
    fs::create_dir_all(&taken).unwrap();
    world.import(&[]).exits(3).says("names no applicant").says("could not be copied");
    assert_eq!(world.delivered_bytes(), [envelope("b.json")]);
    fs::remove_dir(taken).unwrap();
    world.import_inbox(&["--unmapped", &format!("default={APPLICANT}")]).exits(0).prints("delivered 1 envelope");
}

#[test]
fn released_envelope_whose_batch_lost_a_volume_is_asked_for_again() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    import_unmapped(&world, &["medium", "--set-aside-quota", "0"]).exits(3);
    world.sh("rm importer/inbox/*/*.v0001.tar.zst").exits(0);
    world.import_inbox(&[]).exits(3).says("is missing").says("--resend");
    world.import(&[]).exits(0).prints("delivered 1 envelope");
    assert_eq!(world.delivered_bytes(), [envelope("a.json")]);
}

#[test]
fn empty_ledger_beside_an_inbox_delivers_nothing() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    world.sh("rm importer/ledger.db* out/*.json").exits(0);
    for _ in 0..2 {
        let run = world.import(&[]).exits(1);
        run.says("is not the one that this site worked with last: it is empty").says("--accept-ledger");
    }
    assert!(world.delivered_bytes().is_empty());
    world.import(&["--accept-ledger"]).exits(0).prints("delivered 1 envelope");
    world.made("b.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0).prints("delivered 1 envelope");
}

#[test]
fn ledger_from_before_the_last_run_delivers_nothing() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    world.sh("cp importer/ledger.db old.db").exits(0);
    world.made("b.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    world.sh("cp importer/ledger.db new.db && cp old.db importer/ledger.db").exits(0);
    world.import_inbox(&[]).exits(1).says("it is older").says("bring back the backup");
    assert_eq!(world.delivered().len(), 2);
    world.sh("cp new.db importer/ledger.db").exits(0);
    world.import_inbox(&[]).exits(0);
    world.sh("cp old.db importer/ledger.db").exits(0);
    world.import_inbox(&["--accept-ledger"]).exits(0).says("went on with a ledger");
    assert_eq!(world.delivered().len(), 2, "the same file under the same name");
    world.import_inbox(&[]).exits(0).says_nothing_of("ledger");
}

#[test]
fn ledger_of_another_site_delivers_nothing() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    world.import(&["--site", "other", "--to", "dir:elsewhere"]).exits(0);
    world.sh("cp other/ledger.db importer/ledger.db").exits(0);
    world.import_inbox(&[]).exits(1).says("it is another one");
}

#[test]
fn site_brought_back_without_its_ledger_delivers_nothing() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    world.sh("rm importer/ledger.*").exits(0);
    world.import_inbox(&[]).exits(1).says("it is empty");
}

#[test]
fn batch_that_a_killed_run_placed_and_did_not_note_is_delivered() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&["--to", "dir:nowhere/out"]).exits(1);
    world.sh("sqlite3 importer/ledger.db 'DELETE FROM batch'").exits(0);
    world.import_inbox(&[]).exits(0).prints("delivered 1 envelope");
}

#[test]
fn run_with_nothing_to_do_writes_nothing() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    let before = fs::read(world.path("importer/ledger.turn")).unwrap();
    world.import_inbox(&[]).exits(0);
    assert_eq!(fs::read(world.path("importer/ledger.turn")).unwrap(), before);
}

#[test]
fn same_content_in_two_batches_is_redelivered_once() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.run(["pack", "src", "medium", "--key", "keys/site-a.key.pem", "--site", "exporter-b"]).exits(0);
    world.import(&[]).exits(0).prints("1 envelope delivered before");
    let run = world.import_inbox(&["--redeliver"]).exits(0);
    run.prints("delivered 1 envelope to").prints("1 envelope delivered before");
}

#[test]
fn renewed_stream_waits_for_a_gap_inside_the_old_one() {
    let world = World::new();
    fs::create_dir(world.path("aside")).unwrap();
    for name in ["1.json", "2.json", "3.json"] {
        world.made(name);
        world.send(&["--no-overlap"]).exits(0);
    }
    world.sh("mv medium/*-00000002.* aside/").exits(0);
    world.import(&[]).exits(3).says("batch 2 has not arrived");
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    world.made("4.json");
    world.send(&["--no-overlap"]).exits(0);
    world.import(&["--on-gap", "hold"]).exits(3).says("waits in the inbox");
    assert_eq!(world.delivered_bytes(), ["1.json", "3.json"].map(envelope));
    world.sh("mv aside/* medium/").exits(0);
    world.import(&["--on-gap", "hold"]).exits(0);
    world.import_inbox(&["--on-gap", "hold"]).exits(0);
    assert_eq!(world.delivered_bytes(), ["1.json", "3.json", "2.json", "4.json"].map(envelope));
}
