//! HTTP/1.1: reuse, framing, cuts, cancellation.

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

use super::{Bench, CollectAll, listen, read_request, run, upstream};
use crate::config::{Address, Upstream};
use crate::reactor::{Conn, SocketOptions};
use crate::units::UpstreamId;
use crate::upstream::{BodyErrorKind, Framing};

const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";

/// Answers every request on a connection alike.
async fn answer_all(mut stream: TcpStream, answer: &'static str) {
    while read_request(&mut stream).await.is_some() {
        stream.write_all(answer.as_bytes()).await.expect("written");
    }
}

/// Answers one request, then closes.
async fn answer_one(mut stream: TcpStream, answer: String) {
    if read_request(&mut stream).await.is_some() {
        stream.write_all(answer.as_bytes()).await.expect("written");
    }
}

#[test]
fn a_connection_is_used_again_and_again() {
    for answer in [CHUNKED, "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world"] {
        run(async move {
            let (address, accepted) = listen(move |_, stream| answer_all(stream, answer)).await;
            let bench = Bench::new(upstream(address));
            for _ in 0..100 {
                assert_eq!(bench.fetch().await.expect("whole"), "hello world");
            }
            assert_eq!(accepted.get(), 1);
        });
    }
}

#[test]
fn the_request_is_what_was_asked_and_nothing_of_the_clients_own() {
    run(async {
        let (heard, mut requests) = mpsc::channel(1);
        let (address, _) = listen(move |_, mut stream| {
            let heard = heard.clone();
            async move {
                let request = read_request(&mut stream).await.expect("a request");
                heard.send(request).await.expect("heard");
                stream.write_all(CHUNKED.as_bytes()).await.expect("written");
            }
        })
        .await;
        let bench = Bench::new(upstream(address));
        let mut request = super::request();
        for (name, value) in
            [("authorization", "Bearer client"), ("host", "evil"), ("x-a", "1"), ("connection", "close")]
        {
            Rc::make_mut(&mut request.headers).insert(name, value.parse().expect("a value"));
        }
        bench.pool.send(UpstreamId::new(0), 0, &request).await.expect("sent");
        let expected = format!(
            "POST /v1/chat/completions?x=1 HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer sk-canary\r\n\
             content-length: 2\r\nx-a: 1\r\n\r\n{{}}"
        );
        assert_eq!(requests.recv().await.expect("heard"), expected);
    });
}

#[test]
fn the_connection_used_last_is_used_next() {
    run(async {
        let (address, accepted) = listen(|number, mut stream| async move {
            while read_request(&mut stream).await.is_some() {
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        })
        .await;
        let bench = Bench::new(upstream(address));
        let first = bench.send().await.expect("sent");
        let second = bench.send().await.expect("sent");
        assert_eq!(second.collect_all().await.expect("whole").to_bytes(), "1");
        assert_eq!(first.collect_all().await.expect("whole").to_bytes(), "0");
        for _ in 0..5 {
            assert_eq!(bench.fetch().await.expect("whole"), "0");
        }
        assert_eq!((accepted.get(), bench.open()), (2, 2));
        bench.pool.close_idle();
        assert_eq!(bench.open(), 0);
    });
}

#[test]
fn a_connection_closed_while_unused_is_never_noticed() {
    run(async {
        let (close, orders) = mpsc::channel(1);
        let (closed, mut reports) = mpsc::channel(1);
        let orders = Rc::new(Mutex::new(orders));
        let (address, accepted) = listen(move |_, mut stream| {
            let (orders, closed) = (orders.clone(), closed.clone());
            async move {
                read_request(&mut stream).await.expect("a request");
                stream.write_all(CHUNKED.as_bytes()).await.expect("written");
                orders.lock().await.recv().await;
                drop(stream);
                closed.send(()).await.expect("reported");
            }
        })
        .await;
        let bench = Bench::new(upstream(address));
        for _ in 0..1000 {
            assert_eq!(bench.fetch().await.expect("whole"), "hello world");
            close.send(()).await.expect("ordered");
            reports.recv().await.expect("closed");
        }
        assert_eq!(accepted.get(), 1000);
        bench.pool.sweep();
        assert_eq!(bench.open(), 0);
    });
}

/// From now until the next turn small writes wait for the end of their lap: the last turn has found many sockets ready.
async fn crowd() {
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    let address = Address::Tcp(listener.local_addr().expect("bound"));
    let mut pairs = Vec::new();
    for _ in 0..5 {
        let conn = Conn::connect(&address, SocketOptions::default()).await.expect("connected");
        let (far, _) = listener.accept().expect("accepted");
        far.set_nonblocking(true).expect("a flag");
        conn.batch_writes(true);
        pairs.push((conn, far));
    }
    for round in 0.. {
        assert!(round < 100, "no turn finds them together");
        for (_, far) in &mut pairs {
            far.write_all(b"x").expect("written");
        }
        for (conn, _) in &mut pairs {
            assert_eq!(conn.read(&mut [0; 8]).await.expect("read"), 1);
        }
        let (conn, far) = &mut pairs[0];
        conn.write_all(b"y").await.expect("taken");
        if far.read(&mut [0; 8]).is_err() {
            return;
        }
    }
}

#[test]
fn a_request_that_has_never_left_its_lap_is_sent_again() {
    run(async {
        let (kept, mut connections) = mpsc::channel(1);
        let (address, accepted) = listen(move |number, mut stream| {
            let kept = kept.clone();
            async move {
                read_request(&mut stream).await.expect("a request");
                stream.write_all(CHUNKED.as_bytes()).await.expect("written");
                if number == 0 {
                    kept.send(stream).await.expect("kept");
                }
            }
        })
        .await;
        let bench = Bench::new(upstream(address));
        assert_eq!(bench.fetch().await.expect("whole"), "hello world");
        let first = connections.recv().await.expect("the connection");
        crowd().await;
        let mut sending = pin!(bench.send());
        assert!(poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await.is_pending());
        SockRef::from(&first).set_linger(Some(Duration::ZERO)).expect("an option");
        drop(first);
        let response = sending.await.expect("sent again");
        assert_eq!(response.collect_all().await.expect("whole").to_bytes(), "hello world");
        assert_eq!(accepted.get(), 2);
    });
}

#[test]
fn bytes_nobody_asked_for_end_a_connection() {
    run(async {
        let (address, accepted) =
            listen(|_, stream| answer_all(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxJUNK")).await;
        let bench = Bench::new(upstream(address));
        for _ in 0..3 {
            assert_eq!(bench.fetch().await.expect("whole"), "x");
        }
        assert_eq!(accepted.get(), 3);
    });
}

#[test]
fn a_cut_at_any_byte_is_an_error() {
    run(async {
        for length in 0..CHUNKED.len() {
            let (address, _) = listen(move |_, stream| answer_one(stream, CHUNKED[..length].to_owned())).await;
            let bench = Bench::new(upstream(address));
            match bench.send().await {
                Err(failed) => assert!(failed.sent, "{length}: {failed}"),
                Ok(response) => {
                    assert_eq!(response.body().framing(), Framing::Chunked);
                    let broken = response.collect_all().await.expect_err("cut");
                    assert_eq!(broken.kind, BodyErrorKind::Broken, "{length}: {broken:?}");
                }
            }
            assert_eq!(bench.open(), 0, "{length}");
        }
    });
}

#[test]
fn a_bad_chunk_is_the_upstreams_fault() {
    run(async {
        let bad = CHUNKED.replace("6\r\n", "zz\r\n");
        let (address, _) = listen(move |_, stream| answer_one(stream, bad.clone())).await;
        let broken = Bench::new(upstream(address)).fetch().await.expect_err("bad");
        assert_eq!(broken.kind, BodyErrorKind::Protocol, "{broken:?}");
    });
}

#[test]
fn every_framing_is_told() {
    let cases = [
        ("content-length: 2\r\n\r\nhi", Framing::Length, "hi", 1),
        ("content-length: 0\r\n\r\n", Framing::Empty, "", 1),
        ("\r\nhi", Framing::Close, "hi", 0),
        ("connection: close\r\ncontent-length: 2\r\n\r\nhi", Framing::Length, "hi", 0),
        ("transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", Framing::Chunked, "hi", 1),
    ];
    for (answer, framing, body, kept) in cases {
        run(async move {
            let answer = format!("HTTP/1.1 200 OK\r\n{answer}");
            let (address, _) = listen(move |_, mut stream| {
                let answer = answer.clone();
                async move {
                    read_request(&mut stream).await;
                    stream.write_all(answer.as_bytes()).await.expect("written");
                    if framing != Framing::Close {
                        stream.read_u8().await.expect_err("no second request");
                    }
                }
            })
            .await;
            let bench = Bench::new(upstream(address));
            let response = bench.send().await.expect("sent");
            assert_eq!(response.body().framing(), framing);
            assert_eq!(response.collect_all().await.expect("whole").to_bytes(), body);
            assert_eq!(bench.open(), kept, "{framing:?}");
        });
    }
}

#[test]
fn interim_responses_are_dropped_and_trailers_passed_on() {
    run(async {
        let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n\
                      transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n";
        let (address, accepted) = listen(move |_, stream| answer_all(stream, answer)).await;
        let bench = Bench::new(upstream(address));
        for _ in 0..2 {
            let response = bench.send().await.expect("sent");
            assert_eq!(response.status(), StatusCode::OK);
            let whole = response.collect_all().await.expect("whole");
            assert_eq!(whole.trailers().expect("trailers")["x-sum"], "7");
            assert_eq!(whole.to_bytes(), "hi");
        }
        assert_eq!(accepted.get(), 1);
    });
}

#[test]
fn switching_protocols_unasked_is_an_error() {
    run(async {
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
        let (address, _) = listen(move |_, stream| answer_all(stream, answer)).await;
        let bench = Bench::new(upstream(address));
        assert!(bench.send().await.expect_err("refused").sent);
        assert_eq!(bench.open(), 0);
    });
}

#[test]
fn dropping_an_exchange_closes_its_connection_at_once() {
    run(async {
        let (heard, mut events) = mpsc::channel(4);
        let (address, _) = listen(move |number, mut stream| {
            let heard = heard.clone();
            async move {
                read_request(&mut stream).await;
                if number == 1 {
                    stream.write_all(&CHUNKED.as_bytes()[..60]).await.expect("written");
                }
                heard.send(number).await.expect("heard");
                let end = stream.read(&mut [0]).await;
                assert!(matches!(end, Ok(0) | Err(_)));
                heard.send(number).await.expect("heard");
            }
        })
        .await;
        let bench = Bench::new(upstream(address));
        tokio::select! {
            _ = bench.send() => unreachable!("never answered"),
            _ = events.recv() => {}
        }
        assert_eq!((events.recv().await, bench.open()), (Some(0), 0));
        let mut response = bench.send().await.expect("sent");
        response.body_mut().frame().await.expect("a frame").expect("good");
        events.recv().await;
        drop(response);
        assert_eq!((events.recv().await, bench.open()), (Some(1), 0));
    });
}

#[test]
fn old_connections_are_swept() {
    run(async {
        let (address, accepted) = listen(move |_, stream| answer_all(stream, CHUNKED)).await;
        for (idle, lifetime) in [(Duration::ZERO, Duration::MAX), (Duration::MAX, Duration::ZERO)] {
            let before = accepted.get();
            let bench = Bench::new(Upstream { idle_timeout: idle, lifetime_max: lifetime, ..upstream(address) });
            bench.fetch().await.expect("whole");
            bench.pool.sweep();
            assert_eq!(bench.open(), 0);
            bench.fetch().await.expect("whole");
            bench.fetch().await.expect("whole");
            assert_eq!(accepted.get() - before, 3);
        }
    });
}
