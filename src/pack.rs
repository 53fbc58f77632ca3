//! pack: from the connectors' directory to sealed, signed batches in the outbox.
//!
//! ```text
//! scan -> (unchanged? counted) -> read, digest, judge, several at a time -> volumes, in order of (mtime, name)
//!      -> seal: volumes and index durable; one ledger transaction -> sign, verify, place
//! ```
//!
//! Promise 7 lives here: nothing is signed that is not committed to the ledger under its number, and what
//! is committed is what is signed, whatever crashes in between.

mod again;
mod assemble;
mod prepare;
mod recover;

use std::collections::HashSet;
use std::path::Path;

use crate::batch::frame::Compressors;
use crate::batch::name;
use crate::code::{Code, Severity};
use crate::digest::Digest;
use crate::error::{Error, Result, unless_stopped};
use crate::issued::refuse_older_ledger;
use crate::journal;
use crate::ledger::exporter::{ExporterLedger, ExporterView, Seen, Sight, StreamRow};
use crate::limits::{BATCH_BYTES_MAX, VOLUME_UNPACKED_MAX};
use crate::mtime::Mtime;
use crate::policy::{Objection, Policy, Verdict};
use crate::random;
use crate::record;
use crate::report::{BatchLine, Event, Finding, NOT_PACKED, Observer, PackReport};
use crate::shelf::kept::KeptShelf;
use crate::site::{Role, Site, refuse_same};
use crate::source::{self, Listing, SourceFile};
use crate::stream::{Asked, Sequence, StreamId};
use crate::text::{self, count};
use crate::trust::PrivateKey;

use assemble::Assembly;
use prepare::{FileGroup, ReadSource, prepare_all};

pub use again::Again;

/// How to pack.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// The zone that the batches are for.
    pub zone: String,
    /// Whether to look into directories below the source.
    pub recursive: bool,
    /// Bytes of a volume's tar stream at most.
    pub volume_size: u64,
    /// Bytes of a batch's envelopes at most.
    pub max_batch: u64,
    /// Whether to make a batch even if there is nothing new.
    pub heartbeat: bool,
    /// Seconds until the next batch at the latest, if that is promised.
    pub promise: Option<u64>,
    /// Batches that the outbox has lost: completed, or given up and what is in the source packed again.
    pub again: Vec<Asked>,
    /// Processors to use.
    pub threads: usize,
    /// The time of making that the manifest states.
    pub created: String,
}

impl PackOptions {
    /// The defaults for a zone.
    pub fn new(zone: String, created: String, threads: usize) -> Self {
        Self {
            zone,
            recursive: false,
            volume_size: VOLUME_UNPACKED_MAX,
            max_batch: BATCH_BYTES_MAX,
            heartbeat: false,
            promise: None,
            again: Vec::new(),
            threads,
            created,
        }
    }
}

/// One pack: where, of what, by which rules, and what is said of it.
pub struct Pack<'a> {
    /// The exporter's site.
    pub site: &'a Site,
    /// Its ledger.
    pub ledger: &'a mut ExporterLedger,
    /// The directory that connectors write to.
    pub source: &'a Path,
    /// The medium that it will be carried to, if one is given.
    pub medium: Option<&'a Path>,
    /// Who signs.
    pub keys: &'a [PrivateKey],
    /// How to pack.
    pub options: &'a PackOptions,
    /// Who watches.
    pub observer: &'a dyn Observer,
    /// What was done, also if the run stops.
    pub report: &'a mut PackReport,
}

impl Pack<'_> {
    /// Packs what is new in the source. The medium is only looked at for numbers of this stream that the ledger does not
    /// know.
    ///
    /// # Errors
    /// The ledger is older than what it has issued; the outbox has no room; the system or SQLite refused.
    pub fn run(self) -> Result<()> {
        let Self { site, ledger, source, medium, keys, options, observer, report } = self;
        let pack = Pack { site, ledger: &mut *ledger, source, medium, keys, options, observer, report: &mut *report };
        let packed = pack.pack_new();
        if packed.as_ref().is_err_and(|error| !error.is_stop()) {
            return packed;
        }
        place_head(site, ledger, report).and(packed)
    }

    fn pack_new(self) -> Result<()> {
        let Self { site, ledger, source, medium, keys, options, observer, report } = self;
        site.refuse_as_source(source)?;
        if let Some(medium) = medium {
            site.refuse_inside("the medium", medium)?;
            refuse_same("the source", source, "the medium", medium)?;
        }
        let outbox = KeptShelf::new(site.outbox());
        let names = outbox.listed()?;
        let mut known = ledger.signers()?;
        known.extend(keys.iter().map(PrivateKey::public));
        refuse_older_ledger(ledger, &outbox, &names, medium, &known)?;
        recover::sweep(ledger, &outbox, &names)?;
        let again = Again { outbox: &outbox, medium, keys, zone: &options.zone, at: &options.created };
        again.look_after(ledger, &options.again, report)?;
        report.completed = recover::complete_sealed(ledger, &outbox, keys)?;

        let listing = source::list(source, options.recursive)?;
        // One directory has one name in the ledger, whatever path leads to it.
        let source = &source.canonicalize().unwrap_or_else(|_| source.to_owned());
        let stream = ledger.active_stream(&options.zone)?;
        let Sorted { fresh, gone, passed_over } = sort_out(ledger, stream.as_ref(), source, listing, report)?;
        let passed_over =
            passed_over.iter().map(|(file, why)| Sight { file, content: Err(why.clone()) }).collect::<Vec<_>>();
        if fresh.is_empty() && !options.heartbeat {
            ledger.remember_files(source, &passed_over, &gone)?;
            return stream.map_or(Ok(()), |stream| again::tell_losses(ledger, &stream, source, report));
        }
        let stream = match stream {
            Some(stream) => stream,
            None => ledger.begin_stream(StreamId::from_random(random::bytes()?), &options.zone, None)?,
        };
        let compressors = Compressors::new(u32::try_from(options.threads).unwrap_or(1));
        let mut run = PackRun {
            ledger,
            outbox: &outbox,
            source,
            stream,
            keys,
            options,
            observer,
            report,
            assembly: None,
            in_batch: HashSet::new(),
            sights: passed_over,
            sealed: 0,
            compressors,
        };
        run.pack_all(&fresh)?;
        let (sights, stream) = (run.sights, run.stream);
        ledger.remember_files(source, &sights, &gone)?;
        again::tell_losses(ledger, &stream, source, report)
    }
}

/// Puts the head of this site's journal beside the last batch, so that the other side can say one day what the journal had
/// at this time. What is noted so far is written into the journal before. The batch is whole without it.
fn place_head(site: &Site, ledger: &ExporterLedger, report: &PackReport) -> Result<()> {
    let Some(batch) = report.packed.last() else { return Ok(()) };
    // Whatever is wrong with the journal, the run says at its end.
    let head = record::write(site, Role::Exporter, &ledger.notes()).and_then(|()| journal::travelling_head(site));
    let (Ok(Some(head)), Some(sequence)) = (head, Sequence::new(batch.sequence)) else { return Ok(()) };
    KeptShelf::new(site.outbox()).place_over(&name::head(batch.stream, sequence), head.as_bytes())
}

/// What a look into the source gave, held against what the ledger remembers of it.
struct Sorted {
    /// Files to read.
    fresh: Vec<SourceFile>,
    /// What is remembered and not there any more.
    gone: Vec<Vec<u8>>,
    /// Files that are newly skipped, each with the reason.
    passed_over: Vec<(SourceFile, String)>,
}

/// Splits the listing into unchanged files and files to read, the latter in delivery order.
fn sort_out(
    ledger: &ExporterView,
    stream: Option<&StreamRow>,
    source: &Path,
    listing: Listing,
    report: &mut PackReport,
) -> Result<Sorted> {
    let mut seen = ledger.seen_files(stream, source)?;
    report.looked_at = listing.files.len() as u64;
    report.gone = listing.gone;
    for (path, why) in listing.unreadable {
        let place = text::harmless_bytes(path.as_os_str().as_encoded_bytes());
        report.findings.push(
            Finding::new(Code::Unreadable, format!("cannot be looked into: {why}"))
                .weighing(Severity::Warning)
                .at(place),
        );
    }
    let mut fresh = Vec::new();
    for file in listing.files {
        match seen.remove(file.path.as_os_str().as_encoded_bytes()) {
            Some((stamp, Seen::Refused)) if stamp == file.stamp => {
                report.unchanged += 1;
                report.refused += 1;
                report.refused_before += 1;
            }
            Some((stamp, Seen::Content { packed: true, .. })) if stamp == file.stamp => {
                report.unchanged += 1;
                report.already_packed += 1;
            }
            _ => fresh.push(file),
        }
    }
    let mut passed_over = Vec::new();
    for (file, why) in listing.passed_over {
        report.refused += 1;
        match seen.remove(file.path.as_os_str().as_encoded_bytes()) {
            Some((stamp, Seen::Refused)) if stamp == file.stamp => report.refused_before += 1,
            _ => {
                let place = text::harmless_bytes(file.path.as_os_str().as_encoded_bytes());
                let what = why.to_string();
                let finding = Finding::new(Code::NotAFile, what.clone()).at(place);
                report.findings.push(finding.advise("put the file itself there, or pack the directory that has it"));
                passed_over.push((file, what));
            }
        }
    }
    Ok(Sorted { fresh: in_delivery_order(fresh), gone: seen.into_keys().collect(), passed_over })
}

/// By time and name. The times are taken once a file: to divide 128 bits takes longer than to compare.
fn in_delivery_order(files: Vec<SourceFile>) -> Vec<SourceFile> {
    let mut timed: Vec<(Mtime, SourceFile)> = files.into_iter().map(|file| (file.stamp.mtime(), file)).collect();
    timed.sort_by(|(at, a), (bt, b)| (at, a.name.as_bytes(), &a.path).cmp(&(bt, b.name.as_bytes(), &b.path)));
    timed.into_iter().map(|(_, file)| file).collect()
}

struct PackRun<'a, 'f> {
    ledger: &'a mut ExporterLedger,
    outbox: &'a KeptShelf,
    source: &'a Path,
    stream: StreamRow,
    keys: &'a [PrivateKey],
    options: &'a PackOptions,
    observer: &'a dyn Observer,
    report: &'a mut PackReport,
    /// The batch in the making, and what it holds.
    assembly: Option<Assembly>,
    in_batch: HashSet<Digest>,
    /// Files that were read and are not in the ledger yet.
    sights: Vec<Sight<'f>>,
    sealed: u64,
    compressors: Compressors,
}

impl<'f> PackRun<'_, 'f> {
    fn pack_all(&mut self, fresh: &'f [SourceFile]) -> Result<()> {
        self.observer.begin("packing", fresh.iter().map(|f| f.stamp.size).sum());
        let policy = Policy::default();
        let (source, threads) = (self.source, self.options.threads);
        let packed = prepare_all(source, fresh, threads, |group| self.pack_group(group, &policy));
        self.observer.end();
        packed?;
        if self.assembly.is_none() && self.options.heartbeat && self.sealed == 0 {
            self.assembly = Some(self.open()?);
        }
        self.close()
    }

    fn pack_group(&mut self, group: &FileGroup<'f>, policy: &Policy) -> Result<()> {
        let digests = group.files.iter().filter_map(|(_, prepared)| prepared.sha256());
        let mut known = self.ledger.packed_of(&self.stream, digests)?;
        for (file, prepared) in &group.files {
            self.unless_stopped()?;
            self.observer.advance(file.stamp.size);
            let ReadSource::Envelope { at, sha256, envelope } = prepared else {
                self.pass_over(file, prepared)?;
                continue;
            };
            if known.contains(sha256) || self.in_batch.contains(sha256) {
                self.report.already_packed += 1;
                self.sights.push(Sight { file, content: Ok(*sha256) });
                continue;
            }
            self.warn_of_commands(file, envelope, policy);
            let bytes = &group.bytes[at.clone()];
            if self.assembly.as_ref().is_some_and(|a| !a.has_room(bytes.len() as u64, envelope)) {
                self.close()?;
                // The group was looked up before this batch was sealed.
                known.extend(self.in_batch.drain());
            }
            let open = match self.assembly.take() {
                Some(open) => open,
                None => self.open()?,
            };
            let open = self.assembly.insert(open);
            open.append(file.name.clone(), file.stamp.mtime(), bytes, *sha256, envelope)?;
            self.in_batch.insert(*sha256);
            self.sights.push(Sight { file, content: Ok(*sha256) });
        }
        Ok(())
    }

    /// Between two files. A batch that is not sealed yet is given up, as by a crash: whoever stops a pack may want just that.
    fn unless_stopped(&self) -> Result<()> {
        unless_stopped(self.observer, || {
            let packed = count(self.sealed, "batch");
            format!("after {packed}; what is not packed yet, and a batch that was not whole, goes with the next pack")
        })
    }

    /// Counts what is no envelope, and reports it.
    fn pass_over(&mut self, file: &'f SourceFile, prepared: &ReadSource) -> Result<()> {
        match prepared {
            ReadSource::Envelope { .. } => {}
            ReadSource::Lacking(lack) => return Err(Error::lacking("read the sources", *lack).at(self.source)),
            ReadSource::Gone => self.report.gone += 1,
            ReadSource::Changing => self.report.changing += 1,
            ReadSource::Unreadable(why) => {
                self.report.refused += 1;
                self.refuse(file, Code::Unreadable, format!("cannot be read: {why}"));
            }
            ReadSource::NotAnEnvelope { code, why } => {
                self.report.refused += 1;
                self.sights.push(Sight { file, content: Err(why.clone()) });
                self.refuse(file, *code, why.clone());
            }
        }
        Ok(())
    }

    fn refuse(&mut self, file: &SourceFile, code: Code, why: String) {
        let finding = Finding::new(code, why)
            .labelled(NOT_PACKED)
            .at(text::harmless_bytes(file.path.as_os_str().as_encoded_bytes()))
            .advise("the file is left in place and checked again when it changes");
        self.report.findings.push(finding);
    }

    /// What looks like a command is packed all the same: the other side refuses it, and says so.
    fn warn_of_commands(&mut self, file: &SourceFile, envelope: &crate::envelope::Envelope, policy: &Policy) {
        let Verdict::Quarantine(objections) = policy.judge(envelope) else { return };
        if let Some(objection) = Objection::of_all(objections) {
            let what = format!("packed, but the other side will quarantine it: {}", objection.what);
            let finding = Finding::new(objection.code, what).weighing(Severity::Warning);
            self.report.findings.push(finding.at(text::harmless(&file.name)).ranked(objection.rank));
        }
    }

    fn open(&self) -> Result<Assembly> {
        let last = self.ledger.last_sequence(&self.stream)?;
        let sequence = last.map_or(Sequence::FIRST, Sequence::next);
        Ok(Assembly::new(self.outbox, self.stream.stream, sequence, self.options, &self.compressors))
    }

    /// Seals, signs and places the batch in the making, if there is one.
    fn close(&mut self) -> Result<()> {
        let Some(assembly) = self.assembly.take() else { return Ok(()) };
        let before = self.ledger.last_batches(&self.stream, 34)?;
        let (draft, envelopes) = assembly.finish(&self.stream, &before)?;
        let sealed = self.ledger.seal(&self.stream, draft, &envelopes, self.source, &self.sights)?;
        self.sights.clear();
        self.sealed += 1;
        recover::sign_and_place(self.ledger, self.outbox, &self.stream, &sealed, self.keys)?;
        let packed = BatchLine::of(sealed.manifest(), sealed.sha256());
        self.observer.event(&Event::Packed(&packed));
        self.report.packed.push(packed);
        Ok(())
    }
}
