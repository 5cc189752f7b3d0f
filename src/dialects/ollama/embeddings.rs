//! `/api/embed`, on both sides, and its older form `/api/embeddings` for clients.

use serde_json::{Map, Value, json};

use super::fields::{Fields, refusal};
use super::options;
use crate::dialects::conversation::{EmbeddingInput, Embeddings, EmbeddingsRequest, Wishes};
use crate::dialects::front::Refusal;
use crate::dialects::provider::{Lost, Malformed, Sent, Target, Unfit};

/// Reads a client's request for vectors.
///
/// # Errors
/// What is wrong with it, in words for the client.
pub fn read_embed(body: &[u8]) -> Result<EmbeddingsRequest, Refusal> {
    let mut body = Fields::of_body(body)?;
    let model = body.text("model")?.filter(|model| !model.is_empty());
    let Some(model) = model else { return Err(Refusal::of("model", "`model` is missing")) };
    // The older form is for one text, under another name.
    let (texts, prompt) = (body.take("input"), body.take("prompt"));
    let is_batch = prompt.is_none();
    let inputs = match texts.or(prompt) {
        Some(Value::String(text)) => vec![EmbeddingInput::Text(text)],
        Some(Value::Array(texts)) if !texts.is_empty() => {
            texts.into_iter().enumerate().map(input).collect::<Result<_, _>>()?
        }
        _ => return Err(refusal("input", "a text or a list of texts")),
    };
    let dimensions = match body.take("dimensions") {
        None => None,
        Some(number) => match number.as_u64() {
            // None in particular.
            Some(0) => None,
            Some(dimensions) => Some(dimensions),
            None => return Err(refusal("dimensions", "a whole number")),
        },
    };
    let mut wishes = Wishes::default();
    options::read(&mut body, &mut wishes)?;
    body.leave(&mut wishes);
    Ok(EmbeddingsRequest { model, inputs, dimensions, is_batch, wishes, ..EmbeddingsRequest::default() })
}

fn input((at, text): (usize, Value)) -> Result<EmbeddingInput, Refusal> {
    match text {
        Value::String(text) => Ok(EmbeddingInput::Text(text)),
        _ => Err(refusal(&format!("input[{at}]"), "a text")),
    }
}

/// Writes vectors for the client that asked for them.
pub fn write_embed(embeddings: &Embeddings, asked: &EmbeddingsRequest) -> Vec<u8> {
    if !asked.is_batch {
        return json!({ "embedding": embeddings.vectors.first() }).to_string().into_bytes();
    }
    let model = if embeddings.model.is_empty() { &*asked.model } else { &*embeddings.model };
    let mut body = Map::new();
    body.insert("model".to_owned(), Value::from(model));
    body.insert("embeddings".to_owned(), json!(embeddings.vectors));
    if let Some(tokens) = embeddings.tokens {
        body.insert("prompt_eval_count".to_owned(), Value::from(tokens));
    }
    Value::Object(body).to_string().into_bytes()
}

/// Writes a request to an upstream.
pub(super) fn request(request: &EmbeddingsRequest, target: &Target<'_>) -> Result<Sent, Unfit> {
    let text = |(at, input): (usize, &EmbeddingInput)| match input {
        EmbeddingInput::Text(text) => Ok(Value::from(text.as_str())),
        EmbeddingInput::Tokens(_) => {
            Err(Unfit::of(format!("input[{at}]"), "tokens mean nothing to another provider's models: send texts"))
        }
    };
    let inputs: Vec<Value> = request.inputs.iter().enumerate().map(text).collect::<Result<_, _>>()?;
    let mut body = Map::new();
    body.insert("model".to_owned(), Value::from(target.model));
    body.insert("input".to_owned(), Value::Array(inputs));
    if let Some(dimensions) = request.dimensions {
        body.insert("dimensions".to_owned(), Value::from(dimensions));
    }
    let open = request.wishes.open();
    options::write(&open, &mut body);
    let mut lost = Lost::of_wishes(open.left());
    if request.task.is_some() {
        lost.push(Lost { name: "task".to_owned(), is_hint: true });
    }
    Ok(Sent {
        path: "/api/embed".to_owned(),
        body: Value::Object(body).to_string().into_bytes(),
        lost,
        unique: target.unique.to_owned(),
        ..Sent::default()
    })
}

/// Reads an upstream's vectors.
pub(super) fn read(body: &[u8]) -> Result<Embeddings, Malformed> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| Malformed("vectors that are no JSON"))?;
    let vectors = answer.get("embeddings").and_then(Value::as_array).ok_or(Malformed("no `embeddings`"))?;
    let numbers = |vector: &Value| vector.as_array()?.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>();
    let vectors =
        vectors.iter().map(numbers).collect::<Option<Vec<_>>>().ok_or(Malformed("a vector that is none"))?;
    let model = answer.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Embeddings { model, vectors, tokens: answer.get("prompt_eval_count").and_then(Value::as_u64) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::conversation::Wish;

    #[test]
    fn one_text_or_several() {
        let read = |body: Value| read_embed(body.to_string().as_bytes());
        let one = read(json!({"model": "m", "input": "a", "truncate": true, "keep_alive": 0})).expect("a request");
        assert_eq!(one.inputs, [EmbeddingInput::Text("a".to_owned())]);
        assert_eq!(one.wishes.get(Wish::Loading), Some(&json!(0)));
        let two = read(json!({"model": "m", "input": ["a", "b"], "dimensions": 3, "truncate": false}));
        let two = two.expect("a request");
        assert_eq!((two.inputs.len(), two.dimensions), (2, Some(3)));
        assert_eq!(two.wishes.open().left(), [(Wish::Other, "truncate")]);
        let older = read(json!({"model": "m", "prompt": "a"})).expect("a request");
        assert_eq!(older.inputs, one.inputs);
        let vectors = Embeddings { vectors: vec![vec![0.5]], ..Embeddings::default() };
        assert_eq!(write_embed(&vectors, &older), br#"{"embedding":[0.5]}"#);
        for wrong in [json!({"model": "m"}), json!({"model": "m", "input": [1]}), json!({"input": "a"})] {
            assert!(read(wrong).is_err());
        }
    }

    #[test]
    fn there_and_back() {
        let asked = EmbeddingsRequest {
            inputs: vec![EmbeddingInput::Text("a".to_owned())],
            dimensions: Some(2),
            ..EmbeddingsRequest::default()
        };
        let sent = request(&asked, &Target { model: "nomic", unique: "1" }).expect("fits");
        assert_eq!(&*sent.body, br#"{"model":"nomic","input":["a"],"dimensions":2}"#);
        let tokens = EmbeddingsRequest { inputs: vec![EmbeddingInput::Tokens(vec![1])], ..asked };
        assert!(request(&tokens, &Target { model: "nomic", unique: "1" }).is_err());
        let vectors = Embeddings { model: "nomic".to_owned(), vectors: vec![vec![0.5, -1.0]], tokens: Some(4) };
        let batch = EmbeddingsRequest { is_batch: true, ..EmbeddingsRequest::default() };
        assert_eq!(read(&write_embed(&vectors, &batch)), Ok(vectors));
        assert!(read(b"{}").is_err());
        assert!(read(br#"{"embeddings":[["a"]]}"#).is_err());
    }
}
