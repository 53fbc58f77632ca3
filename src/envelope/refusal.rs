//! Why some bytes are no envelope, for the person who looks for them.

use crate::code::Code;
use crate::json::{JsonError, JsonFault};
use crate::limits;
use crate::text;

/// The bytes are no valid envelope: what is wrong and where. Such a file stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAnEnvelope {
    /// No bytes, or only white space: a writer that died, or a disk that was full.
    #[error("the file is empty")]
    Empty,
    /// Only zero bytes: what a file system may leave of a file after a power cut.
    #[error("the file holds only zero bytes")]
    Zeros,
    /// Larger than [`limits::ENVELOPE_MAX`].
    #[error("too large: {}, where {} fit into one volume", text::size(*size), text::size(limits::ENVELOPE_MAX))]
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// A UTF-8 byte order mark before the JSON (RFC 8259, section 8.1).
    #[error("it begins with a byte order mark (BOM), which is not JSON")]
    ByteOrderMark,
    /// UTF-16, with or without its mark.
    #[error("UTF-16 where UTF-8 belongs")]
    Utf16,
    /// Some byte cannot be UTF-8.
    #[error("not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// The first such byte, from 0.
        offset: usize,
    },
    /// It ends before its JSON does: perhaps it is still being written.
    #[error("the file is cut off at line {line}, column {column}")]
    CutOff {
        /// The last line, from 1.
        line: usize,
        /// The column behind the last character, from 1.
        column: usize,
    },
    /// Not JSON (RFC 8259).
    #[error("not JSON: {what}, at line {line}, column {column}")]
    NotJson {
        /// What is wrong.
        what: &'static str,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// More than [`limits::DEPTH_MAX`] objects and lists inside each other.
    #[error("too deep: more than {} levels, at line {line}, column {column}", limits::DEPTH_MAX)]
    TooDeep {
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// JSON, but its value is no object.
    #[error("{found} where one JSON object belongs")]
    NotAnObject {
        /// What there is.
        found: &'static str,
    },
    /// One of the envelope's own fields appears twice, so that two readers could read different values.
    #[error("duplicate key: {field} appears twice")]
    DuplicateKey {
        /// The field: `applicant_id`, `connector.name`.
        field: String,
    },
    /// A field that must be there is not.
    #[error("the field {field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field holds what it must not.
    #[error("the field {field} is {found}, where {expected} belongs")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it holds.
        found: &'static str,
        /// What it may hold.
        expected: &'static str,
    },
    /// A field's text is longer than [`limits::PARTY_TEXT_MAX`].
    #[error("the field {field} is longer than {}", text::size(limits::PARTY_TEXT_MAX as u64))]
    TooLong {
        /// The field.
        field: &'static str,
    },
    /// `connector.id` has another form than `[A-Za-z0-9_-]{1,128}`: it becomes part of queue and directory names.
    #[error("the field connector.id is \"{}\", where 1 to 128 letters, digits, _ and - belong", text::harmless(id))]
    ConnectorId {
        /// The id.
        id: String,
    },
    /// `bundle_type` is a word that no connector writes.
    #[error("the field bundle_type is \"{}\", where DIRECTORY_BUNDLE or S3_BUNDLE belongs", text::harmless(found))]
    BundleType {
        /// The word.
        found: String,
    },
}

impl NotAnEnvelope {
    /// Its code.
    pub fn code(&self) -> Code {
        match self {
            Self::Empty => Code::Empty,
            Self::Zeros => Code::Zeros,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::ByteOrderMark => Code::ByteOrderMark,
            Self::Utf16 => Code::Utf16,
            Self::NotUtf8 { .. } => Code::NotUtf8,
            Self::CutOff { .. } => Code::CutOff,
            Self::NotJson { .. } => Code::NotJson,
            Self::TooDeep { .. } => Code::TooDeep,
            Self::NotAnObject { .. } => Code::NotAnObject,
            Self::DuplicateKey { .. } => Code::DuplicateKey,
            Self::Missing { .. } => Code::MissingField,
            Self::WrongType { .. } => Code::WrongType,
            Self::TooLong { .. } => Code::TooLong,
            Self::ConnectorId { .. } => Code::ConnectorId,
            Self::BundleType { .. } => Code::BundleType,
        }
    }

    /// The scanner's error as a reason, with line and column.
    pub(super) fn from_json(error: &JsonError, text: &str) -> Self {
        let (line, column) = error.place(text.as_bytes());
        match error.fault {
            JsonFault::CutOff => Self::CutOff { line, column },
            JsonFault::TooDeep => Self::TooDeep { line, column },
            JsonFault::Syntax => Self::NotJson { what: error.what, line, column },
        }
    }
}
