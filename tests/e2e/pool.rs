//! Connections to upstreams: kept, found stale, told to go.

use std::future::poll_fn;
use std::io::Write;
use std::time::Instant;

use bytes::Bytes;

use crate::support::client::{Client, Reader};
use crate::support::driver::driver;
use crate::support::setup::{CHAT, CHAT_PATH, DONE, Setup, token};
use crate::support::upstream::{Http, Upstream};

const UNARY: &str = r#"{"model":"m"}"#;

#[test]
fn connections_are_kept_for_the_next_request() {
    for http in [Http::One, Http::Two] {
        let lab = Setup::new().lab(http);
        let mut client = lab.client();
        for _ in 0..20 {
            client.post(CHAT_PATH, CHAT);
            let mut exchange = lab.upstream.next();
            exchange.begin_events();
            exchange.send(DONE);
            exchange.end();
            assert_eq!(client.answer().1.text(), DONE);
        }
        assert_eq!(lab.upstream.connections(), 1);
    }
}

#[test]
fn a_connection_that_was_closed_while_unused_costs_nobody_a_request() {
    let lab = Setup::new().lab(Http::One);
    let mut client = lab.client();
    for round in 0..50 {
        client.post("/v1/embeddings", UNARY);
        let mut exchange = lab.upstream.next();
        exchange.wire().send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").expect("read");
        assert_eq!(client.answer().0.status(), 200, "{round}");
        exchange.cut(round % 2 == 1);
    }
}

/// Requests that come together, and answers that do, may leave in a row.
#[test]
fn whole_answers_of_a_crowd_are_each_their_own() {
    let lab = Setup::new().server("workers = 1\npin = false").lab(Http::One);
    let mut crowd: Vec<_> = (0..40).map(|_| lab.client()).collect();
    for round in 0..10 {
        let connection = if round == 9 { "close" } else { "keep-alive" };
        let names = (0..crowd.len()).map(|client| format!("{client} in {round}"));
        let bodies: Vec<_> = names.map(|name| format!(r#"{{"model":"m","input":"{name}"}}"#)).collect();
        for (client, body) in crowd.iter_mut().zip(&bodies) {
            client.ask("POST", "/v1/embeddings", &[("connection", connection)], body.as_bytes());
        }
        let exchanges: Vec<_> = crowd.iter().map(|_| lab.upstream.next()).collect();
        for exchange in exchanges {
            let said = exchange.text().to_owned();
            exchange.answer(200, &[("content-type", "application/json")], said.as_bytes());
        }
        for (client, body) in crowd.iter_mut().zip(&bodies) {
            let (head, rest) = client.answer();
            assert_eq!((head.status(), &rest.text()), (200, body), "{round}");
        }
    }
    lab.until_idle();
}

#[test]
fn what_the_protocol_allows_in_between_is_taken() {
    let lab = Setup::new().lab(Http::One);
    let mut client = lab.client();
    client.post(CHAT_PATH, CHAT);
    let mut exchange = lab.upstream.next();
    exchange.wire().send(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n").expect("read");
    exchange.begin(200, &[("content-type", "text/event-stream"), ("trailer", "x-sum")]);
    exchange.send([&token("a"), DONE].concat());
    exchange.wire().send(b"0\r\nx-sum: 1\r\n\r\n").expect("read");
    exchange.keep();
    let (head, rest) = client.answer();
    assert_eq!((head.status(), rest.text()), (200, [&token("a"), DONE].concat()));
}

#[test]
fn an_upstream_that_takes_few_streams_gets_more_connections() {
    let mut few = h2::server::Builder::new();
    few.max_concurrent_streams(1);
    let upstream = Upstream::http2(&few, |stream| async { Some(stream) });
    let gateway = Setup::new().upstream("up", upstream.address(), "protocol = \"http2\"").start();
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(gateway.address(0));
        client.post(CHAT_PATH, CHAT);
        let mut exchange = upstream.next();
        exchange.begin_events();
        exchange.send(token("a"));
        client.head();
        assert_eq!(client.event(), token("a"));
        streams.push((client, exchange));
    }
    for (mut client, mut exchange) in streams {
        exchange.send(DONE);
        exchange.end();
        assert_eq!(client.rest().text(), DONE);
    }
    assert!(upstream.connections() >= 4, "{}", upstream.connections());
}

#[test]
fn a_connection_that_is_told_to_go_finishes_its_streams() {
    // By hand, because the connection itself is what matters here.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("an option");
    driver().spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            driver().spawn(async move {
                let mut connection = h2::server::handshake(stream).await.expect("a handshake");
                // Every connection takes one request, says goodbye, and only then answers.
                let Some(Ok((_, mut respond))) = connection.accept().await else { return };
                connection.graceful_shutdown();
                driver().spawn(async move {
                    let head = http::Response::builder().header("content-type", "text/event-stream");
                    let mut body = respond.send_response(head.body(()).expect("a head"), false).expect("sent");
                    for piece in [token("a"), token("b"), DONE.to_owned()] {
                        body.send_data(Bytes::from(piece), false).expect("sent");
                    }
                    body.send_data(Bytes::new(), true).expect("sent");
                });
                drop(poll_fn(|cx| connection.poll_closed(cx)).await);
            });
        }
    });
    let gateway = Setup::new().upstream("up", address, "protocol = \"http2\"").start();
    let mut client = Client::connect(gateway.address(0));
    for _ in 0..20 {
        client.post(CHAT_PATH, CHAT);
        let (head, rest) = client.answer();
        assert_eq!((head.status(), rest.text()), (200, [&token("a"), &token("b"), DONE].concat()));
    }
}

#[test]
fn bulk_goes_through_without_a_pause() {
    for http in [Http::One, Http::Two] {
        let lab = Setup::new().lab(http);
        let mut client = lab.client();
        client.post(CHAT_PATH, CHAT);
        let mut exchange = lab.upstream.next();
        exchange.begin_events();
        let event = token(&"x".repeat(32 * 1024));
        let began = Instant::now();
        let events = 512;
        let sender = std::thread::spawn({
            let event = event.clone();
            move || {
                for _ in 0..events {
                    exchange.send(&event);
                }
                exchange.send(DONE);
                exchange.end();
            }
        });
        client.head();
        let rest = client.rest();
        assert_eq!(rest.bytes.len(), event.len() * events + DONE.len());
        sender.join().expect("sent");
        let line = format!("16 MiB from an upstream of {http:?} in {:?}\n", began.elapsed());
        std::io::stderr().write_all(line.as_bytes()).expect("written");
    }
}
