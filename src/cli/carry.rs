use std::path::PathBuf;

use airpouch::carry::{Carry, CarryOptions};
use airpouch::error::{Error, Result};
use airpouch::ledger::exporter::ExporterLedger;
use airpouch::report::{CarryReport, ExitStatus, fold};
use airpouch::stream::Asked;
use airpouch::text::harmless;
use clap::builder::BoolishValueParser;

use super::output::Output;
use super::settings::{self, Settings};

/// Batches of how many earlier carries go again, while there is room.
const OVERLAP: u32 = 3;

/// Carry batches from the outbox to a medium, and read them back
///
/// Copies whole batches: first those that were never carried, in order of their numbers; then, while there is room, those
/// of the last carries, so that the next medium replaces a lost one. Reads everything back before it prints SAFE TO REMOVE.
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
    /// The zone whose batches are carried, if the site packs for several
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

    /// How to carry, by the arguments and the settings.
    pub fn options(&self, set: &Settings, zone: String, threads: usize) -> Result<CarryOptions> {
        let no_overlap = self.no_overlap || (self.overlap.is_none() && set.no_overlap.unwrap_or(false));
        Ok(CarryOptions {
            zone,
            require_mount: self.require_mount(set),
            diode: self.diode || set.diode.unwrap_or(false),
            resend: self.resend.clone(),
            overlap: if no_overlap { 0 } else { self.overlap.or(set.overlap).unwrap_or(OVERLAP) },
            threads,
            at: settings::timestamp()?,
        })
    }
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
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
    let options = args.carry.options(&set, zone, threads)?;
    let mut report = CarryReport::default();
    let (site, ledger, medium) = (&site, &mut ledger, medium.as_path());
    let ended = carry_to(Carry { site, ledger, medium, options: &options, observer: output, report: &mut report });
    Ok(output.show_ended(&report, ended))
}

/// Carries, as `carry` and `pack` with a medium do.
pub fn carry_to(carry: Carry<'_>) -> Result<()> {
    let Carry { site, ledger, medium, options, observer, report } = carry;
    let ended = Carry { site, ledger, medium, options, observer, report: &mut *report }.run();
    fold(&mut report.findings);
    report.medium = harmless(&medium.to_string_lossy());
    report.ended = ended.is_ok();
    ended
}
