//! `OpenAI`'s embeddings ("Embeddings API reference"), which clients speak and most providers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::chat;
use super::conversation::{EmbeddingInput, Embeddings, EmbeddingsRequest, Wish};
use super::json::{list, number, owned, text};
use super::{Lost, Malformed, Place, Refusal, Sent, Target};

/// What stands for what the vectors are for, in the words of those who know such: Voyage and Nvidia, Cohere's compatible
/// server, Jina.
const TASKS: [&str; 2] = ["input_type", "task"];

/// Reads a client's request.
///
/// # Errors
/// What is wrong with it, in words for the client.
pub fn read(body: &[u8], place: &Place<'_>) -> Result<EmbeddingsRequest, Refusal> {
    let body = chat::object(body)?;
    let model = body.get("model").and_then(Value::as_str).or(place.model);
    let model = model.ok_or_else(|| Refusal::of("model", "`model` must be a string"))?.to_owned();
    let mut request =
        EmbeddingsRequest { model, inputs: inputs(body.get("input"))?, ..EmbeddingsRequest::default() };
    for (name, value) in &body {
        match name.as_str() {
            "model" | "input" => {}
            "dimensions" if !value.is_null() => request.dimensions = Some(dimensions(value)?),
            "encoding_format" => request.base64 = is_base64(value)?,
            name if TASKS.contains(&name) && value.is_string() => request.task = value.as_str().map(str::to_owned),
            "user" if value.is_string() => request.wishes.add(Wish::User, name, value.clone()),
            name => request.wishes.add(Wish::Other, name, value.clone()),
        }
    }
    Ok(request)
}

fn inputs(value: Option<&Value>) -> Result<Vec<EmbeddingInput>, Refusal> {
    let wrong = || Refusal::of("input", "`input` must be a string, a list of strings, or tokens");
    let list = match value {
        Some(Value::String(text)) => return Ok(vec![EmbeddingInput::Text(text.clone())]),
        Some(Value::Array(list)) if !list.is_empty() => list,
        _ => return Err(wrong()),
    };
    if let Some(tokens) = tokens(list) {
        return Ok(vec![EmbeddingInput::Tokens(tokens)]);
    }
    let read = list.iter().map(|item| match item {
        Value::String(text) => Ok(EmbeddingInput::Text(text.clone())),
        Value::Array(list) => tokens(list).map(EmbeddingInput::Tokens).ok_or_else(wrong),
        _ => Err(wrong()),
    });
    read.collect()
}

fn tokens(list: &[Value]) -> Option<Vec<u64>> {
    list.iter().map(Value::as_u64).collect()
}

fn dimensions(value: &Value) -> Result<u64, Refusal> {
    let wrong = || Refusal::of("dimensions", "`dimensions` must be a whole number above 0");
    value.as_u64().filter(|dimensions| *dimensions > 0).ok_or_else(wrong)
}

/// The SDKs ask for base64 where the program did not say, and decode it.
fn is_base64(value: &Value) -> Result<bool, Refusal> {
    match value.as_str() {
        Some("base64") => Ok(true),
        Some("float") => Ok(false),
        None if value.is_null() => Ok(false),
        _ => Err(Refusal::of("encoding_format", "`encoding_format` must be `float` or `base64`")),
    }
}

/// Writes vectors for a client who has sent `request`.
pub fn write(embeddings: &Embeddings, request: &EmbeddingsRequest) -> Vec<u8> {
    let vectors = embeddings.vectors.iter().enumerate().map(|(index, vector)| {
        let vector = if request.base64 { json!(STANDARD.encode(bytes(vector))) } else { json!(vector) };
        json!({ "object": "embedding", "index": index, "embedding": vector })
    });
    let vectors: Vec<_> = vectors.collect();
    let model = if embeddings.model.is_empty() { &request.model } else { &embeddings.model };
    let tokens = embeddings.tokens.unwrap_or(0);
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    json!({ "object": "list", "data": vectors, "model": model, "usage": usage }).to_string().into_bytes()
}

/// 32-bit floats, the lowest byte first.
fn bytes(vector: &[f64]) -> Vec<u8> {
    #[expect(clippy::cast_possible_truncation, reason = "the form has 32 bits, and so have most models")]
    let narrow = |number: &f64| (*number as f32).to_le_bytes();
    vector.iter().flat_map(narrow).collect()
}

/// Writes a request for a provider. Vectors come as numbers: base64 is not known everywhere.
pub fn send(request: &EmbeddingsRequest, target: &Target<'_>) -> Sent {
    let mut body = Map::new();
    let inputs: Vec<_> = request.inputs.iter().map(input).collect();
    // One text is sent as such: some servers know lists of texts and no lists of tokens.
    let one = <[Value; 1]>::try_from(inputs);
    body.insert("model".to_owned(), json!(target.model));
    body.insert("input".to_owned(), one.map_or_else(Value::Array, |[one]| one));
    if let Some(dimensions) = request.dimensions {
        body.insert("dimensions".to_owned(), json!(dimensions));
    }
    if let Some(task) = &request.task {
        body.insert("input_type".to_owned(), json!(task));
    }
    let open = request.wishes.open();
    if let Some(user) = open.take(Wish::User) {
        body.insert("user".to_owned(), user.clone());
    }
    Sent {
        path: "/embeddings".to_owned(),
        body: Value::Object(body).to_string().into_bytes(),
        lost: Lost::of_wishes(open.left()),
        unique: target.unique.to_owned(),
        ..Sent::default()
    }
}

fn input(input: &EmbeddingInput) -> Value {
    match input {
        EmbeddingInput::Text(text) => json!(text),
        EmbeddingInput::Tokens(tokens) => json!(tokens),
    }
}

/// Reads a provider's vectors, which come in the order of their `index`, whatever order they stand in.
///
/// # Errors
/// When there are none.
pub fn receive(body: &[u8]) -> Result<Embeddings, Malformed> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| Malformed("embeddings that are no JSON"))?;
    if !answer.get("data").is_some_and(Value::is_array) {
        return Err(Malformed("an answer without embeddings"));
    }
    let mut vectors = Vec::new();
    for (at, item) in (0..).zip(list(&answer, "data")) {
        let vector = vector(item).ok_or(Malformed("an embedding that is no vector"))?;
        vectors.push((number(item, "index").unwrap_or(at), vector));
    }
    vectors.sort_by_key(|(index, _)| *index);
    let usage = answer.get("usage").unwrap_or(&Value::Null);
    Ok(Embeddings {
        model: owned(&answer, "model").unwrap_or_default(),
        vectors: vectors.into_iter().map(|(_, vector)| vector).collect(),
        tokens: number(usage, "prompt_tokens").or_else(|| number(usage, "total_tokens")),
    })
}

fn vector(item: &Value) -> Option<Vec<f64>> {
    if let Some(text) = text(item, "embedding") {
        let bytes = STANDARD.decode(text).ok()?;
        let (floats, rest) = bytes.as_chunks::<4>();
        return rest
            .is_empty()
            .then(|| floats.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect());
    }
    item.get("embedding")?.as_array()?.iter().map(Value::as_f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: &Value) -> EmbeddingsRequest {
        read(body.to_string().as_bytes(), &Place::default()).expect("a request")
    }

    #[test]
    fn every_form_of_input_is_read_and_sent_on() {
        for (input, count) in [
            (json!("a"), 1),
            (json!(["a", "b"]), 2),
            (json!([1, 2, 3]), 1),
            (json!([[1, 2], [3]]), 2),
            (json!(["a", [3]]), 2),
        ] {
            let request = request(&json!({ "model": "m", "input": input }));
            assert_eq!(request.inputs.len(), count);
            let sent = send(&request, &Target { model: "n", unique: "u" });
            let body: Value = serde_json::from_slice(&sent.body).expect("JSON");
            assert_eq!(body, json!({ "model": "n", "input": input }));
            assert_eq!(sent.lost, []);
        }
        for input in [json!(null), json!([]), json!({}), json!([1.5]), json!([["a"]])] {
            let body = json!({ "model": "m", "input": input }).to_string();
            assert_eq!(
                read(body.as_bytes(), &Place::default()).expect_err("no input").param.as_deref(),
                Some("input")
            );
        }
    }

    #[test]
    fn settings_are_kept_or_named() {
        let request = request(&json!({
            "model": "m", "input": "a", "dimensions": 8, "encoding_format": "base64", "input_type": "query",
            "user": "u", "truncate": "END",
        }));
        assert_eq!((request.dimensions, request.base64, request.task.as_deref()), (Some(8), true, Some("query")));
        let sent = send(&request, &Target { model: "n", unique: "u" });
        assert_eq!(sent.lost, [Lost::new("truncate")]);
    }

    #[test]
    fn vectors_survive_both_encodings() {
        let embeddings =
            Embeddings { model: "m".to_owned(), vectors: vec![vec![0.5, -2.0], vec![1.0]], tokens: Some(3) };
        for base64 in [false, true] {
            let request = EmbeddingsRequest { base64, ..EmbeddingsRequest::default() };
            assert_eq!(receive(&write(&embeddings, &request)), Ok(embeddings.clone()));
        }
        let swapped = br#"{"data":[{"index":1,"embedding":[1]},{"index":0,"embedding":[0]}]}"#;
        assert_eq!(receive(swapped).expect("vectors").vectors, [[0.0], [1.0]]);
        for wrong in ["{}", "x", r#"{"data":[{"embedding":"?"}]}"#, r#"{"data":[{}]}"#] {
            assert!(receive(wrong.as_bytes()).is_err());
        }
    }
}
