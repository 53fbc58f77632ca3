//! Streams, their numbers and links, and a batch's place beside what was admitted before it.
//!
//! [`Position::standing`] is a function from values to a value: no clock, no file. That is what lets every
//! order of arrival be tried by a property test.

mod numbers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::limits::{HISTORY_LENGTH, LINEAGE_MAX, NUMBER_MAX};

pub use numbers::{Asked, NotNumbers, Numbers};

/// The endless sequence of batches of one exporter for one zone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(Uuid);

impl StreamId {
    /// A new stream out of 16 random bytes (RFC 9562, version 4).
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Reads the hyphenated lower-case form, and no other.
    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(Uuid::try_parse(text).ok()?);
        (id.to_string() == text).then_some(id)
    }

    /// The first 16 hex digits, as file names bear them.
    pub fn prefix(&self) -> String {
        self.0.simple().to_string()[..16].to_owned()
    }

    /// The UUID itself.
    pub fn uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({self})")
    }
}

impl Serialize for StreamId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no UUID in lower case"))
    }
}

/// A batch's number in its stream, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct Sequence(u64);

impl Sequence {
    /// The first number.
    pub const FIRST: Self = Self(1);

    /// The number, if it is one that a manifest can hold and a file name can show.
    pub fn new(number: u64) -> Option<Self> {
        (1..=99_999_999).contains(&number).then_some(Self(number))
    }

    /// The number itself.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Sequence {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| serde::de::Error::custom("no number from 1 to 99999999"))
    }
}

/// A zone's name: `[a-z0-9-]{1,64}`.
pub fn is_zone(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// How many envelopes, and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Number of envelopes.
    pub envelopes: u64,
    /// Bytes of these envelopes, unpacked.
    pub bytes: u64,
}

impl Size {
    /// The sum; `None` where it is no number that a manifest can hold.
    pub fn plus(self, other: Self) -> Option<Self> {
        let envelopes = self.envelopes.checked_add(other.envelopes)?;
        let bytes = self.bytes.checked_add(other.bytes)?;
        (envelopes <= NUMBER_MAX && bytes <= NUMBER_MAX).then_some(Self { envelopes, bytes })
    }
}

/// What a batch says of its place in its stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its number.
    pub sequence: u64,
    /// The digest of its own manifest.
    pub sha256: Digest,
    /// The digests that it names, of sequence − 1, − 2 …, newest first.
    pub names: Vec<Digest>,
    /// The size of all earlier numbers.
    pub before: Size,
    /// Its own size.
    pub own: Size,
}

impl Link {
    /// The digest that this batch names for a number, if it names one.
    pub fn named(&self, sequence: u64) -> Option<Digest> {
        let back = self.sequence.checked_sub(sequence)?.checked_sub(1)?;
        self.names.get(usize::try_from(back).ok()?).copied()
    }
}

/// A batch's place beside what was admitted before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The number after the last one, and its link holds.
    Next,
    /// The very batch that was admitted already.
    Replay,
    /// An earlier number that was missing, and a later batch named its digest.
    Late,
    /// Numbers before it have not come; where they can be compared, the links hold.
    Gap(Missing),
    /// The first batch of this stream here, and it is not number 1.
    UnknownStart(Missing),
    /// Another digest is there in the place of this one: two histories under one number.
    Fork {
        /// The number at which the two differ.
        at: u64,
        /// The digest that was admitted or named here.
        known: Digest,
        /// The digest of the other history.
        other: Digest,
    },
    /// An earlier number that no admitted batch names.
    Unlinked,
}

/// Numbers that have not come, with their size by subtraction of signed counters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// The numbers, both ends included.
    pub numbers: RangeInclusive<u64>,
    /// Their size; `None` where the counters of the two ends contradict each other.
    pub size: Option<Size>,
}

/// Which stream goes on from which.
#[derive(Clone, Debug, Default)]
pub struct Lineages(BTreeMap<StreamId, StreamId>);

impl Lineages {
    /// This stream goes on from that one. What was said first counts.
    pub fn add(&mut self, stream: StreamId, before: StreamId) {
        self.0.entry(stream).or_insert(before);
    }

    /// A stream and those that it goes on from, nearest first. `claim` is what a batch of it says, which counts where
    /// nothing is known.
    pub fn of(&self, stream: StreamId, claim: Option<StreamId>) -> Vec<Uuid> {
        let (mut out, mut at) = (vec![stream.uuid()], stream);
        while out.len() <= LINEAGE_MAX {
            let claimed = claim.filter(|_| at == stream);
            let Some(before) = self.0.get(&at).copied().or(claimed).filter(|b| !out.contains(&b.uuid())) else { break };
            out.push(before.uuid());
            at = before;
        }
        out
    }
}

/// What one stream's admitted batches say, together with what the operator settled.
#[derive(Clone, Debug, Default)]
pub struct Position {
    admitted: BTreeMap<u64, Vec<Link>>,
    /// Batches that the operator takes although they fork the stream.
    pub accepted: BTreeSet<Digest>,
    /// Numbers that the operator no longer waits for.
    pub settled: Numbers,
}

impl Position {
    /// Adds an admitted batch.
    pub fn admit(&mut self, link: Link) {
        self.admitted.entry(link.sequence).or_default().push(link);
    }

    /// The largest admitted number.
    pub fn last(&self) -> Option<u64> {
        self.admitted.last_key_value().map(|(n, _)| *n)
    }

    /// A batch's place.
    pub fn standing(&self, batch: &Link) -> Standing {
        let here = self.admitted.get(&batch.sequence).map_or(&[][..], Vec::as_slice);
        if here.iter().any(|l| l.sha256 == batch.sha256) {
            return Standing::Replay;
        }
        if !self.accepted.contains(&batch.sha256)
            && let Some(fork) = self.fork(batch, here)
        {
            return fork;
        }
        let Some(last) = self.last() else {
            return if batch.sequence == 1 {
                Standing::Next
            } else {
                Standing::UnknownStart(Missing { numbers: 1..=batch.sequence - 1, size: Some(batch.before) })
            };
        };
        if batch.sequence > last {
            return if batch.sequence == last + 1 { Standing::Next } else { Standing::Gap(self.between(last, batch)) };
        }
        if self.accepted.contains(&batch.sha256) || self.naming(batch.sequence).any(|d| d == batch.sha256) {
            return Standing::Late;
        }
        Standing::Unlinked
    }

    /// Whether the operator waits no longer for any of these numbers.
    pub fn is_settled(&self, numbers: &RangeInclusive<u64>) -> bool {
        is_settled(numbers, &self.settled)
    }

    fn fork(&self, batch: &Link, here: &[Link]) -> Option<Standing> {
        if let Some(known) = here.first() {
            return Some(Standing::Fork { at: batch.sequence, known: known.sha256, other: batch.sha256 });
        }
        for (back, other) in batch.names.iter().enumerate() {
            let at = batch.sequence - 1 - back as u64;
            let known = self.admitted.get(&at).map_or(&[][..], Vec::as_slice);
            if let Some(first) = known.first()
                && !known.iter().any(|l| l.sha256 == *other)
            {
                return Some(Standing::Fork { at, known: first.sha256, other: *other });
            }
            if known.is_empty() && !self.accepted.contains(other) {
                let mut named = self.naming(at).peekable();
                if let Some(first) = named.peek().copied()
                    && !named.any(|d| d == *other)
                {
                    return Some(Standing::Fork { at, known: first, other: *other });
                }
            }
        }
        let mut named = self.naming(batch.sequence).peekable();
        let first = named.peek().copied()?;
        (!named.any(|d| d == batch.sha256)).then_some(Standing::Fork {
            at: batch.sequence,
            known: first,
            other: batch.sha256,
        })
    }

    /// The digests that admitted batches name for a number.
    fn naming(&self, sequence: u64) -> impl Iterator<Item = Digest> + '_ {
        self.admitted
            .range(sequence + 1..=sequence + 1 + HISTORY_LENGTH as u64)
            .flat_map(|(_, links)| links)
            .filter_map(move |l| l.named(sequence))
    }

    fn between(&self, known: u64, batch: &Link) -> Missing {
        let size = self.admitted.get(&known).and_then(|l| l.first()).and_then(|k| {
            let end = k.before.plus(k.own)?;
            Some(Size {
                envelopes: batch.before.envelopes.checked_sub(end.envelopes)?,
                bytes: batch.before.bytes.checked_sub(end.bytes)?,
            })
        });
        Missing { numbers: known + 1..=batch.sequence - 1, size }
    }
}

/// Whether all of these numbers are among those that are settled.
pub fn is_settled(numbers: &RangeInclusive<u64>, settled: &Numbers) -> bool {
    one(numbers).without(settled).is_empty()
}

/// A gap as a whole, or what is left of it once settled numbers are taken out (then without a size).
pub fn unsettled(gap: Missing, settled: &Numbers) -> Vec<Missing> {
    if !settled.overlaps(&gap.numbers) {
        return vec![gap];
    }
    let left = one(&gap.numbers).without(settled);
    left.ranges().iter().map(|numbers| Missing { numbers: numbers.clone(), size: None }).collect()
}

fn one(range: &RangeInclusive<u64>) -> Numbers {
    std::iter::once(range.clone()).collect()
}

#[cfg(test)]
impl Position {
    /// What has not come and was not settled: the unknown start first, then each gap. The ledger finds the same with SQL.
    pub fn missing(&self) -> Vec<Missing> {
        let mut out = Vec::new();
        let mut known: Option<&Link> = None;
        for link in self.admitted.values().filter_map(|links| links.first()) {
            let from = known.map_or(1, |k| k.sequence + 1);
            if from < link.sequence {
                let gap = match known {
                    Some(k) => self.between(k.sequence, link),
                    None => Missing { numbers: 1..=link.sequence - 1, size: Some(link.before) },
                };
                out.extend(unsettled(gap, &self.settled));
            }
            known = Some(link);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A straight history of `length` batches, each with one envelope of ten bytes.
    fn history(length: u64, branch: &str) -> Vec<Link> {
        let digest = |n: u64| Digest::of(format!("{branch}/{n}").as_bytes());
        (1..=length)
            .map(|n| Link {
                sequence: n,
                sha256: digest(n),
                names: (1..n).rev().take(33).map(digest).collect(),
                before: Size { envelopes: n - 1, bytes: 10 * (n - 1) },
                own: Size { envelopes: 1, bytes: 10 },
            })
            .collect()
    }

    fn with(links: &[Link]) -> Position {
        let mut position = Position::default();
        links.iter().for_each(|l| position.admit(l.clone()));
        position
    }

    #[test]
    fn numbers_in_order_are_next_and_the_same_again_is_a_replay() {
        let h = history(3, "a");
        assert_eq!(with(&[]).standing(&h[0]), Standing::Next);
        assert_eq!(with(&h[..1]).standing(&h[1]), Standing::Next);
        assert_eq!(with(&h).standing(&h[1]), Standing::Replay);
    }

    #[test]
    fn a_lost_stick_is_a_gap_with_its_size_and_heals_late() {
        let h = history(9, "a");
        let mut position = with(&h[..1]);
        let gap = Missing { numbers: 2..=8, size: Some(Size { envelopes: 7, bytes: 70 }) };
        assert_eq!(position.standing(&h[8]), Standing::Gap(gap.clone()));
        position.admit(h[8].clone());
        assert_eq!(position.missing(), [gap]);
        assert_eq!(position.standing(&h[4]), Standing::Late);
    }

    #[test]
    fn a_stream_that_begins_late_is_named_as_such() {
        let h = history(5, "a");
        assert!(matches!(with(&[]).standing(&h[4]), Standing::UnknownStart(m) if m.numbers == (1..=4)));
        assert_eq!(with(&h[4..]).standing(&h[0]), Standing::Late);
    }

    #[test]
    fn two_digests_under_one_number_are_a_fork_and_so_is_what_follows() {
        let (a, b) = (history(5, "a"), history(5, "b"));
        let position = with(&a[..3]);
        assert!(matches!(position.standing(&b[2]), Standing::Fork { at: 3, .. }));
        assert!(matches!(position.standing(&b[3]), Standing::Fork { at: 3, .. }));
        let mut accepting = position.clone();
        accepting.accepted.insert(b[2].sha256);
        assert_ne!(accepting.standing(&b[2]), position.standing(&b[2]));
    }

    #[test]
    fn a_missing_number_may_only_be_filled_by_what_later_batches_named() {
        let (a, b) = (history(5, "a"), history(5, "b"));
        let position = with(&[a[0].clone(), a[4].clone()]);
        assert!(matches!(position.standing(&b[2]), Standing::Fork { .. }));
        assert_eq!(position.standing(&a[2]), Standing::Late);
    }

    #[test]
    fn a_gap_longer_than_the_history_leaves_unlinked_numbers() {
        let h = history(80, "a");
        let position = with(&[h[0].clone(), h[79].clone()]);
        assert_eq!(position.standing(&h[9]), Standing::Unlinked);
        assert_eq!(position.standing(&h[60]), Standing::Late);
    }

    #[test]
    fn number_33_back_is_late_and_34_back_is_unlinked() {
        let h = history(80, "a");
        let position = with(&[h[0].clone(), h[79].clone()]);
        assert_eq!(position.standing(&h[80 - 33 - 1]), Standing::Late, "the last one of the history");
        assert_eq!(position.standing(&h[80 - 34 - 1]), Standing::Unlinked);
    }

    #[test]
    fn histories_that_differ_over_numbers_that_have_not_come_are_a_fork() {
        let (a, b) = (history(11, "a"), history(11, "b"));
        let position = with(&a[9..10]);
        // Its link to number 10 holds; what it says of number 9 is not what 10 says.
        let mut next = a[10].clone();
        next.names[1] = b[8].sha256;
        let fork = Standing::Fork { at: 9, known: a[8].sha256, other: b[8].sha256 };
        assert_eq!(position.standing(&next), fork);
        assert_eq!(position.standing(&a[10]), Standing::Next);
    }

    #[test]
    fn lineage_follows_what_was_said_first_and_ends_at_the_limit() {
        let id = |n: u8| StreamId::from_random([n; 16]);
        let mut lineages = Lineages::default();
        lineages.add(id(1), id(2));
        lineages.add(id(1), id(3));
        lineages.add(id(2), id(1));
        assert_eq!(lineages.of(id(1), None), [id(1).uuid(), id(2).uuid()], "a circle ends");
        assert_eq!(lineages.of(id(4), Some(id(1))), [4, 1, 2].map(|n| id(n).uuid()), "its own claim counts");
        assert_eq!(lineages.of(id(1), Some(id(4))), [1, 2].map(|n| id(n).uuid()), "what is known goes before a claim");
        let mut long = Lineages::default();
        let of = |n: usize| StreamId::from_random([&[0; 8][..], &n.to_be_bytes()].concat().try_into().unwrap());
        (0..2 * LINEAGE_MAX).for_each(|n| long.add(of(n), of(n + 1)));
        assert_eq!(long.of(of(0), None).len(), LINEAGE_MAX + 1);
    }

    #[test]
    fn what_is_settled_is_missing_no_more() {
        let h = history(9, "a");
        let mut position = with(&[h[0].clone(), h[8].clone()]);
        position.settled = Numbers::from_iter([3..=4]);
        let left: Vec<_> = position.missing().into_iter().map(|m| m.numbers).collect();
        assert_eq!(left, [2..=2, 5..=8]);
        position.settled = Numbers::from_iter([2..=8]);
        assert!(position.missing().is_empty());
        assert!(position.is_settled(&(2..=8)) && !position.is_settled(&(2..=9)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        /// Whatever the order in which an honest stream's batches come, none is a fork, each is admitted
        /// once, and in the end nothing is missing.
        #[test]
        fn any_schedule_of_an_honest_stream_heals(order in Just((0..30usize).collect::<Vec<_>>()).prop_shuffle()) {
            let h = history(30, "a");
            let mut position = Position::default();
            for i in order {
                let standing = position.standing(&h[i]);
                let fine = matches!(standing, Standing::Next | Standing::Late | Standing::Gap(_) | Standing::UnknownStart(_));
                prop_assert!(fine, "{standing:?}");
                position.admit(h[i].clone());
                prop_assert_eq!(position.standing(&h[i]), Standing::Replay);
            }
            prop_assert!(position.missing().is_empty());
        }

        /// A batch of another history is never next, late or gap once the histories can be compared.
        #[test]
        fn another_history_is_always_a_fork(kept in proptest::collection::btree_set(0..30usize, 1..30), other in 0..30usize) {
            let (a, b) = (history(30, "a"), history(30, "b"));
            let position = with(&kept.iter().map(|i| a[*i].clone()).collect::<Vec<_>>());
            let lowest = *kept.first().expect("at least one");
            let comparable = other >= lowest || kept.iter().any(|k| *k > other);
            if comparable {
                let fork = matches!(position.standing(&b[other]), Standing::Fork { .. });
                prop_assert!(fork);
            }
        }
    }
}
