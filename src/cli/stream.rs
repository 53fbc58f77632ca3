use std::collections::BTreeMap;
use std::path::PathBuf;

use airpouch::digest::Digest;
use airpouch::error::{Error, Result};
use airpouch::findings::missing;
use airpouch::ledger::exporter::ExporterLedger;
use airpouch::ledger::importer::ImporterLedger;
use airpouch::renew::renew;
use airpouch::report::ExitStatus;
use airpouch::shelf::kept::KeptShelf;
use airpouch::stream::{NotNumbers, Numbers, StreamId};
use airpouch::text::{count, harmless};
use serde_json::json;

use super::terminal::Talk;
use super::{keys, settings};

/// Go on after a ledger was restored, or settle a gap or a fork
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
    /// Begin a new stream that goes on from the last known batch (exporter)
    Renew(Renew),
    /// Wait no longer for numbers, or take a batch that forks its stream (importer)
    Accept(Accept),
}

#[derive(clap::Args, Debug)]
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
}

#[derive(clap::Args, Debug)]
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
}

impl Args {
    pub fn json(&self) -> bool {
        match &self.verb {
            Verb::Renew(args) => args.json,
            Verb::Accept(args) => args.json,
        }
    }
}

pub fn run(args: &Args, talk: &Talk) -> Result<ExitStatus> {
    match &args.verb {
        Verb::Renew(args) => run_renew(args, talk),
        Verb::Accept(args) => accept(args, talk),
    }
}

fn run_renew(args: &Renew, talk: &Talk) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    talk.is_in(&site);
    let set = settings::load(&site)?;
    let keys: Vec<_> = match &args.trust {
        Some(dir) => keys::trust_store(dir, true, talk)?.keys().map(|(key, _)| key.clone()).collect(),
        None => Vec::new(),
    };
    // With public keys at hand a lost site is made again around what was copied into its outbox.
    if !site.exists() && (args.trust.is_none() || !site.outbox().is_dir()) {
        return Err(Error::failed("no airpouch site here").at(site.root()).advise("name it with --site DIR"));
    }
    if let Some(medium) = &args.medium {
        site.refuse_inside("the medium", medium)?;
    }
    let (mut ledger, _) = ExporterLedger::open(&site)?;
    let zone = settings::exporter_zone(args.zone.as_deref(), &set, &ledger, false)?;
    let done = renew(
        &mut ledger,
        &KeptShelf::new(site.outbox()),
        args.medium.as_deref(),
        &zone,
        &keys,
        &settings::timestamp()?,
    )?;
    for batch in &done.taken_in {
        talk.result(&format!(
            "taken into the ledger: batch {} of stream {}, {}",
            batch.sequence,
            batch.stream,
            count(batch.envelopes, "envelope")
        ));
    }
    for batch in &done.given_up {
        talk.result(&format!(
            "batch {} of stream {} will never come: its files were lost; what of its {} still lies in the source goes with the next pack",
            batch.sequence,
            batch.stream,
            count(batch.envelopes, "envelope")
        ));
    }
    let from = match done.succeeds {
        Some(s) => format!("goes on from batch {} of stream {}", s.sequence, s.stream),
        None => "goes on from an empty stream".to_owned(),
    };
    talk.result(&format!("new stream {} for zone {}: {from}", done.stream, done.zone));
    talk.note("the importer accepts it if the key may sign the old stream too");
    talk.json(
        "stream renew",
        ExitStatus::Done,
        &json!({"stream": done.stream, "zone": done.zone, "succeeds": done.succeeds, "taken_in": done.taken_in, "given_up": done.given_up}),
    );
    Ok(ExitStatus::Done)
}

fn accept(args: &Accept, talk: &Talk) -> Result<ExitStatus> {
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
    talk.is_in(&site);
    if !site.exists() {
        return Err(Error::failed("no airpouch site here").at(site.root()).advise("name it with --site DIR"));
    }
    let (mut ledger, _) = ImporterLedger::open(&site)?;
    if args.sha256.is_none() && accept_gone(&ledger, stream, &numbers)? {
        talk.result(&format!(
            "accepted what was lost with the works of {} of stream {stream}, which were cleared on the platform",
            numbers.words()
        ));
        talk.json("stream accept", ExitStatus::Done, &json!({"stream": stream, "numbers": numbers.to_string()}));
        return Ok(ExitStatus::Done);
    }
    if args.sha256.is_none() {
        let missing = missing::all(&ledger)?.into_iter().filter(|(s, ..)| *s == stream).map(|(_, m, _)| m.numbers);
        check_missing(&numbers, &missing.collect()).map_err(|range| {
            let what = if range.only().is_some() { "is" } else { "are" };
            Error::usage(format!("{} of stream {stream} {what} not missing", range.words()))
                .advise("airpouch status lists what is")
        })?;
    }
    let at = settings::timestamp()?;
    match &args.sha256 {
        None => {
            ledger.settle_gap(stream, &numbers, &args.reason, &at)?;
            talk.result(&format!(
                "gave up on {} of stream {stream}; if it arrives later it is delivered and marked late",
                numbers.words()
            ));
        }
        Some(text) => {
            let sha256: Digest = text
                .parse()
                .map_err(|e| Error::usage(format!("{e}")).advise("the finding about the fork has the whole command"))?;
            let known = ledger
                .incoming(sha256)?
                .filter(|r| r.manifest.stream == stream && numbers.only() == Some(r.manifest.sequence.get()));
            let Some(known) = known else {
                return Err(Error::usage("no batch of this number and digest is in the inbox")
                    .advise("airpouch status shows what is there"));
            };
            let sequence = known.manifest.sequence;
            ledger.accept_fork(stream, sequence.get(), sha256, &args.reason, &at)?;
            talk.result(&format!("accepted: batch {sequence} ({}) is delivered with the next import", sha256.short()));
        }
    }
    talk.json("stream accept", ExitStatus::Done, &json!({"stream": stream, "numbers": numbers.to_string(), "from": numbers.first(), "to": numbers.last(), "sha256": args.sha256, "reason": args.reason}));
    Ok(ExitStatus::Done)
}

/// Some numbers of each range have to be missing, and none may be a number that is still to come.
fn check_missing(asked: &Numbers, missing: &Numbers) -> std::result::Result<(), Numbers> {
    let wrong: Numbers = asked
        .ranges()
        .iter()
        .filter(|range| !missing.overlaps(range) || Some(*range.end()) > missing.last())
        .cloned()
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Settles works that were cleared with what was delivered under them, if these numbers are nothing else.
fn accept_gone(ledger: &ImporterLedger, stream: StreamId, numbers: &Numbers) -> Result<bool> {
    let Some(destination) = ledger.destination()? else { return Ok(false) };
    let mut batches = BTreeMap::new();
    for work in ledger.gone_works(destination.id)? {
        if let Some(row) = ledger.incoming_by_id(work.batch)?.filter(|row| row.manifest.stream == stream) {
            batches.insert(row.manifest.sequence.get(), work.batch);
        }
    }
    let gone: Numbers = batches.keys().copied().collect();
    if !numbers.without(&gone).is_empty() {
        return Ok(false);
    }
    for (_, batch) in batches.into_iter().filter(|(sequence, _)| numbers.contains(*sequence)) {
        ledger.settle_gone(destination.id, batch)?;
    }
    Ok(true)
}
