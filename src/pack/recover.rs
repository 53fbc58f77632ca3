//! What an earlier run left: sealed batches to sign, unsealed files to sweep, a ledger older than its batches.

use std::fs;
use std::path::Path;

use super::batch_line;
use crate::batch::manifest::{Manifest, Succeeds};
use crate::batch::name;
use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::ledger::packed::StreamRow;
use crate::report::BatchLine;
use crate::shelf::check::read_index;
use crate::shelf::kept::KeptShelf;
use crate::shelf::medium::Medium;
use crate::stream::StreamId;
use crate::trust::{PrivateKey, PublicKey, Signed, TrustStore};

/// Signs every batch that is sealed and not packed, from the ledger's bytes.
pub(super) fn complete_sealed(ledger: &mut Ledger, outbox: &KeptShelf, keys: &[PrivateKey]) -> Result<Vec<BatchLine>> {
    let mut completed = Vec::new();
    for stream in ledger.streams()? {
        for batch in ledger.last_batches(&stream, 64)?.into_iter().filter(|b| !b.packed) {
            sign_and_place(ledger, outbox, &stream, &batch.manifest, &batch.bytes, keys)?;
            completed.push(batch_line(&batch.manifest, batch.sha256));
        }
    }
    Ok(completed)
}

/// Signs sealed bytes, verifies each signature, and places signatures and manifest, the manifest last.
pub(super) fn sign_and_place(
    ledger: &mut Ledger,
    outbox: &KeptShelf,
    stream: &StreamRow,
    manifest: &Manifest,
    bytes: &[u8],
    keys: &[PrivateKey],
) -> Result<()> {
    if let Some(lost) = manifest.parts().find(|p| !outbox.has(p)) {
        return Err(Error::failed("a sealed batch has lost a file; it cannot be signed")
            .at(&outbox.dir().join(lost.name))
            .advise("bring it back from a backup, or go on with a new stream: airpouch stream renew"));
    }
    for key in keys {
        let public = key.public();
        let signature = key.sign(bytes);
        if !public.verifies(bytes, &signature) {
            return Err(Error::failed("a signature made just now does not verify; nothing was placed"));
        }
        place_same(outbox, &name::signature(manifest.stream, manifest.sequence, &public.id()), &signature)?;
    }
    place_same(outbox, &name::manifest(manifest.stream, manifest.sequence), bytes)?;
    let signers: Vec<PublicKey> = keys.iter().map(PrivateKey::public).collect();
    ledger.mark_packed(stream, manifest.sequence, &signers)
}

/// Places a file, or finds that it was placed before the crash.
fn place_same(outbox: &KeptShelf, name: &str, bytes: &[u8]) -> Result<()> {
    let path = outbox.dir().join(name);
    match disk::read_bounded(&path, bytes.len() as u64) {
        Ok(there) if there == bytes => Ok(()),
        Ok(_) => Err(Error::failed("another file lies under the name of a sealed batch")
            .at(&path)
            .advise("move it away; it is not airpouch's")),
        Err(_) => disk::write_new(outbox.dir(), name, bytes),
    }
}

/// Removes what a run left that ended before it sealed: files of numbers that are not used.
pub(super) fn sweep(ledger: &Ledger, outbox: &KeptShelf) -> Result<()> {
    let mut used: Vec<(String, u64)> = Vec::new();
    for stream in &ledger.streams()? {
        used.push((stream.stream.prefix(), ledger.last_sequence(stream)?.map_or(0, |s| s.get())));
    }
    for name in outbox.names()? {
        let Some((prefix, sequence)) = name::parse(&name) else { continue };
        let is_used = used.iter().any(|(p, last)| p == prefix && sequence.get() <= *last);
        if !is_used || name.ends_with(".partial") {
            let path = outbox.dir().join(&name);
            fs::remove_file(&path).map_err(|e| Error::io("remove what an unfinished run left", &path, &e))?;
        }
    }
    Ok(())
}

/// Stops if outbox or medium show a batch that this exporter signed and its ledger does not know.
///
/// # Errors
/// They do; or the system refused.
pub fn refuse_older_ledger(
    ledger: &Ledger,
    outbox: &KeptShelf,
    medium: Option<&Path>,
    signers: &[PublicKey],
) -> Result<()> {
    match beyond(ledger, outbox, medium, signers)?.first() {
        None => Ok(()),
        Some(signed) => {
            Err(Error::failed("the ledger is older than what it has issued: it does not know a batch that is there")
                .at_place(&format!("batch {} of stream {}", signed.sequence, signed.stream))
                .advise("if the ledger came from a backup, go on with a new stream: airpouch stream renew"))
        }
    }
}

/// Batches of ours, on outbox or medium, that the ledger does not know; by stream and number.
fn beyond(
    ledger: &Ledger,
    outbox: &KeptShelf,
    medium: Option<&Path>,
    signers: &[PublicKey],
) -> Result<Vec<Signed<Manifest>>> {
    let mut last = Vec::new();
    for stream in &ledger.streams()? {
        last.push((stream.stream, ledger.last_sequence(stream)?.map_or(0, |s| s.get())));
    }
    let store = TrustStore::of_keys(signers);
    let mut out: Vec<Signed<Manifest>> = Vec::new();
    for (own, dir) in [(true, Some(outbox.dir())), (false, medium)] {
        let Some(dir) = dir else { continue };
        for sighting in Medium::scan(dir)?.sightings_beyond(&last) {
            let Ok(authentic) = store.authenticate(sighting.unverified) else { continue };
            let Ok(signed) = authentic.into_signed(Manifest::parse) else { continue };
            // A stream that the ledger does not know at all is another exporter's, unless it lies in our outbox.
            let known = last.iter().find(|(stream, _)| *stream == signed.stream);
            let is_beyond = known.map_or(own, |(_, last)| signed.sequence.get() > *last);
            if is_beyond && !out.iter().any(|s| s.sha256() == signed.sha256()) {
                out.push(signed);
            }
        }
    }
    out.sort_by_key(|s| (s.stream, s.sequence));
    Ok(out)
}

/// What `stream renew` did.
#[derive(Debug)]
pub struct Renewal {
    /// The new stream.
    pub stream: StreamId,
    /// Its zone.
    pub zone: String,
    /// What it goes on from.
    pub succeeds: Option<Succeeds>,
    /// Batches that outbox and medium held beyond the ledger.
    pub taken_in: Vec<BatchLine>,
}

/// Begins a new stream for a zone, after taking into the ledger what outbox and medium hold beyond it.
///
/// # Errors
/// There is no stream to go on from; the system or SQLite refused.
pub fn renew(
    ledger: &mut Ledger,
    outbox: &KeptShelf,
    medium: Option<&Path>,
    zone: &str,
    keys: &[PublicKey],
) -> Result<Renewal> {
    let mut signers = ledger.signers()?;
    signers.extend_from_slice(keys);
    let mut taken_in = Vec::new();
    for signed in beyond(ledger, outbox, medium, &signers)?.into_iter().filter(|s| s.zone == zone) {
        let row = match ledger.streams()?.into_iter().find(|s| s.stream == signed.stream) {
            Some(row) => row,
            None => ledger.begin_stream(signed.stream, zone, signed.succeeds)?,
        };
        let envelopes = envelopes_of(outbox, medium, &signed)?;
        ledger.take_in(&row, signed.bytes(), &signed, &envelopes)?;
        taken_in.push(batch_line(&signed, signed.sha256()));
    }
    let Some(old) = ledger.active_stream(zone)? else {
        return Err(Error::usage(format!("there is no stream for zone {zone} to go on from"))
            .advise("the first pack begins one"));
    };
    let last = ledger.last_batches(&old, 1)?.into_iter().next();
    let succeeds = last.map(|b| Succeeds { stream: old.stream, sequence: b.manifest.sequence, sha256: b.sha256 });
    let new = ledger.begin_stream(StreamId::from_random(disk::random()?), zone, succeeds)?;
    ledger.inherit_envelopes(&old, &new)?;
    Ok(Renewal { stream: new.stream, zone: zone.to_owned(), succeeds, taken_in })
}

/// The digests in a batch's index, wherever it lies; none if the index cannot be had: then its content is
/// packed again, and the importer sees that it has it.
fn envelopes_of(outbox: &KeptShelf, medium: Option<&Path>, signed: &Signed<Manifest>) -> Result<Vec<Digest>> {
    let mut index = read_index(outbox, signed).ok();
    if index.is_none()
        && let Some(dir) = medium
    {
        let scanned = Medium::scan(dir)?;
        let sightings = scanned.sightings();
        let sighting = sightings.iter().find(|s| s.unverified.sha256() == signed.sha256());
        index = sighting.and_then(|s| read_index(&scanned.shelf_of(s), signed).ok());
    }
    Ok(index.map(|i| i.lines.iter().map(|l| l.sha256).collect()).unwrap_or_default())
}
