//! What a collector of metrics reads.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::support::{World, envelope, envelope_with};

/// The values by name and labels; each line is one of the format, and each name is described once before its values.
fn read(world: &World, site: &str) -> BTreeMap<String, f64> {
    world.run(["status", "--site", site, "--metrics", "airpouch.prom"]).exits(0);
    let text = fs::read_to_string(world.path("airpouch.prom")).unwrap();
    let (mut described, mut values) = (Vec::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["gauge", "counter"].contains(&kind) && !described.contains(&name.to_owned()), "{line}");
            described.push(name.to_owned());
        } else if !line.starts_with("# HELP ") {
            let (key, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(key.split('{').next(), described.last().map(String::as_str), "{line}");
            values.insert(key.to_owned(), value.parse().unwrap());
        }
    }
    values
}

#[test]
fn metrics_have_the_moments_of_both_sides_and_no_line_for_what_never_was() {
    let world = World::new();
    let id = "4f6a0b3c-2d1e-4f5a-8b6c-7d8e9f0a1b2c";
    let mut who: Value = serde_json::from_slice::<Value>(&envelope("a")).unwrap()["connector"].clone();
    who["id"] = json!(id);
    who["name"] = json!("Feed \"of\" us\nairpouch_up 1");
    world.put("a.json", &envelope_with("a", json!({"connector": who})));
    world.pack(&["--promise", "24h"]).exits(0);
    let stream = |world: &World| {
        let status = world.run(["status", "--site", "exporter", "--json"]).exits(0).json();
        status["report"]["streams"][0]["stream"].as_str().unwrap().to_owned()
    };
    let of = format!("{{stream=\"{}\"}}", stream(&world));
    let exporter = read(&world, "exporter");
    assert!(exporter[&format!("airpouch_last_packed_timestamp_seconds{of}")] > 1.7e9, "{exporter:?}");
    assert!(!exporter.contains_key(&format!("airpouch_last_carried_timestamp_seconds{of}")), "{exporter:?}");
    assert_eq!(exporter[&format!("airpouch_waiting_batches{of}")], 1.0);
    world.carry(&[]).exits(0);
    world.import(&[]).exits(0);
    let importer = read(&world, "importer");
    let taken = importer[&format!("airpouch_last_taken_timestamp_seconds{of}")];
    assert_eq!(importer[&format!("airpouch_promise_deadline_timestamp_seconds{of}")], taken + 86_400.0);
    assert_eq!(importer[&format!("airpouch_delivered_envelopes_total{of}")], 1.0);
    assert!(importer[&format!("airpouch_last_delivered_timestamp_seconds{of}")] >= taken);
    let named = importer.keys().find(|key| key.starts_with("airpouch_held_envelopes{")).unwrap();
    assert!(named.contains(id) && named.contains("Feed \\\"of\\\" us"), "{named}");
    assert!(!importer.contains_key("airpouch_up"), "a name makes no line");
}

#[test]
fn metrics_replace_the_file_before_and_name_a_directory_that_is_not_there() {
    let world = World::new();
    world.send_new(&["a.json"]);
    fs::write(world.path("airpouch.prom"), "old").unwrap();
    world.run(["status", "--site", "exporter", "--metrics", "airpouch.prom"]).exits(0);
    assert!(fs::read_to_string(world.path("airpouch.prom")).unwrap().starts_with("# HELP airpouch_build_info"));
    let left: Vec<_> = fs::read_dir(world.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("partial")), "{left:?}");
    world.run(["status", "--site", "exporter", "--metrics", "no-such/airpouch.prom"]).exits(1).says("no-such");
    world.run(["status", "--site", "exporter", "--metrics", ".."]).exits(2).says("no name of a file");
}
