//! The journal of a site: what was done there, a JSON object a line, each line bound to the one before by its digest.
//!
//! ```text
//! journal.jsonl     the lines; it only grows
//! journal.head      number and digest of the last line, signed with the key of the journal
//! journal.key       that key, which signs nothing else
//! journal.torn-N    the beginning of a line that a crash cut off
//! ```
//!
//! A line is `{"n":NUMBER,"prev":"DIGEST OF THE LINE BEFORE",` and then what was done. It is at most 64 KiB long, and ends
//! with a line feed, which its digest covers too.

mod head;
mod known;
mod read;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result};
use crate::limits::{JOURNAL_LINE_MAX, SETTINGS_FILE_MAX};
use crate::random;
use crate::site::Site;
use crate::trust::{PrivateKey, PublicKey};

pub use head::{JournalHead, NotAHead, PeerHead};
pub use known::still_has;
pub use read::{JournalLine, LineGlance, Lines, read};

const LINES: &str = "journal.jsonl";
const HEAD: &str = "journal.head";
const KEY: &str = "journal.key";

/// The `prev` of the first line: there is none before it.
pub const BEFORE_THE_FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The journal of the run that holds the site's lock.
#[derive(Debug)]
pub struct Journal {
    site: Site,
    path: PathBuf,
    file: File,
    /// How many lines there are.
    lines: u64,
    /// The digest of the last one, in hex.
    last: String,
}

/// The beginning of a line that a crash cut off, and the file to which it was moved.
#[derive(Debug)]
pub struct Torn {
    /// The name of the file, in the site.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
}

impl Journal {
    /// Opens the journal to write in it. What a crash cut off at its end is moved to a file of its own, and nothing that
    /// ends with a line feed is ever removed.
    ///
    /// # Errors
    /// The last line is none of a journal; the system refused.
    #[expect(clippy::disallowed_methods, reason = "the journal is inside the site, which nobody else can enter")]
    pub fn open(site: &Site) -> Result<(Self, Option<Torn>)> {
        let path = site.root().join(LINES);
        let fault = |e: io::Error| Error::io("open the journal", &path, &e);
        let is_new = !path.exists();
        let options = OpenOptions::new().create(true).read(true).append(true).mode(0o600).clone();
        let mut file = options.open(&path).map_err(fault)?;
        disk::keep_owner_of(&path).map_err(fault)?;
        if is_new {
            disk::sync_dir(site.root())?;
        }
        let tail = tail_of(&mut file).map_err(fault)?;
        let torn = (!tail.torn.is_empty()).then(|| move_torn(site, &mut file, &tail)).transpose()?;
        let (lines, last) = match tail.last {
            None => (0, BEFORE_THE_FIRST.to_owned()),
            Some(line) => {
                let number = JournalLine::parse(&line).map(|line| line.n).map_err(|why| not_a_line(&path, &why))?;
                (number, Digest::of(&line).to_string())
            }
        };
        Ok((Self { site: site.clone(), path, file, lines, last }, torn))
    }

    /// Whether a site has one.
    pub fn is_there(site: &Site) -> bool {
        site.root().join(LINES).exists()
    }

    /// How many lines it has.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The digest of the last line.
    pub fn last(&self) -> &str {
        &self.last
    }

    /// How many of these objects are its last lines already, in this order, and the digest of the line before them, in hex:
    /// a run that was cut off had written them and could not note it.
    ///
    /// # Errors
    /// The system refused.
    pub fn has_already(&mut self, objects: &[String]) -> Result<(usize, String)> {
        let longest: u64 = objects.iter().map(|object| object.len() as u64 + 128).sum();
        let end = self.tail(longest)?;
        let lines: Vec<&[u8]> = end.split(|byte| *byte == b'\n').collect();
        let is_written = |object: &String, line: &[u8]| line.ends_with(&object.as_bytes()[1..]);
        let fits = |count: usize| {
            let of_end = lines.len().checked_sub(count + 1).map(|from| &lines[from..lines.len() - 1]);
            of_end
                .is_some_and(|lines| objects[..count].iter().zip(lines).all(|(object, line)| is_written(object, line)))
        };
        let Some(count) = (1..=objects.len()).rev().find(|count| fits(*count)) else {
            return Ok((0, self.last.clone()));
        };
        let first = JournalLine::parse(lines[lines.len() - count - 1]).map_err(|why| not_a_line(&self.path, &why))?;
        Ok((count, first.prev))
    }

    fn tail(&mut self, bytes: u64) -> Result<Vec<u8>> {
        let fault = |e: io::Error| Error::io("read the journal", &self.path, &e);
        let length = self.file.metadata().map_err(fault)?.len();
        self.file.seek(SeekFrom::Start(length.saturating_sub(bytes))).map_err(fault)?;
        let mut end = Vec::new();
        (&self.file).take(bytes).read_to_end(&mut end).map_err(fault)?;
        Ok(end)
    }

    /// Writes objects as lines, in one piece, and makes them durable.
    ///
    /// # Errors
    /// One is too long; the system refused. What was not written whole is cut off by the next run.
    pub fn append(&mut self, objects: &[String]) -> Result<()> {
        let mut text = Vec::new();
        let (mut lines, mut last) = (self.lines, self.last.clone());
        for object in objects {
            lines += 1;
            let begin = text.len();
            text.extend_from_slice(format!("{{\"n\":{lines},\"prev\":\"{last}\",{}\n", &object[1..]).as_bytes());
            if text.len() - begin > JOURNAL_LINE_MAX {
                return Err(Error::failed("an event is too long for the journal").at(&self.path));
            }
            last = Digest::of(&text[begin..]).to_string();
        }
        let write = |file: &mut File| file.write_all(&text).and_then(|()| disk::uninterrupted(|| file.sync_data()));
        write(&mut self.file).map_err(|e| {
            Error::io("write the journal", &self.path, &e)
                .advise("nothing is lost: the ledger keeps the events, and the next run writes them")
        })?;
        (self.lines, self.last) = (lines, last);
        Ok(())
    }

    /// Signs where the journal ends, and writes that beside it, unless it says so already.
    ///
    /// # Errors
    /// The system refused; the key cannot be read.
    pub fn sign_head(&self) -> Result<()> {
        let key = key_of(&self.site)?;
        let head = JournalHead { lines: self.lines, last: self.last.clone() }.signed(&key);
        // The same end has the same signature (RFC 8032), so a run with nothing to do writes nothing.
        match head_text(&self.site) {
            Ok(Some(text)) if text == head => Ok(()),
            _ => disk::write_over(self.site.root(), HEAD, head.as_bytes()),
        }
    }
}

/// The public half of the journal's key; it is made if there is none.
///
/// # Errors
/// The system refused; the file holds no key.
pub fn public_key(site: &Site) -> Result<PublicKey> {
    key_of(site).map(|key| key.public())
}

/// The signed head of the journal, as its file has it; none if there is no such file.
///
/// # Errors
/// The system refused.
pub fn head_text(site: &Site) -> Result<Option<String>> {
    Site::text_of(&site.root().join(HEAD))
}

/// The signed head with the key that signed it, as it travels beside the batches; none if there is none.
///
/// # Errors
/// The system refused; the key cannot be read.
pub fn travelling_head(site: &Site) -> Result<Option<String>> {
    let Some(note) = head_text(site)? else { return Ok(None) };
    Ok(Some(PeerHead::text(&note, &public_key(site)?)))
}

fn key_of(site: &Site) -> Result<PrivateKey> {
    let path = site.root().join(KEY);
    if !path.exists() {
        let key = PrivateKey::from_seed(random::bytes()?);
        disk::write_secret(site.root(), KEY, key.to_pem().as_bytes())?;
        disk::keep_owner_of(&path).map_err(|e| Error::io("make the key of the journal", &path, &e))?;
        return Ok(key);
    }
    let text = disk::read_bounded(&path, SETTINGS_FILE_MAX)
        .map_err(|e| Error::io("read the key of the journal", &path, &e))?;
    PrivateKey::from_pem(&text, None)
        .map_err(|e| Error::failed(e.to_string()).at(&path).advise("bring back journal.key from a backup of the site"))
}

fn not_a_line(path: &Path, why: &str) -> Error {
    Error::failed(format!("the end of the journal is no line of it: {why}"))
        .at(path)
        .advise("look at it: airpouch audit; bring back journal.jsonl and journal.head from a backup of the site")
}

/// The end of the file: its last whole line, and what stands behind that without a line feed.
struct Tail {
    last: Option<Vec<u8>>,
    torn: Vec<u8>,
}

fn tail_of(file: &mut File) -> io::Result<Tail> {
    let length = file.metadata()?.len();
    // Two lines are read at most: the last whole one, and one that was cut off.
    let from = length.saturating_sub(2 * JOURNAL_LINE_MAX as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.take(length - from).read_to_end(&mut end)?;
    let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let torn = end.split_off(whole);
    let begin = end[..whole.saturating_sub(1)].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let last = end.split_off(begin);
    Ok(Tail { last: Some(last).filter(|line| !line.is_empty()), torn })
}

/// Moves what a crash cut off to a file of its own, and only then takes it from the journal.
fn move_torn(site: &Site, file: &mut File, tail: &Tail) -> Result<Torn> {
    let path = site.root().join(LINES);
    let fault = |e: io::Error| Error::io("move the end of the journal that a crash cut off", &path, &e);
    let name = (1..).map(|n| format!("journal.torn-{n}")).find(|name| !site.root().join(name).exists());
    let name = name.unwrap_or_default();
    disk::write_new(site.root(), &name, &tail.torn)?;
    let whole = file.metadata().map_err(fault)?.len() - tail.torn.len() as u64;
    file.set_len(whole).map_err(fault)?;
    disk::uninterrupted(|| file.sync_all()).map_err(fault)?;
    Ok(Torn { name, bytes: tail.torn.len() as u64 })
}

#[cfg(test)]
mod tests;
