//! Settles what an importer would wait for: numbers that are missing, a fork, works that were cleared.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::findings::missing;
use crate::ledger::importer::ImporterLedger;
use crate::report::{AcceptReport, Accepted};
use crate::stream::{Numbers, StreamId};

/// What a person accepts.
#[derive(Debug, Clone, Copy)]
pub struct AskedToAccept<'a> {
    /// The stream.
    pub stream: StreamId,
    /// The numbers of its batches.
    pub numbers: &'a Numbers,
    /// The digest of the batch to take, for a fork; none: the numbers are given up.
    pub sha256: Option<Digest>,
    /// Why, for the ledger.
    pub reason: &'a str,
    /// When, for the ledger.
    pub at: &'a str,
}

/// Accepts a fork where a digest is named; else works that were cleared or failed, if the numbers are those of nothing else; else
/// that the numbers are missing.
///
/// # Errors
/// There is nothing of these numbers to accept.
pub fn accept(ledger: &mut ImporterLedger, asked: &AskedToAccept<'_>) -> Result<AcceptReport> {
    let accepted = match asked.sha256 {
        Some(sha256) => accept_fork(ledger, asked, sha256)?,
        None if accept_works(ledger, asked)? => Accepted::Works,
        None => accept_gap(ledger, asked)?,
    };
    Ok(AcceptReport {
        accepted,
        stream: asked.stream,
        sequences: asked.numbers.clone(),
        sha256: asked.sha256,
        reason: asked.reason.to_owned(),
    })
}

fn accept_fork(ledger: &mut ImporterLedger, asked: &AskedToAccept<'_>, sha256: Digest) -> Result<Accepted> {
    let known = ledger
        .incoming(sha256)?
        .filter(|r| r.manifest.stream == asked.stream && asked.numbers.only() == Some(r.manifest.sequence.get()));
    let known = known.ok_or_else(|| {
        Error::usage("no batch of this number and digest is in the inbox").advise("airpouch status shows what is there")
    })?;
    ledger.accept_fork(asked.stream, known.manifest.sequence.get(), sha256, asked.reason, asked.at)?;
    Ok(Accepted::Fork)
}

fn accept_gap(ledger: &mut ImporterLedger, asked: &AskedToAccept<'_>) -> Result<Accepted> {
    let stream = asked.stream;
    let missing = missing::all(ledger)?.into_iter().filter(|(s, ..)| *s == stream).map(|(_, m, _)| m.numbers);
    check_missing(asked.numbers, &missing.collect()).map_err(|range| {
        let what = if range.only().is_some() { "is" } else { "are" };
        Error::usage(format!("{} of stream {stream} {what} not missing", range.words()))
            .advise("airpouch status lists what is")
    })?;
    ledger.settle_gap(stream, asked.numbers, asked.reason, asked.at)?;
    Ok(Accepted::Gap)
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

/// Settles works that were cleared with what was delivered under them, and what failed under others, if these numbers are
/// nothing else.
fn accept_works(ledger: &ImporterLedger, asked: &AskedToAccept<'_>) -> Result<bool> {
    let Some(destination) = ledger.destination()? else { return Ok(false) };
    let mut lost = ledger.batches_with_failures(destination.id)?;
    lost.extend(ledger.gone_works(destination.id)?.into_iter().map(|work| work.batch));
    let mut batches = BTreeMap::new();
    for batch in lost {
        if let Some(row) = ledger.incoming_by_id(batch)?.filter(|row| row.manifest.stream == asked.stream) {
            batches.insert(row.manifest.sequence.get(), batch);
        }
    }
    let gone: Numbers = batches.keys().copied().collect();
    if !asked.numbers.without(&gone).is_empty() {
        return Ok(false);
    }
    for (_, batch) in batches.into_iter().filter(|(sequence, _)| asked.numbers.contains(*sequence)) {
        ledger.accept_gone(destination.id, batch, asked.reason)?;
    }
    Ok(true)
}
