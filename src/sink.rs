//! Where the importer delivers.
//!
//! A sink delivers in groups, in two steps, so that a crash between them loses nothing, and repeats nothing where it can
//! be seen what arrived (not in queues): [`Sink::stage`] puts envelopes where nobody sees them yet and [`Sink::prepare`]
//! makes that durable; the ledger notes what is about to appear; [`Sink::settle`] makes it appear and says what was
//! delivered.

mod beside;
mod connectors;
pub mod directory;
mod mark;
pub mod queues;
pub mod spool;
pub mod spooled;
#[cfg(test)]
mod tests;
mod works;

use crate::code::Code;
use crate::digest::Digest;
use crate::envelope::{Connector, Scope};
use crate::error::Result;
use crate::fit::{Examined, Examiner, Unfit};
use crate::mtime::Mtime;
use crate::opencti::registration::{Registration, scope_of_text};
use crate::report::Finding;
use crate::stream::StreamId;

pub use queues::working::gone_finding;
pub use works::{GoneWork, OpenWork};

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
    /// Where it stands in the order of the sink: its time of modification in nanoseconds since 1970, or the number of
    /// its last message.
    pub mark: i64,
    /// In whose name it goes.
    pub applicant: Option<String>,
}

impl Placing {
    fn of(origin: &Origin, name: String, mark: i64, applicant: Option<String>) -> Self {
        Self { sha256: origin.sha256, batch: origin.batch, ordinal: origin.ordinal, name, mark, applicant }
    }
}

/// What a sink vouches for: these were delivered. Only this can be recorded as such.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Delivered.
    pub(crate) placed: Vec<Placing>,
    /// Not delivered, and why; they never will be as they are.
    pub(crate) refused: Vec<Refused>,
    /// Not delivered in this run, though others are; the next run tries them again.
    pub(crate) deferred: Vec<Deferred>,
    /// How many are on their way still, where the sink was given [`Prepared::Sending`].
    pub(crate) on_their_way: Option<u64>,
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

/// What has ended, so that its works can be closed.
#[derive(Debug, Clone, Copy)]
pub enum Ended<'a> {
    /// A batch, or what had waited. What a run before this one left open may belong to the next batch.
    Batch,
    /// The run.
    Run,
    /// The run, because it failed, and why.
    Failed(&'a str),
}

/// Notes that a connector, by id and name, is about to be registered (true), so that a run that is killed in between knows
/// it for ours; or that the destination refused that (false).
pub type NoteRegistered<'a> = &'a mut dyn FnMut(&str, &str, bool) -> Result<()>;

/// A place of delivery.
pub trait Sink {
    /// Finishes what a crash left between `prepare` and `settle`, where the sink can tell how far that came. What is
    /// not in the answer is delivered again.
    ///
    /// # Errors
    /// The sink is not there, or the system refused.
    fn recover(&mut self, placing: Vec<Placing>) -> Result<Delivery>;

    /// How this sink looks at envelopes.
    fn examiner(&self) -> Examiner;

    /// Whether what this connector wrote is taken there at all, now that the destination is asked. What is registered for
    /// that is given to `note` before.
    ///
    /// # Errors
    /// The destination cannot be asked.
    fn admits(&mut self, _connector: &Connector, _note: NoteRegistered<'_>) -> Result<Option<Unfit>> {
        Ok(None)
    }

    /// Takes an envelope into the group, unseen.
    ///
    /// # Errors
    /// The system refused.
    fn stage(&mut self, deliverable: Deliverable) -> Result<()>;

    /// Whether the group is large enough.
    fn is_full(&self) -> bool;

    /// Makes the group durable and fixes all that will be seen of it. Each work that is opened is given to `note` before
    /// the next one is.
    ///
    /// # Errors
    /// The system refused; then nothing of the group was seen.
    fn prepare(&mut self, note: &mut dyn FnMut(OpenWork) -> Result<()>) -> Result<Prepared>;

    /// Makes the group appear, in order, and says of which envelopes it is known by now that they have; with `all`, of
    /// all that were prepared. `delivery` holds what is known also where this fails.
    ///
    /// # Errors
    /// The system refused; [`Sink::recover`] finishes it later, or it is delivered again.
    fn settle(&mut self, all: bool, delivery: &mut Delivery) -> Result<()>;

    /// Says what is known meanwhile of envelopes that were prepared before; for a run that stops.
    ///
    /// # Errors
    /// The destination cannot be asked.
    fn landed(&mut self, _delivery: &mut Delivery) -> Result<()> {
        Ok(())
    }

    /// Works that were opened since this was asked for last.
    fn opened(&mut self) -> Vec<OpenWork> {
        Vec::new()
    }

    /// Connectors that were found to exist at the destination, and are not taken over, since this was asked for last: ids.
    fn exist(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Waits until what was deferred may be taken, if that is worth it: then all that is left goes to it once more.
    ///
    /// # Errors
    /// The destination is in trouble, or took nothing from any connector.
    fn wait_for_deferred(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// So many connectors have something to go at most: one that is alone is waited for, and not deferred at once.
    fn expects(&mut self, _connectors: usize) {}

    /// Works that were closed, or are gone, since this was asked for last.
    fn closed(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Works that are gone with what was delivered under them, since this was asked for last.
    fn gone(&mut self) -> Vec<GoneWork> {
        Vec::new()
    }

    /// Closes works: those of what has ended.
    ///
    /// # Errors
    /// The destination cannot be told.
    fn close_works(&mut self, _ended: Ended<'_>) -> Result<()> {
        Ok(())
    }

    /// What is to be reported of the destination, since this was asked for last.
    fn findings(&mut self) -> Vec<Finding> {
        Vec::new()
    }

    /// What the ledger is to keep for the next run: the last [`Placing::mark`] that was given out.
    fn high_water(&self) -> i64;

    /// By what the destination is known again.
    fn mark(&self) -> &str;
}
