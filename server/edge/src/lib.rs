//! Client QUIC in front of a gateway: what clients send becomes [`EdgeEvent`]s, what the gateway puts out becomes
//! stream bytes and datagrams.
//!
//! The edge knows the shape of the transport (one stream of framed messages and datagrams, see
//! `proto/PROTOCOL.md`), its limits, and who may connect at all. It deliberately knows no message: what is inside
//! them, who is logged in and how fast a client may talk is the gateway's. [`Edge`] is the seam behind which the
//! loop that drives the connections can change.
//!
//! Cost: this loop is quinn's, one task per connection for what it sends and one for its stream the other way.
//! Datagrams go straight into the connection's buffer. A datagram out costs 4 to 9 us of the kernel's and QUIC's
//! time, one in about as much; messages are few. Read [`Edge`], then `connection`.

mod accept;
mod config;
mod connection;
mod counters;
mod edge;
#[cfg(test)]
mod tests;
pub mod tls;
mod transport;

pub use config::{EdgeConfig, EdgeError};
pub use counters::{Counter, EdgeCounters};
pub use edge::{Edge, EdgeEvent};
