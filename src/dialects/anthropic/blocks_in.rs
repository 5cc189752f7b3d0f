//! What a client's content blocks are (Anthropic API reference, create a message).

use std::collections::HashMap;
use std::fmt;

use serde_json::{Map, Value};

use super::citation;
use crate::dialects::Refusal;
use crate::dialects::conversation::{
    Content, Family, Media, Part, Reasoning, Signature, Source, ToolCall, ToolResult, Wish, Wishes,
};

/// Between a sealed thought and the id that its own provider knows it by. No base64 has this character.
pub(super) const ID_MARK: char = '|';

/// Where a block stands, as clients and the API's own errors name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) message: usize,
    pub(super) block: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "messages[{}].content[{}]", self.message, self.block)
    }
}

impl At {
    pub(super) fn refuse(self, problem: &str) -> Refusal {
        Refusal::of(self.to_string(), format!("{self}: {problem}"))
    }
}

/// Reads blocks in order.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    /// Where what a block asks for goes.
    pub(super) wishes: &'a mut Wishes,
    /// The tools' names, by the ids of the calls so far.
    pub(super) calls: HashMap<String, String>,
}

impl Blocks<'_> {
    /// Adds to `parts` what `block` is, which is several parts for few kinds.
    pub(super) fn read(&mut self, block: Value, at: At, parts: &mut Vec<Part>) -> Result<(), Refusal> {
        let Value::Object(mut block) = block else { return Err(at.refuse("a content block must be an object")) };
        let Some(kind) = string(&mut block, "type") else {
            return Err(at.refuse("a content block must have a `type`"));
        };
        let cache = taken(&mut block, "cache_control");
        let first = parts.len();
        match kind.as_str() {
            "text" => parts.push(text(&mut block, at)?),
            "image" => parts.push(Part::new(Content::Media(image(&mut block, at)?))),
            "document" => self.document(&mut block, at, parts)?,
            "search_result" => parts.push(self.search_result(&mut block, at)),
            "thinking" => parts.push(Part::new(Content::Reasoning(thinking(&mut block)))),
            "redacted_thinking" => parts.push(Part::new(Content::Reasoning(redacted(&mut block)))),
            "tool_use" => {
                let mut call = self.tool_use(&mut block, at)?;
                call.signature = call_signature(parts);
                parts.push(Part::new(Content::ToolCall(call)));
            }
            "tool_result" => {
                let result = self.tool_result(&mut block, at)?;
                parts.push(Part::new(Content::ToolResult(result)));
            }
            // Stands for a tool that its model found by a search. Elsewhere all tools are there from the beginning.
            "tool_reference" => parts.extend(string(&mut block, "tool_name").map(Part::text)),
            _ => {
                block.insert("type".to_owned(), Value::String(kind.clone()));
                parts.push(Part::new(Content::Foreign { kind, value: Value::Object(block) }));
            }
        }
        if let Some(last) = parts.get_mut(first..).and_then(<[_]>::last_mut) {
            last.cache = cache;
        }
        Ok(())
    }

    fn document(&mut self, block: &mut Map<String, Value>, at: At, parts: &mut Vec<Part>) -> Result<(), Refusal> {
        self.citations(block, at);
        let name = string(block, "title");
        // What is said of a document and is not to be cited.
        parts.extend(string(block, "context").map(Part::text));
        let mut source = source(block, at)?;
        let text = |text: String| Media::new("file", Some("text/plain".into()), Source::Text(text));
        let media = match string(&mut source, "type").as_deref() {
            Some("base64") => {
                let media_type = string(&mut source, "media_type");
                let media_type = media_type.or_else(|| Some("application/pdf".into()));
                Media::new("file", media_type, Source::Base64(needed(&mut source, "data", at)?))
            }
            Some("text") => text(needed(&mut source, "data", at)?),
            Some("url") => {
                let url = needed(&mut source, "url", at)?;
                Media::new("file", Some("application/pdf".into()), Source::Url(url))
            }
            Some("file") => Media::new("file", None, Source::Id(needed(&mut source, "file_id", at)?)),
            Some("content") => match taken(&mut source, "content") {
                Some(Value::String(content)) => text(content),
                Some(Value::Array(blocks)) => return self.pieces(blocks, name, at, parts),
                _ => return Err(at.refuse("`source.content` must be a string or a list of blocks")),
            },
            _ => return Err(at.refuse("this `source.type` is not known")),
        };
        parts.push(Part::new(Content::Media(Media { name, ..media })));
        Ok(())
    }

    /// A document that the client has cut itself. In pieces it can be cited only by its own provider, so it is one text
    /// unless pictures stand in it.
    fn pieces(
        &mut self,
        blocks: Vec<Value>,
        name: Option<String>,
        at: At,
        parts: &mut Vec<Part>,
    ) -> Result<(), Refusal> {
        let mut inner = Vec::new();
        for block in blocks {
            self.read(block, at, &mut inner)?;
        }
        let texts: Option<Vec<&str>> = inner.iter().map(Part::as_text).collect();
        if let Some(texts) = texts {
            let media = Media::new("file", Some("text/plain".into()), Source::Text(texts.join("\n")));
            parts.push(Part::new(Content::Media(Media { name, ..media })));
        } else {
            parts.extend(name.map(Part::text));
            parts.append(&mut inner);
        }
        Ok(())
    }

    /// Its title, its source and its text, in one text: no other dialect has more for it.
    fn search_result(&mut self, block: &mut Map<String, Value>, at: At) -> Part {
        self.citations(block, at);
        let mut lines: Vec<String> = ["title", "source"].iter().filter_map(|name| string(block, name)).collect();
        if let Some(Value::Array(blocks)) = block.get_mut("content") {
            let texts = blocks.iter_mut().filter_map(Value::as_object_mut);
            lines.extend(texts.filter_map(|block| string(block, "text")));
        }
        Part::text(lines.join("\n"))
    }

    /// Citations are asked for block by block.
    fn citations(&mut self, block: &Map<String, Value>, at: At) {
        let enabled = block.get("citations").and_then(|citations| citations.get("enabled"));
        if enabled == Some(&Value::Bool(true)) {
            self.wishes.add(Wish::Other, format!("{at}.citations"), Value::Bool(true));
        }
    }

    fn tool_use(&mut self, block: &mut Map<String, Value>, at: At) -> Result<ToolCall, Refusal> {
        let (id, name) = (needed(block, "id", at)?, needed(block, "name", at)?);
        let arguments = match block.get("input") {
            None | Some(Value::Null) => "{}".to_owned(),
            Some(input) => input.to_string(),
        };
        self.calls.insert(id.clone(), name.clone());
        Ok(ToolCall { id, name, arguments, signature: None })
    }

    fn tool_result(&mut self, block: &mut Map<String, Value>, at: At) -> Result<ToolResult, Refusal> {
        let id = needed(block, "tool_use_id", at)?;
        let mut parts = Vec::new();
        match taken(block, "content") {
            None => {}
            Some(Value::String(text)) => parts.push(Part::text(text)),
            Some(Value::Array(blocks)) => {
                for block in blocks {
                    self.read(block, at, &mut parts)?;
                }
            }
            Some(_) => return Err(at.refuse("`content` must be a string or a list of blocks")),
        }
        let is_error = block.get("is_error") == Some(&Value::Bool(true));
        Ok(ToolResult { name: self.calls.get(&id).cloned(), id, parts, is_error })
    }
}

/// Takes a member that is there and not `null`.
pub(super) fn taken(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    object.get_mut(name).map(Value::take).filter(|value| !value.is_null())
}

/// Takes a member that is a string.
pub(super) fn string(object: &mut Map<String, Value>, name: &str) -> Option<String> {
    match object.get_mut(name).map(Value::take) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn needed(object: &mut Map<String, Value>, name: &str, at: At) -> Result<String, Refusal> {
    string(object, name).ok_or_else(|| at.refuse(&format!("`{name}` must be a string")))
}

fn source(block: &mut Map<String, Value>, at: At) -> Result<Map<String, Value>, Refusal> {
    match taken(block, "source") {
        Some(Value::Object(source)) => Ok(source),
        _ => Err(at.refuse("`source` must be an object")),
    }
}

fn text(block: &mut Map<String, Value>, at: At) -> Result<Part, Refusal> {
    let text = needed(block, "text", at)?;
    let annotations = match taken(block, "citations") {
        Some(Value::Array(citations)) => citations.into_iter().map(citation::read).collect(),
        _ => Vec::new(),
    };
    Ok(Part::new(Content::Text { text, annotations }))
}

fn image(block: &mut Map<String, Value>, at: At) -> Result<Media, Refusal> {
    let mut source = source(block, at)?;
    let (media_type, source) = match string(&mut source, "type").as_deref() {
        Some("base64") => (string(&mut source, "media_type"), Source::Base64(needed(&mut source, "data", at)?)),
        Some("url") => (None, Source::Url(needed(&mut source, "url", at)?)),
        Some("file") => (None, Source::Id(needed(&mut source, "file_id", at)?)),
        _ => return Err(at.refuse("this `source.type` is not known")),
    };
    Ok(Media::new("image", media_type, source))
}

fn thinking(block: &mut Map<String, Value>) -> Reasoning {
    let (signature, id) = proof(string(block, "signature"));
    Reasoning { text: string(block, "thinking").unwrap_or_default(), signature, redacted: None, id }
}

fn redacted(block: &mut Map<String, Value>) -> Reasoning {
    let (redacted, id) = proof(string(block, "data"));
    Reasoning { text: String::new(), signature: None, redacted, id }
}

/// A signature, and its provider's id of the thought, which travels behind sealed ones.
fn proof(text: Option<String>) -> (Option<Signature>, Option<String>) {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return (None, None) };
    let mut signature = Signature::read(Family::Anthropic, &text);
    let mut id = None;
    if signature.family != Family::Anthropic
        && let Some((value, behind)) = signature.value.rsplit_once(ID_MARK)
    {
        id = Some(behind.to_owned());
        signature.value = value.to_owned();
    }
    (Some(signature), id)
}

/// Takes back what [`super::blocks_out`] has put before a call: Gemini signs calls, for which this dialect has no field.
fn call_signature(parts: &mut Vec<Part>) -> Option<Signature> {
    let Some(Content::Reasoning(thought)) = parts.last_mut().map(|part| &mut part.content) else { return None };
    let signature = thought.signature.take_if(|signature| signature.family == Family::Gemini)?;
    if thought.text.is_empty() {
        parts.pop();
    }
    Some(signature)
}
