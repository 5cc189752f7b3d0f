//! The `response` object around an answer's items, which tells the client its own settings.

use serde_json::{Map, Value, json};

use super::tools_in;
use crate::dialects::conversation::{
    Content, Effort, Finish, Format, Part, Request, Role, Start, Thinking, Tool, ToolChoice, Usage, Wish,
};
use crate::dialects::front::Asked;

/// What a response says of itself, beside its items.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// `in_progress`, `completed`, `incomplete`, `failed`.
    pub(super) status: &'static str,
    /// Why it is incomplete.
    pub(super) reason: Option<&'static str>,
    /// Why it failed.
    pub(super) error: Option<Value>,
    /// What it cost.
    pub(super) usage: Option<Usage>,
}

impl Standing {
    /// It has begun.
    pub(super) fn in_progress() -> Self {
        Self { status: "in_progress", ..Self::default() }
    }

    /// It has ended so.
    pub(super) fn of(finish: Option<&Finish>, usage: Option<Usage>) -> Self {
        let reason = match finish {
            Some(Finish::Length | Finish::Window) => Some("max_output_tokens"),
            Some(Finish::ContentFilter) => Some("content_filter"),
            _ => None,
        };
        let status = if reason.is_some() { "incomplete" } else { "completed" };
        Self { status, reason, error: None, usage }
    }
}

/// Writes the object.
pub(super) fn response(asked: &Asked, start: &Start, standing: &Standing, output: &[Value]) -> Value {
    let Asked { request, unique, now, .. } = asked;
    let id = if start.id.is_empty() { format!("resp_{unique}") } else { start.id.clone() };
    let model = if start.model.is_empty() { &request.model } else { &start.model };
    let wish = |wish| request.wishes.get(wish).cloned().unwrap_or(Value::Null);
    let or = |value: Value, default: Value| if value.is_null() { default } else { value };
    let named = |name| request.wishes.named(name).cloned().unwrap_or(Value::Null);
    json!({
        "id": id,
        "object": "response",
        "created_at": start.created.unwrap_or(*now),
        "status": standing.status,
        "background": false,
        "completed_at": null,
        "error": standing.error,
        "incomplete_details": standing.reason.map(|reason| json!({ "reason": reason })),
        "instructions": instructions(request),
        "max_output_tokens": wish(Wish::MaxTokens),
        "max_tool_calls": named("max_tool_calls"),
        "metadata": or(wish(Wish::Metadata), json!({})),
        "model": model,
        "output": output,
        "parallel_tool_calls": or(wish(Wish::ParallelToolCalls), json!(true)),
        "previous_response_id": null,
        "prompt_cache_key": wish(Wish::CacheKey),
        "reasoning": reasoning(request.thinking.as_ref()),
        "safety_identifier": named("safety_identifier"),
        "service_tier": start.service_tier.as_deref().unwrap_or("default"),
        "store": or(wish(Wish::Store), json!(false)),
        "temperature": or(wish(Wish::Temperature), json!(1.0)),
        "text": { "format": format(request.format.as_ref()), "verbosity": or(wish(Wish::Verbosity), json!("medium")) },
        "tool_choice": choice(request.tool_choice.as_ref()),
        "tools": request.tools.iter().map(tool).collect::<Vec<_>>(),
        "top_logprobs": or(wish(Wish::TopLogprobs), json!(0)),
        "top_p": or(wish(Wish::TopP), json!(1.0)),
        "truncation": or(named("truncation"), json!("disabled")),
        "usage": standing.usage.as_ref().map(usage),
        "user": named("user"),
    })
}

/// They stand before everything else.
fn instructions(request: &Request) -> Option<&str> {
    let first = request.messages.first().filter(|message| message.role == Role::System)?;
    match first.parts.as_slice() {
        [Part { content: Content::Text { text, .. }, .. }] => Some(text),
        _ => None,
    }
}

fn reasoning(thinking: Option<&Thinking>) -> Value {
    let effort = thinking.and_then(|thinking| thinking.effort).map(Effort::word);
    json!({ "effort": effort, "summary": thinking.and_then(|thinking| thinking.summary.as_deref()) })
}

fn format(format: Option<&Format>) -> Value {
    match format {
        None => json!({ "type": "text" }),
        Some(Format::JsonObject) => json!({ "type": "json_object" }),
        Some(Format::JsonSchema { name, description, schema, strict }) => json!({
            "type": "json_schema",
            "name": name.as_deref().unwrap_or("answer"),
            "description": description,
            "schema": schema,
            "strict": strict.unwrap_or(false),
        }),
    }
}

fn choice(choice: Option<&ToolChoice>) -> Value {
    match choice {
        None | Some(ToolChoice::Auto) => json!("auto"),
        Some(ToolChoice::None) => json!("none"),
        Some(ToolChoice::Required) => json!("required"),
        Some(ToolChoice::Named(name)) => json!({ "type": "function", "name": name }),
    }
}

fn tool(tool: &Tool) -> Value {
    if tools_in::has_custom_schema(tool) {
        return json!({ "type": "custom", "name": tool.name, "description": tool.description });
    }
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.schema.clone().unwrap_or_else(|| Value::Object(Map::new())),
        "strict": tool.strict.unwrap_or(true),
    })
}

fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read.unwrap_or(0),
            "cache_write_tokens": usage.cache_write.unwrap_or(0),
        },
        "output_tokens": usage.output,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning.unwrap_or(0) },
        "total_tokens": usage.input.saturating_add(usage.output),
    })
}
