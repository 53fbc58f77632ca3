//! What strace sees the program do on an ordinary day: no network, no file opened in vain, nothing written on a medium.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::journeys::{Carry, Extent, Import, Journey, Pack, Spool};
use super::scene::{Scene, names_ending};
use super::strace::{Call, calls_of};
use crate::support::finish;

/// Every way to talk to something that is not a file.
const NETWORK: [&str; 12] = [
    "accept",
    "accept4",
    "bind",
    "connect",
    "listen",
    "recvfrom",
    "recvmsg",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "socket",
    "socketpair",
];

fn opens_no_socket(calls: &[Call]) {
    // By this answer the kernel says that there is none: signal-hook asks so what kind of pipe it has.
    let is_none = |call: &Call| call.arguments.contains(" = -1 ENOTSOCK ");
    let found: Vec<&Call> = calls.iter().filter(|c| NETWORK.contains(&c.name.as_str()) && !is_none(c)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

fn watched(command: &Command, status: i32) -> Vec<Call> {
    let (run, calls) = calls_of(command);
    run.exits(status);
    assert!(calls.iter().any(|c| c.name == "openat"), "strace saw no call");
    calls
}

#[test]
fn no_socket_is_opened_on_the_whole_way() {
    let pack = Pack::new(Extent::Short, true);
    opens_no_socket(&watched(&pack.first(), 3));
    let carry = Carry::new(Extent::Short);
    opens_no_socket(&watched(&carry.first(), 0));
    let import = Import::new(Extent::Short);
    let verify = import.scene().command(&["verify", "medium", "--trust", "trust"]);
    opens_no_socket(&watched(&verify, 0));
    opens_no_socket(&watched(&import.first(), 3));
    opens_no_socket(&watched(&import.first(), 0));
    let spool = Spool::new(Extent::Short);
    opens_no_socket(&watched(&spool.first(), 3));
    // Nor while it waits for another run.
    let lock = fs::File::options().write(true).open(pack.scene().path("exporter/lock")).unwrap();
    lock.lock().unwrap();
    let mut waiting = pack.first();
    waiting.args(["--wait", "1s"]);
    opens_no_socket(&watched(&waiting, 5));
    drop(lock);
    // The list of names is a list of names that strace knows.
    let seen = watched(Command::new("openssl").args(["s_client", "-connect", "127.0.0.1:9"]), 1);
    assert!(seen.iter().any(|c| c.name == "socket"), "a socket would have been seen");
}

#[test]
fn a_second_pack_of_an_unchanged_directory_opens_no_source_file() {
    let pack = Pack::new(Extent::Short, true);
    let source = pack.scene().path("src");
    let opened = |calls: &[Call]| -> Vec<String> {
        calls
            .iter()
            .filter(|c| c.name == "openat" && c.arguments.contains("src/"))
            .map(|c| c.arguments.clone())
            .collect()
    };
    let first = watched(&pack.first(), 3);
    assert_eq!(opened(&first).len(), names_ending(&source, ".json").len(), "{:#?}", opened(&first));
    let second = watched(&pack.first(), 0);
    assert_eq!(opened(&second), Vec::<String>::new());
    // One that changed is opened, and no other.
    pack.scene().world.made("0000.json");
    let third = watched(&pack.first(), 0);
    assert_eq!(opened(&third).len(), 1, "{:#?}", opened(&third));
}

#[test]
fn nothing_is_ever_written_on_the_source_or_on_a_medium_that_is_read() {
    let pack = Pack::new(Extent::Short, true);
    only_looked_at(pack.scene(), "src", &pack.first(), 3);
    let carry = Carry::new(Extent::Short);
    only_looked_at(carry.scene(), "exporter/outbox", &carry.first(), 0);
    let import = Import::new(Extent::Short);
    let verify = import.scene().command(&["verify", "medium", "--trust", "trust"]);
    only_looked_at(import.scene(), "medium", &verify, 0);
    only_looked_at(import.scene(), "medium", &import.first(), 3);
    only_looked_at(import.scene(), "medium", &import.first(), 0);
    // The same eyes see that carry writes on it.
    let carry = Carry::new(Extent::Short);
    assert!(!changes_under(&watched(&carry.first(), 0), "medium").is_empty());
}

/// Runs a command and asserts that it changed nothing below a directory, by its calls and by what is there.
fn only_looked_at(scene: &Scene, dir: &str, command: &Command, status: i32) {
    let before = stamps(&scene.path(dir));
    let calls = watched(command, status);
    let found = changes_under(&calls, dir);
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(stamps(&scene.path(dir)), before);
}

/// Calls that change something below a directory, by the path that they name or by the file that they have open.
fn changes_under<'a>(calls: &'a [Call], dir: &str) -> Vec<&'a Call> {
    let names_it = |c: &&Call| {
        c.arguments
            .split(['"', '<', '>'])
            .any(|word| word == dir || word.contains(&format!("{dir}/")) || word.ends_with(&format!("/{dir}")))
    };
    // A sync makes durable what is there; an open without a flag to write only looks.
    let harmless = |c: &&Call| c.only_looks() || matches!(c.name.as_str(), "fsync" | "syncfs" | "fdatasync");
    calls.iter().filter(|c| c.changes() && !harmless(c)).filter(names_it).collect()
}

/// Inode, size and times of a directory and all in it.
fn stamps(dir: &Path) -> Vec<(String, u64, u64, i64, i64, i64, i64)> {
    let stamp = |path: &Path| {
        let m = fs::symlink_metadata(path).unwrap();
        let name = path.display().to_string();
        (name, m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
    };
    let mut out = vec![stamp(dir)];
    out.extend(names_ending(dir, "").iter().map(|name| stamp(&dir.join(name))));
    out
}

#[test]
fn a_run_with_nothing_to_do_changes_nothing_but_the_ledgers_own_files() {
    let import = Import::new(Extent::Short);
    finish(&mut import.first()).exits(3);
    let calls = watched(&import.first(), 0);
    let scene = import.scene();
    for dir in ["importer/inbox", "importer/held", "importer/quarantine", "out"] {
        assert!(changes_under(&calls, dir).is_empty(), "{:#?}", changes_under(&calls, dir));
        assert!(scene.path(dir).is_dir());
    }
    let pack = Pack::new(Extent::Short, true);
    finish(&mut pack.first()).exits(3);
    let calls = watched(&pack.first(), 0);
    assert!(changes_under(&calls, "exporter/outbox").is_empty());
}
