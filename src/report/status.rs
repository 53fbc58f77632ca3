//! What a site has: what came, went, waits and is missing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Finding, Head, Page, Report};
use crate::code::Code;
use crate::stream::{Numbers, StreamId};
use crate::text::{count, grouped, harmless, size};

/// What `status` shows: both sides in one shape; what does not apply is empty.
#[derive(Debug, Default, Serialize)]
pub struct StatusReport {
    /// Which side it is.
    pub role: &'static str,
    /// The site's directory.
    pub site: String,
    /// Where the importer delivers.
    pub destination: Option<String>,
    /// The streams.
    pub streams: Vec<StreamStatus>,
    /// Files in the exporter's source that are no envelopes, with why.
    pub refused_files: Vec<Finding>,
    /// What waits for a person.
    pub to_settle: Vec<Finding>,
}

/// One stream.
#[derive(Debug, Serialize)]
pub struct StreamStatus {
    /// Its id.
    pub stream: StreamId,
    /// The zone that it is for.
    pub zone: String,
    /// The first number, 0 if there is none.
    pub first: u64,
    /// The last number, 0 if there is none.
    pub last: u64,
    /// The newest batch, with its code; at the importer the newest that was delivered.
    pub head: Option<Head>,
    /// How many batches are in which state.
    pub batches: BTreeMap<&'static str, u64>,
    /// Envelopes of all batches.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The connectors, by id.
    pub connectors: BTreeMap<String, ConnectorStatus>,
}

/// One connector of a stream.
#[derive(Debug, Default, Serialize)]
pub struct ConnectorStatus {
    /// Its name.
    pub name: String,
    /// Its envelopes.
    pub envelopes: u64,
    /// Those that are held.
    pub held: u64,
    /// Those that are quarantined.
    pub quarantined: u64,
}

/// Things of one code to settle that are listed; the rest is counted.
const SETTLED: usize = 20;

impl Report for StatusReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        page.result(format!("{} site {}", self.role, harmless(&self.site)));
        if let Some(destination) = &self.destination {
            page.result(format!("delivers to {}", harmless(destination)));
        }
        self.streams.iter().for_each(|stream| stream.write(page));
        if self.streams.is_empty() {
            page.result("nothing yet");
        }
        if !self.to_settle.is_empty() {
            page.result("");
            page.result("to settle:");
        }
        let mut lines: BTreeMap<Code, usize> = BTreeMap::new();
        for finding in &self.to_settle {
            let of_code = lines.entry(finding.code).or_default();
            *of_code += 1;
            if *of_code > SETTLED {
                continue;
            }
            let of = finding.stream.map_or_else(String::new, |stream| format!(" (stream {stream})"));
            page.result(format!("  {}{of}", finding.what));
            if let Some(advice) = &finding.advice {
                page.result(format!("      {advice}"));
            }
        }
        for (code, more) in lines.iter().filter(|(_, lines)| **lines > SETTLED) {
            let kind = code.word().replace('-', " ");
            page.result(format!("  and {} more ({kind})", grouped((more - SETTLED) as u64)));
            page.result("      airpouch status --json names each of them");
        }
    }
}

impl StreamStatus {
    /// A stream of which nothing else is known yet.
    pub fn new(stream: StreamId, zone: String) -> Self {
        Self {
            stream,
            zone,
            first: 0,
            last: 0,
            head: None,
            batches: BTreeMap::new(),
            envelopes: 0,
            bytes: 0,
            connectors: BTreeMap::new(),
        }
    }

    fn write(&self, page: &mut Page<'_>) {
        /// Connectors shown by name for one stream; the rest is counted.
        const SHOWN: usize = 12;
        page.result("");
        let head = self.head.as_ref().map_or_else(String::new, |head| format!(", head code {}", head.code));
        page.result(format!("stream {} for zone {}{head}", self.stream, self.zone));
        if self.last > 0 {
            let states: Vec<String> = self.batches.iter().map(|(word, n)| format!("{} {word}", grouped(*n))).collect();
            let numbers: Numbers = [self.first..=self.last].into_iter().collect();
            page.result(format!("  {}: {}", numbers.words(), states.join(", ")));
            page.result(format!("  {}, {}", count(self.envelopes, "envelope"), size(self.bytes)));
        }
        for connector in self.connectors.values().take(SHOWN) {
            let mut line = format!("    {:>9}  {}", grouped(connector.envelopes), harmless(&connector.name));
            for (number, word) in [(connector.held, "held"), (connector.quarantined, "quarantined")] {
                if number > 0 {
                    line.push_str(&format!(", {number} {word}"));
                }
            }
            page.result(line);
        }
        if self.connectors.len() > SHOWN {
            page.result(format!("    and {}", count((self.connectors.len() - SHOWN) as u64, "connector")));
        }
    }
}
