//! Which upstream gets a request, and what happens when it can't have it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Gateway;
use crate::support::client::{Client, Piece, Reader, Rest};
use crate::support::setup::{CHAT, CHAT_PATH, DONE, STOP, Setup, token};
use crate::support::upstream::{Exchange, Http, Upstream, nobody};
use crate::support::wire::Head;

const UNARY: &str = r#"{"model":"m","input":"x"}"#;
const EMBEDDINGS: &str = "/v1/embeddings";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const BOTH: [Http; 2] = [Http::One, Http::Two];

/// A gateway that asks the second where the first fails.
struct Pair {
    first: Upstream,
    second: Upstream,
    gateway: Gateway,
}

impl Pair {
    /// `http` is spoken by the first.
    fn new(http: Http, setup: Setup) -> Self {
        let (first, second) = (Upstream::start(http), Upstream::start(Http::One));
        let more = if http == Http::Two { "protocol = \"http2\"" } else { "" };
        let gateway = setup
            .upstream("first", first.address(), more)
            .upstream("second", second.address(), "")
            .tables("[[routes]]\nmodel = \"*\"\ntargets = [\"first\", \"second\"]")
            .start();
        Self { first, second, gateway }
    }

    fn post(&self, path: &str, body: &str) -> Client {
        let mut client = Client::connect(self.gateway.address(0));
        client.post(path, body);
        client
    }

    fn fallbacks(&self) -> f64 {
        self.gateway.metric("millstream_fallbacks_total{upstream=\"first\"}")
    }

    fn assert_unasked(&self) {
        assert!(self.first.is_unasked() && self.second.is_unasked());
    }
}

/// Who answers, after how many attempts.
fn origin(head: &Head) -> (&str, &str) {
    let text = |name| head.get(name).expect("every answer of an upstream has it");
    (text("x-millstream-upstream"), text("x-millstream-attempts"))
}

fn stream(mut exchange: Exchange, text: &str) {
    exchange.begin_events();
    exchange.send(text);
    exchange.end();
}

fn error(rest: &Rest) -> Value {
    let body: Value = serde_json::from_slice(&rest.bytes).expect("JSON");
    body["error"].clone()
}

#[test]
fn a_refused_connection_goes_to_the_next_target() {
    let (_taken, refusing) = nobody();
    for http in [Http::One, Http::Two] {
        let second = Upstream::start(http);
        let more = if http == Http::Two { "protocol = \"http2\"" } else { "" };
        let routes =
            "[[routes]]\nmodel = \"m\"\ntargets = [\"first\", { upstream = \"second\", model = \"other\" }]";
        let gateway = Setup::new()
            .upstream("first", refusing, "")
            .upstream("second", second.address(), more)
            .tables(routes)
            .start();
        let mut client = Client::connect(gateway.address(0));
        client.post(CHAT_PATH, CHAT);
        let mut exchange = second.next();
        assert!(exchange.text().contains("\"model\":\"other\""));
        exchange.begin_events();
        exchange.send(DONE);
        exchange.end();
        assert_eq!(client.answer().1.text(), DONE);
        assert_eq!(gateway.metric("millstream_fallbacks_total{upstream=\"first\"}"), 1.0);
        assert_eq!(
            gateway.metric("millstream_upstream_failures_total{upstream=\"first\",phase=\"connect\"}"),
            1.0
        );
    }
}

// ----------------------------------------------------------------------------------------------- once more

#[test]
fn a_request_that_breaks_before_its_answer_goes_to_the_next_target() {
    for http in BOTH {
        for reset in [false, true] {
            let pair = Pair::new(http, Setup::new());
            let mut client = pair.post(EMBEDDINGS, UNARY);
            let exchange = pair.first.next();
            assert_eq!(exchange.text(), UNARY);
            exchange.cut(reset);
            let exchange = pair.second.next();
            assert_eq!(exchange.text(), UNARY);
            for own in ["x-millstream-upstream", "x-millstream-attempts"] {
                assert_eq!(exchange.head.get(own), None);
            }
            exchange.answer(200, &JSON, b"{}");
            let (head, rest) = client.answer();
            assert_eq!((head.status(), rest.text()), (200, "{}".to_owned()), "{http:?} {reset}");
            assert_eq!(origin(&head), ("second", "2"));
            assert_eq!(pair.fallbacks(), 1.0);
            pair.assert_unasked();
        }
    }
}

#[test]
fn a_500_goes_to_the_next_target_and_the_last_answer_is_passed_on_unchanged() {
    let (streaming, unary) = ((CHAT_PATH, CHAT), (EMBEDDINGS, UNARY));
    for http in BOTH {
        for (path, body) in [streaming, unary] {
            let pair = Pair::new(http, Setup::new().unrepeated());
            let mut client = pair.post(path, body);
            pair.first.next().answer(500, &JSON, br#"{"error":{"message":"first"}}"#);
            let said = b"<html>\r\nnot today\r\n</html>";
            pair.second.next().answer(502, &[("content-type", "text/html"), ("x-said", "yes")], said);
            let (head, rest) = client.answer();
            assert_eq!(head.status(), 502);
            assert_eq!((head.get("content-type"), head.get("x-said")), (Some("text/html"), Some("yes")));
            assert!(rest.bytes == said && rest.whole, "{}", rest.text());
            assert_eq!(origin(&head), ("second", "2"));
            pair.assert_unasked();

            // And where the second can answer, nothing of the first is seen.
            let mut client = pair.post(path, body);
            pair.first.next().answer(500, &[("x-said", "yes")], b"first");
            let exchange = pair.second.next();
            if body == CHAT {
                stream(exchange, DONE);
            } else {
                exchange.answer(200, &JSON, b"{}");
            }
            let (head, rest) = client.answer();
            assert_eq!((head.status(), head.get("x-said"), origin(&head)), (200, None, ("second", "2")));
            assert_eq!(rest.text(), if body == CHAT { DONE } else { "{}" });
            pair.assert_unasked();
        }
    }
}

#[test]
fn the_last_target_is_asked_once_more_and_no_other() {
    let pair = Pair::new(Http::One, Setup::new());
    for answers in [false, true] {
        let mut client = pair.post(EMBEDDINGS, UNARY);
        pair.first.next().answer(500, &JSON, b"{\"from\":1}");
        pair.second.next().answer(500, &JSON, b"{\"from\":2}");
        pair.second.next().answer(if answers { 200 } else { 503 }, &JSON, b"{\"from\":3}");
        let (head, rest) = client.answer();
        assert_eq!((head.status(), origin(&head)), (if answers { 200 } else { 503 }, ("second", "3")));
        assert_eq!(rest.text(), "{\"from\":3}");
        pair.assert_unasked();
    }
}

#[test]
fn a_first_event_that_is_an_error_goes_to_the_next_target_and_a_later_one_does_not() {
    let error = "data: {\"error\":{\"message\":\"overheated\",\"type\":\"server_error\",\"code\":\"hot\"}}\n\n";
    let whole = [&token("a"), STOP, DONE].concat();
    for http in BOTH {
        let pair = Pair::new(http, Setup::new());
        for preamble in ["", ": processing\n\n"] {
            let mut client = pair.post(CHAT_PATH, CHAT);
            stream(pair.first.next(), &[preamble, error, DONE].concat());
            stream(pair.second.next(), &whole);
            let (head, rest) = client.answer();
            assert_eq!((head.status(), origin(&head), rest.text()), (200, ("second", "2"), whole.clone()));
        }
        let mut client = pair.post(CHAT_PATH, CHAT);
        let mut exchange = pair.first.next();
        exchange.begin_events();
        exchange.send(token("a"));
        let head = client.head();
        assert_eq!((head.status(), origin(&head), client.event()), (200, ("first", "1"), token("a")));
        exchange.send(error);
        exchange.end();
        assert_eq!(client.rest().text(), error);
        pair.assert_unasked();

        // Where everybody says so, the last is passed on.
        let mut client = pair.post(CHAT_PATH, CHAT);
        stream(pair.first.next(), error);
        let again = error.replace("hot", "hotter");
        stream(pair.second.next(), error);
        stream(pair.second.next(), &again);
        let (head, rest) = client.answer();
        assert_eq!((head.status(), origin(&head), rest.text()), (200, ("second", "3"), again));
        pair.assert_unasked();
    }
}

#[test]
fn who_throttles_is_left_alone_and_when_all_do_clients_are_told_when_to_come_back() {
    let pair = Pair::new(Http::One, Setup::new());
    let limited = [("content-type", "application/json"), ("retry-after", "60")];
    let mut client = pair.post(EMBEDDINGS, UNARY);
    pair.first.next().answer(429, &limited, b"{\"error\":{}}");
    pair.second.next().answer(200, &JSON, b"{}");
    let (head, _) = client.answer();
    assert_eq!((head.status(), origin(&head)), (200, ("second", "2")));

    let mut client = pair.post(EMBEDDINGS, UNARY);
    pair.second.next().answer(429, &limited, b"{\"error\":{\"message\":\"slow\"}}");
    let (head, rest) = client.answer();
    assert_eq!((head.status(), head.get("retry-after"), origin(&head)), (429, Some("60"), ("second", "1")));
    assert_eq!(rest.text(), "{\"error\":{\"message\":\"slow\"}}");

    let began = Instant::now();
    let (head, rest) = pair.post(EMBEDDINGS, UNARY).answer();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(head.status(), 503);
    let after: u64 = head.get("retry-after").expect("told").parse().expect("seconds");
    assert!((50..=60).contains(&after), "{after}");
    assert!(error(&rest)["code"].is_string(), "{}", rest.text());
    // Limits are those of a model.
    let mut client = pair.post(EMBEDDINGS, &UNARY.replace("\"m\"", "\"other\""));
    pair.first.next().answer(200, &JSON, b"{}");
    assert_eq!(origin(&client.answer().0), ("first", "1"));
    pair.assert_unasked();
}

// ---------------------------------------------------------------------------------------------- never again

/// A dialect: where it is spoken, what is sent before the first token, and what with and after it.
struct Dialect {
    path: &'static str,
    request: &'static str,
    before: &'static str,
    after: &'static str,
}

const DIALECTS: [Dialect; 3] = [
    Dialect {
        path: CHAT_PATH,
        request: CHAT,
        before: ": one\n\ndata: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
        after: "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\ndata: {\"id\":\"c\"",
    },
    Dialect {
        path: "/v1/completions",
        request: r#"{"model":"m","stream":true,"prompt":"x"}"#,
        before: ": one\r\n\r\n",
        after: "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null}]}\r\n\r\ndata: {\"id\":\"c\"",
    },
    Dialect {
        path: "/v1/responses",
        request: r#"{"model":"m","stream":true,"input":"x"}"#,
        before: "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0}\n\nevent: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"sequence_number\":1}\n\n",
        after: "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":2,\"delta\":\"a\"}\n\nevent: resp",
    },
];

/// Where the first event in `text` is whole: a CR alone ends its blank line.
fn first_event_end(text: &str) -> usize {
    ["\n\n", "\r\n\r"].into_iter().filter_map(|blank| Some(text.find(blank)? + blank.len())).min().expect("one")
}

#[test]
fn nothing_is_sent_again_after_the_first_token_wherever_the_stream_is_cut() {
    for http in BOTH {
        let pair = Pair::new(http, Setup::new().steadfast());
        let mut healthy = Client::connect(pair.gateway.address(0));
        for Dialect { path, request, before, after } in &DIALECTS {
            let sent = [*before, *after].concat();
            let token_end = before.len() + first_event_end(after);
            // Every seventh place, and the three around the commit point.
            let around = [token_end - 1, token_end, token_end + 1];
            for at in (0..=sent.len()).step_by(7).chain(around).chain([sent.len()]) {
                let mut client = pair.post(path, request);
                let mut exchange = pair.first.next();
                exchange.begin_events();
                if at > 0 {
                    exchange.send(&sent[..at]);
                }
                if at < token_end {
                    exchange.close();
                    stream(
                        pair.second.next(),
                        "data: {\"choices\":[],\"type\":\"response.completed\"}\n\ndata: [DONE]\n\n",
                    );
                    let (head, rest) = client.answer();
                    assert_eq!((head.status(), origin(&head)), (200, ("second", "2")), "{http:?} {path} {at}");
                    assert!(rest.whole && rest.text().starts_with("data: {\"choices\":[]"), "{}", rest.text());
                } else {
                    let head = client.head();
                    assert_eq!((head.status(), origin(&head)), (200, ("first", "1")), "{http:?} {path} {at}");
                    exchange.close();
                    let rest = client.rest();
                    let told = rest.text();
                    assert!(told.starts_with(&sent[..token_end]), "{http:?} {path} {at}: {told}");
                    assert_eq!(told.matches("\"error\":{\"message\"").count(), 1, "{http:?} {path} {at}: {told}");
                    assert!(
                        told.contains("\"code\":\"stream_truncated\"") && !told.contains("[DONE]") && rest.whole
                    );
                }
                pair.assert_unasked();
                // Which leaves the first as much asked as before.
                healthy.post(EMBEDDINGS, UNARY);
                pair.first.next().answer(200, &JSON, b"{}");
                assert_eq!(origin(&healthy.answer().0), ("first", "1"));
            }
        }
    }
}

#[test]
fn nothing_is_sent_again_once_something_that_is_no_stream_has_begun() {
    let held = "commit_bytes_max = \"1KiB\"";
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(4096));
    for http in BOTH {
        let pair = Pair::new(http, Setup::new().stream(held).steadfast());
        for (content_type, sent) in [
            // A sound may be heard while it comes, and a document that is longer than may be held is not held.
            ("audio/mpeg", "ID3"),
            ("application/json", &*long),
        ] {
            let mut client = pair.post("/v1/audio/speech", UNARY);
            let mut exchange = pair.first.next();
            exchange.begin(200, &[("content-type", content_type)]);
            exchange.send(sent);
            let head = client.head();
            assert_eq!((head.status(), origin(&head)), (200, ("first", "1")));
            let mut read = Vec::new();
            while read.len() < sent.len() {
                match client.piece() {
                    Piece::Bytes(bytes) => read.extend(bytes),
                    other => panic!("{other:?}"),
                }
            }
            exchange.cut(true);
            let rest = client.rest();
            assert!(read == sent.as_bytes() && rest.bytes.is_empty() && !rest.whole, "{http:?} {content_type}");
            pair.assert_unasked();
        }
    }
}

/// Requests that store or change something, and those like them that do not.
const STORING: [(&str, &str); 5] = [
    ("POST", "/v1/files"),
    ("POST", "/v1/batches"),
    ("POST", "/v1/batches/b_1/cancel"),
    ("POST", "/v1/responses/resp_1/cancel"),
    ("DELETE", "/v1/files/f_1"),
];
const READING: [(&str, &str); 3] =
    [("GET", "/v1/files"), ("GET", "/v1/batches/b_1"), ("GET", "/v1/responses/resp_1")];

/// A gateway whose default upstream has two keys, each of which is a target.
fn two_keys(http: Http) -> (Upstream, Gateway) {
    let upstream = Upstream::start(http);
    let more = if http == Http::Two { "protocol = \"http2\"" } else { "" };
    let config =
        Setup::new().env("A", "key-a-0123456789").env("B", "key-b-0123456789").steadfast().tables(&format!(
            "[[upstreams]]\nname = \"up\"\nbase_url = \"http://{}/v1\"\n{more}\n\
         keys = [{{ name = \"a\", key_env = \"A\" }}, {{ name = \"b\", key_env = \"B\" }}]",
            upstream.address()
        ));
    (upstream, config.start())
}

#[test]
fn what_stores_something_is_never_sent_again_once_it_was_seen() {
    let body = br#"{"input_file_id":"f","purpose":"batch"}"#;
    for http in BOTH {
        let (upstream, gateway) = two_keys(http);
        for (method, path) in STORING {
            for failure in ["500", "close", "reset", "cut"] {
                let mut client = Client::connect(gateway.address(0));
                client.ask(method, path, &JSON, body);
                let mut exchange = upstream.next();
                assert_eq!(
                    exchange.head.first.rsplit_once(' ').expect("a request line").0,
                    format!("{method} {path}")
                );
                match failure {
                    "500" => exchange.answer(500, &JSON, b"{\"error\":{\"message\":\"half done\"}}"),
                    "cut" => {
                        exchange.begin(200, &JSON);
                        exchange.send("{\"id\":");
                        exchange.close();
                    }
                    cut => exchange.cut(cut == "reset"),
                }
                let (head, rest) = client.answer();
                let expected = if failure == "500" { 500 } else { 502 };
                assert_eq!(
                    (head.status(), origin(&head)),
                    (expected, ("up", "1")),
                    "{http:?} {method} {path} {failure}"
                );
                assert!(rest.whole);
                if failure == "500" {
                    assert_eq!(rest.text(), "{\"error\":{\"message\":\"half done\"}}");
                }
                assert!(upstream.is_unasked(), "{http:?} {method} {path} {failure}");
            }
        }
        for (method, path) in READING {
            let mut client = Client::connect(gateway.address(0));
            client.ask(method, path, &[], b"");
            upstream.next().cut(true);
            upstream.next().answer(200, &JSON, b"{}");
            let (head, rest) = client.answer();
            assert_eq!((head.status(), origin(&head), rest.text()), (200, ("up", "2"), "{}".to_owned()), "{path}");
            assert!(upstream.is_unasked());
        }
    }
}

#[test]
fn the_clients_own_fault_is_asked_of_nobody_else() {
    let said =
        r#"{"error":{"message":"no such parameter","type":"invalid_request_error","param":"x","code":null}}"#;
    for http in BOTH {
        let pair = Pair::new(http, Setup::new());
        // More often than a breaker would bear, if it were the upstream's.
        for status in [400, 404, 405, 409, 413, 415, 418, 422] {
            for (path, body) in [(CHAT_PATH, CHAT), (EMBEDDINGS, UNARY)] {
                let mut client = pair.post(path, body);
                pair.first.next().answer(status, &[JSON[0], ("x-said", "yes")], said.as_bytes());
                let (head, rest) = client.answer();
                assert_eq!(
                    (head.status(), head.get("x-said"), origin(&head)),
                    (status, Some("yes"), ("first", "1"))
                );
                assert!(rest.text() == said && rest.whole, "{}", rest.text());
                pair.assert_unasked();
            }
        }
        assert_eq!(pair.fallbacks(), 0.0);
    }
}

#[test]
fn when_every_target_refuses_the_client_is_told() {
    let ((_one, first), (_two, second)) = (nobody(), nobody());
    let gateway = Setup::new()
        .upstream("first", first, "")
        .upstream("second", second, "")
        .tables("[[routes]]\nmodel = \"*\"\ntargets = [\"first\", \"second\"]")
        .start();
    let mut client = Client::connect(gateway.address(0));
    for (path, body) in [("/v1/embeddings", UNARY), (CHAT_PATH, CHAT)] {
        client.post(path, body);
        let (head, rest) = client.answer();
        assert_eq!(head.status(), 502);
        let error = error(&rest);
        assert_eq!((&error["code"], &error["type"]), (&"upstream_unreachable".into(), &"api_error".into()));
        assert!(!rest.text().contains("127.0.0.1"), "{}", rest.text());
    }
}

#[test]
fn exact_names_go_before_globs_and_unknown_ones_nowhere() {
    let (exact, glob) = (Upstream::start(Http::One), Upstream::start(Http::One));
    let routes = "[[routes]]\nmodel = \"gpt-*\"\ntargets = [\"glob\"]\n\
                  [[routes]]\nmodel = \"gpt-4\"\ntargets = [\"exact\"]";
    let gateway = Setup::new()
        .upstream("glob", glob.address(), "")
        .upstream("exact", exact.address(), "")
        .tables(routes)
        .start();
    let mut client = Client::connect(gateway.address(0));
    for (model, upstream) in [("gpt-4", &exact), ("gpt-4o", &glob)] {
        client.post("/v1/embeddings", &format!(r#"{{"model":"{model}"}}"#));
        upstream.next().answer(200, &[], b"{}");
        assert_eq!(client.answer().0.status(), 200);
    }
    client.post("/v1/embeddings", r#"{"model":"claude"}"#);
    let (head, rest) = client.answer();
    assert_eq!(head.status(), 404);
    assert_eq!(error(&rest)["code"], "model_not_found");
    assert_eq!(error(&rest)["param"], "model");
}

#[test]
fn unix_sockets_at_both_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let (up, down) = (folder.path().join("up.sock"), folder.path().join("down.sock"));
    let upstream = Upstream::unix(&up);
    let gateway = Setup::new()
        .server(&format!("workers = 2\npin = false\nlisten = \"unix:{}\"", down.display()))
        .upstream_at("up", &format!("unix:{}:/v1", up.display()), "")
        .start();
    for _ in 0..3 {
        let mut client = Client::connect_unix(&down);
        client.post(CHAT_PATH, CHAT);
        let mut exchange = upstream.next();
        assert_eq!(exchange.head.path(), CHAT_PATH);
        exchange.begin_events();
        exchange.send(DONE);
        assert_eq!((client.head().status(), client.event()), (200, DONE.to_owned()));
        exchange.end();
        assert!(client.rest().whole);
    }
    gateway.signal("TERM");
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    assert!(!down.exists(), "the socket's file is removed");
}
