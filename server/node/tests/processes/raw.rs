//! A client without the SDK, which says whatever a test wants and keeps all that it is told.

use crate::server::{PATIENCE, Server};
use bytes::Bytes;
use myriad_client::quic::close_reason;
use myriad_wire::client::{ClientMessage, Hello, Join, Joined, Login, ServerMessage};
use myriad_wire::codec::{self, Deframer};
use myriad_wire::limits::{ALPN_CLIENT, SERVER_MESSAGE_BYTES_MAX, VERSION_MAX, VERSION_MIN};
use myriad_wire::{CloseReason, SpaceId};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// What is offered to the server in the handshake.
pub(crate) struct Dial {
    /// The protocol that is asked for.
    pub(crate) alpn: &'static [u8],
    /// Whether datagrams may come.
    pub(crate) datagrams: bool,
    /// Bytes that the server may send ahead of the reader on the stream.
    pub(crate) window_bytes: u32,
}

impl Default for Dial {
    fn default() -> Self {
        Self {
            alpn: ALPN_CLIENT,
            datagrams: true,
            window_bytes: 256 * 1024,
        }
    }
}

/// Whom a raw connection trusts: whoever has a certificate of one of these authorities (PEM).
pub(crate) fn roots(pem: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    roots
}

/// A connection to `address` by `tls`. The endpoint may be dropped: its socket lives as long as its connections.
pub(crate) async fn dial(
    address: SocketAddr,
    name: &str,
    tls: rustls::ClientConfig,
    transport: TransportConfig,
) -> Result<Connection, ConnectionError> {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3")));
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
    let connecting = endpoint.connect_with(config, address, name).expect("an address");
    timeout(PATIENCE, connecting)
        .await
        .expect("an answer to the handshake")
}

/// TLS 1.3 by ring.
pub(crate) fn tls() -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier> {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring speaks it")
}

/// A connection with its stream.
pub(crate) struct Raw {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    receive: RecvStream,
    deframer: Deframer,
    /// All bytes that came on the stream, framing included.
    pub(crate) stream: Vec<u8>,
    /// All datagrams that came.
    pub(crate) datagrams: Vec<Bytes>,
}

impl Raw {
    /// Connects, and opens the stream. The server does not know of the stream before something is said.
    pub(crate) async fn connect(server: &Server) -> Self {
        Self::try_connect(server, &Dial::default())
            .await
            .expect("the handshake is completed")
    }

    /// The same, with another offer.
    pub(crate) async fn try_connect(server: &Server, offer: &Dial) -> Result<Self, ConnectionError> {
        let mut tls = tls()
            .with_root_certificates(roots(&server.certificate()))
            .with_no_client_auth();
        tls.alpn_protocols = vec![offer.alpn.to_vec()];
        let mut transport = TransportConfig::default();
        transport
            .stream_receive_window(VarInt::from_u32(offer.window_bytes))
            .datagram_receive_buffer_size(offer.datagrams.then_some(64 * 1024))
            .mtu_discovery_config(None)
            .keep_alive_interval(Some(Duration::from_secs(2)));
        let connection = dial(server.client(), "localhost", tls, transport).await?;
        let (send, receive) = connection.open_bi().await?;
        Ok(Self {
            connection,
            send,
            receive,
            deframer: Deframer::new(SERVER_MESSAGE_BYTES_MAX),
            stream: Vec::new(),
            datagrams: Vec::new(),
        })
    }

    /// Says bytes on the stream. Whether they arrive is the test's matter: the server may close meanwhile.
    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        let said = timeout(PATIENCE, self.send.write_all(bytes)).await;
        // A connection that is closed by now shows it to whoever asks why.
        let _ = said.expect("the server takes what is said, or closes");
    }

    /// Says a message.
    pub(crate) async fn say(&mut self, message: &ClientMessage) {
        let mut bytes = Vec::new();
        codec::frame_into(message, &mut bytes);
        self.say_bytes(&bytes).await;
    }

    /// Throws a datagram.
    pub(crate) fn throw(&self, datagram: Vec<u8>) {
        self.connection
            .send_datagram(datagram.into())
            .expect("a datagram that fits");
    }

    /// Says everything up to the join.
    pub(crate) async fn say_who(&mut self, account: &str, key: &str) {
        self.say(&hello()).await;
        self.say(&login(account, key)).await;
        self.say(&ClientMessage::Join(Join { space: SpaceId(1) })).await;
    }

    /// Joins, and answers what it was told then.
    pub(crate) async fn join(&mut self, account: &str, key: &str) -> Joined {
        self.say_who(account, key).await;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            while let Some(message) = self.message() {
                if let ServerMessage::Joined(joined) = message {
                    return *joined;
                }
            }
            let heard = tokio::time::timeout_at(deadline, self.hear()).await;
            heard
                .expect("the avatar joins in time")
                .expect("the connection lives");
        }
    }

    /// Waits for something to arrive, and keeps it.
    pub(crate) async fn hear(&mut self) -> Result<(), ConnectionError> {
        tokio::select! {
            chunk = self.receive.read_chunk(64 * 1024, true) => match chunk {
                Ok(Some(chunk)) => {
                    self.stream.extend_from_slice(&chunk.bytes);
                    self.deframer.handle_bytes(&chunk.bytes);
                    Ok(())
                }
                Ok(None) | Err(_) => Err(self.connection.closed().await),
            },
            datagram = self.connection.read_datagram() => {
                self.datagrams.push(datagram?);
                Ok(())
            }
        }
    }

    /// The next message among those that have arrived.
    pub(crate) fn message(&mut self) -> Option<ServerMessage> {
        let bytes = self
            .deframer
            .poll_message()
            .expect("the server keeps to its limit")?;
        Some(codec::decode(&bytes, SERVER_MESSAGE_BYTES_MAX).expect("a message of a server"))
    }

    /// Waits until the server closes, and answers why.
    pub(crate) async fn closed(&mut self) -> CloseReason {
        let closed = timeout(PATIENCE, self.connection.closed())
            .await
            .expect("the server closes");
        let reason = close_reason(&closed);
        match closed {
            ConnectionError::ApplicationClosed(close) => {
                assert_eq!(
                    close.reason,
                    reason.label().as_bytes(),
                    "the label goes with the code"
                );
            }
            other => panic!("not closed by the server: {other}"),
        }
        reason
    }
}

/// What an honest client says first.
pub(crate) fn hello() -> ClientMessage {
    hello_of(VERSION_MIN, VERSION_MAX)
}

/// The same, for other versions.
pub(crate) fn hello_of(version_min: u16, version_max: u16) -> ClientMessage {
    ClientMessage::Hello(Hello {
        version_min,
        version_max,
        features: 0,
        agent: "raw".into(),
    })
}

/// A login.
pub(crate) fn login(account: &str, key: &str) -> ClientMessage {
    ClientMessage::Login(Login {
        account: account.into(),
        key: key.into(),
    })
}
