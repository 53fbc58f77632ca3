//! The parts of which a status is put together: header, what is to be settled, streams, connectors.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::times::last;
use super::{
    AcceptedPart, AsideStatus, Backlog, ConnectorStatus, QueueBacklog, Signer, StatusReport, StreamStatus, When, when,
};
use crate::code::Code;
use crate::stream::{Numbers, StreamId};
use crate::text::{count, grouped, harmless, size};

/// Digits of a stream's id where there is no room for all of it; `status` takes the beginning of one.
const SHORT_ID: usize = 8;

/// What the site is, where it delivers, and what waits there.
pub(super) fn header(report: &StatusReport) -> Vec<String> {
    let mut lines = vec![format!("{} site {}", report.role, harmless(&report.site))];
    if !report.signers.is_empty() {
        lines.push(format!("signs as {}", names(&report.signers)));
    }
    if let Some(destination) = &report.destination {
        lines.push(format!("delivers to {}", harmless(destination)));
    }
    if let Some(spool) = &report.spool {
        lines.push(format!("  {}", backlog(spool, report.now)));
    }
    if let Some(queues) = report.queues.as_ref().filter(|q| q.open_works + q.on_their_way > 0) {
        let works = count(queues.open_works, "work");
        let cut_off = match queues.on_their_way {
            0 => String::new(),
            sent => format!("; a run was cut off while it sent {}", count(sent, "envelope")),
        };
        lines.push(format!("  open there: {works}{cut_off}"));
    }
    lines.extend(report.queues.as_ref().and_then(|queues| ingestion(queues, report.now)));
    lines
}

/// What `follow` has read back; none if there was nothing to read.
fn ingestion(queues: &QueueBacklog, now: i64) -> Option<String> {
    let waiting = (queues.waiting_works > 0)
        .then(|| format!("{} to follow: airpouch follow", count(queues.waiting_works, "work")));
    if queues.ended_works == 0 {
        return waiting.map(|waiting| format!("  {waiting}"));
    }
    let also = [
        (queues.failed > 0).then(|| format!("{} not ingested", count(queues.failed, "object"))),
        (queues.refused > 0).then(|| format!("{} refused by its rules", count(queues.refused, "object"))),
        (queues.unknown_works > 0).then(|| format!("{} of unknown end", count(queues.unknown_works, "work"))),
        waiting,
    ];
    let also: Vec<String> = also.into_iter().flatten().collect();
    let also = if also.is_empty() { String::new() } else { format!("; {}", also.join(", ")) };
    let ingested = count(queues.ingested, "message");
    Some(format!("  ingested there: {ingested}, last seen {}{also}", when(queues.followed_at, now)))
}

fn backlog(Backlog { seen, error }: &Backlog, now: i64) -> String {
    if let Some(error) = error {
        return format!("what waits there cannot be seen: {}", harmless(error));
    }
    let more = if seen.is_more { "more than " } else { "" };
    let refused = match seen.refused {
        0 => String::new(),
        refused => format!("; {} that the broker refused", count(refused, "message")),
    };
    match seen.messages {
        0 => format!("no message waits there{refused}"),
        messages => {
            let verb = if messages == 1 { "waits" } else { "wait" };
            let since = when(seen.oldest, now);
            let messages = count(messages, "message");
            format!("{more}{messages} {verb} there ({}), the oldest since {since}{refused}", size(seen.bytes))
        }
    }
}

/// Whose keys these are; of an unknown one its id.
pub(super) fn names(signers: &[Signer]) -> String {
    let names: Vec<String> = signers.iter().map(name).collect();
    names.join(", ")
}

fn name(signer: &Signer) -> String {
    signer.who.as_ref().map_or_else(|| format!("key {}", signer.id()), |who| harmless(who))
}

impl Signer {
    /// The key id.
    pub(super) fn id(&self) -> String {
        self.key.to_string()[..16].to_owned()
    }
}

/// What waits for a person: of each thing its lines.
pub(super) fn settle(report: &StatusReport) -> Vec<Vec<String>> {
    let lines = |line: &super::SettleLine| {
        let advice = line.advice.iter().map(|advice| format!("      {advice}"));
        [format!("  {}", line.what)].into_iter().chain(advice).collect()
    };
    report.lines.iter().map(lines).collect()
}

/// A stream in some lines.
pub(super) fn long(report: &StatusReport, stream: &StreamStatus) -> Vec<String> {
    let now = report.now;
    // Anybody who has the medium can make the code of a head; at the exporter nobody takes it for more.
    let seen = if report.role == "importer" && !stream.is_paired { " (acknowledges nothing)" } else { "" };
    let head = stream.head.as_ref().map_or_else(String::new, |head| format!(", head code {}{seen}", head.code));
    let ended = if stream.is_active { "" } else { ", ended" };
    let mut lines = vec![format!("stream {} for zone {}{head}{ended}", stream.stream, harmless(&stream.zone))];
    if stream.last > 0 {
        let states: Vec<String> = stream.batches.iter().map(|(word, n)| format!("{} {word}", grouped(*n))).collect();
        let numbers: Numbers = [stream.first..=stream.last].into_iter().collect();
        lines.push(format!("  {}: {}", numbers.words(), states.join(", ")));
        let envelopes = count(stream.envelopes, "envelope");
        lines.push(format!("  {envelopes}, {}{}", size(stream.bytes), went(report, stream)));
    }
    let (first, second) = match report.role {
        "exporter" => (("packed", &stream.last_packed), ("carried", &stream.last_carried)),
        _ => (("taken", &stream.last_taken), ("delivered", &stream.last_delivered)),
    };
    for (word, of) in [first, second] {
        lines.push(format!("  last {word}: {}", last(of.as_ref(), now)));
    }
    if report.role == "exporter" && (stream.is_paired || stream.last_acknowledged.is_some()) {
        lines.push(format!("  last acknowledged: {}", last(stream.last_acknowledged.as_ref(), now)));
    }
    if let Some(arrival) = &stream.arrival {
        lines.push(format!("  {}", arrival.words("")));
        lines.extend(arrival.command().map(|command| format!("    at the exporter: {command}")));
    }
    if let Some(oldest) = &stream.oldest_waiting {
        lines.push(format!("  waits longest: {}", oldest.words(now)));
    }
    if !stream.signers.is_empty() {
        lines.push(format!("  signed by {}", names(&stream.signers)));
    }
    let lost = lost(&stream.accepted);
    if !lost.is_empty() {
        lines.push(format!("  accepted as lost: {}", lost.words()));
    }
    lines
}

/// What became of the envelopes of a stream at the importer, unless all were delivered.
fn went(report: &StatusReport, stream: &StreamStatus) -> String {
    let waiting = stream.envelopes.saturating_sub(stream.delivered + stream.held + stream.quarantined);
    if report.role != "importer" || stream.delivered == stream.envelopes {
        return String::new();
    }
    let parts = [(stream.held, "held"), (stream.quarantined, "quarantined"), (waiting, "not delivered yet")];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = parts.map(|(number, word)| format!("{} {word}", grouped(number))).collect();
    format!(": {} delivered, {}", grouped(stream.delivered), parts.join(", "))
}

/// What was accepted as lost.
pub(super) fn lost(accepted: &[AcceptedPart]) -> Numbers {
    let lost = accepted.iter().filter(|part| part.sha256.is_none());
    lost.flat_map(|part| part.sequences.ranges().iter().cloned()).collect()
}

/// A stream in one line.
pub(super) fn short(report: &StatusReport, stream: &StreamStatus) -> String {
    let (word, of) = match report.role {
        "exporter" => ("carried", &stream.last_carried),
        _ => ("delivered", &stream.last_delivered),
    };
    let done = match of {
        None => format!("nothing {word} yet"),
        Some(of) => format!("batch {} {word} {}", of.sequence, when(of.at, report.now)),
    };
    let mut line = format!("  {} {}: {done}", short_id(stream.stream), harmless(&stream.zone));
    let waiting = batches_waiting(stream);
    let verb = if waiting == 1 { "waits" } else { "wait" };
    if waiting > 0 {
        line.push_str(&format!(", {} {verb}", count(waiting, "batch")));
    }
    let lost = lost(&stream.accepted).count();
    let numbers =
        [(stream.missing, "missing"), (stream.held, "held"), (stream.quarantined, "quarantined"), (lost, "lost")];
    for (number, word) in numbers.into_iter().filter(|(number, _)| *number > 0) {
        line.push_str(&format!(", {} {word}", grouped(number)));
    }
    if !stream.is_active {
        line.push_str(", ended");
    }
    if !stream.signers.is_empty() {
        line.push_str(&format!(", signed by {}", names(&stream.signers)));
    }
    line
}

/// The beginning of a stream's id.
pub(super) fn short_id(stream: StreamId) -> String {
    stream.to_string()[..SHORT_ID].to_owned()
}

/// Batches that have not come to where this side brings them.
pub(super) fn batches_waiting(stream: &StreamStatus) -> u64 {
    let is_done = |word: &str| {
        ["delivered", "delivered in part", "all set aside", "refused", "sent", "lost, will never come"].contains(&word)
            || word.starts_with("carried")
    };
    stream.batches.iter().filter(|(word, _)| !is_done(word)).map(|(_, number)| number).sum()
}

/// Which streams are shown first: those in which something is missing or waits, then those that were silent longest.
pub(super) fn by_need(report: &StatusReport) -> Vec<&StreamStatus> {
    let mut streams: Vec<&StreamStatus> = report.streams.iter().collect();
    streams.sort_by_key(|stream| {
        let trouble = stream.held + stream.quarantined;
        let last = stream.last_delivered.as_ref().or(stream.last_carried.as_ref());
        (!stream.is_active, Reverse((stream.missing, batches_waiting(stream), trouble)), last.and_then(|last| last.at))
    });
    streams
}

/// A connector, of all streams together.
pub(super) struct ConnectorRow<'a> {
    pub id: &'a str,
    pub newest: &'a ConnectorStatus,
    envelopes: u64,
    held: u64,
    quarantined: u64,
    pub last: Option<When>,
}

/// The connectors: those of which something is set aside first, the most first; then the others, the largest first.
pub(super) fn connectors(report: &StatusReport) -> Vec<ConnectorRow<'_>> {
    let mut rows: BTreeMap<&str, ConnectorRow<'_>> = BTreeMap::new();
    for (id, of) in report.streams.iter().flat_map(|stream| &stream.connectors) {
        let new = ConnectorRow { id, newest: of, envelopes: 0, held: 0, quarantined: 0, last: None };
        let row = rows.entry(id).or_insert(new);
        row.envelopes += of.envelopes;
        row.held += of.held;
        row.quarantined += of.quarantined;
        let (known, this) = (row.last.and_then(|last| last.at), of.last.and_then(|last| last.at));
        if row.last.is_none() || this > known {
            (row.last, row.newest) = (of.last, of);
        }
    }
    let mut rows: Vec<ConnectorRow<'_>> = rows.into_values().collect();
    rows.sort_by(|a, b| {
        let rank = |row: &ConnectorRow<'_>| Reverse((row.held + row.quarantined, row.envelopes));
        rank(a).cmp(&rank(b)).then_with(|| a.newest.name.cmp(&b.newest.name))
    });
    rows
}

/// A connector in one line.
pub(super) fn connector(report: &StatusReport, row: &ConnectorRow<'_>) -> String {
    let mut line = format!("    {:>9}  {}", grouped(row.envelopes), harmless(&row.newest.name));
    line.push_str(&set_aside(row.held, row.quarantined));
    if let Some(last) = &row.last {
        let word = if report.role == "exporter" { "packed" } else { "came" };
        line.push_str(&format!(", last {word} {}", when(last.at, report.now)));
    }
    line
}

/// How much is set aside, if anything is.
pub(super) fn set_aside(held: u64, quarantined: u64) -> String {
    let parts = [(held, "held"), (quarantined, "quarantined")].into_iter().filter(|(number, _)| *number > 0);
    parts.map(|(number, word)| format!(", {} {word}", grouped(number))).collect()
}

/// What is set aside for one reason, with the command that shows it.
pub(super) fn aside(aside: &AsideStatus, of: &str, now: i64) -> [String; 2] {
    let what = format!(
        "{}{of} {}: {}; the oldest came by {}",
        count(aside.envelopes, "envelope"),
        aside.kind,
        aside.code.word().replace('-', " "),
        aside.oldest.words(now)
    );
    let command = if aside.code == Code::Applicant { "airpouch applicants" } else { "airpouch quarantine list" };
    [what, format!("    {command}")]
}
