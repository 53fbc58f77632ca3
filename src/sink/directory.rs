//! `dir:`: envelope files for OpenCTI's stock diode-import connector, 6.9.10 or newer.
//!
//! That connector reads files in the order of their mtime, skips a file that is not newer than the last one, deletes
//! what it cannot read, and crashes on unexpected input. So every file here is an envelope that it accepts, gets a
//! unique name that ends in `.json` only once it is complete, and has an mtime later than every earlier file, whatever
//! the clock shows (OPENCTI facts: `diode_import.py`, `_process_directory`).
//!
//! Other users may write in the destination, at least the connector's user. So envelopes are written in a private
//! directory below it (`directory/staging.rs`), and renamed from there.

mod staging;
mod times;

use std::collections::HashSet;
use std::fs::{File, FileTimes, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use self::staging::{Left, Staging};
use self::times::{STEP_NANOS, Times};
use super::background::{Flusher, Writers};
use super::marked_directory::{self, Access};
use super::{Deferred, Deliverable, Delivery, Did, Effects, Ended, Placing, Prepared, Sink, WriteAhead};
use crate::batch::name::{of_partial, partial};
use crate::clock;
use crate::code::Code;
use crate::disk::{self, FileId, OpenDir};
use crate::envelope::Connector;
use crate::error::{Error, Result};
use crate::fit::{Examiner, Unfit};
use crate::limits::{ENVELOPE_MAX, PLACING_GROUP, PLACING_GROUP_BYTES};
use crate::text::harmless_bytes;

/// FAT stores even seconds only.
const COARSE_STEP_NANOS: i64 = 2_000_000_000;

/// A directory that the stock connector reads. No other program may write in it: another file with a later mtime would
/// make the connector skip ours.
pub struct Directory {
    root: OpenDir,
    mark: String,
    staging: Staging,
    group: Vec<StagedFile>,
    /// Bytes of the group.
    bytes: usize,
    times: Times,
    writers: Writers<WrittenFile>,
    flusher: Flusher,
}

/// An envelope of the group.
struct StagedFile {
    placing: Placing,
    /// The file that was written, if the file system keeps its number.
    id: Option<FileId>,
}

/// The result of writing a file.
struct WrittenFile {
    /// Its place in the group.
    at: usize,
    id: Option<FileId>,
    /// Whether the file system kept the mtime that was set.
    kept: bool,
}

impl Directory {
    /// Opens the directory. If an earlier run left a mark, the directory must have it; if not, the directory is created
    /// if its parent exists, and gets a mark. `last_mtime` is the last one in the ledger; `threads` threads write.
    ///
    /// # Errors
    /// It does not exist, or another directory is in its place; the system refused.
    pub fn open(path: &Path, last_mtime: i64, mark: Option<&str>, threads: usize) -> Result<Self> {
        let (root, mark) = marked_directory::open(path, mark, Access::Shared)?;
        let (seconds, nanos) = clock::now();
        let now = seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanos));
        Ok(Self {
            mark,
            staging: Staging::find(&root)?,
            group: Vec::new(),
            bytes: 0,
            times: Times::new(last_mtime, now),
            writers: Writers::new(threads),
            flusher: Flusher::new(&root, threads)?,
            root,
        })
    }

    /// Removes our partial files that the ledger does not know: a run crashed before it noted them.
    fn sweep(&self, known: &[Placing]) -> Result<()> {
        let known: HashSet<&str> = known.iter().map(|p| p.name.as_str()).collect();
        let is_known = |name: &str| known.contains(name);
        self.staging.sweep(is_known)?;
        for entry in self.root.entries().map_err(|e| self.unreadable(&e))? {
            let entry = entry.map_err(|e| self.unreadable(&e))?;
            let Some(stem) = of_partial(&entry.name) else { continue };
            if is_ours(stem) && !entry.is_dir && !is_known(stem) {
                self.root
                    .remove(&entry.name)
                    .map_err(|e| Error::io("remove what a broken run left", &self.root.path_of(&entry.name), &e))?;
            }
        }
        Ok(())
    }

    fn unreadable(&self, cause: &io::Error) -> Error {
        Error::io("read the destination", self.root.path(), cause)
    }

    /// Gives an envelope that a crash interrupted its name, if it has none yet.
    fn place_again(&self, name: &str) -> Result<bool> {
        if let Left::In(dir) = self.staging.look_for(&self.root, name)? {
            return self.place(&dir, name, None);
        }
        // Airpouch 0.1.0 wrote it here, where others can write: only a file that nobody else has created or linked is
        // accepted.
        let old = partial(name);
        let ours = rustix::process::geteuid().as_raw();
        match self.root.stat(&old) {
            Ok(stat) if stat.st_uid == ours => self.place(&self.root, name, None),
            // A missing file got its name before the crash; the connector may have deleted it already.
            _ => Ok(true),
        }
    }

    /// Gives a staged envelope its name. It replaces only the same envelope, when that is delivered again; `false` if
    /// anything else has the name.
    fn place(&self, dir: &OpenDir, name: &str, id: Option<FileId>) -> Result<bool> {
        let (from, target) = (partial(name), self.root.path_of(name));
        let fault = |e: &io::Error| Error::io("give an envelope its name", &target, e);
        if !dir.is_plain(&from, id).map_err(|e| fault(&e))? {
            return Err(Error::failed("this is not the file that airpouch wrote; it was not delivered")
                .at(&dir.path_of(&from))
                .advise("find out who writes in the destination; then import again"));
        }
        match dir.rename_new(&from, &self.root, name) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let is_same = match self.root.read(name, ENVELOPE_MAX) {
                    Ok(there) => there == dir.read(&from, ENVELOPE_MAX).map_err(|e| fault(&e))?,
                    Err(_) => false,
                };
                if is_same {
                    dir.rename(&from, &self.root, name).map_err(|e| fault(&e))?;
                }
                Ok(is_same)
            }
            Err(e) => Err(fault(&e)),
        }
    }

    /// If the file system rounds times, gives each file of the group a coarser time, later than those before.
    fn stamp_coarsely(&mut self, dir: &OpenDir) -> Result<()> {
        let mut last = self.group.first().map_or(0, |first| first.placing.order - STEP_NANOS);
        for StagedFile { placing, .. } in &mut self.group {
            let path = dir.path_of(&partial(&placing.name));
            let file = dir.open_file(&partial(&placing.name)).map_err(|e| Error::io("open an envelope", &path, &e))?;
            let mut next = last + STEP_NANOS;
            let stamped = |at| stamp(&file, at).map_err(|e| Error::io("set a file's time", &path, &e));
            let mut kept = mtime_of(&stamped(next)?);
            for _ in 0..3 {
                if kept > last {
                    break;
                }
                next += COARSE_STEP_NANOS;
                kept = mtime_of(&stamped(next)?);
            }
            if kept <= last {
                return Err(Error::failed(
                    "this file system does not keep a file's time; the stock connector would pass over files",
                )
                .at(&path));
            }
            last = kept;
            placing.order = kept;
        }
        self.times.go_on_from(last);
        Ok(())
    }

    /// The mark of the directory.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    fn none(&self) -> Effects {
        Effects::none(self.times.last())
    }

    fn recover_all(&mut self, placing: Vec<Placing>) -> Result<Delivery> {
        self.sweep(&placing)?;
        let mut delivery = Delivery::none(0);
        for placing in placing {
            self.times.go_on_from(placing.order);
            // An envelope whose name somebody used meanwhile is not delivered: it is delivered again with its batch.
            if self.place_again(&placing.name)? {
                delivery.placed.push(placing);
            } else {
                delivery.deferred.push(taken(placing, &self.root));
            }
        }
        self.root.sync().map_err(|e| Error::io("sync a directory", self.root.path(), &e))?;
        delivery.high_water = self.times.last();
        Ok(delivery)
    }

    fn make_durable(&mut self) -> Result<()> {
        let mut all_kept = true;
        for WrittenFile { at, id, kept } in self.writers.wait()? {
            all_kept &= kept;
            self.group[at].id = id;
        }
        if self.group.is_empty() {
            return Ok(());
        }
        if !all_kept {
            let dir = self.staging.current(&self.root)?;
            self.stamp_coarsely(&dir)?;
        }
        self.flusher.sync(self.root.path())
    }

    fn place_group(&mut self, delivery: &mut Delivery) -> Result<()> {
        if self.group.is_empty() {
            return Ok(());
        }
        let dir = self.staging.current(&self.root)?;
        self.bytes = 0;
        let mut placed = Vec::with_capacity(self.group.len());
        for StagedFile { placing, id } in std::mem::take(&mut self.group) {
            if self.place(&dir, &placing.name, id)? {
                placed.push(placing);
                continue;
            }
            let from = partial(&placing.name);
            dir.remove(&from).map_err(|e| Error::io("remove an envelope", &dir.path_of(&from), &e))?;
            delivery.deferred.push(taken(placing, &self.root));
        }
        self.root.sync().map_err(|e| Error::io("sync a directory", self.root.path(), &e))?;
        // Not before their names are durable.
        delivery.placed = placed;
        Ok(())
    }
}

/// Sets a file's mtime, and returns the metadata that the file system kept.
fn stamp(file: &File, nanos: i64) -> io::Result<Metadata> {
    // Both times at once: file systems through FUSE ignore a call that sets only one of them.
    let at = UNIX_EPOCH + Duration::from_nanos(nanos.max(0) as u64);
    let times = FileTimes::new().set_accessed(at).set_modified(at);
    disk::uninterrupted(|| file.set_times(times))?;
    file.metadata()
}

fn mtime_of(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// Writes an envelope under its partial name.
fn write(dir: &OpenDir, placing: &Placing, bytes: &[u8], keeps_ids: bool) -> Result<(Option<FileId>, bool)> {
    let work = || {
        let mut file = staging::create(dir, &placing.name)?;
        file.write_all(bytes)?;
        let metadata = stamp(&file, placing.order)?;
        Ok((keeps_ids.then(|| FileId::from(&metadata)), mtime_of(&metadata) == placing.order))
    };
    work().map_err(|e: io::Error| Error::io("write to the destination", &dir.path_of(&partial(&placing.name)), &e))
}

impl Sink for Directory {
    fn recover(&mut self, placing: Vec<Placing>) -> Did<()> {
        match self.recover_all(placing) {
            Ok(delivery) => (Effects::of(delivery), Ok(())),
            Err(cause) => (self.none(), Err(cause)),
        }
    }

    fn examiner(&self) -> Examiner {
        Examiner::Whole
    }

    fn admits(&mut self, _connector: &Connector, _ahead: &mut dyn WriteAhead) -> Did<Option<Unfit>> {
        (self.none(), Ok(None))
    }

    fn stage(&mut self, deliverable: Deliverable) -> Result<bool> {
        let Deliverable { origin, bytes, name, applicant, .. } = deliverable;
        let mtime = self.times.next(origin.mtime.map(|mtime| mtime.seconds()));
        let placing = Placing::of(&origin, format!("{name}.json"), mtime, applicant);
        let size = bytes.len();
        self.bytes += size;
        self.flusher.written(size);
        let (dir, at, keeps_ids) = (self.staging.current(&self.root)?, self.group.len(), self.staging.keeps_ids());
        self.group.push(StagedFile { placing: placing.clone(), id: None });
        let job = move || write(&dir, &placing, &bytes, keeps_ids).map(|(id, kept)| WrittenFile { at, id, kept });
        self.writers.run(size, Box::new(job))?;
        Ok(self.group.len() >= PLACING_GROUP || self.bytes >= PLACING_GROUP_BYTES)
    }

    fn prepare(&mut self, _ahead: &mut dyn WriteAhead) -> Did<Prepared> {
        let durable = self.make_durable();
        let placing = || Prepared::Placing(self.group.iter().map(|staged| staged.placing.clone()).collect());
        let prepared = durable.map(|()| placing());
        (Effects { findings: self.times.findings(), ..self.none() }, prepared)
    }

    fn settle(&mut self, _all: bool, _ahead: &mut dyn WriteAhead) -> Did<()> {
        let mut delivery = Delivery::none(self.times.last());
        let placed = self.place_group(&mut delivery);
        (Effects::of(delivery), placed)
    }

    fn wait(&mut self) -> Did<bool> {
        (self.none(), Ok(false))
    }

    fn close(&mut self, _ended: Ended<'_>, _ahead: &mut dyn WriteAhead) -> Did<()> {
        (self.none(), Ok(()))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.staging.close(&self.root);
    }
}

fn taken(placing: Placing, root: &OpenDir) -> Deferred {
    let path = harmless_bytes(root.path_of(&placing.name).as_os_str().as_encoded_bytes());
    let what = format!("the destination has another file of its name, which is not overwritten: {path}");
    let advice = "the directory must be airpouch's alone; move that file away, then import again".to_owned();
    Deferred { placing, code: Code::NameTaken, what, advice }
}

/// `<16 hex>-<8 digits>-<8 digits>.json`, with eight hex digits more if two batches have one number.
fn is_ours(name: &str) -> bool {
    let Some(parts) = name.strip_suffix(".json").map(|n| n.split('-').collect::<Vec<_>>()) else { return false };
    let hex = |t: &str, n: usize| t.len() == n && t.bytes().all(|b| b.is_ascii_hexdigit());
    match parts.as_slice() {
        [stream, rest @ ..] => hex(stream, 16) && (2..=3).contains(&rest.len()) && rest.iter().all(|r| hex(r, 8)),
        [] => false,
    }
}
