//! Made-up envelopes.

use serde_json::{Value, json};

/// In whose name the made envelopes are.
pub const APPLICANT: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

/// An envelope as pycti writes it, with one indicator of this name.
pub fn envelope(name: &str) -> Vec<u8> {
    envelope_with(name, json!({}))
}

/// Some bytes that do not compress below half of their number.
pub fn noise(name: &str, bytes: usize) -> Vec<u8> {
    let text: String =
        (0..bytes / 64).map(|n| airpouch::digest::Digest::of(format!("{name}/{n}").as_bytes()).to_string()).collect();
    envelope_with(name, json!({"update": text}))
}

/// The same, with fields of the envelope replaced.
pub fn envelope_with(name: &str, fields: Value) -> Vec<u8> {
    let id = airpouch::digest::Digest::of(name.as_bytes()).to_string();
    let uuid = format!("{}-{}-4{}-8{}-{}", &id[..8], &id[8..12], &id[13..16], &id[17..20], &id[20..32]);
    let mut envelope = json!({
        "bundle_type": "DIRECTORY_BUNDLE",
        "applicant_id": APPLICANT,
        "connector": {"id": "43509aab-0310-5f8d-9395-81f36f6d064a", "name": "Example Feed", "type": "EXTERNAL_IMPORT",
            "scope": "indicator,report", "auto": false, "validate_before_import": false},
        "entities_types": null,
        "bundle": {"type": "bundle", "id": format!("bundle--{uuid}"), "objects": [{
            "type": "indicator", "spec_version": "2.1", "id": format!("indicator--{uuid}"),
            "created": "2025-06-15T12:00:00.000Z", "modified": "2025-06-15T12:00:00.000Z", "name": name,
            "pattern": format!("[domain-name:value = '{name}.example']"), "pattern_type": "stix", "valid_from": "2025-06-15T12:00:00.000Z"}]},
        "update": false,
    });
    for (key, value) in fields.as_object().unwrap() {
        envelope[key] = value.clone();
    }
    serde_json::to_vec(&envelope).unwrap()
}
