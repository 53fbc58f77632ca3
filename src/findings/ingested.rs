//! What was sent and not ingested, with the batch and the connector that it is of.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::ledger::importer::{DestinationRow, FailedRow, ImporterView};
use crate::report::{Finding, NamedConnector};
use crate::stream::StreamId;
use crate::text::harmless;
use crate::works::AboutWork;

/// Batches with their connectors, each read once.
pub struct BatchNames<'l> {
    ledger: &'l ImporterView,
    known: BTreeMap<i64, Option<NamedBatch>>,
}

/// A batch as works are told of.
pub struct NamedBatch {
    /// Its stream.
    pub stream: StreamId,
    /// Its number.
    pub sequence: u64,
    names: BTreeMap<String, String>,
}

impl NamedBatch {
    /// One of its connectors, safe to print.
    pub fn connector(&self, id: &str) -> NamedConnector {
        let name = self.names.get(id).map_or("", String::as_str);
        NamedConnector { id: harmless(id), name: harmless(name) }
    }

    /// What a finding about one of its works is about.
    pub fn about<'a>(&'a self, work: &'a str, connector: &'a str) -> AboutWork<'a> {
        let name = self.names.get(connector).map_or("", String::as_str);
        AboutWork { work, stream: self.stream, sequence: self.sequence, connector, name }
    }
}

impl<'l> BatchNames<'l> {
    /// Of this ledger.
    pub fn of(ledger: &'l ImporterView) -> Self {
        Self { ledger, known: BTreeMap::new() }
    }

    /// The batch of this number in the ledger.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn get(&mut self, batch: i64) -> Result<Option<&NamedBatch>> {
        if !self.known.contains_key(&batch) {
            let row = self.ledger.incoming_by_id(batch)?;
            let named = row.map(|row| {
                let (stream, sequence) = (row.manifest.stream, row.manifest.sequence.get());
                let names = row.manifest.connectors.into_iter();
                let names = names.map(|entry| (entry.id.to_string(), entry.name.to_string())).collect();
                NamedBatch { stream, sequence, names }
            });
            self.known.insert(batch, named);
        }
        Ok(self.known.get(&batch).and_then(Option::as_ref))
    }
}

/// Works with objects that were not ingested, until these are delivered again or accepted as lost.
///
/// # Errors
/// SQLite refused.
pub fn failed(ledger: &ImporterView, destination: &DestinationRow) -> Result<Vec<Finding>> {
    let (mut names, mut findings) = (BatchNames::of(ledger), Vec::new());
    for FailedRow { id, batch, connector, errors, what } in ledger.failed_works(destination.id)? {
        let Some(batch) = names.get(batch)? else { continue };
        findings.push(batch.about(&id, &connector).failed(errors, &what));
    }
    Ok(findings)
}
