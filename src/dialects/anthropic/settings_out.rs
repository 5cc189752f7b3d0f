//! How an answer is to come about: length, thought, chance, tools and form (Anthropic API reference, create a message).

use serde_json::{Map, Value, json};

use super::models::Model;
use super::schema;
use crate::dialects::Lost;
use crate::dialects::conversation::{Effort, Format, Open, Request, Thinking, Tool, ToolChoice, Wish};

/// The least budget of thought that the API takes.
const BUDGET_MIN: u64 = 1024;
/// The tool whose arguments are the answer, for models that can't be held to a form otherwise.
const FORM_TOOL: &str = "json_answer";

/// Writes settings into a body.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    pub(super) request: &'a Request,
    pub(super) open: &'a Open<'a>,
    pub(super) model: Model,
    /// The tools that were called so far.
    pub(super) called: Vec<String>,
    pub(super) body: Map<String, Value>,
    pub(super) lost: Vec<Lost>,
    pub(super) form_tool: Option<String>,
}

impl Settings<'_> {
    /// All of them. `calls_lack_thought`: see [`super::messages_out::Conversation`].
    pub(super) fn write(&mut self, calls_lack_thought: bool) {
        self.tools_and_form();
        let thinks = self.length_and_thought(calls_lack_thought);
        self.chance(thinks);
        self.rest();
    }

    /// What a count of tokens depends on.
    pub(super) fn write_for_count(&mut self) {
        self.tools_and_form();
        // Nothing is answered, so nothing of what else was asked for is lost.
        self.lost.clear();
    }

    fn hint(&mut self, name: impl Into<String>) {
        self.lost.push(Lost { name: name.into(), is_hint: true });
    }

    fn set(&mut self, name: &str, value: Value) {
        self.body.insert(name.to_owned(), value);
    }

    fn configure(&mut self, name: &str, value: Value) {
        let config = self.body.entry("output_config").or_insert_with(|| json!({}));
        config[name] = value;
    }

    // ------------------------------------------------------------------------------------------ tools and form

    fn tools_and_form(&mut self) {
        let request = self.request;
        let mut tools: Vec<Value> =
            request.tools.iter().enumerate().map(|(index, tool)| self.tool(index, tool)).collect();
        let mut choice = request.tool_choice.as_ref().and_then(|choice| self.choice(choice, tools.is_empty()));
        if let Some(format) = &request.format
            && !self.native_form(format)
        {
            self.tool_form(format, &mut tools, &mut choice);
        }
        if tools.is_empty() {
            // The API wants to know tools that were called before, even where none is to be called any more.
            tools.extend(
                self.called.iter().map(|name| json!({ "name": name, "input_schema": schema::of_tool(None) })),
            );
            choice = (!tools.is_empty()).then(|| json!({ "type": "none" }));
        }
        let is_single =
            self.open.take(Wish::ParallelToolCalls).is_some_and(|parallel| *parallel == Value::Bool(false));
        if is_single && !tools.is_empty() && choice.as_ref().is_none_or(|choice| choice["type"] != "none") {
            choice.get_or_insert_with(|| json!({ "type": "auto" }))["disable_parallel_tool_use"] = json!(true);
        }
        if !tools.is_empty() {
            self.set("tools", Value::Array(tools));
            if let Some(choice) = choice {
                self.set("tool_choice", choice);
            }
        }
    }

    fn tool(&mut self, index: usize, tool: &Tool) -> Value {
        let mut value = json!({ "name": tool.name, "input_schema": schema::of_tool(tool.schema.as_ref()) });
        if let Some(description) = &tool.description {
            value["description"] = json!(description);
        }
        if tool.strict == Some(true) {
            let strict = schema::strict(&value["input_schema"]).filter(|_| self.model.has_structured_output());
            if let Some(strict) = strict {
                value["input_schema"] = strict;
                value["strict"] = json!(true);
            } else {
                // The model still sees the schema, and nearly always follows it.
                self.hint(format!("tools[{index}].strict"));
            }
        }
        if let Some(cache) = &tool.cache {
            value["cache_control"] = cache.clone();
        }
        value
    }

    fn choice(&mut self, choice: &ToolChoice, is_without_tools: bool) -> Option<Value> {
        if is_without_tools {
            return None;
        }
        let choice = match choice {
            ToolChoice::Auto => json!({ "type": "auto" }),
            ToolChoice::None => json!({ "type": "none" }),
            ToolChoice::Required => json!({ "type": "any" }),
            ToolChoice::Named(name) => json!({ "type": "tool", "name": name }),
        };
        if is_forced(&choice) && !self.model.can_be_forced() {
            self.lost.push(Lost::new("tool_choice"));
            return None;
        }
        Some(choice)
    }

    /// The form by the model's own means; `false` where it has none for it.
    fn native_form(&mut self, format: &Format) -> bool {
        let Format::JsonSchema { schema, .. } = format else { return false };
        let Some(schema) = schema::strict(schema).filter(|_| self.model.has_structured_output()) else {
            return false;
        };
        self.configure("format", json!({ "type": "json_schema", "schema": schema }));
        true
    }

    /// The form as that of a tool's arguments, which the model must call: this one, or one of the client's own first.
    fn tool_form(&mut self, format: &Format, tools: &mut Vec<Value>, choice: &mut Option<Value>) {
        let (schema, description) = match format {
            Format::JsonObject => (json!({ "type": "object" }), None),
            Format::JsonSchema { schema, description, .. } => (schema.clone(), description.as_deref()),
        };
        let is_object = schema.get("type").is_none_or(|kind| kind == "object");
        if !is_object || !self.model.can_be_forced() {
            self.lost.push(Lost::new("response_format"));
            return;
        }
        let mut name = FORM_TOOL.to_owned();
        while tools.iter().any(|tool| tool["name"] == *name) {
            name.push('_');
        }
        let own = choice.as_ref().is_none_or(|choice| choice["type"] != "none") && !tools.is_empty();
        if choice.as_ref().is_none_or(|choice| choice["type"] != "tool") {
            let forced = if own { json!({ "type": "any" }) } else { json!({ "type": "tool", "name": name }) };
            *choice = Some(forced);
        }
        let purpose = "Gives the answer to the user. The arguments are the answer, as JSON.";
        let description = description.map_or_else(|| purpose.to_owned(), |text| format!("{purpose} {text}"));
        tools.push(json!({
            "name": name,
            "description": description,
            "input_schema": schema::of_tool(Some(&schema)),
        }));
        self.form_tool = Some(name);
    }

    // --------------------------------------------------------------------------------------- length and thought

    /// `max_tokens`, `thinking` and the effort; whether the model thinks by them.
    fn length_and_thought(&mut self, calls_lack_thought: bool) -> bool {
        let wanted = self.open.take(Wish::MaxTokens).and_then(Value::as_u64);
        let mut length = wanted.unwrap_or_else(|| self.model.default_max_tokens());
        let thinks = match &self.request.thinking {
            None => self.model.thinks_by_itself(),
            Some(thinking) if is_off(thinking) => self.no_thought(thinking),
            Some(thinking) if self.model.is_adaptive() => {
                self.adaptive(thinking);
                true
            }
            Some(thinking) => {
                let budget = thinking.budget.or_else(|| thinking.effort.map(Effort::budget));
                let budget = budget.unwrap_or_else(|| Effort::Medium.budget()).max(BUDGET_MIN);
                let most = self.model.most_tokens().unwrap_or(u64::MAX);
                if wanted.is_none() {
                    // Room for the answer behind the thought.
                    length = length.max(budget.saturating_add(BUDGET_MIN)).min(most);
                }
                // The budget must be below the whole, which is what the client has said.
                let budget = budget.min(length.min(most).saturating_sub(1));
                self.manual(thinking, budget, calls_lack_thought)
            }
        };
        let most = self.model.most_tokens().unwrap_or(u64::MAX);
        self.set("max_tokens", json!(length.min(most)));
        thinks
    }

    fn no_thought(&mut self, thinking: &Thinking) -> bool {
        if self.model.always_thinks() {
            self.configure("effort", json!("low"));
            self.hint("thinking");
            return true;
        }
        let kind = if self.model.stops_between_tools() { "between_tools" } else { "disabled" };
        if self.model.thinks_by_itself() {
            self.set("thinking", json!({ "type": kind }));
        }
        // More than a high effort is refused without thought.
        let effort =
            thinking.effort.filter(|effort| *effort != Effort::None).map(|effort| effort.min(Effort::High));
        if let Some(effort) = effort.and_then(|effort| self.model.effort(effort)) {
            self.configure("effort", json!(effort));
        }
        false
    }

    /// The model decides how much, guided by a word.
    fn adaptive(&mut self, thinking: &Thinking) {
        let effort = thinking.effort.or_else(|| thinking.budget.map(Effort::of_budget));
        let mut value = json!({ "type": "adaptive" });
        show(thinking, &mut value);
        self.set("thinking", value);
        if let Some(effort) = effort.and_then(|effort| self.model.effort(effort)) {
            self.configure("effort", json!(effort));
        }
    }

    /// With a budget in tokens. It is not to be had beside a forced call, nor in the middle of calls that another model
    /// made, because the API wants the thought before them: rather no thought than no answer.
    fn manual(&mut self, thinking: &Thinking, budget: u64, calls_lack_thought: bool) -> bool {
        let is_forced = self.body.get("tool_choice").is_some_and(is_forced);
        if !self.model.thinks() || budget < BUDGET_MIN || is_forced || calls_lack_thought {
            self.hint("thinking");
            return false;
        }
        let mut value = json!({ "type": "enabled", "budget_tokens": budget });
        if thinking.summary.as_deref() == Some("none") {
            show(thinking, &mut value);
        }
        self.set("thinking", value);
        if let Some(effort) = thinking.effort.and_then(|effort| self.model.effort(effort)) {
            self.configure("effort", json!(effort));
        }
        true
    }

    // --------------------------------------------------------------------------------------------------- others

    /// `temperature`, `top_p` and `top_k`. What says the default is as good as honoured.
    fn chance(&mut self, thinks: bool) {
        let number = |wish: Wish| self.request.wishes.get(wish).and_then(Value::as_f64);
        let is_one = |number: f64| (number - 1.0).abs() < f64::EPSILON;
        let (temperature, top_p) = (number(Wish::Temperature), number(Wish::TopP));
        let is_bound = self.model.has_no_sampling() || thinks;
        if temperature.is_some_and(is_one) {
            self.open.take(Wish::Temperature);
        } else if temperature.is_some_and(|temperature| !is_bound && (0.0..=1.0).contains(&temperature)) {
            self.copy(Wish::Temperature, "temperature");
        }
        let has_temperature = self.body.contains_key("temperature") && self.model.takes_one_sampling();
        // Beside thought, a little of it may be cut off.
        let least = if thinks { 0.95 } else { 0.0 };
        if top_p.is_some_and(is_one) {
            self.open.take(Wish::TopP);
        } else if top_p.is_some_and(|top_p| (least..=1.0).contains(&top_p))
            && !self.model.has_no_sampling()
            && !has_temperature
        {
            self.copy(Wish::TopP, "top_p");
        }
        if !is_bound {
            self.copy(Wish::TopK, "top_k");
        }
    }

    fn rest(&mut self) {
        let stop = self.request.wishes.get(Wish::Stop).and_then(Value::as_array);
        // The API refuses sequences of white space alone.
        let is_fit = |stop: &Value| stop.as_str().is_some_and(|stop| !stop.trim().is_empty());
        if stop.is_some_and(|stop| stop.iter().all(is_fit)) {
            self.copy(Wish::Stop, "stop_sequences");
        }
        if let Some(user) = self.open.take(Wish::User) {
            self.set("metadata", json!({ "user_id": user }));
        }
        match self.request.wishes.get(Wish::ServiceTier).and_then(Value::as_str) {
            // With priority where the account has any, which is also its default.
            Some("auto" | "priority") => {
                self.open.take(Wish::ServiceTier);
                self.set("service_tier", json!("auto"));
            }
            Some("default") => {
                self.open.take(Wish::ServiceTier);
                self.set("service_tier", json!("standard_only"));
            }
            _ => {}
        }
    }

    fn copy(&mut self, wish: Wish, name: &str) {
        if let Some(value) = self.open.take(wish) {
            self.set(name, value.clone());
        }
    }
}

fn is_forced(choice: &Value) -> bool {
    choice["type"] == "any" || choice["type"] == "tool"
}

fn is_off(thinking: &Thinking) -> bool {
    let is_none = thinking.effort == Some(Effort::None) || thinking.budget == Some(0);
    thinking.enabled == Some(false) || (is_none && thinking.enabled.is_none())
}

/// Whether the thought is to be shown. Where the client does not say, it is the model's way that counts.
fn show(thinking: &Thinking, value: &mut Value) {
    if let Some(summary) = thinking.summary.as_deref() {
        value["display"] = json!(if summary == "none" { "omitted" } else { "summarized" });
    }
}
