//! The content blocks of an answer, whoever has given it.

use serde_json::{Map, Value, json};

use super::blocks_in::ID_MARK;
use super::citation;
use crate::dialects::conversation::{
    Annotation, Content, Family, Finish, Media, Part, Reasoning, Signature, Source, ToolCall,
};

/// What a call's arguments are called when they are no object.
const BARE_ARGUMENTS: &str = "arguments";

/// The blocks that a part is.
pub(super) fn write(part: &Part, blocks: &mut Vec<Value>) {
    match &part.content {
        Content::Text { text, annotations } => {
            if !text.is_empty() || !annotations.is_empty() {
                blocks.push(text_block(text, annotations));
            }
        }
        Content::Refusal(text) => blocks.push(text_block(text, &[])),
        Content::Reasoning(thought) => reasoning(thought, blocks),
        Content::ToolCall(call) => {
            blocks.extend(call.signature.as_ref().map(|signature| thinking_block("", &proof(signature, None))));
            blocks.push(call_block(call, input(&call.arguments)));
        }
        Content::Media(media) => blocks.extend(media_block(media)),
        Content::Foreign { kind, value } => blocks.extend(foreign_block(kind, value)),
        Content::ToolResult(_) => {}
    }
}

fn text_block(text: &str, annotations: &[Annotation]) -> Value {
    let mut block = json!({ "type": "text", "text": text });
    let citations: Vec<Value> = annotations.iter().filter_map(citation::write).collect();
    if !citations.is_empty() {
        block["citations"] = Value::Array(citations);
    }
    block
}

fn reasoning(thought: &Reasoning, blocks: &mut Vec<Value>) {
    let id = thought.id.as_deref();
    if !thought.text.is_empty() || thought.signature.is_some() {
        // Clients need a signature to be there, be it an empty one.
        let proof = thought.signature.as_ref().map(|signature| proof(signature, id)).unwrap_or_default();
        blocks.push(thinking_block(&thought.text, &proof));
    }
    blocks.extend(thought.redacted.as_ref().map(|redacted| redacted_block(&proof(redacted, id))));
}

/// How a signature stands in this dialect. Its provider's id of the thought goes with a sealed one.
pub(super) fn proof(signature: &Signature, id: Option<&str>) -> String {
    let mut text = signature.write(Family::Anthropic);
    if signature.family != Family::Anthropic
        && let Some(id) = id
    {
        text.push(ID_MARK);
        text.push_str(id);
    }
    text
}

pub(super) fn thinking_block(text: &str, signature: &str) -> Value {
    json!({ "type": "thinking", "thinking": text, "signature": signature })
}

pub(super) fn redacted_block(data: &str) -> Value {
    json!({ "type": "redacted_thinking", "data": data })
}

pub(super) fn call_block(call: &ToolCall, input: Value) -> Value {
    let mut block = json!({ "type": "tool_use", "id": call.id, "name": call.name });
    block["input"] = input;
    block
}

/// A call's arguments as an object: clients take nothing else. What is none is given to the tool under a name, so that
/// it is refused by the tool's schema, and the model told so, rather than the tool called without arguments.
pub(super) fn input(arguments: &str) -> Value {
    match serde_json::from_str(arguments) {
        Ok(object @ Value::Object(_)) => object,
        Ok(Value::Null) => json!({}),
        _ if arguments.trim().is_empty() => json!({}),
        _ => json!({ BARE_ARGUMENTS: arguments }),
    }
}

/// A picture or sound that a model made, in the form that the dialect has for requests: it has none for answers.
pub(super) fn media_block(media: &Media) -> Option<Value> {
    let source = match &media.source {
        Source::Base64(data) => json!({ "type": "base64", "media_type": media.media_type, "data": data }),
        Source::Url(url) => json!({ "type": "url", "url": url }),
        Source::Text(text) => return Some(text_block(text, &[])),
        Source::Id(_) => return None,
    };
    match (media.kind, &media.transcript) {
        ("image", _) => Some(json!({ "type": "image", "source": source })),
        (_, Some(words)) => Some(text_block(words, &[])),
        _ => None,
    }
}

/// Only the dialect's own: clients know no others.
pub(super) fn foreign_block(kind: &str, value: &Value) -> Option<Value> {
    is_own(kind).then(|| {
        let mut block = value.as_object().cloned().unwrap_or_else(Map::new);
        block.insert("type".to_owned(), Value::String(kind.to_owned()));
        Value::Object(block)
    })
}

/// Whether a block of this type is Anthropic's.
pub(super) fn is_own(kind: &str) -> bool {
    let ends = ["_tool_use", "_tool_result", "_tool_listing"];
    ends.iter().any(|end| kind.ends_with(end)) || ["container_upload", "compaction", "fallback"].contains(&kind)
}

/// `stop_reason` and `stop_sequence`. Some providers call it a normal end when tools are to be called. What they go on to
/// say behind a call shows that it was not the client's.
pub(super) fn stop(finish: Option<&Finish>, ends_with_call: bool, has_refusal: bool) -> (&str, Option<&str>) {
    let reason = match finish {
        Some(Finish::StopSequence(sequence)) => return ("stop_sequence", sequence.as_deref()),
        Some(Finish::Length) => "max_tokens",
        Some(Finish::Window) => "model_context_window_exceeded",
        Some(Finish::Refusal | Finish::ContentFilter) => "refusal",
        Some(Finish::Pause) => "pause_turn",
        Some(Finish::Other(word)) if word == "compaction" => word,
        _ if has_refusal => "refusal",
        Some(Finish::ToolCalls) => "tool_use",
        _ if ends_with_call => "tool_use",
        Some(Finish::Stop | Finish::Other(_)) | None => "end_turn",
    };
    (reason, None)
}
