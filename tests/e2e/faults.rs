//! Upstreams that break, stall or end too soon: told in the client's dialect, and never as a success.

use serde_json::Value;

use crate::support::client::{Reader, Rest};
use crate::support::setup::{CHAT, DONE, Lab, STOP, Setup, token};
use crate::support::upstream::{Exchange, Http};

const BOTH: [Http; 2] = [Http::One, Http::Two];
const RESPONSES: &str = r#"{"model":"m","stream":true,"input":"x"}"#;
const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":4}\n\n";
const DELTA: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\",\"sequence_number\":5}\n\n";

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

/// An error in place of an answer: status, code, and that it took so many attempts.
fn refused(client: &mut dyn Reader, status: u16, code: &str, attempts: &str) -> Rest {
    let head = client.head();
    assert_eq!((head.status(), head.get("content-type")), (status, Some("application/json")));
    assert_eq!(head.get("x-millstream-attempts"), Some(attempts));
    let rest = client.rest();
    let body: Value = serde_json::from_slice(&rest.bytes).expect("JSON");
    assert_eq!(body["error"]["code"], code);
    assert!(rest.whole);
    rest
}

const CUTS: [(Http, bool); 4] = [(Http::One, false), (Http::One, true), (Http::Two, false), (Http::Two, true)];

#[test]
fn a_cut_at_any_place_is_an_error_event_after_the_first_token_and_a_502_before() {
    let (first, second) = (token("one"), token("two"));
    let sent = [&*first, &second].concat();
    let at = [0, 1, first.len() - 1, first.len(), first.len() + 1, sent.len() - 1, sent.len()];
    for up in BOTH {
        for (down, reset) in CUTS {
            let lab = Setup::new().unrepeated().lab(up);
            for &at in &at {
                let mut client = lab.chat(down);
                let mut exchange = lab.upstream.next();
                exchange.begin_events();
                if at > 0 {
                    exchange.send(&sent[..at]);
                }
                if at < first.len() {
                    exchange.cut(reset);
                    refused(&mut *client, 502, "upstream_error", "1");
                    continue;
                }
                assert_eq!(client.head().status(), 200);
                // A reset may overtake what was sent before it: what is whole has to be seen first.
                let before: String = (0..at / first.len()).map(|_| client.event()).collect();
                exchange.cut(reset);
                ends_in(&mut *client, "", "stream_truncated");
                assert_eq!(before, sent[..at / first.len() * first.len()], "{up:?} {down:?} {reset} {at}");
            }
            lab.until_idle();
            assert!(lab.upstream.is_unasked());
        }
    }
}

/// What providers send before they know whether they can answer.
const ROLE: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";

/// Repetitions that nothing but their number bounds.
const EAGER: &str = "[retry]\nbackoff = \"1ms\"\nbudget_floor = 1000";

#[test]
fn a_cut_before_the_first_token_is_made_good_and_nothing_of_it_is_seen() {
    let (first, answer) = (token("lost"), [&token("whole"), STOP, DONE].concat());
    for up in BOTH {
        let lab = Setup::new().tables(EAGER).steadfast().lab(up);
        for (down, reset) in CUTS {
            for sent in ["", &first[..1], &first[..first.len() - 1], ": hello\n\n", ROLE] {
                let mut client = lab.chat(down);
                let mut exchange = lab.upstream.next();
                exchange.begin_events();
                if !sent.is_empty() {
                    exchange.send(sent);
                }
                exchange.cut(reset);
                let mut exchange = lab.upstream.next();
                exchange.begin_events();
                exchange.send(&answer);
                exchange.end();
                let head = client.head();
                assert_eq!((head.status(), head.get("x-millstream-attempts")), (200, Some("2")));
                let rest = client.rest();
                assert!(rest.whole && rest.text() == answer, "{up:?} {down:?} {reset} {sent:?}: {}", rest.text());
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
    // What may be of use in part is passed on as it comes.
    let mut client = lab.client();
    client.post("/v1/embeddings", r#"{"model":"m"}"#);
    let mut exchange = lab.upstream.next();
    exchange.wire().send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345").expect("read");
    assert_eq!(client.head().status(), 200);
    exchange.close();
    assert!(!client.rest().whole, "an answer that is cut is not made whole");
    assert!(lab.upstream.is_unasked(), "nor asked for again");
}

#[test]
fn a_document_that_is_cut_is_a_502_or_asked_for_again() {
    let (path, request) = ("/v1/embeddings", r#"{"model":"m"}"#);
    let (json, document) = ([("content-type", "application/json")], br#"{"object":"list"}"#);
    for up in BOTH {
        for repeats in [false, true] {
            let setup = if repeats { Setup::new().tables(EAGER).steadfast() } else { Setup::new().unrepeated() };
            let lab = setup.lab(up);
            for (down, reset) in CUTS {
                for at in [0, 1, document.len()] {
                    let mut client = lab.post(down, path, request);
                    let mut exchange = lab.upstream.next();
                    exchange.begin(200, &json);
                    if at > 0 {
                        exchange.send(&document[..at]);
                    }
                    exchange.cut(reset);
                    if repeats {
                        lab.upstream.next().answer(200, &json, document);
                        let head = client.head();
                        assert_eq!((head.status(), head.get("x-millstream-attempts")), (200, Some("2")));
                        let rest = client.rest();
                        assert!(rest.whole && rest.bytes == document, "{up:?} {down:?} {reset} {at}");
                    } else {
                        refused(&mut *client, 502, "upstream_error", "1");
                    }
                }
            }
            lab.until_idle();
            assert!(lab.upstream.is_unasked());
        }
    }
}

#[test]
fn the_responses_dialect_has_an_event_of_its_own() {
    for up in BOTH {
        let lab = Setup::new().lab(up);
        let mut client = lab.post(Http::One, "/v1/responses", RESPONSES);
        let mut exchange = lab.upstream.next();
        exchange.begin_events();
        // What comes before the first token is kept for the client, and counts.
        exchange.send([CREATED, DELTA].concat());
        assert_eq!(client.head().status(), 200);
        assert_eq!([client.event(), client.event()], [CREATED, DELTA]);
        exchange.reset();
        let rest = client.rest();
        let text = rest.text();
        let data = text.strip_prefix("event: error\ndata: ").expect("an error event");
        let event: Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(event["type"], "error");
        assert_eq!(event["code"], "stream_truncated");
        assert_eq!(event["sequence_number"], 6);
        assert!(rest.whole);
        lab.until_ended("responses", "upstream_error");
    }
}

#[test]
fn a_response_that_is_only_created_is_not_begun() {
    for up in BOTH {
        let lab = Setup::new().tables(EAGER).lab(up);
        let mut client = lab.post(Http::One, "/v1/responses", RESPONSES);
        for _ in 0..2 {
            let mut exchange = lab.upstream.next();
            exchange.begin_events();
            exchange.send(CREATED);
            exchange.reset();
        }
        refused(&mut *client, 502, "upstream_error", "2");
        assert!(lab.upstream.is_unasked());
        lab.until_idle();
    }
}

// --------------------------------------------------------------------------------------------------- clocks

/// What a client sees of an upstream that has fallen silent.
enum Told {
    /// A 504.
    Status,
    /// So much of what the upstream sent, and an error event; and the end is counted for this reason.
    Event(&'static str, String),
}

fn stalled(lab: &Lab, silent_after: Option<&str>, told: &Told) {
    for down in BOTH {
        let mut client = lab.chat(down);
        let mut exchange = lab.upstream.next();
        if let Some(sent) = silent_after {
            exchange.begin_events();
            exchange.send(sent);
        }
        if let Told::Event(_, before) = told {
            assert_eq!(client.head().status(), 200);
            ends_in(&mut *client, before, "upstream_timeout");
        } else {
            refused(&mut *client, 504, "upstream_timeout", "1");
        }
        exchange.until_given_up();
        assert!(lab.upstream.is_unasked(), "who is silent is not asked again");
    }
    if let Told::Event(reason, _) = told {
        let sample = format!("millstream_stream_ends_total{{endpoint=\"chat_completions\",reason=\"{reason}\"}}");
        lab.gateway.until(&sample, |gateway| gateway.metric(&sample) == 2.0);
    }
    lab.until_idle();
}

#[test]
fn the_first_token_has_a_deadline_before_the_head() {
    for up in BOTH {
        stalled(&Setup::new().stream("first_token_timeout = \"150ms\"").lab(up), None, &Told::Status);
    }
}

#[test]
fn the_first_token_has_a_deadline_after_the_head() {
    for up in BOTH {
        for sent in [": here\n\n", ROLE, "data: {\"choices\""] {
            let lab = Setup::new().stream("first_token_timeout = \"150ms\"").lab(up);
            stalled(&lab, Some(sent), &Told::Status);
        }
    }
}

#[test]
fn the_first_token_has_a_deadline_however_much_is_sent_before() {
    for up in BOTH {
        let stream = "first_token_timeout = \"200ms\"\ncommit_bytes_max = \"16MiB\"";
        let lab = Setup::new().unrepeated().stream(stream).lab(up);
        for _ in 0..5 {
            let mut client = lab.chat(Http::One);
            let mut exchange = lab.upstream.next();
            exchange.begin_events();
            let sender = std::thread::spawn(move || while exchange.try_send(":\n\n").is_ok() {});
            refused(&mut *client, 504, "upstream_timeout", "1");
            sender.join().expect("sent until it was given up");
        }
        lab.until_idle();
        assert!(lab.upstream.is_unasked());
    }
}

#[test]
fn the_first_token_has_a_deadline_after_an_early_head() {
    let stream = "first_token_timeout = \"300ms\"\nearly_head_after = \"100ms\"\nkeep_alive = \"off\"";
    for up in BOTH {
        for sent in [None, Some(": here\n\n"), Some(ROLE)] {
            // What was not begun is not told of.
            let told = Told::Event("ttft_timeout", String::new());
            stalled(&Setup::new().stream(stream).lab(up), sent, &told);
        }
    }
}

#[test]
fn silence_and_length_are_bounded() {
    for up in BOTH {
        let lab = Setup::new().stream("idle_timeout = \"150ms\"").lab(up);
        stalled(&lab, Some(&token("a")), &Told::Event("idle_timeout", token("a")));
        let lab = Setup::new().stream("total_timeout = \"1s\"").lab(up);
        stalled(&lab, Some(&token("a")), &Told::Event("total_timeout", token("a")));
        // Before the first token, where that has no clock of its own.
        let lab = Setup::new().stream("first_token_timeout = \"off\"\nidle_timeout = \"150ms\"").lab(up);
        stalled(&lab, Some(ROLE), &Told::Status);
        let lab = Setup::new().stream("first_token_timeout = \"off\"\ntotal_timeout = \"1s\"").lab(up);
        stalled(&lab, Some(ROLE), &Told::Status);
    }
}

#[test]
fn a_document_that_stops_in_its_midst_is_a_504() {
    for (clock, up) in [("idle_timeout", Http::One), ("idle_timeout", Http::Two), ("response_timeout", Http::One)]
    {
        let lab = Setup::new().stream(&format!("{clock} = \"150ms\"")).lab(up);
        let mut client = lab.post(Http::One, "/v1/embeddings", r#"{"model":"m"}"#);
        let mut exchange = lab.upstream.next();
        exchange.begin(200, &[("content-type", "application/json")]);
        exchange.send("{\"object\":");
        refused(&mut *client, 504, "upstream_timeout", "1");
        exchange.until_given_up();
        assert!(lab.upstream.is_unasked());
        lab.until_idle();
    }
}

#[test]
fn as_much_as_may_be_held_back_is_passed_on_before_the_first_token() {
    let comment = format!(": {}\n\n", "x".repeat(1000));
    let sent = comment.repeat(3);
    for up in BOTH {
        let stream = "first_token_timeout = \"500ms\"\ncommit_bytes_max = \"2KiB\"";
        let lab = Setup::new().unrepeated().stream(stream).lab(up);
        for down in BOTH {
            let mut client = lab.chat(down);
            let mut exchange = lab.upstream.next();
            exchange.begin_events();
            exchange.send(&sent);
            assert_eq!(client.head().status(), 200);
            ends_in(&mut *client, &sent, "upstream_timeout");
            exchange.until_given_up();
        }
        lab.until_idle();
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
fn an_early_head_does_not_hurry_the_first_token() {
    let stream = "early_head_after = \"100ms\"\nidle_timeout = \"200ms\"\nkeep_alive = \"500ms\"";
    for up in BOTH {
        let lab = Setup::new().stream(stream).lab(up);
        let mut client = lab.chat(Http::One);
        let mut exchange = lab.upstream.next();
        assert_eq!(client.head().status(), 200);
        // Longer than it may be silent in the midst of a stream, before its head and after it.
        assert_eq!(client.event(), COMMENT);
        exchange.begin_events();
        exchange.send(ROLE);
        assert_eq!(client.event(), COMMENT);
        exchange.send(token("late"));
        assert_eq!([client.event(), client.event()], [ROLE.to_owned(), token("late")]);
        ends_in(&mut *client, "", "upstream_timeout");
        lab.until_ended("chat_completions", "idle_timeout");
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

const FAILURES: [&str; 4] = ["json", "html", "close", "reset"];

fn fail(exchange: Exchange, failure: &str) {
    let json = br#"{"error":{"message":"too much","type":"server_error","param":null,"code":"x"}}"#;
    match failure {
        "json" => exchange.answer(500, &[("content-type", "application/json")], json),
        "html" => exchange.answer(500, &[("content-type", "text/html")], b"<html>\nno\n</html>"),
        "close" => exchange.close(),
        _ => exchange.reset(),
    }
}

#[test]
fn what_goes_wrong_after_an_early_head_is_made_good_unseen() {
    let answer = [&token("late"), STOP, DONE].concat();
    for up in BOTH {
        let lab = Setup::new().stream(EARLY).tables(EAGER).lab(up);
        for failure in FAILURES {
            let mut client = lab.chat(Http::One);
            let exchange = lab.upstream.next();
            let head = client.head();
            assert_eq!(
                (head.status(), head.get("x-millstream-attempts")),
                (200, Some("1")),
                "as far as it is known"
            );
            fail(exchange, failure);
            let mut exchange = lab.upstream.next();
            exchange.begin_events();
            exchange.send(&answer);
            exchange.end();
            let rest = client.rest();
            assert!(rest.whole && rest.text().replace(COMMENT, "") == answer, "{failure} {}", rest.text());
        }
        lab.until_idle();
    }
}

#[test]
fn what_goes_wrong_after_an_early_head_is_an_event() {
    for up in BOTH {
        let lab = Setup::new().stream(EARLY).unrepeated().lab(up);
        for failure in FAILURES {
            let mut client = lab.chat(Http::One);
            let exchange = lab.upstream.next();
            assert_eq!(client.head().status(), 200);
            fail(exchange, failure);
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
