//! Row 47: requests whose end two parsers may see in two places.

use std::io::Write;
use std::thread;

use crate::http1::{self, answers, ask_to_the_end, chat, connect, head, read_all, read_answer};
use crate::recorder::{Recorded, Recorder};
use crate::{gateway, support::Gateway};

/// Short deadlines, so that a gateway that waits for more closes soon.
const SERVER: &str = "header_timeout = \"1s\"\nbody_timeout = \"1s\"\nidle_timeout = \"1s\"";

/// What may become of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// One answer of 4xx and a close; the upstream sees nothing.
    Refused,
    /// Closed, with an answer of 4xx or without; the upstream sees nothing.
    Dropped,
    /// Passed on once, with the body that was meant.
    Once,
}
use Fate::{Dropped, Once, Refused};

/// Each is a request as bytes, where `@` is the body, `#` its length, and `%` a request that somebody wants to
/// smuggle behind it.
const CASES: &[(Fate, &str)] = &[
    // A length and a coding, in every order and guise.
    (Refused, "P\r\ncontent-length: #\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked\r\ncontent-length: #\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n5c\r\n%"),
    (Refused, "P\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ncontent-length: +5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked\r\ncontent-length: x\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\ncontent-length: #\ntransfer-encoding: chunked\n\n0\r\n\r\n%"),
    // Codings that are not just `chunked`.
    (Refused, "P\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: identity\r\n\r\n@"),
    (Refused, "P\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding:\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked\x0b\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chu\0nked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding\t: chunked\r\ncontent-length: #\r\n\r\n@"),
    (Once, "P\r\nTRANSFER-encoding: ChUnKeD\r\n\r\n#x\r\n@\r\n0\r\n\r\n"),
    (Once, "P\r\ntransfer-encoding: \t chunked \t\r\n\r\n#x\r\n@\r\n0\r\n\r\n%"),
    // A coding where there can't be one.
    (
        Refused,
        "POST /v1/chat/completions HTTP/1.0\r\nhost: x\r\nA\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n%",
    ),
    // Lengths.
    (Refused, "P\r\ncontent-length: #\r\ncontent-length: 0\r\n\r\n@%"),
    (Refused, "P\r\ncontent-length: +#\r\n\r\n@%"),
    (Refused, "P\r\ncontent-length: -1\r\n\r\n@%"),
    (Refused, "P\r\ncontent-length: 0x10\r\n\r\n@%"),
    (Refused, "P\r\ncontent-length: #, #\r\n\r\n@%"),
    (Refused, "P\r\ncontent-length: # #\r\n\r\n@%"),
    (Refused, "P\r\ncontent-length: #.0\r\n\r\n@%"),
    (Refused, "P\r\ncontent-length:\r\n\r\n@%"),
    (Refused, "P\r\ncontent-length: 99999999999999999999\r\n\r\n@%"),
    (Refused, "P\r\ncontent-length : #\r\n\r\n@%"),
    (Refused, "P\r\ncontent-length:\r\n #\r\n\r\n@%"),
    (Refused, "P\r\ncontent-length: #\r\n 0\r\n\r\n@%"),
    (Refused, "P\r\ncontent-length: \x0b#\r\n\r\n@%"),
    (Once, "P\r\ncontent-length: #\r\ncontent-length: #\r\n\r\n@"),
    (Once, "P\r\ncontent-length:  \t# \r\n\r\n@"),
    (Once, "P\r\ncontent-length: 000#\r\n\r\n@"),
    (Once, "P\r\ncontent_length: 0\r\ncontent-length: #\r\n\r\n@"),
    (Once, "P\r\ntransfer_encoding: chunked\r\ncontent-length: #\r\n\r\n@"),
    (Once, "P\r\nx-content-length: 1\r\ncontent-length: #\r\n\r\n@"),
    // Bytes that do not belong into a head.
    (Refused, "P\r\nx: a\0b\r\ncontent-length: #\r\n\r\n@%"),
    (Refused, "P\r\nx: a\rcontent-length: 0\r\ncontent-length: #\r\n\r\n@%"),
    (Refused, "P\rcontent-length: #\r\n\r\n@%"),
    (Refused, "P\r\nx y: z\r\ncontent-length: #\r\n\r\n@%"),
    (Refused, "P\r\n: z\r\ncontent-length: #\r\n\r\n@%"),
    (Refused, "P\r\nno colon\r\ncontent-length: #\r\n\r\n@%"),
    (Refused, " P\r\ncontent-length: #\r\n\r\n@%"),
    (Refused, "POST  /v1/chat/completions HTTP/1.1\r\nhost: x\r\nA\r\ncontent-length: #\r\n\r\n@"),
    (Refused, "POST /v1/chat/completions HTTP/1.1 x\r\nhost: x\r\nA\r\ncontent-length: #\r\n\r\n@"),
    (Refused, "POST /v1/chat/completions HTTP/1.2\r\nhost: x\r\nA\r\ncontent-length: #\r\n\r\n@"),
    (Refused, "POST /v1/chat/completions\r\nhost: x\r\nA\r\ncontent-length: #\r\n\r\n@"),
    (Once, "\r\n\r\nP\r\ncontent-length: #\r\n\r\n@"),
    (Once, "P\ncontent-length: #\n\n@"),
    // Chunks.
    (Refused, "P\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n@\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked\r\n\r\n0x#x\r\n@\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000#x\r\n@\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked\r\n\r\n\r\n@\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked\r\n\r\n#x\n@\n0\n\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked\r\n\r\n#x\r\n@y\r\n0\r\n\r\n%"),
    (Refused, "P\r\ntransfer-encoding: chunked\r\n\r\n#x;a\nb\r\n@\r\n0\r\n\r\n%"),
    (Once, "P\r\ntransfer-encoding: chunked\r\n\r\n#x;name=value\r\n@\r\n0\r\n\r\n%"),
    (Once, "P\r\ntransfer-encoding: chunked\r\n\r\n00#x\r\n@\r\n000\r\n\r\n%"),
    (Once, "P\r\ntransfer-encoding: chunked\r\n\r\n#x\r\n@\r\n0\r\ncontent-length: 0\r\n\r\n%"),
    (Once, "P\r\ntransfer-encoding: chunked\r\n\r\n#x\r\n@\r\n0\r\n\r\ngarbage\r\n\r\n%"),
    // Hosts.
    (Refused, "POST /v1/chat/completions HTTP/1.1\r\nA\r\ncontent-length: #\r\n\r\n@"),
    (Refused, "P\r\nhost: other\r\ncontent-length: #\r\n\r\n@"),
    (Once, "POST http://elsewhere/v1/chat/completions HTTP/1.1\r\nhost: x\r\nA\r\ncontent-length: #\r\n\r\n@"),
    // Other protocols.
    (
        Once,
        "P\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\ncontent-length: #\r\n\r\n@",
    ),
    (
        Once,
        "P\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\ncontent-length: #\r\n\r\n@",
    ),
    (Once, "P\r\nconnection: content-length, close\r\ncontent-length: #\r\n\r\n@%"),
    (Refused, "CONNECT elsewhere:80 HTTP/1.1\r\nhost: x\r\nA\r\n\r\n%"),
    // Expectations.
    (Once, "P\r\nexpect: 100-continue\r\ncontent-length: #\r\n\r\n@"),
    (Once, "P\r\nexpect: 100-Continue\r\ntransfer-encoding: chunked\r\n\r\n#x\r\n@\r\n0\r\n\r\n"),
    (Once, "P\r\nexpect: miracles\r\ncontent-length: #\r\n\r\n@"),
    (Dropped, "P\r\nexpect: 100-continue\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n@%"),
];

/// The body of a case, and the request to smuggle: both say which case they are of.
fn build(number: usize, case: &str) -> (Vec<u8>, String) {
    let body = format!("{{\"model\":\"case-{number}-\"}}");
    let smuggled = chat(&format!("smuggled-{number}-"));
    let authorization = format!("authorization: Bearer {}", crate::KEY);
    let bytes = case
        .replacen("P\r", "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nA\r", 1)
        .replacen("P\n", "POST /v1/chat/completions HTTP/1.1\nhost: x\nA\n", 1)
        .replace("\nA\r", &format!("\n{authorization}\r"))
        .replace("\nA\n", &format!("\n{authorization}\n"))
        .replace("#x", &format!("{:x}", body.len()))
        .replace('#', &body.len().to_string())
        .replace('@', &body)
        .replace('%', &smuggled);
    (bytes.into_bytes(), body)
}

/// What came through was written by the gateway, not copied from a client.
fn assert_clean(request: &Recorded) {
    assert!(request.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!(request.header("content-length"), [request.body.len().to_string()], "{}", request.head);
    for name in [
        "transfer-encoding",
        "content_length",
        "transfer_encoding",
        "connection",
        "upgrade",
        "http2-settings",
        "expect",
        "te",
        "trailer",
        "keep-alive",
    ] {
        assert!(request.header(name).is_empty(), "{name} in {}", request.head);
    }
    assert_eq!(request.header("host").len(), 1, "{}", request.head);
    assert!(!request.head.contains("elsewhere") && !request.head.contains(crate::KEY), "{}", request.head);
}

fn check(gateway: &Gateway, upstream: &Recorder, number: usize, fate: Fate, case: &str) {
    let (bytes, body) = build(number, case);
    let answers = ask_to_the_end(gateway.address(0), &bytes);
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    let smuggled = upstream.with(&format!("smuggled-{number}-"));
    let passed = upstream.with(&format!("case-{number}-"));
    assert!(smuggled.iter().all(|request| request.head.starts_with("POST /v1")), "{case:?}");
    match fate {
        Refused | Dropped => {
            assert!(
                smuggled.is_empty() && passed.is_empty(),
                "{case:?}: the upstream saw {passed:?} {smuggled:?}"
            );
            let refused = matches!(statuses[..], [400..=499]) || (fate == Dropped && statuses.is_empty());
            assert!(refused, "{case:?}: {statuses:?}");
        }
        Once => {
            assert_eq!(statuses, [200], "{case:?}: {answers:?}");
            assert!(smuggled.is_empty(), "{case:?}: the upstream saw {smuggled:?}");
            let [request] = &passed[..] else { panic!("{case:?}: the upstream saw {passed:?}") };
            assert_eq!(String::from_utf8_lossy(&request.body), body, "{case:?}");
            assert_clean(request);
        }
    }
}

#[test]
fn each_ends_where_we_say_or_is_refused() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    thread::scope(|threads| {
        for (number, (fate, case)) in CASES.iter().enumerate() {
            let (gateway, upstream) = (&gateway, &upstream);
            threads.spawn(move || check(gateway, upstream, number, *fate, case));
        }
    });
    assert!(CASES.len() >= 60);
}

/// A request with both a length and a coding. hyper drops the length and would read the chunks, which are good.
fn ambiguous(model: &str) -> String {
    let body = format!("{{\"model\":\"{model}\"}}");
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    format!("{}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n{chunks}", head("POST /v1/chat/completions"))
}

#[test]
fn a_pipelined_request_is_looked_at_as_closely_as_the_first() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let models = format!("{}\r\n", head("GET /v1/models"));
    for (number, first) in [chat("first"), models].into_iter().enumerate() {
        let marker = format!("behind-{number}-");
        let bytes = format!("{first}\r\n{}", ambiguous(&marker));
        // In one piece, and cut at every place around the end of the first.
        for cut in first.len().saturating_sub(3)..first.len() + 60 {
            let mut stream = connect(gateway.address(0));
            stream.write_all(&bytes.as_bytes()[..cut]).expect("sent");
            if cut % 2 == 0 && cut >= first.len() {
                // Answered before the rest is sent, or it would be one piece again.
                drop(stream.peek(&mut [0]));
            }
            drop(stream.write_all(&bytes.as_bytes()[cut..]));
            let statuses: Vec<u16> = answers(&read_all(&mut stream)).iter().map(|answer| answer.status).collect();
            assert_eq!(statuses, [200, 400], "cut at {cut}");
        }
        assert!(upstream.with(&marker).is_empty());
    }
}

#[test]
fn honest_pipelining_is_answered_in_order() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let bytes: String = (0..20).map(|number| chat(&format!("pipelined-{number}-"))).collect();
    let answers = ask_to_the_end(gateway.address(0), &bytes);
    assert_eq!(answers.len(), 20);
    assert!(answers.iter().all(|answer| answer.status == 200));
    let order: Vec<Recorded> = upstream.requests();
    for (number, request) in order.iter().enumerate() {
        assert!(String::from_utf8_lossy(&request.body).contains(&format!("pipelined-{number}-")));
    }
}

#[test]
fn a_body_in_chunks_is_the_last_of_its_connection() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let body = "{\"model\":\"chunky\"}";
    let chunked = format!(
        "{}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n{}",
        head("POST /v1/chat/completions"),
        body.len(),
        chat("behind-chunks"),
    );
    let answers = ask_to_the_end(gateway.address(0), chunked);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].status == 200 && answers[0].head.contains("connection: close\r\n"), "{answers:?}");
    assert!(upstream.with("behind-chunks").is_empty());
}

#[test]
fn a_body_that_was_not_read_cannot_become_a_request() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let inner = chat("inner");
    // Refused for its path and for its key, before the body is read: all of it, some of it, and more.
    for path in ["POST /v1/nothing", "POST /v1/chat/completions"] {
        let key = if path.ends_with("nothing") { crate::KEY } else { "wrong" };
        for length in [inner.len() - 10, inner.len(), inner.len() + 1] {
            let bytes = format!(
                "{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n{inner}{}",
                chat("inner"),
            );
            let answers = ask_to_the_end(gateway.address(0), bytes);
            assert_eq!(answers.len(), 1, "{answers:?}");
            assert!(answers[0].head.contains("connection: close\r\n"), "{answers:?}");
        }
    }
    assert!(upstream.with("inner").is_empty());
}

#[test]
fn a_connection_is_used_again_after_each_kind_of_body() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let mut stream = connect(gateway.address(0));
    let large = http1::post(
        "/v1/chat/completions",
        &format!("{{\"model\":\"{}\",\"x\":\"{}\"}}", "a", "y".repeat(300_000)),
    );
    let models = format!("{}\r\n", head("GET /v1/models"));
    for request in [chat("a"), models.clone(), large.clone(), models, chat("b"), large] {
        stream.write_all(request.as_bytes()).expect("sent");
        let answer = read_answer(&mut stream);
        assert!(answer.status == 200 && !answer.head.contains("connection: close"), "{answer:?}");
    }
    assert_eq!(upstream.requests().len(), 4);
}
