//! Writes the messages of a request.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::habits::Habits;
use super::media;
use super::speech::FOREIGN;
use super::thought::{Details, FOREIGN_DETAIL, extra_content};
use crate::dialects::Lost;
use crate::dialects::conversation::{Content, Message, Part, Reasoning, Role, Source, ToolCall, ToolResult};

/// Characters of a call's id. `OpenAI` takes no more.
const ID_CHARS_MAX: usize = 40;

/// What stands for a result that is no text. Without a word the model takes it for empty.
const FOLLOWS: &str = "(attached below)";

/// Writes messages for one model.
pub(super) struct Writer<'a> {
    pub(super) habits: Habits,
    pub(super) model: &'a str,
    /// What could not be said.
    pub(super) lost: Vec<Lost>,
    /// Media that tools have given. In this dialect results are texts, so they follow in a message of the user.
    given: Vec<Value>,
    out: Vec<Value>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(habits: Habits, model: &'a str) -> Self {
        Self { habits, model, lost: Vec::new(), given: Vec::new(), out: Vec::new() }
    }

    /// All of them.
    pub(super) fn messages(&mut self, messages: &[Message]) -> Vec<Value> {
        for (at, message) in messages.iter().enumerate() {
            if message.role != Role::Tool {
                self.give();
            }
            match message.role {
                Role::Developer if self.habits.is_openai() => self.told("developer", message, at),
                Role::System | Role::Developer => self.told("system", message, at),
                Role::User => self.told("user", message, at),
                Role::Assistant => self.assistant(message, at),
                Role::Tool => self.results(message, at),
            }
        }
        self.give();
        std::mem::take(&mut self.out)
    }

    /// What was held back until all results were said: calls want their results at once.
    fn give(&mut self) {
        if !self.given.is_empty() {
            let content = std::mem::take(&mut self.given);
            self.out.push(json!({ "role": "user", "content": content }));
        }
    }

    fn told(&mut self, role: &str, message: &Message, at: usize) {
        self.results(message, at);
        let mut parts = Vec::new();
        for (number, part) in message.parts.iter().enumerate() {
            let written = match &part.content {
                Content::ToolResult(_) => continue,
                content => self.part(content),
            };
            match written {
                Some(value) => parts.push(self.marked(value, part)),
                None => self.lose(at, number),
            }
        }
        if !parts.is_empty() || message.parts.is_empty() {
            let content = self.content(parts, "\n\n");
            self.out.push(named(json!({ "role": role, "content": content }), message, self.habits));
        }
    }

    /// A part as this dialect has it, wherever it stands.
    fn part(&self, content: &Content) -> Option<Value> {
        match content {
            Content::Text { text, .. } => Some(text_part(text)),
            Content::Media(media) if media.kind == "video" && self.habits.is_openai() => None,
            Content::Media(media) => media::write(media),
            Content::Refusal(words) if self.habits.is_openai() => {
                Some(json!({ "type": "refusal", "refusal": words }))
            }
            Content::Refusal(words) => Some(text_part(words)),
            Content::Foreign { kind, value } if kind.starts_with(FOREIGN) => Some(value.clone()),
            Content::Foreign { .. } | Content::Reasoning(_) | Content::ToolCall(_) | Content::ToolResult(_) => {
                None
            }
        }
    }

    fn marked(&mut self, mut value: Value, part: &Part) -> Value {
        if let Some(marker) = &part.cache {
            if self.habits.takes_cache(self.model) {
                value["cache_control"] = marker.clone();
            } else {
                self.lose_cache();
            }
        }
        value
    }

    /// Markers of a cache that the server has not.
    pub(super) fn lose_cache(&mut self) {
        let lost = Lost { name: "cache_control".to_owned(), is_hint: true };
        if !self.lost.contains(&lost) {
            self.lost.push(lost);
        }
    }

    fn lose(&mut self, message: usize, part: usize) {
        self.lost.push(Lost::new(format!("messages[{message}].content[{part}]")));
    }

    /// One text is a string, and so are several where the server may know nothing else.
    fn content(&self, parts: Vec<Value>, between: &str) -> Value {
        let plain = |part: &Value| part["type"] == "text" && part.get("cache_control").is_none();
        if parts.iter().all(plain) && (parts.len() <= 1 || !self.habits.is_openai()) {
            let texts: Vec<_> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            return json!(texts.join(between));
        }
        Value::Array(parts)
    }

    fn assistant(&mut self, message: &Message, at: usize) {
        let (mut parts, mut calls, mut thoughts) = (Vec::new(), Vec::new(), Vec::new());
        let mut said = Map::new();
        for (number, part) in message.parts.iter().enumerate() {
            match &part.content {
                Content::ToolCall(call) => calls.push(self.call(call)),
                Content::Foreign { kind, value } if *kind == format!("{FOREIGN}tool_call") => {
                    calls.push(value.clone());
                }
                Content::Foreign { kind, value } if kind == FOREIGN_DETAIL => {
                    // Nobody but a router knows them.
                    if self.habits.family(self.model).is_some() {
                        thoughts.push(Thought::Detail(value));
                    }
                }
                Content::Reasoning(reasoning) => thoughts.push(Thought::Own(reasoning)),
                Content::Media(media) if media.kind == "audio" && self.habits.is_openai() => match &media.source {
                    Source::Id(id) => {
                        said.insert("audio".to_owned(), json!({ "id": id }));
                    }
                    _ => self.lose(at, number),
                },
                Content::Text { .. } | Content::Refusal(_) | Content::Foreign { .. } => {
                    match self.part(&part.content) {
                        Some(value) => parts.push(self.marked(value, part)),
                        None => self.lose(at, number),
                    }
                }
                Content::Media(_) | Content::ToolResult(_) => self.lose(at, number),
            }
        }
        let is_silent = parts.is_empty() && (!calls.is_empty() || !said.is_empty());
        let content = if is_silent { Value::Null } else { self.content(parts, "") };
        let mut whole = Map::new();
        whole.insert("role".to_owned(), json!("assistant"));
        whole.insert("content".to_owned(), content);
        whole.append(&mut said);
        self.thoughts(&thoughts, !calls.is_empty(), &mut whole);
        if !calls.is_empty() {
            whole.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        self.out.push(named(Value::Object(whole), message, self.habits));
    }

    fn call(&self, call: &ToolCall) -> Value {
        let arguments = if call.arguments.trim().is_empty() { "{}" } else { &*call.arguments };
        let function = json!({ "name": call.name, "arguments": arguments });
        let mut value = json!({ "id": short(&call.id), "type": "function", "function": function });
        let signature = call.signature.as_ref().filter(|_| self.habits.takes_call_signatures(self.model));
        if let Some(signature) = signature {
            value["extra_content"] = extra_content(signature);
        }
        value
    }

    /// Signed thoughts go back to whom they belong. Models that want thoughts beside their calls get whatever was thought,
    /// by whomever, and be it nothing.
    fn thoughts(&self, thoughts: &[Thought<'_>], has_calls: bool, said: &mut Map<String, Value>) {
        let (mut plain, mut details, mut writer) = (String::new(), Vec::new(), Details::default());
        let family = self.habits.family(self.model);
        for thought in thoughts {
            match thought {
                Thought::Detail(value) => details.push(writer.foreign(value)),
                Thought::Own(reasoning) => {
                    plain.push_str(&reasoning.text);
                    let marks = [&reasoning.signature, &reasoning.redacted];
                    let whose = marks.into_iter().flatten().next().map(|signature| signature.family);
                    if whose.is_some() && whose == family {
                        writer.close();
                        detail(reasoning, &mut writer, &mut details);
                    }
                }
            }
        }
        if has_calls && self.habits.wants_thoughts(self.model) {
            said.insert("reasoning_content".to_owned(), json!(plain));
        }
        if !details.is_empty() {
            said.insert("reasoning_details".to_owned(), Value::Array(details));
        }
    }

    /// Results, each a message of its own.
    fn results(&mut self, message: &Message, at: usize) {
        for (number, part) in message.parts.iter().enumerate() {
            match &part.content {
                Content::ToolResult(result) => self.result(result, part, at),
                _ if message.role == Role::Tool => self.lose(at, number),
                _ => {}
            }
        }
    }

    fn result(&mut self, result: &ToolResult, part: &Part, at: usize) {
        let (mut texts, before) = (Vec::new(), self.given.len());
        for (number, item) in result.parts.iter().enumerate() {
            match (&item.content, self.part(&item.content)) {
                (Content::Text { .. } | Content::Refusal(_), Some(value)) => texts.push(self.marked(value, item)),
                (_, Some(value)) if value["type"] == "text" => texts.push(value),
                (_, Some(value)) => self.given.push(value),
                (_, None) => self.lose(at, number),
            }
        }
        if let Some(last) = texts.pop() {
            let last = self.marked(last, part);
            texts.push(last);
        } else if self.given.len() > before {
            texts.push(text_part(FOLLOWS));
        }
        let content = self.content(texts, "\n\n");
        self.out.push(json!({ "role": "tool", "tool_call_id": short(&result.id), "content": content }));
    }
}

enum Thought<'a> {
    Own(&'a Reasoning),
    /// A detail whose format we do not know.
    Detail(&'a Value),
}

/// One thought as `reasoning_details`.
pub(super) fn detail(reasoning: &Reasoning, writer: &mut Details, details: &mut Vec<Value>) {
    if let Some(id) = &reasoning.id {
        writer.id(id);
    }
    let mut one = None;
    if !reasoning.text.is_empty() || (reasoning.signature.is_some() && reasoning.redacted.is_none()) {
        one = Some(writer.text(&reasoning.text));
    }
    if let (Some(signature), Some(text)) = (&reasoning.signature, &mut one) {
        let signed = writer.signature(signature);
        for name in ["signature", "format"] {
            if let Some(member) = signed.get(name) {
                text[name] = member.clone();
            }
        }
    }
    details.extend(one);
    details.extend(reasoning.redacted.as_ref().map(|data| writer.encrypted(data)));
}

fn text_part(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn named(mut value: Value, message: &Message, habits: Habits) -> Value {
    if let Some(name) = message.name.as_ref().filter(|_| habits.takes_names()) {
        value["name"] = json!(name);
    }
    value
}

/// A call's id, or what stands for one that is too long, the same for the call and its result.
fn short(id: &str) -> String {
    if id.len() <= ID_CHARS_MAX {
        return id.to_owned();
    }
    let hash = Sha256::digest(id.as_bytes());
    hash.iter().take(16).fold("call_".to_owned(), |id, byte| id + &format!("{byte:02x}"))
}
