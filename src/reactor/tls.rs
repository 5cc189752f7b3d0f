//! TLS on both sides, by rustls over aws-lc-rs (hybrid post-quantum key exchange on by default).

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Conn, Io};
use crate::config::{ServerTls, TlsVersion};

/// What can be wrong with TLS settings, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file can't be read or holds something else.
    #[error("{path}: {reason}")]
    Pem {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// rustls refuses the material.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
    /// No certificate authorities are known.
    #[error("no certificate authorities found on this system; set ca_file")]
    NoRoots,
}

/// Accepts TLS on client connections; ALPN offers `h2` and `http/1.1`.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

/// Opens TLS to one upstream. Cheap to clone; sessions are resumed across clones.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    name: ServerName<'static>,
}

/// Which HTTP versions are offered to an upstream by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `h2`, then `http/1.1`.
    Either,
    /// `http/1.1` alone.
    Http1,
    /// `h2` alone.
    Http2,
}

impl Acceptor {
    /// Loads the certificate and the key.
    ///
    /// # Errors
    /// When a file can't be read, or the two don't belong together.
    pub fn new(settings: &ServerTls) -> Result<Self, TlsError> {
        let chain = certificates(&settings.cert)?;
        let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|error| pem_error(&settings.key, &error))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(settings.min_version))?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A record at most this long: bounds what one connection buffers in each direction, and a streamed
        // event never waits for more than this to be decrypted.
        config.max_fragment_size = Some(MAX_RECORD_BYTES);
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Shakes hands. Without a deadline of its own.
    ///
    /// # Errors
    /// What rustls says of the peer.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn accept(&self, conn: Conn) -> io::Result<Io> {
        let stream = self.0.accept(conn).await?;
        Ok(Io::Tls(Box::new(stream.into())))
    }
}

/// Bytes of a TLS record that we send.
const MAX_RECORD_BYTES: usize = 8 * 1024;

impl Connector {
    /// For the upstream at `host`, trusting the system's authorities and those in `ca_file`.
    ///
    /// # Errors
    /// When the file can't be read, the host is no name, or no authority is known at all.
    pub fn new(host: &str, ca_file: Option<&Path>, alpn: Alpn) -> Result<Self, TlsError> {
        let config = client_config(ca_file, alpn)?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| rustls::Error::General(format!("{host:?} is not a name that TLS can verify")))?;
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), name })
    }

    /// The same, with `http/1.1` alone.
    #[must_use]
    pub fn http1(&self) -> Self {
        let mut config = ClientConfig::clone(self.tls.config());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { tls: TlsConnector::from(Arc::new(config)), name: self.name.clone() }
    }

    /// Shakes hands. Without a deadline of its own.
    ///
    /// # Errors
    /// What rustls says of the peer or its certificate.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn connect(&self, conn: Conn) -> io::Result<Io> {
        let stream = self.tls.connect(self.name.clone(), conn).await?;
        Ok(Io::Tls(Box::new(stream.into())))
    }
}

/// How TLS is opened to anybody who shows a certificate of the system's authorities or of those in `ca_file`.
///
/// # Errors
/// When the file can't be read, or no authority is known at all.
pub fn client_config(ca_file: Option<&Path>, alpn: Alpn) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    // Unreadable entries of the system's store are skipped: others may do.
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = ca_file {
        for certificate in certificates(path)? {
            roots.add(certificate)?;
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(TlsVersion::V1_2))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match alpn {
        Alpn::Either => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Alpn::Http1 => vec![b"http/1.1".to_vec()],
        Alpn::Http2 => vec![b"h2".to_vec()],
    };
    Ok(config)
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Named here instead of installed for the process: no panic when a dependency brings a second provider.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match min {
        TlsVersion::V1_2 => &ALL,
        TlsVersion::V1_3 => &ALL[..1],
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => {
            Err(TlsError::Pem { path: path.display().to_string(), reason: "no certificate in it".to_owned() })
        }
        Ok(found) => Ok(found),
        Err(error) => Err(pem_error(path, &error)),
    }
}

fn pem_error(path: &Path, error: &PemError) -> TlsError {
    TlsError::Pem { path: path.display().to_string(), reason: error.to_string() }
}
