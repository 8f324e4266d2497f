//! A client without manners: bare QUIC and hand-made bytes, and a record of every plaintext byte it received.

use crate::server::Server;
use bytes::Bytes;
use myriad_wire::client::{ClientMessage, Hello, Join, Joined, Login, ServerMessage};
use myriad_wire::codec::{self, Deframer};
use myriad_wire::limits::{ALPN_CLIENT, SERVER_MESSAGE_BYTES_MAX, VERSION_MAX, VERSION_MIN};
use myriad_wire::{CloseReason, SpaceId};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint, RecvStream, SendStream};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long anything that must happen may take on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A bare connection.
pub(crate) struct Raw {
    pub(crate) connection: quinn::Connection,
    pub(crate) send: SendStream,
    receive: RecvStream,
    deframer: Deframer,
    /// Every byte from the stream and from datagrams, in the order in which it came.
    pub(crate) plaintext: Vec<u8>,
    /// The stream's messages.
    pub(crate) messages: Vec<ServerMessage>,
    /// The datagrams.
    pub(crate) payloads: Vec<Bytes>,
    _endpoint: Endpoint,
}

/// Connects with this ALPN to the server whose data is in `folder`.
pub(crate) async fn connect_alpn(
    folder: &Path,
    server: &Server,
    alpn: &[u8],
) -> Result<Raw, ConnectionError> {
    let pem = std::fs::read(folder.join("data/tls/cert.pem")).expect("the server made a certificate");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut crypto = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    crypto.alpn_protocols = vec![alpn.to_vec()];
    let crypto = Arc::new(QuicClientConfig::try_from(crypto).expect("a cipher for QUIC"));
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
    let config = quinn::ClientConfig::new(crypto);
    let connecting = endpoint
        .connect_with(config, server.client(), "localhost")
        .expect("a connection begins");
    let connection = connecting.await?;
    let (send, receive) = connection.open_bi().await?;
    Ok(Raw {
        connection,
        send,
        receive,
        deframer: Deframer::new(SERVER_MESSAGE_BYTES_MAX),
        plaintext: Vec::new(),
        messages: Vec::new(),
        payloads: Vec::new(),
        _endpoint: endpoint,
    })
}

/// Connects properly.
pub(crate) async fn connect(folder: &Path, server: &Server) -> Raw {
    connect_alpn(folder, server, ALPN_CLIENT)
        .await
        .expect("the server accepts")
}

/// `Hello` as the SDK says it.
pub(crate) fn hello() -> ClientMessage {
    let agent = "raw".into();
    ClientMessage::Hello(Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        features: 0,
        agent,
    })
}

/// A login without a key.
pub(crate) fn login(account: &str) -> ClientMessage {
    ClientMessage::Login(Login {
        account: account.into(),
        key: String::new(),
    })
}

/// Into the one space.
pub(crate) fn join() -> ClientMessage {
    ClientMessage::Join(Join { space: SpaceId(1) })
}

impl Raw {
    /// Sends bytes on the stream. A server that has closed already is no fault here.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _closed = self.send.write_all(bytes).await;
    }

    /// Sends messages on the stream.
    pub(crate) async fn say(&mut self, messages: &[ClientMessage]) {
        let mut bytes = Vec::new();
        for message in messages {
            codec::frame_into(message, &mut bytes);
        }
        self.send_bytes(&bytes).await;
    }

    /// Goes through the handshake until the avatar is there.
    pub(crate) async fn join(&mut self, account: &str) -> Joined {
        self.say(&[hello(), login(account), join()]).await;
        self.until("the join", Raw::joined).await
    }

    fn joined(&mut self) -> Option<Joined> {
        self.messages.iter().rev().find_map(|message| match message {
            ServerMessage::Joined(joined) => Some((**joined).clone()),
            _ => None,
        })
    }

    /// Takes the next bytes off the stream or the next datagram. False if the connection is over.
    pub(crate) async fn pump(&mut self) -> bool {
        tokio::select! {
            chunk = self.receive.read_chunk(64 * 1024, true) => {
                let Ok(Some(chunk)) = chunk else { return false };
                self.plaintext.extend_from_slice(&chunk.bytes);
                self.deframer.handle_bytes(&chunk.bytes);
                while let Some(message) = self.deframer.poll_message().expect("the server frames its messages") {
                    let message = codec::decode(&message, SERVER_MESSAGE_BYTES_MAX).expect("a message");
                    self.messages.push(message);
                }
            }
            datagram = self.connection.read_datagram() => {
                let Ok(datagram) = datagram else { return false };
                self.plaintext.extend_from_slice(&datagram);
                self.payloads.push(datagram);
            }
        }
        true
    }

    /// Reads until `found` finds something.
    pub(crate) async fn until<T>(&mut self, what: &str, mut found: impl FnMut(&mut Self) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = found(self) {
                    return Some(found);
                }
                if !self.pump().await {
                    return None;
                }
            }
        };
        match timeout(PATIENCE, search).await {
            Ok(Some(found)) => found,
            Ok(None) => panic!(
                "the connection ended before {what}: {:?}",
                self.connection.close_reason()
            ),
            Err(_) => panic!("waited in vain for {what}"),
        }
    }

    /// Why the server closed.
    pub(crate) async fn closed(&self) -> CloseReason {
        let error = timeout(PATIENCE, self.connection.closed())
            .await
            .expect("the server closes");
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let code = u32::try_from(close.error_code.into_inner()).expect("a small code");
                CloseReason::from_code(code).expect("a code that the protocol knows")
            }
            error => panic!("not closed by the server: {error}"),
        }
    }
}
