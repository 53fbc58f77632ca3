//! What was sent and not ingested.

use crate::error::Result;
use crate::ledger::importer::{DestinationRow, ImporterView};
use crate::report::Finding;

/// Works with objects that were not ingested, until these are delivered again or accepted as lost.
///
/// # Errors
/// SQLite refused.
pub fn failed(ledger: &ImporterView, destination: &DestinationRow) -> Result<Vec<Finding>> {
    let rows = ledger.failed_works(destination.id)?;
    Ok(rows.into_iter().map(|row| row.about.failed(row.errors, &row.what)).collect())
}
