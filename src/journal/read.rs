//! Reads a journal line by line, without the lock: it only grows.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use serde::Deserialize;

use super::LINES;
use crate::disk;
use crate::error::{Error, Result};
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

/// The lines of a journal, from the first one on.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    from: BufReader<File>,
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
    Ok(Lines { path, from: BufReader::with_capacity(1 << 20, file), line: Vec::new() })
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
