//! How much waits in a spool, as far as a look at its files shows it: without its lock, and without reading any message.

use std::io;
use std::path::Path;

use super::connectors::is_id;
use super::marked_directory;
use super::spool::number_of;
use super::spooled::REFUSED;
use crate::disk::OpenDir;
use crate::error::{Error, Result};
use crate::limits::BACKLOG_FILES_MAX;
use crate::report::SpoolBacklog;

/// Counts the messages of a spool.
///
/// # Errors
/// It is no spool; the system refused.
pub fn backlog(path: &Path) -> Result<SpoolBacklog> {
    let fault = |e: &io::Error| Error::io("read the spool", path, e);
    let root = OpenDir::open(path).map_err(|e| fault(&e))?;
    if marked_directory::find(&root)?.is_none() {
        return Err(Error::failed("this is no spool of airpouch").at(path));
    }
    let mut seen = SpoolBacklog::default();
    for entry in root.entries().map_err(|e| fault(&e))? {
        let entry = entry.map_err(|e| fault(&e))?;
        if entry.is_dir && is_id(&entry.name) {
            let of_connector = root.open_dir(&entry.name).and_then(|dir| count(&dir, &mut seen));
            match of_connector {
                // A drain or a person may move files meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                of_connector => of_connector.map_err(|e| fault(&e))?,
            }
        }
    }
    Ok(seen)
}

fn count(dir: &OpenDir, seen: &mut SpoolBacklog) -> io::Result<()> {
    for entry in dir.entries()? {
        if seen.messages + seen.refused >= BACKLOG_FILES_MAX {
            seen.is_more = true;
            return Ok(());
        }
        let entry = entry?;
        if entry.is_dir && entry.name == REFUSED {
            seen.refused += refused(&dir.open_dir(REFUSED)?)?;
        }
        let Some((_, false)) = number_of(&entry.name) else { continue };
        match dir.stat(&entry.name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            stat => {
                let stat = stat?;
                seen.messages += 1;
                seen.bytes += stat.st_size as u64;
                seen.oldest = Some(seen.oldest.map_or(stat.st_mtime, |oldest| oldest.min(stat.st_mtime)));
            }
        }
    }
    Ok(())
}

/// The messages that the broker refused.
fn refused(dir: &OpenDir) -> io::Result<u64> {
    let mut messages = 0;
    for entry in dir.entries()?.take(BACKLOG_FILES_MAX as usize) {
        messages += u64::from(matches!(number_of(&entry?.name), Some((_, false))));
    }
    Ok(messages)
}
