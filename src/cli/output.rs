//! What airpouch prints: results on stdout, remarks on stderr, bars only on a terminal, JSON alone when asked.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use airpouch::clock;
use airpouch::code::Severity;
use airpouch::error::{Error, Result, Stop};
use airpouch::lack;
use airpouch::lock::lock;
use airpouch::report::call::Call;
use airpouch::report::{
    Document, Event, ExitStatus, Finding, Line, News, Observer, Page, Problem, Report, Signal, each, summaries,
};
use airpouch::site::{Role, Site};
use airpouch::text::{duration, visible, visible_json};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use super::called::is_of_side;
use super::stop::Stopping;

/// Columns from which on a whole bar is shown: all that is beside it, and some room for itself.
const WIDE: u16 = 78;

/// How long it will take, as far as that is known: what is not moved but synced cannot be foreseen.
fn left(state: &ProgressState, out: &mut dyn fmt::Write) {
    let words = match state.len() {
        Some(len) if state.pos() >= len => "finishing".to_owned(),
        _ if state.pos() == 0 => "beginning".to_owned(),
        _ => format!("{} left", duration(state.eta().as_secs().max(1))),
    };
    let _ = write!(out, "{words}");
}

/// A bar, and the thread that draws it anew while nothing else happens.
struct Bar {
    bar: ProgressBar,
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Bar {
    /// How often the bar is drawn while nothing else happens.
    const TICK: Duration = Duration::from_millis(200);

    /// Draws a bar. Where no thread is to be had it is drawn only when something happens: indicatif's own thread would
    /// panic.
    fn shown(bar: ProgressBar) -> Self {
        bar.tick();
        let (sender, ended) = channel();
        let ticking = bar.clone();
        let tick = move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Self::TICK) {
                ticking.tick();
            }
        };
        let ticker = lack::spawn("bar", tick).ok().map(|thread| (sender, thread));
        Self { bar, ticker }
    }

    fn end(self) {
        if let Some((sender, thread)) = self.ticker {
            drop(sender);
            // It draws nothing once this line is taken away.
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

/// How a run is to print.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags {
    /// One JSON document, and nothing else.
    pub json: bool,
    /// Only what a person has to look at.
    pub quiet: bool,
    /// Findings of one kind one by one.
    pub all: bool,
}

/// Where lines go.
pub struct Output {
    /// The verb of this run.
    verb: String,
    json: bool,
    /// Only what a person has to look at is said.
    quiet: bool,
    /// Findings of one kind are printed one by one.
    all: bool,
    terminal: bool,
    colour: bool,
    bar: Mutex<Option<Bar>>,
    /// How this run was called, for the commands in advice.
    call: Mutex<Call>,
    begun: i64,
    /// Batches that are done and not printed yet.
    news: Mutex<News>,
    /// The site in which this run works.
    site: Mutex<Option<String>>,
    /// Warnings about keys and settings, for the JSON document.
    warnings: Mutex<Vec<Problem>>,
    /// From when a signal only asks the run to stop.
    stopping: OnceLock<Stopping>,
    /// A result that could not be written, other than to a reader that went away.
    unsaid: Mutex<Option<io::Error>>,
}

impl Output {
    /// Looks at the terminal once.
    pub fn new(verb: String, flags: Flags, call: Call) -> Self {
        let Flags { json, quiet, all } = flags;
        let terminal = io::stderr().is_terminal() && !json && !quiet;
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        Self {
            verb,
            json,
            quiet,
            all,
            terminal,
            colour: terminal && !plain,
            bar: Mutex::new(None),
            call: Mutex::new(call),
            begun: clock::now().0,
            news: Mutex::default(),
            site: Mutex::default(),
            warnings: Mutex::default(),
            stopping: OnceLock::new(),
            unsaid: Mutex::default(),
        }
    }

    /// From here on the run works in this site.
    pub fn is_in(&self, site: &Site) {
        *lock(&self.site) = Some(site.root().display().to_string());
    }

    /// From here on SIGINT and SIGTERM ask the run to stop where everything that is done is recorded; before that, and where
    /// they cannot be watched, they end it at once, which loses nothing either.
    pub fn stops_when_asked(&self) {
        if let Ok(stopping) = Stopping::watch() {
            let _ = self.stopping.set(stopping);
        }
    }

    /// The verb of this run.
    pub fn verb(&self) -> &str {
        &self.verb
    }

    /// A text of ours for another program, as it is.
    pub fn raw(&self, text: &str) {
        self.print(text);
    }

    /// How this run was called.
    pub fn call(&self) -> Call {
        lock(&self.call).clone()
    }

    /// From here on commands of the other side's site are named without the options of this one.
    pub fn is_at(&self, side: Role) {
        let mut call = lock(&self.call);
        *call = call.only(|command| is_of_side(command, side));
    }

    /// Advice as it can be pasted: with the options of this run in the commands that it names.
    pub fn complete(&self, advice: &str) -> String {
        lock(&self.call).complete(advice)
    }

    /// A line of result. A reader that went away is no error.
    pub fn result(&self, line: &str) {
        if !self.json && !self.quiet {
            self.print(&visible(line));
        }
    }

    fn print(&self, line: &str) {
        if let Err(e) = writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush())
            && e.kind() != io::ErrorKind::BrokenPipe
        {
            lock(&self.unsaid).get_or_insert(e);
        }
    }

    /// The exit status, unless the result could not be written: whoever reads it would take a part for the whole.
    pub fn or_unsaid(&self, status: ExitStatus) -> ExitStatus {
        let Some(e) = lock(&self.unsaid).take() else { return status };
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

    /// Something about keys or settings that a person should fix; the run goes on.
    pub fn warn(&self, what: &str, place: &Path, advice: Option<&str>) {
        let place = place.display().to_string();
        if self.json {
            let advice = advice.map(str::to_owned);
            let warning = Problem { what: what.to_owned(), place: Some(place), advice };
            lock(&self.warnings).push(warning);
        } else {
            self.three_lines("warning", "33", what, Some(&place), advice);
        }
    }

    /// Prints the one JSON document of a run.
    fn document<R: Serialize>(&self, exit: ExitStatus, report: Option<&R>, error: Option<&Error>) {
        let document = Document {
            version: env!("CARGO_PKG_VERSION"),
            verb: &self.verb,
            site: lock(&self.site).clone(),
            begun: clock::utc(self.begun),
            ended: clock::utc_now(),
            exit: exit.code(),
            report,
            error: error.map(problem),
            warnings: std::mem::take(&mut *lock(&self.warnings)),
        };
        let mut document = serde_json::to_value(document).expect("its keys are texts");
        self.complete_all(&mut document);
        self.print(&visible_json(&document.to_string()));
    }

    /// Completes the advice under each `do`, at any depth.
    fn complete_all(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value {
                        Value::String(advice) if key == "do" => *advice = self.complete(advice),
                        other => self.complete_all(other),
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| self.complete_all(value)),
            _ => {}
        }
    }

    /// A line of output.
    pub fn note(&self, line: &str) {
        if !self.quiet {
            self.line(line);
        }
    }

    fn line(&self, line: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{}", visible(line));
        }
    }

    /// What stopped a run that has no report.
    pub fn error(&self, error: &Error) -> ExitStatus {
        self.end();
        self.print_news();
        let exit = status_of_error(error);
        match self.json {
            true => self.document::<()>(exit, None, Some(error)),
            false => self.print_error(error),
        }
        exit
    }

    fn print_error(&self, error: &Error) {
        let (label, colour) = if error.is_stop() { ("stopped", "33") } else { ("error", "31") };
        self.three_lines(label, colour, &error.what, error.place.as_deref(), error.advice.as_deref());
    }

    /// Shows the report of a run that was not stopped, and says how the run ends.
    pub fn show(&self, report: &impl Report) -> ExitStatus {
        self.show_ended(report, Ok(()))
    }

    /// Shows the report of a run, stopped or not, and says how the run ends.
    pub fn show_ended(&self, report: &impl Report, ended: Result<()>) -> ExitStatus {
        self.print_report(report, ended.is_ok());
        self.close(report, ended)
    }

    /// Prints what is left of the news of this run.
    fn print_news(&self) {
        if let Some(line) = lock(&self.news).rest() {
            self.result(&line);
        }
    }

    /// Prints what a person reads of a report; `ended` unless the run was stopped.
    pub fn print_report(&self, report: &impl Report, ended: bool) {
        self.end();
        self.print_news();
        if self.json {
            return;
        }
        let mut page = Page::default();
        report.write(&mut page);
        for line in page.lines() {
            match line {
                Line::Result(line) => self.result(&self.complete(&line)),
                Line::Note(line) => self.note(&self.complete(&line)),
                Line::Idle(line) if ended && self.terminal => self.note(&line),
                Line::Idle(_) => {}
                Line::Findings(findings) => self.findings(findings),
            }
        }
    }

    /// The end of a run whose report is printed: the error that stopped it, or the JSON document; and how the run ends.
    pub fn close(&self, report: &impl Report, ended: Result<()>) -> ExitStatus {
        let exit = ended.as_ref().map_or_else(status_of_error, |()| report.exit());
        match (&ended, self.json) {
            (ended, true) => self.document(exit, Some(report), ended.as_ref().err()),
            (Err(error), false) => self.print_error(error),
            (Ok(()), false) => {}
        }
        exit
    }

    /// The findings of a run, in three lines at most for each kind; with --all each finding.
    fn findings(&self, findings: &[Finding]) {
        let summaries = if self.all { each(findings) } else { summaries(findings) };
        for summary in summaries.iter().filter(|s| !self.quiet || s.severity > Severity::Note) {
            let colour = match summary.severity {
                Severity::Note => "36",
                Severity::Warning | Severity::Incomplete => "33",
                Severity::Invalid => "31",
            };
            let (place, advice) = (summary.place.as_deref(), summary.advice.as_deref());
            self.three_lines(summary.label, colour, &summary.what, place, advice);
        }
    }

    /// A bar of one line, however narrow the terminal is; without a number of steps, only that it goes on.
    fn show_bar(&self, stage: &str, steps: u64, all: &str) {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
        let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(80, |size| size.ws_col);
        let template = match (steps, columns) {
            (0, _) => "{spinner} {msg}".to_owned(),
            (_, ..WIDE) => "{msg} {percent}%".to_owned(),
            _ => format!("{{msg:24!}} {{wide_bar}} {{percent:>3}}% of {all}, {{left}}"),
        };
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.with_key("left", left));
        }
        bar.set_message(stage.to_owned());
        self.end();
        *lock(&self.bar) = Some(Bar::shown(bar));
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of three lines")]
    fn three_lines(&self, word: &str, colour: &str, what: &str, place: Option<&str>, advice: Option<&str>) {
        if self.colour && !self.json {
            let _ = writeln!(io::stderr(), "\x1b[{colour}m{word}\x1b[0m: {}", visible(what));
        } else {
            self.line(&format!("{word}: {what}"));
        }
        if let Some(place) = place.filter(|p| !p.is_empty()) {
            self.line(&format!("  at {place}"));
        }
        if let Some(advice) = advice.filter(|a| !a.is_empty()) {
            self.line(&format!("  {}", self.complete(advice)));
        }
    }
}

/// The exit status of a run that was stopped.
pub fn status_of_error(error: &Error) -> ExitStatus {
    match error.stop {
        Stop::Failed => ExitStatus::Failed,
        Stop::Usage => ExitStatus::Usage,
        Stop::Locked => ExitStatus::Locked,
        Stop::Signal(signal) => ExitStatus::Stopped(signal),
    }
}

fn problem(error: &Error) -> Problem {
    Problem { what: error.what.clone(), place: error.place.clone(), advice: error.advice.clone() }
}

impl Observer for Output {
    fn begin(&self, stage: &str, bytes: u64) {
        if !self.terminal {
            return;
        }
        self.show_bar(stage, bytes, "{total_bytes}");
    }

    fn begin_counted(&self, stage: &str, number: u64, things: &str) {
        if self.terminal {
            self.show_bar(stage, number, &format!("{{human_len}} {things}"));
        }
    }

    fn advance(&self, bytes: u64) {
        if self.terminal
            && let Some(shown) = lock(&self.bar).as_ref()
        {
            shown.bar.inc(bytes);
        }
    }

    fn end(&self) {
        if let Some(bar) = lock(&self.bar).take() {
            bar.end();
        }
    }

    fn say(&self, line: &str) {
        self.print_news();
        self.note(line);
    }

    fn asked_to_stop(&self) -> Option<Signal> {
        self.stopping.get().and_then(Stopping::asked)
    }

    fn stop_alarm(&self) -> Option<BorrowedFd<'_>> {
        self.stopping.get().map(Stopping::alarm)
    }

    fn event(&self, event: &Event<'_>) {
        let lines = lock(&self.news).event(event);
        lines.iter().for_each(|line| self.result(line));
    }
}
