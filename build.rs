//! Says from which commit the program is built, for `airpouch --version`.

use std::path::Path;
use std::process::Command;

/// What decides about the bytes of the program. A change elsewhere in the tree makes no other program.
const BUILT: [&str; 4] = ["src", "build.rs", "Cargo.toml", "Cargo.lock"];

fn main() {
    for path in BUILT {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rustc-env=AIRPOUCH_BUILT_FROM={}", built_from().as_deref().unwrap_or("unknown commit"));
}

/// The commit of this tree, and whether the tree is another one by now; none without git, or out of an archive.
fn built_from() -> Option<String> {
    // An archive that was unpacked inside another repository is not of that repository's commit.
    if !git(&["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    let commit = git(&["rev-parse", "--verify", "HEAD"])?;
    watch_head();
    let changed = git(&[&["status", "--porcelain", "--"], BUILT.as_slice()].concat())?;
    // As many digits in every clone: git's own abbreviation depends on what else a clone has.
    let commit = commit.get(..12)?;
    Some(if changed.is_empty() { format!("commit {commit}") } else { format!("commit {commit}, changed") })
}

/// The next commit, and another branch, run this again. Of a file that is not there cargo says each time that it changed.
fn watch_head() {
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

/// What git prints, if it can.
fn git(arguments: &[&str]) -> Option<String> {
    let ran = Command::new("git")
        .arg("--no-optional-locks")
        .args(arguments)
        .output()
        .ok()
        .filter(|ran| ran.status.success())?;
    Some(String::from_utf8(ran.stdout).ok()?.trim_end().to_owned())
}
