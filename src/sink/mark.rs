//! The hidden file by which a destination is known again: a share that is not mounted is another directory.

use std::fs;
use std::io;
use std::path::Path;

use crate::disk;
use crate::error::{Error, Result};

const MARKER: &str = ".airpouch";

/// The mark that a directory bears.
pub fn find(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path.join(MARKER)).ok()?;
    Some(text.trim().to_owned()).filter(|mark| !mark.is_empty())
}

/// The file with the mark, by which a directory can be locked.
///
/// # Errors
/// The system refused.
pub fn file(path: &Path) -> io::Result<fs::File> {
    fs::File::open(path.join(MARKER))
}

/// The mark of a directory that must be this one.
///
/// # Errors
/// It bears another mark, or none.
pub fn expect(path: &Path, known: &str) -> Result<String> {
    find(path).filter(|found| found == known).ok_or_else(|| {
        Error::failed("this is not the directory to which this site delivered before; is its share mounted?")
            .at(path)
            .advise("mount it; if it was moved or emptied on purpose, say --same-destination once")
    })
}

/// The mark of a directory, which is made if its parent is there, and marked if it is not.
///
/// # Errors
/// The system refused.
pub fn find_or_make(path: &Path) -> Result<String> {
    if let Some(mark) = find(path) {
        return Ok(mark);
    }
    if !path.is_dir() {
        disk::uninterrupted(|| fs::create_dir(path)).map_err(|e| {
            Error::io("make the destination", path, &e)
                .advise("its parent directory must be there; is the share mounted?")
        })?;
        if let Some(parent) = path.parent() {
            disk::sync_dir(parent)?;
        }
    }
    let mark: String = disk::random::<16>()?.iter().map(|b| format!("{b:02x}")).collect();
    disk::write_over(path, MARKER, format!("{mark}\n").as_bytes())?;
    Ok(mark)
}
