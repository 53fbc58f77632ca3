//! What a run says while it works and what it advises: at once, true, and fit to be pasted.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{APPLICANT, World, envelope_with, files};

const HERE: &str = "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10";

fn sent(names: &[&str]) -> World {
    let world = World::new();
    for name in names {
        world.made(name);
    }
    world.send(&[]).exits(0);
    world
}

/// The command in a text that begins with these words, as a person would paste it.
fn command_in(text: &str, begins: &str) -> String {
    let at = text.find(begins).unwrap_or_else(|| panic!("{begins:?} is not in {text}"));
    text[at..].split(['`', '\n', '"']).next().unwrap().replace("airpouch ", "$A ")
}

#[test]
fn command_in_advice_works_as_it_is_pasted() {
    let world = sent(&["a.json"]);
    let importer = ["--site", "my importer", "--trust", "trust", "--to", "dir:out"];
    let run = world.run(["import", "medium"].iter().chain(&importer)).exits(3);
    let import = "airpouch import --to dir:out --trust trust --site 'my importer'";
    let listed = command_in(&run.said(), "airpouch applicants --site");
    assert_eq!(listed, "$A applicants --site 'my importer'");
    world.sh(&listed).exits(0).prints("# 1 envelope");
    let reason = files(&world.path("my importer/held")).into_iter().find(|f| f.0.ends_with(".reason.json")).unwrap();
    let reason: Value = serde_json::from_slice(&reason.1).unwrap();
    assert!(reason["do"].as_str().unwrap().contains(import), "{reason}");
    let mapped = format!("{APPLICANT}={HERE}");
    let write = ["applicants", "--write", "--applicant", &mapped, "--site", "my importer"];
    let run = world.run(write).exits(0);
    assert_eq!(command_in(&run.said(), "airpouch import"), "$A import --site 'my importer'");
    world.sh(&command_in(reason["do"].as_str().unwrap(), import)).exits(0).prints("delivered 1 envelope");
    // What was asked of one run is not asked of the next.
    let run = world.run(["import", "--redeliver", "--json", "--to", "dir:other"].iter().chain(&importer[..4])).exits(2);
    let advice = run.json()["error"]["do"].as_str().unwrap().to_owned();
    assert!(
        advice.contains("airpouch import --to dir:other --trust trust --site 'my importer' --new-destination"),
        "{advice}"
    );
    assert!(!advice.contains("--redeliver") && !advice.contains("--json"), "{advice}");
}

/// A work that was cleared after its messages had left the spool: as the drain leaves it that found it.
#[test]
fn cleared_work_of_a_drain_is_reported_with_commands_that_work_until_it_is_accepted() {
    let world = sent(&["a.json"]);
    fs::create_dir(world.path("my importer")).unwrap();
    let settings =
        format!("trust = \"../trust\"\nto = \"dir:elsewhere\"\n[applicants]\n\"{APPLICANT}\" = \"{HERE}\"\n");
    fs::write(world.path("my importer/airpouch.toml"), settings).unwrap();
    world.run(["import", "medium", "--to", "spool:my spool", "--site", "my importer"]).exits(0);
    let queue = world.path("my spool/43509aab-0310-5f8d-9395-81f36f6d064a");
    let drained = || {
        let messages = files(&queue).into_iter().filter(|(name, _)| name != "connector.json");
        let paths: Vec<_> = messages.map(|(name, _)| queue.join(name)).collect();
        paths.iter().for_each(|path| fs::remove_file(path).unwrap());
        paths.len()
    };
    assert_eq!(drained(), 1);
    let to = "amqp://127.0.0.1:1";
    let gone = json!([{"destination": to, "connector": "43509aab-0310-5f8d-9395-81f36f6d064a"}]);
    let memory = json!({"destination": to, "works": {}, "registered": [], "gone": gone});
    fs::write(world.path("my spool/.drain.json"), memory.to_string()).unwrap();
    fs::set_permissions(world.path("my spool/.drain.json"), fs::Permissions::from_mode(0o600)).unwrap();
    let drain = ["drain", "my spool", "--to", to, "--site", "my importer"];
    let run = world.run(drain).exits(3).says("a work was cleared").says("connector 43509aab");
    assert_eq!(world.run(drain).exits(3), run, "the next one says the same");
    // Of another destination it is no less true.
    world.run(["drain", "my spool", "--to", "amqp://127.0.0.1:2"]).exits(3).says(&format!("at {to}"));
    let import = command_in(&run.said(), "airpouch import");
    assert_eq!(import, "$A import --site 'my importer' --to 'spool:my spool' --redeliver");
    world.sh(&import).exits(0);
    assert_eq!(drained(), 1, "the spool is filled again");
    let accept = command_in(&run.said(), "airpouch drain");
    assert_eq!(accept, format!("$A drain --to {to} --site 'my importer' 'my spool' --accept-gone"));
    assert_eq!(world.sh(&accept).exits(0).said(), "");
    assert_eq!(world.run(drain).exits(0).said(), "");
}

#[test]
fn command_for_the_other_side_has_no_options_of_this_one() {
    let world = sent(&["a.json"]);
    fs::remove_file(world.on_medium(".v0001.tar.zst")).unwrap();
    let run = world.import(&[]).exits(3).says("airpouch carry MEDIUM --resend").says_nothing_of("carry --site");
    assert!(!run.said().contains("carry --"), "{run:#?}");
    let status = world.run(["status", "--site", "importer"]).exits(0).prints("airpouch carry MEDIUM --resend");
    assert!(!status.said().contains("carry --site"), "{status:#?}");
    let status = world.run(["status", "--site", "exporter"]).exits(0);
    assert!(!status.said().contains("airpouch import"), "{status:#?}");
    world.made("b.json");
    world.pack(&[]).exits(0);
    world.run(["status", "--site", "exporter"]).exits(0).prints("airpouch carry --site exporter MEDIUM");
}

#[test]
fn password_in_an_address_is_in_no_advice() {
    let world = sent(&["a.json"]);
    let usual = ["import", "medium", "--to", "dir:out", "--trust", "trust", "--site", "importer"];
    let proxy = ["--proxy", "http://me:secret-word@127.0.0.1:9"];
    let run = world.run(usual.iter().chain(&proxy)).exits(3).says("airpouch import --to dir:out");
    assert!(!run.said().contains("secret-word"), "{run:#?}");
    for (name, bytes) in files(&world.path("importer/held")) {
        assert!(!String::from_utf8_lossy(&bytes).contains("secret-word"), "{name}");
    }
}

#[test]
fn release_of_an_envelope_that_is_not_quarantined_is_refused_with_the_reason() {
    let world = World::new();
    let command = json!({"type": "bundle", "id": "bundle--1", "objects": [{"type": "tool", "id": "tool--1", "opencti_operation": "delete"}]});
    world.put("command.json", &envelope_with("c", json!({"bundle": command})));
    world.put("held.json", &envelope_with("h", json!({"applicant_id": null})));
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    let list = world.run(["quarantine", "list", "--site", "importer", "--json"]).exits(0).json();
    let of = |kind: &str| {
        let rows = list["report"]["set_aside"].as_array().unwrap();
        rows.iter().find(|row| row["kind"] == kind).unwrap()["sha256"].as_str().unwrap().to_owned()
    };
    let release = |sha256: &str| world.run(["quarantine", "release", sha256, "--reason", "x", "--site", "importer"]);
    let run = release(&of("held")).exits(2).says("is held, not quarantined").says("names no applicant");
    run.says("airpouch applicants --site importer");
    release("00000000")
        .exits(2)
        .says("does not begin the digest of any envelope")
        .says("quarantine list --site importer");
    release(&of("quarantined").to_uppercase()).exits(0).prints("it goes with the next import");
    release(&of("quarantined")).exits(2).says("was released already").says("airpouch import --site importer");
}

#[test]
fn status_names_the_command_that_settles_a_waiting_batch() {
    let world = sent(&["a.json"]);
    world.key("site-b", [9; 32]);
    let keys = "need = 2\n[[key]]\nfile = \"site-a.pub.pem\"\n[[key]]\nfile = \"site-b.pub.pem\"\n";
    fs::write(world.path("trust/trust.toml"), keys).unwrap();
    world.import(&[]).exits(3);
    let status = || world.run(["status", "--site", "importer"]).exits(0);
    status().prints("fewer signatures than trust.toml needs").prints("have the other key sign it");
    let elsewhere = "[[key]]\nfile = \"site-a.pub.pem\"\nzones = [\"elsewhere\"]\n";
    fs::write(world.path("trust/trust.toml"), elsewhere).unwrap();
    world.import_inbox(&[]).exits(4);
    status().prints("trust.toml does not let its key sign it");
    fs::remove_file(world.path("trust/trust.toml")).unwrap();
    fs::remove_file(world.path("trust/site-a.pub.pem")).unwrap();
    world.import_inbox(&[]).exits(4);
    status().prints("is not trusted any more");
    // A batch behind a gap is not delivered by another import.
    let world = sent(&["a.json"]);
    let world_files = files(&world.medium());
    world.made("b.json");
    world.send(&["--no-overlap"]).exits(0);
    for (name, _) in world_files {
        fs::remove_file(world.medium().join(name)).unwrap();
    }
    world.import(&["--on-gap", "hold"]).exits(3);
    let run = world.run(["status", "--site", "importer"]).exits(0).prints("the batches before it are missing");
    assert!(!run.said().contains("airpouch import"), "{run:#?}");
}

#[test]
fn check_refuses_what_import_refuses() {
    let world = sent(&["a.json"]);
    world.import(&[]).exits(0);
    let check =
        |to: &str| world.run(["check", "--to", to, "--site", "importer", "--unmapped", &format!("default={HERE}")]);
    check("dir:out").exits(0);
    check("dir:other").exits(3).says("import would stop before it delivers to dir:").says("--new-destination");
    fs::write(world.path("file"), "x").unwrap();
    check("dir:file").exits(1).says("is no directory");
    check("spool:no/such/spool").exits(1).says("no directory to make it in");
    for (file, text) in [
        ("policy.toml", "max_tpl = \"red\"\n"),
        ("airpouch.toml", "on_gap = \"wait\"\n"),
        ("airpouch.toml", "keep = \"long\"\n"),
        ("airpouch.toml", "zone = \"NO\"\n"),
        ("airpouch.toml", "threads = 0\n"),
        ("airpouch.toml", "policy = \"absent\"\n"),
        ("airpouch.toml", "trust = \"absent\"\n"),
    ] {
        fs::write(world.path("importer").join(file), text).unwrap();
        check("dir:out").exits(2);
        world.run(["import", "--to", "dir:out", "--site", "importer"]).exits(2);
        fs::remove_file(world.path("importer").join(file)).unwrap();
    }
}

#[test]
fn incompatible_objects_name_their_envelopes_and_split_shows_them_from_the_inbox() {
    let world = World::new();
    let odd = json!({"type": "bundle", "id": "bundle--1", "objects": [{"type": "tool", "id": "tool--1"}, {"type": "x-foo", "id": "x-foo--1"}]});
    world.made("a.json");
    world.put("odd.json", &envelope_with("odd", json!({"bundle": odd})));
    world.send(&[]).exits(0);
    let mapped = format!("{APPLICANT}={HERE}");
    let words =
        ["import", "medium", "--to", "spool:spool", "--trust", "trust", "--site", "importer", "--applicant", &mapped];
    let run = world.run(words).exits(0).prints("skipped 1 incompatible object").prints("1 in odd.json: airpouch split");
    let split = command_in(&run.said(), "airpouch split");
    world.sh(&split).exits(0).prints("x-foo--1").prints("skipped");
    let split = |place: &str| world.run(["split", place, "--site", "importer"]);
    split("1:2").exits(0).prints("x-foo--1");
    split("1:1").exits(0).says_nothing_of("x-foo--1");
    split("1:3").exits(2).says("has no envelope 3").says("it has 2");
    split("1:0").exits(2).says("has no envelope 0");
    split("2:1").exits(2).says("batch 2 never came here").says("airpouch status --site importer");
    // Of a second stream with the same number one has to say which.
    world.made("b.json");
    world.run(["pack", "src", "medium", "--key", "keys/site-a.key.pem", "--site", "second"]).exits(0);
    world.run(words).exits(0);
    let several = split("1:2").exits(2).says("2 batches have the number 1");
    world.sh(&command_in(&several.said(), "airpouch split")).exits(0);
    world.run(words.iter().chain(&["--keep", "0s"])).exits(0);
    world.sh(&command_in(&several.said(), "airpouch split")).exits(1).says("not here any more");
}

#[test]
fn custody_is_reported_before_delivery_and_after_an_interrupted_run() {
    let world = sent(&["a.json"]);
    // The destination cannot be made: what is said of the medium is said all the same, and again by the next run.
    for _ in 0..2 {
        let run = world.import(&["--to", "dir:nowhere/out"]).exits(1);
        run.prints("the medium may leave: its batch is in custody");
    }
    let run = world.import(&[]).exits(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    let at = |words: &str| lines.iter().position(|l| l.contains(words)).unwrap_or_else(|| panic!("{words}: {run:#?}"));
    assert!(at("the medium may leave") < at("batch 1: 1 envelope delivered"), "{run:#?}");
    world.import(&[]).exits(0).says_nothing_of("may leave");
    // A medium that is still needed may not leave.
    world.made("b.json");
    world.send(&[]).exits(0);
    let volume = files(&world.medium()).into_iter().find(|(name, _)| name.ends_with("00000002.v0001.tar.zst")).unwrap();
    fs::write(world.medium().join(&volume.0), &volume.1[..10]).unwrap();
    world.import(&[]).exits(3).says_nothing_of("may leave");
}

#[test]
fn short_carry_is_announced_without_a_duration() {
    let world = World::new();
    world.made("a.json");
    let run = world.send(&[]).exits(0).says(" to write\n");
    assert!(!run.said().contains("minute"), "{run:#?}");
}

#[test]
fn bar_fits_into_one_line_of_the_terminal() {
    let world = World::new();
    for n in 0..40 {
        world.put(&format!("{n}.json"), &envelope_with(&format!("e{n}"), json!({"pad": "x".repeat(100_000)})));
    }
    world.send(&[]).exits(0);
    for columns in [40, 78, 120] {
        let script = format!(
            "export TERM=xterm; script -qec \"stty cols {columns} rows 24; $A verify medium --trust trust\" /dev/null </dev/null"
        );
        let said = world.sh(&script).exits(0).said();
        let mut drawn = 0;
        for line in said.split(['\r', '\n']).filter(|line| line.contains("verifying batch")) {
            let shown = line
                .split("\x1b[")
                .map(|part| part.split_once(|c: char| c.is_ascii_alphabetic()).map_or(part, |p| p.1));
            let width = shown.collect::<String>().chars().count();
            assert!(width <= columns, "{width} in {columns}: {line:?}");
            assert!(!line.contains("0 s left"), "{line:?}");
            drawn += 1;
        }
        assert!(drawn > 0, "{said:?}");
    }
}

#[test]
fn links_in_the_source_are_reported_once() {
    let world = World::new();
    world.made("a.json");
    fs::create_dir_all(world.path("elsewhere/feed")).unwrap();
    fs::write(world.path("elsewhere/b.json"), envelope_with("b", json!({}))).unwrap();
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(world.path(to), world.path("src").join(at)).unwrap();
    link("elsewhere/b.json", "b.json");
    link("elsewhere/absent", "dangling.json");
    link("elsewhere/feed", "feed");
    link("elsewhere/b.json", "notes.txt");
    let run = world.pack(&[]).exits(3).prints("packed batch 1").says("not packed: 2 files: it is a link");
    run.says("at b.json, dangling.json\n");
    let run = world.pack(&["--recursive"]).exits(3).says("not packed: it is a linked directory\n");
    run.says_nothing_of("b.json").says_nothing_of("dangling.json");
    let report = world.pack(&["--recursive", "--json"]).exits(0).json()["report"]["pack"].clone();
    assert_eq!((&report["refused"], &report["refused_before"]), (&json!(3), &json!(3)));
    world.run(["status", "--site", "exporter"]).exits(0).prints("3 files in the source that cannot be packed");
    // The file itself in the link's place is packed.
    fs::remove_file(world.path("src/b.json")).unwrap();
    world.put("b.json", &envelope_with("b", json!({})));
    world.pack(&[]).exits(0).prints("packed batch 2");
    // A source that is a link itself is the directory to which it leads.
    std::os::unix::fs::symlink(world.path("src"), world.path("linked")).unwrap();
    world.run(["pack", "linked", "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(0);
}

#[test]
fn quiet_run_prints_only_findings_for_a_person() {
    let world = World::new();
    world.made("a.json");
    assert_eq!(world.pack(&["-q"]).exits(0).said(), "");
    world.put("bad.json", b"{}");
    let run = world.pack(&["--quiet"]).exits(3).says("bad.json");
    assert_eq!(run.stdout, "");
    world.carry(&[]).exits(0);
    assert_eq!(world.import(&["-q"]).exits(0).said(), "");
    world.pack(&["-q", "--max-batch", "x"]).exits(2).says("error: ");
    let document = world.pack(&["-q", "--json"]).exits(0).json();
    assert_eq!(document["verb"], "pack");
}

#[test]
fn completions_are_accepted_by_their_shells() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = world.run(["completions", shell]).exits(0).stdout;
        for word in ["quarantine", "release", "new-destination", "completions"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        fs::write(world.path("script"), &script).unwrap();
        if crate::support::has(shell) || shell == "bash" {
            world.sh(&format!("{shell} -n script")).exits(0);
        }
    }
    let complete = "bash -c '. ./script; COMP_WORDS=(airpouch quar); COMP_CWORD=1; _airpouch airpouch quar airpouch; echo ${COMPREPLY[@]}'";
    let bash = world.run(["completions", "bash"]).exits(0).stdout;
    fs::write(world.path("script"), bash).unwrap();
    world.sh(complete).exits(0).prints("quarantine");
    world.run(["completions", "tcsh"]).exits(2).says("bash");
}
