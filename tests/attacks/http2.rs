//! Rows 42 to 45: clients that abuse the frames of HTTP/2.

use std::iter::repeat_n;

use crate::frames::{
    CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, HEADERS, PADDED, PING,
    SETTINGS, chat_block, flood, frame, rst_stream, settings, window_update,
};
use crate::http1::{ask, chat};
use crate::recorder::Recorder;
use crate::{gateway, resident_kib, support::Gateway};

const SERVER: &str = "idle_timeout = \"2s\"\nbody_timeout = \"5s\"";

/// What a flood may cost in memory, in KiB.
const GROWTH_MAX: u64 = 24 * 1024;

/// Client stream ids.
fn streams(count: u32) -> impl Iterator<Item = u32> + Send {
    (0..count).map(|number| 2 * number + 1)
}

/// Sends `frames` on one connection while another client is served. Returns the error of the `GOAWAY`.
fn attack(
    gateway: &Gateway,
    upstream: &Recorder,
    frames: impl Iterator<Item = Vec<u8>> + Send + 'static,
) -> Option<u32> {
    assert_eq!(ask(gateway.address(0), chat("before")).status, 200);
    let before = resident_kib(gateway.pid());
    let mut client = Client::connect(gateway.address(0), &[]);
    flood(client.writer(), frames);
    for _ in 0..10 {
        assert_eq!(ask(gateway.address(0), chat("meanwhile")).status, 200);
    }
    let error = client.read_to_the_end();
    let grown = resident_kib(gateway.pid()).saturating_sub(before);
    assert!(grown < GROWTH_MAX, "grown by {grown} KiB");
    gateway.until("nothing is left of it", |gateway| {
        gateway.metric("millstream_streams{worker=\"0\"}") == 0.0 && upstream.open() == 0
    });
    assert_eq!(ask(gateway.address(0), chat("after")).status, 200);
    error
}

#[test]
fn a_rapid_reset_ends_the_connection_and_leaves_no_upstream_call() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    // Without a body, so that the call would wait; and with one, so that it reaches an upstream that hangs.
    let bare = streams(20_000)
        .map(|stream| [frame(HEADERS, END_HEADERS, stream, &chat_block(&[])), rst_stream(stream)].concat());
    assert_eq!(attack(&gateway, &upstream, bare), Some(ENHANCE_YOUR_CALM));
    let whole = streams(20_000).map(|stream| {
        let head = frame(HEADERS, END_HEADERS, stream, &chat_block(&[]));
        let body = frame(DATA, END_STREAM, stream, b"{\"model\":\"hang\"}");
        [head, body, rst_stream(stream)].concat()
    });
    assert_eq!(attack(&gateway, &upstream, whole), Some(ENHANCE_YOUR_CALM));
    assert!(upstream.with("hang").len() < 200, "{} upstream calls", upstream.with("hang").len());
}

#[test]
fn slow_resets_cancel_each_upstream_call() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let mut client = Client::connect(gateway.address(0), &[]);
    for stream in streams(50) {
        client.chat(stream, "{\"model\":\"hang\"}");
        gateway.until("the upstream has the call", |_| upstream.open() == 1);
        client.send(&rst_stream(stream));
        gateway.until("the upstream sees the cancel", |_| upstream.open() == 0);
    }
    client.chat(1001, "{\"model\":\"sibling\"}");
    client.until(|frame| frame.ends(1001)).expect("the connection goes on");
}

#[test]
fn a_head_of_endless_continuations_ends_the_connection() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    for piece in [&b""[..], b"\x00", &[0x00, 1, b'x', 1, b'y'], &[b'a'; 16_000]] {
        let first = frame(HEADERS, END_STREAM, 1, &chat_block(&[]));
        let count = if piece.len() > 100 { 2000 } else { 50_000 };
        let rest = repeat_n(frame(CONTINUATION, 0, 1, piece), count);
        attack(&gateway, &upstream, std::iter::once(first).chain(rest));
    }
    assert_eq!(upstream.with("after").len(), 4);
}

#[test]
fn provoked_resets_end_the_connection_at_their_bound() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let head = |flags: u8, stream: u32| frame(HEADERS, END_HEADERS | flags, stream, &chat_block(&[]));
    let lying = move |stream| frame(HEADERS, END_HEADERS, stream, &chat_block(&[("content-length", "1")]));
    let ways: [Box<dyn Fn(u32) -> Vec<u8> + Send>; 5] = [
        // A window beyond 2^31-1, or opened by nothing.
        Box::new(move |stream| [head(0, stream), window_update(stream, 0x7fff_ffff)].concat()),
        Box::new(move |stream| [head(0, stream), window_update(stream, 0)].concat()),
        // A body behind the end.
        Box::new(move |stream| [head(END_STREAM, stream), frame(DATA, 0, stream, b"{}")].concat()),
        // A second head that is no trailer.
        Box::new(move |stream| [head(0, stream), head(0, stream)].concat()),
        // More bytes than were announced.
        Box::new(move |stream| [lying(stream), frame(DATA, 0, stream, b"{}")].concat()),
    ];
    for way in ways {
        attack(&gateway, &upstream, streams(20_000).map(way));
    }
    assert_eq!(upstream.requests().len(), upstream.with("before").len() * 12);
}

#[test]
fn empty_and_padded_data_end_the_connection_or_their_deadline_does() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let open = || std::iter::once(frame(HEADERS, END_HEADERS, 1, &chat_block(&[])));
    let empty = repeat_n(frame(DATA, 0, 1, b""), 100_000);
    assert_eq!(attack(&gateway, &upstream, open().chain(empty)), Some(ENHANCE_YOUR_CALM));
    // All padding: as many bytes as the windows allow, of which none arrives.
    let mut payload = vec![255; 256];
    payload[1..].fill(0);
    let padded = repeat_n(frame(DATA, PADDED, 1, &payload), 10_000);
    attack(&gateway, &upstream, open().chain(padded));
    assert!(upstream.with("before").len() == 2);
}

#[test]
fn floods_of_control_frames_are_answered_or_cut_and_hurt_nobody() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "[stream]\nslow_client_timeout = \"1s\"");
    for flooding in [
        frame(PING, 0, 0, b"flooding"),
        settings(&[(4, 65_535), (4, 1), (3, 7)]),
        frame(SETTINGS, 0, 0, b""),
        window_update(0, 1),
        frame(2, 0, 1, &[0, 0, 0, 0, 9]),
        frame(0x42, 0, 0, b"unknown"),
    ] {
        attack(&gateway, &upstream, repeat_n(flooding, 50_000));
    }
}

#[test]
fn a_flood_whose_answers_are_not_read_is_cut_as_a_slow_reader() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, "idle_timeout = \"20s\"", "[stream]\nslow_client_timeout = \"1s\"");
    let before = resident_kib(gateway.pid());
    let client = Client::connect(gateway.address(0), &[]);
    let mut writer = client.writer();
    // Never read: the gateway's answers fill the sockets, and then it must stop to read.
    let pings = frame(PING, 0, 0, b"flooding").repeat(1000);
    let mut sent = 0;
    while std::io::Write::write_all(&mut writer, &pings).is_ok() {
        sent += pings.len();
        assert!(sent < 256 * 1024 * 1024, "it takes pings without end");
    }
    let grown = resident_kib(gateway.pid()).saturating_sub(before);
    assert!(grown < GROWTH_MAX, "grown by {grown} KiB");
    gateway.until("it is closed", |gateway| gateway.metric("millstream_connections{worker=\"0\"}") == 0.0);
}

#[test]
fn frames_that_are_no_http2_end_the_connection() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    for (what, bytes) in [
        ("a frame above the maximum", vec![0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]),
        ("data on no stream", frame(DATA, 0, 0, b"x")),
        ("data on an idle stream", frame(DATA, 0, 7, b"x")),
        ("padding beyond the frame", frame(DATA, PADDED, 1, &[255, 0])),
        ("an even stream", frame(HEADERS, END_HEADERS, 2, &chat_block(&[]))),
        ("a push", frame(5, END_HEADERS, 1, &[0, 0, 0, 2])),
        ("a broken header block", frame(HEADERS, END_HEADERS, 1, &[0xff, 0xff, 0xff, 0xff, 0xff])),
        ("settings of a wrong size", frame(SETTINGS, 0, 0, b"x")),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, b"")),
    ] {
        let mut client = Client::connect(gateway.address(0), &[]);
        client.send(&bytes);
        assert!(client.read_to_the_end().is_some_and(|error| error != 0), "{what}");
    }
    let strange: &[(&str, Vec<(&str, &str)>)] = &[
        ("a connection header", vec![("connection", "close")]),
        ("a coding", vec![("transfer-encoding", "chunked")]),
        ("an upper-case name", vec![("X-Upper", "1")]),
        ("a second path", vec![(":path", "/v1/models")]),
        ("a line break", vec![("x", "a\r\nb: c")]),
    ];
    for (what, fields) in strange {
        let mut client = Client::connect(gateway.address(0), &[]);
        client.send(&frame(HEADERS, END_HEADERS, 1, &chat_block(fields)));
        client.send(&frame(DATA, END_STREAM, 1, b"{\"model\":\"strange\"}"));
        let refused = |frame: &Frame| frame.ends(1) && frame.kind != DATA;
        assert!(client.until(|frame| refused(frame) || frame.goes_away().is_some()).is_some(), "{what}");
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}
