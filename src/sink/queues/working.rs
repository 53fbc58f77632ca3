//! The works of envelopes on their way: opened before messages go, looked for after they have landed, closed at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::super::works::{Subject, Work};
use super::super::{Deliverable, Ended};
use super::{CLEARED_MAX, Queues, cleared, messages_in};
use crate::code::Code;
use crate::destination::WorkPer;
use crate::error::Result;
use crate::opencti::api::ctime;
use crate::platform::{Asked, Updated};
use crate::report::Finding;
use crate::text::{count, harmless};

/// How long works are closed, or looked for once more, when one of them could not be told; the rest is told in the next
/// run.
const CLOSING_MAX: Duration = Duration::from_secs(10);
/// How long works that were closed are looked for once more.
const LOOKING_MAX: Duration = Duration::from_secs(30);

impl Queues<'_> {
    /// What work an envelope belongs to; drafts are for one envelope each.
    pub(super) fn subject(&self, deliverable: &Deliverable) -> Option<Subject> {
        self.gate.platform()?;
        let alone = deliverable.connector.validate_before_import == Some(true);
        let envelope = match self.gate.reach.work_per {
            WorkPer::None => return None,
            WorkPer::Batch if !alone => None,
            _ => Some(deliverable.origin.sha256),
        };
        Some(Subject { batch: deliverable.origin.batch, connector: deliverable.connector.id.clone(), envelope })
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

    /// Opens the work of an envelope if it is not open. Where the platform opens none, its connector is blocked.
    pub(super) fn open_work(&mut self, deliverable: &Deliverable) -> Result<()> {
        let Some(subject) = self.subject(deliverable) else { return Ok(()) };
        if self.gate.blocked.obstacle(&subject.connector).is_some() {
            return Ok(());
        }
        // The draft of a work is known only to the run that made it; without it all would go in unseen.
        let wants_draft = deliverable.connector.validate_before_import == Some(true);
        if let Some(work) = self.works.get(&subject).cloned() {
            let can_go_on = if wants_draft {
                Some(work.draft.is_some())
            } else if work.from_before {
                self.is_alive(&subject.connector, &work.id)?
            } else {
                Some(true)
            };
            match can_go_on {
                None => return Ok(()),
                Some(true) => {
                    self.take_up(&subject);
                    return Ok(());
                }
                Some(false) if wants_draft => self.end(&subject, &work, None)?,
                Some(false) => self.drop_gone(&subject),
            }
        }
        self.open_new(&subject, deliverable, wants_draft)
    }

    /// A run before this one may have left it.
    fn take_up(&mut self, subject: &Subject) {
        if let Some(work) = self.works.get(subject).filter(|work| work.from_before) {
            work.flaw = Some("a run was cut off: more may be expected than comes".into());
            work.from_before = false;
        }
    }

    fn open_new(&mut self, subject: &Subject, deliverable: &Deliverable, wants_draft: bool) -> Result<()> {
        let Some(platform) = self.gate.platform() else { return Ok(()) };
        let (origin, name) = (&deliverable.origin, &deliverable.connector.name);
        let called = match subject.envelope {
            Some(_) => format!("{name} run @ {}", ctime(origin.mtime.map_or(0, |m| m.seconds()))),
            None => format!("{name}, airpouch batch {} of stream {}", origin.sequence, origin.stream.prefix()),
        };
        let opened = platform.add_work(&subject.connector, &called, subject.envelope.is_none());
        let Some(id) = self.heard(&subject.connector, opened)? else { return Ok(()) };
        self.works.add(subject, &id);
        if wants_draft && let Some(platform) = self.gate.platform() {
            let made = platform.add_draft(&id);
            let draft = self.heard(&subject.connector, made)?;
            if let Some(work) = self.works.get(subject) {
                work.draft = draft;
            }
        }
        Ok(())
    }

    /// Whether a work is there, if the platform says; if not, its connector is blocked.
    fn is_alive(&mut self, connector: &str, work: &str) -> Result<Option<bool>> {
        let Some(platform) = self.gate.platform() else { return Ok(Some(true)) };
        let asked = platform.is_alive(work);
        self.heard(connector, asked)
    }

    /// Tells the works how many messages come. One that is gone is opened anew.
    pub(super) fn expect(&mut self, numbers: &[u64]) -> Result<()> {
        let mut sums: BTreeMap<Subject, (usize, u64)> = BTreeMap::new();
        for number in numbers {
            let Some(flying) = self.flying.get(number) else { continue };
            if let Some(subject) = self.subject(&flying.deliverable) {
                sums.entry(subject).or_insert((0, *number)).0 += flying.left;
            }
        }
        sums.into_iter().try_for_each(|(subject, (messages, number))| self.expect_of_one(&subject, messages, number))
    }

    fn expect_of_one(&mut self, subject: &Subject, messages: usize, number: u64) -> Result<()> {
        for _ in 0..CLEARED_MAX {
            if self.gate.blocked.obstacle(&subject.connector).is_some() {
                return Ok(());
            }
            let Some(work) = self.works.get(subject).map(|work| work.id.clone()) else { return Err(cleared()) };
            let Some(platform) = self.gate.platform() else { return Ok(()) };
            let asked = platform.expect(&work, messages);
            let Some(told) = self.heard(&subject.connector, asked)? else { return Ok(()) };
            if told == Updated::WorkGone {
                self.open_again(subject, number)?;
                continue;
            }
            if let Some(work) = self.works.get(subject) {
                if told == Updated::PerhapsTwice {
                    work.flaw = Some("a request was cut: its expectations may be counted twice".into());
                }
                work.messages += messages;
            }
            return Ok(());
        }
        Err(cleared())
    }

    fn open_again(&mut self, subject: &Subject, number: u64) -> Result<()> {
        self.drop_gone(subject);
        let Some(flying) = self.flying.remove(&number) else { return Ok(()) };
        let opened = self.open_work(&flying.deliverable);
        self.flying.insert(number, flying);
        opened
    }

    /// The works of these envelopes that are not there any more. Where the platform does not say, the envelopes are given
    /// back.
    pub(super) fn gone_works(&mut self, numbers: &[u64]) -> Result<BTreeSet<Subject>> {
        let of = |number: &u64| self.flying.get(number).and_then(|flying| self.subject(&flying.deliverable));
        let subjects: BTreeSet<Subject> = numbers.iter().filter_map(of).collect();
        let (mut gone, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        for subject in subjects {
            let Some(work) = self.works.get(&subject).map(|work| work.id.clone()) else { continue };
            match self.is_alive(&subject.connector, &work)? {
                Some(true) => {}
                Some(false) => drop(gone.insert(subject)),
                None => drop(unknown.insert(subject)),
            }
        }
        for number in numbers {
            let subject = self.flying.get(number).and_then(|flying| self.subject(&flying.deliverable));
            if subject.is_some_and(|subject| unknown.contains(&subject))
                && let Some(flying) = self.flying.get_mut(number)
            {
                flying.is_given_back = true;
            }
        }
        Ok(gone)
    }

    /// Somebody cleared the works: what was sent under them goes again, under new ones.
    pub(super) fn send_again(&mut self, numbers: &[u64], gone: &BTreeSet<Subject>) -> Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        self.gate.observer.say("works were cleared on the platform while their messages were sent; those go again");
        gone.iter().for_each(|subject| self.drop_gone(subject));
        for number in numbers {
            let Some(mut flying) = self.flying.remove(number) else { continue };
            flying.cleared += 1;
            flying.left = messages_in(&flying.deliverable);
            let opened =
                if flying.cleared > CLEARED_MAX { Err(cleared()) } else { self.open_work(&flying.deliverable) };
            self.flying.insert(*number, flying);
            opened?;
        }
        self.expect(numbers)?;
        numbers.iter().try_for_each(|number| self.publish(*number))
    }

    pub(super) fn note_flaw(&mut self, deliverable: &Deliverable, flaw: &str) {
        if let Some(work) = self.subject(deliverable).and_then(|subject| self.works.get(&subject)) {
            work.flaw.get_or_insert_with(|| flaw.to_owned());
        }
    }

    /// The work of an envelope that has one of its own.
    fn own_work(&self, deliverable: &Deliverable) -> Option<Subject> {
        self.subject(deliverable).filter(|subject| subject.envelope.is_some())
    }

    pub(super) fn end_own_work(&mut self, deliverable: &Deliverable) -> Result<()> {
        let Some(subject) = self.own_work(deliverable) else { return Ok(()) };
        match self.works.get(&subject).cloned() {
            Some(work) => self.end(&subject, &work, None),
            None => Ok(()),
        }
    }

    pub(super) fn forget_own_work(&mut self, deliverable: &Deliverable) {
        if let Some(subject) = self.own_work(deliverable) {
            self.works.remove(&subject);
        }
    }

    /// Tells a work that it is at its end. One that the platform does not close stays open, and that is reported.
    fn end(&mut self, subject: &Subject, work: &Work, failed: Option<&str>) -> Result<()> {
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
        if let Err(words) = platform.close(&work.id, &message, in_error)? {
            let what = format!("a work stays open on the platform: {words}");
            let finding = Finding::new(Code::WorkOpen, what).at(harmless(&work.id));
            self.gate.findings.push(finding.advise("its messages came through; close it there by hand"));
        }
        Ok(())
    }

    /// A work was found to be gone: it is not ours any more.
    fn drop_gone(&mut self, subject: &Subject) {
        self.works.drop_gone(subject);
    }

    /// Closes the works of what has ended. At the end of a run, also of one that fails, those that it closed are looked
    /// for once more: whoever clears works may have come behind the last look at one of them.
    pub(super) fn close_all(&mut self, ended: Ended<'_>) -> Result<()> {
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
            let told = self.end(&subject, &work, failed).map(|()| self.works.remove(&subject));
            let is_over = told.is_err() && (is_batch || began.elapsed() > CLOSING_MAX);
            trouble = trouble.and(told);
            if is_over {
                break;
            }
        }
        if !is_batch {
            self.look_again();
        }
        trouble
    }

    /// Looks once more for the works that this run closed and on which something rests, the newest first. What cannot be
    /// asked any more is left: the run has its error already, or the platform was well a moment ago.
    fn look_again(&mut self) {
        let began = Instant::now();
        let Some(platform) = self.gate.platform() else { return };
        let mut found = Vec::new();
        while let Some(work) = self.works.next_ended() {
            match platform.is_alive(&work.id) {
                Ok(Ok(false)) => found.push(work),
                Ok(_) => {}
                Err(_) => break,
            }
            if began.elapsed() > LOOKING_MAX {
                break;
            }
        }
        found.into_iter().for_each(|work| self.works.note_gone(work));
    }
}

/// What is reported of a work that is gone.
pub fn gone_finding(work: &str, landed: u64, at_most: bool) -> Finding {
    let envelopes = count(landed, "envelope");
    let most = if at_most { "at most " } else { "" };
    let what = format!(
        "a work was cleared on the platform under which {most}{envelopes} had been sent; workers skip what still waits"
    );
    Finding::new(Code::WorkGone, what).at(harmless(work))
}
