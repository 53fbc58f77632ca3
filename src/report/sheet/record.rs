//! The record of some batches: a summary of all of them, then a section each.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{events, short};
use super::{claims, fact, heads, sheet, table, time};
use crate::html::Html;
use crate::opencti::marking_words;
use crate::report::{AsideFacts, BatchDossier, DossierReport, IngestFacts, Outcome, ReleaseFacts};
use crate::text::{count, grouped, size};

impl DossierReport {
    /// The page that a person prints and signs.
    pub fn html(&self) -> String {
        sheet(&format!("Record of {}", self.asked), self, |html| {
            claims(html);
            if self.batches.len() != 1 {
                summary(html, &self.batches, self.side);
            }
            if !self.others.is_empty() {
                let others: Vec<_> = self.others.iter().collect();
                events(html, "Events of no single batch", &others, false);
            }
            self.batches.iter().for_each(|batch| section(html, batch));
        })
    }
}

/// The size of the manifest of a batch; of the first one where it has several.
fn envelopes(batch: &BatchDossier) -> u64 {
    batch.manifests.iter().find_map(|manifest| manifest.envelopes).unwrap_or(0)
}

fn aside(batch: &BatchDossier, event: &str) -> u64 {
    batch.set_aside.iter().filter(|group| group.event == event).map(|group| group.envelopes).sum()
}

fn summary(html: &mut Html, batches: &[BatchDossier], side: &str) {
    let streams: BTreeSet<&str> = batches.iter().map(|batch| batch.stream.as_str()).collect();
    let all = count(batches.iter().map(envelopes).sum(), "envelope");
    let of = count(streams.len() as u64, "stream");
    let caption = format!("Summary: {} of {of}, {all}", count(batches.len() as u64, "batch"));
    table(html, batches.len(), &caption, |html| {
        let is_exporter = side == "exporter";
        match is_exporter {
            true => heads(
                html,
                &["Batch", "Stream", "Zone", "Envelopes", "Size", "Packed (UTC)", "Carried (UTC)", "Manifest"],
            ),
            false => heads(
                html,
                &[
                    "Batch",
                    "Stream",
                    "Zone",
                    "Envelopes",
                    "Taken (UTC)",
                    "Delivered (UTC)",
                    "Held",
                    "Quarantined",
                    "Released",
                    "Manifest",
                ],
            ),
        }
        html.within("tbody", |html| batches.iter().for_each(|batch| summary_row(html, batch, is_exporter)));
    });
}

fn summary_row(html: &mut Html, batch: &BatchDossier, is_exporter: bool) {
    let manifest = batch.manifests.first().cloned().unwrap_or_default();
    let at = |time: &Option<String>| time.as_deref().map(self::time).unwrap_or_default();
    html.within("tr", |html| {
        html.element("th scope=\"row\" class=\"n\"", &batch.sequence.to_string());
        html.within("td", |html| html.element("code", &short(&batch.stream, 8)));
        html.within("td", |html| html.name(manifest.zone.as_deref().unwrap_or("")));
        html.element("td class=\"n\"", &grouped(envelopes(batch)));
        if is_exporter {
            html.element("td class=\"n\"", &size(manifest.bytes.unwrap_or(0)));
            html.element("td", &at(&batch.times.packed));
            html.element("td", &at(&batch.times.carried));
        } else {
            html.element("td", &at(&batch.times.taken));
            html.element("td", &at(&batch.times.delivered));
            html.element("td class=\"n\"", &grouped(aside(batch, "held")));
            html.element("td class=\"n\"", &grouped(aside(batch, "quarantined")));
            html.element("td class=\"n\"", &grouped(batch.released.len() as u64));
        }
        html.within("td", |html| {
            html.element("code", &short(&manifest.sha256, 12));
            if batch.manifests.len() > 1 {
                html.text(&format!(" and {} more", batch.manifests.len() - 1));
            }
        });
    });
}

fn section(html: &mut Html, batch: &BatchDossier) {
    html.within("section", |html| {
        html.element("h2", &format!("Batch {} of stream {}", batch.sequence, batch.stream));
        html.within("dl", |html| facts(html, batch));
        let all: Vec<_> = batch.events.iter().collect();
        events(html, "What was done", &all, false);
        if !batch.connectors.is_empty() {
            connectors(html, batch);
        }
        if !batch.set_aside.is_empty() {
            set_aside(html, &batch.set_aside);
        }
        if !batch.released.is_empty() {
            released(html, &batch.released);
        }
    });
}

fn facts(html: &mut Html, batch: &BatchDossier) {
    if batch.manifests.len() > 1 {
        fact(html, "Fork", |html| {
            html.element("b", &format!("{} manifests have this number", batch.manifests.len()));
        });
    }
    for manifest in &batch.manifests {
        fact(html, "Manifest (SHA-256)", |html| html.element("code", &manifest.sha256));
        let Some(zone) = &manifest.zone else { continue };
        fact(html, "Zone, size", |html| {
            html.name(zone);
            let of = |bytes: Option<u64>| size(bytes.unwrap_or(0));
            let envelopes = count(manifest.envelopes.unwrap_or(0), "envelope");
            html.text(&format!(": {envelopes}, {}, packed {}", of(manifest.bytes), of(manifest.packed)));
        });
    }
    if !batch.signers.is_empty() {
        fact(html, "Signed by", |html| {
            for (at, signer) in batch.signers.iter().enumerate() {
                html.text(if at > 0 { ", " } else { "" });
                if let Some(name) = &signer.name {
                    html.name(name);
                    html.text(" ");
                }
                html.element("code", &short(&signer.fingerprint, 16));
            }
        });
    }
    if !batch.checks.is_empty() {
        fact(html, "Checks passed", |html| html.text(&batch.checks.join(", ")));
    }
    let outcomes = [("Outcome", &batch.outcome), ("Delivered again", &batch.redelivered)];
    if outcomes.iter().all(|(_, outcome)| outcome.is_none()) {
        return;
    }
    for (title, outcome) in outcomes {
        if let Some(outcome) = outcome {
            fact(html, title, |html| html.text(&words_of(outcome)));
        }
    }
    if let Some(facts) = batch.ingested {
        fact(html, "On the platform", |html| html.text(&ingested(facts)));
    }
    fact(html, "Policy", |html| match &batch.policy {
        Some(sha256) => html.element("code", &format!("SHA-256 {}", short(sha256, 16))),
        None => html.text("the defaults"),
    });
    if !batch.applicants.is_empty() {
        fact(html, "Applicants", |html| {
            for (at, applicant) in batch.applicants.iter().enumerate() {
                html.text(if at > 0 { ", " } else { "" });
                html.name(applicant.id.as_deref().unwrap_or("none named"));
                html.text(&format!(" ({})", grouped(applicant.envelopes)));
            }
        });
    }
}

fn words_of(outcome: &Outcome) -> String {
    let all = [
        (outcome.delivered, "delivered"),
        (outcome.already_delivered, "delivered before"),
        (outcome.empty, "with nothing to deliver"),
        (outcome.held, "held"),
        (outcome.quarantined, "quarantined"),
        (outcome.deferred, "not delivered yet"),
    ];
    let some = all.iter().filter(|(number, _)| *number > 0);
    some.map(|(number, word)| format!("{} {word}", grouped(*number))).collect::<Vec<_>>().join(", ")
}

/// What became of a batch on the platform.
fn ingested(facts: IngestFacts) -> String {
    let all = [
        (facts.messages, "messages ingested"),
        (facts.failed, "objects not ingested"),
        (facts.refused, "objects refused by its rules"),
        (facts.unknown, "works of unknown end"),
    ];
    let some = all.iter().enumerate().filter(|(at, (number, _))| *at == 0 || *number > 0);
    some.map(|(_, (number, word))| format!("{} {word}", grouped(*number))).collect::<Vec<_>>().join(", ")
}

fn numbers(counts: &BTreeMap<String, u64>, html: &mut Html) {
    for (at, (name, number)) in counts.iter().enumerate() {
        html.text(if at > 0 { ", " } else { "" });
        html.name(name);
        html.text(&format!(" {}", grouped(*number)));
    }
}

/// Markings by their words: a level has several ids.
fn by_level(markings: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut levels = BTreeMap::new();
    markings.iter().for_each(|(id, number)| *levels.entry(marking_words(id)).or_default() += number);
    levels
}

fn connectors(html: &mut Html, batch: &BatchDossier) {
    table(html, batch.connectors.len(), "Connectors in the batch, with their objects", |html| {
        heads(html, &["Connector", "Envelopes", "Objects by type", "Objects by marking"]);
        html.within("tbody", |html| {
            for facts in &batch.connectors {
                html.within("tr", |html| {
                    html.within("th scope=\"row\"", |html| {
                        html.name(&facts.connector.name);
                        html.line_break();
                        html.element("code", &facts.connector.id);
                    });
                    html.element("td class=\"n\"", &grouped(facts.envelopes));
                    html.within("td", |html| numbers(&facts.types, html));
                    html.within("td", |html| numbers(&by_level(&facts.markings), html));
                });
            }
        });
    });
}

fn set_aside(html: &mut Html, groups: &[AsideFacts]) {
    table(html, groups.len(), "Held and quarantined", |html| {
        heads(html, &["State, reason", "Connector", "Envelopes", "The first of them: position, name, digest, why"]);
        html.within("tbody", |html| {
            for group in groups {
                html.within("tr", |html| {
                    html.within("th scope=\"row\"", |html| {
                        html.element("b", &group.event);
                        html.text(": ");
                        html.text(&group.code);
                    });
                    html.within("td", |html| html.name(&group.connector.name));
                    html.element("td class=\"n\"", &grouped(group.envelopes));
                    html.within("td", |html| {
                        for (at, envelope) in group.first.iter().enumerate() {
                            if at > 0 {
                                html.line_break();
                            }
                            html.text(&format!("{}: ", envelope.ordinal));
                            html.name(&envelope.name);
                            html.text(", ");
                            html.element("code", &short(&envelope.sha256, 16));
                            html.text(", ");
                            html.name(&envelope.what);
                        }
                        if group.envelopes > group.first.len() as u64 {
                            html.line_break();
                            html.text(&format!("and {} more", grouped(group.envelopes - group.first.len() as u64)));
                        }
                    });
                });
            }
        });
    });
}

/// What was let through, with all that there is to say of it: it is what an officer answers for.
fn released(html: &mut Html, releases: &[ReleaseFacts]) {
    table(html, releases.len(), "Let through by a person in spite of the reason against it", |html| {
        heads(
            html,
            &["When (UTC)", "Envelope", "In spite of", "Reason (claimed)", "Persons (claimed), account, ticket"],
        );
        html.within("tbody", |html| releases.iter().for_each(|release| release_row(html, release)));
    });
}

fn release_row(html: &mut Html, release: &ReleaseFacts) {
    html.within("tr", |html| {
        html.element("th scope=\"row\"", &time(&release.at));
        html.within("td", |html| {
            html.text(&format!("{}: ", release.envelope.ordinal));
            html.name(&release.envelope.name);
            html.text(" of ");
            html.name(&release.connector.name);
            html.line_break();
            html.element("code", &release.envelope.sha256);
        });
        html.within("td", |html| {
            html.text(&format!("{}: ", release.code));
            html.name(&release.envelope.what);
        });
        html.within("td", |html| html.name(&release.reason));
        html.within("td class=\"who\"", |html| {
            let signers = release.signers.join(", ");
            let persons = [
                ("operator ", Some(release.operator.as_deref().unwrap_or("not named"))),
                ("second person ", release.second.as_deref()),
                ("signed by ", Some(&*signers).filter(|signers| !signers.is_empty())),
                ("witness ", release.witness.as_deref()),
                ("account ", Some(&*release.user)),
                ("ticket ", release.ticket.as_deref()),
            ];
            for (at, (word, name)) in persons.iter().filter_map(|(word, name)| Some((word, (*name)?))).enumerate() {
                if at > 0 {
                    html.line_break();
                }
                html.text(word);
                html.name(name);
            }
        });
    });
}
