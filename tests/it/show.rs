//! What an officer looks at before a stick goes in, and before a quarantined envelope is released.

use serde_json::{Value, json};

use crate::support::{World, envelope_with};

/// An envelope of a connector with this name, and so of another id.
fn of_connector(key: &str, name: &str) -> Vec<u8> {
    let id = format!("{:0>8}-1111-4222-8333-944445555666", name.len());
    envelope_with(key, json!({"connector": {"id": id, "name": name, "type": "EXTERNAL_IMPORT", "scope": "stix2"}}))
}

fn with_objects(key: &str, objects: Value) -> Vec<u8> {
    let bundle = json!({"type": "bundle", "id": format!("bundle--{key}"), "objects": objects});
    envelope_with(key, json!({ "bundle": bundle }))
}

fn report(world: &World, words: &[&str]) -> Value {
    let run = world.run(words.iter().copied().chain(["--json"])).exits(0);
    serde_json::from_str::<Value>(&run.stdout).unwrap()["report"].clone()
}

fn kinds(batch: &Value) -> Vec<&str> {
    batch["unusual"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect()
}

#[test]
fn medium_is_shown_with_what_its_last_batch_has_that_none_before_had() {
    let world = World::new();
    for day in 0..6 {
        world.send_new(&[&format!("usual-{day}.json")]);
    }
    world.put("other.json", &of_connector("other", "Another \u{1b}[31mfeed"));
    let file = json!([{"name": "a.pdf", "mime_type": "application/pdf", "data": "QUJD"}]);
    world.put("file.json", &with_objects("f", json!([{"type": "report", "id": "report--1", "x_opencti_files": file}])));
    let act = json!([{"type": "indicator", "id": "indicator--1", "opencti_operation": "merge"}]);
    world.put("act.json", &with_objects("c", act));
    (0..60).for_each(|n| {
        drop(world.put(
            &format!("many-{n}.json"),
            &with_objects(&n.to_string(), json!([{"type": "tool", "id": format!("tool--{n}")}])),
        ))
    });
    world.send(&["--no-overlap"]).exits(0);

    let shown = world.run(["show", "medium", "--trust", "trust"]).exits(0);
    shown.prints("batch 7 of stream").prints("1 embedded file").prints("1 envelope with commands or internal types");
    let all = report(&world, &["show", "medium", "--trust", "trust"]);
    let batches = all["batches"].as_array().unwrap();
    assert_eq!(batches.len(), 7);
    assert!(batches[..6].iter().all(|batch| kinds(batch).is_empty()), "{batches:#?}");
    assert_eq!(
        (&batches[6]["compared"], kinds(&batches[6])),
        (&json!(6), vec!["new-connector", "first-command", "many", "many"])
    );
    assert_eq!(batches[6]["files"], json!({"number": 1, "largest": 3, "types": {"application/pdf": 1}}));

    let one = world.run(["show", "medium", "--trust", "trust", "--batch", "7"]).exits(0);
    let one =
        one.prints("new connector Another \\u{1b}[31mfeed").prints("command merge in envelope").prints("act.json");
    assert!(!one.said().contains('\u{1b}'));
    world.run(["show", "medium", "--trust", "trust", "--batch", "8"]).exits(2).says("batch 8 is not on this medium");

    // The same from the outbox, and from the inbox after the medium has gone.
    let of_outbox = report(&world, &["show", "7", "--site", "exporter"]);
    assert_eq!(of_outbox["batches"][0]["connectors"], batches[6]["connectors"]);
    world.import(&[]).exits(3);
    std::fs::remove_dir_all(world.medium()).unwrap();
    let of_inbox = report(&world, &["show", "7", "--site", "importer"]);
    assert_eq!(of_inbox["batches"][0]["connectors"], batches[6]["connectors"]);
    assert_eq!(kinds(&of_inbox["batches"][0]), kinds(&batches[6]));
}

#[test]
fn batch_on_a_medium_is_compared_with_what_the_site_was_brought_before() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    world.sh("rm -r medium/*").exits(0);
    world.put("other.json", &of_connector("other", "Another feed"));
    world.send(&["--no-overlap"]).exits(0);
    let alone = report(&world, &["show", "medium", "--trust", "trust"]);
    assert_eq!((&alone["batches"][0]["compared"], kinds(&alone["batches"][0])), (&json!(0), vec![]));
    let beside = report(&world, &["show", "medium", "--site", "importer", "--trust", "trust"]);
    assert_eq!((&beside["batches"][0]["compared"], kinds(&beside["batches"][0])), (&json!(1), vec!["new-connector"]));
}

#[test]
fn quarantined_envelope_is_shown_with_the_offending_place_marked_and_is_harmless() {
    let world = World::new();
    let objects: Vec<Value> = (0..100)
        .map(|n| match n {
            70 => json!({"type": "indicator", "id": "indicator--70", "name": "\u{202e}evil", "opencti_operation": "delete"}),
            n => json!({"type": "tool", "id": format!("tool--{n}"), "description": "\u{1b}]0;owned\u{7}"}),
        })
        .collect();
    let bytes = with_objects("c", json!(objects));
    world.put("c.json", &bytes);
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    let shown = world.run(["show", "1:1", "--site", "importer"]).exits(0).prints("quarantined");
    let lines: Vec<&str> = shown.stdout.lines().collect();
    let at = lines.iter().position(|line| line.contains(">>>")).unwrap();
    assert!(lines[at - 1].contains(r#""opencti_operation": "delete""#), "{}", lines[at - 1]);
    assert!(lines.iter().any(|line| line.ends_with(r#""name": "\u202eevil","#)), "{}", shown.stdout);
    assert!(lines.iter().any(|line| line.contains("left out")));
    assert!(!shown.stdout.contains(['\u{1b}', '\u{7}', '\u{202e}']));
    let whole = world.run(["show", "1:1", "--lines", "--site", "importer"]).exits(0);
    assert!(!whole.stdout.contains("left out") && whole.stdout.lines().count() > lines.len());
    let raw = world.run(["show", "1:1", "--raw", "--site", "importer"]).exits(0);
    assert_eq!(raw.stdout.as_bytes(), bytes);
    let card = report(&world, &["show", "1:1", "--site", "importer"])["envelope"].clone();
    assert_eq!((&card["verdict"], &card["state"]), (&json!("quarantine"), &json!("quarantined")));
    assert_eq!(card["remarks"][0]["pointer"], "/bundle/objects/70/opencti_operation");
    let id = card["sha256"].as_str().unwrap();
    world.run(["quarantine", "reject", id, "--reason", "no deletes", "--site", "importer"]).exits(0);
    assert_eq!(report(&world, &["show", "1:1", "--site", "importer"])["envelope"]["state"], "rejected");
    // It is known that this stream had a command before.
    let again = json!([{"type": "indicator", "id": "indicator--2", "opencti_operation": "delete"}]);
    world.put("again.json", &with_objects("again", again));
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    assert!(kinds(&report(&world, &["show", "2", "--site", "importer"])["batches"][0]).is_empty());
}

#[test]
fn batch_that_was_pruned_is_shown_from_its_manifest_and_says_so() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&["--keep", "0s"]).exits(0);
    world.import_inbox(&["--keep", "0s"]).exits(0);
    world.run(["show", "1", "--site", "importer"]).exits(0).prints("its envelopes are not here");
    world.run(["show", "1:1", "--site", "importer"]).exits(1).says("not here any more").says("--redeliver");
}

#[test]
fn damaged_batch_in_the_inbox_is_named_as_damaged_and_not_shown_as_read() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    world
        .sh("for f in importer/inbox/*/*.v0001.tar.zst; do printf x | dd of=$f bs=1 seek=20 conv=notrunc; done")
        .exits(0);
    let run = world.run(["show", "1", "--site", "importer"]).exits(4);
    run.prints("its envelopes are not here").says("INVALID");
}
