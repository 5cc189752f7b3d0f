//! Row 12: bodies that are larger than allowed, or not as large as they say.

use std::io::Write;
use std::time::Instant;

use crate::frames::{Client, DATA, END_HEADERS, END_STREAM, HEADERS, chat_block, flood, frame};
use crate::http1::{
    Answer, PATIENCE, answers, ask, ask_to_the_end, chat, connect, head, post, read_all, read_answer,
};
use crate::recorder::Recorder;
use crate::{gateway, resident_kib};

const MAX: usize = 64 * 1024;
const SERVER: &str = "body_bytes_max = \"64KiB\"\nbody_timeout = \"2s\"\nidle_timeout = \"1s\"";

/// A valid body of exactly `length` bytes.
fn body(length: usize) -> String {
    let bare = "{\"model\":\"m\",\"x\":\"\"}".len();
    format!("{{\"model\":\"m\",\"x\":\"{}\"}}", "y".repeat(length - bare))
}

fn assert_too_large(answers: &[Answer]) {
    let [answer] = answers else { panic!("{answers:?}") };
    assert_eq!((answer.status, answer.error().as_str()), (413, "request_too_large"), "{answer:?}");
    assert!(answer.head.contains("connection: close\r\n"), "{answer:?}");
}

#[test]
fn a_body_that_says_it_is_too_large_is_refused_before_it_comes() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    assert_eq!(ask(gateway.address(0), post("/v1/chat/completions", &body(MAX))).status, 200);
    for length in [MAX + 1, 1 << 40] {
        let head = format!("{}content-length: {length}\r\n\r\n", head("POST /v1/chat/completions"));
        // Not one byte of the body is sent.
        assert_too_large(&ask_to_the_end(gateway.address(0), &head));
        // And with `expect`, it is not asked for.
        let expecting = head.replacen("\r\n", "\r\nexpect: 100-continue\r\n", 1);
        let mut stream = connect(gateway.address(0));
        stream.write_all(expecting.as_bytes()).expect("sent");
        assert_eq!(read_answer(&mut stream).status, 413);
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_client_that_sends_its_large_body_first_gets_to_read_the_refusal() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    // More than the sockets between can hold: who writes all before it reads must not be stopped in its midst.
    let request = post("/v1/chat/completions", &body(16 * 1024 * 1024));
    for _ in 0..5 {
        let mut stream = connect(gateway.address(0));
        stream.write_all(request.as_bytes()).expect("taken to the end");
        assert_eq!(read_answer(&mut stream).status, 413);
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_client_that_never_stops_sending_is_cut_after_its_refusal() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, &format!("{SERVER}\nheader_timeout = \"1s\""), "");
    for refused in [
        format!("{}content-length: 1000000000000\r\n\r\n", head("POST /v1/chat/completions")),
        format!("{}bad header\r\n\r\n", head("POST /v1/chat/completions")),
        format!("{}{}", head("GET /v1/models"), "x".repeat(100_000)),
    ] {
        let mut stream = connect(gateway.address(0));
        stream.write_all(refused.as_bytes()).expect("sent");
        let began = Instant::now();
        while stream.write_all(&[b'x'; 4096]).is_ok() {
            assert!(began.elapsed() < PATIENCE, "it takes bytes without end");
        }
        assert!(matches!(read_answer(&mut stream).status, 400 | 413 | 431));
    }
    gateway.until("all are closed", |gateway| gateway.metric("millstream_connections{worker=\"0\"}") == 0.0);
}

#[test]
fn chunks_without_end_are_cut_at_the_cap() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let before = resident_kib(gateway.pid());
    for chunk in [1, 1000, 60_000] {
        let mut stream = connect(gateway.address(0));
        write!(stream, "{}transfer-encoding: chunked\r\n\r\n", head("POST /v1/chat/completions")).expect("sent");
        let piece = format!("{chunk:x}\r\n{}\r\n", "y".repeat(chunk)).repeat((8000 / chunk).max(1));
        let mut sent = 0;
        stream.set_nonblocking(true).expect("set");
        while stream.peek(&mut [0]).is_err() {
            stream.set_nonblocking(false).expect("set");
            stream.write_all(piece.as_bytes()).expect("taken");
            stream.set_nonblocking(true).expect("set");
            sent += piece.len();
            assert!(sent < 16 * 1024 * 1024, "all of it is taken and nothing said");
        }
        stream.set_nonblocking(false).expect("set");
        stream.shutdown(std::net::Shutdown::Write).expect("shut");
        assert_too_large(&answers(&read_all(&mut stream)));
    }
    // The exact cap still passes.
    let body = body(MAX);
    let exact = format!(
        "{}transfer-encoding: chunked\r\n\r\n{MAX:x}\r\n{body}\r\n0\r\n\r\n",
        head("POST /v1/chat/completions")
    );
    assert_eq!(ask(gateway.address(0), exact).status, 200);
    assert_eq!(upstream.requests().len(), 1);
    let grown = resident_kib(gateway.pid()).saturating_sub(before);
    assert!(grown < 16 * 1024, "grown by {grown} KiB");
}

#[test]
fn a_length_that_is_not_true_reaches_nobody() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let body = "{\"model\":\"liar\"}";
    let with =
        |length: usize| format!("{}content-length: {length}\r\n\r\n{body}", head("POST /v1/chat/completions"));
    // Less comes than was said: the deadline.
    let answers = ask_to_the_end(gateway.address(0), with(body.len() + 1));
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [408]);
    // Less was said than comes: half a body is no JSON, and the other half is no request.
    let answers = ask_to_the_end(gateway.address(0), with(body.len() - 1));
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [400, 400]);
    assert!(upstream.requests().is_empty());
    assert_eq!(ask(gateway.address(0), chat("m")).status, 200);
}

#[test]
fn on_http2_too_large_a_body_costs_its_stream_alone() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let mut client = Client::connect(gateway.address(0), &[]);
    let length = (MAX + 1).to_string();
    client.send(&frame(HEADERS, END_HEADERS, 1, &chat_block(&[("content-length", &length)])));
    client.until(|frame| frame.ends(1)).expect("an answer");
    assert!(String::from_utf8_lossy(&client.body(1)).contains("request_too_large"));
    // Unannounced, as the window allows: 64 KiB at first.
    client.send(&frame(HEADERS, END_HEADERS, 3, &chat_block(&[])));
    let data = frame(DATA, 0, 3, &[b'y'; 16 * 1023]);
    flood(client.writer(), std::iter::repeat_n(data, 4));
    while !client.read.iter().any(|frame| frame.stream == 3 && frame.kind == 8) {
        client.next().expect("the connection goes on");
    }
    flood(client.writer(), std::iter::once(frame(DATA, 0, 3, &[b'y'; 200])));
    client.until(|frame| frame.ends(3)).expect("an answer");
    assert!(String::from_utf8_lossy(&client.body(3)).contains("request_too_large"));
    // A length that is not true is a malformed request.
    client.send(&frame(HEADERS, END_HEADERS, 5, &chat_block(&[("content-length", "100")])));
    client.send(&frame(DATA, END_STREAM, 5, b"{\"model\":\"liar\"}"));
    client.until(|frame| frame.ends(5)).expect("an end of the stream");
    client.chat(7, "{\"model\":\"sibling\"}");
    client.until(|frame| frame.ends(7)).expect("a sibling is served");
    assert_eq!(upstream.requests().len(), 1);
}
