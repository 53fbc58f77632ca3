//! What persons decided about envelopes that were set aside, and what became of these: kept for good, also when the
//! envelopes are delivered and their batches are gone from the inbox.

use rusqlite::{Connection, params};

use super::aside::{AsideRow, aside};
use super::{AsideKind, ImporterLedger, ImporterView};
use crate::clock;
use crate::code::Code;
use crate::deed::{DecisionDeed, Deed, what_in_a_line};
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::asking::{all, any, first};
use crate::ledger::noted::Change;
use crate::report::{DecisionMade, NamedConnector, NamedEnvelope};

/// What a person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecisionKind {
    /// That it goes, in spite of the reason against it.
    Released,
    /// That a release is taken back.
    Unreleased,
    /// That it is never delivered.
    Rejected,
    /// That this is taken back.
    Unrejected,
}

/// What became of an envelope that is set aside no more since a person decided about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PastKind {
    /// It was released and delivered.
    Delivered,
    /// It was released, and there was nothing in it to deliver.
    Empty,
    /// It was rejected.
    Rejected,
}

macro_rules! kinds {
    ($type:ident: $($kind:ident $word:literal,)*) => {
        impl $type {
            /// The word in the ledger and in reports.
            pub fn word(self) -> &'static str {
                match self { $(Self::$kind => $word,)* }
            }

            /// The kind of this word.
            pub fn parse(word: &str) -> Option<Self> {
                [$(Self::$kind),*].into_iter().find(|kind| kind.word() == word)
            }
        }
    };
}

kinds! { DecisionKind: Released "released", Unreleased "unreleased", Rejected "rejected", Unrejected "unrejected", }
kinds! { PastKind: Delivered "delivered", Empty "empty", Rejected "rejected", }

/// An envelope that was set aside, and is so no more.
#[derive(Debug, Clone)]
pub struct PastRow {
    /// As it was set aside; `copied` is whether the copy of a rejected one was kept.
    pub row: AsideRow,
    /// What became of it.
    pub outcome: PastKind,
    /// When.
    pub settled_at: String,
}

/// How many envelopes stand alike: of one kind, code, and name of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingCount {
    /// `held`, `quarantined` or `released`; or what became of it.
    pub kind: String,
    /// Why they were set aside.
    pub code: Code,
    /// Their connector.
    pub connector: NamedConnector,
    /// How many.
    pub number: u64,
    /// When the first of them was set aside, in seconds since 1970; none if that is known of none.
    pub oldest: Option<i64>,
    /// When the last one was.
    pub newest: Option<i64>,
    /// Whether it is not known of all.
    pub has_older: bool,
}

/// What an index alone knows of an envelope that is set aside.
#[derive(Debug, Clone)]
pub struct AsideKey {
    /// Its digest.
    pub sha256: Digest,
    /// How it is set aside.
    pub kind: AsideKind,
    /// Why.
    pub code: Code,
    /// Its connector.
    pub connector: NamedConnector,
    /// When it was set aside first, in seconds since 1970.
    pub at: Option<i64>,
}

/// The columns of an envelope, in `set_aside` and in `decided`.
const COLUMNS: &str =
    "kind, code, what, place, batch, ordinal, name, connector, connector_name, applicant, mtime, copied, bytes, at";

const PAST: &str =
    "SELECT a.sha256, a.kind, a.code, a.what, a.place, a.batch, b.stream, b.sequence, a.ordinal, a.name, a.connector,
    a.connector_name, a.applicant, a.mtime, a.copied, a.at, a.outcome, a.settled_at FROM decided a JOIN batch b ON b.id = a.batch";

impl ImporterView {
    /// Gives the key of each envelope that is set aside; their rows with all that is said of them are not touched.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn each_aside_key(&self, mut each: impl FnMut(AsideKey)) -> Result<()> {
        let sql = "SELECT sha256, kind, code, connector, connector_name, at FROM set_aside INDEXED BY aside_standing";
        let mut query = self.connection.prepare_cached(sql)?;
        let mut rows = query.query([])?;
        while let Some(r) = rows.next()? {
            let connector = NamedConnector { id: r.get(3)?, name: r.get(4)? };
            each(AsideKey { sha256: r.get(0)?, kind: r.get(1)?, code: r.get(2)?, connector, at: r.get(5)? });
        }
        Ok(())
    }

    /// Gives each envelope of which that became, in the order in which it did.
    ///
    /// # Errors
    /// SQLite refused, or what `each` says.
    pub fn each_past(&self, outcome: PastKind, mut each: impl FnMut(PastRow) -> Result<()>) -> Result<()> {
        let mut query = self.connection.prepare_cached(&format!("{PAST} WHERE a.outcome = ?1 ORDER BY a.id"))?;
        let mut rows = query.query([outcome])?;
        while let Some(row) = rows.next()? {
            each(past(row)?)?;
        }
        Ok(())
    }

    /// What was set aside under digests that begin so, and is so no more; a hundred of them at most, the last first.
    pub fn past_by_beginning(&self, digits: &str) -> Result<Vec<PastRow>> {
        let Some((from, to)) = Digest::range_of(digits) else { return Ok(Vec::new()) };
        let sql = format!("{PAST} WHERE a.sha256 BETWEEN ?1 AND ?2 ORDER BY a.id DESC LIMIT 100");
        all(&self.connection, &sql, [from.as_bytes(), to.as_bytes()], past)
    }

    /// What was decided about an envelope, the first first.
    pub fn decisions_about(&self, sha256: Digest) -> Result<Vec<DecisionMade>> {
        let sql = "SELECT decision, reason, at, user, operator, second, witness, ticket, note FROM decision WHERE sha256 = ?1 ORDER BY id";
        all(&self.connection, sql, [sha256.as_bytes()], |r| {
            Ok(DecisionMade {
                decision: r.get::<_, DecisionKind>(0)?.word(),
                reason: r.get(1)?,
                at: r.get(2)?,
                user: r.get(3)?,
                operator: r.get(4)?,
                second: r.get(5)?,
                witness: r.get(6)?,
                ticket: r.get(7)?,
                note: r.get(8)?,
            })
        })
    }

    /// How many envelopes stand alike, of those that were set aside before this second, or of which that is not known.
    pub fn standing_counts(&self, before: Option<i64>) -> Result<Vec<StandingCount>> {
        let sql = "SELECT kind, code, connector, connector_name, count(*), min(at), max(at), count(at) FROM
                   (SELECT kind, code, connector, connector_name, at FROM set_aside
                    UNION ALL SELECT outcome, code, connector, connector_name, at FROM decided)
                   WHERE ?1 IS NULL OR at IS NULL OR at <= ?1 GROUP BY 1, 2, 3, 4";
        all(&self.connection, sql, [before], |r| {
            let number: i64 = r.get(4)?;
            Ok(StandingCount {
                kind: r.get(0)?,
                code: r.get(1)?,
                connector: NamedConnector { id: r.get(2)?, name: r.get(3)? },
                number: number as u64,
                oldest: r.get(5)?,
                newest: r.get(6)?,
                has_older: r.get::<_, i64>(7)? < number,
            })
        })
    }

    /// Whether a copy was kept of an envelope that a person rejected; none if nobody did.
    pub fn rejected_copy(&self, sha256: Digest) -> Result<Option<bool>> {
        let sql = "SELECT copied FROM decided WHERE sha256 = ?1 AND outcome = 'rejected'";
        first(&self.connection, sql, [sha256.as_bytes()], |r| r.get(0))
    }

    /// Whether anything was rejected.
    pub fn has_rejected(&self) -> Result<bool> {
        any(&self.connection, "SELECT 1 FROM decided WHERE outcome = 'rejected'", [])
    }

    /// Whether a run that was cut off may have delivered an envelope, so that only the next import can tell.
    pub fn may_be_delivered(&self, sha256: Digest) -> Result<bool> {
        let sql = "SELECT 1 WHERE EXISTS (SELECT 1 FROM placing WHERE sha256 = ?1)
                   OR EXISTS (SELECT 1 FROM meta WHERE key LIKE 'on\\_their\\_way\\_%' ESCAPE '\\' AND CAST(value AS INTEGER) > 0)";
        any(&self.connection, sql, [sha256.as_bytes()])
    }
}

impl ImporterLedger {
    /// A person releases what was quarantined: all of it or nothing.
    pub fn release(&self, rows: &[AsideRow], reason: &str, second: Option<&str>) -> Result<()> {
        let change = self.change()?;
        rows.iter().try_for_each(|row| release(&change, row, reason, second, &[]))?;
        change.commit()
    }

    /// A person takes back releases of what is not delivered yet: all of them or none.
    pub fn unrelease(&self, rows: &[AsideRow], reason: &str) -> Result<()> {
        let change = self.change()?;
        for row in rows {
            forget_signatures(&change, row.sha256)?;
            let sql = "UPDATE set_aside SET kind = 'quarantined', reason = NULL WHERE sha256 = ?1";
            change.execute(sql, [row.sha256.as_bytes()])?;
            note_decision(&change, row, DecisionKind::Unreleased, reason, None)?;
            change.note(&Deed::Unreleased(decision_deed(row, reason)))?;
        }
        change.commit()
    }

    /// A person rejects what is held or quarantined: all of it or nothing. With `gone` their copies are to go, which is for
    /// the caller to do behind this; of those that were rejected before, that is all that changes.
    pub fn reject(&self, rows: &[AsideRow], reason: &str, gone: bool) -> Result<()> {
        let change = self.change()?;
        for row in rows {
            let sha256 = row.sha256.as_bytes();
            let sql = format!(
                "INSERT INTO decided (sha256, outcome, settled_at, {COLUMNS}) SELECT sha256, 'rejected', ?2, {COLUMNS} FROM set_aside WHERE sha256 = ?1"
            );
            change.execute(&sql, params![sha256, clock::utc_now()])?;
            change.execute("DELETE FROM set_aside WHERE sha256 = ?1", [sha256])?;
            forget_signatures(&change, row.sha256)?;
            if gone {
                change.execute("UPDATE decided SET copied = 0 WHERE sha256 = ?1 AND outcome = 'rejected'", [sha256])?;
            }
            note_decision(&change, row, DecisionKind::Rejected, reason, None)?;
            let copy = match (row.copied, gone) {
                (false, _) => "none",
                (true, false) => "kept",
                (true, true) => "removed",
            };
            change.note(&Deed::Rejected { decision: decision_deed(row, reason), copy })?;
        }
        change.commit()
    }

    /// A person takes back rejections: all of them or none. What `is_there` is set aside as it was before; the other has no
    /// bytes left here, and is judged anew when a batch brings it.
    pub fn unreject(&self, rows: &[(AsideRow, bool)], reason: &str) -> Result<()> {
        let change = self.change()?;
        for (row, is_there) in rows {
            let sha256 = row.sha256.as_bytes();
            if *is_there {
                let sql = format!(
                    "INSERT INTO set_aside (sha256, {COLUMNS}) SELECT sha256, {COLUMNS} FROM decided WHERE sha256 = ?1 AND outcome = 'rejected'"
                );
                change.execute(&sql, [sha256])?;
            }
            change.execute("DELETE FROM decided WHERE sha256 = ?1 AND outcome = 'rejected'", [sha256])?;
            note_decision(&change, row, DecisionKind::Unrejected, reason, None)?;
            change.note(&Deed::Unrejected(decision_deed(row, reason)))?;
        }
        change.commit()
    }
}

/// A person releases one envelope, or enough officers have signed that.
pub(super) fn release(
    change: &Change<'_>,
    row: &AsideRow,
    reason: &str,
    second: Option<&str>,
    signers: &[String],
) -> Result<()> {
    let sql = "UPDATE set_aside SET kind = 'released', reason = ?2 WHERE sha256 = ?1";
    change.execute(sql, params![row.sha256.as_bytes(), reason])?;
    note_decision(change, row, DecisionKind::Released, reason, second)?;
    let (second, signers) = (second.map(str::to_owned), signers.to_vec());
    change.note(&Deed::Released { decision: decision_deed(row, reason), second, signers })
}

/// What was signed of an envelope counts no more.
fn forget_signatures(change: &Change<'_>, sha256: Digest) -> Result<()> {
    change.execute("DELETE FROM release_statement WHERE sha256 = ?1", [sha256.as_bytes()])?;
    change.execute("DELETE FROM release_signature WHERE sha256 = ?1", [sha256.as_bytes()])?;
    Ok(())
}

/// Whether anything is released and not delivered.
pub(super) fn has_released(connection: &Connection) -> Result<bool> {
    any(connection, "SELECT 1 FROM set_aside WHERE kind = 'released'", [])
}

/// What a person released is kept as such, for it is about to be set aside no more.
pub(super) fn keep_released(connection: &Connection, sha256: Digest, outcome: PastKind, at: &str) -> Result<()> {
    let sql = format!(
        "INSERT INTO decided (sha256, outcome, settled_at, {COLUMNS}) SELECT sha256, ?2, ?3, {COLUMNS} FROM set_aside WHERE sha256 = ?1 AND kind = 'released'"
    );
    connection.prepare_cached(&sql)?.execute(params![sha256.as_bytes(), outcome, at])?;
    Ok(())
}

fn note_decision(
    change: &Change<'_>,
    row: &AsideRow,
    decision: DecisionKind,
    reason: &str,
    second: Option<&str>,
) -> Result<()> {
    let actor = change.actor();
    let sql = "INSERT INTO decision (sha256, decision, reason, at, user, operator, second, witness, ticket, note)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    change.execute(
        sql,
        params![
            row.sha256.as_bytes(),
            decision,
            reason,
            clock::utc_now(),
            actor.user,
            actor.operator,
            second,
            actor.witness,
            actor.ticket,
            actor.note
        ],
    )?;
    Ok(())
}

pub(super) fn decision_deed(row: &AsideRow, reason: &str) -> DecisionDeed {
    DecisionDeed {
        sha256: row.sha256,
        stream: row.stream,
        sequence: row.sequence,
        envelope: NamedEnvelope { ordinal: row.ordinal, name: row.name.clone() },
        connector: NamedConnector { id: row.connector.clone(), name: row.connector_name.clone() },
        code: row.code,
        what: what_in_a_line(&row.what),
        reason: reason.to_owned(),
    }
}

fn past(r: &rusqlite::Row<'_>) -> rusqlite::Result<PastRow> {
    Ok(PastRow { row: aside(r)?, outcome: r.get(16)?, settled_at: r.get(17)? })
}
