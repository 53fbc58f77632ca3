//! `dir:`: envelope files for OpenCTI's stock diode-import connector, 6.9.10 or newer.
//!
//! That connector takes files in the order of their mtime, passes over what is not newer than the last one,
//! deletes what it cannot read, and dies on the first surprise. So every file here is an envelope that it
//! takes, has a name of its own that ends in `.json` only once it is whole, and an mtime later than every
//! one before it, whatever the clock says (OPENCTI facts: `diode_import.py`, `_process_directory`).

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::beside::{Flusher, Writers};
use super::mark;
use super::{Deliverable, Delivery, Examiner, OpenWork, Placing, Prepared, Sink};
use crate::disk;
use crate::error::{Error, Result};
use crate::limits::PLACING_GROUP;

/// The connector compares mtimes as doubles, which are 238 ns apart in this century.
const STEP_NANOS: i64 = 1_000;
/// FAT keeps even seconds only.
const COARSE_STEP_NANOS: i64 = 2_000_000_000;
/// A directory that the stock connector reads. It must be airpouch's alone: another writer's file with a
/// later mtime would make the connector pass over ours.
pub struct Directory {
    path: PathBuf,
    mark: String,
    group: Vec<Placing>,
    last_mtime: i64,
    writers: Writers,
    flusher: Flusher,
}

impl Directory {
    /// Opens the directory. With the mark that an earlier run left, it must be that very directory; without one it
    /// is made if its parent is there, and marked. `last_mtime` is what the ledger kept; `threads` write at a time.
    ///
    /// # Errors
    /// It is not there, or another one lies in its place; the system refused.
    pub fn open(path: &Path, last_mtime: i64, mark: Option<&str>, threads: usize) -> Result<Self> {
        let mark = match mark {
            Some(known) => mark::expect(path, known)?,
            None => mark::find_or_make(path)?,
        };
        let (seconds, nanos) = disk::now();
        let now = seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanos));
        Ok(Self {
            path: path.to_owned(),
            mark,
            group: Vec::new(),
            last_mtime: last_mtime.max(now - STEP_NANOS),
            writers: Writers::new(threads),
            flusher: Flusher::new(path, threads)?,
        })
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.partial"))
    }

    /// Removes partial files of ours that the ledger does not know: a crash came before they were noted.
    fn sweep(&self, known: &[Placing]) -> Result<()> {
        let entries = fs::read_dir(&self.path).map_err(|e| Error::io("read the destination", &self.path, &e))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(stem) = name.to_str().and_then(|n| n.strip_suffix(".partial")) else { continue };
            if is_ours(stem) && !known.iter().any(|p| p.name == stem) {
                disk::remove_file(&entry.path())
                    .map_err(|e| Error::io("remove what a broken run left", &entry.path(), &e))?;
            }
        }
        Ok(())
    }

    /// Gives a staged envelope its name. Only the very same envelope is replaced, when it is delivered again.
    fn place(&self, name: &str) -> Result<()> {
        let (partial, target) = (self.partial(name), self.path.join(name));
        let fault = |e: &io::Error| Error::io("give an envelope its name", &target, e);
        match disk::rename_new(&partial, &target) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let same =
                    fs::read(&target).and_then(|there| Ok(there == fs::read(&partial)?)).map_err(|e| fault(&e))?;
                if !same {
                    return Err(Error::failed(
                        "another file lies under this name in the destination; it was not overwritten",
                    )
                    .at(&target)
                    .advise("the directory must be airpouch's alone; move that file away"));
                }
                disk::rename(&partial, &target).map_err(|e| fault(&e))
            }
            Err(e) => Err(fault(&e)),
        }
    }

    /// Where the file system rounds times, gives each file of the group a coarser one, later than those before.
    fn stamp_coarsely(&mut self, before: i64) -> Result<()> {
        self.last_mtime = before;
        let paths: Vec<PathBuf> = self.group.iter().map(|p| self.partial(&p.name)).collect();
        for (placing, path) in self.group.iter_mut().zip(paths) {
            let file = File::options().write(true).open(&path).map_err(|e| Error::io("open an envelope", &path, &e))?;
            let mut next = self.last_mtime + STEP_NANOS;
            let mut kept = stamp(&file, next).map_err(|e| Error::io("set a file's time", &path, &e))?;
            for _ in 0..3 {
                if kept > self.last_mtime {
                    break;
                }
                next += COARSE_STEP_NANOS;
                kept = stamp(&file, next).map_err(|e| Error::io("set a file's time", &path, &e))?;
            }
            if kept <= self.last_mtime {
                return Err(Error::failed(
                    "this file system does not keep a file's time; the stock connector would pass over files",
                )
                .at(&path));
            }
            self.last_mtime = kept;
            placing.mark = kept;
        }
        Ok(())
    }
}

/// Sets a file's mtime and says which one the file system kept.
fn stamp(file: &File, nanos: i64) -> io::Result<i64> {
    // Both times at once: file systems through FUSE pass over a call that sets only one of them.
    let at = UNIX_EPOCH + Duration::from_nanos(nanos.max(0) as u64);
    let times = FileTimes::new().set_accessed(at).set_modified(at);
    disk::uninterrupted(|| file.set_times(times))?;
    let metadata = file.metadata()?;
    Ok(metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec())
}

/// Writes an envelope under its partial name, and says whether the file system kept the mtime that it is to have.
fn write(path: &Path, bytes: &[u8], mtime: i64) -> Result<bool> {
    let fault = |e: &io::Error| Error::io("write to the destination", path, e);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path).map_err(|e| fault(&e))?;
    file.write_all(bytes).map_err(|e| fault(&e))?;
    Ok(stamp(&file, mtime).map_err(|e| fault(&e))? == mtime)
}

impl Sink for Directory {
    fn recover(&mut self, placing: Vec<Placing>) -> Result<Delivery> {
        self.sweep(&placing)?;
        for placing in &placing {
            // A partial file that is gone was given its name before the crash; perhaps it is eaten already.
            if self.partial(&placing.name).exists() {
                self.place(&placing.name)?;
            }
            self.last_mtime = self.last_mtime.max(placing.mark);
        }
        disk::sync_dir(&self.path)?;
        Ok(Delivery::of(placing))
    }

    fn examiner(&self) -> Examiner {
        Examiner::Whole
    }

    fn stage(&mut self, deliverable: Deliverable) -> Result<()> {
        let Deliverable { origin, bytes, name, applicant, .. } = deliverable;
        let name = format!("{name}.json");
        self.last_mtime += STEP_NANOS;
        let mtime = self.last_mtime;
        self.flusher.written(bytes.len());
        let path = self.partial(&name);
        self.writers.run(bytes.len(), Box::new(move || write(&path, &bytes, mtime)))?;
        self.group.push(Placing::of(&origin, name, mtime, applicant));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.group.len() >= PLACING_GROUP
    }

    fn prepare(&mut self, _note: &mut dyn FnMut(OpenWork) -> Result<()>) -> Result<Prepared> {
        let all_kept = self.writers.wait()?;
        if let (false, Some(first)) = (all_kept, self.group.first()) {
            self.stamp_coarsely(first.mark - STEP_NANOS)?;
        }
        if !self.group.is_empty() {
            self.flusher.sync(&self.path)?;
        }
        Ok(Prepared::Placing(self.group.clone()))
    }

    fn settle(&mut self, _all: bool, delivery: &mut Delivery) -> Result<()> {
        if self.group.is_empty() {
            return Ok(());
        }
        for placing in &self.group {
            self.place(&placing.name)?;
        }
        disk::sync_dir(&self.path)?;
        delivery.placed.append(&mut self.group);
        Ok(())
    }

    fn high_water(&self) -> i64 {
        self.last_mtime
    }

    fn mark(&self) -> &str {
        &self.mark
    }
}

/// `<16 hex>-<8 digits>-<8 digits>.json`, with eight hex digits more where two batches bear one number.
fn is_ours(name: &str) -> bool {
    let Some(parts) = name.strip_suffix(".json").map(|n| n.split('-').collect::<Vec<_>>()) else { return false };
    let hex = |t: &str, n: usize| t.len() == n && t.bytes().all(|b| b.is_ascii_hexdigit());
    match parts.as_slice() {
        [stream, rest @ ..] => hex(stream, 16) && (2..=3).contains(&rest.len()) && rest.iter().all(|r| hex(r, 8)),
        [] => false,
    }
}
