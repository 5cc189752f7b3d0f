//! A conversation in the form that Anthropic takes it (Anthropic API reference, create a message).

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::blocks_out;
use super::models::Model;
use crate::dialects::conversation::{
    Content, Family, Media, Message, Part, Reasoning, Role, Source, ToolCall, ToolResult,
};
use crate::dialects::{Lost, Unfit};

/// The `system` and the `messages` of a request.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) system: Vec<Value>,
    pub(super) messages: Vec<Value>,
    /// What could not be said.
    pub(super) lost: Vec<Lost>,
    /// Whether the conversation is in the middle of calls, with an answer before them that no thought begins.
    pub(super) calls_lack_thought: bool,
    /// The names of the tools that were called, each once.
    pub(super) called: Vec<String>,
}

/// Writes messages in order.
#[derive(Debug)]
struct Writer {
    model: Model,
    conversation: Conversation,
    ids: Ids,
    turn: Option<Turn>,
}

/// One turn: neighbours of one side are one message.
#[derive(Debug, Default)]
struct Turn {
    is_assistant: bool,
    /// Come first: the API wants results directly behind their calls.
    results: Vec<Value>,
    blocks: Vec<Value>,
    /// Instructions that came in between.
    instructions: Vec<Value>,
}

/// Writes a conversation for a model.
///
/// Instructions before the first turn are the `system`. Later ones keep their place where the model takes such: behind
/// the user's turn, because the API takes them only before an answer. Other models are told them as text of the user's
/// turn: moved to the front they would govern turns that came before them, and change the cached beginning.
pub(super) fn write(messages: &[Message], model: Model) -> Result<Conversation, Unfit> {
    let mut writer = Writer { model, conversation: Conversation::default(), ids: Ids::default(), turn: None };
    for (index, message) in messages.iter().enumerate() {
        writer.message(index, message)?;
    }
    writer.finish()
}

impl Writer {
    fn message(&mut self, index: usize, message: &Message) -> Result<(), Unfit> {
        if message.name.is_some() {
            self.conversation.lost.push(Lost { name: format!("messages[{index}].name"), is_hint: true });
        }
        let is_assistant = message.role == Role::Assistant;
        let is_instruction = matches!(message.role, Role::System | Role::Developer);
        let is_opening = is_instruction && self.turn.is_none() && self.conversation.messages.is_empty();
        if !is_opening && self.turn.as_ref().is_none_or(|turn| turn.is_assistant != is_assistant) {
            self.close();
            self.turn = Some(Turn { is_assistant, ..Turn::default() });
        }
        for (place, part) in message.parts.iter().enumerate() {
            let at = || format!("messages[{index}].content[{place}]");
            if is_instruction {
                self.instruction(part, &at, is_opening);
            } else {
                self.part(part, &at, is_assistant)?;
            }
        }
        Ok(())
    }

    fn instruction(&mut self, part: &Part, at: &dyn Fn() -> String, is_opening: bool) {
        let Content::Text { text, .. } = &part.content else {
            self.conversation.lost.push(Lost::new(at()));
            return;
        };
        let Some(block) = text_block(text).map(|block| cached(block, part)) else { return };
        let place = match &mut self.turn {
            Some(turn) if !is_opening && self.model.has_later_instructions() => &mut turn.instructions,
            Some(turn) if !is_opening => &mut turn.blocks,
            _ => &mut self.conversation.system,
        };
        place.push(block);
    }

    fn part(&mut self, part: &Part, at: &dyn Fn() -> String, is_assistant: bool) -> Result<(), Unfit> {
        let block = match &part.content {
            Content::Text { text, .. } | Content::Refusal(text) => text_block(text),
            Content::Media(media) if is_assistant => {
                media.transcript.as_deref().and_then(text_block).or_else(|| {
                    self.conversation.lost.push(Lost::new(at()));
                    None
                })
            }
            Content::Media(media) => media_block(media).or_else(|| {
                self.conversation.lost.push(Lost::new(at()));
                None
            }),
            Content::Reasoning(thought) => thought_block(thought),
            Content::ToolCall(call) => Some(self.call(call, at)?),
            Content::ToolResult(result) => {
                let block = cached(self.result(result, at)?, part);
                self.turn().results.push(block);
                None
            }
            Content::Foreign { kind, value } => blocks_out::foreign_block(kind, value).or_else(|| {
                self.conversation.lost.push(Lost::new(at()));
                None
            }),
        };
        // Thoughts can't be marked.
        let is_thought = matches!(part.content, Content::Reasoning(_));
        let block = block.map(|block| if is_thought { block } else { cached(block, part) });
        self.turn().blocks.extend(block);
        Ok(())
    }

    fn turn(&mut self) -> &mut Turn {
        self.turn.get_or_insert_default()
    }

    fn call(&mut self, call: &ToolCall, at: &dyn Fn() -> String) -> Result<Value, Unfit> {
        let input = match serde_json::from_str(&call.arguments) {
            Ok(object @ Value::Object(_)) => object,
            Ok(Value::Null) => json!({}),
            _ if call.arguments.trim().is_empty() => json!({}),
            _ => {
                return Err(Unfit::of(
                    at(),
                    format!("the arguments of the call of `{}` are no JSON object", call.name),
                ));
            }
        };
        if !self.conversation.called.contains(&call.name) {
            self.conversation.called.push(call.name.clone());
        }
        let clean = ToolCall { id: self.ids.called(&call.id), name: call.name.clone(), ..ToolCall::default() };
        Ok(blocks_out::call_block(&clean, input))
    }

    fn result(&mut self, result: &ToolResult, at: &dyn Fn() -> String) -> Result<Value, Unfit> {
        let Some(id) = self.ids.clean.get(&result.id).cloned() else {
            return Err(Unfit::of(
                at(),
                format!("no call before has the id `{}`, of which this is the result", result.id),
            ));
        };
        let mut content = Vec::new();
        for part in &result.parts {
            let block = match &part.content {
                Content::Text { text, .. } => text_block(text),
                Content::Media(media) => media_block(media).or_else(|| {
                    self.conversation.lost.push(Lost::new(at()));
                    None
                }),
                _ => None,
            };
            content.extend(block.map(|block| cached(block, part)));
        }
        let mut block = json!({ "type": "tool_result", "tool_use_id": id });
        if !content.is_empty() {
            block["content"] = Value::Array(content);
        }
        if result.is_error {
            block["is_error"] = Value::Bool(true);
        }
        Ok(block)
    }

    /// Ends the turn that is open. The API refuses empty messages.
    fn close(&mut self) {
        let Some(Turn { is_assistant, mut results, blocks, instructions }) = self.turn.take() else { return };
        let role = if is_assistant { "assistant" } else { "user" };
        let has_results = !results.is_empty();
        results.extend(blocks);
        let messages = &mut self.conversation.messages;
        if is_assistant && !results.is_empty() {
            let begins_with = results.first().and_then(|block| block["type"].as_str());
            let is_thought = matches!(begins_with, Some("thinking" | "redacted_thinking"));
            self.conversation.calls_lack_thought = !is_thought;
        } else if !is_assistant && !has_results {
            self.conversation.calls_lack_thought = false;
        }
        let has_turn = !results.is_empty();
        if has_turn {
            messages.push(json!({ "role": role, "content": results }));
        }
        if !instructions.is_empty() {
            let follows_user = has_turn || messages.last().is_some_and(|last| last["role"] == "user");
            let role = if follows_user { "system" } else { "user" };
            messages.push(json!({ "role": role, "content": instructions }));
        }
    }

    fn finish(mut self) -> Result<Conversation, Unfit> {
        self.close();
        let Self { model, mut conversation, .. } = self;
        if conversation.messages.is_empty() {
            // The API wants a user's message. What is said in instructions alone is meant to be answered.
            let content = std::mem::take(&mut conversation.system);
            if content.is_empty() {
                return Err(Unfit::of("messages", "there is nothing to answer"));
            }
            conversation.messages.push(json!({ "role": "user", "content": content }));
        }
        if let Some(last) = conversation.messages.last_mut()
            && last["role"] == "assistant"
        {
            if !model.takes_prefill() {
                let message = "this model does not continue an answer that the client has begun";
                return Err(Unfit::of("messages", message));
            }
            // The API refuses white space at its end.
            let text = last["content"].as_array_mut().and_then(|blocks| blocks.last_mut()?.get_mut("text"));
            if let Some(Value::String(text)) = text {
                text.truncate(text.trim_end().len());
            }
        }
        Ok(conversation)
    }
}

/// Ids of calls: the API takes `[a-zA-Z0-9_-]+` alone.
#[derive(Debug, Default)]
struct Ids {
    /// By the client's.
    clean: HashMap<String, String>,
    taken: HashSet<String>,
}

impl Ids {
    fn called(&mut self, id: &str) -> String {
        if let Some(clean) = self.clean.get(id) {
            return clean.clone();
        }
        let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let mut clean: String = id.chars().map(|c| if is_fit(c) { c } else { '_' }).collect();
        while clean.is_empty() || !self.taken.insert(clean.clone()) {
            clean.push('_');
        }
        self.clean.insert(id.to_owned(), clean.clone());
        clean
    }
}

/// The API refuses texts in which nothing stands.
fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }))
}

fn cached(mut block: Value, part: &Part) -> Value {
    if let Some(cache) = &part.cache {
        block["cache_control"] = cache.clone();
    }
    block
}

/// Goes back to the family that has signed it, or not at all.
fn thought_block(thought: &Reasoning) -> Option<Value> {
    let own = Family::Anthropic;
    if let Some(data) = thought.redacted.as_ref().and_then(|redacted| redacted.of(own)) {
        return Some(blocks_out::redacted_block(data));
    }
    let signature = thought.signature.as_ref()?.of(own)?;
    Some(blocks_out::thinking_block(&thought.text, signature))
}

/// `None` for what the API does not take.
fn media_block(media: &Media) -> Option<Value> {
    let media_type = media.media_type.as_deref();
    let is_image = media.kind == "image" || media_type.is_some_and(|kind| kind.starts_with("image/"));
    let is_text = media_type.is_some_and(is_text);
    if !is_image && media.kind != "file" {
        return None;
    }
    let pdf = "application/pdf";
    let source = match &media.source {
        Source::Base64(data) if is_image => {
            json!({ "type": "base64", "media_type": media_type.unwrap_or("image/png"), "data": data })
        }
        Source::Base64(data) if media_type.is_none_or(|kind| kind == pdf) => {
            json!({ "type": "base64", "media_type": pdf, "data": data })
        }
        Source::Base64(data) if is_text => {
            let text = String::from_utf8(BASE64_STANDARD.decode(data).ok()?).ok()?;
            json!({ "type": "text", "media_type": "text/plain", "data": text })
        }
        Source::Text(text) => json!({ "type": "text", "media_type": "text/plain", "data": text }),
        Source::Url(url) if is_image || media_type.is_none_or(|kind| kind == pdf) => {
            json!({ "type": "url", "url": url })
        }
        // Anthropic's files are called so; nobody else's are there.
        Source::Id(id) if id.starts_with("file_") => json!({ "type": "file", "file_id": id }),
        Source::Base64(_) | Source::Url(_) | Source::Id(_) => return None,
    };
    let mut block = Map::new();
    block.insert("type".to_owned(), json!(if is_image { "image" } else { "document" }));
    block.insert("source".to_owned(), source);
    if let Some(name) = media.name.as_ref().filter(|_| !is_image) {
        block.insert("title".to_owned(), json!(name));
    }
    Some(Value::Object(block))
}

/// Text by any name: the API knows one.
fn is_text(media_type: &str) -> bool {
    let kind = media_type.split(';').next().unwrap_or_default().trim();
    let names = ["application/json", "application/xml", "application/yaml", "application/x-yaml"];
    kind.starts_with("text/") || names.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::conversation::Signature;

    fn message(role: Role, parts: Vec<Part>) -> Message {
        Message { role, parts, name: None }
    }

    fn say(role: Role, text: &str) -> Message {
        message(role, vec![Part::text(text)])
    }

    fn call(id: &str) -> Part {
        Part::new(Content::ToolCall(ToolCall {
            id: id.into(),
            name: "f".into(),
            arguments: r#"{"x":1}"#.into(),
            signature: None,
        }))
    }

    fn result(id: &str, parts: Vec<Part>) -> Message {
        let result = ToolResult { id: id.into(), name: None, parts, is_error: false };
        message(Role::Tool, vec![Part::new(Content::ToolResult(result))])
    }

    fn on(model: &str, messages: &[Message]) -> Conversation {
        write(messages, Model::of(model)).expect("it can be said")
    }

    fn text(text: &str) -> Value {
        json!({ "type": "text", "text": text })
    }

    #[test]
    fn neighbours_are_one_turn_and_results_come_first() {
        let written = on(
            "claude-sonnet-4-5",
            &[
                say(Role::System, "s"),
                say(Role::Developer, "d"),
                say(Role::User, "a"),
                say(Role::User, " "),
                message(Role::Assistant, vec![Part::text("b"), call("x:1"), call("x.1")]),
                result("x:1", vec![Part::text("one")]),
                say(Role::User, "c"),
                result("x.1", vec![]),
            ],
        );
        assert_eq!(written.system, [text("s"), text("d")]);
        assert_eq!(written.called, ["f"]);
        assert!(written.lost.is_empty() && written.calls_lack_thought);
        let tool_use = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {"x": 1}});
        assert_eq!(
            written.messages,
            [
                json!({"role": "user", "content": [text("a")]}),
                json!({"role": "assistant", "content": [text("b"), tool_use("x_1"), tool_use("x_1_")]}),
                json!({"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "x_1", "content": [text("one")]},
                    {"type": "tool_result", "tool_use_id": "x_1_"},
                    text("c"),
                ]}),
            ]
        );
    }

    #[test]
    fn later_instructions_stand_where_the_model_takes_them() {
        let messages = [
            say(Role::User, "a"),
            say(Role::Assistant, "b"),
            say(Role::System, "from now on"),
            say(Role::User, "c"),
        ];
        let roles = |written: &Conversation| -> Vec<String> {
            written
                .messages
                .iter()
                .map(|message| message["role"].as_str().unwrap_or_default().to_owned())
                .collect()
        };
        let new = on("claude-opus-4-8", &messages);
        assert_eq!(roles(&new), ["user", "assistant", "user", "system"]);
        assert_eq!(new.messages[3]["content"], json!([text("from now on")]));
        for model in ["claude-opus-4-7", "claude-sonnet-5"] {
            let old = on(model, &messages);
            assert_eq!(roles(&old), ["user", "assistant", "user"]);
            assert_eq!(old.messages[2]["content"], json!([text("from now on"), text("c")]));
        }
        let last = on("claude-opus-5", &messages[..3]);
        assert_eq!(roles(&last), ["user", "assistant", "user"]);
    }

    #[test]
    fn instructions_alone_are_what_is_answered() {
        let written = on("claude-opus-4-8", &[say(Role::System, "Say hi.")]);
        assert_eq!(written.messages, [json!({"role": "user", "content": [text("Say hi.")]})]);
        assert!(written.system.is_empty());
        assert!(write(&[say(Role::User, "")], Model::of("claude-opus-4-8")).is_err());
    }

    #[test]
    fn only_its_own_thoughts_go_back() {
        let thought = |signature: Option<Signature>, redacted: Option<Signature>| {
            Part::new(Content::Reasoning(Reasoning { text: "t".into(), signature, redacted, id: None }))
        };
        let own = |value: &str| Some(Signature::new(Family::Anthropic, value));
        let written = on(
            "claude-sonnet-4-5",
            &[
                say(Role::User, "a"),
                message(
                    Role::Assistant,
                    vec![
                        thought(own("s"), None),
                        thought(None, own("r")),
                        thought(None, None),
                        thought(Some(Signature::new(Family::OpenAi, "o")), None),
                        call("1"),
                    ],
                ),
                result("1", vec![]),
            ],
        );
        let blocks = written.messages[1]["content"].as_array().expect("blocks");
        assert_eq!(blocks[0], json!({"type": "thinking", "thinking": "t", "signature": "s"}));
        assert_eq!(blocks[1], json!({"type": "redacted_thinking", "data": "r"}));
        assert_eq!(blocks.len(), 3);
        assert!(written.lost.is_empty() && !written.calls_lack_thought);
    }

    #[test]
    fn media_take_the_form_that_they_have_there_or_are_told() {
        let file = |media_type: &str, source: Source| Media {
            name: Some("n".into()),
            ..Media::new("file", Some(media_type.into()), source)
        };
        for (media, expected) in [
            (
                Media::new("image", Some("image/webp".into()), Source::Base64("QQ==".into())),
                Some(
                    json!({"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": "QQ=="}}),
                ),
            ),
            (
                Media::new("image", None, Source::Url("https://a.example/".into())),
                Some(json!({"type": "image", "source": {"type": "url", "url": "https://a.example/"}})),
            ),
            (
                file("application/pdf", Source::Base64("QQ==".into())),
                Some(json!({"type": "document", "title": "n",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="}})),
            ),
            (
                file("text/csv; charset=utf-8", Source::Base64("QSxC".into())),
                Some(json!({"type": "document", "title": "n",
                    "source": {"type": "text", "media_type": "text/plain", "data": "A,B"}})),
            ),
            (file("application/zip", Source::Base64("QQ==".into())), None),
            (file("application/pdf", Source::Id("file-openai".into())), None),
            (Media::new("audio", Some("audio/wav".into()), Source::Base64("QQ==".into())), None),
        ] {
            assert_eq!(media_block(&media), expected, "{media:?}");
        }
        let sound = Media::new("audio", None, Source::Base64("QQ==".into()));
        let written = on(
            "claude-sonnet-4-5",
            &[say(Role::User, "a"), message(Role::User, vec![Part::text("b"), Part::new(Content::Media(sound))])],
        );
        assert_eq!(written.lost, [Lost::new("messages[1].content[1]")]);
    }

    #[test]
    fn what_can_not_be_said_is_refused() {
        let refused = |model: &str, messages: &[Message]| {
            write(messages, Model::of(model)).expect_err("it can't be said").param
        };
        let model = "claude-sonnet-4-5";
        assert_eq!(
            refused(model, &[say(Role::User, "a"), result("1", vec![])]).as_deref(),
            Some("messages[1].content[0]")
        );
        let broken = ToolCall { id: "1".into(), name: "f".into(), arguments: "[1".into(), signature: None };
        let broken = message(Role::Assistant, vec![Part::new(Content::ToolCall(broken))]);
        assert_eq!(refused(model, &[say(Role::User, "a"), broken]).as_deref(), Some("messages[1].content[0]"));
        let begun = [say(Role::User, "a"), say(Role::Assistant, "b \n")];
        assert_eq!(refused("claude-opus-4-6", &begun).as_deref(), Some("messages"));
        assert_eq!(on(model, &begun).messages[1]["content"], json!([text("b")]));
    }

    #[test]
    fn cache_marks_stay_on_their_parts() {
        let mark = json!({"type": "ephemeral"});
        let marked = |part: Part| Part { cache: Some(mark.clone()), ..part };
        let mut given = result("1", vec![Part::text("r")]);
        given.parts[0].cache = Some(mark.clone());
        let written = on(
            "claude-sonnet-4-5",
            &[
                message(Role::System, vec![marked(Part::text("s"))]),
                message(Role::User, vec![marked(Part::text("a"))]),
                message(Role::Assistant, vec![marked(call("1"))]),
                given,
            ],
        );
        assert_eq!(written.system[0]["cache_control"], mark);
        for message in &written.messages {
            assert_eq!(message["content"][0]["cache_control"], mark, "{message}");
        }
    }
}
