//! What requests become, and that streams and whole answers agree.

use serde_json::{Value, json};

use super::PROVIDER;
use crate::dialects::aws_events::encode;
use crate::dialects::conversation::{
    Answer, Collector, Content, Delta, Effort, Event, FailureKind, Family, Finish, Format, Media, Message, Part,
    Reasoning, Request, Role, Signature, Source, Thinking, Tool, ToolCall, ToolChoice, ToolResult, Wish,
};
use crate::dialects::provider::{Provider, Sent, Target, Unfit};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NOVA: &str = "us.amazon.nova-pro-v1:0";
const GPT_OSS: &str = "openai.gpt-oss-120b-1:0";

fn write(request: &Request, model: &str) -> (Sent, Value) {
    let target = Target { model, unique: "00" };
    let sent = PROVIDER.chat(request, &target).expect("it can be said");
    let body = serde_json::from_slice(&sent.body).expect("JSON");
    (sent, body)
}

fn unfit(request: &Request) -> Unfit {
    PROVIDER.chat(request, &Target { model: CLAUDE, unique: "00" }).expect_err("it can't be said")
}

fn lost(sent: &Sent) -> Vec<(&str, bool)> {
    sent.lost.iter().map(|lost| (&*lost.name, lost.is_hint)).collect()
}

fn message(role: Role, parts: Vec<Part>) -> Message {
    Message { role, parts, name: None }
}

fn text(role: Role, text: &str) -> Message {
    message(role, vec![Part::text(text)])
}

fn asked(messages: Vec<Message>) -> Request {
    Request { messages, ..Request::default() }
}

fn hello() -> Request {
    asked(vec![text(Role::User, "Hello")])
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    let call =
        ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned(), signature: None };
    Part::new(Content::ToolCall(call))
}

fn result(id: &str, parts: Vec<Part>, is_error: bool) -> Part {
    Part::new(Content::ToolResult(ToolResult { id: id.to_owned(), name: None, parts, is_error }))
}

fn tool(name: &str) -> Tool {
    let schema = Some(json!({ "type": "object", "properties": { "a": { "type": "string" } } }));
    Tool { name: name.to_owned(), description: None, schema, strict: None, cache: None }
}

fn thought(family: Family) -> Part {
    let signature = Some(Signature::new(family, "sig"));
    Part::new(Content::Reasoning(Reasoning { text: "Hm.".to_owned(), signature, ..Reasoning::default() }))
}

#[test]
fn roles_take_turns_and_blanks_are_left_out() {
    let request = asked(vec![
        text(Role::System, "Be brief."),
        text(Role::Developer, "Be kind."),
        text(Role::User, "One"),
        text(Role::User, "Two"),
        text(Role::Assistant, " "),
        text(Role::User, "Three"),
        text(Role::Assistant, "Four"),
    ]);
    let (sent, body) = write(&request, "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x-y_z.~");
    assert_eq!(sent.path, "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.x-y_z.~/converse");
    let expected = json!({
        "system": [{ "text": "Be brief." }, { "text": "Be kind." }],
        "messages": [
            { "role": "user", "content": [{ "text": "One" }, { "text": "Two" }, { "text": "Three" }] },
            { "role": "assistant", "content": [{ "text": "Four" }] },
        ],
    });
    assert_eq!(body, expected);
    let (sent, _) = write(&Request { stream: true, ..request }, CLAUDE);
    assert_eq!(sent.path, "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream");
    assert!(sent.stream && sent.lost.is_empty());
}

#[test]
fn a_tool_loop_is_told_with_ids_that_fit() {
    let picture = Media::new("image", Some("image/png".to_owned()), Source::Base64("AAAA".to_owned()));
    let shown = vec![Part::text("seen"), Part::new(Content::Media(picture))];
    let mut request = asked(vec![
        text(Role::User, "Look"),
        message(
            Role::Assistant,
            vec![thought(Family::Gemini), call("a|1", "look", "{\"at\":1}"), call("b", "look", "")],
        ),
        message(Role::Tool, vec![result("a|1", shown, false)]),
        message(Role::Tool, vec![result("b", vec![], true)]),
        text(Role::User, "And?"),
    ]);
    request.tools = vec![tool("look")];
    let (sent, body) = write(&request, CLAUDE);
    let id = body["messages"][1]["content"][0]["toolUse"]["toolUseId"].clone();
    let expected = json!([
        { "role": "user", "content": [{ "text": "Look" }] },
        { "role": "assistant", "content": [
            { "toolUse": { "toolUseId": id, "name": "look", "input": { "at": 1 } } },
            { "toolUse": { "toolUseId": "b", "name": "look", "input": {} } },
        ] },
        { "role": "user", "content": [
            { "toolResult": { "toolUseId": id, "content": [
                { "text": "seen" },
                { "image": { "format": "png", "source": { "bytes": "AAAA" } } },
            ] } },
            { "toolResult": { "toolUseId": "b", "content": [{ "json": {} }], "status": "error" } },
            { "text": "And?" },
        ] },
    ]);
    assert_eq!(body["messages"], expected);
    assert_eq!(lost(&sent), []);
    let (sent, body) = write(&request, GPT_OSS);
    assert_eq!(body["messages"][2]["content"][1]["toolResult"].get("status"), None);
    assert_eq!(lost(&sent), [("messages[3].content[0].is_error", true)]);
}

#[test]
fn what_cannot_be_said_of_tools_is_refused() {
    let orphan = asked(vec![text(Role::User, "x"), message(Role::Tool, vec![result("a", vec![], false)])]);
    assert_eq!(unfit(&orphan).param.as_deref(), Some("messages[1].content[0]"));
    let broken = asked(vec![text(Role::User, "x"), message(Role::Assistant, vec![call("a", "t", "[1")])]);
    assert!(unfit(&broken).message.contains("not a JSON object"));
}

#[test]
fn tools_that_the_history_uses_are_always_declared() {
    let mut request = asked(vec![
        text(Role::User, "x"),
        message(Role::Assistant, vec![call("a", "old", "{}")]),
        message(Role::Tool, vec![result("a", vec![Part::text("y")], false)]),
    ]);
    let (sent, body) = write(&request, CLAUDE);
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], "old");
    assert_eq!(lost(&sent), [("tools", true)]);
    request.tools = vec![tool("old")];
    request.tool_choice = Some(ToolChoice::None);
    let (sent, body) = write(&request, CLAUDE);
    assert_eq!(body["toolConfig"].get("toolChoice"), None);
    assert_eq!(lost(&sent), [("tool_choice", false)]);
    // Without a history nothing is lost by leaving them out.
    request.messages.truncate(1);
    let (sent, body) = write(&request, CLAUDE);
    assert_eq!((body.get("toolConfig"), lost(&sent)), (None, vec![]));
}

#[test]
fn tools_have_their_schema_and_choice() {
    let mut request = hello();
    let bare = Tool { schema: None, description: Some("No arguments".to_owned()), ..tool("bare") };
    let marked =
        Tool { strict: Some(true), cache: Some(json!({ "type": "ephemeral", "ttl": "1h" })), ..tool("marked") };
    request.tools = vec![bare, marked];
    for (choice, expected) in [
        (ToolChoice::Auto, Value::Null),
        (ToolChoice::Required, json!({ "any": {} })),
        (ToolChoice::Named("bare".to_owned()), json!({ "tool": { "name": "bare" } })),
    ] {
        request.tool_choice = Some(choice);
        let (sent, body) = write(&request, CLAUDE);
        assert_eq!(body["toolConfig"]["toolChoice"], expected);
        assert_eq!(lost(&sent), []);
        let tools = json!([
            { "toolSpec": {
                "name": "bare",
                "inputSchema": { "json": { "type": "object", "properties": {} } },
                "description": "No arguments",
            } },
            { "toolSpec": {
                "name": "marked",
                "inputSchema": { "json": { "type": "object", "properties": { "a": { "type": "string" } } } },
                "strict": true,
            } },
            { "cachePoint": { "type": "default", "ttl": "1h" } },
        ]);
        assert_eq!(body["toolConfig"]["tools"], tools);
    }
    let (sent, _) = write(&request, NOVA);
    assert_eq!(lost(&sent), [("tools.strict", true), ("cache_control", true)]);
}

#[test]
fn markers_become_cache_points_where_there_are_such() {
    let marked = |role, text| {
        let cache = Some(json!({ "type": "ephemeral" }));
        message(role, vec![Part { cache, ..Part::text(text) }])
    };
    let request = asked(vec![marked(Role::System, "s"), marked(Role::User, "u")]);
    let (_, body) = write(&request, CLAUDE);
    let point = json!({ "cachePoint": { "type": "default" } });
    assert_eq!(body["system"], json!([{ "text": "s" }, point]));
    assert_eq!(body["messages"][0]["content"], json!([{ "text": "u" }, point]));
    let (sent, body) = write(&request, GPT_OSS);
    assert_eq!(body["system"], json!([{ "text": "s" }]));
    assert_eq!(lost(&sent), [("cache_control", true)]);
}

#[test]
fn thoughts_go_back_to_their_own_family() {
    let of = |family| {
        asked(vec![text(Role::User, "x"), message(Role::Assistant, vec![thought(family), Part::text("y")])])
    };
    let own = json!({ "reasoningContent": { "reasoningText": { "text": "Hm.", "signature": "sig" } } });
    for (family, model, goes) in [
        (Family::Anthropic, CLAUDE, true),
        (Family::Bedrock, CLAUDE, false),
        (Family::OpenAi, CLAUDE, false),
        (Family::Bedrock, NOVA, true),
        (Family::Anthropic, NOVA, false),
    ] {
        let (sent, body) = write(&of(family), model);
        let content = &body["messages"][1]["content"];
        assert_eq!(content[0] == own, goes, "{family:?} {model}");
        assert_eq!(lost(&sent), []);
    }
    let redacted = Some(Signature::new(Family::Anthropic, "aGk="));
    let redacted = Part::new(Content::Reasoning(Reasoning { redacted, ..Reasoning::default() }));
    let (_, body) = write(&asked(vec![message(Role::Assistant, vec![redacted])]), CLAUDE);
    assert_eq!(body["messages"][0]["content"], json!([{ "reasoningContent": { "redactedContent": "aGk=" } }]));
}

#[test]
fn what_the_api_cannot_show_is_told_by_place() {
    let url =
        Media::new("image", Some("image/png".to_owned()), Source::Url("https://example.com/x.png".to_owned()));
    let foreign = Part::new(Content::Foreign { kind: "search".to_owned(), value: json!({}) });
    let request = asked(vec![
        message(Role::User, vec![Part::text("x"), Part::new(Content::Media(url.clone()))]),
        message(Role::Assistant, vec![Part::new(Content::Refusal("No.".to_owned())), foreign]),
        Message { name: Some("Ann".to_owned()), ..message(Role::System, vec![Part::new(Content::Media(url))]) },
    ]);
    let (sent, body) = write(&request, CLAUDE);
    assert_eq!(
        lost(&sent),
        [
            ("messages[0].content[1]", false),
            ("messages[1].content[1]", false),
            ("messages[2].name", true),
            ("messages[2].content[0]", false),
        ]
    );
    assert_eq!(body["messages"][1]["content"], json!([{ "text": "No." }]));
}

fn wishing(wishes: &[(Wish, Value)]) -> Request {
    let mut request = hello();
    for (at, (wish, value)) in wishes.iter().enumerate() {
        request.wishes.add(*wish, format!("wish{at}"), value.clone());
    }
    request
}

#[test]
fn settings_are_taken_or_told() {
    let request = wishing(&[
        (Wish::MaxTokens, json!(100)),
        (Wish::Temperature, json!(0.5)),
        (Wish::TopP, json!(0.9)),
        (Wish::TopK, json!(5)),
        (Wish::Stop, json!(["x"])),
        (Wish::Seed, json!(1)),
        (Wish::ServiceTier, json!("flex")),
        (Wish::Metadata, json!({ "team": "blue" })),
    ]);
    let (sent, body) = write(&request, CLAUDE);
    assert_eq!(body["inferenceConfig"], json!({ "maxTokens": 100, "stopSequences": ["x"], "temperature": 0.5 }));
    assert_eq!(body["additionalModelRequestFields"], json!({ "top_k": 5 }));
    assert_eq!(body["additionalModelResponseFieldPaths"], json!(["/stop_sequence"]));
    assert_eq!(body["serviceTier"], json!({ "type": "flex" }));
    assert_eq!(body["requestMetadata"], json!({ "team": "blue" }));
    assert_eq!(lost(&sent), [("wish2", false), ("wish5", false)]);
    let (sent, body) = write(&request, NOVA);
    assert_eq!(body["inferenceConfig"]["topP"], 0.9);
    assert_eq!(body["additionalModelRequestFields"], json!({ "inferenceConfig": { "topK": 5 } }));
    assert_eq!(body.get("additionalModelResponseFieldPaths"), None);
    assert_eq!(lost(&sent), [("wish5", false)]);
    let (sent, _) =
        write(&wishing(&[(Wish::Temperature, json!(1.5)), (Wish::Metadata, json!({ "é": 1 }))]), CLAUDE);
    assert_eq!(lost(&sent), [("wish0", false), ("wish1", true)]);
    let newer = "us.anthropic.claude-opus-4-7";
    assert_eq!(lost(&write(&wishing(&[(Wish::Temperature, json!(0.5))]), newer).0), [("wish0", false)]);
    assert_eq!(lost(&write(&wishing(&[(Wish::Temperature, json!(1))]), newer).0), []);
}

#[test]
fn one_call_at_a_time_is_said_in_claudes_words() {
    let mut request = wishing(&[(Wish::ParallelToolCalls, json!(false))]);
    assert_eq!(lost(&write(&request, NOVA).0), []);
    request.tools = vec![tool("t")];
    for (choice, expected) in [
        (None, json!({ "type": "auto", "disable_parallel_tool_use": true })),
        (Some(ToolChoice::Required), json!({ "type": "any", "disable_parallel_tool_use": true })),
        (
            Some(ToolChoice::Named("t".to_owned())),
            json!({ "type": "tool", "name": "t", "disable_parallel_tool_use": true }),
        ),
    ] {
        request.tool_choice = choice;
        let (sent, body) = write(&request, CLAUDE);
        assert_eq!(body["additionalModelRequestFields"]["tool_choice"], expected);
        assert_eq!((body["toolConfig"].get("toolChoice"), lost(&sent)), (None, vec![]));
    }
    assert_eq!(lost(&write(&request, NOVA).0), [("wish0", false)]);
}

#[test]
fn the_apis_own_fields_are_known_by_name() {
    let mut request = hello();
    for (name, value) in [
        ("performanceConfig", json!({ "latency": "optimized" })),
        ("guardrailConfig", json!({ "guardrailIdentifier": "g", "guardrailVersion": "1" })),
        ("additionalModelRequestFields", json!({ "x": 1 })),
        ("unheardOf", json!(1)),
    ] {
        request.wishes.add(Wish::Other, name, value);
    }
    let (sent, body) = write(&request, CLAUDE);
    assert_eq!(body["performanceConfig"], json!({ "latency": "optimized" }));
    assert_eq!(body["guardrailConfig"]["guardrailVersion"], "1");
    assert_eq!(body["additionalModelRequestFields"], json!({ "x": 1 }));
    assert_eq!(lost(&sent), [("unheardOf", false)]);
}

#[test]
fn thinking_is_asked_for_in_the_makers_words() {
    let high = Thinking { effort: Some(Effort::High), ..Thinking::default() };
    let budget = Thinking { budget: Some(100), ..Thinking::default() };
    let on = Thinking { enabled: Some(true), ..Thinking::default() };
    for (model, thinking, fields) in [
        (CLAUDE, &high, json!({ "thinking": { "type": "enabled", "budget_tokens": 16384 } })),
        (CLAUDE, &budget, json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } })),
        (
            "anthropic.claude-opus-4-6-v1",
            &high,
            json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": "high" } }),
        ),
        ("anthropic.claude-opus-4-6-v1", &on, json!({ "thinking": { "type": "adaptive" } })),
        (
            "us.amazon.nova-2-lite-v1:0",
            &high,
            json!({ "reasoningConfig": { "type": "enabled", "maxReasoningEffort": "high" } }),
        ),
        (GPT_OSS, &high, json!({ "reasoning_effort": "high" })),
    ] {
        let request = Request { thinking: Some(thinking.clone()), ..hello() };
        let (sent, body) = write(&request, model);
        assert_eq!(body["additionalModelRequestFields"], fields, "{model}");
        assert_eq!(lost(&sent), []);
    }
    for effort in [Effort::None, Effort::High] {
        let thinking = Some(Thinking { effort: Some(effort), ..Thinking::default() });
        let (sent, body) = write(&Request { thinking, ..hello() }, NOVA);
        assert_eq!(body.get("additionalModelRequestFields"), None);
        assert_eq!(!lost(&sent).is_empty(), effort == Effort::High);
    }
}

#[test]
fn thinking_gives_way_where_claude_would_refuse_it() {
    let thinking = Some(Thinking { effort: Some(Effort::Low), ..Thinking::default() });
    let mut request = Request { thinking, tools: vec![tool("t")], ..hello() };
    request.tool_choice = Some(ToolChoice::Required);
    assert_eq!(lost(&write(&request, CLAUDE).0), [("thinking", true)]);
    request.tool_choice = None;
    assert_eq!(lost(&write(&request, CLAUDE).0), []);
    for (own, expected) in [(Family::Anthropic, vec![]), (Family::OpenAi, vec![("thinking", true)])] {
        request.messages = vec![
            text(Role::User, "x"),
            message(Role::Assistant, vec![thought(own), call("a", "t", "{}")]),
            message(Role::Tool, vec![result("a", vec![Part::text("y")], false)]),
        ];
        assert_eq!(lost(&write(&request, CLAUDE).0), expected);
    }
    request.messages.truncate(1);
    request.wishes.add(Wish::MaxTokens, "max_tokens", json!(1500));
    request.wishes.add(Wish::Temperature, "temperature", json!(0));
    let (sent, body) = write(&request, CLAUDE);
    assert_eq!(body["additionalModelRequestFields"]["thinking"]["budget_tokens"], 1499);
    assert_eq!(lost(&sent), [("temperature", false)]);
}

#[test]
fn tokens_are_counted_for_claude() {
    let request = wishing(&[(Wish::MaxTokens, json!(5))]);
    let sent =
        PROVIDER.count(&request, &Target { model: CLAUDE, unique: "00" }).expect("Claude").expect("a request");
    assert_eq!(sent.path, "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens");
    let body: Value = serde_json::from_slice(&sent.body).expect("JSON");
    let messages = json!([{ "role": "user", "content": [{ "text": "Hello" }] }]);
    assert_eq!(body, json!({ "input": { "converse": { "messages": messages } } }));
    assert!(PROVIDER.count(&request, &Target { model: NOVA, unique: "00" }).is_none());
    assert_eq!(PROVIDER.counted(b"{\"inputTokens\":7}"), Ok(7));
    assert!(PROVIDER.counted(b"{}").is_err());
}

fn city() -> Format {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    Format::JsonSchema { name: Some("City".to_owned()), description: None, schema, strict: None }
}

#[test]
fn the_form_is_native_or_a_tool() {
    let request = Request { format: Some(city()), ..hello() };
    let (sent, body) = write(&request, CLAUDE);
    let schema = r#"{"type":"object","properties":{"city":{"type":"string"}},"additionalProperties":false}"#;
    let format =
        json!({ "type": "json_schema", "structure": { "jsonSchema": { "name": "City", "schema": schema } } });
    assert_eq!(body["outputConfig"]["textFormat"], format);
    assert_eq!((sent.form_tool, body.get("toolConfig")), (None, None));

    let (sent, body) = write(&request, NOVA);
    assert_eq!(sent.form_tool.as_deref(), Some("json_answer"));
    assert_eq!(body["toolConfig"]["toolChoice"], json!({ "tool": { "name": "json_answer" } }));
    let with_tools = Request { tools: vec![tool("json_answer")], ..request.clone() };
    let (sent, body) = write(&with_tools, NOVA);
    assert_eq!(sent.form_tool.as_deref(), Some("json_answer_"));
    assert_eq!(body["toolConfig"]["toolChoice"], json!({ "any": {} }));

    let (sent, _) = write(&request, "us.meta.llama3-3-70b-instruct-v1:0");
    assert_eq!(lost(&sent), [("response_format", false)]);
    let (sent, _) = write(&Request { format: Some(Format::JsonObject), ..hello() }, CLAUDE);
    assert!(sent.form_tool.is_some());
}

/// The binary stream that a golden file tells as server-sent events, each an object with one member: the event's name.
fn binary(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let (name, body) = event.as_object().and_then(|event| event.iter().next()).expect("one member");
        let (kind, key) =
            if name.ends_with("Exception") { ("exception", ":exception-type") } else { ("event", ":event-type") };
        bytes.extend(encode(&[(key, name), (":message-type", kind)], body.to_string().as_bytes()));
    }
    bytes
}

fn body_of(golden: &str) -> String {
    let golden: Value = serde_json::from_str(golden).expect("JSON");
    golden["response"]["body"].as_str().expect("a text").to_owned()
}

fn claude(form_tool: Option<&str>) -> Sent {
    let path = format!("/model/{CLAUDE}/converse");
    Sent { path, form_tool: form_tool.map(str::to_owned), ..Sent::default() }
}

fn decode(sent: &Sent, pieces: &[&[u8]], is_cut: bool) -> Vec<Event> {
    let mut decoder = PROVIDER.decoder(sent);
    let mut events = Vec::new();
    for piece in pieces {
        decoder.feed(piece, &mut events).expect("a stream of the dialect");
    }
    if !is_cut {
        decoder.end(&mut events).expect("a whole stream");
    }
    events
}

fn collect(events: Vec<Event>) -> Answer {
    let mut collector = Collector::default();
    for event in events {
        collector.event(event).expect("no failure");
    }
    collector.finish().expect("a whole answer")
}

const PAIRS: [(&str, &str); 9] = [
    (
        include_str!("../../../tests/golden/bedrock/text.json"),
        include_str!("../../../tests/golden/bedrock/text-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/bedrock/reasoning.json"),
        include_str!("../../../tests/golden/bedrock/reasoning-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/bedrock/tool.json"),
        include_str!("../../../tests/golden/bedrock/tool-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/bedrock/parallel-tools.json"),
        include_str!("../../../tests/golden/bedrock/parallel-tools-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/bedrock/structured.json"),
        include_str!("../../../tests/golden/bedrock/structured-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/bedrock/guardrail.json"),
        include_str!("../../../tests/golden/bedrock/guardrail-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/bedrock/length.json"),
        include_str!("../../../tests/golden/bedrock/length-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/bedrock/stop-sequence.json"),
        include_str!("../../../tests/golden/bedrock/stop-sequence-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/bedrock/citations.json"),
        include_str!("../../../tests/golden/bedrock/citations-stream.json"),
    ),
];

#[test]
fn streams_say_what_whole_answers_say() {
    for (whole, stream) in PAIRS {
        for sent in [claude(None), claude(Some("other"))] {
            let bytes = binary(&body_of(stream));
            let answer = PROVIDER.answer(&sent, body_of(whole).as_bytes()).expect("an answer");
            let events = decode(&sent, &[&bytes], false);
            assert_eq!(collect(events.clone()), answer);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(decode(&sent, &single, false), events);
            for at in (0..bytes.len()).step_by(13) {
                let (one, two) = bytes.split_at(at);
                assert_eq!(decode(&sent, &[one, two], false), events, "split at {at}");
                assert!(!decode(&sent, &[one], true).contains(&Event::End), "cut at {at}");
            }
        }
    }
}

#[test]
fn the_end_is_told_only_by_what_is_whole() {
    let bytes = binary(&body_of(include_str!("../../../tests/golden/bedrock/no-metadata-stream.json")));
    assert_eq!(decode(&claude(None), &[&bytes], false).last(), Some(&Event::End));
    assert!(!decode(&claude(None), &[&bytes], true).contains(&Event::End));
    // A clean end before the last word is none.
    let cut = binary(
        "data: {\"messageStart\":{}}\ndata: {\"contentBlockDelta\":{\"contentBlockIndex\":0,\"delta\":{\"text\":\"x\"}}}",
    );
    assert!(!decode(&claude(None), &[&cut], false).contains(&Event::End));
}

#[test]
fn an_exception_breaks_the_stream_off() {
    let bytes = binary(&body_of(include_str!("../../../tests/golden/bedrock/mid-stream-error.json")));
    let events = decode(&claude(None), &[&bytes], false);
    let Some(Event::Failed(failure)) = events.last() else { panic!("{events:?}") };
    assert_eq!(failure.kind, FailureKind::Server);
    assert_eq!(failure.message, "The model broke off. (worker lost)");
}

#[test]
fn the_forms_tool_is_the_answer() {
    let text = "data: {\"contentBlockDelta\":{\"contentBlockIndex\":0,\"delta\":{\"text\":\"Here:\"}}}\n\
        data: {\"contentBlockStop\":{\"contentBlockIndex\":0}}\n\
        data: {\"contentBlockStart\":{\"contentBlockIndex\":1,\"start\":{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"form\"}}}}\n\
        data: {\"contentBlockDelta\":{\"contentBlockIndex\":1,\"delta\":{\"toolUse\":{\"input\":\"{\\\"a\\\":1}\"}}}}\n\
        data: {\"contentBlockStop\":{\"contentBlockIndex\":1}}\n\
        data: {\"messageStop\":{\"stopReason\":\"tool_use\"}}\n";
    let answer = collect(decode(&claude(Some("form")), &[&binary(text)], false));
    assert_eq!(answer.choices[0].parts, [Part::text("{\"a\":1}")]);
    assert_eq!(answer.choices[0].finish, Some(Finish::Stop));
    // Where it was not called, what was said is the answer.
    let events = decode(&claude(Some("another")), &[&binary(text)], false);
    assert!(events.contains(&Event::delta(Delta::Text("Here:".to_owned()))));
    assert!(events.contains(&Event::Finish { choice: 0, finish: Finish::ToolCalls }));
}

#[test]
fn usage_counts_the_cache_as_input() {
    let whole = body_of(include_str!("../../../tests/golden/bedrock/reasoning.json"));
    let usage = PROVIDER.answer(&claude(None), whole.as_bytes()).expect("an answer").usage.expect("usage");
    assert_eq!((usage.input, usage.output), (1503, 90));
    assert_eq!((usage.cache_read, usage.cache_write, usage.cache_write_1h), (Some(1200), Some(300), Some(100)));
}
