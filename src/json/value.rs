//! A JSON value as it is written: it keeps the order of keys and the text of numbers, and nothing that a
//! key says can make it anything else.

use super::{JsonEvent, Scanner, Text};

/// The text of one JSON value, without white space around it, taken from a text that a [`Scanner`] has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a>(&'a str);

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(&'a str),
    /// A string.
    Text(Text<'a>),
    /// A list; [`Value::elements`] has its values.
    List,
    /// An object; [`Value::members`] has its keys and values.
    Object,
}

impl<'a> Value<'a> {
    /// `null`
    pub const NULL: Value<'static> = Value("null");

    /// The value whose whole text this is, as a scanner has passed it.
    pub(crate) const fn of(text: &'a str) -> Self {
        Self(text)
    }

    /// Reads a text that is one JSON value, with white space around it.
    ///
    /// # Errors
    /// As [`Scanner::next`].
    pub fn read(text: &'a str) -> Result<Self, super::JsonError> {
        let mut scanner = Scanner::new(text);
        let first = scanner.next()?;
        let value = scanner.value_of(first)?;
        scanner.next().map(|_| value)
    }

    /// Its text.
    pub fn text(self) -> &'a str {
        self.0
    }

    /// What it is.
    pub fn kind(self) -> ValueKind<'a> {
        match Scanner::new(self.0).next() {
            Ok(JsonEvent::String(text)) => ValueKind::Text(text),
            Ok(JsonEvent::Number(digits)) => ValueKind::Number(digits),
            Ok(JsonEvent::Bool(flag)) => ValueKind::Bool(flag),
            Ok(JsonEvent::ArrayStart) => ValueKind::List,
            Ok(JsonEvent::ObjectStart) => ValueKind::Object,
            _ => ValueKind::Null,
        }
    }

    /// The values of a list, in order; none for any other value.
    pub fn elements(self) -> impl Iterator<Item = Value<'a>> {
        let mut scanner = Scanner::new(self.0);
        let is_list = scanner.next() == Ok(JsonEvent::ArrayStart);
        std::iter::from_fn(move || match scanner.next() {
            Ok(JsonEvent::ArrayEnd | JsonEvent::End) | Err(_) => None,
            Ok(first) if is_list => scanner.value_of(first).ok(),
            Ok(_) => None,
        })
    }

    /// The keys and values of an object, in order; none for any other value. Keys may repeat.
    pub fn members(self) -> impl Iterator<Item = (Text<'a>, Value<'a>)> {
        let mut scanner = Scanner::new(self.0);
        let _ = scanner.next();
        std::iter::from_fn(move || {
            let Ok(JsonEvent::Key(key)) = scanner.next() else { return None };
            let first = scanner.next().ok()?;
            Some((key, scanner.value_of(first).ok()?))
        })
    }

    /// The last member with this key.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.members().filter(|(name, _)| name.decoded().as_ref() == key.as_bytes()).last().map(|(_, value)| value)
    }

    /// Whether Python takes it for true: not null, false, zero or empty.
    pub fn is_true(self) -> bool {
        match self.kind() {
            ValueKind::Null => false,
            ValueKind::Bool(flag) => flag,
            ValueKind::Number(digits) => digits.parse::<f64>().is_ok_and(|number| number != 0.0),
            ValueKind::Text(text) => !text.raw().is_empty(),
            ValueKind::List => self.elements().next().is_some(),
            ValueKind::Object => self.members().next().is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> Value<'_> {
        Value::read(text).unwrap()
    }

    #[test]
    fn value_is_its_text_even_with_keys_of_serde_json() {
        let number = value(r#" {"$serde_json::private::Number":"7"} "#);
        assert_eq!((number.kind(), number.text()), (ValueKind::Object, r#"{"$serde_json::private::Number":"7"}"#));
        let raw = value(r#"{"$serde_json::private::RawValue":"{\"a\": 7}"}"#);
        assert!(matches!(raw.members().next().unwrap().1.kind(), ValueKind::Text(_)));
        assert_eq!(value("1E5").kind(), ValueKind::Number("1E5"));
    }

    #[test]
    fn members_keep_their_order_and_duplicates() {
        let keys: Vec<_> =
            value(r#"{"b":1,"a":{"c":[2]},"b":3}"#).members().map(|(k, v)| (k.raw().to_owned(), v.text())).collect();
        assert_eq!(keys, [("b".to_owned(), "1"), ("a".to_owned(), r#"{"c":[2]}"#), ("b".to_owned(), "3")]);
        assert_eq!(value(r#"{"b":1,"\u0062":3}"#).get("b").unwrap().text(), "3");
        assert!(value("[1]").members().next().is_none() && value("{\"a\":1}").elements().next().is_none());
    }

    #[test]
    fn value_is_true_where_python_takes_it_for_true() {
        let truths = |texts: &[&str]| texts.iter().map(|text| value(text).is_true()).collect::<Vec<_>>();
        assert_eq!(truths(&["null", "false", "0", "-0.0", "0e9", "1e-400", r#""""#, "[]", "{}"]), [false; 9]);
        assert_eq!(truths(&["true", "1", "1e400", r#""0""#, "[null]", r#"{"":0}"#]), [true; 6]);
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?",
            "\"([a-z ]|\\\\n|\\\\u00e9|\\\\ud800|é){0,6}\"",
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let key = "\"[a-c]{0,2}\"";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(|v| format!("[{}]", v.join(" , "))),
                prop::collection::vec((key, inner), 0..5).prop_map(|members| {
                    let members: Vec<String> = members.iter().map(|(k, v)| format!("{k} : {v}")).collect();
                    format!("{{ {} }}", members.join(","))
                }),
            ]
        })
    }

    fn again(value: Value<'_>) -> String {
        match value.kind() {
            ValueKind::List => format!("[{}]", value.elements().map(again).collect::<Vec<_>>().join(" , ")),
            ValueKind::Object => {
                let members: Vec<_> = value.members().map(|(k, v)| format!("\"{}\" : {}", k.raw(), again(v))).collect();
                format!("{{ {} }}", members.join(","))
            }
            _ => value.text().to_owned(),
        }
    }

    proptest! {
        #[test]
        fn value_is_rebuilt_from_its_parts(text in json()) {
            prop_assert_eq!(again(value(&text)), text);
        }
    }
}
