//! `myriad-bench aoi`: what the interest engine costs per tick.
//!
//! A crowd walks over a square of ground, and one tick is what its owner makes of it: a move of everybody who moved,
//! the update, and one pass over the events. Walking itself is not timed. The same crowd can be given to three other
//! ways of doing it ([`baselines`]) and to the engine's specification, which must tell the same events
//! (`--oracle`). Read [`args`] for what can be asked, [`measure`] for what is timed and [`table`] for the rows that
//! are recorded under `bench/results/aoi`.

pub mod allocations;
pub mod args;
mod baselines;
pub mod chart;
mod density;
mod measure;
mod oracle;
mod progress;
pub mod report;
mod statistics;
pub mod table;
pub mod verdict;
mod world;

pub use args::AoiArgs;
pub use measure::run;
pub use report::{AoiReport, OracleOutcome};
