//! HTTP/1.1 byte by byte: what is sent when the socket is full, heads and bodies in odd forms, and what a
//! connection is after them.

use std::future::{Future, pending, poll_fn};
use std::mem::size_of;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::yield_now;

use super::connecting::{certificate, tls_acceptor};
use super::{Bench, CollectAll, listen, read_request, request, run, upstream};
use crate::config::{Protocol, Upstream};
use crate::reactor::Conn;
use crate::units::UpstreamId;
use crate::upstream::http1::Link;
use crate::upstream::{Body, BodyErrorKind, Cause, Framing, Malformed, Request};

const OK: &str = "HTTP/1.1 200 OK\r\n";

/// Answers one request with these bytes, then waits for the end of the connection.
async fn answer_and_wait(mut stream: TcpStream, answer: Vec<u8>) {
    if read_request(&mut stream).await.is_some() {
        stream.write_all(&answer).await.expect("written");
        stream.read_u8().await.expect_err("no second request");
    }
}

/// A pool before an upstream that answers all requests on a connection so.
async fn bench(answer: impl Into<String>) -> Bench {
    let answer = answer.into();
    let (address, _) = listen(move |_, mut stream| {
        let answer = answer.clone();
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        }
    })
    .await;
    Bench::new(upstream(address))
}

fn tls_upstream(address: SocketAddr, ca: PathBuf) -> Upstream {
    let mut settings = Upstream { protocol: Protocol::Http1, ca_file: Some(ca), ..upstream(address) };
    settings.base.tls = true;
    settings
}

/// A request too large for any socket.
fn large() -> Request {
    Request { body: vec![b'x'; 8 << 20].into(), ..request() }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
}

#[test]
fn an_answer_before_the_request_has_left_is_heard() {
    run(async {
        let (address, accepted) = listen(|_, mut stream| async move {
            read_head(&mut stream).await;
            let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nno!";
            stream.write_all(answer).await.expect("written");
            // Neither reads nor closes: only the answer can tell the client to stop.
            pending::<()>().await;
        })
        .await;
        let bench = Bench::new(upstream(address));
        for round in 1..=2 {
            let response = bench.pool.send(UpstreamId::new(0), 0, &large()).await.expect("heard");
            assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(response.collect_all().await.expect("whole").to_bytes(), "no!");
            assert_eq!((accepted.get(), bench.open()), (round, 0), "never used again");
        }
    });
}

#[test]
fn an_answer_is_heard_though_the_connection_breaks_under_the_request() {
    run(async {
        let (address, _) = listen(|_, mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 429 Slow Down\r\ncontent-length: 0\r\n\r\n").await.expect("written");
            // Closing with unread bytes is a reset.
        })
        .await;
        let bench = Bench::new(upstream(address));
        match bench.pool.send(UpstreamId::new(0), 0, &large()).await {
            Ok(response) => assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS),
            // The reset may come first and take the answer with it; what was sent is still known.
            Err(failed) => assert!(failed.sent, "{failed}"),
        }
        assert_eq!(bench.open(), 0);
    });
}

#[test]
fn a_large_request_leaves_whole_while_its_answer_comes() {
    run(async {
        let (address, accepted) = listen(|_, mut stream| async move {
            loop {
                read_head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n").await.expect("written");
                // Slower than the client writes, so that the socket fills again and again.
                let mut left = 8 << 20;
                let mut piece = vec![0; 100_000];
                while left > 0 {
                    left -= stream.read(&mut piece).await.expect("read");
                    yield_now().await;
                }
                stream.write_all(b"!").await.expect("written");
            }
        })
        .await;
        let bench = Bench::new(upstream(address));
        for _ in 0..3 {
            let response = bench.pool.send(UpstreamId::new(0), 0, &large()).await.expect("answered");
            assert_eq!(response.collect_all().await.expect("whole").to_bytes(), "!");
        }
        assert_eq!((accepted.get(), bench.open()), (1, 1));
    });
}

#[test]
fn large_requests_and_answers_pass_tls() {
    run(async {
        let (_folder, cert, key) = certificate();
        let acceptor = tls_acceptor(&cert, &key);
        let (address, accepted) = listen(move |_, stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut io = acceptor.accept(Conn::from_tcp(stream).expect("registered")).await.expect("TLS");
                let mut body = vec![0; 8 << 20];
                loop {
                    read_head(&mut io).await;
                    io.read_exact(&mut body).await.expect("a body");
                    io.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n800000\r\n")
                        .await
                        .expect("written");
                    io.write_all(&body).await.expect("written");
                    io.write_all(b"\r\n0\r\n\r\n").await.expect("written");
                    io.flush().await.expect("flushed");
                }
            }
        })
        .await;
        let bench = Bench::new(tls_upstream(address, cert));
        for _ in 0..2 {
            let response = bench.pool.send(UpstreamId::new(0), 0, &large()).await.expect("answered");
            assert_eq!(response.collect_all().await.expect("whole").to_bytes(), large().body);
        }
        assert_eq!((accepted.get(), bench.open()), (1, 1));
    });
}

#[test]
fn an_answer_is_the_same_wherever_it_is_split() {
    run(async {
        let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n\
                      5\r\nhello\r\n6;x=1\r\n world\r\n0\r\nx-sum: 7\r\n\r\n";
        let (address, accepted) = listen(move |_, mut stream| async move {
            stream.set_nodelay(true).expect("set");
            for cut in 1..answer.len() {
                read_request(&mut stream).await.expect("a request");
                stream.write_all(&answer.as_bytes()[..cut]).await.expect("written");
                // The client has read that once it has come to rest.
                for _ in 0..5 {
                    yield_now().await;
                }
                stream.write_all(&answer.as_bytes()[cut..]).await.expect("written");
            }
        })
        .await;
        let bench = Bench::new(upstream(address));
        for cut in 1..answer.len() {
            let response = bench.send().await.expect("answered");
            assert_eq!(
                (response.status(), &response.headers()["x-a"]),
                (StatusCode::OK, &"1".parse().expect("1"))
            );
            let whole = response.collect_all().await.expect("whole");
            assert_eq!(whole.trailers().expect("trailers")["x-sum"], "7", "cut at {cut}");
            assert_eq!(whole.to_bytes(), "hello world", "cut at {cut}");
        }
        assert_eq!(accepted.get(), 1);
    });
}

#[test]
fn lengths_that_agree_are_one_and_others_none() {
    run(async {
        let bench = bench(format!("{OK}content-length: 2\r\nContent-Length: 2\r\n\r\nhi")).await;
        let response = bench.send().await.expect("answered");
        assert_eq!(response.headers().get_all(CONTENT_LENGTH).iter().count(), 1);
        assert_eq!(response.collect_all().await.expect("whole").to_bytes(), "hi");
        assert_eq!(bench.open(), 1);
    });
    run(async {
        let bench = bench(format!("{OK}content-length: 2\r\ncontent-length: 3\r\n\r\nhi!")).await;
        let failed = bench.send().await.expect_err("two lengths");
        assert!(failed.sent && matches!(failed.source, Cause::Malformed(Malformed::Length)), "{failed}");
        assert_eq!(bench.open(), 0);
    });
}

#[test]
fn chunks_go_before_a_length_and_end_the_connection() {
    run(async {
        let bench =
            bench(format!("{OK}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"));
        let bench = bench.await;
        let response = bench.send().await.expect("answered");
        assert_eq!((response.body().framing(), response.headers().get(CONTENT_LENGTH)), (Framing::Chunked, None));
        assert_eq!(response.collect_all().await.expect("whole").to_bytes(), "hi");
        assert_eq!(bench.open(), 0);
    });
}

#[test]
fn http_1_0_keeps_a_connection_only_if_it_says_so() {
    for (fields, kept) in [("connection: keep-alive\r\n", 1), ("", 0)] {
        run(async move {
            let bench = bench(format!("HTTP/1.0 200 OK\r\n{fields}content-length: 2\r\n\r\nhi")).await;
            for _ in 0..3 {
                assert_eq!(bench.fetch().await.expect("whole"), "hi");
                assert_eq!(bench.open(), kept);
            }
        });
    }
}

#[test]
fn an_answer_without_a_body_gives_its_connection_back_at_once() {
    for (method, status, fields) in [
        (Method::POST, "204 No Content", ""),
        (Method::POST, "304 Not Modified", "content-length: 9\r\n"),
        (Method::HEAD, "200 OK", "content-length: 9\r\n"),
        (Method::HEAD, "200 OK", "transfer-encoding: chunked\r\n"),
    ] {
        run(async move {
            let bench = bench(format!("HTTP/1.1 {status}\r\n{fields}\r\n")).await;
            let request = Request { method, ..request() };
            for _ in 0..2 {
                let response = bench.pool.send(UpstreamId::new(0), 0, &request).await.expect("answered");
                assert!(response.body().is_end_stream());
                assert_eq!((response.body().framing(), bench.open()), (Framing::Empty, 1));
            }
        });
    }
}

#[test]
fn bytes_behind_an_answer_end_its_connection() {
    for answer in [
        "content-length: 2\r\n\r\nhi!",
        "content-length: 0\r\n\r\n!",
        "transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n!",
        "transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: 1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        run(async move {
            let bench = bench(format!("{OK}{answer}")).await;
            bench.fetch().await.expect("whole");
            assert_eq!(bench.open(), 0, "{answer}");
        });
    }
}

#[test]
fn a_connection_that_ends_with_its_answer_is_not_kept() {
    run(async {
        let (address, _) = listen(|_, mut stream| async move {
            read_request(&mut stream).await.expect("a request");
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.expect("written");
        })
        .await;
        let bench = Bench::new(upstream(address));
        assert_eq!((bench.fetch().await.expect("whole").as_ref(), bench.open()), (b"hi".as_slice(), 0));
    });
}

#[test]
fn a_record_behind_an_answer_ends_its_connection() {
    run(async {
        let (_folder, cert, key) = certificate();
        let acceptor = tls_acceptor(&cert, &key);
        let (address, accepted) = listen(move |_, stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut io = acceptor.accept(Conn::from_tcp(stream).expect("registered")).await.expect("TLS");
                while read_request(&mut io).await.is_some() {
                    // Without a turn between them: both have been decrypted when the first is looked at.
                    io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.expect("written");
                    io.write_all(b"HTTP/1.1 500 Not Asked For\r\n\r\n").await.expect("written");
                }
            }
        })
        .await;
        let bench = Bench::new(tls_upstream(address, cert));
        for round in 1..=3 {
            assert_eq!(bench.fetch().await.expect("whole"), "hi");
            assert_eq!((accepted.get(), bench.open()), (round, 0));
        }
    });
}

#[test]
fn what_is_no_answer_is_an_error_after_sending() {
    let long = format!("{OK}x: {}\r\n\r\n", "1".repeat(64 * 1024));
    let many = format!("{OK}{}\r\n", "x: 1\r\n".repeat(201));
    let interims = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100);
    for answer in [
        &long,
        &many,
        &interims,
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ] {
        let answer = answer.to_owned();
        run(async move {
            let (address, accepted) =
                listen(move |_, stream| answer_and_wait(stream, answer.clone().into_bytes())).await;
            let bench = Bench::new(upstream(address));
            let failed = bench.send().await.expect_err("no answer");
            assert!(failed.sent && matches!(failed.source, Cause::Malformed(_)), "{failed}");
            assert_eq!((accepted.get(), bench.open()), (1, 0));
        });
    }
}

#[test]
fn a_chunk_too_large_to_count_is_the_upstreams_fault() {
    run(async {
        let bench = bench(format!("{OK}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n1ffffffffffffffff\r\n")).await;
        let mut body = bench.send().await.expect("answered").into_body();
        let first = body.frame().await.expect("a frame").expect("good").into_data();
        assert_eq!(first.expect("data"), "hi");
        let broken = body.frame().await.expect("an error").expect_err("too large");
        assert_eq!((broken.kind, bench.open()), (BodyErrorKind::Protocol, 0), "{broken}");
        assert!(body.frame().await.is_none());
    });
}

#[test]
fn chunks_that_come_together_are_one_frame_which_knows_that_it_is_the_last() {
    run(async {
        let bench = bench(format!(
            "{OK}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n6\r\nghijkl\r\n0\r\n\r\n"
        ))
        .await;
        for _ in 0..3 {
            let mut body = bench.send().await.expect("answered").into_body();
            let frame = body.frame().await.expect("a frame").expect("good");
            assert_eq!(frame.into_data().expect("data"), "abcdefghijkl");
            assert!(body.is_end_stream());
            assert_eq!((bench.open(), body.size_hint().exact()), (1, Some(0)));
        }
    });
}

#[test]
fn the_length_left_is_told() {
    run(async {
        let bench = bench(format!("{OK}content-length: 5\r\n\r\nhello")).await;
        let mut body = bench.send().await.expect("answered").into_body();
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(5), false));
        body.frame().await.expect("a frame").expect("good");
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
    });
}

#[test]
fn a_hang_up_is_noticed_while_nothing_else_happens() {
    for answer in
        ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"]
    {
        run(async move {
            let (close, orders) = mpsc::channel::<()>(1);
            let orders = Arc::new(Mutex::new(orders));
            let (address, _) = listen(move |_, mut stream| {
                let orders = orders.clone();
                async move {
                    read_request(&mut stream).await.expect("a request");
                    stream.write_all(answer.as_bytes()).await.expect("written");
                    orders.lock().await.recv().await;
                }
            })
            .await;
            let bench = Bench::new(upstream(address));
            let mut fetching = pin!(async {
                match bench.send().await {
                    Ok(response) => response.collect_all().await.expect_err("cut").kind,
                    Err(failed) => {
                        assert!(failed.sent && matches!(failed.source, Cause::Closed), "{failed}");
                        BodyErrorKind::Broken
                    }
                }
            });
            for _ in 0..50 {
                assert!(poll_once(fetching.as_mut()).await.is_pending(), "nothing happens yet");
                yield_now().await;
            }
            close.send(()).await.expect("ordered");
            assert_eq!(fetching.await, BodyErrorKind::Broken);
            assert_eq!(bench.open(), 0);
        });
    }
}

/// One poll on behalf of this task.
async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

struct Quiet;

impl Wake for Quiet {
    fn wake(self: Arc<Self>) {}
}

/// Polls a body to its end on behalf of a task that is never woken.
async fn drain_as(waker: &Waker, mut body: Body) -> Vec<u8> {
    let mut text = Vec::new();
    while !body.is_end_stream() {
        let polled = Pin::new(&mut body).poll_frame(&mut Context::from_waker(waker));
        match polled {
            Poll::Ready(Some(frame)) => {
                text.extend(frame.expect("good").into_data().unwrap_or_else(|_| Bytes::new()));
            }
            Poll::Ready(None) => break,
            Poll::Pending => yield_now().await,
        }
    }
    text
}

#[test]
fn an_unused_connection_keeps_nothing_of_the_task_that_used_it() {
    run(async {
        let (address, _) = listen(|_, mut stream| async move {
            while read_request(&mut stream).await.is_some() {
                let head = format!("{OK}transfer-encoding: chunked\r\n\r\n");
                for part in [&head, "2\r\nhi\r\n", "0\r\n\r\n"] {
                    stream.write_all(part.as_bytes()).await.expect("written");
                    yield_now().await;
                }
            }
        })
        .await;
        let bench = Bench::new(upstream(address));
        let task = Arc::new(Quiet);
        for _ in 0..3 {
            let body = bench.send().await.expect("answered").into_body();
            let waker = Waker::from(task.clone());
            assert_eq!(drain_as(&waker, body).await, b"hi");
            drop(waker);
            assert_eq!((Arc::strong_count(&task), bench.open()), (1, 1));
        }
    });
}

#[test]
fn what_thousands_hold_is_small() {
    assert!(size_of::<Link>() <= 224, "{}", size_of::<Link>());
    assert!(size_of::<Body>() <= 56, "{}", size_of::<Body>());
}
