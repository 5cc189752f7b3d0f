//! Clients' requests, and requests as the provider takes them.

use serde_json::{Map, json};

use super::*;
use crate::dialects::conversation::{Effort, Format, Role, Thinking, ToolChoice, Wish};
use crate::dialects::provider::Lost;

fn refused(body: &Value) -> (Option<String>, String) {
    let refusal = FRONT.read(body.to_string().as_bytes(), &Place::default()).expect_err("a refusal");
    (refusal.param, refusal.message)
}

fn sent(request: &Request) -> (Value, Vec<Lost>) {
    let target = Target { model: "gpt-5.1", unique: "u" };
    let sent = PROVIDER.chat(request, &target).expect("a request");
    assert_eq!(sent.path, "/responses");
    (serde_json::from_slice(&sent.body).expect("JSON"), sent.lost)
}

/// Everything that a client may ask for and a provider of the same dialect honours.
fn everything() -> Value {
    json!({
        "model": "m",
        "input": "hi",
        "instructions": "Be kind.",
        "stream": true,
        "max_output_tokens": 99,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_logprobs": 2,
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "parallel_tool_calls": false,
        "store": true,
        "metadata": { "a": "b" },
        "service_tier": "flex",
        "user": "u1",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "reasoning": { "effort": "high", "summary": "detailed" },
        "text": {
            "format": {
                "type": "json_schema", "name": "town", "description": "d", "schema": { "type": "object" }, "strict": true
            },
            "verbosity": "low"
        },
        "tools": [{
            "type": "function", "name": "f", "description": "d",
            "parameters": { "type": "object", "properties": {} }, "strict": true
        }],
        "tool_choice": { "type": "function", "name": "f" },
        "stream_options": { "include_obfuscation": false }
    })
}

#[test]
fn everything_is_read() {
    let request = read(&everything());
    assert_eq!((&*request.model, request.stream, request.messages.len()), ("m", true, 2));
    assert_eq!(request.messages[0].role, Role::System);
    let thinking =
        Thinking { effort: Some(Effort::High), summary: Some("detailed".into()), ..Thinking::default() };
    assert_eq!(request.thinking, Some(thinking));
    assert!(matches!(&request.format, Some(Format::JsonSchema { strict: Some(true), .. })));
    assert_eq!(request.tools[0].strict, Some(true));
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("f".into())));
    let names: Vec<&str> = request.wishes.open().left().into_iter().map(|(_, name)| name).collect();
    let expected = [
        "max_output_tokens",
        "temperature",
        "top_p",
        "top_logprobs",
        "top_logprobs",
        "parallel_tool_calls",
        "store",
        "metadata",
        "service_tier",
        "user",
        "prompt_cache_key",
        "prompt_cache_retention",
        "text.verbosity",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_provider_of_the_dialect_honours_everything() {
    let (body, lost) = sent(&read(&everything()));
    assert_eq!(lost, []);
    let mut expected = everything();
    expected["model"] = json!("gpt-5.1");
    expected["input"] = json!([{"role":"system","content":"Be kind."}, {"role":"user","content":"hi"}]);
    for name in ["instructions", "stream_options"] {
        expected.as_object_mut().expect("an object").remove(name);
    }
    for (name, value) in body.as_object().expect("an object") {
        assert_eq!(*value, expected[name], "{name}");
    }
    assert_eq!(body.as_object().map(Map::len), expected.as_object().map(Map::len));
}

#[test]
fn what_asks_for_nothing_is_no_wish() {
    let request = read(&json!({
        "model": "m", "input": [], "temperature": null, "top_logprobs": 0, "parallel_tool_calls": true, "store": false,
        "metadata": {}, "service_tier": "auto", "truncation": "disabled", "background": false, "tool_choice": "auto",
        "text": { "format": { "type": "text" }, "verbosity": "medium" }, "reasoning": { "effort": null, "context": "auto" },
        "include": ["reasoning.encrypted_content"], "previous_response_id": null, "tools": []
    }));
    assert!(request.wishes.is_empty(), "{:?}", request.wishes);
    assert_eq!(request, Request { model: "m".into(), ..Request::default() });
}

#[test]
fn what_nobody_shares_is_lost_by_name() {
    let request = read(&json!({
        "model": "m", "input": "hi", "truncation": "auto", "max_tool_calls": 3, "novelty": 1,
        "include": ["web_search_call.action.sources"], "reasoning": { "mode": "pro" },
        "tools": [{ "type": "web_search" }, { "type": "function", "name": "f" }, { "type": "mcp", "server_label": "p" }],
        "tool_choice": { "type": "web_search" }, "safety_identifier": "s"
    }));
    let (body, lost) = sent(&request);
    let lost: Vec<(&str, bool)> = lost.iter().map(|lost| (&*lost.name, lost.is_hint)).collect();
    let expected = [
        ("truncation", true),
        ("max_tool_calls", true),
        ("novelty", false),
        ("include[0]", true),
        ("reasoning.mode", false),
        ("tools[0]", false),
        ("tools[2]", false),
        ("tool_choice", false),
    ];
    assert_eq!(lost, expected);
    assert_eq!(body["tools"][0]["strict"], false);
    assert_eq!(body["user"], "s");
}

#[test]
fn what_other_dialects_ask_for_is_adapted_or_lost() {
    let mut request = read(&json!({"model":"m","input":"hi"}));
    for (wish, name, value) in [
        (Wish::Stop, "stop", json!(["x"])),
        (Wish::Seed, "seed", json!(1)),
        (Wish::N, "n", json!(2)),
        (Wish::LogitBias, "logit_bias", json!({"1":1})),
        (Wish::PresencePenalty, "presence_penalty", json!(1)),
        (Wish::Logprobs, "logprobs", json!(true)),
    ] {
        request.wishes.add(wish, name, value);
    }
    request.thinking =
        Some(Thinking { budget: Some(5000), summary: Some("summarized".into()), ..Thinking::default() });
    let (body, lost) = sent(&request);
    let lost: Vec<&str> = lost.iter().map(|lost| &*lost.name).collect();
    assert_eq!(lost, ["stop", "seed", "n", "logit_bias", "presence_penalty"]);
    assert_eq!(body["include"], json!(["reasoning.encrypted_content", "message.output_text.logprobs"]));
    assert_eq!(body["reasoning"], json!({"effort":"medium","summary":"auto"}));
    assert_eq!(body["store"], false);
    let target = Target { model: "gpt-4.1-mini", unique: "u" };
    let sent = PROVIDER.chat(&read(&json!({"model":"m","input":"hi"})), &target).expect("a request");
    assert!(!String::from_utf8_lossy(&sent.body).contains("include"));
}

#[test]
fn users_with_long_names_are_told_by_short_ones() {
    let (long, short) = ("u".repeat(150), "v".repeat(64));
    let (body, _) = sent(&read(&json!({"model":"m","input":"hi","user":long,"prompt_cache_key":short})));
    assert_eq!(body["user"].as_str().map(str::len), Some(32));
    assert_eq!(body["prompt_cache_key"], short);
}

#[test]
fn whatever_stands_in_a_field_is_read_or_refused() {
    let fields = everything();
    let items = json!([
        {"type":"message","role":"user","content":[{"type":"input_file","filename":"a","file_data":"x"}]},
        {"type":"reasoning","id":"r","summary":[{"text":"x"}],"encrypted_content":"x"},
        {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
        {"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"x"}]},
        {"type":"image_generation_call","result":"x"}
    ]);
    let others =
        [json!(null), json!(true), json!(-1.5), json!("x"), json!([]), json!([[]]), json!({}), json!({"type":1})];
    let try_out = |body: &Value| {
        if let Ok(request) = FRONT.read(body.to_string().as_bytes(), &Place::default()) {
            let sent = PROVIDER.chat(&request, &Target { model: "m", unique: "u" });
            assert!(sent.is_err() || sent.is_ok_and(|sent| sent.body.starts_with(b"{\"model\":")));
        }
    };
    for other in &others {
        for name in fields.as_object().expect("an object").keys() {
            let mut body = fields.clone();
            body[name] = other.clone();
            try_out(&body);
        }
        for (at, item) in items.as_array().expect("items").iter().enumerate() {
            for name in item.as_object().expect("an object").keys() {
                let mut items = items.clone();
                items[at][name] = other.clone();
                try_out(&json!({"model":"m","input":items}));
            }
        }
    }
}

#[test]
fn a_prompts_tokens_are_counted() {
    let target = Target { model: "gpt-5.1", unique: "u" };
    let sent = PROVIDER.count(&read(&everything()), &target).expect("a way").expect("a request");
    assert_eq!(sent.path, "/responses/input_tokens");
    let body: Value = serde_json::from_slice(&sent.body).expect("JSON");
    let names: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["model", "input", "tools", "tool_choice", "text", "reasoning"]);
    assert_eq!(PROVIDER.counted(br#"{"object":"response.input_tokens","input_tokens":7}"#), Ok(7));
    assert!(PROVIDER.counted(b"{}").is_err());
}

#[test]
fn thinking_is_put_into_words() {
    let mut request = read(&json!({"model":"m","input":"hi"}));
    for (thinking, expected) in [
        (Thinking { enabled: Some(false), ..Thinking::default() }, json!({"effort":"none"})),
        (Thinking { enabled: Some(true), ..Thinking::default() }, Value::Null),
        (Thinking { effort: Some(Effort::XHigh), ..Thinking::default() }, json!({"effort":"xhigh"})),
        (Thinking { summary: Some("none".into()), ..Thinking::default() }, Value::Null),
    ] {
        request.thinking = Some(thinking);
        assert_eq!(sent(&request).0["reasoning"], expected);
    }
}

#[test]
fn what_the_provider_would_have_to_keep_is_refused_by_name() {
    for (name, value) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!({"id":"c"})),
        ("background", json!(true)),
        ("prompt", json!({"id":"p"})),
    ] {
        let mut body = json!({"model":"m","input":"hi"});
        body[name] = value;
        let (param, message) = refused(&body);
        assert_eq!(param.as_deref(), Some(name));
        assert!(message.contains("this model's provider") || name == "background", "{message}");
    }
    for item in [json!({"type":"item_reference","id":"msg_1"}), json!({"id":"msg_1"})] {
        let (param, message) = refused(&json!({"model":"m","input":[item]}));
        assert_eq!(param.as_deref(), Some("input[0]"));
        assert!(message.contains("`store: false`"), "{message}");
    }
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    for (body, expected) in [
        (json!([]), None),
        (json!({"input":"hi"}), Some("model")),
        (json!({"model":"m"}), Some("input")),
        (json!({"model":"m","input":7}), Some("input")),
        (json!({"model":"m","input":[{}]}), Some("input[0]")),
        (json!({"model":"m","input":[{"role":"robot","content":"x"}]}), Some("input[0].role")),
        (json!({"model":"m","input":[{"role":"user"}]}), Some("input[0].content")),
        (
            json!({"model":"m","input":[{"role":"user","content":[{"type":"input_image"}]}]}),
            Some("input[0].content[0]"),
        ),
        (json!({"model":"m","input":[{"type":"function_call","call_id":"c"}]}), Some("input[0].name")),
        (json!({"model":"m","input":[{"type":"function_call_output","output":""}]}), Some("input[0].call_id")),
        (json!({"model":"m","input":"hi","max_output_tokens":0}), Some("max_output_tokens")),
        (json!({"model":"m","input":"hi","temperature":"hot"}), Some("temperature")),
        (json!({"model":"m","input":"hi","reasoning":{"effort":"huge"}}), Some("reasoning.effort")),
        (json!({"model":"m","input":"hi","tools":[{"type":"function"}]}), Some("tools[0].name")),
        (json!({"model":"m","input":"hi","tool_choice":7}), Some("tool_choice")),
        (json!({"model":"m","input":"hi","text":{"format":{"type":"json_schema"}}}), Some("text.format.schema")),
    ] {
        assert_eq!(refused(&body).0.as_deref(), expected, "{body}");
    }
    assert!(FRONT.read(b"{", &Place::default()).is_err());
}

#[test]
fn a_custom_tool_is_a_function_of_one_text() {
    let format = json!({"type":"grammar","syntax":"lark","definition":"start: \"x\""});
    let tool = json!({"type":"custom","name":"patch","description":"Edits.","format":format});
    let choice = json!({"type":"custom","name":"patch"});
    let request = read(&json!({"model":"m","input":"hi","tools":[tool],"tool_choice":choice}));
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("patch".into())));
    let tool = &request.tools[0];
    assert!(tool.description.as_ref().is_some_and(|text| text.starts_with("Edits.") && text.contains("start:")));
    assert_eq!(tool.schema.as_ref().map(|schema| &schema["required"]), Some(&json!(["input"])));
    assert_eq!(request.wishes.open().left(), [(Wish::Hint, "tools[0].format")]);
}

#[test]
fn allowed_tools_are_all_that_is_known() {
    let tools = json!([{"type":"function","name":"a"},{"type":"function","name":"b"}]);
    let choice = json!({"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"b"}]});
    let request = read(&json!({"model":"m","input":"hi","tools":tools,"tool_choice":choice}));
    assert_eq!(request.tool_choice, Some(ToolChoice::Required));
    assert_eq!(request.tools.iter().map(|tool| &*tool.name).collect::<Vec<_>>(), ["b"]);
    for (word, expected) in
        [("auto", ToolChoice::Auto), ("none", ToolChoice::None), ("required", ToolChoice::Required)]
    {
        let request = read(&json!({"model":"m","input":"hi","tools":tools,"tool_choice":word}));
        assert_eq!(sent(&request).0["tool_choice"], word);
        assert_eq!(request.tool_choice, Some(expected));
    }
}
