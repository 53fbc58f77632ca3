//! What an attacker or an accident does, one test each: the exit status, what was delivered, and what is said.
//!
//! Faults of the bytes of one batch are in `fixtures/invalid`, each with its own name. Here is what takes more than
//! one step, a file system, or another program.

mod bits;
mod connectors;
mod inbox;
mod medium;
mod streams;
mod trust;

use std::path::Path;

use crate::builder::{Batch, Builder, Chain, Item, STREAM, ZONE, sha256};
use crate::support::{SEED, Unjudged, World, files};

/// A world whose trust folder knows the key that signs here.
fn world() -> World {
    World::new()
}

/// A batch of three envelopes, signed by the trusted key.
fn three() -> Builder {
    Builder::three().signed_by(&[SEED])
}

/// A stream of the trusted key.
fn chain() -> Chain {
    let mut chain = Chain::new(STREAM);
    chain.signers = vec![SEED];
    chain
}

/// So many batches of one envelope.
fn batches(count: usize) -> Vec<Batch> {
    let mut chain = chain();
    (1..=count).map(|n| chain.next(&format!("{n}"))).collect()
}

fn verify(world: &World) -> Unjudged {
    world.verify(&["--zone", ZONE])
}

fn import(world: &World) -> Unjudged {
    world.import(&["--zone", ZONE])
}

/// Puts these batches alone on the medium and imports.
fn bring(world: &World, brought: &[&Batch]) -> Unjudged {
    bring_with(world, brought, &[])
}

fn bring_with(world: &World, brought: &[&Batch], more: &[&str]) -> Unjudged {
    empty(&world.medium());
    brought.iter().for_each(|b| b.place(&world.medium()));
    world.import(&[&["--zone", ZONE], more].concat())
}

fn go_on(world: &World, more: &[&str]) -> Unjudged {
    world.import_inbox(&[&["--zone", ZONE], more].concat())
}

fn empty(dir: &Path) {
    std::fs::remove_dir_all(dir).unwrap();
    std::fs::create_dir(dir).unwrap();
}

/// The digests of what was delivered, in the order of delivery.
fn delivered(world: &World) -> Vec<String> {
    let mut found: Vec<_> = files(&world.path("out"))
        .into_iter()
        .filter(|(name, _)| name != ".airpouch")
        .map(|(name, bytes)| {
            (std::fs::metadata(world.path("out").join(name)).unwrap().modified().unwrap(), sha256(&bytes))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, digest)| digest).collect()
}

/// The digests of these batches' envelopes.
fn all_of(batches: &[&Batch]) -> Vec<String> {
    batches.iter().flat_map(|b| b.envelopes()).collect()
}

fn one(name: &str) -> Vec<Item> {
    vec![Item::made(1, name)]
}
