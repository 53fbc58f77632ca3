//! The index: one line for the batch, then one line an envelope, in delivery order.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};

use serde::{Deserialize, Serialize};

use crate::batch::Checked;
use crate::batch::frame::Compressors;
use crate::batch::manifest::{Lie, Manifest};
use crate::batch::{entry, frame};
use crate::digest::Digest;
use crate::form;
use crate::lack::{Lack, Unread};
use crate::limits::{
    ENVELOPE_MAX, ID_LENGTH_MAX, INDEX_LINE_MAX, KINDS_LINE_MAX, NAME_MAX, NAMED_KINDS_MAX, PAIRS_MAX,
};
use crate::mtime::Mtime;

/// What one envelope is, as the index lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexLine {
    /// The file's name in the source directory. It is for reports only; no file is ever opened by it.
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

impl Kinds {
    /// The first line's bytes. Where the different kinds of all connectors would make it longer than a line may be, they
    /// count together, for nothing rests on them.
    fn line(&self) -> Vec<u8> {
        let line = form::encode(self);
        if line.len() as u64 <= KINDS_LINE_MAX {
            return line;
        }
        let together = |counts: &BTreeMap<String, u64>| match counts.values().sum::<u64>() {
            0 => BTreeMap::new(),
            sum => BTreeMap::from([("*".to_owned(), sum)]),
        };
        let folded = |c: &KindCounts| KindCounts { types: together(&c.types), markings: together(&c.markings) };
        form::encode(&Self { objects: self.objects.iter().map(folded).collect() })
    }

    fn check(&self, manifest: &Manifest) -> Result<(), Lie> {
        if self.objects.len() != manifest.connectors.len() {
            return rule("the index's first line has not one entry for each connector");
        }
        let counts = self.objects.iter().flat_map(|c| [&c.types, &c.markings]);
        for counts in counts {
            if counts.len() > NAMED_KINDS_MAX + 1 {
                return rule(format!(
                    "the index's first line names more than {NAMED_KINDS_MAX} kinds of one connector"
                ));
            }
            if counts.keys().any(|kind| kind.len() > ID_LENGTH_MAX) {
                return rule(format!("the index's first line names a kind of more than {ID_LENGTH_MAX} bytes"));
            }
        }
        Ok(())
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

/// Envelopes of one connector in the name of one applicant; both by their positions in the manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair {
    /// Position in the manifest's applicants, from 0.
    pub applicant: u32,
    /// Position in the manifest's connectors, from 0.
    pub connector: u32,
    /// The envelopes.
    pub envelopes: u32,
}

/// Whether the names of an index are kept once they were held against the rules. Without them it takes a tenth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// For whoever reports single envelopes.
    Keep,
    /// For whoever asks only whether a batch holds.
    Drop,
}

impl Index {
    /// In whose name its connectors wrote; empty where that are too many pairs to be counted.
    pub fn pairs(&self) -> Vec<Pair> {
        let mut counts: BTreeMap<(usize, usize), u32> = BTreeMap::new();
        for line in &self.lines {
            *counts.entry((line.applicant, line.connector)).or_default() += 1;
            if counts.len() > PAIRS_MAX {
                return Vec::new();
            }
        }
        let pair = |((applicant, connector), envelopes): ((usize, usize), u32)| {
            // Both lists are far shorter than that.
            let (applicant, connector) = (u32::try_from(applicant).ok()?, u32::try_from(connector).ok()?);
            Some(Pair { applicant, connector, envelopes })
        };
        counts.into_iter().filter_map(pair).collect()
    }

    /// Its bytes on a shelf: each line in byte form and ended by LF, all in one zstd frame; and the bytes of that text.
    ///
    /// # Errors
    /// What the machine lacks; no other error comes of writing to memory.
    pub fn pack(&self, compressors: &Compressors) -> Result<(Vec<u8>, u64), Lack> {
        const TOGETHER: usize = 64 << 10;
        let lacking = |e: std::io::Error| Lack::of(&e).unwrap_or(Lack::Memory);
        let mut writer = compressors.frame(Vec::new())?;
        let mut text = self.kinds.line();
        text.push(b'\n');
        let mut unpacked = 0;
        for line in &self.lines {
            if text.len() >= TOGETHER {
                writer.write_all(&text).map_err(lacking)?;
                unpacked += text.len() as u64;
                text.clear();
            }
            serde_json::to_writer(&mut text, line).expect("a line of ours is always JSON");
            text.push(b'\n');
        }
        writer.write_all(&text).map_err(lacking)?;
        unpacked += text.len() as u64;
        Ok((writer.finish().map_err(lacking)?, unpacked))
    }

    /// Reads the index of a manifest and holds it against that manifest: form, counts, sums, order, layout. It is read line
    /// by line, so that no more is held than a valid index needs.
    ///
    /// # Errors
    /// [`Lie`]: the digest held, so it is the signer that contradicts himself; or what the machine lacks.
    pub fn read(packed: &Checked, manifest: &Manifest, names: Names) -> Result<Self, Unread<Lie>> {
        let mut text = LineText::open(packed, manifest.index.unpacked)?;
        let first = text.line("the index's first line", KINDS_LINE_MAX)?;
        let kinds: Kinds = form::decode(first.unwrap_or_default())
            .map_err(|e| lie("the index's first line", e))
            .map_err(Unread::Fault)?;
        kinds.check(manifest).map_err(Unread::Fault)?;
        let mut lines: Vec<IndexLine> = Vec::new();
        let envelopes = usize::try_from(manifest.totals.envelopes).unwrap_or(usize::MAX);
        lines.try_reserve_exact(envelopes).map_err(|_| Lack::Memory)?;
        let mut name_before = String::new();
        while let Some(line) = text.line("a line of the index", INDEX_LINE_MAX)? {
            let number = lines.len() + 1;
            let mut line = read_line(line, number, envelopes).map_err(Unread::Fault)?;
            let before = lines.last().map(|b| (b.mtime, name_before.as_str()));
            if before.is_some_and(|before| before > (line.mtime, line.name.as_str())) {
                return Err(Unread::Fault(Lie::Rule(format!(
                    "envelope {number} is not in the order of time and name"
                ))));
            }
            name_before.clone_from(&line.name);
            if names == Names::Drop {
                line.name = String::new();
            }
            lines.push(line);
        }
        let index = Self { kinds, lines };
        index.check(manifest).map_err(Unread::Fault)?;
        Ok(index)
    }

    /// Holds the sums over all lines against the manifest.
    fn check(&self, manifest: &Manifest) -> Result<(), Lie> {
        if self.lines.len() as u64 != manifest.totals.envelopes {
            return rule(format!("its index lists {} envelopes, not {}", self.lines.len(), manifest.totals.envelopes));
        }
        let mut connectors = vec![0u64; manifest.connectors.len()];
        let mut applicants = vec![0u64; manifest.applicants.len()];
        let mut bytes = 0u64;
        for (number, line) in (1..).zip(&self.lines) {
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
        }
        if bytes != manifest.totals.bytes {
            return rule("the sizes in its index do not add up to its totals");
        }
        if !connectors.iter().copied().eq(manifest.connectors.iter().map(|c| c.envelopes))
            || !applicants.iter().copied().eq(manifest.applicants.iter().map(|a| a.envelopes))
        {
            return rule("its index counts connectors or applicants otherwise than its manifest");
        }
        let mut rest = self.lines.as_slice();
        for v in &manifest.volumes {
            let (mine, others) = rest.split_at(v.envelopes as usize);
            rest = others;
            let unpacked = mine.iter().map(|l| entry::room(l.bytes)).sum::<u64>() + entry::END;
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

/// The line of one envelope, in form and within the bounds of its texts.
fn read_line(line: &[u8], number: usize, envelopes: usize) -> Result<IndexLine, Lie> {
    if line.is_empty() {
        return rule(NO_LINES);
    }
    if number > envelopes {
        return rule("its index has more lines than envelopes");
    }
    let line: IndexLine = form::decode(line).map_err(|e| lie(&format!("the index's line of envelope {number}"), e))?;
    if line.name.len() > NAME_MAX {
        return rule(format!(
            "the name of envelope {number} has {} bytes; a name has {NAME_MAX} at most",
            line.name.len()
        ));
    }
    Ok(line)
}

const NO_LINES: &str = "its index has an empty line, or none ends it";

/// The text of an index as it comes out of its frame, a line at a time.
struct LineText<'a> {
    frame: BufReader<zstd::Decoder<'static, &'a [u8]>>,
    line: Vec<u8>,
    read: u64,
    unpacked: u64,
}

impl<'a> LineText<'a> {
    fn open(packed: &'a Checked, unpacked: u64) -> Result<Self, Lack> {
        Ok(Self { frame: BufReader::new(frame::reader(packed.bytes())?), line: Vec::new(), read: 0, unpacked })
    }

    /// The next line without its LF; none at the end, which must be where the manifest says.
    fn line(&mut self, what: &str, longest: u64) -> Result<Option<&[u8]>, Unread<Lie>> {
        self.line.clear();
        let most = longest.min(self.unpacked - self.read);
        self.frame.by_ref().take(most + 1).read_until(b'\n', &mut self.line).map_err(broken)?;
        self.read += self.line.len() as u64;
        let at_end = self.line.last() != Some(&b'\n');
        if self.read > self.unpacked || (at_end && self.read < self.unpacked && self.line.len() as u64 <= most) {
            return fault("its index does not have the size that the manifest says");
        }
        if !at_end {
            return Ok(Some(&self.line[..self.line.len() - 1]));
        }
        if self.line.len() as u64 > most {
            return fault(format!("{what} is longer than {longest} bytes"));
        }
        if !self.line.is_empty() {
            return fault(NO_LINES);
        }
        match frame::at_end(self.frame.get_mut()).map_err(broken)? {
            true => Ok(None),
            false => fault("bytes follow the index's frame"),
        }
    }
}

fn broken(e: std::io::Error) -> Unread<Lie> {
    match Lack::of(&e) {
        Some(lack) => Unread::Lack(lack),
        None => Unread::Fault(Lie::Rule(format!("its index is no zstd frame of the format ({e})"))),
    }
}

fn fault<T>(text: impl Into<String>) -> Result<T, Unread<Lie>> {
    Err(Unread::Fault(Lie::Rule(text.into())))
}

fn rule<T>(text: impl Into<String>) -> Result<T, Lie> {
    Err(Lie::Rule(text.into()))
}

fn lie(what: &str, form: form::NotInForm) -> Lie {
    Lie::Rule(format!("{what}: {form}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_the_257th_kind_on_they_count_together() {
        let mut counts = KindCounts::default();
        for n in 0..300 {
            counts.add(&BTreeMap::from([(format!("type-{n}"), 2)]), &BTreeMap::new());
        }
        assert_eq!(counts.types.len(), NAMED_KINDS_MAX + 1);
        assert_eq!(counts.types["*"], 88);
    }

    #[test]
    fn first_line_that_would_be_too_long_counts_all_kinds_together() {
        let kinds = |n: u64| (0..n).map(|n| (format!("{n:0>1000}"), 2)).collect::<BTreeMap<_, u64>>();
        let entry = KindCounts { types: kinds(200), markings: BTreeMap::new() };
        let few = Kinds { objects: vec![entry.clone()] };
        assert_eq!(few.line(), form::encode(&few));
        let many = Kinds { objects: vec![entry; 100] };
        assert_eq!(
            many.line(),
            format!("{{\"objects\":[{}]}}", [r#"{"types":{"*":400},"markings":{}}"#; 100].join(",")).as_bytes()
        );
    }
}
