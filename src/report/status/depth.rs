//! A status in depth: everything, or all of some streams or connectors.

use super::parts::{aside, connector, connectors, header, long, set_aside, settle};
use super::times::last;
use super::{AsideStatus, PartDelivered, Signer, StatusReport, StatusView, StreamStatus};
use crate::text::{count, grouped, harmless};

/// Everything of the streams in the report.
pub(super) fn lines(report: &StatusReport) -> Vec<String> {
    let mut out = header(report);
    write_settle(&mut out, report);
    for stream in &report.streams {
        out.push(String::new());
        out.extend(long(report, stream));
        out.extend(states(stream));
        out.extend(signers(stream));
        out.extend(accepted(stream));
        let asides = report.set_aside.iter().filter(|aside| aside.stream == stream.stream);
        out.extend(asides.flat_map(|aside| aside_of(report, stream, aside)));
    }
    if report.streams.is_empty() {
        out.push("nothing yet".to_owned());
    }
    let rows = connectors(report);
    if !rows.is_empty() {
        out.extend([String::new(), "connectors:".to_owned()]);
    }
    out.extend(rows.iter().map(|row| format!("{} ({})", connector(report, row), harmless(row.id))));
    if report.view == StatusView::All && !report.refused_files.is_empty() {
        out.extend([String::new(), "files that cannot be packed:".to_owned()]);
        let files = report.refused_files.iter();
        out.extend(files.map(|file| format!("  {}: {}", file.path.as_deref().unwrap_or_default(), file.what)));
    }
    out
}

/// Everything of the connectors in the report.
pub(super) fn connector_lines(report: &StatusReport) -> Vec<String> {
    let mut out = header(report);
    write_settle(&mut out, report);
    for row in connectors(report) {
        out.push(String::new());
        out.push(format!("connector {} ({})", harmless(&row.newest.name), harmless(row.id)));
        for stream in &report.streams {
            let Some(of) = stream.connectors.get(row.id) else { continue };
            out.push(format!("  stream {} for zone {}", stream.stream, harmless(&stream.zone)));
            let envelopes = count(of.envelopes, "envelope");
            out.push(format!("    {envelopes}{}", set_aside(of.held, of.quarantined)));
            let word = if report.role == "exporter" { "packed" } else { "came" };
            out.push(format!("    last {word}: {}", last(of.last.as_ref(), report.now)));
            let is_its = |aside: &&AsideStatus| aside.stream == stream.stream && aside.connector == row.id;
            let asides = report.set_aside.iter().filter(is_its);
            out.extend(asides.flat_map(|of| aside(of, "", report.now)).map(|line| format!("    {line}")));
        }
    }
    out
}

fn write_settle(out: &mut Vec<String>, report: &StatusReport) {
    let all = settle(report);
    if !all.is_empty() {
        out.extend([String::new(), "to settle:".to_owned()]);
        out.extend(all.concat());
    }
}

/// Which batches are in which state, and what was not delivered of those that are done.
fn states(stream: &StreamStatus) -> Vec<String> {
    let of_state = stream.numbers.iter().map(|(word, numbers)| format!("    {word}: {}", numbers.words()));
    let in_part = stream.in_part.iter().map(|part| {
        let PartDelivered { sequence, envelopes, held, quarantined } = part;
        let went = grouped(envelopes.saturating_sub(held + quarantined));
        let envelopes = count(*envelopes, "envelope");
        format!("    batch {sequence}: {went} of {envelopes} delivered{}", set_aside(*held, *quarantined))
    });
    of_state.chain(in_part).collect()
}

/// The keys of those who signed.
fn signers(stream: &StreamStatus) -> Vec<String> {
    let known = stream.signers.iter().filter_map(|signer: &Signer| Some((signer.who.as_ref()?, signer.id())));
    known.map(|(who, id)| format!("    {} signs with key {id}", harmless(who))).collect()
}

/// What a person has accepted, and why.
fn accepted(stream: &StreamStatus) -> Vec<String> {
    let lines = stream.accepted.iter().map(|part| {
        let what = if part.sha256.is_some() { "accepted although it forks the stream" } else { "accepted as lost" };
        format!("    {}, {what} {}: {}", part.sequences.words(), harmless(&part.at), harmless(&part.reason))
    });
    lines.collect()
}

fn aside_of(report: &StatusReport, stream: &StreamStatus, of: &AsideStatus) -> Vec<String> {
    let name = stream.connectors.get(&of.connector).map_or(of.connector.as_str(), |connector| connector.name.as_str());
    let lines = aside(of, &format!(" of {}", harmless(name)), report.now);
    lines.into_iter().map(|line| format!("    {line}")).collect()
}
