//! QUIC and TLS settings of node links: TLS 1.3 by ring, certificates of the cluster's authority at both ends.

use super::LinksConfig;
use crate::ca::NodeIdentity;
use myriad_wire::limits::ALPN_NODE;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;

/// Bytes in flight per link and direction: a full copy of a large lane in one round trip within a data centre.
const WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Keep-alives per idle timeout, so that one may be lost.
const KEEP_ALIVES_PER_IDLE_TIMEOUT: u32 = 4;

/// Why no settings could be made from an identity.
pub(super) type TlsError = Box<dyn std::error::Error + Send + Sync>;

pub(super) fn server_config(identity: &NodeIdentity, config: &LinksConfig) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(identity.roots.clone(), provider.clone()).build()?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    tls.alpn_protocols = vec![ALPN_NODE.to_vec()];
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    server.transport_config(transport(config)?);
    Ok(server)
}

pub(super) fn client_config(identity: &NodeIdentity, config: &LinksConfig) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(identity.roots.clone(), provider.clone()).build()?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?;
    tls.alpn_protocols = vec![ALPN_NODE.to_vec()];
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    client.transport_config(transport(config)?);
    Ok(client)
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn transport(config: &LinksConfig) -> Result<Arc<TransportConfig>, TlsError> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(WINDOW_BYTES))
        .receive_window(VarInt::from_u32(WINDOW_BYTES))
        .send_window(u64::from(WINDOW_BYTES))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::try_from(config.idle_timeout)?))
        .keep_alive_interval(Some(config.idle_timeout / KEEP_ALIVES_PER_IDLE_TIMEOUT));
    Ok(Arc::new(transport))
}
