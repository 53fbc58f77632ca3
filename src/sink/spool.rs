//! `spool:`: the messages for the queues of a broker, as files: `PATH/<connector id>/connector.json`, which is the
//! connector's registration, and beside it `<number, 12 digits>.json`, each the body of one `QUEUE_BUNDLE` message.
//!
//! Each number is used once, and numbers rise over all connectors, so that each connector's messages, and all of them
//! together, have the order of delivery. They and the bytes are fixed before the ledger notes them, so that a crash
//! repeats nothing: a file that is still `.partial` gets its name in the next run, and one that is gone had its name
//! already.
//!
//! `drain` sends whatever is in here unchanged. So the spool, its directories and its messages are private to their
//! owner, whatever the umask. A connector whose directory cannot be used waits for a later run; the others are
//! delivered.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use super::background::{Flusher, Writers};
use super::connectors::{Connectors, is_id, is_of_one};
use super::marked_directory::{self, Access};
use super::{Deferred, Deliverable, Delivery, Did, Effects, Ended, Placing, Prepared, Sink, WriteAhead, registration};
use crate::batch::name::{of_partial, partial};
use crate::code::Code;
use crate::disk::OpenDir;
use crate::envelope::Connector;
use crate::error::{Error, Result, reason};
use crate::fit::{Examined, Examiner, Unfit};
use crate::limits::{PLACING_GROUP, PLACING_GROUP_BYTES, SETTINGS_FILE_MAX};
use crate::opencti::message::{Addressee, Messages, spare_bundle_id};
use crate::text::{harmless_bytes, visible_json};

/// The file with a connector's registration.
pub(super) const REGISTRATION: &str = "connector.json";
/// Only their owner may read messages.
const MODE: u32 = 0o600;
/// Digits of a message's number.
const DIGITS: usize = 12;
const NUMBER_MAX: i64 = 999_999_999_999;

/// A directory of messages. No other program may write in it.
pub struct Spool {
    root: OpenDir,
    mark: String,
    group: Vec<Placing>,
    /// Messages of the group, and their bytes.
    files: usize,
    bytes: usize,
    /// The last number that was used.
    last: i64,
    connectors: Connectors,
    /// Each connector's registration, as far as it was read.
    registered: BTreeMap<String, Vec<u8>>,
    /// Connectors whose directories cannot be used in this run, and why.
    troubled: BTreeMap<String, String>,
    deferred: Vec<Deferred>,
    writers: Writers<Option<WriteTrouble>>,
    flusher: Flusher,
}

/// An envelope's messages could not be written.
struct WriteTrouble {
    /// Its place in the group.
    at: usize,
    why: String,
}

impl Spool {
    /// Opens the directory, or creates it if its parent exists. `last` is the number in the ledger; `threads` threads
    /// write. With a `mark` the directory must have it: what a crash left there must be finished. Without one any
    /// directory will do, since a spool may be carried away as a whole.
    ///
    /// # Errors
    /// It is another one, others may use it, or it cannot be made; the system refused.
    pub fn open(path: &Path, last: i64, mark: Option<&str>, threads: usize) -> Result<Self> {
        let (root, mark) = marked_directory::open(path, mark, Access::Private)?;
        Ok(Self {
            mark,
            group: Vec::new(),
            files: 0,
            bytes: 0,
            last,
            connectors: Connectors::default(),
            registered: BTreeMap::new(),
            troubled: BTreeMap::new(),
            deferred: Vec::new(),
            writers: Writers::new(threads),
            flusher: Flusher::new(&root, threads)?,
            root,
        })
    }

    /// Reads the spool once: removes what a crash left and the ledger does not know, and makes sure that no number in
    /// it is used again, even if the ledger is new.
    fn sweep(&mut self, known: &[Placing]) -> Result<()> {
        let mut known: Vec<(String, RangeInclusive<i64>)> = known.iter().filter_map(|p| numbers_of(&p.name)).collect();
        known.sort_unstable_by_key(|(_, numbers)| *numbers.start());
        let fault = |e: &io::Error| Error::io("read the spool", self.root.path(), e);
        let mut last = self.last;
        for connector in self.root.entries().map_err(|e| fault(&e))? {
            let id = connector.map_err(|e| fault(&e))?;
            // Foreign directories such as lost+found are not opened; links are not followed.
            if !id.is_dir || !is_id(&id.name) {
                continue;
            }
            // No number is used twice, so at most one of them has it.
            let is_known = |number: i64| {
                let at = known.partition_point(|(_, numbers)| *numbers.end() < number);
                known.get(at).is_some_and(|(of, numbers)| *of == id.name && numbers.contains(&number))
            };
            match self.connectors.get(&self.root, &id.name).and_then(|dir| sweep_one(&dir, is_known)) {
                Ok(highest) => last = last.max(highest),
                // The next write there tries again and reports it.
                Err(e) if is_of_one(&e) || e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("read the spool", &self.root.path_of(&id.name), &e)),
            }
        }
        self.last = last;
        Ok(())
    }

    /// A connector's directory, with its registration.
    fn register(&mut self, connector: &Connector) -> io::Result<Arc<OpenDir>> {
        let dir = self.connectors.get_or_make(&self.root, &connector.id)?;
        let text =
            visible_json(&serde_json::to_string(&registration(connector)).map_err(io::Error::other)?).into_bytes();
        if self.registered.get(connector.id.as_str()) != Some(&text) {
            match dir.read(REGISTRATION, SETTINGS_FILE_MAX) {
                Ok(there) if there == text => {}
                // It is synced with the messages, and written again if the ledger does not know these.
                Err(e) if e.kind() == io::ErrorKind::NotFound => dir.write_over_unsynced(REGISTRATION, &text, MODE)?,
                // Messages delivered before need the one that exists, so this must be durable at once.
                _ => dir.write_over(REGISTRATION, &text, MODE).and_then(|()| dir.sync().map(drop))?,
            }
            self.registered.insert(connector.id.to_string(), text);
        }
        Ok(dir)
    }

    /// An envelope waits, and so do all later ones of its connector.
    fn defer(&mut self, id: &str, placing: Placing, why: String) {
        let why = self.troubled.entry(id.to_owned()).or_insert(why).clone();
        self.deferred.push(deferred(&self.root, id, placing, &why));
    }

    /// Removes from the group the envelopes whose messages could not be written, and later ones of the same connectors.
    fn take_out(&mut self, troubles: Vec<WriteTrouble>) {
        let mut first: BTreeMap<String, (usize, String)> = BTreeMap::new();
        for WriteTrouble { at, why } in troubles {
            let id = id_of(&self.group[at].name).to_owned();
            match first.get_mut(&id) {
                Some(earlier) if earlier.0 < at => {}
                Some(later) => *later = (at, why),
                None => drop(first.insert(id, (at, why))),
            }
        }
        for (at, placing) in std::mem::take(&mut self.group).into_iter().enumerate() {
            let id = id_of(&placing.name).to_owned();
            match first.get(&id).filter(|(from, _)| at >= *from) {
                Some((_, why)) => {
                    // The next run removes what was written of it.
                    let why = why.clone();
                    self.defer(&id, placing, why);
                }
                None => self.group.push(placing),
            }
        }
    }

    /// Gives the messages of an envelope their names, in order. After a crash a message without a partial file got its
    /// name in the run before; otherwise the partial file must exist, since it was written just now.
    fn place(&mut self, placing: &Placing, after_crash: bool) -> Result<()> {
        let Some((connector, numbers)) = numbers_of(&placing.name) else {
            return Err(Error::failed("the ledger notes something for this spool that no spool has")
                .at(self.root.path())
                .advise("the ledger was changed by something else; bring it back from a backup"));
        };
        let dir = match self.connectors.get(&self.root, &connector) {
            // Somebody carried it away with all its messages.
            Err(e) if e.kind() == io::ErrorKind::NotFound && after_crash => return Ok(()),
            dir => dir.map_err(|e| Error::io("open a connector's directory", &self.root.path_of(&connector), &e))?,
        };
        for number in numbers {
            let target = dir.path_of(&name(number));
            match dir.rename_new(&partial(&name(number)), &dir, &name(number)) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound && after_crash => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(Error::failed("the spool has another file of this name; it was not overwritten")
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
    fn sync(&mut self, group: &[Placing]) -> Result<()> {
        let mut ids: Vec<&str> = group.iter().map(|placing| id_of(&placing.name)).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            match self.connectors.get(&self.root, id).and_then(|dir| dir.sync()) {
                // Somebody carried it away with all its messages after they were noted.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                synced => drop(synced.map_err(|e| Error::io("sync a directory", &self.root.path_of(id), &e))?),
            }
        }
        Ok(())
    }

    /// The mark of the directory.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    fn none(&self) -> Effects {
        Effects::none(self.last)
    }

    fn recover_all(&mut self, placing: Vec<Placing>) -> Result<Delivery> {
        self.sweep(&placing)?;
        let mut delivery = Delivery::none(0);
        for placing in placing {
            self.last = self.last.max(placing.order);
            let id = id_of(&placing.name).to_owned();
            match self.connectors.get(&self.root, &id) {
                Err(e) if is_of_one(&e) => delivery.deferred.push(deferred(&self.root, &id, placing, &reason(&e))),
                _ => {
                    self.place(&placing, true)?;
                    delivery.placed.push(placing);
                }
            }
        }
        self.sync(&delivery.placed)?;
        delivery.high_water = self.last;
        Ok(delivery)
    }

    fn make_durable(&mut self) -> Result<Prepared> {
        let troubles: Vec<WriteTrouble> = self.writers.wait()?.into_iter().flatten().collect();
        if !troubles.is_empty() {
            self.take_out(troubles);
        }
        if !self.group.is_empty() {
            self.flusher.sync(self.root.path())?;
        }
        Ok(Prepared::Placing(self.group.clone()))
    }

    fn place_group(&mut self, delivery: &mut Delivery) -> Result<()> {
        delivery.deferred.append(&mut self.deferred);
        (self.files, self.bytes) = (0, 0);
        if self.group.is_empty() {
            return Ok(());
        }
        let group = std::mem::take(&mut self.group);
        group.iter().try_for_each(|placing| self.place(placing, false))?;
        self.sync(&group)?;
        delivery.placed.extend(group);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.files >= PLACING_GROUP || self.bytes >= PLACING_GROUP_BYTES
    }
}

impl Sink for Spool {
    fn recover(&mut self, placing: Vec<Placing>) -> Did<()> {
        match self.recover_all(placing) {
            Ok(delivery) => (Effects::of(delivery), Ok(())),
            Err(cause) => (self.none(), Err(cause)),
        }
    }

    fn examiner(&self) -> Examiner {
        Examiner::Splitting { drafts: false, max_message: None }
    }

    fn admits(&mut self, _connector: &Connector, _ahead: &mut dyn WriteAhead) -> Did<Option<Unfit>> {
        (self.none(), Ok(None))
    }

    fn stage(&mut self, deliverable: Deliverable) -> Result<bool> {
        let Deliverable { origin, bytes, examined, connector, applicant, .. } = deliverable;
        let Examined::Messages(messages) = examined else {
            return Err(Error::failed("an envelope reached the spool that was not split"));
        };
        let (first, count) = (self.last + 1, messages.count());
        self.last += count as i64;
        if self.last > NUMBER_MAX {
            return Err(Error::failed("the spool has given out its last number")
                .at(self.root.path())
                .advise("deliver to a new one: --new-destination"));
        }
        let name = format!("{}/{first:0DIGITS$}-{:0DIGITS$}", connector.id, self.last);
        let placing = Placing::of(&origin, name, self.last, applicant.clone());
        if let Some(why) = self.troubled.get(connector.id.as_str()).cloned() {
            self.defer(&connector.id, placing, why);
            return Ok(self.is_full());
        }
        let dir = match self.register(&connector) {
            Err(e) if is_of_one(&e) => {
                self.defer(&connector.id, placing, reason(&e));
                return Ok(self.is_full());
            }
            dir => dir.map_err(|e| {
                Error::io("use a directory of the spool", &self.root.path_of(&connector.id), &e)
                    .advise("the spool must be writable")
            })?,
        };
        self.files += count;
        self.bytes += bytes.len() * 2;
        self.flusher.written(bytes.len() * 2);
        let at = self.group.len();
        self.group.push(placing);
        let spare_id = spare_bundle_id(origin.sha256);
        let size = bytes.len() * 3;
        let job = Writing { at, dir, bytes, messages, first, applicant, spare_id };
        self.writers.run(size, Box::new(move || job.run()))?;
        Ok(self.is_full())
    }

    fn prepare(&mut self, _ahead: &mut dyn WriteAhead) -> Did<Prepared> {
        let prepared = self.make_durable();
        (self.none(), prepared)
    }

    fn settle(&mut self, _all: bool, _ahead: &mut dyn WriteAhead) -> Did<()> {
        let mut delivery = Delivery::none(self.last);
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

/// An envelope whose messages are to be written.
struct Writing {
    /// Its place in the group.
    at: usize,
    dir: Arc<OpenDir>,
    bytes: Vec<u8>,
    messages: Box<Messages>,
    first: i64,
    applicant: Option<String>,
    spare_id: String,
}

impl Writing {
    fn run(&self) -> Result<Option<WriteTrouble>> {
        let envelope = std::str::from_utf8(&self.bytes).unwrap_or_default();
        let mut message = String::new();
        let addressee = Addressee { applicant: self.applicant.as_deref(), ..Addressee::default() };
        for at in 0..self.messages.count() {
            message.clear();
            self.messages.write(&mut message, envelope, at, &addressee, &self.spare_id);
            let name = partial(&name(self.first + at as i64));
            match self.dir.create_anew(&name, MODE).and_then(|mut file| file.write_all(message.as_bytes())) {
                Err(e) if is_of_one(&e) => return Ok(Some(WriteTrouble { at: self.at, why: reason(&e) })),
                written => written.map_err(|e| Error::io("write to the spool", &self.dir.path_of(&name), &e))?,
            }
        }
        Ok(None)
    }
}

/// Removes what an interrupted run left in a connector's directory, and returns the highest number there.
fn sweep_one(dir: &OpenDir, is_known: impl Fn(i64) -> bool) -> io::Result<i64> {
    let mut last = 0;
    for entry in dir.entries()? {
        let name = entry?.name;
        let Some((number, is_partial)) = number_of(&name) else { continue };
        if is_partial && !is_known(number) {
            match dir.remove(&name) {
                // A directory has that name: its number is skipped.
                Err(e) if is_of_one(&e) => {}
                removed => {
                    removed?;
                    continue;
                }
            }
        }
        last = last.max(number);
    }
    Ok(last)
}

fn deferred(root: &OpenDir, id: &str, placing: Placing, why: &str) -> Deferred {
    let path = harmless_bytes(root.path_of(id).as_os_str().as_encoded_bytes());
    let what = format!("its directory in the spool cannot be used ({why}): {path}");
    let advice = "the spool must be airpouch's alone; move that away, or give it to the user who runs airpouch; then import again";
    Deferred { placing, code: Code::SpoolDirectory, what, advice: advice.to_owned() }
}

pub(super) fn name(number: i64) -> String {
    format!("{number:0DIGITS$}.json")
}

/// The number of a file, and whether it is still partial.
pub(super) fn number_of(name: &str) -> Option<(i64, bool)> {
    let (stem, partial) = match of_partial(name) {
        Some(stem) => (stem, true),
        None => (name, false),
    };
    let digits = stem.strip_suffix(".json")?;
    let is_ours = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    is_ours.then(|| digits.parse().ok()).flatten().map(|number| (number, partial))
}

/// The connector and the numbers in the name of a placing: `<connector id>/<first>-<last>`.
fn numbers_of(placing: &str) -> Option<(String, RangeInclusive<i64>)> {
    let (connector, numbers) = placing.split_once('/')?;
    let (first, last) = numbers.split_once('-')?;
    Some((connector.to_owned(), first.parse().ok()?..=last.parse().ok()?))
}

/// The connector in the name of a placing.
fn id_of(placing: &str) -> &str {
    placing.split_once('/').map_or(placing, |(id, _)| id)
}

#[cfg(test)]
mod names {
    use super::*;

    #[test]
    fn names_contain_numbers_that_read_back() {
        assert_eq!(number_of(&name(7)), Some((7, false)));
        assert_eq!(number_of(&partial(&name(NUMBER_MAX))), Some((NUMBER_MAX, true)));
        assert_eq!(number_of("9223372036854775807.json"), None, "another's");
        assert_eq!(number_of("connector.json"), None);
        assert_eq!(number_of("7.json"), None);
        assert_eq!(numbers_of("feed/000000000003-000000000009"), Some(("feed".into(), 3..=9)));
    }
}
