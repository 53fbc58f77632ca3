//! File names on a shelf. They are a hint: what a file is, its content says.

use crate::stream::{Sequence, StreamId};

/// How the names of a batch's files begin: `airpouch-<stream, 16 hex>-<sequence, 8 digits>`.
pub fn base(stream: StreamId, sequence: Sequence) -> String {
    format!("airpouch-{}-{:08}", stream.prefix(), sequence.get())
}

/// The manifest's name.
pub fn manifest(stream: StreamId, sequence: Sequence) -> String {
    format!("{}.manifest", base(stream, sequence))
}

/// The name of one signature; the key id is a hint that is never compared or counted.
pub fn signature(stream: StreamId, sequence: Sequence, key_id: &str) -> String {
    format!("{}.{key_id}.sig", base(stream, sequence))
}

/// The index's name.
pub fn index(stream: StreamId, sequence: Sequence) -> String {
    format!("{}.index.zst", base(stream, sequence))
}

/// The name of volume `number`, from 1.
pub fn volume(stream: StreamId, sequence: Sequence, number: usize) -> String {
    format!("{}.v{number:04}.tar.zst", base(stream, sequence))
}

/// The head of the exporter's journal beside a batch. It is none of the batch's files, and so its name goes on with a hyphen.
pub fn head(stream: StreamId, sequence: Sequence) -> String {
    format!("{}{HEAD}", base(stream, sequence))
}

const HEAD: &str = "-journal.head";

/// The beginning of the names of the batch beside which a head of this name lies, if it is the name of one.
pub fn parse_head(name: &str) -> Option<&str> {
    name.strip_suffix(HEAD).filter(|base| parse(base).is_some())
}

/// What a file is called while it is written.
pub fn partial(name: &str) -> String {
    format!("{name}.partial")
}

/// What a file that is still being written will be called; none of any other.
pub fn of_partial(name: &str) -> Option<&str> {
    name.strip_suffix(".partial")
}

/// Stream prefix and number in the name of a batch's file, if it is one of ours.
pub fn parse(name: &str) -> Option<(&str, Sequence)> {
    let rest = name.strip_prefix("airpouch-")?;
    let (prefix, rest) = (rest.get(..16)?, rest.get(16..)?);
    let digits = rest.strip_prefix('-')?.get(..8)?;
    let after = rest.get(9..)?;
    let hex = prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    (hex && (after.is_empty() || after.starts_with('.'))).then_some((prefix, Sequence::new(number)?))
}

/// A name without what gateways do to names: capitals, `_` for `-`, a copy's ` (1)`.
pub fn plain(name: &str) -> String {
    let lower = name.to_ascii_lowercase().replace('_', "-");
    let mut out = String::with_capacity(lower.len());
    let mut rest = lower.as_str();
    while let Some(open) = rest.find(" (") {
        let inside = &rest[open + 2..];
        let digits = inside.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && inside[digits..].starts_with(')') {
            out.push_str(&rest[..open]);
            rest = &inside[digits + 1..];
        } else {
            out.push_str(&rest[..open + 2]);
            rest = inside;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_format_and_never_end_in_json() {
        let stream = StreamId::parse("c1d0a7e2-3b44-4f0e-9b3a-6a1c2d3e4f50").unwrap();
        let four = Sequence::new(4).unwrap();
        let names = [
            manifest(stream, four),
            signature(stream, four, "0123456789abcdef"),
            index(stream, four),
            volume(stream, four, 1),
        ];
        assert_eq!(names[3], "airpouch-c1d0a7e23b444f0e-00000004.v0001.tar.zst");
        for name in names {
            assert!(
                !name.contains(".json")
                    && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
            );
            assert_eq!(parse(&name), Some(("c1d0a7e23b444f0e", four)));
        }
    }

    #[test]
    fn names_changed_by_gateways_are_restored() {
        assert_eq!(plain("AIRPOUCH_C1D0A7E23B444F0E_00000004.MANIFEST"), "airpouch-c1d0a7e23b444f0e-00000004.manifest");
        assert_eq!(plain("a.0123 (1).sig"), "a.0123.sig");
        assert_eq!(plain("a (x).sig"), "a (x).sig");
        assert_eq!(parse("airpouch-c1d0a7e23b444f0e-00000000.manifest"), None);
        assert_eq!(
            parse_head("airpouch-c1d0a7e23b444f0e-00000004-journal.head"),
            Some("airpouch-c1d0a7e23b444f0e-00000004")
        );
        assert_eq!(parse_head("stick-journal.head"), None);
    }
}
