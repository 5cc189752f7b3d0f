//! TLS at both ends.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use tempfile::TempDir;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::Gateway;
use crate::support::client::{Client, H2Client, Reader as _};
use crate::support::driver::block;
use crate::support::setup::{CHAT, CHAT_PATH, DONE, Setup};
use crate::support::upstream::{Http, Upstream, head_text, tls_wire};
use crate::support::wire::{HANG, Wire};

/// An authority and a certificate of its for 127.0.0.1, as files.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut authority = CertificateParams::new(Vec::new()).expect("no names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("signed");
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("names");
        let leaf = leaf.signed_by(&key, &issuer).expect("signed");
        for (name, text) in [("ca.pem", issuer.pem()), ("cert.pem", leaf.pem()), ("key.pem", key.serialize_pem())]
        {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        let chain = CertificateDer::pem_file_iter(self.file("cert.pem")).expect("PEM");
        let key = PrivateKeyDer::from_pem_file(self.file("key.pem")).expect("PEM");
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain.map(|one| one.expect("a certificate")).collect(), key)
            .expect("a pair");
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    fn client(
        &self,
        protocols: &[&[u8]],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("ca.pem")).expect("PEM")).expect("an authority");
        let mut config = ClientConfig::builder_with_protocol_versions(versions)
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from("127.0.0.1").expect("a name")
}

/// An HTTP/1.1 connection over TLS, and what was agreed on.
fn connect(gateway: &Gateway, config: &Arc<ClientConfig>) -> Result<(Client, Option<Vec<u8>>), std::io::Error> {
    let mut socket = TcpStream::connect(gateway.address(0))?;
    socket.set_read_timeout(Some(HANG))?;
    let mut connection = ClientConnection::new(Arc::clone(config), name()).expect("TLS");
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    let agreed = connection.alpn_protocol().map(<[u8]>::to_vec);
    Ok((Client::new(Wire::over(StreamOwned::new(connection, socket))), agreed))
}

fn connect_h2(gateway: &Gateway, config: Arc<ClientConfig>) -> H2Client {
    let address = gateway.address(0);
    block(async {
        let socket = tokio::net::TcpStream::connect(address).await.expect("accepted");
        let stream = TlsConnector::from(config).connect(name(), socket).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        H2Client::over(stream, &h2::client::Builder::new()).await
    })
}

fn answer_one(upstream: &Upstream) {
    let mut exchange = upstream.next();
    exchange.begin_events();
    exchange.send(DONE);
    exchange.end();
}

#[test]
fn clients_agree_on_their_http_and_old_versions_are_refused() {
    let certificates = Certificates::new();
    let upstream = Upstream::start(Http::One);
    let path = |name: &str| certificates.file(name).display().to_string();
    let tls = |min: &str| {
        format!(
            "[server.tls]\ncert = \"{}\"\nkey = \"{}\"\nmin_version = \"{min}\"",
            path("cert.pem"),
            path("key.pem")
        )
    };
    let gateway = Setup::new().upstream("up", upstream.address(), "").tables(&tls("1.2")).start();
    assert!(gateway.said.iter().any(|line| line.starts_with("listening https://")), "{:?}", gateway.said);

    let all = rustls::ALL_VERSIONS;
    for (protocols, expected) in [(&[&b"http/1.1"[..]][..], Some(b"http/1.1".to_vec())), (&[], None)] {
        let (mut client, agreed) = connect(&gateway, &certificates.client(protocols, all)).expect("a handshake");
        assert_eq!(agreed, expected);
        client.post(CHAT_PATH, CHAT);
        answer_one(&upstream);
        assert_eq!(client.answer().1.text(), DONE);
    }
    let mut client = connect_h2(&gateway, certificates.client(&[b"h2", b"http/1.1"], all));
    let mut answer = client.post(CHAT_PATH, CHAT);
    answer_one(&upstream);
    assert_eq!(answer.answer().1.text(), DONE);

    let old = certificates.client(&[], &[&rustls::version::TLS12]);
    assert!(connect(&gateway, &old).is_ok(), "1.2 is the default minimum");
    let strict = Setup::new().upstream("up", upstream.address(), "").tables(&tls("1.3")).start();
    assert!(connect(&strict, &old).is_err());
    assert!(connect(&strict, &certificates.client(&[], all)).is_ok());
    // Whoever speaks no TLS is let go, and the others do not notice.
    let mut plain = Client::connect(strict.address(0));
    plain.wire.send(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    plain.wire.until_closed();
}

fn secure_upstream(certificates: &Certificates, http: Http) -> Upstream {
    match http {
        Http::One => {
            let config = certificates.server(&[b"http/1.1"]);
            Upstream::http1(move |stream| tls_wire(&config, stream))
        }
        Http::Two => {
            let acceptor = TlsAcceptor::from(certificates.server(&[b"h2", b"http/1.1"]));
            Upstream::http2(&h2::server::Builder::new(), move |stream| {
                let acceptor = acceptor.clone();
                async move { acceptor.accept(stream).await.ok() }
            })
        }
    }
}

fn trusting(ca_file: &Path, upstream: &Upstream) -> Gateway {
    let base_url = format!("https://{}/v1", upstream.address());
    let more = format!("ca_file = \"{}\"", ca_file.display());
    Setup::new().upstream_at("up", &base_url, &more).start()
}

#[test]
fn a_tunnel_asks_for_http1_where_there_is_more() {
    let certificates = Certificates::new();
    let config = certificates.server(&[b"h2", b"http/1.1"]);
    let upstream = Upstream::http1(move |stream| tls_wire(&config, stream));
    let gateway = trusting(&certificates.file("ca.pem"), &upstream);
    let mut client = Client::connect(gateway.address(0));
    let key =
        [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];
    client.ask("GET", "/v1/realtime?model=m", &key, b"");
    let mut exchange = upstream.next();
    exchange.wire().send(head_text(101, &[("upgrade", "websocket")]).as_bytes()).expect("the gateway reads");
    assert_eq!(client.head().status(), 101);
    let piece = vec![7; 50_000];
    for _ in 0..10 {
        client.wire.send(&piece).expect("the gateway reads");
        assert!(exchange.wire().exactly(piece.len()).expect("all of it") == piece);
        exchange.wire().send(&piece).expect("the gateway reads");
        assert!(client.wire.exactly(piece.len()).expect("all of it") == piece);
    }
}

#[test]
fn upstreams_speak_tls_over_both_https() {
    let certificates = Certificates::new();
    for http in [Http::One, Http::Two] {
        let upstream = secure_upstream(&certificates, http);
        let gateway = trusting(&certificates.file("ca.pem"), &upstream);
        for _ in 0..2 {
            let mut client = Client::connect(gateway.address(0));
            client.post(CHAT_PATH, CHAT);
            let mut exchange = upstream.next();
            assert!(exchange.head.first.ends_with(if http == Http::Two { "HTTP/2" } else { "HTTP/1.1" }));
            exchange.begin_events();
            exchange.send(DONE);
            exchange.end();
            assert_eq!(client.answer().1.text(), DONE);
        }
        assert_eq!(upstream.connections(), 1, "it is kept for the next request");
    }
}

#[test]
fn an_upstream_that_cannot_be_trusted_is_asked_once() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    for http in [Http::One, Http::Two] {
        let upstream = secure_upstream(&certificates, http);
        let gateway = trusting(&others.file("ca.pem"), &upstream);
        let mut client = Client::connect(gateway.address(0));
        client.post(CHAT_PATH, CHAT);
        let (head, rest) = client.answer();
        assert_eq!(head.status(), 502);
        assert!(rest.text().contains("upstream_unreachable"));
        assert_eq!(upstream.connections(), 1);
        assert_eq!(gateway.metric("millstream_upstream_failures_total{upstream=\"up\",phase=\"handshake\"}"), 1.0);
    }
}

/// What aws-lc holds of each connection comes from C's `malloc`. It is jemalloc, with the settings of `main.rs`, or both the
/// C library's memory and records of single pages would stay after a peak. Under a prefix jemalloc would not listen to
/// `MALLOC_CONF`, and say nothing.
#[test]
fn what_c_code_allocates_is_given_back_too() {
    let output = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .arg("--version")
        .env("MALLOC_CONF", "stats_print:true")
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("Global variable malloc_conf: \"slab_sizes:2048-2048:8|4096-4096:8\""), "{told}");
}
