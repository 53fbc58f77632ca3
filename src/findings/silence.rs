//! What was promised and has not come. Measured by the clock of this machine, from when the last batch was taken: how long a
//! medium is on its way is the same for each, as far as anybody knows.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::Code;
use crate::error::Result;
use crate::ledger::importer::{ConnectorHeard, ImporterView, LastHeard};
use crate::limits::QUIET_MAX;
use crate::report::Finding;
use crate::stream::StreamId;
use crate::text::{duration, harmless};
use crate::trust::TrustStore;

/// A connector came daily if it came on so many of the seven days up to its last one: weekends may be free.
const DAYS_OF_A_WEEK: u64 = 5;

/// What is waited for beside what exporters promise.
#[derive(Debug, Clone, Default)]
pub struct WaitedFor {
    /// The streams that trust.toml lists, with whose they are.
    pub streams: BTreeMap<StreamId, String>,
    /// After how many seconds a connector that came daily is reported; 0: never.
    pub quiet_after: u64,
}

impl WaitedFor {
    /// The streams of the keys that have no end.
    pub fn of(trust: &TrustStore, quiet_after: u64) -> Self {
        let listed =
            trust.expected().filter_map(|(stream, who)| Some((StreamId::parse(&stream.to_string())?, who.to_owned())));
        Self { streams: listed.collect(), quiet_after }
    }
}

/// Streams of which the next batch is overdue, those that bring only heartbeats, those of which nothing has come yet, and
/// connectors that came daily and come no more. A stream that another one goes on from is not waited for.
///
/// # Errors
/// SQLite refused.
pub fn findings(ledger: &ImporterView, heard: &[LastHeard], expected: &WaitedFor, now: i64) -> Result<Vec<Finding>> {
    let ended: BTreeSet<StreamId> = ledger.ends_of_succeeded()?.into_iter().map(|(stream, _)| stream).collect();
    let known: BTreeSet<StreamId> = heard.iter().map(|heard| heard.stream).chain(ended.iter().copied()).collect();
    let mut findings: Vec<_> =
        heard.iter().filter(|heard| !ended.contains(&heard.stream)).filter_map(|heard| finding(heard, now)).collect();
    let overdue: BTreeSet<StreamId> =
        findings.iter().filter(|finding| finding.code == Code::Overdue).filter_map(|finding| finding.stream).collect();
    for connector in ledger.connectors_heard()? {
        // Where nothing comes at all, that is what is said.
        if !overdue.contains(&connector.stream) {
            findings.extend(quiet(&connector, expected.quiet_after, now));
        }
    }
    let never = expected.streams.iter().filter(|(stream, _)| !known.contains(stream));
    findings.extend(never.map(|(stream, who)| never_heard(*stream, who)));
    Ok(findings)
}

fn quiet(heard: &ConnectorHeard, after: u64, now: i64) -> Option<Finding> {
    let ConnectorHeard { connector, name, stream, at, days } = heard;
    let age = u64::try_from(now.saturating_sub(*at)).unwrap_or(0);
    if after == 0 || *days < DAYS_OF_A_WEEK || age <= after || age > QUIET_MAX {
        return None;
    }
    let what = format!("nothing for {}; it came on {days} of the 7 days up to then", duration(age));
    let finding = Finding::new(Code::Quiet, what).of_stream(*stream).of_connector(harmless(connector), harmless(name));
    Some(
        finding
            .advise("ask there whether it still runs, and whether the exporter packs its directory: airpouch status"),
    )
}

fn never_heard(stream: StreamId, who: &str) -> Finding {
    let what = format!("nothing has come of it yet; trust.toml lists it for {}", harmless(who));
    let advice = "if it is to come, ask there whether its medium is on its way; if not, take it out of trust.toml";
    Finding::new(Code::NeverHeard, what).of_stream(stream).advise(advice)
}

fn finding(heard: &LastHeard, now: i64) -> Option<Finding> {
    let LastHeard { stream, sequence, at, promise, content } = *heard;
    let promise = promise?;
    let age = |at: i64| u64::try_from(now.saturating_sub(at)).unwrap_or(0);
    if age(at) > promise {
        let what = format!(
            "last batch {} ago ({sequence}); the exporter promises one every {}",
            duration(age(at)),
            duration(promise)
        );
        let finding = Finding::new(Code::Overdue, what).of_stream(stream);
        return Some(
            finding.advise("ask there: does pack run, and is a medium on its way? at the exporter: airpouch status"),
        );
    }
    let (last, at) = content.unwrap_or((0, at));
    let (empty, since) = (sequence - last, age(at));
    if empty == 0 || since <= promise {
        return None;
    }
    let what = match content {
        Some(_) => format!("only heartbeats for {}: the last batch with envelopes is {last}", duration(since)),
        None => "only heartbeats so far: no batch has had an envelope".to_owned(),
    };
    let finding = Finding::new(Code::OnlyHeartbeats, what).of_stream(stream);
    Some(finding.advise("ask there whether its connectors still write: at the exporter: airpouch status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn said(at: i64, promise: Option<u64>, content: Option<(u64, i64)>) -> Option<(Code, String)> {
        let stream = StreamId::parse("230fef21-9908-4f5a-9773-602f5205811a").unwrap();
        let now = 100 * DAY as i64;
        let heard =
            LastHeard { stream, sequence: 812, at: now - at, promise, content: content.map(|(n, at)| (n, now - at)) };
        finding(&heard, now).map(|finding| (finding.code, finding.what))
    }

    fn quiet_after(age: i64, days: u64, after: u64) -> Option<String> {
        let stream = StreamId::parse("230fef21-9908-4f5a-9773-602f5205811a").unwrap();
        let now = 100 * DAY as i64;
        let (connector, name) = ("feed".to_owned(), "Example Feed".to_owned());
        quiet(&ConnectorHeard { connector, name, stream, at: now - age, days }, after, now).map(|finding| finding.what)
    }

    #[test]
    fn connector_that_came_daily_is_reported_once_it_is_quiet_and_no_more_once_it_has_ended() {
        let day = DAY as i64;
        let words = "nothing for 4 d; it came on 6 of the 7 days up to then".to_owned();
        assert_eq!(quiet_after(4 * day, 6, 3 * DAY), Some(words));
        assert_eq!(quiet_after(3 * day, 7, 3 * DAY), None, "up to the last second");
        assert_eq!(quiet_after(4 * day, 4, 3 * DAY), None, "it did not come daily");
        assert_eq!(quiet_after(4 * day, 7, 0), None, "it is not asked for");
        assert_eq!(quiet_after(31 * day, 7, 3 * DAY), None, "whoever is away for a month has ended");
        assert_eq!(quiet_after(-5, 7, 3 * DAY), None, "a clock that was set back is no silence");
    }

    #[test]
    fn promise_that_passed_is_told_with_the_last_batch_and_its_age() {
        let overdue = said(31 * 3600, Some(DAY), Some((812, 31 * 3600)));
        let words = "last batch 31 h ago (812); the exporter promises one every 24 h".to_owned();
        assert_eq!(overdue, Some((Code::Overdue, words)));
        assert_eq!(said(DAY as i64, Some(DAY), Some((812, DAY as i64))), None, "up to the last second");
        assert_eq!(said(400 * DAY as i64, None, None), None, "nothing was promised");
        assert_eq!(said(-5, Some(DAY), Some((812, -5))), None, "a clock that was set back is no delay");
    }

    #[test]
    fn heartbeats_without_content_are_another_sentence() {
        let only = said(60, Some(DAY), Some((799, 3 * DAY as i64)));
        let words = "only heartbeats for 3 d: the last batch with envelopes is 799".to_owned();
        assert_eq!(only, Some((Code::OnlyHeartbeats, words)));
        assert_eq!(said(60, Some(DAY), Some((811, 3600))), None, "one heartbeat since is no news");
    }
}
