//! The order of what reaches the disk: a power cut takes everything that was not synced, and a killed process nothing, so
//! that no test that kills sees a missing sync. Here the calls of whole runs are held against laws instead.
//!
//! A disk is taken for the worst that there is: bytes and times of a file are safe after a sync of it, a name after a sync
//! of its directory, both after one of their file system; and each place (site, medium, destination) is a file system of its
//! own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::journeys::{Carry, Extent, Import, Journey, Keygen, Pack, Release, Spool};
use super::recorded::{Deed, Moment, moments_of, read};

/// The files that SQLite and the lock keep for themselves: they are judged by when they are synced. On `examining` nothing
/// rests: it is there for the death of a process, and is never synced.
const OWN: [&str; 5] = ["ledger.db", "ledger.db-wal", "ledger.db-shm", "lock", "examining"];
const LEDGER: &str = "ledger.db-wal";
/// Where envelopes and messages are delivered.
const DESTINATIONS: [&str; 2] = ["out", "spool"];

/// A disk as a power cut would leave it, and what is wrong with it at a moment.
#[derive(Default)]
struct Disk {
    /// Where the places lie.
    root: PathBuf,
    now: usize,
    there: BTreeSet<PathBuf>,
    /// When the bytes of a file were written last; until they are synced.
    unsynced: BTreeMap<PathBuf, usize>,
    /// When a name was given; until its directory is synced.
    unsynced_names: BTreeMap<PathBuf, usize>,
    written: BTreeMap<PathBuf, usize>,
    /// Calls that have begun.
    open: BTreeMap<usize, (usize, Deed)>,
    /// When the last commit began that has not reached the disk, and the last one that has.
    committing: Option<usize>,
    committed: usize,
    /// When the last envelope or message had its name, and the last file of a batch on a shelf.
    delivered: usize,
    shelved: usize,
    commits: usize,
    faults: BTreeSet<String>,
}

impl Disk {
    /// The disk after a run, judged on the way.
    fn after(root: &Path, there: BTreeSet<PathBuf>, moments: &[Moment]) -> Self {
        let mut disk = Self { root: root.to_owned(), there, ..Self::default() };
        for moment in moments {
            disk.now += 1;
            match moment {
                Moment::Begins(call, deed) if disk.concerns(deed) => {
                    disk.judge(deed);
                    disk.open.insert(*call, (disk.now, deed.clone()));
                    disk.begin(deed);
                }
                Moment::Begins(..) => {}
                Moment::Ends(call) => {
                    if let Some((begun, deed)) = disk.open.remove(call) {
                        disk.end(begun, deed);
                    }
                }
            }
        }
        disk.all_is_safe("at the end");
        disk.all_is_committed("at the end");
        disk
    }

    fn concerns(&self, deed: &Deed) -> bool {
        match deed {
            Deed::Opens(path)
            | Deed::Writes(path)
            | Deed::MakesDirectory(path)
            | Deed::Names { to: path, .. }
            | Deed::Removes(path)
            | Deed::Syncs(path)
            | Deed::SyncsAll(path) => path.starts_with(&self.root),
            Deed::Says(_) => true,
        }
    }

    /// Below which place it lies.
    fn place(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(Path::new(""));
        below.iter().next().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn is_delivery(&self, path: &Path) -> bool {
        DESTINATIONS.contains(&self.place(path).as_str()) && is_final(path) && end_is(path, ".json")
    }

    /// What the next run writes over unless the ledger knows of it: it may be torn until the ledger does.
    fn is_written_again(&self, path: &Path) -> bool {
        let is_aside = path.parent().is_some_and(|dir| dir.ends_with("held") || dir.ends_with("quarantine"));
        is_aside || is_named(path, "connector.json")
    }

    fn wrong(&mut self, what: String) {
        self.faults.insert(what.replace(&format!("{}/", self.root.display()), ""));
    }

    /// Nothing that was written so far would be gone after a power cut.
    fn all_is_safe(&mut self, when: &str) {
        let unsafe_ones: Vec<String> = (self.unsynced.keys().map(|path| format!("the content of {}", path.display())))
            .chain(self.unsynced_names.keys().map(|path| format!("the name {}", path.display())))
            .collect();
        for what in unsafe_ones {
            self.wrong(format!("{what} is not durable {when}"));
        }
    }

    fn all_is_committed(&mut self, when: &str) {
        if self.committing.is_some() {
            self.wrong(format!("a commit of the ledger is not durable {when}"));
        }
    }

    /// Holds the laws against what begins now.
    fn judge(&mut self, deed: &Deed) {
        match deed {
            Deed::Writes(path) if is_named(path, LEDGER) => self.all_is_safe("as the ledger commits"),
            Deed::Names { from, to } => self.judge_name(from, to),
            Deed::Removes(path) if is_final(path) && !is_own(path) => self.judge_removal(path),
            Deed::Says(text) if text.contains("SAFE TO REMOVE") => {
                self.all_is_safe("as the medium may leave");
                self.all_is_committed("as the medium may leave");
                if self.committed < self.shelved {
                    self.wrong("the medium may leave before it is noted what was carried".to_owned());
                }
            }
            _ => {}
        }
    }

    fn judge_name(&mut self, from: &Path, to: &Path) {
        if self.unsynced.contains_key(from) && !self.is_written_again(to) {
            self.wrong(format!("{} has its name before its content is durable", to.display()));
        }
        let written = self.written.get(from).copied().unwrap_or_default();
        if self.is_delivery(to) && !is_named(to, "connector.json") && self.committed < written {
            self.wrong(format!("{} has its name before the ledger notes that it is placed", to.display()));
        }
        if end_is(to, ".manifest") {
            let beside: Vec<PathBuf> =
                self.unsynced_names.keys().filter(|n| *n != from && n.parent() == to.parent()).cloned().collect();
            for name in beside {
                self.wrong(format!("{} has its name before that of {} is durable", to.display(), name.display()));
            }
        }
        let is_signed = end_is(to, ".manifest") || end_is(to, ".sig");
        if is_signed && to.parent().is_some_and(|dir| dir.ends_with("exporter/outbox")) && self.committed < self.shelved
        {
            self.wrong(format!("{} is shown before its batch is sealed", to.display()));
        }
    }

    fn judge_removal(&mut self, path: &Path) {
        self.all_is_safe(&format!("as {} is removed", path.display()));
        self.all_is_committed(&format!("as {} is removed", path.display()));
        if self.committed < self.delivered {
            self.wrong(format!("{} is removed before the ledger says what was delivered", path.display()));
        }
    }

    /// From its beginning on, what is written may be half there.
    fn begin(&mut self, deed: &Deed) {
        match deed {
            Deed::Writes(path) if is_named(path, LEDGER) => {
                self.committing.get_or_insert(self.now);
            }
            Deed::Writes(path) => self.write(path),
            _ => {}
        }
    }

    fn write(&mut self, path: &Path) {
        if !is_own(path) {
            self.unsynced.insert(path.to_owned(), self.now);
            self.written.insert(path.to_owned(), self.now);
        }
    }

    fn end(&mut self, begun: usize, deed: Deed) {
        match deed {
            Deed::Opens(path) | Deed::MakesDirectory(path) => {
                if !is_own(&path) && self.there.insert(path.clone()) {
                    self.unsynced_names.insert(path, self.now);
                }
            }
            Deed::Writes(path) => {
                if !is_named(&path, LEDGER) {
                    self.write(&path);
                }
            }
            Deed::Names { from, to } => self.name(&from, to),
            Deed::Removes(path) => self.forget(&path),
            Deed::Syncs(path) if is_named(&path, LEDGER) => {
                if let Some(at) = self.committing.filter(|at| *at < begun) {
                    (self.committed, self.committing) = (at, None);
                    self.commits += 1;
                }
            }
            Deed::Syncs(path) => {
                self.unsynced.retain(|file, at| *file != path || *at > begun);
                self.unsynced_names.retain(|name, at| name.parent() != Some(&path) || *at > begun);
            }
            Deed::SyncsAll(path) => {
                let place = self.root.join(self.place(&path));
                self.unsynced.retain(|file, at| !file.starts_with(&place) || *at > begun);
                self.unsynced_names.retain(|name, at| !name.starts_with(&place) || *at > begun);
            }
            Deed::Says(_) => {}
        }
    }

    fn name(&mut self, from: &Path, to: PathBuf) {
        let (unsynced, written) = (self.unsynced.get(from).copied(), self.written.get(from).copied());
        self.forget(from);
        self.unsynced.extend(unsynced.map(|at| (to.clone(), at)));
        self.written.extend(written.map(|at| (to.clone(), at)));
        if self.is_delivery(&to) {
            self.delivered = self.now;
        }
        if end_is(&to, ".zst") {
            self.shelved = self.now;
        }
        self.there.insert(to.clone());
        self.unsynced_names.insert(to, self.now);
    }

    fn forget(&mut self, path: &Path) {
        self.there.remove(path);
        self.unsynced.remove(path);
        self.unsynced_names.remove(path);
        self.written.remove(path);
    }
}

fn is_named(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|n| n == name)
}

fn is_own(path: &Path) -> bool {
    OWN.iter().any(|name| is_named(path, name))
}

fn end_is(path: &Path, end: &str) -> bool {
    path.to_string_lossy().ends_with(end)
}

fn is_final(path: &Path) -> bool {
    !end_is(path, ".partial")
}

/// Runs a command and holds the laws against all that it does; gives how often its ledger committed.
#[track_caller]
fn commits_of(journey: &impl Journey, command: &Command, statuses: &[i32]) -> usize {
    let root = journey.scene().world.dir.path().canonicalize().unwrap();
    let there = walkdir::WalkDir::new(&root).into_iter().map(|e| e.unwrap().into_path()).collect();
    let (run, moments) = moments_of(command);
    assert!(statuses.iter().any(|s| run.status == Some(*s)), "{run:#?}");
    let disk = Disk::after(&root, there, &moments);
    assert!(disk.faults.is_empty(), "{:#?}\nin {}", disk.faults, told(&moments));
    disk.commits
}

fn told(moments: &[Moment]) -> String {
    moments.iter().map(|moment| format!("{moment:?}\n")).collect()
}

#[test]
fn a_power_cut_during_keygen_leaves_a_whole_key_or_none() {
    let keygen = Keygen::new();
    assert_eq!(commits_of(&keygen, &keygen.first(), &[0]), 0);
}

#[test]
fn a_power_cut_during_pack_leaves_every_sealed_batch_whole() {
    for is_first in [true, false] {
        let pack = Pack::new(Extent::Short, is_first);
        assert!(commits_of(&pack, &pack.first(), &[3]) >= 2, "sealed, then packed");
    }
}

#[test]
fn a_power_cut_during_carry_leaves_every_batch_with_a_manifest_whole() {
    let carry = Carry::new(Extent::Short);
    assert!(commits_of(&carry, &carry.first(), &[0]) >= 1);
}

#[test]
fn a_power_cut_during_import_loses_no_envelope_that_the_ledger_calls_delivered() {
    let import = Import::new(Extent::Short);
    assert!(commits_of(&import, &import.first(), &[3]) >= 4, "taken, noted, delivered, and again for the next batch");
    let import = Import::many(40).with_threads("2");
    assert!(commits_of(&import, &import.first(), &[3]) >= 3);
}

#[test]
fn a_power_cut_during_import_loses_no_message_that_the_ledger_calls_delivered() {
    let spool = Spool::new(Extent::Short);
    assert!(commits_of(&spool, &spool.first(), &[3]) >= 3);
}

#[test]
fn a_power_cut_after_a_release_loses_nothing_that_was_set_aside() {
    let release = Release::new(Extent::Short);
    assert!(commits_of(&release, &release.first(), &[0]) >= 2);
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
    Disk::after(Path::new("/w"), BTreeSet::new(), &read(&lines, Path::new("/w"))).faults
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
fn a_sync_that_fails_or_begins_before_the_bytes_are_written_is_none() {
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
