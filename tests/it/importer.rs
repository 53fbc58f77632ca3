//! What a user does at the importer, beyond the ordinary day: applicants, policies, destinations, restored sites.

use std::fs;
use std::time::UNIX_EPOCH;

use crate::support::{APPLICANT, HOUR, World, envelope, envelope_with, files};
use serde_json::json;

fn send(world: &World, names: &[&str]) {
    names.iter().for_each(|n| drop(world.made(n)));
    world.send(&[]).exits(0);
}

fn bytes(world: &World) -> Vec<Vec<u8>> {
    world.delivered().into_iter().map(|(_, b)| b).collect()
}

/// An import without the usual mapping.
fn import_as(world: &World, more: &[&str]) -> crate::support::Run {
    world.run(["import", "--to", "dir:out", "--trust", "trust", "--site", "importer"].iter().chain(more))
}

#[test]
fn who_is_mapped_to_nobody_waits_until_somebody_says_who_it_is() {
    let world = World::new();
    send(&world, &["a.json"]);
    import_as(&world, &["medium"]).exits(3).says("held").says(APPLICANT).says("[applicants]");
    fs::remove_dir_all(world.medium()).unwrap();
    world.run(["applicants", "--site", "importer"]).exits(0).says("# 1 envelope");
    // No user has that for an id, and everything in such a name would fail in the worker.
    let no_id = format!("{APPLICANT}=bob@example.org");
    let run = world.run(["applicants", "--write", "--applicant", &no_id, "--site", "importer"]).exits(2);
    run.says("\"bob@example.org\" is not the id of a user").says("a UUID");
    let here = format!("{APPLICANT}=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10");
    world.run(["applicants", "--write", "--applicant", &here, "--site", "importer"]).exits(0);
    import_as(&world, &[]).exits(0).says("delivered 1 envelope, all of them held before,");
    assert_eq!(bytes(&world), [envelope("a.json")], "dir: never changes an applicant");
    assert!(files(&world.path("importer/held")).is_empty());
    world.run(["applicants", "--site", "importer"]).exits(0).says("DIODE_IMPORT_APPLICANT_MAPPINGS=");
}

#[test]
fn an_envelope_that_names_nobody_gets_just_that_value() {
    let world = World::new();
    world.put("null.json", &envelope_with("n", json!({"applicant_id": null})));
    world.send(&[]).exits(0);
    world.import(&[]).exits(3).says("names no applicant");
    world.import_inbox(&["--unmapped", "default=9a1c2e4f-0b3d-4e5f-8a7b-6c5d4e3f2a1b"]).exits(0);
    let text = String::from_utf8(envelope_with("n", json!({"applicant_id": null}))).unwrap();
    let wanted = text.replacen("\"applicant_id\":null", "\"applicant_id\":\"9a1c2e4f-0b3d-4e5f-8a7b-6c5d4e3f2a1b\"", 1);
    assert_eq!(bytes(&world), [wanted.into_bytes()]);
}

#[test]
fn a_second_reason_takes_the_place_of_the_first_one() {
    let world = World::new();
    let connector = json!({"id": "c", "name": "Enricher", "type": "INTERNAL_ENRICHMENT"});
    world.put("e.json", &envelope_with("e", json!({"connector": connector})));
    world.send(&[]).exits(0);
    import_as(&world, &["medium"]).exits(3).says("INTERNAL_ENRICHMENT");
    fs::write(world.path("importer/policy.toml"), "connector_types = [\"EXTERNAL_IMPORT\", \"INTERNAL_ENRICHMENT\"]\n")
        .unwrap();
    import_as(&world, &[]).exits(3).says("is not mapped");
    world.run(["applicants", "--site", "importer"]).exits(0).says(APPLICANT);
    world.import_inbox(&[]).exits(0);
    assert_eq!(world.delivered().len(), 1);
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
    world.run(["quarantine", "list", "--site", "importer"]).exits(0).says(all);
    let listed = world.run(["quarantine", "list", "--json", "--site", "importer"]).exits(0).json();
    assert_eq!(listed["report"]["set_aside"][0]["what"], all);
    let digest = files(&world.path("importer/quarantine"))[0].0[..64].to_owned();
    let reason = fs::read(world.path(format!("importer/quarantine/{digest}.reason.json"))).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&reason).unwrap()["what"], all);
    world.run(["quarantine", "release", &digest, "--reason", "looked", "--site", "importer"]).exits(0).says(all);
    world.import_inbox(&[]).exits(0);
    assert_eq!(world.delivered().len(), 1);
}

#[test]
fn a_release_lifts_what_a_person_was_shown_and_nothing_else() {
    let world = World::new();
    let mut command: serde_json::Value = serde_json::from_slice(&envelope("c")).unwrap();
    command["bundle"]["objects"][0]["opencti_operation"] = json!("delete");
    command["bundle"]["objects"][0]["object_marking_refs"] =
        json!(["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"]);
    world.put("c.json", &serde_json::to_vec(&command).unwrap());
    world.pack(&[]).exits(0).says("the other side will quarantine it");
    world.carry(&[]).exits(0);
    fs::create_dir(world.path("importer")).unwrap();
    fs::write(world.path("importer/policy.toml"), "max_tlp = \"amber\"\n").unwrap();
    world.import(&[]).exits(3).says("delete").says("also: 1 object is marked TLP:RED");
    let digest = files(&world.path("importer/quarantine"))[0].0[..64].to_owned();
    let release =
        |digest: &str| world.run(["quarantine", "release", digest, "--reason", "asked the feed", "--site", "importer"]);
    release(&digest[..4]).exits(2);
    release("00000000").exits(2);
    release(&digest[..8]).exits(0);
    world.import(&[]).exits(3).says("still not delivered").says("TLP:RED");
    fs::write(world.path("importer/policy.toml"), "").unwrap();
    world.import(&[]).exits(0);
    assert_eq!(world.delivered().len(), 1);
    assert!(files(&world.path("importer/quarantine")).is_empty());
}

#[test]
fn a_share_that_is_not_mounted_gets_nothing() {
    let world = World::new();
    send(&world, &["a.json"]);
    world.import(&[]).exits(0);
    fs::rename(world.path("out"), world.path("share")).unwrap();
    send(&world, &["b.json"]);
    world.import(&[]).exits(1).says("is its share mounted?");
    fs::create_dir(world.path("out")).unwrap();
    world.import(&[]).exits(1).says("is its share mounted?");
    assert!(files(&world.path("out")).is_empty());
    fs::remove_dir(world.path("out")).unwrap();
    fs::rename(world.path("share"), world.path("out")).unwrap();
    world.import(&[]).exits(0).says("delivered 1 envelope");
    assert_eq!(world.delivered().len(), 2);
}

#[test]
fn another_destination_is_a_question() {
    let world = World::new();
    send(&world, &["a.json", "b.json"]);
    world.import(&[]).exits(0);
    world.import(&["--to", "dir:out/"]).exits(0);
    world.import(&["--to", "dir:other"]).exits(2).says("--new-destination").says("--same-destination");
    world.import_inbox(&["--to", "dir:missing/other", "--new-destination"]).exits(1);
    world.import(&[]).exits(0);
    world.import_inbox(&["--to", "dir:other", "--new-destination"]).exits(0).says("delivered 2 envelopes");
    world.import_inbox(&["--to", "dir:third", "--same-destination"]).exits(0);
    assert!(files(&world.path("third")).iter().all(|(n, _)| n == ".airpouch"));
    send(&world, &["c.json"]);
    world.import(&["--to", "dir:third"]).exits(0).says("delivered 1 envelope");
}

#[test]
fn what_was_delivered_goes_again_when_it_is_asked_for() {
    let world = World::new();
    send(&world, &["a.json"]);
    world.import(&["--keep", "0s"]).exits(0);
    assert_eq!(fs::read_dir(world.path("importer/inbox")).unwrap().count(), 0, "kept for no time at all");
    world.import_inbox(&["--redeliver"]).exits(0);
    world.import(&["--redeliver"]).exits(0).says("delivered 1 envelope");
    world.import(&[]).exits(0);
    assert_eq!(world.delivered().len(), 1, "under the same name");
}

#[test]
fn those_who_hold_are_told_of_the_gap_at_every_run() {
    let world = World::new();
    send(&world, &["1.json"]);
    world.import(&["--on-gap", "hold"]).exits(0);
    fs::create_dir(world.path("aside")).unwrap();
    send(&world, &["2.json"]);
    for (name, _) in files(&world.medium()).into_iter().filter(|(n, _)| n.contains("-00000002.")) {
        fs::rename(world.medium().join(&name), world.path("aside").join(&name)).unwrap();
    }
    world.made("3.json");
    world.send(&["--no-overlap"]).exits(0);
    world.import(&["--on-gap", "hold"]).exits(3).says("batch 2 has not arrived (1 envelope").says("waits in the inbox");
    world.import_inbox(&["--on-gap", "hold"]).exits(3).says("batch 2 has not arrived");
    assert_eq!(world.delivered().len(), 1);
    for (name, bytes) in files(&world.path("aside")) {
        fs::write(world.medium().join(name), bytes).unwrap();
    }
    world.import(&["--on-gap", "hold"]).exits(0);
    assert_eq!(bytes(&world), ["1.json", "2.json", "3.json"].map(envelope));
}

#[test]
fn times_rise_over_all_runs_whatever_the_clock_says() {
    let world = World::new();
    let (mut last, mut mark) = (None, UNIX_EPOCH);
    for n in 0..3 {
        send(&world, &[&format!("{n}a.json"), &format!("{n}b.json")]);
        world.import(&[]).exits(0);
        if n == 0 {
            // As if the clock had gone back by an hour since: what the ledger keeps counts.
            mark = world.last_time_is_later_by(HOUR);
        }
    }
    // The names follow the stream and the number, so by name they are in the order of delivery.
    for (name, _) in files(&world.path("out")).into_iter().filter(|(n, _)| n.ends_with(".json")) {
        let time = fs::metadata(world.path("out").join(&name)).unwrap().modified().unwrap();
        assert!(last.is_none_or(|l| l < time), "{name}");
        last = Some(time);
    }
    let after_it = |name: &str| fs::metadata(world.path("out").join(name)).unwrap().modified().unwrap() > mark;
    assert_eq!(world.delivered().iter().filter(|(name, _)| after_it(name)).count(), 4, "not by the clock");
    assert_eq!(world.delivered().len(), 6);
}

#[test]
fn findings_are_told_although_the_destination_is_broken() {
    let world = World::new();
    send(&world, &["a.json"]);
    let volume = world.on_medium(".v0001.tar.zst");
    let mut bad = fs::read(&volume).unwrap();
    bad[50] ^= 1;
    fs::write(volume, bad).unwrap();
    world.made("b.json");
    world.send(&["--no-overlap"]).exits(0);
    let run = world.import(&["--to", "dir:nowhere/out", "--json"]).exits(1).json();
    assert_eq!(run["report"]["findings"][0]["code"], "damaged", "{run}");
    assert!(run["error"]["what"].as_str().unwrap().contains("make the destination"), "{run}");
}

#[test]
fn a_policy_lists_pauses_and_bounds() {
    let world = World::new();
    send(&world, &["a.json"]);
    fs::create_dir(world.path("importer")).unwrap();
    let policy = |text: &str| fs::write(world.path("importer/policy.toml"), text).unwrap();
    policy("[connectors]\n\"other\" = \"pass\"\n");
    world.import(&[]).exits(3).says("is not listed");
    policy("[connectors]\n\"43509aab-0310-5f8d-9395-81f36f6d064a\" = \"pause\"\n");
    world.import(&[]).exits(3).says("is paused");
    policy("[connectors]\n\"43509aab-0310-5f8d-9395-81f36f6d064a\" = \"pass\"\n");
    world.import(&[]).exits(0).says("delivered 1 envelope");
    policy("max_tpl = \"red\"\n");
    world.import(&[]).exits(2).says("max_tpl");
}

#[test]
fn one_screen_says_what_waits_and_how_to_settle_it() {
    let world = World::new();
    send(&world, &["1.json"]);
    fs::remove_file(world.on_medium(".v0001.tar.zst")).unwrap();
    world.import(&[]).exits(3).says("is missing");
    let status = world.run(["status", "--site", "importer"]).exits(0);
    status.says("1 incomplete").says("airpouch carry MEDIUM --resend 1");
    world.run(["status", "--site", "exporter"]).exits(0).says("1 carried").says("Example Feed");
    world.run(["status", "--site", "nowhere"]).exits(1).says("no airpouch site here");
}

#[test]
fn times_rise_also_where_the_file_system_keeps_whole_seconds() {
    let world = World::new();
    send(&world, &["1.json", "2.json", "3.json"]);
    // ext2 with small inodes has no room for parts of a second, as FAT and exFAT have not.
    let make = "truncate -s 8M disk && mkfs.ext2 -q -I 128 disk && mkdir seconds && mount -o loop disk seconds";
    let made = std::process::Command::new("sh").args(["-c", make]).current_dir(world.dir.path()).output().unwrap();
    if !made.status.success() {
        println!("SKIP no right to mount a small disk: {}", String::from_utf8_lossy(&made.stderr));
        return;
    }
    let run = world.import(&["--to", "dir:seconds/in"]);
    let times: Vec<_> = files(&world.path("seconds/in"))
        .into_iter()
        .filter(|(name, _)| name.ends_with(".json"))
        .map(|(name, _)| fs::metadata(world.path("seconds/in").join(name)).unwrap().modified().unwrap())
        .collect();
    let unmounted = std::process::Command::new("umount").arg(world.path("seconds")).status().unwrap();
    assert!(unmounted.success());
    run.exits(0).says("delivered 3 envelopes");
    assert_eq!(times.len(), 3);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}
