//! `amqp(s)://` and `opencti+http(s)://`: messages for the queues of connectors, confirmed by the broker.
//!
//! An envelope is delivered when the broker has confirmed each of its messages and their work, if they have one, still
//! exists: OpenCTI's workers skip messages whose work is gone. After a crash all unconfirmed envelopes are sent again,
//! with the same message ids.

mod in_flight;
mod working;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Deferred, Deliverable, Did, Effects, Ended, Placing, Prepared, Sink, WriteAhead, registration};
use crate::broker::{Message, MessageOutcome};
use crate::envelope::Connector;
use crate::error::{Error, Result};
use crate::fit::{Examined, Examiner, Unfit};
use crate::gate::Gate;
use crate::gate::blocked::Until;
use crate::opencti::message::{Addressee, spare_bundle_id};
use crate::works::{EndedWork, ForBatch, OpenWork, Remembers, Works};

use in_flight::{InFlight, message_id, messages_in};

/// Messages of one group. A crash repeats at most these and the messages in flight.
pub const GROUP_MESSAGES: usize = 2_000;
/// Bytes of one group: of its envelopes, or of messages that are drained.
pub const GROUP_BYTES: usize = 16 << 20;
/// Bytes of envelopes in flight; with more, the sink waits until all of them are confirmed.
const HELD_BYTES_MAX: usize = 64 << 20;

/// The queues of a broker.
pub struct Queues<'a> {
    gate: Gate<'a>,
    works: Works<ForBatch>,
    group: Vec<(Deliverable, Placing)>,
    group_messages: usize,
    group_bytes: usize,
    /// Envelopes that were staged for blocked connectors.
    deferred: Vec<Deferred>,
    /// How many connectors have envelopes to deliver, at most: a connector that is alone is waited for, not deferred at
    /// once.
    connectors: usize,
    /// Envelopes in flight, by the number under which they were sent.
    in_flight: BTreeMap<u64, Box<InFlight>>,
    /// The number of the last envelope that was sent.
    last: u64,
    high_water: i64,
}

/// One call of the sink: its effects so far, and the write-ahead.
struct SinkCall<'c> {
    effects: Effects,
    ahead: &'c mut dyn WriteAhead,
}

/// The ledger remembers works. It records that one is closed or gone after what was delivered under it.
impl Remembers<ForBatch> for SinkCall<'_> {
    fn opened(&mut self, subject: &ForBatch, id: &str) -> Result<()> {
        self.ahead.opened(subject, id)
    }

    fn closed(&mut self, ended: &EndedWork<ForBatch>) -> Result<()> {
        self.effects.closed.push(ended.id.clone());
        if ended.delivered > 0 {
            self.effects.sent.push(ended.into());
        }
        Ok(())
    }

    fn gone(&mut self, gone: &EndedWork<ForBatch>) -> Result<()> {
        self.effects.closed.push(gone.id.clone());
        if gone.delivered > 0 {
            self.effects.gone.push(gone.into());
        }
        Ok(())
    }
}

impl<'a> Queues<'a> {
    /// A sink that sends through this gate. `works` are those that an earlier run left open; `connectors` is how many
    /// have envelopes to deliver, at most.
    pub fn new(gate: Gate<'a>, high_water: i64, works: Vec<OpenWork>, connectors: usize) -> Self {
        let left_open = works.into_iter().map(|work| (work.subject, work.id, work.delivered));
        Self {
            gate,
            works: Works::left_open(left_open),
            group: Vec::new(),
            group_messages: 0,
            group_bytes: 0,
            deferred: Vec::new(),
            connectors,
            in_flight: BTreeMap::new(),
            last: 0,
            high_water,
        }
    }

    /// Runs a call, and returns what it has done, also if it failed.
    fn call<T>(
        &mut self,
        ahead: &mut dyn WriteAhead,
        work: impl FnOnce(&mut Self, &mut SinkCall<'_>) -> Result<T>,
    ) -> Did<T> {
        let mut call = SinkCall { effects: Effects::none(self.high_water), ahead };
        let outcome = work(self, &mut call);
        (self.with_findings_of_the_gate(call.effects), outcome)
    }

    fn with_findings_of_the_gate(&mut self, mut effects: Effects) -> Effects {
        effects.shown.append(&mut self.gate.exist);
        effects.findings.append(&mut self.gate.findings);
        effects
    }

    fn prepare_group(&mut self, call: &mut SinkCall<'_>) -> Result<Prepared> {
        if self.group.is_empty() {
            return Ok(Prepared::Placing(Vec::new()));
        }
        self.defer_blocked();
        let connectors: BTreeSet<String> = self.group.iter().map(|(d, _)| d.connector.id.to_string()).collect();
        let is_alone = self.connectors <= 1;
        connectors.iter().try_for_each(|connector| self.gate.check_space(connector, is_alone))?;
        self.defer_blocked();
        let group = std::mem::take(&mut self.group);
        let opened = group.iter().try_for_each(|(deliverable, _)| self.open_work(deliverable, call));
        self.group = group;
        opened?;
        self.defer_blocked();
        Ok(Prepared::Sending((self.group.len() + self.in_flight.len()) as u64))
    }

    fn settle_group(&mut self, all: bool, call: &mut SinkCall<'_>) -> Result<()> {
        (self.group_messages, self.group_bytes) = (0, 0);
        call.effects.delivery.deferred.append(&mut self.deferred);
        let mut numbers = Vec::new();
        for (deliverable, placing) in std::mem::take(&mut self.group) {
            self.last += 1;
            self.in_flight.insert(self.last, Box::new(InFlight::new(deliverable, placing)));
            numbers.push(self.last);
        }
        // An envelope in flight stays in memory until it is confirmed.
        let held: usize = self.in_flight.values().map(|envelope| envelope.deliverable.bytes.len()).sum();
        let sent = self.send(&numbers, all || held > HELD_BYTES_MAX, call);
        if sent.is_err() && self.gate.is_over() {
            let taken = self.take_known_outcomes(call);
            return sent.and(taken);
        }
        call.effects.delivery.on_their_way = Some(self.in_flight.len() as u64);
        sent
    }

    /// What the broker has confirmed by now, in a run that stops.
    fn take_known_outcomes(&mut self, call: &mut SinkCall<'_>) -> Result<()> {
        // Waiting does not help any more.
        self.gate.stop_waiting();
        // The service reports its failure before the confirms that it received earlier: read on after an error.
        while self.poll_outcomes(false).is_err() {}
        let taken = self.take_confirmed(call);
        call.effects.delivery.on_their_way = Some(self.in_flight.len() as u64);
        taken
    }

    /// Sends these, and meanwhile processes outcomes of everything in flight.
    fn send(&mut self, numbers: &[u64], all: bool, call: &mut SinkCall<'_>) -> Result<()> {
        self.expect(numbers, call)?;
        for number in numbers {
            let sent = self.publish(*number);
            self.poll_outcomes(false)?;
            sent?;
        }
        self.take_confirmed(call)?;
        while all && !self.in_flight.is_empty() {
            self.poll_outcomes(true)?;
            self.take_confirmed(call)?;
        }
        Ok(())
    }

    /// Sends the messages of an envelope.
    fn publish(&mut self, number: u64) -> Result<()> {
        let Some(mut envelope) = self.in_flight.remove(&number) else { return Ok(()) };
        // Keeps the order: nothing is sent after an envelope of the same connector that was given back.
        if self.gate.blocked.obstacle(&envelope.deliverable.connector.id).is_some() {
            envelope.is_given_back = true;
            self.in_flight.insert(number, envelope);
            return Ok(());
        }
        let subject = self.subject(&envelope.deliverable);
        envelope.work = subject.and_then(|subject| self.works.get(&subject).map(|work| work.id.clone()));
        let sent = self.publish_one(number, &envelope);
        self.in_flight.insert(number, envelope);
        sent
    }

    fn publish_one(&mut self, number: u64, envelope: &InFlight) -> Result<()> {
        let Deliverable { origin, bytes, examined, connector, applicant, .. } = &envelope.deliverable;
        let Examined::Messages(messages) = examined else {
            return Err(Error::failed("an envelope reached the queues that was not split"));
        };
        let subject = self.subject(&envelope.deliverable);
        let work = subject.and_then(|subject| self.works.get(&subject).cloned());
        let (route, spare_id) = (self.gate.route(&connector.id)?, spare_bundle_id(origin.sha256));
        let to = Addressee {
            applicant: applicant.as_deref(),
            work: work.as_ref().map(|w| w.id.as_str()),
            draft: work.as_ref().and_then(|w| w.draft.as_deref()),
        };
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let lane = self.gate.lane(&connector.id);
        for at in 0..messages.count() {
            let mut body = String::new();
            messages.write(&mut body, text, at, &to, &spare_id);
            let id = message_id(origin.sha256, at);
            let message = Message { lane, route: Arc::clone(&route), id, body: body.into_bytes(), part_of: number };
            self.gate.broker()?.publish(message)?;
        }
        Ok(())
    }

    /// Notes the outcomes of messages.
    fn poll_outcomes(&mut self, wait: bool) -> Result<()> {
        for outcome in self.gate.poll_outcomes(wait)? {
            match outcome {
                MessageOutcome::Confirmed { part_of } => {
                    if let Some(envelope) = self.in_flight.get_mut(&part_of) {
                        envelope.left = envelope.left.saturating_sub(1);
                    }
                }
                MessageOutcome::Refused { part_of, id, words } => {
                    if let Some(envelope) = self.in_flight.get_mut(&part_of) {
                        envelope.refused = Some((id, words));
                    }
                }
                MessageOutcome::NotTaken { part_of, why } => {
                    if let Some(envelope) = self.in_flight.get_mut(&part_of) {
                        envelope.is_given_back = true;
                        self.gate.not_taken(&envelope.deliverable.connector.id, &why);
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the envelopes with a known outcome: refused, given back, or confirmed under a work that exists.
    fn take_confirmed(&mut self, call: &mut SinkCall<'_>) -> Result<()> {
        self.take_refused(call)?;
        let done: Vec<u64> = self.in_flight.iter().filter(|(_, e)| e.is_confirmed()).map(|(n, _)| *n).collect();
        // Ask for a work after the last update of it: confirms alone do not show that it is gone.
        for number in &done {
            if let Some(envelope) = self.in_flight.get(number) {
                let own = self.own_work(&envelope.deliverable);
                own.map_or(Ok(()), |own| self.works.end(&own, None, &mut self.gate))?;
            }
        }
        let gone = self.gone_works(&done)?;
        self.give_back(call)?;
        let mut again = Vec::new();
        for number in done {
            let Some(envelope) = self.in_flight.remove(&number) else { continue };
            if let Some(subject) = self.subject(&envelope.deliverable) {
                if gone.contains(&subject) || !self.works.is_under_current(&subject, envelope.work.as_deref()) {
                    self.in_flight.insert(number, envelope);
                    again.push(number);
                    continue;
                }
                self.works.delivered(&subject);
            }
            self.forget_own_work(&envelope.deliverable, call)?;
            self.gate.blocked.moved(&envelope.deliverable.connector.id);
            call.effects.delivery.placed.push(envelope.placing);
        }
        self.send_again(&again, &gone, call)
    }

    /// Removes the envelopes that the broker refused. Other messages of them may be in the queue: their works end in
    /// error.
    fn take_refused(&mut self, call: &mut SinkCall<'_>) -> Result<()> {
        let refused: Vec<u64> = self.in_flight.iter().filter(|(_, e)| e.refused.is_some()).map(|(n, _)| *n).collect();
        for number in refused {
            let Some(envelope) = self.in_flight.remove(&number) else { continue };
            let ended = self.end_flawed(&envelope.deliverable, "the broker refused a message of it");
            if ended.is_ok() {
                self.forget_own_work(&envelope.deliverable, call)?;
            }
            call.effects.delivery.refused.extend(envelope.into_refused());
            ended?;
        }
        Ok(())
    }

    /// Gives back the envelopes in flight of connectors that are blocked now: a later run sends them again as a whole.
    fn give_back(&mut self, call: &mut SinkCall<'_>) -> Result<()> {
        let back: Vec<u64> = self.in_flight.iter().filter(|(_, e)| e.is_given_back).map(|(n, _)| *n).collect();
        for number in back {
            let Some(envelope) = self.in_flight.remove(&number) else { continue };
            let ended =
                self.end_flawed(&envelope.deliverable, "what its queue did not accept is sent again in another work");
            let connector = &envelope.deliverable.connector.id;
            call.effects.delivery.deferred.extend(self.deferred(connector, envelope.placing));
            self.forget_own_work(&envelope.deliverable, call)?;
            ended?;
        }
        Ok(())
    }

    /// An envelope of a connector that is blocked.
    fn deferred(&self, connector: &str, placing: Placing) -> Option<Deferred> {
        let obstacle = self.gate.blocked.obstacle(connector)?;
        let (code, what, advice) = (obstacle.code, obstacle.what.clone(), obstacle.advice.to_owned());
        Some(Deferred { placing, code, what, advice })
    }

    /// Removes from the group what cannot be sent at the moment.
    fn defer_blocked(&mut self) {
        let mut group = Vec::new();
        for (deliverable, placing) in std::mem::take(&mut self.group) {
            if self.gate.blocked.obstacle(&deliverable.connector.id).is_some() {
                let deferred = self.deferred(&deliverable.connector.id, placing);
                self.deferred.extend(deferred);
            } else {
                group.push((deliverable, placing));
            }
        }
        self.group = group;
    }
}

impl Sink for Queues<'_> {
    /// Nobody knows how many messages of an interrupted run arrived: all are sent again, with the same ids.
    fn recover(&mut self, _placing: Vec<Placing>) -> Did<()> {
        (Effects::none(self.high_water), Ok(()))
    }

    fn examiner(&self) -> Examiner {
        let knows_drafts = self.gate.platform().is_some_and(|platform| platform.version().knows_drafts());
        let drafts = knows_drafts && self.gate.has_works();
        Examiner::Splitting { drafts, max_message: self.gate.reach.max_message }
    }

    fn admits(&mut self, connector: &Connector, ahead: &mut dyn WriteAhead) -> Did<Option<Unfit>> {
        self.call(ahead, |queues, call| {
            queues
                .gate
                .admits(&registration(connector), &mut |id, name, is_ours| call.ahead.registered(id, name, is_ours))
        })
    }

    fn stage(&mut self, deliverable: Deliverable) -> Result<bool> {
        self.high_water += 1;
        let placing =
            Placing::of(&deliverable.origin, deliverable.name.clone(), self.high_water, deliverable.applicant.clone());
        self.group_messages += messages_in(&deliverable);
        self.group_bytes += deliverable.bytes.len();
        self.group.push((deliverable, placing));
        Ok(self.group_messages >= GROUP_MESSAGES || self.group_bytes >= GROUP_BYTES)
    }

    fn prepare(&mut self, ahead: &mut dyn WriteAhead) -> Did<Prepared> {
        self.call(ahead, |queues, call| {
            let prepared = queues.prepare_group(call);
            if prepared.is_err() {
                // Record what was confirmed before, so that it is not sent again; return the new error.
                drop(queues.take_known_outcomes(call));
            }
            prepared
        })
    }

    fn settle(&mut self, all: bool, ahead: &mut dyn WriteAhead) -> Did<()> {
        self.call(ahead, |queues, call| queues.settle_group(all, call))
    }

    fn wait(&mut self) -> Did<bool> {
        let outcome = match self.gate.blocked.count() {
            0 => Ok(false),
            _ => {
                // If only one connector is left, wait for it at its queue.
                let left = self.gate.blocked.list();
                self.connectors = left.iter().filter(|(_, until)| *until != Until::Changed).count();
                self.gate.wait_for_blocked()
            }
        };
        (self.with_findings_of_the_gate(Effects::none(self.high_water)), outcome)
    }

    fn close(&mut self, ended: Ended<'_>, ahead: &mut dyn WriteAhead) -> Did<()> {
        self.call(ahead, |queues, call| queues.works.close_all(ended, &mut queues.gate, call))
    }
}
