//! Getting a connection: phases, deadlines, the cap, Unix sockets, TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use h2::server::handshake;
use http::Response;
use rcgen::generate_simple_self_signed;
use socket2::{Domain, Socket, Type};
use tempfile::{TempDir, tempdir};
use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::yield_now;
use tokio::time::{Instant, pause, timeout};

use super::{Bench, CollectAll, listen, read_request, run, upstream};
use crate::config::{BaseUrl, Protocol, ServerTls, TlsVersion, Upstream};
use crate::reactor::tls::Acceptor;
use crate::reactor::{self, Conn, Io};
use crate::telemetry::FailurePhase;
use crate::upstream::{Cause, Framing, SendError};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

fn check(failed: &SendError, phase: FailurePhase) {
    assert_eq!((failed.phase, failed.sent), (phase, false), "{failed}");
}

/// An address that refuses connections.
async fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    listener.local_addr().expect("an address")
}

#[test]
fn refused_is_a_failure_to_connect() {
    run(async {
        let bench = Bench::new(upstream(closed().await));
        check(&bench.send().await.expect_err("refused"), FailurePhase::Connect);
        assert_eq!(bench.open(), 0);
    });
}

#[test]
fn a_connect_without_answer_ends_at_its_deadline() {
    run(async {
        // A full queue of connections: further SYNs are dropped, as by a firewall.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().expect("an address").into()).expect("bound");
        socket.listen(0).expect("listening");
        let address = socket.local_addr().expect("an address").as_socket().expect("TCP");
        let mut filling = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            filling.push(stream.expect("queued"));
        }
        pause();
        let started = Instant::now();
        let bench = Bench::new(Upstream { connect_timeout: Duration::from_secs(3), ..upstream(address) });
        let failed = bench.send().await.expect_err("no answer");
        check(&failed, FailurePhase::Connect);
        assert!(matches!(failed.source, Cause::Timeout(_)));
        assert_eq!((started.elapsed().as_secs(), bench.open()), (3, 0));
    });
}

#[test]
fn a_handshake_without_answer_ends_at_its_deadline() {
    for tls in [false, true] {
        run(async move {
            let (address, _) = listen(|_, mut stream| async move {
                copy(&mut stream, &mut sink()).await.expect("read");
            })
            .await;
            let mut settings = Upstream { protocol: Protocol::Http2, ..upstream(address) };
            settings.base.tls = tls;
            let (_folder, ca, _) = certificate();
            settings.ca_file = Some(ca);
            let bench = Bench::new(settings);
            pause();
            let started = Instant::now();
            check(&bench.send().await.expect_err("no answer"), FailurePhase::Handshake);
            assert_eq!((started.elapsed().as_secs(), bench.open()), (5, 0));
        });
    }
}

#[test]
fn a_peer_that_speaks_something_else_fails_the_handshake() {
    run(async {
        let (address, _) = listen(|_, mut stream| async move {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("written");
            copy(&mut stream, &mut sink()).await.ok();
        })
        .await;
        let bench = Bench::new(Upstream { protocol: Protocol::Http2, ..upstream(address) });
        check(&bench.send().await.expect_err("not HTTP/2"), FailurePhase::Handshake);
        assert_eq!(bench.open(), 0);
    });
}

#[test]
fn a_name_without_address_is_a_failure_to_resolve() {
    run(async {
        let mut settings = upstream(closed().await);
        "name.invalid".clone_into(&mut settings.base.host);
        check(&Bench::new(settings).send().await.expect_err("no such name"), FailurePhase::Dns);
    });
}

#[test]
fn the_cap_counts_connections_and_unused_ones_are_used_first() {
    run(async {
        let (address, _) = listen(|_, mut stream| async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(ANSWER).await.expect("written");
            }
        })
        .await;
        let bench = Bench::new(Upstream { connections_max: 2, ..upstream(address) });
        let first = bench.send().await.expect("sent");
        let second = bench.send().await.expect("sent");
        check(&bench.send().await.expect_err("at the cap"), FailurePhase::Cap);
        first.collect_all().await.expect("whole");
        let third = bench.send().await.expect("sent");
        assert_eq!(bench.open(), 2);
        drop((second, third));
        assert_eq!(bench.open(), 0);
    });
}

#[test]
fn unix_sockets_are_upstreams_too() {
    run(async {
        let folder = tempdir().expect("a folder");
        let path = folder.path().join("u.sock");
        let listener = UnixListener::bind(&path).expect("bound");
        drop(reactor::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            while let Some(request) = read_request(&mut stream).await {
                assert!(request.contains("host: localhost\r\n"), "{request}");
                stream.write_all(ANSWER).await.expect("written");
            }
        }));
        let base = BaseUrl { tls: false, host: String::new(), port: 0, unix: Some(path), path: String::new() };
        let bench = Bench::new(Upstream { base, ..upstream(closed().await) });
        for _ in 0..3 {
            assert_eq!(bench.fetch().await.expect("whole"), "hello");
        }
        assert_eq!(bench.open(), 1);
    });
}

#[test]
fn a_connection_given_up_is_closed_and_its_permit_free() {
    run(async {
        let (address, accepted) = listen(|_, mut stream| async move {
            copy(&mut stream, &mut sink()).await.ok();
        })
        .await;
        let bench = Bench::new(Upstream { protocol: Protocol::Http2, ..upstream(address) });
        let until_accepted = async {
            while accepted.get() == 0 {
                yield_now().await;
            }
        };
        tokio::select! {
            _ = bench.send() => unreachable!("no handshake"),
            () = until_accepted => {}
        }
        assert_eq!(bench.open(), 0);
    });
}

/// A self-signed certificate for `127.0.0.1`, as PEM files: certificate, key.
pub(super) fn certificate() -> (TempDir, PathBuf, PathBuf) {
    let made = generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
    let folder = tempdir().expect("a folder");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&cert, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    (folder, cert, key)
}

pub(super) fn tls_acceptor(cert: &Path, key: &Path) -> Acceptor {
    let settings = ServerTls { cert: cert.into(), key: key.into(), min_version: TlsVersion::V1_2 };
    Acceptor::new(&settings).expect("good settings")
}

/// Speaks whatever ALPN chose.
async fn serve_tls(acceptor: Acceptor, stream: TcpStream) {
    let Ok(mut io) = acceptor.accept(Conn::from_tcp(stream).expect("registered")).await else { return };
    if io.alpn_h2() {
        serve_h2(io).await;
    } else {
        while read_request(&mut io).await.is_some() {
            io.write_all(ANSWER).await.expect("written");
        }
    }
}

async fn serve_h2(io: Io) {
    let mut connection = handshake(io).await.expect("HTTP/2");
    while let Some(Ok((_, mut reply))) = connection.accept().await {
        let mut send = reply.send_response(Response::new(()), false).expect("answered");
        send.send_data(Bytes::from_static(b"hello"), true).expect("sent");
    }
}

#[test]
fn tls_agrees_on_the_version() {
    for (protocol, framing) in
        [(Protocol::Auto, Framing::H2), (Protocol::Http2, Framing::H2), (Protocol::Http1, Framing::Length)]
    {
        run(async move {
            let (_folder, cert, key) = certificate();
            let acceptor = tls_acceptor(&cert, &key);
            let (address, accepted) = listen(move |_, stream| serve_tls(acceptor.clone(), stream)).await;
            let mut settings = Upstream { protocol, ca_file: Some(cert), ..upstream(address) };
            settings.base.tls = true;
            let bench = Bench::new(settings);
            for _ in 0..3 {
                let response = bench.send().await.expect("sent");
                assert_eq!(response.body().framing(), framing);
                assert_eq!(response.collect_all().await.expect("whole").to_bytes(), "hello");
            }
            assert_eq!((accepted.get(), bench.open()), (1, 1));
        });
    }
}

#[test]
fn an_unknown_authority_fails_the_handshake() {
    run(async {
        let (_folder, cert, key) = certificate();
        let acceptor = tls_acceptor(&cert, &key);
        let (address, _) = listen(move |_, stream| serve_tls(acceptor.clone(), stream)).await;
        let (_other, stranger, _) = certificate();
        let mut settings = Upstream { ca_file: Some(stranger), ..upstream(address) };
        settings.base.tls = true;
        let bench = Bench::new(settings);
        check(&bench.send().await.expect_err("not trusted"), FailurePhase::Handshake);
        assert_eq!(bench.open(), 0);
    });
}
