//! The order of what reaches the disk: a power cut takes everything that was not synced, and a killed process nothing, so
//! that no test that kills sees a missing sync. Here the calls of whole runs are held against laws instead.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::journeys::{Carry, Extent, Import, Journey, Keygen, Pack, Release, Spool};
use super::laws::{self, Disk, after_a_kill};
use super::recorded::read;
use super::scene::{Scene, mapped};
use crate::support::envelope_with;

/// Holds the laws against the run of a journey; gives how often its ledger committed.
#[track_caller]
fn commits_of(journey: &impl Journey, statuses: &[i32]) -> usize {
    laws::commits_of(journey.scene().world.dir.path(), &journey.first(), statuses)
}

#[test]
fn a_power_cut_during_keygen_leaves_a_whole_key_or_none() {
    let keygen = Keygen::new();
    assert_eq!(commits_of(&keygen, &[0]), 0);
}

#[test]
fn a_power_cut_during_pack_leaves_every_sealed_batch_whole() {
    for is_first in [true, false] {
        let pack = Pack::new(Extent::Short, is_first);
        assert!(commits_of(&pack, &[3]) >= 2, "sealed, then packed");
    }
}

#[test]
fn a_power_cut_during_carry_leaves_every_batch_with_a_manifest_whole() {
    let carry = Carry::new(Extent::Short);
    assert!(commits_of(&carry, &[0]) >= 1);
}

#[test]
fn a_power_cut_during_import_loses_no_envelope_that_the_ledger_calls_delivered() {
    let import = Import::new(Extent::Short);
    assert!(commits_of(&import, &[3]) >= 4, "taken, noted, delivered, and again for the next batch");
    let import = Import::many(40).with_threads("2");
    assert!(commits_of(&import, &[3]) >= 3);
}

#[test]
fn a_power_cut_during_import_loses_no_message_that_the_ledger_calls_delivered() {
    let spool = Spool::new(Extent::Short);
    assert!(commits_of(&spool, &[3]) >= 3);
}

#[test]
fn a_power_cut_after_a_release_loses_nothing_that_was_set_aside() {
    let release = Release::new(Extent::Short);
    assert!(commits_of(&release, &[0]) >= 2);
}

#[test]
fn a_power_cut_while_a_connector_gets_another_name_leaves_it_one() {
    let scene = Scene::new();
    let send = |name: &str, file: &str| {
        let connector = json!({"id": "feed", "name": name, "type": "EXTERNAL_IMPORT", "scope": null});
        scene.world.put(file, &envelope_with(file, json!({"connector": connector})));
        scene.run(&["pack", "src", "medium", "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(0);
    };
    let mapped = mapped();
    let import = ["import", "medium", "--to", "spool:spool", "--trust", "trust", "--site", "importer"];
    let import = [&import[..], &["--threads", "1", "--applicant", &mapped]].concat();
    send("First", "a.json");
    scene.run(&import).exits(0);
    send("Second", "b.json");
    let commits = laws::commits_of(scene.world.dir.path(), &scene.command(&import), &[0]);
    assert!(commits >= 3, "taken, noted, delivered: {commits}");
    let registration = fs::read_to_string(scene.path("spool/feed/connector.json")).unwrap();
    assert!(registration.contains("\"name\":\"Second\""), "{registration}");
}

#[test]
fn a_power_cut_while_all_is_delivered_again_loses_no_envelope_that_the_ledger_calls_delivered() {
    for import in [Import::new(Extent::Short), Spool::new(Extent::Short).import] {
        let (scene, mut again) = (import.scene(), import.first());
        crate::support::finish(&mut import.first()).exits(3);
        again.arg("--redeliver");
        let commits = laws::commits_of(scene.world.dir.path(), &again, &[0, 3]);
        assert!(commits >= 2, "noted, delivered: {commits}");
    }
}

#[test]
fn a_power_cut_during_stream_renew_leaves_the_old_stream_or_a_whole_new_one() {
    let pack = Pack::new(Extent::Short, false);
    let scene = pack.scene();
    let renew = scene.command(&["stream", "renew", "--site", "exporter"]);
    assert!(laws::commits_of(scene.world.dir.path(), &renew, &[0]) >= 1);
    // Out of a backup, with a batch in the outbox that the ledger has to take in.
    scene.set_back();
    let ledger = fs::read(scene.path("exporter/ledger.db")).unwrap();
    crate::support::finish(&mut pack.first()).exits(3);
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(scene.path(&format!("exporter/ledger.db{end}")));
    }
    fs::write(scene.path("exporter/ledger.db"), ledger).unwrap();
    assert!(laws::commits_of(scene.world.dir.path(), &renew, &[0]) >= 1);
}

/// One batch in the outbox and at the importer.
fn sent() -> Scene {
    let scene = Scene::new();
    scene.world.send_new(&["1.json"]);
    scene.world.import(&[]).exits_one_of(&[0, 3]);
    scene.save();
    scene
}

/// Kills a command at each call behind which something is not durable yet, runs it again, and looks at the end.
#[track_caller]
fn is_killed_everywhere(scene: &Scene, command: &Command, statuses: &[i32], least: usize, ended: impl Fn()) {
    let mut kills = 0;
    for call in TURNS {
        for nth in 1.. {
            scene.set_back();
            let run = after_a_kill(scene.world.dir.path(), command, (call, nth), statuses);
            ended();
            if run.is_some() {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= least, "only {kills} kills");
}

#[test]
fn a_power_cut_or_a_kill_during_pair_leaves_a_whole_key_or_none() {
    let scene = sent();
    let pair = scene.command(&["pair", "--site", "exporter"]);
    assert!(laws::commits_of(scene.world.dir.path(), &pair, &[0]) >= 1);
    // Where the first run had kept its key, the second one does not replace it.
    is_killed_everywhere(&scene, &pair, &[0, 2], 10, || {
        let key = fs::read_to_string(scene.path("exporter/pairings/zone-default")).unwrap();
        assert_eq!(key.len(), "airpouch pairing/1\n".len() + 34, "{key:?}");
        let guess = airpouch::arrival::ArrivalCode::of(b"guess").to_string();
        scene.world.run(["arrived", &guess, "--site", "exporter"]).exits(4);
        let journal = fs::read_to_string(scene.path("exporter/journal.jsonl")).unwrap();
        assert!(journal.contains("\"event\":\"paired\""), "no key without its event");
    });
}

#[test]
fn a_power_cut_or_a_kill_during_arrived_acknowledges_once_or_not_at_all() {
    let scene = sent();
    scene.world.sh("$A pair --site exporter > paper; $A pair --site importer --file paper").exits(0);
    scene.save();
    let status = scene.world.run(["status", "--json", "--site", "importer"]).exits(0).json();
    let code = status["report"]["streams"][0]["arrival"]["code"].as_str().unwrap().to_owned();
    let arrived = scene.command(&["arrived", &code, "--site", "exporter"]);
    assert!(laws::commits_of(scene.world.dir.path(), &arrived, &[0]) >= 1);
    is_killed_everywhere(&scene, &arrived, &[0], 5, || {
        let status = scene.world.run(["status", "--json", "--site", "exporter"]).exits(0).json();
        assert_eq!(status["report"]["streams"][0]["acknowledged"], json!([[1, 1]]));
        let journal = fs::read_to_string(scene.path("exporter/journal.jsonl")).unwrap();
        assert_eq!(journal.matches("\"event\":\"acknowledged\"").count(), 1, "{journal}");
    });
}

#[test]
fn a_power_cut_or_a_kill_during_sign_leaves_no_signature_without_its_event() {
    let scene = sent();
    let key = scene.world.key("site-b", [8; 32]);
    scene.save();
    let sign = scene.command(&["sign", "--key", key.to_str().unwrap(), "--site", "exporter"]);
    assert!(laws::commits_of(scene.world.dir.path(), &sign, &[0]) >= 1);
    is_killed_everywhere(&scene, &sign, &[0], 5, || {
        let names = fs::read_dir(scene.path("exporter/outbox")).unwrap().map(|e| e.unwrap().file_name());
        let signatures = names.filter(|name| name.to_string_lossy().ends_with(".sig")).count();
        assert_eq!(signatures, 2);
        let journal = fs::read_to_string(scene.path("exporter/journal.jsonl")).unwrap();
        assert!(journal.contains("\"event\":\"signed\""), "no signature without its event");
        scene.world.run(["audit", "--site", "exporter"]).exits(0);
    });
}

/// Kills each of these calls of a journey, and holds the laws against the run that goes on, together with what the dead
/// one left undone.
#[track_caller]
fn recovers(journey: &impl Journey, calls: &[&str], least: usize) {
    let mut kills = 0;
    for call in calls {
        for nth in 1.. {
            journey.scene().set_back();
            let root = journey.scene().world.dir.path();
            match after_a_kill(root, &journey.first(), (call, nth), &[0, 3]) {
                None => kills += 1,
                Some(_) => break,
            }
        }
    }
    assert!(kills >= least, "only {kills} kills at {calls:?}");
}

/// The calls behind which something that was done is not durable yet, and those by which it is seen.
const TURNS: [&str; 6] = ["fsync", "fdatasync", "syncfs", "rename", "renameat2", "unlinkat"];

#[test]
fn a_power_cut_after_the_run_that_follows_a_kill_leaves_every_sealed_batch_whole() {
    recovers(&Pack::new(Extent::Short, false), &TURNS, 10);
}

#[test]
fn a_power_cut_after_the_run_that_follows_a_kill_leaves_every_carried_batch_whole() {
    recovers(&Carry::new(Extent::Short), &TURNS, 10);
}

#[test]
fn a_power_cut_after_the_run_that_follows_a_kill_loses_no_envelope_that_was_delivered() {
    recovers(&Import::new(Extent::Short), &TURNS, 20);
}

#[test]
fn a_power_cut_after_the_run_that_follows_a_kill_loses_no_message_that_was_delivered() {
    recovers(&Spool::new(Extent::Short), &TURNS, 20);
}

/// What goes on from one sync to the next; each sync is needed.
const DELIVERY: [&str; 10] = [
    "openat(AT_FDCWD, \"out/a.json.partial\", O_WRONLY|O_CREAT, 0666) = 4</w/out/a.json.partial>",
    "write(4</w/out/a.json.partial>, \"{}\", 2) = 2",
    "syncfs(5</w/out>) = 0",
    "pwrite64(6</w/importer/ledger.db-wal>, \"placing\"..., 4096, 0) = 4096",
    "fdatasync(6</w/importer/ledger.db-wal>) = 0",
    "renameat2(AT_FDCWD, \"out/a.json.partial\", AT_FDCWD, \"out/a.json\", RENAME_NOREPLACE) = 0",
    "fsync(5</w/out>) = 0",
    "pwrite64(6</w/importer/ledger.db-wal>, \"delivered\"..., 4096, 0) = 4096",
    "fdatasync(6</w/importer/ledger.db-wal>) = 0",
    "unlink(\"importer/held/b.json\") = 0",
];

const CARRIAGE: [&str; 13] = [
    "openat(7</w/medium>, \"a.index.zst.partial\", O_WRONLY|O_CREAT, 0666) = 4</w/medium/a.index.zst.partial>",
    "write(4</w/medium/a.index.zst.partial>, \"x\", 1) = 1",
    "fsync(4</w/medium/a.index.zst.partial>) = 0",
    "rename(\"medium/a.index.zst.partial\", \"medium/a.index.zst\") = 0",
    "fsync(7</w/medium>) = 0",
    "openat(AT_FDCWD, \"medium/a.manifest.partial\", O_WRONLY|O_CREAT, 0666) = 4</w/medium/a.manifest.partial>",
    "write(4</w/medium/a.manifest.partial>, \"x\", 1) = 1",
    "fsync(4</w/medium/a.manifest.partial>) = 0",
    "rename(\"medium/a.manifest.partial\", \"medium/a.manifest\") = 0",
    "fsync(7</w/medium>) = 0",
    "pwrite64(6</w/exporter/ledger.db-wal>, \"carried\"..., 4096, 0) = 4096",
    "fdatasync(6</w/exporter/ledger.db-wal>) = 0",
    "write(1<pipe:[77]>, \"SAFE TO REMOVE\\n\", 15) = 15",
];

fn faults_of<'a>(calls: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let lines: String = calls.into_iter().map(|call| format!("{call}\n")).map(|line| thread_before(&line)).collect();
    Disk::after(Path::new("/w"), &read(&lines, Path::new("/w"))).faults
}

fn thread_before(line: &str) -> String {
    if line.starts_with(|c: char| c.is_ascii_digit()) { line.to_owned() } else { format!("1 {line}") }
}

#[test]
fn a_sync_that_is_missing_or_late_is_found() {
    for calls in [&DELIVERY[..], &CARRIAGE[..]] {
        assert_eq!(faults_of(calls.iter().copied()), BTreeSet::new());
        let syncs: Vec<usize> = (0..calls.len()).filter(|at| calls[*at].contains("sync")).collect();
        assert!(syncs.len() >= 4);
        for at in syncs {
            let mut others = calls.to_vec();
            let sync = others.remove(at);
            assert_ne!(faults_of(others.iter().copied()), BTreeSet::new(), "without {sync} at {at}");
            let relies = |call: &&str| ["rename", "pwrite64", "unlink", "SAFE"].iter().any(|word| call.contains(word));
            let next = at + others[at..].iter().position(relies).unwrap();
            others.insert(next + 1, sync);
            assert_ne!(faults_of(others.iter().copied()), BTreeSet::new(), "with {sync} after {}", others[next]);
        }
    }
}

#[test]
fn sync_that_fails_or_begins_before_the_bytes_are_written_does_not_count() {
    let with = |sync: &[&'static str]| {
        let mut calls = DELIVERY.to_vec();
        calls.splice(1..3, sync.iter().copied());
        faults_of(calls)
    };
    let write = "write(4</w/out/a.json.partial>, \"{}\", 2 <unfinished ...>";
    let wrote = "<... write resumed>) = 2";
    assert_eq!(with(&[write, wrote, "2 syncfs(5</w/out>) = 0"]), BTreeSet::new());
    assert_ne!(with(&[write, "2 syncfs(5</w/out>) = 0", wrote]), BTreeSet::new());
    assert_ne!(with(&[DELIVERY[1], "syncfs(5</w/out>) = -1 EIO (Input/output error)"]), BTreeSet::new());
    assert_ne!(with(&[DELIVERY[1], "syncfs(5</w/medium>) = 0"]), BTreeSet::new());
    // A file's own sync makes its content durable, and not its name.
    assert_ne!(with(&[DELIVERY[1], "fsync(4</w/out/a.json.partial>) = 0"]), BTreeSet::new());
}

/// A drain takes messages out once the broker has them, and says so only when they are gone for good.
#[test]
fn drain_that_sends_before_its_note_or_forgets_before_a_removal_is_durable_is_found() {
    const DRAIN: [&str; 8] = [
        "openat(5</w/spool>, \".drain.json.partial\", O_WRONLY|O_CREAT, 0600) = 4</w/spool/.drain.json.partial>",
        "write(4</w/spool/.drain.json.partial>, \"{}\", 2) = 2",
        "fsync(4</w/spool/.drain.json.partial>) = 0",
        "renameat2(5</w/spool>, \".drain.json.partial\", 5</w/spool>, \".drain.json\", 0) = 0",
        "fsync(5</w/spool>) = 0",
        "2 sendto(9<socket:[77]>, \"x\", 1, MSG_NOSIGNAL, NULL, 0) = 1",
        "unlinkat(6</w/spool/feed>, \"000000000001.json\", 0) = 0",
        "fsync(6</w/spool/feed>) = 0",
    ];
    let twice: Vec<&str> = DRAIN.iter().chain(&DRAIN[..5]).copied().collect();
    assert_eq!(faults_of(twice.iter().copied()), BTreeSet::new());
    for needed in [2, 4, 7] {
        let mut calls = twice.clone();
        let sync = calls.remove(needed);
        assert_ne!(faults_of(calls), BTreeSet::new(), "without {sync}");
    }
}
