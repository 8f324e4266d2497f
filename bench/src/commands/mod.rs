//! `myriad-bench crowd`, `spread`, `cluster` and `crowd-table`: a server in its own process or several, real clients in
//! this one, and a report of what the clients verified.
//!
//! [`args`] says what can be asked, `limits` what must come of it, [`run`] does it, and [`table`] runs the rows that
//! the project promises. What is measured, and how, stands in [`crate::report`].

pub mod args;
pub mod cluster_args;
mod lane_cost;
mod limits;
mod program;
pub mod relayout;
mod run;
pub mod table;
mod table_rows;

pub use args::{CrowdArgs, SpreadArgs};
pub use cluster_args::ClusterArgs;
pub use run::{cluster, crowd, spread};
pub use table::TableArgs;
