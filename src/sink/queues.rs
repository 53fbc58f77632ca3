//! `amqp(s)://` and `opencti+http(s)://`: messages for the queues of connectors, confirmed by the broker.
//!
//! An envelope is delivered when the broker has confirmed each of its messages and, where they belong to a work, that
//! work is still there: workers pass over messages whose work is gone. What a crash cuts off goes again as a whole, with
//! the same message ids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::destination::{Reach, WorkPer};
use super::platform::{Platform, Told, choose_crypto};
use super::rabbitmq::{Broker, LANES, Login, Message, Outcome};
use super::works::{OpenWork, Subject, Work, Works};
use super::{Deliverable, Delivery, Examined, Examiner, Placing, Refused, Sink, Unfit, registration, tell};
use crate::envelope::Connector;
use crate::error::{Error, Result};
use crate::opencti::api::ctime;
use crate::opencti::broker::{BrokerAddress, Route, Topology};
use crate::opencti::message::{Addressee, spare_bundle_id};
use crate::opencti::registration::Registration;
use crate::report::{Finding, Observer, Weight};
use crate::text::{count, duration, grouped, harmless};

/// Messages of one group, and bytes of its envelopes: what a crash repeats at most, beside what is on its way.
const GROUP_MESSAGES: usize = 2_000;
const GROUP_BYTES: usize = 16 << 20;
/// How often a full queue is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often a work is opened anew for one envelope, if they are cleared one after the other.
const CLEARED_MAX: u32 = 3;

/// Who sets up queues.
enum Door<'a> {
    /// We do.
    Alone,
    /// The platform, when connectors are registered.
    Platform(Box<Platform<'a>>),
}

/// What is known of a connector in this run.
enum Known {
    Route(Arc<Route>),
    Unfit(Unfit),
}

/// An envelope on its way.
struct Flying {
    deliverable: Deliverable,
    placing: Placing,
    /// Messages that are not confirmed yet.
    left: usize,
    /// Why the broker does not take it, if so.
    refused: Option<(String, String)>,
    /// How often its work was cleared.
    cleared: u32,
}

/// The queues of a broker.
pub struct Queues<'a> {
    door: Door<'a>,
    reach: Reach,
    observer: &'a dyn Observer,
    broker: Option<Broker>,
    connectors: BTreeMap<String, Known>,
    /// Connectors that airpouch has registered there before this run.
    ours: BTreeSet<String>,
    /// Connectors that were registered in this run, with their names.
    registered: Vec<(String, String)>,
    works: Works,
    group: Vec<(Deliverable, Placing)>,
    group_messages: usize,
    group_bytes: usize,
    flying: BTreeMap<u64, Flying>,
    /// The number of the last envelope that was sent.
    last: u64,
    mark: i64,
    findings: Vec<Finding>,
}

impl<'a> Queues<'a> {
    /// Connects to a broker alone.
    ///
    /// # Errors
    /// It is not there, or does not let us in.
    pub fn broker(address: &BrokerAddress, reach: Reach, mark: i64, observer: &'a dyn Observer) -> Result<Self> {
        let address = reach.overrides.over(address);
        let login = login(&reach, &address, None)?;
        let broker = Broker::connect(login, reach.patience)?;
        Ok(Self { broker: Some(broker), ..Self::new(Door::Alone, reach, mark, observer) })
    }

    /// Goes through a platform. `works` are those that a run before this one left open, `ours` the connectors that it
    /// registered there.
    pub fn platform(
        platform: Platform<'a>,
        reach: Reach,
        mark: i64,
        works: Vec<OpenWork>,
        ours: BTreeSet<String>,
        observer: &'a dyn Observer,
    ) -> Self {
        let left_out = platform.version().left_out();
        let version = platform.version();
        let queues = Self::new(Door::Platform(Box::new(platform)), reach, mark, observer);
        let mut queues = Self { works: Works::left_open(works), ours, ..queues };
        if !left_out.is_empty() {
            let what = format!("the platform is {version}; left out: {}", left_out.join("; "));
            queues.findings.push(Finding::new(Weight::Note, "older-platform", what));
        }
        queues
    }

    fn new(door: Door<'a>, reach: Reach, mark: i64, observer: &'a dyn Observer) -> Self {
        Self {
            door,
            reach,
            observer,
            broker: None,
            connectors: BTreeMap::new(),
            ours: BTreeSet::new(),
            registered: Vec::new(),
            works: Works::default(),
            group: Vec::new(),
            group_messages: 0,
            group_bytes: 0,
            flying: BTreeMap::new(),
            last: 0,
            mark,
            findings: Vec::new(),
        }
    }

    /// Looks up or makes the queues of a connector, and says where its messages go.
    fn meet(&mut self, connector: &Connector) -> Result<Known> {
        let wanted = registration(connector);
        match &self.door {
            Door::Alone => {
                let topology = Topology::of(wanted, &self.reach.queue_prefix);
                let queue_type = self.reach.queue_type;
                self.link()?.declare(&topology, queue_type)?;
                Ok(Known::Route(Arc::new(topology.route())))
            }
            Door::Platform(platform) => {
                if let Some(unfit) = Self::collision(platform, &self.ours, &self.reach, &wanted, &mut self.findings)? {
                    return Ok(Known::Unfit(unfit));
                }
                let registered = match platform.register(&wanted)? {
                    Ok(registered) => registered,
                    Err(words) => {
                        let what = format!("the platform does not register {}: {words}", harmless(&wanted.name));
                        let place = "/connector".to_owned();
                        return Ok(Known::Unfit(Unfit::Hold { code: "not-registered", what, place }));
                    }
                };
                self.registered.push((wanted.id.clone(), wanted.name.clone()));
                if self.broker.is_none() {
                    let address = self.reach.overrides.over(&registered.broker);
                    let login = login(&self.reach, &address, Some(&registered.password))?;
                    self.broker = Some(Broker::connect(login, self.reach.patience)?);
                }
                Ok(Known::Route(Arc::new(registered.route)))
            }
        }
    }

    /// Registering a connector overwrites one with the same id: its name, scope, and user.
    fn collision(
        platform: &Platform<'_>,
        ours: &BTreeSet<String>,
        reach: &Reach,
        wanted: &Registration,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Unfit>> {
        if reach.take_over || ours.contains(&wanted.id) {
            return Ok(None);
        }
        let Some(there) = platform.known(&wanted.id)? else { return Ok(None) };
        if there.name != wanted.name {
            let what = format!(
                "the platform has a connector of this id under another name: {} (here {})",
                harmless(&there.name),
                harmless(&wanted.name)
            );
            return Ok(Some(Unfit::Hold { code: "connector-exists", what, place: "/connector/id".into() }));
        }
        if there.active {
            let what = format!("{} runs on this side too, and was registered anew for what crossed", harmless(&there.name));
            let advice = "stop that connector, or give the one that crosses another id: [connectors] in airpouch.toml";
            findings.push(Finding::new(Weight::Warning, "connector-active", what).at(wanted.id.clone()).advise(advice));
        }
        Ok(None)
    }

    fn link(&mut self) -> Result<&mut Broker> {
        self.broker.as_mut().ok_or_else(|| Error::failed("there is no connection to the broker"))
    }

    fn route(&self, connector: &str) -> Result<Arc<Route>> {
        match self.connectors.get(connector) {
            Some(Known::Route(route)) => Ok(Arc::clone(route)),
            _ => Err(Error::failed("an envelope came to the queues whose connector was not looked up")),
        }
    }

    /// What work an envelope belongs to; drafts are for one envelope each.
    fn subject(&self, deliverable: &Deliverable) -> Option<Subject> {
        let Door::Platform(_) = &self.door else { return None };
        let alone = deliverable.connector.validate_before_import == Some(true);
        let envelope = match self.reach.work_per {
            WorkPer::None => return None,
            WorkPer::Batch if !alone => None,
            _ => Some(deliverable.origin.sha256),
        };
        Some(Subject { batch: deliverable.origin.batch, connector: deliverable.connector.id.clone(), envelope })
    }

    /// The work of an envelope, opened if it is not open.
    fn open_work(&mut self, deliverable: &Deliverable) -> Result<Option<Work>> {
        let Some(subject) = self.subject(deliverable) else { return Ok(None) };
        let Door::Platform(platform) = &self.door else { return Ok(None) };
        if let Some(work) = self.works.get(&subject) {
            if !work.from_before || platform.is_alive(&work.id)? {
                work.from_before = false;
                return Ok(Some(work.clone()));
            }
        }
        let (origin, name) = (&deliverable.origin, &deliverable.connector.name);
        let called = match subject.envelope {
            Some(_) => format!("{name} run @ {}", ctime(origin.mtime.map_or(0, |m| m.seconds()))),
            None => format!("{name}, airpouch batch {} of stream {}", origin.sequence, origin.stream.prefix()),
        };
        let id = platform.add_work(&subject.connector, &called, subject.envelope.is_none())?;
        self.works.add(&subject, &id);
        if deliverable.connector.validate_before_import == Some(true) {
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
            for _ in 0..CLEARED_MAX {
                let Door::Platform(platform) = &self.door else { return Ok(()) };
                let Some(work) = self.works.get(&subject) else { break };
                match platform.expect(&work.id, messages)? {
                    Told::Gone => self.open_again(&subject, number)?,
                    told => {
                        if told == Told::Doubtful {
                            work.flaw = Some("a request was cut: its expectations may be counted twice".into());
                        }
                        work.messages += messages;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn open_again(&mut self, subject: &Subject, number: u64) -> Result<()> {
        self.works.remove(subject);
        if let Some(flying) = self.flying.remove(&number) {
            self.open_work(&flying.deliverable)?;
            self.flying.insert(number, flying);
        }
        Ok(())
    }

    /// Waits while a queue is too long: workers are slower than we are.
    fn wait_for_room(&mut self) -> Result<()> {
        if self.reach.queue_limit == 0 {
            return Ok(());
        }
        let connectors: BTreeSet<String> = self.group.iter().map(|(d, _)| d.connector.id.clone()).collect();
        for connector in connectors {
            let queue = self.route(&connector)?.queue.clone();
            self.wait_for_queue(&queue)?;
        }
        Ok(())
    }

    fn wait_for_queue(&mut self, queue: &str) -> Result<()> {
        let (limit, patience, observer) = (self.reach.queue_limit, self.reach.patience, self.observer);
        let (mut since, mut least, mut said) = (Instant::now(), u32::MAX, false);
        loop {
            let broker = self.link()?;
            let waiting = broker.waiting(queue)?;
            let what = match waiting {
                Some(waiting) if waiting <= limit => return Ok(()),
                Some(waiting) => format!("{} wait in {queue}, more than {}", count(u64::from(waiting), "message"), grouped(u64::from(limit))),
                None => format!("the queue {queue} is gone: it was deleted"),
            };
            // Workers that come forward are waited for as long as they do.
            if waiting.is_some_and(|waiting| waiting < least) {
                (since, least) = (Instant::now(), waiting.unwrap_or(u32::MAX));
            }
            if !said {
                observer.say(&format!("{what}; waiting, for {} at most without any progress", duration(patience.as_secs())));
                said = true;
            }
            if since.elapsed() > patience {
                let advice = match waiting {
                    Some(_) => "are workers running? nothing is lost: import again later, without a medium; --queue-limit N sets the limit",
                    None => "import again, without a medium: the connector is registered anew then",
                };
                return Err(Error::failed(format!("{what}; gave up after {}", duration(patience.as_secs()))).advise(advice));
            }
            std::thread::sleep(LOOK_AGAIN.min(patience));
            tell(observer, broker.words());
        }
    }

    /// Sends the messages of an envelope.
    fn publish(&mut self, number: u64) -> Result<()> {
        let Some(flying) = self.flying.remove(&number) else { return Ok(()) };
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
        let (route, spare_id) = (self.route(&connector.id)?, spare_bundle_id(origin.sha256));
        let to = Addressee {
            applicant: applicant.as_deref(),
            work: work.as_ref().map(|w| w.id.as_str()),
            draft: work.as_ref().and_then(|w| w.draft.as_deref()),
        };
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let lane = lane_of(&connector.id);
        for at in 0..messages.count() {
            let mut body = String::new();
            messages.write(&mut body, text, at, &to, &spare_id);
            let id = message_id(origin.sha256, at);
            let message = Message { lane, route: Arc::clone(&route), id, body: body.into_bytes(), part_of: number };
            self.link()?.publish(message)?;
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
        let observer = self.observer;
        let Some(broker) = &mut self.broker else { return Ok(()) };
        let heard = broker.outcomes(wait);
        tell(observer, broker.words());
        for outcome in heard? {
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
            self.close_own_work(&flying.deliverable)?;
            delivery.refused.extend(refusal(flying));
        }
        let done: Vec<u64> =
            self.flying.iter().filter(|(_, f)| f.left == 0 && f.refused.is_none()).map(|(n, _)| *n).collect();
        let gone = self.gone_works(&done)?;
        let mut again = Vec::new();
        for number in done {
            let Some(flying) = self.flying.get(&number) else { continue };
            if self.subject(&flying.deliverable).is_some_and(|subject| gone.contains(&subject)) {
                again.push(number);
                continue;
            }
            let Some(flying) = self.flying.remove(&number) else { continue };
            self.close_own_work(&flying.deliverable)?;
            delivery.placed.push(flying.placing);
        }
        self.send_again(&again, &gone)
    }

    /// The works of these envelopes that are not there any more.
    fn gone_works(&mut self, numbers: &[u64]) -> Result<BTreeSet<Subject>> {
        let Door::Platform(platform) = &self.door else { return Ok(BTreeSet::new()) };
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
        self.observer.say("works were cleared on the platform while their messages were sent; those go again");
        gone.iter().for_each(|subject| self.works.remove(subject));
        for number in numbers {
            let Some(mut flying) = self.flying.remove(number) else { continue };
            flying.cleared += 1;
            if flying.cleared > CLEARED_MAX {
                return Err(Error::failed("works are cleared on the platform as fast as they are opened")
                    .advise("leave them alone while airpouch imports, or say --works none; then import again"));
            }
            self.open_work(&flying.deliverable)?;
            flying.left = messages_in(&flying.deliverable);
            self.flying.insert(*number, flying);
        }
        self.expect(numbers)?;
        numbers.iter().try_for_each(|number| self.publish(*number))
    }

    fn note_flaw(&mut self, deliverable: &Deliverable, flaw: &str) {
        if let Some(work) = self.subject(deliverable).and_then(|subject| self.works.get(&subject)) {
            work.flaw.get_or_insert_with(|| flaw.to_owned());
        }
    }

    /// Closes the work of an envelope that has one of its own.
    fn close_own_work(&mut self, deliverable: &Deliverable) -> Result<()> {
        let subject = self.subject(deliverable).filter(|s| s.envelope.is_some());
        if let Some(subject) = subject
            && let Some(work) = self.works.get(&subject).cloned()
        {
            self.close_one(&subject, &work, None)?;
        }
        Ok(())
    }

    fn close_one(&mut self, subject: &Subject, work: &Work, failed: Option<&str>) -> Result<()> {
        let Door::Platform(platform) = &self.door else { return Ok(()) };
        let (message, in_error) = match (failed, &work.flaw) {
            (Some(why), _) => (format!("airpouch stopped: {why}. What was not confirmed goes again, in another work"), true),
            (None, Some(flaw)) => (format!("airpouch: {flaw}"), true),
            (None, None) if work.from_before => {
                ("airpouch was cut off; what was not confirmed went again, in another work".to_owned(), true)
            }
            (None, None) if subject.envelope.is_some() => ("Connector successfully run".to_owned(), false),
            (None, None) => (format!("airpouch sent {}", count(work.messages as u64, "message")), false),
        };
        platform.close(&work.id, &message, in_error)?;
        self.works.remove(subject);
        Ok(())
    }

    /// Whether a work of which messages may still wait was cleared before it was closed: those are lost to workers.
    fn warn_if_gone(&mut self, work: &Work) -> Result<()> {
        let Door::Platform(platform) = &self.door else { return Ok(()) };
        if work.from_before || platform.is_alive(&work.id)? {
            return Ok(());
        }
        let what = "a work was cleared on the platform after its messages were sent; workers pass over those that still wait";
        let finding = Finding::new(Weight::Incomplete, "work-gone", what).at(harmless(&work.id));
        self.findings.push(finding.advise("deliver again what lies in the inbox: airpouch import --redeliver"));
        Ok(())
    }
}

impl Sink for Queues<'_> {
    /// Nobody can tell how far the messages of a broken run came: all of it goes again, with the same ids.
    fn recover(&mut self, _placing: Vec<Placing>) -> Result<Delivery> {
        Ok(Delivery::default())
    }

    fn examiner(&self) -> Examiner {
        let drafts = match &self.door {
            Door::Alone => false,
            Door::Platform(platform) => platform.version().knows_drafts() && self.reach.work_per != WorkPer::None,
        };
        Examiner::Splitting { drafts, max_message: self.reach.max_message }
    }

    fn admits(&mut self, connector: &Connector) -> Result<Option<Unfit>> {
        if !self.connectors.contains_key(&connector.id) {
            let known = self.meet(connector)?;
            self.connectors.insert(connector.id.clone(), known);
        }
        match self.connectors.get(&connector.id) {
            Some(Known::Unfit(unfit)) => Ok(Some(unfit.clone())),
            _ => Ok(None),
        }
    }

    fn stage(&mut self, deliverable: Deliverable) -> Result<()> {
        self.mark += 1;
        let placing = Placing::of(&deliverable.origin, deliverable.name.clone(), self.mark, deliverable.applicant.clone());
        self.group_messages += messages_in(&deliverable);
        self.group_bytes += deliverable.bytes.len();
        self.group.push((deliverable, placing));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.group_messages >= GROUP_MESSAGES || self.group_bytes >= GROUP_BYTES
    }

    fn prepare(&mut self) -> Result<Vec<Placing>> {
        self.wait_for_room()?;
        let group = std::mem::take(&mut self.group);
        let opened = group.iter().try_for_each(|(deliverable, _)| self.open_work(deliverable).map(drop));
        self.group = group;
        opened?;
        Ok(self.group.iter().map(|(_, placing)| placing.clone()).collect())
    }

    fn settle(&mut self, all: bool, delivery: &mut Delivery) -> Result<()> {
        (self.group_messages, self.group_bytes) = (0, 0);
        let mut numbers = Vec::new();
        for (deliverable, placing) in std::mem::take(&mut self.group) {
            self.last += 1;
            let left = messages_in(&deliverable);
            self.flying.insert(self.last, Flying { deliverable, placing, left, refused: None, cleared: 0 });
            numbers.push(self.last);
        }
        let sent = self.send(&numbers, all, delivery);
        if sent.is_err() && self.broker.as_ref().is_none_or(Broker::is_over) {
            // What was confirmed before the broker failed is not to go again.
            return self.land(delivery).and(sent);
        }
        sent
    }

    fn opened(&mut self) -> Vec<OpenWork> {
        self.works.opened()
    }

    fn registered(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.registered)
    }

    fn close_works(&mut self, failed: Option<&str>) -> Result<Vec<String>> {
        if let (Some(_), Door::Platform(platform)) = (failed, &mut self.door) {
            platform.hurry();
        }
        let mut trouble = None;
        while let Some((subject, work)) = self.works.first() {
            let closed = self.warn_if_gone(&work).and_then(|()| self.close_one(&subject, &work, failed));
            if let Err(error) = closed {
                trouble = Some(error);
                break;
            }
        }
        match trouble {
            // What was closed before is told the next time; the rest stays open, and in the ledger.
            Some(error) => Err(error),
            None => Ok(self.works.closed()),
        }
    }

    fn findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    fn high_water(&self) -> i64 {
        self.mark
    }

    fn mark(&self) -> &str {
        ""
    }
}

/// Who logs in at a broker: what the site says goes over what the platform told, and that over RabbitMQ's own guest.
pub(super) fn login(reach: &Reach, address: &BrokerAddress, told: Option<&str>) -> Result<Login> {
    reach.permits(address)?;
    choose_crypto();
    let user = address.user.clone().unwrap_or_else(|| "guest".to_owned());
    let password = match (&reach.amqp_password, told) {
        (Some(password), _) => password.clone(),
        (None, Some(told)) => Zeroizing::new(told.to_owned()),
        (None, None) if user == "guest" => Zeroizing::new("guest".to_owned()),
        (None, None) => {
            return Err(Error::usage(format!("no password for the broker's user {} is given", harmless(&user)))
                .at_place(&address.to_string())
                .advise("--amqp-password-file FILE"));
        }
    };
    Ok(Login { address: address.clone(), user, password, ca: reach.ca.clone() })
}

/// The lane in which a connector's messages stay in order.
pub(super) fn lane_of(connector: &str) -> usize {
    let sum = connector.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    (sum % LANES as u64) as usize
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
