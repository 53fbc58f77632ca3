//! What an earlier run left: sealed batches to sign, unsealed files to sweep, a ledger older than its batches.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::batch_line;
use crate::batch::index::Names;
use crate::batch::manifest::{Manifest, Succeeds};
use crate::batch::name;
use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result};
use crate::lack;
use crate::ledger::Ledger;
use crate::ledger::packed::{BatchRow, PackedState, StreamRow};
use crate::report::BatchLine;
use crate::shelf::Shelf;
use crate::shelf::check::read_index;
use crate::shelf::kept::{KeptShelf, Listed};
use crate::shelf::medium::{Medium, Sighting};
use crate::stream::{Sequence, StreamId};
use crate::trust::{PrivateKey, PublicKey, Signed, TrustStore};

/// Signs every batch that is sealed and not packed, from the ledger's bytes.
pub(super) fn complete_sealed(ledger: &mut Ledger, outbox: &KeptShelf, keys: &[PrivateKey]) -> Result<Vec<BatchLine>> {
    let mut completed = Vec::new();
    for stream in ledger.streams()?.into_iter().filter(|s| s.active) {
        let lost = ledger.lost_numbers(&stream)?;
        let sealed = |b: &BatchRow| b.state == PackedState::Sealed && !lost.contains(b.manifest.sequence.get());
        for batch in ledger.last_batches(&stream, 64)?.into_iter().filter(sealed) {
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
            .advise(format!(
                "bring it back from a backup; or pack what still lies in the source again: airpouch pack --again {}; or go on with a new stream: airpouch stream renew",
                manifest.sequence
            )));
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

/// Removes what a run left that ended before it sealed: files of numbers that are not used. Called only after
/// [`refuse_older_ledger`] has seen that none of them is signed or has a manifest.
pub(super) fn sweep(ledger: &Ledger, outbox: &KeptShelf, names: &Listed) -> Result<()> {
    let used = Used::of(ledger)?;
    for name in names.all() {
        if name.ends_with(".partial") || !used.has_name(name) {
            let path = outbox.dir().join(name);
            disk::remove_file(&path).map_err(|e| Error::io("remove what an unfinished run left", &path, &e))?;
        }
    }
    Ok(())
}

/// The last number that each stream of the ledger has used.
struct Used {
    by_stream: HashMap<StreamId, u64>,
    /// By the beginning of the stream's UUID, as names bear it.
    by_prefix: HashMap<String, u64>,
}

impl Used {
    fn of(ledger: &Ledger) -> Result<Self> {
        let by_stream: HashMap<StreamId, u64> = ledger.last_sequences()?.into_iter().collect();
        let by_prefix = by_stream.iter().map(|(stream, last)| (stream.prefix(), *last)).collect();
        Ok(Self { by_stream, by_prefix })
    }

    /// Whether a file of this name is of a number that is used; a name that is no batch's is none of our business.
    fn has_name(&self, name: &str) -> bool {
        let Some((prefix, sequence)) = name::parse(name) else { return true };
        self.by_prefix.get(prefix).is_some_and(|last| sequence.get() <= *last)
    }
}

/// Stops if outbox or medium show a batch that this exporter issued and its ledger does not know.
///
/// # Errors
/// They do; or the system refused.
pub fn refuse_older_ledger(
    ledger: &Ledger,
    outbox: &KeptShelf,
    names: &Listed,
    medium: Option<&Path>,
    signers: &[PublicKey],
) -> Result<()> {
    // In our own outbox a manifest or a signature needs no further proof: only a sealed batch ever had one.
    let used = Used::of(ledger)?;
    let issued = |n: &&String| (n.ends_with(".manifest") || n.ends_with(".sig")) && !used.has_name(n);
    if let Some(name) = names.all().iter().find(issued) {
        return Err(older(&outbox.dir().join(name).to_string_lossy(), None));
    }
    let Some(medium) = medium else { return Ok(()) };
    match beyond(&used, &[(false, medium)], signers)?.first() {
        None => Ok(()),
        Some(signed) => Err(older(&format!("batch {} of stream {}", signed.sequence, signed.stream), Some(medium))),
    }
}

fn older(place: &str, medium: Option<&Path>) -> Error {
    let on = medium.map_or_else(String::new, |m| format!(" --medium {}", crate::text::harmless(&m.to_string_lossy())));
    Error::failed("the ledger is out of date: a batch exists that it does not know (restored from a backup?)")
        .at_place(place)
        .advise(format!("if the ledger came from a backup, go on with a new stream: airpouch stream renew{on}"))
}

/// Batches of ours, on these shelves, that the ledger does not know; by stream and number. The first value of a shelf is
/// whether it is our own outbox: a stream that the ledger does not know at all is another exporter's, unless it lies there.
fn beyond(used: &Used, shelves: &[(bool, &Path)], signers: &[PublicKey]) -> Result<Vec<Signed<Manifest>>> {
    let store = TrustStore::of_keys(signers);
    let mut out: BTreeMap<(StreamId, Sequence, Digest), Signed<Manifest>> = BTreeMap::new();
    for (own, dir) in shelves {
        let is_beyond = |last: Option<&u64>, sequence: u64| last.map_or(*own, |last| sequence > *last);
        let named = |prefix: &str, sequence: u64| is_beyond(used.by_prefix.get(prefix), sequence);
        for sighting in Medium::scan(dir, store.ids())?.sightings_of(named) {
            let Ok(authentic) = store.authenticate(sighting?.unverified) else { continue };
            let Ok(signed) = authentic.into_signed(Manifest::parse) else { continue };
            if is_beyond(used.by_stream.get(&signed.stream), signed.sequence.get()) {
                out.entry((signed.stream, signed.sequence, signed.sha256())).or_insert(signed);
            }
        }
    }
    Ok(out.into_values().collect())
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
    /// Batches that no carry took and the outbox has lost: they will never come, and what was in them is packed again.
    pub given_up: Vec<BatchLine>,
}

/// Begins a new stream for a zone, after taking into the ledger and the outbox what outbox and medium hold
/// beyond them.
///
/// # Errors
/// There is no stream to go on from; the system or SQLite refused.
pub fn renew(
    ledger: &mut Ledger,
    outbox: &KeptShelf,
    medium: Option<&Path>,
    zone: &str,
    keys: &[PublicKey],
    at: &str,
) -> Result<Renewal> {
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
        let signed_by: Vec<PublicKey> = signed.signers().iter().cloned().collect();
        ledger.take_in(&row, signed.bytes(), &signed, &envelopes, &signed_by)?;
        taken_in.push(batch_line(&signed, signed.sha256()));
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
    let new = ledger.begin_successor(StreamId::from_random(disk::random()?), old, succeeds)?;
    Ok(Renewal { stream: new.stream, zone: zone.to_owned(), succeeds, taken_in, given_up })
}

/// Gives up what no carry took and the outbox has lost, of a stream and those before it: the new one is to have it.
fn give_up_lost(ledger: &mut Ledger, outbox: &KeptShelf, old: &StreamRow, at: &str) -> Result<Vec<BatchLine>> {
    let mut given_up = Vec::new();
    for stream in ledger.lineage(old)? {
        for sequence in ledger.uncarried(&stream)?.iter() {
            let Some(batch) = ledger.batch(&stream, sequence)?.filter(|b| b.state == PackedState::Packed) else {
                continue;
            };
            if batch.manifest.parts().any(|p| !outbox.has(&p)) {
                let envelopes = ledger.envelopes_of(&stream, batch.manifest.sequence)?;
                ledger.give_up_batch(&stream, old, batch.manifest.sequence, &envelopes, at)?;
                given_up.push(batch_line(&batch.manifest, batch.sha256));
            }
        }
    }
    Ok(given_up)
}

/// Copies a batch's files from a medium into the outbox, so that it can be carried again.
fn bring_back(outbox: &KeptShelf, medium: &Path, signed: &Signed<Manifest>) -> Result<()> {
    let scanned = Medium::scan(medium, signed.signers().iter().map(PublicKey::id).collect())?;
    let is_it = |s: &Result<Sighting>| s.as_ref().map_or(true, |s| s.unverified.sha256() == signed.sha256());
    let Some(sighting) = scanned.sightings().find(is_it).transpose()? else { return Ok(()) };
    for part in signed.parts().filter(|p| !outbox.has(p)) {
        // What the medium has lost is lost for carrying, and no more than that.
        if let Ok(checked) = lack::apart(scanned.shelf_of(&sighting).fetch(&part))? {
            place_same(outbox, part.name, checked.bytes())?;
        }
    }
    for file in sighting.unverified.signatures() {
        if let Some(key) = signed.signers().iter().find(|key| key.verifies(signed.bytes(), &file.bytes)) {
            place_same(outbox, &name::signature(signed.stream, signed.sequence, &key.id()), &file.bytes)?;
        }
    }
    place_same(outbox, &name::manifest(signed.stream, signed.sequence), signed.bytes())
}
