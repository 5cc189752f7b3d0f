//! Requests to Anthropic (Anthropic API reference, create a message and count message tokens), and to Claude on Google's
//! cloud (Google Cloud, Claude on Vertex AI), which takes the same but for where the model is named.

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::messages_out::{self, Conversation};
use super::models::Model;
use super::settings_out::Settings;
use crate::dialects::conversation::Request;
use crate::dialects::{Lost, Sent, Target, Unfit};

/// The version of the API whose form is written here. Later ones refuse settings that older models take.
const VERSION: &str = "2023-06-01";
/// The same on Google's cloud.
pub(super) const VERTEX_VERSION: &str = "vertex-2023-10-16";

/// Where the model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cloud {
    Anthropic,
    Vertex,
}

/// Writes a request for an answer.
pub(super) fn chat(request: &Request, target: &Target<'_>, cloud: Cloud) -> Result<Sent, Unfit> {
    let model = Model::of(target.model);
    let mut conversation = messages_out::write(&request.messages, model)?;
    let mut body = Map::new();
    if cloud == Cloud::Anthropic {
        body.insert("model".to_owned(), json!(target.model));
    } else {
        body.insert("anthropic_version".to_owned(), json!(VERTEX_VERSION));
    }
    let calls_lack_thought = conversation.calls_lack_thought;
    let (lost, called) = (std::mem::take(&mut conversation.lost), std::mem::take(&mut conversation.called));
    said(conversation, &mut body);
    let open = request.wishes.open();
    let mut settings = Settings { request, open: &open, model, called, body, lost, form_tool: None };
    settings.write(calls_lack_thought);
    let Settings { mut body, mut lost, form_tool, .. } = settings;
    if request.stream {
        body.insert("stream".to_owned(), Value::Bool(true));
    }
    lost.extend(Lost::of_wishes(open.left()));
    let path = match cloud {
        Cloud::Anthropic => "/messages".to_owned(),
        Cloud::Vertex => vertex_path(target.model, request.stream),
    };
    Ok(Sent {
        path,
        headers: headers(cloud),
        body: Value::Object(body).to_string().into_bytes(),
        lost,
        form_tool,
        stream: request.stream,
        unique: target.unique.to_owned(),
    })
}

/// Writes a request for the number of tokens of a prompt.
pub(super) fn count(request: &Request, target: &Target<'_>, cloud: Cloud) -> Result<Sent, Unfit> {
    let model = Model::of(target.model);
    let mut conversation = messages_out::write(&request.messages, model)?;
    let called = std::mem::take(&mut conversation.called);
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(target.model));
    if cloud == Cloud::Vertex {
        body.insert("anthropic_version".to_owned(), json!(VERTEX_VERSION));
    }
    said(conversation, &mut body);
    let open = request.wishes.open();
    let mut settings = Settings { request, open: &open, model, called, body, lost: Vec::new(), form_tool: None };
    settings.write_for_count();
    let path = match cloud {
        Cloud::Anthropic => "/messages/count_tokens",
        Cloud::Vertex => "/publishers/anthropic/models/count-tokens:rawPredict",
    };
    let body = Value::Object(settings.body).to_string().into_bytes();
    Ok(Sent { path: path.to_owned(), headers: headers(cloud), body, ..Sent::default() })
}

/// Where a model is asked on Google's cloud.
pub(super) fn vertex_path(model: &str, stream: bool) -> String {
    let call = if stream { "streamRawPredict" } else { "rawPredict" };
    format!("/publishers/anthropic/models/{}:{call}", encoded(model))
}

fn said(conversation: Conversation, body: &mut Map<String, Value>) {
    if !conversation.system.is_empty() {
        body.insert("system".to_owned(), Value::Array(conversation.system));
    }
    body.insert("messages".to_owned(), Value::Array(conversation.messages));
}

fn headers(cloud: Cloud) -> Vec<(HeaderName, HeaderValue)> {
    let version = (HeaderName::from_static("anthropic-version"), HeaderValue::from_static(VERSION));
    if cloud == Cloud::Anthropic { vec![version] } else { Vec::new() }
}

/// A segment of a path. `@` stands before the version in Google's names, and may stand there.
fn encoded(model: &str) -> String {
    let mut text = String::with_capacity(model.len());
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.extend(format!("%{byte:02X}").chars());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::conversation::{
        Content, Effort, Format, Message, Part, Role, Thinking, Tool, ToolCall, ToolChoice, Wish,
    };

    fn request() -> Request {
        let message = Message { role: Role::User, parts: vec![Part::text("hi")], name: None };
        Request { model: "m".into(), messages: vec![message], ..Request::default() }
    }

    fn sent(request: &Request, model: &str) -> (Value, Sent) {
        let sent = chat(request, &Target { model, unique: "u" }, Cloud::Anthropic).expect("it can be said");
        (serde_json::from_slice(&sent.body).expect("JSON"), sent)
    }

    fn lost(sent: &Sent) -> Vec<(&str, bool)> {
        sent.lost.iter().map(|lost| (&*lost.name, lost.is_hint)).collect()
    }

    fn tool(name: &str, strict: Option<bool>) -> Tool {
        let schema = json!({"type": "object", "properties": {"x": {"type": "integer", "minimum": 1}}});
        Tool { name: name.into(), description: Some("d".into()), schema: Some(schema), strict, cache: None }
    }

    #[test]
    fn a_plain_request_has_what_the_api_needs() {
        let (body, sent) = sent(&request(), "claude-opus-4-1");
        let content = json!([{"type": "text", "text": "hi"}]);
        let messages = json!([{"role": "user", "content": content}]);
        assert_eq!(body, json!({"model": "claude-opus-4-1", "messages": messages, "max_tokens": 32000}));
        assert_eq!((&*sent.path, sent.headers.len(), &*sent.unique), ("/messages", 1, "u"));
        let stream = Request { stream: true, ..request() };
        let target = Target { model: "claude-opus-4-6", unique: "u" };
        let vertex = chat(&stream, &target, Cloud::Vertex).expect("it can be said");
        let body: Value = serde_json::from_slice(&vertex.body).expect("JSON");
        assert_eq!((&body["anthropic_version"], &body["stream"]), (&json!("vertex-2023-10-16"), &json!(true)));
        assert!(body.get("model").is_none() && vertex.headers.is_empty());
        assert_eq!(vertex.path, "/publishers/anthropic/models/claude-opus-4-6:streamRawPredict");
    }

    #[test]
    fn wishes_are_taken_where_the_model_honours_them() {
        let mut request = request();
        for (wish, name, value) in [
            (Wish::MaxTokens, "max_tokens", json!(1_000_000)),
            (Wish::Temperature, "temperature", json!(0.5)),
            (Wish::TopP, "top_p", json!(1.0)),
            (Wish::TopK, "top_k", json!(4)),
            (Wish::Stop, "stop", json!(["END"])),
            (Wish::User, "user", json!("u1")),
            (Wish::ServiceTier, "service_tier", json!("default")),
            (Wish::Seed, "seed", json!(7)),
            (Wish::Store, "store", json!(true)),
        ] {
            request.wishes.add(wish, name, value);
        }
        let (body, old) = sent(&request, "claude-sonnet-4-5");
        assert_eq!(lost(&old), [("seed", false), ("store", true)]);
        for (name, value) in [
            ("max_tokens", json!(64000)),
            ("temperature", json!(0.5)),
            ("top_k", json!(4)),
            ("stop_sequences", json!(["END"])),
            ("metadata", json!({"user_id": "u1"})),
            ("service_tier", json!("standard_only")),
        ] {
            assert_eq!(body[name], value, "{name}");
        }
        assert!(body.get("top_p").is_none());
        let (body, new) = sent(&request, "claude-opus-4-8");
        assert_eq!(lost(&new), [("temperature", false), ("top_k", false), ("seed", false), ("store", true)]);
        assert!(body.get("temperature").is_none());
    }

    #[test]
    fn chance_is_told_where_it_can_not_be_had() {
        for (model, temperature, top_p, thinks, expected) in [
            ("claude-sonnet-4-5", json!(1.5), Value::Null, false, vec!["temperature"]),
            ("claude-sonnet-4-5", json!(0.2), json!(0.9), false, vec!["top_p"]),
            ("claude-sonnet-4-0", json!(0.2), json!(0.9), false, vec![]),
            ("claude-sonnet-4-0", json!(0.2), json!(0.97), true, vec!["temperature"]),
            ("claude-sonnet-4-0", json!(1), json!(0.9), true, vec!["top_p"]),
            ("claude-sonnet-5", json!(1), json!(1), false, vec![]),
        ] {
            let mut request = request();
            request.wishes.add(Wish::Temperature, "temperature", temperature);
            request.wishes.add(Wish::TopP, "top_p", top_p);
            request.thinking = thinks.then(|| Thinking { effort: Some(Effort::Low), ..Thinking::default() });
            let (_, sent) = sent(&request, model);
            let names: Vec<_> = sent.lost.iter().map(|lost| &*lost.name).collect();
            assert_eq!(names, expected, "{model}");
        }
        let mut request = request();
        request.wishes.add(Wish::Stop, "stop", json!(["\n", "END"]));
        assert_eq!(lost(&sent(&request, "claude-sonnet-4-5").1), [("stop", false)]);
    }

    #[test]
    fn thought_is_asked_for_as_the_model_takes_it() {
        let effort = |effort| Thinking { effort: Some(effort), ..Thinking::default() };
        let budget = |tokens| Thinking { enabled: Some(true), budget: Some(tokens), ..Thinking::default() };
        let off = Thinking { enabled: Some(false), effort: Some(Effort::Max), ..Thinking::default() };
        let null = Value::Null;
        for (model, thinking, written, word) in [
            ("claude-opus-4-8", effort(Effort::XHigh), json!({"type": "adaptive"}), json!("xhigh")),
            ("claude-opus-4-6", budget(3000), json!({"type": "adaptive"}), json!("medium")),
            (
                "claude-opus-4-5",
                effort(Effort::High),
                json!({"type": "enabled", "budget_tokens": 16384}),
                json!("high"),
            ),
            ("claude-haiku-4-5", budget(500), json!({"type": "enabled", "budget_tokens": 1024}), null.clone()),
            ("claude-3-5-haiku-latest", effort(Effort::High), null.clone(), null.clone()),
            ("claude-sonnet-4-5", effort(Effort::None), null.clone(), null.clone()),
            ("claude-opus-5", off.clone(), json!({"type": "disabled"}), json!("high")),
            ("claude-sonnet-5-5", off.clone(), json!({"type": "between_tools"}), json!("high")),
            ("claude-fable-5", off, null.clone(), json!("low")),
            ("glm-5", effort(Effort::Low), json!({"type": "enabled", "budget_tokens": 2048}), null),
        ] {
            let (body, _) = sent(&Request { thinking: Some(thinking), ..request() }, model);
            assert_eq!(body["thinking"], written, "{model}");
            assert_eq!(body["output_config"]["effort"], word, "{model}");
        }
        let shown = Thinking { summary: Some("auto".into()), ..effort(Effort::High) };
        let (body, _) = sent(&Request { thinking: Some(shown), ..request() }, "claude-opus-4-8");
        assert_eq!(body["thinking"], json!({"type": "adaptive", "display": "summarized"}));
    }

    #[test]
    fn a_budget_stays_below_the_whole() {
        for (length, budget, expected) in [
            (None, 20_000, (json!(64_000), json!(20_000))),
            (None, 90_000, (json!(64_000), json!(63_999))),
            (Some(4096), 10_000, (json!(4096), json!(4095))),
            (Some(500), 10_000, (json!(500), Value::Null)),
        ] {
            let mut request = request();
            request.wishes.add(Wish::MaxTokens, "max_tokens", json!(length));
            request.thinking = Some(Thinking { budget: Some(budget), ..Thinking::default() });
            let (body, _) = sent(&request, "claude-sonnet-4-5");
            assert_eq!((body["max_tokens"].clone(), body["thinking"]["budget_tokens"].clone()), expected);
        }
    }

    #[test]
    fn tools_and_choices() {
        let with = |choice: Option<ToolChoice>, parallel: bool| {
            let tools = vec![tool("f", Some(true)), tool("g", None)];
            let mut request = Request { tools, tool_choice: choice, ..request() };
            if !parallel {
                request.wishes.add(Wish::ParallelToolCalls, "parallel_tool_calls", json!(false));
            }
            request
        };
        let (body, _) = sent(&with(None, true), "claude-sonnet-4-5");
        let strict = json!({"type": "object", "additionalProperties": false,
            "properties": {"x": {"type": "integer", "description": "(minimum: 1)"}}});
        assert_eq!(
            body["tools"][0],
            json!({"name": "f", "description": "d", "input_schema": strict, "strict": true})
        );
        assert_eq!(body["tools"][1]["input_schema"]["properties"]["x"]["minimum"], 1);
        assert!(body.get("tool_choice").is_none());
        let (_, older) = sent(&with(None, true), "claude-sonnet-4-0");
        assert_eq!(lost(&older), [("tools[0].strict", true)]);
        for (choice, parallel, expected) in [
            (None, false, json!({"type": "auto", "disable_parallel_tool_use": true})),
            (Some(ToolChoice::Required), false, json!({"type": "any", "disable_parallel_tool_use": true})),
            (Some(ToolChoice::None), false, json!({"type": "none"})),
            (Some(ToolChoice::Named("g".into())), true, json!({"type": "tool", "name": "g"})),
        ] {
            let (body, sent) = sent(&with(choice, parallel), "claude-sonnet-4-5");
            assert_eq!(body["tool_choice"], expected);
            assert!(sent.lost.is_empty());
        }
        let (body, newest) = sent(&with(Some(ToolChoice::Required), true), "claude-opus-5-5");
        assert!(body.get("tool_choice").is_none());
        assert_eq!(lost(&newest), [("tool_choice", false)]);
        let forced = Request {
            thinking: Some(Thinking { enabled: Some(true), ..Thinking::default() }),
            ..with(Some(ToolChoice::Required), true)
        };
        let (body, sent) = sent(&forced, "claude-sonnet-4-5");
        assert!(body.get("thinking").is_none());
        assert_eq!(lost(&sent), [("thinking", true)]);
    }

    #[test]
    fn tools_that_were_called_are_known() {
        let mut request = request();
        let call = ToolCall { id: "1".into(), name: "f".into(), arguments: String::new(), signature: None };
        request.messages.push(Message {
            role: Role::Assistant,
            parts: vec![Part::new(Content::ToolCall(call))],
            name: None,
        });
        let (body, _) = sent(&request, "claude-sonnet-4-5");
        assert_eq!(body["tools"], json!([{"name": "f", "input_schema": {"type": "object", "properties": {}}}]));
        assert_eq!(body["tool_choice"], json!({"type": "none"}));
    }

    #[test]
    fn a_form_is_the_models_own_or_that_of_a_call() {
        let form = |schema: Value| Format::JsonSchema { name: None, description: None, schema, strict: None };
        let closed = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let with = |format: Format| Request { format: Some(format), ..request() };
        let (body, native) = sent(&with(form(closed.clone())), "claude-opus-4-8");
        assert_eq!(body["output_config"]["format"]["type"], "json_schema");
        assert_eq!(body["output_config"]["format"]["schema"]["additionalProperties"], false);
        assert_eq!((native.form_tool, body.get("tools")), (None, None));

        let (body, forced) = sent(&with(form(closed.clone())), "claude-sonnet-4-0");
        assert_eq!(forced.form_tool.as_deref(), Some("json_answer"));
        assert_eq!(body["tools"][0]["input_schema"], closed);
        assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "json_answer"}));

        let beside = Request { tools: vec![tool("json_answer", None)], ..with(Format::JsonObject) };
        let (body, beside) = sent(&beside, "claude-opus-4-8");
        assert_eq!(beside.form_tool.as_deref(), Some("json_answer_"));
        assert_eq!(body["tool_choice"], json!({"type": "any"}));

        let open = form(json!({"type": "object", "additionalProperties": {"type": "string"}}));
        assert!(sent(&with(open.clone()), "claude-opus-4-8").1.form_tool.is_some());
        let (_, sent) = sent(&with(open), "claude-sonnet-5-5");
        assert_eq!(lost(&sent), [("response_format", false)]);
    }

    #[test]
    fn a_count_has_the_prompt_alone() {
        let mut request = Request { tools: vec![tool("f", None)], ..request() };
        request.wishes.add(Wish::MaxTokens, "max_tokens", json!(5));
        let target = Target { model: "claude-opus-4-8", unique: "u" };
        for (cloud, path) in [
            (Cloud::Anthropic, "/messages/count_tokens"),
            (Cloud::Vertex, "/publishers/anthropic/models/count-tokens:rawPredict"),
        ] {
            let sent = count(&request, &target, cloud).expect("it can be said");
            let body: Value = serde_json::from_slice(&sent.body).expect("JSON");
            assert_eq!((&*sent.path, &body["model"]), (path, &json!("claude-opus-4-8")));
            assert!(body.get("max_tokens").is_none() && body["tools"].is_array());
        }
    }
}
