//! What `import` did.

use serde::Serialize;

use super::{ArrivalLine, BatchLine, ExitStatus, Finding, Head, Page, Report, Unmapped, lines_to_paste, status_of};
use crate::stream::StreamId;
use crate::text::{count, grouped, harmless};

/// What `import` did.
#[derive(Debug, Default, Serialize)]
pub struct ImportReport {
    /// Batches that were taken into custody whole in this run.
    pub taken: Vec<BatchLine>,
    /// Batches delivered in this run, in order.
    pub delivered_batches: Vec<DeliveredBatch>,
    /// What became of the envelopes of this run.
    pub outcome: Outcome,
    /// Of the delivered ones, those that had been held or quarantined.
    pub released: u64,
    /// Messages of the delivered ones, where the destination takes parts of bundles.
    pub messages: u64,
    /// Objects that were skipped while bundles were split, as OpenCTI's client does.
    pub incompatible: u64,
    /// Envelopes with such objects.
    pub incompatible_envelopes: u64,
    /// The first of them.
    pub incompatible_in: Vec<PassedOver>,
    /// Envelopes held in all.
    pub held_in_all: u64,
    /// Envelopes quarantined in all.
    pub quarantined_in_all: u64,
    /// Batches that had come before.
    pub replayed: u64,
    /// Applicants that are not mapped, with envelopes held for them.
    pub unmapped: Vec<Unmapped>,
    /// The newest batch of each stream of which something was delivered in this run, with its code.
    pub heads: Vec<Head>,
    /// What a person says to the exporter of the streams that are paired and of which something came in this run.
    pub arrivals: Vec<ArrivalLine>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Where it delivers, safe to print.
    pub destination: String,
    /// Whether applicants are mapped for some streams or keys alone.
    #[serde(skip)]
    pub is_narrowed: bool,
}

/// Envelopes that are named, with their skipped objects.
const NAMED_MAX: usize = 20;

impl ImportReport {
    /// Counts an envelope of which objects were skipped.
    pub fn pass_over(&mut self, passed_over: PassedOver) {
        if passed_over.objects == 0 {
            return;
        }
        self.incompatible += passed_over.objects;
        self.incompatible_envelopes += 1;
        if self.incompatible_in.len() < NAMED_MAX {
            self.incompatible_in.push(passed_over);
        }
    }
}

/// An envelope of which objects were skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// The stream that brought it.
    pub stream: StreamId,
    /// The number of its batch.
    pub sequence: u64,
    /// Its position there, from 1.
    pub ordinal: usize,
    /// Its name at the exporter.
    pub name: String,
    /// How many objects.
    pub objects: u64,
}

/// A batch that was delivered.
#[derive(Debug, Clone, Serialize)]
pub struct DeliveredBatch {
    /// The batch.
    #[serde(flatten)]
    pub batch: BatchLine,
    /// Whether later numbers were delivered before it.
    pub late: bool,
    /// What became of its envelopes in this run.
    pub outcome: Outcome,
}

/// What became of some envelopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Delivered.
    pub delivered: u64,
    /// The destination had them already.
    pub already_delivered: u64,
    /// They hold nothing to deliver (empty bundles).
    pub empty: u64,
    /// Newly held.
    pub held: u64,
    /// Newly quarantined.
    pub quarantined: u64,
    /// Not delivered yet: the destination cannot take them at the moment.
    pub deferred: u64,
}

impl Outcome {
    /// The sum with a later count.
    pub fn and(self, more: Self) -> Self {
        Self {
            delivered: self.delivered + more.delivered,
            already_delivered: self.already_delivered + more.already_delivered,
            empty: self.empty + more.empty,
            held: self.held + more.held,
            quarantined: self.quarantined + more.quarantined,
            deferred: self.deferred + more.deferred,
        }
    }

    /// The difference to an earlier count.
    pub fn since(self, before: Self) -> Self {
        Self {
            delivered: self.delivered - before.delivered,
            already_delivered: self.already_delivered - before.already_delivered,
            empty: self.empty - before.empty,
            held: self.held - before.held,
            quarantined: self.quarantined - before.quarantined,
            deferred: self.deferred - before.deferred,
        }
    }
}

/// Applicants whose lines are shown; `applicants` has all of them.
const PASTED: usize = 5;

/// Streams whose head codes are shown; `status` has all of them.
const HEADS: usize = 5;

impl Report for ImportReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let total = self.outcome;
        let news =
            total.delivered + total.held + total.quarantined + total.empty > 0 || !self.delivered_batches.is_empty();
        if news {
            self.write_delivered(page);
        }
        page.findings(&self.findings);
        if total.held > 0 && !self.unmapped.is_empty() {
            page.note("applicants of the other side that are not mapped; add their user ids here to airpouch.toml:");
            let shown = self.unmapped.len().min(PASTED);
            for line in lines_to_paste(&self.unmapped[..shown], self.is_narrowed) {
                page.note(line);
            }
            let more = (self.unmapped.len() - shown) as u64;
            if more > 0 {
                page.note(format!("# and {}: airpouch applicants lists them", count(more, "more applicant")));
            }
        }
        self.write_arrivals(page);
        if !news && self.findings.is_empty() {
            page.idle("nothing to do");
        }
    }
}

impl ImportReport {
    fn write_delivered(&self, page: &mut Page<'_>) {
        let before = match self.released {
            0 => String::new(),
            all if all == self.outcome.delivered => ", all of them held before,".to_owned(),
            some => format!(", {} of them held before,", grouped(some)),
        };
        let messages = match self.messages {
            0 => String::new(),
            messages => format!(" in {}", count(messages, "message")),
        };
        let envelopes = count(self.outcome.delivered, "envelope");
        page.result(format!("delivered {envelopes}{before}{messages} to {}", self.destination));
        if self.incompatible > 0 {
            let objects = count(self.incompatible, "incompatible object");
            page.result(format!(
                "skipped {objects} that OpenCTI's client does not import either; these commands say why:"
            ));
            self.write_passed_over(page);
        }
        let is_unpaired = |head: &&Head| self.arrivals.iter().all(|arrival| arrival.stream != head.stream);
        for head in self.heads.iter().take(HEADS).filter(is_unpaired) {
            let (code, sequence) = (&head.code, head.sequence);
            let shown = if head.is_last { " (carry showed the same)" } else { "" };
            let of = if self.heads.len() > 1 { format!(" of stream {}", head.stream) } else { String::new() };
            page.result(format!("head code {code} of batch {sequence}{of}{shown}; it acknowledges nothing"));
        }
        let more = self.heads.len().saturating_sub(HEADS) as u64;
        if more > 0 {
            page.result(format!("and those of {}: airpouch status", count(more, "more stream")));
        }
    }

    /// What a person says to the exporter.
    fn write_arrivals(&self, page: &mut Page<'_>) {
        for arrival in self.arrivals.iter().take(HEADS) {
            let of = if self.arrivals.len() > 1 { format!(" of stream {}", arrival.stream) } else { String::new() };
            page.result(arrival.words(&of));
            if let Some(command) = arrival.command() {
                page.result(format!("  at the exporter: {command}"));
            }
        }
        let more = self.arrivals.len().saturating_sub(HEADS) as u64;
        if more > 0 {
            page.result(format!("and those of {}: airpouch status", count(more, "more stream")));
        }
    }

    fn write_passed_over(&self, page: &mut Page<'_>) {
        /// Envelopes that are named; the report has some more.
        const SHOWN: usize = 5;
        for p in self.incompatible_in.iter().take(SHOWN) {
            let command = format!("airpouch split {}:{}:{}", p.stream, p.sequence, p.ordinal);
            page.result(format!("  {} in {}: {command}", grouped(p.objects), harmless(&p.name)));
        }
        let more = self.incompatible_envelopes.saturating_sub(SHOWN as u64);
        if more > 0 {
            page.result(format!("  and {} with such objects", count(more, "more envelope")));
        }
    }
}
