//! From wishes to `generationConfig` and what stands beside it.

use serde_json::{Map, Value, json};

use super::Cloud;
use super::fields::object;
use super::model::Model;
use super::schema::for_google;
use crate::dialects::Lost;
use crate::dialects::conversation::{Effort, Format, Open, Request, Thinking, Tool, ToolChoice, Wish};

/// Most stop sequences that Google takes.
const STOPS_MAX: usize = 5;

/// Settings that a Gemini client may have and that go on as they are.
const OWN_SETTINGS: [&str; 11] = [
    "mediaResolution",
    "speechConfig",
    "imageConfig",
    "responseMimeType",
    "responseSchema",
    "enableEnhancedCivicAnswers",
    "audioTimestamp",
    "enableAffectiveDialog",
    "routingConfig",
    "modelSelectionConfig",
    "audioTranscriptionConfig",
];

/// What Google's models use without the client.
const OWN_TOOLS: [&str; 9] = [
    "googleSearch",
    "googleSearchRetrieval",
    "codeExecution",
    "urlContext",
    "googleMaps",
    "fileSearch",
    "computerUse",
    "retrieval",
    "enterpriseWebSearch",
];

/// Writes `generationConfig`.
pub(super) fn generation(request: &Request, open: &Open<'_>, model: &Model, lost: &mut Vec<Lost>) -> Value {
    let mut config = Map::new();
    let plain = [
        (Wish::Temperature, "temperature"),
        (Wish::TopP, "topP"),
        (Wish::TopK, "topK"),
        (Wish::MaxTokens, "maxOutputTokens"),
        (Wish::PresencePenalty, "presencePenalty"),
        (Wish::FrequencyPenalty, "frequencyPenalty"),
        (Wish::N, "candidateCount"),
        (Wish::Logprobs, "responseLogprobs"),
        (Wish::TopLogprobs, "logprobs"),
    ];
    for (wish, name) in plain {
        if let Some(value) = open.take(wish) {
            config.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(seed) = open.take(Wish::Seed) {
        config.insert("seed".to_owned(), short_seed(seed));
    }
    let stops = request.wishes.get(Wish::Stop).and_then(Value::as_array);
    if stops.is_some_and(|stops| stops.len() <= STOPS_MAX) {
        config.extend(open.take(Wish::Stop).map(|stops| ("stopSequences".to_owned(), stops.clone())));
    }
    config.extend(modalities(request, open).map(|words| ("responseModalities".to_owned(), words)));
    format(request, model, &mut config, lost);
    if let Some(asked) = &request.thinking {
        if model.thinks() {
            config.insert("thinkingConfig".to_owned(), thinking(asked, model));
        } else if asked.enabled != Some(false) && asked.effort != Some(Effort::None) {
            lost.push(Lost::new("thinking"));
        }
    }
    for name in OWN_SETTINGS {
        if let Some(value) = open.take_other(&format!("generationConfig.{name}")) {
            config.insert(name.to_owned(), value.clone());
        }
    }
    Value::Object(config)
}

/// Google's seeds have 32 bits: a longer one becomes another, which is as steady.
fn short_seed(seed: &Value) -> Value {
    match seed.as_i64() {
        Some(seed) if i32::try_from(seed).is_err() => (seed.rem_euclid(1 << 31)).into(),
        _ => seed.clone(),
    }
}

/// Pictures beside text, and sound alone; the voice that `OpenAI`'s clients name is none of Google's.
fn modalities(request: &Request, open: &Open<'_>) -> Option<Value> {
    if request.wishes.get(Wish::Audio).is_some() {
        return None;
    }
    let words = open.take(Wish::Modalities)?.as_array()?.iter().filter_map(Value::as_str);
    Some(words.map(|word| Value::from(word.to_ascii_uppercase())).collect())
}

/// `responseJsonSchema` takes JSON Schema, where `responseSchema` takes a subset of `OpenAPI`'s.
fn format(request: &Request, model: &Model, config: &mut Map<String, Value>, lost: &mut Vec<Lost>) {
    let Some(format) = &request.format else { return };
    if !model.is_third() && !request.tools.is_empty() && request.tool_choice != Some(ToolChoice::None) {
        // "Function calling with a response mime type: 'application/json' is unsupported", says Gemini 2.5.
        lost.push(Lost::new("response_format"));
        return;
    }
    config.insert("responseMimeType".to_owned(), "application/json".into());
    if let Format::JsonSchema { schema, .. } = format {
        config.insert("responseJsonSchema".to_owned(), for_google(schema));
    }
}

fn thinking(asked: &Thinking, model: &Model) -> Value {
    let is_off = asked.enabled == Some(false) || asked.effort == Some(Effort::None);
    let shows = !is_off && asked.summary.as_deref() != Some("none");
    let mut config = Map::new();
    if model.is_third() {
        let effort =
            if is_off { Some(Effort::None) } else { asked.effort.or_else(|| asked.budget.map(Effort::of_budget)) };
        if let Some(effort) = effort {
            config.insert("thinkingLevel".to_owned(), level(effort, model).into());
        }
    } else {
        let effort = asked.effort.map(Effort::budget);
        let budget = if is_off { Some(0) } else { asked.budget.or(effort) };
        if let Some(budget) = budget {
            config.insert("thinkingBudget".to_owned(), bounded(budget, model).into());
        } else if asked.enabled == Some(true) {
            config.insert("thinkingBudget".to_owned(), (-1).into());
        }
    }
    config.insert("includeThoughts".to_owned(), shows.into());
    Value::Object(config)
}

/// No model of the third generation stops thinking, and not all know all levels: the nearest is taken (Gemini API
/// documentation, "Thinking levels").
fn level(effort: Effort, model: &Model) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal if model.knows_minimal() => "minimal",
        Effort::Low if model.draws() => "minimal",
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium if model.knows_two_levels() || model.draws() => "high",
        Effort::Medium => "medium",
        Effort::High | Effort::XHigh | Effort::Max => "high",
    }
}

/// The budgets that Gemini 2.5 takes (Gemini API documentation, "Thinking").
fn bounded(budget: u64, model: &Model) -> u64 {
    match budget {
        budget if model.is_pro() => budget.clamp(128, 32_768),
        0 => 0,
        budget if model.is_lite() => budget.clamp(512, 24_576),
        budget => budget.min(24_576),
    }
}

/// Writes `tools`.
pub(super) fn tools(request: &Request, open: &Open<'_>) -> Option<Value> {
    let functions: Vec<_> = request.tools.iter().map(function).collect();
    let mut tools = Vec::new();
    if !functions.is_empty() {
        tools.push(json!({ "functionDeclarations": functions }));
    }
    for name in OWN_TOOLS {
        tools.extend(open.take_other(&format!("tools.{name}")).map(|value| json!({ name: value })));
    }
    (!tools.is_empty()).then_some(Value::Array(tools))
}

fn function(tool: &Tool) -> Value {
    let takes_some = |schema: &&Value| {
        let properties = schema.get("properties").and_then(Value::as_object);
        properties.is_none_or(|all| !all.is_empty()) && **schema != json!({})
    };
    object([
        ("name", Some((&*tool.name).into())),
        ("description", tool.description.as_deref().map(Value::from)),
        // Without parameters the field is left out: an object without properties was long refused.
        ("parametersJsonSchema", tool.schema.as_ref().filter(takes_some).map(for_google)),
    ])
}

/// Writes `toolConfig`.
pub(super) fn tool_config(request: &Request, open: &Open<'_>, model: &Model) -> Option<Value> {
    let is_strict = model.is_third() && request.tools.iter().any(|tool| tool.strict == Some(true));
    let calling = match &request.tool_choice {
        _ if request.tools.is_empty() => None,
        None | Some(ToolChoice::Auto) if is_strict => Some(json!({ "mode": "VALIDATED" })),
        None => None,
        Some(ToolChoice::Auto) => Some(json!({ "mode": "AUTO" })),
        Some(ToolChoice::None) => Some(json!({ "mode": "NONE" })),
        Some(ToolChoice::Required) => Some(json!({ "mode": "ANY" })),
        Some(ToolChoice::Named(name)) => Some(json!({ "mode": "ANY", "allowedFunctionNames": [name] })),
    };
    let retrieval = open.take_other("toolConfig.retrievalConfig").cloned();
    let server_side = open.take_other("toolConfig.includeServerSideToolInvocations").cloned();
    let config = object([
        ("functionCallingConfig", calling),
        ("retrievalConfig", retrieval),
        ("includeServerSideToolInvocations", server_side),
    ]);
    config.as_object().is_some_and(|config| !config.is_empty()).then_some(config)
}

/// Google's word for a tier of `OpenAI`'s. Nothing is said where the project's own is wanted.
pub(super) fn tier(open: &Open<'_>, request: &Request) -> Option<Value> {
    let word = request.wishes.get(Wish::ServiceTier)?.as_str()?;
    let word = match word {
        "auto" => None,
        "default" => Some("standard"),
        "flex" | "priority" => Some(word),
        _ => return None,
    };
    open.take(Wish::ServiceTier);
    word.map(Value::from)
}

/// Labels for the bill, which only Vertex AI has, and which it wants short and in small letters.
pub(super) fn labels(open: &Open<'_>, request: &Request, cloud: Cloud) -> Option<Value> {
    let fits = |text: &str| {
        text.len() <= 63 && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
    };
    let all = request.wishes.get(Wish::Metadata)?.as_object()?;
    let fit = all.iter().all(|(name, value)| fits(name) && value.as_str().is_some_and(fits));
    (cloud == Cloud::Vertex && fit).then(|| open.take(Wish::Metadata).cloned())?
}
