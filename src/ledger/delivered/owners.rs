//! Which streams may deliver under a connector's id.

use rusqlite::{Connection, params};

use super::super::{Ledger, lost};
use super::batches::stream_of;
use crate::digest::Digest;
use crate::error::Result;
use crate::stream::{Lineages, StreamId};

/// A batch that is admitted, and who vouches for it.
#[derive(Debug)]
pub struct Admitted<'a> {
    /// The ledger's number for it.
    pub id: i64,
    /// Its stream.
    pub stream: StreamId,
    /// Whether later numbers were delivered before it.
    pub late: bool,
    /// The fingerprints of the keys that signed it.
    pub signers: &'a [Digest],
    /// The stream that it goes on from, if its signers may sign that one too.
    pub heir_of: Option<StreamId>,
}

impl Ledger {
    /// Admits a batch. Its connectors are its stream's from now on, as far as they came by no other stream.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn set_admitted(&mut self, admitted: &Admitted<'_>) -> Result<()> {
        let stream = admitted.stream.to_string();
        let mut work = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            change
                .prepare_cached("UPDATE batch SET state = 'admitted', standing = NULL, late = ?2 WHERE id = ?1")?
                .execute(params![admitted.id, admitted.late])?;
            for signer in admitted.signers {
                change
                    .prepare_cached("INSERT OR IGNORE INTO stream_signer VALUES (?1, ?2)")?
                    .execute([&stream, &signer.to_string()])?;
            }
            if let Some(before) = admitted.heir_of {
                change
                    .prepare_cached("INSERT OR IGNORE INTO stream_heir VALUES (?1, ?2)")?
                    .execute([&stream, &before.to_string()])?;
            }
            change
                .prepare_cached(
                    "INSERT INTO connector_stream (connector, stream)
                     SELECT DISTINCT c.value ->> 'id', b.stream FROM batch b, json_each(CAST(b.manifest AS TEXT), '$.connectors') c
                     WHERE b.id = ?1 AND NOT EXISTS (SELECT 1 FROM connector_stream o WHERE o.connector = c.value ->> 'id')",
                )?
                .execute([admitted.id])?;
            change.commit()
        };
        work().map_err(|e| lost(&e))
    }

    /// The stream that has a connector, where this one may not deliver under the same id: they share no key, and neither
    /// goes on from the other by `heirs`. An id that nobody has is this stream's from now on.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn other_stream_of(&self, connector: &str, stream: StreamId, heirs: &Lineages) -> Result<Option<StreamId>> {
        let have = self.streams_of_connector(connector)?;
        let Some(first) = have.first().copied() else {
            self.let_use(connector, stream)?;
            return Ok(None);
        };
        if have.contains(&stream) {
            return Ok(None);
        }
        for other in &have {
            if self.share_a_signer(stream, *other)? {
                return Ok(None);
            }
        }
        let goes_on_from = |one: StreamId, other: StreamId| heirs.of(one, None).contains(&other.uuid());
        let is_kin = have.iter().any(|other| goes_on_from(stream, *other) || goes_on_from(*other, stream));
        Ok((!is_kin).then_some(first))
    }

    /// From now on a stream may deliver under the id of a connector.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn let_use(&self, connector: &str, stream: StreamId) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO connector_stream (connector, stream) VALUES (?1, ?2)";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        query.execute([connector, &stream.to_string()]).map(drop).map_err(|e| lost(&e))
    }

    /// Whether envelopes of a connector were set aside for this reason when they came by this stream.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn is_aside_for(&self, code: &str, connector: &str, stream: StreamId) -> Result<bool> {
        let sql = "SELECT 1 FROM set_aside a JOIN batch b ON b.id = a.batch WHERE a.code = ?1 AND a.connector = ?2 AND b.stream = ?3";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        query.exists([code, connector, &stream.to_string()]).map_err(|e| lost(&e))
    }

    /// The streams that have a connector, the one by which it came first before all others.
    fn streams_of_connector(&self, connector: &str) -> Result<Vec<StreamId>> {
        let sql = "SELECT stream FROM connector_stream WHERE connector = ?1 ORDER BY id";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let rows = query.query_map([connector], |r| stream_of(r, 0));
        rows.and_then(Iterator::collect).map_err(|e| lost(&e))
    }

    fn share_a_signer(&self, one: StreamId, other: StreamId) -> Result<bool> {
        let sql = "SELECT 1 FROM stream_signer a JOIN stream_signer b ON b.signer = a.signer WHERE a.stream = ?1 AND b.stream = ?2";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        query.exists([one.to_string(), other.to_string()]).map_err(|e| lost(&e))
    }

    /// Which streams go on from which, as far as the signers of the later ones may sign the earlier ones too.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn heirs(&self) -> Result<Lineages> {
        heirs(&self.connection).map_err(|e| lost(&e))
    }
}

fn heirs(connection: &Connection) -> rusqlite::Result<Lineages> {
    let mut lineages = Lineages::default();
    let mut query = connection.prepare_cached("SELECT stream, before FROM stream_heir")?;
    for pair in query.query_map([], |r| Ok((stream_of(r, 0)?, stream_of(r, 1)?)))? {
        let (stream, before) = pair?;
        lineages.add(stream, before);
    }
    Ok(lineages)
}
