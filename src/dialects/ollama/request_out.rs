//! From the common form to an upstream's request.

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::stream_in::Lines;
use super::{answer_in, embeddings, error, messages_out, options};
use crate::dialects::conversation::{
    Answer, Effort, Embeddings, EmbeddingsRequest, Failure, Format, Open, Request, Thinking, Tool, ToolChoice,
    Wish,
};
use crate::dialects::frames::Framing;
use crate::dialects::provider::{Decoder, Lost, Malformed, Provider, Sent, Target, Unfit};

/// Ollama as an upstream.
pub static PROVIDER: OllamaProvider = OllamaProvider;

/// Ollama as an upstream.
#[derive(Clone, Copy, Debug)]
pub struct OllamaProvider;

impl Provider for OllamaProvider {
    fn chat(&self, request: &Request, target: &Target<'_>) -> Result<Sent, Unfit> {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| {
            body.insert(name.to_owned(), value);
        };
        let (messages, mut lost) = messages_out::write(&request.messages)?;
        put("model", Value::from(target.model));
        put("messages", Value::Array(messages));
        put("stream", Value::Bool(request.stream));
        let tools = tools(request, &mut lost);
        if !tools.is_empty() {
            put("tools", Value::Array(tools));
        }
        match &request.format {
            None => {}
            Some(Format::JsonObject) => put("format", json!("json")),
            Some(Format::JsonSchema { schema, .. }) => put("format", schema.clone()),
        }
        if let Some(think) = request.thinking.as_ref().and_then(think) {
            put("think", think);
        }
        let open = request.wishes.open();
        logprobs(&open, &mut body);
        options::write(&open, &mut body);
        lost.extend(Lost::of_wishes(open.left()));
        Ok(Sent {
            path: "/api/chat".to_owned(),
            body: Value::Object(body).to_string().into_bytes(),
            lost,
            stream: request.stream,
            unique: target.unique.to_owned(),
            ..Sent::default()
        })
    }

    fn decoder(&self, sent: &Sent) -> Decoder {
        Decoder::new(Framing::Lines, Box::new(Lines::new(&sent.unique)))
    }

    fn answer(&self, sent: &Sent, body: &[u8]) -> Result<Answer, Malformed> {
        answer_in::read(sent, body)
    }

    fn failure(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
        error::read(status, headers, body)
    }

    fn embed(&self, request: &EmbeddingsRequest, target: &Target<'_>) -> Result<Sent, Unfit> {
        embeddings::request(request, target)
    }

    fn embeddings(&self, body: &[u8]) -> Result<Embeddings, Malformed> {
        embeddings::read(body)
    }
}

/// The tools. There is no way to demand a call, and to forbid calls is to show no tools.
fn tools(request: &Request, lost: &mut Vec<Lost>) -> Vec<Value> {
    match &request.tool_choice {
        Some(ToolChoice::None) => return Vec::new(),
        Some(ToolChoice::Required | ToolChoice::Named(_)) => lost.push(Lost::new("tool_choice")),
        None | Some(ToolChoice::Auto) => {}
    }
    let is_strict = request.tools.iter().position(|tool| tool.strict == Some(true));
    if let Some(at) = is_strict {
        lost.push(Lost { name: format!("tools[{at}].strict"), is_hint: true });
    }
    if request.tools.iter().any(|tool| tool.cache.is_some()) {
        messages_out::lose_cache(lost);
    }
    request.tools.iter().map(tool).collect()
}

fn tool(tool: &Tool) -> Value {
    let nothing = || json!({ "type": "object", "properties": {} });
    let mut function = Map::new();
    function.insert("name".to_owned(), Value::from(tool.name.as_str()));
    if let Some(description) = &tool.description {
        function.insert("description".to_owned(), Value::from(description.as_str()));
    }
    function.insert("parameters".to_owned(), tool.schema.clone().unwrap_or_else(nothing));
    json!({ "type": "function", "function": function })
}

/// On, off, or one of three words; models that know no words take each for on.
fn think(thinking: &Thinking) -> Option<Value> {
    if thinking.enabled == Some(false) {
        return Some(Value::Bool(false));
    }
    let effort = thinking.effort.or_else(|| thinking.budget.map(Effort::of_budget));
    match effort {
        None => thinking.enabled.map(Value::Bool),
        Some(Effort::None) => Some(Value::Bool(false)),
        Some(Effort::Minimal | Effort::Low) => Some(json!("low")),
        Some(Effort::Medium) => Some(json!("medium")),
        Some(Effort::High | Effort::XHigh | Effort::Max) => Some(json!("high")),
    }
}

fn logprobs(open: &Open<'_>, body: &mut Map<String, Value>) {
    for (wish, name) in [(Wish::Logprobs, "logprobs"), (Wish::TopLogprobs, "top_logprobs")] {
        if let Some(value) = open.take(wish) {
            body.insert(name.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::conversation::{Message, Part, Role, Wishes};

    const TARGET: Target<'_> = Target { model: "qwen3:8b", unique: "00000000000000000000000000000001" };

    fn request() -> Request {
        let hi = Message { role: Role::User, parts: vec![Part::text("Hi")], name: None };
        Request { model: "m".to_owned(), stream: true, messages: vec![hi], ..Request::default() }
    }

    fn body(sent: &Sent) -> Value {
        serde_json::from_slice(&sent.body).expect("JSON")
    }

    #[test]
    fn settings_are_taken_and_the_rest_is_lost_by_name() {
        let mut wishes = Wishes::default();
        for (wish, name, value) in [
            (Wish::MaxTokens, "max_completion_tokens", json!(5)),
            (Wish::Temperature, "temperature", json!(0.1)),
            (Wish::Stop, "stop", json!(["a"])),
            (Wish::N, "n", json!(2)),
            (Wish::User, "user", json!("me")),
            (Wish::Logprobs, "logprobs", json!(true)),
            (Wish::Loading, "options.num_ctx", json!(4096)),
            (Wish::Loading, "keep_alive", json!("5m")),
            (Wish::Other, "options.mirostat", json!(1)),
            (Wish::Other, "plugins", json!([])),
        ] {
            wishes.add(wish, name, value);
        }
        let sent = PROVIDER.chat(&Request { wishes, ..request() }, &TARGET).expect("fits");
        assert_eq!(
            body(&sent),
            json!({
                "model": "qwen3:8b", "messages": [{"role": "user", "content": "Hi"}], "stream": true,
                "logprobs": true, "keep_alive": "5m",
                "options": {"num_predict": 5, "temperature": 0.1, "stop": ["a"], "num_ctx": 4096, "mirostat": 1},
            })
        );
        assert_eq!(sent.path, "/api/chat");
        let lost: Vec<_> = sent.lost.iter().map(|lost| (&*lost.name, lost.is_hint)).collect();
        assert_eq!(lost, [("n", false), ("user", true), ("plugins", false)]);
    }

    #[test]
    fn thinking_is_a_switch_or_a_word() {
        let think = |enabled, effort, budget| think(&Thinking { enabled, effort, budget, summary: None });
        assert_eq!(think(Some(false), Some(Effort::High), None), Some(json!(false)));
        assert_eq!(think(Some(true), None, None), Some(json!(true)));
        assert_eq!(think(None, Some(Effort::None), None), Some(json!(false)));
        assert_eq!(think(None, Some(Effort::XHigh), None), Some(json!("high")));
        assert_eq!(think(None, None, Some(3000)), Some(json!("medium")));
        assert_eq!(think(None, None, None), None);
    }

    #[test]
    fn forms_and_tools() {
        let look = Tool {
            name: "look".to_owned(),
            description: None,
            schema: None,
            strict: Some(true),
            cache: Some(json!({"type": "ephemeral"})),
        };
        let schema = json!({"type": "object"});
        let format =
            Format::JsonSchema { name: None, description: None, schema: schema.clone(), strict: Some(true) };
        let asked = Request { tools: vec![look], format: Some(format), ..request() };
        let sent = PROVIDER.chat(&asked, &TARGET).expect("fits");
        assert_eq!(body(&sent)["format"], schema);
        assert_eq!(body(&sent)["tools"][0]["function"]["parameters"]["type"], "object");
        assert!(sent.lost.iter().all(|lost| lost.is_hint), "{:?}", sent.lost);
        let forced = Request { tool_choice: Some(ToolChoice::Required), ..asked.clone() };
        let sent = PROVIDER.chat(&forced, &TARGET).expect("fits");
        assert!(sent.lost.contains(&Lost::new("tool_choice")));
        let forbidden = Request { tool_choice: Some(ToolChoice::None), format: Some(Format::JsonObject), ..asked };
        let sent = PROVIDER.chat(&forbidden, &TARGET).expect("fits");
        assert_eq!((body(&sent).get("tools"), &body(&sent)["format"]), (None, &json!("json")));
    }
}
