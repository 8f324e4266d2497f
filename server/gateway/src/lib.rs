//! Sessions, mirrors, views and payload assembly: the gateway's pure core.
//!
//! A gateway holds client connections, logs players in, keeps a read-only copy of each lane that its clients can
//! see, decides what each client sees, and fans out shared bytes. It knows no socket, clock, thread or log: the
//! edge hands it what clients send, the fabric what lanes send, and both take away what a tick puts out.
//!
//! Read [`gateway`] first: the tick, top to bottom. Then along the flow: `session` (what a client may say when),
//! `presence` (its avatar at the lane), `lanes` (the links), `mirror` (the copies), `records` and `view` (who is
//! told what), `assemble` (payloads).

mod assemble;
pub mod config;
pub mod counters;
pub mod gateway;
mod idset;
pub mod io;
mod lanes;
mod login;
mod mirror;
mod presence;
mod records;
mod seat;
mod session;
mod sessions;
mod view;

pub use config::{GatewayConfig, LoginPolicy};
pub use counters::Counters;
pub use gateway::Gateway;
pub use io::{ClientInput, ClientOutput, ConnId, LaneStatus, Outputs, Stage, Status};
