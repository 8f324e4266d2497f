//! Sessions, mirrors, views and payload assembly: the gateway's pure core.
//!
//! A gateway holds client connections, logs players in, keeps a read-only copy of each lane that its clients can
//! see, decides what each client sees, and fans out shared bytes. It knows no socket, clock, thread or log: the
//! edge hands it what clients send, the fabric what lanes send, and both take away what a tick puts out.
//!
//! Read [`gateway`] next: the tick, top to bottom.

pub mod config;
pub mod counters;
pub mod gateway;

pub use config::{GatewayConfig, LoginPolicy};
pub use counters::Counters;
pub use gateway::{ClientInput, ClientOutput, ConnId, Gateway, LaneStatus, Outputs, Stage, Status};
