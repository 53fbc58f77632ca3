//! look: one envelope of a batch in the inbox, for a person who wants to see it.

use super::take::folder;
use crate::batch::index::Names;
use crate::batch::manifest::Part;
use crate::batch::volume::{self, EnvelopeTaker};
use crate::error::{Error, Result};
use crate::lack::{self, Lack};
use crate::ledger::delivered::IncomingRow;
use crate::shelf::Shelf;
use crate::shelf::check::read_index;
use crate::shelf::kept::KeptShelf;
use crate::site::Site;

/// Reads an envelope by its number in the batch, from 1. Index and volume are digested before they are unpacked, and the
/// envelope before it is handed out.
///
/// # Errors
/// The batch is not in the inbox any more, has no such envelope, or is not what its manifest names.
pub fn envelope(site: &Site, row: &IncomingRow, ordinal: usize) -> Result<Vec<u8>> {
    let dir = folder(site, row.batch_id());
    if row.pruned {
        return Err(Error::failed(format!("batch {} is not in the inbox any more", row.manifest.sequence))
            .at(&dir)
            .advise("delivered batches stay as long as keep says; import it again with --redeliver"));
    }
    let shelf = KeptShelf::new(dir.clone());
    let spoiled = |name: &str, why: String| Error::failed(format!("cannot read {name}: {why}")).at(&dir);
    let name = &row.manifest.index.name;
    let index = lack::apart(read_index(&shelf, &row.manifest, Names::Drop))?
        .map_err(|fault| spoiled(name, fault.to_string()))?;
    let mut volumes = row.manifest.volumes.iter().zip(index.by_volume(&row.manifest));
    let Some((entry, (first, lines))) =
        volumes.find(|(_, (first, lines))| (*first..first + lines.len()).contains(&ordinal))
    else {
        return Err(Error::usage(format!("batch {} has no envelope {ordinal}", row.manifest.sequence))
            .advise(format!("it has {}, counted from 1", index.lines.len())));
    };
    let part = Part { name: &entry.name, bytes: entry.bytes, sha256: entry.sha256 };
    let packed = lack::apart(shelf.fetch(&part))?.map_err(|fault| spoiled(&entry.name, fault.to_string()))?;
    let mut wanted = Wanted { ordinal, bytes: Vec::new(), found: false };
    lack::apart(volume::read(&packed, lines, first, &mut wanted))?
        .map_err(|fault| spoiled(&entry.name, fault.to_string()))?;
    Ok(wanted.bytes)
}

/// Keeps one envelope and ends behind it.
struct Wanted {
    ordinal: usize,
    bytes: Vec<u8>,
    found: bool,
}

impl EnvelopeTaker for Wanted {
    fn piece(&mut self, piece: &[u8], whole: u64) -> std::result::Result<(), Lack> {
        if self.bytes.is_empty() {
            lack::reserve(&mut self.bytes, whole)?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn complete(&mut self, ordinal: usize) -> bool {
        self.found = ordinal == self.ordinal;
        if !self.found {
            self.bytes.clear();
        }
        !self.found
    }
}
