//! WebSockets that are passed through.

use crate::support::Gateway;
use crate::support::client::{Client, Reader as _};
use crate::support::setup::{Setup, UPSTREAM_KEY};
use crate::support::upstream::{Exchange, Http, Upstream, head_text};

const KEY: &str = "sk-client-canary-0123456789";
const ACCEPTED: [(&str, &str); 4] = [
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ("sec-websocket-protocol", "realtime"),
];

const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

fn setup(more: &str) -> Setup {
    Setup::new().env("CLIENT_KEY", KEY).tables(&format!(
        "[[keys]]\nname = \"team\"\nkey_env = \"CLIENT_KEY\"\nstreams = 1\n{more}\n\
         [[routes]]\nmodel = \"*\"\ntargets = [{{ upstream = \"up\", model = \"real/x\" }}]"
    ))
}

fn ask(gateway: &Gateway, path: &str) -> Client {
    let mut client = Client::connect(gateway.address(0));
    let protocols = format!("realtime, openai-insecure-api-key.{KEY}, openai-beta.realtime-v1");
    let fields = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", protocols.as_str()),
    ];
    client.ask("GET", path, &fields, b"");
    client
}

/// A tunnel, both of its ends.
fn open(gateway: &Gateway, upstream: &Upstream) -> (Client, Exchange) {
    let mut client = ask(gateway, "/v1/realtime?model=m&x=1");
    let mut exchange = upstream.next();
    exchange.wire().send(head_text(101, &ACCEPTED).as_bytes()).expect("the gateway reads");
    let head = client.head();
    assert_eq!(head.status(), 101, "{head:?}");
    assert_eq!(head.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!((head.get("upgrade"), head.get("connection")), (Some("websocket"), Some("Upgrade")));
    assert_eq!((head.get("transfer-encoding"), head.get("content-length")), (None, None));
    (client, exchange)
}

#[test]
fn bytes_go_both_ways_and_keys_stay_where_they_belong() {
    let upstream = Upstream::start(Http::One);
    let gateway = setup("").upstream("up", upstream.address(), "").start();
    let (mut client, mut exchange) = open(&gateway, &upstream);
    assert_eq!(exchange.head.first, "GET /v1/realtime?model=real%2Fx&x=1 HTTP/1.1");
    assert_eq!(exchange.head.get("authorization"), Some(&*format!("Bearer {UPSTREAM_KEY}")));
    assert_eq!(exchange.head.get("sec-websocket-protocol"), Some("realtime, openai-beta.realtime-v1"));
    assert_eq!(
        (exchange.head.get("upgrade"), exchange.head.get("connection")),
        (Some("websocket"), Some("Upgrade"))
    );
    assert_eq!(exchange.head.get("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert!(!format!("{:?}", exchange.head).contains(KEY));

    let piece: Vec<u8> = (0..16_000_u32).flat_map(u32::to_le_bytes).collect();
    for _ in 0..50 {
        client.wire.send(&piece).expect("the gateway reads");
        assert!(exchange.wire().exactly(piece.len()).expect("all of it") == piece);
        exchange.wire().send(&piece).expect("the gateway reads");
        assert!(client.wire.exactly(piece.len()).expect("all of it") == piece);
    }
    // The key's only stream.
    let mut another = ask(&gateway, "/v1/realtime?model=m");
    assert_eq!(another.answer().0.status(), 429);
    // Whoever goes, the other one is told.
    drop(client);
    exchange.wire().until_closed();
    let (mut client, exchange) = open(&gateway, &upstream);
    exchange.close();
    client.wire.until_closed();
    assert!(!gateway.log().contains(KEY));
}

#[test]
fn what_is_no_websocket_or_is_refused_is_an_answer() {
    let upstream = Upstream::start(Http::One);
    let gateway = setup("").upstream("up", upstream.address(), "").start();
    let mut client = Client::connect(gateway.address(0));
    client.ask("GET", "/v1/realtime?model=m", &[("authorization", &format!("Bearer {KEY}"))], b"");
    assert_eq!(client.answer().0.status(), 400);
    let mut client = ask(&gateway, "/v1/realtime?model=m");
    upstream.next().answer(400, &[("content-type", "application/json")], b"{\"error\":{\"message\":\"no\"}}");
    let (head, rest) = client.answer();
    assert_eq!((head.status(), rest.text().as_str()), (400, "{\"error\":{\"message\":\"no\"}}"));
    assert!(upstream.is_unasked());
}

#[test]
fn without_keys_no_page_may_open_one() {
    let upstream = Upstream::start(Http::One);
    let gateway = Setup::new().upstream("up", upstream.address(), "").start();
    let fields = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("origin", "https://page.test"),
    ];
    let mut client = Client::connect(gateway.address(0));
    client.ask("GET", "/v1/realtime?model=m", &fields, b"");
    assert_eq!(client.answer().0.status(), 403);
    // A program has no origin, and is let in as with any request.
    let mut client = Client::connect(gateway.address(0));
    client.ask("GET", "/v1/realtime?model=m", &fields[..4], b"");
    upstream.next().wire().send(head_text(101, &ACCEPTED).as_bytes()).expect("the gateway reads");
    assert_eq!(client.head().status(), 101);
}

#[test]
fn silence_is_told_between_two_frames_and_ends_any_tunnel() {
    let upstream = Upstream::start(Http::One);
    let gateway =
        setup("[server.realtime]\nidle_timeout = \"300ms\"").upstream("up", upstream.address(), "").start();
    let (mut client, mut exchange) = open(&gateway, &upstream);
    exchange.wire().send(&[0x81, 2, b'h', b'i']).expect("the gateway reads");
    assert_eq!(
        client.wire.exactly(8).expect("a frame, and the goodbye"),
        [&[0x81, 2, b'h', b'i'][..], &GOING_AWAY].concat()
    );
    client.wire.until_closed();
    let (mut client, mut exchange) = open(&gateway, &upstream);
    exchange.wire().send(&[0x81, 3, b'h', b'i']).expect("the gateway reads");
    assert_eq!(client.wire.exactly(4).expect("a part of a frame"), [0x81, 3, b'h', b'i']);
    client.wire.until_closed();
}

#[test]
fn the_end_of_the_process_is_told() {
    let upstream = Upstream::start(Http::One);
    let gateway =
        setup("[drain]\ndelay = \"0s\"\ntimeout = \"300ms\"").upstream("up", upstream.address(), "").start();
    let (mut client, mut exchange) = open(&gateway, &upstream);
    gateway.signal("TERM");
    // It goes on until the deadline.
    client.wire.send(b"last").expect("the gateway reads");
    assert_eq!(exchange.wire().exactly(4).expect("a word"), b"last");
    assert_eq!(client.wire.exactly(4).expect("a goodbye"), GOING_AWAY);
    client.wire.until_closed();
}
