//! What is kept of a batch to look up in: noted when it is done, and when its files go.

use rusqlite::{Connection, params};

use crate::digest::Digest;

/// What is known of the list of a batch's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectList {
    /// An older airpouch delivered it, or it is not delivered yet.
    NeverMade,
    /// The policy wanted none.
    Off,
    /// It has more objects than a list takes.
    TooMany,
    /// It was made.
    Kept {
        /// Its records.
        records: u64,
        /// Its digest.
        sha256: Digest,
        /// Envelopes that are not in it, or not to their end.
        unread: u64,
    },
}

impl ObjectList {
    fn word(self) -> Option<&'static str> {
        match self {
            Self::NeverMade => None,
            Self::Off => Some("off"),
            Self::TooMany => Some("too-many"),
            Self::Kept { .. } => Some("kept"),
        }
    }
}

/// Notes the list of a batch that is done.
pub(super) fn note_list(change: &Connection, batch: i64, list: ObjectList) -> rusqlite::Result<()> {
    let (records, sha256, unread) = match list {
        ObjectList::Kept { records, sha256, unread } => (records as i64, Some(sha256), unread as i64),
        _ => (0, None, 0),
    };
    let sql = "INSERT INTO lookup (batch, list, records, sha256, unread) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (batch)
               DO UPDATE SET list = excluded.list, records = excluded.records, sha256 = excluded.sha256, unread = excluded.unread";
    let digest = sha256.as_ref().map(Digest::as_bytes);
    change.prepare_cached(sql)?.execute(params![batch, list.word(), records, digest, unread])?;
    Ok(())
}

/// Notes whether the index of a batch was kept, whose files were removed.
pub(super) fn note_index(change: &Connection, batch: i64, has_index: bool) -> rusqlite::Result<()> {
    let sql = "INSERT INTO lookup (batch, has_index) VALUES (?1, ?2) ON CONFLICT (batch) DO UPDATE SET has_index = excluded.has_index";
    change.prepare_cached(sql)?.execute(params![batch, has_index])?;
    Ok(())
}
