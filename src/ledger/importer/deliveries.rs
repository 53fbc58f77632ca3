//! What was delivered, what is on its way, and what a crash left between the two.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, params};

use super::batches::{BatchId, named};
use super::decided::{PastKind, has_released, keep_released};
use super::meta::put_meta;
use super::{Aside, AsideKind, ImporterLedger, ImporterView};
use crate::clock;
use crate::code::Code;
use crate::deed::{Deed, EnvelopeAside, EnvelopeDelivered, SetAsideDeed, in_lines, what_in_a_line};
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::asking::{all, any};
use crate::report::{NamedConnector, NamedEnvelope};
use crate::set_aside::{Kind, Reason};
use crate::sink::{Delivery, Placing};

/// One group's worth of decisions, committed together.
#[derive(Debug, Default)]
pub struct Group {
    /// Envelopes newly set aside.
    pub aside: Vec<Aside>,
    /// Envelopes with nothing to deliver: digest, batch, ordinal.
    pub empty: Vec<(Digest, i64, usize)>,
    /// Envelopes about to appear in the sink.
    pub placing: Vec<Placing>,
    /// How many envelopes are about to be sent, or were sent and are not confirmed, where the sink cannot tell them apart
    /// after a crash.
    pub on_their_way: Option<u64>,
}

impl Group {
    /// Whether there is nothing to note.
    pub fn is_empty(&self) -> bool {
        self.aside.is_empty() && self.empty.is_empty() && self.placing.is_empty() && self.on_their_way.is_none()
    }
}

/// What is known of a batch's envelopes before its delivery begins.
#[derive(Debug, Default)]
pub struct KnownBefore {
    /// The destination has these.
    pub delivered: HashSet<Digest>,
    /// These were set aside, and how.
    pub aside: HashMap<Digest, AsideKind>,
    /// A person rejected these.
    pub rejected: HashSet<Digest>,
    /// Of these runs died: they are read in a process of their own or not at all.
    pub deadly: HashSet<Digest>,
}

impl ImporterView {
    /// What is known of these envelopes. All are looked up in one transaction: one by one each look would lock the ledger.
    pub fn known_of(&self, destination: i64, envelopes: impl Iterator<Item = Digest>) -> Result<KnownBefore> {
        let _reading = self.connection.unchecked_transaction()?;
        let mut known = KnownBefore::default();
        let has_rejected = self.has_rejected()?;
        for sha256 in envelopes {
            if let Some(kind) = self.aside_kind(sha256)? {
                known.aside.insert(sha256, kind);
                if self.stopped_runs(sha256)? {
                    known.deadly.insert(sha256);
                }
            }
            if has_rejected && self.rejected_copy(sha256)?.is_some() {
                known.rejected.insert(sha256);
                if self.stopped_runs(sha256)? {
                    known.deadly.insert(sha256);
                }
            }
            if self.is_delivered(destination, sha256)? {
                known.delivered.insert(sha256);
            }
        }
        Ok(known)
    }

    /// Whether runs died of an envelope that is set aside or was rejected.
    fn stopped_runs(&self, sha256: Digest) -> Result<bool> {
        let sql = "SELECT 1 FROM (SELECT code FROM set_aside WHERE sha256 = ?1 UNION ALL SELECT code FROM decided WHERE sha256 = ?1)
                   WHERE code IN (?2, ?3)";
        let values = params![sha256.as_bytes(), Code::StoppedARun.word(), Code::StopsRuns.word()];
        any(&self.connection, sql, values)
    }

    /// Whether an envelope was delivered to a destination.
    pub fn is_delivered(&self, destination: i64, sha256: Digest) -> Result<bool> {
        let sql = "SELECT 1 FROM delivered WHERE destination = ?1 AND sha256 = ?2";
        any(&self.connection, sql, params![destination, sha256.as_bytes()])
    }

    /// How many envelopes a crash left between noting and settling, and those of which no run has come to its end since
    /// that could say so.
    pub fn unsettled(&self, destination: i64) -> Result<u64> {
        let sql = "SELECT (SELECT count(*) FROM placing WHERE destination = ?1) + coalesce((SELECT sum(CAST(value AS INTEGER))
                   FROM meta WHERE key IN ('on_their_way_' || ?1, 'unsaid_' || ?1)), 0)";
        let counted: i64 = self.connection.query_row(sql, [destination], |r| r.get(0))?;
        Ok(counted as u64)
    }

    /// What a crash left between noting and settling.
    pub fn placings(&self, destination: i64) -> Result<Vec<Placing>> {
        let sql =
            "SELECT sha256, batch, ordinal, name, mark, applicant FROM placing WHERE destination = ?1 ORDER BY mark";
        all(&self.connection, sql, [destination], |r| {
            let ordinal = r.get::<_, i64>(2)? as usize;
            Ok(Placing {
                sha256: r.get(0)?,
                batch: r.get(1)?,
                ordinal,
                name: r.get(3)?,
                order: r.get(4)?,
                applicant: r.get(5)?,
            })
        })
    }
}

impl ImporterLedger {
    /// Notes a group before any of it is seen: what is set aside, what is empty, what is being placed.
    pub fn note_group(&mut self, destination: i64, group: &Group) -> Result<()> {
        let change = self.change()?;
        let (now, keeps_decisions) = (clock::now().0, has_released(&change)?);
        for Aside { kind, reason, batch, applicant, mtime, copied, bytes } in &group.aside {
            change
                    .prepare_cached(
                        "INSERT OR REPLACE INTO set_aside (sha256, kind, code, what, place, batch, ordinal, name, connector, connector_name,
                         applicant, mtime, copied, bytes, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
                         coalesce((SELECT at FROM set_aside WHERE sha256 = ?1), ?15))",
                    )?
                    .execute(params![
                        reason.sha256.as_bytes(),
                        AsideKind::from(*kind),
                        reason.code,
                        reason.what,
                        reason.place,
                        batch,
                        reason.batch.ordinal as i64,
                        reason.name,
                        reason.connector.id,
                        reason.connector.name,
                        applicant,
                        mtime.map(|m| m.to_string()),
                        copied,
                        *bytes as i64,
                        now,
                    ])?;
        }
        for deed in set_aside_deeds(&group.aside) {
            change.note(&deed)?;
        }
        for (sha256, batch, ordinal) in &group.empty {
            change
                .prepare_cached("INSERT OR IGNORE INTO delivered VALUES (?1, ?2, ?3, ?4, NULL)")?
                .execute(params![destination, sha256.as_bytes(), batch, *ordinal as i64])?;
            if keeps_decisions {
                keep_released(&change, *sha256, PastKind::Empty, &clock::utc(now))?;
            }
            change.prepare_cached("DELETE FROM set_aside WHERE sha256 = ?1")?.execute([sha256.as_bytes()])?;
        }
        for p in &group.placing {
            change.prepare_cached("INSERT OR REPLACE INTO placing VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(
                params![destination, p.sha256.as_bytes(), p.batch, p.ordinal as i64, p.name, p.order, p.applicant,],
            )?;
        }
        note_on_their_way(&change, destination, group.on_their_way)?;
        change.commit()
    }

    /// Records what the sink vouches for, and the high-water number from which it continues. What was set aside of it is so no more.
    pub fn settle(&mut self, destination: i64, delivery: &Delivery) -> Result<()> {
        let mut sorted: Vec<&Placing> = delivery.placed().iter().collect();
        sorted.sort_unstable_by_key(|p| p.sha256);
        let change = self.change()?;
        let (at, keeps_decisions) = (clock::utc_now(), has_released(&change)?);
        let mut were_aside: BTreeMap<i64, Vec<EnvelopeDelivered>> = BTreeMap::new();
        {
            let mut deliver = change.prepare_cached("INSERT OR REPLACE INTO delivered VALUES (?1, ?2, ?3, ?4, ?5)")?;
            let mut forget_aside = change.prepare_cached("DELETE FROM set_aside WHERE sha256 = ?1")?;
            for p in &sorted {
                deliver.execute(params![destination, p.sha256.as_bytes(), p.batch, p.ordinal as i64, p.applicant])?;
                if keeps_decisions {
                    keep_released(&change, p.sha256, PastKind::Delivered, &at)?;
                }
                if forget_aside.execute([p.sha256.as_bytes()])? > 0 {
                    let (sha256, ordinal) = (p.sha256, p.ordinal);
                    were_aside.entry(p.batch).or_default().push(EnvelopeDelivered { sha256, ordinal });
                }
            }
            let mut forget_placing =
                change.prepare_cached("DELETE FROM placing WHERE destination = ?1 AND name = ?2")?;
            // Where only their number was noted there is none to forget.
            if delivery.on_their_way().is_none() {
                for p in delivery.settled() {
                    forget_placing.execute(params![destination, p.name])?;
                }
            }
        }
        for (batch, envelopes) in were_aside {
            let BatchId { stream, sequence, .. } = named(&change, batch)?;
            let sql = "UPDATE batch SET aside_delivered_at = ?2 WHERE id = ?1";
            change.prepare_cached(sql)?.execute(params![batch, clock::now().0])?;
            for envelopes in in_lines(envelopes, |_| 0) {
                change.note(&Deed::AsideDelivered { stream, sequence: sequence.get(), envelopes })?;
            }
        }
        // What is refused may come again until it is set aside, which is noted behind this.
        let on_their_way = delivery.on_their_way().map(|number| number + delivery.refused() as u64);
        note_on_their_way(&change, destination, on_their_way)?;
        change.execute(
            "INSERT INTO meta SELECT 'high_water_' || kind, ?2 FROM destination WHERE id = ?1
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            params![destination, delivery.high_water().to_string()],
        )?;
        change.commit()
    }

    /// Forgets what a crash left between noting and settling, but for its number: it is delivered again. Says the number.
    pub fn forget_unsettled(&mut self, destination: i64) -> Result<u64> {
        let number = self.unsettled(destination)?;
        if number > 0 {
            let change = self.change()?;
            change.execute("DELETE FROM placing WHERE destination = ?1", [destination])?;
            note_on_their_way(&change, destination, Some(0))?;
            put_meta(&change, &format!("unsaid_{destination}"), &number.to_string())?;
            change.commit()?;
        }
        Ok(number)
    }

    /// A run has come to its end, and says what a crash left.
    pub fn unsettled_is_said(&self, destination: i64) -> Result<()> {
        self.connection.execute("DELETE FROM meta WHERE key = 'unsaid_' || ?1", [destination])?;
        Ok(())
    }
}

/// What is set aside, as the journal has it: together what is of one batch and connector and for one reason, as far as a
/// line of the journal goes.
fn set_aside_deeds(aside: &[Aside]) -> Vec<Deed> {
    let mut alike: BTreeMap<_, Vec<&Reason>> = BTreeMap::new();
    for Aside { kind, reason, .. } in aside {
        let of = (reason.batch.stream, reason.batch.sequence, kind.word(), &reason.code, &reason.connector.id);
        alike.entry(of).or_default().push(reason);
    }
    let deeds = alike.into_iter().flat_map(|((.., kind, _, _), reasons)| {
        let lines = in_lines(reasons, |reason| reason.name.len() + what_in_a_line(&reason.what).len());
        lines.into_iter().map(move |reasons| {
            let deed = set_aside_deed(&reasons);
            if kind == Kind::Held.word() { Deed::Held(deed) } else { Deed::Quarantined(deed) }
        })
    });
    deeds.collect()
}

fn set_aside_deed(reasons: &[&Reason]) -> SetAsideDeed {
    let Reason { batch, code, connector, .. } = reasons[0];
    let envelopes = reasons.iter().map(|reason| EnvelopeAside {
        sha256: reason.sha256,
        envelope: NamedEnvelope { ordinal: reason.batch.ordinal, name: reason.name.clone() },
        what: what_in_a_line(&reason.what),
    });
    SetAsideDeed {
        stream: batch.stream,
        sequence: batch.sequence,
        code: code.clone(),
        connector: NamedConnector { id: connector.id.clone(), name: connector.name.clone() },
        envelopes: envelopes.collect(),
    }
}

fn note_on_their_way(change: &Connection, destination: i64, number: Option<u64>) -> rusqlite::Result<()> {
    number.map_or(Ok(()), |number| put_meta(change, &format!("on_their_way_{destination}"), &number.to_string()))
}
