//! An examination in a process of its own, which may die of it without the run.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Apart {
    /// It came to its end, whatever it found.
    CameThrough,
    /// It died; how, in words.
    Died(String),
}

/// The verb by which the program examines one envelope, from its standard input; no person types it.
pub const EXAMINE_APART: &str = "examine-apart";

/// The exit status of a Rust program that has panicked.
const PANICKED: i32 = 101;

/// Signals by which a person ends a program: they say nothing about the envelope.
const BY_A_PERSON: [i32; 3] = [1, 2, 15];

/// Starts `program` with these arguments, gives it the envelope, and waits for its end. No settings and no secrets are
/// in its environment.
///
/// # Errors
/// The program cannot be started.
pub fn examine_apart(program: &Path, arguments: &[&str], envelope: &[u8]) -> io::Result<Apart> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // It may die before it has read everything: its end says so.
        let _ = input.write_all(envelope);
    }
    let status = child.wait()?;
    Ok(match (status.code(), status.signal()) {
        (Some(PANICKED), _) => Apart::Died("it panicked".to_owned()),
        (_, Some(signal)) if !BY_A_PERSON.contains(&signal) => {
            let memory = if signal == 9 || signal == 6 { ", mostly for want of memory" } else { "" };
            Apart::Died(format!("signal {signal}{memory}"))
        }
        _ => Apart::CameThrough,
    })
}

#[cfg(test)]
mod an_examination_apart {
    use super::*;

    fn sh(script: &str, envelope: &[u8]) -> Apart {
        examine_apart(Path::new("/bin/sh"), &["-c", script], envelope).unwrap()
    }

    #[test]
    fn says_how_the_process_ended() {
        assert_eq!(sh("exit 0", b"x"), Apart::CameThrough);
        assert_eq!(sh("exit 3", b"x"), Apart::CameThrough);
        assert_eq!(sh("exit 101", b"x"), Apart::Died("it panicked".to_owned()));
        assert_eq!(sh("kill -9 $$", b"x"), Apart::Died("signal 9, mostly for want of memory".to_owned()));
        assert_eq!(sh("kill -11 $$", b"x"), Apart::Died("signal 11".to_owned()));
        assert_eq!(sh("kill -15 $$", b"x"), Apart::CameThrough);
    }

    #[test]
    fn gives_the_envelope_and_no_environment() {
        let script = r#"[ "$(cat)" = envelope ] && [ -z "$HOME$CARGO" ] || kill -9 $$"#;
        assert_eq!(sh(script, b"envelope"), Apart::CameThrough);
    }

    #[test]
    fn of_a_program_that_reads_nothing_ends() {
        assert_eq!(sh("exit 0", &vec![b' '; 8 << 20]), Apart::CameThrough);
    }

    #[test]
    fn of_a_program_that_is_not_there_is_an_error() {
        assert!(examine_apart(Path::new("/nonexistent/airpouch"), &[], b"x").is_err());
    }
}
