//! What requests become, and that streams and whole answers agree.

use serde_json::{Value, json};

use super::PROVIDER;
use crate::dialects::conversation::{
    Answer, Collector, Content, Effort, EmbeddingInput, EmbeddingsRequest, Event, FailureKind, Finish, Format,
    Media, Message, Part, Reasoning, Request, Role, Source, Thinking, Tool, ToolCall, ToolChoice, ToolResult,
    Wish,
};
use crate::dialects::provider::{Provider, Sent, Target};

const COMMAND_A: &str = "command-a-03-2025";
const REASONING: &str = "command-a-reasoning-08-2025";

fn target(model: &str) -> Target<'_> {
    Target { model, unique: "00" }
}

fn write(request: &Request, model: &str) -> (Sent, Value) {
    let sent = PROVIDER.chat(request, &target(model)).expect("it can be said");
    let body = serde_json::from_slice(&sent.body).expect("JSON");
    (sent, body)
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

fn image(source: Source) -> Part {
    Part::new(Content::Media(Media::new("image", Some("image/png".to_owned()), source)))
}

fn tool(name: &str, strict: Option<bool>) -> Tool {
    Tool { name: name.to_owned(), description: Some("d".to_owned()), schema: None, strict, cache: None }
}

fn thought() -> Part {
    Part::new(Content::Reasoning(Reasoning { text: "Hm.".to_owned(), ..Reasoning::default() }))
}

fn call() -> Part {
    let (id, name) = ("c:1".to_owned(), "look".to_owned());
    Part::new(Content::ToolCall(ToolCall { id, name, ..ToolCall::default() }))
}

fn result(id: &str, parts: Vec<Part>) -> Part {
    Part::new(Content::ToolResult(ToolResult { id: id.to_owned(), name: None, parts, is_error: true }))
}

#[test]
fn a_conversation_is_told() {
    let request = asked(vec![
        text(Role::Developer, "Be brief."),
        message(Role::User, vec![Part::text("Look"), image(Source::Base64("AAAA".to_owned()))]),
        message(Role::Assistant, vec![thought(), Part::text("I look."), call()]),
        message(Role::Tool, vec![result("c:1", vec![Part::text("seen"), image(Source::Url("x".to_owned()))])]),
    ]);
    let (sent, body) = write(&request, COMMAND_A);
    let url = json!({ "url": "data:image/png;base64,AAAA" });
    let function = json!({ "name": "look", "arguments": "{}" });
    let mut expected = json!({
        "model": COMMAND_A,
        "messages": [
            { "role": "system", "content": [{ "type": "text", "text": "Be brief." }] },
            { "role": "user", "content": [{ "type": "text", "text": "Look" }, { "type": "image_url", "image_url": url }] },
            {
                "role": "assistant",
                "content": [{ "type": "text", "text": "I look." }],
                "tool_calls": [{ "id": "c:1", "type": "function", "function": function }],
            },
            { "role": "tool", "tool_call_id": "c:1", "content": [{ "type": "text", "text": "seen" }] },
        ],
        "stream": false,
    });
    assert_eq!(body, expected);
    assert_eq!(sent.path, "/chat");
    assert_eq!(
        lost(&sent),
        [("messages[3].content[0].content[1]", false), ("messages[3].content[0].is_error", true)]
    );
    // A model that thinks takes back what it thought in this turn.
    let (_, body) = write(&Request { stream: true, ..request }, REASONING);
    expected["model"] = REASONING.into();
    expected["stream"] = true.into();
    expected["messages"][2]["content"] =
        json!([{ "type": "thinking", "thinking": "Hm." }, { "type": "text", "text": "I look." }]);
    assert_eq!(body, expected);
}

#[test]
fn thoughts_of_earlier_turns_are_left_out() {
    let request = asked(vec![
        text(Role::User, "One"),
        message(Role::Assistant, vec![thought(), Part::text("1")]),
        text(Role::User, "Two"),
    ]);
    let (_, body) = write(&request, REASONING);
    assert_eq!(body["messages"][1]["content"], json!([{ "type": "text", "text": "1" }]));
}

#[test]
fn a_result_without_its_call_is_refused() {
    let request = asked(vec![text(Role::User, "x"), message(Role::Tool, vec![result("a", vec![])])]);
    let unfit = PROVIDER.chat(&request, &target(COMMAND_A)).expect_err("no call");
    assert_eq!(unfit.param.as_deref(), Some("messages[1].content[0]"));
}

#[test]
fn tools_have_a_choice_in_the_apis_words() {
    let mut request = hello();
    request.tools = vec![tool("a", Some(true)), tool("b", Some(true))];
    for (choice, word, count) in [
        (None, Value::Null, 2),
        (Some(ToolChoice::Auto), Value::Null, 2),
        (Some(ToolChoice::None), json!("NONE"), 2),
        (Some(ToolChoice::Required), json!("REQUIRED"), 2),
        (Some(ToolChoice::Named("b".to_owned())), json!("REQUIRED"), 1),
    ] {
        request.tool_choice = choice;
        let (sent, body) = write(&request, COMMAND_A);
        assert_eq!(body["tool_choice"], word);
        assert_eq!(body["tools"].as_array().map(Vec::len), Some(count));
        assert_eq!((&body["strict_tools"], lost(&sent)), (&json!(true), vec![]));
    }
    let function =
        json!({ "name": "b", "parameters": { "type": "object", "properties": {} }, "description": "d" });
    let (_, body) = write(&request, COMMAND_A);
    assert_eq!(body["tools"], json!([{ "type": "function", "function": function }]));
    request.tool_choice = Some(ToolChoice::Named("c".to_owned()));
    assert!(PROVIDER.chat(&request, &target(COMMAND_A)).is_err());
    request.tool_choice = None;
    request.tools[0].strict = None;
    let (sent, body) = write(&request, COMMAND_A);
    assert_eq!((body.get("strict_tools"), lost(&sent)), (None, vec![("tools.strict", true)]));
}

#[test]
fn the_form_is_native_or_a_tool_beside_tools() {
    let schema = json!({ "type": "object", "required": ["a"] });
    let format = Format::JsonSchema { name: None, description: None, schema: schema.clone(), strict: None };
    let mut request = Request { format: Some(format), ..hello() };
    let (_, body) = write(&request, COMMAND_A);
    assert_eq!(body["response_format"], json!({ "type": "json_object", "json_schema": schema }));
    request.tools = vec![tool("json_answer", None)];
    let (sent, body) = write(&request, COMMAND_A);
    assert_eq!(sent.form_tool.as_deref(), Some("json_answer_"));
    assert_eq!((body.get("response_format"), &body["tool_choice"]), (None, &json!("REQUIRED")));
    assert_eq!(body["tools"][1]["function"]["parameters"], schema);
    request.tool_choice = Some(ToolChoice::None);
    let (sent, body) = write(&request, COMMAND_A);
    assert_eq!((sent.form_tool, body.get("tools")), (None, None));
}

#[test]
fn settings_are_taken_or_told() {
    let mut request = hello();
    for (at, (wish, value)) in [
        (Wish::MaxTokens, json!(100)),
        (Wish::Temperature, json!(1.2)),
        (Wish::TopP, json!(1)),
        (Wish::TopK, json!(5)),
        (Wish::Stop, json!(["x"])),
        (Wish::Seed, json!(1)),
        (Wish::FrequencyPenalty, json!(0.5)),
        (Wish::PresencePenalty, json!(-0.5)),
        (Wish::Logprobs, json!(true)),
        (Wish::TopLogprobs, json!(3)),
        (Wish::User, json!("u")),
    ]
    .into_iter()
    .enumerate()
    {
        request.wishes.add(wish, format!("wish{at}"), value);
    }
    request.wishes.add(Wish::Other, "safety_mode", json!("STRICT"));
    request.wishes.add(Wish::Other, "documents", json!(["d"]));
    request.wishes.add(Wish::Other, "unheard_of", json!(1));
    let (sent, body) = write(&request, COMMAND_A);
    for (name, value) in [
        ("max_tokens", json!(100)),
        ("temperature", json!(1.2)),
        ("p", json!(0.99)),
        ("k", json!(5)),
        ("stop_sequences", json!(["x"])),
        ("seed", json!(1)),
        ("frequency_penalty", json!(0.5)),
        ("logprobs", json!(true)),
        ("safety_mode", json!("STRICT")),
        ("documents", json!(["d"])),
    ] {
        assert_eq!(body[name], value, "{name}");
    }
    assert_eq!(lost(&sent), [("wish7", false), ("wish9", false), ("wish10", true), ("unheard_of", false)]);
}

#[test]
fn thinking_is_asked_of_models_that_think() {
    for (thinking, expected) in [
        (
            Thinking { effort: Some(Effort::Low), ..Thinking::default() },
            json!({ "type": "enabled", "token_budget": 2048 }),
        ),
        (Thinking { enabled: Some(true), ..Thinking::default() }, json!({ "type": "enabled" })),
        (Thinking { enabled: Some(false), ..Thinking::default() }, json!({ "type": "disabled" })),
    ] {
        let is_wanted = expected["type"] == "enabled";
        let request = Request { thinking: Some(thinking), ..hello() };
        assert_eq!(write(&request, REASONING).1["thinking"], expected);
        let (sent, body) = write(&request, COMMAND_A);
        assert_eq!((body.get("thinking"), lost(&sent).len()), (None, usize::from(is_wanted)));
    }
}

#[test]
fn embeddings_are_asked_for_and_read() {
    let texts = vec![EmbeddingInput::Text("a".to_owned()), EmbeddingInput::Text("b".to_owned())];
    let mut request = EmbeddingsRequest { inputs: texts, dimensions: Some(256), ..EmbeddingsRequest::default() };
    for (task, kind, hints) in [
        (None, "search_document", 0),
        (Some("query"), "search_query", 0),
        (Some("CLUSTERING"), "clustering", 0),
        (Some("dreaming"), "search_document", 1),
    ] {
        request.task = task.map(str::to_owned);
        let sent = PROVIDER.embed(&request, &target("embed-v4.0")).expect("texts");
        let body: Value = serde_json::from_slice(&sent.body).expect("JSON");
        let expected = json!({
            "model": "embed-v4.0",
            "texts": ["a", "b"],
            "input_type": kind,
            "embedding_types": ["float"],
            "output_dimension": 256,
        });
        assert_eq!((&*sent.path, body, sent.lost.len()), ("/embed", expected, hints));
    }
    let golden = body_of(include_str!("../../../tests/golden/cohere/embeddings.json"));
    let read = PROVIDER.embeddings(golden.as_bytes()).expect("vectors");
    assert_eq!((read.vectors, read.tokens), (vec![vec![0.5, -0.25], vec![0.125, 1.0]], Some(2)));
    request.inputs = vec![EmbeddingInput::Tokens(vec![1])];
    assert!(PROVIDER.embed(&request, &target("embed-v4.0")).is_err());
    request.inputs = vec![EmbeddingInput::Text(String::new()); 97];
    assert!(PROVIDER.embed(&request, &target("embed-v4.0")).is_err());
}

fn body_of(golden: &str) -> String {
    let golden: Value = serde_json::from_str(golden).expect("JSON");
    golden["response"]["body"].as_str().expect("a text").to_owned()
}

fn sent(form_tool: Option<&str>) -> Sent {
    Sent { form_tool: form_tool.map(str::to_owned), unique: "00".to_owned(), ..Sent::default() }
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

const PAIRS: [(&str, &str); 8] = [
    (
        include_str!("../../../tests/golden/cohere/text.json"),
        include_str!("../../../tests/golden/cohere/text-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/cohere/reasoning.json"),
        include_str!("../../../tests/golden/cohere/reasoning-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/cohere/tool.json"),
        include_str!("../../../tests/golden/cohere/tool-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/cohere/parallel-tools.json"),
        include_str!("../../../tests/golden/cohere/parallel-tools-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/cohere/structured.json"),
        include_str!("../../../tests/golden/cohere/structured-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/cohere/citations.json"),
        include_str!("../../../tests/golden/cohere/citations-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/cohere/length-logprobs.json"),
        include_str!("../../../tests/golden/cohere/length-logprobs-stream.json"),
    ),
    (
        include_str!("../../../tests/golden/cohere/stop-sequence.json"),
        include_str!("../../../tests/golden/cohere/stop-sequence-stream.json"),
    ),
];

#[test]
fn streams_say_what_whole_answers_say() {
    for (whole, stream) in PAIRS {
        for sent in [sent(None), sent(Some("tide_of")), sent(Some("other"))] {
            let stream = body_of(stream);
            let answer = PROVIDER.answer(&sent, body_of(whole).as_bytes()).expect("an answer");
            let events = decode(&sent, &[stream.as_bytes()], false);
            assert_eq!(collect(events.clone()), answer);
            let single: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
            assert_eq!(decode(&sent, &single, false), events);
            // The last event needs nothing behind it but its line's end.
            let last = stream.trim_end().len();
            for at in (0..last).step_by(13) {
                let (one, two) = stream.as_bytes().split_at(at);
                assert_eq!(decode(&sent, &[one, two], false), events, "split at {at}");
                assert!(!decode(&sent, &[one], true).contains(&Event::End), "cut at {at}");
            }
        }
    }
}

#[test]
fn what_an_answer_says_is_read() {
    let read = |golden| PROVIDER.answer(&sent(None), body_of(golden).as_bytes()).expect("an answer");
    let tool = read(include_str!("../../../tests/golden/cohere/tool.json"));
    assert!(
        matches!(&tool.choices[0].parts[0].content, Content::Reasoning(plan) if plan.text.starts_with("I will"))
    );
    assert_eq!(tool.choices[0].finish, Some(Finish::ToolCalls));
    let usage = tool.usage.expect("usage");
    assert_eq!((usage.input, usage.output, usage.cache_read), (1549, 95, Some(1504)));
    let parallel = read(include_str!("../../../tests/golden/cohere/parallel-tools.json"));
    assert!(matches!(&parallel.choices[0].parts[1].content, Content::ToolCall(call) if call.arguments == "{}"));
    let cited = read(include_str!("../../../tests/golden/cohere/citations.json"));
    let Content::Text { annotations, .. } = &cited.choices[0].parts[0].content else { panic!("no text") };
    assert_eq!(annotations.len(), 1);
    assert_eq!(annotations[0].url.as_deref(), Some("https://example.com/log"));
    assert_eq!(annotations[0].range, Some((8, 15)));
    let probable = read(include_str!("../../../tests/golden/cohere/length-logprobs.json"));
    let logprobs = probable.choices[0].logprobs.as_ref().expect("probabilities");
    assert_eq!(logprobs["content"][1]["logprob"], -0.625);
    assert_eq!(probable.choices[0].finish, Some(Finish::Length));
}

#[test]
fn an_error_breaks_the_stream_off() {
    let stream = body_of(include_str!("../../../tests/golden/cohere/mid-stream-error.json"));
    let events = decode(&sent(None), &[stream.as_bytes()], false);
    let Some(Event::Failed(failure)) = events.last() else { panic!("{events:?}") };
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Server, "generation failed"));
    // A clean end before the last word is none.
    let cut = "data: {\"type\":\"message-start\",\"id\":\"x\"}\n\n";
    assert!(!decode(&sent(None), &[cut.as_bytes()], false).contains(&Event::End));
}
