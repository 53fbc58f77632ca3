//! What `audit` found.

use serde::Serialize;

use super::{ExitStatus, Finding, Page, Report, status_of};
use crate::digest::Digest;
use crate::limits::AGAINST_RULES_SHOWN;
use crate::text::{count, duration, harmless};

/// What was read of a journal, and what does not hold.
#[derive(Debug, Default, Serialize)]
pub struct AuditReport {
    /// How many lines it has.
    pub lines: u64,
    /// How many of them its signed head covers.
    pub signed: u64,
    /// The code of that head, as `witness` shows it; none where there is no head that holds.
    pub code: Option<String>,
    /// When the first one was written, by the clock of that machine.
    pub first: Option<String>,
    /// When the last one was written.
    pub last: Option<String>,
    /// Codes of earlier heads, each with its line.
    pub codes: Vec<FoundCode>,
    /// Where the clock of that machine was set back, the first of them.
    pub clock_set_back: Vec<SetBack>,
    /// How often it was, in all.
    pub clock_set_backs: u64,
    /// What was done in the time that is asked for, by the rules of then.
    pub rules: ByRules,
    /// What does not hold.
    pub findings: Vec<Finding>,
}

/// What was admitted and released, held against the trust store and the policy of then.
#[derive(Debug, Default, Serialize)]
pub struct ByRules {
    /// From when on it was looked at, as that was asked for.
    pub since: Option<String>,
    /// Up to when.
    pub until: Option<String>,
    /// Batches that were admitted as the trust store of then allowed.
    pub admitted: u64,
    /// The keys that had signed them.
    pub signers: Vec<SignedBatches>,
    /// Envelopes that were released as the policy of then demanded.
    pub released: u64,
    /// What was not allowed.
    pub against: u64,
    /// What nobody can tell of, for the journal does not have the rules of then.
    pub unknown: u64,
    /// The first of these.
    pub first_unknown: Option<UnknownRules>,
}

/// A key, and how many batches were admitted that it had signed.
#[derive(Debug, Serialize)]
pub struct SignedBatches {
    /// Its fingerprint.
    pub key: Digest,
    /// Whose it was, by the trust store of then.
    pub who: String,
    /// The batches.
    pub batches: u64,
}

/// A line of which nobody can tell whether it was by the rules.
#[derive(Debug, Serialize)]
pub struct UnknownRules {
    /// The line.
    pub line: u64,
    /// Why nobody can tell.
    pub why: String,
}

impl ByRules {
    /// Counts a batch for one of its signers.
    pub fn note_signer(&mut self, key: Digest, who: String) {
        match self.signers.iter_mut().find(|of| of.key == key && of.who == who) {
            Some(of) => of.batches += 1,
            None => self.signers.push(SignedBatches { key, who, batches: 1 }),
        }
    }

    fn write(&self, page: &mut Page<'_>) {
        let time = match (&self.since, &self.until) {
            (None, None) => String::new(),
            (Some(since), Some(until)) if since == until => format!("in {since}: "),
            (since, until) => {
                let of = |word: &str, time: &Option<String>| time.as_ref().map(|time| format!("{word} {time}"));
                let parts = [of("since", since), of("until", until)];
                format!("{}: ", parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
            }
        };
        if self.admitted > 0 {
            let batches = count(self.admitted, "batch");
            let verb = if self.admitted == 1 { "was" } else { "were" };
            page.result(format!("{time}{batches} {verb} admitted as the trust store of then allowed"));
        }
        for SignedBatches { key, who, batches } in &self.signers {
            page.result(format!("  signed by {} ({}): {}", harmless(who), key.short(), count(*batches, "batch")));
        }
        if self.released > 0 {
            let envelopes = count(self.released, "envelope");
            let verb = if self.released == 1 { "was" } else { "were" };
            page.result(format!("{time}{envelopes} {verb} released as the policy of then demanded"));
        }
        if let Some(UnknownRules { line, why }) = &self.first_unknown {
            let events = count(self.unknown, "event");
            page.result(format!(
                "{time}{events} cannot be held against the rules of then; the first is line {line}: {why}"
            ));
        }
    }
}

/// A line that has an earlier time than the one before it.
#[derive(Debug, Serialize)]
pub struct SetBack {
    /// The line.
    pub line: u64,
    /// When it was written, by the clock as it was set then.
    pub at: String,
    /// By how many seconds the line before it seems to be later.
    pub seconds: u64,
}

/// The code of an earlier head, which the journal still has.
#[derive(Debug, Serialize)]
pub struct FoundCode {
    /// The code.
    pub code: String,
    /// The line that was the last one then.
    pub line: u64,
    /// When that line was written.
    pub at: Option<String>,
}

impl Report for AuditReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let (first, last) = (self.first.as_deref().unwrap_or("-"), self.last.as_deref().unwrap_or("-"));
        page.result(format!("the journal has {}, from {first} to {last}", count(self.lines, "line")));
        for FoundCode { code, line, at } in &self.codes {
            page.result(format!("{code} is line {line}, of {}", at.as_deref().unwrap_or("-")));
        }
        for SetBack { line, at, seconds } in &self.clock_set_back {
            page.result(format!("the clock was set back by {} before line {line}, to {at}", duration(*seconds)));
        }
        let more = self.clock_set_backs - self.clock_set_back.len() as u64;
        if more > 0 {
            page.result(format!("the clock was set back {} more", count(more, "time")));
        }
        self.rules.write(page);
        page.findings(&self.findings);
        let more = self.rules.against.saturating_sub(AGAINST_RULES_SHOWN);
        if more > 0 {
            page.result(format!(
                "{} more {} against the rules of then",
                count(more, "event"),
                if more == 1 { "was" } else { "were" }
            ));
        }
        if self.findings.is_empty() {
            page.result("each line follows the one before, and the head is signed over all of them");
        }
        if let Some(code) = &self.code {
            page.result(format!("the code of the head: {code}"));
        }
    }
}
