//! pair: gives an exporter and an importer a key that both have and no medium ever bears.

use crate::arrival::PairingKey;
use crate::deed::Deed;
use crate::error::{Error, Result};
use crate::ledger::exporter::ExporterLedger;
use crate::ledger::importer::ImporterLedger;
use crate::ledger::noted::Notes;
use crate::pairing::PairedWith;
use crate::random;
use crate::report::PairReport;
use crate::site::Site;
use crate::stream::StreamId;

/// Makes a key for the importer of a zone.
///
/// # Errors
/// There is one, and it is not to be replaced; the system or SQLite refused.
pub fn make(site: &Site, ledger: &ExporterLedger, zone: &str, replace: bool) -> Result<PairReport> {
    let key = PairingKey::from_random(random::bytes()?);
    let with = PairedWith::Zone(zone);
    let id = note_and_keep(site, &ledger.notes(), with, &key, replace)?;
    let stream = ledger.active_stream(zone)?.map(|row| row.stream);
    Ok(PairReport { id, with: format!("with the importer of zone {zone}"), paper: Some(key.on_paper()), stream })
}

/// Keeps a key that was typed from paper, for a stream and those that go on from it.
///
/// # Errors
/// There is one, and it is not to be replaced; the system or SQLite refused.
pub fn take(
    site: &Site,
    ledger: &ImporterLedger,
    stream: StreamId,
    key: &PairingKey,
    replace: bool,
) -> Result<PairReport> {
    let id = note_and_keep(site, &ledger.notes(), PairedWith::Stream(stream), key, replace)?;
    Ok(PairReport { id, with: format!("with the exporter of stream {stream}"), paper: None, stream: Some(stream) })
}

/// Notes first and keeps then: a key that is in use has its line in the journal, whatever cuts this off.
fn note_and_keep(
    site: &Site,
    notes: &Notes<'_>,
    with: PairedWith<'_>,
    key: &PairingKey,
    replace: bool,
) -> Result<String> {
    if with.is_there(site) && !replace {
        return Err(Error::usage("this site is paired already; the key was not replaced").at(&with.path(site)).advise(
            "to make a new pairing at both sites: airpouch pair --replace; codes by the old key acknowledge nothing then",
        ));
    }
    // One that is damaged is replaced too, and its id is not known.
    let replaces = with.key(site).ok().flatten().map(|old| old.id());
    let (zone, stream) = match with {
        PairedWith::Zone(zone) => (Some(zone.to_owned()), None),
        PairedWith::Stream(stream) => (None, Some(stream)),
    };
    notes.add(&Deed::Paired { zone, stream, id: key.id(), replaces })?;
    with.keep(site, key)?;
    Ok(key.id())
}
