//! What no shelf holds can be packed again. A batch whose files the outbox has lost is completed, from a medium that
//! has them, or signed again; else it is given up: its number stays used, and what was in it no longer counts as packed.

use std::collections::HashMap;
use std::path::Path;

use super::recover::sign_and_place;
use crate::batch::index::Names;
use crate::batch::manifest::{Manifest, Part};
use crate::batch::name;
use crate::code::Code;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::lack;
use crate::ledger::exporter::{BatchRow, ExporterLedger, ExporterView, Sealed, StreamRow};
use crate::report::{BatchLine, Finding, LostBatch, PackReport};
use crate::shelf::Shelf;
use crate::shelf::check::read_index;
use crate::shelf::kept::KeptShelf;
use crate::shelf::medium::Medium;
use crate::stream::Asked;
use crate::text::{count, harmless};
use crate::trust::PrivateKey;

/// How batches are looked after that the outbox has lost.
pub struct Again<'a> {
    /// Where the site keeps its batches.
    pub outbox: &'a KeptShelf,
    /// A medium that may have what the outbox lacks.
    pub medium: Option<&'a Path>,
    /// The keys to sign again with; none where batches are only given up.
    pub keys: &'a [PrivateKey],
    /// The zone whose batches they are.
    pub zone: &'a str,
    /// The time, for the record.
    pub at: &'a str,
}

impl Again<'_> {
    /// Completes each of these batches, or gives it up.
    ///
    /// # Errors
    /// There is no such batch; the system or SQLite refused.
    pub fn look_after(&self, ledger: &mut ExporterLedger, asked: &[Asked], report: &mut PackReport) -> Result<()> {
        if asked.is_empty() {
            return Ok(());
        }
        let active = ledger.active_stream(self.zone)?.ok_or_else(|| {
            Error::usage(format!("nothing was ever packed for zone {}", self.zone)).advise("name another with --zone")
        })?;
        let lineage = ledger.lineage(&active)?;
        let medium = self.medium.map(|medium| Medium::scan(medium, Vec::new())).transpose()?;
        for asked in asked {
            let stream = lineage.iter().find(|s| asked.is_of(s.stream, s.active)).ok_or_else(|| {
                Error::usage("no batch of this stream goes to this zone").advise("`airpouch status` lists the streams")
            })?;
            let there = ledger.sealed_among(stream, &asked.numbers)?;
            let unknown = asked.numbers.without(&there);
            if !unknown.is_empty() {
                return Err(Error::usage(format!("{} was never sealed", unknown.words()))
                    .advise("`airpouch status` lists the numbers that were"));
            }
            for sequence in there.without(&ledger.lost_numbers(stream)?).iter() {
                if let Some(batch) = ledger.batch(stream, sequence)? {
                    self.look_after_one(ledger, &active, stream, &batch, medium.as_ref(), report)?;
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "a batch, its two streams, and where it may be")]
    fn look_after_one(
        &self,
        ledger: &mut ExporterLedger,
        active: &StreamRow,
        stream: &StreamRow,
        batch: &BatchRow,
        medium: Option<&Medium>,
        report: &mut PackReport,
    ) -> Result<()> {
        let (sealed, manifest) = (&batch.sealed, batch.sealed.manifest());
        let line = BatchLine::of(manifest, sealed.sha256());
        for part in manifest.parts() {
            if !self.outbox.is_whole(&part)? && !self.bring(&part, medium)? {
                let envelopes = self.envelopes(ledger, stream, manifest)?;
                ledger.give_up_batch(stream, active, manifest.sequence, &envelopes, self.at)?;
                report.given_up.push(line);
                return Ok(());
            }
        }
        if self.keys.is_empty() {
            let what = format!("batch {} was not given up: its index and volumes are whole", line.sequence);
            let sign = format!(
                "if its signature is lost, sign it again: airpouch pack SOURCE --key FILE --again {}",
                line.sequence
            );
            report.findings.push(Finding::new(Code::NotLost, what).advise(sign));
            return Ok(());
        }
        self.clear_damaged(sealed)?;
        sign_and_place(ledger, self.outbox, stream, sealed, self.keys)?;
        report.restored.push(line);
        Ok(())
    }

    /// Brings a file back from a medium, over what is left of it; `false` where the medium does not have it.
    fn bring(&self, part: &Part<'_>, medium: Option<&Medium>) -> Result<bool> {
        let Some(medium) = medium else { return Ok(false) };
        let Ok(checked) = lack::apart(medium.anywhere().fetch(part))? else { return Ok(false) };
        self.outbox.write_over(part.name, checked.bytes())?;
        Ok(true)
    }

    /// The manifest and our own signatures are made anew: what lies damaged under their names gives way.
    fn clear_damaged(&self, sealed: &Sealed) -> Result<()> {
        let (stream, sequence) = (sealed.manifest().stream, sealed.manifest().sequence);
        let signatures = self.keys.iter().map(|key| {
            (name::signature(stream, sequence, &key.public().id()), key.sign(sealed.bytes()).bytes().to_vec())
        });
        for (name, bytes) in signatures.chain([(name::manifest(stream, sequence), sealed.bytes().to_vec())]) {
            self.outbox.clear_damaged(&name, &bytes)?;
        }
        Ok(())
    }

    /// The batch's envelopes with their names: those of its index, where that can be read, else of the source's files.
    fn envelopes(
        &self,
        ledger: &ExporterView,
        stream: &StreamRow,
        manifest: &Manifest,
    ) -> Result<HashMap<Digest, Option<String>>> {
        let mut envelopes = ledger.envelopes_of(stream, manifest.sequence)?;
        if let Ok(index) = lack::apart(read_index(self.outbox, manifest, Names::Keep))? {
            for line in index.lines {
                envelopes.entry(line.sha256).and_modify(|name| *name = Some(harmless(&line.name)));
            }
        }
        Ok(envelopes)
    }
}

/// Says what became of the envelopes of each batch that was given up, once: how many went again, and which are gone.
pub(super) fn tell_losses(
    ledger: &mut ExporterLedger,
    active: &StreamRow,
    source: &Path,
    report: &mut PackReport,
) -> Result<()> {
    for stream in ledger.lineage(active)? {
        let numbers = ledger.untold_losses(&stream)?;
        for sequence in numbers.iter() {
            let loss = ledger.loss(&stream, active, sequence)?;
            let gone = loss.envelopes - loss.again;
            if gone > 0 {
                let verb = if gone == 1 { "is" } else { "are" };
                let what = format!("{} of batch {sequence} {verb} no longer in the source", count(gone, "envelope"));
                let names = if loss.gone.is_empty() { String::new() } else { format!(": {}", loss.gone.join(", ")) };
                report.findings.push(
                    Finding::new(Code::LostEnvelopes, format!("{what}{names}"))
                        .at(harmless(&source.to_string_lossy()))
                        .advise("bring the files back into the source from a backup; the next pack takes them"),
                );
            }
            report.lost.push(LostBatch {
                stream: stream.stream,
                sequence,
                envelopes: loss.envelopes,
                packed_again: loss.again,
                within: loss.within,
                not_packed: loss.gone,
            });
        }
        if !numbers.is_empty() {
            ledger.losses_are_told(&stream)?;
        }
    }
    Ok(())
}
