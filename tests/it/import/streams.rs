//! Two histories of one stream, and a stream that another one succeeds.

use super::{bring_back, take_away};
use crate::support::{World, envelope, files};

/// Two histories: both sites go on from batch 1, each with its own 2 and 3.
fn forked(world: &World) {
    world.send_new(&["1.json"]);
    world.sh("cp -r exporter backup").exits(0);
    world.send_new(&["2a.json", "2aa.json"]);
    world.send_new(&["3a.json"]);
    world.sh("rm -r exporter && mv backup exporter && mv medium branch-a && mkdir medium && rm src/*").exits(0);
    world.send_new(&["2b.json"]);
    world.send_new(&["3b.json"]);
    world.sh("mv medium branch-b && mv branch-a medium").exits(0);
}

#[test]
fn fork_is_held_and_once_accepted_delivered_under_names_of_its_own() {
    let world = World::new();
    forked(&world);
    world.import(&[]).exits(0).prints("delivered 4 envelopes");
    let before = files(&world.path("out"));
    world.sh("rm medium/* && cp branch-b/* medium/").exits(0);
    let run =
        world.import(&[]).exits(4).says("fork: batch 2, 1 envelope").says("fork: batch 3").says("held, not delivered");
    assert_eq!(files(&world.path("out")), before);
    assert_eq!(world.import(&[]).exits(0).said(), "", "told once");
    world.run(["status", "--site", "importer"]).exits(0).prints("2 held: fork").prints("airpouch stream accept");
    // The command that is shown, as it is shown.
    let shown = run.stderr.lines().find_map(|l| l.split("to take it too: ").nth(1)).unwrap().to_owned();
    let mut words: Vec<&str> = shown.split(' ').skip(1).collect();
    assert_eq!(words[2..6], ["--site", "importer", words[4], "2"]);
    *words.last_mut().unwrap() = "both are ours";
    let other = world.run(["stream", "accept", words[4], "2", &"0".repeat(64), "--reason", "x", "--site", "importer"]);
    other.exits(2).says("no batch of this number and digest");
    world.run(words.clone()).exits(0).prints("accepted: batch 2");
    world.import_inbox(&[]).exits(0).prints("batch 2 (arrived late): 1 envelope delivered");
    let after = files(&world.path("out"));
    assert!(before.iter().all(|file| after.contains(file)), "nothing was overwritten");
    assert_eq!(after.len(), before.len() + 1);
    let digest = words[6];
    let own = format!("-00000002-00000001-{}.json", &digest[..8]);
    assert!(after.iter().any(|(name, bytes)| name.ends_with(&own) && *bytes == envelope("2b.json")));
    // The next one of that branch is a question of its own.
    let status = world.run(["status", "--site", "importer"]).exits(0).prints("1 held: fork");
    let shown = status.stdout.lines().find_map(|l| l.split("to take it: ").nth(1)).unwrap().to_owned();
    let mut words: Vec<&str> = shown.split(' ').skip(1).collect();
    *words.last_mut().unwrap() = "this one too";
    world.run(words).exits(0).prints("accepted: batch 3");
    world.import_inbox(&[]).exits(0).prints("delivered 1 envelope");
    assert_eq!(world.delivered_bytes().len(), 6);
}

#[test]
fn renewed_stream_is_delivered_after_the_old_one() {
    // Names are drawn by chance: in several worlds, so that the order of names cannot help.
    for _ in 0..3 {
        let world = World::new();
        world.send_new(&["1.json"]);
        world.send_new(&["2.json"]);
        for n in 3..=4 {
            world.run(["stream", "renew", "--site", "exporter"]).exits(0);
            world.send_new(&[&format!("{n}.json")]);
        }
        world.import(&[]).exits(0).prints("delivered 4 envelopes");
        assert_eq!(world.delivered_bytes(), ["1.json", "2.json", "3.json", "4.json"].map(envelope));
    }
}

#[test]
fn lost_end_of_a_renewed_stream_is_a_gap() {
    let world = World::new();
    world.send_new(&["1.json"]);
    world.send_new(&["2.json"]);
    take_away(&world, 2, "lost");
    let old = world.stream();
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    world.send_new(&["3.json"]);
    let run = world.import(&[]).exits(3).says("batch 2 has not arrived").says(&format!("batch 2 of stream {old}"));
    run.prints("delivered 2 envelopes");
    world.import_inbox(&[]).exits(3).says("batch 2 has not arrived");
    world.run(["status", "--site", "importer"]).exits(0).prints("batch 2 has not arrived");
    world.sh("cp -r importer importer.copy").exits(0);
    world.run(["stream", "accept", &old, "2", "--reason", "lost", "--site", "importer"]).exits(0);
    assert_eq!(world.import_inbox(&[]).exits(0).said(), "");
    // Or it comes after all.
    world.sh("rm -r importer && mv importer.copy importer").exits(0);
    bring_back(&world, "lost");
    world.import(&[]).exits(0).prints("delivered 1 envelope");
    assert_eq!(world.delivered_bytes(), ["1.json", "3.json", "2.json"].map(envelope));
}

#[test]
fn renewed_stream_waits_for_a_gap_on_hold_in_the_old_one() {
    let world = World::new();
    world.send_new(&["1.json"]);
    world.send_new(&["2.json"]);
    take_away(&world, 2, "lost");
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    world.send_new(&["3.json"]);
    world.import(&["--on-gap", "hold"]).exits(3).says("batch 2 has not arrived").prints("delivered 1 envelope");
    bring_back(&world, "lost");
    world.import(&["--on-gap", "hold"]).exits(0);
    assert_eq!(world.delivered_bytes(), ["1.json", "2.json", "3.json"].map(envelope));
}
