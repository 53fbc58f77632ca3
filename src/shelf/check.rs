//! Decodes a whole batch from a shelf: every digest, every header, every envelope.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use super::{PartFault, Shelf};
use crate::batch::index::{Index, IndexLine};
use crate::batch::manifest::{Manifest, VolumeEntry};
use crate::batch::volume::{self, EnvelopeTaker};
use crate::limits::{VOLUME_PACKED_MAX, WINDOW_LOG};
use crate::report::Observer;

/// A fault and the file that has it.
pub type NamedFault = (String, PartFault);

/// Is handed each envelope whose digest held: its ordinal and its bytes.
pub type EachEnvelope<'a> = &'a (dyn Fn(usize, &[u8]) + Sync);

/// Decodes the batch of this manifest, several volumes at a time. With `each`, envelopes are kept whole for it.
///
/// # Errors
/// Every file that is missing, cut, false or lying.
pub fn check_batch(
    shelf: &impl Shelf,
    manifest: &Manifest,
    threads: usize,
    each: Option<EachEnvelope<'_>>,
    observer: &dyn Observer,
) -> Result<Index, Vec<NamedFault>> {
    let index = read_index(shelf, manifest);
    let lines: Vec<(usize, &[IndexLine])> = match &index {
        Ok(index) => index.by_volume(manifest).collect(),
        Err(_) => Vec::new(),
    };
    let faults = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let memory = Memory::new();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, manifest.volumes.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(volume) = manifest.volumes.get(at) else { break };
                    let _room = memory.take(volume.bytes + (1 << WINDOW_LOG));
                    let checked = check_volume(shelf, volume, lines.get(at).copied(), each, observer);
                    if let Err(fault) = checked {
                        faults.lock().expect("no thread panics with it").push((volume.name.clone(), fault));
                    }
                }
            });
        }
    });
    let mut faults = faults.into_inner().expect("no thread panics with it");
    faults.sort_by(|a, b| a.0.cmp(&b.0));
    match index {
        Ok(index) if faults.is_empty() => Ok(index),
        Ok(_) => Err(faults),
        Err(fault) => {
            faults.insert(0, (manifest.index.name.clone(), fault));
            Err(faults)
        }
    }
}

/// The index of a batch, read from a shelf and held against its manifest.
///
/// # Errors
/// Why the index cannot be used.
pub fn read_index(shelf: &impl Shelf, manifest: &Manifest) -> Result<Index, PartFault> {
    let packed = shelf.fetch(&manifest.index_part())?;
    Index::read(&packed, manifest).map_err(|lie| PartFault::Lie(lie.to_string()))
}

/// Checks one volume; where the index could not be read, its digest only.
fn check_volume(
    shelf: &impl Shelf,
    entry: &VolumeEntry,
    lines: Option<(usize, &[IndexLine])>,
    each: Option<EachEnvelope<'_>>,
    observer: &dyn Observer,
) -> Result<(), PartFault> {
    let part = crate::batch::manifest::Part { name: &entry.name, bytes: entry.bytes, sha256: entry.sha256 };
    let packed = shelf.fetch(&part)?;
    let Some((first, lines)) = lines else { return Ok(()) };
    let mut taker = Counting { each, envelope: Vec::new(), observer };
    volume::read(&packed, lines, first, &mut taker).map_err(|fault| PartFault::Lie(fault.to_string()))
}

struct Counting<'a> {
    each: Option<EachEnvelope<'a>>,
    envelope: Vec<u8>,
    observer: &'a dyn Observer,
}

impl EnvelopeTaker for Counting<'_> {
    fn piece(&mut self, piece: &[u8], _: u64) {
        self.observer.advance(piece.len() as u64);
        if self.each.is_some() {
            self.envelope.extend_from_slice(piece);
        }
    }

    fn complete(&mut self, ordinal: usize) -> bool {
        if let Some(each) = self.each {
            each(ordinal, &self.envelope);
            self.envelope.clear();
        }
        true
    }
}

/// Bounds what the volumes in work hold together: one may always be, several only within the bound.
struct Memory {
    held: Mutex<u64>,
    freed: Condvar,
}

const MEMORY_BYTES: u64 = VOLUME_PACKED_MAX + (1 << WINDOW_LOG);

impl Memory {
    fn new() -> Self {
        Self { held: Mutex::new(0), freed: Condvar::new() }
    }

    fn take(&self, bytes: u64) -> Room<'_> {
        let mut held = self.held.lock().expect("no thread panics with it");
        while *held > 0 && *held + bytes > MEMORY_BYTES {
            held = self.freed.wait(held).expect("no thread panics with it");
        }
        *held += bytes;
        Room { memory: self, bytes }
    }
}

struct Room<'a> {
    memory: &'a Memory,
    bytes: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if let Ok(mut held) = self.memory.held.lock() {
            *held -= self.bytes;
        }
        self.memory.freed.notify_all();
    }
}
