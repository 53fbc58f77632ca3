//! Files that appear under their name only when all of their bytes are there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags};

use super::{sync_dir, uninterrupted};
use crate::batch::name::partial;
use crate::error::{Error, Result};

/// A file that is being written. Dropped before it is placed, it is removed.
pub struct Partial {
    file: Option<File>,
    path: PathBuf,
    target: PathBuf,
}

impl Partial {
    /// Begins a file that will be `name` in `dir`; what an earlier try left under the partial name is replaced.
    ///
    /// # Errors
    /// The system refused.
    pub fn create(dir: &Path, name: &str) -> Result<Self> {
        Self::create_with_mode(dir, name, 0o666)
    }

    /// The same with permissions of its own from the first byte on, less the umask.
    ///
    /// # Errors
    /// The system refused.
    pub fn create_with_mode(dir: &Path, name: &str, mode: u32) -> Result<Self> {
        let path = dir.join(partial(name));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode).custom_flags(OFlags::NOFOLLOW.bits() as i32);
        let create = || options.open(&path);
        let file = match create() {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                remove_file(&path).map_err(|e| Error::io("remove a partial file", &path, &e))?;
                create()
            }
            other => other,
        };
        let file = file.map_err(|e| Error::io("create a file", &path, &e))?;
        Ok(Self { file: Some(file), target: dir.join(name), path })
    }

    /// The file's content, durable, under its final name. The directory is not synced yet.
    ///
    /// # Errors
    /// The system refused, or something lies under that name already.
    pub fn place(mut self) -> Result<()> {
        if let Some(file) = self.file.take() {
            file.sync_all().map_err(|e| Error::io("sync a file", &self.path, &e))?;
        }
        rename_new(&self.path, &self.target).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::failed("something lies under this name already; it was not overwritten").at(&self.target)
            }
            _ => Error::io("give a file its name", &self.target, &e),
        })?;
        self.path.clear();
        Ok(())
    }

    fn file(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| io::Error::other("the file is placed"))
    }

    /// An error of writing, with its place.
    pub fn failed(&self, cause: &io::Error) -> Error {
        Error::io("write", &self.path, cause)
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = remove_file(&self.path);
        }
    }
}

/// Writes a small file whole: partial, synced, renamed, its directory synced.
///
/// # Errors
/// The system refused, or something lies under that name already.
pub fn write_new(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let mut partial = Partial::create(dir, name)?;
    partial.write_all(bytes).map_err(|e| partial.failed(&e))?;
    partial.place()?;
    sync_dir(dir).map(|_| ())
}

/// As [`write_new`], readable by its owner only from the first byte on.
///
/// # Errors
/// The system refused, or something lies under that name already.
pub fn write_secret(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let mut partial = Partial::create_with_mode(dir, name, 0o600)?;
    partial.write_all(bytes).map_err(|e| partial.failed(&e))?;
    partial.place()?;
    sync_dir(dir).map(|_| ())
}

/// Writes a small file whole over whatever has this name.
///
/// # Errors
/// The system refused.
pub fn write_over(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let mut new = Partial::create(dir, name)?;
    new.write_all(bytes).map_err(|e| new.failed(&e))?;
    let target = new.target.clone();
    if let Some(file) = new.file.take() {
        file.sync_all().map_err(|e| Error::io("sync a file", &new.path, &e))?;
    }
    rename(&new.path, &target).map_err(|e| Error::io("give a file its name", &target, &e))?;
    new.path.clear();
    sync_dir(dir).map(|_| ())
}

/// The same, not durable until the file system is synced.
///
/// # Errors
/// The system refused.
pub fn write_over_unsynced(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let mut new = Partial::create(dir, name)?;
    new.write_all(bytes).map_err(|e| new.failed(&e))?;
    rename(&new.path, &new.target).map_err(|e| Error::io("give a file its name", &new.target, &e))?;
    new.path.clear();
    Ok(())
}

/// Renames without overwriting.
///
/// # Errors
/// `AlreadyExists` if something has the new name; else what the system says.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::io::retry_on_intr(|| rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)) {
        Ok(()) => Ok(()),
        // FAT through FUSE and some network file systems do not know the flag.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            rename(from, to)
        }
        Err(e) => Err(e.into()),
    }
}

/// Renames over whatever has the new name.
///
/// # Errors
/// The system refused.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    uninterrupted(|| fs::rename(from, to))
}

/// Removes a file.
///
/// # Errors
/// The system refused.
pub fn remove_file(path: &Path) -> io::Result<()> {
    uninterrupted(|| fs::remove_file(path))
}
