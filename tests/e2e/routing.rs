//! Which upstream gets a request, and what happens when it can't have it.

use serde_json::Value;

use crate::support::client::{Client, Reader, Rest};
use crate::support::setup::{CHAT, CHAT_PATH, DONE, Setup};
use crate::support::upstream::{Http, Upstream, nobody};

const UNARY: &str = r#"{"model":"m","input":"x"}"#;

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

#[test]
fn a_request_that_was_sent_is_never_sent_again() {
    for http in [Http::One, Http::Two] {
        for reset in [false, true] {
            let (first, second) = (Upstream::start(http), Upstream::start(Http::One));
            let more = if http == Http::Two { "protocol = \"http2\"" } else { "" };
            let gateway = Setup::new()
                .upstream("first", first.address(), more)
                .upstream("second", second.address(), "")
                .tables("[[routes]]\nmodel = \"*\"\ntargets = [\"first\", \"second\"]")
                .start();
            let mut client = Client::connect(gateway.address(0));
            client.post("/v1/embeddings", UNARY);
            let exchange = first.next();
            exchange.cut(reset);
            let (head, rest) = client.answer();
            assert_eq!(head.status(), 502, "{http:?} {reset}");
            assert_eq!(error(&rest)["code"], "upstream_error");
            assert!(second.is_unasked() && first.is_unasked());
            assert_eq!(gateway.metric("millstream_fallbacks_total{upstream=\"first\"}"), 0.0);
        }
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
