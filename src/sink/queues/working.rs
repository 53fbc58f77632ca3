//! The works of envelopes in flight: which work an envelope belongs to, and what happens if somebody clears it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Deliverable;
use super::{Queues, SinkCall};
use crate::destination::WorkPer;
use crate::error::Result;
use crate::gate::Gate;
use crate::opencti::api::ctime;
use crate::works::{CLEARED_MAX, ForBatch, SENT_AGAIN, Wanted, cleared};

/// The work of an envelope. A draft is for one envelope only.
fn subject_of(gate: &Gate<'_>, deliverable: &Deliverable) -> Option<ForBatch> {
    gate.platform()?;
    let envelope = match gate.reach.work_per {
        WorkPer::None => return None,
        WorkPer::Batch if !wants_draft(deliverable) => None,
        _ => Some(deliverable.origin.sha256),
    };
    Some(ForBatch { batch: deliverable.origin.batch, connector: deliverable.connector.id.to_string(), envelope })
}

fn wants_draft(deliverable: &Deliverable) -> bool {
    deliverable.connector.validate_before_import == Some(true)
}

/// The title of a work on the platform; for a single envelope, the title that the stock connector uses.
fn title(subject: &ForBatch, deliverable: &Deliverable) -> String {
    let (origin, name) = (&deliverable.origin, &deliverable.connector.name);
    match subject.envelope {
        Some(_) => format!("{name} run @ {}", ctime(origin.mtime.map_or(0, |m| m.seconds()))),
        None => format!("{name}, airpouch batch {} of stream {}", origin.sequence, origin.stream.prefix()),
    }
}

impl Queues<'_> {
    pub(super) fn subject(&self, deliverable: &Deliverable) -> Option<ForBatch> {
        subject_of(&self.gate, deliverable)
    }

    /// The work of an envelope that has one of its own.
    pub(super) fn own_work(&self, deliverable: &Deliverable) -> Option<ForBatch> {
        self.subject(deliverable).filter(|subject| subject.envelope.is_some())
    }

    /// Opens the work of an envelope if it is not open. If the platform opens none, this blocks the connector.
    pub(super) fn open_work(&mut self, deliverable: &Deliverable, call: &mut SinkCall<'_>) -> Result<()> {
        let Some(subject) = self.subject(deliverable) else { return Ok(()) };
        let (title, draft) = (|| title(&subject, deliverable), wants_draft(deliverable));
        self.works.open(&Wanted { subject: &subject, title: &title, draft }, &mut self.gate, call)
    }

    /// Announces to the works of these envelopes how many messages follow. Opens a new work for one that is gone.
    pub(super) fn expect(&mut self, numbers: &[u64], call: &mut SinkCall<'_>) -> Result<()> {
        let mut sums: BTreeMap<ForBatch, (usize, u64)> = BTreeMap::new();
        for number in numbers {
            let Some(envelope) = self.in_flight.get(number) else { continue };
            if let Some(subject) = self.subject(&envelope.deliverable) {
                sums.entry(subject).or_insert((0, *number)).0 += envelope.left;
            }
        }
        for (subject, (messages, number)) in sums {
            let Some(envelope) = self.in_flight.get(&number) else { continue };
            let (title, draft) = (|| title(&subject, &envelope.deliverable), wants_draft(&envelope.deliverable));
            let wanted = Wanted { subject: &subject, title: &title, draft };
            self.works.expect(&wanted, messages, &mut self.gate, call)?;
        }
        Ok(())
    }

    /// The works of these envelopes that no longer exist. If the platform does not answer, this gives the envelopes
    /// back.
    pub(super) fn gone_works(&mut self, numbers: &[u64]) -> Result<BTreeSet<ForBatch>> {
        let of = |number: &u64| self.in_flight.get(number).and_then(|envelope| self.subject(&envelope.deliverable));
        let subjects: BTreeSet<ForBatch> = numbers.iter().filter_map(of).collect();
        let looked = self.works.look_for(&subjects, &mut self.gate)?;
        if !looked.unknown.is_empty() {
            for number in numbers {
                let Some(envelope) = self.in_flight.get_mut(number) else { continue };
                let subject = subject_of(&self.gate, &envelope.deliverable);
                envelope.is_given_back |= subject.is_some_and(|subject| looked.unknown.contains(&subject));
            }
        }
        Ok(looked.gone)
    }

    /// Somebody cleared the works: sends their messages again under new ones.
    pub(super) fn send_again(
        &mut self,
        numbers: &[u64],
        gone: &BTreeSet<ForBatch>,
        call: &mut SinkCall<'_>,
    ) -> Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        self.gate.observer.say(SENT_AGAIN);
        gone.iter().try_for_each(|subject| self.works.drop_gone(subject, call))?;
        for number in numbers {
            let Some(mut envelope) = self.in_flight.remove(number) else { continue };
            envelope.begin_again();
            let opened = match envelope.cleared > CLEARED_MAX {
                true => Err(cleared()),
                false => self.open_work(&envelope.deliverable, call),
            };
            self.in_flight.insert(*number, envelope);
            opened?;
        }
        self.expect(numbers, call)?;
        numbers.iter().try_for_each(|number| self.publish(*number))
    }

    /// Part of an envelope is not sent: its work is noted as incomplete, and ends if it is for this envelope only.
    pub(super) fn end_flawed(&mut self, deliverable: &Deliverable, flaw: &str) -> Result<()> {
        let Some(subject) = self.subject(deliverable) else { return Ok(()) };
        self.works.note_flaw(&subject, flaw);
        match subject.envelope {
            Some(_) => self.works.end(&subject, None, &mut self.gate),
            None => Ok(()),
        }
    }

    pub(super) fn forget_own_work(&mut self, deliverable: &Deliverable, call: &mut SinkCall<'_>) -> Result<()> {
        self.own_work(deliverable).map_or(Ok(()), |subject| self.works.forget(&subject, call))
    }
}
