//! Pictures, sounds and documents, as they stand in content parts ("Chat completions API reference, messages").

use serde_json::{Value, json};

use crate::dialects::conversation::{Media, Source};
use crate::dialects::json::{owned, some, text};

/// Reads a content part that is a medium; `None` if it is none, or says nothing.
pub(super) fn read(part: &Value) -> Option<Media> {
    match text(part, "type")? {
        "image_url" => picture(part.get("image_url")?),
        "video_url" => Some(addressed("video", address(part.get("video_url")?)?)),
        "input_audio" => sound(part.get("input_audio")?),
        "file" => file(part.get("file")?),
        _ => None,
    }
}

/// What a `data:` address contains, or the address itself. RFC 2397; without `;base64` it stays an address.
pub(super) fn addressed(kind: &'static str, url: &str) -> Media {
    let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(','));
    let inline = inline.and_then(|(head, body)| Some((head.strip_suffix(";base64")?, body)));
    match inline {
        Some((media_type, body)) => {
            let media_type = media_type.split(';').next().filter(|name| !name.is_empty());
            Media::new(kind, media_type.map(str::to_owned), Source::Base64(body.to_owned()))
        }
        None => Media::new(kind, None, Source::Url(url.to_owned())),
    }
}

/// The address of an object with a `url`, or the address itself, as Mistral has it.
fn address(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| text(value, "url"))
}

fn picture(value: &Value) -> Option<Media> {
    let picture = addressed("image", address(value)?);
    Some(Media { detail: owned(value, "detail"), ..picture })
}

fn sound(value: &Value) -> Option<Media> {
    let body = value.as_str().or_else(|| text(value, "data"))?;
    if body.starts_with("data:") || body.starts_with("http") {
        return Some(addressed("audio", body));
    }
    let media_type = text(value, "format").map(|format| match format {
        "mp3" => "audio/mpeg".to_owned(),
        format => format!("audio/{format}"),
    });
    Some(Media::new("audio", media_type, Source::Base64(body.to_owned())))
}

fn file(value: &Value) -> Option<Media> {
    let name = owned(value, "filename");
    let source = match (text(value, "file_data"), text(value, "file_id")) {
        (Some(url), _) if url.starts_with("data:") || url.starts_with("http") => {
            return Some(Media { name, ..addressed("file", url) });
        }
        (Some(body), _) => Source::Base64(body.to_owned()),
        (None, Some(id)) => Source::Id(id.to_owned()),
        (None, None) => return None,
    };
    let media_type = matches!(source, Source::Base64(_)).then(|| "application/pdf".to_owned());
    Some(Media { name, ..Media::new("file", media_type, source) })
}

/// What a model has made of sound: all of it, or a piece.
pub(super) fn spoken(audio: &Value) -> Option<Media> {
    let (body, transcript) = (owned(audio, "data"), owned(audio, "transcript"));
    if body.is_none() && transcript.is_none() {
        return None;
    }
    let sound = Media::new("audio", None, Source::Base64(body.unwrap_or_default()));
    Some(Media { transcript, ..sound })
}

/// Writes a content part; `None` where the dialect has none for it.
pub(super) fn write(media: &Media) -> Option<Value> {
    let media_type = media.media_type.as_deref();
    match (media.kind, &media.source) {
        ("image", Source::Base64(_) | Source::Url(_)) => {
            let mut picture = json!({ "url": url(media)? });
            if let Some(detail) = &media.detail {
                picture["detail"] = json!(detail);
            }
            Some(json!({ "type": "image_url", "image_url": picture }))
        }
        ("video", Source::Base64(_) | Source::Url(_)) => {
            Some(json!({ "type": "video_url", "video_url": { "url": url(media)? } }))
        }
        ("audio", Source::Base64(body)) => {
            let format = match media_type.and_then(|name| name.strip_prefix("audio/")).unwrap_or("wav") {
                "mpeg" | "mp3" => "mp3",
                "x-wav" | "wave" | "vnd.wave" => "wav",
                format => format,
            };
            Some(json!({ "type": "input_audio", "input_audio": { "data": body, "format": format } }))
        }
        (_, Source::Text(words)) => Some(json!({ "type": "text", "text": words })),
        ("file", Source::Base64(_)) => {
            let name = media.name.clone().unwrap_or_else(|| file_name(media_type));
            Some(json!({ "type": "file", "file": { "filename": name, "file_data": url(media)? } }))
        }
        ("file", Source::Id(id)) => Some(json!({ "type": "file", "file": { "file_id": id } })),
        _ => None,
    }
}

/// Where a medium is, in one word.
pub(super) fn url(media: &Media) -> Option<String> {
    match &media.source {
        Source::Url(url) => Some(url.clone()),
        Source::Base64(body) => {
            let fallback = match media.kind {
                "image" => "image/png",
                "audio" => "audio/wav",
                "video" => "video/mp4",
                _ => "application/pdf",
            };
            Some(format!("data:{};base64,{body}", media.media_type.as_deref().unwrap_or(fallback)))
        }
        Source::Text(_) | Source::Id(_) => None,
    }
}

/// OpenAI wants a name with an ending, by which it knows the format.
fn file_name(media_type: Option<&str>) -> String {
    let ending = media_type.and_then(|name| name.split_once('/')).map_or("pdf", |(_, ending)| ending);
    format!("document.{}", if ending == "plain" { "txt" } else { ending })
}

/// A part that is marked as the end of what is to be cached, as `OpenRouter` and `LiteLLM` have it from Anthropic.
pub(super) fn cache(part: &Value) -> Option<Value> {
    some(part, "cache_control").filter(|marker| marker.is_object()).cloned()
}
