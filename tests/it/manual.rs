//! The manual pages, as `man` reads them.

use std::fs;
use std::process::Command;

use crate::support::{files, finish, has};

#[test]
fn manual_pages_are_formatted_without_a_warning() {
    assert!(has("groff"), "groff is missing: tests/run installs it");
    let pages = files("man".as_ref());
    assert!(pages.len() > 15);
    for (page, _) in pages {
        let path = format!("man/{page}");
        let run = finish(Command::new("groff").args(["-man", "-ww", "-Tutf8", &path])).exits(0);
        assert_eq!(run.stderr, "", "{page}");
        let wide = fs::read_to_string(&path).unwrap();
        assert!(wide.is_ascii() && !run.stdout.is_empty(), "{page}");
    }
}
