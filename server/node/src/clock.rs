//! The one place where the node reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, in microseconds since the Unix epoch.
pub(crate) fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_micros() as u64)
}

/// How long it is until `due_us`; zero if that is past.
pub(crate) fn until(due_us: u64) -> Duration {
    Duration::from_micros(due_us.saturating_sub(now_us()))
}
