//! When a connector wrote a file, as the index lists it.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A file's time of modification: RFC 3339 in UTC with nine decimals, years 1 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Mtime {
    seconds: i64,
    nanos: u32,
}

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z in seconds since 1970.
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_300_799;

/// How a time is written; each 0 stands for a digit.
const TIME_SHAPE: &[u8; 30] = b"0000-00-00T00:00:00.000000000Z";

impl Mtime {
    /// From seconds and nanoseconds since 1970; outside the years 1 to 9999 the nearest.
    pub fn new(seconds: i64, nanos: u32) -> Self {
        match seconds {
            s if s < FIRST_SECOND => Self { seconds: FIRST_SECOND, nanos: 0 },
            s if s > LAST_SECOND => Self { seconds: LAST_SECOND, nanos: 999_999_999 },
            _ => Self { seconds, nanos: nanos.min(999_999_999) },
        }
    }

    /// Whole seconds since 1970.
    pub fn seconds(&self) -> i64 {
        self.seconds
    }

    /// Reads what [`fmt::Display`] writes, and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shape = TIME_SHAPE;
        let fits = bytes.len() == shape.len()
            && bytes.iter().zip(shape).all(|(b, s)| if *s == b'0' { b.is_ascii_digit() } else { b == s });
        if !fits {
            return None;
        }
        let number = |from: usize, to: usize| text[from..to].parse::<u32>().ok();
        let month = time::Month::try_from(number(5, 7)? as u8).ok()?;
        let date = time::Date::from_calendar_date(number(0, 4)? as i32, month, number(8, 10)? as u8).ok()?;
        let clock = time::Time::from_hms(number(11, 13)? as u8, number(14, 16)? as u8, number(17, 19)? as u8).ok()?;
        let seconds = date.with_time(clock).assume_utc().unix_timestamp();
        (seconds >= FIRST_SECOND).then_some(Self { seconds, nanos: number(20, 29)? })
    }
}

impl fmt::Display for Mtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp(self.seconds).map_err(|_| fmt::Error)?;
        let mut text = *TIME_SHAPE;
        put_digits(&mut text[..4], at.year().unsigned_abs());
        put_digits(&mut text[5..7], u8::from(at.month()).into());
        put_digits(&mut text[8..10], at.day().into());
        put_digits(&mut text[11..13], at.hour().into());
        put_digits(&mut text[14..16], at.minute().into());
        put_digits(&mut text[17..19], at.second().into());
        put_digits(&mut text[20..29], self.nanos);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Fills the place with the last digits of a number.
fn put_digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl Serialize for Mtime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mtime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no time with nine decimals in UTC"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_outside_the_years_1_to_9999_become_the_nearest() {
        assert_eq!(Mtime::new(i64::MIN, 5).to_string(), "0001-01-01T00:00:00.000000000Z");
        assert_eq!(Mtime::new(i64::MAX, 5).to_string(), "9999-12-31T23:59:59.999999999Z");
        assert_eq!(Mtime::new(1_795_572_001, 318_241_600).to_string(), "2026-11-25T02:00:01.318241600Z");
        assert_eq!(Mtime::parse("2026-02-30T02:00:01.318241600Z"), None);
        assert_eq!(Mtime::parse("0000-01-01T00:00:00.000000000Z"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn a_time_reads_back_as_itself(seconds in FIRST_SECOND..=LAST_SECOND, nanos in 0u32..1_000_000_000) {
            let mtime = Mtime::new(seconds, nanos);
            prop_assert_eq!(Mtime::parse(&mtime.to_string()), Some(mtime));
        }
    }
}
