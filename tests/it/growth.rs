//! How work grows, counted in what a run asks of the system: counts do not depend on how busy a machine is.

use std::fs;
use std::process::Command;

use crate::support::{World, envelope, finish, has};

/// How often a run looked into directories and opened or looked at files.
fn looks(world: &World, arguments: &[&str], status: i32) -> usize {
    assert!(has("strace"), "install strace");
    let trace = world.path("trace");
    let mut strace = Command::new("strace");
    let calls = "trace=getdents64,openat,stat,lstat,newfstatat,statx,statfs,read,pread64";
    strace.args(["-f", "-q", "-e", calls, "-o"]).arg(&trace).arg(env!("CARGO_BIN_EXE_airpouch")).args(arguments);
    finish(strace.current_dir(world.dir.path())).exits(status);
    let text = fs::read_to_string(&trace).unwrap();
    let line = |l: &&str| l.contains("airpouch-") || l.contains("getdents64");
    text.lines().filter(line).count()
}

/// A world with so many packed batches of one envelope each.
fn packed(batches: usize) -> World {
    let world = World::new();
    for n in 0..batches {
        world.put(&format!("{n}.json"), &envelope(&n.to_string()));
    }
    world.pack(&["--max-batch", "1"]).exits(0).says(&format!("packed batch {batches}"));
    world
}

#[test]
fn carry_looks_at_each_batch_a_fixed_number_of_times() {
    let looks_at = |batches: usize| looks(&packed(batches), &["carry", "medium", "--site", "exporter"], 0);
    let (few, many) = (looks_at(16), looks_at(64));
    assert!(many <= few * 9 / 2, "16 batches: {few} looks, 64 batches: {many}");
}

#[test]
fn carry_of_one_batch_looks_at_none_that_went_before() {
    let looks_at = |batches: usize| {
        let world = packed(batches);
        world.carry(&["--no-overlap"]).exits(0);
        world.made("new.json");
        world.pack(&[]).exits(0);
        fs::create_dir(world.path("second")).unwrap();
        looks(&world, &["carry", "second", "--site", "exporter", "--no-overlap"], 0)
    };
    let (few, many) = (looks_at(8), looks_at(64));
    assert!(many <= few + 8, "after 8 batches: {few} looks, after 64: {many}");
}

#[test]
fn pack_with_nothing_new_looks_at_no_batch() {
    let looks_at = |batches: usize| {
        looks(&packed(batches), &["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"], 0)
    };
    let (few, many) = (looks_at(8), looks_at(64));
    assert!(many <= few + 8, "with 8 batches: {few} looks, with 64: {many}");
}
