//! The destination of a run: the one that the site delivers to, or another one that a person means.

use std::collections::BTreeSet;

use super::{ImportOptions, OtherDestination};
use crate::destination::Destination;
use crate::error::{Error, Result};
use crate::ledger::importer::{DestinationRow, ImporterLedger, ImporterView, State};
use crate::sink::KnownDestination;

/// What the destination of this run is to the site.
pub(super) enum Target {
    /// The first one.
    First,
    /// The one that it delivers to.
    Known(DestinationRow),
    /// Another platform.
    New,
    /// The one that it delivers to, under another address or emptied on purpose.
    Same,
}

/// A site delivers to one destination. Which one is known from the day when it was first reached.
pub(super) fn target(ledger: &ImporterView, options: &ImportOptions) -> Result<Target> {
    let Some(known) = ledger.destination()? else { return Ok(Target::First) };
    let same = known.is(&options.to);
    match options.other_destination {
        OtherDestination::New if !same => Ok(Target::New),
        OtherDestination::Same if known.kind != options.to.kind() => Err(Error::usage(format!(
            "this site delivers to {}:; {} is no other address of that",
            known.kind, options.to
        ))
        .advise("another platform: --new-destination")),
        OtherDestination::Same => Ok(Target::Same),
        _ if same => Ok(Target::Known(known)),
        _ => Err(Error::usage(format!(
            "this site delivers to the destination {}; now {} is named",
            Destination::shown(&known.kind, &known.address),
            options.to
        ))
        .advise(
            "another platform, all again from the inbox: `airpouch import --new-destination`; the same one elsewhere: `airpouch import --same-destination`",
        )),
    }
}

/// Whether the destination has to be opened at all.
pub(super) fn has_work(ledger: &ImporterView, target: &Target) -> Result<bool> {
    let unfinished = match target {
        Target::New | Target::Same => return Ok(true),
        Target::Known(row) => ledger.unsettled(row.id)? > 0 || !ledger.open_works(row.id)?.is_empty(),
        Target::First => false,
    };
    Ok(unfinished || ledger.has_batch_in(State::Admitted)? || ledger.has_waiting()?)
}

impl Target {
    /// What the ledger knows of the destination before it is opened. Under another address it is the same one.
    pub(super) fn known_before(&self, ledger: &ImporterView, options: &ImportOptions) -> Result<KnownDestination> {
        let mut known = KnownDestination {
            high_water: ledger.high_water(options.to.kind())?,
            connectors: connectors_to_go(ledger, matches!(self, Self::New))?,
            ..KnownDestination::default()
        };
        let there = match self {
            Self::Known(row) => Some(row.clone()),
            Self::Same => ledger.destination()?,
            Self::First | Self::New => None,
        };
        if let Some(row) = there {
            known.works = ledger.open_works(row.id)?;
            known.registered = ledger.registered(row.id)?;
            known.shown = ledger.shown(row.id)?;
            if matches!(self, Self::Known(_)) {
                known.is_unfinished = ledger.unsettled(row.id)? > 0;
                known.mark = Some(row.mark);
            }
        }
        Ok(known)
    }

    /// It was reached: only from now on the site knows it. Gives the ledger's number for it.
    pub(super) fn reached(self, ledger: &mut ImporterLedger, options: &ImportOptions, mark: &str) -> Result<i64> {
        let row = match self {
            Self::Known(row) => {
                if row.mark != mark {
                    ledger.move_destination(&options.to, mark)?;
                }
                row
            }
            Self::First => ledger.begin_destination(&options.to, mark, false, &options.at)?,
            Self::New => ledger.begin_destination(&options.to, mark, true, &options.at)?,
            Self::Same => {
                ledger.move_destination(&options.to, mark)?;
                let row = ledger.destination()?.ok_or_else(|| Error::failed("the destination is not in the ledger"))?;
                // Nobody knows how far a broken run came on its way to the old address.
                ledger.forget_unsettled(row.id)?;
                row
            }
        };
        Ok(row.id)
    }
}

/// How many connectors have something to go, two at most; with `again`, all that lies in the inbox is to go.
fn connectors_to_go(ledger: &ImporterView, again: bool) -> Result<usize> {
    let mut connectors: BTreeSet<String> = BTreeSet::new();
    let waits = ledger.aside_by_connector()?.into_iter().filter(|(_, _, is_held, _)| *is_held);
    connectors.extend(waits.map(|(_, connector, ..)| connector));
    for batch in if again { ledger.kept_in_inbox()? } else { ledger.batches_in(State::Admitted)? } {
        // More than one is all that matters.
        if connectors.len() > 1 {
            break;
        }
        let row = ledger.incoming_by_id(batch.id)?;
        connectors.extend(row.into_iter().flat_map(|row| row.manifest.connectors).map(|entry| entry.id));
    }
    Ok(connectors.len())
}
