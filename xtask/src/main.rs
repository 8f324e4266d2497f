//! Project tasks: `cargo xtask test | tidy | fuzz | ci | sim`. Each prints the commands that it runs, so that anyone can
//! run one of them alone. This crate knows cargo and the repository's files, and nothing of the server.

mod ci;
mod command;
mod fuzz;
mod test;
mod tidy;

use anyhow::Result;
use clap::{Parser, Subcommand};
use command::cargo;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    about = "Project tasks",
    after_help = "Examples:
  cargo xtask test                       everything that is tested, as CI does it
  cargo xtask test -p myriad-wire        the tests of one crate
  cargo xtask tidy                       the rules that no linter knows
  cargo xtask fuzz                       every fuzz target, 20 s each
  cargo xtask ci                         what .ci/run does, on this machine
  cargo xtask sim --seeds 1 --from 4711  one simulated cluster again, from its seed"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs all tests: unit, property, simulator, whole-process and documentation tests.
    ///
    /// Uses cargo-nextest if it is installed, else `cargo test`.
    #[command(after_help = "Examples:
  cargo xtask test
  cargo xtask test -p myriad-aoi
  cargo xtask test -p myriad-wire -- golden     only tests with `golden` in their name")]
    Test(test::Options),
    /// Checks the rules that no linter knows; see `xtask/src/tidy`.
    #[command(after_help = "Example:
  cargo xtask tidy")]
    Tidy,
    /// Runs every fuzz target for a bounded time; see `server/aoi/fuzz` and `proto/wire/fuzz`.
    ///
    /// Prints SKIPPED where they can't be built; with CI=true in the environment that is a failure.
    #[command(after_help = "Examples:
  cargo xtask fuzz                                       all of them, 20 s each
  cargo xtask fuzz --seconds 600 --target crowd_track    one of them, ten minutes")]
    Fuzz(fuzz::Options),
    /// Everything that must hold before a change lands: formatting, lints, tidy, dependencies, tests, fuzz targets.
    #[command(after_help = "Examples:
  cargo xtask ci
  cargo xtask ci --no-test     all but the tests and fuzz targets, in a minute or two")]
    Ci(ci::Options),
    /// Runs the simulator over a range of seeds and prints the first one that fails.
    #[command(after_help = "Examples:
  cargo xtask sim --seeds 1000            seeds 0 to 999
  cargo xtask sim --seeds 1 --from 4711   only seed 4711
  cargo xtask sim --seeds 1000 --cells    spaces of several lanes")]
    Sim {
        /// How many seeds.
        #[arg(long, default_value_t = 100)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Spaces of several lanes that hand entities off to each other.
        #[arg(long)]
        cells: bool,
        /// Run without faults.
        #[arg(long)]
        calm: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Test(options) => test::run(&options),
        Task::Tidy => tidy::run(),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Ci(options) => ci::run(&options),
        Task::Sim {
            seeds,
            from,
            cells,
            calm,
        } => cargo(["run", "--package", "myriad-sim", "--bin", "sim", "--"])
            .args(["--seeds", &seeds.to_string(), "--from", &from.to_string()])
            .args(cells.then_some("--cells"))
            .args(calm.then_some("--calm"))
            .run(),
    }
}
