//! Importing as a user meets it: what is taken, held, delivered, and reported.

mod destination;
mod gaps;
mod inbox;
mod mapping;
mod release;
mod streams;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Unjudged, World, envelope, envelope_with};

const HERE: &str = "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10";

/// An import without the usual mapping.
fn import_as(world: &World, more: &[&str]) -> Unjudged {
    world.run(["import", "--to", "dir:out", "--trust", "trust", "--site", "importer"].iter().chain(more))
}

/// The report of an import of the medium.
fn report(world: &World, more: &[&str], status: i32) -> Value {
    world.import(&[&["--json"], more].concat()).exits(status).json()["report"].clone()
}

fn codes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect()
}

/// Takes the files of a number off the medium into a directory.
fn take_away(world: &World, number: u64, to: &str) {
    fs::create_dir_all(world.path(to)).unwrap();
    world.sh(&format!("mv medium/*-{number:08}.* {to}/")).exits(0);
}

fn bring_back(world: &World, from: &str) {
    world.sh(&format!("cp {from}/* medium/")).exits(0);
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn policy(world: &World, text: &str) {
    fs::create_dir_all(world.path("importer")).unwrap();
    fs::write(world.path("importer/policy.toml"), text).unwrap();
}

/// An envelope whose object asks the platform to delete something, and is marked TLP:RED.
fn command(world: &World, name: &str) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(&envelope(name)).unwrap();
    value["bundle"]["objects"][0]["opencti_operation"] = json!("delete");
    value["bundle"]["objects"][0]["object_marking_refs"] =
        json!(["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"]);
    let bytes = serde_json::to_vec(&value).unwrap();
    world.put(name, &bytes);
    bytes
}

#[test]
fn envelope_on_several_media_is_delivered_once() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0).prints("delivered 1 envelope");
    // The same batch on a second stick, in a folder, and again beside the next batch.
    fs::create_dir_all(world.path("second/folder")).unwrap();
    world.sh("cp medium/* second/folder/").exits(0);
    let second = ["import", "second", "--to", "dir:out", "--trust", "trust", "--site", "importer", "--json"];
    let told = world.run(second).exits(0).json()["report"].clone();
    assert_eq!((&told["replayed"], &told["outcome"]["delivered"], &told["taken"]), (&json!(1), &json!(0), &json!([])));
    world.made("b.json");
    world.send(&[]).exits(0);
    let told = report(&world, &[], 0);
    assert_eq!((&told["replayed"], &told["outcome"]["delivered"]), (&json!(1), &json!(1)));
    // Another exporter's batch with the same content under another key, stream and name.
    world.key("site-b", [9; 32]);
    fs::create_dir(world.path("other")).unwrap();
    fs::write(world.path("other/x.json"), envelope("a.json")).unwrap();
    world.run(["pack", "other", "medium", "--key", "keys/site-b.key.pem", "--site", "exporter-b"]).exits(0);
    let told = report(&world, &[], 0);
    assert_eq!((&told["outcome"]["delivered"], &told["outcome"]["already_delivered"]), (&json!(0), &json!(1)));
    assert_eq!(world.delivered_bytes(), ["a.json", "b.json"].map(envelope));
}

#[test]
fn unknown_connector_type_never_reaches_the_stock_connector() {
    let world = World::new();
    let connector = json!({"id": "c", "name": "Hunter", "type": "INTERNAL_HUNT"});
    world.put("h.json", &envelope_with("h", json!({"connector": connector})));
    world.send(&[]).exits(0);
    fs::write(world.path("policy.toml"), "connector_types = [\"INTERNAL_HUNT\"]\n").unwrap();
    let run = world.import(&["--policy", "policy.toml"]).exits(3);
    run.says("would stop at it").says("deliver through the platform");
    assert_eq!(world.delivered().len(), 0);
    let spooled = ["--to", "spool:spool", "--site", "other", "--policy", "policy.toml"];
    world.import(&spooled).exits(0).prints("delivered 1 envelope");
}

#[test]
fn unlisted_or_paused_connector_is_held_until_listed() {
    let world = World::new();
    let other = json!({"id": "other", "name": "Other Feed", "type": "EXTERNAL_IMPORT"});
    world.made("a.json");
    world.put("b.json", &envelope_with("b", json!({"connector": other})));
    world.send(&[]).exits(0);
    policy(&world, "[connectors]\nother = \"pass\"\n");
    world.import(&[]).exits(3).says("Example Feed").says("is not listed").prints("delivered 1 envelope");
    policy(&world, "[connectors]\nother = \"pass\"\n\"43509aab-0310-5f8d-9395-81f36f6d064a\" = \"pause\"\n");
    world.import_inbox(&[]).exits(3).says("is paused");
    assert_eq!(world.import_inbox(&[]).exits(0).said(), "");
    policy(&world, "");
    world.import_inbox(&[]).exits(0).prints("delivered 1 envelope, all of them held before,");
    policy(&world, "max_tpl = \"red\"\n");
    world.import_inbox(&[]).exits(2).says("max_tpl");
    policy(&world, "[connectors]\nother = \"drop\"\n");
    world.import_inbox(&[]).exits(2).says("policy.toml").says("line 2");
}

#[test]
fn medium_of_another_zone_is_left_unchanged() {
    let world = World::new();
    world.made("a.json");
    world.send(&["--zone", "red"]).exits(0);
    assert_eq!(codes(&report(&world, &["--zone", "blue"], 3)), ["wrong-zone"]);
    assert_eq!(fs::read_dir(world.path("importer/inbox")).unwrap().count(), 0);
    world.import(&["--zone", "red"]).exits(0).prints("delivered 1 envelope");
}
