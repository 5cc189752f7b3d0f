//! The tools of a client's request, and whether they must be called.

use serde_json::Value;

use super::members::{list, some_text, text};
use crate::dialects::conversation::{Request, Tool, ToolChoice, Wish};
use crate::dialects::front::Refusal;

/// Reads `tools`. Those that are no functions are the provider's own and stay wishes.
pub(super) fn tools(value: &Value, request: &mut Request) -> Result<(), Refusal> {
    let Some(tools) = value.as_array() else { return Err(Refusal::of("tools", "`tools` must be a list")) };
    for (at, tool) in tools.iter().enumerate() {
        if text(tool, "type") == Some("function") {
            request.tools.push(function(at, tool)?);
        } else {
            request.wishes.add(Wish::Other, format!("tools[{at}]"), tool.clone());
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

/// Reads `tool_choice`, behind the tools.
pub(super) fn choice(value: &Value, request: &mut Request) -> Result<(), Refusal> {
    let choice = match value.as_str().or_else(|| text(value, "type")) {
        Some("auto") => ToolChoice::Auto,
        Some("none") => ToolChoice::None,
        Some("required") => ToolChoice::Required,
        Some("function") => {
            let Some(name) = some_text(value, "name") else {
                return Err(Refusal::of("tool_choice.name", "`tool_choice` must name its function"));
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
