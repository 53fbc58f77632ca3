//! take: from the medium into our custody, file by file, each digested before it gets its name.

use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::ImportOptions;
use crate::batch::manifest::Manifest;
use crate::batch::name;
use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::ledger::delivered::{IncomingRow, State};
use crate::pack::batch_line;
use crate::report::{Finding, ImportReport, Observer, Weight};
use crate::shelf::Shelf;
use crate::shelf::kept::KeptShelf;
use crate::shelf::medium::{Medium, Sighting};
use crate::site::Site;
use crate::text::{count, size};
use crate::trust::{Signed, TrustStore};
use crate::verify::{allowed_finding_in, authenticate, part_finding, scan_findings, zone_finding};

/// Left free where the site lies, so that the ledger can go on.
const SPARE_BYTES: u64 = 1 << 20;

/// Where a batch lies in the inbox: a folder of its own, for two batches may bear one number.
pub fn folder(site: &Site, manifest: &Manifest, sha256: Digest) -> PathBuf {
    let base = name::base(manifest.stream, manifest.sequence);
    site.inbox().join(format!("{base}.{}", &sha256.to_string()[..16]))
}

/// Removes a batch's files from the inbox.
pub fn remove(site: &Site, row: &IncomingRow) -> Result<()> {
    let folder = folder(site, &row.manifest, row.sha256);
    match fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove a delivered batch", &folder, &e)),
        _ => Ok(()),
    }
}

/// Removes partial files that a broken run left in the inbox.
pub fn sweep(site: &Site) -> Result<()> {
    let inbox = site.inbox();
    let entries = fs::read_dir(&inbox).map_err(|e| Error::io("read the inbox", &inbox, &e))?;
    for folder in entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()) {
        let files = fs::read_dir(&folder).map_err(|e| Error::io("read the inbox", &folder, &e))?;
        for file in files.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "partial")) {
            fs::remove_file(&file).map_err(|e| Error::io("remove what a broken run left", &file, &e))?;
        }
    }
    Ok(())
}

/// Takes every batch that a trusted key signed. Returns the digests of those that were seen.
pub fn take(
    site: &Site,
    ledger: &mut Ledger,
    medium: &Path,
    store: &TrustStore,
    options: &ImportOptions,
    observer: &dyn Observer,
    report: &mut ImportReport,
) -> Result<Vec<Digest>> {
    let medium = Medium::scan(medium)?;
    report.findings.extend(scan_findings(&medium));
    let mut signed: Vec<(Sighting, Signed<Manifest>)> = Vec::new();
    let mut sightings = medium.sightings();
    let any = !sightings.is_empty();
    for mut sighting in sightings.drain(..) {
        match authenticate(&mut sighting, store) {
            Ok(s) => signed.push((sighting, s)),
            Err(finding) => report.findings.push(finding),
        }
    }
    if !any {
        let nothing = Finding::new(Weight::Incomplete, "no-batch", "there is no batch on this medium")
            .advise("check that it is the right one, and that it is mounted");
        report.findings.push(nothing);
    }
    signed.sort_by_key(|(_, s)| (s.stream, s.sequence));
    let lineages = lineages(ledger, &signed)?;
    let mut seen = Vec::new();
    for (sighting, signed) in &signed {
        let place = sighting.place.as_str();
        let streams = lineage(&lineages, signed.stream.uuid());
        if let Some(finding) = zone_finding(signed, Some(&options.zone), place) {
            report.findings.push(finding);
            continue;
        }
        match allowed_finding_in(signed, &streams, store, place) {
            Some(finding) if finding.weight == Weight::False => {
                report.findings.push(finding);
                continue;
            }
            // Too few signatures so far: it is taken all the same, another medium may bring the others.
            _ => {}
        }
        seen.push(signed.sha256());
        take_one(site, ledger, &medium, sighting, signed, observer, report)?;
    }
    Ok(seen)
}

fn take_one(
    site: &Site,
    ledger: &mut Ledger,
    medium: &Medium,
    sighting: &Sighting,
    signed: &Signed<Manifest>,
    observer: &dyn Observer,
    report: &mut ImportReport,
) -> Result<()> {
    let sha256 = signed.sha256();
    let known = ledger.incoming(sha256)?.map(|r| r.state);
    if matches!(known, Some(State::Admitted | State::Delivered | State::Refused)) {
        report.replayed += 1;
        return Ok(());
    }
    let dir = folder(site, signed, sha256);
    let shelf = KeptShelf::new(dir.clone());
    let missing: Vec<_> = signed.parts().filter(|p| !shelf.has(p)).collect();
    let need: u64 = missing.iter().map(|p| p.bytes).sum::<u64>() + signed.bytes().len() as u64;
    if need + SPARE_BYTES > disk::free_space(site.root())? {
        report.findings.push(not_taken(signed, need));
        return Ok(());
    }
    disk::make_private_dir(&dir)?;
    observer.begin(&format!("taking batch {}", signed.sequence), need);
    let from = medium.shelf_of(sighting);
    let mut whole = true;
    for part in missing {
        match from.fetch(&part) {
            Ok(checked) => match disk::write_new(&dir, part.name, checked.bytes()) {
                Ok(()) => observer.advance(part.bytes),
                Err(e) if e.no_room => {
                    report.findings.push(not_taken(signed, need));
                    observer.end();
                    return Ok(());
                }
                Err(e) => return Err(e),
            },
            Err(fault) => {
                whole = false;
                report.findings.push(part_finding(signed, part.name, &fault));
            }
        }
    }
    observer.end();
    place_signatures(&dir, sighting, signed)?;
    place(&dir, &name::manifest(signed.stream, signed.sequence), signed.bytes())?;
    if known != Some(State::Whole) {
        ledger.note_incoming(signed, sha256, signed.bytes(), if whole { State::Whole } else { State::Incomplete })?;
        if whole {
            report.taken.push(batch_line(signed, sha256));
        }
    }
    Ok(())
}

/// Each signature that a trusted key made, under the name that it should have; then those that name another
/// key, which may be trusted one day. These never take the place of a file that is there.
fn place_signatures(dir: &Path, sighting: &Sighting, signed: &Signed<Manifest>) -> Result<()> {
    let name_of = |id: &str| name::signature(signed.stream, signed.sequence, id);
    for file in sighting.unverified.signatures() {
        if let Some(key) = signed.signers().iter().find(|key| key.verifies(signed.bytes(), &file.bytes)) {
            place(dir, &name_of(&key.id()), &file.bytes)?;
        }
    }
    for file in sighting.unverified.signatures().iter().filter(|f| f.named) {
        if let Some(name) = crate::trust::signature::key_id_in(&file.name).map(|id| name_of(&id))
            && dir.join(&name).symlink_metadata().is_err()
        {
            disk::write_new(dir, &name, &file.bytes)?;
        }
    }
    Ok(())
}

/// A small file into the inbox, unless the same is there.
fn place(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = dir.join(name);
    match disk::read_bounded(&path, bytes.len() as u64) {
        Ok(there) if there == bytes => Ok(()),
        Ok(_) => disk::write_over(dir, name, bytes),
        Err(_) => disk::write_new(dir, name, bytes),
    }
}

fn not_taken(signed: &Signed<Manifest>, need: u64) -> Finding {
    let what = format!(
        "batch {} was not taken, {}: its {} have no room in the inbox",
        signed.sequence,
        count(signed.totals.envelopes, "envelope"),
        size(need)
    );
    Finding::new(Weight::Incomplete, "not-taken", what)
        .advise("do not erase this medium; make room where the site lies, then import it again")
}

/// Which stream goes on from which, out of what lies on the medium and what the ledger knows.
fn lineages(ledger: &Ledger, signed: &[(Sighting, Signed<Manifest>)]) -> Result<Vec<(Uuid, Uuid)>> {
    let rows = ledger.incoming_all()?;
    let known = rows.iter().map(|r| &r.manifest).chain(signed.iter().map(|(_, s)| s.value()));
    Ok(known.filter_map(|m| Some((m.stream.uuid(), m.succeeds?.stream.uuid()))).collect())
}

/// A stream and those that it succeeds.
pub fn lineage(pairs: &[(Uuid, Uuid)], stream: Uuid) -> Vec<Uuid> {
    let mut out = vec![stream];
    while let Some((_, before)) = pairs.iter().find(|(s, b)| Some(s) == out.last() && !out.contains(b)) {
        out.push(*before);
    }
    out
}

/// The same out of the ledger alone.
pub fn known_lineage(ledger: &Ledger, stream: Uuid) -> Result<Vec<Uuid>> {
    Ok(lineage(&lineages(ledger, &[])?, stream))
}
