//! The deterministic simulator: a whole cluster in one thread, in virtual time, from one seed.
//!
//! The lane, the gateways and the clients are the real cores, with a real script host and a small game; storage is in
//! memory. What lies between them is simulated: links that lose, delay, double and reorder, connections that stall
//! and break, nodes that crash and come back, a lane that goes on although another has taken over. [`check`] watches
//! every step, and when the faults have stopped it holds every client's view against brute force.
//!
//! It knows no socket, clock or thread, so [`run`] is a pure function of scenario and seed. Read [`cluster`] for what
//! runs, then [`check`] for what must hold. `README.md` names the bugs that were put in on purpose, and what caught
//! them.

mod agenda;
mod book;
mod cells;
mod check;
mod cluster;
mod coverage;
mod dice;
mod record;
mod scenario;
mod truth;

pub use cells::{CellsTable, run_cells};
pub use coverage::{Coverage, Exercise};
pub use record::{Failure, Summary};
pub use scenario::Scenario;

use cluster::Cluster;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `scenario` under `seed`, to the end or to the first thing that is wrong.
///
/// # Errors
/// What is wrong, and how to see it again. A panic of a core is such a thing.
pub fn run(scenario: &Scenario, seed: u64) -> Result<Summary, Box<Failure>> {
    let mut cluster = Cluster::new(scenario, seed);
    // The cluster is only looked at after a panic, never run on.
    let outcome = catch_unwind(AssertUnwindSafe(|| cluster.run()));
    let wrong = match outcome {
        Ok(Ok(())) => return Ok(cluster.summary()),
        Ok(Err(message)) => message,
        Err(panic) => format!("panicked: {}", words_of(&*panic)),
    };
    Err(Box::new(cluster.failure(wrong)))
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}
