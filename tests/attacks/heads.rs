//! Row 11: heads with too much in them.

use crate::frames::{Client, END_HEADERS, END_STREAM, HEADERS, chat_block, frame};
use crate::http1::{ask, ask_to_the_end, chat, head};
use crate::recorder::Recorder;
use crate::{gateway, support::Gateway};

const SERVER: &str = "header_bytes_max = \"16KiB\"\nheaders_max = 20\nidle_timeout = \"2s\"";

fn with(fields: &str) -> String {
    format!("{}{fields}\r\n", head("GET /v1/models"))
}

fn assert_refused(gateway: &Gateway, request: &str, status: u16) {
    let answers = ask_to_the_end(gateway.address(0), request);
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [status], "{} bytes", request.len());
    assert_eq!(ask(gateway.address(0), chat("after")).status, 200);
}

#[test]
fn heads_up_to_the_bounds_pass_and_beyond_are_answered_431() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    // `host` and `authorization` are two of the twenty.
    let fields = |count: usize| (0..count).map(|n| ["x-", &n.to_string(), ": y\r\n"].concat()).collect::<String>();
    assert_eq!(ask(gateway.address(0), with(&fields(18))).status, 200);
    assert_refused(&gateway, &with(&fields(19)), 431);
    assert_refused(&gateway, &with(&fields(500)), 431);
    let padded = |length: usize| {
        let bare = with("x: \r\n").len();
        with(&format!("x: {}\r\n", "y".repeat(length - bare)))
    };
    assert_eq!(ask(gateway.address(0), padded(16 * 1024 - 1)).status, 200);
    assert_refused(&gateway, &padded(16 * 1024 + 1), 431);
    assert_refused(&gateway, &padded(1024 * 1024), 431);
    let long_path = format!("{}\r\n", head(&format!("GET /v1/{}", "a".repeat(100_000))));
    assert_refused(&gateway, &long_path, 431);
    // A head without end, and a trailer without end.
    assert_refused(&gateway, &format!("{}{}", head("GET /v1/models"), "x".repeat(1024 * 1024)), 431);
    let trailers = format!("transfer-encoding: chunked\r\n\r\n0\r\n{}", "x: y\r\n".repeat(100_000));
    assert_refused(&gateway, &format!("{}{trailers}", head("POST /v1/chat/completions")), 400);
    assert_eq!(upstream.requests().len(), upstream.with("after").len());
}

#[test]
fn on_http2_a_head_that_is_too_large_ends_its_stream_alone() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let mut client = Client::connect(gateway.address(0), &[]);
    // Far enough above for the overhead that RFC 9113 counts, and still in one frame.
    let block = chat_block(&[("x", &"y".repeat(16_000)), ("z", &"y".repeat(100))]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    let refused = client.until(|frame| frame.ends(1)).expect("the connection goes on");
    if refused.kind == HEADERS {
        // `:status` with a literal of three digits in Huffman's code: 431.
        assert_eq!(refused.payload, [0x48, 0x83, 0x69, 0x90, 0xff]);
    }
    client.chat(3, "{\"model\":\"sibling\"}");
    client.until(|frame| frame.ends(3)).expect("a sibling is served");
    assert!(String::from_utf8_lossy(&client.body(3)).contains("recorded"));
    assert_eq!(upstream.requests().len(), 1);
}
