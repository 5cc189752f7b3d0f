//! Vectors: `embedContent` and `batchEmbedContents` of the Gemini API, and `predict` of Vertex AI.

use serde_json::{Value, json};

use super::Cloud;
use super::fields::{camel, get, list, object, text, whole};
use super::model::Model;
use super::request_in::{model, parse};
use crate::dialects::conversation::{EmbeddingInput, Embeddings, EmbeddingsRequest, Wish};
use crate::dialects::{Lost, Malformed, Place, Refusal, Sent, Target, Unfit};

/// Texts of one request. Google takes 100; other providers up to 2048.
const INPUTS_MAX: usize = 2048;

/// Reads a client's request, which is for one text or, as a list of such requests, for several.
pub(super) fn read(body: &[u8], place: &Place<'_>) -> Result<EmbeddingsRequest, Refusal> {
    let body = parse(body)?;
    let mut request = EmbeddingsRequest { model: model(&body, place)?, ..EmbeddingsRequest::default() };
    if get(&body, "requests").is_some() {
        request.is_batch = true;
        several(list(&body, "requests"), &mut request)?;
    } else {
        one("", &body, &mut request)?;
    }
    if request.inputs.is_empty() { Err(Refusal::of("content", "there is nothing to embed")) } else { Ok(request) }
}

fn several(all: &[Value], request: &mut EmbeddingsRequest) -> Result<(), Refusal> {
    if all.len() > INPUTS_MAX {
        return Err(Refusal::of("requests", format!("more than {INPUTS_MAX} requests")));
    }
    for (at, each) in all.iter().enumerate() {
        let mut alone = EmbeddingsRequest::default();
        one(&format!("requests[{at}]."), each, &mut alone)?;
        if at == 0 {
            (request.dimensions, request.task) = (alone.dimensions, alone.task);
            request.wishes = alone.wishes;
        } else if (request.dimensions, &request.task) != (alone.dimensions, &alone.task) {
            let why = "all requests of one batch must be for the same task and length";
            return Err(Refusal::of(format!("requests[{at}]"), why));
        }
        request.inputs.append(&mut alone.inputs);
    }
    Ok(())
}

fn one(path: &str, body: &Value, request: &mut EmbeddingsRequest) -> Result<(), Refusal> {
    let mut input = String::new();
    let content =
        get(body, "content").ok_or_else(|| Refusal::of(format!("{path}content"), "content is required"))?;
    for (at, part) in list(content, "parts").iter().enumerate() {
        let text = text(part, "text");
        let param = || format!("{path}content.parts[{at}]");
        input.push_str(text.ok_or_else(|| Refusal::of(param(), "only texts can be embedded here"))?);
    }
    request.inputs.push(EmbeddingInput::Text(input));
    // Vertex AI has the settings in an object of their own.
    for settings in [Some(body), get(body, "embedContentConfig")].into_iter().flatten() {
        for (name, value) in settings.as_object().into_iter().flatten() {
            match &*camel(name) {
                "model" | "content" | "embedContentConfig" | "requests" => {}
                "taskType" => request.task = value.as_str().map(task_in),
                "outputDimensionality" => request.dimensions = whole(settings, "outputDimensionality"),
                other => request.wishes.add(Wish::Other, format!("{path}{other}"), value.clone()),
            }
        }
    }
    Ok(())
}

fn task_in(word: &str) -> String {
    match word {
        "RETRIEVAL_QUERY" => "query".to_owned(),
        "RETRIEVAL_DOCUMENT" => "document".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

/// Google's word for a task, whatever the client calls it (Gemini API reference, `TaskType`).
fn task_out(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_uppercase().replace('-', "_");
    Some(match &*word {
        "QUERY" | "SEARCH_QUERY" | "RETRIEVAL_QUERY" => "RETRIEVAL_QUERY",
        "DOCUMENT" | "PASSAGE" | "SEARCH_DOCUMENT" | "RETRIEVAL_DOCUMENT" => "RETRIEVAL_DOCUMENT",
        "SEMANTIC_SIMILARITY" => "SEMANTIC_SIMILARITY",
        "CLASSIFICATION" => "CLASSIFICATION",
        "CLUSTERING" => "CLUSTERING",
        "QUESTION_ANSWERING" => "QUESTION_ANSWERING",
        "FACT_VERIFICATION" => "FACT_VERIFICATION",
        "CODE_RETRIEVAL_QUERY" => "CODE_RETRIEVAL_QUERY",
        _ => return None,
    })
}

/// Writes vectors: one alone, or a list.
pub(super) fn write(embeddings: &Embeddings, is_batch: bool) -> Value {
    let mut vectors = embeddings.vectors.iter().map(|vector| json!({ "values": vector }));
    let usage = embeddings.tokens.map(|tokens| json!({ "promptTokenCount": tokens }));
    if is_batch {
        object([("embeddings", Some(vectors.collect())), ("usageMetadata", usage)])
    } else {
        object([("embedding", vectors.next()), ("usageMetadata", usage)])
    }
}

/// Writes a request to Google.
pub(super) fn ask(request: &EmbeddingsRequest, target: &Target<'_>, cloud: Cloud) -> Result<Sent, Unfit> {
    let model = Model::of(target.model, cloud);
    let texts = request.inputs.iter().map(|input| match input {
        EmbeddingInput::Text(text) => Ok(&**text),
        EmbeddingInput::Tokens(_) => {
            Err(Unfit::of("input", "Google embeds texts, not tokens of another's models"))
        }
    });
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    let mut lost = Lost::of_wishes(request.wishes.open().left());
    let task = request.task.as_deref().and_then(task_out);
    if request.task.is_some() && task.is_none() {
        lost.push(Lost::new("task"));
    }
    let (what, body) = match cloud {
        Cloud::Api => ("batchEmbedContents", batch(&model, &texts, task, request.dimensions)),
        Cloud::Vertex if model.name.contains("gemini") => own(&texts, task, request.dimensions),
        Cloud::Vertex => ("predict", predict(&texts, task, request.dimensions)),
    };
    Ok(Sent { path: model.path(what), body: body.to_string().into_bytes(), lost, ..Sent::default() })
}

fn batch(model: &Model, texts: &[&str], task: Option<&str>, dimensions: Option<u64>) -> Value {
    let request = |text: &&str| {
        object([
            ("model", Some(model.resource().into())),
            ("content", Some(content(text))),
            ("taskType", task.map(Value::from)),
            ("outputDimensionality", dimensions.map(Value::from)),
        ])
    };
    json!({ "requests": texts.iter().map(request).collect::<Vec<_>>() })
}

/// Gemini's models on Vertex AI: one text alone has an address of its own.
fn own(texts: &[&str], task: Option<&str>, dimensions: Option<u64>) -> (&'static str, Value) {
    let config =
        object([("taskType", task.map(Value::from)), ("outputDimensionality", dimensions.map(Value::from))]);
    let request = |text: &&str| json!({ "content": content(text), "embedContentConfig": config });
    match texts {
        [one] => ("embedContent", request(one)),
        all => ("batchEmbedContents", json!({ "requests": all.iter().map(request).collect::<Vec<_>>() })),
    }
}

fn predict(texts: &[&str], task: Option<&str>, dimensions: Option<u64>) -> Value {
    let instance = |text: &&str| object([("content", Some((*text).into())), ("task_type", task.map(Value::from))]);
    let instances = texts.iter().map(instance).collect();
    let parameters = dimensions.map(|length| json!({ "outputDimensionality": length }));
    object([("instances", Some(instances)), ("parameters", parameters)])
}

fn content(text: &str) -> Value {
    json!({ "parts": [{ "text": text }] })
}

/// Reads Google's vectors, in any of its forms.
pub(super) fn read_answer(body: &[u8]) -> Result<Embeddings, Malformed> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Malformed("embeddings that are not JSON"))?;
    let one = get(&body, "embedding").into_iter();
    let predictions = list(&body, "predictions").iter().filter_map(|prediction| get(prediction, "embeddings"));
    let all: Vec<_> = list(&body, "embeddings").iter().chain(one).chain(predictions).collect();
    if all.is_empty() {
        return Err(Malformed("embeddings without any"));
    }
    let values = |embedding: &&Value| {
        let values = get(embedding, "values")?.as_array()?;
        values.iter().map(Value::as_f64).collect::<Option<Vec<_>>>()
    };
    let vectors = all.iter().map(values).collect::<Option<Vec<_>>>();
    let counts = all.iter().filter_map(|embedding| whole(get(embedding, "statistics")?, "tokenCount"));
    let counted = counts.reduce(u64::saturating_add);
    let tokens = get(&body, "usageMetadata").and_then(|usage| whole(usage, "promptTokenCount")).or(counted);
    let vectors = vectors.ok_or(Malformed("a vector that is none"))?;
    Ok(Embeddings { model: String::new(), vectors, tokens })
}
