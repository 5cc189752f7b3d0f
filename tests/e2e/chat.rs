//! Answers come through byte for byte, however the network splits them.

use crate::support::setup::{CHAT, CHAT_PATH, DONE, Lab, STOP, Setup, token};
use crate::support::upstream::Http;
use crate::support::wire::Head;

const BOTH: [Http; 2] = [Http::One, Http::Two];

/// Pieces of pseudo-random lengths, the same in every run.
fn pieces(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let (mut rest, mut state, mut pieces) = (bytes, seed | 1, Vec::new());
    while !rest.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = usize::try_from(state >> 33).expect("64 bits") % 40 + 1;
        let (piece, later) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = later;
    }
    pieces
}

fn conversation() -> String {
    let mut text = String::from(": hello\n\n");
    for word in ["Grüße", "\\n", "🦀", "", "data: x", "end"] {
        text += &token(word);
    }
    text.replace("\n\n", "\r\n\r\n") + &token("mixed") + STOP + DONE
}

#[test]
fn streams_are_byte_identical_however_they_are_split() {
    let expected = conversation();
    for up in BOTH {
        let lab = Setup::new().lab(up);
        for down in BOTH {
            for seed in 1..6 {
                let mut client = lab.chat(down);
                let mut exchange = lab.upstream.next();
                exchange.begin_events();
                for piece in pieces(expected.as_bytes(), seed) {
                    exchange.send(piece);
                }
                exchange.end();
                let head = client.head();
                assert_eq!(head.status(), 200);
                let rest = client.rest();
                assert_eq!(rest.text(), expected, "{up:?} {down:?} {seed}");
                assert!(rest.whole);
            }
        }
        lab.until_idle();
    }
}

#[test]
fn length_and_close_delimited_streams_are_byte_identical() {
    let lab = Setup::new().lab(Http::One);
    let expected = conversation();
    for length in [true, false] {
        let mut client = lab.chat(Http::One);
        let mut exchange = lab.upstream.next();
        let framing =
            if length { format!("content-length: {}", expected.len()) } else { "connection: close".to_owned() };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{framing}\r\n\r\n");
        exchange.wire().send(head.as_bytes()).expect("read");
        for piece in pieces(expected.as_bytes(), 9) {
            exchange.wire().send(piece).expect("read");
        }
        if length {
            exchange.keep();
        } else {
            exchange.close();
        }
        let head = client.head();
        assert_eq!(head.get("content-length"), None, "comments may come in between");
        let rest = client.rest();
        assert_eq!(rest.text(), expected);
        assert!(rest.whole);
    }
}

#[test]
fn unary_answers_keep_status_type_and_bytes() {
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for up in BOTH {
        let lab = Setup::new().unrepeated().lab(up);
        for down in BOTH {
            for (status, content_type, body) in [
                (200, "application/json", &b"{\"a\": 1.0}"[..]),
                (400, "application/json", b"{\"error\":{\"message\":\"no\"}}"),
                (429, "application/json; charset=utf-8", b"{\"error\":{}}"),
                (500, "text/html", b"<html>broken</html>"),
                (503, "text/plain", b""),
                (200, "audio/mpeg", &binary),
                (204, "application/json", b""),
                (302, "text/plain", b"elsewhere"),
            ] {
                // Each of a model of its own: one that is throttled is not asked for again soon.
                let request = format!(r#"{{"model":"{down:?}-{status}","input":"x"}}"#);
                let mut client = lab.post(down, "/v1/audio/speech", &request);
                lab.upstream.next().answer(status, &[("content-type", content_type)], body);
                let head = client.head();
                assert_eq!(head.status(), status, "{up:?} {down:?}");
                assert_eq!(head.get("content-type"), Some(content_type));
                assert_eq!(head.get("x-millstream-attempts"), Some("1"));
                let rest = client.rest();
                assert!(rest.bytes == body && rest.whole, "{status} {content_type} {up:?} {down:?}");
            }
        }
        lab.until_idle();
    }
}

#[test]
fn headers_of_one_hop_stay_on_it() {
    let lab = Setup::new().lab(Http::One);
    let mut client = lab.client();
    let fields = [
        ("authorization", "Bearer client-canary-key-000"),
        ("accept-encoding", "gzip, br"),
        ("connection", "x-private"),
        ("x-private", "1"),
        ("te", "trailers"),
        ("cookie", "c=1"),
        ("x-api-key", "client-canary"),
        ("openai-beta", "assistants=v2"),
        ("x-request-id", "client-id-1"),
        ("content-type", "application/json"),
    ];
    client.ask("POST", CHAT_PATH, &fields, CHAT.as_bytes());
    let mut exchange = lab.upstream.next();
    let sent = exchange.head.clone();
    assert_eq!(sent.first, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(sent.get("authorization"), Some("Bearer sk-upstream-canary-0123456789"));
    assert_eq!(sent.get("accept-encoding"), Some("identity"));
    assert_eq!(sent.get("openai-beta"), Some("assistants=v2"));
    assert_eq!(sent.get("host"), Some(&*lab.upstream.address().to_string()));
    for gone in ["x-private", "te", "cookie", "x-api-key", "connection"] {
        assert_eq!(sent.get(gone), None, "{gone}");
    }
    assert!(!format!("{sent:?}").contains("client-canary"));

    exchange.begin(
        200,
        &[
            ("content-type", "text/event-stream"),
            ("set-cookie", "s=1"),
            ("x-request-id", "req_up"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("openai-processing-ms", "7"),
            ("cache-control", "public"),
        ],
    );
    exchange.send(DONE);
    exchange.end();
    let (head, _) = client.answer();
    for gone in ["set-cookie", "x-hop", "keep-alive"] {
        assert_eq!(head.get(gone), None, "{gone}");
    }
    assert_eq!(head.get("x-request-id"), Some("client-id-1"));
    assert_eq!(head.get("x-upstream-request-id"), Some("req_up"));
    assert_eq!(head.get("x-accel-buffering"), Some("no"));
    assert_eq!(head.get("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(head.get("openai-processing-ms"), Some("7"));
}

#[test]
fn a_request_without_an_id_gets_one() {
    let lab = Setup::new().lab(Http::One);
    let (first, _) = lab.client().get("/v1/models");
    let (second, _) = lab.client().get("/v1/models");
    let id = |head: &Head| head.get("x-request-id").expect("an id").to_owned();
    assert_ne!(id(&first), id(&second));
    assert_eq!(id(&first).len(), 36);
}

fn renaming() -> Lab {
    let routes = "[[routes]]\nmodel = \"alias\"\ntargets = [{ upstream = \"up\", model = \"real-name\" }]\n\
                  [[routes]]\nmodel = \"*\"\ntargets = [\"up\"]";
    Setup::new().tables(routes).lab(Http::One)
}

#[test]
fn the_model_is_renamed_in_place_and_nothing_else_changes() {
    let lab = renaming();
    let body = "{ \"temperature\" : 1.0, \"big\":12345678901234567890.10e+2,\"model\" : \"alias\",\t\"x\":{\"model\":\"alias\"},\"e\":\"\\u00e9\" }\n";
    let mut client = lab.client();
    client.post("/v1/embeddings", body);
    let exchange = lab.upstream.next();
    assert_eq!(exchange.text(), body.replacen("\"alias\"", "\"real-name\"", 1));
    exchange.answer(200, &[], b"{}");
    client.answer();
}

#[test]
fn forms_are_routed_by_their_model_and_renamed() {
    let lab = renaming();
    let form = |model: &str| {
        format!(
            "--bound\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\ncontent-type: audio/wav\r\n\r\nRIFF\0\r\n--boun\r\n--bound\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--bound--\r\n"
        )
    };
    let mut client = lab.client();
    let fields = [("content-type", "multipart/form-data; boundary=bound")];
    client.ask("POST", "/v1/audio/transcriptions", &fields, form("alias").as_bytes());
    let exchange = lab.upstream.next();
    assert_eq!(exchange.text(), form("real-name"));
    assert_eq!(exchange.head.get("content-type"), Some(fields[0].1));
    exchange.answer(200, &[("content-type", "text/plain")], b"words");
    assert_eq!(client.answer().1.text(), "words");
}

#[test]
fn usage_is_asked_for_and_its_chunk_removed() {
    let lab = Setup::new().lab(Http::One);
    let usage = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n";
    let asking = CHAT.replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    for (body, kept) in [(CHAT, false), (&*asking, true)] {
        let mut client = lab.client();
        client.post(CHAT_PATH, body);
        let mut exchange = lab.upstream.next();
        assert_eq!(exchange.text().matches("\"include_usage\":true").count(), 1);
        assert_eq!(exchange.text() == body, kept);
        exchange.begin_events();
        exchange.send([&token("a"), STOP, usage, DONE].concat());
        exchange.end();
        let expected =
            if kept { [&token("a"), STOP, usage, DONE].concat() } else { [&token("a"), STOP, DONE].concat() };
        assert_eq!(client.answer().1.text(), expected);
    }
    let tokens = "millstream_tokens_total{upstream=\"up\",direction=\"output\",source=\"provider\"}";
    lab.gateway.until(tokens, |gateway| gateway.metric(tokens) == 8.0);
}

#[test]
fn paths_without_a_model_go_to_the_default_upstream() {
    let lab = Setup::new().lab(Http::One);
    for (method, path) in [
        ("GET", "/v1/files?purpose=batch&limit=2"),
        ("POST", "/v1/batches"),
        ("GET", "/v1/batches/b_1"),
        ("GET", "/v1/responses/resp_1?include%5B%5D=a"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/chat/completions?api-version=1"),
    ] {
        let mut client = lab.client();
        client.ask(method, path, &[("content-type", "application/json")], br#"{"model":"m"}"#);
        let exchange = lab.upstream.next();
        assert_eq!(exchange.head.first, format!("{method} {path} HTTP/1.1"));
        exchange.answer(200, &[("content-type", "application/json")], b"{}");
        assert_eq!(client.answer().1.text(), "{}");
    }
}

#[test]
fn models_come_from_the_routes() {
    let lab = renaming();
    let (head, list) = lab.client().get("/v1/models");
    assert_eq!((head.status(), head.get("content-type")), (200, Some("application/json")));
    let list: serde_json::Value = serde_json::from_slice(&list.bytes).expect("JSON");
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"].as_array().expect("a list").len(), 1, "globs are no models");
    assert_eq!(list["data"][0]["id"], "alias");
    let (_, item) = lab.client().get("/v1/models/alias");
    assert!(item.text().contains("\"alias\""));
    let (head, item) = lab.client().get("/v1/models/none");
    assert_eq!(head.status(), 404);
    assert!(item.text().contains("model_not_found"));
    assert!(lab.upstream.is_unasked());
}

#[test]
fn unknown_paths_and_methods_have_their_form() {
    let lab = Setup::new().lab(Http::One);
    for (method, path, status, code) in [
        ("GET", "/v1/nothing", 404, "unknown_url"),
        ("GET", "/", 404, "unknown_url"),
        ("POST", "/v1/chat/completions/", 404, "unknown_url"),
        ("POST", "/v1/../v1/chat/completions", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "method_not_supported"),
        ("DELETE", "/v1/embeddings", 405, "method_not_supported"),
    ] {
        let mut client = lab.client();
        client.ask(method, path, &[], b"");
        let (head, rest) = client.answer();
        assert_eq!(head.status(), status, "{method} {path}");
        assert_eq!(head.get("allow").is_some(), status == 405);
        let body: serde_json::Value = serde_json::from_slice(&rest.bytes).expect("JSON");
        assert_eq!(body["error"]["code"], code);
        assert_eq!(body["error"]["type"], "invalid_request_error");
        assert_eq!(body["error"]["request_id"], head.get("x-request-id").expect("an id"));
    }
}
