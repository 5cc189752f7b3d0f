//! One part of a content, as both requests and answers have it (Gemini API reference, `Part`).

use serde_json::{Value, json};

use super::fields::object;
use crate::dialects::conversation::{Media, Source};

/// A text.
pub(super) fn text(text: &str) -> Value {
    json!({ "text": text })
}

/// A thought.
pub(super) fn thought(text: &str) -> Value {
    json!({ "text": text, "thought": true })
}

/// A call.
pub(super) fn call(name: &str, id: Option<&str>, args: Value) -> Value {
    let id = id.map(Value::from);
    json!({ "functionCall": object([("id", id), ("name", Some(name.into())), ("args", Some(args))]) })
}

/// The same with a signature.
pub(super) fn signed(mut part: Value, signature: Option<&str>) -> Value {
    if let Some(signature) = signature {
        part["thoughtSignature"] = signature.into();
    }
    part
}

/// Puts one of Gemini's signatures on the part that it came with: the thought with these words, or the text before it.
pub(super) fn prove(out: &mut Vec<Value>, thought_words: &str, signature: &str) {
    if !thought_words.is_empty() {
        out.push(signed(thought(thought_words), Some(signature)));
        return;
    }
    let has = |part: &Value, name: &str| part.get(name).is_some();
    let is_bare = |part: &&mut Value| has(part, "text") && !has(part, "thought") && !has(part, "thoughtSignature");
    match out.last_mut().filter(is_bare) {
        Some(text) => text["thoughtSignature"] = signature.into(),
        None => out.push(signed(text(""), Some(signature))),
    }
}

/// Data, here or at an address; `None` if Google can't have it.
pub(super) fn media(media: &Media) -> Option<Value> {
    let name = media.name.as_deref();
    match &media.source {
        Source::Base64(data) => {
            let kind = media.media_type.as_deref().or_else(|| of_bytes(data)).or_else(|| of_name(name?))?;
            Some(json!({ "inlineData": { "mimeType": kind, "data": data } }))
        }
        Source::Text(text) => Some(json!({ "text": text })),
        Source::Url(url) => match embedded(url) {
            Some((kind, data)) => Some(json!({ "inlineData": { "mimeType": kind, "data": data } })),
            None => Some(file(media, url)),
        },
        Source::Id(id) if id.contains("://") => Some(file(media, id)),
        Source::Id(_) => None,
    }
}

fn file(media: &Media, uri: &str) -> Value {
    // Google wants a type, and the address often tells it; where nothing does, any of the kind is as good.
    let address = uri.split(['?', '#']).next().unwrap_or(uri);
    let kind = media.media_type.as_deref().or_else(|| of_name(address));
    let kind = kind.or(match media.kind {
        "image" => Some("image/jpeg"),
        "audio" => Some("audio/mpeg"),
        "video" => Some("video/mp4"),
        _ => None,
    });
    json!({ "fileData": object([("mimeType", kind.map(Value::from)), ("fileUri", Some(uri.into()))]) })
}

/// The type and the base64 of a `data:` URL.
fn embedded(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    Some((head.strip_suffix(";base64")?, data))
}

/// What the first bytes of base64 say.
fn of_bytes(data: &str) -> Option<&'static str> {
    let kinds = [
        ("iVBORw0KGgo", "image/png"),
        ("/9j/", "image/jpeg"),
        ("R0lGOD", "image/gif"),
        ("UklGR", "image/webp"),
        ("JVBERi", "application/pdf"),
        ("SUQz", "audio/mpeg"),
    ];
    kinds.into_iter().find(|(start, _)| data.starts_with(start)).map(|(_, kind)| kind)
}

/// What a file's name says.
fn of_name(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match &*ending.to_ascii_lowercase() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "pdf" => "application/pdf",
        "txt" | "md" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "json" => "application/json",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "ogg" => "audio/ogg",
        "mp4" => "video/mp4",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        _ => return None,
    })
}
