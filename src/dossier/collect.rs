//! Brings together what the events of a journal say of each batch.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::AskedBatches;
use crate::clock::TimeSpan;
use crate::report::{
    ApplicantFacts, AsideFacts, BatchDossier, ConnectorFacts, EnvelopeFacts, Logged, ManifestFacts, NAMED_ENVELOPES,
    NamedConnector, Outcome, ReleaseFacts, SignerName,
};
use crate::stream::Numbers;

/// The batches so far.
pub(super) struct Collected {
    asked: AskedBatches,
    span: TimeSpan,
    /// Whether what was done outside of that time is left out; else a batch is told whole.
    only_in_time: bool,
    batches: BTreeMap<(String, u64), (BatchDossier, bool)>,
    others: Vec<Logged>,
    /// The trust store's names by fingerprint, and the run that has set them.
    names: BTreeMap<String, String>,
    named_by: String,
    /// The digest of the policy in force.
    policy: Option<String>,
}

impl Collected {
    pub(super) fn new(asked: AskedBatches, span: TimeSpan, only_in_time: bool) -> Self {
        Self {
            asked,
            span,
            only_in_time,
            batches: BTreeMap::new(),
            others: Vec::new(),
            names: BTreeMap::new(),
            named_by: String::new(),
            policy: None,
        }
    }

    /// What was collected: the batches with which something was done in that time, and the other events of it.
    pub(super) fn ended(self) -> (Vec<BatchDossier>, Vec<Logged>) {
        let in_time = self.batches.into_values().filter(|(_, in_time)| *in_time);
        (in_time.map(|(batch, _)| batch).collect(), self.others)
    }

    pub(super) fn take(&mut self, event: Logged) {
        match event.of("event") {
            "trust-changed" => self.note_trust(&event),
            "policy-changed" => {
                self.policy = Some(event.of("sha256").to_owned()).filter(|_| !event.of("text").is_empty());
            }
            _ => {}
        }
        let in_time = self.span.has(event.of("at"));
        let stream = event.of("stream").to_owned();
        if event.0.get("batches").is_some() {
            // A carry names all its batches: each of them has its own part of the event.
            let batches: Vec<Value> = event.list("batches").cloned().collect();
            let mut part = event.0;
            part["batches"] = Value::Null;
            for batch in batches {
                let stream = text(&batch, "stream");
                let Some(sequence) = batch.get("sequence").and_then(Value::as_u64) else { continue };
                if self.is_asked(&stream, sequence) {
                    part["batches"] = json!([batch]);
                    self.note(stream, sequence, Logged(part.clone()), in_time);
                }
            }
        } else if event.of("event") == "acknowledged" {
            self.note_acknowledged(&stream, &event, in_time);
        } else if let Some(sequence) = event.count_of("sequence") {
            if self.is_asked(&stream, sequence) {
                self.note(stream, sequence, event, in_time);
            }
        } else if in_time && self.is_asked_beside(&event) {
            self.others.push(event);
        }
    }

    /// A code of arrival is about many batches: each that is known so far has its own part of the event.
    fn note_acknowledged(&mut self, stream: &str, event: &Logged, in_time: bool) {
        let numbers = event.list("sequences").filter_map(range_of);
        let numbers: Numbers = numbers.collect();
        let is_meant = |(of, sequence): &&(String, u64)| of == stream && numbers.contains(*sequence);
        let batches: Vec<(String, u64)> = self.batches.keys().filter(is_meant).cloned().collect();
        for (stream, sequence) in batches {
            let mut part = event.0.clone();
            part["sequences"] = json!([[sequence, sequence]]);
            self.note(stream, sequence, Logged(part), in_time);
        }
    }

    fn is_asked(&self, stream: &str, sequence: u64) -> bool {
        self.asked.stream.as_ref().is_none_or(|asked| stream.starts_with(asked))
            && self.asked.numbers.as_ref().is_none_or(|numbers| numbers.contains(&sequence))
    }

    /// Whether an event belongs to the page that is about no single batch.
    fn is_asked_beside(&self, event: &Logged) -> bool {
        let of_stream = self.asked.stream.as_ref().is_none_or(|asked| event.of("stream").starts_with(asked));
        let Some(numbers) = &self.asked.numbers else { return of_stream };
        let overlaps = |range: RangeInclusive<u64>| range.start() <= numbers.end() && numbers.start() <= range.end();
        of_stream && event.list("sequences").filter_map(range_of).any(overlaps)
    }

    /// A list that has no room in a line goes on in a further event of the same run.
    fn note_trust(&mut self, event: &Logged) {
        if self.named_by != event.of("run") {
            self.names.clear();
            event.of("run").clone_into(&mut self.named_by);
        }
        self.names.extend(event.list("keys").map(|key| (text(key, "fingerprint"), text(key, "who"))));
    }

    fn note(&mut self, stream: String, sequence: u64, event: Logged, in_time: bool) {
        let signers = event.list("signers").filter_map(Value::as_str).map(|fingerprint| {
            let name = self.names.get(fingerprint).filter(|name| !name.is_empty()).cloned();
            SignerName { fingerprint: fingerprint.to_owned(), name }
        });
        let signers: Vec<SignerName> = signers.collect();
        let (batch, is_in_time) = self
            .batches
            .entry((stream.clone(), sequence))
            .or_insert_with(|| (BatchDossier { stream, sequence, ..BatchDossier::default() }, false));
        *is_in_time |= in_time;
        note_manifest(batch, &event);
        if self.only_in_time && !in_time {
            return;
        }
        for signer in signers {
            if !batch.signers.contains(&signer) {
                batch.signers.push(signer);
            }
        }
        for check in event.list("checks").filter_map(Value::as_str) {
            if !batch.checks.iter().any(|known| known == check) {
                batch.checks.push(check.to_owned());
            }
        }
        match event.of("event") {
            "held" | "quarantined" => note_set_aside(batch, &event),
            "released" => batch.released.push(release(&event)),
            "delivered" => {
                batch.outcome = Some(batch.outcome.unwrap_or_default().and(outcome(&event)));
                note_delivered(batch, &event, self.policy.as_ref());
            }
            "redelivered" => {
                batch.redelivered = Some(batch.redelivered.unwrap_or_default().and(outcome(&event)));
                // The journal may have begun after it was delivered.
                if batch.outcome.is_none() {
                    note_delivered(batch, &event, self.policy.as_ref());
                }
            }
            "followed" => note_ingested(batch, &event),
            _ => {}
        }
        note_time(batch, &event);
        batch.events.push(event);
    }
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn connector(of: Option<&Value>) -> NamedConnector {
    let name = |key: &str| of.map(|of| text(of, key)).unwrap_or_default();
    NamedConnector { id: name("id"), name: name("name") }
}

fn counts(of: &Value, key: &str) -> BTreeMap<String, u64> {
    let all = of.get(key).and_then(Value::as_object).into_iter().flatten();
    all.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
}

fn note_manifest(batch: &mut BatchDossier, event: &Logged) {
    let carried = event.list("batches").next();
    let sha256 = carried.map_or_else(|| event.of("sha256").to_owned(), |carried| text(carried, "sha256"));
    // The digest of a decision is that of its envelope.
    if sha256.is_empty() || event.0.get("envelope").is_some() {
        return;
    }
    let at = batch.manifests.iter().position(|known| known.sha256 == sha256).unwrap_or_else(|| {
        batch.manifests.push(ManifestFacts { sha256, ..ManifestFacts::default() });
        batch.manifests.len() - 1
    });
    if carried.is_none() && event.0.get("zone").is_some() {
        let manifest = &mut batch.manifests[at];
        manifest.zone = Some(event.of("zone").to_owned());
        manifest.envelopes = event.count_of("envelopes");
        manifest.bytes = event.count_of("bytes");
        manifest.packed = event.count_of("packed");
    }
}

fn range_of(range: &Value) -> Option<RangeInclusive<u64>> {
    Some(range.get(0)?.as_u64()?..=range.get(1)?.as_u64()?)
}

fn note_time(batch: &mut BatchDossier, event: &Logged) {
    let times = &mut batch.times;
    let time = match event.of("event") {
        "packed" => &mut times.packed,
        "carried" => &mut times.carried,
        "taken" => &mut times.taken,
        "admitted" => &mut times.admitted,
        "delivered" => &mut times.delivered,
        "acknowledged" => &mut times.acknowledged,
        "pruned" => &mut times.pruned,
        _ => return,
    };
    time.get_or_insert_with(|| event.of("at").to_owned());
}

fn note_ingested(batch: &mut BatchDossier, event: &Logged) {
    let facts = batch.ingested.get_or_insert_default();
    for of in event.list("connectors") {
        let number = |key: &str| of.get(key).and_then(Value::as_u64).unwrap_or(0);
        facts.works += number("works");
        facts.messages += number("messages");
        facts.failed += number("failed");
        facts.refused += number("refused");
        facts.unknown += number("unknown");
    }
}

fn outcome(event: &Logged) -> Outcome {
    let of = |key: &str| event.0.pointer(&format!("/outcome/{key}")).and_then(Value::as_u64).unwrap_or(0);
    Outcome {
        delivered: of("delivered"),
        already_delivered: of("already_delivered"),
        empty: of("empty"),
        held: of("held"),
        quarantined: of("quarantined"),
        deferred: of("deferred"),
    }
}

fn note_delivered(batch: &mut BatchDossier, event: &Logged, policy: Option<&String>) {
    batch.policy = policy.cloned();
    let envelopes = |of: &Value| of.get("envelopes").and_then(Value::as_u64).unwrap_or(0);
    batch.connectors = event
        .list("connectors")
        .map(|of| ConnectorFacts {
            connector: connector(Some(of)),
            envelopes: envelopes(of),
            types: counts(of, "types"),
            markings: counts(of, "markings"),
        })
        .collect();
    let id = |of: &Value| of.get("id").and_then(Value::as_str).map(str::to_owned);
    batch.applicants =
        event.list("applicants").map(|of| ApplicantFacts { id: id(of), envelopes: envelopes(of) }).collect();
}

fn envelope(of: &Value) -> EnvelopeFacts {
    let ordinal = of.get("ordinal").and_then(Value::as_u64).unwrap_or(0);
    EnvelopeFacts { sha256: text(of, "sha256"), ordinal, name: text(of, "name"), what: text(of, "what") }
}

fn note_set_aside(batch: &mut BatchDossier, event: &Logged) {
    let (kind, code, connector) = (event.of("event"), event.of("code"), connector(event.0.get("connector")));
    let is_same = |group: &AsideFacts| group.event == kind && group.code == code && group.connector == connector;
    let at = batch.set_aside.iter().position(is_same).unwrap_or_else(|| {
        let (event, code) = (kind.to_owned(), code.to_owned());
        batch.set_aside.push(AsideFacts { event, code, connector, envelopes: 0, first: Vec::new() });
        batch.set_aside.len() - 1
    });
    let group = &mut batch.set_aside[at];
    for of in event.list("envelopes") {
        group.envelopes += 1;
        if group.first.len() < NAMED_ENVELOPES {
            group.first.push(envelope(of));
        }
    }
}

fn release(event: &Logged) -> ReleaseFacts {
    let given = |key: &str| Some(event.of(key).to_owned()).filter(|text| !text.is_empty());
    let named = event.0.get("envelope").map(envelope);
    let ordinal = named.as_ref().map_or(0, |named| named.ordinal);
    ReleaseFacts {
        n: event.count_of("n").unwrap_or(0),
        at: event.of("at").to_owned(),
        envelope: EnvelopeFacts {
            sha256: event.of("sha256").to_owned(),
            ordinal,
            name: named.map(|named| named.name).unwrap_or_default(),
            what: event.of("what").to_owned(),
        },
        connector: connector(event.0.get("connector")),
        code: event.of("code").to_owned(),
        reason: event.of("reason").to_owned(),
        user: event.of("user").to_owned(),
        operator: given("operator"),
        second: Some(event.of("second").to_owned()).filter(|second| !second.is_empty()),
        signers: event.list("signers").filter_map(Value::as_str).map(str::to_owned).collect(),
        witness: given("witness"),
        ticket: given("ticket"),
    }
}
