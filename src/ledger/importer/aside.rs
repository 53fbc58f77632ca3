//! What was set aside: held, quarantined, or released and not delivered yet.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use rusqlite::{Row, params};

use super::{ImporterLedger, ImporterView};
use crate::code::Code;
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::asking::{all, any, first};
use crate::mtime::Mtime;
use crate::set_aside::{Kind, Reason};
use crate::stream::StreamId;

/// How an envelope is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsideKind {
    /// It goes when the reason is gone.
    Held,
    /// It goes when a person releases it.
    Quarantined,
    /// A person released it, and it is not delivered yet.
    Released,
}

impl AsideKind {
    /// The word in the ledger and in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => Kind::Held.word(),
            Self::Quarantined => Kind::Quarantined.word(),
            Self::Released => "released",
        }
    }

    /// Where its copy lies.
    pub fn place(self) -> Kind {
        match self {
            Self::Held => Kind::Held,
            Self::Quarantined | Self::Released => Kind::Quarantined,
        }
    }

    /// The kind of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Held, Self::Quarantined, Self::Released].into_iter().find(|k| k.word() == word)
    }
}

impl From<Kind> for AsideKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Held => Self::Held,
            Kind::Quarantined => Self::Quarantined,
        }
    }
}

/// An envelope that was set aside.
#[derive(Debug, Clone)]
pub struct AsideRow {
    /// Its digest.
    pub sha256: Digest,
    /// How.
    pub kind: AsideKind,
    /// One word for programs.
    pub code: Code,
    /// What is the matter.
    pub what: String,
    /// Where in the envelope.
    pub place: String,
    /// Its batch.
    pub batch: i64,
    /// Stream of the batch.
    pub stream: StreamId,
    /// Number of the batch.
    pub sequence: u64,
    /// Position in the index.
    pub ordinal: usize,
    /// Its name in the source directory.
    pub name: String,
    /// Connector id.
    pub connector: String,
    /// Connector name.
    pub connector_name: String,
    /// Applicant in the internet zone.
    pub applicant: Option<String>,
    /// When the connector wrote it; an older airpouch did not keep that.
    pub mtime: Option<Mtime>,
    /// Whether it was copied to held/ or quarantine/; else it lies in its batch in the inbox alone.
    pub copied: bool,
    /// When it was set aside first, in seconds since 1970; an older airpouch did not keep that.
    pub at: Option<i64>,
}

/// An envelope that is newly set aside.
#[derive(Debug)]
pub struct Aside {
    /// How.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
    /// The ledger's number of its batch.
    pub batch: i64,
    /// The applicant that it names.
    pub applicant: Option<String>,
    /// When the connector wrote it.
    pub mtime: Option<Mtime>,
    /// Whether it was copied to held/ or quarantine/; else it lies in its batch in the inbox alone.
    pub copied: bool,
    /// Its size.
    pub bytes: u64,
}

/// How much is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsideCount {
    /// How.
    pub kind: AsideKind,
    /// Whether it waits for an applicant that is not mapped.
    pub for_applicant: bool,
    /// How many.
    pub number: u64,
}

/// Rows that are in memory at a time: each has texts of a feed, of some kilobytes at most.
const ROWS_AT_A_TIME: usize = 500;

const ASIDE: &str =
    "SELECT a.sha256, a.kind, a.code, a.what, a.place, a.batch, b.stream, b.sequence, a.ordinal, a.name, a.connector,
    a.connector_name, a.applicant, a.mtime, a.copied, a.at FROM set_aside a JOIN batch b ON b.id = a.batch";

impl ImporterView {
    /// Gives each envelope that was set aside, in order of batch and ordinal.
    ///
    /// # Errors
    /// SQLite refused, or what `each` says.
    pub fn each_aside(&self, mut each: impl FnMut(AsideRow) -> Result<()>) -> Result<()> {
        for batch in self.batches_with_aside("1")? {
            let sql = format!("{ASIDE} WHERE a.batch = ?1 ORDER BY a.ordinal");
            let mut query = self.connection.prepare_cached(&sql)?;
            let mut rows = query.query([batch])?;
            while let Some(row) = rows.next()? {
                each(aside(row)?)?;
            }
        }
        Ok(())
    }

    /// The batches of which something waits, by stream and number: held, or released by a person.
    pub fn batches_with_waiting(&self) -> Result<Vec<i64>> {
        self.batches_with_aside("kind <> 'quarantined'")
    }

    fn batches_with_aside(&self, which: &str) -> Result<Vec<i64>> {
        let sql = format!(
            "SELECT b.id FROM (SELECT DISTINCT batch FROM set_aside WHERE {which}) a JOIN batch b ON b.id = a.batch
             ORDER BY b.stream, b.sequence, b.id"
        );
        all(&self.connection, &sql, [], |r| r.get(0))
    }

    /// Some of what was copied and waits of a batch, at these places in it; none is the end.
    pub fn waiting_copies(&self, batch: i64, places: &RangeInclusive<usize>) -> Result<Vec<AsideRow>> {
        let sql = format!(
            "{ASIDE} WHERE a.batch = ?1 AND a.ordinal BETWEEN ?2 AND ?3 AND a.kind <> 'quarantined' AND a.copied = 1
             ORDER BY a.ordinal LIMIT {ROWS_AT_A_TIME}"
        );
        all(&self.connection, &sql, params![batch, *places.start() as i64, *places.end() as i64], aside)
    }

    /// The places in a batch of what waits and lies in the inbox alone.
    pub fn waiting_in_inbox(&self, batch: i64) -> Result<Vec<usize>> {
        let sql =
            "SELECT ordinal FROM set_aside WHERE batch = ?1 AND copied = 0 AND kind <> 'quarantined' ORDER BY ordinal";
        all(&self.connection, sql, [batch], |r| r.get::<_, i64>(0).map(|n| n as usize))
    }

    /// What was set aside at a place of a batch.
    pub fn aside_at(&self, batch: i64, ordinal: usize) -> Result<Option<AsideRow>> {
        let sql = format!("{ASIDE} WHERE a.batch = ?1 AND a.ordinal = ?2");
        first(&self.connection, &sql, params![batch, ordinal as i64], aside)
    }

    /// An envelope that is set aside.
    pub fn aside_of(&self, sha256: Digest) -> Result<Option<AsideRow>> {
        first(&self.connection, &format!("{ASIDE} WHERE a.sha256 = ?1"), [sha256.as_bytes()], aside)
    }

    /// Bytes that lie in held/ and quarantine/, by stream: also those of rejected envelopes whose copy was kept.
    pub fn aside_bytes(&self) -> Result<HashMap<StreamId, u64>> {
        let sql = "SELECT b.stream, sum(a.bytes) FROM (SELECT batch, bytes FROM set_aside WHERE copied = 1
                   UNION ALL SELECT batch, bytes FROM decided WHERE outcome = 'rejected' AND copied = 1) a
                   JOIN batch b ON b.id = a.batch GROUP BY b.stream";
        all(&self.connection, sql, [], |r| Ok((r.get(0)?, r.get::<_, i64>(1)? as u64)))
    }

    /// What was set aside under digests that begin so; a hundred of them at most.
    pub fn aside_by_beginning(&self, digits: &str) -> Result<Vec<AsideRow>> {
        let Some((from, to)) = Digest::range_of(digits) else { return Ok(Vec::new()) };
        let sql = format!("{ASIDE} WHERE a.sha256 BETWEEN ?1 AND ?2 LIMIT 100");
        all(&self.connection, &sql, [from.as_bytes(), to.as_bytes()], aside)
    }

    /// Whether anything is held, or released and not delivered.
    pub fn has_waiting(&self) -> Result<bool> {
        any(&self.connection, "SELECT 1 FROM set_aside WHERE kind IN ('held', 'released')", [])
    }

    /// How much is set aside, by kind and whether it waits for an applicant.
    pub fn aside_counts(&self) -> Result<Vec<AsideCount>> {
        let sql = "SELECT kind, code = 'applicant', count(*) FROM set_aside GROUP BY 1, 2";
        all(&self.connection, sql, [], |r| {
            let number = r.get::<_, i64>(2)? as u64;
            Ok(AsideCount { kind: r.get(0)?, for_applicant: r.get(1)?, number })
        })
    }

    /// How much is set aside of each connector: stream, connector, whether it is held, number.
    pub fn aside_by_connector(&self) -> Result<Vec<(StreamId, String, bool, u64)>> {
        let sql = "SELECT b.stream, a.connector, a.kind = 'held', count(*) FROM set_aside a JOIN batch b ON b.id = a.batch GROUP BY 1, 2, 3";
        all(&self.connection, sql, [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get::<_, i64>(3)? as u64)))
    }

    /// The applicants that are not mapped, with the envelopes that wait for each.
    pub fn unmapped_applicants(&self) -> Result<Vec<(Option<String>, u64)>> {
        let sql =
            "SELECT applicant, count(*) FROM set_aside WHERE code = 'applicant' GROUP BY applicant ORDER BY applicant";
        all(&self.connection, sql, [], |r| Ok((r.get(0)?, r.get::<_, i64>(1)? as u64)))
    }

    /// How an envelope was set aside, if it was.
    pub fn aside_kind(&self, sha256: Digest) -> Result<Option<AsideKind>> {
        first(&self.connection, "SELECT kind FROM set_aside WHERE sha256 = ?1", [sha256.as_bytes()], |r| r.get(0))
    }
}

impl ImporterLedger {
    /// Forgets that an envelope was set aside: it turned out to be delivered already, or to hold nothing.
    pub fn forget_aside(&self, sha256: Digest) -> Result<()> {
        self.connection.execute("DELETE FROM set_aside WHERE sha256 = ?1", [sha256.as_bytes()])?;
        Ok(())
    }
}

/// A row of these columns in this order; whoever asks for more has them behind these.
pub(super) fn aside(r: &Row<'_>) -> rusqlite::Result<AsideRow> {
    Ok(AsideRow {
        sha256: r.get(0)?,
        kind: r.get(1)?,
        code: r.get(2)?,
        what: r.get(3)?,
        place: r.get(4)?,
        batch: r.get(5)?,
        stream: r.get(6)?,
        sequence: r.get::<_, i64>(7)? as u64,
        ordinal: r.get::<_, i64>(8)? as usize,
        name: r.get(9)?,
        connector: r.get(10)?,
        connector_name: r.get(11)?,
        applicant: r.get(12)?,
        mtime: r.get::<_, Option<String>>(13)?.and_then(|text| Mtime::parse(&text)),
        copied: r.get(14)?,
        at: r.get(15)?,
    })
}
