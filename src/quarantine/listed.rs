//! What is listed and shown of envelopes that are or were set aside.

use std::collections::BTreeMap;

use super::Found;
use crate::clock;
use crate::code::Code;
use crate::error::Result;
use crate::ledger::importer::{AsideKey, AsideRow, ImporterView, PastKind, PastRow};
use crate::report::{AsideGroup, DecisionMade, NamedConnector, NamedEnvelope, SetAside, ShowAsideReport};
use crate::set_aside;
use crate::site::Site;
use crate::text::{harmless, shell_word};

/// Which envelopes are asked for; what is empty excludes none.
#[derive(Debug, Clone, Default)]
pub struct AskedAside {
    /// Those that are held.
    pub held: bool,
    /// Those that are quarantined.
    pub quarantined: bool,
    /// Those that were released, delivered or not.
    pub released: bool,
    /// Those that were rejected.
    pub rejected: bool,
    /// Of a connector of this id or name.
    pub connector: Option<String>,
    /// Set aside for this reason.
    pub code: Option<Code>,
    /// Set aside before this second, or at a time that is not known.
    pub before: Option<i64>,
}

/// The kinds in the order in which they are listed.
const KINDS: [&str; 6] = ["quarantined", "held", "released", "delivered", "empty", "rejected"];

impl AskedAside {
    /// Whether anything is asked for in particular.
    pub fn is_narrowed(&self) -> bool {
        self.names_a_kind() || self.connector.is_some() || self.code.is_some() || self.before.is_some()
    }

    fn names_a_kind(&self) -> bool {
        self.held || self.quarantined || self.released || self.rejected
    }

    /// Whether this kind is asked for. What is settled is listed only if it is named.
    fn wants_kind(&self, kind: &str) -> bool {
        match kind {
            "held" => self.held || !self.names_a_kind(),
            "quarantined" => self.quarantined || !self.names_a_kind(),
            "released" => self.released || !self.names_a_kind(),
            "rejected" => self.rejected,
            _ => self.released,
        }
    }

    /// Names are compared as they are, and as they are shown.
    fn wants_of(&self, code: Code, id: &str, name: &str) -> bool {
        let is_of = |asked: &String| asked == id || asked == name || *asked == harmless(name);
        self.connector.as_ref().is_none_or(is_of) && self.code.is_none_or(|asked| asked == code)
    }

    fn wants(&self, kind: &str, code: Code, (id, name): (&str, &str), at: Option<i64>) -> bool {
        self.wants_kind(kind)
            && self.wants_of(code, id, name)
            && self.before.is_none_or(|before| at.is_none_or(|at| at <= before))
    }
}

/// Hands over each envelope that is asked for: there may be more than fits into memory.
///
/// # Errors
/// SQLite refused, or whoever takes them did.
pub fn each(
    ledger: &ImporterView,
    asked: &AskedAside,
    now: i64,
    mut take: impl FnMut(SetAside) -> Result<()>,
) -> Result<()> {
    match asked.is_narrowed() {
        true => each_of_some(ledger, asked, now, &mut take)?,
        false => ledger.each_aside(|row| take(standing(ledger, row, now)?))?,
    }
    for outcome in [PastKind::Delivered, PastKind::Empty, PastKind::Rejected] {
        if asked.wants_kind(outcome.word()) {
            ledger.each_past(outcome, |past| {
                let row = &past.row;
                match asked.wants(outcome.word(), row.code, (&row.connector, &row.connector_name), row.at) {
                    true => take(settled(ledger, past, now)?),
                    false => Ok(()),
                }
            })?;
        }
    }
    Ok(())
}

/// A few of many are found without reading all that is said of the others.
fn each_of_some(
    ledger: &ImporterView,
    asked: &AskedAside,
    now: i64,
    take: &mut impl FnMut(SetAside) -> Result<()>,
) -> Result<()> {
    let mut found = Vec::new();
    ledger.each_aside_key(|key| {
        let AsideKey { sha256, kind, code, connector, at } = key;
        if asked.wants(kind.word(), code, (&connector.id, &connector.name), at) {
            found.push(sha256);
        }
    })?;
    let mut in_order = Vec::with_capacity(found.len());
    for sha256 in found {
        let row = ledger.aside_of(sha256)?;
        in_order.extend(row.map(|row| (row.stream, row.sequence, row.batch, row.ordinal, sha256)));
    }
    in_order.sort_unstable();
    for (.., sha256) in in_order {
        if let Some(row) = ledger.aside_of(sha256)? {
            take(standing(ledger, row, now)?)?;
        }
    }
    Ok(())
}

/// How many envelopes that are asked for stand alike: of one kind, reason and connector.
///
/// # Errors
/// SQLite refused.
pub fn groups(ledger: &ImporterView, asked: &AskedAside, now: i64) -> Result<Vec<AsideGroup>> {
    let mut groups: BTreeMap<_, Tally> = BTreeMap::new();
    for count in ledger.standing_counts(asked.before)? {
        let NamedConnector { id, name } = count.connector;
        let Some(kind) = KINDS.iter().position(|kind| *kind == count.kind) else { continue };
        if !asked.wants_kind(&count.kind) || !asked.wants_of(count.code, &id, &name) {
            continue;
        }
        let group = groups.entry((kind, count.code, id)).or_default();
        group.number += count.number;
        group.oldest = [group.oldest, count.oldest].into_iter().flatten().min();
        group.has_older |= count.has_older;
        // A connector that was renamed goes by its last name.
        if group.newest <= count.newest {
            (group.newest, group.name) = (count.newest, name);
        }
    }
    let mut groups: Vec<AsideGroup> = groups.into_iter().map(|(of, tally)| tally.group(of, now)).collect();
    groups.sort_by_key(|group| (KINDS.iter().position(|kind| *kind == group.kind), std::cmp::Reverse(group.envelopes)));
    Ok(groups)
}

/// What is counted of one kind, reason and connector.
#[derive(Default)]
struct Tally {
    name: String,
    number: u64,
    oldest: Option<i64>,
    newest: Option<i64>,
    has_older: bool,
}

impl Tally {
    fn group(self, (kind, code, id): (usize, Code, String), now: i64) -> AsideGroup {
        let kind = KINDS[kind];
        let option = if ["delivered", "empty"].contains(&kind) { "released" } else { kind };
        let look = format!("airpouch quarantine list --all --{option} --code {code} --connector {}", shell_word(&id));
        let advice = match code.advice_with_places() {
            // One command for all of them: not a release, which names each.
            Some(advice) if kind == "held" && !advice.contains("{sha256}") => {
                advice.replace("{connector}", &harmless(&id))
            }
            _ => format!("one by one: {look}"),
        };
        AsideGroup {
            kind,
            code,
            connector: NamedConnector { id, name: self.name },
            envelopes: self.number,
            age: self.oldest.map(|at| age(at, now)),
            oldest: self.oldest.map(clock::utc),
            newest: self.newest.map(clock::utc),
            has_older: self.has_older,
            advice,
        }
    }
}

/// All that is known of one envelope that is or was set aside.
///
/// # Errors
/// The digest's beginning names none or several; SQLite refused.
pub fn show(site: &Site, ledger: &ImporterView, named: &str, now: i64) -> Result<ShowAsideReport> {
    let Found { aside, past } = Found::of(ledger, named)?;
    let Some(row) = aside.clone().or_else(|| past.first().map(|past| past.row.clone())) else {
        return Err(super::none_named());
    };
    let envelope = match (aside, past.into_iter().next()) {
        (None, Some(past)) => settled(ledger, past, now)?,
        _ => standing(ledger, row.clone(), now)?,
    };
    let path = envelope.copied.then(|| set_aside::path_of(site, row.kind.place(), row.sha256));
    let copy = path.map(|path| path.display().to_string());
    Ok(ShowAsideReport {
        envelope,
        written: row.mtime.map(|at| at.to_string()),
        signers: ledger.signers_of(row.batch)?,
        copy,
    })
}

fn standing(ledger: &ImporterView, row: AsideRow, now: i64) -> Result<SetAside> {
    let (kind, short) = (row.kind.word(), row.sha256.short());
    let advice = match kind {
        "released" => format!(
            "it goes with the next: airpouch import; to take that back: airpouch quarantine unrelease {short} --reason TEXT"
        ),
        _ => row.code.advice(row.sha256, &row.connector),
    };
    let decisions = ledger.decisions_about(row.sha256)?;
    let listed = set_aside_as(kind, row, decisions, now);
    Ok(SetAside { advice, ..listed })
}

fn settled(ledger: &ImporterView, past: PastRow, now: i64) -> Result<SetAside> {
    let PastRow { row, outcome, settled_at } = past;
    let short = row.sha256.short();
    let (copied, advice) = match outcome {
        PastKind::Rejected => {
            (row.copied, format!("to take that back: airpouch quarantine unreject {short} --reason TEXT"))
        }
        // What was delivered has left its place.
        PastKind::Delivered | PastKind::Empty => {
            (false, format!("all that was done with it: airpouch log --envelope {short}"))
        }
    };
    let decisions = ledger.decisions_about(row.sha256)?;
    let listed = set_aside_as(outcome.word(), row, decisions, now);
    Ok(SetAside { advice, copied, settled_at: Some(settled_at), ..listed })
}

fn set_aside_as(kind: &'static str, row: AsideRow, decisions: Vec<DecisionMade>, now: i64) -> SetAside {
    SetAside {
        advice: String::new(),
        sha256: row.sha256,
        kind,
        code: row.code,
        what: row.what,
        pointer: row.place,
        stream: row.stream,
        sequence: row.sequence,
        envelope: NamedEnvelope { ordinal: row.ordinal, name: row.name },
        connector: NamedConnector { id: row.connector, name: row.connector_name },
        applicant: row.applicant,
        copied: row.copied,
        since: row.at.map(clock::utc),
        age: row.at.map(|at| age(at, now)),
        settled_at: None,
        decisions,
    }
}

fn age(at: i64, now: i64) -> u64 {
    u64::try_from(now.saturating_sub(at)).unwrap_or(0)
}
