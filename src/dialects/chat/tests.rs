//! What is said in this dialect means the same on both sides of the common form, and what is not to be said is named.

use std::rc::Rc;

use http::HeaderMap;
use proptest::prelude::{any, prop_assert_eq, proptest};
use serde_json::{Value, json};

use super::{COMPATIBLE, ChatProvider, DEEPSEEK, FRONT, GROQ, MISTRAL, OPENAI, provider};
use crate::dialects::conversation::{
    Annotation, Answer, Collector, Content, Delta, Effort, Event, Failure, FailureKind, Family, Finish, Media,
    Message, Part, Reasoning, Request, Role, Signature, Source, Start, Thinking, ToolChoice, ToolResult, Usage,
    Wish,
};
use crate::dialects::{Asked, Front as _, Lost, Place, Provider as _, Sent, Target};

const UNIQUE: &str = "00112233445566778899aabbccddeeff";

fn read(body: &Value) -> Request {
    FRONT.read(body.to_string().as_bytes(), &Place::default()).expect("a request")
}

/// A request whose messages are these.
fn said(messages: &Value) -> Request {
    read(&json!({ "model": "m", "messages": messages }))
}

fn sent(provider: ChatProvider, request: &Request, model: &str) -> (Value, Vec<String>) {
    let sent = provider.chat(request, &Target { model, unique: UNIQUE }).expect("a request");
    let lost = sent.lost.into_iter().map(|lost| lost.name).collect();
    (serde_json::from_slice(&sent.body).expect("JSON"), lost)
}

fn asked() -> Rc<Asked> {
    let request = Request { model: "m".to_owned(), ..Request::default() };
    Rc::new(Asked { request, unique: UNIQUE.to_owned(), now: 7, request_id: "req".to_owned() })
}

fn expected() -> Sent {
    Sent { unique: UNIQUE.to_owned(), ..Sent::default() }
}

/// A stream of these chunks.
fn stream(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

/// Chunks of one choice with these deltas, the last of which ends for this reason.
fn chunks(deltas: &[Value], finish: &str) -> Vec<Value> {
    let mut chunks: Vec<_> = deltas.iter().map(|delta| chunk(delta, &Value::Null)).collect();
    chunks.push(chunk(&json!({}), &json!(finish)));
    chunks
}

fn chunk(delta: &Value, finish: &Value) -> Value {
    json!({ "id": "c1", "model": "m", "created": 5, "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
}

fn events(stream: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let mut decoder = COMPATIBLE.decoder(&expected());
    decoder.feed(stream.as_bytes(), &mut events).expect("a stream");
    decoder.end(&mut events).expect("a stream");
    events
}

fn collected(events: Vec<Event>) -> Answer {
    let mut collector = Collector::default();
    for event in events {
        collector.event(event).expect("no failure");
    }
    collector.finish().expect("an end")
}

fn parts(deltas: &[Value]) -> Vec<Content> {
    let answer = collected(events(&stream(&chunks(deltas, "stop"))));
    answer.choices.into_iter().flat_map(|choice| choice.parts).map(|part| part.content).collect()
}

fn encoded(events: &[Event]) -> String {
    let (mut encoder, mut out) = (FRONT.encoder(&asked()), Vec::new());
    for event in events {
        encoder.event(event, &mut out);
    }
    String::from_utf8(out).expect("text")
}

/// The chunks of a stream.
fn written(events: &[Event]) -> Vec<Value> {
    let text = encoded(events);
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

fn thought(text: &str, signature: Option<Signature>, redacted: Option<Signature>) -> Part {
    Part::new(Content::Reasoning(Reasoning { text: text.to_owned(), signature, redacted, id: None }))
}

// ------------------------------------------------------------------------------------------------ requests

/// Everything that the dialect and `OpenAI` know, in the form in which it is written back.
fn everything() -> Value {
    json!({
        "model": "m",
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "developer", "content": "Be kind.", "name": "dev" },
            { "role": "user", "content": [
                { "type": "text", "text": "Look." },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA", "detail": "low" } },
                { "type": "image_url", "image_url": { "url": "https://example.org/a.png" } },
                { "type": "input_audio", "input_audio": { "data": "BBBB", "format": "mp3" } },
                { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,CCCC" } },
                { "type": "file", "file": { "file_id": "file-1" } },
            ] },
            { "role": "assistant", "content": "One moment.", "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "look", "arguments": "{\"at\":1}" } },
                { "id": "call_2", "type": "function", "function": { "name": "look", "arguments": "{}" } },
            ] },
            { "role": "tool", "tool_call_id": "call_1", "content": "a" },
            { "role": "tool", "tool_call_id": "call_2", "content": [
                { "type": "text", "text": "b" }, { "type": "text", "text": "c" },
            ] },
            { "role": "assistant", "content": [{ "type": "refusal", "refusal": "No." }] },
            { "role": "assistant", "content": null, "audio": { "id": "audio_1" } },
            { "role": "user", "content": "And?", "name": "ann" },
        ],
        "tools": [
            { "type": "function", "function": {
                "name": "look", "description": "Looks.", "parameters": { "type": "object" }, "strict": true,
            } },
            { "type": "function", "function": { "name": "wait" } },
        ],
        "tool_choice": { "type": "function", "function": { "name": "look" } },
        "response_format": { "type": "json_schema", "json_schema": {
            "name": "s", "schema": { "type": "object" }, "description": "d", "strict": true,
        } },
        "max_completion_tokens": 9, "temperature": 0.5, "top_p": 0.9, "frequency_penalty": 0.1, "presence_penalty": 0.2,
        "seed": 4, "n": 2, "logprobs": true, "top_logprobs": 3, "logit_bias": { "50": -100 }, "parallel_tool_calls": false,
        "stop": ["a", "b"], "service_tier": "flex", "verbosity": "low", "modalities": ["text", "audio"],
        "audio": { "voice": "ash", "format": "wav" }, "prediction": { "type": "content", "content": "x" }, "user": "u",
        "store": true, "prompt_cache_key": "k", "prompt_cache_retention": "24h", "metadata": { "a": "b" },
        "web_search_options": {}, "reasoning_effort": "high", "stream": true,
        "stream_options": { "include_usage": true },
    })
}

#[test]
fn a_request_is_the_same_on_the_other_side() {
    let (body, lost) = sent(OPENAI, &read(&everything()), "m");
    assert_eq!(lost, [""; 0]);
    assert_eq!(body, everything());
}

proptest! {
    /// Whatever a client leaves out of everything.
    #[test]
    fn any_request_is_the_same_on_the_other_side(members in any::<u64>(), messages in any::<u16>()) {
        let mut body = everything();
        let keeps = |set: u64, at: usize| set & (1 << at) != 0;
        let names: Vec<_> = body.as_object().expect("an object").keys().cloned().collect();
        for (at, name) in names.iter().enumerate() {
            if !["model", "messages"].contains(&&**name) && !keeps(members, at) {
                body.as_object_mut().expect("an object").remove(name);
            }
        }
        for (needed, name) in [("tools", "tool_choice"), ("store", "metadata"), ("stream", "stream_options")] {
            if body.get(needed).is_none() {
                body.as_object_mut().expect("an object").remove(name);
            }
        }
        if body.get("stream").is_some() {
            body["stream_options"] = json!({ "include_usage": true });
        }
        let mut at = 0;
        body["messages"].as_array_mut().expect("messages").retain(|_| {
            at += 1;
            at == 1 || keeps(u64::from(messages), at)
        });
        let (written, lost) = sent(OPENAI, &read(&body), "m");
        prop_assert_eq!(lost, [""; 0]);
        prop_assert_eq!(written, body);
    }
}

#[test]
fn compatible_servers_get_what_they_know() {
    let request = read(&json!({
        "model": "m",
        "messages": [
            { "role": "developer", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] },
            { "role": "user", "content": "c" },
        ],
        "max_completion_tokens": 5, "top_k": 3, "min_p": 0.1, "repetition_penalty": 1.1, "stop": ["1", "2", "3", "4", "5"],
        "user": "u", "metadata": { "a": "b" }, "store": true, "chat_template_kwargs": { "a": 1 }, "mystery": 1,
    }));
    let (body, lost) = sent(COMPATIBLE, &request, "n");
    assert_eq!(
        body,
        json!({
            "model": "n",
            "messages": [{ "role": "system", "content": "a\n\nb" }, { "role": "user", "content": "c" }],
            "max_tokens": 5, "stop": ["1", "2", "3", "4", "5"], "top_k": 3, "min_p": 0.1, "repetition_penalty": 1.1,
            "chat_template_kwargs": { "a": 1 },
        })
    );
    assert_eq!(lost, ["user", "metadata", "store", "mystery"]);
    let (_, lost) = sent(OPENAI, &request, "n");
    assert_eq!(lost, ["top_k", "min_p", "repetition_penalty", "stop", "chat_template_kwargs", "mystery"]);
}

#[test]
fn what_asks_for_nothing_is_no_wish() {
    let request = read(&json!({
        "model": "m", "messages": [{ "role": "user", "content": "a" }], "n": 1, "logprobs": false, "top_logprobs": null,
        "frequency_penalty": 0, "presence_penalty": 0.0, "parallel_tool_calls": true, "store": false, "stop": null,
        "tool_choice": "auto", "tools": [], "response_format": { "type": "text" }, "logit_bias": {}, "metadata": {},
        "service_tier": "auto", "modalities": ["text"], "stream": null, "stream_options": null, "mystery": null,
        "reasoning_effort": null, "verbosity": "medium", "functions": null, "repetition_penalty": 1, "top_k": -1,
    }));
    let plain = said(&json!([{ "role": "user", "content": "a" }]));
    assert_eq!(request, plain);
}

#[test]
fn what_is_no_function_is_named() {
    let request = read(&json!({
        "model": "m", "messages": [{ "role": "user", "content": "a" }],
        "tools": [
            { "type": "custom", "custom": { "name": "sql" } },
            { "type": "function", "function": { "name": "f" } },
            { "type": "openrouter:web_search" },
        ],
        "tool_choice": { "type": "custom", "custom": { "name": "sql" } },
        "response_format": { "type": "grammar" },
    }));
    assert_eq!(request.tools.len(), 1);
    let (_, lost) = sent(OPENAI, &request, "m");
    assert_eq!(lost, ["tools[0]", "tools[2]", "response_format", "tool_choice"]);
}

#[test]
fn every_form_of_choice_is_read() {
    let tools = json!([
        { "type": "function", "function": { "name": "a" } }, { "type": "function", "function": { "name": "b" } },
    ]);
    let read = |choice: Value| {
        let request = read(&json!({
            "model": "m", "messages": [{ "role": "user", "content": "a" }], "tools": tools, "tool_choice": choice,
        }));
        (request.tool_choice.expect("a choice"), request.tools.len())
    };
    assert_eq!(read(json!("none")), (ToolChoice::None, 2));
    assert_eq!(read(json!("required")), (ToolChoice::Required, 2));
    assert_eq!(read(json!("any")), (ToolChoice::Required, 2));
    assert_eq!(
        read(json!({ "type": "function", "function": { "name": "b" } })),
        (ToolChoice::Named("b".into()), 2)
    );
    let allowed = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [
        { "type": "function", "function": { "name": "b" } },
    ] } });
    assert_eq!(read(allowed), (ToolChoice::Required, 1));
}

#[test]
fn functions_of_old_become_tools() {
    let request = read(&json!({
        "model": "m",
        "messages": [
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": null, "function_call": { "name": "f", "arguments": "{}" } },
            { "role": "function", "name": "f", "content": "done" },
        ],
        "functions": [{ "name": "f", "parameters": { "type": "object" } }],
        "function_call": { "name": "f" },
    }));
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("f".to_owned())));
    let (body, _) = sent(OPENAI, &request, "m");
    assert_eq!(body["messages"][1]["tool_calls"][0]["id"], body["messages"][2]["tool_call_id"]);
    let orphan = json!({ "model": "m", "messages": [{ "role": "function", "name": "f", "content": "x" }] });
    let refusal = FRONT.read(orphan.to_string().as_bytes(), &Place::default()).expect_err("no call");
    assert_eq!(refusal.param.as_deref(), Some("messages[0].name"));
}

#[test]
fn a_wrong_request_is_refused_by_the_field() {
    let message = json!([{ "role": "user", "content": "a" }]);
    for (body, param) in [
        (json!({ "messages": message }), "model"),
        (json!({ "model": "m" }), "messages"),
        (json!({ "model": "m", "messages": [] }), "messages"),
        (json!({ "model": "m", "messages": [{}] }), "messages[0].role"),
        (json!({ "model": "m", "messages": [{ "role": "king" }] }), "messages[0].role"),
        (json!({ "model": "m", "messages": [{ "role": "user", "content": 1 }] }), "messages[0].content"),
        (json!({ "model": "m", "messages": [{ "role": "user", "content": [{}] }] }), "messages[0].content[0]"),
        (json!({ "model": "m", "messages": [{ "role": "tool", "content": "a" }] }), "messages[0].tool_call_id"),
        (json!({ "model": "m", "messages": message, "temperature": "hot" }), "temperature"),
        (json!({ "model": "m", "messages": message, "stop": 1 }), "stop"),
        (json!({ "model": "m", "messages": message, "stream": "yes" }), "stream"),
        (json!({ "model": "m", "messages": message, "tools": {} }), "tools"),
    ] {
        let refusal = FRONT.read(body.to_string().as_bytes(), &Place::default()).expect_err("a wrong request");
        assert_eq!(refusal.param.as_deref(), Some(param), "{}", refusal.message);
    }
    assert!(FRONT.read(b"[]", &Place::default()).is_err());
    assert!(FRONT.read(b"{", &Place::default()).is_err());
}

#[test]
fn thinking_is_read_from_every_dialect_of_this_dialect() {
    for (body, effort, enabled, budget) in [
        (json!({ "reasoning_effort": "low" }), Some(Effort::Low), None, None),
        (json!({ "reasoning": { "effort": "xhigh", "exclude": true } }), Some(Effort::XHigh), None, None),
        (json!({ "reasoning": { "max_tokens": 2000, "enabled": true } }), None, Some(true), Some(2000)),
        (json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } }), None, Some(true), Some(1024)),
        (json!({ "thinking": { "type": "disabled" } }), None, Some(false), None),
        (json!({ "enable_thinking": true, "thinking_budget": 50 }), None, Some(true), Some(50)),
    ] {
        let mut body = body;
        body["model"] = json!("m");
        body["messages"] = json!([{ "role": "user", "content": "a" }]);
        let request = read(&body);
        assert!(request.wishes.is_empty());
        let thinking = request.thinking.expect("it says how to think");
        assert_eq!((thinking.effort, thinking.enabled, thinking.budget), (effort, enabled, budget));
    }
}

#[test]
fn thinking_is_asked_for_as_the_model_knows_it() {
    let body = |provider: ChatProvider, asked: Value, model: &str| {
        let mut body = asked;
        body["model"] = json!("m");
        body["messages"] = json!([{ "role": "user", "content": "a" }]);
        let (sent, lost) = sent(provider, &read(&body), model);
        (sent.get("reasoning_effort").cloned(), sent.get("thinking").cloned(), lost.len())
    };
    let off = json!({ "thinking": { "type": "disabled" } });
    assert_eq!(body(OPENAI, off.clone(), "gpt-5.2"), (Some(json!("none")), None, 0));
    assert_eq!(body(OPENAI, off.clone(), "gpt-5-mini"), (Some(json!("minimal")), None, 0));
    assert_eq!(body(OPENAI, off.clone(), "gpt-4o"), (None, None, 0));
    assert_eq!(body(OPENAI, off.clone(), "o3"), (None, None, 1));
    assert_eq!(body(COMPATIBLE, off, "deepseek-chat"), (None, Some(json!({ "type": "disabled" })), 0));
    let much = json!({ "reasoning": { "max_tokens": 12000 } });
    assert_eq!(body(OPENAI, much.clone(), "o3"), (Some(json!("high")), None, 0));
    assert_eq!(
        body(COMPATIBLE, much, "deepseek-chat"),
        (Some(json!("high")), Some(json!({ "type": "enabled" })), 0)
    );
    assert_eq!(body(OPENAI, json!({ "reasoning_effort": "max" }), "gpt-5.2").0, Some(json!("xhigh")));
    let mut request = said(&json!([{ "role": "user", "content": "a" }]));
    request.thinking = Some(Thinking { budget: Some(2000), ..Thinking::default() });
    let (body, _) = sent(COMPATIBLE, &request, "anthropic/claude-sonnet-4.5");
    assert_eq!((&body["reasoning"], body.get("reasoning_effort")), (&json!({ "max_tokens": 2000 }), None));
}

#[test]
fn thoughts_go_back_to_whom_they_belong() {
    let assistant = json!({ "role": "assistant", "content": "b",
        "reasoning_content": "plain",
        "reasoning_details": [
            { "type": "reasoning.text", "text": "si", "index": 0 },
            { "type": "reasoning.text", "text": "gned", "index": 0 },
            { "type": "reasoning.text", "signature": "S", "format": "anthropic-claude-v1", "index": 0 },
            { "type": "reasoning.encrypted", "data": "R", "format": "anthropic-claude-v1", "index": 1 },
            { "type": "reasoning.encrypted", "data": "X", "format": "xai-responses-v1", "index": 2 },
        ],
    });
    let request =
        said(&json!([{ "role": "user", "content": "a" }, assistant, { "role": "user", "content": "c" }]));
    let signed = Signature::new(Family::Anthropic, "S");
    let redacted = Signature::new(Family::Anthropic, "R");
    assert_eq!(request.messages[1].parts[0], thought("signed", Some(signed), None));
    assert_eq!(request.messages[1].parts[1], thought("", None, Some(redacted)));
    let (body, lost) = sent(COMPATIBLE, &request, "anthropic/claude-sonnet-4.5");
    assert_eq!(
        body["messages"][1]["reasoning_details"],
        json!([
            { "type": "reasoning.text", "text": "signed", "index": 0, "signature": "S", "format": "anthropic-claude-v1" },
            { "type": "reasoning.encrypted", "data": "R", "format": "anthropic-claude-v1", "index": 1 },
            { "type": "reasoning.encrypted", "data": "X", "format": "xai-responses-v1", "index": 2 },
        ])
    );
    assert_eq!(lost, [""; 0]);
    for (provider, model) in [(OPENAI, "gpt-5"), (COMPATIBLE, "deepseek-chat"), (COMPATIBLE, "google/gemini-3")] {
        let (body, lost) = sent(provider, &request, model);
        assert!(body["messages"][1].get("reasoning_details").is_none() || model.starts_with("google"));
        assert!(body["messages"][1].get("reasoning_content").is_none());
        assert_eq!(lost, [""; 0]);
    }
}

#[test]
fn models_that_want_thoughts_beside_their_calls_get_them() {
    let call = json!([{ "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" } }]);
    let thinks = json!({ "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": call });
    let calls = json!({ "role": "assistant", "content": null, "tool_calls": call });
    let result = json!({ "role": "tool", "tool_call_id": "1", "content": "r" });
    let user = json!({ "role": "user", "content": "a" });
    let says = json!({ "role": "assistant", "content": "b", "reasoning_content": "hm" });
    let request = said(&json!([user, thinks, result, calls, result, says, user]));
    for (provider, model, wants) in [
        (DEEPSEEK, "deepseek-reasoner", true),
        (COMPATIBLE, "kimi-k2-thinking", true),
        (COMPATIBLE, "moonshotai/kimi-k2-instruct", false),
        (GROQ, "deepseek-r1", false),
        (MISTRAL, "magistral", false),
        (OPENAI, "gpt-5", false),
    ] {
        let (body, lost) = sent(provider, &request, model);
        let thought = |at: usize| body["messages"][at].get("reasoning_content").and_then(Value::as_str);
        let expected = if wants { [Some("hm"), Some(""), None] } else { [None; 3] };
        assert_eq!([thought(1), thought(3), thought(5)], expected, "{model}");
        assert_eq!(lost, [""; 0]);
    }
}

#[test]
fn strict_servers_are_not_told_what_they_refuse() {
    let request = read(&json!({
        "model": "m", "messages": [{ "role": "user", "content": "a", "name": "ann" }], "stream": true, "seed": 1, "n": 2,
        "logprobs": true, "logit_bias": { "1": 1 }, "top_k": 2, "max_tokens": 3, "temperature": 1, "user": "u",
    }));
    let messages = json!([{ "role": "user", "content": "a" }]);
    let (body, lost) = sent(*provider(Some("mistral")), &request, "m");
    let expected = json!({ "model": "m", "messages": messages, "max_tokens": 3, "temperature": 1, "n": 2,
        "random_seed": 1, "stream": true });
    assert_eq!(body, expected);
    assert_eq!(lost, ["logprobs", "logit_bias", "top_k", "user"]);
    let (body, lost) = sent(*provider(Some("groq")), &request, "m");
    let expected = json!({ "model": "m", "messages": messages, "max_tokens": 3, "temperature": 1, "seed": 1,
        "stream": true, "stream_options": { "include_usage": true } });
    assert_eq!(body, expected);
    assert_eq!(lost, ["n", "logprobs", "logit_bias", "top_k", "user"]);
    let (_, lost) = sent(*provider(Some("deepseek")), &request, "m");
    assert_eq!(lost, ["seed", "n", "logit_bias", "top_k", "user"]);
    let (_, lost) = sent(*provider(None), &request, "m");
    assert_eq!(lost, ["user"]);
}

#[test]
fn litellm_s_blocks_are_thoughts() {
    let request =
        said(&json!([{ "role": "assistant", "content": "b", "reasoning_content": "t", "thinking_blocks": [
        { "type": "thinking", "thinking": "t", "signature": "S" },
        { "type": "redacted_thinking", "data": "ms1:bedrock:R" },
    ] }]));
    let parts = &request.messages[0].parts;
    assert_eq!(parts[0], thought("t", Some(Signature::new(Family::Anthropic, "S")), None));
    assert_eq!(parts[1], thought("", None, Some(Signature::new(Family::Bedrock, "R"))));
    assert_eq!(parts.len(), 3);
}

#[test]
fn signatures_on_calls_go_to_gemini_alone() {
    let call = json!({ "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" },
        "extra_content": { "google": { "thought_signature": "G" } } });
    let request = said(&json!([{ "role": "assistant", "content": null, "tool_calls": [call] }]));
    let (body, _) = sent(COMPATIBLE, &request, "gemini-3-pro");
    assert_eq!(body["messages"][0]["tool_calls"][0], call);
    let (body, _) = sent(COMPATIBLE, &request, "mistral-large");
    assert!(body["messages"][0]["tool_calls"][0].get("extra_content").is_none());
}

#[test]
fn media_of_tools_follow_as_the_user_s() {
    let picture = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } });
    let request = said(&json!([
        { "role": "tool", "tool_call_id": "1", "content": [picture] },
        { "role": "tool", "tool_call_id": "2", "content": "b" },
        { "role": "assistant", "content": "c" },
    ]));
    let (body, lost) = sent(OPENAI, &request, "m");
    assert_eq!(body["messages"][0]["content"], "(attached below)");
    assert_eq!(body["messages"][1]["content"], "b");
    assert_eq!(body["messages"][2], json!({ "role": "user", "content": [picture] }));
    assert_eq!(body["messages"][3]["role"], "assistant");
    assert_eq!(lost, [""; 0]);
}

#[test]
fn what_can_t_be_said_is_named_by_its_place() {
    let foreign = Content::Foreign { kind: "server_tool_use".to_owned(), value: json!({}) };
    let request = Request {
        messages: vec![Message {
            role: Role::Assistant,
            parts: vec![Part::text("a"), Part::new(foreign)],
            name: None,
        }],
        ..Request::default()
    };
    assert_eq!(sent(OPENAI, &request, "m").1, ["messages[0].content[1]"]);
    let own = said(&json!([{ "role": "user", "content": [{ "type": "file_url", "file_url": { "url": "u" } }] }]));
    let (body, lost) = sent(COMPATIBLE, &own, "m");
    assert_eq!((&body["messages"][0]["content"][0]["file_url"]["url"], lost.len()), (&json!("u"), 0));
}

#[test]
fn markers_of_the_cache_are_kept_or_a_hint() {
    let request = said(&json!([{ "role": "user", "content": [
        { "type": "text", "text": "a", "cache_control": { "type": "ephemeral" } },
        { "type": "text", "text": "b", "cache_control": { "type": "ephemeral" } },
    ] }]));
    let hint = Lost { name: "cache_control".to_owned(), is_hint: true };
    let target = Target { model: "m", unique: UNIQUE };
    assert_eq!(OPENAI.chat(&request, &target).expect("a request").lost, [hint]);
    let (body, lost) = sent(COMPATIBLE, &request, "anthropic/claude-sonnet-4.5");
    assert_eq!(body["messages"][0]["content"][1]["cache_control"], json!({ "type": "ephemeral" }));
    assert_eq!(lost, [""; 0]);
}

#[test]
fn long_ids_are_shortened_alike() {
    let id = "x".repeat(64);
    let mut request = said(&json!([{ "role": "assistant", "content": null, "tool_calls": [
        { "id": id, "type": "function", "function": { "name": "f", "arguments": "" } },
    ] }]));
    let result = ToolResult { id, parts: vec![Part::text("r")], ..ToolResult::default() };
    let parts = vec![Part::new(Content::ToolResult(result))];
    request.messages.push(Message { role: Role::Tool, parts, name: None });
    let (body, _) = sent(OPENAI, &request, "m");
    let id = body["messages"][0]["tool_calls"][0]["id"].as_str().expect("an id");
    assert!(id.len() <= 40);
    assert_eq!(body["messages"][1]["tool_call_id"], id);
    assert_eq!(body["messages"][0]["tool_calls"][0]["function"]["arguments"], "{}");
}

// ------------------------------------------------------------------------------------------------- answers

#[test]
fn thoughts_are_heard_under_every_name() {
    let all = [
        vec![json!({ "reasoning_content": "a" }), json!({ "reasoning_content": "b" })],
        vec![json!({ "reasoning": "a" }), json!({ "reasoning": "b", "content": "" })],
        vec![json!({ "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "ab" }] }] })],
        vec![
            json!({ "reasoning": "a", "reasoning_details": [{ "type": "reasoning.text", "text": "a", "index": 0 }] }),
            json!({ "reasoning": "b", "reasoning_details": [{ "type": "reasoning.summary", "summary": "b", "index": 0 }] }),
        ],
    ];
    for mut deltas in all {
        deltas.push(json!({ "content": "c" }));
        let parts = parts(&deltas);
        let expected = [thought("ab", None, None).content, Part::text("c").content];
        assert_eq!(parts, expected);
    }
}

#[test]
fn a_summary_and_its_secret_are_one_thought() {
    let parts = parts(&[
        json!({ "reasoning_details": [{ "type": "reasoning.summary", "summary": "s", "format": "openai-responses-v1", "index": 0 }] }),
        json!({ "reasoning_details": [
            { "type": "reasoning.encrypted", "data": "E", "format": "openai-responses-v1", "id": "rs_1", "index": 0 },
        ] }),
    ]);
    let redacted = Some(Signature::new(Family::OpenAi, "E"));
    let expected =
        Reasoning { text: "s".to_owned(), redacted, id: Some("rs_1".to_owned()), ..Reasoning::default() };
    assert_eq!(parts, [Content::Reasoning(expected)]);
}

fn calls(deltas: &[Value]) -> Vec<(String, String, String)> {
    let calls = parts(deltas).into_iter().map(|content| match content {
        Content::ToolCall(call) => (call.id, call.name, call.arguments),
        other => panic!("no call: {other:?}"),
    });
    calls.collect()
}

#[test]
fn calls_are_told_apart_however_they_are_numbered() {
    let piece = |index: Value, id: Value, name: Value, arguments: &str| {
        let mut piece = json!({ "function": { "name": name, "arguments": arguments } });
        for (key, value) in [("index", index), ("id", id)] {
            if !value.is_null() {
                piece[key] = value;
            }
        }
        piece
    };
    let one = |piece: Value| json!({ "tool_calls": [piece] });
    let two =
        vec![("1".to_owned(), "f".to_owned(), "{}".to_owned()), ("2".to_owned(), "g".to_owned(), "{}".to_owned())];
    let null = Value::Null;
    for deltas in [
        // As OpenAI does, mixed.
        vec![
            one(piece(json!(0), json!("1"), json!("f"), "")),
            one(piece(json!(1), json!("2"), json!("g"), "{")),
            one(piece(json!(0), null.clone(), null.clone(), "{}")),
            one(piece(json!(1), null.clone(), null.clone(), "}")),
        ],
        // The id, or another one, in every piece.
        vec![
            one(piece(json!(0), json!("1"), json!("f"), "{")),
            one(piece(json!(0), json!("1"), null.clone(), "}")),
            one(piece(json!(1), json!("2"), json!("g"), "{")),
            one(piece(json!(1), json!("9"), null.clone(), "}")),
        ],
        // No index.
        vec![
            one(piece(null.clone(), json!("1"), json!("f"), "{")),
            one(piece(null.clone(), null.clone(), null.clone(), "}")),
            one(piece(null.clone(), json!("2"), json!("g"), "{")),
            one(piece(null.clone(), json!("2"), null.clone(), "}")),
        ],
        // All at once, with the same index.
        vec![json!({ "tool_calls": [
            piece(json!(0), json!("1"), json!("f"), "{}"), piece(json!(0), json!("2"), json!("g"), "{}"),
        ] })],
        // The name comes late.
        vec![
            one(piece(json!(0), json!("1"), json!(""), "{")),
            one(piece(json!(0), null.clone(), json!("f"), "}")),
            one(piece(json!(1), json!("2"), json!("g"), "{}")),
        ],
    ] {
        assert_eq!(calls(&deltas), two, "{deltas:?}");
    }
    // Without any id: made up, and different.
    let made = calls(&[json!({ "tool_calls": [
        piece(null.clone(), null.clone(), json!("f"), "{}"), piece(null.clone(), null, json!("f"), "{}"),
    ] })]);
    assert_eq!(made.len(), 2);
    assert!(made[0].0 != made[1].0 && made.iter().all(|(id, ..)| id.len() <= 40 && id.starts_with("call_")));
    assert_eq!(
        calls(&[
            json!({ "function_call": { "name": "f", "arguments": "{" } }),
            json!({ "function_call": { "arguments": "}" } })
        ])[0]
            .2,
        "{}"
    );
}

#[test]
fn a_stream_ends_with_its_last_word_or_a_reason_for_all() {
    let ended = |text: &str| events(text).last() == Some(&Event::End);
    let whole = stream(&chunks(&[json!({ "content": "a" })], "stop"));
    assert!(ended(&whole));
    let without = whole.replace("data: [DONE]\n\n", "");
    assert!(ended(&without));
    // One choice of two is not finished.
    let second = json!({ "choices": [{ "index": 1, "delta": { "content": "b" } }] });
    assert!(!ended(&format!("data: {second}\n\n{without}")));
    assert!(!ended(": nothing\n\ndata: [DONE]\n\n"));
    for cut in 0..whole.len() {
        let mut events = Vec::new();
        COMPATIBLE.decoder(&expected()).feed(&whole.as_bytes()[..cut], &mut events).expect("a piece");
        assert!(!events.contains(&Event::End) || cut + 1 == whole.len(), "at {cut}");
    }
}

#[test]
fn late_pieces_come_before_the_finish() {
    let mut chunks = chunks(&[json!({ "content": "a" })], "length");
    chunks.push(chunk(
        &json!({ "content": "", "annotations": [{ "type": "url_citation", "url_citation":
        { "url": "u", "title": "t", "start_index": 1, "end_index": 2 } }] }),
        &json!("stop"),
    ));
    chunks.push(
        json!({ "choices": [], "usage": { "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3 } }),
    );
    chunks.insert(0, json!({ "id": "", "model": "", "choices": [], "prompt_filter_results": [] }));
    let events = events(&stream(&chunks));
    assert!(matches!(&events[0], Event::Start(start) if start.id == "c1"));
    let finish = Event::Finish { choice: 0, finish: Finish::Length };
    assert_eq!(events[events.len() - 2..], [finish, Event::End]);
    assert!(
        matches!(&events[2], Event::Delta { delta: Delta::Annotation(said), .. } if said.range == Some((1, 2)))
    );
}

#[test]
fn words_for_the_end_are_understood() {
    for (word, finish) in [
        ("stop", Finish::Stop),
        ("length", Finish::Length),
        ("model_length", Finish::Window),
        ("content_filter", Finish::ContentFilter),
        ("weird", Finish::Other("weird".to_owned())),
    ] {
        let answer = collected(events(&stream(&chunks(&[json!({ "content": "a" })], word))));
        assert_eq!(answer.choices[0].finish, Some(finish));
    }
    let call =
        json!({ "tool_calls": [{ "index": 0, "id": "1", "function": { "name": "f", "arguments": "{}" } }] });
    for word in ["stop", "tool_calls", "function_call"] {
        let answer = collected(events(&stream(&chunks(std::slice::from_ref(&call), word))));
        assert_eq!(answer.choices[0].finish, Some(Finish::ToolCalls));
    }
    for (word, kind) in [("error", FailureKind::Server), ("insufficient_system_resource", FailureKind::Overloaded)]
    {
        let events = events(&stream(&chunks(&[json!({ "content": "a" })], word)));
        assert!(matches!(events.last(), Some(Event::Failed(failure)) if failure.kind == kind));
    }
}

#[test]
fn costs_are_counted_alike() {
    let usage = |usage: Value| {
        let chunk = json!({ "id": "1", "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }], "usage": usage });
        collected(events(&stream(&[chunk]))).usage
    };
    let expected = Usage { input: 10, output: 7, ..Usage::default() };
    assert_eq!(usage(json!({ "prompt_tokens": 10, "completion_tokens": 7 })), Some(expected));
    assert_eq!(usage(json!(null)), None);
    assert_eq!(
        usage(json!({ "prompt_tokens": 10, "completion_tokens": 7, "prompt_cache_hit_tokens": 4 })),
        Some(Usage { cache_read: Some(4), ..expected })
    );
    // xAI counts thought beside.
    assert_eq!(
        usage(json!({ "prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 17,
            "completion_tokens_details": { "reasoning_tokens": 5 } })),
        Some(Usage { reasoning: Some(5), ..expected })
    );
    let groq = json!({ "id": "1", "choices": [{ "delta": {}, "finish_reason": "stop" }],
        "x_groq": { "usage": { "prompt_tokens": 10, "completion_tokens": 7 } } });
    assert_eq!(collected(events(&stream(&[groq]))).usage, Some(expected));
    let full = Usage {
        cache_read: Some(1),
        cache_write: Some(2),
        input_audio: Some(3),
        reasoning: Some(4),
        output_audio: Some(5),
        predicted: Some((6, 7)),
        ..expected
    };
    assert_eq!(super::usage::read(&super::usage::write(&full)), Some(full));
}

#[test]
fn errors_in_a_stream_are_the_last_event() {
    for (error, kind, message) in [
        (json!({ "error": { "message": "no", "type": "server_error" } }), FailureKind::Server, "no"),
        (json!({ "error": { "message": "no", "code": 429 }, "choices": [] }), FailureKind::RateLimited, "no"),
        (json!({ "error": { "message": "no", "code": "x", "status_code": 400 } }), FailureKind::BadRequest, "no"),
        (json!({ "error": { "message": "no", "code": "insufficient_quota" } }), FailureKind::Billing, "no"),
        (json!({ "error": "no" }), FailureKind::Server, "no"),
        (json!({ "object": "error", "message": "no", "code": 404 }), FailureKind::NotFound, "no"),
        (
            json!({ "choices": [{ "error": { "code": 502, "message": "no" }, "finish_reason": "error" }] }),
            FailureKind::Server,
            "no",
        ),
        (
            json!({ "error": { "message": "Provider returned error", "code": 503, "metadata": { "raw":
            "{\"error\":{\"message\":\"busy\"}}" } } }),
            FailureKind::Overloaded,
            "busy",
        ),
    ] {
        let events = events(&format!(
            "data: {}\n\ndata: {error}\n\ndata: [DONE]\n\n",
            chunk(&json!({ "content": "a" }), &Value::Null)
        ));
        let Some(Event::Failed(failure)) = events.last() else { panic!("no failure in {events:?}") };
        assert_eq!((failure.kind, &*failure.message), (kind, message), "{error}");
    }
    let named = events("event: error\ndata: {\"message\":\"no\"}\n\n");
    assert!(matches!(named.last(), Some(Event::Failed(failure)) if failure.message == "no"));
}

#[test]
fn errors_in_place_of_an_answer_are_understood() {
    for (status, body, kind, message, code) in [
        (
            401,
            r#"{"error":{"message":"bad key","code":"invalid_api_key"}}"#,
            FailureKind::Unauthenticated,
            "bad key",
            Some("invalid_api_key"),
        ),
        (
            429,
            r#"{"error":{"message":"m","type":"insufficient_quota"}}"#,
            FailureKind::Billing,
            "m",
            Some("insufficient_quota"),
        ),
        (422, r#"{"detail":[{"loc":["body"],"msg":"a"},{"msg":"b"}]}"#, FailureKind::BadRequest, "a; b", None),
        (
            422,
            r#"{"object":"error","message":{"detail":[{"msg":"a"}]},"type":"invalid_request_error"}"#,
            FailureKind::BadRequest,
            "a",
            Some("invalid_request_error"),
        ),
        (
            400,
            r#"[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]"#,
            FailureKind::BadRequest,
            "m",
            Some("INVALID_ARGUMENT"),
        ),
        (
            404,
            r#"{"code":"not found","error":"no such model"}"#,
            FailureKind::NotFound,
            "no such model",
            Some("not found"),
        ),
        (498, r#"{"error":{"message":"m"}}"#, FailureKind::Overloaded, "m", None),
        (502, "<html>secret</html>", FailureKind::Server, "The provider answered with status 502.", None),
        (503, "upstream connect error\n", FailureKind::Overloaded, "upstream connect error", None),
        (500, "", FailureKind::Server, "The provider answered with status 500.", None),
    ] {
        let failure = COMPATIBLE.failure(status, &HeaderMap::new(), body.as_bytes());
        assert_eq!(
            (failure.kind, failure.status, &*failure.message, failure.code.as_deref()),
            (kind, status, message, code)
        );
    }
}

#[test]
fn whole_answers_agree_with_streams() {
    let message = json!({
        "role": "assistant", "content": "a", "reasoning": "t", "refusal": null, "annotations": [],
        "images": [{ "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }],
        "tool_calls": [{ "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" } }],
    });
    let whole = json!({ "id": "c1", "model": "m", "created": 5, "choices": [
        { "index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": { "content": [{ "token": "a" }] } },
    ], "usage": { "prompt_tokens": 1, "completion_tokens": 2 } });
    let answer = OPENAI.answer(&expected(), whole.to_string().as_bytes()).expect("an answer");
    let mut streamed = chunks(
        &[
            json!({ "reasoning": "t" }),
            json!({ "content": "a" }),
            json!({ "images": message["images"] }),
            json!({ "tool_calls": message["tool_calls"] }),
        ],
        "tool_calls",
    );
    streamed[0]["choices"][0]["logprobs"] = json!({ "content": [{ "token": "a" }] });
    streamed.push(json!({ "choices": [], "usage": whole["usage"] }));
    assert_eq!(collected(events(&stream(&streamed))), answer);
    assert!(
        matches!(&answer.choices[0].parts[2].content, Content::Media(media) if media.source == Source::Base64("AAAA".into()))
    );
    for wrong in ["", "[]", "{}", r#"{"error":{"message":"no"}}"#, r#"{"choices":[{"finish_reason":"error"}]}"#] {
        assert!(OPENAI.answer(&expected(), wrong.as_bytes()).is_err(), "{wrong}");
    }
}

/// Every value that `value` becomes when one of its members is something else.
fn spoilt(value: &Value) -> Vec<Value> {
    let others = [json!(null), json!(u64::MAX), json!("x"), json!([{}]), json!({})];
    let mut all = others.to_vec();
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                all.extend(spoilt(member).into_iter().map(|spoilt| {
                    let mut members = members.clone();
                    members.insert(name.clone(), spoilt);
                    Value::Object(members)
                }));
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                all.extend(spoilt(item).into_iter().map(|spoilt| {
                    let mut items = items.clone();
                    items[at] = spoilt;
                    Value::Array(items)
                }));
            }
        }
        _ => {}
    }
    all
}

#[test]
fn nothing_that_is_sent_stops_the_program() {
    for body in spoilt(&everything()) {
        if let Ok(request) = FRONT.read(body.to_string().as_bytes(), &Place::default()) {
            sent(COMPATIBLE, &request, "anthropic/claude");
        }
    }
    let delta = json!({
        "role": "assistant", "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "a" }] }],
        "reasoning_details": [
            { "type": "reasoning.text", "text": "t", "signature": "s", "format": "f", "index": 0, "id": "i" },
            { "type": "reasoning.encrypted", "data": "d", "format": "google-gemini-v1", "index": 1 },
        ],
        "thinking_blocks": [{ "type": "thinking", "thinking": "t", "signature": "s" }],
        "annotations": [{ "type": "url_citation", "url_citation": { "url": "u", "start_index": 1, "end_index": 2 } }],
        "images": [{ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA" } }],
        "audio": { "data": "AA==", "transcript": "t" }, "refusal": "r", "function_call": { "name": "f", "arguments": "{}" },
        "tool_calls": [{ "index": 0, "id": "1", "function": { "name": "f", "arguments": "{" }, "extra_content": { "google": {
            "thought_signature": "s" } } }],
    });
    let mut chunk = chunk(&delta, &json!("stop"));
    chunk["usage"] = json!({ "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "prompt_tokens_details": {
        "audio_tokens": 1 }, "completion_tokens_details": { "reasoning_tokens": 1 } });
    chunk["search_results"] = json!([{ "url": "u", "title": "t" }]);
    chunk["choices"][0]["logprobs"] = json!({ "content": [{ "token": "a" }] });
    for chunk in spoilt(&chunk) {
        let (mut decoder, mut events) = (COMPATIBLE.decoder(&expected()), Vec::new());
        if decoder.feed(stream(&[chunk.clone(), chunk.clone()]).as_bytes(), &mut events).is_ok() {
            encoded(&events);
        }
        if let Ok(answer) = COMPATIBLE.answer(&expected(), chunk.to_string().as_bytes()) {
            FRONT.answer(&answer, &asked());
        }
    }
    let error =
        json!({ "error": { "message": { "detail": [{ "msg": "m" }] }, "code": 1, "metadata": { "raw": "{}" } } });
    for error in spoilt(&error) {
        COMPATIBLE.failure(400, &HeaderMap::new(), error.to_string().as_bytes());
        events(&format!("event: error\ndata: {error}\n\n"));
    }
}

// ----------------------------------------------------------------------------------------- for the clients

/// An answer with all that the dialect can tell.
fn rich() -> Vec<Event> {
    let deltas = [
        Delta::Reasoning("th".to_owned()),
        Delta::Reasoning("ought".to_owned()),
        Delta::Signature(Signature::new(Family::Anthropic, "S")),
        Delta::Redacted(Signature::new(Family::OpenAi, "R")),
        Delta::Text("te".to_owned()),
        Delta::Text("xt".to_owned()),
        Delta::ToolCall {
            call: 0,
            id: "1".to_owned(),
            name: "f".to_owned(),
            signature: Some(Signature::new(Family::Gemini, "G")),
        },
        Delta::ToolCall { call: 1, id: "2".to_owned(), name: "g".to_owned(), signature: None },
        Delta::Arguments { call: 0, text: "{}".to_owned() },
        Delta::Arguments { call: 1, text: "{}".to_owned() },
        Delta::Logprobs(json!([{ "token": "x" }])),
    ];
    let mut events = vec![Event::Start(Start { id: "c1".to_owned(), ..Start::default() })];
    events.extend(deltas.into_iter().map(Event::delta));
    events.push(Event::Usage(Usage {
        input: 3,
        output: 4,
        cache_read: Some(1),
        reasoning: Some(2),
        ..Usage::default()
    }));
    events.push(Event::Finish { choice: 0, finish: Finish::ToolCalls });
    events.push(Event::End);
    events
}

#[test]
fn what_a_client_gets_reads_as_what_was_said() {
    let answer = collected(rich());
    let streamed = collected(events(&encoded(&rich())));
    let whole = OPENAI.answer(&expected(), &FRONT.answer(&answer, &asked())).expect("an answer");
    for (back, created, model) in [(streamed, Some(7), "m"), (whole, Some(7), "m")] {
        assert_eq!(back.choices, answer.choices);
        assert_eq!(back.usage, answer.usage);
        assert_eq!((back.created, &*back.model, &*back.id), (created, model, "c1"));
    }
}

#[test]
fn a_client_that_brings_an_answer_back_brings_its_signatures() {
    let answer = collected(rich());
    let whole: Value = serde_json::from_slice(&FRONT.answer(&answer, &asked())).expect("JSON");
    let request = said(&json!([whole["choices"][0]["message"]]));
    assert_eq!(request.messages[0].parts, answer.choices[0].parts);
}

#[test]
fn a_stream_begins_with_who_speaks_and_ends_with_what_it_cost() {
    let chunks = written(&rich());
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "", "refusal": null }));
    let last = &chunks[chunks.len() - 1];
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens_details"]["reasoning_tokens"], 2);
    assert_eq!(last["usage"]["prompt_tokens_details"]["cached_tokens"], 1);
    assert_eq!(last["usage"]["total_tokens"], 7);
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "tool_calls");
    assert!(encoded(&rich()).ends_with("data: [DONE]\n\n"));
    assert_eq!(encoded(&[Event::Ping]), ": ping\n\n");
}

#[test]
fn items_of_lists_are_numbered_and_ids_are_told_once() {
    let note = Annotation { url: Some("u".to_owned()), ..Annotation::default() };
    let sound = Media::new("audio", None, Source::Base64("AA==".to_owned()));
    let picture = Media::new("image", Some("image/png".to_owned()), Source::Base64("AAAA".to_owned()));
    let deltas = [Delta::Annotation(note), Delta::Media(picture), Delta::Media(sound)];
    let chunks = written(
        &deltas.into_iter().flat_map(|delta| [delta.clone(), delta]).map(Event::delta).collect::<Vec<_>>(),
    );
    let deltas: Vec<_> = chunks.iter().skip(1).map(|chunk| &chunk["choices"][0]["delta"]).collect();
    assert_eq!(
        (&deltas[0]["annotations"][0]["index"], &deltas[1]["annotations"][0]["index"]),
        (&json!(0), &json!(1))
    );
    assert_eq!((&deltas[2]["images"][0]["index"], &deltas[3]["images"][0]["index"]), (&json!(0), &json!(1)));
    assert!(deltas[4]["audio"]["id"].is_string() && deltas[5]["audio"].get("id").is_none());
}

#[test]
fn choices_are_mixed_and_each_is_finished() {
    let say = |choice, text: &str| Event::Delta { choice, delta: Delta::Text(text.to_owned()) };
    let events = [
        Event::Start(Start::default()),
        say(1, "b"),
        say(0, "a"),
        Event::Finish { choice: 1, finish: Finish::Length },
        Event::End,
    ];
    let back = collected(self::events(&encoded(&events)));
    let finishes: Vec<_> = back.choices.iter().map(|choice| choice.finish.clone()).collect();
    assert_eq!(finishes, [Some(Finish::Stop), Some(Finish::Length)]);
    assert!(back.id.starts_with("chatcmpl-"));
}

#[test]
fn a_failure_is_the_last_thing_a_client_hears() {
    let failure = Failure { code: Some("overloaded_error".to_owned()), ..Failure::new(529, "busy") };
    let text = encoded(&[Event::Start(Start::default()), Event::Failed(failure)]);
    assert!(!text.contains("[DONE]"));
    let last: Value = serde_json::from_str(text.trim_end().rsplit("data: ").next().expect("data")).expect("JSON");
    assert_eq!(last["error"]["type"], "overloaded_error");
    assert_eq!(last["error"]["code"], "overloaded");
}

#[test]
fn every_kind_of_failure_has_its_status() {
    for (status, expected) in [
        (400, 400),
        (422, 422),
        (401, 401),
        (402, 429),
        (403, 403),
        (404, 404),
        (409, 409),
        (413, 413),
        (429, 429),
        (408, 408),
        (504, 504),
        (503, 503),
        (529, 503),
        (500, 500),
        (502, 502),
        (600, 500),
    ] {
        let (status, body) = FRONT.failure(&Failure::new(status, "m"), "req");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(status, expected);
        for member in ["message", "type", "param", "code"] {
            assert!(body["error"].get(member).is_some(), "{member} of {status}");
        }
    }
    let long = Failure::new(400, "prompt is too long: 9 tokens > 8 maximum");
    let body: Value = serde_json::from_slice(&FRONT.failure(&long, "req").1).expect("JSON");
    assert_eq!(body["error"]["code"], "context_length_exceeded");
}

#[test]
fn both_names_of_the_limit_are_one_wish() {
    let request = read(&json!({
        "model": "m", "messages": [{ "role": "user", "content": "a" }], "max_tokens": 5, "max_completion_tokens": 5,
    }));
    assert_eq!(request.wishes.get(Wish::MaxTokens), Some(&json!(5)));
    assert_eq!(sent(OPENAI, &request, "m").1, [""; 0]);
}

#[test]
fn an_error_with_the_status_of_a_success_is_one() {
    let whole = json!({ "error": { "code": 429, "message": "slow down" } });
    let choice = json!({ "choices": [{ "index": 0, "finish_reason": "error", "message": { "content": "a" },
        "error": { "code": 503, "message": "gone" } }] });
    for (body, status, message) in [(whole, 429, "slow down"), (choice, 503, "gone")] {
        let body = body.to_string();
        assert!(COMPATIBLE.answer(&Sent::default(), body.as_bytes()).is_err());
        let failure = COMPATIBLE.mishap(body.as_bytes()).expect("an error");
        assert_eq!((failure.status, &*failure.message), (status, message));
    }
    assert!(COMPATIBLE.mishap(br#"{"choices":[{"message":{"content":"a"}}]}"#).is_none());
    assert!(COMPATIBLE.mishap(b"<html>").is_none());
}
