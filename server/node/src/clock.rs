//! The one place where the node reads clocks: the wall's, and a thread's CPU time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, in microseconds since the Unix epoch.
pub(crate) fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_micros() as u64)
}

/// CPU time of the calling thread, in microseconds.
pub(crate) fn thread_cpu_us() -> u64 {
    let mut spent = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours, which the call fills; the clock exists on every Linux.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut spent) };
    assert_eq!(done, 0, "every thread has this clock");
    spent.tv_sec as u64 * 1_000_000 + spent.tv_nsec as u64 / 1000
}

/// How long it is until `due_us`; zero if that is past.
pub(crate) fn until(due_us: u64) -> Duration {
    Duration::from_micros(due_us.saturating_sub(now_us()))
}
