//! Two sites, a source, a medium and a trust store in a temporary directory, and words to use them with.

#![allow(dead_code, reason = "each test module uses some of these words")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airpouch::trust::PrivateKey;
use serde_json::{Value, json};

/// In whose name the made envelopes are.
pub const APPLICANT: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
pub const HOUR: Duration = Duration::from_secs(3_600);
/// The seed of the key that signs.
pub const SEED: [u8; 32] = [7; 32];

/// What one run said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(output: &Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Both streams, one after the other.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.said().contains(words), "{words:?} was not said: {self:#?}");
        self
    }

    #[track_caller]
    pub fn says_nothing_of(self, words: &str) -> Self {
        assert!(!self.said().contains(words), "{words:?} was said: {self:#?}");
        self
    }

    /// The report of a run with `--json`.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

/// A temporary world with both sides.
pub struct World {
    pub dir: tempfile::TempDir,
    clock: std::cell::Cell<u64>,
}

impl World {
    pub fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap(), clock: std::cell::Cell::new(1_750_000_000) };
        for dir in ["src", "medium", "trust", "keys"] {
            fs::create_dir(world.path(dir)).unwrap();
        }
        world.key("site-a", SEED);
        world
    }

    /// A key pair of this seed: the private half in keys/, the public one in trust/.
    pub fn key(&self, name: &str, seed: [u8; 32]) -> PathBuf {
        let key = PrivateKey::from_seed(seed);
        let path = self.path("keys").join(format!("{name}.key.pem"));
        write_private(&path, key.to_pem().as_bytes());
        fs::write(self.path("trust").join(format!("{name}.pub.pem")), key.public().to_pem()).unwrap();
        path
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn source(&self) -> PathBuf {
        self.path("src")
    }

    pub fn medium(&self) -> PathBuf {
        self.path("medium")
    }

    /// Puts bytes into the source directory, a minute after what was put before.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.source().join(name);
        fs::write(&path, bytes).unwrap();
        self.clock.set(self.clock.get() + 60);
        set_mtime(&path, self.clock.get());
        path
    }

    /// A made-up envelope with one indicator.
    pub fn made(&self, name: &str) -> PathBuf {
        self.put(name, &envelope(name))
    }

    /// The program, in this world's directory, with no setting of the person who runs the test.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_airpouch"));
        command.current_dir(self.dir.path()).stdin(Stdio::null()).env("XDG_STATE_HOME", self.path("state"));
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("AIRPOUCH_")) {
            command.env_remove(name);
        }
        command
    }

    #[must_use]
    pub fn run<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Run {
        finish(self.command().args(arguments))
    }

    #[must_use]
    pub fn pack(&self, more: &[&str]) -> Run {
        self.run(["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"].iter().chain(more))
    }

    #[must_use]
    pub fn carry(&self, more: &[&str]) -> Run {
        self.run(["carry", "medium", "--site", "exporter"].iter().chain(more))
    }

    /// Packs and carries.
    #[must_use]
    pub fn send(&self, more: &[&str]) -> Run {
        self.run(["pack", "src", "medium", "--key", "keys/site-a.key.pem", "--site", "exporter"].iter().chain(more))
    }

    #[must_use]
    pub fn verify(&self, more: &[&str]) -> Run {
        self.run(["verify", "medium", "--trust", "trust"].iter().chain(more))
    }

    #[must_use]
    pub fn import(&self, more: &[&str]) -> Run {
        let mapped = format!("{APPLICANT}={APPLICANT}");
        let usual =
            ["import", "medium", "--to", "dir:out", "--trust", "trust", "--site", "importer", "--applicant", &mapped];
        self.run(usual.iter().chain(more))
    }

    /// Goes on from the inbox, without a medium.
    #[must_use]
    pub fn import_inbox(&self, more: &[&str]) -> Run {
        let mapped = format!("{APPLICANT}={APPLICANT}");
        let usual = ["import", "--to", "dir:out", "--trust", "trust", "--site", "importer", "--applicant", &mapped];
        self.run(usual.iter().chain(more))
    }

    /// The envelopes that were delivered, in the order in which the stock connector takes them.
    pub fn delivered(&self) -> Vec<(String, Vec<u8>)> {
        let out = self.path("out");
        let mut found: Vec<_> = files(&out).into_iter().filter(|(name, _)| name.ends_with(".json")).collect();
        found.sort_by_key(|(name, _)| fs::metadata(out.join(name)).unwrap().modified().unwrap());
        found
    }

    /// Moves what the importer's ledger keeps of the last time that it gave a file, as if the clock had gone back since.
    pub fn last_time_is_later_by(&self, by: Duration) -> SystemTime {
        let ledger = rusqlite::Connection::open(self.path("importer/ledger.db")).unwrap();
        let sql = "UPDATE meta SET value = CAST(value AS INTEGER) + ?1 WHERE key = 'high_water_dir' RETURNING value";
        let nanos: i64 = ledger
            .query_row(sql, [by.as_nanos() as i64], |row| Ok(row.get::<_, String>(0)?.parse().unwrap()))
            .expect("one row is changed");
        UNIX_EPOCH + Duration::from_nanos(nanos as u64)
    }

    /// The first file on the medium whose name ends so.
    #[track_caller]
    pub fn on_medium(&self, end: &str) -> PathBuf {
        let found = files(&self.medium()).into_iter().find(|(name, _)| name.ends_with(end));
        self.medium().join(found.unwrap_or_else(|| panic!("no {end} on the medium")).0)
    }
}

/// An envelope as pycti writes it, with one indicator of this name.
pub fn envelope(name: &str) -> Vec<u8> {
    envelope_with(name, json!({}))
}

/// Some bytes that do not compress below half of their number.
pub fn noise(name: &str, bytes: usize) -> Vec<u8> {
    let text: String =
        (0..bytes / 64).map(|n| airpouch::digest::Digest::of(format!("{name}/{n}").as_bytes()).to_string()).collect();
    envelope_with(name, json!({"update": text}))
}

/// The same, with fields of the envelope replaced.
pub fn envelope_with(name: &str, fields: Value) -> Vec<u8> {
    let id = airpouch::digest::Digest::of(name.as_bytes()).to_string();
    let uuid = format!("{}-{}-4{}-8{}-{}", &id[..8], &id[8..12], &id[13..16], &id[17..20], &id[20..32]);
    let mut envelope = json!({
        "bundle_type": "DIRECTORY_BUNDLE",
        "applicant_id": APPLICANT,
        "connector": {"id": "43509aab-0310-5f8d-9395-81f36f6d064a", "name": "Example Feed", "type": "EXTERNAL_IMPORT",
            "scope": "indicator,report", "auto": false, "validate_before_import": false},
        "entities_types": null,
        "bundle": {"type": "bundle", "id": format!("bundle--{uuid}"), "objects": [{
            "type": "indicator", "spec_version": "2.1", "id": format!("indicator--{uuid}"),
            "created": "2025-06-15T12:00:00.000Z", "modified": "2025-06-15T12:00:00.000Z", "name": name,
            "pattern": format!("[domain-name:value = '{name}.example']"), "pattern_type": "stix", "valid_from": "2025-06-15T12:00:00.000Z"}]},
        "update": false,
    });
    for (key, value) in fields.as_object().unwrap() {
        envelope[key] = value.clone();
    }
    serde_json::to_vec(&envelope).unwrap()
}

#[must_use]
pub fn finish(command: &mut Command) -> Run {
    Run::of(&command.output().unwrap())
}

/// Regular files of a directory with their bytes, by name; none if it is not there.
pub fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .map(|e| e.unwrap())
        .filter(|e| e.file_type().unwrap().is_file())
        .map(|e| (e.file_name().to_string_lossy().into_owned(), fs::read(e.path()).unwrap()))
        .collect();
    files.sort();
    files
}

pub fn set_mtime(path: &Path, seconds: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

fn write_private(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// Whether a program is on the path. `tests/run` installs all that are asked for; a test that lacks one fails.
pub fn has(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|o| o.status.success())
}
