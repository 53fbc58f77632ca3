//! The exporter's streams: one a zone is active, and each goes on from the one before.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, Row, params};

use super::{ExporterLedger, ExporterView};
use crate::batch::manifest::Succeeds;
use crate::deed::Deed;
use crate::error::{Error, Result};
use crate::ledger::asking::all;
use crate::stream::{Sequence, StreamId};

/// A stream of this exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    pub(super) id: i64,
    /// Its UUID.
    pub stream: StreamId,
    /// The zone that it is for.
    pub zone: String,
    /// What it goes on from.
    pub succeeds: Option<Succeeds>,
    /// Whether its zone goes on with it.
    pub active: bool,
}

pub(super) const STREAMS: &str =
    "SELECT id, uuid, zone, active, succeeds_stream, succeeds_sequence, succeeds_sha256 FROM stream WHERE ";

/// What one stream packed, or has from those before it (under the number 0), counts as packed in another one too.
pub(super) const INHERIT: &str = "INSERT OR IGNORE INTO packed_envelope SELECT ?2, e.sha256, 0 FROM packed_envelope e
     LEFT JOIN packed_batch b ON b.stream = e.stream AND b.sequence = e.sequence
     WHERE e.stream = ?1 AND (e.sequence = 0 OR b.state = 'packed')";

impl ExporterView {
    /// All streams, oldest first.
    pub fn streams(&self) -> Result<Vec<StreamRow>> {
        self.streams_where("true ORDER BY id", [])
    }

    fn streams_where(&self, condition: &str, values: impl rusqlite::Params) -> Result<Vec<StreamRow>> {
        let sql = format!("{STREAMS}{condition}");
        all(&self.connection, &sql, values, stream_row)
    }

    /// The stream with which a zone goes on.
    pub fn active_stream(&self, zone: &str) -> Result<Option<StreamRow>> {
        Ok(self.streams_where("zone = ?1 AND active = 1", [zone])?.pop())
    }

    /// A stream and those that it goes on from, newest first.
    pub fn lineage(&self, stream: &StreamRow) -> Result<Vec<StreamRow>> {
        let all: HashMap<StreamId, StreamRow> = self.streams()?.into_iter().map(|s| (s.stream, s)).collect();
        let mut seen = HashSet::from([stream.stream]);
        let mut out = vec![stream.clone()];
        while let Some(before) = out.last().and_then(|s| s.succeeds).and_then(|s| all.get(&s.stream))
            && seen.insert(before.stream)
        {
            out.push(before.clone());
        }
        Ok(out)
    }

    /// Each stream with the last number that is used, 0 where none is; found by the index, without a look at the rows.
    pub fn last_sequences(&self) -> Result<Vec<(StreamId, u64)>> {
        let sql = "SELECT uuid, (SELECT max(sequence) FROM packed_batch b WHERE b.stream = s.id) FROM stream s";
        all(&self.connection, sql, [], |r| Ok((r.get(0)?, r.get::<_, Option<i64>>(1)?.unwrap_or(0) as u64)))
    }

    /// The last number of a stream that is used.
    pub fn last_sequence(&self, stream: &StreamRow) -> Result<Option<Sequence>> {
        let sql = "SELECT max(sequence) FROM packed_batch WHERE stream = ?1";
        let last: Option<i64> = self.connection.query_row(sql, [stream.id], |r| r.get(0))?;
        Ok(last.and_then(|n| Sequence::new(n as u64)))
    }
}

impl ExporterLedger {
    /// Begins a stream for a zone; one that was active is so no longer.
    pub fn begin_stream(&mut self, stream: StreamId, zone: &str, succeeds: Option<Succeeds>) -> Result<StreamRow> {
        let change = self.change()?;
        insert_stream(&change, stream, zone, succeeds)?;
        change.commit()?;
        self.begun(zone)
    }

    /// Begins the stream that goes on from another one. What that one and those before it packed counts as packed in it.
    /// Streams are looked at back to the first one in which all that was before it counts already: else each of many
    /// renewals would read what all of them had.
    ///
    /// # Errors
    /// SQLite refused; then nothing has begun.
    pub fn begin_successor(
        &mut self,
        stream: StreamId,
        old: &StreamRow,
        succeeds: Option<Succeeds>,
    ) -> Result<StreamRow> {
        let lineage = self.lineage(old)?;
        let change = self.change()?;
        let new = insert_stream(&change, stream, &old.zone, succeeds)?;
        for before in &lineage {
            change.prepare_cached(INHERIT)?.execute(params![before.id, new])?;
            let sql = "SELECT inherits FROM stream WHERE id = ?1";
            if change.prepare_cached(sql)?.query_row([before.id], |r| r.get(0))? {
                break;
            }
        }
        change.execute("UPDATE stream SET inherits = 1 WHERE id = ?1", [new])?;
        change.note(&Deed::Renewed { stream, zone: old.zone.clone(), succeeds: old.stream })?;
        change.commit()?;
        self.begun(&old.zone)
    }

    fn begun(&self, zone: &str) -> Result<StreamRow> {
        self.active_stream(zone)?.ok_or_else(|| Error::failed("the new stream is not in the ledger"))
    }
}

/// Begins a stream for a zone; one that was active is so no longer. Gives the ledger's number for it.
fn insert_stream(
    change: &Connection,
    stream: StreamId,
    zone: &str,
    succeeds: Option<Succeeds>,
) -> rusqlite::Result<i64> {
    change.execute("UPDATE stream SET active = 0 WHERE zone = ?1", [zone])?;
    change.execute(
        "INSERT INTO stream (uuid, zone, active, succeeds_stream, succeeds_sequence, succeeds_sha256) VALUES (?1, ?2, 1, ?3, ?4, ?5)",
        params![
            stream.to_string(),
            zone,
            succeeds.map(|s| s.stream.to_string()),
            succeeds.map(|s| s.sequence.get() as i64),
            succeeds.map(|s| s.sha256.as_bytes().to_vec()),
        ],
    )?;
    Ok(change.last_insert_rowid())
}

fn stream_row(r: &Row<'_>) -> rusqlite::Result<StreamRow> {
    let succeeds = match r.get::<_, Option<String>>(4)? {
        Some(stream) => StreamId::parse(&stream)
            .zip(Sequence::new(r.get::<_, i64>(5)? as u64))
            .map(|(stream, sequence)| Ok::<_, rusqlite::Error>(Succeeds { stream, sequence, sha256: r.get(6)? })),
        None => None,
    };
    let uuid: String = r.get(1)?;
    let stream = StreamId::parse(&uuid).ok_or(rusqlite::Error::InvalidColumnName(uuid))?;
    Ok(StreamRow { id: r.get(0)?, stream, zone: r.get(2)?, active: r.get(3)?, succeeds: succeeds.transpose()? })
}
