//! Applicants as a person writes them on the command line.

use airpouch::applicants::UserId;
use airpouch::error::{Error, Result};
use airpouch::text::harmless;

/// The id of a user here.
pub fn user(id: &str) -> Result<UserId> {
    UserId::parse(id).map_err(|fault| {
        Error::usage(fault.to_string()).advise("open the user in OpenCTI: its id is in the address of that page")
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
