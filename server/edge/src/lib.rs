//! Client QUIC in front of a gateway: what clients send becomes [`EdgeEvent`]s, what the gateway puts out becomes
//! stream bytes and datagrams.
//!
//! The edge knows the shape of the transport (one stream of framed messages and datagrams, see
//! `proto/PROTOCOL.md`), its limits, and who may connect at all. It deliberately knows no message: what is inside
//! them, who is logged in and how fast a client may talk is the gateway's.
//!
//! Shards, a thread each, share the address; the system spreads clients over them, and each client stays with its
//! shard, even when its address changes. To and from the gateway go lists, once per tick and turn: no lock, no
//! wake-up and no look-up is made per client. A shard sends what a client gets in a tick as one burst, and takes
//! arriving packets in between some clients and the next.
//!
//! Cost: `myriad_transport`'s, 5-9 us per packet, of which the kernel has most. Read [`Edge`], then `shard`, then
//! `session`.

mod allowance;
mod client;
mod config;
mod conn;
mod counters;
mod edge;
mod inbox;
mod mailbox;
mod session;
mod shard;
#[cfg(test)]
mod tests;
pub mod tls;
mod transport;

pub use config::{EdgeConfig, EdgeError};
pub use counters::{Counter, EdgeCounters};
pub use edge::Edge;
pub use inbox::{Arrivals, EdgeEvent};
