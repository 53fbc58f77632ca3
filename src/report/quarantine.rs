//! What was set aside, and what a person released.

use serde::Serialize;

use super::{NamedConnector, NamedEnvelope, Page, Report};
use crate::code::Code;
use crate::digest::Digest;
use crate::stream::StreamId;
use crate::text::harmless;

/// What `quarantine list` lists.
#[derive(Debug, Default, Serialize)]
pub struct QuarantineReport {
    /// The envelopes.
    pub set_aside: Vec<SetAside>,
}

/// One envelope that was set aside, named as in a finding.
#[derive(Debug, Serialize)]
pub struct SetAside {
    /// Its digest.
    pub sha256: Digest,
    /// `held`, `quarantined` or `released`.
    pub kind: &'static str,
    /// Why, in one word.
    pub code: Code,
    /// The stream that brought it.
    pub stream: StreamId,
    /// The batch that brought it.
    pub sequence: u64,
    /// Its place in that batch.
    pub envelope: NamedEnvelope,
    /// Its connector.
    pub connector: NamedConnector,
    /// Its applicant on the other side.
    pub applicant: Option<String>,
    /// Where in the envelope: a JSON pointer.
    pub pointer: String,
    /// Whether a copy lies in held/ or quarantine/.
    pub copied: bool,
    /// Why.
    pub what: String,
    /// What to do.
    #[serde(rename = "do")]
    pub advice: String,
}

impl Report for QuarantineReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        self.set_aside.iter().for_each(|one| one.write(page));
        if self.set_aside.is_empty() {
            page.note("nothing is held or quarantined");
        }
    }
}

impl Report for SetAside {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let (name, ordinal, sequence) = (harmless(&self.envelope.name), self.envelope.ordinal, self.sequence);
        let connector = harmless(&self.connector.name);
        page.result(format!("{} {} {}: {}", self.sha256.short(), self.kind, self.code, self.what));
        page.result(format!("         {name} of {connector}, envelope {ordinal} of batch {sequence}"));
        if !self.copied {
            page.result("         kept in the inbox alone");
        }
        page.result(format!("         {}", self.advice));
    }
}

/// What `quarantine release` released.
#[derive(Debug, Serialize)]
pub struct ReleaseReport {
    /// The envelope's digest.
    pub released: Digest,
    /// Why it may go, as a person says.
    pub reason: String,
    /// Why it was quarantined, in one word.
    pub code: Code,
    /// Why it was quarantined: all of it.
    pub what: String,
}

impl Report for ReleaseReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        page.result(format!("released {}: it goes with the next import, with all of this:", self.released));
        page.result(format!("         {}: {}", self.code, self.what));
    }
}
