//! The small surfaces: models, moderations, rerank, files, batches.

use std::collections::BTreeSet;

use http::Response;
use serde_json::{Map, Value, json};

use super::ask::{collect_text, model};
use super::body::Body;
use super::media::{field, file};
use super::respond::{Birth, Refusal, object};
use super::script::count;
use super::store::Store;

/// Names that `GET /v1/models` lists. Others are answered too; [`FAST_MODEL`] has no delays.
const MODELS: &[&str] = &["demo", FAST_MODEL, "demo-embedding"];

/// The model that answers without any delay.
pub(super) const FAST_MODEL: &str = "demo-fast";

/// Categories of a moderation.
const CATEGORIES: &[&str] = &[
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

/// A model as an object.
pub(super) fn model_object(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 1_767_225_600, "owned_by": "millstream-demo"})
}

/// `GET /v1/models`
pub(super) fn models() -> Response<Body> {
    let data: Vec<_> = MODELS.iter().map(|name| model_object(name)).collect();
    object(&json!({"object": "list", "data": data}))
}

/// `POST /v1/moderations`: flags nothing but plain words of violence.
pub(super) fn moderations(body: &Value) -> Response<Body> {
    let inputs = match body.get("input") {
        Some(Value::Array(list)) => list.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    let result = |input: &Value| {
        let mut text = String::new();
        collect_text(input, &mut text);
        let text = text.to_lowercase();
        let violent = ["kill", "murder", "stab"].iter().any(|word| text.contains(word));
        let hit = |name: &str| violent && name == "violence";
        let categories: Map<_, _> = CATEGORIES.iter().map(|name| ((*name).to_owned(), hit(name).into())).collect();
        let score = |name: &str| Value::from(if hit(name) { 0.93 } else { 0.0001 });
        let scores: Map<_, _> = CATEGORIES.iter().map(|name| ((*name).to_owned(), score(name))).collect();
        let types: Map<_, _> = CATEGORIES.iter().map(|name| ((*name).to_owned(), json!(["text"]))).collect();
        json!({
            "flagged": violent, "categories": categories, "category_scores": scores,
            "category_applied_input_types": types,
        })
    };
    let results: Vec<_> = inputs.iter().map(result).collect();
    let name = body.get("model").and_then(Value::as_str).unwrap_or("demo");
    object(&json!({"id": Birth::now().id("modr-"), "model": name, "results": results}))
}

/// `POST /v1/rerank`: by the share of the query's words that a document contains.
pub(super) fn rerank(body: &Value) -> Result<Response<Body>, Refusal> {
    let name = model(body)?;
    let query = body
        .get("query")
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::field("query", "'query' must be a string"))?;
    let documents = body
        .get("documents")
        .and_then(Value::as_array)
        .ok_or_else(|| Refusal::field("documents", "'documents' must be a list"))?;
    let wanted = words(query);
    let mut tokens = count(query);
    let mut scored: Vec<(usize, f64, &Value)> = Vec::with_capacity(documents.len());
    for (index, document) in documents.iter().enumerate() {
        let mut text = String::new();
        collect_text(document, &mut text);
        tokens += count(&text);
        let shared = words(&text).intersection(&wanted).count();
        scored.push((index, shared as f64 / wanted.len().max(1) as f64, document));
    }
    // Stable: equal scores keep the order of the request.
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    let top = body.get("top_n").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    scored.truncate(top.unwrap_or(usize::MAX));
    let with_documents = body.get("return_documents") == Some(&Value::Bool(true));
    let result = |(index, score, document): (usize, f64, &Value)| {
        let mut result = json!({"index": index, "relevance_score": score});
        if with_documents && let Some(fields) = result.as_object_mut() {
            fields.insert("document".to_owned(), document.clone());
        }
        result
    };
    let results: Vec<_> = scored.into_iter().map(result).collect();
    let id = Birth::now().id("rerank-");
    Ok(object(&json!({"id": id, "model": name, "results": results, "usage": {"total_tokens": tokens}})))
}

fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// `POST /v1/files`: keeps the file's description, not its content.
pub(super) fn create_file(form: &[u8], store: &mut Store) -> Result<Response<Body>, Refusal> {
    let (filename, bytes) = file(form).ok_or_else(|| Refusal::field("file", "the form has no file"))?;
    let birth = Birth::now();
    let purpose = field(form, "purpose").unwrap_or_else(|| "user_data".to_owned());
    let created = json!({
        "id": birth.id("file-"), "object": "file", "bytes": bytes, "created_at": birth.seconds(),
        "filename": filename, "purpose": purpose, "status": "processed",
    });
    store.files.put(created.clone());
    Ok(object(&created))
}

/// `POST /v1/batches`: a batch that is done as soon as it is made.
pub(super) fn create_batch(body: &Value, store: &mut Store) -> Result<Response<Body>, Refusal> {
    let input = body
        .get("input_file_id")
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::field("input_file_id", "'input_file_id' must be a string"))?;
    if store.files.get(input).is_none() {
        return Err(Refusal::missing("file", input));
    }
    let birth = Birth::now();
    let now = birth.seconds();
    let created = json!({
        "id": birth.id("batch_"), "object": "batch", "endpoint": body.get("endpoint"), "errors": null,
        "input_file_id": input, "completion_window": body.get("completion_window"), "status": "completed",
        "output_file_id": null, "error_file_id": null, "created_at": now, "in_progress_at": now,
        "completed_at": now, "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": body.get("metadata"),
    });
    store.batches.put(created.clone());
    Ok(object(&created))
}
