//! Background writers and an early flusher for file destinations.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use crate::disk::{self, OpenDir};
use crate::error::{Error, Result};
use crate::lack;
use crate::lock::lock;

/// A write; [`Writers::wait`] gathers its result.
pub type Job<T> = Box<dyn FnOnce() -> Result<T> + Send>;

/// Bytes of the jobs that are passed to a thread together: waking a thread for each small file takes longer than
/// writing it.
const GROUP_JOBS: usize = 64;
const GROUP_BYTES: usize = 1 << 20;
/// Groups that wait for a writer, at most.
const GROUPS_WAITING: usize = 4;

/// Jobs and their bytes together.
type Group<T> = (usize, Vec<Job<T>>);

/// Threads that write. There are none if only one thread is wanted, so that a test can stop it at each of its system
/// calls, or if the system starts none.
pub struct Writers<T> {
    groups: Option<SyncSender<Group<T>>>,
    done: Receiver<(usize, Result<Vec<T>>)>,
    finished: Sender<(usize, Result<Vec<T>>)>,
    /// The group that is being filled.
    filling: Group<T>,
    /// Groups that were passed on and not gathered, and their bytes.
    waiting: usize,
    bytes: usize,
    /// The results gathered so far.
    all: Result<Vec<T>>,
}

/// Bytes of envelopes that the writers hold at a time; a larger one is held alone.
const BYTES_WAITING: usize = 32 << 20;

impl<T: Send + 'static> Writers<T> {
    /// Starts this many threads, four at most.
    pub fn new(threads: usize) -> Self {
        let (finished, done) = channel();
        let mut groups = None;
        if threads > 1 {
            let (sender, receiver) = sync_channel::<Group<T>>(GROUPS_WAITING);
            let receiver = Arc::new(Mutex::new(receiver));
            let start = |_: &usize| {
                let (receiver, finished) = (Arc::clone(&receiver), finished.clone());
                lack::spawn("writer", move || write_each(&receiver, &finished)).is_ok()
            };
            // With fewer threads it only takes longer.
            groups = ((0..threads.min(4)).take_while(start).count() > 0).then_some(sender);
        }
        Self { groups, done, finished, filling: (0, Vec::new()), waiting: 0, bytes: 0, all: Ok(Vec::new()) }
    }

    /// Passes a job to a thread, together with earlier ones, or runs it here. It holds `bytes` bytes of memory until it
    /// is done.
    ///
    /// # Errors
    /// The threads have ended.
    pub fn run(&mut self, bytes: usize, job: Job<T>) -> Result<()> {
        self.filling.0 += bytes;
        self.filling.1.push(job);
        let is_full = self.filling.0 >= GROUP_BYTES || self.filling.1.len() >= GROUP_JOBS;
        if is_full || self.groups.is_none() { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<()> {
        let group = std::mem::take(&mut self.filling);
        if group.1.is_empty() {
            return Ok(());
        }
        while self.waiting > 0 && self.bytes + group.0 > BYTES_WAITING {
            self.gather()?;
        }
        self.waiting += 1;
        self.bytes += group.0;
        let sent = match &self.groups {
            Some(groups) => groups.send(group).is_ok(),
            None => self.finished.send((group.0, do_all(group.1))).is_ok(),
        };
        if sent { Ok(()) } else { Err(ended()) }
    }

    /// Waits for all jobs, and returns their results, in any order.
    ///
    /// # Errors
    /// The first error of a job.
    pub fn wait(&mut self) -> Result<Vec<T>> {
        self.hand_over()?;
        while self.waiting > 0 {
            self.gather()?;
        }
        std::mem::replace(&mut self.all, Ok(Vec::new()))
    }

    /// Waits for one group.
    fn gather(&mut self) -> Result<()> {
        let (bytes, done) = self.done.recv().map_err(|_| ended())?;
        self.waiting -= 1;
        self.bytes -= bytes;
        match (&mut self.all, done) {
            (Ok(all), Ok(done)) => all.extend(done),
            (all @ Ok(_), Err(e)) => *all = Err(e),
            (Err(_), _) => {}
        }
        Ok(())
    }
}

fn write_each<T>(groups: &Mutex<Receiver<Group<T>>>, finished: &Sender<(usize, Result<Vec<T>>)>) {
    loop {
        let group = lock(groups).recv();
        let Ok((bytes, jobs)) = group else { return };
        // A job that panics must not leave the others waiting for it.
        let done = catch_unwind(AssertUnwindSafe(|| do_all(jobs))).unwrap_or_else(|_| Err(ended()));
        if finished.send((bytes, done)).is_err() {
            return;
        }
    }
}

/// The results of all jobs, or the first error.
fn do_all<T>(jobs: Vec<Job<T>>) -> Result<Vec<T>> {
    jobs.into_iter().map(|job| job()).collect()
}

fn ended() -> Error {
    Error::failed("the threads that write to the destination have ended")
}

/// Keeps the disk busy while a group is being staged, so that the sync at the end takes little time. Only the sync at
/// the end counts; this one only begins earlier.
pub struct Flusher {
    dir: Arc<Flushed>,
    ask: Option<SyncSender<()>>,
    since: usize,
}

/// One descriptor for all syncs: the kernel reports a write error once for each descriptor.
struct Flushed {
    dir: File,
    failed: Mutex<Option<io::Error>>,
}

/// Bytes after which a sync begins.
const FLUSH_EVERY: usize = 16 << 20;

impl Flusher {
    /// Keeps the directory open.
    ///
    /// # Errors
    /// The system has no free descriptor.
    pub fn new(root: &OpenDir, threads: usize) -> Result<Self> {
        let dir = root.file().try_clone().map_err(|e| Error::io("open the destination", root.path(), &e))?;
        let dir = Arc::new(Flushed { dir, failed: Mutex::new(None) });
        let mut ask = None;
        if threads > 1 {
            let (sender, asked) = sync_channel(1);
            let dir = Arc::clone(&dir);
            // Without a thread the sync at the end takes longer.
            ask = lack::spawn("flusher", move || flush_when(&asked, &dir)).is_ok().then_some(sender);
        }
        Ok(Self { dir, ask, since: 0 })
    }

    /// This many more bytes are to be written.
    pub fn written(&mut self, bytes: usize) {
        self.since += bytes;
        if let Some(ask) = self.ask.as_ref().filter(|_| self.since >= FLUSH_EVERY) {
            // A sync that is already requested is enough.
            let _ = ask.try_send(());
            self.since = 0;
        }
    }

    /// Waits until all is on the disk.
    ///
    /// # Errors
    /// The system refused, now or in the thread.
    pub fn sync(&mut self, path: &Path) -> Result<()> {
        self.since = 0;
        let mut failed = lock(&self.dir.failed);
        let synced = disk::sync_all_of(&self.dir.dir);
        failed.take().map_or(synced, Err).map_err(|e| Error::io("sync the file system", path, &e))
    }
}

fn flush_when(asked: &Receiver<()>, dir: &Flushed) {
    while asked.recv().is_ok() {
        let mut failed = lock(&dir.failed);
        if let Err(e) = disk::sync_all_of(&dir.dir) {
            *failed = Some(e);
        }
    }
}
