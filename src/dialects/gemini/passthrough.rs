//! Requests of Google's dialect that go to Google: every byte goes on as the client wrote it, but for what only the way makes
//! necessary.

use memchr::memmem;
use serde_json::{Map, Value};

use super::Cloud;
use super::contents_out::vouch;
use super::model::Model;
use super::proof;
use crate::dialects::Malformed;
use crate::dialects::conversation::Family;
use crate::dialects::splice::{members, spliced};

/// How that begins which [`proof`] makes of others' signatures.
const SEALED: &str = "eyJtczEi";
const NAMES: [&str; 2] = ["thoughtSignature", "thought_signature"];

/// A body without the thoughts of other families' models, whose signatures Google would refuse: a conversation may have been
/// with others before. From the third generation on calls must be signed: those that others made are vouched for. `None` if
/// nothing has to change, which is nearly always.
///
/// # Errors
/// When it is no JSON object.
pub fn own_thoughts(raw: &[u8], model: &str) -> Result<Option<Vec<u8>>, Malformed> {
    let has = |text: &str| memmem::find(raw, text.as_bytes()).is_some();
    let is_third = Model::of(model, Cloud::Api).is_third();
    if !has(SEALED) && !(is_third && (has("functionCall") || has("function_call"))) {
        return Ok(None);
    }
    let members = members(raw)?;
    let Some(range) = members.get("contents") else { return Ok(None) };
    let Ok(mut contents) = serde_json::from_slice::<Vec<Value>>(&raw[range.clone()]) else { return Ok(None) };
    let mut is_changed = false;
    for content in &mut contents {
        let Some(parts) = content.get_mut("parts").and_then(Value::as_array_mut) else { continue };
        parts.retain_mut(|part| part.as_object_mut().is_none_or(|part| owned(part, &mut is_changed)));
    }
    contents
        .retain(|content| !is_changed || content.get("parts").is_none_or(|parts| parts != &Value::Array(vec![])));
    if is_third {
        is_changed |= vouched(&mut contents);
    }
    Ok(is_changed.then(|| spliced(raw, &[(range, Value::Array(contents).to_string())])))
}

/// Takes a signature from a part that Google has not signed, or what stands around one that it has. Whether something of the
/// part remains.
fn owned(part: &mut Map<String, Value>, is_changed: &mut bool) -> bool {
    for name in NAMES {
        let Some(text) = part.get(name).and_then(Value::as_str).filter(|text| text.starts_with(SEALED)) else {
            continue;
        };
        *is_changed = true;
        let reasoning = proof::read(text);
        if let Some(own) = reasoning.signature.as_ref().and_then(|signature| signature.of(Family::Gemini)) {
            part.insert(name.to_owned(), own.into());
            continue;
        }
        part.remove(name);
        let is_empty = part.get("text").is_some_and(|text| text == "");
        if part.get("thought") == Some(&Value::Bool(true)) || is_empty || part.is_empty() {
            return false;
        }
    }
    true
}

/// Vouches for the first call of every turn of the model, whose contents a stream may have parted. Whether there was one to
/// vouch for.
fn vouched(contents: &mut [Value]) -> bool {
    let mut is_changed = false;
    for turn in contents.chunk_by_mut(|one, next| one["role"] == "model" && next["role"] == "model") {
        let calls = turn.iter_mut().filter(|content| content["role"] == "model");
        let first = calls.into_iter().find(|content| {
            let parts = content["parts"].as_array().map_or(&[][..], Vec::as_slice);
            parts.iter().any(|part| part.get("functionCall").is_some())
        });
        is_changed |= first.is_some_and(vouch);
    }
    is_changed
}

/// A body that names `model` wherever it names one, as it must where the path does: requests of vectors do in each part.
/// `None` if nothing has to change.
pub fn renamed(raw: &[u8], model: &str) -> Option<Vec<u8>> {
    let mut body: Value = serde_json::from_slice(raw).ok()?;
    let resource = Model::of(model, Cloud::Api).resource();
    let mut is_changed = set(&mut body, &resource);
    for each in body.get_mut("requests").and_then(Value::as_array_mut).into_iter().flatten() {
        is_changed |= set(each, &resource);
    }
    for name in ["generateContentRequest", "generate_content_request"] {
        is_changed |= body.get_mut(name).is_some_and(|request| set(request, &resource));
    }
    is_changed.then(|| body.to_string().into_bytes())
}

fn set(place: &mut Value, resource: &str) -> bool {
    let Some(model) = place.get_mut("model").filter(|model| *model != resource) else { return false };
    *model = resource.into();
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dialects::conversation::Signature;
    use crate::dialects::gemini::contents_out::NO_SIGNATURE;

    #[test]
    fn thoughts_of_others_are_left_out() {
        let foreign = proof::write_one(&Signature::new(Family::Anthropic, "x"));
        let call = |signature: &str| {
            json!({ "functionCall": { "name": "f" }, "thoughtSignature": signature }).to_string()
        };
        let body =
            |parts: &str| format!(r#"{{"x":1.0, "contents": [{{"role":"model","parts":[{parts}]}}],"y":-0}}"#);
        let changed = |parts: &str, model: &str| {
            own_thoughts(body(parts).as_bytes(), model)
                .expect("JSON")
                .map(|body| String::from_utf8(body).expect("text"))
        };
        let bare = r#"{"functionCall":{"name":"f"}}"#;
        let thought = format!(r#"{{"text":"t","thought":true,"thoughtSignature":"{foreign}"}},"#);
        let compact = |parts: &str| Some(body(parts));
        assert_eq!(changed(&format!("{thought}{}", call(&foreign)), "gemini-2.5-pro"), compact(bare));
        assert_eq!(changed(&call(&foreign), "gemini-3-pro"), compact(&call(NO_SIGNATURE)));
        assert_eq!(changed(bare, "gemini-3-pro"), compact(&call(NO_SIGNATURE)));
        assert_eq!(changed(bare, "gemini-2.5-pro"), None);
        assert_eq!(changed(&format!("{},{bare}", call("Eq")), "gemini-3-pro"), None);
    }

    #[test]
    fn the_model_has_one_name() {
        let changed =
            |body: &str| renamed(body.as_bytes(), "b").map(|body| String::from_utf8(body).expect("text"));
        let batch = r#"{"requests":[{"model":"models/a","content":{}}]}"#;
        assert_eq!(changed(batch), Some(batch.replace("models/a", "models/b")));
        assert_eq!(changed(&batch.replace("models/a", "models/b")), None);
        assert_eq!(changed(r#"{"content":{}}"#), None);
    }
}
