//! What `drain` did.

use serde::Serialize;

use super::{ExitStatus, Finding, Page, Report, status_of};
use crate::text::{count, harmless};

/// What `drain` did.
#[derive(Debug, Default, Serialize)]
pub struct DrainReport {
    /// What went to the queues, by connector.
    pub drained: Vec<Drained>,
    /// Messages that the broker does not take, put aside in the spool.
    pub refused: u64,
    /// Messages that stay in the spool, for their connectors are not taken.
    pub left: u64,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Where it sends, safe to print.
    pub destination: String,
}

/// What went to one connector's queue.
#[derive(Debug, Clone, Serialize)]
pub struct Drained {
    /// The connector's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Messages.
    pub messages: u64,
}

/// Connectors that are named; the rest is counted.
const CONNECTORS: usize = 12;

impl Report for DrainReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        for drained in self.drained.iter().take(CONNECTORS) {
            let messages = count(drained.messages, "message");
            page.result(format!("drained {messages} of {} to {}", harmless(&drained.name), self.destination));
        }
        let rest = self.drained.get(CONNECTORS..).unwrap_or_default();
        if !rest.is_empty() {
            let messages = count(rest.iter().map(|drained| drained.messages).sum(), "message");
            page.result(format!("drained {messages} of {}", count(rest.len() as u64, "more connector")));
        }
        if self.left > 0 {
            let stay = if self.left == 1 { "stays" } else { "stay" };
            page.result(format!("{} {stay} in the spool", count(self.left, "message")));
        }
        page.findings(&self.findings);
        if self.drained.is_empty() && self.findings.is_empty() {
            page.idle("nothing to do");
        }
    }
}
