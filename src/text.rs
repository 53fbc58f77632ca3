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
            '\\' => out.push_str("\\\\"),
            c if is_hidden(c) => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

/// A whole line or several for a terminal, whatever they hold: what nobody sees or what turns the writing around is
/// escaped, and nothing is cut. Line ends stay.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c != '\n' && is_hidden(c) => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

/// One line, whatever the text holds: as [`visible`], line ends too. What is longer than `longest` characters is cut.
pub fn visible_line(text: &str, longest: usize) -> String {
    let cut = text.char_indices().nth(longest);
    let line = visible(cut.map_or(text, |(end, _)| &text[..end])).replace('\n', "\\u{a}");
    if cut.is_some() { line + "…" } else { line }
}

/// A JSON document with everything escaped in its texts that nobody sees or that acts on a terminal; it means the same.
/// Such characters stand in a JSON document in texts only.
pub fn visible_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            c if c != '\n' && is_hidden(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// A basic string of TOML, whole: what nobody sees is escaped.
pub fn quoted_toml(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_hidden(c) && c as u32 > 0xffff => {
                let _ = write!(out, "\\U{:08x}", c as u32);
            }
            c if is_hidden(c) => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether a character is not seen, looks like a blank and is none, or acts on a terminal or on the direction of writing:
/// controls, white space but the blank, Unicode's `Default_Ignorable_Code_Point` and format characters, fillers, tags,
/// private use and noncharacters.
fn is_hidden(c: char) -> bool {
    c != ' ' && (c.is_control() || c.is_whitespace() || is_invisible(c))
}

fn is_invisible(c: char) -> bool {
    let code = c as u32;
    matches!(code,
        0xad | 0x34f | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x115f..=0x1160
        | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0x2800 | 0x3164
        | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0x110bd | 0x110cd | 0x13430..=0x1343f
        | 0x1bca0..=0x1bca3 | 0x1d159 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff | 0xe000..=0xf8ff | 0xf0000..=0x10ffff)
        || code & 0xfffe == 0xfffe
        || (0xfdd0..=0xfdef).contains(&code)
}

/// Bytes of a name that may not be UTF-8, made harmless.
pub fn harmless_bytes(name: &[u8]) -> String {
    harmless(&String::from_utf8_lossy(name))
}

/// A word as a POSIX shell reads it back, without anything that could act on a terminal.
pub fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut out = String::from("'");
    for c in text.chars() {
        match c {
            '\'' => out.push_str("'\\''"),
            // Such a name cannot be pasted; it is at least not let loose.
            c if c.is_control() || is_invisible(c) => out.push('?'),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
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
        _ => return Err(format!("invalid size {text:?}; write for example 256MiB")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(|| format!("invalid size {text:?}; write for example 256MiB"))
}

/// Reads a duration in seconds as people write it: `90s`, `15m`, `24h`, `30d`, `2w`.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("invalid duration {text:?}; write for example 15m, 24h or 30d");
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
    fn text_of_a_stranger_cannot_act_on_a_terminal() {
        assert_eq!(harmless("a\x1b[2J\u{202e}b\nc"), "a\\u{1b}[2J\\u{202e}b\\u{a}c");
        assert_eq!(harmless("événements"), "événements");
        assert!(harmless(&"x".repeat(5000)).chars().count() < 300);
    }

    /// What a stranger may write so that nobody sees it, or sees something else.
    const HIDDEN: [char; 30] = [
        '\u{0}',
        '\u{1b}',
        '\u{7f}',
        '\u{85}',
        '\u{9b}',
        '\u{a0}',
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{115f}',
        '\u{1160}',
        '\u{17b4}',
        '\u{180b}',
        '\u{180f}',
        '\u{200b}',
        '\u{2028}',
        '\u{2029}',
        '\u{202e}',
        '\u{2066}',
        '\u{2800}',
        '\u{3000}',
        '\u{3164}',
        '\u{e000}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{ffa0}',
        '\u{ffff}',
        '\u{1d173}',
        '\u{e0041}',
        '\u{10fffd}',
    ];

    #[test]
    fn hidden_characters_are_escaped_everywhere_and_json_and_toml_mean_the_same() {
        for c in HIDDEN {
            let text = format!("a{c}b");
            assert!(harmless(&text).is_ascii(), "{:x}", c as u32);
            assert!(visible(&text).is_ascii(), "{:x}", c as u32);
            let json = visible_json(&serde_json::json!({ "k": &text }).to_string());
            assert!(json.is_ascii(), "{json}");
            let back: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(back["k"], text);
            let line = format!("{} = {}", quoted_toml(&text), quoted_toml("\"\\"));
            assert!(line.is_ascii(), "{line}");
            let back: toml::Table = line.parse().unwrap();
            assert_eq!(back[&text].as_str(), Some("\"\\"));
        }
    }

    #[test]
    fn letters_of_all_scripts_stay_as_they_are() {
        let text = "Événements, 日本語, हिन्दी, عربي, עברית, ไทย, 한국어, Ελληνικά 🦀";
        assert_eq!(harmless(text), text);
        assert_eq!(visible(&format!("{text}\n{text}")), format!("{text}\n{text}"));
        assert_eq!(visible_json(text), text);
        assert_eq!(quoted_toml(text), format!("\"{text}\""));
    }

    #[test]
    fn text_to_paste_is_never_cut() {
        let long = "x".repeat(5000);
        assert_eq!(quoted_toml(&long).len(), 5002);
        assert_eq!(visible(&long).len(), 5000);
    }

    #[test]
    fn word_is_quoted_as_a_shell_reads_it() {
        assert_eq!(shell_word("/srv/site-a"), "/srv/site-a");
        assert_eq!(shell_word("opencti+https://cti.example:443"), "opencti+https://cti.example:443");
        assert_eq!(shell_word("my site"), "'my site'");
        assert_eq!(shell_word("it's $HOME; rm"), "'it'\\''s $HOME; rm'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("a\x1b[2Jb\u{202e}"), "'a?[2Jb?'");
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
