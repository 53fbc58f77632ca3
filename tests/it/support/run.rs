//! What a run printed and how it ended: nothing can be read of it before its exit status was judged.

use std::process::{Command, Output};

use serde_json::Value;

use super::documents::{document, validate};

/// A run that has ended; nothing of it can be read before its exit status was judged.
#[derive(Debug)]
#[must_use = "a run that nobody judges proves nothing: exits(N)"]
pub struct Unjudged(Run);

/// What a run printed and how it ended, as it was expected to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Unjudged {
    Unjudged::of(&command.output().unwrap())
}

impl Unjudged {
    pub fn of(output: &Output) -> Self {
        Self::from_parts(output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    #[track_caller]
    pub fn from_parts(status: Option<i32>, stdout: String, stderr: String) -> Self {
        // Each document that a test brings about, whether it reads it or not.
        if let Some(document) = document(&stdout) {
            validate(&document);
        }
        Self(Run { status, stdout, stderr })
    }

    #[track_caller]
    pub fn exits(self, status: i32) -> Run {
        self.exits_one_of(&[status])
    }

    /// For runs whose end depends on where a fault hit them.
    #[track_caller]
    pub fn exits_one_of(self, statuses: &[i32]) -> Run {
        assert!(
            self.0.status.is_some_and(|s| statuses.contains(&s)),
            "exit status {statuses:?} expected: {:#?}",
            self.0
        );
        assert!(!self.0.stderr.contains("panicked"), "{:#?}", self.0);
        self.0
    }

    /// For runs that have not even what they need to begin with: any end, but without a panic.
    #[track_caller]
    pub fn exits_or_dies(self) -> Run {
        assert!(!self.0.stderr.contains("panicked"), "{:#?}", self.0);
        self.0
    }

    /// Whether a signal ended it. A shell or strace around the program gives that as a status beyond our own.
    pub fn was_killed(&self) -> bool {
        !matches!(self.0.status, Some(0..=5))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Run {
    /// Both streams, one after the other.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// What was asked for, on standard output: results, which a script may read.
    #[track_caller]
    pub fn prints(self, words: &str) -> Self {
        assert!(self.stdout.contains(words), "{words:?} was not printed: {self:#?}");
        self
    }

    /// What a person has to know, on standard error: errors, findings, notes.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "{words:?} was not said: {self:#?}");
        self
    }

    /// On either of them: for loops over runs with `--json` and without.
    #[track_caller]
    pub fn mentions(self, words: &str) -> Self {
        assert!(self.said().contains(words), "{words:?} was not mentioned: {self:#?}");
        self
    }

    #[track_caller]
    pub fn says_nothing_of(self, words: &str) -> Self {
        assert!(!self.said().contains(words), "{words:?} was said: {self:#?}");
        self
    }

    /// The report of a run with `--json`.
    #[track_caller]
    pub fn json(&self) -> Value {
        document(&self.stdout).unwrap_or_else(|| panic!("it is no document: {self:#?}"))
    }
}
