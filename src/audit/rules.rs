//! The rules that were in force at a line of the journal, and whether what was done there was done by them. The journal has
//! the keys, the officers and the policy of each time, so this needs nothing of today.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use uuid::Uuid;

use crate::code::Code;
use crate::digest::Digest;
use crate::limits::AUDIT_QUARANTINED_MAX;
use crate::policy::{RecordRules, is_one_name};
use crate::stream::StreamId;
use crate::text::{count, harmless};
use crate::trust::{PublicKey, Signature, TrustStore, TrustedKey};

/// What is to be said of one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ByTheRules {
    /// It is about nothing that rules allow or forbid.
    NoMatter,
    /// A batch was admitted that these keys had signed: fingerprints, and whose they were.
    Admitted(Vec<(Digest, String)>),
    /// An envelope was released.
    Released,
    /// The journal does not have the rules of then, and why.
    Unknown(String),
    /// It was not allowed, and why.
    Against(String),
    /// What an officer is said to have signed is not signed.
    NotSigned,
}

/// The rules at the line that was read last.
#[derive(Default)]
pub(super) struct RulesThen {
    trust: KeysThen,
    officers: KeysThen,
    policy: RecordThen,
    /// What is quarantined, and nobody has released.
    quarantined: BTreeSet<Digest>,
    /// Whose signatures over the release of an envelope hold, by the text that they have signed.
    signed: BTreeMap<Digest, (String, BTreeSet<PublicKey>)>,
}

/// The keys of one store.
#[derive(Default)]
struct KeysThen {
    /// The run that has noted them: a list that has no room in a line goes on in the next one of the same run.
    run: String,
    described: Vec<TrustedKey>,
    /// What that describes, and each key with its owner by its fingerprint.
    store: TrustStore,
    owners: BTreeMap<Digest, (PublicKey, String)>,
    /// Whether the journal may have missed a change of them.
    is_unknown: bool,
}

/// What the policy demanded of the record.
enum RecordThen {
    Known(RecordRules),
    Unknown(&'static str),
}

impl Default for RecordThen {
    fn default() -> Self {
        Self::Known(RecordRules::default())
    }
}

#[derive(Deserialize)]
struct KeysLine {
    run: String,
    #[serde(default)]
    need: usize,
    keys: Vec<TrustedKey>,
}

#[derive(Deserialize)]
struct PolicyLine {
    sha256: Digest,
    text: String,
}

#[derive(Deserialize)]
struct AdmittedLine {
    stream: StreamId,
    sequence: u64,
    /// Lines of before have none.
    zone: Option<String>,
    #[serde(default)]
    inherits: Vec<StreamId>,
    signers: Vec<Digest>,
}

#[derive(Deserialize)]
struct EnvelopeLine {
    sha256: Digest,
    code: String,
    operator: Option<String>,
    second: Option<String>,
}

#[derive(Deserialize)]
struct EnvelopesLine {
    envelopes: Vec<EnvelopeId>,
}

#[derive(Deserialize)]
struct EnvelopeId {
    sha256: Digest,
}

#[derive(Deserialize)]
struct SignedLine {
    sha256: Digest,
    key: String,
    statement: String,
    signature: String,
}

const IN_PART: &str = "the journal has the policy of then in part: it was too long for a line";
const OTHERWISE: &str = "this airpouch does not read the policy of then";
const CHANGED: &str =
    "the journal was changed or the ledger restored before it, and the rules of then may not be in it";
const TOO_MANY: &str =
    "more envelopes are quarantined than an audit can watch; whether somebody releases these is not seen";
const NO_EVENT: &str = "the line is not laid out as such an event";

impl RulesThen {
    /// Takes the next line, which is that of this event.
    pub(super) fn take(&mut self, event: &str, line: &[u8]) -> ByTheRules {
        match event {
            "trust-changed" => note(parsed(line), |read| self.trust.take(read)),
            "officers-changed" => note(parsed(line), |read| self.officers.take(read)),
            "policy-changed" => note(parsed(line), |read| self.policy = record_of(&read)),
            "journal-changed" => self.forget(),
            "admitted" => judged(parsed(line), |read| self.admitted(&read)),
            "quarantined" => judged(parsed(line), |read: EnvelopesLine| {
                self.quarantine(read.envelopes.into_iter().map(|of| of.sha256))
            }),
            "held" => note(parsed(line), |read: EnvelopesLine| {
                for of in read.envelopes {
                    self.quarantined.remove(&of.sha256);
                }
            }),
            "release-signed" => judged(parsed(line), |read| self.release_signed(&read)),
            "released" => judged(parsed(line), |read| self.released(&read)),
            "unreleased" => judged(parsed(line), |read: EnvelopeLine| {
                self.signed.remove(&read.sha256);
                self.quarantine([read.sha256])
            }),
            "rejected" => note(parsed(line), |read: EnvelopeLine| drop(self.signed.remove(&read.sha256))),
            "aside-delivered" => judged(parsed(line), |read| self.delivered(&read)),
            _ => ByTheRules::NoMatter,
        }
    }

    fn forget(&mut self) -> ByTheRules {
        (self.trust.is_unknown, self.officers.is_unknown) = (true, true);
        self.policy = RecordThen::Unknown(CHANGED);
        ByTheRules::NoMatter
    }

    /// Watches these until somebody releases them, as many as memory has room for.
    fn quarantine(&mut self, envelopes: impl IntoIterator<Item = Digest>) -> ByTheRules {
        let mut is_watched = true;
        for sha256 in envelopes {
            is_watched &= self.quarantined.len() < AUDIT_QUARANTINED_MAX;
            if is_watched {
                self.quarantined.insert(sha256);
            }
        }
        if is_watched { ByTheRules::NoMatter } else { ByTheRules::Unknown(TOO_MANY.to_owned()) }
    }

    fn admitted(&self, read: &AdmittedLine) -> ByTheRules {
        let batch = format!("batch {} of stream {}", read.sequence, read.stream);
        if self.trust.is_unknown {
            return ByTheRules::Unknown(CHANGED.to_owned());
        }
        let mut signers = BTreeMap::new();
        for fingerprint in &read.signers {
            match self.trust.owners.get(fingerprint) {
                Some((key, who)) => signers.insert(key.clone(), (*fingerprint, who.clone())),
                None => {
                    let short = fingerprint.short();
                    let what =
                        format!("{batch} was admitted by the signature of {short}, a key that was not trusted then");
                    return ByTheRules::Against(what);
                }
            };
        }
        let keys: BTreeSet<PublicKey> = signers.keys().cloned().collect();
        let store = &self.trust.store;
        let allowed = match &read.zone {
            Some(zone) => {
                let streams: Vec<Uuid> = [read.stream].iter().chain(&read.inherits).map(StreamId::uuid).collect();
                store.allows(&keys, &streams, zone, read.sequence).map_err(|why| why.to_string())
            }
            None if keys.len() >= store.need() => Ok(()),
            None => Err(format!("has {} of {} signatures", keys.len(), store.need())),
        };
        match allowed {
            Ok(()) => ByTheRules::Admitted(signers.into_values().collect()),
            Err(why) => ByTheRules::Against(format!("{batch} was admitted, and by the trust store of then it {why}")),
        }
    }

    fn release_signed(&mut self, read: &SignedLine) -> ByTheRules {
        let Some(key) = read.key() else { return ByTheRules::NotSigned };
        // An officer's key that has an end signs no more.
        let mut officers = self.officers.store.unended();
        if !self.officers.is_unknown && !officers.any(|(of, _)| *of == key) {
            let what = format!("a release of {} was signed by a key that was no officer's then", read.sha256.short());
            return ByTheRules::Against(what);
        }
        let (text, keys) = self.signed.entry(read.sha256).or_default();
        if *text != read.statement {
            // A release that was taken back is another one, with a number of its own.
            text.clone_from(&read.statement);
            keys.clear();
        }
        keys.insert(key);
        ByTheRules::NoMatter
    }

    fn released(&mut self, read: &EnvelopeLine) -> ByTheRules {
        self.quarantined.remove(&read.sha256);
        let record = match &self.policy {
            RecordThen::Known(record) => record,
            RecordThen::Unknown(why) => return ByTheRules::Unknown((*why).to_owned()),
        };
        // A word that this airpouch does not know may be any.
        let needs_two = match Code::parse(&read.code) {
            Some(code) => record.second.is_needed_for(code),
            None => {
                return ByTheRules::Unknown(format!("this airpouch does not know the reason {}", harmless(&read.code)));
            }
        };
        let short = read.sha256.short();
        let have = self.signed.get(&read.sha256).map_or(0, |(_, keys)| keys.len());
        if needs_two && record.signatures > 0 && have < record.signatures {
            let need = count(record.signatures as u64, "officer");
            return ByTheRules::Against(format!("{short} was released with the signatures of {have} of {need}"));
        }
        let names = read.operator.as_deref().zip(read.second.as_deref());
        if needs_two && record.signatures == 0 && names.is_none_or(|(one, other)| is_one_name(one, other)) {
            let what =
                format!("{short} was released without the names of two persons, which the policy of then demanded");
            return ByTheRules::Against(what);
        }
        ByTheRules::Released
    }

    fn delivered(&mut self, read: &EnvelopesLine) -> ByTheRules {
        let unreleased: Vec<String> = read
            .envelopes
            .iter()
            .filter_map(|of| {
                self.signed.remove(&of.sha256);
                self.quarantined.remove(&of.sha256).then(|| of.sha256.short())
            })
            .collect();
        match unreleased.first() {
            None => ByTheRules::NoMatter,
            Some(first) => {
                let number = count(unreleased.len() as u64, "quarantined envelope");
                ByTheRules::Against(format!("{number} went to the destination that nobody had released: {first}, …"))
            }
        }
    }
}

impl KeysThen {
    fn take(&mut self, read: KeysLine) {
        if self.run != read.run {
            self.described.clear();
        }
        self.described.extend(read.keys);
        (self.run, self.is_unknown) = (read.run, false);
        self.store = TrustStore::of_described(read.need, &self.described);
        // By the key itself: the fingerprint beside it is a claim.
        let owner = |(key, who): (&PublicKey, &str)| (key.fingerprint(), (key.clone(), who.to_owned()));
        self.owners = self.store.keys().map(owner).collect();
    }
}

impl SignedLine {
    /// The key, if its signature holds and is about the envelope of the line.
    fn key(&self) -> Option<PublicKey> {
        let key = PublicKey::from_pem(self.key.as_bytes()).ok()?;
        let signature = Signature::from_bytes(&unhexed(&self.signature)?)?;
        let is_about = self.statement.lines().nth(1) == Some(&format!("envelope {}", self.sha256));
        (is_about && key.verifies(self.statement.as_bytes(), &signature)).then_some(key)
    }
}

fn unhexed(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

/// What a policy demanded of the record. Its other rules may be those of another airpouch, and say nothing of releases.
fn record_of(read: &PolicyLine) -> RecordThen {
    if !read.text.is_empty() && Digest::of(read.text.as_bytes()) != read.sha256 {
        return RecordThen::Unknown(IN_PART);
    }
    let Ok(policy) = read.text.parse::<toml::Table>() else { return RecordThen::Unknown(OTHERWISE) };
    match policy.get("record").cloned().map(toml::Value::try_into) {
        None => RecordThen::default(),
        Some(Ok(record)) => RecordThen::Known(record),
        Some(Err(_)) => RecordThen::Unknown(OTHERWISE),
    }
}

fn parsed<T: serde::de::DeserializeOwned>(line: &[u8]) -> Option<T> {
    serde_json::from_slice(line).ok()
}

fn note<T>(read: Option<T>, note: impl FnOnce(T)) -> ByTheRules {
    judged(read, |read| {
        note(read);
        ByTheRules::NoMatter
    })
}

fn judged<T>(read: Option<T>, judge: impl FnOnce(T) -> ByTheRules) -> ByTheRules {
    read.map_or_else(|| ByTheRules::Against(NO_EVENT.to_owned()), judge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str, envelopes: std::ops::Range<usize>) -> Vec<u8> {
        let digests: Vec<String> =
            envelopes.map(|n| format!("{{\"sha256\":\"{}\"}}", Digest::of(&n.to_be_bytes()))).collect();
        format!("{{\"event\":\"{event}\",\"envelopes\":[{}]}}\n", digests.join(",")).into_bytes()
    }

    #[test]
    fn quarantined_envelopes_beyond_what_is_watched_are_counted_and_not_passed_over() {
        let mut rules = RulesThen::default();
        for from in (0..AUDIT_QUARANTINED_MAX).step_by(1000) {
            assert_eq!(rules.take("quarantined", &line("quarantined", from..from + 1000)), ByTheRules::NoMatter);
        }
        let one_more = AUDIT_QUARANTINED_MAX..AUDIT_QUARANTINED_MAX + 1;
        let said = rules.take("quarantined", &line("quarantined", one_more.clone()));
        assert_eq!(said, ByTheRules::Unknown(TOO_MANY.to_owned()));
        // What is held now leaves room.
        assert_eq!(rules.take("held", &line("held", 0..1000)), ByTheRules::NoMatter);
        assert_eq!(rules.take("quarantined", &line("quarantined", one_more.clone())), ByTheRules::NoMatter);
        let delivered = rules.take("aside-delivered", &line("aside-delivered", one_more));
        assert!(matches!(delivered, ByTheRules::Against(_)), "{delivered:?}");
    }
}
