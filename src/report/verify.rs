//! What `verify` found.

use serde::Serialize;

use super::{BatchLine, ExitStatus, Finding, Head, Page, Report, status_of};
use crate::stream::Numbers;
use crate::text::{count, size};

/// What `verify` found.
#[derive(Debug, Default, Serialize)]
pub struct VerifyReport {
    /// Batches that hold whole, with who signed them.
    pub whole: Vec<VerifiedBatch>,
    /// Files that are no part of any batch.
    pub other_files: u64,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A batch that holds.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedBatch {
    /// The batch.
    #[serde(flatten)]
    pub batch: BatchLine,
    /// When its maker says that it was made.
    pub created: String,
    /// Who signed, by the names of the trust store.
    pub signers: Vec<String>,
    /// Its code, to be compared by voice.
    pub head: Head,
}

/// Batches that are listed one by one; of more than these, those of one stream, zone and signers are one line.
const ONE_BY_ONE: usize = 5;

impl VerifiedBatch {
    fn is_like(&self, other: &Self) -> bool {
        let of = |one: &Self| (one.batch.stream, one.batch.zone.clone(), one.signers.clone());
        of(self) == of(other)
    }
}

/// The line of batches that are alike: the head code is that of the last.
fn holds(group: &[&VerifiedBatch]) -> String {
    let numbers: Numbers = group.iter().map(|one| one.batch.sequence).collect();
    let by_number = |one: &&&VerifiedBatch| one.batch.sequence;
    let first = group.iter().min_by_key(by_number).unwrap_or(&group[0]);
    let last = group.iter().max_by_key(by_number).unwrap_or(&group[0]);
    let envelopes: u64 = group.iter().map(|one| one.batch.envelopes).sum();
    let what = match envelopes {
        0 if group.len() == 1 => "heartbeat".to_owned(),
        0 => "heartbeats".to_owned(),
        envelopes => {
            let bytes: u64 = group.iter().map(|one| one.batch.bytes).sum();
            format!("{}, {}", count(envelopes, "envelope"), size(bytes))
        }
    };
    let (verb, made, of) = match group.len() {
        1 => ("holds", last.created.clone(), String::new()),
        _ => ("hold", format!("{} to {}", first.created, last.created), format!(" of batch {}", last.batch.sequence)),
    };
    format!(
        "{verb}: {} of stream {} for zone {}: {what}, made {made}, signed by {}, head code {}{of}",
        numbers.words(),
        last.batch.stream,
        last.batch.zone,
        last.signers.join(" and "),
        last.head.code
    )
}

impl Report for VerifyReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let mut alike: Vec<Vec<&VerifiedBatch>> = Vec::new();
        for whole in &self.whole {
            match alike.last_mut().filter(|_| self.whole.len() > ONE_BY_ONE) {
                Some(group) if group[0].is_like(whole) => group.push(whole),
                _ => alike.push(vec![whole]),
            }
        }
        alike.iter().for_each(|group| page.result(holds(group)));
        page.findings(&self.findings);
    }
}
