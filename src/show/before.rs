//! What came before a batch in its stream, to compare it with: by the ledger, and on the medium that it lies on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::batch::manifest::Manifest;
use crate::batch::signed::SignedBatch;
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::View;
use crate::report::BatchCard;
use crate::stream::StreamId;
use crate::trust::PublicKey;

/// With how many batches before it a batch is compared.
const COMPARED: usize = 30;

/// What came before a batch.
#[derive(Debug, Clone, Default)]
pub struct Earlier {
    /// The manifests, at most 30 of them, the newest first.
    pub manifests: Vec<Manifest>,
    /// The fingerprints of the keys that signed them, as far as they are known.
    pub signers: BTreeSet<Digest>,
    /// Whether any of them had a command or an internal type; none where nobody can tell.
    pub had_acts: Option<bool>,
}

/// What a ledger is asked about batches of a stream, by their numbers.
pub trait EarlierSource {
    /// The manifests of the last ones, so many at most, the newest first.
    fn last_manifests(&self, stream: StreamId, numbers: &Range<u64>, count: u64) -> Result<Vec<Manifest>>;
    /// The fingerprints of the keys that signed them, as far as they are known.
    fn signers(&self, stream: StreamId, numbers: &Range<u64>) -> Result<BTreeSet<Digest>>;
    /// Whether any of them had a command or an internal type; none where nobody can tell.
    fn had_acts(&self, stream: StreamId, numbers: &Range<u64>) -> Result<Option<bool>>;
}

impl EarlierSource for View {
    fn last_manifests(&self, stream: StreamId, numbers: &Range<u64>, count: u64) -> Result<Vec<Manifest>> {
        match self {
            Self::Exporter(ledger) => ledger.last_manifests(stream, numbers, count),
            Self::Importer(ledger) => ledger.last_manifests(stream, numbers, count),
        }
    }

    fn signers(&self, stream: StreamId, numbers: &Range<u64>) -> Result<BTreeSet<Digest>> {
        match self {
            Self::Exporter(_) => Ok(BTreeSet::new()),
            Self::Importer(ledger) => ledger.signers_between(stream, numbers),
        }
    }

    fn had_acts(&self, stream: StreamId, numbers: &Range<u64>) -> Result<Option<bool>> {
        match self {
            Self::Exporter(_) => Ok(None),
            Self::Importer(ledger) => ledger.has_acts(stream, numbers).map(Some),
        }
    }
}

/// What a site has from before the batches of a medium, in their streams and in those that these go on from. What came
/// before a batch is mostly what came before the last one, too: a manifest is read once, and not for each batch after it.
pub struct EarlierInLedger<'l, L> {
    ledger: &'l L,
    /// By the stream of the batch: what was found for the last one, there and in the streams before.
    found: BTreeMap<StreamId, Vec<EarlierPart>>,
}

/// What a ledger has of one stream before a number.
struct EarlierPart {
    stream: StreamId,
    before: u64,
    /// The newest first; all of them where they are fewer than were asked for.
    manifests: Vec<Manifest>,
    asked: usize,
    signers: BTreeSet<Digest>,
    had_acts: Option<bool>,
}

impl<'l, L: EarlierSource> EarlierInLedger<'l, L> {
    /// Of this ledger nothing was asked yet.
    pub fn new(ledger: &'l L) -> Self {
        Self { ledger, found: BTreeMap::new() }
    }

    /// What came before a batch.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn before(&mut self, batch: &Manifest) -> Result<Earlier> {
        let mut known = self.found.remove(&batch.stream).unwrap_or_default().into_iter();
        let (mut earlier, mut parts) = (Earlier::default(), Vec::new());
        let mut next = Some((batch.stream, batch.sequence.get()));
        while let Some((stream, before)) = next.take() {
            let left = COMPARED - earlier.manifests.len();
            let part = self.part(known.next(), stream, before, left)?;
            let manifests = &part.manifests[..part.manifests.len().min(left)];
            let oldest = manifests.last().unwrap_or(batch);
            let succeeds = oldest.succeeds.filter(|_| oldest.stream == stream);
            earlier.manifests.extend_from_slice(manifests);
            earlier.signers.extend(&part.signers);
            if earlier.manifests.len() < COMPARED {
                next = succeeds.map(|succeeds| (succeeds.stream, succeeds.sequence.get() + 1));
            }
            parts.push(part);
        }
        earlier.had_acts = parts.iter().map(|part| part.had_acts).reduce(either).flatten();
        self.found.insert(batch.stream, parts);
        Ok(earlier)
    }

    /// What is before a number of a stream: what is known of it, if it is of that stream and long enough, and what lies
    /// between that and the number.
    fn part(&self, known: Option<EarlierPart>, stream: StreamId, before: u64, asked: usize) -> Result<EarlierPart> {
        let is_of_use = |part: &EarlierPart| part.stream == stream && part.before <= before && part.asked >= asked;
        let known = known.filter(is_of_use).unwrap_or_else(|| EarlierPart {
            stream,
            before: 0,
            manifests: Vec::new(),
            asked,
            signers: BTreeSet::new(),
            had_acts: None,
        });
        let between = known.before..before;
        if between.is_empty() && before > 0 {
            return Ok(known);
        }
        let mut manifests = self.ledger.last_manifests(stream, &between, asked as u64)?;
        manifests.extend(known.manifests);
        manifests.truncate(asked);
        let mut signers = known.signers;
        signers.extend(self.ledger.signers(stream, &between)?);
        let had_acts = self.ledger.had_acts(stream, &between)?;
        let had_acts = if known.before == 0 { had_acts } else { either(known.had_acts, had_acts) };
        Ok(EarlierPart { stream, before, manifests, asked, signers, had_acts })
    }
}

/// What a medium has itself, batch after batch in the order of their numbers.
#[derive(Default)]
pub struct OnMedium(BTreeMap<StreamId, Earlier>);

impl OnMedium {
    /// A batch was looked at, or passed over without a card.
    pub fn add(&mut self, batch: &SignedBatch, card: Option<&BatchCard>) {
        let earlier =
            self.0.entry(batch.stream).or_insert_with(|| Earlier { had_acts: Some(false), ..Earlier::default() });
        earlier.manifests.insert(0, Manifest::clone(batch));
        earlier.manifests.truncate(COMPARED);
        earlier.signers.extend(batch.signers().iter().map(PublicKey::fingerprint));
        let has_acts = card.filter(|card| card.is_read).map(|card| !card.acts.is_empty());
        earlier.had_acts = either(earlier.had_acts, has_acts);
    }

    /// What came before a batch, here and by the ledger, if there is one.
    pub fn with(&self, batch: &Manifest, ledger: Option<Earlier>) -> Earlier {
        let Some(here) = self.0.get(&batch.stream) else { return ledger.unwrap_or_default() };
        let Some(mut both) = ledger else { return here.clone() };
        let is_known =
            |one: &Manifest| both.manifests.iter().any(|m| (m.stream, m.sequence) == (one.stream, one.sequence));
        let new: Vec<Manifest> = here.manifests.iter().filter(|one| !is_known(one)).cloned().collect();
        both.manifests.splice(0..0, new);
        both.manifests.truncate(COMPARED);
        both.signers.extend(&here.signers);
        both.had_acts = either(both.had_acts, here.had_acts);
        both
    }
}

/// Whether one of two is so; it is not known where neither is and one of them is not known.
fn either(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rusqlite::{Connection, params};

    use super::*;
    use crate::batch::manifest::{ApplicantEntry, ConnectorEntry, Format, IndexEntry, Succeeds, Totals};
    use crate::ledger;
    use crate::ledger::importer::ImporterLedger;
    use crate::site::Site;
    use crate::stream::{Sequence, Size};

    /// The ledger itself, and how many manifests it was asked for.
    struct Counted(View, Cell<usize>);

    impl EarlierSource for Counted {
        fn last_manifests(&self, stream: StreamId, numbers: &Range<u64>, count: u64) -> Result<Vec<Manifest>> {
            let manifests = self.0.last_manifests(stream, numbers, count)?;
            self.1.set(self.1.get() + manifests.len());
            Ok(manifests)
        }

        fn signers(&self, stream: StreamId, numbers: &Range<u64>) -> Result<BTreeSet<Digest>> {
            self.0.signers(stream, numbers)
        }

        fn had_acts(&self, stream: StreamId, numbers: &Range<u64>) -> Result<Option<bool>> {
            self.0.had_acts(stream, numbers)
        }
    }

    fn stream(digit: u8) -> StreamId {
        StreamId::parse(&format!("{digit}0000000-0000-4000-8000-000000000000")).unwrap()
    }

    fn manifest(stream: StreamId, number: u64, succeeds: Option<Succeeds>) -> Manifest {
        let digest = |number: u64| Digest::of(format!("{stream}/{number}").as_bytes());
        let connector = ConnectorEntry {
            id: "feed".into(),
            name: format!("Feed {number}"),
            kind: "EXTERNAL_IMPORT".into(),
            scope: None,
            auto: None,
            validate_before_import: None,
            envelopes: 1,
        };
        Manifest {
            airpouch: Format::Batch1,
            stream,
            sequence: Sequence::new(number).unwrap(),
            previous: (number > 1).then(|| digest(number - 1)),
            succeeds,
            zone: "restricted".into(),
            created: "2026-11-25T02:05:00Z".into(),
            producer: "airpouch 0.1.0".into(),
            promise: None,
            totals: Totals { envelopes: 1, bytes: 10, packed: 18 },
            before: Size { envelopes: number - 1, bytes: 10 * (number - 1) },
            connectors: vec![connector],
            applicants: vec![ApplicantEntry { id: None, envelopes: 1 }],
            index: IndexEntry {
                name: crate::batch::name::index(stream, Sequence::new(number).unwrap()),
                bytes: 9,
                sha256: Digest::of(b""),
                unpacked: 15,
            },
            volumes: vec![crate::batch::manifest::VolumeEntry {
                name: crate::batch::name::volume(stream, Sequence::new(number).unwrap(), 1),
                bytes: 9,
                sha256: Digest::of(b""),
                unpacked: 1024,
                envelopes: 1,
            }],
            history: (1..number.saturating_sub(1)).rev().take(32).map(digest).collect(),
        }
    }

    /// Three streams, each of which goes on from the one before after 10, 25 and 90 batches; of the last one some are missing.
    /// Each is signed by a key of its own number, and one of the first stream had a command.
    fn brought() -> (tempfile::TempDir, Counted, Vec<Manifest>) {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("site"));
        drop(ImporterLedger::open(&site).unwrap());
        let connection = Connection::open(site.ledger()).unwrap();
        let mut all = Vec::new();
        for (digit, length) in [(1, 10), (2, 25), (3, 90)] {
            let before = all.last().map(|last: &Manifest| Succeeds {
                stream: last.stream,
                sequence: last.sequence,
                sha256: Digest::of(&last.encode()),
            });
            all.extend((1..=length).map(|n| manifest(stream(digit), n, before.filter(|_| n == 1))));
        }
        for one in all.iter().filter(|one| one.stream != stream(3) || ![7, 8, 60].contains(&one.sequence.get())) {
            let (of, number, bytes) = (one.stream.to_string(), one.sequence.get() as i64, one.encode());
            let sql =
                "INSERT INTO batch (stream, sequence, sha256, manifest, state) VALUES (?1, ?2, ?3, ?4, 'delivered')";
            connection.execute(sql, params![of, number, Digest::of(&bytes).as_bytes(), bytes]).unwrap();
            let signer = Digest::of(format!("{of} {}", number / 20).as_bytes()).to_string();
            let sql = "INSERT INTO batch_signer VALUES (last_insert_rowid(), ?1)";
            connection.execute(sql, [signer]).unwrap();
        }
        connection
            .execute(
                "INSERT INTO set_aside (sha256, kind, code, what, place, batch, ordinal, name, connector, connector_name)
                 VALUES (x'00', 'quarantined', 'command', '', '', 5, 1, '', 'feed', 'Feed')",
                [],
            )
            .unwrap();
        let ledger = Counted(ledger::look(&site).unwrap(), Cell::new(0));
        (dir, ledger, all)
    }

    fn told(earlier: &Earlier) -> (Vec<(StreamId, u64)>, BTreeSet<Digest>, Option<bool>) {
        let manifests = earlier.manifests.iter().map(|one| (one.stream, one.sequence.get()));
        (manifests.collect(), earlier.signers.clone(), earlier.had_acts)
    }

    #[test]
    fn what_came_before_a_batch_is_the_same_whichever_were_asked_before_it() {
        let (_dir, ledger, all) = brought();
        // In the order of a medium, one of them twice, then back to an older one, and on with gaps.
        let order = (0..all.len()).chain([40, 40, 30, 3, 36, 37, 90, 120, 55, 38]);
        let (mut window, mut lengths) = (EarlierInLedger::new(&ledger), BTreeSet::new());
        for at in order {
            let alone = told(&EarlierInLedger::new(&ledger).before(&all[at]).unwrap());
            lengths.insert(alone.0.len());
            assert_eq!(told(&window.before(&all[at]).unwrap()), alone, "{at}");
        }
        assert_eq!(lengths, (0..=COMPARED).collect());
    }

    #[test]
    fn each_manifest_is_asked_for_about_once_however_many_batches_a_medium_has() {
        let (_dir, ledger, all) = brought();
        let mut window = EarlierInLedger::new(&ledger);
        for batch in &all {
            window.before(batch).unwrap();
        }
        // Once for its stream, and once more for each stream that goes on from it.
        let asked = ledger.1.get();
        assert!(asked <= 3 * all.len(), "{asked} manifests for {} batches", all.len());
    }
}
