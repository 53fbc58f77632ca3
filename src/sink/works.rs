//! Works that are open on the platform, each for what it is.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A work that is open on the platform: the ledger keeps it until it is closed, so that a run that was cut off leaves
/// none behind for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWork {
    /// Its id.
    pub id: String,
    /// The ledger's number of the batch that it is for.
    pub batch: i64,
    /// The connector that it is for.
    pub connector: String,
    /// The envelope, where it is for one only.
    pub envelope: Option<Digest>,
    /// Envelopes that were delivered of its batch, or that it is for: so many rest on it at most.
    pub delivered: usize,
}

/// What a work is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The ledger's number of the batch.
    pub batch: i64,
    /// The connector's id.
    pub connector: String,
    /// The envelope, where it is for one only.
    pub envelope: Option<Digest>,
}

/// A work in use.
#[derive(Debug, Clone)]
pub struct Work {
    /// Its id.
    pub id: String,
    /// The draft that it goes into.
    pub draft: Option<String>,
    /// Whether a run before this one opened it, and nobody has looked yet whether it is still there.
    pub from_before: bool,
    /// Messages that were expected of it in this run.
    pub messages: usize,
    /// Envelopes whose messages are all in the queue and rest on it; of runs before this one, at most.
    pub landed: usize,
    /// Why it cannot be complete, if so.
    pub flaw: Option<String>,
}

/// A work that is gone, or may be, with what was recorded as delivered under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneWork {
    /// Its id.
    pub id: String,
    /// The ledger's number of the batch that it was for.
    pub batch: i64,
    /// Envelopes that rest on it.
    pub envelopes: usize,
    /// Whether it may be fewer.
    pub at_most: bool,
}

/// Works that were closed and are looked for once more at the end of the run. Of more of them the oldest are left out:
/// each was looked for when it was closed.
const ENDED_MAX: usize = 50_000;

/// The works that are open.
#[derive(Debug, Default)]
pub struct Works {
    open: BTreeMap<Subject, Work>,
    opened: Vec<OpenWork>,
    closed: Vec<String>,
    /// Those that were closed in this run and on which something rests.
    ended: VecDeque<GoneWork>,
    /// Those that are gone.
    gone: Vec<GoneWork>,
}

impl Works {
    /// Those that a run before this one left open.
    pub fn left_open(works: Vec<OpenWork>) -> Self {
        let known = |work: OpenWork| {
            let subject = Subject { batch: work.batch, connector: work.connector, envelope: work.envelope };
            let landed = work.delivered;
            (subject, Work { id: work.id, draft: None, from_before: true, messages: 0, landed, flaw: None })
        };
        Self { open: works.into_iter().map(known).collect(), ..Self::default() }
    }

    /// The work for this.
    pub fn get(&mut self, subject: &Subject) -> Option<&mut Work> {
        self.open.get_mut(subject)
    }

    /// Notes a work that was opened now; another one for the same is closed, or gone.
    pub fn add(&mut self, subject: &Subject, id: &str) {
        if let Some(before) = self.open.get(subject) {
            self.closed.push(before.id.clone());
        }
        let work = Work { id: id.to_owned(), draft: None, from_before: false, messages: 0, landed: 0, flaw: None };
        self.open.insert(subject.clone(), work);
        let Subject { batch, connector, envelope } = subject.clone();
        self.opened.push(OpenWork { id: id.to_owned(), batch, connector, envelope, delivered: 0 });
    }

    /// Those that are open.
    pub fn list(&self) -> Vec<(Subject, Work)> {
        self.open.iter().map(|(subject, work)| (subject.clone(), work.clone())).collect()
    }

    /// It is closed. It may be gone later: see [`Self::next_ended`].
    pub fn remove(&mut self, subject: &Subject) {
        if let Some(ended) = self.take(subject) {
            if self.ended.len() == ENDED_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back(ended);
        }
    }

    /// It is gone.
    pub fn drop_gone(&mut self, subject: &Subject) {
        let gone = self.take(subject);
        self.gone.extend(gone);
    }

    /// Takes a work out; what is returned has something resting on it.
    fn take(&mut self, subject: &Subject) -> Option<GoneWork> {
        let work = self.open.remove(subject)?;
        self.closed.push(work.id.clone());
        let at_most = work.from_before || work.flaw.is_some();
        let gone = GoneWork { id: work.id, batch: subject.batch, envelopes: work.landed, at_most };
        (work.landed > 0).then_some(gone)
    }

    /// The newest of the works that were closed in this run; it is asked about once.
    pub fn next_ended(&mut self) -> Option<GoneWork> {
        self.ended.pop_back()
    }

    /// One that was closed is gone.
    pub fn note_gone(&mut self, work: GoneWork) {
        self.gone.push(work);
    }

    /// Those that are gone since this was asked for last.
    pub fn gone(&mut self) -> Vec<GoneWork> {
        std::mem::take(&mut self.gone)
    }

    /// Whether messages that were sent under a work rest on the one that is there for the same now. They may bear one that
    /// was found to be gone while they were on their way.
    pub fn rests(&self, subject: &Subject, sent_under: Option<&str>) -> bool {
        self.open.get(subject).map(|work| work.id.as_str()) == sent_under
    }

    /// Those that were opened since this was asked for last.
    pub fn opened(&mut self) -> Vec<OpenWork> {
        std::mem::take(&mut self.opened)
    }

    /// The ids of those that were closed since this was asked for last.
    pub fn closed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(connector: &str) -> Subject {
        Subject { batch: 1, connector: connector.to_owned(), envelope: None }
    }

    #[test]
    fn message_sent_under_a_replaced_work_does_not_rest_on_the_new_one() {
        let mut works = Works::default();
        works.add(&subject("a"), "first");
        assert!(works.rests(&subject("a"), Some("first")));
        works.add(&subject("a"), "second");
        assert!(!works.rests(&subject("a"), Some("first")) && works.rests(&subject("a"), Some("second")));
        works.drop_gone(&subject("a"));
        assert!(!works.rests(&subject("a"), Some("second")) && works.rests(&subject("a"), None));
        assert_eq!(works.closed(), ["first", "second"]);
    }

    #[test]
    fn closed_work_is_asked_about_again_only_if_something_rests_on_it() {
        let mut works = Works::default();
        for (connector, landed) in [("a", 2), ("b", 0), ("c", 1)] {
            works.add(&subject(connector), connector);
            works.get(&subject(connector)).unwrap().landed = landed;
        }
        works.drop_gone(&subject("c"));
        works.remove(&subject("b"));
        works.remove(&subject("a"));
        let ended = works.next_ended().unwrap();
        assert_eq!((ended.id.as_str(), ended.envelopes), ("a", 2));
        assert!(works.next_ended().is_none());
        works.note_gone(ended);
        assert_eq!(works.gone().iter().map(|work| work.id.as_str()).collect::<Vec<_>>(), ["c", "a"]);
        assert!(works.gone().is_empty());
    }
}
