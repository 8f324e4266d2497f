//! The QUIC skin: carries bytes between a server and a [`Client`], and nothing else.
//!
//! A [`Connector`] is one UDP socket and one trust, shared by any number of [`Connection`]s; a connection is
//! driven by whoever owns it, there is no task behind it. Read next: `connection.rs`, then `trust.rs`.

mod connection;
mod trust;

pub use connection::{Connection, Waited};
pub use trust::{Fingerprint, FingerprintError, ServerTrust};

use crate::{Client, ClientConfig};
use myriad_wire::CloseReason;
use quinn::{ConnectionError, IdleTimeout, TransportConfig, TransportErrorCode, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use trust::Refusals;

/// Bytes of datagrams that wait to be read, and to be sent; beyond them the oldest are dropped.
const DATAGRAM_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of the stream that the server may send ahead of the reader.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes of the stream that may be under way to the server.
const SEND_WINDOW_BYTES: u64 = 64 * 1024;
/// A connection is lost after this long without a word.
const IDLE_TIMEOUT_MS: u32 = 20_000;
/// How often to give a sign of life. Payloads make it superfluous, except before the join and for the paused.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Asked of the system for each socket, each way. It may give less (on Linux, `net.core.rmem_max`).
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Why there is no connection, or no session on it.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The local socket.
    #[error("cannot open a UDP socket: {0}")]
    Socket(#[from] std::io::Error),
    /// The trust given is of no use.
    #[error("the CA certificates cannot be used: {0}")]
    Ca(String),
    /// The address or the server's name cannot be connected to.
    #[error("cannot connect: {0}")]
    Address(#[from] quinn::ConnectError),
    /// The server has another certificate than the pinned one: not the server meant, or its certificate changed.
    #[error("the server's certificate has the fingerprint {found}, but {pinned} is pinned")]
    Fingerprint {
        /// The one expected.
        pinned: Fingerprint,
        /// The one found.
        found: Fingerprint,
    },
    /// The server's certificate was not accepted, or it speaks another protocol.
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    /// The server is not one of ours, or far too old: it takes no datagrams.
    #[error("the server takes no datagrams")]
    NoDatagrams,
    /// The server refused the connection or the session, or it was lost.
    #[error("the connection was closed: {}", .0.label())]
    Closed(CloseReason),
    /// The session had not joined in time.
    #[error("not joined in time")]
    TimedOut,
}

/// How to connect to servers of one trust, for whoever brings a QUIC loop of its own. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialer {
    config: quinn::ClientConfig,
    refusals: Refusals,
}

/// Makes connections over one socket to servers of one trust. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector {
    endpoint: quinn::Endpoint,
    dialer: Dialer,
}

impl Dialer {
    /// For servers of this trust.
    ///
    /// # Errors
    /// If the trust is of no use.
    pub fn new(trust: &ServerTrust) -> Result<Self, ConnectError> {
        let (crypto, refusals) = trust.crypto()?;
        let mut config = quinn::ClientConfig::new(crypto);
        config.transport_config(Arc::new(transport_config()));
        Ok(Self { config, refusals })
    }

    /// What a connection is made with. The session's one stream is then opened by the client.
    #[must_use]
    pub fn config(&self) -> quinn::ClientConfig {
        self.config.clone()
    }

    /// Why a connection was not made.
    #[must_use]
    pub fn explain(&self, error: &ConnectionError) -> ConnectError {
        let ConnectionError::TransportError(fault) = error else {
            return ConnectError::Closed(close_reason(error));
        };
        if !is_tls(fault.code) {
            return ConnectError::Closed(close_reason(error));
        }
        match self.refusals.last() {
            Some((pinned, found)) => ConnectError::Fingerprint { pinned, found },
            None => ConnectError::Tls(fault.to_string()),
        }
    }
}

/// A socket whose buffers hold the bursts of a tick, as far as the system allows.
fn bind_socket(local: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        // IPv4 servers too, by mapped addresses.
        socket.set_only_v6(false)?;
    }
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&local.into())?;
    Ok(socket.into())
}

impl Connector {
    /// With a socket of its own at `local`: usually port 0 of the unspecified address of the server's family.
    ///
    /// # Errors
    /// If the socket cannot be opened or the trust is of no use.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(local: SocketAddr, trust: &ServerTrust) -> Result<Self, ConnectError> {
        let socket = bind_socket(local)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        Self::new(
            quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime)?,
            trust,
        )
    }

    /// Over `endpoint`.
    ///
    /// # Errors
    /// If the trust is of no use.
    pub fn new(endpoint: quinn::Endpoint, trust: &ServerTrust) -> Result<Self, ConnectError> {
        Ok(Self {
            endpoint,
            dialer: Dialer::new(trust)?,
        })
    }

    /// Connects to the server at `address`. Its certificate must be for `server_name`, unless it is pinned.
    /// The session is not joined yet: drive the connection by [`Connection::wait`], or [`Connection::join`].
    ///
    /// # Errors
    /// If there is no connection, or the server is not the one trusted.
    pub async fn connect(
        &self,
        address: SocketAddr,
        server_name: &str,
        config: ClientConfig,
    ) -> Result<Connection, ConnectError> {
        let connecting = self
            .endpoint
            .connect_with(self.dialer.config(), address, server_name)?;
        let connection = connecting.await.map_err(|error| self.dialer.explain(&error))?;
        if connection.max_datagram_size().is_none() {
            return Err(ConnectError::NoDatagrams);
        }
        let stream = connection
            .open_bi()
            .await
            .map_err(|error| self.dialer.explain(&error))?;
        Ok(Connection::new(connection, stream, Client::new(config)))
    }

    /// Waits until all connections have ended and their last packets are sent.
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }
}

/// TLS alerts are transport errors 0x100 to 0x1ff (RFC 9001, section 4.8).
fn is_tls(code: TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

fn transport_config() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        // The protocol has one stream, which the client opens.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        // What a client sends is small; larger packets would gain nothing.
        .mtu_discovery_config(None);
    transport
}

/// Why a connection ended, as the protocol names it.
#[must_use]
pub fn close_reason(error: &ConnectionError) -> CloseReason {
    match error {
        ConnectionError::ApplicationClosed(close) => u32::try_from(close.error_code.into_inner())
            .ok()
            .and_then(CloseReason::from_code)
            .unwrap_or(CloseReason::Lost),
        ConnectionError::TimedOut => CloseReason::TimedOut,
        ConnectionError::LocallyClosed => CloseReason::Left,
        ConnectionError::VersionMismatch => CloseReason::Version,
        ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::Reset
        | ConnectionError::CidsExhausted => CloseReason::Lost,
    }
}

/// Microseconds since the Unix epoch, by a clock that does not run back: what the skin hands to its clients.
/// Follows the system's clock only once, when it is first called.
#[must_use]
pub fn now_us() -> u64 {
    static START: OnceLock<(Instant, u64)> = OnceLock::new();
    let (start, unix_us) = START.get_or_init(|| {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (Instant::now(), micros(unix))
    });
    unix_us + micros(start.elapsed())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
