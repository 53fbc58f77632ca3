//! What `verify` found.

use serde::Serialize;

use super::{BatchLine, ExitStatus, Finding, Head, Page, Report, status_of};
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

impl Report for VerifyReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        for whole in &self.whole {
            let b = &whole.batch;
            let what = match b.envelopes {
                0 => "heartbeat".to_owned(),
                envelopes => format!("{}, {}", count(envelopes, "envelope"), size(b.bytes)),
            };
            page.result(format!(
                "holds: batch {} of stream {} for zone {}: {what}, made {}, signed by {}, head code {}",
                b.sequence,
                b.stream,
                b.zone,
                whole.created,
                whole.signers.join(" and "),
                whole.head.code
            ));
        }
        page.findings(&self.findings);
    }
}
