//! Answers for clients.

use serde_json::json;

use super::*;
use crate::dialects::conversation::{
    Annotation, Collector, Delta, Event, Failure, Family, Finish, Media, Signature, Source, Start, Usage,
};

fn begin() -> Event {
    Event::Start(Start { id: "x-1".into(), model: "m-1".into(), created: Some(7), ..Start::default() })
}

fn finish(finish: Finish) -> Event {
    Event::Finish { choice: 0, finish }
}

fn text(text: &str) -> Event {
    Event::delta(Delta::Text(text.into()))
}

fn call(call: u32, signature: Option<Signature>) -> Event {
    Event::delta(Delta::ToolCall { call, id: format!("c{call}"), name: "f".into(), signature })
}

fn arguments(call: u32, text: &str) -> Event {
    Event::delta(Delta::Arguments { call, text: text.into() })
}

/// The events of a stream as they stand on the wire, in order and numbered.
fn wire(asked: &Rc<Asked>, events: &[Event]) -> Vec<Value> {
    let (mut encoder, mut out) = (FRONT.encoder(asked), Vec::new());
    for event in events {
        encoder.event(event, &mut out);
    }
    let mut written = Vec::new();
    for frame in String::from_utf8(out).expect("UTF-8").split_terminator("\n\n") {
        if frame.starts_with(':') {
            continue;
        }
        let (name, data) = frame.split_once('\n').expect("two lines");
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(name.strip_prefix("event: "), event["type"].as_str());
        assert_eq!(event["sequence_number"], written.len());
        written.push(event);
    }
    written
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()?.strip_prefix("response.")).collect()
}

/// The response at the end of a stream, which the whole answer must be as well.
fn last(asked: &Rc<Asked>, events: &[Event]) -> Value {
    let written = wire(asked, events);
    let response = written.last().expect("an event")["response"].clone();
    let mut collector = Collector::default();
    for event in events {
        collector.event(event.clone()).expect("no failure");
    }
    let whole = FRONT.answer(&collector.finish().expect("an answer"), asked);
    assert_eq!(serde_json::from_slice::<Value>(&whole).expect("JSON"), response);
    response
}

fn plain() -> Rc<Asked> {
    asked(&json!({"model":"m","input":"hi"}))
}

#[test]
fn a_text_is_opened_said_and_closed() {
    let annotation =
        Annotation { url: Some("https://e.org".into()), range: Some((0, 2)), ..Annotation::default() };
    let events = [
        begin(),
        text("Hel"),
        Event::delta(Delta::Logprobs(json!([{"token":"Hel","logprob":-0.5,"bytes":null}]))),
        text("lo"),
        Event::delta(Delta::Annotation(annotation)),
        finish(Finish::Stop),
        Event::Usage(Usage { input: 5, output: 2, cache_read: Some(1), ..Usage::default() }),
        Event::End,
    ];
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    let written = wire(&plain(), &events);
    assert_eq!(kinds(&written), expected);
    assert_eq!(written[5]["logprobs"][0]["bytes"], json!([72, 101, 108]));
    let response = last(&plain(), &events);
    let piece = &response["output"][0]["content"][0];
    assert_eq!((&piece["text"], &piece["annotations"][0]["title"]), (&json!("Hello"), &json!("")));
    assert_eq!(response["usage"]["input_tokens_details"], json!({"cached_tokens":1,"cache_write_tokens":0}));
    assert_eq!(response["usage"]["total_tokens"], 7);
}

#[test]
fn thoughts_stand_before_what_they_prove() {
    let events = [
        begin(),
        Event::delta(Delta::ReasoningId("rs_9".into())),
        Event::delta(Delta::Reasoning("hm".into())),
        Event::delta(Delta::Signature(thought::seal(Some("rs_9"), "gA="))),
        Event::delta(Delta::Redacted(Signature::new(Family::Anthropic, "r"))),
        call(0, Some(Signature::new(Family::Gemini, "g"))),
        arguments(0, "{}"),
        finish(Finish::ToolCalls),
        Event::End,
    ];
    let response = last(&plain(), &events);
    let proofs: Vec<&Value> =
        response["output"].as_array().expect("items").iter().map(|item| &item["encrypted_content"]).collect();
    assert_eq!(proofs, [&json!("gA="), &json!("ms1:anthropic:r"), &json!("msc1:ms1:gemini:g"), &Value::Null]);
    assert_eq!(response["output"][0]["id"], "rs_9");
    assert_eq!(response["output"][0]["summary"], json!([{"type":"summary_text","text":"hm"}]));
    // The client brings it all back.
    let request = read(&json!({"model":"m","input":response["output"]}));
    let [Content::Reasoning(shown), Content::Reasoning(hidden), Content::ToolCall(call)] =
        [0, 1, 2].map(|part| request.messages[0].parts[part].content.clone())
    else {
        panic!("{:?}", request.messages)
    };
    assert_eq!(shown.signature, Some(thought::seal(Some("rs_9"), "gA=")));
    assert_eq!(hidden.redacted, Some(Signature::new(Family::Anthropic, "r")));
    assert_eq!(call.signature, Some(Signature::new(Family::Gemini, "g")));
}

#[test]
fn calls_may_be_open_side_by_side() {
    let events = [
        begin(),
        text("Wait."),
        call(0, None),
        arguments(0, "{\"a\":"),
        call(1, None),
        arguments(0, "1}"),
        Event::delta(Delta::ToolCallEnd { call: 1 }),
        finish(Finish::ToolCalls),
        Event::End,
    ];
    let written = wire(&plain(), &events);
    let calls: Vec<(&str, &Value)> = written
        .iter()
        .filter(|event| event["type"].as_str().is_some_and(|kind| kind.contains("function_call")))
        .map(|event| (event["type"].as_str().unwrap_or_default(), &event["output_index"]))
        .collect();
    let (delta, done) = ("response.function_call_arguments.delta", "response.function_call_arguments.done");
    let (one, two) = (&json!(1), &json!(2));
    assert_eq!(calls, [(delta, one), (delta, one), (delta, two), (done, two), (done, one)]);
    let response = last(&plain(), &events);
    let output = response["output"].as_array().expect("items");
    let seen: Vec<(&Value, &Value)> =
        output[1..].iter().map(|item| (&item["call_id"], &item["arguments"])).collect();
    assert_eq!(seen, [(&json!("c0"), &json!("{\"a\":1}")), (&json!("c1"), &json!("{}"))]);
}

#[test]
fn a_custom_tool_is_called_with_its_text() {
    let asked = asked(&json!({"model":"m","input":"hi","tools":[{"type":"custom","name":"f"}]}));
    let events = [
        begin(),
        call(0, None),
        arguments(0, "{\"input\":\"a "),
        arguments(0, "\\\"b\\\"\"}"),
        finish(Finish::ToolCalls),
        Event::End,
    ];
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&wire(&asked, &events)), expected);
    let response = last(&asked, &events);
    let item = &response["output"][0];
    assert_eq!((&item["type"], &item["input"]), (&json!("custom_tool_call"), &json!("a \"b\"")));
    assert_eq!(response["tools"][0]["type"], "custom");
    let back = read(&json!({"model":"m","input":[item]}));
    assert_eq!(said_part(&back.messages[0].parts[0]), "call(c0 f {\"input\":\"a \\\"b\\\"\"})");
}

#[test]
fn what_ends_early_is_incomplete() {
    for (finish_of, status, reason) in [
        (Finish::Stop, "completed", Value::Null),
        (Finish::StopSequence(None), "completed", Value::Null),
        (Finish::Length, "incomplete", json!({"reason":"max_output_tokens"})),
        (Finish::Window, "incomplete", json!({"reason":"max_output_tokens"})),
        (Finish::ContentFilter, "incomplete", json!({"reason":"content_filter"})),
        (Finish::Refusal, "incomplete", json!({"reason":"content_filter"})),
    ] {
        let response = last(&plain(), &[begin(), text("x"), finish(finish_of), Event::End]);
        assert_eq!((&response["status"], &response["incomplete_details"]), (&json!(status), &reason));
        assert_eq!(response["output"][0]["status"], status);
    }
}

#[test]
fn parts_refusals_and_pictures_have_places_of_their_own() {
    let picture = Media::new("image", Some("image/webp".into()), Source::Base64("AAAA".into()));
    let search = json!({"type":"web_search_call","id":"ws_1","status":"completed"});
    let events = [
        begin(),
        text("a"),
        Event::delta(Delta::Part),
        text("b"),
        Event::delta(Delta::Refusal("no".into())),
        Event::delta(Delta::Media(picture)),
        Event::delta(Delta::Foreign { kind: "web_search_call".into(), value: search.clone() }),
        Event::delta(Delta::Foreign { kind: "server_tool_use".into(), value: json!({}) }),
        text("c"),
        finish(Finish::Stop),
        Event::End,
    ];
    let response = last(&plain(), &events);
    let contents = response["output"][0]["content"].as_array().expect("pieces");
    let kinds: Vec<&Value> = contents.iter().map(|piece| &piece["type"]).collect();
    assert_eq!(kinds, ["output_text", "output_text", "refusal"]);
    assert_eq!(response["output"][1]["output_format"], "webp");
    assert_eq!(response["output"][2], search);
    assert_eq!(response["output"][3]["content"][0]["text"], "c");
}

#[test]
fn a_response_tells_the_clients_own_settings() {
    let asked = asked(&json!({
        "model": "m", "input": "hi", "instructions": "Be kind.", "temperature": 0.25, "max_output_tokens": 9,
        "metadata": {"a":"b"}, "truncation": "auto", "user": "u", "tool_choice": "required",
        "tools": [{"type":"function","name":"f","parameters":{"type":"object"},"strict":false}],
        "text": {"format":{"type":"json_object"}}, "reasoning": {"effort":"low"}
    }));
    let response = last(&asked, &[Event::Start(Start::default()), finish(Finish::Stop), Event::End]);
    for (name, expected) in [
        ("id", json!("resp_00112233445566778899aabbccddeeff")),
        ("created_at", json!(1_760_000_001)),
        ("model", json!("m")),
        ("instructions", json!("Be kind.")),
        ("temperature", json!(0.25)),
        ("top_p", json!(1.0)),
        ("max_output_tokens", json!(9)),
        ("metadata", json!({"a":"b"})),
        ("truncation", json!("auto")),
        ("user", json!("u")),
        ("tool_choice", json!("required")),
        ("reasoning", json!({"effort":"low","summary":null})),
        ("text", json!({"format":{"type":"json_object"},"verbosity":"medium"})),
        ("output", json!([])),
        ("error", Value::Null),
    ] {
        assert_eq!(response[name], expected, "{name}");
    }
    assert_eq!(response["tools"][0]["name"], "f");
}

#[test]
fn a_failure_is_raised_and_ends_the_stream() {
    let mut events = vec![begin(), text("Hel"), Event::Failed(Failure::new(503, "busy"))];
    events.push(text("lost"));
    let written = wire(&plain(), &events);
    let [.., error, failed] = written.as_slice() else { panic!("too few events") };
    assert_eq!((&error["type"], &error["message"]), (&json!("error"), &json!("busy")));
    assert_eq!((&error["code"], &error["error"]["message"]), (&json!("overloaded"), &json!("busy")));
    assert_eq!(error["request_id"], "req-1");
    assert_eq!((&failed["type"], &failed["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    assert_eq!(failed["response"]["error"]["message"], "busy");
    // Before anything was said it is no other.
    assert_eq!(kinds(&wire(&plain(), &[events[2].clone()])), ["created", "in_progress", "failed"]);
}

/// Each kind of step, in any order, makes a stream whose items begin and end once and are the response's.
#[test]
fn any_order_of_steps_makes_a_sound_stream() {
    let steps = |pick: usize, n: u32| match pick {
        0 => text("t"),
        1 => Event::delta(Delta::Part),
        2 => Event::delta(Delta::Reasoning("r".into())),
        3 => Event::delta(Delta::Signature(Signature::new(Family::Anthropic, "s"))),
        4 => Event::delta(Delta::ReasoningId(format!("id{n}"))),
        5 => call(n, None),
        6 => arguments(n.saturating_sub(2), "{}"),
        7 => Event::delta(Delta::ToolCallEnd { call: n.saturating_sub(3) }),
        8 => Event::delta(Delta::Refusal("no".into())),
        9 => Event::delta(Delta::Annotation(Annotation { url: Some("u".into()), ..Annotation::default() })),
        10 => Event::delta(Delta::Logprobs(json!([{"token":"t","logprob":0}]))),
        11 => Event::delta(Delta::Media(Media::new("image", None, Source::Base64("AA".into())))),
        _ => Event::Ping,
    };
    let asked = plain();
    // A linear congruence, with the constants of Numerical Recipes: the same streams every time.
    let mut state = 1_u32;
    for _ in 0..100 {
        let mut events = vec![begin()];
        for n in 0..12 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            events.push(steps(usize::try_from((state >> 16) % 13).expect("small"), n));
        }
        events.extend([finish(Finish::Stop), Event::End]);
        let written = wire(&asked, &events);
        let of = |kind: &str| -> Vec<Value> {
            let mut all: Vec<&Value> = written.iter().filter(|event| event["type"] == kind).collect();
            all.sort_by_key(|event| event["output_index"].as_u64());
            all.into_iter().map(|event| event["item"].clone()).collect()
        };
        let (added, done) = (of("response.output_item.added"), of("response.output_item.done"));
        let response = &written.last().expect("an event")["response"];
        assert_eq!(added.len(), done.len(), "{events:?}");
        let ids = |items: &[Value]| -> Vec<Value> { items.iter().map(|item| item["id"].clone()).collect() };
        assert_eq!(ids(&added), ids(&done));
        assert_eq!(ids(response["output"].as_array().expect("items")), ids(&done));
        assert_eq!(response["status"], "completed");
    }
}

#[test]
fn an_answer_of_the_dialect_keeps_its_meaning() {
    for golden in [
        golden!("text-plain"),
        golden!("thought-plain"),
        golden!("call-plain"),
        golden!("refusal-plain"),
        golden!("length-plain"),
        golden!("own-tools-plain"),
    ] {
        let read = |body: &[u8]| PROVIDER.answer(&Sent::default(), body).expect("an answer");
        let first = read(golden.body.as_bytes());
        let again = read(&FRONT.answer(&first, &asked(&golden.request)));
        assert_eq!(again.choices, first.choices);
        assert_eq!((again.id, again.model, again.created), (first.id, first.model, first.created));
    }
}
