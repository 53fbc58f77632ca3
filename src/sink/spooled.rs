//! Reads a spool: which messages of which connectors wait in it. (`spool.rs` writes it.)

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::connectors::{Connectors, is_id, is_of_one};
use super::marked_directory;
use super::spool::{REGISTRATION, name, number_of};
use crate::disk::{self, LockWait, OpenDir, lock_file};
use crate::error::{Error, Result};
use crate::limits::{ENVELOPE_MAX, SETTINGS_FILE_MAX};
use crate::opencti::registration::Registration;
use crate::report::Observer;

/// The hidden file in which a drain keeps its state.
const MEMORY: &str = ".drain.json";
/// The directory for messages that the broker refuses.
pub(super) const REFUSED: &str = "refused";
/// The largest message: base64 and Python's escapes turn one byte of an envelope into eight at most.
const MESSAGE_MAX: u64 = 8 * ENVELOPE_MAX;

/// The state that a drain leaves for the next one.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The destination that the rest is about.
    #[serde(default)]
    pub destination: String,
    /// Works that are open, by connector.
    pub works: BTreeMap<String, String>,
    /// Connectors that were registered.
    pub registered: Vec<String>,
    /// Connectors that were reported as existing there.
    #[serde(default)]
    pub shown: BTreeSet<String>,
    /// How many messages are being sent, and were being sent by earlier drains that were interrupted before they could
    /// report it: nobody knows which of them arrived.
    #[serde(default)]
    pub sending: usize,
    /// Works that were cleared after their messages had left the spool, until a person settles this.
    #[serde(default)]
    pub gone: Vec<GoneMessages>,
}

/// A work that was cleared after messages were sent under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneMessages {
    /// The destination that had it.
    pub destination: String,
    /// The connector of the messages.
    pub connector: String,
}

/// The connectors that have messages waiting, and the messages' numbers in the order of delivery over all connectors.
#[derive(Debug, Default)]
pub struct SpoolListing {
    /// Registrations, by the connector's id.
    pub connectors: BTreeMap<String, Registration>,
    /// The connector of each number.
    pub messages: BTreeMap<i64, String>,
    /// Connectors that are skipped, and why.
    pub passed_over: Vec<(String, Error)>,
}

/// A spool, locked for one drain.
pub struct Spooled {
    root: OpenDir,
    mark: String,
    /// The owner of the spool: messages of other users are not sent.
    owner: u32,
    connectors: RefCell<Connectors>,
    _lock: File,
}

impl Spooled {
    /// Opens a spool and locks it; waits for another drain as long as `wait` says.
    ///
    /// # Errors
    /// It is no spool, or another user's; another drain is running; the system refused.
    pub fn open(path: &Path, wait: Duration, observer: &dyn Observer) -> Result<Self> {
        let none = || {
            Error::failed("this is no spool: airpouch has delivered nothing here")
                .at(path)
                .advise("name the directory of --to spool:PATH; is its share mounted?")
        };
        let root = match OpenDir::open(path) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Err(none()),
            root => root.map_err(|e| Error::io("open the spool", path, &e))?,
        };
        let mark = marked_directory::find(&root)?.ok_or_else(none)?;
        marked_directory::keep_private(&root, true)?;
        let owner = root.owner().map_err(|e| Error::io("look at the spool", path, &e))?;
        let lock = marked_directory::file(&root).map_err(|e| Error::io("open the spool's mark", path, &e))?;
        match lock_file(&lock, LockWait { time: wait, observer }, "another drain of this spool") {
            Ok(()) => Ok(Self { root, mark, owner, connectors: RefCell::default(), _lock: lock }),
            Err(why) => {
                let held = "another drain is at work in this spool";
                Err(why.error(held, path, |e| Error::io("lock the spool", path, e)))
            }
        }
    }

    /// The mark of the spool: message ids are made from it.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// What waits in it. Connectors whose directory or registration cannot be used are skipped.
    ///
    /// # Errors
    /// The system refused.
    pub fn list(&self) -> Result<SpoolListing> {
        self.list_around(|| {})
    }

    /// The same; in `meanwhile` a test writes to the spool.
    fn list_around(&self, meanwhile: impl FnOnce()) -> Result<SpoolListing> {
        // An import renames messages in the order of their numbers, but a directory is listed in any order: messages
        // that an import is placing now are left for the next drain, so that none overtakes another.
        let last = self.list_once()?.messages.keys().next_back().copied().unwrap_or(0);
        meanwhile();
        let mut listing = self.list_once()?;
        listing.messages.retain(|number, _| *number <= last);
        Ok(listing)
    }

    fn list_once(&self) -> Result<SpoolListing> {
        let fault = |e: &io::Error| Error::io("read the spool", self.root.path(), e);
        let mut listing = SpoolListing::default();
        for entry in self.root.entries().map_err(|e| fault(&e))? {
            let entry = entry.map_err(|e| fault(&e))?;
            // Foreign directories such as lost+found are skipped, since they may be unreadable; links are not followed.
            if !entry.is_dir || !is_id(&entry.name) {
                continue;
            }
            let id = entry.name;
            match self.list_one(&id) {
                Ok(numbers) if numbers.is_empty() => {}
                Ok(numbers) => match self.registration(&id) {
                    Ok(registration) => {
                        listing.messages.extend(numbers.into_iter().map(|number| (number, id.clone())));
                        listing.connectors.insert(id, registration);
                    }
                    Err(error) => listing.passed_over.push((id, error)),
                },
                Err(e) if is_of_one(&e) => {
                    let error = Error::io("use a connector's directory", &self.root.path_of(&id), &e).advise(
                        "the spool must be airpouch's alone; give it to the user who runs airpouch, or move it away",
                    );
                    listing.passed_over.push((id, error));
                }
                // Somebody removed it meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("read the spool", &self.root.path_of(&id), &e)),
            }
        }
        Ok(listing)
    }

    /// The numbers of a connector's messages.
    fn list_one(&self, id: &str) -> io::Result<Vec<i64>> {
        let dir = self.dir(id)?;
        let mut numbers = Vec::new();
        for entry in dir.entries()? {
            if let Some((number, false)) = number_of(&entry?.name) {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    fn dir(&self, id: &str) -> io::Result<Arc<OpenDir>> {
        self.connectors.borrow_mut().get(&self.root, id)
    }

    fn registration(&self, id: &str) -> Result<Registration> {
        let path = self.root.path_of(id).join(REGISTRATION);
        let advice = "import once more to the spool: it writes that file again";
        let read = self.dir(id).and_then(|dir| dir.read_of(self.owner, REGISTRATION, SETTINGS_FILE_MAX));
        let bytes = read.map_err(|e| Error::io("read a connector's registration", &path, &e).advise(advice))?;
        let read: Option<Registration> = serde_json::from_slice(&bytes).ok();
        read.filter(|connector| connector.id == id).ok_or_else(|| {
            Error::failed("this is not the registration of the connector whose directory it is in")
                .at(&path)
                .advise(advice)
        })
    }

    /// The body of a message; `None` if it is gone.
    ///
    /// # Errors
    /// The system refused, or it is no message of ours.
    pub fn read(&self, connector: &str, number: i64) -> Result<Option<String>> {
        let path = self.root.path_of(connector).join(name(number));
        let bytes = match self.dir(connector).and_then(|dir| dir.read_of(self.owner, &name(number), MESSAGE_MAX)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                let advice = "something else wrote there; move it away, then drain again";
                return Err(Error::io("read a message", &path, &e).advise(advice));
            }
            Ok(bytes) => bytes,
        };
        let is_ours = |text: &String| text.starts_with("{\"bundle_type\": \"QUEUE_BUNDLE\"") && text.ends_with('}');
        String::from_utf8(bytes).ok().filter(is_ours).map(Some).ok_or_else(|| {
            Error::failed("this is no message as airpouch spools them")
                .at(&path)
                .advise("something else wrote there; move it away, then drain again")
        })
    }

    /// Removes messages that the broker has confirmed.
    ///
    /// # Errors
    /// The system refused.
    pub fn remove(&self, messages: &[(i64, String)]) -> Result<()> {
        for (number, connector) in messages {
            match self.dir(connector).and_then(|dir| dir.remove(&name(*number))) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    let path = self.root.path_of(connector).join(name(*number));
                    return Err(Error::io("take a message away", &path, &e)
                        .advise("it is in the queue, and will be sent again, with the same message_id"));
                }
                _ => {}
            }
        }
        let mut ids: Vec<&String> = messages.iter().map(|(_, connector)| connector).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().try_for_each(|id| {
            let synced = self.dir(id).and_then(|dir| dir.sync());
            synced.map(drop).map_err(|e| Error::io("sync a directory", &self.root.path_of(id), &e))
        })
    }

    /// Makes the removals of an interrupted drain durable: after a power failure the messages would reappear, and
    /// nobody would know that they were sent.
    ///
    /// # Errors
    /// The system refused.
    pub fn make_durable(&self) -> Result<()> {
        disk::sync_all_of(self.root.file()).map_err(|e| Error::io("sync the spool", self.root.path(), &e))
    }

    /// Moves a message that the broker refuses aside, with the reason beside it, and returns its path.
    ///
    /// # Errors
    /// The system refused; then the message stays in the spool.
    pub fn put_aside(&self, connector: &str, number: i64, reason: &str) -> Result<PathBuf> {
        let to = self.root.path_of(connector).join(REFUSED).join(name(number));
        let work = || {
            let dir = self.dir(connector)?;
            match dir.make_dir(REFUSED) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            let refused = dir.open_dir(REFUSED)?;
            refused.write_over(&format!("{}.reason", name(number)), format!("{reason}\n").as_bytes(), 0o600)?;
            dir.rename(&name(number), &refused, &name(number))?;
            refused.sync()?;
            dir.sync()
        };
        work().map_err(|e| Error::io("put a message aside", &to, &e))?;
        Ok(to)
    }

    /// The state that the drain before this one left.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn memory(&self) -> Result<Memory> {
        let path = self.root.path_of(MEMORY);
        match self.root.read_of(self.owner, MEMORY, SETTINGS_FILE_MAX) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Memory::default()),
            Err(e) => Err(Error::io("read what the last drain left", &path, &e).advise("take that file away")),
            Ok(bytes) => {
                // An interrupted drain may have renamed the file without making the name durable.
                self.root.sync().map_err(|e| Error::io("sync the spool", self.root.path(), &e))?;
                serde_json::from_slice(&bytes).map_err(|_| {
                    Error::failed("what the last drain left cannot be read").at(&path).advise("take that file away")
                })
            }
        }
    }

    /// Writes the state for the next drain.
    ///
    /// # Errors
    /// The system refused.
    pub fn remember(&self, memory: &Memory) -> Result<()> {
        let text = serde_json::to_vec(memory).map_err(|e| Error::failed(format!("cannot be written as JSON: {e}")))?;
        let written = self.root.write_over(MEMORY, &text, 0o600).and_then(|()| self.root.sync());
        written.map(drop).map_err(|e| Error::io("write what the next drain is to know", &self.root.path_of(MEMORY), &e))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;
    use crate::report::Silent;

    const BODY: &str = "{\"bundle_type\": \"QUEUE_BUNDLE\"}";

    /// A spool of this connector, with its first message.
    fn spool_of(id: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".airpouch"), "0123456789abcdef0123456789abcdef\n").unwrap();
        add_connector(&dir, id);
        put(&dir, id, 1);
        dir
    }

    fn add_connector(dir: &tempfile::TempDir, id: &str) {
        fs::create_dir(dir.path().join(id)).unwrap();
        let registration = Registration::new(id, "Feed", "EXTERNAL_IMPORT", vec![], false);
        fs::write(dir.path().join(id).join(REGISTRATION), serde_json::to_vec(&registration).unwrap()).unwrap();
    }

    fn put(dir: &tempfile::TempDir, id: &str, number: i64) {
        fs::write(dir.path().join(id).join(name(number)), BODY).unwrap();
    }

    fn fifo(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    }

    fn open(path: &Path) -> Result<Spooled> {
        Spooled::open(path, Duration::ZERO, &Silent)
    }

    #[test]
    fn message_that_is_being_placed_overtakes_none() {
        let dir = spool_of("a");
        add_connector(&dir, "b");
        put(&dir, "b", 2);
        let spool = open(dir.path()).unwrap();
        // An import places 3 in `a` and 4 in `b`; `a` was read before, `b` after.
        let listing = spool.list_around(|| put(&dir, "b", 4)).unwrap();
        assert_eq!(listing.messages.into_keys().collect::<Vec<_>>(), [1, 2]);
        put(&dir, "a", 3);
        assert_eq!(spool.list().unwrap().messages.into_keys().collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn odd_messages_are_not_read_and_not_waited_for() {
        let dir = spool_of("a");
        let path = |number: i64| dir.path().join("a").join(name(number));
        fs::write(dir.path().join("secret"), BODY).unwrap();
        symlink("../secret", path(2)).unwrap();
        fifo(&path(3));
        fs::create_dir(path(4)).unwrap();
        fs::hard_link(dir.path().join("secret"), path(5)).unwrap();
        fs::write(path(6), "{\"bundle_type\": \"OTHER\"}").unwrap();
        let mut odd = vec![2, 3, 4, 5, 6];
        if rustix::process::geteuid().is_root() {
            put(&dir, "a", 7);
            chown(path(7), Some(65_534), None).unwrap();
            odd.push(7);
        }
        let spool = open(dir.path()).unwrap();
        assert_eq!(spool.read("a", 1).unwrap().as_deref(), Some(BODY));
        assert_eq!(spool.read("a", 8).unwrap(), None);
        for number in odd {
            let error = spool.read("a", number).unwrap_err();
            assert!(error.place.as_ref().unwrap().ends_with(&name(number)), "{error}");
        }
    }

    #[test]
    fn connectors_with_something_odd_are_passed_over_and_the_others_are_listed() {
        let dir = spool_of("good");
        for (at, id) in ["fifo", "link", "large", "strange", "none"].into_iter().enumerate() {
            add_connector(&dir, id);
            put(&dir, id, at as i64 + 2);
            fs::remove_file(dir.path().join(id).join(REGISTRATION)).unwrap();
        }
        let registration = |id: &str| dir.path().join(id).join(REGISTRATION);
        fifo(&registration("fifo"));
        symlink("../good/connector.json", registration("link")).unwrap();
        fs::File::create(registration("large")).unwrap().set_len(SETTINGS_FILE_MAX + 1).unwrap();
        fs::copy(registration("good"), registration("strange")).unwrap();
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        fs::create_dir(dir.path().join("empty")).unwrap();
        let listing = open(dir.path()).unwrap().list().unwrap();
        assert_eq!(listing.messages, BTreeMap::from([(1, "good".to_owned())]));
        let mut passed: Vec<&str> = listing.passed_over.iter().map(|(id, _)| id.as_str()).collect();
        passed.sort_unstable();
        assert_eq!(passed, ["fifo", "large", "link", "none", "strange"]);
    }

    #[test]
    fn connector_of_another_user_is_passed_over() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = spool_of("good");
        add_connector(&dir, "others");
        put(&dir, "others", 2);
        chown(dir.path().join("others"), Some(65_534), None).unwrap();
        let listing = open(dir.path()).unwrap().list().unwrap();
        assert_eq!(listing.messages.into_values().collect::<Vec<_>>(), ["good"]);
        assert!(listing.passed_over[0].1.what.contains("another user"), "{:?}", listing.passed_over);
    }

    #[test]
    fn message_that_cannot_be_put_aside_stays() {
        let dir = spool_of("a");
        let spool = open(dir.path()).unwrap();
        let refused = dir.path().join("a").join(REFUSED);
        symlink("/tmp", &refused).unwrap();
        assert!(spool.put_aside("a", 1, "too large").is_err());
        assert!(dir.path().join("a").join(name(1)).exists());
        fs::remove_file(&refused).unwrap();
        let place = spool.put_aside("a", 1, "too large").unwrap();
        assert_eq!(fs::read_to_string(place).unwrap(), BODY);
        assert_eq!(fs::read_to_string(refused.join("000000000001.json.reason")).unwrap(), "too large\n");
        assert_eq!(fs::metadata(&refused).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn directory_that_is_no_spool_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(open(dir.path()).is_err());
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o755);
    }
}
