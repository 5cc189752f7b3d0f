//! Chat completions: chunk forms, determinism, counts, pace.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{content, fast, hello, post, stream, weather, with};
use crate::demo::script::count;
use crate::demo::{Settings, start};

#[test]
fn chat_stream_has_role_first_then_content_finish_usage_and_done() {
    let demo = fast();
    let body = with(hello(), json!({"stream_options": {"include_usage": true}}));
    let chunks = stream(&demo, "/v1/chat/completions", body);
    let first = json!({"role": "assistant", "content": "", "refusal": null});
    assert_eq!(chunks[0]["choices"][0]["delta"], first);
    assert_eq!(chunks[0]["object"], "chat.completion.chunk");
    let [.., finish, usage, done] = chunks.as_slice() else { panic!("too few chunks") };
    assert_eq!(done, "[DONE]");
    assert_eq!(finish["choices"][0]["delta"], json!({}));
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert_eq!(usage["choices"], json!([]));
    // Role, finish, usage and [DONE] carry no token.
    assert_eq!(usage["usage"]["completion_tokens"], chunks.len() - 4);
    for chunk in &chunks[..chunks.len() - 2] {
        assert_eq!(chunk.get("usage"), Some(&Value::Null));
        assert_eq!(chunk["id"], chunks[0]["id"]);
    }
}

#[test]
fn same_seed_and_request_give_the_same_text_streamed_or_whole() {
    let (one, two) = (fast(), fast());
    let streamed = content(&stream(&one, "/v1/chat/completions", hello()), 0);
    let whole = post(&two, "/v1/chat/completions", &hello());
    assert_eq!(whole["choices"][0]["message"]["content"], streamed);
    assert_eq!(whole["usage"]["completion_tokens"], count(&streamed));
    let other = start(Settings { tokens_per_second: 0.0, first_token: Duration::ZERO, seed: 8 }).unwrap();
    assert_ne!(content(&stream(&other, "/v1/chat/completions", hello()), 0), streamed);
}

#[test]
fn choices_differ_and_max_tokens_ends_each_with_length() {
    let demo = fast();
    let body = with(hello(), json!({"n": 2, "max_completion_tokens": 5}));
    let whole = post(&demo, "/v1/chat/completions", &body);
    let chunks = stream(&demo, "/v1/chat/completions", body);
    for choice in 0..2 {
        let text = content(&chunks, choice);
        assert_eq!(count(&text), 5);
        assert_eq!(whole["choices"][usize::try_from(choice).unwrap()]["message"]["content"], text);
    }
    assert_ne!(content(&chunks, 0), content(&chunks, 1));
    assert_eq!(whole["choices"][1]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 10);
}

#[test]
fn a_tool_call_streams_its_name_first_and_then_its_arguments() {
    let demo = fast();
    let tools = json!({"tools": [{"type": "function", "function": weather()}]});
    let chunks = stream(&demo, "/v1/chat/completions", with(hello(), tools.clone()));
    let call = &chunks[0]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!(call["function"], json!({"name": "weather", "arguments": ""}));
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
    let fragment = |chunk: &Value| {
        let call = &chunk["choices"][0]["delta"]["tool_calls"][0];
        call["function"]["arguments"].as_str().map(str::to_owned)
    };
    let arguments: String = chunks.iter().filter_map(fragment).collect();
    let arguments: Value = serde_json::from_str(&arguments).unwrap();
    assert_eq!(arguments, json!({"city": "Paris", "unit": "celsius", "days": 1}));
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "tool_calls");

    let none = with(with(hello(), tools.clone()), json!({"tool_choice": "none"}));
    let whole = post(&demo, "/v1/chat/completions", &none);
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");

    let mut after = with(hello(), tools);
    let result = json!({"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"});
    after["messages"].as_array_mut().unwrap().push(result);
    let whole = post(&demo, "/v1/chat/completions", &after);
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.contains("21 degrees"), "{text}");
}

#[test]
fn structured_answers_are_objects_of_the_schema() {
    let demo = fast();
    let schema = weather()["parameters"].clone();
    let format = json!({"type": "json_schema", "json_schema": {"name": "w", "schema": schema}});
    let whole = post(&demo, "/v1/chat/completions", &with(hello(), json!({"response_format": format})));
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap()["city"], "Paris");
}

#[test]
fn pace_is_kept_without_drift() {
    let settings = Settings { tokens_per_second: 200.0, first_token: Duration::from_millis(50), seed: 1 };
    let demo = start(settings).unwrap();
    let begin = Instant::now();
    let chunks = stream(&demo, "/v1/chat/completions", with(hello(), json!({"max_tokens": 20})));
    // 50 ms to the first token and 19 gaps of 5 ms; a loaded machine may take longer, never less.
    assert!(begin.elapsed() >= Duration::from_millis(145));
    assert_eq!(chunks.len(), 23);
    let begin = Instant::now();
    stream(&demo, "/v1/chat/completions", with(hello(), json!({"model": "demo-fast"})));
    assert!(begin.elapsed() < Duration::from_secs(2));
}
