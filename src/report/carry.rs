//! What `carry` did.

use serde::Serialize;

use super::{BatchLine, ExitStatus, Finding, Head, Page, Report, status_of, sum};
use crate::stream::{Numbers, StreamId};
use crate::text::{count, size};

/// What `carry` did.
#[derive(Debug, Default, Serialize)]
pub struct CarryReport {
    /// Batches that were placed for the first time, or are there whole.
    pub new: Vec<BatchLine>,
    /// Batches that went again.
    pub repeated: Vec<BatchLine>,
    /// New batches for which there was no room.
    pub left: Vec<BatchLine>,
    /// Bytes written.
    pub written: u64,
    /// How sure it is that the medium holds them.
    pub proof: Option<Proof>,
    /// The newest batch there, with the code that a person reads out to compare.
    pub head: Option<Head>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// The directory where the medium is mounted, safe to print.
    pub medium: String,
    /// Whether the importer answers with a code of arrival: both sites are paired.
    #[serde(skip)]
    pub is_paired: bool,
    /// Whether it came to its end: before that nothing is safe to remove.
    #[serde(skip)]
    pub ended: bool,
}

/// What the read-back proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// Read from the device itself, past the page cache.
    Device,
    /// Read after the medium was mounted anew.
    Replug,
    /// Read, perhaps from memory.
    Cache,
    /// Not read: a drop folder that empties itself.
    Sent,
}

impl Proof {
    /// The word that ledger and reports use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Replug => "replug",
            Self::Cache => "cache",
            Self::Sent => "sent",
        }
    }

    /// The proof of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Device, Self::Replug, Self::Cache, Self::Sent].into_iter().find(|p| p.word() == word)
    }

    /// What it means, for a person.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Device => "read back from the device itself",
            Self::Replug => "read back after the medium was mounted anew",
            Self::Cache => "read back, perhaps from memory: carry again after plugging it in anew to be sure",
            Self::Sent => "sent: a drop folder, nothing was read back",
        }
    }
}

impl Report for CarryReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        page.findings(&self.findings);
        if !self.ended {
            return;
        }
        if self.new.is_empty() && self.repeated.is_empty() {
            page.idle("nothing to carry");
            return;
        }
        if !self.left.is_empty() {
            page.result(format!("no room for {}: the next medium takes what is left", batches(&self.left)));
        }
        // Without a proof nothing is said of the medium.
        let Some(proof) = self.proof else { return };
        if proof == Proof::Sent {
            page.result(format!("sent: {}", batches(&self.new)));
            return;
        }
        page.result("SAFE TO REMOVE");
        page.result(format!("  {}: {} written, {}", self.medium, size(self.written), proof.meaning()));
        if !self.new.is_empty() {
            page.result(format!("  new: {}", batches(&self.new)));
        }
        if !self.repeated.is_empty() {
            page.result(format!("  again: {}", batches(&self.repeated)));
        }
        if let Some(head) = &self.head {
            let answer = match self.is_paired {
                true => "; once it is there, the other side says a code: airpouch arrived CODE",
                false => " (the other side shows the same)",
            };
            page.result(format!("  head code {} of batch {}{answer}", head.code, head.sequence));
        }
    }
}

/// Numbers and sizes; with their streams where there are several.
fn batches(batches: &[BatchLine]) -> String {
    let mut streams: Vec<StreamId> = batches.iter().map(|b| b.stream).collect();
    streams.dedup();
    let mut out = Vec::new();
    for stream in &streams {
        let mine: Vec<&BatchLine> = batches.iter().filter(|b| b.stream == *stream).collect();
        let numbers: Numbers = mine.iter().map(|b| b.sequence).collect();
        let of = if streams.len() > 1 { format!(" of stream {stream}") } else { String::new() };
        out.push(format!("{}{of}", numbers.words()));
    }
    let sum = sum(batches);
    format!("{} ({}, {})", out.join("; "), count(sum.envelopes, "envelope"), size(sum.bytes))
}
