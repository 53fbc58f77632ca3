use std::path::PathBuf;

use airpouch::error::{Error, Result};
use airpouch::report::ExitStatus;
use airpouch::shelf::kept::KeptShelf;
use airpouch::sign::{AskedToSign, sign};
use airpouch::stream::Asked;
use clap::builder::BoolishValueParser;

use super::command_line::{CommandLine, Meant};
use super::output::Output;
use super::{keys, record, settings};

/// Sign batches of the outbox with a further key
///
/// For batches that were packed with a key that the importer trusts no more, or that need a second signature. The batches
/// stay as they are; each gets one more file with a signature. `airpouch carry --resend` brings it to a medium, which needs the
/// other files of a batch only if it does not have them.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch sign --key /etc/airpouch/site-a-2027.key.pem          all batches\n  airpouch sign 57-58,61 --key /etc/airpouch/site-a-2027.key.pem"
)]
pub struct Args {
    /// N, 10-13,17, or STREAM:10-13 for those of an earlier stream [default: all]
    #[arg(value_name = "NUMBERS")]
    batches: Vec<Asked>,
    /// A private key to sign with; may be repeated
    #[arg(long, value_name = "FILE", env = "AIRPOUCH_KEY")]
    key: Vec<PathBuf>,
    /// A file with the passphrase of the key
    #[arg(long, value_name = "FILE", env = "AIRPOUCH_PASSPHRASE_FILE")]
    passphrase_file: Option<PathBuf>,
    /// The exporter's site
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// The zone of the batches, where the site packs for several
    #[arg(long, value_name = "NAME", env = "AIRPOUCH_ZONE")]
    zone: Option<String>,
    /// Take keys that are published with airpouch's sources; for tests only
    #[arg(long, env = "AIRPOUCH_TEST_KEYS", value_parser = BoolishValueParser::new())]
    test_keys: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    record: record::Args,
}

pub fn run(typed: &Args, line: &CommandLine, output: &Output) -> Result<ExitStatus> {
    let Meant { args, site, .. } = line.meant::<Args>(typed.site.as_deref(), output)?;
    if !site.exists() {
        return Err(Error::failed("no airpouch site here").at(site.root()).advise("name it with --site DIR"));
    }
    let keys = keys::private_keys(&args.key, args.passphrase_file.as_deref(), args.test_keys, output)?;
    let signed = record::exporter(&site, &args.record, output, |ledger| {
        let zone = settings::exporter_zone(args.zone.as_deref(), ledger, false)?;
        let asked = AskedToSign { zone: &zone, batches: &args.batches, keys: &keys };
        sign(ledger, &KeptShelf::new(site.outbox()), &asked)
    })??;
    Ok(output.show(&signed))
}
