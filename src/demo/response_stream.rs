//! The Responses API as a stream of named, numbered events.

use std::fmt;
use std::rc::Rc;

use bytes::{BufMut, BytesMut};
use serde_json::{Value, json};

use super::body::{Events, put, put_string};
use super::responses::Answer;
use super::service::State;

/// A response under way. Dropped before its end it is kept as cancelled.
pub(super) struct ResponseStream {
    answer: Answer,
    state: Rc<State>,
    /// Number of the next event.
    sequence: u64,
    /// What each delta event begins with, up to its number.
    delta_head: String,
    /// From the number of a delta event to the delta itself.
    delta_place: String,
    done: bool,
}

impl ResponseStream {
    /// A stream of `answer`, whose end is noted in `state`.
    pub(super) fn new(answer: Answer, state: Rc<State>) -> Self {
        let (name, part) = match answer.reply.call {
            Some(_) => ("response.function_call_arguments.delta", ""),
            None => ("response.output_text.delta", "\"content_index\":0,\"logprobs\":[],"),
        };
        let delta_head = format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":");
        let delta_place = format!(",\"item_id\":\"{}\",\"output_index\":0,{part}\"delta\":", answer.item_id());
        Self { answer, state, sequence: 0, delta_head, delta_place, done: false }
    }

    fn event(&mut self, name: &str, mut fields: Value, out: &mut BytesMut) {
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("type".to_owned(), name.into());
            fields.insert("sequence_number".to_owned(), self.sequence.into());
        }
        self.sequence += 1;
        put!(out, "event: {name}\ndata: ");
        serde_json::to_writer(out.writer(), &fields).expect("a value always serialises");
        put!(out, "\n\n");
    }

    /// An event about the one output item, or about the text in it.
    fn item_event(&mut self, name: &str, mut fields: Value, out: &mut BytesMut) {
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("output_index".to_owned(), 0.into());
            if !fields.contains_key("item") {
                fields.insert("item_id".to_owned(), self.answer.item_id().into());
            }
        }
        self.event(name, fields, out);
    }
}

impl Events for ResponseStream {
    fn steps(&self) -> usize {
        self.answer.reply.tokens.len()
    }

    fn opens_early(&self) -> bool {
        true
    }

    fn open(&mut self, out: &mut BytesMut) {
        let response = self.answer.object("in_progress");
        self.event("response.created", json!({"response": response}), out);
        self.event("response.in_progress", json!({"response": response}), out);
        let item = self.answer.item("in_progress");
        self.item_event("response.output_item.added", json!({"item": item}), out);
        if self.answer.reply.call.is_none() {
            let fields = json!({"content_index": 0, "part": Answer::part("")});
            self.item_event("response.content_part.added", fields, out);
        }
    }

    fn step(&mut self, step: usize, out: &mut BytesMut) {
        let Some(token) = self.answer.reply.tokens.get(step) else {
            return;
        };
        out.extend_from_slice(self.delta_head.as_bytes());
        put!(out, "{}", self.sequence);
        out.extend_from_slice(self.delta_place.as_bytes());
        put_string(out, token);
        out.extend_from_slice(b"}\n\n");
        self.sequence += 1;
    }

    fn close(&mut self, out: &mut BytesMut) {
        let status = self.answer.status();
        let text = self.answer.reply.tokens.text().to_owned();
        if let Some(name) = self.answer.reply.call.clone() {
            let fields = json!({"name": name, "arguments": text});
            self.item_event("response.function_call_arguments.done", fields, out);
        } else {
            let part = Answer::part(&text);
            let fields = json!({"content_index": 0, "text": text, "logprobs": []});
            self.item_event("response.output_text.done", fields, out);
            let fields = json!({"content_index": 0, "part": part});
            self.item_event("response.content_part.done", fields, out);
        }
        let item = self.answer.item(status);
        self.item_event("response.output_item.done", json!({"item": item}), out);
        let response = self.answer.object(status);
        self.state.store.borrow_mut().finish_response(&self.answer.id(), response.clone());
        self.event(&format!("response.{status}"), json!({"response": response}), out);
        self.done = true;
    }
}

impl Drop for ResponseStream {
    fn drop(&mut self) {
        if !self.done {
            let response = self.answer.object("cancelled");
            self.state.store.borrow_mut().finish_response(&self.answer.id(), response);
        }
    }
}
