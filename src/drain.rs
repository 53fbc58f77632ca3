//! Sends the messages of a spool to the queues, in order, and removes them from the spool once the broker has confirmed
//! them.
//!
//! For each group it sends the messages, waits for the confirms, asks for the works once more, and only then removes
//! the files. A crash repeats at most that group, with the same message ids. Works are opened only now: while a message
//! waits in a spool, somebody may clear its work.

mod remembered;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::broker::{Message, MessageOutcome};
use crate::code::Code;
use crate::destination::{Destination, Reach};
use crate::error::{Error, Result, unless_stopped};
use crate::fit::Unfit;
use crate::gate::Gate;
use crate::opencti::message::with_work;
use crate::opencti::registration::Registration;
use crate::report::{DrainReport, Drained, Finding, Observer};
use crate::sink::queues::{GROUP_BYTES, GROUP_MESSAGES};
use crate::sink::spooled::SpoolListing;
use crate::text::{count, harmless};
use crate::works::{CLEARED_MAX, Ended, Looked, SENT_AGAIN, Wanted, Work, WorkSubject, Works, cleared};

use remembered::Remembered;

/// How to drain.
pub struct DrainOptions {
    /// Where to send.
    pub to: Destination,
    /// How the destination is reached.
    pub reach: Reach,
    /// Whether the messages of works that earlier drains found to be gone were delivered again, or may stay lost.
    pub accept_gone: bool,
    /// How long to wait for another drain of this spool.
    pub wait: Duration,
}

/// Drains a spool. The report has what was done, also if the run stops.
///
/// # Errors
/// The spool or the destination cannot be reached; the system refused.
pub fn drain(
    path: &std::path::Path,
    options: &DrainOptions,
    observer: &dyn Observer,
    report: &mut DrainReport,
) -> Result<()> {
    let DrainOptions { to, reach, .. } = options;
    if to.path().is_some() {
        return Err(Error::usage(format!("a spool is not drained to {to}"))
            .advise("name a broker or a platform: --to amqps://HOST or opencti+https://HOST"));
    }
    let mut remembered = Remembered::open(path, options, observer)?;
    report.findings.append(&mut remembered.findings);
    let mut listing = remembered.spool.list()?;
    for (id, error) in std::mem::take(&mut listing.passed_over) {
        let finding = Finding::new(Code::SpoolDirectory, error.what).at(error.place.unwrap_or(id));
        report.findings.push(finding.advise(error.advice.unwrap_or_default()));
    }
    if listing.messages.is_empty() && remembered.memory().works.is_empty() {
        return remembered.end(false);
    }
    let ours: BTreeSet<String> = remembered.memory().registered.iter().cloned().collect();
    let gate = Gate::open(to, reach, ours, remembered.memory().shown.clone(), observer)?;
    let works = Works::left_open(remembered.works());
    let mut draining = Draining { remembered, gate, works, sent: BTreeMap::new(), is_sending: false, report };
    let drained = draining.all(listing);
    draining.end(drained)
}

/// What a work of a drain is for: the messages of a connector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ForConnector(String);

impl WorkSubject for ForConnector {
    fn connector(&self) -> &str {
        &self.0
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn success(&self, work: &Work) -> String {
        format!("airpouch drained {}", count(work.delivered as u64, "message"))
    }
}

struct Draining<'a> {
    remembered: Remembered,
    gate: Gate<'a>,
    works: Works<ForConnector>,
    /// Messages that were sent to a connector's queue in this run.
    sent: BTreeMap<String, usize>,
    /// Whether messages are on their way: a drain that ends then cannot tell which have arrived.
    is_sending: bool,
    report: &'a mut DrainReport,
}

/// A message in the spool: its number and its connector.
type Spooled = (i64, String);
/// The same with its body.
type Waiting = (i64, String, String);

/// The outcomes of the messages of a group.
#[derive(Default)]
struct Answers {
    /// The broker has not answered about these yet.
    unconfirmed: BTreeSet<i64>,
    /// It refused these, with these words.
    refused: BTreeMap<i64, String>,
    /// Their queues do not accept these at the moment.
    back: BTreeSet<i64>,
}

impl Draining<'_> {
    fn all(&mut self, listing: SpoolListing) -> Result<()> {
        let SpoolListing { connectors, messages, .. } = listing;
        let mut admitted = BTreeSet::new();
        for (id, connector) in &connectors {
            match self.admits(connector)? {
                None => drop(admitted.insert(id.clone())),
                Some(unfit) => self.keep(id, unfit),
            }
        }
        let (going, left): (Vec<_>, Vec<_>) = messages.into_iter().partition(|(_, id)| admitted.contains(id));
        self.report.left += left.len() as u64;
        self.gate.observer.begin_counted("draining", going.len() as u64, "messages");
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

    /// Closes the works, in error if the run has failed, and removes the state that no later drain needs.
    fn end(mut self, drained: Result<()>) -> Result<()> {
        let failed = drained.as_ref().err().filter(|error| !error.is_stop() || self.is_sending);
        let (ended, has_failed) = failed.map_or((Ended::Run, false), |error| (Ended::Failed(&error.what), true));
        let closed = self.works.close_all(ended, &mut self.gate, &mut self.remembered);
        self.report.findings.append(&mut self.gate.findings);
        self.report.findings.append(&mut self.remembered.findings);
        drained.and(closed).and(self.remembered.end(has_failed))
    }

    /// Sends all that can be sent; retries what a queue does not accept at once, as long as waiting may help.
    fn rounds(&mut self, going: Vec<Spooled>, connectors: &BTreeMap<String, Registration>) -> Result<()> {
        let mut left = going;
        loop {
            left.sort_unstable();
            let round = self.round(&mut left);
            if round.is_err() || left.is_empty() || !self.gate.wait_for_blocked()? {
                self.report.left += left.len() as u64;
                self.report_blocked(&left);
                return round;
            }
            // Ask the platform again about connectors that it failed on before.
            let waiting: BTreeSet<String> = left.iter().map(|(_, id)| id.clone()).collect();
            for (id, connector) in connectors.iter().filter(|(id, _)| waiting.contains(*id)) {
                if let Some(unfit) = self.admits(connector)? {
                    self.keep(id, unfit);
                    let before = left.len();
                    left.retain(|(_, of)| of != id);
                    self.report.left += (before - left.len()) as u64;
                }
            }
        }
    }

    /// Sends all of these except those of blocked connectors; returns what is left.
    fn round(&mut self, left: &mut Vec<Spooled>) -> Result<()> {
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

    /// Reports messages that the platform does not accept of a connector; they stay in the spool.
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

    /// Reports what waits for blocked connectors, once for each.
    fn report_blocked(&mut self, left: &[Spooled]) {
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

    /// Whether a connector's messages are accepted. Notes beside the spool what is registered or found there.
    fn admits(&mut self, connector: &Registration) -> Result<Option<Unfit>> {
        let remembered = &mut self.remembered;
        let unfit = self.gate.admits(connector, &mut |id, _, is_ours| remembered.registered(id, is_ours))?;
        self.remembered.shown(std::mem::take(&mut self.gate.exist))?;
        Ok(unfit)
    }

    /// Sends a group in parts of limited size, and removes it from the spool once it is in the queues. Messages that a
    /// queue does not accept are `left`.
    fn group(&mut self, going: &[Spooled], is_alone: bool, left: &mut Vec<Spooled>) -> Result<()> {
        let connectors: BTreeSet<&String> = going.iter().map(|(_, id)| id).collect();
        let looked = self.unless_stopped();
        let looked = looked
            .and_then(|()| connectors.into_iter().try_for_each(|connector| self.gate.check_space(connector, is_alone)));
        let mut rest = going;
        let mut sent = looked;
        while !rest.is_empty() && sent.is_ok() {
            let (waiting, taken, unread) = self.read_group(rest);
            self.report.left += unread;
            sent = self.send_group(waiting, left);
            rest = &rest[taken..];
            sent = sent.and_then(|()| if rest.is_empty() { Ok(()) } else { self.unless_stopped() });
        }
        left.extend_from_slice(rest);
        sent
    }

    /// Between two groups.
    fn unless_stopped(&self) -> Result<()> {
        unless_stopped(self.gate.observer, || {
            let sent = count(self.sent.values().map(|sent| *sent as u64).sum(), "message");
            format!("after {sent}; the next drain sends what is in the spool")
        })
    }

    /// Reads the messages of a group. Reports one that cannot be read, and leaves it in the spool.
    fn read_group(&mut self, going: &[Spooled]) -> (Vec<Waiting>, usize, u64) {
        let (mut waiting, mut taken, mut unread, mut bytes) = (Vec::new(), 0, 0, 0);
        for (number, connector) in going {
            if bytes >= GROUP_BYTES {
                break;
            }
            taken += 1;
            match self.remembered.spool.read(connector, *number) {
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

    fn send_group(&mut self, waiting: Vec<Waiting>, left: &mut Vec<Spooled>) -> Result<()> {
        let mut waiting = self.leave_blocked(waiting, left);
        self.remembered.sending(waiting.len())?;
        self.is_sending = true;
        for _ in 0..CLEARED_MAX {
            self.announce(&waiting)?;
            waiting = self.leave_blocked(waiting, left);
            let Answers { refused, back, .. } = self.send(&waiting)?;
            waiting.retain(|(number, ..)| !refused.contains_key(number));
            waiting = leave(waiting, left, |(number, ..)| back.contains(number));
            let Looked { gone, unknown } = self.look_for_works(&waiting)?;
            gone.iter().try_for_each(|work| self.works.drop_gone(work, &mut self.remembered))?;
            let is_among = |works: &BTreeSet<ForConnector>, connector: &String| works.iter().any(|w| w.0 == *connector);
            waiting = leave(waiting, left, |(_, connector, _)| is_among(&unknown, connector));
            let (again, there): (Vec<Waiting>, Vec<Waiting>) =
                waiting.into_iter().partition(|(_, connector, _)| is_among(&gone, connector));
            self.take_out(there)?;
            if again.is_empty() {
                self.is_sending = false;
                return Ok(());
            }
            self.gate.observer.say(SENT_AGAIN);
            waiting = again;
        }
        Err(cleared())
    }

    /// Leaves the messages of blocked connectors.
    fn leave_blocked(&self, waiting: Vec<Waiting>, left: &mut Vec<Spooled>) -> Vec<Waiting> {
        leave(waiting, left, |(_, connector, _)| self.gate.blocked.obstacle(connector).is_some())
    }

    /// The broker has these, under works that exist: removes them from the spool.
    fn take_out(&mut self, there: Vec<Waiting>) -> Result<()> {
        let there: Vec<Spooled> = there.into_iter().map(|(number, connector, _)| (number, connector)).collect();
        self.remembered.spool.remove(&there)?;
        for (_, connector) in there {
            self.gate.blocked.moved(&connector);
            *self.sent.entry(connector.clone()).or_default() += 1;
            if self.gate.has_works() {
                self.works.delivered(&ForConnector(connector));
            }
        }
        Ok(())
    }

    /// Opens one work for each connector, and announces how many messages follow.
    fn announce(&mut self, waiting: &[Waiting]) -> Result<()> {
        if !self.gate.has_works() {
            return Ok(());
        }
        let mut sums: BTreeMap<&String, usize> = BTreeMap::new();
        waiting.iter().for_each(|(_, connector, _)| *sums.entry(connector).or_default() += 1);
        for (connector, messages) in sums {
            let subject = &ForConnector(connector.clone());
            let wanted = Wanted { subject, title: &|| "airpouch drains a spool".to_owned(), draft: false };
            self.works.open(&wanted, &mut self.gate, &mut self.remembered)?;
            self.works.expect(&wanted, messages, &mut self.gate, &mut self.remembered)?;
        }
        Ok(())
    }

    /// Asks for the works of these messages once more.
    fn look_for_works(&mut self, waiting: &[Waiting]) -> Result<Looked<ForConnector>> {
        let subjects = match self.gate.has_works() {
            true => waiting.iter().map(|(_, connector, _)| ForConnector(connector.clone())).collect(),
            false => BTreeSet::new(),
        };
        self.works.look_for(&subjects, &mut self.gate)
    }

    /// Sends messages and waits until the broker has answered each. Moves aside what it refuses.
    fn send(&mut self, waiting: &[Waiting]) -> Result<Answers> {
        let with_works = self.gate.has_works();
        let connectors: BTreeMap<i64, &String> = waiting.iter().map(|(n, connector, _)| (*n, connector)).collect();
        let mut answers = Answers::default();
        for (number, connector, body) in waiting {
            let body = match self.works.get(&ForConnector(connector.clone())).filter(|_| with_works) {
                Some(work) => with_work(body, &work.id),
                None => body.clone(),
            };
            let message = Message {
                lane: self.gate.lane(connector),
                route: self.gate.route(connector)?,
                id: format!("airpouch-spool-{}-{number}", self.remembered.spool.mark()),
                body: body.into_bytes(),
                part_of: *number as u64,
            };
            self.gate.broker()?.publish(message)?;
            answers.unconfirmed.insert(*number);
            self.poll_outcomes(false, &mut answers, &connectors)?;
        }
        while !answers.unconfirmed.is_empty() {
            self.poll_outcomes(true, &mut answers, &connectors)?;
        }
        for (number, words) in &answers.refused {
            if let Some(connector) = connectors.get(number) {
                self.put_aside(connector, *number, words);
            }
        }
        Ok(answers)
    }

    fn poll_outcomes(&mut self, wait: bool, answers: &mut Answers, of: &BTreeMap<i64, &String>) -> Result<()> {
        for outcome in self.gate.poll_outcomes(wait)? {
            match outcome {
                MessageOutcome::Confirmed { part_of } => drop(answers.unconfirmed.remove(&(part_of as i64))),
                MessageOutcome::Refused { part_of, words, .. } => {
                    answers.unconfirmed.remove(&(part_of as i64));
                    answers.refused.insert(part_of as i64, words);
                }
                MessageOutcome::NotTaken { part_of, why } => {
                    answers.unconfirmed.remove(&(part_of as i64));
                    answers.back.insert(part_of as i64);
                    if let Some(connector) = of.get(&(part_of as i64)) {
                        self.gate.not_taken(connector, &why);
                        let flaw = "its queue did not take all that was announced";
                        self.works.note_flaw(&ForConnector((*connector).clone()), flaw);
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves a message aside that the broker refuses.
    fn put_aside(&mut self, connector: &str, number: i64, words: &str) {
        let what = format!("the broker does not take a message: {words}");
        let finding = Finding::new(Code::MessageRefused, what).labelled("put aside");
        self.report.findings.push(match self.remembered.spool.put_aside(connector, number, words) {
            Ok(place) => finding.at(harmless(&place.to_string_lossy())).advise(
                "it is in refused/, with the reason; raise max_message_size of the broker, move it back, and drain again",
            ),
            Err(error) => finding
                .labelled("not delivered")
                .at(error.place.unwrap_or_default())
                .advise(format!("it is left in place and sent again: {}", error.what)),
        });
        self.report.refused += 1;
    }
}

/// Removes some messages from those to send: they are left in the spool.
fn leave(waiting: Vec<Waiting>, left: &mut Vec<Spooled>, is_left: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
    let (out, rest): (Vec<Waiting>, Vec<Waiting>) = waiting.into_iter().partition(|one| is_left(one));
    left.extend(out.into_iter().map(|(number, connector, _)| (number, connector)));
    rest
}
