//! All tests. The ones in the documentation first, since nextest knows none; then the others, whose summary ends
//! the output.

use crate::command::cargo;
use anyhow::Result;

#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Only the tests of this package; may be given several times.
    #[arg(short, long)]
    package: Vec<String>,
    /// Names of tests, or parts of them; all if there are none.
    #[arg(last = true)]
    names: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let packages: Vec<&str> = if options.package.is_empty() {
        vec!["--workspace"]
    } else {
        options
            .package
            .iter()
            .flat_map(|package| ["--package", package])
            .collect()
    };
    let names: Vec<&str> = options.names.iter().map(String::as_str).collect();
    let nextest = cargo(["nextest", "--version"]).succeeds();

    if nextest && options.package.is_empty() && options.names.is_empty() {
        // `cargo test`, below, runs these by itself.
        cargo(["test", "--doc", "--workspace", "--quiet"]).run()?;
    }
    if nextest {
        cargo(["nextest", "run", "--no-fail-fast", "--no-tests", "warn"])
            .args(packages)
            .args(names)
            .run()
    } else {
        eprintln!("cargo-nextest is not installed; `cargo test` does it as well, with more output.");
        cargo(["test", "--no-fail-fast"])
            .args(packages)
            .args(["--"])
            .args(names)
            .run()
    }
}
