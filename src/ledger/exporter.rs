//! The exporter's memory: streams, batches by number, envelopes by digest, files by stamp, carries.

mod batches;
mod carries;
mod files;
mod lost;
mod sealed;
mod streams;
mod summary;

use std::ops::Deref;

use rusqlite::{Connection, Transaction};

use super::opened::open;
use crate::error::Result;
use crate::site::{Lock, Role, Site};

pub use batches::{BatchRow, PackedState};
pub use carries::{CarriedRow, CarryRow};
pub use files::{Seen, Sight};
pub use lost::LostRow;
pub use sealed::Sealed;
pub use streams::StreamRow;
pub use summary::{PackedBatch, PackedConnector};

/// The exporter's ledger to read in: a run may be writing it at the same time.
#[derive(Debug)]
pub struct ExporterView {
    connection: Connection,
}

/// The exporter's ledger of the run that holds the site's lock.
#[derive(Debug)]
pub struct ExporterLedger {
    view: ExporterView,
    _lock: Lock,
}

impl ExporterView {
    pub(super) fn over(connection: Connection) -> Self {
        Self { connection }
    }
}

impl ExporterLedger {
    /// Opens the ledger of an exporter's site to work with it, makes it if it is new, and holds the site's lock.
    /// The second value is whether the site was made.
    ///
    /// # Errors
    /// Another run holds the lock; the file is no ledger, the importer's, or a newer airpouch's.
    pub fn open(site: &Site) -> Result<(Self, bool)> {
        let (connection, lock, is_new) = open(site, Role::Exporter)?;
        Ok((Self { view: ExporterView { connection }, _lock: lock }, is_new))
    }

    /// Begins a change that is made as a whole or not at all.
    fn change(&mut self) -> Result<Transaction<'_>> {
        Ok(self.view.connection.transaction()?)
    }
}

impl Deref for ExporterLedger {
    type Target = ExporterView;

    fn deref(&self) -> &ExporterView {
        &self.view
    }
}

#[cfg(test)]
mod tests;
