//! Where the importer delivers.
//!
//! A sink delivers in groups, in two steps, so that a crash between them loses nothing, and repeats nothing where it can
//! be seen what arrived (not in queues): [`Sink::stage`] puts envelopes where nobody sees them yet and [`Sink::prepare`]
//! makes that durable; the ledger notes what is about to appear; [`Sink::settle`] makes it appear and says what was
//! delivered.
//!
//! Each call says what it has done, in one value, also where it failed: [`Effects`]. What must be known before it is so
//! is written ahead instead: [`WriteAhead`].

mod background;
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
use crate::works::{ForBatch, GoneWork};

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
    /// Its digest, as it crossed.
    pub sha256: Digest,
    /// When the connector wrote it; not known of what was set aside by an older airpouch.
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
    /// The bytes to deliver: as they crossed, or with just an applicant put in.
    pub bytes: Vec<u8>,
    /// What the sink's examiner has made of it.
    pub examined: Examined,
    /// The connector that wrote it, as it is to be known here.
    pub connector: Connector,
    /// A name that is unique to it and portable: `<stream 16>-<sequence 8>-<ordinal 8>`.
    pub name: String,
    /// In whose name it goes.
    pub applicant: Option<String>,
}

/// What is about to appear, or has: the ledger's note of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placing {
    /// Digest of the envelope as it crossed.
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
    /// In whose name it goes.
    pub applicant: Option<String>,
}

impl Placing {
    fn of(origin: &Origin, name: String, order: i64, applicant: Option<String>) -> Self {
        Self { sha256: origin.sha256, batch: origin.batch, ordinal: origin.ordinal, name, order, applicant }
    }
}

/// What a sink vouches for: these were delivered. The ledger records nothing else as such, and nobody but a sink can make
/// one: the fields are this room's own.
#[derive(Debug)]
pub struct Delivery {
    placed: Vec<Placing>,
    /// Not delivered, and why; they never will be as they are.
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

    /// How many are on their way still, where the sink was given [`Prepared::Sending`].
    pub fn on_their_way(&self) -> Option<u64> {
        self.on_their_way
    }

    /// How many the destination does not take.
    pub fn refused(&self) -> usize {
        self.refused.len()
    }

    /// All of which it is known by now what became of them: nothing of these is on its way.
    pub fn settled(&self) -> impl Iterator<Item = &Placing> {
        let refused = self.refused.iter().map(|refused| &refused.placing);
        self.placed.iter().chain(refused).chain(self.deferred.iter().map(|deferred| &deferred.placing))
    }

    /// What the ledger is to keep for the next run: the last [`Placing::order`] that was given out.
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

/// What a call of a sink has done, also one that failed: all of it is recorded before anything else is done.
#[must_use]
#[derive(Debug)]
pub struct Effects {
    /// What is known of envelopes.
    pub delivery: Delivery,
    /// Connectors that were found to exist at the destination, and are not taken over: their ids.
    pub shown: Vec<String>,
    /// Works that were closed, or are gone.
    pub closed: Vec<String>,
    /// Works that are gone with what was delivered under them.
    pub gone: Vec<GoneWork>,
    /// What is to be reported of the destination.
    pub findings: Vec<Finding>,
}

impl Effects {
    fn none(high_water: i64) -> Self {
        Self::of(Delivery::none(high_water))
    }

    fn of(delivery: Delivery) -> Self {
        Self { delivery, shown: Vec::new(), closed: Vec::new(), gone: Vec::new(), findings: Vec::new() }
    }
}

/// What a call has done, and what came of it.
pub type Did<T> = (Effects, Result<T>);

/// Notes what the next run must know if this one is killed right after: these cannot wait for the end of a call.
pub trait WriteAhead {
    /// A connector is about to be registered; else the next run would take it for somebody else's, and hold all that it
    /// wrote. Or that was refused (`is_ours` is false).
    ///
    /// # Errors
    /// It cannot be written down.
    fn registered(&mut self, id: &str, name: &str, is_ours: bool) -> Result<()>;

    /// A work was opened, and nothing rests on it yet; else it would stay open on the platform for ever.
    ///
    /// # Errors
    /// It cannot be written down.
    fn opened(&mut self, subject: &ForBatch, id: &str) -> Result<()>;
}

/// What is to be noted of a group before any of it is seen.
#[derive(Debug)]
pub enum Prepared {
    /// These are about to get their names; after a crash it can be seen which did.
    Placing(Vec<Placing>),
    /// This many messages are about to be sent, or were sent and are not confirmed; after a crash nobody could tell which arrived.
    Sending(u64),
}

/// An envelope that the destination itself does not take.
#[derive(Debug)]
pub struct Refused {
    /// What was noted of it.
    pub placing: Placing,
    /// Where it came from.
    pub origin: Origin,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// One word for programs.
    pub code: Code,
    /// What is the matter.
    pub what: String,
    /// Where, as a JSON pointer.
    pub place: String,
}

/// An envelope that the destination cannot take at the moment, though it takes others: the next file name is taken by
/// something else, or its connector's queue is full. It stays in the inbox, where its batch stays open; what was held
/// or released before stays where it is. The next run tries again.
#[derive(Debug)]
pub struct Deferred {
    /// What was noted of it, or would have been.
    pub placing: Placing,
    /// One word for programs.
    pub code: Code,
    /// What is the matter, without the envelope's name: it is reported once for all envelopes of a connector.
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

/// A place of delivery.
pub trait Sink {
    /// Finishes what a crash left between `prepare` and `settle`, where the sink can tell how far that came. What is
    /// not in the answer is delivered again.
    fn recover(&mut self, placing: Vec<Placing>) -> Did<()>;

    /// How this sink looks at envelopes.
    fn examiner(&self) -> Examiner;

    /// Whether what this connector wrote is taken there at all, now that the destination is asked.
    fn admits(&mut self, _connector: &Connector, _ahead: &mut dyn WriteAhead) -> Did<Option<Unfit>>;

    /// Takes an envelope into the group, unseen. Says whether the group is large enough.
    ///
    /// # Errors
    /// The system refused.
    fn stage(&mut self, deliverable: Deliverable) -> Result<bool>;

    /// Makes the group durable and fixes all that will be seen of it. Where it fails nothing of the group was seen; of
    /// groups before it, the answer may hold more.
    fn prepare(&mut self, ahead: &mut dyn WriteAhead) -> Did<Prepared>;

    /// Makes the group appear, in order, and says of which envelopes it is known by now that they have; with `all`, of
    /// all that were prepared. Where it fails, [`Sink::recover`] finishes it later, or it is delivered again.
    fn settle(&mut self, all: bool, ahead: &mut dyn WriteAhead) -> Did<()>;

    /// Waits until what was deferred may be taken, if that is worth it: then all that is left goes to it once more.
    fn wait(&mut self) -> Did<bool>;

    /// Closes what was opened for a batch or a run that has ended.
    fn close(&mut self, ended: Ended<'_>, ahead: &mut dyn WriteAhead) -> Did<()>;
}
