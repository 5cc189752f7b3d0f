//! Embeddings (Cohere API Reference, `v2/embed`).

use serde_json::{Map, Value, json};

use super::answer_in::whole;
use crate::dialects::conversation::{EmbeddingInput, Embeddings, EmbeddingsRequest};
use crate::dialects::provider::{Lost, Malformed, Sent, Target, Unfit};

/// Texts of a request.
const TEXTS_MAX: usize = 96;
/// What the API has beside everybody's settings, by its own names.
const OWN: [&str; 3] = ["truncate", "max_tokens", "priority"];

/// A request for vectors.
pub(super) fn request(request: &EmbeddingsRequest, target: &Target<'_>) -> Result<Sent, Unfit> {
    if request.inputs.len() > TEXTS_MAX {
        return Err(Unfit::of("input", format!("no more than {TEXTS_MAX} texts are embedded at once")));
    }
    let texts: Option<Vec<&str>> = request.inputs.iter().map(text).collect();
    let texts = texts.ok_or_else(|| Unfit::of("input", "tokens mean something else to this model: send texts"))?;
    let open = request.wishes.open();
    let mut body = Map::new();
    body.insert("model".to_owned(), target.model.into());
    body.insert("texts".to_owned(), texts.into());
    let given = open.take_named("input_type").and_then(Value::as_str);
    let kind = given.or(request.task.as_deref()).map_or(Some("search_document"), input_type);
    body.insert("input_type".to_owned(), kind.unwrap_or("search_document").into());
    body.insert("embedding_types".to_owned(), json!(["float"]));
    if let Some(dimensions) = request.dimensions {
        body.insert("output_dimension".to_owned(), dimensions.into());
    }
    for name in OWN {
        if let Some(value) = open.take_named(name) {
            body.insert(name.to_owned(), value.clone());
        }
    }
    let mut lost = Lost::of_wishes(open.left());
    if kind.is_none() {
        lost.push(Lost { name: "task".to_owned(), is_hint: true });
    }
    Ok(Sent {
        path: "/embed".to_owned(),
        body: Value::Object(body).to_string().into_bytes(),
        lost,
        unique: target.unique.to_owned(),
        ..Sent::default()
    })
}

/// Reads vectors.
pub(super) fn vectors(body: &[u8]) -> Result<Embeddings, Malformed> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Malformed("no JSON"))?;
    let all = body["embeddings"]["float"].as_array().ok_or(Malformed("no vectors"))?;
    let vector = |vector: &Value| vector.as_array()?.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>();
    let vectors: Option<Vec<Vec<f64>>> = all.iter().map(vector).collect();
    Ok(Embeddings {
        model: String::new(),
        vectors: vectors.ok_or(Malformed("a vector that is none"))?,
        tokens: body["meta"]["billed_units"]["input_tokens"].as_f64().and_then(whole),
    })
}

fn text(input: &EmbeddingInput) -> Option<&str> {
    match input {
        EmbeddingInput::Text(text) => Some(text),
        EmbeddingInput::Tokens(_) => None,
    }
}

/// The API's word for what vectors are for, from its own, Gemini's or everybody's.
fn input_type(task: &str) -> Option<&'static str> {
    Some(match &*task.to_ascii_lowercase() {
        "query"
        | "search_query"
        | "retrieval_query"
        | "question_answering"
        | "fact_verification"
        | "code_retrieval_query" => "search_query",
        "document" | "passage" | "search_document" | "retrieval_document" => "search_document",
        "classification" => "classification",
        "clustering" => "clustering",
        _ => return None,
    })
}
