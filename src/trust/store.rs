//! The trust folder: which keys may sign which streams, for which zones, up to which number.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::text::harmless;
use crate::trust::key::{KeyError, PrivateKey, PublicKey, is_published_test_key};
use crate::trust::signature::{Authentic, NotAuthentic, SignatureFile, Unverified, key_id_in};

/// The public keys that are trusted, and for what: the key files of a folder and its `trust.toml`.
#[derive(Debug, Clone, Default)]
pub struct TrustStore {
    keys: BTreeMap<PublicKey, Entry>,
    need: usize,
    warnings: Vec<String>,
}

impl TrustStore {
    /// Makes the store of a folder's files, by name and content, and of its `trust.toml`.
    ///
    /// Without `trust.toml` every public key may sign anything whose file is named as keys are (`.pem`, `.pub`, `.der`,
    /// in any case): whoever renames a key to `site-a.pem.old` has taken it out. Other files that are no usable public keys are
    /// [warnings](Self::warnings). With it, a key that is not listed signs nothing, and whatever is wrong
    /// with what is listed is an error. The published keys of the source tree's `keys/` are refused unless
    /// `test_keys`.
    ///
    /// # Errors
    /// [`TrustError`]: what is wrong, in which file, and what to do.
    pub fn from_files(
        keys: Vec<(String, Vec<u8>)>,
        trust_toml: Option<&str>,
        test_keys: bool,
    ) -> Result<Self, TrustError> {
        let mut folder = Folder::read(keys, test_keys);
        let (keys, need) = match trust_toml {
            None => (folder.every_key(), 1),
            Some(text) => {
                let listed = Listed::parse(text)?;
                (folder.listed_keys(listed.key)?, listed.need)
            }
        };
        // A revoked key signs nothing: it is in the store so that what it did sign can be named.
        let usable = keys.values().filter(|key| key.until != Some(0)).count();
        if usable == 0 {
            if !keys.is_empty() {
                let all = "every key in trust.toml is revoked (until = 0)";
                folder.warnings.push(all.to_owned());
            }
            return Err(TrustError::NoKey { why: folder.warnings });
        }
        if need == 0 || need > usable {
            return Err(TrustError::Need { need, usable });
        }
        Ok(Self { keys, need, warnings: folder.warnings })
    }

    /// A store of these keys, each of which may sign anything: an exporter's own, to know its batches by.
    pub fn of_keys(keys: &[PublicKey]) -> Self {
        let entry = |key: &PublicKey| {
            let any = Entry { who: key.id(), zones: None, streams: None, until: None };
            (key.clone(), any)
        };
        Self { keys: keys.iter().map(entry).collect(), need: 1, warnings: Vec::new() }
    }

    /// Lets through what at least one trusted key has signed, with *all* trusted keys whose signatures hold,
    /// each once, however many files it comes by. A key that is revoked or ended counts here; what signers
    /// may sign is for [`allows`](Self::allows) to say, which knows what the bytes are.
    ///
    /// # Errors
    /// [`NotAuthentic`]. Only a signature that bears the manifest's name can be false, since any other may
    /// be of something else.
    pub fn authenticate(&self, unverified: Unverified) -> Result<Authentic, NotAuthentic> {
        let Unverified { bytes, signatures } = unverified;
        let holds = |key: &&PublicKey| {
            let mut files = signatures.iter();
            files.any(|file| key.verifies(&bytes, &file.signature))
        };
        let signers: BTreeSet<PublicKey> = self.keys.keys().filter(holds).cloned().collect();
        if signers.is_empty() {
            return Err(self.why_not_authentic(&signatures));
        }
        Ok(Authentic::new(bytes, signers))
    }

    /// Whether enough different keys have signed a batch that may sign it: `streams[0]` is its stream, the
    /// rest are those that it succeeds, from which trust is inherited (but not by a key with `until`, which
    /// ends with its one stream). This is the one place where signers are counted.
    ///
    /// # Errors
    /// [`NotAllowed`], the most telling reason.
    pub fn allows(
        &self,
        signers: &BTreeSet<PublicKey>,
        streams: &[Uuid],
        zone: &str,
        sequence: u64,
    ) -> Result<(), NotAllowed> {
        let streams = self.streams_that_count(streams);
        let known = signers.iter().filter_map(|key| self.keys.get(key));
        let (allowed, refused): (Vec<_>, Vec<_>) =
            known.map(|entry| entry.may_sign(streams, zone, sequence)).partition(Result::is_ok);
        let have = allowed.len();
        if have >= self.need {
            return Ok(());
        }
        let too_few = NotAllowed::TooFew { have, need: self.need };
        let refused = refused.into_iter().filter_map(Result::err);
        // That a key has ended says more than a number; that one of several is for something else does not.
        let telling = refused.filter(|reason| have == 0 || reason.rank() > NotAllowed::Zone.rank());
        Err(telling.max_by_key(NotAllowed::rank).unwrap_or(too_few))
    }

    /// Those of the signers that may sign it, each by itself.
    pub fn permitted<'a>(
        &self,
        signers: &'a BTreeSet<PublicKey>,
        streams: &[Uuid],
        zone: &str,
        sequence: u64,
    ) -> Vec<&'a PublicKey> {
        let streams = self.streams_that_count(streams);
        let may = |key: &&PublicKey| self.keys.get(key).is_some_and(|e| e.may_sign(streams, zone, sequence).is_ok());
        signers.iter().filter(may).collect()
    }

    /// Trust in a stream that trust.toml names is never taken from another: whoever may sign that other could else claim
    /// that the named one succeeds it.
    fn streams_that_count<'a>(&self, streams: &'a [Uuid]) -> &'a [Uuid] {
        let named = streams.first().is_some_and(|own| self.names(own));
        if named { &streams[..1] } else { streams }
    }

    fn names(&self, stream: &Uuid) -> bool {
        self.keys.values().any(|entry| entry.streams.as_ref().is_some_and(|streams| streams.contains(stream)))
    }

    /// Whose key this is: the name in `trust.toml`, else the key's file name; for a key that is not in the
    /// store, its id.
    pub fn who(&self, key: &PublicKey) -> String {
        match self.keys.get(key) {
            Some(entry) => entry.who.clone(),
            None => key.id(),
        }
    }

    /// The ids of all keys, as signature files are named for them.
    pub fn ids(&self) -> Vec<String> {
        self.keys.keys().map(PublicKey::id).collect()
    }

    /// The keys and whose they are, revoked ones too, in the order of their bytes.
    pub fn keys(&self) -> impl Iterator<Item = (&PublicKey, &str)> {
        self.keys.iter().map(|(key, entry)| (key, entry.who.as_str()))
    }

    /// The keys that have no end, and whose they are.
    pub fn unended(&self) -> impl Iterator<Item = (&PublicKey, &str)> {
        self.keys.iter().filter(|(_, entry)| entry.until.is_none()).map(|(key, entry)| (key, entry.who.as_str()))
    }

    /// The streams that trust.toml lists for keys that have no end, and whose they are.
    pub fn expected(&self) -> impl Iterator<Item = (&Uuid, &str)> {
        let listed = self.keys.values().filter(|entry| entry.until.is_none());
        listed.flat_map(|entry| entry.streams.iter().flatten().map(|stream| (stream, entry.who.as_str())))
    }

    /// The keys with whose they are and what they may sign, for the journal; in the order of their bytes.
    pub fn described(&self) -> Vec<TrustedKey> {
        let described = |(key, entry): (&PublicKey, &Entry)| TrustedKey {
            who: entry.who.clone(),
            fingerprint: key.fingerprint(),
            key: key.to_pem(),
            zones: entry.zones.clone(),
            streams: entry.streams.as_ref().map(|streams| streams.iter().map(Uuid::to_string).collect()),
            until: entry.until,
        };
        self.keys.iter().map(described).collect()
    }

    /// The store that was described so, as far as each key can be read; the rest signs nothing.
    pub fn of_described(need: usize, described: &[TrustedKey]) -> Self {
        let read = |of: &TrustedKey| {
            let streams = of.streams.as_ref().map(|streams| streams.iter().filter_map(|s| s.parse().ok()).collect());
            let entry = Entry { who: of.who.clone(), zones: of.zones.clone(), streams, until: of.until };
            Some((PublicKey::from_pem(of.key.as_bytes()).ok()?, entry))
        };
        Self { keys: described.iter().filter_map(read).collect(), need, warnings: Vec::new() }
    }

    /// Those of the streams that trust.toml lists for some key, in their order: what a batch may take over from others.
    pub fn listed<'a>(&self, streams: &'a [Uuid]) -> impl Iterator<Item = &'a Uuid> {
        streams.iter().filter(|stream| self.names(stream))
    }

    /// How many different keys must have signed.
    pub fn need(&self) -> usize {
        self.need
    }

    /// What in the folder is odd but no error, a sentence each, harmless on a terminal.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn why_not_authentic(&self, signatures: &[SignatureFile]) -> NotAuthentic {
        let trusted: BTreeSet<String> = self.keys.keys().map(PublicKey::id).collect();
        let named: Vec<_> = signatures.iter().filter(|file| file.named).collect();
        if named.is_empty() {
            return NotAuthentic::NoSignature;
        }
        let mut ids = BTreeSet::new();
        for file in named {
            let Some(id) = key_id_in(&file.name) else {
                continue;
            };
            if trusted.contains(&id) {
                let name = file.name.clone();
                return NotAuthentic::False { name, id };
            }
            ids.insert(id);
        }
        NotAuthentic::Unknown { ids: ids.into_iter().collect() }
    }
}

/// A key of a trust store, as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedKey {
    /// Whose it is.
    pub who: String,
    /// Its fingerprint.
    pub fingerprint: Digest,
    /// The public key, in PEM.
    pub key: String,
    /// The zones for which it may sign; none are all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zones: Option<BTreeSet<String>>,
    /// The streams that it may sign; none are all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<BTreeSet<String>>,
    /// The last number that it may sign; 0 for a key that is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// Why signers that are trusted may not sign a batch, as a phrase that goes on from the batch's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// None of them may sign this stream, nor one that it succeeds.
    #[error(
        "is signed by a key that may not sign this stream: add the stream to the key in trust.toml, if that is meant"
    )]
    Stream,
    /// One of them may sign the stream, but not for this zone.
    #[error(
        "is signed by a key that may not sign for this zone: add the zone to the key in trust.toml, if that is meant"
    )]
    Zone,
    /// One of them may sign the stream only up to a lower number.
    #[error("is signed by {}, a key that ended with number {until} of its stream (until in trust.toml)", harmless(.who))]
    Ended {
        /// Whose key it is.
        who: String,
        /// The last number that it may sign.
        until: u64,
    },
    /// One of them is revoked.
    #[error("is signed by {}, a key that is revoked (until = 0 in trust.toml)", harmless(.who))]
    Revoked {
        /// Whose key it is.
        who: String,
    },
    /// They may sign it, but are fewer than `need` in `trust.toml`.
    #[error("is signed by {have} of the {need} different keys that trust.toml needs: the others have yet to sign")]
    TooFew {
        /// How many different keys have signed that may.
        have: usize,
        /// How many must.
        need: usize,
    },
}

impl NotAllowed {
    /// How near the signer came, and so how much the reason tells.
    fn rank(&self) -> u8 {
        match self {
            Self::TooFew { .. } => 0,
            Self::Stream => 1,
            Self::Zone => 2,
            Self::Ended { .. } => 3,
            Self::Revoked { .. } => 4,
        }
    }
}

/// Why a trust folder cannot be used: what, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// No key in it may sign anything.
    #[error("the trust store has no usable public key: put the exporter's .pub.pem file there{}", reasons(.why))]
    NoKey {
        /// What was wrong with what is there, a sentence each.
        why: Vec<String>,
    },
    /// `trust.toml` is not of its form.
    #[error("trust.toml, line {line}: {}; it has need, and [[key]] with file, who, zones, streams, until", harmless(.what))]
    Toml {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// A file that is listed is not there.
    #[error("trust.toml lists {}, which is not in the trust store: put the file there, or take the entry out", harmless(.file))]
    Missing {
        /// The name in `trust.toml`.
        file: String,
    },
    /// A file that is listed is no public key that can be trusted.
    #[error("{}, listed in trust.toml, {problem}", harmless(.file))]
    Unreadable {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        problem: KeyError,
    },
    /// A file that is listed is a published test key.
    #[error("{}, listed in trust.toml, {PUBLISHED}", harmless(.file))]
    Published {
        /// The file's name.
        file: String,
    },
    /// Two entries are of one key, under one file name or two.
    #[error("trust.toml lists one key twice, as {} and {}: take one of the entries out", harmless(.first), harmless(.second))]
    Twice {
        /// The file of the earlier entry.
        first: String,
        /// The file of the later one.
        second: String,
    },
    /// `until` counts in one stream, and the entry has none or several.
    #[error("trust.toml, {}: until is the last number of one stream; give that key exactly one stream", harmless(.file))]
    Until {
        /// The entry's file.
        file: String,
    },
    /// A zone's name has a form that no zone has.
    #[error("trust.toml, {}: {} is not a valid zone; zones are 1 to 64 of a-z, 0-9 and -", harmless(.file), quoted(.zone))]
    Zone {
        /// The entry's file.
        file: String,
        /// The zone as it was written.
        zone: String,
    },
    /// A stream's id has a form that no stream has.
    #[error("trust.toml, {}: {} is not a valid stream; write its id in lower case, as airpouch status prints it", harmless(.file), quoted(.stream))]
    Stream {
        /// The entry's file.
        file: String,
        /// The stream as it was written.
        stream: String,
    },
    /// An empty list would let a key sign nothing, while an absent one lets it sign anything.
    #[error("trust.toml, {}: {list} is empty; take the line out for any, or revoke the key with until = 0", harmless(.file))]
    Empty {
        /// The entry's file.
        file: String,
        /// `zones` or `streams`.
        list: &'static str,
    },
    /// `need` is 0, or more than there are keys.
    #[error("trust.toml: need = {need}, with {usable} usable in it: write a number from 1 to that, or list more keys")]
    Need {
        /// The number as it was written.
        need: usize,
        /// How many keys are listed and not revoked.
        usable: usize,
    },
}

/// What one key may sign; `None` is anything.
#[derive(Debug, Clone)]
struct Entry {
    who: String,
    zones: Option<BTreeSet<String>>,
    streams: Option<BTreeSet<Uuid>>,
    /// The last number it may sign, of the one stream in `streams`.
    until: Option<u64>,
}

impl Entry {
    fn may_sign(&self, streams: &[Uuid], zone: &str, sequence: u64) -> Result<(), NotAllowed> {
        let who = || self.who.clone();
        if self.until == Some(0) {
            return Err(NotAllowed::Revoked { who: who() });
        }
        let listed = |stream: &Uuid| match &self.streams {
            None => true,
            Some(listed) => listed.contains(stream),
        };
        if self.streams.is_some() && !streams.iter().any(listed) {
            return Err(NotAllowed::Stream);
        }
        if self.zones.as_ref().is_some_and(|zones| !zones.contains(zone)) {
            return Err(NotAllowed::Zone);
        }
        match self.until {
            Some(until) if sequence > until || !streams.first().is_some_and(listed) => {
                Err(NotAllowed::Ended { who: who(), until })
            }
            _ => Ok(()),
        }
    }
}

/// How the names of files end that hold keys.
const KEY_NAMES: [&str; 3] = [".pem", ".pub", ".der"];

/// Whether a file is named as keys are.
fn is_named_as_a_key(file: &str) -> bool {
    let name = file.to_ascii_lowercase();
    KEY_NAMES.iter().any(|end| name.ends_with(end))
}

/// The files of the folder that may hold keys, read, in the order of their names.
struct Folder {
    files: BTreeMap<String, Result<PublicKey, TrustError>>,
    warnings: Vec<String>,
}

impl Folder {
    fn read(keys: Vec<(String, Vec<u8>)>, test_keys: bool) -> Self {
        let mut files = BTreeMap::new();
        let mut warnings = Vec::new();
        for (file, text) in keys {
            if !is_named_as_a_key(&file) && !holds_a_key(&text) {
                continue;
            }
            let key = match PublicKey::from_pem(&text) {
                Ok(key) if is_published_test_key(&key) && !test_keys => {
                    Err(TrustError::Published { file: file.clone() })
                }
                Ok(key) => Ok(key),
                Err(problem) => {
                    if problem == KeyError::IsPrivate && !(test_keys && is_test_key(&text)) {
                        let name = harmless(&file);
                        warnings.push(format!("{name} in the trust store {problem}"));
                    }
                    let file = file.clone();
                    Err(TrustError::Unreadable { file, problem })
                }
            };
            files.insert(file, key);
        }
        Self { files, warnings }
    }

    /// Without trust.toml: every key, for anything.
    fn every_key(&mut self) -> BTreeMap<PublicKey, Entry> {
        let mut keys: BTreeMap<PublicKey, Entry> = BTreeMap::new();
        for (file, key) in &self.files {
            let name = harmless(file);
            match key {
                Ok(_) if !is_named_as_a_key(file) => {
                    self.warnings.push(format!("{name} holds a public key and is ignored: name it {name}.pem"));
                }
                Ok(key) => match keys.get(key) {
                    Some(first) => {
                        let first = harmless(&first.who);
                        let text = format!("{name} holds the same key as {first}: it counts once");
                        self.warnings.push(text);
                    }
                    None => {
                        keys.insert(key.clone(), Entry::of_anything(file));
                    }
                },
                Err(TrustError::Published { .. }) => {
                    self.warnings.push(format!("{name} {PUBLISHED}"));
                }
                // Private keys were warned about when they were read.
                Err(TrustError::Unreadable { problem, .. }) if *problem != KeyError::IsPrivate => {
                    self.warnings.push(format!("{name} is ignored: it {problem}"));
                }
                Err(_) => {}
            }
        }
        keys
    }

    /// With trust.toml: the keys that it lists, for what it says.
    fn listed_keys(&self, listed: Vec<ListedKey>) -> Result<BTreeMap<PublicKey, Entry>, TrustError> {
        let mut keys = BTreeMap::new();
        let mut file_of: BTreeMap<PublicKey, String> = BTreeMap::new();
        for listed in listed {
            let file = listed.file.clone();
            let key = match self.files.get(&file) {
                None => return Err(TrustError::Missing { file }),
                Some(key) => key.clone()?,
            };
            if let Some(first) = file_of.insert(key.clone(), file.clone()) {
                let second = file;
                return Err(TrustError::Twice { first, second });
            }
            keys.insert(key, listed.into_entry()?);
        }
        Ok(keys)
    }
}

impl Entry {
    fn of_anything(file: &str) -> Self {
        Self { who: file.to_owned(), zones: None, streams: None, until: None }
    }
}

/// `trust.toml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    #[serde(default = "one")]
    need: usize,
    #[serde(default)]
    key: Vec<ListedKey>,
}

/// One `[[key]]` of `trust.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedKey {
    file: String,
    who: Option<String>,
    zones: Option<Vec<String>>,
    streams: Option<Vec<String>>,
    until: Option<u64>,
}

impl Listed {
    fn parse(text: &str) -> Result<Self, TrustError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.as_bytes().iter().take(at);
            TrustError::Toml {
                line: 1 + before.filter(|&&byte| byte == b'\n').count(),
                what: error.message().to_owned(),
            }
        })
    }
}

impl ListedKey {
    fn into_entry(self) -> Result<Entry, TrustError> {
        let file = self.file;
        let not_empty = |list, is_empty| {
            let file = file.clone();
            if is_empty { Err(TrustError::Empty { file, list }) } else { Ok(()) }
        };
        not_empty("zones", self.zones.as_ref().is_some_and(Vec::is_empty))?;
        not_empty("streams", self.streams.as_ref().is_some_and(Vec::is_empty))?;
        let zones = self.zones.map(|zones| read_all(zones, &file, read_zone));
        let streams = self.streams.map(|streams| read_all(streams, &file, read_stream));
        let streams: Option<BTreeSet<Uuid>> = streams.transpose()?;
        if self.until.is_some_and(|until| until > 0) && streams.as_ref().is_none_or(|streams| streams.len() != 1) {
            return Err(TrustError::Until { file });
        }
        Ok(Entry { zones: zones.transpose()?, streams, until: self.until, who: self.who.unwrap_or(file) })
    }
}

fn read_all<T: Ord>(
    texts: Vec<String>,
    file: &str,
    read: impl Fn(String, &str) -> Result<T, TrustError>,
) -> Result<BTreeSet<T>, TrustError> {
    texts.into_iter().map(|text| read(text, file)).collect()
}

fn read_zone(zone: String, file: &str) -> Result<String, TrustError> {
    let of_zones = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if (1..=64).contains(&zone.len()) && zone.bytes().all(of_zones) {
        return Ok(zone);
    }
    let file = file.to_owned();
    Err(TrustError::Zone { file, zone })
}

/// Only the hyphenated lower-case form, so that an id in trust.toml is found by searching for its text.
fn read_stream(stream: String, file: &str) -> Result<Uuid, TrustError> {
    match Uuid::try_parse(&stream) {
        Ok(id) if id.to_string() == stream => Ok(id),
        _ => {
            let file = file.to_owned();
            Err(TrustError::Stream { file, stream })
        }
    }
}

/// What is said of the keys in `keys/` of the source tree.
const PUBLISHED: &str = "is a published test key, whose private half everybody has: use a key of your own, or --test-keys to try things out";

/// Whether this is the private half of a published test key: with `--test-keys` the source tree's `keys/`
/// is a trust store as it is.
fn is_test_key(text: &[u8]) -> bool {
    PrivateKey::from_pem(text, None).is_ok_and(|key| is_published_test_key(&key.public()))
}

/// Whether this is a key of either kind, good or not.
fn holds_a_key(content: &[u8]) -> bool {
    !matches!(PublicKey::from_pem(content), Err(KeyError::NoPem | KeyError::Malformed(_)))
}

fn reasons(why: &[String]) -> String {
    if why.is_empty() {
        return String::new();
    }
    format!(" ({})", why.join("; "))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", harmless(text))
}

fn one() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "c1d0a7e2-3b44-4f0e-9b3a-6a1c2d3e4f50";
    const B: &str = "0a4f5b80-0000-4000-8000-000000000001";
    const MESSAGE: &[u8] = b"{\"airpouch\":\"batch/1\",}";
    const TAG: &str = "airpouch-c1d0a7e23b444f0e-00000004";

    fn key(number: u8) -> PrivateKey {
        PrivateKey::from_seed([number; 32])
    }

    fn published() -> PublicKey {
        PublicKey::from_pem(include_bytes!("../../keys/test-a.pub.pem")).unwrap()
    }

    fn files(keys: &[(&str, u8)]) -> Vec<(String, Vec<u8>)> {
        let file = |&(name, number): &(&str, u8)| {
            let pem = key(number).public().to_pem();
            (name.to_owned(), pem.into_bytes())
        };
        keys.iter().map(file).collect()
    }

    fn store(keys: &[(&str, u8)], toml: &str) -> Result<TrustStore, TrustError> {
        TrustStore::from_files(files(keys), Some(toml), false)
    }

    fn any(keys: &[(&str, u8)]) -> TrustStore {
        TrustStore::from_files(files(keys), None, false).unwrap()
    }

    fn signers(numbers: &[u8]) -> BTreeSet<PublicKey> {
        numbers.iter().map(|&number| key(number).public()).collect()
    }

    fn streams(ids: &[&str]) -> Vec<Uuid> {
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    /// A signature file of this key, named as it should be.
    fn signature(number: u8, message: &[u8]) -> SignatureFile {
        let key = key(number);
        SignatureFile { name: format!("{TAG}.{}.sig", key.public().id()), signature: key.sign(message), named: true }
    }

    fn authenticate(store: &TrustStore, signatures: Vec<SignatureFile>) -> Result<BTreeSet<PublicKey>, NotAuthentic> {
        let authentic = store.authenticate(Unverified::new(MESSAGE.to_vec(), signatures))?;
        let signed = authentic.into_signed(|_| Ok::<_, ()>(())).unwrap();
        assert_eq!(signed.bytes(), MESSAGE);
        Ok(signed.signers().clone())
    }

    // ── the folder ──

    #[test]
    fn without_trust_toml_every_public_key_may_sign_anything() {
        let store = any(&[("a.pem", 1), ("b.pem", 2)]);
        let who: Vec<&str> = store.keys().map(|(_, who)| who).collect();
        assert_eq!(who.len(), 2);
        assert_eq!((store.need(), store.warnings().len()), (1, 0));
        assert_eq!(store.who(&key(1).public()), "a.pem");
        assert_eq!(store.who(&key(9).public()), key(9).public().id());
        for number in [1, 2] {
            let allowed = store.allows(&signers(&[number]), &streams(&[A]), "any", 7);
            assert_eq!(allowed, Ok(()));
        }
    }

    #[test]
    fn a_private_key_left_in_the_folder_is_warned_about_and_is_no_error() {
        let mut files = files(&[("a.pub.pem", 1)]);
        files.push(("a.key.pem".to_owned(), key(1).to_pem().as_bytes().to_vec()));
        files.push(("notes\x1b.pem".to_owned(), b"none".to_vec()));
        let store = TrustStore::from_files(files.clone(), None, false).unwrap();
        let warnings = store.warnings().join("\n");
        assert_eq!(store.warnings().len(), 2, "{warnings}");
        assert!(warnings.contains("a.key.pem in the trust store is a private key"));
        assert!(warnings.contains("notes\\u{1b}.pem is ignored"), "{warnings}");
        let toml = "[[key]]\nfile = \"a.pub.pem\"\n";
        let store = TrustStore::from_files(files, Some(toml), false).unwrap();
        assert_eq!(store.warnings().len(), 1);
    }

    /// The bytes within a PEM file.
    fn der(pem: &[u8]) -> Vec<u8> {
        use base64::Engine as _;
        let text = std::str::from_utf8(pem).unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        base64::engine::general_purpose::STANDARD.decode(body).unwrap()
    }

    #[test]
    fn a_key_is_read_by_the_names_that_keys_have_and_named_by_others() {
        let pem = |number| key(number).public().to_pem().into_bytes();
        let spki = der(&pem(3));
        let files = vec![
            ("a.PEM".to_owned(), pem(1)),
            ("b.pub".to_owned(), pem(2)),
            ("c.der".to_owned(), spki.clone()),
            ("d.txt".to_owned(), pem(4)),
            ("e.pem.old".to_owned(), pem(5)),
            ("README".to_owned(), b"who signs what".to_vec()),
            ("id.pub".to_owned(), b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me".to_vec()),
        ];
        let store = TrustStore::from_files(files.clone(), None, false).unwrap();
        let mut trusted: Vec<&str> = store.keys().map(|(_, who)| who).collect();
        trusted.sort_unstable();
        assert_eq!(trusted, ["a.PEM", "b.pub", "c.der"]);
        let warnings = store.warnings().join("\n");
        assert!(warnings.contains("d.txt holds a public key and is ignored: name it d.txt.pem"), "{warnings}");
        assert!(warnings.contains("e.pem.old") && warnings.contains("form of OpenSSH"), "{warnings}");
        assert!(!warnings.contains("README"), "{warnings}");
        // Whoever lists a file by its name means it.
        let toml = "[[key]]\nfile = \"d.txt\"\n";
        assert_eq!(TrustStore::from_files(files, Some(toml), false).unwrap().who(&key(4).public()), "d.txt");
    }

    #[test]
    fn an_empty_folder_and_one_without_a_usable_key_say_what_is_there() {
        let none = TrustStore::from_files(Vec::new(), None, false).unwrap_err();
        assert_eq!(none, TrustError::NoKey { why: Vec::new() });
        let text = key(1).to_pem().as_bytes().to_vec();
        let files = vec![("site.key.pem".to_owned(), text)];
        let error = TrustStore::from_files(files, None, false).unwrap_err();
        assert!(matches!(error, TrustError::NoKey { .. }));
        let error = error.to_string();
        assert!(error.contains("no usable public key") && error.contains("site.key.pem"));
        let error = store(&[("a.pem", 1)], "").unwrap_err();
        assert!(matches!(error, TrustError::NoKey { .. }), "{error}");
    }

    #[test]
    fn the_published_test_keys_are_refused_unless_asked_for() {
        let pem = published().to_pem().into_bytes();
        let files = || vec![("x.pem".to_owned(), pem.clone())];
        let error = TrustStore::from_files(files(), None, false).unwrap_err();
        assert!(error.to_string().contains("published test key"), "{error}");
        let toml = Some("[[key]]\nfile = \"x.pem\"\n");
        let error = TrustStore::from_files(files(), toml, false).unwrap_err();
        let file = "x.pem".to_owned();
        assert_eq!(error, TrustError::Published { file });
        for toml in [None, toml] {
            assert!(TrustStore::from_files(files(), toml, true).is_ok());
        }
    }

    #[test]
    fn the_folder_keys_of_the_source_tree_is_a_trust_store_without_warnings() {
        let files = [
            ("test-a.key.pem", include_str!("../../keys/test-a.key.pem")),
            ("test-a.pub.pem", include_str!("../../keys/test-a.pub.pem")),
            ("test-b.key.pem", include_str!("../../keys/test-b.key.pem")),
            ("test-b.pub.pem", include_str!("../../keys/test-b.pub.pem")),
        ];
        let files = || {
            let own = |(name, text): (&str, &str)| (name.to_owned(), text.as_bytes().to_vec());
            files.map(own).to_vec()
        };
        let toml = include_str!("../../keys/trust.toml");
        for toml in [None, Some(toml)] {
            let store = TrustStore::from_files(files(), toml, true).unwrap();
            assert_eq!((store.keys().count(), store.warnings()), (2, &[][..]));
        }
    }

    #[test]
    fn a_weak_key_cannot_be_listed() {
        let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n";
        let files = || vec![("a.pem".to_owned(), pem.as_bytes().to_vec())];
        let toml = Some("[[key]]\nfile = \"a.pem\"\n");
        let error = TrustStore::from_files(files(), toml, false).unwrap_err();
        let problem = KeyError::Weak;
        let file = "a.pem".to_owned();
        assert_eq!(error, TrustError::Unreadable { file, problem });
        let error = TrustStore::from_files(files(), None, false).unwrap_err();
        assert!(error.to_string().contains("weak key"), "{error}");
    }

    // ── trust.toml ──

    #[test]
    fn a_trust_toml_as_the_guide_shows_it_is_read() {
        let text = format!(
            "\u{feff}# Who may sign what.\r\nneed = 1 # keys\r\n\r\n[[key]]\r\nfile = \"a.pem\"\r\nwho = \"Site A\"\r\nzones = [\"restricted\"]\r\nstreams = [\"{A}\"]\r\n\r\n[[key]]\r\nfile = \"b.pem\"\r\nstreams = [\"{A}\"]\r\nuntil = 57\r\n"
        );
        let store = store(&[("a.pem", 1), ("b.pem", 2), ("c.pem", 3)], &text).unwrap();
        assert_eq!(store.who(&key(1).public()), "Site A");
        assert_eq!(store.who(&key(2).public()), "b.pem");
        assert_eq!(store.keys().count(), 2);
    }

    #[test]
    fn a_key_that_is_not_listed_signs_nothing() {
        let keys = [("a.pem", 1), ("b.pem", 2)];
        let store = store(&keys, "[[key]]\nfile = \"a.pem\"\n").unwrap();
        let error = authenticate(&store, vec![signature(2, MESSAGE)]).unwrap_err();
        let ids = vec![key(2).public().id()];
        assert_eq!(error, NotAuthentic::Unknown { ids });
        let few = NotAllowed::TooFew { have: 0, need: 1 };
        let allowed = store.allows(&signers(&[2]), &streams(&[A]), "x", 1);
        assert_eq!(allowed, Err(few));
    }

    #[test]
    fn a_mistake_in_trust_toml_is_told_with_its_place() {
        let entry = |lines: &str| format!("[[key]]\nfile = \"a.pem\"\n{lines}\n");
        let two = format!("streams = [\"{A}\", \"{B}\"]\nuntil = 3");
        for (toml, expected) in [
            (entry("zone = [\"x\"]"), "line 3: unknown field `zone`"),
            ("needs = 1\n".to_owned(), "line 1: unknown field `needs`"),
            (entry("zones = \"x\""), "line 3: invalid type"),
            ("need = -1\n".to_owned(), "line 1: invalid value"),
            ("[[key]]\nwho = \"x\"\n".to_owned(), "missing field `file`"),
            ("need = 1\n\n[[key\n".to_owned(), "line 3:"),
            (entry("until = 3"), "a.pem: until is the last number of one stream"),
            (entry(&two), "exactly one stream"),
            (entry("zones = [\"Restricted\"]"), "\"Restricted\" is not a valid zone"),
            (entry("zones = [\"\"]"), "\"\" is not a valid zone"),
            (entry("zones = []"), "zones is empty"),
            (entry("streams = []"), "streams is empty"),
            (entry("streams = [\"c1d0a7e2\"]"), "\"c1d0a7e2\" is not a valid stream"),
            (entry(&format!("streams = [\"{}\"]", A.to_uppercase())), "lower case"),
            (entry(&format!("streams = [\"{}\"]", A.replace('-', ""))), "is not a valid stream"),
            ("[[key]]\nfile = \"b.pem\"\n".to_owned(), "b.pem, which is not in the trust store"),
            (format!("need = 0\n{}", entry("")), "need = 0, with 1 usable"),
            (format!("need = 2\n{}", entry("")), "need = 2, with 1 usable"),
            (entry("") + &entry(""), "one key twice, as a.pem and a.pem"),
        ] {
            let error = store(&[("a.pem", 1)], &toml).unwrap_err().to_string();
            assert!(error.contains(expected), "{toml}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_listed_file_that_is_no_public_key_is_an_error() {
        let toml = Some("[[key]]\nfile = \"a.pem\"\n");
        for (text, expected) in [(&b"x"[..], "holds no PEM key"), (key(1).to_pem().as_bytes(), "is a private key")] {
            let files = vec![("a.pem".to_owned(), text.to_vec())];
            let error = TrustStore::from_files(files, toml, false).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    // ── signatures ──

    #[test]
    fn all_trusted_signers_are_found_each_once() {
        let store = any(&[("a.pem", 1), ("b.pem", 2), ("c.pem", 3)]);
        let files = vec![
            signature(1, MESSAGE),
            signature(2, MESSAGE),
            signature(2, MESSAGE),
            signature(9, MESSAGE),
            signature(3, b"other"),
        ];
        assert_eq!(authenticate(&store, files), Ok(signers(&[1, 2])));
    }

    #[test]
    fn a_signature_that_a_scanner_renamed_holds_all_the_same() {
        let store = any(&[("a.pem", 1)]);
        let mut file = signature(1, MESSAGE);
        file.name = "0001.bin".to_owned();
        file.named = false;
        assert_eq!(authenticate(&store, vec![file]), Ok(signers(&[1])));
    }

    #[test]
    fn a_changed_manifest_is_false_under_the_key_that_its_signature_names() {
        let store = any(&[("a.pem", 1)]);
        let file = signature(1, b"as it was");
        let (name, id) = (file.name.clone(), key(1).public().id());
        let error = authenticate(&store, vec![signature(9, MESSAGE), file]).unwrap_err();
        assert_eq!(error, NotAuthentic::False { name, id });
    }

    #[test]
    fn only_a_signature_that_bears_the_name_can_be_false() {
        let store = any(&[("a.pem", 1)]);
        let mut file = signature(1, b"another batch");
        file.named = false;
        let error = authenticate(&store, vec![file]).unwrap_err();
        assert_eq!(error, NotAuthentic::NoSignature);
        let error = authenticate(&store, Vec::new()).unwrap_err();
        assert_eq!(error, NotAuthentic::NoSignature);
    }

    #[test]
    fn an_attacker_cannot_spoil_a_good_batch_by_adding_a_false_signature() {
        let store = any(&[("a.pem", 1), ("b.pem", 2)]);
        let files = vec![signature(2, b"other"), signature(1, MESSAGE)];
        assert_eq!(authenticate(&store, files), Ok(signers(&[1])));
    }

    #[test]
    fn an_unknown_key_that_takes_a_trusted_ones_name_is_false() {
        let store = any(&[("a.pem", 1)]);
        let mut file = signature(9, MESSAGE);
        file.name = signature(1, MESSAGE).name.to_uppercase();
        let error = authenticate(&store, vec![file]).unwrap_err();
        assert!(matches!(error, NotAuthentic::False { .. }), "{error}");
    }

    #[test]
    fn strangers_signatures_are_named_each_once() {
        let store = any(&[("a.pem", 1)]);
        let mut odd = signature(8, MESSAGE);
        odd.name = "x.sig".to_owned();
        let files = vec![signature(9, MESSAGE), signature(9, b""), odd];
        let error = authenticate(&store, files).unwrap_err();
        let ids = vec![key(9).public().id()];
        assert_eq!(error, NotAuthentic::Unknown { ids });
    }

    // ── who may sign what ──

    #[test]
    fn store_that_was_described_in_the_journal_allows_what_it_allowed() {
        let toml = format!(
            "need = 2\n[[key]]\nfile = \"a.pem\"\nwho = \"A\"\nzones = [\"red\"]\n[[key]]\nfile = \"b.pem\"\nstreams = [\"{A}\"]\nuntil = 57\n[[key]]\nfile = \"c.pem\"\nstreams = [\"{A}\", \"{B}\"]\n[[key]]\nfile = \"d.pem\"\nuntil = 0\n"
        );
        let store = store(&[("a.pem", 1), ("b.pem", 2), ("c.pem", 3), ("d.pem", 4)], &toml).unwrap();
        let text = serde_json::to_string(&store.described()).unwrap();
        let again = TrustStore::of_described(store.need(), &serde_json::from_str::<Vec<_>>(&text).unwrap());
        assert_eq!(again.described(), store.described());
        for who in [&[1, 2][..], &[1, 3], &[2, 3], &[1, 4], &[1, 2, 3, 4], &[9]] {
            for ids in [&[A][..], &[B], &[B, A], &[]] {
                for (zone, number) in [("red", 57), ("red", 58), ("blue", 1)] {
                    let allows = |store: &TrustStore| store.allows(&signers(who), &streams(ids), zone, number);
                    assert_eq!(allows(&again), allows(&store), "{who:?} {ids:?} {zone} {number}");
                }
            }
        }
        assert_eq!(store.listed(&streams(&[A, B])).count(), 2);
        assert_eq!(any(&[("a.pem", 1)]).listed(&streams(&[A, B])).count(), 0);
    }

    #[test]
    fn one_key_twice_is_not_two_keys() {
        let keys = [("a.pem", 1), ("copy of a.pem", 1), ("b.pem", 2)];
        let entry = |file: &str| format!("[[key]]\nfile = \"{file}\"\n");
        let both = format!("need = 2\n{}{}", entry("a.pem"), entry("copy of a.pem"));
        let (first, second) = ("a.pem".to_owned(), "copy of a.pem".to_owned());
        assert_eq!(store(&keys, &both).unwrap_err(), TrustError::Twice { first, second });

        let toml = format!("need = 2\n{}{}", entry("a.pem"), entry("b.pem"));
        let store = store(&keys, &toml).unwrap();
        let mut second = signature(1, MESSAGE);
        second.name = signature(2, MESSAGE).name;
        let found = authenticate(&store, vec![signature(1, MESSAGE), second]).unwrap();
        let few = NotAllowed::TooFew { have: 1, need: 2 };
        let allows = |signers| store.allows(signers, &streams(&[A]), "x", 1);
        assert_eq!(allows(&found), Err(few));
        assert_eq!(allows(&signers(&[1, 2])), Ok(()));
    }

    #[test]
    fn one_key_under_two_file_names_is_said_and_counts_once() {
        let store = any(&[("a.pem", 1), ("b.pem", 1)]);
        assert_eq!(store.keys().count(), 1);
        assert_eq!(store.warnings(), ["b.pem holds the same key as a.pem: it counts once"]);
    }

    #[test]
    fn a_key_for_one_stream_and_zone_signs_no_other() {
        let toml = format!("[[key]]\nfile = \"a.pem\"\nzones = [\"red\"]\nstreams = [\"{A}\"]\n");
        let store = store(&[("a.pem", 1)], &toml).unwrap();
        let allows = |ids: &[&str], zone| store.allows(&signers(&[1]), &streams(ids), zone, 1);
        assert_eq!(allows(&[A], "red"), Ok(()));
        assert_eq!(allows(&[A], "blue"), Err(NotAllowed::Zone));
        assert_eq!(allows(&[B], "red"), Err(NotAllowed::Stream));
        assert_eq!(allows(&[B], "blue"), Err(NotAllowed::Stream));
        assert_eq!(allows(&[], "red"), Err(NotAllowed::Stream));
    }

    #[test]
    fn a_stream_inherits_the_trust_of_the_one_that_it_succeeds() {
        let toml = format!("[[key]]\nfile = \"a.pem\"\nstreams = [\"{A}\"]\n");
        let store = store(&[("a.pem", 1)], &toml).unwrap();
        let allows = |ids: &[&str]| store.allows(&signers(&[1]), &streams(ids), "x", 1);
        assert_eq!(allows(&[B, A]), Ok(()));
        assert_eq!(allows(&[B]), Err(NotAllowed::Stream));
    }

    #[test]
    fn an_ended_key_signs_up_to_its_last_number_and_no_successor() {
        let toml = format!("[[key]]\nfile = \"a.pem\"\nstreams = [\"{A}\"]\nuntil = 57\n");
        let store = store(&[("a.pem", 1)], &toml).unwrap();
        let allows = |ids: &[&str], n| store.allows(&signers(&[1]), &streams(ids), "x", n);
        let who = "a.pem".to_owned();
        let ended = NotAllowed::Ended { who, until: 57 };
        assert_eq!(allows(&[A], 57), Ok(()));
        assert_eq!(allows(&[A], 58), Err(ended.clone()));
        assert_eq!(allows(&[B, A], 1), Err(ended));
        assert_eq!(allows(&[B], 1), Err(NotAllowed::Stream));
    }

    #[test]
    fn a_revoked_key_is_named_and_does_not_count() {
        let toml = format!(
            "[[key]]\nfile = \"a.pem\"\n[[key]]\nfile = \"b.pem\"\nwho = \"B\"\nstreams = [\"{A}\"]\nuntil = 0\n"
        );
        let keys = [("a.pem", 1), ("b.pem", 2)];
        let revoked = NotAllowed::Revoked { who: "B".to_owned() };
        let one = store(&keys, &toml).unwrap();
        assert_eq!(authenticate(&one, vec![signature(2, MESSAGE)]), Ok(signers(&[2])));
        let allows = |store: &TrustStore, numbers: &[u8]| store.allows(&signers(numbers), &streams(&[A]), "x", 1);
        assert_eq!(allows(&one, &[2]), Err(revoked));
        assert_eq!(allows(&one, &[1, 2]), Ok(()));
        // Whatever it may have signed: a revocation needs no stream.
        let of_none = toml.replace(&format!("streams = [\"{A}\"]\n"), "");
        assert_eq!(allows(&store(&keys, &of_none).unwrap(), &[2]), Err(NotAllowed::Revoked { who: "B".to_owned() }));
        let error = store(&keys, &format!("need = 2\n{toml}")).unwrap_err();
        assert_eq!(error, TrustError::Need { need: 2, usable: 1 });
        let only = toml.split_once("[[key]]\nfile = \"b").unwrap().1;
        let error = store(&keys, &format!("[[key]]\nfile = \"b{only}")).unwrap_err();
        assert!(error.to_string().contains("revoked"), "{error}");
    }

    #[test]
    fn of_several_reasons_the_most_telling_is_given() {
        let toml = format!(
            "need = 2\n[[key]]\nfile = \"a.pem\"\n[[key]]\nfile = \"b.pem\"\nzones = [\"red\"]\n[[key]]\nfile = \"c.pem\"\nstreams = [\"{A}\"]\nuntil = 3\n[[key]]\nfile = \"d.pem\"\nstreams = [\"{B}\"]\n"
        );
        let keys = [("a.pem", 1), ("b.pem", 2), ("c.pem", 3), ("d.pem", 4)];
        let store = store(&keys, &toml).unwrap();
        let allows = |numbers: &[u8]| store.allows(&signers(numbers), &streams(&[A]), "x", 4);
        let few = |have| Err(NotAllowed::TooFew { have, need: 2 });
        let who = "c.pem".to_owned();
        let ended = Err(NotAllowed::Ended { who, until: 3 });
        assert_eq!(allows(&[]), few(0));
        assert_eq!(allows(&[1]), few(1));
        assert_eq!(allows(&[1, 2, 4]), few(1));
        assert_eq!(allows(&[1, 3]), ended);
        assert_eq!(allows(&[2, 3, 4]), ended);
        assert_eq!(allows(&[2, 4]), Err(NotAllowed::Zone));
        assert_eq!(allows(&[4]), Err(NotAllowed::Stream));
    }
}
