//! owners: whether a stream may deliver under a connector's id, as it was said first in a run.

use std::collections::{BTreeMap, HashMap};

use crate::envelope::Connector;
use crate::error::Result;
use crate::ledger::Ledger;
use crate::policy::Objection;
use crate::sink::TakeOver;
use crate::stream::{Lineages, StreamId};
use crate::text::harmless;

/// Held for a connector that came by another stream first.
pub const OTHER_STREAM: &str = "connector-of-another-stream";

/// What a run knows of streams and connectors.
#[derive(Debug, Default)]
pub struct Owners {
    /// The stream that has a connector, where the stream in work may not deliver under its id.
    known: HashMap<StreamId, BTreeMap<String, Option<StreamId>>>,
    /// Which streams go on from which, once that was asked for: nothing is admitted while a run delivers.
    heirs: Option<Lineages>,
}

impl Owners {
    /// What speaks against a connector that comes by this stream. `id` is its id here.
    pub fn objection(
        &mut self,
        ledger: &Ledger,
        take_over: &TakeOver,
        stream: StreamId,
        connector: &Connector,
        id: &str,
    ) -> Result<Option<Objection>> {
        let heirs = match self.heirs.take() {
            Some(heirs) => heirs,
            None => ledger.heirs()?,
        };
        let heirs = self.heirs.insert(heirs);
        let known = self.known.entry(stream).or_default();
        let other = match known.get(&connector.id) {
            Some(other) => *other,
            None => {
                let other = other_stream(ledger, heirs, take_over, stream, (&connector.id, id))?;
                known.insert(connector.id.clone(), other);
                other
            }
        };
        Ok(other.map(|other| {
            let (id, name) = (harmless(&connector.id), harmless(&connector.name));
            let what = format!("connector {id} ({name}) of stream {stream} belongs to stream {other}, by which it came first, under another key");
            Objection::new(OTHER_STREAM, what, "/connector/id")
        }))
    }
}

/// The stream that has a connector (by its id there and here) and has nothing to do with this one. A person may say that this one may use the id
/// too, once an earlier run has shown it.
fn other_stream(
    ledger: &Ledger,
    heirs: &Lineages,
    take_over: &TakeOver,
    stream: StreamId,
    (there, here): (&str, &str),
) -> Result<Option<StreamId>> {
    let is_said = match take_over {
        TakeOver::Nothing => false,
        TakeOver::Shown => true,
        TakeOver::These(ids) => ids.contains(there) || ids.contains(here),
    };
    if is_said && ledger.is_aside_for(OTHER_STREAM, there, stream)? {
        ledger.let_use(there, stream)?;
        ledger.let_use(here, stream)?;
        return Ok(None);
    }
    match ledger.other_stream_of(there, stream, heirs)? {
        // Another id is given to it here: then that one must not be another stream's.
        None if here != there => ledger.other_stream_of(here, stream, heirs),
        other => Ok(other),
    }
}
