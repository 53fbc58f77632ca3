//! Envelopes that were looked up in what is kept of batches, also when their bytes are gone.

use serde::Serialize;

use super::{NamedConnector, Page};
use crate::digest::Digest;
use crate::stream::StreamId;
use crate::text::{count, harmless, size};

/// An envelope that a batch has, or had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundEnvelope {
    /// The stream of its batch.
    pub stream: StreamId,
    /// The number of its batch.
    pub sequence: u64,
    /// The digest of its batch's manifest.
    pub batch: Digest,
    /// Its position in its batch, from 1.
    pub ordinal: usize,
    /// Its name at the exporter; none where the index cannot be read, as in the next four.
    pub name: Option<String>,
    /// Its digest.
    pub sha256: Option<Digest>,
    /// Its size.
    pub bytes: Option<u64>,
    /// Its connector.
    pub connector: Option<NamedConnector>,
    /// In whose name it was written, if it says so.
    pub applicant: Option<String>,
    /// When its batch came; an older airpouch did not note it.
    pub taken_at: Option<String>,
    /// What became of it: `delivered`, `empty`, `held`, `quarantined`, `released`, `rejected`, or `waiting`.
    pub state: Option<&'static str>,
    /// When it was delivered; of what was not set aside, when its batch was done.
    pub delivered_at: Option<String>,
    /// The other batch by which it was delivered.
    pub delivered_by: Option<OtherBatch>,
    /// Where its bytes are: `inbox`, `held`, `quarantine`, or `none`.
    pub kept: &'static str,
    /// Whether its bytes were read again and have the object that was asked for; none where they were not.
    pub has_object: Option<bool>,
}

/// Another batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OtherBatch {
    /// Its stream.
    pub stream: StreamId,
    /// Its number.
    pub sequence: u64,
}

/// How much was looked through, and what could not be: what is not found may lie there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Searched {
    /// Batches that were looked through.
    pub batches: u64,
    /// Batches whose index an older airpouch pruned.
    pub pruned_by_older: u64,
    /// Batches whose index was not there any more when they were pruned.
    pub index_gone: u64,
    /// Batches that are not whole, or of which no list was made since they are not delivered.
    pub not_yet: u64,
    /// Delivered batches of which an older airpouch or the policy made no list of objects.
    pub without_list: u64,
    /// Batches with more objects than a list takes.
    pub too_many_objects: u64,
    /// Envelopes that are not in the lists, or not to their end.
    pub unread_envelopes: u64,
}

impl FoundEnvelope {
    /// What a person reads of it, in three lines.
    pub(super) fn write(&self, page: &mut Page<'_>) {
        let digest = self.sha256.map_or_else(|| "whose line cannot be read".to_owned(), |sha256| sha256.to_string());
        let mut about = Vec::new();
        about.extend(self.name.as_deref().map(harmless));
        about.extend(self.bytes.map(size));
        about.extend(self.connector.as_ref().map(|c| format!("of {} ({})", harmless(&c.name), harmless(&c.id))));
        if self.sha256.is_some() {
            let named = |id: &String| format!("applicant {}", harmless(id));
            about.push(self.applicant.as_ref().map_or_else(|| "no applicant".to_owned(), named));
        }
        let about = if about.is_empty() { String::new() } else { format!(": {}", about.join(", ")) };
        page.result(format!("envelope {digest}{about}"));
        let taken = self.taken_at.as_ref().map_or_else(String::new, |at| format!(", taken {at}"));
        page.result(format!("  {} of batch {} of stream {}{taken}", self.ordinal, self.sequence, self.stream));
        page.result(format!("  {}; {}{}", self.fate(), self.bytes_are(), self.proof()));
    }

    fn fate(&self) -> String {
        let at = self.delivered_at.as_ref().map_or_else(String::new, |at| format!(" {at}"));
        let by = self
            .delivered_by
            .map_or_else(String::new, |other| format!(" by batch {} of stream {}", other.sequence, other.stream));
        match self.state {
            None => "what became of it is not known".to_owned(),
            Some("empty") => format!("nothing in it to deliver{at}{by}"),
            Some("waiting") => "not delivered yet".to_owned(),
            Some(state) => format!("{state}{at}{by}"),
        }
    }

    fn bytes_are(&self) -> String {
        match self.kept {
            "inbox" => {
                let Self { stream, sequence, ordinal, .. } = self;
                format!("its bytes are in the inbox: airpouch show {stream}:{sequence}:{ordinal}")
            }
            "none" => "its bytes are pruned".to_owned(),
            place => format!("its bytes are in {place}/"),
        }
    }

    fn proof(&self) -> &'static str {
        match self.has_object {
            Some(true) => "; they have the object",
            _ => "",
        }
    }
}

impl Searched {
    /// What could not be looked through, each in one line.
    pub(super) fn write(&self, page: &mut Page<'_>) {
        let batches = |number: u64| count(number, "batch");
        let has = |number: u64| if number == 1 { "has" } else { "have" };
        let notes = [
            (self.pruned_by_older, "its index was pruned by an older airpouch"),
            (self.index_gone, "its index was not there when it was pruned"),
        ];
        for (number, why) in notes.into_iter().filter(|(number, _)| *number > 0) {
            let why = if number == 1 { why.to_owned() } else { why.replace("its index was", "their indexes were") };
            page.note(format!("{} cannot be looked through: {why}", batches(number)));
        }
        if self.not_yet > 0 {
            page.note(format!("{} cannot be looked through yet: not whole or not delivered", batches(self.not_yet)));
        }
        if self.without_list > 0 {
            let why = "delivered by an older airpouch, or without objects = true in [record] of policy.toml";
            page.note(format!("{} {} no list of objects: {why}", batches(self.without_list), has(self.without_list)));
        }
        if self.too_many_objects > 0 {
            let number = self.too_many_objects;
            page.note(format!("{} {} more objects than a list takes", batches(number), has(number)));
        }
        if self.unread_envelopes > 0 {
            let (envelopes, number) = (count(self.unread_envelopes, "envelope"), self.unread_envelopes);
            let is = if number == 1 { "is" } else { "are" };
            page.note(format!(
                "{envelopes} {is} not in the lists, or not to the end: not an envelope, or runs died of it"
            ));
        }
    }
}
