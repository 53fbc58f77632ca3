use std::path::PathBuf;

use airpouch::carry::Carry;
use airpouch::error::{Error, Result};
use airpouch::limits::{BATCH_BYTES_MAX, VOLUME_SIZE_MIN, VOLUME_UNPACKED_MAX};
use airpouch::pack::{Again, Pack, PackOptions};
use airpouch::report::{CarryReport, ExitStatus, PackAndCarryReport, fold};
use airpouch::shelf::kept::KeptShelf;
use airpouch::site::Site;
use airpouch::stream::Asked;
use airpouch::text::size;
use clap::builder::BoolishValueParser;

use super::carry::{Carried, CarryArgs, carry_to};
use super::command_line::{CommandLine, Meant};
use super::output::Output;
use super::{keys, record, settings};

/// Pack new envelopes into sealed, signed batches
///
/// Takes regular files of SOURCE that end in .json, reads each new one once, and packs it into the outbox of the site.
/// A file that is not a valid envelope is left in place and reported once. With MEDIUM the batches are carried right after.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch pack /srv/opencti/out --key /etc/airpouch/site-a.key.pem\n  airpouch pack /srv/opencti/out /media/stick --key /etc/airpouch/site-a.key.pem --zone restricted\n  airpouch pack                      with source and key in airpouch.toml, from cron\n  airpouch pack --wait 15m           and after the run that is at work"
)]
pub struct Args {
    /// The directory into which connectors write (or `source` in airpouch.toml)
    source: Option<PathBuf>,
    /// A mounted medium to carry to, right after packing
    medium: Option<PathBuf>,
    /// The exporter's site
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// The private key to sign with; repeat it for several signatures
    #[arg(long, value_name = "FILE", env = "AIRPOUCH_KEY")]
    key: Vec<PathBuf>,
    /// A file with the passphrase of an encrypted key
    #[arg(long, value_name = "FILE", env = "AIRPOUCH_PASSPHRASE_FILE")]
    passphrase_file: Option<PathBuf>,
    /// The zone that the batches are for [default: default]
    #[arg(long, value_name = "NAME", env = "AIRPOUCH_ZONE")]
    zone: Option<String>,
    /// Begin a stream for a zone that this site has not packed for
    #[arg(long)]
    new_zone: bool,
    /// Look into directories below SOURCE too
    #[arg(long, env = "AIRPOUCH_RECURSIVE", value_parser = BoolishValueParser::new())]
    recursive: bool,
    /// The outbox has lost these batches: complete them from MEDIUM or sign them again, else give them up, so that what
    /// still lies in SOURCE is packed under a new number; without SOURCE only give them up
    #[arg(long, value_name = "NUMBERS")]
    again: Vec<Asked>,
    /// Make a batch even if nothing is new, so that the importer sees that none was lost
    #[arg(long, env = "AIRPOUCH_HEARTBEAT", value_parser = BoolishValueParser::new())]
    heartbeat: bool,
    /// Promise the next batch or heartbeat within this time, such as 24h
    #[arg(long, value_name = "TIME", env = "AIRPOUCH_PROMISE")]
    promise: Option<String>,
    /// The tar stream of one volume at most, such as 64MiB [default: 256MiB]
    #[arg(long, value_name = "SIZE", env = "AIRPOUCH_VOLUME_SIZE")]
    volume_size: Option<String>,
    /// Envelopes in one batch at most, such as 600MB for a disc [default: 4GiB]
    #[arg(long, value_name = "SIZE", env = "AIRPOUCH_MAX_BATCH")]
    max_batch: Option<String>,
    /// Processors to use [default: all]
    #[arg(long, value_name = "N", env = "AIRPOUCH_THREADS")]
    threads: Option<usize>,
    /// Take keys that are published with airpouch's sources; for tests only
    #[arg(long, env = "AIRPOUCH_TEST_KEYS", value_parser = BoolishValueParser::new())]
    test_keys: bool,
    #[command(flatten)]
    carry: CarryArgs,
    /// Print each finding on its own, instead of one line for those of one kind and connector
    #[arg(long)]
    pub all: bool,
    /// Print only what a person has to look at: for cron, which sends a mail for each output
    #[arg(short, long)]
    pub quiet: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    record: record::Args,
}

pub fn run(typed: &Args, line: &CommandLine, output: &Output) -> Result<ExitStatus> {
    let Meant { args, site, .. } = line.meant::<Args>(typed.site.as_deref(), output)?;
    if args.carry.slip.is_some() && args.medium.is_none() {
        return Err(Error::usage("--slip is for what is carried, and no medium is named")
            .advise("airpouch pack SOURCE MEDIUM --slip; or later: airpouch carry MEDIUM --slip"));
    }
    if args.source.is_none() && !args.again.is_empty() {
        return give_up(&args, &site, output);
    }
    let source = args.source.as_deref().ok_or_else(|| {
        Error::usage("no source given").advise("airpouch pack SOURCE, or `source = \"DIR\"` in airpouch.toml")
    })?;
    let medium = args.medium.as_deref();
    let threads = settings::threads(args.threads)?;
    let limits = limits(&args)?;
    // Whether something is mounted is asked before anything is packed: cron must not fill an outbox unseen.
    if let Some(medium) = medium {
        airpouch::shelf::medium::mounted(medium, args.carry.require_mount)?;
        args.carry.check_slip(medium)?;
    }
    let keys = keys::private_keys(&args.key, args.passphrase_file.as_deref(), args.test_keys, output)?;
    let mut done = PackAndCarryReport::default();
    output.stops_when_asked();
    let ended = record::exporter(&site, &args.record, output, |ledger| {
        let zone = settings::exporter_zone(args.zone.as_deref(), ledger, args.new_zone)?;
        let options = PackOptions {
            recursive: args.recursive,
            heartbeat: args.heartbeat,
            promise: args.promise.as_deref().map(settings::duration).transpose()?,
            again: args.again.clone(),
            volume_size: limits.0,
            max_batch: limits.1,
            ..PackOptions::new(zone.clone(), settings::timestamp()?, threads)
        };
        let (site, keys, options, report) = (&site, &keys[..], &options, &mut done.pack);
        let ended = Pack { site, ledger, source, medium, keys, options, observer: output, report }.run();
        fold(&mut done.pack.findings);
        // Before the carry, which takes its time: a file is reported once, and a carry may be killed.
        output.print_report(&done.pack, ended.is_ok());
        let Some(medium) = medium.filter(|_| ended.is_ok()) else { return ended };
        let report = done.carry.insert(CarryReport::default());
        let options = args.carry.options(zone, threads)?;
        let ended = carry_to(Carry { site, ledger, medium, options: &options, observer: output, report });
        output.print_report(report, ended.is_ok());
        ended?;
        let actor = args.record.actor(output.verb())?;
        args.carry.write_slip(Carried { site, ledger, medium, options, report, actor: &actor }, output)
    })?;
    Ok(output.close(&done, ended))
}

/// Gives up lost batches; what still lies in their source goes with the next pack, which knows where that is.
fn give_up(args: &Args, site: &Site, output: &Output) -> Result<ExitStatus> {
    if !site.exists() {
        return Err(Error::failed("no airpouch site here").at(site.root()).advise("name it with --site DIR"));
    }
    let at = settings::timestamp()?;
    let outbox = KeptShelf::new(site.outbox());
    let mut done = PackAndCarryReport::default();
    let ended = record::exporter(site, &args.record, output, |ledger| {
        let zone = settings::exporter_zone(args.zone.as_deref(), ledger, false)?;
        let again = Again { outbox: &outbox, medium: None, keys: &[], zone: &zone, at: &at };
        again.look_after(ledger, &args.again, &mut done.pack)
    })?;
    Ok(output.show_ended(&done, ended))
}

/// Bytes of a volume and of a batch; too large or too small ones are refused before anything is read.
fn limits(args: &Args) -> Result<(u64, u64)> {
    let volume = settings::bytes(args.volume_size.as_deref(), VOLUME_UNPACKED_MAX)?;
    if !(VOLUME_SIZE_MIN..=VOLUME_UNPACKED_MAX).contains(&volume) {
        return Err(Error::usage(format!("a volume cannot have {}", size(volume))).advise(format!(
            "--volume-size takes {} to {}",
            size(VOLUME_SIZE_MIN),
            size(VOLUME_UNPACKED_MAX)
        )));
    }
    let batch = settings::bytes(args.max_batch.as_deref(), BATCH_BYTES_MAX)?;
    if batch == 0 || batch > BATCH_BYTES_MAX {
        return Err(Error::usage(format!("a batch cannot have {}", size(batch)))
            .advise(format!("--max-batch takes up to {}", size(BATCH_BYTES_MAX))));
    }
    Ok((volume, batch))
}
