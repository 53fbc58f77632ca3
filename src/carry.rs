//! carry: from the outbox to a medium, and back again with the eyes: what was written is read and decoded.
//!
//! First the *new* batches, whole and by number, none after one that does not fit; then *repeats* of what
//! the last carries took, newest first, while there is room, so that a lost stick heals with the next one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use crate::batch::name;
use crate::digest::{Digest, Hasher, digest_all};
use crate::disk::{self, Mount, Partial};
use crate::error::{Error, Result};
use crate::lack::{self, Lack};
use crate::ledger::Ledger;
use crate::ledger::packed::{BatchRow, CarriedRow, CarryRow, StreamRow};
use crate::limits::MANIFEST_MAX;
use crate::pack::{batch_line, refuse_older_ledger};
use crate::report::{CarryReport, Finding, Head, Observer, Proof, Weight, head_code};
use crate::shelf::check::check_batch;
use crate::shelf::kept::{KeptShelf, ReadBack};
use crate::site::Site;
use crate::stream::{Numbers, StreamId};
use crate::text;
use crate::trust::{SignatureFile, TrustStore, Unverified};

/// Room left free on a medium, for its file system's own needs.
const SPARE_BYTES: u64 = 64 << 10;
/// Blocks that a file may take beyond its size, at most: FAT's and exFAT's largest usual cluster.
const CLUSTER_BYTES: u64 = 4096;
/// What a first stick is guessed to write in a second.
const GUESSED_BYTES_A_SECOND: u64 = 10 << 20;

/// How to carry.
#[derive(Debug, Clone)]
pub struct CarryOptions {
    /// The zone whose batches go.
    pub zone: String,
    /// Whether the directory must be where something is mounted.
    pub require_mount: bool,
    /// Whether it is a drop folder that empties itself: nothing is read back.
    pub diode: bool,
    /// Batches to send again, whatever was carried; of the zone's stream where none is named.
    pub resend: Vec<Asked>,
    /// How many of the last carries are repeated.
    pub overlap: u32,
    /// Processors to use.
    pub threads: usize,
    /// The time, for the record.
    pub at: String,
}

/// Batches of one stream that are asked for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Their stream; none: the one with which the zone goes on.
    pub stream: Option<StreamId>,
    /// Their numbers.
    pub numbers: Numbers,
}

impl FromStr for Asked {
    type Err = &'static str;

    /// Reads `7`, `10-13,17`, and `STREAM:` before these.
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (stream, numbers) = match text.rsplit_once(':') {
            Some((stream, numbers)) => (Some(stream), numbers),
            None => (None, text),
        };
        let stream = stream.map(|s| StreamId::parse(s).ok_or("the stream before the colon is no UUID")).transpose()?;
        let numbers = numbers.parse().map_err(|_| "write N, 10-13,17, or STREAM:10-13,17")?;
        Ok(Self { stream, numbers })
    }
}

/// Carries what is to go. The report holds what was done, also if the run stops.
///
/// # Errors
/// The medium is not there, not mounted, has room for nothing, or something else lies under a final name;
/// what was written does not read back; the system or SQLite refused.
pub fn carry(
    site: &Site,
    ledger: &mut Ledger,
    medium: &Path,
    options: &CarryOptions,
    observer: &dyn Observer,
    report: &mut CarryReport,
) -> Result<()> {
    let mount = check_medium(medium, options.require_mount)?;
    let outbox = KeptShelf::new(site.outbox());
    let signers = ledger.signers()?;
    if !options.diode {
        refuse_older_ledger(ledger, &outbox, Some(medium), &signers)?;
    }
    let Some(stream) = ledger.active_stream(&options.zone)? else { return Ok(()) };
    let plan = Plan::make(ledger, &outbox, &stream, options, &mut report.findings)?;
    let mut run = Run { outbox: &outbox, medium, mount: &mount, options, observer, report, placed: Vec::new() };
    run.sweep_partials(&plan.streams)?;
    let started = Instant::now();
    run.announce(ledger, &plan)?;
    run.place_new(&plan.new)?;
    run.place_repeats(&plan.repeats)?;
    let promised = run.sync()?;
    let millis = started.elapsed().as_millis() as u64;
    run.read_back(&TrustStore::of_keys(&signers))?;
    if !promised {
        run.report.findings.push(
            Finding::new(
                Weight::Warning,
                "no-directory-sync",
                "this medium cannot promise that file names are durable",
            )
            .advise("unmount it before you pull it out"),
        );
    }
    run.record(ledger, millis)
}

/// The directory must be there: a mount point that is missing is never made.
///
/// # Errors
/// It is not there, is no directory, or nothing is mounted there although something must be.
pub fn check_medium(medium: &Path, require_mount: bool) -> Result<Mount> {
    let metadata = std::fs::metadata(medium).map_err(|e| {
        Error::io("find the medium", medium, &e).advise("mount it, and name the directory where it is mounted")
    })?;
    if !metadata.is_dir() {
        return Err(Error::failed("the medium is no directory").at(medium));
    }
    let mount = Mount::of(medium)?;
    if require_mount && !mount.is_mount_point {
        return Err(Error::failed("nothing is mounted here; nothing was written")
            .at(medium)
            .advise("mount the medium, then run this again"));
    }
    Ok(mount)
}

/// What is to go, in order.
struct Plan {
    /// Streams of this exporter, by whose names its files are known.
    streams: Vec<StreamId>,
    new: Vec<Load>,
    repeats: Vec<Load>,
}

/// One batch that is to go.
#[derive(Clone)]
struct Load {
    stream: StreamRow,
    batch: BatchRow,
    carries: Vec<CarriedRow>,
}

impl Load {
    fn is(&self, asked: &Asked) -> bool {
        let stream = asked.stream.map_or(self.stream.active, |s| s == self.stream.stream);
        stream && asked.numbers.contains(self.batch.manifest.sequence.get())
    }
}

impl Plan {
    fn make(
        ledger: &Ledger,
        outbox: &KeptShelf,
        stream: &StreamRow,
        options: &CarryOptions,
        findings: &mut Vec<Finding>,
    ) -> Result<Self> {
        let mut loads = Vec::new();
        for stream in ledger.lineage(stream)?.into_iter().rev() {
            for batch in ledger.batches(&stream)?.into_iter().filter(|b| b.packed) {
                let carries = ledger.carries_of(&stream, batch.manifest.sequence)?;
                loads.push(Load { stream: stream.clone(), batch, carries });
            }
        }
        for asked in &options.resend {
            let there = loads.iter().filter(|l| l.is(asked)).map(|l| l.batch.manifest.sequence.get()).collect();
            let unknown = asked.numbers.without(&there);
            if !unknown.is_empty() {
                let verb = if unknown.only().is_some() { "is" } else { "are" };
                return Err(Error::usage(format!("there {verb} no {} in the outbox to send again", unknown.words()))
                    .advise("`airpouch status` lists the numbers that are there; another stream's is STREAM:N"));
            }
        }
        let overlap = if options.diode { 0 } else { options.overlap };
        let last = ledger.last_new_carries(overlap)?;
        let recent = |l: &Load| l.carries.iter().any(|c| c.is_new && last.contains(&c.carry));
        let asked = |l: &Load| options.resend.iter().any(|r| l.is(r));
        let (new, old): (Vec<Load>, Vec<Load>) = loads.into_iter().partition(|l| l.carries.is_empty() || asked(l));
        let repeats: Vec<Load> = old.into_iter().rev().filter(recent).collect();
        let streams = ledger.streams()?.into_iter().map(|s| s.stream).collect();
        let mut there = |l: &Load| match l.batch.manifest.parts().find(|p| !outbox.has(p)) {
            None => true,
            Some(lost) => {
                let what = format!(
                    "batch {} cannot be carried: {} is not in the outbox",
                    l.batch.manifest.sequence, lost.name
                );
                findings.push(
                    Finding::new(Weight::Incomplete, "lost-from-outbox", what)
                        .advise("bring the file back from a backup or from a medium that has it; the others go"),
                );
                false
            }
        };
        let new = new.into_iter().filter(&mut there).collect();
        let repeats = repeats.into_iter().filter(&mut there).collect();
        Ok(Self { streams, new, repeats })
    }
}

/// Why a batch was not placed on the medium.
enum NotPlaced {
    /// Other bytes than those that were sealed lie under a name of it, here or there.
    Differs(Error),
    /// The system refused.
    Refused(Error),
}

impl From<Error> for NotPlaced {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<NotPlaced> for Error {
    fn from(not: NotPlaced) -> Self {
        match not {
            NotPlaced::Differs(error) | NotPlaced::Refused(error) => error,
        }
    }
}

struct Run<'a> {
    outbox: &'a KeptShelf,
    medium: &'a Path,
    mount: &'a Mount,
    options: &'a CarryOptions,
    observer: &'a dyn Observer,
    report: &'a mut CarryReport,
    /// Batches that lie whole on the medium, and whether they went as new; with what was written of each.
    placed: Vec<(Load, bool, u64)>,
}

impl Run<'_> {
    /// What a carry left that was cut off; a drop folder may hold another exporter's, which are not touched.
    fn sweep_partials(&self, streams: &[StreamId]) -> Result<()> {
        let entries = std::fs::read_dir(self.medium).map_err(|e| Error::io("read the medium", self.medium, &e))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let prefix = name.to_str().filter(|n| n.ends_with(".partial")).and_then(name::parse).map(|(p, _)| p);
            let ours = prefix.is_some_and(|p| streams.iter().any(|s| s.prefix() == p));
            if ours && entry.file_type().is_ok_and(|t| t.is_file()) {
                disk::remove_file(&entry.path())
                    .map_err(|e| Error::io("remove what a broken carry left", &entry.path(), &e))?;
            }
        }
        Ok(())
    }

    /// Says how much it will be and how long it may take, before it begins.
    fn announce(&self, ledger: &Ledger, plan: &Plan) -> Result<()> {
        let mut bytes = 0;
        for load in &plan.new {
            bytes += self.missing_bytes(load)?;
        }
        if bytes == 0 {
            return Ok(());
        }
        let rate = ledger.last_carry()?.map_or(GUESSED_BYTES_A_SECOND, |c| c.bytes * 1000 / c.millis.max(1)).max(1);
        let minutes = (bytes / rate).div_ceil(60).max(1);
        let about = if minutes == 1 { "about a minute".to_owned() } else { format!("about {minutes} minutes") };
        self.observer.say(&format!("{} to write, {about}", text::size(bytes)));
        Ok(())
    }

    fn place_new(&mut self, loads: &[Load]) -> Result<()> {
        let mut fits = true;
        let mut refused = None;
        for load in loads {
            fits = fits && self.fits(load)?;
            if fits {
                match self.place(load) {
                    Ok(written) => self.placed.push((load.clone(), true, written)),
                    Err(NotPlaced::Refused(e)) if e.does_not_fit() => (fits, refused) = (false, Some(e)),
                    Err(e) => return Err(e.into()),
                }
            }
            if !fits {
                self.report.left.push(batch_line(&load.batch.manifest, load.batch.sha256));
            }
        }
        if self.report.left.is_empty() {
            return Ok(());
        }
        match refused {
            // It was to fit by the free space that the system names: what stood against it is said in its own words.
            Some(error) if self.placed.is_empty() => Err(self.refused(error)?),
            Some(error) => {
                let error = self.refused(error)?;
                let finding = Finding::new(Weight::Warning, "does-not-fit", error.what);
                let finding = finding.at(error.place.unwrap_or_default()).advise(error.advice.unwrap_or_default());
                self.report.findings.push(finding);
                Ok(())
            }
            None if self.placed.is_empty() => Err(self.no_room(&loads[0])?),
            None => Ok(()),
        }
    }

    /// Less is free than the batch needs.
    fn no_room(&self, load: &Load) -> Result<Error> {
        let (need, free) = (self.missing_bytes(load)?, disk::free_space(self.medium)?);
        let (need, free) = (text::size(need), text::size(free));
        let what = format!("no room on the medium: the next batch needs {need}, {free} are free");
        Ok(Error { lack: Some(Lack::Room), ..Error::failed(what) }
            .at(self.medium)
            .advise("use a larger medium, or pack smaller batches with --max-batch; nothing of it was lost"))
    }

    /// The medium takes no more, although enough is free by what it says of itself.
    fn refused(&self, error: Error) -> Result<Error> {
        if error.lack != Some(Lack::Room) {
            return Ok(error);
        }
        let free = text::size(disk::free_space(self.medium)?);
        let what = format!("{}, although {free} are free", error.what);
        Ok(Error { what, ..error }.advise(
            "its inodes (names) may have run out: df -i shows it; remove files there, or use another medium; nothing was lost",
        ))
    }

    /// What keeps a repeat from going is said, and keeps the new ones from nothing: they are read back and recorded.
    fn place_repeats(&mut self, loads: &[Load]) -> Result<()> {
        for load in loads {
            let whole = self.missing_bytes(load)? == 0;
            if !whole && (!self.report.left.is_empty() || !self.fits(load)?) {
                break;
            }
            match self.place(load) {
                Ok(written) => self.placed.push((load.clone(), false, written)),
                Err(NotPlaced::Refused(e)) if e.does_not_fit() => break,
                Err(e) => {
                    // A write-protected medium is not false; other bytes under a name of ours are.
                    let weight = if let NotPlaced::Differs(_) = e { Weight::False } else { Weight::Incomplete };
                    let e = Error::from(e);
                    let what = format!("batch {} did not go again: {}", load.batch.manifest.sequence, e.what);
                    let finding = Finding::new(weight, "not-repeated", what).at(e.place.unwrap_or_default());
                    self.report.findings.push(finding.advise(e.advice.unwrap_or_default()));
                    break;
                }
            }
        }
        Ok(())
    }

    fn fits(&self, load: &Load) -> Result<bool> {
        let need = self.missing_bytes(load)?;
        Ok(need == 0 || need + SPARE_BYTES <= disk::free_space(self.medium)?)
    }

    /// Bytes of the batch's files that are not on the medium yet, in whole clusters.
    fn missing_bytes(&self, load: &Load) -> Result<u64> {
        let mut bytes = 0;
        for (name, size) in self.files(load)? {
            if self.medium.join(&name).symlink_metadata().is_err() {
                bytes += size.div_ceil(CLUSTER_BYTES) * CLUSTER_BYTES;
            }
        }
        Ok(bytes)
    }

    /// The batch's files in the order of placing: volumes, index, signatures, manifest.
    fn files(&self, load: &Load) -> Result<Vec<(String, u64)>> {
        let manifest = &load.batch.manifest;
        let mut files: Vec<(String, u64)> = manifest.parts().map(|p| (p.name.to_owned(), p.bytes)).collect();
        let base = format!("{}.", name::base(manifest.stream, manifest.sequence));
        let signatures = self.outbox.names()?.into_iter().filter(|n| n.starts_with(&base) && n.ends_with(".sig"));
        files.extend(signatures.map(|n| (n, 64)));
        files.push((name::manifest(manifest.stream, manifest.sequence), load.batch.bytes.len() as u64));
        Ok(files)
    }

    /// Copies what is not there; equal files are skipped, other bytes under a final name are an error.
    fn place(&mut self, load: &Load) -> std::result::Result<u64, NotPlaced> {
        let mut written = 0;
        let files = self.files(load)?;
        self.observer.begin("writing", files.iter().map(|f| f.1).sum());
        for (name, size) in files {
            if self.is_there(load, &name)? {
                self.observer.advance(size);
                continue;
            }
            self.copy(load, &name)?;
            written += size;
            self.report.written += size;
        }
        self.observer.end();
        Ok(written)
    }

    fn is_there(&self, load: &Load, name: &str) -> std::result::Result<bool, NotPlaced> {
        let (there, ours) = (self.medium.join(name), self.outbox.dir().join(name));
        let Ok(metadata) = there.symlink_metadata() else { return Ok(false) };
        let digest = |path: &PathBuf| -> io::Result<_> { digest_all(disk::open_regular(path)?) };
        let same = metadata.is_file()
            && match (digest(&there), digest(&ours)) {
                (Ok(a), Ok(b)) => a == b,
                (Err(e), _) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
                (Err(e), _) => return Err(Error::io("read the medium", &there, &e).into()),
                (_, Err(e)) => return Err(Error::io("read the outbox", &ours, &e).into()),
            };
        if same {
            return Ok(true);
        }
        check_ours(load, name, digest(&ours).map_err(|e| Error::io("read the outbox", &ours, &e))?.0, &ours)?;
        let error =
            Error::failed("something else lies under this name on the medium; it was not overwritten").at(&there);
        Err(NotPlaced::Differs(match name.ends_with(".manifest") {
            true => error.advise("if the ledger came from a backup, go on with a new stream: airpouch stream renew; else use another medium"),
            false => error.advise("move it away, or use another medium"),
        }))
    }

    fn copy(&self, load: &Load, name: &str) -> std::result::Result<(), NotPlaced> {
        let from = self.outbox.dir().join(name);
        let mut source = disk::open_regular(&from).map_err(|e| Error::io("read the outbox", &from, &e))?;
        let mut partial = Partial::create(self.medium, name)?;
        let mut piece = vec![0; 1 << 20];
        let mut hasher = Hasher::new();
        loop {
            let n = io::Read::read(&mut source, &mut piece).map_err(|e| Error::io("read the outbox", &from, &e))?;
            if n == 0 {
                break;
            }
            partial.write_all(&piece[..n]).map_err(|e| partial.failed(&e))?;
            hasher.update(&piece[..n]);
            self.observer.advance(n as u64);
        }
        check_ours(load, name, hasher.finish(), &from)?;
        partial.place()?;
        // Whoever sees the manifest must find the rest: names become durable in the order of placing.
        disk::sync_dir(self.medium)?;
        Ok(())
    }

    fn sync(&self) -> Result<bool> {
        if self.report.written > 0 && !self.options.diode {
            disk::sync_file_system(self.medium)?;
        }
        disk::sync_dir(self.medium)
    }

    /// Reads everything back after the last byte is written, and decodes it as `verify` would.
    fn read_back(&mut self, store: &TrustStore) -> Result<()> {
        for (load, is_new, written) in &self.placed {
            let proof = if self.options.diode { Proof::Sent } else { self.decode(load, *written, store)? };
            let line = batch_line(&load.batch.manifest, load.batch.sha256);
            if *is_new {
                self.report.new.push(line);
            } else {
                self.report.repeated.push(line);
            }
            self.report.proof = self.report.proof.map_or(Some(proof), |p| Some(weaker(p, proof)));
        }
        let newest = self.placed.iter().filter(|p| p.0.stream.active).max_by_key(|p| p.0.batch.manifest.sequence);
        self.report.head = newest.map(|(l, ..)| Head {
            stream: l.stream.stream,
            sequence: l.batch.manifest.sequence.get(),
            code: head_code(l.batch.sha256),
            is_last: true,
        });
        Ok(())
    }

    fn decode(&self, load: &Load, written: u64, store: &TrustStore) -> Result<Proof> {
        let manifest = &load.batch.manifest;
        let shelf = ReadBack::new(self.medium.to_owned());
        let differs = |name: &str, why: &str| {
            Error::failed(format!("what was written does not read back: {name} {why}"))
                .at(self.medium)
                .advise("this medium is not to be trusted; carry onto another one, the outbox has everything")
        };
        let name = name::manifest(manifest.stream, manifest.sequence);
        // What the machine lacks to read it back says nothing of the medium.
        let unread = |name: &str, e: &io::Error| match Lack::of(e) {
            Some(lack) => Error::lacking("read the medium back", lack).at(self.medium),
            None => differs(name, &crate::error::reason(e)),
        };
        let bytes = shelf.read(&name, MANIFEST_MAX).map_err(|e| unread(&name, &e))?;
        if bytes != load.batch.bytes {
            return Err(differs(&name, "differs"));
        }
        let mut signatures = Vec::new();
        for (name, _) in self.files(load)?.into_iter().filter(|f| f.0.ends_with(".sig")) {
            let read = shelf.read(&name, 64).map_err(|e| unread(&name, &e))?;
            let bytes = <[u8; 64]>::try_from(read.as_slice()).map_err(|_| differs(&name, "is not 64 bytes"))?;
            signatures.push(SignatureFile { name, bytes, named: true });
        }
        if let Err(e) = store.authenticate(Unverified::new(bytes, signatures)) {
            return Err(differs(&name, &format!("is signed by no key that this ledger knows: {e}")));
        }
        self.observer.begin("reading back", manifest.totals.bytes);
        let checked = check_batch(&shelf, manifest, self.options.threads, None, self.observer);
        self.observer.end();
        let checked = lack::apart(checked).map_err(|l| Error::lacking("read the medium back", l).at(self.medium))?;
        if let Err(faults) = checked
            && let Some((name, fault)) = faults.first()
        {
            return Err(differs(name, &fault.to_string()));
        }
        let anew = written == 0 && load.carries.last().is_some_and(|c| c.mark != self.mount.mark);
        Ok(match (shelf.was_direct() && self.mount.reaches_a_device(), anew) {
            (true, _) => Proof::Device,
            (false, true) => Proof::Replug,
            (false, false) => Proof::Cache,
        })
    }

    fn record(&self, ledger: &mut Ledger, millis: u64) -> Result<()> {
        let mut batches = Vec::new();
        for (load, is_new, written) in &self.placed {
            let proof = self.report.proof.unwrap_or(Proof::Cache);
            // A second look at the same stick says nothing new, unless it proves more.
            let known = load.carries.iter().any(|c| c.mark == self.mount.mark && c.proof == proof);
            if *written > 0 || !known {
                batches.push((&load.stream, load.batch.manifest.sequence, *is_new, proof));
            }
        }
        if batches.is_empty() {
            return Ok(());
        }
        let carry = CarryRow {
            at: self.options.at.clone(),
            medium: self.medium.to_string_lossy().into_owned(),
            mark: self.mount.mark.clone(),
            bytes: self.report.written,
            millis,
        };
        ledger.record_carry(&carry, &batches)
    }
}

/// What the outbox holds must be what was sealed: else the medium would be blamed, or a drop folder get damage.
fn check_ours(load: &Load, name: &str, sha256: Digest, place: &Path) -> std::result::Result<(), NotPlaced> {
    let manifest = &load.batch.manifest;
    let sealed = match manifest.parts().find(|p| p.name == name) {
        Some(part) => Some(part.sha256),
        None if name.ends_with(".manifest") => Some(load.batch.sha256),
        None => None,
    };
    if sealed.is_none_or(|sealed| sealed == sha256) {
        return Ok(());
    }
    Err(NotPlaced::Differs(
        Error::failed("this file of the outbox is not what was sealed; it was not carried")
            .at(place)
            .advise("move it away, and bring it back from a backup or from a medium that has it; the others go"),
    ))
}

fn weaker(a: Proof, b: Proof) -> Proof {
    let strength = |p: Proof| match p {
        Proof::Device => 3,
        Proof::Replug => 2,
        Proof::Cache => 1,
        Proof::Sent => 0,
    };
    if strength(a) <= strength(b) { a } else { b }
}
