//! Durable writing, and questions about a disk. All places use it.
//!
//! Airpouch writes a file as `<name>.partial`, syncs it, and renames it without overwriting; then it syncs the
//! directory. A file with its final name is always complete.

mod device;
mod holder;
mod locked;
mod mount;
mod open_dir;
mod owner;
mod read;
mod write;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::error::{Error, Result};

pub use locked::{LockWait, NotLocked, lock_file};
pub use mount::{Mount, refuse_unfit_for_ledger};
pub use open_dir::{DirEntry, FileId, OpenDir, unguessable};
pub use owner::keep_owner_of;
pub use read::{open_regular, read_bounded, read_bounded_following, read_past_cache};
pub use write::{
    Partial, remove_file, remove_if_there, rename, replace, write_new, write_over, write_over_unsynced, write_secret,
    write_secret_over,
};

/// Retries a call that a signal interrupted (EINTR): std does so for reads and writes, but not for calls on names. FUSE
/// returns EINTR for these.
///
/// # Errors
/// The system refused for another reason.
pub fn uninterrupted<T>(mut ask: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match ask() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// Whether the device could not read or write its own medium.
pub fn is_bad_sector(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Makes the names in a directory durable. `false` if the file system cannot promise that.
///
/// # Errors
/// The system refused for another reason than that it does not support this.
pub fn sync_dir(dir: &Path) -> Result<bool> {
    OpenDir::open(dir).and_then(|open| open.sync()).map_err(|e| Error::io("sync a directory", dir, &e))
}

/// Makes everything durable on the file system of a directory.
///
/// # Errors
/// The system refused.
pub fn sync_file_system(dir: &Path) -> Result<()> {
    OpenDir::open(dir).and_then(|open| sync_all_of(open.file())).map_err(|e| Error::io("sync the file system", dir, &e))
}

/// Writes the whole file system of an open file to the device.
///
/// # Errors
/// The system refused, or a delayed write has failed since the file was opened or last synced.
pub fn sync_all_of(file: &File) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| rustix::fs::syncfs(file))?)
}

/// Creates a directory that only its owner can enter; leaves an existing one unchanged.
///
/// # Errors
/// The system refused.
pub fn make_private_dir(path: &Path) -> Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    // The parent of a relative path may be empty.
    let above = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
    if let Some(above) = above {
        make_private_dir(above)?;
    }
    let made = uninterrupted(|| DirBuilder::new().recursive(true).mode(0o700).create(path));
    made.and_then(|()| keep_owner_of(path)).map_err(|e| Error::io("make a directory", path, &e))?;
    above.map_or(Ok(true), sync_dir)?;
    Ok(true)
}

/// Free bytes for this user.
///
/// # Errors
/// The system refused.
pub fn free_space(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).map_err(|e| Error::io("ask for free space", path, &e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
