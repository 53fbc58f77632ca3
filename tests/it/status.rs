//! status, as an officer reads it: one screen, what waits first, how old everything is, and nothing that looks delivered and
//! is not.

mod check;
mod ledger;
mod metrics;

use std::fs;

use serde_json::{Value, json};

use crate::support::{APPLICANT, Run, World, envelope_with};
use ledger::{date, execute, exported, imported, now, with_streams};

const HERE: &str = "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10";
/// An applicant that no test maps.
const UNMAPPED: &str = "5f2b8e4c-9d31-4a6b-8a59-2f6f5f0c7b11";

fn status(world: &World, site: &str, more: &[&str]) -> Run {
    world.run(["status", "--site", site, "--trust", "trust"].iter().chain(more)).exits(0)
}

fn json_of(world: &World, site: &str) -> Value {
    status(world, site, &["--json"]).json()["report"].clone()
}

#[track_caller]
fn fits_one_screen(run: &Run) -> Vec<&str> {
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines.len() <= 45, "{} lines: {}", lines.len(), run.stdout);
    lines
}

#[track_caller]
fn at(lines: &[&str], words: &str) -> usize {
    lines.iter().position(|line| line.contains(words)).unwrap_or_else(|| panic!("{words:?} is not in {lines:#?}"))
}

#[test]
fn twelve_streams_of_forty_connectors_fit_one_screen_with_what_waits_first() {
    let world = imported();
    with_streams(&world, 12, 300, 40);
    let run = status(&world, "importer", &[]);
    let lines = fits_one_screen(&run);
    assert!(lines.len() > 35, "the room is used: {}", run.stdout);
    let (settle, streams, connectors) = (at(&lines, "to settle:"), at(&lines, "streams:"), at(&lines, "connectors:"));
    assert!(settle < streams && streams < connectors, "{}", run.stdout);
    // A fork is more urgent than a gap, and a gap than what is held.
    assert!(lines[settle + 1].contains("it does not fit what was delivered before"), "{}", run.stdout);
    assert!(lines[settle + 2].contains("airpouch stream accept"), "{}", run.stdout);
    assert!(at(&lines, "batches 100 to 109 have not arrived") < at(&lines, "496 envelopes waiting for an applicant"));
    assert_eq!(lines[streams + 1..connectors - 1].len(), 12 + 1, "a line for each stream: {}", run.stdout);
    assert!(
        lines[streams + 1..].iter().take(13).all(|line| line.contains("signed by site-a.pub.pem")),
        "{}",
        run.stdout
    );
    assert!(lines[connectors + 1].contains("Feed 7, 496 held"), "trouble comes first: {}", run.stdout);
    assert!(lines.last().unwrap().contains("connectors: airpouch status --site importer"), "{}", run.stdout);
    let all = status(&world, "importer", &["--all"]);
    assert!((0..40).all(|n| all.stdout.contains(&format!("Feed {n}"))), "{}", all.stdout);
    assert_eq!(all.stdout.lines().filter(|line| line.starts_with("stream ")).count(), 13, "{}", all.stdout);
    all.prints("4 of 500 envelopes delivered, 496 held")
        .prints("batches 40 to 49, accepted as lost")
        .prints("the stick burned");
}

#[test]
fn hundreds_of_streams_gaps_and_connectors_fit_one_screen() {
    let world = imported();
    with_streams(&world, 200, 120, 300);
    let run = status(&world, "importer", &[]);
    fits_one_screen(&run);
    run.prints("more: airpouch status --site")
        .prints("streams: airpouch status --site")
        .prints("connectors: airpouch status --site");
}

#[test]
fn many_zones_of_an_exporter_fit_one_screen() {
    let world = exported();
    for zone in 0..12 {
        let zone = format!("zone-{zone}");
        world.made(&format!("{zone}.json"));
        world.pack(&["--zone", &zone, "--new-zone"]).exits(0);
    }
    let connectors = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 40)
        INSERT INTO packed_connector SELECT s.id, 'feed-' || n, 1, 'Feed ' || n, 5 FROM stream s, n";
    execute(&world, "exporter", connectors);
    let run = status(&world, "exporter", &[]);
    let lines = fits_one_screen(&run);
    assert!(at(&lines, "is not carried yet") < at(&lines, "streams:"), "{}", run.stdout);
    run.prints("signs as site-a.pub.pem").prints("zone-11: nothing carried yet, 1 batch waits");
}

#[test]
fn dates_are_shown_with_their_ages_and_written_without_them() {
    let world = imported();
    let then = now() - 31 * 3600 - 5;
    execute(&world, "importer", &format!("UPDATE batch SET taken_at = {then}, done_at = {then} + 60"));
    let (taken, done) = (date("%Y-%m-%d %H:%M", then), date("%Y-%m-%d %H:%M", then + 60));
    let run = status(&world, "importer", &[]).prints(&format!("  last taken: batch 1, {taken} UTC (31 h ago)\n"));
    run.prints(&format!("  last delivered: batch 1, {done} UTC (30 h ago)\n"));
    let report = json_of(&world, "importer");
    let stream = &report["streams"][0];
    assert_eq!(stream["last_delivered"], json!({"sequence": 1, "at": date("%Y-%m-%dT%H:%M:%SZ", then + 60)}));
    assert_eq!(stream["last_packed"], json!(null));
    assert!(!report.to_string().contains(" ago"), "{report}");
    // At the exporter the first carry of the last batch counts, and not that it was carried once more.
    execute(&world, "exporter", &format!("UPDATE packed_batch SET packed_at = {then}"));
    execute(&world, "exporter", &format!("UPDATE carry SET at = '{}'", date("%Y-%m-%dT%H:%M:%SZ", then + 60)));
    fs::create_dir(world.path("second")).unwrap();
    world.run(["carry", "second", "--site", "exporter", "--resend", "1"]).exits(0);
    let run = status(&world, "exporter", &[]).prints(&format!("  last packed: batch 1, {taken} UTC (31 h ago)\n"));
    run.prints(&format!("  last carried: batch 1, {done} UTC (30 h ago)\n"));
}

#[test]
fn runs_note_when_they_pack_take_and_deliver() {
    let before = now();
    let world = imported();
    let is_now = |of: &Value| {
        let at = of["at"].as_str().unwrap_or_else(|| panic!("no time: {of}"));
        assert!(
            (date("%Y-%m-%dT%H:%M:%SZ", before).as_str()..=date("%Y-%m-%dT%H:%M:%SZ", now()).as_str()).contains(&at)
        );
    };
    let (exporter, importer) = (json_of(&world, "exporter"), json_of(&world, "importer"));
    is_now(&exporter["streams"][0]["last_packed"]);
    is_now(&exporter["streams"][0]["last_carried"]);
    is_now(&importer["streams"][0]["last_taken"]);
    is_now(&importer["streams"][0]["last_delivered"]);
    is_now(&importer["streams"][0]["connectors"]["43509aab-0310-5f8d-9395-81f36f6d064a"]["last"]);
}

#[test]
fn time_that_was_not_noted_is_unknown_and_what_never_was_is_never() {
    let world = exported();
    status(&world, "exporter", &[]).prints("last carried: never");
    assert_eq!(json_of(&world, "exporter")["streams"][0]["last_carried"], json!(null));
    world.carry(&[]).exits(0);
    world.import(&[]).exits(0);
    execute(&world, "exporter", "UPDATE packed_batch SET packed_at = NULL");
    execute(&world, "importer", "UPDATE batch SET taken_at = NULL");
    status(&world, "exporter", &[]).prints("last packed: batch 1, at an unknown time\n");
    let run = status(&world, "importer", &[]).prints("last taken: batch 1, at an unknown time\n");
    run.says_nothing_of("never")
        .prints("last delivered: batch 1, 20")
        .prints("Example Feed, last came at an unknown time");
    assert_eq!(json_of(&world, "importer")["streams"][0]["last_taken"], json!({"sequence": 1, "at": null}));
}

/// Envelopes of an applicant that is not mapped, and so many of one that is.
fn put_mostly_held(world: &World, held: usize, mapped: usize) {
    for n in 0..held + mapped {
        let applicant = if n < held { UNMAPPED } else { APPLICANT };
        world.put(&format!("{n}.json"), &envelope_with(&n.to_string(), json!({"applicant_id": applicant})));
    }
}

#[test]
fn batch_of_which_most_is_held_never_looks_delivered() {
    let world = World::new();
    put_mostly_held(&world, 496, 4);
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    let run = status(&world, "importer", &[]).prints("  batch 1: 1 delivered in part\n");
    let run = run.prints(": 4 delivered, 496 held\n").prints("496 envelopes waiting for an applicant");
    run.prints("Example Feed, 496 held, last came");
    status(&world, "importer", &["--all"]).prints("batch 1: 4 of 500 envelopes delivered, 496 held");
    let stream = json_of(&world, "importer")["streams"][0].clone();
    assert_eq!(stream["in_part"], json!([{"sequence": 1, "envelopes": 500, "held": 496, "quarantined": 0}]));
    assert_eq!((&stream["delivered"], &stream["batches"]), (&json!(4), &json!({"delivered in part": 1})));
}

#[test]
fn batch_that_was_set_aside_as_a_whole_is_delivered_when_its_envelopes_are() {
    let world = World::new();
    put_mostly_held(&world, 3, 0);
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    let run = status(&world, "importer", &[]).prints("batch 1: 1 all set aside\n").prints("last delivered: never");
    run.prints(": 0 delivered, 3 held\n");
    execute(&world, "importer", &format!("UPDATE batch SET done_at = {} - 90000", now()));
    world.import_inbox(&["--applicant", &format!("{UNMAPPED}={HERE}")]).exits(0).prints("delivered 3 envelopes");
    let run = status(&world, "importer", &[]).prints("batch 1: 1 delivered\n").says_nothing_of("held");
    assert!(!run.stdout.contains("last delivered: never") && !run.stdout.contains("25 h ago"), "{}", run.stdout);
}

#[test]
fn held_envelopes_that_another_stream_brings_again_do_not_look_delivered_there() {
    let world = World::new();
    put_mostly_held(&world, 3, 0);
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    // The exporter has lost its site, and packs all of it anew.
    fs::remove_dir_all(world.path("exporter")).unwrap();
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    let run = status(&world, "importer", &[]);
    assert_eq!(run.stdout.matches("batch 1: 1 all set aside").count(), 2, "{}", run.stdout);
    assert_eq!(run.stdout.matches("last delivered: never").count(), 2, "{}", run.stdout);
    world.import_inbox(&["--applicant", &format!("{UNMAPPED}={HERE}")]).exits(0).prints("delivered 3 envelopes");
    let run = status(&world, "importer", &[]);
    assert_eq!(run.stdout.matches("batch 1: 1 delivered\n").count(), 2, "{}", run.stdout);
}

#[test]
fn stream_and_connector_are_shown_in_depth() {
    let world = imported();
    with_streams(&world, 12, 300, 40);
    let streams = json_of(&world, "importer")["streams"].clone();
    let stream = streams.as_array().unwrap().iter().find(|s| s["missing"] == 10).unwrap();
    let id = stream["stream"].as_str().unwrap();
    let run = status(&world, "importer", &[&id[..13].to_uppercase()]).prints(&format!("stream {id} for zone"));
    let run = run
        .prints("    delivered: batches 1 to 39, 50 to 99 and 110 to 300\n")
        .prints("batches 100 to 109 have not arrived");
    assert_eq!(run.stdout.lines().filter(|line| line.starts_with("stream ")).count(), 1, "{}", run.stdout);
    for named in ["Feed 7", "feed-7"] {
        let run = status(&world, "importer", &[named]).prints("connector Feed 7 (feed-7)").prints(", 496 held");
        run.prints("496 envelopes held: applicant; the oldest came by batch 300").says_nothing_of("Feed 8");
        let report = status(&world, "importer", &[named, "--json"]).json()["report"].clone();
        assert!(report["streams"].as_array().unwrap().iter().all(|s| s["connectors"].as_object().unwrap().len() == 1));
    }
    let unknown = world.run(["status", "zz", "--site", "importer"]).exits(2).says("no stream begins with \"zz\"");
    unknown.says("airpouch status --site importer --all");
}

#[test]
fn signers_have_their_names_in_trust_toml_where_the_store_can_be_read() {
    let world = imported();
    let rules = "need = 1\n[[key]]\nfile = \"site-a.pub.pem\"\nwho = \"Site A, Vienna\"\n";
    fs::write(world.path("trust/trust.toml"), rules).unwrap();
    status(&world, "importer", &[]).prints("signed by Site A, Vienna\n");
    let signer = json_of(&world, "importer")["streams"][0]["signers"][0].clone();
    let id = signer["key"].as_str().unwrap()[..16].to_owned();
    assert_eq!(signer["who"], "Site A, Vienna");
    fs::write(world.path("importer/airpouch.toml"), "trust = \"../trust\"\n").unwrap();
    world.run(["status", "--site", "importer"]).exits(0).prints("signed by Site A, Vienna\n");
    // Neither a store nor settings that are broken stop it.
    fs::write(world.path("trust/trust.toml"), "need = ").unwrap();
    status(&world, "importer", &[]).prints(&format!("signed by key {id}\n"));
    fs::write(world.path("importer/airpouch.toml"), "trust = ").unwrap();
    world.run(["status", "--site", "importer"]).exits(0).prints(&format!("signed by key {id}\n"));
}

#[test]
fn accepted_gap_is_shown_with_its_reason() {
    let world = World::new();
    ["1.json", "2.json", "3.json"].iter().for_each(|name| world.send_new(&[name]));
    world.sh("rm medium/*-00000002.*").exits(0);
    world.import(&[]).exits(3);
    let stream = world.stream();
    let reason = "the \u{1b}[31mstick burned";
    world.run(["stream", "accept", &stream, "2", "--reason", reason, "--site", "importer"]).exits(0);
    status(&world, "importer", &[]).prints("  accepted as lost: batch 2\n").says_nothing_of("to settle");
    let run = status(&world, "importer", &["--all"]).prints("the \\u{1b}[31mstick burned\n");
    assert!(!run.stdout.contains('\u{1b}'), "{run:?}");
    assert_eq!(json_of(&world, "importer")["streams"][0]["accepted"][0]["sequences"], json!([[2, 2]]));
}

#[test]
fn batches_that_wait_for_the_same_are_one_line() {
    let world = World::new();
    (1..=6).for_each(|n| world.send_new(&[&format!("{n}.json")]));
    world.sh("rm medium/*-00000002.*").exits(0);
    world.import(&["--on-gap", "hold"]).exits(3);
    let run = status(&world, "importer", &[]).prints("batches 3 to 6: they wait: batches before them are missing");
    assert_eq!(run.stdout.matches("batches before them").count(), 1, "{}", run.stdout);
    assert_eq!(json_of(&world, "importer")["to_settle"].as_array().unwrap().len(), 1 + 4, "programs get each");
}

#[test]
fn messages_that_wait_in_a_spool_are_counted() {
    let world = exported();
    world.carry(&[]).exits(0);
    let mapped = format!("{APPLICANT}={HERE}");
    let to =
        ["import", "medium", "--to", "spool:spool", "--trust", "trust", "--site", "importer", "--applicant", &mapped];
    world.run(to).exits(0);
    status(&world, "importer", &[]).prints("\n  1 message waits there (").prints("the oldest since ");
    let spool = json_of(&world, "importer")["spool"].clone();
    assert_eq!((&spool["messages"], &spool["refused"], &spool["more"]), (&json!(1), &json!(0), &json!(false)));
    let feed = world.path("spool/43509aab-0310-5f8d-9395-81f36f6d064a");
    fs::create_dir(feed.join("refused")).unwrap();
    world.sh("cd spool/43509aab*; mv 0*.json refused/; echo x > refused/000000000001.json.reason").exits(0);
    status(&world, "importer", &[]).prints("no message waits there; 1 message that the broker refused");
    fs::remove_dir_all(world.path("spool")).unwrap();
    status(&world, "importer", &[]).prints("what waits there cannot be seen: ");
}
