//! What `sign` signed.

use serde::Serialize;

use super::{Page, Report, ranges};
use crate::digest::Digest;
use crate::stream::{Numbers, StreamId};

/// What `sign` did.
#[derive(Debug, Default, Serialize)]
pub struct SignReport {
    /// The fingerprints of the keys.
    pub keys: Vec<Digest>,
    /// The batches that were signed.
    pub signed: Vec<SignedNumbers>,
    /// Batches that these keys had signed before.
    pub before: Vec<SignedNumbers>,
}

/// Batches of a stream.
#[derive(Debug, Serialize)]
pub struct SignedNumbers {
    /// The stream.
    pub stream: StreamId,
    /// The batches.
    #[serde(serialize_with = "ranges")]
    pub sequences: Numbers,
}

impl Report for SignReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let keys: Vec<String> = self.keys.iter().map(Digest::short).collect();
        let keys = keys.join(", ");
        for SignedNumbers { stream, sequences } in &self.signed {
            page.result(format!("signed with {keys}: {} of stream {stream}", sequences.words()));
        }
        for SignedNumbers { stream, sequences } in &self.before {
            page.result(format!("signed with {keys} before: {} of stream {stream}", sequences.words()));
        }
        if self.signed.is_empty() && self.before.is_empty() {
            page.idle("nothing was packed yet");
        }
        for SignedNumbers { stream, sequences } in &self.signed {
            page.note(format!("to bring the signatures over: airpouch carry MEDIUM --resend {stream}:{sequences}"));
        }
    }
}
