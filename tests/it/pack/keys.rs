//! Keys that sign, and keys that cannot.

use std::fs;

use crate::support::{World, files};

#[test]
fn each_named_key_signs_and_openssl_verifies() {
    let world = World::new();
    world.key("site-b", [9; 32]);
    world.made("a.json");
    world.pack(&["--key", "keys/site-b.key.pem", "--key", "keys/site-a.key.pem"]).exits(0);
    let signatures: Vec<_> =
        files(&world.path("exporter/outbox")).into_iter().filter(|f| f.0.ends_with(".sig")).collect();
    assert_eq!(signatures.len(), 2, "one key named twice signs once");
    let verified = "for key in trust/*.pub.pem; do for sig in exporter/outbox/*.sig; do
        openssl pkeyutl -verify -pubin -inkey $key -rawin -in exporter/outbox/*.manifest -sigfile $sig || true; done; done";
    let said = world.sh(verified).exits(0).said();
    assert_eq!(said.matches("Verified Successfully").count(), 2, "{said}");
}

#[test]
fn encrypted_key_without_a_terminal_is_wrong_usage() {
    let world = World::new();
    world.made("a.json");
    fs::write(world.path("words"), "correct horse\n").unwrap();
    fs::write(world.path("wrong"), "correct mule\n").unwrap();
    world.run(["keygen", "--out", "keys/own", "--passphrase-file", "words"]).exits(0);
    let pack = ["pack", "src", "--key", "keys/own.key.pem", "--site", "exporter"];
    world.run(pack).exits(2).says("there is no terminal").says("--passphrase-file");
    world.run(pack.iter().chain(&["--passphrase-file", "wrong"])).exits(2).says("keys/own.key.pem");
    world.run(pack.iter().chain(&["--passphrase-file", "nowhere"])).exits(2).says("passphrase");
    assert!(!world.path("exporter/ledger.db").exists(), "nothing was begun without a key");
    world.run(pack.iter().chain(&["--passphrase-file", "words"])).exits(0).prints("packed batch 1");
}

#[test]
fn key_readable_by_others_is_warned_about_at_each_use() {
    let world = World::new();
    world.made("a.json");
    world.sh("chmod 644 keys/site-a.key.pem").exits(0);
    world.pack(&[]).exits(0).says("readable by others (mode 644)").says("chmod 600").prints("packed batch 1");
    world.pack(&[]).exits(0).says("readable by others");
    world.sh("chmod 400 keys/site-a.key.pem").exits(0);
    assert_eq!(world.pack(&[]).exits(0).said(), "");
}

#[test]
fn missing_or_wrong_key_is_named() {
    let world = World::new();
    world.made("a.json");
    let pack = |key: &str| world.run(["pack", "src", "--key", key, "--site", "exporter"]);
    pack("nowhere.pem").exits(2).says("nowhere.pem").says("airpouch keygen");
    pack("trust/site-a.pub.pem").exits(2).says("cannot be used").says("trust/site-a.pub.pem");
    world.run(["pack", "src", "--site", "exporter"]).exits(2).says("no key given").says("--key FILE");
    world.run(["pack", "--site", "exporter"]).exits(2).says("no source given");
    world.run(["pack", "nowhere", "--key", "keys/site-a.key.pem", "--site", "exporter"]).exits(1).says("nowhere");
}

#[test]
fn published_key_signs_nothing_without_test_keys() {
    let world = World::new();
    world.made("1.json");
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/keys/test-a.key.pem");
    let pack = ["pack", "src", "--key", key, "--site", "exporter"];
    world.run(pack).exits(2).says("published");
    world.run(pack.iter().chain(&["--test-keys"])).exits(0);
}
