//! What stops a run. (What is wrong with one input is a finding, in [`crate::report`]; a bug panics.)

use std::fmt;
use std::io;
use std::path::Path;

use crate::text::{harmless, harmless_bytes};

/// The result of whatever may stop a run.
pub type Result<T> = std::result::Result<T, Error>;

/// What happened, where, and what to do: three lines at most.
#[derive(Debug)]
pub struct Error {
    /// Which exit status it is.
    pub stop: Stop,
    /// What happened.
    pub what: String,
    /// Where.
    pub place: Option<String>,
    /// What to do.
    pub advice: Option<String>,
    /// Whether the disk had no more room: some steps go on without what did not fit.
    pub no_room: bool,
}

/// Why a run stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It could not be done.
    Failed,
    /// It was asked for wrongly.
    Usage,
    /// Another run holds the lock.
    Locked,
}

impl Error {
    /// It could not be done.
    pub fn failed(what: impl Into<String>) -> Self {
        Self { stop: Stop::Failed, what: what.into(), place: None, advice: None, no_room: false }
    }

    /// It was asked for wrongly.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { stop: Stop::Usage, ..Self::failed(what) }
    }

    /// Another run holds the lock.
    pub fn locked(what: impl Into<String>) -> Self {
        Self { stop: Stop::Locked, ..Self::failed(what) }
    }

    /// The system refused; `doing` completes "cannot …".
    pub fn io(doing: &str, path: &Path, cause: &io::Error) -> Self {
        let no_room = matches!(
            cause.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        let why = if no_room { "no room is left".to_owned() } else { reason(cause) };
        Self { no_room, ..Self::failed(format!("cannot {doing}: {why}")).at(path) }
    }

    /// Says where.
    pub fn at(mut self, path: &Path) -> Self {
        self.place = Some(harmless_bytes(path.as_os_str().as_encoded_bytes()));
        self
    }

    /// Says where, in words of ours.
    pub fn at_place(mut self, place: &str) -> Self {
        self.place = Some(harmless(place));
        self
    }

    /// Says what to do.
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// The system's own words, without the number that Rust adds.
pub fn reason(cause: &io::Error) -> String {
    let text = cause.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(place) = &self.place {
            write!(f, "\n  at {place}")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "\n  {advice}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
