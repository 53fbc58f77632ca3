//! Chooses the mtime of each file: later than the one before, and the current time if the clock is plausible.

use crate::code::Code;
use crate::report::Finding;

/// The connector compares times as doubles, which are 238 ns apart in this century.
pub const STEP_NANOS: i64 = 1_000;

const SECOND: i64 = 1_000_000_000;
const YEAR: i64 = 31_557_600 * SECOND;

/// A clock that is further ahead than this of everything known is ignored: broken clocks jump further (to 2036, 2098,
/// 2106, 2262), and no envelope waits so long before it is carried.
const AHEAD: i64 = 10 * YEAR;

/// 2100-01-01: later times of a clock or a file are ignored. FAT ends in 2107, i64 in 2262.
const LATEST: i64 = 4_102_444_800 * SECOND;

/// The times of the files of one run.
pub struct Times {
    now: i64,
    /// The last one that was used, in this run or an earlier one.
    last: i64,
    /// The newest time at which an envelope of this run was written.
    written: i64,
    doubted: bool,
    findings: Vec<Finding>,
}

impl Times {
    /// Continues after the last time in the ledger; 0 for none.
    pub fn new(kept: i64, now: i64) -> Self {
        let mut times = Self { now, last: kept, written: 0, doubted: false, findings: Vec::new() };
        // Up to a year after LATEST may be honest: runs that continued from it step by step.
        if kept > LATEST + YEAR {
            times.last = 0;
            let what = format!(
                "the last file was given the time {}: the clock was wrong; times continue from now",
                shown(kept)
            );
            let advice = "if the connector has read a file of that time it skips new files: reset its state in OpenCTI";
            times.findings.push(Finding::new(Code::Clock, what).advise(advice));
        }
        times
    }

    /// The time for the next file. `written` is when its envelope was written, in seconds since 1970, where that is known.
    pub fn next(&mut self, written: Option<i64>) -> i64 {
        if let Some(written) = written.filter(|seconds| *seconds < LATEST / SECOND) {
            self.written = self.written.max(written.max(0) * SECOND);
        }
        let known = self.last.max(self.written);
        let is_believed = self.now <= LATEST && (known == 0 || self.now - known <= AHEAD);
        if !is_believed && !self.doubted {
            self.doubted = true;
            let what = format!(
                "the clock shows {}, years after everything that is known here; it is not used for the files' times",
                shown(self.now)
            );
            self.findings.push(Finding::new(Code::Clock, what).advise("set the clock of this machine"));
        }
        let base = if is_believed { self.now } else { self.written };
        self.last = (self.last + STEP_NANOS).max(base);
        self.last
    }

    /// Continues after the time of a file.
    pub fn go_on_from(&mut self, time: i64) {
        self.last = self.last.max(time.min(LATEST + YEAR));
    }

    /// The last time that was used.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// What is to be reported, once.
    pub fn findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }
}

/// A time as people read it, within the range of the calendar.
fn shown(nanos: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(nanos / SECOND).map(|at| at.date().to_string());
    at.unwrap_or_else(|_| "beyond the calendar".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000 * SECOND;

    #[test]
    fn times_rise_from_now_and_from_the_last_one() {
        let mut times = Times::new(0, NOW);
        assert_eq!((times.next(None), times.next(Some(5))), (NOW, NOW + STEP_NANOS));
        let mut times = Times::new(NOW + 5, NOW);
        assert_eq!(times.next(Some(i64::MAX)), NOW + 5 + STEP_NANOS, "a clock set back");
        times.go_on_from(NOW + 2 * STEP_NANOS);
        assert_eq!(times.next(Some(i64::MIN)), NOW + 3 * STEP_NANOS);
        assert!(times.findings().is_empty());
    }

    #[test]
    fn clock_beyond_reason_is_not_used_and_leaves_nothing_behind() {
        for wild in [i64::MAX, LATEST + 1, NOW + AHEAD + 1] {
            let mut times = Times::new(0, wild);
            assert_eq!(times.next(Some(NOW / SECOND)), NOW);
            assert_eq!(times.next(Some(NOW / SECOND)), NOW + STEP_NANOS);
            let said = times.findings();
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].what.starts_with("the clock shows "), "{said:?}");
            let mut after = Times::new(times.last(), NOW + YEAR);
            assert_eq!(after.next(None), NOW + YEAR);
            assert!(after.findings().is_empty());
        }
    }

    #[test]
    fn clock_beyond_reason_is_not_used_where_nothing_is_known() {
        let mut times = Times::new(0, i64::MAX);
        assert_eq!((times.next(None), times.next(None)), (STEP_NANOS, 2 * STEP_NANOS));
        assert_eq!(times.findings().len(), 1);
    }

    #[test]
    fn ledger_with_a_time_beyond_reason_heals_and_is_reported() {
        for poisoned in [i64::MAX, i64::MAX - STEP_NANOS, LATEST + 2 * YEAR] {
            let mut times = Times::new(poisoned, NOW);
            assert_eq!(times.next(Some(1_700_000_000)), NOW);
            let said = times.findings();
            assert!(
                said[0].what.contains("the clock was wrong") && said[0].what.contains("22") || poisoned < i64::MAX / 2
            );
            assert!(Times::new(times.last(), NOW).findings().is_empty(), "said once");
        }
    }

    #[test]
    fn envelopes_from_the_far_future_do_not_change_the_last_time() {
        let mut times = Times::new(0, NOW);
        assert_eq!(times.next(Some(253_402_300_799)), NOW);
        assert!(times.findings().is_empty());
    }
}
