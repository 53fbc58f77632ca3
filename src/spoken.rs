//! Codes that people say on the telephone and type: symbols of Crockford's base 32, of which the last two check the others.
//!
//! The two check symbols are over the field of 32 elements (x⁵ + x² + 1): any one or two symbols that are wrong, and any two
//! that have changed places, are seen. A code is typed and compared by the machine; people do not compare texts well.

use std::fmt;

use crate::digest::Digest;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Symbols before the two that check them: 100 bits, so that nobody finds another text with the same code.
const SYMBOLS: usize = 20;
const CHECKS: usize = 2;
/// Symbols in a group.
const GROUP: usize = 5;

/// A code of 20 symbols and two that check them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpokenCode([u8; SYMBOLS + CHECKS]);

/// A text that is no such code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mistyped {
    /// It has another number of symbols.
    #[error("a code has {SYMBOLS} symbols and {CHECKS} more that check them; this has {0}")]
    Length(usize),
    /// A character that no code has.
    #[error("no code has the character {0:?}")]
    Character(char),
    /// A symbol is wrong, or two have changed places.
    #[error("it is mistyped: the last two symbols do not fit the others")]
    Checks,
}

impl SpokenCode {
    /// The code of a text: the first 100 bits of its SHA-256.
    pub fn of(text: &[u8]) -> Self {
        let digest = Digest::of(text);
        let bit = |at: usize| (digest.as_bytes()[at / 8] >> (7 - at % 8)) & 1;
        let mut symbols = [0; SYMBOLS + CHECKS];
        for (at, symbol) in symbols[..SYMBOLS].iter_mut().enumerate() {
            *symbol = (0..5).fold(0, |value, n| value << 1 | bit(5 * at + n));
        }
        let checks = checks_of(&symbols[..SYMBOLS]);
        symbols[SYMBOLS..].copy_from_slice(&checks);
        Self(symbols)
    }

    /// Reads a code as somebody types it: in letters of any size, with blanks and dashes anywhere; I and L are 1, O is 0.
    ///
    /// # Errors
    /// It is no code, or mistyped.
    pub fn parse(typed: &str) -> Result<Self, Mistyped> {
        let mut symbols = Vec::new();
        for character in typed.chars().filter(|c| !matches!(c, ' ' | '-' | '\t')) {
            let plain = match character.to_ascii_uppercase() {
                'I' | 'L' => '1',
                'O' => '0',
                other => other,
            };
            let value = ALPHABET.iter().position(|symbol| char::from(*symbol) == plain);
            symbols.push(value.ok_or(Mistyped::Character(character))? as u8);
        }
        let symbols: [u8; SYMBOLS + CHECKS] =
            symbols.as_slice().try_into().map_err(|_| Mistyped::Length(symbols.len()))?;
        if checks_of(&symbols[..SYMBOLS]) != symbols[SYMBOLS..] {
            return Err(Mistyped::Checks);
        }
        Ok(Self(symbols))
    }
}

impl fmt::Display for SpokenCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> =
            self.0.chunks(GROUP).map(|group| group.iter().map(|s| letter(*s)).collect()).collect();
        f.write_str(&groups.join("-"))
    }
}

fn letter(symbol: u8) -> char {
    char::from(ALPHABET[usize::from(symbol)])
}

/// The sum of all symbols, and their sum with weights that are all different.
fn checks_of(symbols: &[u8]) -> [u8; CHECKS] {
    let (mut sum, mut weighted, mut weight) = (0, 0, 1);
    for symbol in symbols {
        weight = product(weight, 2);
        sum ^= symbol;
        weighted ^= product(*symbol, weight);
    }
    [sum, weighted]
}

/// The product of two elements of the field.
fn product(one: u8, other: u8) -> u8 {
    let mut result = 0;
    for bit in (0..5).rev() {
        result <<= 1;
        if result & 0x20 != 0 {
            result ^= 0x25;
        }
        if other >> bit & 1 == 1 {
            result ^= one;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_read_as_people_type_it() {
        let code = SpokenCode::of(b"a");
        let text = code.to_string();
        assert_eq!(text, "SABR2-4PA3E-YWNYP-266SS-AV");
        assert_eq!(SpokenCode::parse(&text), Ok(code));
        assert_eq!(SpokenCode::parse(&text.to_lowercase().replace('-', " ")), Ok(code));
        let with_zero_and_one = (0..)
            .map(|n: u32| SpokenCode::of(&n.to_be_bytes()))
            .find(|code| code.to_string().contains('0') && code.to_string().contains('1'))
            .unwrap();
        let typed = with_zero_and_one.to_string().replace('0', "o").replacen('1', "l", 1).replace('1', "I");
        assert_eq!(SpokenCode::parse(&typed), Ok(with_zero_and_one));
        assert_eq!(SpokenCode::parse("7F4QX"), Err(Mistyped::Length(5)));
        assert_eq!(SpokenCode::parse("7F4QU"), Err(Mistyped::Character('U')));
    }

    #[test]
    fn each_one_or_two_wrong_symbols_and_each_swap_are_seen() {
        let code = SpokenCode::of(b"journal").0;
        let is_seen = |wrong: [u8; 22]| checks_of(&wrong[..SYMBOLS]) != wrong[SYMBOLS..];
        assert!(!is_seen(code));
        for (one, two) in (0..22).flat_map(|one| (one + 1..22).map(move |two| (one, two))) {
            for (a, b) in (0..32).flat_map(|a| (0..32).map(move |b| (a, b))) {
                let mut wrong = code;
                (wrong[one], wrong[two]) = (a, b);
                assert_eq!(is_seen(wrong), wrong != code, "{one} {two} {a} {b}");
            }
            let mut swapped = code;
            swapped.swap(one, two);
            assert_eq!(is_seen(swapped), swapped != code);
        }
    }
}
