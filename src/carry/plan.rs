//! What is to go, in order, out of what the ledger knows and the outbox holds. Only batches that go are looked at: a
//! site with thousands that went long ago is as quick as a new one.

use super::CarryOptions;
use crate::batch::name;
use crate::code::Code;
use crate::error::{Error, Result};
use crate::issued::streams_of_zone;
use crate::ledger::exporter::{BatchRow, CarriedRow, ExporterView, PackedState, Sealed, StreamRow};
use crate::report::Finding;
use crate::shelf::kept::{KeptShelf, ListedNames};
use crate::stream::Numbers;
use crate::trust::{PublicKey, Signature};

/// What is to go, in order.
pub(super) struct Plan {
    /// Never carried, or asked for: by stream, oldest first, and number.
    pub(super) new: Vec<Load>,
    /// What the last carries took: newest first.
    pub(super) repeats: Vec<Load>,
}

/// One batch that is to go.
pub(super) struct Load {
    pub(super) stream: StreamRow,
    pub(super) sealed: Sealed,
    pub(super) carries: Vec<CarriedRow>,
    /// Its files in the order of placing: volumes, index, signatures, manifest; each with its size.
    pub(super) files: Vec<(String, u64)>,
}

impl Load {
    /// The finding that this batch cannot go as the outbox holds it, with the command that heals it.
    pub(super) fn lost(&self, why: &str) -> Finding {
        let sequence = self.sealed.manifest().sequence;
        let number = match self.stream.active {
            true => sequence.to_string(),
            false => format!("{}:{sequence}", self.stream.stream),
        };
        Finding::new(Code::LostFromOutbox, format!("batch {sequence} cannot be carried: {why}"))
            .advise(format!(
                "pack again what is still in the source: airpouch pack --again {number}; or bring the file back from a backup or from a medium that has it"
            ))
    }
}

/// What a plan is made of.
pub(super) struct Planner<'a> {
    pub(super) ledger: &'a ExporterView,
    pub(super) outbox: &'a KeptShelf,
    pub(super) names: &'a ListedNames,
    pub(super) signers: &'a [PublicKey],
    pub(super) findings: &'a mut Vec<Finding>,
}

impl Planner<'_> {
    pub(super) fn plan(&mut self, stream: &StreamRow, options: &CarryOptions) -> Result<Plan> {
        let lineage = streams_of_zone(self.ledger, stream, &options.resend)?;
        let overlap = if options.diode { 0 } else { options.overlap };
        let (mut new, mut repeats) = (Vec::new(), Vec::new());
        for stream in &lineage {
            let mut due = self.ledger.uncarried(stream)?;
            for asked in options.resend.iter().filter(|a| a.is_of(stream.stream, stream.active)) {
                due = due.with(&self.asked(stream, &asked.numbers)?);
            }
            let again = self.ledger.taken_by_last_carries(stream, overlap)?.without(&due);
            new.extend(self.loads(stream, &due)?);
            repeats.extend(self.loads(stream, &again)?);
        }
        repeats.reverse();
        Ok(Plan { new, repeats })
    }

    /// The batches that were asked for, less those that will never come, which is said.
    fn asked(&mut self, stream: &StreamRow, numbers: &Numbers) -> Result<Numbers> {
        let there = self.ledger.packed_among(stream, numbers)?;
        let lost = self.ledger.lost_numbers(stream)?;
        let unknown = numbers.without(&there).without(&lost);
        if !unknown.is_empty() {
            let verb = if unknown.only().is_some() { "is" } else { "are" };
            return Err(Error::usage(format!("there {verb} no {} in the outbox to send again", unknown.words()))
                .advise("`airpouch status` lists the numbers that are there; another stream's is STREAM:N"));
        }
        let there = there.without(&lost);
        let never = numbers.without(&there);
        if !never.is_empty() {
            let what = format!("{} will never come: the files were lost at the exporter", never.words());
            let accept = format!("airpouch stream accept {} {never} --reason TEXT", stream.stream);
            self.findings.push(
                Finding::new(Code::NeverComes, what).advise(format!("at the importer, to wait no longer: {accept}")),
            );
        }
        Ok(there)
    }

    /// The batches of these numbers whose files are all in the outbox; what is lost is a finding.
    fn loads(&mut self, stream: &StreamRow, numbers: &Numbers) -> Result<Vec<Load>> {
        let mut loads = Vec::new();
        for sequence in numbers.iter() {
            // A batch that is only sealed is signed by the next pack.
            let packed = self.ledger.batch(stream, sequence)?.filter(|b| b.state == PackedState::Packed);
            let Some(BatchRow { sealed, .. }) = packed else { continue };
            let carries = self.ledger.carries_of(stream, sealed.manifest().sequence)?;
            let mut load = Load { stream: stream.clone(), sealed, carries, files: Vec::new() };
            match self.files(&load)? {
                Ok(files) => {
                    load.files = files;
                    loads.push(load);
                }
                Err(why) => self.findings.push(load.lost(&why)),
            }
        }
        Ok(loads)
    }

    /// The batch's files in the order of placing, or why it cannot go.
    fn files(&self, load: &Load) -> Result<std::result::Result<Vec<(String, u64)>, String>> {
        let manifest = load.sealed.manifest();
        if let Some(lost) = manifest.parts().find(|p| !self.outbox.has(p)) {
            return Ok(Err(format!("{} is not in the outbox", lost.name)));
        }
        let mut files: Vec<(String, u64)> = manifest.parts().map(|p| (p.name.to_owned(), p.bytes)).collect();
        let base = name::base(manifest.stream, manifest.sequence);
        let signatures: Vec<&String> = self.names.of(&base).iter().filter(|n| n.ends_with(".sig")).collect();
        let mut good = 0;
        for name in signatures {
            let read = self.outbox.signature(name)?;
            let signature = Signature::from_bytes(&read);
            let holds =
                |key: &PublicKey| signature.is_some_and(|signature| key.verifies(load.sealed.bytes(), &signature));
            // Somebody else's signature may lie there too, and is carried as it is; one of our own has to hold.
            let ours =
                self.signers.iter().find(|k| *name == name::signature(manifest.stream, manifest.sequence, &k.id()));
            match (self.signers.iter().any(holds), ours) {
                (true, _) => good += 1,
                (false, Some(_)) => {
                    return Ok(Err(format!("{name} is damaged in the outbox: it does not sign this batch")));
                }
                (false, None) => {}
            }
            files.push((name.clone(), read.len() as u64));
        }
        if good == 0 {
            return Ok(Err("its signature is not in the outbox".to_owned()));
        }
        // It is no part of the batch, which is whole without it.
        let head = name::head(manifest.stream, manifest.sequence);
        files.extend(self.outbox.head(&head).map(|bytes| (head, bytes.len() as u64)));
        files.push((name::manifest(manifest.stream, manifest.sequence), load.sealed.bytes().len() as u64));
        Ok(Ok(files))
    }
}
