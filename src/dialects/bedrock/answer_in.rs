//! Reads whole answers (Amazon Bedrock API Reference, Converse, response), and what streams have in common with them.

use serde_json::Value;

use super::model::family;
use crate::dialects::conversation::{
    Annotation, Answer, Choice, Content, Family, Finish, Media, Part, Reasoning, Signature, Source, ToolCall,
    Usage,
};
use crate::dialects::provider::{Malformed, Sent};

/// An answer to `sent`. The API gives it neither an id nor a model.
pub(super) fn answer(sent: &Sent, body: &[u8]) -> Result<Answer, Malformed> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Malformed("no JSON"))?;
    let content = body["output"]["message"]["content"].as_array().ok_or(Malformed("no message"))?;
    let mut parts: Vec<Part> = content.iter().filter_map(|block| part(block, family(&sent.path))).collect();
    let mut finish = finish(&body);
    if let Some(name) = &sent.form_tool {
        form(name, &mut parts, &mut finish);
    }
    Ok(Answer {
        choices: vec![Choice { parts, finish, ..Choice::default() }],
        usage: usage(&body["usage"]),
        service_tier: body["serviceTier"]["type"].as_str().map(str::to_owned),
        ..Answer::default()
    })
}

/// The number of tokens of a prompt.
pub(super) fn counted(body: &[u8]) -> Result<u64, Malformed> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Malformed("no JSON"))?;
    body["inputTokens"].as_u64().ok_or(Malformed("no count"))
}

fn part(block: &Value, family: Family) -> Option<Part> {
    let content = if let Some(text) = block["text"].as_str() {
        Content::Text { text: text.to_owned(), annotations: Vec::new() }
    } else if let Some(call) = block.get("toolUse").filter(|call| is_call(call)) {
        let input = call.get("input").filter(|input| !input.is_null());
        Content::ToolCall(ToolCall {
            id: text(&call["toolUseId"]),
            name: text(&call["name"]),
            arguments: input.map_or_else(|| "{}".to_owned(), Value::to_string),
            signature: None,
        })
    } else if let Some(thought) = block.get("reasoningContent") {
        Content::Reasoning(reasoning(thought, family))
    } else if let Some(cited) = block.get("citationsContent") {
        let texts = cited["content"].as_array().into_iter().flatten();
        let citations = cited["citations"].as_array().into_iter().flatten();
        Content::Text {
            text: texts.filter_map(|text| text["text"].as_str()).collect(),
            annotations: citations.map(annotation).collect(),
        }
    } else if let Some(image) = block.get("image") {
        Content::Media(picture(image["format"].as_str(), &image["source"])?)
    } else {
        // Among them calls of the provider's own tools and their results.
        return None;
    };
    match &content {
        Content::Text { text, annotations } if text.is_empty() && annotations.is_empty() => None,
        Content::Reasoning(thought) if *thought == Reasoning::default() => None,
        _ => Some(Part::new(content)),
    }
}

/// Whether a tool's use is the client's to answer, and not the provider's own.
pub(super) fn is_call(call: &Value) -> bool {
    call["type"] != "server_tool_use"
}

fn reasoning(thought: &Value, family: Family) -> Reasoning {
    let signed =
        |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(|text| Signature::new(family, text));
    let plain = &thought["reasoningText"];
    Reasoning {
        text: text(&plain["text"]),
        signature: signed(&plain["signature"]),
        redacted: signed(&thought["redactedContent"]),
        id: None,
    }
}

/// A citation (Amazon Bedrock API Reference, Citation and `CitationsDelta`).
pub(super) fn annotation(citation: &Value) -> Annotation {
    let sources = citation["sourceContent"].as_array().into_iter().flatten();
    let cited: String = sources.filter_map(|source| source["text"].as_str()).collect();
    Annotation {
        url: citation["location"]["web"]["url"].as_str().map(str::to_owned),
        title: citation["title"].as_str().map(str::to_owned),
        cited: (!cited.is_empty()).then_some(cited),
        range: None,
        raw: citation.clone(),
    }
}

/// A picture that the model made.
pub(super) fn picture(format: Option<&str>, source: &Value) -> Option<Media> {
    let media_type = format.map(|format| format!("image/{format}"));
    Some(Media::new("image", media_type, Source::Base64(source["bytes"].as_str()?.to_owned())))
}

/// Why an answer ends: of the whole answer, or of the event `messageStop`.
pub(super) fn finish(body: &Value) -> Option<Finish> {
    let sequence = &body["additionalModelResponseFields"]["stop_sequence"];
    Some(match body["stopReason"].as_str()? {
        "end_turn" => Finish::Stop,
        "stop_sequence" => Finish::StopSequence(sequence.as_str().map(str::to_owned)),
        "max_tokens" => Finish::Length,
        "model_context_window_exceeded" => Finish::Window,
        "tool_use" => Finish::ToolCalls,
        "guardrail_intervened" | "content_filtered" => Finish::ContentFilter,
        "refusal" => Finish::Refusal,
        "pause_turn" => Finish::Pause,
        other => Finish::Other(other.to_owned()),
    })
}

/// What it cost. The API counts what is read from the cache or put into it beside the other input.
pub(super) fn usage(usage: &Value) -> Option<Usage> {
    let number = |name: &str| usage[name].as_u64();
    let (cache_read, cache_write) = (number("cacheReadInputTokens"), number("cacheWriteInputTokens"));
    let details = usage["cacheDetails"].as_array().into_iter().flatten();
    let long = details.filter(|detail| detail["ttl"] == "1h").filter_map(|detail| detail["inputTokens"].as_u64());
    let rest = number("inputTokens")?;
    Some(Usage {
        input: rest.saturating_add(cache_read.unwrap_or(0)).saturating_add(cache_write.unwrap_or(0)),
        cache_read,
        cache_write,
        cache_write_1h: long.reduce(u64::saturating_add),
        output: number("outputTokens").unwrap_or(0),
        ..Usage::default()
    })
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
