//! The cluster's certificate authority, and the certificates by which nodes know each other.
//!
//! A node's name is a DNS name in its certificate. Each node certificate carries [`NODE_SAN`] as well: it marks the
//! certificate as one of a node, so that what the same authority may have issued for other purposes opens no door.
//! Certificates made here do not expire; a leaked key means a new authority. Those made by other tools work as
//! well, if they carry both names and allow server and client authentication.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// The second DNS name in every node's certificate.
pub const NODE_SAN: &str = "node.myriad.internal";

/// File names in the directory of [`ClusterCa::save`].
const CA_CERTIFICATE_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca-key.pem";

/// What went wrong with certificates or keys.
#[derive(Debug, Error)]
pub enum CaError {
    /// A file could not be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written. Files that exist are never overwritten.
    #[error("can't write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A node can't be called that.
    #[error(
        "a node can't be called {0:?}: names are 1 to 63 lowercase letters, digits, dots and hyphens, not an address"
    )]
    Name(String),
    /// A certificate could not be made.
    #[error("can't make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// Whether a node may be called `name`.
///
/// # Errors
/// [`CaError::Name`] if not.
pub fn check_node_name(name: &str) -> Result<(), CaError> {
    let plain = name
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
    let short = name.len() <= myriad_wire::node::NODE_NAME_BYTES_MAX;
    let dns = matches!(ServerName::try_from(name), Ok(ServerName::DnsName(_)));
    if plain && short && dns && name != NODE_SAN {
        Ok(())
    } else {
        Err(CaError::Name(name.to_owned()))
    }
}

/// The authority, with its private key: needed only to issue certificates.
#[derive(Debug)]
pub struct ClusterCa {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A node's certificate and key, as PEM.
pub struct NodeCertificate {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl ClusterCa {
    /// A new authority.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn create() -> Result<Self, CaError> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Myriad cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self {
            certificate_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority saved in `directory`.
    ///
    /// # Errors
    /// If its files can't be read or are not what they should be.
    pub fn load(directory: &Path) -> Result<Self, CaError> {
        let key_path = directory.join(CA_KEY_FILE);
        let certificate_path = directory.join(CA_CERTIFICATE_FILE);
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(|error| invalid(&key_path, error))?;
        let certificate_pem = read(&certificate_path)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key)
            .map_err(|error| invalid(&certificate_path, error))?;
        Ok(Self {
            certificate_pem,
            issuer,
        })
    }

    /// Writes the authority's certificate as `ca.pem` and its key as `ca-key.pem`, which only the owner may read.
    ///
    /// # Errors
    /// If a file can't be written or exists already.
    pub fn save(&self, directory: &Path) -> Result<(), CaError> {
        write_new(
            &directory.join(CA_KEY_FILE),
            &self.issuer.key().serialize_pem(),
            PRIVATE,
        )?;
        write_new(
            &directory.join(CA_CERTIFICATE_FILE),
            &self.certificate_pem,
            PUBLIC,
        )
    }

    /// The authority's certificate: what every node must have.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A certificate for the node called `node`, for both ends of a link.
    ///
    /// # Errors
    /// If a node can't be called that, or the system has no randomness.
    pub fn issue(&self, node: &str) -> Result<NodeCertificate, CaError> {
        check_node_name(node)?;
        let mut params = CertificateParams::new(vec![node.to_owned(), NODE_SAN.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, node);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(NodeCertificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

impl NodeCertificate {
    /// Writes the certificate and its key, which only the owner may read.
    ///
    /// # Errors
    /// If a file can't be written or exists already.
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<(), CaError> {
        write_new(key, &self.key_pem, PRIVATE)?;
        write_new(certificate, &self.certificate_pem, PUBLIC)
    }
}

/// Where a node finds what it needs to prove who it is, as PEM files.
#[derive(Clone, Debug)]
pub struct IdentityPaths {
    /// The cluster's authority.
    pub ca: PathBuf,
    /// The node's certificate, with intermediates behind it if there are any.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// Who a node is and whom it trusts.
#[derive(Debug)]
pub struct NodeIdentity {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl NodeIdentity {
    /// Loads the identity of the node called `node`, and checks what another node would: that the certificate is
    /// the authority's, carries the name, and belongs to the key.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file.
    pub fn load(node: &str, paths: &IdentityPaths) -> Result<Self, CaError> {
        check_node_name(node)?;
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(&paths.ca)? {
            roots
                .add(certificate)
                .map_err(|error| invalid(&paths.ca, error))?;
        }
        let chain = read_certificates(&paths.certificate)?;
        check_certificate(node, &chain, &roots).map_err(|problem| CaError::Invalid {
            path: paths.certificate.clone(),
            problem,
        })?;
        let key = PrivateKeyDer::from_pem_slice(read(&paths.key)?.as_bytes())
            .map_err(|error| invalid(&paths.key, format!("no private key in PEM: {error}")))?;
        let provider = rustls::crypto::ring::default_provider();
        rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider)
            .map_err(|error| invalid(&paths.key, format!("not the certificate's key: {error}")))?;
        Ok(Self {
            roots: Arc::new(roots),
            chain,
            key,
        })
    }
}

fn check_certificate(node: &str, chain: &[CertificateDer<'_>], roots: &RootCertStore) -> Result<(), String> {
    let (leaf, intermediates) = chain
        .split_first()
        .expect("read_certificates answers at least one");
    let certificate =
        ParsedCertificate::try_from(leaf).map_err(|error| format!("not a certificate: {error}"))?;
    rustls::client::verify_server_cert_signed_by_trust_anchor(
        &certificate,
        roots,
        intermediates,
        UnixTime::now(),
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .all,
    )
    .map_err(|error| format!("not issued by the cluster's authority: {error}"))?;
    for name in [node, NODE_SAN] {
        if !carries_name(leaf, name) {
            return Err(format!("does not carry the DNS name {name:?}"));
        }
    }
    Ok(())
}

/// Whether `certificate` carries the DNS name `name`.
pub(crate) fn carries_name(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else {
        return false;
    };
    ServerName::try_from(name).is_ok_and(|name| rustls::client::verify_server_name(&parsed, &name).is_ok())
}

/// At least one certificate.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(read(path)?.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(path, error))?;
    if certificates.is_empty() {
        return Err(invalid(path, "no certificate in PEM"));
    }
    Ok(certificates)
}

fn invalid(path: &Path, problem: impl ToString) -> CaError {
    CaError::Invalid {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(|source| CaError::Read {
        path: path.to_owned(),
        source,
    })
}

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Writes a file that does not exist yet, with the given Unix permissions from its first byte on.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CaError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|source| CaError::Write {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path, ca: &ClusterCa, node: &str) -> IdentityPaths {
        let paths = IdentityPaths {
            ca: directory.join(format!("{node}-ca.pem")),
            certificate: directory.join(format!("{node}.pem")),
            key: directory.join(format!("{node}-key.pem")),
        };
        fs::write(&paths.ca, ca.certificate_pem()).unwrap();
        ca.issue(node)
            .unwrap()
            .save(&paths.certificate, &paths.key)
            .unwrap();
        paths
    }

    /// Loading `node` fails, and the error names `file` and says `problem`.
    fn check_refused(node: &str, paths: &IdentityPaths, file: &Path, problem: &str) {
        let text = NodeIdentity::load(node, paths).unwrap_err().to_string();
        assert!(text.contains(&file.display().to_string()), "{text}");
        assert!(text.contains(problem), "{text}");
    }

    #[test]
    fn a_saved_authority_issues_certificates_that_load() {
        let directory = tempfile::tempdir().unwrap();
        ClusterCa::create().unwrap().save(directory.path()).unwrap();
        let ca = ClusterCa::load(directory.path()).unwrap();
        NodeIdentity::load("cell-1", &files(directory.path(), &ca, "cell-1")).unwrap();
    }

    #[test]
    fn nothing_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let ca = ClusterCa::create().unwrap();
        ca.save(directory.path()).unwrap();
        assert!(matches!(ca.save(directory.path()), Err(CaError::Write { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn private_keys_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let ca = ClusterCa::create().unwrap();
        ca.save(directory.path()).unwrap();
        let paths = files(directory.path(), &ca, "cell");
        for key in [directory.path().join(CA_KEY_FILE), paths.key] {
            assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_wrong_with_an_identity_is_said_with_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let ca = ClusterCa::create().unwrap();
        let good = files(directory.path(), &ca, "a");
        let other = files(directory.path(), &ClusterCa::create().unwrap(), "b");
        let missing = directory.path().join("missing.pem");

        check_refused("c", &good, &good.certificate, "does not carry the DNS name \"c\"");
        let mut paths = good.clone();
        paths.ca.clone_from(&other.ca);
        check_refused(
            "a",
            &paths,
            &good.certificate,
            "not issued by the cluster's authority",
        );
        let mut paths = good.clone();
        paths.key.clone_from(&other.key);
        check_refused("a", &paths, &other.key, "not the certificate's key");
        let mut paths = good.clone();
        paths.certificate.clone_from(&good.key);
        check_refused("a", &paths, &good.key, "no certificate in PEM");
        let mut paths = good.clone();
        paths.key.clone_from(&good.certificate);
        check_refused("a", &paths, &good.certificate, "no private key in PEM");
        let mut paths = good;
        paths.ca.clone_from(&missing);
        check_refused("a", &paths, &missing, "can't read");
    }

    #[test]
    fn names_that_no_certificate_can_prove_are_refused() {
        for name in ["cell", "gateway-2", "a.b.example"] {
            check_node_name(name).unwrap();
        }
        for name in [
            "",
            "Cell",
            "a b",
            "10.0.0.1",
            "::1",
            "*.x",
            "ä",
            &"a".repeat(64),
            NODE_SAN,
        ] {
            assert!(check_node_name(name).is_err(), "{name}");
        }
    }
}
