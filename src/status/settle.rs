//! What waits for a person, in the order in which it is settled; what is alike is one line for a person.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::code::{Code, Severity};
use crate::ledger::importer::{BatchId, BatchStanding, State};
use crate::report::{Finding, SettleLine, urgency};
use crate::stream::{Numbers, StreamId};

/// What waits, as it is gathered.
pub(super) struct ToSettle {
    role: &'static str,
    waiting: Vec<SettleItem>,
}

struct SettleItem {
    /// How much it is, in envelopes where they are known.
    size: u64,
    finding: Finding,
    /// Since when, in words with an age: for a person alone, since the finding itself does not change with the time.
    since: Option<String>,
    /// What is said of several batches that wait for the same.
    alike: Option<&'static str>,
}

impl ToSettle {
    pub fn new(role: &'static str) -> Self {
        Self { role, waiting: Vec::new() }
    }

    /// Adds something of this size.
    pub fn push(&mut self, size: u64, finding: Finding) {
        self.waiting.push(SettleItem { size, finding, since: None, alike: None });
    }

    /// The same, with since when it waits, in words.
    pub fn push_since(&mut self, size: u64, finding: Finding, since: String) {
        self.waiting.push(SettleItem { size, finding, since: Some(since), alike: None });
    }

    /// Adds a batch that is not delivered.
    pub fn push_batch(&mut self, size: u64, of: &BatchStanding) {
        let (what, finding) = batch_to_settle(of);
        // Each fork has its own command.
        let alike = Some(what).filter(|_| finding.code != Code::Fork);
        self.waiting.push(SettleItem { size, finding, since: None, alike });
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&Finding) -> bool) {
        self.waiting.retain(|waiting| keep(&waiting.finding));
    }

    /// All of it, the most urgent first, and of what is equally urgent the largest; then the lines of it.
    pub fn sorted(self) -> (Vec<Finding>, Vec<SettleLine>) {
        let Self { role, waiting } = self;
        let mut groups: Vec<(SettleGroup, Vec<SettleItem>)> = Vec::new();
        let mut known: HashMap<SettleGroup, usize> = HashMap::new();
        for (at, one) in waiting.into_iter().enumerate() {
            let group = SettleGroup::of(&one, at);
            let at = *known.entry(group.clone()).or_insert(groups.len());
            if at == groups.len() {
                groups.push((group, Vec::new()));
            }
            groups[at].1.push(one);
        }
        groups.sort_by_key(|(_, alike)| {
            let size: u64 = alike.iter().map(|one| one.size).sum();
            (urgency(role, alike[0].finding.code), Reverse(size))
        });
        let lines = groups.iter().map(|(_, alike)| line(alike)).collect();
        (groups.into_iter().flat_map(|(_, alike)| alike).map(|one| one.finding).collect(), lines)
    }
}

/// What waits for the same in one stream is one line; anything else is one by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum SettleGroup {
    Alike(Code, Option<StreamId>, &'static str),
    Alone(usize),
}

impl SettleGroup {
    fn of(one: &SettleItem, at: usize) -> Self {
        one.alike.map_or(Self::Alone(at), |what| Self::Alike(one.finding.code, one.finding.stream, what))
    }
}

fn line(alike: &[SettleItem]) -> SettleLine {
    let first = &alike[0].finding;
    let of = first.stream.map_or_else(String::new, |stream| format!(" (stream {stream})"));
    let since = alike[0].since.as_ref().map_or_else(String::new, |since| format!(", {since}"));
    let (Some(what), Some(stream), true) = (alike[0].alike, first.stream, alike.len() > 1) else {
        return SettleLine { what: format!("{}{of}{since}", first.what), advice: first.advice.clone() };
    };
    let numbers = alike.iter().flat_map(|one| one.finding.sequences.iter().map(|(from, to)| *from..=*to));
    let numbers: Numbers = numbers.collect();
    let is_same = alike.iter().all(|one| one.finding.advice == first.advice);
    let advice = match is_same {
        true => first.advice.clone(),
        false => Some(format!("at the exporter: airpouch carry MEDIUM --resend {stream}:{numbers}")),
    };
    SettleLine { what: format!("{}: {what}{of}", numbers.words()), advice }
}

/// What of a batch that is not delivered settles it; and what is said of several that wait for the same.
fn batch_to_settle(of: &BatchStanding) -> (&'static str, Finding) {
    let BatchId { sequence, sha256, .. } = of.batch;
    let (code, what, advice) = match (of.state, of.standing) {
        (State::Incomplete, _) => (
            Code::IncompleteBatch,
            "parts of it are missing",
            format!("at the exporter: airpouch carry MEDIUM --resend {sequence}"),
        ),
        (State::Admitted | State::Delivered, _) => {
            (Code::BeingDelivered, "it is not delivered to its end", "airpouch import".to_owned())
        }
        (State::Refused, _) => {
            (Code::Refused, "the signed manifest is wrong", "ask the exporter how it was made".to_owned())
        }
        (State::Whole, standing) => whole_to_settle(of.batch, standing),
    };
    let finding = Finding::new(code, format!("batch {sequence} ({}): {what}", sha256.short()));
    (of_several(what), finding.weighing(Severity::Note).of_batch(of.batch.stream, sequence.get()).advise(advice))
}

/// The same of several batches.
fn of_several(what: &'static str) -> &'static str {
    match what {
        "parts of it are missing" => "parts of them are missing",
        "it is not delivered to its end" => "they are not delivered to their end",
        "the signed manifest is wrong" => "their signed manifests are wrong",
        "the batches before it are missing" => "they wait: batches before them are missing",
        "it has fewer signatures than trust.toml needs" => "they have fewer signatures than trust.toml needs",
        "trust.toml does not let its key sign it" => "trust.toml does not let their keys sign them",
        "the key that signed it is not trusted any more" => "the keys that signed them are not trusted any more",
        "it is meant for another zone" => "they are meant for another zone",
        "its manifest in the inbox was changed" => "their manifests in the inbox were changed",
        "it waits in the inbox" => "they wait in the inbox",
        what => what,
    }
}

/// What settles a batch that is whole and was not admitted: another import does nothing for most of them.
fn whole_to_settle(batch: BatchId, standing: Option<Code>) -> (Code, &'static str, String) {
    let BatchId { stream, sequence, sha256, .. } = batch;
    match standing {
        Some(Code::Fork | Code::Unlinked) => (
            Code::Fork,
            "it does not fit what was delivered before",
            format!("ask the exporter; to take it: airpouch stream accept {stream} {sequence} {sha256} --reason TEXT"),
        ),
        Some(Code::Waiting) => (
            Code::Waiting,
            "the batches before it are missing",
            "it is delivered once they are here or given up; each gap has its command here".to_owned(),
        ),
        Some(Code::TooFewSignatures) => (
            Code::TooFewSignatures,
            "it has fewer signatures than trust.toml needs",
            "have the other key sign it (docs/operations.md), then: airpouch import MEDIUM, with its .sig file"
                .to_owned(),
        ),
        Some(Code::NotAllowed) => (
            Code::NotAllowed,
            "trust.toml does not let its key sign it",
            "if that is meant, say so in trust.toml, then: airpouch import".to_owned(),
        ),
        Some(Code::NoLongerTrusted) => (
            Code::NoLongerTrusted,
            "the key that signed it is not trusted any more",
            "put its public key back into the trust store, then: airpouch import; or leave it".to_owned(),
        ),
        Some(Code::WrongZone) => (
            Code::WrongZone,
            "it is meant for another zone",
            "if this site is that zone, set zone in airpouch.toml, then: airpouch import".to_owned(),
        ),
        Some(Code::ChangedInInbox) => (
            Code::ChangedInInbox,
            "its manifest in the inbox was changed",
            format!("at the exporter: airpouch carry MEDIUM --resend {stream}:{sequence}"),
        ),
        _ => (Code::Waiting, "it waits in the inbox", "airpouch import".to_owned()),
    }
}
