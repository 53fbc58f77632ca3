//! What a connector is known by.

use std::fmt;
use std::ops::Deref;

use crate::limits::CONNECTOR_ID_MAX;

/// A connector's id: `[A-Za-z0-9_-]{1,128}`, so that a directory or a queue can be named after it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectorId(String);

impl ConnectorId {
    /// The id that this text is, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let is_one = (1..=CONNECTOR_ID_MAX).contains(&text.len()) && text.bytes().all(allowed);
        is_one.then(|| Self(text.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for ConnectorId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
