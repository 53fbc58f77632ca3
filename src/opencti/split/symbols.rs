//! Ids as small numbers. Two ids are one where Python takes them for one key of a dictionary.

use std::borrow::Cow;
use std::collections::HashMap;

use super::span::Span;
use crate::json::{Text, Value, ValueKind};
use crate::opencti::{is_supported_id, python};

/// How an id is written.
#[derive(Debug)]
pub enum SymbolText {
    /// It is in the bundle.
    There(Span),
    /// A character of a text over which pycti walks as over a list.
    MadeUp(String),
    /// Half of a surrogate pair, likewise.
    HalfPair(u16),
}

/// Whether pycti's `is_id_supported` passes an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Yes,
    No,
    /// It is no text: `TypeError`.
    Raises,
}

/// What Python cannot use as a key: a list or an object.
#[derive(Debug)]
pub struct Unhashable;

/// All ids of a bundle, numbered as they come.
#[derive(Default)]
pub struct Symbols<'a> {
    numbers: HashMap<Cow<'a, [u8]>, u32>,
    pub texts: Vec<SymbolText>,
    pub support: Vec<Support>,
}

impl<'a> Symbols<'a> {
    /// The number of an id that is any value; `text` is the whole that contains it.
    pub fn of_value(&mut self, text: &str, value: Value<'a>) -> Result<u32, Unhashable> {
        // No text begins with this byte, so that none is taken for a number.
        let odd = |name: String| [&[0xff], name.as_bytes()].concat();
        let key = match value.kind() {
            ValueKind::Text(id) => return Ok(self.of_text(text, id)),
            ValueKind::List | ValueKind::Object => return Err(Unhashable),
            ValueKind::Null => odd("null".to_owned()),
            // True is 1, and 1.0 is 1.
            ValueKind::Bool(flag) => odd(u8::from(flag).to_string()),
            ValueKind::Number(digits) => odd(number(digits)),
        };
        Ok(self.number(key.into(), SymbolText::MadeUp(String::new()), Support::Raises))
    }

    /// The number of an id that is a text.
    pub fn of_text(&mut self, text: &str, id: Text<'a>) -> u32 {
        let key = id.decoded();
        let support = support(&key);
        self.number(key, SymbolText::There(Span::of(text, id.raw())), support)
    }

    /// The characters of a text, each as an id.
    pub fn of_characters(&mut self, id: Text<'a>) -> Vec<u32> {
        let decoded = id.decoded();
        let mut rest: &[u8] = &decoded;
        let mut out = Vec::new();
        while let Some(first) = rest.first() {
            let length = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            let (character, after) = rest.split_at(length.min(rest.len()));
            rest = after;
            let text = match (std::str::from_utf8(character), character) {
                (Ok(text), _) => SymbolText::MadeUp(text.to_owned()),
                (_, [_, b, c]) => SymbolText::HalfPair(0xd000 | u16::from(b & 0x3f) << 6 | u16::from(c & 0x3f)),
                _ => SymbolText::MadeUp(String::new()),
            };
            out.push(self.number(character.to_vec().into(), text, Support::Yes));
        }
        out
    }

    fn number(&mut self, key: Cow<'a, [u8]>, text: SymbolText, support: Support) -> u32 {
        let next = self.texts.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.texts.push(text);
            self.support.push(support);
        }
        number
    }
}

fn support(id: &[u8]) -> Support {
    // No type contains half of a surrogate pair, whatever takes its place here.
    if is_supported_id(&String::from_utf8_lossy(id)) { Support::Yes } else { Support::No }
}

/// One text for all numbers that Python takes for equal.
fn number(digits: &str) -> String {
    let float = python::float(digits);
    if python::is_float(digits) && float.fract() == 0.0 {
        let whole = format!("{float:.0}");
        return if whole == "-0" { "0".to_owned() } else { whole };
    }
    match digits {
        "-0" => "0".to_owned(),
        _ if python::is_float(digits) => format!("{float:e}"),
        _ => digits.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_one(a: &str, b: &str) -> bool {
        let mut symbols = Symbols::default();
        let text = format!("[{a},{b}]");
        let numbers: Vec<u32> =
            Value::read(&text).unwrap().elements().map(|value| symbols.of_value(&text, value).unwrap()).collect();
        numbers[0] == numbers[1]
    }

    #[test]
    fn ids_that_python_takes_for_one_key_are_one() {
        assert!(are_one(r#""a\u0062""#, r#""ab""#) && are_one("1", "1.0") && are_one("true", "1e0"));
        assert!(are_one("0", "-0.0") && are_one("false", "-0") && are_one("null", "null"));
        assert!(are_one("10000000000000000000000", "1e22") && are_one(r#""\ud83d\ude00""#, "\"😀\""));
        assert!(!are_one("1", "\"1\"") && !are_one("null", "\"null\"") && !are_one("0", "null"));
        assert!(!are_one("1.5", "15") && !are_one("9007199254740993", "9007199254740993.0"));
    }

    #[test]
    fn ids_that_are_lists_or_objects_are_refused() {
        let text = "[[],{}]";
        for value in Value::read(text).unwrap().elements() {
            assert!(Symbols::default().of_value(text, value).is_err());
        }
    }
}
