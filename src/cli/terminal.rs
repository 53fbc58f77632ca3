//! How airpouch talks: results on stdout, talk on stderr, bars only on a terminal, JSON alone when asked.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use airpouch::error::{Error, Result, Stop};
use airpouch::report::{ExitStatus, Finding, Observer, Weight};
use airpouch::text::{visible, visible_json};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

/// Where words go.
pub struct Talk {
    json: bool,
    terminal: bool,
    colour: bool,
    bar: Mutex<Option<ProgressBar>>,
    /// Warnings about keys and settings, for the JSON document.
    warnings: Mutex<Vec<Value>>,
    /// A result that could not be written, other than to a reader that went away.
    unsaid: Mutex<Option<io::Error>>,
}

impl Talk {
    /// Looks at the terminal once.
    pub fn new(json: bool) -> Self {
        let terminal = io::stderr().is_terminal() && !json;
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        Self {
            json,
            terminal,
            colour: terminal && !plain,
            bar: Mutex::new(None),
            warnings: Mutex::default(),
            unsaid: Mutex::default(),
        }
    }

    /// Whether a person is looking.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// A line of result. A reader that went away is no error.
    pub fn result(&self, line: &str) {
        if !self.json {
            self.print(&visible(line));
        }
    }

    fn print(&self, line: &str) {
        if let Err(e) = writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush())
            && e.kind() != io::ErrorKind::BrokenPipe
        {
            self.unsaid.lock().expect("no thread panics with it").get_or_insert(e);
        }
    }

    /// The exit status, unless the result could not be written: whoever reads it would take a part for the whole.
    pub fn or_unsaid(&self, status: ExitStatus) -> ExitStatus {
        let Some(e) = self.unsaid.lock().expect("no thread panics with it").take() else { return status };
        let what = format!("the result could not be written: {e}");
        self.three_lines(
            "error",
            "31",
            &what,
            Some("standard output"),
            Some("make room there; the work itself is done"),
        );
        if status == ExitStatus::Done { ExitStatus::Failed } else { status }
    }

    /// Something about keys or settings that a person should mend; the run goes on.
    pub fn warn(&self, what: &str, place: &Path, advice: Option<&str>) {
        let place = place.display().to_string();
        if self.json {
            let warning = json!({"what": what, "where": place, "do": advice});
            self.warnings.lock().expect("no thread panics with it").push(warning);
        } else {
            self.three_lines("warning", "33", what, Some(&place), advice);
        }
    }

    fn document(&self, mut document: Value) {
        document["warnings"] = std::mem::take(&mut *self.warnings.lock().expect("no thread panics with it")).into();
        self.print(&visible_json(&document.to_string()));
    }

    /// A line of talk.
    pub fn note(&self, line: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{}", visible(line));
        }
    }

    /// The findings of a run, each in three lines at most.
    pub fn findings(&self, findings: &[Finding]) {
        for finding in findings {
            let (word, colour) = match finding.weight {
                Weight::Note => ("note", "36"),
                Weight::Warning => ("warning", "33"),
                Weight::Incomplete => ("incomplete", "33"),
                Weight::False => ("FALSE", "31"),
            };
            self.three_lines(word, colour, &finding.what, finding.place.as_deref(), finding.advice.as_deref());
        }
    }

    /// What stopped a run.
    pub fn error(&self, error: &Error) {
        self.end();
        if self.json {
            let exit = status_of_error(error).code();
            self.document(json!({"exit": exit, "error": error_json(error)}));
            return;
        }
        self.three_lines("error", "31", &error.what, error.place.as_deref(), error.advice.as_deref());
    }

    /// The end of a run that has a report, whether it was stopped or not: the error, the JSON, the exit status.
    pub fn end_of(&self, verb: &str, status: ExitStatus, report: &impl Serialize, ended: Result<()>) -> ExitStatus {
        self.end();
        let Err(error) = ended else {
            self.json(verb, status, report);
            return status;
        };
        let status = status_of_error(&error);
        if self.json {
            let report = serde_json::to_value(report).unwrap_or_default();
            self.document(json!({"verb": verb, "exit": status.code(), "report": report, "error": error_json(&error)}));
        } else {
            self.error(&error);
        }
        status
    }

    /// The one JSON document of a run: the verb, the exit status, and the report.
    pub fn json(&self, verb: &str, exit: ExitStatus, report: &impl Serialize) {
        if self.json {
            let report = serde_json::to_value(report).unwrap_or_default();
            self.document(json!({"verb": verb, "exit": exit.code(), "report": report}));
        }
    }

    fn three_lines(&self, word: &str, colour: &str, what: &str, place: Option<&str>, advice: Option<&str>) {
        if self.colour && !self.json {
            let _ = writeln!(io::stderr(), "\x1b[{colour}m{word}\x1b[0m: {}", visible(what));
        } else {
            self.note(&format!("{word}: {what}"));
        }
        if let Some(place) = place.filter(|p| !p.is_empty()) {
            self.note(&format!("  at {place}"));
        }
        if let Some(advice) = advice.filter(|a| !a.is_empty()) {
            self.note(&format!("  {advice}"));
        }
    }
}

/// The exit status of a run that was stopped.
pub fn status_of_error(error: &Error) -> ExitStatus {
    match error.stop {
        Stop::Failed => ExitStatus::Failed,
        Stop::Usage => ExitStatus::Usage,
        Stop::Locked => ExitStatus::Locked,
    }
}

fn error_json(error: &Error) -> Value {
    json!({"what": error.what, "where": error.place, "do": error.advice})
}

impl Observer for Talk {
    fn begin(&self, stage: &str, bytes: u64) {
        if !self.terminal {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(
            "{msg:24} {bar:30} {bytes:>10} of {total_bytes}  {binary_bytes_per_sec}, {eta} left",
        ) {
            bar.set_style(style);
        }
        bar.set_message(stage.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.bar.lock().expect("no thread panics with it") = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        if self.terminal
            && let Some(bar) = self.bar.lock().expect("no thread panics with it").as_ref()
        {
            bar.inc(bytes);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.bar.lock().expect("no thread panics with it").take() {
            bar.finish_and_clear();
        }
    }

    fn say(&self, line: &str) {
        self.note(line);
    }
}
