//! What was promised and has not come. Measured by the clock of this machine, from when the last batch was taken: how long a
//! medium is on its way is the same for each, as far as anybody knows.

use std::collections::BTreeSet;

use crate::code::Code;
use crate::error::Result;
use crate::ledger::importer::{ImporterView, LastHeard};
use crate::report::Finding;
use crate::stream::StreamId;
use crate::text::duration;

/// Streams of which the next batch is overdue, and those that bring only heartbeats. A stream that another one goes on from
/// is not waited for.
///
/// # Errors
/// SQLite refused.
pub fn findings(ledger: &ImporterView, now: i64) -> Result<Vec<Finding>> {
    let ended: BTreeSet<StreamId> = ledger.ends_of_succeeded()?.into_iter().map(|(stream, _)| stream).collect();
    let heard = ledger.last_heard()?.into_iter().filter(|heard| !ended.contains(&heard.stream));
    Ok(heard.filter_map(|heard| finding(&heard, now)).collect())
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
