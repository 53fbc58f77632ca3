//! What became of what was sent: the platform's stand-in is told by its workers, and `follow` reads it back.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::kills::points_of;
use crate::kills::scene::{copy_all, empty};
use crate::kills::strace::{Blow, Ended, Fault, calls_of, with_fault};
use crate::scene::{Scene, name_in};
use crate::support::{Broker, Platform, Unjudged, finish};

const NEWEST: &str = "7.261026.0";
const REPORT: &str =
    "mutation R($id: ID!, $error: WorkErrorInput) { workEdit(id: $id) { reportExpectation(error: $error) } }";

/// As a worker reports what the platform answered: `str()` of a dict.
fn answered(code: &str, doc_code: Option<&str>, words: &str) -> String {
    let doc_code = doc_code.map_or_else(String::new, |code| format!(", 'doc_code': '{code}'"));
    format!("{{'name': '{code}', 'error_message': '{words}'{doc_code}}}")
}

/// The workers take all messages and report each; those at the places that are named with an error.
fn work_off(scene: &Scene, broker: &Broker, platform: &Platform, errors: &[(usize, String)]) -> Vec<String> {
    let messages = scene.take(broker);
    for (at, message) in messages.iter().enumerate() {
        let bundle: Value = serde_json::from_str(&message.bundle()).unwrap();
        let error = errors.iter().find(|(which, _)| *which == at);
        let error = error.map(|(_, error)| json!({"error": error, "source": bundle["objects"][0].to_string()}));
        let work = message.json()["work_id"].clone();
        platform.ask(REPORT, json!({"id": work, "error": error}));
    }
    messages.iter().map(name_in).collect()
}

fn follow(scene: &Scene, platform: &Platform, more: &[&str]) -> Unjudged {
    finish(&mut command(scene, platform, more))
}

fn command(scene: &Scene, platform: &Platform, more: &[&str]) -> Command {
    let mut command = scene.world.command();
    command.args(["follow", "--site", "importer", "--to", &platform.destination(), "--token-file"]);
    command.arg(platform.token_file()).args(more);
    command
}

fn status(scene: &Scene) -> String {
    scene.world.run(["status", "--site", "importer"]).exits_one_of(&[0, 3]).stdout
}

/// The events of a kind in the importer's journal.
fn events(scene: &Scene, event: &str) -> Vec<Value> {
    let journal = fs::read_to_string(scene.world.path("importer/journal.jsonl")).unwrap();
    let lines = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == event).collect()
}

/// The stream and the number of the only batch, as `stream accept` takes them.
fn only_batch(scene: &Scene) -> (String, String) {
    let delivered = events(scene, "delivered").remove(0);
    (delivered["stream"].as_str().unwrap().to_owned(), delivered["sequence"].to_string())
}

#[test]
fn what_workers_have_ingested_is_read_back_once_and_written_down() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(2, 4, 3);
    let platform = Platform::start(&["--version", NEWEST]);
    scene.import(&platform, &[]).exits(0);
    assert!(status(&scene).contains("2 works to follow: airpouch follow"), "{}", status(&scene));
    follow(&scene, &platform, &["--json"]).exits(0);
    follow(&scene, &platform, &[]).exits(0).prints("waiting: 2 works, of which workers have reported 0 of 12 messages");
    assert!(events(&scene, "followed").is_empty(), "nothing has ended");

    work_off(&scene, &broker, &platform, &[]);
    follow(&scene, &platform, &["--operator", "A. Officer"]).exits(0).prints("ingested: 12 messages of 2 works");
    let followed = events(&scene, "followed");
    assert_eq!((followed.len(), &followed[0]["operator"]), (1, &json!("A. Officer")));
    let of: Vec<_> =
        followed[0]["connectors"].as_array().unwrap().iter().map(|c| [&c["messages"], &c["failed"]]).collect();
    assert_eq!(json!(of), json!([[6, 0], [6, 0]]), "{followed:#?}");
    let page = scene.world.run(["record", "--site", "importer"]).exits(0).stdout;
    assert!(page.contains("12 messages ingested"), "{page}");
    scene.world.run(["log", "--event", "followed", "--site", "importer"]).exits(0).prints(": 12 messages ingested");
    let shown = status(&scene);
    assert!(shown.contains("ingested there: 12 messages, last seen ") && !shown.contains("to follow"), "{shown}");

    let asked = platform.operations().len();
    follow(&scene, &platform, &[]).exits(0).says_nothing_of("messages");
    let again: Vec<String> = platform.operations().into_iter().skip(asked).map(|o| o.operation).collect();
    assert!(!again.contains(&"work".to_owned()), "nobody asks for what has ended: {again:?}");
    assert_eq!(events(&scene, "followed").len(), 1);
    scene.world.run(["audit", "--site", "importer"]).exits(0);
}

#[test]
fn object_that_could_not_be_ingested_is_shown_until_it_is_accepted_as_lost() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 2, 3);
    let platform = Platform::start(&["--version", NEWEST]);
    scene.import(&platform, &[]).exits(0);
    let missing = answered("MISSING_REFERENCE_ERROR", None, "Element(s) not found \u{1b}[31m");
    let names = work_off(&scene, &broker, &platform, &[(1, missing.clone()), (4, missing)]);
    assert_eq!(names.len(), 6);

    follow(&scene, &platform, &[])
        .exits(3)
        .prints("ingested: 4 messages of 1 work")
        .mentions("not ingested: ")
        .mentions(
            "2 objects of Example Feed in batch 1 were not ingested by the platform; the first: MISSING_REFERENCE_ERROR: Element(s) not found",
        )
        .mentions("(tool--")
        .mentions("--redeliver")
        .says_nothing_of("\u{1b}[31m");
    let connectors = &events(&scene, "followed")[0]["connectors"][0];
    assert_eq!([&connectors["messages"], &connectors["failed"]], [&json!(4), &json!(2)]);
    assert_eq!(connectors["errors"][0]["code"], "MISSING_REFERENCE_ERROR");
    assert!(connectors["errors"][0]["object"].as_str().unwrap().starts_with("tool--"));

    // It is asked for no more, and stays until a person has settled it.
    follow(&scene, &platform, &[]).exits(3).mentions("2 objects of Example Feed in batch 1 were not ingested");
    assert!(status(&scene).contains("2 objects of Example Feed in batch 1 were not ingested"), "{}", status(&scene));
    // No manifest is read for it.
    let ledger = rusqlite::Connection::open(scene.world.path("importer/ledger.db")).unwrap();
    let manifest: Vec<u8> = ledger.query_row("SELECT manifest FROM batch", [], |r| r.get(0)).unwrap();
    ledger.execute("UPDATE batch SET manifest = x'00'", []).unwrap();
    assert!(status(&scene).contains("2 objects of Example Feed in batch 1 were not ingested"), "{}", status(&scene));
    ledger.execute("UPDATE batch SET manifest = ?1", [manifest]).unwrap();
    assert_eq!(events(&scene, "followed").len(), 1);
    scene.world.run(["status", "--check", "--site", "importer"]).exits(1);
    let (stream, number) = only_batch(&scene);
    let accept = ["stream", "accept", &stream, &number, "--reason", "known on the platform", "--site", "importer"];
    scene.world.run(accept).exits(0);
    follow(&scene, &platform, &[]).exits(0);
    assert!(!status(&scene).contains("were not ingested"), "{}", status(&scene));
    assert_eq!(events(&scene, "works-accepted").len(), 1);
}

#[test]
fn what_was_delivered_again_settles_what_failed_before() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 3);
    let platform = Platform::start(&["--version", NEWEST]);
    scene.import(&platform, &[]).exits(0);
    work_off(&scene, &broker, &platform, &[(0, "Too large element in bundle".to_owned())]);
    follow(&scene, &platform, &[]).exits(3).mentions("1 object of Example Feed in batch 1 was not ingested");
    scene.again(&platform, &["--redeliver"]).exits(0);
    follow(&scene, &platform, &[]).exits(0).prints("waiting: 1 work, of which workers have reported 0 of 3 messages");
    work_off(&scene, &broker, &platform, &[]);
    follow(&scene, &platform, &[]).exits(0).prints("ingested: 3 messages of 1 work");
}

#[test]
fn refusal_by_the_platforms_rules_is_told_once_and_is_no_failure() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 3);
    let platform = Platform::start(&["--version", NEWEST]);
    scene.import(&platform, &[]).exits(0);
    let excluded = answered("FUNCTIONAL_ERROR", Some("INDICATOR_PATTERN_EXCLUDED"), "it is on an exclusion list");
    work_off(&scene, &broker, &platform, &[(2, excluded)]);
    follow(&scene, &platform, &[])
        .exits(3)
        .mentions("the platform's own rules refuse 1 object of Example Feed in batch 1; the first: INDICATOR_PATTERN_EXCLUDED")
        .prints("ingested: 2 messages of 1 work")
        .says_nothing_of("--redeliver");
    follow(&scene, &platform, &[]).exits(0);
    assert!(status(&scene).contains("1 object refused by its rules"), "{}", status(&scene));
}

#[test]
fn work_that_was_cleared_before_its_messages_were_ingested_is_lost_until_settled() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 2, 2);
    // Closed, found alive, and cleared at the first question of `follow`.
    let platform = Platform::start(&["--version", NEWEST, "--fault", "forget:work:1"]);
    scene.import(&platform, &[]).exits(0);
    follow(&scene, &platform, &[])
        .exits(3)
        .mentions("a work was cleared on the platform under which 2 envelopes had been sent")
        .mentions("--redeliver");
    let followed = events(&scene, "followed");
    assert_eq!(followed[0]["connectors"][0]["unknown"], 1, "{followed:#?}");
    assert!(status(&scene).contains("a work was cleared"), "{}", status(&scene));
    scene.take(&broker);
    scene.again(&platform, &["--redeliver"]).exits(0);
    scene.all_are_there(&scene.take(&broker), &platform);
    assert!(!status(&scene).contains("a work was cleared"), "{}", status(&scene));
}

#[test]
fn work_that_the_platform_removed_by_age_is_unknown_and_told_once() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 2);
    let platform = Platform::start(&["--version", NEWEST, "--fault", "forget:work:1"]);
    scene.import(&platform, &[]).exits(0);
    follow(&scene, &platform, &["--works-day-range", "0"]).exits(0).mentions("nobody knows how it ended");
    follow(&scene, &platform, &[]).exits(0).says_nothing_of("nobody knows");
    assert!(status(&scene).contains("1 work of unknown end"), "{}", status(&scene));
}

#[test]
fn follow_asks_only_the_platform_to_which_the_site_delivers() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 1);
    let (platform, other) = (Platform::start(&["--version", NEWEST]), Platform::start(&["--version", NEWEST]));
    scene.import(&platform, &[]).exits(0);
    follow(&scene, &other, &[]).exits(2).mentions("this site delivers to ");
    assert_eq!(other.operations().len(), 0);
    scene.world.run(["follow", "--site", "importer", "--to", "dir:out"]).exits(2).mentions("only a platform has works");
}

#[test]
fn platform_in_trouble_keeps_what_it_said_and_the_next_run_goes_on() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(3, 3, 2);
    // The third work, and the try after it: the question for errors is not asked where there are none.
    let platform = Platform::start(&["--version", NEWEST, "--fault", "denied:work:3"]);
    scene.import(&platform, &[]).exits(0);
    work_off(&scene, &broker, &platform, &[]);
    follow(&scene, &platform, &[]).exits(1).prints("ingested: 4 messages of 2 works").mentions("FORBIDDEN_ACCESS");
    follow(&scene, &platform, &[]).exits(0).prints("ingested: 2 messages of 1 work");
    let messages = events(&scene, "followed").into_iter().flat_map(|e| e["connectors"].as_array().unwrap().clone());
    assert_eq!(messages.map(|of| of["messages"].as_u64().unwrap()).sum::<u64>(), 6);
}

#[test]
fn platform_of_any_version_is_asked_for_works_only_with_fields_that_it_has() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    for version in ["6.0.10", "6.4.0", "6.8.6", "6.9.10", NEWEST] {
        let scene = Scene::new(1, 1, 2);
        let platform = Platform::start(&["--version", version]);
        scene.import(&platform, &[]).exits(0);
        work_off(&scene, &broker, &platform, &[(0, answered("LOCK_ERROR", None, "busy"))]);
        follow(&scene, &platform, &[]).exits(3).mentions("1 object of Example Feed in batch 1 was not ingested");
        let refused: Vec<_> = platform.operations().into_iter().filter(|o| o.refused.is_some()).collect();
        assert!(refused.is_empty(), "{version}: {refused:?}");
    }
}

/// Whatever was noted before the kill is noted once, and the rest is asked for again.
#[test]
fn what_was_read_back_is_written_down_once_when_follow_is_killed() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(2, 4, 2);
    let platform = Platform::start(&["--version", NEWEST]);
    scene.import(&platform, &[]).exits(0);
    work_off(&scene, &broker, &platform, &[(1, answered("LOCK_ERROR", None, "busy"))]);
    let saved = tempfile::tempdir().unwrap();
    copy_all(scene.world.dir.path(), saved.path());

    let (run, calls) = calls_of(&command(&scene, &platform, &[]));
    run.exits(3);
    let mut killed = 0;
    for (call, (first, last)) in points_of(&calls) {
        for nth in first..=last {
            empty(scene.world.dir.path());
            copy_all(saved.path(), scene.world.dir.path());
            let fault = Fault { call, nth, blow: Blow::Kill };
            let ended = with_fault(&command(&scene, &platform, &[]), fault);
            follow(&scene, &platform, &[]).exits(3).mentions("1 object of Example Feed in batch 1 was not ingested");
            let followed = events(&scene, "followed");
            assert_eq!(followed.len(), 1, "{fault}: {followed:#?}");
            let sum = |key: &str| {
                let of = followed[0]["connectors"].as_array().unwrap();
                of.iter().map(|connector| connector[key].as_u64().unwrap()).sum::<u64>()
            };
            assert_eq!((sum("works"), sum("messages"), sum("failed")), (2, 7, 1), "{fault}");
            assert!(status(&scene).contains("ingested there: 7 messages"), "{fault}: {}", status(&scene));
            scene.world.run(["audit", "--site", "importer"]).exits(0);
            killed += usize::from(matches!(ended, Ended::Killed));
        }
    }
    println!("\nCOUNT kill points in follow: {killed}; lost 0, twice 0");
    assert!(killed >= 20, "only {killed} points");
}
