//! Writes the turns of a conversation.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::settings_out::can_think;
use crate::dialects::conversation::{Content, Media, Message, Part, Request, Role, Source, ToolCall, ToolResult};
use crate::dialects::provider::{Lost, Unfit};

/// The turns as they come to be.
#[derive(Debug)]
pub(super) struct Turns<'a> {
    pub(super) messages: Vec<Value>,
    pub(super) lost: Vec<Lost>,
    /// The ids of the calls so far.
    calls: BTreeSet<&'a str>,
    /// From this message on, thoughts go back.
    thoughts_from: usize,
}

impl<'a> Turns<'a> {
    /// Those of a request.
    ///
    /// # Errors
    /// When there is no way to say them.
    pub(super) fn of(request: &'a Request, model: &str) -> Result<Self, Unfit> {
        let last_user = request.messages.iter().rposition(|message| message.role == Role::User);
        // What the model thought belongs to the turn that it is in. Only models that think take it.
        let thoughts_from = if can_think(model) { last_user.unwrap_or(0) } else { usize::MAX };
        let (messages, lost) = (Vec::new(), Vec::new());
        let mut turns = Self { messages, lost, calls: BTreeSet::new(), thoughts_from };
        for (at, message) in request.messages.iter().enumerate() {
            turns.message(at, message)?;
        }
        Ok(turns)
    }

    fn message(&mut self, at: usize, message: &'a Message) -> Result<(), Unfit> {
        let place = format!("messages[{at}]");
        if message.name.is_some() {
            self.hint(&format!("{place}.name"));
        }
        if message.parts.iter().any(|part| part.cache.is_some()) {
            self.hint("cache_control");
        }
        match message.role {
            Role::System | Role::Developer => self.said("system", &place, &message.parts),
            Role::User => self.said("user", &place, &message.parts),
            Role::Assistant => self.answered(&place, &message.parts, at >= self.thoughts_from),
            Role::Tool => return self.resulted(&place, &message.parts),
        }
        Ok(())
    }

    fn said(&mut self, role: &str, place: &str, parts: &[Part]) {
        let mut content = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            match &part.content {
                Content::Text { text, .. } => content.extend(said_text(text)),
                Content::Media(media) if role == "user" => match picture(media) {
                    Some(picture) => content.push(picture),
                    None => self.lose(place, at),
                },
                _ => self.lose(place, at),
            }
        }
        if !content.is_empty() {
            self.messages.push(json!({ "role": role, "content": content }));
        }
    }

    fn answered(&mut self, place: &str, parts: &'a [Part], with_thoughts: bool) {
        let (mut content, mut calls) = (Vec::new(), Vec::new());
        for (at, part) in parts.iter().enumerate() {
            match &part.content {
                Content::Text { text, .. } | Content::Refusal(text) => content.extend(said_text(text)),
                Content::Reasoning(thought) => {
                    if with_thoughts && thought.redacted.is_none() && !thought.text.is_empty() {
                        content.push(json!({ "type": "thinking", "thinking": thought.text }));
                    }
                }
                Content::ToolCall(call) => {
                    self.calls.insert(&call.id);
                    calls.push(tool_call(call));
                }
                _ => self.lose(place, at),
            }
        }
        let mut message = json!({ "role": "assistant" });
        if content.is_empty() && calls.is_empty() {
            return;
        }
        if !content.is_empty() {
            message["content"] = content.into();
        }
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        self.messages.push(message);
    }

    fn resulted(&mut self, place: &str, parts: &[Part]) -> Result<(), Unfit> {
        for (at, part) in parts.iter().enumerate() {
            match &part.content {
                Content::ToolResult(result) if self.calls.contains(&*result.id) => {
                    self.result(&format!("{place}.content[{at}]"), result);
                }
                Content::ToolResult(result) => {
                    let message = format!("there is no tool call `{}` before its result", result.id);
                    return Err(Unfit::of(format!("{place}.content[{at}]"), message));
                }
                _ => self.lose(place, at),
            }
        }
        Ok(())
    }

    fn result(&mut self, place: &str, result: &ToolResult) {
        let mut content = Vec::new();
        for (at, part) in result.parts.iter().enumerate() {
            match part.as_text() {
                Some(text) => content.extend(said_text(text)),
                None => self.lose(place, at),
            }
        }
        if result.is_error {
            self.hint(&format!("{place}.is_error"));
        }
        let content = if content.is_empty() { "".into() } else { Value::from(content) };
        self.messages.push(json!({ "role": "tool", "tool_call_id": result.id, "content": content }));
    }

    fn lose(&mut self, place: &str, at: usize) {
        self.lost.push(Lost::new(format!("{place}.content[{at}]")));
    }

    /// Notes a hint that is not followed, once.
    fn hint(&mut self, name: &str) {
        if !self.lost.iter().any(|lost| lost.name == name) {
            self.lost.push(Lost { name: name.to_owned(), is_hint: true });
        }
    }
}

/// A text, which may not be empty.
fn said_text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!({ "type": "text", "text": text }))
}

/// A picture. The API takes no other media.
fn picture(media: &Media) -> Option<Value> {
    let media_type = media.media_type.as_deref();
    if media_type.map_or(media.kind != "image", |kind| !kind.starts_with("image/")) {
        return None;
    }
    let url = match &media.source {
        Source::Url(url) => url.clone(),
        Source::Base64(bytes) => format!("data:{};base64,{bytes}", media_type.unwrap_or("image/png")),
        Source::Text(_) | Source::Id(_) => return None,
    };
    let mut image = json!({ "url": url });
    if let Some(detail) = &media.detail {
        image["detail"] = detail.as_str().into();
    }
    Some(json!({ "type": "image_url", "image_url": image }))
}

fn tool_call(call: &ToolCall) -> Value {
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &*call.arguments };
    let function = json!({ "name": call.name, "arguments": arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}
