//! The request that lets a target continue an answer which another one has begun: the same chat, with what was
//! said so far as the beginning of the assistant's message.

use bytes::Bytes;
use serde::Serialize;

use super::object::{self, Edits, Member};

/// How a target is told to continue the last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefill {
    /// vLLM and those who took over its parameters (`SGLang`, Hugging Face's servers): `continue_final_message`, and
    /// no `add_generation_prompt`.
    Vllm,
    /// `prefix` in the message itself: Mistral, `DeepSeek` (under its `/beta` path).
    Prefix,
}

/// Members that must be absent, or say nothing (see [`says_nothing`]): answers that are more than text, that are
/// held to a form whose state the next target does not have, or that are continued already.
const MUST_SAY_NOTHING: &[&str] = &[
    "tools",
    "functions",
    "function_call",
    "logprobs",
    "top_logprobs",
    "audio",
    "web_search_options",
    "echo",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "grammar",
    "json_schema",
    "regex",
    "ebnf",
];

/// Members that [`body`] writes: a second one would make it ambiguous.
const MUST_BE_ABSENT: &[&str] = &["continue_final_message", "add_generation_prompt"];

/// Members that have values of their own which are fine.
const MUST_BE_PLAIN: &[&str] = &["messages", "stream", "n", "tool_choice", "response_format", "modalities"];

const MAX_TOKENS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// Whether the answer to the chat request `body` may be continued by another target: a stream of one choice,
/// nothing but text, the last message not the assistant's own. What is written twice, or with other letter case,
/// counts as not eligible, for two parsers could read it in two ways.
pub fn eligible(body: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(body) else { return false };
    let (mut seen, mut fits) = (Vec::new(), true);
    let is_object = object::members(text, |member| {
        let written = member.name();
        let known = MUST_SAY_NOTHING.iter().chain(MUST_BE_ABSENT).chain(MUST_BE_PLAIN).chain(&MAX_TOKENS);
        let Some(name) = known.copied().find(|name| name.eq_ignore_ascii_case(&written)) else { return };
        fits &= *name == *written && !seen.contains(&name) && is_plain(name, member.value);
        if fits {
            seen.push(name);
        }
    });
    is_object && fits && seen.contains(&"messages") && seen.contains(&"stream")
}

fn is_plain(name: &str, value: &str) -> bool {
    match name {
        "messages" => last_message(value).is_some_and(|last| role(last).is_some_and(|role| role != "assistant")),
        "stream" => value == "true",
        "n" => matches!(value, "1" | "null"),
        "tool_choice" => says_nothing(value) || value == "\"none\"",
        "response_format" => value == "null" || is_text_format(value),
        "modalities" => value == "null" || is_text_alone(value),
        // An upstream refuses a number that is none; it is not for us to say.
        _ if MAX_TOKENS.contains(&name) => true,
        _ => says_nothing(value) && !MUST_BE_ABSENT.contains(&name),
    }
}

/// Null, false, zero, or empty.
pub fn says_nothing(value: &str) -> bool {
    matches!(value, "null" | "false" | "0" | "\"\"" | "[]" | "{}")
}

fn last_message(messages: &str) -> Option<&str> {
    let mut last = None;
    object::elements(messages, |message| last = Some(message)).then_some(last)?
}

/// The role of a message that has exactly one.
fn role(message: &str) -> Option<String> {
    let mut roles = Vec::new();
    let is_object = object::members(message, |member| {
        if member.name() == "role" && roles.len() < 2 {
            roles.push(object::string(member.value));
        }
    });
    match &mut roles[..] {
        [Some(role)] if is_object => Some(std::mem::take(role).into_owned()),
        _ => None,
    }
}

fn is_text_format(format: &str) -> bool {
    let mut plain = true;
    let is_object =
        object::members(format, |member| plain &= member.name() == "type" && member.value == "\"text\"");
    plain && is_object
}

fn is_text_alone(modalities: &str) -> bool {
    let mut plain = true;
    object::elements(modalities, |modality| plain &= modality == "\"text\"") && plain
}

/// The assistant's message to continue.
#[derive(Serialize)]
struct Begun<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<bool>,
}

/// The request `original`, which must be [`eligible`], asking a target to continue `text`, for which
/// `tokens` were generated: the limits on what is to be generated are lowered by as many, to 1 at least (servers
/// refuse 0, so an answer that was cut between its last token and its end gets one more). Every other byte stays
/// as the client wrote it. `None` if `original` is no chat request.
///
/// Where no text was said yet there is nothing to continue, and the request stays what it is: chat templates
/// differ in what an empty message at the end means.
pub fn body(original: &[u8], text: &str, style: Prefill, tokens: u64) -> Option<Bytes> {
    let request = str::from_utf8(original).ok()?;
    let (mut messages, mut limits) = (None, Vec::new());
    let is_object = object::members(request, |member: Member<'_>| {
        let name = member.name();
        if name == "messages" {
            messages = Some(member.value);
        } else if MAX_TOKENS.contains(&name.as_ref()) && limits.len() < MAX_TOKENS.len() {
            limits.push(member.value);
        }
    });
    let messages = messages.filter(|messages| is_object && last_message(messages).is_some())?;
    let mut edits = Edits::new(request);
    for limit in limits {
        if let Ok(max) = limit.parse::<u64>() {
            edits.replace(limit, max.saturating_sub(tokens).max(1).to_string());
        }
    }
    if !text.is_empty() {
        if style == Prefill::Vllm {
            edits.insert_first(r#""continue_final_message":true,"add_generation_prompt":false"#);
        }
        let prefix = (style == Prefill::Prefix).then_some(true);
        let begun = Begun { role: "assistant", content: text, prefix };
        edits.append(messages, &serde_json::to_string(&begun).ok()?);
    }
    Some(edits.apply().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// A request with these members besides.
    fn with(members: &str) -> String {
        format!(r#"{{"model":"m","stream":true,"messages":[{{"role":"user","content":"hi"}}]{members}}}"#)
    }

    #[test]
    fn plain_chats_may_be_continued() {
        for members in [
            "",
            r#","n":1"#,
            r#","n":null"#,
            r#","tools":null,"functions":[],"tool_choice":"none""#,
            r#","response_format":{"type":"text"}"#,
            r#","response_format":null,"modalities":["text"],"audio":null"#,
            r#","logprobs":false,"top_logprobs":0"#,
            r#","stop":["END","\n"],"temperature":0,"seed":1,"user":"u""#,
            r#","max_tokens":5,"max_completion_tokens":null"#,
            r#","x":{"tools":[1],"n":2},"stream_options":{"include_usage":true}"#,
        ] {
            assert!(eligible(with(members).as_bytes()), "{members}");
        }
        let own =
            r#"{"stream":true,"messages":[{"role":"assistant","content":"a"},{"content":[],"role":"tool"}]}"#;
        assert!(eligible(own.as_bytes()));
    }

    #[test]
    fn what_is_more_than_a_plain_chat_may_not() {
        for members in [
            r#","n":2"#,
            r#","n":1.0"#,
            r#","tools":[{"type":"function"}]"#,
            r#","functions":[{}]"#,
            r#","function_call":"auto""#,
            r#","tool_choice":"auto""#,
            r#","response_format":{"type":"json_object"}"#,
            r#","response_format":{"type":"text","schema":{}}"#,
            r#","response_format":"text""#,
            r#","logprobs":true"#,
            r#","top_logprobs":2"#,
            r#","modalities":["text","audio"]"#,
            r#","audio":{"voice":"x"}"#,
            r#","guided_regex":"a+""#,
            r#","structured_outputs":{"json":{}}"#,
            r#","continue_final_message":true"#,
            r#","add_generation_prompt":false"#,
            r#","tools":null,"tools":null"#,
            r#","Tools":null"#,
            r#","max_tokens":1,"max_tokens":2"#,
            r#","t\u006fols":[1]"#,
        ] {
            assert!(!eligible(with(members).as_bytes()), "{members}");
        }
        for body in [
            "",
            "[]",
            "{}",
            r#"{"stream":true}"#,
            r#"{"stream":true,"messages":[]}"#,
            r#"{"stream":true,"messages":"hi"}"#,
            r#"{"stream":true,"messages":["hi"]}"#,
            r#"{"stream":true,"messages":[{"content":"hi"}]}"#,
            r#"{"stream":true,"messages":[{"role":"user","role":"assistant"}]}"#,
            r#"{"stream":true,"messages":[{"role":"user"},{"role":"assistant","content":"H"}]}"#,
            r#"{"stream":false,"messages":[{"role":"user"}]}"#,
            r#"{"messages":[{"role":"user"}]}"#,
        ] {
            assert!(!eligible(body.as_bytes()), "{body}");
        }
        assert!(!eligible(b"{\"stream\":true,\"messages\":[{\"role\":\"user\"}],\"x\":\"\xff\"}"));
    }

    #[test]
    fn the_request_that_continues_differs_in_what_it_must() {
        let original = "{ \"stream\":true, \"messages\" : [ {\"role\":\"user\",\"content\":\"\\u00e4\"} ] ,\
                        \"max_tokens\": 10,\"temperature\":1.0,\"max_completion_tokens\":3}";
        assert!(eligible(original.as_bytes()));
        for (style, text, tokens, expected) in [
            (
                Prefill::Vllm,
                "a \"b\"\n",
                4,
                "{\"continue_final_message\":true,\"add_generation_prompt\":false, \"stream\":true, \"messages\" : [ \
                 {\"role\":\"user\",\"content\":\"\\u00e4\"} ,{\"role\":\"assistant\",\"content\":\"a \\\"b\\\"\\n\"}] \
                 ,\"max_tokens\": 6,\"temperature\":1.0,\"max_completion_tokens\":1}",
            ),
            (
                Prefill::Prefix,
                "x",
                0,
                "{ \"stream\":true, \"messages\" : [ {\"role\":\"user\",\"content\":\"\\u00e4\"} ,{\"role\":\
                 \"assistant\",\"content\":\"x\",\"prefix\":true}] ,\"max_tokens\": 10,\"temperature\":1.0,\
                 \"max_completion_tokens\":3}",
            ),
            (Prefill::Vllm, "", 0, original),
            (Prefill::Prefix, "", 0, original),
        ] {
            let body = body(original.as_bytes(), text, style, tokens).expect("a chat");
            assert_eq!(String::from_utf8_lossy(&body), expected);
            serde_json::from_slice::<Value>(&body).expect("JSON");
        }
        for original in ["", "{}", r#"{"messages":[]}"#, r#"{"messages":{}}"#, r#"{"messages":[1],}"#] {
            assert_eq!(body(original.as_bytes(), "x", Prefill::Vllm, 0), None, "{original}");
        }
    }

    proptest! {
        #[test]
        fn nothing_else_changes(text in "\\PC{1,40}", tokens in 0_u64..20, max in any::<u64>(), said in "\\PC*") {
            let original = json!({
                "messages": [{"role": "user", "content": said}], "stream": true, "max_tokens": max, "x": [1.5, null],
            });
            let body = body(original.to_string().as_bytes(), &text, Prefill::Prefix, tokens).expect("a chat");
            let mut value: Value = serde_json::from_slice(&body).expect("JSON");
            let messages = value["messages"].as_array_mut().expect("an array");
            let begun = json!({"role": "assistant", "content": text, "prefix": true});
            prop_assert_eq!(messages.pop(), Some(begun));
            prop_assert_eq!(value["max_tokens"].as_u64(), Some(max.saturating_sub(tokens).max(1)));
            value["max_tokens"] = json!(max);
            prop_assert_eq!(value, original);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "\\PC*") {
            eligible(&bytes);
            body(&bytes, &text, Prefill::Vllm, 1);
        }
    }
}
