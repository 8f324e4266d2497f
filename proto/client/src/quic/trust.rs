//! Whom to take for the server: whoever has a certificate of a CA, or exactly the pinned certificate.

use super::ConnectError;
use myriad_wire::limits::ALPN_CLIENT;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// Whom to take for the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerTrust {
    /// Whoever has a certificate, for the name connected to, of one of these CAs: PEM, one or more certificates.
    Ca(Vec<u8>),
    /// Whoever has exactly this certificate, whatever its name, issuer and dates.
    Fingerprint(Fingerprint),
}

/// The SHA-256 of a certificate in DER. Written as 64 hexadecimal digits, colons allowed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// Not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a fingerprint is 64 hexadecimal digits: the SHA-256 of the server's certificate")]
pub struct FingerprintError;

impl Fingerprint {
    /// Of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut bytes = [0; 32];
        let mut digits = text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16));
        let mut digit = || digits.next().flatten().ok_or(FingerprintError);
        for byte in &mut bytes {
            *byte = (digit()? << 4 | digit()?) as u8;
        }
        if digits.next().is_some() {
            return Err(FingerprintError);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// The last certificate refused for its fingerprint. TLS passes on only a text, and not a good one.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(Arc<Mutex<Option<(Fingerprint, Fingerprint)>>>);

impl Refusals {
    /// What was pinned, and what was found.
    pub(super) fn last(&self) -> Option<(Fingerprint, Fingerprint)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, pinned: Fingerprint, found: Fingerprint) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((pinned, found));
    }
}

impl ServerTrust {
    /// TLS as the trust wants it.
    pub(super) fn crypto(&self) -> Result<(Arc<QuicClientConfig>, Refusals), ConnectError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring speaks TLS 1.3");
        let refusals = Refusals::default();
        let mut config = match self {
            Self::Ca(pem) => builder.with_root_certificates(roots(pem)?).with_no_client_auth(),
            Self::Fingerprint(pinned) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned {
                    fingerprint: *pinned,
                    refusals: refusals.clone(),
                    provider,
                }))
                .with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
        let crypto =
            QuicClientConfig::try_from(config).expect("ring has the cipher suite of QUIC's first packets");
        Ok((Arc::new(crypto), refusals))
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| ConnectError::Ca(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| ConnectError::Ca(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(ConnectError::Ca("there is no certificate in the PEM".to_owned()));
    }
    Ok(roots)
}

/// Accepts one certificate. That the server holds its key is checked as always.
#[derive(Debug)]
struct Pinned {
    fingerprint: Fingerprint,
    refusals: Refusals,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Fingerprint::of(end_entity);
        if found == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        self.refusals.note(self.fingerprint, found);
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
