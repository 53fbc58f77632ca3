//! The clock of the machine. For display and for the age of what is kept; order and freshness of batches never depend on
//! it.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time now, in whole seconds and nanoseconds since 1970.
pub fn now() -> (i64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs() as i64, since.subsec_nanos())
}
