//! Writes a request (Cohere API Reference, `v2/chat`).

use serde_json::{Map, Value, json};

use super::messages_out::Turns;
use super::settings_out::Settings;
use crate::dialects::conversation::{Format, Request, Tool, ToolChoice};
use crate::dialects::provider::{Lost, Sent, Target, Unfit};

/// A request for an answer.
pub(super) fn chat(request: &Request, target: &Target<'_>) -> Result<Sent, Unfit> {
    let turns = Turns::of(request, target.model)?;
    let mut lost = turns.lost;
    let mut body = Map::new();
    body.insert("model".to_owned(), target.model.into());
    body.insert("messages".to_owned(), turns.messages.into());
    body.insert("stream".to_owned(), request.stream.into());
    lost.extend(Settings::of(request, target.model).write(&mut body));
    let tools = Tools::of(request)?;
    let form_tool = tools.form_tool.clone();
    lost.extend(tools.write(&mut body));
    Ok(Sent {
        path: "/chat".to_owned(),
        body: Value::Object(body).to_string().into_bytes(),
        lost,
        form_tool,
        stream: request.stream,
        unique: target.unique.to_owned(),
        ..Sent::default()
    })
}

/// What a request says of tools and of the form of the answer.
#[derive(Debug, Default)]
struct Tools {
    specs: Vec<Value>,
    choice: Option<&'static str>,
    format: Option<Value>,
    form_tool: Option<String>,
    is_strict: bool,
    lost: Option<Lost>,
}

impl Tools {
    fn of(request: &Request) -> Result<Self, Unfit> {
        let mut tools = Self::default();
        let choice = request.tool_choice.as_ref();
        let offered: Vec<&Tool> = match choice {
            // There is no word for one tool, but it is the only one that can be called if it is the only one there is.
            Some(ToolChoice::Named(name)) => request.tools.iter().filter(|tool| tool.name == *name).collect(),
            _ => request.tools.iter().collect(),
        };
        if let (Some(ToolChoice::Named(name)), []) = (choice, &offered[..]) {
            return Err(Unfit::of("tool_choice", format!("there is no tool `{name}`")));
        }
        tools.choice = match choice {
            None | Some(ToolChoice::Auto) => None,
            Some(ToolChoice::None) => (!offered.is_empty()).then_some("NONE"),
            Some(ToolChoice::Required | ToolChoice::Named(_)) => Some("REQUIRED"),
        };
        // All of them are strict, or none is.
        let strict = offered.iter().filter(|tool| tool.strict == Some(true)).count();
        tools.is_strict = strict > 0 && strict == offered.len();
        if strict > 0 && !tools.is_strict {
            tools.lost = Some(Lost { name: "tools.strict".to_owned(), is_hint: true });
        }
        let spec_of = |tool: &&Tool| spec(&tool.name, tool.description.as_deref(), tool.schema.as_ref());
        tools.specs = offered.iter().map(spec_of).collect();
        if let Some(format) = &request.format {
            tools.format(format);
        }
        Ok(tools)
    }

    /// The API has no form of answers where there are tools or documents to use.
    fn format(&mut self, format: &Format) {
        match (self.choice, self.specs.is_empty()) {
            // The answer is a call, which has a form of its own.
            (Some("REQUIRED"), _) => {}
            (Some("NONE"), _) | (_, true) => {
                self.specs.clear();
                self.choice = None;
                self.format = Some(match format {
                    Format::JsonObject => json!({ "type": "json_object" }),
                    Format::JsonSchema { schema, .. } => json!({ "type": "json_object", "json_schema": schema }),
                });
            }
            _ => self.form(format),
        }
    }

    /// Has the answer given as the arguments of a tool.
    fn form(&mut self, format: &Format) {
        let any = json!({ "type": "object", "additionalProperties": true });
        let (description, schema) = match format {
            Format::JsonObject => (None, &any),
            Format::JsonSchema { description, schema, .. } => (description.as_deref(), schema),
        };
        let mut name = "json_answer".to_owned();
        while self.specs.iter().any(|spec| spec["function"]["name"] == name) {
            name.push('_');
        }
        let description = description.unwrap_or("Gives the answer to the user, as JSON.");
        self.specs.push(spec(&name, Some(description), Some(schema)));
        self.choice = Some("REQUIRED");
        self.form_tool = Some(name);
    }

    fn write(self, body: &mut Map<String, Value>) -> Option<Lost> {
        if !self.specs.is_empty() {
            body.insert("tools".to_owned(), self.specs.into());
        }
        if let Some(choice) = self.choice {
            body.insert("tool_choice".to_owned(), choice.into());
        }
        if self.is_strict {
            body.insert("strict_tools".to_owned(), true.into());
        }
        if let Some(format) = self.format {
            body.insert("response_format".to_owned(), format);
        }
        self.lost
    }
}

fn spec(name: &str, description: Option<&str>, schema: Option<&Value>) -> Value {
    let empty = || json!({ "type": "object", "properties": {} });
    let mut function = json!({ "name": name, "parameters": schema.cloned().unwrap_or_else(empty) });
    if let Some(description) = description {
        function["description"] = description.into();
    }
    json!({ "type": "function", "function": function })
}
