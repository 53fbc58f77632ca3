//! What the machine lacks stops a run under its own name, settles nothing, accuses nobody, and the next run goes on.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Run, World, files, finish, noise};

/// The program with an error put in by strace: this call, on files of this path.
fn failing(world: &World, path: &PathBuf, inject: &str, arguments: &[&str]) -> Run {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "strace.out", "-e", "signal=none", "-P"]).arg(path).args(["-e", inject]);
    strace.arg(env!("CARGO_BIN_EXE_airpouch")).args(arguments).current_dir(world.dir.path());
    let run = finish(&mut strace);
    let trace = fs::read_to_string(world.path("strace.out")).unwrap();
    assert!(trace.contains("INJECTED"), "the error was put in: {run:#?}");
    run
}

/// The program under a limit of the shell, such as `ulimit -f 1`.
fn limited(world: &World, limit: &str, arguments: &[&str]) -> Run {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("{limit}; ulimit -c 0; exec \"$0\" \"$@\"")]).arg(env!("CARGO_BIN_EXE_airpouch"));
    finish(shell.args(arguments).current_dir(world.dir.path()))
}

/// The one file in a directory whose name ends so.
fn named(world: &World, dir: &str, end: &str) -> PathBuf {
    let found: Vec<_> = files(&world.path(dir)).into_iter().map(|f| f.0).filter(|n| n.ends_with(end)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    world.path(dir).join(&found[0])
}

#[test]
fn medium_that_refuses_with_room_left_is_named_by_the_systems_word() {
    let words = [
        ("EDQUOT", "disk quota exceeded", "raise the quota"),
        ("EFBIG", "file too large", "limit on the size of a file"),
        ("ENOSPC", "no room is left, although", "inodes (names) may have run out"),
    ];
    for (errno, what, advice) in words {
        let world = World::new();
        world.made("1.json");
        world.pack(&[]).exits(0);
        let volume = named(&world, "exporter/outbox", ".v0001.tar.zst");
        let partial = world.medium().join(format!("{}.partial", volume.file_name().unwrap().to_str().unwrap()));
        let inject = format!("inject=write:error={errno}");
        let run = failing(&world, &partial, &inject, &["carry", "medium", "--site", "exporter"]).exits(1);
        run.says(what).says(advice).says_nothing_of("larger medium");
        assert!(files(&world.medium()).is_empty(), "{errno}: nothing is left");
        world.carry(&[]).exits(0);
        world.verify(&[]).exits(0);
    }
}

#[test]
fn second_batch_that_does_not_fit_is_left_with_the_systems_reason() {
    let world = World::new();
    for name in ["1.json", "2.json"] {
        world.made(name);
        world.pack(&[]).exits(0);
    }
    let volume = named(&world, "exporter/outbox", "-00000002.v0001.tar.zst");
    let partial = world.medium().join(format!("{}.partial", volume.file_name().unwrap().to_str().unwrap()));
    let run = failing(&world, &partial, "inject=write:error=EDQUOT", &["carry", "medium", "--site", "exporter"]);
    run.exits(0).says("new: batch 1").says("warning: cannot write: disk quota exceeded").says("SAFE TO REMOVE");
    world.carry(&[]).exits(0).says("new: batch 2");
}

#[test]
fn limit_on_the_size_of_files_stops_pack_with_its_name_and_not_by_a_signal() {
    let world = World::new();
    for n in 0..40 {
        world.put(&format!("{n}.json"), &noise(&n.to_string(), 100_000));
    }
    let words = ["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"];
    limited(&world, "ulimit -f 1000", &words).exits(1).says("file too large").says("ulimit -f");
    world.pack(&[]).exits(0);
    assert_eq!(files(&world.path("exporter/outbox")).iter().filter(|f| f.0.ends_with(".manifest")).count(), 1);
}
