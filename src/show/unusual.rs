//! What is unusual about a batch, beside those that came before it in its stream.

use std::collections::{BTreeMap, BTreeSet};

use super::before::Earlier;
use crate::batch::manifest::Manifest;
use crate::code::Code;
use crate::digest::Digest;
use crate::report::{BatchCard, Unusual};
use crate::text::{count, grouped, harmless, size};

/// How many times the usual a batch, or its part of one connector, is unusual.
const TIMES: u64 = 5;
/// From so many earlier batches on there is something usual.
const USUAL_FROM: usize = 5;
/// What is smaller than this is never large.
const LARGE_FROM: u64 = 1 << 20;
/// Fewer envelopes than this are never many.
const MANY_FROM: u64 = 50;
/// New connectors and applicants that are named one by one.
const NAMED: usize = 10;

/// What is unusual about this batch. Nothing is, where nothing came before it.
pub fn unusual(batch: &BatchCard, signers: &[Digest], earlier: &Earlier) -> Vec<Unusual> {
    if earlier.manifests.is_empty() {
        return Vec::new();
    }
    let mut found = new_names(batch, earlier);
    if !earlier.signers.is_empty() {
        let new = batch.signers.iter().zip(signers).filter(|(_, key)| !earlier.signers.contains(key));
        found.extend(new.map(|(who, _)| {
            Unusual::new("new-signer", format!("signed by {}, who signed none of them", harmless(who)))
        }));
    }
    if !batch.acts.is_empty() && earlier.had_acts == Some(false) {
        let commands = batch.acts.iter().filter(|act| act.code == Code::Command).count() as u64;
        let types = batch.acts.len() as u64 - commands;
        let what = match (commands, types) {
            (0, types) => count(types, "envelope") + " with objects that administrate the platform: the first of them",
            (commands, _) => count(commands, "envelope") + " with commands: the first of them",
        };
        found.push(Unusual::new("first-command", what));
    }
    found.extend(larger_than_usual(batch, earlier));
    found
}

fn new_names(batch: &BatchCard, earlier: &Earlier) -> Vec<Unusual> {
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut applicants: BTreeSet<Option<&str>> = BTreeSet::new();
    for manifest in &earlier.manifests {
        for connector in &manifest.connectors {
            names.entry(&connector.id).or_default().insert(&connector.name);
        }
        applicants.extend(manifest.applicants.iter().map(|applicant| applicant.id.as_deref()));
    }
    let mut connectors = Vec::new();
    for card in &batch.connectors {
        let (id, name) = (card.connector.id.as_str(), card.connector.name.as_str());
        match names.get(id) {
            None => connectors.push(Unusual::new("new-connector", format!("new connector {} ({id})", harmless(name)))),
            Some(known) if !known.contains(name) => {
                let before: Vec<String> = known.iter().take(3).map(|name| harmless(name)).collect();
                let what = format!("connector {id} is called {}, and was called {}", harmless(name), before.join(", "));
                connectors.push(Unusual::new("renamed-connector", what));
            }
            Some(_) => {}
        }
    }
    let new = batch.applicants.iter().filter(|applicant| !applicants.contains(&applicant.id.as_deref()));
    let applicant = |id: Option<&str>| match id {
        Some(id) => format!("new applicant {}", harmless(id)),
        None => "envelopes without an applicant, which none of them had".to_owned(),
    };
    let new: Vec<Unusual> = new.map(|entry| Unusual::new("new-applicant", applicant(entry.id.as_deref()))).collect();
    [first_of(connectors, "connector"), first_of(new, "applicant")].concat()
}

/// The first of a list, and how many more there are.
fn first_of(mut list: Vec<Unusual>, noun: &str) -> Vec<Unusual> {
    if let Some(more) = list.len().checked_sub(NAMED).filter(|more| *more > 0)
        && let Some(kind) = list.last().map(|last| last.kind)
    {
        list.truncate(NAMED);
        list.push(Unusual::new(kind, format!("and {} more, new too", count(more as u64, noun))));
    }
    list
}

fn larger_than_usual(batch: &BatchCard, earlier: &Earlier) -> Vec<Unusual> {
    let mut found = Vec::new();
    let all = |of: fn(&Manifest) -> u64| earlier.manifests.iter().map(of).filter(|n| *n > 0).collect::<Vec<_>>();
    if let Some((usual, times)) = times_of_usual(batch.batch.bytes, LARGE_FROM, all(|m| m.totals.bytes)) {
        let what = format!("{}, {times} times the usual {}", size(batch.batch.bytes), size(usual));
        found.push(Unusual::new("large", what));
    }
    if let Some((usual, times)) = times_of_usual(batch.batch.envelopes, MANY_FROM, all(|m| m.totals.envelopes)) {
        let what = format!("{}, {times} times the usual {}", count(batch.batch.envelopes, "envelope"), grouped(usual));
        found.push(Unusual::new("many", what));
    }
    for card in &batch.connectors {
        let of_connector = |manifest: &Manifest| {
            let entries = manifest.connectors.iter().filter(|entry| entry.id == card.connector.id);
            entries.map(|entry| entry.envelopes).sum::<u64>()
        };
        let usual: Vec<u64> = earlier.manifests.iter().map(of_connector).filter(|n| *n > 0).collect();
        if let Some((usual, times)) = times_of_usual(card.envelopes, MANY_FROM, usual) {
            let name = harmless(&card.connector.name);
            let envelopes = count(card.envelopes, "envelope");
            let what = format!("{envelopes} of {name}, {times} times the usual {}", grouped(usual));
            found.push(Unusual::new("many", what));
        }
    }
    found
}

/// The usual number, and how many times it this one is, where that is many.
fn times_of_usual(number: u64, from: u64, mut before: Vec<u64>) -> Option<(u64, u64)> {
    if number < from || before.len() < USUAL_FROM {
        return None;
    }
    before.sort_unstable();
    let usual = before[before.len() / 2].max(1);
    Some((usual, number / usual)).filter(|(_, times)| *times >= TIMES)
}
