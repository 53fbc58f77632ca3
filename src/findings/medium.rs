//! From a medium to the batches on it that a trusted key signed. What is wrong with the others is a finding.

use std::collections::HashSet;

use crate::batch::signed::SignedBatch;
use crate::code::{Code, Severity};
use crate::error::Result;
use crate::report::{Finding, fold};
use crate::shelf::medium::{Medium, Sighting};
use crate::trust::{Authentic, NotAuthentic, TrustStore};

/// A manifest that a trusted key signed, and where it was seen.
pub type Sighted = (Sighting, SignedBatch);

/// Every different manifest on a medium that a trusted key signed, by stream and number, and whether there was
/// any sighting at all. What does not hold is a finding.
///
/// # Errors
/// The machine lacks what reading a manifest takes.
pub fn signed_batches(
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

/// The head of the exporter's journal beside a batch, as text. One that cannot be read is a finding; the batch is whole
/// without it.
///
/// # Errors
/// The machine lacks what reading takes.
pub fn head_beside(medium: &Medium, batch: &SignedBatch, findings: &mut Vec<Finding>) -> Result<Option<String>> {
    medium.head_of(batch.stream, batch.sequence, |name, why| {
        let what = format!("this head of the exporter's journal cannot be read: {why}");
        let advice = "the batch is whole without it; look at the medium, for the next one may lose more";
        findings.push(Finding::new(Code::Unreadable, what).at(name).advise(advice));
    })
}

/// A medium without any batch.
pub fn no_batch() -> Finding {
    Finding::new(Code::NoBatch, "there is no batch on this medium")
        .advise("check that it is the right one, and that it is mounted")
}

/// What a scan of the medium itself has to say.
pub fn scan(medium: &Medium) -> Vec<Finding> {
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
fn authenticate(sighting: &Sighting, store: &TrustStore) -> std::result::Result<SignedBatch, Box<Finding>> {
    let place = sighting.place.clone();
    let unverified = sighting.unverified.clone();
    let authentic: Authentic = store.authenticate(unverified).map_err(|e| Box::new(not_authentic(sighting, &e)))?;
    SignedBatch::open(authentic).map_err(|lie| {
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
