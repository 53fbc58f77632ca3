//! What the machine lacks stops a run under its own name, settles nothing, accuses nobody, and the next run goes on.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use airpouch::digest::Digest;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{APPLICANT, Unjudged, World, ended, envelope, files, finish, noise};

/// The program with an error put in by strace: this call, on files of this path.
fn failing(world: &World, path: &PathBuf, inject: &str, arguments: &[&str]) -> Unjudged {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "strace.out", "-e", "signal=none", "-P"]).arg(path).args(["-e", inject]);
    strace.arg(env!("CARGO_BIN_EXE_airpouch")).args(arguments).current_dir(world.dir.path());
    let run = finish(&mut strace);
    let trace = fs::read_to_string(world.path("strace.out")).unwrap();
    assert!(trace.contains("INJECTED"), "the error was put in: {run:#?}");
    run
}

/// The program under a limit of the shell, such as `ulimit -f 1`.
fn limited(world: &World, limit: &str, arguments: &[&str]) -> Unjudged {
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
fn medium_error_with_space_left_is_reported_in_the_systems_words() {
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
    run.exits(0).prints("new: batch 1").says("warning: cannot write: disk quota exceeded").prints("SAFE TO REMOVE");
    world.carry(&[]).exits(0).prints("new: batch 2");
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

const IMPORT: [&str; 8] = ["import", "medium", "--to", "dir:out", "--trust", "trust", "--site", "importer"];

/// The envelopes that were delivered.
fn delivered(world: &World) -> usize {
    files(&world.path("out")).iter().filter(|f| f.0.ends_with(".json")).count()
}

#[test]
fn lack_of_memory_settles_nothing_and_blames_no_file() {
    let world = World::new();
    for n in 0..3 {
        world.made(&format!("{n}.json"));
    }
    world.send(&[]).exits(0);
    let mut felt = 0;
    for kib in (40_000..=400_000).step_by(40_000) {
        for words in [&["verify", "medium", "--trust", "trust"][..], &IMPORT] {
            // Where even the loader finds no room, it ends with 127, and the kernel's own means with a signal.
            let run = limited(&world, &format!("ulimit -v {kib}"), words).exits_or_dies();
            let run = run.says_nothing_of("INVALID").says_nothing_of("ask the exporter").says_nothing_of("panicked");
            if run.status == Some(1) {
                run.says("there is not enough memory");
                felt += 1;
            }
        }
    }
    assert!(felt > 0, "no limit was felt");
    world.import(&[]).exits(0);
    assert_eq!(delivered(&world), 3);
}

#[test]
fn pack_without_memory_uses_no_number_and_the_next_run_packs() {
    let world = World::new();
    world.made("1.json");
    let words = ["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"];
    limited(&world, "ulimit -v 120000", &words).exits(1).says("cannot begin a volume: there is not enough memory");
    world.pack(&[]).exits(0).prints("batch 1");
    world.carry(&[]).exits(0);
    world.verify(&[]).exits(0);
}

#[test]
fn carry_without_memory_to_read_back_does_not_blame_the_medium() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    let run = limited(&world, "ulimit -v 120000", &["carry", "medium", "--site", "exporter"]).exits(1);
    run.says("cannot read the medium back: there is not enough memory").says_nothing_of("not to be trusted");
    world.carry(&[]).exits(0).prints("again: batch 1").prints("SAFE TO REMOVE");
}

/// The program where no further thread can be had.
fn alone(world: &World, arguments: &[&str]) -> Unjudged {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "strace.out", "-e", "signal=none", "-e", "inject=clone3,clone:error=EAGAIN"]);
    strace.arg(env!("CARGO_BIN_EXE_airpouch")).args(arguments).current_dir(world.dir.path());
    finish(&mut strace)
}

#[test]
fn verify_carry_and_import_complete_in_one_thread_where_no_other_starts() {
    let world = World::new();
    for n in 0..3 {
        world.put(&format!("{n}.json"), &noise(&n.to_string(), 100_000));
    }
    world.pack(&["--volume-size", "128KiB"]).exits(0);
    alone(&world, &["carry", "medium", "--site", "exporter"]).exits(0).prints("SAFE TO REMOVE");
    alone(&world, &["verify", "medium", "--trust", "trust"]).exits(0).prints("holds: batch 1");
    let mapped = format!("{APPLICANT}={APPLICANT}");
    for to in ["dir:out", "spool:spool"] {
        let site = &to[..3];
        let run = alone(
            &world,
            &[
                "import",
                "medium",
                "--to",
                to,
                "--trust",
                "trust",
                "--site",
                site,
                "--applicant",
                &mapped,
                "--threads",
                "2",
            ],
        );
        run.exits(0).prints("3 envelopes");
    }
    assert_eq!(delivered(&world), 3);
}

/// A bar on a terminal draws itself anew in a thread of its own, where there is one.
#[test]
fn terminal_without_a_second_thread_shows_its_bar_and_the_work_completes() {
    let world = World::new();
    world.put("1.json", &noise("1", 100_000));
    world.send(&[]).exits(0);
    let mapped = format!("{APPLICANT}={APPLICANT}");
    let verify = "verify medium --trust trust";
    let carry = "carry medium --site exporter";
    let import = format!("import medium --to dir:out --trust trust --site importer --applicant {mapped}");
    for (words, says) in [(verify, "holds: batch 1"), (carry, "SAFE TO REMOVE"), (&import, "delivered 1 envelope")] {
        let mut shell = Command::new("script");
        let strace = "strace -f -qq -o strace.out -e signal=none -e inject=clone3,clone:error=EAGAIN";
        let command = format!("{strace} {} {words}", env!("CARGO_BIN_EXE_airpouch"));
        shell.args(["-qec", &command, "/dev/null"]).env("TERM", "xterm").current_dir(world.dir.path());
        let run = finish(shell.stdin(Stdio::null())).exits(0).prints(says).says_nothing_of("panicked");
        assert!(run.said().contains("0%"), "no bar was drawn: {run:#?}");
        let trace = fs::read_to_string(world.path("strace.out")).unwrap();
        assert!(trace.contains("INJECTED"), "no thread was asked for: {run:#?}");
    }
    assert_eq!(delivered(&world), 1);
}

#[test]
fn pack_without_a_thread_names_the_limit_and_the_next_run_packs() {
    let world = World::new();
    world.made("1.json");
    let words = ["pack", "src", "medium", "--key", "keys/site-a.key.pem", "--site", "exporter"];
    let run = alone(&world, &words).exits(1);
    run.says("the system gives no further thread").says("ulimit -u").says_nothing_of("memory");
    world.send(&[]).exits(0).prints("batch 1");
}

#[test]
fn limit_on_open_files_stops_every_verb_with_its_name() {
    let world = World::new();
    world.made("1.json");
    for files in [6, 8, 10] {
        let limit = format!("ulimit -n {files}");
        let packing = ["pack", "src", "medium", "--key", "keys/site-a.key.pem", "--site", "exporter"];
        let run = limited(&world, &limit, &packing).exits_one_of(&[0, 1]);
        if run.status == Some(1) {
            run.says("too many files are open").says("ulimit -n");
        }
    }
    world.send(&[]).exits(0);
    let mut felt = 0;
    for files in 4..12 {
        let limit = format!("ulimit -n {files}");
        for words in [&["verify", "medium", "--trust", "trust"][..], &IMPORT] {
            let run = limited(&world, &limit, words).exits_one_of(&[0, 1, 3]);
            if run.status == Some(1) {
                run.says_nothing_of("INVALID").says("too many files are open");
                felt += 1;
            } else {
                run.says_nothing_of("INVALID").says_nothing_of("missing: airpouch-");
            }
        }
    }
    assert!(felt > 0, "no limit was felt");
    world.import(&[]).exits(0);
    assert_eq!(delivered(&world), 1);
}

#[test]
fn file_of_the_medium_that_cannot_be_read_is_named_with_the_systems_reason() {
    let world = World::new();
    for name in ["1.json", "2.json"] {
        world.made(name);
        world.send(&[]).exits(0);
    }
    let mapped = format!("{APPLICANT}={APPLICANT}");
    for end in ["-00000001.v0001.tar.zst", "-00000001.index.zst", "-00000001.manifest", ".sig"] {
        let begin = if end == ".sig" { "-00000001." } else { "" };
        let file = files(&world.medium()).into_iter().map(|f| f.0).find(|n| n.ends_with(end) && n.contains(begin));
        let file = world.medium().join(file.unwrap());
        for (errno, reason) in [("EIO", "input/output error"), ("ESTALE", "stale file handle")] {
            let inject = format!("inject=read:error={errno}");
            let run = failing(&world, &file, &inject, &["verify", "medium", "--trust", "trust"]).exits(3);
            let name = file.file_name().unwrap().to_str().unwrap();
            run.says(name).says("cannot be read").says(reason).prints("holds: batch 2").says_nothing_of("INVALID");
            let site = format!("site-{errno}{end}");
            let words = [&IMPORT[..7], &[site.as_str(), "--applicant", &mapped]].concat();
            failing(&world, &file, &inject, &words).exits(3).says(reason).says_nothing_of("INVALID");
        }
    }
}

#[test]
fn file_of_the_inbox_that_cannot_be_read_is_named_with_the_systems_reason_and_not_called_missing() {
    let world = World::new();
    world.made("1.json");
    world.send(&[]).exits(0);
    // It is taken and admitted, and cannot be delivered yet.
    world.import(&["--to", "dir:nowhere/out"]).exits(1);
    let folder = fs::read_dir(world.path("importer/inbox")).unwrap().next().unwrap().unwrap().path();
    let inbox = folder.strip_prefix(world.dir.path()).unwrap().to_str().unwrap().to_owned();
    let mapped = format!("{APPLICANT}={APPLICANT}");
    let words = ["import", "--to", "dir:out", "--trust", "trust", "--site", "importer", "--applicant", &mapped];
    for end in [".manifest", ".sig", ".index.zst"] {
        let file = named(&world, &inbox, end);
        let run = failing(&world, &file, "inject=read,pread64:error=EIO", &words).exits(3);
        run.says(&format!("{} cannot be read: input/output error", file.file_name().unwrap().to_str().unwrap()))
            .says("make it readable there")
            .says_nothing_of("missing")
            .says_nothing_of("INVALID");
        assert_eq!(delivered(&world), 0, "{end}");
    }
    // One that is gone is missing.
    let file = named(&world, &inbox, ".manifest");
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    world.import_inbox(&[]).exits(3).says("is missing");
    fs::write(&file, bytes).unwrap();
    world.import_inbox(&[]).exits(0);
    assert_eq!(delivered(&world), 1);
}

#[test]
fn write_protected_medium_is_an_error_and_never_invalid() {
    let world = World::new();
    world.made("1.json");
    world.send(&[]).exits(0);
    fs::create_dir(world.path("stick")).unwrap();
    let volume = named(&world, "medium", ".v0001.tar.zst");
    let partial = world.path("stick").join(format!("{}.partial", volume.file_name().unwrap().to_str().unwrap()));
    let stick = world.path("stick");
    let words = ["carry", stick.to_str().unwrap(), "--site", "exporter"];
    let run = failing(&world, &partial, "inject=write:error=EROFS", &words).exits(3);
    run.says("batch 1 did not go again").says("read-only file system").says_nothing_of("INVALID");
    world.made("2.json");
    world.pack(&[]).exits(0);
    let volume = named(&world, "exporter/outbox", "-00000002.v0001.tar.zst");
    let partial = world.path("stick").join(format!("{}.partial", volume.file_name().unwrap().to_str().unwrap()));
    failing(&world, &partial, "inject=write:error=EROFS", &words).exits(1).says("read-only file system");
    world.carry(&[]).exits(0).prints("new: batch 2");
}

/// A killed run leaves the note of what it was at: the next one tries that in a process of its own, and all of it goes.
#[test]
fn run_killed_during_an_examination_loses_no_envelope_and_no_order() {
    let world = World::new();
    let names = ["a.json", "b.json", "c.json"];
    names.iter().for_each(|name| drop(world.made(name)));
    world.send(&[]).exits(0);
    let notes = world.path("importer/examining");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "strace.out", "-P"]).arg(&notes);
    // The first note is made; the call that clears it is never made.
    strace.args(["-e", "inject=pwrite64:signal=KILL:when=2", env!("CARGO_BIN_EXE_airpouch"), "import", "medium"]);
    strace.args(["--to", "dir:out", "--trust", "trust", "--site", "importer"]);
    strace.args(["--unmapped", "default=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10", "--threads", "1"]);
    let killed = finish(strace.current_dir(world.dir.path()));
    assert!(killed.was_killed(), "{killed:#?}");
    assert_eq!(fs::read(&notes).unwrap()[0], 3, "one note names all three");
    let default = ["--unmapped", "default=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10"];
    world.import_inbox(&default).exits(0);
    let delivered = world.delivered_bytes();
    assert_eq!(delivered, names.map(envelope));
    assert_eq!(fs::read(&notes).unwrap()[..8], [0; 8], "nothing is in work any more");
}

/// A process has the files of the one that started it until it has become another program. If the run is killed just
/// then, that process holds the lock of a site in which nobody works.
#[test]
fn lock_that_a_killed_run_left_to_its_child_is_waited_for() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    let default = ["--unmapped", "default=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10"];
    world.import(&["--to", "dir:nowhere/out"]).exits(1);
    let digest = Digest::of(&envelope("a.json"));
    let note = [&1_u64.to_le_bytes()[..], digest.as_bytes(), &[0; 32 * 31]].concat();
    fs::write(world.path("importer/examining"), note).unwrap();
    // The program has another name here, so that strace keeps back its child alone, until it is killed.
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_airpouch"), world.path("program")).unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "strace.out", "-P", env!("CARGO_BIN_EXE_airpouch")]);
    strace.args(["-e", "trace=execve", "-e", "inject=execve:delay_enter=600000000", "./program", "import"]);
    strace.args(["--to", "dir:out", "--trust", "trust", "--site", "importer"]).args(default);
    let mut strace = strace.current_dir(world.dir.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let run = first(|| {
        assert!(is_running(strace.id()), "the run has ended and started no process");
        children(strace.id()).into_iter().find(|run| !children(*run).is_empty())
    });
    kill_process(Pid::from_raw(run as i32).unwrap(), Signal::KILL).unwrap();
    first(|| (!is_running(run)).then_some(()));
    let mut next = world.command();
    next.args(["import", "--to", "dir:out", "--trust", "trust", "--site", "importer"]).args(default);
    let next = next.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lock = world.path("importer/lock");
    let opened = || {
        let files = fs::read_dir(format!("/proc/{}/fd", next.id())).into_iter().flatten().flatten();
        files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|path| path == lock))
    };
    first(|| (opened() || !is_running(next.id())).then_some(()));
    strace.kill().unwrap();
    strace.wait().unwrap();
    Unjudged::of(&ended(next)).exits(0).prints("delivered 1 envelope");
}

/// What is found first, however long it takes.
pub fn first<T>(find: impl Fn() -> Option<T>) -> T {
    loop {
        if let Some(found) = find() {
            return found;
        }
        std::thread::yield_now();
    }
}

/// Whether a process is there and has not ended.
pub fn is_running(process: u32) -> bool {
    fs::read_link(format!("/proc/{process}/exe")).is_ok()
}

/// The processes that one has started.
pub fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>()).collect()
}
