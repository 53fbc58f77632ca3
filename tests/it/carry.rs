//! Carrying as a user meets it: what goes and what goes again, small sticks, strange files, what is proved.

use std::fs;
use std::process::Command;

use crate::support::{Unjudged, World, envelope, files, finish, noise};
use serde_json::{Value, json};

/// Carries to a directory that is made if it is not there; with the report.
fn carry(world: &World, medium: &str, more: &[&str]) -> Value {
    fs::create_dir_all(world.path(medium)).unwrap();
    let run = world.run(["carry", medium, "--site", "exporter", "--json"].iter().chain(more)).exits(0);
    run.json()["report"].clone()
}

fn numbers(batches: &Value) -> Vec<u64> {
    batches.as_array().unwrap().iter().map(|b| b["sequence"].as_u64().unwrap()).collect()
}

/// Packs batches of one envelope each.
fn pack(world: &World, names: impl IntoIterator<Item = u32>) {
    for n in names {
        world.made(&format!("{n}.json"));
        world.pack(&[]).exits(0);
    }
}

#[test]
fn new_batches_are_copied_by_number_and_then_earlier_ones_newest_first() {
    let world = World::new();
    for n in 1..=5 {
        pack(&world, [n]);
        carry(&world, &format!("stick{n}"), &["--no-overlap"]);
    }
    pack(&world, [6, 7]);
    let report = carry(&world, "stick", &[]);
    assert_eq!((numbers(&report["new"]), numbers(&report["repeated"])), (vec![6, 7], vec![5, 4, 3]));
    assert_eq!(report["head"]["sequence"], 7);
    // That carry took two batches as new: both go again, and they count as one of three.
    pack(&world, [8]);
    let report = carry(&world, "next", &[]);
    assert_eq!((numbers(&report["new"]), numbers(&report["repeated"])), (vec![8], vec![7, 6, 5, 4]));
}

#[test]
fn overlap_is_set_by_option_or_in_the_settings() {
    let world = World::new();
    for n in 1..=3 {
        pack(&world, [n]);
        carry(&world, &format!("stick{n}"), &["--no-overlap"]);
    }
    let again = |medium: &str, more: &[&str]| numbers(&carry(&world, medium, more)["repeated"]);
    assert!(again("a", &["--overlap", "0"]).is_empty());
    assert_eq!(again("b", &["--overlap", "2"]), [3, 2]);
    fs::write(world.path("exporter/airpouch.toml"), "no_overlap = true\n").unwrap();
    assert!(again("c", &[]).is_empty());
    assert_eq!(again("d", &["--overlap", "1"]), [3], "an option goes over the file");
    fs::write(world.path("exporter/airpouch.toml"), "overlap = 1\n").unwrap();
    assert_eq!(again("e", &[]), [3]);
    assert!(again("f", &["--no-overlap"]).is_empty());
    world.carry(&["--overlap", "1", "--no-overlap"]).exits(2).says("cannot be used with");
    world.carry(&["--overlap", "all"]).exits(2);
}

#[test]
fn requested_batch_is_copied_again_even_of_the_stream_before() {
    let world = World::new();
    pack(&world, [1, 2]);
    let first = carry(&world, "stick1", &[]);
    let old = first["new"][0]["stream"].as_str().unwrap().to_owned();
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    pack(&world, [3]);
    carry(&world, "stick2", &["--no-overlap"]);
    let new = numbers(&carry(&world, "stick3", &["--resend", "1", "--no-overlap"])["new"]);
    assert_eq!(new, [1], "of the stream that the zone goes on with");
    world.run(["verify", "stick3", "--trust", "trust"]).exits(0).says_nothing_of(&old);
    carry(&world, "stick4", &["--resend", &format!("{old}:2"), "--no-overlap"]);
    world.run(["verify", "stick4", "--trust", "trust"]).exits(0).prints(&format!("holds: batch 2 of stream {old}"));
    let both = ["--resend", "1", "--resend", &format!("{old}:1-2"), "--no-overlap"];
    assert_eq!(numbers(&carry(&world, "stick5", &both)["new"]), [1, 2, 1]);
    world
        .carry(&["--resend", &format!("{old}:1-3,7-9")])
        .exits(2)
        .says("there are no batches 3 and 7 to 9 in the outbox");
    world.carry(&["--resend", "1-99999999"]).exits(2).says("there are no batches 2 to 99999999");
    world.carry(&["--resend", "2"]).exits(2).says("there is no batch 2").says("airpouch status");
    world.carry(&["--resend", &format!("{old}:9")]).exits(2).says("there is no batch 9");
    world.carry(&["--resend", "two"]).exits(2).says("write N, 10-13,17, or STREAM:10-13,17");
    world.carry(&["--resend", "x:1"]).exits(2).says("is no UUID");
    assert!(files(&world.medium()).is_empty());
}

#[test]
fn small_medium_gets_no_batch_after_one_that_does_not_fit() {
    let world = World::new();
    for (n, bytes) in [(1, 400_000), (2, 400_000), (3, 2_000_000), (4, 1_000)] {
        world.put(&format!("{n}.json"), &noise(&format!("{n}"), bytes));
        world.pack(&[]).exits(0);
    }
    let Some(_mounted) = world.mount("small", "-t tmpfs -o size=1m none") else { return };
    let run = world.run(["carry", "small", "--site", "exporter"]).exits(0);
    let run = run.prints("no room for batches 3 to 4 (2 envelopes").prints("the next medium takes what is left");
    run.prints("new: batches 1 to 2").prints("SAFE TO REMOVE");
    assert!(files(&world.path("small")).iter().all(|(n, _)| n.contains("-00000001") || n.contains("-00000002")));
    // Nothing fits any more: said, and the stick and the ledger stay as they are.
    let before = files(&world.path("small"));
    let full = world.run(["carry", "small", "--site", "exporter", "--json"]).exits(1).json();
    assert!(full["error"]["what"].as_str().unwrap().contains("no room on the medium"), "{full}");
    assert_eq!(numbers(&full["report"]["left"]), [3, 4]);
    assert_eq!(files(&world.path("small")), before);
    let report = carry(&world, "large", &[]);
    assert_eq!((numbers(&report["new"]), numbers(&report["repeated"])), (vec![3, 4], vec![2, 1]));
}

#[test]
fn repeated_batches_are_copied_only_while_there_is_space() {
    let world = World::new();
    for n in 1..=3 {
        world.put(&format!("{n}.json"), &noise(&format!("{n}"), 800_000));
        world.pack(&[]).exits(0);
        carry(&world, &format!("stick{n}"), &["--no-overlap"]);
    }
    pack(&world, [4]);
    let Some(_mounted) = world.mount("small", "-t tmpfs -o size=1m none") else { return };
    let report = carry(&world, "small", &[]);
    assert_eq!((numbers(&report["new"]), numbers(&report["repeated"])), (vec![4], vec![3, 2]));
    assert!(files(&world.path("small")).iter().all(|(n, _)| !n.ends_with(".partial")));
}

#[test]
fn file_under_a_final_name_is_not_overwritten() {
    let world = World::new();
    pack(&world, [1]);
    for end in [".v0001.tar.zst", ".index.zst", ".manifest"] {
        let (name, bytes) = files(&world.path("exporter/outbox")).into_iter().find(|f| f.0.ends_with(end)).unwrap();
        let strange = vec![7; bytes.len()];
        fs::write(world.medium().join(&name), &strange).unwrap();
        let run = world.carry(&[]).exits_one_of(&[1, 4]);
        run.says("was not overwritten").says(&name).says_nothing_of("SAFE TO REMOVE");
        assert_eq!(fs::read(world.medium().join(&name)).unwrap(), strange);
        world.run(["status", "--site", "exporter"]).exits(0).prints("1 packed, not carried");
        fs::remove_file(world.medium().join(&name)).unwrap();
    }
    world.carry(&[]).exits(0).prints("SAFE TO REMOVE");
}

#[test]
fn repeated_batch_that_cannot_be_copied_stops_no_new_one() {
    let world = World::new();
    pack(&world, [1]);
    world.carry(&[]).exits(0);
    fs::write(world.on_medium(".index.zst"), b"other bytes").unwrap();
    pack(&world, [2]);
    let run = world.carry(&["--json"]).exits(4).json();
    assert_eq!(
        (numbers(&run["report"]["new"]), &run["report"]["findings"][0]["code"]),
        (vec![2], &json!("not-repeated"))
    );
    world.run(["status", "--site", "exporter"]).exits(0).says_nothing_of("not carried");
}

#[test]
fn leftovers_of_a_broken_carry_are_removed_and_those_of_other_exporters_kept() {
    let world = World::new();
    pack(&world, [1]);
    let (name, _) = files(&world.path("exporter/outbox")).into_iter().find(|f| f.0.ends_with(".index.zst")).unwrap();
    let strange = ["airpouch-0123456789abcdef-00000001.index.zst.partial", "notes.partial", ".hidden.partial"];
    let ours = [format!("{name}.partial"), name.replace("-00000001.", "-00000099.") + ".partial"];
    for name in strange.into_iter().chain(ours.iter().map(String::as_str)) {
        fs::write(world.medium().join(name), b"half").unwrap();
    }
    world.carry(&[]).exits(0);
    let left: Vec<_> = files(&world.medium()).into_iter().map(|f| f.0).filter(|n| n.ends_with(".partial")).collect();
    assert_eq!(left, [".hidden.partial", "airpouch-0123456789abcdef-00000001.index.zst.partial", "notes.partial"]);
}

#[test]
fn drop_folder_gets_each_batch_once_without_a_proof() {
    let world = World::new();
    pack(&world, [1]);
    let report = carry(&world, "drop", &["--diode"]);
    assert_eq!((numbers(&report["new"]), &report["proof"]), (vec![1], &json!("sent")));
    world.sh("rm drop/*").exits(0);
    pack(&world, [2]);
    let run = world.run(["carry", "drop", "--diode", "--overlap", "3", "--site", "exporter"]).exits(0);
    run.prints("sent: batch 2 (1 envelope").says_nothing_of("again").says_nothing_of("SAFE TO REMOVE");
    assert!(files(&world.path("drop")).iter().all(|(n, _)| n.contains("-00000002")));
    world.run(["status", "--site", "exporter"]).exits(0).prints("2 sent");
    fs::write(world.path("exporter/airpouch.toml"), "diode = true\nmedium = \"../drop\"\n").unwrap();
    pack(&world, [3]);
    world.run(["carry", "--site", "exporter"]).exits(0).prints("sent: batch 3");
    assert_eq!(world.run(["carry", "--site", "exporter"]).exits(0).said(), "", "nothing is sent twice");
    world.made("4.json");
    world.send(&["--diode"]).exits(0).prints("sent: batch 4").says_nothing_of("SAFE TO REMOVE");
}

#[test]
fn empty_mount_point_is_refused_if_required() {
    let world = World::new();
    pack(&world, [1]);
    world.carry(&["--require-mount"]).exits(1).says("nothing is mounted here; nothing was written").says("at medium");
    fs::write(world.path("exporter/airpouch.toml"), "require_mount = true\n").unwrap();
    world.carry(&[]).exits(1).says("nothing is mounted here");
    assert!(files(&world.medium()).is_empty());
    let Some(_mounted) = world.mount("stick", "-t tmpfs -o size=2m none") else { return };
    world.run(["carry", "stick", "--site", "exporter"]).exits(0).prints("SAFE TO REMOVE");
    fs::create_dir(world.path("stick/folder")).unwrap();
    world.run(["carry", "stick/folder", "--site", "exporter"]).exits(1).says("nothing is mounted here");
}

#[test]
fn missing_medium_is_never_created() {
    let world = World::new();
    world.carry(&[]).exits(1).says("nothing was packed");
    pack(&world, [1]);
    world.run(["carry", "absent", "--site", "exporter"]).exits(1).says("absent").says("mount it");
    assert!(!world.path("absent").exists());
    world.run(["carry", "keys/site-a.key.pem", "--site", "exporter"]).exits(1).says("no directory");
    world.run(["carry", "--site", "exporter"]).exits(2).says("no medium given");
}

#[test]
fn head_code_of_carry_is_shown_by_import_and_status() {
    let world = World::new();
    pack(&world, [1, 2]);
    let run = world.carry(&[]).exits(0);
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines[0], "SAFE TO REMOVE");
    let code = lines.last().unwrap().split("head code ").nth(1).unwrap()[..9].to_owned();
    assert!(lines.last().unwrap().contains("of batch 2"), "{run:#?}");
    world.verify(&[]).exits(0).prints(&format!("head code {code}"));
    world.import(&[]).exits(0).prints(&format!("head code {code} of batch 2"));
    world.run(["status", "--site", "exporter"]).exits(0).prints(&code);
    world.run(["status", "--site", "importer"]).exits(0).prints(&code);
}

#[test]
fn proof_of_a_copy_is_named_by_how_it_was_read_back() {
    let world = World::new();
    pack(&world, [1]);
    let Some(_first) = world.mount("stick", "-t tmpfs -o size=2m none") else { return };
    let run = world.run(["carry", "stick", "--site", "exporter"]).exits(0);
    run.prints("read back, perhaps from memory: carry again after plugging it in anew");
    world.run(["status", "--site", "exporter"]).exits(0).prints("1 carried (cache)").prints("Example Feed");
    // In the same place nothing better is proved; mounted anew, it is.
    assert_eq!(carry(&world, "stick", &[])["proof"], "cache");
    let Some(_anew) = world.mount("anew", "--bind stick") else { return };
    let report = carry(&world, "anew", &[]);
    assert_eq!((&report["proof"], &report["written"]), (&json!("replug"), &json!(0)));
    world.run(["status", "--site", "exporter"]).exits(0).prints("1 carried (replug)");
    world.sh("truncate -s 8M disk && mkfs.ext2 -q disk").exits(0);
    let Some(_disk) = world.mount("disk.d", "-o loop disk") else { return };
    assert_eq!(carry(&world, "disk.d", &[])["proof"], "device");
    world.run(["status", "--site", "exporter"]).exits(0).prints("1 carried (device)");
}

/// The stick answers with an error for this file when it is read back; while it is written all is well.
fn carry_to_a_bad_stick(world: &World, medium: &str) -> Unjudged {
    let (name, _) =
        files(&world.path("exporter/outbox")).into_iter().find(|f| f.0.ends_with(".v0001.tar.zst")).unwrap();
    let path = world.path(medium).join(name);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-P", path.to_str().unwrap(), "-e", "inject=read:error=EIO"]);
    let whole = world.path(medium);
    command.arg(env!("CARGO_BIN_EXE_airpouch")).args(["carry", whole.to_str().unwrap(), "--site", "exporter"]);
    finish(command.current_dir(world.dir.path()))
}

#[test]
fn failed_read_back_is_no_carry_and_the_next_medium_gets_all() {
    let world = World::new();
    pack(&world, [1]);
    let run = carry_to_a_bad_stick(&world, "medium").exits(1);
    run.says("v0001.tar.zst").says("carry onto another one").says_nothing_of("SAFE TO REMOVE");
    world.run(["status", "--site", "exporter"]).exits(0).prints("1 packed, not carried");
    let report = carry(&world, "second", &[]);
    assert_eq!((numbers(&report["new"]), &report["proof"]), (vec![1], &json!("device")));
    world.run(["verify", "second", "--trust", "trust"]).exits(0);
}

/// Turns one bit of a file in the outbox, and names the file.
fn damage(world: &World, end: &str) -> String {
    let (name, mut bytes) = files(&world.path("exporter/outbox")).into_iter().find(|f| f.0.ends_with(end)).unwrap();
    bytes[60] ^= 1;
    fs::write(world.path("exporter/outbox").join(&name), bytes).unwrap();
    name
}

#[test]
fn damaged_outbox_is_not_blamed_on_the_medium() {
    let world = World::new();
    pack(&world, [1]);
    damage(&world, ".v0001.tar.zst");
    let run = world.carry(&[]).exits_one_of(&[1, 3, 4]);
    run.says("outbox").says_nothing_of("the outbox has everything").says_nothing_of("SAFE TO REMOVE");
    world.run(["status", "--site", "exporter"]).exits(0).prints("1 packed, not carried");
}

#[test]
fn batch_without_a_file_in_the_outbox_is_named_and_others_are_copied() {
    let world = World::new();
    pack(&world, [1, 2, 3]);
    world.sh("rm exporter/outbox/*-00000002.v0001.tar.zst").exits(0);
    let run = world.carry(&[]).exits(3).says("batch 2 cannot be carried").says("v0001.tar.zst");
    run.prints("new: batches 1 and 3").prints("SAFE TO REMOVE");
    world.import(&[]).exits(3).says("batch 2 has not arrived (1 envelope");
}

#[test]
fn second_carry_to_the_same_medium_changes_nothing() {
    let world = World::new();
    pack(&world, [1]);
    world.carry(&[]).exits(0);
    let before = files(&world.medium());
    let status = world.run(["status", "--site", "exporter", "--json"]).exits(0).json()["report"].clone();
    let report = carry(&world, "medium", &[]);
    assert_eq!((numbers(&report["new"]), numbers(&report["repeated"])), (vec![], vec![1]));
    assert_eq!((&report["written"], &report["left"]), (&json!(0), &json!([])));
    assert_eq!(files(&world.medium()), before);
    assert_eq!(world.run(["status", "--site", "exporter", "--json"]).exits(0).json()["report"], status);
    assert_eq!(world.carry(&["--no-overlap"]).exits(0).said(), "", "nothing to carry is nothing to say");
}

#[test]
fn duration_of_a_carry_is_estimated_before_it_begins() {
    let world = World::new();
    world.put("1.json", &noise("1", 500_000));
    world.pack(&[]).exits(0);
    let run = world.carry(&[]).exits(0);
    assert!(
        run.stderr.starts_with("2") && run.stderr.ends_with("KiB to write\n"),
        "no time is said of what takes none: {run:#?}"
    );
    assert!(world.delivered().is_empty());
    assert_ne!(envelope("1"), noise("1", 500_000));
}

#[test]
fn a_drop_folder_never_gets_what_was_damaged_in_the_outbox() {
    let world = World::new();
    pack(&world, [1]);
    let name = damage(&world, ".v0001.tar.zst");
    // Nothing is read back there, so nobody else would see it before the other side does.
    let run = world.carry(&["--diode"]).exits_one_of(&[1, 3, 4]);
    run.says(&name).says("outbox").says_nothing_of("sent: batch 1");
    assert!(files(&world.medium()).iter().all(|f| f.0 != name && !f.0.ends_with(".manifest")));
}

#[test]
fn medium_with_the_last_good_copy_is_not_called_unknown() {
    let world = World::new();
    pack(&world, [1]);
    world.carry(&[]).exits(0);
    let name = damage(&world, ".v0001.tar.zst");
    let before = files(&world.medium());
    let run = world.carry(&["--resend", "1"]).exits_one_of(&[1, 3, 4]);
    run.says("outbox").says(&name).says_nothing_of("has another file of this name");
    assert_eq!(files(&world.medium()), before);
    // What the advice says: the file comes back from the stick, and all is well.
    fs::copy(world.medium().join(&name), world.path("exporter/outbox").join(&name)).unwrap();
    world.carry(&["--resend", "1"]).exits(0).prints("SAFE TO REMOVE");
}
