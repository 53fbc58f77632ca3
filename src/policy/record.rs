//! What the record of a run must have, as `[record]` in policy.toml demands it. Names are claims that are written down, not
//! proofs.

use std::path::PathBuf;

use serde::Deserialize;

use super::is_for_a_person;
use crate::code::Code;

/// `[record]`: it demands nothing where it is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordRules {
    /// What must be told.
    pub require: Vec<RecordField>,
    /// Which releases need a second name, or signatures.
    pub second: SecondFor,
    /// The signatures of how many different officers these need; 0: names are enough.
    pub signatures: usize,
    /// The directory with the officers' public keys; none: `officers/` in the site.
    pub officers: Option<PathBuf>,
    /// Whether a list of its objects is kept of each batch that is delivered.
    pub objects: bool,
}

/// What can be told for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordField {
    /// The person who does it.
    Operator,
    /// A person who looks on.
    Witness,
    /// The ticket or order by which it is done.
    Ticket,
    /// Anything else.
    Note,
}

impl RecordField {
    /// The option that tells it.
    pub fn option(self) -> &'static str {
        match self {
            Self::Operator => "--operator NAME",
            Self::Witness => "--witness NAME",
            Self::Ticket => "--ticket TEXT",
            Self::Note => "--note TEXT",
        }
    }
}

/// Which releases need a second name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondFor {
    /// None.
    #[default]
    None,
    /// Those of envelopes that carry commands or internal types, or of which airpouch cannot tell.
    Commands,
    /// All.
    All,
}

impl SecondFor {
    /// Whether the release of an envelope needs a second name that was quarantined under this code, which is the worst one
    /// that it has. Under some nobody can tell what another reader makes of it; and what stops runs was never judged.
    pub fn is_needed_for(self, code: Code) -> bool {
        match self {
            Self::None => false,
            Self::Commands => is_for_a_person(code) || code == Code::StopsRuns,
            Self::All => true,
        }
    }
}

impl RecordRules {
    /// How many officers must sign the release of an envelope that was quarantined under this code.
    pub fn signatures_for(&self, code: Code) -> usize {
        if self.second.is_needed_for(code) { self.signatures } else { 0 }
    }

    /// What is wrong with these rules, in words.
    pub(super) fn fault(&self) -> Option<&'static str> {
        (self.signatures > 0 && self.second == SecondFor::None)
            .then_some("[record]: signatures are for the releases that second names: second = \"commands\" or \"all\"")
    }

    /// What is missing of what must be told, each once; `is_told` says what was.
    pub fn missing(&self, is_told: impl Fn(RecordField) -> bool) -> Vec<RecordField> {
        let mut missing: Vec<_> = self.require.iter().copied().filter(|field| !is_told(*field)).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }
}

/// Whether two names are one: blanks and case do not count.
pub fn is_one_name(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn rules(toml: &str) -> RecordRules {
        Policy::from_toml(toml).unwrap().record
    }

    #[test]
    fn record_that_no_policy_demands_may_be_empty() {
        let rules = rules("max_tlp = \"green\"\n");
        assert_eq!(rules, RecordRules::default());
        assert!(rules.missing(|_| false).is_empty());
        assert!(Code::ALL.iter().all(|code| !rules.second.is_needed_for(*code)));
    }

    #[test]
    fn what_is_missing_is_named_once_and_in_order() {
        let rules = rules("[record]\nrequire = [\"ticket\", \"operator\", \"ticket\", \"witness\"]\n");
        let missing = rules.missing(|field| field == RecordField::Witness);
        assert_eq!(missing, [RecordField::Operator, RecordField::Ticket]);
    }

    #[test]
    fn word_that_is_no_field_of_the_record_is_named_with_its_line() {
        for toml in
            ["[record]\nrequire = [\"operater\"]\n", "[record]\nsecond = \"command\"\n", "[record]\nrequired = []\n"]
        {
            let error = Policy::from_toml(toml).unwrap_err();
            assert!(error.starts_with("line 2: ") && error.contains("expected"), "{error}");
        }
    }

    #[test]
    fn second_name_is_needed_for_commands_and_for_what_nobody_has_judged() {
        let of = |second: SecondFor| Code::ALL.iter().filter(move |code| second.is_needed_for(**code)).count();
        assert_eq!((of(SecondFor::None), of(SecondFor::All)), (0, Code::ALL.len()));
        for code in [Code::Command, Code::InternalType, Code::StopsRuns, Code::TooMany, Code::DuplicateKey] {
            assert!(SecondFor::Commands.is_needed_for(code), "{code}");
        }
        assert!(!SecondFor::Commands.is_needed_for(Code::MessageTooLarge));
        assert_eq!(rules("[record]\nsecond = \"commands\"\n").second, SecondFor::Commands);
    }

    #[test]
    fn names_that_differ_in_case_and_blanks_are_one() {
        assert!(is_one_name(" D.  Officer", "d. officer ") && is_one_name("ÉVA", "éva"));
        assert!(!is_one_name("D. Officer", "E. Officer"));
    }
}
