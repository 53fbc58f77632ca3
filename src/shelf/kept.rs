//! Our own shelves: files are found by the names that airpouch gave them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{PartFault, Shelf, refused};
use crate::batch::manifest::Part;
use crate::batch::{Checked, name};
use crate::digest::{Digest, digest_all};
use crate::disk::{self, Partial};
use crate::error::{Error, Result, reason};
use crate::lack::Unread;
use crate::limits::{JOURNAL_HEAD_MAX, MANIFEST_MAX, SIGNATURES_MAX};
use crate::stream::{Sequence, StreamId};
use crate::trust::{Signature, SignatureFile, Unverified};

/// The names of the files on a shelf, sorted.
#[derive(Debug)]
pub struct ListedNames(Vec<String>);

impl ListedNames {
    /// All of them.
    pub fn all(&self) -> &[String] {
        &self.0
    }

    /// The names of the batch whose files begin like this.
    pub fn of(&self, base: &str) -> &[String] {
        let base = format!("{base}.");
        let first = self.0.partition_point(|n| *n < base);
        let count = self.0[first..].partition_point(|n| n.starts_with(&base));
        &self.0[first..first + count]
    }
}

/// Why a file of ours was not read.
#[derive(Debug)]
pub enum NotRead {
    /// It is gone or on a bad sector, in words.
    Lost(String),
    /// The system refused, which is no fault of the file's.
    Refused(Error),
}

impl From<Error> for NotRead {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// A file that is being written; it goes away if it is not placed.
pub struct Begun(Partial);

impl Begun {
    /// Its content, durable, under its name. The name is not durable yet.
    ///
    /// # Errors
    /// Something lies under its name; the system refused.
    pub fn place(self) -> Result<()> {
        self.0.place()
    }
}

impl Write for Begun {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A directory with batches under their own names.
#[derive(Debug, Clone)]
pub struct KeptShelf {
    dir: PathBuf,
}

impl KeptShelf {
    /// The shelf in this directory.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The names that are those of files of a batch.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        self.listed().map(|names| names.0)
    }

    /// The same, for look-ups: a directory of thousands of batches is listed once a run.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn listed(&self) -> Result<ListedNames> {
        let names = self.batch_names();
        names.map(ListedNames).map_err(|e| Error::io("read a directory of the site", &self.dir, &e))
    }

    fn batch_names(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = fs::read_dir(&self.dir)?
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .filter(|n| name::parse(n).is_some() || is_begun_head(n))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Whether a file of this name and size is here.
    pub fn has(&self, part: &Part<'_>) -> bool {
        fs::symlink_metadata(self.dir.join(part.name)).is_ok_and(|m| m.is_file() && m.len() == part.bytes)
    }

    /// Writes a small file, unless it was written before a crash.
    ///
    /// # Errors
    /// Another file has its name; the system refused.
    pub fn place(&self, name: &str, bytes: &[u8]) -> Result<()> {
        match self.has_bytes(name, bytes) {
            Some(true) => Ok(()),
            Some(false) => Err(Error::failed("another file has the name of a sealed batch")
                .at(&self.dir.join(name))
                .advise("move it away; it is not airpouch's")),
            None => disk::write_new(&self.dir, name, bytes),
        }
    }

    /// The same, but replaces whatever has its name: only airpouch writes there.
    ///
    /// # Errors
    /// The system refused.
    pub fn place_over(&self, name: &str, bytes: &[u8]) -> Result<()> {
        match self.has_bytes(name, bytes) {
            Some(true) => Ok(()),
            Some(false) => disk::write_over(&self.dir, name, bytes),
            None => disk::write_new(&self.dir, name, bytes),
        }
    }

    /// Creates the directory, which only its owner can enter.
    ///
    /// # Errors
    /// The system refused.
    pub fn make(&self) -> Result<()> {
        disk::make_private_dir(&self.dir).map(drop)
    }

    /// Begins a large file.
    ///
    /// # Errors
    /// The system refused.
    pub fn begin(&self, name: &str) -> Result<Begun> {
        Partial::create(&self.dir, name).map(Begun)
    }

    /// Writes a file that does not exist yet. Then the names of all that was placed before are durable.
    ///
    /// # Errors
    /// Its name is taken; the system refused.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        disk::write_new(&self.dir, name, bytes)
    }

    /// Writes a file, and replaces what is left of it.
    ///
    /// # Errors
    /// The system refused.
    pub fn write_over(&self, name: &str, bytes: &[u8]) -> Result<()> {
        disk::write_over(&self.dir, name, bytes)
    }

    /// Removes what an interrupted run left.
    ///
    /// # Errors
    /// The system refused.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        disk::remove_file(&path).map_err(|e| Error::io("remove what an unfinished run left", &path, &e))
    }

    /// Removes the file of this name, if it can be read and has other content.
    ///
    /// # Errors
    /// The system refused.
    pub fn clear_damaged(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        match self.has_bytes(name, bytes) {
            Some(false) => disk::remove_file(&path).map_err(|e| Error::io("remove a damaged file", &path, &e)),
            _ => Ok(()),
        }
    }

    /// Whether a file matches its manifest. A missing file or one on a bad sector does not; any other error of the
    /// system stops the run.
    ///
    /// # Errors
    /// The system refused.
    pub fn is_whole(&self, part: &Part<'_>) -> Result<bool> {
        let path = self.dir.join(part.name);
        match disk::read_bounded(&path, part.bytes) {
            Ok(bytes) => Ok(part.check(bytes).is_ok()),
            Err(e) if e.kind() == io::ErrorKind::NotFound || disk::is_bad_sector(&e) => Ok(false),
            Err(e) => Err(Error::io("read the outbox", &path, &e)),
        }
    }

    /// What a file of the outbox is.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn digest(&self, name: &str) -> std::result::Result<Digest, NotRead> {
        let read = disk::open_regular(&self.dir.join(name)).and_then(digest_all);
        read.map(|(digest, _)| digest).map_err(|e| self.not_read(name, &e))
    }

    /// A file that is gone or on a bad sector is lost; whatever else the system refuses is no fault of the file's.
    pub(super) fn not_read(&self, name: &str, cause: &io::Error) -> NotRead {
        match cause.kind() {
            io::ErrorKind::NotFound => NotRead::Lost(format!("{name} is not in the outbox")),
            _ if disk::is_bad_sector(cause) => {
                NotRead::Lost(format!("{name} cannot be read in the outbox: {}", reason(cause)))
            }
            _ => NotRead::Refused(Error::io("read the outbox", &self.dir.join(name), cause)),
        }
    }

    /// The head of a journal; none if it is not there or cannot be read: nothing rests on it.
    pub fn head(&self, name: &str) -> Option<Vec<u8>> {
        disk::read_bounded(&self.dir.join(name), JOURNAL_HEAD_MAX).ok()
    }

    /// The bytes of a signature file, which may be of any length.
    ///
    /// # Errors
    /// The system refused.
    pub fn signature(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.dir.join(name);
        disk::read_bounded(&path, Signature::LONGEST).map_err(|e| Error::io("read a signature", &path, &e))
    }

    /// Whether the file of this name has these bytes; none if there is no readable file.
    pub fn has_bytes(&self, name: &str, bytes: &[u8]) -> Option<bool> {
        disk::read_bounded(&self.dir.join(name), bytes.len() as u64).ok().map(|there| there == bytes)
    }

    /// Removes partial files that an interrupted run left.
    ///
    /// # Errors
    /// The system refused.
    pub fn sweep_partials(&self) -> Result<()> {
        let files = fs::read_dir(&self.dir).map_err(|e| Error::io("read a directory of the site", &self.dir, &e))?;
        let is_partial = |e: &fs::DirEntry| e.file_name().to_str().is_some_and(|n| name::of_partial(n).is_some());
        for file in files.flatten().filter(is_partial).map(|e| e.path()) {
            disk::remove_file(&file).map_err(|e| Error::io("remove what a broken run left", &file, &e))?;
        }
        Ok(())
    }

    /// Whether this name is taken here.
    pub fn has_name(&self, name: &str) -> bool {
        fs::symlink_metadata(self.dir.join(name)).is_ok()
    }

    /// The one manifest of a folder that holds one batch, with its signatures; none if there is none.
    ///
    /// # Errors
    /// The system refused.
    pub fn only_manifest(&self) -> Result<Option<Unverified>> {
        let names = self.names()?;
        let Some(manifest) = names.iter().find(|n| n.ends_with(".manifest")) else { return Ok(None) };
        let read = self.unverified_named(manifest.trim_end_matches(".manifest")).map(Some);
        read.map_err(|(path, cause)| Error::io("read a manifest and its signatures", &path, &cause))
    }

    /// How many signatures are here.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn signature_count(&self) -> Result<usize> {
        Ok(self.names()?.iter().filter(|n| n.ends_with(".sig")).count())
    }

    /// A manifest with its signatures, unverified.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn unverified(
        &self,
        stream: StreamId,
        sequence: Sequence,
    ) -> std::result::Result<Unverified, Unread<(String, PartFault)>> {
        self.unverified_named(&name::base(stream, sequence)).map_err(|(path, cause)| {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            refused(&cause).map_fault(|fault| (name, fault))
        })
    }

    /// The same by the beginning of its names; an error is that of the system, with the file or directory.
    fn unverified_named(&self, base: &str) -> std::result::Result<Unverified, (PathBuf, io::Error)> {
        let path = self.dir.join(format!("{base}.manifest"));
        let bytes = disk::read_bounded(&path, MANIFEST_MAX).map_err(|e| (path, e))?;
        let base = format!("{base}.");
        let mut signatures = Vec::new();
        let names = self.batch_names().map_err(|e| (self.dir.clone(), e))?;
        for name in names.into_iter().filter(|n| n.starts_with(&base) && n.ends_with(".sig")).take(SIGNATURES_MAX) {
            let path = self.dir.join(&name);
            let read = disk::read_bounded(&path, Signature::LONGEST).map_err(|e| (path, e))?;
            if let Some(signature) = Signature::from_bytes(&read) {
                signatures.push(SignatureFile { name, signature, named: true });
            }
        }
        Ok(Unverified::new(bytes, signatures))
    }
}

/// Whether a run was cut off while it wrote a head under this name.
fn is_begun_head(name: &str) -> bool {
    name::of_partial(name).and_then(name::parse_head).is_some()
}

impl Shelf for KeptShelf {
    fn fetch(&self, part: &Part<'_>) -> std::result::Result<Checked, Unread<PartFault>> {
        let bytes = disk::read_bounded(&self.dir.join(part.name), part.bytes).map_err(|e| refused(&e))?;
        part.check(bytes).map_err(|fault| Unread::Fault(PartFault::NotAsNamed(fault)))
    }
}
