//! What a run printed and how it ended: nothing can be read of it before its exit status was judged.

use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
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

/// How long a run may take before it counts as one that hangs, of which whoever waits for it would learn nothing.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Unjudged {
    Unjudged::of(&output(command))
}

/// The same, for runs that are no run of airpouch alone.
pub fn output(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    ended(child)
}

/// What a run said until its end, of one that was started before.
pub fn ended(child: Child) -> Output {
    ended_within(LIMIT, child)
}

/// Waits for a run. At its limit it is killed with all that it has started, and what it had said is shown.
fn ended_within(limit: Duration, child: Child) -> Output {
    let (done, is_done) = channel::<()>();
    let pid = child.id();
    let watchdog = thread::spawn(move || {
        let is_late = is_done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if is_late {
            kill_with_all_below(pid);
        }
        is_late
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    let was_late = watchdog.join().unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(!was_late, "a run was killed that did not end within {limit:?}; it had said: {stdout}{stderr}");
    output
}

/// Stopped first, so that it starts no others meanwhile.
fn kill_with_all_below(pid: u32) {
    let Some(process) = Pid::from_raw(pid as i32) else { return };
    let _ = kill_process(process, Signal::STOP);
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let below = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        below.split_whitespace().filter_map(|pid| pid.parse().ok()).for_each(kill_with_all_below);
    }
    let _ = kill_process(process, Signal::KILL);
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

#[test]
fn run_that_hangs_is_killed_with_what_it_started() {
    use std::io::Read;
    let mut command = Command::new("sh");
    command.args(["-c", "tail -f /dev/null & echo begun; wait"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What it started holds its output open: no end is seen before that is gone too.
    child.stdout.as_mut().unwrap().read_exact(&mut [0; "begun\n".len()]).unwrap();
    let panic = thread::spawn(|| ended_within(Duration::ZERO, child)).join().unwrap_err();
    let said = panic.downcast_ref::<String>().unwrap();
    assert!(said.contains("was killed that did not end within"), "{said}");
}
