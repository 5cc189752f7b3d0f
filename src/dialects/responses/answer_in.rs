//! A provider's whole answer: the `response` object, which is also what streams begin and end with.

use serde_json::{Value, json};

use super::members::{list, some_text, text, whole};
use super::{annotation, content_in, thought};
use crate::dialects::conversation::{Answer, Choice, Content, Finish, Part, Start, ToolCall, Usage};
use crate::dialects::provider::Malformed;

/// Reads a whole answer.
pub(super) fn read(body: &[u8]) -> Result<Answer, Malformed> {
    let response: Value = serde_json::from_slice(body).map_err(|_| Malformed("no JSON"))?;
    if !response.get("output").is_some_and(Value::is_array) {
        return Err(Malformed("a response without output"));
    }
    if matches!(text(&response, "status"), Some("failed" | "cancelled" | "queued" | "in_progress")) {
        return Err(Malformed("a response that is not complete"));
    }
    let Start { id, model, created, service_tier, fingerprint } = start(&response);
    let mut parts = Vec::new();
    for (at, item) in list(&response, "output").iter().enumerate() {
        parts.extend(item_parts(item, &call_id(item, &id, at)));
    }
    let calls = parts.iter().any(|part| matches!(part.content, Content::ToolCall(_)));
    let finish = Some(finish(&response, calls));
    let choice = Choice { index: 0, parts, finish, logprobs: logprobs(&response) };
    Ok(Answer { id, model, created, choices: vec![choice], usage: usage(&response), service_tier, fingerprint })
}

/// Reads a number of tokens.
pub(super) fn read_count(body: &[u8]) -> Result<u64, Malformed> {
    let count: Value = serde_json::from_slice(body).map_err(|_| Malformed("no JSON"))?;
    whole(&count, "input_tokens").ok_or(Malformed("a count without a number"))
}

/// What a response says of itself.
pub(super) fn start(response: &Value) -> Start {
    Start {
        id: text(response, "id").unwrap_or_default().to_owned(),
        model: text(response, "model").unwrap_or_default().to_owned(),
        created: whole(response, "created_at"),
        service_tier: some_text(response, "service_tier").map(str::to_owned),
        fingerprint: None,
    }
}

/// What a response has cost.
pub(super) fn usage(response: &Value) -> Option<Usage> {
    let usage = response.get("usage").filter(|usage| usage.is_object())?;
    let input_details = usage.get("input_tokens_details").unwrap_or(&Value::Null);
    let output_details = usage.get("output_tokens_details").unwrap_or(&Value::Null);
    Some(Usage {
        input: whole(usage, "input_tokens").unwrap_or_default(),
        cache_read: whole(input_details, "cached_tokens"),
        cache_write: whole(input_details, "cache_write_tokens"),
        output: whole(usage, "output_tokens").unwrap_or_default(),
        reasoning: whole(output_details, "reasoning_tokens"),
        ..Usage::default()
    })
}

/// Why a response, which may have calls in it, ends.
pub(super) fn finish(response: &Value, calls: bool) -> Finish {
    let details = response.get("incomplete_details").unwrap_or(&Value::Null);
    match (text(response, "status"), text(details, "reason")) {
        (_, Some("max_output_tokens" | "max_tokens")) => Finish::Length,
        (_, Some("content_filter")) => Finish::ContentFilter,
        (Some("incomplete"), reason) => Finish::Other(reason.unwrap_or("incomplete").to_owned()),
        _ if calls => Finish::ToolCalls,
        // A refusal in words is complete, as it is in the chat's form.
        _ => Finish::Stop,
    }
}

/// The id that pairs a call with its output. A provider that gives none gets one made of the response's.
pub(super) fn call_id(item: &Value, response: &str, at: usize) -> String {
    let id = some_text(item, "call_id").or_else(|| some_text(item, "id"));
    id.map_or_else(|| format!("call_{response}_{at}"), str::to_owned)
}

/// The arguments of a call. One of a custom tool has a text, which becomes the only member of an object.
pub(super) fn arguments(item: &Value) -> String {
    match (item.get("arguments"), text(item, "input")) {
        (Some(Value::String(text)), _) => text.clone(),
        (Some(other @ Value::Object(_)), _) => other.to_string(),
        (_, Some(input)) => json!({ "input": input }).to_string(),
        _ => String::new(),
    }
}

/// What an item says, in order.
fn item_parts(item: &Value, call_id: &str) -> Vec<Part> {
    match text(item, "type") {
        Some("message") => list(item, "content").iter().filter_map(message_part).map(Part::new).collect(),
        Some("reasoning") => thought_of(item).into_iter().map(Part::new).collect(),
        Some("function_call" | "custom_tool_call") => {
            let name = text(item, "name").unwrap_or_default().to_owned();
            let call = ToolCall { id: call_id.to_owned(), name, arguments: arguments(item), signature: None };
            vec![Part::new(Content::ToolCall(call))]
        }
        Some(kind) => vec![Part::new(other(kind, item))],
        None => Vec::new(),
    }
}

fn message_part(piece: &Value) -> Option<Content> {
    match text(piece, "type")? {
        "output_text" => {
            let text = text(piece, "text").unwrap_or_default().to_owned();
            let annotations: Vec<_> = list(piece, "annotations").iter().map(annotation::read).collect();
            (!text.is_empty() || !annotations.is_empty()).then_some(Content::Text { text, annotations })
        }
        "refusal" => some_text(piece, "refusal").map(|text| Content::Refusal(text.to_owned())),
        "reasoning_text" => {
            some_text(piece, "text").map(|text| Content::Reasoning(thought::thought(None, text.to_owned(), None)))
        }
        _ => None,
    }
}

/// The pieces of a thought, of which the summary comes first.
pub(super) fn thought_pieces(item: &Value) -> impl Iterator<Item = (&'static str, u64, &str)> {
    let of = |name: &'static str| {
        (0..).zip(list(item, name)).map(move |(at, piece)| (name, at, text(piece, "text").unwrap_or_default()))
    };
    of("summary").chain(of("content")).filter(|(.., text)| !text.is_empty())
}

fn thought_of(item: &Value) -> Option<Content> {
    let texts: Vec<&str> = thought_pieces(item).map(|(.., text)| text).collect();
    let id = some_text(item, "id");
    let proof = some_text(item, "encrypted_content").map(|encrypted| thought::seal(id, encrypted));
    let is_empty = texts.is_empty() && proof.is_none();
    (!is_empty).then(|| Content::Reasoning(thought::thought(id, texts.join("\n\n"), proof)))
}

/// What stands in an item that is no message, thought or call of a function.
pub(super) fn other(kind: &str, item: &Value) -> Content {
    let picture = if kind == "image_generation_call" { content_in::generated(item) } else { None };
    match picture {
        Some(media) => Content::Media(media),
        None => Content::Foreign { kind: kind.to_owned(), value: item.clone() },
    }
}

/// Of all texts, in the form of the chat's.
fn logprobs(response: &Value) -> Option<Value> {
    let messages = list(response, "output").iter().flat_map(|item| list(item, "content"));
    let all: Vec<Value> = messages.flat_map(|piece| list(piece, "logprobs")).cloned().collect();
    (!all.is_empty()).then(|| json!({ "content": all, "refusal": null }))
}
