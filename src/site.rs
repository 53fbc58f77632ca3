//! One side's directory: where its settings, ledger, outbox or inbox and what was set aside lie.
//!
//! ```text
//! airpouch.toml  policy.toml  trust/  ledger.db  lock
//! pairings/                    see [`crate::pairing`]
//! journal.jsonl  journal.head  journal.key   see [`crate::journal`]
//! outbox/                      the exporter's
//! inbox/  held/  quarantine/   the importer's
//! indexes/                     the importer's: see [`crate::shelf::indexes`]
//! examining  suspects          the importer's: see [`crate::examining`]
//! ```

mod apart;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use crate::batch::name::partial;
use crate::disk::{self, LockWait, lock_file};
use crate::error::{Error, Result, belongs_to_another};
use crate::lack::Lack;
use crate::text;

pub use apart::{refuse_below, refuse_same};

/// A site's directory, which may not be there yet.
#[derive(Debug, Clone)]
pub struct Site {
    root: PathBuf,
}

/// Which side a site serves. A site has one role for its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It packs.
    Exporter,
    /// It imports.
    Importer,
}

impl Role {
    /// The word in the ledger and in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exporter => "exporter",
            Self::Importer => "importer",
        }
    }
}

/// How far a site has come with its ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// By what the ledger is known again.
    pub identity: String,
    /// How often work began or ended.
    pub count: u64,
    /// When it last did, for a person.
    pub at: String,
}

/// The file in which a site notes its [`Turn`].
const TURN: &str = "ledger.turn";

/// Holds the site for one run; the kernel lets go of it however the run ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held, never read")] File);

impl Site {
    /// The site in this directory.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the exporter keeps its batches.
    pub fn outbox(&self) -> PathBuf {
        self.root.join("outbox")
    }

    /// Where the importer keeps what it took.
    pub fn inbox(&self) -> PathBuf {
        self.root.join("inbox")
    }

    /// Where the importer keeps what delivered batches are looked up in.
    pub fn indexes(&self) -> PathBuf {
        self.root.join("indexes")
    }

    /// Where envelopes wait for a reason to go.
    pub fn held(&self) -> PathBuf {
        self.root.join("held")
    }

    /// Where envelopes lie that only a person releases.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// Its settings.
    pub fn settings(&self) -> PathBuf {
        self.root.join("airpouch.toml")
    }

    /// What may cross.
    pub fn policy(&self) -> PathBuf {
        self.root.join("policy.toml")
    }

    /// Its trust store, where none is named.
    pub fn trust(&self) -> PathBuf {
        self.root.join("trust")
    }

    /// The public keys of the officers who sign releases, where policy.toml names no other place.
    pub fn officers(&self) -> PathBuf {
        self.root.join("officers")
    }

    /// The keys that it shares with the other side, one file each.
    pub fn pairings(&self) -> PathBuf {
        self.root.join("pairings")
    }

    /// Its ledger.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger.db")
    }

    /// SQLite's log beside it: it is there while a run is at work, and after one that died.
    pub fn ledger_log(&self) -> PathBuf {
        self.root.join("ledger.db-wal")
    }

    /// Bytes that may still be written there.
    ///
    /// # Errors
    /// The system refused.
    pub fn free_space(&self) -> Result<u64> {
        disk::free_space(&self.root)
    }

    /// Makes all that was written there durable.
    ///
    /// # Errors
    /// The system refused.
    pub fn sync(&self) -> Result<()> {
        disk::sync_file_system(&self.root)
    }

    /// Whether a run of airpouch has made it.
    pub fn exists(&self) -> bool {
        self.ledger().exists()
    }

    /// What SQLite makes of a new ledger belongs to whom the site belongs; of an older one it keeps the owner itself.
    ///
    /// # Errors
    /// The system refused.
    pub fn keep_owner_of_ledger(&self) -> Result<()> {
        for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
            let path = self.root.join(name);
            disk::keep_owner_of(&path).map_err(|e| Error::io("open the ledger", &path, &e))?;
        }
        Ok(())
    }

    /// Makes what is missing of the directory. `true` if the site itself was made.
    ///
    /// # Errors
    /// The system refused, or no ledger may lie there.
    pub fn prepare(&self, role: Role) -> Result<bool> {
        self.refuse_foreign()?;
        let made = disk::make_private_dir(&self.root)?;
        disk::refuse_unfit_for_ledger(&self.root)?;
        let dirs = match role {
            Role::Exporter => vec![self.outbox()],
            Role::Importer => vec![self.inbox(), self.indexes(), self.held(), self.quarantine()],
        };
        for dir in dirs {
            disk::make_private_dir(&dir)?;
        }
        let is_new = made || !self.exists();
        if is_new && let Some(above) = self.root.canonicalize().ok().as_deref().and_then(Path::parent) {
            // A run that died may have made the directories, and not have made them durable.
            disk::sync_dir(above)?;
            disk::sync_dir(&self.root)?;
        }
        Ok(is_new)
    }

    /// Says beforehand whose a file is that this run may not write; a run of somebody else has left it, mostly of root.
    fn refuse_foreign(&self) -> Result<()> {
        let me = rustix::process::geteuid();
        if me.is_root() {
            return Ok(());
        }
        let files = ["lock", "ledger.db", "ledger.db-wal", "ledger.db-shm", "journal.jsonl", "journal.key"];
        let files = files.map(|name| self.root.join(name));
        let places = [self.root.clone(), self.outbox(), self.inbox(), self.indexes(), self.held(), self.quarantine()];
        for path in places.into_iter().chain(files) {
            let denied = rustix::fs::accessat(CWD, &path, Access::WRITE_OK, AtFlags::EACCESS) == Err(Errno::ACCESS);
            if let Some(whose) = Some(&path).filter(|_| denied).and_then(|path| belongs_to_another(path)) {
                let group = rustix::process::getegid();
                return Err(Error::failed(format!("cannot write here: {whose}")).at(&path).advise(format!(
                    "as root: chown -R {me}:{group} {}; let one user alone work in a site",
                    text::harmless(&self.root.to_string_lossy())
                )));
            }
        }
        Ok(())
    }

    /// How far the site has come, as it noted beside its ledger; none if it did not, or if that file is none of ours.
    ///
    /// # Errors
    /// The system refused.
    pub fn turn(&self) -> Result<Option<Turn>> {
        let left = self.root.join(partial(TURN));
        disk::remove_if_there(&left).map_err(|e| Error::io("remove what a broken run left", &left, &e))?;
        let Some(text) = Self::text_of(&self.root.join(TURN))? else { return Ok(None) };
        let mut words = text.split_whitespace();
        let read = (words.next(), words.next().and_then(|count| count.parse().ok()), words.next());
        let (Some(identity), Some(count), Some(at)) = read else { return Ok(None) };
        Ok(Some(Turn { identity: identity.to_owned(), count, at: at.to_owned() }))
    }

    /// Notes how far the site has come, durably.
    ///
    /// # Errors
    /// The system refused.
    pub fn note_turn(&self, turn: &Turn) -> Result<()> {
        let Turn { identity, count, at } = turn;
        disk::write_over(&self.root, TURN, format!("{identity} {count} {at}\n").as_bytes())
    }

    /// Whether anything lies in the inbox.
    ///
    /// # Errors
    /// The system refused.
    pub fn has_batches(&self) -> Result<bool> {
        let inbox = self.inbox();
        let mut entries = fs::read_dir(&inbox).map_err(|e| Error::io("read the inbox", &inbox, &e))?;
        Ok(entries.next().is_some())
    }

    /// Takes the lock. If another run has it, waits for that as long as `wait` says. If that run is dead and a process that
    /// it had just started still holds the lock, it waits for that in any case.
    ///
    /// # Errors
    /// Another run holds it; the system refused.
    #[expect(clippy::disallowed_methods, reason = "the lock is inside the site, which nobody else can enter")]
    pub fn lock(&self, wait: LockWait<'_>) -> Result<Lock> {
        let path = self.root.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| Error::io("open the lock", &path, &e))?;
        disk::keep_owner_of(&path).map_err(|e| Error::io("open the lock", &path, &e))?;
        match lock_file(&file, wait, "another run of airpouch on this site") {
            Ok(()) => Ok(Lock(file)),
            Err(why) => {
                let held = "another run of airpouch holds the lock of this site";
                Err(why.error(held, &self.root, |e| Error::io("lock the site", &path, e)))
            }
        }
    }

    /// The text of one of the site's own small files; none if it is not there.
    ///
    /// # Errors
    /// The system refused, or it is no text of a sensible size.
    pub fn text_of(path: &Path) -> Result<Option<String>> {
        match fs::symlink_metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let limit = crate::limits::SETTINGS_FILE_MAX;
        let bytes = disk::read_bounded_following(path, limit).map_err(|e| Error::setting("read", path, &e))?;
        if bytes.len() as u64 > limit {
            return Err(Error::usage(format!("is larger than {}", crate::text::size(limit))).at(path));
        }
        String::from_utf8(bytes).map(Some).map_err(|_| Error::usage("is not UTF-8 text").at(path))
    }
}

/// The files of a trust store, and `trust.toml` if it is there.
pub struct TrustFiles {
    /// Name and content of each file that may hold a key.
    pub keys: Vec<(String, Vec<u8>)>,
    /// The text of `trust.toml`.
    pub rules: Option<String>,
}

/// The file in a trust store that says which key may sign what.
const TRUST_TOML: &str = "trust.toml";

/// Reads a trust directory. What cannot be read in it is left out: it cannot make anything trusted.
///
/// # Errors
/// The directory itself cannot be read.
pub fn read_trust(dir: &Path) -> Result<TrustFiles> {
    let advice = "give the directory that holds the exporter's public keys, with --trust DIR";
    let entries = fs::read_dir(dir).map_err(|e| Error::setting("read the trust store", dir, &e).advise(advice))?;
    let mut keys = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && name != TRUST_TOML && path.is_file() {
            let content = match disk::read_bounded_following(&path, crate::limits::SETTINGS_FILE_MAX) {
                // A key that is not read for want of a descriptor would make a good batch false.
                Err(e) if Lack::of(&e).is_some() => return Err(Error::io("read a key of the trust store", &path, &e)),
                content => content.unwrap_or_default(),
            };
            keys.push((name, content));
        }
    }
    keys.sort();
    Ok(TrustFiles { keys, rules: Site::text_of(&dir.join(TRUST_TOML))? })
}
