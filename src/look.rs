//! look: one envelope of a batch in the inbox, for a person who wants to see it.

use crate::error::{Error, Result};
use crate::lack;
use crate::ledger::importer::IncomingRow;
use crate::shelf::check::envelopes_at;
use crate::shelf::inbox::Inbox;
use crate::site::Site;

/// Reads an envelope by its number in the batch, from 1. Index and volume are digested before they are unpacked, and the
/// envelope before it is handed out.
///
/// # Errors
/// The batch is not in the inbox any more, has no such envelope, or is not what its manifest names.
pub fn envelope(site: &Site, row: &IncomingRow, ordinal: usize) -> Result<Vec<u8>> {
    let manifest = &row.manifest;
    let shelf = Inbox::new(site.inbox()).shelf(manifest.stream, manifest.sequence, row.sha256);
    if row.pruned {
        return Err(Error::failed(format!("batch {} is not in the inbox any more", manifest.sequence))
            .at(shelf.dir())
            .advise("delivered batches stay as long as keep says; import it again with --redeliver"));
    }
    let mut found = None;
    let read = envelopes_at(&shelf, manifest, &[ordinal], &mut |_, bytes| {
        found = Some(bytes);
        false
    });
    lack::apart(read)?
        .map_err(|(name, fault)| Error::failed(format!("cannot read {name}: {fault}")).at(shelf.dir()))?;
    found.ok_or_else(|| {
        Error::usage(format!("batch {} has no envelope {ordinal}", manifest.sequence))
            .advise(format!("it has {}, counted from 1", manifest.totals.envelopes))
    })
}
