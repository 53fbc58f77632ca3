//! Batches that are signed again, with a key that the importer trusts.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Unjudged, World};

/// Two batches that were packed and carried with a key that the importer does not trust any more.
fn with_an_ended_key() -> World {
    let world = World::new();
    for name in ["a.json", "b.json"] {
        world.made(name);
        world.send(&[]).exits(0);
    }
    fs::remove_file(world.path("trust/site-a.pub.pem")).unwrap();
    world.key("site-b", [8; 32]);
    world
}

fn sign(world: &World, more: &[&str]) -> Unjudged {
    world.run(["sign", "--key", "keys/site-b.key.pem", "--site", "exporter"].iter().chain(more))
}

fn signed_events(world: &World) -> Vec<Value> {
    let text = fs::read_to_string(world.path("exporter/journal.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|e| e["event"] == "signed").collect()
}

#[test]
fn batches_of_an_ended_key_are_delivered_once_a_new_one_has_signed_them() {
    let world = with_an_ended_key();
    world.import(&[]).exits(4).says("signed only by unknown keys");
    sign(&world, &["--operator", "E. Keeper"]).exits(0).prints("batches 1 to 2 of stream").mentions("--resend");
    assert_eq!(signed_events(&world)[0]["sequences"], json!([[1, 2]]));
    // The batches on the medium stay as they are; only signatures are added.
    let files = || fs::read_dir(world.medium()).unwrap().count();
    let before = files();
    world.carry(&["--resend", "1-2"]).exits(0);
    assert_eq!(files(), before + 2);
    world.import(&[]).exits(0).prints("delivered 2 envelopes");
    sign(&world, &[]).exits(0).prints("before: batches 1 to 2");
    assert_eq!(signed_events(&world).len(), 1);
    for site in ["exporter", "importer"] {
        world.run(["audit", "--site", site]).exits(0);
    }
    world.run(["log", "--event", "signed", "--site", "exporter"]).exits(0).prints("E. Keeper");
}

#[test]
fn only_what_is_asked_for_is_signed_and_what_is_not_there_is_named() {
    let world = with_an_ended_key();
    sign(&world, &["2"]).exits(0).prints("batch 2 of stream");
    sign(&world, &["7-8"]).exits(2).says("no batches 7 to 8 to sign");
    sign(&world, &["230fef21-9908-4f5a-9773-602f5205811a:1"]).exits(2).says("no batch of stream 230fef21");
    sign(&world, &["x"]).exits(2);
    world.run(["sign", "--site", "exporter"]).exits(2).says("no key given");
    world.run(["sign", "--key", "keys/site-b.key.pem", "--site", "importer"]).exits(1).says("no airpouch site");
    assert_eq!(signed_events(&world).len(), 1);
}

#[test]
fn signature_that_was_damaged_in_the_outbox_is_made_anew() {
    let world = with_an_ended_key();
    sign(&world, &[]).exits(0);
    let outbox = world.path("exporter/outbox");
    let files = fs::read_dir(&outbox).unwrap().map(|file| file.unwrap().path());
    let signatures: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "sig")).collect();
    assert_eq!(signatures.len(), 4);
    let whole: Vec<_> = signatures.iter().map(|path| fs::read(path).unwrap()).collect();
    for path in &signatures {
        fs::write(path, b"damaged").unwrap();
    }
    world.carry(&["--resend", "1-2"]).exits(3).mentions("damaged in the outbox");
    sign(&world, &[]).exits(0).prints("batches 1 to 2 of stream");
    world.run(["sign", "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(0);
    assert!(signatures.iter().zip(&whole).all(|(path, bytes)| &fs::read(path).unwrap() == bytes));
    world.carry(&["--resend", "1-2"]).exits(0);
    world.import(&[]).exits(0).prints("delivered 2 envelopes");
}
