//! What was done is held against the rules of its time: who was trusted then, who was an officer, what the policy demanded.

use std::fs;

use airpouch::digest::Digest;
use airpouch::journal::JournalHead;
use airpouch::trust::PrivateKey;
use serde_json::{Value, json};

use crate::officers::{Desk, TWO};
use crate::support::{Run, World};

type Change<'a> = &'a dyn Fn(&mut Vec<Value>);

fn audit(world: &World, more: &[&str], exit: i32) -> Run {
    world.run(["audit", "--site", "importer"].iter().chain(more)).exits(exit)
}

/// Somebody who may write all of the site writes its journal anew, as `change` says, with its own key and in its ledger: each
/// line follows the one before, and the head holds.
fn write_anew(world: &World, change: impl FnOnce(&mut Vec<Value>)) {
    let (path, site) = (world.path("importer/journal.jsonl"), world.path("importer"));
    let text = fs::read_to_string(&path).unwrap();
    let mut events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    change(&mut events);
    let (mut written, mut prev, count) = (String::new(), "0".repeat(64), events.len() as u64);
    for (at, mut event) in events.into_iter().enumerate() {
        event.as_object_mut().unwrap().retain(|key, _| key != "n" && key != "prev");
        let line = format!("{{\"n\":{},\"prev\":\"{prev}\",{}\n", at + 1, &event.to_string()[1..]);
        prev = Digest::of(line.as_bytes()).to_string();
        written += &line;
    }
    fs::write(&path, written).unwrap();
    let key = PrivateKey::from_pem(&fs::read(site.join("journal.key")).unwrap(), None).unwrap();
    let head = JournalHead { lines: count, last: prev.clone() }.signed(&key);
    fs::write(site.join("journal.head"), head).unwrap();
    let ledger = rusqlite::Connection::open(site.join("ledger.db")).unwrap();
    ledger.execute("UPDATE meta SET value = ?1 WHERE key = 'journal'", [format!("{count} {prev}")]).unwrap();
}

/// The first event of a kind.
fn event<'a>(events: &'a mut [Value], kind: &str) -> &'a mut Value {
    events.iter_mut().find(|event| event["event"] == kind).unwrap()
}

#[test]
fn batch_is_held_against_the_keys_that_were_trusted_when_it_was_admitted() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    // The exporter has another key now, and who held the old one has left.
    fs::remove_dir_all(world.medium()).unwrap();
    fs::create_dir(world.medium()).unwrap();
    fs::remove_file(world.path("trust/site-a.pub.pem")).unwrap();
    let key = world.key("site-b", [8; 32]);
    world.made("b.json");
    let with_key = ["--key", key.to_str().unwrap(), "--site", "exporter", "--no-overlap"];
    world.run(["pack", "src", "medium"].iter().chain(&with_key)).exits(0);
    world.import(&[]).exits(0);
    let run = audit(&world, &[], 0);
    run.prints("2 batches were admitted as the trust store of then allowed")
        .prints("signed by site-a.pub.pem (")
        .prints("signed by site-b.pub.pem (");
}

#[test]
fn admission_that_somebody_wrote_into_the_journal_is_against_the_rules_of_then() {
    let world = World::new();
    fs::write(world.path("trust/trust.toml"), "[[key]]\nfile = \"site-a.pub.pem\"\nwho = \"Site A\"\n").unwrap();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    let kept = ["journal.jsonl", "journal.head", "ledger.db"].map(|name| {
        let path = world.path("importer").join(name);
        (fs::read(&path).unwrap(), path)
    });
    let other = PrivateKey::from_seed([9; 32]).public();
    let fingerprint = other.fingerprint().to_string();
    let changes: [(&str, &str, Change<'_>); 7] = [
        ("of a key that nobody trusts", "a key that was not trusted then", &|events| {
            event(events, "admitted")["signers"] = json!([fingerprint]);
        }),
        ("of a key that only took the other one's name", "a key that was not trusted then", &|events| {
            event(events, "admitted")["signers"] = json!([fingerprint]);
            event(events, "trust-changed")["keys"][0]["fingerprint"] = json!(fingerprint);
        }),
        ("with too few signatures", "1 of the 2 different keys", &|events| {
            event(events, "trust-changed")["need"] = json!(2);
        }),
        ("by a key for another zone", "may not sign for this zone", &|events| {
            event(events, "trust-changed")["keys"][0]["zones"] = json!(["other"]);
        }),
        ("by a key for another stream", "may not sign this stream", &|events| {
            event(events, "trust-changed")["keys"][0]["streams"] = json!(["3f0c6f3e-0000-4000-8000-000000000000"]);
        }),
        ("by a revoked key", "is revoked", &|events| {
            event(events, "trust-changed")["keys"][0]["until"] = json!(0);
        }),
        ("before anybody was trusted", "a key that was not trusted then", &|events| {
            events.retain(|event| event["event"] != "trust-changed");
        }),
    ];
    for (what, words, change) in changes {
        write_anew(&world, change);
        let run = audit(&world, &[], 4);
        assert!(run.said().contains(words), "{what}: {}", run.said());
        assert!(!run.said().contains("not as it was written"), "{what}: {}", run.said());
        kept.iter().for_each(|(bytes, path)| fs::write(path, bytes).unwrap());
    }
    audit(&world, &[], 0);
}

#[test]
fn stream_that_took_over_the_trust_of_another_one_is_allowed_then_too() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    let packed = fs::read_to_string(world.path("exporter/journal.jsonl")).unwrap();
    let packed: Value =
        packed.lines().map(|l| serde_json::from_str(l).unwrap()).find(|e: &Value| e["event"] == "packed").unwrap();
    let stream = packed["stream"].as_str().unwrap();
    let toml = format!("[[key]]\nfile = \"site-a.pub.pem\"\nstreams = [\"{stream}\"]\n");
    fs::write(world.path("trust/trust.toml"), toml).unwrap();
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    world.made("b.json");
    world.send(&["--no-overlap"]).exits(0);
    world.import(&[]).exits(0);
    audit(&world, &[], 0).prints("2 batches were admitted");
}

#[test]
fn quarantined_envelope_that_was_let_through_by_writing_to_the_ledger_is_found() {
    let desk = Desk::new();
    desk.policy("");
    desk.in_ledger("UPDATE set_aside SET kind = 'released', reason = 'because'");
    desk.world.import_inbox(&[]).exits(0).prints("delivered 1 envelope");
    let run = audit(&desk.world, &[], 4);
    run.says("1 quarantined envelope went to the destination that nobody had released").says(&desk.digest[..8]);
}

#[test]
fn release_is_held_against_the_officers_and_the_policy_of_its_time() {
    let desk = Desk::new();
    desk.signs("ada", Some("CERT asked for it")).exits(3);
    desk.signs("bob", None).exits(0);
    desk.world.import_inbox(&[]).exits(0).prints("delivered 1 envelope");
    // Bob is no officer any more, and the policy demands more than it did.
    fs::remove_file(desk.world.path("importer/officers/bob.pub.pem")).unwrap();
    fs::remove_file(desk.world.path("importer/officers/eve.pub.pem")).unwrap();
    desk.policy("[record]\nsecond = \"all\"\nrequire = [\"operator\"]\n");
    desk.world.import_inbox(&["--operator", "Ada"]).exits(0);
    audit(&desk.world, &[], 0).prints("1 envelope was released as the policy of then demanded");
    let kept = ["journal.jsonl", "journal.head", "ledger.db"].map(|name| {
        let path = desk.world.path("importer").join(name);
        (fs::read(&path).unwrap(), path)
    });
    let changes: [(&str, Change<'_>); 4] = [
        ("with the signatures of 1 of 2 officers", &|events| {
            let at = events.iter().position(|event| event["who"] == "bob.pub.pem").unwrap();
            events.remove(at);
        }),
        ("a key that was no officer's then", &|events| {
            let keys = event(events, "officers-changed")["keys"].as_array_mut().unwrap();
            keys.retain(|key| key["who"] != "bob.pub.pem");
        }),
        ("with the signatures of 1 of 2 officers", &|events| {
            let ada = event(events, "release-signed").clone();
            let bob = events.iter_mut().find(|event| event["who"] == "bob.pub.pem").unwrap();
            (bob["key"], bob["signature"]) = (ada["key"].clone(), ada["signature"].clone());
        }),
        ("without the names of two persons", &|events| {
            let policy = event(events, "policy-changed");
            let text = "[record]\nsecond = \"commands\"\n";
            (policy["text"], policy["sha256"]) = (json!(text), json!(Digest::of(text.as_bytes()).to_string()));
        }),
    ];
    for (words, change) in changes {
        write_anew(&desk.world, change);
        audit(&desk.world, &[], 4).says(words).says_nothing_of("not as it was written");
        kept.iter().for_each(|(bytes, path)| fs::write(path, bytes).unwrap());
    }
}

#[test]
fn release_under_a_policy_that_the_journal_does_not_have_whole_is_counted_apart() {
    let desk = Desk::new();
    desk.policy(&format!("# {}\n{TWO}", "a long reason ".repeat(2_000)));
    desk.signs("ada", Some("CERT asked for it")).exits(3);
    desk.signs("bob", None).exits(0);
    let run = audit(&desk.world, &[], 0);
    run.prints("1 event cannot be held against the rules of then").prints("has the policy of then in part");
    let json = desk.world.run(["audit", "--site", "importer", "--json"]).exits(0).json();
    assert_eq!(json["report"]["rules"]["unknown"], json!(1), "{json}");
}

#[test]
fn audit_of_a_month_tells_of_that_month_alone() {
    let desk = Desk::new();
    desk.policy("");
    desk.in_ledger("UPDATE set_aside SET kind = 'released', reason = 'because'");
    desk.world.import_inbox(&[]).exits(0);
    audit(&desk.world, &["1999-12"], 0).says_nothing_of("admitted").prints("each line follows the one before");
    audit(&desk.world, &["..1999-12"], 0);
    audit(&desk.world, &["2000.."], 4).mentions("since 2000: 1 batch was admitted");
    audit(&desk.world, &["2000..2999"], 4).mentions("since 2000 until 2999: ");
    audit(&desk.world, &["2"], 2).says("invalid time");
    audit(&desk.world, &["2000..2000"], 0);
    let json = desk.world.run(["audit", "--site", "importer", "--json"]).exits(4).json();
    let month = json["report"]["first"].as_str().unwrap()[..7].to_owned();
    audit(&desk.world, &[&month], 4).mentions(&format!("in {month}: 1 batch was admitted"));
    audit(&desk.world, &["november"], 2).says("invalid time");
}

#[test]
fn ledger_that_was_restored_notes_its_rules_anew() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    let ledger = world.path("importer/ledger.db");
    let old = fs::read(&ledger).unwrap();
    // Another key for a while, of which the restored ledger knows nothing.
    let pem = fs::read(world.path("trust/site-a.pub.pem")).unwrap();
    fs::remove_file(world.path("trust/site-a.pub.pem")).unwrap();
    world.key("site-b", [8; 32]);
    world.import_inbox(&[]).exits(0);
    fs::write(&ledger, old).unwrap();
    fs::remove_file(world.path("trust/site-b.pub.pem")).unwrap();
    fs::write(world.path("trust/site-a.pub.pem"), pem).unwrap();
    world.send_new(&["b.json"]);
    world.import(&["--accept-ledger"]).exits(0).prints("delivered 1 envelope");
    audit(&world, &[], 3).says("another journal than its ledger knew").says_nothing_of("not trusted then");
}
