//! Moments, as people and programs read them. A moment that was not noted is unknown; what never was has none at all.

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::limits::CLOCK_SET_BACK_MIN;
use crate::text::duration;

/// A batch, and when something was done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct When {
    /// Its number.
    pub sequence: u64,
    /// When, in seconds since 1970; none if that was not noted.
    #[serde(serialize_with = "optional")]
    pub at: Option<i64>,
}

impl When {
    /// How long ago it was, in seconds. Nobody knows of what is in the future: the clock was set back since. What is there
    /// by less than a clock is moved that is kept right was now.
    pub fn age(&self, now: i64) -> Option<u64> {
        let age = now.saturating_sub(self.at?);
        (age > -(CLOCK_SET_BACK_MIN as i64)).then(|| u64::try_from(age).unwrap_or(0))
    }

    /// The same in words.
    pub(super) fn ago(&self, now: i64) -> String {
        match (self.age(now), self.at) {
            (Some(age), _) => format!("{} ago", duration(age)),
            (None, Some(_)) => "in the future by this clock".to_owned(),
            (None, None) => "at an unknown time".to_owned(),
        }
    }

    /// The later of two; one of which the time is not known is the earlier one, unless its number is larger and neither is.
    pub fn later(self, other: Self) -> Self {
        if (other.at, other.sequence) > (self.at, self.sequence) { other } else { self }
    }

    /// The earlier of two; one of which the time is not known counts only if there is no other.
    pub fn earlier(self, other: Self) -> Self {
        match (self.at, other.at) {
            (Some(_), None) => self,
            (None, Some(_)) => other,
            _ if (other.at, other.sequence) < (self.at, self.sequence) => other,
            _ => self,
        }
    }

    /// Its batch and its moment.
    pub(super) fn words(&self, now: i64) -> String {
        format!("batch {}, {}", self.sequence, when(self.at, now))
    }
}

/// What was done last with a batch: `never` has no batch.
pub(super) fn last(of: Option<&When>, now: i64) -> String {
    of.map_or_else(|| "never".to_owned(), |when| when.words(now))
}

/// A moment in UTC with its age: `2026-11-27 07:00 UTC (31 h ago)`.
pub fn when(at: Option<i64>, now: i64) -> String {
    let Some(at) = at else { return "at an unknown time".to_owned() };
    let Some(written) = utc(at) else { return "at an unknown time".to_owned() };
    let age = match now.saturating_sub(at) {
        ..0 => "in the future".to_owned(),
        age => format!("{} ago", duration(age as u64)),
    };
    format!("{} {} UTC ({age})", &written[..10], &written[11..16])
}

/// As RFC 3339 writes it, in UTC.
fn utc(at: i64) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp(at).ok().filter(|at| (1..=9999).contains(&at.year()))?;
    at.format(&Rfc3339).ok()
}

/// A moment as RFC 3339 writes it, or null.
pub(super) fn optional<S: Serializer>(at: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    at.and_then(utc).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_is_written_with_its_age() {
        let at = 1_795_762_800;
        assert_eq!(when(Some(at), at + 31 * 3600), "2026-11-27 07:00 UTC (31 h ago)");
        assert_eq!(when(Some(at), at - 1), "2026-11-27 07:00 UTC (in the future)");
        assert_eq!(when(None, at), "at an unknown time");
        assert_eq!(when(Some(i64::MAX), at), "at an unknown time");
        assert_eq!(last(None, at), "never");
    }

    #[test]
    fn moment_that_is_unknown_is_neither_the_last_nor_the_first_one_if_another_is_known() {
        let of = |sequence, at| When { sequence, at };
        assert_eq!(of(1, Some(5)).later(of(2, None)), of(1, Some(5)));
        assert_eq!(of(1, None).later(of(2, None)), of(2, None));
        assert_eq!(of(1, None).earlier(of(2, Some(5))), of(2, Some(5)));
        assert_eq!(of(2, None).earlier(of(1, None)), of(1, None));
        assert_eq!(of(2, Some(7)).earlier(of(3, Some(6))), of(3, Some(6)));
    }
}
