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
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use super::{Deliverable, Delivery, Placing, Sink, Unfit};
use crate::disk;
use crate::envelope::{Code, Envelope};
use crate::error::{Error, Result};
use crate::limits::PLACING_GROUP;

/// The connector compares mtimes as doubles, which are 238 ns apart in this century.
const STEP_NANOS: i64 = 1_000;
/// FAT keeps even seconds only.
const COARSE_STEP_NANOS: i64 = 2_000_000_000;
/// The types that the platform registers a connector of.
const CONNECTOR_TYPES: [&str; 6] = [
    "EXTERNAL_IMPORT",
    "INTERNAL_IMPORT_FILE",
    "INTERNAL_ENRICHMENT",
    "INTERNAL_ANALYSIS",
    "INTERNAL_EXPORT_FILE",
    "STREAM",
];

/// The hidden file by which a destination is known again: a share that is not mounted is another directory.
const MARKER: &str = ".airpouch";

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
        let found = fs::read_to_string(path.join(MARKER)).ok().map(|text| text.trim().to_owned());
        let mark = match (mark, found) {
            (Some(known), Some(found)) if known == found => found,
            (Some(_), _) => {
                return Err(Error::failed(
                    "this is not the directory to which this site delivered before; is its share mounted?",
                )
                .at(path)
                .advise("mount it; if it was moved or emptied on purpose, say --same-destination once"));
            }
            (None, Some(found)) if !found.is_empty() => found,
            (None, _) => mark_directory(path)?,
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
            placing.mtime = kept;
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

/// One envelope to write under its partial name, with the mtime that it is to have.
struct Job {
    path: PathBuf,
    bytes: Vec<u8>,
    mtime: i64,
}

impl Job {
    /// Writes it, and says whether the file system kept the mtime.
    fn run(&self) -> Result<bool> {
        let fault = |e: &io::Error| Error::io("write to the destination", &self.path, e);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).open(&self.path).map_err(|e| fault(&e))?;
        file.write_all(&self.bytes).map_err(|e| fault(&e))?;
        Ok(stamp(&file, self.mtime).map_err(|e| fault(&e))? == self.mtime)
    }
}

/// Threads that write envelopes beside the one that decides; none of them if only one thread is wanted, so that a
/// test can stop that one at each of its system calls.
struct Writers {
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Result<bool>>,
    finished: SyncSender<Result<bool>>,
    waiting: usize,
}

/// Envelopes that wait for a writer, at most; each may be large.
const JOBS_WAITING: usize = 4;

impl Writers {
    fn new(threads: usize) -> Self {
        let (finished, done) = sync_channel(PLACING_GROUP * 2);
        let jobs = (threads > 1).then(|| {
            let (sender, receiver) = sync_channel::<Job>(JOBS_WAITING);
            let receiver = Arc::new(Mutex::new(receiver));
            for _ in 0..threads.min(4) {
                let (receiver, finished) = (Arc::clone(&receiver), finished.clone());
                std::thread::spawn(move || {
                    loop {
                        let job = receiver.lock().expect("no thread panics with it").recv();
                        let Ok(job) = job else { return };
                        if finished.send(job.run()).is_err() {
                            return;
                        }
                    }
                });
            }
            sender
        });
        Self { jobs, done, finished, waiting: 0 }
    }

    fn write(&mut self, job: Job) -> Result<()> {
        self.waiting += 1;
        let sent = match &self.jobs {
            Some(jobs) => jobs.send(job).is_ok(),
            None => self.finished.send(job.run()).is_ok(),
        };
        if sent { Ok(()) } else { Err(Error::failed("the threads that write to the destination have ended")) }
    }

    /// Waits for all that was given out. `false` if some mtime was not kept.
    fn wait(&mut self) -> Result<bool> {
        let mut all = Ok(true);
        for _ in 0..std::mem::take(&mut self.waiting) {
            let done =
                self.done.recv().map_err(|_| Error::failed("the threads that write to the destination have ended"))?;
            all = match (all, done) {
                (Ok(a), Ok(b)) => Ok(a && b),
                (Err(e), _) | (_, Err(e)) => Err(e),
            };
        }
        all
    }
}

/// Keeps the disk busy while a group is being staged, so that little is left to wait for at its end. What counts is
/// the sync at the end; this one only begins earlier.
struct Flusher {
    dir: Arc<Flushed>,
    ask: Option<SyncSender<()>>,
    since: usize,
}

/// One descriptor for all syncs: the kernel tells a write error once for each.
struct Flushed {
    dir: File,
    failed: Mutex<Option<io::Error>>,
}

/// Bytes after which the disk is set to work.
const FLUSH_EVERY: usize = 16 << 20;

impl Flusher {
    fn new(path: &Path, threads: usize) -> Result<Self> {
        let dir = File::open(path).map_err(|e| Error::io("open the destination", path, &e))?;
        let dir = Arc::new(Flushed { dir, failed: Mutex::new(None) });
        let ask = (threads > 1).then(|| {
            let (ask, asked) = sync_channel(1);
            let dir = Arc::clone(&dir);
            std::thread::spawn(move || {
                while asked.recv().is_ok() {
                    let mut failed = dir.failed.lock().expect("no thread panics with it");
                    if let Err(e) = disk::sync_all_of(&dir.dir) {
                        *failed = Some(e);
                    }
                }
            });
            ask
        });
        Ok(Self { dir, ask, since: 0 })
    }

    fn written(&mut self, bytes: usize) {
        self.since += bytes;
        if let Some(ask) = self.ask.as_ref().filter(|_| self.since >= FLUSH_EVERY) {
            // One that is asked already will do.
            let _ = ask.try_send(());
            self.since = 0;
        }
    }

    fn sync(&mut self, path: &Path) -> Result<()> {
        self.since = 0;
        let mut failed = self.dir.failed.lock().expect("no thread panics with it");
        let synced = disk::sync_all_of(&self.dir.dir);
        failed.take().map_or(synced, Err).map_err(|e| Error::io("sync the file system", path, &e))
    }
}

impl Sink for Directory {
    fn recover(&mut self, placing: Vec<Placing>) -> Result<Delivery> {
        self.sweep(&placing)?;
        for placing in &placing {
            // A partial file that is gone was given its name before the crash; perhaps it is eaten already.
            if self.partial(&placing.name).exists() {
                self.place(&placing.name)?;
            }
            self.last_mtime = self.last_mtime.max(placing.mtime);
        }
        disk::sync_dir(&self.path)?;
        Ok(Delivery(placing))
    }

    /// What the stock connector would delete, or die on, as far as that can be seen without splitting.
    fn fitness(&self, envelope: &Envelope) -> std::result::Result<(), Unfit> {
        let contents = &envelope.contents;
        if contents.objects == 0 {
            return Err(Unfit::Empty);
        }
        if let Some(found) = contents.findings.iter().find(|f| f.code == Code::Unsplittable) {
            return Err(Unfit::Quarantine {
                code: found.code.word(),
                what: found.what.clone(),
                place: found.place.clone(),
            });
        }
        let kind = envelope.connector.kind.as_str();
        if !CONNECTOR_TYPES.contains(&kind) {
            let what = format!("the platform knows no connector of type {}", crate::text::harmless(kind));
            return Err(Unfit::Hold { code: "connector-type", what, place: "/connector/type".into() });
        }
        if envelope.connector.name.trim().chars().count() < 2 {
            let what = "the platform registers no connector whose name is shorter than two characters".to_owned();
            return Err(Unfit::Hold { code: "connector-name", what, place: "/connector/name".into() });
        }
        if contents.compatible == 0 {
            // The connector raises «Nothing to import» on it, and takes nothing that comes after.
            return Err(Unfit::Empty);
        }
        Ok(())
    }

    fn stage(&mut self, deliverable: Deliverable) -> Result<()> {
        let Deliverable { sha256, bytes, batch, ordinal, name, applicant } = deliverable;
        let name = format!("{name}.json");
        self.last_mtime += STEP_NANOS;
        let mtime = self.last_mtime;
        self.flusher.written(bytes.len());
        self.writers.write(Job { path: self.partial(&name), bytes, mtime })?;
        self.group.push(Placing { sha256, batch, ordinal, name, mtime, applicant });
        Ok(())
    }

    fn staged(&self) -> usize {
        self.group.len()
    }

    fn prepare(&mut self) -> Result<Vec<Placing>> {
        let all_kept = self.writers.wait()?;
        if let (false, Some(first)) = (all_kept, self.group.first()) {
            self.stamp_coarsely(first.mtime - STEP_NANOS)?;
        }
        if !self.group.is_empty() {
            self.flusher.sync(&self.path)?;
        }
        Ok(self.group.clone())
    }

    fn settle(&mut self) -> Result<Delivery> {
        for placing in &self.group {
            self.place(&placing.name)?;
        }
        disk::sync_dir(&self.path)?;
        Ok(Delivery(std::mem::take(&mut self.group)))
    }

    fn high_water(&self) -> i64 {
        self.last_mtime
    }

    fn mark(&self) -> &str {
        &self.mark
    }
}

fn mark_directory(path: &Path) -> Result<String> {
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

/// `<16 hex>-<8 digits>-<8 digits>.json`, with eight hex digits more where two batches bear one number.
fn is_ours(name: &str) -> bool {
    let Some(parts) = name.strip_suffix(".json").map(|n| n.split('-').collect::<Vec<_>>()) else { return false };
    let hex = |t: &str, n: usize| t.len() == n && t.bytes().all(|b| b.is_ascii_hexdigit());
    match parts.as_slice() {
        [stream, rest @ ..] => hex(stream, 16) && (2..=3).contains(&rest.len()) && rest.iter().all(|r| hex(r, 8)),
        [] => false,
    }
}
