//! What an answer cost, in the form of `usage` ("The chat completion object") and as compatible servers vary it.

use serde_json::{Value, json};

use crate::dialects::conversation::Usage;
use crate::dialects::json::{number, some};

/// Reads a `usage`; `None` where it counts nothing.
pub(super) fn read(usage: &Value) -> Option<Usage> {
    let (input, output) = (number(usage, "prompt_tokens"), number(usage, "completion_tokens"));
    let (input, output) = if input.or(output).is_some() {
        (input.unwrap_or(0), output.unwrap_or(0))
    } else {
        return None;
    };
    let prompt = some(usage, "prompt_tokens_details").unwrap_or(&Value::Null);
    let completion = some(usage, "completion_tokens_details").unwrap_or(&Value::Null);
    let reasoning = number(completion, "reasoning_tokens").or_else(|| number(usage, "reasoning_tokens"));
    let audio = number(prompt, "audio_tokens");
    // xAI counts thought beside the output, and Mistral sound beside the input, which shows in their totals.
    let beside = |tokens: Option<u64>| {
        let total = number(usage, "total_tokens");
        tokens.filter(|tokens| total == Some(input.saturating_add(output).saturating_add(*tokens))).unwrap_or(0)
    };
    let input = input.saturating_add(beside(audio));
    let cached = number(prompt, "cached_tokens").or_else(|| number(usage, "prompt_cache_hit_tokens"));
    let cached = cached.or_else(|| number(usage, "cached_tokens"));
    Some(Usage {
        input,
        // xAI's models on Azure tell of more tokens from the cache than they say they have read.
        cache_read: cached.map(|cached| cached.min(input)),
        cache_write: number(prompt, "cache_write_tokens"),
        cache_write_1h: None,
        input_audio: audio,
        output: output.saturating_add(beside(reasoning)),
        reasoning,
        output_audio: number(completion, "audio_tokens"),
        predicted: number(completion, "accepted_prediction_tokens")
            .zip(number(completion, "rejected_prediction_tokens")),
    })
}

/// The `usage` of a whole answer, or of a stream: on its last chunk but with `x_groq` on Groq's older ones.
pub(super) fn of(answer: &Value) -> Option<Usage> {
    let groq = || some(answer, "x_groq").and_then(|groq| some(groq, "usage"));
    read(some(answer, "usage").or_else(groq)?)
}

/// Writes a `usage`.
pub(crate) fn write(usage: &Usage) -> Value {
    let (mut prompt, mut completion) = (json!({}), json!({}));
    let put = |details: &mut Value, name: &str, tokens: Option<u64>| {
        if let Some(tokens) = tokens {
            details[name] = json!(tokens);
        }
    };
    put(&mut prompt, "cached_tokens", Some(usage.cache_read.unwrap_or(0)));
    put(&mut prompt, "cache_write_tokens", usage.cache_write);
    put(&mut prompt, "audio_tokens", usage.input_audio);
    put(&mut completion, "reasoning_tokens", Some(usage.reasoning.unwrap_or(0)));
    put(&mut completion, "audio_tokens", usage.output_audio);
    put(&mut completion, "accepted_prediction_tokens", usage.predicted.map(|(right, _)| right));
    put(&mut completion, "rejected_prediction_tokens", usage.predicted.map(|(_, wrong)| wrong));
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
        "prompt_tokens_details": prompt,
        "completion_tokens_details": completion,
    })
}
