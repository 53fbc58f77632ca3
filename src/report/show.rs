//! What a batch or an envelope is, for whoever decides about it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{BatchLine, ExitStatus, Finding, NamedConnector, NamedEnvelope, Page, Report, status_of};
use crate::batch::manifest::ApplicantEntry;
use crate::code::Code;
use crate::digest::Digest;
use crate::opencti::marking_words;
use crate::stream::StreamId;
use crate::text::{count, grouped, harmless, size};

/// What `show` shows: the batches of a medium, one batch of a site, or one envelope.
#[derive(Debug, Default, Serialize)]
pub struct ShowReport {
    /// The batches.
    pub batches: Vec<BatchCard>,
    /// The envelope.
    pub envelope: Option<EnvelopeCard>,
    /// What is wrong with what was read.
    pub findings: Vec<Finding>,
}

/// What a batch is.
#[derive(Debug, Serialize)]
pub struct BatchCard {
    /// The batch.
    #[serde(flatten)]
    pub batch: BatchLine,
    /// How far it has come in the site.
    pub state: Option<&'static str>,
    /// When its maker says that it was made.
    pub created: String,
    /// The program that made it.
    pub producer: String,
    /// Who signed, by the names of the trust store where there is one.
    pub signers: Vec<String>,
    /// Whether each envelope was read. Else its manifest alone is known, and so no types, markings, files and commands.
    pub is_read: bool,
    /// Whether its index was read, which was kept when its files were pruned: so types and markings are known as the exporter
    /// counted them.
    pub is_of_index: bool,
    /// The connectors, the largest first.
    pub connectors: Vec<ConnectorCard>,
    /// The applicants of the other side, with their envelopes.
    pub applicants: Vec<ApplicantEntry>,
    /// Files inside its bundles.
    pub files: EmbeddedFiles,
    /// Envelopes with commands or internal types, one for each kind of these in each envelope; the first 1,000.
    pub acts: Vec<ShownAct>,
    /// How many more there are.
    pub more_acts: u64,
    /// With how many batches before it in its stream it was compared.
    pub compared: u64,
    /// What is unusual beside these.
    pub unusual: Vec<Unusual>,
}

/// What a batch has of one connector.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectorCard {
    /// The connector.
    #[serde(flatten)]
    pub connector: NamedConnector,
    /// Its type, such as `EXTERNAL_IMPORT`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its envelopes.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes of the largest one.
    pub largest: u64,
    /// Their objects by type.
    pub types: BTreeMap<String, u64>,
    /// Their objects by marking.
    pub markings: BTreeMap<String, u64>,
}

/// Files inside bundles.
#[derive(Debug, Default, Clone, Serialize)]
pub struct EmbeddedFiles {
    /// How many.
    pub number: u64,
    /// The bytes of the largest one, decoded.
    pub largest: u64,
    /// How many of each MIME type; `?` for those that name none.
    pub types: BTreeMap<String, u64>,
}

/// Commands or internal types of one kind in one envelope.
#[derive(Debug, Clone, Serialize)]
pub struct ShownAct {
    /// `command` or `internal-type`.
    pub code: Code,
    /// The operation, or the internal type.
    pub name: String,
    /// How often it is there.
    pub number: u64,
    /// The envelope.
    pub envelope: NamedEnvelope,
    /// Its connector.
    pub connector: NamedConnector,
    /// The first of them, in words.
    pub what: String,
}

/// Something that the batches before did not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unusual {
    /// `new-connector`, `renamed-connector`, `new-applicant`, `new-signer`, `first-command`, `large` or `many`.
    pub kind: &'static str,
    /// What it is.
    pub what: String,
}

impl Unusual {
    /// Of this kind, in these words.
    pub fn new(kind: &'static str, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }
}

/// What an envelope is.
#[derive(Debug, Serialize)]
pub struct EnvelopeCard {
    /// Its stream.
    pub stream: StreamId,
    /// The number of its batch.
    pub sequence: u64,
    /// Its digest.
    pub sha256: Digest,
    /// Its place and name in the batch.
    #[serde(flatten)]
    pub envelope: NamedEnvelope,
    /// Its bytes.
    pub bytes: u64,
    /// When the connector wrote it.
    pub mtime: String,
    /// Its connector.
    pub connector: NamedConnector,
    /// Its applicant on the other side.
    pub applicant: Option<String>,
    /// What became of it here: `delivered`, `held`, `quarantined`, `released` or `rejected`; none at the exporter, and before it was
    /// looked at.
    pub state: Option<&'static str>,
    /// Its objects.
    pub objects: u64,
    /// How many of each type.
    pub types: BTreeMap<String, u64>,
    /// How many of each marking.
    pub markings: BTreeMap<String, u64>,
    /// Files inside its bundle.
    pub files: EmbeddedFiles,
    /// What the policy does with it: `pass`, `hold` or `quarantine`.
    pub verdict: &'static str,
    /// Why, and what else is remarkable about it.
    pub remarks: Vec<ShownRemark>,
    /// Its lines, as far as they are shown.
    #[serde(skip)]
    pub lines: Vec<ShownLine>,
}

/// Something remarkable about an envelope.
#[derive(Debug, Clone, Serialize)]
pub struct ShownRemark {
    /// Its kind.
    pub code: Code,
    /// What it is.
    pub what: String,
    /// Where: a JSON pointer.
    pub pointer: String,
}

/// A line of an envelope, or lines that are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShownLine {
    /// A line with its number.
    Text(usize, String),
    /// What is said of the value that begins in the line before.
    Mark(String),
    /// So many lines are left out here.
    LeftOut(usize),
}

/// Batches that are shown whole; of more than these each has a line, with what is unusual about it.
const WHOLE: usize = 3;
/// Connectors, commands and applicants that are listed of a batch.
const LISTED: usize = 40;
/// Types and markings that are named in a line.
const NAMED: usize = 8;

impl Report for ShowReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        for card in &self.batches {
            match self.batches.len() > WHOLE {
                true => card.write_line(page),
                false => card.write(page),
            }
        }
        if self.batches.len() > WHOLE {
            page.note("one of them in full: airpouch show MEDIUM --batch NUMBER");
        }
        if let Some(envelope) = &self.envelope {
            envelope.write(page);
        }
        page.findings(&self.findings);
    }
}

impl BatchCard {
    fn volume(&self) -> String {
        match self.batch.envelopes {
            0 => "heartbeat".to_owned(),
            envelopes => format!("{}, {}", count(envelopes, "envelope"), size(self.batch.bytes)),
        }
    }

    fn acts(&self) -> u64 {
        self.acts.len() as u64 + self.more_acts
    }

    fn write_line(&self, page: &mut Page<'_>) {
        let mut line = format!("batch {} of stream {}: {}", self.batch.sequence, self.batch.stream, self.volume());
        line.push_str(&format!(", {}", count(self.connectors.len() as u64, "connector")));
        if self.files.number > 0 {
            line.push_str(&format!(", {}", count(self.files.number, "embedded file")));
        }
        if self.acts() > 0 {
            line.push_str(&format!(", {} with commands or internal types", count(self.acts(), "envelope")));
        }
        page.result(format!("{line}, signed by {}", self.signed_by()));
        self.unusual.iter().for_each(|one| page.result(format!("    unusual: {}", one.what)));
    }

    fn signed_by(&self) -> String {
        let names: Vec<String> = self.signers.iter().map(|who| harmless(who)).collect();
        if names.is_empty() { "nobody that is known here".to_owned() } else { names.join(" and ") }
    }

    fn write(&self, page: &mut Page<'_>) {
        let BatchLine { stream, sequence, sha256, zone, packed, .. } = &self.batch;
        let state = self.state.map_or_else(String::new, |state| format!(": {state}"));
        page.result(format!("batch {sequence} of stream {stream} for zone {zone}{state}"));
        page.result(format!(
            "  {}, made {} by {}, signed by {}",
            self.volume(),
            harmless(&self.created),
            harmless(&self.producer),
            self.signed_by()
        ));
        page.result(format!("  {} on the shelf, manifest {sha256}", size(*packed)));
        if !self.is_read {
            let from = if self.is_of_index { "manifest and its index" } else { "manifest" };
            page.result(format!("  its envelopes are not here: what follows is from its {from}"));
        }
        match (self.compared, self.unusual.is_empty()) {
            (0, _) => page.result("  nothing before it in its stream is known here to compare it with"),
            (compared, true) => {
                page.result(format!("  nothing unusual beside the {} before it", count(compared, "batch")))
            }
            (compared, false) => {
                page.result(format!("  unusual beside the {} before it:", count(compared, "batch")));
                self.unusual.iter().for_each(|one| page.result(format!("    {}", one.what)));
            }
        }
        self.write_acts(page);
        self.write_connectors(page);
        self.write_applicants(page);
        write_files(&self.files, "  ", page);
    }

    fn write_acts(&self, page: &mut Page<'_>) {
        if self.acts() == 0 {
            return;
        }
        page.result("  commands and internal types, which are quarantined unless a person releases them:");
        for act in self.acts.iter().take(LISTED) {
            let times = if act.number > 1 { format!(" {} times", grouped(act.number)) } else { String::new() };
            page.result(format!(
                "    {} {}{times} in envelope {} ({}) of {}: {}",
                act.code,
                harmless(&act.name),
                act.envelope.ordinal,
                harmless(&act.envelope.name),
                harmless(&act.connector.name),
                act.what
            ));
        }
        let more = self.acts().saturating_sub(LISTED as u64);
        if more > 0 {
            page.result(format!("    and {} more", grouped(more)));
        }
    }

    fn write_connectors(&self, page: &mut Page<'_>) {
        if !self.connectors.is_empty() {
            page.result("  connectors:");
        }
        for card in self.connectors.iter().take(LISTED) {
            let (id, name) = (harmless(&card.connector.id), harmless(&card.connector.name));
            let mut line = format!("    {:>9}  {name} ({id})", grouped(card.envelopes));
            if self.is_read || self.is_of_index {
                line.push_str(&format!(": {}, largest {}", size(card.bytes), size(card.largest)));
            }
            if card.kind != "EXTERNAL_IMPORT" {
                line.push_str(&format!(", of the type {}", harmless(&card.kind)));
            }
            page.result(line);
            for words in [in_words(&card.types, harmless), in_words(&card.markings, marking)].into_iter().flatten() {
                page.result(format!("               {words}"));
            }
        }
        let more = self.connectors.len().saturating_sub(LISTED);
        if more > 0 {
            page.result(format!("    and {}", count(more as u64, "connector")));
        }
    }

    fn write_applicants(&self, page: &mut Page<'_>) {
        if !self.applicants.is_empty() {
            page.result("  applicants:");
        }
        for applicant in self.applicants.iter().take(LISTED) {
            let id = applicant.id.as_deref().map_or_else(|| "none named".to_owned(), harmless);
            page.result(format!("    {:>9}  {id}", grouped(applicant.envelopes)));
        }
        let more = self.applicants.len().saturating_sub(LISTED);
        if more > 0 {
            page.result(format!("    and {}", count(more as u64, "applicant")));
        }
    }
}

fn write_files(files: &EmbeddedFiles, before: &str, page: &mut Page<'_>) {
    if files.number > 0 {
        let types = in_words(&files.types, |mime| if mime == "?" { "no type".to_owned() } else { harmless(mime) });
        let number = count(files.number, "embedded file");
        let types = types.unwrap_or_default();
        page.result(format!("{before}{number}, the largest {}: {types}", size(files.largest)));
    }
}

fn marking(id: &str) -> String {
    harmless(&marking_words(id))
}

/// Counts in words, the largest first; none if there are none.
fn in_words(counts: &BTreeMap<String, u64>, name: impl Fn(&str) -> String) -> Option<String> {
    let mut named: BTreeMap<String, u64> = BTreeMap::new();
    counts.iter().for_each(|(key, number)| *named.entry(name(key)).or_default() += number);
    let mut sorted: Vec<_> = named.into_iter().collect();
    sorted.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    let mut words: Vec<String> =
        sorted.iter().take(NAMED).map(|(name, number)| format!("{name} {}", grouped(*number))).collect();
    if sorted.len() > NAMED {
        words.push(format!("and {} more kinds", sorted.len() - NAMED));
    }
    Some(words.join(", ")).filter(|words| !words.is_empty())
}

impl EnvelopeCard {
    fn write(&self, page: &mut Page<'_>) {
        let Self { sequence, stream, sha256, .. } = self;
        let (name, ordinal) = (harmless(&self.envelope.name), self.envelope.ordinal);
        let state = self.state.map_or_else(String::new, |state| format!(", {state}"));
        page.result(format!("{name}: envelope {ordinal} of batch {sequence} of stream {stream}{state}"));
        page.result(format!("  {}, sha256 {sha256}, written {}", size(self.bytes), self.mtime));
        let applicant = self.applicant.as_deref().map_or_else(|| "no applicant".to_owned(), harmless);
        let (id, connector) = (harmless(&self.connector.id), harmless(&self.connector.name));
        page.result(format!("  of {connector} ({id}), in the name of {applicant}"));
        let types = in_words(&self.types, harmless).unwrap_or_default();
        page.result(format!("  {}: {types}", count(self.objects, "object")));
        if let Some(markings) = in_words(&self.markings, marking) {
            page.result(format!("  marked {markings}"));
        }
        write_files(&self.files, "  ", page);
        page.result(match self.verdict {
            "pass" => "  the policy lets it pass",
            "hold" => "  the policy holds it:",
            _ => "  an import quarantines it, unless a person releases it:",
        });
        for remark in &self.remarks {
            page.result(format!("    {}: {} ({})", remark.code, remark.what, remark.pointer));
        }
        page.result("");
        for line in &self.lines {
            page.result(match line {
                ShownLine::Text(number, text) => format!("{:>9}  {text}", grouped(*number as u64)),
                ShownLine::Mark(what) => format!("      >>>  {what}"),
                ShownLine::LeftOut(lines) => format!("        …  {} left out", count(*lines as u64, "line")),
            });
        }
    }
}
