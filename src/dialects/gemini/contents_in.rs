//! From a client's `contents` to the messages of a conversation (Gemini API reference, `Content` and `Part`).

use serde_json::{Map, Value};

use super::fields::{get, list, text};
use super::proof;
use super::{FOREIGN_PARTS, kind_of};
use crate::dialects::Refusal;
use crate::dialects::conversation::{
    Content, Media, Message, Part, Reasoning, Role, Source, ToolCall, ToolResult,
};

/// What says more of a part and has no like elsewhere.
const DETAILS: [&str; 7] = [
    "videoMetadata",
    "mediaResolution",
    "mediaProcessing",
    "audioMetadata",
    "documentMetadata",
    "spreadsheetMetadata",
    "speechMetadata",
];

/// Reads turn after turn. Calls and their results have no ids in older clients: there the order pairs those of one name.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub messages: Vec<Message>,
    /// What was said of parts that no dialect shares, with its path.
    pub details: Vec<(String, Value)>,
    /// Calls without a result so far: ids and names.
    open: Vec<(String, String)>,
    /// Calls and results whose ids are ours.
    made: usize,
}

impl Contents {
    /// Takes the turn that stands at `path`.
    pub(super) fn turn(&mut self, path: &str, content: &Value) -> Result<(), Refusal> {
        let role = match text(content, "role").unwrap_or_default() {
            "" | "user" | "function" | "tool" => Role::User,
            "model" | "assistant" => Role::Assistant,
            "system" => Role::System,
            other => return Err(Refusal::of(format!("{path}.role"), format!("there is no role {other:?}"))),
        };
        for (at, part) in list(content, "parts").iter().enumerate() {
            self.part(role, &format!("{path}.parts[{at}]"), part)?;
        }
        Ok(())
    }

    /// Takes a system instruction: a content, or a plain text.
    pub(super) fn system(&mut self, instruction: &Value) -> Result<(), Refusal> {
        if let Some(text) = instruction.as_str() {
            self.push(Role::System, Content::Text { text: text.to_owned(), annotations: Vec::new() });
            return Ok(());
        }
        for (at, part) in list(instruction, "parts").iter().enumerate() {
            self.part(Role::System, &format!("systemInstruction.parts[{at}]"), part)?;
        }
        Ok(())
    }

    fn part(&mut self, role: Role, path: &str, part: &Value) -> Result<(), Refusal> {
        for name in DETAILS {
            let detail = get(part, name).map(|detail| (format!("{path}.{name}"), detail.clone()));
            self.details.extend(detail);
        }
        let proof = text(part, "thoughtSignature").filter(|text| !text.is_empty()).map(proof::read);
        if let Some(call) = get(part, "functionCall") {
            let call = self.call(path, call, proof)?;
            self.push(role, Content::ToolCall(call));
        } else if let Some(response) = get(part, "functionResponse") {
            let result = self.result(path, response)?;
            self.push(Role::Tool, Content::ToolResult(result));
        } else if let Some(blob) = get(part, "inlineData").or_else(|| get(part, "fileData")) {
            let mut media = media(path, blob)?;
            media.signature = proof.and_then(|proof| proof.signature);
            self.push(role, Content::Media(media));
        } else if let Some(kind) = FOREIGN_PARTS.into_iter().find(|kind| get(part, kind).is_some()) {
            self.push(role, Content::Foreign { kind: kind.to_owned(), value: part.clone() });
        } else if let Some(text) = text(part, "text") {
            self.text(role, text, get(part, "thought") == Some(&Value::Bool(true)), proof);
        } else if let Some(proof) = proof {
            self.push(role, Content::Reasoning(proof));
        } else {
            return Err(Refusal::of(path, "a part must have a text, data or a call of a function"));
        }
        Ok(())
    }

    /// Pieces of one text or thought, which is how clients keep a stream, become one again.
    fn text(&mut self, role: Role, text: &str, is_thought: bool, proof: Option<Reasoning>) {
        let is_model = role == Role::Assistant;
        let last = self.messages.last_mut().filter(|message| message.role == role && is_model);
        let last = last.and_then(|message| message.parts.last_mut()).map(|part| &mut part.content);
        if is_thought {
            let proof = proof.unwrap_or_default();
            match last {
                Some(Content::Reasoning(thought))
                    if thought.signature.is_none() && thought.redacted.is_none() && thought.id.is_none() =>
                {
                    let text = format!("{}{text}", thought.text);
                    *thought = Reasoning { text, ..proof };
                }
                _ => self.push(role, Content::Reasoning(Reasoning { text: text.to_owned(), ..proof })),
            }
            return;
        }
        match last {
            Some(Content::Text { text: before, .. }) => before.push_str(text),
            _ if text.is_empty() && is_model => {}
            _ => self.push(role, Content::Text { text: text.to_owned(), annotations: Vec::new() }),
        }
        if let Some(proof) = proof {
            self.push(role, Content::Reasoning(proof));
        }
    }

    fn call(&mut self, path: &str, call: &Value, proof: Option<Reasoning>) -> Result<ToolCall, Refusal> {
        let Some(name) = text(call, "name").filter(|name| !name.is_empty()) else {
            return Err(Refusal::of(format!("{path}.functionCall.name"), "a call needs the function's name"));
        };
        let id = match text(call, "id").filter(|id| !id.is_empty()) {
            Some(id) => id.to_owned(),
            None => self.make_id(),
        };
        self.open.push((id.clone(), name.to_owned()));
        let arguments = get(call, "args").map_or_else(|| "{}".to_owned(), Value::to_string);
        let signature = proof.and_then(|proof| proof.signature);
        Ok(ToolCall { id, name: name.to_owned(), arguments, signature })
    }

    fn result(&mut self, path: &str, response: &Value) -> Result<ToolResult, Refusal> {
        let name = text(response, "name").unwrap_or_default();
        let id = text(response, "id").filter(|id| !id.is_empty());
        let by_id = self.open.iter().position(|(open, _)| Some(&**open) == id);
        let found = by_id.or_else(|| self.open.iter().position(|(_, open)| open == name));
        let (id, name) = match (found.map(|at| self.open.remove(at)), id) {
            (Some(open), _) => open,
            (None, Some(id)) => (id.to_owned(), name.to_owned()),
            (None, None) => (self.make_id(), name.to_owned()),
        };
        let (text, is_error) = get(response, "response").map(|given| outcome(given, &name)).unwrap_or_default();
        let mut parts = Vec::new();
        if !text.is_empty() {
            parts.push(Part::text(text));
        }
        for (at, part) in list(response, "parts").iter().enumerate() {
            let path = format!("{path}.functionResponse.parts[{at}]");
            let blob = get(part, "inlineData").or_else(|| get(part, "fileData"));
            let blob = blob.ok_or_else(|| Refusal::of(&*path, "a part of a result must have data"))?;
            parts.push(Part::new(Content::Media(media(&path, blob)?)));
        }
        Ok(ToolResult { id, name: (!name.is_empty()).then_some(name), parts, is_error })
    }

    fn make_id(&mut self) -> String {
        self.made += 1;
        format!("call_{}", self.made)
    }

    /// Neighbours of one role are one message: only the model's parts may come in several contents, as a stream's do.
    fn push(&mut self, role: Role, content: Content) {
        match self.messages.last_mut() {
            Some(last) if last.role == role => last.parts.push(Part::new(content)),
            _ => self.messages.push(Message { role, parts: vec![Part::new(content)], name: None }),
        }
    }
}

/// What a function of this name gave: under `output` or, if it failed, `error`; otherwise all of it is the output. Many
/// clients say `result`, as the SDK itself does, or `content`, some of them beside the name of the function.
fn outcome(response: &Value, function: &str) -> (String, bool) {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let is_name = |(name, value): &(&String, &Value)| *name == "name" && *value == function;
    let said = |members: &Map<String, Value>| {
        let is_named = members.contains_key("content");
        let mut rest = members.iter().filter(|member| !(is_named && is_name(member)));
        match (rest.next(), rest.next()) {
            (Some((name, value)), None) if matches!(&**name, "output" | "result" | "content") => {
                Some((plain(value), false))
            }
            (Some((name, value)), None) if name == "error" => Some((plain(value), true)),
            _ => None,
        }
    };
    response.as_object().and_then(said).unwrap_or_else(|| (plain(response), false))
}

fn media(path: &str, blob: &Value) -> Result<Media, Refusal> {
    let media_type = text(blob, "mimeType").filter(|kind| !kind.is_empty()).map(str::to_owned);
    let is_film =
        text(blob, "fileUri").is_some_and(|uri| uri.contains("youtube.com/") || uri.contains("youtu.be/"));
    let kind = media_type.as_deref().map_or(if is_film { "video" } else { "file" }, kind_of);
    let source = match (text(blob, "data"), text(blob, "fileUri")) {
        // The SDKs write the URL-safe alphabet, which other providers do not know.
        (Some(data), _) => Source::Base64(data.replace('-', "+").replace('_', "/")),
        // What Google keeps, only Google can open.
        (None, Some(uri)) if uri.starts_with("http") && !uri.contains("generativelanguage") => {
            Source::Url(uri.to_owned())
        }
        (None, Some(uri)) => Source::Id(uri.to_owned()),
        (None, None) => return Err(Refusal::of(path, "data needs its bytes or its address")),
    };
    let name = text(blob, "displayName").map(str::to_owned);
    Ok(Media { name, ..Media::new(kind, media_type, source) })
}
