//! What `status` asks of all batches at once: how far each has come, when, and what of it is set aside. The answers come from
//! indexes, whatever the number and the size of the manifests.

use std::collections::HashMap;

use super::{AsideKind, ImporterView, State};
use crate::code::Code;
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::asking::{all, first};
use crate::ledger::noted::changed_of;
use crate::stream::{Numbers, Size, StreamId};

/// A batch that came, without what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CameBatch {
    /// The ledger's number for it.
    pub id: i64,
    /// Its stream.
    pub stream: StreamId,
    /// Its number.
    pub sequence: u64,
    /// How far it has come.
    pub state: State,
    /// Why it is not admitted, as it was last said.
    pub standing: Option<Code>,
    /// What it holds.
    pub size: Size,
    /// When it was whole in the inbox, or the first of it came, in seconds since 1970; an older airpouch did not note it.
    pub taken_at: Option<i64>,
    /// When it was done.
    pub done_at: Option<i64>,
    /// When envelopes of it were delivered that had been set aside.
    pub aside_delivered_at: Option<i64>,
}

/// Envelopes of one batch and connector that are set aside for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsideReasons {
    /// The ledger's number of their batch.
    pub batch: i64,
    /// Their connector's id.
    pub connector: String,
    /// How they are set aside.
    pub kind: AsideKind,
    /// Why.
    pub code: Code,
    /// How many.
    pub number: u64,
}

/// What was heard last of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastHeard {
    /// The stream.
    pub stream: StreamId,
    /// The number of its last batch.
    pub sequence: u64,
    /// When that was taken, in seconds since 1970.
    pub at: i64,
    /// Within how many seconds the exporter promises the next one.
    pub promise: Option<u64>,
    /// The last batch that has envelopes: its number, and when it was taken.
    pub content: Option<(u64, i64)>,
}

/// When a connector came last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorHeard {
    /// Its id.
    pub connector: String,
    /// Its name.
    pub name: String,
    /// The stream that brought it last.
    pub stream: StreamId,
    /// When that was, in seconds since 1970.
    pub at: i64,
    /// On how many of the seven days up to then it came.
    pub days: u64,
}

/// What a person has accepted of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// The stream.
    pub stream: StreamId,
    /// The batches.
    pub numbers: Numbers,
    /// The batch that was accepted although it forks its stream; none for batches that are not waited for any more.
    pub fork: Option<Digest>,
    /// Why.
    pub reason: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
}

impl ImporterView {
    /// Gives each batch, by stream and number.
    ///
    /// # Errors
    /// SQLite refused, or what `each` says.
    pub fn each_came(&self, mut each: impl FnMut(CameBatch) -> Result<()>) -> Result<()> {
        let sql =
            "SELECT id, stream, sequence, state, standing, envelopes, bytes, taken_at, done_at, aside_delivered_at
                   FROM batch ORDER BY stream, sequence";
        let mut query = self.connection.prepare_cached(sql)?;
        let mut rows = query.query([])?;
        while let Some(r) = rows.next()? {
            let number = |column| r.get::<_, i64>(column).map(|n| n as u64);
            each(CameBatch {
                id: r.get(0)?,
                stream: r.get(1)?,
                sequence: number(2)?,
                state: r.get(3)?,
                standing: r.get(4)?,
                size: Size { envelopes: number(5)?, bytes: number(6)? },
                taken_at: r.get(7)?,
                done_at: r.get(8)?,
                aside_delivered_at: r.get(9)?,
            })?;
        }
        Ok(())
    }

    /// What was heard last of each stream, whether it was delivered or not.
    pub fn last_heard(&self) -> Result<Vec<LastHeard>> {
        const HERE: &str = "stream = ?1 AND state IN ('whole', 'admitted', 'delivered') AND taken_at IS NOT NULL";
        let streams: Vec<StreamId> = all(&self.connection, "SELECT DISTINCT stream FROM batch", [], |r| r.get(0))?;
        let mut heard = Vec::new();
        for stream in streams {
            let named = stream.to_string();
            let number = |r: &rusqlite::Row<'_>| r.get::<_, i64>(0).map(|number| number as u64);
            let sql =
                format!("SELECT sequence, taken_at, promise FROM batch WHERE {HERE} ORDER BY sequence DESC LIMIT 1");
            let last = first(&self.connection, &sql, [&named], |r| {
                Ok((number(r)?, r.get(1)?, r.get::<_, Option<i64>>(2)?.and_then(|seconds| u64::try_from(seconds).ok())))
            })?;
            let Some((sequence, at, promise)) = last else { continue };
            let sql = format!(
                "SELECT sequence, taken_at FROM batch WHERE {HERE} AND envelopes > 0 ORDER BY sequence DESC LIMIT 1"
            );
            let content = first(&self.connection, &sql, [&named], |r| Ok((number(r)?, r.get(1)?)))?;
            heard.push(LastHeard { stream, sequence, at, promise, content });
        }
        Ok(heard)
    }

    /// When each connector came last, and how regularly it did before.
    pub fn connectors_heard(&self) -> Result<Vec<ConnectorHeard>> {
        // SQLite takes the other columns from the row of the largest `at`.
        let sql = "SELECT l.connector, l.stream, l.at,
                          (SELECT name FROM came_connector c WHERE c.stream = l.stream AND c.connector = l.connector),
                          (SELECT count(*) FROM came_day d WHERE d.connector = l.connector AND d.day > l.day - 7)
                   FROM (SELECT connector, stream, day, max(at) AS at FROM came_day GROUP BY connector) l";
        all(&self.connection, sql, [], |r| {
            let name: Option<String> = r.get(3)?;
            Ok(ConnectorHeard {
                connector: r.get(0)?,
                stream: r.get(1)?,
                at: r.get(2)?,
                name: name.unwrap_or_default(),
                days: r.get::<_, i64>(4)? as u64,
            })
        })
    }

    /// Gives what is set aside of each batch, counted by connector and reason.
    ///
    /// # Errors
    /// SQLite refused, or what `each` says.
    pub fn each_aside_reason(&self, mut each: impl FnMut(AsideReasons) -> Result<()>) -> Result<()> {
        let sql = "SELECT batch, connector, kind, code, count(*) FROM set_aside GROUP BY batch, connector, kind, code";
        let mut query = self.connection.prepare_cached(sql)?;
        let mut rows = query.query([])?;
        while let Some(r) = rows.next()? {
            let number = r.get::<_, i64>(4)? as u64;
            each(AsideReasons { batch: r.get(0)?, connector: r.get(1)?, kind: r.get(2)?, code: r.get(3)?, number })?;
        }
        Ok(())
    }

    /// How many envelopes of a batch are set aside that had come by another batch before.
    pub fn aside_before(&self) -> Result<HashMap<i64, u64>> {
        let sql = "SELECT p.batch, count(*) FROM aside_before p JOIN set_aside a ON a.sha256 = p.sha256
                   WHERE a.batch <> p.batch GROUP BY p.batch";
        all(&self.connection, sql, [], |r| Ok((r.get(0)?, r.get::<_, i64>(1)? as u64)))
    }

    /// The fingerprints of the keys that signed admitted batches, by stream.
    pub fn stream_signers(&self) -> Result<Vec<(StreamId, Digest)>> {
        let sql = "SELECT stream, signer FROM stream_signer ORDER BY stream, signer";
        let rows: Vec<(StreamId, String)> = all(&self.connection, sql, [], |r| Ok((r.get(0)?, r.get(1)?)))?;
        Ok(rows.into_iter().filter_map(|(stream, signer)| Some((stream, signer.parse().ok()?))).collect())
    }

    /// What a person has accepted: gaps, then forks, in the order in which that was done.
    pub fn acceptances(&self) -> Result<Vec<Acceptance>> {
        let sql = "SELECT stream, first, last, reason, at FROM settled ORDER BY rowid";
        let mut accepted: Vec<_> = all(&self.connection, sql, [], |r| {
            let numbers = [r.get::<_, i64>(1)? as u64..=r.get::<_, i64>(2)? as u64].into_iter().collect();
            Ok(Acceptance { stream: r.get(0)?, numbers, fork: None, reason: r.get(3)?, at: r.get(4)? })
        })?;
        let sql = "SELECT stream, sequence, sha256, reason, at FROM accepted ORDER BY at, stream, sequence";
        let forks: Vec<_> = all(&self.connection, sql, [], |r| {
            let numbers = [r.get::<_, i64>(1)? as u64].into_iter().collect();
            Ok(Acceptance { stream: r.get(0)?, numbers, fork: Some(r.get(2)?), reason: r.get(3)?, at: r.get(4)? })
        })?;
        accepted.extend(forks);
        Ok(accepted)
    }

    /// How many works are open at a destination.
    pub fn open_work_count(&self, destination: i64) -> Result<u64> {
        let sql = "SELECT count(*) FROM work WHERE destination = ?1";
        let count: i64 = self.connection.query_row(sql, [destination], |r| r.get(0))?;
        Ok(count as u64)
    }

    /// When a run last found another journal than the ledger knew, RFC 3339 in UTC.
    pub fn journal_changed(&self) -> Result<Option<String>> {
        changed_of(&self.connection)
    }
}
