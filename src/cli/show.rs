use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use airpouch::error::{Error, Result};
use airpouch::ledger::look;
use airpouch::report::ExitStatus;
use airpouch::show::{self, Place, ShowOptions};
use airpouch::site::Site;
use airpouch::text::harmless;
use clap::builder::BoolishValueParser;

use super::import::policy;
use super::output::Output;
use super::{keys, settings};

/// Show what is in a batch or an envelope
///
/// Of a MEDIUM, all batches that a trusted key signed; of a site, the batch of this number, or one envelope of it. Reads
/// everything, and says who signed, which connectors and applicants there are with their types and markings, embedded files
/// and commands, and what is unusual beside the thirty batches before it in its stream. An envelope is shown in lines, with
/// the policy's objections at their places. Changes nothing.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch show /media/stick --trust /etc/airpouch/trust   before it goes in\n  airpouch show 12                                          batch 12 of this site\n  airpouch show 12:340                                      envelope 340 of it\n  airpouch show 12:340 --raw | jq .bundle.objects"
)]
pub struct Args {
    /// The directory where a medium is mounted; or BATCH or BATCH:ORDINAL, with STREAM: before it where several have it
    #[arg(value_name = "MEDIUM|BATCH[:ORDINAL]")]
    what: PathBuf,
    /// The directory with the exporter's public keys, and trust.toml [default: that of the site]
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_TRUST")]
    trust: Option<PathBuf>,
    /// The site that has the batch; with a medium, the one to compare its batches with
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Of a medium, this batch alone
    #[arg(long, value_name = "[STREAM:]NUMBER")]
    batch: Option<String>,
    /// Judge an envelope by this policy [default: that of the site]
    #[arg(long, value_name = "FILE", env = "AIRPOUCH_POLICY")]
    policy: Option<PathBuf>,
    /// Show all lines of an envelope, not only its beginning and what is marked
    #[arg(long)]
    lines: bool,
    /// Print an envelope byte for byte, for another program
    #[arg(long, conflicts_with_all = ["json", "lines"])]
    raw: bool,
    /// Processors to use [default: all]
    #[arg(long, value_name = "N", env = "AIRPOUCH_THREADS")]
    threads: Option<usize>,
    /// Trust keys that are published with airpouch's sources; for tests only
    #[arg(long, env = "AIRPOUCH_TEST_KEYS", value_parser = BoolishValueParser::new())]
    test_keys: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    match args.what.to_str().and_then(|text| Place::parse(text, "show")).filter(|_| !args.what.exists()) {
        Some(place) => in_site(args, &place, output),
        None => medium(args, output),
    }
}

fn medium(args: &Args, output: &Output) -> Result<ExitStatus> {
    if args.raw || args.lines {
        return Err(Error::usage("--raw and --lines are for one envelope").advise("airpouch show BATCH:ORDINAL"));
    }
    let site = args.site.clone().map(Site::new);
    let trust = args.trust.clone().or_else(|| site.as_ref().map(Site::trust)).ok_or_else(|| {
        Error::usage("no trust store given").advise("name the directory with the exporter's public keys: --trust DIR")
    })?;
    let store = keys::trust_store(&trust, args.test_keys, output)?;
    let ledger = site.as_ref().map(look).transpose()?;
    let only = args.batch.as_deref().map(batch_named).transpose()?;
    let options = ShowOptions { only, threads: settings::threads(args.threads)?, observer: output };
    Ok(output.show(&show::medium(&args.what, &store, ledger.as_ref(), &options)?))
}

/// The batch that `--batch` names.
fn batch_named(text: &str) -> Result<Place> {
    Place::parse(text, "show").filter(|place| place.ordinal.is_none()).ok_or_else(|| {
        Error::usage(format!("invalid batch {:?}", harmless(text))).advise("write NUMBER, or STREAM:NUMBER")
    })
}

fn in_site(args: &Args, place: &Place, output: &Output) -> Result<ExitStatus> {
    if args.batch.is_some() {
        return Err(Error::usage("--batch is for a medium").advise(format!("airpouch show {}", place.batch())));
    }
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    let ledger = look(&site)?;
    output.is_at(ledger.role());
    if place.ordinal.is_none() {
        if args.raw || args.lines {
            return Err(Error::usage("--raw and --lines are for one envelope")
                .advise(format!("airpouch show {}:ORDINAL", place.batch())));
        }
        // Its signatures were verified when it was taken: without a store the signers are named by their keys.
        let trust = args.trust.clone().unwrap_or_else(|| site.trust());
        let store = match args.trust.is_some() || trust.is_dir() {
            true => Some(keys::trust_store(&trust, args.test_keys, output)).transpose(),
            false => Ok(None),
        };
        let store = if args.trust.is_some() { store? } else { store.unwrap_or_default() };
        let options = ShowOptions { only: None, threads: settings::threads(args.threads)?, observer: output };
        return Ok(output.show(&show::batch(&site, &ledger, place, store.as_ref(), &options)?));
    }
    if args.raw {
        return raw(&show::bytes(&site, &ledger, place)?);
    }
    let named = match &args.policy {
        Some(named) => Some(named.clone()),
        None => settings::policy(&site)?,
    };
    let (policy, _) = policy(named.as_deref(), &site)?;
    Ok(output.show(&show::envelope(&site, &ledger, place, &policy, args.lines)?))
}

/// The bytes of an envelope for another program. A stranger wrote them: they never go to a terminal.
fn raw(bytes: &[u8]) -> Result<ExitStatus> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        return Err(Error::usage("--raw is for another program: what a stranger wrote may act on a terminal")
            .advise("send it into a file or a pipe, such as: | jq ."));
    }
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("the envelope could not be written: {e}")).at_place("standard output"))
        }
        _ => Ok(ExitStatus::Done),
    }
}
