//! Opens a batch of the inbox once more: today's trust store decides, and the files have to be those that were taken.

use crate::batch::index::{Index, Names, Pair};
use crate::batch::signed::SignedBatch;
use crate::code::Code;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::findings;
use crate::import::{ImportOptions, shelf_of};
use crate::lack::{self, Unread};
use crate::ledger::importer::IncomingRow;
use crate::report::Finding;
use crate::shelf::PartFault;
use crate::shelf::check::read_index;
use crate::site::Site;
use crate::stream::{Lineages, Link, StreamId};
use crate::trust::{TrustStore, Unverified};

/// Why a batch of the inbox cannot even be looked at.
#[derive(Debug)]
pub enum Refusal {
    /// Not with the keys of today.
    NotNow(Box<Finding>),
    /// A file of it is gone from the inbox, or is not what it was.
    Lost {
        /// The file's name.
        name: String,
        /// What is the matter with it.
        fault: PartFault,
    },
    /// Its signed manifest is wrong.
    Never(Box<Finding>),
}

/// A batch that may be admitted, and who vouches for it.
#[derive(Debug)]
pub struct OpenedBatch {
    /// Its place in its stream.
    pub link: Link,
    /// Its zone.
    pub zone: String,
    /// The earlier streams that trust.toml lists and whose trust it takes over.
    pub inherits: Vec<StreamId>,
    /// The fingerprints of the keys that signed it and may do so.
    pub signers: Vec<Digest>,
    /// The stream that it goes on from, if its signers may sign that one too: a claim alone gives it nothing of the other's.
    pub heir_of: Option<StreamId>,
    /// In whose name its connectors wrote.
    pub pairs: Vec<Pair>,
}

/// Opens a batch of the inbox as far as admission needs: signatures, manifest, index. `lineages` says which stream
/// goes on from which. The inner result is about the batch.
///
/// # Errors
/// What the machine lacks to look at it, which says nothing of the batch.
pub fn open(
    site: &Site,
    lineages: &Lineages,
    store: &TrustStore,
    options: &ImportOptions,
    row: &IncomingRow,
) -> Result<std::result::Result<OpenedBatch, Refusal>> {
    let lost = |name: &str, fault: PartFault| Ok(Err(Refusal::Lost { name: name.to_owned(), fault }));
    let shelf = shelf_of(site, row);
    let unverified = match shelf.unverified(row.manifest.stream, row.manifest.sequence) {
        Ok(unverified) => unverified,
        Err(Unread::Lack(lack)) => return Err(Error::lacking("read a manifest", lack).at(shelf.dir())),
        Err(Unread::Fault((name, fault))) => return lost(&name, fault),
    };
    let signed = match allowed(unverified, lineages, store, options, row) {
        Ok(signed) => signed,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Some(part) = signed.parts().find(|p| !shelf.has(p)) {
        return lost(part.name, PartFault::Missing);
    }
    match lack::apart(read_index(&shelf, &signed, Names::Drop))? {
        Ok(index) => Ok(Ok(opened(&signed, &index, lineages, store))),
        Err(fault @ PartFault::Lie(_)) => {
            Ok(Err(Refusal::Never(findings::part(&signed, &signed.index.name, &fault).into())))
        }
        Err(fault) => lost(&signed.index.name, fault),
    }
}

fn opened(signed: &SignedBatch, index: &Index, lineages: &Lineages, store: &TrustStore) -> OpenedBatch {
    let (signers, number) = (signed.signers(), signed.sequence.get());
    let before = signed.succeeds.map(|s| s.stream);
    let streams = lineages.of(signed.stream, before);
    let may_sign_that =
        |other: &StreamId| store.allows(signers, &lineages.of(*other, None), &signed.zone, number).is_ok();
    OpenedBatch {
        link: signed.link(signed.sha256()),
        zone: signed.zone.clone(),
        inherits: store.listed(&streams[1..]).filter_map(|id| StreamId::parse(&id.to_string())).collect(),
        signers: store.permitted(signers, &streams, &signed.zone, number).iter().map(|k| k.fingerprint()).collect(),
        heir_of: before.filter(may_sign_that),
        pairs: index.pairs(),
    }
}

/// The manifest of a batch of the inbox, if it is the one that was taken and may be signed by whoever signed it.
fn allowed(
    unverified: Unverified,
    lineages: &Lineages,
    store: &TrustStore,
    options: &ImportOptions,
    row: &IncomingRow,
) -> std::result::Result<SignedBatch, Refusal> {
    let not_now = |code: Code, what: String| {
        Refusal::NotNow(Finding::new(code, what).of_batch(row.manifest.stream, row.manifest.sequence.get()).into())
    };
    let authentic = store.authenticate(unverified).map_err(|e| not_now(Code::NoLongerTrusted, e.to_string()))?;
    let signed = SignedBatch::open(authentic).map_err(|e| not_now(Code::ChangedInInbox, e.to_string()))?;
    if signed.sha256() != row.sha256 {
        return Err(not_now(Code::ChangedInInbox, "the manifest in the inbox is not the one that was taken".into()));
    }
    if let Some(finding) = findings::wrong_zone(&signed, Some(&options.zone), &place_of(row)) {
        return Err(Refusal::NotNow(finding.into()));
    }
    let streams = lineages.of(signed.stream, signed.succeeds.map(|s| s.stream));
    match findings::not_allowed(&signed, &streams, store, &place_of(row)) {
        Some(finding) => Err(Refusal::NotNow(finding.into())),
        None => Ok(signed),
    }
}

fn place_of(row: &IncomingRow) -> String {
    format!("batch {} of stream {}", row.manifest.sequence, row.manifest.stream)
}
