//! From the pieces of a streamed answer to the whole, and back.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::answer::{Answer, Choice};
use super::event::{Delta, Event, Start};
use super::failure::Failure;
use super::part::{Content, Part, Reasoning, ToolCall};

/// Puts the events of a stream together. What it holds grows with the answer: whoever feeds it bounds that.
#[derive(Debug, Default)]
pub struct Collector {
    answer: Answer,
    choices: BTreeMap<u32, Gathered>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Gathered {
    choice: Choice,
    /// The next piece begins a part, whatever the last one was.
    breaks: bool,
    /// By call: its place among the parts.
    calls: BTreeMap<u32, usize>,
}

impl Collector {
    /// Takes one event.
    ///
    /// # Errors
    /// When the event is the provider's word that it failed.
    pub fn event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Start(Start { id, model, created, service_tier, fingerprint }) => {
                self.answer = Answer { id, model, created, service_tier, fingerprint, ..Answer::default() };
            }
            Event::Delta { choice, delta } => self.choice(choice).delta(delta),
            Event::Finish { choice, finish } => self.choice(choice).choice.finish = Some(finish),
            Event::Usage(usage) => self.answer.usage = Some(usage),
            Event::Ping => {}
            Event::Failed(failure) => return Err(failure),
            Event::End => self.ended = true,
        }
        Ok(())
    }

    /// The answer, if its end was seen.
    pub fn finish(self) -> Option<Answer> {
        let choices = self.choices.into_iter().map(|(index, gathered)| Choice { index, ..gathered.choice });
        self.ended.then(|| Answer { choices: choices.collect(), ..self.answer })
    }

    fn choice(&mut self, index: u32) -> &mut Gathered {
        self.choices.entry(index).or_default()
    }
}

impl Gathered {
    fn delta(&mut self, delta: Delta) {
        let breaks = std::mem::take(&mut self.breaks);
        let parts = &mut self.choice.parts;
        let last = parts.last_mut().filter(|_| !breaks).map(|part| &mut part.content);
        match (delta, last) {
            (Delta::Part, _) => self.breaks = true,
            (Delta::Text(piece), Some(Content::Text { text, .. }))
            | (Delta::Refusal(piece), Some(Content::Refusal(text))) => text.push_str(&piece),
            (Delta::Text(piece), _) => parts.push(Part::text(piece)),
            (Delta::Refusal(piece), _) => parts.push(Part::new(Content::Refusal(piece))),
            (Delta::Annotation(annotation), Some(Content::Text { annotations, .. })) => {
                annotations.push(annotation);
            }
            (Delta::Annotation(annotation), _) => {
                let annotations = vec![annotation];
                parts.push(Part::new(Content::Text { text: String::new(), annotations }));
            }
            (Delta::Reasoning(piece), Some(Content::Reasoning(thought))) if thought.redacted.is_none() => {
                thought.text.push_str(&piece);
            }
            (Delta::Reasoning(text), _) => parts.push(reasoning(Reasoning { text, ..Reasoning::default() })),
            (Delta::Signature(signature), last) => {
                match last {
                    Some(Content::Reasoning(thought)) => thought.signature = Some(signature),
                    _ => {
                        parts.push(reasoning(Reasoning { signature: Some(signature), ..Reasoning::default() }));
                    }
                }
                self.breaks = true;
            }
            (Delta::Redacted(all), last) => {
                match last {
                    Some(Content::Reasoning(thought)) if thought.redacted.is_none() => {
                        thought.redacted = Some(all);
                    }
                    _ => parts.push(reasoning(Reasoning { redacted: Some(all), ..Reasoning::default() })),
                }
                self.breaks = true;
            }
            (Delta::ReasoningId(id), Some(Content::Reasoning(thought))) => thought.id = Some(id),
            (Delta::ReasoningId(id), _) => {
                parts.push(reasoning(Reasoning { id: Some(id), ..Reasoning::default() }));
            }
            (Delta::ToolCall { call, id, name, signature }, _) => {
                self.calls.insert(call, parts.len());
                let call = ToolCall { id, name, signature, arguments: String::new() };
                parts.push(Part::new(Content::ToolCall(call)));
            }
            (Delta::Arguments { call, text }, _) => {
                let part = self.calls.get(&call).and_then(|at| parts.get_mut(*at));
                if let Some(Content::ToolCall(call)) = part.map(|part| &mut part.content) {
                    call.arguments.push_str(&text);
                }
            }
            (Delta::ToolCallEnd { .. }, _) => {}
            (Delta::Logprobs(content), _) => self.logprobs(content),
            (Delta::Media(media), _) => parts.push(Part::new(Content::Media(media))),
            (Delta::Foreign { kind, value }, _) => parts.push(Part::new(Content::Foreign { kind, value })),
        }
    }

    fn logprobs(&mut self, content: Value) {
        let all = self.choice.logprobs.get_or_insert_with(|| json!({ "content": [], "refusal": null }));
        if let (Some(Value::Array(all)), Value::Array(more)) = (all.get_mut("content"), content) {
            all.extend(more);
        }
    }
}

fn reasoning(reasoning: Reasoning) -> Part {
    Part::new(Content::Reasoning(reasoning))
}

impl Answer {
    /// The same as a stream that is said in one breath.
    pub fn into_events(self) -> Vec<Event> {
        let Self { id, model, created, choices, usage, service_tier, fingerprint } = self;
        let mut events = vec![Event::Start(Start { id, model, created, service_tier, fingerprint })];
        for Choice { index: choice, parts, finish, logprobs } in choices {
            let mut calls = 0;
            for part in parts {
                for delta in deltas(part.content, &mut calls) {
                    events.push(Event::Delta { choice, delta });
                }
            }
            if let Some(content) = logprobs.and_then(|mut logprobs| logprobs.get_mut("content").map(Value::take)) {
                events.push(Event::Delta { choice, delta: Delta::Logprobs(content) });
            }
            events.extend(finish.map(|finish| Event::Finish { choice, finish }));
        }
        events.extend(usage.map(Event::Usage));
        events.push(Event::End);
        events
    }
}

fn deltas(content: Content, calls: &mut u32) -> Vec<Delta> {
    let mut deltas = vec![Delta::Part];
    match content {
        Content::Text { text, annotations } => {
            deltas.push(Delta::Text(text));
            deltas.extend(annotations.into_iter().map(Delta::Annotation));
        }
        Content::Reasoning(Reasoning { text, signature, redacted, id }) => {
            deltas.extend(id.map(Delta::ReasoningId));
            if !text.is_empty() {
                deltas.push(Delta::Reasoning(text));
            }
            deltas.extend(redacted.map(Delta::Redacted));
            deltas.extend(signature.map(Delta::Signature));
        }
        Content::ToolCall(ToolCall { id, name, arguments, signature }) => {
            let call = std::mem::replace(calls, *calls + 1);
            deltas.push(Delta::ToolCall { call, id, name, signature });
            deltas.push(Delta::Arguments { call, text: arguments });
            deltas.push(Delta::ToolCallEnd { call });
        }
        Content::Refusal(text) => deltas.push(Delta::Refusal(text)),
        Content::Media(media) => deltas.push(Delta::Media(media)),
        Content::Foreign { kind, value } => deltas.push(Delta::Foreign { kind, value }),
        Content::ToolResult(_) => {}
    }
    deltas
}
