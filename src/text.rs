//! Words for people: sizes, counts and durations as people write them, and strangers' text made harmless.

use std::fmt::Write as _;

/// A stranger's text with everything escaped that could act on a terminal or begin a line of its own:
/// controls, direction marks, invisible and unassigned characters. Long texts are cut.
pub fn harmless(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            out.push('…');
            break;
        }
        match c {
            ' ' => out.push(' '),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() || c.is_whitespace() || is_invisible(c) => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

/// Bidirectional controls, zero-width and format characters, variation selectors, tags and private use.
fn is_invisible(c: char) -> bool {
    matches!(c as u32,
        0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f
        | 0xfeff | 0xfff0..=0xfffb | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff | 0xe000..=0xf8ff | 0xf0000..=0x10ffff)
}

/// Bytes of a name that may not be UTF-8, made harmless.
pub fn harmless_bytes(name: &[u8]) -> String {
    harmless(&String::from_utf8_lossy(name))
}

/// A size as people write it: `713 bytes`, `1.2 KiB`, `256 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return count(bytes, "byte");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

/// A number and its noun: `1 envelope`, `20,000 envelopes`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = match noun.strip_suffix("tch") {
        Some(stem) if number != 1 => format!("{stem}tches"),
        _ if number == 1 => noun.to_owned(),
        _ => match noun.strip_suffix('y') {
            Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{stem}ies"),
            _ => format!("{noun}s"),
        },
    };
    format!("{} {plural}", grouped(number))
}

/// A number with its thousands apart: `20,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Reads a size as people write it: `500000`, `64KiB`, `256 MiB`, `2GB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let digits = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = trimmed.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "byte" | "bytes" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("{text:?} is no size; write for example 256MiB")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(|| format!("{text:?} is no size; write for example 256MiB"))
}

/// Reads a duration in seconds as people write it: `90s`, `15m`, `24h`, `30d`, `2w`.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no duration; write for example 15m, 24h or 30d");
    let trimmed = text.trim();
    let digits = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = trimmed.split_at(digits);
    let factor: u64 = match unit.trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)
}

/// A duration as people write it, in its largest whole unit: `90 s`, `15 min`, `24 h`, `30 d`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_wrote_cannot_act_on_a_terminal() {
        assert_eq!(harmless("a\x1b[2J\u{202e}b\nc"), "a\\u{1b}[2J\\u{202e}b\\u{a}c");
        assert_eq!(harmless("événements"), "événements");
        assert!(harmless(&"x".repeat(5000)).chars().count() < 300);
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(size(1), "1 byte");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(256 << 20), "256 MiB");
        assert_eq!(size((1 << 20) - 1), "1 MiB");
        assert_eq!(parse_size("256 MiB"), Ok(256 << 20));
        assert_eq!(parse_size("2GB"), Ok(2_000_000_000));
        assert_eq!(parse_size("2097152"), Ok(2_097_152));
        assert!(parse_size("many").is_err() && parse_size("").is_err() && parse_size("-1").is_err());
        assert!(parse_size("99999999999TiB").is_err());
    }

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(parse_duration("30d"), Ok(2_592_000));
        assert_eq!(parse_duration("15m"), Ok(900));
        assert!(parse_duration("30").is_err() && parse_duration("soon").is_err());
        assert_eq!(duration(2_592_000), "30 d");
    }

    #[test]
    fn nouns_follow_their_numbers() {
        assert_eq!(count(1, "envelope"), "1 envelope");
        assert_eq!(count(20_000, "envelope"), "20,000 envelopes");
        assert_eq!(count(2, "batch"), "2 batches");
        assert_eq!(count(3, "entry"), "3 entries");
    }
}
