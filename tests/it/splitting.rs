//! Bundles come apart as OpenCTI's own client has them: `fixtures/split` holds what pycti made of each bundle there.

use std::fs;
use std::path::PathBuf;

use airpouch::json::Value;
use airpouch::opencti::python::write_value;
use airpouch::opencti::split::{Split, Unsplittable};

use crate::support::World;

const SPARE_ID: &str = "bundle--00000000-0000-4000-8000-000000000000";

fn parts(bundle: &str) -> Result<Vec<String>, Unsplittable> {
    let split = Split::of(bundle)?;
    let part = |at| {
        let mut out = String::new();
        split.write_part(&mut out, bundle, at, SPARE_ID);
        out
    };
    Ok((0..split.expectations()).map(part).collect())
}

fn fixtures() -> Vec<(String, PathBuf)> {
    let dir = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/split")).unwrap();
    let mut all: Vec<_> = dir
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    all.sort();
    all
}

#[test]
fn each_odd_bundle_is_split_as_pycti_splits_it() {
    let all = fixtures();
    assert!(all.len() >= 60, "{} fixtures", all.len());
    for (name, path) in all {
        let ours = parts(&fs::read_to_string(&path).unwrap());
        if name.starts_with("raises-") || name.starts_with("ours-") {
            let fault = ours.expect_err(&name);
            assert!(fault.place.starts_with("/bundle"), "{name}: {fault:?}");
            continue;
        }
        let theirs = fs::read_to_string(path.with_extension("parts")).unwrap();
        let theirs: Vec<&str> = theirs.lines().collect();
        assert_eq!(ours.expect(&name), theirs, "{name}");
    }
}

#[test]
fn a_fault_names_the_object_and_the_key() {
    let fault = |name: &str| {
        let path = format!("{}/fixtures/split/{name}.json", env!("CARGO_MANIFEST_DIR"));
        parts(&fs::read_to_string(path).unwrap()).unwrap_err()
    };
    let element = fault("raises-element-is-null");
    assert_eq!(element.place, "/bundle/objects/0/object_refs/1");
    assert!(element.what.contains("report--00000001") && element.what.contains("null in object_refs"), "{element}");
    assert_eq!(fault("raises-object-without-id").place, "/bundle/objects/1");
    assert_eq!(fault("raises-extension-is-a-text").place, "/bundle/objects/0/extensions");
    assert_eq!(fault("raises-relationship-without-source").place, "/bundle/objects/0/source_ref");
    assert_eq!(fault("raises-sighting-with-null").place, "/bundle/objects/0/where_sighted_refs");
    assert_eq!(fault("ours-marking-is-a-text").place, "/bundle/objects/0/object_marking_refs");
}

#[test]
fn a_chain_of_twenty_thousand_needs_no_deep_stack() {
    let link = |n: usize| format!(r#"{{"type":"malware","id":"malware--{n}","x_ref":"malware--{}"}}"#, n + 1);
    let chain: Vec<String> = (0..20_000).map(link).collect();
    let bundle = format!(r#"{{"id":"bundle--1","objects":[{}]}}"#, chain.join(","));
    let parts = std::thread::Builder::new().stack_size(256 << 10).spawn(move || parts(&bundle)).unwrap();
    let parts = parts.join().unwrap().unwrap();
    assert_eq!(parts.len(), 20_000);
    assert!(parts[0].contains("malware--19999") && parts[19_999].contains("\"nb_deps\": 20000"));
}

#[test]
fn nine_hundred_levels_need_no_deep_stack() {
    let deep = format!("{}1{}", "[{\"a\":".repeat(450), "}]".repeat(450));
    let bundle = format!(
        r#"{{"id":"bundle--1","objects":[{{"type":"note","id":"note--1","external_references":[{{"url":{deep}}}],"deep":{deep}}}]}}"#
    );
    let parts = std::thread::Builder::new().stack_size(512 << 10).spawn(move || parts(&bundle)).unwrap();
    assert_eq!(parts.join().unwrap().unwrap().len(), 1);
}

#[test]
fn an_object_of_too_many_keys_is_refused_at_once() {
    let keys: Vec<String> = (0..65_600).map(|n| format!("\"k{n}\":0")).collect();
    let bundle = format!(r#"{{"objects":[{{"id":"tool--1","type":"tool",{}}}]}}"#, keys.join(","));
    assert!(parts(&bundle).unwrap_err().what.contains("more than 65536 keys"));
}

#[test]
fn a_bundle_of_nothing_but_references_is_bounded() {
    let ids: Vec<String> = (0..3_000_100).map(|n| format!("\"{n:x}\"")).collect();
    for refs in [format!("[{}]", ids.join(",")), format!("\"{}\"", "a".repeat(3_000_100))] {
        let bundle = format!(r#"{{"objects":[{{"id":"tool--1","type":"tool","x_refs":{refs}}}]}}"#);
        assert!(parts(&bundle).unwrap_err().what.contains("more than 3000000 references"));
    }
}

#[test]
fn dependencies_of_more_than_64_digits_are_refused() {
    let link = |n: usize| {
        format!(
            r#"{{"type":"a","id":"i{n}","a_refs":["i{0}","j{0}"]}},{{"type":"a","id":"j{n}","a_refs":["i{0}","j{0}"]}}"#,
            n + 1
        )
    };
    let chain = |length| {
        let links: Vec<String> = (0..length).map(link).collect();
        format!(r#"{{"id":"bundle--1","objects":[{}]}}"#, links.join(","))
    };
    // Each layer has twice the dependencies of the one below, and one more: 2^n - 1.
    let last = parts(&chain(212)).unwrap().pop().unwrap();
    let digits = "6582018229284824168619876730229402019930943462534319453394436095";
    assert!(
        last.contains(&format!("\"x_opencti_seq\": {digits}, ")) && last.contains(&format!("\"nb_deps\": {digits}}}"))
    );
    for length in [214, 30_000] {
        let fault = parts(&chain(length)).unwrap_err();
        assert!(fault.what.contains("a number of more than 64 digits"), "{fault}");
    }
}

#[test]
fn dense_references_are_not_walked_repeatedly() {
    // In each web every object refers to all others: pycti takes seconds for this, by the square of references.
    let bundle = |webs: usize, size: usize| {
        let web = |web: usize| {
            let ids: Vec<String> = (0..size).map(|n| format!("\"malware--{web}-{n}\"")).collect();
            let list = ids.join(",");
            ids.iter().map(|id| format!(r#"{{"type":"malware","id":{id},"x_refs":[{list}]}}"#)).collect::<Vec<_>>()
        };
        let objects: Vec<String> = (0..webs).flat_map(web).collect();
        format!(r#"{{"id":"bundle--1","objects":[{}]}}"#, objects.join(","))
    };
    assert_eq!(parts(&bundle(100, 40)).unwrap().len(), 4_000);
    // The dependencies of one web of 1,500 objects cannot be counted in 64 digits.
    let fault = parts(&bundle(1, 1_500)).unwrap_err();
    assert!(fault.what.contains("a number of more than 64 digits"), "{fault}");
}

/// `AIRPOUCH_MANGLED` says how many, for hours of it.
#[test]
fn mangled_bundle_is_split_into_json_or_refused() {
    let count = std::env::var("AIRPOUCH_MANGLED").map_or(500_000, |text| text.parse().unwrap());
    let bundles: Vec<Vec<u8>> = fixtures().iter().map(|(_, path)| fs::read(path).unwrap()).collect();
    let bundles: Vec<Vec<u8>> = bundles.into_iter().filter(|b| b.len() < 4_000).collect();
    let mut seed = 7_u64;
    let mut below = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    let (mut read, mut apart) = (0, 0);
    for _ in 0..count {
        let mut bundle = bundles[below(bundles.len())].clone();
        for _ in 0..1 + below(3) {
            mangle(&mut bundle, &bundles[below(bundles.len())], &mut below);
        }
        let Ok(text) = String::from_utf8(bundle) else { continue };
        let is_json = Value::read(&text).is_ok();
        assert!(is_json || serde_json::from_str::<serde_json::Value>(&text).is_err(), "{text}");
        let parts = parts(&text);
        assert!(is_json || parts.is_err(), "{text}");
        read += usize::from(is_json);
        for part in parts.into_iter().flatten() {
            apart += 1;
            let mut again = String::new();
            write_value(&mut again, Value::read(&part).expect("a part is JSON"));
            assert_eq!(again, part, "{text}");
            assert!(part.is_ascii(), "{text}");
        }
    }
    assert!(read * 10 > count && apart > read, "{read} of {count} are JSON, in {apart} parts: nothing was tried");
}

fn mangle(bundle: &mut Vec<u8>, other: &[u8], below: &mut impl FnMut(usize) -> usize) {
    const WORDS: [&str; 16] = [
        "null",
        "{}",
        "[]",
        "\"\"",
        "1e400",
        "-0",
        "\\ud800",
        ",",
        ":",
        "\"id\":",
        "\"nb_deps\":",
        "[[",
        "true",
        "\\",
        "\"",
        "}",
    ];
    let at = below(bundle.len().max(1)).min(bundle.len());
    let end = (at + 1 + below(40)).min(bundle.len());
    match below(5) {
        0 => drop(bundle.drain(at..end)),
        1 => drop(bundle.splice(at..at, WORDS[below(WORDS.len())].bytes())),
        2 => {
            let piece = bundle[at..end].to_vec();
            bundle.splice(at..at, piece);
        }
        3 => {
            let from = below(other.len());
            let piece = other[from..(from + 40).min(other.len())].to_vec();
            bundle.splice(at..end, piece);
        }
        _ if at < end => bundle[at] = b"0{}[]\",:eE-x"[below(12)],
        _ => {}
    }
}

#[test]
fn split_shows_the_parts_of_an_envelope() {
    let world = World::new();
    let envelope = r#"{"bundle_type":"DIRECTORY_BUNDLE","applicant_id":null,"connector":{"id":"feed","name":"Feed","type":"EXTERNAL_IMPORT","scope":"tool, report","auto":false},"bundle":{"id":"bundle--1","objects":[{"type":"report","id":"report--1","object_refs":["tool--1"]},{"type":"tool","id":"tool--1"},{"type":"x-foo","id":"x-foo--1"},{"type":"sighting","id":"sighting--1"}]}}"#;
    fs::write(world.path("e.json"), envelope).unwrap();
    let run = world.run(["split", "e.json"]).exits(0);
    let run =
        run.prints("connector feed (Feed), 2 messages").prints("tool--1").prints("skipped: 2 incompatible objects");
    run.prints("x-foo--1 (object 2): its id is of a type that the platform does not know")
        .prints("sighting--1 (object 3): its sighting_of_ref is missing or null");
    let report = world.run(["split", "e.json", "--json"]).exits(0).json()["report"].clone();
    assert_eq!(report["expectations"], 2);
    assert_eq!(report["messages"][1]["x_opencti_seq"], "2");
    assert_eq!(report["connector"]["scope"], serde_json::json!(["tool", "report"]));
    assert_eq!(report["incompatible"][0]["object"], 2);
    let bundles = world.run(["split", "e.json", "--bundles"]).exits(0).stdout;
    let first = r#"{"type": "bundle", "id": "bundle--1", "spec_version": "2.1", "x_opencti_seq": 1, "objects": [{"type": "tool", "id": "tool--1", "nb_deps": 1}]}"#;
    assert_eq!(bundles.lines().next(), Some(first));
    fs::write(world.path("bad.json"), envelope.replace("[\"tool--1\"]", "[7]")).unwrap();
    world.run(["split", "bad.json"]).exits(1).says("a number in object_refs").says("/bundle/objects/0/object_refs/0");
    fs::write(world.path("none.json"), "{}").unwrap();
    world.run(["split", "none.json"]).exits(1).says("not an envelope");
}
