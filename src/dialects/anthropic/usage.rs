//! What an answer cost (Anthropic API reference, `usage`). Anthropic counts cached input beside the rest of it.

use serde_json::{Value, json};

use crate::dialects::conversation::Usage;

/// What has been said of the usage so far: each later word replaces the earlier one on the same thing.
#[derive(Debug, Default)]
pub(super) struct Tally {
    input: u64,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    cache_write_1h: Option<u64>,
    output: u64,
    reasoning: Option<u64>,
}

impl Tally {
    /// Takes what one `usage` object says; `false` if it is none.
    pub(super) fn take(&mut self, usage: Option<&Value>) -> bool {
        let Some(usage) = usage.filter(|usage| usage.is_object()) else { return false };
        let number = |path: &str| usage.pointer(path).and_then(Value::as_u64);
        self.input = number("/input_tokens").unwrap_or(self.input);
        self.output = number("/output_tokens").unwrap_or(self.output);
        for (kept, path) in [
            (&mut self.cache_read, "/cache_read_input_tokens"),
            (&mut self.cache_write, "/cache_creation_input_tokens"),
            (&mut self.cache_write_1h, "/cache_creation/ephemeral_1h_input_tokens"),
            (&mut self.reasoning, "/output_tokens_details/thinking_tokens"),
        ] {
            *kept = number(path).or(*kept);
        }
        true
    }

    pub(super) fn usage(&self) -> Usage {
        let cached = self.cache_read.unwrap_or(0).saturating_add(self.cache_write.unwrap_or(0));
        Usage {
            input: self.input.saturating_add(cached),
            cache_read: self.cache_read,
            cache_write: self.cache_write,
            cache_write_1h: self.cache_write_1h,
            output: self.output,
            reasoning: self.reasoning,
            ..Usage::default()
        }
    }
}

/// Anthropic's word for a tier, in `OpenAI`'s words.
pub(super) fn read_tier(usage: Option<&Value>) -> Option<String> {
    let tier = usage?.get("service_tier")?.as_str()?;
    Some(if tier == "standard" { "default".to_owned() } else { tier.to_owned() })
}

/// And back; `None` for a tier that Anthropic has not.
pub(super) fn write_tier(tier: Option<&str>) -> Option<&'static str> {
    match tier? {
        "default" => Some("standard"),
        "priority" => Some("priority"),
        "batch" => Some("batch"),
        _ => None,
    }
}

/// The `usage` object. Clients add its numbers up, so that those of the cache are there even where nothing is known.
pub(super) fn write(usage: &Usage) -> Value {
    let (read, written) = (usage.cache_read.unwrap_or(0), usage.cache_write.unwrap_or(0));
    let mut value = json!({
        "input_tokens": usage.input.saturating_sub(read.saturating_add(written)),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output,
    });
    if let Some(hour) = usage.cache_write_1h {
        let hour = hour.min(written);
        value["cache_creation"] =
            json!({ "ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour });
    }
    if let Some(reasoning) = usage.reasoning {
        value["output_tokens_details"] = json!({ "thinking_tokens": reasoning });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_input_is_beside_the_rest_there_and_in_it_here() {
        let mut tally = Tally::default();
        let said = json!({
            "input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50, "output_tokens": 1,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
            "output_tokens_details": {"thinking_tokens": 1},
        });
        assert!(tally.take(Some(&said)));
        assert!(tally.take(Some(&json!({ "output_tokens": 9 }))));
        assert!(!tally.take(None) && !tally.take(Some(&Value::Null)));
        let usage = tally.usage();
        assert_eq!((usage.input, usage.output, usage.reasoning), (153, 9, Some(1)));
        let written = write(&usage);
        for name in ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"] {
            assert_eq!(written[name], said[name], "{name}");
        }
    }

    #[test]
    fn more_cached_than_read_is_no_negative_number() {
        let usage = Usage { input: 1, cache_read: Some(5), ..Usage::default() };
        assert_eq!(write(&usage)["input_tokens"], 0);
    }
}
