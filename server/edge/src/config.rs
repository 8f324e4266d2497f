//! What an edge is told at its start, and why it may not start.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// How an edge runs.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// The UDP address for clients. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// Threads that share the address and the clients. One core is about one shard's; more than cores only cost.
    pub shards: u32,
    /// Most clients at once; one more is told `Full` and closed.
    pub connections_max: u32,
    /// Most handshakes at once, divided among the shards. Whoever begins one more gets no answer yet and tries again by itself.
    pub handshakes_max: u32,
    /// From this many handshakes at once on, divided likewise, a client must first prove that it owns its address: one more round
    /// trip for it, and no work for the edge if it does not. Zero asks for the proof always.
    pub handshakes_retry_from: u32,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Silence after which a client counts as gone. The edge sends no keep-alives, clients do.
    pub idle_timeout: Duration,
    /// Reliable bytes that may wait for one client, beside the 256 KiB that QUIC holds. One that would need more is
    /// closed as `Flood`, so this must leave room above the gateway's own limit, at which it stops sending to a slow
    /// client, for the largest message.
    pub backlog_bytes_max: u32,
    /// Datagrams per second and client that are passed to the gateway, which has a finer limit of its own. The
    /// others are dropped and counted. Keeps one client from filling the gateway's inbox.
    pub datagrams_per_s_max: u32,
    /// Most events that wait for the gateway. When there are as many, clients' datagrams are dropped and counted, and
    /// their streams are read no further.
    pub events_max: u32,
    /// Size of each socket's buffers in the kernel, each way. The system may allow less (on Linux,
    /// `net.core.rmem_max` and `wmem_max`); the edge then logs what it got. Too little loses datagrams in the
    /// bursts of a tick.
    pub socket_buffer_bytes: u32,
}

impl EdgeConfig {
    /// Defaults for an edge that listens at `listen`.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            shards: 1,
            connections_max: 10_000,
            handshakes_max: 1024,
            handshakes_retry_from: 512,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(15),
            backlog_bytes_max: 4 * 1024 * 1024,
            datagrams_per_s_max: 250,
            events_max: 65_536,
            socket_buffer_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Why an edge could not start.
#[derive(Debug, Error)]
pub enum EdgeError {
    /// The address could not be bound.
    #[error("can't listen for clients at {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system gave no thread, or no means to wait for a socket.
    #[error("can't run a shard: {0}")]
    Run(#[from] io::Error),
    /// The certificate and key, or the timeouts, don't make a working configuration.
    #[error("can't set up QUIC for clients: {0}")]
    Setup(String),
}
