//! What a drain remembers beside the spool: works that are open, connectors that it registered, what it was sending when
//! it was cut off, and works that were cleared after their messages had left the spool.

use std::path::Path;

use super::ForConnector;
use crate::code::Code;
use crate::destination::Destination;
use crate::error::Result;
use crate::limits::DRAIN_GONE_MAX;
use crate::report::Finding;
use crate::sink::spooled::{GoneMessages, Memory, Spooled};
use crate::text::{count, harmless};
use crate::works::{self, Remembers};

/// A spool with what is remembered beside it.
pub struct Remembered {
    /// The spool.
    pub spool: Spooled,
    memory: Memory,
    /// Messages that drains before this one were sending when they were cut off: kept until this one has come to its end.
    unsaid: usize,
    /// What is to be reported.
    pub findings: Vec<Finding>,
}

impl Remembered {
    /// What the last drain left to remember, as far as it went to the same destination. What was found to be gone is
    /// reported at each drain, wherever that goes, until a person says that it is settled.
    ///
    /// # Errors
    /// The spool is not there, or somebody else drains it; the system refused.
    pub fn open(path: &Path, to: &Destination, accept_gone: bool) -> Result<Self> {
        let spool = Spooled::open(path)?;
        let (mut memory, mut findings) = (spool.memory()?, Vec::new());
        let destination = to.to_string();
        if memory.destination != destination {
            findings.extend(works_left(&memory));
            memory = Memory { destination, gone: memory.gone, ..Memory::default() };
        }
        if accept_gone && !memory.gone.is_empty() {
            memory.gone.clear();
            spool.remember(&memory)?;
        }
        findings.extend(memory.gone.iter().map(gone_finding));
        if memory.sending > 0 {
            // What was taken out is not to come back once that is forgotten.
            spool.make_durable()?;
            let messages = count(memory.sending as u64, "message");
            let what = format!("the last drain was cut off; {messages} may come a second time");
            findings.push(Finding::new(Code::DeliveredAgain, what));
        }
        Ok(Self { unsaid: memory.sending, spool, memory, findings })
    }

    /// What is remembered.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Works that are open, with what rests on them: of messages that left the spool it is not known, so one, if the drain
    /// that was cut off had begun to send.
    pub fn works(&self) -> Vec<(ForConnector, String, usize)> {
        let resting = self.unsaid.min(1);
        let works = self.memory.works.iter();
        works.map(|(connector, id)| (ForConnector(connector.clone()), id.clone(), resting)).collect()
    }

    /// So many messages are about to be sent: a drain that is cut off says that they may come again.
    ///
    /// # Errors
    /// The system refused.
    pub fn sending(&mut self, messages: usize) -> Result<()> {
        self.memory.sending = self.unsaid + messages;
        self.spool.remember(&self.memory)
    }

    /// The drain has ended, and says what was left to say. What it was sending itself is said by the next one, if it failed.
    ///
    /// # Errors
    /// The system refused.
    pub fn end(&mut self, has_failed: bool) -> Result<()> {
        let sending = if has_failed { self.memory.sending - self.unsaid } else { 0 };
        if self.memory.sending == sending {
            return Ok(());
        }
        self.memory.sending = sending;
        self.spool.remember(&self.memory)
    }

    /// A connector is about to be registered, or the platform refused that.
    ///
    /// # Errors
    /// The system refused.
    pub fn registered(&mut self, id: &str, is_ours: bool) -> Result<()> {
        self.memory.registered.retain(|known| known != id);
        if is_ours {
            self.memory.registered.push(id.to_owned());
        }
        self.memory.registered.sort_unstable();
        self.spool.remember(&self.memory)
    }

    /// People are told that these connectors exist over there.
    ///
    /// # Errors
    /// The system refused.
    pub fn shown(&mut self, connectors: Vec<String>) -> Result<()> {
        if connectors.is_empty() {
            return Ok(());
        }
        self.memory.shown.extend(connectors);
        self.spool.remember(&self.memory)
    }
}

/// Each is written down at once: there is nothing else that has to be known before.
impl Remembers<ForConnector> for Remembered {
    fn opened(&mut self, subject: &ForConnector, id: &str) -> Result<()> {
        self.memory.works.insert(subject.0.clone(), id.to_owned());
        self.spool.remember(&self.memory)
    }

    fn closed(&mut self, subject: &ForConnector, _id: &str) -> Result<()> {
        self.memory.works.remove(&subject.0);
        self.spool.remember(&self.memory)
    }

    /// One for each connector and destination is enough: all that was lost is settled by one import.
    fn gone(&mut self, work: &works::Gone<ForConnector>) -> Result<()> {
        // Another one may be open by now.
        if self.memory.works.get(&work.subject.0) == Some(&work.id) {
            self.memory.works.remove(&work.subject.0);
        }
        let gone = GoneMessages { destination: self.memory.destination.clone(), connector: work.subject.0.clone() };
        if work.resting > 0 && !self.memory.gone.contains(&gone) {
            self.findings.push(gone_finding(&gone));
            if self.memory.gone.len() < DRAIN_GONE_MAX {
                self.memory.gone.push(gone);
            }
        }
        self.spool.remember(&self.memory)
    }
}

/// Works that a drain left open at another destination.
fn works_left(memory: &Memory) -> Option<Finding> {
    let works: Vec<&str> = memory.works.values().map(String::as_str).collect();
    let what =
        format!("a drain to {} was cut off, and left works open there: {}", memory.destination, works.join(", "));
    let advice = "clear them there by hand, if nothing waits in their queues any more";
    (!works.is_empty()).then(|| Finding::new(Code::WorksLeft, harmless(&what)).advise(advice))
}

fn gone_finding(gone: &GoneMessages) -> Finding {
    let what = "a work was cleared on the platform after its messages were sent; workers skip those that still wait";
    let place = format!("connector {} at {}", harmless(&gone.connector), harmless(&gone.destination));
    Finding::new(Code::WorkGone, what).at(place).advise(
        "fill the spool again from the inbox: `airpouch import --redeliver`, then `airpouch drain --accept-gone`; or accept the loss with the second command alone",
    )
}
