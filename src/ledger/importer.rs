//! The importer's memory: batches and where they stand, what was delivered where, what was set aside.

mod aside;
mod batches;
mod deliveries;
mod destinations;
mod meta;
mod owners;
mod streams;
mod works;

use std::ops::Deref;

use rusqlite::{Connection, Transaction};

use super::opened::{look, only, open};
use crate::error::Result;
use crate::site::{Lock, Role, Site};

pub use aside::{Aside, AsideCount, AsideKind, AsideRow};
pub use batches::{BatchId, BatchStanding, IncomingRow, State};
pub use deliveries::{Group, KnownBefore};
pub use destinations::DestinationRow;
pub use owners::{AdmissionNote, Claim};
pub use streams::{CameConnector, StreamSummary};

/// The importer's ledger to read in: a run may be writing it at the same time.
#[derive(Debug)]
pub struct ImporterView {
    connection: Connection,
}

/// The importer's ledger of the run that holds the site's lock.
#[derive(Debug)]
pub struct ImporterLedger {
    view: ImporterView,
    _lock: Lock,
}

impl ImporterView {
    /// Opens the ledger of an importer's site to read in it, without the lock.
    ///
    /// # Errors
    /// There is none, or it is the exporter's, or not one of ours.
    pub fn look(site: &Site) -> Result<Self> {
        let (connection, role) = look(site)?;
        only(Role::Importer, role, &site.ledger())?;
        Ok(Self { connection })
    }

    pub(super) fn over(connection: Connection) -> Self {
        Self { connection }
    }
}

impl ImporterLedger {
    /// Opens the ledger of an importer's site to work with it, makes it if it is new, and holds the site's lock.
    /// The second value is whether the site was made.
    ///
    /// # Errors
    /// Another run holds the lock; the file is no ledger, the exporter's, or a newer airpouch's.
    pub fn open(site: &Site) -> Result<(Self, bool)> {
        let (connection, lock, is_new) = open(site, Role::Importer)?;
        Ok((Self { view: ImporterView { connection }, _lock: lock }, is_new))
    }

    /// Begins a change that is made as a whole or not at all.
    fn change(&mut self) -> Result<Transaction<'_>> {
        Ok(self.view.connection.transaction()?)
    }
}

impl Deref for ImporterLedger {
    type Target = ImporterView;

    fn deref(&self) -> &ImporterView {
        &self.view
    }
}

#[cfg(test)]
mod tests;
