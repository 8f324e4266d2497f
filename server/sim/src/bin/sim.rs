//! `sim`: runs the simulator over a range of seeds, and prints what was exercised or the first seed that is wrong.

use clap::Parser;
use myriad_sim::{CellsTable, Coverage, Exercise, Failure, Scenario, Summary};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

#[derive(Parser)]
#[command(
    name = "sim",
    about = "Runs whole simulated clusters, one from each seed, and checks every step",
    after_help = "Examples:
  sim --seeds 1000                       seeds 0 to 999
  sim --seeds 1 --from 4711 --verbose    only seed 4711, with what it exercised
  sim --seeds 1000 --cells               spaces of several lanes, between which everybody walks"
)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Spaces of several lanes that hand entities off to each other.
    #[arg(long, conflicts_with = "listed")]
    cells: bool,
    /// Run without faults.
    #[arg(long)]
    calm: bool,
    /// No view is told by tracks. Else in most runs a few in view are a crowd already.
    #[arg(long)]
    listed: bool,
    /// Run all seeds although some are wrong, and name them all.
    #[arg(long)]
    keep_going: bool,
    /// Print a line for each seed.
    #[arg(long)]
    verbose: bool,
}

type Outcome = Result<Exercised, Box<Failure>>;

/// What a seed in which nothing was wrong exercised.
enum Exercised {
    Cluster(Box<Summary>),
    Cells(u64, CellsTable),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(arguments.from);
    let (outcomes, arrived) = mpsc::channel();
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let outcomes = outcomes.clone();
            scope.spawn(|| run_seeds(&arguments, &next, outcomes));
        }
        drop(outcomes);
        for outcome in arrived {
            tally.take(outcome, &arguments);
            if tally.wrong > 0 && !arguments.keep_going {
                next.store(u64::MAX, Ordering::Relaxed);
            }
        }
    });
    tally.print(&arguments, began.elapsed().as_secs_f64());
    if tally.wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One worker: a seed after the other, until none is left.
fn run_seeds(arguments: &Arguments, next: &AtomicU64, outcomes: mpsc::Sender<Outcome>) {
    let scenario = if arguments.calm {
        Scenario::calm()
    } else {
        Scenario::default()
    };
    let scenario = Scenario {
        crowds: !arguments.listed,
        ..scenario
    };
    let end = arguments.from.saturating_add(arguments.seeds);
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if !(arguments.from..end).contains(&seed) {
            return;
        }
        let outcome = if arguments.cells {
            myriad_sim::run_cells(seed, arguments.calm).map(|table| Exercised::Cells(seed, table))
        } else {
            myriad_sim::run(&scenario, seed).map(|summary| Exercised::Cluster(Box::new(summary)))
        };
        if outcomes.send(outcome).is_err() {
            return;
        }
    }
}

/// What came of all seeds so far.
#[derive(Default)]
struct Tally {
    done: u64,
    wrong: u64,
    steps: u64,
    ticks: u64,
    coverage: Coverage,
    cells: CellsTable,
}

impl Tally {
    fn take(&mut self, outcome: Outcome, arguments: &Arguments) {
        self.done += 1;
        match outcome {
            Ok(Exercised::Cells(seed, table)) => {
                self.cells.merge(&table);
                if arguments.verbose {
                    println!("seed {seed}");
                }
            }
            Ok(Exercised::Cluster(summary)) => {
                self.steps += summary.steps;
                self.ticks += summary.ticks;
                self.coverage.merge(&summary.coverage);
                if arguments.verbose {
                    let Summary {
                        seed, digest, steps, ..
                    } = *summary;
                    println!("seed {seed}: {steps} steps, digest {digest:016x}");
                }
            }
            Err(failure) => {
                self.wrong += 1;
                if arguments.keep_going {
                    println!("seed {}: {}", failure.seed, failure.message);
                } else {
                    println!("\n{failure}");
                }
            }
        }
        if std::io::stderr().is_terminal() {
            eprint!("\r{} of {} seeds", self.done, arguments.seeds);
        }
    }

    fn print(&self, arguments: &Arguments, seconds: f64) {
        println!("\n{:>12}  times exercised", "");
        if arguments.cells {
            for row in CellsTable::ROWS {
                println!("{:>12}  {row}", self.cells.count(row));
            }
            println!("\n{} seeds, {} wrong; {seconds:.1} s", self.done, self.wrong);
            return;
        }
        for &exercise in Exercise::ALL {
            println!("{:>12}  {}", self.coverage.count(exercise), exercise.label());
        }
        println!(
            "\n{} seeds, {} wrong; {} steps, {} ticks, {seconds:.1} s",
            self.done, self.wrong, self.steps, self.ticks
        );
    }
}
