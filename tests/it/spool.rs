//! The spool: what lies in it, in whose name, in which order, and what does not come there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use serde_json::{Value, json};

use crate::support::{APPLICANT, Unjudged, World, envelope_with, files, finish};

const HERE: &str = "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10";
const FEED: &str = "43509aab-0310-5f8d-9395-81f36f6d064a";

fn import(world: &World, more: &[&str]) -> Unjudged {
    let mapped = format!("{APPLICANT}={HERE}");
    let words = ["import", "--to", "spool:spool", "--trust", "trust", "--site", "importer", "--applicant", &mapped];
    finish(world.command().args(words).args(more))
}

fn send(world: &World) -> Unjudged {
    world.send(&["--no-overlap"]).exits(0);
    import(world, &["medium"])
}

/// The messages of a connector by their number.
fn messages(world: &World, connector: &str) -> BTreeMap<String, Value> {
    let all = files(&world.path("spool").join(connector));
    let numbered = all.into_iter().filter(|(name, _)| name != "connector.json");
    numbered.map(|(name, bytes)| (name, serde_json::from_slice(&bytes).unwrap())).collect()
}

fn bundle_of(message: &Value) -> Value {
    let content = base64::engine::general_purpose::STANDARD.decode(message["content"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&content).unwrap()
}

fn objects(objects: Value) -> Value {
    json!({"type": "bundle", "id": "bundle--00000000-0000-4000-8000-000000000001", "objects": objects})
}

fn web() -> Value {
    objects(json!([
        {"type": "report", "id": "report--1", "object_refs": ["tool--1", "x-foo--1"]},
        {"type": "tool", "id": "tool--1"},
        {"type": "x-foo", "id": "x-foo--1"}
    ]))
}

#[test]
fn a_connector_is_registered_and_its_messages_are_numbered() {
    let world = World::new();
    let fields = json!({"bundle": web(), "entities_types": "tool,report", "update": true});
    world.put("a.json", &envelope_with("a", fields));
    let run = send(&world).exits(0).prints("delivered 1 envelope in 2 messages to spool:");
    run.prints("skipped 1 incompatible object");
    let registration = fs::read(world.path("spool").join(FEED).join("connector.json")).unwrap();
    let registration: Value = serde_json::from_slice(&registration).unwrap();
    let wanted = json!({"id": FEED, "name": "Example Feed", "type": "EXTERNAL_IMPORT", "scope": ["indicator", "report"],
        "auto": false, "only_contextual": false, "playbook_compatible": false});
    assert_eq!(registration, wanted);
    let messages = messages(&world, FEED);
    assert_eq!(messages.keys().collect::<Vec<_>>(), ["000000000001.json", "000000000002.json"]);
    for (at, message) in messages.values().enumerate() {
        let said = |key: &str| message[key].clone();
        assert_eq!(said("bundle_type"), "QUEUE_BUNDLE");
        assert_eq!(said("applicant_id"), HERE, "never the id of the other side");
        assert_eq!((said("action_sequence"), said("entities_types")), (json!(at + 1), json!("tool,report")));
        assert_eq!((said("update"), said("draft_id"), said("no_split")), (json!(true), Value::Null, json!(false)));
        assert!(message.get("work_id").is_none(), "a work is opened by whoever sends it on");
    }
    let ids: Vec<_> = messages.values().map(|m| bundle_of(m)["objects"][0]["id"].clone()).collect();
    assert_eq!(ids, ["tool--1", "report--1"], "dependencies first");
    let again = import(&world, &["medium"]).exits(0);
    assert_eq!(again.said(), "");
}

#[test]
fn numbers_rise_over_all_connectors_and_are_never_given_again() {
    let world = World::new();
    let second = json!({"id": "second", "name": "Second Feed", "type": "EXTERNAL_IMPORT", "scope": null});
    world.made("a.json");
    world.put("b.json", &envelope_with("b", json!({"connector": second, "bundle": web()})));
    world.made("c.json");
    send(&world).exits(0);
    let names = |connector: &str| messages(&world, connector).into_keys().collect::<Vec<_>>();
    assert_eq!(names(FEED), ["000000000001.json", "000000000004.json"]);
    assert_eq!(names("second"), ["000000000002.json", "000000000003.json"]);
    // Sent on and gone: the next one goes on all the same.
    fs::remove_dir_all(world.path("spool")).unwrap();
    world.made("d.json");
    send(&world).exits(0);
    assert_eq!(names(FEED), ["000000000005.json"]);
    // A site that knows nothing of it writes over nothing that is there.
    fs::remove_dir_all(world.path("importer")).unwrap();
    world.made("e.json");
    world.send(&[]).exits(0);
    import(&world, &["medium"]).exits(0).prints("delivered 5 envelopes");
    assert_eq!(
        names(FEED),
        ["000000000005.json", "000000000006.json", "000000000009.json", "000000000010.json", "000000000011.json"]
    );
}

#[test]
fn connector_whose_name_alternates_is_registered_under_its_last_name() {
    let world = World::new();
    let named =
        |name: &str| json!({"id": FEED, "name": name, "type": "EXTERNAL_IMPORT", "scope": ["a "], "auto": true});
    world.put("1.json", &envelope_with("1", json!({"connector": named("Feed")})));
    world.put("2.json", &envelope_with("2", json!({"connector": named("Feed (Premium)")})));
    send(&world).exits(0);
    let registration = || -> Value {
        serde_json::from_slice(&fs::read(world.path("spool").join(FEED).join("connector.json")).unwrap()).unwrap()
    };
    assert_eq!((&registration()["name"], &registration()["scope"]), (&json!("Feed (Premium)"), &json!(["a"])));
    assert_eq!(registration()["auto"], true);
    world.put("3.json", &envelope_with("3", json!({"connector": named("Feed")})));
    send(&world).exits(0);
    assert_eq!(registration()["name"], "Feed");
}

#[test]
fn bundle_that_pycti_raises_on_is_quarantined_with_object_and_key() {
    let world = World::new();
    let raising = objects(json!([{"type": "malware", "id": "malware--1"},
        {"type": "relationship", "id": "relationship--7", "target_ref": "malware--1"}]));
    world.put("a.json", &envelope_with("a", json!({"bundle": raising})));
    let marking =
        objects(json!([{"type": "malware", "id": "malware--1", "object_marking_refs": "marking-definition--1"}]));
    world.put("b.json", &envelope_with("b", json!({"bundle": marking})));
    world.made("c.json");
    world.send(&["--no-overlap"]).exits(0);
    let run = import(&world, &["medium", "--all"]).exits(3).prints("delivered 1 envelope in 1 message");
    run.says("object 1 (relationship--7) is a relationship without source_ref").says("object_marking_refs");
    let listed = world.run(["quarantine", "list", "--site", "importer", "--json"]).exits(0).json();
    let places: Vec<_> =
        listed["report"]["set_aside"].as_array().unwrap().iter().map(|a| a["pointer"].clone()).collect();
    assert_eq!(places, ["/bundle/objects/1/source_ref", "/bundle/objects/0/object_marking_refs"]);
}

#[test]
fn released_envelope_with_duplicate_keys_is_delivered_as_python_reads_it() {
    let world = World::new();
    let text = String::from_utf8(envelope_with("a", json!({}))).unwrap();
    let twice = text.replacen("\"name\":\"a\"", "\"name\":\"first\",\"x\":{\"k\":1,\"k\":2},\"name\":\"last\"", 1);
    assert_ne!(twice, text);
    world.put("a.json", twice.as_bytes());
    send(&world).exits(3).prints("1 envelope quarantined").says("has the key \"k\" twice (and 1 more of this kind)");
    let digest = airpouch::digest::Digest::of(twice.as_bytes()).to_string();
    world.run(["quarantine", "release", &digest, "--reason", "looked", "--site", "importer"]).exits(0);
    import(&world, &[]).exits(0).prints("delivered 1 envelope");
    let object = bundle_of(&messages(&world, FEED)["000000000001.json"])["objects"][0].clone();
    assert_eq!((&object["name"], &object["x"]), (&json!("last"), &json!({"k": 2})));
}

#[test]
fn envelope_for_manual_validation_is_held() {
    let world = World::new();
    let connector = json!({"id": FEED, "name": "Feed", "type": "EXTERNAL_IMPORT", "validate_before_import": true});
    world.put("a.json", &envelope_with("a", json!({"connector": connector})));
    send(&world).exits(3).says("validate").prints("1 envelope held");
    assert!(!world.path("spool").join(FEED).exists());
}

#[test]
fn bundle_without_compatible_objects_delivers_nothing() {
    let world = World::new();
    world.put("a.json", &envelope_with("a", json!({"bundle": objects(json!([]))})));
    world.put("b.json", &envelope_with("b", json!({"bundle": objects(json!([{"type": "x-foo", "id": "x-foo--1"}]))})));
    send(&world).exits(0).prints("2 envelopes with nothing to deliver").prints("skipped 1 incompatible object");
    assert_eq!(import(&world, &["medium"]).exits(0).said(), "");
}

#[test]
fn foreign_file_in_the_spool_is_not_overwritten() {
    let world = World::new();
    send(&world).exits(3);
    fs::create_dir_all(world.path("spool").join(FEED)).unwrap();
    fs::set_permissions(world.path("spool"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(world.path("spool").join(FEED).join("000000000007.json"), "\"another's\"").unwrap();
    fs::write(world.path("spool").join(FEED).join("000000000009.json.partial"), "another's").unwrap();
    fs::write(world.path("spool").join("notes.txt"), "mine").unwrap();
    world.made("a.json");
    send(&world).exits(0);
    let names: Vec<_> = messages(&world, FEED).into_keys().collect();
    assert_eq!(names, ["000000000007.json", "000000000008.json"], "what a broken run left is swept away");
}

#[test]
fn many_threads_make_the_same_spool() {
    let world = World::new();
    for n in 0..40 {
        world.put(&format!("{n:02}.json"), &envelope_with("", json!({"bundle": web(), "note": n})));
    }
    world.send(&[]).exits(0);
    import(&world, &["medium", "--threads", "1"]).exits(0);
    let one = messages(&world, FEED);
    fs::rename(world.path("spool"), world.path("spool-1")).unwrap();
    fs::remove_dir_all(world.path("importer")).unwrap();
    import(&world, &["medium", "--threads", "4"]).exits(0);
    assert_eq!(messages(&world, FEED), one);
    assert_eq!(one.len(), 80);
}

#[test]
fn foreign_files_in_the_spool_stop_no_delivery() {
    let world = World::new();
    world.made("a.json");
    fs::create_dir_all(world.path("spool/lost+found")).unwrap();
    fs::write(world.path("spool/lost+found/000000000003.json.partial"), "not ours").unwrap();
    fs::create_dir_all(world.path("spool/x")).unwrap();
    fs::write(world.path("spool/x/9223372036854775807.json"), "{}").unwrap();
    fs::set_permissions(world.path("spool"), fs::Permissions::from_mode(0o700)).unwrap();
    send(&world).exits(0);
    assert!(world.path("spool/lost+found/000000000003.json.partial").exists());
    assert_eq!(messages(&world, FEED).into_keys().collect::<Vec<_>>(), ["000000000001.json"]);
    // A link or a file where a connector's directory belongs is neither followed nor written over.
    fs::remove_dir_all(world.path("spool").join(FEED)).unwrap();
    std::os::unix::fs::symlink(world.path("medium"), world.path("spool").join(FEED)).unwrap();
    world.made("b.json");
    send(&world).exits(3).says("something else than a directory").says("move that away");
    fs::remove_file(world.path("spool").join(FEED)).unwrap();
    import(&world, &[]).exits(0).prints("delivered 1 envelope");
}

#[test]
fn numbers_of_a_spool_do_not_continue_the_times_of_a_directory() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    import(&world, &["medium", "--to", "dir:out"]).exits(0);
    import(&world, &["--same-destination"]).exits(2).says("no other address of that");
    import(&world, &["--new-destination"]).exits(0).prints("delivered 1 envelope");
    assert_eq!(messages(&world, FEED).into_keys().collect::<Vec<_>>(), ["000000000001.json"]);
}

#[test]
fn id_that_no_user_can_have_is_in_no_message() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    import(&world, &["medium", "--unmapped", "default=a b"]).exits(2).says("is not the id of a user");
    fs::create_dir_all(world.path("importer")).unwrap();
    fs::write(world.path("importer/airpouch.toml"), format!("[applicants]\n\"{APPLICANT}\" = \" {HERE}\\n\"\n"))
        .unwrap();
    let words = ["import", "medium", "--to", "spool:spool", "--trust", "trust", "--site", "importer"];
    world.run(words).exits(0);
    assert_eq!(messages(&world, FEED)["000000000001.json"]["applicant_id"], HERE);
}
