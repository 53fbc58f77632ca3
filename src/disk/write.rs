//! Files that appear under their name only when all of their bytes are there.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use super::open_dir::{OpenDir, unguessable};
use super::{sync_dir, uninterrupted};
use crate::batch::name::partial;
use crate::error::{Error, Result};

/// A file that is being written. If it is dropped before it is placed, it is removed.
pub struct Partial {
    dir: OpenDir,
    name: String,
    /// None once it has its name.
    file: Option<File>,
}

impl Partial {
    /// Begins a file that will be `name` in `dir`; replaces what an earlier try left under the partial name.
    ///
    /// # Errors
    /// The system refused.
    pub fn create(dir: &Path, name: &str) -> Result<Self> {
        Self::create_with_mode(dir, name, 0o666)
    }

    /// The same with other permissions from the first byte on, less the umask.
    ///
    /// # Errors
    /// The system refused.
    pub fn create_with_mode(dir: &Path, name: &str, mode: u32) -> Result<Self> {
        let fault = |e: &io::Error| Error::io("create a file", &dir.join(partial(name)), e);
        let open = OpenDir::open(dir).map_err(|e| fault(&e))?;
        let file = open.create_anew(&partial(name), mode).map_err(|e| fault(&e))?;
        Ok(Self { dir: open, name: name.to_owned(), file: Some(file) })
    }

    /// Syncs the content and gives it its final name. Does not sync the directory yet.
    ///
    /// # Errors
    /// The system refused, somebody has replaced the partial file, or the name is taken.
    pub fn place(mut self) -> Result<()> {
        let target = self.dir.path_of(&self.name);
        let fault = |e: &io::Error| Error::io("give a file its name", &target, e);
        if let Some(file) = &self.file {
            uninterrupted(|| file.sync_all()).map_err(|e| Error::io("sync a file", &self.path(), &e))?;
            self.dir.expect_plain(&partial(&self.name), file).map_err(|e| fault(&e))?;
        }
        self.dir.rename_new(&partial(&self.name), &self.dir, &self.name).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::failed("a file of this name exists already; it was not overwritten").at(&target)
            }
            _ => fault(&e),
        })?;
        self.file = None;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.path_of(&partial(&self.name))
    }

    /// An error of writing, with its place.
    pub fn failed(&self, cause: &io::Error) -> Error {
        Error::io("write", &self.path(), cause)
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().ok_or_else(|| io::Error::other("the file is placed"))?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = self.dir.remove(&partial(&self.name));
        }
    }
}

/// Writes a small file: partial, synced, renamed, its directory synced.
///
/// # Errors
/// The system refused, or the name is taken.
pub fn write_new(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    write_new_with_mode(dir, name, bytes, 0o666)
}

/// As [`write_new`], readable by its owner only from the first byte on.
///
/// # Errors
/// The system refused, or the name is taken.
pub fn write_secret(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    write_new_with_mode(dir, name, bytes, 0o600)
}

fn write_new_with_mode(dir: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let mut partial = Partial::create_with_mode(dir, name, mode)?;
    partial.write_all(bytes).map_err(|e| partial.failed(&e))?;
    partial.place()?;
    sync_dir(dir).map(|_| ())
}

/// Replaces whatever has this name by a small file.
///
/// # Errors
/// The system refused.
pub fn write_over(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let written = OpenDir::open(dir).and_then(|open| open.write_over(name, bytes, 0o666));
    written.map_err(|e| Error::io("write", &dir.join(name), &e))?;
    sync_dir(dir).map(|_| ())
}

/// As [`write_over`], readable by its owner only from the first byte on.
///
/// # Errors
/// The system refused.
pub fn write_secret_over(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let written = OpenDir::open(dir).and_then(|open| open.write_over(name, bytes, 0o600));
    written.map_err(|e| Error::io("write", &dir.join(name), &e))?;
    sync_dir(dir).map(|_| ())
}

/// The same as [`write_over`], not durable until the file system is synced.
///
/// # Errors
/// The system refused.
pub fn write_over_unsynced(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let written = OpenDir::open(dir).and_then(|open| open.write_over_unsynced(name, bytes, 0o666));
    written.map_err(|e| Error::io("write", &dir.join(name), &e))
}

/// Replaces a file by a small one with the same mode and owner; if the name is a link, replaces the file that it leads
/// to. Creates the file if there is none.
///
/// # Errors
/// It belongs to another user; the system refused.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let fault = |e: &io::Error| Error::io("write", path, e);
    let target = match uninterrupted(|| path.canonicalize()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => path.to_owned(),
        target => target.map_err(|e| fault(&e))?,
    };
    let (Some(parent), Some(name)) = (target.parent(), target.file_name().and_then(|name| name.to_str())) else {
        return Err(fault(&io::ErrorKind::InvalidFilename.into()));
    };
    let dir = OpenDir::open(parent).map_err(|e| Error::io("open a directory", parent, &e))?;
    let there = match target.metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        there => Some(there.map_err(|e| fault(&e))?),
    };
    let temporary = format!(".{name}.{}.partial", unguessable().map_err(|e| fault(&e))?);
    let mut file = dir
        .create(&temporary, if there.is_some() { 0o600 } else { 0o666 })
        .map_err(|e| Error::io("create a file", &dir.path_of(&temporary), &e))?;
    let written = fill(&mut file, bytes, there.as_ref()).and_then(|()| dir.rename(&temporary, &dir, name));
    if let Err(e) = written {
        // The partial file would only be litter; the error is reported in any case.
        drop(dir.remove(&temporary));
        let error = fault(&e);
        return Err(match e.kind() {
            io::ErrorKind::PermissionDenied => error.advise("it belongs to another user: write it as that user"),
            _ => error,
        });
    }
    dir.sync().map(drop).map_err(|e| Error::io("sync a directory", parent, &e))
}

/// Writes and syncs the bytes of a file that replaces another, with its owner and mode.
fn fill(file: &mut File, bytes: &[u8], there: Option<&Metadata>) -> io::Result<()> {
    file.write_all(bytes)?;
    if let Some(there) = there {
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (there.uid(), there.gid()) {
            uninterrupted(|| fchown(&*file, Some(there.uid()), Some(there.gid())))?;
        }
        uninterrupted(|| file.set_permissions(there.permissions()))?;
    }
    uninterrupted(|| file.sync_all())
}

/// Renames, and replaces whatever has the new name.
///
/// # Errors
/// The system refused.
#[expect(clippy::disallowed_methods, reason = "this is the helper")]
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    uninterrupted(|| fs::rename(from, to))
}

/// Removes a file, if it exists.
///
/// # Errors
/// The system refused.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Removes a file.
///
/// # Errors
/// The system refused.
pub fn remove_file(path: &Path) -> io::Result<()> {
    uninterrupted(|| fs::remove_file(path))
}
