//! What may rely on what: the calls of a run, held against a disk that loses everything which was not synced.
//!
//! A disk is taken for the worst that there is: bytes and times of a file are safe after a sync of it, a name after a sync
//! of its directory, both after one of their file system; and each place (site, medium, destination) is a file system of its
//! own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::recorded::{Deed, Moment, moments_of};
use crate::support::Run;

/// The files that SQLite and the lock keep for themselves: they are judged by when they are synced. On `examining` nothing
/// rests: it is there for the death of a process, and is never synced.
const OWN: [&str; 5] = ["ledger.db", "ledger.db-wal", "ledger.db-shm", "lock", "examining"];
const LEDGER: &str = "ledger.db-wal";
/// What a drain has to remember before it sends anything.
const MEMORY: &str = ".drain.json";
/// Where envelopes and messages are delivered.
const DESTINATIONS: [&str; 2] = ["out", "spool"];

/// A disk as a power cut would leave it, and what is wrong with it at a moment.
#[derive(Default)]
pub struct Disk {
    /// Where the places lie.
    root: PathBuf,
    now: usize,
    there: BTreeSet<PathBuf>,
    /// When the bytes of a file were written last; until they are synced.
    unsynced: BTreeMap<PathBuf, usize>,
    /// When a name was given; until its directory is synced.
    unsynced_names: BTreeMap<PathBuf, usize>,
    /// When a message was taken out of the spool; until its directory is synced.
    unsynced_removals: BTreeMap<PathBuf, usize>,
    written: BTreeMap<PathBuf, usize>,
    /// Calls that have begun.
    open: BTreeMap<usize, (usize, Deed)>,
    /// When the last commit began that has not reached the disk, and the last one that has.
    committing: Option<usize>,
    committed: usize,
    /// The site whose ledger it is.
    site: String,
    /// Destinations that the run has not come to: what a dead run left there is in nobody's way before.
    asleep: BTreeSet<String>,
    /// When the last envelope or message had its name, and the last file of a batch on a shelf.
    delivered: usize,
    shelved: usize,
    pub commits: usize,
    pub faults: BTreeSet<String>,
}

impl Disk {
    /// The disk of these places, as they are now.
    pub fn of(root: &Path) -> Self {
        let root = root.canonicalize().unwrap();
        let there = walkdir::WalkDir::new(&root).into_iter().map(|e| e.unwrap().into_path()).collect();
        Self { root, there, ..Self::default() }
    }

    /// The disk after a run on nothing, judged on the way.
    pub fn after(root: &Path, moments: &[Moment]) -> Self {
        let mut disk = Self { root: root.to_owned(), ..Self::default() };
        disk.goes_through(moments);
        disk.is_whole_at_the_end();
        disk
    }

    /// Judges a run on the way.
    pub fn goes_through(&mut self, moments: &[Moment]) {
        for moment in moments {
            self.now += 1;
            match moment {
                Moment::Begins(call, deed) if self.concerns(deed) => {
                    self.wake(deed);
                    self.judge(deed);
                    self.open.insert(*call, (self.now, deed.clone()));
                    self.begin(deed);
                }
                Moment::Begins(..) => {}
                Moment::Ends(call) => {
                    if let Some((begun, deed)) = self.open.remove(call) {
                        self.end(begun, deed);
                    }
                }
            }
        }
    }

    /// The run was killed. What that has cut off is neither done nor undone: its bytes stay in doubt.
    fn is_killed(&mut self) {
        self.open.clear();
        self.asleep = DESTINATIONS.map(str::to_owned).into();
    }

    /// A run comes to a destination with the first thing that it changes there; before, it can only make it durable.
    fn wake(&mut self, deed: &Deed) {
        match deed {
            Deed::Opens(path) | Deed::Writes(path) | Deed::MakesDirectory(path) | Deed::Removes(path) => {
                self.asleep.remove(&self.place(path));
            }
            Deed::Names { to, .. } => drop(self.asleep.remove(&self.place(to))),
            Deed::Syncs(_) | Deed::SyncsAll(_) | Deed::Says(_) | Deed::Sends => {}
        }
    }

    pub fn is_whole_at_the_end(&mut self) {
        self.all_is_safe("at the end");
        self.all_is_committed("at the end");
        self.removals_are_safe("at the end");
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
            Deed::Says(_) | Deed::Sends => true,
        }
    }

    /// Below which place it lies.
    fn place(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(Path::new(""));
        below.iter().next().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn is_delivery(&self, path: &Path) -> bool {
        let is_in_one = DESTINATIONS.contains(&self.place(path).as_str());
        is_in_one && is_final(path) && end_is(path, ".json") && !is_named(path, MEMORY)
    }

    /// What the next run writes over unless the ledger knows of it: it may be torn until the ledger does.
    fn is_written_again(&self, path: &Path) -> bool {
        let is_aside = path.parent().is_some_and(|dir| dir.ends_with("held") || dir.ends_with("quarantine"));
        // One that replaces another takes that away from the messages which lie beside it.
        is_aside || is_named(path, "connector.json") && !self.there.contains(path)
    }

    /// A message that was taken out of the spool, for the broker has it.
    fn is_message(&self, path: &Path) -> bool {
        self.place(path) == "spool" && self.is_delivery(path) && !is_named(path, "connector.json")
    }

    fn wrong(&mut self, what: String) {
        self.faults.insert(what.replace(&format!("{}/", self.root.display()), ""));
    }

    /// Nothing that was written so far would be gone after a power cut.
    fn all_is_safe(&mut self, when: &str) {
        let counts = |path: &&PathBuf| !self.asleep.contains(&self.place(path));
        let contents = self.unsynced.keys().filter(counts).map(|path| format!("the content of {}", path.display()));
        let names = self.unsynced_names.keys().filter(counts).map(|path| format!("the name {}", path.display()));
        let unsafe_ones: Vec<String> = contents.chain(names).collect();
        for what in unsafe_ones {
            self.wrong(format!("{what} is not durable {when}"));
        }
    }

    fn removals_are_safe(&mut self, when: &str) {
        let unsafe_ones: Vec<PathBuf> = self.unsynced_removals.keys().cloned().collect();
        for path in unsafe_ones {
            self.wrong(format!("that {} is taken out is not durable {when}", path.display()));
        }
    }

    /// Before anything is sent a drain has noted that it is sent.
    fn judge_sending(&mut self) {
        let memory = |path: &&PathBuf| is_named(path, MEMORY);
        if self.unsynced.keys().chain(self.unsynced_names.keys()).any(|path| memory(&path)) {
            self.wrong("something is sent before it is noted that it is sent".to_owned());
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
            Deed::Sends => self.judge_sending(),
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
        if is_named(to, MEMORY) {
            self.removals_are_safe("as the drain says what is sent");
        }
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
        // A dead run left it, and nothing can rest on what a power cut would take away.
        if self.unsynced.contains_key(path) || self.unsynced_names.contains_key(path) {
            return;
        }
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
                self.site = self.place(path);
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
            Deed::Removes(path) => {
                if self.is_message(&path) {
                    self.unsynced_removals.insert(path.clone(), self.now);
                }
                self.forget(&path);
            }
            Deed::Syncs(path) if is_named(&path, LEDGER) => self.commit(begun),
            Deed::Syncs(path) => {
                self.unsynced.retain(|file, at| *file != path || *at > begun);
                self.unsynced_names.retain(|name, at| name.parent() != Some(&path) || *at > begun);
                self.unsynced_removals.retain(|name, at| name.parent() != Some(&path) || *at > begun);
            }
            Deed::SyncsAll(path) => {
                if self.place(&path) == self.site {
                    self.commit(begun);
                }
                let place = self.root.join(self.place(&path));
                self.unsynced.retain(|file, at| !file.starts_with(&place) || *at > begun);
                self.unsynced_names.retain(|name, at| !name.starts_with(&place) || *at > begun);
                self.unsynced_removals.retain(|name, at| !name.starts_with(&place) || *at > begun);
            }
            Deed::Says(_) | Deed::Sends => {}
        }
    }

    /// The ledger was synced: by a sync that began then.
    fn commit(&mut self, begun: usize) {
        if let Some(at) = self.committing.filter(|at| *at < begun) {
            (self.committed, self.committing) = (at, None);
            self.commits += 1;
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

/// Runs a command below `root` and holds the laws against all that it does; gives how often its ledger committed.
#[track_caller]
pub fn commits_of(root: &Path, command: &Command, statuses: &[i32]) -> usize {
    let mut disk = Disk::of(root);
    let (run, moments) = moments_of(command, &[]);
    run.exits_one_of(statuses);
    disk.goes_through(&moments);
    disk.is_whole_at_the_end();
    disk.has_no_fault(&moments);
    disk.commits
}

/// Runs a command that is killed at a call, and then to its end, on one disk. Gives the first run, if it was not killed,
/// for it makes fewer than so many of these calls.
#[track_caller]
pub fn after_a_kill(root: &Path, command: &Command, at: (&str, usize), statuses: &[i32]) -> Option<Run> {
    let mut disk = Disk::of(root);
    let kill = format!("inject={}:signal=KILL:when={}", at.0, at.1);
    let (killed, moments) = moments_of(command, &["-e", &kill]);
    if !killed.was_killed() {
        return Some(killed.exits_one_of(statuses));
    }
    disk.goes_through(&moments);
    disk.has_no_fault(&moments);
    disk.is_killed();
    let (run, moments) = moments_of(command, &[]);
    run.exits_one_of(statuses);
    disk.goes_through(&moments);
    disk.is_whole_at_the_end();
    disk.has_no_fault(&moments);
    None
}

impl Disk {
    #[track_caller]
    fn has_no_fault(&self, moments: &[Moment]) {
        let told: String = moments.iter().map(|moment| format!("{moment:?}\n")).collect();
        assert!(self.faults.is_empty(), "{:#?}\nin {told}", self.faults);
    }
}
