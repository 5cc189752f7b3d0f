//! A provider's stream (`OpenAI` API reference, Responses streaming events).
//!
//! Providers differ in how much of an item they say in pieces: some send no `delta` and all in `done`, some nothing but the
//! item, some nothing but the whole response at the end. So every piece is counted, and what a later and larger event has
//! more than was said is said then.

use std::collections::BTreeMap;

use serde_json::Value;

use super::answer_in;
use super::members::{list, some_text, text, whole};
use super::slot::{Kind, Slot};
use super::{annotation, error, thought};
use crate::dialects::conversation::{Content, Delta, Event, Start};
use crate::dialects::provider::{Machine, Malformed};

/// Understands one stream.
#[derive(Debug, Default)]
pub(super) struct Responses {
    /// The response's id, once it has begun.
    id: Option<String>,
    /// By `output_index`.
    slots: BTreeMap<u64, Slot>,
    calls: u32,
    /// The piece that was last said: kind, item and place in it.
    last: Option<(Kind, u64, u64)>,
}

impl Machine for Responses {
    fn event(&mut self, _: Option<&str>, data: &[u8], events: &mut Vec<Event>) -> Result<(), Malformed> {
        if data == b"[DONE]" {
            return Ok(());
        }
        let event: Value = serde_json::from_slice(data).map_err(|_| Malformed("an event that is no JSON"))?;
        let kind = text(&event, "type").unwrap_or_default();
        if kind == "error" || (kind.is_empty() && event.get("error").is_some_and(|error| !error.is_null())) {
            events.push(Event::Failed(error::of_event(&event)));
            return Ok(());
        }
        match kind.strip_prefix("response.") {
            Some(kind) => self.of_kind(kind, &event, events),
            None if kind == "keepalive" => events.push(Event::Ping),
            None => {}
        }
        Ok(())
    }
}

impl Responses {
    fn of_kind(&mut self, kind: &str, event: &Value, events: &mut Vec<Event>) {
        let response = event.get("response").unwrap_or(&Value::Null);
        match kind {
            "created" | "queued" | "in_progress" => self.begin(response, events),
            "completed" | "incomplete" | "done" => self.complete(response, events),
            "failed" | "cancelled" => events.push(Event::Failed(error::of_event(response))),
            _ => self.of_item(kind, event, events),
        }
    }

    fn of_item(&mut self, kind: &str, event: &Value, events: &mut Vec<Event>) {
        let at = whole(event, "output_index").unwrap_or_default();
        let place = |name| whole(event, name).unwrap_or_default();
        let (delta, whole_text) = (text(event, "delta"), |name| text(event, name).unwrap_or_default());
        let mut say = |kind, place, said: Said<'_>| self.say((kind, at, place), said, events);
        match kind {
            "output_item.added" => self.added(at, &event["item"], events),
            "output_item.done" => self.item(at, &event["item"], events),
            "output_text.delta" => {
                say(Kind::Text, place("content_index"), Said::More(delta.unwrap_or_default()));
                self.logprobs((at, place("content_index")), list(event, "logprobs"), false, events);
            }
            "output_text.done" => {
                say(Kind::Text, place("content_index"), Said::All(whole_text("text")));
                self.logprobs((at, place("content_index")), list(event, "logprobs"), true, events);
            }
            "output_text.annotation.added" => self.annotation(at, place("content_index"), event, events),
            "content_part.done" => self.piece(at, place("content_index"), &event["part"], events),
            "refusal.delta" => say(Kind::Refusal, place("content_index"), Said::More(delta.unwrap_or_default())),
            "refusal.done" => say(Kind::Refusal, place("content_index"), Said::All(whole_text("refusal"))),
            "reasoning_text.delta" => {
                say(Kind::Thought, place("content_index"), Said::More(delta.unwrap_or_default()));
            }
            "reasoning_text.done" => say(Kind::Thought, place("content_index"), Said::All(whole_text("text"))),
            "reasoning_summary_text.delta" => {
                say(Kind::Summary, place("summary_index"), Said::More(delta.unwrap_or_default()));
            }
            "reasoning_summary_text.done" => {
                say(Kind::Summary, place("summary_index"), Said::All(whole_text("text")));
            }
            "function_call_arguments.delta" => {
                self.arguments(at, Said::More(delta.unwrap_or_default()), events);
            }
            "function_call_arguments.done" => self.arguments(at, Said::All(whole_text("arguments")), events),
            _ => {}
        }
    }

    fn begin(&mut self, response: &Value, events: &mut Vec<Event>) {
        if self.id.is_none() {
            let start = answer_in::start(response);
            self.id = Some(start.id.clone());
            events.push(Event::Start(start));
        }
    }

    /// Begins without being told so, where a provider leaves that out.
    fn begun(&mut self, events: &mut Vec<Event>) {
        if self.id.is_none() {
            self.id = Some(String::new());
            events.push(Event::Start(Start::default()));
        }
    }

    fn added(&mut self, at: u64, item: &Value, events: &mut Vec<Event>) {
        self.begun(events);
        let slot = self.slots.entry(at).or_default();
        slot.know(item);
        let is_new_call = text(item, "type") == Some("function_call") && slot.call.is_none();
        if is_new_call && some_text(item, "name").is_some() {
            self.call(at, item, events);
        }
    }

    /// A thought begins, once there is something of it.
    fn begin_thought(&mut self, at: u64, events: &mut Vec<Event>) {
        let slot = self.slots.entry(at).or_default();
        if !std::mem::replace(&mut slot.has_begun, true) {
            events.push(Event::delta(Delta::Part));
            events.extend(slot.id.clone().map(|id| Event::delta(Delta::ReasoningId(id))));
            self.last = None;
        }
    }

    fn call(&mut self, at: u64, item: &Value, events: &mut Vec<Event>) {
        let place = usize::try_from(at).unwrap_or_default();
        let id = answer_in::call_id(item, self.id.as_deref().unwrap_or_default(), place);
        let name = text(item, "name").unwrap_or_default().to_owned();
        let call = self.calls;
        self.calls += 1;
        self.slots.entry(at).or_default().call = Some(call);
        self.last = None;
        events.push(Event::delta(Delta::ToolCall { call, id, name, signature: None }));
    }

    /// Says a piece of text of some kind.
    fn say(&mut self, place: (Kind, u64, u64), said: Said<'_>, events: &mut Vec<Event>) {
        let (kind, at, piece) = place;
        self.begun(events);
        let slot = self.slots.entry(at).or_default();
        let Some(text) = said.after(slot.said(kind, piece)) else { return };
        slot.count(kind, piece, text.len());
        let is_first_of_thought = slot.thought_texts() == 1;
        if matches!(kind, Kind::Thought | Kind::Summary) {
            self.begin_thought(at, events);
        }
        let is_new = self.last.replace(place) != Some(place);
        let delta = match kind {
            Kind::Text => Delta::Text(text.to_owned()),
            Kind::Refusal => Delta::Refusal(text.to_owned()),
            Kind::Thought | Kind::Summary if is_new && !is_first_of_thought => {
                Delta::Reasoning(format!("\n\n{text}"))
            }
            Kind::Thought | Kind::Summary => Delta::Reasoning(text.to_owned()),
        };
        if is_new && matches!(kind, Kind::Text | Kind::Refusal) {
            events.push(Event::delta(Delta::Part));
        }
        events.push(Event::delta(delta));
    }

    fn arguments(&mut self, at: u64, said: Said<'_>, events: &mut Vec<Event>) {
        let Some(slot) = self.slots.get_mut(&at) else { return };
        let Some(call) = slot.call.filter(|_| !slot.is_done) else { return };
        if let Some(text) = said.after(slot.arguments) {
            slot.arguments += text.len();
            events.push(Event::delta(Delta::Arguments { call, text: text.to_owned() }));
        }
    }

    fn logprobs(&mut self, place: (u64, u64), all: &[Value], is_all: bool, events: &mut Vec<Event>) {
        let count = self.slots.entry(place.0).or_default().logprobs.entry(place.1).or_default();
        let new = if is_all { all.get(*count..).unwrap_or_default() } else { all };
        if !new.is_empty() {
            *count += new.len();
            events.push(Event::delta(Delta::Logprobs(Value::Array(new.to_vec()))));
        }
    }

    fn annotation(&mut self, at: u64, piece: u64, event: &Value, events: &mut Vec<Event>) {
        let Some(value) = event.get("annotation").filter(|value| value.is_object()) else { return };
        self.begun(events);
        *self.slots.entry(at).or_default().annotations.entry(piece).or_default() += 1;
        events.push(Event::delta(Delta::Annotation(annotation::read(value))));
    }

    /// A piece of a message or thought, whole.
    fn piece(&mut self, at: u64, piece: u64, value: &Value, events: &mut Vec<Event>) {
        let text = |name| Said::All(text(value, name).unwrap_or_default());
        match value.get("type").and_then(Value::as_str) {
            Some("output_text") => {
                self.say((Kind::Text, at, piece), text("text"), events);
                self.logprobs((at, piece), list(value, "logprobs"), true, events);
                let count = self.slots.entry(at).or_default().annotations.entry(piece).or_default();
                for annotation in list(value, "annotations").iter().skip(*count) {
                    *count += 1;
                    events.push(Event::delta(Delta::Annotation(annotation::read(annotation))));
                }
            }
            Some("refusal") => self.say((Kind::Refusal, at, piece), text("refusal"), events),
            Some("reasoning_text") => self.say((Kind::Thought, at, piece), text("text"), events),
            _ => {}
        }
    }

    /// An item, whole.
    fn item(&mut self, at: u64, item: &Value, events: &mut Vec<Event>) {
        self.begun(events);
        let slot = self.slots.entry(at).or_default();
        slot.know(item);
        if slot.is_done {
            return;
        }
        match text(item, "type") {
            Some("message") => {
                for (piece, value) in (0..).zip(list(item, "content")) {
                    self.piece(at, piece, value, events);
                }
            }
            Some("reasoning") => self.thought(at, item, events),
            Some("function_call" | "custom_tool_call") => {
                if slot.call.is_none() {
                    self.call(at, item, events);
                }
                self.arguments(at, Said::All(&answer_in::arguments(item)), events);
                if let Some(call) = self.slots.get(&at).and_then(|slot| slot.call) {
                    events.push(Event::delta(Delta::ToolCallEnd { call }));
                }
            }
            Some(kind) => self.other(kind, item, events),
            None => {}
        }
        self.slots.entry(at).or_default().is_done = true;
    }

    fn thought(&mut self, at: u64, item: &Value, events: &mut Vec<Event>) {
        for (name, piece, text) in answer_in::thought_pieces(item) {
            let kind = if name == "summary" { Kind::Summary } else { Kind::Thought };
            self.say((kind, at, piece), Said::All(text), events);
        }
        let Some(encrypted) = some_text(item, "encrypted_content") else { return };
        let proof = thought::seal(some_text(item, "id"), encrypted);
        self.begin_thought(at, events);
        let has_text = self.slots.entry(at).or_default().thought_texts() > 0;
        events.push(Event::delta(if has_text { Delta::Signature(proof) } else { Delta::Redacted(proof) }));
        self.last = None;
    }

    fn other(&mut self, kind: &str, item: &Value, events: &mut Vec<Event>) {
        self.last = None;
        events.push(Event::delta(match answer_in::other(kind, item) {
            Content::Media(media) => Delta::Media(media),
            _ => Delta::Foreign { kind: kind.to_owned(), value: item.clone() },
        }));
    }

    /// The last word: what it alone says comes first.
    fn complete(&mut self, response: &Value, events: &mut Vec<Event>) {
        self.begin(response, events);
        for (position, item) in (0..).zip(list(response, "output")) {
            let id = some_text(item, "id");
            let named = self.slots.iter().find(|(_, slot)| id.is_some() && slot.id.as_deref() == id);
            let at = named.map_or(position, |(at, _)| *at);
            self.item(at, item, events);
        }
        let finish = answer_in::finish(response, self.calls > 0);
        events.push(Event::Finish { choice: 0, finish });
        events.extend(answer_in::usage(response).map(Event::Usage));
        events.push(Event::End);
    }
}

/// What an event says of a text.
#[derive(Clone, Copy, Debug)]
enum Said<'a> {
    /// More of it.
    More(&'a str),
    /// All of it.
    All(&'a str),
}

impl<'a> Said<'a> {
    /// What is new after so many bytes; `None` if nothing is.
    fn after(self, bytes: usize) -> Option<&'a str> {
        let text = match self {
            Self::More(text) => text,
            Self::All(text) => text.get(bytes..).unwrap_or_default(),
        };
        (!text.is_empty()).then_some(text)
    }
}
