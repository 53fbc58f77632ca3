//! What `stream accept` and `stream renew` did.

use serde::Serialize;

use super::{BatchLine, Page, Report, by_stream, lost_for_now, ranges};
use crate::batch::manifest::Succeeds;
use crate::digest::Digest;
use crate::stream::{Numbers, StreamId};
use crate::text::count;

/// What `stream accept` accepted.
#[derive(Debug, Serialize)]
pub struct AcceptReport {
    /// What it was.
    pub accepted: Accepted,
    /// The stream.
    pub stream: StreamId,
    /// The batches.
    #[serde(serialize_with = "ranges")]
    pub sequences: Numbers,
    /// The digest of the batch that was taken, for a fork.
    pub sha256: Option<Digest>,
    /// Why.
    pub reason: String,
}

/// What a person can accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Accepted {
    /// That batches are missing.
    Gap,
    /// One of two histories.
    Fork,
    /// That works were cleared on the platform, with what was delivered under them.
    Works,
}

impl Report for AcceptReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let (stream, numbers) = (self.stream, self.sequences.words());
        page.result(match (self.accepted, self.sha256) {
            (Accepted::Works, _) => format!(
                "accepted what was lost with the works of {numbers} of stream {stream}, which were cleared on the platform"
            ),
            (Accepted::Fork, Some(sha256)) => {
                format!("accepted: {numbers} ({}) is delivered with the next import", sha256.short())
            }
            _ => format!("gave up on {numbers} of stream {stream}; if it arrives later it is delivered and marked late"),
        });
    }
}

/// What `stream renew` began.
#[derive(Debug, Serialize)]
pub struct RenewReport {
    /// The new stream.
    pub stream: StreamId,
    /// Its zone.
    pub zone: String,
    /// What it goes on from.
    pub succeeds: Option<Succeeds>,
    /// Batches that outbox and medium held beyond the ledger.
    pub taken_in: Vec<BatchLine>,
    /// Batches that no carry took and the outbox has lost: they will never come, and what was in them is packed again.
    pub given_up: Vec<BatchLine>,
}

impl Report for RenewReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        for (stream, (numbers, size)) in by_stream(&self.taken_in) {
            let (numbers, envelopes) = (numbers.words(), count(size.envelopes, "envelope"));
            page.result(format!("taken into the ledger: {numbers} of stream {stream}, {envelopes}"));
        }
        for (stream, (numbers, size)) in by_stream(&self.given_up) {
            page.result(lost_for_now(&numbers, &format!(" of stream {stream}"), size));
        }
        let from = match self.succeeds {
            Some(s) => format!("goes on from batch {} of stream {}", s.sequence, s.stream),
            None => "goes on from an empty stream".to_owned(),
        };
        page.result(format!("new stream {} for zone {}: {from}", self.stream, self.zone));
        page.note("the importer accepts it if the key may sign the old stream too");
    }
}
