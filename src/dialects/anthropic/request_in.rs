//! What a client asks for (Anthropic API reference, create a message; the beta's fields included).

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::blocks_in::{At, Blocks, string, taken};
use crate::dialects::conversation::{
    Content, Effort, Format, Message, Part, Request, Role, Thinking, Tool, ToolChoice, Wish, Wishes,
};
use crate::dialects::{Place, Refusal};

/// How a system text begins with which Claude Code reports itself to Anthropic, in words that change with each request.
/// It tells no model anything, and would keep prompts from being cached.
const BILLING_NOTE: &str = "x-anthropic-billing-header:";

/// Reads a request. One for a count of tokens has no `max_tokens`.
pub(super) fn read(body: &[u8], place: &Place<'_>, is_count: bool) -> Result<Request, Refusal> {
    let Ok(Value::Object(mut body)) = serde_json::from_slice(body) else {
        return Err(Refusal { message: "The request body must be a JSON object.".into(), param: None });
    };
    let model = string(&mut body, "model").or_else(|| place.model.map(str::to_owned));
    let stream = match taken(&mut body, "stream") {
        None => place.stream.unwrap_or(false),
        Some(Value::Bool(stream)) => stream,
        Some(_) => return Err(Refusal::of("stream", "stream: must be true or false")),
    };
    let mut request = Request {
        model: model.ok_or_else(|| Refusal::of("model", "model: Field required"))?,
        stream,
        ..Request::default()
    };
    if taken(&mut body, "thread").is_some() {
        // Never dropped: what the client sends next is but the end of what it takes for known.
        let problem = "thread: The provider of this model holds no conversations; send all of it.";
        return Err(Refusal::of("thread", problem));
    }
    if !is_count && body.get("max_tokens").and_then(Value::as_u64).is_none() {
        return Err(Refusal::of("max_tokens", "max_tokens: Field required, a whole number"));
    }
    request.messages.extend(system(taken(&mut body, "system"))?);
    messages(taken(&mut body, "messages"), &mut request)?;
    tools(taken(&mut body, "tools"), &mut request)?;
    tool_choice(taken(&mut body, "tool_choice"), &mut request)?;
    thinking(taken(&mut body, "thinking"), &mut request)?;
    output(taken(&mut body, "output_config"), taken(&mut body, "output_format"), &mut request);
    for (name, value) in body {
        setting(&name, value, &mut request.wishes);
    }
    Ok(request)
}

fn system(system: Option<Value>) -> Result<Option<Message>, Refusal> {
    let refuse = || Refusal::of("system", "system: must be a string or a list of text blocks");
    let blocks = match system {
        None => return Ok(None),
        Some(Value::String(text)) => vec![json!({ "type": "text", "text": text })],
        Some(Value::Array(blocks)) => blocks,
        Some(_) => return Err(refuse()),
    };
    let mut parts = Vec::new();
    for block in blocks {
        let Value::Object(mut block) = block else { return Err(refuse()) };
        let text = string(&mut block, "text").ok_or_else(refuse)?;
        if !text.is_empty() && !text.starts_with(BILLING_NOTE) {
            parts.push(Part { cache: taken(&mut block, "cache_control"), ..Part::text(text) });
        }
    }
    Ok((!parts.is_empty()).then_some(Message { role: Role::System, parts, name: None }))
}

fn messages(messages: Option<Value>, request: &mut Request) -> Result<(), Refusal> {
    let Some(Value::Array(messages)) = messages else {
        return Err(Refusal::of("messages", "messages: Field required, a list"));
    };
    if messages.is_empty() {
        return Err(Refusal::of("messages", "messages: at least one message is required"));
    }
    let last_user = messages.iter().rposition(|message| message["role"] == "user");
    let mut blocks = Blocks { wishes: &mut request.wishes, calls: HashMap::new() };
    let mut effort = None;
    for (index, message) in messages.into_iter().enumerate() {
        let refuse = |problem: &str| {
            let name = format!("messages[{index}]");
            Refusal::of(name.clone(), format!("{name}: {problem}"))
        };
        let Value::Object(mut message) = message else { return Err(refuse("must be an object")) };
        let role = match message.get("role").and_then(Value::as_str) {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            // Instructions within the conversation, which newer models take.
            Some("system") => Role::System,
            _ => return Err(refuse("`role` must be `user`, `assistant` or `system`")),
        };
        let is_past = message.get("clear_at").is_some_and(|until| until == "next_user_message");
        if is_past && last_user.is_some_and(|last| index < last) {
            // An instruction for one turn only.
            continue;
        }
        let mut parts = Vec::new();
        effort = message.get("output_config").and_then(effort_of).or(effort);
        match taken(&mut message, "content") {
            Some(Value::String(text)) => parts.push(Part::text(text)),
            Some(Value::Array(content)) => {
                for (block, value) in content.into_iter().enumerate() {
                    blocks.read(value, At { message: index, block }, &mut parts)?;
                }
            }
            _ => return Err(refuse("`content` must be a string or a list of blocks")),
        }
        push(role, parts, &mut request.messages);
    }
    if effort.is_some() {
        request.thinking.get_or_insert_with(Thinking::default).effort = effort;
    }
    Ok(())
}

/// Adds a message. Results of tools, which a user's message may hold among other things, are messages of their own.
fn push(role: Role, parts: Vec<Part>, messages: &mut Vec<Message>) {
    let mut run: Option<Message> = None;
    for part in parts {
        let is_result = matches!(part.content, Content::ToolResult(_));
        let role = if is_result { Role::Tool } else { role };
        match &mut run {
            Some(message) if message.role == role => message.parts.push(part),
            _ => messages.extend(run.replace(Message { role, parts: vec![part], name: None })),
        }
    }
    messages.extend(run);
}

fn tools(tools: Option<Value>, request: &mut Request) -> Result<(), Refusal> {
    let tools = match tools {
        None => return Ok(()),
        Some(Value::Array(tools)) => tools,
        Some(_) => return Err(Refusal::of("tools", "tools: must be a list")),
    };
    for (index, tool) in tools.into_iter().enumerate() {
        let at = format!("tools[{index}]");
        let Value::Object(tool) = tool else { return Err(Refusal::of(at, "tools: each must be an object")) };
        match tool.get("type").and_then(Value::as_str) {
            None | Some("custom") => {
                let tool = custom_tool(tool, &at, &mut request.wishes)?;
                request.tools.push(tool);
            }
            // Finds tools that are held back. Elsewhere none are.
            Some(kind) if kind.starts_with("tool_search_tool_") => {
                request.wishes.add(Wish::Hint, at, Value::Object(tool));
            }
            Some(_) => request.wishes.add(Wish::Other, at, Value::Object(tool)),
        }
    }
    Ok(())
}

fn custom_tool(mut tool: Map<String, Value>, at: &str, wishes: &mut Wishes) -> Result<Tool, Refusal> {
    let name = string(&mut tool, "name");
    let name = name.ok_or_else(|| Refusal::of(at, format!("{at}: `name` must be a string")))?;
    let schema = taken(&mut tool, "input_schema");
    if !schema.as_ref().is_some_and(Value::is_object) {
        return Err(Refusal::of(at, format!("{at}: `input_schema` must be an object")));
    }
    let read = Tool {
        name,
        description: string(&mut tool, "description"),
        schema,
        strict: taken(&mut tool, "strict").and_then(|strict| strict.as_bool()).filter(|strict| *strict),
        cache: taken(&mut tool, "cache_control"),
    };
    for (name, value) in tool {
        match (&*name, &value) {
            ("type", _) | (_, Value::Null | Value::Bool(false)) => {}
            // When its definition is shown to the model, how its arguments are streamed, and samples of them.
            ("defer_loading" | "eager_input_streaming" | "input_examples", _) => {
                wishes.add(Wish::Hint, format!("{at}.{name}"), value);
            }
            ("allowed_callers", callers) if *callers == json!(["direct"]) => {}
            _ => wishes.add(Wish::Other, format!("{at}.{name}"), value),
        }
    }
    Ok(read)
}

fn tool_choice(choice: Option<Value>, request: &mut Request) -> Result<(), Refusal> {
    let Some(choice) = choice else { return Ok(()) };
    let refuse = |problem: &str| Refusal::of("tool_choice", format!("tool_choice: {problem}"));
    request.tool_choice = Some(match choice.get("type").and_then(Value::as_str) {
        Some("auto") => ToolChoice::Auto,
        Some("none") => ToolChoice::None,
        Some("any") => ToolChoice::Required,
        Some("tool") => {
            let name = choice.get("name").and_then(Value::as_str);
            ToolChoice::Named(name.ok_or_else(|| refuse("`name` must be a string"))?.to_owned())
        }
        _ => return Err(refuse("`type` must be `auto`, `any`, `tool` or `none`")),
    });
    if choice.get("disable_parallel_tool_use") == Some(&Value::Bool(true)) {
        let name = "tool_choice.disable_parallel_tool_use";
        request.wishes.add(Wish::ParallelToolCalls, name, Value::Bool(false));
    }
    Ok(())
}

fn thinking(thinking: Option<Value>, request: &mut Request) -> Result<(), Refusal> {
    let Some(thinking) = thinking else { return Ok(()) };
    let display = thinking.get("display").and_then(Value::as_str);
    let mut summary = display.map(|display| if display == "omitted" { "none" } else { "auto" });
    let (mut enabled, mut budget) = (true, None);
    match thinking.get("type").and_then(Value::as_str) {
        Some("adaptive") => {}
        Some("enabled") => {
            budget = thinking.get("budget_tokens").and_then(Value::as_u64);
            // The models that are asked so show their thoughts unless they are told not to.
            summary = summary.or(Some("auto"));
        }
        // `between_tools` is what newer models have for it: no thought before the answer.
        Some("disabled" | "between_tools") => (enabled, summary) = (false, None),
        _ => {
            let problem = "thinking.type: must be `enabled`, `adaptive`, `disabled` or `between_tools`";
            return Err(Refusal::of("thinking", problem));
        }
    }
    let summary = summary.map(str::to_owned);
    let effort = request.thinking.as_ref().and_then(|thinking| thinking.effort);
    request.thinking = Some(Thinking { enabled: Some(enabled), effort, budget, summary });
    Ok(())
}

/// The effort of one message, which holds from there on.
fn effort_of(config: &Value) -> Option<Effort> {
    config.get("effort").and_then(Value::as_str).and_then(Effort::of)
}

/// `output_config`, and `output_format`, as which its form of the answer began.
fn output(config: Option<Value>, format: Option<Value>, request: &mut Request) {
    let mut format = format.map(|format| ("output_format", format));
    if let Some(Value::Object(config)) = config {
        for (name, value) in config {
            let effort = value.as_str().and_then(Effort::of);
            match (&*name, effort) {
                ("effort", Some(effort)) => {
                    let thinking = request.thinking.get_or_insert_with(Thinking::default);
                    thinking.effort = thinking.effort.or(Some(effort));
                }
                ("format", _) if !value.is_null() => format = Some(("output_config.format", value)),
                // Something that the model is told of, so that it can pace itself.
                ("task_budget", _) => request.wishes.add(Wish::Hint, "output_config.task_budget", value),
                _ => request.wishes.add(Wish::Other, format!("output_config.{name}"), value),
            }
        }
    }
    let Some((name, format)) = format else { return };
    match format.get("schema") {
        Some(schema) if format.get("type").and_then(Value::as_str) == Some("json_schema") => {
            let (name, description, schema) = (None, None, schema.clone());
            request.format = Some(Format::JsonSchema { name, description, schema, strict: Some(true) });
        }
        _ => request.wishes.add(Wish::Other, name, format),
    }
}

fn setting(name: &str, mut value: Value, wishes: &mut Wishes) {
    let word = value.as_str().unwrap_or_default();
    let wish = match name {
        // Says how the body is to be read, and names what else may stand in it.
        "anthropic_version" | "anthropic_beta" | "betas" => return,
        "max_tokens" => Wish::MaxTokens,
        "temperature" => Wish::Temperature,
        "top_p" => Wish::TopP,
        "top_k" => Wish::TopK,
        "stop_sequences" | "mcp_servers" if value.as_array().is_some_and(Vec::is_empty) => return,
        "stop_sequences" => Wish::Stop,
        "metadata" => {
            let user = value.as_object_mut().and_then(|metadata| taken(metadata, "user_id"));
            return wishes.add(Wish::User, "metadata.user_id", user.unwrap_or_default());
        }
        "service_tier" if word == "auto" => return,
        "service_tier" if word == "standard_only" => return wishes.add(Wish::ServiceTier, name, json!("default")),
        "service_tier" => Wish::ServiceTier,
        "speed" if word == "standard" => return,
        // How fast, what is cached, what is told of that, what of a long conversation is left out, and which other of its
        // models the provider may ask: the answer is one to the same question.
        "speed"
        | "cache_control"
        | "context_management"
        | "diagnostics"
        | "fallbacks"
        | "fallback_credit_token" => Wish::Hint,
        _ => Wish::Other,
    };
    wishes.add(wish, name, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::conversation::{Family, Media, Source};

    fn request(mut body: Value) -> Request {
        for (name, value) in [
            ("model", json!("m")),
            ("max_tokens", json!(9)),
            (
                "messages",
                json!([{
                    "role": "user", "content": "hi"
                }]),
            ),
        ] {
            body.as_object_mut().expect("an object").entry(name).or_insert(value);
        }
        read(body.to_string().as_bytes(), &Place::default(), false).expect("a request")
    }

    fn parts(role: &str, blocks: &Value) -> Vec<Part> {
        let request = request(json!({ "messages": [{ "role": role, "content": blocks }] }));
        request.messages.into_iter().flat_map(|message| message.parts).collect()
    }

    fn wishes(body: Value) -> Vec<(Wish, String)> {
        let request = request(body);
        let left = request.wishes.open().left();
        let left = left.into_iter().filter(|(wish, _)| *wish != Wish::MaxTokens);
        left.map(|(wish, name)| (wish, name.to_owned())).collect()
    }

    #[test]
    fn settings_are_wishes_by_the_names_that_clients_give_them() {
        for (body, expected) in [
            (json!({"temperature": 0.5}), vec![(Wish::Temperature, "temperature")]),
            (json!({"top_p": 0.5, "top_k": 3}), vec![(Wish::TopP, "top_p"), (Wish::TopK, "top_k")]),
            (json!({"stop_sequences": ["a"]}), vec![(Wish::Stop, "stop_sequences")]),
            (json!({"stop_sequences": [], "mcp_servers": [], "container": null}), vec![]),
            (json!({"metadata": {"user_id": "u"}}), vec![(Wish::User, "metadata.user_id")]),
            (json!({"metadata": {"user_id": null}, "service_tier": "auto", "speed": "standard"}), vec![]),
            (json!({"service_tier": "standard_only"}), vec![(Wish::ServiceTier, "service_tier")]),
            (json!({"context_management": {"edits": []}}), vec![(Wish::Hint, "context_management")]),
            (json!({"betas": ["a"], "anthropic_version": "v"}), vec![]),
            (
                json!({"mcp_servers": [{}], "inference_geo": "eu", "new": 1}),
                vec![(Wish::Other, "mcp_servers"), (Wish::Other, "inference_geo"), (Wish::Other, "new")],
            ),
            (
                json!({"output_config": {"task_budget": {"total": 1}, "new": 1}}),
                vec![(Wish::Hint, "output_config.task_budget"), (Wish::Other, "output_config.new")],
            ),
            (
                json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}}),
                vec![(Wish::ParallelToolCalls, "tool_choice.disable_parallel_tool_use")],
            ),
            (
                json!({"tools": [
                    {"name": "a", "input_schema": {}, "defer_loading": true, "allowed_callers": ["direct"]},
                    {"type": "web_search_20250305", "name": "web_search"},
                    {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
                    {"type": "custom", "name": "b", "input_schema": {}, "allowed_callers": ["code_execution_20260120"]},
                ]}),
                vec![
                    (Wish::Hint, "tools[0].defer_loading"),
                    (Wish::Other, "tools[1]"),
                    (Wish::Hint, "tools[2]"),
                    (Wish::Other, "tools[3].allowed_callers"),
                ],
            ),
            (
                json!({"messages": [{"role": "user", "content": [{"type": "document", "citations": {"enabled": true},
                    "source": {"type": "text", "media_type": "text/plain", "data": "x"}}]}]}),
                vec![(Wish::Other, "messages[0].content[0].citations")],
            ),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(wish, name)| (wish, name.to_owned())).collect();
            assert_eq!(wishes(body.clone()), expected, "{body}");
        }
    }

    #[test]
    fn a_conversation_that_the_server_is_to_hold_is_refused_by_name() {
        let mut body = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
        let read = |body: &Value| read(body.to_string().as_bytes(), &Place::default(), false);
        body["thread"] = json!({ "type": "create" });
        assert_eq!(read(&body).expect_err("refused").param.as_deref(), Some("thread"));
        body["thread"] = Value::Null;
        assert!(read(&body).is_ok());
    }

    #[test]
    fn what_an_agent_sends_by_default_is_taken_or_a_hint() {
        let body = json!({
            "system": [
                {"type": "text", "text": "x-anthropic-billing-header: cc_version=1"},
                {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            ],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "ls", "cache_control": {"type": "ephemeral"}}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "List.", "signature": ""},
                    {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.rs", "is_error": false},
                    {"type": "text", "text": "Go on."},
                ]},
                {"role": "system", "content": "Never delete."},
            ],
            "tools": [{"name": "Bash", "description": "Runs.", "input_schema": {"type": "object"},
                "eager_input_streaming": true, "cache_control": {"type": "ephemeral"}}],
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "xhigh"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "metadata": {"user_id": "u"}, "temperature": 1, "stream": true, "diagnostics": {"previous_message_id": null},
        });
        let request = request(body);
        let left = request.wishes.open();
        for wish in [Wish::MaxTokens, Wish::Temperature] {
            left.take(wish);
        }
        assert!(left.left().iter().all(|(wish, _)| wish.is_hint()), "{:?}", left.left());
        let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
        use Role::{Assistant, System, Tool, User};
        assert_eq!(roles, [System, User, Assistant, Tool, User, System]);
        assert_eq!(request.messages[0].parts.len(), 1);
        assert_eq!(request.messages[0].parts[0].cache, Some(json!({"type": "ephemeral", "ttl": "1h"})));
        let Content::ToolResult(result) = &request.messages[3].parts[0].content else { panic!("a result") };
        assert_eq!((result.name.as_deref(), result.parts[0].as_text()), (Some("Bash"), Some("a.rs")));
        let thinking = request.thinking.expect("it is asked for");
        assert_eq!((thinking.enabled, thinking.effort), (Some(true), Some(Effort::XHigh)));
        assert_eq!(thinking.summary.as_deref(), Some("auto"));
        assert!(request.stream && request.tools[0].cache.is_some());
    }

    #[test]
    fn each_source_of_a_medium_is_read() {
        let media = |kind: &str, source: Value| match &parts("user", &json!([{"type": kind, "source": source}]))[0]
            .content
        {
            Content::Media(media) => media.clone(),
            other => panic!("{other:?}"),
        };
        let base64 = json!({"type": "base64", "media_type": "image/png", "data": "QQ=="});
        assert_eq!(
            media("image", base64),
            Media::new("image", Some("image/png".into()), Source::Base64("QQ==".into()))
        );
        let url = json!({"type": "url", "url": "https://a.example/"});
        assert_eq!(media("image", url.clone()).source, Source::Url("https://a.example/".into()));
        assert_eq!(media("document", url).media_type.as_deref(), Some("application/pdf"));
        for kind in ["image", "document"] {
            let file = media(kind, json!({"type": "file", "file_id": "file_1"}));
            assert_eq!(file.source, Source::Id("file_1".into()));
        }
        for source in [
            json!({"type": "text", "media_type": "text/plain", "data": "a\nb"}),
            json!({"type": "content", "content": "a\nb"}),
            json!({"type": "content", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
        ] {
            assert_eq!(media("document", source).source, Source::Text("a\nb".into()));
        }
        let titled = parts(
            "user",
            &json!([{"type": "document", "title": "T", "context": "C",
            "source": {"type": "text", "data": "x"}}]),
        );
        assert_eq!(titled[0].as_text(), Some("C"));
        let found = parts(
            "user",
            &json!([{"type": "search_result", "source": "https://a.example/", "title": "T",
            "content": [{"type": "text", "text": "x"}]}]),
        );
        assert_eq!(found[0].as_text(), Some("T\nhttps://a.example/\nx"));
    }

    #[test]
    fn thoughts_and_the_signatures_of_others_come_back() {
        let parts = parts(
            "assistant",
            &json!([
                {"type": "thinking", "thinking": "a", "signature": "Eq"},
                {"type": "redacted_thinking", "data": "ms1:openai:enc|rs_1"},
                {"type": "thinking", "thinking": "", "signature": "ms1:gemini:sig"},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}},
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            ]),
        );
        let [
            Content::Reasoning(own),
            Content::Reasoning(sealed),
            Content::ToolCall(call),
            Content::Foreign { kind, .. },
        ] = [&parts[0].content, &parts[1].content, &parts[2].content, &parts[3].content]
        else {
            panic!("{parts:?}")
        };
        assert_eq!(own.signature.as_ref().and_then(|signature| signature.of(Family::Anthropic)), Some("Eq"));
        assert_eq!(sealed.redacted.as_ref().and_then(|redacted| redacted.of(Family::OpenAi)), Some("enc"));
        assert_eq!(sealed.id.as_deref(), Some("rs_1"));
        assert_eq!(call.signature.as_ref().and_then(|signature| signature.of(Family::Gemini)), Some("sig"));
        assert_eq!((&*call.arguments, &**kind), (r#"{"x":1}"#, "server_tool_use"));
    }

    #[test]
    fn an_instruction_for_one_turn_is_over_after_it() {
        let say = |role: &str, text: &str| json!({"role": role, "content": text});
        let passing = json!({"role": "system", "content": "now", "clear_at": "next_user_message"});
        let lasting = json!({"role": "system", "content": [], "output_config": {"effort": "low"}});
        let request = request(json!({
            "messages": [say("user", "a"), passing, say("assistant", "b"), lasting, say("user", "c"), passing],
            "output_config": {"effort": "max"},
        }));
        let texts: Vec<_> = request.messages.iter().filter_map(|message| message.parts[0].as_text()).collect();
        assert_eq!(texts, ["a", "b", "c", "now"]);
        assert_eq!(request.thinking.and_then(|thinking| thinking.effort), Some(Effort::Low));
    }

    #[test]
    fn forms_thoughts_and_choices_are_read() {
        let schema = json!({"type": "object"});
        for name in ["output_config", "output_format"] {
            let format = json!({"type": "json_schema", "schema": schema});
            let value = if name == "output_config" { json!({ "format": format }) } else { format };
            let Some(Format::JsonSchema { schema: read, .. }) = request(json!({ name: value })).format else {
                panic!("{name}")
            };
            assert_eq!(read, schema);
        }
        for (thinking, enabled, budget) in [
            (json!({"type": "enabled", "budget_tokens": 2000}), Some(true), Some(2000)),
            (json!({"type": "adaptive"}), Some(true), None),
            (json!({"type": "disabled"}), Some(false), None),
            (json!({"type": "between_tools"}), Some(false), None),
        ] {
            let read = request(json!({ "thinking": thinking })).thinking.expect("it was said");
            assert_eq!((read.enabled, read.budget), (enabled, budget), "{thinking}");
        }
        for (choice, expected) in [
            (json!({"type": "auto"}), ToolChoice::Auto),
            (json!({"type": "any"}), ToolChoice::Required),
            (json!({"type": "none"}), ToolChoice::None),
            (json!({"type": "tool", "name": "f"}), ToolChoice::Named("f".into())),
        ] {
            assert_eq!(request(json!({ "tool_choice": choice })).tool_choice, Some(expected));
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (body, param) in [
            (json!({"max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}), "model"),
            (json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}), "max_tokens"),
            (json!({"model": "m", "max_tokens": 1}), "messages"),
            (json!({"model": "m", "max_tokens": 1, "messages": []}), "messages"),
            (json!({"model": "m", "max_tokens": 1, "messages": [{"role": "x", "content": "x"}]}), "messages[0]"),
            (
                json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "text"}]}]}),
                "messages[0].content[0]",
            ),
            (
                json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "tools": [{"name": "f"}]}),
                "tools[0]",
            ),
        ] {
            let refusal = read(body.to_string().as_bytes(), &Place::default(), false).expect_err("it is wrong");
            assert_eq!(refusal.param.as_deref(), Some(param), "{body}");
        }
        assert!(read(b"[]", &Place::default(), false).is_err());
        let count = br#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
        assert!(read(count, &Place::default(), true).is_ok());
    }
}
