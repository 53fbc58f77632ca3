//! The one byte form of what is signed and listed: compact JSON as serde_json writes it.
//!
//! UTF-8 as it is, the shortest escapes, no white space, keys in the order of the fields. A reader encodes
//! again what it parsed and refuses unless the bytes are equal, so that one meaning has one form only.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::text::harmless;

/// The bytes that stand for this value.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a value of ours is always JSON")
}

/// Reads a value and holds the bytes against its one form.
///
/// # Errors
/// The bytes are no JSON, not of this shape, or not in their one form.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, NotInForm> {
    let value: T = serde_json::from_slice(bytes).map_err(|e| NotInForm::Shape(harmless(&e.to_string())))?;
    if encode(&value) != bytes {
        return Err(NotInForm::Bytes);
    }
    Ok(value)
}

/// Bytes that are not in the one form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotInForm {
    /// No JSON, or keys or types other than the format's.
    #[error("it is not of the shape that the format asks for ({0})")]
    Shape(String),
    /// The same value in other bytes.
    #[error("it is not in the one byte form (white space, order of keys, escapes)")]
    Bytes,
}
