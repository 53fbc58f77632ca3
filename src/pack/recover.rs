//! What an earlier run left: sealed batches to sign, unsealed files to sweep.

use crate::batch::name;
use crate::error::{Error, Result};
use crate::issued::Used;
use crate::ledger::exporter::{BatchRow, ExporterLedger, ExporterView, PackedState, Sealed, StreamRow};
use crate::report::BatchLine;
use crate::shelf::kept::{KeptShelf, ListedNames};
use crate::trust::{PrivateKey, PublicKey};

/// Signs every batch that is sealed and not packed, from the ledger's bytes.
pub(super) fn complete_sealed(
    ledger: &mut ExporterLedger,
    outbox: &KeptShelf,
    keys: &[PrivateKey],
) -> Result<Vec<BatchLine>> {
    let mut completed = Vec::new();
    for stream in ledger.streams()?.into_iter().filter(|s| s.active) {
        let lost = ledger.lost_numbers(&stream)?;
        let is_sealed =
            |b: &BatchRow| b.state == PackedState::Sealed && !lost.contains(b.sealed.manifest().sequence.get());
        for BatchRow { sealed, .. } in ledger.last_batches(&stream, 64)?.into_iter().filter(is_sealed) {
            sign_and_place(ledger, outbox, &stream, &sealed, keys)?;
            completed.push(BatchLine::of(sealed.manifest(), sealed.sha256()));
        }
    }
    Ok(completed)
}

/// Signs sealed bytes, verifies each signature, and places signatures and manifest, the manifest last.
pub(super) fn sign_and_place(
    ledger: &mut ExporterLedger,
    outbox: &KeptShelf,
    stream: &StreamRow,
    sealed: &Sealed,
    keys: &[PrivateKey],
) -> Result<()> {
    let (manifest, bytes) = (sealed.manifest(), sealed.bytes());
    if let Some(lost) = manifest.parts().find(|p| !outbox.has(p)) {
        return Err(Error::failed("a sealed batch has lost a file; it cannot be signed")
            .at(&outbox.dir().join(lost.name))
            .advise(format!(
                "bring it back from a backup; or pack again what is still in the source: airpouch pack --again {}; or continue with a new stream: airpouch stream renew",
                manifest.sequence
            )));
    }
    for key in keys {
        let public = key.public();
        let signature = key.sign(bytes);
        if !public.verifies(bytes, &signature) {
            return Err(Error::failed("a signature made just now does not verify; nothing was placed"));
        }
        outbox.place(&name::signature(manifest.stream, manifest.sequence, &public.id()), signature.bytes())?;
    }
    outbox.place(&name::manifest(manifest.stream, manifest.sequence), bytes)?;
    let signers: Vec<PublicKey> = keys.iter().map(PrivateKey::public).collect();
    ledger.record_packed(stream, BatchLine::of(manifest, sealed.sha256()), &signers)
}

/// Removes what a run left that ended before it sealed: files of numbers that are not used. Called only after
/// [`refuse_older_ledger`](crate::issued::refuse_older_ledger) has seen that none of them is signed or has a manifest.
pub(super) fn sweep(ledger: &ExporterView, outbox: &KeptShelf, names: &ListedNames) -> Result<()> {
    let used = Used::of(ledger)?;
    for name in names.all() {
        if name::of_partial(name).is_some() || !used.has_name(name) {
            outbox.remove(name)?;
        }
    }
    Ok(())
}
