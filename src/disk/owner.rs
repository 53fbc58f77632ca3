//! The owner of files that root creates. A run by root in the directory of another user, such as one `sudo` in a site
//! that cron uses, must leave nothing there that its owner cannot use.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;

/// Whether files of this run may have to belong to another user: only root can change that, and only root needs to.
pub(super) fn makes_for_others() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives what was just created in an open directory to the directory's owner.
///
/// # Errors
/// The system refused for another reason than that the file system has no owners.
pub(super) fn keep_owner(made: &File, dir: &File) -> io::Result<()> {
    if !makes_for_others() {
        return Ok(());
    }
    let owner = dir.metadata()?;
    if owner.uid() == 0 || made.metadata()?.uid() != 0 {
        return Ok(());
    }
    match fchown(made, Some(owner.uid()), Some(owner.gid())) {
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}

/// The same by path, for a file or a directory, not for a link. Does nothing if it does not exist; a file with a second
/// name may have been root's before, and is left unchanged.
///
/// # Errors
/// The system refused.
pub fn keep_owner_of(path: &Path) -> io::Result<()> {
    let Some(dir) = path.parent().filter(|_| makes_for_others()) else { return Ok(()) };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let made = match open(path, OFlags::NOFOLLOW) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let metadata = made.metadata()?;
    match metadata.is_dir() || (metadata.is_file() && metadata.nlink() == 1) {
        true => keep_owner(&made, &open(dir, OFlags::DIRECTORY)?),
        false => Ok(()),
    }
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?.into())
}
