//! The signals that ask a run to stop, and whoever waits for them.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use airpouch::disk;
use airpouch::report::Signal;
use signal_hook::{flag, low_level};

/// Whether the run was asked to stop.
pub struct Stopping {
    /// The number of the signal; 0 before there was one.
    asked: Arc<AtomicUsize>,
    /// Readable from the first signal on: nobody ever reads it.
    alarm: PipeReader,
}

impl Stopping {
    /// From here on the first signal only asks the run to stop, and the second one ends it at once.
    pub fn watch() -> io::Result<Self> {
        // No socket, not even one of this machine: most verbs promise to open none.
        let (alarm, ringing) = io::pipe()?;
        let (asked, is_asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in Signal::ALL.into_iter().filter(|signal| !is_ignored(*signal)) {
            let number = i32::from(signal.number());
            // In this order: the first signal finds the flag not set, and sets it.
            flag::register_conditional_default(number, Arc::clone(&is_asked))?;
            flag::register(number, Arc::clone(&is_asked))?;
            flag::register_usize(number, Arc::clone(&asked), usize::from(signal.number()))?;
            low_level::pipe::register(number, ringing.try_clone()?)?;
        }
        Ok(Self { asked, alarm })
    }

    /// The signal that asked.
    pub fn asked(&self) -> Option<Signal> {
        let number = self.asked.load(Ordering::Relaxed);
        Signal::ALL.into_iter().find(|signal| usize::from(signal.number()) == number)
    }

    /// Readable from when the run was asked to stop on.
    pub fn alarm(&self) -> BorrowedFd<'_> {
        self.alarm.as_fd()
    }
}

/// Whether whoever started this run wants it to live through a signal, as shells do for what runs in the background.
fn is_ignored(signal: Signal) -> bool {
    let status = disk::read_bounded("/proc/self/status".as_ref(), 1 << 16).unwrap_or_default();
    let status = String::from_utf8_lossy(&status).into_owned();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    ignored >> (signal.number() - 1) & 1 == 1
}

/// Ends this process by a signal, as if it had not been handled: that is how those who sent it know that it did what they
/// wanted. A shell shows 128 and the number of the signal, and systemd counts it as a clean end.
pub fn die_of(signal: Signal) {
    let _ = low_level::emulate_default_handler(i32::from(signal.number()));
}

/// This process goes on examining, whatever is sent to all processes of a terminal or a service: whoever started it decides
/// when it ends.
pub fn leave_to_parent() {
    for signal in Signal::ALL {
        let _ = flag::register(i32::from(signal.number()), Arc::new(AtomicBool::new(false)));
    }
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}
