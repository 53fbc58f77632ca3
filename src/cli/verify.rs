use std::path::{Path, PathBuf};

use airpouch::clock;
use airpouch::error::{Error, Result};
use airpouch::policy::Policy;
use airpouch::report::ExitStatus;
use airpouch::site::Site;
use airpouch::verify::{VerifyOptions, verify};
use clap::builder::BoolishValueParser;

use super::output::Output;
use super::{keys, settings};

/// Check a medium by hand: needs public keys, no site, no network
///
/// Checks every signature, digest, header and envelope of every batch on MEDIUM. Reads it once, writes nothing.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch verify /media/stick --trust /etc/airpouch/trust\n  airpouch verify /media/stick --trust /etc/airpouch/trust --zone restricted --policy policy.toml"
)]
pub struct Args {
    /// The directory where the medium is mounted
    medium: PathBuf,
    /// The directory with the exporter's public keys, and trust.toml
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_TRUST")]
    trust: PathBuf,
    /// The zone that this is; without it the batch's zone is shown and not judged
    #[arg(long, value_name = "NAME", env = "AIRPOUCH_ZONE")]
    zone: Option<String>,
    /// Say what this policy would hold or quarantine
    #[arg(long, value_name = "FILE", env = "AIRPOUCH_POLICY")]
    policy: Option<PathBuf>,
    /// Processors to use [default: all]
    #[arg(long, value_name = "N", env = "AIRPOUCH_THREADS")]
    threads: Option<usize>,
    /// Trust keys that are published with airpouch's sources; for tests only
    #[arg(long, env = "AIRPOUCH_TEST_KEYS", value_parser = BoolishValueParser::new())]
    test_keys: bool,
    /// Print each finding on its own, instead of one line for those of one kind and connector
    #[arg(long)]
    pub all: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    if let Some(zone) = &args.zone {
        settings::check_zone(zone)?;
    }
    let store = keys::trust_store(&args.trust, args.test_keys, output)?;
    let policy = args.policy.as_deref().map(policy_file).transpose()?;
    let threads = settings::threads(args.threads)?;
    let options = VerifyOptions { zone: args.zone.clone(), policy, threads, now: clock::now().0 };
    Ok(output.show(&verify(&args.medium, &store, &options, output)?))
}

/// A policy that was named, and so has to be there.
pub fn policy_file(path: &Path) -> Result<Policy> {
    let text = Site::text_of(path)?.ok_or_else(|| Error::usage("there is no such policy").at(path))?;
    Policy::from_toml(&text).map_err(|e| Error::usage(e).at(path))
}
