//! Who does it and why, for the journal; and the ledger of a run, whose deeds the journal has at its end.

use airpouch::deed::Actor;
use airpouch::error::{Error, Result};
use airpouch::ledger::exporter::ExporterLedger;
use airpouch::ledger::importer::ImporterLedger;
use airpouch::record;
use airpouch::site::{Role, Site};

use super::output::Output;

/// Characters of one of these texts at most, so that a line of the journal has room for them.
const TEXT_MAX: usize = 1000;

/// What the journal is to say of this run.
#[derive(clap::Args, Debug, Default)]
#[command(next_help_heading = "For the journal")]
pub struct Args {
    /// The person who does this
    #[arg(long, value_name = "NAME", env = "AIRPOUCH_OPERATOR")]
    operator: Option<String>,
    /// A second person who looks on
    #[arg(long, value_name = "NAME", env = "AIRPOUCH_WITNESS")]
    witness: Option<String>,
    /// The ticket or order by which it is done
    #[arg(long, value_name = "TEXT", env = "AIRPOUCH_TICKET")]
    ticket: Option<String>,
    /// Anything else to write down
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl Args {
    fn actor(&self, verb: &str) -> Result<Actor> {
        Ok(Actor {
            verb: verb.to_owned(),
            user: user(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            operator: bounded("--operator", self.operator.as_deref())?,
            witness: bounded("--witness", self.witness.as_deref())?,
            ticket: bounded("--ticket", self.ticket.as_deref())?,
            note: bounded("--note", self.note.as_deref())?,
        })
    }
}

/// A text for the journal, without blanks at its ends; none if it is empty.
pub fn bounded(option: &str, text: Option<&str>) -> Result<Option<String>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let length = text.chars().count();
    if length > TEXT_MAX {
        return Err(Error::usage(format!("{option} has {length} characters, and the journal takes {TEXT_MAX}"))
            .advise("shorten it, and name the document that has the rest"));
    }
    Ok(Some(text.to_owned()))
}

/// The user of the operating system, as the accounts name it; its number where they do not.
fn user() -> String {
    let id = rustix::process::geteuid().as_raw();
    let accounts = airpouch::disk::read_bounded_following("/etc/passwd".as_ref(), 1 << 20).unwrap_or_default();
    let accounts = String::from_utf8_lossy(&accounts).into_owned();
    let named = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(id)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| id.to_string())
}

/// Works with the exporter's ledger; what was done is in the journal at the end, however the work ended. The outer result is
/// about the ledger and who asks, before anything is done.
pub fn exporter<T>(
    site: &Site,
    args: &Args,
    output: &Output,
    work: impl FnOnce(&mut ExporterLedger) -> Result<T>,
) -> Result<Result<T>> {
    let actor = args.actor(output.verb())?;
    let (mut ledger, made) = ExporterLedger::open(site)?;
    ledger.act_as(actor)?;
    if made {
        output.note(&format!("created the exporter site {}", site.root().display()));
    }
    let done = work(&mut ledger);
    let written = record::write(site, Role::Exporter, &ledger.notes());
    // What stopped the work comes first: it is what a person has to look at.
    Ok(done.and_then(|done| written.map(|()| done)))
}

/// Works with the importer's ledger; what was done is in the journal at the end, however the work ended. The outer result is
/// about the ledger and who asks, before anything is done.
pub fn importer<T>(
    site: &Site,
    args: &Args,
    output: &Output,
    work: impl FnOnce(&mut ImporterLedger) -> Result<T>,
) -> Result<Result<T>> {
    let actor = args.actor(output.verb())?;
    let (mut ledger, made) = ImporterLedger::open(site)?;
    ledger.act_as(actor)?;
    if made {
        output.note(&format!("created the importer site {}", site.root().display()));
    }
    let done = work(&mut ledger);
    let written = record::write(site, Role::Importer, &ledger.notes());
    // What stopped the work comes first: it is what a person has to look at.
    Ok(done.and_then(|done| written.map(|()| done)))
}
