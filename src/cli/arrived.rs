use std::path::PathBuf;

use airpouch::arrival::ArrivalCode;
use airpouch::arrived::{SaidCode, arrived};
use airpouch::clock;
use airpouch::error::{Error, Result};
use airpouch::ledger::look;
use airpouch::report::ExitStatus;
use airpouch::stream::{NotNumbers, Numbers};
use airpouch::text::harmless;

use super::output::Output;
use super::{record, settings};

/// Note what the importer says has arrived, by its code
///
/// `import` and `status` at the importer end with an arrival code once both sites are paired (`airpouch pair`). Type it here:
/// the batches up to the one that it stands for are acknowledged, in the ledger and in the journal. A mistyped code is
/// refused as mistyped. After five codes within an hour that fit no batch none is tried until an hour has passed.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch arrived 7F4QX-9XKM2 --operator \"A. Officer\"\n  airpouch arrived 7f4qx9xkm2 --without 57-58     the importer has given these up: they are not acknowledged"
)]
pub struct Args {
    /// The arrival code, as it was said; capitals, blanks and dashes do not matter
    #[arg(required = true, num_args = 1..)]
    arrival: Vec<String>,
    /// The numbers that the importer said it has not, such as 57-58,61
    #[arg(long, value_name = "NUMBERS")]
    without: Option<String>,
    /// The exporter's site
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
    let code = ArrivalCode::parse(&args.arrival.join(" ")).map_err(|why| {
        Error::usage(why.to_string())
            .advise("nothing was counted: have it read out once more, symbol by symbol; the importer's status shows it")
    })?;
    let without: Numbers = match &args.without {
        Some(text) => text.parse().map_err(|e: NotNumbers| {
            Error::usage(format!("{:?} is {e}", harmless(text)))
                .advise("the importer's command has them behind --without")
        })?,
        None => Numbers::default(),
    };
    output.is_at(look(&site)?.role());
    let said = SaidCode { code, without: &without, now: clock::now().0 };
    let noted = record::exporter(&site, &args.record, output, |ledger| arrived(&site, ledger, &said))??;
    Ok(output.show(&noted))
}
