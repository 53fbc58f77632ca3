//! The list of the objects of a batch: made while its envelopes are gone through, kept once it is done.

use super::Delivering;
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::importer::{IncomingRow, ObjectList};
use crate::objects::{ListDraft, MadeList, ObjectKeys};
use crate::shelf::indexes::Indexes;

impl Delivering<'_> {
    /// Lists the objects of an envelope, where a list is made.
    pub(super) fn list(&mut self, ordinal: usize, objects: ObjectKeys) {
        if let Some(draft) = &mut self.objects {
            draft.add(ordinal, objects);
        }
    }

    /// Writes the list of the objects of a batch, before the ledger says that it is there.
    pub(super) fn keep_list(&mut self, row: &IncomingRow) -> Result<ObjectList> {
        let (bytes, records, unread) = match self.objects.take().map(ListDraft::finish) {
            None => return Ok(ObjectList::Off),
            Some(MadeList::TooMany) => return Ok(ObjectList::TooMany),
            Some(MadeList::List { bytes, records, unread }) => (bytes, records, unread),
        };
        if records > 0 {
            let indexes = Indexes::new(self.site.indexes());
            indexes.of(row.manifest.stream, row.manifest.sequence, row.sha256).write_list(&bytes)?;
        }
        Ok(ObjectList::Kept { records, sha256: Digest::of(&bytes), unread })
    }
}
