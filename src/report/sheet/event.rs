//! A table of events: when, what, who, and by which ticket.

use serde_json::Value;

use super::{heads, table, time};
use crate::html::Html;
use crate::report::Logged;
use crate::text::{count, grouped, size};

/// A table of these events; `with_batches` where they are of several.
pub(super) fn events(html: &mut Html, caption: &str, events: &[&Logged], with_batches: bool) {
    table(html, events.len(), caption, |html| {
        let names: &[&str] = match with_batches {
            true => &[
                "Line",
                "When (UTC)",
                "Batch",
                "What was done",
                "By (account, claimed names)",
                "Ticket, note (claimed)",
            ],
            false => &["Line", "When (UTC)", "What was done", "By (account, claimed names)", "Ticket, note (claimed)"],
        };
        heads(html, names);
        html.within("tbody", |html| events.iter().for_each(|event| row(html, event, with_batches)));
    });
}

fn row(html: &mut Html, event: &Logged, with_batch: bool) {
    html.within("tr", |html| {
        html.element("th scope=\"row\" class=\"n\"", &event.count_of("n").map_or_else(String::new, |n| n.to_string()));
        html.element("td class=\"t\"", &time(event.of("at")));
        if with_batch {
            html.within("td class=\"t\"", |html| batch(html, event));
        }
        html.within("td", |html| what(html, event));
        html.within("td class=\"who\"", |html| who(html, event));
        html.within("td", |html| {
            lines(html, &[("", event.of("ticket").to_owned()), ("note: ", event.of("note").to_owned())]);
        });
    });
}

fn batch(html: &mut Html, event: &Logged) {
    let carried = event.list("batches").next();
    let number = event.count_of("sequence").or_else(|| carried?.get("sequence")?.as_u64());
    let stream = carried.and_then(|of| of.get("stream")?.as_str()).unwrap_or_else(|| event.of("stream"));
    if let Some(number) = number {
        html.text(&format!("{number} "));
    }
    html.element("code", &short(stream, 8));
}

fn who(html: &mut Html, event: &Logged) {
    lines(
        html,
        &[
            ("account ", event.of("user").to_owned()),
            ("operator ", event.of("operator").to_owned()),
            ("witness ", event.of("witness").to_owned()),
            ("second person ", event.of("second").to_owned()),
        ],
    );
}

/// Those that are not empty, each in a line.
fn lines(html: &mut Html, all: &[(&str, String)]) {
    for (at, (word, text)) in all.iter().filter(|(_, text)| !text.is_empty()).enumerate() {
        if at > 0 {
            html.line_break();
        }
        html.text(word);
        html.name(text);
    }
}

fn what(html: &mut Html, event: &Logged) {
    html.element("b", event.of("event"));
    let facts: Vec<(&str, String)> = facts(event).into_iter().filter(|(_, text)| !text.is_empty()).collect();
    for (at, (word, text)) in facts.iter().enumerate() {
        html.text(if at == 0 { ": " } else { "; " });
        html.text(word);
        html.name(text);
    }
}

/// What an event has beside its batch, each with its word.
fn facts(event: &Logged) -> Vec<(&'static str, String)> {
    let of = |key: &str| event.of(key).to_owned();
    let number = |key: &str| event.count_of(key).map(grouped).unwrap_or_default();
    let list = |key: &str, noun: &str| count(event.list(key).count() as u64, noun);
    let mut facts = match event.of("event") {
        "packed" | "taken" => volume(event),
        "delivered" | "redelivered" => delivered(event),
        "held" | "quarantined" => {
            vec![("", list("envelopes", "envelope")), ("of ", connector(event)), ("", of("code"))]
        }
        "aside-delivered" => vec![("", list("envelopes", "envelope"))],
        "released" => vec![("envelope ", envelope(event)), ("in spite of ", of("code")), ("reason ", of("reason"))],
        "unreleased" | "rejected" | "unrejected" => vec![("envelope ", envelope(event)), ("reason ", of("reason"))],
        "peer-head" => vec![("the exporter's journal had lines ", number("lines"))],
        "witnessed" => vec![("code of the other side's journal ", of("code"))],
        "refused" => vec![("", of("code"))],
        "given-up" => vec![("envelopes ", number("envelopes"))],
        "acknowledged" => vec![("by the code ", of("code")), ("for batch ", number("sequence"))],
        "arrival-refused" => vec![("", of("why")), ("wrong codes within an hour ", number("wrong"))],
        "paired" => vec![("pairing ", of("id")), ("zone ", of("zone")), ("in the place of ", of("replaces"))],
        "signed" => vec![("batches ", sequences(event))],
        "gap-accepted" => vec![("batches ", sequences(event)), ("reason ", of("reason"))],
        "renewed" => vec![("zone ", of("zone")), ("goes on from ", of("succeeds"))],
        "trust-changed" => vec![("keys ", keys(event)), ("needed ", number("need"))],
        "officers-changed" => vec![("keys ", keys(event))],
        "policy-changed" => vec![("SHA-256 ", of("sha256"))],
        "ledger-accepted" => vec![("", of("what"))],
        "journal-torn" => vec![("kept as ", of("kept_as"))],
        "journal-changed" => vec![("lines that the ledger knew ", number("lines"))],
        "reviewed" => vec![("month ", of("month")), ("up to line ", number("lines"))],
        _ => vec![("reason ", of("reason"))],
    };
    facts.extend(medium(event));
    facts
}

fn volume(event: &Logged) -> Vec<(&'static str, String)> {
    let bytes = |key: &str| event.count_of(key).map(size).unwrap_or_default();
    vec![
        ("", count(event.count_of("envelopes").unwrap_or(0), "envelope")),
        ("", bytes("bytes")),
        ("packed ", bytes("packed")),
    ]
}

fn delivered(event: &Logged) -> Vec<(&'static str, String)> {
    let is_late = event.0.get("late") == Some(&Value::Bool(true));
    vec![
        ("to ", event.of("destination").to_owned()),
        ("", if is_late { "late".to_owned() } else { String::new() }),
        ("messages ", event.count_of("messages").filter(|number| *number > 0).map(grouped).unwrap_or_default()),
    ]
}

fn connector(event: &Logged) -> String {
    let name = |key: &str| event.0.pointer(&format!("/connector/{key}")).and_then(Value::as_str).unwrap_or_default();
    format!("{} ({})", name("name"), name("id"))
}

fn envelope(event: &Logged) -> String {
    let name = event.0.pointer("/envelope/name").and_then(Value::as_str).unwrap_or_default();
    format!("{name} ({})", short(event.of("sha256"), 16))
}

fn sequences(event: &Logged) -> String {
    let end = |range: &Value, at: usize| range.get(at).and_then(Value::as_u64).unwrap_or(0);
    let range = |range: &Value| match (end(range, 0), end(range, 1)) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first} to {last}"),
    };
    event.list("sequences").map(range).collect::<Vec<_>>().join(", ")
}

fn keys(event: &Logged) -> String {
    let name = |key: &Value| {
        let of = |what: &str| key.get(what).and_then(Value::as_str).unwrap_or_default();
        format!("{} ({})", of("who"), short(of("fingerprint"), 16))
    };
    event.list("keys").map(name).collect::<Vec<_>>().join(", ")
}

/// The medium: where it was mounted, and what the system told of it.
fn medium(event: &Logged) -> Vec<(&'static str, String)> {
    if event.of("medium").is_empty() {
        return Vec::new();
    }
    let device = event.0.get("device");
    let of = |key: &str| device.and_then(|device| device.get(key)?.as_str()).unwrap_or_default().to_owned();
    let bytes = device.and_then(|device| device.get("bytes")?.as_u64());
    let read_only = device.and_then(|device| device.get("read_only")?.as_bool());
    let proof = event.list("batches").next().and_then(|batch| batch.get("proof")?.as_str()).unwrap_or_default();
    vec![
        ("medium at ", event.of("medium").to_owned()),
        ("file system ", of("kind")),
        ("label ", of("label")),
        ("volume ", of("fs_uuid")),
        ("model ", of("model")),
        ("serial ", of("serial")),
        ("VID:PID ", of("vid_pid")),
        ("medium of ", bytes.map(size).unwrap_or_default()),
        ("", read_only.map(|is| if is { "read-only" } else { "writable" }.to_owned()).unwrap_or_default()),
        ("read back: ", proof.to_owned()),
    ]
}

/// The beginning of a digest or an id.
pub(super) fn short(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}
