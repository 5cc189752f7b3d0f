//! Clients that do not read hold their upstream back, and are cut in the end.

use std::time::{Duration, Instant};

use crate::support::client::{Client, H2Client, Reader, connect_narrow};
use crate::support::driver::block;
use crate::support::setup::{CHAT, CHAT_PATH, DONE, Lab, Setup, token};
use crate::support::upstream::Http;
use crate::support::wire::Wire;

const BOTH: [Http; 2] = [Http::One, Http::Two];

/// Nothing taken for so long is taken for a stop.
const PATIENCE: Duration = Duration::from_millis(300);

fn narrow(lab: &Lab) -> Client {
    Client::new(Wire::tcp(connect_narrow(lab.gateway.address(0), 16 * 1024)))
}

fn narrow_h2(lab: &Lab) -> H2Client {
    let stream = connect_narrow(lab.gateway.address(0), 16 * 1024);
    stream.set_nonblocking(true).expect("an option");
    block(async {
        let stream = tokio::net::TcpStream::from_std(stream).expect("a socket");
        H2Client::over(stream, &h2::client::Builder::new()).await
    })
}

/// Asks for a stream that it will not read.
fn unread(lab: &Lab, http: Http) -> Box<dyn Reader> {
    match http {
        Http::One => {
            let mut client = narrow(lab);
            client.post(CHAT_PATH, CHAT);
            Box::new(client)
        }
        Http::Two => {
            let mut client = narrow_h2(lab);
            let answer = client.post(CHAT_PATH, CHAT);
            Box::new(client.only(answer))
        }
    }
}

#[test]
fn a_flood_that_nobody_reads_is_not_read() {
    for up in BOTH {
        let lab = Setup::new().lab(up);
        let mut client = narrow(&lab);
        client.post(CHAT_PATH, CHAT);
        let mut exchange = lab.upstream.next();
        exchange.begin_events();
        let taken = exchange.flood(PATIENCE);
        assert!(taken < 4 << 20, "{up:?}: {taken}");
        assert!(taken > 64 << 10, "{up:?}: {taken}");
        // It goes on as soon as the client reads.
        client.head();
        let mut read = 0;
        while read < taken / 2 {
            read += client.event().len();
        }
        assert!(exchange.flood(PATIENCE) > 0);

        let _unread = unread(&lab, Http::Two);
        let mut exchange = lab.upstream.next();
        exchange.begin_events();
        let taken = exchange.flood(PATIENCE);
        assert!(taken < 4 << 20, "{up:?}: {taken}");
    }
}

#[test]
fn memory_is_bounded_while_twenty_do_not_read() {
    for up in BOTH {
        let lab = Setup::new().lab(up);
        // What the first streams allocate once is not of interest.
        let mut client = lab.client();
        client.post(CHAT_PATH, CHAT);
        lab.upstream.next().answer(200, &[("content-type", "text/event-stream")], DONE.as_bytes());
        client.answer();
        let before = lab.gateway.resident_bytes();
        let mut streams = Vec::new();
        for _ in 0..20 {
            let mut client = narrow(&lab);
            client.post(CHAT_PATH, CHAT);
            let mut exchange = lab.upstream.next();
            exchange.begin_events();
            let taken = exchange.flood(Duration::from_millis(100));
            assert!(taken < 4 << 20, "{up:?}: {taken}");
            streams.push((client, exchange));
        }
        let grown = lab.gateway.resident_bytes().saturating_sub(before);
        assert!(grown < 20 * (512 << 10), "{up:?}: {grown} bytes for 20 streams");
    }
}

#[test]
fn a_slow_reader_is_cut_and_its_siblings_go_on() {
    for up in BOTH {
        for down in BOTH {
            let lab = Setup::new().stream("slow_client_timeout = \"1s\"").lab(up);
            let mut sibling = lab.chat(Http::One);
            let mut beside = lab.upstream.next();
            beside.begin_events();
            beside.send(token("before"));
            sibling.head();
            assert_eq!(sibling.event(), token("before"));

            let _unread = unread(&lab, down);
            let mut exchange = lab.upstream.next();
            exchange.begin_events();
            exchange.flood(PATIENCE);
            beside.send(token("meanwhile"));
            assert_eq!(sibling.event(), token("meanwhile"));
            exchange.until_given_up();
            lab.until_ended("chat_completions", "slow_reader");
            beside.send([&token("after"), DONE].concat());
            assert_eq!(sibling.event(), token("after"));
            beside.end();
            assert!(sibling.rest().whole);
            assert_eq!(lab.upstream.connections(), if up == Http::Two { 1 } else { 2 });
        }
    }
}

#[test]
fn small_frames_that_nobody_reads_do_not_end_their_connection() {
    for down in BOTH {
        let lab = Setup::new().lab(Http::Two);
        let mut sibling = lab.chat(Http::One);
        let mut beside = lab.upstream.next();
        beside.begin_events();
        let mut stalled = Vec::new();
        for _ in 0..8 {
            let client = unread(&lab, down);
            let mut exchange = lab.upstream.next();
            exchange.begin_events();
            assert!(exchange.flood_with(40, Duration::from_millis(100)) > 0);
            stalled.push((client, exchange));
        }
        beside.send([&token("after"), DONE].concat());
        beside.end();
        sibling.head();
        assert_eq!(sibling.rest().text(), [&token("after"), DONE].concat());
        assert_eq!(lab.upstream.connections(), 1);
    }
}

#[test]
fn a_client_that_reads_slowly_but_steadily_is_kept() {
    let lab = Setup::new().stream("slow_client_timeout = \"2s\"").lab(Http::One);
    let mut client = Client::new(Wire::tcp(connect_narrow(lab.gateway.address(0), 256 * 1024)));
    client.post(CHAT_PATH, CHAT);
    let mut exchange = lab.upstream.next();
    exchange.begin_events();
    exchange.send(token("a"));
    client.head();
    assert_eq!(client.event(), token("a"));
    let (mut sent, mut read) = (0, 0);
    // Longer than the timeout, in turns of a stall and a sip.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        sent += exchange.flood(PATIENCE);
        // No more than is on its way, each event with its chunk around it.
        for _ in 0..(sent / (8_192 + 16) - read).min(64) {
            client.event();
            read += 1;
        }
    }
    assert!(read > 64, "{read}");
    assert_eq!(lab.gateway.metric("millstream_streams_active{phase=\"streaming\"}"), 1.0);
}
