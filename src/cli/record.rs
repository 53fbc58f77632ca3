//! Who does it and why, for the journal; and the ledger of a run, whose deeds the journal has at its end.

use std::path::{Path, PathBuf};

use airpouch::deed::Actor;
use airpouch::disk::LockWait;
use airpouch::error::{Error, Result};
use airpouch::ledger::exporter::ExporterLedger;
use airpouch::ledger::importer::ImporterLedger;
use airpouch::ledger::noted::Notes;
use airpouch::policy::{Policy, RecordField, RecordRules};
use airpouch::record;
use airpouch::site::{Role, Site};

use super::output::Output;
use super::{settings, wait};

/// Characters of one of these texts at most, so that a line of the journal has room for them.
const TEXT_MAX: usize = 1000;

/// What the journal is to say of this run.
#[derive(clap::Args, Debug, Default)]
#[command(next_help_heading = "For the journal")]
pub struct Args {
    #[command(flatten)]
    wait: wait::Args,
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

/// Who does it, and what the policy demands of the record.
#[derive(Debug, Default)]
pub struct Demanded {
    /// Who runs this verb.
    pub actor: Actor,
    /// What the policy demands.
    pub rules: RecordRules,
    /// The text of that policy; empty where there is none and the defaults hold.
    pub policy: String,
}

impl Args {
    /// Who runs this verb.
    pub fn actor(&self, verb: &str) -> Result<Actor> {
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

    /// Who does it, unless that is not all that the policy demands of the record.
    fn demanded(&self, verb: &str, site: &Site, policy: Option<&Path>) -> Result<Demanded> {
        let actor = self.actor(verb)?;
        let Some((path, text)) = policy_text(site, policy)? else {
            return Ok(Demanded { actor, ..Demanded::default() });
        };
        let rules = Policy::from_toml(&text).map_err(|e| Error::usage(e).at(&path))?.record;
        let told = |field| match field {
            RecordField::Operator => &actor.operator,
            RecordField::Witness => &actor.witness,
            RecordField::Ticket => &actor.ticket,
            RecordField::Note => &actor.note,
        };
        let missing: Vec<&str> =
            rules.missing(|field| told(field).is_some()).into_iter().map(RecordField::option).collect();
        if missing.is_empty() {
            return Ok(Demanded { actor, rules, policy: text });
        }
        let what = format!("[record] demands what was not told: {}", missing.join(", "));
        Err(Error::usage(what).at(&path).advise(format!("nothing was done; give it: {}", missing.join(" "))))
    }
}

/// The policy of this run and where it is: the one that is named, else the one that the environment or the settings name,
/// else the site's, if it has one.
fn policy_text(site: &Site, named: Option<&Path>) -> Result<Option<(PathBuf, String)>> {
    let path = match named {
        Some(path) => Some(path.to_owned()),
        None => settings::policy(site)?,
    };
    let path = path.unwrap_or_else(|| site.policy());
    match Site::text_of(&path)? {
        None if path == site.policy() => Ok(None),
        None => Err(Error::usage("there is no such policy").at(&path)),
        Some(text) => Ok(Some((path, text))),
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

/// Notes something in the journal of a site, of whichever side.
pub fn noting<T>(
    site: &Site,
    role: Role,
    args: &Args,
    output: &Output,
    work: impl FnOnce(&Notes<'_>) -> Result<T>,
) -> Result<Result<T>> {
    match role {
        Role::Exporter => exporter(site, args, output, |ledger| work(&ledger.notes())),
        Role::Importer => importer(site, args, output, |ledger| work(&ledger.notes())),
    }
}

/// Works with the exporter's ledger; what was done is in the journal at the end, however the work ended. The outer result is
/// about the ledger and who asks, before anything is done.
pub fn exporter<T>(
    site: &Site,
    args: &Args,
    output: &Output,
    work: impl FnOnce(&mut ExporterLedger) -> Result<T>,
) -> Result<Result<T>> {
    let Demanded { actor, .. } = args.demanded(output.verb(), site, None)?;
    let wait = LockWait { time: args.wait.time_in(site)?, observer: output };
    let (mut ledger, made) = ExporterLedger::open_waiting(site, wait)?;
    ledger.act_as(actor)?;
    if made {
        output.note(&format!("created the exporter site {}", site.root().display()));
    }
    // An error of the journal is reported at the end, by whoever writes it: it must not stop the work.
    drop(record::begin(site, &ledger.notes()));
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
    importer_by(site, args, None, output, |ledger, _| work(ledger))
}

/// The same, with the policy that this run names; the work is also told who does it, and what the policy demands.
pub fn importer_by<T>(
    site: &Site,
    args: &Args,
    policy: Option<&Path>,
    output: &Output,
    work: impl FnOnce(&mut ImporterLedger, &Demanded) -> Result<T>,
) -> Result<Result<T>> {
    let demanded = args.demanded(output.verb(), site, policy)?;
    let wait = LockWait { time: args.wait.time_in(site)?, observer: output };
    let (mut ledger, made) = ImporterLedger::open_waiting(site, wait)?;
    ledger.act_as(demanded.actor.clone())?;
    if made {
        output.note(&format!("created the importer site {}", site.root().display()));
    }
    // An error of the journal is reported at the end, by whoever writes it: it must not stop the work.
    drop(record::begin(site, &ledger.notes()));
    let done = work(&mut ledger, &demanded);
    let written = record::write(site, Role::Importer, &ledger.notes());
    // What stopped the work comes first: it is what a person has to look at.
    Ok(done.and_then(|done| written.map(|()| done)))
}
