use std::path::{Path, PathBuf};

use airpouch::carry::{CarryOptions, carry};
use airpouch::error::{Error, Result};
use airpouch::ledger::exporter::ExporterLedger;
use airpouch::report::{BatchLine, CarryReport, ExitStatus, Proof, fold, status_of, sum};
use airpouch::site::Site;
use airpouch::stream::{Asked, Numbers, StreamId};
use airpouch::text::{count, size};
use clap::builder::BoolishValueParser;

use super::settings::{self, Settings};
use super::terminal::Talk;

/// Batches of how many earlier carries go again, while there is room.
const OVERLAP: u32 = 3;

/// Carry batches from the outbox to a medium, and read them back
///
/// First what was never carried, whole and by number; then, while there is room, what the last carries took, so that a
/// lost stick heals with the next one. Everything is read back before it says SAFE TO REMOVE.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch carry /media/stick --require-mount\n  airpouch carry /media/stick --resend 57,60-62   the other side has lost these batches"
)]
pub struct Args {
    /// The directory where the medium is mounted (or `medium` in airpouch.toml)
    medium: Option<PathBuf>,
    /// The exporter's site
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// The zone whose batches go, where the site packs for several
    #[arg(long, value_name = "NAME", env = "AIRPOUCH_ZONE")]
    zone: Option<String>,
    /// Processors to use [default: all]
    #[arg(long, value_name = "N", env = "AIRPOUCH_THREADS")]
    threads: Option<usize>,
    #[command(flatten)]
    carry: CarryArgs,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// What `carry` and `pack` with a medium have in common.
#[derive(clap::Args, Debug)]
pub struct CarryArgs {
    /// Refuse a directory where nothing is mounted
    #[arg(long, env = "AIRPOUCH_REQUIRE_MOUNT", value_parser = BoolishValueParser::new())]
    require_mount: bool,
    /// The medium is a drop folder that empties itself: read nothing back, repeat nothing
    #[arg(long, env = "AIRPOUCH_DIODE", value_parser = BoolishValueParser::new())]
    diode: bool,
    /// Send these batches again, whatever was carried: N, 10-13,17, or STREAM:10-13 for those of an earlier stream
    #[arg(long, value_name = "NUMBERS")]
    resend: Vec<Asked>,
    /// Repeat what the last N carries took [default: 3]
    #[arg(long, value_name = "N", env = "AIRPOUCH_OVERLAP", conflicts_with = "no_overlap")]
    overlap: Option<u32>,
    /// Repeat nothing
    #[arg(long, env = "AIRPOUCH_NO_OVERLAP", value_parser = BoolishValueParser::new())]
    no_overlap: bool,
}

impl CarryArgs {
    pub fn require_mount(&self, set: &Settings) -> bool {
        self.require_mount || set.require_mount.unwrap_or(false)
    }
}

pub fn run(args: &Args, talk: &Talk) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    talk.is_in(&site);
    let set = settings::load(&site)?;
    let medium = args.medium.clone().or(set.medium.clone()).ok_or_else(|| {
        Error::usage("no medium given").advise("airpouch carry MEDIUM, or `medium = \"DIR\"` in airpouch.toml")
    })?;
    airpouch::shelf::medium::mounted(&medium, args.carry.require_mount(&set))?;
    if !site.exists() {
        return Err(Error::failed("no airpouch site here yet: nothing was packed")
            .at(site.root())
            .advise("name it with --site DIR, or pack first"));
    }
    let (mut ledger, _) = ExporterLedger::open(&site)?;
    let zone = settings::exporter_zone(args.zone.as_deref(), &set, &ledger, false)?;
    let threads = settings::threads(args.threads, &set)?;
    let mut report = CarryReport::default();
    let ended = carry_to(&site, &mut ledger, &medium, zone, &args.carry, &set, threads, talk, &mut report);
    Ok(talk.end_of("carry", status_of(&report.findings), &report, ended))
}

/// Carries, and says what was done.
#[allow(clippy::too_many_arguments, reason = "two verbs hand over what they have read")]
pub fn carry_to(
    site: &Site,
    ledger: &mut ExporterLedger,
    medium: &Path,
    zone: String,
    args: &CarryArgs,
    set: &Settings,
    threads: usize,
    talk: &Talk,
    report: &mut CarryReport,
) -> Result<()> {
    let no_overlap = args.no_overlap || (args.overlap.is_none() && set.no_overlap.unwrap_or(false));
    let options = CarryOptions {
        zone,
        require_mount: args.require_mount(set),
        diode: args.diode || set.diode.unwrap_or(false),
        resend: args.resend.clone(),
        overlap: if no_overlap { 0 } else { args.overlap.or(set.overlap).unwrap_or(OVERLAP) },
        threads,
        at: settings::timestamp()?,
    };
    let ended = carry(site, ledger, medium, &options, talk, report);
    fold(&mut report.findings);
    match &ended {
        Ok(()) => say(report, medium, talk),
        Err(_) => talk.findings(&report.findings),
    }
    ended
}

fn say(report: &CarryReport, medium: &Path, talk: &Talk) {
    talk.findings(&report.findings);
    if report.new.is_empty() && report.repeated.is_empty() {
        if talk.is_terminal() {
            talk.note("nothing to carry");
        }
        return;
    }
    if !report.left.is_empty() {
        talk.result(&format!("no room for {}: the next medium takes what is left", batches(&report.left)));
    }
    let proof = report.proof.unwrap_or(Proof::Cache);
    if proof == Proof::Sent {
        talk.result(&format!("sent: {}", batches(&report.new)));
        return;
    }
    talk.result("SAFE TO REMOVE");
    talk.result(&format!("  {}: {} written, {}", medium.display(), size(report.written), proof.meaning()));
    if !report.new.is_empty() {
        talk.result(&format!("  new: {}", batches(&report.new)));
    }
    if !report.repeated.is_empty() {
        talk.result(&format!("  again: {}", batches(&report.repeated)));
    }
    if let Some(head) = &report.head {
        talk.result(&format!("  head code {} of batch {} (the other side shows the same)", head.code, head.sequence));
    }
}

/// Numbers and sizes; with their streams where there are several.
fn batches(batches: &[BatchLine]) -> String {
    let mut streams: Vec<StreamId> = batches.iter().map(|b| b.stream).collect();
    streams.dedup();
    let mut out = Vec::new();
    for stream in &streams {
        let mine: Vec<&BatchLine> = batches.iter().filter(|b| b.stream == *stream).collect();
        let numbers: Numbers = mine.iter().map(|b| b.sequence).collect();
        let of = if streams.len() > 1 { format!(" of stream {stream}") } else { String::new() };
        out.push(format!("{}{of}", numbers.words()));
    }
    let sum = sum(batches);
    format!("{} ({}, {})", out.join("; "), count(sum.envelopes, "envelope"), size(sum.bytes))
}
