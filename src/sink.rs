//! Where the importer delivers.
//!
//! A sink delivers in groups, in two steps, so that a crash between them loses nothing and repeats nothing:
//! [`Sink::stage`] puts envelopes where nobody sees them yet and [`Sink::prepare`] makes that durable; the
//! ledger notes what is about to appear; [`Sink::settle`] makes it appear and says what was delivered.

pub mod directory;

use std::fmt;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::envelope::Envelope;
use crate::error::{Error, Result};

/// What `--to` names: kind and address, never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `dir:PATH`: envelope files for the stock diode-import connector.
    Directory(PathBuf),
}

impl Destination {
    /// Reads `--to`.
    ///
    /// # Errors
    /// An unknown kind, no address, or a secret in it; the secret is not repeated.
    pub fn parse(text: &str) -> Result<Self> {
        let (kind, address) = text.split_once(':').unwrap_or(("", text));
        let lower = kind.to_ascii_lowercase();
        let has_secret = address.split_once("//").is_some_and(|(_, rest)| {
            rest.split(['/', '?', '#'])
                .next()
                .and_then(|authority| authority.rsplit_once('@'))
                .is_some_and(|(user, _)| user.contains(':'))
        });
        if has_secret {
            return Err(Error::usage("a password stands in the destination; it would show in every list of processes")
                .advise("take it out and give it by a file: --amqp-password-file FILE, --token-file FILE"));
        }
        match lower.as_str() {
            "dir" if !address.is_empty() => {
                let path =
                    std::path::absolute(address).map_err(|e| Error::io("find", std::path::Path::new(address), &e))?;
                // Without a slash at its end, so that one directory has one address.
                Ok(Self::Directory(path.components().collect()))
            }
            "spool" | "amqp" | "amqps" | "opencti+http" | "opencti+https" => {
                Err(Error::usage(format!("this release does not deliver to {lower}: yet"))
                    .advise("deliver to dir:PATH, which the stock diode-import connector reads"))
            }
            _ => {
                Err(Error::usage(format!("{:?} is no destination", crate::text::harmless(text)))
                    .advise("write dir:PATH"))
            }
        }
    }

    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Directory(_) => "dir",
        }
    }

    /// Its address.
    pub fn address(&self) -> String {
        match self {
            Self::Directory(path) => path.to_string_lossy().into_owned(),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), crate::text::harmless(&self.address()))
    }
}

/// An envelope that is to be delivered, and where it came from.
#[derive(Debug, Clone)]
pub struct Deliverable {
    /// Its digest, as it crossed.
    pub sha256: Digest,
    /// The bytes to deliver: as they crossed, or with just an applicant put in.
    pub bytes: Vec<u8>,
    /// The ledger's number of its batch.
    pub batch: i64,
    /// Its position in the index, from 1.
    pub ordinal: usize,
    /// A name that is unique to it and portable: `<stream 16>-<sequence 8>-<ordinal 8>`.
    pub name: String,
    /// In whose name it goes.
    pub applicant: Option<String>,
}

/// What is about to appear, or has: the ledger's note of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placing {
    /// Digest of the envelope as it crossed.
    pub sha256: Digest,
    /// The ledger's number of its batch.
    pub batch: i64,
    /// Its position in the index.
    pub ordinal: usize,
    /// Its name in the sink.
    pub name: String,
    /// Its time of modification in the sink, in nanoseconds since 1970.
    pub mtime: i64,
    /// In whose name it goes.
    pub applicant: Option<String>,
}

/// What a sink vouches for: these were delivered. Only this can be recorded as such.
#[derive(Debug)]
pub struct Delivery(pub(crate) Vec<Placing>);

/// What a sink cannot take, whatever the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// There is nothing in it to deliver; that is recorded as delivered.
    Empty,
    /// Not as things stand.
    Hold {
        /// One word for programs.
        code: &'static str,
        /// What is the matter.
        what: String,
        /// Where, as a JSON pointer.
        place: String,
    },
    /// It would break what reads this sink.
    Quarantine {
        /// One word for programs.
        code: &'static str,
        /// What is the matter.
        what: String,
        /// Where, as a JSON pointer.
        place: String,
    },
}

/// A place of delivery.
pub trait Sink {
    /// Finishes what a crash left between `prepare` and `settle`.
    ///
    /// # Errors
    /// The sink is not there, or the system refused.
    fn recover(&mut self, placing: Vec<Placing>) -> Result<Delivery>;

    /// Whether this sink can take that envelope at all.
    fn fitness(&self, envelope: &Envelope) -> std::result::Result<(), Unfit>;

    /// Takes an envelope into the group, unseen.
    ///
    /// # Errors
    /// The system refused.
    fn stage(&mut self, deliverable: Deliverable) -> Result<()>;

    /// Envelopes staged and not settled.
    fn staged(&self) -> usize;

    /// Makes the group durable and fixes all that will be seen of it.
    ///
    /// # Errors
    /// The system refused; then nothing of the group was seen.
    fn prepare(&mut self) -> Result<Vec<Placing>>;

    /// Makes the group appear, in order.
    ///
    /// # Errors
    /// The system refused; [`Sink::recover`] finishes it later.
    fn settle(&mut self) -> Result<Delivery>;

    /// What the ledger is to keep for the next run: the last time of modification that was given out.
    fn high_water(&self) -> i64;

    /// By what the destination is known again.
    fn mark(&self) -> &str;
}
