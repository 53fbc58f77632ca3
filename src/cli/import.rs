use std::collections::BTreeMap;
use std::path::PathBuf;

use airpouch::error::{Error, Result};
use airpouch::import::decide::Applicants;
use airpouch::import::{ImportOptions, OnGap, OtherDestination, import};
use airpouch::ledger::Ledger;
use airpouch::limits::SET_ASIDE_QUOTA;
use airpouch::policy::Policy;
use airpouch::report::{ExitStatus, ImportReport, Outcome, fold, status_of};
use airpouch::sink::Destination;
use airpouch::site::{Role, Site};
use airpouch::text::{count, grouped, harmless, parse_size, size};
use clap::builder::BoolishValueParser;

use super::settings::{self, Amount, Settings};
use super::terminal::Talk;
use super::verify::policy_file;
use super::{applicants, keys, reach};

/// How long delivered batches stay in the inbox.
const KEEP: &str = "30d";

/// Take batches into custody and deliver what may cross
///
/// Copies what a trusted key signed from MEDIUM into the inbox of the site, so that the medium may leave; then delivers
/// each new envelope once, in order. Without MEDIUM it goes on from the inbox. What may not cross is kept, with its reason.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch import /media/stick --to opencti+https://cti.example --token-file /etc/airpouch/token\n  airpouch import /media/stick --to spool:/var/spool/airpouch --trust /etc/airpouch/trust\n  airpouch import --applicant 7c9e6679-7425-40de-944b-e07fc1f90ae7=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10\n  airpouch import /media/stick       with to and trust in airpouch.toml, from cron"
)]
pub struct Args {
    /// The directory where the medium is mounted; none: go on from the inbox
    medium: Option<PathBuf>,
    /// Where to deliver: opencti+https://HOST, the platform, with its broker; amqps://HOST, a broker alone; spool:PATH,
    /// messages for the queues of a broker, by connector; or dir:PATH, envelopes for the stock diode-import connector
    /// 6.9.10 or newer (or `to` in airpouch.toml)
    #[arg(long, value_name = "SINK", env = "AIRPOUCH_TO")]
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
    /// What to do about numbers that have not come: deliver what is there, or hold it [default: deliver]
    #[arg(long, value_name = "RULE", env = "AIRPOUCH_ON_GAP", value_parser = ["deliver", "hold"])]
    on_gap: Option<String>,
    /// Deliver again what lies on MEDIUM, or without one what lies in the inbox
    #[arg(long)]
    redeliver: bool,
    /// SINK is another destination: deliver everything in the inbox again
    #[arg(long, conflicts_with = "same_destination")]
    new_destination: bool,
    /// SINK is the same destination under another address
    #[arg(long)]
    same_destination: bool,
    /// Go on with a ledger that is not the one this site worked with last, such as one from a backup: what lies in the
    /// inbox and that ledger does not know is delivered again; an equal file that still lies in dir: is not doubled
    #[arg(long)]
    accept_ledger: bool,
    /// How long delivered batches stay in the inbox, such as 90d [default: 30d]
    #[arg(long, value_name = "TIME", env = "AIRPOUCH_KEEP")]
    keep: Option<String>,
    /// How much of one stream is copied to held/ and quarantine/, such as 500MB; what is more is kept in the inbox alone
    /// [default: 4GiB]
    #[arg(long, value_name = "SIZE", env = "AIRPOUCH_SET_ASIDE_QUOTA")]
    set_aside_quota: Option<String>,
    /// Processors to use [default: all]
    #[arg(long, value_name = "N", env = "AIRPOUCH_THREADS")]
    threads: Option<usize>,
    /// Trust keys that are published with airpouch's sources; for tests only
    #[arg(long, env = "AIRPOUCH_TEST_KEYS", value_parser = BoolishValueParser::new())]
    test_keys: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    reach: reach::Args,
}

pub fn run(args: &Args, talk: &Talk) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    let set = settings::load(&site)?;
    let options = options(args, &set, &site, settings::destination(args.to.as_ref(), &set)?, talk)?;
    let trust = args.trust.clone().or(set.trust.clone()).unwrap_or_else(|| site.trust());
    let store = keys::trust_store(&trust, args.test_keys || set.test_keys.unwrap_or(false), talk)?;
    if let Some(medium) = &args.medium
        && !medium.is_dir()
    {
        return Err(Error::failed("there is no such medium")
            .at(medium)
            .advise("mount it, and name the directory where it is mounted"));
    }
    let (mut ledger, made) = Ledger::open(&site, Role::Importer)?;
    if made {
        talk.note(&format!("made the importer's site {}", site.root().display()));
    }
    let mut report = ImportReport::default();
    let ended = import(&site, &mut ledger, args.medium.as_deref(), &store, &options, talk, &mut report);
    fold(&mut report.findings);
    say(&report, &options, talk);
    Ok(talk.end_of("import", status_of(&report.findings), &report, ended))
}

fn options(args: &Args, set: &Settings, site: &Site, to: Destination, talk: &Talk) -> Result<ImportOptions> {
    let policy = match &args.policy {
        Some(path) => policy_file(path)?,
        None => match &set.policy {
            Some(path) => policy_file(path)?,
            None => match Site::text_of(&site.policy())? {
                Some(text) => Policy::from_toml(&text).map_err(|e| Error::usage(e).at(&site.policy()))?,
                None => Policy::default(),
            },
        },
    };
    let on_gap = match args.on_gap.as_deref().or(set.on_gap.as_deref()) {
        None | Some("deliver") => OnGap::Deliver,
        Some("hold") => OnGap::Hold,
        Some(other) => {
            return Err(Error::usage(format!("{:?} is no rule for a gap", harmless(other)))
                .advise("on_gap is \"deliver\" or \"hold\""));
        }
    };
    let other_destination = match (args.new_destination, args.same_destination) {
        (true, _) => OtherDestination::New,
        (_, true) => OtherDestination::Same,
        _ => OtherDestination::Ask,
    };
    Ok(ImportOptions {
        zone: settings::zone(args.zone.as_deref(), set)?,
        to,
        reach: args.reach.reach(set, talk)?,
        connectors: settings::connectors(set)?,
        other_destination,
        policy,
        applicants: applicants_of(&args.applicant, args.unmapped.as_deref(), set)?,
        on_gap,
        accept_ledger: args.accept_ledger,
        redeliver: args.redeliver,
        keep: settings::duration(args.keep.as_deref().or(set.keep.as_deref()).unwrap_or(KEEP))?,
        set_aside_quota: match &args.set_aside_quota {
            Some(text) => parse_size(text).map_err(Error::usage)?,
            None => set.set_aside_quota.as_ref().map_or(Ok(SET_ASIDE_QUOTA), Amount::bytes)?,
        },
        threads: settings::threads(args.threads, set)?,
        at: settings::timestamp()?,
    })
}

pub fn applicants_of(named: &[String], unmapped: Option<&str>, set: &Settings) -> Result<Applicants> {
    let mut map: BTreeMap<String, String> = set.applicants.clone();
    for text in named {
        map.extend(parse_mapping(text)?);
    }
    if let Some((from, _)) = map.iter().find(|(from, to)| from.trim().is_empty() || to.trim().is_empty()) {
        return Err(Error::usage(format!("the applicant {:?} is mapped to nobody", harmless(from)))
            .advise("give both ids, or leave the line out"));
    }
    let default = match unmapped.or(set.unmapped.as_deref()) {
        None | Some("hold") => None,
        Some(rule) => match rule.strip_prefix("default=").map(str::trim).filter(|id| !id.is_empty()) {
            Some(id) => Some(id.to_owned()),
            None => {
                return Err(Error::usage(format!("{:?} is no rule for unmapped applicants", harmless(rule)))
                    .advise("--unmapped hold, or --unmapped default=ID"));
            }
        },
    };
    let map: BTreeMap<_, _> =
        map.into_iter().map(|(from, to)| (from.trim().to_owned(), to.trim().to_owned())).collect();
    if let Some(to) = map.values().chain(&default).find(|to| !to.bytes().all(|b| b.is_ascii_graphic())) {
        return Err(Error::usage(format!("{:?} is no id of an OpenCTI user", harmless(to))).advise(
            "open the user in OpenCTI: its id stands in the address, such as 0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10",
        ));
    }
    Ok(Applicants { map, default })
}

/// `FROM=TO`, or OpenCTI's `FROM:TO,FROM:TO`.
pub fn parse_mapping(text: &str) -> Result<Vec<(String, String)>> {
    let wrong =
        || Error::usage(format!("{:?} maps no applicant", harmless(text))).advise("write FROM=TO, or FROM:TO,FROM:TO");
    let mut pairs = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (from, to) = part.split_once('=').or_else(|| part.split_once(':')).ok_or_else(wrong)?;
        let (from, to) = (from.trim(), to.trim());
        if from.is_empty() || to.is_empty() || to.contains([':', '=']) {
            return Err(wrong());
        }
        pairs.push((from.to_owned(), to.to_owned()));
    }
    if pairs.is_empty() { Err(wrong()) } else { Ok(pairs) }
}

fn say(report: &ImportReport, options: &ImportOptions, talk: &Talk) {
    for batch in &report.taken {
        talk.result(&format!(
            "taken batch {} of stream {}: {}, {}",
            batch.sequence,
            batch.stream,
            count(batch.envelopes, "envelope"),
            size(batch.bytes)
        ));
    }
    for done in &report.delivered_batches {
        let late = if done.late { ", late" } else { "" };
        let (batch, outcome) = (&done.batch, outcome(&done.outcome));
        talk.result(&format!("batch {}{late}, {}: {outcome}", batch.sequence, count(batch.envelopes, "envelope")));
    }
    let total = report.outcome;
    let news =
        total.delivered + total.held + total.quarantined + total.empty > 0 || !report.delivered_batches.is_empty();
    if news {
        let before = if report.released > 0 {
            format!(" ({} of them held or quarantined before)", report.released)
        } else {
            String::new()
        };
        let messages =
            if report.messages > 0 { format!(" in {}", count(report.messages, "message")) } else { String::new() };
        let envelopes = count(total.delivered, "envelope");
        talk.result(&format!("delivered {envelopes}{before}{messages} to {}", options.to));
        if report.incompatible > 0 {
            let objects = count(report.incompatible, "incompatible object");
            talk.result(&format!("passed over {objects}, as OpenCTI's client does; airpouch split FILE says why"));
        }
        for head in &report.heads {
            let (code, sequence) = (&head.code, head.sequence);
            let shown = if head.is_last { " (carry showed the same)" } else { "" };
            talk.result(&format!("head code {code} of batch {sequence}{shown}"));
        }
    }
    talk.findings(&report.findings);
    if total.held > 0 && !report.unmapped.is_empty() {
        talk.note("applicants of the other side that are mapped to nobody; put their ids here into airpouch.toml:");
        for line in applicants::lines_to_paste(&report.unmapped) {
            talk.note(&line);
        }
    }
    if !news && report.findings.is_empty() && talk.is_terminal() {
        talk.note("nothing to do");
    }
}

/// What became of a batch's envelopes, the zeros left out.
fn outcome(outcome: &Outcome) -> String {
    let parts = [
        (outcome.delivered, "delivered"),
        (outcome.already_delivered, "delivered before"),
        (outcome.empty, "with nothing to deliver"),
        (outcome.held, "held"),
        (outcome.quarantined, "quarantined"),
    ];
    let told: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{} {word}", grouped(*n))).collect();
    if told.is_empty() { "a heartbeat, or nothing new".to_owned() } else { told.join(", ") }
}
