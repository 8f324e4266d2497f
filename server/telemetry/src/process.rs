//! What the operating system says this process uses.

use std::fs;

/// Clock ticks per second in `/proc/self/stat`: fixed by Linux' interface on every machine we run on.
const TICKS_PER_SECOND: u64 = 100;

/// What the process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads so far, in milliseconds; counted in steps of 10.
    pub cpu_milliseconds: u64,
    /// Memory in RAM, in bytes.
    pub resident_bytes: u64,
}

/// What this process uses now; `None` where there is no `/proc`.
#[must_use]
pub fn usage() -> Option<Usage> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    parse(&stat, &status)
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The second field is the program's name in brackets and may hold anything; after it comes the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident_kib: u64 = resident.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Usage {
        cpu_milliseconds: (user + system) * (1000 / TICKS_PER_SECOND),
        resident_bytes: resident_kib * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_whatever_the_program_is_called() {
        let stat = "7 (a ) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 4 0";
        let status = "Name:\ta ) b (c\nVmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n";
        let expected = Usage {
            cpu_milliseconds: 3000,
            resident_bytes: 2 << 20,
        };
        assert_eq!(parse(stat, status), Some(expected));
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for (stat, status) in [
            ("", ""),
            ("7 (a) S 1", "VmRSS: 1 kB"),
            ("no brackets", "VmRSS: x kB"),
        ] {
            assert_eq!(parse(stat, status), None);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_memory() {
        assert!(usage().expect("Linux").resident_bytes > 0);
    }
}
