use std::path::PathBuf;

use airpouch::check::{CheckOptions, check};
use airpouch::error::Result;
use airpouch::ledger::{View, look};
use airpouch::report::{CheckReport, ExitStatus, fold};

use super::command_line::{CommandLine, Meant};
use super::import::read_settings;
use super::output::Output;
use super::{reach, settings};

/// Check a destination without delivering
///
/// Asks the platform for its version, for the token's user and his rights, and for connectors that exist already; asks the
/// broker whether the login works and messages can be published; reports which applicants are not mapped. It changes nothing there.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch check --to opencti+https://cti.example --token-file /etc/airpouch/token\n  airpouch check        with to and token_file in airpouch.toml"
)]
pub struct Args {
    /// The destination, as for import (or `to` in airpouch.toml)
    #[arg(long, value_name = "DESTINATION", env = "AIRPOUCH_TO")]
    to: Option<String>,
    /// The importer's site, which knows what came so far
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Who an applicant of the other side is here; also FROM:TO,FROM:TO as OpenCTI has it
    #[arg(long, value_name = "FROM=TO", env = "AIRPOUCH_APPLICANT")]
    applicant: Vec<String>,
    /// What to do about applicants that are not mapped: hold, or default=ID [default: hold]
    #[arg(long, value_name = "RULE", env = "AIRPOUCH_UNMAPPED")]
    unmapped: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    reach: reach::Args,
}

pub fn run(typed: &Args, line: &CommandLine, output: &Output) -> Result<ExitStatus> {
    let Meant { args, site, set } = line.meant::<Args>(typed.site.as_deref(), output)?;
    read_settings(line, &set, &site, output)?;
    let options = CheckOptions {
        to: settings::destination(args.to.as_ref())?,
        reach: args.reach.reach(output)?,
        connectors: settings::connectors(&set)?,
        applicants: settings::applicants(&args.applicant, args.unmapped.as_deref(), &set, &site)?,
    };
    let ledger = match site.exists().then(|| look(&site)).transpose()? {
        Some(View::Importer(ledger)) => Some(ledger),
        // An exporter has no destination that it could know.
        Some(View::Exporter(_)) | None => None,
    };
    let mut report = CheckReport::default();
    let ended = check(ledger.as_ref(), &options, output, &mut report);
    fold(&mut report.findings);
    Ok(output.show_ended(&report, ended))
}
