//! HTTP/2: sharing, cancelling, slow siblings, and everything a peer may say against a stream.

use std::future::{Future, pending, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::yield_now;
use tokio::time::{Instant, pause};

use super::{Bench, CollectAll, listen, run, upstream};
use crate::config::{Protocol, Upstream};
use crate::reactor;
use crate::telemetry::FailurePhase;
use crate::units::UpstreamId;
use crate::upstream::{BodyErrorKind, Framing};

type Incoming = (Request<RecvStream>, SendResponse<Bytes>);

fn speaks_h2(address: SocketAddr) -> Upstream {
    Upstream { protocol: Protocol::Http2, ..upstream(address) }
}

async fn handshake(stream: TcpStream, streams_max: u32) -> Connection<TcpStream, Bytes> {
    Builder::new().max_concurrent_streams(streams_max).handshake(stream).await.expect("HTTP/2")
}

/// Runs `serve` for each stream of a connection.
async fn serve_all<F>(mut connection: Connection<TcpStream, Bytes>, serve: impl Fn(Incoming) -> F)
where
    F: Future<Output = ()> + 'static,
{
    while let Some(Ok(incoming)) = connection.accept().await {
        drop(reactor::spawn(serve(incoming)));
    }
}

fn respond((_, mut respond): Incoming) -> SendStream<Bytes> {
    respond.send_response(Response::new(()), false).expect("answered")
}

async fn hello(incoming: Incoming) {
    let mut send = respond(incoming);
    send.send_data("hello".into(), false).expect("sent");
    send.send_data(" world".into(), true).expect("sent");
}

/// Sends frames of this size as fast as the window allows, `count` of them or until nobody listens.
async fn frames(mut send: SendStream<Bytes>, size: usize, count: usize) {
    for _ in 0..count {
        send.reserve_capacity(size);
        while send.capacity() < size {
            match poll_fn(|cx| send.poll_capacity(cx)).await {
                Some(Ok(_)) => {}
                _ => return,
            }
        }
        if send.send_data(vec![b'x'; size].into(), false).is_err() {
            return;
        }
    }
    send.send_data(Bytes::new(), true).expect("ended");
}

#[test]
fn simultaneous_requests_share_the_connection_that_the_first_makes() {
    run(async {
        let (address, accepted) =
            listen(|_, stream| async { serve_all(handshake(stream, 100).await, hello).await }).await;
        let bench = Rc::new(Bench::new(speaks_h2(address)));
        let ask = |_| {
            let bench = bench.clone();
            reactor::spawn(async move { bench.fetch().await.expect("whole") })
        };
        for task in (0..50).map(ask).collect::<Vec<_>>() {
            assert_eq!(task.await.expect("asked"), "hello world");
        }
        assert_eq!((accepted.get(), bench.open()), (1, 1));
        bench.pool.close_idle();
        bench.until_open(0).await;
    });
}

#[test]
fn trailers_come_last_and_a_head_alone_is_empty() {
    run(async {
        let (address, _) = listen(|_, stream| async {
            let serve = |incoming: Incoming| async move {
                if incoming.0.headers().contains_key("x-empty") {
                    let mut reply = incoming.1;
                    reply.send_response(Response::new(()), true).expect("answered");
                    return;
                }
                let mut send = respond(incoming);
                send.send_data("hi".into(), false).expect("sent");
                let trailers =
                    HeaderMap::from_iter([("x-sum".parse().expect("a name"), "7".parse().expect("a value"))]);
                send.send_trailers(trailers).expect("sent");
            };
            serve_all(handshake(stream, 100).await, serve).await;
        })
        .await;
        let bench = Bench::new(speaks_h2(address));
        let response = bench.send().await.expect("sent");
        assert_eq!(response.body().framing(), Framing::H2);
        let whole = response.collect_all().await.expect("whole");
        assert_eq!(whole.trailers().expect("trailers")["x-sum"], "7");
        assert_eq!(whole.to_bytes(), "hi");
        let mut request = super::request();
        Rc::make_mut(&mut request.headers).insert("x-empty", "1".parse().expect("a value"));
        let response = bench.pool.send(UpstreamId::new(0), 0, &request).await.expect("sent");
        assert_eq!((response.body().framing(), response.body().is_end_stream()), (Framing::Empty, true));
    });
}

#[test]
fn dropping_an_exchange_resets_its_stream() {
    run(async {
        let (heard, mut events) = mpsc::channel(4);
        let (address, accepted) = listen(move |_, stream| {
            let heard = heard.clone();
            async move {
                let serve = |(request, mut reply): Incoming| {
                    let heard = heard.clone();
                    async move {
                        let _request = request;
                        heard.send(None).await.expect("heard");
                        let reason = poll_fn(|cx| reply.poll_reset(cx)).await.expect("reset");
                        heard.send(Some(reason)).await.expect("heard");
                    }
                };
                serve_all(handshake(stream, 100).await, serve).await;
            }
        })
        .await;
        let bench = Bench::new(speaks_h2(address));
        for _ in 0..3 {
            tokio::select! {
                _ = bench.send() => unreachable!("never answered"),
                event = events.recv() => assert_eq!(event, Some(None)),
            }
            assert_eq!(events.recv().await, Some(Some(Reason::CANCEL)));
        }
        assert_eq!(accepted.get(), 1);
    });
}

#[test]
fn readers_that_never_read_do_not_disturb_a_sibling() {
    run(async {
        for size in [1, 60, 200] {
            let (address, accepted) = listen(move |_, stream| async move {
                let serve = move |incoming: Incoming| {
                    let paced = incoming.0.headers().contains_key("x-paced");
                    frames(respond(incoming), size, if paced { 5000 } else { usize::MAX })
                };
                serve_all(handshake(stream, 100).await, serve).await;
            })
            .await;
            let bench = Bench::new(speaks_h2(address));
            let mut stalled = Vec::new();
            for _ in 0..20 {
                stalled.push(bench.send().await.expect("sent"));
            }
            let mut request = super::request();
            Rc::make_mut(&mut request.headers).insert("x-paced", "1".parse().expect("a value"));
            // Polled in step with the others' windows filling up.
            for _ in 0..2 {
                let response = bench.pool.send(UpstreamId::new(0), 0, &request).await.expect("sent");
                assert_eq!(response.collect_all().await.expect("whole").to_bytes().len(), 5000 * size);
            }
            for response in &mut stalled {
                let frame = response.body_mut().frame().await.expect("a frame").expect("alive");
                assert_eq!(frame.into_data().expect("data").len(), size);
            }
            assert_eq!(accepted.get(), 1);
        }
    });
}

#[test]
fn go_away_lets_streams_end_and_sends_new_ones_elsewhere() {
    run(async {
        let finish = Rc::new(Semaphore::new(0));
        let gate = finish.clone();
        let (address, accepted) = listen(move |number, stream| {
            let gate = gate.clone();
            async move {
                let mut connection = handshake(stream, 100).await;
                let first = connection.accept().await.expect("open").expect("a stream");
                if number == 0 {
                    connection.graceful_shutdown();
                    let mut send = respond(first);
                    drop(reactor::spawn(async move {
                        drop(gate.acquire().await);
                        send.send_data("late".into(), true).expect("sent");
                    }));
                } else {
                    hello(first).await;
                }
                serve_all(connection, hello).await;
            }
        })
        .await;
        let bench = Bench::new(speaks_h2(address));
        let slow = bench.send().await.expect("sent");
        for _ in 0..3 {
            assert_eq!(bench.fetch().await.expect("whole"), "hello world");
        }
        finish.add_permits(1);
        assert_eq!(slow.collect_all().await.expect("whole").to_bytes(), "late");
        assert_eq!(accepted.get(), 2);
        bench.until_open(1).await;
    });
}

#[test]
fn a_refused_stream_goes_to_another_connection() {
    run(async {
        let (address, accepted) = listen(|number, stream| async move {
            let serve = move |mut incoming: Incoming| async move {
                if number == 0 {
                    incoming.1.send_reset(Reason::REFUSED_STREAM);
                } else {
                    hello(incoming).await;
                }
            };
            serve_all(handshake(stream, 100).await, serve).await;
        })
        .await;
        assert_eq!(Bench::new(speaks_h2(address)).fetch().await.expect("whole"), "hello world");
        assert_eq!(accepted.get(), 2);
    });
}

#[test]
fn a_reset_is_an_error_and_never_sent_again() {
    run(async {
        let (address, accepted) = listen(|_, stream| async move {
            let serve = |mut incoming: Incoming| async move {
                if incoming.0.headers().contains_key("x-late") {
                    let mut send = respond(incoming);
                    send.send_data("begun".into(), false).expect("sent");
                    yield_now().await;
                    send.send_reset(Reason::NO_ERROR);
                } else {
                    incoming.1.send_reset(Reason::INTERNAL_ERROR);
                }
            };
            serve_all(handshake(stream, 100).await, serve).await;
        })
        .await;
        let bench = Bench::new(speaks_h2(address));
        assert!(bench.send().await.expect_err("reset").sent);
        let mut request = super::request();
        Rc::make_mut(&mut request.headers).insert("x-late", "1".parse().expect("a value"));
        let broken = match bench.pool.send(UpstreamId::new(0), 0, &request).await {
            Ok(response) => response.collect_all().await.expect_err("reset").kind,
            Err(failed) => panic!("head lost: {failed}"),
        };
        assert_eq!((broken, accepted.get()), (BodyErrorKind::Broken, 1));
    });
}

#[test]
fn a_full_connection_gets_company() {
    run(async {
        let (address, accepted) = listen(|_, stream| async move {
            let serve = |incoming: Incoming| frames(respond(incoming), 10, usize::MAX);
            serve_all(handshake(stream, 1).await, serve).await;
        })
        .await;
        let bench = Bench::new(Upstream { connections_max: 3, ..speaks_h2(address) });
        let mut held = Vec::new();
        for count in 1..=3 {
            held.push(bench.send().await.expect("sent"));
            assert_eq!(accepted.get(), count);
        }
        let failed = bench.send().await.expect_err("at the cap");
        assert_eq!((failed.phase, failed.sent), (FailurePhase::Cap, false));
        drop(held.pop());
        held.push(bench.send().await.expect("sent"));
        assert_eq!(accepted.get(), 3);
    });
}

#[test]
fn a_connection_full_of_empty_frames_gets_no_new_streams() {
    run(async {
        let (address, accepted) = listen(|_, stream| async move {
            let serve = |incoming: Incoming| async move {
                let mut send = respond(incoming);
                for _ in 0..60 {
                    send.send_data(Bytes::new(), false).expect("sent");
                }
                send.send_data("end".into(), true).expect("sent");
            };
            serve_all(handshake(stream, 100).await, serve).await;
        })
        .await;
        let bench = Bench::new(speaks_h2(address));
        for count in 1..=3 {
            assert_eq!(bench.fetch().await.expect("whole"), "end");
            assert_eq!(accepted.get(), count);
        }
        bench.pool.sweep();
        bench.until_open(0).await;
    });
}

#[test]
fn a_stalled_reader_holds_one_window() {
    run(async {
        let (heard, mut events) = mpsc::channel(1);
        let (address, _) = listen(move |_, stream| {
            let heard = heard.clone();
            async move {
                let serve = |incoming: Incoming| {
                    let heard = heard.clone();
                    async move {
                        let mut send = respond(incoming);
                        send.reserve_capacity(usize::MAX >> 34);
                        poll_fn(|cx| send.poll_capacity(cx)).await.expect("open").expect("granted");
                        heard.send(send.capacity()).await.expect("heard");
                        send.send_data(vec![0; send.capacity()].into(), false).expect("sent");
                        let more = poll_fn(|cx| send.poll_capacity(cx)).await.expect("open").expect("granted");
                        heard.send(more).await.expect("heard");
                    }
                };
                serve_all(handshake(stream, 100).await, serve).await;
            }
        })
        .await;
        let bench = Bench::new(speaks_h2(address));
        let mut response = bench.send().await.expect("sent");
        assert_eq!(events.recv().await, Some(65_536));
        let mut later = Context::from_waker(Waker::noop());
        // Nothing more is granted until somebody reads.
        for _ in 0..100 {
            yield_now().await;
        }
        events.try_recv().expect_err("no grant");
        let mut taken = 0;
        while taken < 65_536 {
            match Pin::new(response.body_mut()).poll_frame(&mut later) {
                Poll::Ready(Some(frame)) => taken += frame.expect("good").into_data().expect("data").len(),
                _ => yield_now().await,
            }
        }
        assert!(events.recv().await.expect("granted") > 0);
    });
}

#[test]
fn a_peer_that_does_not_answer_pings_is_given_up() {
    run(async {
        let (address, _) = listen(|_, stream| async move {
            let mut connection = handshake(stream, 100).await;
            let first = connection.accept().await.expect("open").expect("a stream");
            let send = respond(first);
            for _ in 0..20 {
                let accepting = connection.accept();
                tokio::select! { biased; _ = accepting => {}, () = yield_now() => {} }
            }
            // Holds the socket open and never looks at it again.
            pending::<()>().await;
            drop((connection, send));
        })
        .await;
        let bench = Bench::new(speaks_h2(address));
        let response = bench.send().await.expect("sent");
        pause();
        let started = Instant::now();
        let broken = response.collect_all().await.expect_err("given up");
        assert_eq!(broken.kind, BodyErrorKind::Broken);
        assert_eq!(started.elapsed().as_secs(), Duration::from_secs(40).as_secs());
        bench.until_open(0).await;
    });
}
