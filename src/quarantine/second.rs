//! The second name of a release. It is a claim that is written down, and proves nothing.

use crate::error::{Error, Result};
use crate::ledger::importer::AsideRow;
use crate::policy::{SecondFor, is_one_name};

/// Who agrees to a release, and who asks for it.
#[derive(Debug, Clone, Copy)]
pub struct SecondName<'a> {
    /// The second person, as that was told.
    pub given: Option<&'a str>,
    /// The person who does it, as that was told.
    pub operator: Option<&'a str>,
    /// The user of the operating system.
    pub user: &'a str,
    /// Which releases need a second name.
    pub rule: SecondFor,
}

impl SecondName<'_> {
    /// Refuses a second name that is the first one.
    pub(super) fn check(&self) -> Result<()> {
        let Some(second) = self.given else { return Ok(()) };
        let (first, whose) = match self.operator {
            Some(operator) => (operator, "the operator"),
            None => (self.user, "the user of this machine"),
        };
        if is_one_name(first, second) {
            return Err(Error::usage(format!("the second name is that of {whose}; it must be another person's"))
                .advise("--second NAME"));
        }
        Ok(())
    }

    /// Refuses the release of an envelope that needs names which are not given.
    pub(super) fn check_for(&self, row: &AsideRow) -> Result<()> {
        if !self.rule.is_needed_for(row.code) {
            return Ok(());
        }
        let missing: Vec<&str> = [(self.operator, "--operator NAME"), (self.given, "--second NAME")]
            .into_iter()
            .filter_map(|(given, option)| given.is_none().then_some(option))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let what = format!(
            "the policy demands the names of two persons for the release of {} ({}): {} missing",
            row.sha256.short(),
            row.code,
            if missing.len() == 1 { format!("{} is", missing[0]) } else { format!("{} are", missing.join(" and ")) }
        );
        Err(Error::usage(what).advise(format!("give {}; nothing was released", missing.join(" "))))
    }
}
