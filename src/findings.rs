//! What is said of a batch on a shelf: in the same words, whoever looks at it.

pub mod ingested;
pub mod medium;
pub mod missing;
pub mod silence;

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::batch::manifest::Manifest;
use crate::batch::signed::SignedBatch;
use crate::code::{Code, Severity};
use crate::report::Finding;
use crate::shelf::PartFault;
use crate::stream::Sequence;
use crate::text::count;
use crate::trust::{NotAllowed, TrustStore};

use medium::Sighted;

/// A batch for another zone is named as what it is; nothing is held against it.
pub fn wrong_zone(manifest: &Manifest, zone: Option<&str>, place: &str) -> Option<Finding> {
    let here = zone.filter(|z| *z != manifest.zone)?;
    let what = format!("batch {} is meant for zone {}; this is zone {here}", manifest.sequence, manifest.zone);
    Some(Finding::new(Code::WrongZone, what).at(place).advise("take it to its own zone; here it was left as it is"))
}

/// The batches on a medium that are meant for other zones, a finding for each zone. Beside batches for this zone that is
/// a note: a medium may go from zone to zone, and each takes its own.
pub fn wrong_zones(signed: &[Sighted], zone: Option<&str>) -> Vec<Finding> {
    let Some(here) = zone else { return Vec::new() };
    let mut foreign: BTreeMap<&str, Vec<&Sighted>> = BTreeMap::new();
    for one in signed.iter().filter(|(_, signed)| signed.zone != here) {
        foreign.entry(&one.1.zone).or_default().push(one);
    }
    let ours = signed.iter().any(|(_, signed)| signed.zone == here);
    let finding = |(_, batches): (&str, Vec<&Sighted>)| {
        let (sighting, first) = batches[0];
        let mut finding = wrong_zone(first, Some(here), &sighting.place)?;
        if batches.len() > 1 {
            let number = count(batches.len() as u64, "batch");
            finding.what = format!("{number} are meant for zone {}; this is zone {here}", first.zone);
        }
        if ours {
            finding = finding.weighing(Severity::Note);
        }
        Some(finding)
    };
    foreign.into_iter().filter_map(finding).collect()
}

/// A batch that says it was made far from now: at one of the two sides the clock is wrong. Nothing else depends on it.
pub fn made_date(manifest: &Manifest, now: i64, place: &str) -> Option<Finding> {
    /// Clocks differ, and so do time zones that somebody typed in.
    const AHEAD: i64 = 86_400;
    /// Older batches are sent again now and then; ten years say that a clock began anew.
    const BEHIND: i64 = 10 * 365 * 86_400;
    let made = OffsetDateTime::parse(&manifest.created, &Rfc3339).ok()?.unix_timestamp();
    let how = match made - now {
        ahead if ahead > AHEAD => "in the future",
        behind if behind < -BEHIND => "more than ten years ago",
        _ => return None,
    };
    let what = format!("batch {} says that it was made {how}: {}", manifest.sequence, manifest.created);
    Some(
        Finding::new(Code::MadeDate, what)
            .at(place)
            .advise("compare the clocks of both sides; order and freshness do not depend on them"),
    )
}

/// What trust.toml has against these signers for this batch; `streams` are its own and those that it succeeds.
pub fn not_allowed(signed: &SignedBatch, streams: &[Uuid], store: &TrustStore, place: &str) -> Option<Finding> {
    let refused = store.allows(signed.signers(), streams, &signed.zone, signed.sequence.get()).err()?;
    let batch = format!("batch {} of stream {}", signed.sequence, signed.stream);
    Some(match refused {
        NotAllowed::TooFew { .. } => Finding::new(Code::TooFewSignatures, format!("{batch}: {refused}"))
            .at(place)
            .advise("let the owner of the other key sign it, and import its signature file"),
        NotAllowed::Stream if signed.sequence > Sequence::FIRST => refusal(&batch, &refused, place).advise(
            "left where it is; add the stream in trust.toml, or bring its batch 1, which says what it continues",
        ),
        _ => refusal(&batch, &refused, place).advise("left where it is; see trust.toml in the trust store"),
    })
}

fn refusal(batch: &str, refused: &NotAllowed, place: &str) -> Finding {
    Finding::new(Code::NotAllowed, format!("{batch}: {refused}")).at(place)
}

/// A file of a batch that cannot be used.
pub fn part(manifest: &Manifest, name: &str, fault: &PartFault) -> Finding {
    let (code, advice) = match fault {
        PartFault::Lie(_) => {
            (Code::InvalidBatch, "a trusted key signed this; ask the exporter how it was made".to_owned())
        }
        _ if fault.is_invalid() => (
            Code::Damaged,
            format!("ask the exporter to resend it: airpouch carry MEDIUM --resend {}", manifest.sequence),
        ),
        _ => (
            Code::IncompleteBatch,
            format!(
                "bring the rest, or ask the exporter to resend it: airpouch carry MEDIUM --resend {}",
                manifest.sequence
            ),
        ),
    };
    let finding =
        Finding::new(code, format!("{name} {fault}")).of_batch(manifest.stream, manifest.sequence.get()).advise(advice);
    if matches!(fault, PartFault::Unreadable(_)) { finding.labelled(Code::Unreadable.label()) } else { finding }
}
