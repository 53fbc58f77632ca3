//! Opens a destination on disk and reads its mark, a hidden file. Without the mark, airpouch would take the empty mount
//! point of an unmounted share for the destination.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::disk::{self, OpenDir};
use crate::error::{Error, Result};
use crate::random;

const MARKER: &str = ".airpouch";
/// 32 hex digits and a line end.
const MARK_MAX: u64 = 33;

/// Who else may use a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The program that reads there runs as another user.
    Shared,
    /// Nobody: airpouch would send whatever others write there.
    Private,
}

/// Opens a destination and returns its mark. If a mark is `known`, the directory must have it; if not, the directory is
/// created if its parent exists, and gets a mark.
///
/// # Errors
/// It is another directory, or open to others although it must not be; the system refused.
pub fn open(path: &Path, known: Option<&str>, access: Access) -> Result<(OpenDir, String)> {
    let is_new = known.is_none() && make(path, access)?;
    let dir = match OpenDir::open(path) {
        Err(e) if known.is_some() && e.kind() == io::ErrorKind::NotFound => return Err(another(path)),
        dir => dir.map_err(|e| Error::io("open the destination", path, &e))?,
    };
    let found = find(&dir)?;
    if known.is_some_and(|known| found.as_deref() != Some(known)) {
        return Err(another(path));
    }
    if access == Access::Private {
        keep_private(&dir, is_new || found.is_some())?;
    }
    if known.is_none() {
        make_durable(&dir, is_new, found.is_some())?;
    }
    let mark = match found {
        Some(mark) => mark,
        None => give(&dir, access)?,
    };
    Ok((dir, mark))
}

/// The mark of a directory, if it has one.
///
/// # Errors
/// The file is not a mark; the system refused.
pub fn find(dir: &OpenDir) -> Result<Option<String>> {
    let bytes = match dir.read(MARKER, MARK_MAX) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|e| Error::io("read the destination's mark", &dir.path_of(MARKER), &e))?,
    };
    let mark = String::from_utf8(bytes).unwrap_or_default().trim_end().to_owned();
    if mark.len() == 32 && mark.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(Some(mark));
    }
    Err(Error::failed("this is not the mark of a destination of airpouch")
        .at(&dir.path_of(MARKER))
        .advise("something else wrote there; remove that file, and say --same-destination once"))
}

/// The file with the mark, by which a directory can be locked.
///
/// # Errors
/// The system refused.
pub fn file(dir: &OpenDir) -> io::Result<File> {
    dir.open_file(MARKER)
}

/// Makes a spool private to its owner. Refuses a directory with other content that others may use and that was no spool
/// before, so as not to lock them out.
///
/// # Errors
/// It belongs to another user; others may use it.
pub fn keep_private(dir: &OpenDir, was_ours: bool) -> Result<()> {
    let fault = |e: &io::Error| Error::io("look at the spool", dir.path(), e);
    if !dir.is_ours().map_err(|e| fault(&e))? {
        let owner = dir.owner().map_err(|e| fault(&e))?;
        return Err(Error::failed(format!("the spool belongs to another user (uid {owner})"))
            .at(dir.path())
            .advise("run airpouch as that user; or give the spool with all in it to the one who runs it (chown -R)"));
    }
    if !was_ours && dir.is_open_to_others().map_err(|e| fault(&e))? && !is_empty(dir)? {
        return Err(Error::failed("other users may enter this directory, and it holds other things than a spool")
            .at(dir.path())
            .advise("name a directory of its own for the spool; if it is to be this one: chmod 700"));
    }
    if !dir.make_private().map_err(|e| fault(&e))? {
        return Err(Error::failed("other users may enter the spool, and its file system keeps no permissions")
            .at(dir.path())
            .advise("mount it for this user alone (umask=077 on FAT), or name a directory on another disk"));
    }
    Ok(())
}

/// Whether it contains nothing but what mkfs creates on a new disk.
fn is_empty(dir: &OpenDir) -> Result<bool> {
    let fault = |e: &io::Error| Error::io("read the spool", dir.path(), e);
    for entry in dir.entries().map_err(|e| fault(&e))? {
        if entry.map_err(|e| fault(&e))?.name != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

fn another(path: &Path) -> Error {
    Error::failed("this is not the directory to which this site delivered before; is its share mounted?")
        .at(path)
        .advise("mount it; if it was moved or emptied on purpose, say --same-destination once")
}

/// Creates the directory if it does not exist. `true` if it did.
fn make(path: &Path, access: Access) -> Result<bool> {
    let mode = if access == Access::Private { 0o700 } else { 0o777 };
    let made = disk::uninterrupted(|| DirBuilder::new().mode(mode).create(path));
    match made.and_then(|()| disk::keep_owner_of(path)) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(e) => {
            let advice = "its parent directory must be there; is the share mounted?";
            return Err(Error::io("make the destination", path, &e).advise(advice));
        }
    }
    Ok(true)
}

/// Makes the directory's own name durable, and that of its mark: a run that died may have created either.
fn make_durable(dir: &OpenDir, is_new: bool, is_marked: bool) -> Result<()> {
    if let Some(parent) = dir.path().parent().filter(|_| !is_marked) {
        let synced = disk::sync_dir(parent);
        // A user who may not read the parent has not created it there.
        synced.map(drop).or_else(|error| if is_new { Err(error) } else { Ok(()) })?;
    }
    dir.sync().map(drop).map_err(|e| Error::io("sync the destination", dir.path(), &e))
}

fn give(dir: &OpenDir, access: Access) -> Result<String> {
    let mark: String = random::bytes::<16>()?.iter().map(|b| format!("{b:02x}")).collect();
    let mode = if access == Access::Private { 0o600 } else { 0o666 };
    let given = dir.write_over(MARKER, format!("{mark}\n").as_bytes(), mode).and_then(|()| dir.sync());
    given.map_err(|e| Error::io("write the destination's mark", &dir.path_of(MARKER), &e))?;
    Ok(mark)
}
