//! Writes the turns of a conversation.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::media_out::Documents;
use super::model::Model;
use crate::dialects::conversation::{
    Content, Message, Part, Reasoning, Request, Role, Signature, ToolCall, ToolResult,
};
use crate::dialects::provider::{Lost, Unfit};

/// Of a tool's id (Amazon Bedrock API Reference, `ToolUseBlock`).
const ID_BYTES_MAX: usize = 64;

/// The turns as they come to be.
#[derive(Debug)]
pub(super) struct Turns<'a> {
    model: Model<'a>,
    pub(super) system: Vec<Value>,
    /// Neighbours of one role are one message: the API wants the roles to take turns.
    messages: Vec<(&'static str, Vec<Value>)>,
    pub(super) lost: Vec<Lost>,
    /// The ids of the calls so far, as the client has them.
    calls: BTreeSet<&'a str>,
    /// The names of the tools called.
    pub(super) called: BTreeSet<&'a str>,
    documents: Documents,
}

impl<'a> Turns<'a> {
    /// Those of a request.
    ///
    /// # Errors
    /// When there is no way to say them.
    pub(super) fn of(request: &'a Request, model: Model<'a>) -> Result<Self, Unfit> {
        let mut turns = Self {
            model,
            system: Vec::new(),
            messages: Vec::new(),
            lost: Vec::new(),
            calls: BTreeSet::new(),
            called: BTreeSet::new(),
            documents: Documents::default(),
        };
        for (at, message) in request.messages.iter().enumerate() {
            turns.message(&format!("messages[{at}]"), message)?;
        }
        Ok(turns)
    }

    /// As they stand in the request.
    pub(super) fn messages(self) -> Vec<Value> {
        let message = |(role, content): (&str, Vec<Value>)| json!({ "role": role, "content": content });
        self.messages.into_iter().map(message).collect()
    }

    fn message(&mut self, place: &str, message: &'a Message) -> Result<(), Unfit> {
        if message.name.is_some() {
            self.lost.push(Lost { name: format!("{place}.name"), is_hint: true });
        }
        let mut content = Vec::new();
        for (at, part) in message.parts.iter().enumerate() {
            let place = format!("{place}.content[{at}]");
            let block = match message.role {
                Role::System | Role::Developer => self.instruction(&place, &part.content),
                Role::User => self.said(&place, &part.content),
                Role::Assistant => self.answered(&place, &part.content)?,
                Role::Tool => self.resulted(&place, &part.content)?,
            };
            let Some(block) = block else { continue };
            content.push(block);
            content.extend(self.cache_point(part));
        }
        let role = match message.role {
            Role::System | Role::Developer => {
                self.system.append(&mut content);
                return Ok(());
            }
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        match self.messages.last_mut() {
            Some((last, all)) if *last == role => all.append(&mut content),
            _ if content.is_empty() => {}
            _ => self.messages.push((role, content)),
        }
        Ok(())
    }

    fn instruction(&mut self, place: &str, content: &Content) -> Option<Value> {
        match content {
            Content::Text { text, .. } => said_text(text),
            _ => self.lose(place),
        }
    }

    fn said(&mut self, place: &str, content: &Content) -> Option<Value> {
        match content {
            Content::Text { text, .. } => said_text(text),
            Content::Media(media) => self.documents.block(media).or_else(|| self.lose(place)),
            _ => self.lose(place),
        }
    }

    fn answered(&mut self, place: &str, content: &'a Content) -> Result<Option<Value>, Unfit> {
        Ok(match content {
            Content::Text { text, .. } | Content::Refusal(text) => said_text(text),
            Content::Reasoning(thought) => thought_of(thought, self.model),
            Content::ToolCall(call) => {
                self.calls.insert(&call.id);
                self.called.insert(&call.name);
                Some(tool_use(place, call)?)
            }
            // Only users may show things.
            _ => self.lose(place),
        })
    }

    fn resulted(&mut self, place: &str, content: &Content) -> Result<Option<Value>, Unfit> {
        let Content::ToolResult(result) = content else { return Ok(self.lose(place)) };
        if !self.calls.contains(&*result.id) {
            return Err(Unfit::of(place, format!("there is no tool call `{}` before its result", result.id)));
        }
        Ok(Some(self.tool_result(place, result)))
    }

    fn tool_result(&mut self, place: &str, result: &ToolResult) -> Value {
        let mut content = Vec::new();
        for (at, part) in result.parts.iter().enumerate() {
            let block = match &part.content {
                Content::Text { text, .. } => said_text(text),
                Content::Media(media) if media.kind != "audio" => self.documents.block(media),
                _ => None,
            };
            if block.is_none() && part.as_text().is_none() {
                self.lost.push(Lost::new(format!("{place}.content[{at}]")));
            }
            content.extend(block);
        }
        if content.is_empty() {
            // Something must be said, and no text may be blank.
            content.push(json!({ "json": {} }));
        }
        let mut block = json!({ "toolUseId": tool_id(&result.id), "content": content });
        if result.is_error {
            // Other models refuse the member.
            if self.model.is_claude() || self.model.is_nova() {
                block["status"] = "error".into();
            } else {
                self.lost.push(Lost { name: format!("{place}.is_error"), is_hint: true });
            }
        }
        json!({ "toolResult": block })
    }

    fn cache_point(&mut self, part: &Part) -> Option<Value> {
        let marker = part.cache.as_ref()?;
        if !self.model.has_cache_points() {
            self.hint("cache_control");
            return None;
        }
        Some(cache_point(marker, self.model))
    }

    /// Notes a hint that is not followed, once.
    pub(super) fn hint(&mut self, name: &str) {
        if !self.lost.iter().any(|lost| lost.name == name) {
            self.lost.push(Lost { name: name.to_owned(), is_hint: true });
        }
    }

    fn lose(&mut self, place: &str) -> Option<Value> {
        self.lost.push(Lost::new(place));
        None
    }
}

/// A cache point where a marker in Anthropic's form stands. Only Claude keeps one for longer than the default.
pub(super) fn cache_point(marker: &Value, model: Model<'_>) -> Value {
    let mut point = json!({ "type": "default" });
    if let Some(ttl) = marker["ttl"].as_str().filter(|_| model.is_claude()) {
        point["ttl"] = ttl.into();
    }
    json!({ "cachePoint": point })
}

/// A text, which may not be blank: the API refuses those.
fn said_text(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({ "text": text }))
}

/// What the model thought, if it is the model's own and can prove it: another's is refused.
pub(super) fn thought_of(thought: &Reasoning, model: Model<'_>) -> Option<Value> {
    let own = |signature: &'_ Option<Signature>| {
        signature.as_ref().and_then(|signature| signature.of(model.family())).map(str::to_owned)
    };
    if let Some(redacted) = own(&thought.redacted) {
        return Some(json!({ "reasoningContent": { "redactedContent": redacted } }));
    }
    let signature = own(&thought.signature)?;
    let text = json!({ "text": thought.text, "signature": signature });
    Some(json!({ "reasoningContent": { "reasoningText": text } }))
}

fn tool_use(place: &str, call: &ToolCall) -> Result<Value, Unfit> {
    let input = if call.arguments.trim().is_empty() {
        Map::new()
    } else {
        serde_json::from_str(&call.arguments)
            .map_err(|_| Unfit::of(place, format!("the arguments of `{}` are not a JSON object", call.name)))?
    };
    Ok(json!({ "toolUse": { "toolUseId": tool_id(&call.id), "name": call.name, "input": input } }))
}

/// An id as the API takes it, `[a-zA-Z0-9_-]{1,64}`: the same for a call and its result, another for another id.
fn tool_id(id: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !id.is_empty() && id.len() <= ID_BYTES_MAX && id.chars().all(fits) {
        return id.to_owned();
    }
    let sum = format!("_{:08x}", crc32fast::hash(id.as_bytes()));
    let kept = id.chars().take(ID_BYTES_MAX - sum.len()).map(|c| if fits(c) { c } else { '_' });
    kept.chain(sum.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fit_and_stay_apart() {
        assert_eq!(tool_id("call_1-A"), "call_1-A");
        let long = "x".repeat(200);
        for id in ["", "a.b", "a:b", "é", &long] {
            let fitting = tool_id(id);
            assert!(fitting.len() <= 64 && !fitting.is_empty());
            assert!(fitting.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'), "{fitting}");
        }
        assert_ne!(tool_id("a.b"), tool_id("a:b"));
    }
}
