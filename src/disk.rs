//! Writing so that it stays written, and what a disk says of itself. The tools of all places.
//!
//! A file of ours is written as `<name>.partial`, synced, and renamed without overwriting; then its
//! directory is synced. Whoever sees a final name sees all of its bytes.

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

pub use mount::{Mount, refuse_unfit_for_ledger};
pub use open_dir::{DirEntry, FileId, OpenDir, unguessable};
pub use owner::keep_owner_of;
pub use read::{open_regular, read_bounded, read_bounded_following, read_past_cache};
pub use write::{
    Partial, remove_file, remove_if_there, rename, replace, write_new, write_over, write_over_unsynced, write_secret,
};

/// Asks again where a signal came between: std does so for what is in files, and not for their names. FUSE shows it.
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

/// Makes the names in a directory durable. `false` where the file system cannot promise that.
///
/// # Errors
/// The system refused for another reason than not knowing how.
pub fn sync_dir(dir: &Path) -> Result<bool> {
    OpenDir::open(dir).and_then(|open| open.sync()).map_err(|e| Error::io("sync a directory", dir, &e))
}

/// Makes all of a file system durable that the directory lies on.
///
/// # Errors
/// The system refused.
pub fn sync_file_system(dir: &Path) -> Result<()> {
    OpenDir::open(dir).and_then(|open| sync_all_of(open.file())).map_err(|e| Error::io("sync the file system", dir, &e))
}

/// Writes all of the file system that an open file lies on to the device.
///
/// # Errors
/// The system refused, or a write that it had put off has failed since the file was opened or last asked.
pub fn sync_all_of(file: &File) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| rustix::fs::syncfs(file))?)
}

/// Makes a directory that only its owner can enter; one that is there is left as it is.
///
/// # Errors
/// The system refused.
pub fn make_private_dir(path: &Path) -> Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    // Below the current directory a path may have a parent without a name.
    let above = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
    if let Some(above) = above {
        make_private_dir(above)?;
    }
    let made = uninterrupted(|| DirBuilder::new().recursive(true).mode(0o700).create(path));
    made.and_then(|()| keep_owner_of(path)).map_err(|e| Error::io("make a directory", path, &e))?;
    above.map_or(Ok(true), sync_dir)?;
    Ok(true)
}

/// Bytes that may still be written.
///
/// # Errors
/// The system refused.
pub fn free_space(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).map_err(|e| Error::io("ask for free space", path, &e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
