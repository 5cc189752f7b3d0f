//! What a text refers to: Google's citations and groundings, read and written.

use serde_json::{Value, json};

use super::candidate_in::place;
use super::fields::{get, list, object, text};
use crate::dialects::conversation::Annotation;

/// Bytes of a text, and one piece more, within which places are found; citations of what comes behind say no place.
const SAID_BYTES_MAX: usize = 1024 * 1024;

/// Adds a piece to what was said, for the places of citations.
pub(super) fn remember(said: &mut String, piece: &str) {
    if said.len() < SAID_BYTES_MAX {
        said.push_str(piece);
    }
}

/// What a candidate says of its sources. `said` is its text so far.
pub(super) fn of_candidate(candidate: &Value, said: &str) -> Vec<Annotation> {
    let mut all = Vec::new();
    if let Some(grounding) = get(candidate, "groundingMetadata") {
        grounded(grounding, said, &mut all);
    }
    if let Some(citations) = get(candidate, "citationMetadata") {
        // The Gemini API calls them sources, Vertex AI citations.
        let sources = list(citations, "citationSources").iter().chain(list(citations, "citations"));
        all.extend(sources.map(|source| Annotation {
            url: text(source, "uri").map(str::to_owned),
            title: text(source, "title").map(str::to_owned),
            cited: None,
            range: range(source, said),
            raw: source.clone(),
        }));
    }
    all
}

/// One annotation for each source of each supported piece; without pieces, one for each source.
fn grounded(grounding: &Value, said: &str, all: &mut Vec<Annotation>) {
    let chunks = list(grounding, "groundingChunks");
    let source =
        |chunk: &Value| ["web", "maps", "retrievedContext"].iter().find_map(|kind| get(chunk, kind).cloned());
    let annotation = |chunk: &Value, support: Option<&Value>| {
        let source = source(chunk)?;
        let segment = support.and_then(|support| get(support, "segment"));
        Some(Annotation {
            url: text(&source, "uri").map(str::to_owned),
            title: text(&source, "title").map(str::to_owned),
            cited: segment.and_then(|segment| text(segment, "text")).map(str::to_owned),
            range: segment.and_then(|segment| range(segment, said)),
            raw: object([("groundingChunk", Some(chunk.clone())), ("groundingSupport", support.cloned())]),
        })
    };
    let supports = list(grounding, "groundingSupports");
    for support in supports {
        for at in list(support, "groundingChunkIndices").iter().filter_map(Value::as_u64) {
            let chunk = usize::try_from(at).ok().and_then(|at| chunks.get(at));
            all.extend(chunk.and_then(|chunk| annotation(chunk, Some(support))));
        }
    }
    if supports.is_empty() {
        all.extend(chunks.iter().filter_map(|chunk| annotation(chunk, None)));
    }
}

/// Google counts bytes, the common form characters.
fn range(source: &Value, said: &str) -> Option<(u64, u64)> {
    let end = place(source, "endIndex")?;
    let start = place(source, "startIndex").unwrap_or(0);
    let characters = |bytes: usize| {
        let before = said.get(..bytes)?;
        u64::try_from(before.chars().count()).ok()
    };
    Some((characters(start)?, characters(end)?)).filter(|(start, end)| start <= end)
}

/// `groundingMetadata` for sources that other providers give. `said` is the text that they count in.
pub(super) fn grounding(annotations: &[Annotation], said: &str) -> Value {
    let mut chunks: Vec<Value> = Vec::new();
    let mut supports = Vec::new();
    for annotation in annotations.iter().filter(|annotation| annotation.url.is_some()) {
        let web = object([
            ("uri", annotation.url.as_deref().map(Value::from)),
            ("title", annotation.title.as_deref().map(Value::from)),
        ]);
        let chunk = json!({ "web": web });
        let at = chunks.iter().position(|known| *known == chunk).unwrap_or_else(|| {
            chunks.push(chunk);
            chunks.len() - 1
        });
        if let Some((start, end)) = annotation.range {
            let (start, end) = (bytes(said, start), bytes(said, end));
            let words = said.get(start..end).map(Value::from);
            let segment =
                object([("startIndex", Some(start.into())), ("endIndex", Some(end.into())), ("text", words)]);
            supports.push(json!({ "segment": segment, "groundingChunkIndices": [at] }));
        }
    }
    let supports = (!supports.is_empty()).then_some(Value::Array(supports));
    object([("groundingChunks", Some(Value::Array(chunks))), ("groundingSupports", supports)])
}

fn bytes(said: &str, characters: u64) -> usize {
    let at = usize::try_from(characters).unwrap_or(usize::MAX);
    said.char_indices().nth(at).map_or(said.len(), |(bytes, _)| bytes)
}
