//! admit: may this batch be delivered, and is it its turn? What is judged is a value; so is the answer.

use super::{ImportOptions, OnGap, shelf_of};
use crate::batch::index::Names;
use crate::batch::manifest::Manifest;
use crate::code::Code;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::findings;
use crate::lack::{self, Unread};
use crate::ledger::importer::IncomingRow;
use crate::report::Finding;
use crate::shelf::PartFault;
use crate::shelf::check::read_index;
use crate::site::Site;
use crate::stream::{Lineages, Link, Position, Standing, StreamId};
use crate::text::{count, size};
use crate::trust::{Signed, TrustStore, Unverified};

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
    /// Its signer contradicts himself.
    Never(Box<Finding>),
}

/// A batch that may be admitted, and who vouches for it.
#[derive(Debug)]
pub struct Opened {
    /// Where it stands in its stream.
    pub link: Link,
    /// The fingerprints of the keys that signed it and may do so.
    pub signers: Vec<Digest>,
    /// The stream that it goes on from, if its signers may sign that one too: a claim alone gives it nothing of the other's.
    pub heir_of: Option<StreamId>,
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
) -> Result<std::result::Result<Opened, Refusal>> {
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
        Ok(_) => Ok(Ok(opened(&signed, lineages, store))),
        Err(fault @ PartFault::Lie(_)) => {
            Ok(Err(Refusal::Never(findings::part(&signed, &signed.index.name, &fault).into())))
        }
        Err(fault) => lost(&signed.index.name, fault),
    }
}

fn opened(signed: &Signed<Manifest>, lineages: &Lineages, store: &TrustStore) -> Opened {
    let (signers, number) = (signed.signers(), signed.sequence.get());
    let before = signed.succeeds.map(|s| s.stream);
    let streams = lineages.of(signed.stream, before);
    let may_sign_that =
        |other: &StreamId| store.allows(signers, &lineages.of(*other, None), &signed.zone, number).is_ok();
    Opened {
        link: signed.link(signed.sha256()),
        signers: store.permitted(signers, &streams, &signed.zone, number).iter().map(|k| k.fingerprint()).collect(),
        heir_of: before.filter(may_sign_that),
    }
}

/// The manifest of a batch of the inbox, if it is the one that was taken and may be signed by whoever signed it.
fn allowed(
    unverified: Unverified,
    lineages: &Lineages,
    store: &TrustStore,
    options: &ImportOptions,
    row: &IncomingRow,
) -> std::result::Result<Signed<Manifest>, Refusal> {
    let not_now = |code: Code, what: String| {
        Refusal::NotNow(Finding::new(code, what).of_batch(row.manifest.stream, row.manifest.sequence.get()).into())
    };
    let authentic = store.authenticate(unverified).map_err(|e| not_now(Code::NoLongerTrusted, e.to_string()))?;
    let signed = authentic.into_signed(Manifest::parse).map_err(|e| not_now(Code::ChangedInInbox, e.to_string()))?;
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

/// What is to become of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Deliver it.
    Admit {
        /// Later numbers were delivered before it.
        late: bool,
    },
    /// Keep it in the inbox.
    Keep(Kept),
}

/// Why a batch is kept and not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It waits for the batches before it.
    Waiting,
    /// Another history under one number.
    Fork {
        /// The number.
        at: u64,
        /// The digest that was admitted, or named.
        known: Digest,
        /// The other.
        other: Digest,
    },
    /// No admitted batch names it.
    Unlinked,
}

impl Kept {
    /// For the ledger and for programs.
    pub fn code(&self) -> Code {
        match self {
            Self::Waiting => Code::Waiting,
            Self::Fork { .. } => Code::Fork,
            Self::Unlinked => Code::Unlinked,
        }
    }

    /// What is said of it, once.
    pub fn finding(&self, manifest: &Manifest, sha256: Digest) -> Finding {
        let (stream, sequence) = (manifest.stream, manifest.sequence);
        let what = format!(
            "batch {sequence}, {}, {}",
            count(manifest.totals.envelopes, "envelope"),
            size(manifest.totals.bytes)
        );
        match self {
            Self::Waiting => Finding::new(self.code(), format!("{what}: waits in the inbox for the batches before it"))
                .of_batch(stream, sequence.get())
                .advise("the medium may leave"),
            Self::Fork { at, known, other } => Finding::new(
                self.code(),
                format!(
                    "fork: {what}: number {at} is {} here and {} there; held, not delivered",
                    known.short(),
                    other.short()
                ),
            )
            .of_batch(stream, sequence.get())
            .advise(format!(
                "ask the exporter; to take it too: airpouch stream accept {stream} {sequence} {sha256} --reason TEXT"
            )),
            Self::Unlinked => Finding::new(
                self.code(),
                format!("{what}: no delivered batch names its digest; kept, not delivered"),
            )
            .of_batch(stream, sequence.get())
            .advise(format!(
                "ask the exporter; to take it: airpouch stream accept {stream} {sequence} {sha256} --reason TEXT"
            )),
        }
    }
}

/// Says of each batch of one stream, given by number, what is to become of it.
///
/// Links are followed down first, so that a batch which a later one names counts as named even if that later
/// one came along with it; then everything goes up in order.
pub fn admit(mut position: Position, batches: &[Link], on_gap: OnGap) -> Vec<Admission> {
    let mut late = vec![false; batches.len()];
    let mut down = position.clone();
    for (at, link) in batches.iter().enumerate().rev() {
        if down.last().is_some_and(|last| link.sequence < last) && down.standing(link) == Standing::Late {
            late[at] = true;
            down.admit(link.clone());
        }
    }
    let mut out = Vec::new();
    for (at, link) in batches.iter().enumerate() {
        let admission = if late[at] { Admission::Admit { late: true } } else { judge(&position, link, on_gap) };
        if matches!(admission, Admission::Admit { .. }) {
            position.admit(link.clone());
        }
        out.push(admission);
    }
    out
}

fn judge(position: &Position, link: &Link, on_gap: OnGap) -> Admission {
    match position.standing(link) {
        Standing::Next => Admission::Admit { late: false },
        Standing::Late => Admission::Admit { late: true },
        // The same digest cannot be a second row of the ledger; if it could, once would be enough.
        Standing::Replay => Admission::Keep(Kept::Unlinked),
        Standing::Gap(missing) | Standing::UnknownStart(missing) => {
            let hold = on_gap == OnGap::Hold && !position.is_settled(&missing.numbers);
            if hold { Admission::Keep(Kept::Waiting) } else { Admission::Admit { late: false } }
        }
        Standing::Fork { at, known, other } => Admission::Keep(Kept::Fork { at, known, other }),
        Standing::Unlinked => Admission::Keep(Kept::Unlinked),
    }
}
