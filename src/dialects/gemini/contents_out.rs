//! From the messages of a conversation to `systemInstruction` and `contents`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::FOREIGN_PARTS;
use super::fields::object;
use super::model::Model;
use super::part_out;
use crate::dialects::conversation::{Content, Family, Message, Part, Role, ToolCall, ToolResult};
use crate::dialects::{Lost, Unfit};

/// Stands for the signature of a call that another provider's model made: Gemini 3 refuses calls without one (Gemini API
/// documentation, "Thought signatures").
pub(super) const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// What is written, and what could not be.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    model: &'a Model,
    pub turns: Vec<Value>,
    system: Vec<Value>,
    /// The names of calls by their ids.
    names: HashMap<&'a str, &'a str>,
    pub lost: Vec<Lost>,
    has_cache: bool,
}

impl<'a> Contents<'a> {
    /// Writes them all.
    ///
    /// # Errors
    /// When there is no way to say one of them.
    pub(super) fn of(messages: &'a [Message], model: &'a Model) -> Result<Self, Unfit> {
        let mut out = Self {
            model,
            turns: Vec::new(),
            system: Vec::new(),
            names: HashMap::new(),
            lost: Vec::new(),
            has_cache: false,
        };
        for (at, message) in messages.iter().enumerate() {
            out.has_cache |= message.parts.iter().any(|part| part.cache.is_some());
            match message.role {
                Role::System | Role::Developer => out.system(at, &message.parts),
                Role::User => out.user(at, &message.parts),
                Role::Assistant => out.assistant(at, &message.parts)?,
                Role::Tool => out.tool(at, &message.parts)?,
            }
        }
        Ok(out)
    }

    /// The instruction. Google wants at least one content, so that without any the instruction is that.
    pub(super) fn take_system(&mut self) -> Option<Value> {
        let parts = std::mem::take(&mut self.system);
        if parts.is_empty() {
            return None;
        }
        if self.turns.is_empty() {
            self.turns.push(json!({ "role": "user", "parts": parts }));
            return None;
        }
        Some(json!({ "parts": parts }))
    }

    /// What was lost, markers of caches included.
    pub(super) fn take_lost(&mut self) -> Vec<Lost> {
        let mut lost = std::mem::take(&mut self.lost);
        if self.has_cache {
            lost.push(Lost { name: "cache_control".to_owned(), is_hint: true });
        }
        lost
    }

    fn system(&mut self, at: usize, parts: &[Part]) {
        for (number, part) in parts.iter().enumerate() {
            match part.as_text() {
                Some("") => {}
                Some(text) => self.system.push(part_out::text(text)),
                None => self.lose(at, number),
            }
        }
    }

    fn user(&mut self, at: usize, parts: &[Part]) {
        let mut out = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let written = match &part.content {
                Content::Text { text, .. } if text.is_empty() && parts.len() > 1 => continue,
                Content::Text { text, .. } | Content::Refusal(text) => Some(part_out::text(text)),
                Content::Media(media) => part_out::media(media),
                Content::Foreign { kind, value } if FOREIGN_PARTS.contains(&&**kind) => Some(value.clone()),
                _ => None,
            };
            match written {
                Some(written) => out.push(written),
                None => self.lose(at, number),
            }
        }
        if !out.is_empty() {
            self.turns.push(json!({ "role": "user", "parts": out }));
        }
    }

    fn assistant(&mut self, at: usize, parts: &'a [Part]) -> Result<(), Unfit> {
        let mut out: Vec<Value> = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            match &part.content {
                Content::Text { text, .. } | Content::Refusal(text) => {
                    if !text.is_empty() {
                        out.push(part_out::text(text));
                    }
                }
                // Gemini reads its signatures alone; thoughts in words are for people.
                Content::Reasoning(thought) => {
                    let own = thought.signature.as_ref().and_then(|signature| signature.of(Family::Gemini));
                    if let Some(signature) = own {
                        part_out::prove(&mut out, &thought.text, signature);
                    }
                }
                Content::ToolCall(call) => {
                    self.names.insert(&call.id, &call.name);
                    out.push(written_call(at, call)?);
                }
                Content::Media(media) => {
                    let signature = media.signature.as_ref().and_then(|signature| signature.of(Family::Gemini));
                    match part_out::media(media) {
                        Some(part) => out.push(part_out::signed(part, signature)),
                        None => self.lose(at, number),
                    }
                }
                Content::Foreign { kind, value } if FOREIGN_PARTS.contains(&&**kind) => out.push(value.clone()),
                Content::Foreign { .. } | Content::ToolResult(_) => self.lose(at, number),
            }
        }
        self.push_model(out);
        Ok(())
    }

    /// The turns of the model that stand together are one: its calls must stand in the content before their results.
    fn push_model(&mut self, parts: Vec<Value>) {
        if parts.is_empty() {
            return;
        }
        match self.turns.last_mut().filter(|last| last["role"] == "model") {
            Some(last) => append(last, parts),
            None => self.turns.push(json!({ "role": "model", "parts": parts })),
        }
        if self.model.is_third()
            && let Some(turn) = self.turns.last_mut()
        {
            vouch(turn);
        }
    }

    fn tool(&mut self, at: usize, parts: &'a [Part]) -> Result<(), Unfit> {
        let mut out = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            match &part.content {
                Content::ToolResult(result) => self.result((at, number), result, &mut out)?,
                _ => self.lose(at, number),
            }
        }
        let is_result = |part: &Value| part.get("functionResponse").is_some();
        let last = self.turns.last_mut().filter(|last| last["parts"].get(0).is_some_and(is_result));
        match last {
            Some(last) => append(last, out),
            None if out.is_empty() => {}
            None => self.turns.push(json!({ "role": "user", "parts": out })),
        }
        Ok(())
    }

    fn result(&mut self, at: (usize, usize), result: &ToolResult, out: &mut Vec<Value>) -> Result<(), Unfit> {
        let known = self.names.get(&*result.id).copied();
        let Some(name) = known.or(result.name.as_deref()) else {
            let why = format!("the result of a tool's call {:?} comes without the call", result.id);
            return Err(Unfit::of(format!("messages[{}]", at.0), why));
        };
        let texts: Vec<_> = result.parts.iter().filter_map(Part::as_text).collect();
        let mut media = Vec::new();
        for part in result.parts.iter().filter(|part| part.as_text().is_none()) {
            match &part.content {
                Content::Media(one) => match part_out::media(one) {
                    Some(one) => media.push(one),
                    None => self.lose(at.0, at.1),
                },
                _ => self.lose(at.0, at.1),
            }
        }
        // Before the third generation functions give no pictures: they stand beside the result.
        let (inside, beside) = if self.model.is_third() { (media, Vec::new()) } else { (Vec::new(), media) };
        let response = object([
            ("id", google_id(&result.id).map(Value::from)),
            ("name", Some(name.into())),
            ("response", Some(outcome(&texts.join("\n"), result.is_error))),
            ("parts", (!inside.is_empty()).then_some(Value::Array(inside))),
        ]);
        out.push(json!({ "functionResponse": response }));
        out.extend(beside);
        Ok(())
    }

    fn lose(&mut self, message: usize, part: usize) {
        self.lost.push(Lost::new(format!("messages[{message}].content[{part}]")));
    }
}

fn written_call(at: usize, call: &ToolCall) -> Result<Value, Unfit> {
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let Ok(args) = serde_json::from_str::<Map<String, Value>>(arguments) else {
        let why = format!("the arguments of the call {:?} are no JSON object", call.id);
        return Err(Unfit::of(format!("messages[{at}]"), why));
    };
    let signature = call.signature.as_ref().and_then(|signature| signature.of(Family::Gemini));
    let part = part_out::call(&call.name, google_id(&call.id), Value::Object(args));
    Ok(part_out::signed(part, signature))
}

/// The id if Google gave it: letters and digits. Its own pair calls and results, others' it may refuse, and without any it
/// goes by the order.
fn google_id(id: &str) -> Option<&str> {
    (id.len() <= 16 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(id)
}

/// Of calls that were made at once only the first is signed. Whether it was not.
pub(super) fn vouch(content: &mut Value) -> bool {
    let parts = content["parts"].as_array_mut();
    let call = parts.and_then(|parts| parts.iter_mut().find(|part| part.get("functionCall").is_some()));
    let is_bare =
        |call: &&mut Value| call.get("thoughtSignature").is_none() && call.get("thought_signature").is_none();
    let bare = call.filter(is_bare);
    let was_bare = bare.is_some();
    if let Some(call) = bare {
        call["thoughtSignature"] = NO_SIGNATURE.into();
    }
    was_bare
}

fn outcome(text: &str, is_error: bool) -> Value {
    match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(object) if is_error => json!({ "error": object }),
        Ok(object) => Value::Object(object),
        Err(_) if is_error => json!({ "error": text }),
        Err(_) => json!({ "output": text }),
    }
}

fn append(content: &mut Value, more: Vec<Value>) {
    if let Some(parts) = content["parts"].as_array_mut() {
        parts.extend(more);
    }
}
