//! The clock of the machine. For display and for the age of what is kept; order and freshness of batches never depend on
//! it.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::report::Observer;

/// A time from a beginning to an end, both included; each is the beginning of a time as RFC 3339 writes it, such as
/// `2026-11`. What is none excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeSpan {
    /// From this time on.
    pub since: Option<String>,
    /// Up to and including this time.
    pub until: Option<String>,
}

impl TimeSpan {
    /// Whether a time lies in it.
    pub fn has(&self, at: &str) -> bool {
        let begin = |of: &str| at.get(..of.len()).unwrap_or(at);
        self.since.as_ref().is_none_or(|since| begin(since) >= since.as_str())
            && self.until.as_ref().is_none_or(|until| begin(until) <= until.as_str())
    }
}

/// The time now, in whole seconds and nanoseconds since 1970.
pub fn now() -> (i64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs() as i64, since.subsec_nanos())
}

/// Waits this long, but not longer than until the run is asked to stop.
pub fn pause(observer: &dyn Observer, time: Duration) {
    wait_for(None, observer, time);
}

/// Waits until something can be read here, the time is up, or the run is asked to stop.
pub fn wait_for(ready: Option<BorrowedFd<'_>>, observer: &dyn Observer, time: Duration) {
    let watched: Vec<BorrowedFd<'_>> = ready.into_iter().chain(observer.stop_alarm()).collect();
    let began = Instant::now();
    loop {
        let left = time.saturating_sub(began.elapsed());
        // A time beyond what the system counts is no limit.
        let limit = Timespec::try_from(left).ok();
        let mut watched: Vec<_> = watched.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        if poll(&mut watched, limit.as_ref()) != Err(rustix::io::Errno::INTR) {
            return;
        }
    }
}

/// A second since 1970 as RFC 3339 writes it, in UTC.
pub fn utc(second: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}

/// The second since 1970 that a text names, as RFC 3339 writes it.
pub fn seconds(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

/// The time now as RFC 3339 writes it, in UTC, with whole seconds.
pub fn utc_now() -> String {
    utc(now().0)
}
