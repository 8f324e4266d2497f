//! Sessions, mirrors, views and payload assembly: the gateway's pure core.
//!
//! A gateway holds client connections, logs players in, keeps a read-only copy of each lane that its clients can
//! see, decides what each client sees, and fans out shared bytes. It knows no socket, clock, thread or log: the
//! edge hands it what clients send, the fabric what lanes send, and both take away what a tick puts out.
//!
//! Read [`gateway`] first: the tick, top to bottom. Then along the flow: `session` (what a client may say when),
//! `presence` (its avatar at the lane), `lanes` (the links), `mirror` (who lives, and which lane says so), `telling`
//! (how a client is told its view), `records` and `view` (subject by subject), `crowd` (track by track), `assemble`
//! (payloads).

mod assemble;
pub mod config;
pub mod counters;
mod crowd;
pub mod gateway;
mod idset;
pub mod io;
mod lanes;
mod login;
mod mirror;
mod presence;
mod reach;
mod records;
mod seat;
mod session;
mod sessions;
mod telling;
mod view;

pub use config::{GatewayConfig, LoginPolicy};
pub use counters::Counters;
pub use gateway::Gateway;
pub use io::{ClientInput, ClientOutput, ConnId, LaneStatus, Outputs, Stage, Status};
