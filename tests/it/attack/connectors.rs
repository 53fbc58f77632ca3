//! Whoever has a key of his own takes the connectors of another one's stream for his.

use std::fs;

use super::{all_of, bring, bring_with, chain, delivered, go_on, three, world};
use crate::builder::{Batch, Builder, Chain, Item, STREAM, ZONE, connector, envelope, indicator, object, raw, text};
use crate::support::{APPLICANT, SEED, World};

const OTHER: &str = "aaaaaaaa-58a1-4d0b-9a6e-5b1f0c2d7e94";
const OTHER_SEED: [u8; 32] = [8; 32];
/// The connector of every built batch.
const FEED: &str = "2d1b0a3c-6f0e-4b0e-9c55-0f7c0a6f7e11";
const OWN_FEED: &str = "b8b2e1d4-93a5-4b0e-a5c0-5d1f7e0d2c11";
const TAKE_OVER: &str = "--take-over=2d1b0a3c-6f0e-4b0e-9c55-0f7c0a6f7e11";
const SPOOL: [&str; 2] = ["--to", "spool:spool"];

fn two_keys() -> World {
    let world = world();
    world.key("site-b", OTHER_SEED);
    world
}

fn other_chain() -> Chain {
    let mut chain = Chain::new(OTHER);
    chain.signers = vec![OTHER_SEED];
    chain
}

/// What the other stream sends of the first one's connector.
fn of_the_other() -> Builder {
    other_chain().builder(vec![Item::made(9, "theirs")])
}

/// The same envelope, of a connector with this name.
fn named(batch: Builder, name: &'static str) -> Builder {
    batch.with(|b| {
        b.connectors = vec![connector(FEED, name)];
        for item in &mut b.items {
            let body = String::from_utf8(std::mem::take(&mut item.body)).unwrap();
            assert!(body.contains("Example Feed"));
            item.body = body.replacen("Example Feed", name, 1).into_bytes();
        }
    })
}

fn succeeds(batch: Builder, old: &Batch) -> Builder {
    let last = object([("stream", text(STREAM)), ("sequence", raw(1)), ("sha256", text(old.sha256()))]);
    batch.manifest(|m| m.set("succeeds", last))
}

fn registered_name(world: &World) -> String {
    let registration = fs::read(world.path("spool").join(FEED).join("connector.json")).unwrap();
    let registration: serde_json::Value = serde_json::from_slice(&registration).unwrap();
    registration["name"].as_str().unwrap().to_owned()
}

#[test]
fn connector_brought_by_another_key_and_stream_is_held_and_others_are_delivered() {
    let world = two_keys();
    let first = three().build();
    bring(&world, &[&first]).exits(0);
    let own = String::from_utf8(envelope(&indicator("own"))).unwrap().replacen(FEED, OWN_FEED, 1);
    let mut own = Item::new(10, "own.json", own.into_bytes());
    own.connector = 1;
    let own_digest = own.sha256();
    let mixed = of_the_other().with(|b| {
        b.items.push(own);
        b.connectors.push(connector(OWN_FEED, "Example Feed"));
    });
    let run = bring_with(&world, &[&mixed.build()], &["--json"]).exits(3);
    let findings = run.json()["report"]["findings"].as_array().unwrap().clone();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0]["code"], "connector-of-another-stream");
    for words in [FEED, STREAM, OTHER, TAKE_OVER] {
        assert!(run.said().contains(words), "{words}: {}", run.said());
    }
    assert_eq!(delivered(&world), [all_of(&[&first]), vec![own_digest]].concat());
}

#[test]
fn connector_of_another_stream_is_delivered_once_a_person_takes_it_over() {
    let world = two_keys();
    let mut theirs = other_chain();
    let (first, second) = (theirs.next("theirs 1"), theirs.next("theirs 2"));
    bring(&world, &[&three().build()]).exits(0);
    // Nothing was shown before: the word for it is no word for what nobody has seen.
    bring_with(&world, &[&first], &[TAKE_OVER]).exits(3).says("by which it came first, under another key");
    let other_id = format!("--take-over={OWN_FEED}");
    go_on(&world, &[&other_id]).exits(0);
    assert_eq!(delivered(&world).len(), 3);
    go_on(&world, &[TAKE_OVER]).exits(0).prints("delivered 1 envelope, all of them held before,");
    bring(&world, &[&second]).exits(0).prints("delivered 1 envelope");
    assert_eq!(delivered(&world)[3..], all_of(&[&first, &second]));
}

#[test]
fn take_over_without_an_id_applies_to_all_that_were_shown() {
    let world = two_keys();
    bring(&world, &[&three().build()]).exits(0);
    bring(&world, &[&of_the_other().build()]).exits(3);
    go_on(&world, &["--take-over"]).exits(0).prints("delivered 1 envelope");
}

#[test]
fn take_over_for_one_stream_does_not_apply_to_a_third_one() {
    let world = two_keys();
    world.key("site-c", [9; 32]);
    bring(&world, &[&three().build()]).exits(0);
    bring(&world, &[&of_the_other().build()]).exits(3);
    let mut third = Chain::new("bbbbbbbb-58a1-4d0b-9a6e-5b1f0c2d7e94");
    third.signers = vec![[9; 32]];
    let run = bring_with(&world, &[&third.next("third")], &[TAKE_OVER]).exits(3);
    run.says("of stream bbbbbbbb-58a1-4d0b-9a6e-5b1f0c2d7e94 belongs to")
        .prints("delivered 1 envelope, all of them held before,");
}

#[test]
fn connector_of_another_stream_under_the_same_key_is_delivered() {
    for signers in [&[SEED][..], &[OTHER_SEED, SEED]] {
        let world = two_keys();
        let (first, second) = (three().build(), of_the_other().signed_by(signers).build());
        bring(&world, &[&first]).exits(0);
        bring(&world, &[&second]).exits(0);
        assert_eq!(delivered(&world), all_of(&[&first, &second]));
    }
}

#[test]
fn connector_is_delivered_by_the_stream_that_succeeds_its_own() {
    let world = two_keys();
    let first = three().build();
    let second = succeeds(of_the_other(), &first).build();
    bring(&world, &[&first]).exits(0);
    bring(&world, &[&second]).exits(0);
    assert_eq!(delivered(&world), all_of(&[&first, &second]));
}

#[test]
fn connector_is_held_when_a_stream_claims_to_succeed_one_that_its_key_may_not_sign() {
    let world = two_keys();
    let rules = format!(
        "[[key]]\nfile = \"site-a.pub.pem\"\nstreams = [\"{STREAM}\"]\n\n\
         [[key]]\nfile = \"site-b.pub.pem\"\nstreams = [\"{OTHER}\"]\n"
    );
    fs::write(world.path("trust/trust.toml"), rules).unwrap();
    let first = three().build();
    bring(&world, &[&first]).exits(0);
    bring(&world, &[&succeeds(of_the_other(), &first).build()]).exits(3).says("belongs to stream");
    assert_eq!(delivered(&world), all_of(&[&first]));
}

#[test]
fn stream_that_claims_to_succeed_one_that_its_key_may_not_sign_gets_none_of_its_mappings() {
    let world = two_keys();
    let rules = format!(
        "[[key]]\nfile = \"site-a.pub.pem\"\nstreams = [\"{STREAM}\"]\n\n\
         [[key]]\nfile = \"site-b.pub.pem\"\nstreams = [\"{OTHER}\"]\n"
    );
    fs::write(world.path("trust/trust.toml"), rules).unwrap();
    fs::create_dir(world.path("importer")).unwrap();
    let mapped = format!("[applicants.\"{STREAM}\"]\n\"{APPLICANT}\" = \"{APPLICANT}\"\n");
    fs::write(world.path("importer/airpouch.toml"), mapped).unwrap();
    let import = ["import", "medium", "--to", "dir:out", "--trust", "trust", "--site", "importer", "--zone", ZONE];
    let first = three().build();
    first.place(&world.medium());
    world.run(import).exits(0);
    super::empty(&world.medium());
    succeeds(of_the_other(), &first).build().place(&world.medium());
    world.run(import).exits(3).says("is mapped for other streams or keys only");
    assert_eq!(delivered(&world), all_of(&[&first]));
}

#[test]
fn connector_is_not_shared_by_a_key_that_signs_and_may_not() {
    let world = two_keys();
    let rules = format!(
        "[[key]]\nfile = \"site-a.pub.pem\"\nstreams = [\"{STREAM}\"]\n\n\
         [[key]]\nfile = \"site-b.pub.pem\"\nstreams = [\"{OTHER}\"]\n"
    );
    fs::write(world.path("trust/trust.toml"), rules).unwrap();
    bring(&world, &[&three().build()]).exits(0);
    bring(&world, &[&of_the_other().signed_by(&[SEED, OTHER_SEED]).build()]).exits(3).says("belongs to stream");
}

#[test]
fn connector_new_in_two_streams_of_one_run_is_shared_and_remains_so() {
    let world = two_keys();
    let (mut ours, mut theirs) = (chain(), other_chain());
    let (first, second) = (ours.next("1"), theirs.next("their 1"));
    bring(&world, &[&second, &first]).exits(0);
    let (third, fourth) = (ours.next("2"), theirs.next("their 2"));
    bring(&world, &[&fourth]).exits(0);
    bring(&world, &[&third]).exits(0);
    assert_eq!(delivered(&world).len(), 4);
}

#[test]
fn connector_that_two_streams_share_is_held_of_a_third_one_in_a_later_run() {
    let world = two_keys();
    world.key("site-c", [9; 32]);
    let first = three().build();
    bring(&world, &[&of_the_other().build(), &first]).exits(0);
    let mut third = Chain::new("bbbbbbbb-58a1-4d0b-9a6e-5b1f0c2d7e94");
    third.signers = vec![[9; 32]];
    bring(&world, &[&third.next("third")]).exits(3).says("belongs to stream").says("by which it came first");
}

#[test]
fn connector_that_two_streams_name_differently_in_one_run_is_the_first_ones() {
    let world = two_keys();
    let (first, second) = (three().build(), named(of_the_other(), "Their Feed").build());
    let run = bring_with(&world, &[&second, &first], &SPOOL).exits(3);
    run.says(&format!("(Their Feed) of stream {OTHER} belongs to stream {STREAM}"));
    assert_eq!(registered_name(&world), "Example Feed");
}

#[test]
fn connector_that_two_streams_share_is_held_when_the_second_one_renames_it() {
    let world = two_keys();
    let (mut ours, mut theirs) = (chain(), other_chain());
    bring_with(&world, &[&ours.next("1"), &theirs.next("their 1")], &SPOOL).exits(0);
    let renamed = named(theirs.builder(vec![Item::made(9, "their 2")]), "Their Feed").build();
    bring_with(&world, &[&renamed], &SPOOL).exits(3).says("which calls it Example Feed");
    assert_eq!(registered_name(&world), "Example Feed");
    go_on(&world, &[&SPOOL[..], &[TAKE_OVER]].concat()).exits(0);
    assert_eq!(registered_name(&world), "Their Feed");
}

#[test]
fn connector_that_two_streams_share_is_held_when_its_old_name_would_rename_it_back() {
    let world = two_keys();
    let (mut ours, mut theirs) = (chain(), other_chain());
    bring_with(&world, &[&ours.next("1"), &theirs.next("their 1")], &SPOOL).exits(0);
    let new_name = named(ours.builder(vec![Item::made(2, "2")]), "New Name").build();
    bring_with(&world, &[&new_name], &SPOOL).exits(0);
    bring_with(&world, &[&theirs.next("their 2")], &SPOOL).exits(3).says("which calls it New Name");
    assert_eq!(registered_name(&world), "New Name");
}

#[test]
fn connector_that_is_shared_in_the_manifest_and_renamed_in_the_envelope_is_held() {
    let world = two_keys();
    let lying =
        named(of_the_other(), "Their Feed").with(|b| b.connectors = vec![connector(FEED, "Example Feed")]).build();
    bring_with(&world, &[&lying, &three().build()], &SPOOL).exits(3).says("which calls it Example Feed");
    assert_eq!(registered_name(&world), "Example Feed");
}

#[test]
fn connector_that_another_stream_renames_is_held_and_its_own_stream_may_rename_it() {
    let world = two_keys();
    let mut honest = chain();
    let first = honest.next("1");
    bring_with(&world, &[&first], &SPOOL).exits(0);
    let run = bring_with(&world, &[&named(of_the_other(), "Their Feed").build()], &SPOOL).exits(3);
    run.says(FEED).says("Their Feed").says("belongs to stream");
    assert_eq!(registered_name(&world), "Example Feed");
    let renamed = named(honest.builder(vec![Item::made(2, "2")]), "New Name").build();
    bring_with(&world, &[&renamed], &SPOOL).exits(0);
    assert_eq!(registered_name(&world), "New Name");
    let run = go_on(&world, &[&SPOOL[..], &[TAKE_OVER]].concat()).exits(0);
    run.prints("delivered 1 envelope");
    assert_eq!(registered_name(&world), "Their Feed");
}

#[test]
fn connector_that_differs_between_manifest_and_envelope_is_held() {
    let world = two_keys();
    bring(&world, &[&three().build()]).exits(0);
    let lying = of_the_other().with(|b| b.connectors = vec![connector(OWN_FEED, "Own Feed")]).build();
    bring(&world, &[&lying]).exits(3).says(&format!("connector {FEED} (Example Feed) of stream {OTHER} belongs to"));
}

#[test]
fn connector_that_takes_the_id_that_another_streams_has_here_is_held() {
    let world = two_keys();
    bring(&world, &[]).exits(3);
    fs::write(world.path("importer/airpouch.toml"), format!("[connectors]\n\"{FEED}\" = \"{OWN_FEED}\"\n")).unwrap();
    bring_with(&world, &[&three().build()], &SPOOL).exits(0);
    let own = |b: &mut Builder| {
        b.connectors = vec![connector(OWN_FEED, "Example Feed")];
        let body = String::from_utf8(std::mem::take(&mut b.items[0].body)).unwrap();
        b.items[0].body = body.replacen(FEED, OWN_FEED, 1).into_bytes();
    };
    bring_with(&world, &[&of_the_other().with(own).build()], &SPOOL).exits(3).says("belongs to stream");
}
