//! An outbox that lost a batch: named, given up, and packed again out of the source.

use std::fs;

use crate::support::{World, envelope, files};
use serde_json::json;

/// Removes the files of the outbox whose names end so, and says how many there were.
fn lose(world: &World, end: &str) -> usize {
    let outbox = world.path("exporter/outbox");
    let lost: Vec<String> = files(&outbox).into_iter().map(|f| f.0).filter(|name| name.ends_with(end)).collect();
    lost.iter().for_each(|name| fs::remove_file(outbox.join(name)).unwrap());
    lost.len()
}

fn sql(world: &World, statement: &str) {
    let script = format!("sqlite3 exporter/ledger.db \"{statement}\"");
    world.sh(&script).exits(0);
}

#[test]
fn lost_batch_is_packed_again_under_a_new_number() {
    let world = World::new();
    world.made("1.json");
    let gone = world.made("2.json");
    world.pack(&[]).exits(0);
    assert_eq!(lose(&world, ".v0001.tar.zst"), 1);
    fs::remove_file(gone).unwrap();
    world.made("3.json");
    world.pack(&[]).exits(0).prints("packed batch 2");
    let run = world.carry(&[]).exits(3).says("batch 1 cannot be carried").says("is not in the outbox");
    run.says("airpouch pack --site exporter --again 1;").prints("new: batch 2 (");
    let stream = world.stream();
    let accept = format!("airpouch stream accept {stream} 1 --reason");

    let run = world.pack(&["--again", "1"]).exits(3).prints("packed batch 3");
    let run =
        run.prints("batch 1 will never come: its files were lost; 1 of its 2 envelopes was packed again in batch 3");
    run.says("1 envelope of batch 1 is no longer in the source: 2.json").says(&accept);
    assert_eq!(world.pack(&[]).exits(0).said(), "", "a loss is told once");
    world.carry(&[]).exits(0).prints("new: batch 3 (").says_nothing_of("cannot be carried");
    world.carry(&[]).exits(0).says_nothing_of("cannot be carried");
    let status = world.run(["status", "--site", "exporter"]).exits(0).prints("1 lost, will never come");
    status.prints("batch 1 will never come").prints(&accept).says_nothing_of("not carried yet");

    world
        .import(&[])
        .exits(3)
        .says("the first batch received is 2; batch 1 never arrived (2 envelopes")
        .says(&accept.replace("accept ", "accept --site importer "));
    assert_eq!(world.delivered_bytes(), [envelope("3.json"), envelope("1.json")]);
    world.run(["stream", "accept", &stream, "1", "--reason", "lost at the exporter", "--site", "importer"]).exits(0);
    assert_eq!(world.import_inbox(&[]).exits(0).said(), "");
}

#[test]
fn lost_batch_given_up_without_a_source_is_packed_again_by_the_next_pack() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    assert_eq!(lose(&world, ""), 5, "nothing is left of it, nor the head of the journal beside it");
    let give_up = ["pack", "--again", "1", "--site", "exporter"];
    world.run(give_up).exits(0).prints("batch 1 will never come").prints("of its 1 envelope is packed next time");
    world.run(give_up).exits(0).says_nothing_of("will never come");
    let report = world.pack(&["--json"]).exits(0).json();
    let lost = &report["report"]["pack"]["lost"][0];
    assert_eq!((&lost["sequence"], &lost["packed_again"], &lost["within"]), (&1.into(), &1.into(), &json!([[2, 2]])));
    world.carry(&[]).exits(0).prints("new: batch 2 (");
    world.import(&[]).exits(3).says("batch 1 never arrived");
    assert_eq!(world.delivered_bytes(), [envelope("1.json")]);
}

#[test]
fn several_lost_batches_are_given_up_by_one_command() {
    let world = World::new();
    for n in 1..=5 {
        world.made(&format!("{n}.json"));
    }
    world.pack(&["--max-batch", "1"]).exits(0).prints("packed batch 5");
    for n in [1, 3, 4] {
        assert_eq!(lose(&world, &format!("-{n:08}.index.zst")), 1);
    }
    world.carry(&[]).exits(3).says("batch 1 cannot").says("batch 4 cannot").prints("new: batches 2 and 5 (");
    world.pack(&["--again", "1,3-4"]).exits(0).prints("packed batch 6").says(" 1,3-4 --reason");
    world.carry(&[]).exits(0).prints("new: batch 6 (3 envelopes");
    // A gap that the importer names may hold numbers that will never come: they stop nothing.
    fs::create_dir(world.path("again")).unwrap();
    let run = world.run(["carry", "again", "--site", "exporter", "--no-overlap", "--resend", "1-5"]).exits(0);
    run.says("batches 1 and 3 to 4 will never come").says("1,3-4 --reason").prints("new: batches 2 and 5 (");
    for wrong in ["7", "1-7", "99999999"] {
        world.pack(&["--again", wrong]).exits(2).says("never sealed");
    }
    world.import(&[]).exits(3).says("batch 1 never arrived").says("batches 3 to 4 have not arrived");
    assert_eq!(world.delivered_bytes(), [2, 5, 1, 3, 4].map(|n| envelope(&format!("{n}.json"))));
}

#[test]
fn damaged_volume_in_the_outbox_stops_no_other_batch() {
    let world = World::new();
    for n in 1..=3 {
        world.made(&format!("{n}.json"));
    }
    world.pack(&["--max-batch", "1"]).exits(0);
    let outbox = world.path("exporter/outbox");
    let (name, mut bytes) = files(&outbox).into_iter().find(|f| f.0.ends_with("02.v0001.tar.zst")).unwrap();
    bytes[60] ^= 1;
    fs::write(outbox.join(&name), bytes).unwrap();
    let run = world.carry(&[]).exits(3).says(&format!("{name} is damaged in the outbox"));
    run.prints("new: batches 1 and 3 (").prints("SAFE TO REMOVE").says("airpouch pack --site exporter --again 2;");
    assert!(files(&world.medium()).iter().all(|f| !f.0.contains("-00000002.")), "nothing of it stays on the medium");
    world.pack(&["--again", "2"]).exits(0).prints("its 1 envelope was packed again in batch 4");
    world.carry(&[]).exits(0).prints("new: batch 4 (").says_nothing_of("damaged");
}

#[test]
fn lost_volume_is_restored_from_a_medium_that_has_it() {
    let world = World::new();
    world.made("1.json");
    world.send(&[]).exits(0);
    let before = files(&world.path("exporter/outbox"));
    lose(&world, ".v0001.tar.zst");
    world.send(&["--again", "1"]).exits(0).prints("batch 1 is whole in the outbox again");
    assert_eq!(files(&world.path("exporter/outbox")), before);
    assert_eq!(world.pack(&[]).exits(0).said(), "");
}

#[test]
fn lost_or_damaged_signature_is_made_again() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    let before = files(&world.path("exporter/outbox"));
    lose(&world, ".sig");
    let advice = "airpouch pack --site exporter --again 1;";
    world.carry(&[]).exits(3).says("its signature is not in the outbox").says(advice).says_nothing_of("trusted");
    let run = world.run(["pack", "--again", "1", "--site", "exporter"]).exits(0);
    run.says("was not given up").says_nothing_of("will never come");
    world
        .pack(&["--again", "1"])
        .exits(0)
        .prints("batch 1 is whole in the outbox again")
        .says_nothing_of("packed batch");
    assert_eq!(files(&world.path("exporter/outbox")), before);

    let signature = before.iter().find(|f| f.0.ends_with(".sig")).unwrap();
    for damaged in [vec![7; 64], vec![7; 10]] {
        fs::write(world.path("exporter/outbox").join(&signature.0), damaged).unwrap();
        world.carry(&[]).exits(3).says(&signature.0).says("is damaged in the outbox").says(advice);
        assert!(files(&world.medium()).is_empty());
    }
    world.pack(&["--again", "1"]).exits(0);
    assert_eq!(files(&world.path("exporter/outbox")), before);
    // The manifest is in the ledger: a carry needs no other copy of it.
    lose(&world, ".manifest");
    world.carry(&[]).exits(0).prints("new: batch 1 (");
    world.verify(&[]).exits(0).prints("holds: batch 1");
}

#[test]
fn sealed_batch_that_lost_a_volume_stops_pack_only_until_it_is_given_up() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    sql(&world, "UPDATE packed_batch SET state = 'sealed'");
    assert_eq!(lose(&world, ".v0001.tar.zst") + lose(&world, ".sig") + lose(&world, ".manifest"), 3);
    world
        .pack(&[])
        .exits(1)
        .says("a sealed batch has lost a file")
        .says("airpouch pack --site exporter --key keys/site-a.key.pem --again 1");
    world.pack(&["--again", "1"]).exits(0).prints("its 1 envelope was packed again in batch 2");
    world.carry(&[]).exits(0).prints("new: batch 2 (");
}

#[test]
fn renewed_stream_packs_what_the_outbox_has_lost_before_it_left() {
    let world = World::new();
    for n in 1..=3 {
        world.made(&format!("{n}.json"));
    }
    world.pack(&["--max-batch", "1"]).exits(0);
    lose(&world, "-00000002.v0001.tar.zst");
    let renew = ["stream", "renew", "--site", "exporter"];
    world.run(renew).exits(0).prints("batch 2 of stream").prints("will never come").prints("goes on from batch 3");
    world.pack(&[]).exits(0).prints("packed batch 1 for zone default: 1 envelope").prints("packed again in batch 1");
    world.carry(&[]).exits(0).says_nothing_of("cannot be carried");
    world.import(&[]).exits(3).says("batch 2 has not arrived");
    assert_eq!(world.delivered_bytes(), [1, 3, 2].map(|n| envelope(&format!("{n}.json"))));
}

#[test]
fn lost_batch_of_the_stream_before_is_packed_again_in_the_new_one() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    let old = world.stream();
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    lose(&world, ".v0001.tar.zst");
    let advice = format!("airpouch pack --site exporter --again {old}:1;");
    world.carry(&[]).exits(3).says(&advice);
    world.pack(&["--again", &format!("{old}:1")]).exits(0).prints("packed batch 1").prints("packed again in batch 1");
    world.carry(&[]).exits(0).prints("new: batch 1 (");
    world.import(&[]).exits(3).says("batch 1 has not arrived");
    assert_eq!(world.delivered_bytes(), [envelope("1.json")]);
}
