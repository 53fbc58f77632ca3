//! audit: whether a site's journal is as it was written. It reads alone, and needs neither lock nor network.

use crate::code::Code;
use crate::digest::Digest;
use crate::error::Result;
use crate::journal::{self, BEFORE_THE_FIRST, JournalHead, JournalLine};
use crate::ledger::{self, View};
use crate::report::{AuditReport, Finding};
use crate::site::Site;
use crate::text::count;
use crate::trust::PublicKey;

/// Reads the journal from its first line to its last, and holds it against its signed head and against what the ledger
/// remembers of it.
///
/// # Errors
/// There is no journal; the system or SQLite refused.
pub fn audit(site: &Site) -> Result<AuditReport> {
    let mut lines = journal::read(site)?;
    let place = lines.path().display().to_string();
    let known = ledger::look(site)?;
    let known = match &known {
        View::Exporter(ledger) => ledger.journal_end()?,
        View::Importer(ledger) => ledger.journal_end()?,
    };
    let mut chain = Chain { place, ..Chain::default() };
    // The ends that are known otherwise, with who knows them; each is compared when its line is read.
    let note = journal::head_text(site)?;
    chain.signed = note.as_deref().and_then(number_in);
    chain.known = known.as_ref().map(|end| end.lines);
    while let Some(line) = lines.next_line()? {
        chain.take(line);
    }
    chain.end(note.as_deref(), known.map(|end| (end.lines, end.last)));
    Ok(chain.report)
}

/// The number of lines that a head states, before its signature is checked.
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
    /// How many lines the head states, and the digest of the line of that number.
    signed: Option<u64>,
    at_signed: Option<String>,
    /// How many lines the ledger knows, and the digest of the line of that number.
    known: Option<u64>,
    at_known: Option<String>,
}

impl Chain {
    fn take(&mut self, line: &[u8]) {
        let number = self.report.lines + 1;
        if line.last() != Some(&b'\n') {
            return self
                .invalid(number, "it has no end: a crash cut it off, or it is too long; the next run moves it away");
        }
        let read = match JournalLine::parse(line) {
            Ok(read) => read,
            Err(why) => {
                self.invalid(number, &format!("it is no line of a journal: {why}"));
                JournalLine {
                    n: number,
                    prev: String::new(),
                    at: String::new(),
                    run: String::new(),
                    event: String::new(),
                }
            }
        };
        self.report.lines = number;
        let begin = format!("{{\"n\":{number},\"prev\":\"{}\",", self.last.as_deref().unwrap_or(BEFORE_THE_FIRST));
        if !read.prev.is_empty() && !line.starts_with(begin.as_bytes()) {
            self.invalid(
                number,
                "it does not follow the line before it: a line was changed, added, moved or taken out",
            );
        }
        if number == 1 {
            self.key = key_in(line);
            self.report.first = Some(read.at.clone());
        }
        if read.event == "journal-changed" {
            let what = format!(
                "line {number} of the journal: a run found another journal than its ledger knew; the ledger was restored from a backup, or somebody wrote to one of them"
            );
            self.report.findings.push(Finding::new(Code::JournalChanged, what).at(self.place.clone()));
        }
        let digest = Digest::of(line).to_string();
        if self.signed == Some(number) {
            self.at_signed = Some(digest.clone());
        }
        if self.known == Some(number) {
            self.at_known = Some(digest.clone());
        }
        self.report.last = Some(read.at);
        self.last = Some(digest);
    }

    fn invalid(&mut self, number: u64, what: &str) {
        let finding = Finding::new(
            Code::JournalInvalid,
            format!("line {number} of the journal is not as it was written: {what}"),
        );
        self.report.findings.push(finding.at(self.place.clone()));
    }

    /// Holds what was read against the signed head and the ledger.
    fn end(&mut self, note: Option<&str>, known: Option<(u64, String)>) {
        match (note, &self.key) {
            (None, _) => self.wrong("there is no signed head beside the journal".into()),
            (_, None) => self.wrong("its first line does not name the key that signs the head".into()),
            (Some(note), Some(key)) => match JournalHead::verified(note, key) {
                Err(why) => self.wrong(format!("its head does not hold: {why}")),
                Ok(head) => self.hold_against_head(&head),
            },
        }
        if let Some((lines, last)) = known
            && self.at_known.as_ref() != Some(&last)
        {
            self.wrong(format!("the ledger knows a journal whose line {lines} is another one, or which was longer"));
        }
    }

    fn hold_against_head(&mut self, head: &JournalHead) {
        self.report.signed = head.lines;
        if self.at_signed.as_ref() != Some(&head.last) {
            return self
                .wrong(format!("its head was signed over {} lines, of which the last is not there", head.lines));
        }
        let behind = self.report.lines - head.lines;
        if behind > 0 {
            let what = format!(
                "{} of the journal {} not signed yet: a run was cut off, or is at work",
                count(behind, "line"),
                if behind == 1 { "is" } else { "are" }
            );
            let finding = Finding::new(Code::JournalUnsigned, what).at(self.place.clone());
            self.report.findings.push(finding.advise("run it again, then: airpouch audit"));
        }
    }

    fn wrong(&mut self, what: String) {
        let finding = Finding::new(Code::JournalInvalid, format!("the journal is not as it was written: {what}"));
        self.report.findings.push(finding.at(self.place.clone()));
    }
}

/// The public key that the first line of a journal names.
fn key_in(line: &[u8]) -> Option<PublicKey> {
    let line: serde_json::Value = serde_json::from_slice(line).ok()?;
    PublicKey::from_pem(line.get("key")?.as_str()?.as_bytes()).ok()
}
