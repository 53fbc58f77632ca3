//! A status for Prometheus, in its text format (exposition format 0.0.4). Moments and not ages: who asks later reckons with
//! its own clock. What never was has no line.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use super::parts::batches_waiting;
use super::{StatusReport, StreamStatus, When};

/// The lines of one metric.
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    values: Vec<(String, String)>,
}

impl Metric {
    fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: "gauge", values: Vec::new() }
    }

    fn with(mut self, labels: &[(&str, &str)], value: impl Display) -> Self {
        let labels: Vec<String> = labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
        self.values.push((labels.join(","), value.to_string()));
        self
    }

    /// A value for each stream of which there is one.
    fn of_streams<T: Display>(self, report: &StatusReport, of: impl Fn(&StreamStatus) -> Option<T>) -> Self {
        report.streams.iter().fold(self, |metric, stream| match of(stream) {
            Some(value) => metric.with(&[("stream", &stream.stream.to_string())], value),
            None => metric,
        })
    }

    /// A value for each connector of each stream of which there is one.
    fn of_connectors<T: Display>(
        self,
        report: &StatusReport,
        of: impl Fn(&super::ConnectorStatus) -> Option<T>,
    ) -> Self {
        let all =
            report.streams.iter().flat_map(|s| s.connectors.iter().map(move |(id, connector)| (s, id, connector)));
        all.fold(self, |metric, (stream, id, connector)| match of(connector) {
            Some(value) => {
                let stream = stream.stream.to_string();
                metric.with(&[("stream", &stream), ("connector", id), ("name", &connector.name)], value)
            }
            None => metric,
        })
    }
}

/// A label's value: nothing in a connector's name ends it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The moment of something, where it was and is known.
fn moment(when: Option<&When>) -> Option<i64> {
    when?.at
}

/// All that a monitoring system may ask of a site; `version` is that of airpouch.
pub fn metrics(report: &StatusReport, version: &str) -> String {
    let mut waits: BTreeMap<&str, u64> = BTreeMap::new();
    report.to_settle.iter().for_each(|finding| *waits.entry(finding.code.word()).or_default() += 1);
    let active = |stream: &StreamStatus, value: Option<i64>| value.filter(|_| stream.is_active);
    let to_settle = Metric::gauge("airpouch_to_settle", "What waits for a person, by its code.");
    let mut all = vec![
        Metric::gauge("airpouch_build_info", "The version of airpouch, and the side of the site.")
            .with(&[("version", version), ("side", report.role)], 1),
        Metric::gauge("airpouch_status_timestamp_seconds", "When this was written.").with(&[], report.now),
        Metric::gauge("airpouch_last_packed_timestamp_seconds", "When the last batch was packed.")
            .of_streams(report, |stream| active(stream, moment(stream.last_packed.as_ref()))),
        Metric::gauge("airpouch_last_carried_timestamp_seconds", "When the last batch was carried.")
            .of_streams(report, |stream| active(stream, moment(stream.last_carried.as_ref()))),
        Metric::gauge("airpouch_last_acknowledged_timestamp_seconds", "When the importer last said what has arrived.")
            .of_streams(report, |stream| active(stream, moment(stream.last_acknowledged.as_ref()))),
        Metric::gauge("airpouch_last_taken_timestamp_seconds", "When the last batch was taken into custody.")
            .of_streams(report, |stream| active(stream, moment(stream.last_taken.as_ref()))),
        Metric::gauge("airpouch_last_delivered_timestamp_seconds", "When something of a batch was delivered last.")
            .of_streams(report, |stream| active(stream, moment(stream.last_delivered.as_ref()))),
        Metric::gauge("airpouch_promise_deadline_timestamp_seconds", "By when the exporter promises the next batch.")
            .of_streams(report, |stream| active(stream, stream.promised_by)),
        Metric::gauge("airpouch_last_envelope_timestamp_seconds", "When a connector's last envelopes came.")
            .of_connectors(report, |connector| moment(connector.last.as_ref())),
        Metric::gauge("airpouch_waiting_batches", "Batches that have not come to where this side brings them.")
            .of_streams(report, |stream| Some(batches_waiting(stream))),
        Metric::gauge("airpouch_missing_batches", "Numbers that have not come.")
            .of_streams(report, |stream| Some(stream.missing)),
        Metric::gauge("airpouch_held_envelopes", "Envelopes that are held.")
            .of_connectors(report, |connector| Some(connector.held)),
        Metric::gauge("airpouch_quarantined_envelopes", "Envelopes that are quarantined.")
            .of_connectors(report, |connector| Some(connector.quarantined)),
        waits.into_iter().fold(to_settle, |metric, (code, number)| metric.with(&[("code", code)], number)),
    ];
    if report.role == "importer" {
        let help = "Envelopes of batches that are done, without those that are set aside.";
        all.push(
            Metric { kind: "counter", ..Metric::gauge("airpouch_delivered_envelopes_total", help) }
                .of_streams(report, |stream| Some(stream.delivered)),
        );
    }
    all.iter().filter(|metric| !metric.values.is_empty()).map(text).collect()
}

fn text(metric: &Metric) -> String {
    let Metric { name, help, kind, values } = metric;
    let mut text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value) in values {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        // Writing into a text does not fail.
        let _ = writeln!(text, "{name}{labels} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_connector_ends_no_label_and_begins_no_line() {
        let name = "a\\\"} 1\nairpouch_up 0";
        let metric = Metric::gauge("airpouch_x", "X.").with(&[("name", name)], 7);
        assert_eq!(text(&metric).lines().last(), Some("airpouch_x{name=\"a\\\\\\\"} 1\\nairpouch_up 0\"} 7"));
        assert_eq!(text(&metric).lines().count(), 3);
    }
}
