//! From a client's settings to wishes (Gemini API reference, `GenerationConfig`).

use serde_json::{Value, json};

use super::fields::{camel, get, list, many, text};
use super::schema::to_json_schema;
use crate::dialects::Refusal;
use crate::dialects::conversation::{Effort, Format, Request, Thinking, Tool, ToolChoice, Wish};

/// Reads `generationConfig`.
pub(super) fn generation(config: &Value, request: &mut Request) -> Result<(), Refusal> {
    let Value::Object(members) = config else { return Ok(()) };
    for (name, value) in members {
        let name = camel(name);
        let wish = match &*name {
            "temperature" => Wish::Temperature,
            "topP" => Wish::TopP,
            "topK" => Wish::TopK,
            "maxOutputTokens" => Wish::MaxTokens,
            "seed" => Wish::Seed,
            "presencePenalty" => Wish::PresencePenalty,
            "frequencyPenalty" => Wish::FrequencyPenalty,
            "stopSequences" => Wish::Stop,
            "candidateCount" => Wish::N,
            "responseLogprobs" => Wish::Logprobs,
            "logprobs" => Wish::TopLogprobs,
            "responseModalities" => Wish::Modalities,
            "thinkingConfig" => {
                request.thinking = thinking(value);
                continue;
            }
            "responseMimeType" | "responseSchema" | "responseJsonSchema" => continue,
            _ => Wish::Other,
        };
        if let Some(value) = wished(wish, value) {
            request.wishes.add(wish, format!("generationConfig.{name}"), value);
        }
    }
    format(config, request)
}

/// What is asked for, in the common form; `None` if it is what is done anyway.
fn wished(wish: Wish, value: &Value) -> Option<Value> {
    match wish {
        Wish::PresencePenalty | Wish::FrequencyPenalty if value.as_f64() == Some(0.0) => None,
        Wish::N if value.as_u64() == Some(1) => None,
        Wish::Logprobs if value == &Value::Bool(false) => None,
        Wish::Stop => Some(many(value)).filter(|all| !all.is_empty()).map(|all| Value::Array(all.to_vec())),
        // The SDK writes whole numbers as 40.0.
        Wish::TopK => {
            let whole = value.as_f64().filter(|number| (0.0..1e9).contains(number));
            let whole = whole.and_then(|number| format!("{number:.0}").parse::<u64>().ok());
            Some(whole.map_or_else(|| value.clone(), Value::from))
        }
        Wish::Modalities => {
            let words = many(value).iter().filter_map(Value::as_str).map(str::to_ascii_lowercase);
            let words: Vec<_> = words.filter(|word| word != "modality_unspecified").collect();
            (!words.is_empty() && words != ["text"]).then(|| json!(words))
        }
        Wish::Other if is_unspecified(value) => None,
        _ => Some(value.clone()),
    }
}

fn is_unspecified(value: &Value) -> bool {
    value.as_str().is_some_and(|word| word.ends_with("_UNSPECIFIED"))
}

fn format(config: &Value, request: &mut Request) -> Result<(), Refusal> {
    let json_schema = get(config, "responseJsonSchema").cloned();
    let schema = json_schema.or_else(|| get(config, "responseSchema").map(to_json_schema));
    request.format = match (text(config, "responseMimeType").unwrap_or_default(), schema) {
        ("" | "text/plain", None) => None,
        ("application/json", None) => Some(Format::JsonObject),
        ("application/json", Some(schema)) => {
            Some(Format::JsonSchema { name: None, description: None, schema, strict: None })
        }
        ("" | "text/plain", Some(_)) => {
            let why = "a schema of the answer needs the type application/json";
            return Err(Refusal::of("generationConfig.responseMimeType", why));
        }
        (other, schema) => {
            request.wishes.add(Wish::Other, "generationConfig.responseMimeType", other.into());
            if schema.is_some() {
                let schema = get(config, "responseSchema").cloned().unwrap_or_default();
                request.wishes.add(Wish::Other, "generationConfig.responseSchema", schema);
            }
            None
        }
    };
    Ok(())
}

fn thinking(config: &Value) -> Option<Thinking> {
    if config.as_object().is_none_or(serde_json::Map::is_empty) {
        return None;
    }
    let budget = get(config, "thinkingBudget").and_then(Value::as_i64);
    let effort = text(config, "thinkingLevel").and_then(|word| Effort::of(&word.to_ascii_lowercase()));
    let shows = get(config, "includeThoughts") == Some(&Value::Bool(true));
    // -1 leaves it to the model.
    let enabled = match (budget, effort) {
        (Some(0), _) => Some(false),
        (None, None) => None,
        _ => Some(true),
    };
    Some(Thinking {
        enabled,
        effort,
        budget: budget.and_then(|budget| u64::try_from(budget).ok()).filter(|budget| *budget > 0),
        summary: Some(if shows { "auto" } else { "none" }.to_owned()),
    })
}

/// Reads `tools`: functions, and what Google runs itself.
pub(super) fn tools(tools: &Value, request: &mut Request) -> Result<(), Refusal> {
    for (at, tool) in many(tools).iter().enumerate() {
        for (number, function) in list(tool, "functionDeclarations").iter().enumerate() {
            let path = format!("tools[{at}].functionDeclarations[{number}]");
            request.tools.push(function_of(&path, function)?);
        }
        for (name, value) in tool.as_object().into_iter().flatten() {
            let name = camel(name);
            if name != "functionDeclarations" {
                request.wishes.add(Wish::Other, format!("tools.{name}"), value.clone());
            }
        }
    }
    Ok(())
}

fn function_of(path: &str, function: &Value) -> Result<Tool, Refusal> {
    let Some(name) = text(function, "name").filter(|name| !name.is_empty()) else {
        return Err(Refusal::of(format!("{path}.name"), "a function needs a name"));
    };
    let json_schema = get(function, "parametersJsonSchema").cloned();
    Ok(Tool {
        name: name.to_owned(),
        description: text(function, "description").filter(|text| !text.is_empty()).map(str::to_owned),
        schema: json_schema.or_else(|| get(function, "parameters").map(to_json_schema)),
        strict: None,
        cache: None,
    })
}

/// Reads `toolConfig`; the tools must have been read.
pub(super) fn tool_config(config: &Value, request: &mut Request) -> Result<(), Refusal> {
    for (name, value) in config.as_object().into_iter().flatten() {
        let name = camel(name);
        if name != "functionCallingConfig" {
            request.wishes.add(Wish::Other, format!("toolConfig.{name}"), value.clone());
        }
    }
    let Some(calling) = get(config, "functionCallingConfig") else { return Ok(()) };
    if get(calling, "streamFunctionCallArguments") == Some(&Value::Bool(true)) {
        let name = "toolConfig.functionCallingConfig.streamFunctionCallArguments";
        request.wishes.add(Wish::Other, name, true.into());
    }
    let mode = text(calling, "mode").unwrap_or_default().to_ascii_uppercase();
    let allowed: Vec<_> = list(calling, "allowedFunctionNames").iter().filter_map(Value::as_str).collect();
    match &*mode {
        "" | "MODE_UNSPECIFIED" | "AUTO" => return Ok(()),
        "NONE" => request.tool_choice = (!request.tools.is_empty()).then_some(ToolChoice::None),
        "ANY" => {
            request.tool_choice = Some(match *allowed {
                [one] => ToolChoice::Named(one.to_owned()),
                _ => ToolChoice::Required,
            });
        }
        "VALIDATED" => request.tools.iter_mut().for_each(|tool| tool.strict = Some(true)),
        other => {
            let param = "toolConfig.functionCallingConfig.mode";
            return Err(Refusal::of(param, format!("there is no mode {other:?}")));
        }
    }
    // Those that may not be called are as good as not there.
    if allowed.len() > 1 || mode == "VALIDATED" && !allowed.is_empty() {
        request.tools.retain(|tool| allowed.contains(&&*tool.name));
    }
    Ok(())
}

/// Google's word for a tier in `OpenAI`'s.
pub(super) fn tier(word: &str) -> Option<&'static str> {
    match &*word.to_ascii_lowercase() {
        "standard" => Some("default"),
        "flex" => Some("flex"),
        "priority" => Some("priority"),
        _ => None,
    }
}
