//! The JSON document of a run.

use serde::Serialize;

/// What a run prints with `--json`: the same keys for all verbs, whatever became of the run.
#[derive(Debug, Serialize)]
pub struct Document<'a, R> {
    /// airpouch's version.
    pub version: &'static str,
    /// The verb, such as `stream accept`.
    pub verb: &'a str,
    /// The directory of the site, for verbs that have one.
    pub site: Option<String>,
    /// When the run began, by the clock of the machine in UTC.
    pub begun: String,
    /// When it ended.
    pub ended: String,
    /// The exit status.
    pub exit: u8,
    /// What it did and found; nothing if it was stopped before that.
    pub report: Option<&'a R>,
    /// What stopped it, if something did.
    pub error: Option<Problem>,
    /// What a person should fix about keys and settings.
    pub warnings: Vec<Problem>,
}

/// What is wrong beside the inputs, in three lines.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// What happened.
    pub what: String,
    /// Where.
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// What to do.
    #[serde(rename = "do")]
    pub advice: Option<String>,
}
