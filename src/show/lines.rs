//! An envelope in lines, for eyes: each value on a line of its own, with marks at the places that something is said of.

use std::collections::BTreeMap;

use crate::json::{JsonError, JsonEvent, Scanner, Text};
use crate::text::{harmless, size, visible_json};

/// Bytes of a text that are shown; a feed may put files of megabytes into one.
const TEXT_SHOWN: usize = 400;

/// Hands over each line of an envelope: its number from 1, the line, and what is said of the value that begins in it.
/// `marks` are by JSON pointer, as findings name places.
///
/// # Errors
/// The text is no JSON.
pub fn each(
    text: &str,
    marks: &BTreeMap<&str, &str>,
    mut take: impl FnMut(usize, String, Option<&str>),
) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(text);
    let mut writer =
        LineWriter { marks, path: String::new(), open: Vec::new(), number: 0, line: None, take: &mut take };
    loop {
        match scanner.next()? {
            JsonEvent::Key(key) => writer.key(key),
            JsonEvent::ObjectStart => writer.begin(true),
            JsonEvent::ArrayStart => writer.begin(false),
            JsonEvent::ObjectEnd => writer.end('}'),
            JsonEvent::ArrayEnd => writer.end(']'),
            JsonEvent::End => break,
            scalar => writer.scalar(scalar),
        }
        if writer.open.is_empty() {
            break;
        }
    }
    writer.put_line();
    Ok(())
}

/// An object or list that is open.
struct OpenLevel {
    is_object: bool,
    /// Bytes of the pointer to it.
    path: usize,
    /// Values in it so far.
    values: usize,
    /// What stands before its next value: the key.
    key: String,
}

struct LineWriter<'a, T> {
    marks: &'a BTreeMap<&'a str, &'a str>,
    path: String,
    open: Vec<OpenLevel>,
    number: usize,
    /// The line that is not handed over yet: a comma or a closing bracket may still belong to it.
    line: Option<(String, Option<&'a str>)>,
    take: T,
}

impl<'a, T: FnMut(usize, String, Option<&str>)> LineWriter<'a, T> {
    fn key(&mut self, key: Text<'_>) {
        let Some(level) = self.open.last_mut() else { return };
        self.path.truncate(level.path);
        self.path.push('/');
        self.path.push_str(&key.lossy().replace('~', "~0").replace('/', "~1"));
        level.key = format!("{}: ", shown(key));
    }

    /// The beginning of the line of a value, with the comma behind the one before it.
    fn begin_value(&mut self) -> String {
        let depth = self.open.len();
        let Some(level) = self.open.last_mut() else { return String::new() };
        if !level.is_object {
            self.path.truncate(level.path);
            self.path.push_str(&format!("/{}", level.values));
        }
        let key = std::mem::take(&mut level.key);
        let comma = if level.values > 0 { "," } else { "" };
        level.values += 1;
        if let Some((line, _)) = &mut self.line {
            line.push_str(comma);
        }
        format!("{}{key}", "  ".repeat(depth))
    }

    fn begin(&mut self, is_object: bool) {
        let line = self.begin_value() + if is_object { "{" } else { "[" };
        self.next_line(line);
        self.open.push(OpenLevel { is_object, path: self.path.len(), values: 0, key: String::new() });
    }

    fn end(&mut self, bracket: char) {
        let Some(level) = self.open.pop() else { return };
        self.path.truncate(level.path);
        match &mut self.line {
            Some((line, _)) if level.values == 0 => line.push(bracket),
            _ => {
                self.put_line();
                self.line = Some((format!("{}{bracket}", "  ".repeat(self.open.len())), None));
            }
        }
    }

    fn scalar(&mut self, value: JsonEvent<'_>) {
        let value = match value {
            JsonEvent::String(text) => shown(text),
            JsonEvent::Number(digits) if digits.len() > TEXT_SHOWN => cut(digits, ""),
            JsonEvent::Number(digits) => digits.to_owned(),
            JsonEvent::Bool(is) => is.to_string(),
            _ => "null".to_owned(),
        };
        let line = self.begin_value() + &value;
        self.next_line(line);
    }

    fn next_line(&mut self, line: String) {
        self.put_line();
        let mark = if self.marks.is_empty() { None } else { self.marks.get(&*harmless(&self.path)).copied() };
        self.line = Some((line, mark));
    }

    fn put_line(&mut self) {
        if let Some((line, mark)) = self.line.take() {
            self.number += 1;
            (self.take)(self.number, line, mark);
        }
    }
}

/// A text as JSON writes it, with everything escaped that nobody sees or that acts on a terminal.
fn shown(text: Text<'_>) -> String {
    match text.raw().len() > TEXT_SHOWN {
        true => cut(text.raw(), "\""),
        false => format!("\"{}\"", visible_json(&text.raw().replace('\n', " "))),
    }
}

fn cut(raw: &str, quote: &str) -> String {
    let end = (0..=TEXT_SHOWN).rev().find(|at| raw.is_char_boundary(*at)).unwrap_or(0);
    format!("{quote}{}…{quote} ({})", visible_json(&raw[..end]), size(raw.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, marks: &[(&str, &str)]) -> Vec<String> {
        let mut lines = Vec::new();
        let marks = marks.iter().copied().collect();
        let put = |number, line, mark: Option<&str>| {
            lines.push(format!("{number} {line}{}", mark.map_or_else(String::new, |mark| format!(" <- {mark}"))));
        };
        each(text, &marks, put).unwrap();
        lines
    }

    #[test]
    fn envelope_in_lines_is_the_same_json_value() {
        let text = r#" {"a":[1,{"b":[],"c":{}},null , true],"d\/":"x\ny","e":-1.5e3} "#;
        let shown = lines(text, &[]);
        let joined: String = shown.iter().map(|line| line.split_once(' ').unwrap().1).collect();
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&joined), value(text));
        assert_eq!(shown[0], "1 {");
        assert_eq!(shown[3], "4     {");
        assert_eq!(shown[4], "5       \"b\": [],");
    }

    #[test]
    fn mark_stands_at_the_line_where_its_value_begins() {
        let text = r#"{"bundle":{"objects":[{"id":"a"},{"x/y":{"op":"delete"}}]}}"#;
        let marked = lines(text, &[("/bundle/objects/1/x~1y/op", "command"), ("/bundle/objects/0", "object")]);
        let with: Vec<&String> = marked.iter().filter(|line| line.contains("<-")).collect();
        assert_eq!(with, ["4       { <- object", "9           \"op\": \"delete\" <- command"]);
    }

    #[test]
    fn texts_are_harmless_and_long_ones_are_cut() {
        let text = format!("{{\"a\":\"\u{202e}\u{9b}31m\",\"b\":\"{}\"}}", "é".repeat(1000));
        let shown = lines(&text, &[]);
        assert_eq!(shown[1], "2   \"a\": \"\\u202e\\u009b31m\",");
        assert!(shown[2].ends_with("é…\" (2 KiB)"), "{}", shown[2]);
    }
}
