//! Applicants of the other side that are not mapped here.

use serde::Serialize;

use super::{Page, Report};
use crate::text::{count, harmless, quoted_toml};

/// An applicant that is not mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmapped {
    /// Its id on the other side; nothing where envelopes name no applicant.
    pub id: Option<String>,
    /// How many envelopes wait for it.
    pub envelopes: u64,
}

/// What `applicants` lists, or has written.
#[derive(Debug, Default, Serialize)]
pub struct ApplicantsReport {
    /// Those for whom envelopes wait.
    pub unmapped: Vec<Unmapped>,
    /// With `--write`: the lines that were put into airpouch.toml.
    pub written: Option<Vec<String>>,
    /// The site's airpouch.toml, safe to print.
    #[serde(skip)]
    pub settings: String,
    /// Whether applicants are mapped for some streams or keys alone.
    #[serde(skip)]
    pub is_narrowed: bool,
    /// What is mapped for all streams, as the stock connector reads it; empty if nothing is.
    #[serde(skip)]
    pub for_stock_connector: String,
}

impl Report for ApplicantsReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        match self.written.as_deref() {
            None => self.write_list(page),
            Some([]) => page.note("airpouch.toml has all of it already"),
            Some(lines) => {
                lines.iter().for_each(|line| page.result(line));
                page.note(format!("written to {}; then: airpouch import", self.settings));
            }
        }
    }
}

impl ApplicantsReport {
    fn write_list(&self, page: &mut Page<'_>) {
        if self.unmapped.is_empty() {
            page.note("no envelope waits for an applicant");
        }
        for line in lines_to_paste(&self.unmapped, self.is_narrowed) {
            page.result(line);
        }
        if !self.for_stock_connector.is_empty() {
            page.note("the stock diode-import connector maps by itself; give it the same map:");
            page.note(format!("DIODE_IMPORT_APPLICANT_MAPPINGS={}", harmless(&self.for_stock_connector)));
        }
    }
}

/// The line above the lines to paste, where mappings are narrowed.
const FOR_ONE_ALONE: &str =
    "# for all streams; for one alone: below [applicants.\"STREAM\"] or [applicants.\"FINGERPRINT OF THE KEY\"]";

/// The section for airpouch.toml, each line a comment until a person puts an id in. Whoever has narrowed mappings is
/// reminded that this section is for all.
pub fn lines_to_paste(unmapped: &[Unmapped], is_narrowed: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if unmapped.iter().any(|applicant| applicant.id.is_some()) {
        lines.push("[applicants]".to_owned());
        if is_narrowed {
            lines.push(FOR_ONE_ALONE.to_owned());
        }
    }
    lines.extend(unmapped.iter().map(|Unmapped { id, envelopes }| match (id, count(*envelopes, "envelope")) {
        (Some(id), wait) => format!("{} \"ID OF THE USER HERE\"    # {wait}", to_map(id)),
        (None, wait) => {
            format!("# no applicant at all: {wait}; to deliver them: unmapped = \"default=ID\" at the top of the file")
        }
    }));
    lines
}

/// How the line of an applicant begins, for whoever has to know whether it is there.
pub fn to_map(id: &str) -> String {
    format!("# {} =", quoted_toml(id))
}
