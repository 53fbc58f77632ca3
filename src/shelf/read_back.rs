//! Reads a medium back after the last byte is written, and decodes it as `verify` would. Only this can claim that a
//! batch is complete on a medium.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::check::check_batch;
use super::{PartFault, Shelf, refused};
use crate::batch::manifest::{Manifest, Part};
use crate::batch::{Checked, name};
use crate::disk::{self, Mount};
use crate::error::{Error, Result, reason};
use crate::lack::{self, Lack, Unread};
use crate::limits::{JOURNAL_HEAD_MAX, MANIFEST_MAX};
use crate::report::{Observer, Proof};
use crate::stream::Sequence;
use crate::trust::{Signature, SignatureFile, TrustStore, Unverified};

/// A batch that is complete on a medium, and how sure that is. Only reading back creates this value; the ledger records
/// nothing else as carried, and `carry` prints SAFE TO REMOVE only because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    sequence: Sequence,
    proof: Proof,
}

impl ReadBack {
    /// It was written to a drop folder, which another program empties: nothing is read back, and nothing more is
    /// claimed.
    pub fn sent(manifest: &Manifest) -> Self {
        Self { sequence: manifest.sequence, proof: Proof::Sent }
    }

    /// Its number.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// How sure it is.
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// The proof for a whole medium is the weakest of its batches; none if there is no batch.
    pub fn level(all: &mut [Self]) -> Option<Proof> {
        let strength = |proof: &Proof| match proof {
            Proof::Device => 3,
            Proof::Replug => 2,
            Proof::Cache => 1,
            Proof::Sent => 0,
        };
        let least = all.iter().map(|one| one.proof).min_by_key(strength)?;
        all.iter_mut().for_each(|one| one.proof = least);
        Some(least)
    }
}

/// What must be on the medium.
pub struct Expected<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The names of its signatures.
    pub signatures: Vec<&'a str>,
    /// The name of the head of the journal beside it, and its bytes, where there is one.
    pub head: Option<(&'a str, Vec<u8>)>,
    /// Whether it was there before this run, and the medium was mounted again since it was written.
    pub is_replugged: bool,
}

/// Reads a medium back.
pub struct Reader<'a> {
    /// The directory where it is mounted.
    pub medium: &'a Path,
    /// The mount of that directory.
    pub mount: &'a Mount,
    /// The keys that have signed here.
    pub store: &'a TrustStore,
    /// Processors to use.
    pub threads: usize,
    /// Gets the progress.
    pub observer: &'a dyn Observer,
}

impl Reader<'_> {
    /// Reads a batch back.
    ///
    /// # Errors
    /// It is not on the medium as it was written; or what the machine lacks to read it.
    pub fn read_back(&self, expected: &Expected<'_>) -> Result<ReadBack> {
        let Expected { manifest, bytes, ref signatures, ref head, is_replugged } = *expected;
        let shelf = PastCache::new(self.medium.to_owned());
        let name = name::manifest(manifest.stream, manifest.sequence);
        let read = shelf.read(&name, MANIFEST_MAX).map_err(|e| self.unread(&name, &e))?;
        if read != bytes {
            return Err(self.differs(&name, "differs"));
        }
        if let Some((name, head)) = head
            && shelf.read(name, JOURNAL_HEAD_MAX).map_err(|e| self.unread(name, &e))? != *head
        {
            return Err(self.differs(name, "differs"));
        }
        let mut found = Vec::new();
        for name in signatures {
            let read = shelf.read(name, Signature::LONGEST).map_err(|e| self.unread(name, &e))?;
            let signature =
                Signature::from_bytes(&read).ok_or_else(|| self.differs(name, "is not as long as a signature is"))?;
            found.push(SignatureFile { name: (*name).to_owned(), signature, named: true });
        }
        if let Err(e) = self.store.authenticate(Unverified::new(read, found)) {
            return Err(self.differs(&name, &format!("is signed by no key that this ledger knows: {e}")));
        }
        self.observer.begin("reading back", manifest.totals.bytes);
        let checked = check_batch(&shelf, manifest, self.threads, None, self.observer);
        self.observer.end();
        let checked = lack::apart(checked).map_err(|l| Error::lacking("read the medium back", l).at(self.medium))?;
        if let Err(faults) = checked
            && let Some((name, fault)) = faults.first()
        {
            return Err(self.differs(name, &fault.to_string()));
        }
        let proof = match (shelf.was_direct() && self.mount.reaches_a_device(), is_replugged) {
            (true, _) => Proof::Device,
            (false, true) => Proof::Replug,
            (false, false) => Proof::Cache,
        };
        Ok(ReadBack { sequence: manifest.sequence, proof })
    }

    fn differs(&self, name: &str, why: &str) -> Error {
        Error::failed(format!("read-back failed: {name} {why}"))
            .at(self.medium)
            .advise("this medium is not to be trusted; carry onto another one, the outbox has everything")
    }

    /// A lack of memory or descriptors is no fault of the medium.
    fn unread(&self, name: &str, cause: &io::Error) -> Error {
        match Lack::of(cause) {
            Some(lack) => Error::lacking("read the medium back", lack).at(self.medium),
            None => self.differs(name, &reason(cause)),
        }
    }
}

/// A directory whose files are read from the device, past the cache, if the system allows it.
struct PastCache {
    dir: PathBuf,
    all_direct: AtomicBool,
}

impl PastCache {
    fn new(dir: PathBuf) -> Self {
        Self { dir, all_direct: AtomicBool::new(true) }
    }

    /// Whether every read so far was past the page cache.
    fn was_direct(&self) -> bool {
        self.all_direct.load(Ordering::Relaxed)
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let (bytes, direct) = disk::read_past_cache(&self.dir.join(name), limit)?;
        if !direct {
            self.all_direct.store(false, Ordering::Relaxed);
        }
        Ok(bytes)
    }
}

impl Shelf for PastCache {
    fn fetch(&self, part: &Part<'_>) -> std::result::Result<Checked, Unread<PartFault>> {
        let bytes = self.read(part.name, part.bytes).map_err(|e| refused(&e))?;
        part.check(bytes).map_err(|fault| Unread::Fault(PartFault::NotAsNamed(fault)))
    }
}
