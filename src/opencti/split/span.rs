//! Places in a bundle's text.

use crate::json::{Text, Value};

/// A piece of the bundle's text, in bytes. An envelope is far smaller than 4 GiB.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    from: u32,
    to: u32,
}

impl Span {
    /// Where a piece lies in the text of which it was taken.
    pub fn of(text: &str, piece: &str) -> Self {
        let from = (piece.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
        Self { from: from as u32, to: (from + piece.len()) as u32 }
    }

    /// From one byte of the text up to another.
    pub fn between(from: usize, to: usize) -> Self {
        Self { from: from as u32, to: to as u32 }
    }

    /// How many bytes it has.
    pub fn length(self) -> usize {
        (self.to - self.from) as usize
    }

    fn str(self, text: &str) -> &str {
        &text[self.from as usize..self.to as usize]
    }

    /// The piece as the value that it is.
    pub fn value(self, text: &str) -> Value<'_> {
        Value::of(self.str(text))
    }

    /// The piece as the inside of a string that it is.
    pub fn as_text(self, text: &str) -> Text<'_> {
        Text::between_quotes(self.str(text))
    }
}
