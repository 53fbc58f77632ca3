use std::path::PathBuf;

use airpouch::accept::{AskedToAccept, accept};
use airpouch::digest::NotADigest;
use airpouch::error::{Error, Result};
use airpouch::renew::renew;
use airpouch::report::ExitStatus;
use airpouch::shelf::kept::KeptShelf;
use airpouch::stream::{NotNumbers, Numbers, StreamId};
use airpouch::text::harmless;

use super::command_line::{CommandLine, Meant};
use super::output::Output;
use super::{keys, record, settings};

/// Continue after a ledger was restored, or settle a gap or a fork
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch stream renew --medium /media/stick                              at the exporter, after its ledger was restored\n  airpouch stream accept c1d0a7e2-3b44-4f0e-9b3a-6a1c2d3e4f50 2-7 --reason \"stick lost, content not needed\""
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Begin a new stream that continues after the last known batch (exporter)
    Renew(Renew),
    /// Give up on missing batches, or take a batch that forks its stream (importer)
    Accept(Accept),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  airpouch stream renew --medium /media/stick")]
struct Renew {
    /// A medium with batches that the ledger does not know any more
    #[arg(long, value_name = "MEDIUM")]
    medium: Option<PathBuf>,
    /// The exporter's site
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// The zone whose stream is renewed, where the site packs for several
    #[arg(long, value_name = "NAME", env = "AIRPOUCH_ZONE")]
    zone: Option<String>,
    /// Public keys by which lost batches are known, if the ledger does not know them any more
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_TRUST")]
    trust: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    record: record::Args,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  airpouch stream accept c1d0a7e2-3b44-4f0e-9b3a-6a1c2d3e4f50 2-7 --reason \"stick lost, content not needed\""
)]
struct Accept {
    /// The stream's UUID
    stream: String,
    /// Numbers and ranges, such as 7 or 2-7,9
    numbers: String,
    /// The digest of the batch to take, for a fork; none: the numbers are given up
    sha256: Option<String>,
    /// Why, for the ledger
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The importer's site
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    record: record::Args,
}

impl Args {
    pub fn json(&self) -> bool {
        match &self.verb {
            Verb::Renew(args) => args.json,
            Verb::Accept(args) => args.json,
        }
    }
}

pub fn run(args: &Args, line: &CommandLine, output: &Output) -> Result<ExitStatus> {
    match &args.verb {
        Verb::Renew(args) => run_renew(args, line, output),
        Verb::Accept(args) => run_accept(args, output),
    }
}

fn run_renew(typed: &Renew, line: &CommandLine, output: &Output) -> Result<ExitStatus> {
    let Meant { args, site, .. } = line.meant::<Renew>(typed.site.as_deref(), output)?;
    let keys: Vec<_> = match &args.trust {
        Some(dir) => keys::trust_store(dir, true, output)?.keys().map(|(key, _)| key.clone()).collect(),
        None => Vec::new(),
    };
    // With public keys at hand a lost site is made again around what was copied into its outbox.
    if !site.exists() && (args.trust.is_none() || !site.outbox().is_dir()) {
        return Err(Error::failed("no airpouch site here").at(site.root()).advise("name it with --site DIR"));
    }
    if let Some(medium) = &args.medium {
        site.refuse_inside("the medium", medium)?;
    }
    let renewed = record::exporter(&site, &args.record, output, |ledger| {
        let zone = settings::exporter_zone(args.zone.as_deref(), ledger, false)?;
        let (outbox, at) = (KeptShelf::new(site.outbox()), settings::timestamp()?);
        renew(ledger, &outbox, args.medium.as_deref(), &zone, &keys, &at)
    })??;
    Ok(output.show(&renewed))
}

fn run_accept(args: &Accept, output: &Output) -> Result<ExitStatus> {
    let stream = StreamId::parse(&args.stream).ok_or_else(|| {
        Error::usage(format!("unknown stream {:?}", harmless(&args.stream))).advise("airpouch status shows its UUID")
    })?;
    let numbers: Numbers = args.numbers.parse().map_err(|e: NotNumbers| {
        Error::usage(format!("{:?} is {e}", harmless(&args.numbers)))
            .advise("airpouch status lists the numbers that are missing")
    })?;
    if args.reason.trim().is_empty() {
        return Err(Error::usage("this needs a reason; the ledger keeps it").advise("--reason TEXT"));
    }
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    if !site.exists() {
        return Err(Error::failed("no airpouch site here").at(site.root()).advise("name it with --site DIR"));
    }
    let sha256 = args.sha256.as_deref().map(str::parse).transpose();
    let sha256 = sha256.map_err(|e: NotADigest| {
        Error::usage(format!("{e}")).advise("the finding about the fork has the whole command")
    })?;
    let reason = record::bounded("--reason", Some(&args.reason))?.unwrap_or_default();
    let asked = AskedToAccept { stream, numbers: &numbers, sha256, reason: &reason, at: &settings::timestamp()? };
    let accepted = record::importer(&site, &args.record, output, |ledger| accept(ledger, &asked))??;
    Ok(output.show(&accepted))
}
