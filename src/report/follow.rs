//! What `follow` read back from the platform.

use serde::Serialize;

use super::{ExitStatus, Finding, NamedConnector, Page, Report, status_of};
use crate::stream::StreamId;
use crate::text::count;

/// What became of what was sent, as far as the platform says.
#[derive(Debug, Default, Serialize)]
pub struct FollowReport {
    /// The platform, safe to print.
    pub destination: String,
    /// The works that were asked for.
    pub works: Vec<FollowedLine>,
    /// Works of which the platform said nothing.
    pub unanswered: Vec<UnansweredWork>,
    /// Works that are still open, since an import was cut off.
    pub open: u64,
    /// Whether there are more works than one run asks for.
    #[serde(rename = "more")]
    pub is_more: bool,
    /// What was not ingested, and what is not known.
    pub findings: Vec<Finding>,
}

/// A work, and what the platform says of it.
#[derive(Debug, Clone, Serialize)]
pub struct FollowedLine {
    /// Its id, safe to print.
    pub work: String,
    /// The stream of its batch.
    pub stream: StreamId,
    /// The number of its batch.
    pub sequence: u64,
    /// Its connector.
    pub connector: NamedConnector,
    /// `waiting`, `ended`, `removed` or `cleared`.
    pub state: &'static str,
    /// Envelopes that were delivered under it, at most.
    pub envelopes: u64,
    /// Messages that workers have reported.
    pub processed: u64,
    /// Messages that the platform expects; none where it does not say.
    pub expected: Option<u64>,
    /// Objects that were not ingested.
    pub failed: u64,
    /// Objects that the platform's own rules refuse.
    pub refused: u64,
}

/// A work of which the platform said nothing.
#[derive(Debug, Clone, Serialize)]
pub struct UnansweredWork {
    /// Its id, safe to print.
    pub work: String,
    /// Why, safe to print.
    pub why: String,
}

impl Report for FollowReport {
    fn exit(&self) -> ExitStatus {
        match status_of(&self.findings) {
            ExitStatus::Done if !self.unanswered.is_empty() => ExitStatus::Incomplete,
            status => status,
        }
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let of = |state: &'static str| self.works.iter().filter(move |line| line.state == state);
        let (ended, waiting) = (of("ended").count() as u64, of("waiting").count() as u64);
        if ended > 0 {
            let ingested = of("ended").map(|line| line.processed.saturating_sub(line.failed + line.refused)).sum();
            page.result(format!("ingested: {} of {}", count(ingested, "message"), count(ended, "work")));
        }
        if waiting > 0 {
            let (processed, expected) = of("waiting").fold((0, 0), |(processed, expected), line| {
                (processed + line.processed, expected + line.expected.unwrap_or_default().max(line.processed))
            });
            let works = count(waiting, "work");
            page.result(format!(
                "waiting: {works}, of which workers have reported {processed} of {}",
                count(expected, "message")
            ));
        }
        if self.works.is_empty() && self.unanswered.is_empty() {
            page.idle("no work waits to be followed");
        }
        if let Some(first) = self.unanswered.first() {
            let works = count(self.unanswered.len() as u64, "work");
            page.result(format!("no answer about {works}: {}", first.why));
        }
        if self.open > 0 {
            let works = count(self.open, "work");
            page.note(format!("{works} of an import that was cut off: airpouch import closes what is open"));
        }
        if self.is_more {
            page.note("there are more works than one run asks for; run this again");
        }
        page.findings(&self.findings);
    }
}
