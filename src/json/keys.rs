//! Which keys the open objects already have. Cheap for the usual ten keys, and not quadratic for a million.

use std::borrow::Cow;
use std::collections::HashSet;

use super::Text;
use crate::limits;

/// Above this many keys an object's keys are found through a hash set that no input can make slow.
const FEW: usize = 32;

/// What a key is to its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySeen {
    /// It is the first of its name.
    New,
    /// It was there before.
    Twice,
    /// The first key of its object above [`limits::KEYS_MAX`], or above [`limits::OPEN_KEYS_MAX`] with those of the
    /// objects around it; later ones of this object are no longer looked at.
    TooMany,
}

/// Keys for which there is room from the start: those of a small envelope, so that growing does not take longer than
/// looking.
const USUAL: usize = 32;

/// The keys of all objects that are open, the innermost last.
pub struct Keys<'a> {
    /// Keys of objects that have few, with a hash beside each.
    hashes: Vec<u64>,
    names: Vec<Text<'a>>,
    objects: Vec<Object<'a>>,
    /// Keys in the sets of all objects that have many.
    in_sets: usize,
}

struct Object<'a> {
    /// Where its keys begin in `hashes` and `names`.
    start: usize,
    count: usize,
    many: Option<HashSet<Cow<'a, [u8]>>>,
    /// Its keys are no longer looked at.
    is_full: bool,
}

impl Default for Keys<'_> {
    fn default() -> Self {
        let (hashes, names) = (Vec::with_capacity(USUAL), Vec::with_capacity(USUAL));
        Self { hashes, names, objects: Vec::with_capacity(4), in_sets: 0 }
    }
}

impl<'a> Keys<'a> {
    /// An object begins.
    pub fn open(&mut self) {
        self.objects.push(Object { start: self.hashes.len(), count: 0, many: None, is_full: false });
    }

    /// The innermost object ends.
    pub fn close(&mut self) {
        if let Some(object) = self.objects.pop() {
            self.hashes.truncate(object.start);
            self.names.truncate(object.start);
            self.in_sets -= object.many.map_or(0, |many| many.len());
        }
    }

    /// Takes a key of the innermost object. Keys are equal when they are after decoding.
    #[inline]
    pub fn take(&mut self, key: Text<'a>) -> KeySeen {
        let Some(object) = self.objects.last_mut() else {
            return KeySeen::New;
        };
        object.count += 1;
        if object.count > FEW {
            return self.take_many(key);
        }
        let hash = hash(key);
        let start = object.start;
        for (at, other) in self.hashes[start..].iter().enumerate() {
            if *other == hash && self.names[start + at].decoded() == key.decoded() {
                return KeySeen::Twice;
            }
        }
        self.hashes.push(hash);
        self.names.push(key);
        KeySeen::New
    }

    fn take_many(&mut self, key: Text<'a>) -> KeySeen {
        let Some(object) = self.objects.last_mut() else {
            return KeySeen::New;
        };
        if object.is_full {
            return KeySeen::New;
        }
        if object.count > limits::KEYS_MAX || self.in_sets >= limits::OPEN_KEYS_MAX {
            object.is_full = true;
            return KeySeen::TooMany;
        }
        let names = &self.names[object.start..];
        let many = object.many.get_or_insert_with(|| {
            self.in_sets += names.len();
            names.iter().map(|name| name.decoded()).collect()
        });
        if !many.insert(key.decoded()) {
            return KeySeen::Twice;
        }
        self.in_sets += 1;
        KeySeen::New
    }
}

/// Tells most keys apart by their ends and their length; equal hashes are compared as texts.
#[inline]
fn hash(key: Text<'_>) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let decoded = key.decoded();
    let bytes: &[u8] = &decoded;
    let length = bytes.len() as u64;
    match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
            first.wrapping_mul(ODD) ^ last.rotate_left(29) ^ length
        }
        _ => bytes.iter().fold(length, |sum, byte| (sum << 8) ^ u64::from(*byte)),
    }
}

#[cfg(test)]
mod duplicate_key {
    use super::*;
    use crate::json::{JsonEvent, Scanner};

    fn take_all(text: &str) -> Vec<KeySeen> {
        let (mut scanner, mut keys) = (Scanner::new(text), Keys::default());
        let mut seen = Vec::new();
        loop {
            match scanner.next().unwrap() {
                JsonEvent::ObjectStart => keys.open(),
                JsonEvent::ObjectEnd => keys.close(),
                JsonEvent::Key(key) => seen.push(keys.take(key)),
                JsonEvent::End => return seen,
                _ => {}
            }
        }
    }

    #[test]
    fn is_found_if_one_of_the_two_is_escaped() {
        assert_eq!(take_all(r#"{"ab":1,"a\u0062":2}"#), [KeySeen::New, KeySeen::Twice]);
        assert_eq!(take_all(r#"{"\ud83d\ude00":1,"😀":2}"#), [KeySeen::New, KeySeen::Twice]);
    }

    #[test]
    fn is_distinguished_from_the_same_key_of_another_object() {
        assert_eq!(take_all(r#"{"a":{"a":1},"b":{"a":2}}"#), [KeySeen::New; 4]);
    }

    #[test]
    fn is_distinguished_from_keys_with_the_same_begin_and_end() {
        assert_eq!(take_all(r#"{"aaaaaaaa1bbbbbbbb":1,"aaaaaaaa2bbbbbbbb":2}"#), [KeySeen::New; 2]);
    }

    #[test]
    fn is_found_after_other_objects_ended() {
        let seen = take_all(r#"{"a":{"x":1,"y":2},"b":[{"z":1}],"c":1,"c":2,"a":3}"#);
        assert_eq!(seen[..6], [KeySeen::New; 6]);
        assert_eq!(seen[6..], [KeySeen::Twice; 2]);
    }

    #[test]
    fn is_found_among_thousands() {
        let members: Vec<String> = (0..5_000).map(|n| format!(r#""key {n}":0"#)).collect();
        let text = format!("{{{},{}}}", members.join(","), r#""key 7":0,"key 4000":0"#);
        let seen = take_all(&text);
        assert!(seen[..5_000].iter().all(|s| *s == KeySeen::New));
        assert_eq!(seen[5_000..], [KeySeen::Twice; 2]);
    }

    /// In an object of more than 32 keys as in a small one, whichever of the two has the escape.
    #[test]
    fn is_found_among_many_keys_if_one_of_the_two_is_escaped() {
        let others: Vec<String> = (0..40).map(|n| format!(r#""key {n}":0"#)).collect();
        let others = others.join(",");
        for (first, second) in [("ab", "a\\u0062"), ("a\\u0062", "ab"), ("a\\u0062", "\\u0061b")] {
            for text in [
                format!(r#"{{"{first}":1,{others},"{second}":2}}"#),
                format!(r#"{{{others},"{first}":1,"{second}":2}}"#),
            ] {
                let seen = take_all(&text);
                assert_eq!(seen[..41], [KeySeen::New; 41], "{text}");
                assert_eq!(seen[41], KeySeen::Twice, "{text}");
            }
        }
    }

    #[test]
    fn keys_of_nested_objects_are_bounded_in_sum() {
        let members: String = (0..limits::KEYS_MAX - 1).map(|n| format!(r#""{n}":0,"#)).collect();
        let depth = limits::OPEN_KEYS_MAX / limits::KEYS_MAX + 1;
        let around = format!("{}0{}", format!(r#"{{{members}"in":"#).repeat(depth), "}".repeat(depth));
        let seen = take_all(&around);
        assert_eq!(seen.iter().filter(|s| **s == KeySeen::TooMany).count(), 1);
        let beside = vec![format!(r#"{{{members}"in":0}}"#); depth].join(",");
        assert!(take_all(&format!("[{beside}]")).iter().all(|s| *s == KeySeen::New));
    }

    #[test]
    fn one_key_too_many_is_reported_once() {
        let members: Vec<String> = (0..limits::KEYS_MAX + 3).map(|n| format!(r#""{n}":0"#)).collect();
        let seen = take_all(&format!("{{{}}}", members.join(",")));
        assert_eq!(seen.iter().filter(|s| **s == KeySeen::TooMany).count(), 1);
        assert_eq!(seen[limits::KEYS_MAX], KeySeen::TooMany);
    }
}
