//! A conversation's messages, as the items of the provider's `input`.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::short::short;
use super::{content_out, thought};
use crate::dialects::conversation::{Content, Family, Message, Part, Reasoning, Role, ToolCall, ToolResult};
use crate::dialects::provider::{Lost, Unfit};

/// The items, and what could not be said.
#[derive(Default)]
pub(super) struct Items {
    pub(super) input: Vec<Value>,
    pub(super) lost: Vec<Lost>,
    calls: HashSet<String>,
    has_cache_marks: bool,
}

/// Types of the provider's own items, which it takes back as it gave them.
const OWN: [&str; 20] = [
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "computer_call",
    "computer_call_output",
    "custom_tool_call",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
];

/// Whether something is an item of this dialect.
pub(super) fn is_own(kind: &str, value: &Value) -> bool {
    OWN.contains(&kind) && value.get("type").and_then(Value::as_str) == Some(kind)
}

/// Writes the messages in order, instructions among them: where they stand says something.
pub(super) fn write(messages: &[Message]) -> Result<Items, Unfit> {
    let mut items = Items::default();
    for (at, message) in messages.iter().enumerate() {
        if message.name.is_some() {
            items.lost.push(Lost::new(format!("messages[{at}].name")));
        }
        items.has_cache_marks |= message.parts.iter().any(|part| part.cache.is_some());
        match message.role {
            Role::System => items.said("system", at, &message.parts),
            Role::Developer => items.said("developer", at, &message.parts),
            Role::User => items.said("user", at, &message.parts),
            Role::Assistant => items.answered(at, &message.parts),
            Role::Tool => items.results(at, &message.parts)?,
        }
    }
    items.drop_idle_thoughts();
    if items.has_cache_marks {
        items.lost.push(Lost { name: "cache_control".into(), is_hint: true });
    }
    Ok(items)
}

impl Items {
    fn lose(&mut self, at: usize, piece: usize) {
        self.lost.push(Lost::new(format!("messages[{at}].content[{piece}]")));
    }

    fn said(&mut self, role: &str, at: usize, parts: &[Part]) {
        if let [Part { content: Content::Text { text, .. }, .. }] = parts {
            self.input.push(json!({ "role": role, "content": text }));
            return;
        }
        let mut content = Vec::new();
        for (piece, part) in parts.iter().enumerate() {
            match (&part.content, content_out::input(part)) {
                (_, Some(said)) => content.push(said),
                (Content::Foreign { kind, value }, None) if is_own(kind, value) => self.input.push(value.clone()),
                _ => self.lose(at, piece),
            }
        }
        if !content.is_empty() {
            self.input.push(json!({ "role": role, "content": content }));
        }
    }

    fn answered(&mut self, at: usize, parts: &[Part]) {
        for (piece, part) in parts.iter().enumerate() {
            match &part.content {
                Content::Text { text, .. } if text.is_empty() => {}
                Content::Text { text, .. } => self.message(json!({ "type": "output_text", "text": text })),
                Content::Refusal(text) => self.message(json!({ "type": "refusal", "refusal": text })),
                Content::Reasoning(thought) => self.input.extend(reasoning(thought)),
                Content::ToolCall(call) => self.call(call),
                Content::Foreign { kind, value } if is_own(kind, value) => self.input.push(value.clone()),
                Content::Media(_) | Content::ToolResult(_) | Content::Foreign { .. } => self.lose(at, piece),
            }
        }
    }

    /// Adds to the message that the model is saying, or begins one.
    fn message(&mut self, piece: Value) {
        let open = self.input.last_mut().filter(|item| item["role"] == "assistant");
        match open.and_then(|item| item.get_mut("content")).and_then(Value::as_array_mut) {
            Some(content) => content.push(piece),
            None => self.input.push(json!({ "type": "message", "role": "assistant", "content": [piece] })),
        }
    }

    fn call(&mut self, ToolCall { id, name, arguments, .. }: &ToolCall) {
        let id = short(id, "call_");
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
        self.input.push(json!({ "type": "function_call", "call_id": id, "name": name, "arguments": arguments }));
        self.calls.insert(id);
    }

    fn results(&mut self, at: usize, parts: &[Part]) -> Result<(), Unfit> {
        for (piece, part) in parts.iter().enumerate() {
            let Content::ToolResult(ToolResult { id, parts, .. }) = &part.content else {
                self.lose(at, piece);
                continue;
            };
            let id = short(id, "call_");
            if !self.calls.contains(&id) {
                let message = "a tool's result must stand behind the call that it belongs to";
                return Err(Unfit::of(format!("messages[{at}].content[{piece}]"), message));
            }
            self.has_cache_marks |= parts.iter().any(|part| part.cache.is_some());
            let output = match parts.as_slice() {
                [] => json!(""),
                [Part { content: Content::Text { text, .. }, .. }] => json!(text),
                parts => {
                    let pieces: Vec<Value> = parts.iter().filter_map(content_out::input).collect();
                    if pieces.len() < parts.len() {
                        self.lose(at, piece);
                    }
                    json!(pieces)
                }
            };
            self.input.push(json!({ "type": "function_call_output", "call_id": id, "output": output }));
        }
        Ok(())
    }

    /// The provider refuses a thought that nothing of the model's follows.
    fn drop_idle_thoughts(&mut self) {
        let mut is_followed = false;
        let mut kept = Vec::with_capacity(self.input.len());
        while let Some(item) = self.input.pop() {
            let kind = item["type"].as_str().unwrap_or_default();
            if kind != "reasoning" {
                is_followed =
                    item["role"] == "assistant" || (kind.ends_with("_call") && item.get("role").is_none());
                kept.push(item);
            } else if is_followed {
                kept.push(item);
            }
        }
        kept.reverse();
        self.input = kept;
    }
}

/// A thought goes back with its own proof only.
fn reasoning(thought: &Reasoning) -> Option<Value> {
    let proof = thought.signature.as_ref().or(thought.redacted.as_ref())?;
    let (id, encrypted) = thought::unseal(proof.of(Family::OpenAi)?);
    let summary = if thought.text.is_empty() {
        json!([])
    } else {
        json!([{ "type": "summary_text", "text": thought.text }])
    };
    let mut item = json!({ "type": "reasoning", "summary": summary, "encrypted_content": encrypted });
    if let Some(id) = id.or(thought.id.as_deref()) {
        item["id"] = json!(id);
    }
    Some(item)
}
