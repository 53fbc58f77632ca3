//! Whether the journal still has the line that the ledger knew as its last one: a look at its end, without the lock.

use std::io::{self, Read, Seek, SeekFrom};

use super::{JournalLine, LINES};
use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result};
use crate::limits::JOURNAL_LINE_MAX;
use crate::site::Site;

/// How much of the end is read: mostly the last line is the one; a run that is at work has written some behind it.
const ENDS: [u64; 2] = [2 * JOURNAL_LINE_MAX as u64, 16 << 20];

/// Whether the line of this number has this digest, in hex. None if it lies too far from the end to be seen at a glance;
/// `audit` reads all.
///
/// # Errors
/// The system refused.
pub fn still_has(site: &Site, number: u64, digest: &str) -> Result<Option<bool>> {
    let path = site.root().join(LINES);
    for length in ENDS {
        let end = match end_of(site, length) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(number == 0)),
            end => end.map_err(|e| Error::io("read the journal", &path, &e))?,
        };
        if let Some(found) = look_for(&end, number, digest) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn end_of(site: &Site, length: u64) -> io::Result<Vec<u8>> {
    let mut file = disk::open_regular(&site.root().join(LINES))?;
    let from = file.metadata()?.len().saturating_sub(length);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    // What a run writes meanwhile stands behind what is asked for.
    file.take(length).read_to_end(&mut end)?;
    Ok(end)
}

/// None if the line is not in it.
fn look_for(end: &[u8], number: u64, digest: &str) -> Option<bool> {
    let mut lines = end.split_inclusive(|byte| *byte == b'\n').rev().filter(|line| line.ends_with(b"\n"));
    let Some(last) = lines.next() else { return Some(number == 0) };
    let Ok(JournalLine { n, .. }) = JournalLine::parse(last) else { return Some(false) };
    let line = match n.checked_sub(number) {
        None => return Some(false),
        Some(0) => last,
        Some(behind) => lines.nth(usize::try_from(behind).ok()? - 1)?,
    };
    // The first piece may be the rest of a line of which the beginning was not read.
    line.starts_with(b"{\"n\":").then(|| Digest::of(line).to_string() == digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: u64) -> String {
        format!("{{\"n\":{n},\"prev\":\"\",\"at\":\"\",\"run\":\"\",\"event\":\"packed\"}}\n")
    }

    #[test]
    fn line_is_found_behind_others_and_missed_where_it_was_cut_or_changed() {
        let lines: Vec<String> = (1..=3).map(line).collect();
        let digest = |n: usize| Digest::of(lines[n - 1].as_bytes()).to_string();
        let all = lines.concat();
        assert_eq!(look_for(all.as_bytes(), 3, &digest(3)), Some(true));
        assert_eq!(look_for(all.as_bytes(), 2, &digest(2)), Some(true), "a run has written one behind it");
        assert_eq!(look_for(all.as_bytes(), 2, &digest(3)), Some(false), "another line has its number");
        assert_eq!(look_for(all.as_bytes(), 4, &digest(3)), Some(false), "the end was cut off");
        assert_eq!(
            look_for(format!("{all}{{\"n\":4").as_bytes(), 3, &digest(3)),
            Some(true),
            "a line is being written"
        );
        assert_eq!(look_for(&all.as_bytes()[5..], 1, &digest(1)), None, "its beginning was not read");
        assert_eq!(look_for(&all.as_bytes()[5..], 2, &digest(2)), Some(true));
        assert_eq!(look_for(b"no line\n", 1, &digest(1)), Some(false));
        assert_eq!(look_for(b"", 0, ""), Some(true));
        assert_eq!(look_for(b"", 1, &digest(1)), Some(false), "all of it is gone");
    }
}
