//! The messages of a request to an upstream.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::dialects::conversation::{Content, Media, Message, Part, Role, Source, ToolCall, ToolResult};
use crate::dialects::provider::{Lost, Unfit};

/// Writes messages; with what of them can't be said.
pub(super) fn write(messages: &[Message]) -> Result<(Vec<Value>, Vec<Lost>), Unfit> {
    let mut writer = Writer { names: HashMap::new(), lost: Vec::new() };
    // Thought goes back only while the model is still at work: what it thought before the last question is over.
    let last_question = messages.iter().rposition(|message| message.role == Role::User).unwrap_or(0);
    let mut written = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if message.name.is_some() {
            writer.lost.push(Lost { name: format!("messages[{at}].name"), is_hint: true });
        }
        if message.role == Role::Tool {
            writer.results(at, message, &mut written);
        } else {
            written.push(writer.message(at, message, at >= last_question)?);
        }
    }
    Ok((written, writer.lost))
}

/// Marks of a prompt cache say nothing to a server that caches by itself: told once.
pub(super) fn lose_cache(lost: &mut Vec<Lost>) {
    if !lost.iter().any(|lost| lost.name == "cache_control") {
        lost.push(Lost { name: "cache_control".to_owned(), is_hint: true });
    }
}

struct Writer<'a> {
    /// The tools of the calls, by the calls' ids.
    names: HashMap<&'a str, &'a str>,
    lost: Vec<Lost>,
}

/// What a message of the dialect says.
#[derive(Default)]
struct Said {
    texts: Vec<String>,
    images: Vec<Value>,
    thinking: String,
    calls: Vec<Value>,
}

impl<'a> Writer<'a> {
    fn message(&mut self, at: usize, message: &'a Message, thinks: bool) -> Result<Value, Unfit> {
        let (role, between) = match message.role {
            Role::System | Role::Developer => ("system", "\n"),
            Role::Assistant => ("assistant", ""),
            Role::User | Role::Tool => ("user", "\n"),
        };
        let mut said = Said::default();
        for (nth, part) in message.parts.iter().enumerate() {
            match &part.content {
                Content::Reasoning(thought) if thinks => said.thinking.push_str(&thought.text),
                Content::Reasoning(_) => {}
                Content::ToolCall(call) => {
                    let call = self.call((at, nth), call, said.calls.len())?;
                    said.calls.push(call);
                }
                _ => self.part(&format!("messages[{at}].content[{nth}]"), part, &mut said),
            }
            if part.cache.is_some() {
                lose_cache(&mut self.lost);
            }
        }
        let mut written = Map::new();
        written.insert("role".to_owned(), json!(role));
        written.insert("content".to_owned(), Value::from(said.texts.join(between)));
        if !said.thinking.is_empty() {
            written.insert("thinking".to_owned(), Value::from(said.thinking));
        }
        for (name, list) in [("images", said.images), ("tool_calls", said.calls)] {
            if !list.is_empty() {
                written.insert(name.to_owned(), Value::Array(list));
            }
        }
        Ok(Value::Object(written))
    }

    fn part(&mut self, place: &str, part: &Part, said: &mut Said) {
        match &part.content {
            Content::Text { text, .. }
            | Content::Refusal(text)
            | Content::Media(Media { source: Source::Text(text), .. }) => said.texts.push(text.clone()),
            Content::Media(Media { kind: "image", source: Source::Base64(data), .. }) => {
                said.images.push(Value::from(data.as_str()));
            }
            // Addresses, sounds and documents: Ollama fetches nothing and sees pictures only.
            _ => self.lost.push(Lost::new(place)),
        }
    }

    fn call(&mut self, (at, nth): (usize, usize), call: &'a ToolCall, index: usize) -> Result<Value, Unfit> {
        self.names.insert(&call.id, &call.name);
        let text = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
        let arguments: Map<String, Value> = serde_json::from_str(text).map_err(|_| {
            let place = format!("messages[{at}].content[{nth}]");
            Unfit::of(place, format!("the arguments of the call of `{}` are no JSON object", call.name))
        })?;
        Ok(json!({
            "id": call.id,
            "function": { "index": index, "name": call.name, "arguments": arguments },
        }))
    }

    fn results(&mut self, at: usize, message: &Message, written: &mut Vec<Value>) {
        for (nth, part) in message.parts.iter().enumerate() {
            let place = format!("messages[{at}].content[{nth}]");
            match &part.content {
                Content::ToolResult(result) => written.push(self.result(&place, result)),
                _ => self.lost.push(Lost::new(place)),
            }
            if part.cache.is_some() {
                lose_cache(&mut self.lost);
            }
        }
    }

    fn result(&mut self, place: &str, result: &ToolResult) -> Value {
        let mut said = Said::default();
        for (nth, part) in result.parts.iter().enumerate() {
            self.part(&format!("{place}.content[{nth}]"), part, &mut said);
        }
        let mut written = Map::new();
        written.insert("role".to_owned(), json!("tool"));
        written.insert("content".to_owned(), Value::from(said.texts.join("\n")));
        if !said.images.is_empty() {
            written.insert("images".to_owned(), Value::Array(said.images));
        }
        let name = self.names.get(result.id.as_str()).copied().or(result.name.as_deref());
        if let Some(name) = name {
            written.insert("tool_name".to_owned(), Value::from(name));
        }
        written.insert("tool_call_id".to_owned(), Value::from(result.id.as_str()));
        Value::Object(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::conversation::Reasoning;

    fn message(role: Role, parts: Vec<Content>) -> Message {
        Message { role, parts: parts.into_iter().map(Part::new).collect(), name: None }
    }

    fn text(text: &str) -> Content {
        Part::text(text).content
    }

    fn thought(text: &str) -> Content {
        Content::Reasoning(Reasoning { text: text.to_owned(), ..Reasoning::default() })
    }

    fn call(arguments: &str) -> Content {
        Content::ToolCall(ToolCall {
            id: "c1".to_owned(),
            name: "look".to_owned(),
            arguments: arguments.to_owned(),
            signature: None,
        })
    }

    #[test]
    fn a_tool_loop_keeps_what_belongs_to_it() {
        let result = ToolResult { id: "c1".to_owned(), parts: vec![Part::text("cat")], ..ToolResult::default() };
        let messages = [
            message(Role::Developer, vec![text("Be"), text("brief.")]),
            message(Role::Assistant, vec![thought("Old."), text("Hello")]),
            message(Role::User, vec![text("Look")]),
            message(Role::Assistant, vec![thought("New."), call(r#"{"at":1}"#)]),
            message(Role::Tool, vec![Content::ToolResult(result)]),
        ];
        let (written, lost) = write(&messages).expect("fits");
        assert_eq!(
            Value::Array(written),
            json!([
                {"role": "system", "content": "Be\nbrief."},
                {"role": "assistant", "content": "Hello"},
                {"role": "user", "content": "Look"},
                {"role": "assistant", "content": "", "thinking": "New.", "tool_calls": [
                    {"id": "c1", "function": {"index": 0, "name": "look", "arguments": {"at": 1}}},
                ]},
                {"role": "tool", "content": "cat", "tool_name": "look", "tool_call_id": "c1"},
            ])
        );
        assert_eq!(lost, []);
    }

    #[test]
    fn media_that_it_does_not_see_are_lost_by_place() {
        let media = |kind, source| Content::Media(Media::new(kind, None, source));
        let parts = vec![
            media("image", Source::Base64("AAAA".to_owned())),
            media("image", Source::Url("https://example.com/a.png".to_owned())),
            media("audio", Source::Base64("AAAA".to_owned())),
            media("file", Source::Text("words".to_owned())),
        ];
        let (written, lost) = write(&[message(Role::User, parts)]).expect("fits");
        assert_eq!(written[0], json!({"role": "user", "content": "words", "images": ["AAAA"]}));
        assert_eq!(lost, [Lost::new("messages[0].content[1]"), Lost::new("messages[0].content[2]")]);
    }

    #[test]
    fn broken_arguments_do_not_fit() {
        let unfit = write(&[message(Role::Assistant, vec![call("{")])]).expect_err("does not fit");
        assert_eq!(unfit.param.as_deref(), Some("messages[0].content[0]"));
    }
}
