//! The Responses API as objects: the answer, its parts, and what is kept of it.

use serde_json::{Map, Value, json};

use super::ask::{Ask, Reply};
use super::respond::{Birth, Refusal};

/// A response, decided before its first byte.
pub(super) struct Answer {
    /// The request, as far as it decides the answer.
    pub(super) ask: Ask,
    /// Its one output.
    pub(super) reply: Reply,
    /// Whether it may be read again later.
    pub(super) stored: bool,
    birth: Birth,
    echo: Map<String, Value>,
}

/// Request fields that come back in the response object, and what stands there when they were not given.
const ECHOED: &[(&str, &str)] = &[
    ("background", "false"),
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("store", "true"),
    ("temperature", "1.0"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", r#""auto""#),
    ("tools", "[]"),
    ("top_p", "1.0"),
    ("truncation", r#""disabled""#),
    ("user", "null"),
];

impl Answer {
    /// Decides the answer to `body`.
    pub(super) fn new(body: &Value, seed: u64) -> Result<Self, Refusal> {
        let ask = Ask::responses(body)?;
        let reply = ask.reply(seed, 0);
        let echo = ECHOED.iter().map(|(name, usual)| {
            let given = body.get(*name).filter(|value| !value.is_null()).cloned();
            let value = given.or_else(|| serde_json::from_str(usual).ok());
            ((*name).to_owned(), value.unwrap_or(Value::Null))
        });
        let echo = echo.collect();
        let stored = body.get("store").and_then(Value::as_bool).unwrap_or(true);
        Ok(Self { ask, reply, stored, birth: Birth::now(), echo })
    }

    /// The response's id.
    pub(super) fn id(&self) -> String {
        self.birth.id("resp_")
    }

    /// The id of its one output item.
    pub(super) fn item_id(&self) -> String {
        self.birth.id(if self.reply.call.is_some() { "fc_" } else { "msg_" })
    }

    /// How it ends.
    pub(super) fn status(&self) -> &'static str {
        if self.reply.cut { "incomplete" } else { "completed" }
    }

    /// The text as a content part.
    pub(super) fn part(text: &str) -> Value {
        json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
    }

    /// The output item, before its content (`status` in progress) or with it.
    pub(super) fn item(&self, status: &str) -> Value {
        let done = status != "in_progress";
        let text = if done { self.reply.tokens.text() } else { "" };
        if let Some(name) = &self.reply.call {
            return json!({
                "id": self.item_id(), "type": "function_call", "status": status, "name": name,
                "call_id": self.birth.id("call_"), "arguments": text,
            });
        }
        let content = if done { vec![Self::part(text)] } else { Vec::new() };
        json!({
            "id": self.item_id(), "type": "message", "status": status,
            "role": "assistant", "content": content,
        })
    }

    /// The response object in a given state.
    pub(super) fn object(&self, status: &str) -> Value {
        let done = matches!(status, "completed" | "incomplete");
        let mut object = self.echo.clone();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("id", self.id().into());
        put("object", "response".into());
        put("created_at", self.birth.seconds().into());
        put("status", status.into());
        put("error", Value::Null);
        put("model", self.ask.model.as_str().into());
        let incomplete = status == "incomplete";
        put("incomplete_details", if incomplete { json!({"reason": "max_output_tokens"}) } else { Value::Null });
        put("output", if done { json!([self.item(status)]) } else { json!([]) });
        put("usage", if done { self.usage() } else { Value::Null });
        Value::Object(object)
    }

    fn usage(&self) -> Value {
        let input = self.ask.prompt_tokens();
        let output = self.reply.tokens.len();
        json!({
            "input_tokens": input, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input + output,
        })
    }

    /// The input as a list of items, each with an id.
    pub(super) fn input_items(&self, body: &Value) -> Vec<Value> {
        let items = match body.get("input") {
            Some(Value::Array(items)) => items.clone(),
            Some(text) => vec![json!({"role": "user", "content": text})],
            None => Vec::new(),
        };
        let with_id = |(at, mut item): (usize, Value)| {
            if let Some(fields) = item.as_object_mut() {
                fields.entry("type").or_insert_with(|| "message".into());
                fields.entry("id").or_insert_with(|| self.birth.id(&format!("msg_in{at}_")).into());
                if let Some(Value::String(text)) = fields.get("content") {
                    let part = json!([{"type": "input_text", "text": text}]);
                    fields.insert("content".to_owned(), part);
                }
            }
            item
        };
        items.into_iter().enumerate().map(with_id).collect()
    }
}
