//! `applicants --write`: what it puts into airpouch.toml, and what of that file it leaves as it is.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::support::{APPLICANT, Unjudged, World, envelope_with};
use serde_json::{Value, json};

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

fn in_ledger(world: &World, sql: &str) {
    let ledger = rusqlite::Connection::open(world.path("importer/ledger.db")).unwrap();
    ledger.execute_batch(sql).unwrap();
}

fn settings(world: &World) -> String {
    fs::read_to_string(world.path("importer/airpouch.toml")).unwrap()
}

fn report(world: &World) -> Value {
    world.run(["applicants", "--site", "importer", "--json"]).exits(0).json()["report"].clone()
}

/// The events `applicants-mapped` of the journal.
fn mapped(world: &World) -> Vec<Value> {
    let run = world.run(["log", "--site", "importer", "--event", "applicants-mapped", "--json"]).exits(0).json();
    run["report"]["events"].as_array().unwrap().clone()
}

#[test]
fn applicants_have_the_connectors_that_wrote_in_their_names() {
    let world = World::new();
    let misp = json!({"id": "misp", "name": "MISP \u{1b}[2J", "type": "EXTERNAL_IMPORT"});
    for n in 0..3 {
        world.put(&format!("{n}.json"), &envelope_with(&n.to_string(), json!({"connector": misp})));
    }
    world.made("a.json");
    world.put("null.json", &envelope_with("null", json!({"applicant_id": null})));
    world.send(&[]).exits(0);
    import(&world).exits(3);
    let run = world.run(["applicants", "--site", "importer"]).exits(0);
    let run = run.prints(&format!(
        "## {APPLICANT}: 4 envelopes\n##   3 of MISP \\u{{1b}}[2J, 1 of Example Feed\n##   not mapped"
    ));
    run.prints("## no applicant: 1 envelope\n##   1 of Example Feed\n");
    // The next batch counts too, and is counted once, however often the inbox is gone through.
    world.put("b.json", &envelope_with("b", json!({"connector": misp})));
    world.send(&[]).exits(0);
    import(&world).exits(3);
    import(&world).exits(0);
    let applicants = report(&world)["applicants"].clone();
    let one = applicants.as_array().unwrap().iter().find(|one| one["id"] == APPLICANT).unwrap().clone();
    assert_eq!((&one["envelopes"], &one["waiting"], &one["unknown"]), (&json!(5), &json!(5), &json!(0)));
    assert_eq!(one["connectors"][0]["envelopes"], 4);
    assert_eq!(one["connectors"][0]["stream"], json!(world.stream()));
    // What an older airpouch admitted was not counted.
    in_ledger(&world, "DELETE FROM came_pair WHERE connector = 'misp'");
    let run = world.run(["applicants", "--site", "importer"]).exits(0);
    run.prints("##   1 of Example Feed, 4 of connectors that were not counted");
}

#[test]
fn batch_that_is_admitted_a_second_time_is_counted_once() {
    let world = waiting("");
    let connectors = || report(&world)["applicants"][0]["connectors"].clone();
    let before = connectors();
    assert_eq!(before[0]["envelopes"], 1);
    in_ledger(&world, "UPDATE batch SET state = 'whole'");
    import(&world).exits(0);
    assert_eq!(connectors(), before);
}

#[test]
fn applicant_with_a_name_is_mapped_shown_and_kept() {
    let world = waiting("");
    let mapping = format!("{APPLICANT}={HERE}");
    let write = |more: &[&str]| {
        world.run(["applicants", "--site", "importer", "--write", "--applicant", &mapping].iter().chain(more))
    };
    let name = "MISP \"at\" CERT\u{202e}";
    write(&["--name", &"x".repeat(101)]).exits(2).says("101 characters, more than 100");
    write(&["--name", name, "--applicant", &format!("x={HERE}")]).exits(2).says("the name of one applicant");
    assert_eq!(settings(&world), "");
    write(&["--name", name]).exits(0).says("written to");
    let line = format!("\"{APPLICANT}\" = {{ to = \"{HERE}\", name = \"MISP \\\"at\\\" CERT\\u202e\" }}\n");
    assert!(settings(&world).contains(&line), "{}", settings(&world));
    world.run(["applicants", "--site", "importer"]).exits(0).prints("(MISP \"at\" CERT\\u{202e}): 1 envelope");
    assert_eq!(report(&world)["applicants"][0]["name"], name);
    import(&world).exits(0).prints("delivered 1 envelope");
    write(&[]).exits(0).says("has all of it already");
    write(&["--name", "Other"]).exits(2).says("change that line by hand");
    // Another mapping leaves the name where it is.
    let other = format!("other={HERE}");
    world.run(["applicants", "--site", "importer", "--write", "--applicant", &other]).exits(0);
    assert!(settings(&world).contains(&line), "{}", settings(&world));
}

#[test]
fn entry_is_a_text_or_a_table_in_every_table_of_applicants() {
    let world = waiting("");
    let stream = world.stream();
    let key = "8d178f2c5ad05aa694dafd945a5aa63c6f62b9f2b512ba59d4d387489c7be914";
    for text in [
        format!("[applicants]\n{APPLICANT:?} = {{ to = {HERE:?}, name = 'MISP' }}\n"),
        format!("[applicants.{APPLICANT:?}]\nname = 'MISP'\nto = {HERE:?}\n"),
        format!("[applicants.{stream:?}]\n{APPLICANT:?} = {{ to = {HERE:?}, name = ' MISP ' }}\n"),
        format!("[applicants.{stream:?}.{APPLICANT:?}]\nto = {HERE:?}\nname = 'MISP'\n"),
    ] {
        fs::write(world.path("importer/airpouch.toml"), &text).unwrap();
        assert_eq!(report(&world)["applicants"][0]["name"], "MISP", "{text}");
        assert_eq!(report(&world)["applicants"][0]["users"][0]["id"], HERE, "{text}");
        world.run(["applicants", "--site", "importer", "--write", "--applicant", &format!("other={HERE}")]).exits(0);
        let read = report(&world);
        assert_eq!(read["applicants"][0]["name"], "MISP", "{}", settings(&world));
        assert_eq!(read["applicants"][1]["id"], "other", "a mapping of an applicant that has not come");
    }
    for (entry, says) in [
        ("[applicants]\nx = { name = 'MISP' }\n".to_owned(), "has no \"to\""),
        (format!("[applicants]\nx = {{ to = {HERE:?}, nane = {HERE:?} }}\n"), "has both \"to\" and \"nane\""),
        (format!("[applicants.{stream:?}]\n{APPLICANT:?} = {HERE:?}\nname = 'MISP'\n"), "has both \"name\" and"),
        (format!("[applicants.{stream:?}]\nTo = {HERE:?}\n"), "\"To\" is neither \"to\" nor \"name\""),
        (format!("[applicants.{key}]\nto = {HERE:?}\n"), "named like the fingerprint of a key"),
        (format!("[applicants.{stream:?}]\nx = {{ name = 'MISP' }}\n"), "it has no \"to\""),
        (format!("[applicants.{stream:?}.to]\nto = {HERE:?}\n"), "line 1"),
        (format!("[applicants]\nx = {{ to = {HERE:?}, name = ' ' }}\n"), "the name of an applicant is empty"),
        ("[applicants]\nx = { to = 'bob' }\n".to_owned(), "is not the id of a user"),
    ] {
        fs::write(world.path("importer/airpouch.toml"), &entry).unwrap();
        for verb in [&["applicants"][..], &["import", "--trust", "trust", "--to", "spool:spool"]] {
            world.run(verb.iter().chain(&["--site", "importer"])).exits(2).says(says).says("airpouch.toml");
        }
    }
}

#[test]
fn what_was_mapped_is_in_the_journal_with_who_did_it() {
    let world = waiting("");
    world.run(["applicants", "--site", "importer", "--write"]).exits(0).says("written to");
    assert!(mapped(&world).is_empty(), "a comment maps nobody");
    fs::write(world.path("importer/policy.toml"), "[record]\nrequire = [\"operator\"]\n").unwrap();
    let before = settings(&world);
    write(&world).exits(2).says("--operator");
    assert_eq!(settings(&world), before);
    let mapping = format!("{APPLICANT}={HERE}");
    let told = ["--name", "MISP", "--operator", "A. Admin", "--ticket", "C-7"];
    let words = ["applicants", "--site", "importer", "--write", "--applicant", &mapping];
    world.run(words.iter().chain(&told)).exits(0).says("written to");
    let events = mapped(&world);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["details"]["mappings"], json!([{"applicant": APPLICANT, "user": HERE, "name": "MISP"}]));
    assert_eq!((&events[0]["operator"], &events[0]["ticket"]), (&json!("A. Admin"), &json!("C-7")));
    world.run(words.iter().chain(&told)).exits(0).says("has all of it already");
    assert_eq!(mapped(&world).len(), 1, "nothing was written");
    world.run(["audit", "--site", "importer"]).exits(0);
}
