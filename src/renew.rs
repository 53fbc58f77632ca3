//! renew: a new stream that goes on from the last batch that is known, after a ledger was restored.

use std::path::Path;

use crate::batch::index::Names;
use crate::batch::name;
use crate::batch::signed::SignedBatch;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::issued::{Used, beyond};
use crate::lack;
use crate::ledger::exporter::{ExporterLedger, PackedState, StreamRow};
use crate::random;
use crate::report::{BatchLine, RenewReport};
use crate::shelf::Shelf;
use crate::shelf::check::read_index;
use crate::shelf::kept::KeptShelf;
use crate::shelf::medium::{Medium, Sighting};
use crate::stream::StreamId;
use crate::trust::PublicKey;

/// Begins a new stream for a zone, after taking into the ledger and the outbox what outbox and medium hold
/// beyond them.
///
/// # Errors
/// There is no stream to go on from; the system or SQLite refused.
#[expect(clippy::too_many_arguments, reason = "called at one place, by whoever has read all of them")]
pub fn renew(
    ledger: &mut ExporterLedger,
    outbox: &KeptShelf,
    medium: Option<&Path>,
    zone: &str,
    keys: &[PublicKey],
    at: &str,
) -> Result<RenewReport> {
    let mut signers = ledger.signers()?;
    signers.extend_from_slice(keys);
    let mut taken_in = Vec::new();
    let shelves: Vec<(bool, &Path)> = [(true, outbox.dir())].into_iter().chain(medium.map(|m| (false, m))).collect();
    for signed in beyond(&Used::of(ledger)?, &shelves, &signers)?.into_iter().filter(|s| s.zone == zone) {
        let row = match ledger.streams()?.into_iter().find(|s| s.stream == signed.stream) {
            Some(row) => row,
            None => ledger.begin_stream(signed.stream, zone, signed.succeeds)?,
        };
        if let Some(medium) = medium {
            bring_back(outbox, medium, &signed)?;
        }
        // What the outbox cannot carry is packed again; the importer sees if it has it.
        let is_whole = signed.parts().all(|p| outbox.has(&p));
        let index = lack::apart(read_index(outbox, &signed, Names::Drop))?.ok().filter(|_| is_whole);
        let envelopes: Vec<Digest> = index.map(|i| i.lines.iter().map(|l| l.sha256).collect()).unwrap_or_default();
        ledger.take_in(&row, &signed, &envelopes)?;
        taken_in.push(BatchLine::of(&signed, signed.sha256()));
    }
    let streams: Vec<StreamRow> = ledger.streams()?.into_iter().filter(|s| s.zone == zone).collect();
    let is_last = |s: &&StreamRow| !streams.iter().any(|o| o.succeeds.is_some_and(|b| b.stream == s.stream));
    let Some(old) = streams.iter().rfind(is_last) else {
        return Err(Error::usage(format!("there is no stream for zone {zone} to go on from"))
            .advise("the first pack begins one"));
    };
    let given_up = give_up_lost(ledger, outbox, old, at)?;
    // What is sealed and was never signed goes nowhere any more; its content is packed again.
    let succeeds = ledger.last_packed(old)?;
    let new = ledger.begin_successor(StreamId::from_random(random::bytes()?), old, succeeds)?;
    Ok(RenewReport { stream: new.stream, zone: zone.to_owned(), succeeds, taken_in, given_up })
}

/// Gives up what no carry took and the outbox has lost, of a stream and those before it: the new one is to have it.
fn give_up_lost(ledger: &mut ExporterLedger, outbox: &KeptShelf, old: &StreamRow, at: &str) -> Result<Vec<BatchLine>> {
    let mut given_up = Vec::new();
    for stream in ledger.lineage(old)? {
        for sequence in ledger.uncarried(&stream)?.iter() {
            let Some(batch) = ledger.batch(&stream, sequence)?.filter(|b| b.state == PackedState::Packed) else {
                continue;
            };
            let manifest = batch.sealed.manifest();
            if manifest.parts().any(|p| !outbox.has(&p)) {
                let envelopes = ledger.envelopes_of(&stream, manifest.sequence)?;
                ledger.give_up_batch(&stream, old, manifest.sequence, &envelopes, at)?;
                given_up.push(BatchLine::of(manifest, batch.sealed.sha256()));
            }
        }
    }
    Ok(given_up)
}

/// Copies a batch's files from a medium into the outbox, so that it can be carried again.
fn bring_back(outbox: &KeptShelf, medium: &Path, signed: &SignedBatch) -> Result<()> {
    let scanned = Medium::scan(medium, signed.signers().iter().map(PublicKey::id).collect())?;
    let is_it = |s: &Result<Sighting>| s.as_ref().map_or(true, |s| s.unverified.sha256() == signed.sha256());
    let Some(sighting) = scanned.sightings().find(is_it).transpose()? else { return Ok(()) };
    for part in signed.parts().filter(|p| !outbox.has(p)) {
        // What the medium has lost is lost for carrying, and no more than that.
        if let Ok(checked) = lack::apart(scanned.shelf_of(&sighting).fetch(&part))? {
            outbox.place(part.name, checked.bytes())?;
        }
    }
    for file in sighting.unverified.signatures() {
        if let Some(key) = signed.signers().iter().find(|key| key.verifies(signed.bytes(), &file.signature)) {
            outbox.place(&name::signature(signed.stream, signed.sequence, &key.id()), file.signature.bytes())?;
        }
    }
    outbox.place(&name::manifest(signed.stream, signed.sequence), signed.bytes())
}
