//! status --check: one line for a monitoring system, and the four states of its plugins.

use std::fs;

use serde_json::json;

use super::ledger::{execute, exported, imported, now, open};
use super::{UNMAPPED, put_mostly_held};
use crate::support::{Run, World, envelope_with};

#[track_caller]
fn check(world: &World, site: &str, more: &[&str], status: i32) -> Run {
    let run = world.run(["status", "--check", "--site", site].iter().chain(more)).exits(status);
    let word = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][status as usize];
    assert!(run.stdout.starts_with(&format!("AIRPOUCH {word} - ")), "{run:#?}");
    assert_eq!((run.stdout.lines().count(), run.stderr.as_str()), (1, ""), "{run:#?}");
    assert!(run.stdout.matches('|').count() <= 1 && !run.stdout.trim_end().contains(|c: char| c.is_control()));
    run
}

const LIMITS: [&str; 4] = ["--warn", "26h", "--crit", "50h"];

/// Sets back by so many hours when everything was done.
fn set_back(world: &World, hours: i64) {
    let then = now() - hours * 3600 - 5;
    execute(world, "importer", &format!("UPDATE batch SET taken_at = {then}, done_at = {then}"));
    execute(world, "exporter", &format!("UPDATE packed_batch SET packed_at = {then}"));
    execute(world, "exporter", &format!("UPDATE carry SET at = strftime('%Y-%m-%dT%H:%M:%SZ', {then}, 'unixepoch')"));
}

#[test]
fn age_of_the_last_batch_is_judged_at_both_sides() {
    let world = imported();
    for (hours, status) in [(3, 0), (25, 0), (26, 1), (49, 1), (50, 2), (500, 2)] {
        set_back(&world, hours);
        let seconds = format!(" | age={}", hours * 3600 / 100);
        let figures = "s;93600;180000 waiting=0 missing=0 held=0 quarantined=0\n";
        let run = check(&world, "importer", &LIMITS, status).prints("importer, last batch 1 delivered ");
        run.prints(&seconds).prints(figures).prints("nothing waits");
        let run = check(&world, "exporter", &LIMITS, status).prints("exporter, last batch 1 carried ");
        run.prints(&seconds).prints(figures).prints(", last packed batch 1 ");
        // Without thresholds no age is too large.
        check(&world, "importer", &[], 0).prints("s waiting=0");
    }
    check(&world, "importer", &["--warn", "90m"], 1).prints("s;5400; ");
    check(&world, "importer", &["--crit", "3d"], 2).prints("s;;259200 ");
}

#[test]
fn batch_that_is_packed_late_or_carried_late_makes_the_exporter_old() {
    let world = imported();
    set_back(&world, 30);
    execute(&world, "exporter", &format!("UPDATE packed_batch SET packed_at = {}", now()));
    check(&world, "exporter", &LIMITS, 1).prints("carried 30 h ago, last packed batch 1 ");
    set_back(&world, 1);
    execute(&world, "exporter", &format!("UPDATE packed_batch SET packed_at = {} - 108005", now()));
    check(&world, "exporter", &LIMITS, 1).prints("carried 60 min ago, last packed batch 1 30 h ago").prints("age=1080");
}

#[test]
fn what_never_was_is_a_state_of_its_own() {
    let world = exported();
    check(&world, "exporter", &[], 0).prints("no batch carried yet, 1 batch waits | age=U waiting=1 ");
    check(&world, "exporter", &["--warn", "26h"], 1).prints("no batch carried yet").prints("age=U;93600; ");
    check(&world, "exporter", &["--crit", "26h"], 1);
    world.sh("mkdir empty").exits(0);
    world.run(["import", "empty", "--to", "dir:out", "--trust", "trust", "--site", "importer"]).exits(3);
    check(&world, "importer", &[], 0).prints("importer, nothing yet, nothing waits");
    check(&world, "importer", &LIMITS, 1);
}

#[test]
fn time_that_was_not_noted_is_unknown_only_where_it_is_judged() {
    let world = imported();
    execute(&world, "exporter", "UPDATE packed_batch SET packed_at = NULL");
    execute(&world, "importer", "UPDATE batch SET taken_at = NULL");
    check(&world, "exporter", &LIMITS, 0).prints("last packed batch 1 at an unknown time");
    check(&world, "importer", &LIMITS, 0);
    execute(&world, "importer", "UPDATE batch SET done_at = NULL");
    check(&world, "importer", &LIMITS, 3).prints("delivered at an unknown time").prints("age=U;");
    check(&world, "importer", &[], 0);
}

/// The clock was an hour ahead when the last batch came, or in another year, and somebody has set it right.
#[test]
fn time_in_the_future_has_no_age_and_a_few_seconds_are_none() {
    let world = imported();
    let ahead = |seconds: i64| {
        execute(&world, "importer", &format!("UPDATE batch SET done_at = {}", now() + seconds));
        execute(&world, "exporter", &format!("UPDATE packed_batch SET packed_at = {}", now() + seconds));
        execute(
            &world,
            "exporter",
            &format!("UPDATE carry SET at = strftime('%Y-%m-%dT%H:%M:%SZ', {}, 'unixepoch')", now() + seconds),
        );
    };
    for seconds in [3_600, 40_000_000] {
        ahead(seconds);
        for site in ["importer", "exporter"] {
            check(&world, site, &LIMITS, 3).prints("in the future by this clock").prints("age=U;");
            check(&world, site, &[], 0).prints("age=U ");
            world.run(["status", "--site", site]).exits(0).prints("UTC (in the future)");
        }
    }
    ahead(10);
    check(&world, "importer", &LIMITS, 0).prints("delivered 0 s ago").prints("age=0s;");
    check(&world, "exporter", &LIMITS, 0).prints("carried 0 s ago").prints("age=0s;");
}

#[test]
fn what_cannot_be_said_is_unknown() {
    let world = imported();
    check(&world, "absent", &[], 3).prints("no airpouch site here (no ledger): absent");
    for wrong in [
        vec!["--warn", "soon"],
        vec!["--warn", "26"],
        vec!["--warn", "50h", "--crit", "26h"],
        vec!["--json"],
        vec!["--all"],
        vec!["--wran", "26h"],
        vec!["--warn"],
        vec!["no such stream"],
    ] {
        check(&world, "importer", &wrong, 3);
    }
    world.run(["status", "--warn", "26h", "--site", "importer"]).exits(2);
    fs::write(world.path("importer/ledger.db"), "this is no ledger, and it never was").unwrap();
    check(&world, "importer", &LIMITS, 3).prints("not an airpouch ledger");
    fs::remove_file(world.path("exporter/ledger.db")).unwrap();
    fs::create_dir(world.path("exporter/ledger.db")).unwrap();
    check(&world, "exporter", &LIMITS, 3);
    world.run(["status", "--check", "--help"]).exits(0).prints("3 UNKNOWN");
}

#[test]
fn check_needs_neither_the_lock_nor_a_key() {
    let world = imported();
    fs::remove_dir_all(world.path("keys")).unwrap();
    fs::remove_dir_all(world.path("trust")).unwrap();
    world.sh("exec 9>importer/lock; flock 9; \"$A\" status --check --site importer").exits(0).prints("AIRPOUCH OK");
}

#[test]
fn what_waits_for_a_person_is_a_warning() {
    let world = World::new();
    ["1.json", "2.json", "3.json"].iter().for_each(|name| world.send_new(&[name]));
    world.sh("rm medium/*-00000002.*").exits(0);
    world.import(&[]).exits(3);
    check(&world, "importer", &LIMITS, 1).prints("1 batch missing | age=").prints(" missing=1 ");
    let world = World::new();
    put_mostly_held(&world, 2, 1);
    let command = json!({"type": "bundle", "id": "bundle--1", "objects": [{"type": "tool", "id": "tool--1", "opencti_operation": "delete"}]});
    world.put("command.json", &envelope_with("c", json!({"bundle": command})));
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    let run = check(&world, "importer", &[], 1).prints("2 envelopes held, 1 envelope quarantined");
    run.prints(" held=2 quarantined=1\n");
    // A batch of which nothing went counts as none that was delivered.
    let world = World::new();
    put_mostly_held(&world, 2, 0);
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    check(&world, "importer", &LIMITS, 1).prints("no batch delivered yet");
    world.import_inbox(&["--applicant", &format!("{UNMAPPED}={}", super::HERE)]).exits(0);
    check(&world, "importer", &LIMITS, 0);
    // A batch that a run has sealed and not signed, and parts that are missing.
    let world = imported();
    execute(&world, "exporter", "UPDATE packed_batch SET state = 'sealed'");
    check(&world, "exporter", &[], 1).prints("1 sealed");
    execute(&world, "importer", "UPDATE batch SET state = 'incomplete'");
    check(&world, "importer", &[], 1).prints("1 incomplete");
}

#[test]
fn batch_that_waits_for_a_carry_is_fine() {
    let world = imported();
    world.made("b.json");
    world.pack(&[]).exits(0);
    check(&world, "exporter", &LIMITS, 0).prints(", 1 batch waits | ").prints(" waiting=1 ");
}

#[test]
fn fork_and_refused_batch_and_changed_inbox_are_critical() {
    for (state, standing, words) in [
        ("whole", "'fork'", "1 fork"),
        ("refused", "'invalid-batch'", "1 refused"),
        ("whole", "'changed-in-inbox'", "1 changed in inbox"),
    ] {
        let world = imported();
        let sql = format!(
            "INSERT INTO batch (stream, sequence, sha256, manifest, state, standing, zone, envelopes)
             SELECT stream, 2, randomblob(32), manifest, '{state}', {standing}, zone, 1 FROM batch"
        );
        execute(&world, "importer", &sql);
        check(&world, "importer", &LIMITS, 2).prints(words);
        // Once nobody waits for its number, a batch that was refused is done with.
        execute(&world, "importer", "INSERT INTO settled SELECT stream, 2, 2, 'x', 'x' FROM batch LIMIT 1");
        check(&world, "importer", &LIMITS, if state == "refused" { 0 } else { 2 });
    }
}

#[test]
fn journal_that_was_changed_is_critical_also_after_the_next_run() {
    for site in ["importer", "exporter"] {
        for change in ["sed -i '$ s/packed/peeked/; $ s/delivered/delayed/; $ s/carried/carted/'", "sed -i '$ d'", "rm"]
        {
            let world = imported();
            check(&world, site, &[], 0);
            world.sh(&format!("{change} {site}/journal.jsonl")).exits(0);
            check(&world, site, &[], 2).prints("1 journal changed");
            world.run(["status", "--site", site]).exits(0).prints("the journal is not the one that the ledger knows");
        }
    }
    let world = imported();
    world.sh("sed -i '$ d' importer/journal.jsonl").exits(0);
    world.import_inbox(&[]).exits(0);
    check(&world, "importer", &[], 2).prints("1 journal changed");
    world.run(["status", "--site", "importer"]).exits(0).prints("a run found another journal than its ledger knew, 20");
    execute(&world, "importer", "UPDATE meta SET value = '2026-01-01T00:00:00Z' WHERE key = 'journal_changed'");
    check(&world, "importer", &[], 0);
}

#[test]
fn stream_that_another_one_goes_on_from_is_not_waited_for() {
    let world = imported();
    set_back(&world, 500);
    check(&world, "importer", &LIMITS, 2);
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    check(&world, "exporter", &LIMITS, 1).prints("no batch carried yet");
    world.made("b.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    check(&world, "exporter", &LIMITS, 0);
    check(&world, "importer", &LIMITS, 0).says_nothing_of("stream");
}

#[test]
fn of_several_streams_the_one_that_was_silent_longest_counts() {
    let world = imported();
    super::with_streams(&world, 2, 3, 8);
    execute(&world, "importer", "DELETE FROM batch WHERE state <> 'delivered'");
    execute(&world, "importer", "DELETE FROM set_aside");
    let then = now() - 40 * 3600 - 5;
    execute(&world, "importer", &format!("UPDATE batch SET done_at = {then} WHERE stream LIKE '00000002-%'"));
    let run = check(&world, "importer", &LIMITS, 1).prints("last batch 3 delivered 40 h ago");
    run.prints("(stream 00000002, of 3 the one that waits longest)");
    check(&world, "importer", &["00000001", "--warn", "26h"], 0);
    execute(&world, "importer", &format!("UPDATE batch SET taken_at = {then} WHERE sequence = 3"));
    check(&world, "importer", &["Feed 3", "--warn", "26h"], 1).prints("last envelope of Feed 3 came 40 h ago");
    check(&world, "importer", &["Feed 3", "--warn", "50h"], 0);
}

#[test]
fn names_of_strangers_cannot_act_on_a_terminal_or_a_monitoring_system() {
    let world = World::new();
    let name = "\u{1b}[2JFeed | age=0s\nAIRPOUCH OK";
    let connector = json!({"id": "feed", "name": name, "type": "EXTERNAL_IMPORT"});
    world.put("a.json", &envelope_with("a", json!({"connector": connector, "applicant_id": UNMAPPED})));
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    for more in [&[][..], &["--all"], &["feed"], &[name], &["feed", "--json"]] {
        let run = world.run(["status", "--site", "importer"].iter().chain(more)).exits(0);
        assert!(!run.stdout.contains('\u{1b}') && !run.stdout.contains("\nAIRPOUCH"), "{run:#?}");
        assert!(run.stdout.contains("Feed"), "{run:#?}");
    }
    check(&world, "importer", &["feed", "--warn", "26h"], 1).prints("Feed / age=0s");
    let signer = open(&world, "importer").query_row("SELECT count(*) FROM stream_signer", [], |r| r.get::<_, i64>(0));
    assert_eq!(signer.unwrap(), 1);
    let rules = "need = 1\n[[key]]\nfile = \"site-a.pub.pem\"\nwho = \"A\\u001b[31m | B\\n\"\n";
    fs::write(world.path("trust/trust.toml"), rules).unwrap();
    let run = world.run(["status", "--site", "importer", "--trust", "trust"]).exits(0).prints("signed by A\\u{1b}[31m");
    assert!(!run.stdout.contains('\u{1b}'), "{run:#?}");
}
