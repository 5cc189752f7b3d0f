//! Small things that streams and whole answers have in common when they are written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::media;
use super::thought::extra_content;
use crate::dialects::Asked;
use crate::dialects::conversation::{Annotation, Media, Signature, Source};

/// Ids begin so.
const ID_START: &str = "chatcmpl-";

/// The provider's id of an answer, or one that we make.
pub(super) fn id(given: &str, asked: &Asked) -> String {
    if given.is_empty() { format!("{ID_START}{}", asked.unique) } else { given.to_owned() }
}

/// The model that has answered, or the one that was asked.
pub(crate) fn model<'a>(given: &'a str, asked: &'a Asked) -> &'a str {
    if given.is_empty() { &asked.request.model } else { given }
}

/// An entry of `annotations`; `None` for what has no address. The SDKs want numbers and a title, known or not.
pub(super) fn annotation(annotation: &Annotation) -> Option<Value> {
    if annotation.raw.get("url_citation").is_some_and(Value::is_object) {
        return Some(annotation.raw.clone());
    }
    let (start, end) = annotation.range.unwrap_or((0, 0));
    let mut citation = json!({
        "url": annotation.url.as_deref()?,
        "title": annotation.title.as_deref().unwrap_or_default(),
        "start_index": start,
        "end_index": end,
    });
    if let Some(cited) = &annotation.cited {
        citation["content"] = json!(cited);
    }
    Some(json!({ "type": "url_citation", "url_citation": citation }))
}

/// A call, or its beginning.
pub(super) fn call(id: &str, name: &str, arguments: &str, signature: Option<&Signature>) -> Value {
    let function = json!({ "name": name, "arguments": arguments });
    let mut call = json!({ "id": id, "type": "function", "function": function });
    if let Some(signature) = signature {
        call["extra_content"] = extra_content(signature);
    }
    call
}

/// What a model has made: `images` is `OpenRouter`'s member ("Image generation"), `audio` is `OpenAI`'s.
pub(super) fn made(media: &Media, asked: &Asked) -> Option<(&'static str, Value)> {
    match media.kind {
        "image" => {
            let url = media::url(media)?;
            Some(("images", json!([{ "type": "image_url", "image_url": { "url": url } }])))
        }
        "audio" => {
            let mut audio = json!({ "id": format!("audio_{}", asked.unique) });
            if let Source::Base64(body) = &media.source {
                audio["data"] = json!(body);
            }
            if let Some(transcript) = &media.transcript {
                audio["transcript"] = json!(transcript);
            }
            Some(("audio", audio))
        }
        _ => None,
    }
}

/// Puts a piece of what was made to the pieces before it.
pub(super) fn join_made(all: &mut Value, more: Value) {
    match (all, more) {
        (Value::Array(all), Value::Array(more)) => all.extend(more),
        (Value::Object(all), Value::Object(more)) => {
            for (name, value) in more {
                let joined = match (name.as_str(), all.get(&name).and_then(Value::as_str), value.as_str()) {
                    ("data", Some(before), Some(piece)) => json!(joined(before, piece)),
                    ("transcript", Some(before), Some(piece)) => json!(format!("{before}{piece}")),
                    _ => value,
                };
                all.insert(name, joined);
            }
        }
        (all, more) => *all = more,
    }
}

/// Two pieces in base64, of which the first may end in padding.
fn joined(before: &str, piece: &str) -> String {
    if !before.ends_with('=') {
        return format!("{before}{piece}");
    }
    match (STANDARD.decode(before), STANDARD.decode(piece)) {
        (Ok(mut bytes), Ok(more)) => {
            bytes.extend(more);
            STANDARD.encode(bytes)
        }
        _ => format!("{before}{piece}"),
    }
}
