//! What `audit` found.

use serde::Serialize;

use super::{ExitStatus, Finding, Page, Report, status_of};
use crate::text::{count, duration};

/// What was read of a journal, and what does not hold.
#[derive(Debug, Default, Serialize)]
pub struct AuditReport {
    /// How many lines it has.
    pub lines: u64,
    /// How many of them its signed head covers.
    pub signed: u64,
    /// The code of that head, as `witness` shows it; none where there is no head that holds.
    pub code: Option<String>,
    /// When the first one was written, by the clock of that machine.
    pub first: Option<String>,
    /// When the last one was written.
    pub last: Option<String>,
    /// Codes of earlier heads, each with its line.
    pub codes: Vec<FoundCode>,
    /// Where the clock of that machine was set back, the first of them.
    pub clock_set_back: Vec<SetBack>,
    /// How often it was, in all.
    pub clock_set_backs: u64,
    /// What does not hold.
    pub findings: Vec<Finding>,
}

/// A line that has an earlier time than the one before it.
#[derive(Debug, Serialize)]
pub struct SetBack {
    /// The line.
    pub line: u64,
    /// When it was written, by the clock as it was set then.
    pub at: String,
    /// By how many seconds the line before it seems to be later.
    pub seconds: u64,
}

/// The code of an earlier head, which the journal still has.
#[derive(Debug, Serialize)]
pub struct FoundCode {
    /// The code.
    pub code: String,
    /// The line that was the last one then.
    pub line: u64,
    /// When that line was written.
    pub at: Option<String>,
}

impl Report for AuditReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let (first, last) = (self.first.as_deref().unwrap_or("-"), self.last.as_deref().unwrap_or("-"));
        page.result(format!("the journal has {}, from {first} to {last}", count(self.lines, "line")));
        for FoundCode { code, line, at } in &self.codes {
            page.result(format!("{code} is line {line}, of {}", at.as_deref().unwrap_or("-")));
        }
        for SetBack { line, at, seconds } in &self.clock_set_back {
            page.result(format!("the clock was set back by {} before line {line}, to {at}", duration(*seconds)));
        }
        let more = self.clock_set_backs - self.clock_set_back.len() as u64;
        if more > 0 {
            page.result(format!("the clock was set back {} more", count(more, "time")));
        }
        page.findings(&self.findings);
        if self.findings.is_empty() {
            page.result("each line follows the one before, and the head is signed over all of them");
        }
        if let Some(code) = &self.code {
            page.result(format!("the code of the head: {code}"));
        }
    }
}
