//! Two sites, a source, a medium and a trust store in a temporary directory, and words to use them with.

#![allow(dead_code, reason = "each test module uses some of these words")]

// The other test binaries include this file by its path, and then rustc would look for these beside it.
#[path = "support/documents.rs"]
mod documents;
#[path = "support/envelopes.rs"]
mod envelopes;
#[path = "support/mount.rs"]
mod mount;
#[path = "support/run.rs"]
mod run;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airpouch::trust::PrivateKey;
use serde_json::Value;

#[allow(unused_imports, reason = "each test binary uses some of these words")]
pub use self::{
    envelopes::{APPLICANT, envelope, envelope_with, noise},
    run::{Run, Unjudged, ended, finish, output},
};

pub const HOUR: Duration = Duration::from_secs(3_600);
/// The seed of the key that signs.
pub const SEED: [u8; 32] = [7; 32];

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

    pub fn run<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Unjudged {
        finish(self.command().args(arguments))
    }

    pub fn pack(&self, more: &[&str]) -> Unjudged {
        self.run(["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"].iter().chain(more))
    }

    pub fn carry(&self, more: &[&str]) -> Unjudged {
        self.run(["carry", "medium", "--site", "exporter"].iter().chain(more))
    }

    /// Makes these envelopes, packs them and carries them, without repeats.
    pub fn send_new(&self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.made(name)));
        self.send(&["--no-overlap"]).exits(0);
    }

    /// Packs and carries.
    pub fn send(&self, more: &[&str]) -> Unjudged {
        self.run(["pack", "src", "medium", "--key", "keys/site-a.key.pem", "--site", "exporter"].iter().chain(more))
    }

    pub fn verify(&self, more: &[&str]) -> Unjudged {
        self.run(["verify", "medium", "--trust", "trust"].iter().chain(more))
    }

    pub fn import(&self, more: &[&str]) -> Unjudged {
        let mapped = format!("{APPLICANT}={APPLICANT}");
        let usual =
            ["import", "medium", "--to", "dir:out", "--trust", "trust", "--site", "importer", "--applicant", &mapped];
        self.run(usual.iter().chain(more))
    }

    /// Goes on from the inbox, without a medium.
    pub fn import_inbox(&self, more: &[&str]) -> Unjudged {
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

    /// The same, without their names.
    pub fn delivered_bytes(&self) -> Vec<Vec<u8>> {
        self.delivered().into_iter().map(|(_, bytes)| bytes).collect()
    }

    /// The manifests in a directory, by name: their bytes and what they say.
    pub fn manifests(&self, dir: &str) -> Vec<(Vec<u8>, Value)> {
        let found = files(&self.path(dir)).into_iter().filter(|(name, _)| name.ends_with(".manifest"));
        found.map(|(_, bytes)| (bytes.clone(), serde_json::from_slice(&bytes).unwrap())).collect()
    }

    /// The exporter's newest stream.
    pub fn stream(&self) -> String {
        let status = self.run(["status", "--site", "exporter", "--json"]).exits(0).json();
        status["report"]["streams"].as_array().unwrap().last().unwrap()["stream"].as_str().unwrap().to_owned()
    }

    /// A shell script in this world's directory, in which `$A` is the program.
    pub fn sh(&self, script: &str) -> Unjudged {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(self.dir.path()).env("A", env!("CARGO_BIN_EXE_airpouch"));
        finish(command.env("XDG_STATE_HOME", self.path("state")))
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
