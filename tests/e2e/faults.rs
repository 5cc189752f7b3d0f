//! Upstreams that break, stall or end too soon: told in the client's dialect, and never as a success.

use serde_json::Value;

use crate::support::client::Reader;
use crate::support::setup::{CHAT, DONE, Lab, STOP, Setup, token};
use crate::support::upstream::Http;

const BOTH: [Http; 2] = [Http::One, Http::Two];
const RESPONSES: &str = r#"{"model":"m","stream":true,"input":"x"}"#;

/// The chat error event at the end of `text`, whose beginning must be `before`.
fn error_after(text: &str, before: &str) -> Value {
    let rest = text.strip_prefix(before).unwrap_or_else(|| panic!("{text:?} does not begin with {before:?}"));
    let event = rest.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n"));
    let body: Value = serde_json::from_str(event.unwrap_or_else(|| panic!("{rest:?}"))).expect("JSON");
    assert!(!text.contains("[DONE]"));
    body["error"].clone()
}

fn ends_in(client: &mut dyn Reader, before: &str, code: &str) {
    let rest = client.rest();
    assert_eq!(error_after(&rest.text(), before)["code"], code);
    assert!(rest.whole, "the transfer itself ends cleanly");
}

#[test]
fn a_cut_at_any_place_is_an_error_event() {
    let (first, second) = (token("one"), token("two"));
    let sent = [&*first, &second].concat();
    for up in BOTH {
        let lab = Setup::new().lab(up);
        let at = [0, 1, first.len() - 1, first.len(), first.len() + 1, sent.len() - 1, sent.len()];
        for (down, reset) in [(Http::One, false), (Http::One, true), (Http::Two, false), (Http::Two, true)] {
            for &at in &at {
                let mut client = lab.chat(down);
                let mut exchange = lab.upstream.next();
                exchange.begin_events();
                let mut before = String::new();
                if at > 0 {
                    exchange.send(&sent[..at]);
                }
                client.head();
                // A reset may overtake what was sent before it: what is whole has to be seen first.
                for _ in 0..at / first.len() {
                    before += &client.event();
                }
                exchange.cut(reset);
                ends_in(&mut *client, "", "stream_truncated");
                assert_eq!(before, sent[..at / first.len() * first.len()], "{up:?} {down:?} {reset} {at}");
            }
        }
        lab.until_idle();
    }
}

#[test]
fn a_clean_end_without_evidence_is_an_error_event() {
    for up in BOTH {
        let lab = Setup::new().lab(up);
        for down in BOTH {
            let mut client = lab.chat(down);
            let mut exchange = lab.upstream.next();
            exchange.begin_events();
            exchange.send(token("a"));
            exchange.end();
            client.head();
            ends_in(&mut *client, &token("a"), "stream_truncated");
        }
        // A finish reason is evidence where the framing has an end of its own.
        let mut client = lab.chat(Http::One);
        let mut exchange = lab.upstream.next();
        exchange.begin_events();
        exchange.send([&token("a"), STOP].concat());
        exchange.end();
        client.head();
        let rest = client.rest();
        assert!(rest.whole && rest.text() == [&token("a"), STOP].concat(), "no [DONE] is forged");
    }
}

#[test]
fn short_lengths_and_closed_connections_are_errors() {
    let lab = Setup::new().lab(Http::One);
    for (framing, body) in [
        ("content-length: 100000", [&token("a"), ""].concat()),
        ("connection: close", [&token("a"), ""].concat()),
        ("connection: close", [&token("a"), STOP].concat()),
    ] {
        let mut client = lab.chat(Http::One);
        let mut exchange = lab.upstream.next();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{framing}\r\n\r\n{body}");
        exchange.wire().send(head.as_bytes()).expect("read");
        exchange.close();
        client.head();
        ends_in(&mut *client, &body, "stream_truncated");
    }
    let mut client = lab.client();
    client.post("/v1/embeddings", r#"{"model":"m"}"#);
    let mut exchange = lab.upstream.next();
    exchange.wire().send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345").expect("read");
    exchange.close();
    assert_eq!(client.head().status(), 200);
    assert!(!client.rest().whole, "an answer that is cut is not made whole");
}

#[test]
fn the_responses_dialect_has_an_event_of_its_own() {
    for up in BOTH {
        let lab = Setup::new().lab(up);
        let mut client = lab.post(Http::One, "/v1/responses", RESPONSES);
        let mut exchange = lab.upstream.next();
        exchange.begin_events();
        let created = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":4}\n\n";
        exchange.send(created);
        client.head();
        assert_eq!(client.event(), created);
        exchange.reset();
        let rest = client.rest();
        let text = rest.text();
        let data = text.strip_prefix("event: error\ndata: ").expect("an error event");
        let event: Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(event["type"], "error");
        assert_eq!(event["code"], "stream_truncated");
        assert_eq!(event["sequence_number"], 5);
        assert!(rest.whole);
        lab.until_ended("responses", "upstream_error");
    }
}

// --------------------------------------------------------------------------------------------------- clocks

fn stalled(lab: &Lab, silent_after: Option<&str>, reason: &str) {
    for down in BOTH {
        let mut client = lab.chat(down);
        let mut exchange = lab.upstream.next();
        if let Some(sent) = silent_after {
            exchange.begin_events();
            exchange.send(sent);
        }
        let head = client.head();
        if head.status() == 200 {
            ends_in(&mut *client, silent_after.unwrap_or_default(), "upstream_timeout");
        } else {
            assert_eq!(head.status(), 504);
            assert!(client.rest().text().contains("upstream_timeout"));
        }
        exchange.until_given_up();
    }
    let sample = format!("millstream_stream_ends_total{{endpoint=\"chat_completions\",reason=\"{reason}\"}}");
    if !reason.is_empty() {
        lab.gateway.until(&sample, |gateway| gateway.metric(&sample) == 2.0);
    }
    lab.until_idle();
}

#[test]
fn the_first_token_has_a_deadline_before_the_head() {
    for up in BOTH {
        stalled(&Setup::new().stream("first_token_timeout = \"150ms\"").lab(up), None, "");
    }
}

#[test]
fn the_first_token_has_a_deadline_after_the_head() {
    for up in BOTH {
        let lab = Setup::new().stream("first_token_timeout = \"150ms\"").lab(up);
        stalled(&lab, Some(": here\n\n"), "ttft_timeout");
    }
}

#[test]
fn the_first_token_has_a_deadline_after_an_early_head() {
    let stream = "first_token_timeout = \"300ms\"\nearly_head_after = \"100ms\"\nkeep_alive = \"off\"";
    for up in BOTH {
        stalled(&Setup::new().stream(stream).lab(up), None, "ttft_timeout");
    }
}

#[test]
fn silence_and_length_are_bounded() {
    for up in BOTH {
        let lab = Setup::new().stream("idle_timeout = \"150ms\"").lab(up);
        stalled(&lab, Some(&token("a")), "idle_timeout");
        let lab = Setup::new().stream("total_timeout = \"1s\"").lab(up);
        stalled(&lab, Some(&token("a")), "total_timeout");
    }
}

const EARLY: &str = "early_head_after = \"100ms\"\nkeep_alive = \"1s\"";
const COMMENT: &str = ": keep-alive\n\n";

#[test]
fn a_silent_upstream_is_bridged_by_an_early_head_and_comments() {
    for up in BOTH {
        let lab = Setup::new().stream(EARLY).lab(up);
        for down in BOTH {
            let mut client = lab.chat(down);
            let mut exchange = lab.upstream.next();
            let head = client.head();
            assert_eq!(head.status(), 200);
            assert_eq!(head.get("content-type"), Some("text/event-stream; charset=utf-8"));
            assert_eq!(head.get("x-accel-buffering"), Some("no"));
            assert!(head.get("x-request-id").is_some());
            assert_eq!(client.event(), COMMENT);
            exchange.begin_events();
            exchange.send(token("late"));
            assert_eq!(client.event(), token("late"));
            exchange.send(DONE);
            exchange.end();
            let rest = client.rest();
            assert!(rest.whole && rest.text() == DONE);
        }
    }
}

#[test]
fn comments_stand_between_events_only() {
    let lab = Setup::new().stream(EARLY).lab(Http::One);
    let mut client = lab.chat(Http::One);
    let mut exchange = lab.upstream.next();
    exchange.begin_events();
    let whole = token("in the midst");
    assert_eq!(client.head().status(), 200);
    for at in [1, 10, whole.len() - 1] {
        exchange.send(&whole[..at]);
        // Comments come while the event is incomplete, and none of it does.
        assert_eq!(client.event(), COMMENT);
        exchange.send(&whole[at..]);
        assert_eq!(client.event(), whole);
    }
}

#[test]
fn what_goes_wrong_after_an_early_head_is_an_event() {
    for up in BOTH {
        let lab = Setup::new().stream(EARLY).lab(up);
        for failure in ["json", "html", "close", "reset"] {
            let mut client = lab.chat(Http::One);
            let exchange = lab.upstream.next();
            assert_eq!(client.head().status(), 200);
            let json = br#"{"error":{"message":"too much","type":"server_error","param":null,"code":"x"}}"#;
            match failure {
                "json" => exchange.answer(500, &[("content-type", "application/json")], json),
                "html" => exchange.answer(500, &[("content-type", "text/html")], b"<html>\nno\n</html>"),
                "close" => exchange.close(),
                _ => exchange.reset(),
            }
            let rest = client.rest();
            let text = rest.text();
            let error = error_after(&text, "");
            if failure == "json" {
                assert_eq!((&error["message"], &error["code"]), (&"too much".into(), &"x".into()));
            } else {
                assert_eq!(error["code"], "upstream_error", "{failure} {text}");
            }
            assert!(rest.whole);
        }
        lab.until_idle();
    }
}

#[test]
fn an_early_head_is_for_streams_only() {
    let lab = Setup::new().stream(EARLY).lab(Http::One);
    let mut client = lab.client();
    client.post("/v1/chat/completions", &CHAT.replace("true", "false"));
    let exchange = lab.upstream.next();
    // Longer than an early head would take: a later stream has its own already.
    lab.chat(Http::One).head();
    exchange.answer(418, &[("content-type", "text/plain")], b"late");
    assert_eq!(client.answer().0.status(), 418);
}
