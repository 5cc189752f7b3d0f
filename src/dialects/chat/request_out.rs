//! Writes a request for a provider.

use serde_json::{Map, Value, json};

use super::habits::Habits;
use super::message_out::Writer;
use super::settings_out;
use crate::dialects::conversation::{Format, Request, Tool, ToolChoice};
use crate::dialects::{Lost, Sent, Target};

/// What a schema without a name is called: `OpenAI` wants one.
const SCHEMA_NAME: &str = "answer";

/// Writes a request for a chat completion.
pub(super) fn write(request: &Request, target: &Target<'_>, habits: Habits) -> Sent {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(target.model));
    let mut writer = Writer::new(habits, target.model);
    body.insert("messages".to_owned(), Value::Array(writer.messages(&request.messages)));
    tools(request, &mut writer, &mut body);
    if let Some(format) = &request.format {
        body.insert("response_format".to_owned(), self::format(format));
    }
    let open = request.wishes.open();
    settings_out::write(&request.wishes, &open, habits, &mut body);
    let mut lost = writer.lost;
    if let Some(thinking) = &request.thinking {
        lost.extend(settings_out::thinking(thinking, target.model, habits, &mut body));
    }
    if request.stream {
        body.insert("stream".to_owned(), json!(true));
        if habits.asks_usage() {
            body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
        }
    }
    lost.extend(Lost::of_wishes(open.left()));
    Sent {
        path: "/chat/completions".to_owned(),
        body: Value::Object(body).to_string().into_bytes(),
        lost,
        stream: request.stream,
        unique: target.unique.to_owned(),
        ..Sent::default()
    }
}

fn tools(request: &Request, writer: &mut Writer<'_>, body: &mut Map<String, Value>) {
    if request.tools.is_empty() {
        return;
    }
    let tools = request.tools.iter().map(|tool| self::tool(tool, writer)).collect();
    body.insert("tools".to_owned(), Value::Array(tools));
    let choice = match &request.tool_choice {
        None => return,
        Some(ToolChoice::Auto) => json!("auto"),
        Some(ToolChoice::None) => json!("none"),
        Some(ToolChoice::Required) => json!("required"),
        Some(ToolChoice::Named(name)) => json!({ "type": "function", "function": { "name": name } }),
    };
    body.insert("tool_choice".to_owned(), choice);
}

fn tool(tool: &Tool, writer: &mut Writer<'_>) -> Value {
    let mut function = json!({ "name": tool.name });
    if let Some(description) = &tool.description {
        function["description"] = json!(description);
    }
    if let Some(schema) = &tool.schema {
        function["parameters"] = schema.clone();
    }
    if let Some(strict) = tool.strict {
        function["strict"] = json!(strict);
    }
    let mut value = json!({ "type": "function", "function": function });
    match &tool.cache {
        Some(marker) if writer.habits.takes_cache(writer.model) => value["cache_control"] = marker.clone(),
        Some(_) => writer.lose_cache(),
        None => {}
    }
    value
}

fn format(format: &Format) -> Value {
    match format {
        Format::JsonObject => json!({ "type": "json_object" }),
        Format::JsonSchema { name, description, schema, strict } => {
            let mut said = json!({ "name": name.as_deref().unwrap_or(SCHEMA_NAME), "schema": schema });
            if let Some(description) = description {
                said["description"] = json!(description);
            }
            if let Some(strict) = strict {
                said["strict"] = json!(strict);
            }
            json!({ "type": "json_schema", "json_schema": said })
        }
    }
}
