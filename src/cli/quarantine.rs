use std::path::PathBuf;

use airpouch::error::{Error, Result};
use airpouch::ledger::importer::ImporterView;
use airpouch::quarantine;
use airpouch::report::{ExitStatus, QuarantineReport};

use super::output::Output;
use super::{record, settings};

/// List what is held or quarantined, or release it
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch quarantine list\n  airpouch quarantine release 812302a6 --reason \"checked with the feed's owner\""
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// List what was quarantined, and what is held
    List(Common),
    /// Let the next import deliver an envelope, in spite of the reason
    Release(Release),
}

#[derive(clap::Args, Debug)]
struct Common {
    /// The importer's site
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  airpouch quarantine release 812302a6 --reason \"checked with the feed's owner\"")]
struct Release {
    /// The envelope's digest, or enough of its beginning to be the only one
    sha256: String,
    /// Why, for the ledger
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    record: record::Args,
}

impl Args {
    pub fn json(&self) -> bool {
        match &self.verb {
            Verb::List(common) => common.json,
            Verb::Release(release) => release.common.json,
        }
    }
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    match &args.verb {
        Verb::List(common) => list(common, output),
        Verb::Release(args) => release(args, output),
    }
}

fn list(args: &Common, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    let ledger = ImporterView::look(&site)?;
    let (mut any, mut report) = (false, QuarantineReport::default());
    quarantine::each(&ledger, |one| {
        any = true;
        // One by one, for there may be more than fits into memory; the document is asked for as a whole.
        match args.json {
            true => report.set_aside.push(one),
            false => output.print_report(&one, true),
        }
        Ok(())
    })?;
    Ok(if any { output.close(&report, Ok(())) } else { output.show(&report) })
}

fn release(args: &Release, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.common.site.as_deref())?;
    output.is_in(&site);
    if args.reason.trim().is_empty() {
        return Err(Error::usage("a release needs a reason; the ledger keeps it").advise("--reason TEXT"));
    }
    if args.sha256.len() < 8 {
        return Err(
            Error::usage("name at least eight digits of the digest").advise("see the list: airpouch quarantine list")
        );
    }
    if !site.exists() {
        return Err(Error::failed("no airpouch site here").at(site.root()).advise("name it with --site DIR"));
    }
    let reason = record::bounded("--reason", Some(&args.reason))?.unwrap_or_default();
    let release = |ledger: &mut _| quarantine::release(ledger, &args.sha256, &reason);
    Ok(output.show(&record::importer(&site, &args.record, output, release)??))
}
