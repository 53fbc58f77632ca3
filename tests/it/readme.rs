//! README's day, run as it is written there.

use std::fs;

use serde_json::json;

use crate::names::named;
use crate::support::{World, envelope_with, finish, set_mtime};

/// The commands of README's day with what they print, and in which zone they are run.
fn day() -> Vec<(bool, String, String)> {
    let readme = fs::read_to_string("README.md").unwrap();
    let day = readme.split("\n## A day\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut found: Vec<(bool, String, String)> = Vec::new();
    let mut at_importer = false;
    for line in day.lines() {
        at_importer |= line == "At the importer:";
        match line.strip_prefix("    ") {
            Some(line) if line.starts_with("$ ") => found.push((at_importer, line[2..].to_owned(), String::new())),
            Some(line) => found.last_mut().unwrap().2 += &format!("{line}\n"),
            None if line.is_empty() => found.iter_mut().last().into_iter().for_each(|last| last.2.push('\n')),
            None => {}
        }
    }
    found.into_iter().map(|(zone, command, text)| (zone, command, text.trim_end().to_owned())).collect()
}

/// What the connectors of README's day wrote.
fn envelopes(world: &World) {
    let put = |second: u64, feed: &str, bytes: &[u8]| {
        let path = world.path("srv/opencti/out").join(format!("{feed}-20261125-02000{second}.json"));
        fs::write(&path, bytes).unwrap();
        // The third one was written last.
        set_mtime(&path, 1_795_572_000 + if second == 3 { 10 } else { second });
    };
    let second =
        json!({"id": "1f6f0a8e-2b0e-4a57-9f0a-6b1d1c2e3f41", "name": "Second Feed", "type": "EXTERNAL_IMPORT"});
    let strange = json!({"applicant_id": "5f2b8e4c-9d31-4a6b-8a59-2f6f5f0c7b11", "connector": second});
    let command = json!({"bundle": {"type": "bundle", "id": "bundle--0c7a11f6-2f0d-4f8c-9d80-5a7e7d2b1c44", "objects": [
        {"type": "indicator", "id": "indicator--1d1b6a6e-5d3b-4c39-8f65-2f1b0a9c8d7e", "name": "x"},
        {"type": "indicator", "id": "indicator--d247275d-afa6-5a25-8246-34e357272ab5", "name": "y",
            "opencti_operation": "delete_force"},
    ]}});
    put(1, "example-feed", &envelope_with("one", json!({})));
    put(2, "example-feed", &envelope_with("two", json!({})));
    put(3, "second-feed", &envelope_with("three", strange));
    put(4, "example-feed", &envelope_with("four", command));
    put(5, "example-feed", &envelope_with("five", json!({"update": "x".repeat(2_000)}))[..1_500]);
}

#[test]
fn readme_day_prints_what_readme_shows() {
    let world = World::new();
    for dir in ["srv/opencti/out", "srv/opencti/in", "media/stick", "var/lib/airpouch", "there/var/lib/airpouch"] {
        fs::create_dir_all(world.path(dir)).unwrap();
    }
    fs::rename(world.path("trust"), world.path("var/lib/airpouch/trust")).unwrap();
    world.sh("cp -r var/lib/airpouch/trust there/var/lib/airpouch/").exits(0);
    let root = world.dir.path().display().to_string();
    let exporter =
        format!("source = \"{root}/srv/opencti/out\"\nkey = \"{root}/keys/site-a.key.pem\"\nzone = \"restricted\"\n");
    fs::write(world.path("var/lib/airpouch/airpouch.toml"), exporter).unwrap();
    let importer = format!("to = \"dir:{root}/srv/opencti/in\"\nzone = \"restricted\"\n");
    fs::write(world.path("there/var/lib/airpouch/airpouch.toml"), importer).unwrap();
    let run = |at_importer: bool, line: &str| {
        let mut command = world.command();
        command.env("XDG_STATE_HOME", world.path(if at_importer { "there/var/lib" } else { "var/lib" }));
        let words = line
            .split(' ')
            .skip(1)
            .map(|word| if word.starts_with('/') { format!("{root}{word}") } else { word.to_owned() });
        finish(command.args(words)).exits_one_of(&[0, 3])
    };
    run(false, "airpouch pack").says("created the exporter site");
    envelopes(&world);
    let (mut expected, mut found) = (String::new(), String::new());
    let mut status = None;
    for (at_importer, line, text) in day() {
        expected += &format!("$ {line}\n{text}\n");
        let printed = if line == "echo $?" {
            status.map_or_else(String::new, |status: i32| status.to_string())
        } else {
            let run = run(at_importer, &line);
            status = run.status;
            // As a terminal shows them: what is said at once comes before the results, and findings after them.
            let is_early = |line: &&str| line.starts_with("created the ") || line.ends_with(" to write");
            let (early, late): (Vec<&str>, Vec<&str>) = run.stderr.lines().partition(is_early);
            let lines = [early, run.stdout.lines().collect(), late].concat();
            lines.join("\n").replace(&format!("{root}/there"), "").replace(&root, "").trim_end().to_owned()
        };
        found += &format!("$ {line}\n{printed}\n");
    }
    let (expected, found) = (named(&expected), named(&found));
    similar(&expected, &found);
}

/// Fails with the lines that differ.
#[track_caller]
fn similar(expected: &str, found: &str) {
    let differing: Vec<String> = expected
        .lines()
        .zip(found.lines())
        .filter(|(a, b)| a != b)
        .map(|(a, b)| format!("README: {a}\nis:     {b}"))
        .collect();
    let same = expected == found;
    assert!(
        same,
        "README's day is another one; mend README.md, or the program:\n{}\n\nall of it:\n{found}",
        differing.join("\n")
    );
}
