use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use airpouch::arrival::PairingKey;
use airpouch::disk;
use airpouch::error::{Error, Result};
use airpouch::ledger::importer::ImporterView;
use airpouch::ledger::{View, look};
use airpouch::limits::PAIRING_TYPED_MAX;
use airpouch::pair::{make, take};
use airpouch::report::ExitStatus;
use airpouch::site::Site;
use airpouch::stream::StreamId;
use airpouch::text::harmless;
use zeroize::Zeroizing;

use super::output::Output;
use super::{keys, record, settings};

/// Give both sites a key by which the importer says what has arrived
///
/// At the exporter it makes a key, keeps it in the site, and prints it once, to be carried on paper: 26 symbols, and two that
/// check them. At the importer it asks for these, and keeps them too. From then on `import` and `status` there show an arrival
/// code, which the exporter notes with `airpouch arrived`. The key never goes onto a medium, and is not in the journal: that
/// has its id, which both sites show. There is no --json, since the key would be in it.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch pair                                    at the exporter: make the key, and print it for paper\n  airpouch pair --stream 230fef21                  at the importer: type it\n  airpouch pair --stream 230fef21 --file key.txt   at the importer: read it from a file\n  airpouch pair --replace                          at the exporter, then at the importer: another key"
)]
pub struct Args {
    /// At the exporter: the zone of the importer, where the site packs for several
    #[arg(long, value_name = "NAME", env = "AIRPOUCH_ZONE")]
    zone: Option<String>,
    /// At the importer: the stream of the exporter, or the beginning of its UUID, where several come
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// At the importer: read the key from this file instead of asking for it
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Take the place of the key that is there: codes by the old one acknowledge nothing then
    #[arg(long)]
    replace: bool,
    /// The site, of either side
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    #[command(flatten)]
    record: record::Args,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    let ledger = look(&site)?;
    output.is_at(ledger.role());
    let report = match ledger {
        View::Exporter(_) => run_exporter(args, &site, output)?,
        View::Importer(ledger) => run_importer(args, &site, &ledger, output)?,
    };
    Ok(report)
}

fn run_exporter(args: &Args, site: &Site, output: &Output) -> Result<ExitStatus> {
    if args.stream.is_some() || args.file.is_some() {
        return Err(Error::usage("this is an exporter's site: it makes the key, and reads none")
            .advise("--stream and --file are for the importer; here: airpouch pair"));
    }
    let made = record::exporter(site, &args.record, output, |ledger| {
        let zone = settings::exporter_zone(args.zone.as_deref(), ledger, false)?;
        make(site, ledger, &zone, args.replace)
    })??;
    Ok(output.show(&made))
}

fn run_importer(args: &Args, site: &Site, known: &ImporterView, output: &Output) -> Result<ExitStatus> {
    let stream = stream(args.stream.as_deref(), known)?;
    let typed = typed(args.file.as_deref())?;
    let typed = typed.strip_prefix(keys::BYTE_ORDER_MARK).unwrap_or(&typed);
    let typed = std::str::from_utf8(typed).unwrap_or("?").trim();
    let key = PairingKey::parse(typed).map_err(|why| {
        Error::usage(format!("the key of the pairing is {why}"))
            .advise("read it from the paper once more; nothing was kept")
    })?;
    let taken = record::importer(site, &args.record, output, |ledger| take(site, ledger, stream, &key, args.replace))??;
    Ok(output.show(&taken))
}

/// The stream of the exporter: the one that is named, else the only one that goes on.
fn stream(given: Option<&str>, ledger: &ImporterView) -> Result<StreamId> {
    let advice = "airpouch status shows the streams; name one: airpouch pair --stream STREAM";
    let all = ledger.incoming_streams()?;
    if let Some(given) = given {
        let beginning = given.to_ascii_lowercase();
        let mut known = all.iter().filter(|stream| stream.to_string().starts_with(&beginning));
        return match (known.next(), known.next(), StreamId::parse(&beginning)) {
            (Some(stream), None, _) => Ok(*stream),
            // Paper may come before the first medium.
            (None, _, Some(stream)) => Ok(stream),
            (Some(_), Some(_), _) => {
                Err(Error::usage(format!("several streams begin with {:?}", harmless(given))).advise(advice))
            }
            (None, _, None) => Err(Error::usage(format!("unknown stream {:?}", harmless(given))).advise(advice)),
        };
    }
    let ended: Vec<StreamId> = ledger.ends_of_succeeded()?.into_iter().map(|(stream, _)| stream).collect();
    let going: Vec<&StreamId> = all.iter().filter(|stream| !ended.contains(stream)).collect();
    match going[..] {
        [stream] => Ok(*stream),
        [] => Err(Error::usage("no stream has come here yet")
            .advise("name it, as the exporter printed it: airpouch pair --stream STREAM")),
        _ => Err(Error::usage(format!("{} streams come here", going.len())).advise(advice)),
    }
}

/// What was typed: in a file, at a terminal without being shown, or through a pipe; never in an argument, where others see it.
fn typed(file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>> {
    if let Some(path) = file {
        let read = disk::read_bounded_following(path, PAIRING_TYPED_MAX);
        return read.map(Zeroizing::new).map_err(|e| Error::setting("read the key of the pairing", path, &e));
    }
    if io::stdin().is_terminal() {
        return keys::ask("the pairing, from the paper of the exporter: ");
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(PAIRING_TYPED_MAX as usize + 1));
    let read = io::stdin().take(PAIRING_TYPED_MAX).read_to_end(&mut bytes);
    read.map_err(|e| Error::io("read the key of the pairing", Path::new("standard input"), &e))?;
    Ok(bytes)
}
