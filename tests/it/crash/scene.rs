//! A world that can be set back, and what is judged in it after a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use airpouch::digest::Digest;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{APPLICANT, SEED, Unjudged, World, envelope, envelope_with, files};

/// An applicant that nobody is mapped to.
pub const STRANGER: &str = "5f2b8e4c-9d31-4a6b-8a59-2f6f5f0c7b11";

/// A world in memory where there is one, so that thousands of faults do not wear out a disk; and how it was before.
pub struct Scene {
    pub world: World,
    saved: tempfile::TempDir,
}

impl Scene {
    pub fn new() -> Self {
        let mut world = World::new();
        world.dir = in_memory();
        for dir in ["src", "medium", "trust", "keys"] {
            fs::create_dir(world.path(dir)).unwrap();
        }
        world.key("site-a", SEED);
        Self { world, saved: in_memory() }
    }

    /// From here every fault begins.
    pub fn save(&self) {
        copy_all(self.world.dir.path(), self.saved.path());
    }

    pub fn set_back(&self) {
        empty(self.world.dir.path());
        copy_all(self.saved.path(), self.world.dir.path());
    }

    /// The program; the loader is not sent through the directories that cargo names.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command();
        command.env_remove("LD_LIBRARY_PATH");
        command.args(arguments);
        command
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.world.path(name)
    }

    pub fn run(&self, arguments: &[&str]) -> Unjudged {
        self.world.run(arguments)
    }

    /// The journal holds, and has an event of this kind for each number that the ledger gives, as often as it gives it.
    #[track_caller]
    pub fn each_deed_is_in_the_journal(&self, site: &str, event: &str, sql: &str) {
        self.run(&["audit", "--site", site]).exits(0);
        assert_eq!(ledger_rows::<i64>(&self.path(site), "SELECT id FROM noted"), Vec::<Vec<i64>>::new());
        let text = fs::read_to_string(self.path(site).join("journal.jsonl")).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let begins = lines.iter().filter(|line| line["event"] == "journal-opened").count();
        assert!(begins == 1 && lines[0]["event"] == "journal-opened", "the journal begins once");
        let mut numbers = Vec::new();
        for line in lines.iter().filter(|line| line["event"] == event) {
            let batches = line["batches"].as_array().cloned().unwrap_or_else(|| vec![line.clone()]);
            numbers.extend(batches.iter().map(|batch| vec![batch["sequence"].as_i64().unwrap()]));
        }
        let mut known = ledger_rows::<i64>(&self.path(site), sql);
        // What comes late is taken and delivered late.
        numbers.sort_unstable();
        known.sort_unstable();
        assert_eq!(numbers, known, "{event} in the journal, and what the ledger has");
    }
}

fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).unwrap()
}

pub fn empty(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() { fs::remove_dir_all(&entry).unwrap() } else { fs::remove_file(&entry).unwrap() }
    }
}

/// Copies a directory with modes and times.
pub fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(|e| e.unwrap()) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            fs::create_dir_all(&to).unwrap();
            fs::set_permissions(&to, metadata.permissions()).unwrap();
            copy_all(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
            fs::File::options().write(true).open(&to).unwrap().set_modified(metadata.modified().unwrap()).unwrap();
        }
    }
}

/// Which permissions a file has.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The names in a directory that end so.
pub fn names_ending(dir: &Path, end: &str) -> Vec<String> {
    files(dir).into_iter().map(|(name, _)| name).filter(|n| n.ends_with(end)).collect()
}

/// Asserts that nothing half-written lies in any of these directories or below them.
#[track_caller]
pub fn no_partials(root: &Path) {
    let left: Vec<PathBuf> = walkdir::WalkDir::new(root)
        .into_iter()
        .map(|e| e.unwrap().into_path())
        .filter(|p| p.extension().is_some_and(|e| e == "partial"))
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new(), "half-written files are left");
}

/// One column of the ledger of a site as the next run would see it, read from a copy; none where there is no table yet.
pub fn ledger_rows<T: rusqlite::types::FromSql>(site: &Path, sql: &str) -> Vec<Vec<T>> {
    let copy = in_memory();
    for name in ["ledger.db", "ledger.db-wal"] {
        if site.join(name).exists() {
            fs::copy(site.join(name), copy.path().join(name)).unwrap();
        }
    }
    if !copy.path().join("ledger.db").exists() {
        return Vec::new();
    }
    let ledger = Connection::open(copy.path().join("ledger.db")).unwrap();
    let Ok(mut query) = ledger.prepare(sql) else { return Vec::new() };
    let columns = query.column_count();
    let rows = query.query_map([], |row| (0..columns).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<T>>>());
    rows.unwrap().map(|r| r.unwrap()).collect()
}

/// Every number with every digest that was ever seen under it: in the ledger, and under a final name on a shelf.
#[derive(Debug, Default, Clone)]
pub struct Issued(BTreeMap<(String, u64), BTreeSet<String>>);

impl Issued {
    pub fn look(&mut self, site: &Path, shelves: &[&Path]) {
        for row in ledger_rows::<Vec<u8>>(site, "SELECT manifest FROM packed_batch") {
            self.note(&row[0]);
        }
        for shelf in shelves {
            for (name, bytes) in files(shelf) {
                if name.ends_with(".manifest") {
                    self.note(&bytes);
                }
            }
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        let manifest: Value = serde_json::from_slice(bytes).expect("a manifest is whole under its final name");
        let number = (manifest["stream"].as_str().unwrap().to_owned(), manifest["sequence"].as_u64().unwrap());
        self.0.entry(number).or_default().insert(Digest::of(bytes).to_string());
    }

    #[track_caller]
    pub fn each_number_has_one_digest(&self) {
        for (number, digests) in &self.0 {
            assert_eq!(digests.len(), 1, "{number:?} was given to two batches: {digests:?}");
        }
    }

    /// The numbers that were given out, of a single stream.
    #[track_caller]
    pub fn numbers(&self) -> Vec<u64> {
        let streams: BTreeSet<&String> = self.0.keys().map(|(stream, _)| stream).collect();
        assert!(streams.len() <= 1, "more than one stream was begun: {streams:?}");
        self.0.keys().map(|(_, number)| *number).collect()
    }
}

/// The digests of the envelopes on a shelf, by number and in order, out of the indexes themselves.
pub fn envelopes_on(shelf: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for name in names_ending(shelf, ".index.zst") {
        let text = zstd::decode_all(fs::read(shelf.join(&name)).unwrap().as_slice()).unwrap();
        for line in String::from_utf8(text).unwrap().lines().skip(1) {
            let line: Value = serde_json::from_str(line).unwrap();
            out.push(line["sha256"].as_str().unwrap().to_owned());
        }
    }
    out
}

/// What becomes of an envelope on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Delivered,
    Held,
    Quarantined,
    /// It holds nothing that the stock connector could import.
    Nothing,
    /// Held for its type; it turns out to hold nothing once that type may cross.
    HeldOfNothing,
}

/// Envelopes of each fate, put into the source directory; what is to become of each digest.
pub fn put_envelopes(world: &World, count: usize, padding: usize) -> BTreeMap<String, Fate> {
    let mut fates = BTreeMap::new();
    for at in 0..count {
        let name = format!("{at:04}.json");
        let nothing = json!({"type": "bundle", "id": "bundle--1", "objects": []});
        let stream = json!({"id": "s", "name": "Stream", "type": "STREAM", "scope": "", "auto": false,
            "validate_before_import": false});
        let (fate, fields) = match at % 6 {
            2 => (Fate::Quarantined, json!({"bundle": command(&name)})),
            3 => (Fate::Held, json!({"applicant_id": STRANGER})),
            4 => (Fate::Nothing, json!({"bundle": nothing, "note": name})),
            5 => (Fate::HeldOfNothing, json!({"bundle": nothing, "connector": stream, "note": name})),
            _ => (Fate::Delivered, json!({})),
        };
        let mut bytes = envelope_with(&name, fields);
        // White space is part of an envelope's bytes, and of nothing that it says.
        bytes.resize(bytes.len() + padding, b' ');
        world.put(&name, &bytes);
        fates.insert(Digest::of(&bytes).to_string(), fate);
    }
    fates
}

fn command(name: &str) -> Value {
    let mut bundle: Value = serde_json::from_slice::<Value>(&envelope(name)).unwrap()["bundle"].take();
    bundle["objects"][0]["opencti_operation"] = json!("delete");
    bundle
}

/// What the stock connector has taken out of the directory, in the order in which it took it.
#[derive(Debug, Default, Clone)]
pub struct Eaten(Vec<(i64, String)>);

impl Eaten {
    /// Takes all that is there, oldest first, as `diode_import.py` does.
    pub fn eat(&mut self, dir: &Path) {
        let mut meal: Vec<(i64, PathBuf)> = Vec::new();
        for name in names_ending(dir, ".json") {
            let path = dir.join(name);
            let metadata = fs::metadata(&path).unwrap();
            meal.push((metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(), path));
        }
        meal.sort();
        for (mtime, path) in meal {
            self.0.push((mtime, Digest::of(&fs::read(&path).unwrap()).to_string()));
            fs::remove_file(path).unwrap();
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each once, and each with a later time than the one before: the connector passes over what is not newer.
    #[track_caller]
    pub fn holds_each_once(&self, expected: impl Iterator<Item = String>) {
        let expected: BTreeSet<String> = expected.collect();
        let eaten: BTreeSet<String> = self.0.iter().map(|(_, digest)| digest.clone()).collect();
        let lost: Vec<_> = expected.difference(&eaten).collect();
        let strange: Vec<_> = eaten.difference(&expected).collect();
        assert!(lost.is_empty(), "lost {}: {lost:?}", lost.len());
        assert!(strange.is_empty(), "delivered, and not to be: {strange:?}");
        assert_eq!(self.0.len(), eaten.len(), "delivered twice: {:?}", self.0);
        self.is_in_order();
    }

    #[track_caller]
    pub fn is_in_order(&self) {
        assert!(self.0.windows(2).all(|two| two[0].0 < two[1].0), "the connector would pass over some: {:?}", self.0);
    }
}

/// Asserts that exactly these lie in held/ or quarantine/, each with its reason, and every byte as it crossed; but for those
/// that the ledger says lie in the inbox alone, since they could not be copied.
#[track_caller]
pub fn aside_is(dir: &Path, expected: &[String]) {
    let site = dir.parent().unwrap();
    let kept = ledger_rows::<String>(site, "SELECT lower(hex(sha256)) FROM set_aside WHERE copied = 0").concat();
    let mut names = BTreeSet::new();
    for digest in expected.iter().filter(|digest| !kept.contains(digest)) {
        names.insert(format!("{digest}.json"));
        names.insert(format!("{digest}.reason.json"));
    }
    let there = files(dir);
    let found: BTreeSet<String> = there.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(found, names, "in {}", dir.display());
    for (name, bytes) in there {
        if let Some(digest) = name.strip_suffix(".reason.json") {
            let reason: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(reason["sha256"], digest);
        } else {
            assert_eq!(Digest::of(&bytes).to_string(), name.strip_suffix(".json").unwrap());
        }
    }
}

/// The words that map the usual applicant.
pub fn mapped() -> String {
    format!("{APPLICANT}={APPLICANT}")
}
