use super::*;
use crate::envelope::Envelope;

const RED: &str = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed";
const GREEN: &str = "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb";

fn envelope(kind: &str, objects: &str) -> Envelope {
    let text = format!(
        r#"{{"bundle_type":"DIRECTORY_BUNDLE","applicant_id":null,"connector":{{"id":"feed-1","name":"Feed","type":"{kind}"}},
        "bundle":{{"objects":[{objects}]}}}}"#
    );
    Envelope::parse(text.as_bytes()).unwrap()
}

fn tool(members: &str) -> Envelope {
    envelope("EXTERNAL_IMPORT", &format!(r#"{{"type":"tool","id":"tool--1"{members}}}"#))
}

fn held(policy: &Policy, envelope: &Envelope) -> Vec<(&'static str, String)> {
    match policy.judge(envelope) {
        Verdict::Pass => Vec::new(),
        Verdict::Hold(objections) => objections.into_iter().map(|o| (o.code.word(), o.what)).collect(),
        Verdict::Quarantine(objections) => panic!("quarantined: {objections:?}"),
    }
}

mod an_operator_who_wrote_no_policy {
    use super::*;

    #[test]
    fn has_the_defaults() {
        assert_eq!(Policy::from_toml("").unwrap(), Policy::default());
        assert_eq!(Policy::default().judge(&tool(&format!(r#","object_marking_refs":["{RED}","x"]"#))), Verdict::Pass);
    }

    #[test]
    fn holds_other_connector_types_and_no_more() {
        let held = held(&Policy::default(), &envelope("INTERNAL_ENRICHMENT", ""));
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].0, "connector-type");
        assert!(held[0].1.contains("INTERNAL_ENRICHMENT") && held[0].1.contains("Feed"));
    }

    #[test]
    fn has_commands_quarantined_before_anything_else_is_said() {
        let object = r#"{"type":"tool","id":"tool--1","opencti_operation":"delete"}"#;
        let verdict = Policy::default().judge(&envelope("STREAM", object));
        let Verdict::Quarantine(objections) = verdict else { panic!("{verdict:?}") };
        let codes: Vec<_> = objections.iter().map(|o| o.code.word()).collect();
        assert_eq!(codes, ["command", "connector-type"]);
        assert_eq!(objections[0].place, "/bundle/objects/0/opencti_operation");
        assert_eq!(objections[0].what, "objects[0] tool--1 carries opencti_operation \"delete\"");
    }

    #[test]
    fn leaves_what_cannot_be_split_to_the_sink() {
        assert_eq!(Policy::default().judge(&envelope("EXTERNAL_IMPORT", "7")), Verdict::Pass);
    }
}

mod an_operator_who_limits_the_tlp {
    use super::*;

    fn limit(max: &str) -> Policy {
        Policy::from_toml(&format!("max_tlp = \"{max}\"")).unwrap()
    }

    #[test]
    fn holds_what_is_marked_higher_with_the_marking_named() {
        let red = tool(&format!(r#","object_marking_refs":["{RED}"]"#));
        let held = held(&limit("amber+strict"), &red);
        assert_eq!(held[0].0, "tlp");
        assert!(held[0].1.contains("TLP:RED") && held[0].1.contains(RED));
        assert_eq!(limit("red").judge(&red), Verdict::Pass);
        let green = tool(&format!(r#","object_marking_refs":["{GREEN}"]"#));
        assert_eq!(limit("green").judge(&green), Verdict::Pass);
        assert_ne!(limit("clear").judge(&green), Verdict::Pass);
    }

    #[test]
    fn amber_strict_under_amber_is_held_by_either_of_its_ids() {
        for id in ["939a9414-2ddd-4d32-a0cd-375ea402b003", "826578e1-40ad-459f-bc73-ede076f81f37"] {
            let strict = tool(&format!(r#","object_marking_refs":["marking-definition--{id}"]"#));
            let held = held(&limit("amber"), &strict);
            assert_eq!(held[0].0, "tlp");
            assert!(held[0].1.starts_with("1 object is marked TLP:AMBER+STRICT"), "{}", held[0].1);
            assert_eq!(limit("amber+strict").judge(&strict), Verdict::Pass);
        }
    }

    #[test]
    fn other_markings_and_the_unmarked_pass() {
        assert_eq!(limit("clear").judge(&tool(r#","object_marking_refs":["marking-definition--9"]"#)), Verdict::Pass);
        assert_eq!(limit("clear").judge(&tool("")), Verdict::Pass);
    }

    #[test]
    fn highest_level_is_named_first() {
        let both = tool(&format!(r#","object_marking_refs":["{GREEN}","{RED}"]"#));
        let Verdict::Hold(objections) = limit("clear").judge(&both) else { panic!() };
        let all = Objection::of_all(objections).unwrap();
        assert_eq!(all.what, format!("1 object is marked TLP:RED, by {RED} (and 1 more of this kind)"));
    }

    /// pycti makes the platform's TLP:RED of it, whatever its id.
    #[test]
    fn level_that_the_bundle_defines_under_another_id_is_held() {
        for definition in [
            r#""definition_type":"tlp","definition":{"tlp":"red"}"#,
            r#""definition_type":"tlp","name":"TLP:RED""#,
            r#""x_opencti_definition_type":"TLP","x_opencti_definition":"TLP:RED""#,
            r#""definition_type":"tlp","definition":{"tlp":"violet"}"#,
        ] {
            for id in ["marking-definition--9", GREEN] {
                let objects = format!(
                    r#"{{"type":"marking-definition","id":"{id}",{definition}}},{{"type":"tool","id":"tool--1","object_marking_refs":["{id}"]}}"#
                );
                let found = envelope("EXTERNAL_IMPORT", &objects);
                let held = held(&limit("amber"), &found);
                assert_eq!(held[0].0, "tlp", "{objects}");
                assert_eq!(limit("red").judge(&found), Verdict::Pass, "{objects}");
            }
        }
        let unused = r#"{"type":"marking-definition","id":"marking-definition--9","definition_type":"tlp","definition":{"tlp":"red"}}"#;
        assert_eq!(limit("amber").judge(&envelope("EXTERNAL_IMPORT", unused)), Verdict::Pass);
    }

    #[test]
    fn is_not_evaded_by_granular_markings_or_a_text_for_a_list_or_many_markings() {
        for members in [
            format!(r#","granular_markings":[{{"marking_ref":"{RED}","selectors":["name"]}}]"#),
            format!(r#","object_marking_refs":"{RED}""#),
            format!(r#","x_opencti_files":[{{"name":"a","object_marking_refs":["{RED}"]}}]"#),
            format!(r#","object_marking_refs":[{},"{RED}"]"#, vec![format!("{GREEN:?}"); 400].join(",")),
            format!(r#","object_marking_refs":["{}"]"#, "x".repeat(5_000)),
        ] {
            assert_ne!(limit("amber").judge(&tool(&members)), Verdict::Pass, "{members}");
        }
        let other: Vec<String> = (0..300).map(|n| format!("\"{n}\"")).collect();
        let many = |marking: &str| tool(&format!(r#","object_marking_refs":[{},"{marking}"]"#, other.join(",")));
        assert_eq!(held(&limit("amber"), &many(RED)).last().unwrap().0, "tlp");
        assert_eq!(limit("amber").judge(&many(GREEN)), Verdict::Pass);
        let all = Policy::from_toml("max_tlp = \"amber\"\nother_markings = \"hold\"").unwrap();
        assert_eq!(held(&all, &many(GREEN)).len(), 257);
    }

    #[test]
    fn may_write_the_level_as_people_do() {
        for (written, tlp) in [("white", Tlp::Clear), ("TLP:RED", Tlp::Red), ("Amber+Strict", Tlp::AmberStrict)] {
            assert_eq!(limit(written).max_tlp, Some(tlp));
        }
        assert!(Tlp::Clear < Tlp::Green && Tlp::Amber < Tlp::AmberStrict && Tlp::AmberStrict < Tlp::Red);
    }
}

mod an_operator_who_judges_other_markings {
    use super::*;

    const STATEMENT: &str = "marking-definition--fa42a846-8d90-4e51-bc29-71d5b4802168";

    fn policy(others: &str) -> Policy {
        Policy::from_toml(&format!("other_markings = {others}")).unwrap()
    }

    #[test]
    fn statement_is_held_or_passes_as_the_policy_says() {
        let marked = tool(&format!(r#","object_marking_refs":["{STATEMENT}","{RED}"]"#));
        assert_eq!(Policy::default().judge(&marked), Verdict::Pass);
        assert_eq!(policy("\"pass\"").judge(&marked), Verdict::Pass);
        let held = held(&policy("\"hold\""), &marked);
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].0, "marking");
        assert_eq!(held[0].1, format!("1 object bears the marking {STATEMENT}, which is no level of the TLP"));
    }

    #[test]
    fn listed_marking_passes_and_others_are_held() {
        let marked = tool(&format!(r#","object_marking_refs":["{STATEMENT}"]"#));
        assert_eq!(policy(&format!("[\"{}\"]", STATEMENT.to_uppercase())).judge(&marked), Verdict::Pass);
        assert_eq!(held(&policy("[\"marking-definition--1\"]"), &marked)[0].0, "marking");
        assert_eq!(held(&policy("[]"), &marked)[0].0, "marking");
        let many: Vec<String> = (0..300).map(|n| format!("\"{n}\"")).collect();
        let listed = policy(&format!("[{}]", many.join(",")));
        let held = held(&listed, &tool(&format!(r#","object_marking_refs":[{}]"#, many.join(","))));
        assert_eq!(held[0].1, "44 objects bear markings that are too many or too long to list");
    }
}

mod an_operator_whom_a_bundle_would_go_around {
    use super::*;

    const CASES: [(&str, &str, &str); 3] = [
        ("sharing", "sharing", r#"{"type":"tool","id":"tool--1","granted_refs":["identity--1"]}"#),
        ("vocabularies", "vocabulary", r#"{"type":"vocabulary","id":"vocabulary--1","name":"a"}"#),
        (
            "nested_files",
            "nested-file",
            r#"{"type":"report","id":"report--1","x_opencti_files":[{"name":"a.json","data":"e30="}]}"#,
        ),
    ];

    #[test]
    fn each_way_is_held_by_default_and_passes_by_its_own_key() {
        for (key, code, object) in CASES {
            let found = envelope("EXTERNAL_IMPORT", object);
            let held = held(&Policy::default(), &found);
            assert_eq!((held.len(), held[0].0), (1, code), "{object}");
            for (other, ..) in CASES {
                let policy = Policy::from_toml(&format!("{other} = \"pass\"")).unwrap();
                assert_eq!(policy.judge(&found) == Verdict::Pass, other == key, "{other} {object}");
            }
        }
    }
}

mod a_person_who_decides {
    use super::*;

    #[test]
    fn is_shown_every_operation_and_internal_type_worst_first() {
        let objects = r#"{"type":"tool","id":"tool--1","opencti_operation":"enrichment"},
            {"type":"tool","id":"tool--2","opencti_operation":"enrichment"},
            {"type":"user","id":"user--3"},
            {"type":"tool","id":"tool--4","opencti_operation":"delete_force"},
            {"type":"role","id":"role--5","opencti_operation":"add_groups"}"#;
        let verdict = Policy::default().judge(&envelope("STREAM", objects));
        let Verdict::Quarantine(objections) = verdict else { panic!("{verdict:?}") };
        let all = Objection::of_all(objections).unwrap();
        let what = "objects[3] tool--4 carries opencti_operation \"delete_force\"; also: \
            objects[4] role--5 carries opencti_operation \"add_groups\"; \
            objects[0] tool--1 carries opencti_operation \"enrichment\" (2 times); \
            objects[2] user--3 is of the internal type user; \
            objects[4] role--5 is of the internal type role; \
            the connector Feed is of the type STREAM";
        assert_eq!((all.code.word(), all.what.as_str()), ("command", what));
        assert_eq!(all.place, "/bundle/objects/3/opencti_operation");
    }
}

mod an_operator_who_limits_files {
    use super::*;

    const FILE: &str = r#","x_opencti_files":[{"name":"a","mime_type":"application/PDF; v=1","data":"QUJDREVGR0g="}]"#;

    #[test]
    fn holds_larger_ones_and_says_where() {
        let policy = Policy::from_toml("max_file = 7").unwrap();
        let Verdict::Hold(objections) = policy.judge(&tool(FILE)) else { panic!() };
        assert_eq!(objections[0].code, Code::FileTooLarge);
        assert_eq!(objections[0].place, "/bundle/objects/0/x_opencti_files/0/data");
        assert_eq!(Policy::from_toml("max_file = \"8 B\"").unwrap().judge(&tool(FILE)), Verdict::Pass);
    }

    #[test]
    fn holds_other_types_even_behind_many_allowed_ones() {
        let policy = Policy::from_toml("mime_types = [\"application/pdf\"]").unwrap();
        assert_eq!(policy.judge(&tool(FILE)), Verdict::Pass);
        let good = r#"{"mime_type":"application/pdf","data":"QUJD"}"#;
        let bad = r#"{"mime_type":"text/html","data":"QQ=="}"#;
        let many = tool(&format!(r#","x_opencti_files":[{},{bad}]"#, vec![good; 60].join(",")));
        assert_eq!(held(&policy, &many)[0].0, "file-type");
        let untyped = tool(r#","x_opencti_files":[{"data":"QUJD"}]"#);
        assert!(held(&policy, &untyped)[0].1.contains("application/octet-stream"));
    }
}

mod an_operator_who_lists_connectors {
    use super::*;

    #[test]
    fn passes_pauses_and_holds_by_id() {
        let policy = |listed: &str| Policy::from_toml(&format!("[connectors]\n{listed}")).unwrap();
        assert_eq!(policy("feed-1 = \"pass\"").judge(&tool("")), Verdict::Pass);
        assert_eq!(held(&policy("feed-1 = \"pause\""), &tool(""))[0].0, "connector-paused");
        assert_eq!(held(&policy("other = \"pass\""), &tool(""))[0].0, "connector-not-listed");
        assert_eq!(held(&policy(""), &tool(""))[0].0, "connector-not-listed");
    }
}

mod an_operator_who_mistypes {
    use super::*;

    #[test]
    fn is_told_the_line() {
        for (toml, line) in [
            ("max_tlp = \"red\"\nmax_tpl = \"red\"\n", "line 2: "),
            ("max_tlp = \"purple\"", "line 1: "),
            ("\n\nmax_file = \"many\"", "line 3: "),
            ("max_file = true", "line 1: "),
            ("[connectors]\n\"a\" = \"maybe\"", "line 2: "),
            ("mime_types = \"a\"", "line 1: "),
            ("max_tlp = ", "line 1: "),
            ("other_markings = \"maybe\"", "line 1: "),
            ("sharing = true", "line 1: "),
            ("\nnested_files = \"quarantine\"", "line 2: "),
        ] {
            let error = Policy::from_toml(toml).unwrap_err();
            assert!(error.starts_with(line), "{toml:?}: {error}");
        }
        assert!(Policy::from_toml("max_tpl = \"red\"").unwrap_err().contains("max_tpl"));
    }
}
