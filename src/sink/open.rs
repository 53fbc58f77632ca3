//! Opens a destination: the only file that knows which sink belongs to which destination.

use std::collections::BTreeSet;

use super::Sink;
use super::directory::Directory;
use super::queues::Queues;
use super::spool::Spool;
use crate::destination::{Destination, Reach};
use crate::error::Result;
use crate::gate::Gate;
use crate::report::Observer;
use crate::works::OpenWork;

/// What earlier runs have recorded about a destination.
#[derive(Debug, Default)]
pub struct KnownDestination {
    /// The mark of the directory; a directory with another mark is refused.
    pub mark: Option<String>,
    /// Whether a crash left something there that must be finished.
    pub is_unfinished: bool,
    /// The last [`super::Placing::order`] that was used.
    pub high_water: i64,
    /// Works that are open there.
    pub works: Vec<OpenWork>,
    /// Connectors that airpouch has registered there.
    pub registered: BTreeSet<String>,
    /// Connectors that were reported as existing there.
    pub shown: BTreeSet<String>,
    /// How many connectors have envelopes to deliver; from two on the number does not matter.
    pub connectors: usize,
}

/// A destination that was reached.
pub struct OpenedSink<'a> {
    /// The sink.
    pub sink: Box<dyn Sink + 'a>,
    /// The mark of the directory; empty for a broker.
    pub mark: String,
}

/// Opens a destination; `threads` threads write files.
///
/// # Errors
/// It cannot be reached, or is not the known one.
pub fn open<'a>(
    to: &Destination,
    reach: &Reach,
    known: KnownDestination,
    threads: usize,
    observer: &'a dyn Observer,
) -> Result<OpenedSink<'a>> {
    let KnownDestination { mark, is_unfinished, high_water, works, registered, shown, connectors } = known;
    match to {
        Destination::Directory(path) => {
            let sink = Directory::open(path, high_water, mark.as_deref(), threads)?;
            Ok(OpenedSink { mark: sink.mark().to_owned(), sink: Box::new(sink) })
        }
        Destination::Spool(path) => {
            // Any spool will do, unless something in the earlier one must be finished.
            let mark = mark.filter(|_| is_unfinished);
            let sink = Spool::open(path, high_water, mark.as_deref(), threads)?;
            Ok(OpenedSink { mark: sink.mark().to_owned(), sink: Box::new(sink) })
        }
        Destination::Broker(_) | Destination::Platform(_) => {
            let gate = Gate::open(to, reach, registered, shown, observer)?;
            // A broker or platform is identified by its address alone.
            Ok(OpenedSink { mark: String::new(), sink: Box::new(Queues::new(gate, high_water, works, connectors)) })
        }
    }
}
