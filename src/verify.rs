//! verify: does what lies on this medium hold? No site, no ledger; works on any machine with the public keys.

use std::path::Path;
use std::sync::Mutex;

use crate::batch::index::Index;
use crate::batch::signed::SignedBatch;
use crate::envelope::Envelope;
use crate::error::Result;
use crate::findings;
use crate::findings::medium::{head_beside, no_batch, scan, signed_batches};
use crate::lack;
use crate::lock::{POISONED, lock};
use crate::policy::{Objection, Policy, Verdict};
use crate::report::{BatchLine, Finding, Head, Observer, VerifiedBatch, VerifyReport, fold};
use crate::shelf::check::check_batch;
use crate::shelf::medium::{Medium, Sighting};
use crate::stream::Lineages;
use crate::text::harmless;
use crate::trust::TrustStore;

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
    report.findings.extend(scan(&medium));
    let (signed, any) = signed_batches(&medium, store, &mut report.findings)?;
    for (_, batch) in &signed {
        head_beside(&medium, batch, &mut report.findings)?;
    }
    let mut lineages = Lineages::default();
    signed.iter().filter_map(|(_, s)| s.succession()).for_each(|(stream, before)| lineages.add(stream, before));
    let verifier = Verifier { medium: &medium, store, options, observer };
    let mut batch_files = 0;
    report.findings.extend(findings::wrong_zones(&signed, options.zone.as_deref()));
    for (sighting, signed) in &signed {
        batch_files += 1 + signed.signers().len() as u64 + signed.parts().count() as u64;
        if options.zone.as_ref().is_some_and(|zone| *zone != signed.zone) {
            continue;
        }
        let streams = lineages.of(signed.stream, None);
        report.findings.extend(findings::made_date(signed, options.now, &sighting.place));
        match findings::not_allowed(signed, &streams, store, &sighting.place) {
            Some(finding) => report.findings.push(finding),
            None => verifier.verify(sighting, signed, &mut report)?,
        }
    }
    report.other_files = medium.file_count().saturating_sub(batch_files + medium.head_count());
    if !any {
        report.findings.push(no_batch());
    }
    fold(&mut report.findings);
    Ok(report)
}

/// What each batch of a medium is held against.
struct Verifier<'a> {
    medium: &'a Medium,
    store: &'a TrustStore,
    options: &'a VerifyOptions,
    observer: &'a dyn Observer,
}

impl Verifier<'_> {
    fn verify(&self, sighting: &Sighting, signed: &SignedBatch, report: &mut VerifyReport) -> Result<()> {
        let Self { medium, store, options, observer } = *self;
        let objections = Mutex::new(Vec::new());
        let judge = |ordinal: usize, bytes: &[u8]| {
            let found = options.policy.as_ref().and_then(|policy| judge(policy, bytes));
            if let Some(found) = found {
                lock(&objections).push((ordinal, found));
            }
        };
        observer.begin(&format!("verifying batch {}", signed.sequence), signed.totals.bytes);
        let each: Option<crate::shelf::check::EachEnvelope<'_>> =
            if options.policy.is_some() { Some(&judge) } else { None };
        let checked = check_batch(&medium.shelf_of(sighting), signed, options.threads, each, observer);
        observer.end();
        match lack::apart(checked)? {
            Ok(index) => {
                let mut objections = objections.into_inner().expect(POISONED);
                objections.sort_by_key(|o| o.0);
                report.findings.extend(policy_findings(&objections, &index, signed));
                report.whole.push(VerifiedBatch {
                    batch: BatchLine::of(signed, signed.sha256()),
                    created: signed.created.clone(),
                    signers: signed.signers().iter().map(|k| store.who(k)).collect(),
                    head: Head::of(signed.stream, signed.sequence.get(), signed.sha256()),
                });
            }
            Err(faults) => {
                report.findings.extend(faults.iter().map(|(name, fault)| findings::part(signed, name, fault)))
            }
        }
        Ok(())
    }
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

fn policy_findings(judged: &[Judged], index: &Index, signed: &SignedBatch) -> Vec<Finding> {
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
