//! Where the importer delivers.
//!
//! A sink delivers in groups, in two steps, so that a crash between them loses nothing and repeats nothing:
//! [`Sink::stage`] puts envelopes where nobody sees them yet and [`Sink::prepare`] makes that durable; the
//! ledger notes what is about to appear; [`Sink::settle`] makes it appear and says what was delivered.

mod beside;
pub mod directory;
mod mark;
pub mod spool;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::envelope::{Code, Connector, Envelope, Scope};
use crate::error::{Error, Result};
use crate::opencti::message::Messages;
use crate::opencti::registration::{CONNECTOR_TYPES, NAME_MIN, Registration, scope_of_text};
use crate::text::harmless;

/// What `--to` names: kind and address, never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `dir:PATH`: envelope files for the stock diode-import connector.
    Directory(PathBuf),
    /// `spool:PATH`: messages for the queues of a broker, by connector.
    Spool(PathBuf),
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
            "dir" | "spool" if !address.is_empty() => {
                let path = std::path::absolute(address).map_err(|e| Error::io("find", Path::new(address), &e))?;
                // Without a slash at its end, so that one directory has one address.
                let path = path.components().collect();
                Ok(if lower == "dir" { Self::Directory(path) } else { Self::Spool(path) })
            }
            "amqp" | "amqps" | "opencti+http" | "opencti+https" => {
                Err(Error::usage(format!("this release does not deliver to {lower}: yet"))
                    .advise("deliver to spool:PATH, or to dir:PATH, which the stock diode-import connector reads"))
            }
            _ => {
                Err(Error::usage(format!("{:?} is no destination", harmless(text)))
                    .advise("write dir:PATH or spool:PATH"))
            }
        }
    }

    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Directory(_) => "dir",
            Self::Spool(_) => "spool",
        }
    }

    /// Its address.
    pub fn address(&self) -> String {
        self.path().to_string_lossy().into_owned()
    }

    /// The directory that it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Spool(path) => path,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), harmless(&self.address()))
    }
}

/// An envelope that is to be delivered, and where it came from.
#[derive(Debug)]
pub struct Deliverable {
    /// Its digest, as it crossed.
    pub sha256: Digest,
    /// The bytes to deliver: as they crossed, or with just an applicant put in.
    pub bytes: Vec<u8>,
    /// What the sink's examiner has made of it.
    pub examined: Examined,
    /// The connector that wrote it.
    pub connector: Connector,
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
    /// Where it stands in the order of the sink: its time of modification in nanoseconds since 1970, or the number of
    /// its last message.
    pub mark: i64,
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

/// What an examiner has made of an envelope that a sink can take.
#[derive(Debug)]
pub enum Examined {
    /// It goes as it is.
    Whole,
    /// It goes in parts.
    Messages(Box<Messages>),
}

/// How a sink looks at envelopes before anything is decided: any number of threads may, beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examiner {
    /// For the stock diode-import connector, which takes envelopes whole.
    Whole,
    /// For queues, into which the parts of a bundle go.
    Splitting,
}

impl Examiner {
    /// Looks at an envelope; `bytes` are the ones of which it was read.
    ///
    /// # Errors
    /// The sink cannot take it.
    pub fn examine(self, bytes: &[u8], envelope: &Envelope) -> std::result::Result<Examined, Unfit> {
        match self {
            Self::Whole => whole(envelope).map(|()| Examined::Whole),
            Self::Splitting => split(bytes, envelope).map(|messages| Examined::Messages(Box::new(messages))),
        }
    }

    /// Whether applicants are mapped here, and not by whoever reads the sink.
    pub fn maps_applicants(self) -> bool {
        self == Self::Splitting
    }
}

/// What the stock connector would delete, or die on, as far as that can be seen without splitting.
fn whole(envelope: &Envelope) -> std::result::Result<(), Unfit> {
    let contents = &envelope.contents;
    if contents.objects == 0 {
        return Err(Unfit::Empty);
    }
    if let Some(found) = contents.findings.iter().find(|f| f.code == Code::Unsplittable) {
        return Err(Unfit::Quarantine {
            code: found.code.word(),
            what: found.what.clone(),
            place: found.place.clone(),
        });
    }
    registrable(&envelope.connector)?;
    if contents.compatible == 0 {
        // The connector raises «Nothing to import» on it, and takes nothing that comes after.
        return Err(Unfit::Empty);
    }
    Ok(())
}

fn split(bytes: &[u8], envelope: &Envelope) -> std::result::Result<Messages, Unfit> {
    registrable(&envelope.connector)?;
    if envelope.connector.validate_before_import == Some(true) {
        let what = "its connector wants each import validated by a person, which takes a draft on the platform";
        return Err(Unfit::Hold {
            code: "validate-before-import",
            what: what.to_owned(),
            place: "/connector/validate_before_import".into(),
        });
    }
    // It was read as an envelope, so it is text.
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let messages = Messages::of(text).map_err(|fault| Unfit::Quarantine {
        code: Code::Unsplittable.word(),
        what: fault.what,
        place: fault.place,
    })?;
    Ok(messages)
}

/// What the platform would refuse to register.
fn registrable(connector: &Connector) -> std::result::Result<(), Unfit> {
    let kind = connector.kind.as_str();
    if !CONNECTOR_TYPES.contains(&kind) {
        let what = format!("the platform knows no connector of type {}", harmless(kind));
        return Err(Unfit::Hold { code: "connector-type", what, place: "/connector/type".into() });
    }
    if connector.name.trim().chars().count() < NAME_MIN {
        let what = "the platform registers no connector whose name is shorter than two characters".to_owned();
        return Err(Unfit::Hold { code: "connector-name", what, place: "/connector/name".into() });
    }
    Ok(())
}

/// The registration of a connector as its envelopes describe it.
pub fn registration(connector: &Connector) -> Registration {
    let scope = match &connector.scope {
        Scope::None => Vec::new(),
        Scope::Text(text) => scope_of_text(text),
        Scope::List(parts) => parts.iter().map(|part| part.trim().to_owned()).collect(),
    };
    Registration::new(&connector.id, &connector.name, &connector.kind, scope, connector.auto == Some(true))
}

/// A place of delivery.
pub trait Sink {
    /// Finishes what a crash left between `prepare` and `settle`.
    ///
    /// # Errors
    /// The sink is not there, or the system refused.
    fn recover(&mut self, placing: Vec<Placing>) -> Result<Delivery>;

    /// How this sink looks at envelopes.
    fn examiner(&self) -> Examiner;

    /// Takes an envelope into the group, unseen.
    ///
    /// # Errors
    /// The system refused.
    fn stage(&mut self, deliverable: Deliverable) -> Result<()>;

    /// Files staged and not settled.
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

    /// What the ledger is to keep for the next run: the last [`Placing::mark`] that was given out.
    fn high_water(&self) -> i64;

    /// By what the destination is known again.
    fn mark(&self) -> &str;
}
