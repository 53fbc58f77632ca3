//! Importing as a user meets it: applicants, releases, destinations, gaps, forks, and an inbox that rots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{APPLICANT, HOUR, Run, World, envelope, envelope_with, files, finish};
use airpouch::digest::Digest;
use serde_json::{Value, json};

const HERE: &str = "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10";

fn send(world: &World, names: &[&str]) {
    names.iter().for_each(|n| drop(world.made(n)));
    world.send(&["--no-overlap"]).exits(0);
}

fn sh(world: &World, script: &str) -> Run {
    finish(Command::new("sh").args(["-ec", script]).current_dir(world.dir.path()))
}

fn bytes(world: &World) -> Vec<Vec<u8>> {
    world.delivered().into_iter().map(|(_, b)| b).collect()
}

/// An import without the usual mapping.
fn import_as(world: &World, more: &[&str]) -> Run {
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
    sh(world, &format!("mv medium/*-{number:08}.* {to}/")).exits(0);
}

fn bring_back(world: &World, from: &str) {
    sh(world, &format!("cp {from}/* medium/")).exits(0);
}

fn stream(world: &World) -> String {
    let status = world.run(["status", "--site", "exporter", "--json"]).exits(0).json();
    let streams = status["report"]["streams"].as_array().unwrap().clone();
    streams.last().unwrap()["stream"].as_str().unwrap().to_owned()
}

/// The file of a number in the inbox with this end.
fn in_inbox(world: &World, number: u64, end: &str) -> PathBuf {
    let found = sh(world, &format!("ls importer/inbox/*-{number:08}.*/*{end}")).exits(0).stdout;
    world.path(found.lines().next().unwrap())
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
fn an_envelope_goes_once_whatever_stick_brings_it() {
    let world = World::new();
    send(&world, &["a.json"]);
    world.import(&[]).exits(0).says("delivered 1 envelope");
    // The same batch on a second stick, in a folder, and again beside the next batch.
    fs::create_dir_all(world.path("second/folder")).unwrap();
    sh(&world, "cp medium/* second/folder/").exits(0);
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
    assert_eq!(bytes(&world), ["a.json", "b.json"].map(envelope));
}

#[test]
fn the_form_in_which_opencti_writes_its_map_is_taken() {
    let world = World::new();
    let second = "11111111-2222-4333-8444-555555555555";
    world.made("a.json");
    world.put("b.json", &envelope_with("b", json!({"applicant_id": second})));
    world.send(&[]).exits(0);
    import_as(&world, &["medium", "--applicant", "nonsense"]).exits(2).says("FROM=TO, or FROM:TO,FROM:TO");
    import_as(&world, &["medium", "--applicant", &format!("{APPLICANT}:")]).exits(2).says("invalid mapping");
    import_as(&world, &["medium", "--unmapped", "drop"]).exits(2).says("--unmapped hold, or --unmapped default=ID");
    let both = format!("{APPLICANT}:{HERE}, {second}:{HERE}");
    import_as(&world, &["medium", "--applicant", &both]).exits(0).says("delivered 2 envelopes");
}

#[test]
fn the_environment_maps_applicants_too() {
    let world = World::new();
    send(&world, &["a.json"]);
    let mut run = world.command();
    run.args(["import", "medium", "--to", "dir:out", "--trust", "trust", "--site", "importer"]);
    finish(run.env("AIRPOUCH_APPLICANT", format!("x:{HERE},{APPLICANT}:{HERE}"))).exits(0).says("delivered 1 envelope");
}

#[test]
fn the_first_import_ends_with_the_lines_to_paste_and_they_do_what_they_say() {
    let world = World::new();
    world.made("a.json");
    world.put("null.json", &envelope_with("n", json!({"applicant_id": null})));
    world.send(&[]).exits(0);
    let run = import_as(&world, &["medium"]).exits(3).says("[applicants]").says("unmapped = \"default=ID\"");
    let line = format!("# \"{APPLICANT}\" = \"ID OF THE USER HERE\"    # 1 envelope");
    let run = run.says(&line);
    // What a person does with them: paste, take the mark away, put the ids in.
    let pasted = line.trim_start_matches("# ").replace("ID OF THE USER HERE", HERE);
    let settings = format!("unmapped = \"default={HERE}\"\n[applicants]\n{pasted}\n");
    fs::write(world.path("importer/airpouch.toml"), settings).unwrap();
    let again = import_as(&world, &[]).exits(0).says("delivered 2 envelopes, all of them held before,");
    again.says_nothing_of("[applicants]");
    assert_ne!(run.said(), "");
    assert!(files(&world.path("importer/held")).is_empty());
}

#[test]
fn a_default_is_put_in_where_nobody_is_named_and_the_rest_stays_as_it_is() {
    let world = World::new();
    // White space, escapes and the order of keys are the connector's own.
    let null = String::from_utf8(envelope("null")).unwrap();
    let null = null.replacen(&format!("\"applicant_id\":\"{APPLICANT}\""), "\"applicant_id\" : null ", 1);
    let null = null.replacen("\"Example Feed\"", "\"Ex\\u0061mple Feed\"", 1);
    world.put("null.json", null.as_bytes());
    world.put("named.json", &envelope("named"));
    world.send(&[]).exits(0);
    import_as(&world, &["medium", "--unmapped", &format!("default={HERE}")]).exits(0).says("delivered 2 envelopes");
    let wanted = null.replacen("\"applicant_id\" : null ", &format!("\"applicant_id\" : \"{HERE}\" "), 1);
    assert_eq!(bytes(&world), [wanted.into_bytes(), envelope("named")]);
}

#[test]
fn a_type_that_the_stock_connector_does_not_know_never_reaches_it() {
    let world = World::new();
    let connector = json!({"id": "c", "name": "Hunter", "type": "INTERNAL_HUNT"});
    world.put("h.json", &envelope_with("h", json!({"connector": connector})));
    world.send(&[]).exits(0);
    fs::write(world.path("policy.toml"), "connector_types = [\"INTERNAL_HUNT\"]\n").unwrap();
    let run = world.import(&["--policy", "policy.toml"]).exits(3);
    run.says("would stop at it").says("deliver through the platform");
    assert_eq!(world.delivered().len(), 0);
    let spooled = ["--to", "spool:spool", "--site", "other", "--policy", "policy.toml"];
    world.import(&spooled).exits(0).says("delivered 1 envelope");
}

#[test]
fn a_reason_that_changes_is_told_and_the_lists_follow() {
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
    world.import_inbox(&[]).exits(0).says("delivered 1 envelope");
}

#[test]
fn a_release_names_one_digest_and_needs_a_reason() {
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
    release(&digest[..8], "asked the feed's owner").exits(0).says(&digest);
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
fn an_ambiguous_beginning_of_a_digest_is_refused() {
    let world = World::new();
    command(&world, "c.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    // Two digests that begin alike are made up in the ledger: nobody finds two in a test's time.
    let twin = "sqlite3 importer/ledger.db \"INSERT INTO set_aside (sha256, kind, code, what, place, batch, ordinal, name, connector, connector_name, applicant, reason, mtime) SELECT CAST(substr(sha256, 1, 30) || x'0000' AS BLOB), kind, code, what, place, batch, ordinal, name, connector, connector_name, applicant, reason, mtime FROM set_aside\"";
    sh(&world, twin).exits(0);
    let name = files(&world.path("importer/quarantine"))[0].0[..64].to_owned();
    let release = |digest: &str| world.run(["quarantine", "release", digest, "--reason", "x", "--site", "importer"]);
    release(&name[..8]).exits(2).says("several digests");
    release(&name).exits(0);
}

#[test]
fn what_is_released_is_still_bound_by_the_sites_settings() {
    let world = World::new();
    let bytes = command(&world, "c.json");
    world.send(&[]).exits(0);
    policy(&world, "max_tlp = \"amber\"\n");
    world.import(&[]).exits(3).says("also: 1 object is marked TLP:RED");
    let digest = Digest::of(&bytes).to_string();
    world.run(["quarantine", "release", &digest, "--reason", "looked", "--site", "importer"]).exits(0);
    let told = world.import_inbox(&["--json"]).exits(3).json()["report"].clone();
    assert_eq!((codes(&told), &told["quarantined_in_all"]), (vec!["tlp"], &json!(1)));
    assert!(world.delivered().is_empty());
    policy(&world, "");
    import_as(&world, &[]).exits(3).says("is not mapped");
    world.import_inbox(&[]).exits(0).says("delivered 1 envelope");
    assert!(files(&world.path("importer/quarantine")).is_empty());
}

#[test]
fn the_same_directory_by_another_path_is_the_same_destination() {
    let world = World::new();
    send(&world, &["a.json"]);
    world.import(&[]).exits(0);
    let absolute = format!("dir:{}", world.path("out").display());
    for to in ["dir:out/", "dir:./out", "dir:out/.", absolute.as_str(), "DIR:out"] {
        assert_eq!(world.import(&["--to", to]).exits(0).said(), "", "{to}");
    }
    assert_eq!(world.delivered().len(), 1);
}

#[test]
fn a_new_destination_gets_all_that_the_inbox_has_and_the_same_one_nothing() {
    let world = World::new();
    send(&world, &["a.json"]);
    world.import(&["--keep", "0s"]).exits(0);
    send(&world, &["b.json", "c.json"]);
    world.import(&[]).exits(0);
    let stopped = world.import(&["--to", "dir:other", "--json"]).exits(2).json();
    let told = stopped["error"]["what"].as_str().unwrap();
    assert!(told.contains("/out") && told.contains("/other"), "{told}");
    assert!(!world.path("other").exists(), "a question makes nothing");
    world.import(&["--new-destination", "--same-destination"]).exits(2).says("cannot be used with");
    // A slip of the pen: its parent is not there, so the old one stays the destination.
    world.import_inbox(&["--to", "dir:missing/other", "--new-destination"]).exits(1).says("missing/other");
    assert_eq!(world.import(&[]).exits(0).said(), "");
    world.run(["status", "--site", "importer"]).exits(0).says("/out\n");
    // What was pruned from the inbox cannot go to it.
    let moved = ["--to", "dir:other", "--new-destination"];
    world.import_inbox(&moved).exits(0).says("delivered 2 envelopes");
    world.import_inbox(&moved).exits(0).says_nothing_of("delivered");
    let names = |dir: &str| files(&world.path(dir)).into_iter().filter(|f| f.0.ends_with(".json")).collect::<Vec<_>>();
    assert_eq!(names("other"), names("out")[1..]);
    world.import(&[]).exits(2).says("--same-destination");
    // The directory moves, with its mark; then it is emptied on purpose.
    fs::rename(world.path("other"), world.path("moved")).unwrap();
    world.import_inbox(&["--to", "dir:moved", "--same-destination"]).exits(0).says_nothing_of("delivered 2");
    fs::remove_dir_all(world.path("moved")).unwrap();
    fs::create_dir(world.path("moved")).unwrap();
    send(&world, &["d.json"]);
    world.import(&["--to", "dir:moved"]).exits(1).says("is its share mounted?").says("--same-destination");
    world.import_inbox(&["--to", "dir:moved", "--same-destination"]).exits(0).says("delivered 1 envelope");
    assert_eq!(names("moved").len(), 1);
}

#[test]
fn an_empty_mount_point_gets_nothing_and_custody_is_taken_all_the_same() {
    let world = World::new();
    send(&world, &["a.json"]);
    world.import(&[]).exits(0);
    fs::rename(world.path("out"), world.path("share")).unwrap();
    fs::create_dir(world.path("out")).unwrap();
    send(&world, &["b.json"]);
    let stopped = world.import(&["--json"]).exits(1).json();
    assert_eq!(stopped["report"]["taken"][0]["sequence"], 2);
    assert!(stopped["error"]["do"].as_str().unwrap().contains("mount it"), "{stopped}");
    assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 0, "not even a mark");
    // The stick may leave: the inbox has it.
    fs::remove_dir_all(world.medium()).unwrap();
    fs::remove_dir(world.path("out")).unwrap();
    fs::rename(world.path("share"), world.path("out")).unwrap();
    world.import_inbox(&[]).exits(0).says("delivered 1 envelope");
    assert_eq!(bytes(&world), ["a.json", "b.json"].map(envelope));
}

#[test]
fn deliver_again_means_the_medium_at_hand_or_the_inbox() {
    let world = World::new();
    send(&world, &["a.json"]);
    world.import(&[]).exits(0);
    take_away(&world, 1, "first");
    send(&world, &["b.json"]);
    world.import(&[]).exits(0);
    let eaten = |world: &World| sh(world, "rm -f out/*.json").exits(0);
    // Only what lies on this stick.
    eaten(&world);
    world.import(&["--redeliver"]).exits(0).says("delivered 1 envelope");
    assert_eq!(bytes(&world), [envelope("b.json")]);
    eaten(&world);
    world.import_inbox(&["--redeliver"]).exits(0).says("delivered 2 envelopes");
    assert_eq!(bytes(&world), ["a.json", "b.json"].map(envelope));
    // Pruned: the inbox has nothing, the stick has it.
    world.import_inbox(&["--keep", "0s"]).exits(0);
    assert_eq!(fs::read_dir(world.path("importer/inbox")).unwrap().count(), 0);
    eaten(&world);
    world.import_inbox(&["--redeliver"]).exits(0).says_nothing_of("delivered 2");
    assert!(world.delivered().is_empty());
    bring_back(&world, "first");
    world.import(&["--redeliver"]).exits(0).says("delivered 2 envelopes");
    assert_eq!(bytes(&world), ["a.json", "b.json"].map(envelope));
    assert_eq!(world.import(&[]).exits(0).said(), "");
}

#[test]
fn a_lost_stick_does_not_stop_the_news_and_heals_late() {
    let world = World::new();
    send(&world, &["1.json"]);
    send(&world, &["2.json"]);
    take_away(&world, 2, "lost");
    send(&world, &["3.json"]);
    let told = report(&world, &[], 3);
    assert_eq!((codes(&told), &told["outcome"]["delivered"]), (vec!["gap"], &json!(2)));
    let stream = stream(&world);
    let run = world.import_inbox(&[]).exits(3).says("batch 2 has not arrived (1 envelope");
    run.says(&format!("airpouch stream accept --site importer {stream} 2 --reason TEXT")).says("--resend");
    world.run(["status", "--site", "importer"]).exits(0).says("batch 2 has not arrived");
    bring_back(&world, "lost");
    // The code that people compare is the newest one's: no carry shows this one's any more.
    world.import(&[]).exits(0).says("batch 2, late, 1 envelope").says("of batch 2").says_nothing_of("carry showed");
    assert_eq!(bytes(&world), ["1.json", "3.json", "2.json"].map(envelope));
    assert_eq!(world.import(&[]).exits(0).said(), "");
}

#[test]
fn several_gaps_are_named_with_one_command_each_side() {
    let world = World::new();
    for n in 1..=7 {
        send(&world, &[&format!("{n}.json")]);
    }
    for n in [2, 4, 5] {
        take_away(&world, n, &format!("lost{n}"));
    }
    let told = report(&world, &[], 3);
    assert_eq!(codes(&told), ["gap"]);
    let stream = stream(&world);
    let bring = format!("airpouch carry MEDIUM --resend {stream}:2,4-5");
    let give_up = format!("airpouch stream accept --site importer {stream} 2,4-5 --reason TEXT");
    let run = world.import_inbox(&[]).exits(3).says("batches 2 and 4 to 5 have not arrived (3 envelopes");
    run.says(&bring).says(&give_up);
    world.run(["status", "--site", "importer"]).exits(0).says(&bring).says(&give_up);
    let carry = ["carry", "again", "--site", "exporter", "--no-overlap", "--resend", &format!("{stream}:2,4-5")];
    fs::create_dir(world.path("again")).unwrap();
    world.run(carry).exits(0).says("new: batches 2 and 4 to 5 (3 envelopes");
    let accept = ["stream", "accept", &stream, "2,4-5", "--reason", "lost", "--site", "importer"];
    world.run(accept).exits(0).says("gave up on batches 2 and 4 to 5");
    assert_eq!(world.import_inbox(&[]).exits(0).said(), "");
    world.run(accept).exits(2).says("are not missing");
}

#[test]
fn a_setting_that_fell_into_a_table_of_ids_is_not_passed_over() {
    let world = World::new();
    send(&world, &["a.json"]);
    fs::create_dir(world.path("importer")).unwrap();
    for (table, setting) in [("applicants", "patience = \"2s\""), ("connectors", "works = \"none\"")] {
        let text = format!("[{table}]\n\"7c9e6679-7425-40de-944b-e07fc1f90ae7\" = \"x\"\n{setting}\n");
        fs::write(world.path("importer/airpouch.toml"), text).unwrap();
        let key = setting.split(' ').next().unwrap();
        world.import(&[]).exits(2).says(&format!("{key} stands below [applicants] or [connectors]"));
    }
    fs::write(world.path("importer/airpouch.toml"), "[connectors]\na = \"here\"\nb = \"here\"\n").unwrap();
    world.import(&[]).exits(2).says("two connectors get the id here");
}

#[test]
fn a_stream_that_begins_late_says_so_until_it_is_settled() {
    let world = World::new();
    send(&world, &["1.json"]);
    take_away(&world, 1, "lost");
    send(&world, &["2.json"]);
    let run = world.import(&[]).exits(3).says("the first batch received is 2; batch 1 never arrived (1 envelope");
    run.says("delivered 1 envelope");
    let stream = stream(&world);
    let accept = |numbers: &str| {
        world.run(["stream", "accept", &stream, numbers, "--reason", "began here", "--site", "importer"])
    };
    accept("2").exits(2).says("batch 2 of stream").says("is not missing");
    accept("1-9").exits(2).says("batches 1 to 9 of stream").says("are not missing");
    accept("0").exits(2).says("write 7, 2-7, or 2-7,9");
    accept("1-1000000000000000").exits(2).says("not a list of batch numbers");
    accept("1").exits(0).says("gave up on batch 1 of stream");
    assert_eq!(world.import(&[]).exits(0).said(), "");
    bring_back(&world, "lost");
    world.import(&[]).exits(0).says("batch 1, late");
}

#[test]
fn those_who_hold_get_all_in_order_once_the_gap_is_filled() {
    let world = World::new();
    send(&world, &["1.json"]);
    take_away(&world, 1, "first");
    for n in 2..=4 {
        send(&world, &[&format!("{n}.json")]);
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
    world.run(["status", "--site", "importer"]).exits(0).says("2 held: batches before it are missing");
    sh(&world, "rm medium/*").exits(0);
    bring_back(&world, "first");
    world.import(&[]).exits(3).says("delivered 2 envelopes").says("batch 3 has not arrived");
    bring_back(&world, "third");
    world.import(&[]).exits(0).says("delivered 2 envelopes").says_nothing_of("late");
    assert_eq!(bytes(&world), ["1.json", "2.json", "3.json", "4.json"].map(envelope));
}

#[test]
fn a_gap_that_is_given_up_lets_go_what_was_held() {
    let world = World::new();
    send(&world, &["1.json"]);
    send(&world, &["2.json"]);
    take_away(&world, 2, "lost");
    send(&world, &["3.json"]);
    world.import(&["--on-gap", "hold"]).exits(3).says("delivered 1 envelope").says("batch 2 has not arrived");
    let stream = stream(&world);
    let accept = ["stream", "accept", &stream, "2", "--reason", "stick lost", "--site", "importer", "--json"];
    let told = world.run(accept).exits(0).json();
    assert_eq!(
        (&told["verb"], &told["report"]["from"], &told["report"]["sha256"]),
        (&json!("stream accept"), &json!(2), &json!(null))
    );
    world.import_inbox(&["--on-gap", "hold"]).exits(0).says("delivered 1 envelope");
    world.run(accept).exits(2).says("is not missing");
    world
        .run(["stream", "accept", "nonsense", "2", "--reason", "x", "--site", "importer"])
        .exits(2)
        .says("unknown stream");
    // And comes all the same, one day.
    bring_back(&world, "lost");
    world.import(&["--on-gap", "hold"]).exits(0).says("batch 2, late");
}

/// Two histories: both sites go on from batch 1, each with its own 2 and 3.
fn forked(world: &World) {
    send(world, &["1.json"]);
    sh(world, "cp -r exporter backup").exits(0);
    send(world, &["2a.json", "2aa.json"]);
    send(world, &["3a.json"]);
    sh(world, "rm -r exporter && mv backup exporter && mv medium branch-a && mkdir medium && rm src/*").exits(0);
    send(world, &["2b.json"]);
    send(world, &["3b.json"]);
    sh(world, "mv medium branch-b && mv branch-a medium").exits(0);
}

#[test]
fn a_fork_is_held_and_its_branch_is_taken_under_names_of_its_own() {
    let world = World::new();
    forked(&world);
    world.import(&[]).exits(0).says("delivered 4 envelopes");
    let before = files(&world.path("out"));
    sh(&world, "rm medium/* && cp branch-b/* medium/").exits(0);
    let run =
        world.import(&[]).exits(4).says("fork: batch 2, 1 envelope").says("fork: batch 3").says("held, not delivered");
    assert_eq!(files(&world.path("out")), before);
    assert_eq!(world.import(&[]).exits(0).said(), "", "told once");
    world.run(["status", "--site", "importer"]).exits(0).says("2 held: fork").says("airpouch stream accept");
    // The command that is shown, as it is shown.
    let shown = run.stderr.lines().find_map(|l| l.split("to take it too: ").nth(1)).unwrap().to_owned();
    let mut words: Vec<&str> = shown.split(' ').skip(1).collect();
    assert_eq!(words[2..6], ["--site", "importer", words[4], "2"]);
    *words.last_mut().unwrap() = "both are ours";
    let other = world.run(["stream", "accept", words[4], "2", &"0".repeat(64), "--reason", "x", "--site", "importer"]);
    other.exits(2).says("no batch of this number and digest");
    world.run(words.clone()).exits(0).says("accepted: batch 2");
    world.import_inbox(&[]).exits(0).says("batch 2, late, 1 envelope: 1 delivered");
    let after = files(&world.path("out"));
    assert!(before.iter().all(|file| after.contains(file)), "nothing was overwritten");
    assert_eq!(after.len(), before.len() + 1);
    let digest = words[6];
    let own = format!("-00000002-00000001-{}.json", &digest[..8]);
    assert!(after.iter().any(|(name, bytes)| name.ends_with(&own) && *bytes == envelope("2b.json")));
    // The next one of that branch is a question of its own.
    let status = world.run(["status", "--site", "importer"]).exits(0).says("1 held: fork");
    let shown = status.stdout.lines().find_map(|l| l.split("to take it: ").nth(1)).unwrap().to_owned();
    let mut words: Vec<&str> = shown.split(' ').skip(1).collect();
    *words.last_mut().unwrap() = "this one too";
    world.run(words).exits(0).says("accepted: batch 3");
    world.import_inbox(&[]).exits(0).says("delivered 1 envelope");
    assert_eq!(bytes(&world).len(), 6);
}

#[test]
fn the_new_stream_of_a_renewal_goes_after_the_old_one() {
    // Names are drawn by chance: in several worlds, so that the order of names cannot help.
    for _ in 0..3 {
        let world = World::new();
        send(&world, &["1.json"]);
        send(&world, &["2.json"]);
        for n in 3..=4 {
            world.run(["stream", "renew", "--site", "exporter"]).exits(0);
            send(&world, &[&format!("{n}.json")]);
        }
        world.import(&[]).exits(0).says("delivered 4 envelopes");
        assert_eq!(bytes(&world), ["1.json", "2.json", "3.json", "4.json"].map(envelope));
    }
}

#[test]
fn the_lost_end_of_a_stream_that_was_renewed_is_a_gap() {
    let world = World::new();
    send(&world, &["1.json"]);
    send(&world, &["2.json"]);
    take_away(&world, 2, "lost");
    let old = stream(&world);
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    send(&world, &["3.json"]);
    let run = world.import(&[]).exits(3).says("batch 2 has not arrived").says(&format!("batch 2 of stream {old}"));
    run.says("delivered 2 envelopes");
    world.import_inbox(&[]).exits(3).says("batch 2 has not arrived");
    world.run(["status", "--site", "importer"]).exits(0).says("batch 2 has not arrived");
    sh(&world, "cp -r importer importer.copy").exits(0);
    world.run(["stream", "accept", &old, "2", "--reason", "lost", "--site", "importer"]).exits(0);
    assert_eq!(world.import_inbox(&[]).exits(0).said(), "");
    // Or it comes after all.
    sh(&world, "rm -r importer && mv importer.copy importer").exits(0);
    bring_back(&world, "lost");
    world.import(&[]).exits(0).says("delivered 1 envelope");
    assert_eq!(bytes(&world), ["1.json", "3.json", "2.json"].map(envelope));
}

#[test]
fn a_renewed_stream_waits_for_the_end_of_the_old_one_where_gaps_hold() {
    let world = World::new();
    send(&world, &["1.json"]);
    send(&world, &["2.json"]);
    take_away(&world, 2, "lost");
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    send(&world, &["3.json"]);
    world.import(&["--on-gap", "hold"]).exits(3).says("batch 2 has not arrived").says("delivered 1 envelope");
    bring_back(&world, "lost");
    world.import(&["--on-gap", "hold"]).exits(0);
    assert_eq!(bytes(&world), ["1.json", "2.json", "3.json"].map(envelope));
}

/// A batch that waits in the inbox for the one before it.
fn waiting(world: &World) {
    send(world, &["1.json"]);
    take_away(world, 1, "first");
    send(world, &["2.json"]);
    world.import(&["--on-gap", "hold"]).exits(3).says("waits in the inbox");
    sh(world, "mv medium second && mkdir medium").exits(0);
    bring_back(world, "first");
}

#[test]
fn a_volume_that_rots_in_the_inbox_is_told_and_the_stick_mends_it() {
    let world = World::new();
    waiting(&world);
    flip(&in_inbox(&world, 2, ".v0001.tar.zst"), 60);
    let run = world.import(&["--on-gap", "hold"]).exits(4).says("does not match its digest").says("--resend 2");
    run.says("delivered 1 envelope");
    assert_eq!(bytes(&world), [envelope("1.json")]);
    // From now on it is missing, at every run, until the stick comes again.
    world.import_inbox(&[]).exits(3).says("v0001.tar.zst is missing");
    world.run(["status", "--site", "importer"]).exits(0).says("1 incomplete").says("--resend 2");
    bring_back(&world, "second");
    world.import(&[]).exits(0).says("delivered 1 envelope");
    assert_eq!(bytes(&world), ["1.json", "2.json"].map(envelope));
    assert_eq!(world.import(&[]).exits(0).said(), "");
}

#[test]
fn an_index_that_rots_while_its_batch_waits_is_told_and_the_stick_mends_it() {
    let world = World::new();
    waiting(&world);
    flip(&in_inbox(&world, 2, ".index.zst"), 20);
    world.import_inbox(&["--on-gap", "hold"]).exits(4).says(".index.zst").says("--resend 2");
    world.import(&["--on-gap", "hold"]).exits(3).says(".index.zst is missing").says("delivered 1 envelope");
    bring_back(&world, "second");
    world.import(&["--on-gap", "hold"]).exits(0);
    assert_eq!(bytes(&world), ["1.json", "2.json"].map(envelope));
}

#[test]
fn a_file_that_is_cut_in_the_inbox_is_told_and_the_stick_mends_it() {
    for end in [".v0001.tar.zst", ".index.zst"] {
        let world = World::new();
        waiting(&world);
        let path = in_inbox(&world, 2, end);
        fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        world.import(&["--on-gap", "hold"]).exits(3).says(end).says("--resend 2").says("delivered 1 envelope");
        bring_back(&world, "second");
        world.import(&["--on-gap", "hold"]).exits(0).says("delivered 1 envelope");
        assert_eq!(bytes(&world), ["1.json", "2.json"].map(envelope));
    }
}

#[test]
fn a_manifest_that_rots_in_the_inbox_is_told_and_the_stick_mends_it() {
    let world = World::new();
    waiting(&world);
    flip(&in_inbox(&world, 2, ".manifest"), 200);
    world.import(&["--on-gap", "hold"]).exits(4).says("delivered 1 envelope").says("batch 2");
    assert_eq!(bytes(&world), [envelope("1.json")]);
    bring_back(&world, "second");
    world.import(&["--on-gap", "hold"]).exits(0).says("delivered 1 envelope");
    assert_eq!(bytes(&world), ["1.json", "2.json"].map(envelope));
}

#[test]
fn an_inbox_that_lost_a_whole_batch_says_so_and_the_stick_mends_it() {
    let world = World::new();
    waiting(&world);
    sh(&world, "rm -r importer/inbox/*-00000002.*").exits(0);
    world.import(&["--on-gap", "hold"]).exits(3).says("batch 2").says("--resend 2").says("delivered 1 envelope");
    bring_back(&world, "second");
    world.import(&["--on-gap", "hold"]).exits(0).says("delivered 1 envelope");
    assert_eq!(bytes(&world), ["1.json", "2.json"].map(envelope));
}

#[test]
fn a_held_envelope_that_was_changed_is_not_delivered_and_comes_from_the_inbox_again() {
    let world = World::new();
    send(&world, &["a.json"]);
    import_as(&world, &["medium"]).exits(3);
    let held = format!("importer/held/{}.json", Digest::of(&envelope("a.json")));
    flip(&world.path(&held), 100);
    world.import_inbox(&[]).exits(0);
    assert_eq!(bytes(&world), [envelope("a.json")], "the batch still lies in the inbox");
}

#[test]
fn all_that_was_found_is_told_although_the_destination_is_broken() {
    let world = World::new();
    send(&world, &["1.json"]);
    world.import(&[]).exits(0);
    send(&world, &["2.json"]);
    take_away(&world, 2, "lost");
    send(&world, &["3.json"]);
    send(&world, &["4.json"]);
    flip(&world.on_medium("-00000004.v0001.tar.zst"), 60);
    fs::remove_dir_all(world.path("out")).unwrap();
    let run = world.import(&[]).exits(1).says("is its share mounted?").says("taken batch 3");
    let run = run.says("does not match its digest").says("--resend 4");
    run.says("batch 2 has not arrived");
}

#[test]
fn a_policy_that_lists_holds_the_others_and_lets_them_go_when_listed() {
    let world = World::new();
    let other = json!({"id": "other", "name": "Other Feed", "type": "EXTERNAL_IMPORT"});
    world.made("a.json");
    world.put("b.json", &envelope_with("b", json!({"connector": other})));
    world.send(&[]).exits(0);
    policy(&world, "[connectors]\nother = \"pass\"\n");
    world.import(&[]).exits(3).says("Example Feed").says("is not listed").says("delivered 1 envelope");
    policy(&world, "[connectors]\nother = \"pass\"\n\"43509aab-0310-5f8d-9395-81f36f6d064a\" = \"pause\"\n");
    world.import_inbox(&[]).exits(3).says("is paused");
    assert_eq!(world.import_inbox(&[]).exits(0).said(), "");
    policy(&world, "");
    world.import_inbox(&[]).exits(0).says("delivered 1 envelope, all of them held before,");
    policy(&world, "[connectors]\nother = \"drop\"\n");
    world.import_inbox(&[]).exits(2).says("policy.toml").says("line 2");
}

#[test]
fn times_rise_over_runs_redeliveries_and_releases() {
    let world = World::new();
    world.put("null.json", &envelope_with("n", json!({"applicant_id": null})));
    send(&world, &["a.json"]);
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
    send(&world, &["b.json", "c.json"]);
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
fn only_what_was_delivered_leaves_the_inbox_and_it_is_still_known() {
    let world = World::new();
    send(&world, &["1.json"]);
    send(&world, &["2.json"]);
    take_away(&world, 2, "second");
    send(&world, &["3.json"]);
    world.import(&["--on-gap", "hold", "--keep", "0s"]).exits(3);
    let left = sh(&world, "ls importer/inbox").exits(0).stdout;
    assert!(left.lines().count() == 1 && left.contains("-00000003."), "what waits stays: {left}");
    bring_back(&world, "second");
    let told = report(&world, &["--on-gap", "hold", "--keep", "30d"], 0);
    assert_eq!((&told["outcome"]["delivered"], &told["replayed"]), (&json!(2), &json!(1)), "{told}");
    assert_eq!(fs::read_dir(world.path("importer/inbox")).unwrap().count(), 2, "kept for a while");
    world.import_inbox(&["--keep", "0s"]).exits(0);
    assert_eq!(fs::read_dir(world.path("importer/inbox")).unwrap().count(), 0);
    assert_eq!(world.import(&[]).exits(0).said(), "", "all three are known");
    assert_eq!(bytes(&world), ["1.json", "2.json", "3.json"].map(envelope));
    world.import_inbox(&["--keep", "a while"]).exits(2).says("invalid duration");
}

#[test]
fn another_zones_stick_is_left_as_it_is() {
    let world = World::new();
    world.made("a.json");
    world.send(&["--zone", "red"]).exits(0);
    assert_eq!(codes(&report(&world, &["--zone", "blue"], 3)), ["wrong-zone"]);
    assert_eq!(fs::read_dir(world.path("importer/inbox")).unwrap().count(), 0);
    world.import(&["--zone", "red"]).exits(0).says("delivered 1 envelope");
}

#[test]
fn what_cannot_be_a_destination_is_said_and_a_password_is_not_repeated() {
    let world = World::new();
    send(&world, &["a.json"]);
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
