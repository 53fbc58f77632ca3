//! JSON as Python's `json.dumps` writes what `json.loads` has read: the form of all that pycti sends.
//!
//! ASCII alone, `", "` and `": "` between, floats as `repr` has them. Genuine envelopes are of this form already, so
//! nearly every string and number is copied unchanged.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::ops::Range;

use crate::json::{JsonError, JsonEvent, Scanner, Text, Value};
use crate::limits::{DUPLICATE_KEYS_MAX, OPEN_KEYS_MAX};

/// Digits of the longest integer that Python reads (`sys.get_int_max_str_digits`).
pub const DIGITS_MAX: usize = 4300;

/// Why Python would not read a number, or would read another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OddNumber {
    /// An integer of more than [`DIGITS_MAX`] digits: `ValueError`.
    TooLong,
    /// A float beyond what a double holds: Python reads `Infinity`, and writes it, which is no JSON.
    Infinite,
}

/// Whether Python reads this number as it is.
///
/// # Errors
/// [`OddNumber`]
pub fn check_number(digits: &str) -> Result<(), OddNumber> {
    if is_float(digits) {
        let short = digits.len() < 300 && !digits.contains(['e', 'E']);
        return if short || float(digits).is_finite() { Ok(()) } else { Err(OddNumber::Infinite) };
    }
    let count = digits.strip_prefix('-').unwrap_or(digits).len();
    if count > DIGITS_MAX { Err(OddNumber::TooLong) } else { Ok(()) }
}

/// Whether Python makes a float of a number, and not an integer.
pub fn is_float(digits: &str) -> bool {
    digits.contains(['.', 'e', 'E'])
}

/// The double that a number is nearest to.
pub fn float(digits: &str) -> f64 {
    digits.parse().unwrap_or(f64::NAN)
}

/// Writes a value. Objects must have no key twice ([`without_duplicate_keys`]).
pub fn write_value(out: &mut String, value: Value<'_>) {
    // The text was read before; a fault can only be the end.
    let _ = write_events(out, &mut Scanner::new(value.text()));
}

fn write_events(out: &mut String, scanner: &mut Scanner<'_>) -> Result<(), JsonError> {
    // There is a comma before all but the first value in a list, and all but the first key of an object.
    let mut first = true;
    let mut after_key = true;
    loop {
        let event = scanner.next()?;
        let ends = matches!(event, JsonEvent::ObjectEnd | JsonEvent::ArrayEnd | JsonEvent::End);
        if !(first || after_key || ends) {
            out.push_str(", ");
        }
        (first, after_key) = (false, false);
        match event {
            JsonEvent::ObjectStart | JsonEvent::ArrayStart => {
                out.push(if event == JsonEvent::ObjectStart { '{' } else { '[' });
                first = true;
            }
            JsonEvent::ObjectEnd => out.push('}'),
            JsonEvent::ArrayEnd => out.push(']'),
            JsonEvent::Key(key) => {
                write_text(out, key);
                out.push_str(": ");
                after_key = true;
            }
            JsonEvent::String(text) => write_text(out, text),
            JsonEvent::Number(digits) => write_number(out, digits),
            JsonEvent::Bool(flag) => out.push_str(if flag { "true" } else { "false" }),
            JsonEvent::Null => out.push_str("null"),
            JsonEvent::End => return Ok(()),
        }
        if scanner.depth() == 0 {
            return Ok(());
        }
    }
}

/// Writes a string of JSON.
pub fn write_text(out: &mut String, text: Text<'_>) {
    write_raw(out, text.raw(), text.has_escapes());
}

/// Writes a string that is no JSON yet.
pub fn write_str(out: &mut String, text: &str) {
    out.push('"');
    text.chars().for_each(|c| write_char(out, c));
    out.push('"');
}

fn write_raw(out: &mut String, raw: &str, escaped: bool) {
    out.push('"');
    let mut rest = raw;
    loop {
        let plain = if escaped { plain_in_escaped(rest.as_bytes()) } else { plain(rest.as_bytes()) };
        out.push_str(&rest[..plain]);
        rest = &rest[plain..];
        let Some(c) = rest.chars().next() else { break };
        rest = &rest[c.len_utf8()..];
        if c == '\\' {
            rest = write_escape(out, rest);
        } else {
            write_char(out, c);
        }
    }
    out.push('"');
}

/// How many bytes are printable ASCII, which is not escaped; thirty-two at a time, which compilers make vectors of.
fn plain(bytes: &[u8]) -> usize {
    let printable = |b: &u8| matches!(b, b' '..=b'~');
    let mut passed = 0;
    for chunk in bytes.as_chunks::<32>().0 {
        if !chunk.iter().fold(true, |all, b| all & printable(b)) {
            break;
        }
        passed += 32;
    }
    passed + bytes[passed..].iter().take_while(|b| printable(b)).count()
}

/// The same up to the first backslash.
fn plain_in_escaped(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| matches!(b, b' '..=b'~') && **b != b'\\').count()
}

/// Writes the escape whose backslash stood before `rest`, and says what comes after it. Halves of a surrogate pair
/// are escaped one by one in Python too.
fn write_escape<'a>(out: &mut String, rest: &'a str) -> &'a str {
    let (sort, after) = rest.split_at(1);
    if sort != "u" {
        out.push_str(if sort == "/" { "" } else { "\\" });
        out.push_str(sort);
        return after;
    }
    let (hex, after) = after.split_at(4);
    let unit = u32::from_str_radix(hex, 16).unwrap_or(0xfffd);
    match char::from_u32(unit) {
        Some(c) => write_char(out, c),
        None => write_unit(out, unit as u16),
    }
    after
}

fn write_char(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        ' '..='~' => out.push(c),
        _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write_unit(out, *unit)),
    }
}

fn write_unit(out: &mut String, unit: u16) {
    let _ = write!(out, "\\u{unit:04x}");
}

/// Writes a number: integers keep their digits, floats are rounded to doubles.
fn write_number(out: &mut String, digits: &str) {
    match digits {
        "-0" => out.push('0'),
        _ if is_float(digits) => write_float(out, float(digits)),
        _ => out.push_str(digits),
    }
}

/// Writes a finite double as Python's `repr` does: the shortest digits that make it again, the nearer ones where there
/// are several, and of two that are as near the even one; with an exponent below 1e-4 and from 1e16 on.
fn write_float(out: &mut String, number: f64) {
    // Rust's shortest digits (d.ddde-7) are Python's, but of two that are as near it takes the larger. As many digits,
    // rounded half to even, are the ones wanted, unless they make another number.
    let shortest = format!("{number:e}");
    let digits = shortest.bytes().take_while(|b| *b != b'e').filter(u8::is_ascii_digit).count();
    let even = format!("{number:.*e}", digits.saturating_sub(1));
    let form = if even.parse() == Ok(number) { even } else { shortest };
    let (mantissa, exponent) = form.split_once('e').unwrap_or((&form, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{mantissa}e{sign}{:02}", exponent.unsigned_abs());
        return;
    }
    let (minus, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    out.push_str(minus);
    match usize::try_from(exponent) {
        Err(_) => {
            // 0.000ddd
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', exponent.unsigned_abs() as usize - 1));
            out.push_str(&digits);
        }
        Ok(exponent) if digits.len() > exponent + 1 => {
            let (whole, fraction) = digits.split_at(exponent + 1);
            let _ = write!(out, "{whole}.{fraction}");
        }
        Ok(exponent) => {
            let _ = write!(out, "{digits:0<width$}.0", width = exponent + 1);
        }
    }
}

/// Why a text is not read as Python reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPlain {
    /// It is no JSON.
    #[error("is no JSON: {0}")]
    Json(#[from] JsonError),
    /// Python would read it. Each key that an object has twice takes some 14 bytes of memory for each of its own here.
    #[error("has more than {DUPLICATE_KEYS_MAX} keys that stand twice")]
    ManyTwice,
    /// Likewise.
    #[error("has more than {OPEN_KEYS_MAX} keys in objects inside each other")]
    ManyKeys,
}

/// The text of a value as Python reads it: of members with one key the last value counts, in the place of the first.
///
/// # Errors
/// [`NotPlain`]
pub fn without_duplicate_keys(text: &str) -> Result<String, NotPlain> {
    let edits = edits(text)?;
    let mut out = String::with_capacity(text.len());
    // What is still to be copied, the next piece last; each piece is copied once at most.
    let whole = 0..text.len();
    let mut pieces = vec![whole];
    while let Some(piece) = pieces.pop() {
        match edits.range(piece.clone()).next() {
            None => out.push_str(&text[piece]),
            Some((at, edit)) => {
                out.push_str(&text[piece.start..*at]);
                pieces.push(edit.end..piece.end);
                pieces.extend(edit.instead.clone());
            }
        }
    }
    Ok(out)
}

/// A piece of a text that goes, and the piece that comes in its place.
struct Edit {
    end: usize,
    instead: Option<Range<usize>>,
}

/// What has to be done to a text so that no object has a key twice, by where it begins.
fn edits(text: &str) -> Result<BTreeMap<usize, Edit>, NotPlain> {
    let (mut edits, mut scanner, mut open) = (BTreeMap::new(), Scanner::new(text), Vec::<OpenValue<'_>>::new());
    let (mut keys, mut twice) = (0, 0);
    loop {
        let event = scanner.next()?;
        let from = match event {
            JsonEvent::End => return Ok(edits),
            JsonEvent::ObjectStart | JsonEvent::ArrayStart => {
                let is_object = event == JsonEvent::ObjectStart;
                open.push(OpenValue { is_object, from: scanner.start_of(event), ..OpenValue::default() });
                continue;
            }
            JsonEvent::Key(key) => {
                if let Some(object) = open.last_mut() {
                    object.key = key.decoded();
                }
                continue;
            }
            JsonEvent::ObjectEnd | JsonEvent::ArrayEnd => {
                let ended = open.pop().unwrap_or_default();
                keys -= ended.first.len();
                ended.from
            }
            scalar => scanner.start_of(scalar),
        };
        if let Some(outer) = open.last_mut().filter(|outer| outer.is_object) {
            match outer.value(from..scanner.offset(), &mut edits) {
                true => keys += 1,
                false => twice += 1,
            }
        }
        if twice > DUPLICATE_KEYS_MAX {
            return Err(NotPlain::ManyTwice);
        }
        if keys > OPEN_KEYS_MAX {
            return Err(NotPlain::ManyKeys);
        }
    }
}

/// An object or list whose end has not come.
#[derive(Default)]
struct OpenValue<'a> {
    is_object: bool,
    from: usize,
    key: Cow<'a, [u8]>,
    /// The first value of each key.
    first: HashMap<Cow<'a, [u8]>, Range<usize>>,
    /// Where the member before has ended.
    before: usize,
}

impl OpenValue<'_> {
    /// Takes the value of the last key. `false` if the key was there before.
    fn value(&mut self, value: Range<usize>, edits: &mut BTreeMap<usize, Edit>) -> bool {
        let before = std::mem::replace(&mut self.before, value.end);
        let Some(first) = self.first.get(&self.key) else {
            self.first.insert(std::mem::take(&mut self.key), value);
            return true;
        };
        edits.insert(before, Edit { end: value.end, instead: None });
        edits.insert(first.start, Edit { end: first.end, instead: Some(value) });
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        write_value(&mut out, Value::read(text).unwrap());
        out
    }

    #[test]
    fn numbers_are_written_as_python_does() {
        let forms = [
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("1E5", "100000.0"),
            ("1.10", "1.1"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("123456789012345678.0", "1.2345678901234568e+17"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("5e-324", "5e-324"),
            ("1e-400", "0.0"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("9007199254740993.0", "9007199254740992.0"),
            // Two decimals are as near, and the even one is Python's.
            ("-1751765045260255.25", "-1751765045260255.2"),
            ("1751765045260255.75", "1751765045260255.8"),
            ("0.5", "0.5"),
            ("-12.0", "-12.0"),
            ("120", "120"),
            ("120.0", "120.0"),
            ("0.00012345", "0.00012345"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
        ];
        for (text, wanted) in forms {
            assert_eq!(written(text), wanted, "{text}");
        }
    }

    #[test]
    fn strings_are_written_as_python_does() {
        assert_eq!(written(r#""plain ~ /""#), r#""plain ~ /""#);
        assert_eq!(written(r#""\/\u0041\u00E9\u000a\u0000\u007f""#), r#""/A\u00e9\n\u0000\u007f""#);
        assert_eq!(written("\"é\u{7f}😀\""), r#""\u00e9\u007f\ud83d\ude00""#);
        assert_eq!(written(r#""\ud83d\ude00 \ud800 \"\\""#), r#""\ud83d\ude00 \ud800 \"\\""#);
    }

    #[test]
    fn lists_and_objects_are_written_as_python_does() {
        assert_eq!(written("{ } "), "{}");
        assert_eq!(
            written("{\"a\":[1,2,{\"b\":null}],\n\"c\":[[],{}],\"d\":true}"),
            r#"{"a": [1, 2, {"b": null}], "c": [[], {}], "d": true}"#
        );
    }

    #[test]
    fn duplicate_key_keeps_its_last_value_at_its_first_place() {
        let text = r#"{"a":1,"b":{"x":[1],"y":2,"\u0078":{"z":1,"z":[2,{"q":1,"q":2}]}},"a":3}"#;
        assert_eq!(without_duplicate_keys(text).unwrap(), r#"{"a":3,"b":{"x":{"z":[2,{"q":2}]},"y":2}}"#);
        let spaced = "{ \"a\" : [1,1] , \"a\" : {\"b\":1, \"b\" : 2} , \"a\":\t{\"b\":3,\"b\":[4,4]} , \"c\" : 5 }";
        assert_eq!(without_duplicate_keys(spaced).unwrap(), "{ \"a\" : {\"b\":[4,4]} , \"c\" : 5 }");
        for plain in ["[1,1,[],[]]", "{}", " 7 ", r#"{"a":{"a":{"a":1}}}"#] {
            assert_eq!(without_duplicate_keys(plain).unwrap(), plain);
        }
    }

    #[test]
    fn text_with_too_many_duplicate_keys_is_not_written() {
        let text = |times: usize| format!("{{\"a\":0{}}}", ",\"a\":1".repeat(times));
        assert_eq!(without_duplicate_keys(&text(DUPLICATE_KEYS_MAX)).unwrap(), r#"{"a":1}"#);
        assert_eq!(without_duplicate_keys(&text(DUPLICATE_KEYS_MAX + 1)), Err(NotPlain::ManyTwice));
        let apart = format!("[{}]", vec![r#"{"a":1,"a":2}"#; DUPLICATE_KEYS_MAX + 1].join(","));
        assert_eq!(without_duplicate_keys(&apart), Err(NotPlain::ManyTwice));
    }

    #[test]
    fn text_with_too_many_keys_in_nested_objects_is_not_written() {
        let members = |n: usize| (0..n).map(|n| format!("\"{n}\":0,")).collect::<String>();
        let half = members(OPEN_KEYS_MAX / 2);
        let inside = format!("{{{half}\"in\":{{{half}\"in\":0}}}}");
        assert_eq!(without_duplicate_keys(&inside), Err(NotPlain::ManyKeys));
        let beside = format!("[{{{half}\"in\":0}},{{{half}\"in\":0}},{{{half}\"in\":0}}]");
        assert_eq!(without_duplicate_keys(&beside).as_ref(), Ok(&beside));
    }

    #[test]
    fn text_that_python_would_not_read_is_refused() {
        assert_eq!(check_number(&"9".repeat(4300)), Ok(()));
        assert_eq!(check_number(&format!("-{}", "9".repeat(4301))), Err(OddNumber::TooLong));
        assert_eq!(check_number("1e400"), Err(OddNumber::Infinite));
        assert_eq!(check_number(&format!("{}.0", "9".repeat(400))), Err(OddNumber::Infinite));
        assert_eq!(check_number("1e308"), Ok(()));
    }
}
