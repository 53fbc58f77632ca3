//! How airpouch talks: in few words, in one document, with no colour where nobody looks, and from the right settings.

use std::fs;

use crate::support::{APPLICANT, World, envelope, files, finish};
use serde_json::{Value, json};

const VERBS: [&str; 11] =
    ["keygen", "pack", "carry", "verify", "import", "split", "status", "applicants", "quarantine", "stream", "demo"];

/// Both sides have done a day's work, and one envelope waits.
fn worked() -> World {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.run(["import", "medium", "--to", "dir:out", "--trust", "trust", "--site", "importer"]).exits(3);
    world
}

#[test]
fn error_has_three_lines_at_most_with_advice() {
    let world = worked();
    fs::write(world.path("notes"), "x").unwrap();
    world.sh("chmod 600 notes").exits(0);
    fs::create_dir_all(world.path("odd")).unwrap();
    fs::write(world.path("odd/ledger.db"), "this is no database at all").unwrap();
    let cases: [&[&str]; 16] = [
        &["pack", "absent", "--key", "keys/site-a.key.pem", "--site", "exporter"],
        &["pack", "src", "--key", "absent", "--site", "exporter"],
        &["pack", "src", "--key", "notes", "--site", "exporter"],
        &["pack", "src", "--key", "keys/site-a.key.pem", "--site", "importer"],
        &["pack", "src", "--key", "keys/site-a.key.pem", "--site", "odd"],
        &["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter", "--max-batch", "x"],
        &["carry", "absent", "--site", "exporter"],
        &["carry", "medium", "--site", "nowhere"],
        &["carry", "medium", "--site", "exporter", "--require-mount"],
        &["verify", "absent", "--trust", "trust"],
        &["verify", "medium", "--trust", "absent"],
        &["import", "medium", "--to", "dir:other", "--trust", "trust", "--site", "importer", "--on-gap", "hold"],
        &["status", "--site", "nowhere"],
        &["quarantine", "release", "00000000", "--reason", "x", "--site", "importer"],
        &["stream", "accept", "c1d0a7e2-3b44-4f0e-9b3a-6a1c2d3e4f50", "2", "--reason", "x", "--site", "importer"],
        &["stream", "renew", "--site", "nowhere"],
    ];
    for case in cases {
        let run = world.run(case).exits_one_of(&[1, 2]);
        let lines: Vec<_> = run.stderr.lines().collect();
        assert!(lines.len() <= 3 && lines[0].starts_with("error: "), "{case:?}: {run:#?}");
        assert!(lines[1..].iter().all(|l| l.starts_with("  ")), "{case:?}: {run:#?}");
        assert_eq!(run.stdout, "", "{case:?}");
    }
}

#[test]
fn every_verb_prints_one_json_document() {
    let world = worked();
    let document = |arguments: &[&str], status: i32| -> Value {
        let run = world.run(arguments.iter().chain(&["--json"])).exits(status);
        assert_eq!((run.stdout.lines().count(), run.stderr.as_str()), (1, ""), "{run:#?}");
        let document = run.json();
        assert_eq!(document["exit"], status, "{run:#?}");
        document
    };
    let pack = ["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"];
    let import = ["import", "medium", "--to", "dir:out", "--trust", "trust", "--site", "importer"];
    let mapped = format!("{APPLICANT}=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10");
    let write = ["applicants", "--site", "importer", "--write", "--applicant", &mapped];
    let cases: [(&str, &[&str]); 10] = [
        ("keygen", &["keygen", "--out", "keys/new"]),
        ("pack", &pack),
        ("carry", &["carry", "medium", "--site", "exporter"]),
        ("verify", &["verify", "medium", "--trust", "trust"]),
        ("import", &import),
        ("status", &["status", "--site", "exporter"]),
        ("status", &["status", "--site", "importer"]),
        ("applicants", &write),
        ("quarantine list", &["quarantine", "list", "--site", "importer"]),
        ("stream renew", &["stream", "renew", "--site", "exporter"]),
    ];
    for (verb, arguments) in cases {
        let document = document(arguments, 0);
        assert_eq!(document["verb"], verb);
        assert!(document["report"].is_object(), "{document}");
        assert!(document["error"].is_null(), "{document}");
    }
    world.made("b.json");
    let sent = document(&["pack", "src", "medium", "--key", "keys/site-a.key.pem", "--site", "exporter"], 0);
    assert_eq!(
        (&sent["report"]["pack"]["packed"][0]["sequence"], &sent["report"]["carry"]["new"][0]["envelopes"]),
        (&json!(1), &json!(1))
    );
    // Stopped after it had begun: the report so far, and the error.
    fs::remove_dir_all(world.path("out")).unwrap();
    let stopped = document(&["import", "--redeliver", "--to", "dir:out", "--trust", "trust", "--site", "importer"], 1);
    assert_eq!(stopped["verb"], "import");
    assert!(stopped["report"]["findings"].is_array() && stopped["error"]["what"].is_string(), "{stopped}");
    let index = world.on_medium(".index.zst");
    fs::write(&index, b"other").unwrap();
    let stopped = document(&["carry", "medium", "--site", "exporter", "--resend", "9"], 2);
    assert_eq!((&stopped["verb"], &stopped["report"]["new"]), (&json!("carry"), &json!([])));
    let stopped = document(&["pack", "absent", "--key", "keys/site-a.key.pem", "--site", "exporter"], 1);
    assert_eq!((&stopped["verb"], &stopped["report"]["carry"]), (&json!("pack"), &json!(null)));
    assert!(stopped["error"]["what"].as_str().unwrap().contains("source directory"), "{stopped}");
    // Stopped before that: the error alone.
    let stopped = document(&["verify", "absent", "--trust", "trust"], 1);
    assert!(stopped["error"]["do"].is_string() && stopped["report"].is_null(), "{stopped}");
    document(&["status", "--site", "nowhere"], 1);
    document(&["pack", "src", "--site", "exporter"], 2);
}

#[test]
fn warning_is_in_the_json_document() {
    let world = World::new();
    world.sh("chmod 644 keys/site-a.key.pem").exits(0);
    let document = world.pack(&["--json"]).exits(0).json();
    let warning = &document["warnings"][0];
    assert!(warning["what"].as_str().unwrap().contains("readable by others (mode 644)"), "{document}");
    assert_eq!(warning["do"], "chmod 600 it");
    world.pack(&[]).exits(0).says("warning: this private key").says("chmod 600 it");
}

#[test]
fn a_wrong_option_names_the_right_one() {
    let world = World::new();
    for (arguments, right) in [
        (vec!["pack", "src", "--keys", "x"], "--key"),
        (vec!["carry", "medium", "--resent", "1"], "--resend"),
        (vec!["verify", "medium", "--trusts", "x"], "--trust"),
        (vec!["import", "--redelivery"], "--redeliver"),
        (vec!["import", "--on-gap", "hald"], "hold"),
        (vec!["quarantine", "lst"], "list"),
        (vec!["stat"], "status"),
    ] {
        world.run(&arguments).exits(2).says("error").says(right);
    }
    world.run(["pack", "a", "b", "c"]).exits(2);
    let none: [&str; 0] = [];
    world.run(none).exits(2).says("Usage");
}

#[test]
fn error_in_the_settings_names_file_and_line() {
    let world = worked();
    for (text, line, word) in [
        ("zone = \"red\"\n\nsorce = \"x\"\n", "line 3", "sorce"),
        ("heartbeat = \"yes\"\n", "line 1", "boolean"),
        ("\nzone = red\n", "line 2", "error"),
        ("[applicants]\n\"a\" = 7\n", "line 2", "string"),
    ] {
        fs::write(world.path("exporter/airpouch.toml"), text).unwrap();
        let run = world.pack(&[]).exits(2).says(line).says("exporter/airpouch.toml");
        assert!(run.stderr.to_lowercase().contains(word), "{run:#?}");
        world.carry(&[]).exits(2).says(line);
        assert_eq!(world.pack(&["--json"]).exits(2).json()["exit"], 2);
    }
    fs::write(world.path("exporter/airpouch.toml"), "zone = \"NO\"\n").unwrap();
    world.pack(&[]).exits(2).says("invalid zone");
    fs::write(world.path("importer/airpouch.toml"), "on_gap = \"wait\"\n").unwrap();
    world.import(&[]).exits(2).says("on_gap");
    fs::write(world.path("importer/airpouch.toml"), b"to = \"\xff\"\n").unwrap();
    world.import(&[]).exits(2).says("is not UTF-8");
}

#[test]
fn flag_overrides_the_environment_which_overrides_the_file() {
    let world = World::new();
    world.made("a.json");
    fs::create_dir(world.path("site")).unwrap();
    let settings = "source = \"../src\"\nkey = \"../keys/site-a.key.pem\"\npromise = \"1h\"\n";
    fs::write(world.path("site/airpouch.toml"), settings).unwrap();
    let promise = |environment: &[(&str, &str)], more: &[&str]| {
        let mut command = world.command();
        command.args(["pack", "--heartbeat", "--site", "site"]).args(more).envs(environment.iter().copied());
        finish(&mut command).exits(0);
        let last = files(&world.path("site/outbox")).into_iter().rfind(|f| f.0.ends_with(".manifest")).unwrap();
        serde_json::from_slice::<Value>(&last.1).unwrap()["promise"].clone()
    };
    assert_eq!(promise(&[], &[]), 3600);
    assert_eq!(promise(&[("AIRPOUCH_PROMISE", "2h")], &[]), 7200);
    assert_eq!(promise(&[("AIRPOUCH_PROMISE", "2h")], &["--promise", "3h"]), 10_800);
    // Yes and no as people write them.
    for word in ["1", "yes", "on", "true"] {
        let mut command = world.command();
        command.args(["pack", "--site", "site"]).env("AIRPOUCH_HEARTBEAT", word);
        finish(&mut command).exits(0).prints("packed batch");
    }
    // The site itself too, and the destination of an import.
    let mut command = world.command();
    finish(command.args(["carry", "medium"]).env("AIRPOUCH_SITE", "site")).exits(0).prints("SAFE TO REMOVE");
    let mut command = world.command();
    command.args([
        "import",
        "medium",
        "--unmapped",
        "default=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10",
        "--site",
        "importer",
    ]);
    finish(command.envs([("AIRPOUCH_TO", "dir:from-env"), ("AIRPOUCH_TRUST", "trust")])).exits(0);
    assert!(files(&world.path("from-env")).iter().any(|f| f.0.ends_with(".json")));
    let mut command = world.command();
    finish(command.args(["status"]).env("AIRPOUCH_SITE", "importer")).exits(0).prints("importer site");
}

#[test]
fn paths_in_the_settings_are_relative_to_the_site_wherever_cron_runs() {
    let world = World::new();
    world.made("a.json");
    fs::create_dir(world.path("elsewhere")).unwrap();
    for (site, settings) in [
        ("exporter", "source = \"../src\"\nkey = [\"../keys/site-a.key.pem\"]\nmedium = \"../medium\"\n"),
        (
            "importer",
            "to = \"dir:../out\"\ntrust = \"../trust\"\npolicy = \"mine.toml\"\nunmapped = \"default=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10\"\n",
        ),
    ] {
        fs::create_dir(world.path(site)).unwrap();
        fs::write(world.path(site).join("airpouch.toml"), settings).unwrap();
    }
    fs::write(world.path("importer/mine.toml"), "max_tlp = \"red\"\n").unwrap();
    let run = |arguments: &[&str]| finish(world.command().current_dir(world.path("elsewhere")).args(arguments));
    run(&["pack", "--site", "../exporter"]).exits(0).prints("packed batch 1");
    run(&["carry", "--site", "../exporter"]).exits(0).prints("SAFE TO REMOVE");
    run(&["import", "../medium", "--site", "../importer"]).exits(0).prints("delivered 1 envelope");
    assert_eq!(world.delivered().len(), 1);
    // From the site itself and from the root of all it is the same destination.
    let site = world.path("importer");
    let mut command = world.command();
    finish(command.current_dir(&site).args(["import", "--site", "."])).exits(0);
    let mut command = world.command();
    finish(command.current_dir("/").args(["import", "--site", site.to_str().unwrap()])).exits(0);
}

#[test]
fn without_a_terminal_there_are_no_colours_and_no_bars() {
    let world = World::new();
    world.put("bad.json", b"{}");
    world.made("a.json");
    let mut said = world.send(&[]).exits(3).said();
    said += &world.verify(&[]).exits(0).said();
    said +=
        &world.run(["import", "medium", "--to", "dir:out", "--trust", "trust", "--site", "importer"]).exits(3).said();
    said += &world.run(["status", "--site", "importer"]).exits(0).said();
    said += &world.run(["pack", "absent", "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(1).said();
    said += &world.run(["pack", "--help"]).exits(0).said();
    said += &world.run(["pakc"]).exits(2).said();
    assert!(!said.contains('\x1b') && !said.contains('\r'), "{said:?}");
}

#[test]
fn on_a_terminal_a_word_is_coloured_unless_no_color_is_set() {
    let world = World::new();
    let at_terminal = |before: &str| {
        let line = format!("{before} script -qec \"$A status --site nowhere\" /dev/null </dev/null");
        world.sh(&format!("export TERM=xterm; {line}")).exits(1).prints("no airpouch site here").said()
    };
    assert!(at_terminal("").contains("\x1b[31merror\x1b[0m"));
    assert!(!at_terminal("NO_COLOR=1").contains("\x1b["));
    assert!(!at_terminal("TERM=dumb").contains("\x1b["));
    assert!(at_terminal("NO_COLOR=").contains("\x1b[31m"), "an empty NO_COLOR is none: no-color.org");
}

#[test]
fn terminal_shows_that_there_is_nothing_to_do() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    let at_terminal = |line: &str| world.sh(&format!("script -qec \"$A {line}\" /dev/null </dev/null")).exits(0).said();
    let said = at_terminal("pack src --key keys/site-a.key.pem --site exporter");
    assert!(said.contains("nothing new: 1 of 1 file packed before"), "{said}");
    let said = at_terminal("carry medium --no-overlap --site exporter");
    assert!(said.contains("nothing to carry"), "{said}");
    world.import(&[]).exits(0);
    let said = at_terminal("import medium --to dir:out --trust trust --site importer");
    assert!(said.contains("nothing to do"), "{said}");
}

#[test]
fn closed_pipe_is_no_error() {
    let world = worked();
    for line in [
        "$A status --site importer",
        "$A status --site importer --json",
        "$A verify medium --trust trust",
        "$A quarantine list --site importer",
        "$A --help",
        "$A pack --help",
        "$A carry medium --site exporter",
    ] {
        for to in ["| true", ">&-", ">/dev/full", "2>&-"] {
            world.sh(&format!("set +e; ({line}; echo \"status $?\" >&3) 3>status {to}")).exits(0);
            let status = fs::read_to_string(world.path("status")).unwrap();
            assert_ne!(status.trim(), "status 101", "{line} {to}");
            // A full disk is another thing: half a result must not pass for the whole.
            let wanted = if to == ">/dev/full" { "status 1" } else { "status 0" };
            if !line.contains("--help") {
                assert_eq!(status.trim(), wanted, "{line} {to}");
            }
        }
    }
}

#[test]
fn bad_files_of_one_kind_are_one_line_and_all_are_listed_on_request() {
    let world = World::new();
    for n in 0..30 {
        world.put(&format!("{n:02}.json"), b"{}");
    }
    world.put("cut.json", &envelope("x")[..50]);
    let all = world.pack(&["--all", "--site", "another"]).exits(3);
    assert_eq!(all.stderr.matches("not packed: the field bundle_type is missing\n").count(), 30, "{all:#?}");
    let run = world.pack(&[]).exits(3).says("not packed: 30 files: the field bundle_type is missing\n");
    let run = run.says("at 00.json, 01.json, 02.json, ").says("11.json and 18 more\n").says("cut.json");
    assert_eq!(run.stderr.matches("left in place").count(), 2, "{run:#?}");
    let report = world.run(["status", "--site", "exporter", "--json"]).exits(0).json()["report"].clone();
    assert_eq!(report["refused_files"].as_array().unwrap().len(), 31, "status knows all of them");
}

#[test]
fn names_of_a_stranger_cannot_act_on_the_terminal() {
    let world = World::new();
    world.put("\x1b[2Jevil\nSAFE TO REMOVE.json", b"{}");
    let connector = json!({"id": "c", "name": "\x1b[31mFeed\u{202e}", "type": "STREAM"});
    world.put("s.json", &crate::support::envelope_with("s", json!({"connector": connector})));
    let mut said = world.send(&[]).exits(3).said();
    said += &world.import(&[]).exits(3).said();
    said += &world.run(["status", "--site", "importer"]).exits(0).said();
    said += &world.run(["quarantine", "list", "--site", "importer"]).exits(0).said();
    assert!(!said.contains('\x1b') && !said.contains('\u{202e}'), "{said:?}");
    assert!(said.contains("\\u{1b}[2Jevil\\u{a}SAFE TO REMOVE.json"), "{said}");
    assert_eq!(said.lines().filter(|l| l.starts_with("SAFE TO REMOVE")).count(), 1);
}

#[test]
fn help_of_every_verb_shows_an_example() {
    let world = World::new();
    let all = world.run(["--help"]).exits(0).prints("Exit status");
    for verb in VERBS {
        assert!(all.stdout.contains(verb), "{verb}");
        let run = world.run([verb, "--help"]).exits(0).prints("Example").prints(&format!("airpouch {verb}"));
        assert_eq!(run.stderr, "");
    }
    world.run(["--version"]).exits(0).prints(env!("CARGO_PKG_VERSION"));
    // No verb but those that are told of.
    let listed = all.stdout.lines().filter(|l| l.starts_with("  ") && VERBS.iter().any(|v| l.trim().starts_with(v)));
    assert_eq!(listed.count(), VERBS.len(), "{}", all.stdout);
}

#[test]
fn idle_day_prints_nothing() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    for run in [world.pack(&[]), world.carry(&["--no-overlap"]), world.import(&[]), world.import_inbox(&[])] {
        assert_eq!(run.exits(0).said(), "");
    }
    let empty = World::new();
    assert_eq!(empty.pack(&[]).exits(0).stdout, "");
    assert_eq!(empty.pack(&[]).exits(0).said(), "");
    assert_eq!(empty.carry(&[]).exits(0).said(), "");
    assert_eq!(empty.import_inbox(&[]).exits(0).stdout, "");
    assert_eq!(empty.import_inbox(&[]).exits(0).said(), "");
}
