//! The settings of QUIC, TLS and the socket towards clients, with the reason for each.

use crate::tls::ServerTls;
use crate::{EdgeConfig, EdgeError};
use myriad_transport::quic::crypto::rustls::QuicServerConfig;
use myriad_transport::quic::{
    AckFrequencyConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig,
    VarInt,
};
use myriad_transport::{Cubic, Driver, DriverConfig, ShardId, ShardKey, bind_udp};
use myriad_wire::limits::ALPN_CLIENT;
use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, SupportedCipherSuite};
use std::sync::Arc;

/// What a client may send ahead on its stream: several of the largest messages.
const STREAM_WINDOW_BYTES: u32 = 32 * 1024;
/// The same over all streams, of which a second one exists only to be refused.
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024;
/// What QUIC holds of a client's stream, unsent or unacknowledged: 2.5 MB/s at 100 ms of round trip.
const SEND_WINDOW_BYTES: u64 = 256 * 1024;
/// Datagrams waiting for the congestion controller; beyond it the oldest are dropped.
const DATAGRAM_SEND_BYTES: usize = 64 * 1024;
/// Datagrams waiting for the shard's next look; beyond it the oldest are dropped.
const DATAGRAM_RECEIVE_BYTES: usize = 16 * 1024;
/// Every path carries this much, and datagrams are cut to it.
const MTU_BYTES: u16 = 1200;
/// Most paths carry this much, which two probes find out: for the stream of a client in a crowd, several packets a tick,
/// that is one packet less in six.
const MTU_PROBED_BYTES: u16 = 1452;
/// Packets that a client may take before it must acknowledge them at once; fewer it acknowledges after 25 ms, or with
/// what it sends by then. More than the states of a tick, of which the default acknowledges every second packet: that
/// would be as many packets again as clients send of their own.
const PACKETS_PER_ACK: u32 = 16;
/// The protocol's one stream, and one more, so that a client that opens it can be told why it is closed.
const STREAMS_MAX: u32 = 2;
/// No unidirectional stream, and one more for the same reason.
const UNI_STREAMS_MAX: u32 = 1;
/// First packets that wait to be looked at, and the bytes that may follow each, before it is decided about them.
const INCOMING_MAX: usize = 8192;
const INCOMING_BYTES: u64 = 8 * 1024;

/// All that rustls takes for good, in the order of what it costs: processors hash a handshake of the 128-bit suite in
/// hardware, and it is no less safe.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    let is_dear = |suite: &SupportedCipherSuite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(is_dear);
    provider
}

fn server_config(config: &EdgeConfig, tls: &ServerTls) -> Result<ServerConfig, EdgeError> {
    let setup = |error: &dyn std::error::Error| EdgeError::Setup(error.to_string());
    let mut crypto = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| setup(&error))?
        .with_no_client_auth()
        .with_single_cert(tls.chain().to_vec(), tls.key())
        .map_err(|error| setup(&error))?;
    crypto.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
    crypto.ignore_client_order = true;
    // Nothing resumes TLS sessions; tickets would cost every handshake two more messages.
    crypto.send_tls13_tickets = 0;
    let crypto = QuicServerConfig::try_from(crypto).map_err(|error| setup(&error))?;
    let idle = IdleTimeout::try_from(config.idle_timeout).map_err(|error| setup(&error))?;

    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(PACKETS_PER_ACK));
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(MTU_PROBED_BYTES)
        .minimum_change((MTU_PROBED_BYTES - MTU_BYTES) / 2);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_send_buffer_size(DATAGRAM_SEND_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES))
        .initial_mtu(MTU_BYTES)
        .min_mtu(MTU_BYTES)
        .mtu_discovery_config(Some(mtu))
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(None)
        .ack_frequency_config(Some(acks))
        .congestion_controller_factory(Arc::new(Cubic::default()))
        .enable_segmentation_offload(true);
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server
        .transport_config(Arc::new(transport))
        // A client whose address changes keeps its connection, whichever shard it then reaches.
        .migration(true)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES * INCOMING_MAX as u64);
    Ok(server)
}

/// The drivers of an edge's shards, each with its socket of the one address.
pub(crate) fn bind(config: &EdgeConfig, tls: &ServerTls) -> Result<Vec<Driver>, EdgeError> {
    assert!(config.shards > 0, "an edge has a shard");
    let bind_error = |source| EdgeError::Bind {
        address: config.listen,
        source,
    };
    // All are there before the first packet is read: the system spreads clients over those that it finds.
    let mut listen = config.listen;
    let mut sockets = Vec::new();
    for _ in 0..config.shards {
        let buffer_bytes = config.socket_buffer_bytes as usize;
        let socket = bind_udp(listen, buffer_bytes, config.shards > 1).map_err(bind_error)?;
        listen = socket.local_addr().map_err(bind_error)?;
        sockets.push(socket);
    }
    let share = |total: u32| total.div_ceil(config.shards);
    let server = Arc::new(server_config(config, tls)?);
    let (endpoint, key) = (EndpointConfig::default(), ShardKey::new());
    let mut drivers = Vec::new();
    for (number, socket) in (0..=u8::MAX).zip(sockets) {
        let mut driver = Driver::new(DriverConfig {
            endpoint: endpoint.clone(),
            server: Some(server.clone()),
            shard: Some((ShardId(number), key.clone())),
            handshakes_max: share(config.handshakes_max),
            handshakes_retry_from: share(config.handshakes_retry_from),
            handshake_timeout: config.handshake_timeout,
        })?;
        driver.add_socket(socket)?;
        drivers.push(driver);
    }
    Ok(drivers)
}
