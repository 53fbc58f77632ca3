//! What would become of one envelope.

use serde::Serialize;

use super::{Page, Report};
use crate::digest::Digest;
use crate::opencti::message::Messages;
use crate::opencti::registration::Registration;
use crate::text::{count, grouped, harmless};

/// The messages that an envelope becomes.
#[derive(Debug, Serialize)]
pub struct SplitReport {
    /// The envelope's digest.
    pub sha256: Digest,
    /// What its connector is registered as.
    pub connector: Registration,
    /// How many messages there are.
    pub expectations: usize,
    /// The messages, in their order.
    pub messages: Vec<ShownMessage>,
    /// Objects that are skipped.
    pub incompatible: Vec<ShownIncompatible>,
}

/// One message.
#[derive(Debug, Serialize)]
pub struct ShownMessage {
    /// Its place, from 1.
    pub action_sequence: usize,
    /// How many other objects its object depends on; a text, for it may be larger than any machine's integer.
    pub x_opencti_seq: String,
    /// The position of its object in the bundle, from 0.
    pub object: usize,
    /// The id of its object.
    pub id: String,
}

/// An object that is skipped.
#[derive(Debug, Serialize)]
pub struct ShownIncompatible {
    /// Its position in the bundle, from 0.
    pub object: usize,
    /// Its id.
    pub id: String,
    /// Why.
    pub why: &'static str,
}

impl SplitReport {
    /// Of the messages of an envelope with this text and digest.
    pub fn of(text: &str, messages: &Messages, sha256: Digest, connector: Registration) -> Self {
        let message = |at| {
            let (object, id) = messages.object(text, at);
            let x_opencti_seq = messages.split().dependencies(at).to_string();
            ShownMessage { action_sequence: at + 1, x_opencti_seq, object, id }
        };
        let incompatible = messages.split().incompatible().iter();
        Self {
            sha256,
            connector,
            expectations: messages.count(),
            messages: (0..messages.count()).map(message).collect(),
            incompatible: incompatible
                .map(|i| ShownIncompatible { object: i.object, id: i.id.clone(), why: i.why })
                .collect(),
        }
    }
}

impl Report for SplitReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let (id, name) = (&self.connector.id, harmless(&self.connector.name));
        page.result(format!("connector {id} ({name}), {}", count(self.expectations as u64, "message")));
        if !self.messages.is_empty() {
            page.result("message   nb_deps   object");
        }
        for message in &self.messages {
            let sequence = grouped(message.action_sequence as u64);
            page.result(format!("{sequence:>7}   {:>7}   {}", message.x_opencti_seq, message.id));
        }
        if !self.incompatible.is_empty() {
            page.result(format!("skipped: {}", count(self.incompatible.len() as u64, "incompatible object")));
        }
        for object in &self.incompatible {
            page.result(format!("  {} (object {}): {}", object.id, object.object, object.why));
        }
    }
}
