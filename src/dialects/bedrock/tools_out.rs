//! Writes the tools, which of them must be called, and the form of the answer (Amazon Bedrock API Reference:
//! `ToolConfiguration`, `OutputConfig`).

use serde_json::{Map, Value, json};

use super::messages_out::{Turns, cache_point};
use super::model::Model;
use crate::dialects::conversation::{Format, Request, Tool, ToolChoice};
use crate::dialects::provider::Lost;

/// What a request says of tools and of the form of the answer.
#[derive(Debug, Default)]
pub(super) struct Tools {
    specs: Vec<Value>,
    choice: Option<Value>,
    pub(super) output: Option<Value>,
    /// See [`crate::dialects::Sent::form_tool`].
    pub(super) form_tool: Option<String>,
    /// Whether the model must call one, before which Claude may not think.
    pub(super) forced: bool,
}

impl Tools {
    /// Those of a request whose messages are in `turns`.
    pub(super) fn of(request: &Request, model: Model<'_>, turns: &mut Turns<'_>) -> Self {
        let mut tools = Self::default();
        let is_unused = turns.called.is_empty();
        if request.tool_choice != Some(ToolChoice::None) || !is_unused {
            tools.specs(&request.tools, model, turns);
        }
        if tools.specs.is_empty() && !is_unused {
            // The API wants to know the tools of calls in the history. Nobody has said more of them than their names.
            turns.hint("tools");
            tools.specs = turns.called.iter().map(|name| spec(name, None, None)).collect();
        }
        tools.choice(request.tool_choice.as_ref(), turns);
        if let Some(format) = &request.format {
            tools.format(format, request.tool_choice.as_ref(), model, turns);
        }
        tools
    }

    /// Takes out the choice, in the form of Claude's own API and with the wish that there be one call at a time, which the
    /// API has no word for; `None` if there is nothing to call.
    pub(super) fn one_at_a_time(&mut self) -> Option<Value> {
        if self.specs.is_empty() {
            return None;
        }
        let choice = self.choice.take().unwrap_or_default();
        let mut own = match choice["tool"]["name"].as_str() {
            Some(name) => json!({ "type": "tool", "name": name }),
            None if choice.get("any").is_some() => json!({ "type": "any" }),
            None => json!({ "type": "auto" }),
        };
        own["disable_parallel_tool_use"] = true.into();
        Some(own)
    }

    /// Whether there is nothing to call.
    pub(super) fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// `toolConfig`, if there is any.
    pub(super) fn config(self) -> Option<Value> {
        if self.specs.is_empty() {
            return None;
        }
        let mut config = json!({ "tools": self.specs });
        if let Some(choice) = self.choice {
            config["toolChoice"] = choice;
        }
        Some(config)
    }

    fn specs(&mut self, tools: &[Tool], model: Model<'_>, turns: &mut Turns<'_>) {
        for tool in tools {
            let mut spec = spec(&tool.name, tool.description.as_deref(), tool.schema.as_ref());
            match tool.strict {
                Some(true) if model.has_formats() => spec["toolSpec"]["strict"] = true.into(),
                Some(true) => turns.hint("tools.strict"),
                _ => {}
            }
            self.specs.push(spec);
            match &tool.cache {
                // Nova caches messages and instructions alone.
                Some(marker) if model.is_claude() => self.specs.push(cache_point(marker, model)),
                Some(_) => turns.hint("cache_control"),
                None => {}
            }
        }
    }

    fn choice(&mut self, choice: Option<&ToolChoice>, turns: &mut Turns<'_>) {
        self.choice = match choice {
            // What is left out of the request can't be called.
            None | Some(ToolChoice::Auto) => None,
            Some(ToolChoice::None) if self.specs.is_empty() => None,
            Some(ToolChoice::None) => {
                turns.lost.push(Lost::new("tool_choice"));
                None
            }
            Some(ToolChoice::Required) => Some(json!({ "any": {} })),
            Some(ToolChoice::Named(name)) => Some(json!({ "tool": { "name": name } })),
        };
        self.forced = self.choice.is_some();
    }

    fn format(&mut self, format: &Format, choice: Option<&ToolChoice>, model: Model<'_>, turns: &mut Turns<'_>) {
        if self.forced {
            // The answer is a call, which has a form of its own.
            return;
        }
        match format {
            Format::JsonSchema { name, description, schema, .. } if model.has_formats() => {
                self.output = Some(output(name.as_deref(), description.as_deref(), schema));
            }
            _ if !model.can_be_forced() => turns.lost.push(Lost::new("response_format")),
            _ => self.form(format, choice),
        }
    }

    /// Has the answer given as the arguments of a tool.
    fn form(&mut self, format: &Format, choice: Option<&ToolChoice>) {
        let (description, schema) = match format {
            Format::JsonObject => (None, &json!({ "type": "object", "additionalProperties": true })),
            Format::JsonSchema { description, schema, .. } => (description.as_deref(), schema),
        };
        let mut name = "json_answer".to_owned();
        while self.specs.iter().any(|spec| spec["toolSpec"]["name"] == name) {
            name.push('_');
        }
        let description = description.unwrap_or("Gives the answer to the user, as JSON.");
        let alone = self.specs.is_empty() || choice == Some(&ToolChoice::None);
        self.specs.push(spec(&name, Some(description), Some(schema)));
        self.choice = Some(if alone { json!({ "tool": { "name": name } }) } else { json!({ "any": {} }) });
        self.forced = true;
        self.form_tool = Some(name);
    }
}

fn spec(name: &str, description: Option<&str>, schema: Option<&Value>) -> Value {
    let empty = || json!({ "type": "object", "properties": {} });
    let schema = schema.cloned().unwrap_or_else(empty);
    let mut spec = json!({ "name": name, "inputSchema": { "json": schema } });
    // An empty description is refused.
    if let Some(description) = description.filter(|text| !text.is_empty()) {
        spec["description"] = description.into();
    }
    json!({ "toolSpec": spec })
}

fn output(name: Option<&str>, description: Option<&str>, schema: &Value) -> Value {
    let mut schema = schema.clone();
    close(&mut schema);
    let mut format = Map::new();
    if let Some(name) = name {
        format.insert("name".to_owned(), name.into());
    }
    if let Some(description) = description {
        format.insert("description".to_owned(), description.into());
    }
    format.insert("schema".to_owned(), schema.to_string().into());
    json!({ "textFormat": { "type": "json_schema", "structure": { "jsonSchema": format } } })
}

/// Says that objects have no other members than those listed, which the API demands. What follows the closed schema
/// follows the open one too.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("properties").is_some_and(Value::is_object)
                && !object.contains_key("additionalProperties")
            {
                object.insert("additionalProperties".to_owned(), false.into());
            }
            object.values_mut().for_each(close);
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}
