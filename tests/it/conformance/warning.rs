//! Batches that hold, with envelopes that the importer keeps: what travels is honest, what is in it may not cross.

#![expect(clippy::too_many_lines, reason = "a list of cases is as long as it is")]

use super::Case;
use crate::builder::{Builder, Item, connector, envelope, envelope_by, indicator, text};

/// The namespace in which pycti looks for what the platform is to do.
const EXTENSION: &str = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba";

/// Cases of one envelope that is kept, between two that are delivered.
pub fn cases() -> Vec<Case> {
    [commands(), internal(), broken(), held()].into_iter().flatten().collect()
}

fn kept(name: &'static str, (code, says): (&'static str, &'static str), why: &'static str, body: Vec<u8>) -> Case {
    kept_item(name, (code, says), why, Item::new(2, "kept.json", body), |_| {})
}

fn kept_item(
    name: &'static str,
    (code, says): (&'static str, &'static str),
    why: &'static str,
    item: Item,
    change: impl FnOnce(&mut Builder),
) -> Case {
    let items = vec![Item::made(1, "one"), item, Item::made(3, "three")];
    let batch = Builder::new(items).with(change).build();
    let envelopes = batch.envelopes();
    Case::told(name, ("envelope", code, says), why, &batch).delivers(&[envelopes[0].clone(), envelopes[2].clone()])
}

/// An indicator with more members.
fn with(members: &str) -> String {
    indicator("kept").replacen("{\"type\"", &format!("{{{members}, \"type\""), 1)
}

fn commands() -> Vec<Case> {
    let command =
        |name, why, members: &str| kept(name, ("command", "carries opencti_operation"), why, envelope(&with(members)));
    let operation = "\"opencti_operation\": \"delete\"";
    let behind = indicator("kept").trim_end_matches('}').to_owned() + ", \"opencti_operation\": null}";
    vec![
        command("command", "an operation at the top level of an object is executed by pycti", operation),
        command(
            "command-of-no-known-word",
            "which operations a platform knows changes; none may cross",
            "\"opencti_operation\": \"x\"",
        ),
        command("command-null", "pycti looks for the key, not for its value", "\"opencti_operation\": null"),
        command(
            "command-that-is-an-object",
            "the value has no form that would make it harmless",
            "\"opencti_operation\": {\"a\": 1}",
        ),
        command(
            "command-in-the-extension",
            "pycti looks into OpenCTI's extension too",
            &format!("\"extensions\": {{\"{EXTENSION}\": {{{operation}}}}}"),
        ),
        command(
            "command-in-another-extension",
            "wherever it hides",
            &format!("\"extensions\": {{\"extension-definition--0\": {{{operation}}}}}"),
        ),
        command("command-deep-inside", "wherever it hides", &format!("\"x_custom\": [[{{\"a\": {{{operation}}}}}]]")),
        command(
            "command-with-an-escaped-key",
            "a key is what it is after decoding",
            "\"opencti\\u005foperation\": \"merge\"",
        ),
        command(
            "command-with-a-wholly-escaped-key",
            "a key is what it is after decoding",
            &escaped("opencti_operation"),
        ),
        kept(
            "command-under-a-key-that-stands-twice",
            ("command", "carries opencti_operation"),
            "the first reader sees the command, the last one null",
            envelope(&behind.replacen("{\"type\"", &format!("{{{operation}, \"type\""), 1)),
        ),
        kept("command-of-the-bundle", ("command", "carries opencti_operation"), "an operation beside the objects", {
            String::from_utf8(envelope(&indicator("kept")))
                .unwrap()
                .replacen("\"objects\"", &format!("{operation}, \"objects\""), 1)
                .into_bytes()
        }),
        kept(
            "upsert-operations",
            ("command", "opencti_upsert_operations"),
            "operations that the platform executes while it takes an object",
            envelope(&with("\"opencti_upsert_operations\": [{\"operation\": \"remove\"}]")),
        ),
    ]
}

/// A member whose key is written in escapes only.
fn escaped(key: &str) -> String {
    let key: String = key.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
    format!("\"{key}\": \"merge\"")
}

fn internal() -> Vec<Case> {
    let internal = |name, says, why, object: &str| kept(name, ("internal-type", says), why, envelope(object));
    vec![
        internal(
            "user",
            "is of the internal type user",
            "a user of the platform is no knowledge",
            r#"{"type": "user", "id": "user--0", "name": "root"}"#,
        ),
        internal(
            "role",
            "is of the internal type role",
            "roles are the platform's own",
            r#"{"type": "role", "id": "role--0"}"#,
        ),
        internal(
            "settings",
            "is of the internal type settings",
            "settings are the platform's own",
            r#"{"type": "settings", "id": "settings--0"}"#,
        ),
        internal(
            "group-with-an-escaped-type",
            "is of the internal type group",
            "a type is what it is after decoding",
            r#"{"type": "gr\u006fup", "id": "group--0"}"#,
        ),
        internal(
            "id-of-an-internal-type",
            "has the id of the internal type workspace",
            "pycti goes by the id too",
            r#"{"type": "indicator", "id": "workspace--0"}"#,
        ),
        internal(
            "type-that-stands-twice",
            "is of the internal type user",
            "the last of two equal keys is what Python reads",
            r#"{"type": "indicator", "id": "indicator--0", "type": "user"}"#,
        ),
    ]
}

fn broken() -> Vec<Case> {
    let honest = || String::from_utf8(envelope(&indicator("kept"))).unwrap();
    let text_of = |name, code, says, why, body: String| kept(name, (code, says), why, body.into_bytes());
    let deep = |levels: usize| format!("\"x_deep\": {}{}", "[".repeat(levels), "]".repeat(levels));
    vec![
        kept(
            "key-twice-in-an-object",
            ("duplicate-key", "has the key \"name\" twice"),
            "two readers, two names",
            envelope(&with("\"name\": \"another\"")),
        ),
        kept(
            "key-twice-one-escaped",
            ("duplicate-key", "has the key \"name\" twice"),
            "keys are equal when they are after decoding",
            envelope(&with("\"n\\u0061me\": \"another\"")),
        ),
        text_of(
            "applicant-twice",
            "duplicate-key",
            "applicant_id appears twice",
            "two readers, two applicants",
            honest().replacen("{", "{\"applicant_id\": null, ", 1),
        ),
        text_of(
            "connector-id-twice",
            "duplicate-key",
            "connector.id appears twice",
            "two readers, two connectors",
            honest().replacen("\"connector\": {", "\"connector\": {\"id\": \"another\", ", 1),
        ),
        text_of(
            "cut-off",
            "cut-off",
            "cut off",
            "the envelope was cut before it was packed, and the signer packed it all the same",
            honest()[..300].to_owned(),
        ),
        text_of(
            "not-json",
            "not-json",
            "not JSON",
            "the signer packed what is no JSON",
            honest().replacen(": null", ": nil", 1),
        ),
        text_of(
            "nan",
            "not-json",
            "not JSON",
            "NaN is what Python writes and JSON does not have",
            honest().replacen("\"update\": false", "\"update\": NaN", 1),
        ),
        text_of(
            "not-an-object",
            "not-an-object",
            "a list where one JSON object belongs",
            "the signer packed a list",
            format!("[{}]", honest()),
        ),
        text_of("two-documents", "not-json", "not JSON", "something follows the envelope", honest() + "{}"),
        text_of(
            "byte-order-mark",
            "byte-order-mark",
            "byte order mark",
            "a mark before the envelope",
            format!("\u{feff}{}", honest()),
        ),
        kept("not-utf-8-inside", ("not-utf-8", "not UTF-8"), "a byte that cannot be UTF-8", {
            let mut body = honest().into_bytes();
            let at = body.len() / 2;
            body[at] = 0xff;
            body
        }),
        kept("empty-file", ("empty", "empty"), "the signer packed no bytes", Vec::new()),
        text_of(
            "bundle-type-of-nobody",
            "bundle-type",
            "MANIFEST",
            "bundle_type is a word that no connector writes",
            honest().replacen("DIRECTORY_BUNDLE", "MANIFEST", 1),
        ),
        text_of(
            "connector-id-with-a-path",
            "connector-id",
            "../../x",
            "an id becomes part of names on the other side",
            honest().replacen("2d1b0a3c-6f0e-4b0e-9c55-0f7c0a6f7e11", "../../x", 1),
        ),
        text_of(
            "bundle-missing",
            "missing-field",
            "the field bundle is missing",
            "an envelope without a bundle",
            honest().replacen("\"bundle\":", "\"bundles\":", 1),
        ),
        kept(
            "too-deep",
            ("too-deep", "too deep"),
            "Python's reader gives up near 990 levels",
            envelope(&with(&deep(960))),
        ),
        kept(
            "key-of-5000-bytes",
            ("too-long", "has a key of 5000 bytes"),
            "no key of STIX is that long",
            envelope(&with(&format!("\"{}\": 0", "k".repeat(5000)))),
        ),
    ]
}

fn held() -> Vec<Case> {
    let stranger =
        Item { applicant: 1, ..Item::new(2, "held.json", envelope_by("\"a-stranger\"", &indicator("held"))) };
    let enrichment =
        String::from_utf8(envelope(&indicator("held"))).unwrap().replacen("EXTERNAL_IMPORT", "INTERNAL_ENRICHMENT", 1);
    let enrichment = Item { connector: 1, ..Item::new(2, "held.json", enrichment.into_bytes()) };
    vec![
        kept_item(
            "applicant-not-mapped",
            ("applicant", "applicant a-stranger is not mapped"),
            "who that is here has not been said yet",
            stranger,
            |b| {
                b.applicants.push(Some("a-stranger".to_owned()));
            },
        ),
        kept_item(
            "connector-of-another-type",
            ("connector-type", "is of the type INTERNAL_ENRICHMENT"),
            "only external imports cross unasked",
            enrichment,
            |b| {
                let mut second = connector("2d1b0a3c-6f0e-4b0e-9c55-0f7c0a6f7e11", "Example Feed");
                second.set("type", text("INTERNAL_ENRICHMENT"));
                b.connectors.push(second);
            },
        ),
    ]
}
