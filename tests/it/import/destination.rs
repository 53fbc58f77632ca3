//! Which destination, whether it is there, what it gets again, and the times of its files.

use std::fs;

use serde_json::json;

use super::{HERE, bring_back, codes, flip, import_as, take_away};
use crate::support::{APPLICANT, HOUR, World, envelope, envelope_with, files};

#[test]
fn same_directory_by_another_path_is_the_same_destination() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    let absolute = format!("dir:{}", world.path("out").display());
    for to in ["dir:out/", "dir:./out", "dir:out/.", absolute.as_str(), "DIR:out"] {
        assert_eq!(world.import(&["--to", to]).exits(0).said(), "", "{to}");
    }
    assert_eq!(world.delivered().len(), 1);
}

#[test]
fn new_destination_gets_the_whole_inbox_and_the_same_one_nothing() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&["--keep", "0s"]).exits(0);
    world.send_new(&["b.json", "c.json"]);
    world.import(&[]).exits(0);
    let stopped = world.import(&["--to", "dir:other", "--json"]).exits(2).json();
    let told = stopped["error"]["what"].as_str().unwrap();
    assert!(told.contains("/out") && told.contains("/other"), "{told}");
    assert!(!world.path("other").exists(), "a question makes nothing");
    world.import(&["--new-destination", "--same-destination"]).exits(2).says("cannot be used with");
    // A slip of the pen: its parent is not there, so the old one stays the destination.
    world.import_inbox(&["--to", "dir:missing/other", "--new-destination"]).exits(1).says("missing/other");
    assert_eq!(world.import(&[]).exits(0).said(), "");
    world.run(["status", "--site", "importer"]).exits(0).prints("/out\n");
    // What was pruned from the inbox cannot go to it.
    let moved = ["--to", "dir:other", "--new-destination"];
    world.import_inbox(&moved).exits(0).prints("delivered 2 envelopes");
    world.import_inbox(&moved).exits(0).says_nothing_of("delivered");
    let names = |dir: &str| files(&world.path(dir)).into_iter().filter(|f| f.0.ends_with(".json")).collect::<Vec<_>>();
    assert_eq!(names("other"), names("out")[1..]);
    world.import(&[]).exits(2).says("--same-destination");
    // The directory moves, with its mark; then it is emptied on purpose.
    fs::rename(world.path("other"), world.path("moved")).unwrap();
    world.import_inbox(&["--to", "dir:moved", "--same-destination"]).exits(0).says_nothing_of("delivered 2");
    fs::remove_dir_all(world.path("moved")).unwrap();
    fs::create_dir(world.path("moved")).unwrap();
    world.send_new(&["d.json"]);
    world.import(&["--to", "dir:moved"]).exits(1).says("is its share mounted?").says("--same-destination");
    world.import_inbox(&["--to", "dir:moved", "--same-destination"]).exits(0).prints("delivered 1 envelope");
    assert_eq!(names("moved").len(), 1);
    // One that is not there yet is made, and gets what comes from now on.
    world.import_inbox(&["--to", "dir:third", "--same-destination"]).exits(0);
    assert!(files(&world.path("third")).iter().all(|(name, _)| name == ".airpouch"));
    world.send_new(&["e.json"]);
    world.import(&["--to", "dir:third"]).exits(0).prints("delivered 1 envelope");
}

#[test]
fn empty_mount_point_gets_nothing_and_the_batch_is_taken_from_the_medium() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    fs::rename(world.path("out"), world.path("share")).unwrap();
    fs::create_dir(world.path("out")).unwrap();
    world.send_new(&["b.json"]);
    let stopped = world.import(&["--json"]).exits(1).json();
    assert_eq!(stopped["report"]["taken"][0]["sequence"], 2);
    assert!(stopped["error"]["do"].as_str().unwrap().contains("mount it"), "{stopped}");
    assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 0, "not even a mark");
    // The stick may leave: the inbox has it.
    fs::remove_dir_all(world.medium()).unwrap();
    fs::remove_dir(world.path("out")).unwrap();
    fs::rename(world.path("share"), world.path("out")).unwrap();
    world.import_inbox(&[]).exits(0).prints("delivered 1 envelope");
    assert_eq!(world.delivered_bytes(), ["a.json", "b.json"].map(envelope));
}

#[test]
fn redelivery_takes_the_medium_at_hand_or_else_the_inbox() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    take_away(&world, 1, "first");
    world.send_new(&["b.json"]);
    world.import(&[]).exits(0);
    let eaten = |world: &World| world.sh("rm -f out/*.json").exits(0);
    // Only what lies on this stick.
    eaten(&world);
    world.import(&["--redeliver"]).exits(0).prints("delivered 1 envelope");
    assert_eq!(world.delivered_bytes(), [envelope("b.json")]);
    eaten(&world);
    world.import_inbox(&["--redeliver"]).exits(0).prints("delivered 2 envelopes");
    assert_eq!(world.delivered_bytes(), ["a.json", "b.json"].map(envelope));
    // Pruned: the inbox has nothing, the stick has it.
    world.import_inbox(&["--keep", "0s"]).exits(0);
    assert_eq!(fs::read_dir(world.path("importer/inbox")).unwrap().count(), 0);
    eaten(&world);
    world.import_inbox(&["--redeliver"]).exits(0).says_nothing_of("delivered 2");
    assert!(world.delivered().is_empty());
    bring_back(&world, "first");
    world.import(&["--redeliver"]).exits(0).prints("delivered 2 envelopes");
    assert_eq!(world.delivered_bytes(), ["a.json", "b.json"].map(envelope));
    assert_eq!(world.import(&[]).exits(0).said(), "");
}

#[test]
fn invalid_destination_is_refused_without_its_password() {
    let world = World::new();
    world.send_new(&["a.json"]);
    for (to, word) in [
        ("dir:", "invalid destination"),
        ("out", "write dir:PATH, spool:PATH, amqps://HOST or opencti+https://HOST"),
        ("ftp://x", "invalid destination"),
        ("spool:", "invalid destination"),
        ("amqp://", "invalid address of a broker"),
        ("amqp://broker/a/b", "a / in a virtual host is written %2F"),
        ("opencti+https://", "invalid address of a platform"),
        ("opencti+https://user@platform", "takes no user"),
    ] {
        world.import(&["--to", to]).exits(2).says(word);
    }
    world.import(&["--to", "amqp://user:hunter2@broker"]).exits(2).says("password").says_nothing_of("hunter2");
    world.run(["import", "medium", "--trust", "trust", "--site", "importer"]).exits(2).says("no destination given");
    world
        .run(["import", "absent", "--to", "dir:out", "--trust", "trust", "--site", "importer"])
        .exits(1)
        .says("absent");
    assert!(!world.path("importer").exists(), "nothing was made on the way");
}

#[test]
fn broken_destination_hides_no_finding() {
    let world = World::new();
    world.send_new(&["1.json"]);
    world.import(&[]).exits(0);
    world.send_new(&["2.json"]);
    take_away(&world, 2, "lost");
    world.send_new(&["3.json"]);
    world.send_new(&["4.json"]);
    flip(&world.on_medium("-00000004.v0001.tar.zst"), 60);
    fs::remove_dir_all(world.path("out")).unwrap();
    let run = world.import(&[]).exits(1).says("is its share mounted?").prints("taken batch 3");
    let run = run.says("does not match its digest").says("--resend 4");
    run.says("batch 2 has not arrived");
    // One that cannot be made, at a site that begins: in the document too.
    let fresh = world.import(&["--to", "dir:nowhere/out", "--site", "fresh", "--json"]).exits(1).json();
    assert!(codes(&fresh["report"]).contains(&"damaged"), "{fresh}");
    assert!(fresh["error"]["what"].as_str().unwrap().contains("make the destination"), "{fresh}");
}

#[test]
fn times_of_files_rise_over_runs_redeliveries_and_releases() {
    let world = World::new();
    world.put("null.json", &envelope_with("n", json!({"applicant_id": null})));
    world.send_new(&["a.json"]);
    world.import(&[]).exits(3);
    let clock = || {
        let times = files(&world.path("out")).into_iter().filter(|f| f.0.ends_with(".json"));
        let mut times: Vec<_> =
            times.map(|f| fs::metadata(world.path("out").join(f.0)).unwrap().modified().unwrap()).collect();
        times.sort();
        times
    };
    // What was delivered last lies in the future, as after a clock that was set back.
    let mut last = world.last_time_is_later_by(HOUR);
    world.send_new(&["b.json", "c.json"]);
    let default = format!("default={HERE}");
    for more in [vec!["medium"], vec!["--unmapped", &default], vec!["--redeliver", "--unmapped", &default]] {
        let mapped = format!("{APPLICANT}={HERE}");
        import_as(&world, &[&more[..], &["--applicant", &mapped]].concat()).exits(0);
        let newest = clock().pop().unwrap();
        assert!(newest > last, "{more:?}");
        last = newest;
    }
    let times = clock();
    assert_eq!(times.len(), 4);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn times_of_files_rise_where_the_file_system_keeps_whole_seconds() {
    let world = World::new();
    world.send_new(&["1.json", "2.json", "3.json"]);
    // ext2 with small inodes has no room for parts of a second, as FAT and exFAT have not.
    world.sh("truncate -s 8M disk && mkfs.ext2 -q -I 128 disk").exits(0);
    let Some(_disk) = world.mount("seconds", "-o loop disk") else { return };
    world.import(&["--to", "dir:seconds/in"]).exits(0).prints("delivered 3 envelopes");
    let times: Vec<_> = files(&world.path("seconds/in"))
        .into_iter()
        .filter(|(name, _)| name.ends_with(".json"))
        .map(|(name, _)| fs::metadata(world.path("seconds/in").join(name)).unwrap().modified().unwrap())
        .collect();
    assert_eq!(times.len(), 3);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}
