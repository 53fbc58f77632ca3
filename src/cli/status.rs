use std::collections::BTreeMap;
use std::path::PathBuf;

use airpouch::code::{Code, Severity};
use airpouch::destination::Destination;
use airpouch::error::Result;
use airpouch::findings::missing::{self, never_comes};
use airpouch::ledger::exporter::{ExporterView, PackedConnector, PackedState, StreamRow};
use airpouch::ledger::importer::{AsideKind, BatchId, ImporterView, Standing, State};
use airpouch::ledger::{View, look};
use airpouch::report::{ExitStatus, Finding, Proof, head_code};
use airpouch::stream::Numbers;
use airpouch::text::{count, grouped, harmless, size};
use serde::Serialize;

use super::settings;
use super::terminal::Talk;

/// Say in one screen what came, went, waits and is missing
///
/// Reads the ledger without the lock; changes nothing. Each thing that waits comes with the one command that settles it.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch status\n  airpouch status --site /var/lib/airpouch --json | jq .report.streams"
)]
pub struct Args {
    /// The site of either side
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Both sides in one shape; what does not apply is empty.
#[derive(Debug, Default, Serialize)]
struct Status {
    role: &'static str,
    site: String,
    destination: Option<String>,
    streams: Vec<Stream>,
    refused_files: Vec<(String, String)>,
    to_settle: Vec<Finding>,
}

#[derive(Debug, Default, Serialize)]
struct Stream {
    stream: String,
    zone: String,
    first: u64,
    last: u64,
    head: Option<String>,
    batches: BTreeMap<&'static str, u64>,
    envelopes: u64,
    bytes: u64,
    connectors: BTreeMap<String, Connector>,
}

#[derive(Debug, Default, Serialize)]
struct Connector {
    name: String,
    envelopes: u64,
    held: u64,
    quarantined: u64,
}

pub fn run(args: &Args, talk: &Talk) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    talk.is_in(&site);
    let ledger = look(&site)?;
    let role = ledger.role();
    talk.is_at(role);
    let mut status = Status { role: role.word(), site: site.root().display().to_string(), ..Status::default() };
    match &ledger {
        View::Exporter(ledger) => exporter(ledger, &mut status)?,
        View::Importer(ledger) => importer(ledger, &mut status)?,
    }
    say(&status, talk);
    talk.json("status", ExitStatus::Done, &status);
    Ok(ExitStatus::Done)
}

fn exporter(ledger: &ExporterView, status: &mut Status) -> Result<()> {
    for row in ledger.streams()? {
        let mut stream = Stream { stream: row.stream.to_string(), zone: row.zone.clone(), ..Stream::default() };
        let mut not_carried: Vec<u64> = Vec::new();
        let (lost, proofs) = (ledger.lost_numbers(&row)?, ledger.proofs(&row)?);
        status.to_settle.extend(never_comes_finding(ledger, &row, &lost)?);
        stream.head = ledger.packed_head(&row)?.map(head_code);
        for PackedConnector { id, name, envelopes } in ledger.packed_connectors(&row)? {
            stream.connectors.insert(id, Connector { name, envelopes, ..Connector::default() });
        }
        for batch in ledger.packed_batches(&row)? {
            let sequence = batch.sequence;
            stream.first = if stream.first == 0 { sequence } else { stream.first };
            stream.last = sequence;
            stream.envelopes += batch.size.envelopes;
            stream.bytes += batch.size.bytes;
            let proofs = proofs.get(&sequence).map_or(&[][..], Vec::as_slice);
            let word = packed_word(batch.state, lost.contains(sequence), proofs);
            if word == NOT_CARRIED {
                not_carried.push(sequence);
            }
            *stream.batches.entry(word).or_default() += 1;
        }
        // What a stream that was given up had sealed goes nowhere any more; its content was packed again.
        if row.active && stream.batches.contains_key("sealed, not signed") {
            let sealed =
                Finding::new(Code::Sealed, "a batch is sealed and not signed: the run that made it ended early");
            status.to_settle.push(sealed.of_stream(row.stream).advise("run it again: airpouch pack"));
        }
        let not_carried: Numbers = not_carried.into_iter().collect();
        if !not_carried.is_empty() {
            let verb = if not_carried.only().is_some() { "is" } else { "are" };
            let what = format!("{} {verb} not carried yet", not_carried.words());
            status.to_settle.push(
                Finding::new(Code::NotCarried, what)
                    .of_batches(row.stream, &not_carried)
                    .advise("airpouch carry MEDIUM"),
            );
        }
        status.streams.push(stream);
    }
    status.refused_files = ledger.refused_files()?;
    if !status.refused_files.is_empty() {
        let what = format!("{} in the source that cannot be packed", count(status.refused_files.len() as u64, "file"));
        status.to_settle.push(
            Finding::new(Code::Refused, what)
                .advise("fix or remove them there; airpouch status --json lists each with its reason"),
        );
    }
    Ok(())
}

const NOT_CARRIED: &str = "packed, not carried";

/// How far a batch has come on its way to a medium, in words: by the best proof that a carry had.
fn packed_word(state: PackedState, is_lost: bool, proofs: &[Proof]) -> &'static str {
    let best = [Proof::Device, Proof::Replug, Proof::Cache, Proof::Sent].into_iter().find(|p| proofs.contains(p));
    match (state, best) {
        _ if is_lost => "lost, will never come",
        (PackedState::Sealed, _) => "sealed, not signed",
        (PackedState::Packed, None) => NOT_CARRIED,
        (PackedState::Packed, Some(Proof::Device)) => "carried (device)",
        (PackedState::Packed, Some(Proof::Replug)) => "carried (replug)",
        (PackedState::Packed, Some(Proof::Cache)) => "carried (cache)",
        (PackedState::Packed, Some(Proof::Sent)) => "sent",
    }
}

/// Batches of a stream that will never come, and what became of their envelopes.
fn never_comes_finding(ledger: &ExporterView, stream: &StreamRow, lost: &Numbers) -> Result<Option<Finding>> {
    if lost.is_empty() {
        return Ok(None);
    }
    let Some(active) = ledger.active_stream(&stream.zone)? else { return Ok(None) };
    let (mut envelopes, mut again, mut within) = (0, 0, Numbers::default());
    for sequence in lost.iter() {
        let loss = ledger.loss(stream, &active, sequence)?;
        (envelopes, again) = (envelopes + loss.envelopes, again + loss.again);
        within = within.with(&loss.within);
    }
    let accept = format!("airpouch stream accept {} {lost} --reason \"lost at the exporter\"", stream.stream);
    let what = never_comes(lost, envelopes, again, &within);
    let finding = Finding::new(Code::NeverComes, what).weighing(Severity::Note);
    Ok(Some(finding.of_batches(stream.stream, lost).advise(format!("at the importer, if it still waits: {accept}"))))
}

fn importer(ledger: &ImporterView, status: &mut Status) -> Result<()> {
    status.destination = ledger.destination()?.map(|d| Destination::shown(&d.kind, &d.address));
    for summary in ledger.stream_summaries()? {
        let mut stream = Stream {
            stream: summary.stream.to_string(),
            zone: summary.zone,
            first: summary.first,
            last: summary.last,
            head: summary.head.map(head_code),
            envelopes: summary.size.envelopes,
            bytes: summary.size.bytes,
            ..Stream::default()
        };
        for (state, standing, number) in summary.batches {
            *stream.batches.entry(word(state, standing)).or_default() += number;
        }
        for came in ledger.came_connectors(summary.stream)? {
            let connector = Connector { name: came.name, envelopes: came.envelopes, ..Connector::default() };
            stream.connectors.insert(came.id, connector);
        }
        status.streams.push(stream);
    }
    let at: BTreeMap<String, usize> =
        status.streams.iter().enumerate().map(|(at, stream)| (stream.stream.clone(), at)).collect();
    for (stream, connector, is_held, number) in ledger.aside_by_connector()? {
        let Some(at) = at.get(&stream.to_string()) else { continue };
        let connector = status.streams[*at].connectors.entry(connector).or_default();
        *if is_held { &mut connector.held } else { &mut connector.quarantined } += number;
    }
    ledger.each_open_batch(|batch| {
        status.to_settle.push(batch_to_settle(&batch));
        Ok(())
    })?;
    status.to_settle.extend(missing::findings(&missing::all(ledger)?));
    status.to_settle.extend(missing::gone_works(ledger)?);
    aside_to_settle(ledger, status)
}

/// Where a batch stands, in words.
fn word(state: State, standing: Option<Code>) -> &'static str {
    match (state, standing) {
        (State::Delivered, _) => "delivered",
        (State::Admitted, _) => "being delivered",
        (State::Incomplete, _) => "incomplete",
        (State::Refused, _) => "refused",
        (State::Whole, Some(Code::Fork)) => "held: fork",
        (State::Whole, Some(Code::Unlinked)) => "held: unlinked",
        (State::Whole, Some(Code::Waiting)) => "held: batches before it are missing",
        (State::Whole, _) => "taken, not delivered",
    }
}

fn aside_to_settle(ledger: &ImporterView, status: &mut Status) -> Result<()> {
    let (mut applicant, mut held, mut quarantined) = (0, 0, 0);
    for count in ledger.aside_counts()? {
        *match (count.kind, count.for_applicant) {
            (AsideKind::Held, true) => &mut applicant,
            (AsideKind::Held, false) => &mut held,
            (AsideKind::Quarantined | AsideKind::Released, _) => &mut quarantined,
        } += count.number;
    }
    for (number, code, what, advice) in [
        (applicant, Code::Applicant, "waiting for an applicant that is not mapped", "airpouch applicants"),
        (held, Code::Held, "held", "airpouch quarantine list, which says for each what lets it go"),
        (quarantined, Code::Quarantined, "quarantined", "airpouch quarantine list"),
    ] {
        if number > 0 {
            let what = format!("{} {what}", count(number, "envelope"));
            status.to_settle.push(Finding::new(code, what).weighing(Severity::Note).advise(advice));
        }
    }
    Ok(())
}

fn batch_to_settle(of: &Standing) -> Finding {
    let BatchId { sequence, sha256, .. } = of.batch;
    let (code, what, advice) = match (of.state, of.standing) {
        (State::Incomplete, _) => (
            Code::IncompleteBatch,
            "parts of it are missing",
            format!("at the exporter: airpouch carry MEDIUM --resend {sequence}"),
        ),
        (State::Admitted | State::Delivered, _) => {
            (Code::BeingDelivered, "it is not delivered to its end", "airpouch import".to_owned())
        }
        (State::Refused, _) => {
            (Code::Refused, "the signed manifest is wrong", "ask the exporter how it was made".to_owned())
        }
        (State::Whole, standing) => whole_to_settle(of.batch, standing),
    };
    let what = format!("batch {sequence} ({}): {what}", sha256.short());
    Finding::new(code, what).weighing(Severity::Note).of_batch(of.batch.stream, sequence.get()).advise(advice)
}

/// What settles a batch that is whole and was not admitted: another import does nothing for most of them.
fn whole_to_settle(batch: BatchId, standing: Option<Code>) -> (Code, &'static str, String) {
    let BatchId { stream, sequence, sha256, .. } = batch;
    match standing {
        Some(Code::Fork | Code::Unlinked) => (
            Code::Fork,
            "it does not fit what was delivered before",
            format!("ask the exporter; to take it: airpouch stream accept {stream} {sequence} {sha256} --reason TEXT"),
        ),
        Some(Code::Waiting) => (
            Code::Waiting,
            "the batches before it are missing",
            "it is delivered once they are here or given up; each gap has its command here".to_owned(),
        ),
        Some(Code::TooFewSignatures) => (
            Code::TooFewSignatures,
            "it has fewer signatures than trust.toml needs",
            "have the other key sign it (docs/operations.md), then: airpouch import MEDIUM, with its .sig file"
                .to_owned(),
        ),
        Some(Code::NotAllowed) => (
            Code::NotAllowed,
            "trust.toml does not let its key sign it",
            "if that is meant, say so in trust.toml, then: airpouch import".to_owned(),
        ),
        Some(Code::NoLongerTrusted) => (
            Code::NoLongerTrusted,
            "the key that signed it is not trusted any more",
            "put its public key back into the trust store, then: airpouch import; or leave it".to_owned(),
        ),
        Some(Code::WrongZone) => (
            Code::WrongZone,
            "it is meant for another zone",
            "if this site is that zone, set zone in airpouch.toml, then: airpouch import".to_owned(),
        ),
        Some(Code::ChangedInInbox) => (
            Code::ChangedInInbox,
            "its manifest in the inbox was changed",
            format!("at the exporter: airpouch carry MEDIUM --resend {stream}:{sequence}"),
        ),
        _ => (Code::Waiting, "it waits in the inbox", "airpouch import".to_owned()),
    }
}

fn numbers(first: u64, last: u64) -> String {
    if first == last { format!("batch {first}") } else { format!("batches {first} to {last}") }
}

fn say(status: &Status, talk: &Talk) {
    /// Connectors shown by name for one stream; the rest is counted.
    const SHOWN: usize = 12;
    talk.result(&format!("{} site {}", status.role, harmless(&status.site)));
    if let Some(destination) = &status.destination {
        talk.result(&format!("delivers to {}", harmless(destination)));
    }
    for s in &status.streams {
        talk.result("");
        let head = s.head.as_ref().map_or_else(String::new, |h| format!(", head code {h}"));
        talk.result(&format!("stream {} for zone {}{head}", s.stream, s.zone));
        if s.last > 0 {
            let states: Vec<String> = s.batches.iter().map(|(word, n)| format!("{} {word}", grouped(*n))).collect();
            talk.result(&format!("  {}: {}", numbers(s.first, s.last), states.join(", ")));
            talk.result(&format!("  {}, {}", count(s.envelopes, "envelope"), size(s.bytes)));
        }
        for connector in s.connectors.values().take(SHOWN) {
            let mut line = format!("    {:>9}  {}", grouped(connector.envelopes), harmless(&connector.name));
            for (number, word) in [(connector.held, "held"), (connector.quarantined, "quarantined")] {
                if number > 0 {
                    line.push_str(&format!(", {number} {word}"));
                }
            }
            talk.result(&line);
        }
        if s.connectors.len() > SHOWN {
            talk.result(&format!("    and {}", count((s.connectors.len() - SHOWN) as u64, "connector")));
        }
    }
    if status.streams.is_empty() {
        talk.result("nothing yet");
    }
    if !status.to_settle.is_empty() {
        talk.result("");
        talk.result("to settle:");
    }
    for finding in &status.to_settle {
        let of = finding.stream.map_or_else(String::new, |stream| format!(" (stream {stream})"));
        talk.result(&format!("  {}{of}", finding.what));
        if let Some(advice) = &finding.advice {
            talk.result(&format!("      {}", talk.complete(advice)));
        }
    }
}
