//! Works that were closed with what was delivered under them, until their end is known; and how many ended how.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;

use super::batches::{BatchId, named};
use super::{ImporterLedger, ImporterView};
use crate::deed::{Deed, IngestFault, IngestedOf, in_lines};
use crate::error::Result;
use crate::ledger::asking::{all, first};
use crate::ledger::noted::Change;
use crate::limits::SENT_WORKS_MAX;
use crate::report::NamedConnector;
use crate::text::harmless;
use crate::works::{AboutWork, FIRST_ERRORS, FollowState, FollowedWork, GoneWork, SentWork};

/// A work whose end is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentRow {
    /// The work.
    pub work: SentWork,
    /// What it was for.
    pub about: AboutWork,
    /// When it was closed, in seconds since 1970.
    pub closed_at: i64,
}

/// A work with objects that were not ingested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRow {
    /// What it was for.
    pub about: AboutWork,
    /// How many objects.
    pub errors: u64,
    /// The first of them, in words.
    pub what: String,
}

/// What is known of what was sent to a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ingestion {
    /// Works whose end is not known yet.
    pub waiting: u64,
    /// Works that ended.
    pub works: u64,
    /// Messages that were ingested.
    pub messages: u64,
    /// Objects that the platform's rules refuse.
    pub refused: u64,
    /// Objects that were not ingested.
    pub failed: u64,
    /// Works of which nothing is known, because they were gone.
    pub unknown: u64,
    /// When the last end was noted, in seconds since 1970.
    pub at: Option<i64>,
}

/// The columns of [`AboutWork`], and where they come from. No manifest is read for them.
const ABOUT: &str = "w.id, b.stream, b.sequence, w.connector, coalesce(c.name, '')";
const NAMED_WORKS: &str = "sent_work w JOIN batch b ON b.id = w.batch
    LEFT JOIN came_connector c ON c.stream = b.stream AND c.connector = w.connector";

fn about(r: &rusqlite::Row<'_>) -> rusqlite::Result<AboutWork> {
    let (work, stream, connector, name) = (r.get(0)?, r.get(1)?, r.get(3)?, r.get(4)?);
    Ok(AboutWork { work, stream, sequence: r.get::<_, i64>(2)? as u64, connector, name })
}

impl ImporterView {
    /// Works of a destination whose end is not known, the oldest first.
    pub fn sent_works(&self, destination: i64, most: usize) -> Result<Vec<SentRow>> {
        let sql = format!(
            "SELECT {ABOUT}, w.batch, w.envelopes, w.at_most, w.closed_at FROM {NAMED_WORKS}
             WHERE w.destination = ?1 AND w.failed = 0 ORDER BY w.number LIMIT ?2"
        );
        all(&self.connection, &sql, params![destination, most as i64], |r| {
            let about = about(r)?;
            let (id, connector) = (about.work.clone(), about.connector.clone());
            let (batch, envelopes, at_most) = (r.get(5)?, r.get::<_, i64>(6)? as usize, r.get(7)?);
            Ok(SentRow { work: SentWork { id, batch, connector, envelopes, at_most }, about, closed_at: r.get(8)? })
        })
    }

    /// Works of a destination with objects that were not ingested, until that is settled.
    pub fn failed_works(&self, destination: i64) -> Result<Vec<FailedRow>> {
        let sql = format!(
            "SELECT {ABOUT}, w.errors, coalesce(w.what, '') FROM {NAMED_WORKS}
             WHERE w.destination = ?1 AND w.errors > 0 ORDER BY w.number"
        );
        all(&self.connection, &sql, [destination], |r| {
            Ok(FailedRow { about: about(r)?, errors: r.get::<_, i64>(5)? as u64, what: r.get(6)? })
        })
    }

    /// The batches of which works have ended with objects that were not ingested, until that is settled.
    pub fn batches_with_failures(&self, destination: i64) -> Result<BTreeSet<i64>> {
        let sql = "SELECT batch FROM sent_work WHERE destination = ?1 AND errors > 0 AND failed = 1";
        all(&self.connection, sql, [destination], |r| r.get(0))
    }

    /// What is known of what was sent to a destination.
    pub fn ingestion(&self, destination: i64) -> Result<Ingestion> {
        let sql = "SELECT sum(works), sum(messages), sum(refused), sum(failed), sum(unknown), max(at) FROM work_end WHERE destination = ?1";
        let number =
            |r: &rusqlite::Row<'_>, at| Ok::<_, rusqlite::Error>(r.get::<_, Option<i64>>(at)?.unwrap_or(0) as u64);
        let ended = first(&self.connection, sql, [destination], |r| {
            let (works, messages, refused) = (number(r, 0)?, number(r, 1)?, number(r, 2)?);
            let (failed, unknown) = (number(r, 3)?, number(r, 4)?);
            Ok(Ingestion { waiting: 0, works, messages, refused, failed, unknown, at: r.get(5)? })
        })?;
        let sql = "SELECT count(*) FROM sent_work WHERE destination = ?1 AND failed = 0";
        let waiting = first(&self.connection, sql, [destination], |r| number(r, 0))?.unwrap_or_default();
        Ok(Ingestion { waiting, ..ended.unwrap_or_default() })
    }
}

impl ImporterLedger {
    /// Notes works that were closed. Beyond [`SENT_WORKS_MAX`] the oldest are forgotten.
    pub fn note_sent(&self, destination: i64, works: &[SentWork], now: i64) -> Result<()> {
        if works.is_empty() {
            return Ok(());
        }
        let change = self.change()?;
        for SentWork { id, batch, connector, envelopes, at_most } in works {
            let sql =
                "INSERT OR IGNORE INTO sent_work (id, destination, batch, connector, envelopes, at_most, closed_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let values = params![id, destination, batch, connector, *envelopes as i64, at_most, now];
            change.prepare_cached(sql)?.execute(values)?;
        }
        let sql = "DELETE FROM sent_work WHERE number <= (SELECT max(number) FROM sent_work) - ?1";
        change.execute(sql, [SENT_WORKS_MAX as i64])?;
        change.commit()
    }

    /// Notes what the platform says of works, those of each batch together. What was settled meanwhile is passed over.
    pub fn note_followed(&self, destination: i64, shown: &str, works: &[FollowedWork], now: i64) -> Result<()> {
        let mut of_batches: BTreeMap<i64, Vec<&FollowedWork>> = BTreeMap::new();
        works.iter().for_each(|work| of_batches.entry(work.work.batch).or_default().push(work));
        for (batch, works) in of_batches {
            let mut cleared = Vec::new();
            let change = self.change()?;
            let BatchId { stream, sequence, .. } = named(&change, batch)?;
            let mut ended: BTreeMap<&str, IngestedOf> = BTreeMap::new();
            for work in works {
                if !note(&change, work)? {
                    continue;
                }
                let AboutWork { connector, name, .. } = &work.about;
                let named = || NamedConnector { id: connector.clone(), name: name.clone() };
                add(ended.entry(connector).or_insert_with(|| IngestedOf::none(named())), work);
                if work.state == FollowState::Cleared {
                    let SentWork { id, envelopes, at_most, .. } = work.work.clone();
                    cleared.push(GoneWork { id, batch, envelopes, at_most });
                }
            }
            for of in ended.values() {
                count(&change, destination, of, now)?;
            }
            let connectors: Vec<IngestedOf> = ended.into_values().collect();
            for connectors in in_lines(connectors, IngestedOf::bytes) {
                let destination = shown.to_owned();
                change.note(&Deed::Followed { stream, sequence: sequence.get(), destination, connectors })?;
            }
            self.add_gone(destination, cleared)?;
            change.commit()?;
        }
        Ok(())
    }
}

/// Notes what is said of one work. Says whether its end was not known before.
fn note(change: &Change<'_>, followed: &FollowedWork) -> Result<bool> {
    let id = &followed.work.id;
    let has_ended = followed.state != FollowState::Waiting;
    let changed = if has_ended && followed.failed == 0 {
        change.execute("DELETE FROM sent_work WHERE id = ?1 AND failed = 0", [id])?
    } else {
        let sql = "UPDATE sent_work SET failed = ?2, errors = ?3, what = ?4 WHERE id = ?1 AND failed = 0";
        change.execute(sql, params![id, has_ended, followed.failed as i64, followed.what()])?
    };
    Ok(has_ended && changed > 0)
}

/// Adds to the sums of a connector.
fn count(change: &Change<'_>, destination: i64, of: &IngestedOf, now: i64) -> Result<()> {
    let sql =
        "INSERT INTO work_end VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET works = works + ?3,
               messages = messages + ?4, refused = refused + ?5, failed = failed + ?6, unknown = unknown + ?7, at = ?8";
    let number = |number: u64| number as i64;
    let values = params![
        destination,
        of.connector.id,
        number(of.works),
        number(of.messages),
        number(of.refused),
        number(of.failed),
        number(of.unknown),
        now
    ];
    change.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Adds a work that has ended to what is said of its connector.
fn add(of: &mut IngestedOf, followed: &FollowedWork) {
    of.works += 1;
    of.messages += followed.processed.saturating_sub(followed.failed + followed.refused);
    of.failed += followed.failed;
    of.refused += followed.refused;
    of.unknown += u64::from(followed.state != FollowState::Ended);
    for error in followed.first.iter().take(FIRST_ERRORS.saturating_sub(of.errors.len())) {
        let cut = |text: &String| harmless(text);
        of.errors.push(IngestFault {
            work: harmless(&followed.work.id),
            code: error.code.as_ref().map(cut),
            what: cut(&error.words),
            object: error.object.as_ref().map(cut),
        });
    }
}
