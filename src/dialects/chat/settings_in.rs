//! The settings of a request: which is which wish, and what asks for nothing ("Chat completions API reference, create").

use serde_json::{Map, Value};

use crate::dialects::Refusal;
use crate::dialects::conversation::{Wish, Wishes};

/// What a setting's value must be.
#[derive(Clone, Copy)]
enum Form {
    Number,
    Whole,
    Flag,
    Text,
    Object,
    List,
}

impl Form {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Number => value.is_number(),
            Self::Whole => value.as_i64().is_some() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
            Self::Flag => value.is_boolean(),
            Self::Text => value.is_string(),
            Self::Object => value.is_object(),
            Self::List => value.is_array(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Number => "must be a number",
            Self::Whole => "must be a whole number",
            Self::Flag => "must be true or false",
            Self::Text => "must be a string",
            Self::Object => "must be an object",
            Self::List => "must be a list",
        }
    }
}

const SETTINGS: [(&str, Wish, Form); 28] = [
    ("max_completion_tokens", Wish::MaxTokens, Form::Whole),
    ("max_tokens", Wish::MaxTokens, Form::Whole),
    ("temperature", Wish::Temperature, Form::Number),
    ("top_p", Wish::TopP, Form::Number),
    ("top_k", Wish::TopK, Form::Whole),
    ("min_p", Wish::MinP, Form::Number),
    ("frequency_penalty", Wish::FrequencyPenalty, Form::Number),
    ("presence_penalty", Wish::PresencePenalty, Form::Number),
    ("repetition_penalty", Wish::RepetitionPenalty, Form::Number),
    ("seed", Wish::Seed, Form::Whole),
    // Mistral's name.
    ("random_seed", Wish::Seed, Form::Whole),
    ("n", Wish::N, Form::Whole),
    ("logprobs", Wish::Logprobs, Form::Flag),
    ("top_logprobs", Wish::TopLogprobs, Form::Whole),
    ("logit_bias", Wish::LogitBias, Form::Object),
    ("parallel_tool_calls", Wish::ParallelToolCalls, Form::Flag),
    ("service_tier", Wish::ServiceTier, Form::Text),
    ("verbosity", Wish::Verbosity, Form::Text),
    ("modalities", Wish::Modalities, Form::List),
    ("audio", Wish::Audio, Form::Object),
    ("prediction", Wish::Prediction, Form::Object),
    ("safety_identifier", Wish::User, Form::Text),
    ("user", Wish::User, Form::Text),
    ("metadata", Wish::Metadata, Form::Object),
    ("store", Wish::Store, Form::Flag),
    ("prompt_cache_key", Wish::CacheKey, Form::Text),
    ("prompt_cache_retention", Wish::CacheRetention, Form::Text),
    ("safety_settings", Wish::Safety, Form::List),
];

/// Puts a setting among the `wishes`, if it asks for something.
pub(crate) fn read(name: &str, value: &Value, wishes: &mut Wishes) -> Result<(), Refusal> {
    if name == "stop" {
        return stop(value, wishes);
    }
    let Some((_, wish, form)) = SETTINGS.into_iter().find(|(known, ..)| *known == name) else {
        wishes.add(Wish::Other, name, value.clone());
        return Ok(());
    };
    if value.is_null() || asks_nothing(wish, value) {
        return Ok(());
    }
    if !form.fits(value) {
        return Err(Refusal::of(name, format!("`{name}` {}", form.words())));
    }
    // The same under two names is one wish; the newer name stands first in a client's mind.
    if wish == Wish::MaxTokens && wishes.get(wish).is_some() {
        return Ok(());
    }
    wishes.add(wish, name, value.clone());
    Ok(())
}

/// Whether a value is what everybody does anyway.
fn asks_nothing(wish: Wish, value: &Value) -> bool {
    match wish {
        Wish::N | Wish::RepetitionPenalty => value.as_f64() == Some(1.0),
        Wish::FrequencyPenalty | Wish::PresencePenalty | Wish::TopLogprobs | Wish::MinP => {
            value.as_f64() == Some(0.0)
        }
        // vLLM: all of them.
        Wish::TopK => value.as_i64().is_some_and(|number| number <= 0),
        Wish::Logprobs | Wish::Store => value == false,
        Wish::ParallelToolCalls => value == true,
        Wish::LogitBias | Wish::Metadata => value.as_object().is_some_and(Map::is_empty),
        Wish::ServiceTier => value == "auto",
        Wish::Verbosity => value == "medium",
        Wish::Modalities => value.as_array().is_some_and(|list| list.iter().all(|item| item == "text")),
        Wish::User => value == "",
        _ => false,
    }
}

/// A string or a list of them.
fn stop(value: &Value, wishes: &mut Wishes) -> Result<(), Refusal> {
    let list = match value {
        Value::Null => return Ok(()),
        Value::String(word) => vec![Value::String(word.clone())],
        Value::Array(list) if list.iter().all(Value::is_string) => list.clone(),
        _ => return Err(Refusal::of("stop", "`stop` must be a string or a list of strings")),
    };
    if !list.is_empty() {
        wishes.add(Wish::Stop, "stop", Value::Array(list));
    }
    Ok(())
}
