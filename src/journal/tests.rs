use std::fs;
use std::process::Command;

use super::*;

const ONE: &str = r#"{"at":"2026-11-28T07:00:00Z","run":"a","event":"packed"}"#;
const TWO: &str = r#"{"at":"2026-11-28T07:00:01Z","run":"a","event":"carried"}"#;

fn site() -> (tempfile::TempDir, Site) {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().to_owned());
    (dir, site)
}

fn written(site: &Site, objects: &[&str]) -> Journal {
    let (mut journal, torn) = Journal::open(site).unwrap();
    assert!(torn.is_none());
    journal.append(&objects.iter().map(|object| (*object).to_owned()).collect::<Vec<_>>()).unwrap();
    journal
}

#[test]
fn each_line_has_its_number_and_the_digest_of_the_line_before() {
    let (dir, site) = site();
    written(&site, &[ONE, TWO]);
    let journal = written(&site, &[ONE]);
    let text = fs::read_to_string(dir.path().join("journal.jsonl")).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    assert_eq!(lines[0], format!("{{\"n\":1,\"prev\":\"{BEFORE_THE_FIRST}\",{}\n", &ONE[1..]));
    for (number, pair) in lines.windows(2).enumerate() {
        let begin = format!("{{\"n\":{},\"prev\":\"{}\",", number + 2, Digest::of(pair[0].as_bytes()));
        assert!(pair[1].starts_with(&begin), "{}", pair[1]);
    }
    assert_eq!((journal.lines(), journal.last().to_owned()), (3, Digest::of(lines[2].as_bytes()).to_string()));
}

#[test]
fn end_that_a_crash_cut_off_is_kept_in_a_file_of_its_own_wherever_it_was_cut() {
    let (_dir, whole) = site();
    written(&whole, &[ONE, TWO]);
    let text = fs::read(whole.root().join("journal.jsonl")).unwrap();
    let first = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in 1..text.len() {
        let (dir, site) = site();
        fs::write(dir.path().join("journal.jsonl"), &text[..length]).unwrap();
        let (journal, torn) = Journal::open(&site).unwrap();
        let kept = if length < first { 0 } else { first };
        assert_eq!(journal.lines(), u64::from(length >= first), "cut to {length}");
        assert_eq!(fs::read(dir.path().join("journal.jsonl")).unwrap(), &text[..kept]);
        match torn {
            Some(torn) => assert_eq!(fs::read(dir.path().join(torn.name)).unwrap(), &text[kept..length]),
            None => assert_eq!(length, kept),
        }
    }
}

#[test]
fn what_a_run_that_was_cut_off_had_written_is_known_again() {
    let (_dir, site) = site();
    let third = TWO.replace("carried", "taken");
    let mut journal = written(&site, &[ONE, TWO]);
    let objects = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let (count, before) = journal.has_already(&objects(&[ONE, TWO, &third])).unwrap();
    assert_eq!((count, before.as_str()), (2, BEFORE_THE_FIRST));
    let (count, before) = journal.has_already(&objects(&[TWO, &third])).unwrap();
    assert_eq!((count, before == journal.last()), (1, false));
    let (count, before) = journal.has_already(&objects(&[&third])).unwrap();
    assert_eq!((count, before == journal.last()), (0, true));
    assert_eq!(journal.has_already(&[]).unwrap().0, 0);
}

#[test]
fn event_that_is_too_long_is_refused_and_nothing_of_it_is_written() {
    let (dir, site) = site();
    let mut journal = written(&site, &[ONE]);
    let before = fs::read(dir.path().join("journal.jsonl")).unwrap();
    let long = format!("{{\"event\":\"{}\"}}", "x".repeat(JOURNAL_LINE_MAX));
    assert!(journal.append(&[TWO.to_owned(), long]).is_err());
    assert_eq!(fs::read(dir.path().join("journal.jsonl")).unwrap(), before);
}

#[test]
fn head_opens_with_openssl() {
    let (dir, site) = site();
    let journal = written(&site, &[ONE, TWO]);
    journal.sign_head().unwrap();
    fs::write(dir.path().join("pub.pem"), public_key(&site).unwrap().to_pem()).unwrap();
    let script = r"
        sed '/^$/,$d' journal.head > text
        sed -n 's/^\xe2\x80\x94 [0-9a-f]* //p' journal.head | base64 -d | tail -c 64 > signature
        openssl pkeyutl -verify -rawin -pubin -inkey pub.pem -in text -sigfile signature
    ";
    let done = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn head_holds_for_its_key_alone_and_in_no_other_text() {
    let key = PrivateKey::from_seed([7; 32]);
    let head = JournalHead { lines: 12, last: Digest::of(b"line").to_string() };
    let note = head.signed(&key);
    assert_eq!(JournalHead::verified(&note, &key.public()), Ok(head));
    assert_eq!(JournalHead::verified(&note, &PrivateKey::from_seed([8; 32]).public()), Err(NotAHead::BadSignature));
    for at in 0..note.len() {
        let mut changed = note.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else { continue };
        assert!(JournalHead::verified(&changed, &key.public()).is_err(), "byte {at} does not count: {changed}");
    }
    for length in 0..note.len() - 1 {
        if let Some(cut) = note.get(..length) {
            assert!(JournalHead::verified(cut, &key.public()).is_err(), "{cut}");
        }
    }
}
