//! Row 46: clients that play with flow control.

use crate::frames::{Client, DATA, INITIAL_WINDOW_SIZE, RST_STREAM, settings, window_update};
use crate::http1::{ask, chat};
use crate::recorder::Recorder;
use crate::{gateway, support::Gateway};

const SERVER: &str = "idle_timeout = \"2s\"";
const REST: &str = "[stream]\nslow_client_timeout = \"1s\"\n[limits]\nstreams = 2";

const ENDLESS: &str = "{\"model\":\"endless\",\"stream\":true}";

fn slow_readers(gateway: &Gateway) -> f64 {
    gateway.metric("millstream_stream_ends_total{endpoint=\"chat_completions\",reason=\"slow_reader\"}")
}

/// Runs a stream that the client stops reading, in some way, and asserts that it is cut and leaves nothing.
fn assert_cut(client: &mut Client, gateway: &Gateway, upstream: &Recorder, stream: u32) {
    let before = slow_readers(gateway);
    let reset = client.until(|frame| frame.stream == stream && frame.kind == RST_STREAM);
    assert!(reset.is_some(), "the connection ended");
    gateway.until("its end is counted and nothing is left", |gateway| {
        slow_readers(gateway) > before
            && gateway.metric("millstream_streams{worker=\"0\"}") == 0.0
            && upstream.open() == 0
    });
}

#[test]
fn a_stream_that_is_never_read_is_cut_beside_its_siblings() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, REST);
    let mut client = Client::connect(gateway.address(0), &[(INITIAL_WINDOW_SIZE, 0)]);
    client.chat(1, ENDLESS);
    gateway.until("the upstream streams", |_| upstream.open() == 1);
    // A sibling whose window is opened gets its answer meanwhile.
    client.chat(3, "{\"model\":\"sibling\"}");
    client.send(&window_update(3, 65_535));
    client.until(|frame| frame.ends(3)).expect("the sibling's answer");
    assert!(String::from_utf8_lossy(&client.body(3)).contains("recorded"));
    assert_cut(&mut client, &gateway, &upstream, 1);
    assert!(client.body(1).is_empty());
    // The permits are back, on this connection and for others.
    for stream in [5, 7] {
        client.chat(stream, "{\"model\":\"next\"}");
        client.send(&window_update(stream, 65_535));
        client.until(|frame| frame.ends(stream)).expect("an answer");
    }
    assert_eq!(ask(gateway.address(0), chat("other")).status, 200);
}

#[test]
fn a_window_that_closes_in_the_midst_cuts_the_stream() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, REST);
    let mut client = Client::connect(gateway.address(0), &[(INITIAL_WINDOW_SIZE, 10_000)]);
    client.chat(1, ENDLESS);
    client.until(|frame| frame.stream == 1 && frame.kind == DATA).expect("data");
    client.send(&settings(&[(INITIAL_WINDOW_SIZE, 0)]));
    assert_cut(&mut client, &gateway, &upstream, 1);
    assert!(client.body(1).len() <= 10_000);
    // Opened again, for streams to come.
    client.send(&settings(&[(INITIAL_WINDOW_SIZE, 65_535)]));
    client.chat(3, "{\"model\":\"next\"}");
    client.until(|frame| frame.ends(3)).expect("an answer");
}

#[test]
fn a_connection_window_that_stays_shut_cuts_every_stream() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, REST);
    let mut client = Client::connect(gateway.address(0), &[(INITIAL_WINDOW_SIZE, 1 << 30)]);
    client.chat(1, ENDLESS);
    assert_cut(&mut client, &gateway, &upstream, 1);
    assert_eq!(client.body(1).len(), 65_535);
}

#[test]
fn a_window_opened_byte_by_byte_holds_one_stream_and_nothing_else() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, REST);
    let mut client = Client::connect(gateway.address(0), &[(INITIAL_WINDOW_SIZE, 1)]);
    client.chat(1, ENDLESS);
    for _ in 0..200 {
        client.until(|frame| frame.stream == 1 && frame.kind == DATA).expect("data");
        client.send(&window_update(1, 1));
    }
    assert_eq!(ask(gateway.address(0), chat("other")).status, 200);
    assert_cut(&mut client, &gateway, &upstream, 1);
}

#[test]
fn a_window_beyond_all_bounds_ends_the_connection() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, REST);
    for bytes in [
        settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]),
        [window_update(0, 0x7fff_ffff), window_update(0, 0x7fff_ffff)].concat(),
        window_update(0, 0),
    ] {
        let mut client = Client::connect(gateway.address(0), &[]);
        client.send(&bytes);
        assert!(client.read_to_the_end().is_some_and(|error| error != 0));
    }
}

#[test]
fn the_rest_of_an_answer_that_nobody_takes_does_not_hold_the_connection() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, REST);
    // One byte of the window is enough for hyper to hand over the last frame and be done with the stream.
    let mut client = Client::connect(gateway.address(0), &[(INITIAL_WINDOW_SIZE, 1)]);
    client.chat(1, "{\"model\":\"short\"}");
    // Pings go on being answered by `next`.
    client.read_to_the_end();
    gateway.until("the connection is closed", |gateway| {
        gateway.metric("millstream_connections{worker=\"0\"}") == 0.0
    });
}
