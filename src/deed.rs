//! Deeds: what a run did that a person may be asked about a year later. Each one is a line of the journal.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::batch::signed::SignedBatch;
use crate::code::Code;
use crate::digest::Digest;
use crate::report::{BatchLine, NamedConnector, NamedEnvelope, Outcome, Proof, ranges};
use crate::stream::{Numbers, StreamId};
use crate::trust::{PublicKey, TrustedKey};

/// Who runs airpouch, and for what: what the machine says, and what was told on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// The verb, such as `stream accept`.
    pub verb: String,
    /// The user of the operating system: its name, or its number where it has none.
    pub user: String,
    /// airpouch's version.
    pub version: String,
    /// The person at the keyboard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// A second person who looked on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
    /// The ticket or order by which it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Anything else that was to be written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Something that was done, in the words of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Deed {
    /// The journal of a site begins.
    JournalOpened {
        /// Which side the site serves.
        side: &'static str,
        /// The public key that signs where the journal ends, in PEM.
        key: String,
    },
    /// A crash cut off the last line, which was moved to a file of its own.
    JournalTorn {
        /// The name of the file in the site.
        kept_as: String,
        /// Its bytes.
        bytes: u64,
    },
    /// The journal is not the one that the ledger knows: somebody has shortened, changed or replaced one of them.
    JournalChanged {
        /// How many lines the ledger knows.
        lines: u64,
        /// The digest of the last one of these.
        last: String,
    },
    /// The exporter signed a batch and put it into its outbox.
    Packed {
        /// The batch.
        #[serde(flatten)]
        batch: BatchLine,
        /// The fingerprints of the keys that signed it.
        signers: Vec<Digest>,
    },
    /// Batches lie on a medium, and were read back from it.
    Carried {
        /// Where the medium was mounted.
        medium: String,
        /// The file system by which the medium is known again.
        file_system: String,
        /// What the system tells of the medium.
        device: MediumFacts,
        /// Bytes that were written.
        bytes: u64,
        /// The batches.
        batches: Vec<CarriedBatch>,
    },
    /// Batches of the outbox were signed with further keys.
    Signed {
        /// Their stream.
        stream: StreamId,
        /// The batches.
        #[serde(serialize_with = "ranges")]
        sequences: Numbers,
        /// The fingerprints of the keys.
        signers: Vec<Digest>,
    },
    /// A new stream begins for a zone.
    Renewed {
        /// The new stream.
        stream: StreamId,
        /// Its zone.
        zone: String,
        /// The stream that it goes on from.
        succeeds: StreamId,
    },
    /// The exporter gave up a batch whose files are lost.
    GivenUp {
        /// Its stream.
        stream: StreamId,
        /// Its number.
        sequence: u64,
        /// The envelopes that were in it.
        envelopes: u64,
    },
    /// The importer has a batch in its inbox whole: the medium is not needed any more for it.
    Taken {
        /// The batch.
        #[serde(flatten)]
        batch: BatchLine,
        /// The fingerprints of the keys whose signatures over its manifest hold.
        signers: Vec<Digest>,
        /// What was checked, and held.
        checks: Vec<&'static str>,
        /// Where the medium was mounted; none for a batch whose taking was cut off and that was found in the inbox.
        #[serde(skip_serializing_if = "Option::is_none")]
        medium: Option<String>,
        /// What the system tells of the medium.
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<MediumFacts>,
    },
    /// A batch may be delivered.
    Admitted {
        /// Its stream.
        stream: StreamId,
        /// Its number.
        sequence: u64,
        /// The digest of its manifest.
        sha256: Digest,
        /// Its zone.
        zone: String,
        /// The earlier streams that trust.toml lists and whose trust it takes over.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        inherits: Vec<StreamId>,
        /// The fingerprints of the keys that signed it and may do so.
        signers: Vec<Digest>,
        /// What was checked, and held.
        checks: Vec<&'static str>,
    },
    /// A batch is refused for good: its signed manifest is wrong.
    Refused {
        /// Its stream.
        stream: StreamId,
        /// Its number.
        sequence: u64,
        /// The digest of its manifest.
        sha256: Digest,
        /// Why.
        code: Code,
    },
    /// Every envelope of a batch was delivered or set aside.
    Delivered(DeliveryDeed),
    /// A batch was delivered once more, because a person asked for it with `import --redeliver`.
    Redelivered(DeliveryDeed),
    /// Envelopes of a batch are held until the reason is gone.
    Held(SetAsideDeed),
    /// Envelopes of a batch are not delivered unless a person releases them.
    Quarantined(SetAsideDeed),
    /// Envelopes that were set aside before went to the destination: the reason was gone, or a person had released them.
    AsideDelivered {
        /// Their stream.
        stream: StreamId,
        /// The number of their batch.
        sequence: u64,
        /// The envelopes.
        envelopes: Vec<EnvelopeDelivered>,
    },
    /// A person let an envelope through in spite of the reason against it.
    Released {
        /// The envelope, and why.
        #[serde(flatten)]
        decision: DecisionDeed,
        /// The second person who agreed, as that was told.
        #[serde(skip_serializing_if = "Option::is_none")]
        second: Option<String>,
        /// The officers who signed it, where that is demanded.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        signers: Vec<String>,
    },
    /// An officer signed that an envelope may go in spite of the reason against it.
    ReleaseSigned {
        /// The envelope, and why.
        #[serde(flatten)]
        decision: DecisionDeed,
        /// Whose key it is, by the officers' store.
        who: String,
        /// The public key, in PEM.
        key: String,
        /// The text that was signed.
        statement: String,
        /// The signature over it, in hex.
        signature: String,
        /// How many officers have signed it so far.
        have: usize,
        /// How many must.
        need: usize,
    },
    /// A person took back a release before the envelope was delivered.
    Unreleased(DecisionDeed),
    /// A person decided that an envelope is never delivered.
    Rejected {
        /// The envelope, and why.
        #[serde(flatten)]
        decision: DecisionDeed,
        /// What became of its copy in the site.
        copy: &'static str,
    },
    /// A person took back that an envelope is never delivered.
    Unrejected(DecisionDeed),
    /// A person gave up batches that are missing.
    GapAccepted {
        /// The stream.
        stream: StreamId,
        /// The batches.
        #[serde(serialize_with = "ranges")]
        sequences: Numbers,
        /// Why.
        reason: String,
    },
    /// A person took a batch that forks its stream.
    ForkAccepted {
        /// The stream.
        stream: StreamId,
        /// The number of the batch.
        sequence: u64,
        /// The digest of its manifest.
        sha256: Digest,
        /// Why.
        reason: String,
    },
    /// A person settled works that were cleared on the platform, with what was delivered under them.
    WorksAccepted {
        /// The stream.
        stream: StreamId,
        /// The number of the batch.
        sequence: u64,
        /// Why.
        reason: String,
    },
    /// What became on the platform of works under which a batch was sent.
    Followed {
        /// The stream.
        stream: StreamId,
        /// The number of the batch.
        sequence: u64,
        /// Where it was sent.
        destination: String,
        /// What became of the messages of each connector whose works have ended.
        connectors: Vec<IngestedOf>,
    },
    /// The head of the exporter's journal came beside the batches of a stream.
    PeerHead {
        /// The stream.
        stream: StreamId,
        /// How many lines that journal had.
        lines: u64,
        /// The digest of the last one.
        last: String,
        /// The public key that signed it, in PEM.
        key: String,
        /// Whether it may be of the same journal as the head before it.
        fits: bool,
    },
    /// A person of the other side said where its journal ends.
    Witnessed {
        /// The code that was said.
        code: String,
    },
    /// Both sites share a key from here on, by which the importer says what has arrived. The key itself is written nowhere here.
    Paired {
        /// At the exporter the zone that it is for.
        #[serde(skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        /// At the importer the stream that it is for.
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<StreamId>,
        /// By what the key is known on both sides; it tells nothing of the key.
        id: String,
        /// The same of the key that it takes the place of.
        #[serde(skip_serializing_if = "Option::is_none")]
        replaces: Option<String>,
    },
    /// The importer said by a code that it has these batches.
    Acknowledged {
        /// The stream.
        stream: StreamId,
        /// The batch up to which nothing is missing.
        sequence: u64,
        /// Lower numbers that have not arrived there, by its own word.
        #[serde(serialize_with = "ranges")]
        without: Numbers,
        /// The code.
        code: String,
        /// The batches of which it had not said so before.
        #[serde(serialize_with = "ranges")]
        sequences: Numbers,
    },
    /// A code of arrival acknowledged nothing.
    ArrivalRefused {
        /// Why.
        why: WhyRefused,
        /// How many codes of the last hour fit no batch.
        wrong: u64,
    },
    /// The importer trusts other keys than at the run before, or lets them sign other things.
    TrustChanged {
        /// How many different keys must sign.
        need: usize,
        /// The keys.
        keys: Vec<TrustedKey>,
    },
    /// The importer works by another policy than at the run before.
    PolicyChanged {
        /// The digest of its text.
        sha256: Digest,
        /// Its text, as far as a line has room for it; empty where there is none and the defaults hold.
        text: String,
    },
    /// Other officers than before may sign releases.
    OfficersChanged {
        /// Their keys.
        keys: Vec<TrustedKey>,
    },
    /// A person mapped applicants of the other side to users here, in airpouch.toml.
    ApplicantsMapped {
        /// The mappings that were added.
        mappings: Vec<MappedApplicant>,
    },
    /// A person went on with a ledger that is not the one the site used last.
    LedgerAccepted {
        /// What is different about it.
        what: String,
    },
    /// A person went through what was done in a month.
    Reviewed {
        /// The month, such as `2026-11`.
        month: String,
        /// How many lines the journal had then.
        lines: u64,
        /// The digest of the last one of these.
        last: String,
        /// Whether the journal was as it was written, as far as `audit` saw.
        holds: bool,
    },
    /// The files of a delivered batch were removed from the inbox.
    Pruned {
        /// Its stream.
        stream: StreamId,
        /// Its number.
        sequence: u64,
        /// The digest of its manifest.
        sha256: Digest,
    },
}

/// Why a code of arrival acknowledged nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyRefused {
    /// It fits none of the batches that it was held against.
    FitsNoBatch,
    /// Too many did so of late: it was not tried.
    TooManyWrong,
}

/// What became of the works of a connector on the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IngestedOf {
    /// The connector.
    #[serde(flatten)]
    pub connector: NamedConnector,
    /// How many works have ended.
    pub works: u64,
    /// Messages that workers have reported of them.
    pub messages: u64,
    /// Objects that were not ingested.
    pub failed: u64,
    /// Objects that the platform's own rules refuse.
    pub refused: u64,
    /// Works of these that were gone: nobody knows what became of their messages.
    pub unknown: u64,
    /// The first errors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<IngestFault>,
}

/// An object that was not ingested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IngestFault {
    /// The work.
    pub work: String,
    /// The platform's code for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The platform's or the worker's words.
    pub what: String,
    /// The object's STIX id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

impl IngestedOf {
    /// Nothing yet.
    pub fn none(connector: NamedConnector) -> Self {
        Self { connector, works: 0, messages: 0, failed: 0, refused: 0, unknown: 0, errors: Vec::new() }
    }

    /// About as many bytes as it takes in a line of the journal, a sixth of what its texts may take at most.
    pub fn bytes(&self) -> usize {
        let texts = |fault: &IngestFault| {
            let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            40 + fault.work.len() + fault.what.len() + length(&fault.code) + length(&fault.object)
        };
        40 + self.connector.id.len() + self.connector.name.len() + self.errors.iter().map(texts).sum::<usize>()
    }
}

/// A mapping that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappedApplicant {
    /// The applicant's id there.
    pub applicant: String,
    /// The user's id here.
    pub user: String,
    /// What the applicant is called here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What the system tells of a medium. What it does not tell is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MediumFacts {
    /// The type of its file system, such as `vfat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The label of its file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The UUID of its file system, or the volume's number on FAT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_uuid: Option<String>,
    /// The numbers of its maker and its product on USB, such as `0951:1666`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vid_pid: Option<String>,
    /// Its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its size, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether nothing could be written to it as it was mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// The medium from which a batch was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenFrom {
    /// Where it was mounted.
    pub medium: String,
    /// What the system tells of it.
    pub device: MediumFacts,
}

/// One batch on a medium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CarriedBatch {
    /// Its stream.
    pub stream: StreamId,
    /// Its number.
    pub sequence: u64,
    /// The digest of its manifest.
    pub sha256: Digest,
    /// Whether it went as new, or was repeated.
    pub is_new: bool,
    /// How sure it is that the medium holds it.
    pub proof: Proof,
}

/// A batch of which every envelope was delivered or set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryDeed {
    /// The batch.
    #[serde(flatten)]
    pub batch: BatchLine,
    /// Where to.
    pub destination: String,
    /// Whether later numbers were delivered before it.
    pub late: bool,
    /// What became of its envelopes in this run.
    pub outcome: Outcome,
    /// Messages that went to the destination in this run.
    pub messages: u64,
    /// Its connectors, with their envelopes, objects by type and objects by marking.
    pub connectors: Vec<ConnectorCount>,
    /// The applicants of the other side, with their envelopes.
    pub applicants: Vec<ApplicantCount>,
}

/// A person's decision about an envelope that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionDeed {
    /// Its digest.
    pub sha256: Digest,
    /// Its stream.
    pub stream: StreamId,
    /// The number of its batch.
    pub sequence: u64,
    /// Its place and name in the batch.
    pub envelope: NamedEnvelope,
    /// Its connector.
    pub connector: NamedConnector,
    /// Why it was set aside.
    pub code: Code,
    /// The same in words.
    pub what: String,
    /// Why it was decided so, in that person's words.
    pub reason: String,
}

/// What a batch holds of one connector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectorCount {
    /// The connector.
    #[serde(flatten)]
    pub connector: NamedConnector,
    /// Its envelopes.
    pub envelopes: u64,
    /// Their objects by type.
    pub types: BTreeMap<String, u64>,
    /// Their objects by marking.
    pub markings: BTreeMap<String, u64>,
}

/// What a batch holds in the name of one applicant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApplicantCount {
    /// The applicant's id there; none for envelopes that name no applicant.
    pub id: Option<String>,
    /// Its envelopes.
    pub envelopes: u64,
}

/// One envelope that was set aside, and went to the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvelopeDelivered {
    /// Its digest.
    pub sha256: Digest,
    /// Its position in its batch, from 1.
    pub ordinal: usize,
}

/// Envelopes that were set aside together: of one batch and connector, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetAsideDeed {
    /// Their stream.
    pub stream: StreamId,
    /// The number of their batch.
    pub sequence: u64,
    /// Why.
    pub code: String,
    /// Their connector.
    pub connector: NamedConnector,
    /// The envelopes.
    pub envelopes: Vec<EnvelopeAside>,
}

/// One envelope that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvelopeAside {
    /// Its digest.
    pub sha256: Digest,
    /// Its place and name in the batch.
    #[serde(flatten)]
    pub envelope: NamedEnvelope,
    /// Why, in words.
    pub what: String,
}

/// What was checked of a batch that is in the inbox whole.
const CHECKS_OF_CUSTODY: [&str; 4] = ["signature", "signer-may-sign", "zone", "digests-of-index-and-volumes"];

/// What was checked of a batch that may be delivered.
pub fn checks_of_admission(late: bool) -> Vec<&'static str> {
    let place = if late { "named-by-a-later-batch" } else { "follows-in-its-stream" };
    vec!["signature", "signer-may-sign", "enough-signatures", "zone", "index-in-form", place]
}

/// Under what is counted what a line of the journal has no room for.
const OTHERS: &str = "*";

/// As many connectors as a line of the journal has room for. The others are counted together, and so are the types and
/// markings of one that has too many.
pub fn connectors_in_a_line(connectors: Vec<ConnectorCount>) -> Vec<ConnectorCount> {
    let others = NamedConnector { id: OTHERS.to_owned(), name: OTHERS.to_owned() };
    let mut others =
        ConnectorCount { connector: others, envelopes: 0, types: BTreeMap::new(), markings: BTreeMap::new() };
    let (mut kept, mut bytes) = (Vec::new(), 0);
    for mut connector in connectors {
        if size_of(&connector) > LIST_BYTES / 4 {
            connector.types = together(&connector.types);
            connector.markings = together(&connector.markings);
        }
        bytes += size_of(&connector);
        if bytes <= LIST_BYTES {
            kept.push(connector);
        } else {
            others.envelopes += connector.envelopes;
        }
    }
    kept.extend(Some(others).filter(|others| others.envelopes > 0));
    kept
}

/// As many applicants as a line of the journal has room for. The others are counted together.
pub fn applicants_in_a_line(applicants: Vec<ApplicantCount>) -> Vec<ApplicantCount> {
    let mut others = ApplicantCount { id: Some(OTHERS.to_owned()), envelopes: 0 };
    let (mut kept, mut bytes) = (Vec::new(), 0);
    for applicant in applicants {
        bytes += size_of(&applicant);
        if bytes <= LIST_BYTES / 2 {
            kept.push(applicant);
        } else {
            others.envelopes += applicant.envelopes;
        }
    }
    kept.extend(Some(others).filter(|others| others.envelopes > 0));
    kept
}

fn size_of(value: &impl Serialize) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}

fn together(counts: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    BTreeMap::from([(OTHERS.to_owned(), counts.values().sum())])
}

/// Bytes of what is said of an envelope, in the journal. All operations of an envelope are named in half of it; a stranger
/// may have written them in letters that take four times as many.
const WHAT_BYTES: usize = 16 << 10;

/// What is said of an envelope, as far as a line of the journal goes. The whole is in its `.reason.json`.
pub fn what_in_a_line(what: &str) -> String {
    if what.len() <= WHAT_BYTES {
        return what.to_owned();
    }
    let end = what.char_indices().map(|(at, _)| at).take_while(|at| *at <= WHAT_BYTES).last().unwrap_or(0);
    format!("{} …", &what[..end])
}

/// Bytes of a list in one line of the journal, so that what stands beside it has room too.
const LIST_BYTES: usize = 24 << 10;

/// Parts a list, so that each part fits into a line of the journal. `size` is about as many bytes as an item takes there,
/// beside its digest and its number.
pub fn in_lines<T>(items: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0;
    for item in items {
        // A character is six in a JSON text at most.
        let more = 150 + 6 * size(&item);
        match parts.last_mut().filter(|_| bytes + more <= LIST_BYTES) {
            Some(part) => part.push(item),
            None => {
                parts.push(vec![item]);
                bytes = 0;
            }
        }
        bytes += more;
    }
    parts
}

impl Deed {
    /// Mappings that were added, in as many events as they have room in.
    pub fn applicants_mapped(mappings: Vec<MappedApplicant>) -> Vec<Self> {
        let size = |m: &MappedApplicant| m.applicant.len() + m.user.len() + m.name.as_ref().map_or(0, String::len);
        in_lines(mappings, size).into_iter().map(|mappings| Self::ApplicantsMapped { mappings }).collect()
    }

    /// A batch is in the inbox whole, from this medium.
    pub fn taken(batch: &SignedBatch, from: Option<&TakenFrom>) -> Self {
        Self::Taken {
            medium: from.map(|from| from.medium.clone()),
            device: from.map(|from| from.device.clone()),
            batch: BatchLine::of(batch, batch.sha256()),
            signers: batch.signers().iter().map(PublicKey::fingerprint).collect(),
            checks: CHECKS_OF_CUSTODY.to_vec(),
        }
    }
}
