//! Opens a destination: the only room that knows which sink belongs to which.

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

/// What earlier runs have left to know of a destination.
#[derive(Debug, Default)]
pub struct KnownDestination {
    /// The mark by which it is known again; it must be that very one.
    pub mark: Option<String>,
    /// Whether a crash left something there that is to be finished.
    pub is_unfinished: bool,
    /// The last [`super::Placing::order`] that was given out.
    pub high_water: i64,
    /// Works that are open there.
    pub works: Vec<OpenWork>,
    /// Connectors that airpouch has registered there.
    pub registered: BTreeSet<String>,
    /// Connectors of which people were told that they exist there.
    pub shown: BTreeSet<String>,
    /// How many connectors have something to go, as far as that makes a difference.
    pub connectors: usize,
}

/// A destination that was reached.
pub struct OpenedSink<'a> {
    /// The sink.
    pub sink: Box<dyn Sink + 'a>,
    /// By what it is known again.
    pub mark: String,
}

/// Opens a destination; files are written by so many threads.
///
/// # Errors
/// It cannot be reached, or is another one than the known one.
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
            // Any spool is as good as the one before, unless something in that one is to be finished.
            let mark = mark.filter(|_| is_unfinished);
            let sink = Spool::open(path, high_water, mark.as_deref(), threads)?;
            Ok(OpenedSink { mark: sink.mark().to_owned(), sink: Box::new(sink) })
        }
        Destination::Broker(_) | Destination::Platform(_) => {
            let gate = Gate::open(to, reach, registered, shown, observer)?;
            // What is there is known by its address alone.
            Ok(OpenedSink { mark: String::new(), sink: Box::new(Queues::new(gate, high_water, works, connectors)) })
        }
    }
}
