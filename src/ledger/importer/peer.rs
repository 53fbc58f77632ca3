//! Where the exporter's journal ended when it was last heard of.

use rusqlite::params;

use super::{ImporterLedger, ImporterView};
use crate::deed::Deed;
use crate::error::Result;
use crate::journal::{JournalHead, PeerHead};
use crate::ledger::asking::{all, first};
use crate::stream::StreamId;
use crate::trust::PublicKey;

/// The newest head that came beside the batches of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHead {
    /// The stream.
    pub stream: StreamId,
    /// The head, and the key that signed it.
    pub peer: PeerHead,
    /// When it came.
    pub at: String,
}

/// What a head that came is, beside the one that was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeardHead {
    /// The first one, or the same or an older one; or a newer one of the same journal.
    Fits,
    /// Of a journal with another key.
    OtherKey,
    /// As long as the known one, and of another history.
    OtherHistory,
}

const HEADS: &str = "SELECT stream, key, lines, last, at FROM peer_head";

impl ImporterView {
    /// The newest head of each stream.
    pub fn peer_heads(&self) -> Result<Vec<KnownHead>> {
        let rows: Vec<Option<KnownHead>> = all(&self.connection, &format!("{HEADS} ORDER BY stream"), [], known_head)?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn peer_head(&self, stream: StreamId) -> Result<Option<KnownHead>> {
        let sql = format!("{HEADS} WHERE stream = ?1");
        Ok(first(&self.connection, &sql, [stream.to_string()], known_head)?.flatten())
    }
}

impl ImporterLedger {
    /// Notes a head that came beside the batches of a stream, if it says anything new.
    pub fn note_peer_head(&self, stream: StreamId, peer: &PeerHead, at: &str) -> Result<HeardHead> {
        let heard = match self.peer_head(stream)? {
            None => HeardHead::Fits,
            Some(known) if known.peer.key != peer.key => HeardHead::OtherKey,
            Some(known) if known.peer.head.lines > peer.head.lines => return Ok(HeardHead::Fits),
            Some(known) if known.peer.head == peer.head => return Ok(HeardHead::Fits),
            Some(known) if known.peer.head.lines == peer.head.lines => HeardHead::OtherHistory,
            Some(_) => HeardHead::Fits,
        };
        let (JournalHead { lines, last }, key) = (&peer.head, peer.key.to_pem());
        let change = self.change()?;
        let sql = "INSERT OR REPLACE INTO peer_head VALUES (?1, ?2, ?3, ?4, ?5)";
        change.execute(sql, params![stream.to_string(), key, *lines as i64, last, at])?;
        let fits = heard == HeardHead::Fits;
        change.note(&Deed::PeerHead { stream, lines: *lines, last: last.clone(), key, fits })?;
        change.commit()?;
        Ok(heard)
    }
}

fn known_head(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<KnownHead>> {
    let key = PublicKey::from_pem(row.get_ref(1)?.as_str()?.as_bytes());
    let head = JournalHead { lines: row.get::<_, i64>(2)? as u64, last: row.get(3)? };
    let (stream, at) = (row.get(0)?, row.get(4)?);
    Ok(key.ok().map(|key| KnownHead { stream, peer: PeerHead { head, key }, at }))
}
