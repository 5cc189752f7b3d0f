//! Pieces of messages, as the provider takes them.

use serde_json::{Value, json};

use crate::dialects::conversation::{Content, Media, Part, Source};

/// A piece of what a user, the system or a tool says; `None` where the provider has nothing like it.
pub(super) fn input(part: &Part) -> Option<Value> {
    match &part.content {
        Content::Text { text, .. } => Some(json!({ "type": "input_text", "text": text })),
        Content::Media(media) => medium(media),
        Content::Foreign { kind, value } if kind.starts_with("input_") => Some(value.clone()),
        _ => None,
    }
}

fn medium(media: &Media) -> Option<Value> {
    match media.kind {
        "image" => image(media),
        "file" => Some(file(media)),
        // Sounds and films have no place in the schema of what is sent.
        _ => None,
    }
}

fn image(media: &Media) -> Option<Value> {
    let mut piece = match &media.source {
        Source::Url(url) => json!({ "type": "input_image", "image_url": url }),
        Source::Base64(base64) => {
            json!({ "type": "input_image", "image_url": data_url(media, base64, "image/png") })
        }
        Source::Id(id) => json!({ "type": "input_image", "file_id": id }),
        Source::Text(_) => return None,
    };
    piece["detail"] = json!(media.detail.as_deref().unwrap_or("auto"));
    Some(piece)
}

fn file(media: &Media) -> Value {
    let mut piece = match &media.source {
        Source::Base64(base64) => {
            // The name is required beside the contents.
            let name = media.name.as_deref().unwrap_or("document.pdf");
            let data = data_url(media, base64, "application/pdf");
            return json!({ "type": "input_file", "filename": name, "file_data": data });
        }
        Source::Url(url) => json!({ "type": "input_file", "file_url": url }),
        Source::Id(id) => json!({ "type": "input_file", "file_id": id }),
        // A plain text says the same in any form.
        Source::Text(text) => {
            let text = media.name.as_ref().map_or_else(|| text.clone(), |name| format!("{name}\n\n{text}"));
            return json!({ "type": "input_text", "text": text });
        }
    };
    if let (Source::Url(_), Some(name)) = (&media.source, &media.name) {
        piece["filename"] = json!(name);
    }
    piece
}

fn data_url(media: &Media, base64: &str, media_type: &str) -> String {
    format!("data:{};base64,{base64}", media.media_type.as_deref().unwrap_or(media_type))
}
