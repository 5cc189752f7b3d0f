//! Understands streamed answers (Cohere API Reference, `v2/chat`, streaming). `message-end` is the last word.

use std::collections::BTreeMap;

use serde_json::Value;

use super::answer_in::{finish, id_of, text, usage};
use super::citation_in::{annotation, logprob};
use super::error::of_event;
use crate::dialects::conversation::{Delta, Event, Finish, Start};
use crate::dialects::provider::{Machine, Malformed, Sent};

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    unique: String,
    form: Option<Form>,
    is_begun: bool,
    is_planned: bool,
    is_said: bool,
    /// Calls that have begun and not ended, by their index.
    open: BTreeMap<u64, Call>,
    /// Calls so far.
    calls: u32,
}

/// The tool whose call is the answer.
#[derive(Debug)]
struct Form {
    tool: String,
    is_called: bool,
    /// What was said: it is the answer only if the tool is not called.
    said: Vec<Delta>,
}

#[derive(Debug)]
struct Call {
    to: To,
    /// Some of its arguments have come.
    has_arguments: bool,
}

/// What a call is to the client.
#[derive(Clone, Copy, Debug)]
enum To {
    Call(u32),
    /// The answer.
    Text,
    /// A second answer.
    Nothing,
}

impl Stream {
    pub(super) fn new(sent: &Sent) -> Self {
        let form = |tool: &String| Form { tool: tool.clone(), is_called: false, said: Vec::new() };
        Self {
            unique: sent.unique.clone(),
            form: sent.form_tool.as_ref().map(form),
            is_begun: false,
            is_planned: false,
            is_said: false,
            open: BTreeMap::new(),
            calls: 0,
        }
    }

    fn begin(&mut self, id: String, events: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.is_begun, true) {
            events.push(Event::Start(Start { id, ..Start::default() }));
        }
    }

    /// Says something, or holds it back while the form's tool may yet be called.
    fn say(&mut self, delta: Delta, events: &mut Vec<Event>) {
        match &mut self.form {
            Some(form) if form.is_called => {}
            Some(form) => form.said.push(delta),
            None => events.push(Event::delta(delta)),
        }
    }

    /// Says what was held back, since the form's tool was not called.
    fn release(&mut self, events: &mut Vec<Event>) {
        if let Some(form) = self.form.as_mut().filter(|form| !form.is_called) {
            events.extend(form.said.drain(..).map(Event::delta));
        }
    }

    fn content(&mut self, event: &Value, events: &mut Vec<Event>) {
        let content = &event["delta"]["message"]["content"];
        if let Some(piece) = content["thinking"].as_str().filter(|piece| !piece.is_empty()) {
            events.push(Event::delta(Delta::Reasoning(piece.to_owned())));
        }
        if let Some(piece) = content["text"].as_str().filter(|piece| !piece.is_empty()) {
            self.is_said = true;
            self.say(Delta::Text(piece.to_owned()), events);
        }
        if let Some(item) = logprob(&event["logprobs"]) {
            self.say(Delta::Logprobs(vec![item].into()), events);
        }
    }

    fn plan(&mut self, message: &Value, events: &mut Vec<Event>) {
        let Some(piece) = message["tool_plan"].as_str().filter(|piece| !piece.is_empty()) else { return };
        if !std::mem::replace(&mut self.is_planned, true) {
            events.push(Event::delta(Delta::Part));
        }
        events.push(Event::delta(Delta::Reasoning(piece.to_owned())));
    }

    fn cite(&mut self, message: &Value, events: &mut Vec<Event>) {
        if !self.is_said {
            return;
        }
        let citations = &message["citations"];
        let all = citations.as_array().map_or_else(|| std::slice::from_ref(citations), Vec::as_slice);
        for annotation in all.iter().filter(|citation| citation.is_object()).filter_map(annotation) {
            self.say(Delta::Annotation(annotation), events);
        }
    }

    fn call_start(&mut self, index: u64, call: &Value, events: &mut Vec<Event>) {
        let name = text(&call["function"]["name"]);
        let to = match &mut self.form {
            Some(form) if form.tool == name => {
                form.said.clear();
                if std::mem::replace(&mut form.is_called, true) { To::Nothing } else { To::Text }
            }
            _ => {
                self.release(events);
                let at = self.calls;
                self.calls += 1;
                let id = id_of(call, usize::try_from(at).unwrap_or(usize::MAX), &self.unique);
                events.push(Event::delta(Delta::ToolCall { call: at, id, name, signature: None }));
                To::Call(at)
            }
        };
        if matches!(to, To::Text) {
            events.push(Event::delta(Delta::Part));
        }
        self.open.insert(index, Call { to, has_arguments: false });
        self.call_delta(index, call, events);
    }

    fn call_delta(&mut self, index: u64, call: &Value, events: &mut Vec<Event>) {
        let Some(open) = self.open.get_mut(&index) else { return };
        let Some(piece) = call["function"]["arguments"].as_str().filter(|piece| !piece.is_empty()) else { return };
        // A call without arguments says `null`.
        if open.has_arguments || piece != "null" {
            open.has_arguments = true;
            events.extend(open.to.delta(piece));
        }
    }

    fn call_end(&mut self, index: u64, events: &mut Vec<Event>) {
        let Some(call) = self.open.remove(&index) else { return };
        if !call.has_arguments {
            events.extend(call.to.delta("{}"));
        }
        if let To::Call(call) = call.to {
            events.push(Event::delta(Delta::ToolCallEnd { call }));
        }
    }

    fn end_message(&mut self, delta: &Value, events: &mut Vec<Event>) {
        let open: Vec<u64> = self.open.keys().copied().collect();
        for index in open {
            self.call_end(index, events);
        }
        self.release(events);
        events.extend(usage(&delta["usage"]).map(Event::Usage));
        let word = delta["finish_reason"].as_str().unwrap_or("COMPLETE");
        if matches!(word, "ERROR" | "TIMEOUT") {
            events.push(Event::Failed(of_event(word, delta)));
            return;
        }
        let is_formed = self.calls == 0 && self.form.as_ref().is_some_and(|form| form.is_called);
        let finish = match finish(word) {
            Finish::ToolCalls if is_formed => Finish::Stop,
            finish => finish,
        };
        events.push(Event::Finish { choice: 0, finish });
        events.push(Event::End);
    }
}

impl To {
    fn delta(self, piece: &str) -> Option<Event> {
        let text = piece.to_owned();
        match self {
            Self::Call(call) => Some(Event::delta(Delta::Arguments { call, text })),
            Self::Text => Some(Event::delta(Delta::Text(text))),
            Self::Nothing => None,
        }
    }
}

/// The events of an answer.
const KNOWN: [&str; 11] = [
    "message-start",
    "content-start",
    "content-delta",
    "content-end",
    "tool-plan-delta",
    "tool-call-start",
    "tool-call-delta",
    "tool-call-end",
    "citation-start",
    "citation-end",
    "message-end",
];

impl Machine for Stream {
    fn event(&mut self, name: Option<&str>, data: &[u8], events: &mut Vec<Event>) -> Result<(), Malformed> {
        // Some proxies in front of the API end streams as OpenAI does.
        if data == b"[DONE]" {
            return Ok(());
        }
        let event: Value = serde_json::from_slice(data).map_err(|_| Malformed("an event that is no JSON"))?;
        let kind = event["type"].as_str().or(name).unwrap_or_default();
        let message = &event["delta"]["message"];
        let index = event["index"].as_u64().unwrap_or_default();
        if kind == "error" || (kind.is_empty() && event["message"].is_string()) {
            events.push(Event::Failed(of_event("ERROR", &event)));
            return Ok(());
        }
        if !KNOWN.contains(&kind) {
            return Ok(());
        }
        self.begin(text(&event["id"]), events);
        match kind {
            "content-start" => {
                self.say(Delta::Part, events);
                self.content(&event, events);
            }
            "content-delta" => self.content(&event, events),
            "tool-plan-delta" => self.plan(message, events),
            "tool-call-start" => self.call_start(index, &message["tool_calls"], events),
            "tool-call-delta" => self.call_delta(index, &message["tool_calls"], events),
            "tool-call-end" => self.call_end(index, events),
            "citation-start" => self.cite(message, events),
            "message-end" => self.end_message(&event["delta"], events),
            _ => {}
        }
        Ok(())
    }
}
