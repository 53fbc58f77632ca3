//! show: what the batches of a medium are, or a batch of a site, or one envelope of it. Changes nothing, and decides
//! nothing: the same bytes are judged again by an import.

mod before;
mod lines;
mod place;
mod tally;
mod unusual;

use std::collections::BTreeMap;
use std::path::Path;

use crate::batch::index::{Index, IndexLine, Names};
use crate::batch::manifest::Manifest;
use crate::batch::signed::SignedBatch;
use crate::digest::Digest;
use crate::envelope::{Contents, Envelope};
use crate::error::{Error, Result};
use crate::findings;
use crate::findings::medium::{no_batch, scan, signed_batches};
use crate::lack;
use crate::ledger::View;
use crate::policy::{Objection, Policy, Verdict};
use crate::report::{
    BatchCard, BatchLine, EmbeddedFiles, EnvelopeCard, Finding, NamedConnector, NamedEnvelope, Observer, ShowReport,
    ShownLine, ShownRemark, fold,
};
use crate::shelf::Shelf;
use crate::shelf::check::{check_batch, envelopes_at, read_index};
use crate::shelf::medium::Medium;
use crate::site::Site;
use crate::trust::{PublicKey, TrustStore};

use before::{Earlier, EarlierInLedger, OnMedium};
pub use place::{KeptBatch, Place, find};
use tally::ContentTally;
use unusual::unusual;

/// How to look at batches.
pub struct ShowOptions<'a> {
    /// Of a medium, this batch alone.
    pub only: Option<Place>,
    /// Processors to use.
    pub threads: usize,
    /// Who is told how far it is.
    pub observer: &'a dyn Observer,
}

/// Shows the batches of a medium that a trusted key signed. With a ledger, each is compared with what came before it.
///
/// # Errors
/// The medium is not there, or has no such batch; SQLite refused.
pub fn medium(dir: &Path, store: &TrustStore, ledger: Option<&View>, options: &ShowOptions<'_>) -> Result<ShowReport> {
    let medium = Medium::scan(dir, store.ids())?;
    let mut report = ShowReport { findings: scan(&medium), ..ShowReport::default() };
    let (signed, any) = signed_batches(&medium, store, &mut report.findings)?;
    if !any {
        report.findings.push(no_batch());
    }
    let is_asked =
        |batch: &SignedBatch| options.only.as_ref().is_none_or(|only| only.names(batch.stream, batch.sequence.get()));
    let (mut on_medium, mut in_ledger) = (OnMedium::default(), ledger.map(EarlierInLedger::new));
    for (sighting, batch) in &signed {
        if !is_asked(batch) {
            on_medium.add(batch, None);
            continue;
        }
        let known = in_ledger.as_mut().map(|ledger| ledger.before(batch)).transpose()?;
        let earlier = on_medium.with(batch, known);
        let signers: Vec<&PublicKey> = batch.signers().iter().collect();
        let seen =
            LookedAt { manifest: batch, sha256: batch.sha256(), state: None, store: Some(store), signers: &signers };
        let shelf = medium.shelf_of(sighting);
        let card = seen.card(Some(&shelf), &earlier, options, &mut report.findings)?;
        on_medium.add(batch, Some(&card));
        report.batches.push(card);
    }
    if let Some(only) = options.only.as_ref().filter(|_| report.batches.is_empty()) {
        return Err(Error::usage(format!("batch {} is not on this medium", only.batch()))
            .at(dir)
            .advise("see which ones are: airpouch show MEDIUM"));
    }
    fold(&mut report.findings);
    Ok(report)
}

/// Shows a batch of a site. `store` names the signers.
///
/// # Errors
/// The site has no such batch; SQLite refused.
pub fn batch(
    site: &Site,
    ledger: &View,
    place: &Place,
    store: Option<&TrustStore>,
    options: &ShowOptions<'_>,
) -> Result<ShowReport> {
    let kept = find(site, ledger, place)?;
    let keys = kept.signers(ledger, store)?;
    let signers: Vec<&PublicKey> = keys.iter().collect();
    let seen =
        LookedAt { manifest: &kept.manifest, sha256: kept.sha256, state: Some(kept.state), store, signers: &signers };
    let mut report = ShowReport::default();
    let earlier = EarlierInLedger::new(ledger).before(&kept.manifest)?;
    let shelf = kept.is_here.then_some(&kept.shelf);
    let mut card = seen.card(shelf, &earlier, options, &mut report.findings)?;
    if let Some(index) = &kept.index {
        match lack::apart(read_index(index, &kept.manifest, Names::Drop))? {
            Ok(read) => {
                card.is_of_index = true;
                card.connectors = tally::of_index(&kept.manifest, &read);
            }
            Err(fault) => report.findings.push(findings::part(&kept.manifest, &kept.manifest.index.name, &fault)),
        }
    }
    if card.signers.is_empty() {
        // The ledger has kept the fingerprints alone.
        card.signers = kept.fingerprints.iter().map(|key| key.to_string().chars().take(16).collect()).collect();
    }
    report.batches.push(card);
    fold(&mut report.findings);
    Ok(report)
}

/// Shows one envelope of a batch of a site, and what this policy does with it.
///
/// # Errors
/// The site has no such envelope, or not any more; SQLite refused.
pub fn envelope(site: &Site, ledger: &View, place: &Place, policy: &Policy, all_lines: bool) -> Result<ShowReport> {
    let kept = find(site, ledger, place)?;
    let line = index_line(&kept, place)?;
    let bytes = read(&kept, place)?;
    let envelope = Envelope::parse(&bytes).map_err(|fault| {
        Error::failed(format!("not an envelope: {fault}")).at_place(&format!("{}:{}", place.batch(), line.sha256))
    })?;
    let (verdict, objections) = match policy.judge(&envelope) {
        Verdict::Pass => ("pass", Vec::new()),
        Verdict::Hold(objections) => ("hold", objections),
        Verdict::Quarantine(objections) => ("quarantine", objections),
    };
    let remarks = remarks(&objections, &envelope.contents);
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let lines = shown_lines(text, &remarks, all_lines);
    let Contents { objects, types, markings, .. } = &envelope.contents;
    let mut files = EmbeddedFiles::default();
    tally::add_files(&mut files, &envelope.contents);
    let card = EnvelopeCard {
        stream: kept.manifest.stream,
        sequence: kept.manifest.sequence.get(),
        sha256: line.sha256,
        envelope: NamedEnvelope { ordinal: place.ordinal.unwrap_or_default(), name: line.name.clone() },
        bytes: line.bytes,
        mtime: line.mtime.to_string(),
        connector: NamedConnector { id: envelope.connector.id.to_string(), name: envelope.connector.name.clone() },
        applicant: envelope.applicant.clone(),
        state: state_of(ledger, line.sha256)?,
        objects: *objects,
        types: types.clone(),
        markings: markings.clone(),
        files,
        verdict,
        remarks,
        lines,
    };
    Ok(ShowReport { envelope: Some(card), ..ShowReport::default() })
}

/// What became of an envelope, by the ledger of an importer.
fn state_of(ledger: &View, sha256: Digest) -> Result<Option<&'static str>> {
    let View::Importer(ledger) = ledger else { return Ok(None) };
    if let Some(kind) = ledger.aside_kind(sha256)? {
        return Ok(Some(kind.word()));
    }
    if ledger.rejected_copy(sha256)?.is_some() {
        return Ok(Some("rejected"));
    }
    let Some(destination) = ledger.destination()? else { return Ok(None) };
    Ok(ledger.is_delivered(destination.id, sha256)?.then_some("delivered"))
}

/// The bytes of one envelope of a batch of a site, held against its digest.
///
/// # Errors
/// The site has no such envelope, or not any more; SQLite refused.
pub fn bytes(site: &Site, ledger: &View, place: &Place) -> Result<Vec<u8>> {
    read(&find(site, ledger, place)?, place)
}

/// Index and volume are digested before they are unpacked, and the envelope before it is handed out.
fn read(kept: &KeptBatch, place: &Place) -> Result<Vec<u8>> {
    kept.is_still_here()?;
    let mut found = None;
    let ordinal = place.ordinal.unwrap_or_default();
    let read = envelopes_at(&kept.shelf, &kept.manifest, &[ordinal], &mut |_, bytes| {
        found = Some(bytes);
        false
    });
    lack::apart(read)?.map_err(|(name, fault)| cannot_read(kept, &name, fault))?;
    found.ok_or_else(|| kept.has_no(ordinal))
}

fn index_line(kept: &KeptBatch, place: &Place) -> Result<IndexLine> {
    kept.is_still_here()?;
    let read = read_index(&kept.shelf, &kept.manifest, Names::Keep);
    let mut index: Index = lack::apart(read)?.map_err(|fault| cannot_read(kept, &kept.manifest.index.name, fault))?;
    let ordinal = place.ordinal.unwrap_or_default();
    match ordinal.checked_sub(1).filter(|at| *at < index.lines.len()) {
        Some(at) => Ok(index.lines.swap_remove(at)),
        None => Err(kept.has_no(ordinal)),
    }
}

fn cannot_read(kept: &KeptBatch, name: &str, fault: impl std::fmt::Display) -> Error {
    Error::failed(format!("cannot read {name}: {fault}")).at(kept.shelf.dir())
}

/// A batch that is looked at.
struct LookedAt<'a> {
    manifest: &'a Manifest,
    sha256: Digest,
    state: Option<&'static str>,
    store: Option<&'a TrustStore>,
    signers: &'a [&'a PublicKey],
}

impl LookedAt<'_> {
    /// Reads it whole, if there is a shelf, and counts.
    fn card(
        &self,
        shelf: Option<&impl Shelf>,
        earlier: &Earlier,
        options: &ShowOptions<'_>,
        findings: &mut Vec<Finding>,
    ) -> Result<BatchCard> {
        let Self { manifest, sha256, state, store, signers } = *self;
        let mut card = BatchCard {
            batch: BatchLine::of(manifest, sha256),
            state,
            created: manifest.created.clone(),
            producer: manifest.producer.clone(),
            signers: signers.iter().map(|key| store.map_or_else(|| key.id(), |store| store.who(key))).collect(),
            is_read: false,
            is_of_index: false,
            connectors: tally::of_manifest(manifest),
            applicants: manifest.applicants.clone(),
            files: EmbeddedFiles::default(),
            acts: Vec::new(),
            more_acts: 0,
            compared: earlier.manifests.len() as u64,
            unusual: Vec::new(),
        };
        if let Some(shelf) = shelf {
            let tally = ContentTally::default();
            options.observer.begin(&format!("reading batch {}", manifest.sequence), manifest.totals.bytes);
            let count = |ordinal: usize, bytes: &[u8]| tally.add(ordinal, bytes);
            let checked = check_batch(shelf, manifest, options.threads, Some(&count), options.observer);
            options.observer.end();
            match lack::apart(checked)? {
                Ok(index) => {
                    card.is_read = true;
                    (card.connectors, card.files, card.acts, card.more_acts) = tally.into_cards(manifest, &index);
                }
                Err(faults) => {
                    findings.extend(faults.iter().map(|(name, fault)| findings::part(manifest, name, fault)))
                }
            }
        }
        let fingerprints: Vec<Digest> = signers.iter().map(|key| key.fingerprint()).collect();
        card.unusual = unusual(&card, &fingerprints, earlier);
        Ok(card)
    }
}

/// Why the policy does not let it pass, and what else was found: each once.
fn remarks(objections: &[Objection], contents: &Contents) -> Vec<ShownRemark> {
    let of_policy = objections.iter().map(|o| (o.code, &o.what, &o.place));
    let found = contents.findings.iter().map(|found| (found.code, &found.what, &found.place));
    let mut remarks: Vec<ShownRemark> = Vec::new();
    for (code, what, pointer) in of_policy.chain(found) {
        if !remarks.iter().any(|one| one.code == code && one.pointer == *pointer) {
            remarks.push(ShownRemark { code, what: what.clone(), pointer: pointer.clone() });
        }
    }
    remarks
}

/// Lines of an envelope that are shown unless all are asked for: from its beginning, and around each marked one.
const LINES_SHOWN: usize = 200;
/// Lines around a marked one.
const LINES_AROUND: usize = 12;
/// Marked lines that are shown with those around them.
const MARKS_SHOWN: usize = 30;

/// The lines of an envelope, with marks where remarks point to.
fn shown_lines(text: &str, remarks: &[ShownRemark], all: bool) -> Vec<ShownLine> {
    let said: Vec<(&str, String)> =
        remarks.iter().map(|one| (&*one.pointer, format!("{}: {}", one.code, one.what))).collect();
    let marks: BTreeMap<&str, &str> = said.iter().map(|(pointer, what)| (*pointer, &**what)).collect();
    let mut marked = Vec::new();
    let mut number = 0;
    let counted = lines::each(text, &marks, |at, _, mark| {
        number = at;
        if mark.is_some() && marked.len() < MARKS_SHOWN {
            marked.push(at);
        }
    });
    let is_shown = |at: usize| {
        all || number <= LINES_SHOWN
            || at <= LINES_AROUND
            || marked.iter().any(|mark| mark.abs_diff(at) <= LINES_AROUND)
    };
    let mut shown = Vec::new();
    let taken = counted.and_then(|()| {
        lines::each(text, &marks, |at, line, mark| {
            if is_shown(at) {
                shown.push(ShownLine::Text(at, line));
                shown.extend(mark.map(|what| ShownLine::Mark(what.to_owned())));
            } else if let Some(ShownLine::LeftOut(left_out)) = shown.last_mut() {
                *left_out += 1;
            } else {
                shown.push(ShownLine::LeftOut(1));
            }
        })
    });
    // It was read as an envelope before.
    debug_assert!(taken.is_ok());
    shown
}
