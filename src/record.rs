//! Writes into the journal what the ledger has noted. What was noted and not written by a run that was cut off, the next
//! one writes.

use crate::deed::Deed;
use crate::error::Result;
use crate::journal::{self, BEFORE_THE_FIRST, Journal};
use crate::ledger::noted::{JournalEnd, Notes};
use crate::site::{Role, Site};

/// Notes that are written in one piece.
const AT_ONCE: u32 = 1000;

/// Holds the journal against the ledger before a run does anything: that it is another one than the ledger knew stands before
/// what that run does, and the rules that hold are noted behind it.
///
/// # Errors
/// The journal is none; the system or SQLite refused. The run may go on: [`write()`] will meet the same.
pub fn begin(site: &Site, notes: &Notes<'_>) -> Result<()> {
    let was_never_written = notes.end()?.is_none() && !Journal::is_there(site);
    if was_never_written { Ok(()) } else { opened(site, notes).map(drop) }
}

/// Writes all that is noted, in order, and signs the end of the journal anew.
///
/// # Errors
/// The journal is none; the system or SQLite refused. What was not written stays noted.
pub fn write(site: &Site, role: Role, notes: &Notes<'_>) -> Result<()> {
    let mut journal = opened(site, notes)?;
    // A run that was cut off may have noted it and not come to write it.
    if journal.lines() == 0 && !notes.begins_with_opened()? {
        notes.add_first(&Deed::JournalOpened { side: role.word(), key: journal::public_key(site)?.to_pem() })?;
    }
    loop {
        let oldest = notes.oldest(AT_ONCE)?;
        let Some((last, _)) = oldest.last() else { break };
        let last = *last;
        let lines: Vec<String> = oldest.into_iter().map(|(_, line)| line).collect();
        journal.append(&lines)?;
        notes.are_written(last, &end_of(&journal))?;
    }
    journal.sign_head()
}

fn opened(site: &Site, notes: &Notes<'_>) -> Result<Journal> {
    let (mut journal, torn) = Journal::open(site)?;
    settle(notes, &mut journal)?;
    if let Some(torn) = torn {
        notes.add(&Deed::JournalTorn { kept_as: torn.name, bytes: torn.bytes })?;
    }
    Ok(journal)
}

/// Holds the journal against the ledger. A run that was cut off may have written notes and not forgotten them; nothing else
/// may stand behind what the ledger knows of the journal.
fn settle(notes: &Notes<'_>, journal: &mut Journal) -> Result<()> {
    let oldest = notes.oldest(AT_ONCE)?;
    let lines: Vec<String> = oldest.iter().map(|(_, line)| line.clone()).collect();
    let known = notes.end()?.unwrap_or(JournalEnd { lines: 0, last: BEFORE_THE_FIRST.to_owned() });
    let (written, before) = journal.has_already(&lines)?;
    if known.lines + written as u64 != journal.lines() || known.last != before {
        let deed = Deed::JournalChanged { lines: known.lines, last: known.last };
        notes.add_changed(&deed, &end_of(journal))?;
    }
    match written.checked_sub(1) {
        Some(at) => notes.are_written(oldest[at].0, &end_of(journal)),
        None => Ok(()),
    }
}

fn end_of(journal: &Journal) -> JournalEnd {
    JournalEnd { lines: journal.lines(), last: journal.last().to_owned() }
}
