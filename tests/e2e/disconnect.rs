//! A client that goes, at whatever moment, takes its upstream exchange along.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::support::client::{Client, H2Client, Leave, Reader};
use crate::support::setup::{CHAT, CHAT_PATH, Lab, Setup, token};
use crate::support::upstream::{Exchange, Http};

const BOTH: [Http; 2] = [Http::One, Http::Two];
const LEAVES: [Leave; 2] = [Leave::Close, Leave::Reset];

/// From a client's departure to its upstream's notice. The bound is for tests that hang; the figures are told.
const BOUND: Duration = Duration::from_secs(1);

fn notices(exchange: &mut Exchange, went: Instant) -> Duration {
    let noticed = exchange.until_given_up().saturating_duration_since(went);
    assert!(noticed < BOUND, "{noticed:?}");
    noticed
}

fn tell(what: &str, mut delays: Vec<Duration>) {
    delays.sort_unstable();
    let at = |share: usize| delays[(delays.len() * share).div_ceil(100) - 1];
    let (half, most, last) = (at(50), at(99), delays[delays.len() - 1]);
    let line = format!("{what}: p50 {half:?}, p99 {most:?}, max {last:?} of {} clients\n", delays.len());
    std::io::stderr().write_all(line.as_bytes()).expect("written");
}

/// What a client has done before it goes.
#[derive(Clone, Copy, Debug)]
enum Before {
    FirstToken,
    FirstTokenWithStrayBytes,
    FirstTokenWithPipelinedRequest,
    EarlyHead,
    MidStream,
}

fn http1_client(lab: &Lab, before: Before) -> (Box<dyn Reader>, Exchange) {
    let mut client = lab.client();
    client.post(CHAT_PATH, CHAT);
    match before {
        Before::FirstTokenWithStrayBytes => client.wire.send(b"\r\n").expect("sent"),
        Before::FirstTokenWithPipelinedRequest => client.post(CHAT_PATH, CHAT),
        Before::FirstToken | Before::EarlyHead | Before::MidStream => {}
    }
    let mut exchange = lab.upstream.next();
    if let Before::MidStream = before {
        exchange.begin_events();
        exchange.send(token("a"));
        client.head();
        client.event();
    }
    if let Before::EarlyHead = before {
        client.head();
    }
    (Box::new(client), exchange)
}

#[test]
fn http1_clients_are_missed_at_every_moment() {
    for up in BOTH {
        let lab = Setup::new().stream("early_head_after = \"off\"").lab(up);
        let early = Setup::new().stream("early_head_after = \"100ms\"").lab(up);
        for before in [
            Before::MidStream,
            Before::FirstToken,
            Before::FirstTokenWithStrayBytes,
            Before::FirstTokenWithPipelinedRequest,
            Before::EarlyHead,
        ] {
            for how in LEAVES {
                let lab = if let Before::EarlyHead = before { &early } else { &lab };
                let (client, mut exchange) = http1_client(lab, before);
                let went = Instant::now();
                client.leave(how);
                notices(&mut exchange, went);
                lab.until_idle();
                assert!(lab.upstream.is_unasked(), "{up:?} {before:?}: what was pipelined is not sent");
            }
        }
    }
}

#[test]
fn http2_clients_are_missed_at_every_moment() {
    for up in BOTH {
        let lab = Setup::new().lab(up);
        for mid_stream in [false, true] {
            for how in LEAVES {
                let mut client = lab.chat(Http::Two);
                let mut exchange = lab.upstream.next();
                if mid_stream {
                    exchange.begin_events();
                    exchange.send(token("a"));
                    client.head();
                    client.event();
                }
                let went = Instant::now();
                client.leave(how);
                notices(&mut exchange, went);
                lab.until_idle();
            }
        }
    }
}

#[test]
fn a_client_that_goes_while_it_uploads_reaches_no_upstream() {
    let lab = Setup::new().lab(Http::One);
    for how in LEAVES {
        let mut client = Box::new(lab.client());
        let head = "POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nabc";
        client.wire.send(head.as_bytes()).expect("sent");
        let open = "millstream_connections{worker=\"0\"}";
        lab.gateway.until("it is connected", |gateway| gateway.metric(open) == 1.0);
        client.leave(how);
        lab.gateway.until("it is gone", |gateway| gateway.metric(open) == 0.0);
        assert!(lab.upstream.is_unasked());
    }
    // The rest of the gateway has not noticed.
    assert_eq!(lab.client().get("/v1/models").0.status(), 200);
}

#[test]
fn http2_siblings_stay_when_one_stream_goes() {
    for up in BOTH {
        let lab = Setup::new().lab(up);
        let mut client = lab.h2_client();
        let (going, mut staying) = (client.post(CHAT_PATH, CHAT), client.post(CHAT_PATH, CHAT));
        let (mut first, mut second) = (lab.upstream.next(), lab.upstream.next());
        let went = Instant::now();
        Box::new(going).leave(Leave::Reset);
        notices(&mut first, went);
        second.begin_events();
        second.send(token("still here"));
        staying.head();
        assert_eq!(staying.event(), token("still here"));
    }
}

#[test]
fn a_client_that_closes_its_half_is_taken_for_gone() {
    for up in BOTH {
        let lab = Setup::new().lab(up);
        for before in [Before::FirstToken, Before::MidStream] {
            let mut client = lab.client();
            client.post(CHAT_PATH, CHAT);
            let mut exchange = lab.upstream.next();
            if let Before::MidStream = before {
                exchange.begin_events();
                exchange.send(token("a"));
                client.head();
                client.event();
            }
            let went = Instant::now();
            client.wire.socket().shutdown(Shutdown::Write).expect("open");
            notices(&mut exchange, went);
            client.wire.until_closed();
        }
    }
}

// ------------------------------------------------------------------------------------------------- figures

const CLIENTS: usize = 200;

fn measure(up: Http, down: Http) {
    let lab = Setup::new().lab(up);
    let mut streams = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        let mut client: Box<dyn Reader> = match down {
            Http::One => {
                let mut client = Client::connect(lab.gateway.address(0));
                client.post(CHAT_PATH, CHAT);
                Box::new(client)
            }
            Http::Two => {
                let mut client = H2Client::connect(lab.gateway.address(0));
                let answer = client.post(CHAT_PATH, CHAT);
                Box::new(client.only(answer))
            }
        };
        let mut exchange = lab.upstream.next();
        exchange.begin_events();
        exchange.send(token("a"));
        client.head();
        client.event();
        streams.push((client, exchange));
    }
    let mut delays = Vec::with_capacity(CLIENTS);
    for (index, (client, mut exchange)) in streams.into_iter().enumerate() {
        let how = LEAVES[index % 2];
        let went = Instant::now();
        client.leave(how);
        delays.push(notices(&mut exchange, went));
    }
    tell(&format!("client of {down:?} gone, upstream of {up:?} told"), delays);
    lab.until_idle();
    let cancelled = "millstream_stream_ends_total{endpoint=\"chat_completions\",reason=\"client_cancelled\"}";
    assert_eq!(lab.gateway.metric(cancelled), 200.0);
}

#[test]
fn http1_departures_are_told_at_once() {
    for up in BOTH {
        measure(up, Http::One);
    }
}

#[test]
fn http2_departures_are_told_at_once() {
    for up in BOTH {
        measure(up, Http::Two);
    }
}
