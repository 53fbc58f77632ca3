use std::path::{Path, PathBuf};

use airpouch::audit::audit;
use airpouch::error::Result;
use airpouch::report::ExitStatus;

use super::output::Output;
use super::{settings, witness};

/// Check that the journal of a site is as it was written
///
/// Reads each line, holds it against the one before, and the last one against the signed head beside the journal and against
/// the ledger. Changes nothing, and needs no network. Whoever may write the whole site can write another journal; a copy of
/// an earlier head, kept elsewhere, shows it.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch audit --site /var/lib/airpouch\n  airpouch audit --head /media/officer/2026-10.head"
)]
pub struct Args {
    /// The site, of either side
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// A copy of an earlier journal.head, whose line must still be there
    #[arg(long, value_name = "FILE")]
    head: Vec<PathBuf>,
    /// The code of an earlier head that the other side has, whose line must still be there
    #[arg(long, value_name = "CODE")]
    code: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    let copies: Vec<&Path> = args.head.iter().map(PathBuf::as_path).collect();
    let codes = args.code.iter().map(|typed| witness::code(typed)).collect::<Result<Vec<_>>>()?;
    Ok(output.show(&audit(&site, &copies, &codes)?))
}
