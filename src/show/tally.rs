//! Counts what a batch holds, while its envelopes are read in several threads.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::batch::index::Index;
use crate::batch::manifest::Manifest;
use crate::envelope::{Contents, Envelope};
use crate::lock::{POISONED, lock};
use crate::report::{ConnectorCard, EmbeddedFiles, NamedConnector, NamedEnvelope, ShownAct};
use crate::text::harmless;

/// Commands and internal types that are kept of a batch; the rest is counted.
const ACTS_MAX: usize = 1000;

/// What was counted so far.
#[derive(Default)]
pub struct ContentTally(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    /// Objects by type and by marking, of each connector.
    connectors: HashMap<String, Contents>,
    files: EmbeddedFiles,
    acts: Vec<ShownAct>,
    more_acts: u64,
}

impl ContentTally {
    /// Counts an envelope, by its position in the batch. What is none counts for nothing: an import says what it is.
    pub fn add(&self, ordinal: usize, bytes: &[u8]) {
        let Ok(envelope) = Envelope::parse(bytes) else { return };
        let contents = &envelope.contents;
        let id = envelope.connector.id.as_str();
        let mut counted = lock(&self.0);
        add_files(&mut counted.files, contents);
        for act in contents.acts.worst_first() {
            if counted.acts.len() == ACTS_MAX {
                counted.more_acts += 1;
                continue;
            }
            counted.acts.push(ShownAct {
                code: act.code,
                name: act.name.clone(),
                number: act.count,
                envelope: NamedEnvelope { ordinal, name: String::new() },
                connector: NamedConnector { id: id.to_owned(), name: harmless(&envelope.connector.name) },
                what: act.what.clone(),
            });
        }
        let of = counted.connectors.entry(id.to_owned()).or_default();
        contents.types.iter().for_each(|(name, number)| *of.types.entry(name.clone()).or_default() += number);
        contents.markings.iter().for_each(|(name, number)| *of.markings.entry(name.clone()).or_default() += number);
    }

    /// What was counted, with the names and sizes of the index: the connectors, the largest first; the files; the acts in
    /// the order of their envelopes, and how many more of these there are.
    pub fn into_cards(
        self,
        manifest: &Manifest,
        index: &Index,
    ) -> (Vec<ConnectorCard>, EmbeddedFiles, Vec<ShownAct>, u64) {
        let Counted { mut connectors, files, mut acts, more_acts } = self.0.into_inner().expect(POISONED);
        let (mut cards, _) = with_sizes(manifest, index);
        for card in &mut cards {
            let contents = connectors.remove(&card.connector.id).unwrap_or_default();
            (card.types, card.markings) = (contents.types, contents.markings);
        }
        cards.sort_by_key(|card| std::cmp::Reverse((card.bytes, card.envelopes)));
        acts.sort_by_key(|act| act.envelope.ordinal);
        for act in &mut acts {
            act.envelope.name =
                index.lines.get(act.envelope.ordinal - 1).map_or_else(String::new, |line| harmless(&line.name));
        }
        (cards, files, acts, more_acts)
    }
}

/// The connectors of a batch of which the index is left, the largest first, with types and markings as the exporter counted
/// them.
pub fn of_index(manifest: &Manifest, index: &Index) -> Vec<ConnectorCard> {
    let (mut cards, place) = with_sizes(manifest, index);
    for (kinds, at) in index.kinds.objects.iter().zip(place) {
        let card = &mut cards[at];
        kinds.types.iter().for_each(|(name, number)| *card.types.entry(name.clone()).or_default() += number);
        kinds.markings.iter().for_each(|(name, number)| *card.markings.entry(name.clone()).or_default() += number);
    }
    cards.sort_by_key(|card| std::cmp::Reverse((card.bytes, card.envelopes)));
    cards
}

/// The connectors of a manifest, with the sizes of their envelopes; and which of them each entry of the manifest is.
fn with_sizes(manifest: &Manifest, index: &Index) -> (Vec<ConnectorCard>, Vec<usize>) {
    let mut cards = of_manifest(manifest);
    let at: HashMap<&str, usize> = cards.iter().enumerate().map(|(place, card)| (&*card.connector.id, place)).collect();
    let place: Vec<usize> = manifest.connectors.iter().filter_map(|entry| at.get(&*entry.id).copied()).collect();
    for line in &index.lines {
        let card = &mut cards[place[line.connector]];
        card.bytes += line.bytes;
        card.largest = card.largest.max(line.bytes);
    }
    (cards, place)
}

/// The connectors of a manifest, each once, with what it alone says.
pub fn of_manifest(manifest: &Manifest) -> Vec<ConnectorCard> {
    let mut cards: Vec<ConnectorCard> = Vec::new();
    let mut at: HashMap<&str, usize> = HashMap::new();
    for entry in &manifest.connectors {
        let place = *at.entry(&entry.id).or_insert(cards.len());
        if place == cards.len() {
            cards.push(ConnectorCard {
                connector: NamedConnector { id: entry.id.clone(), name: entry.name.clone() },
                kind: entry.kind.clone(),
                envelopes: 0,
                bytes: 0,
                largest: 0,
                types: Default::default(),
                markings: Default::default(),
            });
        }
        cards[place].envelopes += entry.envelopes;
    }
    cards
}

/// Adds the files inside one bundle.
pub fn add_files(files: &mut EmbeddedFiles, contents: &Contents) {
    files.number += contents.files.len() as u64 + contents.more_files;
    files.largest = contents.files.iter().map(|file| file.bytes).fold(files.largest, u64::max);
    for (mime, number) in &contents.file_types {
        *files.types.entry(mime.clone()).or_default() += number;
    }
}
