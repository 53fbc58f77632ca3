//! What a journal has of some batches: for a page that a person signs, and for a program.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{ExitStatus, Finding, Logged, NamedConnector, Outcome, Page, Report, status_of};

/// What the journal of a site has of the batches that were asked for.
#[derive(Debug, Default, Serialize)]
pub struct DossierReport {
    /// The directory of the site.
    #[serde(skip)]
    pub site: String,
    /// Which side the site serves.
    pub side: &'static str,
    /// What was asked for, in words.
    pub asked: String,
    /// When this was read from the journal, by the clock of this machine.
    pub made: String,
    /// The journal, and whether it holds.
    pub journal: JournalState,
    /// The batches, by stream and number.
    pub batches: Vec<BatchDossier>,
    /// Events that belong to no single batch.
    pub others: Vec<Logged>,
    /// What does not hold of the journal, as `audit` finds it.
    pub findings: Vec<Finding>,
}

/// The journal from which a page was made.
#[derive(Debug, Default, Serialize)]
pub struct JournalState {
    /// Whether it is as it was written, as far as `audit` sees.
    pub holds: bool,
    /// How many lines it has.
    pub lines: u64,
    /// The digest of the last one, in hex; none where there is none.
    pub sha256: Option<String>,
    /// How many lines its signed head covers.
    pub signed: u64,
    /// The code of that head, to be compared with what the other side was told; none where there is no head that holds.
    pub code: Option<String>,
    /// When the first one was written.
    pub first: Option<String>,
    /// When the last one was written.
    pub last: Option<String>,
}

/// What the journal has of one batch.
#[derive(Debug, Default, Serialize)]
pub struct BatchDossier {
    /// Its stream.
    pub stream: String,
    /// Its number.
    pub sequence: u64,
    /// Its manifests; several where the stream forked.
    pub manifests: Vec<ManifestFacts>,
    /// When things were done with it for the first time.
    pub times: BatchTimes,
    /// Who signed.
    pub signers: Vec<SignerName>,
    /// What was checked, and held.
    pub checks: Vec<String>,
    /// The digest of the policy by which it was delivered; none for the defaults.
    pub policy: Option<String>,
    /// What became of its envelopes, where it was delivered.
    pub outcome: Option<Outcome>,
    /// What became of them each time that it was delivered once more, together; none where it never was.
    pub redelivered: Option<Outcome>,
    /// Its connectors, where it was delivered.
    pub connectors: Vec<ConnectorFacts>,
    /// Its applicants, where it was delivered.
    pub applicants: Vec<ApplicantFacts>,
    /// What became of it on the platform, as far as `follow` read it back.
    pub ingested: Option<IngestFacts>,
    /// Envelopes that were held or quarantined, by reason and connector.
    pub set_aside: Vec<AsideFacts>,
    /// Envelopes that a person let through.
    pub released: Vec<ReleaseFacts>,
    /// Its events, oldest first.
    pub events: Vec<Logged>,
}

/// What became of a batch on the platform.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct IngestFacts {
    /// Works whose end is known.
    pub works: u64,
    /// Messages that were ingested.
    pub messages: u64,
    /// Objects that were not.
    pub failed: u64,
    /// Objects that the platform's own rules refuse.
    pub refused: u64,
    /// Works that were gone.
    pub unknown: u64,
}

/// What the journal has of one manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ManifestFacts {
    /// Its digest.
    pub sha256: String,
    /// The zone that it is for.
    pub zone: Option<String>,
    /// Its envelopes.
    pub envelopes: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// Bytes of index and volumes.
    pub packed: Option<u64>,
}

/// When things were done with a batch for the first time, by the clock of this machine.
#[derive(Debug, Default, Serialize)]
pub struct BatchTimes {
    /// It was packed.
    pub packed: Option<String>,
    /// It was carried to a medium.
    pub carried: Option<String>,
    /// It was taken from a medium.
    pub taken: Option<String>,
    /// It was admitted.
    pub admitted: Option<String>,
    /// It was delivered.
    pub delivered: Option<String>,
    /// The importer said that it has it.
    pub acknowledged: Option<String>,
    /// Its files were removed.
    pub pruned: Option<String>,
}

/// A key that signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignerName {
    /// Its fingerprint.
    pub fingerprint: String,
    /// What the trust store called it then.
    pub name: Option<String>,
}

/// What a batch had of one connector.
#[derive(Debug, Serialize)]
pub struct ConnectorFacts {
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

/// What a batch had in the name of one applicant.
#[derive(Debug, Serialize)]
pub struct ApplicantFacts {
    /// The applicant's id there.
    pub id: Option<String>,
    /// Its envelopes.
    pub envelopes: u64,
}

/// Envelopes that were set aside for one reason, of one connector.
#[derive(Debug, Serialize)]
pub struct AsideFacts {
    /// `held` or `quarantined`.
    pub event: String,
    /// Why.
    pub code: String,
    /// Their connector.
    pub connector: NamedConnector,
    /// How many.
    pub envelopes: u64,
    /// The first of them.
    pub first: Vec<EnvelopeFacts>,
}

/// One envelope that was set aside.
#[derive(Debug, Serialize)]
pub struct EnvelopeFacts {
    /// Its digest.
    pub sha256: String,
    /// Its position in its batch, from 1.
    pub ordinal: u64,
    /// Its name.
    pub name: String,
    /// Why, in words.
    pub what: String,
}

/// An envelope that a person let through in spite of the reason against it.
#[derive(Debug, Serialize)]
pub struct ReleaseFacts {
    /// The line of the journal.
    pub n: u64,
    /// When.
    pub at: String,
    /// The envelope, and why it was set aside.
    pub envelope: EnvelopeFacts,
    /// Its connector.
    pub connector: NamedConnector,
    /// The same as a code.
    pub code: String,
    /// Why it may go all the same.
    pub reason: String,
    /// The account of the operating system.
    pub user: String,
    /// The person who did it.
    pub operator: Option<String>,
    /// The second person who agreed, where the event names one.
    pub second: Option<String>,
    /// The officers who signed it.
    pub signers: Vec<String>,
    /// The person who looked on.
    pub witness: Option<String>,
    /// The ticket.
    pub ticket: Option<String>,
}

/// How many envelopes of a group are named.
pub const NAMED_ENVELOPES: usize = 20;

impl Report for DossierReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        page.findings(&self.findings);
    }
}

impl Logged {
    /// A text of the event as it is.
    pub fn of(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number of the event.
    pub fn count_of(&self, key: &str) -> Option<u64> {
        self.0.get(key).and_then(Value::as_u64)
    }

    /// The items of a list of the event.
    pub fn list(&self, key: &str) -> impl Iterator<Item = &Value> {
        self.0.get(key).and_then(Value::as_array).into_iter().flatten()
    }
}
