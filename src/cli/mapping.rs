//! Applicants as a person writes them: on the command line, and as lines of airpouch.toml.

use airpouch::applicants::UserId;
use airpouch::error::{Error, Result};
use airpouch::text::{count, harmless, quoted_toml};

/// The id of a user here.
pub fn user(id: &str) -> Result<UserId> {
    UserId::parse(id).map_err(|fault| {
        Error::usage(fault.to_string()).advise("open the user in OpenCTI: its id stands in the page's address")
    })
}

/// `FROM=TO`, or OpenCTI's `FROM:TO,FROM:TO`.
pub fn parse(text: &str) -> Result<Vec<(String, UserId)>> {
    let wrong =
        || Error::usage(format!("invalid mapping {:?}", harmless(text))).advise("write FROM=TO, or FROM:TO,FROM:TO");
    let mut pairs = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (from, to) = part.split_once('=').or_else(|| part.split_once(':')).ok_or_else(wrong)?;
        let (from, to) = (from.trim(), to.trim());
        if from.is_empty() || to.is_empty() {
            return Err(wrong());
        }
        pairs.push((from.to_owned(), user(to)?));
    }
    if pairs.is_empty() { Err(wrong()) } else { Ok(pairs) }
}

/// What stands above the lines to paste where mappings are narrowed.
const FOR_ONE_ALONE: &str =
    "# for all streams; for one alone: below [applicants.\"STREAM\"] or [applicants.\"FINGERPRINT OF THE KEY\"]";

/// The section for airpouch.toml, each line a comment until a person puts an id in. Whoever has narrowed mappings is
/// reminded that this section is for all.
pub fn lines_to_paste(waiting: &[(Option<String>, u64)], narrowed: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if waiting.iter().any(|(id, _)| id.is_some()) {
        lines.push("[applicants]".to_owned());
        if narrowed {
            lines.push(FOR_ONE_ALONE.to_owned());
        }
    }
    for (id, envelopes) in waiting {
        let wait = count(*envelopes, "envelope");
        match id {
            Some(id) => {
                lines.push(format!("# {} = \"ID OF THE USER HERE\"    # {wait}", quoted_toml(id)));
            }
            None => lines.push(format!(
                "# no applicant at all: {wait}; to deliver them: unmapped = \"default=ID\" at the top of the file"
            )),
        }
    }
    lines
}
