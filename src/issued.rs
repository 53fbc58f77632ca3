//! What this exporter has issued: its ledger must know every batch that outbox and medium hold of it. A ledger that was
//! restored from a backup does not, and would give a number a second time.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::batch::name;
use crate::batch::signed::SignedBatch;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ledger::exporter::{ExporterView, StreamRow};
use crate::shelf::kept::{KeptShelf, ListedNames};
use crate::shelf::medium::Medium;
use crate::stream::{Asked, Sequence, StreamId};
use crate::text::harmless;
use crate::trust::{PublicKey, TrustStore};

/// The streams whose batches go to a zone, the oldest first; what is asked for has to be of one of them. `active` is the one
/// with which the zone goes on.
///
/// # Errors
/// It is of none of them; SQLite refused.
pub fn streams_of_zone(ledger: &ExporterView, active: &StreamRow, asked: &[Asked]) -> Result<Vec<StreamRow>> {
    let mut lineage = ledger.lineage(active)?;
    lineage.reverse();
    let is_of_none = |of: &&Asked| !lineage.iter().any(|s| of.is_of(s.stream, s.active));
    match asked.iter().find(is_of_none).and_then(|of| of.stream) {
        None => Ok(lineage),
        Some(stream) => Err(Error::usage(format!("no batch of stream {stream} goes to this zone"))
            .advise("`airpouch status` lists the streams, each with its zone")),
    }
}

/// The last number that each stream of the ledger has used.
pub struct Used {
    by_stream: HashMap<StreamId, u64>,
    /// By the beginning of the stream's UUID, as names bear it.
    by_prefix: HashMap<String, u64>,
}

impl Used {
    /// As the ledger has it.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn of(ledger: &ExporterView) -> Result<Self> {
        let by_stream: HashMap<StreamId, u64> = ledger.last_sequences()?.into_iter().collect();
        let by_prefix = by_stream.iter().map(|(stream, last)| (stream.prefix(), *last)).collect();
        Ok(Self { by_stream, by_prefix })
    }

    /// Whether a file of this name is of a number that is used; a name that is no batch's is none of our business.
    pub fn has_name(&self, name: &str) -> bool {
        let Some((prefix, sequence)) = name::parse(name) else { return true };
        self.by_prefix.get(prefix).is_some_and(|last| sequence.get() <= *last)
    }
}

/// Stops if outbox or medium show a batch that this exporter issued and its ledger does not know.
///
/// # Errors
/// They do; or the system refused.
pub fn refuse_older_ledger(
    ledger: &ExporterView,
    outbox: &KeptShelf,
    names: &ListedNames,
    medium: Option<&Path>,
    signers: &[PublicKey],
) -> Result<()> {
    // In our own outbox a manifest or a signature needs no further proof: only a sealed batch ever had one.
    let used = Used::of(ledger)?;
    let issued = |n: &&String| (n.ends_with(".manifest") || n.ends_with(".sig")) && !used.has_name(n);
    if let Some(name) = names.all().iter().find(issued) {
        return Err(older(&outbox.dir().join(name).to_string_lossy(), None));
    }
    let Some(medium) = medium else { return Ok(()) };
    match beyond(&used, &[(false, medium)], signers)?.first() {
        None => Ok(()),
        Some(signed) => Err(older(&format!("batch {} of stream {}", signed.sequence, signed.stream), Some(medium))),
    }
}

fn older(place: &str, medium: Option<&Path>) -> Error {
    let on = medium.map_or_else(String::new, |m| format!(" --medium {}", harmless(&m.to_string_lossy())));
    Error::failed("the ledger is out of date: a batch exists that it does not know (restored from a backup?)")
        .at_place(place)
        .advise(format!("if the ledger came from a backup, go on with a new stream: airpouch stream renew{on}"))
}

/// Batches of ours, on these shelves, that the ledger does not know; by stream and number. The first value of a shelf is
/// whether it is our own outbox: a stream that the ledger does not know at all is another exporter's, unless it lies there.
///
/// # Errors
/// A shelf cannot be read.
pub fn beyond(used: &Used, shelves: &[(bool, &Path)], signers: &[PublicKey]) -> Result<Vec<SignedBatch>> {
    let store = TrustStore::of_keys(signers);
    let mut out: BTreeMap<(StreamId, Sequence, Digest), SignedBatch> = BTreeMap::new();
    for (own, dir) in shelves {
        let is_beyond = |last: Option<&u64>, sequence: u64| last.map_or(*own, |last| sequence > *last);
        let named = |prefix: &str, sequence: u64| is_beyond(used.by_prefix.get(prefix), sequence);
        for sighting in Medium::scan(dir, store.ids())?.sightings_of(named) {
            let Ok(authentic) = store.authenticate(sighting?.unverified) else { continue };
            let Ok(signed) = SignedBatch::open(authentic) else { continue };
            if is_beyond(used.by_stream.get(&signed.stream), signed.sequence.get()) {
                out.entry((signed.stream, signed.sequence, signed.sha256())).or_insert(signed);
            }
        }
    }
    Ok(out.into_values().collect())
}
