//! The house: which room may use which, what only places may do, and that no line is left unfinished.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks open what they have made themselves")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms of the library in the order of `lib.rs`: a room uses only those above it.
fn rooms() -> Vec<String> {
    let lib = fs::read_to_string("src/lib.rs").unwrap();
    lib.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}

/// Source files of a room: `foo.rs` and what lies in `foo/`.
fn files_of(room: &str) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from(format!("src/{room}.rs"))];
    let mut dirs = vec![PathBuf::from(format!("src/{room}"))];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                dirs.push(entry.path());
            } else if entry.path().extension().is_some_and(|e| e == "rs") {
                files.push(entry.path());
            }
        }
    }
    files
}

/// The code of a file without its tests, its comments and its texts.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let mut out = String::new();
    for line in text.lines().take_while(|l| !l.starts_with("#[cfg(test)]")) {
        if !line.trim_start().starts_with("//") {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[test]
fn a_room_uses_only_rooms_above_it() {
    let rooms = rooms();
    let place: BTreeMap<&str, usize> = rooms.iter().enumerate().map(|(at, r)| (r.as_str(), at)).collect();
    let mut wrong = Vec::new();
    for room in &rooms {
        for file in files_of(room).into_iter().filter(|f| !f.ends_with("tests.rs")) {
            for used in code(&file).split("crate::").skip(1) {
                let other: String = used.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let goes_down = place.get(other.as_str()).is_some_and(|at| *at > place[room.as_str()]);
                if goes_down {
                    wrong.push(format!("{} uses {other}", file.display()));
                }
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn things_touch_no_file_no_clock_and_no_environment() {
    let things: Vec<String> = rooms().into_iter().take_while(|r| r != "error").collect();
    assert!(things.contains(&"trust".to_owned()) && things.contains(&"report".to_owned()));
    for room in things {
        for file in files_of(&room).into_iter().filter(|f| !f.ends_with("tests.rs")) {
            let code = code(&file);
            for word in
                ["std::fs", "std::net", "std::env", "SystemTime", "Instant", "std::process", "rustix", "getrandom"]
            {
                assert!(!code.contains(word), "{} uses {word}", file.display());
            }
        }
    }
}

#[test]
fn no_line_of_the_source_is_left_unfinished() {
    let mut files = files_of("cli");
    files.extend(rooms().iter().flat_map(|r| files_of(r)));
    for file in files.into_iter().filter(|f| !f.ends_with("tests.rs")) {
        let code = code(&file);
        for mark in ["todo!(", "unimplemented!(", "TODO", "FIXME", "XXX", ".unwrap()", "println!", "dbg!("] {
            assert!(!code.contains(mark), "{} has {mark}", file.display());
        }
    }
}

#[test]
fn threads_are_started_only_where_a_lack_of_them_is_an_error() {
    for room in rooms().into_iter().filter(|room| room != "lack") {
        for file in files_of(&room).into_iter().filter(|f| !f.ends_with("tests.rs")) {
            let code = code(&file).replace("lack::spawn(", "").replace("lack::spawn_scoped(", "");
            for word in ["thread::spawn(", "scope.spawn(", "spawn_scoped(", "thread::Builder"] {
                assert!(!code.contains(word), "{} has {word}: it panics or hides where there is none", file.display());
            }
        }
    }
}
