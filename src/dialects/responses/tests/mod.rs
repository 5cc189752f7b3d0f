//! The dialect against the provider's forms, and its two sides against each other.

mod answers;
mod conversation;
mod requests;
mod streams;

use std::rc::Rc;

use serde_json::Value;

use super::*;
use crate::dialects::conversation::{Content, Part, ToolCall};

/// One exchange with the provider.
struct Golden {
    body: String,
    request: Value,
    status: u16,
}

macro_rules! golden {
    ($name:literal) => {
        golden_of(include_str!(concat!("../../../../tests/golden/openai-responses/", $name, ".json")))
    };
}
use golden;

fn golden_of(text: &str) -> Golden {
    let all: Value = serde_json::from_str(text).expect("JSON");
    Golden {
        body: all["response"]["body"].as_str().expect("a body").to_owned(),
        request: all["request"]["body"].clone(),
        status: all["response"]["status"].as_u64().and_then(|status| status.try_into().ok()).expect("a status"),
    }
}

fn read(body: &Value) -> Request {
    FRONT.read(body.to_string().as_bytes(), &Place::default()).expect("a request")
}

fn asked(body: &Value) -> Rc<Asked> {
    let (unique, request_id) = ("00112233445566778899aabbccddeeff".into(), "req-1".into());
    Rc::new(Asked { request: read(body), unique, now: 1_760_000_001, request_id })
}

/// What an answer says, in short.
fn said(answer: &Answer) -> String {
    let [choice] = answer.choices.as_slice() else { panic!("{} choices", answer.choices.len()) };
    let parts: Vec<String> = choice.parts.iter().map(said_part).collect();
    format!("{} | {:?}", parts.join(" "), choice.finish.as_ref().expect("a finish"))
}

fn said_part(part: &Part) -> String {
    match &part.content {
        Content::Text { text, annotations } => format!("text({text})[{}]", annotations.len()),
        Content::Reasoning(thought) => {
            let proof = |proof: &Option<_>| proof.is_some();
            let (signed, hidden) = (proof(&thought.signature), proof(&thought.redacted));
            format!("thought({}){}{}", thought.text, if signed { "+" } else { "" }, if hidden { "*" } else { "" })
        }
        Content::ToolCall(ToolCall { id, name, arguments, .. }) => format!("call({id} {name} {arguments})"),
        Content::Refusal(text) => format!("refusal({text})"),
        Content::Media(media) => format!("{}({:?})", media.kind, media.source),
        Content::Foreign { kind, .. } => format!("foreign({kind})"),
        Content::ToolResult(result) => format!("result({})", result.id),
    }
}
