//! What has not come, what will never come, and what was delivered and is gone.

use std::collections::BTreeMap;

use crate::code::Code;
use crate::error::Result;
use crate::ledger::importer::ImporterView;
use crate::report::Finding;
use crate::stream::{Missing, Numbers, Size, StreamId, is_settled};
use crate::text::{count, size};
use crate::works::gone_finding;

/// All numbers that have not come: of each stream, also where batches wait behind them, and of the end of each stream
/// that another one goes on from. The third value is whether the stream begins behind them.
///
/// # Errors
/// SQLite refused.
pub fn all(ledger: &ImporterView) -> Result<Vec<(StreamId, Missing, bool)>> {
    let mut out = ledger.gaps(None)?;
    for (stream, end) in ledger.ends_of_succeeded()? {
        let numbers = ledger.last_admitted(stream)?.unwrap_or(0) + 1..=end;
        if !numbers.is_empty() && !is_settled(&numbers, &ledger.settled(stream)?) {
            out.push((stream, Missing { numbers, size: None }, false));
        }
    }
    Ok(out)
}

/// The findings about numbers that have not come: of each stream those before the first that came, and the gaps.
/// Each has the one command that brings everything of its stream.
pub fn findings(missing: &[(StreamId, Missing, bool)]) -> Vec<Finding> {
    let mut streams: BTreeMap<StreamId, Vec<(&Missing, bool)>> = BTreeMap::new();
    for (stream, missing, begins) in missing {
        streams.entry(*stream).or_default().push((missing, *begins));
    }
    streams.into_iter().flat_map(|(stream, missing)| missing_of(stream, missing)).collect()
}

fn missing_of(stream: StreamId, missing: Vec<(&Missing, bool)>) -> Vec<Finding> {
    let all: Numbers = missing.iter().map(|(m, _)| m.numbers.clone()).collect();
    let (before, gaps): (Vec<_>, Vec<_>) = missing.into_iter().partition(|(_, begins)| *begins);
    let finding = |code: Code, missing: &[(&Missing, bool)]| {
        let (numbers, how_much) = numbers_and_size(missing);
        let words = numbers.words();
        let what = match code {
            Code::Gap if numbers.only().is_some() => format!("{words} has not arrived{how_much}"),
            Code::Gap => format!("{words} have not arrived{how_much}"),
            _ => format!("the first batch received is {}; {words} never arrived{how_much}", numbers.last()? + 1),
        };
        Some(Finding::new(code, what).of_batches(stream, &numbers).advise(format!(
            "at the exporter: airpouch carry MEDIUM --resend {stream}:{all}; or accept the loss here: airpouch stream accept {stream} {numbers} --reason TEXT"
        )))
    };
    let gaps = if gaps.is_empty() { None } else { finding(Code::Gap, &gaps) };
    finding(Code::UnknownStart, &before).into_iter().chain(gaps).collect()
}

/// The numbers of gaps and the size of all of them, as far as signed counters tell it.
fn numbers_and_size(missing: &[(&Missing, bool)]) -> (Numbers, String) {
    let numbers = missing.iter().map(|(m, _)| m.numbers.clone()).collect();
    let known: Vec<_> = missing.iter().filter_map(|(m, _)| m.size).collect();
    let sum = known.iter().try_fold(Size::default(), |sum, size| sum.plus(*size));
    let how_much = match sum.filter(|_| !known.is_empty()) {
        Some(sum) => {
            let at_least = if known.len() < missing.len() { "at least " } else { "" };
            format!(" ({at_least}{}, {})", count(sum.envelopes, "envelope"), size(sum.bytes))
        }
        None => String::new(),
    };
    (numbers, how_much)
}

/// Works that were cleared with what was delivered under them, at every run until that is settled.
///
/// # Errors
/// SQLite refused.
pub fn gone_works(ledger: &ImporterView) -> Result<Vec<Finding>> {
    let Some(destination) = ledger.destination()? else { return Ok(Vec::new()) };
    let mut findings = Vec::new();
    for work in ledger.gone_works(destination.id)? {
        let finding = gone_finding(&work);
        let Some(row) = ledger.incoming_by_id(work.batch)? else { continue };
        let (stream, sequence) = (row.manifest.stream, row.manifest.sequence);
        findings.push(finding.advise(format!(
            "deliver again what is in the inbox: airpouch import --redeliver; or accept the loss: airpouch stream accept {stream} {sequence} --reason TEXT"
        )));
    }
    Ok(findings)
}
