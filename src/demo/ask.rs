//! What a request asks for, whichever surface it came by, and the reply to it.

use serde_json::{Map, Value};

use super::respond::Refusal;
use super::schema;
use super::script::{self, Tokens};

/// Choices of one request.
const CHOICES_MAX: u64 = 16;

/// Letters of a tool's result quoted in the answer to it.
const QUOTE_LETTERS: usize = 160;

/// The parts of a request that decide its answer.
#[derive(Debug, Default)]
pub(super) struct Ask {
    /// The model's name, echoed.
    pub(super) model: String,
    /// Whether the answer is streamed.
    pub(super) stream: bool,
    /// Tokens of one choice.
    pub(super) tokens_max: Option<usize>,
    /// Number of choices.
    pub(super) choices: u64,
    /// Every text of the request: what the seed and the count of prompt tokens come from.
    pub(super) prompt: String,
    /// What the user said last.
    said: String,
    /// The result of a tool, where that is what came last.
    result: Option<String>,
    tool: Option<Tool>,
    format: Format,
}

#[derive(Debug)]
struct Tool {
    name: String,
    parameters: Value,
}

#[derive(Debug, Default)]
enum Format {
    #[default]
    Text,
    Object,
    Schema(Value),
}

/// One choice of an answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// The function to call; its arguments are the tokens then.
    pub(super) call: Option<String>,
    /// The text.
    pub(super) tokens: Tokens,
    /// Whether the limit of tokens cut it short.
    pub(super) cut: bool,
}

impl Reply {
    /// `finish_reason` of chat completions.
    pub(super) fn finish(&self) -> &'static str {
        match (self.cut, &self.call) {
            (true, _) => "length",
            (false, Some(_)) => "tool_calls",
            (false, None) => "stop",
        }
    }
}

impl Ask {
    /// Reads a chat completion request.
    pub(super) fn chat(body: &Value) -> Result<Self, Refusal> {
        let messages =
            body.get("messages").and_then(Value::as_array).filter(|list| !list.is_empty()).ok_or_else(|| {
                Refusal::field("messages", "'messages' must be a list with at least one message")
            })?;
        let mut ask = Self::common(body, &["max_completion_tokens", "max_tokens"])?;
        ask.read_turns(messages);
        ask.format = match body.pointer("/response_format/type").and_then(Value::as_str) {
            Some("json_schema") => Format::Schema(at(body, "/response_format/json_schema/schema")),
            Some("json_object") => Format::Object,
            _ => Format::Text,
        };
        ask.tool = choose(body, "/function");
        Ok(ask)
    }

    /// Reads a request of the Responses API.
    pub(super) fn responses(body: &Value) -> Result<Self, Refusal> {
        let mut ask = Self::common(body, &["max_output_tokens"])?;
        match body.get("input") {
            Some(Value::String(text)) => {
                text.clone_into(&mut ask.said);
                ask.prompt.push_str(text);
            }
            Some(Value::Array(items)) => ask.read_turns(items),
            _ => {
                return Err(Refusal::field("input", "'input' must be a string or a list of items"));
            }
        }
        if let Some(instructions) = body.get("instructions").and_then(Value::as_str) {
            ask.prompt.push_str(instructions);
        }
        ask.format = match body.pointer("/text/format/type").and_then(Value::as_str) {
            Some("json_schema") => Format::Schema(at(body, "/text/format/schema")),
            Some("json_object") => Format::Object,
            _ => Format::Text,
        };
        ask.tool = choose(body, "");
        Ok(ask)
    }

    /// Reads a legacy completion request.
    pub(super) fn completion(body: &Value) -> Result<Self, Refusal> {
        let mut ask = Self::common(body, &["max_tokens"])?;
        collect_text(body.get("prompt").unwrap_or(&Value::Null), &mut ask.prompt);
        ask.prompt.clone_into(&mut ask.said);
        Ok(ask)
    }

    fn common(body: &Value, limits: &[&str]) -> Result<Self, Refusal> {
        let model = model(body)?;
        let limit = limits.iter().find_map(|name| body.get(*name).filter(|value| !value.is_null()));
        let tokens_max = match limit {
            None => None,
            Some(value) => match value.as_u64() {
                Some(max) if max > 0 => Some(usize::try_from(max).unwrap_or(usize::MAX)),
                _ => {
                    return Err(Refusal::field("max_tokens", "the limit of tokens must be a positive integer"));
                }
            },
        };
        let choices = body.get("n").and_then(Value::as_u64).unwrap_or(1);
        if !(1..=CHOICES_MAX).contains(&choices) {
            return Err(Refusal::field("n", "'n' must be between 1 and 16"));
        }
        let stream = body.get("stream").and_then(Value::as_bool).unwrap_or(false);
        Ok(Self { model, stream, tokens_max, choices, ..Self::default() })
    }

    /// Reads messages or input items; the last one decides what kind of answer fits.
    fn read_turns(&mut self, turns: &[Value]) {
        for turn in turns {
            let mut text = String::new();
            for key in ["content", "output", "arguments"] {
                collect_text(turn.get(key).unwrap_or(&Value::Null), &mut text);
            }
            self.prompt.push_str(&text);
            self.prompt.push('\n');
            let role = turn.get("role").and_then(Value::as_str);
            let kind = turn.get("type").and_then(Value::as_str);
            self.result = None;
            if role == Some("tool") || kind == Some("function_call_output") {
                self.result = Some(text);
            } else if role == Some("user") {
                self.said = text;
            }
        }
    }

    /// Choice `choice` of the answer.
    pub(super) fn reply(&self, seed: u64, choice: u64) -> Reply {
        let seed = script::hash(seed.wrapping_add(choice), &self.prompt);
        let call = self.tool.as_ref().filter(|_| self.result.is_none());
        let text = match (call, &self.format, &self.result) {
            (Some(tool), ..) => schema::fill(&tool.parameters, &self.said).to_string(),
            (None, Format::Schema(schema), _) => schema::fill(schema, &self.said).to_string(),
            (None, Format::Object, _) => {
                let answer = Map::from_iter([("answer".to_owned(), script::prose(seed).into())]);
                Value::Object(answer).to_string()
            }
            (None, Format::Text, Some(result)) => {
                let quote: String = result.trim().chars().take(QUOTE_LETTERS).collect();
                format!("The tool answered: {quote}. {}", script::prose(seed))
            }
            (None, Format::Text, None) => script::prose(seed),
        };
        let mut tokens = Tokens::of(text);
        let cut = self.tokens_max.is_some_and(|max| tokens.truncate(max));
        Reply { call: call.map(|tool| tool.name.clone()), tokens, cut }
    }

    /// Tokens of the request, counted as those of the answer are.
    pub(super) fn prompt_tokens(&self) -> usize {
        script::count(&self.prompt)
    }
}

/// The model's name, which every surface needs.
pub(super) fn model(body: &Value) -> Result<String, Refusal> {
    body.get("model")
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| Refusal::field("model", "you must provide a model parameter"))
}

/// Appends every text in `value`: a string, or parts with a `text` field, at any depth.
pub(super) fn collect_text(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => into.push_str(text),
        Value::Array(parts) => parts.iter().for_each(|part| collect_text(part, into)),
        Value::Object(part) => collect_text(part.get("text").unwrap_or(&Value::Null), into),
        Value::Number(token) => {
            into.push(' ');
            into.push_str(&token.to_string());
        }
        _ => {}
    }
}

fn at(body: &Value, path: &str) -> Value {
    body.pointer(path).cloned().unwrap_or(Value::Null)
}

/// The named function if one is named, else the first. Its description lies under `place` in each tool.
fn choose(body: &Value, place: &str) -> Option<Tool> {
    let wish = body.get("tool_choice");
    if wish.and_then(Value::as_str) == Some("none") {
        return None;
    }
    let named = wish.and_then(|wish| wish.pointer(&format!("{place}/name"))).and_then(Value::as_str);
    let functions = body.get("tools")?.as_array()?.iter().filter_map(|tool| {
        let function = tool.pointer(place)?;
        let name = function.get("name")?.as_str()?;
        named
            .is_none_or(|wish| wish == name)
            .then(|| Tool { name: name.to_owned(), parameters: at(function, "/parameters") })
    });
    functions.into_iter().next()
}
