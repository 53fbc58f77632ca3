//! What the machine lacks: memory, threads, descriptors, room. None of it is ever held against an envelope, a batch
//! or a medium: a [`Lack`] stops the run, settles nothing, and the next run goes on.

use std::io;
use std::sync::Mutex;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;

/// EMFILE and ENFILE, which std does not tell apart from other errors; Linux has one number each on every processor.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// A resource that has run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// ENOMEM, or an allocation that failed.
    #[error("there is not enough memory")]
    Memory,
    /// No further thread.
    #[error("the system gives no further thread")]
    Threads,
    /// EMFILE or ENFILE.
    #[error("too many files are open")]
    Descriptors,
    /// ENOSPC.
    #[error("no room is left")]
    Room,
    /// EDQUOT.
    #[error("disk quota exceeded")]
    Quota,
    /// EFBIG.
    #[error("file too large for the limit that is set here")]
    FileSize,
}

impl Lack {
    /// What an error of the system or of zstd says is lacking; none if it speaks of something else.
    pub fn of(cause: &io::Error) -> Option<Self> {
        match cause.kind() {
            io::ErrorKind::OutOfMemory => return Some(Self::Memory),
            io::ErrorKind::StorageFull => return Some(Self::Room),
            io::ErrorKind::QuotaExceeded => return Some(Self::Quota),
            io::ErrorKind::FileTooLarge => return Some(Self::FileSize),
            _ => {}
        }
        if let Some(EMFILE | ENFILE) = cause.raw_os_error() {
            return Some(Self::Descriptors);
        }
        let zstd = cause.get_ref().and_then(|inner| inner.downcast_ref::<zstd::Error>())?;
        zstd.is(ZSTD_ErrorCode::ZSTD_error_memory_allocation).then_some(Self::Memory)
    }

    /// Whether it is the place that takes no more: a step may go on without what does not fit there.
    pub fn is_of_the_place(self) -> bool {
        matches!(self, Self::Room | Self::Quota | Self::FileSize)
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Memory => {
                "raise the limit on memory (ulimit -v, MemoryMax=) or run it with --threads 1, then run it again"
            }
            Self::Threads => {
                "raise the limit on threads (ulimit -u, TasksMax=, a container's pids limit), then run it again"
            }
            Self::Descriptors => "raise the limit on open files (ulimit -n, LimitNOFILE=), then run it again",
            Self::Room => {
                "make room there, then run it again; if df shows room, its inodes (names) have run out: df -i"
            }
            Self::Quota => "raise the quota or remove what is not needed there, then run it again",
            Self::FileSize => "raise the limit on the size of a file (ulimit -f, LimitFSIZE=), then run it again",
        }
    }
}

/// Why something could not be read to its end: a fault of its own, or what the machine lacks. The two are kept apart by
/// type, so that no report can name the one where the other is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread<F> {
    /// What was read is at fault.
    Fault(F),
    /// The machine is: nothing is known of what was to be read.
    Lack(Lack),
}

impl<F> Unread<F> {
    /// The same with another kind of fault.
    pub fn map_fault<G>(self, change: impl FnOnce(F) -> G) -> Unread<G> {
        match self {
            Self::Fault(fault) => Unread::Fault(change(fault)),
            Self::Lack(lack) => Unread::Lack(lack),
        }
    }
}

impl<F> From<Lack> for Unread<F> {
    fn from(lack: Lack) -> Self {
        Self::Lack(lack)
    }
}

/// Takes what the machine lacks out, so that it stops the run, and leaves what or why it could not be read.
///
/// # Errors
/// [`Lack`].
pub fn apart<T, F>(read: Result<T, Unread<F>>) -> Result<Result<T, F>, Lack> {
    match read {
        Ok(value) => Ok(Ok(value)),
        Err(Unread::Fault(fault)) => Ok(Err(fault)),
        Err(Unread::Lack(lack)) => Err(lack),
    }
}

/// An empty buffer with room for so many bytes, where the number comes from a file.
///
/// # Errors
/// [`Lack::Memory`].
pub fn buffer(bytes: u64) -> Result<Vec<u8>, Lack> {
    let mut buffer = Vec::new();
    reserve(&mut buffer, bytes)?;
    Ok(buffer)
}

/// Room for so many bytes in all.
///
/// # Errors
/// [`Lack::Memory`].
pub fn reserve(buffer: &mut Vec<u8>, bytes: u64) -> Result<(), Lack> {
    let bytes = usize::try_from(bytes).map_err(|_| Lack::Memory)?;
    buffer.try_reserve_exact(bytes.saturating_sub(buffer.len())).map_err(|_| Lack::Memory)
}

/// Starts a thread within a scope. `std::thread::scope`'s own `spawn` panics where there is none to be had.
///
/// # Errors
/// [`Lack::Threads`]; the work is dropped.
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Lack> {
    Builder::new().spawn_scoped(scope, work).map_err(|_| Lack::Threads)
}

/// Starts a thread. `std::thread::spawn` panics where there is none to be had.
///
/// # Errors
/// [`Lack::Threads`]; the work is dropped.
pub fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Lack> {
    Builder::new().name(name.to_owned()).spawn(work).map_err(|_| Lack::Threads)
}

/// Whether so many threads more are to be had now, for crates that panic where one is not.
///
/// # Errors
/// [`Lack::Threads`].
pub fn threads(count: usize) -> Result<(), Lack> {
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        // They are there at one time only because none can end before this one lets go.
        let _closed = gate.lock();
        (0..count).try_for_each(|_| spawn_scoped(scope, || drop(gate.lock())).map(drop))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_a_limit_is_named_as_that_limit() {
        let errnos = [(12, Lack::Memory), (28, Lack::Room), (122, Lack::Quota), (27, Lack::FileSize)];
        for (errno, lack) in errnos.into_iter().chain([(23, Lack::Descriptors), (24, Lack::Descriptors)]) {
            assert_eq!(Lack::of(&io::Error::from_raw_os_error(errno)), Some(lack), "{errno}");
        }
        for errno in [2, 5, 11, 13, 30, 116] {
            assert_eq!(Lack::of(&io::Error::from_raw_os_error(errno)), None, "{errno}");
        }
    }

    #[test]
    fn threads_can_be_started() {
        assert_eq!(threads(3), Ok(()));
    }

    #[test]
    fn a_buffer_beyond_all_memory_is_an_error() {
        assert_eq!(buffer(u64::MAX), Err(Lack::Memory));
        assert_eq!(buffer(10).map(|b| b.capacity()), Ok(10));
    }

    #[test]
    fn zstd_without_memory_is_distinguished_from_an_invalid_frame() {
        let no_frame = zstd::stream::decode_all(&b"no frame at all"[..]).unwrap_err();
        assert_eq!(Lack::of(&no_frame), None);
    }
}
