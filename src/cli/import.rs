use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use airpouch::applicants::Applicants;
use airpouch::destination::Destination;
use airpouch::digest::Digest;
use airpouch::error::{Error, Result};
use airpouch::examining::Program;
use airpouch::import::{Import, ImportOptions, Officers, OnGap, OtherDestination};
use airpouch::journal;
use airpouch::limits::{EXAMINED_APART_LIMIT, SET_ASIDE_QUOTA};
use airpouch::policy::Policy;
use airpouch::report::{ExitStatus, ImportReport, fold};
use airpouch::site::Site;
use airpouch::trust::TrustStore;
use clap::builder::BoolishValueParser;

use super::command_line::{CommandLine, Meant};
use super::output::Output;
use super::settings::{self, Settings};
use super::{keys, quarantine, reach, record};

/// How long delivered batches stay in the inbox.
const KEEP: &str = "30d";

/// Take batches into custody and deliver what may cross
///
/// Copies what a trusted key signed from MEDIUM into the inbox of the site, so that the medium may leave; then delivers
/// each new envelope once, in order. Without MEDIUM it goes on from the inbox. What may not cross is kept, with its reason.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch import /media/stick --to opencti+https://cti.example --token-file /etc/airpouch/token\n  airpouch import /media/stick --to spool:/var/spool/airpouch --trust /etc/airpouch/trust\n  airpouch import --applicant 7c9e6679-7425-40de-944b-e07fc1f90ae7=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10\n  airpouch import /media/stick       with to and trust in airpouch.toml, from cron\n  airpouch import --wait 15m         after the run that is at work"
)]
pub struct Args {
    /// The directory where the medium is mounted; none: go on from the inbox
    medium: Option<PathBuf>,
    /// Where to deliver: opencti+https://HOST, the platform, with its broker; amqps://HOST, a broker alone; spool:PATH,
    /// messages for the queues of a broker, by connector; or dir:PATH, envelopes for the stock diode-import connector
    /// 6.9.10 or newer (or `to` in airpouch.toml)
    #[arg(long, value_name = "DESTINATION", env = "AIRPOUCH_TO")]
    to: Option<String>,
    /// The directory with the exporter's public keys, and trust.toml [default: trust/ in the site]
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_TRUST")]
    trust: Option<PathBuf>,
    /// The importer's site
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// The zone that this is [default: default]
    #[arg(long, value_name = "NAME", env = "AIRPOUCH_ZONE")]
    zone: Option<String>,
    /// What may cross [default: policy.toml in the site]
    #[arg(long, value_name = "FILE", env = "AIRPOUCH_POLICY")]
    policy: Option<PathBuf>,
    /// Who an applicant of the other side is here; also FROM:TO,FROM:TO as OpenCTI has it
    #[arg(long, value_name = "FROM=TO", env = "AIRPOUCH_APPLICANT")]
    applicant: Vec<String>,
    /// What to do about applicants that are not mapped: hold, or default=ID [default: hold]
    #[arg(long, value_name = "RULE", env = "AIRPOUCH_UNMAPPED")]
    unmapped: Option<String>,
    /// What to do when batches are missing: deliver the later ones, or hold them [default: deliver]
    #[arg(long, value_name = "RULE", env = "AIRPOUCH_ON_GAP", value_parser = ["deliver", "hold"])]
    on_gap: Option<String>,
    /// Deliver again what is on MEDIUM, or without MEDIUM what is in the inbox
    #[arg(long)]
    redeliver: bool,
    /// DESTINATION is another destination: deliver everything in the inbox again
    #[arg(long, conflicts_with = "same_destination")]
    new_destination: bool,
    /// DESTINATION is the same destination under another address
    #[arg(long)]
    same_destination: bool,
    /// Continue with a ledger that is not the one this site used last, such as one from a backup: what is in the inbox and
    /// not in that ledger is delivered again; a file that is still in dir: with the same bytes is not written twice
    #[arg(long)]
    accept_ledger: bool,
    /// How long delivered batches stay in the inbox, such as 90d [default: 30d]
    #[arg(long, value_name = "TIME", env = "AIRPOUCH_KEEP")]
    keep: Option<String>,
    /// Report a connector that came every day and has brought nothing for this time, such as 2d, or off [default: 3d]
    #[arg(long, value_name = "TIME", env = "AIRPOUCH_QUIET_AFTER")]
    quiet_after: Option<String>,
    /// How much of one stream is copied to held/ and quarantine/, such as 500MB; the rest is kept in the inbox only
    /// [default: 4GiB]
    #[arg(long, value_name = "SIZE", env = "AIRPOUCH_SET_ASIDE_QUOTA")]
    set_aside_quota: Option<String>,
    /// Processors to use [default: all]
    #[arg(long, value_name = "N", env = "AIRPOUCH_THREADS")]
    threads: Option<usize>,
    /// Trust keys that are published with airpouch's sources; for tests only
    #[arg(long, env = "AIRPOUCH_TEST_KEYS", value_parser = BoolishValueParser::new())]
    test_keys: bool,
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
    reach: reach::Args,
    #[command(flatten)]
    record: record::Args,
}

pub fn run(typed: &Args, line: &CommandLine, output: &Output) -> Result<ExitStatus> {
    let Meant { args, site, set } = line.meant::<Args>(typed.site.as_deref(), output)?;
    let options = options(&args, &set, &site, settings::destination(args.to.as_ref())?, output)?;
    let trust = args.trust.clone().unwrap_or_else(|| site.trust());
    let store = keys::trust_store(&trust, args.test_keys, output)?;
    warn_of_unknown_keys(&options.applicants, &store, &site, output);
    if let Some(medium) = &args.medium
        && !medium.is_dir()
    {
        return Err(Error::failed("there is no such medium")
            .at(medium)
            .advise("mount it, and name the directory where it is mounted"));
    }
    let mut report = ImportReport {
        destination: options.to.to_string(),
        is_narrowed: options.applicants.is_narrowed(),
        ..ImportReport::default()
    };
    output.stops_when_asked();
    let ended = record::importer_by(&site, &args.record, args.policy.as_deref(), output, |ledger, _| {
        let (site, trust, options) = (&site, &store, &options);
        Import { site, ledger, trust, options, observer: output, report: &mut report }.run(args.medium.as_deref())
    })?;
    fold(&mut report.findings);
    Ok(output.show_ended(&report, ended))
}

/// Reads all that import would read from the site, so that a check refuses what import would refuse.
pub fn read_settings(line: &CommandLine, set: &Settings, site: &Site, output: &Output) -> Result<()> {
    let args: Args = line.of_site("import", set, site)?;
    policy(args.policy.as_deref(), site)?;
    keep(&args)?;
    settings::quiet_after(args.quiet_after.as_deref())?;
    quota(&args)?;
    settings::zone(args.zone.as_deref())?;
    settings::threads(args.threads)?;
    // import may name another one; what the site has is read.
    let trust = args.trust.clone().or_else(|| Some(site.trust()).filter(|dir| dir.exists()));
    let store = trust.map(|dir| keys::trust_store(&dir, args.test_keys, output)).transpose()?;
    if let Some(store) = store {
        let applicants = settings::applicants(&[], args.unmapped.as_deref(), set, site)?;
        warn_of_unknown_keys(&applicants, &store, site, output);
    }
    Ok(())
}

/// A mapping for a key that is not trusted applies to nothing.
fn warn_of_unknown_keys(applicants: &Applicants, store: &TrustStore, site: &Site, output: &Output) {
    let trusted: BTreeSet<Digest> = store.keys().map(|(key, _)| key.fingerprint()).collect();
    for key in applicants.keys().filter(|key| !trusted.contains(key)) {
        let what = format!("no key in the trust store has the fingerprint {key} of [applicants.\"{key}\"]");
        let advice = "compare it: openssl pkey -pubin -in KEY.pub.pem -outform DER | sha256sum";
        output.warn(&what, &site.settings(), Some(advice));
    }
}

/// The policy that was named or that the site has, and its text; empty where neither is there and the defaults hold.
pub fn policy(given: Option<&Path>, site: &Site) -> Result<(Policy, String)> {
    let path = given.map_or_else(|| site.policy(), Path::to_owned);
    match Site::text_of(&path)? {
        Some(text) => Ok((Policy::from_toml(&text).map_err(|e| Error::usage(e).at(&path))?, text)),
        None if given.is_some() => Err(Error::usage("there is no such policy").at(&path)),
        None => Ok((Policy::default(), String::new())),
    }
}

fn keep(args: &Args) -> Result<u64> {
    settings::duration(args.keep.as_deref().unwrap_or(KEEP))
}

fn quota(args: &Args) -> Result<u64> {
    settings::bytes(args.set_aside_quota.as_deref(), SET_ASIDE_QUOTA)
}

/// The officers who sign releases; none where the policy demands no signatures.
fn officers(policy: &Policy, site: &Site, output: &Output) -> Result<Option<Officers>> {
    let Some(store) = quarantine::officers(&policy.record, site, output)? else { return Ok(None) };
    let site = journal::public_key(site)?.fingerprint();
    Ok(Some(Officers { store, site }))
}

fn options(args: &Args, set: &Settings, site: &Site, to: Destination, output: &Output) -> Result<ImportOptions> {
    let other_destination = match (args.new_destination, args.same_destination) {
        (true, _) => OtherDestination::New,
        (_, true) => OtherDestination::Same,
        _ => OtherDestination::Ask,
    };
    let (policy, policy_text) = policy(args.policy.as_deref(), site)?;
    Ok(ImportOptions {
        zone: settings::zone(args.zone.as_deref())?,
        to,
        reach: args.reach.reach(output)?,
        connectors: settings::connectors(set)?,
        other_destination,
        officers: officers(&policy, site, output)?,
        policy,
        policy_text,
        applicants: settings::applicants(&args.applicant, args.unmapped.as_deref(), set, site)?,
        on_gap: if args.on_gap.as_deref() == Some("hold") { OnGap::Hold } else { OnGap::Deliver },
        accept_ledger: args.accept_ledger,
        redeliver: args.redeliver,
        keep: keep(args)?,
        quiet_after: settings::quiet_after(args.quiet_after.as_deref())?,
        set_aside_quota: quota(args)?,
        threads: settings::threads(args.threads)?,
        at: settings::timestamp()?,
        call: output.call(),
        program: Program { path: std::env::current_exe().unwrap_or_default(), limit: EXAMINED_APART_LIMIT },
    })
}
