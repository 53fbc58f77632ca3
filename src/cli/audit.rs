use std::path::PathBuf;

use airpouch::audit::{AskedAudit, audit};
use airpouch::clock::TimeSpan;
use airpouch::error::Result;
use airpouch::report::ExitStatus;

use super::log::time;
use super::output::Output;
use super::{settings, witness};

/// Check that the journal of a site is as it was written, and that all was done by the rules of its time
///
/// Reads each line, holds it against the one before, and the last one against the signed head beside the journal and against
/// the ledger. What was admitted is held against the trust store of then, what was released against the policy and the
/// officers of then, with their signatures; a time narrows that. Changes nothing, and needs no network. Whoever may write
/// the whole site can write another journal; a copy of an earlier head, kept elsewhere, shows it.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch audit --site /var/lib/airpouch\n  airpouch audit 2026-11                 what was admitted and released in November, by the rules of then\n  airpouch audit --head /media/officer/2026-10.head"
)]
pub struct Args {
    /// Which day, month or time (UTC), or from which to which, such as 2026-11 or 2026-11..2027-01; all of it else
    #[arg(value_name = "TIME|FROM..TO")]
    time: Option<String>,
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
    let asked = AskedAudit {
        time: args.time.as_deref().map_or(Ok(TimeSpan::default()), span)?,
        copies: args.head.iter().map(PathBuf::as_path).collect(),
        codes: args.code.iter().map(|typed| witness::code(typed)).collect::<Result<Vec<_>>>()?,
    };
    Ok(output.show(&audit(&site, &asked)?))
}

/// One time, or from which to which; either end may be left open.
fn span(text: &str) -> Result<TimeSpan> {
    let (since, until) = text.split_once("..").unwrap_or((text, text));
    let end = |text: &str| time(Some(&text.to_owned()).filter(|text| !text.is_empty()));
    Ok(TimeSpan { since: end(since)?, until: end(until)? })
}
