//! Reads a client's request.

use serde_json::{Map, Value};

use super::{message_in, settings_in, tools_in};
use crate::dialects::conversation::{Effort, Request, Thinking, Wish};
use crate::dialects::json::{number, owned, text};
use crate::dialects::{Place, Refusal};

/// Reads a request for a chat completion.
pub(super) fn read(body: &[u8], place: &Place<'_>) -> Result<Request, Refusal> {
    let body = object(body)?;
    let mut request = begun(&body, place)?;
    request.messages = message_in::messages(body.get("messages"))?;
    for (name, value) in &body {
        match name.as_str() {
            // The choice is read behind the tools that it is among; what a stream carries is the front's own affair: it always
            // says what the answer cost.
            "model" | "messages" | "stream" | "stream_options" | "tool_choice" | "function_call" => {}
            "tools" => tools_in::tools(value, &mut request)?,
            "functions" => tools_in::functions(value, &mut request)?,
            "response_format" => tools_in::format(value, &mut request)?,
            name if thinking(name, value, &mut request) => {}
            name => settings_in::read(name, value, &mut request.wishes)?,
        }
    }
    if let Some(value) = body.get("function_call") {
        tools_in::function_call(value, &mut request);
    }
    if let Some(value) = body.get("tool_choice") {
        tools_in::choice(value, &mut request)?;
    }
    if request.tools.is_empty() {
        request.tool_choice = None;
    }
    Ok(request)
}

/// The members of a body, which is one object.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Refusal { message: "the body must be a JSON object".to_owned(), param: None }),
        Err(error) => Err(Refusal { message: format!("the body is no JSON: {error}"), param: None }),
    }
}

/// A request of which the model and the way of answering are known.
pub(crate) fn begun(body: &Map<String, Value>, place: &Place<'_>) -> Result<Request, Refusal> {
    let named = body.get("model").and_then(Value::as_str).or(place.model);
    let model = named.ok_or_else(|| Refusal::of("model", "`model` must be a string"))?.to_owned();
    let stream = match body.get("stream") {
        None | Some(Value::Null) => place.stream.unwrap_or(false),
        Some(Value::Bool(stream)) => *stream,
        Some(_) => return Err(Refusal::of("stream", "`stream` must be true or false")),
    };
    Ok(Request { model, stream, ..Request::default() })
}

/// Reads what a member says of thinking: `false` if it is of something else.
fn thinking(name: &str, value: &Value, request: &mut Request) -> bool {
    let mut found = request.thinking.take().unwrap_or_default();
    let wish = |request: &mut Request| request.wishes.add(Wish::Other, name, value.clone());
    let is_of_it = match name {
        "reasoning_effort" => match value.as_str() {
            // Groq's word for what the model does anyway.
            Some("default") => true,
            Some(word) if Effort::of(word).is_some() => {
                found.effort = Effort::of(word);
                true
            }
            _ => {
                wish(request);
                true
            }
        },
        // OpenRouter, "Reasoning tokens".
        "reasoning" if value.is_object() => {
            reasoning(value, &mut found);
            true
        }
        "include_reasoning" => {
            if value == false {
                found.summary = Some("none".to_owned());
            }
            true
        }
        // Anthropic's form, which DeepSeek, Z.ai and Moonshot took over.
        "thinking" if value.is_object() => {
            found.enabled = text(value, "type").map(|word| word != "disabled").or(found.enabled);
            found.budget = number(value, "budget_tokens").or(found.budget);
            true
        }
        // Alibaba, "Deep thinking".
        "enable_thinking" => {
            found.enabled = value.as_bool().or(found.enabled);
            true
        }
        "thinking_budget" => {
            found.budget = number(&serde_json::json!({ "it": value }), "it").or(found.budget);
            true
        }
        // Groq, "Reasoning".
        "reasoning_format" if matches!(value.as_str(), Some("parsed" | "hidden")) => {
            if value == "hidden" {
                found.summary = Some("none".to_owned());
            }
            true
        }
        _ => false,
    };
    request.thinking = (found != Thinking::default()).then_some(found);
    is_of_it
}

fn reasoning(value: &Value, found: &mut Thinking) {
    found.enabled = value.get("enabled").and_then(Value::as_bool).or(found.enabled);
    found.effort = text(value, "effort").and_then(Effort::of).or(found.effort);
    found.budget = number(value, "max_tokens").or(found.budget);
    found.summary = owned(value, "summary").or_else(|| found.summary.take());
    if value.get("exclude") == Some(&Value::Bool(true)) {
        found.summary = Some("none".to_owned());
    }
}
