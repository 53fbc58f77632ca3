//! What may be delivered.

use crate::error::Result;
use crate::ledger::importer::{ImporterView, IncomingRow, State};

/// A batch of the inbox that may be delivered. Only the ledger's word makes one: that it was admitted, and that no run
/// since has found its files or its signers wanting.
#[derive(Debug)]
pub struct Admitted(IncomingRow);

impl Admitted {
    /// The batch of this number of the ledger, if it is admitted as things stand now.
    ///
    /// # Errors
    /// The system refused.
    pub fn of(ledger: &ImporterView, id: i64) -> Result<Option<Self>> {
        let row = ledger.incoming_by_id(id)?;
        Ok(row.filter(|row| row.state == State::Admitted).map(Self))
    }

    /// What the ledger knows of it.
    pub fn row(&self) -> &IncomingRow {
        &self.0
    }
}
