//! CPU time and memory of processes and threads, as Linux tells them.

/// CPU time of the calling thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of this process, all its threads, in nanoseconds.
pub(crate) fn own_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec that outlives the call, which writes nothing else.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(failed, 0, "Linux has these clocks");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The kernel's number of the calling thread.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: the call takes nothing, changes nothing and cannot fail.
    let id = unsafe { libc::gettid() };
    u32::try_from(id).expect("thread ids are positive")
}

/// User and system time of a process with all its threads, in seconds. `None` if there is no such process.
pub(crate) fn process_cpu_s(pid: u32) -> Option<f64> {
    stat_cpu_s(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// User and system time of a thread of this process, in seconds. `None` if it has ended.
pub(crate) fn thread_cpu_s(thread: u32) -> Option<f64> {
    stat_cpu_s(&std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?)
}

/// Resident memory of a process in MiB. `None` if there is no such process.
pub(crate) fn rss_mib(pid: u32) -> Option<f64> {
    status_rss_mib(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// `utime` and `stime`, the 14th and 15th field. The second is a name in parentheses that may hold anything.
fn stat_cpu_s(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    // SAFETY: the call takes a constant, changes nothing and returns a number.
    let ticks_per_s = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Some((user + system) / ticks_per_s as f64)
}

fn status_rss_mib(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_behind_a_strange_process_name_are_found() {
        let stat = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(stat_cpu_s(stat), Some(2.0));
        assert_eq!(stat_cpu_s("12 (a) S 1 2"), None);
    }

    #[test]
    fn resident_memory_is_read_in_mib() {
        assert_eq!(status_rss_mib("VmSize: 9 kB\nVmRSS:\t  2048 kB\n"), Some(2.0));
        assert_eq!(status_rss_mib("Name: kthread\n"), None);
    }

    #[test]
    fn this_thread_and_process_have_used_cpu_and_memory() {
        let before = thread_cpu_ns();
        let sum: u64 = std::hint::black_box((0..1_000_000u64).sum());
        assert!(thread_cpu_ns() > before, "summing up to {sum} took time");
        let me = std::process::id();
        assert!(process_cpu_s(me).is_some() && rss_mib(me).is_some_and(|mib| mib > 1.0));
        assert!(thread_cpu_s(thread_id()).is_some());
    }
}
