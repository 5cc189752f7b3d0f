//! Streams, read and written.

use serde_json::{Value, json};

use super::{collected, decoded, encoded, responses, sent};
use crate::dialects::conversation::{
    Delta, Event, Failure, FailureKind, Family, Finish, Request, Signature, Start, Usage,
};
use crate::dialects::gemini::{PROVIDER, proof};
use crate::dialects::{Malformed, Provider};

fn stream(responses: &[Value]) -> Vec<u8> {
    responses.iter().flat_map(|response| format!("data: {response}\r\n\r\n").into_bytes()).collect()
}

fn piece(part: &Value) -> Value {
    json!({"candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}], "responseId": "abcdefgh"})
}

fn last(word: &str) -> Value {
    json!({
        "candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": word, "index": 0}],
        "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 3, "totalTokenCount": 5},
    })
}

fn example() -> Vec<u8> {
    stream(&[
        piece(&json!({"text": "Hm", "thought": true})),
        json!({"candidates": [], "somethingNew": {"a": 1}}),
        piece(&json!({"text": "Hel"})),
        piece(&json!({"text": "lö"})),
        piece(&json!({"text": "", "thoughtSignature": "c2ln"})),
        piece(&json!({"functionCall": {"name": "f", "args": {"a": "ü"}}, "thoughtSignature": "Y2FsbA=="})),
        piece(&json!({"functionCall": {"name": "g", "args": {}}})),
        piece(&json!({"unheardOf": {}})),
        last("STOP"),
    ])
}

#[test]
fn every_split_gives_the_same_and_no_cut_gives_an_end() {
    let bytes = example();
    let all = decoded(&[&bytes]);
    let delta = Event::delta;
    let own = |value: &str| Signature::new(Family::Gemini, value);
    let call = |call: u32, name: &str, signature| {
        delta(Delta::ToolCall { call, id: format!("call_abcdefgh_{call}"), name: name.into(), signature })
    };
    let expected = [
        Event::Start(Start { id: "abcdefgh".into(), ..Start::default() }),
        delta(Delta::Reasoning("Hm".into())),
        delta(Delta::Text("Hel".into())),
        delta(Delta::Text("lö".into())),
        delta(Delta::Part),
        delta(Delta::Signature(own("c2ln"))),
        call(0, "f", Some(own("Y2FsbA=="))),
        delta(Delta::Arguments { call: 0, text: r#"{"a":"ü"}"#.into() }),
        delta(Delta::ToolCallEnd { call: 0 }),
        call(1, "g", None),
        delta(Delta::Arguments { call: 1, text: "{}".into() }),
        delta(Delta::ToolCallEnd { call: 1 }),
        Event::Usage(Usage { input: 2, output: 3, ..Usage::default() }),
        Event::Finish { choice: 0, finish: Finish::ToolCalls },
        Event::End,
    ];
    assert_eq!(all, expected);
    for at in 0..bytes.len() {
        let (one, two) = bytes.split_at(at);
        assert_eq!(decoded(&[one, two]), all, "split at {at}");
        let mut decoder = PROVIDER.decoder(&sent());
        let mut events = Vec::new();
        decoder.feed(one, &mut events).expect("Gemini's events");
        assert!(!events.contains(&Event::End), "cut at {at}");
    }
    let bytes: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decoded(&bytes), all);
}

#[test]
fn a_stream_without_a_reason_to_end_is_not_whole() {
    let bytes = stream(&[piece(&json!({"text": "Hel"}))]);
    assert!(!decoded(&[&bytes]).contains(&Event::End));
    assert!(!decoded(&[b""]).contains(&Event::End));
    // One of two candidates still speaks.
    let one = json!({"candidates": [
        {"content": {"parts": [{"text": "a"}]}, "index": 0, "finishReason": "STOP"},
        {"content": {"parts": [{"text": "b"}]}, "index": 1},
    ]});
    assert!(!decoded(&[&stream(&[one])]).contains(&Event::End));
    // Older models say STOP with every piece.
    let twice = stream(&[last("STOP"), last("STOP")]);
    assert_eq!(decoded(&[&twice]).iter().filter(|event| matches!(event, Event::Finish { .. })).count(), 1);
    let blocked = stream(&[json!({"promptFeedback": {"blockReason": "SAFETY"}})]);
    let events = decoded(&[&blocked]);
    assert_eq!(events[1..], [Event::Finish { choice: 0, finish: Finish::ContentFilter }, Event::End]);
}

#[test]
fn a_failure_in_the_stream_is_the_last_event() {
    let error = json!({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}});
    for error in [error.clone(), json!([error])] {
        let events = decoded(&[&stream(&[piece(&json!({"text": "Hel"})), error, last("STOP")])]);
        let Some(Event::Failed(failure)) = events.last() else { panic!("no failure: {events:?}") };
        assert_eq!((failure.kind, &*failure.message), (FailureKind::Overloaded, "overloaded"));
    }
    let mut decoder = PROVIDER.decoder(&sent());
    let result = decoder.feed(b"data: nonsense\n\n", &mut Vec::new());
    assert_eq!(result, Err(Malformed("an event that is not JSON")));
}

#[test]
fn arguments_in_pieces_become_whole() {
    let call = |call: Value| piece(&json!({ "functionCall": call }));
    let bytes = stream(&[
        call(json!({"name": "f", "willContinue": true})),
        call(
            json!({"partialArgs": [{"jsonPath": "$.a", "stringValue": "x", "willContinue": true}], "willContinue": true}),
        ),
        call(json!({"partialArgs": [{"jsonPath": "$.a", "stringValue": "y"}], "willContinue": true})),
        call(json!({})),
        last("STOP"),
    ]);
    let arguments = Event::delta(Delta::Arguments { call: 0, text: r#"{"a":"xy"}"#.into() });
    assert!(decoded(&[&bytes]).contains(&arguments));
}

#[test]
fn what_is_read_is_written_and_read_as_the_same() {
    let events = decoded(&[&example()]);
    let stream = encoded(&events, Request::default());
    let again = decoded(&[stream.as_bytes()]);
    let (before, after) = (collected(&events), collected(&again));
    assert!(before.is_some());
    assert_eq!(before.map(|answer| answer.choices), after.map(|answer| answer.choices));
    // A whole answer says the same.
    let whole = collected(&events).expect("an answer").into_events();
    let again = decoded(&[encoded(&whole, Request::default()).as_bytes()]);
    assert_eq!(collected(&again).map(|answer| answer.choices), collected(&whole).map(|answer| answer.choices));
}

#[test]
fn calls_wait_for_their_arguments_and_keep_their_order() {
    let call = |call, id: &str| {
        Event::delta(Delta::ToolCall { call, id: id.into(), name: format!("f{call}"), signature: None })
    };
    let arguments = |call, text: &str| Event::delta(Delta::Arguments { call, text: text.into() });
    let end = |call| Event::delta(Delta::ToolCallEnd { call });
    let events = [
        Event::Start(Start { id: "r".into(), model: "m".into(), ..Start::default() }),
        Event::delta(Delta::Text("Hi".into())),
        call(0, "a"),
        arguments(0, "{\"x\""),
        call(1, "b"),
        arguments(1, "{}"),
        end(1),
        arguments(0, ":1}"),
        end(0),
        call(2, "c"),
        Event::Ping,
        Event::Usage(Usage { input: 1, output: 5, reasoning: Some(2), ..Usage::default() }),
        Event::Finish { choice: 0, finish: Finish::ToolCalls },
        Event::End,
    ];
    let stream = encoded(&events, Request::default());
    let chunk = |parts: Value| {
        json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}],
            "modelVersion": "m", "responseId": "r"})
    };
    let whole =
        |id: &str, name: &str, args: Value| json!({"functionCall": {"id": id, "name": name, "args": args}});
    let mut last = chunk(json!([{"text": ""}]));
    last["candidates"][0]["finishReason"] = "STOP".into();
    last["usageMetadata"] = json!({
        "promptTokenCount": 1, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 6,
    });
    assert_eq!(
        responses(&stream),
        [
            chunk(json!([{"text": "Hi"}])),
            chunk(json!([whole("a", "f0", json!({"x": 1})), whole("b", "f1", json!({}))])),
            chunk(json!([whole("c", "f2", json!({}))])),
            last,
        ]
    );
    // No comment: Google's SDK would take it for JSON.
    assert!(!stream.contains("\r\n:"));
}

#[test]
fn foreign_thoughts_go_out_at_once_with_their_proof() {
    let signature = Signature::new(Family::OpenAi, "enc");
    let events = [
        Event::Start(Start::default()),
        Event::delta(Delta::ReasoningId("rs_1".into())),
        Event::delta(Delta::Reasoning("Hm".into())),
        Event::delta(Delta::Redacted(signature.clone())),
        Event::delta(Delta::Text("Hi".into())),
        Event::delta(Delta::Logprobs(json!([{"token": "Hi", "logprob": -1.0, "top_logprobs": []}]))),
        Event::Finish { choice: 0, finish: Finish::Stop },
        Event::End,
    ];
    let all = responses(&encoded(&events, Request::default()));
    let part = |at: usize| &all[at]["candidates"][0]["content"]["parts"][0];
    assert_eq!(*part(0), json!({"text": "Hm", "thought": true}));
    let proof = proof::read(part(1)["thoughtSignature"].as_str().expect("a proof"));
    assert_eq!((proof.redacted, proof.id.as_deref()), (Some(signature), Some("rs_1")));
    assert_eq!(*part(2), json!({"text": "Hi"}));
    let chosen = json!({"chosenCandidates": [{"token": "Hi", "logProbability": -1.0}]});
    assert_eq!(all[3]["candidates"][0]["logprobsResult"], chosen);
    assert_eq!(all[4]["candidates"][0]["finishReason"], "STOP");
}

#[test]
fn a_failure_is_written_as_an_error_object() {
    let failure = Failure::new(503, "gone");
    let events = [Event::Start(Start::default()), Event::delta(Delta::Text("Hi".into())), Event::Failed(failure)];
    let stream = encoded(&events, Request::default());
    assert!(stream.contains("data: {\"error\":{\"code\":503,"), "{stream}");
    assert!(matches!(decoded(&[stream.as_bytes()]).last(), Some(Event::Failed(_))));
}
