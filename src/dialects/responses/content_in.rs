//! The pieces of a client's messages and of the outputs of its calls.

use serde_json::{Value, json};

use super::annotation;
use super::members::{list, some_text, text};
use crate::dialects::conversation::Family;
use crate::dialects::conversation::{Content, Media, Part, Signature, Source};
use crate::dialects::front::Refusal;

/// Reads a list of pieces, which is the client's `param`.
pub(super) fn parts(pieces: &[Value], param: &str) -> Result<Vec<Part>, Refusal> {
    let read = |(at, piece)| part(piece).map_err(|message| Refusal::of(format!("{param}[{at}]"), message));
    pieces.iter().enumerate().map(read).collect()
}

fn part(piece: &Value) -> Result<Part, &'static str> {
    let content = match text(piece, "type").ok_or("a piece of content must have a `type`")? {
        "input_text" | "output_text" | "text" => Content::Text {
            text: text(piece, "text").ok_or("a text must have a `text`")?.to_owned(),
            annotations: list(piece, "annotations").iter().map(annotation::read).collect(),
        },
        "refusal" => Content::Refusal(text(piece, "refusal").unwrap_or_default().to_owned()),
        "input_image" => Content::Media(image(piece)?),
        "input_file" => Content::Media(file(piece)?),
        "input_audio" => Content::Media(audio(piece)?),
        kind => Content::Foreign { kind: kind.to_owned(), value: piece.clone() },
    };
    Ok(Part { content, cache: cache(piece) })
}

/// `OpenAI`'s marker, in Anthropic's form. The longer of its two times is nearer to an hour than to minutes.
fn cache(piece: &Value) -> Option<Value> {
    let marker = piece.get("prompt_cache_breakpoint").filter(|marker| marker.is_object())?;
    Some(match text(marker, "ttl") {
        Some("12h") => json!({ "type": "ephemeral", "ttl": "1h" }),
        _ => json!({ "type": "ephemeral" }),
    })
}

fn image(piece: &Value) -> Result<Media, &'static str> {
    let mut media = match (some_text(piece, "image_url"), some_text(piece, "file_id")) {
        (Some(url), _) => located("image", url),
        (None, Some(id)) => Media::new("image", None, Source::Id(id.to_owned())),
        (None, None) => return Err("an image must have an `image_url` or a `file_id`"),
    };
    media.detail = some_text(piece, "detail").map(str::to_owned);
    Ok(media)
}

fn file(piece: &Value) -> Result<Media, &'static str> {
    let name = some_text(piece, "filename");
    let members = ["file_data", "file_url", "file_id"].map(|member| some_text(piece, member));
    let mut media = match members {
        [Some(data), ..] if data.starts_with("data:") => located("file", data),
        [Some(data), ..] => Media::new("file", None, Source::Base64(data.to_owned())),
        [None, Some(url), _] => located("file", url),
        [None, None, Some(id)] => Media::new("file", None, Source::Id(id.to_owned())),
        [None, None, None] => return Err("a file must have `file_data`, a `file_url` or a `file_id`"),
    };
    if media.media_type.is_none() && name.is_some_and(|name| name.to_ascii_lowercase().ends_with(".pdf")) {
        media.media_type = Some("application/pdf".into());
    }
    media.name = name.map(str::to_owned);
    Ok(media)
}

fn audio(piece: &Value) -> Result<Media, &'static str> {
    let sound = piece.get("input_audio").unwrap_or(&Value::Null);
    let (Some(sound), Some(format)) = (some_text(sound, "data"), some_text(sound, "format")) else {
        return Err("`input_audio` must have `data` and a `format`");
    };
    let media_type = if format == "mp3" { "audio/mpeg".to_owned() } else { format!("audio/{format}") };
    Ok(Media::new("audio", Some(media_type), Source::Base64(sound.to_owned())))
}

/// What is at an address, which may hold it itself.
fn located(kind: &'static str, url: &str) -> Media {
    let held = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match held {
        Some((media_type, base64)) => {
            // Parameters such as a charset are none of the type.
            let media_type = media_type.split(';').next().unwrap_or_default();
            let media_type = (!media_type.is_empty()).then(|| media_type.to_owned());
            Media::new(kind, media_type, Source::Base64(base64.to_owned()))
        }
        None => Media::new(kind, None, Source::Url(url.to_owned())),
    }
}

/// A picture that a model has made.
pub(super) fn generated(item: &Value) -> Option<Media> {
    let picture = some_text(item, "result")?;
    let format = some_text(item, "output_format").unwrap_or("png");
    let mut media = Media::new("image", Some(format!("image/{format}")), Source::Base64(picture.to_owned()));
    media.signature = some_text(item, "signature").map(|sealed| Signature::read(Family::OpenAi, sealed));
    Some(media)
}
