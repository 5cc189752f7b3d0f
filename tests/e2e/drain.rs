//! SIGTERM: first not ready, then no new connections, then the deadline.

use std::time::{Duration, Instant};

use crate::support::Gateway;
use crate::support::client::{Client, Reader};
use crate::support::setup::{CHAT, CHAT_PATH, DONE, Lab, Setup, token};
use crate::support::upstream::{Exchange, Http};

fn drained(delay: &str, timeout: &str) -> Setup {
    Setup::new().tables(&format!("[drain]\ndelay = \"{delay}\"\ntimeout = \"{timeout}\""))
}

fn stream(lab: &Lab, http: Http) -> (Box<dyn Reader>, Exchange) {
    let mut client = lab.chat(http);
    let mut exchange = lab.upstream.next();
    exchange.begin_events();
    exchange.send(token("a"));
    client.head();
    assert_eq!(client.event(), token("a"));
    (client, exchange)
}

/// Waits until the gateway has closed its listeners.
fn until_finishing(gateway: &Gateway) {
    let address = gateway.address(0);
    gateway.until("its listeners are closed", |_| std::net::TcpStream::connect(address).is_err());
}

#[test]
fn it_is_not_ready_at_once_and_accepts_during_the_delay() {
    let lab = drained("1s", "5s").lab(Http::One);
    assert!(lab.gateway.admin_get("/readyz").starts_with("HTTP/1.1 200"));
    let (mut early, mut early_exchange) = stream(&lab, Http::One);
    lab.gateway.signal("TERM");
    lab.gateway.until("it is not ready", |gateway| gateway.admin_get("/readyz").starts_with("HTTP/1.1 503"));
    assert_eq!(lab.gateway.metric("millstream_draining"), 1.0);
    assert!(lab.gateway.admin_get("/livez").starts_with("HTTP/1.1 200"));
    let (mut late, mut late_exchange) = stream(&lab, Http::Two);
    until_finishing(&lab.gateway);
    for exchange in [&mut early_exchange, &mut late_exchange] {
        exchange.send(DONE);
    }
    for exchange in [early_exchange, late_exchange] {
        exchange.end();
    }
    for client in [&mut early, &mut late] {
        let rest = client.rest();
        assert!(rest.whole && rest.text() == DONE);
    }
    let Lab { gateway, .. } = lab;
    assert!(gateway.wait().success());
}

#[test]
fn connections_are_asked_to_go_elsewhere() {
    let lab = drained("0s", "5s").lab(Http::One);
    let mut idle = lab.client();
    assert_eq!(idle.get("/v1/models").0.status(), 200);
    let mut busy = lab.client();
    busy.post("/v1/embeddings", r#"{"model":"m"}"#);
    let busy_exchange = lab.upstream.next();
    let mut shared = lab.h2_client();
    let mut answer = shared.post(CHAT_PATH, CHAT);
    let mut exchange = lab.upstream.next();
    lab.gateway.signal("TERM");
    until_finishing(&lab.gateway);
    idle.wire.until_closed();
    busy_exchange.answer(200, &[("content-type", "application/json")], b"{}");
    let (head, rest) = busy.answer();
    assert_eq!((head.get("connection"), rest.text()), (Some("close"), "{}".to_owned()));
    exchange.begin_events();
    exchange.send(DONE);
    exchange.end();
    assert!(answer.answer().1.whole);
    shared.ended().expect("GOAWAY without an error");
    let Lab { gateway, .. } = lab;
    assert!(gateway.wait().success());
}

const STREAMS: usize = 300;

#[test]
fn no_stream_is_cut_before_the_deadline_and_each_is_told_at_it() {
    let began = Instant::now();
    let lab = drained("0s", "2s").server("workers = 2\npin = false").lab(Http::One);
    let mut streams: Vec<_> =
        (0..STREAMS).map(|index| stream(&lab, if index % 10 == 0 { Http::Two } else { Http::One })).collect();
    assert!(began.elapsed() < Duration::from_secs(8), "the machine is too slow for this test");
    lab.gateway.signal("TERM");
    until_finishing(&lab.gateway);
    // A third of them ends before the deadline.
    for (mut client, mut exchange) in streams.drain(..STREAMS / 3) {
        exchange.send([&token("b"), DONE].concat());
        exchange.end();
        let rest = client.rest();
        assert!(rest.whole && rest.text() == [&token("b"), DONE].concat());
    }
    for (_, exchange) in &mut streams {
        exchange.send(token("b"));
    }
    for (client, exchange) in &mut streams {
        assert_eq!(client.event(), token("b"));
        let rest = client.rest();
        assert!(rest.text().contains("\"code\":\"draining\""), "{}", rest.text());
        assert!(!rest.text().contains("[DONE]") && rest.whole);
        exchange.until_given_up();
    }
    let Lab { gateway, .. } = lab;
    assert!(gateway.wait().success());
}

#[test]
fn streams_that_wait_for_their_first_token_are_told_too() {
    for up in [Http::One, Http::Two] {
        let lab = drained("0s", "300ms").stream("early_head_after = \"100ms\"").lab(up);
        let mut early = lab.chat(Http::One);
        let _silent = lab.upstream.next();
        assert_eq!(early.head().status(), 200);
        let mut unary = lab.client();
        unary.post("/v1/embeddings", r#"{"model":"m"}"#);
        let _silent_too = lab.upstream.next();
        lab.gateway.signal("TERM");
        let rest = early.rest();
        assert!(rest.whole && rest.text().contains("\"code\":\"draining\""), "{}", rest.text());
        let (head, rest) = unary.answer();
        assert_eq!(head.status(), 503, "{}", rest.text());
        let Lab { gateway, .. } = lab;
        assert!(gateway.wait().success());
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let lab = drained("1m", "1m").lab(Http::One);
    let (mut client, mut exchange) = stream(&lab, Http::One);
    lab.gateway.signal("TERM");
    lab.gateway.until("it drains", |gateway| gateway.metric("millstream_draining") == 1.0);
    lab.gateway.signal("INT");
    exchange.until_given_up();
    // Told or cut, whichever comes first: no success either way.
    let rest = client.rest();
    assert!(!rest.whole || rest.text().contains("\"code\":\"draining\""), "{}", rest.text());
    assert!(!rest.text().contains("[DONE]"));
    let Lab { gateway, .. } = lab;
    assert!(gateway.wait().success());
}

#[test]
fn a_connection_that_never_sent_a_byte_does_not_hold_the_drain_up() {
    let lab = drained("0s", "1m").lab(Http::One);
    let silent = Client::connect(lab.gateway.address(0));
    let mut idle_h2 = lab.h2_client();
    lab.gateway.until("both are there", |gateway| gateway.metric("millstream_connections{worker=\"0\"}") == 2.0);
    let began = Instant::now();
    lab.gateway.signal("TERM");
    idle_h2.ended().expect("GOAWAY without an error");
    let Lab { gateway, .. } = lab;
    assert!(gateway.wait().success());
    // A connection that may still send its first request has the header timeout for it, and no more.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    drop(silent);
}
