//! The keys that a site shares with the other side, each in a file of its own below pairings/, which only its owner can read.
//!
//! ```text
//! pairings/zone-NAME      the exporter's, by the zone of the stream
//! pairings/stream-UUID    the importer's, by the stream; those that go on from it have the same
//! ```

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::arrival::PairingKey;
use crate::code::Code;
use crate::disk;
use crate::error::{Error, Result};
use crate::ledger::importer::ImporterView;
use crate::limits::PAIRING_TYPED_MAX;
use crate::report::{ArrivalLine, Finding};
use crate::site::Site;
use crate::stream::{Lineages, StreamId};

/// With whom a key is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairedWith<'a> {
    /// At the exporter: with the importer of this zone.
    Zone(&'a str),
    /// At the importer: with the exporter of this stream.
    Stream(StreamId),
}

/// The first line of such a file.
const TAG: &str = "airpouch pairing/1";

impl PairedWith<'_> {
    fn name(self) -> String {
        match self {
            Self::Zone(zone) => format!("zone-{zone}"),
            Self::Stream(stream) => format!("stream-{stream}"),
        }
    }

    /// The file of this key.
    pub fn path(self, site: &Site) -> PathBuf {
        site.pairings().join(self.name())
    }

    /// Whether there is such a file, whatever is in it.
    pub fn is_there(self, site: &Site) -> bool {
        self.path(site).symlink_metadata().is_ok()
    }

    /// The key; none if there is no such file.
    ///
    /// # Errors
    /// The system refused; the file is cut off or damaged.
    pub fn key(self, site: &Site) -> Result<Option<PairingKey>> {
        if !self.is_there(site) {
            return Ok(None);
        }
        let path = self.path(site);
        let bytes = disk::read_bounded(&path, PAIRING_TYPED_MAX)
            .map(Zeroizing::new)
            .map_err(|e| Error::io("read the key of a pairing", &path, &e))?;
        let text = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_prefix(TAG)?.strip_prefix('\n'));
        // The line end tells a whole file from one that was cut off.
        let key = text.and_then(|text| PairingKey::parse(text.strip_suffix('\n')?).ok());
        key.map(Some).ok_or_else(|| {
            Error::failed("the key of a pairing is cut off or damaged; nothing is acknowledged by it").at(&path).advise(
                "bring the file back from a backup of the site, or pair both sites anew, the exporter first: airpouch pair --replace",
            )
        })
    }

    /// Keeps a key durably, readable by its owner only, in the place of whatever was there.
    ///
    /// # Errors
    /// The system refused.
    pub fn keep(self, site: &Site, key: &PairingKey) -> Result<()> {
        let dir = site.pairings();
        if disk::make_private_dir(&dir)? {
            disk::sync_dir(site.root())?;
        }
        let text = Zeroizing::new(format!("{TAG}\n{}\n", *key.on_paper()));
        disk::write_secret_over(&dir, &self.name(), text.as_bytes())?;
        let path = self.path(site);
        disk::keep_owner_of(&path).map_err(|e| Error::io("keep the key of a pairing", &path, &e))
    }
}

/// The key for a stream that comes here: its own, else that of the nearest stream that it goes on from.
///
/// # Errors
/// The system refused; the file is cut off or damaged.
pub fn of_stream(site: &Site, lineages: &Lineages, stream: StreamId) -> Result<Option<PairingKey>> {
    for of in lineages.of(stream, None) {
        let with = StreamId::parse(&of.to_string()).map(PairedWith::Stream);
        if let Some(key) = with.map(|with| with.key(site)).transpose()?.flatten() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// What an importer says to the exporter, and the keys that it cannot read.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Of each stream that is paired.
    pub lines: Vec<ArrivalLine>,
    /// The keys that are damaged. Nothing else depends on them, so they stop nothing.
    pub damaged: Vec<Finding>,
}

/// What the importer says to the exporter of these streams.
///
/// # Errors
/// SQLite refused; the machine lacks something.
pub fn arrivals(site: &Site, ledger: &ImporterView, streams: &[StreamId]) -> Result<Arrivals> {
    let mut arrivals = Arrivals::default();
    if !site.pairings().exists() {
        return Ok(arrivals);
    }
    let lineages = ledger.lineages(false)?;
    for stream in streams {
        match of_stream(site, &lineages, *stream) {
            Ok(None) => {}
            Ok(Some(key)) => {
                let head = ledger.arrived(*stream)?;
                let code = head.as_ref().map(|head| (head, head.code(&key)));
                arrivals.lines.push(ArrivalLine::of(*stream, code));
            }
            Err(error) if error.lack.is_some() => return Err(error),
            Err(Error { what, place, advice, .. }) => {
                let mut finding = Finding::new(Code::PairingDamaged, what).of_stream(*stream);
                (finding.path, finding.advice) = (place, advice);
                arrivals.damaged.push(finding);
            }
        }
    }
    Ok(arrivals)
}
