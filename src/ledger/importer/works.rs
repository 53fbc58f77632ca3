//! Works at a destination: those that are open, and those that are gone with what was delivered under them.

use rusqlite::params;

use super::batches::{BatchId, named};
use super::{ImporterLedger, ImporterView};
use crate::deed::Deed;
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::asking::all;
use crate::limits::GONE_WORKS_MAX;
use crate::works::{ForBatch, GoneWork, OpenWork};

impl ImporterView {
    /// Works that are open at a destination.
    pub fn open_works(&self, destination: i64) -> Result<Vec<OpenWork>> {
        let sql = "SELECT id, batch, connector, envelope, (SELECT count(*) FROM delivered d WHERE d.destination = work.destination
                   AND d.batch = work.batch AND d.sha256 = coalesce(work.envelope, d.sha256)) FROM work WHERE destination = ?1 ORDER BY rowid";
        all(&self.connection, sql, [destination], |r| {
            let envelope = r.get::<_, Option<Vec<u8>>>(3)?.and_then(|bytes| Digest::from_bytes(&bytes));
            let delivered = r.get::<_, i64>(4)? as usize;
            let subject = ForBatch { batch: r.get(1)?, connector: r.get(2)?, envelope };
            Ok(OpenWork { id: r.get(0)?, subject, delivered })
        })
    }

    /// Works that are gone at a destination with what was delivered under them, until that is settled.
    pub fn gone_works(&self, destination: i64) -> Result<Vec<GoneWork>> {
        self.list_in_meta(&format!("gone_works_{destination}"))
    }
}

impl ImporterLedger {
    /// Notes a work that was opened, before anything rests on it.
    pub fn note_opened(&self, destination: i64, subject: &ForBatch, id: &str) -> Result<()> {
        let ForBatch { batch, connector, envelope } = subject;
        let envelope = envelope.as_ref().map(|e| e.as_bytes().to_vec());
        let sql = "INSERT OR REPLACE INTO work VALUES (?1, ?2, ?3, ?4, ?5)";
        self.connection.prepare_cached(sql)?.execute(params![id, destination, batch, connector, envelope])?;
        Ok(())
    }

    /// Forgets works that were closed, or are gone.
    pub fn forget_works(&self, ids: &[String]) -> Result<()> {
        for id in ids {
            self.connection.execute("DELETE FROM work WHERE id = ?1", [id])?;
        }
        Ok(())
    }

    /// Notes works that are gone.
    pub fn note_gone(&self, destination: i64, works: Vec<GoneWork>) -> Result<()> {
        if works.is_empty() {
            return Ok(());
        }
        let change = self.change()?;
        for work in &works {
            change.execute("DELETE FROM sent_work WHERE id = ?1", [&work.id])?;
        }
        self.add_gone(destination, works)?;
        change.commit()
    }

    /// Adds works that are gone, within a change of the caller.
    pub(super) fn add_gone(&self, destination: i64, works: Vec<GoneWork>) -> Result<()> {
        if works.is_empty() {
            return Ok(());
        }
        let mut gone = self.gone_works(destination)?;
        gone.extend(works.into_iter().take(GONE_WORKS_MAX.saturating_sub(gone.len())));
        self.set_list_in_meta(&format!("gone_works_{destination}"), &gone)
    }

    /// A person accepts what was lost with the works of a batch, or failed under them.
    pub fn accept_gone(&self, destination: i64, batch: i64, reason: &str) -> Result<()> {
        let BatchId { stream, sequence, .. } = named(&self.connection, batch)?;
        let change = self.change()?;
        change.note(&Deed::WorksAccepted { stream, sequence: sequence.get(), reason: reason.to_owned() })?;
        self.settle_gone(destination, batch)?;
        change.commit()
    }

    /// What was lost with the works of a batch, or failed under them, was delivered again.
    pub fn settle_gone(&self, destination: i64, batch: i64) -> Result<()> {
        let gone = self.gone_works(destination)?;
        let left: Vec<GoneWork> = gone.iter().filter(|work| work.batch != batch).cloned().collect();
        if left.len() < gone.len() {
            self.set_list_in_meta(&format!("gone_works_{destination}"), &left)?;
        }
        // What still waits under other works of the batch is followed further.
        let sql = "DELETE FROM sent_work WHERE destination = ?1 AND batch = ?2 AND failed = 1";
        self.connection.execute(sql, [destination, batch])?;
        Ok(())
    }
}
