//! How to import.

use std::collections::BTreeMap;

use crate::applicants::Applicants;
use crate::destination::{Destination, Reach};
use crate::digest::Digest;
use crate::envelope::{Connector, ConnectorId};
use crate::examining::Program;
use crate::policy::Policy;
use crate::report::call::Call;
use crate::trust::TrustStore;

/// What to do about numbers that have not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// Deliver what is there, and report what is missing until it comes.
    Deliver,
    /// Keep what comes after a gap until the gap is filled or settled.
    Hold,
}

/// What a destination other than the known one means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherDestination {
    /// A question: the run stops.
    Ask,
    /// Another platform: everything in the inbox is delivered again.
    New,
    /// The same one under another address.
    Same,
}

/// How to import.
pub struct ImportOptions {
    /// The zone that this is.
    pub zone: String,
    /// Where to deliver.
    pub to: Destination,
    /// How that is reached.
    pub reach: Reach,
    /// Connectors that have another id here, from the id there.
    pub connectors: BTreeMap<String, ConnectorId>,
    /// What another destination than the known one means.
    pub other_destination: OtherDestination,
    /// What may cross.
    pub policy: Policy,
    /// The officers whose signatures releases need; none where the policy demands none.
    pub officers: Option<Officers>,
    /// The text of that policy, for the journal; empty where the defaults hold.
    pub policy_text: String,
    /// In whose name.
    pub applicants: Applicants,
    /// What to do about a gap.
    pub on_gap: OnGap,
    /// Whether to go on with a ledger that is not the one this site worked with last.
    pub accept_ledger: bool,
    /// Whether to deliver again what was delivered.
    pub redeliver: bool,
    /// Seconds that delivered batches stay in the inbox.
    pub keep: u64,
    /// After how many seconds a connector that came daily is reported; 0: never.
    pub quiet_after: u64,
    /// Bytes of one stream that are copied to held/ and quarantine/; what is more lies in the inbox alone.
    pub set_aside_quota: u64,
    /// Processors to use.
    pub threads: usize,
    /// The time, for the record.
    pub at: String,
    /// How this run was called, for the commands in reasons.
    pub call: Call,
    /// The program that examines one envelope in a process of its own, where a run has died of it.
    pub program: Program,
}

/// Who signs releases, and where.
#[derive(Debug)]
pub struct Officers {
    /// Their keys.
    pub store: TrustStore,
    /// The fingerprint of the key that signs the site's journal.
    pub site: Digest,
}

impl ImportOptions {
    /// A connector as it is to be known here. The stock connector takes envelopes as they are.
    pub(super) fn connector_here(&self, connector: &Connector) -> Connector {
        let mut here = connector.clone();
        if let Some(id) = self.connectors.get(connector.id.as_str()).filter(|_| self.to.takes_messages()) {
            here.id.clone_from(id);
        }
        here
    }
}
