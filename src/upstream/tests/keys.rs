//! Several keys of one upstream: each request has its own, and all use the same connections.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::server::handshake;
use http::Response;
use tokio::io::AsyncWriteExt;

use super::{Bench, CollectAll, listen, read_request, request, run, upstream};
use crate::config::{Protocol, Upstream, UpstreamKey};
use crate::units::UpstreamId;

const SECRETS: [&str; 3] = ["sk-a", "sk-b", "sk-c"];

fn keyed(address: SocketAddr, protocol: Protocol) -> Upstream {
    let key = |secret: &str| UpstreamKey { name: secret.to_owned(), secret: secret.into(), weight: 1 };
    Upstream { keys: SECRETS.iter().map(|secret| key(secret)).collect(), protocol, ..upstream(address) }
}

/// Asks with every key in turn, several times; the upstream answers with what it was shown.
async fn each_key_is_shown(bench: &Bench) {
    for position in [0, 1, 2, 1, 0] {
        let answer = bench.pool.send(UpstreamId::new(0), position, &request()).await.expect("sent");
        let shown = answer.collect_all().await.expect("whole").to_bytes();
        assert_eq!(shown, format!("Bearer {}", SECRETS[position]));
    }
}

#[test]
fn keys_share_a_connection_of_http1() {
    run(async {
        let (address, accepted) = listen(|_, mut stream| async move {
            while let Some(request) = read_request(&mut stream).await {
                let shown = request.lines().find_map(|line| line.strip_prefix("authorization: ")).expect("a key");
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{shown}", shown.len());
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        })
        .await;
        each_key_is_shown(&Bench::new(keyed(address, Protocol::Http1))).await;
        assert_eq!(accepted.get(), 1);
    });
}

#[test]
fn keys_share_a_connection_of_http2() {
    run(async {
        let (address, accepted) = listen(|_, stream| async {
            let mut connection = handshake(stream).await.expect("HTTP/2");
            while let Some(Ok((request, mut reply))) = connection.accept().await {
                let shown = Bytes::copy_from_slice(request.headers()["authorization"].as_bytes());
                let mut send = reply.send_response(Response::new(()), false).expect("answered");
                send.send_data(shown, true).expect("sent");
            }
        })
        .await;
        each_key_is_shown(&Bench::new(keyed(address, Protocol::Http2))).await;
        assert_eq!(accepted.get(), 1);
    });
}

#[test]
fn without_keys_none_is_shown() {
    run(async {
        let (address, _) = listen(|_, mut stream| async move {
            let request = read_request(&mut stream).await.expect("a request");
            let said = if request.contains("authorization") { "some" } else { "none" };
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{said}");
            stream.write_all(answer.as_bytes()).await.expect("written");
        })
        .await;
        let bench = Bench::new(Upstream { keys: Vec::new(), ..upstream(address) });
        assert_eq!(bench.fetch().await.expect("whole"), "none");
    });
}
