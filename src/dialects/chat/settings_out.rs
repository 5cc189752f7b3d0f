//! Writes the settings of a request.

use serde_json::{Map, Value, json};

use super::habits::Habits;
use crate::dialects::Lost;
use crate::dialects::conversation::{Effort, Open, Thinking, Wish, Wishes};

/// What every server of this dialect takes.
const COMMON: [(Wish, &str); 9] = [
    (Wish::Temperature, "temperature"),
    (Wish::TopP, "top_p"),
    (Wish::FrequencyPenalty, "frequency_penalty"),
    (Wish::PresencePenalty, "presence_penalty"),
    (Wish::N, "n"),
    (Wish::Logprobs, "logprobs"),
    (Wish::TopLogprobs, "top_logprobs"),
    (Wish::LogitBias, "logit_bias"),
    (Wish::ParallelToolCalls, "parallel_tool_calls"),
];

/// What `OpenAI` alone takes.
const OPENAI: [(Wish, &str); 9] = [
    (Wish::ServiceTier, "service_tier"),
    (Wish::Verbosity, "verbosity"),
    (Wish::Modalities, "modalities"),
    (Wish::Audio, "audio"),
    (Wish::Prediction, "prediction"),
    (Wish::User, "user"),
    (Wish::Store, "store"),
    (Wish::CacheKey, "prompt_cache_key"),
    (Wish::CacheRetention, "prompt_cache_retention"),
];

/// What it takes beside these, and no other dialect calls so.
const OPENAI_OTHERS: [&str; 2] = ["web_search_options", "moderation"];

/// What servers of open models, and routers to all models, take ("vLLM, sampling parameters", "`OpenRouter`, parameters").
const OPEN: [(Wish, &str); 5] = [
    (Wish::TopK, "top_k"),
    (Wish::MinP, "min_p"),
    (Wish::RepetitionPenalty, "repetition_penalty"),
    (Wish::Modalities, "modalities"),
    (Wish::Verbosity, "verbosity"),
];

/// What some of them take, and no other dialect calls so.
const OPEN_OTHERS: [&str; 18] = [
    "top_a",
    "web_search_options",
    "chat_template_kwargs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "stop_token_ids",
    "ignore_eos",
    "skip_special_tokens",
    "provider",
    "models",
    "route",
    "transforms",
    "plugins",
    "search_parameters",
    "search_domain_filter",
];

/// Stop sequences. `OpenAI` takes no more.
const STOPS_MAX: usize = 4;

/// Puts what the server takes into the `body`.
pub(super) fn write(wishes: &Wishes, open: &Open<'_>, habits: Habits, body: &mut Map<String, Value>) {
    let mut put = |name: &str, value: Option<&Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value.clone());
        }
    };
    put(habits.limit(), open.take(Wish::MaxTokens));
    for (wish, name) in COMMON.into_iter().chain([(Wish::Seed, habits.seed())]) {
        if habits.takes(wish) {
            put(name, open.take(wish));
        }
    }
    let stops = wishes.get(Wish::Stop).and_then(Value::as_array).map_or(0, Vec::len);
    if stops <= STOPS_MAX || !habits.is_openai() {
        put("stop", open.take(Wish::Stop));
    }
    let (own, others): (&[_], &[_]) = match habits {
        Habits::OpenAi => (&OPENAI, &OPENAI_OTHERS),
        Habits::Other => (&OPEN, &OPEN_OTHERS),
        Habits::DeepSeek | Habits::Groq | Habits::Mistral => (&[], &[]),
    };
    for (wish, name) in own {
        put(name, open.take(*wish));
    }
    // OpenAI refuses them for answers that it does not keep.
    if habits.is_openai() && wishes.get(Wish::Store) == Some(&Value::Bool(true)) {
        put("metadata", open.take(Wish::Metadata));
    }
    for name in others {
        put(name, open.take_other(name));
    }
}

/// Puts how much the model is to think into the `body`.
pub(super) fn thinking(
    thinking: &Thinking,
    model: &str,
    habits: Habits,
    body: &mut Map<String, Value>,
) -> Option<Lost> {
    let asked = thinking.effort.or_else(|| thinking.budget.map(Effort::of_budget));
    let is_off = thinking.enabled == Some(false) || asked == Some(Effort::None);
    if habits.has_reasoning(model) {
        body.insert("reasoning".to_owned(), reasoning(thinking, is_off));
        return None;
    }
    if habits.has_switch(model) && (thinking.enabled.is_some() || asked.is_some()) {
        body.insert("thinking".to_owned(), json!({ "type": if is_off { "disabled" } else { "enabled" } }));
    }
    let word = if is_off { off(thinking, model, habits) } else { asked.map(|effort| word(effort, habits)) };
    if let Some(word) = word {
        body.insert("reasoning_effort".to_owned(), json!(word));
    } else if is_off && habits.is_openai() && Habits::always_thinks(model) {
        return Some(Lost { name: "thinking".to_owned(), is_hint: true });
    }
    None
}

/// As `OpenRouter` has it, which knows budgets.
fn reasoning(thinking: &Thinking, is_off: bool) -> Value {
    match (thinking.budget, thinking.effort) {
        _ if is_off => json!({ "enabled": false }),
        (Some(budget), _) => json!({ "max_tokens": budget }),
        (None, Some(effort)) => json!({ "effort": word(effort, Habits::OpenAi) }),
        (None, None) => json!({ "enabled": true }),
    }
}

/// How a model is told not to think. What does not think anyway, for all we know, is told nothing.
fn off(thinking: &Thinking, model: &str, habits: Habits) -> Option<&'static str> {
    match thinking.effort {
        _ if habits.has_switch(model) => None,
        _ if habits.is_openai() => Habits::no_effort(model),
        Some(Effort::None) => Some("none"),
        _ => None,
    }
}

/// `OpenAI` knows no word above `xhigh`.
fn word(effort: Effort, habits: Habits) -> &'static str {
    if effort == Effort::Max && habits.is_openai() { Effort::XHigh.word() } else { effort.word() }
}
