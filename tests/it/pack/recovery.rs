//! Ledgers, sites and batches that are lost or old: detected, and how packing continues.

use std::fs;

use crate::support::{World, envelope, files};

#[test]
fn old_ledger_is_detected_by_the_outbox_alone() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    world.sh("cp exporter/ledger.db ledger.old").exits(0);
    world.made("2.json");
    world.pack(&[]).exits(0);
    world.sh("cp ledger.old exporter/ledger.db").exits(0);
    let before = files(&world.path("exporter/outbox"));
    world.made("3.json");
    let refused = world.pack(&[]).exits(1).says("the ledger is out of date").says("airpouch stream renew");
    refused.says_nothing_of("--medium");
    world.carry(&[]).exits(1).says("the ledger is out of date").says("airpouch stream renew");
    assert_eq!(files(&world.path("exporter/outbox")), before);
    assert!(files(&world.medium()).is_empty());
    world.run(["stream", "renew", "--site", "exporter"]).exits(0).prints("batch 2").prints("goes on from batch 2");
    world.send(&[]).exits(0).prints("packed batch 1 for zone default: 1 envelope,");
    world.import(&[]).exits(0);
    assert_eq!(world.delivered_bytes(), ["1.json", "2.json", "3.json"].map(envelope));
}

#[test]
fn old_site_is_detected_by_the_medium_which_the_advice_names() {
    let world = World::new();
    world.made("1.json");
    world.send(&[]).exits(0);
    world.sh("cp -r exporter backup").exits(0);
    world.made("2.json");
    world.send(&[]).exits(0);
    world.sh("rm -r exporter && mv backup exporter").exits(0);
    let before = files(&world.medium());
    for run in [world.send(&[]), world.carry(&[])] {
        run.exits(1).says("the ledger is out of date").says("airpouch stream renew --site exporter --medium medium");
    }
    assert_eq!(files(&world.medium()), before);
    assert_eq!(world.manifests("exporter/outbox").len(), 1, "no number was used twice");
    let renew = world.run(["stream", "renew", "--medium", "medium", "--site", "exporter"]).exits(0);
    renew.prints("taken into the ledger: batch 2");
    // The lost batch is back, and another stick gets it, with all that it needs.
    fs::create_dir(world.path("second")).unwrap();
    world.run(["carry", "second", "--site", "exporter"]).exits(0).prints("new: batch 2 (1 envelope");
    world.run(["verify", "second", "--trust", "trust"]).exits(0).prints("holds: batch 2");
    assert_eq!(world.pack(&[]).exits(0).said(), "", "and its content is not packed again");
}

#[test]
fn old_ledger_that_nothing_shows_at_pack_is_detected_at_carry() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    world.sh("cp -r exporter backup").exits(0);
    world.made("2.json");
    world.send(&[]).exits(0);
    world.sh("rm -r exporter && mv backup exporter").exits(0);
    world.made("3.json");
    // Neither the outbox nor a stick shows that 2 was issued, so it is issued again: the stick says so.
    world.pack(&[]).exits(0).prints("packed batch 2");
    let before = files(&world.medium());
    world.carry(&[]).exits(1).says("was not overwritten");
    assert_eq!(files(&world.medium()), before);
    world.run(["status", "--site", "exporter"]).exits(0).prints("packed, not carried");
}

#[test]
fn lost_ledger_is_detected_by_the_outbox_and_renewed_from_it() {
    let world = World::new();
    world.made("1.json");
    world.made("2.json");
    world.pack(&[]).exits(0);
    let before = files(&world.path("exporter/outbox"));
    world.sh("rm exporter/ledger.db*").exits(0);
    // With another key too, of which the outbox shows nothing.
    world.key("site-b", [9; 32]);
    let other = ["pack", "src", "--key", "keys/site-b.key.pem", "--site", "exporter"];
    world.run(other).exits(1).says("the ledger is out of date");
    world.pack(&[]).exits(1).says("the ledger is out of date").says("airpouch stream renew");
    assert_eq!(files(&world.path("exporter/outbox")), before);
    // The new ledger knows no key, so the old batches are known by the trust store.
    world.run(["stream", "renew", "--trust", "trust", "--site", "exporter"]).exits(0).prints("goes on from batch 1");
    assert_eq!(world.pack(&[]).exits(0).said(), "");
    world.carry(&[]).exits(0).prints("new: batch 1 (2 envelopes");
    world.import(&[]).exits(0).prints("delivered 2 envelopes");
}

/// docs/operations.md, "The whole site is lost", as it stands there.
#[test]
fn lost_site_is_recovered_from_its_media() {
    let world = World::new();
    world.made("1.json");
    world.send(&[]).exits(0);
    world
        .sh("rm -r exporter && install -d -m 700 exporter exporter/outbox && cp medium/airpouch-* exporter/outbox/")
        .exits(0);
    world.made("2.json");
    world
        .run(["stream", "renew", "--zone", "default", "--trust", "trust", "--site", "exporter"])
        .exits(0)
        .prints("goes on from batch 1");
    world.pack(&[]).exits(0).prints("packed batch 1 for zone default: 1 envelope,");
}

#[test]
fn renewal_from_the_newest_medium_alone_is_not_called_out_of_date() {
    let world = World::new();
    for n in 1..=3 {
        world.made(&format!("{n}.json"));
    }
    world.send(&["--max-batch", "1"]).exits(0).prints("packed batch 3");
    fs::remove_dir_all(world.path("exporter")).unwrap();
    fs::create_dir_all(world.path("exporter/outbox")).unwrap();
    // As if only the newest stick were left, and was copied into the outbox.
    for (name, bytes) in files(&world.medium()).into_iter().filter(|f| f.0.contains("-00000003.")) {
        fs::write(world.path("exporter/outbox").join(name), bytes).unwrap();
    }
    let renew = ["stream", "renew", "--trust", "trust", "--site", "exporter"];
    world.run(renew).exits(0).prints("taken into the ledger: batch 3 of stream").prints("goes on from batch 3");
    world.send(&[]).exits(0).prints("packed batch 1").says_nothing_of("ledger");
    world.send(&[]).exits(0);
}

#[test]
fn ledger_lost_after_two_renewals_packs_nothing_again() {
    let world = World::new();
    for n in 1..=4 {
        world.made(&format!("{n}.json"));
        world.pack(&[]).exits(0);
        if n < 4 {
            world.run(["stream", "renew", "--site", "exporter"]).exits(0);
        }
    }
    world.sh("rm exporter/ledger.db*").exits(0);
    world.pack(&[]).exits(1);
    world.run(["stream", "renew", "--trust", "trust", "--site", "exporter"]).exits(0);
    assert_eq!(world.pack(&[]).exits(0).said(), "", "all four envelopes are in the outbox");
}

#[test]
fn sealed_batch_that_lost_a_file_is_replaced_in_a_new_stream() {
    let world = World::new();
    world.made("1.json");
    world.send(&[]).exits(0);
    world.made("2.json");
    world.pack(&[]).exits(0);
    // As a crash after the seal leaves it, and the disk has lost the volume.
    let unsealed = "sqlite3 exporter/ledger.db \"UPDATE packed_batch SET state = 'sealed' WHERE sequence = 2\"
        cd exporter/outbox && rm *-00000002.manifest *-00000002.*.sig *-00000002.v0001.tar.zst";
    world.sh(unsealed).exits(0);
    world.pack(&[]).exits(1).says("has lost a file").says("v0001.tar.zst").says("airpouch stream renew");
    world.run(["stream", "renew", "--site", "exporter"]).exits(0).prints("goes on from batch 1");
    world.send(&[]).exits(0).prints("packed batch 1 for zone default: 1 envelope,");
    world.import(&[]).exits(0);
    assert_eq!(world.delivered_bytes(), ["1.json", "2.json"].map(envelope));
    // Nothing is left to settle: the old stream's sealed number goes nowhere any more.
    world.run(["status", "--site", "exporter"]).exits(0).says_nothing_of("to settle");
}

#[test]
fn sealed_batch_is_signed_by_the_next_run() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    let before = files(&world.path("exporter/outbox"));
    world.sh("sqlite3 exporter/ledger.db \"UPDATE packed_batch SET state = 'sealed'\" && rm exporter/outbox/*.manifest exporter/outbox/*.sig",
    )
    .exits(0);
    world.run(["status", "--site", "exporter"]).exits(0).prints("sealed, not signed").prints("airpouch pack");
    world.pack(&[]).exits(0).prints("signed batch 1, which an earlier run had sealed: 1 envelope");
    assert_eq!(files(&world.path("exporter/outbox")), before, "the same bytes, signed again");
}
