//! From a client's request to the common form.

use std::collections::VecDeque;

use serde_json::Value;

use super::fields::{Fields, refusal};
use super::{options, picture};
use crate::dialects::conversation::{
    Content, Effort, Format, Media, Message, Part, Reasoning, Request, Role, Source, Thinking, Tool, ToolCall,
    ToolResult, Wish, Wishes,
};
use crate::dialects::front::Refusal;

/// Reads a request to `/api/chat`.
pub(super) fn chat(body: &[u8]) -> Result<Request, Refusal> {
    let mut body = Fields::of_body(body)?;
    let mut request = settings(&mut body)?;
    let mut calls = Calls::default();
    for (at, message) in body.list("messages")?.into_iter().enumerate() {
        let message = Fields::of(&format!("messages[{at}]"), message)?;
        request.messages.push(read_message(message, at, &mut calls, &mut request.wishes)?);
    }
    if request.messages.is_empty() {
        return Err(Refusal::of("messages", "there must be at least one message"));
    }
    for (at, tool) in body.list("tools")?.into_iter().enumerate() {
        let tool = Fields::of(&format!("tools[{at}]"), tool)?;
        request.tools.push(read_tool(tool, &mut request.wishes)?);
    }
    body.leave(&mut request.wishes);
    Ok(request)
}

/// Reads a request to `/api/generate`: one turn. What speaks of the model's template is told by name.
pub(super) fn generate(body: &[u8]) -> Result<Request, Refusal> {
    let mut body = Fields::of_body(body)?;
    let mut request = settings(&mut body)?;
    if let Some(system) = body.text("system")?.filter(|system| !system.is_empty()) {
        request.messages.push(Message { role: Role::System, parts: vec![Part::text(system)], name: None });
    }
    let prompt = body.text("prompt")?.unwrap_or_default();
    let images = images(&mut body)?;
    if prompt.is_empty() && images.is_empty() {
        return Err(Refusal::of("prompt", "there must be a prompt"));
    }
    let text = (!prompt.is_empty()).then(|| Part::text(prompt));
    let parts = text.into_iter().chain(images).collect();
    request.messages.push(Message { role: Role::User, parts, name: None });
    for name in ["suffix", "template", "context", "raw"] {
        let Some(value) = body.take(name) else { continue };
        let asks_nothing = match &value {
            Value::String(text) => text.is_empty(),
            Value::Array(tokens) => tokens.is_empty(),
            other => other == &Value::Bool(false),
        };
        if !asks_nothing {
            request.wishes.add(Wish::Other, name, value);
        }
    }
    body.leave(&mut request.wishes);
    Ok(request)
}

/// What both have.
fn settings(body: &mut Fields) -> Result<Request, Refusal> {
    let model = body.text("model")?.filter(|model| !model.is_empty());
    let Some(model) = model else { return Err(Refusal::of("model", "`model` is missing")) };
    let mut wishes = Wishes::default();
    options::read(body, &mut wishes)?;
    if body.switch("logprobs")? == Some(true) {
        wishes.add(Wish::Logprobs, "logprobs", Value::Bool(true));
    }
    if let Some(number) = body.take("top_logprobs") {
        match number.as_u64() {
            Some(0) => {}
            Some(_) => wishes.add(Wish::TopLogprobs, "top_logprobs", number),
            None => return Err(refusal("top_logprobs", "a whole number")),
        }
    }
    Ok(Request {
        model,
        stream: body.switch("stream")?.unwrap_or(true),
        format: format(body)?,
        thinking: thinking(body)?,
        wishes,
        ..Request::default()
    })
}

fn format(body: &mut Fields) -> Result<Option<Format>, Refusal> {
    match body.take("format") {
        None => Ok(None),
        Some(Value::String(word)) if word.is_empty() => Ok(None),
        Some(Value::String(word)) if word == "json" => Ok(Some(Format::JsonObject)),
        Some(schema @ Value::Object(_)) => {
            Ok(Some(Format::JsonSchema { name: None, description: None, schema, strict: None }))
        }
        Some(_) => Err(refusal("format", "\"json\" or a JSON schema")),
    }
}

fn thinking(body: &mut Fields) -> Result<Option<Thinking>, Refusal> {
    // Who asks for thought here is shown it.
    let shown = || Thinking { summary: Some("auto".to_owned()), ..Thinking::default() };
    match body.take("think") {
        None => Ok(None),
        Some(Value::Bool(true)) => Ok(Some(Thinking { enabled: Some(true), ..shown() })),
        Some(Value::Bool(false)) => Ok(Some(Thinking { enabled: Some(false), ..Thinking::default() })),
        Some(Value::String(word)) if word.is_empty() => Ok(None),
        Some(Value::String(word)) => match Effort::of(&word) {
            Some(effort) => Ok(Some(Thinking { effort: Some(effort), ..shown() })),
            None => Err(refusal("think", "true, false, \"low\", \"medium\" or \"high\"")),
        },
        Some(_) => Err(refusal("think", "true, false, \"low\", \"medium\" or \"high\"")),
    }
}

/// The calls that no result has come for yet. Results need not say whose they are: then they come in order.
#[derive(Debug, Default)]
struct Calls(VecDeque<(String, String)>);

impl Calls {
    /// The call that a result belongs to.
    fn answered(&mut self, id: Option<&str>, name: Option<&str>) -> Option<(String, String)> {
        let at = match (id, name) {
            (Some(id), _) => self.0.iter().position(|(known, _)| known == id),
            (None, Some(name)) => self.0.iter().position(|(_, known)| known == name),
            (None, None) => (!self.0.is_empty()).then_some(0),
        };
        self.0.remove(at?)
    }
}

fn read_message(
    mut message: Fields,
    at: usize,
    calls: &mut Calls,
    wishes: &mut Wishes,
) -> Result<Message, Refusal> {
    let place = message.name("role");
    let role = match message.text("role")?.unwrap_or_default().to_ascii_lowercase().as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => return Err(refusal(&place, "system, user, assistant or tool")),
    };
    let text = message.text("content")?.unwrap_or_default();
    let images = images(&mut message)?;
    let parts = match role {
        Role::Tool => vec![result(&mut message, calls, text, images)?],
        Role::Assistant => said(&mut message, at, calls, (text, images), wishes)?,
        _ => contents(text, images),
    };
    message.leave(wishes);
    Ok(Message { role, parts, name: None })
}

/// Text and pictures; an empty text where there is nothing, so that no message is without parts.
fn contents(text: String, images: Vec<Part>) -> Vec<Part> {
    let has_text = !text.is_empty() || images.is_empty();
    has_text.then(|| Part::text(text)).into_iter().chain(images).collect()
}

fn result(message: &mut Fields, calls: &mut Calls, text: String, images: Vec<Part>) -> Result<Part, Refusal> {
    let name = message.text("tool_name")?.or(message.text("name")?).filter(|name| !name.is_empty());
    let id = message.text("tool_call_id")?.filter(|id| !id.is_empty());
    let call = calls.answered(id.as_deref(), name.as_deref());
    let (id, name) = match (call, id, name) {
        (Some((id, called)), _, name) => (id, Some(name.unwrap_or(called))),
        (None, Some(id), name) => (id, name),
        (None, None, _) => {
            let place = message.name("tool_name");
            return Err(Refusal::of(place, "this result belongs to no call of the messages before it"));
        }
    };
    Ok(Part::new(Content::ToolResult(ToolResult { id, name, parts: contents(text, images), is_error: false })))
}

fn said(
    message: &mut Fields,
    at: usize,
    calls: &mut Calls,
    (text, images): (String, Vec<Part>),
    wishes: &mut Wishes,
) -> Result<Vec<Part>, Refusal> {
    let mut parts = Vec::new();
    if let Some(text) = message.text("thinking")?.filter(|text| !text.is_empty()) {
        parts.push(Part::new(Content::Reasoning(Reasoning { text, ..Reasoning::default() })));
    }
    let place = message.name("tool_calls");
    let made = message.list("tool_calls")?;
    if !text.is_empty() || !images.is_empty() || (parts.is_empty() && made.is_empty()) {
        parts.extend(contents(text, images));
    }
    for (nth, call) in made.into_iter().enumerate() {
        let call = read_call(Fields::of(&format!("{place}[{nth}]"), call)?, (at, nth), wishes)?;
        calls.0.push_back((call.id.clone(), call.name.clone()));
        parts.push(Part::new(Content::ToolCall(call)));
    }
    Ok(parts)
}

/// A call. Older clients lose its id, so one is made up of where it stands.
fn read_call(mut call: Fields, (at, nth): (usize, usize), wishes: &mut Wishes) -> Result<ToolCall, Refusal> {
    let id = call.text("id")?.filter(|id| !id.is_empty());
    let (place, kind) = (call.name("function"), call.take("type"));
    let Some(mut function) = call.object("function")? else { return Err(refusal(&place, "an object")) };
    let name = function.text("name")?.unwrap_or_default();
    if name.is_empty() || kind.is_some_and(|kind| kind != "function") {
        return Err(Refusal::of(place, "a call must be one of a function by its name"));
    }
    let place = function.name("arguments");
    let arguments = match function.take("arguments") {
        None => "{}".to_owned(),
        Some(arguments @ Value::Object(_)) => arguments.to_string(),
        Some(_) => return Err(refusal(&place, "an object")),
    };
    function.take("index");
    function.leave(wishes);
    call.leave(wishes);
    Ok(ToolCall { id: id.unwrap_or_else(|| format!("call_{at}_{nth}")), name, arguments, signature: None })
}

fn read_tool(mut tool: Fields, wishes: &mut Wishes) -> Result<Tool, Refusal> {
    let (place, kind) = (tool.name("type"), tool.take("type"));
    if kind.is_some_and(|kind| kind != "function") {
        return Err(refusal(&place, "function"));
    }
    let place = tool.name("function");
    let Some(mut function) = tool.object("function")? else { return Err(refusal(&place, "an object")) };
    let place = function.name("name");
    let Some(name) = function.text("name")?.filter(|name| !name.is_empty()) else {
        return Err(refusal(&place, "a name"));
    };
    let read = Tool {
        name,
        description: function.text("description")?.filter(|text| !text.is_empty()),
        schema: function.take("parameters"),
        strict: function.switch("strict")?,
        cache: None,
    };
    function.leave(wishes);
    tool.leave(wishes);
    Ok(read)
}

fn images(message: &mut Fields) -> Result<Vec<Part>, Refusal> {
    let place = message.name("images");
    let read = |(at, image): (usize, Value)| match image {
        Value::String(data) => {
            let kind = picture::media_type(&data).map(str::to_owned);
            Ok(Part::new(Content::Media(Media::new("image", kind, Source::Base64(data)))))
        }
        _ => Err(refusal(&format!("{place}[{at}]"), "a picture in base64")),
    };
    message.list("images")?.into_iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Request {
        chat(body.to_string().as_bytes()).expect("a request")
    }

    fn refused(body: &Value) -> String {
        chat(body.to_string().as_bytes()).expect_err("no request").param.unwrap_or_default()
    }

    #[test]
    fn a_conversation_with_all_that_it_can_hold() {
        let request = read(&json!({
            "model": "qwen3", "think": "low",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "User", "content": "What is this?", "images": ["iVBORw0KGgoAAAA=", "AAAA"]},
                {"role": "assistant", "content": "", "thinking": "Two tools.", "tool_calls": [
                    {"function": {"name": "look", "arguments": {"at": 1}}},
                    {"id": "call_x", "type": "function", "function": {"index": 1, "name": "ask", "arguments": {}}},
                ]},
                {"role": "tool", "tool_call_id": "call_x", "content": "No."},
                {"role": "tool", "tool_name": "look", "content": "A cat."},
                {"role": "assistant", "content": "A cat."},
            ],
            "tools": [{"type": "function", "function": {
                "name": "look", "description": "Looks.", "parameters": {"type": "object"}}}],
        }));
        assert!(request.stream);
        assert_eq!(request.thinking.as_ref().and_then(|thinking| thinking.effort), Some(Effort::Low));
        assert_eq!(request.tools[0].name, "look");
        assert_eq!(request.messages[0].role, Role::System);
        let Content::Media(picture) = &request.messages[1].parts[1].content else { panic!("a picture") };
        assert_eq!(picture.media_type.as_deref(), Some("image/png"));
        let [thought, look, ask] = &request.messages[2].parts[..] else { panic!("three parts") };
        assert!(matches!(&thought.content, Content::Reasoning(thought) if thought.text == "Two tools."));
        let Content::ToolCall(look) = &look.content else { panic!("a call") };
        assert_eq!((&*look.id, &*look.arguments), ("call_2_0", r#"{"at":1}"#));
        assert!(matches!(&ask.content, Content::ToolCall(call) if call.id == "call_x"));
        let result = |at: usize| match &request.messages[at].parts[0].content {
            Content::ToolResult(result) => (result.id.clone(), result.name.clone()),
            _ => panic!("a result"),
        };
        assert_eq!(result(3), ("call_x".to_owned(), Some("ask".to_owned())));
        assert_eq!(result(4), ("call_2_0".to_owned(), Some("look".to_owned())));
        assert!(request.wishes.is_empty(), "{:?}", request.wishes);
    }

    #[test]
    fn results_without_names_come_in_the_order_of_the_calls() {
        let call = |name: &str| json!({"function": {"name": name, "arguments": {}}});
        let request = read(&json!({"model": "m", "messages": [
            {"role": "assistant", "tool_calls": [call("a"), call("b")]},
            {"role": "tool", "content": "1"},
            {"role": "tool", "content": "2"},
        ]}));
        let names: Vec<_> = request.messages[1..]
            .iter()
            .map(|message| match &message.parts[0].content {
                Content::ToolResult(result) => result.name.clone().unwrap_or_default(),
                _ => panic!("a result"),
            })
            .collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn settings_become_wishes_by_name() {
        let request = read(&json!({
            "model": "m", "stream": false, "keep_alive": "5m", "truncate": true, "shift": false,
            "format": {"type": "object"}, "logprobs": true, "top_logprobs": 2, "brand_new": 1,
            "options": {
                "num_predict": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "seed": 7,
                "repeat_penalty": 1.1, "presence_penalty": 0.2, "frequency_penalty": 0.0, "stop": "END",
                "num_ctx": 4096, "mirostat": 1, "num_gpu": null,
            },
            "messages": [{"role": "user", "content": "Hi", "flavour": "mint"}],
        }));
        assert!(!request.stream);
        assert!(matches!(request.format, Some(Format::JsonSchema { .. })));
        assert_eq!(request.wishes.get(Wish::Stop), Some(&json!(["END"])));
        let open = request.wishes.open();
        let left: Vec<_> =
            open.left().into_iter().filter(|(wish, _)| !wish.is_hint()).map(|(_, name)| name).collect();
        assert_eq!(
            left,
            [
                "options.num_predict",
                "options.temperature",
                "options.top_p",
                "options.top_k",
                "options.min_p",
                "options.seed",
                "options.repeat_penalty",
                "options.presence_penalty",
                "options.stop",
                "options.mirostat",
                "shift",
                "logprobs",
                "top_logprobs",
                "messages[0].flavour",
                "brand_new",
            ]
        );
        let hints: Vec<_> =
            open.left().into_iter().filter(|(wish, _)| wish.is_hint()).map(|(_, name)| name).collect();
        assert_eq!(hints, ["options.num_ctx", "keep_alive"]);
    }

    #[test]
    fn what_asks_for_nothing_is_no_wish() {
        let request = read(&json!({
            "model": "m", "format": "", "think": null, "logprobs": false, "top_logprobs": 0,
            "options": {
                "num_predict": -1, "top_k": 0, "seed": -1, "repeat_penalty": 1.0, "presence_penalty": 0, "stop": [],
            },
            "messages": [{"role": "user", "content": "Hi"}],
        }));
        assert!(request.wishes.is_empty(), "{:?}", request.wishes);
        assert_eq!((request.format, request.thinking), (None, None));
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        let with = |name: &str, value: Value| {
            let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
            body[name] = value;
            refused(&body)
        };
        assert_eq!(with("model", json!("")), "model");
        assert_eq!(with("messages", json!([])), "messages");
        assert_eq!(with("messages", json!([{"role": "judge"}])), "messages[0].role");
        assert_eq!(with("messages", json!([{"role": "user", "content": []}])), "messages[0].content");
        assert_eq!(with("messages", json!([{"role": "user", "images": [1]}])), "messages[0].images[0]");
        assert_eq!(with("messages", json!([{"role": "tool", "content": "1"}])), "messages[0].tool_name");
        assert_eq!(with("tools", json!([{"type": "search"}])), "tools[0].type");
        assert_eq!(with("tools", json!([{"function": {}}])), "tools[0].function.name");
        assert_eq!(with("options", json!({"temperature": "warm"})), "options.temperature");
        assert_eq!(with("options", json!({"seed": 1.5})), "options.seed");
        assert_eq!(with("think", json!("hard")), "think");
        assert_eq!(with("format", json!("yaml")), "format");
        assert_eq!(with("stream", json!("yes")), "stream");
        assert!(chat(b"[]").is_err());
    }

    #[test]
    fn one_turn() {
        let body = json!({
            "model": "m", "prompt": "What is this?", "system": "Be brief.", "images": ["/9j/4AAQ"],
            "suffix": "", "raw": false, "context": [1, 2], "template": "{{ .Prompt }}",
        });
        let request = generate(body.to_string().as_bytes()).expect("a request");
        let roles: Vec<_> = request.messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::System, Role::User]);
        assert_eq!(request.messages[1].parts.len(), 2);
        let left: Vec<_> = request.wishes.open().left().into_iter().map(|(_, name)| name).collect();
        assert_eq!(left, ["template", "context"]);
        assert!(generate(br#"{"model":"m"}"#).is_err());
    }
}
