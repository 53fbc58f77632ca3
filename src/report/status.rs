//! What a site has: what came, went, waits and is missing, and since when.

mod alarm;
mod depth;
mod metrics;
mod parts;
mod screen;
mod times;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::{ArrivalLine, ExitStatus, Finding, Head, Page, Report, ranges};
use crate::code::Code;
use crate::digest::Digest;
use crate::stream::{Numbers, StreamId};

pub use alarm::{Alarm, Thresholds, line, one_line, urgency};
pub use metrics::metrics;
pub use times::{When, when};

/// What `status` shows: both sides in one shape; what does not apply is empty.
#[derive(Debug, Default, Serialize)]
pub struct StatusReport {
    /// Which side it is.
    pub role: &'static str,
    /// The site's directory.
    pub site: String,
    /// Where the importer delivers.
    pub destination: Option<String>,
    /// What waits in the spool, where the importer delivers to one.
    pub spool: Option<Backlog>,
    /// What the ledger knows of the queues, where the importer delivers to them.
    pub queues: Option<QueueBacklog>,
    /// The keys that the exporter has signed with.
    pub signers: Vec<Signer>,
    /// The streams.
    pub streams: Vec<StreamStatus>,
    /// What is set aside, by stream, connector and reason.
    pub set_aside: Vec<AsideStatus>,
    /// Files in the exporter's source that are no envelopes, with why.
    pub refused_files: Vec<Finding>,
    /// What waits for a person, the most urgent first.
    pub to_settle: Vec<Finding>,
    /// The same as a person reads it: what is alike is one.
    #[serde(skip)]
    pub lines: Vec<SettleLine>,
    /// What of it is shown.
    #[serde(skip)]
    pub view: StatusView,
    /// The time now, in seconds since 1970.
    #[serde(skip)]
    pub now: i64,
}

/// What of a status is shown to a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StatusView {
    /// One screen.
    #[default]
    Screen,
    /// Everything.
    All,
    /// The streams in it, in depth.
    Streams,
    /// The connectors in it, in depth.
    Connectors,
}

/// Something that waits for a person, or several that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleLine {
    /// What, with its stream.
    pub what: String,
    /// The command that settles it.
    pub advice: Option<String>,
}

/// What waits in a spool, or why that cannot be seen.
#[derive(Debug, Serialize)]
pub struct Backlog {
    /// What waits.
    #[serde(flatten)]
    pub seen: SpoolBacklog,
    /// Why it cannot be seen.
    pub error: Option<String>,
}

/// What waits in a spool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SpoolBacklog {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest was written, in seconds since 1970.
    #[serde(serialize_with = "times::optional")]
    pub oldest: Option<i64>,
    /// Messages that the broker refused; they lie beside the others until a person looks at them.
    pub refused: u64,
    /// Whether there is more than was counted.
    #[serde(rename = "more")]
    pub is_more: bool,
}

/// What the ledger knows of the queues of a destination; how much waits in them only the broker knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct QueueBacklog {
    /// Works that are open on the platform.
    pub open_works: u64,
    /// Envelopes that were being sent when a run was cut off.
    pub on_their_way: u64,
    /// Works that were closed and whose end is not known: `follow` asks for them.
    pub waiting_works: u64,
    /// Works whose end is known.
    pub ended_works: u64,
    /// Messages that were ingested under these.
    pub ingested: u64,
    /// Objects that were not.
    pub failed: u64,
    /// Objects that the platform's own rules refuse.
    pub refused: u64,
    /// Works of which nobody knows how they ended: they were gone.
    pub unknown_works: u64,
    /// When an end was last noted, in seconds since 1970.
    #[serde(serialize_with = "times::optional")]
    pub followed_at: Option<i64>,
}

/// A key that signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// The fingerprint of its public key.
    pub key: Digest,
    /// Whose it is, by the trust store; none where that is unknown.
    pub who: Option<String>,
}

/// One stream.
#[derive(Debug, Serialize)]
pub struct StreamStatus {
    /// Its id.
    pub stream: StreamId,
    /// The zone that it is for.
    pub zone: String,
    /// Whether more is to come: no other stream goes on from it.
    #[serde(rename = "active")]
    pub is_active: bool,
    /// The first number, 0 if there is none.
    pub first: u64,
    /// The last number, 0 if there is none.
    pub last: u64,
    /// The newest batch, with its code; at the importer the newest that was delivered.
    pub head: Option<Head>,
    /// At the importer what the exporter is told of it; none if it is not paired.
    pub arrival: Option<ArrivalLine>,
    /// How many batches are in which state.
    pub batches: BTreeMap<&'static str, u64>,
    /// Which they are.
    #[serde(serialize_with = "ranges_of_all")]
    pub numbers: BTreeMap<&'static str, Numbers>,
    /// Envelopes of all batches.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Envelopes of batches that are done, without those that are set aside.
    pub delivered: u64,
    /// Envelopes that are held.
    pub held: u64,
    /// Envelopes that are quarantined.
    pub quarantined: u64,
    /// Batches that are done and of which something is set aside.
    pub in_part: Vec<PartDelivered>,
    /// Numbers that have not come.
    pub missing: u64,
    /// The batch that was packed last.
    pub last_packed: Option<When>,
    /// The last batch that was carried, with its first carry.
    pub last_carried: Option<When>,
    /// At the exporter the batches that the importer has, by its own word.
    #[serde(serialize_with = "ranges")]
    pub acknowledged: Numbers,
    /// The last of them, with when that was noted.
    pub last_acknowledged: Option<When>,
    /// Whether the exporter waits for such a word: it is paired.
    #[serde(rename = "paired")]
    pub is_paired: bool,
    /// The batch that was taken last.
    pub last_taken: Option<When>,
    /// The batch of which something was delivered last.
    pub last_delivered: Option<When>,
    /// By when the exporter promises the next batch, in seconds since 1970.
    #[serde(skip)]
    pub promised_by: Option<i64>,
    /// The oldest batch that waits: at the exporter to be carried, at the importer to be delivered, in whole or in part.
    pub oldest_waiting: Option<When>,
    /// Who signed it.
    pub signers: Vec<Signer>,
    /// What a person has accepted.
    pub accepted: Vec<AcceptedPart>,
    /// The connectors, by id.
    pub connectors: BTreeMap<String, ConnectorStatus>,
}

/// A batch that is done and of which something is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartDelivered {
    /// Its number.
    pub sequence: u64,
    /// Its envelopes.
    pub envelopes: u64,
    /// Those that are held.
    pub held: u64,
    /// Those that are quarantined.
    pub quarantined: u64,
}

/// Batches that a person has accepted as lost, or although they fork their stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcceptedPart {
    /// The numbers.
    #[serde(serialize_with = "ranges")]
    pub sequences: Numbers,
    /// The accepted batch of a fork; none for batches that are lost.
    pub sha256: Option<Digest>,
    /// Why.
    pub reason: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
}

/// One connector of a stream.
#[derive(Debug, Default, Serialize)]
pub struct ConnectorStatus {
    /// Its name.
    pub name: String,
    /// Its envelopes.
    pub envelopes: u64,
    /// Those that are held.
    pub held: u64,
    /// Those that are quarantined.
    pub quarantined: u64,
    /// The newest batch with envelopes of it: when it was packed, or taken.
    pub last: Option<When>,
}

/// Envelopes of one stream and connector that are set aside for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AsideStatus {
    /// Their stream.
    pub stream: StreamId,
    /// Their connector's id.
    pub connector: String,
    /// `held`, `quarantined` or `released`.
    pub kind: &'static str,
    /// Why.
    pub code: Code,
    /// How many.
    pub envelopes: u64,
    /// The oldest batch that they came by: when it was taken.
    pub oldest: When,
}

fn ranges_of_all<S: Serializer>(
    all: &BTreeMap<&'static str, Numbers>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    struct Ranges<'a>(&'a Numbers);
    impl Serialize for Ranges<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            ranges(self.0, serializer)
        }
    }
    serializer.collect_map(all.iter().map(|(word, numbers)| (word, Ranges(numbers))))
}

impl Report for StatusReport {
    fn exit(&self) -> ExitStatus {
        ExitStatus::Done
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let lines = match self.view {
            StatusView::Screen => screen::lines(self),
            StatusView::All | StatusView::Streams => depth::lines(self),
            StatusView::Connectors => depth::connector_lines(self),
        };
        lines.into_iter().for_each(|line| page.result(line));
    }
}

impl StreamStatus {
    /// A stream of which nothing else is known yet.
    pub fn new(stream: StreamId, zone: String) -> Self {
        Self {
            stream,
            zone,
            is_active: true,
            first: 0,
            last: 0,
            head: None,
            arrival: None,
            batches: BTreeMap::new(),
            numbers: BTreeMap::new(),
            envelopes: 0,
            bytes: 0,
            delivered: 0,
            held: 0,
            quarantined: 0,
            in_part: Vec::new(),
            missing: 0,
            last_packed: None,
            last_carried: None,
            acknowledged: Numbers::default(),
            last_acknowledged: None,
            is_paired: false,
            last_taken: None,
            last_delivered: None,
            promised_by: None,
            oldest_waiting: None,
            signers: Vec::new(),
            accepted: Vec::new(),
            connectors: BTreeMap::new(),
        }
    }
}
