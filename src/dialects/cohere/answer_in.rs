//! Reads whole answers (Cohere API Reference, `v2/chat`, response), and what streams have in common with them.
//!
//! A tool plan is read as thought: the API keeps it apart from the content, which alone is meant for the user, and newer
//! models think in its place.

use serde_json::{Value, json};

use super::citation_in::{annotation, logprob};
use crate::dialects::conversation::{Answer, Choice, Content, Finish, Part, Reasoning, ToolCall, Usage};
use crate::dialects::provider::{Malformed, Sent};

/// An answer to `sent`. The API does not say which model gave it.
pub(super) fn answer(sent: &Sent, body: &[u8]) -> Result<Answer, Malformed> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Malformed("no JSON"))?;
    let message = body.get("message").filter(|message| message.is_object()).ok_or(Malformed("no message"))?;
    let mut parts = content(message);
    cite(message, &mut parts);
    if let Some(plan) = message["tool_plan"].as_str().filter(|plan| !plan.is_empty()) {
        parts.push(thought(plan));
    }
    for (at, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
        parts.push(Part::new(Content::ToolCall(tool_call(call, at, &sent.unique))));
    }
    let mut finish = body["finish_reason"].as_str().map(finish);
    if let Some(name) = &sent.form_tool {
        form(name, &mut parts, &mut finish);
    }
    let items = body["logprobs"].as_array();
    let logprobs: Option<Vec<Value>> = items.map(|items| items.iter().filter_map(logprob).collect());
    let logprobs = logprobs.map(|content| json!({ "content": content, "refusal": null }));
    Ok(Answer {
        id: text(&body["id"]),
        choices: vec![Choice { parts, finish, logprobs, ..Choice::default() }],
        usage: usage(&body["usage"]),
        ..Answer::default()
    })
}

fn content(message: &Value) -> Vec<Part> {
    if let Some(text) = message["content"].as_str() {
        return vec![Part::text(text)];
    }
    let blocks = message["content"].as_array().into_iter().flatten();
    blocks
        .filter_map(|block| match block["type"].as_str()? {
            "text" => Some(Part::text(block["text"].as_str()?)),
            "thinking" => Some(thought(block["thinking"].as_str()?)),
            _ => None,
        })
        .filter(|part| part.as_text() != Some(""))
        .collect()
}

/// Puts each citation to the text it is in.
fn cite(message: &Value, parts: &mut [Part]) {
    let is_text = |content: &Content| matches!(content, Content::Text { .. });
    for citation in message["citations"].as_array().into_iter().flatten() {
        let Some(annotation) = annotation(citation) else { continue };
        let at = citation["content_index"].as_u64().and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| parts.get(*at).is_some_and(|part| is_text(&part.content)));
        let Some(at) = at.or_else(|| parts.iter().rposition(|part| is_text(&part.content))) else { continue };
        if let Content::Text { annotations, .. } = &mut parts[at].content {
            annotations.push(annotation);
        }
    }
}

fn thought(text: &str) -> Part {
    Part::new(Content::Reasoning(Reasoning { text: text.to_owned(), ..Reasoning::default() }))
}

fn tool_call(call: &Value, at: usize, unique: &str) -> ToolCall {
    let function = &call["function"];
    // A call without arguments has none, or says `null`.
    let arguments = function["arguments"].as_str().filter(|text| !matches!(text.trim(), "" | "null"));
    ToolCall {
        id: id_of(call, at, unique),
        name: text(&function["name"]),
        arguments: arguments.unwrap_or("{}").to_owned(),
        signature: None,
    }
}

/// A call's id, which the API always gives, or else one made of what no other answer has.
pub(super) fn id_of(call: &Value, at: usize, unique: &str) -> String {
    let given = call["id"].as_str().filter(|id| !id.is_empty());
    given.map_or_else(|| format!("call_{unique}_{at}"), str::to_owned)
}

/// Why an answer ends.
pub(super) fn finish(word: &str) -> Finish {
    match word {
        "COMPLETE" => Finish::Stop,
        "STOP_SEQUENCE" => Finish::StopSequence(None),
        "MAX_TOKENS" => Finish::Length,
        "TOOL_CALL" => Finish::ToolCalls,
        other => Finish::Other(other.to_owned()),
    }
}

/// What it cost, in the tokens that were there and not those that are billed.
pub(super) fn usage(usage: &Value) -> Option<Usage> {
    let tokens = [&usage["tokens"], &usage["billed_units"]].into_iter().find(|tokens| tokens.is_object())?;
    // The API writes these as floating point numbers at times.
    let number = |value: &Value| value.as_u64().or_else(|| value.as_f64().and_then(whole));
    Some(Usage {
        input: number(&tokens["input_tokens"]).unwrap_or(0),
        cache_read: number(&usage["cached_tokens"]),
        output: number(&tokens["output_tokens"]).unwrap_or(0),
        ..Usage::default()
    })
}

/// A number that was written as a floating point one.
pub(super) fn whole(number: f64) -> Option<u64> {
    (number >= 0.0).then(|| format!("{:.0}", number.trunc()).parse().ok()).flatten()
}

/// Makes the answer of what the form's tool was called with. What was said beside it is not of the form.
fn form(name: &str, parts: &mut Vec<Part>, finish: &mut Option<Finish>) {
    let is_form = |part: &Part| matches!(&part.content, Content::ToolCall(call) if call.name == name);
    if !parts.iter().any(is_form) {
        return;
    }
    let mut is_answered = false;
    parts.retain_mut(|part| match &mut part.content {
        Content::ToolCall(call) if call.name == name => {
            let text = std::mem::take(&mut call.arguments);
            *part = Part::text(text);
            !std::mem::replace(&mut is_answered, true)
        }
        Content::Text { .. } => false,
        _ => true,
    });
    let calls = parts.iter().any(|part| matches!(part.content, Content::ToolCall(_)));
    if *finish == Some(Finish::ToolCalls) && !calls {
        *finish = Some(Finish::Stop);
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
