//! What the importer's ledger has: what came, what was delivered, what is missing and what is set aside.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::settle::ToSettle;
use super::{States, StatusQuery};
use crate::code::Code;
use crate::destination::Destination;
use crate::error::Result;
use crate::findings::{ingested, missing, silence};
use crate::ledger::importer::{
    Acceptance, AsideKind, AsideReasons, BatchStanding, CameBatch, CameConnector, DestinationRow, ImporterView, State,
};
use crate::pairing::{Arrivals, arrivals};
use crate::report::{
    AcceptedPart, AsideStatus, Backlog, ConnectorStatus, Head, PartDelivered, QueueBacklog, SpoolBacklog, StatusReport,
    StreamStatus, When,
};
use crate::sink::backlog::backlog;
use crate::site::Site;
use crate::stream::{Missing, Numbers, StreamId};

/// What is set aside of a batch.
#[derive(Debug, Clone, Copy, Default)]
struct AsideOf {
    held: u64,
    quarantined: u64,
    /// Those of another batch that this one brought once more.
    again: u64,
}

impl AsideOf {
    fn all(self) -> u64 {
        self.held + self.quarantined + self.again
    }
}

/// What is set aside and what was accepted, as it is read before batches are counted.
struct ReadAsides {
    asides: HashMap<i64, AsideOf>,
    reasons: Vec<AsideReasons>,
    settled: BTreeMap<StreamId, Numbers>,
}

pub(super) fn gather(
    site: &Site,
    ledger: &ImporterView,
    query: &StatusQuery<'_>,
    status: &mut StatusReport,
    settle: &mut ToSettle,
) -> Result<()> {
    if let Some(destination) = ledger.destination()? {
        at_destination(ledger, &destination, status)?;
    }
    let read = read_asides(ledger)?;
    let came = came(ledger)?;
    let ended: BTreeSet<StreamId> = ledger.ends_of_succeeded()?.into_iter().map(|(stream, _)| stream).collect();
    let missing = missing::all(ledger)?;
    for (id, batches) in &came {
        let mut stream = stream(ledger, *id, batches, &read)?;
        stream.is_active = !ended.contains(id);
        stream.missing = missing.iter().filter(|(of, ..)| of == id).map(|(_, missing, _)| missing_count(missing)).sum();
        status.streams.push(stream);
    }
    let at: HashMap<StreamId, usize> = status.streams.iter().enumerate().map(|(at, s)| (s.stream, at)).collect();
    for (stream, signer) in ledger.stream_signers()? {
        if let Some(at) = at.get(&stream) {
            status.streams[*at].signers.push(query.signer(signer));
        }
    }
    for Acceptance { stream, numbers, fork, reason, at: when } in ledger.acceptances()? {
        if let Some(at) = at.get(&stream) {
            let part = AcceptedPart { sequences: numbers, sha256: fork, reason, at: when };
            status.streams[*at].accepted.push(part);
        }
    }
    if query.arrivals {
        write_arrivals(site, ledger, status, settle)?;
    }
    write_asides(status, &came, &at, read.reasons);
    batches_to_settle(ledger, &came, &read.settled, settle)?;
    for finding in missing::findings(&missing) {
        settle.push(finding.sequences.iter().map(|(from, to)| to - from + 1).sum(), finding);
    }
    for finding in missing::gone_works(ledger)? {
        settle.push(1, finding);
    }
    let heard = ledger.last_heard()?;
    for heard in &heard {
        if let (Some(at), Some(promise)) = (at.get(&heard.stream), heard.promise) {
            status.streams[*at].promised_by = Some(heard.at.saturating_add_unsigned(promise));
        }
    }
    silence::findings(ledger, &heard, &query.expected, status.now)?
        .into_iter()
        .for_each(|finding| settle.push(1, finding));
    if let Some(destination) = ledger.destination()? {
        ingested::failed(ledger, &destination)?.into_iter().for_each(|finding| settle.push(1, finding));
    }
    Ok(())
}

/// What a person says to the exporter of the streams that are paired.
fn write_arrivals(site: &Site, ledger: &ImporterView, status: &mut StatusReport, settle: &mut ToSettle) -> Result<()> {
    let streams: Vec<StreamId> = status.streams.iter().map(|stream| stream.stream).collect();
    let Arrivals { lines, damaged } = arrivals(site, ledger, &streams)?;
    damaged.into_iter().for_each(|finding| settle.push(1, finding));
    for line in lines {
        if let Some(stream) = status.streams.iter_mut().find(|stream| stream.stream == line.stream) {
            (stream.is_paired, stream.arrival) = (true, Some(line));
        }
    }
    Ok(())
}

fn missing_count(missing: &Missing) -> u64 {
    missing.numbers.end().saturating_sub(*missing.numbers.start()).saturating_add(1)
}

/// What waits at the destination, as far as it is seen from here: nothing is asked of a broker or a platform.
fn at_destination(ledger: &ImporterView, row: &DestinationRow, status: &mut StatusReport) -> Result<()> {
    status.destination = Some(Destination::shown(&row.kind, &row.address));
    match row.kind.as_str() {
        "spool" => {
            status.spool = Some(match backlog(Path::new(&row.address)) {
                Ok(seen) => Backlog { seen, error: None },
                Err(error) => Backlog { seen: SpoolBacklog::default(), error: Some(error.what) },
            });
        }
        "dir" => {}
        _ => {
            let (open_works, on_their_way) = (ledger.open_work_count(row.id)?, ledger.unsettled(row.id)?);
            let known = ledger.ingestion(row.id)?;
            status.queues = Some(QueueBacklog {
                open_works,
                on_their_way,
                waiting_works: known.waiting,
                ended_works: known.works,
                ingested: known.messages,
                failed: known.failed,
                refused: known.refused,
                unknown_works: known.unknown,
                followed_at: known.at,
            });
        }
    }
    Ok(())
}

fn read_asides(ledger: &ImporterView) -> Result<ReadAsides> {
    let (mut asides, mut reasons): (HashMap<i64, AsideOf>, _) = (HashMap::new(), Vec::new());
    ledger.each_aside_reason(|of| {
        let aside = asides.entry(of.batch).or_default();
        *if of.kind == AsideKind::Held { &mut aside.held } else { &mut aside.quarantined } += of.number;
        reasons.push(of);
        Ok(())
    })?;
    for (batch, number) in ledger.aside_before()? {
        asides.entry(batch).or_default().again = number;
    }
    let mut settled: BTreeMap<StreamId, Numbers> = BTreeMap::new();
    for Acceptance { stream, numbers, .. } in ledger.acceptances()?.into_iter().filter(|a| a.fork.is_none()) {
        let of = settled.entry(stream).or_default();
        *of = of.with(&numbers);
    }
    Ok(ReadAsides { asides, reasons, settled })
}

fn came(ledger: &ImporterView) -> Result<BTreeMap<StreamId, Vec<CameBatch>>> {
    let mut came: BTreeMap<StreamId, Vec<CameBatch>> = BTreeMap::new();
    ledger.each_came(|batch| {
        came.entry(batch.stream).or_default().push(batch);
        Ok(())
    })?;
    Ok(came)
}

fn stream(ledger: &ImporterView, id: StreamId, batches: &[CameBatch], read: &ReadAsides) -> Result<StreamStatus> {
    let (zone, head) = ledger.zone_and_head(id)?;
    let mut stream = StreamStatus {
        first: batches.first().map_or(0, |batch| batch.sequence),
        last: batches.last().map_or(0, |batch| batch.sequence),
        head: head.map(|(sequence, sha256)| Head::of(id, sequence, sha256)),
        ..StreamStatus::new(id, zone)
    };
    let mut states = States::default();
    for batch in batches {
        let aside = read.asides.get(&batch.id).copied().unwrap_or_default();
        count_batch(&mut stream, batch, aside);
        states.count(word(batch, aside), batch.sequence);
    }
    states.write(&mut stream);
    for CameConnector { id, name, envelopes, last, .. } in ledger.came_connectors(id)? {
        let at = batches.partition_point(|batch| batch.sequence < last);
        let at = batches.get(at).filter(|batch| batch.sequence == last).and_then(|batch| batch.taken_at);
        let last = Some(When { sequence: last, at });
        stream.connectors.insert(id, ConnectorStatus { name, envelopes, last, ..ConnectorStatus::default() });
    }
    Ok(stream)
}

/// Adds a batch to the sums of its stream, and to what was last.
fn count_batch(stream: &mut StreamStatus, batch: &CameBatch, aside: AsideOf) {
    let CameBatch { sequence, size, .. } = *batch;
    stream.envelopes += size.envelopes;
    stream.bytes += size.bytes;
    stream.held += aside.held;
    stream.quarantined += aside.quarantined;
    if batch.state != State::Incomplete {
        keep_later(&mut stream.last_taken, When { sequence, at: batch.taken_at });
    }
    let is_done = batch.state == State::Delivered;
    if is_done && aside.all() > 0 {
        let AsideOf { held, quarantined, again } = aside;
        let held = held + again;
        stream.in_part.push(PartDelivered { sequence, envelopes: size.envelopes, held, quarantined });
    }
    if is_done {
        stream.delivered += size.envelopes.saturating_sub(aside.all());
    }
    // What was set aside as a whole was not delivered.
    if is_done && (aside.all() == 0 || aside.all() < size.envelopes) {
        keep_later(&mut stream.last_delivered, When { sequence, at: batch.done_at.max(batch.aside_delivered_at) });
    }
    if (!is_done && batch.state != State::Refused) || aside.all() > 0 {
        let this = When { sequence, at: batch.taken_at };
        stream.oldest_waiting = Some(stream.oldest_waiting.map_or(this, |oldest| oldest.earlier(this)));
    }
}

fn keep_later(last: &mut Option<When>, this: When) {
    *last = Some(last.map_or(this, |last| last.later(this)));
}

/// The state of a batch, in words. One of which something is set aside was not delivered as a whole.
fn word(batch: &CameBatch, aside: AsideOf) -> &'static str {
    match (batch.state, batch.standing) {
        (State::Delivered, _) if aside.all() == 0 => "delivered",
        (State::Delivered, _) if aside.all() < batch.size.envelopes => "delivered in part",
        (State::Delivered, _) => "all set aside",
        (State::Admitted, _) => "being delivered",
        (State::Incomplete, _) => "incomplete",
        (State::Refused, _) => "refused",
        (State::Whole, Some(Code::Fork)) => "held: fork",
        (State::Whole, Some(Code::Unlinked)) => "held: unlinked",
        (State::Whole, Some(Code::Waiting)) => "held: batches before it are missing",
        (State::Whole, _) => "taken, not delivered",
    }
}

/// Counts what is set aside of each connector, by its reason.
fn write_asides(
    status: &mut StatusReport,
    came: &BTreeMap<StreamId, Vec<CameBatch>>,
    at: &HashMap<StreamId, usize>,
    reasons: Vec<AsideReasons>,
) {
    let batches: HashMap<i64, &CameBatch> = came.values().flatten().map(|batch| (batch.id, batch)).collect();
    let mut all: BTreeMap<(StreamId, String, &'static str, Code), AsideStatus> = BTreeMap::new();
    for AsideReasons { batch, connector, kind, code, number } in reasons {
        let Some(batch) = batches.get(&batch) else { continue };
        let this = When { sequence: batch.sequence, at: batch.taken_at };
        if let Some(at) = at.get(&batch.stream) {
            let of = status.streams[*at].connectors.entry(connector.clone()).or_default();
            *if kind == AsideKind::Held { &mut of.held } else { &mut of.quarantined } += number;
        }
        let key = (batch.stream, connector.clone(), kind.word(), code);
        let (stream, kind) = (batch.stream, kind.word());
        let new = AsideStatus { stream, connector, kind, code, envelopes: 0, oldest: this };
        let of = all.entry(key).or_insert(new);
        of.envelopes += number;
        of.oldest = of.oldest.earlier(this);
    }
    status.set_aside = all.into_values().collect();
    status.set_aside.sort_by_key(|aside| std::cmp::Reverse(aside.envelopes));
}

/// Each batch that is not done. One that was refused is done with as soon as its number came by another batch, or is not
/// waited for any more.
fn batches_to_settle(
    ledger: &ImporterView,
    came: &BTreeMap<StreamId, Vec<CameBatch>>,
    settled: &BTreeMap<StreamId, Numbers>,
    settle: &mut ToSettle,
) -> Result<()> {
    let is_done_with = |of: &BatchStanding| {
        let (stream, number) = (of.batch.stream, of.batch.sequence.get());
        let batches = came.get(&stream).map_or(&[][..], Vec::as_slice);
        let from = batches.partition_point(|batch| batch.sequence < number);
        let mut same = batches[from..].iter().take_while(|batch| batch.sequence == number);
        settled.get(&stream).is_some_and(|numbers| numbers.contains(number))
            || same.any(|batch| matches!(batch.state, State::Admitted | State::Delivered))
    };
    let sizes: HashMap<i64, u64> = came
        .values()
        .flatten()
        .filter(|batch| batch.state != State::Delivered)
        .map(|batch| (batch.id, batch.size.envelopes))
        .collect();
    ledger.each_open_batch(|batch| {
        if batch.state != State::Refused || !is_done_with(&batch) {
            settle.push_batch(sizes.get(&batch.batch.id).copied().unwrap_or_default(), &batch);
        }
        Ok(())
    })
}
