//! Sites that an older airpouch has left: what was done in them stays done, and what waited goes on.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{APPLICANT, World, envelope, files};

const HERE: &str = "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10";

/// The sites of fixtures/sites, with the key that made them.
fn left_by(version: &str) -> World {
    let world = World::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let archive = root.join("fixtures/sites").join(format!("{version}.tar.zst"));
    world.sh(&format!("zstd -dc {} | tar -x", archive.display())).exits(0);
    fs::remove_file(world.path("trust/site-a.pub.pem")).unwrap();
    fs::copy(root.join("keys/test-a.pub.pem"), world.path("trust/test-a.pub.pem")).unwrap();
    fs::copy(root.join("keys/test-a.key.pem"), world.path("keys/test-a.key.pem")).unwrap();
    world.sh("chmod 600 keys/test-a.key.pem").exits(0);
    world
}

fn events(world: &World, site: &str) -> Vec<String> {
    let text = fs::read_to_string(world.path(site).join("journal.jsonl")).unwrap();
    let event = |line: &str| serde_json::from_str::<Value>(line).unwrap()["event"].as_str().unwrap().to_owned();
    text.lines().map(event).collect()
}

fn spooled(world: &World) -> usize {
    world.sh("find spool -name '0*.json'").exits(0).stdout.lines().count()
}

#[test]
fn sites_of_0_1_0_go_on_with_nothing_lost_and_nothing_twice() {
    let world = left_by("0.1.0");
    world.run(["status", "--site", "exporter"]).exits(1).says("an older airpouch made this ledger");

    // The exporter packs what is new, under the next number, and nothing that it has packed.
    world.put("new.json", &envelope("new.json"));
    fs::write(world.path("old.json"), batch_one(&world)).unwrap();
    fs::rename(world.path("old.json"), world.source().join("old.json")).unwrap();
    let pack = ["pack", "src", "medium", "--key", "keys/test-a.key.pem", "--test-keys", "--site", "exporter"];
    let packed = world.run(pack.into_iter().chain(["--json"])).exits(0).json();
    let batches = packed["report"]["pack"]["packed"].as_array().unwrap().clone();
    assert_eq!((batches.len(), &batches[0]["sequence"], &batches[0]["envelopes"]), (1, &json!(4), &json!(1)));
    assert_eq!(events(&world, "exporter"), ["journal-opened", "packed", "carried"]);

    // The importer delivers what was released and what is mapped now, and takes the new batches.
    let before = spooled(&world);
    let mapped = [format!("{APPLICANT}={HERE}"), format!("00000000-7425-40de-944b-e07fc1f90ae7={HERE}")];
    let import = |more: &[&str]| {
        let usual =
            ["import", "medium", "--to", "spool:spool", "--trust", "trust", "--test-keys", "--site", "importer"];
        let maps = mapped.iter().flat_map(|map| ["--applicant", map]);
        world.run(usual.into_iter().chain(maps).chain(more.iter().copied()))
    };
    import(&["--same-destination"]).exits(0);
    // The released command, the one that was held, one of batch 2 and one of batch 4; batch 3 is a heartbeat.
    assert_eq!(spooled(&world), before + 4);
    import(&[]).exits(0);
    assert_eq!(spooled(&world), before + 4);
    let aside = world.run(["quarantine", "list", "--json", "--site", "importer"]).exits(0).json();
    let aside = aside["report"]["set_aside"].as_array().unwrap().clone();
    let of_kind = |kind: &str| aside.iter().filter(|one| one["kind"] == kind).count();
    assert_eq!(of_kind("quarantined"), 1, "{aside:#?}");
    let done = events(&world, "importer");
    assert_eq!(done.iter().filter(|event| *event == "aside-delivered").count(), 1, "{done:?}");
    assert_eq!(done.iter().filter(|event| *event == "delivered").count(), 3, "{done:?}");
    for site in ["exporter", "importer"] {
        world.run(["audit", "--site", site]).exits(0);
        world.run(["status", "--site", site]).exits(0);
    }
    world.run(["show", "1", "--site", "importer"]).exits(0).prints("Example Feed");
}

/// An envelope of batch 1 of the exporter.
fn batch_one(world: &World) -> Vec<u8> {
    let volume =
        files(&world.path("exporter/outbox")).into_iter().find(|(name, _)| name.ends_with("00000001.v0001.tar.zst"));
    fs::write(world.path("one.tar.zst"), volume.unwrap().1).unwrap();
    world.sh("mkdir one && zstd -dc one.tar.zst | tar -x -C one && cat $(find one -type f | sort | head -n 1) > one.json").exits(0);
    fs::read(world.path("one.json")).unwrap()
}
