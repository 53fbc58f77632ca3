//! import: custody first, then judgement, then delivery.
//!
//! ```text
//! MEDIUM --take--> INBOX --admit--> --unpack--> --decide--> --deliver--> SINK --settle--> LEDGER
//! ```
//!
//! *Take* copies what a trusted key signed, so that the stick may leave. Everything after it reads the inbox.
//! *Admit* says each batch's place in its stream. *Decide* says of each envelope whether it goes, waits,
//! or stays. *Deliver* gives groups to the sink, and the ledger records only what the sink settled.

mod admit;
mod continuity;
mod decide;
mod deliver;
mod missing;
mod options;
mod owners;
mod take;
mod target;
mod unpack;

use std::collections::BTreeSet;
use std::path::Path;

use crate::clock;
use crate::destination::Destination;
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::importer::{ImporterLedger, IncomingRow, RulesOfRun, State};
use crate::report::{ImportReport, Observer};
use crate::shelf::PartFault;
use crate::shelf::inbox::Inbox;
use crate::shelf::indexes::Indexes;
use crate::shelf::kept::KeptShelf;
use crate::site::{Site, refuse_below};
use crate::trust::TrustStore;

use continuity::Continuity;
use target::{has_work, target};

pub use options::{ImportOptions, Officers, OnGap, OtherDestination};

/// One import: where, with what, by which rules, and what is said of it.
pub struct Import<'a> {
    /// The importer's site.
    pub site: &'a Site,
    /// Its ledger.
    pub ledger: &'a mut ImporterLedger,
    /// Whom it trusts.
    pub trust: &'a TrustStore,
    /// How to import.
    pub options: &'a ImportOptions,
    /// Who watches.
    pub observer: &'a dyn Observer,
    /// What was done, also if the run stops.
    pub report: &'a mut ImportReport,
}

impl Import<'_> {
    /// Imports from a medium, or goes on from the inbox.
    ///
    /// # Errors
    /// The medium or the destination is not there; another destination than the known one; the system refused.
    pub fn run(mut self, medium: Option<&Path>) -> Result<()> {
        check_apart(self.site, medium, &self.options.to)?;
        let Self { site, options, .. } = self;
        let (mut continuity, accepted) = Continuity::check(site, self.ledger, options.accept_ledger, &options.at)?;
        self.report.findings.extend(accepted);
        let done = self.go(medium, &mut continuity);
        // Also where the run stops: what it did until then is in the ledger.
        let ended = continuity.end(site, self.ledger, &options.at);
        done.and(ended)
    }

    fn go(&mut self, medium: Option<&Path>, continuity: &mut Continuity) -> Result<()> {
        let officers = self.options.officers.as_ref().map(|officers| &officers.store);
        let policy = &self.options.policy_text;
        self.ledger.note_rules(&RulesOfRun { trust: Some(self.trust), officers, policy })?;
        self.look_through_inbox()?;
        let on_medium = match medium {
            Some(medium) => self.take(medium, continuity)?,
            None => BTreeSet::new(),
        };
        let target = target(self.ledger, self.options)?;
        if self.options.redeliver {
            self.reopen(medium.is_some().then_some(&on_medium))?;
        }
        self.admit_all()?;
        self.report_incomplete(&on_medium)?;
        if has_work(self.ledger, &target)? {
            let begun = continuity.begin(self.site, self.ledger, &self.options.at);
            let delivered = begun.and_then(|()| self.deliver_all(target));
            if delivered.is_err() {
                // What is missing is said at every run, also where the destination is broken.
                self.report_what_is_left()?;
                return delivered;
            }
        }
        // Also where nothing is to do: the run that was cut off may have come to the very end.
        if let Some(destination) = self.ledger.destination()? {
            deliver::sweep_delivered(self.site, self.ledger, destination.id)?;
        }
        self.report_what_is_left()?;
        self.prune()
    }

    /// Everything that lies in the inbox is delivered again, or only what the medium showed.
    fn reopen(&mut self, only: Option<&BTreeSet<Digest>>) -> Result<()> {
        for batch in self.ledger.batches_in(State::Delivered)? {
            let wanted = only.is_none_or(|only| only.contains(&batch.sha256));
            if wanted && self.ledger.standing_of(batch.sha256)?.is_some_and(|standing| !standing.pruned) {
                self.ledger.reopen(batch.id)?;
            }
        }
        Ok(())
    }

    /// Removes delivered batches from the inbox once they were kept long enough, but for their indexes, which names are looked
    /// up in. Nothing else ever goes by age.
    fn prune(&mut self) -> Result<()> {
        let before = clock::now().0.saturating_sub(i64::try_from(self.options.keep).unwrap_or(i64::MAX));
        let (inbox, indexes) = (Inbox::new(self.site.inbox()), Indexes::new(self.site.indexes()));
        for batch in self.ledger.done_before(before)? {
            let kept = indexes.of(batch.stream, batch.sequence, batch.sha256);
            let has_index = match self.ledger.incoming_by_id(batch.id)? {
                Some(row) => kept.keep(&inbox, &row.manifest, batch.sha256)?,
                None => false,
            };
            inbox.remove(batch.stream, batch.sequence, batch.sha256)?;
            self.ledger.set_pruned(batch.id, has_index)?;
        }
        Ok(())
    }
}

/// Medium and destination are none of the site's own directories, and nothing is delivered onto the medium.
fn check_apart(site: &Site, medium: Option<&Path>, to: &Destination) -> Result<()> {
    if let Some(medium) = medium {
        site.refuse_inside("the medium", medium)?;
    }
    if let Some(path) = to.path() {
        site.refuse_inside("the destination", path)?;
        medium.map_or(Ok(()), |medium| refuse_below("the destination", path, "the medium", medium))?;
    }
    Ok(())
}

/// Where the files of a batch lie in the inbox.
fn shelf_of(site: &Site, row: &IncomingRow) -> KeptShelf {
    Inbox::new(site.inbox()).shelf(row.manifest.stream, row.manifest.sequence, row.sha256)
}

/// Puts a file of the inbox aside that is not what the manifest names any more, so that it can be brought again.
fn put_away_damaged(site: &Site, row: &IncomingRow, name: &str, fault: &PartFault) -> Result<()> {
    match fault {
        PartFault::NotAsNamed(_) => shelf_of(site, row).put_away_damaged(name),
        _ => Ok(()),
    }
}
