use std::path::PathBuf;

use airpouch::destination::Destination;
use airpouch::drain::{DrainOptions, drain};
use airpouch::error::Result;
use airpouch::report::{DrainReport, ExitStatus, fold};

use super::command_line::{CommandLine, Meant};
use super::output::Output;
use super::{reach, wait};

/// Move the messages of a spool to the queues of a broker
///
/// Sends what import --to spool:PATH has written, in its order, and removes each message from the spool once the broker
/// has it. Connectors are registered and works opened only now. A run that was interrupted continues where it stopped.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch drain /var/spool/airpouch --to opencti+https://cti.example --token-file /etc/airpouch/token\n  airpouch drain /var/spool/airpouch --to amqps://airpouch@rabbitmq.example --amqp-password-file /etc/airpouch/amqp"
)]
pub struct Args {
    /// The spool: the PATH of import --to spool:PATH
    spool: PathBuf,
    /// Where to: opencti+https://HOST, or amqps://HOST
    #[arg(long, value_name = "DESTINATION")]
    to: String,
    /// The importer's site, for its airpouch.toml
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Stop reporting works that were cleared on the platform: their envelopes were delivered again, or may stay lost
    #[arg(long)]
    accept_gone: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    wait: wait::Args,
    #[command(flatten)]
    reach: reach::Args,
}

pub fn run(typed: &Args, line: &CommandLine, output: &Output) -> Result<ExitStatus> {
    let Meant { args, site, .. } = line.meant::<Args>(typed.site.as_deref(), output)?;
    let (to, reach) = (Destination::parse(&args.to)?, args.reach.reach(output)?);
    let options = DrainOptions { to, reach, accept_gone: args.accept_gone, wait: args.wait.time_in(&site)? };
    let mut report = DrainReport { destination: options.to.to_string(), ..DrainReport::default() };
    output.stops_when_asked();
    let ended = drain(&args.spool, &options, output, &mut report);
    fold(&mut report.findings);
    Ok(output.show_ended(&report, ended))
}
