//! Messages that the broker refuses by themselves: larger than it takes. The envelope goes to quarantine, and nothing
//! else suffers.

use std::collections::BTreeMap;

use airpouch::digest::Digest;
use serde_json::Value;

use crate::feeds::{Feeds, Got, Tap, indicator, long_indicator};
use crate::support::{Broker, Run, files};

/// What the broker takes in most of these tests: its own 16 MiB take a second each.
const LIMIT: u32 = 20_000;

/// One envelope each: good ones have three messages, poisons a good one, a too long one and a good one.
fn put(feeds: &Feeds, feed: usize, kinds: &str) -> Vec<Digest> {
    let mut poisons = Vec::new();
    for kind in kinds.chars() {
        match kind {
            'g' => drop(feeds.put(feed, 3)),
            _ => poisons.push(feeds.put_objects(feed, vec![indicator("a"), long_indicator(20_000), indicator("b")])),
        }
    }
    poisons
}

/// The reasons in quarantine/, by digest.
fn quarantined(feeds: &Feeds) -> Vec<Value> {
    let all = files(&feeds.world.path("importer/quarantine"));
    let reasons = all.iter().filter(|(name, _)| name.ends_with(".reason.json"));
    reasons.map(|(_, bytes)| serde_json::from_slice(bytes).unwrap()).collect()
}

#[track_caller]
fn exactly_these_are_quarantined(feeds: &Feeds, poisons: &[Digest]) {
    let reasons = quarantined(feeds);
    let found: Vec<&str> = reasons.iter().map(|r| r["sha256"].as_str().unwrap()).collect();
    let mut wanted: Vec<String> = poisons.iter().map(ToString::to_string).collect();
    wanted.sort();
    assert_eq!(found, wanted);
    for reason in &reasons {
        let what = reason["what"].as_str().unwrap();
        assert_eq!(reason["code"], "message-refused");
        assert_eq!(reason["where"], "/bundle/objects/1");
        for word in ["indicator--", "PRECONDITION_FAILED", "larger than"] {
            assert!(what.contains(word), "{word}: {what}");
        }
    }
}

/// All messages of the good envelopes, in order; of a poison what stands before the long one, at most. A channel that
/// closes takes the confirms of those before the long message with it, so those may come twice. Then they go one by one,
/// and nothing comes three times.
#[track_caller]
fn the_good_ones_are_there(feeds: &Feeds, feed: usize, poisons: &[Digest], got: &[Got]) {
    let is_bad = |id: &str| poisons.iter().any(|p| id.contains(&p.to_string()));
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut good = Vec::new();
    for message in got {
        let count = times.entry(&message.id).or_default();
        *count += 1;
        assert!(*count <= 2, "{} came three times", message.id);
        assert!(!is_bad(&message.id) || message.id.ends_with("-1"), "{} was sent after the refusal", message.id);
        if *count == 1 && !is_bad(&message.id) {
            good.push(message.id.as_str());
        }
    }
    let wanted = feeds.message_ids(feed);
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).filter(|id| !is_bad(id)).collect();
    assert_eq!(good, wanted, "each, and in order");
}

#[track_caller]
fn works_on(feeds: &Feeds, broker: &Broker, tap: &Tap) {
    feeds.import(broker, &[]).exits(0);
    for feed in 0..feeds.ids.len() {
        assert_eq!(tap.count(&feeds.queue(feed)), 0, "nothing comes again");
    }
    feeds.put(0, 3);
    feeds.send();
    feeds.import(broker, &[]).exits(0).mentions("delivered 1 envelope in 3 messages");
    assert_eq!(tap.take(&feeds.queue(0)).len(), 3);
}

/// Delivers envelopes of these kinds, one text a connector, to a broker that takes short messages alone.
#[track_caller]
fn poisons_are_quarantined(kinds: &[&str]) -> Option<Run> {
    let broker = Broker::there()?;
    let mut alone = broker.alone();
    alone.limit(LIMIT);
    let feeds = Feeds::new(kinds.len());
    let poisons: Vec<Vec<Digest>> = kinds.iter().enumerate().map(|(feed, kinds)| put(&feeds, feed, kinds)).collect();
    feeds.send();
    let run = feeds
        .import(&broker, &["--patience", "5s"])
        .exits(3)
        .mentions("the broker does not take the message for indicator--");
    exactly_these_are_quarantined(&feeds, &poisons.concat());
    let tap = Tap::open(&broker);
    for (feed, poisons) in poisons.iter().enumerate() {
        the_good_ones_are_there(&feeds, feed, poisons, &tap.take(&feeds.queue(feed)));
    }
    works_on(&feeds, &broker, &tap);
    Some(run)
}

#[test]
fn a_poison_between_good_ones_is_quarantined_alone() {
    poisons_are_quarantined(&["ggpgg"]);
}

#[test]
fn two_poisons_side_by_side_are_both_quarantined() {
    poisons_are_quarantined(&["gppg"]);
}

#[test]
fn poison_is_found_first_last_and_alone() {
    for kinds in ["p", "pg", "gp", "pgp"] {
        poisons_are_quarantined(&[kinds]);
    }
}

#[test]
fn poisons_of_several_connectors_do_not_hold_each_other_up() {
    poisons_are_quarantined(&["gpg", "pggp", "ggg", "p", "gpgpg", "gggp"]);
}

#[test]
fn sixteen_poisons_in_a_row_are_quarantined() {
    poisons_are_quarantined(&["gppppppppppppppppg"]);
}

/// Nothing can show whether it is the message: the exchange leads to a queue that is full.
#[test]
fn poison_at_a_broker_that_accepts_nothing_fails_the_run_after_the_wait() {
    let Some(broker) = Broker::there() else { return };
    let mut alone = broker.alone();
    let feeds = Feeds::new(1);
    feeds.put_objects(0, vec![long_indicator(30_000)]);
    feeds.send();
    let prefix = crate::support::fresh_id();
    let (exchange, full) = (format!("{prefix}_amqp.worker.exchange"), format!("{prefix}_full"));
    let arguments = ["--argument", "x-max-length=0", "--argument", "x-overflow=\"reject-publish\""];
    broker.declare(&full, &[&["--exchange", &exchange, "--kind", "fanout"][..], &arguments].concat());
    alone.limit(20_000);
    let run = feeds.import(&broker, &["--queue-prefix", &prefix, "--patience", "3s"]);
    let run = run.exits(1).mentions("accepts nothing").mentions("gave up after 3 s");
    assert_eq!(run.said().matches("; waiting up to 3 s").count(), 1, "{run:#?}");
}

#[test]
fn broker_that_refuses_all_fails_the_run_and_quarantines_nothing() {
    let Some(broker) = Broker::there() else { return };
    let mut alone = broker.alone();
    alone.limit(100);
    let feeds = Feeds::new(1);
    put(&feeds, 0, &"g".repeat(25));
    feeds.send();
    feeds
        .import(&broker, &["--patience", "5s"])
        .exits(1)
        .mentions("the broker refuses every message")
        .mentions("max_message_size");
    assert_eq!(quarantined(&feeds), Vec::<Value>::new());
    alone.limit(LIMIT);
    feeds.import(&broker, &[]).exits(0).mentions("delivered 25 envelopes");
    the_good_ones_are_there(&feeds, 0, &[], &Tap::open(&broker).take(&feeds.queue(0)));
}

#[test]
fn message_over_16_mib_is_refused_by_the_broker_or_quarantined_if_its_limit_is_known() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let tap = Tap::open(&broker);
    for known in [false, true] {
        let feeds = Feeds::new(1);
        put(&feeds, 0, "g");
        let poison = feeds.put_objects(0, vec![indicator("a"), long_indicator(13 << 20), indicator("b")]);
        put(&feeds, 0, "g");
        feeds.send();
        let more: &[&str] = if known { &["--max-message-size", "16MiB"] } else { &[] };
        let run = feeds.import(&broker, more).exits(3);
        let got = tap.take(&feeds.queue(0));
        the_good_ones_are_there(&feeds, 0, &[poison], &got);
        if known {
            run.mentions("the broker takes 16 MiB at most");
            assert_eq!(got.len(), 6, "nothing of it is sent, and nothing twice");
            assert_eq!(quarantined(&feeds)[0]["code"], "message-too-large");
        } else {
            run.mentions("the broker does not take the message for indicator--");
            exactly_these_are_quarantined(&feeds, &[poison]);
        }
        works_on(&feeds, &broker, &tap);
    }
}
