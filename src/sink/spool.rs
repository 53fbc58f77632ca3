//! `spool:`: the messages for the queues of a broker, as files: `PATH/<connector id>/connector.json`, which is the
//! connector's registration, and beside it `<number, 12 digits>.json`, each the body of one `QUEUE_BUNDLE` message.
//!
//! Numbers are given once and rise over all connectors, so that each connector's messages, and all of them together,
//! have the order of delivery. They and the bytes are fixed before the ledger notes them, so that a crash repeats
//! nothing: a file that is still `.partial` gets its name in the next run, and one that is gone had it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::beside::{Flusher, Writers};
use super::mark;
use super::{Deliverable, Delivery, Examined, Examiner, OpenWork, Placing, Prepared, Sink, registration};
use crate::disk;
use crate::error::{Error, Result};
use crate::limits::PLACING_GROUP;
use crate::opencti::message::{Addressee, Messages, spare_bundle_id};

/// The file with a connector's registration.
pub(super) const REGISTRATION: &str = "connector.json";
/// Digits of a message's number.
const DIGITS: usize = 12;
const NUMBER_MAX: i64 = 999_999_999_999;

/// A directory of messages. It must be airpouch's alone.
pub struct Spool {
    path: PathBuf,
    mark: String,
    group: Vec<Placing>,
    files: usize,
    /// The last number that was given out.
    last: i64,
    /// What stands in each connector's registration, as far as it was looked at.
    registered: BTreeMap<String, Vec<u8>>,
    writers: Writers,
    flusher: Flusher,
}

impl Spool {
    /// Opens the directory, or makes it if its parent is there. `last` is the number that the ledger kept; `threads`
    /// write at a time. With a `mark` it must be that very directory: what a crash left there is to be finished.
    /// Without one any directory is as good, for a spool may be taken away whole.
    ///
    /// # Errors
    /// It is another one, or cannot be made; the system refused.
    pub fn open(path: &Path, last: i64, mark: Option<&str>, threads: usize) -> Result<Self> {
        let mark = match mark {
            Some(known) => mark::expect(path, known)?,
            None => mark::find_or_make(path)?,
        };
        Ok(Self {
            path: path.to_owned(),
            mark,
            group: Vec::new(),
            files: 0,
            last,
            registered: BTreeMap::new(),
            writers: Writers::new(threads),
            flusher: Flusher::new(path, threads)?,
        })
    }

    /// Looks through the spool once: what a crash left and the ledger does not know goes, and no number that is there
    /// is given out again, also if the ledger is new.
    fn sweep(&mut self, known: &[Placing]) -> Result<()> {
        let read = |path: &Path| fs::read_dir(path).map_err(|e| Error::io("read the spool", path, &e));
        let known: Vec<(String, RangeInclusive<i64>)> = known.iter().filter_map(|p| numbers_of(&p.name)).collect();
        let fault = |e: &io::Error| Error::io("read the spool", &self.path, e);
        let mut last = self.last;
        for connector in read(&self.path)? {
            let connector = connector.map_err(|e| fault(&e))?;
            let id = connector.file_name().to_string_lossy().into_owned();
            // Others' directories are not looked into, such as lost+found; nor is a link followed.
            let is_ours = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if !is_ours || !connector.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            for entry in read(&connector.path())? {
                let entry = entry.map_err(|e| fault(&e))?;
                let name = entry.file_name();
                let Some((number, partial)) = name.to_str().and_then(number_of) else { continue };
                if !partial {
                    last = last.max(number);
                } else if !known.iter().any(|(of, numbers)| *of == id && numbers.contains(&number)) {
                    disk::remove_file(&entry.path())
                        .map_err(|e| Error::io("remove what a broken run left", &entry.path(), &e))?;
                }
            }
        }
        self.last = last;
        Ok(())
    }

    /// Writes a connector's registration, unless it is there.
    fn register(&mut self, connector: &crate::envelope::Connector) -> Result<()> {
        let dir = self.path.join(&connector.id);
        let text = serde_json::to_vec(&registration(connector))
            .map_err(|e| Error::failed(format!("a connector cannot be written as JSON: {e}")).at(&dir))?;
        if self.registered.get(&connector.id) == Some(&text) {
            return Ok(());
        }
        make_directory(&dir)?;
        if fs::read(dir.join(REGISTRATION)).ok().as_ref() != Some(&text) {
            disk::write_over_unsynced(&dir, REGISTRATION, &text)?;
        }
        self.registered.insert(connector.id.clone(), text);
        Ok(())
    }

    /// Gives the messages of an envelope their names, in order. After a crash one whose partial file is gone has had its
    /// name in the run before; else it must be there, for it was written just now.
    fn place(&self, placing: &Placing, after_crash: bool) -> Result<()> {
        let Some((connector, numbers)) = numbers_of(&placing.name) else {
            return Err(Error::failed("the ledger notes something for this spool that no spool has")
                .at(&self.path)
                .advise("the ledger was changed by something else; bring it back from a backup"));
        };
        let dir = self.path.join(connector);
        for number in numbers {
            let (partial, target) = (dir.join(partial(number)), dir.join(name(number)));
            match disk::rename_new(&partial, &target) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound && after_crash => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(Error::failed(
                        "another file lies under this name in the spool; it was not overwritten",
                    )
                    .at(&target)
                    .advise("the spool must be airpouch's alone; move that file away"));
                }
                Err(e) => {
                    return Err(Error::io("give a message its name", &target, &e).advise(
                        "nothing else may touch the spool; see that its file system is there, then import again",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Makes the names of a group durable, by directory.
    fn sync(&self, group: &[Placing]) -> Result<()> {
        let mut connectors: Vec<String> = group.iter().filter_map(|p| numbers_of(&p.name)).map(|(id, _)| id).collect();
        connectors.sort_unstable();
        connectors.dedup();
        for connector in connectors {
            match self.path.join(connector) {
                dir if dir.is_dir() => drop(disk::sync_dir(&dir)?),
                // Taken away with all its messages since they were noted.
                _ => {}
            }
        }
        Ok(())
    }
}

impl Sink for Spool {
    fn recover(&mut self, placing: Vec<Placing>) -> Result<Delivery> {
        self.sweep(&placing)?;
        for placing in &placing {
            self.place(placing, true)?;
            self.last = self.last.max(placing.mark);
        }
        self.sync(&placing)?;
        Ok(Delivery::of(placing))
    }

    fn examiner(&self) -> Examiner {
        Examiner::Splitting { drafts: false, max_message: None }
    }

    fn stage(&mut self, deliverable: Deliverable) -> Result<()> {
        let Deliverable { origin, bytes, examined, connector, applicant, .. } = deliverable;
        let Examined::Messages(messages) = examined else {
            return Err(Error::failed("an envelope came to the spool that was not taken apart"));
        };
        self.register(&connector)?;
        let (first, count) = (self.last + 1, messages.count());
        self.last += count as i64;
        if self.last > NUMBER_MAX {
            return Err(Error::failed("the spool has given out its last number")
                .at(&self.path)
                .advise("deliver to a new one: --new-destination"));
        }
        self.files += count;
        self.flusher.written(bytes.len() * 2);
        let name = format!("{}/{first:0DIGITS$}-{:0DIGITS$}", connector.id, self.last);
        self.group.push(Placing::of(&origin, name, self.last, applicant.clone()));
        let (dir, spare_id) = (self.path.join(&connector.id), spare_bundle_id(origin.sha256));
        let size = bytes.len() * 3;
        let job = Writing { dir, bytes, messages, first, applicant, spare_id };
        self.writers.run(size, Box::new(move || job.run()))
    }

    fn is_full(&self) -> bool {
        self.files >= PLACING_GROUP
    }

    fn prepare(&mut self, _note: &mut dyn FnMut(OpenWork) -> Result<()>) -> Result<Prepared> {
        self.writers.wait()?;
        if !self.group.is_empty() {
            self.flusher.sync(&self.path)?;
        }
        Ok(Prepared::Placing(self.group.clone()))
    }

    fn settle(&mut self, _all: bool, delivery: &mut Delivery) -> Result<()> {
        if self.group.is_empty() {
            return Ok(());
        }
        self.files = 0;
        let group = std::mem::take(&mut self.group);
        group.iter().try_for_each(|placing| self.place(placing, false))?;
        self.sync(&group)?;
        delivery.placed.extend(group);
        Ok(())
    }

    fn high_water(&self) -> i64 {
        self.last
    }

    fn mark(&self) -> &str {
        &self.mark
    }
}

/// An envelope whose messages are to be written.
struct Writing {
    dir: PathBuf,
    bytes: Vec<u8>,
    messages: Box<Messages>,
    first: i64,
    applicant: Option<String>,
    spare_id: String,
}

impl Writing {
    fn run(&self) -> Result<bool> {
        let envelope = std::str::from_utf8(&self.bytes).unwrap_or_default();
        let mut message = String::new();
        let addressee = Addressee { applicant: self.applicant.as_deref(), ..Addressee::default() };
        for at in 0..self.messages.count() {
            message.clear();
            self.messages.write(&mut message, envelope, at, &addressee, &self.spare_id);
            let path = self.dir.join(partial(self.first + at as i64));
            disk::uninterrupted(|| fs::write(&path, &message))
                .map_err(|e| Error::io("write to the spool", &path, &e))?;
        }
        Ok(true)
    }
}

pub(super) fn name(number: i64) -> String {
    format!("{number:0DIGITS$}.json")
}

fn partial(number: i64) -> String {
    format!("{number:0DIGITS$}.json.partial")
}

/// The number that a file bears, and whether it is still partial.
pub(super) fn number_of(name: &str) -> Option<(i64, bool)> {
    let (stem, partial) = match name.strip_suffix(".partial") {
        Some(stem) => (stem, true),
        None => (name, false),
    };
    let digits = stem.strip_suffix(".json")?;
    let is_ours = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    is_ours.then(|| digits.parse().ok()).flatten().map(|number| (number, partial))
}

/// The connector and the numbers that a placing names: `<connector id>/<first>-<last>`.
fn numbers_of(placing: &str) -> Option<(String, RangeInclusive<i64>)> {
    let (connector, numbers) = placing.split_once('/')?;
    let (first, last) = numbers.split_once('-')?;
    Some((connector.to_owned(), first.parse().ok()?..=last.parse().ok()?))
}

fn make_directory(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(there) if there.is_dir() => return Ok(()),
        Ok(_) => {
            return Err(Error::failed("something else than a directory lies where this connector's messages belong")
                .at(path)
                .advise("the spool must be airpouch's alone; move that away"));
        }
        Err(_) => {}
    }
    disk::uninterrupted(|| fs::create_dir(path))
        .map_err(|e| Error::io("make a directory of the spool", path, &e).advise("the spool must be writable"))?;
    match path.parent() {
        Some(parent) => disk::sync_dir(parent).map(drop),
        None => Ok(()),
    }
}

#[cfg(test)]
mod names {
    use super::*;

    #[test]
    fn say_numbers_and_back() {
        assert_eq!(number_of(&name(7)), Some((7, false)));
        assert_eq!(number_of(&partial(NUMBER_MAX)), Some((NUMBER_MAX, true)));
        assert_eq!(number_of("9223372036854775807.json"), None, "another's");
        assert_eq!(number_of("connector.json"), None);
        assert_eq!(number_of("7.json"), None);
        assert_eq!(numbers_of("feed/000000000003-000000000009"), Some(("feed".into(), 3..=9)));
    }
}
