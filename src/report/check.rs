//! What `check` found.

use serde::Serialize;

use super::{ExitStatus, Finding, Page, Report, status_of};

/// What `check` found.
#[derive(Debug, Default, Serialize)]
pub struct CheckReport {
    /// What is as it should be, or is told for a person to compare.
    pub facts: Vec<Fact>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Something that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Fact {
    /// What, in one word.
    pub about: &'static str,
    /// How it is.
    pub is: String,
}

impl Report for CheckReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        for fact in &self.facts {
            page.result(format!("{}: {}", fact.about, fact.is));
        }
        page.findings(&self.findings);
    }
}
