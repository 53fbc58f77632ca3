//! What a run found and did. One report a verb; what is printed, the JSON and the exit status all come from it.

pub mod call;
mod finding;

use serde::Serialize;

pub use finding::{Finding, NOT_PACKED, NamedConnector, NamedEnvelope, Summary, each, fold, status_of, summaries};

use crate::batch::manifest::Manifest;
use crate::digest::Digest;
use crate::stream::{Size, StreamId};

/// How a run ends; the numbers are documented in README and in the man page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// 0: done, also where there was nothing to do.
    Done,
    /// 1: something stopped it.
    Failed,
    /// 2: it was asked for wrongly.
    Usage,
    /// 3: something new was refused or held, or something is missing.
    Incomplete,
    /// 4: a signature or digest does not hold, or no trusted key signed.
    Invalid,
    /// 5: another run holds the lock.
    Locked,
}

impl ExitStatus {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::Invalid => 4,
            Self::Locked => 5,
        }
    }
}

/// A batch as reports name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchLine {
    /// Its stream.
    pub stream: StreamId,
    /// Its number.
    pub sequence: u64,
    /// Digest of its manifest.
    pub sha256: Digest,
    /// Its zone.
    pub zone: String,
    /// Its envelopes.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes on the shelf: index and volumes.
    pub packed: u64,
}

impl BatchLine {
    /// A manifest as reports name it.
    pub fn of(manifest: &Manifest, sha256: Digest) -> Self {
        Self {
            stream: manifest.stream,
            sequence: manifest.sequence.get(),
            sha256,
            zone: manifest.zone.clone(),
            envelopes: manifest.totals.envelopes,
            bytes: manifest.totals.bytes,
            packed: manifest.totals.packed,
        }
    }
}

/// What `pack` did.
#[derive(Debug, Default, Serialize)]
pub struct PackReport {
    /// Batches that were sealed and signed in this run.
    pub packed: Vec<BatchLine>,
    /// Batches sealed by an earlier run that this one signed and placed.
    pub completed: Vec<BatchLine>,
    /// Batches that the outbox had lost parts of, completed or signed again.
    pub restored: Vec<BatchLine>,
    /// Batches that were given up in this run: they will never come.
    pub given_up: Vec<BatchLine>,
    /// What became of the envelopes of batches that were given up.
    pub lost: Vec<LostBatch>,
    /// Files with a name and a kind that is input.
    pub looked_at: u64,
    /// Files not opened, since nothing about them has changed.
    pub unchanged: u64,
    /// Files whose content this stream has packed already, under whatever name.
    pub already_packed: u64,
    /// Files that are no valid envelope, newly or as before.
    pub refused: u64,
    /// Those that an earlier run had told of.
    pub refused_before: u64,
    /// Files that were gone before they could be opened.
    pub gone: u64,
    /// Files that were being written while they were read.
    pub changing: u64,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A batch that will never come, and what became of its envelopes.
#[derive(Debug, Serialize)]
pub struct LostBatch {
    /// Its stream.
    pub stream: StreamId,
    /// Its number, which stays used.
    pub sequence: u64,
    /// How many envelopes it had.
    pub envelopes: u64,
    /// How many of them were packed again.
    pub packed_again: u64,
    /// In which batches, such as `8-9,12`.
    pub within: String,
    /// Names of those that were not, as far as they are known: the first few.
    pub not_packed: Vec<String>,
}

/// What `carry` did.
#[derive(Debug, Default, Serialize)]
pub struct CarryReport {
    /// Batches that were placed for the first time, or are there whole.
    pub new: Vec<BatchLine>,
    /// Batches that went again.
    pub repeated: Vec<BatchLine>,
    /// New batches for which there was no room.
    pub left: Vec<BatchLine>,
    /// Bytes written.
    pub written: u64,
    /// How sure it is that the medium holds them.
    pub proof: Option<Proof>,
    /// The newest batch there, with the code that a person reads out to compare.
    pub head: Option<Head>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// What the read-back proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// Read from the device itself, past the page cache.
    Device,
    /// Read after the medium was mounted anew.
    Replug,
    /// Read, perhaps from memory.
    Cache,
    /// Not read: a drop folder that empties itself.
    Sent,
}

impl Proof {
    /// The word that ledger and reports use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Replug => "replug",
            Self::Cache => "cache",
            Self::Sent => "sent",
        }
    }

    /// The proof of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Device, Self::Replug, Self::Cache, Self::Sent].into_iter().find(|p| p.word() == word)
    }

    /// What it means, for a person.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Device => "read back from the device itself",
            Self::Replug => "read back after the medium was mounted anew",
            Self::Cache => "read back, perhaps from memory: carry again after plugging it in anew to be sure",
            Self::Sent => "sent: a drop folder, nothing was read back",
        }
    }
}

/// What `verify` found.
#[derive(Debug, Default, Serialize)]
pub struct VerifyReport {
    /// Batches that hold whole, with who signed them.
    pub whole: Vec<VerifiedBatch>,
    /// Files that are no part of any batch.
    pub other_files: u64,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A batch that holds.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedBatch {
    /// The batch.
    #[serde(flatten)]
    pub batch: BatchLine,
    /// When its maker says that it was made.
    pub created: String,
    /// Who signed, by the names of the trust store.
    pub signers: Vec<String>,
    /// Its code, to be compared by voice.
    pub head: String,
}

/// What `import` did.
#[derive(Debug, Default, Serialize)]
pub struct ImportReport {
    /// Batches that were taken into custody whole in this run.
    pub taken: Vec<BatchLine>,
    /// Batches delivered in this run, in order.
    pub delivered_batches: Vec<DeliveredBatch>,
    /// What became of the envelopes of this run.
    pub outcome: Outcome,
    /// Of the delivered ones, those that had been held or quarantined.
    pub released: u64,
    /// Messages of the delivered ones, where the destination takes parts of bundles.
    pub messages: u64,
    /// Objects that were passed over while bundles were taken apart, as OpenCTI's client does.
    pub incompatible: u64,
    /// Envelopes with such objects.
    pub incompatible_envelopes: u64,
    /// The first of them.
    pub incompatible_in: Vec<PassedOver>,
    /// Envelopes held in all.
    pub held_in_all: u64,
    /// Envelopes quarantined in all.
    pub quarantined_in_all: u64,
    /// Batches that had come before.
    pub replayed: u64,
    /// Applicants that are not mapped, with envelopes held for them.
    pub unmapped: Vec<(Option<String>, u64)>,
    /// The newest batch of each stream of which something was delivered in this run, with its code.
    pub heads: Vec<Head>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// What `drain` did.
#[derive(Debug, Default, Serialize)]
pub struct DrainReport {
    /// What went to the queues, by connector.
    pub drained: Vec<Drained>,
    /// Messages that the broker does not take, put aside in the spool.
    pub refused: u64,
    /// Messages that stay in the spool, for their connectors are not taken.
    pub left: u64,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// What went to one connector's queue.
#[derive(Debug, Clone, Serialize)]
pub struct Drained {
    /// The connector's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Messages.
    pub messages: u64,
}

/// What `check` found.
#[derive(Debug, Default, Serialize)]
pub struct CheckReport {
    /// What is as it should be, or is told for a person to compare.
    pub facts: Vec<Fact>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Something that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Fact {
    /// What, in one word.
    pub about: &'static str,
    /// How it is.
    pub is: String,
}

/// Envelopes with passed over objects that are named.
const NAMED_MAX: usize = 20;

impl ImportReport {
    /// Counts an envelope of which objects were passed over.
    pub fn pass_over(&mut self, passed_over: PassedOver) {
        if passed_over.objects == 0 {
            return;
        }
        self.incompatible += passed_over.objects;
        self.incompatible_envelopes += 1;
        if self.incompatible_in.len() < NAMED_MAX {
            self.incompatible_in.push(passed_over);
        }
    }
}

/// An envelope of which objects were passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// The stream that brought it.
    pub stream: StreamId,
    /// The number of its batch.
    pub sequence: u64,
    /// Its position there, from 1.
    pub ordinal: usize,
    /// Its name at the exporter.
    pub name: String,
    /// How many objects.
    pub objects: u64,
}

/// A batch that was delivered.
#[derive(Debug, Clone, Serialize)]
pub struct DeliveredBatch {
    /// The batch.
    #[serde(flatten)]
    pub batch: BatchLine,
    /// Whether later numbers were delivered before it.
    pub late: bool,
    /// What became of its envelopes in this run.
    pub outcome: Outcome,
}

/// What became of some envelopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Delivered.
    pub delivered: u64,
    /// The destination had them already.
    pub already_delivered: u64,
    /// They hold nothing to deliver (empty bundles).
    pub empty: u64,
    /// Newly held.
    pub held: u64,
    /// Newly quarantined.
    pub quarantined: u64,
    /// Not delivered yet: the destination cannot take them at the moment.
    pub deferred: u64,
}

impl Outcome {
    /// The sum with a later count.
    pub fn and(self, more: Self) -> Self {
        Self {
            delivered: self.delivered + more.delivered,
            already_delivered: self.already_delivered + more.already_delivered,
            empty: self.empty + more.empty,
            held: self.held + more.held,
            quarantined: self.quarantined + more.quarantined,
            deferred: self.deferred + more.deferred,
        }
    }

    /// The difference to an earlier count.
    pub fn since(self, before: Self) -> Self {
        Self {
            delivered: self.delivered - before.delivered,
            already_delivered: self.already_delivered - before.already_delivered,
            empty: self.empty - before.empty,
            held: self.held - before.held,
            quarantined: self.quarantined - before.quarantined,
            deferred: self.deferred - before.deferred,
        }
    }
}

/// The newest batch of a stream, and the code that a person reads out to compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The stream.
    pub stream: StreamId,
    /// The number.
    pub sequence: u64,
    /// Its code.
    pub code: String,
    /// Whether no later one has come, so that a carry showed this code.
    #[serde(skip)]
    pub is_last: bool,
}

/// Sizes of all envelopes of some batches.
pub fn sum(batches: &[BatchLine]) -> Size {
    Size { envelopes: batches.iter().map(|b| b.envelopes).sum(), bytes: batches.iter().map(|b| b.bytes).sum() }
}

/// The code of a batch that a person reads out: eight hex digits of its digest in two groups.
pub fn head_code(sha256: Digest) -> String {
    let digits = sha256.short().to_uppercase();
    format!("{}-{}", &digits[..4], &digits[4..])
}

/// Who is told how far a run is. Bars belong to the command line; steps only say these words.
pub trait Observer: Sync {
    /// A stage begins; `bytes` is how much it will move.
    fn begin(&self, stage: &str, bytes: u64);
    /// So many bytes more are done.
    fn advance(&self, bytes: u64);
    /// The stage ended.
    fn end(&self);
    /// A word that cannot wait for the report.
    fn say(&self, line: &str);
    /// Something is done that a person waits for, and durable.
    fn event(&self, event: &Event<'_>);
    /// A stage begins that will move so many messages, whatever their size.
    fn begin_messages(&self, stage: &str, messages: u64);
}

/// What is told as soon as it is so, and not at the end of the run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A batch was sealed, signed and placed in the outbox.
    Packed(&'a BatchLine),
    /// A batch was taken into custody whole.
    Taken(&'a BatchLine),
    /// So many batches of the medium that are not delivered yet are in custody, and nothing else on it is needed.
    InCustody(u64),
    /// A batch was delivered.
    Delivered(&'a DeliveredBatch),
}

/// An observer that is told and says nothing.
pub struct Silent;

impl Observer for Silent {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn say(&self, _: &str) {}
    fn event(&self, _: &Event<'_>) {}
    fn begin_messages(&self, _: &str, _: u64) {}
}
