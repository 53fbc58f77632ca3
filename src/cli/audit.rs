use std::path::PathBuf;

use airpouch::audit::audit;
use airpouch::error::Result;
use airpouch::report::ExitStatus;

use super::output::Output;
use super::settings;

/// Check that the journal of a site is as it was written
///
/// Reads each line, holds it against the one before, and the last one against the signed head beside the journal and against
/// the ledger. Changes nothing, and needs no network.
#[derive(clap::Args, Debug)]
#[command(args_override_self = true, after_help = "Example:\n  airpouch audit --site /var/lib/airpouch")]
pub struct Args {
    /// The site, of either side
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    Ok(output.show(&audit(&site)?))
}
