//! One batch that is being made: its volumes, its index, and what its manifest will say.

use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use super::PackOptions;
use crate::batch::draft::Draft;
use crate::batch::entry;
use crate::batch::frame::Compressors;
use crate::batch::index::{Index, IndexLine, KindCounts, Kinds};
use crate::batch::manifest::{ApplicantEntry, ConnectorEntry, Format, IndexEntry, Manifest, Totals, VolumeEntry};
use crate::batch::name;
use crate::batch::volume::{FinishedVolume, VolumeWriter};
use crate::digest::Digest;
use crate::envelope::Envelope;
use crate::error::{Error, Result};
use crate::form;
use crate::lack;
use crate::ledger::exporter::{BatchRow, StreamRow};
use crate::limits::{BATCH_ENVELOPES_MAX, HISTORY_LENGTH, INDEX_PACKED_MAX, MANIFEST_MAX, PARTIES_MAX, VOLUMES_MAX};
use crate::mtime::Mtime;
use crate::shelf::kept::{Begun, KeptShelf};
use crate::stream::{Sequence, Size, StreamId};

/// Bytes of a manifest beside its parties and volumes, history included, generously.
const MANIFEST_REST: usize = 8 << 10;
/// Bytes of one volume in a manifest, generously.
const MANIFEST_VOLUME: usize = 256;
/// Bytes of counters and delimiters around one party, generously.
const MANIFEST_PARTY: usize = 32;

/// A batch in the making.
pub struct Assembly {
    outbox: KeptShelf,
    stream: StreamId,
    sequence: Sequence,
    options: PackOptions,
    compressors: Compressors,
    open: Option<VolumeWriter<Begun>>,
    finishing: Option<Finishing>,
    volumes: Vec<VolumeEntry>,
    connectors: Vec<ConnectorEntry>,
    applicants: Vec<ApplicantEntry>,
    parties_bytes: usize,
    index: Index,
    bytes: u64,
}

/// A volume that is closed and on its way to the disk, beside the next one.
enum Finishing {
    Here(Result<FinishedVolume>),
    Beside(JoinHandle<Result<FinishedVolume>>),
}

impl Assembly {
    /// Begins a batch. Nothing is written before the first envelope.
    pub fn new(
        outbox: &KeptShelf,
        stream: StreamId,
        sequence: Sequence,
        options: &PackOptions,
        compressors: &Compressors,
    ) -> Self {
        Self {
            outbox: outbox.clone(),
            stream,
            sequence,
            options: options.clone(),
            compressors: compressors.clone(),
            open: None,
            finishing: None,
            volumes: Vec::new(),
            connectors: Vec::new(),
            applicants: Vec::new(),
            parties_bytes: 0,
            index: Index { kinds: Kinds::default(), lines: Vec::new() },
            bytes: 0,
        }
    }

    /// Whether one more envelope of this size fits into the batch.
    pub fn has_room(&self, bytes: u64, envelope: &Envelope) -> bool {
        let volumes = self.volumes.len() + usize::from(self.open.is_some()) + usize::from(self.finishing.is_some()) + 1;
        let connector = if self.connector_of(envelope).is_none() { connector_bytes(envelope) } else { 0 };
        let applicant = if self.applicant_of(envelope).is_none() { applicant_bytes(envelope) } else { 0 };
        let manifest = MANIFEST_REST + volumes * MANIFEST_VOLUME + self.parties_bytes + connector + applicant;
        self.index.lines.is_empty()
            || (self.bytes + bytes <= self.options.max_batch
                && (self.index.lines.len() as u64) < BATCH_ENVELOPES_MAX
                && volumes <= VOLUMES_MAX
                && self.connectors.len().max(self.applicants.len()) < PARTIES_MAX
                && manifest as u64 <= MANIFEST_MAX)
    }

    /// Appends an envelope; a full volume is closed first.
    ///
    /// # Errors
    /// The outbox has no room, or the system refused.
    #[expect(clippy::too_many_arguments, reason = "the columns of one line of the index")]
    pub fn append(
        &mut self,
        file: String,
        mtime: Mtime,
        bytes: &[u8],
        sha256: Digest,
        envelope: &Envelope,
    ) -> Result<()> {
        let size = bytes.len() as u64;
        if self.open.as_ref().is_some_and(|v| v.unpacked() + entry::room(size) > self.options.volume_size) {
            self.close_volume()?;
        }
        let ordinal = self.index.lines.len() + 1;
        let written = self.volume()?.append(ordinal, mtime, bytes);
        written.map_err(|e| unfit_advice(Error::io("write a volume", self.outbox.dir(), &e)))?;
        let connector = self.count_connector(envelope);
        let applicant = self.count_applicant(envelope);
        self.index.kinds.objects[connector].add(&envelope.contents.types, &envelope.contents.markings);
        self.index.lines.push(IndexLine { name: file, bytes: size, sha256, mtime, connector, applicant });
        self.bytes += size;
        Ok(())
    }

    /// Closes the last volume, writes the index, and says what the batch is.
    ///
    /// # Errors
    /// The outbox has no room, or the system refused.
    pub fn finish(mut self, stream: &StreamRow, before: &[BatchRow]) -> Result<(Draft, Vec<Digest>)> {
        self.close_volume()?;
        // While the last volume is on its way to the disk.
        let packed = self.index.pack(&self.compressors);
        self.collect()?;
        let (packed, unpacked) = packed.map_err(|lack| Error::lacking("compress the index", lack))?;
        if packed.len() as u64 > INDEX_PACKED_MAX {
            return Err(Error::failed("the index is larger than the format allows")
                .advise("pack smaller batches, with --max-batch"));
        }
        let index = IndexEntry {
            name: name::index(self.stream, self.sequence),
            bytes: packed.len() as u64,
            sha256: Digest::of(&packed),
            unpacked,
        };
        // It comes last: with its name those of the volumes are durable, before anything says that the batch is sealed.
        self.outbox.write(&index.name, &packed).map_err(unfit_advice)?;
        let envelopes = self.index.lines.iter().map(|l| l.sha256).collect();
        Ok((self.manifest(index, stream, before)?, envelopes))
    }

    fn manifest(self, index: IndexEntry, stream: &StreamRow, before: &[BatchRow]) -> Result<Draft> {
        let last = before.last();
        let size_before = match last {
            Some(b) => b.sealed.manifest().before.plus(b.sealed.manifest().size()),
            None => Some(Size::default()),
        };
        let packed = index.bytes + self.volumes.iter().map(|v| v.bytes).sum::<u64>();
        let manifest = Manifest {
            airpouch: Format::Batch1,
            stream: self.stream,
            sequence: self.sequence,
            previous: last.map(|b| b.sealed.sha256()),
            succeeds: stream.succeeds.filter(|_| self.sequence == Sequence::FIRST),
            zone: self.options.zone,
            created: self.options.created,
            producer: concat!("airpouch ", env!("CARGO_PKG_VERSION")).into(),
            promise: self.options.promise,
            totals: Totals { envelopes: self.index.lines.len() as u64, bytes: self.bytes, packed },
            before: size_before.ok_or_else(|| {
                Error::failed("this stream has counted 2^53 bytes").advise("begin a new one: airpouch stream renew")
            })?,
            connectors: self.connectors,
            applicants: self.applicants,
            index,
            volumes: self.volumes,
            history: before.iter().rev().skip(1).take(HISTORY_LENGTH).map(|b| b.sealed.sha256()).collect(),
        };
        Draft::of(&manifest)
            .map_err(|lie| Error::failed(format!("the new manifest breaks a rule of the format: {lie}")))
    }

    fn connector_of(&self, envelope: &Envelope) -> Option<usize> {
        self.connectors.iter().position(|c| c.is_of(&envelope.connector))
    }

    fn applicant_of(&self, envelope: &Envelope) -> Option<usize> {
        self.applicants.iter().position(|a| a.id == envelope.applicant)
    }

    fn count_connector(&mut self, envelope: &Envelope) -> usize {
        let at = self.connector_of(envelope).unwrap_or_else(|| {
            self.parties_bytes += connector_bytes(envelope);
            self.connectors.push(ConnectorEntry::of(&envelope.connector));
            self.index.kinds.objects.push(KindCounts::default());
            self.connectors.len() - 1
        });
        self.connectors[at].envelopes += 1;
        at
    }

    fn count_applicant(&mut self, envelope: &Envelope) -> usize {
        let at = self.applicant_of(envelope).unwrap_or_else(|| {
            self.parties_bytes += applicant_bytes(envelope);
            self.applicants.push(ApplicantEntry { id: envelope.applicant.clone(), envelopes: 0 });
            self.applicants.len() - 1
        });
        self.applicants[at].envelopes += 1;
        at
    }

    fn volume(&mut self) -> Result<&mut VolumeWriter<Begun>> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let number = self.volumes.len() + usize::from(self.finishing.is_some()) + 1;
                let name = name::volume(self.stream, self.sequence, number);
                let begun = self.outbox.begin(&name).map_err(unfit_advice)?;
                VolumeWriter::new(begun, &self.compressors).map_err(|lack| Error::lacking("begin a volume", lack))?
            }
        };
        Ok(self.open.insert(open))
    }

    fn close_volume(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        self.collect()?;
        let (begun, finished) =
            open.finish().map_err(|e| unfit_advice(Error::io("write a volume", self.outbox.dir(), &e)))?;
        let place = |(begun, finished): (Begun, FinishedVolume)| begun.place().map_err(unfit_advice).map(|()| finished);
        // With one thread all writing stays in one, so that a test can stop it at each of its system calls. What is to be
        // placed is handed over only to a thread that is there: one that could not be had would drop it.
        let (give, given) = sync_channel(1);
        let beside = (self.options.threads > 1)
            .then(|| lack::spawn("place", move || given.recv().map_or_else(|_| Err(nothing_given()), place)).ok())
            .flatten();
        self.finishing = Some(match beside {
            Some(handle) => {
                let _ = give.send((begun, finished));
                Finishing::Beside(handle)
            }
            None => Finishing::Here(place((begun, finished))),
        });
        Ok(())
    }

    /// Waits for the volume that is being finished.
    fn collect(&mut self) -> Result<()> {
        let finished = match self.finishing.take() {
            None => return Ok(()),
            Some(Finishing::Here(finished)) => finished?,
            Some(Finishing::Beside(handle)) => match handle.join() {
                Ok(finished) => finished?,
                Err(panic) => std::panic::resume_unwind(panic),
            },
        };
        self.volumes.push(VolumeEntry {
            name: name::volume(self.stream, self.sequence, self.volumes.len() + 1),
            bytes: finished.bytes,
            sha256: finished.sha256,
            unpacked: finished.unpacked,
            envelopes: finished.envelopes,
        });
        Ok(())
    }
}

fn connector_bytes(envelope: &Envelope) -> usize {
    form::encode(&ConnectorEntry::of(&envelope.connector)).len() + MANIFEST_PARTY
}

fn applicant_bytes(envelope: &Envelope) -> usize {
    form::encode(&envelope.applicant).len() + MANIFEST_PARTY
}

fn nothing_given() -> Error {
    Error::failed("the thread that places a volume was given none")
}

fn unfit_advice(error: Error) -> Error {
    match error.lack {
        Some(lack) if error.does_not_fit() => {
            error.advise(format!("{}; the sources are untouched, and no number was used", lack.advice()))
        }
        _ => error,
    }
}
