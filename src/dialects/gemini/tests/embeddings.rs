//! Vectors.

use serde_json::{Value, json};

use super::UNIQUE;
use crate::dialects::conversation::{EmbeddingInput, EmbeddingsRequest};
use crate::dialects::gemini::{FRONT, PROVIDER, VERTEX};
use crate::dialects::{Place, Provider, Target};

fn read(body: &Value) -> EmbeddingsRequest {
    let place = Place { model: Some("gemini-embedding-001"), stream: None };
    FRONT.read_embed(body.to_string().as_bytes(), &place).expect("a request that can be read")
}

#[test]
fn one_text_and_many_are_read_and_written() {
    let content = |text: &str| json!({"parts": [{"text": text}]});
    let one = read(&json!({"content": content("a"), "taskType": "RETRIEVAL_QUERY", "output_dimensionality": 3}));
    assert_eq!((one.task.as_deref(), one.dimensions), (Some("query"), Some(3)));
    assert_eq!(one.inputs, [EmbeddingInput::Text("a".into())]);
    let many = json!({"requests": [
        {"model": "models/gemini-embedding-001", "content": content("a"), "taskType": "CLUSTERING"},
        {"model": "models/gemini-embedding-001", "content": content("b"), "taskType": "CLUSTERING"},
    ]});
    let request = read(&many);
    let sent = |provider: &dyn Provider, model| {
        let sent = provider.embed(&request, &Target { model, unique: UNIQUE }).expect("writable");
        assert!(sent.lost.is_empty());
        (sent.path, serde_json::from_slice::<Value>(&sent.body).expect("JSON"))
    };
    let path = "/models/gemini-embedding-001:batchEmbedContents".to_owned();
    assert_eq!(sent(&PROVIDER, "gemini-embedding-001"), (path, many));
    let instance = |text| json!({"content": text, "task_type": "CLUSTERING"});
    let body = json!({"instances": [instance("a"), instance("b")]});
    let path = "/publishers/google/models/text-embedding-005:predict".to_owned();
    assert_eq!(sent(&VERTEX, "text-embedding-005"), (path, body));
    let each = |text| json!({"content": content(text), "embedContentConfig": {"taskType": "CLUSTERING"}});
    let body = json!({"requests": [each("a"), each("b")]});
    let path = "/publishers/google/models/gemini-embedding-2:batchEmbedContents".to_owned();
    assert_eq!(sent(&VERTEX, "gemini-embedding-2"), (path, body));
}

#[test]
fn vectors_are_read_in_every_form() {
    let all = |body: Value| PROVIDER.embeddings(body.to_string().as_bytes()).expect("vectors");
    let batch = all(json!({"embeddings": [{"values": [1.0, 2.0]}, {"values": [3.0, 4.0]}],
        "usageMetadata": {"promptTokenCount": 7}}));
    assert_eq!((batch.vectors.len(), batch.tokens), (2, Some(7)));
    let predicted = all(json!({"predictions": [
        {"embeddings": {"values": [1.0], "statistics": {"token_count": 2}}},
        {"embeddings": {"values": [2.0], "statistics": {"token_count": 3}}},
    ]}));
    assert_eq!((predicted.vectors, predicted.tokens), (vec![vec![1.0], vec![2.0]], Some(5)));
    let body = FRONT.write_embed(&batch, true);
    assert_eq!(PROVIDER.embeddings(&body), Ok(batch.clone()));
    let one: Value = serde_json::from_slice(&FRONT.write_embed(&batch, false)).expect("JSON");
    assert_eq!(one, json!({"embedding": {"values": [1.0, 2.0]}, "usageMetadata": {"promptTokenCount": 7}}));
    assert!(PROVIDER.embeddings(b"{}").is_err() && PROVIDER.embeddings(br#"{"embedding": {}}"#).is_err());
}

#[test]
fn what_cannot_be_embedded_is_refused() {
    let place = Place { model: Some("m"), stream: None };
    for (body, param) in [
        (json!({}), "content"),
        (json!({"requests": []}), "content"),
        (json!({"content": {"parts": [{"inlineData": {}}]}}), "content.parts[0]"),
        (
            json!({"requests": [
                {"content": {"parts": [{"text": "a"}]}},
                {"content": {"parts": [{"text": "b"}]}, "outputDimensionality": 3},
            ]}),
            "requests[1]",
        ),
    ] {
        let refusal = FRONT.read_embed(body.to_string().as_bytes(), &place).expect_err("refused");
        assert_eq!(refusal.param.as_deref(), Some(param));
    }
    let request =
        EmbeddingsRequest { inputs: vec![EmbeddingInput::Tokens(vec![1])], ..EmbeddingsRequest::default() };
    assert!(PROVIDER.embed(&request, &Target { model: "m", unique: UNIQUE }).is_err());
}
