//! What the importer keeps of delivered batches to look up in: the list of a batch's objects from its delivery on, and its
//! index from when its folder goes from the inbox.
//!
//! They lie in a directory of their own, in which nothing is a batch: whoever looks whether a batch is whole does not look here.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::inbox::{Inbox, folder_name};
use super::{PartFault, Shelf, refused};
use crate::batch::Checked;
use crate::batch::manifest::{Manifest, Part};
use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result};
use crate::lack::Unread;
use crate::objects::list_bytes;
use crate::stream::{Sequence, StreamId};

/// The directory with indexes and lists.
#[derive(Debug, Clone)]
pub struct Indexes {
    dir: PathBuf,
}

impl Indexes {
    /// Those in this directory.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// What is kept of a batch.
    pub fn of(&self, stream: StreamId, sequence: Sequence, sha256: Digest) -> KeptIndex {
        KeptIndex { dir: self.dir.clone(), base: folder_name(stream, sequence, sha256) }
    }
}

/// What is kept of one batch.
#[derive(Debug, Clone)]
pub struct KeptIndex {
    dir: PathBuf,
    /// How the names begin: as that of its folder in the inbox, for two batches may have one number.
    base: String,
}

impl KeptIndex {
    fn index(&self) -> PathBuf {
        self.dir.join(format!("{}.index.zst", self.base))
    }

    fn list_name(&self) -> String {
        format!("{}.objects", self.base)
    }

    /// Where they lie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Moves the index of a batch here from its folder in the inbox: that takes no room, where a disk is full and is to be
    /// cleared. Says whether it is here then; whether its content is what the manifest names is looked at by whoever reads it.
    ///
    /// # Errors
    /// The system refused.
    pub fn keep(&self, inbox: &Inbox, manifest: &Manifest, sha256: Digest) -> Result<bool> {
        let (from, to) = (inbox.shelf(manifest.stream, manifest.sequence, sha256), self.index());
        let from = from.dir().join(&manifest.index.name);
        let fault = |e: io::Error| Error::io("keep the index of a delivered batch", &to, &e);
        match disk::rename(&from, &to) {
            // A run that was cut off may have moved it.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            // The inbox is a file system of its own.
            Err(e) if e.kind() == ErrorKind::CrossesDevices => {
                let bytes = disk::read_bounded(&from, manifest.index.bytes).map_err(fault)?;
                disk::write_over(&self.dir, &format!("{}.index.zst", self.base), &bytes)?;
            }
            moved => {
                moved.map_err(fault)?;
                disk::sync_dir(&self.dir)?;
            }
        }
        Ok(fs::symlink_metadata(&to).is_ok_and(|there| there.is_file() && there.len() == manifest.index.bytes))
    }

    /// Writes the list of the batch's objects, durably, over one that is there.
    ///
    /// # Errors
    /// The system refused.
    pub fn write_list(&self, bytes: &[u8]) -> Result<()> {
        disk::write_over(&self.dir, &self.list_name(), bytes)
    }

    /// The list of the batch's objects, with so many records and this digest.
    ///
    /// # Errors
    /// It is missing or was changed; or the system refused.
    pub fn list(&self, records: u64, sha256: Digest) -> std::result::Result<Checked, Unread<PartFault>> {
        let bytes = list_bytes(records);
        let read = match bytes {
            0 => Vec::new(),
            _ => disk::read_bounded(&self.dir.join(self.list_name()), bytes).map_err(|e| refused(&e))?,
        };
        Checked::new(read, bytes, sha256).map_err(|fault| Unread::Fault(PartFault::NotAsNamed(fault)))
    }
}

/// An index alone: whatever else is asked for is not here.
impl Shelf for KeptIndex {
    fn fetch(&self, part: &Part<'_>) -> std::result::Result<Checked, Unread<PartFault>> {
        if !part.name.ends_with(".index.zst") {
            return Err(Unread::Fault(PartFault::Missing));
        }
        let bytes = disk::read_bounded(&self.index(), part.bytes).map_err(|e| refused(&e))?;
        part.check(bytes).map_err(|fault| Unread::Fault(PartFault::NotAsNamed(fault)))
    }
}
