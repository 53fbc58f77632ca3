//! What a person reads of a report: lines in their order, for whoever prints them.

use super::Finding;

/// One thing to print.
#[derive(Debug)]
pub enum Line<'a> {
    /// A line of result: for standard output.
    Result(String),
    /// A remark beside the result.
    Note(String),
    /// A remark for a person who looks on: that there was nothing to do. Nobody wants a mail about that.
    Idle(String),
    /// What was found, in summaries or one by one.
    Findings(&'a [Finding]),
}

/// The lines of a report. Commands in them are `airpouch VERB`; whoever prints them puts in the options of this run.
#[derive(Debug, Default)]
pub struct Page<'a>(Vec<Line<'a>>);

impl<'a> Page<'a> {
    /// Adds a line of result.
    pub fn result(&mut self, line: impl Into<String>) {
        self.0.push(Line::Result(line.into()));
    }

    /// Adds a remark.
    pub fn note(&mut self, line: impl Into<String>) {
        self.0.push(Line::Note(line.into()));
    }

    /// Adds that there was nothing to do.
    pub fn idle(&mut self, line: impl Into<String>) {
        self.0.push(Line::Idle(line.into()));
    }

    /// Adds what was found.
    pub fn findings(&mut self, findings: &'a [Finding]) {
        self.0.push(Line::Findings(findings));
    }

    /// The lines.
    pub fn lines(self) -> Vec<Line<'a>> {
        self.0
    }
}
