//! Events of a journal, as a person reads them and as a table.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{ExitStatus, Finding, FoundEnvelope, Page, Report, Searched, status_of};
use crate::stream::Numbers;
use crate::text::{count, harmless, size};

/// One event of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged(pub Value);

/// The keys that every event has in a document; what else its line has stands below `details`.
const OF_ALL: [&str; 13] =
    ["n", "prev", "at", "run", "deed", "verb", "user", "version", "operator", "witness", "ticket", "note", "event"];

impl Serialize for Logged {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(OF_ALL.len() + 1))?;
        for key in OF_ALL {
            map.serialize_entry(key, &self.0.get(key))?;
        }
        let others = self.0.as_object().into_iter().flatten().filter(|(key, _)| !OF_ALL.contains(&key.as_str()));
        map.serialize_entry("details", &others.collect::<BTreeMap<_, _>>())?;
        map.end()
    }
}

/// The events that were asked for, and the envelopes.
#[derive(Debug, Default, Serialize)]
pub struct LogReport {
    /// The events, oldest first.
    pub events: Vec<Logged>,
    /// The envelopes that were looked up, by stream, number of their batch, and position.
    pub envelopes: Vec<FoundEnvelope>,
    /// Further envelopes that are only counted.
    pub more_envelopes: u64,
    /// How much was looked through; none where no envelope was asked for, or at an exporter.
    pub searched: Option<Searched>,
    /// What is kept to look up in and cannot be used.
    pub findings: Vec<Finding>,
    /// Whether events were printed already.
    #[serde(skip)]
    pub has_printed: bool,
}

/// The columns of the table.
pub const COLUMNS: [&str; 14] = [
    "n", "at", "event", "verb", "user", "operator", "witness", "ticket", "note", "stream", "sequence", "sha256",
    "what", "second",
];

impl Report for LogReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        for envelope in &self.envelopes {
            envelope.write(page);
        }
        if self.more_envelopes > 0 {
            let more = count(self.more_envelopes, "envelope");
            page.result(format!("and {more} more; narrow it with --stream, --batch, --connector, --since or --until"));
        }
        if !self.has_printed && self.envelopes.is_empty() {
            match self.searched {
                Some(searched) => {
                    page.idle(format!("none in {} that were looked through", count(searched.batches, "batch")));
                }
                None => page.idle("the journal has no such event"),
            }
        }
        if let Some(searched) = &self.searched {
            searched.write(page);
        }
        page.findings(&self.findings);
    }
}

impl Report for Logged {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        page.result(self.line());
    }
}

impl Logged {
    /// The event as a person reads it, in one line.
    pub(super) fn line(&self) -> String {
        let mut line = format!("{:>6}  {}  {}", self.text("n"), self.text("at"), self.text("event"));
        let what = self.what();
        if !what.is_empty() {
            let _ = write!(line, ": {what}");
        }
        let _ = write!(line, "  [{} by {}{}]", self.text("verb"), self.text("user"), self.people());
        line
    }

    /// A row of the table, as RFC 4180 writes it. A cell that a spreadsheet would take for a formula begins with an
    /// apostrophe.
    pub fn row(&self) -> String {
        let cells = COLUMNS.map(|column| cell(&if column == "what" { self.what() } else { self.text(column) }));
        cells.join(",")
    }

    fn text(&self, key: &str) -> String {
        match self.0.get(key) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => harmless(text),
            Some(other) => harmless(&other.to_string()),
        }
    }

    fn number(&self, key: &str) -> u64 {
        self.0.get(key).and_then(Value::as_u64).unwrap_or(0)
    }

    fn people(&self) -> String {
        let named = |key: &str| Some(self.text(key)).filter(|text| !text.is_empty());
        let all = [("operator", ""), ("witness", "witness "), ("ticket", "ticket "), ("note", "note: ")];
        all.iter().filter_map(|(key, word)| named(key).map(|text| format!(", {word}{text}"))).collect()
    }

    /// What was done, in words.
    fn what(&self) -> String {
        let batch = format!("batch {} of stream {}", self.text("sequence"), self.text("stream"));
        let reason = || self.text("reason");
        let envelope = || format!("envelope {} of {}, {batch}", self.text("sha256"), self.connector());
        match self.text("event").as_str() {
            "packed" => format!("{batch} for zone {}: {}, signed by {}", self.text("zone"), self.volume(), self.keys()),
            "taken" => format!("{batch}: {}, signed by {}{}", self.volume(), self.keys(), self.medium(", from ")),
            "admitted" => format!("{batch}, signed by {}", self.keys()),
            "carried" => self.carried(),
            "delivered" | "redelivered" => format!("{batch} to {}: {}", self.text("destination"), self.outcome()),
            "held" | "quarantined" => format!(
                "{} of {}, {batch}: {}",
                count(
                    self.0.get("envelopes").and_then(Value::as_array).map_or(0, |list| list.len() as u64),
                    "envelope"
                ),
                self.connector(),
                self.text("code")
            ),
            "aside-delivered" => {
                let envelopes = self.0.get("envelopes").and_then(Value::as_array).map_or(0, Vec::len);
                format!("{} of {batch}, set aside before", count(envelopes as u64, "envelope"))
            }
            "released" => {
                let by = [self.second(), self.signers()].concat();
                format!("{}, in spite of: {}{by}; reason: {}", envelope(), self.text("what"), reason())
            }
            "release-signed" => format!(
                "{} by {} ({} of {}), in spite of: {}; reason: {}",
                envelope(),
                self.text("who"),
                self.text("have"),
                self.text("need"),
                self.text("what"),
                reason()
            ),
            "unreleased" | "unrejected" => format!("{}; reason: {}", envelope(), reason()),
            "rejected" => {
                let copy = self.text("copy");
                format!("{}, set aside for: {}; its copy: {copy}; reason: {}", envelope(), self.text("what"), reason())
            }
            "given-up" => format!("{batch}, whose files are lost: {}", count(self.number("envelopes"), "envelope")),
            "gap-accepted" => {
                format!("{} of stream {}; reason: {}", self.sequences().words(), self.text("stream"), reason())
            }
            "fork-accepted" | "works-accepted" => format!("{batch}; reason: {}", reason()),
            "renewed" => format!(
                "stream {} for zone {} goes on from {}",
                self.text("stream"),
                self.text("zone"),
                self.text("succeeds")
            ),
            "followed" => format!("{batch} at {}: {}", self.text("destination"), self.ingested()),
            "refused" => format!("{batch}: {}", self.text("code")),
            "pruned" => batch,
            "ledger-accepted" => self.text("what"),
            "journal-torn" => format!("the end that a crash cut off lies in {}", self.text("kept_as")),
            "journal-changed" => format!("the ledger knew {} lines", self.text("lines")),
            _ => self.what_held(),
        }
    }

    /// By which rules a site worked, and what is known of the other side's journal, in words.
    fn what_held(&self) -> String {
        match self.text("event").as_str() {
            "peer-head" => {
                let fits =
                    if self.0.get("fits") == Some(&Value::Bool(false)) { ", another journal than before" } else { "" };
                format!(
                    "of the exporter's journal, {}, with stream {}{fits}",
                    count(self.number("lines"), "line"),
                    self.text("stream")
                )
            }
            "paired" => {
                let of = if self.text("zone").is_empty() {
                    format!("stream {}", self.text("stream"))
                } else {
                    format!("zone {}", self.text("zone"))
                };
                let replaces = self.text("replaces");
                let replaces = if replaces.is_empty() { replaces } else { format!(", in the place of {replaces}") };
                format!("pairing {} for {of}{replaces}", self.text("id"))
            }
            "acknowledged" => format!(
                "{} of stream {}, by the code {}",
                self.sequences().words(),
                self.text("stream"),
                self.text("code")
            ),
            "arrival-refused" => match self.text("why").as_str() {
                "too-many-wrong" => "a code of arrival was not tried: too many were wrong".to_owned(),
                _ => format!("a code of arrival fits no batch, {} within an hour", self.text("wrong")),
            },
            "witnessed" => format!("the journal of the other side has the code {}", self.text("code")),
            "signed" => {
                format!("{} of stream {}, with {}", self.sequences().words(), self.text("stream"), self.keys())
            }
            "trust-changed" => {
                let who = self.whose();
                let keys = count(who.len() as u64, "key");
                format!("{keys} trusted ({}), {} must sign", who.join(", "), self.text("need"))
            }
            "officers-changed" => {
                let who = self.whose();
                format!("{} may sign releases ({})", count(who.len() as u64, "officer"), who.join(", "))
            }
            "policy-changed" => format!("sha256 {}", self.text("sha256")),
            "reviewed" => format!("the month {}, up to line {}", self.text("month"), self.text("lines")),
            _ => String::new(),
        }
    }

    /// Whose keys an event lists.
    fn whose(&self) -> Vec<String> {
        let keys = self.0.get("keys").and_then(Value::as_array).into_iter().flatten();
        keys.filter_map(|key| key.get("who")?.as_str()).map(harmless).collect()
    }

    /// What became of messages, of all connectors together.
    fn ingested(&self) -> String {
        let sum = |key: &str| self.list("connectors").filter_map(|of| of.get(key)?.as_u64()).sum::<u64>();
        let parts = [
            Some(format!("{} ingested", count(sum("messages"), "message"))),
            Some(sum("failed")).filter(|n| *n > 0).map(|n| format!("{} not ingested", count(n, "object"))),
            Some(sum("refused")).filter(|n| *n > 0).map(|n| format!("{} refused by its rules", count(n, "object"))),
            Some(sum("unknown")).filter(|n| *n > 0).map(|n| format!("{} gone", count(n, "work"))),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn volume(&self) -> String {
        format!("{}, {}", count(self.number("envelopes"), "envelope"), size(self.number("bytes")))
    }

    fn keys(&self) -> String {
        let keys = self.0.get("signers").and_then(Value::as_array);
        // A key id is the beginning of the fingerprint, as file names have it.
        let ids = keys.into_iter().flatten().filter_map(Value::as_str).map(|key| key.chars().take(16).collect());
        harmless(&ids.collect::<Vec<String>>().join(", "))
    }

    fn connector(&self) -> String {
        let name = |key: &str| self.0.pointer(&format!("/connector/{key}")).and_then(Value::as_str).unwrap_or_default();
        harmless(&format!("{} ({})", name("name"), name("id")))
    }

    fn second(&self) -> String {
        let second = self.text("second");
        if second.is_empty() { second } else { format!("; second name: {second}") }
    }

    fn signers(&self) -> String {
        let signers: Vec<String> = self.list("signers").filter_map(Value::as_str).map(harmless).collect();
        if signers.is_empty() { String::new() } else { format!("; signed by {}", signers.join(", ")) }
    }

    fn carried(&self) -> String {
        let batches = self.0.get("batches").and_then(Value::as_array);
        let number = |batch: &Value| batch.get("sequence").and_then(Value::as_u64);
        let numbers: Numbers = batches.into_iter().flatten().filter_map(number).collect();
        format!("{}{}, {} written", numbers.words(), self.medium(" to "), size(self.number("bytes")))
    }

    /// Where a medium was mounted and what is known of it; nothing where none was noted.
    fn medium(&self, before: &str) -> String {
        let path = self.text("medium");
        if path.is_empty() {
            return path;
        }
        let of = |key: &str| self.0.get("device")?.get(key)?.as_str().map(harmless);
        let serial = of("serial").map(|serial| format!("serial {serial}"));
        let known: Vec<String> =
            [of("kind"), of("label"), of("model"), serial, of("fs_uuid")].into_iter().flatten().collect();
        let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
        format!("{before}{path}{known}")
    }

    fn sequences(&self) -> Numbers {
        let ranges = self.0.get("sequences").and_then(Value::as_array);
        let ends = |range: &Value| Some(range.get(0)?.as_u64()?..=range.get(1)?.as_u64()?);
        ranges.into_iter().flatten().filter_map(ends).collect()
    }

    fn outcome(&self) -> String {
        let of = |key: &str| self.0.pointer(&format!("/outcome/{key}")).and_then(Value::as_u64).unwrap_or(0);
        let mut words = format!("{} of {} delivered", of("delivered"), count(self.number("envelopes"), "envelope"));
        for (key, word) in [
            ("already_delivered", "delivered before"),
            ("empty", "with nothing to deliver"),
            ("held", "held"),
            ("quarantined", "quarantined"),
        ] {
            if of(key) > 0 {
                let _ = write!(words, ", {} {word}", of(key));
            }
        }
        words
    }
}

fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn name_that_a_spreadsheet_takes_for_a_formula_is_text() {
        let logged = Logged(
            json!({"n": 7, "event": "quarantined", "user": "=cmd|' /C calc'!A0", "operator": "a,\"b\"", "note": "\u{1b}[2J"}),
        );
        let row = logged.row();
        assert!(row.starts_with("7,,quarantined,,'=cmd|' /C calc'!A0,\"a,\"\"b\"\"\","), "{row}");
        assert!(!row.contains('\u{1b}'), "{row}");
    }
}
