//! What lies on a medium that somebody prepared, or that something spoiled.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::{all_of, delivered, import, three, verify, world};
use crate::builder::{Builder, Item, envelope, indicator, raw, text};
use crate::support::{Run, SEED, files};

/// What must never reach a terminal as it is.
const ACTING: [char; 7] = ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200b}', '\r'];

#[track_caller]
fn is_harmless(run: &Run) {
    for text in [&run.stdout, &run.stderr] {
        assert!(!text.contains(ACTING), "{run:#?}");
        assert!(text.lines().all(|l| !l.starts_with("SAFE TO REMOVE")), "a line was forged: {run:#?}");
    }
}

#[test]
fn links_fifos_and_devices_on_the_medium_are_not_followed() {
    let world = world();
    let batch = three().build();
    let elsewhere = world.path("elsewhere");
    batch.place(&elsewhere);
    let medium = world.medium();
    for (name, _) in &batch.files {
        symlink(elsewhere.join(name), medium.join(name)).unwrap();
    }
    symlink(&elsewhere, medium.join("folder")).unwrap();
    symlink(&medium, medium.join("circle")).unwrap();
    symlink("/nowhere", medium.join("airpouch-dangling.manifest")).unwrap();
    let node =
        |arguments: &[&str]| Command::new(arguments[0]).args(&arguments[1..]).current_dir(&medium).output().unwrap();
    assert!(node(&["mkfifo", "airpouch-0000000000000000-00000001.manifest"]).status.success());
    assert!(node(&["mkfifo", "airpouch-0000000000000000-00000001.0000000000000000.sig"]).status.success());
    if !node(&["mknod", "airpouch-0000000000000000-00000002.manifest", "c", "1", "5"]).status.success() {
        println!("SKIP no device nodes can be made here");
    }
    verify(&world).exits(3).says("there is no batch on this medium");
    import(&world).exits(3).says("there is no batch on this medium");
    assert!(delivered(&world).is_empty());
}

#[test]
fn link_in_place_of_a_file_is_not_followed() {
    for end in [".index.zst", ".v0001.tar.zst"] {
        let world = world();
        let batch = three().build();
        batch.place(&world.medium());
        let path = world.on_medium(end);
        fs::rename(&path, world.path("elsewhere")).unwrap();
        symlink(world.path("elsewhere"), &path).unwrap();
        verify(&world).exits(3).says("is missing");
        import(&world).exits(3).says("is missing");
        assert!(delivered(&world).is_empty());
    }
}

#[test]
fn names_of_files_cannot_act_on_a_terminal() {
    let long = "l".repeat(240);
    let names: [&[u8]; 7] = [
        b"\x1b[2J\x1b[H\x1b]0;owned\x07.manifest",
        "\u{202e}tsefinam\u{2066}.manifest".as_bytes(),
        b"two\nSAFE TO REMOVE\n.manifest",
        b"\xff\xfe\x9b31m.manifest",
        b"..manifest",
        "\u{200b}\u{9b}2J.manifest".as_bytes(),
        long.as_bytes(),
    ];
    for name in names {
        let world = world();
        // Each of them is a manifest by its content; the signature beside it, by nobody, does not bear its name and may
        // be another's. So it has no signature yet, and has to be spoken of, unless its name hides it.
        let batch = three().signed_by(&[[9; 32]]).build();
        let path = world.medium().join(std::ffi::OsStr::from_bytes(name));
        fs::write(&path, batch.bytes(".manifest")).unwrap();
        fs::write(world.medium().join(batch.name(".sig")), batch.bytes(".sig")).unwrap();
        for run in [verify(&world), world.verify(&["--json"]), import(&world)] {
            is_harmless(&run.exits(3));
        }
        assert!(delivered(&world).is_empty());
    }
}

#[test]
fn names_of_folders_and_signatures_cannot_act_on_a_terminal() {
    let world = world();
    let batch = three().build().damage(".sig", |b| b[0] ^= 1);
    let folder = world.medium().join("\u{1b}[31m\nSAFE TO REMOVE\n\u{202e}");
    fs::create_dir(&folder).unwrap();
    batch.place(&folder);
    let signature = folder.join(batch.name(".sig"));
    let acting = folder.join(batch.name(".sig").replace(".sig", ".\u{1b}[2J\nSAFE TO REMOVE.sig"));
    fs::rename(signature, acting).unwrap();
    for run in [verify(&world), world.verify(&["--json"]), import(&world)] {
        let run = run.exits(4).mentions("does not match the manifest");
        is_harmless(&run);
    }
}

#[test]
fn source_name_of_a_connector_cannot_act_on_a_terminal() {
    let world = world();
    let command = indicator("x").replacen(
        "{",
        "{\"opencti_operation\": \"del\u{1b}[2J\\u001b]0;x\\u0007\\nSAFE TO REMOVE\", ",
        1,
    );
    let command = command.replace('\u{1b}', "\\u001b");
    let name = "\u{1b}[2J\nSAFE TO REMOVE\n\u{202e}\u{7}".to_owned() + &"n".repeat(900) + ".json";
    let item = Item { name, ..Item::new(1, "", envelope(&command)) };
    let connector = "Feed \u{1b}[31m\nSAFE TO REMOVE \u{202e}";
    let builder = Builder::new(vec![item]).signed_by(&[SEED]).with(|b| b.connectors[0].set("name", text(connector)));
    builder.build().place(&world.medium());
    let policy = world.path("policy.toml");
    fs::write(&policy, "").unwrap();
    verify(&world).exits(0);
    let run = world.verify(&["--zone", "restricted", "--policy", "policy.toml"]).exits(3).says("opencti_operation");
    is_harmless(&run);
    let run = import(&world).exits(3).says("quarantined");
    is_harmless(&run);
    for arguments in [
        &["quarantine", "list", "--site", "importer"][..],
        &["status", "--site", "importer"],
        &["applicants", "--site", "importer"],
    ] {
        is_harmless(&world.run(arguments).exits(0));
    }
    assert!(delivered(&world).is_empty());
}

#[test]
fn path_in_an_index_line_is_not_written_to() {
    let world = world();
    let items = ["../../../escape.json", "/etc/airpouch-escape.json", "a/b.json", ".", ".."];
    let items = items.iter().zip(1..).map(|(n, at)| Item { name: (*n).to_owned(), ..Item::made(at, &format!("{at}")) });
    let batch = Builder::new(items.collect()).signed_by(&[SEED]).build();
    batch.place(&world.medium());
    import(&world).exits(0);
    assert_eq!(delivered(&world), all_of(&[&batch]));
    let names: Vec<_> = files(&world.path("out")).into_iter().map(|(n, _)| n).filter(|n| n != ".airpouch").collect();
    assert!(names.iter().all(|n| n.starts_with("3f0c6f3e58a14d0b-00000001-0000000")), "{names:?}");
    assert!(!world.path("escape.json").exists() && !std::path::Path::new("/etc/airpouch-escape.json").exists());
}

#[test]
fn medium_with_100_001_names_is_reported_and_its_batch_imported() {
    let world = world();
    let batch = three().build();
    batch.place(&world.medium());
    let inside = world.medium().join("zzz");
    fs::create_dir(&inside).unwrap();
    for n in 0..100_001 {
        fs::File::create(inside.join(format!("{n:06}"))).unwrap();
    }
    let words = "there are more than 100,000 names on this medium";
    verify(&world).exits(3).says(words).prints("holds: batch 1");
    import(&world).exits(3).says(words);
    // What was seen before the limit is whole, and it is what was signed.
    assert_eq!(delivered(&world), all_of(&[&batch]));
}

#[test]
fn damaged_copy_beside_a_good_one_does_no_harm() {
    for end in [".index.zst", ".v0001.tar.zst"] {
        let world = world();
        let batch = three().build();
        batch.clone().damage(end, |b| b[9] ^= 1).place(&world.medium().join("a"));
        batch.place(&world.medium().join("b"));
        verify(&world).exits(0).prints("holds: batch 1");
        import(&world).exits(0);
        assert_eq!(delivered(&world), all_of(&[&batch]));
    }
}

#[test]
fn invalid_manifest_beside_a_good_one_does_no_harm() {
    let world = world();
    let batch = three().build();
    batch.clone().damage(".manifest", |b| b[99] ^= 1).place(&world.medium().join("a"));
    batch.place(&world.medium().join("b"));
    verify(&world).exits(4).says("does not match the manifest").prints("holds: batch 1");
    import(&world).exits(4).says("does not match the manifest");
    assert_eq!(delivered(&world), all_of(&[&batch]));
}

#[test]
fn signed_manifest_over_the_size_limit_is_refused() {
    let world = world();
    let batch = three().manifest(|m| m.set("producer", text(format!("airpouch {}", "1".repeat(256 << 10))))).build();
    batch.place(&world.medium());
    verify(&world).exits(4);
    import(&world).exits(4);
    assert!(delivered(&world).is_empty());
}

#[test]
fn batch_in_parts_on_two_media_is_completed() {
    let world = world();
    let batch = three().per_volume(1).build();
    let first = batch.clone().without(".v0002.tar.zst");
    super::bring(&world, &[&first]).exits(3).says("v0002.tar.zst is missing");
    assert!(delivered(&world).is_empty());
    super::go_on(&world, &[]).exits(3).says("v0002.tar.zst is missing");
    let second = batch.clone().without(".v0001.tar.zst").without(".v0003.tar.zst").without(".index.zst");
    super::bring(&world, &[&second]).exits(0);
    assert_eq!(delivered(&world), all_of(&[&batch]));
}

#[test]
fn volume_of_another_batch_of_the_same_signer_is_refused() {
    let world = world();
    let other =
        Builder::new(vec![Item::made(1, "eno"), Item::made(2, "owt"), Item::made(3, "eerht")]).signed_by(&[SEED]);
    let other = other.build().bytes(".v0001.tar.zst").to_vec();
    let batch = three().build();
    let same_size = batch.bytes(".v0001.tar.zst").len() == other.len();
    batch.damage(".v0001.tar.zst", |b| *b = other).place(&world.medium());
    let run = verify(&world).exits(if same_size { 4 } else { 3 }).says_nothing_of("holds");
    if same_size {
        run.says("does not match its digest");
    }
    import(&world).exits(if same_size { 4 } else { 3 });
    assert!(delivered(&world).is_empty());
}

#[test]
fn medium_is_not_written_or_touched() {
    let world = world();
    three().build().place(&world.medium());
    let look = || {
        let mut found: Vec<_> = fs::read_dir(world.medium())
            .unwrap()
            .map(|e| e.unwrap())
            .map(|e| (e.file_name(), e.metadata().unwrap().modified().unwrap(), fs::read(e.path()).unwrap()))
            .collect();
        found.sort();
        (found, fs::metadata(world.medium()).unwrap().modified().unwrap())
    };
    let before = look();
    verify(&world).exits(0);
    import(&world).exits(0);
    assert!(look() == before);
}

#[test]
fn false_count_of_envelopes_takes_no_memory() {
    // Every count at its limit, and files of a few bytes: refused without asking for what is claimed.
    let world = world();
    let batch = three().manifest(|m| {
        m.set("index/unpacked", raw(512u64 << 20));
        m.set("totals/envelopes", raw(200_000));
        m.set("volumes/0/envelopes", raw(200_000));
        m.set("connectors/0/envelopes", raw(200_000));
        m.set("applicants/0/envelopes", raw(200_000));
    });
    batch.build().place(&world.medium());
    let limited =
        format!("ulimit -v 1000000; exec {} verify medium --trust trust --threads 1", env!("CARGO_BIN_EXE_airpouch"));
    let run = crate::support::finish(Command::new("sh").args(["-c", &limited]).current_dir(world.dir.path()));
    run.exits(4).says("does not have the size that the manifest says");
}

/// Files of 64 bytes that sort before the true signature, whatever its key.
fn junk(world: &crate::support::World, stem: &str, count: usize) {
    for n in 0..count {
        fs::write(world.medium().join(format!("{stem}.{n:016x}.sig")), [n as u8; 64]).unwrap();
    }
}

#[test]
fn many_invalid_signatures_hide_no_valid_one() {
    let world = world();
    let batch = three().build();
    batch.place(&world.medium());
    let sig = batch.name(".sig");
    let stem = batch.name(".manifest").trim_end_matches(".manifest").to_owned();
    junk(&world, &stem, 200);
    // Copies under the very name of the trusted key's file, as a gateway would number them.
    for n in 1..100 {
        let copy = sig.replace(".sig", &format!(" ({n}).sig"));
        fs::write(world.medium().join(copy), [7; 64]).unwrap();
    }
    verify(&world).exits(0).prints("holds: batch 1");
    import(&world).exits(0);
    assert_eq!(delivered(&world), all_of(&[&batch]));
}

#[test]
fn many_stray_signatures_hide_no_renamed_one() {
    let world = world();
    let batch = three().build();
    batch.place(&world.medium());
    let manifest = batch.name(".manifest");
    fs::rename(world.medium().join(&manifest), world.medium().join("0815.bin")).unwrap();
    junk(&world, "00000000", 200);
    verify(&world).exits(0).prints("holds: batch 1");
    import(&world).exits(0);
    assert_eq!(delivered(&world), all_of(&[&batch]));
}

#[test]
fn many_batches_of_a_stranger_hide_no_valid_one() {
    let world = world();
    let batch = three().build();
    batch.place(&world.medium());
    for n in 1..=500 {
        let stem = world.medium().join(format!("airpouch-00000000deadbeef-{n:08}"));
        fs::write(stem.with_extension("manifest"), format!("{{\"airpouch\":\"batch/1\",{n}}}")).unwrap();
        fs::write(stem.with_extension("0123456789abcdef.sig"), [n as u8; 64]).unwrap();
    }
    verify(&world).exits(4).prints("holds: batch 1").says("signed only by unknown keys");
    import(&world).exits(4);
    assert_eq!(delivered(&world), all_of(&[&batch]));
}
