//! Every bit and every length: of a small batch's manifest, signature and index, and of a volume of 64 KiB.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use airpouch::batch::Checked;
use airpouch::batch::index::{Index, Names};
use airpouch::batch::manifest::Manifest;
use airpouch::batch::volume::{self, EnvelopeTaker};
use airpouch::digest::Digest;
use airpouch::lack::Lack;
use airpouch::trust::{PrivateKey, Signature, SignatureFile, TrustStore, Unverified};

use super::{three, verify, world};
use crate::builder::{Batch, Builder, Item};
use crate::support::SEED;

/// Bits that there must have been at least.
const BITS_MIN: u64 = 500_000;
/// Of a volume's bits, one in so many is also decoded, as if it had been signed so.
const DECODED_EACH: usize = 97;

struct Subject {
    batch: Batch,
    store: TrustStore,
    manifest: Manifest,
}

impl Subject {
    /// A batch whose volume is some 64 KiB: text that does not compress.
    fn new() -> Self {
        let noise = |at: u64| {
            let digests = (0..512).map(|n| crate::builder::sha256(format!("{at}/{n}").as_bytes()));
            crate::builder::envelope(&format!(
                r#"{{"type": "indicator", "id": "indicator--{at}", "x": "{}"}}"#,
                digests.collect::<String>()
            ))
        };
        let items = (1..=4).map(|at| Item::new(at, &format!("{at}.json"), noise(at))).collect();
        let batch = Builder::new(items).signed_by(&[SEED]).build();
        let store = TrustStore::of_keys(&[PrivateKey::from_seed(SEED).public()]);
        let manifest = Manifest::parse(batch.bytes(".manifest")).unwrap();
        Self { batch, store, manifest }
    }

    fn authentic(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let signature = Signature::from_bytes(signature).unwrap();
        let file = SignatureFile { name: self.batch.name(".sig"), signature, named: true };
        self.store.authenticate(Unverified::new(bytes.to_vec(), vec![file])).is_ok()
    }
}

/// Calls `each` for every bit, in two threads, with the bytes in which it is another one.
fn every_bit(bytes: &[u8], each: impl Fn(usize, Vec<u8>) + Sync) -> u64 {
    let (next, count) = (AtomicUsize::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(256, Ordering::Relaxed);
                    if from >= bytes.len() * 8 {
                        break;
                    }
                    for bit in from..(from + 256).min(bytes.len() * 8) {
                        let mut flipped = bytes.to_vec();
                        flipped[bit / 8] ^= 1 << (bit % 8);
                        each(bit, flipped);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    count.into_inner()
}

struct Envelopes(Vec<Digest>, Vec<u8>);

impl EnvelopeTaker for Envelopes {
    fn piece(&mut self, piece: &[u8], _: u64) -> Result<(), Lack> {
        self.1.extend_from_slice(piece);
        Ok(())
    }

    fn complete(&mut self, _: usize) -> bool {
        self.0.push(Digest::of(&std::mem::take(&mut self.1)));
        true
    }
}

/// The same bytes, as if a signer had named their digest.
fn as_named(bytes: Vec<u8>) -> Checked {
    let (size, digest) = (bytes.len() as u64, Digest::of(&bytes));
    Checked::new(bytes, size, digest).unwrap()
}

#[test]
fn any_one_changed_bit_is_found() {
    let subject = Subject::new();
    let (manifest, signature) = (subject.batch.bytes(".manifest"), subject.batch.bytes(".sig"));
    let (index, volume) = (subject.batch.bytes(".index.zst"), subject.batch.bytes(".v0001.tar.zst"));
    assert!((60 << 10..80 << 10).contains(&volume.len()), "{}", volume.len());
    assert!(subject.authentic(manifest, signature));
    let honest_index = Index::read(&as_named(index.to_vec()), &subject.manifest, Names::Keep).unwrap();
    let honest: Vec<Digest> = honest_index.lines.iter().map(|l| l.sha256).collect();

    let mut bits = every_bit(manifest, |bit, flipped| {
        assert!(!subject.authentic(&flipped, signature), "bit {bit} of the manifest");
        // Were it signed: what is read is in the one form of what it says, so it is no other writing of the honest one.
        if let Ok(read) = Manifest::parse(&flipped) {
            assert!(read.encode() == flipped && read != subject.manifest, "bit {bit} of the manifest");
        }
    });
    bits += every_bit(signature, |bit, flipped| {
        assert!(!subject.authentic(manifest, &flipped), "bit {bit} of the signature");
    });
    bits += every_bit(index, |bit, flipped| {
        assert!(subject.manifest.index_part().check(flipped.clone()).is_err(), "bit {bit} of the index");
        // Were its digest signed: it is refused, or it says the same.
        if let Ok(read) = Index::read(&as_named(flipped), &subject.manifest, Names::Keep) {
            assert!(read == honest_index, "bit {bit} of the index");
        }
    });
    let part = subject.manifest.parts().next().unwrap();
    let decoded = AtomicU64::new(0);
    bits += every_bit(volume, |bit, flipped| {
        if bit % DECODED_EACH == 0 || bit < 1024 || bit + 1024 > volume.len() * 8 {
            let mut taker = Envelopes(Vec::new(), Vec::new());
            let read = volume::read(&as_named(flipped.clone()), &honest_index.lines, 1, &mut taker);
            assert!(honest.starts_with(&taker.0), "bit {bit} of the volume: a false envelope was handed over");
            assert!(read.is_err() || taker.0 == honest, "bit {bit} of the volume");
            decoded.fetch_add(1, Ordering::Relaxed);
        }
        assert!(part.check(flipped).is_err(), "bit {bit} of the volume");
    });
    println!("COUNT single bits flipped: {bits}, of the volume decoded all the same: {}", decoded.into_inner());
    assert_eq!(bits, 8 * (manifest.len() + signature.len() + index.len() + volume.len()) as u64);
    assert!(bits >= BITS_MIN, "{bits}");
}

#[test]
fn any_file_cut_at_any_length_is_found() {
    let subject = Subject::new();
    let (manifest, signature) = (subject.batch.bytes(".manifest"), subject.batch.bytes(".sig"));
    let honest_index =
        Index::read(&as_named(subject.batch.bytes(".index.zst").to_vec()), &subject.manifest, Names::Keep).unwrap();
    let mut cuts = 0;
    for length in 0..manifest.len() {
        let cut = &manifest[..length];
        assert!(!subject.authentic(cut, signature) && Manifest::parse(cut).is_err(), "manifest of {length} bytes");
        assert!(airpouch::json::is_cut(cut), "a manifest of {length} bytes does not look cut");
        cuts += 1;
    }
    for part in subject.manifest.parts() {
        let whole = subject.batch.bytes(part.name);
        for length in 0..whole.len() {
            let cut = whole[..length].to_vec();
            assert_eq!(
                part.check(cut).err(),
                Some(airpouch::batch::NotAsNamed::Short),
                "{} of {length} bytes",
                part.name
            );
            cuts += 1;
            // Were its digest signed: no cut frame is taken for a whole one. Each length of the index, some of the volume.
            if part.name.ends_with(".index.zst") {
                assert!(Index::read(&as_named(whole[..length].to_vec()), &subject.manifest, Names::Keep).is_err());
            } else if length % 193 == 0 || length + 64 > whole.len() {
                let mut taker = Envelopes(Vec::new(), Vec::new());
                let read = volume::read(&as_named(whole[..length].to_vec()), &honest_index.lines, 1, &mut taker);
                assert!(read.is_err(), "a volume of {length} bytes");
            }
        }
    }
    println!("COUNT truncations: {cuts}");
    assert_eq!(
        cuts,
        subject.batch.files.iter().filter(|(n, _)| !n.ends_with(".sig")).map(|(_, b)| b.len()).sum::<usize>()
    );
}

#[test]
fn short_file_exits_3_and_invalid_file_exits_4() {
    let batch = three().build();
    let mut runs = 0;
    for (name, bytes) in &batch.files {
        for at in [0, 1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
            let world = world();
            batch.clone().damage(name, |b| b[at] ^= 0x10).place(&world.medium());
            // A manifest whose first bytes are others is none: only its signature says that one was here.
            verify(&world).exits(4).says_nothing_of("holds");
            let world = world_with(&batch.clone().damage(name, |b| b.truncate(at)));
            verify(&world).exits(3).says_nothing_of("holds");
            let world = world_with(&batch.clone().damage(name, |b| b.insert(at, b'{')));
            verify(&world).exits(4).says_nothing_of("holds");
            runs += 3;
        }
        let world = world_with(&batch.clone().without(name));
        verify(&world).exits(3).says_nothing_of("holds");
        runs += 1;
    }
    assert_eq!(runs, 64);
}

fn world_with(batch: &Batch) -> crate::support::World {
    let world = world();
    batch.place(&world.medium());
    world
}
