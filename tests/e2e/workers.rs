//! Connections spread over workers, and the limit of open files.

use crate::support::Gateway;
use crate::support::client::{Client, H2Client, Reader};
use crate::support::setup::{CHAT, CHAT_PATH, DONE, Setup, token};
use crate::support::upstream::{Http, Upstream};

#[test]
fn a_burst_of_connections_spreads_over_both_workers() {
    let upstream = Upstream::start(Http::One);
    let gateway = Setup::new().server("workers = 2\npin = false").upstream("up", upstream.address(), "").start();
    let mut clients: Vec<Client> = (0..400).map(|_| Client::connect(gateway.address(0))).collect();
    let carried = |worker: u32| gateway.metric(&format!("millstream_connections{{worker=\"{worker}\"}}"));
    gateway.until("all are accepted", |_| carried(0) + carried(1) == 400.0);
    let (first, second) = (carried(0), carried(1));
    assert!((first - second).abs() <= 40.0, "{first} and {second}");
    // Wherever they were moved to, they are served.
    for client in &mut clients {
        client.ask("GET", "/v1/models", &[], b"");
    }
    for client in &mut clients {
        assert_eq!(client.answer().0.status(), 200);
    }
}

#[test]
fn streams_spread_evenly_however_they_come_in() {
    // One worker accepts for all on a Unix socket; on TCP the kernel's hash decides who does.
    for unix in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("gateway.sock");
        let upstream = Upstream::start(Http::Two);
        let listen = if unix { format!("listen = \"unix:{}\"", socket.display()) } else { String::new() };
        let gateway = Setup::new()
            .server(&format!("workers = 2\npin = false\n{listen}"))
            .upstream("up", upstream.address(), "protocol = \"http2\"")
            .start();
        let mut streams: Vec<_> = (0..400)
            .map(|_| {
                let mut client =
                    if unix { Client::connect_unix(&socket) } else { Client::connect(gateway.address(0)) };
                client.post(CHAT_PATH, CHAT);
                client
            })
            .collect();
        let mut exchanges: Vec<_> = streams.iter().map(|_| upstream.next()).collect();
        let carried = |worker: u32| gateway.metric(&format!("millstream_streams{{worker=\"{worker}\"}}"));
        let (first, second) = (carried(0), carried(1));
        assert_eq!(first + second, 400.0);
        assert!((first - second).abs() < 0.1 * first.max(second), "{first} and {second}, unix: {unix}");
        // Wherever they are, they stream.
        for exchange in &mut exchanges {
            exchange.begin_events();
            exchange.send(token("a"));
        }
        for client in &mut streams {
            assert_eq!(client.head().status(), 200);
            assert_eq!(client.event(), token("a"));
        }
    }
}

#[test]
fn it_survives_its_limit_of_open_files() {
    let upstream = Upstream::start(Http::One);
    let setup = Setup::new().upstream("up", upstream.address(), "");
    let gateway = Gateway::start_limited(&setup.text(), &setup.variables(), Some(64));
    let crowd: Vec<Client> = (0..200).map(|_| Client::connect(gateway.address(0))).collect();
    gateway.until("it has refused some", |gateway| {
        gateway.metric("millstream_connections_refused_total")
            + gateway.metric("millstream_accept_errors_total{kind=\"out_of_descriptors\"}")
            > 0.0
    });
    assert!(gateway.admin_get("/readyz").starts_with("HTTP/1.1 200"));
    drop(crowd);
    gateway.until("they are gone", |gateway| gateway.metric("millstream_connections{worker=\"0\"}") == 0.0);
    let mut client = Client::connect(gateway.address(0));
    client.post(CHAT_PATH, CHAT);
    let mut exchange = upstream.next();
    exchange.begin_events();
    exchange.send([&token("a"), DONE].concat());
    exchange.end();
    assert_eq!(client.answer().0.status(), 200);
}

#[test]
fn streams_of_one_connection_cannot_use_up_the_files() {
    let upstream = Upstream::start(Http::One);
    let setup = Setup::new().upstream("up", upstream.address(), "");
    let gateway = Gateway::start_limited(&setup.text(), &setup.variables(), Some(100));
    // One client connection, and more upstream connections than there are files.
    let mut client = H2Client::connect(gateway.address(0));
    let mut streams: Vec<_> = (0..100).map(|_| client.post(CHAT_PATH, CHAT)).collect();
    gateway.until("some are refused", |gateway| {
        let failures = "millstream_upstream_failures_total{upstream=\"up\",phase=";
        gateway.metric(&format!("{failures}\"connect\"}}")) + gateway.metric(&format!("{failures}\"cap\"}}")) > 0.0
    });
    assert!(gateway.admin_get("/readyz").starts_with("HTTP/1.1 200"));
    let mut other = Client::connect(gateway.address(0));
    assert_eq!(other.get("/v1/models").0.status(), 200, "there is room for another client");
    let refused = streams.pop().expect("a hundred").head();
    assert!(matches!(refused.status(), 502 | 503), "{}", refused.status());
    let mut exchange = upstream.next();
    exchange.begin_events();
    exchange.send(DONE);
    exchange.end();
}

#[test]
fn upstream_connections_leave_room_for_the_rest() {
    let upstream = Upstream::start(Http::One);
    let setup = Setup::new().upstream("up", upstream.address(), "");
    let gateway = Gateway::start_limited(&setup.text(), &setup.variables(), Some(128));
    // As many streams as there are connections: each has a descriptor on both sides.
    let mut streams = Vec::new();
    for _ in 0..30 {
        let mut client = Client::connect(gateway.address(0));
        client.post(CHAT_PATH, CHAT);
        let mut exchange = upstream.next();
        exchange.begin_events();
        exchange.send(token("a"));
        client.head();
        assert_eq!(client.event(), token("a"));
        streams.push((client, exchange));
    }
    assert_eq!(gateway.metric("millstream_streams_active{phase=\"streaming\"}"), 30.0);
}
