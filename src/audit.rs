//! audit: whether a site's journal is as it was written, and whether what was done was done by the rules of its time. It reads
//! alone, and needs neither lock nor network.

mod rules;

use std::path::Path;

use crate::clock::{self, TimeSpan};
use crate::code::Code;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::journal::{self, BEFORE_THE_FIRST, JournalHead, JournalLine, LineGlance};
use crate::ledger::{self, View};
use crate::limits::{AGAINST_RULES_SHOWN, CLOCK_SET_BACK_MIN, CLOCK_SET_BACKS_SHOWN};
use crate::report::{AuditReport, Finding, FoundCode, SetBack, UnknownRules};
use crate::site::Site;
use crate::spoken::SpokenCode;
use crate::text::count;
use crate::trust::PublicKey;

use rules::{ByTheRules, RulesThen};

/// What is to be audited.
#[derive(Debug, Default)]
pub struct AskedAudit<'a> {
    /// In which time it is to be looked at what was admitted and released. The journal is read as a whole.
    pub time: TimeSpan,
    /// Copies of earlier heads.
    pub copies: Vec<&'a Path>,
    /// Codes of earlier heads that the other side has kept.
    pub codes: Vec<SpokenCode>,
}

/// Reads the journal from its first line to its last, and compares it with its signed head, with what the ledger remembers
/// of it, with copies of earlier heads, and with codes of such heads that the other side has kept; and what was admitted,
/// signed and released with the trust store, the officers and the policy of then.
///
/// # Errors
/// There is no journal; a copy cannot be read; the system or SQLite refused.
pub fn audit(site: &Site, asked: &AskedAudit<'_>) -> Result<AuditReport> {
    let mut lines = journal::read(site)?;
    let place = lines.path().display().to_string();
    let mut heads = vec![SignedNote { by: "its head".to_owned(), text: journal::head_text(site)?, is_own: true }];
    for copy in &asked.copies {
        let text = Site::text_of(copy)?.ok_or_else(|| {
            Error::failed("there is no such copy of a head").at(copy).advise("name the file of a copy")
        })?;
        heads.push(SignedNote { by: format!("the head in {}", copy.display()), text: Some(text), is_own: false });
    }
    let known = match ledger::look(site)? {
        View::Exporter(ledger) => ledger.journal_end()?,
        View::Importer(ledger) => ledger.journal_end()?,
    };
    let mut chain = Chain { place, codes: asked.codes.clone(), time: asked.time.clone(), ..Chain::default() };
    (chain.report.rules.since, chain.report.rules.until) = (asked.time.since.clone(), asked.time.until.clone());
    chain.look_for = heads.iter().filter_map(|note| number_in(note.text.as_deref()?)).collect();
    chain.look_for.extend(known.as_ref().map(|end| end.lines));
    while let Some(line) = lines.next_line()? {
        chain.take(line);
    }
    for note in &heads {
        chain.compare_with(note);
    }
    for code in std::mem::take(&mut chain.codes) {
        chain.wrong(format!("no line of it has the code {code}, which the other side was told"));
    }
    if let Some(end) = known
        && chain.digest_of(end.lines) != Some(&end.last)
    {
        chain.wrong(format!("the ledger knows a journal whose line {} is another one, or which was longer", end.lines));
    }
    Ok(chain.report)
}

/// The first line is written at the end of a run, before what was noted in that run: it may have a later time than these.
const AFTER_THE_OPENING: u64 = 2;

/// A head, before its signature is checked.
struct SignedNote {
    /// What it is called in a finding.
    by: String,
    text: Option<String>,
    /// Whether it is the one beside the journal, which covers all of it.
    is_own: bool,
}

/// The number of lines that a head states.
fn number_in(note: &str) -> Option<u64> {
    note.lines().nth(2)?.parse().ok()
}

/// The lines read so far.
#[derive(Default)]
struct Chain {
    report: AuditReport,
    place: String,
    /// The digest of the last line.
    last: Option<String>,
    /// The key of the journal, which its first line names.
    key: Option<PublicKey>,
    /// The numbers of lines whose digests are asked for, and these digests.
    look_for: Vec<u64>,
    found: Vec<(u64, String)>,
    /// Codes of heads that were not found yet.
    codes: Vec<SpokenCode>,
    /// What is asked for.
    time: TimeSpan,
    /// The rules of then.
    rules: RulesThen,
}

impl Chain {
    fn take(&mut self, line: &[u8]) {
        let number = self.report.lines + 1;
        if line.last() != Some(&b'\n') {
            let what = "it has no end: a crash cut it off, or it is too long; the next run moves it away";
            return self.invalid(number, what);
        }
        self.report.lines = number;
        let follows = follows(line, number, self.last.as_deref().unwrap_or(BEFORE_THE_FIRST));
        // What follows is bound by its digest; only what is laid out otherwise has to be parsed.
        match LineGlance::of(line).filter(|_| follows) {
            Some(LineGlance { at, event }) => self.note_event(number, at, event, line),
            None => self.look_at_odd(number, line, follows),
        }
        if number == 1 {
            self.key = key_in(line);
        }
        let digest = Digest::of(line).to_string();
        if self.look_for.contains(&number) {
            self.found.push((number, digest.clone()));
        }
        if let Some(key) = self.key.as_ref().filter(|_| !self.codes.is_empty()) {
            let code = JournalHead { lines: number, last: digest.clone() }.code(key);
            if let Some(at) = self.codes.iter().position(|asked| *asked == code) {
                let code = self.codes.swap_remove(at).to_string();
                self.report.codes.push(FoundCode { code, line: number, at: self.report.last.clone() });
            }
        }
        self.last = Some(digest);
    }

    fn look_at_odd(&mut self, number: u64, line: &[u8], follows: bool) {
        match JournalLine::parse(line) {
            Err(why) => self.invalid(number, &format!("it is no line of a journal: {why}")),
            Ok(_) if !follows => {
                let what = "it does not follow the line before it: a line was changed, added, moved or removed";
                self.invalid(number, what);
            }
            Ok(read) => self.note_event(number, &read.at, &read.event, line),
        }
    }

    fn note_event(&mut self, number: u64, at: &str, event: &str, line: &[u8]) {
        let judged = self.rules.take(event, line);
        self.note_judged(number, at, judged);
        if event == "journal-changed" {
            let what = format!(
                "line {number} of the journal: a run found another journal than its ledger knew; the ledger was restored from a backup, or somebody wrote to one of them"
            );
            self.report.findings.push(Finding::new(Code::JournalChanged, what).at(self.place.clone()));
        }
        self.note_clock(number, at);
        self.report.first.get_or_insert_with(|| at.to_owned());
        let last = self.report.last.get_or_insert_default();
        last.clear();
        last.push_str(at);
    }

    fn note_judged(&mut self, number: u64, at: &str, judged: ByTheRules) {
        if judged == ByTheRules::NotSigned {
            return self.invalid(number, "the signature of an officer over a release does not hold");
        }
        if !self.time.has(at) {
            return;
        }
        let report = &mut self.report.rules;
        match judged {
            ByTheRules::NoMatter | ByTheRules::NotSigned => {}
            ByTheRules::Released => report.released += 1,
            ByTheRules::Admitted(signers) => {
                report.admitted += 1;
                signers.into_iter().for_each(|(key, who)| report.note_signer(key, who));
            }
            ByTheRules::Unknown(why) => {
                report.unknown += 1;
                report.first_unknown.get_or_insert(UnknownRules { line: number, why });
            }
            ByTheRules::Against(what) => {
                report.against += 1;
                if report.against <= AGAINST_RULES_SHOWN {
                    let what = format!("line {number} of the journal, of {at}: {what}");
                    let finding = Finding::new(Code::AgainstRules, what).at(self.place.clone());
                    self.report
                        .findings
                        .push(finding.advise("find out who did that: against-rules in docs/operations.md"));
                }
            }
        }
    }

    /// A clock that was set back proves nothing, but whoever reads the times of the lines has to know it.
    fn note_clock(&mut self, number: u64, at: &str) {
        let before = self.report.last.as_deref().filter(|before| *before > at && number > AFTER_THE_OPENING);
        let Some(before) = before.and_then(clock::seconds) else { return };
        let back = clock::seconds(at).and_then(|at| u64::try_from(before - at).ok()).unwrap_or(0);
        if back < CLOCK_SET_BACK_MIN {
            return;
        }
        self.report.clock_set_backs += 1;
        if self.report.clock_set_back.len() < CLOCK_SET_BACKS_SHOWN {
            self.report.clock_set_back.push(SetBack { line: number, at: at.to_owned(), seconds: back });
        }
    }

    fn digest_of(&self, number: u64) -> Option<&String> {
        self.found.iter().find(|(found, _)| *found == number).map(|(_, digest)| digest)
    }

    /// Compares the lines with a head: its signature, and the digest of the line that was the last one then.
    fn compare_with(&mut self, note: &SignedNote) {
        let by = &note.by;
        let head = match (&note.text, &self.key) {
            (None, _) => return self.wrong("there is no signed head beside it".into()),
            (_, None) => return self.wrong(format!("its first line does not name the key that signs {by}")),
            (Some(text), Some(key)) => JournalHead::verified(text, key),
        };
        let head = match head {
            Ok(head) => head,
            Err(why) => return self.wrong(format!("{by} does not hold: {why}")),
        };
        if note.is_own {
            self.report.signed = head.lines;
            self.report.code = self.key.as_ref().map(|key| head.code(key).to_string());
        }
        if self.digest_of(head.lines) != Some(&head.last) {
            let lines = count(head.lines, "line");
            return self.wrong(format!("{by} was signed over {lines}, of which the last one is not there"));
        }
        let behind = self.report.lines - head.lines;
        if note.is_own && behind > 0 {
            let lines = count(behind, "line");
            let verb = if behind == 1 { "is" } else { "are" };
            let what = format!("{lines} of the journal {verb} not signed yet: a run was cut off, or is at work");
            let finding = Finding::new(Code::JournalUnsigned, what).at(self.place.clone());
            self.report.findings.push(finding.advise("run it again, then: airpouch audit"));
        }
    }

    fn invalid(&mut self, number: u64, what: &str) {
        self.report(format!("line {number} of the journal is not as it was written: {what}"));
    }

    fn wrong(&mut self, what: String) {
        self.report(format!("the journal is not as it was written: {what}"));
    }

    fn report(&mut self, what: String) {
        let finding = Finding::new(Code::JournalInvalid, what).at(self.place.clone());
        let advice = "keep the site as it is, and hold it against a backup: journal-invalid in docs/operations.md";
        self.report.findings.push(finding.advise(advice));
    }
}

/// Whether a line begins with this number and this digest of the line before.
fn follows(line: &[u8], number: u64, last: &str) -> bool {
    let rest = line.strip_prefix(b"{\"n\":").and_then(|rest| rest.strip_prefix(number.to_string().as_bytes()));
    let rest =
        rest.and_then(|rest| rest.strip_prefix(b",\"prev\":\"")).and_then(|rest| rest.strip_prefix(last.as_bytes()));
    rest.is_some_and(|rest| rest.starts_with(b"\","))
}

/// The public key that the first line of a journal names.
fn key_in(line: &[u8]) -> Option<PublicKey> {
    let line: serde_json::Value = serde_json::from_slice(line).ok()?;
    PublicKey::from_pem(line.get("key")?.as_str()?.as_bytes()).ok()
}
