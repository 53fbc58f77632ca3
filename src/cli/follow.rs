use std::path::PathBuf;

use airpouch::clock;
use airpouch::destination::Destination;
use airpouch::error::{Error, Result};
use airpouch::follow::{self, Following, WorkAnswers};
use airpouch::ledger::importer::{DestinationRow, ImporterView};
use airpouch::platform::Platform;
use airpouch::report::{ExitStatus, FollowReport, fold};

use super::command_line::{CommandLine, Meant};
use super::output::Output;
use super::{reach, record, settings};

/// Days after which a platform removes works that have ended, unless its settings say otherwise.
const DAYS: u32 = 7;

/// Read back from the platform what was ingested
///
/// Asks the platform for each work under which envelopes were delivered, until its end is known: which messages workers have
/// ingested, which wait, and which objects failed, the first of them with the platform's words. The journal and status have it.
/// Run it after import, such as each hour: the platform removes works some days after they ended.
///
/// Ends with 3 while objects failed or works were cleared that nobody has settled: by `airpouch import --redeliver`, which
/// delivers again what is in the inbox, or by `airpouch stream accept`. Messages that wait are no reason for that. Objects that
/// the platform's own rules refuse, such as an indicator on an exclusion list, are reported once.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch follow --to opencti+https://cti.example --token-file /etc/airpouch/token\n  airpouch follow        with to and token_file in airpouch.toml\n  airpouch follow --json | jq .report.works"
)]
pub struct Args {
    /// The platform, as for import (or `to` in airpouch.toml)
    #[arg(long, value_name = "DESTINATION", env = "AIRPOUCH_TO")]
    to: Option<String>,
    /// The importer's site
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// The platform's connector_manager:works_day_range: days after which it removes works that have ended [default: 7]
    #[arg(long, value_name = "DAYS", env = "AIRPOUCH_WORKS_DAY_RANGE")]
    works_day_range: Option<u32>,
    /// Print one line for each finding
    #[arg(long)]
    pub all: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    reach: reach::Args,
    #[command(flatten)]
    record: record::Args,
}

pub fn run(typed: &Args, line: &CommandLine, output: &Output) -> Result<ExitStatus> {
    let Meant { args, site, .. } = line.meant::<Args>(typed.site.as_deref(), output)?;
    let ledger = ImporterView::look(&site)?;
    let to = settings::destination(args.to.as_ref())?;
    let Some(known) = ledger.destination()? else {
        return Ok(output.show(&FollowReport { destination: to.to_string(), ..FollowReport::default() }));
    };
    let Destination::Platform(address) = &to else {
        return Err(Error::usage(format!("only a platform has works, and {to} is none"))
            .advise("--to opencti+https://HOST; what went through a spool was sent by `airpouch drain`"));
    };
    is_where_it_delivers(&known, &to)?;
    let following =
        Following { destination: &known, days: args.works_day_range.unwrap_or(DAYS).into(), now: clock::now().0 };
    let reach = args.reach.reach(output)?;
    output.stops_when_asked();
    let (answers, asked) = match Platform::open(address, &reach, output) {
        Ok(platform) => follow::ask(&ledger, &platform, &following, output),
        Err(error) => (WorkAnswers::default(), Err(error)),
    };
    // The lock is taken only now: an import need not wait for the platform's answers. Also where nothing is new: a run that
    // was cut off may have left notes for the journal.
    record::importer(&site, &args.record, output, |ledger| follow::note(ledger, &following, &answers))??;
    let mut report = follow::report(&ledger, &following, answers)?;
    fold(&mut report.findings);
    Ok(output.show_ended(&report, asked))
}

fn is_where_it_delivers(known: &DestinationRow, to: &Destination) -> Result<()> {
    if known.is(to) {
        return Ok(());
    }
    let there = Destination::shown(&known.kind, &known.address);
    Err(Error::usage(format!("this site delivers to {there}; now {to} is named"))
        .advise("name the platform that it delivers to: its works are there"))
}
