//! Drives many QUIC connections on one thread: `quinn_proto`, which knows the protocol and no socket, over batched
//! UDP. The server's edge is one user (it accepts), the load harness's bots are the other (they connect).
//!
//! A [`Driver`] belongs to one thread, which gives it turns. A turn sends a phase of what is to be sent, waits if
//! there was nothing, takes in packets and fires timers; what came of it are [`Event`]s. What the owner then does to
//! a connection ([`ConnectionMut`]) goes out with the next turns, all of it in one burst. Nothing here knows what
//! the bytes mean, and nothing waits but [`Driver::turn`].
//!
//! Cost: a packet is ~3 us of the kernel's time and 1-2 us of QUIC's, hardly depending on its size; so packets of
//! one connection are sent by one call (GSO), received by batches (`recvmmsg`, GRO), and connections without news
//! cost nothing but a look at their timer every five seconds.
//!
//! Read `driver`, then `receive` and `transmit`.

mod cid;
mod config;
mod congestion;
mod connection;
mod counters;
mod driver;
mod queue;
mod receive;
mod socket;
#[cfg(test)]
mod tests;
mod transmit;
mod wheel;

pub use cid::{ShardId, ShardKey};
pub use config::DriverConfig;
pub use congestion::Cubic;
pub use connection::{ConnectionKey, ConnectionMut, Event, Read};
pub use counters::Counters;
pub use driver::{Driver, SocketId, Waker};
pub use queue::SendQueue;
/// The protocol underneath: its configurations, ids and errors are this crate's too.
pub use quinn_proto as quic;
pub use receive::Packet;
pub use socket::bind_udp;
