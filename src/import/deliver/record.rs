//! What the sink has done, in the ledger: the order in which a group is prepared, noted, seen and recorded.

use super::{Delivering, InHand};
use crate::clock;
use crate::envelope::Envelope;
use crate::error::Result;
use crate::ledger::importer::{Group, ImporterLedger};
use crate::policy::Objection;
use crate::report::Finding;
use crate::set_aside::{self, Kind};
use crate::sink::{Deferred, Delivery, Effects, Ended, Prepared, Refused, WriteAhead};
use crate::text::{count, harmless};
use crate::works::ForBatch;

/// Where a sink writes ahead: the ledger.
pub(super) struct InLedger<'l> {
    pub ledger: &'l ImporterLedger,
    pub destination: i64,
}

impl WriteAhead for InLedger<'_> {
    fn registered(&mut self, id: &str, name: &str, is_ours: bool) -> Result<()> {
        self.ledger.note_registered(self.destination, id, name, is_ours)
    }

    fn opened(&mut self, subject: &ForBatch, id: &str) -> Result<()> {
        self.ledger.note_opened(self.destination, subject, id)
    }
}

impl Delivering<'_> {
    /// Finishes what a crash left at the destination. Says how many envelopes may come a second time: nobody can tell of
    /// these, and they go again.
    pub fn recover(&mut self) -> Result<u64> {
        let (mut effects, recovered) = self.sink.recover(self.ledger.placings(self.destination)?);
        self.report.findings.append(&mut effects.findings);
        self.report.outcome.delivered += effects.delivery.placed().len() as u64;
        self.ledger.settle(self.destination, &effects.delivery)?;
        recovered?;
        self.ledger.forget_unsettled(self.destination)
    }

    /// Durable, noted, seen, recorded: in this order. With `all` it waits until the destination has everything.
    pub fn commit(&mut self, all: bool) -> Result<()> {
        let (effects, prepared) =
            self.sink.prepare(&mut InLedger { ledger: self.ledger, destination: self.destination });
        self.record(effects)?;
        match prepared? {
            Prepared::Placing(placing) => self.group.placing = placing,
            Prepared::Sending(number) => self.group.on_their_way = Some(number),
        }
        let group = std::mem::take(&mut self.group);
        self.note(&group)?;
        let ahead = &mut InLedger { ledger: self.ledger, destination: self.destination };
        let (effects, settled) = self.sink.settle(all, ahead);
        self.record(effects)?;
        settled?;
        if all {
            for (kind, sha256) in std::mem::take(&mut self.released) {
                set_aside::remove(self.site, kind, sha256)?;
            }
            if !self.options.redeliver {
                self.in_run.clear();
            }
        }
        Ok(())
    }

    fn note(&mut self, group: &Group) -> Result<()> {
        if group.aside.iter().any(|aside| aside.copied) {
            self.site.sync()?;
        }
        if !group.is_empty() {
            self.ledger.note_group(self.destination, group)?;
        }
        Ok(())
    }

    /// Records what a call of the sink has done, whether or not it came to its end.
    ///
    /// What was delivered comes first: all that follows rests on it. Works that are gone are noted with how much was
    /// delivered under them, those that were closed for whoever follows them; they are forgotten last: until then the next run finds them open, looks for them, and reports
    /// them again.
    pub(super) fn record(&mut self, effects: Effects) -> Result<()> {
        let Effects { delivery, shown, closed, sent, gone, mut findings } = effects;
        self.report.findings.append(&mut findings);
        self.ledger.note_shown(self.destination, shown)?;
        self.record_delivery(delivery)?;
        self.ledger.note_sent(self.destination, &sent, clock::now().0)?;
        self.ledger.note_gone(self.destination, gone)?;
        self.ledger.forget_works(&closed)
    }

    /// Records what is known of envelopes. What the sink does not take is set aside, and that is noted behind it.
    fn record_delivery(&mut self, delivery: Delivery) -> Result<()> {
        if delivery.is_empty() {
            return Ok(());
        }
        self.report.outcome.delivered += delivery.placed().len() as u64;
        self.ledger.settle(self.destination, &delivery)?;
        for placing in delivery.placed() {
            let staged = self.staged.remove(&placing.sha256).unwrap_or_default();
            self.report.messages += staged.messages;
            staged.incompatible.into_iter().for_each(|passed_over| self.report.pass_over(passed_over));
        }
        let on_their_way = delivery.on_their_way().filter(|_| delivery.refused() > 0);
        let (refused, deferred) = delivery.into_undelivered();
        deferred.into_iter().for_each(|deferred| self.defer(deferred));
        refused.into_iter().try_for_each(|refused| self.quarantine_refused(refused))?;
        self.group.on_their_way = on_their_way;
        let group = std::mem::take(&mut self.group);
        self.note(&group)
    }

    fn quarantine_refused(&mut self, refused: Refused) -> Result<()> {
        let Refused { origin, bytes, code, what, place, .. } = refused;
        let envelope = Envelope::parse(&bytes).ok();
        let copied = self.staged.remove(&origin.sha256).and_then(|staged| staged.copied);
        self.report.outcome.quarantined += 1;
        let objection = Objection::new(code, what, place);
        let of = InHand { origin, bytes, envelope, copied };
        let moved = self.put_aside(Kind::Quarantined, &of, objection)?;
        // What was held before lies in held/ no more, but here.
        self.released.retain(|(kind, sha256)| (moved && *kind == Kind::Held) || *sha256 != of.origin.sha256);
        Ok(())
    }

    /// Closes what the sink has opened for what has ended.
    pub fn close(&mut self, ended: Ended<'_>) -> Result<()> {
        if !matches!(ended, Ended::Batch) {
            self.report_deferred();
        }
        self.report_uncopied();
        let ahead = &mut InLedger { ledger: self.ledger, destination: self.destination };
        let (effects, closed) = self.sink.close(ended, ahead);
        self.record(effects)?;
        closed
    }

    /// The sink cannot take an envelope at the moment. One that was held or released before is so still.
    fn defer(&mut self, deferred: Deferred) {
        let Deferred { placing, code, what, advice } = deferred;
        let staged = self.staged.remove(&placing.sha256).unwrap_or_default();
        let were_aside = self.released.len();
        self.released.retain(|(_, sha256)| *sha256 != placing.sha256);
        self.report.released -= (were_aside - self.released.len()) as u64;
        // In this run it may go once more.
        self.in_run.remove(&placing.sha256);
        self.has_deferred = true;
        self.report.outcome.deferred += 1;
        let finding = Finding::new(code, what).advise(advice);
        self.deferred.entry((staged.connector, code)).or_insert((0, finding)).0 += 1;
    }

    /// Reports what the sink could not take in this run, once for each connector and reason.
    fn report_deferred(&mut self) {
        for ((connector, _), (number, mut finding)) in std::mem::take(&mut self.deferred) {
            let envelopes = count(number, "envelope");
            finding.what = format!("{envelopes} of {}: {}", harmless(&connector), finding.what);
            self.report.findings.push(finding.labelled("not delivered"));
        }
    }
}
