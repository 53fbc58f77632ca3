//! Reads a journal line by line, without the lock: it only grows.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};

use serde::Deserialize;

use super::LINES;
use crate::disk;
use crate::error::{Error, Result};
use crate::lack;
use crate::limits::JOURNAL_LINE_MAX;
use crate::site::Site;

/// What every line says of itself; what was done stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JournalLine {
    /// Its number, from 1.
    pub n: u64,
    /// The digest of the line before, in hex.
    pub prev: String,
    /// When it was done, by the clock of that machine, RFC 3339 in UTC.
    pub at: String,
    /// The run that did it.
    pub run: String,
    /// What was done.
    pub event: String,
}

impl JournalLine {
    /// Reads what a line says of itself.
    ///
    /// # Errors
    /// It is no line of a journal; the text says why.
    pub fn parse(line: &[u8]) -> std::result::Result<Self, String> {
        serde_json::from_slice(line).map_err(|e| e.to_string())
    }
}

/// Time and event of a line, where they stand as airpouch writes them. A quote inside of a text is escaped, so that neither
/// key can be found in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineGlance<'a> {
    /// When it was done, as [`JournalLine::at`].
    pub at: &'a str,
    /// What was done.
    pub event: &'a str,
}

/// Bytes before the time of a line at most: a number and a digest with their keys.
const BEFORE_THE_TIME: usize = 128;

impl<'a> LineGlance<'a> {
    /// Looks at a line without parsing it; none where it is laid out otherwise. A year of lines is a gigabyte.
    pub fn of(line: &'a [u8]) -> Option<Self> {
        let (at, rest) = text_behind(line, b",\"at\":\"", BEFORE_THE_TIME)?;
        let (event, _) = text_behind(rest, b",\"event\":\"", rest.len())?;
        let is_whole = line.starts_with(b"{\"n\":") && line.ends_with(b"}\n");
        is_whole.then_some(Self { at, event })
    }
}

/// The text behind a key that stands in the first so many bytes, up to its quote, and what comes after it.
fn text_behind<'a>(bytes: &'a [u8], key: &[u8], within: usize) -> Option<(&'a str, &'a [u8])> {
    // All but few places differ in the first byte: to compare them whole takes as long as the digest of the line.
    let is_key = |here: &[u8]| here[0] == key[0] && here == key;
    let begin = bytes[..bytes.len().min(within)].windows(key.len()).position(is_key)? + key.len();
    let rest = &bytes[begin..];
    let end = rest.iter().position(|byte| *byte == b'"')?;
    Some((std::str::from_utf8(&rest[..end]).ok()?, &rest[end..]))
}

/// The lines of a journal, from the first one on.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    from: ReadAhead,
    line: Vec<u8>,
}

/// Opens the journal of a site to read it.
///
/// # Errors
/// There is none; the system refused.
pub fn read(site: &Site) -> Result<Lines> {
    let path = site.root().join(LINES);
    if !path.exists() {
        return Err(Error::failed("this site has no journal yet")
            .at(site.root())
            .advise("pack, carry and import begin it; name another site with --site DIR"));
    }
    let file = disk::open_regular(&path).map_err(|e| Error::io("read the journal", &path, &e))?;
    let from = ReadAhead::of(file).map_err(|e| Error::io("read the journal", &path, &e))?;
    Ok(Lines { path, from, line: Vec::new() })
}

/// Bytes of a piece of a journal that is read at once.
const PIECE: usize = 256 << 10;

/// Pieces that are read and not yet looked at.
const PIECES_AHEAD: usize = 4;

/// A file that a thread reads ahead: the kernel copies one piece while the digests of the one before are made, which takes
/// about as long. Where the system starts no thread, it is read in turn.
#[derive(Debug)]
enum ReadAhead {
    InTurn(BufReader<File>),
    Ahead {
        pieces: Receiver<io::Result<Vec<u8>>>,
        piece: Vec<u8>,
        /// How much of the piece was taken.
        taken: usize,
        /// Whether the end of the file was read.
        has_ended: bool,
    },
}

impl ReadAhead {
    fn of(file: File) -> io::Result<Self> {
        let (out, pieces) = sync_channel(PIECES_AHEAD);
        let ahead = file.try_clone()?;
        let read = move || {
            loop {
                let mut piece = Vec::new();
                let room = piece.try_reserve_exact(PIECE).map_err(io::Error::from);
                let read = room.and_then(|()| (&ahead).take(PIECE as u64).read_to_end(&mut piece));
                let goes_on = matches!(read, Ok(1..));
                // Whoever asked may have seen enough.
                if out.send(read.map(|_| piece)).is_err() || !goes_on {
                    return;
                }
            }
        };
        match lack::spawn("journal", read) {
            Ok(_) => Ok(Self::Ahead { pieces, piece: Vec::new(), taken: 0, has_ended: false }),
            Err(_) => Ok(Self::InTurn(BufReader::with_capacity(PIECE, file))),
        }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for ReadAhead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::InTurn(file) => file.fill_buf(),
            Self::Ahead { pieces, piece, taken, has_ended } => {
                if *taken == piece.len() && !*has_ended {
                    // A thread that came to no end must not look like the end of the file.
                    let next = pieces.recv().map_err(|_| io::Error::other("the thread that reads has stopped"))?;
                    (*piece, *taken) = (next?, 0);
                    *has_ended = piece.is_empty();
                }
                Ok(&piece[*taken..])
            }
        }
    }

    fn consume(&mut self, bytes: usize) {
        match self {
            Self::InTurn(file) => file.consume(bytes),
            Self::Ahead { taken, .. } => *taken += bytes,
        }
    }
}

impl Lines {
    /// The next line, with its line feed; without one where it is cut off, or longer than a line may be.
    ///
    /// # Errors
    /// The system refused.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>> {
        self.line.clear();
        let limit = JOURNAL_LINE_MAX as u64 + 1;
        let read = (&mut self.from).take(limit).read_until(b'\n', &mut self.line);
        let length = read.map_err(|e| Error::io("read the journal", &self.path, &e))?;
        Ok(Some(&self.line[..]).filter(|_| length > 0))
    }

    /// Where they lie.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_that_is_read_ahead_is_the_file() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 6 * PIECE, 9 * PIECE + 12_345] {
            let bytes: Vec<u8> = (0..length).map(|at| if at % 1000 == 7 { b'\n' } else { (at * at) as u8 }).collect();
            let dir = tempfile::tempdir().unwrap();
            disk::write_new(dir.path(), "file", &bytes).unwrap();
            let open = || disk::open_regular(&dir.path().join("file")).unwrap();
            let in_turn = ReadAhead::InTurn(BufReader::new(open()));
            for mut from in [ReadAhead::of(open()).unwrap(), in_turn] {
                let mut read = Vec::new();
                while from.read_until(b'\n', &mut read).unwrap() > 0 {}
                assert!(read == bytes, "{length}");
                assert_eq!(from.read_until(b'\n', &mut read).unwrap(), 0, "the end stays the end");
            }
        }
        // Whoever stops early leaves no thread that waits for ever, and a thread that died is no end.
        let (out, pieces) = sync_channel(1);
        out.send(Ok(b"half".to_vec())).unwrap();
        drop(out);
        let mut from = ReadAhead::Ahead { pieces, piece: Vec::new(), taken: 0, has_ended: false };
        assert!(from.read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn glance_at_a_line_is_what_parsing_it_gives() {
        let prev = "0".repeat(64);
        let line = |rest: &str| {
            format!("{{\"n\":12345678,\"prev\":\"{prev}\",\"at\":\"2026-11-28T07:00:05Z\",\"run\":\"1\",{rest}}}\n")
        };
        let hidden = line(r#""note":",\"event\":\"other\",\"at\":\"1999\"","event":"taken","x":{"event":"y"}"#);
        let parsed = JournalLine::parse(hidden.as_bytes()).unwrap();
        assert_eq!(LineGlance::of(hidden.as_bytes()), Some(LineGlance { at: &parsed.at, event: &parsed.event }));
        assert_eq!(parsed.event, "taken");
        let long = format!("{{\"n\":1,\"prev\":\"{prev}\",\"note\":\"{prev}\",\"at\":\"2026\",\"event\":\"x\"}}\n");
        for other in [long.as_str(), "{}\n", "", &line("\"note\":\"x\""), hidden.trim_end()] {
            assert_eq!(LineGlance::of(other.as_bytes()), None, "{other}");
        }
    }
}
