//! Notes which envelopes are being examined, so that the next run knows the one in whose examination a run died.
//!
//! `examining` in the site has a slot for each envelope in work, or for a group of small ones. A slot is written before
//! the examination and cleared after it, and never synced: what a process wrote remains when it dies, and that is
//! enough here. A wrong note does no harm: an innocent envelope in it is examined once in a process of its own, and
//! delivered in its turn. `suspects` keeps the envelopes that were found, with how many runs died, until they are
//! settled.

mod apart;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result};
use crate::limits::{EXAMINED_GROUP_MAX, EXAMINING_SLOTS_MAX, SETTINGS_FILE_MAX};
use crate::lock::lock;
use crate::site::Site;
use rustix::fs::OFlags;

pub use apart::{Apart, EXAMINE_APART, Program};

/// Bytes of a slot: how many digests, and the digests.
const SLOT_BYTES: usize = 8 + 32 * EXAMINED_GROUP_MAX;

/// The notes of a site about examinations.
pub struct Examining {
    site: PathBuf,
    slots: Arc<Slots>,
    suspects: Mutex<Suspects>,
}

#[derive(Default)]
struct Suspects {
    deaths: BTreeMap<Digest, u32>,
    is_changed: bool,
}

impl Examining {
    /// Reads what a dead run has left, and prepares for new notes.
    ///
    /// # Errors
    /// The system refused.
    #[expect(clippy::disallowed_methods, reason = "the notes are in the site, which nobody else can enter")]
    pub fn open(site: &Site) -> Result<Self> {
        let root = site.root().to_owned();
        let mut deaths = read_suspects(&root)?;
        let path = root.join("examining");
        let failed = |e: &std::io::Error| Error::io("note what is examined", &path, e);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.custom_flags(OFlags::NOFOLLOW.bits() as i32).open(&path).map_err(|e| failed(&e))?;
        disk::keep_owner_of(&path).map_err(|e| failed(&e))?;
        // An envelope in two slots has stopped only one run.
        let noted: BTreeSet<Digest> = noted_in(&file).map_err(|e| failed(&e))?.into_iter().collect();
        noted.iter().for_each(|sha256| *deaths.entry(*sha256).or_insert(0) += 1);
        let suspects = Mutex::new(Suspects { deaths, is_changed: !noted.is_empty() });
        let slots = Arc::new(Slots { file, free: Mutex::default() });
        let examining = Self { site: root, slots, suspects };
        examining.save()?;
        if !noted.is_empty() {
            examining.slots.file.set_len(0).map_err(|e| failed(&e))?;
        }
        Ok(examining)
    }

    fn suspects(&self) -> MutexGuard<'_, Suspects> {
        lock(&self.suspects)
    }

    /// How many runs have died while they examined it, since the last one that completed.
    pub fn deaths(&self, sha256: Digest) -> u32 {
        self.suspects().deaths.get(&sha256).copied().unwrap_or(0)
    }

    /// Notes that these are examined from now on, until the returned value is dropped. A note that cannot be written is
    /// left out: it must not stop the examination.
    pub fn note(&self, digests: &[Digest]) -> Option<Note> {
        let slots = Arc::clone(&self.slots);
        let slot = slots.take()?;
        let digests = &digests[..digests.len().min(EXAMINED_GROUP_MAX)];
        let mut bytes = (digests.len() as u64).to_le_bytes().to_vec();
        digests.iter().for_each(|sha256| bytes.extend(sha256.as_bytes()));
        let is_noted = slots.file.write_all_at(&bytes, (slot * SLOT_BYTES) as u64).is_ok();
        let note = Note { slots, slot };
        is_noted.then_some(note)
    }

    /// Removes these from the suspects, whatever the result was.
    pub fn settle(&self, digests: impl Iterator<Item = Digest>) {
        let mut suspects = self.suspects();
        if !suspects.deaths.is_empty() {
            for sha256 in digests {
                suspects.is_changed |= suspects.deaths.remove(&sha256).is_some();
            }
        }
    }

    /// Writes the suspects that are left for the next run.
    ///
    /// # Errors
    /// The system refused.
    pub fn save(&self) -> Result<()> {
        let mut suspects = self.suspects();
        if !std::mem::take(&mut suspects.is_changed) {
            return Ok(());
        }
        let lines: String = suspects.deaths.iter().map(|(sha256, deaths)| format!("{sha256} {deaths}\n")).collect();
        disk::write_over(&self.site, "suspects", lines.as_bytes())
    }
}

fn read_suspects(site: &Path) -> Result<BTreeMap<Digest, u32>> {
    let path = site.join("suspects");
    let bytes = match disk::read_bounded(&path, SETTINGS_FILE_MAX) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(Error::io("read", &path, &e)),
    };
    let line = |line: &str| {
        let (sha256, deaths) = line.split_once(' ')?;
        Some((sha256.parse().ok()?, deaths.parse().ok()?))
    };
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(line).collect())
}

/// The digests in all slots that were not cleared.
fn noted_in(file: &File) -> std::io::Result<Vec<Digest>> {
    let written = (file.metadata()?.len() as usize).min(EXAMINING_SLOTS_MAX * SLOT_BYTES);
    let mut bytes = vec![0; written.next_multiple_of(SLOT_BYTES)];
    file.read_exact_at(&mut bytes[..written], 0)?;
    let of_slot = |slot: &[u8]| {
        let (count, digests) = slot.split_at(8);
        let count = count.try_into().map_or(0, u64::from_le_bytes).min(EXAMINED_GROUP_MAX as u64) as usize;
        digests.chunks_exact(32).take(count).filter_map(Digest::from_bytes).collect::<Vec<_>>()
    };
    Ok(bytes.chunks_exact(SLOT_BYTES).flat_map(of_slot).collect())
}

struct Slots {
    file: File,
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    slots: Vec<usize>,
    /// The first slot that was never used.
    next: usize,
}

impl Slots {
    fn take(&self) -> Option<usize> {
        let mut free = lock(&self.free);
        if let Some(slot) = free.slots.pop() {
            return Some(slot);
        }
        let slot = free.next;
        free.next += usize::from(slot < EXAMINING_SLOTS_MAX);
        (slot < EXAMINING_SLOTS_MAX).then_some(slot)
    }
}

/// A note that an envelope, or a group of small ones, is being examined.
pub struct Note {
    slots: Arc<Slots>,
    slot: usize,
}

impl Drop for Note {
    fn drop(&mut self) {
        // A panic in an examination ends the run: keep the note.
        if std::thread::panicking() {
            return;
        }
        // If it cannot be cleared, the next run examines an innocent envelope apart, once.
        let _ = self.slots.file.write_all_at(&[0; 8], (self.slot * SLOT_BYTES) as u64);
        lock(&self.slots.free).slots.push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> (tempfile::TempDir, Site) {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().to_owned());
        (dir, site)
    }

    #[test]
    fn cleared_note_makes_no_suspect() {
        let (_dir, site) = site();
        let sha256 = Digest::of(b"a");
        let examining = Examining::open(&site).unwrap();
        drop(examining.note(&[sha256]).unwrap());
        drop(examining);
        assert_eq!(Examining::open(&site).unwrap().deaths(sha256), 0);
    }

    #[test]
    fn note_of_a_dead_run_makes_suspects_until_they_are_settled() {
        let (_dir, site) = site();
        let [a, b, c] = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes));
        for deaths in 1..=3 {
            let examining = Examining::open(&site).unwrap();
            assert_eq!(examining.deaths(b), deaths - 1);
            // As if the process had died: nothing is dropped.
            std::mem::forget(examining.note(&[a, b]).unwrap());
            std::mem::forget(examining.note(&[a]).unwrap());
            std::mem::forget(examining.note(&[c]).unwrap());
        }
        let examining = Examining::open(&site).unwrap();
        assert_eq!([a, b, c].map(|sha256| examining.deaths(sha256)), [3; 3]);
        examining.settle([a, c].into_iter());
        examining.save().unwrap();
        drop(examining);
        let examining = Examining::open(&site).unwrap();
        assert_eq!([a, b, c].map(|sha256| examining.deaths(sha256)), [0, 3, 0]);
    }

    #[test]
    fn notes_with_foreign_content_are_ignored() {
        let (dir, site) = site();
        std::fs::write(dir.path().join("examining"), vec![0xff; 3 * SLOT_BYTES + 5]).unwrap();
        std::fs::write(dir.path().join("suspects"), "what\nis this\n\u{0} 1\n").unwrap();
        let examining = Examining::open(&site).unwrap();
        assert_eq!(examining.deaths(Digest::of(b"a")), 0);
    }
}
