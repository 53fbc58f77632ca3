//! The exporter's memory: streams, batches by number, envelopes by digest, files by stamp, carries.

mod acknowledged;
mod ages;
mod batches;
mod carries;
mod files;
mod lost;
mod sealed;
mod streams;
mod summary;

use std::ops::Deref;

use rusqlite::Connection;

use super::asking::all;
use super::noted::{Author, Change, JournalEnd, Notes, end_of};
use super::opened::open;
use crate::deed::Actor;
use crate::digest::Digest;
use crate::disk::LockWait;
use crate::error::Result;
use crate::site::{Lock, Role, Site};

pub use acknowledged::Acknowledgement;
pub use ages::CarriedSoFar;
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
    author: Author,
    _lock: Lock,
}

impl ExporterView {
    pub(super) fn over(connection: Connection) -> Self {
        Self { connection }
    }

    /// How the journal ended when it was last written; none if it never was.
    pub fn journal_end(&self) -> Result<Option<JournalEnd>> {
        end_of(&self.connection)
    }

    /// The batches by which envelopes were packed whose digests lie between these two: stream and number.
    pub fn batches_with(&self, (from, to): (Digest, Digest)) -> Result<Vec<(String, u64)>> {
        let sql = "SELECT DISTINCT s.uuid, e.sequence FROM packed_envelope e JOIN stream s ON s.id = e.stream WHERE e.stream IN (SELECT id FROM stream) AND e.sha256 BETWEEN ?1 AND ?2";
        let values = rusqlite::params![from.as_bytes(), to.as_bytes()];
        all(&self.connection, sql, values, |r| Ok((r.get(0)?, r.get::<_, i64>(1)? as u64)))
    }
}

impl ExporterLedger {
    /// Opens the ledger of an exporter's site to work with it, makes it if it is new, and holds the site's lock.
    /// The second value is whether the site was made.
    ///
    /// # Errors
    /// Another run holds the lock; the file is no ledger, the importer's, or a newer airpouch's.
    pub fn open(site: &Site) -> Result<(Self, bool)> {
        Self::open_waiting(site, LockWait::NO)
    }

    /// The same, but waits for another run that works in the site.
    ///
    /// # Errors
    /// As above, once the wait is over.
    pub fn open_waiting(site: &Site, wait: LockWait<'_>) -> Result<(Self, bool)> {
        let (connection, lock, is_new) = open(site, Role::Exporter, wait)?;
        let author = Author::new(Actor::default())?;
        Ok((Self { view: ExporterView { connection }, author, _lock: lock }, is_new))
    }

    /// From here on what is done is noted as this actor's.
    ///
    /// # Errors
    /// The kernel has no random bytes.
    pub fn act_as(&mut self, actor: Actor) -> Result<()> {
        self.author = Author::new(actor)?;
        Ok(())
    }

    /// What is noted for the journal.
    pub fn notes(&self) -> Notes<'_> {
        Notes::of(&self.view.connection, &self.author)
    }

    /// Begins a change that is made as a whole or not at all.
    fn change(&self) -> Result<Change<'_>> {
        Change::begin(&self.view.connection, &self.author)
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
