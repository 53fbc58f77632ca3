//! A connector as the platform registers it (`registerConnector`): what every platform from 6.0 on knows.

use serde::{Deserialize, Serialize};

/// The types that pycti registers a connector of; a newer platform may know more.
pub const CONNECTOR_TYPES: [&str; 6] = [
    "EXTERNAL_IMPORT",
    "INTERNAL_IMPORT_FILE",
    "INTERNAL_ENRICHMENT",
    "INTERNAL_ANALYSIS",
    "INTERNAL_EXPORT_FILE",
    "STREAM",
];

/// The characters that a connector's name must have at least, not counting white space around it.
pub const NAME_MIN: usize = 2;

/// The input of `registerConnector`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The connector's id, as in the internet zone.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `EXTERNAL_IMPORT` and others.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it deals in.
    pub scope: Vec<String>,
    /// Whether the platform asks it by itself; never for one that is not here to answer.
    pub auto: bool,
    /// Always false.
    pub only_contextual: bool,
    /// Always false.
    pub playbook_compatible: bool,
}

impl Registration {
    /// The registration of an external import; any other type must not be offered work, for nobody here does it.
    pub fn new(id: &str, name: &str, kind: &str, scope: Vec<String>, auto: bool) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            scope,
            auto: auto && kind == "EXTERNAL_IMPORT",
            only_contextual: false,
            playbook_compatible: false,
        }
    }
}

/// A scope that is one text, in parts: pycti's `connect_scope.split(",")`, white space taken off.
pub fn scope_of_text(text: &str) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { text.split(',').map(|part| part.trim().to_owned()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registration_has_a_list_for_any_scope() {
        assert_eq!(scope_of_text("identity, vulnerability ,report"), ["identity", "vulnerability", "report"]);
        assert_eq!(scope_of_text(""), Vec::<String>::new());
    }

    #[test]
    fn registration_of_an_absent_connector_offers_no_work() {
        assert!(Registration::new("c", "Feed", "EXTERNAL_IMPORT", vec![], true).auto);
        assert!(!Registration::new("c", "Feed", "INTERNAL_ENRICHMENT", vec![], true).auto);
    }
}
