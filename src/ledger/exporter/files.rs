//! Files of the sources, by what they were when they were last read.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, params};

use super::{ExporterLedger, ExporterView, StreamRow};
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::asking::all;
use crate::source::{SourceFile, Stamp};
use crate::text::harmless_bytes;

/// What the ledger knows of a file that has not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Its content, and whether this stream has packed it.
    Content {
        /// Its digest.
        sha256: Digest,
        /// Whether this stream has packed it.
        packed: bool,
    },
    /// It is no envelope, and that was said.
    Refused,
}

/// What is to be remembered of a file.
#[derive(Debug, Clone)]
pub struct Sight<'a> {
    /// The file.
    pub file: &'a SourceFile,
    /// Its digest, or why it is no envelope.
    pub content: std::result::Result<Digest, String>,
}

impl ExporterView {
    /// All that is known of the files of a source, by path, for one stream.
    pub fn seen_files(&self, stream: Option<&StreamRow>, source: &Path) -> Result<HashMap<Vec<u8>, (Stamp, Seen)>> {
        let sql = "SELECT path, dev, ino, size, mtime, ctime, s.sha256, refusal, e.sha256 IS NOT NULL FROM seen_file s
                   LEFT JOIN packed_envelope e ON e.stream = ?1 AND e.sha256 = s.sha256 WHERE source = ?2";
        let stream = stream.map_or(-1, |s| s.id);
        all(&self.connection, sql, params![stream, source.to_string_lossy()], |r| {
            let nanos = |column: usize| -> rusqlite::Result<i128> {
                let text: String = r.get(column)?;
                text.parse().map_err(|_| rusqlite::Error::InvalidColumnName(text))
            };
            let stamp = Stamp {
                dev: r.get::<_, i64>(1)? as u64,
                ino: r.get::<_, i64>(2)? as u64,
                size: r.get::<_, i64>(3)? as u64,
                mtime: nanos(4)?,
                ctime: nanos(5)?,
            };
            let seen = match r.get::<_, Option<String>>(7)? {
                Some(_) => Seen::Refused,
                None => Seen::Content { sha256: r.get(6)?, packed: r.get(8)? },
            };
            Ok((r.get::<_, Vec<u8>>(0)?, (stamp, seen)))
        })
    }

    /// How many files of a source are remembered as no envelope.
    pub fn refused_files(&self) -> Result<Vec<(String, String)>> {
        let sql = "SELECT path, refusal FROM seen_file WHERE refusal IS NOT NULL ORDER BY path";
        all(&self.connection, sql, [], |r| Ok((harmless_bytes(&r.get::<_, Vec<u8>>(0)?), r.get(1)?)))
    }
}

impl ExporterLedger {
    /// Remembers files that were read for nothing new, and forgets those that are gone.
    pub fn remember_files(&mut self, source: &Path, sights: &[Sight<'_>], gone: &[Vec<u8>]) -> Result<()> {
        if sights.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let change = self.change()?;
        remember(&change, source, sights)?;
        {
            let mut delete = change.prepare_cached("DELETE FROM seen_file WHERE source = ?1 AND path = ?2")?;
            for path in gone {
                delete.execute(params![source.to_string_lossy(), path])?;
            }
        }
        change.commit()
    }
}

pub(super) fn remember(change: &Connection, source: &Path, sights: &[Sight<'_>]) -> rusqlite::Result<()> {
    let source = source.to_string_lossy();
    let mut insert =
        change.prepare_cached("INSERT OR REPLACE INTO seen_file VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
    let mut sorted: Vec<&Sight<'_>> = sights.iter().collect();
    sorted.sort_unstable_by_key(|sight| sight.file.path.as_os_str().as_encoded_bytes());
    for sight in sorted {
        let stamp = sight.file.stamp;
        insert.execute(params![
            source,
            sight.file.path.as_os_str().as_encoded_bytes(),
            stamp.dev as i64,
            stamp.ino as i64,
            stamp.size as i64,
            stamp.mtime.to_string(),
            stamp.ctime.to_string(),
            sight.content.as_ref().ok().map(|d| d.as_bytes()),
            sight.content.as_ref().err(),
        ])?;
    }
    Ok(())
}
