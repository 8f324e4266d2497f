//! What a driver is told at its start.

use crate::{ShardId, ShardKey};
use quinn_proto::{EndpointConfig, ServerConfig};
use std::sync::Arc;
use std::time::Duration;

/// How a driver runs.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// What its connections have in common. The shards of one address need the same, for its reset key.
    pub endpoint: EndpointConfig,
    /// Whether, and how, it accepts connections. The shards of one address need the same, for its token key.
    pub server: Option<Arc<ServerConfig>>,
    /// Which shard of an address it is. Its connection ids say so, and packets for others are set aside.
    pub shard: Option<(ShardId, ShardKey)>,
    /// Most handshakes of incoming connections at once. One more gets no answer and tries again by itself.
    pub handshakes_max: u32,
    /// From this many on, a client must first prove that it owns its address. Zero asks always.
    pub handshakes_retry_from: u32,
    /// How long a handshake may take, in either role.
    pub handshake_timeout: Duration,
}

impl Default for DriverConfig {
    /// For connecting only.
    fn default() -> Self {
        Self {
            endpoint: EndpointConfig::default(),
            server: None,
            shard: None,
            handshakes_max: 1024,
            handshakes_retry_from: 512,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}
