//! The quarantine as an officer works with it: what is there, since when, what was decided about it, by whom and why.

use std::fs;

use airpouch::digest::Digest;
use serde_json::{Value, json};

use crate::support::{APPLICANT, Unjudged, World, envelope, envelope_with, files, finish};

/// An applicant that nobody is mapped to.
const STRANGER: &str = "5f2b8e4c-9d31-4a6b-8a59-2f6f5f0c7b11";

/// Puts an envelope whose object asks the platform to delete something into the source; says its digest.
fn command(world: &World, name: &str) -> String {
    let mut value: Value = serde_json::from_slice(&envelope(name)).unwrap();
    value["bundle"]["objects"][0]["opencti_operation"] = json!("delete");
    put(world, name, &serde_json::to_vec(&value).unwrap())
}

fn put(world: &World, name: &str, bytes: &[u8]) -> String {
    world.put(name, bytes);
    Digest::of(bytes).to_string()
}

/// A site in which these commands are quarantined; their digests.
fn with_commands(names: &[&str]) -> (World, Vec<String>) {
    let world = World::new();
    let digests = names.iter().map(|name| command(&world, name)).collect();
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    (world, digests)
}

fn quarantine(world: &World, words: &[&str]) -> Unjudged {
    world.run(["quarantine"].iter().chain(words).chain(&["--site", "importer"]))
}

fn listed(world: &World, words: &[&str]) -> Vec<Value> {
    let list = quarantine(world, &[&["list", "--json"], words].concat()).exits(0).json();
    list["report"]["set_aside"].as_array().unwrap().clone()
}

fn events(world: &World, event: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.path("importer/journal.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == event).collect()
}

fn policy(world: &World, site: &str, text: &str) {
    fs::create_dir_all(world.path(site)).unwrap();
    fs::write(world.path(site).join("policy.toml"), text).unwrap();
}

fn in_ledger(world: &World, sql: &str) {
    rusqlite::Connection::open(world.path("importer/ledger.db")).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn list_of_five_hundred_is_counted_by_reason_and_connector_and_narrowed() {
    let world = World::new();
    let other = json!({"id": "other-feed", "name": "Other Feed", "type": "EXTERNAL_IMPORT"});
    for at in 0..500 {
        let name = format!("{at:03}.json");
        let connector = if at % 5 == 0 { json!({"connector": other}) } else { json!({}) };
        let mut fields = json!({"applicant_id": STRANGER});
        fields.as_object_mut().unwrap().extend(connector.as_object().unwrap().clone());
        world.put(&name, &envelope_with(&name, fields));
    }
    let digest = command(&world, "command.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    let list = || quarantine(&world, &["list"]).exits(0);
    list().prints(
        "quarantined command: 1 envelope of Example Feed (43509aab-0310-5f8d-9395-81f36f6d064a), the oldest set",
    );
    list()
        .prints("held applicant: 400 envelopes of Example Feed")
        .prints("held applicant: 100 envelopes of Other Feed (other");
    list()
        .prints("run `airpouch applicants --site importer`")
        .prints("list --site importer --all --quarantined --code command --connector");
    list().prints("501 envelopes in 3 groups").says_nothing_of("001.json");
    assert_eq!(listed(&world, &[]).len(), 501);
    let all = quarantine(&world, &["list", "--all"]).exits(0);
    assert_eq!(all.stdout.matches(" of batch 1\n").count(), 501);
    // A few are listed one by one, and counted if that is asked for.
    quarantine(&world, &["list", "--quarantined"]).exits(0).prints(&digest[..8]).says_nothing_of("group");
    quarantine(&world, &["list", "--code", "command", "--groups"]).exits(0).prints("1 envelope in 1 group");
    for (words, number) in [
        (&["--held"][..], 500),
        (&["--held", "--quarantined"], 501),
        (&["--released"], 0),
        (&["--connector", "Other Feed"], 100),
        (&["--connector", "other-feed", "--quarantined"], 0),
        (&["--code", "applicant", "--connector", "Example Feed"], 400),
        (&["--older-than", "7d"], 0),
    ] {
        assert_eq!(listed(&world, words).len(), number, "{words:?}");
        let groups = quarantine(&world, &[&["list", "--json", "--groups"], words].concat()).exits(0).json();
        let counted =
            groups["report"]["groups"].as_array().unwrap().iter().map(|group| group["envelopes"].as_u64().unwrap());
        assert_eq!(counted.sum::<u64>(), number as u64, "{words:?}");
        assert_eq!(groups["report"]["set_aside"], json!([]));
    }
    quarantine(&world, &["list", "--older-than", "7d"]).exits(0).says("there is no such envelope");
    in_ledger(
        &world,
        "UPDATE set_aside SET at = at - 864000 WHERE ordinal <= 50; UPDATE set_aside SET at = NULL WHERE ordinal = 51",
    );
    assert_eq!(
        listed(&world, &["--older-than", "7d"]).len(),
        51,
        "those of which the time is not known count as older"
    );
    let old = quarantine(&world, &["list", "--older-than", "7d"]).exits(0);
    old.prints(" (10 d ago)").prints("some by an older airpouch that did not keep when");
    quarantine(&world, &["list", "--code", "gap"]).exits(2).says("no envelope is set aside for");
    quarantine(&world, &["list", "--older-than", "soon"]).exits(2).says("invalid duration");
}

#[test]
fn show_has_all_that_is_known_of_an_envelope_and_what_was_decided() {
    let (world, digests) = with_commands(&["c.json"]);
    let digest = &digests[0];
    let show = quarantine(&world, &["show", &digest[..8].to_uppercase()]).exits(0);
    let copy = format!("importer/quarantine/{digest}.json");
    let stream = world.stream();
    for words in [
        digest.as_str(),
        "quarantined command: objects[0] indicator--",
        "at /bundle/objects/0",
        "file c.json of Example Feed (43509aab-0310-5f8d-9395-81f36f6d064a)",
        &format!("envelope 1 of batch 1 of stream {stream}"),
        "batch signed by key ",
        &format!("copy {copy}"),
        &format!("airpouch quarantine release --site importer {} --reason TEXT", &digest[..8]),
    ] {
        assert!(show.stdout.contains(words), "{words}: {}", show.stdout);
    }
    assert!(world.path(copy).exists());
    let released = ["release", digest, "--reason", "the owner asked", "--operator", "D. Officer", "--ticket", "CR-9"];
    quarantine(&world, &[&released[..], &["--second", "E. Second"]].concat()).exits(0);
    let show = quarantine(&world, &["show", &digest[..8]]).exits(0);
    show.prints("released command: ")
        .prints(" by D. Officer, second E. Second, ticket CR-9: the owner asked")
        .prints(&format!("airpouch quarantine unrelease --site importer {}", &digest[..8]));
    let shown = quarantine(&world, &["show", digest, "--json"]).exits(0).json()["report"].clone();
    assert_eq!((&shown["kind"], &shown["decisions"][0]["second"]), (&json!("released"), &json!("E. Second")));
    assert_eq!(shown["signers"].as_array().unwrap().len(), 1);
    quarantine(&world, &["show", "00000000"]).exits(2).says("does not begin the digest");
    quarantine(&world, &["show", "0000"]).exits(2).says("at least eight digits");
}

#[test]
fn release_of_several_releases_all_of_them_or_none() {
    let (world, digests) = with_commands(&["a.json", "b.json", "c.json"]);
    let kinds = || listed(&world, &[]).iter().map(|one| one["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let bad = quarantine(&world, &["release", &digests[0], &digests[1], "00000000", "--reason", "x"]).exits(2);
    bad.says("\"00000000\" does not begin the digest").says("nothing was released of the 3 envelopes");
    assert_eq!(kinds(), ["quarantined"; 3]);
    assert!(events(&world, "released").is_empty());
    let run =
        quarantine(&world, &["release", &digests[0], &digests[1], &digests[0][..12], "--reason", "seen", "--json"]);
    let report = run.exits(0).json()["report"].clone();
    assert_eq!((&report["released"], report["envelopes"].as_array().unwrap().len()), (&json!(digests[0]), 2));
    assert_eq!(kinds(), ["released", "released", "quarantined"]);
    assert_eq!(events(&world, "released").len(), 2);
    // One of them is released already.
    quarantine(&world, &["release", &digests[2], &digests[0], "--reason", "x"]).exits(2).says("was released already");
    assert_eq!(kinds(), ["released", "released", "quarantined"]);
    world.import_inbox(&[]).exits(0).prints("delivered 2 envelopes");
}

#[test]
fn release_of_a_command_needs_two_names_where_the_policy_says_so() {
    let world = World::new();
    let digest = command(&world, "c.json");
    let mut lame: Value = serde_json::from_slice(&envelope("lame")).unwrap();
    lame["bundle"]["objects"][0].as_object_mut().unwrap().remove("id");
    let unsplittable = put(&world, "lame.json", &serde_json::to_vec(&lame).unwrap());
    world.send(&[]).exits(0);
    world.import(&["--to", "spool:spool"]).exits(3);
    policy(&world, "importer", "[record]\nsecond = \"commands\"\n");
    let release =
        |digest: &str, more: &[&str]| quarantine(&world, &[&["release", digest, "--reason", "seen"], more].concat());
    release(&digest, &[]).exits(2).says("--operator NAME and --second NAME are missing").says("nothing was released");
    release(&digest, &["--operator", "D. Officer"]).exits(2).says("--second NAME is missing");
    release(&digest, &["--second", "E. Second"]).exits(2).says("--operator NAME is missing");
    let same = ["--operator", "D. Officer", "--second", " d.  OFFICER "];
    release(&digest, &same).exits(2).says("the second name is that of the operator");
    // All or none: the other one needs no second name.
    release(&digest, &[&unsplittable]).exits(2).says("are missing");
    assert!(listed(&world, &[]).iter().all(|one| one["kind"] == "quarantined"));
    assert!(events(&world, "released").is_empty());
    release(&unsplittable, &[]).exits(0);
    release(&digest, &["--operator", "D. Officer", "--second", "E. Second"]).exits(0);
    let released = &events(&world, "released")[1];
    assert_eq!((&released["operator"], &released["second"]), (&json!("D. Officer"), &json!("E. Second")));
    let log = world.run(["log", "--event", "released", "--envelope", &digest[..8], "--site", "importer"]).exits(0);
    log.prints("second name: E. Second; reason: seen");
    let csv = world.run(["log", "--event", "released", "--csv", "--site", "importer"]).exits(0);
    assert!(csv.stdout.lines().next().unwrap().ends_with(",what,second") && csv.stdout.ends_with(",E. Second\n"));
    // So it is where the environment names the policy.
    policy(&world, "importer", "");
    policy(&world, "strict", "[record]\nsecond = \"all\"\n");
    quarantine(&world, &["unrelease", &digest, "--reason", "x"]).exits(0);
    let words = ["quarantine", "release", &digest, "--reason", "x", "--site", "importer"];
    finish(world.command().args(words).env("AIRPOUCH_POLICY", "strict/policy.toml")).exits(2).says("are missing");
    policy(&world, "importer", "[record]\nsecond = \"all\"\n");
    quarantine(&world, &["unrelease", &unsplittable, "--reason", "x"]).exits(0);
    release(&unsplittable, &[]).exits(2).says("are missing");
}

#[test]
fn second_name_of_the_system_user_is_refused_where_no_operator_is_named() {
    let (world, digests) = with_commands(&["c.json"]);
    let user = events(&world, "taken")[0]["user"].as_str().unwrap().to_uppercase();
    let release = |second: &str| quarantine(&world, &["release", &digests[0], "--reason", "x", "--second", second]);
    release(&user).exits(2).says("the second name is that of the user of this machine");
    release("E. Second").exits(0);
}

#[test]
fn run_without_what_the_record_requires_is_refused_before_anything_is_done() {
    let world = World::new();
    world.made("a.json");
    policy(&world, "exporter", "max_tlp = \"green\"\n[record]\nrequire = [\"operator\", \"ticket\"]\n");
    let pack = world.pack(&["--operator", "A. Packer"]).exits(2);
    pack.says("demands what was not told: --ticket TEXT").says("exporter/policy.toml").says_nothing_of("--operator");
    world.pack(&["--operator", " ", "--ticket", "CR-1"]).exits(2).says("--operator NAME");
    assert!(!world.path("exporter/ledger.db").exists(), "no site was made");
    let told = ["--operator", "A. Packer", "--ticket", "CR-1"];
    world.pack(&told).exits(0);
    world.carry(&[]).exits(2).says("--operator NAME, --ticket TEXT");
    world.run(["stream", "renew", "--site", "exporter"]).exits(2).says("--ticket TEXT");
    assert!(files(&world.medium()).is_empty());
    world.carry(&told).exits(0);
    // At the importer the policy is where the settings or an option name it.
    fs::write(world.path("officer.toml"), "[record]\nrequire = [\"witness\"]\n").unwrap();
    world.import(&["--policy", "officer.toml"]).exits(2).says("officer.toml").says("--witness NAME");
    assert!(!world.path("importer/ledger.db").exists());
    fs::create_dir_all(world.path("importer")).unwrap();
    fs::write(world.path("importer/airpouch.toml"), "policy = \"../officer.toml\"\n").unwrap();
    world.import(&[]).exits(2).says("--witness NAME");
    finish(
        world
            .command()
            .args(["import", "medium", "--to", "dir:out", "--trust", "trust", "--site", "importer"])
            .env("AIRPOUCH_WITNESS", "B. Looker"),
    )
    .exits(3);
    let accept = ["stream", "accept", &world.stream(), "2", "--reason", "x", "--site", "importer"];
    world.run(accept).exits(2).says("--witness NAME");
    let held = listed(&world, &[])[0]["sha256"].as_str().unwrap().to_owned();
    for verb in ["release", "unrelease", "reject", "unreject"] {
        quarantine(&world, &[verb, &held, "--reason", "x"]).exits(2).says("--witness NAME");
    }
    quarantine(&world, &["reject", &held, "--reason", "x", "--witness", "B. Looker"]).exits(0);
    policy(&world, "exporter", "[record]\nrequire = [\"boss\"]\n");
    world.pack(&told).exits(2).says("line 2").says("boss");
}

#[test]
fn released_envelope_stays_listed_with_who_and_why_after_it_was_delivered_and_pruned() {
    let (world, digests) = with_commands(&["a.json", "b.json"]);
    let by = ["--operator", "D. Officer"];
    quarantine(&world, &[&["release", &digests[0], &digests[1], "--reason", "both seen"], &by[..]].concat()).exits(0);
    let back =
        quarantine(&world, &[&["unrelease", &digests[1], "--reason", "the owner called"], &by[..]].concat()).exits(0);
    back.prints(&format!("took back the release of {}", digests[1]));
    quarantine(&world, &["unrelease", &digests[1], "--reason", "x"]).exits(2).says("is quarantined, not released");
    world.import_inbox(&["--keep", "0s"]).exits(0).prints("delivered 1 envelope");
    world.import_inbox(&["--keep", "0s"]).exits(0);
    assert!(files(&world.path("importer/inbox")).is_empty());
    let released = listed(&world, &["--released"]);
    assert_eq!(released.len(), 1);
    assert_eq!((&released[0]["kind"], &released[0]["sha256"]), (&json!("delivered"), &json!(digests[0])));
    assert!(released[0]["settled_at"].is_string() && released[0]["since"].is_string());
    let list = quarantine(&world, &["list", "--released"]).exits(0);
    list.prints(" released and delivered command: ").prints(" by D. Officer: both seen").prints(", out of batch 1");
    quarantine(&world, &["unrelease", &digests[0], "--reason", "x"])
        .exits(2)
        .says("was released, and was delivered on");
    quarantine(&world, &["reject", &digests[0], "--reason", "x"]).exits(2).says("was delivered on");
    quarantine(&world, &["show", &digests[0]]).exits(0).prints("delivered 20").says_nothing_of("copy");
    // What was taken back waits as before, and says so.
    let waits = listed(&world, &[]);
    assert_eq!(
        (waits.len(), &waits[0]["kind"], &waits[0]["decisions"][1]["decision"]),
        (1, &json!("quarantined"), &json!("unreleased"))
    );
    let log = world.run(["log", "--event", "unreleased", "--site", "importer"]).exits(0);
    log.prints(&digests[1]).prints("reason: the owner called").prints("D. Officer");
    world.run(["audit", "--site", "importer"]).exits(0);
}

#[test]
fn rejected_envelope_is_not_delivered_by_any_batch_and_waits_no_more() {
    let (world, digests) = with_commands(&["a.json"]);
    let digest = digests[0].as_str();
    let reject =
        |more: &[&str]| quarantine(&world, &[&["reject", digest, "--reason", "nobody asked for it"], more].concat());
    reject(&["--operator", "D. Officer"]).exits(0).prints("it is never delivered; its copy is kept");
    assert!(world.path(format!("importer/quarantine/{digest}.json")).exists());
    quarantine(&world, &["list"]).exits(0).says("nothing is held or quarantined");
    world.run(["status", "--site", "importer"]).exits(0).says_nothing_of("envelope quarantined");
    assert_eq!(world.import_inbox(&[]).exits(0).said(), "");
    quarantine(&world, &["release", digest, "--reason", "x"])
        .exits(2)
        .says("was rejected on")
        .says("quarantine unreject");
    reject(&[]).exits(2).says("was rejected on");
    // The same comes by another stream.
    world.made("good.json");
    world.run(["pack", "src", "medium", "--key", "keys/site-a.key.pem", "--site", "exporter-b"]).exits(0);
    policy(&world, "importer", "max_tlp = \"red\"\n");
    let told = world.import(&[]).exits(0);
    told.says("note: 1 envelope of batch 1 not delivered: rejected here before")
        .says("airpouch quarantine list --site importer --rejected");
    assert_eq!(world.delivered_bytes(), [envelope("good.json")]);
    assert_eq!(listed(&world, &[]).len(), 0);
    reject(&["--remove-copy"]).exits(0).prints("its copy is removed");
    assert!(files(&world.path("importer/quarantine")).is_empty());
    world.import_inbox(&["--redeliver"]).exits(0).says("rejected here before").prints("delivered 1 envelope");
    assert_eq!(world.delivered_bytes(), [envelope("good.json")], "it went again, and nothing else");
    let rejected = listed(&world, &["--rejected"]);
    assert_eq!((rejected.len(), &rejected[0]["kind"], &rejected[0]["copied"]), (1, &json!("rejected"), &json!(false)));
    let list = quarantine(&world, &["list", "--rejected"]).exits(0);
    list.prints(" rejected command: ").prints("no copy of it is kept").prints("nobody asked for it");
    let log = world.run(["log", "--event", "rejected", "--site", "importer"]).exits(0);
    log.prints("its copy: kept; reason: nobody asked for it").prints("its copy: removed").prints("D. Officer");
    assert_eq!(events(&world, "rejected").len(), 2);
}

#[test]
fn rejection_that_is_taken_back_leaves_the_envelope_as_it_was() {
    let world = World::new();
    let held = put(&world, "held.json", &envelope_with("held", json!({"applicant_id": STRANGER})));
    let digest = command(&world, "command.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    quarantine(&world, &["reject", &held, &digest, "--reason", "x"]).exits(0);
    quarantine(&world, &["unreject", &held, &digest, "00000000", "--reason", "x"]).exits(2);
    let back = quarantine(&world, &["unreject", &held, &digest, "--reason", "asked for", "--json"]).exits(0).json();
    assert_eq!(back["report"]["unrejected"][0]["kind"], "held");
    let kinds: Vec<Value> = listed(&world, &[]).iter().map(|one| one["kind"].clone()).collect();
    assert_eq!(kinds, ["held", "quarantined"]);
    quarantine(&world, &["unreject", &held, "--reason", "x"]).exits(2).says("is held, not rejected");
    let mapped = format!("{STRANGER}={APPLICANT}");
    world.import_inbox(&["--applicant", &mapped]).exits(0).prints("delivered 1 envelope, all of them held before");
    // Nothing of it is left: it is judged anew when it comes.
    quarantine(&world, &["reject", &digest, "--reason", "x", "--remove-copy"]).exits(0);
    world.import_inbox(&["--keep", "0s"]).exits(0);
    let gone = quarantine(&world, &["unreject", &digest, "--reason", "x"]).exits(0);
    gone.prints("no bytes of it are left here").prints(&format!("airpouch carry MEDIUM --resend {}:1", world.stream()));
    assert!(listed(&world, &[]).is_empty() && listed(&world, &["--rejected"]).is_empty());
    world.import(&["--redeliver"]).exits(3).says("quarantined: ");
    let again = listed(&world, &["--quarantined"]);
    assert_eq!(again[0]["decisions"].as_array().unwrap().len(), 4, "all that was decided before");
}

/// What lies in the inbox alone keeps its batch there, until it is settled.
#[test]
fn rejected_envelope_needs_no_batch_in_the_inbox_and_no_room() {
    let world = World::new();
    let digest = command(&world, "a.json");
    world.send(&[]).exits(0);
    world.import(&["--set-aside-quota", "0", "--keep", "0s"]).exits(3).says("could not be copied");
    let batches = || fs::read_dir(world.path("importer/inbox")).unwrap().count();
    assert_eq!(batches(), 1);
    quarantine(&world, &["reject", &digest, "--reason", "x", "--remove-copy"])
        .exits(0)
        .prints("there was no copy of it");
    world.import_inbox(&["--keep", "0s"]).exits(0);
    assert_eq!(batches(), 0);
    // A copy that was kept fills the quota of its stream.
    let next = command(&world, "b.json");
    world.send(&["--no-overlap"]).exits(0);
    world.import(&[]).exits(3);
    quarantine(&world, &["reject", &next, "--reason", "x"]).exits(0);
    let size = fs::metadata(world.path("src/b.json")).unwrap().len();
    let quota = (size + size / 2).to_string();
    command(&world, "c.json");
    world.send(&["--no-overlap"]).exits(0);
    world.import(&["--set-aside-quota", &quota]).exits(3).says("could not be copied");
    quarantine(&world, &["reject", &next, "--reason", "x", "--remove-copy"]).exits(0);
    command(&world, "d.json");
    world.send(&["--no-overlap"]).exits(0);
    world.import(&["--set-aside-quota", &quota]).exits(3).says_nothing_of("could not be copied");
}

#[test]
fn names_and_reasons_with_escapes_do_not_reach_the_terminal() {
    let world = World::new();
    let evil = "Feed\u{1b}[2J\u{202e}";
    let connector = json!({"id": "c", "name": evil, "type": "EXTERNAL_IMPORT"});
    let mut value: Value = serde_json::from_slice(&envelope_with("x", json!({"connector": connector}))).unwrap();
    value["bundle"]["objects"][0]["opencti_operation"] = json!("delete\u{1b}[1m");
    let digest = put(&world, "x\u{1b}[31m.json", &serde_json::to_vec(&value).unwrap());
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    let told = ["--reason", "r\u{1b}]0;x", "--operator", "o\u{1b}c", "--note", "n\u{9b}"];
    quarantine(&world, &[&["release", &digest, "--second", "s\u{1b}"], &told[..]].concat()).exits(0);
    let mut said = String::new();
    for words in [
        &["list"][..],
        &["list", "--groups"],
        &["list", "--json"],
        &["show", &digest],
        &["show", &digest, "--json"],
        &["list", "--released", "--connector", "Feed\\u{1b}[2J\\u{202e}"],
    ] {
        let shown = quarantine(&world, words).exits(0).said();
        assert!(shown.contains("[2J"), "{words:?}: {shown}");
        said += &shown;
    }
    quarantine(&world, &[&["unrelease", &digest], &told[..]].concat()).exits(0);
    quarantine(&world, &[&["reject", &digest, "--remove-copy"], &told[..]].concat()).exits(0);
    said += &quarantine(&world, &["list", "--rejected"]).exits(0).said();
    said += &world.run(["log", "--site", "importer"]).exits(0).said();
    assert!(said.contains("o\\u{1b}c") && said.contains("r\\u{1b}]0;x"), "{said}");
    assert!(!said.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{said}");
}

#[test]
fn ledger_of_an_older_airpouch_keeps_what_was_set_aside_and_released() {
    let (world, digests) = with_commands(&["a.json", "b.json"]);
    quarantine(&world, &["release", &digests[0], "--reason", "seen long ago"]).exits(0);
    let done = "UPDATE batch SET done_at = 1750000000;";
    let older =
        "DROP INDEX aside_standing; ALTER TABLE set_aside DROP COLUMN at; ALTER TABLE batch DROP COLUMN promise; DROP TABLE release_statement; DROP TABLE release_signature; DROP TABLE sent_work; DROP TABLE work_end; DROP TABLE decision; DROP TABLE decided;
                 DROP TABLE peer_head; DROP TABLE came_pair; DROP TABLE paired; DROP TABLE lookup; DROP TABLE came_day; DROP TABLE acknowledged; DROP TABLE wrong_code; PRAGMA user_version = 10;";
    in_ledger(&world, &format!("{done} {older}"));
    quarantine(&world, &["list"]).exits(1).says("an older airpouch made this ledger");
    quarantine(&world, &["release", "00000000", "--reason", "x"]).exits(2);
    let all = listed(&world, &[]);
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|one| one["since"] == "2025-06-15T15:06:40Z"), "{all:?}");
    let decision = &all[0]["decisions"][0];
    assert_eq!(
        (&decision["reason"], &decision["at"], &decision["user"]),
        (&json!("seen long ago"), &json!(null), &json!(null))
    );
    world.import_inbox(&[]).exits(0).prints("delivered 1 envelope");
    quarantine(&world, &["list", "--released"]).exits(0).prints("released: seen long ago").prints(", out of batch 1");
}

/// Only the next import can tell whether an envelope that a dead run had in its hands was delivered.
#[test]
fn decision_about_what_a_dead_run_may_have_delivered_waits_for_the_next_import() {
    let (world, digests) = with_commands(&["a.json"]);
    quarantine(&world, &["release", &digests[0], "--reason", "seen"]).exits(0);
    in_ledger(
        &world,
        "INSERT INTO placing SELECT 1, sha256, batch, ordinal, 'x', 1, NULL FROM set_aside; INSERT INTO meta VALUES ('on_their_way_1', '0')
         ON CONFLICT DO NOTHING",
    );
    let unrelease = || quarantine(&world, &["unrelease", &digests[0], "--reason", "x"]);
    unrelease().exits(1).says("may be delivered").says("airpouch import --site importer");
    in_ledger(&world, "DELETE FROM placing; UPDATE meta SET value = '3' WHERE key = 'on_their_way_1'");
    unrelease().exits(1).says("may be delivered");
    in_ledger(&world, "UPDATE meta SET value = '0' WHERE key = 'on_their_way_1'");
    unrelease().exits(0);
}
