//! SIGINT and SIGTERM: what a run that is asked to stop leaves, and what it says.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Output, Stdio};

use airpouch::digest::Digest;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::lack::{children, first, is_running};
use crate::support::{APPLICANT, Unjudged, World, ended, envelope, files};

fn pid(process: u32) -> Pid {
    Pid::from_raw(process as i32).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whoever runs these tests in the background may ignore SIGINT; a run would ignore it too.
const DEFAULT_SIGNALS: [&str; 2] = ["/usr/bin/env", "--default-signal=INT,TERM"];

/// A world in which the last import died while it examined `a.json`.
fn with_suspect() -> World {
    let world = World::new();
    world.made("a.json");
    world.made("b.json");
    world.send(&[]).exits(0);
    world.import(&["--to", "dir:nowhere/out"]).exits(1);
    let digest = Digest::of(&envelope("a.json"));
    let note = [&1_u64.to_le_bytes()[..], digest.as_bytes(), &[0; 32 * 31]].concat();
    fs::write(world.path("importer/examining"), note).unwrap();
    world
}

/// The process of a run that examines an envelope, halted; none if it had ended before.
fn halted_below(run: u32) -> Option<u32> {
    let examines = |process: &u32| {
        fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| line.windows(13).any(|w| w == b"examine-apart"))
    };
    let child = first(|| {
        // Before it has become the program that examines, it is a copy of the run.
        let child = children(run).into_iter().find(examines);
        child.map(Some).or_else(|| (!is_running(run)).then_some(None))
    })?;
    kill_process(pid(child), Signal::STOP).ok()?;
    let state = || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).filter(|state| *state != 'R' && *state != 'S')
    };
    (first(|| state().or_else(|| (!is_running(child)).then_some('X'))) == 'T').then_some(child)
}

/// An import in a process group of its own, which examines an envelope in another process; that one is halted.
fn import_that_examines_apart(words: &[&str]) -> (World, Child, u32) {
    let mapped = format!("{APPLICANT}={APPLICANT}");
    let usual =
        ["airpouch", "import", "--to", "dir:out", "--trust", "trust", "--site", "importer", "--applicant", &mapped];
    loop {
        let world = with_suspect();
        let mut command = std::process::Command::new(words[0]);
        command.args(&words[1..]).args(usual).current_dir(world.dir.path()).process_group(0);
        command.env("PATH", Path::new(env!("CARGO_BIN_EXE_airpouch")).parent().unwrap());
        let mut run = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        match halted_below(run.id()) {
            Some(child) => return (world, run, child),
            // It was faster: once more.
            None => drop(run.wait().unwrap()),
        }
    }
}

#[test]
fn control_c_to_all_processes_of_a_terminal_holds_and_quarantines_nothing() {
    for signal in [Signal::INT, Signal::TERM] {
        let (world, run, examining) = import_that_examines_apart(&DEFAULT_SIGNALS);
        kill_process_group(pid(run.id()), signal).unwrap();
        let stopped = ended(run);
        assert_eq!(stopped.status.signal(), Some(signal.as_raw()), "{stopped:?}");
        let said = said(&stopped);
        assert!(said.contains("examined in a process of its own; the next import examines it again"), "{said}");
        assert!(!is_running(examining), "the examining process was left behind");
        assert!(files(&world.path("importer/held")).is_empty() && files(&world.path("importer/quarantine")).is_empty());
        world.import_inbox(&[]).exits(0).prints("delivered 2 envelopes");
        assert_eq!(world.delivered_bytes(), [envelope("a.json"), envelope("b.json")]);
        world.run(["audit", "--site", "importer"]).exits(0);
    }
}

#[test]
fn examining_process_goes_with_a_run_that_is_killed() {
    let (world, mut run, examining, _input) = loop {
        let (world, run, examining) = import_that_examines_apart(&DEFAULT_SIGNALS);
        // As long as this is open, the process does not read to the end of the envelope: it does not end by itself.
        let input = fs::File::options().write(true).open(format!("/proc/{examining}/fd/0")).unwrap();
        kill_process(pid(examining), Signal::CONT).unwrap();
        let reads =
            || fs::read_to_string(format!("/proc/{examining}/syscall")).is_ok_and(|call| call.starts_with("0 0x0 "));
        let is_held = first(|| reads().then_some(true).or_else(|| (!is_running(examining)).then_some(false)));
        if is_held {
            break (world, run, examining, input);
        }
        // It had read to the end before it was halted: once more.
        drop(ended(run));
    };
    run.kill().unwrap();
    run.wait().unwrap();
    first(|| (!is_running(examining)).then_some(()));
    world.import_inbox(&[]).exits(0).prints("delivered 2 envelopes");
}

#[test]
fn document_of_a_stopped_run_has_the_status_that_a_shell_shows() {
    let json = ["/bin/sh", "-c", "exec \"$@\" --json", "sh"];
    let (_world, run, _) = import_that_examines_apart(&json);
    kill_process(pid(run.id()), Signal::TERM).unwrap();
    let stopped = ended(run);
    assert_eq!(stopped.status.signal(), Some(15));
    let document: Value = serde_json::from_slice(&stopped.stdout).unwrap();
    assert_eq!(document["exit"], 143);
    assert!(document["error"]["what"].as_str().unwrap().starts_with("by SIGTERM while an envelope"), "{document}");
    // It is held against its schema.
    let _ = Unjudged::of(&stopped);
}

/// As shells start what runs in the background.
#[test]
fn run_that_is_to_ignore_a_signal_goes_on() {
    let (world, run, examining) = import_that_examines_apart(&["/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh"]);
    kill_process_group(pid(run.id()), Signal::INT).unwrap();
    kill_process(pid(examining), Signal::CONT).unwrap();
    let done = ended(run);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(world.delivered_bytes().len(), 2);
}

#[test]
fn run_that_waits_for_the_lock_ends_with_the_signal() {
    let world = with_suspect();
    let lock = fs::File::options().write(true).open(world.path("importer/lock")).unwrap();
    lock.lock().unwrap();
    let mut command = world.command();
    command.args(["import", "--to", "dir:out", "--trust", "trust", "--site", "importer", "--wait", "1h"]);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = std::io::BufReader::with_capacity(1, run.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut String::new()).unwrap();
    run.stderr = Some(stderr.into_inner());
    kill_process(pid(run.id()), Signal::TERM).unwrap();
    let stopped = ended(run);
    assert_eq!(stopped.status.signal(), Some(15));
    assert_eq!(said(&stopped), "stopped: by SIGTERM while it waited for the lock; nothing was done\n");
}
