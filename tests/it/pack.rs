//! Packing as a user meets it: what is taken, what is told and how often, in which order, under which number.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use crate::support::{Run, World, envelope, envelope_with, files, finish};
use airpouch::digest::Digest;
use serde_json::{Value, json};

/// Sets a time before or after 1970, with nanoseconds.
fn touch(path: &Path, seconds: i64, nanos: u32) {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(time + Duration::from_nanos(nanos.into())).unwrap();
}

/// The manifests on a shelf, by name: their bytes and what they say.
fn manifests(dir: &Path) -> Vec<(Vec<u8>, Value)> {
    let found = files(dir).into_iter().filter(|(name, _)| name.ends_with(".manifest"));
    found.map(|(_, bytes)| (bytes.clone(), serde_json::from_slice(&bytes).unwrap())).collect()
}

/// A shell command in the world's directory.
fn sh(world: &World, script: &str) -> Run {
    finish(Command::new("sh").args(["-ec", script]).current_dir(world.dir.path()))
}

/// The program under strace, with these options of strace.
fn traced(world: &World, strace: &[&str], arguments: &[&str]) -> Run {
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
fn a_refused_file_is_told_once_and_counted_from_then_on() {
    let world = World::new();
    world.made("good.json");
    world.put("bad.json", &envelope("bad")[..100]);
    let first = pack_json(&world, &[], 3);
    assert_eq!((&first["refused"], &first["refused_before"]), (&json!(1), &json!(0)));
    assert_eq!((&first["findings"][0]["code"], &first["findings"][0]["path"]), (&json!("cut-off"), &json!("bad.json")));
    let second = pack_json(&world, &[], 0);
    assert_eq!(
        (&second["refused"], &second["refused_before"], &second["unchanged"]),
        (&json!(1), &json!(1), &json!(2))
    );
    assert_eq!(second["findings"], json!([]));
    world.put("bad.json", b"{\"half\": NaN}");
    let changed = pack_json(&world, &[], 3);
    assert_eq!(changed["findings"][0]["code"], "not-json");
    let status = || world.run(["status", "--site", "exporter", "--json"]).exits(0).json()["report"].clone();
    assert_eq!(status()["refused_files"][0][0], "bad.json");
    fs::remove_file(world.source().join("bad.json")).unwrap();
    assert_eq!(pack_json(&world, &[], 0)["refused"], 0);
    assert_eq!(status()["refused_files"], json!([]), "what is gone is forgotten");
}

#[test]
fn a_refused_file_is_told_once_by_whatever_path_its_directory_is_named() {
    let world = World::new();
    world.put("bad.json", b"{}");
    world.pack(&[]).exits(3);
    let absolute = world.source();
    for source in ["./src", "src/", "trust/../src", absolute.to_str().unwrap()] {
        let run = world.run(["pack", source, "--key", "keys/site-a.key.pem", "--site", "exporter"]);
        assert_eq!(run.exits(0).said(), "", "{source}");
    }
    let status = world.run(["status", "--site", "exporter", "--json"]).exits(0).json();
    assert_eq!(status["report"]["refused_files"].as_array().unwrap().len(), 1);
}

#[test]
fn each_kind_of_bad_file_has_its_own_code() {
    let world = World::new();
    let with = |fields: Value| envelope_with("x", fields);
    let connector = |id: &str, name: &str| json!({"id": id, "name": name, "type": "EXTERNAL_IMPORT"});
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000)).into_bytes();
    let twice = String::from_utf8(envelope("x")).unwrap().replacen("\"update\":", "\"update\":1,\"update\":", 1);
    let id_twice = String::from_utf8(envelope("x")).unwrap().replacen("\"auto\":", "\"auto\":true,\"auto\":", 1);
    let utf16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("empty", b" \n".to_vec()),
        ("zeros", vec![0; 4096]),
        ("byte-order-mark", b"\xef\xbb\xbf{}".to_vec()),
        ("utf-16", utf16),
        ("not-utf-8", b"{\"a\": \"\xe9\"}".to_vec()),
        ("cut-off", envelope("x")[..200].to_vec()),
        ("not-json", b"{\"a\": -Infinity}".to_vec()),
        ("not-json", [envelope("x"), envelope("y")].concat()),
        ("too-deep", deep),
        ("not-an-object", b"[]".to_vec()),
        ("duplicate-key", twice.into_bytes()),
        ("duplicate-key", id_twice.into_bytes()),
        ("missing-field", b"{\"bundle_type\": \"DIRECTORY_BUNDLE\"}".to_vec()),
        ("wrong-type", with(json!({"applicant_id": 7}))),
        ("wrong-type", with(json!({"bundle": {"objects": {}}}))),
        ("too-long", with(json!({"connector": connector("c", &"n".repeat(2000))}))),
        ("connector-id", with(json!({"connector": connector("../c", "Feed")}))),
        ("bundle-type", with(json!({"bundle_type": "MAIL"}))),
    ];
    for (n, (code, bytes)) in bad.iter().enumerate() {
        world.put(&format!("{code}-{n}.json"), bytes);
    }
    let huge = fs::File::create(world.source().join("too-large-99.json")).unwrap();
    huge.set_len(256 << 20).unwrap();
    let report = pack_json(&world, &[], 3);
    let found = report["findings"].as_array().unwrap();
    assert_eq!(found.len(), bad.len() + 1, "{found:#?}");
    for finding in found {
        let (code, place) = (finding["code"].as_str().unwrap(), finding["path"].as_str().unwrap());
        assert!(place.starts_with(&format!("{code}-")), "{code} was said of {place}");
        assert_eq!(finding["severity"], "incomplete");
    }
    assert_eq!(report["packed"], json!([]));
    assert!(files(&world.path("exporter/outbox")).is_empty(), "no number was used");
}

#[test]
fn file_with_one_field_twice_is_not_packed_and_not_called_quarantined() {
    let world = World::new();
    for name in ["a.json", "b.json"] {
        let twice = String::from_utf8(envelope(name)).unwrap().replacen('{', "{\"applicant_id\": null, ", 1);
        world.put(name, twice.as_bytes());
    }
    let run = world.pack(&[]).exits(3).says("not packed: 2 files: duplicate key: applicant_id appears twice\n");
    run.says("at a.json, b.json\n").says_nothing_of("quarantined");
}

#[test]
fn a_bad_file_is_told_with_line_and_column() {
    let world = World::new();
    world.put("a.json", b"{\n  \"half\": NaN\n}");
    world.put("b.json", b"{\n \"a\": [1,");
    world.pack(&[]).exits(3).says("line 2, column 11").says("at a.json").says("line 2, column").says("left in place");
}

#[test]
fn what_only_looks_like_an_envelope_file_is_no_input() {
    let world = World::new();
    fs::create_dir(world.source().join("folder.json")).unwrap();
    sh(&world, "mkfifo src/pipe.json && ln -s /etc/passwd src/link.json && touch src/UPPER.JSON src/.json").exits(0);
    world.made("good.json");
    let report = pack_json(&world, &[], 3);
    assert_eq!((&report["looked_at"], &report["packed"][0]["envelopes"]), (&json!(1), &json!(1)));
    let told: Vec<_> = report["findings"].as_array().unwrap().iter().map(|f| (&f["code"], &f["path"])).collect();
    assert_eq!(told.len(), 2, "{report}");
    assert!(told.iter().all(|(code, _)| *code == "not-a-file"), "{report}");
    assert_eq!(pack_json(&world, &[], 0)["findings"], json!([]), "told once");
}

#[test]
fn folders_below_are_read_when_asked_and_in_one_order() {
    let world = World::new();
    for (dir, name, time) in [("b", "same.json", 30), ("a", "same.json", 20), ("a/deep", "first.json", 10)] {
        fs::create_dir_all(world.source().join(dir)).unwrap();
        let path = world.source().join(dir).join(name);
        fs::write(&path, envelope(&format!("{dir}/{name}"))).unwrap();
        touch(&path, time, 0);
    }
    assert_eq!(world.pack(&[]).exits(0).said().lines().count(), 1, "nothing but that the site was made");
    world.send(&["--recursive"]).exits(0).says("3 envelopes");
    world.import(&[]).exits(0);
    let order: Vec<_> = ["a/deep/first.json", "a/same.json", "b/same.json"].iter().map(|n| envelope(n)).collect();
    assert_eq!(world.delivered().into_iter().map(|(_, b)| b).collect::<Vec<_>>(), order);
    assert_eq!(world.pack(&["--recursive"]).exits(0).said(), "");
}

#[test]
fn content_that_was_packed_is_never_packed_again() {
    let world = World::new();
    let bytes = fs::read(world.made("a.json")).unwrap();
    world.put("b.json", &bytes);
    let report = pack_json(&world, &[], 0);
    assert_eq!((&report["packed"][0]["envelopes"], &report["already_packed"]), (&json!(1), &json!(1)));
    // A new time, a new name, another content and back, the first file gone: nothing is new.
    touch(&world.source().join("a.json"), 5, 0);
    world.put("c.json", &bytes);
    fs::remove_file(world.source().join("b.json")).unwrap();
    assert_eq!(pack_json(&world, &[], 0)["already_packed"], 2);
    world.put("a.json", &envelope("other"));
    assert_eq!(pack_json(&world, &[], 0)["packed"][0]["sequence"], 2);
    world.put("a.json", &bytes);
    assert_eq!(pack_json(&world, &[], 0)["packed"], json!([]));
}

#[test]
fn a_file_that_vanishes_is_counted_and_stops_nothing() {
    let world = World::new();
    world.made("a.json");
    let gone = world.made("b.json");
    world.made("c.json");
    let source = world.source();
    let pack = ["pack", source.to_str().unwrap(), "--key", "keys/site-a.key.pem", "--site", "exporter", "--json"];
    let inject = ["-o", "/dev/null", "-P", gone.to_str().unwrap(), "-e", "inject=openat:error=ENOENT"];
    let report = traced(&world, &inject, &pack).exits(0).json()["report"]["pack"].clone();
    assert_eq!((&report["gone"], &report["packed"][0]["envelopes"]), (&json!(1), &json!(2)));
    // It is looked at again, for nothing is known of it.
    assert_eq!(world.run(pack).exits(0).json()["report"]["pack"]["packed"][0]["envelopes"], 1);
}

#[test]
fn order_is_by_time_before_1970_and_after_2242_too() {
    let world = World::new();
    let times: [(&str, i64, u32); 6] = [
        ("e.json", 9_000_000_000, 0),
        ("d.json", 8_589_934_591, 999_999_999),
        ("c.json", 1_000, 2),
        ("b.json", 1_000, 1),
        ("z.json", -1, 500),
        ("y.json", -1_000_000, 0),
    ];
    for (name, seconds, nanos) in times {
        touch(&world.made(name), seconds, nanos);
    }
    touch(&world.made("b2.json"), 1_000, 1);
    world.send(&[]).exits(0);
    world.verify(&[]).exits(0);
    world.import(&[]).exits(0);
    let order = ["y.json", "z.json", "b.json", "b2.json", "c.json", "d.json", "e.json"].map(envelope);
    assert_eq!(world.delivered().into_iter().map(|(_, b)| b).collect::<Vec<_>>(), order);
    let index = sh(&world, "zstd -dcq medium/*.index.zst").exits(0);
    index.says("\"1969-12-31T23:59:59.000000500Z\"").says("\"2255-03-14T16:00:00.000000000Z\"");
}

#[test]
fn batches_close_at_their_size_and_each_names_the_ones_before() {
    let world = World::new();
    for n in 0..7 {
        world.put(&format!("{n}.json"), &envelope_with(&format!("{n}"), json!({"update": "x".repeat(50_000)})));
    }
    world.pack(&["--max-batch", "110 KB", "--volume-size", "64KiB"]).exits(0).says("packed batch 4");
    world.pack(&["--heartbeat"]).exits(0).says("packed batch 5").says("a heartbeat");
    let made = manifests(&world.path("exporter/outbox"));
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
}

#[test]
fn sizes_that_cannot_be_are_refused_before_anything_is_read() {
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
fn a_heartbeat_is_made_only_where_there_is_nothing_else() {
    let world = World::new();
    world.pack(&["--heartbeat"]).exits(0).says("packed batch 1 for zone default: a heartbeat");
    world.made("a.json");
    world.pack(&["--heartbeat", "--promise", "90s"]).exits(0).says("packed batch 2").says_nothing_of("batch 3");
    let made = manifests(&world.path("exporter/outbox"));
    assert_eq!((&made[0].1["promise"], &made[1].1["promise"]), (&json!(null), &json!(90)));
    assert_eq!((&made[0].1["volumes"], &made[0].1["connectors"]), (&json!([]), &json!([])));
    assert_eq!(world.pack(&[]).exits(0).said(), "", "without the flag there is none");
}

#[test]
fn each_named_key_signs_and_openssl_agrees() {
    let world = World::new();
    world.key("site-b", [9; 32]);
    world.made("a.json");
    world.pack(&["--key", "keys/site-b.key.pem", "--key", "keys/site-a.key.pem"]).exits(0);
    let signatures: Vec<_> =
        files(&world.path("exporter/outbox")).into_iter().filter(|f| f.0.ends_with(".sig")).collect();
    assert_eq!(signatures.len(), 2, "one key named twice signs once");
    let verified = "for key in trust/*.pub.pem; do for sig in exporter/outbox/*.sig; do
        openssl pkeyutl -verify -pubin -inkey $key -rawin -in exporter/outbox/*.manifest -sigfile $sig || true; done; done";
    let said = sh(&world, verified).exits(0).said();
    assert_eq!(said.matches("Verified Successfully").count(), 2, "{said}");
}

#[test]
fn several_volumes_and_batches_are_the_same_on_any_number_of_threads() {
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
    for threads in ["1", "2", "4"] {
        sh(&world, "cp -r before exporter").exits(0);
        let mut command = world.command();
        command.args(["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter", "--threads", threads]);
        command.args(["--volume-size", "64KiB", "--max-batch", "200 KB"]).env("SOURCE_DATE_EPOCH", "1795572000");
        finish(&mut command).exits(0);
        made.push(files(&world.path("exporter/outbox")));
        fs::remove_dir_all(world.path("exporter")).unwrap();
    }
    let volumes = made[0].iter().filter(|(name, _)| name.contains(".v00")).count();
    assert!(volumes >= 5, "{volumes} volumes");
    assert!(made[1] == made[0] && made[2] == made[0]);
    let created = |files: &[(String, Vec<u8>)]| {
        let last = files.iter().rfind(|(name, _)| name.ends_with(".manifest")).unwrap();
        serde_json::from_slice::<Value>(&last.1).unwrap()["created"].clone()
    };
    assert_eq!(created(&made[0]), "2026-11-25T02:00:00Z");
}

#[test]
fn a_site_with_several_zones_wants_to_know_which_for_every_verb() {
    let world = World::new();
    world.made("a.json");
    world.pack(&["--zone", "red"]).exits(0);
    world.pack(&[]).exits(0);
    assert_eq!(manifests(&world.path("exporter/outbox")).len(), 1, "the only zone goes without saying");
    world.pack(&["--zone", "blue", "--new-zone"]).exits(0).says("packed batch 1 for zone blue");
    for verb in [vec!["pack", "src", "--key", "keys/site-a.key.pem"], vec!["carry", "medium"], vec!["stream", "renew"]]
    {
        let run = world.run(verb.iter().chain(&["--site", "exporter"])).exits(2);
        run.says("several zones: red, blue").says("--zone");
    }
    world.run(["stream", "renew", "--zone", "red", "--site", "exporter"]).exits(0);
    world.carry(&["--zone", "red"]).exits(0);
    assert_eq!(manifests(&world.medium())[0].1["zone"], "red");
}

#[test]
fn encrypted_key_without_a_terminal_is_wrong_usage() {
    let world = World::new();
    world.made("a.json");
    fs::write(world.path("words"), "correct horse\n").unwrap();
    fs::write(world.path("wrong"), "correct mule\n").unwrap();
    world.run(["keygen", "--out", "keys/own", "--passphrase-file", "words"]).exits(0);
    let pack = ["pack", "src", "--key", "keys/own.key.pem", "--site", "exporter"];
    world.run(pack).exits(2).says("there is no terminal").says("--passphrase-file");
    world.run(pack.iter().chain(&["--passphrase-file", "wrong"])).exits(2).says("keys/own.key.pem");
    world.run(pack.iter().chain(&["--passphrase-file", "nowhere"])).exits(2).says("passphrase");
    assert!(!world.path("exporter/ledger.db").exists(), "nothing was begun without a key");
    world.run(pack.iter().chain(&["--passphrase-file", "words"])).exits(0).says("packed batch 1");
}

#[test]
fn a_key_that_others_can_read_is_warned_about_at_each_use() {
    let world = World::new();
    world.made("a.json");
    sh(&world, "chmod 644 keys/site-a.key.pem").exits(0);
    world.pack(&[]).exits(0).says("readable by others (mode 644)").says("chmod 600").says("packed batch 1");
    world.pack(&[]).exits(0).says("readable by others");
    sh(&world, "chmod 400 keys/site-a.key.pem").exits(0);
    assert_eq!(world.pack(&[]).exits(0).said(), "");
}

#[test]
fn a_key_that_is_none_is_said_with_its_place() {
    let world = World::new();
    world.made("a.json");
    let pack = |key: &str| world.run(["pack", "src", "--key", key, "--site", "exporter"]);
    pack("nowhere.pem").exits(2).says("nowhere.pem").says("airpouch keygen");
    pack("trust/site-a.pub.pem").exits(2).says("cannot be used").says("trust/site-a.pub.pem");
    world.run(["pack", "src", "--site", "exporter"]).exits(2).says("no key given").says("--key FILE");
    world.run(["pack", "--site", "exporter"]).exits(2).says("no source given");
    world.run(["pack", "nowhere", "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(1).says("nowhere");
}

#[test]
fn a_medium_that_is_not_there_is_said_before_anything_is_packed() {
    let world = World::new();
    world.made("a.json");
    world.run(["pack", "src", "absent", "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(1).says("absent");
    world.send(&["--require-mount"]).exits(1).says("nothing is mounted");
    assert!(files(&world.path("exporter/outbox")).is_empty());
}

#[test]
fn a_ledger_that_was_set_back_is_seen_by_the_outbox_alone() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    sh(&world, "cp exporter/ledger.db ledger.old").exits(0);
    world.made("2.json");
    world.pack(&[]).exits(0);
    sh(&world, "cp ledger.old exporter/ledger.db").exits(0);
    let before = files(&world.path("exporter/outbox"));
    world.made("3.json");
    let refused = world.pack(&[]).exits(1).says("the ledger is out of date").says("airpouch stream renew");
    refused.says_nothing_of("--medium");
    world.carry(&[]).exits(1).says("the ledger is out of date").says("airpouch stream renew");
    assert_eq!(files(&world.path("exporter/outbox")), before);
    assert!(files(&world.medium()).is_empty());
    world.run(["stream", "renew", "--site", "exporter"]).exits(0).says("batch 2").says("goes on from batch 2");
    world.send(&[]).exits(0).says("packed batch 1 for zone default: 1 envelope,");
    world.import(&[]).exits(0);
    let delivered: Vec<_> = world.delivered().into_iter().map(|(_, b)| b).collect();
    assert_eq!(delivered, ["1.json", "2.json", "3.json"].map(envelope));
}

#[test]
fn a_site_that_was_set_back_is_seen_by_the_medium_and_the_advice_names_it() {
    let world = World::new();
    world.made("1.json");
    world.send(&[]).exits(0);
    sh(&world, "cp -r exporter backup").exits(0);
    world.made("2.json");
    world.send(&[]).exits(0);
    sh(&world, "rm -r exporter && mv backup exporter").exits(0);
    let before = files(&world.medium());
    for run in [world.send(&[]), world.carry(&[])] {
        run.exits(1).says("the ledger is out of date").says("airpouch stream renew --site exporter --medium medium");
    }
    assert_eq!(files(&world.medium()), before);
    assert_eq!(manifests(&world.path("exporter/outbox")).len(), 1, "no number was used twice");
    world.run(["stream", "renew", "--medium", "medium", "--site", "exporter"]).exits(0);
    // The lost batch is back, and another stick gets it, with all that it needs.
    fs::create_dir(world.path("second")).unwrap();
    world.run(["carry", "second", "--site", "exporter"]).exits(0).says("new: batch 2 (1 envelope");
    world.run(["verify", "second", "--trust", "trust"]).exits(0).says("holds: batch 2");
    assert_eq!(world.pack(&[]).exits(0).said(), "", "and its content is not packed again");
}

#[test]
fn a_ledger_set_back_that_nothing_at_hand_shows_is_found_when_the_stick_comes() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    sh(&world, "cp -r exporter backup").exits(0);
    world.made("2.json");
    world.send(&[]).exits(0);
    sh(&world, "rm -r exporter && mv backup exporter").exits(0);
    world.made("3.json");
    // Neither the outbox nor a stick shows that 2 was issued, so it is issued again: the stick says so.
    world.pack(&[]).exits(0).says("packed batch 2");
    let before = files(&world.medium());
    world.carry(&[]).exits(1).says("was not overwritten");
    assert_eq!(files(&world.medium()), before);
    world.run(["status", "--site", "exporter"]).exits(0).says("packed, not carried");
}

#[test]
fn a_lost_ledger_is_told_by_the_outbox_and_renewed_from_it() {
    let world = World::new();
    world.made("1.json");
    world.made("2.json");
    world.pack(&[]).exits(0);
    let before = files(&world.path("exporter/outbox"));
    sh(&world, "rm exporter/ledger.db*").exits(0);
    world.pack(&[]).exits(1).says("the ledger is out of date").says("airpouch stream renew");
    assert_eq!(files(&world.path("exporter/outbox")), before);
    // The new ledger knows no key, so the old batches are known by the trust store.
    world.run(["stream", "renew", "--trust", "trust", "--site", "exporter"]).exits(0).says("goes on from batch 1");
    assert_eq!(world.pack(&[]).exits(0).said(), "");
    world.carry(&[]).exits(0).says("new: batch 1 (2 envelopes");
    world.import(&[]).exits(0).says("delivered 2 envelopes");
}

/// docs/operations.md, "The whole site is lost", as it stands there.
#[test]
fn a_lost_site_is_made_again_from_its_sticks() {
    let world = World::new();
    world.made("1.json");
    world.send(&[]).exits(0);
    sh(&world, "rm -r exporter && install -d -m 700 exporter exporter/outbox && cp medium/airpouch-* exporter/outbox/")
        .exits(0);
    world.made("2.json");
    world
        .run(["stream", "renew", "--zone", "default", "--trust", "trust", "--site", "exporter"])
        .exits(0)
        .says("goes on from batch 1");
    world.pack(&[]).exits(0).says("packed batch 1 for zone default: 1 envelope,");
}

#[test]
fn a_ledger_lost_after_two_renewals_packs_nothing_again() {
    let world = World::new();
    for n in 1..=4 {
        world.made(&format!("{n}.json"));
        world.pack(&[]).exits(0);
        if n < 4 {
            world.run(["stream", "renew", "--site", "exporter"]).exits(0);
        }
    }
    sh(&world, "rm exporter/ledger.db*").exits(0);
    world.pack(&[]).exits(1);
    world.run(["stream", "renew", "--trust", "trust", "--site", "exporter"]).exits(0);
    assert_eq!(world.pack(&[]).exits(0).said(), "", "all four envelopes are in the outbox");
}

#[test]
fn a_sealed_batch_that_lost_a_file_is_led_out_of_by_a_new_stream() {
    let world = World::new();
    world.made("1.json");
    world.send(&[]).exits(0);
    world.made("2.json");
    world.pack(&[]).exits(0);
    // As a crash after the seal leaves it, and the disk has lost the volume.
    let unsealed = "sqlite3 exporter/ledger.db \"UPDATE packed_batch SET state = 'sealed' WHERE sequence = 2\"
        cd exporter/outbox && rm *-00000002.manifest *-00000002.*.sig *-00000002.v0001.tar.zst";
    sh(&world, unsealed).exits(0);
    world.pack(&[]).exits(1).says("has lost a file").says("v0001.tar.zst").says("airpouch stream renew");
    world.run(["stream", "renew", "--site", "exporter"]).exits(0).says("goes on from batch 1");
    world.send(&[]).exits(0).says("packed batch 1 for zone default: 1 envelope,");
    world.import(&[]).exits(0);
    let delivered: Vec<_> = world.delivered().into_iter().map(|(_, b)| b).collect();
    assert_eq!(delivered, ["1.json", "2.json"].map(envelope));
    // Nothing is left to settle: the old stream's sealed number goes nowhere any more.
    world.run(["status", "--site", "exporter"]).exits(0).says_nothing_of("to settle");
}

#[test]
fn a_sealed_batch_is_signed_by_the_next_run() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    let before = files(&world.path("exporter/outbox"));
    sh(
        &world,
        "sqlite3 exporter/ledger.db \"UPDATE packed_batch SET state = 'sealed'\" && rm exporter/outbox/*.manifest exporter/outbox/*.sig",
    )
    .exits(0);
    world.run(["status", "--site", "exporter"]).exits(0).says("sealed, not signed").says("airpouch pack");
    world.pack(&[]).exits(0).says("signed batch 1, which an earlier run had sealed: 1 envelope");
    assert_eq!(files(&world.path("exporter/outbox")), before, "the same bytes, signed again");
}

#[test]
fn an_unchanged_directory_is_packed_in_silence_and_no_file_is_opened() {
    let world = World::new();
    for n in 0..20 {
        world.made(&format!("{n}.json"));
    }
    world.put("bad.json", b"{}");
    world.pack(&[]).exits(3);
    let pack = ["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"];
    let run = traced(&world, &["-o", "trace", "-e", "trace=openat"], &pack).exits(0);
    assert_eq!(run.said(), "");
    let trace = fs::read_to_string(world.path("trace")).unwrap();
    assert!(trace.contains("src\"") && trace.contains("ledger.db"), "the trace saw what was opened");
    assert!(!trace.contains(".json"), "{trace}");
}

#[test]
fn another_run_at_the_same_site_is_told_at_once() {
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
fn a_site_of_one_side_is_not_the_other_sides() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&["--site", "exporter"]).exits(2).says("exporter's").says("--site DIR");
    world.import(&[]).exits(0);
    world.pack(&["--site", "importer"]).exits(2).says("importer's");
}
