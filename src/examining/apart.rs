//! An examination in a process of its own: if that dies or never ends, the run continues.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;

use crate::report::{Observer, Signal};
use crate::text::count;

/// The result of an examination apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Apart {
    /// It ended normally, whatever it found.
    CameThrough,
    /// It died; how, in words.
    Died(String),
    /// The run was asked to stop meanwhile, and has ended it.
    Stopped(Signal),
}

/// The verb by which the program examines one envelope, from its standard input; no person types it.
pub const EXAMINE_APART: &str = "examine-apart";

/// The exit status of a Rust program that has panicked.
const PANICKED: i32 = 101;

/// Signals by which a person ends a program: they say nothing about the envelope.
const BY_A_PERSON: [i32; 3] = [1, 2, 15];

/// The program that examines an envelope in a process of its own.
#[derive(Clone, Debug)]
pub struct Program {
    /// The path of the program.
    pub path: PathBuf,
    /// The longest time that one examination may take.
    pub limit: Duration,
}

impl Program {
    /// Starts the program with these arguments, passes it the envelope, and waits for its end, but kills it at the
    /// limit, or when the run is asked to stop. Its environment has no settings and no secrets.
    ///
    /// # Errors
    /// The program cannot be started or watched.
    pub fn examine(&self, arguments: &[&str], envelope: &[u8], observer: &dyn Observer) -> io::Result<Apart> {
        let mut command = Command::new(&self.path);
        command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let ended = feed(&mut child, envelope, self.limit, observer);
        if !matches!(ended, Ok(true)) {
            // It may have ended just now; then there is nothing to kill.
            let _ = child.kill();
        }
        let status = child.wait()?;
        let ended = ended?;
        if let Some(signal) = observer.asked_to_stop().filter(|_| !ended) {
            return Ok(Apart::Stopped(signal));
        }
        if !ended {
            let limit = count(self.limit.as_secs(), "second");
            return Ok(Apart::Died(format!("it did not end within {limit} and was killed")));
        }
        Ok(match (status.code(), status.signal()) {
            (Some(PANICKED), _) => Apart::Died("it panicked".to_owned()),
            (_, Some(signal)) if !BY_A_PERSON.contains(&signal) => {
                let memory = if signal == 9 || signal == 6 { ", mostly for want of memory" } else { "" };
                Apart::Died(format!("signal {signal}{memory}"))
            }
            _ => Apart::CameThrough,
        })
    }
}

/// Writes the envelope to the process and waits until it closes its output, which it does at its end; `false` if the
/// time is up before, or the run is asked to stop. The process may read slowly or not at all, so no write blocks.
fn feed(child: &mut Child, envelope: &[u8], limit: Duration, observer: &dyn Observer) -> io::Result<bool> {
    let mut input = child.stdin.take();
    let Some(mut output) = child.stdout.take() else { return Ok(true) };
    input.as_ref().map_or(Ok(()), |input| ioctl_fionbio(input, true))?;
    let (began, mut rest) = (Instant::now(), envelope);
    loop {
        let Some(left) = limit.checked_sub(began.elapsed()) else { return Ok(false) };
        if observer.asked_to_stop().is_some() {
            return Ok(false);
        }
        if rest.is_empty() {
            input = None;
        }
        let (writable, readable) = ready(input.as_ref(), &output, left, observer)?;
        if writable && let Some(pipe) = &mut input {
            match pipe.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // It has died or reads no more; its exit status shows which.
                Err(_) => input = None,
            }
        }
        if readable && has_ended(&mut output)? {
            return Ok(true);
        }
    }
}

/// Waits until the process reads more, writes something or ends; neither if the time is up or the run is asked to stop.
fn ready(
    input: Option<&ChildStdin>,
    output: &ChildStdout,
    left: Duration,
    observer: &dyn Observer,
) -> io::Result<(bool, bool)> {
    let mut watched = vec![PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
    watched.extend(input.map(|input| PollFd::from_borrowed_fd(input.as_fd(), PollFlags::OUT)));
    watched.extend(observer.stop_alarm().map(|alarm| PollFd::from_borrowed_fd(alarm, PollFlags::IN)));
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(&mut watched, Some(&left)) {
        Err(rustix::io::Errno::INTR) => return Ok((false, false)),
        answered => drop(answered?),
    }
    let is_ready = |at: usize| watched.get(at).is_some_and(|fd| !fd.revents().is_empty());
    Ok((input.is_some() && is_ready(1), is_ready(0)))
}

/// Whether the output is closed. What the process writes there is ignored.
fn has_ended(output: &mut ChildStdout) -> io::Result<bool> {
    match output.read(&mut [0; 512]) {
        Ok(read) => Ok(read == 0),
        Err(e) if e.kind() == ErrorKind::Interrupted => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Silent;

    fn sh(script: &str, envelope: &[u8]) -> Apart {
        // Longer than any test takes: it only ends a process that hangs.
        within(Duration::from_secs(3_600), script, envelope)
    }

    fn within(limit: Duration, script: &str, envelope: &[u8]) -> Apart {
        Program { path: "/bin/sh".into(), limit }.examine(&["-c", script], envelope, &Silent).unwrap()
    }

    #[test]
    fn examination_apart_reports_how_the_process_ended() {
        assert_eq!(sh("exit 0", b"x"), Apart::CameThrough);
        assert_eq!(sh("exit 3", b"x"), Apart::CameThrough);
        assert_eq!(sh("exit 101", b"x"), Apart::Died("it panicked".to_owned()));
        assert_eq!(sh("kill -9 $$", b"x"), Apart::Died("signal 9, mostly for want of memory".to_owned()));
        assert_eq!(sh("kill -11 $$", b"x"), Apart::Died("signal 11".to_owned()));
        assert_eq!(sh("kill -15 $$", b"x"), Apart::CameThrough);
    }

    #[test]
    fn examination_apart_passes_the_envelope_and_no_environment() {
        let script = r#"[ "$(cat)" = envelope ] && [ -z "$HOME$CARGO" ] || kill -9 $$"#;
        assert_eq!(sh(script, b"envelope"), Apart::CameThrough);
    }

    #[test]
    fn examination_by_a_program_that_reads_nothing_ends() {
        assert_eq!(sh("exit 0", &vec![b' '; 8 << 20]), Apart::CameThrough);
    }

    #[test]
    fn examination_by_a_slow_program_passes_all_bytes() {
        let script =
            r#"n=0; while IFS= read -r line; do n=$((n + 1)); echo "$line"; done; [ $n = 20000 ] || kill -9 $$"#;
        assert_eq!(sh(script, &b"0123456789\n".repeat(20_000)), Apart::CameThrough);
    }

    #[test]
    fn examination_without_end_is_killed_at_the_limit() {
        let never = "exec tail -f /dev/null";
        let killed = Apart::Died("it did not end within 0 seconds and was killed".to_owned());
        assert_eq!(within(Duration::from_millis(1), never, b"x"), killed);
        // A process that does not read does not help either: the pipe is full long before all of this is written.
        assert_eq!(within(Duration::from_millis(1), never, &vec![b' '; 8 << 20]), killed);
        assert_eq!(within(Duration::ZERO, never, b"x"), killed);
    }

    #[test]
    fn examination_killed_at_the_limit_leaves_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let id = dir.path().join("id");
        // The process prints its id, and ends only by a kill; the limit is long enough to print it.
        let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec tail -f /dev/null", id.display());
        let mut limit = Duration::from_millis(1);
        while !id.exists() {
            assert!(matches!(within(limit, &script, b"x"), Apart::Died(_)));
            limit *= 2;
        }
        let id = std::fs::read_to_string(id).unwrap();
        assert!(!std::path::Path::new("/proc").join(id.trim()).exists(), "process {id} is there");
    }

    #[test]
    fn examination_by_a_missing_program_is_an_error() {
        let nobody = Program { path: "/nonexistent/airpouch".into(), limit: Duration::from_secs(1) };
        assert!(nobody.examine(&[], b"x", &Silent).is_err());
    }
}
