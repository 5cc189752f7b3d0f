//! Lists of models and single ones, in the form of each dialect. What nobody knows here (sizes, dates) says so in the way
//! that the form has for it.

use bytes::Bytes;
use serde::Serialize;

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
    #[serde(skip_serializing_if = "Facts::is_empty")]
    millstream: Facts,
}

/// What is known of a model: an extension of the form, left out where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Tokens of prompt and answer together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// Tokens of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    /// What it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<&'static str>>,
}

impl Facts {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl<'a> Model<'a> {
    fn new(id: &'a str, owned_by: &'a str, facts: Facts) -> Self {
        // The date says that it is unknown.
        Self { id, object: "model", created: 0, owned_by, millstream: facts }
    }
}

/// The list of `models`, each a name, its owner (the upstream's name) and what is known of it.
pub fn list<'a>(models: impl IntoIterator<Item = (&'a str, &'a str, Facts)>) -> Bytes {
    let data = models.into_iter().map(|(id, owned_by, facts)| Model::new(id, owned_by, facts)).collect();
    json(&List { object: "list", data })
}

/// One model; parameters as for [`list`].
pub fn item(id: &str, owned_by: &str, facts: Facts) -> Bytes {
    json(&Model::new(id, owned_by, facts))
}

/// A date that says that there is none, which Anthropic documents so.
const UNKNOWN_DATE: &str = "1970-01-01T00:00:00Z";

/// The version of `Ollama` whose API is served. Its clients refuse servers that are too old for what they use.
const OLLAMA_VERSION: &str = "0.13.0";

#[derive(Serialize)]
struct AnthropicList<'a> {
    data: Vec<AnthropicModel<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

#[derive(Serialize)]
struct AnthropicModel<'a> {
    r#type: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: &'static str,
}

impl<'a> AnthropicModel<'a> {
    fn new(id: &'a str) -> Self {
        Self { r#type: "model", id, display_name: id, created_at: UNKNOWN_DATE }
    }
}

/// All `models` in Anthropic's form, on one page.
pub fn anthropic_list<'a>(models: impl IntoIterator<Item = &'a str>) -> Bytes {
    let data: Vec<_> = models.into_iter().map(AnthropicModel::new).collect();
    let (first_id, last_id) = (data.first().map(|model| model.id), data.last().map(|model| model.id));
    json(&AnthropicList { data, has_more: false, first_id, last_id })
}

/// One model in Anthropic's form.
pub fn anthropic_item(id: &str) -> Bytes {
    json(&AnthropicModel::new(id))
}

#[derive(Serialize)]
struct GeminiList<'a> {
    models: Vec<GeminiModel<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GeminiModel<'a> {
    name: String,
    display_name: &'a str,
    /// What may be asked of every model here; whether it can is its provider's to say.
    supported_generation_methods: [&'static str; 3],
}

impl<'a> GeminiModel<'a> {
    fn new(id: &'a str) -> Self {
        let supported_generation_methods = ["generateContent", "countTokens", "embedContent"];
        Self { name: format!("models/{id}"), display_name: id, supported_generation_methods }
    }
}

/// All `models` in Gemini's form, on one page.
pub fn gemini_list<'a>(models: impl IntoIterator<Item = &'a str>) -> Bytes {
    json(&GeminiList { models: models.into_iter().map(GeminiModel::new).collect() })
}

/// One model in Gemini's form.
pub fn gemini_item(id: &str) -> Bytes {
    json(&GeminiModel::new(id))
}

#[derive(Serialize)]
struct OllamaTags<'a> {
    models: Vec<OllamaModel<'a>>,
}

#[derive(Serialize)]
struct OllamaModel<'a> {
    name: &'a str,
    model: &'a str,
    modified_at: &'static str,
    size: u64,
    digest: &'static str,
    details: OllamaDetails,
}

/// Of the file that a model would be, if it were here.
#[derive(Default, Serialize)]
struct OllamaDetails {
    parent_model: &'static str,
    format: &'static str,
    family: &'static str,
    families: [&'static str; 0],
    parameter_size: &'static str,
    quantization_level: &'static str,
}

/// All `models` in the form of `Ollama`'s `/api/tags`.
pub fn ollama_tags<'a>(models: impl IntoIterator<Item = &'a str>) -> Bytes {
    let model = |name| OllamaModel {
        name,
        model: name,
        modified_at: UNKNOWN_DATE,
        size: 0,
        digest: "",
        details: OllamaDetails::default(),
    };
    json(&OllamaTags { models: models.into_iter().map(model).collect() })
}

/// The answer of `Ollama`'s `/api/version`.
pub fn ollama_version() -> Bytes {
    #[derive(Serialize)]
    struct Version {
        version: &'static str,
    }
    json(&Version { version: OLLAMA_VERSION })
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("strings and numbers are always JSON").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_openais_form() {
        let item_json = r#"{"id":"a/\"b","object":"model","created":0,"owned_by":"up"}"#;
        let nothing = Facts::default;
        assert_eq!(item("a/\"b", "up", nothing()), item_json);
        assert_eq!(list([("a/\"b", "up", nothing())]), format!(r#"{{"object":"list","data":[{item_json}]}}"#));
        assert_eq!(list([]), r#"{"object":"list","data":[]}"#);
        let facts = Facts { context_length: Some(9), capabilities: Some(vec!["tools"]), ..nothing() };
        let extended = r#""owned_by":"up","millstream":{"context_length":9,"capabilities":["tools"]}}"#;
        assert!(item("a", "up", facts).ends_with(extended.as_bytes()));
    }

    #[test]
    fn models_have_the_form_of_each_dialect() {
        let item = r#"{"type":"model","id":"a/b","display_name":"a/b","created_at":"1970-01-01T00:00:00Z"}"#;
        assert_eq!(anthropic_item("a/b"), item);
        let list = format!(r#"{{"data":[{item}],"has_more":false,"first_id":"a/b","last_id":"a/b"}}"#);
        assert_eq!(anthropic_list(["a/b"]), list);
        assert_eq!(anthropic_list([]), r#"{"data":[],"has_more":false,"first_id":null,"last_id":null}"#);

        let item = r#"{"name":"models/a/b","displayName":"a/b","supportedGenerationMethods":["generateContent","countTokens","embedContent"]}"#;
        assert_eq!(gemini_item("a/b"), item);
        assert_eq!(gemini_list(["a/b"]), format!(r#"{{"models":[{item}]}}"#));

        let details = r#"{"parent_model":"","format":"","family":"","families":[],"parameter_size":"","quantization_level":""}"#;
        let item = format!(
            r#"{{"name":"a:b","model":"a:b","modified_at":"1970-01-01T00:00:00Z","size":0,"digest":"","details":{details}}}"#
        );
        assert_eq!(ollama_tags(["a:b"]), format!(r#"{{"models":[{item}]}}"#));
        assert_eq!(ollama_version(), format!(r#"{{"version":"{OLLAMA_VERSION}"}}"#));
    }
}
