//! Who holds the lock of a file.
//!
//! A process that another one starts has the files that are open there, and with them their locks, from its beginning
//! until it has become the other program. If the one that took the lock dies in between, the lock is held by a process
//! that knows nothing of it, and lets go of it in a moment.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::read_bounded;
use crate::limits::LOCKS_LISTED_MAX;

/// Ticks of a second in which the kernel tells programs the times of processes, whatever it counts in itself.
const TICKS_A_SECOND: i64 = 100;

/// Whether a living process has taken the lock of this file. If the system does not tell, that counts as one.
pub fn is_held_by_the_living(file: &File) -> bool {
    takers_of(file).is_none_or(|takers| takers.into_iter().any(is_alive))
}

/// The living process that has taken the lock of this file; none if the system does not tell, or tells of several: files of
/// one number on two file systems.
pub fn only_taker(file: &File) -> Option<u32> {
    let mut living = takers_of(file)?.into_iter().filter(|process| is_alive(*process));
    living.next().filter(|_| living.next().is_none())
}

/// When a process has started, in seconds since 1970.
pub fn start_of(process: u32) -> Option<i64> {
    let text = |path: &str| Some(String::from_utf8_lossy(&read_bounded(Path::new(path), 1 << 20).ok()?).into_owned());
    let stat = text(&format!("/proc/{process}/stat"))?;
    // The 22nd field; the second one, a name, may have blanks and brackets in it.
    let ticks: i64 = stat.rsplit(") ").next()?.split_whitespace().nth(19)?.parse().ok()?;
    let system = text("/proc/stat")?;
    let booted: i64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(booted + ticks / TICKS_A_SECOND)
}

fn takers_of(file: &File) -> Option<Vec<u32>> {
    let list = read_bounded(Path::new("/proc/locks"), LOCKS_LISTED_MAX).ok()?;
    let about = file.metadata().ok()?;
    let is_whole = list.len() as u64 <= LOCKS_LISTED_MAX;
    is_whole.then(|| takers(&String::from_utf8_lossy(&list), about.ino()))
}

/// The processes that took a lock of a file with this number, by the kernel's list: one lock a line, as in
/// `1: FLOCK  ADVISORY  WRITE 2561 fe:00:5629851 0 EOF`. The device is left out, for some file systems have two numbers
/// for it.
fn takers(list: &str, inode: u64) -> Vec<u32> {
    let taker = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, process, place, ..] = fields[..] else { return None };
        let number: u64 = place.rsplit(':').next()?.parse().ok()?;
        process.parse().ok().filter(|_| number == inode)
    };
    list.lines().filter_map(taker).collect()
}

/// Whether a process is there, and not dead with nobody having asked yet how it ended.
fn is_alive(process: u32) -> bool {
    match read_bounded(Path::new(&format!("/proc/{process}/stat")), 4096) {
        Ok(stat) => !has_ended(&String::from_utf8_lossy(&stat)),
        Err(e) => e.kind() != io::ErrorKind::NotFound,
    }
}

/// Whether a process has ended: its state comes after its name, which may have any character.
fn has_ended(stat: &str) -> bool {
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takers_are_those_of_one_file_and_none_who_waits() {
        let list = "1: FLOCK  ADVISORY  WRITE 2561 fe:00:5629851 0 EOF\n\
                    2: FLOCK  ADVISORY  READ 2562 fe:00:10133507 0 EOF\n\
                    2: -> FLOCK  ADVISORY  WRITE 2563 fe:00:5629851 0 EOF\n\
                    3: POSIX  ADVISORY  WRITE 2564 fe:00:5629851 0 EOF\n\
                    4: FLOCK  ADVISORY  WRITE 2565 00:2f:5629851 0 EOF\n\
                    what is this\n";
        assert_eq!(takers(list, 5_629_851), [2561, 2565]);
        assert_eq!(takers(list, 1), [0; 0]);
    }

    #[test]
    fn process_that_nobody_asked_for_has_ended_too() {
        for (stat, ended) in [
            ("7 (a b) S 1 7", false),
            ("7 (a) Z) R 1 7", false),
            ("7 (a) Z 1 7", true),
            ("7 (x) X 1", true),
            ("", false),
        ] {
            assert_eq!(has_ended(stat), ended, "{stat}");
        }
        assert!(is_alive(std::process::id()));
        // Beyond the kernel's largest number.
        assert!(!is_alive(u32::MAX));
    }

    #[test]
    fn this_process_has_started_and_not_in_the_future() {
        let now = crate::clock::now().0;
        let started = start_of(std::process::id()).unwrap();
        // The kernel's time of booting is rounded.
        assert!((1..=now + 1).contains(&started), "{started} {now}");
        assert_eq!(start_of(u32::MAX), None);
    }

    #[test]
    fn lock_of_this_process_is_held_by_the_living() {
        let file = tempfile::tempfile().unwrap();
        assert!(!is_held_by_the_living(&file));
        file.lock().unwrap();
        assert!(is_held_by_the_living(&file));
    }
}
