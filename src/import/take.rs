//! take: from the medium into our custody, file by file, each digested before it gets its name.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::mpsc::sync_channel;

use super::ImportOptions;
use super::continuity::Continuity;
use crate::batch::manifest::{Manifest, Part};
use crate::batch::{Checked, name};
use crate::code::{Code, Severity};
use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result};
use crate::findings;
use crate::findings::medium::{Sighted, no_batch, scan, signed_batches};
use crate::lack::{self, Lack};
use crate::ledger::importer::{ImporterLedger, ImporterView, Standing, State};
use crate::report::{BatchLine, Event, Finding, ImportReport, Observer};
use crate::shelf::inbox::{Inbox, folder_name};
use crate::shelf::kept::KeptShelf;
use crate::shelf::medium::{Medium, MediumShelf, Sighting};
use crate::shelf::{PartFault, Shelf};
use crate::site::Site;
use crate::stream::Lineages;
use crate::text::{count, size};
use crate::trust::signature::key_id_in;
use crate::trust::{Signed, TrustStore};

/// Signatures kept with a batch; strangers may have left any number.
const SIGNATURES_KEPT: usize = 8;
/// Left free where the site lies, so that the ledger can go on.
const SPARE_BYTES: u64 = 1 << 20;

/// Finishes in the inbox what a broken run has left there. Folders of batches that were whole before are not opened:
/// they are the most, and nothing was being written into them.
pub fn look_through_inbox(site: &Site, ledger: &mut ImporterLedger, store: &TrustStore) -> Result<()> {
    let inbox = Inbox::new(site.inbox());
    let kept = ledger.kept_in_inbox()?.into_iter().map(|b| folder_name(b.stream, b.sequence, b.sha256));
    let kept: HashSet<OsString> = kept.map(OsString::from).collect();
    for folder in inbox.folders()?.into_iter().filter(|folder| !kept.contains(folder)) {
        let known = standing_of_folder(ledger, &folder)?;
        let shelf = inbox.shelf_named(&folder);
        shelf.sweep_partials()?;
        if known.is_none() {
            adopt(&shelf, ledger, store)?;
        }
    }
    Ok(())
}

/// The batch that lies in a folder of this name, if the ledger knows it.
fn standing_of_folder(ledger: &ImporterView, folder: &OsStr) -> Result<Option<Standing>> {
    let Some((name, digits)) = folder.to_str().and_then(|n| Some((n, n.rsplit_once('.')?.1))) else { return Ok(None) };
    let is_its_own = |s: &Standing| folder_name(s.batch.stream, s.batch.sequence, s.batch.sha256) == name;
    Ok(ledger.standing_by_beginning(digits)?.into_iter().find(is_its_own))
}

/// Takes into the ledger a batch that is not known there: the run that brought it was cut off just before it could
/// say so.
fn adopt(shelf: &KeptShelf, ledger: &mut ImporterLedger, store: &TrustStore) -> Result<()> {
    let Some(unverified) = shelf.only_manifest()? else { return Ok(()) };
    let Ok(authentic) = store.authenticate(unverified) else { return Ok(()) };
    let Ok(signed) = authentic.into_signed(Manifest::parse) else { return Ok(()) };
    let named = folder_name(signed.stream, signed.sequence, signed.sha256());
    if shelf.dir().file_name() == Some(OsStr::new(&named)) {
        let state = if signed.parts().all(|p| shelf.has(&p)) { State::Whole } else { State::Incomplete };
        ledger.note_incoming(&signed, signed.sha256(), signed.bytes(), state)?;
    }
    Ok(())
}

/// Takes every batch that a trusted key signed. Returns the digests of those that were seen.
#[allow(clippy::too_many_arguments, reason = "a step between two places, with the rules of the run")]
pub fn take(
    site: &Site,
    ledger: &mut ImporterLedger,
    medium: &Path,
    store: &TrustStore,
    options: &ImportOptions,
    observer: &dyn Observer,
    continuity: &mut Continuity,
    report: &mut ImportReport,
) -> Result<BTreeSet<Digest>> {
    let medium = Medium::scan(medium, store.ids())?;
    report.findings.extend(scan(&medium));
    let (signed, any) = signed_batches(&medium, store, &mut report.findings)?;
    if !any {
        report.findings.push(no_batch());
    }
    report.findings.extend(findings::wrong_zones(&signed, Some(&options.zone)));
    let lineages = lineages(ledger, store, &signed)?;
    let mut seen = BTreeSet::new();
    for (sighting, signed) in &signed {
        let place = sighting.place.as_str();
        if signed.zone != options.zone {
            continue;
        }
        let streams = lineages.of(signed.stream, signed.succeeds.map(|s| s.stream));
        // With too few signatures so far it is taken all the same: another medium may bring the others.
        if let Some(finding) =
            findings::not_allowed(signed, &streams, store, place).filter(|f| f.severity == Severity::Invalid)
        {
            report.findings.push(finding);
            continue;
        }
        seen.insert(signed.sha256());
        take_one(site, ledger, &medium, sighting, signed, options, observer, continuity, report)?;
    }
    let waiting = waiting(ledger, &seen)?;
    if waiting > 0 && !report.findings.iter().any(keeps_the_medium) {
        observer.event(&Event::InCustody(waiting));
    }
    Ok(seen)
}

/// Batches of those that were seen that are whole in the inbox, and of which no run has said yet what becomes of them:
/// one that took them may have been cut off.
fn waiting(ledger: &ImporterView, seen: &BTreeSet<Digest>) -> Result<u64> {
    let mut waiting = 0;
    for sha256 in seen {
        let known = ledger.standing_of(*sha256)?;
        let is_new = |s: &Standing| s.state == State::Admitted || (s.state == State::Whole && s.standing.is_none());
        waiting += u64::from(known.as_ref().is_some_and(is_new));
    }
    Ok(waiting)
}

/// Whether a finding about a medium says that it, or another one, is still needed.
fn keeps_the_medium(finding: &Finding) -> bool {
    finding.severity >= Severity::Incomplete && finding.code != Code::WrongZone
}

/// Which stream goes on from which. What was admitted says so; a medium only of streams that are new here, in a
/// number 1 that its own signers may sign.
fn lineages(ledger: &ImporterView, store: &TrustStore, signed: &[Sighted]) -> Result<Lineages> {
    let mut lineages = ledger.lineages(false)?;
    for (_, first) in signed {
        let Some((stream, before)) = first.succession() else { continue };
        if ledger.knows_stream(stream)? {
            continue;
        }
        let streams = [stream.uuid(), before.uuid()];
        if findings::not_allowed(first, &streams, store, "").is_none_or(|f| f.severity != Severity::Invalid) {
            lineages.add(stream, before);
        }
    }
    Ok(lineages)
}

#[allow(clippy::too_many_arguments, reason = "a step between two places, with the rules of the run")]
fn take_one(
    site: &Site,
    ledger: &mut ImporterLedger,
    medium: &Medium,
    sighting: &Sighting,
    signed: &Signed<Manifest>,
    options: &ImportOptions,
    observer: &dyn Observer,
    continuity: &mut Continuity,
    report: &mut ImportReport,
) -> Result<()> {
    let sha256 = signed.sha256();
    let row = ledger.standing_of(sha256)?;
    let known = row.as_ref().map(|r| r.state);
    // Delivered long ago and gone from the inbox: taken once more, if it is to be delivered once more.
    let again = row.as_ref().filter(|r| options.redeliver && r.pruned && r.state == State::Delivered);
    if again.is_none() && matches!(known, Some(State::Admitted | State::Delivered | State::Refused)) {
        report.replayed += 1;
        return Ok(());
    }
    let shelf = Inbox::new(site.inbox()).shelf(signed.stream, signed.sequence, sha256);
    let missing: Vec<_> = signed.parts().filter(|p| !shelf.has(p)).collect();
    // A file of another size under a part's name was cut by a crash of the disk; it is brought again.
    for part in &missing {
        shelf.remove_cut(part.name)?;
    }
    let need: u64 = missing.iter().map(|p| p.bytes).sum::<u64>() + signed.bytes().len() as u64;
    if need + SPARE_BYTES > disk::free_space(site.root())? {
        report.findings.push(not_taken(signed, need, Lack::Room));
        return Ok(());
    }
    continuity.begin(site, ledger, &options.at)?;
    disk::make_private_dir(shelf.dir())?;
    observer.begin(&format!("taking batch {}", signed.sequence), need);
    let from = medium.shelf_of(sighting);
    let (mut whole, mut unfit) = (true, None);
    let room = fetch_ahead(&from, &missing, options.threads, |part, fetched| {
        match fetched {
            Ok(checked) => match disk::write_new(shelf.dir(), part.name, checked.bytes()) {
                Ok(()) => observer.advance(part.bytes),
                Err(e) if e.does_not_fit() => {
                    unfit = e.lack;
                    return Ok(false);
                }
                Err(e) => return Err(e),
            },
            Err(fault) => {
                whole = false;
                report.findings.push(findings::part(signed, part.name, &fault));
            }
        }
        Ok(true)
    })?;
    if !room {
        report.findings.push(not_taken(signed, need, unfit.unwrap_or(Lack::Room)));
        observer.end();
        return Ok(());
    }
    observer.end();
    place_signatures(&shelf, sighting, signed)?;
    shelf.place_over(&name::manifest(signed.stream, signed.sequence), signed.bytes())?;
    if let Some(row) = again {
        if whole {
            ledger.set_pruned(row.batch.id, false)?;
        }
    } else if known != Some(State::Whole) {
        ledger.note_incoming(signed, sha256, signed.bytes(), if whole { State::Whole } else { State::Incomplete })?;
        report.findings.extend(findings::made_date(signed, disk::now().0, &sighting.place));
        if whole {
            let taken = BatchLine::of(signed, sha256);
            observer.event(&Event::Taken(&taken));
            report.taken.push(taken);
        }
    }
    Ok(())
}

/// Reads one part from the medium while the one before is written, for both are slow. `each` says whether to go on;
/// so does what comes back.
fn fetch_ahead(
    from: &MediumShelf<'_>,
    parts: &[Part<'_>],
    threads: usize,
    mut each: impl FnMut(&Part<'_>, std::result::Result<Checked, PartFault>) -> Result<bool>,
) -> Result<bool> {
    std::thread::scope(|scope| {
        let (sender, fetched) = sync_channel(0);
        // With one thread all is done in it, so that a test can stop it at each of its system calls.
        let beside = (threads > 1).then(|| {
            lack::spawn_scoped(scope, move || {
                // Nobody takes any more: the room has ended, or an error stops the run.
                parts.iter().try_for_each(|part| sender.send(from.fetch(part)).map_err(drop))
            })
        });
        let is_beside = matches!(beside, Some(Ok(_)));
        for part in parts {
            let fetched = match is_beside {
                true => fetched.recv().map_err(|_| Error::failed("the thread that reads the medium has ended"))?,
                false => from.fetch(part),
            };
            if !each(part, lack::apart(fetched)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// Each signature that a trusted key made, under the name that it should have; then those that name another
/// key, which may be trusted one day. These never take the place of a file that is there.
fn place_signatures(shelf: &KeptShelf, sighting: &Sighting, signed: &Signed<Manifest>) -> Result<()> {
    let name_of = |id: &str| name::signature(signed.stream, signed.sequence, id);
    for file in sighting.unverified.signatures() {
        if let Some(key) = signed.signers().iter().find(|key| key.verifies(signed.bytes(), &file.signature)) {
            shelf.place_over(&name_of(&key.id()), file.signature.bytes())?;
        }
    }
    let mut room = SIGNATURES_KEPT.saturating_sub(shelf.signature_count()?);
    for file in sighting.unverified.signatures().iter().filter(|f| f.named) {
        if let Some(name) = key_id_in(&file.name).map(|id| name_of(&id))
            && room > 0
            && !shelf.has_name(&name)
        {
            disk::write_new(shelf.dir(), &name, file.signature.bytes())?;
            room -= 1;
        }
    }
    Ok(())
}

fn not_taken(signed: &Signed<Manifest>, need: u64, unfit: Lack) -> Finding {
    let of = format!("batch {} ({})", signed.sequence, count(signed.totals.envelopes, "envelope"));
    let (what, advice) = match unfit {
        Lack::Room => (
            format!("{of} was not taken: its {} have no room in the inbox", size(need)),
            "make room where the site lies, then import it again".to_owned(),
        ),
        lack => (
            format!("{of} was not taken: its {} cannot be written to the inbox: {lack}", size(need)),
            lack.advice().to_owned(),
        ),
    };
    Finding::new(Code::NotTaken, what).advise(format!("do not erase this medium; {advice}"))
}
