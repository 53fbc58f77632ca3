//! Locks within this program: a thread that panicked while it held one has left its value half changed.

use std::sync::{Mutex, MutexGuard};

/// What is said of that, before this thread panics too.
pub const POISONED: &str = "lock poisoned: another thread panicked";

/// Takes a lock.
///
/// # Panics
/// If another thread panicked while it held the lock.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect(POISONED)
}
