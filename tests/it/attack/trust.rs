//! Keys that may not sign, and signatures that are none.

use std::fs;

use super::{all_of, bring, delivered, import, three, verify, world};
use crate::builder::{ZONE, published, sha256};
use crate::support::{SEED, World};

/// The identity as a public key: RFC 8032's equation holds for every message, with S = 0.
const WEAK_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n";

#[test]
fn batch_signed_by_a_stranger_is_refused() {
    let world = world();
    three().signed_by(&[[9; 32]]).build().place(&world.medium());
    verify(&world).exits(4).says("signed only by unknown keys");
    import(&world).exits(4).says("the batch was left where it is");
    assert!(delivered(&world).is_empty());
    assert!(crate::support::files(&world.path("importer/inbox")).is_empty());
}

#[test]
fn weak_key_in_the_trust_store_is_refused() {
    let world = world();
    fs::remove_file(world.path("trust/site-a.pub.pem")).unwrap();
    fs::write(world.path("trust/weak.pub.pem"), WEAK_PEM).unwrap();
    let forged = three().build().damage(".sig", |b| {
        b.fill(0);
        b[0] = 1;
    });
    // Under the weak key's own name, as its owner would give it.
    let id = weak_id();
    let forged = forged.renamed(|n| if n.ends_with(".sig") { format!("{}.{id}.sig", &n[..34]) } else { n.to_owned() });
    forged.place(&world.medium());
    verify(&world).exits(2).says("no usable public key").says("weak key");
    import(&world).exits(2).says("weak key");
    // Beside a good key it is warned about, and still signs nothing.
    world.key("site-a", SEED);
    verify(&world).exits(4).says("weak.pub.pem").says("signed only by unknown keys");
    import(&world).exits(4).says("signed only by unknown keys");
    // Listed in trust.toml it is an error.
    fs::write(world.path("trust/trust.toml"), "[[key]]\nfile = \"weak.pub.pem\"\n").unwrap();
    verify(&world).exits(2).says("weak key");
    assert!(delivered(&world).is_empty());
}

/// The first 16 hex digits of the SHA-256 of the weak key's DER.
fn weak_id() -> String {
    let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, 0x01];
    der.resize(44, 0);
    sha256(&der)[..16].to_owned()
}

#[test]
fn batch_signed_with_a_published_key_is_refused() {
    let world = world();
    fs::remove_dir_all(world.path("trust")).unwrap();
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/keys");
    three().signed_by(&[published('a')]).build().place(&world.medium());
    let verify = ["verify", "medium", "--trust", keys];
    world.run(verify).exits(2).says("published");
    world.run(verify.iter().chain(&["--test-keys"])).exits(0).prints("holds: batch 1");
    let import = ["import", "medium", "--to", "dir:out", "--site", "importer", "--trust", keys, "--zone", ZONE];
    world.run(import).exits(2).says("published");
    assert!(delivered(&world).is_empty());
    world.made("a.json");
    let key = format!("{keys}/test-a.key.pem");
    world.run(["pack", "src", "--site", "exporter", "--key", &key]).exits(2).says("anyone can sign with it");
    assert!(
        !world.path("exporter/outbox").exists() || crate::support::files(&world.path("exporter/outbox")).is_empty()
    );
}

fn two_are_needed() -> World {
    let world = world();
    world.key("site-b", [8; 32]);
    let rules = "need = 2\n\n[[key]]\nfile = \"site-a.pub.pem\"\n\n[[key]]\nfile = \"site-b.pub.pem\"\n";
    fs::write(world.path("trust/trust.toml"), rules).unwrap();
    world
}

#[test]
fn batch_of_two_signers_waits_until_the_second_one_signs() {
    let world = two_are_needed();
    let batch = three().signed_by(&[SEED, [8; 32]]).build();
    let other = batch.files.iter().filter(|(n, _)| n.ends_with(".sig")).nth(1).unwrap().0.clone();
    let first = batch.clone().without(&other);
    bring(&world, &[&first]).exits(3).says("is signed by 1 of the 2 different keys");
    assert!(delivered(&world).is_empty());
    bring(&world, &[&batch]).exits(0);
    assert_eq!(delivered(&world), all_of(&[&batch]));
}

#[test]
fn signer_who_signs_twice_counts_once() {
    let world = two_are_needed();
    let mut batch = three().build();
    let (name, signature) = (batch.name(".sig"), batch.bytes(".sig").to_vec());
    let id = airpouch::trust::PrivateKey::from_seed([8; 32]).public().id();
    batch.files.push((format!("{}.{id}.sig", &name[..34]), signature.clone()));
    batch.files.push((name.replace(".sig", ".again.sig"), signature));
    batch.place(&world.medium());
    verify(&world).exits(3).says("is signed by 1 of the 2 different keys");
    import(&world).exits(3).says("is signed by 1 of the 2 different keys");
    // Nor do the files that the importer kept of it count as two, or the medium once more.
    import(&world).exits(3).says("is signed by 1 of the 2 different keys");
    super::go_on(&world, &[]).exits(3).says("is signed by 1 of the 2 different keys");
    assert!(delivered(&world).is_empty());
}

#[test]
fn batch_without_its_second_signature_is_reported_until_it_arrives() {
    let world = two_are_needed();
    let batch = three().signed_by(&[SEED, [8; 32]]).build();
    let other = batch.files.iter().filter(|(n, _)| n.ends_with(".sig")).nth(1).unwrap().0.clone();
    bring(&world, &[&batch.clone().without(&other)]).exits(3).says("is signed by 1 of the 2 different keys");
    super::empty(&world.medium());
    for _ in 0..2 {
        let report = super::go_on(&world, &["--json"]).exits(3).json();
        let findings = report["report"]["findings"].as_array().unwrap();
        let codes: Vec<_> = findings.iter().map(|f| f["code"].as_str().unwrap()).collect();
        assert_eq!(codes, ["too-few-signatures"], "{report}");
        super::go_on(&world, &["--quiet"]).exits(3).says("let the owner of the other key sign it");
        world.run(["status", "--site", "importer"]).exits(0).prints("it has fewer signatures than trust.toml needs");
    }
    // The signature alone is not enough of a medium: it comes with the manifest that it is of.
    let mut second = batch.clone();
    second.files.retain(|(name, _)| name.ends_with(".manifest") || *name == other);
    bring(&world, &[&second]).exits(0);
    assert_eq!(delivered(&world), all_of(&[&batch]));
    super::go_on(&world, &[]).exits(0).says_nothing_of("signed by");
    world.run(["status", "--site", "importer"]).exits(0).says_nothing_of("fewer signatures");
}

#[test]
fn key_under_two_names_in_the_trust_store_is_refused() {
    let world = two_are_needed();
    fs::copy(world.path("trust/site-a.pub.pem"), world.path("trust/site-b.pub.pem")).unwrap();
    three().build().place(&world.medium());
    verify(&world).exits(2).says("lists one key twice");
    import(&world).exits(2).says("lists one key twice");
    assert!(delivered(&world).is_empty());
}

#[test]
fn batch_waiting_in_the_inbox_is_refused_after_its_key_is_revoked() {
    let world = world();
    let batch = three().build();
    batch.place(&world.medium());
    let stopped = world.import(&["--zone", ZONE, "--to", "dir:nowhere/out"]);
    stopped.exits(1);
    let streams =
        format!("[[key]]\nfile = \"site-a.pub.pem\"\nwho = \"Site A\"\nstreams = [\"{}\"]\nuntil = 0\n", batch.stream);
    world.key("site-b", [8; 32]);
    fs::write(world.path("trust/trust.toml"), streams + "\n[[key]]\nfile = \"site-b.pub.pem\"\n").unwrap();
    super::go_on(&world, &[]).exits(4).says("a key that is revoked");
    import(&world).exits(4).says("a key that is revoked");
    assert!(delivered(&world).is_empty());
}

#[test]
fn ended_key_cannot_begin_a_stream_that_succeeds_the_old_one() {
    use crate::builder::{object, raw, text};
    let world = world();
    let rules = format!(
        "[[key]]\nfile = \"site-a.pub.pem\"\nwho = \"Site A\"\nstreams = [\"{}\"]\nuntil = 3\n",
        crate::builder::STREAM
    );
    fs::write(world.path("trust/trust.toml"), rules).unwrap();
    let batch = three()
        .with(|b| b.stream = "aaaaaaaa-58a1-4d0b-9a6e-5b1f0c2d7e94".into())
        .manifest(|m| {
            let old = text(crate::builder::STREAM);
            m.set("succeeds", object([("stream", old), ("sequence", raw(3)), ("sha256", text(sha256(b"three")))]));
        })
        .build();
    batch.place(&world.medium());
    verify(&world).exits(4).says("a key that ended with number 3");
    import(&world).exits(4).says("a key that ended with number 3");
    assert!(delivered(&world).is_empty());
}

#[test]
fn stream_reserved_for_one_key_cannot_succeed_a_stream_of_another_key() {
    use crate::builder::{STREAM, object, raw, text};
    const OTHER: &str = "aaaaaaaa-58a1-4d0b-9a6e-5b1f0c2d7e94";
    let world = world();
    world.key("site-b", [8; 32]);
    let rules = format!(
        "[[key]]\nfile = \"site-a.pub.pem\"\nstreams = [\"{STREAM}\"]\n\n\
         [[key]]\nfile = \"site-b.pub.pem\"\nstreams = [\"{OTHER}\"]\n"
    );
    fs::write(world.path("trust/trust.toml"), rules).unwrap();
    let of_b = three().signed_by(&[[8; 32]]).with(|b| b.stream = OTHER.into()).build();
    let succeeds_b = |stream: &str| {
        let last = object([("stream", text(OTHER)), ("sequence", raw(1)), ("sha256", text(of_b.sha256()))]);
        let stream = stream.to_owned();
        three().signed_by(&[[8; 32]]).with(|b| b.stream = stream).manifest(|m| m.set("succeeds", last)).build()
    };
    let taken_over = succeeds_b(STREAM);
    taken_over.place(&world.medium());
    verify(&world).exits(4).says("signed by a key that may not sign this stream");
    import(&world).exits(4).says("signed by a key that may not sign this stream");
    assert!(delivered(&world).is_empty());
    // Also once the stream that it claims to go on from is here.
    bring(&world, &[&of_b]).exits(0);
    bring(&world, &[&taken_over]).exits(4).says("signed by a key that may not sign this stream");
    assert_eq!(delivered(&world), all_of(&[&of_b]));
    // The same claim by a stream that nobody is named for is how a renewed stream inherits.
    verify_of(&world, &succeeds_b("bbbbbbbb-58a1-4d0b-9a6e-5b1f0c2d7e94")).exits(0);
}

fn verify_of(world: &World, batch: &crate::builder::Batch) -> crate::support::Unjudged {
    super::empty(&world.medium());
    batch.place(&world.medium());
    verify(world)
}

#[test]
fn batch_for_another_zone_is_left_for_that_zone() {
    let world = world();
    three().build().place(&world.medium());
    let elsewhere = ["--zone", "elsewhere"];
    world.verify(&elsewhere).exits(3).says("is meant for zone restricted; this is zone elsewhere");
    world.import(&elsewhere).exits(3).says("is meant for zone restricted; this is zone elsewhere");
    assert!(delivered(&world).is_empty());
    // It was not taken either: its own zone's importer is another one.
    world.import_inbox(&elsewhere).exits(0);
    import(&world).exits(0);
    assert_eq!(delivered(&world).len(), 3);
}
