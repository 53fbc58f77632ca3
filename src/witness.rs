//! witness: where the journals of both sides end, as codes that people say; and what the other side said.

use crate::deed::Deed;
use crate::error::{Error, Result};
use crate::journal::{self, JournalHead};
use crate::ledger::View;
use crate::ledger::noted::Notes;
use crate::report::{HeadCode, WitnessReport};
use crate::site::Site;
use crate::spoken::SpokenCode;

/// The codes of the head of this site's journal, and of those that came from the other side.
///
/// # Errors
/// The head is none, or the key of the journal cannot be read; SQLite refused.
pub fn codes(site: &Site, ledger: &View) -> Result<WitnessReport> {
    let mut report = WitnessReport::default();
    if let Some(note) = journal::head_text(site)? {
        let key = journal::public_key(site)?;
        let head = JournalHead::verified(&note, &key).map_err(|why| {
            Error::failed(format!("the head of the journal does not hold: {why}")).advise("look at it: airpouch audit")
        })?;
        report.own = Some(HeadCode { code: head.code(&key).to_string(), lines: head.lines, stream: None, at: None });
    }
    if let View::Importer(ledger) = ledger {
        for known in ledger.peer_heads()? {
            let code = known.peer.head.code(&known.peer.key).to_string();
            let (lines, at) = (known.peer.head.lines, Some(known.at));
            report.others.push(HeadCode { code, lines, stream: Some(known.stream), at });
        }
    }
    Ok(report)
}

/// Notes a code that a person of the other side said, for the journal.
///
/// # Errors
/// SQLite refused.
pub fn note(notes: &Notes<'_>, code: SpokenCode) -> Result<WitnessReport> {
    let code = code.to_string();
    notes.add(&Deed::Witnessed { code: code.clone() })?;
    Ok(WitnessReport { noted: Some(code), ..WitnessReport::default() })
}
