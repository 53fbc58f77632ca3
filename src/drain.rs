//! drain: the messages of a spool to the queues, in their order, and out of the spool once the broker has them.
//!
//! A group of messages is sent, confirmed, its works are looked for once more, and only then its files go. A crash
//! anywhere repeats that group at most, with the same message ids. Works are opened only now: a message that waits in
//! a spool must not rest on one that may be cleared meanwhile.

mod gone;

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::{Message, Outcome};
use crate::code::Code;
use crate::destination::{Destination, Reach};
use crate::error::{Error, Result};
use crate::fit::Unfit;
use crate::opencti::message::with_work;
use crate::opencti::registration::Registration;
use crate::platform::{Asked, Platform, Updated};
use crate::report::{DrainReport, Drained, Finding, Observer};
use crate::sink::queues::gate::Gate;
use crate::sink::queues::{CLEARED_MAX, GROUP_BYTES, GROUP_MESSAGES, cleared};
use crate::sink::spooled::{Listing, Memory, Spooled};
use crate::text::{count, harmless};

/// How to drain.
pub struct DrainOptions {
    /// Where to send.
    pub to: Destination,
    /// How that is reached.
    pub reach: Reach,
    /// Whether what went with works that earlier drains found to be gone was delivered again, or may stay lost.
    pub accept_gone: bool,
}

/// Moves a spool on. The report holds what was done, also if the run stops.
///
/// # Errors
/// The spool or the destination is not there; the system refused.
pub fn drain(
    path: &std::path::Path,
    options: &DrainOptions,
    observer: &dyn Observer,
    report: &mut DrainReport,
) -> Result<()> {
    let DrainOptions { to, reach, accept_gone } = options;
    if to.path().is_some() {
        return Err(Error::usage(format!("a spool is not drained to {to}"))
            .advise("name a broker or a platform: --to amqps://HOST or opencti+https://HOST"));
    }
    let spool = Spooled::open(path)?;
    let mut memory = memory_of(&spool, to, report)?;
    gone::begin(&spool, &mut memory, *accept_gone, report)?;
    let mut listing = spool.list()?;
    for (id, error) in std::mem::take(&mut listing.passed_over) {
        let finding = Finding::new(Code::SpoolDirectory, error.what).at(error.place.unwrap_or(id));
        report.findings.push(finding.advise(error.advice.unwrap_or_default()));
    }
    if memory.sending > 0 {
        spool.make_durable()?;
        let messages = count(memory.sending as u64, "message");
        let what = format!("the last drain was cut off; {messages} may come a second time");
        report.findings.push(Finding::new(Code::DeliveredAgain, what));
    }
    if listing.messages.is_empty() && memory.works.is_empty() {
        return said(&spool, memory, 0);
    }
    let ours: BTreeSet<String> = memory.registered.iter().cloned().collect();
    let gate = match to {
        Destination::Broker(address) => Gate::to_broker(address, reach.clone(), observer)?,
        Destination::Platform(address) => {
            let platform = Platform::open(address, reach, observer)?;
            Gate::through(platform, reach.clone(), ours, memory.shown.clone(), observer)
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
        let finding = Finding::new(Code::WorksLeft, harmless(&what));
        report.findings.push(finding.advise("clear them there by hand, if nothing waits in their queues any more"));
    }
    Ok(Memory { destination, gone: memory.gone, ..Memory::default() })
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

/// What became of the messages of a group that are not in their queues.
struct Sent {
    /// The broker refused these by themselves.
    refused: BTreeSet<i64>,
    /// Their queues do not take these at the moment.
    back: BTreeSet<i64>,
}

/// What was heard of a group.
#[derive(Default)]
struct Heard {
    /// Nothing yet of these.
    left: BTreeSet<u64>,
    refused: BTreeMap<u64, String>,
    back: BTreeSet<u64>,
}

impl Draining<'_> {
    fn all(&mut self, listing: Listing) -> Result<()> {
        let Listing { connectors, messages, .. } = listing;
        let mut passed = BTreeSet::new();
        for (id, connector) in &connectors {
            match self.admits(connector)? {
                None => drop(passed.insert(id.clone())),
                Some(unfit) => self.keep(id, unfit),
            }
        }
        let (going, left): (Vec<_>, Vec<_>) = messages.into_iter().partition(|(_, id)| passed.contains(id));
        self.report.left += left.len() as u64;
        self.gate.observer.begin_messages("draining", going.len() as u64);
        let drained = self.rounds(going, &connectors);
        self.gate.observer.end();
        for (id, connector) in &connectors {
            if let Some(messages) = self.sent.get(id) {
                let (id, name, messages) = (id.clone(), connector.name.clone(), *messages as u64);
                self.report.drained.push(Drained { id, name, messages });
            }
        }
        drained
    }

    /// Sends what goes; what its connector's queue does not take at once goes once more, as long as that is worth it.
    fn rounds(&mut self, going: Vec<(i64, String)>, connectors: &BTreeMap<String, Registration>) -> Result<()> {
        let mut left = going;
        loop {
            left.sort_unstable();
            let round = self.round(&mut left);
            if round.is_err() || left.is_empty() || !self.gate.wait_for_blocked()? {
                self.report.left += left.len() as u64;
                self.report_blocked(&left);
                return round;
            }
            // Those to which the platform is to blame no more are asked about again.
            for (id, connector) in connectors {
                if left.iter().any(|(_, of)| of == id)
                    && let Some(unfit) = self.admits(connector)?
                {
                    self.keep(id, unfit);
                    let before = left.len();
                    left.retain(|(_, of)| of != id);
                    self.report.left += (before - left.len()) as u64;
                }
            }
        }
    }

    /// Sends all of these but what belongs to a connector that is blocked; that is left.
    fn round(&mut self, left: &mut Vec<(i64, String)>) -> Result<()> {
        let going = std::mem::take(left);
        let connectors: BTreeSet<&String> = going.iter().map(|(_, id)| id).collect();
        let is_alone = connectors.len() == 1;
        let mut rest = going.as_slice();
        while !rest.is_empty() {
            let (group, behind) = rest.split_at(rest.len().min(GROUP_MESSAGES));
            let (blocked, open): (Vec<_>, Vec<_>) =
                group.iter().cloned().partition(|(_, id)| self.gate.blocked.obstacle(id).is_some());
            left.extend(blocked);
            let before = left.len();
            let sent = self.group(&open, is_alone, left);
            self.gate.observer.advance(open.len().saturating_sub(left.len() - before) as u64);
            rest = behind;
            if sent.is_err() {
                left.extend_from_slice(rest);
                return sent;
            }
        }
        Ok(())
    }

    /// What the platform does not take of a connector stays in the spool, and that is reported.
    fn keep(&mut self, id: &str, unfit: Unfit) {
        let (Unfit::Hold { code, what, .. } | Unfit::Quarantine { code, what, .. }) = unfit else { return };
        let advice = match code {
            Code::ConnectorExists => {
                "if it is the same feed: `airpouch drain --take-over`, once; else give it another id ([connectors] in airpouch.toml), then `airpouch import --redeliver`"
            }
            Code::ConnectorUnknown => {
                "give airpouch's user the right to look (MODULES), then `airpouch drain`; or, if nobody there has that id: `airpouch drain --take-over`, once"
            }
            _ => "fix what the platform complains about, then `airpouch drain`; the messages stay in the spool",
        };
        let finding = Finding::new(code, what).labelled("not delivered").at(harmless(id)).advise(advice);
        self.report.findings.push(finding);
    }

    /// What waits for connectors that are blocked, once for each.
    fn report_blocked(&mut self, left: &[(i64, String)]) {
        let mut sums: BTreeMap<&String, u64> = BTreeMap::new();
        left.iter().for_each(|(_, id)| *sums.entry(id).or_default() += 1);
        for (id, messages) in sums {
            if let Some(obstacle) = self.gate.blocked.obstacle(id) {
                let what = format!("{}: {}", count(messages, "message"), obstacle.what);
                let finding = Finding::new(obstacle.code, what).at(harmless(id));
                self.report.findings.push(finding.advise(obstacle.advice));
            }
        }
    }

    /// Whether a connector's messages are taken. What is registered or found there is remembered beside the spool.
    fn admits(&mut self, connector: &Registration) -> Result<Option<Unfit>> {
        let (gate, memory, spool) = (&mut self.gate, &mut self.memory, &self.spool);
        let unfit = gate.admits(connector, &mut |id, _, is_ours| {
            memory.registered.retain(|known| known != id);
            if is_ours {
                memory.registered.push(id.to_owned());
            }
            memory.registered.sort_unstable();
            spool.remember(memory)
        })?;
        if !gate.exist.is_empty() {
            memory.shown.extend(gate.exist.drain(..));
            spool.remember(memory)?;
        }
        Ok(unfit)
    }

    /// Sends a group in parts of so many bytes, and takes it out of the spool once it is in the queues. What its
    /// connector's queue does not take is `left`.
    fn group(&mut self, going: &[(i64, String)], is_alone: bool, left: &mut Vec<(i64, String)>) -> Result<()> {
        let connectors: BTreeSet<&String> = going.iter().map(|(_, id)| id).collect();
        let looked = connectors.into_iter().try_for_each(|connector| self.gate.look_for_room(connector, is_alone));
        let mut rest = going;
        let mut sent = looked;
        while !rest.is_empty() && sent.is_ok() {
            let (waiting, taken, unread) = self.read_group(rest);
            self.report.left += unread;
            sent = self.send_group(waiting, left);
            rest = &rest[taken..];
        }
        left.extend_from_slice(rest);
        sent
    }

    /// Reads the messages of a group. One that cannot be read stays where it is, and is said.
    fn read_group(&mut self, going: &[(i64, String)]) -> (Vec<Waiting>, usize, u64) {
        let (mut waiting, mut taken, mut unread, mut bytes) = (Vec::new(), 0, 0, 0);
        for (number, connector) in going {
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
                    let finding = Finding::new(Code::UnreadableMessage, error.what);
                    let finding = finding.at(error.place.unwrap_or_default());
                    self.report.findings.push(finding.advise(error.advice.unwrap_or_default()));
                }
            }
        }
        (waiting, taken, unread)
    }

    /// Takes out what belongs to connectors that are blocked: that is left.
    fn leave_blocked(&self, waiting: Vec<Waiting>, left: &mut Vec<(i64, String)>) -> Vec<Waiting> {
        let (blocked, open): (Vec<Waiting>, Vec<Waiting>) =
            waiting.into_iter().partition(|(_, connector, _)| self.gate.blocked.obstacle(connector).is_some());
        left.extend(blocked.into_iter().map(|(number, connector, _)| (number, connector)));
        open
    }

    fn send_group(&mut self, waiting: Vec<Waiting>, left: &mut Vec<(i64, String)>) -> Result<()> {
        let mut waiting = self.leave_blocked(waiting, left);
        self.memory.sending = self.unsaid + waiting.len();
        self.spool.remember(&self.memory)?;
        for _ in 0..CLEARED_MAX {
            self.open_works(&waiting)?;
            waiting = self.leave_blocked(waiting, left);
            let Sent { refused, back } = self.send(&waiting)?;
            let (not_taken, taken): (Vec<Waiting>, Vec<Waiting>) =
                waiting.into_iter().partition(|(number, ..)| back.contains(number));
            left.extend(not_taken.into_iter().map(|(number, connector, _)| (number, connector)));
            waiting = taken;
            waiting.retain(|(number, ..)| !refused.contains(number));
            let (gone, unknown) = self.gone_works(&waiting)?;
            let (unsure, sure): (Vec<Waiting>, Vec<Waiting>) =
                waiting.into_iter().partition(|(_, connector, _)| unknown.contains(connector));
            left.extend(unsure.into_iter().map(|(number, connector, _)| (number, connector)));
            waiting = sure;
            let (again, there): (Vec<Waiting>, Vec<Waiting>) =
                waiting.into_iter().partition(|(_, connector, _)| gone.contains(connector));
            let there: Vec<(i64, String)> =
                there.into_iter().map(|(number, connector, _)| (number, connector)).collect();
            self.spool.remove(&there)?;
            for (_, connector) in there {
                self.gate.blocked.moved(&connector);
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

    /// What the platform answered, unless it has a word against this one thing: then its connector is blocked.
    fn heard<T>(&mut self, connector: &str, asked: Asked<T>) -> Result<Option<T>> {
        Ok(match asked? {
            Ok(answer) => Some(answer),
            Err(words) => {
                self.gate.works_refused(connector, &words);
                None
            }
        })
    }

    fn announce(&mut self, connector: &str, messages: usize) -> Result<()> {
        for _ in 0..CLEARED_MAX {
            let Some(work) = self.work(connector)? else { return Ok(()) };
            let Some(platform) = self.gate.platform() else { return Ok(()) };
            let asked = platform.expect(&work, messages);
            match self.heard(connector, asked)? {
                None | Some(Updated::Once) => return Ok(()),
                Some(Updated::PerhapsTwice) => {
                    self.doubtful.insert(connector.to_owned());
                    return Ok(());
                }
                Some(Updated::WorkGone) => self.drop_gone(connector)?,
            }
        }
        Err(cleared())
    }

    /// The work of a connector, opened if it is not open; none where the platform has a word against it.
    fn work(&mut self, connector: &str) -> Result<Option<String>> {
        let is_new = self.left_open.remove(connector).is_none();
        if let Some(work) = self.memory.works.get(connector).cloned() {
            let Some(platform) = self.gate.platform() else { return Ok(Some(work)) };
            if is_new {
                return Ok(Some(work));
            }
            let asked = platform.is_alive(&work);
            match self.heard(connector, asked)? {
                None => return Ok(None),
                Some(true) => {
                    // More was announced by the drain that was cut off than comes.
                    self.doubtful.insert(connector.to_owned());
                    return Ok(Some(work));
                }
                Some(false) => self.drop_gone(connector)?,
            }
        }
        let Some(platform) = self.gate.platform() else { return Ok(None) };
        let asked = platform.add_work(connector, "airpouch drains a spool", true);
        let Some(work) = self.heard(connector, asked)? else { return Ok(None) };
        self.memory.works.insert(connector.to_owned(), work.clone());
        self.spool.remember(&self.memory)?;
        Ok(Some(work))
    }

    /// A work was found to be gone: it is not ours any more, and what rests on it is reported.
    fn drop_gone(&mut self, connector: &str) -> Result<()> {
        self.memory.works.remove(connector);
        let noted = self.note_gone(connector);
        self.resting.remove(connector);
        noted
    }

    /// Messages that left the spool and rest on a work that is gone: workers pass over them.
    fn note_gone(&mut self, connector: &str) -> Result<()> {
        match self.resting.get(connector).is_some_and(|messages| *messages > 0) {
            true => gone::note(&self.spool, &mut self.memory, connector, self.report),
            false => Ok(()),
        }
    }

    /// The connectors whose works are not there any more, and those of which the platform does not say it.
    fn gone_works(&mut self, waiting: &[Waiting]) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        let (mut gone, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        if !self.gate.has_works() {
            return Ok((gone, unknown));
        }
        let connectors: BTreeSet<&String> = waiting.iter().map(|(_, connector, _)| connector).collect();
        for connector in connectors {
            let Some(work) = self.memory.works.get(connector).cloned() else { continue };
            let Some(platform) = self.gate.platform() else { break };
            let asked = platform.is_alive(&work);
            match self.heard(connector, asked)? {
                Some(true) => {}
                Some(false) => drop(gone.insert(connector.clone())),
                None => drop(unknown.insert(connector.clone())),
            }
        }
        gone.iter().try_for_each(|connector| self.drop_gone(connector))?;
        Ok((gone, unknown))
    }

    /// Sends messages and waits for each; says which the broker does not take.
    fn send(&mut self, waiting: &[Waiting]) -> Result<Sent> {
        let with_works = self.gate.has_works();
        let connectors: BTreeMap<u64, &String> =
            waiting.iter().map(|(n, connector, _)| (*n as u64, connector)).collect();
        let mut heard = Heard::default();
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
            heard.left.insert(*number as u64);
            self.hear(false, &mut heard, &connectors)?;
        }
        while !heard.left.is_empty() {
            self.hear(true, &mut heard, &connectors)?;
        }
        for (number, words) in &heard.refused {
            if let Some(connector) = connectors.get(number) {
                self.put_aside(connector, *number as i64, words);
            }
        }
        let numbers = |of: BTreeSet<u64>| of.into_iter().map(|number| number as i64).collect();
        Ok(Sent { refused: numbers(heard.refused.into_keys().collect()), back: numbers(heard.back) })
    }

    /// Puts a message aside that the broker does not take.
    fn put_aside(&mut self, connector: &str, number: i64, words: &str) {
        let what = format!("the broker does not take a message: {words}");
        let finding = Finding::new(Code::MessageRefused, what).labelled("put aside");
        self.report.findings.push(match self.spool.put_aside(connector, number, words) {
            Ok(place) => finding.at(harmless(&place.to_string_lossy())).advise(
                "it lies in refused/, with the reason; raise max_message_size of the broker, move it back, and drain again",
            ),
            Err(error) => finding
                .labelled("not delivered")
                .at(error.place.unwrap_or_default())
                .advise(format!("it is left in place and sent again: {}", error.what)),
        });
        self.report.refused += 1;
    }

    fn hear(&mut self, wait: bool, heard: &mut Heard, connectors: &BTreeMap<u64, &String>) -> Result<()> {
        for outcome in self.gate.hear(wait)? {
            match outcome {
                Outcome::Confirmed { part_of } => drop(heard.left.remove(&part_of)),
                Outcome::Refused { part_of, words, .. } => {
                    heard.left.remove(&part_of);
                    heard.refused.insert(part_of, words);
                }
                Outcome::NotTaken { part_of, why } => {
                    heard.left.remove(&part_of);
                    heard.back.insert(part_of);
                    if let Some(connector) = connectors.get(&part_of) {
                        self.gate.not_taken(connector, &why);
                        // More was announced to its work than came.
                        self.doubtful.insert((*connector).clone());
                    }
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
        let mut closed = Vec::new();
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
            if let Err(words) = platform.close(&work, &message, in_error)? {
                let what = format!("a work stays open on the platform: {words}");
                let finding = Finding::new(Code::WorkOpen, what).at(harmless(&work));
                self.report.findings.push(finding.advise("its messages came through; close it there by hand"));
            }
            self.memory.works.remove(&connector);
            self.spool.remember(&self.memory)?;
            closed.push((connector, work));
        }
        // Whoever clears works may come behind the last look at one of them.
        for (connector, work) in closed {
            let Some(platform) = self.gate.platform() else { break };
            if platform.is_alive(&work)? == Ok(false) {
                self.note_gone(&connector)?;
            }
        }
        Ok(())
    }
}
