//! A strict pull scanner for JSON (RFC 8259): one event at a time, no tree, no recursion.
//!
//! serde_json cannot do what the border needs: name the place of a key, pass over lone surrogate escapes,
//! numbers of any size and 950 levels, and keep the text of keys and numbers as they were written.

pub mod keys;
mod value;

use std::borrow::Cow;
use std::fmt;

use crate::limits;
pub use value::{Value, ValueKind};

/// What the scanner comes upon, in the order of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonEvent<'a> {
    /// `{`
    ObjectStart,
    /// `}`
    ObjectEnd,
    /// `[`
    ArrayStart,
    /// `]`
    ArrayEnd,
    /// The name of an object's member; its value follows.
    Key(Text<'a>),
    /// A string.
    String(Text<'a>),
    /// A number, as it was written.
    Number(&'a str),
    /// `true` or `false`
    Bool(bool),
    /// `null`
    Null,
    /// The text is over, and so was its one value. Said again however often it is asked.
    End,
}

impl JsonEvent<'_> {
    /// Bytes of its text; keys and the end have none that matter.
    fn length(self) -> usize {
        match self {
            Self::ObjectStart | Self::ObjectEnd | Self::ArrayStart | Self::ArrayEnd => 1,
            Self::String(text) => text.raw.len() + 2,
            Self::Number(digits) => digits.len(),
            Self::Bool(false) => 5,
            Self::Bool(true) | Self::Null => 4,
            Self::Key(_) | Self::End => 0,
        }
    }
}

/// A string as it is written, between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// A string without escapes, for comparisons and first values.
    pub const fn unescaped(raw: &'a str) -> Self {
        Self { raw, escaped: false }
    }

    /// The string of which this stood between the quotes.
    pub fn between_quotes(raw: &'a str) -> Self {
        Self { raw, escaped: raw.contains('\\') }
    }

    /// The text between the quotes, escapes included.
    pub fn raw(self) -> &'a str {
        self.raw
    }

    /// Whether there are escapes.
    pub fn has_escapes(self) -> bool {
        self.escaped
    }

    /// The string, if it has no escapes.
    pub fn plain(self) -> Option<&'a str> {
        (!self.escaped).then_some(self.raw)
    }

    /// The string's bytes with escapes resolved. Two escapes that make a surrogate pair are one character;
    /// a lone surrogate becomes the three bytes that UTF-8 would give it (WTF-8), so that different strings
    /// stay different.
    pub fn decoded(self) -> Cow<'a, [u8]> {
        match self.plain() {
            Some(raw) => Cow::Borrowed(raw.as_bytes()),
            None => Cow::Owned(decode(self.raw.as_bytes())),
        }
    }

    /// The string with escapes resolved; `None` if it holds a lone surrogate, which UTF-8 cannot.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.plain() {
            Some(raw) => Some(Cow::Borrowed(raw)),
            None => String::from_utf8(decode(self.raw.as_bytes())).ok().map(Cow::Owned),
        }
    }

    /// The string for people: lone surrogates become replacement characters.
    pub fn lossy(self) -> Cow<'a, str> {
        match self.plain() {
            Some(raw) => Cow::Borrowed(raw),
            None => Cow::Owned(String::from_utf8_lossy(&decode(self.raw.as_bytes())).into_owned()),
        }
    }
}

/// What is wrong with a text that is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// It ends before its value does.
    CutOff,
    /// More than [`limits::DEPTH_MAX`] objects and lists inside each other.
    TooDeep,
    /// Something is at a place where it may not be.
    Syntax,
}

/// The text is no JSON, and where that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The sort of fault.
    pub fault: JsonFault,
    /// What is wrong, in words.
    pub what: &'static str,
    /// The byte at which it shows, from 0.
    pub offset: usize,
}

impl JsonError {
    /// Line and column, from 1, columns in characters, in the bytes that were scanned.
    pub fn place(&self, bytes: &[u8]) -> (usize, usize) {
        let before = &bytes[..self.offset.min(bytes.len())];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let lines = before.iter().filter(|b| **b == b'\n').count();
        let is_first_byte = |b: &&u8| **b & 0xc0 != 0x80;
        (lines + 1, before[line_start..].iter().filter(is_first_byte).count() + 1)
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        if self.fault == JsonFault::TooDeep {
            write!(f, " ({} levels at most)", limits::DEPTH_MAX)?;
        }
        write!(f, " at byte {}", self.offset)
    }
}

impl std::error::Error for JsonError {}

/// Reads one JSON value, event by event.
///
/// Strict: no byte order mark, comments, trailing commas, NaN or Infinity; no controls in strings; nothing
/// after the value. Escapes of lone surrogates and numbers of any size are JSON and pass. Keys may repeat:
/// whether they may is for the caller to say.
#[derive(Clone)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// The objects (true) and lists (false) that are open.
    open: Vec<bool>,
    next: Next,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Value,
    /// Right after `[`.
    ValueOrEnd,
    /// Right after `{`.
    KeyOrEnd,
    CommaOrEnd,
    Nothing,
}

impl<'a> Scanner<'a> {
    /// Stands before the first event.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, open: Vec::with_capacity(16), next: Next::Value }
    }

    /// The byte behind the last event: behind its last byte, and for a key behind its colon.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The text that is read.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// How many objects and lists are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// The next event.
    ///
    /// # Errors
    /// The text is not JSON from here on, ends early, or goes deeper than [`limits::DEPTH_MAX`]. After an
    /// error the scanner is of no further use.
    #[expect(clippy::should_implement_trait, reason = "an iterator would hide that an error is final")]
    #[inline(always)]
    pub fn next(&mut self) -> Result<JsonEvent<'a>, JsonError> {
        self.skip_space();
        match self.next {
            Next::CommaOrEnd => self.after_value(),
            Next::Value => self.value(),
            Next::KeyOrEnd => match self.peek() {
                Some(b'}') => Ok(self.close(JsonEvent::ObjectEnd)),
                _ => self.key(),
            },
            Next::ValueOrEnd => match self.peek() {
                Some(b']') => Ok(self.close(JsonEvent::ArrayEnd)),
                _ => self.value(),
            },
            Next::Nothing if self.at == self.text.len() => Ok(JsonEvent::End),
            Next::Nothing => self.refuse("something follows the end of the value"),
        }
    }

    /// Passes over what is left of the value whose first event was the last one.
    ///
    /// # Errors
    /// As [`Scanner::next`].
    pub fn skip(&mut self, first: JsonEvent<'a>) -> Result<(), JsonError> {
        if matches!(first, JsonEvent::ObjectStart | JsonEvent::ArrayStart) {
            let outside = self.depth() - 1;
            while self.depth() > outside {
                self.next()?;
            }
        }
        Ok(())
    }

    /// The whole value whose first event was the last one.
    ///
    /// # Errors
    /// As [`Scanner::next`].
    pub fn value_of(&mut self, first: JsonEvent<'a>) -> Result<Value<'a>, JsonError> {
        let from = self.start_of(first);
        self.skip(first)?;
        Ok(Value::of(&self.text[from..self.at]))
    }

    /// Where the last event began, which was this one and no key.
    pub fn start_of(&self, last: JsonEvent<'a>) -> usize {
        self.at - last.length()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn after_value(&mut self) -> Result<JsonEvent<'a>, JsonError> {
        let in_object = self.open.last() == Some(&true);
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip_space();
                if in_object { self.key() } else { self.value() }
            }
            Some(b'}') if in_object => Ok(self.close(JsonEvent::ObjectEnd)),
            Some(b']') if !in_object => Ok(self.close(JsonEvent::ArrayEnd)),
            _ if in_object => self.refuse("a comma or } should stand here"),
            _ => self.refuse("a comma or ] should stand here"),
        }
    }

    fn close(&mut self, event: JsonEvent<'a>) -> JsonEvent<'a> {
        self.at += 1;
        self.open.pop();
        self.value_ended();
        event
    }

    #[inline]
    fn value_ended(&mut self) {
        self.next = if self.open.is_empty() { Next::Nothing } else { Next::CommaOrEnd };
    }

    #[inline(always)]
    fn key(&mut self) -> Result<JsonEvent<'a>, JsonError> {
        if self.peek() != Some(b'"') {
            return self.refuse("a key in double quotes should stand here");
        }
        let key = self.string()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return self.refuse("a colon should stand here");
        }
        self.at += 1;
        self.next = Next::Value;
        Ok(JsonEvent::Key(key))
    }

    #[inline(always)]
    fn value(&mut self) -> Result<JsonEvent<'a>, JsonError> {
        let event = match self.peek() {
            Some(b'"') => JsonEvent::String(self.string()?),
            Some(b'{') => return self.descend(true),
            Some(b'[') => return self.descend(false),
            Some(b'-' | b'0'..=b'9') => JsonEvent::Number(self.number()?),
            Some(b't') => self.word("true", JsonEvent::Bool(true))?,
            Some(b'f') => self.word("false", JsonEvent::Bool(false))?,
            Some(b'n') => self.word("null", JsonEvent::Null)?,
            _ => return self.refuse(self.name_the_stranger()),
        };
        self.value_ended();
        Ok(event)
    }

    fn descend(&mut self, object: bool) -> Result<JsonEvent<'a>, JsonError> {
        if self.open.len() == limits::DEPTH_MAX {
            return self.fail(JsonFault::TooDeep, "objects and lists lie too deep inside each other");
        }
        self.at += 1;
        self.open.push(object);
        if object {
            self.next = Next::KeyOrEnd;
            Ok(JsonEvent::ObjectStart)
        } else {
            self.next = Next::ValueOrEnd;
            Ok(JsonEvent::ArrayStart)
        }
    }

    fn word(&mut self, word: &'static str, event: JsonEvent<'a>) -> Result<JsonEvent<'a>, JsonError> {
        let rest = &self.text.as_bytes()[self.at..];
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(event);
        }
        if word.as_bytes().starts_with(rest) {
            self.at = self.text.len();
        }
        self.refuse("no JSON value begins like this")
    }

    /// Why the text here is no value: Python writes NaN and Infinity, people write the rest.
    fn name_the_stranger(&self) -> &'static str {
        let rest = &self.text.as_bytes()[self.at..];
        match rest.first() {
            Some(b'N') if rest.starts_with(b"NaN") => "NaN is not JSON",
            Some(b'I') if rest.starts_with(b"Infinity") => "Infinity is not JSON",
            Some(b'}' | b']') => "a value should stand here, perhaps a comma is too many",
            Some(b'\'') => "strings need double quotes",
            Some(b'/') => "comments are not JSON",
            _ => "a value should stand here",
        }
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => {
                self.at += 1;
                if matches!(self.peek(), Some(b'0'..=b'9')) {
                    return self.refuse("a number begins with a zero too many");
                }
            }
            Some(b'I') => return self.refuse("-Infinity is not JSON"),
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            return self.refuse("a digit should stand here");
        }
        Ok(())
    }

    /// The string whose opening quote is here.
    #[inline(always)]
    fn string(&mut self) -> Result<Text<'a>, JsonError> {
        let start = self.at + 1;
        let mut escaped = false;
        self.at = start;
        loop {
            self.at += plain_bytes(&self.text.as_bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return self.refuse("a control character stands bare in a string"),
            }
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        Ok(Text { raw, escaped })
    }

    /// Passes over one escape, which begins here.
    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|b| b.is_ascii_hexdigit()) {
                        return self.refuse("\\u needs four hex digits");
                    }
                    self.at += 1;
                }
            }
            _ => return self.refuse("no escape of JSON begins like this"),
        }
        Ok(())
    }

    #[cold]
    fn refuse<T>(&self, what: &'static str) -> Result<T, JsonError> {
        if self.at == self.text.len() {
            return self.fail(JsonFault::CutOff, "the text ends before its value does");
        }
        self.fail(JsonFault::Syntax, what)
    }

    #[cold]
    fn fail<T>(&self, fault: JsonFault, what: &'static str) -> Result<T, JsonError> {
        Err(JsonError { fault, what, offset: self.at })
    }
}

/// How many bytes pass before the first quote, backslash or control. Most strings are short: eight bytes are looked
/// at in one step, and in a long one thirty-two, which compilers make vectors of.
#[inline]
fn plain_bytes(bytes: &[u8]) -> usize {
    let ends = |b: u8| (b == b'"') | (b == b'\\') | (b < 0x20);
    let short = bytes.len().min(SHORT);
    let mut passed = plain_in_words(&bytes[..short]);
    if passed < short {
        return passed;
    }
    for chunk in bytes[short..].as_chunks::<32>().0 {
        if chunk.iter().fold(false, |any, b| any | ends(*b)) {
            break;
        }
        passed += 32;
    }
    passed + plain_in_words(&bytes[passed..])
}

/// Bytes of a string that are looked at eight at a time before it counts as a long one.
const SHORT: usize = 32;

#[inline]
fn plain_in_words(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    // A byte's high bit comes out set where that byte is below n (n at most 0x80); above the first such
    // byte others may be set wrongly, which does not matter to the first.
    let below = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word;
    let (words, rest) = bytes.as_chunks::<8>();
    for (count, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let found = (quote | backslash | below(word, 0x20)) & HIGHS;
        if found != 0 {
            return count * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let ends = |b: &u8| matches!(*b, b'"' | b'\\' | 0..0x20);
    bytes.len() - rest.len() + rest.iter().position(ends).unwrap_or(rest.len())
}

/// Resolves the escapes of a string that the scanner has passed.
fn decode(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|b| *b == b'\\') {
        out.extend_from_slice(&rest[..at]);
        let taken = match rest[at + 1] {
            b'u' => {
                let (code, taken) = code_point(&rest[at..]);
                push_wtf8(&mut out, code);
                taken
            }
            letter => {
                out.push(match letter {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    same => same,
                });
                2
            }
        };
        rest = &rest[at + taken..];
    }
    out.extend_from_slice(rest);
    out
}

/// The code point that one `\u` escape means, or two that make a surrogate pair, and the bytes they take.
fn code_point(escapes: &[u8]) -> (u32, usize) {
    let unit = |at: usize| {
        let digits = escapes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let digit = |value: u32, b: &u8| Some(value * 16 + char::from(*b).to_digit(16)?);
        digits.iter().try_fold(0, digit)
    };
    let first = unit(0).unwrap_or(0xfffd);
    match (first, unit(6)) {
        (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) => {
            (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
        }
        _ => (first, 6),
    }
}

fn push_wtf8(out: &mut Vec<u8>, code: u32) {
    match char::from_u32(code) {
        Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.extend([0xe0 | code >> 12, 0x80 | code >> 6 & 0x3f, 0x80 | code & 0x3f].map(|b| b as u8)),
    }
}

/// Whether these bytes are the beginning of a JSON value and not all of it.
pub fn is_cut(bytes: &[u8]) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // The cut may go through a character.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default(),
        Err(_) => return false,
    };
    let mut scanner = Scanner::new(text);
    loop {
        match scanner.next() {
            Ok(JsonEvent::End) => return false,
            Ok(_) => {}
            Err(e) => return e.fault == JsonFault::CutOff,
        }
    }
}

#[cfg(test)]
mod tests;
