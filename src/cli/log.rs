use std::path::PathBuf;

use airpouch::clock::TimeSpan;
use airpouch::error::{Error, Result};
use airpouch::log::{AskedEvents, each, look_up};
use airpouch::objects::StixId;
use airpouch::report::{COLUMNS, ExitStatus, LogReport};
use airpouch::text::harmless;

use super::output::Output;
use super::settings;

/// Show what was done at a site, when, by whom and why
///
/// Reads the journal. All that is given must fit. Without options it shows all. At an importer --envelope and --object also
/// look through what is kept of each batch when its files are pruned: its index, and a list of its objects.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch log --since 2026-11 --event released\n  airpouch log --envelope 812302a6\n  airpouch log --object indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f\n  airpouch log --csv --since 2026-11-01 --until 2026-11-30 > november.csv"
)]
pub struct Args {
    /// The site, of either side
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// From this day, month or time on (UTC), such as 2026-11 or 2026-11-28T07:30
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Up to the end of this day, month or time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Of the stream whose UUID begins so
    #[arg(long, value_name = "UUID")]
    stream: Option<String>,
    /// Of the batch of this number
    #[arg(long, value_name = "NUMBER")]
    batch: Option<u64>,
    /// About the connector of this id or name
    #[arg(long, value_name = "ID|NAME")]
    connector: Option<String>,
    /// Of this kind, such as packed, carried, taken, delivered, held, quarantined or released
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// About the envelope of this name, or whose digest begins so; and where it is, also when its batch was pruned
    #[arg(long, value_name = "SHA256|NAME")]
    envelope: Option<String>,
    /// No events, but the envelopes that had the object of this STIX id, and what became of them: at the importer
    #[arg(long, value_name = "STIX-ID", conflicts_with_all = ["envelope", "event", "csv"])]
    object: Option<String>,
    /// Print a table for a spreadsheet
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    let asked = AskedEvents {
        time: TimeSpan { since: time(args.since.as_ref())?, until: time(args.until.as_ref())? },
        stream: args.stream.as_ref().map(|stream| stream.to_ascii_lowercase()),
        batch: args.batch,
        connector: args.connector.clone(),
        event: args.event.clone(),
        envelope: args.envelope.clone(),
        object: args.object.as_deref().map(stix_id).transpose()?,
    };
    let mut report = LogReport::default();
    // A table has events alone.
    if let Some(found) = if args.csv { None } else { look_up(&site, &asked)? } {
        report.envelopes = found.envelopes;
        report.more_envelopes = found.more;
        report.searched = Some(found.searched);
        report.findings = found.findings;
    }
    if asked.object.is_some() {
        return Ok(output.show(&report));
    }
    if args.csv {
        output.raw(&COLUMNS.join(","));
    }
    let (mut events, mut has_printed) = (Vec::new(), false);
    each(&site, &asked, &report.envelopes, |event| {
        // One by one, for there may be more than fits into memory; the document is asked for as a whole.
        match (args.json, args.csv) {
            (true, _) => events.push(event),
            (_, true) => output.raw(&event.row()),
            _ => output.print_report(&event, true),
        }
        has_printed = true;
        Ok(())
    })?;
    (report.events, report.has_printed) = (events, has_printed);
    Ok(if args.csv { output.close(&report, Ok(())) } else { output.show(&report) })
}

fn stix_id(text: &str) -> Result<StixId> {
    StixId::parse(text).ok_or_else(|| {
        Error::usage(format!("not the id of a STIX object: {:?}", harmless(text)))
            .advise("write it as the bundle has it: a type, two hyphens and a UUID, such as indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f")
    })
}

/// The beginning of a time as the journal has it: digits and signs of RFC 3339, the year in full.
pub fn time(given: Option<&String>) -> Result<Option<String>> {
    const FORM: &str = "0000-00-00T00:00:00Z";
    let Some(text) = given else { return Ok(None) };
    let fits = |(is, form): (char, char)| if form == '0' { is.is_ascii_digit() } else { is == form };
    if text.len() < 4 || text.len() > FORM.len() || !text.chars().zip(FORM.chars()).all(fits) {
        return Err(Error::usage(format!("invalid time {:?}", harmless(text)))
            .advise("write a year, a month, a day or a time of UTC: 2026, 2026-11, 2026-11-28, 2026-11-28T07:30:00Z"));
    }
    Ok(Some(text.clone()))
}
