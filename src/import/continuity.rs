//! Whether the ledger is the one that this site worked with last.
//!
//! Ledger and site count together: a turn each time before a run changes something, and one when it is through. The
//! ledger's count is committed first, then the site's is written beside it. A ledger that is restored from a backup,
//! emptied or made anew is behind the site, or is another one; a run that was killed in between leaves the ledger ahead.
//! An older airpouch left no count.

use std::cmp::Ordering;

use crate::code::Code;
use crate::error::{Error, Result};
use crate::ledger::importer::ImporterLedger;
use crate::report::Finding;
use crate::site::{Site, Turn};

/// Counts the turns of one run.
pub struct Continuity {
    begun: bool,
}

impl Continuity {
    /// Compares the ledger with what the site noted. With `accept` the ledger is taken as it is, and what is said of that
    /// is the second value.
    ///
    /// # Errors
    /// It is not the one that the site worked with last; the system or SQLite refused.
    pub fn check(site: &Site, ledger: &ImporterLedger, accept: bool, at: &str) -> Result<(Self, Option<Finding>)> {
        let own = ledger.turn()?;
        let noted = site.turn()?;
        let what = match &noted {
            None if own.count == 0 && ledger.knows_no_batch()? && site.has_batches()? => "it is empty",
            Some(noted) if noted.identity != own.identity && ledger.knows_no_batch()? => "it is empty",
            Some(noted) if noted.identity != own.identity => "it is another one",
            Some(noted) if noted.count.cmp(&own.count) == Ordering::Greater => "it is older",
            _ => return Ok((Self { begun: false }, None)),
        };
        let last = noted.as_ref().map_or(String::new(), |noted| format!(" of {} or later", noted.at));
        if !accept {
            return Err(Error::failed(format!("the ledger is not the one that this site worked with last: {what}"))
                .at(&site.ledger())
                .advise(format!(
                    "bring back the backup of ledger.db{last}; or continue with this one: --accept-ledger, once; what is not in it is delivered again"
                )));
        }
        let count = own.count.max(noted.map_or(0, |noted| noted.count));
        ledger.accept_as(count, what)?;
        let mut run = Self { begun: false };
        run.begin(site, ledger, at)?;
        let what = format!("went on with a ledger that is not the one this site worked with last: {what}");
        let finding = Finding::new(Code::LedgerAccepted, what)
            .advise("what is in the inbox and not in that ledger is delivered again; what was set aside before is in held/ and quarantine/");
        Ok((run, Some(finding)))
    }

    /// Something is about to be changed; the first time in a run it counts.
    ///
    /// # Errors
    /// The system or SQLite refused.
    pub fn begin(&mut self, site: &Site, ledger: &ImporterLedger, at: &str) -> Result<()> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        turn(site, ledger, at)
    }

    /// The run is through, or could not go on.
    ///
    /// # Errors
    /// The system or SQLite refused.
    pub fn end(self, site: &Site, ledger: &ImporterLedger, at: &str) -> Result<()> {
        if self.begun { turn(site, ledger, at) } else { Ok(()) }
    }
}

fn turn(site: &Site, ledger: &ImporterLedger, at: &str) -> Result<()> {
    let Turn { identity, count, .. } = ledger.turn()?;
    ledger.set_turn(count + 1)?;
    site.note_turn(&Turn { identity, count: count + 1, at: at.to_owned() })
}
