//! Whole answers (Anthropic API reference, the `Message` object).

use serde_json::{Value, json};

use super::{blocks_out, usage};
use crate::dialects::Asked;
use crate::dialects::conversation::{Answer, Content, Start, Usage};

/// Writes an answer. The dialect has one choice.
pub(super) fn write(answer: &Answer, asked: &Asked) -> Vec<u8> {
    let start = Start {
        id: answer.id.clone(),
        model: answer.model.clone(),
        service_tier: answer.service_tier.clone(),
        ..Start::default()
    };
    let mut message = message(&start, &answer.usage.unwrap_or_default(), asked);
    let choice = answer.choices.first();
    let (mut blocks, mut ends_with_call, mut has_refusal) = (Vec::new(), false, false);
    for part in choice.into_iter().flat_map(|choice| &choice.parts) {
        ends_with_call = matches!(part.content, Content::ToolCall(_));
        has_refusal |= matches!(part.content, Content::Refusal(_));
        blocks_out::write(part, &mut blocks);
    }
    let finish = choice.and_then(|choice| choice.finish.as_ref());
    let (reason, sequence) = blocks_out::stop(finish, ends_with_call, has_refusal);
    message["content"] = Value::Array(blocks);
    message["stop_reason"] = json!(reason);
    message["stop_sequence"] = json!(sequence);
    message.to_string().into_bytes()
}

/// A message that has neither content nor end yet.
pub(super) fn message(start: &Start, usage: &Usage, asked: &Asked) -> Value {
    let id = if start.id.is_empty() { format!("msg_{}", asked.unique) } else { start.id.clone() };
    let model = if start.model.is_empty() { &asked.request.model } else { &start.model };
    let mut usage = usage::write(usage);
    if let Some(tier) = usage::write_tier(start.service_tier.as_deref()) {
        usage["service_tier"] = json!(tier);
    }
    json!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage,
    })
}
