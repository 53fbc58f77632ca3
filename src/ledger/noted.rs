//! What is noted for the journal, in the transaction that does it: no deed without its note, and no note without its deed.
//! What is noted stays here until it lies in the journal.

use std::cell::Cell;
use std::ops::Deref;

use rusqlite::{Connection, Transaction};
use serde::Serialize;

use super::asking::{all, first};
use crate::clock;
use crate::deed::{Actor, Deed};
use crate::error::{Error, Result};
use crate::limits::JOURNAL_LINE_MAX;
use crate::random;

/// Bytes of a line of the journal before what was done: a number and a digest, with their keys.
const BEFORE_A_DEED: usize = 128;

/// Who notes, in which run.
#[derive(Debug)]
pub(super) struct Author {
    run: String,
    actor: Actor,
    count: Cell<u64>,
}

/// One line of the journal, but for its number and the digest of the one before.
#[derive(Serialize)]
struct NotedDeed<'a> {
    at: String,
    run: &'a str,
    /// The number of the deed in its run: no two lines of a journal are alike.
    deed: u64,
    #[serde(flatten)]
    actor: &'a Actor,
    #[serde(flatten)]
    what: &'a Deed,
}

impl Author {
    /// A new run of this actor.
    pub(super) fn new(actor: Actor) -> Result<Self> {
        let run = u64::from_be_bytes(random::bytes()?);
        Ok(Self { run: format!("{run:016x}"), actor, count: Cell::new(0) })
    }

    /// A deed as the journal has it.
    pub(super) fn line(&self, what: &Deed) -> Result<String> {
        self.count.set(self.count.get() + 1);
        let entry =
            NotedDeed { at: clock::utc_now(), run: &self.run, deed: self.count.get(), actor: &self.actor, what };
        let line =
            serde_json::to_string(&entry).map_err(|e| Error::failed(format!("cannot be written as JSON: {e}")))?;
        // Refused before it is done: what the ledger has noted must have room in the journal.
        if line.len() + BEFORE_A_DEED > JOURNAL_LINE_MAX {
            return Err(Error::usage("this is too long for a line of the journal; nothing was done")
                .advise("shorten --operator, --witness, --ticket, --note or --reason"));
        }
        Ok(line)
    }
}

/// A change that is made as a whole or not at all, with the notes of what it does.
pub(super) struct Change<'l> {
    change: Transaction<'l>,
    author: &'l Author,
}

impl<'l> Change<'l> {
    pub(super) fn begin(connection: &'l Connection, author: &'l Author) -> Result<Self> {
        Ok(Self { change: connection.unchecked_transaction()?, author })
    }

    /// Notes what is done here.
    pub(super) fn note(&self, deed: &Deed) -> Result<()> {
        let line = self.author.line(deed)?;
        self.change.prepare_cached("INSERT INTO noted (line) VALUES (?1)")?.execute([line])?;
        Ok(())
    }

    /// Who does what is done here.
    pub(super) fn actor(&self) -> &Actor {
        &self.author.actor
    }

    pub(super) fn commit(self) -> Result<()> {
        Ok(self.change.commit()?)
    }
}

impl Deref for Change<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.change
    }
}

/// The notes of a ledger, for whoever writes them into the journal.
#[derive(Debug)]
pub struct Notes<'l> {
    connection: &'l Connection,
    author: &'l Author,
}

/// How long the journal was when it was last written, and the digest of its last line in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEnd {
    /// Its lines.
    pub lines: u64,
    /// The digest of the last one.
    pub last: String,
}

impl<'l> Notes<'l> {
    pub(super) fn of(connection: &'l Connection, author: &'l Author) -> Self {
        Self { connection, author }
    }

    /// The oldest notes, so many at most, each with its number.
    pub fn oldest(&self, count: u32) -> Result<Vec<(i64, String)>> {
        let sql = "SELECT id, line FROM noted ORDER BY id LIMIT ?1";
        all(self.connection, sql, [count], |r| Ok((r.get(0)?, r.get(1)?)))
    }

    /// Whether the oldest note is that the journal begins.
    pub fn begins_with_opened(&self) -> Result<bool> {
        let sql = "SELECT json_extract(line, '$.event') = 'journal-opened' FROM noted ORDER BY id LIMIT 1";
        Ok(first(self.connection, sql, [], |r| r.get(0))?.unwrap_or(false))
    }

    /// Notes a deed of this run about the journal itself.
    pub fn add(&self, deed: &Deed) -> Result<()> {
        self.connection.execute("INSERT INTO noted (line) VALUES (?1)", [self.author.line(deed)?])?;
        Ok(())
    }

    /// Notes that the journal is another one than the ledger knew, and when that was found: `status` says so for a while. From
    /// here on the ledger knows this one.
    pub fn add_changed(&self, deed: &Deed, end: &JournalEnd) -> Result<()> {
        let change = self.connection.unchecked_transaction()?;
        self.add(deed)?;
        change.execute("INSERT OR REPLACE INTO meta VALUES ('journal_changed', ?1)", [clock::utc_now()])?;
        put_end(&change, end)?;
        forget_rules(&change)?;
        Ok(change.commit()?)
    }

    /// Notes a deed that comes before all that is noted.
    pub fn add_first(&self, deed: &Deed) -> Result<()> {
        let sql = "INSERT INTO noted (id, line) VALUES ((SELECT coalesce(min(id), 1) - 1 FROM noted), ?1)";
        self.connection.execute(sql, [self.author.line(deed)?])?;
        Ok(())
    }

    /// The notes up to this number lie in the journal, which ends so.
    pub fn are_written(&self, last: i64, end: &JournalEnd) -> Result<()> {
        let change = self.connection.unchecked_transaction()?;
        change.execute("DELETE FROM noted WHERE id <= ?1", [last])?;
        put_end(&change, end)?;
        Ok(change.commit()?)
    }

    /// How the journal ended when it was last written; none if it never was.
    pub fn end(&self) -> Result<Option<JournalEnd>> {
        end_of(self.connection)
    }
}

fn put_end(change: &Connection, end: &JournalEnd) -> Result<()> {
    let known = format!("{} {}", end.lines, end.last);
    change.execute("INSERT OR REPLACE INTO meta VALUES ('journal', ?1)", [known])?;
    Ok(())
}

/// The journal may not have the rules that hold: the next run notes them anew.
pub(super) fn forget_rules(change: &Connection) -> Result<()> {
    for key in ["trust", "officers", "policy"] {
        change.execute("INSERT OR REPLACE INTO meta VALUES (?1, 'unknown')", [key])?;
    }
    Ok(())
}

pub(super) fn changed_of(connection: &Connection) -> Result<Option<String>> {
    first(connection, "SELECT value FROM meta WHERE key = 'journal_changed'", [], |r| r.get(0))
}

pub(super) fn end_of(connection: &Connection) -> Result<Option<JournalEnd>> {
    let text: Option<String> = first(connection, "SELECT value FROM meta WHERE key = 'journal'", [], |r| r.get(0))?;
    let read = |text: String| {
        let (lines, last) = text.split_once(' ')?;
        Some(JournalEnd { lines: lines.parse().ok()?, last: last.to_owned() })
    };
    Ok(text.and_then(read))
}
