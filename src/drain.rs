//! drain: the messages of a spool to the queues, in their order, and out of the spool once the broker has them.
//!
//! A group of messages is sent, confirmed, its works are looked for once more, and only then its files go. A crash
//! anywhere repeats that group at most, with the same message ids. Works are opened only now: a message that waits in
//! a spool must not rest on one that may be cleared meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::opencti::message::with_work;
use crate::report::{DrainReport, Drained, Finding, Observer, Weight};
use crate::sink::platform::{Platform, Told};
use crate::sink::queues::gate::Gate;
use crate::sink::queues::{CLEARED_MAX, GROUP_BYTES, GROUP_MESSAGES, cleared};
use crate::sink::rabbitmq::{Message, Outcome};
use crate::sink::spooled::{Listing, Memory, Spooled};
use crate::sink::{Destination, Reach, Unfit};
use crate::text::{count, harmless};

/// Moves a spool on. The report holds what was done, also if the run stops.
///
/// # Errors
/// The spool or the destination is not there; the system refused.
pub fn drain(
    path: &std::path::Path,
    to: &Destination,
    reach: &Reach,
    observer: &dyn Observer,
    report: &mut DrainReport,
) -> Result<()> {
    if to.path().is_some() {
        return Err(Error::usage(format!("a spool is not drained to {to}"))
            .advise("name a broker or a platform: --to amqps://HOST or opencti+https://HOST"));
    }
    let spool = Spooled::open(path)?;
    let memory = memory_of(&spool, to, report)?;
    let mut listing = spool.list()?;
    for (id, error) in std::mem::take(&mut listing.passed_over) {
        let finding = Finding::new(Weight::Incomplete, "spool-directory", error.what).at(error.place.unwrap_or(id));
        report.findings.push(finding.advise(error.advice.unwrap_or_default()));
    }
    if memory.sending > 0 {
        let messages = count(memory.sending as u64, "message");
        let what = format!("the last drain was cut off; {messages} may come a second time");
        report.findings.push(Finding::new(Weight::Warning, "delivered-again", what));
    }
    if listing.messages.is_empty() && memory.works.is_empty() {
        return said(&spool, memory, 0);
    }
    let ours: BTreeSet<String> = memory.registered.iter().cloned().collect();
    let gate = match to {
        Destination::Broker(address) => Gate::to_broker(address, reach.clone(), observer)?,
        Destination::Platform(address) => {
            Gate::through(Platform::open(address, reach, observer)?, reach.clone(), ours, observer)
        }
        Destination::Directory(_) | Destination::Spool(_) => return Ok(()),
    };
    let known = memory.works.clone();
    // How many messages rest on what a broken drain has left is not known: one, if it had begun to send.
    let resting = known.keys().map(|connector| (connector.clone(), memory.sending.min(1))).collect();
    let mut draining = Draining {
        spool,
        gate,
        unsaid: memory.sending,
        memory,
        left_open: known,
        sent: BTreeMap::new(),
        resting,
        doubtful: BTreeSet::new(),
        report,
    };
    let drained = draining.all(listing);
    draining.report.findings.append(&mut draining.gate.findings);
    let failed = drained.as_ref().err().map(|error| error.what.clone());
    let closed = draining.close_works(failed.as_deref());
    // This run says what was not said before; what it was sending itself is said in the next one.
    let sending = if drained.is_ok() { 0 } else { draining.memory.sending - draining.unsaid };
    drained.and(closed).and(said(&draining.spool, draining.memory, sending))
}

/// What was being sent when a drain was cut off is said: so much is left to say.
fn said(spool: &Spooled, mut memory: Memory, sending: usize) -> Result<()> {
    if memory.sending == sending {
        return Ok(());
    }
    memory.sending = sending;
    spool.remember(&memory)
}

/// What the last drain left to remember, as far as it went to the same destination.
fn memory_of(spool: &Spooled, to: &Destination, report: &mut DrainReport) -> Result<Memory> {
    let memory = spool.memory()?;
    let destination = to.to_string();
    if memory.destination == destination {
        return Ok(memory);
    }
    if !memory.works.is_empty() {
        let works: Vec<&str> = memory.works.values().map(String::as_str).collect();
        let what =
            format!("a drain to {} was cut off, and left works open there: {}", memory.destination, works.join(", "));
        let finding = Finding::new(Weight::Warning, "works-left", harmless(&what));
        report.findings.push(finding.advise("clear them there by hand, if nothing waits in their queues any more"));
    }
    Ok(Memory { destination, ..Memory::default() })
}

struct Draining<'a> {
    spool: Spooled,
    gate: Gate<'a>,
    memory: Memory,
    /// Messages that a drain before this one was sending when it was cut off: kept until this one has come to its end.
    unsaid: usize,
    /// Works that the drain before this one left open, and nobody has looked yet whether they are there.
    left_open: BTreeMap<String, String>,
    /// Messages that went to a connector's queue in this run.
    sent: BTreeMap<String, usize>,
    /// Messages that rest on the connector's work as it is now.
    resting: BTreeMap<String, usize>,
    /// Connectors whose works may expect more than comes.
    doubtful: BTreeSet<String>,
    report: &'a mut DrainReport,
}

/// A message with its number, its connector and its body.
type Waiting = (i64, String, String);

impl Draining<'_> {
    fn all(&mut self, listing: Listing) -> Result<()> {
        let mut passed = BTreeSet::new();
        for (id, connector) in &listing.connectors {
            let unfit = self.gate.admits(connector)?;
            match unfit {
                None => drop(passed.insert(id.clone())),
                Some(Unfit::Hold { code, what, .. } | Unfit::Quarantine { code, what, .. }) => {
                    let advice = match code {
                        "connector-exists" => {
                            "if it is the same feed: drain --take-over, once; if not, another id: [connectors] in airpouch.toml, import --redeliver"
                        }
                        _ => "mend what the platform says; its messages stay in the spool",
                    };
                    let finding = Finding::new(Weight::Incomplete, code, what).at(harmless(id)).advise(advice);
                    self.report.findings.push(finding);
                }
                Some(Unfit::Empty) => {}
            }
            self.note_registered()?;
        }
        let (going, left): (Vec<_>, Vec<_>) = listing.messages.into_iter().partition(|(_, id)| passed.contains(id));
        self.report.left += left.len() as u64;
        let (mut rest, mut drained) = (going.as_slice(), Ok(()));
        while !rest.is_empty() && drained.is_ok() {
            drained = self.group(rest).map(|taken| rest = &rest[taken..]);
        }
        self.report.left += rest.len() as u64;
        for (id, connector) in &listing.connectors {
            if let Some(messages) = self.sent.get(id) {
                let (id, name, messages) = (id.clone(), connector.name.clone(), *messages as u64);
                self.report.drained.push(Drained { id, name, messages });
            }
        }
        drained
    }

    fn note_registered(&mut self) -> Result<()> {
        let registered = std::mem::take(&mut self.gate.registered);
        if registered.is_empty() {
            return Ok(());
        }
        let known: BTreeSet<String> =
            self.memory.registered.drain(..).chain(registered.into_iter().map(|(id, _)| id)).collect();
        self.memory.registered = known.into_iter().collect();
        self.spool.remember(&self.memory)
    }

    /// Sends a group from the front of these, and takes it out of the spool once it is in the queues; how many it was.
    fn group(&mut self, going: &[(i64, String)]) -> Result<usize> {
        let (waiting, taken, unread) = self.read_group(going);
        self.send_group(&going[..taken], waiting)?;
        self.report.left += unread;
        Ok(taken)
    }

    /// Reads the messages of a group. One that cannot be read stays where it is, and is said.
    fn read_group(&mut self, going: &[(i64, String)]) -> (Vec<Waiting>, usize, u64) {
        let (mut waiting, mut taken, mut unread, mut bytes) = (Vec::new(), 0, 0, 0);
        for (number, connector) in going.iter().take(GROUP_MESSAGES) {
            if bytes >= GROUP_BYTES {
                break;
            }
            taken += 1;
            match self.spool.read(connector, *number) {
                Ok(Some(body)) => {
                    bytes += body.len();
                    waiting.push((*number, connector.clone(), body));
                }
                Ok(None) => {}
                Err(error) => {
                    unread += 1;
                    let finding = Finding::new(Weight::Incomplete, "unreadable-message", error.what);
                    let finding = finding.at(error.place.unwrap_or_default());
                    self.report.findings.push(finding.advise(error.advice.unwrap_or_default()));
                }
            }
        }
        (waiting, taken, unread)
    }

    fn send_group(&mut self, group: &[(i64, String)], mut waiting: Vec<Waiting>) -> Result<()> {
        let connectors: BTreeSet<&String> = group.iter().map(|(_, id)| id).collect();
        for connector in &connectors {
            self.gate.wait_for_room(connector)?;
        }
        self.memory.sending = self.unsaid + waiting.len();
        self.spool.remember(&self.memory)?;
        for _ in 0..CLEARED_MAX {
            self.open_works(&waiting)?;
            let refused = self.send(&waiting)?;
            waiting.retain(|(number, ..)| !refused.contains(number));
            let gone = self.gone_works(&waiting)?;
            let (again, there): (Vec<Waiting>, Vec<Waiting>) =
                waiting.into_iter().partition(|(_, connector, _)| gone.contains(connector));
            let there: Vec<(i64, String)> =
                there.into_iter().map(|(number, connector, _)| (number, connector)).collect();
            self.spool.remove(&there)?;
            for (_, connector) in there {
                if self.gate.has_works() {
                    *self.resting.entry(connector.clone()).or_default() += 1;
                }
                *self.sent.entry(connector).or_default() += 1;
            }
            if again.is_empty() {
                return Ok(());
            }
            self.gate.observer.say("works were cleared on the platform while their messages were sent; those go again");
            waiting = again;
        }
        Err(cleared())
    }

    /// One work for each connector; how many messages come is told before they do.
    fn open_works(&mut self, waiting: &[Waiting]) -> Result<()> {
        if !self.gate.has_works() {
            return Ok(());
        }
        let mut sums: BTreeMap<&String, usize> = BTreeMap::new();
        waiting.iter().for_each(|(_, connector, _)| *sums.entry(connector).or_default() += 1);
        for (connector, messages) in sums {
            self.announce(connector, messages)?;
        }
        Ok(())
    }

    fn announce(&mut self, connector: &str, messages: usize) -> Result<()> {
        for _ in 0..CLEARED_MAX {
            let work = self.work(connector)?;
            let Some(platform) = self.gate.platform() else { return Ok(()) };
            match platform.expect(&work, messages)? {
                Told::Heard => return Ok(()),
                Told::Doubtful => {
                    self.doubtful.insert(connector.to_owned());
                    return Ok(());
                }
                Told::Gone => self.drop_gone(connector),
            }
        }
        Err(cleared())
    }

    fn work(&mut self, connector: &str) -> Result<String> {
        let is_new = self.left_open.remove(connector).is_none();
        if let Some(work) = self.memory.works.get(connector).cloned() {
            let Some(platform) = self.gate.platform() else { return Ok(work) };
            if is_new {
                return Ok(work);
            }
            if platform.is_alive(&work)? {
                // More was announced by the drain that was cut off than comes.
                self.doubtful.insert(connector.to_owned());
                return Ok(work);
            }
            self.drop_gone(connector);
        }
        let Some(platform) = self.gate.platform() else { return Ok(String::new()) };
        let work = platform.add_work(connector, "airpouch drains a spool", true)?;
        self.memory.works.insert(connector.to_owned(), work.clone());
        self.spool.remember(&self.memory)?;
        Ok(work)
    }

    /// A work was found to be gone: it is not ours any more, and what rests on it is said.
    fn drop_gone(&mut self, connector: &str) {
        self.report_gone(connector);
        self.resting.remove(connector);
        self.memory.works.remove(connector);
    }

    /// Messages that left the spool and rest on a work that is gone: workers pass over them.
    fn report_gone(&mut self, connector: &str) {
        if self.resting.get(connector).is_some_and(|messages| *messages > 0) {
            let what = "a work was cleared on the platform after its messages were sent; workers pass over those that still wait";
            let advice = "their batches bring them again: airpouch import --redeliver to the spool, then drain";
            let finding = Finding::new(Weight::Incomplete, "work-gone", what).at(harmless(connector));
            self.report.findings.push(finding.advise(advice));
        }
    }

    /// The connectors whose works are not there any more.
    fn gone_works(&mut self, waiting: &[Waiting]) -> Result<BTreeSet<String>> {
        let connectors: BTreeSet<&String> = waiting.iter().map(|(_, connector, _)| connector).collect();
        let mut gone = BTreeSet::new();
        if self.gate.has_works()
            && let Some(platform) = self.gate.platform()
        {
            for connector in connectors {
                if let Some(work) = self.memory.works.get(connector)
                    && !platform.is_alive(work)?
                {
                    gone.insert(connector.clone());
                }
            }
        }
        gone.iter().for_each(|connector| self.drop_gone(connector));
        Ok(gone)
    }

    /// Sends messages and waits for each; says which the broker does not take.
    fn send(&mut self, waiting: &[Waiting]) -> Result<BTreeSet<i64>> {
        let with_works = self.gate.has_works();
        let mut left: BTreeSet<u64> = BTreeSet::new();
        let mut refused = BTreeMap::new();
        for (number, connector, body) in waiting {
            let body = match self.memory.works.get(connector).filter(|_| with_works) {
                Some(work) => with_work(body, work),
                None => body.clone(),
            };
            let message = Message {
                lane: self.gate.lane(connector),
                route: self.gate.route(connector)?,
                id: format!("airpouch-spool-{}-{number}", self.spool.mark()),
                body: body.into_bytes(),
                part_of: *number as u64,
            };
            self.gate.broker()?.publish(message)?;
            left.insert(*number as u64);
            self.hear(false, &mut left, &mut refused)?;
        }
        while !left.is_empty() {
            self.hear(true, &mut left, &mut refused)?;
        }
        for (number, connector, _) in waiting {
            if let Some(words) = refused.get(&(*number as u64)) {
                let what = format!("the broker does not take a message: {words}");
                let finding = Finding::new(Weight::Incomplete, "message-refused", what);
                self.report.findings.push(match self.spool.put_aside(connector, *number, words) {
                    Ok(place) => finding.at(harmless(&place.to_string_lossy())).advise(
                        "it lies in refused/, with the reason; raise max_message_size of the broker, move it back, and drain again",
                    ),
                    Err(error) => finding
                        .at(error.place.unwrap_or_default())
                        .advise(format!("it stays where it is, and is sent again: {}", error.what)),
                });
                self.report.refused += 1;
            }
        }
        Ok(refused.into_keys().map(|number| number as i64).collect())
    }

    fn hear(&mut self, wait: bool, left: &mut BTreeSet<u64>, refused: &mut BTreeMap<u64, String>) -> Result<()> {
        for outcome in self.gate.hear(wait)? {
            match outcome {
                Outcome::Confirmed { part_of } => drop(left.remove(&part_of)),
                Outcome::Refused { part_of, words, .. } => {
                    left.remove(&part_of);
                    refused.insert(part_of, words);
                }
            }
        }
        Ok(())
    }

    /// Closes the works, in error if the run has failed, and why.
    fn close_works(&mut self, failed: Option<&str>) -> Result<()> {
        if failed.is_some() {
            self.gate.hurry();
        }
        for (connector, work) in self.memory.works.clone() {
            let Some(platform) = self.gate.platform() else { break };
            let sent = self.sent.get(&connector).copied().unwrap_or(0) as u64;
            let in_doubt = self.left_open.contains_key(&connector) || self.doubtful.contains(&connector);
            let message = match failed {
                Some(why) => format!("airpouch stopped: {why}. What was not confirmed goes again, in another work"),
                None if in_doubt => "airpouch: a drain was cut off: more may be expected than comes".to_owned(),
                None => format!("airpouch drained {}", count(sent, "message")),
            };
            let in_error = failed.is_some() || in_doubt;
            platform.close(&work, &message, in_error)?;
            let is_gone = !platform.is_alive(&work)?;
            self.memory.works.remove(&connector);
            self.spool.remember(&self.memory)?;
            if is_gone {
                self.report_gone(&connector);
            }
        }
        Ok(())
    }
}
