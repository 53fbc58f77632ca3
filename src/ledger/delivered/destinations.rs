//! Where a site delivers to, and what is open there.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{OptionalExtension, params};

use super::super::{Ledger, lost};
use crate::destination::Destination;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::sink::OpenWork;

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
    /// Whether this is that destination; of a directory, whatever path leads to it, such as `site/../in` and `in`.
    pub fn is(&self, destination: &Destination) -> bool {
        let real = |path: &Path| path.canonicalize().ok();
        let here = || real(destination.path()?);
        let is_one_directory = || here().is_some_and(|here| real(Path::new(&self.address)) == Some(here));
        self.kind == destination.kind() && (self.address == destination.address() || is_one_directory())
    }
}

impl Ledger {
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

    /// Notes works that were opened, before anything rests on them.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn note_opened(&mut self, destination: i64, works: &[OpenWork]) -> Result<()> {
        if works.is_empty() {
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
                change.commit()
            };
        work().map_err(|e| lost(&e))
    }

    /// Notes that a connector is about to be registered, so that it is known for ours; or that it was refused.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn note_registered(&self, destination: i64, id: &str, name: &str, is_ours: bool) -> Result<()> {
        let done = match is_ours {
            true => self
                .connection
                .prepare_cached("INSERT OR REPLACE INTO registered VALUES (?1, ?2, ?3)")
                .and_then(|mut insert| insert.execute(params![destination, id, name])),
            false => self
                .connection
                .prepare_cached("DELETE FROM registered WHERE destination = ?1 AND connector = ?2")
                .and_then(|mut delete| delete.execute(params![destination, id])),
        };
        done.map(drop).map_err(|e| lost(&e))
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
}
