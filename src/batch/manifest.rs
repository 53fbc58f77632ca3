//! The manifest: the small JSON statement of what a batch is, and the only file that is signed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::batch::{Checked, name};
use crate::digest::Digest;
use crate::envelope::{Connector, ConnectorId, Scope};
use crate::form::{self, NotInForm};
use crate::limits::{
    BATCH_ENVELOPES_MAX, HISTORY_LENGTH, INDEX_PACKED_MAX, INDEX_UNPACKED_MAX, MANIFEST_MAX, NUMBER_MAX, PARTIES_MAX,
    PARTY_TEXT_MAX, VOLUME_PACKED_MAX, VOLUME_UNPACKED_MAX, VOLUMES_MAX,
};
use crate::stream::{Link, Sequence, Size, StreamId, is_zone};

/// What a manifest of this format begins with, compared before anything is parsed.
pub const TAG: &[u8] = b"{\"airpouch\":\"batch/1\",";

/// The statement of what a batch is (format `batch/1`); fields in the order of the byte form.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always `batch/1`.
    pub airpouch: Format,
    /// The stream.
    pub stream: StreamId,
    /// The number in the stream.
    pub sequence: Sequence,
    /// Digest of the manifest of sequence − 1; none for 1.
    pub previous: Option<Digest>,
    /// The last known batch of the stream that this one goes on from.
    pub succeeds: Option<Succeeds>,
    /// The zone that the batch is meant for.
    pub zone: String,
    /// When it was made, RFC 3339 in UTC, whole seconds; decoration only.
    pub created: String,
    /// `airpouch <version>`.
    pub producer: String,
    /// Seconds until the next batch at the latest, where that is promised.
    pub promise: Option<u64>,
    /// What this batch holds.
    pub totals: Totals,
    /// What all earlier numbers held.
    pub before: Size,
    /// Each distinct connector definition, in order of first use.
    pub connectors: Vec<ConnectorEntry>,
    /// Each distinct applicant, in order of first use.
    pub applicants: Vec<ApplicantEntry>,
    /// The index file.
    pub index: IndexEntry,
    /// The volumes, in order.
    pub volumes: Vec<VolumeEntry>,
    /// Digests of the manifests before `previous`, newest first.
    pub history: Vec<Digest>,
}

/// The word for this format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Format {
    /// Format 1 of a batch.
    #[serde(rename = "batch/1")]
    Batch1,
}

/// A batch of another stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Succeeds {
    /// The other stream.
    pub stream: StreamId,
    /// Its last known number.
    pub sequence: Sequence,
    /// The digest of that number's manifest.
    pub sha256: Digest,
}

/// Sums over the batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Number of envelopes.
    pub envelopes: u64,
    /// Their bytes, unpacked.
    pub bytes: u64,
    /// Bytes of index and volumes as they lie on a shelf.
    pub packed: u64,
}

/// One distinct connector definition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorEntry {
    /// OpenCTI's id of the connector.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its type, such as `EXTERNAL_IMPORT`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its scope as the envelope had it.
    pub scope: Option<ScopeEntry>,
    /// Its `auto`.
    pub auto: Option<bool>,
    /// Its `validate_before_import`.
    pub validate_before_import: Option<bool>,
    /// Envelopes of this definition.
    pub envelopes: u64,
}

/// A scope: usually one comma-separated text, seldom a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ScopeEntry {
    /// One text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
}

impl ConnectorEntry {
    /// The entry of a connector with no envelopes counted yet.
    pub fn of(connector: &Connector) -> Self {
        Self {
            id: connector.id.to_string(),
            name: connector.name.clone(),
            kind: connector.kind.clone(),
            scope: match &connector.scope {
                Scope::None => None,
                Scope::Text(text) => Some(ScopeEntry::Text(text.clone())),
                Scope::List(list) => Some(ScopeEntry::List(list.clone())),
            },
            auto: connector.auto,
            validate_before_import: connector.validate_before_import,
            envelopes: 0,
        }
    }

    /// Its texts are such as a valid envelope has; `number` is its place in the list.
    fn check_texts(&self, number: usize) -> Result<(), Lie> {
        require(ConnectorId::parse(&self.id).is_some(), || {
            format!("the id of connector {number} is not of the form [A-Za-z0-9_-]{{1,128}}")
        })?;
        let scope = match &self.scope {
            None => 0,
            Some(ScopeEntry::Text(text)) => text.len(),
            Some(ScopeEntry::List(list)) => list.iter().map(|text| text.len() + 1).sum(),
        };
        require([self.name.len(), self.kind.len(), scope].iter().all(|bytes| *bytes <= PARTY_TEXT_MAX), || {
            format!("a text of connector {number} has more than {PARTY_TEXT_MAX} bytes")
        })
    }

    /// Whether this is the entry of that connector.
    pub fn is_of(&self, connector: &Connector) -> bool {
        let scope = match (&self.scope, &connector.scope) {
            (None, Scope::None) => true,
            (Some(ScopeEntry::Text(here)), Scope::Text(text)) => here == text,
            (Some(ScopeEntry::List(here)), Scope::List(list)) => here == list,
            _ => false,
        };
        // Asked twice for each envelope: nothing is copied for it.
        scope
            && (self.id.as_str(), &self.name, &self.kind) == (connector.id.as_str(), &connector.name, &connector.kind)
            && (self.auto, self.validate_before_import) == (connector.auto, connector.validate_before_import)
    }
}

/// One applicant of the exporting side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicantEntry {
    /// Its id in the internet zone; none where the envelope has none.
    pub id: Option<String>,
    /// Envelopes in its name.
    pub envelopes: u64,
}

/// The index file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexEntry {
    /// File name.
    pub name: String,
    /// Bytes on the shelf.
    pub bytes: u64,
    /// Digest on the shelf.
    pub sha256: Digest,
    /// Bytes unpacked.
    pub unpacked: u64,
}

/// One volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeEntry {
    /// File name.
    pub name: String,
    /// Bytes on the shelf.
    pub bytes: u64,
    /// Digest on the shelf.
    pub sha256: Digest,
    /// Bytes of the tar stream.
    pub unpacked: u64,
    /// Envelopes in it.
    pub envelopes: u64,
}

impl VolumeEntry {
    /// The volume as a part.
    pub fn part(&self) -> Part<'_> {
        Part { name: &self.name, bytes: self.bytes, sha256: self.sha256 }
    }
}

/// A file that a manifest names: name, bytes and digest as it lies on a shelf.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Expected name.
    pub name: &'a str,
    /// Size.
    pub bytes: u64,
    /// Digest.
    pub sha256: Digest,
}

impl Part<'_> {
    /// Holds bytes against this part.
    ///
    /// # Errors
    /// As [`Checked::new`].
    pub fn check(&self, bytes: Vec<u8>) -> Result<Checked, super::NotAsNamed> {
        Checked::new(bytes, self.bytes, self.sha256)
    }
}

/// A signed manifest that contradicts itself or the format. The signer is at fault, not the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// Not in byte form.
    #[error("{0}")]
    Form(#[from] NotInForm),
    /// A rule that it breaks, in words.
    #[error("{0}")]
    Rule(String),
}

impl Manifest {
    /// Reads a manifest. Only bytes with a trusted signature come here: see [`crate::trust::Authentic`].
    ///
    /// # Errors
    /// [`Lie`], with the rule that is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, Lie> {
        require(bytes.len() as u64 <= MANIFEST_MAX, || "it is larger than 256 KiB".into())?;
        require(bytes.starts_with(TAG), || "it does not begin as a manifest of format batch/1".into())?;
        let manifest: Self = form::decode(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Its bytes, to be digested and signed.
    pub fn encode(&self) -> Vec<u8> {
        form::encode(self)
    }

    /// Volumes and index: the files that it names, in the order in which they are placed.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let volumes = self.volumes.iter().map(VolumeEntry::part);
        volumes.chain([self.index_part()])
    }

    /// The index as a part.
    pub fn index_part(&self) -> Part<'_> {
        Part { name: &self.index.name, bytes: self.index.bytes, sha256: self.index.sha256 }
    }

    /// The stream and the one that it goes on from, as its number 1 says.
    pub fn succession(&self) -> Option<(StreamId, StreamId)> {
        Some((self.stream, self.succeeds?.stream))
    }

    /// Number and bytes of its envelopes.
    pub fn size(&self) -> Size {
        Size { envelopes: self.totals.envelopes, bytes: self.totals.bytes }
    }

    /// Its place in its stream; `sha256` is the digest of its own bytes.
    pub fn link(&self, sha256: Digest) -> Link {
        Link {
            sequence: self.sequence.get(),
            sha256,
            names: self.previous.into_iter().chain(self.history.iter().copied()).collect(),
            before: self.before,
            own: self.size(),
        }
    }

    fn check(&self) -> Result<(), Lie> {
        self.check_texts()?;
        self.check_numbers()?;
        self.check_links()?;
        self.check_names()?;
        self.check_sums()
    }

    fn check_texts(&self) -> Result<(), Lie> {
        require(is_zone(&self.zone), || "its zone is not of the form [a-z0-9-]{1,64}".into())?;
        require(is_created(&self.created), || "its `created` is no time of whole seconds in UTC".into())?;
        let version = self.producer.strip_prefix("airpouch ").unwrap_or_default();
        let printable = version.bytes().all(|b| b.is_ascii_graphic());
        require(!version.is_empty() && version.len() <= 64 && printable, || {
            "its producer is not `airpouch <version>`".into()
        })?;
        self.connectors.iter().enumerate().try_for_each(|(at, c)| c.check_texts(at + 1))?;
        let fits = |a: &ApplicantEntry| a.id.as_ref().is_none_or(|id| id.len() <= PARTY_TEXT_MAX);
        require(self.applicants.iter().all(fits), || format!("an applicant's id has more than {PARTY_TEXT_MAX} bytes"))
    }

    fn check_numbers(&self) -> Result<(), Lie> {
        let numbers = [
            self.promise.unwrap_or(0),
            self.totals.envelopes,
            self.totals.bytes,
            self.totals.packed,
            self.before.envelopes,
            self.before.bytes,
        ];
        require(numbers.iter().all(|n| *n <= NUMBER_MAX), || "a number is 2^53 or more".into())?;
        require(self.totals.envelopes <= BATCH_ENVELOPES_MAX, || {
            format!("it has more than {BATCH_ENVELOPES_MAX} envelopes")
        })?;
        require(self.volumes.len() <= VOLUMES_MAX, || "it names more than 9999 volumes".into())?;
        let parties = self.connectors.len().max(self.applicants.len());
        require(parties <= PARTIES_MAX, || format!("it names more than {PARTIES_MAX} connectors or applicants"))?;
        let index = &self.index;
        require(index.bytes <= INDEX_PACKED_MAX && index.unpacked <= INDEX_UNPACKED_MAX, || {
            "its index is too large".into()
        })?;
        let fits = |v: &VolumeEntry| v.bytes <= VOLUME_PACKED_MAX && v.unpacked <= VOLUME_UNPACKED_MAX;
        match self.volumes.iter().find(|v| !fits(v)) {
            Some(v) => Err(Lie::Rule(format!(
                "its volume {} is larger than a volume may be",
                self.volumes.iter().position(|o| o == v).unwrap_or(0) + 1
            ))),
            None => Ok(()),
        }
    }

    fn check_links(&self) -> Result<(), Lie> {
        let sequence = self.sequence.get();
        let first = self.sequence == Sequence::FIRST;
        require(self.previous.is_none() == first, || "`previous` is null for number 1, and for 1 only".into())?;
        require(self.succeeds.is_none() || first, || "`succeeds` stands in a number other than 1".into())?;
        require(self.succeeds.is_none_or(|s| s.stream != self.stream), || "the stream succeeds itself".into())?;
        require(!first || self.before == Size::default(), || "number 1 has nothing before it".into())?;
        let history = sequence.saturating_sub(2).min(HISTORY_LENGTH as u64);
        require(self.history.len() as u64 == history, || {
            format!("its history has {} digests, not {history}", self.history.len())
        })?;
        require(self.before.plus(self.size()).is_some(), || "its counters are 2^53 or more".into())
    }

    fn check_names(&self) -> Result<(), Lie> {
        let (stream, sequence) = (self.stream, self.sequence);
        let volume = |(k, v): (usize, &VolumeEntry)| v.name == name::volume(stream, sequence, k + 1);
        let good = self.index.name == name::index(stream, sequence) && self.volumes.iter().enumerate().all(volume);
        require(good, || "it names a file otherwise than the format does".into())
    }

    fn check_sums(&self) -> Result<(), Lie> {
        let envelopes = self.totals.envelopes;
        let by = |name: &str, counts: &mut dyn Iterator<Item = u64>| {
            let counts: Vec<u64> = counts.collect();
            let sum = counts.iter().try_fold(0u64, |sum, n| sum.checked_add(*n));
            require(sum == Some(envelopes) && counts.iter().all(|n| *n > 0), || {
                format!("the envelopes of its {name} are not the {envelopes} of its totals")
            })
        };
        by("volumes", &mut self.volumes.iter().map(|v| v.envelopes))?;
        by("connectors", &mut self.connectors.iter().map(|c| c.envelopes))?;
        by("applicants", &mut self.applicants.iter().map(|a| a.envelopes))?;
        let packed = self.parts().try_fold(0u64, |sum, p| sum.checked_add(p.bytes));
        require(packed == Some(self.totals.packed), || "its `packed` is not the sum of its files".into())?;
        let connectors: BTreeSet<_> =
            self.connectors.iter().map(|c| form::encode(&ConnectorEntry { envelopes: 0, ..c.clone() })).collect();
        require(connectors.len() == self.connectors.len(), || "a connector stands twice".into())?;
        let applicants: BTreeSet<_> = self.applicants.iter().map(|a| &a.id).collect();
        require(applicants.len() == self.applicants.len(), || "an applicant stands twice".into())
    }
}

/// `2026-11-25T02:05:00Z`: digits where digits belong; whether there is such a day decides nothing.
fn is_created(text: &str) -> bool {
    let pattern = b"0000-00-00T00:00:00Z";
    text.len() == pattern.len()
        && text.bytes().zip(pattern).all(|(b, p)| if *p == b'0' { b.is_ascii_digit() } else { b == *p })
}

fn require(holds: bool, rule: impl FnOnce() -> String) -> Result<(), Lie> {
    if holds { Ok(()) } else { Err(Lie::Rule(rule())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::is_cut;

    fn heartbeat() -> Manifest {
        let stream = StreamId::parse("c1d0a7e2-3b44-4f0e-9b3a-6a1c2d3e4f50").unwrap();
        Manifest {
            airpouch: Format::Batch1,
            stream,
            sequence: Sequence::FIRST,
            previous: None,
            succeeds: None,
            zone: "restricted".into(),
            created: "2026-11-25T02:05:00Z".into(),
            producer: "airpouch 0.1.0".into(),
            promise: None,
            totals: Totals { envelopes: 0, bytes: 0, packed: 9 },
            before: Size::default(),
            connectors: vec![],
            applicants: vec![],
            index: IndexEntry {
                name: name::index(stream, Sequence::FIRST),
                bytes: 9,
                sha256: Digest::of(b""),
                unpacked: 15,
            },
            volumes: vec![],
            history: vec![],
        }
    }

    #[test]
    fn a_manifest_is_read_back_from_its_own_bytes_only() {
        let bytes = heartbeat().encode();
        assert!(bytes.starts_with(TAG) && !is_cut(&bytes));
        assert_eq!(Manifest::parse(&bytes), Ok(heartbeat()));
        let spaced = String::from_utf8(bytes.clone()).unwrap().replacen("\"stream\":", "\"stream\": ", 1);
        assert_eq!(Manifest::parse(spaced.as_bytes()), Err(Lie::Form(NotInForm::Bytes)));
        let mut more = bytes.clone();
        more.push(b'\n');
        assert!(Manifest::parse(&more).is_err());
        let without = String::from_utf8(bytes).unwrap().replacen("\"promise\":null,", "", 1);
        assert!(Manifest::parse(without.as_bytes()).is_err());
    }

    #[test]
    fn cut_manifest_is_reported_as_cut() {
        let bytes = heartbeat().encode();
        for length in 0..bytes.len() {
            assert!(is_cut(&bytes[..length]), "{length}");
        }
    }

    #[test]
    fn invalid_manifest_is_refused_with_the_broken_rule() {
        type Change = fn(&mut Manifest);
        let lies: [(Change, &str); 8] = [
            (|m| m.zone = "\u{1b}[2J".into(), "zone"),
            (|m| m.created = "yesterday".into(), "created"),
            (|m| m.totals.envelopes = 1, "totals"),
            (|m| m.totals.packed = 8, "packed"),
            (|m| m.before.bytes = 1, "nothing before"),
            (|m| m.previous = Some(Digest::of(b"")), "previous"),
            (|m| m.history.push(Digest::of(b"")), "history"),
            (|m| m.index.name = "../index.zst".into(), "names a file"),
        ];
        for (change, word) in lies {
            let mut manifest = heartbeat();
            change(&mut manifest);
            let lie = Manifest::parse(&manifest.encode()).expect_err(word).to_string();
            assert!(lie.contains(word), "{lie}");
        }
    }
}
