//! Findings: what a run has to say about one input, and how many of one kind become a few lines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;

use super::ExitStatus;
use crate::code::{Code, Severity};
use crate::stream::{Numbers, StreamId};
use crate::text::{count, grouped};

/// Something about one input. The run goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind it is.
    pub code: Code,
    /// How much it weighs.
    pub severity: Severity,
    /// The stream that it is about.
    pub stream: Option<StreamId>,
    /// The batches of that stream that it is about: pairs of a first and a last number.
    pub sequences: Vec<(u64, u64)>,
    /// The envelope that it is about.
    pub envelope: Option<NamedEnvelope>,
    /// The connector that it is about.
    pub connector: Option<NamedConnector>,
    /// The file or directory that it is about, or what else names the place.
    pub path: Option<String>,
    /// What happened.
    pub what: String,
    /// What to do.
    #[serde(rename = "do")]
    pub advice: Option<String>,
    /// The state that is printed in front of it.
    #[serde(skip)]
    pub label: &'static str,
    /// Among findings of one code: the highest is the worst, and is printed whatever is left out.
    #[serde(skip)]
    pub rank: u32,
}

/// An envelope as findings name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NamedEnvelope {
    /// Its position in its batch, from 1.
    pub ordinal: usize,
    /// Its name at the exporter, safe to print.
    pub name: String,
}

/// A connector as findings name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NamedConnector {
    /// Its id, safe to print.
    pub id: String,
    /// Its name, safe to print.
    pub name: String,
}

impl Finding {
    /// A finding of a code, as severe as that code is, without a place and without advice.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            stream: None,
            sequences: Vec::new(),
            envelope: None,
            connector: None,
            path: None,
            what: what.into(),
            advice: None,
            label: code.label(),
            rank: 0,
        }
    }

    /// Makes it as severe as this; the label is that of the severity.
    pub fn weighing(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self.label = match severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Invalid => "INVALID",
            Severity::Incomplete => self.code.label(),
        };
        self
    }

    /// Puts another state in front of it.
    pub fn labelled(mut self, label: &'static str) -> Self {
        self.label = label;
        self
    }

    /// Says where: a path, or what else names the place.
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into()).filter(|path| !path.is_empty());
        self
    }

    /// Says of which stream.
    pub fn of_stream(mut self, stream: StreamId) -> Self {
        self.stream = Some(stream);
        self
    }

    /// Says of which batch.
    pub fn of_batch(self, stream: StreamId, sequence: u64) -> Self {
        Self { sequences: vec![(sequence, sequence)], ..self.of_stream(stream) }
    }

    /// Says of which batches.
    pub fn of_batches(self, stream: StreamId, numbers: &Numbers) -> Self {
        let sequences = numbers.ranges().iter().map(|range| (*range.start(), *range.end())).collect();
        Self { sequences, ..self.of_stream(stream) }
    }

    /// Says of which envelope; the name is safe to print.
    pub fn of_envelope(mut self, ordinal: usize, name: impl Into<String>) -> Self {
        self.envelope = Some(NamedEnvelope { ordinal, name: name.into() });
        self
    }

    /// Says of which connector; both texts are safe to print.
    pub fn of_connector(mut self, id: impl Into<String>, name: impl Into<String>) -> Self {
        self.connector = Some(NamedConnector { id: id.into(), name: name.into() });
        self
    }

    /// Says how bad it is among those of its code.
    pub fn ranked(mut self, rank: u32) -> Self {
        self.rank = rank;
        self
    }

    /// Says what to do.
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Where, in words.
    pub fn place(&self) -> Option<String> {
        match (&self.path, &self.envelope, self.sequences.as_slice()) {
            (Some(path), _, _) => Some(path.clone()),
            (None, Some(envelope), [(sequence, _), ..]) => {
                Some(format!("{} (envelope {} of batch {sequence})", envelope.name, envelope.ordinal))
            }
            (None, Some(envelope), []) => Some(envelope.name.clone()),
            (None, None, [(sequence, last)]) if sequence == last => {
                self.stream.map(|stream| format!("batch {sequence} of stream {stream}"))
            }
            _ => self.stream.map(|stream| format!("stream {stream}")).or_else(|| {
                let connector = self.connector.as_ref()?;
                Some(format!("{} ({})", connector.name, connector.id))
            }),
        }
    }
}

/// The exit status that findings ask for: the worst.
pub fn status_of(findings: &[Finding]) -> ExitStatus {
    match findings.iter().map(|f| f.severity).max() {
        Some(Severity::Invalid) => ExitStatus::Invalid,
        Some(Severity::Incomplete) => ExitStatus::Incomplete,
        Some(Severity::Warning | Severity::Note) | None => ExitStatus::Done,
    }
}

/// Findings of one kind that are alike, as a person reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The state in front.
    pub label: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// What happened: of several the worst, with their count.
    pub what: String,
    /// Where: of several the first few.
    pub place: Option<String>,
    /// What to do, of the worst.
    pub advice: Option<String>,
}

/// The label of a file of the source that was not packed.
pub const NOT_PACKED: &str = "not packed";

/// Names that a summary lists.
const NAMED: usize = 3;

/// Files that a summary lists: a person has to look at each of them, and no other list names them.
const FILES_NAMED: usize = 12;

/// Lines of one code; what is alike is one line. Strangers must not fill a screen.
const LINES: usize = 20;

/// Where each envelope of a summary is listed, with the command that lets it through.
const LISTED: &str = "each of them, with what lets it through: airpouch quarantine list";

impl Summary {
    fn of(alike: &[&Finding]) -> Self {
        // The first of the worst.
        let worst = alike.iter().rev().max_by_key(|f| (f.severity, f.rank)).unwrap_or(&alike[0]);
        let (what, place) = match alike.len() as u64 {
            1 => (worst.what.clone(), worst.place()),
            many => (summary_of(alike, worst, many), some_places(alike)),
        };
        let advice = match &worst.advice {
            Some(_) if alike.iter().any(|f| f.advice != worst.advice) => Some(LISTED.to_owned()),
            advice => advice.clone(),
        };
        Self { label: worst.label, severity: worst.severity, what, place, advice }
    }
}

fn summary_of(alike: &[&Finding], worst: &Finding, many: u64) -> String {
    let noun = if worst.envelope.is_some() { "envelope" } else { "file" };
    let of = match connectors(alike).as_slice() {
        [] => String::new(),
        names if names.len() > NAMED => {
            let more = count((names.len() - NAMED) as u64, "more connector");
            format!(" of {} and {more}", names[..NAMED].join(", "))
        }
        names => format!(" of {}", names.join(", ")),
    };
    let others = alike.iter().filter(|f| f.what != worst.what).count() as u64;
    let rest = match others {
        0 => String::new(),
        others => format!(" (and {} more: {})", grouped(others), worst.code.word().replace('-', " ")),
    };
    format!("{}{of}: {}{rest}", count(many, noun), worst.what)
}

/// The names of the connectors, each once, in the order in which they came.
fn connectors<'a>(alike: &[&'a Finding]) -> Vec<&'a str> {
    let mut known = HashSet::new();
    let connectors = alike.iter().filter_map(|f| f.connector.as_ref());
    connectors.filter(|connector| known.insert(&connector.id)).map(|connector| connector.name.as_str()).collect()
}

fn some_places(alike: &[&Finding]) -> Option<String> {
    let places: Vec<String> = alike.iter().filter_map(|f| f.place()).collect();
    let listed = if alike.iter().all(|f| f.envelope.is_none()) { FILES_NAMED } else { NAMED };
    let named = places.iter().take(listed).cloned().collect::<Vec<_>>().join(", ");
    match places.len().saturating_sub(listed) as u64 {
        0 => Some(named).filter(|named| !named.is_empty()),
        more => Some(format!("{named} and {} more", grouped(more))),
    }
}

/// Each finding by itself.
pub fn each(findings: &[Finding]) -> Vec<Summary> {
    findings.iter().map(|finding| Summary::of(&[finding])).collect()
}

/// Findings as a person reads them, in the order of the first of each kind. Envelopes of one code, state and connector
/// are one line, those of many connectors too, and so are files of one code that were not packed. All others have a line of their own.
pub fn summaries(findings: &[Finding]) -> Vec<Summary> {
    let mut connectors: HashMap<_, HashSet<&str>> = HashMap::new();
    for finding in findings.iter().filter(|f| f.envelope.is_some()) {
        let of = connectors.entry((finding.code, finding.label)).or_default();
        of.extend(finding.connector.as_ref().map(|c| c.id.as_str()));
    }
    let has_many = |f: &Finding| connectors.get(&(f.code, f.label)).is_some_and(|of| of.len() > NAMED);
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    let mut known: HashMap<_, usize> = HashMap::new();
    for finding in findings {
        if finding.envelope.is_none() && finding.label != NOT_PACKED {
            groups.push(vec![finding]);
            continue;
        }
        let connector = finding.connector.as_ref().map(|c| &c.id).filter(|_| !has_many(finding));
        let kind = (finding.code, finding.label, connector, finding.envelope.is_some());
        match known.get(&kind) {
            Some(at) => groups[*at].push(finding),
            None => {
                known.insert(kind, groups.len());
                groups.push(vec![finding]);
            }
        }
    }
    bounded(groups)
}

/// The lines of groups; of those of one code beyond [`LINES`] the number.
fn bounded(groups: Vec<Vec<&Finding>>) -> Vec<Summary> {
    let mut lines: HashMap<Code, usize> = HashMap::new();
    let mut left_out: BTreeMap<Code, Vec<&Finding>> = BTreeMap::new();
    let mut told = Vec::new();
    for group in groups {
        let number = lines.entry(group[0].code).or_default();
        *number += 1;
        if *number <= LINES {
            told.push(Summary::of(&group));
        } else {
            left_out.entry(group[0].code).or_default().extend(group);
        }
    }
    told.extend(left_out.into_iter().map(|(code, more)| {
        let what = format!("and {} more ({})", grouped(more.len() as u64), code.word().replace('-', " "));
        Summary {
            what,
            place: None,
            advice: Some("the same run with --json names each of them".to_owned()),
            ..Summary::of(&more)
        }
    }));
    told
}

/// Findings of one code that a report keeps: strangers must not fill a disk.
const KEPT: usize = 1000;

/// Keeps the worst findings of each code in their order, the first of those that are alike, and one that counts the rest.
pub fn fold(findings: &mut Vec<Finding>) {
    let mut by_code: BTreeMap<Code, Vec<usize>> = BTreeMap::new();
    for (at, finding) in findings.iter().enumerate() {
        by_code.entry(finding.code).or_default().push(at);
    }
    let mut left_out = BTreeSet::new();
    let mut counts = Vec::new();
    for (code, mut places) in by_code.into_iter().filter(|(_, places)| places.len() > KEPT) {
        places.sort_by_key(|at| Reverse((findings[*at].severity, findings[*at].rank)));
        let worst = &findings[places[0]];
        let rest = grouped((places.len() - KEPT) as u64);
        let what = format!("and {rest} more ({})", code.word().replace('-', " "));
        counts.push(Finding::new(code, what).weighing(worst.severity).labelled(worst.label));
        left_out.extend(places.into_iter().skip(KEPT));
    }
    let mut at = 0..;
    findings.retain(|_| at.next().is_none_or(|at| !left_out.contains(&at)));
    findings.extend(counts);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(code: Code, ordinal: usize, connector: &str, what: &str) -> Finding {
        let stream = StreamId::parse("3f0c6f3e-58a1-4d0b-9a6e-5b1f0c2d7e94").unwrap();
        let finding = Finding::new(code, what).of_batch(stream, 1).of_envelope(ordinal, format!("e{ordinal}.json"));
        finding.of_connector(connector, connector)
    }

    #[test]
    fn fold_of_many_findings_keeps_the_worst_of_a_code_at_any_position() {
        let mut findings: Vec<Finding> =
            (0..5000).map(|n| Finding::new(Code::Command, format!("{n}")).ranked(u32::from(n == 4000) * 7)).collect();
        findings.push(Finding::new(Code::Tlp, "other"));
        fold(&mut findings);
        let kept: Vec<&str> = findings.iter().map(|f| f.what.as_str()).collect();
        assert_eq!(kept.len(), KEPT + 2);
        assert_eq!(kept[..3], ["0", "1", "2"]);
        assert_eq!(kept[KEPT - 2..], ["998", "4000", "other", "and 4,000 more (command)"]);
    }

    #[test]
    fn summaries_of_many_envelopes_are_one_line_for_each_code_and_connector() {
        let mut findings: Vec<Finding> =
            (1..=62).map(|n| held(Code::Applicant, n, "URLhaus", "X is not mapped")).collect();
        findings.push(held(Code::Applicant, 63, "MISP", "X is not mapped"));
        let told = summaries(&findings);
        let lines: Vec<_> = told.iter().map(|t| (t.label, t.what.as_str(), t.place.as_deref().unwrap())).collect();
        let named = "e1.json (envelope 1 of batch 1), e2.json (envelope 2 of batch 1), e3.json (envelope 3 of batch 1)";
        let expected = [
            ("held", "62 envelopes of URLhaus: X is not mapped", format!("{named} and 59 more")),
            ("held", "X is not mapped", "e63.json (envelope 63 of batch 1)".to_owned()),
        ];
        assert_eq!(lines, expected.iter().map(|(l, w, p)| (*l, *w, p.as_str())).collect::<Vec<_>>());
    }

    #[test]
    fn summaries_of_the_envelopes_of_many_connectors_are_one_line() {
        let findings: Vec<Finding> =
            (1..=500).map(|n| held(Code::Applicant, n, &format!("Feed {}", n % 12), "X is not mapped")).collect();
        let told = summaries(&findings);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].what, "500 envelopes of Feed 1, Feed 2, Feed 3 and 9 more connectors: X is not mapped");
    }

    #[test]
    fn summary_of_unlike_envelopes_shows_the_worst_and_counts_the_others() {
        let told = summaries(&[
            held(Code::Command, 1, "URLhaus", "restore"),
            held(Code::Command, 2, "URLhaus", "delete_force").ranked(9),
            held(Code::Command, 3, "URLhaus", "restore"),
        ]);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].what, "3 envelopes of URLhaus: delete_force (and 2 more: command)");
    }

    #[test]
    fn summaries_of_the_files_of_one_code_are_one_line() {
        let files: Vec<Finding> = (0..30)
            .map(|n| Finding::new(Code::NotJson, "not JSON").at(format!("{n}.json")).advise("it is left in place"))
            .collect();
        let told = summaries(&files);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].label, told[0].what.as_str()), ("not packed", "30 files: not JSON"));
        let twelve: Vec<String> = (0..12).map(|n| format!("{n}.json")).collect();
        assert_eq!(told[0].place, Some(format!("{} and 18 more", twelve.join(", "))));
    }

    #[test]
    fn summaries_about_neither_envelope_nor_file_are_kept_until_they_fill_the_screen() {
        let gap = |n: usize| Finding::new(Code::Gap, format!("{n}")).advise(format!("resend {n}"));
        let told = summaries(&(0..25).map(gap).collect::<Vec<_>>());
        assert_eq!(told.len(), LINES + 1);
        assert_eq!(told[19].advice.as_deref(), Some("resend 19"));
        assert_eq!(told[20].what, "and 5 more (gap)");
    }
}
