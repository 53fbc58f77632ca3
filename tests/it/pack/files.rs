//! Which files are packed, in which order, and which are refused, how often and with which words.

use std::fs;

use serde_json::{Value, json};

use super::{pack_json, touch, traced};
use crate::support::{World, envelope, envelope_with, files};

#[test]
fn refused_file_is_reported_once_and_counted_from_then_on() {
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
    assert_eq!(status()["refused_files"][0]["path"], "bad.json");
    world.put("bad.json", &envelope("bad"));
    assert_eq!(pack_json(&world, &[], 0)["packed"][0]["sequence"], 2, "it is whole now");
    world.put("bad.json", b"{}");
    pack_json(&world, &[], 3);
    fs::remove_file(world.source().join("bad.json")).unwrap();
    assert_eq!(pack_json(&world, &[], 0)["refused"], 0);
    assert_eq!(status()["refused_files"], json!([]), "what is gone is forgotten");
}

#[test]
fn refused_file_is_reported_once_by_any_path_of_its_directory() {
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
fn refused_file_has_a_code_and_words_for_each_kind() {
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
    let words = [
        ("empty", "empty"),
        ("byte-order-mark", "byte order mark"),
        ("utf-16", "UTF-16"),
        ("not-utf-8", "UTF-8"),
        ("cut-off", "cut off"),
        ("not-json", "not JSON"),
        ("not-an-object", "object"),
        ("missing-field", "the field connector is missing"),
        ("duplicate-key", "twice"),
    ];
    let report = pack_json(&world, &[], 3);
    let found = report["findings"].as_array().unwrap();
    assert_eq!(found.len(), bad.len() + 1, "{found:#?}");
    for finding in found {
        let (code, place) = (finding["code"].as_str().unwrap(), finding["path"].as_str().unwrap());
        assert!(place.starts_with(&format!("{code}-")), "{code} was said of {place}");
        assert_eq!(finding["severity"], "incomplete");
        let what = finding["what"].as_str().unwrap();
        assert!(words.iter().all(|(of, word)| *of != code || what.contains(word)), "{code}: {what}");
    }
    assert_eq!(files(&world.source()).len(), bad.len() + 1, "nothing was taken away");
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
fn refused_file_is_reported_with_line_and_column() {
    let world = World::new();
    world.put("a.json", b"{\n  \"half\": NaN\n}");
    world.put("b.json", b"{\n \"a\": [1,");
    world.pack(&[]).exits(3).says("line 2, column 11").says("at a.json").says("line 2, column").says("left in place");
}

#[test]
fn files_that_only_look_like_envelopes_are_not_packed() {
    let world = World::new();
    fs::create_dir(world.source().join("folder.json")).unwrap();
    world.sh("mkfifo src/pipe.json && ln -s /etc/passwd src/link.json && touch src/UPPER.JSON src/.json").exits(0);
    world.made("good.json");
    for name in [".hidden.json", "good.json.tmp", "readme.txt", "airpouch-0123456789abcdef-00000001.manifest"] {
        world.put(name, b"x");
    }
    let report = pack_json(&world, &[], 3);
    assert_eq!((&report["looked_at"], &report["packed"][0]["envelopes"]), (&json!(1), &json!(1)));
    let told: Vec<_> = report["findings"].as_array().unwrap().iter().map(|f| (&f["code"], &f["path"])).collect();
    assert_eq!(told.len(), 2, "{report}");
    assert!(told.iter().all(|(code, _)| *code == "not-a-file"), "{report}");
    assert_eq!(pack_json(&world, &[], 0)["findings"], json!([]), "told once");
}

#[test]
fn recursive_pack_reads_directories_below_in_one_order() {
    let world = World::new();
    for (dir, name, time) in [("b", "same.json", 30), ("a", "same.json", 20), ("a/deep", "first.json", 10)] {
        fs::create_dir_all(world.source().join(dir)).unwrap();
        let path = world.source().join(dir).join(name);
        fs::write(&path, envelope(&format!("{dir}/{name}"))).unwrap();
        touch(&path, time, 0);
    }
    fs::create_dir(world.source().join("a/.git")).unwrap();
    fs::write(world.source().join("a/.git/no.json"), b"x").unwrap();
    assert_eq!(world.pack(&[]).exits(0).said().lines().count(), 1, "nothing but that the site was made");
    world.send(&["--recursive"]).exits(0).prints("3 envelopes");
    world.import(&[]).exits(0);
    let order: Vec<_> = ["a/deep/first.json", "a/same.json", "b/same.json"].iter().map(|n| envelope(n)).collect();
    assert_eq!(world.delivered_bytes(), order);
    assert_eq!(world.pack(&["--recursive"]).exits(0).said(), "");
}

#[test]
fn packed_content_is_never_packed_again() {
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
fn vanished_file_is_counted_and_stops_nothing() {
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
fn order_is_by_time_then_name_before_1970_and_after_2242_too() {
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
    touch(&world.made("a2.json"), 1_000, 1);
    world.send(&[]).exits(0);
    world.verify(&[]).exits(0);
    world.import(&[]).exits(0);
    let order = ["y.json", "z.json", "a2.json", "b.json", "c.json", "d.json", "e.json"].map(envelope);
    assert_eq!(world.delivered_bytes(), order);
    let index = world.sh("zstd -dcq medium/*.index.zst").exits(0);
    index.prints("\"1969-12-31T23:59:59.000000500Z\"").prints("\"2255-03-14T16:00:00.000000000Z\"");
}

#[test]
fn unchanged_directory_opens_no_file_and_prints_nothing() {
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
    assert!(!trace.contains(".json\""), "{trace}");
}
