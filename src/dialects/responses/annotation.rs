//! What a text refers to.

use serde_json::{Value, json};

use super::members::{some_text, text, whole};
use crate::dialects::conversation::Annotation;

/// Reads one.
pub(super) fn read(value: &Value) -> Annotation {
    let range = whole(value, "start_index").zip(whole(value, "end_index"));
    Annotation {
        url: some_text(value, "url").map(str::to_owned),
        title: some_text(value, "title").map(str::to_owned),
        cited: None,
        range,
        raw: value.clone(),
    }
}

/// Writes one that belongs to a text of so many characters; `None` where it refers to nothing that the dialect can name.
pub(super) fn write(annotation: &Annotation, characters: usize) -> Option<Value> {
    let raw = &annotation.raw;
    let is_own = match text(raw, "type") {
        Some("url_citation") => ["url", "title", "start_index", "end_index"]
            .iter()
            .all(|name| raw.get(name).is_some_and(|v| !v.is_null())),
        Some("file_citation" | "file_path" | "container_file_citation") => raw.get("file_id").is_some(),
        _ => false,
    };
    if is_own {
        return Some(raw.clone());
    }
    let url = annotation.url.as_deref()?;
    // Where it is not known which words are meant, it stands behind what was said so far.
    let here = u64::try_from(characters).unwrap_or(u64::MAX);
    let (start, end) = annotation.range.unwrap_or((here, here));
    Some(json!({
        "type": "url_citation",
        "start_index": start,
        "end_index": end,
        "url": url,
        "title": annotation.title.as_deref().unwrap_or_default(),
    }))
}
