//! What a run found and did. One report a verb; what is printed, the JSON and the exit status all come from it.

mod applicants;
mod arrival;
mod audit;
pub mod call;
mod carry;
mod check;
mod document;
mod dossier;
mod drain;
mod finding;
mod follow;
mod found;
mod import;
mod keygen;
mod log;
mod news;
mod pack;
mod page;
mod quarantine;
mod review;
mod sheet;
mod show;
mod sign;
mod signal;
mod slip;
mod split;
mod status;
mod stream;
mod verify;
mod witness;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use serde::{Serialize, Serializer};

pub use applicants::{
    ApplicantsReport, CameApplicant, MappedTo, MappedUser, Unmapped, UserThere, WroteFor, lines_to_paste, to_map,
};
pub use arrival::{AcknowledgedLine, ArrivalLine, ArrivedReport, PairReport, UnacknowledgedLine};
pub use audit::{AuditReport, ByRules, FoundCode, SetBack, SignedBatches, UnknownRules};
pub use carry::{CarryReport, Proof};
pub use check::{CheckReport, Fact};
pub use document::{Document, Problem};
pub use dossier::{
    ApplicantFacts, AsideFacts, BatchDossier, BatchTimes, ConnectorFacts, DossierReport, EnvelopeFacts, IngestFacts,
    JournalState, ManifestFacts, NAMED_ENVELOPES, ReleaseFacts, SignerName,
};
pub use drain::{DrainReport, Drained};
pub use follow::{FollowReport, FollowedLine, UnansweredWork};
pub use found::{FoundEnvelope, OtherBatch, Searched};
pub use import::{DeliveredBatch, ImportReport, Outcome, PassedOver};
pub use keygen::KeygenReport;
pub use log::{COLUMNS, LogReport, Logged};
pub use news::News;
pub use pack::{LostBatch, PackAndCarryReport, PackReport, never_comes};
pub use page::{Line, Page};
pub use quarantine::{
    AsideGroup, Decided, DecisionMade, QuarantineReport, RejectReport, ReleaseReport, SetAside, ShowAsideReport,
    SignedRelease, UnrejectReport, UnreleaseReport,
};
pub use review::{ConnectorTotals, JournalPoint, MonthTotals, ReviewReport};
pub use show::{
    BatchCard, ConnectorCard, EmbeddedFiles, EnvelopeCard, ShowReport, ShownAct, ShownLine, ShownRemark, Unusual,
};
pub use sign::{SignReport, SignedNumbers};
pub use signal::Signal;
pub use slip::Slip;
pub use split::{ShownIncompatible, ShownMessage, SplitReport};
pub use status::{
    AcceptedPart, Alarm, AsideStatus, Backlog, ConnectorStatus, PartDelivered, QueueBacklog, SettleLine, Signer,
    SpoolBacklog, StatusReport, StatusView, StreamStatus, Thresholds, When, line, metrics, one_line, urgency, when,
};
pub use stream::{AcceptReport, Accepted, RenewReport};
pub use verify::{VerifiedBatch, VerifyReport};
pub use witness::{HeadCode, WitnessReport};

pub use finding::{Finding, NOT_PACKED, NamedConnector, NamedEnvelope, Summary, each, fold, status_of, summaries};

use crate::batch::manifest::Manifest;
use crate::digest::Digest;
use crate::stream::{Numbers, Size, StreamId};
use crate::text::count;

/// What one run of a verb did and found. Text, JSON and exit status come from it.
pub trait Report: Serialize {
    /// How the run ends if nothing stops it.
    fn exit(&self) -> ExitStatus {
        ExitStatus::Done
    }

    /// Writes what a person reads.
    fn write<'a>(&'a self, page: &mut Page<'a>);
}

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
    /// The signal itself ends it, which a shell shows as 128 and its number: it was asked to stop, and stopped before its end.
    Stopped(Signal),
    /// 0 to 3 as monitoring plugins have them: of `status --check` alone.
    Alarm(Alarm),
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
            Self::Stopped(signal) => 128 + signal.number(),
            Self::Alarm(alarm) => alarm.code(),
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

impl Head {
    /// Of the batch of a stream with this number and digest.
    pub fn of(stream: StreamId, sequence: u64, sha256: Digest) -> Self {
        Self { stream, sequence, code: head_code(sha256), is_last: false }
    }
}

/// Sizes of all envelopes of some batches.
pub fn sum(batches: &[BatchLine]) -> Size {
    Size { envelopes: batches.iter().map(|b| b.envelopes).sum(), bytes: batches.iter().map(|b| b.bytes).sum() }
}

/// The numbers of some batches, and what is in them, by stream.
fn by_stream(batches: &[BatchLine]) -> BTreeMap<StreamId, (Numbers, Size)> {
    let mut streams: BTreeMap<StreamId, Vec<&BatchLine>> = BTreeMap::new();
    batches.iter().for_each(|batch| streams.entry(batch.stream).or_default().push(batch));
    let numbers = |batches: &[&BatchLine]| batches.iter().map(|b| b.sequence).collect();
    let all = |batches: &[&BatchLine]| Size {
        envelopes: batches.iter().map(|b| b.envelopes).sum(),
        bytes: batches.iter().map(|b| b.bytes).sum(),
    };
    streams.into_iter().map(|(stream, batches)| (stream, (numbers(&batches), all(&batches)))).collect()
}

/// Batches that will never come, as long as no pack has looked for what was in them.
fn lost_for_now(numbers: &Numbers, of: &str, size: Size) -> String {
    let its = if numbers.only().is_some() { "its" } else { "their" };
    let envelopes = count(size.envelopes, "envelope");
    format!(
        "{}{of} will never come: {its} files were lost; what is still in the source of {its} {envelopes} is packed next time",
        numbers.words()
    )
}

/// The code of a batch that a person reads out: eight hex digits of its digest in two groups.
pub fn head_code(sha256: Digest) -> String {
    let digits = sha256.short().to_uppercase();
    format!("{}-{}", &digits[..4], &digits[4..])
}

/// Numbers of batches in JSON: pairs of a first and a last one.
pub(crate) fn ranges<S: Serializer>(numbers: &Numbers, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(numbers.ranges().iter().map(|range| (range.start(), range.end())))
}

/// Who is told how far a run is, and may ask it to stop. Bars belong to the command line; steps only say these words.
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
    /// A stage begins that will go through so many things, such as messages, whatever their size.
    fn begin_counted(&self, stage: &str, number: u64, things: &str);
    /// The signal that has asked the run to stop, if there was one: steps look at it between two things that they do.
    fn asked_to_stop(&self) -> Option<Signal> {
        None
    }
    /// Readable from when the run was asked to stop on, for what waits.
    fn stop_alarm(&self) -> Option<BorrowedFd<'_>> {
        None
    }
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
    fn begin_counted(&self, _: &str, _: u64, _: &str) {}
}
