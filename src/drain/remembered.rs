//! The state of a drain, kept beside the spool: open works, connectors that it registered, how many messages it was
//! sending when it was interrupted, and works that were cleared after their messages had left the spool.

use std::path::Path;

use super::{DrainOptions, ForConnector};
use crate::code::Code;
use crate::error::Result;
use crate::limits::DRAIN_GONE_MAX;
use crate::report::{Finding, Observer};
use crate::sink::spooled::{GoneMessages, Memory, Spooled};
use crate::text::{count, harmless};
use crate::works::{EndedWork, Remembers};

/// A spool with its state.
pub struct Remembered {
    /// The spool.
    pub spool: Spooled,
    memory: Memory,
    /// How many messages earlier drains were sending when they were interrupted: kept until this drain ends.
    unreported: usize,
    /// What is to be reported.
    pub findings: Vec<Finding>,
}

impl Remembered {
    /// Reads the state of the last drain, as far as it had the same destination. Each drain, to any destination,
    /// reports works that were found to be gone, until a person settles them.
    ///
    /// # Errors
    /// The spool does not exist, or another drain is running; the system refused.
    pub fn open(path: &Path, options: &DrainOptions, observer: &dyn Observer) -> Result<Self> {
        let DrainOptions { to, accept_gone, wait, .. } = options;
        let spool = Spooled::open(path, *wait, observer)?;
        let (mut memory, mut findings) = (spool.memory()?, Vec::new());
        let destination = to.to_string();
        if memory.destination != destination {
            findings.extend(works_left(&memory));
            memory = Memory { destination, gone: memory.gone, ..Memory::default() };
        }
        if *accept_gone && !memory.gone.is_empty() {
            memory.gone.clear();
            spool.remember(&memory)?;
        }
        findings.extend(memory.gone.iter().map(gone_finding));
        if memory.sending > 0 {
            // After a power failure removed messages must not reappear once this state is gone.
            spool.make_durable()?;
            let messages = count(memory.sending as u64, "message");
            let what = format!("the last drain was cut off; {messages} may come a second time");
            findings.push(Finding::new(Code::DeliveredAgain, what));
        }
        Ok(Self { unreported: memory.sending, spool, memory, findings })
    }

    /// The state.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Open works, with how many messages were sent under them. That number is unknown after an interrupted drain, so
    /// it is one if that drain had begun to send.
    pub fn works(&self) -> Vec<(ForConnector, String, usize)> {
        let delivered = self.unreported.min(1);
        let works = self.memory.works.iter();
        works.map(|(connector, id)| (ForConnector(connector.clone()), id.clone(), delivered)).collect()
    }

    /// Notes that this many messages are about to be sent: after an interruption the next drain reports that they may
    /// be duplicates.
    ///
    /// # Errors
    /// The system refused.
    pub fn sending(&mut self, messages: usize) -> Result<()> {
        self.memory.sending = self.unreported + messages;
        self.spool.remember(&self.memory)
    }

    /// The drain has ended and has reported the duplicates of earlier drains. If it failed, the next one reports its
    /// own.
    ///
    /// # Errors
    /// The system refused.
    pub fn end(&mut self, has_failed: bool) -> Result<()> {
        let sending = if has_failed { self.memory.sending - self.unreported } else { 0 };
        if self.memory.sending == sending {
            return Ok(());
        }
        self.memory.sending = sending;
        self.spool.remember(&self.memory)
    }

    /// Notes that a connector is about to be registered, or that the platform refused it.
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

    /// Notes that these connectors were reported as existing there.
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

/// Each is written at once; nothing else has to be written before it.
impl Remembers<ForConnector> for Remembered {
    fn opened(&mut self, subject: &ForConnector, id: &str) -> Result<()> {
        self.memory.works.insert(subject.0.clone(), id.to_owned());
        self.spool.remember(&self.memory)
    }

    fn closed(&mut self, ended: &EndedWork<ForConnector>) -> Result<()> {
        self.memory.works.remove(&ended.subject.0);
        self.spool.remember(&self.memory)
    }

    /// One for each connector and destination is enough: a single import settles everything that was lost.
    fn gone(&mut self, work: &EndedWork<ForConnector>) -> Result<()> {
        // Another work may be open by now.
        if self.memory.works.get(&work.subject.0) == Some(&work.id) {
            self.memory.works.remove(&work.subject.0);
        }
        let gone = GoneMessages { destination: self.memory.destination.clone(), connector: work.subject.0.clone() };
        if work.delivered > 0 && !self.memory.gone.contains(&gone) {
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
