//! An envelope whose messages are in flight.

use super::super::{Deliverable, Placing, Refused};
use crate::code::Code;
use crate::digest::Digest;
use crate::fit::Examined;
use crate::text::{count, grouped};

/// An envelope in flight.
pub struct InFlight {
    /// The envelope.
    pub deliverable: Deliverable,
    /// The note for the ledger once it is delivered.
    pub placing: Placing,
    /// Messages that are not confirmed yet.
    pub left: usize,
    /// The message that the broker refuses, and why, if there is one.
    pub refused: Option<(String, String)>,
    /// Whether its connector was blocked while it was in flight: the whole envelope is sent again later.
    pub is_given_back: bool,
    /// The id of the work in its messages.
    pub work: Option<String>,
    /// How often its work was cleared.
    pub cleared: u32,
}

impl InFlight {
    /// Nothing of it is sent yet.
    pub fn new(deliverable: Deliverable, placing: Placing) -> Self {
        let left = messages_in(&deliverable);
        Self { deliverable, placing, left, refused: None, is_given_back: false, work: None, cleared: 0 }
    }

    /// Whether the broker has all of it.
    pub fn is_confirmed(&self) -> bool {
        self.left == 0 && self.refused.is_none() && !self.is_given_back
    }

    /// Its work was cleared: nothing of it counts as sent.
    pub fn begin_again(&mut self) {
        self.cleared += 1;
        self.left = messages_in(&self.deliverable);
    }

    /// An envelope with a message that the broker refuses.
    pub fn into_refused(self) -> Option<Refused> {
        let (id, words) = self.refused?;
        let Deliverable { origin, bytes, examined, .. } = self.deliverable;
        let Examined::Messages(messages) = examined else { return None };
        let at = id.rsplit('-').next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(1).saturating_sub(1);
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let (object, name) = messages.object(text, at.min(messages.count() - 1));
        let taken = messages.count() - self.left;
        let what = format!(
            "the broker does not take the message for {name}: {words}; {} of its {} were taken before",
            grouped(taken as u64),
            count(messages.count() as u64, "message")
        );
        let place = format!("/bundle/objects/{object}");
        Some(Refused { placing: self.placing, origin, bytes, code: Code::MessageRefused, what, place })
    }
}

/// The id of a message: the same at each import, and different for each part of each envelope.
pub fn message_id(envelope: Digest, at: usize) -> String {
    format!("airpouch-{envelope}-{}", at + 1)
}

/// How many messages an envelope is.
pub fn messages_in(deliverable: &Deliverable) -> usize {
    match &deliverable.examined {
        Examined::Messages(messages) => messages.count(),
        Examined::Whole => 0,
    }
}
