//! Messages of a client.

use std::collections::HashSet;

use serde_json::Value;

use super::media::{self, cache};
use super::speech::{FOREIGN, Speech};
use crate::dialects::Refusal;
use crate::dialects::conversation::{
    Collector, Content, Event, Media, Message, Part, Role, Source, ToolCall, ToolResult,
};
use crate::dialects::json::{list, owned, some, text};

/// Reads `messages`.
pub(super) fn messages(value: Option<&Value>) -> Result<Vec<Message>, Refusal> {
    let Some(Value::Array(list)) = value else {
        return Err(Refusal::of("messages", "`messages` must be a list of messages"));
    };
    if list.is_empty() {
        return Err(Refusal::of("messages", "`messages` must not be empty"));
    }
    let mut messages = Vec::with_capacity(list.len());
    for (at, said) in list.iter().enumerate() {
        let message = message(said, at, &messages)?;
        messages.push(message);
    }
    Ok(messages)
}

fn message(said: &Value, at: usize, before: &[Message]) -> Result<Message, Refusal> {
    let place = format!("messages[{at}]");
    let role = text(said, "role").ok_or_else(|| {
        Refusal::of(format!("{place}.role"), format!("`{place}` must be an object with a `role`"))
    })?;
    let (role, parts) = match role {
        "system" => (Role::System, parts(said, &place)?),
        "developer" => (Role::Developer, parts(said, &place)?),
        "user" => (Role::User, parts(said, &place)?),
        "assistant" => (Role::Assistant, assistant(said, at)),
        "tool" => (Role::Tool, vec![result(said, &place)?]),
        "function" => (Role::Tool, vec![function_result(said, &place, before)?]),
        role => {
            return Err(Refusal::of(format!("{place}.role"), format!("`{place}.role` can't be `{role}`")));
        }
    };
    let name = owned(said, "name").filter(|_| role != Role::Tool);
    Ok(Message { role, parts, name })
}

/// Reads a `content` of those who do not answer.
fn parts(said: &Value, place: &str) -> Result<Vec<Part>, Refusal> {
    let place = format!("{place}.content");
    match said.get("content") {
        Some(Value::String(text)) => Ok(vec![Part { cache: cache(said), ..Part::text(text) }]),
        Some(Value::Array(list)) => {
            let read = list.iter().enumerate().map(|(at, item)| part(item, || format!("{place}[{at}]")));
            read.collect()
        }
        Some(Value::Null) | None => Ok(Vec::new()),
        Some(_) => Err(Refusal::of(&*place, format!("`{place}` must be a string or a list of parts"))),
    }
}

fn part(item: &Value, place: impl Fn() -> String) -> Result<Part, Refusal> {
    let kind = match item {
        Value::String(words) => return Ok(Part::text(words)),
        item => {
            text(item, "type").ok_or_else(|| Refusal::of(place(), format!("`{}` must have a `type`", place())))?
        }
    };
    let content = match kind {
        "text" => match item.get("text") {
            Some(Value::String(words)) => Content::Text { text: words.clone(), annotations: Vec::new() },
            _ => return Err(Refusal::of(place(), format!("`{}.text` must be a string", place()))),
        },
        "refusal" => Content::Refusal(owned(item, "refusal").unwrap_or_default()),
        "image_url" | "input_audio" | "file" | "video_url" => Content::Media(
            media::read(item).ok_or_else(|| Refusal::of(place(), format!("`{}.{kind}` says nothing", place())))?,
        ),
        kind => Content::Foreign { kind: format!("{FOREIGN}{kind}"), value: item.clone() },
    };
    Ok(Part { content, cache: cache(item) })
}

/// Reads what the model has said, in the form in which it said it.
fn assistant(said: &Value, at: usize) -> Vec<Part> {
    let (mut speech, mut deltas) = (Speech::new(format!("call_{at}_"), true), Vec::new());
    speech.hear(said, &mut deltas);
    let mut collector = Collector::default();
    for delta in deltas {
        // A delta is never a failure.
        let Ok(()) = collector.event(Event::delta(delta)) else { break };
    }
    let ended = collector.event(Event::End);
    let answer = ended.ok().and_then(|()| collector.finish()).unwrap_or_default();
    let mut parts: Vec<_> = answer.choices.into_iter().flat_map(|choice| choice.parts).collect();
    // A sound of an earlier answer, which the provider has kept.
    if let Some(id) = some(said, "audio").and_then(|audio| owned(audio, "id"))
        && !parts.iter().any(|part| matches!(&part.content, Content::Media(media) if media.kind == "audio"))
    {
        parts.push(Part::new(Content::Media(Media::new("audio", None, Source::Id(id)))));
    }
    let marker = cache(said).or_else(|| list(said, "content").iter().rev().find_map(cache));
    if let Some(part) = parts.iter_mut().rev().find(|part| part.as_text().is_some()) {
        part.cache = marker;
    }
    parts
}

fn result(said: &Value, place: &str) -> Result<Part, Refusal> {
    let param = format!("{place}.tool_call_id");
    let id =
        owned(said, "tool_call_id").ok_or_else(|| Refusal::of(&*param, format!("`{param}` must be a string")))?;
    let mut parts = parts(said, place)?;
    // The marker of the whole message.
    let marker = cache(said).or_else(|| parts.iter_mut().find_map(|part| part.cache.take()));
    let result = ToolResult { id, name: owned(said, "name"), parts, is_error: false };
    Ok(Part { content: Content::ToolResult(result), cache: marker })
}

/// A result of before there were tools: it goes to the last call of that name which has none.
fn function_result(said: &Value, place: &str, before: &[Message]) -> Result<Part, Refusal> {
    let param = format!("{place}.name");
    let name = owned(said, "name").ok_or_else(|| Refusal::of(&*param, format!("`{param}` must be a string")))?;
    let contents = || before.iter().flat_map(|message| &message.parts).map(|part| &part.content);
    let answered: HashSet<_> = contents()
        .filter_map(|content| match content {
            Content::ToolResult(result) => Some(&result.id),
            _ => None,
        })
        .collect();
    let calls: Vec<&ToolCall> = contents()
        .filter_map(|content| match content {
            Content::ToolCall(call) => Some(call),
            _ => None,
        })
        .collect();
    let call = calls.into_iter().rev().find(|call| call.name == name && !answered.contains(&call.id));
    let call = call.ok_or_else(|| Refusal::of(&*param, format!("`{place}` is the result of no call")))?;
    let result = ToolResult { id: call.id.clone(), name: Some(name), parts: parts(said, place)?, is_error: false };
    Ok(Part::new(Content::ToolResult(result)))
}
