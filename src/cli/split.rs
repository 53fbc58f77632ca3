use std::path::PathBuf;

use airpouch::digest::Digest;
use airpouch::disk;
use airpouch::envelope::Envelope;
use airpouch::error::{Error, Result};
use airpouch::ledger::look;
use airpouch::limits::ENVELOPE_MAX;
use airpouch::opencti::message::{Messages, spare_bundle_id};
use airpouch::report::{ExitStatus, SplitReport};
use airpouch::show::{self, Place};
use airpouch::sink::registration;

use super::output::Output;
use super::settings;

/// Show what would become of one envelope
///
/// Takes the bundle in FILE apart as OpenCTI's own client does before it publishes one, and as import does for queues:
/// one message for each object, dependencies first. Shows the messages in their order, how many other objects each one
/// depends on, which objects are incompatible and therefore skipped, and why. Nothing is sent and nothing is written. Whether
/// the policy lets it pass, and as which user it is created, only import can say.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch split /srv/opencti/out/feed-20261105.json\n  airpouch split 12:340                          envelope 340 of batch 12, out of the inbox\n  airpouch split --bundles feed.json | jq -c '.objects[0] | [.nb_deps, .id]'\n  airpouch split quarantine/812302a6….json       why OpenCTI's client would stop at it"
)]
pub struct Args {
    /// An envelope as a connector wrote it; or BATCH:ORDINAL or STREAM:BATCH:ORDINAL, one in the inbox or outbox
    #[arg(value_name = "FILE|BATCH:ORDINAL")]
    file: PathBuf,
    /// The site, for BATCH:ORDINAL
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Print the bundle of each message, one a line, and nothing else
    #[arg(long, conflicts_with = "json")]
    bundles: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    let place = args.file.to_str().and_then(|text| Place::parse(text, "split")).filter(|place| place.ordinal.is_some());
    let bytes = match place.filter(|_| !args.file.exists()) {
        Some(place) => {
            let site = settings::site(args.site.as_deref())?;
            show::bytes(&site, &look(&site)?, &place)?
        }
        None => disk::read_bounded_following(&args.file, ENVELOPE_MAX)
            .map_err(|e| Error::io("read the envelope", &args.file, &e))?,
    };
    let envelope = Envelope::parse(&bytes).map_err(|fault| {
        Error::failed(format!("not an envelope: {fault}"))
            .at(&args.file)
            .advise("name a file that a connector wrote with send_to_directory")
    })?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let messages = Messages::of(text).map_err(|fault| {
        Error::failed(format!("this envelope cannot be taken apart: {}", fault.what))
            .at_place(&format!("{} {}", args.file.display(), fault.place))
            .advise("fix it at the exporter's connector: OpenCTI's own client would stop at it, or corrupt it")
    })?;
    let sha256 = Digest::of(&bytes);
    if args.bundles {
        let mut bundle = String::new();
        for at in 0..messages.count() {
            bundle.clear();
            messages.write_bundle(&mut bundle, text, at, &spare_bundle_id(sha256));
            output.result(&bundle);
        }
        return Ok(ExitStatus::Done);
    }
    Ok(output.show(&SplitReport::of(text, &messages, sha256, registration(&envelope.connector))))
}
