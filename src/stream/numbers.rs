//! Numbers of batches as people write them: `10-13,17`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{Sequence, StreamId};

/// A set of batch numbers. It is kept as ranges: a gap of fifty million numbers takes as little room as one of two.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Numbers {
    /// Sorted; no two of them overlap or touch.
    ranges: Vec<RangeInclusive<u64>>,
}

/// Why a text names no batch numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a list of batch numbers; write 7, 2-7, or 2-7,9")]
pub struct NotNumbers;

impl Numbers {
    /// The ranges, rising; no two of them overlap or touch.
    pub fn ranges(&self) -> &[RangeInclusive<u64>] {
        &self.ranges
    }

    /// Whether there is no number in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether this number is in it.
    pub fn contains(&self, number: u64) -> bool {
        let after = self.ranges.partition_point(|r| *r.start() <= number);
        after > 0 && self.ranges[after - 1].contains(&number)
    }

    /// Each number, rising.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranges.iter().cloned().flatten()
    }

    /// These numbers and those.
    pub fn with(&self, others: &Self) -> Self {
        self.ranges.iter().chain(&others.ranges).cloned().collect()
    }

    /// Whether one of these numbers is in it.
    pub fn overlaps(&self, range: &RangeInclusive<u64>) -> bool {
        let after = self.ranges.partition_point(|r| r.start() <= range.end());
        after > 0 && self.ranges[after - 1].end() >= range.start()
    }

    /// These numbers, less those.
    pub fn without(&self, others: &Self) -> Self {
        let mut left = Vec::new();
        for range in &self.ranges {
            let mut rest = Some(range.clone());
            let first = others.ranges.partition_point(|o| o.end() < range.start());
            for other in others.ranges[first..].iter().take_while(|o| o.start() <= range.end()) {
                let Some(open) = rest.take() else { break };
                if open.start() < other.start() {
                    left.push(*open.start()..=other.start() - 1);
                }
                rest = (other.end() < open.end()).then(|| other.end() + 1..=*open.end());
            }
            left.extend(rest);
        }
        left.into_iter().collect()
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u64 {
        self.ranges.iter().fold(0, |sum, r| sum.saturating_add((r.end() - r.start()).saturating_add(1)))
    }

    /// The smallest number.
    pub fn first(&self) -> Option<u64> {
        self.ranges.first().map(|r| *r.start())
    }

    /// The largest number.
    pub fn last(&self) -> Option<u64> {
        self.ranges.last().map(|r| *r.end())
    }

    /// The number, if there is exactly one.
    pub fn only(&self) -> Option<u64> {
        self.first().filter(|first| self.last() == Some(*first))
    }

    /// In a sentence: `batch 7`, `batches 10 to 13 and 17`. Many ranges are counted, not listed.
    pub fn words(&self) -> String {
        const LISTED: usize = 8;
        let noun = if self.only().is_some() { "batch" } else { "batches" };
        let shown = self.ranges.len().min(LISTED);
        let mut parts: Vec<String> = self.ranges[..shown].iter().map(range_words).collect();
        let rest = Self { ranges: self.ranges[shown..].to_vec() }.count();
        if rest > 0 {
            parts.push(format!("{} more", crate::text::grouped(rest)));
        }
        let last = parts.pop().unwrap_or_default();
        if parts.is_empty() { format!("{noun} {last}") } else { format!("{noun} {} and {last}", parts.join(", ")) }
    }
}

fn range_words(range: &RangeInclusive<u64>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{} to {}", range.start(), range.end())
    }
}

impl FromIterator<RangeInclusive<u64>> for Numbers {
    /// Joins what overlaps or touches; empty ranges are left out.
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u64>>>(ranges: I) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|r| r.start() <= r.end()).collect();
        sorted.sort_unstable_by_key(|r| *r.start());
        let mut joined: Vec<RangeInclusive<u64>> = Vec::new();
        for range in sorted {
            match joined.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => joined.push(range),
            }
        }
        Self { ranges: joined }
    }
}

impl FromIterator<u64> for Numbers {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        numbers.into_iter().map(|n| n..=n).collect()
    }
}

impl FromStr for Numbers {
    type Err = NotNumbers;

    /// Reads `7`, `2-7` and lists of these; blanks around a part do not matter. Only numbers that a batch can have.
    fn from_str(text: &str) -> Result<Self, NotNumbers> {
        let number = |text: &str| {
            let digits = text.trim();
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            let number = digits.parse().ok().filter(|_| plain).and_then(Sequence::new);
            number.map(Sequence::get).ok_or(NotNumbers)
        };
        let range = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (number(from)?, number(to)?);
            if from <= to { Ok(from..=to) } else { Err(NotNumbers) }
        };
        text.split(',').map(range).collect()
    }
}

impl fmt::Display for Numbers {
    /// As [`Numbers::from_str`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.ranges.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}", range.start())?;
            if range.start() < range.end() {
                write!(f, "-{}", range.end())?;
            }
        }
        Ok(())
    }
}

/// Batches of one stream that somebody asks for: `7`, `10-13,17`, or `STREAM:10-13,17`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Their stream; none: the one with which the zone goes on.
    pub stream: Option<StreamId>,
    /// Their numbers.
    pub numbers: Numbers,
}

impl Asked {
    /// Whether they are of this stream, which is the one its zone goes on with, or not.
    pub fn is_of(&self, stream: StreamId, active: bool) -> bool {
        self.stream.map_or(active, |s| s == stream)
    }
}

impl FromStr for Asked {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (stream, numbers) = match text.rsplit_once(':') {
            Some((stream, numbers)) => (Some(stream), numbers),
            None => (None, text),
        };
        let stream = stream.map(|s| StreamId::parse(s).ok_or("the stream before the colon is no UUID")).transpose()?;
        let numbers = numbers.parse().map_err(|_| "write N, 10-13,17, or STREAM:10-13,17")?;
        Ok(Self { stream, numbers })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn numbers(text: &str) -> Numbers {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        assert_eq!(numbers("7").ranges(), [7..=7]);
        assert_eq!(numbers("10-13,17").ranges(), [10..=13, 17..=17]);
        assert_eq!(numbers(" 17, 10 - 12 ,13,11-13 ").to_string(), "10-13,17");
        assert_eq!(numbers("99999999").only(), Some(99_999_999));
        for wrong in [
            "",
            ",",
            "1,",
            "0",
            "0-3",
            "7-2",
            "-1",
            "1-",
            "1--2",
            "+1",
            "1-2-3",
            "x",
            "1 2",
            "100000000",
            "1-1000000000000000",
        ] {
            assert_eq!(wrong.parse::<Numbers>(), Err(NotNumbers), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_read_well_in_a_sentence() {
        assert_eq!(numbers("7").words(), "batch 7");
        assert_eq!(numbers("10-13").words(), "batches 10 to 13");
        assert_eq!(numbers("1,10-13,17").words(), "batches 1, 10 to 13 and 17");
        assert_eq!(numbers("1,3,5,7,9,11,13,15,17-18,20").words(), "batches 1, 3, 5, 7, 9, 11, 13, 15 and 3 more");
    }

    #[test]
    fn widest_range_takes_no_room_and_no_time() {
        let all = Numbers::from_iter([1..=u64::MAX]);
        assert!(all.contains(10u64.pow(15)) && !all.contains(0));
        assert_eq!((all.count(), all.ranges().len()), (u64::MAX, 1));
        assert_eq!(Numbers::from_iter([0..=u64::MAX]).count(), u64::MAX);
        assert_eq!(Numbers::from_iter([5..=u64::MAX, 1..=2, u64::MAX..=u64::MAX]).ranges(), [1..=2, 5..=u64::MAX]);
    }

    proptest! {
        #[test]
        fn numbers_equal_the_set_they_name_and_read_back(
            ranges in prop::collection::vec((1u64..60, 0u64..6), 0..12),
        ) {
            let set: BTreeSet<u64> = ranges.iter().flat_map(|(from, more)| *from..=from + more).collect();
            let made: Numbers = ranges.iter().map(|(from, more)| *from..=from + more).collect();
            for n in 0..70 {
                prop_assert_eq!(made.contains(n), set.contains(&n));
            }
            prop_assert_eq!(made.count(), set.len() as u64);
            prop_assert_eq!((made.first(), made.last()), (set.first().copied(), set.last().copied()));
            prop_assert_eq!(set.into_iter().collect::<Numbers>(), made.clone());
            for (from, to) in [(3, 3), (1, 9), (20, 40), (66, 70)] {
                prop_assert_eq!(made.overlaps(&(from..=to)), (from..=to).any(|n| made.contains(n)));
            }
            prop_assert!(made.ranges().windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()));
            if !made.is_empty() {
                prop_assert_eq!(made.to_string().parse::<Numbers>(), Ok(made));
            }
        }

        #[test]
        fn numbers_without_others_equal_the_difference_of_sets(
            a in prop::collection::btree_set(0u64..40, 0..30),
            b in prop::collection::btree_set(0u64..40, 0..30),
        ) {
            let numbers = |set: &BTreeSet<u64>| set.iter().copied().collect::<Numbers>();
            let left = numbers(&a).without(&numbers(&b));
            prop_assert_eq!(left, a.difference(&b).copied().collect::<Numbers>());
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "[0-9,\\- x]{0,40}") {
            if let Ok(read) = text.parse::<Numbers>() {
                prop_assert_eq!(read.to_string().parse::<Numbers>(), Ok(read));
            }
        }
    }
}
