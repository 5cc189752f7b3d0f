//! The `options` of a request, which are the same on both sides.

use serde_json::{Map, Value};

use super::fields::{Fields, refusal};
use crate::dialects::conversation::{Open, Wish, Wishes};
use crate::dialects::front::Refusal;

/// Options that are also other dialects' settings.
const SHARED: [(&str, Wish); 10] = [
    ("num_predict", Wish::MaxTokens),
    ("temperature", Wish::Temperature),
    ("top_p", Wish::TopP),
    ("top_k", Wish::TopK),
    ("min_p", Wish::MinP),
    ("seed", Wish::Seed),
    ("repeat_penalty", Wish::RepetitionPenalty),
    ("presence_penalty", Wish::PresencePenalty),
    ("frequency_penalty", Wish::FrequencyPenalty),
    ("stop", Wish::Stop),
];

/// Options of how the model is loaded. The window is one of these: what a server would reserve, not what the model has.
const LOADING: [&str; 13] = [
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "num_keep",
    "numa",
    "low_vram",
    "f16_kv",
    "use_mmap",
    "use_mlock",
    "vocab_only",
    "logits_all",
];

/// Options that only Ollama has.
const OWN: [&str; 8] = [
    "typical_p",
    "tfs_z",
    "repeat_last_n",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "penalize_newline",
    "draft_num_predict",
];

/// Members beside `options` that only Ollama has.
const BESIDE: [&str; 3] = ["keep_alive", "truncate", "shift"];

/// Reads `options` and what stands beside them for the model's server.
pub(super) fn read(body: &mut Fields, wishes: &mut Wishes) -> Result<(), Refusal> {
    if let Some(mut options) = body.object("options")? {
        for (name, wish) in SHARED {
            let place = options.name(name);
            let Some(value) = options.take(name) else { continue };
            let value =
                if wish == Wish::Stop { Some(stops(&place, value)?) } else { number(&place, wish, value)? };
            wishes.add(wish, place, value.unwrap_or(Value::Null));
        }
        for name in LOADING {
            let place = options.name(name);
            wishes.add(Wish::Loading, place, options.take(name).unwrap_or(Value::Null));
        }
        options.leave(wishes);
    }
    wishes.add(Wish::Loading, "keep_alive", body.take("keep_alive").unwrap_or(Value::Null));
    for name in ["truncate", "shift"] {
        // What everybody does.
        if body.switch(name)? == Some(false) {
            wishes.add(Wish::Other, name, Value::Bool(false));
        }
    }
    Ok(())
}

/// Takes what can be told to another Ollama, and writes it beside `options` and into them.
pub(super) fn write(open: &Open<'_>, body: &mut Map<String, Value>) {
    let mut options = Map::new();
    for (name, wish) in SHARED {
        if let Some(value) = open.take(wish) {
            options.insert(name.to_owned(), value.clone());
        }
    }
    for name in LOADING.iter().chain(&OWN) {
        if let Some(value) = open.take_named(&format!("options.{name}")) {
            options.insert((*name).to_owned(), value.clone());
        }
    }
    if !options.is_empty() {
        body.insert("options".to_owned(), Value::Object(options));
    }
    for name in BESIDE {
        if let Some(value) = open.take_named(name) {
            body.insert(name.to_owned(), value.clone());
        }
    }
}

/// A number, unless it asks for nothing: Ollama's zeros and minus ones switch things off.
fn number(place: &str, wish: Wish, value: Value) -> Result<Option<Value>, Refusal> {
    let Some(number) = value.as_f64() else { return Err(refusal(place, "a number")) };
    if matches!(wish, Wish::MaxTokens | Wish::TopK | Wish::Seed) && value.as_i64().is_none() {
        return Err(refusal(place, "a whole number"));
    }
    let asks_nothing = match wish {
        Wish::MaxTokens | Wish::Seed => number < 0.0,
        Wish::TopK | Wish::MinP => number <= 0.0,
        Wish::PresencePenalty | Wish::FrequencyPenalty => number == 0.0,
        Wish::RepetitionPenalty => (number - 1.0).abs() < f64::EPSILON,
        _ => false,
    };
    Ok((!asks_nothing).then_some(value))
}

fn stops(place: &str, value: Value) -> Result<Value, Refusal> {
    match value {
        Value::String(stop) => Ok(Value::Array(vec![Value::String(stop)])),
        Value::Array(stops) if stops.is_empty() => Ok(Value::Null),
        Value::Array(stops) if stops.iter().all(Value::is_string) => Ok(Value::Array(stops)),
        _ => Err(refusal(place, "a string or a list of strings")),
    }
}
