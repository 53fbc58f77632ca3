use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::code::Code;

const HEAD: &str = r#"{"bundle_type": "DIRECTORY_BUNDLE", "applicant_id": "f4e7f174-f31b-5af9-afc3-f69071e18d39", "connector": {"id": "2d1b0a3c-6f0e", "name": "URLhaus", "type": "EXTERNAL_IMPORT", "scope": "url,indicator", "auto": false, "validate_before_import": null}, "entities_types": null, "bundle": "#;

fn with_bundle(bundle: &str) -> String {
    format!("{HEAD}{bundle}, \"update\": true}}")
}

fn with_objects(objects: &str) -> String {
    with_bundle(&format!(r#"{{"type": "bundle", "id": "bundle--1", "objects": [{objects}]}}"#))
}

fn contents(objects: &str) -> Contents {
    Envelope::parse(with_objects(objects).as_bytes()).expect(objects).contents
}

/// Code, words and place of each finding in the only object of a bundle.
fn findings(objects: &str) -> Vec<(Code, String, String)> {
    contents(objects).findings.into_iter().map(|f| (f.code, f.what, f.place)).collect()
}

fn refusal(text: &str) -> NotAnEnvelope {
    Envelope::parse(text.as_bytes()).expect_err(text)
}

fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

mod envelope_of_pycti {
    use super::*;

    #[test]
    fn is_read() {
        let objects = r#"{"type": "url", "id": "url--1", "value": "http://x/", "object_marking_refs": ["m--1", "m--2"]},
            {"id": "relationship--1", "type": "relationship", "source_ref": "url--1", "target_ref": "url--2", "object_marking_refs": ["m--1"]},
            {"type": "x-own", "id": "x-own--1"}"#;
        let envelope = Envelope::parse(with_objects(objects).as_bytes()).unwrap();
        let connector = Connector {
            id: ConnectorId::parse("2d1b0a3c-6f0e").unwrap(),
            name: "URLhaus".to_owned(),
            kind: "EXTERNAL_IMPORT".to_owned(),
            scope: Scope::Text("url,indicator".to_owned()),
            auto: Some(false),
            validate_before_import: None,
        };
        assert_eq!(envelope.connector, connector);
        assert_eq!(envelope.applicant.as_deref(), Some("f4e7f174-f31b-5af9-afc3-f69071e18d39"));
        let found = envelope.contents;
        assert_eq!((found.objects, found.compatible), (3, 2));
        assert_eq!(found.types, counts(&[("relationship", 1), ("url", 1), ("x-own", 1)]));
        assert_eq!(found.markings, counts(&[("m--1", 2), ("m--2", 1)]));
        assert_eq!(found.findings, []);
    }

    #[test]
    fn may_have_no_applicant_and_any_scope() {
        let text = with_objects("").replace("\"f4e7f174-f31b-5af9-afc3-f69071e18d39\"", "null");
        assert_eq!(Envelope::parse(text.as_bytes()).unwrap().applicant, None);
        for (scope, meant) in [
            ("null", Scope::None),
            ("7", Scope::None),
            ("[\"a\", 7]", Scope::None),
            ("{\"a\": [1]}", Scope::None),
            ("[]", Scope::List(vec![])),
            ("[\"a\", \"b\"]", Scope::List(vec!["a".to_owned(), "b".to_owned()])),
        ] {
            let text = with_objects("").replace("\"url,indicator\"", scope);
            assert_eq!(Envelope::parse(text.as_bytes()).unwrap().connector.scope, meant);
        }
    }

    #[test]
    fn may_have_odd_numbers_and_lone_surrogates() {
        let found = findings(r#"{"type": "tool", "id": "tool--1", "name": "\ud83d", "n": 1e400, "m": 1.10}"#);
        assert_eq!(found, []);
    }

    #[test]
    fn may_have_an_s3_bundle_and_entity_types() {
        let s3 = with_objects("").replace("DIRECTORY_BUNDLE", "S3_BUNDLE");
        assert!(Envelope::parse(s3.as_bytes()).is_ok());
        for types in ["\"a,b\"", "[\"a\"]", "null"] {
            let text = with_objects("").replace("\"entities_types\": null", &format!("\"entities_types\": {types}"));
            assert!(Envelope::parse(text.as_bytes()).is_ok());
        }
    }
}

mod file_that_is_no_envelope {
    use super::*;

    fn code(bytes: &[u8]) -> (&'static str, String) {
        let reason = Envelope::parse(bytes).unwrap_err();
        (reason.code().word(), reason.to_string())
    }

    #[test]
    fn is_named_for_what_it_is() {
        let whole = with_objects("");
        let utf16: Vec<u8> = whole.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, expected, words) in [
            (&b""[..], "empty", "empty"),
            (b" \n", "empty", "empty"),
            (&[0; 4096], "zeros", "zero bytes"),
            (&whole.as_bytes()[..200], "cut-off", "line 1, column 201"),
            (&[b"\xef\xbb\xbf", whole.as_bytes()].concat(), "byte-order-mark", "BOM"),
            (&[&b"\xff\xfe"[..], &utf16].concat(), "utf-16", "UTF-16"),
            (&utf16, "utf-16", "UTF-16"),
            (b"{\"a\": \"caf\xe9\"}", "not-utf-8", "byte 10"),
            (b"{\"a\": \"caf\xc3", "cut-off", "column 11"),
            (b"[]", "not-an-object", "a list"),
            (b"{\"a\":\n  NaN}", "not-json", "NaN is not JSON, at line 2, column 3"),
            (format!("{whole}{whole}").as_bytes(), "not-json", "follows the end"),
            ("{\"a\":".repeat(2_000).as_bytes(), "too-deep", "950"),
        ] {
            let (code, text) = code(bytes);
            assert_eq!(code, expected, "{text}");
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn is_refused_if_too_large() {
        let (code, text) = code(&vec![b' '; limits::ENVELOPE_MAX as usize + 1]);
        assert_eq!(code, "too-large");
        assert!(text.contains("256 MiB"));
    }

    #[test]
    fn is_reported_with_its_field() {
        let whole = with_objects("");
        for (from, to, code, field) in [
            ("\"bundle_type\"", "\"x\"", "missing-field", "bundle_type"),
            ("DIRECTORY_BUNDLE", "CARRIED", "bundle-type", "CARRIED"),
            ("\"connector\"", "\"x\"", "missing-field", "connector"),
            ("\"name\"", "\"x\"", "missing-field", "connector.name"),
            ("\"URLhaus\"", "7", "wrong-type", "connector.name is a number"),
            ("\"EXTERNAL_IMPORT\"", "null", "wrong-type", "connector.type is null"),
            ("2d1b0a3c-6f0e", "../../etc", "connector-id", "../../etc"),
            ("2d1b0a3c-6f0e", "", "connector-id", "connector.id"),
            ("\"bundle\"", "\"x\"", "missing-field", "bundle"),
            ("\"objects\": []", "\"x\": []", "missing-field", "bundle.objects"),
            ("\"objects\": []", "\"objects\": {}", "wrong-type", "bundle.objects is an object"),
            ("\"objects\": []", "\"objects\": null", "wrong-type", "bundle.objects is null"),
            ("\"entities_types\": null", "\"entities_types\": 7", "wrong-type", "entities_types is a number"),
            ("\"f4e7f174-f31b-5af9-afc3-f69071e18d39\"", "[]", "wrong-type", "applicant_id is a list"),
            ("URLhaus", "\\ud83d", "wrong-type", "connector.name"),
        ] {
            let reason = refusal(&whole.replacen(from, to, 1));
            assert_eq!(reason.code().word(), code, "{reason}");
            assert!(reason.to_string().contains(field), "{reason}");
        }
        let long = refusal(&whole.replace("URLhaus", &"x".repeat(2_000)));
        assert_eq!(long.code(), Code::TooLong);
        let scope = vec!["\"type\""; limits::PARTY_TEXT_MAX / 5 + 1].join(",");
        let long = refusal(&whole.replace("\"url,indicator\"", &format!("[{scope}]")));
        assert_eq!(long, NotAnEnvelope::TooLong { field: "connector.scope" });
    }

    #[test]
    fn is_one_with_a_duplicate_field() {
        let whole = with_objects("");
        for (once, field) in [
            ("\"applicant_id\"", "applicant_id"),
            ("\"name\"", "connector.name"),
            ("\"update\"", "update"),
            ("\"bundle_type\"", "bundle_type"),
        ] {
            let again = format!("{}: \"a\", {once}", once.replacen('e', "\\u0065", 1).replacen("ame", "\\u0061me", 1));
            let reason = refusal(&whole.replacen(once, &again, 1).replacen(": \"a\"", ": \"DIRECTORY_BUNDLE\"", 1));
            assert_eq!(reason, NotAnEnvelope::DuplicateKey { field: field.to_owned() });
            assert!(reason.to_string().contains("twice"));
        }
    }
}

mod hidden_command {
    use super::*;

    fn acts(objects: &str) -> Vec<(Code, String, u64)> {
        let found = contents(objects).acts;
        found.worst_first().into_iter().map(|act| (act.code, act.name.clone(), act.count)).collect()
    }

    fn command(object: &str) -> (String, String) {
        let acts = contents(object).acts;
        let found: Vec<_> = acts.worst_first().into_iter().filter(|act| act.code == Code::Command).collect();
        assert_eq!(found.len(), 1, "{object}: {found:?}");
        (found[0].what.clone(), found[0].place.clone())
    }

    #[test]
    fn before_the_id_of_its_object_is_found() {
        let object = r#"{"type": "tool", "id": "tool--0"},
            {"opencti_operation": "delete_force", "type": "malware", "id": "malware--d650c5b9"}"#;
        let (what, place) = command(object);
        assert_eq!(what, "objects[1] malware--d650c5b9 carries opencti_operation \"delete_force\"");
        assert_eq!(place, "/bundle/objects/1/opencti_operation");
    }

    #[test]
    fn in_an_extension_is_found() {
        let object = r#"{"type": "tool", "id": "tool--1", "extensions": {"extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba":
            {"opencti_operation": "merge"}}}"#;
        let (what, place) = command(object);
        assert!(what.contains("\"merge\""));
        assert!(
            place.ends_with("/extensions/extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba/opencti_operation")
        );
    }

    #[test]
    fn behind_escapes_or_in_odd_places_or_types_is_found() {
        for object in [
            r#"{"type": "tool", "id": "tool--1", "opencti\u005foperation": "delete"}"#,
            r#"{"type": "tool", "id": "tool--1", "\u006fpencti_operation": null}"#,
            r#"{"type": "tool", "id": "tool--1", "opencti_operation": ["delete"]}"#,
            r#"{"type": "tool", "id": "tool--1", "opencti_operation": {"a": 1}}"#,
            r#"{"type": "tool", "id": "tool--1", "a": [[[{"b": {"opencti_operation": 1}}]]]}"#,
            r#"{"type": "tool", "id": "tool--1", "a_refs": [{"opencti_operation": 1}]}"#,
            r#"{"type": "tool", "id": "tool--1", "x_refs": {"opencti_operation": 1}}"#,
            r#"[{"opencti_operation": "delete"}]"#,
            r#"{"type": "tool", "id": "tool--1", "opencti_upsert_operations": [{"key": "name", "operation": "remove"}]}"#,
            r#"{"type": "tool", "id": "tool--1", "extensions": {"e": {"opencti_upsert_operations": {"a": 1}}}}"#,
        ] {
            command(object);
        }
        let text = with_bundle(r#"{"opencti_operation": "delete", "x": {"objects": 1}, "objects": []}"#);
        let found = Envelope::parse(text.as_bytes()).unwrap().contents.acts;
        assert_eq!(found.worst_first()[0].what, "the bundle carries opencti_operation \"delete\"");
    }

    #[test]
    fn under_a_duplicate_key_is_found_twice() {
        let object =
            r#"{"type": "tool", "id": "tool--1", "opencti_operation": "share", "opencti_operation": "delete"}"#;
        let both = [(Code::Command, "delete".to_owned(), 1), (Code::Command, "share".to_owned(), 1)];
        assert_eq!(acts(object), both);
        assert_eq!(findings(object)[0].0, Code::DuplicateKey);
    }

    #[test]
    fn behind_thousands_of_other_findings_is_found() {
        let odd = r#"{"type": "tool", "id": "tool--1", "a": 1, "a": 2, "x_ref": 7}"#;
        let command = r#"{"type": "tool", "id": "tool--2", "opencti_operation": "delete"}"#;
        let found = contents(&format!("{}, {command}", vec![odd; 5_000].join(", ")));
        assert!(found.acts.worst_first()[0].what.starts_with("objects[5000] tool--2 "));
        assert_eq!(found.findings.len(), 64);
        assert_eq!(found.more_findings, 2 * (5_000 - 32));
    }

    #[test]
    fn cannot_act_on_the_terminal() {
        let (what, place) =
            command(r#"{"id": "tool--\u001b[2J", "type": "tool", "a\u202e": {"opencti_operation": "\u0007"}}"#);
        assert!(!what.chars().chain(place.chars()).any(|c| c.is_control() || c == '\u{202e}'), "{what} {place}");
    }

    #[test]
    fn is_not_found_where_there_is_none() {
        let object = r#"{"type": "tool", "id": "tool--1", "name": "opencti_operation", "opencti_upsert_operations": null,
            "extensions": {"e": {"opencti_upsert_operations": []}}}"#;
        assert_eq!(findings(object), []);
        assert!(contents(object).acts.is_empty());
    }

    #[test]
    fn behind_ten_thousand_milder_ones_is_listed_first_with_its_object() {
        let mild = r#"{"type": "tool", "id": "tool--1", "opencti_operation": "enrichment"}"#;
        let worst = r#"{"type": "identity", "id": "identity--9", "opencti_operation": "add_groups"}"#;
        let user = r#"{"type": "user", "id": "user--7"}"#;
        let found = contents(&format!("{}, {user}, {worst}", vec![mild; 10_000].join(", "))).acts;
        let found: Vec<_> = found.worst_first().into_iter().map(Act::in_words).collect();
        assert_eq!(
            found,
            [
                "objects[10001] identity--9 carries opencti_operation \"add_groups\"",
                "objects[0] tool--1 carries opencti_operation \"enrichment\" (10,000 times)",
                "objects[10000] user--7 is of the internal type user",
            ]
        );
    }
}

mod object_of_administration {
    use super::*;

    #[test]
    fn is_known_by_type_or_by_id() {
        let first = |object: &str| {
            let acts = contents(object).acts;
            let first = acts.worst_first()[0];
            (first.code, first.name.clone(), first.what.clone(), first.place.clone())
        };
        let (code, name, what, place) = first(r#"{"type": "user", "id": "user--1"}"#);
        assert_eq!((code, name.as_str()), (Code::InternalType, "user"));
        assert_eq!(what, "objects[0] user--1 is of the internal type user");
        assert_eq!(place, "/bundle/objects/0/type");
        assert_eq!(first(r#"{"type": "identity", "id": "settings--1"}"#).3, "/bundle/objects/0/id");
        for object in [
            r#"{"type": "role", "id": "no-dashes"}"#,
            r#"{"type": "gr\u006fup", "id": "tool--1"}"#,
            r#"{"type": "tool", "id": "w\u006frk--1"}"#,
            r#"{"type": "internalfile", "id": "a"}"#,
        ] {
            assert_eq!(first(object).0, Code::InternalType, "{object}");
        }
        assert!(contents(r#"{"type": "user-account", "id": "user-account--1"}"#).acts.is_empty());
    }
}

mod duplicate_or_inflated_input {
    use super::*;

    #[test]
    fn duplicate_keys_are_found_at_any_depth() {
        for object in [
            r#"{"type": "tool", "id": "tool--1", "a": 1, "a": 2}"#,
            r#"{"type": "tool", "id": "tool--1", "type": "tool"}"#,
            r#"{"type": "tool", "id": "tool--1", "x": [{"y": {"b": 1, "\u0062": 1}}]}"#,
        ] {
            let found = findings(object);
            assert_eq!((found.len(), found[0].0), (1, Code::DuplicateKey), "{object}");
        }
        let twice = with_bundle(
            r#"{"objects": [{"type": "tool", "id": "tool--1"}], "objects": [{"type": "user", "id": "user--1"}]}"#,
        );
        let found = Envelope::parse(twice.as_bytes()).unwrap().contents;
        assert_eq!(found.findings.iter().map(|f| f.code).collect::<Vec<_>>(), [Code::DuplicateKey]);
        assert_eq!(found.acts.worst_first()[0].code, Code::InternalType);
    }

    #[test]
    fn large_lengths_and_counts_are_found() {
        let long = "x".repeat(5_000);
        for object in [
            format!(r#"{{"type": "tool", "id": "tool--1", "{long}": 1}}"#),
            format!(r#"{{"type": "tool", "id": "tool--{long}"}}"#),
            format!(r#"{{"type": "{long}", "id": "tool--1"}}"#),
            format!(r#"{{"type": "tool", "id": "tool--1", "object_marking_refs": ["{long}"]}}"#),
        ] {
            assert_eq!(findings(&object)[0].0, Code::TooLong);
        }
        let keys: Vec<String> = (0..limits::KEYS_MAX).map(|n| format!("\"{n}\": 0")).collect();
        let found = findings(&format!(r#"{{"type": "tool", "id": "tool--1", {}}}"#, keys.join(", ")));
        assert_eq!((found.len(), found[0].0), (1, Code::TooMany));
        let many = contents(&vec!["{}"; limits::OBJECTS_MAX as usize + 1].join(","));
        assert!(many.findings.iter().any(|f| f.code == Code::TooMany));
    }

    #[test]
    fn text_that_is_shown_costs_no_more_than_reading() {
        let key = "\\u0061".repeat(500_000);
        let ones = vec!["1"; 500_000].join(",");
        let found = contents(&format!(r#"{{"type": "tool", "id": "tool--1", "{key}_refs": [{ones}]}}"#));
        assert_eq!(found.more_findings, 500_000 - 32);
        assert!(found.findings.iter().all(|f| f.what.len() < 500 && f.place.len() < 500));
    }

    #[test]
    fn many_kinds_make_no_large_report() {
        let objects: Vec<String> = (0..600).map(|n| format!(r#"{{"type": "t{n}", "id": "t--1"}}"#)).collect();
        let found = contents(&objects.join(","));
        assert_eq!((found.types.len(), found.types["*"]), (257, 344));
    }
}

mod bundle_that_pycti_cannot_split {
    use super::*;

    fn unsplittable(object: &str, words: &str, place: &str) {
        let found = findings(object);
        assert_eq!(found.len(), 1, "{object}: {found:?}");
        assert_eq!(found[0].0, Code::Unsplittable);
        assert!(found[0].1.starts_with("objects[0] ") && found[0].1.contains(words), "{object}: {found:?}");
        assert_eq!(found[0].2, format!("/bundle/objects/0{place}"), "{object}");
    }

    #[test]
    fn is_known_by_missing_fields() {
        unsplittable("7", "is a number", "");
        unsplittable("[[]]", "is a list", "");
        unsplittable(r#"{"type": "tool"}"#, "no id", "");
        unsplittable(r#"{"type": "tool", "id": null}"#, "no id", "");
        unsplittable(r#"{"id": "tool--1"}"#, "no type", "");
        let relationship = r#"{"type": "relationship", "id": "relationship--1", "target_ref": "tool--1"}"#;
        unsplittable(relationship, "without source_ref", "/source_ref");
        let sighting =
            r#"{"where_sighted_refs": null, "type": "sighting", "id": "sighting--1", "sighting_of_ref": "a"}"#;
        unsplittable(sighting, "where_sighted_refs", "/where_sighted_refs");
    }

    #[test]
    fn is_known_by_values_of_a_wrong_type() {
        let object = |members: &str| format!(r#"{{"type": "tool", "id": "tool--1", {members}}}"#);
        for (members, words, place) in [
            (
                r#""object_marking_refs": "marking-definition--1""#,
                "a text in \"object_marking_refs\"",
                "/object_marking_refs",
            ),
            (r#""object_refs": 7"#, "a number in", "/object_refs"),
            (r#""object_refs": false"#, "false in", "/object_refs"),
            (r#""object_refs": {"a": 1}"#, "an object in", "/object_refs"),
            (r#""object_refs": ["tool--2", null]"#, "null among", "/object_refs/1"),
            (r#""object_refs": [["tool--2"]]"#, "a list among", "/object_refs/0"),
            (r#""created_by_ref": 7"#, "a number in", "/created_by_ref"),
            (r#""created_by_ref": ["a"]"#, "a list in", "/created_by_ref"),
            (r#""external_references": "x""#, "a text in", "/external_references"),
            (r#""external_references": {"a": 1}"#, "an object in", "/external_references"),
            (r#""external_references": [{}, "x"]"#, "a text among", "/external_references/1"),
            (r#""kill_chain_phases": 1"#, "a number in", "/kill_chain_phases"),
            (r#""extensions": "x""#, "a text in", "/extensions"),
            (r#""extensions": [1]"#, "a list in", "/extensions"),
            (r#""x_opencti_id": [1]"#, "a list in", "/x_opencti_id"),
        ] {
            unsplittable(&object(members), words, place);
        }
        let digits = format!("\"n\": {}", "9".repeat(4_301));
        unsplittable(&object(&digits), "4301 digits", "/n");
    }

    #[test]
    fn differs_from_one_that_pycti_walks_over() {
        let object = r#"{"type": "tool", "id": "tool--1", "a_refs": null, "b_refs": [], "c_refs": {}, "d_refs": "", "e_ref": null,
            "external_references": [], "kill_chain_phases": null, "extensions": {}, "x_opencti_id": "", "nested": {"f_refs": 7, "g_ref": 7},
            "no_refs_here": 7}"#;
        assert_eq!(findings(object), []);
        for extensions in ["null", "false", "0", "0.0", "\"\"", "[]"] {
            assert_eq!(findings(&format!(r#"{{"type": "tool", "id": "tool--1", "extensions": {extensions}}}"#)), []);
        }
    }

    #[test]
    fn without_compatible_objects_counts_none() {
        for (object, compatible) in [
            (r#"{"type": "x-own", "id": "x-own--1"}"#, 0),
            (r#"{"type": "x-own", "id": "no-dashes"}"#, 1),
            (r#"{"type": "relationship", "id": "relationship--1", "source_ref": "a", "target_ref": null}"#, 0),
            (r#"{"type": "relationship", "id": "relationship--1", "source_ref": "a", "target_ref": "x-own--1"}"#, 0),
            (
                r#"{"type": "relationship", "id": "relationship--1", "source_ref": "a", "target_ref": "relationship--1"}"#,
                0,
            ),
            (r#"{"type": "relationship", "id": "x-own--1", "source_ref": "a", "target_ref": "b"}"#, 1),
            (r#"{"type": "sighting", "id": "sighting--1", "sighting_of_ref": "a", "where_sighted_refs": []}"#, 0),
            (r#"{"type": "sighting", "id": "sighting--1", "sighting_of_ref": "a"}"#, 0),
            (r#"{"type": "sighting", "id": "sighting--1", "sighting_of_ref": "a", "where_sighted_refs": ["b"]}"#, 1),
        ] {
            let found = contents(object);
            assert_eq!((found.compatible, found.findings.len()), (compatible, 0), "{object}");
        }
        assert_eq!(contents("").compatible, 0);
    }
}

mod report_with_embedded_files {
    use super::*;

    #[test]
    fn has_its_files_measured_and_named() {
        let found = contents(
            r#"{"type": "report", "id": "report--1", "x_opencti_files": [
                {"name": "a", "data": "QUJDRA==", "mime_type": "application/pdf"}, {"name": "b", "uri": "/storage/b"}],
               "external_references": [{"x_opencti_files": [{"data": "QUJD"}]}],
               "extensions": {"extension-definition--1": {"files": [{"mime_type": 7, "data": "QQ=="}]}}},
               {"type": "artifact", "id": "artifact--1", "mime_type": "text/plain", "payload_bin": "QUJDREU="},
               {"type": "tool", "id": "tool--1", "data": "QUJD"}"#,
        );
        let files: Vec<_> = found.files.iter().map(|f| (f.place.as_str(), f.bytes, f.mime.as_deref())).collect();
        assert_eq!(
            files,
            [
                ("/bundle/objects/0/x_opencti_files/0/data", 4, Some("application/pdf")),
                ("/bundle/objects/0/external_references/0/x_opencti_files/0/data", 3, None),
                ("/bundle/objects/0/extensions/extension-definition--1/files/0/data", 1, None),
                ("/bundle/objects/1/payload_bin", 5, Some("text/plain")),
            ]
        );
        assert_eq!(found.file_types, counts(&[("?", 2), ("application/pdf", 1), ("text/plain", 1)]));
    }

    #[test]
    fn is_not_made_smaller_by_a_duplicate_key() {
        let found =
            contents(r#"{"type": "artifact", "id": "artifact--1", "payload_bin": "QUJDREVG", "payload_bin": "QQ=="}"#);
        assert_eq!((found.files.len(), found.files[0].bytes), (1, 6));
    }

    #[test]
    fn keeps_the_largest_of_many_files() {
        let files: Vec<String> = (1..=100).map(|n| format!(r#"{{"data": "{}"}}"#, "QUJD".repeat(n))).collect();
        let found =
            contents(&format!(r#"{{"type": "report", "id": "report--1", "x_opencti_files": [{}]}}"#, files.join(",")));
        assert_eq!((found.files.len(), found.more_files), (32, 68));
        assert_eq!(found.files.iter().map(|f| f.bytes).min(), Some(69 * 3));
    }
}

mod bundle_that_is_more_than_knowledge {
    use super::*;

    const EXTENSION: &str = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba";

    #[test]
    fn sharing_is_found_under_each_key_that_pycti_takes() {
        for (member, place) in [
            (r#""x_opencti_granted_refs": ["identity--1"]"#, "/x_opencti_granted_refs"),
            (r#""granted_refs": ["identity--1", "identity--2"]"#, "/granted_refs"),
            (r#""granted\u005frefs": ["identity--1"]"#, "/granted_refs"),
            (r#""granted_ref": "identity--1""#, "/granted_ref"),
            (r#""gran_refsted_refs": ["identity--1"]"#, "/gran_refsted_refs"),
            (r#""granted_refs": "identity--1""#, "/granted_refs"),
            (r#""x": [{"granted_refs": [7]}]"#, "/x/0/granted_refs"),
            (r#""x": {"granted_refs": [["identity--1"]]}"#, "/x/granted_refs"),
            (r#""x": {"granted_refs": {"a": 1}}"#, "/x/granted_refs"),
        ] {
            let found = contents(&format!(r#"{{"type": "ipv4-addr", "id": "ipv4-addr--1", {member}}}"#)).sharing;
            assert!(found.count > 0, "{member}");
            assert_eq!(found.place, format!("/bundle/objects/0{place}"), "{member}");
        }
        let extension = format!(
            r#"{{"type": "tool", "id": "tool--1", "extensions": {{"{EXTENSION}": {{"granted_refs": ["identity--1"]}}}}}}"#
        );
        let found = contents(&extension).sharing;
        assert_eq!(found.count, 1);
        assert_eq!(found.what, "objects[0] gives organizations access, by \"granted_refs\"");
        assert_eq!(found.place, format!("/bundle/objects/0/extensions/{EXTENSION}/granted_refs"));
    }

    #[test]
    fn sharing_with_nobody_is_none() {
        for member in [
            r#""x_opencti_granted_refs": []"#,
            r#""granted_refs": null"#,
            r#""x": {"granted_refs": []}"#,
            r#""description": "granted_refs", "object_refs": ["identity--1"], "resolves_to_refs": ["identity--1"]"#,
            r#""granted": ["identity--1"]"#,
        ] {
            assert_eq!(
                contents(&format!(r#"{{"type": "tool", "id": "tool--1", {member}}}"#)).sharing.count,
                0,
                "{member}"
            );
        }
    }

    #[test]
    fn vocabulary_is_known_by_its_type_or_its_id() {
        let found = contents(r#"{"type": "tool", "id": "tool--1"}, {"type": "vocabulary", "id": "vocabulary--1"}"#);
        assert_eq!(found.vocabularies.count, 1);
        assert_eq!(found.vocabularies.what, "objects[1] is a vocabulary");
        assert_eq!(found.vocabularies.place, "/bundle/objects/1/type");
        assert_eq!(contents(r#"{"type": "tool", "id": "vocabulary--1"}"#).vocabularies.place, "/bundle/objects/0/id");
        assert_eq!(contents(r#"{"type": "tool", "id": "tool--1", "name": "vocabulary"}"#).vocabularies.count, 0);
    }

    fn nested(members: &str) -> u64 {
        let object = format!(r#"{{"type": "report", "id": "report--1", {members}}}"#);
        contents(&object).nested_files.count
    }

    #[test]
    fn file_that_is_a_bundle_or_a_feed_is_known_by_its_type_or_its_name() {
        for file in [
            r#""name": "a.bin", "mime_type": "application/json""#,
            r#""name": "a.bin", "mime_type": "Application/JSON; charset=utf-8""#,
            r#""name": "a.bin", "mime_type": "application/stix+json;version=2.1""#,
            r#""name": "a.bin", "mime_type": "application/vnd.oasis.stix""#,
            r#""name": "a.bin", "mime_type": "text/xml""#,
            r#""name": "a.bin", "mime_type": "application/rss+xml""#,
            r#""name": "a.json""#,
            r#""name": "A.JSON ", "mime_type": "application/octet-stream""#,
            r#""name": "a.stix", "mime_type": "application/pdf""#,
            r#""n\u0061me": "a.x\u006dl""#,
            r#""name": "a.json", "no_trigger_import": false"#,
            r#""name": "a.json", "no_trigger_import": "true""#,
            r#""name": "a.json", "no_trigger_import": true, "no_trigger_import": false"#,
            r#""name": "a.json", "no_trigger_import": false, "no_trigger_import": true"#,
            r#""name": "a.json", "name": "a.pdf""#,
        ] {
            for (before, after) in [
                (r#""x_opencti_files": [{"data": "e30=", "#, "}]"),
                (r#""extensions": {"extension-definition--1": {"files": [{"data": "e30=", "#, "}]}}"),
                (r#""external_references": [{"x_opencti_files": [{"data": "e30=", "#, "}]}]"),
            ] {
                assert_eq!(nested(&format!("{before}{file}{after}")), 1, "{before}{file}{after}");
            }
        }
        for payload in [
            r#""payload_bin": "e30=", "mime_type": "application/json""#,
            r#""mime_type": "text/plain", "payload_bin": "e30=", "x_opencti_additional_names": ["a.pdf", "a.json"]"#,
            r#""x_opencti_additional_names": ["a.json"], "mime_type": "text/plain", "payload_bin": "e30=""#,
            r#""payload_bin": "e30=", "mime_type": "application/json", "no_trigger_import": true"#,
            r#""values": [{"payload_bin": "e30=", "mime_type": "application/json"}]"#,
        ] {
            assert_eq!(nested(payload), 1, "{payload}");
        }
    }

    #[test]
    fn file_of_another_kind_is_none() {
        for members in [
            r#""x_opencti_files": [{"name": "a.json", "data": "e30=", "no_trigger_import": true}]"#,
            r#""x_opencti_files": [{"name": "a.pdf", "data": "e30=", "mime_type": "application/pdf"}]"#,
            r#""x_opencti_files": [{"name": "a", "data": "e30="}]"#,
            r#""x_opencti_files": [{"name": "a.json", "uri": "/storage/a"}]"#,
            r#""x_opencti_files": [{"name": "a.svg", "data": "e30=", "mime_type": "image/svg+xml"}]"#,
            r#""x_opencti_files": [{"name": "a.docx", "data": "e30=", "mime_type": "application/vnd.openxmlformats-officedocument.wordprocessingml.document"}]"#,
            r#""name": "a.json", "mime_type": "application/json""#,
            r#""payload_bin": "e30=", "mime_type": "application/x-dosexec", "name": "a.json""#,
        ] {
            assert_eq!(nested(members), 0, "{members}");
        }
    }

    #[test]
    fn file_behind_a_thousand_others_is_counted() {
        let harmless = r#"{"name": "a.pdf", "data": "JVBERg==", "mime_type": "application/pdf"}"#;
        let files = vec![harmless; 1_000].join(", ");
        let found = contents(&format!(
            r#"{{"type": "report", "id": "report--1", "x_opencti_files": [{files}, {{"name": "a.json", "data": "e30="}}]}}"#
        ));
        assert_eq!(found.nested_files.count, 1);
        assert_eq!(found.nested_files.place, "/bundle/objects/0/x_opencti_files/1000/data");
    }
}

mod envelope_with_a_new_applicant {
    use super::*;

    fn assert_only_that_changed(before: &str, id: &str) {
        let after = String::from_utf8(with_applicant(before.as_bytes(), id)).unwrap();
        let mut envelope = Envelope::parse(after.as_bytes()).unwrap();
        assert_eq!(envelope.applicant.as_deref(), Some(id));
        envelope.applicant = None;
        assert_eq!(envelope, Envelope::parse(before.as_bytes()).unwrap());
        let value = serde_json::Value::from(id).to_string();
        let undone = after.replacen(&value, "null", 1);
        assert!(undone == before || after.replacen(&format!("\"applicant_id\": {value}, "), "", 1) == before);
    }

    #[test]
    fn has_only_that_value_changed() {
        let named = with_objects(r#"{"type": "tool", "id": "tool--1", "applicant_id": null}"#);
        let applicant = "\"f4e7f174-f31b-5af9-afc3-f69071e18d39\"";
        let null = named.replace(applicant, "null");
        assert_only_that_changed(&null, "88ec0c6a");
        assert_only_that_changed(&null.replace("\"applicant_id\": null, \"connector\"", "\"connector\""), "88ec0c6a");
        assert_only_that_changed(&null.replacen("applicant_id", "applicant\\u005fid", 1), "88\"ec\\");
        assert_only_that_changed(&format!(" \n{}", null.replacen("null", "\n null ", 1)), "88ec0c6a");
        assert_eq!(with_applicant(named.as_bytes(), "88ec0c6a"), named.as_bytes());
        for odd in [&b"{}"[..], b"[]", b"", b"\xff", b"{\"a\":"] {
            assert_eq!(with_applicant(odd, "88ec0c6a"), odd);
        }
    }
}

mod damaged_bytes {
    use super::*;

    fn rich() -> String {
        with_objects(
            r#"{"type": "report", "id": "report--1", "object_refs": ["tool--1"], "x_opencti_files": [{"data": "QUJD", "mime_type": "a/b"}],
            "extensions": {"e": {"opencti_operation": "delete"}}, "external_references": [{"url": "http:\/\/x\u00e9"}], "n": -1.5e3},
            {"type": "sighting", "id": "sighting--1", "where_sighted_refs": ["a"], "sighting_of_ref": "b"}"#,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4_000) })]

        #[test]
        fn cause_no_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
            let mut bytes = rich().into_bytes();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            match Envelope::parse(&bytes) {
                Ok(_) => prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok()),
                Err(reason) => prop_assert!(!reason.to_string().is_empty()),
            }
            with_applicant(&bytes, "a");
        }

        #[test]
        fn missing_at_the_end_are_reported(at in any::<prop::sample::Index>()) {
            let whole = rich();
            let at = at.index(whole.len() - 1) + 1;
            prop_assert_eq!(Envelope::parse(&whole.as_bytes()[..at]).unwrap_err().code(), Code::CutOff);
        }
    }
}
