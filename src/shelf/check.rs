//! Decodes a whole batch from a shelf: every digest, every header, every envelope.

use super::{PartFault, Shelf};
use crate::ahead::{self, Limits, MemoryHeld};
use crate::batch::index::{Index, IndexLine, Names};
use crate::batch::manifest::{Manifest, VolumeEntry};
use crate::batch::volume::{self, EnvelopeTaker};
use crate::lack::{self, Lack, Unread};
use crate::limits::{VOLUME_PACKED_MAX, WINDOW_LOG};
use crate::report::Observer;

/// Bytes that all volumes in work hold: one volume is always allowed, several only within the bound.
const MEMORY_BYTES: u64 = VOLUME_PACKED_MAX + (1 << WINDOW_LOG);

/// A fault and the file that has it.
pub type NamedFault = (String, PartFault);

/// Gets each envelope whose digest matches: its ordinal and its bytes.
pub type EachEnvelope<'a> = &'a (dyn Fn(usize, &[u8]) + Sync);

/// Decodes the batch of this manifest, several volumes at a time if there are threads. With `each`, it keeps whole
/// envelopes in memory, and the index keeps its names.
///
/// # Errors
/// Every file that is missing, cut, invalid or contrary to the manifest; or what the machine lacks: then nothing is
/// known about the batch.
pub fn check_batch(
    shelf: &impl Shelf,
    manifest: &Manifest,
    threads: usize,
    each: Option<EachEnvelope<'_>>,
    observer: &dyn Observer,
) -> Result<Index, Unread<Vec<NamedFault>>> {
    let names = if each.is_some() { Names::Keep } else { Names::Drop };
    let index = lack::apart(read_index(shelf, manifest, names))?;
    let lines: Vec<(usize, &[IndexLine])> = match &index {
        Ok(index) => index.by_volume(manifest).collect(),
        Err(_) => Vec::new(),
    };
    let weights: Vec<u64> = manifest.volumes.iter().map(|volume| volume.bytes + (1 << WINDOW_LOG)).collect();
    let limits =
        Limits { beside: ahead::beside(threads), weight: MEMORY_BYTES, items: usize::MAX, held: MemoryHeld::InWork };
    let check = |at: usize| check_volume(shelf, &manifest.volumes[at], lines.get(at).copied(), each, observer);
    let mut faults = Vec::new();
    ahead::in_order(&weights, limits, check, |at, checked| {
        let fault = lack::apart(checked)?.err();
        faults.extend(fault.map(|fault| (manifest.volumes[at].name.clone(), fault)));
        Ok::<(), Lack>(())
    })?;
    match index {
        Ok(index) if faults.is_empty() => Ok(index),
        Ok(_) => Err(Unread::Fault(faults)),
        Err(fault) => {
            faults.insert(0, (manifest.index.name.clone(), fault));
            Err(Unread::Fault(faults))
        }
    }
}

/// The index of a batch, read from a shelf and checked against its manifest.
///
/// # Errors
/// Why the index cannot be used.
pub fn read_index(shelf: &impl Shelf, manifest: &Manifest, names: Names) -> Result<Index, Unread<PartFault>> {
    let packed = shelf.fetch(&manifest.index_part())?;
    Index::read(&packed, manifest, names).map_err(|unread| unread.map_fault(|lie| PartFault::Lie(lie.to_string())))
}

/// Passes the envelopes at these positions of a batch to `each`, in order, until it stops. Volumes without any of them
/// are not read.
///
/// # Errors
/// The first file that cannot be used.
pub fn envelopes_at(
    shelf: &impl Shelf,
    manifest: &Manifest,
    places: &[usize],
    each: &mut dyn FnMut(usize, Vec<u8>) -> bool,
) -> Result<(), Unread<NamedFault>> {
    let named = |name: &str, unread: Unread<PartFault>| unread.map_fault(|fault| (name.to_owned(), fault));
    let index = read_index(shelf, manifest, Names::Drop).map_err(|unread| named(&manifest.index.name, unread))?;
    let mut left = places;
    for (volume, (first, lines)) in manifest.volumes.iter().zip(index.by_volume(manifest)) {
        let here = left.partition_point(|place| *place < first + lines.len());
        let (wanted, rest) = left.split_at(here);
        left = rest;
        if wanted.is_empty() {
            continue;
        }
        let packed = shelf.fetch(&volume.part()).map_err(|unread| named(&volume.name, unread))?;
        let mut taker = Picking { wanted, at: first, bytes: Vec::new(), each, goes_on: true };
        let read = volume::read(&packed, lines, first, &mut taker);
        let goes_on = taker.goes_on;
        read.map_err(|unread| named(&volume.name, unread.map_fault(|fault| PartFault::Lie(fault.to_string()))))?;
        if !goes_on {
            break;
        }
    }
    Ok(())
}

/// Keeps the bytes of wanted envelopes only.
struct Picking<'a> {
    wanted: &'a [usize],
    /// The envelope that is being read.
    at: usize,
    bytes: Vec<u8>,
    each: &'a mut dyn FnMut(usize, Vec<u8>) -> bool,
    goes_on: bool,
}

impl EnvelopeTaker for Picking<'_> {
    fn piece(&mut self, piece: &[u8], whole: u64) -> Result<(), Lack> {
        if self.wanted.first() == Some(&self.at) {
            lack::reserve(&mut self.bytes, whole)?;
            self.bytes.extend_from_slice(piece);
        }
        Ok(())
    }

    fn complete(&mut self, ordinal: usize) -> bool {
        self.at = ordinal + 1;
        if self.wanted.first() == Some(&ordinal) {
            self.wanted = &self.wanted[1..];
            self.goes_on = (self.each)(ordinal, std::mem::take(&mut self.bytes));
        }
        self.goes_on && !self.wanted.is_empty()
    }
}

/// Checks one volume; if the index could not be read, only its digest.
fn check_volume(
    shelf: &impl Shelf,
    entry: &VolumeEntry,
    lines: Option<(usize, &[IndexLine])>,
    each: Option<EachEnvelope<'_>>,
    observer: &dyn Observer,
) -> Result<(), Unread<PartFault>> {
    let packed = shelf.fetch(&entry.part())?;
    let Some((first, lines)) = lines else { return Ok(()) };
    let mut taker = Counting { each, envelope: Vec::new(), observer };
    volume::read(&packed, lines, first, &mut taker)
        .map_err(|unread| unread.map_fault(|fault| PartFault::Lie(fault.to_string())))
}

struct Counting<'a> {
    each: Option<EachEnvelope<'a>>,
    envelope: Vec<u8>,
    observer: &'a dyn Observer,
}

impl EnvelopeTaker for Counting<'_> {
    fn piece(&mut self, piece: &[u8], whole: u64) -> Result<(), Lack> {
        self.observer.advance(piece.len() as u64);
        if self.each.is_some() {
            lack::reserve(&mut self.envelope, whole)?;
            self.envelope.extend_from_slice(piece);
        }
        Ok(())
    }

    fn complete(&mut self, ordinal: usize) -> bool {
        if let Some(each) = self.each {
            each(ordinal, &self.envelope);
            self.envelope.clear();
        }
        true
    }
}
