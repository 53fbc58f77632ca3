//! The importer's memory: batches and where they stand, what was delivered where, what was set aside.

use std::collections::{BTreeSet, HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};

use super::{Ledger, digest_of, lost, put_meta};
use crate::batch::index::Mtime;
use crate::batch::manifest::Manifest;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::set_aside::{Kind, Reason};
use crate::sink::{Delivery, Destination, OpenWork, Placing};
use crate::stream::{Numbers, Position, StreamId};

/// How far a batch has come on this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Parts of it are missing in the inbox.
    Incomplete,
    /// Whole in the inbox, and not admitted (yet).
    Whole,
    /// Being delivered.
    Admitted,
    /// Done.
    Delivered,
    /// Its signer contradicts himself.
    Refused,
}

impl State {
    const ALL: [Self; 5] = [Self::Incomplete, Self::Whole, Self::Admitted, Self::Delivered, Self::Refused];

    /// The word in the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Whole => "whole",
            Self::Admitted => "admitted",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
        }
    }
}

/// A batch that came.
#[derive(Debug, Clone)]
pub struct IncomingRow {
    /// The ledger's number for it.
    pub id: i64,
    /// Its digest.
    pub sha256: Digest,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its manifest's bytes.
    pub bytes: Vec<u8>,
    /// How far it has come.
    pub state: State,
    /// Why it is not admitted, as it was last said.
    pub standing: Option<String>,
    /// Whether later numbers were delivered before it.
    pub late: bool,
    /// Whether its files were removed from the inbox.
    pub pruned: bool,
    /// When it was done, in seconds since 1970.
    pub done_at: Option<i64>,
}

/// An envelope that was set aside.
#[derive(Debug, Clone)]
pub struct AsideRow {
    /// Its digest.
    pub sha256: Digest,
    /// `held`, `quarantined`, or `released` by a person and to be delivered.
    pub kind: String,
    /// One word for programs.
    pub code: String,
    /// What is the matter.
    pub what: String,
    /// Where in the envelope.
    pub place: String,
    /// Its batch.
    pub batch: i64,
    /// Stream of the batch.
    pub stream: String,
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
}

/// A destination that the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRow {
    /// The ledger's number for it.
    pub id: i64,
    /// Its kind.
    pub kind: String,
    /// Its address.
    pub address: String,
    /// By what it is known again.
    pub mark: String,
}

impl DestinationRow {
    /// Whether this is that destination.
    pub fn is(&self, destination: &Destination) -> bool {
        self.kind == destination.kind() && self.address == destination.address()
    }
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
}

/// One group's worth of decisions, committed together.
#[derive(Debug, Default)]
pub struct Group {
    /// Envelopes newly set aside.
    pub aside: Vec<Aside>,
    /// Envelopes with nothing to deliver: digest, batch, ordinal.
    pub empty: Vec<(Digest, i64, usize)>,
    /// Envelopes about to appear in the sink.
    pub placing: Vec<Placing>,
    /// How many envelopes are about to be sent, or were and have not landed, where the sink cannot tell them apart
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
    pub aside: HashMap<Digest, String>,
}

impl Ledger {
    /// A batch by its digest.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn incoming(&self, sha256: Digest) -> Result<Option<IncomingRow>> {
        Ok(self.incoming_where("sha256 = ?1", params![sha256.as_bytes()])?.pop())
    }

    /// All batches in a state, by stream and number.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn incoming_in(&self, state: State) -> Result<Vec<IncomingRow>> {
        self.incoming_where("state = ?1", params![state.word()])
    }

    /// The batches with number 1 that were admitted: only they say what their streams go on from.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn incoming_firsts(&self) -> Result<Vec<IncomingRow>> {
        self.incoming_where("sequence = 1 AND state IN ('admitted', 'delivered')", [])
    }

    /// Delivered batches that were done before this time and still lie in the inbox.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn incoming_done_before(&self, seconds: i64) -> Result<Vec<IncomingRow>> {
        self.incoming_where("state = 'delivered' AND pruned = 0 AND done_at <= ?1", [seconds])
    }

    /// The digest of a batch, if another one that was admitted bears the same number of the same stream.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn shares_its_number(&self, id: i64) -> Result<Option<Digest>> {
        let sql = "SELECT a.sha256 FROM batch a JOIN batch b ON b.stream = a.stream AND b.sequence = a.sequence AND b.id <> a.id
                   WHERE a.id = ?1 AND b.state IN ('admitted', 'delivered')";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        query.query_row([id], |r| digest_of(r, 0)).optional().map_err(|e| lost(&e))
    }

    /// All batches, by stream and number.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn incoming_all(&self) -> Result<Vec<IncomingRow>> {
        self.incoming_where("1", [])
    }

    fn incoming_where(&self, condition: &str, values: impl rusqlite::Params) -> Result<Vec<IncomingRow>> {
        let sql = format!(
            "SELECT id, sha256, manifest, state, standing, late, pruned, done_at FROM batch WHERE {condition} ORDER BY stream, sequence, id"
        );
        let mut query = self.connection.prepare_cached(&sql).map_err(|e| lost(&e))?;
        let rows = query.query_map(values, |r| {
            let word: String = r.get(3)?;
            let state =
                State::ALL.into_iter().find(|s| s.word() == word).ok_or(rusqlite::Error::InvalidColumnName(word))?;
            Ok((
                r.get(0)?,
                digest_of(r, 1)?,
                r.get::<_, Vec<u8>>(2)?,
                state,
                r.get(4)?,
                r.get(5)?,
                r.get(6)?,
                r.get(7)?,
            ))
        });
        let rows: Vec<_> = rows.and_then(Iterator::collect).map_err(|e| lost(&e))?;
        let read = |(id, sha256, bytes, state, standing, late, pruned, done_at): (_, _, Vec<u8>, _, _, _, _, _)| {
            let manifest = Manifest::parse(&bytes)
                .map_err(|e| Error::failed(format!("the ledger holds a manifest that is none: {e}")))?;
            Ok(IncomingRow { id, sha256, manifest, bytes, state, standing, late, pruned, done_at })
        };
        rows.into_iter().map(read).collect()
    }

    /// Notes a batch, or its new state if it is known.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn note_incoming(&self, manifest: &Manifest, sha256: Digest, bytes: &[u8], state: State) -> Result<()> {
        let sql = "INSERT INTO batch (stream, sequence, sha256, manifest, state) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (sha256) DO UPDATE SET state = excluded.state";
        let values = params![
            manifest.stream.to_string(),
            manifest.sequence.get() as i64,
            sha256.as_bytes(),
            bytes,
            state.word()
        ];
        self.connection.execute(sql, values).map(|_| ()).map_err(|e| lost(&e))
    }

    /// Moves a batch to a state, with what is said of it there.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn set_state(&self, id: i64, state: State, standing: Option<&str>) -> Result<()> {
        let sql = "UPDATE batch SET state = ?2, standing = ?3 WHERE id = ?1";
        self.connection.execute(sql, params![id, state.word(), standing]).map(|_| ()).map_err(|e| lost(&e))
    }

    /// Admits a batch.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn set_admitted(&self, id: i64, late: bool) -> Result<()> {
        let sql = "UPDATE batch SET state = 'admitted', standing = NULL, late = ?2 WHERE id = ?1";
        self.connection.execute(sql, params![id, late]).map(|_| ()).map_err(|e| lost(&e))
    }

    /// A batch is done: every envelope of it was delivered or set aside.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn set_done(&self, id: i64, at: i64) -> Result<()> {
        let sql = "UPDATE batch SET state = 'delivered', done_at = ?2 WHERE id = ?1";
        self.connection.execute(sql, params![id, at]).map(|_| ()).map_err(|e| lost(&e))
    }

    /// The files of a batch were removed from the inbox, or came again.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn set_pruned(&self, id: i64, pruned: bool) -> Result<()> {
        self.connection
            .execute("UPDATE batch SET pruned = ?2 WHERE id = ?1", params![id, pruned])
            .map(|_| ())
            .map_err(|e| lost(&e))
    }

    /// What the admitted batches of a stream say, with what the operator settled.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn position(&self, stream: StreamId) -> Result<Position> {
        let mut position = Position::default();
        let condition = "stream = ?1 AND state IN ('admitted', 'delivered')";
        for row in self.incoming_where(condition, params![stream.to_string()])? {
            position.admit(row.manifest.link(row.sha256));
        }
        let mut query = self
            .connection
            .prepare_cached("SELECT first, last FROM settled WHERE stream = ?1")
            .map_err(|e| lost(&e))?;
        let rows =
            query.query_map([stream.to_string()], |r| Ok(r.get::<_, i64>(0)? as u64..=r.get::<_, i64>(1)? as u64));
        position.settled = rows.and_then(Iterator::collect).map_err(|e| lost(&e))?;
        let mut query =
            self.connection.prepare_cached("SELECT sha256 FROM accepted WHERE stream = ?1").map_err(|e| lost(&e))?;
        let rows = query.query_map([stream.to_string()], |r| digest_of(r, 0));
        position.accepted = rows.and_then(Iterator::collect).map_err(|e| lost(&e))?;
        Ok(position)
    }

    /// The streams of which anything came.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn incoming_streams(&self) -> Result<Vec<StreamId>> {
        let mut query = self
            .connection
            .prepare_cached("SELECT DISTINCT stream FROM batch ORDER BY stream")
            .map_err(|e| lost(&e))?;
        let rows = query.query_map([], |r| r.get::<_, String>(0));
        let rows: Vec<String> = rows.and_then(Iterator::collect).map_err(|e| lost(&e))?;
        Ok(rows.iter().filter_map(|s| StreamId::parse(s)).collect())
    }

    /// The operator no longer waits for these numbers.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn settle_gap(&mut self, stream: StreamId, numbers: &Numbers, reason: &str, at: &str) -> Result<()> {
        let mut work = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            for range in numbers.ranges() {
                let values = params![stream.to_string(), *range.start() as i64, *range.end() as i64, reason, at];
                change.execute("INSERT INTO settled VALUES (?1, ?2, ?3, ?4, ?5)", values)?;
            }
            change.commit()
        };
        work().map_err(|e| lost(&e))
    }

    /// The operator takes a batch that forks its stream.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn accept_fork(&self, stream: StreamId, sequence: u64, sha256: Digest, reason: &str, at: &str) -> Result<()> {
        let values = params![sha256.as_bytes(), stream.to_string(), sequence as i64, reason, at];
        self.connection
            .execute("INSERT OR REPLACE INTO accepted VALUES (?1, ?2, ?3, ?4, ?5)", values)
            .map(|_| ())
            .map_err(|e| lost(&e))
    }

    /// Works that are open at a destination.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn open_works(&self, destination: i64) -> Result<Vec<OpenWork>> {
        let sql = "SELECT id, batch, connector, envelope, (SELECT count(*) FROM delivered d WHERE d.destination = work.destination
                   AND d.batch = work.batch AND d.sha256 = coalesce(work.envelope, d.sha256)) FROM work WHERE destination = ?1 ORDER BY rowid";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let rows = query.query_map([destination], |r| {
            let envelope = r.get::<_, Option<Vec<u8>>>(3)?.and_then(|bytes| Digest::from_bytes(&bytes));
            let delivered = r.get::<_, i64>(4)? as usize;
            Ok(OpenWork { id: r.get(0)?, batch: r.get(1)?, connector: r.get(2)?, envelope, delivered })
        });
        rows.and_then(Iterator::collect).map_err(|e| lost(&e))
    }

    /// Notes works that were opened, and connectors that were registered, before anything rests on them.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn note_opened(&mut self, destination: i64, works: &[OpenWork], registered: &[(String, String)]) -> Result<()> {
        if works.is_empty() && registered.is_empty() {
            return Ok(());
        }
        let mut work =
            || -> rusqlite::Result<()> {
                let change = self.connection.transaction()?;
                for work in works {
                    let envelope = work.envelope.as_ref().map(|e| e.as_bytes().to_vec());
                    change
                        .prepare_cached("INSERT OR REPLACE INTO work VALUES (?1, ?2, ?3, ?4, ?5)")?
                        .execute(params![work.id, destination, work.batch, work.connector, envelope])?;
                }
                for (id, name) in registered {
                    change
                        .prepare_cached("INSERT OR REPLACE INTO registered VALUES (?1, ?2, ?3)")?
                        .execute(params![destination, id, name])?;
                }
                change.commit()
            };
        work().map_err(|e| lost(&e))
    }

    /// Forgets works that were closed, or are gone.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn forget_works(&self, ids: &[String]) -> Result<()> {
        for id in ids {
            self.connection.execute("DELETE FROM work WHERE id = ?1", [id]).map_err(|e| lost(&e))?;
        }
        Ok(())
    }

    /// The connectors that this site has registered at a destination.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn registered(&self, destination: i64) -> Result<BTreeSet<String>> {
        let sql = "SELECT connector FROM registered WHERE destination = ?1";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let rows = query.query_map([destination], |r| r.get(0));
        rows.and_then(Iterator::collect).map_err(|e| lost(&e))
    }

    /// The destination that this site delivers to; none before the first delivery.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn destination(&self) -> Result<Option<DestinationRow>> {
        let sql = "SELECT id, kind, address, mark FROM destination WHERE current = 1";
        let read = |r: &rusqlite::Row<'_>| {
            Ok(DestinationRow { id: r.get(0)?, kind: r.get(1)?, address: r.get(2)?, mark: r.get(3)? })
        };
        self.connection.query_row(sql, [], read).optional().map_err(|e| lost(&e))
    }

    /// Makes this the destination of the site, now that it was reached. With `again`, all that is in the inbox is
    /// to be delivered to it.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn begin_destination(
        &mut self,
        destination: &Destination,
        mark: &str,
        again: bool,
        at: &str,
    ) -> Result<DestinationRow> {
        let mut work = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            change.execute("UPDATE destination SET current = 0", [])?;
            change.execute(
                "INSERT INTO destination (kind, address, mark, current, since) VALUES (?1, ?2, ?3, 1, ?4)",
                params![destination.kind(), destination.address(), mark, at],
            )?;
            if again {
                change.execute("UPDATE batch SET state = 'admitted' WHERE state = 'delivered' AND pruned = 0", [])?;
            }
            change.commit()
        };
        work().map_err(|e| lost(&e))?;
        self.destination()?.ok_or_else(|| Error::failed("the new destination is not in the ledger"))
    }

    /// Only address or mark of the destination have changed.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn move_destination(&self, destination: &Destination, mark: &str) -> Result<()> {
        let sql = "UPDATE destination SET kind = ?1, address = ?2, mark = ?3 WHERE current = 1";
        let values = params![destination.kind(), destination.address(), mark];
        self.connection.execute(sql, values).map(|_| ()).map_err(|e| lost(&e))
    }

    /// What is known of these envelopes. All are looked up in one transaction: one by one each look would lock the ledger.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn known_of(&self, destination: i64, envelopes: impl Iterator<Item = Digest>) -> Result<KnownBefore> {
        let _reading = self.connection.unchecked_transaction().map_err(|e| lost(&e))?;
        let mut known = KnownBefore::default();
        for sha256 in envelopes {
            if let Some(kind) = self.aside_kind(sha256)? {
                known.aside.insert(sha256, kind);
            }
            if self.is_delivered(destination, sha256)? {
                known.delivered.insert(sha256);
            }
        }
        Ok(known)
    }

    /// Whether an envelope was delivered to a destination.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn is_delivered(&self, destination: i64, sha256: Digest) -> Result<bool> {
        let sql = "SELECT 1 FROM delivered WHERE destination = ?1 AND sha256 = ?2";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        query.exists(params![destination, sha256.as_bytes()]).map_err(|e| lost(&e))
    }

    /// Notes a group before any of it is seen: what is set aside, what is empty, what is being placed.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn note_group(&mut self, destination: i64, group: &Group) -> Result<()> {
        let mut work = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            for Aside { kind, reason, batch, applicant, mtime } in &group.aside {
                change
                    .prepare_cached(
                        "INSERT OR REPLACE INTO set_aside VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, NULL, ?12)",
                    )?
                    .execute(params![
                        reason.sha256.as_bytes(),
                        kind.word(),
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
                    ])?;
            }
            for (sha256, batch, ordinal) in &group.empty {
                change
                    .prepare_cached("INSERT OR IGNORE INTO delivered VALUES (?1, ?2, ?3, ?4, NULL)")?
                    .execute(params![destination, sha256.as_bytes(), batch, *ordinal as i64])?;
                change.prepare_cached("DELETE FROM set_aside WHERE sha256 = ?1")?.execute([sha256.as_bytes()])?;
            }
            for p in &group.placing {
                change.prepare_cached("INSERT OR REPLACE INTO placing VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(
                    params![destination, p.sha256.as_bytes(), p.batch, p.ordinal as i64, p.name, p.mark, p.applicant,],
                )?;
            }
            note_on_their_way(&change, destination, group.on_their_way)?;
            change.commit()
        };
        work().map_err(|e| lost(&e))
    }

    /// How many envelopes a crash left between noting and settling, and those of which no run has come to its end since
    /// that could say so.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn unsettled(&self, destination: i64) -> Result<u64> {
        let sql = "SELECT (SELECT count(*) FROM placing WHERE destination = ?1) + coalesce((SELECT sum(CAST(value AS INTEGER))
                   FROM meta WHERE key IN ('on_their_way_' || ?1, 'unsaid_' || ?1)), 0)";
        let counted = self.connection.query_row(sql, [destination], |r| r.get::<_, i64>(0));
        counted.map(|n| n as u64).map_err(|e| lost(&e))
    }

    /// Forgets what a crash left between noting and settling, but for its number: it is delivered again. Says the number.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn forget_unsettled(&mut self, destination: i64) -> Result<u64> {
        let number = self.unsettled(destination)?;
        let mut work = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            change.execute("DELETE FROM placing WHERE destination = ?1", [destination])?;
            note_on_their_way(&change, destination, Some(0))?;
            put_meta(&change, &format!("unsaid_{destination}"), &number.to_string())?;
            change.commit()
        };
        if number > 0 {
            work().map_err(|e| lost(&e))?;
        }
        Ok(number)
    }

    /// A run has come to its end, and says what a crash left.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn unsettled_is_said(&self, destination: i64) -> Result<()> {
        let deleted = self.connection.execute("DELETE FROM meta WHERE key = 'unsaid_' || ?1", [destination]);
        deleted.map(drop).map_err(|e| lost(&e))
    }

    /// What a crash left between noting and settling.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn placings(&self, destination: i64) -> Result<Vec<Placing>> {
        let sql =
            "SELECT sha256, batch, ordinal, name, mark, applicant FROM placing WHERE destination = ?1 ORDER BY mark";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let rows = query.query_map([destination], |r| {
            let ordinal = r.get::<_, i64>(2)? as usize;
            Ok(Placing {
                sha256: digest_of(r, 0)?,
                batch: r.get(1)?,
                ordinal,
                name: r.get(3)?,
                mark: r.get(4)?,
                applicant: r.get(5)?,
            })
        });
        rows.and_then(Iterator::collect).map_err(|e| lost(&e))
    }

    /// Records what the sink vouches for, and the mark that it goes on from. What was set aside of it is so no more.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn settle(&mut self, destination: i64, delivery: &Delivery, high_water: i64) -> Result<()> {
        let mut sorted: Vec<&Placing> = delivery.placed.iter().collect();
        sorted.sort_unstable_by_key(|p| p.sha256);
        let mut work = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            {
                let mut deliver =
                    change.prepare_cached("INSERT OR REPLACE INTO delivered VALUES (?1, ?2, ?3, ?4, ?5)")?;
                let mut forget_aside = change.prepare_cached("DELETE FROM set_aside WHERE sha256 = ?1")?;
                for p in &sorted {
                    deliver.execute(params![
                        destination,
                        p.sha256.as_bytes(),
                        p.batch,
                        p.ordinal as i64,
                        p.applicant
                    ])?;
                    forget_aside.execute([p.sha256.as_bytes()])?;
                }
                let mut forget_placing =
                    change.prepare_cached("DELETE FROM placing WHERE destination = ?1 AND name = ?2")?;
                // Where only their number was noted there is none to forget.
                if delivery.on_their_way.is_none() {
                    let refused = delivery.refused.iter().map(|refused| &refused.placing);
                    let deferred = delivery.deferred.iter().map(|deferred| &deferred.placing);
                    for p in sorted.iter().copied().chain(refused).chain(deferred) {
                        forget_placing.execute(params![destination, p.name])?;
                    }
                }
            }
            note_on_their_way(&change, destination, delivery.on_their_way)?;
            change.execute(
                "INSERT INTO meta SELECT 'high_water_' || kind, ?2 FROM destination WHERE id = ?1
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                params![destination, high_water.to_string()],
            )?;
            change.commit()
        };
        work().map_err(|e| lost(&e))
    }

    /// What was set aside, in order of batch and ordinal.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn set_aside(&self) -> Result<Vec<AsideRow>> {
        let sql = "SELECT a.sha256, a.kind, a.code, a.what, a.place, a.batch, b.stream, b.sequence, a.ordinal, a.name, a.connector, a.connector_name, a.applicant, a.mtime
                   FROM set_aside a JOIN batch b ON b.id = a.batch ORDER BY b.stream, b.sequence, a.ordinal";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| lost(&e))?;
        let rows = query.query_map([], |r| {
            Ok(AsideRow {
                sha256: digest_of(r, 0)?,
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
            })
        });
        rows.and_then(Iterator::collect).map_err(|e| lost(&e))
    }

    /// How an envelope was set aside, if it was.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn aside_kind(&self, sha256: Digest) -> Result<Option<String>> {
        let mut query =
            self.connection.prepare_cached("SELECT kind FROM set_aside WHERE sha256 = ?1").map_err(|e| lost(&e))?;
        query.query_row([sha256.as_bytes()], |r| r.get(0)).optional().map_err(|e| lost(&e))
    }

    /// A person releases what was quarantined.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn release(&self, sha256: Digest, reason: &str) -> Result<()> {
        let sql = "UPDATE set_aside SET kind = 'released', reason = ?2 WHERE sha256 = ?1";
        self.connection.execute(sql, params![sha256.as_bytes(), reason]).map(|_| ()).map_err(|e| lost(&e))
    }

    /// Forgets that an envelope was set aside: it turned out to be delivered already, or to hold nothing.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn forget_aside(&self, sha256: Digest) -> Result<()> {
        self.connection
            .execute("DELETE FROM set_aside WHERE sha256 = ?1", [sha256.as_bytes()])
            .map(|_| ())
            .map_err(|e| lost(&e))
    }
}

fn note_on_their_way(change: &Connection, destination: i64, number: Option<u64>) -> rusqlite::Result<()> {
    number.map_or(Ok(()), |number| put_meta(change, &format!("on_their_way_{destination}"), &number.to_string()))
}
