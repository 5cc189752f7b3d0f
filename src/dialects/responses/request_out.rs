//! A request as the provider takes it.

use serde_json::{Map, Value, json};

use super::items_out;
use super::short::short;
use crate::dialects::conversation::{Effort, Format, Open, Request, Thinking, Tool, ToolChoice, Wish};
use crate::dialects::provider::{Lost, Sent, Target, Unfit};

/// Letters of the name of a form, by the provider's schema.
const FORM_NAME_MAX: usize = 64;

/// Models that answer without thinking, by how their names begin: they refuse to encrypt thoughts that they have not.
const THOUGHTLESS: [&str; 5] = ["gpt-3.5", "gpt-4", "chatgpt-4o", "gpt-5-chat", "computer-use-preview"];

/// Writes a request.
pub(super) fn write(request: &Request, target: &Target<'_>) -> Result<Sent, Unfit> {
    let items = items_out::write(&request.messages)?;
    let open = request.wishes.open();
    let mut body = Map::new();
    body.insert("model".into(), json!(target.model));
    body.insert("input".into(), Value::Array(items.input));
    if request.stream {
        body.insert("stream".into(), json!(true));
    }
    body.insert("store".into(), open.take(Wish::Store).cloned().unwrap_or(json!(false)));
    tools(request, &mut body);
    text(request, &open, &mut body);
    if let Some(reasoning) = request.thinking.as_ref().and_then(reasoning) {
        body.insert("reasoning".into(), reasoning);
    }
    include(&open, target.model, &mut body);
    settings(&open, &mut body);
    let mut lost = items.lost;
    if request.tools.iter().any(|tool| tool.cache.is_some()) && !lost.iter().any(|lost| lost.is_hint) {
        lost.push(Lost { name: "cache_control".into(), is_hint: true });
    }
    lost.extend(Lost::of_wishes(open.left()));
    Ok(Sent {
        path: "/responses".into(),
        body: Value::Object(body).to_string().into_bytes(),
        lost,
        stream: request.stream,
        unique: target.unique.to_owned(),
        ..Sent::default()
    })
}

/// Writes a request for the number of tokens in it, which takes what the prompt is made of and nothing else.
pub(super) fn write_count(request: &Request, target: &Target<'_>) -> Result<Sent, Unfit> {
    let items = items_out::write(&request.messages)?;
    let mut body = Map::new();
    body.insert("model".into(), json!(target.model));
    body.insert("input".into(), Value::Array(items.input));
    tools(request, &mut body);
    text(request, &request.wishes.open(), &mut body);
    if let Some(reasoning) = request.thinking.as_ref().and_then(reasoning) {
        body.insert("reasoning".into(), reasoning);
    }
    Ok(Sent {
        path: "/responses/input_tokens".into(),
        body: Value::Object(body).to_string().into_bytes(),
        lost: items.lost,
        unique: target.unique.to_owned(),
        ..Sent::default()
    })
}

/// Settings that are the same under another name.
fn settings(open: &Open<'_>, body: &mut Map<String, Value>) {
    for (wish, name) in [
        (Wish::MaxTokens, "max_output_tokens"),
        (Wish::Temperature, "temperature"),
        (Wish::TopP, "top_p"),
        (Wish::ParallelToolCalls, "parallel_tool_calls"),
        (Wish::ServiceTier, "service_tier"),
        (Wish::User, "user"),
        (Wish::Metadata, "metadata"),
        (Wish::CacheKey, "prompt_cache_key"),
        (Wish::CacheRetention, "prompt_cache_retention"),
    ] {
        let Some(value) = open.take(wish) else { continue };
        let value = match (wish, value) {
            // They say who is the same, and may be said otherwise: coding agents have users of 150 letters.
            (Wish::User | Wish::CacheKey, Value::String(text)) => json!(short(text, "")),
            (_, value) => value.clone(),
        };
        body.insert(name.into(), value);
    }
}

fn include(open: &Open<'_>, model: &str, body: &mut Map<String, Value>) {
    let mut include = Vec::new();
    // A name may have its maker or its tuning before it.
    let bare = model.rsplit('/').next().unwrap_or(model);
    let bare = bare.strip_prefix("ft:").unwrap_or(bare);
    if !THOUGHTLESS.iter().any(|name| bare.starts_with(name)) {
        include.push(json!("reasoning.encrypted_content"));
    }
    let top = open.take(Wish::TopLogprobs);
    if open.take(Wish::Logprobs).is_some() || top.is_some() {
        include.push(json!("message.output_text.logprobs"));
    }
    if let Some(top) = top {
        body.insert("top_logprobs".into(), top.clone());
    }
    if !include.is_empty() {
        body.insert("include".into(), Value::Array(include));
    }
}

fn tools(request: &Request, body: &mut Map<String, Value>) {
    if !request.tools.is_empty() {
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
    }
    let choice = match &request.tool_choice {
        None => return,
        Some(ToolChoice::Auto) => json!("auto"),
        Some(ToolChoice::None) => json!("none"),
        Some(ToolChoice::Required) => json!("required"),
        Some(ToolChoice::Named(name)) => json!({ "type": "function", "name": name }),
    };
    body.insert("tool_choice".into(), choice);
}

fn tool(tool: &Tool) -> Value {
    let schema = tool.schema.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    let mut value = json!({ "type": "function", "name": tool.name });
    if let Some(description) = &tool.description {
        value["description"] = json!(description);
    }
    value["parameters"] = schema;
    // Here, and nowhere else, functions are strict unless one says no.
    value["strict"] = json!(tool.strict.unwrap_or(false));
    value
}

fn text(request: &Request, open: &Open<'_>, body: &mut Map<String, Value>) {
    let mut text = Map::new();
    match &request.format {
        None => {}
        Some(Format::JsonObject) => {
            text.insert("format".into(), json!({ "type": "json_object" }));
        }
        Some(Format::JsonSchema { name, description, schema, strict }) => {
            let mut format =
                json!({ "type": "json_schema", "name": form_name(name.as_deref()), "schema": schema });
            if let Some(description) = description {
                format["description"] = json!(description);
            }
            if let Some(strict) = strict {
                format["strict"] = json!(strict);
            }
            text.insert("format".into(), format);
        }
    }
    if let Some(verbosity) = open.take(Wish::Verbosity) {
        text.insert("verbosity".into(), verbosity.clone());
    }
    if !text.is_empty() {
        body.insert("text".into(), Value::Object(text));
    }
}

fn form_name(name: Option<&str>) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let plain = name.unwrap_or_default().chars().map(|c| if is_plain(c) { c } else { '_' });
    let name: String = plain.take(FORM_NAME_MAX).collect();
    if name.is_empty() { "answer".into() } else { name }
}

fn reasoning(thinking: &Thinking) -> Option<Value> {
    let effort = match (thinking.effort, thinking.enabled, thinking.budget) {
        (Some(effort), ..) => Some(effort),
        (None, Some(false), _) => Some(Effort::None),
        (None, _, Some(tokens)) => Some(Effort::of_budget(tokens)),
        (None, _, None) => None,
    };
    let mut reasoning = Map::new();
    if let Some(effort) = effort {
        reasoning.insert("effort".into(), json!(effort.word()));
    }
    let summary = match thinking.summary.as_deref() {
        None | Some("none" | "omitted") => None,
        Some(word @ ("concise" | "detailed")) => Some(word),
        Some(_) => Some("auto"),
    };
    if let Some(summary) = summary.filter(|_| effort != Some(Effort::None)) {
        reasoning.insert("summary".into(), json!(summary));
    }
    (!reasoning.is_empty()).then_some(Value::Object(reasoning))
}
