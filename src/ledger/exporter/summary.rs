//! What is asked of all batches of a stream at once. The answers come from indexes and counts, whatever the number and
//! the size of the manifests.

use super::{ExporterView, PackedState, StreamRow};
use crate::batch::manifest::Succeeds;
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::asking::{all, first};
use crate::stream::{Sequence, Size};

/// A batch without what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedBatch {
    /// Its number.
    pub sequence: u64,
    /// How far it has come.
    pub state: PackedState,
    /// What it holds.
    pub size: Size,
    /// When it was packed, in seconds since 1970; unknown of what an older airpouch packed, or what was taken in.
    pub packed_at: Option<i64>,
}

/// A connector of which envelopes were packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedConnector {
    /// Its id.
    pub id: String,
    /// Its name, by the newest batch.
    pub name: String,
    /// Its envelopes.
    pub envelopes: u64,
    /// The newest batch with envelopes of it.
    pub last: u64,
}

impl ExporterView {
    /// All batches of a stream, by number.
    pub fn packed_batches(&self, stream: &StreamRow) -> Result<Vec<PackedBatch>> {
        let sql =
            "SELECT sequence, state, envelopes, bytes, packed_at FROM packed_batch WHERE stream = ?1 ORDER BY sequence";
        all(&self.connection, sql, [stream.id], |r| {
            let number = |column| r.get::<_, i64>(column).map(|n| n as u64);
            let size = Size { envelopes: number(2)?, bytes: number(3)? };
            Ok(PackedBatch { sequence: number(0)?, state: r.get(1)?, size, packed_at: r.get(4)? })
        })
    }

    /// The digest of the last batch of a stream.
    pub fn packed_head(&self, stream: &StreamRow) -> Result<Option<Digest>> {
        let sql = "SELECT sha256 FROM packed_batch WHERE stream = ?1 ORDER BY sequence DESC LIMIT 1";
        first(&self.connection, sql, [stream.id], |r| r.get(0))
    }

    /// The last batch of a stream that was signed, as another stream goes on from it.
    pub fn last_packed(&self, stream: &StreamRow) -> Result<Option<Succeeds>> {
        let sql = "SELECT sequence, sha256 FROM packed_batch WHERE stream = ?1 AND state = 'packed' ORDER BY sequence DESC LIMIT 1";
        let last: Option<(i64, Digest)> = first(&self.connection, sql, [stream.id], |r| Ok((r.get(0)?, r.get(1)?)))?;
        Ok(last.and_then(|(number, sha256)| {
            let sequence = Sequence::new(number as u64)?;
            Some(Succeeds { stream: stream.stream, sequence, sha256 })
        }))
    }

    /// The connectors of a stream of which envelopes were packed, by id.
    pub fn packed_connectors(&self, stream: &StreamRow) -> Result<Vec<PackedConnector>> {
        let sql =
            "SELECT connector, name, envelopes, sequence FROM packed_connector WHERE stream = ?1 ORDER BY connector";
        all(&self.connection, sql, [stream.id], |r| {
            let (envelopes, last) = (r.get::<_, i64>(2)? as u64, r.get::<_, i64>(3)? as u64);
            Ok(PackedConnector { id: r.get(0)?, name: r.get(1)?, envelopes, last })
        })
    }
}
