//! carry: copies sealed batches to a medium, then reads every byte back and verifies it.
//!
//! First the *new* batches, whole and by number, none after one that does not fit; then *repeats* of what
//! the last carries took, newest first, while there is room, so that a lost stick heals with the next one.

mod place;
mod plan;

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use crate::batch::name;
use crate::code::Code;
use crate::disk::{self, Mount};
use crate::error::{Error, Result, unless_stopped};
use crate::issued::refuse_older_ledger;
use crate::ledger::exporter::{CarryRow, ExporterLedger, ExporterView};
use crate::pairing::PairedWith;
use crate::report::{BatchLine, CarryReport, Finding, Head, Observer, head_code};
use crate::shelf::fill::FilledMedium;
use crate::shelf::kept::KeptShelf;
use crate::shelf::medium::{mounted, sweep_partials};
use crate::shelf::read_back::{Expected, ReadBack, Reader};
use crate::site::Site;
use crate::stream::Asked;
use crate::text::{self, count};
use crate::trust::TrustStore;

use plan::{Load, Plan, Planner};

/// A carry of so many bytes says how fast the next one will be.
const TELLING_BYTES: u64 = 64 << 20;
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

/// One carry: from where, to which medium, by which rules, and what is said of it.
pub struct Carry<'a> {
    /// The exporter's site.
    pub site: &'a Site,
    /// Its ledger.
    pub ledger: &'a mut ExporterLedger,
    /// Where to.
    pub medium: &'a Path,
    /// How to carry.
    pub options: &'a CarryOptions,
    /// Who watches.
    pub observer: &'a dyn Observer,
    /// What was done, also if the run stops.
    pub report: &'a mut CarryReport,
}

impl Carry<'_> {
    /// Carries what is to go.
    ///
    /// # Errors
    /// The medium is not there, not mounted, is or touches the site, has room for nothing, or something else lies under a
    /// final name; read-back failed; the system or SQLite refused.
    pub fn run(self) -> Result<()> {
        let Self { site, ledger, medium, options, observer, report } = self;
        let mount = mounted(medium, options.require_mount)?;
        site.refuse_inside("the medium", medium)?;
        report.is_paired = PairedWith::Zone(&options.zone).is_there(site);
        let outbox = KeptShelf::new(site.outbox());
        let names = outbox.listed()?;
        let signers = ledger.signers()?;
        refuse_older_ledger(ledger, &outbox, &names, Some(medium).filter(|_| !options.diode), &signers)?;
        let Some(stream) = ledger.active_stream(&options.zone)? else { return Ok(()) };
        let findings = &mut report.findings;
        let plan =
            Planner { ledger, outbox: &outbox, names: &names, signers: &signers, findings }.plan(&stream, options)?;
        let mut run = CarryRun {
            outbox: &outbox,
            medium,
            mount: &mount,
            options,
            observer,
            report,
            placed: Vec::new(),
            stopped: None,
        };
        // A drop folder may hold another exporter's, which are not touched.
        let ours: HashSet<String> = ledger.streams()?.iter().map(|s| s.stream.prefix()).collect();
        sweep_partials(medium, |prefix| ours.contains(prefix))?;
        let started = Instant::now();
        run.announce(ledger, &plan)?;
        run.place_new(plan.new)?;
        run.place_repeats(plan.repeats)?;
        observer.begin("syncing the medium", 0);
        let promised = run.sync();
        observer.end();
        let promised = promised?;
        let millis = started.elapsed().as_millis() as u64;
        let read_back = run.read_back(&TrustStore::of_keys(&signers))?;
        if !promised {
            run.report.findings.push(
                Finding::new(Code::NoDirectorySync, "this medium cannot promise that file names are durable")
                    .advise("unmount it before you pull it out"),
            );
        }
        run.record(ledger, millis, &read_back)?;
        run.stopped.map_or(Ok(()), Err)
    }
}

/// A batch that lies whole on the medium.
struct Placed {
    load: Load,
    /// Whether it went as new: nobody had carried it, or it was asked for, and some of it was written now.
    is_new: bool,
    /// Bytes that were written of it.
    written: u64,
}

impl Placed {
    fn expected(&self, mount: &Mount, outbox: &KeptShelf) -> Expected<'_> {
        let Load { sealed, files, carries, .. } = &self.load;
        let signatures = files.iter().map(|(name, _)| name.as_str()).filter(|name| name.ends_with(".sig")).collect();
        let head = files.iter().map(|(name, _)| name.as_str()).find(|name| name::parse_head(name).is_some());
        let head = head.and_then(|name| Some((name, outbox.head(name)?)));
        let is_replugged = self.written == 0 && carries.last().is_some_and(|carry| carry.mount_id != mount.mount_id);
        Expected { manifest: sealed.manifest(), bytes: sealed.bytes(), signatures, head, is_replugged }
    }
}

struct CarryRun<'a> {
    outbox: &'a KeptShelf,
    medium: &'a Path,
    mount: &'a Mount,
    options: &'a CarryOptions,
    observer: &'a dyn Observer,
    report: &'a mut CarryReport,
    placed: Vec<Placed>,
    /// Why it stopped before all was read back; what was is recorded.
    stopped: Option<Error>,
}

impl CarryRun<'_> {
    /// Says how much it will be and how long it may take, before it begins.
    fn announce(&self, ledger: &ExporterView, plan: &Plan) -> Result<()> {
        let bytes: u64 = plan.new.iter().flat_map(|load| self.missing_sizes(load)).sum();
        if bytes == 0 {
            return Ok(());
        }
        // What a few kilobytes took says nothing of many.
        let last = ledger.last_carry()?.filter(|carry| carry.bytes >= TELLING_BYTES);
        let rate = last.map_or(GUESSED_BYTES_A_SECOND, |c| c.bytes * 1000 / c.millis.max(1)).max(1);
        let about = match bytes / rate {
            0..5 => String::new(),
            5..90 => format!(", about {} seconds", (bytes / rate).next_multiple_of(10)),
            seconds => format!(", about {} minutes", seconds.div_ceil(60)),
        };
        self.observer.say(&format!("{} to write{about}", text::size(bytes)));
        Ok(())
    }

    fn filled(&self) -> FilledMedium<'_> {
        FilledMedium::new(self.medium)
    }

    fn sync(&self) -> Result<bool> {
        if self.report.written > 0 && !self.options.diode {
            disk::sync_file_system(self.medium)?;
        }
        self.filled().sync_names()
    }

    /// Reads everything back after the last byte is written.
    fn read_back(&mut self, store: &TrustStore) -> Result<Vec<ReadBack>> {
        let (medium, mount, observer, threads) = (self.medium, self.mount, self.observer, self.options.threads);
        let reader = Reader { medium, mount, store, threads, observer };
        let mut all = Vec::new();
        for placed in &self.placed {
            let (done, of) = (all.len(), count(self.placed.len() as u64, "batch"));
            let stopped = unless_stopped(observer, || {
                format!(
                    "after {done} of {of} were read back; the next carry reads the others back, and copies what is missing"
                )
            });
            if let Err(stop) = stopped {
                self.stopped = Some(stop);
                break;
            }
            let sealed = &placed.load.sealed;
            all.push(match self.options.diode {
                true => ReadBack::sent(sealed.manifest()),
                false => reader.read_back(&placed.expected(mount, self.outbox))?,
            });
            let lines = if placed.is_new { &mut self.report.new } else { &mut self.report.repeated };
            lines.push(BatchLine::of(sealed.manifest(), sealed.sha256()));
        }
        self.report.proof = ReadBack::level(&mut all);
        let of_the_zone = self.placed.iter().take(all.len()).map(|p| &p.load).filter(|l| l.stream.active);
        self.report.head = of_the_zone.max_by_key(|l| l.sealed.manifest().sequence).map(|l| Head {
            stream: l.stream.stream,
            sequence: l.sealed.manifest().sequence.get(),
            code: head_code(l.sealed.sha256()),
            is_last: true,
        });
        Ok(all)
    }

    /// Records what was read back.
    fn record(&self, ledger: &mut ExporterLedger, millis: u64, read_back: &[ReadBack]) -> Result<()> {
        let mut batches = Vec::new();
        for (placed, read) in self.placed.iter().zip(read_back) {
            // A second look at the same stick says nothing new, unless it proves more.
            let known =
                placed.load.carries.iter().any(|c| c.mount_id == self.mount.mount_id && c.proof == read.proof());
            if placed.written > 0 || !known {
                batches.push((&placed.load.stream, read, placed.is_new));
            }
        }
        if batches.is_empty() {
            return Ok(());
        }
        let carry = CarryRow {
            at: self.options.at.clone(),
            medium: self.medium.to_string_lossy().into_owned(),
            mount_id: self.mount.mount_id.clone(),
            bytes: self.report.written,
            millis,
        };
        ledger.record_carry(&carry, &self.mount.facts(), &batches)
    }
}
