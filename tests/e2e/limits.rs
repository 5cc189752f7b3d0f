//! Keys and limits.

use serde_json::Value;

use crate::support::client::{Client, Leave, Reader, Rest};
use crate::support::setup::{CHAT, CHAT_PATH, DONE, Lab, Setup, token};
use crate::support::upstream::Http;
use crate::support::wire::Head;

const KEY: &str = "client-key-0123456789";

fn keyed(more: &str) -> Lab {
    Setup::new()
        .env("CLIENT_KEY", KEY)
        .tables(&format!("[[keys]]\nname = \"team\"\nkey_env = \"CLIENT_KEY\"\n{more}"))
        .lab(Http::One)
}

fn ask(lab: &Lab, authorization: Option<&str>, body: &str) -> Client {
    let mut client = lab.client();
    let fields: Vec<(&str, &str)> = authorization.map(|value| ("authorization", value)).into_iter().collect();
    client.ask("POST", CHAT_PATH, &fields, body.as_bytes());
    client
}

fn refused(client: &mut Client, status: u16, code: &str) -> (Head, Rest) {
    let (head, rest) = client.answer();
    assert_eq!(head.status(), status, "{}", rest.text());
    let body: Value = serde_json::from_slice(&rest.bytes).expect("JSON");
    assert_eq!(body["error"]["code"], code);
    (head, rest)
}

#[test]
fn nobody_unknown_gets_further() {
    let lab = keyed("");
    for authorization in [None, Some("Bearer wrong-key-0123456789"), Some("Basic x"), Some("Bearer ")] {
        refused(&mut ask(&lab, authorization, CHAT), 401, "invalid_api_key");
    }
    let (head, _) = lab.client().get("/v1/nothing");
    assert_eq!(head.status(), 401, "whatever the path");
    assert!(lab.upstream.is_unasked());
    let mut client = ask(&lab, Some(&format!("bearer {KEY}")), CHAT);
    let mut exchange = lab.upstream.next();
    exchange.begin_events();
    exchange.send(DONE);
    exchange.end();
    assert_eq!(client.answer().0.status(), 200);
}

#[test]
fn a_key_may_use_its_models_only() {
    let lab = keyed("models = [\"gpt-*\"]");
    let bearer = format!("Bearer {KEY}");
    refused(&mut ask(&lab, Some(&bearer), CHAT), 403, "permission_denied");
    let mut client = ask(&lab, Some(&bearer), r#"{"model":"gpt-1"}"#);
    lab.upstream.next().answer(200, &[], b"{}");
    assert_eq!(client.answer().0.status(), 200);
    let mut client = lab.client();
    client.ask("GET", "/v1/files", &[("authorization", &bearer)], b"");
    refused(&mut client, 403, "permission_denied");
}

#[test]
fn requests_per_minute_are_limited_and_told() {
    let bearer = format!("Bearer {KEY}");
    for (lab, limit) in [
        (keyed("requests_per_minute = 2"), "key_requests"),
        (keyed("[limits]\nrequests_per_minute = 2"), "global_requests"),
    ] {
        for left in ["1", "0"] {
            let mut client = ask(&lab, Some(&bearer), r#"{"model":"m"}"#);
            lab.upstream.next().answer(200, &[("x-ratelimit-remaining-requests", "9999")], b"{}");
            let (head, _) = client.answer();
            assert_eq!(head.get("x-ratelimit-limit-requests"), Some("2"));
            assert_eq!(head.get("x-ratelimit-remaining-requests"), Some(left));
            assert!(head.get("x-ratelimit-reset-requests").is_some());
        }
        let (head, _) = refused(&mut ask(&lab, Some(&bearer), CHAT), 429, "rate_limit_exceeded");
        let seconds: u32 = head.get("retry-after").expect("told").parse().expect("seconds");
        assert!((1..=30).contains(&seconds), "{seconds}");
        assert_eq!(head.get("x-ratelimit-remaining-requests"), Some("0"));
        let sample = format!("millstream_ratelimit_decisions_total{{limit=\"{limit}\",outcome=\"denied\"}}");
        assert_eq!(lab.gateway.metric(&sample), 1.0);
    }
}

#[test]
fn a_permit_is_held_until_the_body_ends() {
    let bearer = format!("Bearer {KEY}");
    for lab in [keyed("streams = 1"), keyed("[limits]\nstreams = 1")] {
        let mut first = ask(&lab, Some(&bearer), CHAT);
        let mut exchange = lab.upstream.next();
        exchange.begin_events();
        exchange.send(token("a"));
        first.head();
        first.event();
        let (head, _) = refused(&mut ask(&lab, Some(&bearer), CHAT), 429, "concurrency_limit_exceeded");
        assert!(head.get("retry-after").is_some());
        exchange.send(DONE);
        exchange.end();
        assert!(first.rest().whole);

        // And given back when the client aborts, in mid-stream or before anything came.
        for streaming in [true, false] {
            let mut second = Box::new(ask(&lab, Some(&bearer), CHAT));
            let mut exchange = lab.upstream.next();
            if streaming {
                exchange.begin_events();
                exchange.send(token("a"));
                second.head();
            }
            second.leave(Leave::Close);
            exchange.until_given_up();
            lab.until_idle();
        }
        let mut third = ask(&lab, Some(&bearer), CHAT);
        lab.upstream.next().answer(200, &[("content-type", "text/event-stream")], DONE.as_bytes());
        assert_eq!(third.answer().1.text(), DONE);
    }
}
