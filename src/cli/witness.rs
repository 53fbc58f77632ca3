use std::path::PathBuf;

use airpouch::error::{Error, Result};
use airpouch::ledger::look;
use airpouch::report::ExitStatus;
use airpouch::spoken::SpokenCode;
use airpouch::witness;

use super::output::Output;
use super::{record, settings};

/// Let the other side witness where the journal ends
///
/// Without CODE it shows the code of this site's journal, to be said to the other side, and at the importer those of the
/// exporter's journal, whose heads come with its media. With CODE it notes in the journal what the other side said. Whoever
/// writes a journal anew cannot make one with the same codes: `airpouch audit --code CODE` looks for a code that the other side has.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch witness                                         the code to say\n  airpouch witness SABR2-4PA3E-YWNYP-266SS-AV --operator \"A. Officer\"\n  airpouch audit --code SABR2-4PA3E-YWNYP-266SS-AV         is it still in our journal?"
)]
pub struct Args {
    /// The code of the other side's journal, as it was said
    code: Option<String>,
    /// The site, of either side
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    record: record::Args,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    let ledger = look(&site)?;
    output.is_at(ledger.role());
    let Some(code) = args.code.as_deref().map(code).transpose()? else {
        return Ok(output.show(&witness::codes(&site, &ledger)?));
    };
    let noted = record::noting(&site, ledger.role(), &args.record, output, |notes| witness::note(notes, code))??;
    Ok(output.show(&noted))
}

/// A code as it was typed.
pub fn code(typed: &str) -> Result<SpokenCode> {
    SpokenCode::parse(typed).map_err(|why| {
        Error::usage(why.to_string()).advise("ask for it again; the other side shows it: airpouch witness")
    })
}
