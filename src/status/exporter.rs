//! What the exporter's ledger has: what was packed, what was carried, and what was not yet.

use std::collections::HashMap;

use super::settle::ToSettle;
use super::{States, StatusQuery};
use crate::clock;
use crate::code::{Code, Severity};
use crate::error::Result;
use crate::ledger::exporter::{CarriedSoFar, ExporterView, PackedBatch, PackedConnector, PackedState, StreamRow};
use crate::pairing::PairedWith;
use crate::report::{ConnectorStatus, Finding, Head, Proof, StatusReport, StreamStatus, When, never_comes, when};
use crate::site::Site;
use crate::stream::{Numbers, Size};
use crate::text::{count, size};

pub(super) fn gather(
    site: &Site,
    ledger: &ExporterView,
    query: &StatusQuery<'_>,
    status: &mut StatusReport,
    settle: &mut ToSettle,
) -> Result<()> {
    status.signers = ledger.signers()?.iter().map(|key| query.signer(key.fingerprint())).collect();
    for row in ledger.streams()? {
        let mut stream = stream(ledger, query, &row, settle)?;
        stream.is_paired = PairedWith::Zone(&row.zone).is_there(site);
        stream.acknowledged = ledger.acknowledged(&row)?;
        let last = ledger.last_acknowledged(&row)?;
        stream.last_acknowledged = last.map(|(sequence, at)| When { sequence, at: clock::seconds(&at) });
        status.streams.push(stream);
    }
    let refused = ledger.refused_files()?.into_iter();
    status.refused_files = refused.map(|(path, why)| Finding::new(Code::Refused, why).at(path)).collect();
    if !status.refused_files.is_empty() {
        let number = status.refused_files.len() as u64;
        let what = format!("{} in the source that cannot be packed", count(number, "file"));
        let advice = "fix or remove them there; airpouch status --json lists each with its reason";
        settle.push(number, Finding::new(Code::Refused, what).advise(advice));
    }
    Ok(())
}

fn stream(
    ledger: &ExporterView,
    query: &StatusQuery<'_>,
    row: &StreamRow,
    settle: &mut ToSettle,
) -> Result<StreamStatus> {
    let mut stream = StreamStatus { is_active: row.active, ..StreamStatus::new(row.stream, row.zone.clone()) };
    let (lost, carried) = (ledger.lost_numbers(row)?, ledger.carried_so_far(row)?);
    if let Some(finding) = never_comes_finding(ledger, row, &lost)? {
        settle.push(lost.count(), finding);
    }
    let batches = ledger.packed_batches(row)?;
    let (mut states, mut not_carried) = (States::default(), NotCarried::default());
    for batch in &batches {
        let sequence = batch.sequence;
        stream.first = if stream.first == 0 { sequence } else { stream.first };
        stream.last = sequence;
        stream.envelopes += batch.size.envelopes;
        stream.bytes += batch.size.bytes;
        let proofs = carried.get(&sequence).map_or(&[][..], |carried| &carried.proofs);
        let word = packed_word(batch.state, lost.contains(sequence), proofs);
        if word == NOT_CARRIED {
            not_carried.add(batch);
        }
        states.count(word, sequence);
    }
    states.write(&mut stream);
    stream.head = ledger.packed_head(row)?.map(|sha256| Head::of(row.stream, stream.last, sha256));
    let packed = batches.iter().filter(|batch| batch.state == PackedState::Packed);
    stream.last_packed = packed.map(packed_when).next_back();
    stream.last_carried = last_carried(ledger, &carried)?;
    stream.oldest_waiting = not_carried.oldest;
    for PackedConnector { id, name, envelopes, last } in ledger.packed_connectors(row)? {
        let at = batches.binary_search_by_key(&last, |batch| batch.sequence);
        let last = Some(at.map_or(When { sequence: last, at: None }, |at| packed_when(&batches[at])));
        stream.connectors.insert(id, ConnectorStatus { name, envelopes, last, ..ConnectorStatus::default() });
    }
    // What a stream that was given up had sealed goes nowhere any more; its content was packed again.
    if row.active && stream.batches.contains_key(SEALED) {
        let sealed = Finding::new(Code::Sealed, "a batch is sealed and not signed: the run that made it ended early");
        settle.push(1, sealed.of_stream(row.stream).advise("run it again: airpouch pack"));
    }
    not_carried.settle(row, query.now, settle);
    Ok(stream)
}

fn packed_when(batch: &PackedBatch) -> When {
    When { sequence: batch.sequence, at: batch.packed_at }
}

/// The last batch that was carried, with the first carry that took it: others repeat it.
fn last_carried(ledger: &ExporterView, carried: &HashMap<u64, CarriedSoFar>) -> Result<Option<When>> {
    let Some((sequence, carried)) = carried.iter().max_by_key(|(sequence, _)| **sequence) else { return Ok(None) };
    let at = ledger.carry_ended(carried.first)?.and_then(|at| clock::seconds(&at));
    Ok(Some(When { sequence: *sequence, at }))
}

/// What was packed and no carry has taken.
#[derive(Default)]
struct NotCarried {
    numbers: Vec<u64>,
    size: Size,
    oldest: Option<When>,
}

impl NotCarried {
    fn add(&mut self, batch: &PackedBatch) {
        self.numbers.push(batch.sequence);
        self.size.envelopes += batch.size.envelopes;
        self.size.bytes += batch.size.bytes;
        let packed = packed_when(batch);
        self.oldest = Some(self.oldest.map_or(packed, |oldest| oldest.earlier(packed)));
    }

    fn settle(self, row: &StreamRow, now: i64, settle: &mut ToSettle) {
        let Some(oldest) = self.oldest else { return };
        let numbers: Numbers = self.numbers.into_iter().collect();
        let (verb, packed) = if numbers.only().is_some() { ("is", "packed") } else { ("are", "the oldest packed") };
        let envelopes = count(self.size.envelopes, "envelope");
        let what = format!("{} {verb} not carried yet: {envelopes}, {}", numbers.words(), size(self.size.bytes));
        let finding = Finding::new(Code::NotCarried, what).of_batches(row.stream, &numbers);
        let since = format!("{packed} {}", when(oldest.at, now));
        settle.push_since(self.size.envelopes, finding.advise("airpouch carry MEDIUM"), since);
    }
}

const SEALED: &str = "sealed, not signed";
const NOT_CARRIED: &str = "packed, not carried";

/// How far a batch has come on its way to a medium, in words: by the best proof that a carry had.
fn packed_word(state: PackedState, is_lost: bool, proofs: &[Proof]) -> &'static str {
    let best = [Proof::Device, Proof::Replug, Proof::Cache, Proof::Sent].into_iter().find(|p| proofs.contains(p));
    match (state, best) {
        _ if is_lost => "lost, will never come",
        (PackedState::Sealed, _) => SEALED,
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
