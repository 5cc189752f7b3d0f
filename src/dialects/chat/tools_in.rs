//! Tools, the choice among them, and the form of the answer.

use serde_json::{Value, json};

use super::media::cache;
use crate::dialects::Refusal;
use crate::dialects::conversation::{Format, Request, Tool, ToolChoice, Wish};
use crate::dialects::json::{list, owned, some, text};

/// Reads `tools`. Those that are no functions run with the provider (`web_search`) or have no JSON arguments (`custom`):
/// each is a wish of its own.
pub(super) fn tools(value: &Value, request: &mut Request) -> Result<(), Refusal> {
    if value.is_null() {
        return Ok(());
    }
    let Some(tools) = value.as_array() else { return Err(Refusal::of("tools", "`tools` must be a list")) };
    for (at, tool) in tools.iter().enumerate() {
        match some(tool, "function") {
            Some(function) => {
                let read = self::tool(function, format!("tools[{at}].function.name"))?;
                request.tools.push(Tool { cache: cache(tool).or_else(|| cache(function)), ..read });
            }
            None => request.wishes.add(Wish::Other, format!("tools[{at}]"), tool.clone()),
        }
    }
    Ok(())
}

/// Reads `functions`, the form of before there were tools.
pub(super) fn functions(value: &Value, request: &mut Request) -> Result<(), Refusal> {
    for (at, function) in value.as_array().into_iter().flatten().enumerate() {
        let read = tool(function, format!("functions[{at}].name"))?;
        request.tools.push(read);
    }
    Ok(())
}

fn tool(function: &Value, param: String) -> Result<Tool, Refusal> {
    let name = text(function, "name").ok_or_else(|| Refusal::of(param, "a function must have a name"))?;
    Ok(Tool {
        name: name.to_owned(),
        description: owned(function, "description"),
        schema: some(function, "parameters").cloned(),
        strict: function.get("strict").and_then(Value::as_bool),
        cache: None,
    })
}

/// Reads `tool_choice`, behind the tools.
pub(super) fn choice(value: &Value, request: &mut Request) -> Result<(), Refusal> {
    let named = || some(value, "function").and_then(|function| owned(function, "name"));
    request.tool_choice = match value {
        Value::Null => return Ok(()),
        Value::String(word) => Some(word_choice(word)?),
        Value::Object(_) if named().is_some() => named().map(ToolChoice::Named),
        Value::Object(_) if text(value, "type") == Some("allowed_tools") => {
            return allowed(some(value, "allowed_tools").unwrap_or(value), request);
        }
        // Claude's and Mistral's form of a word.
        Value::Object(_) if matches!(text(value, "type"), Some("auto" | "none" | "any" | "required")) => {
            Some(word_choice(text(value, "type").unwrap_or_default())?)
        }
        Value::Object(_) => {
            request.wishes.add(Wish::Other, "tool_choice", value.clone());
            None
        }
        _ => return Err(Refusal::of("tool_choice", "`tool_choice` must be a string or an object")),
    };
    Ok(())
}

fn word_choice(word: &str) -> Result<ToolChoice, Refusal> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" | "any" => Ok(ToolChoice::Required),
        word => Err(Refusal::of("tool_choice", format!("`tool_choice` can't be `{word}`"))),
    }
}

/// Some of the tools alone: to the model it is as if there were no others.
fn allowed(value: &Value, request: &mut Request) -> Result<(), Refusal> {
    let entries = list(value, "tools").iter();
    let names: Vec<_> = entries.filter_map(|tool| text(some(tool, "function").unwrap_or(tool), "name")).collect();
    request.tools.retain(|tool| names.contains(&tool.name.as_str()));
    request.tool_choice = Some(word_choice(text(value, "mode").unwrap_or("auto"))?);
    Ok(())
}

/// Reads `function_call`, the choice of before there were tools.
pub(super) fn function_call(value: &Value, request: &mut Request) {
    request.tool_choice = match value.as_str() {
        Some("auto") => Some(ToolChoice::Auto),
        Some("none") => Some(ToolChoice::None),
        _ => owned(value, "name").map(ToolChoice::Named),
    };
}

/// Reads `response_format`.
pub(super) fn format(value: &Value, request: &mut Request) -> Result<(), Refusal> {
    match text(value, "type") {
        _ if value.is_null() => {}
        Some("text") => {}
        Some("json_object") => request.format = Some(Format::JsonObject),
        Some("json_schema") => {
            let said = some(value, "json_schema").ok_or_else(|| {
                Refusal::of("response_format.json_schema", "`response_format.json_schema` must be an object")
            })?;
            request.format = Some(Format::JsonSchema {
                name: owned(said, "name"),
                description: owned(said, "description"),
                schema: some(said, "schema").cloned().unwrap_or_else(|| json!({})),
                strict: said.get("strict").and_then(Value::as_bool),
            });
        }
        Some(_) => request.wishes.add(Wish::Other, "response_format", value.clone()),
        None => return Err(Refusal::of("response_format", "`response_format` must have a `type`")),
    }
    Ok(())
}
