//! Where one side's journal ends, as the other side has it: what somebody cannot undo who may write all of one site.

use std::fs;

use serde_json::{Value, json};

use crate::support::World;

fn events(world: &World, site: &str, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.path(site).join("journal.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == kind).collect()
}

fn codes(world: &World, site: &str) -> Value {
    world.run(["witness", "--json", "--site", site]).exits(0).json()["report"].clone()
}

/// The journal of a site and all that says what was in it, as somebody removes it who has the site's user.
fn forget_journal(world: &World, site: &str) {
    for name in ["journal.jsonl", "journal.head", "journal.key"] {
        fs::remove_file(world.path(site).join(name)).unwrap();
    }
    world.sh(&format!("sqlite3 {site}/ledger.db \"DELETE FROM meta WHERE key = 'journal'\"")).exits(0);
}

#[test]
fn head_of_the_exporters_journal_comes_with_the_medium_and_is_found_again_by_its_code() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    let heard = events(&world, "importer", "peer-head");
    assert_eq!((heard.len(), &heard[0]["fits"], &heard[0]["lines"]), (1, &json!(true), &json!(2)));
    let code = codes(&world, "importer")["others"][0]["code"].as_str().unwrap().to_owned();
    world.import(&[]).exits(0);
    assert_eq!(events(&world, "importer", "peer-head").len(), 1, "the same head is noted once");

    // A year goes by.
    world.send_new(&["b.json"]);
    world.send_new(&["c.json"]);
    let found = world.run(["audit", "--code", &code.to_lowercase(), "--site", "exporter"]).exits(0);
    found.prints(&format!("{code} is line 2"));
    let verified = world.verify(&["--json"]).exits(0).json();
    assert_eq!(verified["report"]["other_files"], 0);

    // Somebody writes the exporter's journal anew, and its ledger knows no other.
    forget_journal(&world, "exporter");
    world.send_new(&["d.json"]);
    world.run(["audit", "--site", "exporter"]).exits(0);
    world
        .run(["audit", "--code", &code, "--site", "exporter"])
        .exits(4)
        .says(&format!("no line of it has the code {code}"));
    world.import(&[]).exits(3).says("the exporter's journal is signed by another key than before");
    assert_eq!(events(&world, "importer", "peer-head")[1]["fits"], false);
    world.import(&[]).exits(0);
}

#[test]
fn code_that_the_other_side_says_is_noted_and_a_mistyped_one_is_not() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    let code = codes(&world, "importer")["own"]["code"].as_str().unwrap().to_owned();
    let said = code.replace('-', " ").to_lowercase();
    world.run(["witness", &said, "--operator", "E. Officer", "--site", "exporter"]).exits(0).prints(&code);
    let mut wrong = code.clone().into_bytes();
    wrong[3] = if wrong[3] == b'7' { b'8' } else { b'7' };
    let wrong = String::from_utf8(wrong).unwrap();
    world.run(["witness", &wrong, "--site", "exporter"]).exits(2).says("mistyped");
    world.run(["witness", "ABC", "--site", "exporter"]).exits(2).says("20 symbols");
    let noted = events(&world, "exporter", "witnessed");
    assert_eq!((noted.len(), &noted[0]["code"], &noted[0]["operator"]), (1, &json!(code), &json!("E. Officer")));
    world.run(["log", "--event", "witnessed", "--site", "exporter"]).exits(0).prints(&code);
    world.run(["audit", "--code", &code, "--site", "importer"]).exits(0);
    world.run(["audit", "--code", &code, "--site", "exporter"]).exits(4);
}

#[test]
fn head_that_somebody_put_onto_the_medium_stops_nothing_and_is_told_of() {
    let world = World::new();
    world.send_new(&["a.json"]);
    let head = world.on_medium(".head");
    for (name, bytes) in
        [("no head", b"airpouch journal/1\n".to_vec()), ("large", vec![b'a'; 1 << 20]), ("binary", vec![0xff; 300])]
    {
        fs::write(&head, bytes).unwrap();
        let site = format!("importer of {name}");
        world.import(&["--site", &site, "--to", &format!("dir:out of {name}")]).exits(0);
        assert!(events(&world, &site, "peer-head").is_empty(), "{name}");
    }
    // A whole one, of a journal that is not the exporter's.
    let other = World::new();
    other.send_new(&["x.json"]);
    fs::copy(other.on_medium(".head"), &head).unwrap();
    world.import(&[]).exits(0);
    world.send_new(&["b.json"]);
    world.import(&[]).exits(3).says("another key");
    assert_eq!(world.delivered().len(), 2);
}

#[test]
fn head_beside_a_batch_of_a_key_that_may_not_sign_it_is_not_heard() {
    let world = World::new();
    let rules = "[[key]]\nfile = \"site-a.pub.pem\"\nwho = \"A\"\nzones = [\"elsewhere\"]\n";
    fs::write(world.path("trust/trust.toml"), rules).unwrap();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(4).says("may not sign");
    assert!(events(&world, "importer", "peer-head").is_empty());
    assert_eq!(codes(&world, "importer")["others"], json!([]));
    fs::remove_file(world.path("trust/trust.toml")).unwrap();
    world.import(&[]).exits(0);
    assert_eq!(events(&world, "importer", "peer-head").len(), 1);
}
