//! What a bundle would do to the platform: each operation and each internal type once, with how often it is there and
//! where first. A person decides on this list, so the envelope must not choose what is on it: the worst comes first,
//! and nothing that is known can be pushed off it.

use crate::code::Code;

/// Operations that pycti does not know, kept by name. Its worker refuses them; a newer one may not.
const UNKNOWN_MAX: usize = 32;

/// Characters of an operation's name that are kept: the known ones are shorter.
const NAME_MAX: usize = 64;

/// The operations of pycti 7.261026.0 (`apply_opencti_operation`), and what the platform does by itself while it takes an
/// object; the worst first: what destroys knowledge, what gives rights, what changes who sees it, what changes it.
const OPERATIONS: &[&str] = &[
    "delete_force",
    "delete",
    "merge",
    "add_groups",
    "remove_groups",
    "add_organizations",
    "remove_organizations",
    "clear_access_restriction",
    "share",
    "unshare",
    UPSERT,
    "patch",
    "restore",
    "revert_draft",
    "rule_clear",
    "rule_apply",
    "rules_rescan",
    "enroll_playbook",
    "send_email",
    UNKNOWN,
    "pir_flag_element",
    "pir_unflag_element",
    "add_related_covered_entities",
    "enrichment",
];

/// The name of what the platform executes while it takes an object.
pub(super) const UPSERT: &str = "opencti_upsert_operations";

/// Where an operation ranks that is none of these.
const UNKNOWN: &str = "";

/// Internal types, those first that give rights.
const INTERNAL: &[&str] = &["user", "group", "role", "capability", "settings"];

/// One sort of act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// [`Code::Command`] or [`Code::InternalType`].
    pub code: Code,
    /// The operation, or the internal type; safe to print. `*` for all unknown operations that are not kept by name.
    pub name: String,
    /// How often it is there.
    pub count: u64,
    /// The first of them in words, with the object's place and id; safe to print.
    pub what: String,
    /// A JSON pointer to the first, as in [`super::Remark::place`].
    pub place: String,
}

impl Act {
    /// Its rank among all acts: the lowest is the worst.
    fn order(&self) -> (Code, usize) {
        let at = |list: &[&str], name: &str| list.iter().position(|known| *known == name);
        let rank = match self.code {
            Code::Command => at(OPERATIONS, &self.name).or_else(|| at(OPERATIONS, UNKNOWN)),
            _ => at(INTERNAL, &self.name),
        };
        (self.code, rank.unwrap_or(usize::MAX))
    }

    /// How bad it is among acts of its code: the highest is the worst.
    pub fn rank(&self) -> u32 {
        u32::try_from(OPERATIONS.len() - self.order().1.min(OPERATIONS.len())).unwrap_or(0)
    }

    /// The first in words, and how many more there are.
    pub fn in_words(&self) -> String {
        match self.count {
            1 => self.what.clone(),
            count => format!("{} ({} times)", self.what, crate::text::grouped(count)),
        }
    }
}

/// All sorts of acts of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acts {
    sorts: Vec<Act>,
    unknown: usize,
    /// Those from here on belong to the object that is being read, and wait for its name.
    unnamed: usize,
}

impl Acts {
    /// The acts, the worst sort first.
    pub fn worst_first(&self) -> Vec<&Act> {
        let mut sorts: Vec<&Act> = self.sorts.iter().collect();
        sorts.sort_by_key(|act| act.order());
        sorts
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorts.is_empty()
    }

    /// Counts an act. Its words and its place are only asked for the first of a sort.
    pub(super) fn count(&mut self, code: Code, name: &str, describe: impl FnOnce() -> (String, String)) {
        let mut name: String = name.chars().take(NAME_MAX).collect();
        let is_unknown = code == Code::Command && !OPERATIONS.contains(&name.as_str());
        let mut found = self.find(code, &name);
        if found.is_none() && is_unknown && self.unknown == UNKNOWN_MAX {
            name = "*".to_owned();
            found = self.find(code, &name);
        } else if found.is_none() {
            self.unknown += usize::from(is_unknown);
        }
        match found {
            Some(at) => self.sorts[at].count += 1,
            None => {
                let (what, place) = describe();
                self.sorts.push(Act { code, name, count: 1, what, place });
            }
        }
    }

    fn find(&self, code: Code, name: &str) -> Option<usize> {
        self.sorts.iter().position(|act| act.code == code && act.name == name)
    }

    /// Puts the object's name before what was new in it.
    pub(super) fn name_object(&mut self, name: impl FnOnce() -> String) {
        if self.unnamed < self.sorts.len() {
            let name = name();
            self.sorts[self.unnamed..].iter_mut().for_each(|act| act.what = format!("{name} {}", act.what));
            self.unnamed = self.sorts.len();
        }
    }

    /// What was counted so far belongs to no object.
    pub(super) fn begin_object(&mut self) {
        self.unnamed = self.sorts.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(names: &[&str]) -> Acts {
        let mut acts = Acts::default();
        for name in names {
            acts.count(Code::Command, name, || (format!("does {name}"), String::new()));
        }
        acts
    }

    fn listed(acts: &Acts) -> Vec<(&str, u64)> {
        acts.worst_first().into_iter().map(|act| (act.name.as_str(), act.count)).collect()
    }

    #[test]
    fn acts_are_listed_worst_first_whatever_their_order() {
        let found = acts(&["enrichment", "add_groups", "something_new", "enrichment", "delete_force"]);
        assert_eq!(listed(&found), [("delete_force", 1), ("add_groups", 1), ("something_new", 1), ("enrichment", 2)]);
    }

    #[test]
    fn known_operation_behind_thousands_of_unknown_ones_is_listed() {
        let many: Vec<String> = (0..5_000).map(|n| format!("made_up_{n}")).collect();
        let mut names: Vec<&str> = many.iter().map(String::as_str).collect();
        names.push("delete");
        let found = acts(&names);
        assert_eq!(listed(&found)[0], ("delete", 1));
        assert_eq!(listed(&found).len(), UNKNOWN_MAX + 2);
        assert!(listed(&found).contains(&("*", 5_000 - UNKNOWN_MAX as u64)));
    }

    #[test]
    fn commands_are_listed_before_internal_types() {
        let mut found = acts(&["enrichment"]);
        for name in ["pir", "user"] {
            found.count(Code::InternalType, name, || (name.to_owned(), String::new()));
        }
        assert_eq!(listed(&found), [("enrichment", 1), ("user", 1), ("pir", 1)]);
    }
}
