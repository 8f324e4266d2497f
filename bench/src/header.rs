//! Where and with what a measurement was made: the head of every JSON report.

use serde::Serialize;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The version of the reports' keys. Raised when a key changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// Where and with what a measurement was made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Header {
    /// Version of the keys: [`SCHEMA`].
    pub schema: u32,
    /// The command line.
    pub command: String,
    /// The commit of the source tree, or `unknown` without one.
    pub commit: String,
    /// Whether the source tree had changes that are in no commit.
    pub dirty: bool,
    /// The host's name and number of CPUs.
    pub machine: String,
    /// The CPU's model.
    pub cpu: String,
    /// The kernel's release.
    pub kernel: String,
    /// The compiler that built this.
    pub rustc: String,
    /// When the command started, in seconds since the Unix epoch.
    pub started: u64,
    /// How long was measured, in seconds.
    pub seconds: f64,
}

impl Header {
    /// The header of a command that starts now and measures for `seconds`.
    #[must_use]
    pub fn collect(seconds: f64) -> Self {
        let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let line = |path| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
        let unknown = || "unknown".to_owned();
        let host = line("/proc/sys/kernel/hostname").unwrap_or_else(|_| unknown());
        let commit = git(&["rev-parse", "HEAD"]);
        Self {
            schema: SCHEMA,
            command: command(std::env::args()),
            dirty: commit.is_some() && git(&["status", "--porcelain"]).is_none_or(|files| !files.is_empty()),
            commit: commit.unwrap_or_else(unknown),
            machine: format!("{host}, {cpus} CPUs"),
            cpu: cpu_model().unwrap_or_else(unknown),
            kernel: line("/proc/sys/kernel/osrelease").unwrap_or_else(|_| unknown()),
            rustc: env!("MYRIAD_RUSTC").into(),
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            seconds,
        }
    }
}

/// The command line, its program by its name: where it lies on this machine is of no interest elsewhere.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = arguments.collect();
    if let Some(program) = words.first_mut()
        && let Some(name) = Path::new(program.as_str()).file_name()
    {
        *program = name.to_string_lossy().into_owned();
    }
    words.join(" ")
}

/// What git says of the source tree that this was built from, if that is still there.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR")])
        .args(arguments)
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn cpu_model() -> Option<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_named_without_its_place() {
        let line = |words: &[&str]| command(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(
            line(&["/a/b/myriad-bench", "crowd", "--hz", "5"]),
            "myriad-bench crowd --hz 5"
        );
        assert_eq!(line(&["myriad-bench"]), "myriad-bench");
        assert_eq!(line(&[]), "");
    }
}
