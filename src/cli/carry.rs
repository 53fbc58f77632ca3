use std::path::{Path, PathBuf};

use airpouch::carry::{Carry, CarryOptions};
use airpouch::deed::Actor;
use airpouch::disk;
use airpouch::error::{Error, Result, Stop};
use airpouch::ledger::exporter::ExporterView;
use airpouch::report::{CarryReport, ExitStatus, Slip, fold};
use airpouch::shelf::medium::mounted;
use airpouch::site::{Site, refuse_below};
use airpouch::slip::{Bag, slip};
use airpouch::stream::Asked;
use airpouch::text::harmless;
use clap::builder::{ArgPredicate, BoolishValueParser};

use super::command_line::{CommandLine, Meant};
use super::output::Output;
use super::{record, record_page, settings};

/// Batches of how many earlier carries go again, while there is room.
const OVERLAP: u32 = 3;
/// The slip of the last carry, in the site.
const SLIP: &str = "slip.html";

/// Carry batches from the outbox to a medium, and read them back
///
/// Copies whole batches: first those that were never carried, in order of their numbers; then, while there is room, those
/// of the last carries, so that the next medium replaces a lost one. Reads everything back before it prints SAFE TO REMOVE.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch carry /media/stick --require-mount\n  airpouch carry /media/stick --resend 57,60-62   the other side has lost these batches\n  airpouch carry /media/stick --slip=bag.html --operator \"A. Carrier\""
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
    #[command(flatten)]
    record: record::Args,
}

/// What `carry` and `pack` with a medium have in common.
#[derive(clap::Args, Debug)]
pub struct CarryArgs {
    /// Refuse a directory where nothing is mounted
    #[arg(long, env = "AIRPOUCH_REQUIRE_MOUNT", value_parser = BoolishValueParser::new())]
    pub require_mount: bool,
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
    // A number that is typed goes over a `no_overlap` of the file.
    #[arg(long, env = "AIRPOUCH_NO_OVERLAP", value_parser = BoolishValueParser::new(), default_value_if("overlap", ArgPredicate::IsPresent, "false"))]
    no_overlap: bool,
    /// Write a slip for the bag (A5) into this new file [without FILE: slip.html in the site, over the last one]
    // With a blank instead of the sign the medium would be taken for the file.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub slip: Option<Option<PathBuf>>,
}

impl CarryArgs {
    /// How to carry, by the arguments.
    pub fn options(&self, zone: String, threads: usize) -> Result<CarryOptions> {
        Ok(CarryOptions {
            zone,
            require_mount: self.require_mount,
            diode: self.diode,
            resend: self.resend.clone(),
            overlap: if self.no_overlap { 0 } else { self.overlap.unwrap_or(OVERLAP) },
            threads,
            at: settings::timestamp()?,
        })
    }
}

/// What was carried, for its slip.
pub struct Carried<'a> {
    pub site: &'a Site,
    pub ledger: &'a ExporterView,
    pub medium: &'a Path,
    pub options: CarryOptions,
    pub report: &'a CarryReport,
    pub actor: &'a Actor,
}

impl CarryArgs {
    /// Refuses a file for the slip that lies on the medium or is there already, before anything is done.
    pub fn check_slip(&self, medium: &Path) -> Result<()> {
        let Some(Some(path)) = &self.slip else { return Ok(()) };
        match refuse_below("the slip", record_page::directory(path), "the medium", medium) {
            Err(e) if e.stop == Stop::Usage => {
                return Err(Error::usage("the slip is for the bag, and not for the medium")
                    .at(path)
                    .advise("name a file elsewhere, or none: --slip"));
            }
            other => other?,
        }
        record_page::is_free(path)
    }

    /// Writes the slip, where one is asked for and something was carried.
    pub fn write_slip(&self, carried: Carried<'_>, output: &Output) -> Result<()> {
        let Carried { site, ledger, medium, options, report, actor } = carried;
        let Some(path) = &self.slip else { return Ok(()) };
        let device = mounted(medium, false)?.facts();
        let bag = Bag { from: record_page::place(site), zone: options.zone, actor, device, at: options.at };
        slip(ledger, report, bag)?.map_or(Ok(()), |slip| write_slip(&slip, path.as_deref(), site, output))
    }
}

pub fn run(typed: &Args, line: &CommandLine, output: &Output) -> Result<ExitStatus> {
    let Meant { args, site, .. } = line.meant::<Args>(typed.site.as_deref(), output)?;
    let medium = args.medium.as_deref().ok_or_else(|| {
        Error::usage("no medium given").advise("airpouch carry MEDIUM, or `medium = \"DIR\"` in airpouch.toml")
    })?;
    mounted(medium, args.carry.require_mount)?;
    if !site.exists() {
        return Err(Error::failed("no airpouch site here yet: nothing was packed")
            .at(site.root())
            .advise("name it with --site DIR, or pack first"));
    }
    let threads = settings::threads(args.threads)?;
    args.carry.check_slip(medium)?;
    let mut report = CarryReport::default();
    output.stops_when_asked();
    let ended = record::exporter(&site, &args.record, output, |ledger| {
        let zone = settings::exporter_zone(args.zone.as_deref(), ledger, false)?;
        let options = args.carry.options(zone, threads)?;
        let place = &site;
        carry_to(Carry { site: place, ledger, medium, options: &options, observer: output, report: &mut report })?;
        let actor = args.record.actor(output.verb())?;
        let carried = Carried { site: &site, ledger, medium, options, report: &report, actor: &actor };
        args.carry.write_slip(carried, output)
    })?;
    Ok(output.show_ended(&report, ended))
}

fn write_slip(slip: &Slip, path: Option<&Path>, site: &Site, output: &Output) -> Result<()> {
    let path = match path {
        Some(path) => record_page::write(path, &slip.html()).map(|()| path.to_owned())?,
        None => {
            disk::write_over(site.root(), SLIP, slip.html().as_bytes())?;
            site.root().join(SLIP)
        }
    };
    output.note(&format!("slip for the bag: {}", path.display()));
    Ok(())
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
