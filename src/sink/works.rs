//! Works that are open on the platform, each for what it is.

use std::collections::BTreeMap;

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

/// The works that are open.
#[derive(Debug, Default)]
pub struct Works {
    open: BTreeMap<Subject, Work>,
    opened: Vec<OpenWork>,
    closed: Vec<String>,
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

    /// It is closed, or gone.
    pub fn remove(&mut self, subject: &Subject) {
        if let Some(work) = self.open.remove(subject) {
            self.closed.push(work.id);
        }
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
