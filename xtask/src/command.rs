//! Commands that are shown before they run.

use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    // Cargo says where the package is now; the other is where it was compiled.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = PathBuf::from(package);
    package.parent().expect("xtask lies in the repository").to_owned()
}

/// A command, and how people would type it.
#[derive(Debug)]
pub(crate) struct Shown {
    command: Command,
    line: String,
}

/// `cargo` with `args`: the one that runs this program.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Shown {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Shown::new(&program, "cargo").args(args)
}

/// `git` with `args`.
pub(crate) fn git<const N: usize>(args: [&str; N]) -> Shown {
    Shown::new(OsStr::new("git"), "git").args(args)
}

/// The shell script at `path` from the top of the repository.
pub(crate) fn script(path: &str) -> Shown {
    Shown::new(OsStr::new("sh"), "sh").args([path])
}

impl Shown {
    fn new(program: &OsStr, name: &str) -> Self {
        let mut command = Command::new(program);
        command.current_dir(root()).stdin(Stdio::null());
        Self {
            command,
            line: name.to_owned(),
        }
    }

    /// Adds arguments.
    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        for arg in args {
            self.command.arg(arg);
            self.line.push(' ');
            self.line.push_str(arg);
        }
        self
    }

    /// Runs it in view of the user.
    pub(crate) fn run(mut self) -> Result<()> {
        eprintln!("\n$ {}", self.line);
        let status = self
            .command
            .status()
            .with_context(|| format!("can't start `{}`", self.line))?;
        ensure!(status.success(), "`{}` failed ({status})", self.line);
        Ok(())
    }

    /// Runs it silently and returns what it printed.
    pub(crate) fn output(mut self) -> Result<String> {
        let output = self
            .command
            .output()
            .with_context(|| format!("can't start `{}`", self.line))?;
        ensure!(
            output.status.success(),
            "`{}` failed ({}):\n{}",
            self.line,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).with_context(|| format!("`{}` printed no UTF-8", self.line))
    }

    /// Whether it can be started and succeeds: for asking whether a tool is there.
    pub(crate) fn succeeds(mut self) -> bool {
        self.command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}
