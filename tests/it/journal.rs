//! The journal: what an officer asks a year later, and what somebody does who wants it to say something else.

use std::fs;

use serde_json::{Value, json};

use crate::support::{APPLICANT, World, envelope_with};

fn lines(world: &World, site: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.path(site).join("journal.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first line of this event.
fn line_of(world: &World, site: &str, event: &str) -> Value {
    lines(world, site).into_iter().find(|line| line["event"] == event).unwrap_or_else(|| panic!("no {event}"))
}

fn events(world: &World, site: &str) -> Vec<String> {
    lines(world, site).iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect()
}

/// A command, which is quarantined, and an envelope that goes.
fn with_a_command() -> World {
    let world = World::new();
    world.made("a.json");
    let object = json!({"type": "indicator", "id": "indicator--1", "opencti_operation": "delete"});
    world.put(
        "command.json",
        &envelope_with("b", json!({"bundle": {"type": "bundle", "id": "bundle--1", "objects": [object]}})),
    );
    world
}

#[test]
fn journey_is_in_both_journals_with_who_and_why() {
    let world = with_a_command();
    world.send(&["--operator", "A. Carrier", "--witness", "B. Looker", "--ticket", "CR-7"]).exits(0);
    world.import(&["--operator", "C. Officer"]).exits(3);
    assert_eq!(events(&world, "exporter"), ["journal-opened", "packed", "carried"]);
    let packed = &lines(&world, "exporter")[1];
    assert_eq!(
        (&packed["operator"], &packed["witness"], &packed["ticket"]),
        (&json!("A. Carrier"), &json!("B. Looker"), &json!("CR-7"))
    );
    assert_eq!((&packed["sequence"], &packed["envelopes"], &packed["verb"]), (&json!(1), &json!(2), &json!("pack")));
    assert_eq!(
        events(&world, "importer"),
        ["journal-opened", "trust-changed", "taken", "peer-head", "admitted", "quarantined", "delivered"]
    );
    let importer = lines(&world, "importer");
    assert_eq!(importer[1]["keys"][0]["who"], "site-a.pub.pem");
    assert_eq!(importer[1]["keys"][0]["fingerprint"], packed["signers"][0]);
    for (line, event) in [(&lines(&world, "exporter")[2], "carried"), (&importer[2], "taken")] {
        assert_eq!(line["event"], event);
        assert!(line["medium"].as_str().unwrap().ends_with("medium"), "{line}");
        assert!(line["device"]["kind"].is_string() && line["device"]["read_only"].is_boolean(), "{line}");
    }
    assert_eq!(importer[2]["sha256"], packed["sha256"]);
    assert_eq!(importer[2]["signers"], packed["signers"]);
    assert_eq!(importer[5]["envelopes"][0]["name"], "command.json");
    assert_eq!(importer[6]["outcome"]["quarantined"], 1);
    assert_eq!(importer[6]["connectors"][0]["types"]["indicator"], 2);
    for site in ["exporter", "importer"] {
        world.run(["audit", "--site", site]).exits(0).prints("each line follows the one before");
    }
}

#[test]
fn command_that_was_released_is_found_with_person_and_reason_after_it_was_delivered_and_pruned() {
    let world = with_a_command();
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    let digest = line_of(&world, "importer", "quarantined")["envelopes"][0]["sha256"].as_str().unwrap().to_owned();
    let release =
        ["quarantine", "release", &digest, "--reason", "the duplicate is confirmed", "--operator", "D. Officer"];
    world.run(release.into_iter().chain(["--site", "importer"])).exits(0);
    world.import_inbox(&["--keep", "0s"]).exits(0).prints("delivered 1 envelope");
    assert!(fs::read_dir(world.path("importer/inbox")).unwrap().next().is_none(), "the inbox is cleared");
    let log = world.run(["log", "--envelope", &digest[..12], "--event", "released", "--site", "importer"]).exits(0);
    log.prints("reason: the duplicate is confirmed").prints("D. Officer").prints("in spite of: ");
    let by_name = world.run(["log", "--envelope", "command.json", "--site", "importer"]).exits(0);
    by_name.prints("quarantined").prints("released");
    let other = world.run(["log", "--envelope", "no-such.json", "--site", "importer"]).exits(0);
    assert_eq!(other.said(), "");
    world.run(["log", "--event", "pruned", "--site", "importer"]).exits(0).prints("batch 1 of stream");
}

#[test]
fn events_are_found_by_time_stream_batch_connector_and_kind() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    let importer = lines(&world, "importer");
    let (stream, at) = (importer[3]["stream"].as_str().unwrap(), importer[3]["at"].as_str().unwrap());
    let connector = importer[5]["connectors"][0]["id"].as_str().unwrap();
    let count = |options: &[&str]| {
        let run = world.run(["log", "--json", "--site", "importer"].iter().chain(options)).exits(0);
        run.json()["report"]["events"].as_array().unwrap().len()
    };
    assert_eq!(count(&[]), 6);
    assert_eq!(count(&["--stream", &stream[..8]]), 4);
    assert_eq!((count(&["--batch", "1"]), count(&["--batch", "2"])), (3, 0));
    assert_eq!(count(&["--connector", connector]), 1);
    assert_eq!((count(&["--since", &at[..7]]), count(&["--until", &at[..10]])), (6, 6));
    assert_eq!((count(&["--since", "2999"]), count(&["--until", "1999-12"])), (0, 0));
    world.run(["log", "--since", "yesterday", "--site", "importer"]).exits(2).says("invalid time");
    world.run(["log", "--csv", "--site", "importer"]).exits(0).prints("n,at,event,verb,user").prints("delivered");
}

#[test]
fn keys_and_policy_are_in_the_journal_when_they_change_and_not_again() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    world.import(&[]).exits(0);
    fs::write(world.path("importer/policy.toml"), "max_tlp = \"red\"\n").unwrap();
    fs::write(
        world.path("trust/trust.toml"),
        "[[key]]\nfile = \"site-a.pub.pem\"\nwho = \"Site A\"\nzones = [\"default\"]\n",
    )
    .unwrap();
    world.import(&[]).exits(0);
    world.import(&[]).exits(0);
    fs::remove_file(world.path("importer/policy.toml")).unwrap();
    world.import(&[]).exits(0);
    let changed: Vec<Value> = lines(&world, "importer")
        .into_iter()
        .filter(|line| line["event"].as_str().unwrap().ends_with("-changed"))
        .collect();
    let events: Vec<_> = changed.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["trust-changed", "trust-changed", "policy-changed", "policy-changed"]);
    assert_eq!(
        (&changed[1]["keys"][0]["who"], &changed[1]["keys"][0]["zones"]),
        (&json!("Site A"), &json!(["default"]))
    );
    let pem = fs::read_to_string(world.path("trust/site-a.pub.pem")).unwrap();
    assert_eq!(changed[1]["keys"][0]["key"].as_str().unwrap().trim(), pem.trim());
    assert_eq!((&changed[2]["text"], &changed[3]["text"]), (&json!("max_tlp = \"red\"\n"), &json!("")));
}

#[test]
fn gap_that_was_given_up_is_in_the_journal_with_its_numbers_and_reason() {
    let world = World::new();
    for name in ["a.json", "b.json", "c.json"] {
        world.made(name);
        world.run(["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(0);
    }
    world.run(["carry", "medium", "--no-overlap", "--site", "exporter", "--resend", "3"]).exits(0);
    for entry in fs::read_dir(world.path("medium")).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if !name.contains("-00000003.") {
            fs::remove_file(entry).unwrap();
        }
    }
    world.import(&[]).exits(3);
    let stream = line_of(&world, "importer", "taken")["stream"].as_str().unwrap().to_owned();
    let reason = ["--reason", "the stick was stolen", "--witness", "E. Looker", "--site", "importer"];
    world.run(["stream", "accept", &stream, "1-2"].into_iter().chain(reason)).exits(0);
    let log = world.run(["log", "--event", "gap-accepted", "--batch", "2", "--site", "importer"]).exits(0);
    log.prints(&format!("batches 1 to 2 of stream {stream}; reason: the stick was stolen")).prints("witness E. Looker");
    world
        .run(["log", "--event", "gap-accepted", "--batch", "3", "--site", "importer"])
        .exits(0)
        .says_nothing_of("stolen");
}

/// A month later two numbers have to fit: how many batches came, and how often one was sent to the platform again.
#[test]
fn batch_that_is_delivered_again_has_an_event_of_its_own_with_who_and_why() {
    let world = World::new();
    world.send_new(&["a.json", "b.json"]);
    world.import(&[]).exits(0);
    let who = ["--redeliver", "--operator", "C. Officer", "--ticket", "CR-8", "--note", "the platform lost a day"];
    world.import_inbox(&who).exits(0).prints("delivered 2 envelopes");
    let names = events(&world, "importer");
    let of = |event: &str| names.iter().filter(|name| *name == event).count();
    assert_eq!((of("delivered"), of("redelivered")), (1, 1), "{names:?}");
    let [first, again] = ["delivered", "redelivered"].map(|event| line_of(&world, "importer", event));
    assert_eq!((&again["outcome"]["delivered"], &again["sha256"]), (&json!(2), &first["sha256"]));
    assert_eq!((&again["operator"], &again["note"]), (&json!("C. Officer"), &json!("the platform lost a day")));
    let log = world.run(["log", "--event", "redelivered", "--site", "importer"]).exits(0);
    log.prints("2 of 2 envelopes delivered").prints("C. Officer").prints("note: the platform lost a day");
    let record = world.run(["record", "1", "--json", "--site", "importer"]).exits(0).json()["report"].clone();
    let batch = &record["batches"][0];
    assert_eq!((&batch["outcome"]["delivered"], &batch["redelivered"]["delivered"]), (&json!(2), &json!(2)));
    assert_eq!(batch["times"]["delivered"], first["at"]);
    let review = ["review", "--month", &first["at"].as_str().unwrap()[..7], "--site", "importer"];
    world.run(review).exits(0).prints("1 batch delivered, 2 envelopes in them, 1 batch delivered again");
    world.run(["audit", "--site", "importer"]).exits(0);
}

#[test]
fn batch_whose_second_delivery_was_cut_off_is_not_delivered_for_the_first_time_after_it() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    // The destination is away: the run reopens the batch and comes no further.
    world.sh("mv out away && touch out").exits(0);
    world.import_inbox(&["--redeliver"]).exits(1);
    world.sh("rm out && mv away out").exits(0);
    world.import_inbox(&[]).exits(0);
    let names = events(&world, "importer");
    assert_eq!(names.iter().filter(|name| *name == "delivered").count(), 1, "{names:?}");
    assert_eq!(names.last().unwrap(), "redelivered");
    // From here on it is a batch as all others.
    world.import_inbox(&[]).exits(0);
    assert_eq!(events(&world, "importer"), names);
}

/// A run whose clock was ahead is cut off before it has written its events; the next one writes them, by a clock set right.
#[test]
fn clock_that_was_set_back_is_told_by_the_audit_and_loses_no_line_of_the_log() {
    let world = World::new();
    world.send_new(&["a.json"]);
    let ledger = rusqlite::Connection::open(world.path("exporter/ledger.db")).unwrap();
    let mut event = lines(&world, "exporter").pop().unwrap();
    let now = airpouch::clock::now().0;
    let (ahead, far) = (airpouch::clock::utc(now + 3 * 3_600 + 20), airpouch::clock::utc(now + 40_000_000));
    ["n", "prev"].iter().for_each(|key| drop(event.as_object_mut().unwrap().remove(*key)));
    for (deed, at) in [&ahead, &ahead, &far].iter().enumerate() {
        (event["at"], event["run"], event["deed"]) = (json!(at), json!("0000000000000001"), json!(deed));
        ledger.execute("INSERT INTO noted (line) VALUES (?1)", [event.to_string()]).unwrap();
    }
    drop(ledger);
    world.send_new(&["b.json"]);
    let journal = lines(&world, "exporter");
    assert_eq!(
        events(&world, "exporter")[1..],
        ["packed", "carried", "carried", "carried", "carried", "packed", "carried"]
    );
    // The clock going on, even by a year, is nothing that a journal shows.
    let audit = world.run(["audit", "--site", "exporter"]).exits(0).prints("each line follows the one before");
    let audit = audit.prints("the clock was set back by 462 d before line 7, to ");
    assert_eq!(audit.stdout.matches("set back").count(), 1, "{audit:#?}");
    let report = world.run(["audit", "--json", "--site", "exporter"]).exits(0).json()["report"].clone();
    assert_eq!((&report["clock_set_backs"], &report["clock_set_back"][0]["line"]), (&json!(1), &json!(7)));
    assert_eq!(report["clock_set_back"][0]["at"], journal[6]["at"]);
    // Each line is in the time that it has, wherever it stands.
    let log = |words: &[&str]| {
        let all = [&["log", "--json", "--site", "exporter"], words].concat();
        let events = world.run(all).exits(0).json()["report"]["events"].clone();
        events.as_array().unwrap().iter().map(|event| event["n"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(log(&["--since", &ahead]), [4, 5, 6]);
    assert_eq!(log(&["--until", &airpouch::clock::utc(now + 3_600)]), [1, 2, 3, 7, 8]);
    assert_eq!(log(&["--since", &ahead, "--until", &ahead]), [4, 5]);
    assert_eq!(log(&[]), (1..=8).collect::<Vec<u64>>());
    world.run(["record", "--site", "exporter"]).exits(0);
}

#[test]
fn run_with_nothing_to_do_adds_no_line_and_the_audit_holds() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    let before = (lines(&world, "exporter"), lines(&world, "importer"));
    world.run(["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(0);
    world.import(&[]).exits(0);
    assert_eq!((lines(&world, "exporter"), lines(&world, "importer")), before);
    world.run(["audit", "--site", "importer"]).exits(0);
}

#[test]
fn reason_that_is_too_long_for_the_journal_is_refused_before_anything_is_done() {
    let world = with_a_command();
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    let digest = line_of(&world, "importer", "quarantined")["envelopes"][0]["sha256"].as_str().unwrap().to_owned();
    let long = "x".repeat(1001);
    world.run(["quarantine", "release", &digest, "--reason", &long, "--site", "importer"]).exits(2).says("takes 1000");
    assert!(!events(&world, "importer").contains(&"released".to_owned()));
}

#[test]
fn envelope_of_thousands_of_operations_has_its_line_in_the_journal_whatever_they_are_called() {
    for letter in ["x", "\u{1F600}", "\u{202E}", "\\", "\u{1}"] {
        let world = World::new();
        let command = |n| {
            let operation = format!("delete-{n}-{}", letter.repeat(200));
            json!({"type": "indicator", "id": format!("indicator--{n}"), "opencti_operation": operation})
        };
        let objects: Vec<Value> = (0..3000).map(command).collect();
        let bundle = json!({"type": "bundle", "id": "bundle--1", "objects": objects});
        world.put("many.json", &envelope_with("a", json!({"bundle": bundle})));
        world.send(&[]).exits(0);
        world.import(&["--operator", &letter.repeat(1000)]).exits(3);
        let quarantined = &line_of(&world, "importer", "quarantined");
        let (digest, what) = (&quarantined["envelopes"][0]["sha256"], &quarantined["envelopes"][0]["what"]);
        assert!(what.as_str().unwrap().contains("delete-1-"), "{what}");
        let release = ["quarantine", "release", digest.as_str().unwrap(), "--reason", "asked", "--site", "importer"];
        world.run(release).exits(0);
        world.import_inbox(&[]).exits(0);
        let released = lines(&world, "importer").into_iter().find(|line| line["event"] == "released").unwrap();
        assert_eq!(&released["what"], what);
        world.run(["audit", "--site", "importer"]).exits(0);
    }
}

#[test]
fn log_reads_up_to_the_line_that_is_being_written() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    let path = world.path("exporter/journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    world.run(["log", "--site", "exporter"]).exits(0).prints("packed: ").says_nothing_of("carried");
}

/// What somebody does to a journal who can write the disk.
type Deed = fn(&mut Vec<String>);

#[test]
fn journal_that_was_changed_cut_or_reordered_is_seen() {
    let world = World::new();
    for name in ["a.json", "b.json", "c.json"] {
        world.made(name);
        world.send(&[]).exits(0);
        world.import(&[]).exits(0);
    }
    let path = world.path("importer/journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let deeds: [(&str, Deed); 7] = [
        ("a word is changed", |lines| lines[4] = lines[4].replace("admitted", "refused!")),
        ("the last line is taken away", |lines| drop(lines.pop())),
        ("a line in the middle is taken away", |lines| drop(lines.remove(3))),
        ("two lines change places", |lines| lines.swap(2, 3)),
        ("a line is repeated", |lines| lines.insert(4, lines[3].clone())),
        ("all is taken away but the first line", |lines| lines.truncate(1)),
        ("a line is written behind the others", |lines| {
            let last = lines.last().unwrap().clone();
            lines.push(last);
        }),
    ];
    for (name, deed) in deeds {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        deed(&mut lines);
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let run = world.run(["audit", "--site", "importer"]).exits(4);
        assert!(run.said().contains("INVALID: "), "{name}: {}", run.said());
    }
    fs::write(&path, &text).unwrap();
    world.run(["audit", "--site", "importer"]).exits(0);
}

#[test]
fn head_that_is_gone_older_or_of_another_site_is_seen() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    let head = world.path("importer/journal.head");
    let (journal, older) = (fs::read(world.path("importer/journal.jsonl")).unwrap(), fs::read(&head).unwrap());
    world.made("b.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    let newest = fs::read(&head).unwrap();
    fs::copy(world.path("exporter/journal.head"), &head).unwrap();
    world.run(["audit", "--site", "importer"]).exits(4).says("has not signed it");
    fs::remove_file(&head).unwrap();
    world.run(["audit", "--site", "importer"]).exits(4).says("no signed head");
    fs::write(&head, &older).unwrap();
    world.run(["audit", "--site", "importer"]).exits(3).says("not signed yet");
    // Both are put back to what they were: the ledger knows better.
    fs::write(world.path("importer/journal.jsonl"), journal).unwrap();
    world.run(["audit", "--site", "importer"]).exits(4).says("the ledger knows a journal");
    fs::write(&head, &newest).unwrap();
    world.run(["audit", "--site", "importer"]).exits(4);
}

#[test]
fn journal_that_was_written_anew_with_key_and_ledger_is_seen_by_a_copy_of_an_earlier_head() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    fs::copy(world.path("importer/journal.head"), world.path("october.head")).unwrap();
    world.made("b.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    let with_copy = ["audit", "--head", "october.head", "--site", "importer"];
    world.run(with_copy).exits(0);
    // Somebody who may write the whole site begins it anew: all of it holds, but for the copy.
    fs::remove_dir_all(world.path("importer")).unwrap();
    world.import(&[]).exits(0);
    world.run(["audit", "--site", "importer"]).exits(0);
    world.run(with_copy).exits(4).says("october.head does not hold");
    world.run(["audit", "--head", "no-such.head", "--site", "importer"]).exits(1).says("no such copy");
}

#[test]
fn lines_that_somebody_added_are_told_of_although_the_next_run_signs_what_follows() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    let path = world.path("importer/journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let last = text.lines().last().unwrap();
    let digest = airpouch::digest::Digest::of(format!("{last}\n").as_bytes());
    let mut forged: Value = serde_json::from_str(last).unwrap();
    let number = forged["n"].as_u64().unwrap() + 1;
    forged.as_object_mut().unwrap().retain(|key, _| key != "n" && key != "prev");
    let forged = format!("{{\"n\":{number},\"prev\":\"{digest}\",{}", &forged.to_string()[1..]);
    fs::write(&path, format!("{text}{forged}\n")).unwrap();
    world.run(["audit", "--site", "importer"]).exits(3).says("not signed yet");
    world.import(&[]).exits(0);
    world.run(["audit", "--site", "importer"]).exits(3).says("another journal than its ledger knew");
}

#[test]
fn journal_of_a_site_from_before_it_kept_one_begins_with_its_next_run() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&["--unmapped", &format!("default={APPLICANT}")]).exits(0);
    for name in ["journal.jsonl", "journal.head", "journal.key"] {
        fs::remove_file(world.path("importer").join(name)).unwrap();
    }
    world.run(["log", "--site", "importer"]).exits(1).says("no journal yet");
    world.run(["audit", "--site", "importer"]).exits(1).says("no journal yet");
}
