//! Embeddings, which are asked for through `InvokeModel` in the form of each model's maker (Amazon Bedrock User Guide,
//! "Inference request parameters": Amazon Titan Embeddings, Cohere Embed; Amazon Nova User Guide, "Embeddings").

use serde_json::{Value, json};

use super::request_out::path;
use crate::dialects::conversation::{EmbeddingInput, Embeddings, EmbeddingsRequest};
use crate::dialects::provider::{Lost, Malformed, Sent, Target, Unfit};

/// Texts of a request to Cohere's models. The others take one.
const TEXTS_MAX: usize = 96;

/// A request for vectors.
pub(super) fn request(request: &EmbeddingsRequest, target: &Target<'_>) -> Result<Sent, Unfit> {
    let texts: Option<Vec<&str>> = request.inputs.iter().map(text).collect();
    let texts = texts.ok_or_else(|| Unfit::of("input", "tokens mean something else to this model: send texts"))?;
    let open = request.wishes.open();
    let mut lost = Vec::new();
    let mut body = if target.model.contains("cohere.embed") {
        cohere(&texts, request)?
    } else if target.model.contains("amazon.titan-embed") {
        titan(only(&texts)?, request, target.model, &mut lost)
    } else if target.model.contains("amazon.nova") && target.model.contains("embed") {
        nova(only(&texts)?, request)
    } else {
        return Err(Unfit::new(format!("how the model `{}` embeds is not known", target.model)));
    };
    // What Cohere's and Titan's have beside everybody's settings.
    for (name, beside) in [("truncate", "texts"), ("normalize", "inputText")] {
        if body.get(beside).is_some()
            && let Some(value) = open.take_named(name)
        {
            body[name] = value.clone();
        }
    }
    lost.extend(Lost::of_wishes(open.left()));
    Ok(Sent {
        path: path(target.model, "invoke"),
        body: body.to_string().into_bytes(),
        lost,
        unique: target.unique.to_owned(),
        ..Sent::default()
    })
}

fn text(input: &EmbeddingInput) -> Option<&str> {
    match input {
        EmbeddingInput::Text(text) => Some(text),
        EmbeddingInput::Tokens(_) => None,
    }
}

fn only<'a>(texts: &[&'a str]) -> Result<&'a str, Unfit> {
    match texts {
        [text] => Ok(text),
        _ => Err(Unfit::of("input", "this model embeds one text at a time")),
    }
}

fn cohere(texts: &[&str], request: &EmbeddingsRequest) -> Result<Value, Unfit> {
    if texts.len() > TEXTS_MAX {
        return Err(Unfit::of("input", format!("no more than {TEXTS_MAX} texts are embedded at once")));
    }
    let input_type = match Purpose::of(request) {
        Purpose::Document => "search_document",
        Purpose::Query => "search_query",
        Purpose::Classification => "classification",
        Purpose::Clustering => "clustering",
    };
    let mut body = json!({ "texts": texts, "input_type": input_type, "embedding_types": ["float"] });
    if let Some(dimensions) = request.dimensions {
        body["output_dimension"] = dimensions.into();
    }
    Ok(body)
}

fn titan(text: &str, request: &EmbeddingsRequest, model: &str, lost: &mut Vec<Lost>) -> Value {
    let mut body = json!({ "inputText": text });
    match request.dimensions {
        Some(dimensions) if model.contains("image") => {
            body["embeddingConfig"] = json!({ "outputEmbeddingLength": dimensions });
        }
        // The first version has vectors of one length.
        Some(_) if model.contains("text-v1") => lost.push(Lost::new("dimensions")),
        Some(dimensions) => body["dimensions"] = dimensions.into(),
        None => {}
    }
    body
}

fn nova(text: &str, request: &EmbeddingsRequest) -> Value {
    let purpose = match Purpose::of(request) {
        Purpose::Document => "GENERIC_INDEX",
        Purpose::Query => "TEXT_RETRIEVAL",
        Purpose::Classification => "CLASSIFICATION",
        Purpose::Clustering => "CLUSTERING",
    };
    let text = json!({ "truncationMode": "NONE", "value": text });
    let mut params = json!({ "embeddingPurpose": purpose, "text": text });
    if let Some(dimensions) = request.dimensions {
        params["embeddingDimension"] = dimensions.into();
    }
    json!({ "taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params })
}

/// What vectors are for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Document,
    Query,
    Classification,
    Clustering,
}

impl Purpose {
    /// From any dialect's word; without one, the texts are those that are searched.
    fn of(request: &EmbeddingsRequest) -> Self {
        let task = request.task.as_deref().unwrap_or_default().to_ascii_lowercase();
        match &*task {
            "classification" => Self::Classification,
            "clustering" => Self::Clustering,
            "question_answering" | "fact_verification" => Self::Query,
            task if task.contains("query") => Self::Query,
            _ => Self::Document,
        }
    }
}

/// Reads vectors, in whichever maker's form.
pub(super) fn vectors(body: &[u8]) -> Result<Embeddings, Malformed> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Malformed("no JSON"))?;
    let list = match &body["embeddings"] {
        Value::Object(by_type) => by_type.get("float").and_then(Value::as_array),
        list => list.as_array(),
    };
    let vectors: Option<Vec<Vec<f64>>> = match (list, &body["embedding"]) {
        (Some(list), _) => list.iter().map(vector).collect(),
        (None, one) => vector(one).map(|one| vec![one]),
    };
    let vectors = vectors.ok_or(Malformed("no vectors"))?;
    Ok(Embeddings { model: String::new(), vectors, tokens: body["inputTextTokenCount"].as_u64() })
}

/// A vector, or an object that holds one.
fn vector(value: &Value) -> Option<Vec<f64>> {
    let numbers = value.as_array().or_else(|| value["embedding"].as_array())?;
    numbers.iter().map(Value::as_f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(texts: &[&str], dimensions: Option<u64>, task: Option<&str>) -> EmbeddingsRequest {
        let inputs = texts.iter().map(|text| EmbeddingInput::Text((*text).to_owned())).collect();
        let task = task.map(str::to_owned);
        EmbeddingsRequest { inputs, dimensions, task, ..EmbeddingsRequest::default() }
    }

    fn write(asked: &EmbeddingsRequest, model: &str) -> Result<(Sent, Value), Unfit> {
        let sent = request(asked, &Target { model, unique: "00" })?;
        let body = serde_json::from_slice(&sent.body).expect("JSON");
        Ok((sent, body))
    }

    #[test]
    fn each_maker_has_its_form() {
        for (model, texts, expected) in [
            ("amazon.titan-embed-text-v2:0", vec!["a"], json!({ "inputText": "a", "dimensions": 256 })),
            ("amazon.titan-embed-text-v1", vec!["a"], json!({ "inputText": "a" })),
            (
                "cohere.embed-v4:0",
                vec!["a", "b"],
                json!({
                    "texts": ["a", "b"],
                    "input_type": "search_query",
                    "embedding_types": ["float"],
                    "output_dimension": 256,
                }),
            ),
            (
                "amazon.nova-2-multimodal-embeddings-v1:0",
                vec!["a"],
                json!({ "taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {
                    "embeddingPurpose": "TEXT_RETRIEVAL",
                    "text": { "truncationMode": "NONE", "value": "a" },
                    "embeddingDimension": 256,
                } }),
            ),
        ] {
            let (sent, body) =
                write(&asked(&texts, Some(256), Some("RETRIEVAL_QUERY")), model).expect("a request");
            assert_eq!(body, expected);
            assert!(sent.path.ends_with("/invoke"), "{}", sent.path);
            assert_eq!(sent.lost.is_empty(), !model.ends_with("text-v1"));
        }
        assert!(write(&asked(&["a", "b"], None, None), "amazon.titan-embed-text-v2:0").is_err());
        assert!(write(&asked(&["a"], None, None), "meta.llama3").is_err());
    }

    #[test]
    fn vectors_are_read_in_each_form() {
        for (body, count, tokens) in [
            (json!({ "embedding": [0.5, 1], "inputTextTokenCount": 3 }), 1, Some(3)),
            (json!({ "embeddings": { "float": [[0.5, 1], [0.5, 1]] } }), 2, None),
            (json!({ "embeddings": [[0.5, 1]] }), 1, None),
            (json!({ "embeddings": [{ "embeddingType": "TEXT", "embedding": [0.5, 1] }] }), 1, None),
        ] {
            let read = vectors(body.to_string().as_bytes()).expect("vectors");
            assert_eq!((read.vectors, read.tokens), (vec![vec![0.5, 1.0]; count], tokens));
        }
        assert!(vectors(b"{}").is_err());
    }
}
