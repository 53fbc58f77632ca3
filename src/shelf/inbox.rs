//! The importer's inbox: each batch has a folder of its own, since two batches may have one number.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::kept::KeptShelf;
use crate::batch::name;
use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result};
use crate::stream::{Sequence, StreamId};

/// The directory with the folders.
#[derive(Debug, Clone)]
pub struct Inbox {
    dir: PathBuf,
}

/// The name of the folder of a batch.
pub fn folder_name(stream: StreamId, sequence: Sequence, sha256: Digest) -> String {
    format!("{}.{}", name::base(stream, sequence), &sha256.to_string()[..16])
}

impl Inbox {
    /// The inbox in this directory.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The folder of a batch.
    pub fn shelf(&self, stream: StreamId, sequence: Sequence, sha256: Digest) -> KeptShelf {
        KeptShelf::new(self.dir.join(folder_name(stream, sequence, sha256)))
    }

    /// A folder by its name.
    pub fn shelf_named(&self, folder: &OsString) -> KeptShelf {
        KeptShelf::new(self.dir.join(folder))
    }

    /// The names of all folders.
    ///
    /// # Errors
    /// The system refused.
    pub fn folders(&self) -> Result<Vec<OsString>> {
        let fault = |e: std::io::Error| Error::io("read the inbox", &self.dir, &e);
        let mut folders = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                folders.push(entry.file_name());
            }
        }
        Ok(folders)
    }

    /// Removes a batch.
    ///
    /// # Errors
    /// The system refused.
    pub fn remove(&self, stream: StreamId, sequence: Sequence, sha256: Digest) -> Result<()> {
        let folder = self.dir.join(folder_name(stream, sequence, sha256));
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove a delivered batch", &folder, &e)),
            _ => Ok(()),
        }
    }
}

impl KeptShelf {
    /// Moves aside a file that no longer matches its manifest, so that it can be copied again from a medium.
    ///
    /// # Errors
    /// The system refused.
    pub fn put_away_damaged(&self, name: &str) -> Result<()> {
        let path = self.dir().join(name);
        match disk::rename(&path, &path.with_file_name(format!("{name}.damaged"))) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("put a damaged file aside", &path, &e)),
            _ => Ok(()),
        }
    }

    /// Removes what was cut by a crash of the disk, or was never there.
    ///
    /// # Errors
    /// The system refused.
    pub fn remove_cut(&self, name: &str) -> Result<()> {
        let path = self.dir().join(name);
        disk::remove_if_there(&path).map_err(|e| Error::io("remove a cut file", &path, &e))
    }
}
