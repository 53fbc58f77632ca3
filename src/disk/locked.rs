//! Taking the lock of a file, and waiting for whoever holds it.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use super::holder::{is_held_by_the_living, only_taker, start_of};
use crate::clock;
use crate::error::Error;
use crate::lack;
use crate::limits::LEFT_LOCK_LIMIT;
use crate::report::{Observer, Silent};
use crate::text::duration;

/// The pause between two looks at a lock that a dead run has left.
const LEFT_LOCK_PAUSE: Duration = Duration::from_millis(5);

/// How long a run waits for a lock that another run holds, and who reports for whom.
#[derive(Clone, Copy)]
pub struct LockWait<'a> {
    /// The longest time; none: a lock that is held is an error at once.
    pub time: Duration,
    /// Gets one line as the wait begins.
    pub observer: &'a dyn Observer,
}

impl LockWait<'_> {
    /// Waits for nobody.
    pub const NO: LockWait<'static> = LockWait { time: Duration::ZERO, observer: &Silent };
}

impl fmt::Debug for LockWait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockWait").field("time", &self.time).finish_non_exhaustive()
    }
}

/// Why a lock was not taken.
pub enum NotLocked {
    /// Another run holds it, still after the wait.
    Held(Duration),
    /// No thread is to be had that waits, or the run was asked to stop.
    Stopped(Error),
    /// The system refused.
    Refused(io::Error),
}

impl NotLocked {
    /// What stops the run: `held` is what is said of a lock that another run has in this place.
    pub fn error(self, held: &str, place: &Path, refused: impl FnOnce(&io::Error) -> Error) -> Error {
        match self {
            Self::Held(Duration::ZERO) => Error::locked(held).at(place),
            Self::Held(waited) => Error::locked(format!("{held}; waited {}", duration(waited.as_secs()))).at(place),
            Self::Stopped(error) => error,
            Self::Refused(e) => refused(&e),
        }
    }
}

/// Takes the lock of a file. If the run that took it is dead and a process that it had just started still has it, this
/// waits for that; for a run that is at work as long as `wait` says. `what` completes "waiting up to … for ".
///
/// # Errors
/// It was not taken, and why.
pub fn lock_file(file: &File, wait: LockWait<'_>, what: &str) -> std::result::Result<(), NotLocked> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if began.elapsed() < LEFT_LOCK_LIMIT && !is_held_by_the_living(file) => {
                std::thread::sleep(LEFT_LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) if wait.time.is_zero() => return Err(NotLocked::Held(Duration::ZERO)),
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(e)) => return Err(NotLocked::Refused(e)),
        }
    }
    let line = format!("waiting up to {} for {what}{}", duration(wait.time.as_secs()), holder(file));
    wait.observer.say(&line);
    lock_within(wait, file)
}

/// Waits in the kernel, which wakes whoever waits as soon as the lock is free.
fn lock_within(wait: LockWait<'_>, file: &File) -> std::result::Result<(), NotLocked> {
    // A lock belongs to the open file and not to the descriptor: what the other one locks, this one has too.
    let beside = file.try_clone().map_err(NotLocked::Refused)?;
    // No socket: most verbs promise to open none.
    let (ended, is_ended) = io::pipe().map_err(NotLocked::Refused)?;
    let (sender, locked) = sync_channel(1);
    let waits = move || {
        let taken = super::uninterrupted(|| beside.lock());
        // Closed before that is sent, so that only `file` has the lock. If nobody waits any more, it ends with it.
        drop(beside);
        let _ = sender.send(taken);
        drop(is_ended);
    };
    lack::spawn("lock", waits).map_err(|lack| NotLocked::Stopped(lack.into()))?;
    clock::wait_for(Some(ended.as_fd()), wait.observer, wait.time);
    match (locked.try_recv(), wait.observer.asked_to_stop()) {
        (Ok(taken), _) => taken.map_err(NotLocked::Refused),
        (Err(_), Some(signal)) => {
            Err(NotLocked::Stopped(Error::stopped(signal, "while it waited for the lock; nothing was done")))
        }
        (Err(_), None) => Err(NotLocked::Held(wait.time)),
    }
}

/// Who has the lock and since when, as far as the system tells: processes of another container have no number here.
fn holder(file: &File) -> String {
    let Some(process) = only_taker(file) else { return String::new() };
    let since = start_of(process).map_or_else(String::new, |at| format!(", since {}", clock::utc(at)));
    format!(" (process {process}{since})")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::error::Stop;
    use crate::lock::lock;
    use crate::report::Event;

    /// Keeps what is said, and does something as it is.
    struct Hears<F>(Mutex<Vec<String>>, F);

    impl<F: Fn() + Sync> Observer for Hears<F> {
        fn begin(&self, _: &str, _: u64) {}
        fn advance(&self, _: u64) {}
        fn end(&self) {}
        fn say(&self, line: &str) {
            lock(&self.0).push(line.to_owned());
            (self.1)();
        }
        fn event(&self, _: &Event<'_>) {}
        fn begin_counted(&self, _: &str, _: u64, _: &str) {}
    }

    /// Takes the lock of a file at once.
    fn locked(file: &File) -> Result<(), Error> {
        lock_file(file, LockWait::NO, "a test")
            .map_err(|e| e.error("held", Path::new("lock"), |e| Error::failed(e.to_string())))
    }

    fn two_of_one_file() -> (tempfile::TempDir, File, File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = File::create(&path).unwrap();
        let second = File::options().write(true).open(&path).unwrap();
        (dir, first, second)
    }

    #[test]
    fn held_lock_is_refused_at_once_without_a_wait() {
        let (_dir, first, second) = two_of_one_file();
        locked(&first).unwrap();
        let error = locked(&second).unwrap_err();
        assert_eq!((error.stop, &*error.what), (Stop::Locked, "held"));
    }

    #[test]
    fn wait_ends_when_the_holder_lets_go() {
        let (_dir, first, second) = two_of_one_file();
        locked(&first).unwrap();
        let hears = Hears(Mutex::default(), || first.unlock().unwrap());
        // Far beyond what it takes: the holder lets go as soon as the wait is reported.
        let wait = LockWait { time: Duration::from_secs(3_600), observer: &hears };
        assert!(lock_file(&second, wait, "the test").is_ok());
        let said = lock(&hears.0).join("\n");
        let this = format!("waiting up to 60 min for the test (process {}, since 20", std::process::id());
        assert!(said.starts_with(&this) && said.ends_with("Z)"), "{said}");
        assert!(locked(&first).is_err(), "the one that waited has it");
        drop(second);
        locked(&first).unwrap();
    }

    #[test]
    fn wait_without_end_of_the_holder_says_how_long_it_waited() {
        let (_dir, first, second) = two_of_one_file();
        locked(&first).unwrap();
        let wait = LockWait { time: Duration::from_millis(1), observer: &Silent };
        let Err(held) = lock_file(&second, wait, "the test") else { panic!("it was taken") };
        let error = held.error("held", Path::new("lock"), |e| Error::failed(e.to_string()));
        assert_eq!((error.stop, &*error.what), (Stop::Locked, "held; waited 0 s"));
    }
}
