//! Processes items ahead of the caller, on several threads, within bounds, with the results in order.
//!
//! The items should be few and large: a caller with many small ones groups them, since passing one item costs two locks
//! and sometimes a system call that wakes a thread.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;

use crate::lack;
use crate::lock::{POISONED, lock};

/// How far ahead of the caller the threads may work.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Threads beside the caller; if there are none, the caller does the work.
    pub beside: usize,
    /// Total weight of the items that hold memory, over all threads. A heavier item is processed alone.
    pub weight: u64,
    /// Number of the items that are in work, or done and not yet passed to the caller.
    pub items: usize,
    /// How long an item holds its memory.
    pub held: MemoryHeld,
}

/// How long an item holds its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryHeld {
    /// Until the caller takes its result, which is as large.
    UntilTaken,
    /// While it is processed: its result is small.
    InWork,
}

/// Threads beside the caller for a run that may use this many processors. With one processor the caller does all work,
/// so that a test can stop it at each of its system calls.
pub fn beside(threads: usize) -> usize {
    if threads > 1 { threads } else { 0 }
}

/// Calls `work` with the position of each item, and `each` with the results, in order, until one fails. `weights` has
/// the weight of each item, as [`Limits::weight`] counts it. If the system starts no thread, the caller does the work.
///
/// # Errors
/// The error of `each`.
///
/// # Panics
/// If `work` panics.
pub fn in_order<R: Send, E>(
    weights: &[u64],
    limits: Limits,
    work: impl Fn(usize) -> R + Sync,
    mut each: impl FnMut(usize, R) -> Result<(), E>,
) -> Result<(), E> {
    let queue = WorkQueue { state: Mutex::default(), ready: Condvar::new(), room: Condvar::new(), weights, limits };
    thread::scope(|scope| {
        let _guard = StopAtEnd(&queue);
        let wanted = limits.beside.min(weights.len());
        let spawn = || lack::spawn_scoped(scope, || queue.work(&work));
        let has_threads = (0..wanted).map_while(|_| spawn().ok()).count() > 0;
        for at in 0..weights.len() {
            let result = match has_threads {
                true => queue.take(at),
                false => Some(work(at)),
            };
            // None: a thread has panicked, and the scope repeats the panic.
            let Some(result) = result else { return Ok(()) };
            each(at, result)?;
        }
        Ok(())
    })
}

struct WorkQueue<'a, R> {
    state: Mutex<WorkState<R>>,
    /// The next result is ready.
    ready: Condvar,
    /// A result was taken, so that there is space.
    room: Condvar,
    weights: &'a [u64],
    limits: Limits,
}

struct WorkState<R> {
    next_to_start: usize,
    next_to_take: usize,
    /// Weight of the items that hold memory.
    weight: u64,
    done: BTreeMap<usize, R>,
    /// Whether a thread waits for space.
    is_full: bool,
    stopped: bool,
}

impl<R> Default for WorkState<R> {
    fn default() -> Self {
        let done = BTreeMap::new();
        Self { next_to_start: 0, next_to_take: 0, weight: 0, done, is_full: false, stopped: false }
    }
}

impl<R> WorkQueue<'_, R> {
    fn work(&self, work: &impl Fn(usize) -> R) {
        let _guard = StopOnPanic(self);
        while let Some(at) = self.start() {
            let result = work(at);
            let mut state = self.lock();
            if self.limits.held == MemoryHeld::InWork {
                state.weight -= self.weights[at];
                self.wake(&mut state);
            }
            state.done.insert(at, result);
            if at == state.next_to_take {
                self.ready.notify_one();
            }
        }
    }

    /// The next item to process; none if all were started or the caller takes no more.
    fn start(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            let at = state.next_to_start;
            if state.stopped || at == self.weights.len() {
                return None;
            }
            let ahead = at - state.next_to_take;
            let fits = state.weight == 0 || state.weight + self.weights[at] <= self.limits.weight;
            if ahead == 0 || fits && ahead < self.limits.items {
                state.next_to_start += 1;
                state.weight += self.weights[at];
                return Some(at);
            }
            state.is_full = true;
            state = self.room.wait(state).expect(POISONED);
        }
    }

    /// Waits for this result; none if a thread has panicked.
    fn take(&self, at: usize) -> Option<R> {
        let mut state = self.lock();
        loop {
            if let Some(result) = state.done.remove(&at) {
                state.next_to_take = at + 1;
                if self.limits.held == MemoryHeld::UntilTaken {
                    state.weight -= self.weights[at];
                }
                self.wake(&mut state);
                return Some(result);
            }
            if state.stopped {
                return None;
            }
            state = self.ready.wait(state).expect(POISONED);
        }
    }

    /// Wakes the threads that wait for space when half of it is free: waking a thread for each item costs more than the
    /// item.
    fn wake(&self, state: &mut WorkState<R>) {
        let has_room =
            state.weight <= self.limits.weight / 2 && state.next_to_start - state.next_to_take <= self.limits.items / 2;
        if state.is_full && has_room {
            state.is_full = false;
            self.room.notify_all();
        }
    }

    fn stop(&self) {
        // A panic of another thread must not cause a second one here.
        if let Ok(mut state) = self.state.lock() {
            state.stopped = true;
        }
        self.room.notify_all();
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, WorkState<R>> {
        lock(&self.state)
    }
}

/// The caller takes no more, because of an error or a panic: the threads must not wait for space.
struct StopAtEnd<'a, 'q, R>(&'a WorkQueue<'q, R>);

impl<R> Drop for StopAtEnd<'_, '_, R> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A thread that panics must not leave the others and the caller waiting for it.
struct StopOnPanic<'a, 'q, R>(&'a WorkQueue<'q, R>);

impl<R> Drop for StopOnPanic<'_, '_, R> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { beside: 3, weight: 100, items: 4, held: MemoryHeld::UntilTaken };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn results_are_in_order_and_within_the_bounds(
            weights in proptest::collection::vec(0u64..200, 0..40),
            beside in 0usize..5,
        ) {
            let (ahead, most) = (AtomicU64::new(0), AtomicU64::new(0));
            let limits = Limits { beside, ..LIMITS };
            let work = |at: usize| {
                let now = ahead.fetch_add(weights[at], Ordering::SeqCst) + weights[at];
                most.fetch_max(now, Ordering::SeqCst);
                at * 3
            };
            let mut taken = Vec::new();
            let ended: Result<(), ()> = in_order(&weights, limits, work, |at, result| {
                ahead.fetch_sub(weights[at], Ordering::SeqCst);
                taken.push(result);
                Ok(())
            });
            prop_assert_eq!(ended, Ok(()));
            prop_assert_eq!(taken, (0..weights.len()).map(|at| at * 3).collect::<Vec<_>>());
            // An item heavier than the bound is processed alone; taken results are subtracted only in `each`.
            let heaviest = weights.iter().copied().max().unwrap_or(0);
            prop_assert!(most.into_inner() <= LIMITS.weight.max(heaviest) + heaviest);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn items_that_hold_memory_in_work_alone_are_bounded_while_they_are_worked_on(
            weights in proptest::collection::vec(0u64..200, 0..40),
            beside in 0usize..5,
            items in 1usize..6,
        ) {
            let (in_work, most) = (AtomicU64::new(0), AtomicU64::new(0));
            let limits = Limits { beside, items, held: MemoryHeld::InWork, ..LIMITS };
            let work = |at: usize| {
                let now = in_work.fetch_add(weights[at], Ordering::SeqCst) + weights[at];
                most.fetch_max(now, Ordering::SeqCst);
                std::thread::yield_now();
                in_work.fetch_sub(weights[at], Ordering::SeqCst);
                at
            };
            let mut taken = Vec::new();
            let ended: Result<(), ()> = in_order(&weights, limits, work, |_, result| {
                taken.push(result);
                Ok(())
            });
            prop_assert_eq!(ended, Ok(()));
            prop_assert_eq!(taken, (0..weights.len()).collect::<Vec<_>>());
            let heaviest = weights.iter().copied().max().unwrap_or(0);
            prop_assert!(most.into_inner() <= LIMITS.weight.max(heaviest));
        }
    }

    #[test]
    fn an_error_of_the_caller_ends_the_threads() {
        let ended = in_order(&[1; 1000], LIMITS, |at| at, |at, _| if at == 7 { Err("enough") } else { Ok(()) });
        assert_eq!(ended, Err("enough"));
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_of_the_work_reaches_the_caller() {
        let work = |at: usize| if at == 5 { panic!("as planned") } else { at };
        let _: Result<(), ()> = in_order(&[1; 100], LIMITS, work, |_, _| Ok(()));
    }
}
