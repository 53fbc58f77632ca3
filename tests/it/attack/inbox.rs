//! A disk that spoils what is in custody already.

use std::fs;
use std::path::PathBuf;

use super::{all_of, delivered, go_on, import, three, verify, world};
use crate::builder::{Batch, ZONE};
use crate::support::World;

/// A world where a batch is in custody, and nothing of it is delivered: the destination was not there.
fn in_custody() -> (World, Batch) {
    let world = world();
    let batch = three().per_volume(1).build();
    batch.place(&world.medium());
    world.import(&["--zone", ZONE, "--to", "dir:nowhere/out"]).exits(1);
    (world, batch)
}

fn in_inbox(world: &World, end: &str) -> PathBuf {
    let folders = fs::read_dir(world.path("importer/inbox")).unwrap().map(|e| e.unwrap().path());
    let files = folders.flat_map(|f| fs::read_dir(f).unwrap().map(|e| e.unwrap().path()));
    files.into_iter().find(|p| p.to_string_lossy().ends_with(end)).unwrap_or_else(|| panic!("no {end} in the inbox"))
}

fn spoil(world: &World, end: &str) {
    let path = in_inbox(world, end);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Without the medium it stays told; with the medium it heals.
#[track_caller]
fn heals(world: &World, batch: &Batch) {
    assert!(delivered(world).iter().all(|d| batch.envelopes().contains(d)));
    // It is still missing, and that is said.
    go_on(world, &[]).exits_one_of(&[3, 4]);
    verify(world).exits(0);
    import(world).exits(0);
    assert_eq!(delivered(world), all_of(&[batch]));
}

#[test]
fn damaged_volume_in_the_inbox_is_healed_from_the_medium() {
    let (world, batch) = in_custody();
    spoil(&world, ".v0002.tar.zst");
    go_on(&world, &[]).exits(4).says("does not match its digest in the signed manifest");
    assert_eq!(delivered(&world), batch.envelopes()[..1]);
    heals(&world, &batch);
}

#[test]
fn missing_volume_in_the_inbox_is_healed_from_the_medium() {
    let (world, batch) = in_custody();
    fs::remove_file(in_inbox(&world, ".v0002.tar.zst")).unwrap();
    go_on(&world, &[]).exits(3).says("is missing");
    heals(&world, &batch);
}

#[test]
fn damaged_index_in_the_inbox_is_healed_from_the_medium() {
    let (world, batch) = in_custody();
    spoil(&world, ".index.zst");
    go_on(&world, &[]).exits(4).says("does not match its digest in the signed manifest");
    assert!(delivered(&world).is_empty());
    heals(&world, &batch);
}

#[test]
fn damaged_manifest_in_the_inbox_is_healed_from_the_medium() {
    let (world, batch) = in_custody();
    spoil(&world, ".manifest");
    go_on(&world, &[]).exits(4);
    assert!(delivered(&world).is_empty());
    import(&world).exits(0);
    assert_eq!(delivered(&world), all_of(&[&batch]));
}

#[test]
fn damaged_signature_in_the_inbox_is_healed_from_the_medium() {
    let (world, batch) = in_custody();
    spoil(&world, ".sig");
    go_on(&world, &[]).exits(4);
    assert!(delivered(&world).is_empty());
    import(&world).exits(0);
    assert_eq!(delivered(&world), all_of(&[&batch]));
}

#[test]
fn quarantined_envelope_changed_before_release_is_not_delivered() {
    use crate::builder::{Builder, Item, envelope, indicator};
    let world = world();
    let command = envelope(&indicator("x").replacen('{', "{\"opencti_operation\": \"delete\", ", 1));
    let batch = Builder::new(vec![Item::new(1, "x.json", command)]).signed_by(&[crate::support::SEED]).build();
    batch.place(&world.medium());
    import(&world).exits(3).says("quarantined");
    let digest = batch.envelopes()[0].clone();
    let kept = world.path("importer/quarantine").join(format!("{digest}.json"));
    let honest = fs::read(&kept).unwrap();
    fs::write(&kept, String::from_utf8_lossy(&honest).replace("delete", "merge!")).unwrap();
    world.run(["quarantine", "release", &digest, "--reason", "checked", "--site", "importer"]).exits(0);
    go_on(&world, &[]).exits(3).says("was changed after it was set aside");
    assert!(delivered(&world).is_empty());
    fs::write(&kept, honest).unwrap();
    go_on(&world, &[]).exits(0);
    assert_eq!(delivered(&world), all_of(&[&batch]));
}
