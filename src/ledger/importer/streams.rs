//! Streams: which goes on from which, a batch's place in its own, what is missing, and what came.
//!
//! What is asked of all batches is counted and compared by SQLite, in columns of their own.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rusqlite::params;

use super::{ImporterLedger, ImporterView};
use crate::batch::manifest::Manifest;
use crate::deed::Deed;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ledger::asking::{all, any, first};
use crate::limits::HISTORY_LENGTH;
use crate::stream::{Lineages, Missing, Numbers, Position, Size, StreamId, unsettled};

/// A connector of which envelopes came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameConnector {
    /// Its id.
    pub id: String,
    /// Its name, by the newest batch.
    pub name: String,
    /// Its type, by the newest batch.
    pub kind: String,
    /// Its envelopes.
    pub envelopes: u64,
    /// The newest batch with envelopes of it.
    pub last: u64,
}

/// Ranges of numbers in one line of the journal.
const RANGES_IN_A_LINE: usize = 500;

/// The batches whose links count.
const IS_ADMITTED: &str = "state IN ('admitted', 'delivered')";
/// Those, and what waits behind a gap.
const IS_COUNTED: &str = "(state IN ('admitted', 'delivered') OR (state = 'whole' AND standing = 'waiting'))";

impl ImporterView {
    /// Which stream goes on from which: what was admitted says so, in its number 1; with `also_waiting` what waits in the
    /// inbox too.
    pub fn lineages(&self, also_waiting: bool) -> Result<Lineages> {
        let which = if also_waiting { "state IN ('admitted', 'delivered', 'whole')" } else { IS_ADMITTED };
        let sql = format!(
            "SELECT stream, succeeds_stream FROM batch WHERE succeeds_stream IS NOT NULL AND {which} ORDER BY state = 'whole', id"
        );
        let pairs: Vec<_> = all(&self.connection, &sql, [], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let mut lineages = Lineages::default();
        pairs.into_iter().for_each(|(stream, before)| lineages.add(stream, before));
        Ok(lineages)
    }

    /// Whether anything came of a stream.
    pub fn knows_stream(&self, stream: StreamId) -> Result<bool> {
        any(&self.connection, "SELECT 1 FROM batch WHERE stream = ?1", [stream.to_string()])
    }

    /// What the admitted batches of a stream say of these numbers, with what the operator settled: the last one, and
    /// those that are near enough to name one of them or to be named.
    pub fn position(&self, stream: StreamId, numbers: &RangeInclusive<u64>) -> Result<Position> {
        // `previous`, and the history behind it.
        let near = HISTORY_LENGTH as u64 + 1;
        let mut position = Position::default();
        let last = self.last_admitted(stream)?.unwrap_or(0);
        let sql = format!(
            "SELECT manifest, sha256 FROM batch WHERE stream = ?1 AND (sequence BETWEEN ?2 AND ?3 OR sequence = ?4) AND {IS_ADMITTED}
             ORDER BY sequence, id"
        );
        let mut query = self.connection.prepare_cached(&sql)?;
        let (from, to) = (numbers.start().saturating_sub(near), numbers.end() + near);
        let values = params![stream.to_string(), from as i64, to as i64, last as i64];
        let mut rows = query.query(values)?;
        while let Some(row) = rows.next()? {
            let manifest = Manifest::parse(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)
                .map_err(|e| Error::failed(format!("the ledger holds a manifest that is none: {e}")))?;
            position.admit(manifest.link(row.get(1)?));
        }
        position.settled = self.settled(stream)?;
        let accepted = "SELECT sha256 FROM accepted WHERE stream = ?1";
        position.accepted = all(&self.connection, accepted, [stream.to_string()], |r| r.get(0))?;
        Ok(position)
    }

    /// The largest number of a stream that was admitted.
    pub fn last_admitted(&self, stream: StreamId) -> Result<Option<u64>> {
        let sql =
            format!("SELECT sequence FROM batch WHERE stream = ?1 AND {IS_ADMITTED} ORDER BY sequence DESC LIMIT 1");
        first(&self.connection, &sql, [stream.to_string()], |r| r.get::<_, i64>(0).map(|n| n as u64))
    }

    /// Numbers of a stream that the operator no longer waits for.
    pub fn settled(&self, stream: StreamId) -> Result<Numbers> {
        all(&self.connection, "SELECT first, last FROM settled WHERE stream = ?1", [stream.to_string()], |r| {
            Ok(r.get::<_, i64>(0)? as u64..=r.get::<_, i64>(1)? as u64)
        })
    }

    /// Numbers that have not come and were not settled, between those that were admitted or wait for them: of one stream,
    /// or of all. The third value is whether the stream begins behind them.
    pub fn gaps(&self, stream: Option<StreamId>) -> Result<Vec<(StreamId, Missing, bool)>> {
        let of = if stream.is_some() { "stream = ?1" } else { "?1 IS NULL" };
        let sql = format!(
            "WITH number AS (SELECT stream, sequence, min(id), envelopes, bytes, before_envelopes, before_bytes
                 FROM batch WHERE {of} AND {IS_COUNTED} GROUP BY stream, sequence),
             pair AS (SELECT stream, sequence, before_envelopes, before_bytes, lag(sequence) OVER w AS known,
                 lag(before_envelopes + envelopes) OVER w AS envelopes, lag(before_bytes + bytes) OVER w AS bytes
                 FROM number WINDOW w AS (PARTITION BY stream ORDER BY sequence))
             SELECT stream, coalesce(known, 0) + 1, sequence - 1, before_envelopes - coalesce(envelopes, 0),
                 before_bytes - coalesce(bytes, 0), known IS NULL FROM pair WHERE sequence > coalesce(known, 0) + 1
             ORDER BY stream, sequence"
        );
        let rows: Vec<_> = all(&self.connection, &sql, [stream.map(|s| s.to_string())], |r| {
            let numbers = r.get::<_, i64>(1)? as u64..=r.get::<_, i64>(2)? as u64;
            // Counters of the two ends that contradict each other say nothing of what lies between them.
            let size = |n: i64| u64::try_from(n).ok();
            let (envelopes, bytes) = (size(r.get(3)?), size(r.get(4)?));
            let size = envelopes.zip(bytes).map(|(envelopes, bytes)| Size { envelopes, bytes });
            Ok((r.get(0)?, Missing { numbers, size }, r.get::<_, bool>(5)?))
        })?;
        let mut out = Vec::new();
        // The rows come by stream: what was settled of each is asked for once.
        let mut settled: Option<(StreamId, Numbers)> = None;
        for (stream, gap, begins) in rows {
            let known = settled.take().filter(|(of, _)| *of == stream);
            let (_, settled) = settled.insert(known.map_or_else(|| self.settled(stream).map(|s| (stream, s)), Ok)?);
            out.extend(unsettled(gap, settled).into_iter().map(|missing| (stream, missing, begins)));
        }
        Ok(out)
    }

    /// The ends of the streams that others go on from, as far as what was admitted or waits says so: stream and number.
    pub fn ends_of_succeeded(&self) -> Result<Vec<(StreamId, u64)>> {
        let sql = format!(
            "SELECT succeeds_stream, succeeds_sequence FROM batch WHERE succeeds_stream IS NOT NULL AND {IS_COUNTED}
             ORDER BY state = 'whole', stream, sequence, id"
        );
        all(&self.connection, &sql, [], |r| Ok((r.get(0)?, r.get::<_, i64>(1)? as u64)))
    }

    /// The zone of the last batch of a stream, and number and digest of the last one that was delivered.
    pub fn zone_and_head(&self, stream: StreamId) -> Result<(String, Option<(u64, Digest)>)> {
        let last = "WHERE stream = ?1 ORDER BY sequence DESC, id DESC LIMIT 1";
        let mut zone = self.connection.prepare_cached(&format!("SELECT zone FROM batch {last}"))?;
        let zone = zone.query_row([stream.to_string()], |r| r.get(0))?;
        let sql =
            format!("SELECT sequence, sha256 FROM batch {}", last.replace("ORDER", "AND state = 'delivered' ORDER"));
        let head =
            first(&self.connection, &sql, [stream.to_string()], |r| Ok((r.get::<_, i64>(0)? as u64, r.get(1)?)))?;
        Ok((zone, head))
    }

    /// The connectors of a stream of which envelopes came, by id.
    pub fn came_connectors(&self, stream: StreamId) -> Result<Vec<CameConnector>> {
        let sql = "SELECT connector, name, type, envelopes, sequence FROM came_connector WHERE stream = ?1 ORDER BY connector";
        all(&self.connection, sql, [stream.to_string()], |r| {
            let (envelopes, last) = (r.get::<_, i64>(3)? as u64, r.get::<_, i64>(4)? as u64);
            Ok(CameConnector { id: r.get(0)?, name: r.get(1)?, kind: r.get(2)?, envelopes, last })
        })
    }

    /// The streams of which anything came.
    pub fn incoming_streams(&self) -> Result<Vec<StreamId>> {
        all(&self.connection, "SELECT DISTINCT stream FROM batch ORDER BY stream", [], |r| r.get(0))
    }

    /// The applicants of all that came, with their envelopes.
    pub fn came_applicants(&self) -> Result<BTreeMap<Option<String>, u64>> {
        all(&self.connection, "SELECT applicant, named, envelopes FROM came_applicant", [], |r| {
            let (id, is_named) = (r.get::<_, String>(0)?, r.get::<_, bool>(1)?);
            Ok((is_named.then_some(id), r.get::<_, i64>(2)? as u64))
        })
    }
}

impl ImporterLedger {
    /// The operator no longer waits for these numbers.
    pub fn settle_gap(&mut self, stream: StreamId, numbers: &Numbers, reason: &str, at: &str) -> Result<()> {
        let change = self.change()?;
        for range in numbers.ranges() {
            let values = params![stream.to_string(), *range.start() as i64, *range.end() as i64, reason, at];
            change.execute("INSERT INTO settled VALUES (?1, ?2, ?3, ?4, ?5)", values)?;
        }
        for some in numbers.ranges().chunks(RANGES_IN_A_LINE) {
            let sequences = some.iter().cloned().collect();
            change.note(&Deed::GapAccepted { stream, sequences, reason: reason.to_owned() })?;
        }
        change.commit()
    }

    /// The operator takes a batch that forks its stream.
    #[expect(clippy::too_many_arguments, reason = "the columns of one row")]
    pub fn accept_fork(&self, stream: StreamId, sequence: u64, sha256: Digest, reason: &str, at: &str) -> Result<()> {
        let values = params![sha256.as_bytes(), stream.to_string(), sequence as i64, reason, at];
        let change = self.change()?;
        change.execute("INSERT OR REPLACE INTO accepted VALUES (?1, ?2, ?3, ?4, ?5)", values)?;
        change.note(&Deed::ForkAccepted { stream, sequence, sha256, reason: reason.to_owned() })?;
        change.commit()
    }
}
