//! Who asks a year later where an envelope or an object is, when its bytes are long gone; and what somebody does who wants
//! another answer.

use std::fs;
use std::path::PathBuf;

use airpouch::digest::Digest;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{APPLICANT, World, envelope, envelope_with, files};

/// A world whose importer keeps lists of objects.
fn listing() -> World {
    let world = World::new();
    fs::create_dir(world.path("importer")).unwrap();
    fs::write(world.path("importer/policy.toml"), "[record]\nobjects = true\n").unwrap();
    world
}

/// The id of the object in a made envelope.
fn object_of(name: &str) -> String {
    let envelope: Value = serde_json::from_slice(&envelope(name)).unwrap();
    envelope["bundle"]["objects"][0]["id"].as_str().unwrap().to_owned()
}

/// An envelope with these objects.
fn with_objects(name: &str, objects: Value) -> Vec<u8> {
    envelope_with(name, json!({"bundle": {"type": "bundle", "id": "bundle--1", "objects": objects}}))
}

fn command(name: &str) -> Vec<u8> {
    with_objects(name, json!([{"type": "indicator", "id": object_of(name), "opencti_operation": "delete"}]))
}

/// Delivers what is on the medium, and clears the inbox of it.
fn deliver_and_prune(world: &World, more: &[&str], status: i32) {
    world.import(&[&["--keep", "0s"], more].concat()).exits(status);
    world.import_inbox(&["--keep", "0s"]).exits(0);
}

/// Some envelopes, delivered in one batch each and pruned.
fn pruned(names: &[&str]) -> World {
    let world = listing();
    for name in names {
        world.send_new(&[name]);
        deliver_and_prune(&world, &[], 0);
    }
    world
}

fn inbox_is_empty(world: &World) -> bool {
    fs::read_dir(world.path("importer/inbox")).unwrap().next().is_none()
}

/// What `log` says of an envelope or an object.
fn found(world: &World, what: &[&str]) -> Value {
    let run = world.run([&["log", "--json", "--site", "importer"], what].concat()).exits(0);
    run.json()["report"].clone()
}

fn in_ledger(world: &World, sql: &str) {
    Connection::open(world.path("importer/ledger.db")).unwrap().execute_batch(sql).unwrap();
}

/// The only file in indexes/ whose name has this and ends so.
fn kept(world: &World, part: &str, end: &str) -> PathBuf {
    let dir = world.path("importer/indexes");
    let is_it = |name: &str| name.contains(part) && name.ends_with(end);
    let named: Vec<_> = files(&dir).into_iter().filter(|(name, _)| is_it(name)).collect();
    assert_eq!(named.len(), 1, "{part} {end}");
    dir.join(&named[0].0)
}

#[test]
fn envelope_is_found_by_its_name_after_its_batch_was_pruned() {
    let world = pruned(&["a.json", "b.json"]);
    assert!(inbox_is_empty(&world));
    let report = found(&world, &["--envelope", "b.json"]);
    let [one] = &report["envelopes"].as_array().unwrap()[..] else { panic!("{report}") };
    let digest = Digest::of(&envelope("b.json")).to_string();
    assert_eq!((&one["sequence"], &one["ordinal"], &one["name"]), (&json!(2), &json!(1), &json!("b.json")));
    assert_eq!((&one["sha256"], &one["state"], &one["kept"]), (&json!(digest), &json!("delivered"), &json!("none")));
    assert_eq!((&one["connector"]["name"], &one["applicant"]), (&json!("Example Feed"), &json!(APPLICANT)));
    assert!(one["taken_at"].is_string() && one["delivered_at"].is_string() && one["delivered_by"].is_null(), "{one}");
    assert_eq!((&report["searched"]["batches"], &report["searched"]["pruned_by_older"]), (&json!(2), &json!(0)));
    let events: Vec<_> = report["events"].as_array().unwrap().iter().map(|event| &event["event"]).collect();
    assert_eq!(events, ["taken", "admitted", "delivered", "pruned"]);
    let by_digest = found(&world, &["--envelope", &digest[..10]]);
    assert_eq!((&by_digest["envelopes"], &by_digest["searched"]["batches"]), (&report["envelopes"], &json!(1)));
    let text = world.run(["log", "--envelope", "b.json", "--site", "importer"]).exits(0);
    text.prints(&format!("envelope {digest}: b.json, "))
        .prints("1 of batch 2 of stream")
        .prints("its bytes are pruned");
    for narrowed in [["--batch", "1"], ["--connector", "Other Feed"], ["--since", "2999"], ["--stream", "x"]] {
        let none = found(&world, &[&["--envelope", "b.json"], &narrowed[..]].concat());
        assert_eq!(none["envelopes"], json!([]), "{narrowed:?}");
    }
}

#[test]
fn envelope_in_the_inbox_is_found_by_its_name_with_where_it_lies() {
    let world = listing();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    let text = world.run(["log", "--envelope", "a.json", "--site", "importer"]).exits(0);
    text.prints("its bytes are in the inbox: airpouch show ");
    // It was held, and went later: the journal knows when.
    let held = envelope_with("h", json!({"applicant_id": "5f2b8e4c-9d31-4a6b-8a59-2f6f5f0c7b11"}));
    world.put("h.json", &held);
    world.send(&["--no-overlap"]).exits(0);
    world.import(&[]).exits(3);
    assert_eq!(found(&world, &["--envelope", "h.json"])["envelopes"][0]["state"], "held");
    in_ledger(&world, "UPDATE batch SET done_at = 1750000000");
    world.import_inbox(&["--unmapped", &format!("default={APPLICANT}"), "--keep", "99999d"]).exits(0);
    let one = found(&world, &["--envelope", "h.json"])["envelopes"][0].clone();
    assert_eq!(one["state"], "delivered");
    assert_ne!(one["delivered_at"], "2025-06-15T15:06:40Z", "when its batch was done, it was held");
}

#[test]
fn batch_that_was_pruned_is_shown_with_the_list_of_its_index() {
    let world = pruned(&["a.json"]);
    let show = world.run(["show", "1", "--site", "importer"]).exits(0);
    show.prints("what follows is from its manifest and its index").prints("largest ").prints("indicator 1");
    let card = world.run(["show", "1", "--json", "--site", "importer"]).exits(0).json()["report"]["batches"][0].clone();
    assert_eq!((&card["is_read"], &card["is_of_index"]), (&json!(false), &json!(true)));
    assert_eq!(card["connectors"][0]["types"]["indicator"], 1);
    assert_eq!(card["connectors"][0]["bytes"], envelope("a.json").len());
}

#[test]
fn index_that_an_older_airpouch_pruned_is_said_to_be_gone() {
    let world = pruned(&["a.json", "b.json"]);
    in_ledger(&world, "DELETE FROM lookup WHERE batch = 1");
    fs::remove_file(kept(&world, "00000001.", ".index.zst")).unwrap();
    let text = world.run(["log", "--envelope", "a.json", "--site", "importer"]).exits(0);
    text.says("1 batch cannot be looked through: its index was pruned by an older airpouch");
    let report = found(&world, &["--envelope", "a.json"]);
    assert_eq!((&report["searched"]["pruned_by_older"], &report["envelopes"]), (&json!(1), &json!([])));
    world.run(["show", "1", "--site", "importer"]).exits(0).prints("what follows is from its manifest\n");
}

#[test]
fn index_that_was_gone_when_its_batch_was_pruned_is_counted() {
    let world = listing();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    world.sh("rm importer/inbox/*/*.index.zst").exits(0);
    world.import_inbox(&["--keep", "0s"]).exits(0);
    let text = world.run(["log", "--envelope", "a.json", "--site", "importer"]).exits(0);
    text.says("1 batch cannot be looked through: its index was not there when it was pruned");
}

#[test]
fn kept_index_that_was_changed_is_refused_and_not_parsed() {
    let world = pruned(&["a.json"]);
    let index = kept(&world, "", ".index.zst");
    let bytes = fs::read(&index).unwrap();
    // As long as it was, and a frame of zstd: only its digest tells.
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    let mut bomb = zstd::encode_all(&vec![b'\n'; 1 << 20][..], 19).unwrap();
    bomb.resize(bytes.len(), 0);
    for (changed, status, word) in
        [(&changed, 4, "INVALID: "), (&bomb, 4, "INVALID: "), (&bytes[..9].to_vec(), 3, "missing: ")]
    {
        fs::write(&index, changed).unwrap();
        let run = world.run(["log", "--envelope", "a.json", "--site", "importer"]).exits(status);
        run.says(word).says("it was not looked through").says_nothing_of("envelope 1 of batch");
        world.run(["show", "1", "--site", "importer"]).exits(status);
    }
    fs::remove_file(&index).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &index).unwrap();
    let run = world.run(["log", "--envelope", "a.json", "--site", "importer"]).exits(3);
    run.says("it was not looked through");
}

#[test]
fn lone_index_is_no_incomplete_batch() {
    let world = pruned(&["a.json"]);
    assert!(kept(&world, "", ".index.zst").is_file());
    for _ in 0..2 {
        assert_eq!(world.import_inbox(&[]).exits(0).said(), "");
        assert_eq!(world.import(&[]).exits(0).said(), "");
    }
    let status = world.run(["status", "--site", "importer"]).exits(0);
    status.says_nothing_of("incomplete").says_nothing_of("missing");
    // It is brought and delivered once more, and pruned once more.
    world.import(&["--redeliver"]).exits(0).prints("delivered 1 envelope");
    assert!(!inbox_is_empty(&world));
    deliver_and_prune(&world, &[], 0);
    assert!(inbox_is_empty(&world));
    assert_eq!(found(&world, &["--envelope", "a.json"])["envelopes"].as_array().unwrap().len(), 1);
    // A ledger that was lost finds no batch there either.
    for name in ["ledger.db", "ledger.turn"] {
        fs::remove_file(world.path("importer").join(name)).unwrap();
    }
    world.import(&["--new-destination"]).exits(0).prints("delivered 1 envelope");
}

#[test]
fn object_is_found_a_year_of_prunes_later() {
    let names: Vec<String> = (1..=12).map(|month| format!("{month}.json")).collect();
    let world = pruned(&names.iter().map(String::as_str).collect::<Vec<_>>());
    // The third month's object came once more, beside another one.
    let again = json!([{"type": "url", "id": object_of("x"), "value": "http://x/"},
        {"type": "indicator", "id": object_of("3.json"), "name": "again"}]);
    world.put("again.json", &with_objects("again", again));
    world.send(&["--no-overlap"]).exits(0);
    world.import(&["--keep", "0s"]).exits(0);
    let id = object_of("3.json");
    let report = found(&world, &["--object", &id]);
    let envelopes = report["envelopes"].as_array().unwrap();
    let told: Vec<_> =
        envelopes.iter().map(|one| (one["sequence"].as_u64().unwrap(), one["name"].as_str().unwrap())).collect();
    assert_eq!(told, [(3, "3.json"), (13, "again.json")]);
    assert_eq!((&envelopes[0]["has_object"], &envelopes[0]["kept"]), (&json!(null), &json!("none")));
    assert!(envelopes.iter().all(|one| one["state"] == "delivered" && one["delivered_at"].is_string()), "{report}");
    assert_eq!((&report["searched"]["batches"], &report["events"]), (&json!(13), &json!([])));
    let text = world.run(["log", "--object", &id, "--site", "importer"]).exits(0);
    text.prints("3.json").prints("1 of batch 13 of stream");
    let none = found(&world, &["--object", &object_of("no such")]);
    assert_eq!((&none["envelopes"], &none["searched"]["unread_envelopes"]), (&json!([]), &json!(0)));
    assert_eq!(found(&world, &["--object", &id, "--batch", "13"])["envelopes"].as_array().unwrap().len(), 1);
}

#[test]
fn object_of_what_was_held_or_quarantined_is_found_with_what_became_of_it() {
    let world = listing();
    world.put("command.json", &command("command.json"));
    world.put("held.json", &envelope_with("held.json", json!({"applicant_id": null})));
    world.put("broken.json", &envelope_with("broken.json", json!({"connector": {"id": "a"}})));
    world.made("a.json");
    world.send(&["--no-overlap"]).exits_one_of(&[0, 3]);
    world.import(&["--keep", "0s"]).exits(3);
    let state = |name: &str| {
        let report = found(&world, &["--object", &object_of(name)]);
        assert_eq!(report["envelopes"].as_array().unwrap().len(), 1, "{name}: {report}");
        report["envelopes"][0].clone()
    };
    for (name, expected, kept) in [("command.json", "quarantined", "quarantine"), ("held.json", "held", "held")] {
        let one = state(name);
        assert_eq!((&one["state"], &one["has_object"]), (&json!(expected), &json!(true)), "{one}");
        world.import_inbox(&["--keep", "0s"]).exits(0);
        let one = state(name);
        assert_eq!((&one["state"], &one["kept"], &one["has_object"]), (&json!(expected), &json!(kept), &json!(true)));
    }
    let digest = state("command.json")["sha256"].as_str().unwrap().to_owned();
    world.run(["quarantine", "reject", &digest, "--reason", "no", "--site", "importer"]).exits(0);
    assert_eq!(state("command.json")["state"], "rejected");
}

#[test]
fn envelope_with_the_key_of_another_object_is_not_named_where_its_bytes_are_here() {
    let world = listing();
    world.send_new(&["a.json", "b.json"]);
    world.import(&[]).exits(0);
    // Nobody can make two ids with one key here: a list that says so, with its digest, is what a collision would leave.
    let list = kept(&world, "", ".objects");
    let mut bytes = fs::read(&list).unwrap();
    let records = bytes.len() - 24;
    bytes.copy_within(records..records + 8, records + 12);
    for (at, ordinal) in [(records + 11, 1), (records + 23, 2)] {
        bytes[at] = ordinal;
    }
    fs::write(&list, &bytes).unwrap();
    let hex: String = Digest::of(&bytes).to_string();
    in_ledger(&world, &format!("UPDATE lookup SET sha256 = x'{hex}'"));
    let names = |name: &str| {
        let report = found(&world, &["--object", &object_of(name)]);
        report["envelopes"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>()
    };
    let (a, b) = (names("a.json"), names("b.json"));
    assert!((a == ["a.json"] && b.is_empty()) || (b == ["b.json"] && a.is_empty()), "{a:?} {b:?}");
}

#[test]
fn batch_without_a_list_of_objects_is_counted() {
    let world = pruned(&["a.json", "b.json"]);
    in_ledger(&world, "UPDATE lookup SET list = NULL, sha256 = NULL WHERE batch = 1");
    fs::remove_file(world.path("importer/policy.toml")).unwrap();
    world.send_new(&["c.json"]);
    world.import(&[]).exits(0);
    world.run(["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(0);
    let text = world.run(["log", "--object", &object_of("c.json"), "--site", "importer"]).exits(0);
    text.says(
        "2 batches have no list of objects: delivered by an older airpouch, or without objects = true in [record]",
    );
    let report = found(&world, &["--object", &object_of("b.json")]);
    assert_eq!((&report["searched"]["without_list"], &report["searched"]["batches"]), (&json!(2), &json!(1)));
    assert_eq!(report["envelopes"][0]["name"], "b.json");
    let lists = files(&world.path("importer/indexes")).into_iter().filter(|(name, _)| name.ends_with(".objects"));
    assert_eq!(lists.count(), 2, "none is made that is not wanted");
    in_ledger(
        &world,
        "UPDATE lookup SET list = 'too-many' WHERE batch = 2; UPDATE batch SET state = 'whole' WHERE id = 1",
    );
    let text = world.run(["log", "--object", &object_of("b.json"), "--site", "importer"]).exits(0);
    text.says("1 batch has more objects than a list takes").says("1 batch cannot be looked through yet");
}

#[test]
fn list_of_objects_that_was_changed_is_refused_and_not_searched() {
    let world = pruned(&["a.json"]);
    let list = kept(&world, "", ".objects");
    let bytes = fs::read(&list).unwrap();
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() = 9;
    for (changed, status, word) in [
        (changed, 4, "INVALID: "),
        ([&bytes[..], &bytes].concat(), 4, "INVALID: "),
        (bytes[1..].to_vec(), 4, "INVALID: "),
    ] {
        fs::write(&list, changed).unwrap();
        let run = world.run(["log", "--object", &object_of("a.json"), "--site", "importer"]).exits(status);
        run.says(word).says("the list of objects of batch 1").says_nothing_of("a.json");
    }
    fs::remove_file(&list).unwrap();
    let run = world.run(["log", "--object", &object_of("a.json"), "--site", "importer"]).exits(3);
    run.says("missing: the list of objects of batch 1 is missing");
    // A redelivery makes it anew.
    world.import(&["--redeliver"]).exits(0);
    assert_eq!(found(&world, &["--object", &object_of("a.json")])["envelopes"][0]["name"], "a.json");
}

#[test]
fn text_that_is_no_id_of_an_object_is_refused() {
    let world = pruned(&["a.json"]);
    for text in ["indicator", "indicator--1", "../../etc/passwd", "\u{1b}[2J", &object_of("a.json").to_uppercase()] {
        let run = world.run(["log", "--object", text, "--site", "importer"]).exits(2);
        run.says("not the id of a STIX object").says("a type, two hyphens and a UUID").says_nothing_of("\u{1b}");
    }
    let id = object_of("a.json");
    world.run(["log", "--object", &id, "--site", "exporter"]).exits(2).says("ask at the importer");
    world.run(["log", "--object", &id, "--event", "taken", "--site", "importer"]).exits(2);
    world.run(["log", "--object", &id, "--csv", "--site", "importer"]).exits(2);
}

#[test]
fn name_with_commands_for_a_terminal_is_escaped_where_it_is_found() {
    let world = listing();
    let name = "\u{1b}[2J\u{202e}.json";
    world.send_new(&[name]);
    deliver_and_prune(&world, &[], 0);
    for asked in [&["--envelope", name][..], &["--object", &object_of(name)]] {
        let run = world.run([&["log", "--site", "importer"], asked].concat()).exits(0);
        let run = run.prints("\\u{1b}[2J");
        assert!(!run.said().contains(['\u{1b}', '\u{202e}']), "{}", run.said());
    }
}

#[test]
fn list_is_whole_although_the_run_that_began_the_batch_was_cut_off() {
    let world = listing();
    world.send_new(&["a.json", "b.json", "c.json"]);
    world.import(&[]).exits(0);
    let list = fs::read(kept(&world, "", ".objects")).unwrap();
    // Two of three are delivered, and the batch is not done.
    let third = Digest::of(&envelope("b.json"));
    in_ledger(
        &world,
        &format!(
            "UPDATE batch SET state = 'admitted', done_at = NULL; DELETE FROM lookup; DELETE FROM delivered WHERE sha256 = x'{third}'"
        ),
    );
    fs::remove_file(kept(&world, "", ".objects")).unwrap();
    fs::remove_dir_all(world.path("out")).unwrap();
    world.import_inbox(&["--same-destination"]).exits(0).prints("delivered 1 envelope");
    assert_eq!(fs::read(kept(&world, "", ".objects")).unwrap(), list);
}
