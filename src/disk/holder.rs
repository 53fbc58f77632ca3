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

/// Whether a living process has taken the lock of this file. If the system does not tell, that counts as one.
pub fn is_held_by_the_living(file: &File) -> bool {
    let list = read_bounded(Path::new("/proc/locks"), LOCKS_LISTED_MAX);
    match (list, file.metadata()) {
        (Ok(list), Ok(about)) if list.len() as u64 <= LOCKS_LISTED_MAX => {
            takers(&String::from_utf8_lossy(&list), about.ino()).into_iter().any(is_alive)
        }
        _ => true,
    }
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
    fn lock_of_this_process_is_held_by_the_living() {
        let file = tempfile::tempfile().unwrap();
        assert!(!is_held_by_the_living(&file));
        file.lock().unwrap();
        assert!(is_held_by_the_living(&file));
    }
}
