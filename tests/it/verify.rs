//! Verifying as a user meets it: any machine, public keys, and a stick.

use std::fs;
use std::process::Command;

use crate::support::{World, envelope, envelope_with, files, finish};
use airpouch::trust::PrivateKey;
use serde_json::{Value, json};

fn codes(report: &Value) -> Vec<String> {
    report["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn whole_batch_is_listed_with_content_and_signer() {
    let world = World::new();
    world.send_new(&["a.json", "b.json"]);
    fs::write(world.path("trust/trust.toml"), "[[key]]\nfile = \"site-a.pub.pem\"\nwho = \"Site A, exporter\"\n")
        .unwrap();
    world
        .verify(&[])
        .exits(0)
        .prints("holds: batch 1 of stream")
        .prints("for zone default: 2 envelopes")
        .prints("Site A, exporter");
    fs::write(world.medium().join("holiday.jpg"), b"x").unwrap();
    let document = world.verify(&["--json"]).exits(0).json();
    assert_eq!((&document["verb"], &document["exit"]), (&json!("verify"), &json!(0)));
    let report = &document["report"];
    assert_eq!((&report["other_files"], &report["findings"]), (&json!(1), &json!([])));
    let whole = &report["whole"][0];
    assert_eq!((&whole["sequence"], &whole["envelopes"], &whole["zone"]), (&json!(1), &json!(2), &json!("default")));
    assert_eq!(whole["signers"], json!(["Site A, exporter"]));
    let head = whole["sha256"].as_str().unwrap()[..8].to_uppercase();
    assert_eq!(whole["head"]["code"], format!("{}-{}", &head[..4], &head[4..]));
}

#[test]
fn verify_needs_no_home_and_no_site_and_writes_nothing() {
    let world = World::new();
    world.send_new(&["a.json"]);
    let times = |world: &World| world.sh("find . -printf '%p %T@ %s\\n' | sort").exits(0).stdout;
    let before = times(&world);
    let mut command = Command::new(env!("CARGO_BIN_EXE_airpouch"));
    command.args(["verify", "medium", "--trust", "trust"]).env_clear().current_dir(world.dir.path());
    finish(&mut command).exits(0).prints("holds: batch 1");
    assert_eq!(times(&world), before);
}

#[test]
fn batch_of_another_zone_is_reported_and_not_called_invalid() {
    let world = World::new();
    world.made("a.json");
    world.send(&["--zone", "red"]).exits(0);
    world.verify(&[]).exits(0).prints("for zone red");
    world.verify(&["--zone", "red"]).exits(0);
    let run = world.verify(&["--zone", "blue"]).exits(3);
    run.says("batch 1 is meant for zone red; this is zone blue").says_nothing_of("holds").says_nothing_of("INVALID");
    assert_eq!(codes(&world.verify(&["--zone", "blue", "--json"]).exits(3).json()["report"]), ["wrong-zone"]);
    world.verify(&["--zone", "No Zone"]).exits(2).says("invalid zone");
}

#[test]
fn policy_is_applied_by_verify_before_import() {
    let world = World::new();
    let marked = |name: &str, marking: &str| {
        let mut value: Value = serde_json::from_slice(&envelope(name)).unwrap();
        value["bundle"]["objects"][0]["object_marking_refs"] = json!([marking]);
        world.put(name, &serde_json::to_vec(&value).unwrap());
    };
    marked("red.json", "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed");
    marked("green.json", "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da");
    let mut command: Value = serde_json::from_slice(&envelope("delete.json")).unwrap();
    command["bundle"]["objects"][0]["opencti_operation"] = json!("delete");
    world.put("delete.json", &serde_json::to_vec(&command).unwrap());
    world.send(&[]).exits(0);
    fs::write(world.path("amber.toml"), "max_tlp = \"amber\"\n").unwrap();
    fs::write(world.path("none.toml"), "").unwrap();
    world.verify(&[]).exits(0).says_nothing_of("would be");
    let run = world.verify(&["--policy", "none.toml"]).exits(3).says("would be quarantined").says("at delete.json");
    run.says_nothing_of("would be held").prints("holds: batch 1");
    let run = world
        .verify(&["--policy", "amber.toml"])
        .exits(3)
        .says("would be held: 1 object is marked TLP:RED")
        .says("at red.json");
    run.says_nothing_of("green.json");
    let report = world.verify(&["--policy", "amber.toml", "--json"]).exits(3).json()["report"].clone();
    assert_eq!(codes(&report), ["tlp", "command"]);
    assert!(report["whole"][0]["envelopes"] == 3);
    world.verify(&["--policy", "absent.toml"]).exits(2).says("there is no such policy");
    fs::write(world.path("wrong.toml"), "\n\nmax_tpl = \"red\"\n").unwrap();
    world.verify(&["--policy", "wrong.toml"]).exits(2).says("line 3").says("max_tpl");
}

#[test]
fn medium_without_a_batch_is_not_called_valid() {
    let world = World::new();
    world.verify(&[]).exits(3).says("there is no batch on this medium");
    fs::write(world.medium().join("holiday.jpg"), b"x").unwrap();
    let report = world.verify(&["--json"]).exits(3).json()["report"].clone();
    assert_eq!(
        (codes(&report), &report["whole"], &report["other_files"]),
        (vec!["no-batch".into()], &json!([]), &json!(1))
    );
    world.run(["verify", "absent", "--trust", "trust"]).exits(1).says("absent").says("mount it");
    world.run(["verify", "medium", "--trust", "absent"]).exits(2).says("absent").says("--trust DIR");
    fs::create_dir(world.path("empty")).unwrap();
    world.run(["verify", "medium", "--trust", "empty"]).exits(2);
    world.run(["verify", "medium"]).exits(2).says("--trust");
}

#[test]
fn batches_of_two_exporters_on_one_medium_are_each_judged_by_their_own_key() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.key("site-b", [9; 32]);
    fs::create_dir(world.path("other")).unwrap();
    let feed_b = json!({"id": "4c1f0a8e-2b0e-4a57-9f0a-6b1d1c2e3f40", "name": "Other Feed", "type": "EXTERNAL_IMPORT"});
    let made_by_b = |name: &str| envelope_with(name, json!({"connector": feed_b}));
    fs::write(world.path("other/b.json"), made_by_b("b.json")).unwrap();
    let send_b = ["pack", "other", "medium", "--key", "keys/site-b.key.pem", "--site", "exporter-b"];
    world.run(send_b).exits(0).prints("SAFE TO REMOVE");
    let report = world.verify(&["--json"]).exits(0).json()["report"].clone();
    let signers: Vec<_> = report["whole"].as_array().unwrap().iter().map(|w| w["signers"][0].clone()).collect();
    assert_eq!(signers.len(), 2);
    assert_ne!(signers[0], signers[1]);
    // Each carries again, past the other's files.
    world.send_new(&["a2.json"]);
    fs::write(world.path("other/b2.json"), made_by_b("b2.json")).unwrap();
    world.run(send_b).exits(0);
    world.import(&[]).exits(0).prints("delivered 4 envelopes");
    fs::remove_file(world.path("trust/site-b.pub.pem")).unwrap();
    let report = world.verify(&["--json"]).exits(4).json()["report"].clone();
    assert_eq!((codes(&report), report["whole"].as_array().unwrap().len()), (vec!["unknown-key".to_owned(); 2], 2));
}

#[test]
fn renewed_stream_is_valid_under_a_key_that_is_limited_to_the_old_one() {
    let world = World::new();
    world.send_new(&["a.json"]);
    let stream = world.verify(&["--json"]).exits(0).json()["report"]["whole"][0]["stream"].as_str().unwrap().to_owned();
    let rules = format!("[[key]]\nfile = \"site-a.pub.pem\"\nstreams = [\"{stream}\"]\n");
    fs::write(world.path("trust/trust.toml"), rules).unwrap();
    world.verify(&[]).exits(0);
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    world.send_new(&["b.json"]);
    let report = world.verify(&["--json"]).exits(0).json()["report"].clone();
    assert_eq!(report["whole"].as_array().unwrap().len(), 2);
    world.import(&[]).exits(0).prints("delivered 2 envelopes");
    // A third one, and a stick that bears only the newest two.
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    world.send_new(&["c.json"]);
    world.verify(&[]).exits(0);
    world.import(&[]).exits(0).prints("delivered 1 envelope");
    // A stream that nobody succeeds to is another matter.
    let other = ["pack", "src", "medium", "--key", "keys/site-a.key.pem", "--site", "exporter-2"];
    world.run(other).exits(0);
    assert_eq!(codes(&world.verify(&["--json"]).exits(4).json()["report"]), ["not-allowed"]);
    world.import(&[]).exits(4).says("trust.toml");
}

#[test]
fn batch_with_one_of_two_signatures_is_incomplete() {
    let world = World::new();
    world.key("site-b", [9; 32]);
    let rules = "need = 2\n[[key]]\nfile = \"site-a.pub.pem\"\n[[key]]\nfile = \"site-b.pub.pem\"\n";
    fs::write(world.path("trust/trust.toml"), rules).unwrap();
    world.send_new(&["a.json"]);
    let report = world.verify(&["--json"]).exits(3).json()["report"].clone();
    assert_eq!((codes(&report), &report["whole"]), (vec!["too-few-signatures".into()], &json!([])));
    world.verify(&[]).exits(3).says("is signed by 1 of the 2").says_nothing_of("INVALID");
    // The other officer signs the manifest by hand, and lays the signature beside it.
    let id = PrivateKey::from_seed([9; 32]).public().id();
    let sign = format!(
        "cd medium && for m in *.manifest; do openssl pkeyutl -sign -inkey ../keys/site-b.key.pem -rawin -in $m -out ${{m%.manifest}}.{id}.sig; done"
    );
    world.sh(&sign).exits(0);
    world.verify(&[]).exits(0).prints("signed by").prints(" and ");
    world.import(&[]).exits(0).prints("delivered 1 envelope");
}

#[test]
fn key_is_valid_up_to_its_end_in_trust_toml() {
    let world = World::new();
    world.send_new(&["a.json"]);
    let stream = world.verify(&["--json"]).exits(0).json()["report"]["whole"][0]["stream"].as_str().unwrap().to_owned();
    world.send_new(&["b.json"]);
    world.key("site-b", [9; 32]);
    let rules = |until: u64| {
        let text = format!(
            "[[key]]\nfile = \"site-b.pub.pem\"\n[[key]]\nfile = \"site-a.pub.pem\"\nstreams = [\"{stream}\"]\nuntil = {until}\n"
        );
        fs::write(world.path("trust/trust.toml"), text).unwrap();
    };
    rules(1);
    let run = world.verify(&[]).exits(4).prints("holds: batch 1");
    run.says("batch 2 of stream").says_nothing_of("holds: batch 2");
    world.import(&[]).exits(4);
    assert_eq!(world.delivered().len(), 1);
    rules(0);
    world.verify(&[]).exits(4).says_nothing_of("holds");
    rules(2);
    world.verify(&[]).exits(0).prints("holds: batch 2");
}

#[test]
fn the_published_test_keys_are_no_trust_store() {
    let world = World::new();
    world.send_new(&["a.json"]);
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/keys");
    world.run(["verify", "medium", "--trust", keys]).exits(2).says("--test-keys");
    world.run(["import", "medium", "--to", "dir:out", "--trust", keys, "--site", "importer"]).exits(2);
    assert!(!world.path("importer/ledger.db").exists());
}

#[test]
fn worst_finding_decides_the_exit_status() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.made("b.json");
    world.put("c.json", &envelope_with("c", json!({"update": "more"})));
    world.send(&["--no-overlap"]).exits(0);
    // Batch 1 has lost a file, batch 2 has a false one.
    let of = |number: &str, end: &str| {
        let found = files(&world.medium()).into_iter().map(|f| f.0).find(|n| n.contains(number) && n.ends_with(end));
        world.medium().join(found.unwrap())
    };
    fs::remove_file(of("-00000001.", ".v0001.tar.zst")).unwrap();
    world.verify(&[]).exits(3).says("is missing").says("airpouch carry MEDIUM --resend 1").prints("holds: batch 2");
    let path = of("-00000002.", ".v0001.tar.zst");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    let report = world.verify(&["--json"]).exits(4).json()["report"].clone();
    assert_eq!((codes(&report), &report["whole"]), (vec!["incomplete".to_owned(), "damaged".into()], &json!([])));
}
