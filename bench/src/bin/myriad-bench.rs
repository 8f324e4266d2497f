//! Measures parts of Myriad by themselves: one subcommand each, all with `--seed` and `--json`.

use clap::{Parser, Subcommand};
use myriad_harness::aoi::{self, AoiArgs};

/// Measures parts of Myriad by themselves.
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// What the interest engine costs per tick.
    Aoi(AoiArgs),
}

fn main() -> anyhow::Result<()> {
    match CommandLine::parse().bench {
        Bench::Aoi(args) => println!("{}", aoi::run(&args)?),
    }
    Ok(())
}
