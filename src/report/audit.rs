//! What `audit` found.

use serde::Serialize;

use super::{ExitStatus, Finding, Page, Report, status_of};
use crate::text::count;

/// What was read of a journal, and what does not hold.
#[derive(Debug, Default, Serialize)]
pub struct AuditReport {
    /// How many lines it has.
    pub lines: u64,
    /// How many of them its signed head covers.
    pub signed: u64,
    /// When the first one was written, by the clock of that machine.
    pub first: Option<String>,
    /// When the last one was written.
    pub last: Option<String>,
    /// What does not hold.
    pub findings: Vec<Finding>,
}

impl Report for AuditReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let (first, last) = (self.first.as_deref().unwrap_or("-"), self.last.as_deref().unwrap_or("-"));
        page.result(format!("the journal has {}, from {first} to {last}", count(self.lines, "line")));
        page.findings(&self.findings);
        if self.findings.is_empty() {
            page.result("each line follows the one before, and the head is signed over all of them");
        }
    }
}
