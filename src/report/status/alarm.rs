//! A status for a monitoring system: one line and one of four states, as monitoring plugins have them.

use super::parts::{batches_waiting, connectors, short_id};
use super::{StatusReport, StatusView, StreamStatus, When};
use crate::code::Code;
use crate::text::{count, grouped, harmless};

/// How a site is, for a monitoring system; the numbers are those of monitoring plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// 0: nothing is wrong.
    Fine,
    /// 1: a person has to look at it.
    Warning,
    /// 3: that cannot be said.
    Unknown,
    /// 2: a person has to look at it now.
    Critical,
}

impl Alarm {
    /// The exit status.
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Fine => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Ages from which on a state is worse than fine, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// From here on it is a warning.
    pub warn: Option<u64>,
    /// From here on it is critical.
    pub crit: Option<u64>,
}

impl Thresholds {
    fn judge(&self, age: u64) -> Alarm {
        let exceeds = |threshold: Option<u64>| threshold.is_some_and(|threshold| age >= threshold);
        match (exceeds(self.crit), exceeds(self.warn)) {
            (true, _) => Alarm::Critical,
            (_, true) => Alarm::Warning,
            _ => Alarm::Fine,
        }
    }

    fn are_given(&self) -> bool {
        self.warn.is_some() || self.crit.is_some()
    }
}

/// How much something that waits at this side weighs.
fn is_alarming(role: &str, code: Code) -> Alarm {
    match code {
        Code::Fork | Code::JournalChanged | Code::ChangedInInbox => Alarm::Critical,
        // At the exporter it is about files of the source.
        Code::Refused if role == "importer" => Alarm::Critical,
        Code::Refused
        | Code::Waiting
        | Code::BeingDelivered
        | Code::NotCarried
        | Code::NeverComes
        | Code::NeverHeard => Alarm::Fine,
        _ => Alarm::Warning,
    }
}

/// The order in which things are settled: the smallest number first.
pub fn urgency(role: &str, code: Code) -> u8 {
    match (is_alarming(role, code), code) {
        (Alarm::Critical, _) => 0,
        (_, Code::Gap | Code::UnknownStart | Code::IncompleteBatch | Code::WorkGone | Code::IngestFailed) => 1,
        (_, Code::Applicant | Code::Held | Code::Quarantined) => 3,
        (Alarm::Warning | Alarm::Unknown, _) => 2,
        (_, Code::NotCarried | Code::Refused) => 4,
        (Alarm::Fine, _) => 5,
    }
}

/// The line of a state, with nothing in it that could end it, act on a terminal, or begin the figures too early.
pub fn one_line(alarm: Alarm, words: &str, figures: &str) -> String {
    let words: String = words.split('\n').map(harmless).collect::<Vec<_>>().join("; ").replace('|', "/");
    let figures = if figures.is_empty() { String::new() } else { format!(" | {figures}") };
    format!("AIRPOUCH {} - {words}{figures}", alarm.word())
}

/// How a site is, and the line that says so.
pub fn line(report: &StatusReport, thresholds: Thresholds) -> (Alarm, String) {
    let age = match report.view {
        StatusView::Connectors => connector_age(report, thresholds),
        _ => age(report, thresholds),
    };
    let waits = report.to_settle.iter().map(|finding| is_alarming(report.role, finding.code)).max();
    let alarm = age.alarm.max(waits.unwrap_or(Alarm::Fine));
    let words = format!("{}, {}, {}", report.role, age.words, waiting_words(report));
    let sum = |of: fn(&StreamStatus) -> u64| report.streams.iter().map(of).sum::<u64>();
    let aside = set_aside(report);
    let of = |threshold: Option<u64>| threshold.map_or_else(String::new, |seconds| seconds.to_string());
    let seconds = age.seconds.map_or_else(|| "U".to_owned(), |seconds| format!("{seconds}s"));
    let limits = if thresholds.are_given() {
        format!(";{};{}", of(thresholds.warn), of(thresholds.crit))
    } else {
        String::new()
    };
    let figures = format!(
        "age={seconds}{limits} waiting={} missing={} held={} quarantined={}",
        sum(batches_waiting),
        sum(|stream| stream.missing),
        aside.0,
        aside.1,
    );
    (alarm, one_line(alarm, &words, &figures))
}

/// How old the last one is.
struct Age {
    seconds: Option<u64>,
    words: String,
    alarm: Alarm,
}

/// The age of the stream that was silent longest, of those of which more is to come.
fn age(report: &StatusReport, thresholds: Thresholds) -> Age {
    let active: Vec<&StreamStatus> = report.streams.iter().filter(|stream| stream.is_active).collect();
    let never = |words: String| {
        let alarm = if thresholds.are_given() { Alarm::Warning } else { Alarm::Fine };
        Age { seconds: None, words, alarm }
    };
    let (done, last): (_, fn(&StreamStatus) -> Option<When>) = match report.role {
        "exporter" => ("carried", |stream| stream.last_carried),
        _ => ("delivered", |stream| stream.last_delivered),
    };
    let of = |stream: &StreamStatus| match active.len() {
        1 => String::new(),
        many => format!(" (stream {}, of {many} the one that waits longest)", short_id(stream.stream)),
    };
    if active.is_empty() {
        return never(if report.streams.is_empty() { "nothing yet" } else { "no stream goes on" }.to_owned());
    }
    if let Some(stream) = active.iter().find(|stream| last(stream).is_none()) {
        return never(format!("no batch {done} yet{}", of(stream)));
    }
    let ages = active.iter().filter_map(|stream| Some((*stream, last(stream)?)));
    // What is not known is worst: it may be any age.
    let worst = ages.max_by_key(|(stream, last)| {
        let age = older(last.age(report.now), packed_age(stream, report.now));
        (last.age(report.now).is_none(), age)
    });
    let Some((stream, when)) = worst else { return never("nothing yet".to_owned()) };
    let age = when.age(report.now);
    let packed = match &stream.last_packed {
        Some(packed) => format!(", last packed batch {} {}", packed.sequence, packed.ago(report.now)),
        None => String::new(),
    };
    let words = format!("last batch {} {done} {}{packed}{}", when.sequence, when.ago(report.now), of(stream));
    match age {
        Some(age) => {
            let seconds = packed_age(stream, report.now).map_or(age, |packed| packed.max(age));
            Age { seconds: Some(seconds), words, alarm: thresholds.judge(seconds) }
        }
        None if thresholds.are_given() => Age { seconds: None, words, alarm: Alarm::Unknown },
        None => Age { seconds: None, words, alarm: Alarm::Fine },
    }
}

/// The age of the newest batch that had envelopes of the connectors that were asked for.
fn connector_age(report: &StatusReport, thresholds: Thresholds) -> Age {
    let came = if report.role == "exporter" { "packed" } else { "came" };
    let rows = connectors(report);
    let names: Vec<&str> = rows.iter().map(|row| row.newest.name.as_str()).collect();
    let last = rows.iter().filter_map(|row| row.last).reduce(When::later);
    let seconds = last.and_then(|last| last.age(report.now));
    let ago = last.map_or_else(|| "at an unknown time".to_owned(), |last| last.ago(report.now));
    let alarm = match seconds {
        Some(age) => thresholds.judge(age),
        None if thresholds.are_given() => Alarm::Unknown,
        None => Alarm::Fine,
    };
    Age { seconds, words: format!("last envelope of {} {came} {ago}", names.join(", ")), alarm }
}

/// Envelopes that are held and quarantined, of what is asked for.
fn set_aside(report: &StatusReport) -> (u64, u64) {
    let of_streams = report.streams.iter().map(|stream| (stream.held, stream.quarantined));
    let of_connectors = report.streams.iter().flat_map(|stream| stream.connectors.values());
    let of_connectors = of_connectors.map(|connector| (connector.held, connector.quarantined));
    let add = |sum: (u64, u64), of: (u64, u64)| (sum.0 + of.0, sum.1 + of.1);
    match report.view {
        StatusView::Connectors => of_connectors.fold((0, 0), add),
        _ => of_streams.fold((0, 0), add),
    }
}

fn packed_age(stream: &StreamStatus, now: i64) -> Option<u64> {
    stream.last_packed.and_then(|packed| packed.age(now))
}

fn older(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.max(other)
}

/// What waits, in some words: what is missing and set aside, and of everything else how often.
fn waiting_words(report: &StatusReport) -> String {
    let sum = |of: fn(&StreamStatus) -> u64| report.streams.iter().map(of).sum::<u64>();
    let (held, quarantined) = set_aside(report);
    let mut parts = Vec::new();
    let mut others: Vec<(Code, u64)> = Vec::new();
    for finding in &report.to_settle {
        let is_counted =
            matches!(finding.code, Code::Gap | Code::UnknownStart | Code::Applicant | Code::Held | Code::Quarantined);
        if is_counted || is_alarming(report.role, finding.code) == Alarm::Fine {
            continue;
        }
        match others.iter_mut().find(|(code, _)| *code == finding.code) {
            Some((_, number)) => *number += 1,
            None => others.push((finding.code, 1)),
        }
    }
    parts.extend(others.iter().map(|(code, number)| format!("{} {}", grouped(*number), code.word().replace('-', " "))));
    let missing = sum(|stream| stream.missing);
    if missing > 0 {
        parts.push(format!("{} missing", count(missing, "batch")));
    }
    for (number, word) in [(held, "held"), (quarantined, "quarantined")].into_iter().filter(|(n, _)| *n > 0) {
        parts.push(format!("{} {word}", count(number, "envelope")));
    }
    let waiting = sum(batches_waiting);
    if waiting > 0 {
        let verb = if waiting == 1 { "waits" } else { "wait" };
        parts.push(format!("{} {verb}", count(waiting, "batch")));
    }
    if parts.is_empty() { "nothing waits".to_owned() } else { parts.join(", ") }
}
