//! Reads what texts refer to, and how likely their tokens were (Cohere API Reference, `Citation`, `LogprobItem`).

use serde_json::{Value, json};

use crate::dialects::conversation::Annotation;

/// A citation in a text. `None` for one in a thought or a plan, which is no part of the answer.
pub(super) fn annotation(citation: &Value) -> Option<Annotation> {
    if citation["type"].as_str().is_some_and(|kind| kind != "TEXT_CONTENT") {
        return None;
    }
    let sources = citation["sources"].as_array().into_iter().flatten();
    let documents = || sources.clone().flat_map(|source| [&source["document"], &source["tool_output"]]);
    let first = |names: &[&str]| {
        let mut texts = documents().flat_map(|document| names.iter().filter_map(|name| document[*name].as_str()));
        texts.next().map(str::to_owned)
    };
    Some(Annotation {
        url: first(&["url"]),
        title: first(&["title"]),
        cited: first(&["text", "snippet", "content"]),
        range: citation["start"].as_u64().zip(citation["end"].as_u64()),
        raw: citation.clone(),
    })
}

/// Probabilities in the form of OpenAI's chat. The API tells those of all tokens of a piece of text, which are taken
/// together where the piece is of several.
pub(super) fn logprob(item: &Value) -> Option<Value> {
    let text = item["text"].as_str()?;
    let logprob: f64 = item["logprobs"].as_array()?.iter().filter_map(Value::as_f64).sum();
    Some(json!({ "token": text, "logprob": logprob, "bytes": text.as_bytes(), "top_logprobs": [] }))
}
