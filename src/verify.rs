//! verify: does what lies on this medium hold? No site, no ledger; works on any machine with the public keys.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Mutex;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::batch::index::Index;
use crate::batch::manifest::Manifest;
use crate::code::{Code, Severity};
use crate::envelope::Envelope;
use crate::error::Result;
use crate::lack;
use crate::pack::batch_line;
use crate::policy::{Objection, Policy, Verdict};
use crate::report::{Finding, Observer, VerifiedBatch, VerifyReport, fold, head_code};
use crate::shelf::PartFault;
use crate::shelf::check::check_batch;
use crate::shelf::medium::{Medium, Sighting};
use crate::stream::{Lineages, Sequence, StreamId};
use crate::text::{count, harmless};
use crate::trust::{Authentic, NotAllowed, NotAuthentic, Signed, TrustStore};

/// How to verify.
pub struct VerifyOptions {
    /// The zone that this is; none: the batch's zone is named and not judged.
    pub zone: Option<String>,
    /// What may cross; none: not judged.
    pub policy: Option<Policy>,
    /// Processors to use.
    pub threads: usize,
    /// Seconds since 1970, to compare with when batches say they were made.
    pub now: i64,
}

/// Verifies every batch on a medium.
///
/// # Errors
/// The medium is not there.
pub fn verify(
    medium: &Path,
    store: &TrustStore,
    options: &VerifyOptions,
    observer: &dyn Observer,
) -> Result<VerifyReport> {
    let medium = Medium::scan(medium, store.ids())?;
    let mut report = VerifyReport::default();
    report.findings.extend(scan_findings(&medium));
    let (signed, any) = authenticate_all(&medium, store, &mut report.findings)?;
    let mut lineages = Lineages::default();
    signed.iter().filter_map(|(_, s)| succession(s)).for_each(|(stream, before)| lineages.add(stream, before));
    let mut batch_files = 0;
    report.findings.extend(zone_findings(&signed, options.zone.as_deref()));
    for (sighting, signed) in &signed {
        batch_files += 1 + signed.signers().len() as u64 + signed.parts().count() as u64;
        if options.zone.as_ref().is_some_and(|zone| *zone != signed.zone) {
            continue;
        }
        let streams = lineages.of(signed.stream, None);
        report.findings.extend(made_finding(signed, options.now, &sighting.place));
        match allowed_finding(signed, &streams, store, &sighting.place) {
            Some(finding) => report.findings.push(finding),
            None => verify_one(&medium, sighting, signed, store, options, observer, &mut report)?,
        }
    }
    report.other_files = medium.file_count().saturating_sub(batch_files);
    if !any {
        report.findings.push(no_batch());
    }
    fold(&mut report.findings);
    Ok(report)
}

/// A manifest that a trusted key signed, and where it was seen.
pub type Sighted = (Sighting, Signed<Manifest>);

/// Every different manifest on a medium that a trusted key signed, by stream and number, and whether there was
/// any sighting at all. What does not hold is a finding.
///
/// # Errors
/// The machine lacks what reading a manifest takes.
pub fn authenticate_all(
    medium: &Medium,
    store: &TrustStore,
    findings: &mut Vec<Finding>,
) -> Result<(Vec<Sighted>, bool)> {
    let mut signed: Vec<Sighted> = Vec::new();
    let mut known = HashSet::new();
    let mut refused = Vec::new();
    let mut any = false;
    for sighting in medium.sightings() {
        let sighting = sighting?;
        any = true;
        match authenticate(&sighting, store) {
            Ok(s) if known.insert(s.sha256()) => signed.push((sighting, s)),
            Ok(_) => {}
            Err(finding) => refused.push((sighting.unverified.sha256(), finding)),
        }
    }
    // A copy of a manifest that lies apart from its signatures is no other batch.
    refused.retain(|(sha256, _)| !known.contains(sha256));
    findings.extend(refused.into_iter().map(|(_, finding)| *finding));
    for (place, why) in medium.unread_manifests() {
        let finding = Finding::new(Code::Unreadable, format!("this manifest cannot be read: {why}"));
        findings.push(
            finding
                .at(place)
                .advise("bring the medium again, or ask the exporter to resend it: airpouch carry MEDIUM --resend N"),
        );
    }
    fold(findings);
    signed.sort_by_key(|(_, s)| (s.stream, s.sequence));
    Ok((signed, any))
}

/// The finding about a medium without any batch.
pub fn no_batch() -> Finding {
    Finding::new(Code::NoBatch, "there is no batch on this medium")
        .advise("check that it is the right one, and that it is mounted")
}

/// A stream and the one that it goes on from, as its number 1 says.
pub fn succession(manifest: &Manifest) -> Option<(StreamId, StreamId)> {
    Some((manifest.stream, manifest.succeeds?.stream))
}

fn verify_one(
    medium: &Medium,
    sighting: &Sighting,
    signed: &Signed<Manifest>,
    store: &TrustStore,
    options: &VerifyOptions,
    observer: &dyn Observer,
    report: &mut VerifyReport,
) -> Result<()> {
    let objections = Mutex::new(Vec::new());
    let judge = |ordinal: usize, bytes: &[u8]| {
        let found = options.policy.as_ref().and_then(|policy| judge(policy, bytes));
        if let Some(found) = found {
            objections.lock().expect("no thread panics with it").push((ordinal, found));
        }
    };
    observer.begin(&format!("verifying batch {}", signed.sequence), signed.totals.bytes);
    let each: Option<crate::shelf::check::EachEnvelope<'_>> =
        if options.policy.is_some() { Some(&judge) } else { None };
    let checked = check_batch(&medium.shelf_of(sighting), signed, options.threads, each, observer);
    observer.end();
    match lack::apart(checked)? {
        Ok(index) => {
            let mut objections = objections.into_inner().expect("no thread panics with it");
            objections.sort_by_key(|o| o.0);
            report.findings.extend(policy_findings(&objections, &index, signed));
            report.whole.push(VerifiedBatch {
                batch: batch_line(signed, signed.sha256()),
                created: signed.created.clone(),
                signers: signed.signers().iter().map(|k| store.who(k)).collect(),
                head: head_code(signed.sha256()),
            });
        }
        Err(faults) => report.findings.extend(faults.iter().map(|(name, fault)| part_finding(signed, name, fault))),
    }
    Ok(())
}

/// An envelope's position, what the policy would do with it, and why.
type Judged = (usize, (&'static str, Objection));

/// What the policy would do with one envelope, and why, all in one.
fn judge(policy: &Policy, bytes: &[u8]) -> Option<(&'static str, Objection)> {
    let (label, objections) = match Envelope::parse(bytes) {
        Err(fault) => ("would be quarantined", vec![Objection::new(fault.code(), fault.to_string(), "")]),
        Ok(envelope) => match policy.judge(&envelope) {
            Verdict::Pass => return None,
            Verdict::Hold(objections) => ("would be held", objections),
            Verdict::Quarantine(objections) => ("would be quarantined", objections),
        },
    };
    Some((label, Objection::of_all(objections)?))
}

fn policy_findings(judged: &[Judged], index: &Index, signed: &Signed<Manifest>) -> Vec<Finding> {
    let finding = |(ordinal, (label, objection)): &Judged| {
        let name = index.lines.get(ordinal - 1).map_or_else(String::new, |l| harmless(&l.name));
        Finding::new(objection.code, objection.what.clone())
            .labelled(label)
            .ranked(objection.rank)
            .of_batch(signed.stream, signed.sequence.get())
            .of_envelope(*ordinal, name)
    };
    judged.iter().map(finding).collect()
}

/// What a scan of the medium itself has to say.
pub fn scan_findings(medium: &Medium) -> Vec<Finding> {
    let unreadable = medium.unreadable.iter().map(|(place, why)| {
        Finding::new(Code::Unreadable, format!("this of the medium cannot be read: {why}"))
            .weighing(Severity::Warning)
            .at(place.clone())
    });
    let too_many = medium.too_many.then(|| {
        Finding::new(Code::TooManyNames, "there are more than 100,000 names on this medium; the rest was not looked at")
            .advise("move what is not airpouch's away")
    });
    unreadable.chain(too_many).collect()
}

/// From a sighting to a signed manifest, or what is wrong with it.
///
/// # Errors
/// The finding to report.
pub fn authenticate(sighting: &Sighting, store: &TrustStore) -> std::result::Result<Signed<Manifest>, Box<Finding>> {
    let place = sighting.place.clone();
    let unverified = sighting.unverified.clone();
    let authentic: Authentic = store.authenticate(unverified).map_err(|e| Box::new(not_authentic(sighting, &e)))?;
    authentic.into_signed(Manifest::parse).map_err(|lie| {
        let finding = Finding::new(Code::InvalidManifest, format!("the signed manifest is wrong: {lie}")).at(place);
        Box::new(finding.advise("ask the exporter how it was made; nothing of it was opened"))
    })
}

fn not_authentic(sighting: &Sighting, fault: &NotAuthentic) -> Finding {
    let place = sighting.place.clone();
    match fault {
        _ if sighting.was_cut() => {
            Finding::new(Code::CutManifest, "this manifest does not end: it was cut off on its way")
                .at(place)
                .advise("bring the medium again, or ask the exporter to resend it: airpouch carry MEDIUM --resend N")
        }
        _ if sighting.short_signature => Finding::new(Code::CutSignature, "the signature of this manifest is cut off")
            .at(place)
            .advise("bring the medium again"),
        NotAuthentic::NoSignature | NotAuthentic::Unknown { .. } if sighting.unread_signature.is_some() => {
            let (name, why) = sighting.unread_signature.clone().unwrap_or_default();
            Finding::new(Code::Unreadable, format!("the signature {name} cannot be read: {why}"))
                .at(place)
                .advise("bring the medium again, or ask the exporter to resend it: airpouch carry MEDIUM --resend N")
        }
        NotAuthentic::NoSignature if sighting.long_signature => {
            Finding::new(Code::InvalidSignature, "the signature of this manifest is longer than a signature is")
                .at(place)
                .advise("do not use this medium; keep it for the security officer")
        }
        NotAuthentic::NoSignature => Finding::new(Code::NoSignature, "no signature of this manifest is here")
            .at(place)
            .advise("bring the medium again; nothing of it was opened"),
        NotAuthentic::False { .. } if sighting.unverified.has_line_end() => {
            Finding::new(Code::LineEnds, "line endings were converted: it was transferred in text mode")
                .at(place)
                .advise("transfer it again in binary mode")
        }
        NotAuthentic::False { .. } => Finding::new(Code::InvalidSignature, fault.to_string())
            .at(place)
            .advise("do not use this medium; keep it for the security officer"),
        NotAuthentic::Unknown { .. } => Finding::new(Code::UnknownKey, fault.to_string()).at(place).advise(
            "if the exporter has a new key, put its public key into the trust store; the batch was left where it is",
        ),
    }
}

/// A batch for another zone is named as what it is; nothing is held against it.
pub fn zone_finding(manifest: &Manifest, zone: Option<&str>, place: &str) -> Option<Finding> {
    let here = zone.filter(|z| *z != manifest.zone)?;
    let what = format!("batch {} is meant for zone {}; this is zone {here}", manifest.sequence, manifest.zone);
    Some(Finding::new(Code::WrongZone, what).at(place).advise("take it to its own zone; here it was left as it is"))
}

/// The batches on a medium that are meant for other zones, a finding for each zone. Beside batches for this zone that is
/// a note: a medium may go from zone to zone, and each takes its own.
pub fn zone_findings(signed: &[(Sighting, Signed<Manifest>)], zone: Option<&str>) -> Vec<Finding> {
    let Some(here) = zone else { return Vec::new() };
    let mut foreign: BTreeMap<&str, Vec<&(Sighting, Signed<Manifest>)>> = BTreeMap::new();
    for one in signed.iter().filter(|(_, signed)| signed.zone != here) {
        foreign.entry(&one.1.zone).or_default().push(one);
    }
    let ours = signed.iter().any(|(_, signed)| signed.zone == here);
    let finding = |(_, batches): (&str, Vec<&(Sighting, Signed<Manifest>)>)| {
        let (sighting, first) = batches[0];
        let mut finding = zone_finding(first, Some(here), &sighting.place)?;
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
pub fn made_finding(manifest: &Manifest, now: i64, place: &str) -> Option<Finding> {
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
pub fn allowed_finding(
    signed: &Signed<Manifest>,
    streams: &[Uuid],
    store: &TrustStore,
    place: &str,
) -> Option<Finding> {
    let refused = store.allows(signed.signers(), streams, &signed.zone, signed.sequence.get()).err()?;
    let batch = format!("batch {} of stream {}", signed.sequence, signed.stream);
    Some(match refused {
        NotAllowed::TooFew { .. } => Finding::new(Code::TooFewSignatures, format!("{batch}: {refused}"))
            .at(place)
            .advise("have the other key sign it, and bring its signature file"),
        NotAllowed::Stream if signed.sequence > Sequence::FIRST => not_allowed(&batch, &refused, place).advise(
            "left where it is; add the stream in trust.toml, or bring its batch 1, which says what it goes on from",
        ),
        _ => not_allowed(&batch, &refused, place).advise("left where it is; see trust.toml in the trust store"),
    })
}

fn not_allowed(batch: &str, refused: &NotAllowed, place: &str) -> Finding {
    Finding::new(Code::NotAllowed, format!("{batch}: {refused}")).at(place)
}

/// A file of a batch that cannot be used.
pub fn part_finding(manifest: &Manifest, name: &str, fault: &PartFault) -> Finding {
    let (code, advice) = match fault {
        PartFault::Lie(_) => {
            (Code::InvalidBatch, "a trusted key signed this; ask the exporter how it was made".to_owned())
        }
        _ if fault.is_false() => (
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
