//! log: the events of the journal that somebody asks for, and envelopes that were delivered.

mod look_up;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::clock::TimeSpan;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::journal::{self, LineGlance};
use crate::ledger::{self, View};
use crate::objects::StixId;
use crate::report::{FoundEnvelope, Logged};
use crate::site::Site;
use crate::text::harmless;

pub use look_up::FoundInBatches;
use look_up::LookedUpBy;

/// Which events are asked for; what is empty excludes none.
#[derive(Debug, Clone, Default)]
pub struct AskedEvents {
    /// Of this time.
    pub time: TimeSpan,
    /// Of a stream whose UUID begins so.
    pub stream: Option<String>,
    /// Of a batch of this number.
    pub batch: Option<u64>,
    /// About a connector of this id or name.
    pub connector: Option<String>,
    /// Of this kind, such as `released`.
    pub event: Option<String>,
    /// About an envelope of this name, or whose digest begins so.
    pub envelope: Option<String>,
    /// No events, but the envelopes that have this object.
    pub object: Option<StixId>,
}

/// The envelopes that are asked for, if any are and this is an importer.
///
/// # Errors
/// An object is asked for at an exporter; SQLite or the system refused.
pub fn look_up(site: &Site, asked: &AskedEvents) -> Result<Option<FoundInBatches>> {
    let wanted = match (&asked.object, &asked.envelope) {
        (Some(id), _) => LookedUpBy::Object(id.clone()),
        // Who asks for events of one kind asks for no envelopes.
        (None, Some(envelope)) if asked.event.is_none() && site.exists() => match range_of(envelope) {
            Some((from, to)) => LookedUpBy::Digest(from, to),
            None => LookedUpBy::Name(envelope.clone()),
        },
        _ => return Ok(None),
    };
    match (ledger::look(site)?, &wanted) {
        (View::Importer(ledger), _) => look_up::envelopes(site, &ledger, &wanted, asked).map(Some),
        (View::Exporter(_), LookedUpBy::Object(_)) => Err(Error::usage("an exporter keeps no list of objects")
            .at(site.root())
            .advise("ask at the importer: airpouch log --object ID --site IMPORTER")),
        (View::Exporter(_), _) => Ok(None),
    }
}

/// Hands over the events that are asked for, oldest first; those about an envelope also where they are about its batch, or
/// about one of those that were found.
///
/// # Errors
/// There is no journal, or a line of it is none; the system or SQLite refused, or whoever takes them did.
pub fn each(
    site: &Site,
    asked: &AskedEvents,
    found: &[FoundEnvelope],
    mut take: impl FnMut(Logged) -> Result<()>,
) -> Result<()> {
    let mut about = About {
        batches: match &asked.envelope {
            Some(envelope) => batches_of(site, envelope)?,
            None => Vec::new(),
        },
        digests: BTreeSet::new(),
    };
    for envelope in found {
        about.batches.push((envelope.stream.to_string(), envelope.sequence));
        about.batches.extend(envelope.delivered_by.map(|by| (by.stream.to_string(), by.sequence)));
        about.digests.extend(envelope.sha256.map(|sha256| sha256.to_string()));
    }
    let mut lines = journal::read(site)?;
    let path = lines.path().clone();
    let mut number = 0_u64;
    while let Some(line) = lines.next_line()? {
        number += 1;
        // A run is at work and writes it, or was cut off there; `audit` tells of it.
        if line.last() != Some(&b'\n') {
            break;
        }
        // Most lines are of another time: what they say is not even parsed.
        if LineGlance::of(line).is_some_and(|line| !asked.time.has(line.at)) {
            continue;
        }
        let event: Value = serde_json::from_slice(line).map_err(|e| {
            Error::failed(format!("line {number} of the journal is none: {e}"))
                .at(&path)
                .advise("look at it: airpouch audit")
        })?;
        if asked.wants(&event, &about) {
            take(Logged(event))?;
        }
    }
    Ok(())
}

/// What is known of the envelopes that are asked for: their batches, and the digests of those that were found.
struct About {
    batches: Vec<(String, u64)>,
    digests: BTreeSet<String>,
}

/// The digests that begin with these hex digits; none for a name.
fn range_of(envelope: &str) -> Option<(Digest, Digest)> {
    Digest::range_of(&envelope.to_ascii_lowercase()).filter(|_| (8..=64).contains(&envelope.len()))
}

/// The batches by which an envelope was packed or delivered, as the ledger has it.
fn batches_of(site: &Site, envelope: &str) -> Result<Vec<(String, u64)>> {
    let Some(range) = range_of(envelope) else { return Ok(Vec::new()) };
    match ledger::look(site)? {
        View::Exporter(ledger) => ledger.batches_with(range),
        View::Importer(ledger) => ledger.batches_with(range),
    }
}

impl AskedEvents {
    fn wants(&self, event: &Value, about: &About) -> bool {
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        self.time.has(text("at"))
            && self.event.as_ref().is_none_or(|kind| text("event") == kind)
            && self.stream.as_ref().is_none_or(|stream| of_batches(event, |of, _| of.starts_with(stream)))
            && self.batch.is_none_or(|number| of_batches(event, |_, of| of.contains(&number)))
            && self.connector.as_ref().is_none_or(|connector| is_about_connector(event, connector))
            && self.envelope.as_ref().is_none_or(|envelope| is_about_envelope(event, envelope, about))
    }
}

/// Whether any batch that an event names is one of those: `is` is given a stream and numbers.
fn of_batches(event: &Value, is: impl Fn(&str, &std::ops::RangeInclusive<u64>) -> bool) -> bool {
    let stream = |value: &Value| value.get("stream").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut named = Vec::new();
    for value in [event].into_iter().chain(list(event, "batches")) {
        let number = value.get("sequence").and_then(Value::as_u64);
        named.push((stream(value), number.map_or(0..=0, |number| number..=number)));
    }
    for range in list(event, "sequences") {
        let end = |at: usize| range.get(at).and_then(Value::as_u64).unwrap_or(0);
        named.push((stream(event), end(0)..=end(1)));
    }
    named.iter().any(|(stream, numbers)| is(stream, numbers))
}

fn list<'a>(event: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    event.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn is_about_connector(event: &Value, connector: &str) -> bool {
    let is = |of: &Value| ["id", "name"].iter().any(|key| of.get(key).and_then(Value::as_str) == Some(connector));
    event.get("connector").into_iter().chain(list(event, "connectors")).any(is)
}

fn is_about_envelope(event: &Value, envelope: &str, about: &About) -> bool {
    let digits = envelope.to_ascii_lowercase();
    let is = |of: &Value| {
        let text = |key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default();
        text("name") == envelope
            || harmless(text("name")) == envelope
            || (digits.len() >= 8 && text("sha256").starts_with(&digits))
            || about.digests.contains(text("sha256"))
    };
    let of_itself = event.get("envelope").is_some_and(is) || (event.get("envelope").is_some() && is(event));
    let in_batch = || {
        about
            .batches
            .iter()
            .any(|(stream, number)| of_batches(event, |of, numbers| of == stream && numbers.contains(number)))
    };
    let is_of_batch = !["held", "quarantined", "released", "unreleased", "rejected", "unrejected"]
        .contains(&event.get("event").and_then(Value::as_str).unwrap_or_default());
    of_itself || list(event, "envelopes").any(is) || (is_of_batch && in_batch())
}
