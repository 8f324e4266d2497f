//! The settings of QUIC, TLS and the socket towards clients, with the reason for each.

use crate::tls::ServerTls;
use crate::{EdgeConfig, EdgeError};
use myriad_wire::limits::ALPN_CLIENT;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    AckFrequencyConfig, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::runtime::Handle;

/// What a client may send ahead on its stream: several of the largest messages.
const STREAM_WINDOW_BYTES: u32 = 32 * 1024;
/// The same over all streams, of which a second one exists only to be refused.
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024;
/// What QUIC holds of a client's stream, unsent or unacknowledged: 2.5 MB/s at 100 ms of round trip.
const SEND_WINDOW_BYTES: u64 = 256 * 1024;
/// Datagrams waiting for the congestion controller; beyond it the oldest are dropped.
const DATAGRAM_SEND_BYTES: usize = 64 * 1024;
/// Datagrams waiting for the connection's task; beyond it the oldest are dropped.
const DATAGRAM_RECEIVE_BYTES: usize = 16 * 1024;
/// Every path carries this much. Nothing larger is probed for: datagrams are cut to it, and the probes would cost
/// more packets than the streams would save.
const MTU_BYTES: u16 = 1200;
/// Packets that a client may take before it must acknowledge them at once; fewer it acknowledges after 25 ms, or with
/// what it sends by then. More than the states of a tick, of which the default acknowledges every second packet: that
/// would be as many packets again as clients send of their own.
const PACKETS_PER_ACK: u32 = 16;
/// The protocol's one stream, and one more, so that a client that opens it can be told why it is closed.
const STREAMS_MAX: u32 = 2;
/// No unidirectional stream, and one more for the same reason.
const UNI_STREAMS_MAX: u32 = 1;
/// First packets that wait to be looked at, and the bytes that may follow each, before the accept loop sees them.
const INCOMING_MAX: usize = 8192;
const INCOMING_BYTES: u64 = 8 * 1024;

fn server_config(config: &EdgeConfig, tls: &ServerTls) -> Result<ServerConfig, EdgeError> {
    let setup = |error: &dyn std::error::Error| EdgeError::Setup(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut crypto = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| setup(&error))?
        .with_no_client_auth()
        .with_single_cert(tls.chain().to_vec(), tls.key())
        .map_err(|error| setup(&error))?;
    crypto.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
    // Nothing resumes TLS sessions; tickets would cost every handshake two more messages.
    crypto.send_tls13_tickets = 0;
    let crypto = QuicServerConfig::try_from(crypto).map_err(|error| setup(&error))?;
    let idle = IdleTimeout::try_from(config.idle_timeout).map_err(|error| setup(&error))?;

    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(PACKETS_PER_ACK));
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
        .mtu_discovery_config(None)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(None)
        .ack_frequency_config(Some(acks))
        .enable_segmentation_offload(true);
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server
        .transport_config(Arc::new(transport))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES * INCOMING_MAX as u64);
    Ok(server)
}

/// Binds the socket and starts to answer on it.
pub(crate) fn bind(config: &EdgeConfig, tls: &ServerTls, runtime: &Handle) -> Result<Endpoint, EdgeError> {
    let server = server_config(config, tls)?;
    let _entered = runtime.enter();
    bind_socket(config.listen, config.socket_buffer_bytes as usize)
        .and_then(|socket| {
            let tokio = Arc::new(quinn::TokioRuntime);
            Endpoint::new(EndpointConfig::default(), Some(server), socket, tokio)
        })
        .map_err(|source| EdgeError::Bind {
            address: config.listen,
            source,
        })
}

fn bind_socket(listen: SocketAddr, buffer_bytes: usize) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&listen.into())?;
    socket.set_recv_buffer_size(buffer_bytes)?;
    socket.set_send_buffer_size(buffer_bytes)?;
    // Linux doubles what it grants, for its bookkeeping.
    let bookkeeping = if cfg!(target_os = "linux") { 2 } else { 1 };
    let granted = socket.recv_buffer_size()?.min(socket.send_buffer_size()?) / bookkeeping;
    if granted < buffer_bytes {
        tracing::warn!(
            wanted = buffer_bytes,
            granted,
            "the system grants smaller socket buffers; bursts to many clients may lose datagrams"
        );
    }
    Ok(socket.into())
}
