//! What is held or quarantined, why, and what a release lifts.

use std::fs;

use airpouch::digest::Digest;
use serde_json::{Value, json};

use super::{codes, command, import_as, policy};
use crate::support::{APPLICANT, World, envelope, envelope_with, files};

#[test]
fn held_envelope_with_a_new_reason_is_reported_and_listed_under_it() {
    let world = World::new();
    let connector = json!({"id": "c", "name": "Enricher", "type": "INTERNAL_ENRICHMENT"});
    world.put("e.json", &envelope_with("e", json!({"connector": connector})));
    world.send(&[]).exits(0);
    assert_eq!(codes(&import_as(&world, &["medium", "--json"]).exits(3).json()["report"]), ["connector-type"]);
    let applicants = || world.run(["applicants", "--site", "importer", "--json"]).exits(0).json()["report"].clone();
    assert_eq!(applicants()["unmapped"], json!([]));
    assert_eq!(import_as(&world, &[]).exits(0).said(), "", "that it still waits is no news");
    policy(&world, "connector_types = [\"INTERNAL_ENRICHMENT\"]\n");
    let told = import_as(&world, &["--json"]).exits(3).json()["report"].clone();
    assert_eq!((codes(&told), &told["held_in_all"]), (vec!["applicant"], &json!(1)));
    assert_eq!(applicants()["unmapped"], json!([{"id": APPLICANT, "envelopes": 1}]));
    let listed = world.run(["quarantine", "list", "--site", "importer", "--json"]).exits(0).json();
    assert_eq!(listed["report"]["set_aside"][0]["code"], "applicant");
    let reason = files(&world.path("importer/held")).into_iter().find(|f| f.0.ends_with(".reason.json")).unwrap().1;
    assert_eq!(serde_json::from_slice::<Value>(&reason).unwrap()["code"], "applicant");
    world.import_inbox(&[]).exits(0).prints("delivered 1 envelope");
}

#[test]
fn release_names_one_digest_and_a_reason() {
    let world = World::new();
    let bytes = [command(&world, "c1.json"), command(&world, "c2.json")];
    world.send(&[]).exits(0);
    world.import(&[]).exits(3).says("quarantined");
    let digest = Digest::of(&bytes[0]).to_string();
    let release = |digest: &str, reason: &str| {
        world.run(["quarantine", "release", digest, "--reason", reason, "--site", "importer"])
    };
    release(&digest[..7], "x").exits(2).says("at least eight digits");
    release("", "x").exits(2);
    release(&"0".repeat(64), "x").exits(2).says("airpouch quarantine list");
    release(&digest, " ").exits(2).says("needs a reason");
    world.run(["quarantine", "release", &digest, "--site", "importer"]).exits(2).says("--reason");
    release(&digest[..8], "asked the feed's owner").exits(0).prints(&digest);
    release(&digest, "twice").exits(2);
    let told = world.import_inbox(&["--json"]).exits(0).json()["report"].clone();
    assert_eq!((&told["released"], &told["quarantined_in_all"]), (&json!(1), &json!(1)));
    assert_eq!(world.delivered()[0].1, bytes[0]);
    assert_eq!(world.delivered().len(), 1);
    assert_eq!(world.import_inbox(&[]).exits(0).said(), "", "once");
    let kept: Vec<_> = files(&world.path("importer/quarantine")).into_iter().map(|f| f.0[..8].to_owned()).collect();
    assert_eq!(kept, vec![Digest::of(&bytes[1]).to_string()[..8].to_owned(); 2], "the envelope and its reason");
}

#[test]
fn release_by_an_ambiguous_digest_is_refused() {
    let world = World::new();
    command(&world, "c.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    // Two digests that begin alike are made up in the ledger: nobody finds two in a test's time.
    let twin = "sqlite3 importer/ledger.db \"INSERT INTO set_aside (sha256, kind, code, what, place, batch, ordinal, name, connector, connector_name, applicant, reason, mtime) SELECT CAST(substr(sha256, 1, 30) || x'0000' AS BLOB), kind, code, what, place, batch, ordinal, name, connector, connector_name, applicant, reason, mtime FROM set_aside\"";
    world.sh(twin).exits(0);
    let name = files(&world.path("importer/quarantine"))[0].0[..64].to_owned();
    let release = |digest: &str| world.run(["quarantine", "release", digest, "--reason", "x", "--site", "importer"]);
    release(&name[..8]).exits(2).says("several digests");
    release(&name).exits(0);
}

#[test]
fn released_envelope_is_still_held_by_the_sites_settings() {
    let world = World::new();
    let bytes = command(&world, "c.json");
    world.send(&[]).exits(0).says("the other side will quarantine it");
    policy(&world, "max_tlp = \"amber\"\n");
    world.import(&[]).exits(3).says("also: 1 object is marked TLP:RED");
    let digest = Digest::of(&bytes).to_string();
    world.run(["quarantine", "release", &digest, "--reason", "looked", "--site", "importer"]).exits(0);
    let told = world.import_inbox(&["--json"]).exits(3).json()["report"].clone();
    assert_eq!((codes(&told), &told["quarantined_in_all"]), (vec!["tlp"], &json!(1)));
    let what = told["findings"][0]["what"].as_str().unwrap();
    assert!(what.contains("still not delivered") && what.contains("TLP:RED"), "{what}");
    assert!(world.delivered().is_empty());
    policy(&world, "");
    import_as(&world, &[]).exits(3).says("is not mapped");
    world.import_inbox(&[]).exits(0).prints("delivered 1 envelope");
    assert!(files(&world.path("importer/quarantine")).is_empty());
}

/// Feeds put a harmless operation first, so that a person who looks at one reason releases the others unseen.
#[test]
fn release_of_several_commands_shows_each_of_them_before_and_at_the_release() {
    let world = World::new();
    let mut several: serde_json::Value = serde_json::from_slice(&envelope("c")).unwrap();
    several["bundle"]["objects"] = json!([
        {"type": "malware", "id": "malware--1", "name": "x", "opencti_operation": "enrichment"},
        {"type": "identity", "id": "identity--2", "name": "admin", "opencti_operation": "add_groups"},
        {"type": "user", "id": "user--3", "name": "y"},
        {"type": "malware", "id": "malware--4", "name": "z", "opencti_operation": "delete_force"},
    ]);
    world.put("c.json", &serde_json::to_vec(&several).unwrap());
    let all = "objects[3] malware--4 carries opencti_operation \"delete_force\"; also: \
        objects[1] identity--2 carries opencti_operation \"add_groups\"; \
        objects[0] malware--1 carries opencti_operation \"enrichment\"; \
        objects[2] user--3 is of the internal type user";
    world.pack(&[]).exits(0).says(all);
    world.carry(&[]).exits(0);
    fs::write(world.path("policy.toml"), "").unwrap();
    world.run(["verify", "medium", "--trust", "trust", "--policy", "policy.toml"]).exits(3).says(all);
    world.import(&[]).exits(3).says(all);
    world.run(["quarantine", "list", "--site", "importer"]).exits(0).prints(all);
    let listed = world.run(["quarantine", "list", "--json", "--site", "importer"]).exits(0).json();
    assert_eq!(listed["report"]["set_aside"][0]["what"], all);
    let digest = files(&world.path("importer/quarantine"))[0].0[..64].to_owned();
    let reason = fs::read(world.path(format!("importer/quarantine/{digest}.reason.json"))).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&reason).unwrap()["what"], all);
    world.run(["quarantine", "release", &digest, "--reason", "looked", "--site", "importer"]).exits(0).prints(all);
    world.import_inbox(&[]).exits(0);
    assert_eq!(world.delivered().len(), 1);
}
