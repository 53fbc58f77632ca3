//! What was not delivered, each with its reason beside it: `held/` and `quarantine/` in the site.
//!
//! `<sha256>.json` is the envelope, byte for byte; `<sha256>.reason.json` says what, where and what to do.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result};
use crate::form;
use crate::limits::ENVELOPE_MAX;
use crate::site::Site;
use crate::stream::StreamId;
use crate::text::visible_json;

/// How a thing is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It goes when the reason is gone.
    Held,
    /// It goes when a person releases it.
    Quarantined,
}

impl Kind {
    /// The word in the ledger and in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Quarantined => "quarantined",
        }
    }

    fn dir(self, site: &Site) -> PathBuf {
        match self {
            Self::Held => site.held(),
            Self::Quarantined => site.quarantine(),
        }
    }
}

/// Why an envelope was set aside; the fields in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// One word for programs.
    pub code: String,
    /// What is the matter.
    pub what: String,
    /// Where in the envelope, as a JSON pointer (RFC 6901) where there is one.
    #[serde(rename = "where")]
    pub place: String,
    /// What to do.
    #[serde(rename = "do")]
    pub advice: String,
    /// The batch that it came by.
    pub batch: BatchPlace,
    /// Who wrote it.
    pub connector: ConnectorName,
    /// Its name in the source directory.
    pub name: String,
    /// Its digest.
    pub sha256: Digest,
}

/// A place in a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchPlace {
    /// Stream.
    pub stream: StreamId,
    /// Number.
    pub sequence: u64,
    /// Position in the index, from 1.
    pub ordinal: usize,
}

/// A connector as reasons name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectorName {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// Sets an envelope aside: its bytes first, then the reason. Neither is durable yet: the file system is synced
/// once for a whole group, before the ledger says that they are there.
///
/// # Errors
/// The system refused.
pub fn put(site: &Site, kind: Kind, envelope: &[u8], reason: &Reason) -> Result<()> {
    disk::write_over_unsynced(&kind.dir(site), &format!("{}.json", reason.sha256), envelope)?;
    put_reason(site, kind, reason)
}

/// The reason alone, for an envelope that lies there already.
///
/// # Errors
/// The system refused.
pub fn put_reason(site: &Site, kind: Kind, reason: &Reason) -> Result<()> {
    let text = String::from_utf8(form::encode(reason)).expect("JSON is text");
    let text = visible_json(&text) + "\n";
    disk::write_over_unsynced(&kind.dir(site), &format!("{}.reason.json", reason.sha256), text.as_bytes())
}

/// Where the copy of an envelope lies.
pub fn path_of(site: &Site, kind: Kind, sha256: Digest) -> PathBuf {
    kind.dir(site).join(format!("{sha256}.json"))
}

/// Whether a copy of an envelope lies here.
pub fn has(site: &Site, kind: Kind, sha256: Digest) -> bool {
    fs::symlink_metadata(path_of(site, kind, sha256)).is_ok_and(|there| there.is_file())
}

/// Digests of the envelopes that lie here, whatever the ledger says of them.
///
/// # Errors
/// The system refused.
pub fn digests(site: &Site, kind: Kind) -> Result<Vec<Digest>> {
    let dir = kind.dir(site);
    let entries = fs::read_dir(&dir).map_err(|e| Error::io("read what was set aside", &dir, &e))?;
    let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
    Ok(names.filter_map(|n| n.strip_suffix(".json")?.parse().ok()).collect())
}

/// An envelope that was set aside, if its bytes are still those of its digest.
///
/// # Errors
/// It is not there, it was changed, or the system refused.
pub fn get(site: &Site, kind: Kind, sha256: Digest) -> Result<Vec<u8>> {
    let path = kind.dir(site).join(format!("{sha256}.json"));
    let bytes = disk::read_bounded(&path, ENVELOPE_MAX).map_err(|e| Error::io("read what was set aside", &path, &e))?;
    if Digest::of(&bytes) != sha256 {
        return Err(Error::failed("this file was changed after it was set aside; it is not delivered").at(&path));
    }
    Ok(bytes)
}

/// Takes away an envelope that was delivered or rejected, and its reason.
///
/// # Errors
/// The system refused.
pub fn remove(site: &Site, kind: Kind, sha256: Digest) -> Result<()> {
    for name in [format!("{sha256}.reason.json"), format!("{sha256}.json")] {
        remove_file(&kind.dir(site).join(name))?;
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<()> {
    disk::remove_if_there(path).map_err(|e| Error::io("remove what is not set aside any more", path, &e))
}
