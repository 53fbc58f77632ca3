//! A spool as it is read: which messages of which connectors wait in it. (`spool.rs` writes it.)

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::mark;
use super::spool::{REGISTRATION, name, number_of};
use crate::disk;
use crate::error::{Error, Result};
use crate::limits::{ENVELOPE_MAX, SETTINGS_FILE_MAX};
use crate::opencti::registration::Registration;

/// What a drain remembers in the spool: hidden, and no message.
const MEMORY: &str = ".drain.json";
/// Where messages lie that the broker does not take.
const REFUSED: &str = "refused";
/// The largest message: base64 and Python's escapes make eight bytes of one of the envelope at most.
const MESSAGE_MAX: u64 = 8 * ENVELOPE_MAX;

/// What a drain remembers for the next one.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Where the rest of it is true.
    #[serde(default)]
    pub destination: String,
    /// Works that are open, by connector.
    pub works: BTreeMap<String, String>,
    /// Connectors that were registered.
    pub registered: Vec<String>,
    /// Messages that are being sent, and those of drains before that were cut off and could not say so: nobody knows which
    /// of them arrived.
    #[serde(default)]
    pub sending: usize,
}

/// The connectors that have messages waiting, and the messages' numbers in the order of delivery over all connectors.
#[derive(Debug, Default)]
pub struct Listing {
    /// Registrations, by the connector's id.
    pub connectors: BTreeMap<String, Registration>,
    /// The connector of each number.
    pub messages: BTreeMap<i64, String>,
}

/// A spool, locked for one drain.
pub struct Spooled {
    path: PathBuf,
    mark: String,
    _lock: File,
}

impl Spooled {
    /// Opens a spool and locks it.
    ///
    /// # Errors
    /// It is none; another drain is at work; the system refused.
    pub fn open(path: &Path) -> Result<Self> {
        let Some(mark) = mark::find(path) else {
            return Err(Error::failed("this is no spool: airpouch has delivered nothing here")
                .at(path)
                .advise("name the directory of --to spool:PATH; is its share mounted?"));
        };
        let lock = mark::file(path).map_err(|e| Error::io("open the spool's mark", path, &e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), mark, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::locked("another drain is at work in this spool").at(path)),
            Err(TryLockError::Error(e)) => Err(Error::io("lock the spool", path, &e)),
        }
    }

    /// By what it is known: message ids come of it.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// What waits in it.
    ///
    /// # Errors
    /// The system refused; a connector's registration cannot be read.
    pub fn list(&self) -> Result<Listing> {
        // Names are given in order of their numbers, but a directory is read as it happens to lie: what an import is
        // placing at this moment is left for the next drain, so that nothing overtakes.
        let last = self.list_once()?.messages.keys().next_back().copied().unwrap_or(0);
        let mut listing = self.list_once()?;
        listing.messages.retain(|number, _| *number <= last);
        Ok(listing)
    }

    fn list_once(&self) -> Result<Listing> {
        let fault = |path: &Path, e: &io::Error| Error::io("read the spool", path, e);
        let mut listing = Listing::default();
        for entry in fs::read_dir(&self.path).map_err(|e| fault(&self.path, &e))? {
            let entry = entry.map_err(|e| fault(&self.path, &e))?;
            let dir = entry.path();
            // Others' directories are passed over, such as lost+found, which may not even be readable; nor is a link
            // followed.
            let is_ours = dir.join(REGISTRATION).is_file();
            if !entry.file_type().is_ok_and(|t| t.is_dir()) || (!is_ours && !has_messages(&dir)) {
                continue;
            }
            let id = entry.file_name().to_string_lossy().into_owned();
            let before = listing.messages.len();
            for message in fs::read_dir(&dir).map_err(|e| fault(&dir, &e))? {
                let message = message.map_err(|e| fault(&dir, &e))?;
                if let Some((number, false)) = message.file_name().to_str().and_then(number_of) {
                    listing.messages.insert(number, id.clone());
                }
            }
            if listing.messages.len() > before {
                let registration = registration(&dir, &id)?;
                listing.connectors.insert(id, registration);
            }
        }
        Ok(listing)
    }

    /// The body of a message; `None` if it is gone.
    ///
    /// # Errors
    /// The system refused, or it is no message.
    pub fn read(&self, connector: &str, number: i64) -> Result<Option<String>> {
        let path = self.path.join(connector).join(name(number));
        let bytes = match disk::read_bounded_following(&path, MESSAGE_MAX) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|e| Error::io("read a message", &path, &e))?,
        };
        let is_ours = |text: &String| text.starts_with("{\"bundle_type\": \"QUEUE_BUNDLE\"") && text.ends_with('}');
        String::from_utf8(bytes).ok().filter(is_ours).map(Some).ok_or_else(|| {
            Error::failed("this is no message as airpouch spools them")
                .at(&path)
                .advise("something else wrote there; move it away, then drain again")
        })
    }

    /// Takes messages away that the broker has now.
    ///
    /// # Errors
    /// The system refused.
    pub fn remove(&self, messages: &[(i64, String)]) -> Result<()> {
        for (number, connector) in messages {
            let path = self.path.join(connector).join(name(*number));
            match disk::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("take a message away", &path, &e)
                        .advise("it is in the queue, and will be sent again, with the same message_id"));
                }
                _ => {}
            }
        }
        let mut dirs: Vec<&String> = messages.iter().map(|(_, connector)| connector).collect();
        dirs.sort_unstable();
        dirs.dedup();
        dirs.into_iter().try_for_each(|dir| disk::sync_dir(&self.path.join(dir)).map(drop))
    }

    /// Puts a message aside that the broker does not take, with the reason beside it, and says where.
    ///
    /// # Errors
    /// The system refused.
    pub fn put_aside(&self, connector: &str, number: i64, reason: &str) -> Result<PathBuf> {
        let dir = self.path.join(connector).join(REFUSED);
        disk::make_private_dir(&dir)?;
        disk::write_over(&dir, &format!("{}.reason", name(number)), format!("{reason}\n").as_bytes())?;
        let (from, to) = (self.path.join(connector).join(name(number)), dir.join(name(number)));
        disk::rename(&from, &to).map_err(|e| Error::io("put a message aside", &from, &e))?;
        disk::sync_dir(&dir)?;
        Ok(to)
    }

    /// What the drain before this one left to remember.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn memory(&self) -> Result<Memory> {
        let path = self.path.join(MEMORY);
        match disk::read_bounded_following(&path, SETTINGS_FILE_MAX) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Memory::default()),
            Err(e) => Err(Error::io("read what the last drain left", &path, &e)),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| {
                Error::failed("what the last drain left cannot be read").at(&path).advise("take that file away")
            }),
        }
    }

    /// Leaves something to remember.
    ///
    /// # Errors
    /// The system refused.
    pub fn remember(&self, memory: &Memory) -> Result<()> {
        let text = serde_json::to_vec(memory).map_err(|e| Error::failed(format!("cannot be written as JSON: {e}")))?;
        disk::write_over(&self.path, MEMORY, &text)
    }
}

fn has_messages(dir: &Path) -> bool {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.into_iter().any(|name| name.to_str().and_then(number_of).is_some())
}

fn registration(dir: &Path, id: &str) -> Result<Registration> {
    let path = dir.join(REGISTRATION);
    let bytes = disk::read_bounded_following(&path, SETTINGS_FILE_MAX)
        .map_err(|e| Error::io("read a connector's registration", &path, &e))?;
    let read: Option<Registration> = serde_json::from_slice(&bytes).ok();
    read.filter(|connector| connector.id == id).ok_or_else(|| {
        Error::failed("this is no registration of the connector whose directory it lies in")
            .at(&path)
            .advise("import once more to the spool: it writes that file anew")
    })
}
