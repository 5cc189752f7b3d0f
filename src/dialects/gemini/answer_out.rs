//! From the common form to a whole answer of Google's (Gemini API reference, `GenerateContentResponse`).

use serde_json::{Map, Value, json};

use super::citation;
use super::fields::object;
use super::part_out;
use super::proof;
use super::{CANDIDATE_NOTES, FOREIGN_PARTS};
use crate::dialects::Asked;
use crate::dialects::conversation::{
    Annotation, Answer, Choice, Content, Family, Finish, Reasoning, ToolCall, Usage,
};

/// Writes it.
pub(super) fn write(answer: &Answer, asked: &Asked) -> Value {
    let candidates = answer.choices.iter().map(|choice| candidate(choice, asked));
    let tier = answer.service_tier.as_deref();
    object([
        ("candidates", Some(Value::Array(candidates.collect()))),
        ("usageMetadata", answer.usage.as_ref().map(|usage| usage_of(usage, tier))),
        ("modelVersion", Some(or(&answer.model, &asked.request.model).into())),
        ("responseId", Some(or(&answer.id, &asked.unique).into())),
    ])
}

/// What the provider says, or what takes its place.
pub(super) fn or<'a>(given: &'a str, otherwise: &'a str) -> &'a str {
    if given.is_empty() { otherwise } else { given }
}

fn candidate(choice: &Choice, asked: &Asked) -> Value {
    let (mut parts, mut notes, mut is_broken) = (Vec::new(), Map::new(), false);
    let (mut said, mut annotations) = (String::new(), Vec::new());
    for part in &choice.parts {
        match &part.content {
            Content::Text { text, annotations: more } => {
                said.push_str(text);
                annotations.extend_from_slice(more);
                if !text.is_empty() {
                    parts.push(part_out::text(text));
                }
            }
            Content::Refusal(text) => parts.push(part_out::text(text)),
            Content::Reasoning(reasoning) => thought(reasoning, shows_thoughts(asked), &mut parts),
            Content::ToolCall(call) => match call_of(call) {
                Some(part) => parts.push(part),
                None => is_broken = true,
            },
            Content::Media(media) => {
                let signature = media.signature.as_ref().map(proof::write_one);
                let part = part_out::media(media).map(|part| part_out::signed(part, signature.as_deref()));
                parts.extend(part);
            }
            Content::Foreign { kind, value } => {
                if FOREIGN_PARTS.contains(&&**kind) {
                    parts.push(value.clone());
                } else if CANDIDATE_NOTES.contains(&&**kind) {
                    notes.insert(kind.clone(), value.clone());
                }
            }
            Content::ToolResult(_) => {}
        }
    }
    ground(&mut notes, &annotations, &said);
    let mut content = json!({ "parts": parts, "role": "model" });
    if parts.is_empty() {
        content = json!({ "role": "model" });
    }
    let mut candidate = json!({ "content": content, "index": choice.index });
    ending(&mut candidate, choice.finish.as_ref(), is_broken);
    if let Some(logprobs) = choice.logprobs.as_ref().and_then(|logprobs| logprobs.get("content")) {
        candidate["logprobsResult"] = logprobs_of(logprobs);
    }
    if let Some(candidate) = candidate.as_object_mut() {
        candidate.extend(notes);
    }
    candidate
}

/// Whether the client wants to see what the model thinks. Where it has said nothing, a thought can be told from a text.
pub(super) fn shows_thoughts(asked: &Asked) -> bool {
    let thinking = asked.request.thinking.as_ref();
    thinking.and_then(|thinking| thinking.summary.as_deref()) != Some("none")
}

fn thought(reasoning: &Reasoning, shows: bool, parts: &mut Vec<Value>) {
    let words = if shows { &*reasoning.text } else { "" };
    let proof = proof::write(reasoning);
    let own = reasoning.signature.as_ref().is_some_and(|signature| signature.family == Family::Gemini);
    match proof {
        Some(proof) if own && reasoning.text.is_empty() => part_out::prove(parts, "", &proof),
        None if words.is_empty() => {}
        proof => parts.push(part_out::signed(part_out::thought(words), proof.as_deref())),
    }
}

/// A call; `None` if its arguments are no object, which this dialect can't say.
pub(super) fn call_of(call: &ToolCall) -> Option<Value> {
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let args = serde_json::from_str::<Map<String, Value>>(arguments).ok()?;
    let signature = call.signature.as_ref().map(proof::write_one);
    let part = part_out::call(&call.name, Some(&call.id), Value::Object(args));
    Some(part_out::signed(part, signature.as_deref()))
}

/// Sources that another provider gives, unless Google has said it better.
pub(super) fn ground(notes: &mut Map<String, Value>, annotations: &[Annotation], said: &str) {
    let has_sources = annotations.iter().any(|annotation| annotation.url.is_some());
    if has_sources && !CANDIDATE_NOTES.iter().any(|kind| notes.contains_key(*kind)) {
        notes.insert("groundingMetadata".to_owned(), citation::grounding(annotations, said));
    }
}

/// Why a candidate ends. Calls whose arguments are broken have a word of their own.
pub(super) fn ending(candidate: &mut Value, finish: Option<&Finish>, is_broken: bool) {
    match finish {
        Some(Finish::Stop | Finish::ToolCalls | Finish::StopSequence(_)) if is_broken => {
            candidate["finishReason"] = "MALFORMED_FUNCTION_CALL".into();
            candidate["finishMessage"] = "the arguments of a call are no JSON object".into();
        }
        Some(finish) => candidate["finishReason"] = word_of(finish).into(),
        None => {}
    }
}

fn word_of(finish: &Finish) -> &str {
    let is_googles = |word: &str| word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    match finish {
        // Google stops for calls as for everything that is complete.
        Finish::Stop | Finish::StopSequence(_) | Finish::ToolCalls => "STOP",
        Finish::Length | Finish::Window => "MAX_TOKENS",
        Finish::ContentFilter | Finish::Refusal => "SAFETY",
        Finish::Other(word) if !word.is_empty() && is_googles(word) => word,
        Finish::Other(_) | Finish::Pause => "OTHER",
    }
}

/// What it cost. Google counts thoughts beside the candidates.
pub(super) fn usage_of(usage: &Usage, tier: Option<&str>) -> Value {
    let thoughts = usage.reasoning;
    let candidates = usage.output.saturating_sub(thoughts.unwrap_or(0));
    let details = |all: u64, audio: Option<u64>| {
        audio.map(|audio| {
            json!([
                { "modality": "AUDIO", "tokenCount": audio },
                { "modality": "TEXT", "tokenCount": all.saturating_sub(audio) },
            ])
        })
    };
    let tier = tier.and_then(|tier| match tier {
        "default" => Some("standard"),
        "flex" | "priority" => Some(tier),
        _ => None,
    });
    object([
        ("promptTokenCount", Some(usage.input.into())),
        ("cachedContentTokenCount", usage.cache_read.map(Value::from)),
        ("candidatesTokenCount", Some(candidates.into())),
        ("thoughtsTokenCount", thoughts.map(Value::from)),
        ("totalTokenCount", Some(usage.input.saturating_add(usage.output).into())),
        ("promptTokensDetails", details(usage.input, usage.input_audio)),
        ("candidatesTokensDetails", details(candidates, usage.output_audio)),
        ("serviceTier", tier.map(Value::from)),
    ])
}

/// Probabilities, from the form of `OpenAI`'s chat.
pub(super) fn logprobs_of(content: &Value) -> Value {
    let all = content.as_array().map_or(&[][..], Vec::as_slice);
    let candidate = |token: &Value| {
        let member = |name: &str| token.get(name).filter(|value| !value.is_null()).cloned();
        object([("token", member("token")), ("logProbability", member("logprob"))])
    };
    let tops = all.iter().map(|token| {
        let top = token.get("top_logprobs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        json!({ "candidates": top.iter().map(candidate).collect::<Vec<_>>() })
    });
    let has_tops = all.iter().any(|token| token["top_logprobs"].as_array().is_some_and(|top| !top.is_empty()));
    object([
        ("topCandidates", has_tops.then(|| tops.collect())),
        ("chosenCandidates", Some(all.iter().map(candidate).collect())),
    ])
}
