use proptest::prelude::*;

use super::*;

fn events(text: &str) -> Result<Vec<JsonEvent<'_>>, JsonError> {
    let mut scanner = Scanner::new(text);
    let mut events = Vec::new();
    loop {
        match scanner.next()? {
            JsonEvent::End => return Ok(events),
            event => events.push(event),
        }
    }
}

fn error(text: &str) -> JsonError {
    events(text).expect_err(text)
}

/// Builds serde_json's value from our events, so that the two can be compared whole.
fn value(text: &str) -> Result<serde_json::Value, JsonError> {
    use serde_json::Value;
    enum Open {
        Object(serde_json::Map<String, Value>, String),
        Array(Vec<Value>),
    }
    let (mut scanner, mut open, mut done) = (Scanner::new(text), Vec::new(), Value::Null);
    loop {
        let complete = match scanner.next()? {
            JsonEvent::End => return Ok(done),
            JsonEvent::Key(key) => {
                if let Some(Open::Object(_, current)) = open.last_mut() {
                    *current = key.text().unwrap().into_owned();
                }
                continue;
            }
            JsonEvent::ObjectStart => {
                open.push(Open::Object(serde_json::Map::new(), String::new()));
                continue;
            }
            JsonEvent::ArrayStart => {
                open.push(Open::Array(Vec::new()));
                continue;
            }
            JsonEvent::ObjectEnd | JsonEvent::ArrayEnd => match open.pop().unwrap() {
                Open::Object(members, _) => Value::Object(members),
                Open::Array(elements) => Value::Array(elements),
            },
            JsonEvent::String(text) => Value::from(text.text().unwrap()),
            JsonEvent::Number(digits) => serde_json::from_str(digits).unwrap(),
            JsonEvent::Bool(flag) => Value::Bool(flag),
            JsonEvent::Null => Value::Null,
        };
        match open.last_mut() {
            Some(Open::Object(members, key)) => {
                members.insert(std::mem::take(key), complete);
            }
            Some(Open::Array(elements)) => elements.push(complete),
            None => done = complete,
        }
    }
}

mod good_json {
    use super::*;

    #[test]
    fn events_are_read_in_order() {
        let text = " {\"a\" : [1, -0.5e+3,true ,false,null],\"b\":{}, \"c\":\"x\\ny\"}\n";
        let mut expected = vec![JsonEvent::ObjectStart, JsonEvent::Key(Text::unescaped("a")), JsonEvent::ArrayStart];
        expected.extend([
            JsonEvent::Number("1"),
            JsonEvent::Number("-0.5e+3"),
            JsonEvent::Bool(true),
            JsonEvent::Bool(false),
        ]);
        expected.extend([JsonEvent::Null, JsonEvent::ArrayEnd, JsonEvent::Key(Text::unescaped("b"))]);
        expected.extend([JsonEvent::ObjectStart, JsonEvent::ObjectEnd, JsonEvent::Key(Text::unescaped("c"))]);
        expected.extend([JsonEvent::String(Text { raw: "x\\ny", escaped: true }), JsonEvent::ObjectEnd]);
        assert_eq!(events(text).unwrap(), expected);
    }

    #[test]
    fn escapes_in_texts_are_decoded() {
        for (written, meant) in [
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t".as_bytes()),
            (r"\u00e9\u20AC", "é€".as_bytes()),
            (r"\ud83d\ude00", "😀".as_bytes()),
            (r"\ud83dx", b"\xed\xa0\xbdx"),
            (r"\ude00\ud83d", b"\xed\xb8\x80\xed\xa0\xbd"),
            (r"\ud83d\ud83d\ude00", b"\xed\xa0\xbd\xf0\x9f\x98\x80"),
            (r"\ud83d\n", b"\xed\xa0\xbd\n"),
        ] {
            let text = format!("\"{written}\"");
            let JsonEvent::String(found) = Scanner::new(&text).next().unwrap() else { panic!() };
            assert_eq!(found.decoded().as_ref(), meant, "{written}");
            assert_eq!(found.text().is_some(), std::str::from_utf8(meant).is_ok());
            assert_eq!(found.plain(), None);
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        let long = "1".repeat(10_000);
        for number in ["0", "-0", "1e400", "1.10", "1E5", "12345678901234567890", &long] {
            assert_eq!(events(number).unwrap(), [JsonEvent::Number(number)]);
        }
    }

    #[test]
    fn value_can_be_skipped() {
        let mut scanner = Scanner::new(r#"{"a":[[{}],{"b":[]}],"c":1}"#);
        for _ in 0..2 {
            scanner.next().unwrap();
        }
        let first = scanner.next().unwrap();
        scanner.skip(first).unwrap();
        assert_eq!(scanner.next().unwrap(), JsonEvent::Key(Text::unescaped("c")));
        assert_eq!(scanner.offset(), r#"{"a":[[{}],{"b":[]}],"c":"#.len());
    }
}

mod bad_json {
    use super::*;

    #[test]
    fn error_names_fault_and_offset() {
        for (text, what, offset) in [
            ("{\"a\":NaN}", "NaN is not JSON", 5),
            ("[Infinity]", "Infinity is not JSON", 1),
            ("[-Infinity]", "-Infinity is not JSON", 2),
            ("[1,]", "comma is too many", 3),
            ("{\"a\":1,}", "a key in double quotes", 7),
            ("[1 2]", "a comma or ]", 3),
            ("{\"a\" 1}", "a colon", 5),
            ("{'a':1}", "a key in double quotes", 1),
            ("['a']", "double quotes", 1),
            ("[1}", "a comma or ]", 2),
            ("// x\n1", "comments", 0),
            ("1 2", "follows the end", 2),
            ("\u{feff}1", "a value should", 0),
            ("[\"a\tb\"]", "a control character", 3),
            ("\"\\x\"", "no escape", 2),
            ("\"\\u12g4\"", "four hex digits", 5),
            ("01", "a zero too many", 1),
            ("[-]", "a digit", 2),
            ("[1.]", "a digit", 3),
            ("[1e+]", "a digit", 4),
            ("[+1]", "a value should", 1),
            ("[.5]", "a value should", 1),
            ("[truE]", "no JSON value", 1),
        ] {
            let error = error(text);
            assert!(error.what.contains(what), "{text:?}: {error}");
            assert_eq!((error.fault, error.offset), (JsonFault::Syntax, offset), "{text:?}");
        }
    }

    #[test]
    fn cut_text_is_reported_as_cut_at_any_place() {
        let whole = r#"{"a": [1, -2.5e3, true, null, "x\u00e9\n"], "b": {"c": false}}"#;
        for length in 0..whole.len() {
            assert_eq!(error(&whole[..length]).fault, JsonFault::CutOff, "{}", &whole[..length]);
        }
        assert!(events(whole).is_ok());
    }

    #[test]
    fn error_has_line_and_column() {
        let text = "{\"a\": 1,\n \"é\": NaN}";
        assert_eq!(error(text).place(text.as_bytes()), (2, 7));
        assert_eq!(error("x").place(b"x"), (1, 1));
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(events(&deep(limits::DEPTH_MAX)).is_ok());
        let error = error(&deep(100_000));
        assert_eq!((error.fault, error.offset), (JsonFault::TooDeep, limits::DEPTH_MAX));
        assert!(error.to_string().contains("950"));
    }

    #[test]
    fn fault_is_found_at_any_offset_of_eight_bytes() {
        for length in 0..40 {
            for bad in ['\0', '\x1f', '\n', '"', '\\'] {
                let text = format!("\"{}{bad}{}", "é".repeat(length % 3) + &"x".repeat(length), "~\u{7f} ".repeat(5));
                assert!(events(&text).is_err(), "{text:?}");
            }
            let text = format!("\"{}\u{7f}é!#[]\"", "x".repeat(length));
            assert_eq!(events(&text).unwrap(), [JsonEvent::String(Text::unescaped(&text[1..text.len() - 1]))]);
        }
    }
}

mod beside_serde_json {
    use super::*;

    /// Texts that are made of JSON's own pieces, mostly wrong ones.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"b\\n\"",
            "\"",
            "\\",
            "1",
            "-",
            "0",
            ".5",
            "e3",
            "true",
            "null",
            " ",
            "\n",
            "false",
            "é",
            "\\u00e9",
            "\\ud83d\\ude00",
            "NaN",
            "{\"a\":",
            "[1,",
            "\t",
            "\u{1}",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            any::<String>().prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// What RFC 8259 allows and serde_json's value cannot hold.
    fn is_known_difference(error: &serde_json::Error) -> bool {
        let text = error.to_string();
        ["number out of range", "lone leading surrogate", "unexpected end of hex escape"]
            .iter()
            .any(|known| text.contains(known))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn text_is_accepted_or_refused_as_serde_json_does(text in pieces()) {
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(theirs) => prop_assert_eq!(value(&text), Ok(theirs)),
                Err(error) if is_known_difference(&error) => {}
                Err(error) => prop_assert!(events(&text).is_err(), "{}: {}", text, error),
            }
        }

        #[test]
        fn value_is_read_as_serde_json_does(json in json()) {
            for text in [json.to_string(), serde_json::to_string_pretty(&json).unwrap()] {
                let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(value(&text).unwrap(), theirs);
            }
        }

        #[test]
        fn changed_byte_is_judged_as_serde_json_does(json in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = json.to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(()) };
            match serde_json::from_str::<serde_json::Value>(text) {
                Ok(theirs) => prop_assert_eq!(value(text), Ok(theirs)),
                Err(error) if is_known_difference(&error) => {}
                Err(error) => prop_assert!(events(text).is_err(), "{}: {}", text, error),
            }
        }
    }
}
