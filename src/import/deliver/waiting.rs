//! What waits goes first: what is held, and what a person has released.

use std::ops::RangeInclusive;

use super::super::decide::{Case, Decision, Known};
use super::super::{Officers, shelf_of};
use super::{Delivering, InHand};
use crate::applicants::CameBy;
use crate::code::Code;
use crate::envelope::Envelope;
use crate::error::{Error, Result};
use crate::lack;
use crate::ledger::importer::{AsideKind, AsideRow, State};
use crate::limits::BATCH_ENVELOPES_MAX;
use crate::report::Finding;
use crate::set_aside::{self, Kind};
use crate::shelf::check::envelopes_at;
use crate::sink::{Ended, Origin};
use crate::text::{count, harmless};

/// Where an envelope that waits was set aside, and what is known of it by that.
fn kind_of(row: &AsideRow) -> (Kind, Known) {
    let known = if row.kind == AsideKind::Held { Known::Held } else { Known::Released };
    (row.kind.place(), known)
}

impl Delivering<'_> {
    /// What waits goes first, for it is older: what is released, and what nothing speaks against any more.
    pub fn retry_set_aside(&mut self) -> Result<()> {
        for batch in self.ledger.batches_with_waiting()? {
            self.forked = self.ledger.shares_its_number(batch)?;
            self.retry_batch(batch)?;
        }
        self.commit(true)?;
        self.close(Ended::Batch)
    }

    /// What waits of one batch, in its order. What lies in the inbox alone is unpacked once more.
    fn retry_batch(&mut self, batch: i64) -> Result<()> {
        let in_inbox = self.ledger.waiting_in_inbox(batch)?;
        let of = self.ledger.incoming_by_id(batch)?;
        self.came_by = match &of {
            Some(row) => self.came_by(row.manifest.stream, batch)?,
            None => CameBy::default(),
        };
        let mut from = 1;
        if let Some(row) = of.filter(|_| !in_inbox.is_empty()) {
            let shelf = shelf_of(self.site, &row);
            let mut done = Ok(());
            let read = envelopes_at(&shelf, &row.manifest, &in_inbox, &mut |ordinal, bytes| {
                done = self.retry_copies(batch, from..=ordinal).and_then(|()| self.retry_one(batch, ordinal, bytes));
                from = ordinal + 1;
                done.is_ok()
            });
            done?;
            if let Err((name, fault)) = lack::apart(read)? {
                self.spoiled(&row, &name, &fault)?;
            }
        }
        self.retry_copies(batch, from..=BATCH_ENVELOPES_MAX as usize)
    }

    fn retry_one(&mut self, batch: i64, ordinal: usize, bytes: Vec<u8>) -> Result<()> {
        let row = self.ledger.aside_at(batch, ordinal)?;
        row.map_or(Ok(()), |row| self.unless_unsigned(&row, bytes))
    }

    /// What was copied and waits at these places of a batch.
    fn retry_copies(&mut self, batch: i64, mut places: RangeInclusive<usize>) -> Result<()> {
        loop {
            let rows = self.ledger.waiting_copies(batch, &places)?;
            let Some(last) = rows.last() else { return Ok(()) };
            places = last.ordinal + 1..=*places.end();
            for row in rows {
                match set_aside::get(self.site, kind_of(&row).0, row.sha256) {
                    Ok(bytes) => self.unless_unsigned(&row, bytes)?,
                    // What the machine lacks to read it says nothing of the file.
                    Err(cause) if cause.lack.is_some() => return Err(cause),
                    Err(cause) => self.lost_from_site(&row, cause)?,
                }
            }
        }
    }

    fn unless_unsigned(&mut self, row: &AsideRow, bytes: Vec<u8>) -> Result<()> {
        self.unless_stopped(row.stream, row.sequence)?;
        let lacks = row.kind == AsideKind::Released && self.lacks_signatures(row)?;
        if lacks { Ok(()) } else { self.one_set_aside(row, bytes) }
    }

    fn one_set_aside(&mut self, row: &AsideRow, bytes: Vec<u8>) -> Result<()> {
        let (kind, known) = kind_of(row);
        let copied = row.copied.then_some(kind);
        let origin = Origin {
            batch: row.batch,
            stream: row.stream,
            sequence: row.sequence,
            ordinal: row.ordinal,
            name: row.name.clone(),
            sha256: row.sha256,
            mtime: row.mtime,
            connector: row.connector.clone(),
            connector_name: row.connector_name.clone(),
        };
        let is_known_for_it = [Code::StoppedARun, Code::StopsRuns].contains(&row.code);
        let suspected = self.suspect(row.sha256, &bytes, is_known_for_it)?;
        let _note = self.examining.note(&[row.sha256]);
        self.examining.settle([row.sha256].into_iter());
        let (decision, parsed) = match suspected {
            Some(decision) => (decision, None),
            None => {
                let parsed = Envelope::parse(&bytes);
                // What stopped runs was never judged: that it is tried again lets nothing in it through.
                let known = if row.code == Code::StopsRuns { Known::Held } else { known };
                let case = Case { bytes: &bytes, parsed: &parsed, examined: None, known, redeliver: false };
                (self.decide(row.stream, case)?, parsed.ok())
            }
        };
        let of = InHand { origin, bytes, envelope: parsed, copied };
        match decision {
            // Runs died of it again since it was released, or it was released to be tried and is judged now: a person
            // decides anew.
            Decision::Quarantine(objection)
                if known == Known::Released && [objection.code, row.code].contains(&Code::StopsRuns) =>
            {
                self.put_aside(Kind::Quarantined, &of, objection).map(drop)
            }
            decision @ (Decision::Deliver { .. } | Decision::Empty(_)) => {
                self.released.push((kind, row.sha256));
                self.report.released += u64::from(matches!(decision, Decision::Deliver { .. }));
                self.carry_out(of, decision)
            }
            // Released, but the site's settings hold it, or the sink cannot take it: it stays, and is said.
            Decision::Hold(objection) | Decision::Quarantine(objection) if known == Known::Released => {
                let what = format!("released, and still not delivered: {}", objection.what);
                let finding = Finding::new(objection.code, what)
                    .of_batch(row.stream, row.sequence)
                    .of_envelope(row.ordinal, harmless(&row.name))
                    .of_connector(harmless(&row.connector), harmless(&row.connector_name));
                let advice = objection.code.advice(row.sha256, &row.connector);
                self.report.findings.push(finding.labelled(AsideKind::Held.word()).advise(advice));
                Ok(())
            }
            Decision::Quarantine(objection) => {
                self.report.outcome.quarantined += 1;
                if self.put_aside(Kind::Quarantined, &of, objection)? {
                    self.released.push((kind, row.sha256));
                }
                self.commit_if_full()
            }
            // The first reason is gone, and there is another one.
            Decision::Hold(objection) if objection.code != row.code => {
                self.put_aside(Kind::Held, &of, objection).map(drop)
            }
            Decision::Hold(_) | Decision::AsBefore | Decision::AlreadyDelivered => Ok(()),
        }
    }

    /// Whether fewer officers have signed a release than the policy demands now; that is reported.
    fn lacks_signatures(&mut self, row: &AsideRow) -> Result<bool> {
        let need = self.options.policy.record.signatures_for(row.code);
        let have = match &self.options.officers {
            Some(Officers { store, site }) => self.ledger.release_signers(row.sha256, *site, Some(store))?.len(),
            None => 0,
        };
        if have >= need {
            return Ok(false);
        }
        let what = format!("released, and still not delivered: {have} of {} signed", count(need as u64, "officer"));
        let short = row.sha256.short();
        let finding = Finding::new(Code::ReleaseUnsigned, what)
            .of_batch(row.stream, row.sequence)
            .of_envelope(row.ordinal, harmless(&row.name))
            .of_connector(harmless(&row.connector), harmless(&row.connector_name));
        let advice = format!("an officer signs it: airpouch quarantine release {short} --reason TEXT --key FILE");
        self.report.findings.push(finding.advise(advice));
        Ok(true)
    }

    /// Its file is gone or was changed. What was only held is unpacked once more, while its batch lies in the inbox;
    /// what a person has released was looked at, and nothing else takes its place.
    fn lost_from_site(&mut self, row: &AsideRow, cause: Error) -> Result<()> {
        let batch = self.ledger.incoming_by_id(row.batch)?.filter(|b| b.state == State::Delivered && !b.pruned);
        if let Some(batch) = batch.filter(|_| row.kind == AsideKind::Held) {
            self.ledger.forget_aside(row.sha256)?;
            return self.ledger.set_state(batch.id, State::Admitted, None);
        }
        let lost = Finding::new(Code::LostFromSite, cause.what).at(cause.place.unwrap_or_default());
        self.report.findings.push(lost.advise(format!(
            "at the exporter: airpouch carry MEDIUM --resend {}:{}; then here: airpouch import MEDIUM --redeliver",
            row.stream, row.sequence
        )));
        Ok(())
    }
}
