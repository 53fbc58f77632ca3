//! Places that must be apart, and are named as one.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{World, files};

fn site(world: &World, name: &str) -> Vec<(String, Vec<u8>)> {
    files(&world.path(name)).into_iter().filter(|f| !f.0.starts_with("ledger.db")).collect()
}

#[test]
fn medium_that_is_or_touches_the_site_is_refused() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    symlink(world.path("exporter/outbox"), world.path("link")).unwrap();
    fs::create_dir(world.path("exporter/stick")).unwrap();
    let before = (site(&world, "exporter"), files(&world.path("exporter/outbox")));
    let outbox = world.path("exporter/outbox").display().to_string();
    for medium in ["exporter", "exporter/outbox", "link", "exporter/../exporter/", "exporter/stick", ".", &outbox] {
        let run = world.run(["carry", medium, "--site", "exporter"]).exits(2).says("the medium");
        run.says("these must be apart").says_nothing_of("SAFE TO REMOVE");
        world.run(["carry", medium, "--site", "exporter", "--diode"]).exits(2);
        world.run(["pack", "src", medium, "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(2);
        world.run(["stream", "renew", "--medium", medium, "--site", "exporter"]).exits(2);
    }
    assert_eq!((site(&world, "exporter"), files(&world.path("exporter/outbox"))), before);
    world.run(["status", "--site", "exporter"]).exits(0).prints("1 packed, not carried");
    world.carry(&[]).exits(0).prints("new: batch 1 (");
}

#[test]
fn source_that_is_the_medium_or_the_outbox_is_refused() {
    let world = World::new();
    world.made("1.json");
    world
        .run(["pack", "src", "./src/", "--key", "keys/site-a.key.pem", "--site", "exporter"])
        .exits(2)
        .says("one directory");
    for source in ["exporter", "exporter/outbox"] {
        fs::create_dir_all(world.path("exporter/outbox")).unwrap();
        let run = world.run(["pack", source, "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(2);
        run.says("the source is the ").says("these must be apart");
    }
    world.pack(&[]).exits(0).prints("packed batch 1");
}

#[test]
fn destination_or_medium_within_the_importers_site_is_refused() {
    let world = World::new();
    world.made("1.json");
    world.send(&[]).exits(0);
    let import = |medium: &str, to: &str| {
        world.run([
            "import",
            medium,
            "--to",
            to,
            "--trust",
            "trust",
            "--site",
            "importer",
            "--unmapped",
            "default=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10",
        ])
    };
    fs::create_dir_all(world.path("importer/inbox")).unwrap();
    symlink(world.path("importer"), world.path("link")).unwrap();
    let site = [
        "importer",
        "importer/inbox",
        "importer/held",
        "importer/quarantine",
        "importer/new",
        "link",
        ".",
        "link/inbox",
    ];
    for place in site {
        for kind in ["dir", "spool"] {
            import("medium", &format!("{kind}:{place}")).exits(2).says("the destination").says("these must be apart");
        }
    }
    for place in ["importer", "importer/inbox", "link", "."] {
        import(place, "dir:out").exits(2).says("these must be apart");
    }
    import("medium", "dir:medium").exits(2).says("the destination and the medium are one directory");
    import("medium", "dir:medium/out").exits(2).says("the destination is inside the medium");
    assert!(!world.path("out").exists() && files(&world.path("importer/inbox")).is_empty());
    import("medium", "dir:out").exits(0).prints("delivered 1 envelope");
}

#[test]
fn batch_already_on_the_medium_is_counted_as_repeated_and_heals_a_lost_medium() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    for (name, bytes) in files(&world.path("exporter/outbox")) {
        fs::write(world.medium().join(name), bytes).unwrap();
    }
    let report = world.carry(&["--json"]).exits(0).json()["report"].clone();
    assert_eq!((&report["new"], &report["repeated"][0]["sequence"]), (&serde_json::json!([]), &1.into()));
    assert_eq!(report["written"], 0);
    world.run(["status", "--site", "exporter"]).exits(0).prints("1 carried (");
    fs::create_dir(world.path("second")).unwrap();
    world.run(["carry", "second", "--site", "exporter"]).exits(0).prints("again: batch 1 (").says_nothing_of("new:");
}

#[test]
fn directory_of_links_to_the_outbox_is_no_medium() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    for (name, _) in files(&world.path("exporter/outbox")) {
        fs::hard_link(world.path("exporter/outbox").join(&name), world.medium().join(&name)).unwrap();
    }
    world.carry(&[]).exits(2).says("is the outbox's own").says_nothing_of("SAFE TO REMOVE");
    world.run(["status", "--site", "exporter"]).exits(0).prints("1 packed, not carried");
}
