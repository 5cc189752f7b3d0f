//! Writes the settings, where the API's ranges take them.

use serde_json::{Map, Value, json};

use crate::dialects::conversation::{Effort, Open, Request, Thinking, Wish};
use crate::dialects::provider::Lost;

/// What the API has beside everybody's settings, by its own names.
const OWN: [&str; 6] =
    ["documents", "citation_options", "safety_mode", "strict_tools", "raw_prompting", "priority"];
/// Stop sequences of a request.
const STOPS_MAX: usize = 5;
/// The most that `k` may be.
const K_MAX: u64 = 500;
/// Parts of the names of models that do not think.
const THOUGHTLESS: [&str; 6] =
    ["command-r", "command-a-03", "command-a-vision", "command-a-translate", "command-light", "aya"];

/// Whether a model thinks. Those that do not refuse to be asked for it.
pub(super) fn can_think(model: &str) -> bool {
    !THOUGHTLESS.iter().any(|part| model.contains(part))
}

/// Settings as they come to be.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    request: &'a Request,
    open: Open<'a>,
    members: Map<String, Value>,
    lost: Option<Lost>,
}

impl<'a> Settings<'a> {
    /// Those of a request.
    pub(super) fn of(request: &'a Request, model: &str) -> Self {
        let mut settings = Self { request, open: request.wishes.open(), members: Map::new(), lost: None };
        settings.sampling();
        if let Some(thinking) = &request.thinking {
            settings.thinking(thinking, model);
        }
        // One call at a time is nothing to ask where there is nothing to call.
        if request.tools.is_empty() {
            settings.open.take(Wish::ParallelToolCalls);
        }
        for name in OWN {
            if let Some(value) = settings.open.take_named(name) {
                settings.members.insert(name.to_owned(), value.clone());
            }
        }
        settings
    }

    /// Puts them into a request and returns what is not in it.
    pub(super) fn write(mut self, body: &mut Map<String, Value>) -> Vec<Lost> {
        body.append(&mut self.members);
        let mut lost = Lost::of_wishes(self.open.left());
        lost.extend(self.lost);
        lost
    }

    fn sampling(&mut self) {
        let within = |value: &Value, most: f64| {
            value.as_f64().filter(|number| (0.0..=most).contains(number)).map(|_| value.clone())
        };
        self.take("max_tokens", Wish::MaxTokens, |value| Some(value.clone()));
        self.take("temperature", Wish::Temperature, |value| within(value, f64::MAX));
        // Everybody's 1 cuts nothing, as does the highest that is allowed here: to say nothing would cut at 0.75.
        self.take("p", Wish::TopP, |value| value.as_f64().map(|number| json!(number.clamp(0.01, 0.99))));
        self.take("k", Wish::TopK, |value| value.as_u64().filter(|k| *k <= K_MAX).map(Value::from));
        self.take("frequency_penalty", Wish::FrequencyPenalty, |value| within(value, 1.0));
        self.take("presence_penalty", Wish::PresencePenalty, |value| within(value, 1.0));
        self.take("seed", Wish::Seed, |value| value.as_u64().map(Value::from));
        self.take("stop_sequences", Wish::Stop, |value| {
            value.as_array().filter(|stops| stops.len() <= STOPS_MAX).map(|stops| Value::from(stops.clone()))
        });
        self.take("logprobs", Wish::Logprobs, |value| Some(value.clone()));
    }

    /// Models that think do so unless they are told not to.
    fn thinking(&mut self, thinking: &Thinking, model: &str) {
        let is_off =
            thinking.enabled == Some(false) || thinking.effort == Some(Effort::None) || thinking.budget == Some(0);
        if !can_think(model) {
            let is_wanted = thinking.enabled.is_some() || thinking.effort.is_some() || thinking.budget.is_some();
            if is_wanted && !is_off {
                self.lost = Some(Lost { name: "thinking".to_owned(), is_hint: true });
            }
            return;
        }
        let mut how = json!({ "type": if is_off { "disabled" } else { "enabled" } });
        let budget = thinking.budget.or_else(|| thinking.effort.map(Effort::budget));
        if let Some(budget) = budget.filter(|_| !is_off) {
            how["token_budget"] = budget.into();
        }
        self.members.insert("thinking".to_owned(), how);
    }

    fn take(&mut self, name: &str, wish: Wish, fit: impl Fn(&Value) -> Option<Value>) {
        if let Some(value) = self.request.wishes.get(wish).and_then(fit) {
            self.open.take(wish);
            self.members.insert(name.to_owned(), value);
        }
    }
}
