//! Where the importer delivers.
//!
//! A sink delivers in groups, in two steps, so that a crash between them loses nothing, and repeats nothing where the
//! next run can see what arrived (not in queues): [`Sink::stage`] writes envelopes where nobody sees them yet and
//! [`Sink::prepare`] makes them durable; the ledger notes what is about to appear; [`Sink::settle`] makes it appear and
//! reports what was delivered.
//!
//! Each call returns what it has done in one value, also if it failed: [`Effects`]. What the ledger must know before it
//! happens is written ahead: [`WriteAhead`].

mod background;
pub mod backlog;
mod connectors;
pub mod directory;
mod marked_directory;
mod open;
pub mod queues;
#[cfg(test)]
pub mod scripted;
pub mod spool;
pub mod spooled;
#[cfg(test)]
mod tests;

use crate::code::Code;
use crate::digest::Digest;
use crate::envelope::{Connector, Scope};
use crate::error::Result;
use crate::fit::{Examined, Examiner, Unfit};
use crate::mtime::Mtime;
use crate::opencti::registration::{Registration, scope_of_text};
use crate::report::Finding;
use crate::stream::StreamId;
use crate::works::{ForBatch, GoneWork, SentWork};

pub use crate::works::Ended;
pub use open::{KnownDestination, OpenedSink, open};

/// Where an envelope came from, for names and reasons.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The ledger's number of its batch.
    pub batch: i64,
    /// The stream of its batch.
    pub stream: StreamId,
    /// The number of its batch.
    pub sequence: u64,
    /// Its position in the index, from 1.
    pub ordinal: usize,
    /// Its name in the source directory.
    pub name: String,
    /// Its digest, as received.
    pub sha256: Digest,
    /// When the connector wrote it; unknown for envelopes that an older airpouch has set aside.
    pub mtime: Option<Mtime>,
    /// The id of the connector that wrote it.
    pub connector: String,
    /// That connector's name.
    pub connector_name: String,
}

/// An envelope that is to be delivered, and where it came from.
#[derive(Debug)]
pub struct Deliverable {
    /// Where it came from.
    pub origin: Origin,
    /// The bytes to deliver: as received, or with only the applicant replaced.
    pub bytes: Vec<u8>,
    /// The result of the sink's examiner.
    pub examined: Examined,
    /// The connector that wrote it, with its id at the destination.
    pub connector: Connector,
    /// A name that is unique to it and portable: `<stream 16>-<sequence 8>-<ordinal 8>`.
    pub name: String,
    /// The user in whose name it is delivered.
    pub applicant: Option<String>,
}

/// The ledger's note of an envelope that is about to appear, or has appeared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placing {
    /// Digest of the envelope as received.
    pub sha256: Digest,
    /// The ledger's number of its batch.
    pub batch: i64,
    /// Its position in the index.
    pub ordinal: usize,
    /// Its name in the sink.
    pub name: String,
    /// Its place in the order of the sink: its time of modification in nanoseconds since 1970, or the number of
    /// its last message.
    pub order: i64,
    /// The user in whose name it is delivered.
    pub applicant: Option<String>,
}

impl Placing {
    fn of(origin: &Origin, name: String, order: i64, applicant: Option<String>) -> Self {
        Self { sha256: origin.sha256, batch: origin.batch, ordinal: origin.ordinal, name, order, applicant }
    }
}

/// What a sink has delivered. The ledger records nothing else as delivered, and only a sink can make this value: its
/// fields are private to this room.
#[derive(Debug)]
pub struct Delivery {
    placed: Vec<Placing>,
    /// Not delivered, and why; they cannot be delivered unchanged.
    refused: Vec<Refused>,
    /// Not delivered in this run, though others are; the next run tries them again.
    deferred: Vec<Deferred>,
    on_their_way: Option<u64>,
    high_water: i64,
}

impl Delivery {
    fn none(high_water: i64) -> Self {
        Self { placed: Vec::new(), refused: Vec::new(), deferred: Vec::new(), on_their_way: None, high_water }
    }

    /// What was delivered.
    pub fn placed(&self) -> &[Placing] {
        &self.placed
    }

    /// How many are still in flight, if the sink prepared [`Prepared::Sending`].
    pub fn on_their_way(&self) -> Option<u64> {
        self.on_their_way
    }

    /// How many the destination refuses.
    pub fn refused(&self) -> usize {
        self.refused.len()
    }

    /// All envelopes with a known outcome: none of them is in flight.
    pub fn settled(&self) -> impl Iterator<Item = &Placing> {
        let refused = self.refused.iter().map(|refused| &refused.placing);
        self.placed.iter().chain(refused).chain(self.deferred.iter().map(|deferred| &deferred.placing))
    }

    /// What the ledger keeps for the next run: the last [`Placing::order`] that was used.
    pub fn high_water(&self) -> i64 {
        self.high_water
    }

    /// Whether nothing is known of any envelope.
    pub fn is_empty(&self) -> bool {
        self.settled().next().is_none()
    }

    /// What was not delivered, once the ledger has recorded what was.
    pub fn into_undelivered(self) -> (Vec<Refused>, Vec<Deferred>) {
        (self.refused, self.deferred)
    }
}

/// What a call of a sink has done, also if it failed: the caller records all of it before it does anything else.
#[must_use]
#[derive(Debug)]
pub struct Effects {
    /// What is known of envelopes.
    pub delivery: Delivery,
    /// Ids of connectors that exist at the destination and are not taken over.
    pub shown: Vec<String>,
    /// Works that were closed, or are gone.
    pub closed: Vec<String>,
    /// Works that were closed with what was delivered under them.
    pub sent: Vec<SentWork>,
    /// Works that are gone with what was delivered under them.
    pub gone: Vec<GoneWork>,
    /// Findings about the destination.
    pub findings: Vec<Finding>,
}

impl Effects {
    fn none(high_water: i64) -> Self {
        Self::of(Delivery::none(high_water))
    }

    fn of(delivery: Delivery) -> Self {
        let (shown, closed, sent, gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { delivery, shown, closed, sent, gone, findings: Vec::new() }
    }
}

/// What a call has done, and its result.
pub type Did<T> = (Effects, Result<T>);

/// Notes what the next run must know if this one is killed right after. This cannot wait for the end of a call.
pub trait WriteAhead {
    /// A connector is about to be registered; without this note the next run would take it for somebody else's and hold
    /// its envelopes. Or the platform refused it (`is_ours` is false).
    ///
    /// # Errors
    /// The ledger cannot be written.
    fn registered(&mut self, id: &str, name: &str, is_ours: bool) -> Result<()>;

    /// A work was opened, and nothing was sent under it yet; without this note it would stay open on the platform for
    /// ever.
    ///
    /// # Errors
    /// The ledger cannot be written.
    fn opened(&mut self, subject: &ForBatch, id: &str) -> Result<()>;
}

/// What is noted of a group before any of it is visible.
#[derive(Debug)]
pub enum Prepared {
    /// These are about to get their names; after a crash the next run sees which have them.
    Placing(Vec<Placing>),
    /// This many messages are about to be sent, or were sent and are not confirmed; after a crash nobody knows which
    /// arrived.
    Sending(u64),
}

/// An envelope that the destination itself refuses.
#[derive(Debug)]
pub struct Refused {
    /// The ledger's note of it.
    pub placing: Placing,
    /// Where it came from.
    pub origin: Origin,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The code, for programs.
    pub code: Code,
    /// What is wrong.
    pub what: String,
    /// Where, as a JSON pointer.
    pub place: String,
}

/// An envelope that the destination cannot accept at the moment, although it accepts others: another file has its name,
/// or its connector's queue is full. It stays in the inbox, where its batch stays open; one that was held or released
/// before stays held or released. The next run tries again.
#[derive(Debug)]
pub struct Deferred {
    /// The note of it, or what it would be.
    pub placing: Placing,
    /// The code, for programs.
    pub code: Code,
    /// What is wrong, without the envelope's name: it is reported once for all envelopes of a connector.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// The registration of a connector as its envelopes describe it.
pub fn registration(connector: &Connector) -> Registration {
    let scope = match &connector.scope {
        Scope::None => Vec::new(),
        Scope::Text(text) => scope_of_text(text),
        Scope::List(parts) => parts.iter().map(|part| part.trim().to_owned()).collect(),
    };
    Registration::new(&connector.id, &connector.name, &connector.kind, scope, connector.auto == Some(true))
}

/// A destination of envelopes.
pub trait Sink {
    /// Finishes what a crash interrupted between `prepare` and `settle`, if the sink can see how far that got. What is
    /// not in the answer is delivered again.
    fn recover(&mut self, placing: Vec<Placing>) -> Did<()>;

    /// How this sink examines envelopes.
    fn examiner(&self) -> Examiner;

    /// Asks the destination whether it accepts envelopes of this connector.
    fn admits(&mut self, _connector: &Connector, _ahead: &mut dyn WriteAhead) -> Did<Option<Unfit>>;

    /// Adds an envelope to the group, not visible yet. Returns whether the group is large enough.
    ///
    /// # Errors
    /// The system refused.
    fn stage(&mut self, deliverable: Deliverable) -> Result<bool>;

    /// Makes the group durable and fixes its names and order. If it fails, nothing of the group is visible; the answer
    /// may report more of earlier groups.
    fn prepare(&mut self, ahead: &mut dyn WriteAhead) -> Did<Prepared>;

    /// Makes the group appear, in order, and returns the envelopes that are known to have appeared; with `all`, it
    /// waits for all that were prepared. If it fails, [`Sink::recover`] finishes it later, or it is delivered again.
    fn settle(&mut self, all: bool, ahead: &mut dyn WriteAhead) -> Did<()>;

    /// Waits until deferred envelopes may be accepted, if waiting makes sense; then the caller passes all that is left
    /// once more.
    fn wait(&mut self) -> Did<bool>;

    /// Closes the works of a batch or a run that has ended.
    fn close(&mut self, ended: Ended<'_>, ahead: &mut dyn WriteAhead) -> Did<()>;
}
