//! What must hold before a change lands, cheapest first.

use crate::command::cargo;
use crate::{fuzz, test, tidy};
use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leaves the tests and the fuzz targets out.
    #[arg(long)]
    no_test: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    cargo(["fmt", "--all", "--check"]).run()?;
    cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])
    .run()?;
    tidy::run()?;
    if cargo(["deny", "--version"]).succeeds() {
        cargo(["deny", "--workspace", "check"]).run()?;
    } else {
        eprintln!(
            "\ncargo-deny is not installed: tidy has checked licences, sources and banned crates against"
        );
        eprintln!("deny.toml; only the advisory database has not been asked.");
    }
    if !options.no_test {
        test::run(&test::Options::default())?;
        fuzz::run(&fuzz::Options::default())?;
    }
    Ok(())
}
