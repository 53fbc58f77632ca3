//! What a destination can take, whatever the policy says: found out by looking at the envelope alone.

use std::fmt;
use std::str::FromStr;

use crate::code::Code;
use crate::envelope::{Connector, Envelope};
use crate::opencti::message::{Addressee, Messages};
use crate::opencti::registration::{CONNECTOR_TYPES, NAME_MIN};
use crate::text::{harmless, size};

/// Why a destination cannot take an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// There is nothing in it to deliver; that is recorded as delivered.
    Empty,
    /// Not as things stand.
    Hold {
        /// One word for programs.
        code: Code,
        /// What is the matter.
        what: String,
        /// Where, as a JSON pointer.
        place: String,
    },
    /// It would break what reads this destination.
    Quarantine {
        /// One word for programs.
        code: Code,
        /// What is the matter.
        what: String,
        /// Where, as a JSON pointer.
        place: String,
    },
}

/// What an examiner has made of an envelope that the destination can take.
#[derive(Debug)]
pub enum Examined {
    /// It goes as it is.
    Whole,
    /// It goes in parts.
    Messages(Box<Messages>),
}

/// How envelopes are looked at for a destination before anything is decided. Any number of threads may, beside the one that delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examiner {
    /// For the stock diode-import connector, which takes envelopes whole.
    Whole,
    /// For queues, into which the parts of a bundle go.
    Splitting {
        /// Whether what wants validation can go into a draft.
        drafts: bool,
        /// The largest message in bytes, where that is known.
        max_message: Option<u64>,
    },
}

impl Examiner {
    /// Looks at an envelope; `bytes` are the ones of which it was read.
    ///
    /// # Errors
    /// The destination cannot take it.
    pub fn examine(self, bytes: &[u8], envelope: &Envelope) -> Result<Examined, Unfit> {
        match self {
            Self::Whole => whole(envelope).map(|()| Examined::Whole),
            Self::Splitting { drafts, max_message } => {
                split(bytes, envelope, drafts, max_message).map(|messages| Examined::Messages(Box::new(messages)))
            }
        }
    }

    /// Whether applicants are mapped here, and not by whoever reads the destination.
    pub fn maps_applicants(self) -> bool {
        self != Self::Whole
    }
}

/// One word, for an examination in a process of its own.
impl fmt::Display for Examiner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Splitting { drafts, max_message } => {
                write!(f, "splitting:{drafts}:{}", max_message.map_or_else(String::new, |max| max.to_string()))
            }
        }
    }
}

impl FromStr for Examiner {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        if word == "whole" {
            return Ok(Self::Whole);
        }
        let (drafts, max) = word.strip_prefix("splitting:").and_then(|rest| rest.split_once(':')).ok_or(())?;
        let max_message = if max.is_empty() { None } else { Some(max.parse().map_err(drop)?) };
        Ok(Self::Splitting { drafts: drafts.parse().map_err(drop)?, max_message })
    }
}

/// What the stock connector would delete, or die on, as far as that can be seen without splitting.
fn whole(envelope: &Envelope) -> Result<(), Unfit> {
    let contents = &envelope.contents;
    if contents.objects == 0 {
        return Err(Unfit::Empty);
    }
    if let Some(found) = contents.findings.iter().find(|f| f.code == Code::Unsplittable) {
        return Err(Unfit::Quarantine { code: found.code, what: found.what.clone(), place: found.place.clone() });
    }
    known_to_pycti(&envelope.connector)?;
    long_enough(&envelope.connector)?;
    if contents.compatible == 0 {
        // The connector raises «Nothing to import» on it, and takes nothing that comes after.
        return Err(Unfit::Empty);
    }
    Ok(())
}

fn split(bytes: &[u8], envelope: &Envelope, drafts: bool, max_message: Option<u64>) -> Result<Messages, Unfit> {
    // Which types there are the platform says when it is asked: newer ones know more.
    long_enough(&envelope.connector)?;
    if envelope.connector.validate_before_import == Some(true) && !drafts {
        let what = "its connector wants each import validated by a person, which takes a draft on the platform";
        return Err(Unfit::Hold {
            code: Code::ValidateBeforeImport,
            what: what.to_owned(),
            place: "/connector/validate_before_import".into(),
        });
    }
    // It was read as an envelope, so it is text.
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let messages = Messages::of(text).map_err(|fault| Unfit::Quarantine {
        code: Code::Unsplittable,
        what: fault.what,
        place: fault.place,
    })?;
    match max_message {
        Some(max) => small_enough(text, &messages, max).map(|()| messages),
        None => Ok(messages),
    }
}

/// What applicant, work and draft take in a message.
const ADDRESS_BYTES: u64 = 256;

/// Whether each message of an envelope is one that the broker takes. Only of large ones they are made to be measured:
/// base64, Python's escapes and its way with numbers make eight bytes of one at most.
fn small_enough(text: &str, messages: &Messages, max: u64) -> Result<(), Unfit> {
    if text.len() as u64 * 8 + 4_096 < max {
        return Ok(());
    }
    let mut message = String::new();
    for at in 0..messages.count() {
        message.clear();
        messages.write(&mut message, text, at, &Addressee::default(), "bundle--00000000-0000-4000-8000-000000000000");
        let bytes = message.len() as u64 + ADDRESS_BYTES;
        if bytes > max {
            let (object, id) = messages.object(text, at);
            let what =
                format!("the message for {id} would have {}; the broker takes {} at most", size(bytes), size(max));
            let place = format!("/bundle/objects/{object}");
            return Err(Unfit::Quarantine { code: Code::MessageTooLarge, what, place });
        }
    }
    Ok(())
}

/// A type that pycti does not know stops the stock connector.
fn known_to_pycti(connector: &Connector) -> Result<(), Unfit> {
    let kind = connector.kind.as_str();
    if CONNECTOR_TYPES.contains(&kind) {
        return Ok(());
    }
    let what = format!("the stock connector knows no connector of type {}, and would stop at it", harmless(kind));
    Err(Unfit::Hold { code: Code::UnknownConnectorType, what, place: "/connector/type".into() })
}

/// A name that any platform registers.
fn long_enough(connector: &Connector) -> Result<(), Unfit> {
    if connector.name.trim().chars().count() < NAME_MIN {
        let what = "the platform registers no connector whose name is shorter than two characters".to_owned();
        return Err(Unfit::Hold { code: Code::ConnectorName, what, place: "/connector/name".into() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examiner_written_as_a_word_is_read_back() {
        for examiner in [
            Examiner::Whole,
            Examiner::Splitting { drafts: true, max_message: None },
            Examiner::Splitting { drafts: false, max_message: Some(16 << 20) },
        ] {
            assert_eq!(examiner.to_string().parse(), Ok(examiner));
        }
        assert!("splitting:perhaps:".parse::<Examiner>().is_err() && "".parse::<Examiner>().is_err());
    }
}
