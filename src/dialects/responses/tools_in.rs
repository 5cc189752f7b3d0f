//! The tools of a client's request, and whether they must be called.
//!
//! A custom tool takes a text, which is the provider's own idea as well. It becomes a function with a text for its only
//! argument, so that any model can call it, and its calls become a custom tool's again on the way back.

use serde_json::{Value, json};

use super::members::{list, some_text, text};
use crate::dialects::conversation::{Request, Tool, ToolChoice, Wish};
use crate::dialects::front::Refusal;

/// The title of the arguments of a custom tool, which tells it from a function.
const CUSTOM: &str = "the text of a custom tool";

/// Whether the client knows a tool of this name as a custom one.
pub(super) fn is_custom(request: &Request, name: &str) -> bool {
    request.tools.iter().any(|tool| tool.name == name && has_custom_schema(tool))
}

/// Whether a tool is a custom one.
pub(super) fn has_custom_schema(tool: &Tool) -> bool {
    tool.schema.as_ref().is_some_and(|schema| text(schema, "title") == Some(CUSTOM))
}

/// Reads `tools`. Those that are no functions are the provider's own and stay wishes.
pub(super) fn tools(value: &Value, request: &mut Request) -> Result<(), Refusal> {
    let Some(tools) = value.as_array() else { return Err(Refusal::of("tools", "`tools` must be a list")) };
    for (at, tool) in tools.iter().enumerate() {
        match text(tool, "type") {
            Some("function") => request.tools.push(function(at, tool)?),
            Some("custom") if some_text(tool, "name").is_some() => custom(at, tool, request),
            _ => request.wishes.add(Wish::Other, format!("tools[{at}]"), tool.clone()),
        }
    }
    Ok(())
}

fn function(at: usize, tool: &Value) -> Result<Tool, Refusal> {
    let Some(name) = some_text(tool, "name") else {
        return Err(Refusal::of(format!("tools[{at}].name"), "a function must have a `name`"));
    };
    Ok(Tool {
        name: name.to_owned(),
        description: text(tool, "description").map(str::to_owned),
        schema: tool.get("parameters").filter(|schema| !schema.is_null()).cloned(),
        strict: tool.get("strict").and_then(Value::as_bool),
        cache: None,
    })
}

fn custom(at: usize, tool: &Value, request: &mut Request) {
    let mut description = text(tool, "description").unwrap_or_default().to_owned();
    let format = tool.get("format").unwrap_or(&Value::Null);
    if let Some(grammar) = some_text(format, "definition") {
        // Nobody else holds a model to it, but every model can read it.
        request.wishes.add(Wish::Hint, format!("tools[{at}].format"), format.clone());
        let syntax = text(format, "syntax").unwrap_or("given");
        description = format!("{description}\n\n`input` must follow this {syntax} grammar:\n{grammar}");
    }
    request.tools.push(Tool {
        name: text(tool, "name").unwrap_or_default().to_owned(),
        description: Some(description.trim().to_owned()).filter(|description| !description.is_empty()),
        schema: Some(json!({
            "type": "object",
            "title": CUSTOM,
            "properties": { "input": { "type": "string" } },
            "required": ["input"],
            "additionalProperties": false,
        })),
        strict: None,
        cache: None,
    });
}

/// Reads `tool_choice`, behind the tools.
pub(super) fn choice(value: &Value, request: &mut Request) -> Result<(), Refusal> {
    let choice = match value.as_str().or_else(|| text(value, "type")) {
        Some("auto") => ToolChoice::Auto,
        Some("none") => ToolChoice::None,
        Some("required") => ToolChoice::Required,
        Some("function" | "custom") => {
            let Some(name) = some_text(value, "name") else {
                return Err(Refusal::of("tool_choice.name", "`tool_choice` must name its tool"));
            };
            ToolChoice::Named(name.to_owned())
        }
        Some("allowed_tools") => allowed(value, request),
        // One of the provider's own tools must be called.
        Some(_) => {
            request.wishes.add(Wish::Other, "tool_choice", value.clone());
            return Ok(());
        }
        None => return Err(Refusal::of("tool_choice", "`tool_choice` must be a word or an object with a `type`")),
    };
    // Without functions these two say nothing.
    let is_idle = request.tools.is_empty() && matches!(choice, ToolChoice::Auto | ToolChoice::None);
    request.tool_choice = (!is_idle).then_some(choice);
    Ok(())
}

/// Who may call some tools only may as well know of no others.
fn allowed(value: &Value, request: &mut Request) -> ToolChoice {
    let tools = list(value, "tools");
    let is_allowed = |name: &str| tools.iter().any(|tool| text(tool, "name") == Some(name));
    request.tools.retain(|tool| is_allowed(&tool.name));
    match text(value, "mode") {
        _ if request.tools.is_empty() => ToolChoice::None,
        Some("required") => ToolChoice::Required,
        _ => ToolChoice::Auto,
    }
}
