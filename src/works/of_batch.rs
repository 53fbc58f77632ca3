//! Works of an import: each for one connector's part of a batch, or for one envelope of it.

use serde::{Deserialize, Serialize};

use super::{EndedWork, Work, WorkSubject};
use crate::code::Code;
use crate::digest::Digest;
use crate::report::Finding;
use crate::text::{count, harmless};

/// What a work of an import is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForBatch {
    /// The ledger's number of the batch.
    pub batch: i64,
    /// The connector's id.
    pub connector: String,
    /// The envelope, where it is for one only.
    pub envelope: Option<Digest>,
}

impl WorkSubject for ForBatch {
    fn connector(&self) -> &str {
        &self.connector
    }

    fn is_shared(&self) -> bool {
        self.envelope.is_none()
    }

    fn success(&self, work: &Work) -> String {
        match self.envelope {
            // As the stock connector closes the work of an envelope.
            Some(_) => "Connector successfully run".to_owned(),
            None => format!("airpouch sent {}", count(work.messages as u64, "message")),
        }
    }
}

/// A work as the ledger keeps it until it is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWork {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub subject: ForBatch,
    /// How many envelopes of its batch were delivered, or one for an envelope: at most so many were delivered under it.
    pub delivered: usize,
}

/// A work that is or may be gone, with what was recorded as delivered under it: the ledger keeps it until a person
/// settles it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneWork {
    /// Its id.
    pub id: String,
    /// The ledger's number of the batch that it was for.
    pub batch: i64,
    /// Envelopes that were delivered under it.
    pub envelopes: usize,
    /// Whether it may be fewer.
    pub at_most: bool,
}

impl From<&EndedWork<ForBatch>> for GoneWork {
    fn from(gone: &EndedWork<ForBatch>) -> Self {
        let EndedWork { subject, id, delivered, at_most } = gone;
        Self { id: id.clone(), batch: subject.batch, envelopes: *delivered, at_most: *at_most }
    }
}

/// A work that was closed with what was sent under it: the ledger keeps it until the platform has said what became of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentWork {
    /// Its id.
    pub id: String,
    /// The ledger's number of the batch that it was for.
    pub batch: i64,
    /// The connector's id.
    pub connector: String,
    /// Envelopes that were delivered under it.
    pub envelopes: usize,
    /// Whether it may be fewer.
    pub at_most: bool,
}

impl From<&EndedWork<ForBatch>> for SentWork {
    fn from(ended: &EndedWork<ForBatch>) -> Self {
        let EndedWork { subject, id, delivered, at_most } = ended;
        let (batch, connector) = (subject.batch, subject.connector.clone());
        Self { id: id.clone(), batch, connector, envelopes: *delivered, at_most: *at_most }
    }
}

/// The finding about a work that is gone.
pub fn gone_finding(work: &GoneWork) -> Finding {
    let envelopes = count(work.envelopes as u64, "envelope");
    let most = if work.at_most { "at most " } else { "" };
    let what = format!(
        "a work was cleared on the platform under which {most}{envelopes} had been sent; workers skip what still waits"
    );
    Finding::new(Code::WorkGone, what).at(harmless(&work.id))
}
