//! The items of a client's `input`, which are messages, thoughts, calls and their results, become messages.

use serde_json::{Value, json};

use super::content_in;
use super::members::{list, some_text, text};
use super::thought;
use crate::dialects::conversation::{Content, Message, Part, Role, Signature, ToolCall, ToolResult};
use crate::dialects::front::Refusal;

/// Reads `input`. What the model has said in a row, in whatever items, becomes one message, and so do results in a row.
pub(super) fn read(input: &Value, messages: &mut Vec<Message>) -> Result<(), Refusal> {
    match input {
        Value::String(text) => {
            messages.push(Message { role: Role::User, parts: vec![Part::text(text)], name: None });
            Ok(())
        }
        Value::Array(items) => {
            let mut reader = Reader { messages, of_call: None };
            items.iter().enumerate().try_for_each(|(at, item)| reader.item(at, item))
        }
        _ => Err(Refusal::of("input", "`input` must be a string or a list of items")),
    }
}

struct Reader<'a> {
    messages: &'a mut Vec<Message>,
    /// The signature of the next call, which stood in an item of its own.
    of_call: Option<Signature>,
}

impl Reader<'_> {
    fn item(&mut self, at: usize, item: &Value) -> Result<(), Refusal> {
        let kind = match text(item, "type") {
            Some(kind) => kind,
            None if item.get("role").is_some() => "message",
            None if item.get("id").is_some() => "item_reference",
            None => return Err(Refusal::of(format!("input[{at}]"), "an item must have a `type` or a `role`")),
        };
        match kind {
            "message" => self.message(at, item)?,
            "reasoning" => self.reasoning(item),
            "function_call" => {
                let arguments = match item.get("arguments") {
                    Some(Value::String(text)) => text.clone(),
                    Some(other @ Value::Object(_)) => other.to_string(),
                    _ => String::new(),
                };
                self.call(at, item, arguments)?;
            }
            "custom_tool_call" => {
                let arguments = json!({ "input": text(item, "input").unwrap_or_default() });
                self.call(at, item, arguments.to_string())?;
            }
            "function_call_output" | "custom_tool_call_output" => self.result(at, item)?,
            "image_generation_call" => match content_in::generated(item) {
                Some(media) => self.push(Role::Assistant, Content::Media(media)),
                None => self.foreign(kind, item),
            },
            "item_reference" => {
                let message = "this model's provider keeps no items; send the item itself in place of a reference \
                               (SDKs do so with `store: false`)";
                return Err(Refusal::of(format!("input[{at}]"), message));
            }
            _ => self.foreign(kind, item),
        }
        Ok(())
    }

    fn message(&mut self, at: usize, item: &Value) -> Result<(), Refusal> {
        let role = match text(item, "role") {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            Some("developer") => Role::Developer,
            _ => {
                let message = "`role` must be one of user, assistant, system, developer";
                return Err(Refusal::of(format!("input[{at}].role"), message));
            }
        };
        let parts = match item.get("content") {
            Some(Value::String(text)) => vec![Part::text(text)],
            Some(Value::Array(parts)) => content_in::parts(parts, &format!("input[{at}].content"))?,
            _ => {
                let message = "`content` must be a string or a list";
                return Err(Refusal::of(format!("input[{at}].content"), message));
            }
        };
        match self.messages.last_mut() {
            Some(last) if role == Role::Assistant && last.role == role => last.parts.extend(parts),
            _ => self.messages.push(Message { role, parts, name: None }),
        }
        Ok(())
    }

    fn reasoning(&mut self, item: &Value) {
        let encrypted = some_text(item, "encrypted_content");
        if let Some(signature) = encrypted.and_then(thought::read_of_call) {
            self.of_call = Some(signature);
            return;
        }
        let pieces = list(item, "summary").iter().chain(list(item, "content"));
        let texts: Vec<&str> = pieces.filter_map(|piece| some_text(piece, "text")).collect();
        let id = some_text(item, "id");
        let proof = encrypted.map(|encrypted| thought::read(id, encrypted));
        // An id alone refers to what the provider keeps, and it keeps nothing.
        if !texts.is_empty() || proof.is_some() {
            self.push(Role::Assistant, Content::Reasoning(thought::thought(id, texts.join("\n\n"), proof)));
        }
    }

    fn call(&mut self, at: usize, item: &Value, arguments: String) -> Result<(), Refusal> {
        let required = |name| {
            some_text(item, name)
                .ok_or_else(|| Refusal::of(format!("input[{at}].{name}"), format!("a call must have a `{name}`")))
        };
        let (id, name) = (required("call_id")?.to_owned(), required("name")?.to_owned());
        let signature = self.of_call.take();
        self.push(Role::Assistant, Content::ToolCall(ToolCall { id, name, arguments, signature }));
        Ok(())
    }

    fn result(&mut self, at: usize, item: &Value) -> Result<(), Refusal> {
        let Some(id) = some_text(item, "call_id") else {
            return Err(Refusal::of(format!("input[{at}].call_id"), "a call's output must have its `call_id`"));
        };
        let parts = match item.get("output") {
            Some(Value::String(text)) => vec![Part::text(text)],
            Some(Value::Array(parts)) => content_in::parts(parts, &format!("input[{at}].output"))?,
            None | Some(Value::Null) => Vec::new(),
            Some(other) => vec![Part::text(other.to_string())],
        };
        let result = ToolResult {
            id: id.to_owned(),
            name: some_text(item, "name").map(str::to_owned),
            parts,
            is_error: false,
        };
        self.push(Role::Tool, Content::ToolResult(result));
        Ok(())
    }

    /// What only the provider of this dialect understands. Its outputs come from the client.
    fn foreign(&mut self, kind: &str, item: &Value) {
        let is_output = kind.ends_with("_output") || kind.ends_with("_response");
        let role = if is_output { Role::User } else { Role::Assistant };
        self.push(role, Content::Foreign { kind: kind.to_owned(), value: item.clone() });
    }

    fn push(&mut self, role: Role, content: Content) {
        match self.messages.last_mut() {
            Some(last) if last.role == role && role != Role::User => last.parts.push(Part::new(content)),
            _ => self.messages.push(Message { role, parts: vec![Part::new(content)], name: None }),
        }
    }
}
