use std::path::{Path, PathBuf};

use airpouch::digest::Digest;
use airpouch::disk;
use airpouch::envelope::Envelope;
use airpouch::error::{Error, Result};
use airpouch::ledger::importer::ImporterView;
use airpouch::limits::ENVELOPE_MAX;
use airpouch::look;
use airpouch::opencti::message::{Messages, spare_bundle_id};
use airpouch::report::{ExitStatus, SplitReport};
use airpouch::sink::registration;
use airpouch::site::Site;
use airpouch::stream::StreamId;
use airpouch::text::count;

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
    /// An envelope as a connector wrote it; or BATCH:ORDINAL or STREAM:BATCH:ORDINAL, one in the inbox
    #[arg(value_name = "FILE|BATCH:ORDINAL")]
    file: PathBuf,
    /// The importer's site, for BATCH:ORDINAL
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
    let bytes = match Place::parse(&args.file).filter(|_| !args.file.exists()) {
        Some(place) => place.read(&settings::site(args.site.as_deref())?)?,
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

/// An envelope in the inbox.
struct Place {
    stream: Option<StreamId>,
    sequence: u64,
    ordinal: usize,
}

impl Place {
    fn parse(named: &Path) -> Option<Self> {
        let (before, ordinal) = named.to_str()?.rsplit_once(':')?;
        let (stream, sequence) = match before.rsplit_once(':') {
            Some((stream, sequence)) => (Some(StreamId::parse(stream)?), sequence),
            None => (None, before),
        };
        Some(Self { stream, sequence: sequence.parse().ok()?, ordinal: ordinal.parse().ok()? })
    }

    fn read(&self, site: &Site) -> Result<Vec<u8>> {
        let ledger = ImporterView::look(site)?;
        let mut batches = ledger.batches_numbered(self.sequence)?;
        batches.retain(|batch| self.stream.is_none_or(|stream| stream == batch.stream));
        let row = if let [batch] = &batches[..] { ledger.incoming_by_id(batch.id)? } else { None };
        match (row, batches.first()) {
            (Some(row), _) => look::envelope(site, &row, self.ordinal),
            (None, None) => Err(Error::usage(format!("batch {} never came here", self.sequence))
                .advise("see which ones did: airpouch status")),
            (None, Some(first)) => {
                let number = count(batches.len() as u64, "batch");
                let place = format!("{}:{}:{}", first.stream, self.sequence, self.ordinal);
                Err(Error::usage(format!("{number} have the number {}", self.sequence))
                    .advise(format!("say of which stream: airpouch split {place}")))
            }
        }
    }
}
