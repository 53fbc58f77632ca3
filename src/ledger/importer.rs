//! The importer's memory: batches and where they stand, what was delivered where, what was set aside.

mod ages;
mod arrived;
mod aside;
mod batches;
mod decided;
mod deliveries;
mod destinations;
mod earlier;
mod followed;
mod kept;
mod lookup;
mod meta;
mod owners;
mod pairs;
mod peer;
mod signed;
mod streams;
mod works;

use std::ops::Deref;

use rusqlite::Connection;

use super::asking::all;
use super::noted::{Author, Change, JournalEnd, Notes, end_of};
use super::opened::{look, only, open};
use crate::deed::Actor;
use crate::digest::Digest;
use crate::disk::LockWait;
use crate::error::Result;
use crate::site::{Lock, Role, Site};

pub use ages::{Acceptance, AsideReasons, CameBatch, ConnectorHeard, LastHeard};
pub use aside::{Aside, AsideCount, AsideKind, AsideRow};
pub use batches::{BatchId, BatchStanding, IncomingRow, State};
pub use decided::{AsideKey, DecisionKind, PastKind, PastRow, StandingCount};
pub use deliveries::{Group, KnownBefore};
pub use destinations::DestinationRow;
pub use followed::{FailedRow, Ingestion, SentRow};
pub use kept::ObjectList;
pub use lookup::{DeliveredBy, LookupRow};
pub use meta::RulesOfRun;
pub use owners::{AdmissionNote, Claim};
pub use pairs::CamePair;
pub use peer::{HeardHead, KnownHead};
pub use signed::OfficersSignature;
pub use streams::CameConnector;

/// The importer's ledger to read in: a run may be writing it at the same time.
#[derive(Debug)]
pub struct ImporterView {
    connection: Connection,
}

/// The importer's ledger of the run that holds the site's lock.
#[derive(Debug)]
pub struct ImporterLedger {
    view: ImporterView,
    author: Author,
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

    /// How the journal ended when it was last written; none if it never was.
    pub fn journal_end(&self) -> Result<Option<JournalEnd>> {
        end_of(&self.connection)
    }

    /// The batches by which envelopes came whose digests lie between these two: stream and number.
    pub fn batches_with(&self, (from, to): (Digest, Digest)) -> Result<Vec<(String, u64)>> {
        let sql = "SELECT DISTINCT b.stream, b.sequence FROM delivered d JOIN batch b ON b.id = d.batch WHERE d.destination IN (SELECT id FROM destination) AND d.sha256 BETWEEN ?1 AND ?2";
        let values = rusqlite::params![from.as_bytes(), to.as_bytes()];
        all(&self.connection, sql, values, |r| Ok((r.get(0)?, r.get::<_, i64>(1)? as u64)))
    }
}

impl ImporterLedger {
    /// Opens the ledger of an importer's site to work with it, makes it if it is new, and holds the site's lock.
    /// The second value is whether the site was made.
    ///
    /// # Errors
    /// Another run holds the lock; the file is no ledger, the exporter's, or a newer airpouch's.
    pub fn open(site: &Site) -> Result<(Self, bool)> {
        Self::open_waiting(site, LockWait::NO)
    }

    /// The same, but waits for another run that works in the site.
    ///
    /// # Errors
    /// As above, once the wait is over.
    pub fn open_waiting(site: &Site, wait: LockWait<'_>) -> Result<(Self, bool)> {
        let (connection, lock, is_new) = open(site, Role::Importer, wait)?;
        let author = Author::new(Actor::default())?;
        Ok((Self { view: ImporterView { connection }, author, _lock: lock }, is_new))
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

impl Deref for ImporterLedger {
    type Target = ImporterView;

    fn deref(&self) -> &ImporterView {
        &self.view
    }
}

#[cfg(test)]
mod tests;
