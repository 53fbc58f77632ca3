//! status: what a site has, and what waits there for a person. Reads the ledger without its lock; changes nothing.

use std::collections::BTreeMap;

use crate::code::{Code, Severity};
use crate::destination::Destination;
use crate::error::Result;
use crate::findings::missing;
use crate::ledger::View;
use crate::ledger::exporter::{ExporterView, PackedConnector, PackedState, StreamRow};
use crate::ledger::importer::{AsideKind, BatchId, BatchStanding, ImporterView, State};
use crate::report::{ConnectorStatus, Finding, Head, Proof, StatusReport, StreamStatus, never_comes};
use crate::site::Site;
use crate::stream::{Numbers, StreamId};
use crate::text::count;

/// What `status` shows of a site.
///
/// # Errors
/// SQLite refused.
pub fn status(site: &Site, ledger: &View) -> Result<StatusReport> {
    let site = site.root().display().to_string();
    let mut status = StatusReport { role: ledger.role().word(), site, ..StatusReport::default() };
    match ledger {
        View::Exporter(ledger) => exporter(ledger, &mut status)?,
        View::Importer(ledger) => importer(ledger, &mut status)?,
    }
    Ok(status)
}

fn exporter(ledger: &ExporterView, status: &mut StatusReport) -> Result<()> {
    for row in ledger.streams()? {
        let mut stream = StreamStatus::new(row.stream, row.zone.clone());
        let mut not_carried: Vec<u64> = Vec::new();
        let (lost, proofs) = (ledger.lost_numbers(&row)?, ledger.proofs(&row)?);
        status.to_settle.extend(never_comes_finding(ledger, &row, &lost)?);
        for PackedConnector { id, name, envelopes } in ledger.packed_connectors(&row)? {
            stream.connectors.insert(id, ConnectorStatus { name, envelopes, ..ConnectorStatus::default() });
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
        stream.head = ledger.packed_head(&row)?.map(|sha256| Head::of(row.stream, stream.last, sha256));
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
    let refused = ledger.refused_files()?.into_iter();
    status.refused_files = refused.map(|(path, why)| Finding::new(Code::Refused, why).at(path)).collect();
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

fn importer(ledger: &ImporterView, status: &mut StatusReport) -> Result<()> {
    status.destination = ledger.destination()?.map(|d| Destination::shown(&d.kind, &d.address));
    for summary in ledger.stream_summaries()? {
        let of = summary.stream;
        let mut stream = StreamStatus {
            first: summary.first,
            last: summary.last,
            head: summary.head.map(|(sequence, sha256)| Head::of(of, sequence, sha256)),
            envelopes: summary.size.envelopes,
            bytes: summary.size.bytes,
            ..StreamStatus::new(of, summary.zone)
        };
        for (state, standing, number) in summary.batches {
            *stream.batches.entry(word(state, standing)).or_default() += number;
        }
        for came in ledger.came_connectors(of)? {
            let connector =
                ConnectorStatus { name: came.name, envelopes: came.envelopes, ..ConnectorStatus::default() };
            stream.connectors.insert(came.id, connector);
        }
        status.streams.push(stream);
    }
    let at: BTreeMap<StreamId, usize> =
        status.streams.iter().enumerate().map(|(at, stream)| (stream.stream, at)).collect();
    for (stream, connector, is_held, number) in ledger.aside_by_connector()? {
        let Some(at) = at.get(&stream) else { continue };
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

/// The state of a batch, in words.
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

fn aside_to_settle(ledger: &ImporterView, status: &mut StatusReport) -> Result<()> {
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

fn batch_to_settle(of: &BatchStanding) -> Finding {
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
