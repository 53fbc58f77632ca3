use std::path::PathBuf;

use airpouch::error::{Error, Result};
use airpouch::ledger::importer::{AsideKind, AsideRow, ImporterLedger, ImporterView};
use airpouch::report::ExitStatus;
use airpouch::text::harmless;
use serde_json::json;

use super::settings;
use super::terminal::Talk;

/// List what is held or quarantined, or release it
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch quarantine list\n  airpouch quarantine release 812302a6 --reason \"checked with the feed's owner\""
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// List what was quarantined, and what is held
    List(Common),
    /// Let an envelope go with the next import, in spite of the reason
    Release(Release),
}

#[derive(clap::Args, Debug)]
struct Common {
    /// The importer's site
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
struct Release {
    /// The envelope's digest, or enough of its beginning to be the only one
    sha256: String,
    /// Why, for the ledger
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub fn json(&self) -> bool {
        match &self.verb {
            Verb::List(common) => common.json,
            Verb::Release(release) => release.common.json,
        }
    }
}

pub fn run(args: &Args, talk: &Talk) -> Result<ExitStatus> {
    match &args.verb {
        Verb::List(common) => list(common, talk),
        Verb::Release(args) => release(args, talk),
    }
}

fn list(args: &Common, talk: &Talk) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    talk.is_in(&site);
    let ledger = ImporterView::look(&site)?;
    let (mut any, mut rows) = (false, Vec::new());
    ledger.each_aside(|row| {
        any = true;
        // One by one, for there may be more than fits into memory; the document is asked for as a whole.
        if args.json {
            rows.push(as_json(&row));
        }
        let connector = harmless(&row.connector_name);
        talk.result(&format!("{} {} {}: {}", row.sha256.short(), row.kind.word(), row.code, row.what));
        let (name, ordinal, sequence) = (harmless(&row.name), row.ordinal, row.sequence);
        talk.result(&format!("         {name} of {connector}, envelope {ordinal} of batch {sequence}"));
        if !row.copied {
            talk.result("         kept in the inbox alone");
        }
        talk.result(&format!("         {}", talk.complete(&row.code.advice(row.sha256, &row.connector))));
        Ok(())
    })?;
    if !any {
        talk.note("nothing is held or quarantined");
    }
    talk.json("quarantine list", ExitStatus::Done, &json!({"set_aside": rows}));
    Ok(ExitStatus::Done)
}

fn as_json(row: &AsideRow) -> serde_json::Value {
    json!({
        "sha256": row.sha256, "kind": row.kind.word(), "code": row.code, "what": row.what, "where": row.place,
        "batch": {"stream": row.stream, "sequence": row.sequence, "ordinal": row.ordinal},
        "connector": {"id": row.connector, "name": row.connector_name}, "applicant": row.applicant, "name": row.name, "copied": row.copied,
        "do": row.code.advice(row.sha256, &row.connector),
    })
}

/// The one envelope that a digest's beginning names, if it can be released.
fn to_release<'a>(rows: &'a [AsideRow], named: &str) -> Result<&'a AsideRow> {
    let named = named.to_ascii_lowercase();
    let mut fitting = rows.iter().filter(|row| row.sha256.to_string().starts_with(&named));
    let row = match (fitting.next(), fitting.next()) {
        (Some(row), None) => row,
        (None, _) => {
            return Err(Error::usage(format!(
                "{:?} does not begin the digest of any envelope that is set aside",
                harmless(&named)
            ))
            .advise("see the list: airpouch quarantine list"));
        }
        (Some(_), Some(_)) => {
            return Err(Error::usage(format!("{:?} begins several digests", harmless(&named)))
                .advise("give more digits of it; see the list: airpouch quarantine list"));
        }
    };
    match row.kind {
        AsideKind::Quarantined => Ok(row),
        AsideKind::Released => Err(Error::usage(format!("{} was released already", row.sha256.short()))
            .advise("deliver it, or see what still speaks against it: airpouch import")),
        AsideKind::Held => Err(Error::usage(format!("{} is held, not quarantined: {}", row.sha256.short(), row.what))
            .advise(row.code.advice(row.sha256, &row.connector))),
    }
}

fn release(args: &Release, talk: &Talk) -> Result<ExitStatus> {
    let site = settings::site(args.common.site.as_deref())?;
    talk.is_in(&site);
    if args.reason.trim().is_empty() {
        return Err(Error::usage("a release needs a reason; the ledger keeps it").advise("--reason TEXT"));
    }
    if args.sha256.len() < 8 {
        return Err(
            Error::usage("name at least eight digits of the digest").advise("see the list: airpouch quarantine list")
        );
    }
    if !site.exists() {
        return Err(Error::failed("no airpouch site here").at(site.root()).advise("name it with --site DIR"));
    }
    let (ledger, _) = ImporterLedger::open(&site)?;
    let rows = ledger.aside_by_beginning(&args.sha256.to_ascii_lowercase())?;
    let row = to_release(&rows, &args.sha256)?;
    ledger.release(row.sha256, &args.reason)?;
    talk.result(&format!("released {}: it goes with the next import, with all of this:", row.sha256));
    talk.result(&format!("         {}: {}", row.code, row.what));
    let report = json!({"released": row.sha256, "reason": args.reason, "code": row.code, "what": row.what});
    talk.json("quarantine release", ExitStatus::Done, &report);
    Ok(ExitStatus::Done)
}
