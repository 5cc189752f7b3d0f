//! From a client's request to the common form (Gemini API reference, `models.generateContent`).

use serde_json::Value;

use super::contents_in::Contents;
use super::fields::{camel, get, list, text};
use super::settings_in::{generation, tier, tool_config, tools};
use crate::dialects::conversation::{Request, Wish};
use crate::dialects::{Place, Refusal};

/// Reads a request for an answer.
pub(super) fn read(body: &[u8], place: &Place<'_>) -> Result<Request, Refusal> {
    of_value(&parse(body)?, place)
}

/// Reads a request for a count, which says what is to be counted itself, or has it in `generateContentRequest`.
pub(super) fn read_count(body: &[u8], place: &Place<'_>) -> Result<Request, Refusal> {
    let body = parse(body)?;
    of_value(get(&body, "generateContentRequest").unwrap_or(&body), place)
}

/// Any JSON object.
pub(super) fn parse(body: &[u8]) -> Result<Value, Refusal> {
    let wrong = |why: &str| Refusal { message: why.to_owned(), param: None };
    let body: Value = serde_json::from_slice(body).map_err(|_| wrong("the body is not JSON"))?;
    if body.is_object() { Ok(body) } else { Err(wrong("the body must be a JSON object")) }
}

/// The model's name without the collection it stands in.
pub(super) fn model(body: &Value, place: &Place<'_>) -> Result<String, Refusal> {
    let named = place.model.or_else(|| text(body, "model")).unwrap_or_default();
    let name = named.strip_prefix("models/").unwrap_or(named);
    if name.is_empty() { Err(Refusal::of("model", "no model is named")) } else { Ok(name.to_owned()) }
}

fn of_value(body: &Value, place: &Place<'_>) -> Result<Request, Refusal> {
    let mut request =
        Request { model: model(body, place)?, stream: place.stream == Some(true), ..Request::default() };
    let mut contents = Contents::default();
    if let Some(instruction) = get(body, "systemInstruction") {
        contents.system(instruction)?;
    }
    for (at, content) in list(body, "contents").iter().enumerate() {
        contents.turn(&format!("contents[{at}]"), content)?;
    }
    if contents.messages.is_empty() {
        return Err(Refusal::of("contents", "contents is required"));
    }
    request.messages = contents.messages;
    settings(body, &mut request)?;
    for (name, value) in contents.details {
        request.wishes.add(Wish::Other, name, value);
    }
    Ok(request)
}

fn settings(body: &Value, request: &mut Request) -> Result<(), Refusal> {
    if let Some(given) = get(body, "tools") {
        tools(given, request)?;
    }
    if let Some(config) = get(body, "toolConfig") {
        tool_config(config, request)?;
    }
    if let Some(config) = get(body, "generationConfig") {
        generation(config, request)?;
    }
    for (name, value) in body.as_object().into_iter().flatten() {
        let wishes = &mut request.wishes;
        match &*camel(name) {
            "contents" | "systemInstruction" | "tools" | "toolConfig" | "generationConfig" | "model" => {}
            "safetySettings" if value.as_array().is_some_and(Vec::is_empty) => {}
            "safetySettings" => wishes.add(Wish::Safety, "safetySettings", value.clone()),
            "labels" => wishes.add(Wish::Metadata, "labels", value.clone()),
            "serviceTier" => {
                let word = value.as_str().and_then(tier);
                wishes.add(Wish::ServiceTier, "serviceTier", word.map_or(Value::Null, Value::from));
            }
            "store" if value == &Value::Bool(false) => {}
            "store" => wishes.add(Wish::Store, "store", value.clone()),
            "cachedContent" if value.is_null() => {}
            "cachedContent" => {
                let why = "contents that are cached at Google cannot be used here: send them with the request";
                return Err(Refusal::of("cachedContent", why));
            }
            other => wishes.add(Wish::Other, other, value.clone()),
        }
    }
    Ok(())
}
