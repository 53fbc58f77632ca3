use std::ffi::OsString;
use std::path::{Path, PathBuf};

use airpouch::clock;
use airpouch::disk;
use airpouch::error::{Error, Result};
use airpouch::findings::silence::WaitedFor;
use airpouch::ledger::look;
use airpouch::report::{Alarm, ExitStatus, StatusReport, Thresholds, line as check_line, metrics, one_line};
use airpouch::site::Site;
use airpouch::status::{StatusQuery, status};

use super::command_line::CommandLine;
use super::output::Output;
use super::{keys, settings};

/// Show what arrived, what was sent, what waits and what is missing
///
/// Shows one screen: what waits for a person, the most urgent first, each with the command that settles it; the streams;
/// the connectors, those with trouble first. Reads the ledger without the lock; changes nothing; asks nobody on the network.
///
/// With --check it prints one line for a monitoring system, and ends as a monitoring plugin does: 0 OK, 1 WARNING, 2 CRITICAL,
/// 3 UNKNOWN. No other verb has these. It is CRITICAL if a batch forks its stream, was refused or was changed in the inbox, or if
/// the journal was changed; a WARNING if anything else waits for a person. --warn and --crit judge the age of the last
/// delivered batch, or at the exporter of the last packed and carried one: of the stream that was silent longest.
/// "Never yet" is a WARNING if one of them is given.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch status\n  airpouch status --all\n  airpouch status 230fef21\n  airpouch status \"Example Feed\"\n  airpouch status --check --warn 26h --crit 50h\n  airpouch status --metrics /var/lib/node_exporter/airpouch.prom\n  airpouch status --site /var/lib/airpouch --json | jq .report.streams"
)]
pub struct Args {
    /// Only the stream whose UUID begins so, or the connector of this id or name, in depth
    #[arg(value_name = "STREAM|CONNECTOR")]
    about: Option<String>,
    /// The site of either side
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// The trust store that has the names of signers [default: trust/ in the site]
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_TRUST")]
    trust: Option<PathBuf>,
    /// Report a connector that came every day and has brought nothing for this time, such as 2d, or off [default: 3d]
    #[arg(long, value_name = "TIME", env = "AIRPOUCH_QUIET_AFTER")]
    quiet_after: Option<String>,
    /// Show everything
    #[arg(long, conflicts_with = "check")]
    pub all: bool,
    /// Write it into this file for Prometheus, which replaces one of that name, and show nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "json", "about"])]
    metrics: Option<PathBuf>,
    /// Print one line for a monitoring system, and end with its exit status
    #[arg(long, conflicts_with = "json")]
    check: bool,
    /// With --check: a WARNING from this age on, such as 90m, 26h or 3d
    #[arg(long, value_name = "AGE", requires = "check")]
    warn: Option<String>,
    /// With --check: CRITICAL from this age on
    #[arg(long, value_name = "AGE", requires = "check")]
    crit: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args, line: &CommandLine, output: &Output) -> Result<ExitStatus> {
    if args.check {
        return Ok(check(args, line, output));
    }
    let report = seen(args, line, output)?;
    match &args.metrics {
        Some(path) => write_metrics(path, &report).map(|()| ExitStatus::Done),
        None => Ok(output.show(&report)),
    }
}

/// A collector that reads it meanwhile reads the old one or the new one, whole.
fn write_metrics(path: &Path, report: &StatusReport) -> Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Error::usage("this is no name of a file").at(path).advise("--metrics /var/lib/node_exporter/airpouch.prom")
    })?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    disk::write_over(dir, name, metrics(report, env!("CARGO_PKG_VERSION")).as_bytes())
}

fn seen(args: &Args, line: &CommandLine, output: &Output) -> Result<StatusReport> {
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    let ledger = look(&site)?;
    output.is_at(ledger.role());
    let (trust, quiet_after) = known_by_settings(args, line, output, &site)?;
    let store = keys::readable_store(&trust);
    let (names, expected) = (keys::names_in(&store), WaitedFor::of(&store, quiet_after));
    // One line and a collector have no place for them.
    let (about, arrivals) = (args.about.as_deref(), !args.check && args.metrics.is_none());
    let query = StatusQuery { names, expected, about, all: args.all, arrivals, now: clock::now().0 };
    status(&site, &ledger, &query)
}

/// The trust store of the site, and after how long a quiet connector is reported. Settings that cannot be read stop other
/// verbs; here they cost no more than names.
fn known_by_settings(args: &Args, line: &CommandLine, output: &Output, site: &Site) -> Result<(PathBuf, u64)> {
    let set = line.meant::<Args>(Some(site.root()), output).ok().map(|meant| meant.args);
    let (trust, set) = set.map(|set| (set.trust, set.quiet_after)).unwrap_or_default();
    let quiet_after = match &args.quiet_after {
        Some(typed) => settings::quiet_after(Some(typed))?,
        None => settings::quiet_after(set.as_deref()).or_else(|_| settings::quiet_after(None))?,
    };
    Ok((args.trust.clone().or(trust).unwrap_or_else(|| site.trust()), quiet_after))
}

/// One line and one of four states, whatever happens.
fn check(args: &Args, line: &CommandLine, output: &Output) -> ExitStatus {
    let found = thresholds(args).and_then(|thresholds| Ok((seen(args, line, output)?, thresholds)));
    let (alarm, text) = match found {
        Ok((report, thresholds)) => check_line(&report, thresholds),
        Err(error) => (Alarm::Unknown, one_line(Alarm::Unknown, &in_one(&error), "")),
    };
    output.raw(&text);
    match output.or_unsaid(ExitStatus::Done) {
        ExitStatus::Done => ExitStatus::Alarm(alarm),
        _ => ExitStatus::Alarm(Alarm::Unknown),
    }
}

fn thresholds(args: &Args) -> Result<Thresholds> {
    let read = |given: &Option<String>| given.as_deref().map(settings::duration).transpose();
    let thresholds = Thresholds { warn: read(&args.warn)?, crit: read(&args.crit)? };
    match (thresholds.warn, thresholds.crit) {
        (Some(warn), Some(crit)) if warn > crit => Err(Error::usage("--warn is a longer time than --crit")),
        _ => Ok(thresholds),
    }
}

fn in_one(error: &Error) -> String {
    let place = error.place.as_ref().map_or_else(String::new, |place| format!(": {place}"));
    format!("{}{place}", error.what)
}

/// Whether these words ask for a check: a monitoring system takes the exit status of wrong usage for CRITICAL.
pub fn is_check(words: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<OsString> = words.skip(1).collect();
    words.first().is_some_and(|verb| verb == "status") && words.iter().any(|word| word == "--check")
}

/// What a check says of a command line that is wrong.
pub fn refused(error: &clap::Error) -> ExitStatus {
    let said = error.to_string();
    let what = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
    // Nobody is left to be told if this cannot be written.
    let _ = std::io::Write::write_all(
        &mut std::io::stdout(),
        format!("{}\n", one_line(Alarm::Unknown, what, "")).as_bytes(),
    );
    ExitStatus::Alarm(Alarm::Unknown)
}
