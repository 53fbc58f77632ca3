//! Packing as a user meets it: batches and their sizes, zones, keys, files, and what was lost.

mod files;
mod keys;
mod recovery;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use airpouch::digest::Digest;
use serde_json::{Value, json};

use crate::support::{Unjudged, World, envelope_with, files, finish};

/// Sets a time before or after 1970, with nanoseconds.
fn touch(path: &Path, seconds: i64, nanos: u32) {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(time + Duration::from_nanos(nanos.into())).unwrap();
}

/// The program under strace, with these options of strace.
fn traced(world: &World, strace: &[&str], arguments: &[&str]) -> Unjudged {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "signal=none"]).args(strace).arg(env!("CARGO_BIN_EXE_airpouch")).args(arguments);
    finish(command.current_dir(world.dir.path()))
}

fn pack_json(world: &World, more: &[&str], status: i32) -> Value {
    let run = world.pack(&[&["--json"], more].concat()).exits(status);
    assert_eq!(run.stderr, "", "nothing but the document");
    run.json()["report"]["pack"].clone()
}

#[test]
fn batches_close_at_their_size_and_name_the_ones_before() {
    let world = World::new();
    for n in 0..7 {
        world.put(&format!("{n}.json"), &envelope_with(&format!("{n}"), json!({"update": "x".repeat(50_000)})));
    }
    world.pack(&["--max-batch", "110 KB", "--volume-size", "64KiB"]).exits(0).prints("packed batch 4");
    world.pack(&["--heartbeat"]).exits(0).prints("packed batch 5").prints("a heartbeat");
    let made = world.manifests("exporter/outbox");
    let of = |key: &str| made.iter().map(|(_, m)| m[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("sequence"), [1, 2, 3, 4, 5].map(|n| json!(n)));
    let envelopes: Vec<_> = made.iter().map(|(_, m)| m["totals"]["envelopes"].as_u64().unwrap()).collect();
    assert_eq!(envelopes, [2, 2, 2, 1, 0]);
    let before: Vec<_> = made.iter().map(|(_, m)| m["before"]["envelopes"].as_u64().unwrap()).collect();
    assert_eq!(before, [0, 2, 4, 6, 7]);
    let volumes: Vec<_> = made.iter().map(|(_, m)| m["volumes"].as_array().unwrap().len()).collect();
    assert_eq!(volumes, [2, 2, 2, 1, 0]);
    let digests: Vec<_> = made.iter().map(|(bytes, _)| json!(Digest::of(bytes).to_string())).collect();
    assert_eq!(made[0].1["previous"], json!(null));
    for n in 1..5 {
        assert_eq!(made[n].1["previous"], digests[n - 1]);
        let older: Vec<_> = digests[..n - 1].iter().rev().cloned().collect();
        assert_eq!(made[n].1["history"], json!(older));
    }
    assert!(made.iter().all(|(_, m)| m["stream"] == made[0].1["stream"]));
    world.carry(&[]).exits(0);
    world.verify(&[]).exits(0);
    world.import(&[]).exits(0).prints("delivered 7 envelopes");
}

#[test]
fn invalid_size_is_refused_before_anything_is_read() {
    let world = World::new();
    world.made("a.json");
    for (option, value, word) in [
        ("--volume-size", "1KiB", "64 KiB to 256 MiB"),
        ("--volume-size", "1GiB", "64 KiB to 256 MiB"),
        ("--volume-size", "much", "invalid size"),
        ("--max-batch", "0", "up to 4 GiB"),
        ("--max-batch", "5GiB", "up to 4 GiB"),
        ("--promise", "soon", "invalid duration"),
        ("--threads", "0", "--threads"),
    ] {
        world.pack(&[option, value]).exits(2).says(word);
    }
    assert!(files(&world.path("exporter/outbox")).is_empty());
}

#[test]
fn heartbeat_is_packed_only_without_new_envelopes() {
    let world = World::new();
    world.pack(&["--heartbeat"]).exits(0).prints("packed batch 1 for zone default: a heartbeat");
    world.made("a.json");
    world.pack(&["--heartbeat", "--promise", "90s"]).exits(0).prints("packed batch 2").says_nothing_of("batch 3");
    let made = world.manifests("exporter/outbox");
    assert_eq!((&made[0].1["promise"], &made[1].1["promise"]), (&json!(null), &json!(90)));
    assert_eq!((&made[0].1["volumes"], &made[0].1["connectors"]), (&json!([]), &json!([])));
    assert_eq!(world.pack(&[]).exits(0).said(), "", "without the flag there is none");
}

#[test]
fn batches_are_the_same_bytes_on_any_number_of_threads() {
    let world = World::new();
    world.pack(&["--heartbeat"]).exits(0);
    for n in 0..30 {
        world.put(
            &format!("{n}.json"),
            &envelope_with(&format!("{n}"), json!({"update": format!("{n}").repeat(9_000)})),
        );
    }
    fs::rename(world.path("exporter"), world.path("before")).unwrap();
    let mut made = Vec::new();
    for threads in ["1", "2", "3", "8"] {
        world.sh("cp -r before exporter").exits(0);
        let mut command = world.command();
        command.args(["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter", "--threads", threads]);
        command.args(["--volume-size", "64KiB", "--max-batch", "200 KB"]).env("SOURCE_DATE_EPOCH", "1795572000");
        finish(&mut command).exits(0);
        // Where the journal ends differs with each site's key and clock; it belongs to no batch.
        let mut batches = files(&world.path("exporter/outbox"));
        batches.retain(|(name, _)| !name.ends_with(".head"));
        made.push(batches);
        fs::remove_dir_all(world.path("exporter")).unwrap();
    }
    let volumes = made[0].iter().filter(|(name, _)| name.contains(".v00")).count();
    assert!(volumes >= 5, "{volumes} volumes");
    assert!(made.iter().all(|files| *files == made[0]));
    let created = |files: &[(String, Vec<u8>)]| {
        let last = files.iter().rfind(|(name, _)| name.ends_with(".manifest")).unwrap();
        serde_json::from_slice::<Value>(&last.1).unwrap()["created"].clone()
    };
    assert_eq!(created(&made[0]), "2026-11-25T02:00:00Z");
}

#[test]
fn site_with_several_zones_needs_the_zone_for_every_verb() {
    let world = World::new();
    world.made("a.json");
    world.pack(&["--zone", "red"]).exits(0);
    world.pack(&[]).exits(0);
    assert_eq!(world.manifests("exporter/outbox").len(), 1, "the only zone goes without saying");
    world.pack(&["--zone", "blue", "--new-zone"]).exits(0).prints("packed batch 1 for zone blue");
    for verb in [vec!["pack", "src", "--key", "keys/site-a.key.pem"], vec!["carry", "medium"], vec!["stream", "renew"]]
    {
        let run = world.run(verb.iter().chain(&["--site", "exporter"])).exits(2);
        run.says("several zones: red, blue").says("--zone");
    }
    world.run(["stream", "renew", "--zone", "red", "--site", "exporter"]).exits(0);
    world.carry(&["--zone", "red"]).exits(0);
    assert_eq!(world.manifests("medium")[0].1["zone"], "red");
    world.pack(&["--zone", "Red!"]).exits(2).says("invalid zone");
}

#[test]
fn absent_medium_is_reported_before_anything_is_packed() {
    let world = World::new();
    world.made("a.json");
    world.run(["pack", "src", "absent", "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(1).says("absent");
    world.send(&["--require-mount"]).exits(1).says("nothing is mounted");
    assert!(files(&world.path("exporter/outbox")).is_empty());
}

#[test]
fn second_run_at_the_same_site_ends_at_once() {
    let world = World::new();
    world.made("a.json");
    world.pack(&[]).exits(0);
    let lock = fs::File::open(world.path("exporter/lock")).unwrap();
    lock.lock().unwrap();
    world.pack(&[]).exits(5).says("another run");
    world.carry(&[]).exits(5);
    let told = world.pack(&["--json"]).exits(5).json();
    assert_eq!(told["exit"], 5);
    world.run(["status", "--site", "exporter"]).exits(0);
    drop(lock);
    world.pack(&[]).exits(0);
}

#[test]
fn site_of_the_other_side_is_wrong_usage() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&["--site", "exporter"]).exits(2).says("exporter's").says("--site DIR");
    world.import(&[]).exits(0);
    world.pack(&["--site", "importer"]).exits(2).says("importer's");
}
