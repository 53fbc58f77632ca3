//! `amqp(s)://` and `opencti+http(s)://`: messages for the queues of connectors, confirmed by the broker.
//!
//! An envelope is delivered when the broker has confirmed each of its messages and, where they belong to a work, that
//! work is still there: workers pass over messages whose work is gone. What a crash cuts off goes again as a whole, with
//! the same message ids.

pub mod blocked;
pub mod gate;
mod room;
pub mod working;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::works::{GoneWork, OpenWork, Works};
use super::{Deferred, Deliverable, Delivery, Ended, NoteRegistered, Placing, Prepared, Refused, Sink, registration};
use crate::broker::{Message, Outcome};
use crate::code::Code;
use crate::envelope::Connector;
use crate::error::{Error, Result};
use crate::fit::{Examined, Examiner, Unfit};
use crate::opencti::message::{Addressee, spare_bundle_id};
use crate::report::Finding;
use crate::text::{count, grouped};

use blocked::Until;
use gate::Gate;

/// Messages of one group: what a crash repeats at most, beside what is on its way.
pub const GROUP_MESSAGES: usize = 2_000;
/// Bytes of one group: of its envelopes, or of messages that are drained.
pub const GROUP_BYTES: usize = 16 << 20;
/// Bytes of envelopes that are on their way; with more it is waited for all of them.
const HELD_BYTES_MAX: usize = 64 << 20;
/// How often a work is opened anew for one envelope, if they are cleared one after the other.
pub const CLEARED_MAX: u32 = 3;

/// An envelope on its way.
struct Flying {
    deliverable: Deliverable,
    placing: Placing,
    /// Messages that are not confirmed yet.
    left: usize,
    /// Why the broker does not take it, if so.
    refused: Option<(String, String)>,
    /// Whether its connector was blocked while it was on its way: it goes again as a whole, later.
    is_given_back: bool,
    /// The id of the work that its messages bear.
    work: Option<String>,
    /// How often its work was cleared.
    cleared: u32,
}

/// The queues of a broker.
pub struct Queues<'a> {
    gate: Gate<'a>,
    works: Works,
    group: Vec<(Deliverable, Placing)>,
    group_messages: usize,
    group_bytes: usize,
    /// What was staged for connectors that are blocked.
    deferred: Vec<Deferred>,
    /// How many connectors have something to go at most.
    connectors: usize,
    flying: BTreeMap<u64, Box<Flying>>,
    /// The number of the last envelope that was sent.
    last: u64,
    mark: i64,
}

impl<'a> Queues<'a> {
    /// Through this gate. `works` are those that a run before this one left open.
    pub fn new(gate: Gate<'a>, mark: i64, works: Vec<OpenWork>) -> Self {
        Self {
            gate,
            works: Works::left_open(works),
            group: Vec::new(),
            group_messages: 0,
            group_bytes: 0,
            deferred: Vec::new(),
            connectors: usize::MAX,
            flying: BTreeMap::new(),
            last: 0,
            mark,
        }
    }

    /// Sends the messages of an envelope.
    fn publish(&mut self, number: u64) -> Result<()> {
        let Some(mut flying) = self.flying.remove(&number) else { return Ok(()) };
        // Nothing goes past what was given back before.
        if self.gate.blocked.obstacle(&flying.deliverable.connector.id).is_some() {
            flying.is_given_back = true;
            self.flying.insert(number, flying);
            return Ok(());
        }
        let subject = self.subject(&flying.deliverable);
        flying.work = subject.and_then(|subject| self.works.get(&subject).map(|work| work.id.clone()));
        let sent = self.publish_one(number, &flying);
        self.flying.insert(number, flying);
        sent
    }

    fn publish_one(&mut self, number: u64, flying: &Flying) -> Result<()> {
        let Deliverable { origin, bytes, examined, connector, applicant, .. } = &flying.deliverable;
        let Examined::Messages(messages) = examined else {
            return Err(Error::failed("an envelope came to the queues that was not taken apart"));
        };
        let subject = self.subject(&flying.deliverable);
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

    /// Sends these, and hears what becomes of all that is on its way.
    fn send(&mut self, numbers: &[u64], all: bool, delivery: &mut Delivery) -> Result<()> {
        self.expect(numbers)?;
        for number in numbers {
            let sent = self.publish(*number);
            self.hear(false)?;
            sent?;
        }
        self.land(delivery)?;
        while all && !self.flying.is_empty() {
            self.hear(true)?;
            self.land(delivery)?;
        }
        Ok(())
    }

    /// Hears what became of messages.
    fn hear(&mut self, wait: bool) -> Result<()> {
        for outcome in self.gate.hear(wait)? {
            match outcome {
                Outcome::Confirmed { part_of } => {
                    if let Some(flying) = self.flying.get_mut(&part_of) {
                        flying.left = flying.left.saturating_sub(1);
                    }
                }
                Outcome::Refused { part_of, id, words } => {
                    if let Some(flying) = self.flying.get_mut(&part_of) {
                        flying.refused = Some((id, words));
                    }
                }
                Outcome::NotTaken { part_of, why } => {
                    if let Some(flying) = self.flying.get_mut(&part_of) {
                        flying.is_given_back = true;
                        self.gate.not_taken(&flying.deliverable.connector.id, &why);
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands over what is known of envelopes by now.
    fn land(&mut self, delivery: &mut Delivery) -> Result<()> {
        let refused: Vec<u64> = self.flying.iter().filter(|(_, f)| f.refused.is_some()).map(|(n, _)| *n).collect();
        for number in refused {
            let Some(flying) = self.flying.remove(&number) else { continue };
            self.note_flaw(&flying.deliverable, "the broker refused a message of it");
            let ended = self.end_own_work(&flying.deliverable);
            if ended.is_ok() {
                self.forget_own_work(&flying.deliverable);
            }
            delivery.refused.extend(refusal(*flying));
            ended?;
        }
        let is_done = |f: &Flying| f.left == 0 && f.refused.is_none() && !f.is_given_back;
        let done: Vec<u64> = self.flying.iter().filter(|(_, f)| is_done(f)).map(|(n, _)| *n).collect();
        // A work is looked for after the last that it is told, for of one that is gone nothing is ever refused.
        for number in &done {
            if let Some(flying) = self.flying.remove(number) {
                let ended = self.end_own_work(&flying.deliverable);
                self.flying.insert(*number, flying);
                ended?;
            }
        }
        let gone = self.gone_works(&done)?;
        self.give_back(delivery)?;
        let mut again = Vec::new();
        for number in done {
            let Some(flying) = self.flying.remove(&number) else { continue };
            if let Some(subject) = self.subject(&flying.deliverable) {
                if gone.contains(&subject) || !self.works.rests(&subject, flying.work.as_deref()) {
                    self.flying.insert(number, flying);
                    again.push(number);
                    continue;
                }
                if let Some(work) = self.works.get(&subject) {
                    work.landed += 1;
                }
            }
            self.forget_own_work(&flying.deliverable);
            self.gate.blocked.moved(&flying.deliverable.connector.id);
            delivery.placed.push(flying.placing);
        }
        self.send_again(&again, &gone)
    }

    /// Gives back what was on its way to connectors that are blocked now: it goes again as a whole, in a later run.
    fn give_back(&mut self, delivery: &mut Delivery) -> Result<()> {
        let back: Vec<u64> = self.flying.iter().filter(|(_, f)| f.is_given_back).map(|(n, _)| *n).collect();
        for number in back {
            let Some(flying) = self.flying.remove(&number) else { continue };
            self.note_flaw(&flying.deliverable, "what its queue did not take goes again, in another work");
            let ended = self.end_own_work(&flying.deliverable);
            self.forget_own_work(&flying.deliverable);
            delivery.deferred.extend(self.deferred(&flying.deliverable.connector.id, flying.placing));
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

    /// Takes what cannot go at the moment out of the group.
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
    /// Nobody can tell how far the messages of a broken run came: all of it goes again, with the same ids.
    fn recover(&mut self, _placing: Vec<Placing>) -> Result<Delivery> {
        Ok(Delivery::default())
    }

    fn examiner(&self) -> Examiner {
        let knows_drafts = self.gate.platform().is_some_and(|platform| platform.version().knows_drafts());
        let drafts = knows_drafts && self.gate.has_works();
        Examiner::Splitting { drafts, max_message: self.gate.reach.max_message }
    }

    fn admits(&mut self, connector: &Connector, note: NoteRegistered<'_>) -> Result<Option<Unfit>> {
        self.gate.admits(&registration(connector), note)
    }

    fn stage(&mut self, deliverable: Deliverable) -> Result<()> {
        self.mark += 1;
        let placing =
            Placing::of(&deliverable.origin, deliverable.name.clone(), self.mark, deliverable.applicant.clone());
        self.group_messages += messages_in(&deliverable);
        self.group_bytes += deliverable.bytes.len();
        self.group.push((deliverable, placing));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.group_messages >= GROUP_MESSAGES || self.group_bytes >= GROUP_BYTES
    }

    fn prepare(&mut self, note: &mut dyn FnMut(OpenWork) -> Result<()>) -> Result<Prepared> {
        if self.group.is_empty() {
            return Ok(Prepared::Placing(Vec::new()));
        }
        self.defer_blocked();
        let connectors: BTreeSet<String> = self.group.iter().map(|(d, _)| d.connector.id.clone()).collect();
        let is_alone = self.connectors <= 1;
        connectors.iter().try_for_each(|connector| self.gate.look_for_room(connector, is_alone))?;
        self.defer_blocked();
        let group = std::mem::take(&mut self.group);
        let opened = group.iter().try_for_each(|(deliverable, _)| {
            self.open_work(deliverable)?;
            self.works.opened().into_iter().try_for_each(&mut *note)
        });
        self.group = group;
        opened?;
        self.defer_blocked();
        Ok(Prepared::Sending((self.group.len() + self.flying.len()) as u64))
    }

    fn settle(&mut self, all: bool, delivery: &mut Delivery) -> Result<()> {
        (self.group_messages, self.group_bytes) = (0, 0);
        delivery.deferred.append(&mut self.deferred);
        let mut numbers = Vec::new();
        for (deliverable, placing) in std::mem::take(&mut self.group) {
            self.last += 1;
            let left = messages_in(&deliverable);
            let flying =
                Flying { deliverable, placing, left, refused: None, is_given_back: false, work: None, cleared: 0 };
            self.flying.insert(self.last, Box::new(flying));
            numbers.push(self.last);
        }
        // What is on its way is held whole until it has landed.
        let held: usize = self.flying.values().map(|flying| flying.deliverable.bytes.len()).sum();
        let sent = self.send(&numbers, all || held > HELD_BYTES_MAX, delivery);
        if sent.is_err() && self.gate.is_over() {
            let landed = self.landed(delivery);
            return sent.and(landed);
        }
        delivery.on_their_way = Some(self.flying.len() as u64);
        sent
    }

    fn landed(&mut self, delivery: &mut Delivery) -> Result<()> {
        // It cannot get better any more.
        self.gate.hurry();
        // What was confirmed before the broker failed is heard behind the word that it has.
        while self.hear(false).is_err() {}
        let landed = self.land(delivery);
        delivery.on_their_way = Some(self.flying.len() as u64);
        landed
    }

    fn opened(&mut self) -> Vec<OpenWork> {
        self.works.opened()
    }

    fn closed(&mut self) -> Vec<String> {
        self.works.closed()
    }

    fn exist(&mut self) -> Vec<String> {
        std::mem::take(&mut self.gate.exist)
    }

    fn expects(&mut self, connectors: usize) {
        self.connectors = connectors;
    }

    fn wait_for_deferred(&mut self) -> Result<bool> {
        if self.gate.blocked.count() == 0 {
            return Ok(false);
        }
        // Of those that are left, one that is alone is waited for where it is.
        self.connectors = self.gate.blocked.list().iter().filter(|(_, until)| *until != Until::Changed).count();
        self.gate.wait_for_blocked()
    }

    fn close_works(&mut self, ended: Ended<'_>) -> Result<()> {
        self.close_all(ended)
    }

    fn gone(&mut self) -> Vec<GoneWork> {
        self.works.gone()
    }

    fn findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.gate.findings)
    }

    fn high_water(&self) -> i64 {
        self.mark
    }

    fn mark(&self) -> &str {
        ""
    }
}

/// Nobody can keep up with whoever clears works.
pub(crate) fn cleared() -> Error {
    Error::failed("works are cleared on the platform as fast as they are opened")
        .advise("leave them alone meanwhile, or say --works none; then run this again")
}

/// The id of a message: the same at each import, and another one for each part of each envelope.
fn message_id(envelope: crate::digest::Digest, at: usize) -> String {
    format!("airpouch-{envelope}-{}", at + 1)
}

fn messages_in(deliverable: &Deliverable) -> usize {
    match &deliverable.examined {
        Examined::Messages(messages) => messages.count(),
        Examined::Whole => 0,
    }
}

/// An envelope with a message that the broker does not take.
fn refusal(flying: Flying) -> Option<Refused> {
    let (id, words) = flying.refused?;
    let Deliverable { origin, bytes, examined, .. } = flying.deliverable;
    let Examined::Messages(messages) = examined else { return None };
    let at = id.rsplit('-').next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(1).saturating_sub(1);
    let (object, name) = messages.object(std::str::from_utf8(&bytes).unwrap_or_default(), at.min(messages.count() - 1));
    let taken = messages.count() - flying.left;
    let what = format!(
        "the broker does not take the message for {name}: {words}; {} of its {} were taken before",
        grouped(taken as u64),
        count(messages.count() as u64, "message")
    );
    let place = format!("/bundle/objects/{object}");
    Some(Refused { placing: flying.placing, origin, bytes, code: Code::MessageRefused, what, place })
}
