//! Codes that people say on the telephone and type: symbols of Crockford's base 32, of which the last two check the others.
//!
//! The two check symbols are over the field of 32 elements (x⁵ + x² + 1): any one or two symbols that are wrong, and any two
//! that have changed places, are seen. A code is typed and compared by the machine; people do not compare texts well.

use std::fmt;

use crate::digest::Digest;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// How each symbol is spelled: digits as words, letters as NATO and ICAO spell them.
const SPELLED: [&str; 32] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "Alfa", "Bravo", "Charlie",
    "Delta", "Echo", "Foxtrot", "Golf", "Hotel", "Juliett", "Kilo", "Mike", "November", "Papa", "Quebec", "Romeo",
    "Sierra", "Tango", "Victor", "Whiskey", "X-ray", "Yankee", "Zulu",
];
/// Symbols that check the others. With more than 31 others two of them would have the same weight.
const CHECKS: usize = 2;
/// Symbols in a group.
const GROUP: usize = 5;

/// A code of so many symbols, of which the last two check the others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Spoken<const ALL: usize>([u8; ALL]);

/// A code of 20 symbols and two that check them: 100 bits, so that nobody finds another text with the same code.
pub type SpokenCode = Spoken<22>;

/// A text that is no such code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mistyped {
    /// It has another number of symbols.
    #[error("mistyped: such a code has {wanted} symbols and {CHECKS} more that check them; this has {found}")]
    Length {
        /// As many as it should have, without those that check them.
        wanted: usize,
        /// As many as it has in all.
        found: usize,
    },
    /// A character that no code has.
    #[error("mistyped: no code has the character {0:?}")]
    Character(char),
    /// A symbol is wrong, or two have changed places.
    #[error("mistyped: the last two symbols do not fit the others")]
    Checks,
}

impl<const ALL: usize> Spoken<ALL> {
    /// The code of a text: the first bits of its SHA-256.
    pub fn of(text: &[u8]) -> Self {
        Self::of_bits(Digest::of(text).as_bytes())
    }

    /// The code that has the first bits of these bytes, the highest bit of each byte first; zeros where they have no more.
    pub fn of_bits(bytes: &[u8]) -> Self {
        let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| (byte >> (7 - at % 8)) & 1);
        let mut symbols = [0; ALL];
        let (code, checks) = symbols.split_at_mut(ALL - CHECKS);
        for (at, symbol) in code.iter_mut().enumerate() {
            *symbol = (0..5).fold(0, |value, n| value << 1 | bit(5 * at + n));
        }
        checks.copy_from_slice(&checks_of(code));
        Self(symbols)
    }

    /// The bytes that it has the bits of; none unless all further bits are zero.
    pub fn bits<const BYTES: usize>(&self) -> Option<[u8; BYTES]> {
        let mut bytes = [0; BYTES];
        for at in 0..5 * (ALL - CHECKS) {
            let bit = self.0[at / 5] >> (4 - at % 5) & 1;
            match bytes.get_mut(at / 8) {
                Some(byte) => *byte |= bit << (7 - at % 8),
                None if bit == 1 => return None,
                None => {}
            }
        }
        Some(bytes)
    }

    /// Reads a code as somebody types it: in letters of any size, with blanks and dashes anywhere; I and L are 1, O is 0.
    ///
    /// # Errors
    /// It is no code, or mistyped.
    pub fn parse(typed: &str) -> Result<Self, Mistyped> {
        let (mut symbols, mut found) = ([0; ALL], 0);
        for character in typed.chars().filter(|c| !matches!(c, ' ' | '-' | '\t')) {
            let plain = match character.to_ascii_uppercase() {
                'I' | 'L' => '1',
                'O' => '0',
                other => other,
            };
            let value = ALPHABET.iter().position(|symbol| char::from(*symbol) == plain);
            let value = value.ok_or(Mistyped::Character(character))? as u8;
            symbols.get_mut(found).into_iter().for_each(|symbol| *symbol = value);
            found += 1;
        }
        if found != ALL {
            return Err(Mistyped::Length { wanted: ALL - CHECKS, found });
        }
        if checks_of(&symbols[..ALL - CHECKS]) != symbols[ALL - CHECKS..] {
            return Err(Mistyped::Checks);
        }
        Ok(Self(symbols))
    }

    /// As it is said on the telephone: `seven Foxtrot four Quebec X-ray, nine X-ray Kilo Mike two`.
    pub fn spelled(&self) -> String {
        self.groups(" ", |symbol| SPELLED[usize::from(symbol)].to_owned()).join(", ")
    }

    fn groups(&self, between: &str, written: impl Fn(u8) -> String) -> Vec<String> {
        let group = |group: &[u8]| group.iter().map(|symbol| written(*symbol)).collect::<Vec<_>>().join(between);
        self.0.chunks(GROUP).map(group).collect()
    }
}

impl<const ALL: usize> fmt::Display for Spoken<ALL> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |symbol: u8| char::from(ALPHABET[usize::from(symbol)]).to_string();
        f.write_str(&self.groups("", letter).join("-"))
    }
}

impl<const ALL: usize> fmt::Debug for Spoken<ALL> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spoken({self})")
    }
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
        assert_eq!(SpokenCode::parse("7F4QX"), Err(Mistyped::Length { wanted: 20, found: 5 }));
        assert_eq!(SpokenCode::parse("7F4QU"), Err(Mistyped::Character('U')));
    }

    #[test]
    fn code_is_spelled_in_the_groups_in_which_it_is_printed() {
        let code = Spoken::<10>::of_bits(&[0x3b, 0xc9, 0x7e, 0xa7, 0xb3]);
        assert_eq!(code.to_string()[..9], *"7F4QX-9XK");
        assert!(code.spelled().starts_with("seven Foxtrot four Quebec X-ray, nine X-ray Kilo "), "{}", code.spelled());
        let words = SPELLED.iter().map(|word| word.to_ascii_uppercase().into_bytes()[0]);
        assert!(words.zip(ALPHABET).skip(10).all(|(first, symbol)| first == *symbol), "a letter is its word's first");
    }

    #[test]
    fn bits_are_found_again_and_no_others_are_read() {
        let secret = *b"\x00\xff\x12sixteen bytes";
        let code = Spoken::<28>::of_bits(&secret);
        assert_eq!(code.to_string().len(), 33);
        assert_eq!(Spoken::<28>::parse(&code.to_string()).unwrap().bits(), Some(secret));
        let mut longer = code;
        longer.0[25] |= 1;
        assert_eq!(longer.bits::<16>(), None, "the last two bits are zero");
    }

    fn each_one_or_two_wrong_symbols_and_each_swap_are_seen_in<const ALL: usize>(code: Spoken<ALL>) {
        let is_seen = |wrong: [u8; ALL]| {
            let is_seen = checks_of(&wrong[..ALL - CHECKS]) != wrong[ALL - CHECKS..];
            // Of the short code each one as it is typed: of the others that takes too long.
            let typed = || Spoken::<ALL>::parse(&Spoken(wrong).to_string());
            assert!(ALL > 10 || typed() == if is_seen { Err(Mistyped::Checks) } else { Ok(Spoken(wrong)) });
            is_seen
        };
        assert!(!is_seen(code.0));
        for (one, two) in (0..ALL).flat_map(|one| (one + 1..ALL).map(move |two| (one, two))) {
            for (a, b) in (0..32).flat_map(|a| (0..32).map(move |b| (a, b))) {
                let mut wrong = code.0;
                (wrong[one], wrong[two]) = (a, b);
                assert_eq!(is_seen(wrong), wrong != code.0, "{one} {two} {a} {b}");
            }
            let mut swapped = code.0;
            swapped.swap(one, two);
            assert_eq!(is_seen(swapped), swapped != code.0);
        }
    }

    #[test]
    fn each_one_or_two_wrong_symbols_and_each_swap_are_seen() {
        each_one_or_two_wrong_symbols_and_each_swap_are_seen_in(SpokenCode::of(b"journal"));
        each_one_or_two_wrong_symbols_and_each_swap_are_seen_in(Spoken::<10>::of(b"arrived"));
        each_one_or_two_wrong_symbols_and_each_swap_are_seen_in(Spoken::<28>::of(b"pairing"));
    }
}
