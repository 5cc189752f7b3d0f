//! A client's request (`OpenAI` API reference, "Create a model response").

use serde_json::{Map, Value, json};

use super::members::text;
use super::{items_in, tools_in};
use crate::dialects::conversation::{Effort, Format, Message, Part, Request, Role, Thinking, Wish};
use crate::dialects::front::Refusal;

/// Reads a request.
pub(super) fn read(body: &[u8]) -> Result<Request, Refusal> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal { message: format!("the body is not JSON: {error}"), param: None })?;
    let Value::Object(fields) = body else {
        return Err(Refusal { message: "the body must be a JSON object".into(), param: None });
    };
    let model = fields.get("model").and_then(Value::as_str).filter(|model| !model.is_empty());
    let Some(model) = model else { return Err(Refusal::of("model", "`model` must name a model")) };
    let mut request = Request { model: model.to_owned(), ..Request::default() };
    request.stream = fields.get("stream").and_then(Value::as_bool).unwrap_or(false);
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        setting(&mut request, name, value)?;
    }
    if let Some(instructions) = fields.get("instructions").filter(|value| !value.is_null()) {
        request.messages.push(instructions_of(instructions)?);
    }
    items_in::read(fields.get("input").unwrap_or(&Value::Null), &mut request.messages)?;
    if let Some(tools) = fields.get("tools").filter(|value| !value.is_null()) {
        tools_in::tools(tools, &mut request)?;
    }
    if let Some(choice) = fields.get("tool_choice").filter(|value| !value.is_null()) {
        tools_in::choice(choice, &mut request)?;
    }
    Ok(request)
}

fn instructions_of(value: &Value) -> Result<Message, Refusal> {
    let Some(text) = value.as_str() else {
        return Err(Refusal::of("instructions", "`instructions` must be a string"));
    };
    Ok(Message { role: Role::System, parts: vec![Part::text(text)], name: None })
}

fn setting(request: &mut Request, name: &str, value: &Value) -> Result<(), Refusal> {
    let wishes = &mut request.wishes;
    let mut add = |wish| wishes.add(wish, name, value.clone());
    match name {
        "model" | "input" | "instructions" | "stream" | "tools" | "tool_choice" => {}
        "max_output_tokens" => {
            if value.as_u64().is_none_or(|tokens| tokens == 0) {
                return Err(Refusal::of(name, "`max_output_tokens` must be a whole number above 0"));
            }
            add(Wish::MaxTokens);
        }
        "temperature" => add(number(name, value, Wish::Temperature)?),
        "top_p" => add(number(name, value, Wish::TopP)?),
        "top_logprobs" if *value == 0 => {}
        "top_logprobs" => {
            add(number(name, value, Wish::TopLogprobs)?);
            want_logprobs(request, name);
        }
        "parallel_tool_calls" if *value == true => {}
        "parallel_tool_calls" => add(Wish::ParallelToolCalls),
        "store" | "background" if *value == false => {}
        "store" => add(Wish::Store),
        "metadata" if value.as_object().is_some_and(Map::is_empty) => {}
        "metadata" => add(Wish::Metadata),
        "service_tier" if value == "auto" => {}
        "service_tier" => add(Wish::ServiceTier),
        "user" | "safety_identifier" => add(Wish::User),
        "prompt_cache_key" => add(Wish::CacheKey),
        "prompt_cache_retention" => add(Wish::CacheRetention),
        "truncation" if value == "disabled" => {}
        // The number of calls of built-in tools, which stand among the wishes themselves.
        "truncation" | "max_tool_calls" | "prompt_cache_options" | "client_metadata" | "access_programs" => {
            add(Wish::Hint);
        }
        "background" | "previous_response_id" | "conversation" | "prompt" => return Err(kept(name)),
        "include" => include(request, value),
        "text" => text_form(request, value)?,
        "reasoning" => reasoning(request, value)?,
        "stream_options" => stream_options(request, value),
        _ => add(Wish::Other),
    }
    Ok(())
}

fn number(name: &str, value: &Value, wish: Wish) -> Result<Wish, Refusal> {
    if value.is_number() { Ok(wish) } else { Err(Refusal::of(name, format!("`{name}` must be a number"))) }
}

/// Why what refers to something that the provider keeps is refused.
fn kept(name: &str) -> Refusal {
    let message = match name {
        "background" => {
            "`background` needs a provider that keeps responses, which this model's does not".to_owned()
        }
        "prompt" => "`prompt` refers to a template that this model's provider does not keep; \
                     send its text as `instructions` and `input`"
            .to_owned(),
        _ => format!("`{name}`: this model's provider keeps no responses; send the whole conversation as `input`"),
    };
    Refusal::of(name, message)
}

fn want_logprobs(request: &mut Request, name: &str) {
    if request.wishes.get(Wish::Logprobs).is_none() {
        request.wishes.add(Wish::Logprobs, name, json!(true));
    }
}

fn include(request: &mut Request, value: &Value) {
    for (at, wanted) in value.as_array().into_iter().flatten().enumerate() {
        let name = format!("include[{at}]");
        match wanted.as_str() {
            // Encrypted reasoning is always given where there is any.
            Some("reasoning.encrypted_content") => {}
            Some("message.output_text.logprobs") => want_logprobs(request, &name),
            // More about what built-in tools have done, or about the input.
            _ => request.wishes.add(Wish::Hint, name, wanted.clone()),
        }
    }
}

fn text_form(request: &mut Request, value: &Value) -> Result<(), Refusal> {
    for (name, value) in value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        match &**name {
            "format" => format(request, value)?,
            "verbosity" if value == "medium" => {}
            "verbosity" => request.wishes.add(Wish::Verbosity, "text.verbosity", value.clone()),
            _ => request.wishes.add(Wish::Other, format!("text.{name}"), value.clone()),
        }
    }
    Ok(())
}

fn format(request: &mut Request, value: &Value) -> Result<(), Refusal> {
    request.format = match text(value, "type") {
        Some("text") => None,
        Some("json_object") => Some(Format::JsonObject),
        Some("json_schema") => {
            let Some(schema) = value.get("schema").filter(|schema| schema.is_object()) else {
                return Err(Refusal::of("text.format.schema", "`text.format.schema` must be a JSON Schema"));
            };
            Some(Format::JsonSchema {
                name: text(value, "name").map(str::to_owned),
                description: text(value, "description").map(str::to_owned),
                schema: schema.clone(),
                strict: value.get("strict").and_then(Value::as_bool),
            })
        }
        Some(_) => {
            request.wishes.add(Wish::Other, "text.format", value.clone());
            None
        }
        None => return Err(Refusal::of("text.format.type", "`text.format.type` must say what form is meant")),
    };
    Ok(())
}

fn reasoning(request: &mut Request, value: &Value) -> Result<(), Refusal> {
    let mut thinking = Thinking::default();
    for (name, value) in value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        match (&**name, value.as_str()) {
            ("effort", word) => {
                let Some(effort) = word.and_then(Effort::of) else {
                    let words: Vec<&str> = Effort::ALL.into_iter().map(Effort::word).collect();
                    let message = format!("`reasoning.effort` must be one of {}", words.join(", "));
                    return Err(Refusal::of("reasoning.effort", message));
                };
                thinking.effort = Some(effort);
                thinking.enabled = (effort == Effort::None).then_some(false);
            }
            // The second is the first one's old name.
            ("summary" | "generate_summary", Some(word)) => thinking.summary = Some(word.to_owned()),
            ("mode", Some("standard")) | ("context", Some("auto")) => {}
            // Which of the earlier thoughts are looked at again.
            ("context", _) => request.wishes.add(Wish::Hint, "reasoning.context", value.clone()),
            _ => request.wishes.add(Wish::Other, format!("reasoning.{name}"), value.clone()),
        }
    }
    request.thinking = (thinking != Thinking::default()).then_some(thinking);
    Ok(())
}

fn stream_options(request: &mut Request, value: &Value) {
    for (name, value) in value.as_object().into_iter().flatten() {
        // Padding against listeners: the gateway adds none, and the answer is the same.
        if name != "include_obfuscation" {
            request.wishes.add(Wish::Other, format!("stream_options.{name}"), value.clone());
        }
    }
}
