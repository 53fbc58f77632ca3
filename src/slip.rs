//! slip: what goes into the bag with a medium, made after a carry of what was carried.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::batch::manifest::Manifest;
use crate::clock;
use crate::deed::{Actor, MediumFacts};
use crate::error::Result;
use crate::ledger::exporter::ExporterView;
use crate::report::{BatchLine, CarryReport, Slip};
use crate::stream::{Numbers, StreamId};

/// Who carries what to where, for a slip.
#[derive(Debug)]
pub struct Bag<'a> {
    /// The directory of the site.
    pub from: String,
    /// The zone.
    pub zone: String,
    /// Who carries.
    pub actor: &'a Actor,
    /// What the system tells of the medium.
    pub device: MediumFacts,
    /// When it was carried.
    pub at: String,
}

/// The slip for what a carry brought to a medium; none if it brought nothing.
///
/// # Errors
/// SQLite refused.
pub fn slip(ledger: &ExporterView, report: &CarryReport, bag: Bag<'_>) -> Result<Option<Slip>> {
    let all: Vec<&BatchLine> = report.new.iter().chain(&report.repeated).collect();
    if all.is_empty() || !report.ended {
        return Ok(None);
    }
    let (mut packed, mut latest) = (Vec::new(), None);
    for (at, line) in all.iter().enumerate() {
        let Some(manifest) = manifest(ledger, line)? else { continue };
        // What is repeated may have arrived long ago.
        if at < report.new.len() || report.new.is_empty() {
            let promised = manifest.promise.and_then(|promise| after(&manifest.created, promise));
            latest = latest.into_iter().chain(promised).min();
        }
        packed.push(manifest.created);
    }
    packed.sort();
    let Bag { from, zone, actor, device, at } = bag;
    let known = |word, text: &Option<String>| (word, text.clone().unwrap_or_default());
    Ok(Some(Slip {
        from,
        to: zone,
        batches: numbers(&all),
        number: all.len() as u64,
        bytes: all.iter().map(|line| line.packed).sum(),
        code: report.head.as_ref().map(|head| format!("{} (batch {})", head.code, head.sequence)),
        packed: packed.first().cloned().zip(packed.last().cloned()),
        carried: at,
        latest,
        medium: [known("Medium’s label", &device.label), known("Serial number", &device.serial)],
        persons: [known("Operator", &actor.operator), known("Witness", &actor.witness), known("Ticket", &actor.ticket)],
    }))
}

fn manifest(ledger: &ExporterView, line: &BatchLine) -> Result<Option<Manifest>> {
    let row = ledger.streams()?.into_iter().find(|row| row.stream == line.stream);
    let Some(row) = row else { return Ok(None) };
    Ok(ledger.batch(&row, line.sequence)?.map(|batch| batch.sealed.manifest().clone()))
}

/// The numbers of the batches, by stream.
fn numbers(all: &[&BatchLine]) -> Vec<String> {
    let mut streams: Vec<StreamId> = all.iter().map(|line| line.stream).collect();
    streams.sort();
    streams.dedup();
    let of = |stream: StreamId| {
        let numbers: Numbers = all.iter().filter(|line| line.stream == stream).map(|line| line.sequence).collect();
        format!("{} of stream {stream}", numbers.words())
    };
    streams.into_iter().map(of).collect()
}

/// So many seconds after a time, as RFC 3339 writes it.
fn after(at: &str, seconds: u64) -> Option<String> {
    let begin = OffsetDateTime::parse(at, &Rfc3339).ok()?.unix_timestamp();
    Some(clock::utc(begin.checked_add_unsigned(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_a_promise_is_after_the_batch() {
        assert_eq!(after("2026-11-28T23:00:00Z", 7200).as_deref(), Some("2026-11-29T01:00:00Z"));
        assert_eq!(after("never", 1), None);
        assert_eq!(after("2026-11-28T23:00:00Z", u64::MAX), None);
    }
}
