//! Characters that nobody sees, or that turn the writing around, in what a stranger wrote.

use std::fs;

use serde_json::{Value, json};

use crate::support::{APPLICANT, World, envelope_with, files};

/// A control of eight bits, DEL, two that turn the writing around, four that look like blanks, one of the tags.
const HIDDEN: &str = "\u{9b}31m\u{7f}\u{202e}\u{2066}\u{3164}\u{115f}\u{34f}\u{2800}\u{e0041}";

fn has_hidden(text: &str) -> bool {
    text.chars().any(|c| c != '\n' && (c.is_control() || HIDDEN.contains(c) && !c.is_ascii()))
}

/// A site in which an envelope waits whose connector, applicant and object bear hidden characters.
fn with_hidden_names() -> World {
    let world = World::new();
    let name = format!("Feed {HIDDEN}");
    let connector = json!({"id": "c", "name": name, "type": "EXTERNAL_IMPORT", "scope": "", "auto": false});
    let marking = json!({"type": "malware", "id": format!("malware--{HIDDEN}"), "name": name,
        "opencti_operation": format!("delete{HIDDEN}")});
    let bundle = json!({"type": "bundle", "id": "bundle--1", "objects": [marking]});
    world.put("op.json", &envelope_with("op", json!({"connector": connector, "bundle": bundle})));
    let applicant = format!("{}{HIDDEN}{APPLICANT}", "long ".repeat(60));
    world.put(
        &format!("n{HIDDEN}.json"),
        &envelope_with("n", json!({"connector": connector, "applicant_id": applicant})),
    );
    world.send(&[]).exits(0);
    world.import(&["--to", "spool:spool"]).exits(3);
    world
}

#[test]
fn hidden_characters_reach_no_terminal_and_no_document() {
    let world = with_hidden_names();
    for words in [
        &["quarantine", "list"][..],
        &["applicants"],
        &["status"],
        &["import", "medium", "--redeliver", "--trust", "trust", "--to", "spool:spool"],
    ] {
        for json in [&[][..], &["--json"]] {
            let run = world.run(words.iter().chain(json).chain(&["--site", "importer"])).exits_one_of(&[0, 3]);
            assert!(!has_hidden(&run.said()), "{words:?} {json:?}: {run:?}");
        }
    }
    let op = world.source().join("op.json");
    for json in [&[][..], &["--json"]] {
        let run = world.run(["split", op.to_str().unwrap()].iter().chain(json)).exits(0);
        assert!(!has_hidden(&run.said()), "{run:?}");
    }
}

#[test]
fn escaped_documents_mean_what_was_written() {
    let world = with_hidden_names();
    let listed = world.run(["quarantine", "list", "--json", "--site", "importer"]).exits(0);
    assert!(listed.stdout.contains("\\u009b") && listed.stdout.contains("\\udb40\\udc41"), "{listed:?}");
    assert!(listed.json().to_string().contains(HIDDEN), "{listed:?}");
    for dir in ["held", "quarantine"] {
        let reasons = files(&world.path("importer").join(dir));
        let reason = reasons.into_iter().find(|(name, _)| name.ends_with(".reason.json")).unwrap().1;
        let reason = String::from_utf8(reason).unwrap();
        assert!(!has_hidden(&reason), "{reason:?}");
        let read: Value = serde_json::from_str(&reason).unwrap();
        assert_eq!(read["connector"]["name"], format!("Feed {HIDDEN}"));
    }
}

#[test]
fn a_line_to_paste_is_whole_and_means_the_applicant() {
    let world = with_hidden_names();
    let applicant = format!("{}{HIDDEN}{APPLICANT}", "long ".repeat(60));
    let run = world.run(["applicants", "--site", "importer"]).exits(0);
    let line = run.stdout.lines().find(|line| line.starts_with("# \"") && line.contains(APPLICANT)).unwrap();
    let pasted: toml::Table = line.trim_start_matches("# ").parse().unwrap();
    assert_eq!(pasted.keys().collect::<Vec<_>>(), [&applicant]);
    let to = "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10";
    let mapping = format!("{applicant}={to}");
    world.run(["applicants", "--site", "importer", "--write", "--applicant", &mapping]).exits(0);
    let text = fs::read_to_string(world.path("importer/airpouch.toml")).unwrap();
    assert!(!has_hidden(&text), "{text}");
    world
        .run(["import", "--trust", "trust", "--to", "spool:spool", "--site", "importer"])
        .exits(0)
        .prints("delivered 1");
}
