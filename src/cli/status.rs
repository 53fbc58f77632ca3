use std::path::PathBuf;

use airpouch::error::Result;
use airpouch::ledger::look;
use airpouch::report::ExitStatus;
use airpouch::status::status;

use super::output::Output;
use super::settings;

/// Show what arrived, what was sent, what waits and what is missing
///
/// Reads the ledger without the lock; changes nothing. For each thing that waits it shows the one command that settles it.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch status\n  airpouch status --site /var/lib/airpouch --json | jq .report.streams"
)]
pub struct Args {
    /// The site of either side
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    let ledger = look(&site)?;
    output.is_at(ledger.role());
    Ok(output.show(&status(&site, &ledger)?))
}
