//! Names in the place of what differs each time: digests, streams, head codes, times, sizes, durations.

/// A text in which what differs from run to run has a name instead.
pub fn named(text: &str) -> String {
    let text = without_ages(text);
    let mut out = String::new();
    let mut before = String::new();
    let mut rest = &text[..];
    while !rest.is_empty() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if length == 0 {
            let c = rest.chars().next().unwrap();
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let word = rest[..length].trim_end_matches(['.', ':']);
        let word = if word.is_empty() { &rest[..length] } else { word };
        rest = &rest[word.len()..];
        let unit = rest.strip_prefix(' ').unwrap_or_default();
        out.push_str(&name(word, &before, unit).unwrap_or_else(|| word.to_owned()));
        word.clone_into(&mut before);
    }
    without_spelling(&out)
}

/// A text in which each moment's age is AGE, whatever its unit: it may grow from one run to the next.
pub fn without_ages(text: &str) -> String {
    let mut pieces = text.split(" UTC (");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out.push_str(" UTC (AGE");
        out.push_str(&piece[piece.find(')').expect("an age ends")..]);
    }
    out
}

/// A text in which no arrival code is spelled.
fn without_spelling(text: &str) -> String {
    const SPELLED: &str = "ARRIVAL-CODE (";
    let mut pieces = text.split(SPELLED);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out += &format!("{SPELLED}SPELLED{}", &piece[piece.find(')').expect("it ends")..]);
    }
    out
}

/// The name for a word, which comes after another and before what may be its unit.
fn name(word: &str, before: &str, after: &str) -> Option<String> {
    let is_hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = word.split('-').collect();
    if let ["airpouch", stream, ends @ ..] = &parts[..]
        && is_hex(stream, 16)
    {
        return Some(format!(
            "airpouch-STREAM-{}",
            ends.join("-")
                .split('.')
                .map(|part| if is_hex(part, 16) { "KEY" } else { part })
                .collect::<Vec<_>>()
                .join(".")
        ));
    }
    let is_uuid = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(|p| is_hex(p, p.len()));
    if is_uuid && before == "stream" {
        return Some("STREAM".to_owned());
    }
    if parts.len() == 2 && parts.iter().all(|part| is_hex(part, 4) && *part == part.to_uppercase()) {
        return Some("HEAD-CODE".to_owned());
    }
    if airpouch::spoken::SpokenCode::parse(word).is_ok() {
        return Some("CODE".to_owned());
    }
    if parts.len() == 2 && airpouch::arrival::ArrivalCode::parse(word).is_ok() {
        return Some("ARRIVAL-CODE".to_owned());
    }
    if airpouch::spoken::Spoken::<28>::parse(word).is_ok() {
        return Some("SECRET".to_owned());
    }
    if is_hex(word, 8) && before == "pairing" {
        return Some("ID".to_owned());
    }
    if is_hex(word, 64) || (is_hex(word, 8) && before == "release") {
        return Some("DIGEST".to_owned());
    }
    if is_hex(word, 16) {
        return Some("KEY".to_owned());
    }
    if word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T' {
        return Some("TIME".to_owned());
    }
    let is_date =
        parts.iter().map(|part| part.len()).eq([4, 2, 2]) && word.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if is_date && after.as_bytes().get(2) == Some(&b':') {
        return Some("DATE".to_owned());
    }
    if word.len() == 5 && word.as_bytes()[2] == b':' && after.starts_with("UTC") {
        return Some("TIME".to_owned());
    }
    let is_number = word.bytes().all(|b| b.is_ascii_digit() || b == b'.') && word.as_bytes()[0].is_ascii_digit();
    let unit = after.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    (is_number && ["bytes", "KiB", "MiB", "s"].contains(&unit)).then(|| "N".to_owned())
}

#[test]
fn names_replace_what_differs_and_nothing_else() {
    let text = "packed 2026-11-27 07:00 UTC (31 h ago), stream 230fef21-9908-4f5a-9773-602f5205811a: airpouch-230fef2199084f5a-00000001.index.zst, 7.9 KiB in 12 s, \
                made 2026-11-25T04:44:41Z, head code A6B3-ECE1. release 3603596b; 4 envelopes of batch 1";
    let expected = "packed DATE TIME UTC (AGE), stream STREAM: airpouch-STREAM-00000001.index.zst, N KiB in N s, \
                    made TIME, head code HEAD-CODE. release DIGEST; 4 envelopes of batch 1";
    assert_eq!(named(text), expected);
}
