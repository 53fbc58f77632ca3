//! Batches that are missing: reported, waited for, accepted, and delivered late.

use std::fs;

use serde_json::json;

use super::{bring_back, codes, report, take_away};
use crate::support::{World, envelope};

#[test]
fn gap_stops_no_later_batch_and_is_filled_late() {
    let world = World::new();
    world.send_new(&["1.json"]);
    world.send_new(&["2.json"]);
    take_away(&world, 2, "lost");
    world.send_new(&["3.json"]);
    let told = report(&world, &[], 3);
    assert_eq!((codes(&told), &told["outcome"]["delivered"]), (vec!["gap"], &json!(2)));
    let stream = world.stream();
    let run = world.import_inbox(&[]).exits(3).says("batch 2 has not arrived (1 envelope");
    run.says(&format!("airpouch stream accept --site importer {stream} 2 --reason TEXT")).says("--resend");
    world.run(["status", "--site", "importer"]).exits(0).prints("batch 2 has not arrived");
    bring_back(&world, "lost");
    // The code that people compare is the newest one's: no carry shows this one's any more.
    world
        .import(&[])
        .exits(0)
        .prints("batch 2 (arrived late): 1 envelope")
        .prints("of batch 2")
        .says_nothing_of("carry showed");
    assert_eq!(world.delivered_bytes(), ["1.json", "3.json", "2.json"].map(envelope));
    assert_eq!(world.import(&[]).exits(0).said(), "");
}

#[test]
fn several_gaps_are_reported_with_one_command_for_each_side() {
    let world = World::new();
    for n in 1..=7 {
        world.send_new(&[&format!("{n}.json")]);
    }
    for n in [2, 4, 5] {
        take_away(&world, n, &format!("lost{n}"));
    }
    let told = report(&world, &[], 3);
    assert_eq!(codes(&told), ["gap"]);
    let stream = world.stream();
    let bring = format!("airpouch carry MEDIUM --resend {stream}:2,4-5");
    let give_up = format!("airpouch stream accept --site importer {stream} 2,4-5 --reason TEXT");
    let run = world.import_inbox(&[]).exits(3).says("batches 2 and 4 to 5 have not arrived (3 envelopes");
    run.says(&bring).says(&give_up);
    world.run(["status", "--site", "importer"]).exits(0).prints(&bring).prints(&give_up);
    let carry = ["carry", "again", "--site", "exporter", "--no-overlap", "--resend", &format!("{stream}:2,4-5")];
    fs::create_dir(world.path("again")).unwrap();
    world.run(carry).exits(0).prints("new: batches 2 and 4 to 5 (3 envelopes");
    let accept = ["stream", "accept", &stream, "2,4-5", "--reason", "lost", "--site", "importer"];
    world.run(accept).exits(0).prints("gave up on batches 2 and 4 to 5");
    assert_eq!(world.import_inbox(&[]).exits(0).said(), "");
    world.run(accept).exits(2).says("are not missing");
}

#[test]
fn unknown_start_is_reported_until_it_is_accepted() {
    let world = World::new();
    world.send_new(&["1.json"]);
    take_away(&world, 1, "lost");
    world.send_new(&["2.json"]);
    let run = world.import(&[]).exits(3).says("the first batch received is 2; batch 1 never arrived (1 envelope");
    run.prints("delivered 1 envelope");
    let stream = world.stream();
    let accept = |numbers: &str| {
        world.run(["stream", "accept", &stream, numbers, "--reason", "began here", "--site", "importer"])
    };
    accept("2").exits(2).says("batch 2 of stream").says("is not missing");
    accept("1-9").exits(2).says("batches 1 to 9 of stream").says("are not missing");
    accept("0").exits(2).says("write 7, 2-7, or 2-7,9");
    accept("1-1000000000000000").exits(2).says("not a list of batch numbers");
    accept("1").exits(0).prints("gave up on batch 1 of stream");
    assert_eq!(world.import(&[]).exits(0).said(), "");
    bring_back(&world, "lost");
    world.import(&[]).exits(0).prints("batch 1 (arrived late)");
}

#[test]
fn gap_on_hold_delivers_all_in_order_once_it_is_filled() {
    let world = World::new();
    world.send_new(&["1.json"]);
    take_away(&world, 1, "first");
    for n in 2..=4 {
        world.send_new(&[&format!("{n}.json")]);
    }
    take_away(&world, 3, "third");
    fs::create_dir(world.path("importer")).unwrap();
    fs::write(world.path("importer/airpouch.toml"), "on_gap = \"hold\"\n").unwrap();
    // An unknown start is a gap too.
    let told = report(&world, &[], 3);
    assert_eq!(codes(&told), ["waiting", "waiting", "unknown-start", "gap"], "{told}");
    for _ in 0..2 {
        let run =
            world.import_inbox(&[]).exits(3).says("batch 1 never arrived").says("batch 3 has not arrived (1 envelope");
        run.says_nothing_of("held in the inbox until");
    }
    assert!(!world.path("out").exists());
    world.run(["status", "--site", "importer"]).exits(0).prints("2 held: batches before it are missing");
    world.sh("rm medium/*").exits(0);
    bring_back(&world, "first");
    world.import(&[]).exits(3).prints("delivered 2 envelopes").says("batch 3 has not arrived");
    bring_back(&world, "third");
    world.import(&[]).exits(0).prints("delivered 2 envelopes").says_nothing_of("late");
    assert_eq!(world.delivered_bytes(), ["1.json", "2.json", "3.json", "4.json"].map(envelope));
}

#[test]
fn gap_on_hold_that_is_accepted_delivers_what_waited() {
    let world = World::new();
    world.send_new(&["1.json"]);
    world.send_new(&["2.json"]);
    take_away(&world, 2, "lost");
    world.send_new(&["3.json"]);
    world.import(&["--on-gap", "hold"]).exits(3).prints("delivered 1 envelope").says("batch 2 has not arrived");
    let stream = world.stream();
    let accept = ["stream", "accept", &stream, "2", "--reason", "stick lost", "--site", "importer", "--json"];
    let told = world.run(accept).exits(0).json();
    assert_eq!(
        (&told["verb"], &told["report"]["sequences"], &told["report"]["sha256"]),
        (&json!("stream accept"), &json!([[2, 2]]), &json!(null))
    );
    world.import_inbox(&["--on-gap", "hold"]).exits(0).prints("delivered 1 envelope");
    world.run(accept).exits(2).prints("is not missing");
    world
        .run(["stream", "accept", "nonsense", "2", "--reason", "x", "--site", "importer"])
        .exits(2)
        .says("unknown stream");
    // And comes all the same, one day.
    bring_back(&world, "lost");
    world.import(&["--on-gap", "hold"]).exits(0).prints("batch 2 (arrived late)");
}

#[test]
fn lost_heartbeat_is_a_gap() {
    let world = World::new();
    world.send(&["--heartbeat", "--promise", "24h"]).exits(0).prints("a heartbeat");
    assert_eq!(world.manifests("medium")[0].1["promise"], 86_400);
    world.import(&[]).exits(0);
    world.send(&["--heartbeat"]).exits(0);
    fs::remove_file(world.on_medium("-00000002.manifest")).unwrap();
    world.made("a.json");
    world.send(&["--no-overlap"]).exits(0);
    world.import(&[]).exits(3).says("batch 2 has not arrived (0 envelopes");
}
