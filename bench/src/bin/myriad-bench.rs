//! Measures Myriad: one subcommand for each thing that can be measured, all with `--seed` and `--json`; and draws what
//! was measured.

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use myriad_harness::aoi::allocations::Counting;
use myriad_harness::aoi::chart::{self, ChartArgs};
use myriad_harness::aoi::table as aoi_table;
use myriad_harness::aoi::{self, AoiArgs, OracleOutcome};
use myriad_harness::commands::{self, ClusterArgs, CrowdArgs, SpreadArgs, TableArgs, table as crowd_table};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Measures Myriad: what real clients see of a server, and parts of it by themselves.
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// A crowd in which every client knows every entity, measured at the clients.
    Crowd(Box<CrowdArgs>),
    /// A world larger than a view: every enter and leave at every client against the truth.
    Spread(Box<SpreadArgs>),
    /// One world on many processes: what clients see of borders between nodes.
    Cluster(Box<ClusterArgs>),
    /// What is promised about crowds, row by row.
    CrowdTable(TableArgs),
    /// What the interest engine costs per tick.
    Aoi(AoiArgs),
    /// The interest engine in all the cases that it has to answer for, against what they must cost.
    AoiTable(aoi_table::TableArgs),
    /// Draws the recorded rows of `aoi-table` as an SVG.
    Chart(ChartArgs),
}

fn main() -> ExitCode {
    run(CommandLine::parse().bench).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(bench: Bench) -> Result<ExitCode> {
    match bench {
        Bench::Crowd(args) => return commands::crowd(&args),
        Bench::Spread(args) => return commands::spread(&args),
        Bench::Cluster(args) => return commands::cluster(&args),
        Bench::CrowdTable(args) if args.list => print!("{}", crowd_table::list()),
        Bench::CrowdTable(args) => return crowd_table::run(&args),
        Bench::Aoi(args) => {
            let report = aoi::run(&args)?;
            println!("{report}");
            ensure!(
                report.oracle != Some(OracleOutcome::Different),
                "the engine differs from brute force"
            );
        }
        Bench::AoiTable(args) if args.list => print!("{}", aoi_table::list()),
        Bench::AoiTable(args) => {
            let table = aoi_table::run(&args)?;
            println!("{table}");
            ensure!(table.is_reached(), "not everything is what it must be");
        }
        Bench::Chart(args) => chart::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
