//! Writes the settings: those that all models share (`inferenceConfig`), and those of one maker
//! (`additionalModelRequestFields`), which have that maker's own form.

use serde_json::{Map, Value, json};

use super::messages_out::thought_of;
use super::model::Model;
use super::tools_out::Tools;
use crate::dialects::conversation::{Content, Effort, Open, Request, Role, Thinking, Wish};
use crate::dialects::provider::Lost;

/// Where an answer of Claude has the stop sequence that ended it.
pub(super) const STOP_SEQUENCE: &str = "/stop_sequence";
/// The least budget that Claude takes (Anthropic API, "Extended thinking").
const BUDGET_MIN: u64 = 1024;

/// Settings as they come to be.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    request: &'a Request,
    open: Open<'a>,
    model: Model<'a>,
    inference: Map<String, Value>,
    /// In the form of the model's maker.
    fields: Map<String, Value>,
    /// Beside them.
    others: Map<String, Value>,
    /// The client wants thought, and there will be none.
    is_thoughtless: bool,
}

impl<'a> Settings<'a> {
    /// Those of a request with these tools.
    pub(super) fn of(request: &'a Request, model: Model<'a>, tools: &mut Tools) -> Self {
        let mut settings = Self {
            request,
            open: request.wishes.open(),
            model,
            inference: Map::new(),
            fields: Map::new(),
            others: Map::new(),
            is_thoughtless: false,
        };
        let thinks = settings.thinking(tools.forced);
        settings.sampling(thinks);
        settings.parallel(tools);
        settings.rest();
        settings
    }

    /// Puts them into a request and returns what is not in it.
    pub(super) fn write(mut self, body: &mut Map<String, Value>) -> Vec<Lost> {
        for (name, map) in [("inferenceConfig", self.inference), ("additionalModelRequestFields", self.fields)] {
            if !map.is_empty() {
                body.insert(name.to_owned(), map.into());
            }
        }
        body.append(&mut self.others);
        let mut lost = Lost::of_wishes(self.open.left());
        if self.is_thoughtless {
            lost.push(Lost { name: "thinking".to_owned(), is_hint: true });
        }
        lost
    }

    /// Says how much the model is to think, and returns whether Claude will.
    fn thinking(&mut self, forced: bool) -> bool {
        let thinking = self.request.thinking.as_ref().filter(|thinking| is_wanted(thinking));
        let Some(thinking) = thinking else { return false };
        let model = self.model;
        if model.is_claude() {
            self.is_thoughtless = forced || !self.claude_thinks(thinking);
            return !self.is_thoughtless;
        }
        let effort = effort(thinking).unwrap_or(Effort::Medium);
        if model.is_nova_2() {
            self.nova_thinks(effort);
        } else if model.is_gpt_oss() {
            self.field("reasoning_effort", one_of_three(effort).into());
        } else {
            self.is_thoughtless = true;
        }
        false
    }

    fn claude_thinks(&mut self, thinking: &Thinking) -> bool {
        if self.model.thinks_by_effort() {
            self.claude_thinks_by_effort(thinking);
            return true;
        }
        let budget = thinking.budget.unwrap_or_else(|| thinking.effort.unwrap_or(Effort::Medium).budget());
        let room = self.request.wishes.get(Wish::MaxTokens).and_then(Value::as_u64).unwrap_or(u64::MAX);
        // The budget is a part of the answer's tokens and must leave some of them.
        let budget = budget.max(BUDGET_MIN).min(room.saturating_sub(1));
        if !self.model.thinks_by_budget() || budget < BUDGET_MIN || lacks_thought(self.request, self.model) {
            return false;
        }
        self.field("thinking", json!({ "type": "enabled", "budget_tokens": budget }));
        true
    }

    /// Amazon Bedrock User Guide, "Adaptive thinking".
    fn claude_thinks_by_effort(&mut self, thinking: &Thinking) {
        let is_newer = self.model.is_claude_from((4, 7));
        let mut how = json!({ "type": "adaptive" });
        if is_newer && thinking.summary.as_deref().is_some_and(|summary| summary != "none") {
            how["display"] = "summarized".into();
        }
        self.field("thinking", how);
        let effort = effort(thinking).map(|effort| match effort {
            Effort::None | Effort::Minimal => Effort::Low,
            Effort::XHigh if !is_newer => Effort::High,
            effort => effort,
        });
        if let Some(effort) = effort {
            self.field("output_config", json!({ "effort": effort.word() }));
        }
    }

    /// Amazon Nova 2 User Guide, "Extended thinking".
    fn nova_thinks(&mut self, effort: Effort) {
        let others = [Wish::MaxTokens, Wish::Temperature, Wish::TopP, Wish::TopK];
        let is_free = others.iter().all(|wish| self.request.wishes.get(*wish).is_none());
        // With the highest effort Nova takes none of these.
        let word = match one_of_three(effort) {
            "high" if !is_free => "medium",
            word => word,
        };
        self.field("reasoningConfig", json!({ "type": "enabled", "maxReasoningEffort": word }));
    }

    /// Takes what the model can honour of the sampling. Claude refuses much of it while it thinks, and newer ones all of it
    /// (Anthropic API, "Extended thinking" and the migration guides).
    fn sampling(&mut self, thinks: bool) {
        let model = self.model;
        self.take("maxTokens", Wish::MaxTokens, Value::is_u64);
        self.take("stopSequences", Wish::Stop, Value::is_array);
        if model.is_claude() && self.inference.contains_key("stopSequences") {
            // Else the answer does not say which of them it was.
            self.others.insert("additionalModelResponseFieldPaths".to_owned(), json!([STOP_SEQUENCE]));
        }
        if model.is_claude_from((4, 7)) {
            // Nothing but the default, which need not be said.
            for wish in [Wish::Temperature, Wish::TopP] {
                if self.request.wishes.get(wish).and_then(Value::as_f64) == Some(1.0) {
                    self.open.take(wish);
                }
            }
            return;
        }
        let is = |test: fn(f64) -> bool| move |value: &Value| value.as_f64().is_some_and(test);
        if thinks {
            self.take("temperature", Wish::Temperature, is(|value| (value - 1.0).abs() < f64::EPSILON));
        } else if model.is_claude() {
            self.take("temperature", Wish::Temperature, is(|value| value <= 1.0));
        } else {
            self.take("temperature", Wish::Temperature, Value::is_number);
        }
        // From 4.1 on Claude takes one of the two.
        if !(model.is_claude_from((4, 1)) && self.inference.contains_key("temperature")) {
            let least: fn(f64) -> bool = if thinks { |value| value >= 0.95 } else { |_| true };
            self.take("topP", Wish::TopP, is(least));
        }
        if model.is_claude() && !thinks {
            if let Some(value) = self.open.take(Wish::TopK) {
                self.field("top_k", value.clone());
            }
        } else if model.is_nova()
            && let Some(value) = self.open.take(Wish::TopK)
        {
            self.field("inferenceConfig", json!({ "topK": value }));
        }
    }

    /// One call at a time: Claude from 4.5 on takes that in the words of its own API, if the choice is said there as well.
    fn parallel(&mut self, tools: &mut Tools) {
        if self.request.wishes.get(Wish::ParallelToolCalls) != Some(&Value::Bool(false)) {
            return;
        }
        if tools.is_empty() || self.model.is_claude_from((4, 5)) {
            self.open.take(Wish::ParallelToolCalls);
            if let Some(choice) = tools.one_at_a_time() {
                self.field("tool_choice", choice);
            }
        }
    }

    /// Takes what is no matter of sampling, and what the API calls as the client does.
    fn rest(&mut self) {
        let wishes = &self.request.wishes;
        match wishes.get(Wish::ServiceTier).and_then(Value::as_str) {
            Some(tier @ ("default" | "flex" | "priority")) => {
                self.open.take(Wish::ServiceTier);
                self.others.insert("serviceTier".to_owned(), json!({ "type": tier }));
            }
            Some("auto") => _ = self.open.take(Wish::ServiceTier),
            _ => {}
        }
        if let Some(metadata) = wishes.get(Wish::Metadata).filter(|metadata| is_metadata(metadata)) {
            self.open.take(Wish::Metadata);
            self.others.insert("requestMetadata".to_owned(), metadata.clone());
        }
        for name in ["performanceConfig", "guardrailConfig", "promptVariables", "requestMetadata", "serviceTier"] {
            if let Some(value) = self.open.take_named(name) {
                self.others.insert(name.to_owned(), value.clone());
            }
        }
        if let Some(Value::Object(fields)) = self.open.take_named("additionalModelRequestFields") {
            self.fields.extend(fields.clone());
        }
    }

    fn take(&mut self, name: &str, wish: Wish, fits: impl Fn(&Value) -> bool) {
        if let Some(value) = self.request.wishes.get(wish).filter(|value| fits(value)) {
            self.open.take(wish);
            self.inference.insert(name.to_owned(), value.clone());
        }
    }

    fn field(&mut self, name: &str, value: Value) {
        self.fields.insert(name.to_owned(), value);
    }
}

fn is_wanted(thinking: &Thinking) -> bool {
    let is_off =
        thinking.enabled == Some(false) || thinking.effort == Some(Effort::None) || thinking.budget == Some(0);
    !is_off && (thinking.enabled.is_some() || thinking.effort.is_some() || thinking.budget.is_some())
}

fn effort(thinking: &Thinking) -> Option<Effort> {
    thinking.effort.or_else(|| thinking.budget.map(Effort::of_budget))
}

fn one_of_three(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::XHigh | Effort::Max => "high",
    }
}

/// Whether the turn goes on behind calls for which the model did not think, or whose thought is another model's: Claude
/// with a budget refuses to begin to think in the middle of a turn.
fn lacks_thought(request: &Request, model: Model<'_>) -> bool {
    let mut turns = request.messages.iter().rev();
    if !turns.next().is_some_and(|last| last.role == Role::Tool) {
        return false;
    }
    let calls = turns.find(|message| message.role == Role::Assistant);
    let first = calls.and_then(|calls| calls.parts.first()).map(|part| &part.content);
    !matches!(first, Some(Content::Reasoning(thought)) if thought_of(thought, model).is_some())
}

/// Whether it is such as the API takes: up to 16 strings of up to 256 characters (Converse, `requestMetadata`).
fn is_metadata(value: &Value) -> bool {
    let fits = |text: &str, least: usize| {
        let known = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || ":_@$#=/+,-.".contains(c);
        (least..=256).contains(&text.len()) && text.chars().all(known)
    };
    let Some(all) = value.as_object().filter(|all| (1..=16).contains(&all.len())) else { return false };
    all.iter().all(|(key, value)| fits(key, 1) && value.as_str().is_some_and(|value| fits(value, 0)))
}
