//! The server's certificate: loaded, or made once and kept, so that clients can pin it.

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The names every certificate made here carries, beside those that are asked for.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const CERTIFICATE_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

/// What went wrong with the certificate or its key.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("can't write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Of certificate and key only one is there.
    #[error("{present} has no {missing} beside it: restore it, or remove the one to have both made anew")]
    Half {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// A file is not what it should be.
    #[error("{path}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that no certificate can carry.
    #[error("{name:?} can't stand in a certificate: {problem}")]
    Name {
        /// The name.
        name: String,
        /// Why.
        problem: String,
    },
    /// A certificate could not be made.
    #[error("can't make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate chain and its private key.
pub struct ServerTls {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    /// The certificate in `directory` (`cert.pem`, `key.pem`). If there is none, makes a self-signed one for
    /// localhost, 127.0.0.1, ::1 and `names` (DNS names or addresses) that does not expire, and keeps it there, the
    /// key readable by its owner only. A certificate that is there already stays, even if it lacks some of `names`;
    /// that is logged.
    ///
    /// # Errors
    /// If the files can't be read or written, don't belong together, or a name can't stand in a certificate.
    pub fn load_or_create(directory: &Path, names: &[String]) -> Result<Self, TlsError> {
        let certificate = directory.join(CERTIFICATE_FILE);
        let key = directory.join(KEY_FILE);
        match (certificate.exists(), key.exists()) {
            (true, true) => {
                let tls = Self::load(&certificate, &key)?;
                for name in names.iter().filter(|name| !tls.carries_name(name)) {
                    tracing::warn!(
                        name,
                        path = %certificate.display(),
                        "the certificate does not carry this name; remove it and its key to have both made anew"
                    );
                }
                Ok(tls)
            }
            (false, false) => {
                create(directory, &certificate, &key, names)?;
                Self::load(&certificate, &key)
            }
            (true, false) => Err(TlsError::Half {
                present: certificate,
                missing: key,
            }),
            (false, true) => Err(TlsError::Half {
                present: key,
                missing: certificate,
            }),
        }
    }

    /// A certificate, with its intermediates behind it, and its key, both as PEM files.
    ///
    /// # Errors
    /// If they can't be read, are not what they should be, or don't belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let invalid = |path: &Path, problem: String| TlsError::Invalid {
            path: path.to_owned(),
            problem,
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate)?)
            .collect::<Result<_, _>>()
            .map_err(|error| invalid(certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(invalid(certificate, "no certificate in PEM".to_owned()));
        }
        let private = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|error| invalid(key, format!("no private key in PEM: {error}")))?;
        let provider = rustls::crypto::ring::default_provider();
        rustls::sign::CertifiedKey::from_der(chain.clone(), private.clone_key(), &provider)
            .map_err(|error| invalid(key, format!("not the certificate's key: {error}")))?;
        Ok(Self { chain, key: private })
    }

    /// The SHA-256 of the certificate (of its DER form), in lowercase hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        for byte in Sha256::digest(&self.chain[0]) {
            write!(text, "{byte:02x}").expect("writing to a String does not fail");
        }
        text
    }

    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    fn carries_name(&self, name: &str) -> bool {
        let Ok(parsed) = ParsedCertificate::try_from(&self.chain[0]) else {
            return false;
        };
        ServerName::try_from(name)
            .is_ok_and(|name| rustls::client::verify_server_name(&parsed, &name).is_ok())
    }
}

fn create(directory: &Path, certificate: &Path, key: &Path, names: &[String]) -> Result<(), TlsError> {
    for name in names {
        ServerName::try_from(name.as_str()).map_err(|error| TlsError::Name {
            name: name.clone(),
            problem: error.to_string(),
        })?;
    }
    let mut all: Vec<String> = LOCAL_NAMES.iter().map(|name| (*name).to_owned()).collect();
    all.extend(
        names
            .iter()
            .filter(|name| !LOCAL_NAMES.contains(&name.as_str()))
            .cloned(),
    );
    let mut params = CertificateParams::new(all)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Myriad server");
    let key_pair = KeyPair::generate()?;
    let made = params.self_signed(&key_pair)?;
    fs::create_dir_all(directory).map_err(|source| TlsError::Write {
        path: directory.to_owned(),
        source,
    })?;
    write_new(key, &key_pair.serialize_pem(), KEY_MODE)?;
    write_new(certificate, &made.pem(), CERTIFICATE_MODE)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file that does not exist yet, with the given Unix permissions from its first byte on.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|source| TlsError::Write {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("tls");
        let names = [
            "game.example".to_owned(),
            "192.0.2.7".to_owned(),
            "localhost".to_owned(),
        ];
        let made = ServerTls::load_or_create(&inner, &names).unwrap();
        for name in LOCAL_NAMES.iter().copied().chain(["game.example", "192.0.2.7"]) {
            assert!(made.carries_name(name), "{name}");
        }
        assert!(!made.carries_name("other.example"));
        let kept = ServerTls::load_or_create(&inner, &["other.example".to_owned()]).unwrap();
        assert_eq!(made.fingerprint(), kept.fingerprint());
        assert_eq!(made.fingerprint().len(), 64);
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        ServerTls::load_or_create(directory.path(), &[]).unwrap();
        let mode = fs::metadata(directory.path().join(KEY_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let check = |part: &str| {
            let error = ServerTls::load_or_create(directory.path(), &[])
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{error}");
        };
        let certificate = directory.path().join(CERTIFICATE_FILE);
        let key = directory.path().join(KEY_FILE);
        ServerTls::load_or_create(directory.path(), &[]).unwrap();
        ServerTls::load_or_create(other.path(), &[]).unwrap();
        fs::copy(other.path().join(KEY_FILE), &key).unwrap();
        check("not the certificate's key");
        fs::write(&key, "nonsense").unwrap();
        check("no private key in PEM");
        fs::write(&certificate, "nonsense").unwrap();
        check("no certificate in PEM");
        fs::remove_file(&certificate).unwrap();
        check("cert.pem");
        let bad = ServerTls::load_or_create(&directory.path().join("new"), &["not a name".to_owned()]);
        assert!(matches!(bad, Err(TlsError::Name { .. })));
    }
}
