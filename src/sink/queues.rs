//! `amqp(s)://` and `opencti+http(s)://`: messages for the queues of connectors, confirmed by the broker.
//!
//! An envelope is delivered when the broker has confirmed each of its messages and, where they belong to a work, that
//! work is still there: workers pass over messages whose work is gone. What a crash cuts off goes again as a whole, with
//! the same message ids.

pub mod gate;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::destination::WorkPer;
use super::platform::Told;
use super::rabbitmq::{Message, Outcome};
use super::works::{OpenWork, Subject, Work, Works};
use super::{Deliverable, Delivery, Ended, Examined, Examiner, Placing, Prepared, Refused, Sink, Unfit, registration};
use crate::envelope::Connector;
use crate::error::{Error, Result};
use crate::opencti::api::ctime;
use crate::opencti::message::{Addressee, spare_bundle_id};
use crate::report::{Finding, Weight};
use crate::text::{count, grouped, harmless};

use gate::Gate;

/// Messages of one group: what a crash repeats at most, beside what is on its way.
pub const GROUP_MESSAGES: usize = 2_000;
/// Bytes of one group: of its envelopes, or of messages that are drained.
pub const GROUP_BYTES: usize = 16 << 20;
/// Bytes of envelopes that are on their way; with more it is waited for all of them.
const HELD_BYTES_MAX: usize = 64 << 20;
/// How often a work is opened anew for one envelope, if they are cleared one after the other.
pub const CLEARED_MAX: u32 = 3;
/// How long works are closed once one of them could not be told; the rest is told in the next run.
const CLOSING_MAX: Duration = Duration::from_secs(10);

/// An envelope on its way.
struct Flying {
    deliverable: Deliverable,
    placing: Placing,
    /// Messages that are not confirmed yet.
    left: usize,
    /// Why the broker does not take it, if so.
    refused: Option<(String, String)>,
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
            flying: BTreeMap::new(),
            last: 0,
            mark,
        }
    }

    /// What work an envelope belongs to; drafts are for one envelope each.
    fn subject(&self, deliverable: &Deliverable) -> Option<Subject> {
        self.gate.platform()?;
        let alone = deliverable.connector.validate_before_import == Some(true);
        let envelope = match self.gate.reach.work_per {
            WorkPer::None => return None,
            WorkPer::Batch if !alone => None,
            _ => Some(deliverable.origin.sha256),
        };
        Some(Subject { batch: deliverable.origin.batch, connector: deliverable.connector.id.clone(), envelope })
    }

    /// The work of an envelope, opened if it is not open.
    fn open_work(&mut self, deliverable: &Deliverable) -> Result<Option<Work>> {
        let Some(subject) = self.subject(deliverable) else { return Ok(None) };
        // The draft of a work is known only to the run that made it; without it all would go in unseen.
        let wants_draft = deliverable.connector.validate_before_import == Some(true);
        if let (Some(work), Some(platform)) = (self.works.get(&subject), self.gate.platform()) {
            let can_go_on =
                if wants_draft { work.draft.is_some() } else { !work.from_before || platform.is_alive(&work.id)? };
            if can_go_on {
                if work.from_before {
                    work.flaw = Some("a run was cut off: more may be expected than comes".into());
                }
                work.from_before = false;
                return Ok(Some(work.clone()));
            }
            let work = work.clone();
            if wants_draft {
                self.end(&subject, &work, None)?;
            } else {
                self.drop_gone(&subject);
            }
        }
        let Some(platform) = self.gate.platform() else { return Ok(None) };
        let (origin, name) = (&deliverable.origin, &deliverable.connector.name);
        let called = match subject.envelope {
            Some(_) => format!("{name} run @ {}", ctime(origin.mtime.map_or(0, |m| m.seconds()))),
            None => format!("{name}, airpouch batch {} of stream {}", origin.sequence, origin.stream.prefix()),
        };
        let id = platform.add_work(&subject.connector, &called, subject.envelope.is_none())?;
        self.works.add(&subject, &id);
        if wants_draft {
            let draft = platform.add_draft(&id)?;
            if let Some(work) = self.works.get(&subject) {
                work.draft = Some(draft);
            }
        }
        Ok(self.works.get(&subject).cloned())
    }

    /// Tells the works how many messages come. One that is gone is opened anew.
    fn expect(&mut self, numbers: &[u64]) -> Result<()> {
        let mut sums: BTreeMap<Subject, (usize, u64)> = BTreeMap::new();
        for number in numbers {
            let Some(flying) = self.flying.get(number) else { continue };
            if let Some(subject) = self.subject(&flying.deliverable) {
                sums.entry(subject).or_insert((0, *number)).0 += flying.left;
            }
        }
        for (subject, (messages, number)) in sums {
            let mut is_told = false;
            for _ in 0..CLEARED_MAX {
                let Some(platform) = self.gate.platform() else { return Ok(()) };
                let Some(work) = self.works.get(&subject) else { return Err(cleared()) };
                match platform.expect(&work.id, messages)? {
                    Told::Gone => self.open_again(&subject, number)?,
                    told => {
                        if told == Told::Doubtful {
                            work.flaw = Some("a request was cut: its expectations may be counted twice".into());
                        }
                        work.messages += messages;
                        is_told = true;
                        break;
                    }
                }
            }
            if !is_told {
                return Err(cleared());
            }
        }
        Ok(())
    }

    fn open_again(&mut self, subject: &Subject, number: u64) -> Result<()> {
        self.drop_gone(subject);
        let Some(flying) = self.flying.remove(&number) else { return Ok(()) };
        let opened = self.open_work(&flying.deliverable);
        self.flying.insert(number, flying);
        opened.map(drop)
    }

    /// Sends the messages of an envelope.
    fn publish(&mut self, number: u64) -> Result<()> {
        let Some(mut flying) = self.flying.remove(&number) else { return Ok(()) };
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
        let done: Vec<u64> =
            self.flying.iter().filter(|(_, f)| f.left == 0 && f.refused.is_none()).map(|(n, _)| *n).collect();
        // A work is looked for after the last that it is told, for of one that is gone nothing is ever refused.
        for number in &done {
            if let Some(flying) = self.flying.remove(number) {
                let ended = self.end_own_work(&flying.deliverable);
                self.flying.insert(*number, flying);
                ended?;
            }
        }
        let gone = self.gone_works(&done)?;
        let mut again = Vec::new();
        for number in done {
            let Some(flying) = self.flying.remove(&number) else { continue };
            let subject = self.subject(&flying.deliverable);
            let now = subject.as_ref().and_then(|subject| self.works.get(subject).map(|work| work.id.clone()));
            // Its messages may bear a work that was found to be gone while they were on their way.
            if subject.is_some_and(|subject| gone.contains(&subject)) || flying.work != now {
                self.flying.insert(number, flying);
                again.push(number);
                continue;
            }
            self.forget_own_work(&flying.deliverable);
            if let Some(work) = self.subject(&flying.deliverable).and_then(|subject| self.works.get(&subject)) {
                work.landed += 1;
            }
            delivery.placed.push(flying.placing);
        }
        self.send_again(&again, &gone)
    }

    /// The works of these envelopes that are not there any more.
    fn gone_works(&mut self, numbers: &[u64]) -> Result<BTreeSet<Subject>> {
        let Some(platform) = self.gate.platform() else { return Ok(BTreeSet::new()) };
        let subjects: BTreeSet<Subject> = numbers
            .iter()
            .filter_map(|number| self.flying.get(number))
            .filter_map(|flying| self.subject(&flying.deliverable))
            .collect();
        let mut gone = BTreeSet::new();
        for subject in subjects {
            if let Some(work) = self.works.get(&subject)
                && !platform.is_alive(&work.id)?
            {
                gone.insert(subject);
            }
        }
        Ok(gone)
    }

    /// Somebody cleared the works: what was sent under them goes again, under new ones.
    fn send_again(&mut self, numbers: &[u64], gone: &BTreeSet<Subject>) -> Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        self.gate.observer.say("works were cleared on the platform while their messages were sent; those go again");
        gone.iter().for_each(|subject| self.drop_gone(subject));
        for number in numbers {
            let Some(mut flying) = self.flying.remove(number) else { continue };
            flying.cleared += 1;
            flying.left = messages_in(&flying.deliverable);
            let opened = if flying.cleared > CLEARED_MAX {
                Err(cleared())
            } else {
                self.open_work(&flying.deliverable).map(drop)
            };
            self.flying.insert(*number, flying);
            opened?;
        }
        self.expect(numbers)?;
        numbers.iter().try_for_each(|number| self.publish(*number))
    }

    fn note_flaw(&mut self, deliverable: &Deliverable, flaw: &str) {
        if let Some(work) = self.subject(deliverable).and_then(|subject| self.works.get(&subject)) {
            work.flaw.get_or_insert_with(|| flaw.to_owned());
        }
    }

    /// The work of an envelope that has one of its own.
    fn own_work(&self, deliverable: &Deliverable) -> Option<Subject> {
        self.subject(deliverable).filter(|subject| subject.envelope.is_some())
    }

    fn end_own_work(&mut self, deliverable: &Deliverable) -> Result<()> {
        let Some(subject) = self.own_work(deliverable) else { return Ok(()) };
        match self.works.get(&subject).cloned() {
            Some(work) => self.end(&subject, &work, None),
            None => Ok(()),
        }
    }

    fn forget_own_work(&mut self, deliverable: &Deliverable) {
        if let Some(subject) = self.own_work(deliverable) {
            self.works.remove(&subject);
        }
    }

    /// Tells a work that it is at its end.
    fn end(&self, subject: &Subject, work: &Work, failed: Option<&str>) -> Result<()> {
        let Some(platform) = self.gate.platform() else { return Ok(()) };
        let (message, in_error) = match (failed, &work.flaw) {
            (Some(why), _) => {
                (format!("airpouch stopped: {why}. What was not confirmed goes again, in another work"), true)
            }
            (None, Some(flaw)) => (format!("airpouch: {flaw}"), true),
            (None, None) if work.from_before => {
                ("airpouch was cut off; what was not confirmed went again, in another work".to_owned(), true)
            }
            (None, None) if subject.envelope.is_some() => ("Connector successfully run".to_owned(), false),
            (None, None) => (format!("airpouch sent {}", count(work.messages as u64, "message")), false),
        };
        platform.close(&work.id, &message, in_error).map(drop)
    }

    /// Whether a work of which messages may still wait was cleared before it was closed.
    fn warn_if_gone(&mut self, work: &Work) -> Result<()> {
        let Some(platform) = self.gate.platform() else { return Ok(()) };
        if !platform.is_alive(&work.id)? {
            self.report_gone(work);
        }
        Ok(())
    }

    /// A work was found to be gone: it is not ours any more, and what rests on it is said.
    fn drop_gone(&mut self, subject: &Subject) {
        if let Some(work) = self.works.get(subject).cloned() {
            self.report_gone(&work);
        }
        self.works.remove(subject);
    }

    /// What was recorded as delivered and rests on a work that is gone: workers pass over it.
    fn report_gone(&mut self, work: &Work) {
        if work.landed == 0 {
            return;
        }
        let envelopes = count(work.landed as u64, "envelope");
        let most = if work.from_before || work.flaw.is_some() { "at most " } else { "" };
        let what = format!(
            "a work was cleared on the platform after {most}{envelopes} were sent under it; workers pass over what still waits"
        );
        let finding = Finding::new(Weight::Incomplete, "work-gone", what).at(harmless(&work.id));
        self.gate.findings.push(finding.advise("deliver again what lies in the inbox: airpouch import --redeliver"));
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

    fn admits(&mut self, connector: &Connector) -> Result<Option<Unfit>> {
        self.gate.admits(&registration(connector))
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
        let connectors: BTreeSet<String> = self.group.iter().map(|(d, _)| d.connector.id.clone()).collect();
        connectors.iter().try_for_each(|connector| self.gate.wait_for_room(connector))?;
        let group = std::mem::take(&mut self.group);
        let opened = group.iter().try_for_each(|(deliverable, _)| {
            self.open_work(deliverable)?;
            self.works.opened().into_iter().try_for_each(&mut *note)
        });
        self.group = group;
        opened?;
        Ok(Prepared::Sending((self.group.len() + self.flying.len()) as u64))
    }

    fn settle(&mut self, all: bool, delivery: &mut Delivery) -> Result<()> {
        (self.group_messages, self.group_bytes) = (0, 0);
        let mut numbers = Vec::new();
        for (deliverable, placing) in std::mem::take(&mut self.group) {
            self.last += 1;
            let left = messages_in(&deliverable);
            let flying = Flying { deliverable, placing, left, refused: None, work: None, cleared: 0 };
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

    fn registered(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.gate.registered)
    }

    fn closed(&mut self) -> Vec<String> {
        self.works.closed()
    }

    fn close_works(&mut self, ended: Ended<'_>) -> Result<()> {
        let failed = if let Ended::Failed(why) = ended { Some(why) } else { None };
        if failed.is_some() {
            self.gate.hurry();
        }
        let is_batch = matches!(ended, Ended::Batch);
        let (began, mut trouble) = (Instant::now(), Ok(()));
        for (subject, work) in self.works.list() {
            if work.from_before && is_batch {
                continue;
            }
            // One that cannot be told holds no other; a platform that is gone holds all of them.
            let told = self.end(&subject, &work, failed).and_then(|()| {
                self.works.remove(&subject);
                self.warn_if_gone(&work)
            });
            let is_over = told.is_err() && (is_batch || began.elapsed() > CLOSING_MAX);
            trouble = trouble.and(told);
            if is_over {
                break;
            }
        }
        trouble
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
    Some(Refused { placing: flying.placing, origin, bytes, code: "message-refused", what, place })
}
