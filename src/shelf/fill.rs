//! The medium as a carry fills it: what is missing is copied and takes its name once it is whole, nothing is overwritten.

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::kept::{KeptShelf, NotRead};
use crate::digest::{Digest, Hasher, digest_all};
use crate::disk::{self, Partial};
use crate::error::{Error, Result};

/// What is copied at a time.
const PIECE: usize = 1 << 20;

/// A medium that is being filled.
#[derive(Debug, Clone, Copy)]
pub struct FilledMedium<'a> {
    dir: &'a Path,
}

/// What lies under a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Occupant {
    /// Nothing.
    Nothing,
    /// A file with this digest.
    File(Digest),
    /// The outbox's own file, by a link.
    OutboxItself,
    /// Something that is no file.
    NoFile,
}

impl<'a> FilledMedium<'a> {
    /// The medium in this directory.
    pub fn new(dir: &'a Path) -> Self {
        Self { dir }
    }

    /// Where a file of this name is.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Whether anything lies here under this name.
    pub fn has_name(&self, name: &str) -> bool {
        self.path_of(name).symlink_metadata().is_ok()
    }

    /// What lies here under this name, which a file of the outbox is to have.
    ///
    /// # Errors
    /// The system refused.
    pub fn occupant(&self, name: &str, outbox: &KeptShelf) -> Result<Occupant> {
        let there = self.path_of(name);
        let Ok(metadata) = there.symlink_metadata() else { return Ok(Occupant::Nothing) };
        let occupant = match metadata.is_file() {
            true => match disk::open_regular(&there).and_then(digest_all) {
                Ok((digest, _)) => Occupant::File(digest),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nothing),
                Err(e) => return Err(Error::io("read the medium", &there, &e)),
            },
            false => Occupant::NoFile,
        };
        let node = |m: std::fs::Metadata| (m.dev(), m.ino());
        let ours = outbox.dir().join(name).symlink_metadata();
        Ok(if ours.is_ok_and(|m| node(m) == node(metadata)) { Occupant::OutboxItself } else { occupant })
    }

    /// Makes the names that are here durable; whether the medium can promise that.
    ///
    /// # Errors
    /// The system refused.
    pub fn sync_names(&self) -> Result<bool> {
        disk::sync_dir(self.dir)
    }

    /// Writes a small file.
    ///
    /// # Errors
    /// Something lies under its name; the system refused.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        disk::write_new(self.dir, name, bytes)
    }

    /// Copies a file of the outbox, without its name yet, and says to `seen` how many bytes went. Each byte is read once.
    ///
    /// # Errors
    /// The outbox's file cannot be read; the system refused.
    pub fn copy(
        &self,
        name: &str,
        outbox: &KeptShelf,
        seen: impl Fn(u64),
    ) -> std::result::Result<UnnamedCopy<'a>, NotRead> {
        let mut partial = Partial::create(self.dir, name)?;
        let fault = |e: io::Error| outbox.not_read(name, &e);
        let mut source = disk::open_regular(&outbox.dir().join(name)).map_err(fault)?;
        let mut piece = vec![0; PIECE];
        let mut hasher = Hasher::new();
        loop {
            let n = source.read(&mut piece).map_err(fault)?;
            if n == 0 {
                return Ok(UnnamedCopy { medium: *self, partial, sha256: hasher.finish() });
            }
            partial.write_all(&piece[..n]).map_err(|e| partial.failed(&e))?;
            hasher.update(&piece[..n]);
            seen(n as u64);
        }
    }

    /// Takes a file away again.
    ///
    /// # Errors
    /// The system refused.
    pub fn take_away(&self, name: &str) -> Result<()> {
        let path = self.path_of(name);
        disk::remove_file(&path).map_err(|e| Error::io("take a file away again", &path, &e))
    }
}

/// A copy that has no name yet; it goes away if it gets none.
pub struct UnnamedCopy<'a> {
    medium: FilledMedium<'a>,
    partial: Partial,
    /// What was copied.
    pub sha256: Digest,
}

impl UnnamedCopy<'_> {
    /// Gives it its name. Whoever sees the manifest must find the rest: names become durable in the order of placing.
    ///
    /// # Errors
    /// Something lies under its name; the system refused.
    pub fn place(self) -> Result<()> {
        self.partial.place()?;
        self.medium.sync_names()?;
        Ok(())
    }
}
