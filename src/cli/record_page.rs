use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use airpouch::audit::{AskedAudit, audit};
use airpouch::clock::{self, TimeSpan};
use airpouch::disk;
use airpouch::dossier::{AskedBatches, Audited, record};
use airpouch::error::{Error, Result};
use airpouch::ledger::look;
use airpouch::report::ExitStatus;
use airpouch::site::Site;
use airpouch::text::harmless;

use super::log::time;
use super::output::Output;
use super::settings;

/// Print a page with all that the journal has of some batches, to sign and to file
///
/// Makes one page of HTML without scripts and without anything from elsewhere, for A4: by batch what was packed, carried,
/// taken, delivered, held, quarantined and released, when, by whom and why. It is made from the journal alone, also of batches
/// whose files are gone, and says at its top whether the journal holds. Changes nothing.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch record 12 --out batch-12.html\n  airpouch record 10..20 > batches.html\n  airpouch record --since 2026-11 --until 2026-11 --out november.html"
)]
pub struct Args {
    /// The batch of this number, or those from a first to a last one [default: all]
    #[arg(value_name = "BATCH|FROM..TO")]
    batches: Option<String>,
    /// The site, of either side
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Of the stream whose UUID begins so
    #[arg(long, value_name = "UUID")]
    stream: Option<String>,
    /// With which something was done from this day, month or time on (UTC), such as 2026-11
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Up to the end of this day, month or time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Write the page into this new file [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    let asked = AskedBatches {
        stream: args.stream.as_ref().map(|stream| stream.to_ascii_lowercase()),
        numbers: args.batches.as_deref().map(numbers).transpose()?,
        time: TimeSpan { since: time(args.since.as_ref())?, until: time(args.until.as_ref())? },
    };
    args.out.as_deref().map(is_free).transpose()?;
    let role = look(&site)?.role();
    output.is_at(role);
    let audited = Audited {
        site: &site,
        place: place(&site),
        role,
        audit: audit(&site, &AskedAudit::default())?,
        at: clock::utc_now(),
    };
    let report = record(audited, &asked)?;
    match (&args.out, args.json) {
        (Some(path), _) => {
            write(path, &report.html())?;
            output.note(&format!("wrote {}", path.display()));
        }
        (None, false) => output.raw(report.html().trim_end()),
        (None, true) => {}
    }
    Ok(output.show(&report))
}

/// One number, or a first and a last one.
fn numbers(text: &str) -> Result<RangeInclusive<u64>> {
    let range = match text.split_once("..") {
        Some((first, last)) => first.parse().ok().zip(last.parse().ok()),
        None => text.parse().ok().map(|number| (number, number)),
    };
    match range.filter(|(first, last): &(u64, u64)| first <= last) {
        Some((first, last)) => Ok(first..=last),
        None => Err(Error::usage(format!("invalid batches {:?}", harmless(text)))
            .advise("write a number, or a first and a last one: 12, 10..20")),
    }
}

/// Where a site lies, from the root on: a page is read elsewhere.
pub fn place(site: &Site) -> String {
    site.root().canonicalize().unwrap_or_else(|_| site.root().to_owned()).display().to_string()
}

/// Where a page is to lie, nothing lies yet.
pub fn is_free(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(_) => Err(Error::usage("there is a file of this name already; it was not overwritten")
            .at(path)
            .advise("choose another name")),
    }
}

/// Writes a page into a new file.
pub fn write(path: &Path, page: &str) -> Result<()> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::usage("a page needs a path that ends in a name").at(path))?;
    disk::write_new(directory(path), name, page.as_bytes())
}

/// The directory of a file.
pub fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
