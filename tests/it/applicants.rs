//! `applicants --write`: what it puts into airpouch.toml, and what of that file it leaves as it is.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::support::{APPLICANT, Unjudged, World, envelope_with};
use serde_json::json;

const HERE: &str = "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10";

/// A site in which an envelope of a strange applicant waits, with this airpouch.toml.
fn waiting(settings: &str) -> World {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    fs::create_dir(world.path("importer")).unwrap();
    fs::write(world.path("importer/airpouch.toml"), settings).unwrap();
    import(&world).exits(3);
    world
}

fn import(world: &World) -> Unjudged {
    world.run(["import", "medium", "--trust", "trust", "--to", "spool:spool", "--site", "importer"])
}

fn write(world: &World) -> Unjudged {
    let mapping = format!("{APPLICANT}={HERE}");
    world.run(["applicants", "--site", "importer", "--write", "--applicant", &mapping])
}

#[test]
fn mapping_written_in_any_form_of_the_section_is_read_by_import() {
    for settings in [
        "",
        "[applicants]  # ours\n",
        "\t[ applicants ] # ours\r\nx = '3d5c7a10-2f64-4b0b-9c6e-1a7f0e2b8c43'\r\n[connectors]\r\n",
        "'applicants'.x = '3d5c7a10-2f64-4b0b-9c6e-1a7f0e2b8c43'\nthreads = 1\n",
        "applicants = { x = '3d5c7a10-2f64-4b0b-9c6e-1a7f0e2b8c43' } # all\nthreads = 1",
        "applicants = {}\n[connectors]\n",
    ] {
        let world = waiting(settings);
        write(&world).exits(0).says("written to");
        let text = fs::read_to_string(world.path("importer/airpouch.toml")).unwrap();
        for line in settings.lines().filter(|line| !line.contains('{')) {
            assert!(text.contains(line), "{line:?} is gone from {text:?}");
        }
        import(&world).exits(0).prints("delivered 1 envelope");
        write(&world).exits(0).says("has all of it already");
    }
}

#[test]
fn settings_file_keeps_mode_owner_and_link() {
    let world = waiting("threads = 1\n");
    let (link, target) = (world.path("importer/airpouch.toml"), world.path("elsewhere.toml"));
    fs::rename(&link, &target).unwrap();
    symlink("../elsewhere.toml", &link).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(&target, Some(65_534), Some(65_533)).unwrap();
    }
    let before = fs::metadata(&target).unwrap();
    write(&world).exits(0);
    assert!(link.symlink_metadata().unwrap().is_symlink(), "the link stays");
    let after = fs::metadata(&target).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert!(fs::read_to_string(&target).unwrap().contains(HERE));
    let left: Vec<_> = fs::read_dir(world.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".partial")), "{left:?}");
}

#[test]
fn mapping_that_import_would_refuse_is_not_written() {
    let settings = "threads = 1\n";
    let world = waiting(settings);
    // The name of a setting is no applicant to import.
    let mapping = format!("patience={HERE}");
    world.run(["applicants", "--site", "importer", "--write", "--applicant", &mapping]).exits(2).says("patience");
    assert_eq!(fs::read_to_string(world.path("importer/airpouch.toml")).unwrap(), settings);
}

#[test]
fn first_import_of_500_applicants_of_40_connectors_fits_25_lines() {
    let world = World::new();
    for n in 0..500 {
        let feed = n % 40;
        let connector =
            json!({"id": format!("feed-{feed}"), "name": format!("Feed {feed}"), "type": "EXTERNAL_IMPORT"});
        let fields = json!({"applicant_id": format!("00000000-0000-4000-8000-{n:012}"), "connector": connector});
        world.put(&format!("{n}.json"), &envelope_with(&format!("{n}"), fields));
    }
    world.send(&[]).exits(0);
    let run = import(&world).exits(3).says("500 envelopes of Feed 0, Feed 1, Feed 2 and 37 more connectors");
    let run = run.says("# and 495 more applicants: airpouch applicants");
    assert!(run.said().lines().count() <= 25, "{run:#?}");
    let lines = world.run(["applicants", "--site", "importer"]).exits(0).stdout;
    assert_eq!(lines.lines().filter(|line| line.starts_with("# ")).count(), 500, "all of them, to be pasted");
}

#[test]
fn import_of_many_batches_fits_40_lines() {
    let world = World::new();
    (0..60).for_each(|n| drop(world.made(&format!("{n}.json"))));
    let packed =
        world.send(&["--max-batch", "1"]).exits(0).prints("packed batches 6 to 15 for zone default: 10 envelopes");
    assert!(packed.said().lines().count() <= 40, "{packed:#?}");
    let verified = world.verify(&[]).exits(0).prints("hold: batches 1 to 60 of stream");
    assert_eq!(verified.said().lines().count(), 1, "{verified:#?}");
    let imported = world.import(&[]).exits(0).prints("batches 16 to 60: 45 envelopes delivered");
    assert!(imported.said().lines().count() <= 40, "{imported:#?}");
}
