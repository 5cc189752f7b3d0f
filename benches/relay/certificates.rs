//! Certificates that live as long as one run, and what rustls makes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A folder with an authority, and a pair of its for this machine.
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// The files that [`Self::make`] left in `folder`.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Makes them: ECDSA P-256, as public authorities issue them.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "benchmark");
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        leaf.distinguished_name.push(DnType::CommonName, "localhost");
        let leaf = leaf.signed_by(&key, &issuer)?;
        let made = Self::in_folder(folder);
        fs::write(made.authority(), issuer.pem())?;
        fs::write(made.chain(), leaf.pem())?;
        fs::write(made.key(), key.serialize_pem())?;
        fs::write(made.pair(), leaf.pem() + &key.serialize_pem())?;
        Ok(made)
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    /// The authority's certificate.
    pub(crate) fn authority(&self) -> String {
        self.file("ca.pem")
    }

    /// The certificate of servers.
    pub(crate) fn chain(&self) -> String {
        self.file("cert.pem")
    }

    /// Its key.
    pub(crate) fn key(&self) -> String {
        self.file("key.pem")
    }

    /// Both in one file.
    pub(crate) fn pair(&self) -> String {
        self.file("pair.pem")
    }

    /// For the mock. What a gateway speaks is known from its first bytes, so either protocol is agreed to.
    pub(crate) fn server(&self) -> Result<Arc<ServerConfig>> {
        let chain = CertificateDer::pem_file_iter(self.chain())?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(self.key())?;
        let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// For the client, which says that it speaks `protocol`.
    pub(crate) fn client(&self, protocol: &[u8]) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority())?)?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }
}
