//! The object types that OpenCTI's importer knows, as pycti 7.261026.0 lists them.

/// The types that pycti's splitter lets through (`supported_types` of its `opencti_stix2_splitter.py`),
/// sorted by bytes. An id of any other type makes its object incompatible, and a reference to it is dropped.
pub const SUPPORTED_TYPES: &[&str] = &[
    "ai-prompt",
    "artifact",
    "attack-pattern",
    "autonomous-system",
    "bank-account",
    "campaign",
    "capability",
    "case-incident",
    "case-rfi",
    "case-rft",
    "channel",
    "course-of-action",
    "credential",
    "cryptocurrency-wallet",
    "cryptographic-key",
    "data-component",
    "data-source",
    "deleteoperation",
    "directory",
    "domain-name",
    "draftworkspace",
    "email-addr",
    "email-message",
    "email-mime-part-type",
    "event",
    "external-reference",
    "feedback",
    "file",
    "group",
    "grouping",
    "hostname",
    "iccid",
    "identity",
    "imei",
    "imsi",
    "incident",
    "indicator",
    "infrastructure",
    "intrusion-set",
    "ipv4-addr",
    "ipv6-addr",
    "kill-chain-phase",
    "label",
    "language",
    "location",
    "mac-addr",
    "malware",
    "malware-analysis",
    "marking-definition",
    "media-content",
    "mutex",
    "narrative",
    "network-traffic",
    "note",
    "notification",
    "observed-data",
    "opinion",
    "payment-card",
    "persona",
    "phone-number",
    "pir",
    "playbook",
    "process",
    "publicdashboard",
    "relationship",
    "report",
    "role",
    "security-coverage",
    "security-coverage-result",
    "settings",
    "sighting",
    "simple-observable",
    "software",
    "ssh-key",
    "task",
    "text",
    "threat-actor",
    "tool",
    "tracking-number",
    "trash",
    "url",
    "user",
    "user-account",
    "user-agent",
    "vocabulary",
    "vulnerability",
    "windows-registry-key",
    "windows-registry-value-type",
    "work",
    "workspace",
    "x-mitre-data-component",
    "x-mitre-data-source",
    "x-opencti-case-incident",
    "x-opencti-case-rfi",
    "x-opencti-case-rft",
    "x-opencti-feedback",
    "x-opencti-task",
    "x509-certificate",
];

/// Types that are the platform's own affairs and not knowledge (`SUPPORTED_INTERNAL_OBJECTS` of pycti's
/// `opencti_stix2_utils.py`): users, groups, roles, settings. Sorted by bytes.
pub const INTERNAL_TYPES: &[&str] = &[
    "capability",
    "deleteoperation",
    "draftworkspace",
    "group",
    "notification",
    "playbook",
    "publicdashboard",
    "role",
    "settings",
    "trash",
    "user",
    "work",
    "workspace",
];

/// What pycti also acts on as platform administration but keeps out of its list: `internalfile` has a helper
/// in `get_internal_helper`, `pir` (priority intelligence requirements) is added to the splitter by hand.
pub const FURTHER_INTERNAL_TYPES: &[&str] = &["internalfile", "pir"];

/// pycti's `OPENCTI_EXTENSION`, where its splitter looks for an internal id.
pub const OPENCTI_EXTENSION: &str = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba";

/// Whether pycti's splitter knows this type. Case matters, as it does there.
pub fn is_supported(type_: &str) -> bool {
    let Some(first) = type_.bytes().next() else {
        return false;
    };
    let range = usize::from(STARTS[usize::from(first)])..usize::from(STARTS[usize::from(first) + 1]);
    SUPPORTED_TYPES[range].contains(&type_)
}

/// Where in `SUPPORTED_TYPES` the types begin whose first byte is at least this one: every object and every end
/// of a relationship is looked up, and this takes a third of a binary search.
const STARTS: [u8; 257] = {
    let mut starts = [0; 257];
    let (mut byte, mut at) = (0, 0);
    while byte < 257 {
        while at < SUPPORTED_TYPES.len() && (SUPPORTED_TYPES[at].as_bytes()[0] as usize) < byte {
            at += 1;
        }
        starts[byte] = at as u8;
        byte += 1;
    }
    starts
};

/// The type that an id names: the text before its first `--`; `None` if there is no `--`.
pub fn type_of_id(id: &str) -> Option<&str> {
    let dashes = id.as_bytes().windows(2).position(|pair| pair == b"--")?;
    Some(&id[..dashes])
}

/// Whether pycti's splitter passes on an object or a reference with this id (`is_id_supported`): the type that
/// it names is supported, or it names none.
pub fn is_supported_id(id: &str) -> bool {
    type_of_id(id).is_none_or(is_supported)
}

/// Whether objects of this type administrate the platform. Case matters, as it does in pycti.
pub fn is_internal(type_: &str) -> bool {
    INTERNAL_TYPES.contains(&type_) || FURTHER_INTERNAL_TYPES.contains(&type_)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_sorted_for_the_binary_search() {
        assert!(SUPPORTED_TYPES.is_sorted_by(|a, b| a < b));
        assert!(INTERNAL_TYPES.is_sorted_by(|a, b| a < b));
        assert_eq!((SUPPORTED_TYPES.len(), INTERNAL_TYPES.len()), (98, 13));
        assert!(SUPPORTED_TYPES.iter().all(|type_| is_supported(type_)));
        assert!(!is_supported("") && !is_supported("zebra") && !is_supported("malwar") && !is_supported("\u{ff}"));
    }

    #[test]
    fn internal_types_pass_the_splitter() {
        assert!(INTERNAL_TYPES.iter().all(|type_| is_supported(type_)));
    }

    #[test]
    fn id_is_supported_by_its_prefix_before_the_first_dashes() {
        assert!(is_supported_id("malware--1--2") && is_supported_id("no-dashes-at-all"));
        assert!(!is_supported_id("x-foo--1") && !is_supported_id("--1") && !is_supported_id("Malware--1"));
    }

    #[test]
    fn types_of_administration_are_internal_and_those_of_knowledge_are_not() {
        assert!(is_internal("user") && is_internal("settings") && is_internal("internalfile") && is_internal("pir"));
        assert!(!is_internal("user-account") && !is_internal("identity") && !is_internal("User"));
    }
}
