//! take: from the medium into our custody, file by file, each digested before it gets its name.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::Import;
use super::continuity::Continuity;
use crate::ahead::{self, Limits, MemoryHeld};
use crate::batch::manifest::Part;
use crate::batch::name;
use crate::batch::signed::SignedBatch;
use crate::clock;
use crate::code::{Code, Severity};
use crate::deed::TakenFrom;
use crate::digest::Digest;
use crate::disk::Mount;
use crate::error::{Result, unless_stopped};
use crate::findings;
use crate::findings::medium::{Sighted, head_beside, no_batch, scan, signed_batches};
use crate::journal::PeerHead;
use crate::lack::{self, Lack};
use crate::ledger::importer::{BatchStanding, HeardHead, ImporterLedger, ImporterView, State};
use crate::report::{BatchLine, Event, Finding};
use crate::shelf::Shelf;
use crate::shelf::inbox::{Inbox, folder_name};
use crate::shelf::kept::KeptShelf;
use crate::shelf::medium::{Medium, MediumShelf, Sighting};
use crate::stream::{Lineages, StreamId};
use crate::text::{count, size};
use crate::trust::TrustStore;
use crate::trust::signature::key_id_in;

/// Signatures kept with a batch; strangers may have left any number.
const SIGNATURES_KEPT: usize = 8;
/// Left free where the site lies, so that the ledger can go on.
const SPARE_BYTES: u64 = 1 << 20;

impl Import<'_> {
    /// Finishes in the inbox what a broken run has left there. Folders of batches that were whole before are not opened:
    /// they are the most, and nothing was being written into them.
    pub(super) fn look_through_inbox(&mut self) -> Result<()> {
        let inbox = Inbox::new(self.site.inbox());
        let kept = self.ledger.kept_in_inbox()?.into_iter().map(|b| folder_name(b.stream, b.sequence, b.sha256));
        let kept: HashSet<OsString> = kept.map(OsString::from).collect();
        for folder in inbox.folders()?.into_iter().filter(|folder| !kept.contains(folder)) {
            let known = standing_of_folder(self.ledger, &folder)?;
            let shelf = inbox.shelf_named(&folder);
            shelf.sweep_partials()?;
            if known.is_none() {
                adopt(&shelf, self.ledger, self.trust)?;
            }
        }
        Ok(())
    }

    /// Takes every batch that a trusted key signed. Returns the digests of those that were seen.
    pub(super) fn take(&mut self, path: &Path, continuity: &mut Continuity) -> Result<BTreeSet<Digest>> {
        let medium = Medium::scan(path, self.trust.ids())?;
        let from = taken_from(path);
        self.report.findings.extend(scan(&medium));
        let (signed, any) = signed_batches(&medium, self.trust, &mut self.report.findings)?;
        if !any {
            self.report.findings.push(no_batch());
        }
        self.report.findings.extend(findings::wrong_zones(&signed, Some(&self.options.zone)));
        let lineages = lineages(self.ledger, self.trust, &signed)?;
        let mut seen = BTreeSet::new();
        let mut at_hand = MediumAtHand { medium: &medium, from, heads: BTreeMap::new() };
        for sighted in &signed {
            let (sighting, signed) = sighted;
            if signed.zone != self.options.zone {
                continue;
            }
            let streams = lineages.of(signed.stream, signed.succeeds.map(|s| s.stream));
            let not_allowed = findings::not_allowed(signed, &streams, self.trust, &sighting.place);
            // With too few signatures so far it is taken all the same: another medium may bring the others.
            if let Some(finding) = not_allowed.filter(|f| f.severity == Severity::Invalid) {
                self.report.findings.push(finding);
                continue;
            }
            unless_stopped(self.observer, || {
                format!(
                    "before batch {} was taken; keep the medium: the next import takes what is missing",
                    signed.sequence
                )
            })?;
            seen.insert(signed.sha256());
            self.take_one(&mut at_hand, sighted, continuity)?;
        }
        self.hear_of_journals(&mut at_hand, signed.iter().filter(|(_, batch)| seen.contains(&batch.sha256())))?;
        let waiting = waiting(self.ledger, &seen)?;
        if waiting > 0 && !self.report.findings.iter().any(keeps_the_medium) {
            self.observer.event(&Event::InCustody(waiting));
        }
        Ok(seen)
    }

    /// Notes where the exporter's journal ended, by the head beside the newest of these batches of each stream that has one.
    /// They are in the order of their numbers, of keys that may sign them. Nothing that is delivered depends on it.
    fn hear_of_journals<'s>(
        &mut self,
        at_hand: &mut MediumAtHand<'_>,
        batches: impl DoubleEndedIterator<Item = &'s Sighted>,
    ) -> Result<()> {
        let mut newest: BTreeMap<StreamId, PeerHead> = BTreeMap::new();
        for (_, batch) in batches.rev() {
            if let Entry::Vacant(none) = newest.entry(batch.stream)
                && let Some(text) = at_hand.head_of(batch, &mut self.report.findings)?
                && let Ok(peer) = PeerHead::parse(text)
            {
                none.insert(peer);
            }
        }
        for (stream, peer) in newest {
            let what = match self.ledger.note_peer_head(stream, &peer, &self.options.at)? {
                HeardHead::Fits => continue,
                HeardHead::OtherKey => "is signed by another key than before",
                HeardHead::OtherHistory => "is as long as it was, and has another history",
            };
            let finding = Finding::new(Code::PeerJournal, format!("the exporter's journal {what}")).of_stream(stream);
            self.report.findings.push(finding.advise(
                "ask the exporter whether its site was made anew or restored, and compare the code of its journal: airpouch witness",
            ));
        }
        Ok(())
    }

    fn take_one(
        &mut self,
        at_hand: &mut MediumAtHand<'_>,
        sighted: &Sighted,
        continuity: &mut Continuity,
    ) -> Result<()> {
        let (sighting, signed) = sighted;
        let row = self.ledger.standing_of(signed.sha256())?;
        let known = row.as_ref().map(|r| r.state);
        // Delivered long ago and gone from the inbox: taken once more, if it is to be delivered once more.
        let again = row.filter(|r| self.options.redeliver && r.pruned && r.state == State::Delivered);
        if again.is_none() && matches!(known, Some(State::Admitted | State::Delivered | State::Refused)) {
            self.report.replayed += 1;
            return Ok(());
        }
        let shelf = Inbox::new(self.site.inbox()).shelf(signed.stream, signed.sequence, signed.sha256());
        let missing: Vec<_> = signed.parts().filter(|p| !shelf.has(p)).collect();
        // A file of another size under a part's name was cut by a crash of the disk; it is brought again.
        for part in &missing {
            shelf.remove_cut(part.name)?;
        }
        let need: u64 = missing.iter().map(|p| p.bytes).sum::<u64>() + signed.bytes().len() as u64;
        if need + SPARE_BYTES > self.site.free_space()? {
            self.report.findings.push(not_taken(signed, need, Lack::Room));
            return Ok(());
        }
        continuity.begin(self.site, self.ledger, &self.options.at)?;
        shelf.make()?;
        self.observer.begin(&format!("taking batch {}", signed.sequence), need);
        let copied = self.copy(&at_hand.medium.shelf_of(sighting), &shelf, signed, &missing)?;
        self.observer.end();
        if let Copied::NoRoom(lack) = copied {
            self.report.findings.push(not_taken(signed, need, lack));
            return Ok(());
        }
        place_signatures(&shelf, sighting, signed)?;
        let head = at_hand.head_of(signed, &mut self.report.findings)?;
        if let Some(head) = head.filter(|text| PeerHead::parse(text).is_ok()) {
            shelf.place_over(&name::head(signed.stream, signed.sequence), head.as_bytes())?;
        }
        shelf.place_over(&name::manifest(signed.stream, signed.sequence), signed.bytes())?;
        match again {
            Some(row) if copied == Copied::Whole => self.ledger.set_back(row.batch.id),
            None if known != Some(State::Whole) => self.note_taken(sighted, &at_hand.from, copied == Copied::Whole),
            _ => Ok(()),
        }
    }

    /// Copies parts from the medium into the inbox; each is digested before it gets its name.
    fn copy(
        &mut self,
        from: &MediumShelf<'_>,
        to: &KeptShelf,
        signed: &SignedBatch,
        parts: &[Part<'_>],
    ) -> Result<Copied> {
        // One file is read while the one before is written, for both are slow. Never two are read at once: that is slower
        // still on a stick or a disk that turns.
        let beside = ahead::beside(self.options.threads).min(1);
        let limits = Limits { beside, weight: u64::MAX, items: 1, held: MemoryHeld::UntilTaken };
        let mut copied = Copied::Whole;
        let observer = self.observer;
        let fetch = |at: usize| from.fetch(&parts[at]);
        let ended = ahead::in_order(&vec![0; parts.len()], limits, fetch, |at, fetched| {
            unless_stopped(observer, || {
                format!(
                    "while batch {} was copied; keep the medium: the next import takes what is missing",
                    signed.sequence
                )
            })?;
            match lack::apart(fetched)? {
                Ok(checked) => match to.write(parts[at].name, checked.bytes()) {
                    Ok(()) => self.observer.advance(parts[at].bytes),
                    Err(e) => {
                        if e.does_not_fit() {
                            copied = Copied::NoRoom(e.lack.unwrap_or(Lack::Room));
                        }
                        return Err(e);
                    }
                },
                Err(fault) => {
                    copied = Copied::InPart;
                    self.report.findings.push(findings::part(signed, parts[at].name, &fault));
                }
            }
            Ok(())
        });
        match ended {
            Err(error) if !matches!(copied, Copied::NoRoom(_)) => Err(error),
            _ => Ok(copied),
        }
    }

    /// Notes a batch that is new here, or has come on.
    fn note_taken(&mut self, (sighting, signed): &Sighted, from: &TakenFrom, whole: bool) -> Result<()> {
        match whole {
            true => self.ledger.note_taken(signed, Some(from))?,
            false => self.ledger.note_incoming(signed, signed.sha256(), signed.bytes(), State::Incomplete)?,
        }
        self.report.findings.extend(findings::made_date(signed, clock::now().0, &sighting.place));
        if whole {
            let taken = BatchLine::of(signed, signed.sha256());
            self.observer.event(&Event::Taken(&taken));
            self.report.taken.push(taken);
        }
        Ok(())
    }
}

/// A medium from which batches are taken.
struct MediumAtHand<'a> {
    medium: &'a Medium,
    /// What is written down of it.
    from: TakenFrom,
    /// The heads of the exporter's journal that were looked for beside its batches: each is read once.
    heads: BTreeMap<Digest, Option<String>>,
}

impl MediumAtHand<'_> {
    /// The head beside a batch.
    fn head_of(&mut self, batch: &SignedBatch, findings: &mut Vec<Finding>) -> Result<Option<&str>> {
        let head = match self.heads.entry(batch.sha256()) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(new) => new.insert(head_beside(self.medium, batch, findings)?),
        };
        Ok(head.as_deref())
    }
}

/// What is written down of a medium. What the system does not tell must not stop an import.
fn taken_from(path: &Path) -> TakenFrom {
    let device = Mount::of(path).map(|mount| mount.facts()).unwrap_or_default();
    TakenFrom { medium: path.display().to_string(), device }
}

/// What came of copying the parts of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copied {
    Whole,
    /// Some could not be had from this medium.
    InPart,
    /// The inbox takes no more.
    NoRoom(Lack),
}

/// The batch that lies in a folder of this name, if the ledger knows it.
fn standing_of_folder(ledger: &ImporterView, folder: &OsStr) -> Result<Option<BatchStanding>> {
    let Some((name, digits)) = folder.to_str().and_then(|n| Some((n, n.rsplit_once('.')?.1))) else { return Ok(None) };
    let is_its_own = |s: &BatchStanding| folder_name(s.batch.stream, s.batch.sequence, s.batch.sha256) == name;
    Ok(ledger.standing_by_beginning(digits)?.into_iter().find(is_its_own))
}

/// Takes into the ledger a batch that is not known there: the run that brought it was cut off just before it could
/// say so.
fn adopt(shelf: &KeptShelf, ledger: &mut ImporterLedger, store: &TrustStore) -> Result<()> {
    let Some(unverified) = shelf.only_manifest()? else { return Ok(()) };
    let Ok(authentic) = store.authenticate(unverified) else { return Ok(()) };
    let Ok(signed) = SignedBatch::open(authentic) else { return Ok(()) };
    let named = folder_name(signed.stream, signed.sequence, signed.sha256());
    if shelf.dir().file_name() == Some(OsStr::new(&named)) {
        match signed.parts().all(|p| shelf.has(&p)) {
            true => ledger.note_taken(&signed, None)?,
            false => ledger.note_incoming(&signed, signed.sha256(), signed.bytes(), State::Incomplete)?,
        }
    }
    Ok(())
}

/// Batches of those that were seen that are whole in the inbox, and of which no run has said yet what becomes of them:
/// one that took them may have been cut off.
fn waiting(ledger: &ImporterView, seen: &BTreeSet<Digest>) -> Result<u64> {
    let mut waiting = 0;
    for sha256 in seen {
        let known = ledger.standing_of(*sha256)?;
        let is_new =
            |s: &BatchStanding| s.state == State::Admitted || (s.state == State::Whole && s.standing.is_none());
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

/// Each signature that a trusted key made, under the name that it should have; then those that name another
/// key, which may be trusted one day. These never take the place of a file that is there.
fn place_signatures(shelf: &KeptShelf, sighting: &Sighting, signed: &SignedBatch) -> Result<()> {
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
            shelf.write(&name, file.signature.bytes())?;
            room -= 1;
        }
    }
    Ok(())
}

fn not_taken(signed: &SignedBatch, need: u64, unfit: Lack) -> Finding {
    let of = format!("batch {} ({})", signed.sequence, count(signed.totals.envelopes, "envelope"));
    let (what, advice) = match unfit {
        Lack::Room => (
            format!("{of} was not taken: its {} have no room in the inbox", size(need)),
            "make room on the disk of the site, then import it again".to_owned(),
        ),
        lack => (
            format!("{of} was not taken: its {} cannot be written to the inbox: {lack}", size(need)),
            lack.advice().to_owned(),
        ),
    };
    Finding::new(Code::NotTaken, what).advise(format!("do not erase this medium; {advice}"))
}
