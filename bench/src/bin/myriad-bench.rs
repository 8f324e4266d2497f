//! Measures parts of Myriad by themselves: one subcommand each, all with `--seed` and `--json`; and draws what was
//! measured.

use anyhow::ensure;
use clap::{Parser, Subcommand};
use myriad_harness::aoi::allocations::Counting;
use myriad_harness::aoi::chart::{self, ChartArgs};
use myriad_harness::aoi::table::{self, TableArgs};
use myriad_harness::aoi::{self, AoiArgs, OracleOutcome};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    /// The interest engine in all the cases that it has to answer for, against what they must cost.
    AoiTable(TableArgs),
    /// Draws the recorded rows of `aoi-table` as an SVG.
    Chart(ChartArgs),
}

fn main() -> anyhow::Result<()> {
    match CommandLine::parse().bench {
        Bench::Aoi(args) => {
            let report = aoi::run(&args)?;
            println!("{report}");
            ensure!(
                report.oracle != Some(OracleOutcome::Different),
                "the engine differs from brute force"
            );
        }
        Bench::AoiTable(args) if args.list => print!("{}", table::list()),
        Bench::AoiTable(args) => {
            let table = table::run(&args)?;
            println!("{table}");
            ensure!(table.is_reached(), "not everything is what it must be");
        }
        Bench::Chart(args) => chart::run(&args)?,
    }
    Ok(())
}
