//! The index: one line for the batch, then one line an envelope, in delivery order.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::batch::Checked;
use crate::batch::manifest::{Lie, Manifest};
use crate::batch::volume::{self, Compressors, frame_reader};
use crate::digest::Digest;
use crate::form;
use crate::limits::{ENVELOPE_MAX, NAMED_KINDS_MAX};

/// What one envelope is, as the index lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexLine {
    /// The file's name in the source directory. It decorates reports; no file is ever opened by it.
    pub name: String,
    /// The envelope's size.
    pub bytes: u64,
    /// The envelope's digest: what it is known by.
    pub sha256: Digest,
    /// When the connector wrote it.
    pub mtime: Mtime,
    /// Position in the manifest's connectors, from 0.
    pub connector: usize,
    /// Position in the manifest's applicants, from 0.
    pub applicant: usize,
}

/// The index's first line: object types and markings with counts, an entry a connector. For people only.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kinds {
    /// One entry for each of the manifest's connectors.
    pub objects: Vec<KindCounts>,
}

/// Counts of one connector; from the 257th different one on they count on `*`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindCounts {
    /// Objects by type.
    pub types: BTreeMap<String, u64>,
    /// Objects by marking.
    pub markings: BTreeMap<String, u64>,
}

impl KindCounts {
    /// Adds the counts of one envelope.
    pub fn add(&mut self, types: &BTreeMap<String, u64>, markings: &BTreeMap<String, u64>) {
        add_capped(&mut self.types, types);
        add_capped(&mut self.markings, markings);
    }
}

fn add_capped(to: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (kind, count) in from {
        match to.get_mut(kind) {
            Some(sum) => *sum += count,
            None => {
                let named = to.len() - usize::from(to.contains_key("*"));
                let key = if named < NAMED_KINDS_MAX { kind.as_str() } else { "*" };
                *to.entry(key.to_owned()).or_default() += count;
            }
        }
    }
}

/// A file's time of modification: RFC 3339 in UTC with nine decimals, years 1 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Mtime {
    seconds: i64,
    nanos: u32,
}

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z in seconds since 1970.
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_300_799;

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
        let shape = b"0000-00-00T00:00:00.000000000Z";
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
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            self.nanos
        )
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

/// A whole index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    /// The first line.
    pub kinds: Kinds,
    /// One line an envelope.
    pub lines: Vec<IndexLine>,
}

impl Index {
    /// Its text: each line in byte form, each ended by LF.
    pub fn text(&self) -> Vec<u8> {
        let mut text = form::encode(&self.kinds);
        text.push(b'\n');
        for line in &self.lines {
            serde_json::to_writer(&mut text, line).expect("a line of ours is always JSON");
            text.push(b'\n');
        }
        text
    }

    /// Its bytes on a shelf: the text in one zstd frame.
    ///
    /// # Errors
    /// Whatever zstd says.
    pub fn pack(&self, compressors: &Compressors) -> std::io::Result<(Vec<u8>, u64)> {
        let text = self.text();
        let mut writer = compressors.frame(Vec::new())?;
        std::io::Write::write_all(&mut writer, &text)?;
        Ok((writer.finish()?, text.len() as u64))
    }

    /// Reads the index of a manifest and holds it against that manifest: counts, sums, order, layout.
    ///
    /// # Errors
    /// [`Lie`]: the digest held, so it is the signer that contradicts himself.
    pub fn read(packed: &Checked, manifest: &Manifest) -> Result<Self, Lie> {
        let text = unpack(packed, manifest.index.unpacked)?;
        let mut lines = text.split(|b| *b == b'\n');
        let kinds: Kinds =
            form::decode(lines.next().unwrap_or_default()).map_err(|e| lie("the index's first line", e))?;
        let mut parsed = Vec::new();
        for (at, line) in lines.enumerate() {
            if line.is_empty() {
                break;
            }
            if at as u64 >= manifest.totals.envelopes {
                return Err(Lie::Rule("its index has more lines than envelopes".into()));
            }
            parsed.push(form::decode(line).map_err(|e| lie(&format!("the index's line of envelope {}", at + 1), e))?);
        }
        let index = Self { kinds, lines: parsed };
        // Only the text that these lines have is the index's text: so no empty line, no missing line end.
        let length: usize = index.lines.len();
        if text.iter().filter(|b| **b == b'\n').count() != length + 1 || text.last() != Some(&b'\n') {
            return Err(Lie::Rule("its index has an empty line, or none ends it".into()));
        }
        index.check(manifest)?;
        Ok(index)
    }

    fn check(&self, manifest: &Manifest) -> Result<(), Lie> {
        let rule = |text: String| Err(Lie::Rule(text));
        if self.kinds.objects.len() != manifest.connectors.len() {
            return rule("the index's first line has not one entry for each connector".into());
        }
        if self.lines.len() as u64 != manifest.totals.envelopes {
            return rule(format!("its index lists {} envelopes, not {}", self.lines.len(), manifest.totals.envelopes));
        }
        let mut connectors = vec![0u64; manifest.connectors.len()];
        let mut applicants = vec![0u64; manifest.applicants.len()];
        let mut bytes = 0u64;
        for (at, line) in self.lines.iter().enumerate() {
            let number = at + 1;
            let (Some(connector), Some(applicant)) =
                (connectors.get_mut(line.connector), applicants.get_mut(line.applicant))
            else {
                return rule(format!("envelope {number} has a connector or applicant that the manifest does not list"));
            };
            *connector += 1;
            *applicant += 1;
            if line.bytes > ENVELOPE_MAX {
                return rule(format!("envelope {number} is larger than an envelope may be"));
            }
            bytes += line.bytes;
            let before = at.checked_sub(1).map(|b| &self.lines[b]);
            if before.is_some_and(|b| (b.mtime, b.name.as_str()) > (line.mtime, line.name.as_str())) {
                return rule(format!("envelope {number} is not in the order of time and name"));
            }
        }
        if bytes != manifest.totals.bytes {
            return rule("the sizes in its index do not add up to its totals".into());
        }
        if !connectors.iter().copied().eq(manifest.connectors.iter().map(|c| c.envelopes))
            || !applicants.iter().copied().eq(manifest.applicants.iter().map(|a| a.envelopes))
        {
            return rule("its index counts connectors or applicants otherwise than its manifest".into());
        }
        let mut rest = self.lines.as_slice();
        for v in &manifest.volumes {
            let (mine, others) = rest.split_at(v.envelopes as usize);
            rest = others;
            let unpacked = mine.iter().map(|l| volume::room(l.bytes)).sum::<u64>() + volume::END;
            if unpacked != v.unpacked {
                return rule(format!("{} says {} bytes unpacked, its envelopes need {unpacked}", v.name, v.unpacked));
            }
        }
        Ok(())
    }

    /// The lines of each volume, with the ordinal of the first, in order.
    pub fn by_volume<'a>(&'a self, manifest: &'a Manifest) -> impl Iterator<Item = (usize, &'a [IndexLine])> {
        manifest.volumes.iter().scan(0usize, |from, v| {
            let first = *from;
            *from += v.envelopes as usize;
            Some((first + 1, &self.lines[first..*from]))
        })
    }
}

fn unpack(packed: &Checked, unpacked: u64) -> Result<Vec<u8>, Lie> {
    let broken = |e: std::io::Error| Lie::Rule(format!("its index is no zstd frame of the format ({e})"));
    let mut reader = frame_reader(packed.bytes()).map_err(broken)?;
    // What is declared is an upper bound, not an order for memory: the text grows as it comes.
    let mut text = Vec::new();
    reader.by_ref().take(unpacked + 1).read_to_end(&mut text).map_err(broken)?;
    if text.len() as u64 != unpacked {
        return Err(Lie::Rule("its index does not have the size that the manifest says".into()));
    }
    if !volume::at_end(reader) {
        return Err(Lie::Rule("bytes follow the index's frame".into()));
    }
    Ok(text)
}

fn lie(what: &str, form: form::NotInForm) -> Lie {
    Lie::Rule(format!("{what}: {form}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[test]
    fn from_the_257th_kind_on_they_count_together() {
        let mut counts = KindCounts::default();
        for n in 0..300 {
            counts.add(&BTreeMap::from([(format!("type-{n}"), 2)]), &BTreeMap::new());
        }
        assert_eq!(counts.types.len(), NAMED_KINDS_MAX + 1);
        assert_eq!(counts.types["*"], 88);
    }
}
