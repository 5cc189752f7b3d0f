//! Understands streamed answers (Amazon Bedrock API Reference, `ConverseStream`).
//!
//! The usage comes in `metadata`, behind `messageStop`: an answer is whole when both are there, or when the transfer ends
//! as it should behind the second.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::Value;

use super::answer_in::{annotation, finish, is_call, picture, text, usage};
use super::error::of_event;
use super::model::family;
use crate::dialects::aws_events::{ERROR, EXCEPTION};
use crate::dialects::conversation::{Delta, Event, Family, Finish, Signature, Start};
use crate::dialects::provider::{Machine, Malformed, Sent};

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    family: Family,
    form: Option<Form>,
    is_begun: bool,
    /// Blocks that have begun and not ended, by their index.
    blocks: BTreeMap<u64, Block>,
    /// Calls so far.
    calls: u32,
    is_stopped: bool,
    is_counted: bool,
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
enum Block {
    /// Text, or what a later delta will tell.
    Open,
    Thought {
        /// Its signature so far.
        signature: String,
    },
    Call {
        call: u32,
        has_arguments: bool,
    },
    /// The answer's form.
    Form {
        has_text: bool,
    },
    Picture(Option<String>),
    /// Nothing that the client is told of.
    Hidden,
}

impl Stream {
    pub(super) fn new(sent: &Sent) -> Self {
        let form = |tool: &String| Form { tool: tool.clone(), is_called: false, said: Vec::new() };
        Self {
            family: family(&sent.path),
            form: sent.form_tool.as_ref().map(form),
            is_begun: false,
            blocks: BTreeMap::new(),
            calls: 0,
            is_stopped: false,
            is_counted: false,
        }
    }

    fn begin(&mut self, events: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.is_begun, true) {
            events.push(Event::Start(Start::default()));
        }
    }

    fn block_start(&mut self, body: &Value, events: &mut Vec<Event>) {
        let start = &body["start"];
        let block = if let Some(call) = start.get("toolUse") {
            self.call(call, events)
        } else if let Some(image) = start.get("image") {
            Block::Picture(image["format"].as_str().map(str::to_owned))
        } else if start.get("toolResult").is_some() {
            Block::Hidden
        } else {
            self.say(Delta::Part, events);
            Block::Open
        };
        self.blocks.insert(index(body), block);
    }

    fn call(&mut self, call: &Value, events: &mut Vec<Event>) -> Block {
        let name = text(&call["name"]);
        match &mut self.form {
            Some(form) if form.tool == name => {
                let is_first = !std::mem::replace(&mut form.is_called, true);
                form.said.clear();
                return if is_first { Block::Form { has_text: false } } else { Block::Hidden };
            }
            _ if !is_call(call) => return Block::Hidden,
            Some(_) => self.release(events),
            None => {}
        }
        let id = text(&call["toolUseId"]);
        let call = self.calls;
        self.calls += 1;
        events.push(Event::delta(Delta::ToolCall { call, id, name, signature: None }));
        Block::Call { call, has_arguments: false }
    }

    /// Says what was held back, since the form's tool was not called.
    fn release(&mut self, events: &mut Vec<Event>) {
        let Some(form) = self.form.as_mut().filter(|form| !form.is_called) else { return };
        events.extend(form.said.drain(..).map(Event::delta));
    }

    /// Says something, or holds it back while the form's tool may yet be called.
    fn say(&mut self, delta: Delta, events: &mut Vec<Event>) {
        match &mut self.form {
            Some(form) if form.is_called => {}
            Some(form) => form.said.push(delta),
            None => events.push(Event::delta(delta)),
        }
    }

    fn block_delta(&mut self, body: &Value, events: &mut Vec<Event>) {
        let index = index(body);
        if let Entry::Vacant(entry) = self.blocks.entry(index) {
            // Blocks of text and thought have no beginning of their own.
            entry.insert(Block::Open);
            self.say(Delta::Part, events);
        }
        let delta = &body["delta"];
        if let Some(piece) = delta["text"].as_str().filter(|piece| !piece.is_empty()) {
            self.say(Delta::Text(piece.to_owned()), events);
        } else if let Some(citation) = delta.get("citation") {
            self.say(Delta::Annotation(annotation(citation)), events);
        } else if let Some(block) = self.blocks.get_mut(&index) {
            block.delta(delta, self.family, events);
        }
    }

    fn block_stop(&mut self, body: &Value, events: &mut Vec<Event>) {
        match self.blocks.remove(&index(body)) {
            Some(Block::Thought { signature }) if !signature.is_empty() => {
                let signature = Signature::new(self.family, signature);
                events.push(Event::delta(Delta::Signature(signature)));
            }
            Some(Block::Call { call, has_arguments }) => {
                if !has_arguments {
                    events.push(Event::delta(Delta::Arguments { call, text: "{}".to_owned() }));
                }
                events.push(Event::delta(Delta::ToolCallEnd { call }));
            }
            Some(Block::Form { has_text: false }) => events.push(Event::delta(Delta::Text("{}".to_owned()))),
            _ => {}
        }
    }

    fn stop(&mut self, body: &Value, events: &mut Vec<Event>) {
        self.release(events);
        let is_formed = self.calls == 0 && self.form.as_ref().is_some_and(|form| form.is_called);
        let finish = finish(body).map(|finish| match finish {
            Finish::ToolCalls if is_formed => Finish::Stop,
            finish => finish,
        });
        events.extend(finish.map(|finish| Event::Finish { choice: 0, finish }));
        self.is_stopped = true;
    }
}

impl Block {
    /// Takes a piece that is no text.
    fn delta(&mut self, delta: &Value, family: Family, events: &mut Vec<Event>) {
        let thought = &delta["reasoningContent"];
        if let Some(redacted) = thought["redactedContent"].as_str() {
            events.push(Event::delta(Delta::Redacted(Signature::new(family, redacted))));
        }
        if let Some(piece) = thought["text"].as_str().filter(|piece| !piece.is_empty()) {
            events.push(Event::delta(Delta::Reasoning(piece.to_owned())));
        }
        if let Some(piece) = thought["signature"].as_str() {
            match self {
                Self::Thought { signature } => signature.push_str(piece),
                _ => *self = Self::Thought { signature: piece.to_owned() },
            }
        }
        let input = delta["toolUse"]["input"].as_str().filter(|piece| !piece.is_empty());
        match (self, input) {
            (Self::Call { call, has_arguments }, Some(piece)) => {
                *has_arguments = true;
                events.push(Event::delta(Delta::Arguments { call: *call, text: piece.to_owned() }));
            }
            (Self::Form { has_text }, Some(piece)) => {
                *has_text = true;
                events.push(Event::delta(Delta::Text(piece.to_owned())));
            }
            (Self::Picture(format), None) => {
                let picture = picture(format.as_deref(), &delta["image"]["source"]);
                events.extend(picture.map(|picture| Event::delta(Delta::Media(picture))));
            }
            _ => {}
        }
    }
}

impl Machine for Stream {
    fn event(&mut self, name: Option<&str>, data: &[u8], events: &mut Vec<Event>) -> Result<(), Malformed> {
        let Some(name) = name else { return Ok(()) };
        let body: Value = serde_json::from_slice(data).map_err(|_| Malformed("an event that is no JSON"))?;
        if let Some(word) = exception(name) {
            events.push(Event::Failed(of_event(word, &body)));
            return Ok(());
        }
        self.begin(events);
        match name {
            "contentBlockStart" => self.block_start(&body, events),
            "contentBlockDelta" => self.block_delta(&body, events),
            "contentBlockStop" => self.block_stop(&body, events),
            "messageStop" => self.stop(&body, events),
            "metadata" => {
                events.extend(usage(&body["usage"]).map(Event::Usage));
                self.is_counted = true;
            }
            _ => {}
        }
        if self.is_stopped && self.is_counted {
            events.push(Event::End);
        }
        Ok(())
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        if self.is_stopped {
            events.push(Event::End);
        }
    }
}

/// The name of an exception, which one in front of the API may have made an event again.
fn exception(name: &str) -> Option<&str> {
    let marked = name.strip_prefix(EXCEPTION).or_else(|| name.strip_prefix(ERROR));
    marked.or_else(|| name.ends_with("Exception").then_some(name))
}

fn index(body: &Value) -> u64 {
    body["contentBlockIndex"].as_u64().unwrap_or_default()
}
