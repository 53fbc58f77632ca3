//! Works on the platform, from their opening to their end: those of an import, and those of a drain.
//!
//! A work is opened before any message has its id, and gets the number of messages before they are sent. After the last
//! of them airpouch asks once more whether the work exists: OpenCTI's workers silently skip messages whose work is
//! gone, so whoever clears works on the platform also discards the messages that wait under them. It is closed at the
//! end, in error if it expects more messages than were sent: otherwise the platform would show it as running for ever.

mod followed;
mod of_batch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::code::Code;
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::platform::Updated;
use crate::report::Finding;
use crate::text::harmless;

pub use followed::{AboutWork, FIRST_ERRORS, FollowState, FollowedWork, in_words};
pub use of_batch::{ForBatch, GoneWork, OpenWork, SentWork, gone_finding};

/// How often a new work is opened for one envelope or group, if somebody clears one after the other.
pub const CLEARED_MAX: u32 = 3;
/// How long to continue to close works after one could not be closed; the next run closes the rest.
const CLOSING_MAX: Duration = Duration::from_secs(10);
/// How long to ask once more for works that were closed.
const LOOKING_MAX: Duration = Duration::from_secs(30);
/// How many closed works are asked for once more at the end of the run. If there are more, the oldest are left out:
/// each was asked for when it was closed.
const ENDED_MAX: usize = 50_000;

/// What one work is for.
pub trait WorkSubject: Clone + Ord {
    /// The connector whose messages are sent under it.
    fn connector(&self) -> &str;

    /// Whether later messages are sent under it too.
    fn is_shared(&self) -> bool;

    /// The message that the platform shows when it has ended without error.
    fn success(&self, work: &Work) -> String;
}

/// Remembers works from one run to the next, so that an interrupted run leaves none open for ever: the ledger or the
/// spool.
pub trait Remembers<S> {
    /// A work was opened. The next one is opened only after this one is remembered.
    ///
    /// # Errors
    /// It cannot be written.
    fn opened(&mut self, subject: &S, id: &str) -> Result<()>;

    /// A work was closed: the next run need not close it.
    ///
    /// # Errors
    /// It cannot be written.
    fn closed(&mut self, ended: &EndedWork<S>) -> Result<()>;

    /// A work is gone, and workers skip the messages that were sent under it.
    ///
    /// # Errors
    /// It cannot be written.
    fn gone(&mut self, gone: &EndedWork<S>) -> Result<()>;
}

/// A work that is to be opened, unless it is open.
pub struct Wanted<'a, S> {
    /// What it is for.
    pub subject: &'a S,
    /// Its title on the platform.
    pub title: &'a dyn Fn() -> String,
    /// Whether its content is sent into a draft, which a person validates.
    pub draft: bool,
}

/// A work that is open.
#[derive(Debug, Clone)]
pub struct Work {
    /// Its id.
    pub id: String,
    /// Its draft.
    pub draft: Option<String>,
    /// Messages that were expected of it in this run.
    pub messages: usize,
    /// How many envelopes or messages were delivered under it; for earlier runs, at most.
    pub delivered: usize,
    /// Whether an earlier run opened it, and this run has not asked yet whether it still exists.
    is_from_earlier_run: bool,
    /// Why it cannot be complete, if so.
    flaw: Option<String>,
}

impl Work {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), draft: None, messages: 0, delivered: 0, is_from_earlier_run: false, flaw: None }
    }
}

/// A work that was closed, or that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedWork<S> {
    /// What it was for.
    pub subject: S,
    /// Its id.
    pub id: String,
    /// What was delivered under it.
    pub delivered: usize,
    /// Whether it may be fewer.
    pub at_most: bool,
}

/// What has ended, so that its works can be closed.
#[derive(Debug, Clone, Copy)]
pub enum Ended<'a> {
    /// A batch, or the envelopes that waited. Works that an earlier run left open may belong to the next batch.
    Batch,
    /// The run.
    Run,
    /// The run, because it failed, and why.
    Failed(&'a str),
}

/// The answer to a question about works.
pub struct Looked<S> {
    /// These are gone.
    pub gone: BTreeSet<S>,
    /// The platform does not answer for these.
    pub unknown: BTreeSet<S>,
}

/// The works that are open.
#[derive(Debug)]
pub struct Works<S> {
    open: BTreeMap<S, Work>,
    /// Those that were closed in this run and under which something was delivered.
    ended: VecDeque<EndedWork<S>>,
}

impl<S: WorkSubject> Works<S> {
    /// Works that an earlier run left open: their subjects, their ids, and how much was delivered under them.
    pub fn left_open(works: impl IntoIterator<Item = (S, String, usize)>) -> Self {
        let known = |(subject, id, delivered): (S, String, usize)| {
            (subject, Work { delivered, is_from_earlier_run: true, ..Work::new(&id) })
        };
        Self { open: works.into_iter().map(known).collect(), ended: VecDeque::new() }
    }

    /// The work for this, if it is open.
    pub fn get(&self, subject: &S) -> Option<&Work> {
        self.open.get(subject)
    }

    /// Whether messages were sent under the work that is open for their subject now. They may have the id of one that
    /// was found to be gone while they were in flight.
    pub fn is_under_current(&self, subject: &S, sent_under: Option<&str>) -> bool {
        self.open.get(subject).map(|work| work.id.as_str()) == sent_under
    }

    /// Something was delivered under it.
    pub fn delivered(&mut self, subject: &S) {
        if let Some(work) = self.open.get_mut(subject) {
            work.delivered += 1;
        }
    }

    /// It cannot be complete; the first reason counts.
    pub fn note_flaw(&mut self, subject: &S, flaw: &str) {
        if let Some(work) = self.open.get_mut(subject) {
            work.flaw.get_or_insert_with(|| flaw.to_owned());
        }
    }

    /// Opens a work if it is not open. If the platform opens none, this blocks the connector.
    ///
    /// # Errors
    /// The platform is in trouble; it cannot be remembered.
    pub fn open(&mut self, wanted: &Wanted<'_, S>, gate: &mut Gate<'_>, memory: &mut dyn Remembers<S>) -> Result<()> {
        let Wanted { subject, draft: wants_draft, .. } = *wanted;
        if gate.blocked.obstacle(subject.connector()).is_some() {
            return Ok(());
        }
        if let Some(work) = self.open.get(subject) {
            let can_go_on = match (wants_draft, work.is_from_earlier_run) {
                // Only the run that created a draft knows its id; without the draft everything would be ingested
                // without validation.
                (true, _) => Some(work.draft.is_some()),
                (false, true) => gate.is_work_alive(subject.connector(), &work.id)?,
                (false, false) => Some(true),
            };
            match can_go_on {
                None => return Ok(()),
                Some(true) => {
                    self.note_earlier_run(subject);
                    return Ok(());
                }
                Some(false) if wants_draft => {
                    self.end(subject, None, gate)?;
                    self.forget(subject, memory)?;
                }
                Some(false) => self.drop_gone(subject, memory)?,
            }
        }
        self.open_new(wanted, gate, memory)
    }

    /// An earlier run may have left it open, and have announced more messages than it sent.
    fn note_earlier_run(&mut self, subject: &S) {
        if let Some(work) = self.open.get_mut(subject).filter(|work| work.is_from_earlier_run) {
            work.flaw = Some("a run was interrupted: it may have announced more messages than it sent".into());
            work.is_from_earlier_run = false;
        }
    }

    fn open_new(&mut self, wanted: &Wanted<'_, S>, gate: &mut Gate<'_>, memory: &mut dyn Remembers<S>) -> Result<()> {
        let Wanted { subject, title, draft } = *wanted;
        let Some(platform) = gate.platform() else { return Ok(()) };
        let opened = platform.add_work(subject.connector(), &title(), subject.is_shared());
        let Some(id) = gate.answer_about(subject.connector(), opened)? else { return Ok(()) };
        self.open.insert(subject.clone(), Work::new(&id));
        memory.opened(subject, &id)?;
        if draft && let Some(platform) = gate.platform() {
            let made = platform.add_draft(&id);
            let made = gate.answer_about(subject.connector(), made)?;
            self.open.get_mut(subject).into_iter().for_each(|work| work.draft.clone_from(&made));
        }
        Ok(())
    }

    /// Announces to an open work how many messages follow. Opens a new one if it is gone.
    ///
    /// # Errors
    /// The platform is in trouble, or works are cleared as fast as they are opened; one cannot be remembered.
    pub fn expect(
        &mut self,
        wanted: &Wanted<'_, S>,
        messages: usize,
        gate: &mut Gate<'_>,
        memory: &mut dyn Remembers<S>,
    ) -> Result<()> {
        let subject = wanted.subject;
        for _ in 0..CLEARED_MAX {
            if gate.blocked.obstacle(subject.connector()).is_some() {
                return Ok(());
            }
            let Some(work) = self.open.get_mut(subject) else { return Err(cleared()) };
            let Some(platform) = gate.platform() else { return Ok(()) };
            let asked = platform.expect(&work.id, messages);
            match gate.answer_about(subject.connector(), asked)? {
                None => return Ok(()),
                Some(Updated::WorkGone) => {
                    self.drop_gone(subject, memory)?;
                    self.open(wanted, gate, memory)?;
                }
                Some(updated) => {
                    if updated == Updated::PerhapsTwice {
                        work.flaw = Some("a request was cut: its expectations may be counted twice".into());
                    }
                    work.messages += messages;
                    return Ok(());
                }
            }
        }
        Err(cleared())
    }

    /// Asks whether works still exist under which messages were confirmed.
    ///
    /// # Errors
    /// The platform is in trouble.
    pub fn look_for(&self, subjects: &BTreeSet<S>, gate: &mut Gate<'_>) -> Result<Looked<S>> {
        let mut looked = Looked { gone: BTreeSet::new(), unknown: BTreeSet::new() };
        for subject in subjects {
            let Some(work) = self.open.get(subject) else { continue };
            match gate.is_work_alive(subject.connector(), &work.id)? {
                Some(true) => {}
                Some(false) => drop(looked.gone.insert(subject.clone())),
                None => drop(looked.unknown.insert(subject.clone())),
            }
        }
        Ok(looked)
    }

    /// A work was found to be gone: removes it from the open works.
    ///
    /// # Errors
    /// It cannot be remembered.
    pub fn drop_gone(&mut self, subject: &S, memory: &mut dyn Remembers<S>) -> Result<()> {
        self.take(subject).map_or(Ok(()), |gone| memory.gone(&gone))
    }

    /// Reports to the platform that a work has ended, in error if the run has failed or the work has a flaw. A work
    /// that the platform does not close stays open, and this is reported.
    ///
    /// # Errors
    /// The platform is in trouble.
    pub fn end(&self, subject: &S, failed: Option<&str>, gate: &mut Gate<'_>) -> Result<()> {
        let (Some(work), Some(platform)) = (self.open.get(subject), gate.platform()) else { return Ok(()) };
        let (message, in_error) = match (failed, &work.flaw) {
            (Some(why), _) => {
                (format!("airpouch stopped: {why}. What was not confirmed is sent again in another work"), true)
            }
            (None, Some(flaw)) => (format!("airpouch: {flaw}"), true),
            (None, None) if work.is_from_earlier_run => {
                ("airpouch was interrupted; what was not confirmed was sent again in another work".to_owned(), true)
            }
            (None, None) => (subject.success(work), false),
        };
        if let Err(words) = platform.close(&work.id, &message, in_error)? {
            let what = format!("a work stays open on the platform: {words}");
            let finding = Finding::new(Code::WorkOpen, what).at(harmless(&work.id));
            gate.findings.push(finding.advise("its messages were delivered; close it there by hand"));
        }
        Ok(())
    }

    /// A work has ended. Somebody may still clear it while its messages wait: [`Self::close_all`] asks for it once
    /// more.
    ///
    /// # Errors
    /// It cannot be remembered.
    pub fn forget(&mut self, subject: &S, memory: &mut dyn Remembers<S>) -> Result<()> {
        let Some(ended) = self.take(subject) else { return Ok(()) };
        memory.closed(&ended)?;
        if ended.delivered > 0 {
            if self.ended.len() == ENDED_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back(ended);
        }
        Ok(())
    }

    fn take(&mut self, subject: &S) -> Option<EndedWork<S>> {
        let work = self.open.remove(subject)?;
        let at_most = work.is_from_earlier_run || work.flaw.is_some();
        Some(EndedWork { subject: subject.clone(), id: work.id, delivered: work.delivered, at_most })
    }

    /// Closes the works of a batch or run that has ended. At the end of a run, also of one that fails, it asks once
    /// more for those that it closed: somebody may have cleared one after it was closed.
    ///
    /// # Errors
    /// A work cannot be closed, or that cannot be remembered.
    pub fn close_all(&mut self, ended: Ended<'_>, gate: &mut Gate<'_>, memory: &mut dyn Remembers<S>) -> Result<()> {
        let failed = if let Ended::Failed(why) = ended { Some(why) } else { None };
        if failed.is_some() {
            gate.stop_waiting();
        }
        let is_batch = matches!(ended, Ended::Batch);
        let of_it: Vec<S> = self
            .open
            .iter()
            .filter(|(_, work)| !is_batch || !work.is_from_earlier_run)
            .map(|(s, _)| s.clone())
            .collect();
        let (began, mut trouble) = (Instant::now(), Ok(()));
        for subject in of_it {
            // A work that cannot be closed stops no other; a platform that does not answer stops all.
            let closed = self.end(&subject, failed, gate).and_then(|()| self.forget(&subject, memory));
            let is_over = closed.is_err() && (is_batch || began.elapsed() > CLOSING_MAX);
            trouble = trouble.and(closed);
            if is_over {
                break;
            }
        }
        if is_batch { trouble } else { trouble.and(self.check_once_more(gate, memory)) }
    }

    /// Asks once more for the works that this run closed and under which something was delivered, the newest first. If
    /// the platform does not answer, the rest is left: the run has its error already, or the platform answered a moment
    /// ago.
    fn check_once_more(&mut self, gate: &Gate<'_>, memory: &mut dyn Remembers<S>) -> Result<()> {
        let began = Instant::now();
        let Some(platform) = gate.platform() else { return Ok(()) };
        while let Some(work) = self.ended.pop_back() {
            match platform.is_alive(&work.id) {
                Ok(Ok(false)) => memory.gone(&work)?,
                Ok(_) => {}
                Err(_) => break,
            }
            if began.elapsed() > LOOKING_MAX {
                break;
            }
        }
        Ok(())
    }
}

/// Works are cleared as fast as they are opened.
pub fn cleared() -> Error {
    Error::failed("works are cleared on the platform as fast as they are opened")
        .advise("leave them alone meanwhile, or say --works none; then run this again")
}

/// The line that is printed when messages are sent again.
pub const SENT_AGAIN: &str =
    "works were cleared on the platform while their messages were sent; airpouch sends them again";

#[cfg(test)]
mod tests {
    use super::*;

    /// Remembers its calls as text.
    #[derive(Default)]
    struct Memory(Vec<String>);

    impl Remembers<ForBatch> for Memory {
        fn opened(&mut self, subject: &ForBatch, id: &str) -> Result<()> {
            self.0.push(format!("opened {id} for {}", subject.connector));
            Ok(())
        }

        fn closed(&mut self, ended: &EndedWork<ForBatch>) -> Result<()> {
            self.0.push(format!("closed {} with {}", ended.id, ended.delivered));
            Ok(())
        }

        fn gone(&mut self, gone: &EndedWork<ForBatch>) -> Result<()> {
            self.0.push(format!("gone {} with {}", gone.id, gone.delivered));
            Ok(())
        }
    }

    fn subject(connector: &str) -> ForBatch {
        ForBatch { batch: 1, connector: connector.to_owned(), envelope: None }
    }

    fn works(open: &[(&str, usize)]) -> Works<ForBatch> {
        let mut works = Works::left_open([]);
        for (id, delivered) in open {
            works.open.insert(subject(id), Work { delivered: *delivered, ..Work::new(id) });
        }
        works
    }

    #[test]
    fn message_sent_under_a_replaced_work_does_not_count_for_the_new_one() {
        let (mut works, mut memory) = (works(&[("a", 0)]), Memory::default());
        assert!(works.is_under_current(&subject("a"), Some("a")));
        works.drop_gone(&subject("a"), &mut memory).unwrap();
        assert!(!works.is_under_current(&subject("a"), Some("a")) && works.is_under_current(&subject("a"), None));
        works.open.insert(subject("a"), Work::new("second"));
        assert!(
            !works.is_under_current(&subject("a"), Some("a")) && works.is_under_current(&subject("a"), Some("second"))
        );
        assert_eq!(memory.0, ["gone a with 0"]);
    }

    #[test]
    fn closed_work_is_asked_for_again_only_if_messages_were_sent_under_it() {
        let (mut works, mut memory) = (works(&[("a", 2), ("b", 0), ("c", 1)]), Memory::default());
        works.drop_gone(&subject("c"), &mut memory).unwrap();
        works.forget(&subject("b"), &mut memory).unwrap();
        works.forget(&subject("a"), &mut memory).unwrap();
        assert_eq!(memory.0, ["gone c with 1", "closed b with 0", "closed a with 2"]);
        let again: Vec<_> = works.ended.iter().map(|gone| (gone.id.as_str(), gone.delivered, gone.at_most)).collect();
        assert_eq!(again, [("a", 2, false)]);
    }

    #[test]
    fn work_left_by_an_earlier_run_has_an_unknown_number_of_messages() {
        let mut works = Works::left_open([(subject("a"), "a".to_owned(), 3)]);
        works.note_earlier_run(&subject("a"));
        let gone = works.take(&subject("a")).unwrap();
        assert_eq!((gone.delivered, gone.at_most), (3, true));
    }
}
