//! The list of models: what clients show to choose from.

use serde_json::{Value, json};

/// The time of which nothing is known, as Ollama's own server writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The answer to `/api/tags`. Of models that are elsewhere no more is known than their names.
pub fn write_tags<'a>(models: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let models: Vec<Value> = models.map(model).collect();
    json!({ "models": models }).to_string().into_bytes()
}

fn model(name: &str) -> Value {
    json!({
        "name": name,
        "model": name,
        "modified_at": NEVER,
        "size": 0,
        "digest": "",
        "details": {
            "parent_model": "",
            "format": "",
            "family": "",
            "families": null,
            "parameter_size": "",
            "quantization_level": "",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_listed_by_name() {
        let body: Value = serde_json::from_slice(&write_tags(["a", "b"].into_iter())).expect("JSON");
        assert_eq!(body["models"][1]["name"], "b");
        assert_eq!(body["models"][1]["model"], "b");
        assert_eq!(body["models"].as_array().map(Vec::len), Some(2));
    }
}
