//! Applicants of the other side: who came, and who that is here.

use serde::Serialize;

use super::{ExitStatus, Page, Report};
use crate::stream::StreamId;
use crate::text::{count, harmless, quoted_toml};

/// An applicant that is not mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmapped {
    /// Its id on the other side; nothing where envelopes name no applicant.
    pub id: Option<String>,
    /// How many envelopes wait for it.
    pub envelopes: u64,
}

/// An applicant that came, or that is mapped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CameApplicant {
    /// Its id on the other side; nothing where envelopes name no applicant.
    pub id: Option<String>,
    /// What it is called here.
    pub name: Option<String>,
    /// The envelopes in its name, of all batches that came.
    pub envelopes: u64,
    /// Those of them that wait because it is not mapped.
    pub waiting: u64,
    /// The connectors that wrote them, as far as that was counted.
    pub connectors: Vec<WroteFor>,
    /// The envelopes of which it was not counted.
    pub unknown: u64,
    /// The users in whose name they are delivered.
    pub users: Vec<MappedUser>,
}

/// A connector that wrote in the name of an applicant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WroteFor {
    /// The stream by which it came.
    pub stream: StreamId,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The envelopes that it wrote in that name.
    pub envelopes: u64,
}

/// A user to whom an applicant is mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappedUser {
    /// Which envelopes.
    pub by: MappedTo,
    /// The stream, or the fingerprint of the key.
    pub of: Option<String>,
    /// The user's id.
    pub id: String,
    /// With `--check`: what the platform says of it.
    pub there: Option<UserThere>,
}

/// The envelopes to which a mapping applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MappedTo {
    /// All.
    All,
    /// Those of one stream.
    Stream,
    /// Those of batches that one key signed.
    Key,
    /// Those to which no mapping applies: by `unmapped`.
    Default,
}

/// What the platform says of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserThere {
    /// Whether it exists; nothing where that is not known.
    pub exists: Option<bool>,
    /// Its name there.
    pub name: Option<String>,
    /// Why it is not known.
    pub why: Option<String>,
}

/// What `applicants` lists, or has written.
#[derive(Debug, Default, Serialize)]
pub struct ApplicantsReport {
    /// All that came or are mapped.
    pub applicants: Vec<CameApplicant>,
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
    fn exit(&self) -> ExitStatus {
        let users = || self.applicants.iter().flat_map(|applicant| &applicant.users);
        match users().any(MappedUser::is_missing) {
            true => ExitStatus::Incomplete,
            false => ExitStatus::Done,
        }
    }

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

impl MappedUser {
    fn is_missing(&self) -> bool {
        self.there.as_ref().is_some_and(|there| there.exists == Some(false))
    }

    /// In whose name which envelopes are delivered, and what the platform says of that user.
    fn line(&self) -> String {
        let of = self.of.as_deref().unwrap_or_default();
        let which = match self.by {
            MappedTo::All => String::new(),
            MappedTo::Stream => format!(" by stream {of}"),
            MappedTo::Key => format!(" signed by {of}"),
            MappedTo::Default => " by default".to_owned(),
        };
        let there = match &self.there {
            None => String::new(),
            Some(UserThere { exists: Some(true), name, .. }) => {
                format!(": {}", harmless(name.as_deref().unwrap_or_default()))
            }
            Some(UserThere { exists: Some(false), .. }) => {
                ": NO SUCH USER there; all that is delivered in that name is lost".to_owned()
            }
            Some(UserThere { exists: None, why, .. }) => {
                format!(": not checked: {}", harmless(why.as_deref().unwrap_or_default()))
            }
        };
        format!("##   delivered{which} as {}{there}", self.id)
    }
}

/// Connectors of an applicant that are named in its line; JSON has all.
const NAMED_CONNECTORS: usize = 5;

impl CameApplicant {
    /// All that is known of it, as comments: whoever pastes the lines below pastes these too. They stay comments where each
    /// line loses one `#`.
    fn lines(&self) -> Vec<String> {
        let id = self.id.as_deref().map_or_else(|| "no applicant".to_owned(), harmless);
        let name = self.name.as_deref().map_or_else(String::new, |name| format!(" ({})", harmless(name)));
        let came = match self.envelopes {
            0 => "nothing came yet".to_owned(),
            envelopes => count(envelopes, "envelope"),
        };
        let mut lines = vec![format!("## {id}{name}: {came}")];
        let (named, others) = self.connectors.split_at(self.connectors.len().min(NAMED_CONNECTORS));
        let mut parts: Vec<String> =
            named.iter().map(|wrote| format!("{} of {}", wrote.envelopes, harmless(&wrote.name))).collect();
        if !others.is_empty() {
            let (number, envelopes) = (others.len() as u64, others.iter().map(|wrote| wrote.envelopes).sum::<u64>());
            parts.push(format!("{envelopes} of {}", count(number, "more connector")));
        }
        if self.unknown > 0 {
            parts.push(format!("{} of connectors that were not counted", self.unknown));
        }
        if !parts.is_empty() {
            lines.push(format!("##   {}", parts.join(", ")));
        }
        if self.users.is_empty() {
            lines.push("##   not mapped".to_owned());
        }
        lines.extend(self.users.iter().map(MappedUser::line));
        lines
    }
}

impl ApplicantsReport {
    fn write_list(&self, page: &mut Page<'_>) {
        self.applicants.iter().flat_map(CameApplicant::lines).for_each(|line| page.result(line));
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
