//! What stops a run. (What is wrong with one input is a finding, in [`crate::report`]; a bug panics.)

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::lack::Lack;
use crate::report::{Observer, Signal};
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
    /// What the machine lacks, if it is that.
    pub lack: Option<Lack>,
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
    /// A signal asked for it.
    Signal(Signal),
}

impl Error {
    /// It could not be done.
    pub fn failed(what: impl Into<String>) -> Self {
        Self { stop: Stop::Failed, what: what.into(), place: None, advice: None, lack: None }
    }

    /// It was asked for wrongly.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { stop: Stop::Usage, ..Self::failed(what) }
    }

    /// Another run holds the lock.
    pub fn locked(what: impl Into<String>) -> Self {
        Self { stop: Stop::Locked, ..Self::failed(what) }
    }

    /// A signal asked the run to stop; `at` completes "by SIGTERM …".
    pub fn stopped(signal: Signal, at: &str) -> Self {
        Self { stop: Stop::Signal(signal), ..Self::failed(format!("by {signal} {at}")) }
    }

    /// Whether a signal asked the run to stop.
    pub fn is_stop(&self) -> bool {
        matches!(self.stop, Stop::Signal(_))
    }

    /// The system refused; `doing` completes "cannot …".
    pub fn io(doing: &str, path: &Path, cause: &io::Error) -> Self {
        match Lack::of(cause) {
            Some(lack) => Self::lacking(doing, lack).at(path),
            None => {
                let whose = Some(path).filter(|_| cause.kind() == io::ErrorKind::PermissionDenied);
                let whose = whose.and_then(belongs_to_another).map_or_else(String::new, |words| format!("; {words}"));
                Self::failed(format!("cannot {doing}: {}{whose}", reason(cause))).at(path)
            }
        }
    }

    /// The machine lacks something; `doing` completes "cannot …".
    pub fn lacking(doing: &str, lack: Lack) -> Self {
        Self { lack: Some(lack), ..Self::failed(format!("cannot {doing}: {lack}")) }.advise(lack.advice())
    }

    /// Whether the place where it was to be written takes no more, whatever the reason: some steps go on without it.
    pub fn does_not_fit(&self) -> bool {
        self.lack.is_some_and(Lack::is_of_the_place)
    }

    /// The system refused to read a key, a secret or a setting: another one has to be named, unless the machine itself
    /// lacks something.
    pub fn setting(doing: &str, path: &Path, cause: &io::Error) -> Self {
        let error = Self::io(doing, path, cause);
        let stop = if error.lack.is_some() { Stop::Failed } else { Stop::Usage };
        Self { stop, ..error }
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

/// In words, where a path that this run may not use belongs to another user.
pub fn belongs_to_another(path: &Path) -> Option<String> {
    let me = rustix::process::geteuid();
    let there = path.ancestors().find(|p| p.symlink_metadata().is_ok())?;
    let owner = there.symlink_metadata().ok()?.uid();
    if me.is_root() || owner == me.as_raw() {
        return None;
    }
    let owner = if owner == 0 { "root".to_owned() } else { format!("user {owner}") };
    Some(format!("it belongs to {owner}, and this is a run by user {}", me.as_raw()))
}

/// The system's own words, without the number that Rust adds.
pub fn reason(cause: &io::Error) -> String {
    let text = cause.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// An error if the run was asked to stop; `at` completes "by SIGTERM …": where it stops, and what goes on with the next run.
///
/// # Errors
/// It was asked.
pub fn unless_stopped(observer: &dyn Observer, at: impl FnOnce() -> String) -> Result<()> {
    match observer.asked_to_stop() {
        Some(signal) => Err(Error::stopped(signal, &at())),
        None => Ok(()),
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

impl From<Lack> for Error {
    fn from(lack: Lack) -> Self {
        Self { lack: Some(lack), ..Self::failed(lack.to_string()) }.advise(lack.advice())
    }
}
