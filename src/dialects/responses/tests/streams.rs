//! A provider's streams and whole answers.

use serde_json::json;

use super::*;
use crate::dialects::conversation::{Collector, Delta, Event, FailureKind};

fn events(pieces: &[&[u8]]) -> Vec<Event> {
    let mut decoder = PROVIDER.decoder(&Sent::default());
    let mut events = Vec::new();
    for piece in pieces {
        decoder.feed(piece, &mut events).expect("events");
    }
    // Inside an event it is an error, which adds nothing.
    if decoder.end(&mut events).is_err() {
        assert_ne!(events.last(), Some(&Event::End));
    }
    events
}

fn collected(body: &str) -> Answer {
    let mut collector = Collector::default();
    for event in events(&[body.as_bytes()]) {
        collector.event(event).expect("no failure");
    }
    collector.finish().expect("a whole answer")
}

fn whole(body: &str) -> Answer {
    PROVIDER.answer(&Sent::default(), body.as_bytes()).expect("an answer")
}

#[test]
fn every_stream_says_what_the_whole_answer_says() {
    for (stream, plain, expected) in [
        (golden!("text-stream"), golden!("text-plain"), "text(Hello there)[1] | Stop"),
        (
            golden!("thought-stream"),
            golden!("thought-plain"),
            "thought(The town is small.\n\nSo it is quick.)+ text(Quick.)[0] | Stop",
        ),
        (
            golden!("call-stream"),
            golden!("call-plain"),
            "thought()* call(call_1 weather {\"town\":\"Bern\"}) | ToolCalls",
        ),
        (golden!("refusal-stream"), golden!("refusal-plain"), "refusal(I can't help with that.) | Stop"),
        (golden!("length-stream"), golden!("length-plain"), "text(Once upon)[0] | Length"),
        (
            golden!("own-tools-stream"),
            golden!("own-tools-plain"),
            "foreign(web_search_call) image(Base64(\"iVBORw0KGgo=\")) text(A picture.)[0] | Stop",
        ),
    ] {
        let (collected, whole) = (collected(&stream.body), whole(&plain.body));
        assert_eq!(said(&collected), expected);
        assert_eq!(whole.choices, collected.choices, "{expected}");
        assert_eq!((whole.model, whole.created), (collected.model, collected.created));
    }
}

#[test]
fn streams_are_read_however_little_they_say_in_pieces() {
    let looked = "text(Let me look.)[0] call(call_1 weather {\"town\":\"Bern\"}) | ToolCalls";
    for (golden, expected) in [
        (golden!("no-deltas-stream"), looked),
        (golden!("last-word-stream"), looked),
        (
            golden!("calls-stream"),
            "call(call_1 weather {\"town\":\"Bern\"}) call(call_2 weather {\"town\":\"Chur\"}) | ToolCalls",
        ),
        (golden!("form-stream"), "text({\"town\":\"Bern\"})[0] | Stop"),
        (golden!("filter-stream"), "text(Once)[0] | ContentFilter"),
        (golden!("open-thought-stream"), "thought(Hm, Bern.) text(Bern.)[0] | Stop"),
    ] {
        assert_eq!(said(&collected(&golden.body)), expected);
    }
}

#[test]
fn the_cost_and_the_probabilities_are_told() {
    let answer = whole(&golden!("text-plain").body);
    let usage = answer.usage.expect("usage");
    assert_eq!((usage.input, usage.cache_read, usage.output, usage.reasoning), (120, Some(64), 9, Some(0)));
    let logprobs = answer.choices[0].logprobs.as_ref().expect("logprobs");
    assert_eq!(logprobs["content"][1]["token"], " there");
}

#[test]
fn every_split_gives_the_same_events_and_no_cut_an_end() {
    for golden in [golden!("text-stream"), golden!("thought-stream"), golden!("calls-stream")] {
        let body = golden.body.as_bytes();
        let expected = events(&[body]);
        assert_eq!(expected.last(), Some(&Event::End));
        let last = golden.body.find("response.completed").expect("a last word");
        for at in (0..body.len()).step_by(37) {
            let (one, two) = body.split_at(at);
            assert_eq!(events(&[one, two]), expected, "split at {at}");
            let cut = events(&[one]);
            assert!(at > last || cut.last() != Some(&Event::End), "cut at {at}");
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(events(&bytes), expected);
    }
}

#[test]
fn mixed_calls_keep_the_order_of_their_fragments() {
    let deltas = events(&[golden!("calls-stream").body.as_bytes()]).into_iter().filter_map(|event| match event {
        Event::Delta { delta: Delta::ToolCall { call, .. }, .. } => Some(format!("{call}")),
        Event::Delta { delta: Delta::Arguments { call, text }, .. } => Some(format!("{call}:{text}")),
        Event::Delta { delta: Delta::ToolCallEnd { call }, .. } => Some(format!("{call}.")),
        _ => None,
    });
    let expected = ["0", "1", "0:{\"town\":", "1:{\"town\":", "1:\"Chur\"}", "0:\"Bern\"}", "1.", "0."];
    assert_eq!(deltas.collect::<Vec<_>>(), expected);
}

#[test]
fn whatever_lacks_in_an_event_is_no_harm() {
    for golden in [golden!("text-stream"), golden!("thought-stream"), golden!("call-stream")] {
        let all: Vec<Value> = golden
            .body
            .lines()
            .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
            .collect();
        for (at, event) in all.iter().enumerate() {
            for name in event.as_object().expect("an object").keys() {
                for other in [json!(null), json!({}), json!("x")] {
                    let mut changed = all.clone();
                    changed[at][name] = other;
                    let body =
                        changed.iter().fold(String::new(), |body, event| format!("{body}data: {event}\n\n"));
                    let events = events(&[body.as_bytes()]);
                    let starts = events.iter().filter(|event| matches!(event, Event::Start(_))).count();
                    assert_eq!(starts, 1, "{at} {name}");
                    assert!(matches!(events[0], Event::Start(_)), "{at} {name}");
                }
            }
        }
    }
}

#[test]
fn a_providers_failure_is_the_last_event() {
    for (golden, kind, message) in [
        (golden!("failed-stream"), FailureKind::Server, "The server had an error."),
        (golden!("error-stream"), FailureKind::Billing, "You exceeded your quota."),
        (golden!("flat-error-stream"), FailureKind::RateLimited, "Too many requests."),
    ] {
        let events = events(&[golden.body.as_bytes()]);
        let Some(Event::Failed(failure)) = events.last() else { panic!("{message}") };
        assert_eq!((failure.kind, &*failure.message), (kind, message));
    }
    let golden = golden!("error-plain");
    let failure = PROVIDER.failure(golden.status, &HeaderMap::new(), golden.body.as_bytes());
    assert_eq!(failure.kind, FailureKind::BadRequest);
    assert_eq!(failure.param.as_deref(), Some("text.verbosity"));
    assert_eq!(failure.code.as_deref(), Some("unsupported_value"));
}

#[test]
fn calls_of_custom_tools_have_their_text_as_the_only_argument() {
    let item = json!({"type":"custom_tool_call","id":"ctc_1","call_id":"c1","name":"patch","input":"*** \"a\""});
    let body = json!({"id":"r","model":"m","status":"completed","output":[item]});
    let expected = "call(c1 patch {\"input\":\"*** \\\"a\\\"\"}) | ToolCalls";
    assert_eq!(said(&whole(&body.to_string())), expected);
    let stream = format!("data: {}\n\n", json!({"type":"response.completed","response":body}));
    assert_eq!(said(&collected(&stream)), expected);
}

#[test]
fn what_is_no_answer_is_none() {
    for body in ["", "[]", "{}", r#"{"output":[],"status":"failed"}"#, r#"{"output":[],"status":"queued"}"#] {
        assert!(PROVIDER.answer(&Sent::default(), body.as_bytes()).is_err(), "{body}");
    }
    let mut decoder = PROVIDER.decoder(&Sent::default());
    assert!(decoder.feed(b"data: <html>\n\n", &mut Vec::new()).is_err());
    assert!(events(&[b"data: {\"type\":\"response.novelty\"}\n\ndata: 7\n\ndata: [DONE]\n\n"]).is_empty());
}

#[test]
fn a_whole_response_that_failed_tells_why() {
    let failed =
        br#"{"status":"failed","output":[],"error":{"code":"rate_limit_exceeded","message":"slow down"}}"#;
    let bare = br#"{"error":{"code":"rate_limit_exceeded","message":"slow down"}}"#;
    for body in [&failed[..], &bare[..]] {
        assert!(PROVIDER.answer(&Sent::default(), body).is_err());
        let failure = PROVIDER.mishap(body).expect("an error");
        assert_eq!((failure.kind, &*failure.message), (FailureKind::RateLimited, "slow down"));
    }
    assert!(PROVIDER.mishap(br#"{"status":"queued","output":[],"error":null}"#).is_none());
}
