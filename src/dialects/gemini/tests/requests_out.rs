//! Requests to Google.

use serde_json::{Value, json};

use super::{UNIQUE, read, written};
use crate::dialects::conversation::{
    Content, Effort, Family, Format, Media, Message, Part, Reasoning, Request, Role, Signature, Source, Thinking,
    Tool, ToolCall, ToolChoice, ToolResult, Wish,
};
use crate::dialects::gemini::{PROVIDER, VERTEX};
use crate::dialects::{Provider, Target};

const TWO: &str = "gemini-2.5-flash";
const THREE: &str = "gemini-3-flash-preview";

fn message(role: Role, parts: Vec<Content>) -> Message {
    Message { role, parts: parts.into_iter().map(Part::new).collect(), name: None }
}

fn text(text: &str) -> Content {
    Content::Text { text: text.into(), annotations: Vec::new() }
}

fn call(id: &str, name: &str, arguments: &str, signature: Option<Signature>) -> Content {
    Content::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature })
}

fn result(id: &str, words: &str, is_error: bool) -> Content {
    let parts = vec![Part::text(words)];
    Content::ToolResult(ToolResult { id: id.into(), name: None, parts, is_error })
}

fn asking(messages: Vec<Message>) -> Request {
    Request { messages, ..Request::default() }
}

fn hello() -> Request {
    asking(vec![message(Role::User, vec![text("Hi")])])
}

#[test]
fn every_wish_is_taken_or_told() {
    let mut request = hello();
    for (wish, name, value) in [
        (Wish::MaxTokens, "max_tokens", json!(9)),
        (Wish::Temperature, "temperature", json!(0.2)),
        (Wish::TopP, "top_p", json!(0.3)),
        (Wish::TopK, "top_k", json!(4)),
        (Wish::FrequencyPenalty, "frequency_penalty", json!(0.5)),
        (Wish::PresencePenalty, "presence_penalty", json!(0.6)),
        (Wish::Stop, "stop", json!(["a"])),
        (Wish::Seed, "seed", json!(1_u64 << 40 | 5)),
        (Wish::N, "n", json!(2)),
        (Wish::Logprobs, "logprobs", json!(true)),
        (Wish::TopLogprobs, "top_logprobs", json!(3)),
        (Wish::Modalities, "modalities", json!(["text", "image"])),
        (Wish::Safety, "safetySettings", json!([{"category": "c"}])),
        (Wish::ServiceTier, "service_tier", json!("priority")),
        (Wish::Metadata, "metadata", json!({"team": "a"})),
        (Wish::LogitBias, "logit_bias", json!({"1": 2})),
        (Wish::ParallelToolCalls, "parallel_tool_calls", json!(false)),
        (Wish::User, "user", json!("u")),
        (Wish::Other, "frobnicate", json!(1)),
    ] {
        request.wishes.add(wish, name, value);
    }
    let (body, lost) = written(&request, TWO);
    let expected = json!({
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {
            "temperature": 0.2, "topP": 0.3, "topK": 4, "maxOutputTokens": 9, "presencePenalty": 0.6,
            "frequencyPenalty": 0.5, "candidateCount": 2, "responseLogprobs": true, "logprobs": 3, "seed": 5,
            "stopSequences": ["a"], "responseModalities": ["TEXT", "IMAGE"],
        },
        "safetySettings": [{"category": "c"}],
        "serviceTier": "priority",
    });
    assert_eq!(body, expected);
    assert_eq!(lost, ["metadata?", "logit_bias", "parallel_tool_calls", "user?", "frobnicate"]);
    let sent = VERTEX.chat(&request, &Target { model: TWO, unique: UNIQUE }).expect("writable");
    let body: Value = serde_json::from_slice(&sent.body).expect("JSON");
    assert_eq!(body["labels"], json!({"team": "a"}));
    assert_eq!(sent.path, "/publishers/google/models/gemini-2.5-flash:generateContent");
    assert_eq!(sent.unique, UNIQUE);
    let many = json!(["1", "2", "3", "4", "5", "6"]);
    let mut request = Request { stream: true, ..hello() };
    request.wishes.add(Wish::Stop, "stop", many);
    assert_eq!(written(&request, TWO).1, ["stop"]);
    let sent = PROVIDER.chat(&request, &Target { model: TWO, unique: UNIQUE }).expect("writable");
    assert_eq!(sent.path, "/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
}

#[test]
fn a_turn_of_tools_is_written_with_its_signatures() {
    let own = || Some(Signature::new(Family::Gemini, "b3du"));
    let request = asking(vec![
        message(Role::System, vec![text("Be kind.")]),
        message(Role::Developer, vec![text("Be brief.")]),
        message(Role::User, vec![text("Weather?")]),
        message(
            Role::Assistant,
            vec![
                Content::Reasoning(Reasoning { text: "hm".into(), ..Reasoning::default() }),
                Content::Reasoning(Reasoning {
                    text: "foreign".into(),
                    signature: Some(Signature::new(Family::Anthropic, "x")),
                    ..Reasoning::default()
                }),
                text("Let me see."),
                Content::Reasoning(Reasoning { signature: own(), ..Reasoning::default() }),
                call("96c1su3s", "weather", "{\"city\":\"Rome\"}", own()),
            ],
        ),
        message(Role::Assistant, vec![call("call_abc", "time", "", None)]),
        message(Role::Tool, vec![result("96c1su3s", "{\"sky\":\"blue\"}", false)]),
        message(Role::Tool, vec![result("call_abc", "no clock", true)]),
        message(Role::User, vec![text("And?")]),
        message(Role::Assistant, vec![call("call_d", "time", "{}", None), call("call_e", "time", "{}", None)]),
        message(Role::Tool, vec![result("call_d", "noon", false), result("call_e", "night", false)]),
    ]);
    let contents = |last: Value| {
        json!([
            {"role": "user", "parts": [{"text": "Weather?"}]},
            {"role": "model", "parts": [
                {"text": "Let me see.", "thoughtSignature": "b3du"},
                {"functionCall": {"id": "96c1su3s", "name": "weather", "args": {"city": "Rome"}},
                    "thoughtSignature": "b3du"},
                {"functionCall": {"name": "time", "args": {}}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "96c1su3s", "name": "weather", "response": {"sky": "blue"}}},
                {"functionResponse": {"name": "time", "response": {"error": "no clock"}}},
            ]},
            {"role": "user", "parts": [{"text": "And?"}]},
            {"role": "model", "parts": [last, {"functionCall": {"name": "time", "args": {}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "time", "response": {"output": "noon"}}},
                {"functionResponse": {"name": "time", "response": {"output": "night"}}},
            ]},
        ])
    };
    let plain = json!({"functionCall": {"name": "time", "args": {}}});
    let (body, lost) = written(&request, TWO);
    assert_eq!(body["contents"], contents(plain.clone()));
    assert_eq!(body["systemInstruction"], json!({"parts": [{"text": "Be kind."}, {"text": "Be brief."}]}));
    assert!(lost.is_empty());
    let mut vouched = plain;
    vouched["thoughtSignature"] = "skip_thought_signature_validator".into();
    assert_eq!(written(&request, THREE).0["contents"], contents(vouched));
}

#[test]
fn tools_and_their_choice_are_written() {
    let tool = |name: &str, schema: Option<Value>| Tool {
        name: name.into(),
        description: Some("d".into()),
        schema,
        strict: None,
        cache: Some(json!({"type": "ephemeral"})),
    };
    let schema = json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "$defs": {}});
    let tools = vec![
        tool("one", Some(schema.clone())),
        tool("two", Some(json!({"type": "object", "properties": {}}))),
        tool("three", None),
    ];
    let with = |choice: Option<ToolChoice>| Request { tools: tools.clone(), tool_choice: choice, ..hello() };
    let (body, lost) = written(&with(None), THREE);
    assert_eq!(
        body["tools"],
        json!([{"functionDeclarations": [
            {"name": "one", "description": "d", "parametersJsonSchema": schema},
            {"name": "two", "description": "d"},
            {"name": "three", "description": "d"},
        ]}])
    );
    assert_eq!((body.get("toolConfig"), lost), (None, vec!["cache_control?".to_owned()]));
    let config = |choice| written(&with(Some(choice)), THREE).0["toolConfig"]["functionCallingConfig"].clone();
    assert_eq!(config(ToolChoice::Auto), json!({"mode": "AUTO"}));
    assert_eq!(config(ToolChoice::None), json!({"mode": "NONE"}));
    assert_eq!(config(ToolChoice::Required), json!({"mode": "ANY"}));
    let named = json!({"mode": "ANY", "allowedFunctionNames": ["one"]});
    assert_eq!(config(ToolChoice::Named("one".into())), named);
    let mut strict = with(None);
    strict.tools[0].strict = Some(true);
    assert_eq!(written(&strict, THREE).0["toolConfig"]["functionCallingConfig"], json!({"mode": "VALIDATED"}));
    assert_eq!(written(&strict, TWO).0.get("toolConfig"), None);
}

#[test]
fn the_form_of_the_answer_is_asked_for() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let format =
        Format::JsonSchema { name: Some("x".into()), description: None, schema: schema.clone(), strict: None };
    let mut request = Request { format: Some(format), ..hello() };
    let config = json!({"responseMimeType": "application/json", "responseJsonSchema": schema});
    assert_eq!(written(&request, TWO).0["generationConfig"], config);
    request.tools.push(Tool { name: "t".into(), description: None, schema: None, strict: None, cache: None });
    assert_eq!(written(&request, TWO).1, ["response_format"]);
    assert_eq!(written(&request, THREE).0["generationConfig"], config);
    request.format = Some(Format::JsonObject);
    let config = json!({"responseMimeType": "application/json"});
    assert_eq!(written(&request, THREE).0["generationConfig"], config);
}

#[test]
fn thinking_is_said_as_the_model_takes_it() {
    let config = |thinking: Thinking, model: &str| {
        let (body, lost) = written(&Request { thinking: Some(thinking), ..hello() }, model);
        (body["generationConfig"]["thinkingConfig"].clone(), lost)
    };
    let effort = |effort| Thinking { effort: Some(effort), ..Thinking::default() };
    let budget = |budget| Thinking { budget: Some(budget), enabled: Some(true), ..Thinking::default() };
    let off = Thinking { enabled: Some(false), ..Thinking::default() };
    let quiet = Thinking { summary: Some("none".into()), ..effort(Effort::Low) };
    for (thinking, model, expected) in [
        (effort(Effort::Low), THREE, json!({"thinkingLevel": "low", "includeThoughts": true})),
        (effort(Effort::Minimal), THREE, json!({"thinkingLevel": "minimal", "includeThoughts": true})),
        (
            effort(Effort::Minimal),
            "gemini-3.1-pro-preview",
            json!({"thinkingLevel": "low", "includeThoughts": true}),
        ),
        (
            effort(Effort::Medium),
            "gemini-3-pro-preview",
            json!({"thinkingLevel": "high", "includeThoughts": true}),
        ),
        (effort(Effort::Max), THREE, json!({"thinkingLevel": "high", "includeThoughts": true})),
        (budget(2000), THREE, json!({"thinkingLevel": "low", "includeThoughts": true})),
        (off.clone(), THREE, json!({"thinkingLevel": "minimal", "includeThoughts": false})),
        (quiet, THREE, json!({"thinkingLevel": "low", "includeThoughts": false})),
        (effort(Effort::High), TWO, json!({"thinkingBudget": 16384, "includeThoughts": true})),
        (budget(2000), TWO, json!({"thinkingBudget": 2000, "includeThoughts": true})),
        (budget(99_999), TWO, json!({"thinkingBudget": 24576, "includeThoughts": true})),
        (off.clone(), TWO, json!({"thinkingBudget": 0, "includeThoughts": false})),
        (off.clone(), "gemini-2.5-pro", json!({"thinkingBudget": 128, "includeThoughts": false})),
        (budget(5), "gemini-2.5-flash-lite", json!({"thinkingBudget": 512, "includeThoughts": true})),
    ] {
        assert_eq!(config(thinking, model), (expected, Vec::new()));
    }
    let on = Thinking { enabled: Some(true), ..Thinking::default() };
    assert_eq!(config(on, TWO).0, json!({"thinkingBudget": -1, "includeThoughts": true}));
    assert_eq!(config(effort(Effort::Low), "gemini-2.0-flash"), (Value::Null, vec!["thinking".to_owned()]));
    assert_eq!(config(off, "gemini-2.0-flash"), (Value::Null, Vec::new()));
}

#[test]
fn media_find_their_form() {
    let media = |kind, media_type: Option<&str>, source| {
        Content::Media(Media::new(kind, media_type.map(str::to_owned), source))
    };
    let parts = vec![
        media("image", Some("image/png"), Source::Base64("aW1n".into())),
        media("image", None, Source::Base64("/9j/4AA".into())),
        media("image", None, Source::Url("https://x.example/a.webp?b=1".into())),
        media("image", None, Source::Url("data:image/gif;base64,R0lG".into())),
        media("file", Some("application/pdf"), Source::Id("gs://bucket/a.pdf".into())),
        media("file", None, Source::Text("plain".into())),
        media("file", None, Source::Id("file-123".into())),
        media("file", None, Source::Base64("????".into())),
    ];
    let (body, lost) = written(&asking(vec![message(Role::User, parts)]), TWO);
    assert_eq!(
        body["contents"][0]["parts"],
        json!([
            {"inlineData": {"mimeType": "image/png", "data": "aW1n"}},
            {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AA"}},
            {"fileData": {"mimeType": "image/webp", "fileUri": "https://x.example/a.webp?b=1"}},
            {"inlineData": {"mimeType": "image/gif", "data": "R0lG"}},
            {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://bucket/a.pdf"}},
            {"text": "plain"},
        ])
    );
    assert_eq!(lost, ["messages[0].content[6]", "messages[0].content[7]"]);
}

#[test]
fn a_tool_may_give_a_picture() {
    let picture = Content::Media(Media::new("image", Some("image/png".into()), Source::Base64("aW1n".into())));
    let parts = vec![Part::text("here"), Part::new(picture)];
    let result = ToolResult { id: "c".into(), name: None, parts, is_error: false };
    let request = asking(vec![
        message(Role::User, vec![text("?")]),
        message(Role::Assistant, vec![call("c", "look", "{}", None)]),
        message(Role::Tool, vec![Content::ToolResult(result)]),
    ]);
    let blob = json!({"inlineData": {"mimeType": "image/png", "data": "aW1n"}});
    let inside = json!([{"functionResponse":
        {"id": "c", "name": "look", "response": {"output": "here"}, "parts": [blob]}}]);
    assert_eq!(written(&request, THREE).0["contents"][2]["parts"], inside);
    let beside = json!([{"functionResponse": {"id": "c", "name": "look", "response": {"output": "here"}}}, blob]);
    assert_eq!(written(&request, TWO).0["contents"][2]["parts"], beside);
}

#[test]
fn what_cannot_be_said_is_refused() {
    let refused = |messages| {
        let target = Target { model: TWO, unique: UNIQUE };
        PROVIDER.chat(&asking(messages), &target).expect_err("refused").param.expect("a field")
    };
    assert_eq!(refused(vec![message(Role::Tool, vec![result("x", "y", false)])]), "messages[0]");
    let broken = message(Role::Assistant, vec![call("x", "f", "{\"a\":", None)]);
    assert_eq!(refused(vec![message(Role::User, vec![text("?")]), broken]), "messages[1]");
    let only_system = asking(vec![message(Role::System, vec![text("Speak.")])]);
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "Speak."}]}]});
    assert_eq!(written(&only_system, TWO).0, contents);
}

#[test]
fn a_request_of_a_gemini_client_keeps_what_is_googles() {
    let body = json!({
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object",
            "properties": {"a": {"type": "string"}}}}]}, {"googleSearch": {}}],
        "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [
                {"executableCode": {"language": "PYTHON", "code": "1"}},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
                {"text": "One.", "thoughtSignature": "b3du"},
            ]},
            {"role": "user", "parts": [{"text": "And?"}]},
        ],
        "generationConfig": {"temperature": 1.0, "mediaResolution": "MEDIA_RESOLUTION_LOW"},
    });
    let (again, lost) = written(&read(&body), THREE);
    assert_eq!(again, body);
    assert!(lost.is_empty());
}

#[test]
fn a_count_has_the_prompt_alone() {
    let request = Request { thinking: Some(Thinking::default()), ..hello() };
    let target = Target { model: TWO, unique: UNIQUE };
    let count =
        |provider: &dyn Provider| provider.count(&request, &target).expect("Google counts").expect("writable");
    let sent = count(&PROVIDER);
    let contents = json!([{"role": "user", "parts": [{"text": "Hi"}]}]);
    let body: Value = serde_json::from_slice(&sent.body).expect("JSON");
    let whole = json!({"generateContentRequest": {"model": "models/gemini-2.5-flash", "contents": contents}});
    assert_eq!((&*sent.path, body), ("/models/gemini-2.5-flash:countTokens", whole));
    let body: Value = serde_json::from_slice(&count(&VERTEX).body).expect("JSON");
    assert_eq!(body, json!({"contents": contents}));
    assert_eq!(PROVIDER.counted(br#"{"totalTokens": 31}"#), Ok(31));
    assert!(PROVIDER.counted(b"{}").is_err());
}
