//! Where a site delivers to, and what is known of connectors there.

use std::collections::BTreeSet;

use std::path::Path;

use rusqlite::params;

use super::{ImporterLedger, ImporterView};
use crate::destination::Destination;
use crate::error::{Error, Result};
use crate::ledger::asking::{all, first};
use crate::limits::SHOWN_MAX;

/// A destination that the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRow {
    /// The ledger's number for it.
    pub id: i64,
    /// Its kind.
    pub kind: String,
    /// Its address.
    pub address: String,
    /// The mark by which it is recognized: what `.airpouch` in its directory contains.
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

impl ImporterView {
    /// The destination that this site delivers to; none before the first delivery.
    pub fn destination(&self) -> Result<Option<DestinationRow>> {
        let sql = "SELECT id, kind, address, mark FROM destination WHERE current = 1";
        let read = |r: &rusqlite::Row<'_>| {
            Ok(DestinationRow { id: r.get(0)?, kind: r.get(1)?, address: r.get(2)?, mark: r.get(3)? })
        };
        first(&self.connection, sql, [], read)
    }

    /// The number from which a destination of this kind continues.
    pub fn high_water(&self, kind: &str) -> Result<i64> {
        let number = self.meta(&format!("high_water_{kind}"))?;
        Ok(number.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// The connectors that this site has registered at a destination.
    pub fn registered(&self, destination: i64) -> Result<BTreeSet<String>> {
        let sql = "SELECT connector FROM registered WHERE destination = ?1";
        all(&self.connection, sql, [destination], |r| r.get(0))
    }

    /// Connectors of which people were told that they exist at a destination.
    pub fn shown(&self, destination: i64) -> Result<BTreeSet<String>> {
        self.list_in_meta(&format!("shown_{destination}"))
    }
}

impl ImporterLedger {
    /// Makes this the destination of the site, now that it was reached. With `again`, all that is in the inbox is
    /// to be delivered to it.
    pub fn begin_destination(
        &mut self,
        destination: &Destination,
        mark: &str,
        again: bool,
        at: &str,
    ) -> Result<DestinationRow> {
        let change = self.change()?;
        change.execute("UPDATE destination SET current = 0", [])?;
        change.execute(
            "INSERT INTO destination (kind, address, mark, current, since) VALUES (?1, ?2, ?3, 1, ?4)",
            params![destination.kind(), destination.address(), mark, at],
        )?;
        if again {
            change.execute("UPDATE batch SET state = 'admitted' WHERE state = 'delivered' AND pruned = 0", [])?;
        }
        change.commit()?;
        self.destination()?.ok_or_else(|| Error::failed("the new destination is not in the ledger"))
    }

    /// Only address or mark of the destination have changed.
    pub fn move_destination(&self, destination: &Destination, mark: &str) -> Result<()> {
        let sql = "UPDATE destination SET kind = ?1, address = ?2, mark = ?3 WHERE current = 1";
        let values = params![destination.kind(), destination.address(), mark];
        self.connection.execute(sql, values)?;
        Ok(())
    }

    /// Notes that a connector is about to be registered, so that it is known for ours; or that it was refused.
    pub fn note_registered(&self, destination: i64, id: &str, name: &str, is_ours: bool) -> Result<()> {
        if is_ours {
            let sql = "INSERT OR REPLACE INTO registered VALUES (?1, ?2, ?3)";
            self.connection.prepare_cached(sql)?.execute(params![destination, id, name])?;
        } else {
            let sql = "DELETE FROM registered WHERE destination = ?1 AND connector = ?2";
            self.connection.prepare_cached(sql)?.execute(params![destination, id])?;
        }
        Ok(())
    }

    /// Notes that people are told of these.
    pub fn note_shown(&self, destination: i64, connectors: Vec<String>) -> Result<()> {
        if connectors.is_empty() {
            return Ok(());
        }
        let mut shown = self.shown(destination)?;
        shown.extend(connectors.into_iter().take(SHOWN_MAX.saturating_sub(shown.len())));
        self.set_list_in_meta(&format!("shown_{destination}"), &shown)
    }
}
