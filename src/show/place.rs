//! A batch of a site by its number, and an envelope in it by its position.

use crate::batch::manifest::Manifest;
use crate::batch::signed::SignedBatch;
use crate::code::Code;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ledger::View;
use crate::ledger::exporter::{ExporterView, PackedState};
use crate::ledger::importer::{ImporterView, State};
use crate::shelf::inbox::Inbox;
use crate::shelf::indexes::{Indexes, KeptIndex};
use crate::shelf::kept::KeptShelf;
use crate::site::Site;
use crate::stream::StreamId;
use crate::text::count;
use crate::trust::{PublicKey, TrustStore};

/// What was asked for: `BATCH`, `BATCH:ORDINAL`, or either with `STREAM:` before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The stream, where it is named.
    pub stream: Option<StreamId>,
    /// The number of the batch.
    pub sequence: u64,
    /// The position in the batch, from 1, where an envelope is asked for.
    pub ordinal: Option<usize>,
    /// The verb that asks, for the command in an advice.
    verb: &'static str,
}

impl Place {
    /// The place of this text, for this verb; none if it is not of this form.
    pub fn parse(text: &str, verb: &'static str) -> Option<Self> {
        let (stream, rest) = match text.split_once(':').and_then(|(first, rest)| Some((StreamId::parse(first)?, rest)))
        {
            Some((stream, rest)) => (Some(stream), rest),
            None => (None, text),
        };
        let (sequence, ordinal) = match rest.split_once(':') {
            Some((sequence, ordinal)) => (sequence, Some(ordinal.parse().ok()?)),
            None => (rest, None),
        };
        Some(Self { stream, sequence: sequence.parse().ok()?, ordinal, verb })
    }

    /// Its batch, as it was asked for.
    pub fn batch(&self) -> String {
        match self.stream {
            Some(stream) => format!("{stream}:{}", self.sequence),
            None => self.sequence.to_string(),
        }
    }

    /// Whether it is in this batch.
    pub fn names(&self, stream: StreamId, sequence: u64) -> bool {
        self.sequence == sequence && self.stream.is_none_or(|named| named == stream)
    }
}

/// A batch that a site has or had.
pub struct KeptBatch {
    /// Its manifest, whose signature was verified when it was taken or made.
    pub manifest: Manifest,
    /// The digest of its manifest.
    pub sha256: Digest,
    /// How far it has come.
    pub state: &'static str,
    /// Where its files lie.
    pub shelf: KeptShelf,
    /// Whether they lie there still, as far as the ledger knows.
    pub is_here: bool,
    /// Where its index was kept when they were pruned, as far as the ledger knows.
    pub index: Option<KeptIndex>,
    /// The fingerprints of the keys that signed it, as far as the ledger knows them.
    pub fingerprints: Vec<Digest>,
}

/// The one batch of this number that a site knows.
///
/// # Errors
/// There is none, or several streams have one; SQLite refused.
pub fn find(site: &Site, ledger: &View, place: &Place) -> Result<KeptBatch> {
    match ledger {
        View::Exporter(ledger) => packed(site, ledger, place),
        View::Importer(ledger) => came(site, ledger, place),
    }
}

fn packed(site: &Site, ledger: &ExporterView, place: &Place) -> Result<KeptBatch> {
    let mut found = Vec::new();
    for row in ledger.streams()?.into_iter().filter(|row| place.names(row.stream, place.sequence)) {
        let is_lost = ledger.lost_numbers(&row)?.contains(place.sequence);
        found.extend(ledger.batch(&row, place.sequence)?.map(|batch| (row.stream, batch, is_lost)));
    }
    let streams: Vec<StreamId> = found.iter().map(|(stream, ..)| *stream).collect();
    let (_, batch, is_lost) = only_one(found, &streams, place, "was never packed here")?;
    let state = match batch.state {
        _ if is_lost => "lost, will never come",
        PackedState::Sealed => "sealed, not signed",
        PackedState::Packed => "packed",
    };
    Ok(KeptBatch {
        manifest: batch.sealed.manifest().clone(),
        sha256: batch.sealed.sha256(),
        state,
        shelf: KeptShelf::new(site.outbox()),
        is_here: !is_lost,
        index: None,
        fingerprints: Vec::new(),
    })
}

fn came(site: &Site, ledger: &ImporterView, place: &Place) -> Result<KeptBatch> {
    let mut found = ledger.batches_numbered(place.sequence)?;
    found.retain(|batch| place.names(batch.stream, place.sequence));
    let streams: Vec<StreamId> = found.iter().map(|batch| batch.stream).collect();
    let id = only_one(found, &streams, place, "never came here")?.id;
    let row = ledger.incoming_by_id(id)?.ok_or_else(|| missing(place, "never came here"))?;
    let state = match (row.state, row.standing) {
        (State::Delivered, _) => "done",
        (State::Admitted, _) => "being delivered",
        (State::Incomplete, _) => "incomplete",
        (State::Refused, _) => "refused",
        (State::Whole, Some(Code::Fork | Code::Unlinked)) => "held: it does not fit what was delivered before",
        (State::Whole, Some(Code::Waiting)) => "held: batches before it are missing",
        (State::Whole, _) => "taken, not delivered",
    };
    let shelf = Inbox::new(site.inbox()).shelf(row.manifest.stream, row.manifest.sequence, row.sha256);
    let kept = Indexes::new(site.indexes()).of(row.manifest.stream, row.manifest.sequence, row.sha256);
    let has_index = row.pruned && ledger.has_kept_index(id)? == Some(true);
    Ok(KeptBatch {
        sha256: row.sha256,
        state,
        shelf,
        index: has_index.then_some(kept),
        is_here: !row.pruned && row.state != State::Incomplete,
        fingerprints: ledger.signers_of(id)?,
        manifest: row.manifest,
    })
}

fn only_one<T>(found: Vec<T>, streams: &[StreamId], place: &Place, is_not_here: &str) -> Result<T> {
    let number = found.len() as u64;
    let mut found = found.into_iter();
    match (found.next(), found.next(), streams.first()) {
        (Some(one), None, _) => Ok(one),
        (Some(_), Some(_), Some(first)) => {
            let ordinal = place.ordinal.map_or_else(String::new, |ordinal| format!(":{ordinal}"));
            let what = format!("{} have the number {}", count(number, "batch"), place.sequence);
            let full = format!("{first}:{}{ordinal}", place.sequence);
            Err(Error::usage(what).advise(format!("say of which stream: airpouch {} {full}", place.verb)))
        }
        _ => Err(missing(place, is_not_here)),
    }
}

fn missing(place: &Place, is_not_here: &str) -> Error {
    Error::usage(format!("batch {} {is_not_here}", place.batch())).advise("see which ones there are: airpouch status")
}

impl KeptBatch {
    /// Its envelopes can be read.
    ///
    /// # Errors
    /// They are not here any more.
    pub fn is_still_here(&self) -> Result<()> {
        if self.is_here {
            return Ok(());
        }
        Err(Error::failed(format!("the files of batch {} are not here any more", self.manifest.sequence))
            .at(self.shelf.dir())
            .advise("an importer keeps delivered batches as long as keep says; import it again with --redeliver"))
    }

    /// It has no envelope at this position.
    pub fn has_no(&self, ordinal: usize) -> Error {
        Error::usage(format!("batch {} has no envelope {ordinal}", self.manifest.sequence))
            .advise(format!("it has {}, counted from 1", self.manifest.totals.envelopes))
    }

    /// The keys that signed it: of those of this store, or of those that this exporter has signed with. None where its
    /// signatures are not here any more, or are of no such key.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn signers(&self, ledger: &View, store: Option<&TrustStore>) -> Result<Vec<PublicKey>> {
        let own = match ledger {
            View::Exporter(ledger) => Some(TrustStore::of_keys(&ledger.signers()?)),
            View::Importer(_) => None,
        };
        let Ok(unverified) = self.shelf.unverified(self.manifest.stream, self.manifest.sequence) else {
            return Ok(Vec::new());
        };
        let Some(store) = own.as_ref().or(store).filter(|_| unverified.sha256() == self.sha256) else {
            return Ok(Vec::new());
        };
        let signed = store.authenticate(unverified).ok().and_then(|authentic| SignedBatch::open(authentic).ok());
        Ok(signed.map(|signed| signed.signers().iter().cloned().collect()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_a_number_with_a_stream_before_it_and_an_ordinal_behind() {
        let uuid = "3f0c6f3e-58a1-4d0b-9a6e-5b1f0c2d7e94";
        let stream = StreamId::parse(uuid);
        let place = |stream, sequence, ordinal| Some(Place { stream, sequence, ordinal, verb: "show" });
        assert_eq!(Place::parse("12", "show"), place(None, 12, None));
        assert_eq!(Place::parse("12:340", "show"), place(None, 12, Some(340)));
        assert_eq!(Place::parse(&format!("{uuid}:12"), "show"), place(stream, 12, None));
        assert_eq!(Place::parse(&format!("{uuid}:12:3"), "show"), place(stream, 12, Some(3)));
        for none in ["", "stick", "12:", ":12", "12:3:4", "/media/12", "-1", uuid] {
            assert_eq!(Place::parse(none, "show"), None, "{none}");
        }
    }
}
