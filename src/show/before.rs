//! What came before a batch in its stream, to compare it with: by the ledger, and on the medium that it lies on.

use std::collections::{BTreeMap, BTreeSet};

use crate::batch::manifest::Manifest;
use crate::batch::signed::SignedBatch;
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::View;
use crate::report::BatchCard;
use crate::stream::StreamId;
use crate::trust::PublicKey;

/// With how many batches before it a batch is compared.
const COMPARED: usize = 30;

/// What came before a batch.
#[derive(Debug, Clone, Default)]
pub struct Earlier {
    /// The manifests, at most 30 of them, the newest first.
    pub manifests: Vec<Manifest>,
    /// The fingerprints of the keys that signed them, as far as they are known.
    pub signers: BTreeSet<Digest>,
    /// Whether any of them had a command or an internal type; none where nobody can tell.
    pub had_acts: Option<bool>,
}

/// What a site has from before a batch, in its stream and in those that this one goes on from.
///
/// # Errors
/// SQLite refused.
pub fn in_ledger(ledger: &View, batch: &Manifest) -> Result<Earlier> {
    let (mut earlier, mut had_acts) = (Earlier::default(), false);
    let mut next = Some((batch.stream, batch.sequence.get()));
    while let Some((stream, before)) = next.take() {
        let left = (COMPARED - earlier.manifests.len()) as u64;
        let manifests = match ledger {
            View::Exporter(ledger) => ledger.manifests_before(stream, before, left)?,
            View::Importer(ledger) => {
                earlier.signers.extend(ledger.signers_before(stream, before)?);
                had_acts |= ledger.acts_before(stream, before)?;
                ledger.manifests_before(stream, before, left)?
            }
        };
        let oldest = manifests.last().unwrap_or(batch);
        let succeeds = oldest.succeeds.filter(|_| oldest.stream == stream);
        earlier.manifests.extend(manifests);
        if earlier.manifests.len() < COMPARED {
            next = succeeds.map(|succeeds| (succeeds.stream, succeeds.sequence.get() + 1));
        }
    }
    earlier.had_acts = matches!(ledger, View::Importer(_)).then_some(had_acts);
    Ok(earlier)
}

/// What a medium has itself, batch after batch in the order of their numbers.
#[derive(Default)]
pub struct OnMedium(BTreeMap<StreamId, Earlier>);

impl OnMedium {
    /// A batch was looked at, or passed over without a card.
    pub fn add(&mut self, batch: &SignedBatch, card: Option<&BatchCard>) {
        let earlier =
            self.0.entry(batch.stream).or_insert_with(|| Earlier { had_acts: Some(false), ..Earlier::default() });
        earlier.manifests.insert(0, Manifest::clone(batch));
        earlier.manifests.truncate(COMPARED);
        earlier.signers.extend(batch.signers().iter().map(PublicKey::fingerprint));
        let has_acts = card.filter(|card| card.is_read).map(|card| !card.acts.is_empty());
        earlier.had_acts = either(earlier.had_acts, has_acts);
    }

    /// What came before a batch, here and by the ledger, if there is one.
    pub fn with(&self, batch: &Manifest, ledger: Option<Earlier>) -> Earlier {
        let Some(here) = self.0.get(&batch.stream) else { return ledger.unwrap_or_default() };
        let Some(mut both) = ledger else { return here.clone() };
        let is_known =
            |one: &Manifest| both.manifests.iter().any(|m| (m.stream, m.sequence) == (one.stream, one.sequence));
        let new: Vec<Manifest> = here.manifests.iter().filter(|one| !is_known(one)).cloned().collect();
        both.manifests.splice(0..0, new);
        both.manifests.truncate(COMPARED);
        both.signers.extend(&here.signers);
        both.had_acts = either(both.had_acts, here.had_acts);
        both
    }
}

/// Whether one of two is so; it is not known where neither is and one of them is not known.
fn either(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}
