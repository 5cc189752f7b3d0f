//! A client's answer: its stream, and the whole, which is what the stream ends with.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

use super::envelope::{self, Standing};
use super::message_out::{self, Call, Message, Thought};
use super::wire::Wire;
use super::{error, items_out, tools_in};
use crate::dialects::conversation::{
    Answer, Delta, Event, Failure, Family, Finish, Media, Signature, Source, Start, Usage,
};
use crate::dialects::front::{Asked, Encode};

/// Writes a whole answer.
pub(super) fn whole(answer: &Answer, asked: &Asked) -> Vec<u8> {
    let mut encoder = Encoder::new(Rc::new(asked.clone()));
    encoder.wire = Wire::mute();
    for event in answer.clone().into_events() {
        encoder.event(&event, &mut Vec::new());
    }
    encoder.last.unwrap_or_default().to_string().into_bytes()
}

/// Writes a stream.
#[derive(Debug)]
pub(super) struct Encoder {
    asked: Rc<Asked>,
    wire: Wire,
    start: Option<Start>,
    /// Items by `output_index`; null while they are open.
    output: Vec<Value>,
    open: Option<Open>,
    calls: BTreeMap<u32, Call>,
    /// The next piece begins a part, whatever the last one was.
    breaks: bool,
    /// The provider's id of the thought that begins.
    thought_id: Option<String>,
    /// Words of a refusal were said.
    has_refused: bool,
    finish: Option<Finish>,
    usage: Option<Usage>,
    /// The response at the end.
    last: Option<Value>,
}

/// The item that is being said; calls may be open beside it.
#[derive(Debug)]
enum Open {
    Message(Message),
    Thought(Thought),
}

impl Encode for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.last.is_some() {
            return;
        }
        match event {
            Event::Start(start) => self.begin(start, out),
            Event::Delta { choice: 0, delta } => {
                self.begin(&Start::default(), out);
                self.delta(delta, out);
            }
            Event::Finish { choice: 0, finish } => {
                self.begin(&Start::default(), out);
                self.finish = Some(self.finish_of(finish));
                self.close_all(out);
            }
            // The dialect has one answer to a request.
            Event::Delta { .. } | Event::Finish { .. } => {}
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Failed(failure) => self.fail(failure, out),
            Event::End => self.end(out),
        }
    }
}

impl Encoder {
    /// For the answer to what was asked.
    pub(super) fn new(asked: Rc<Asked>) -> Self {
        Self {
            asked,
            wire: Wire::default(),
            start: None,
            output: Vec::new(),
            open: None,
            calls: BTreeMap::new(),
            breaks: false,
            thought_id: None,
            has_refused: false,
            finish: None,
            usage: None,
            last: None,
        }
    }

    fn begin(&mut self, start: &Start, out: &mut Vec<u8>) {
        if self.start.is_some() {
            return;
        }
        let response = envelope::response(&self.asked, start, &Standing::in_progress(), &[]);
        self.start = Some(start.clone());
        self.wire.event("response.created", json!({ "response": response }), out);
        self.wire.event("response.in_progress", json!({ "response": response }), out);
    }

    /// A model that will not, without a word of it, is to a client of this dialect one that a filter has stopped.
    fn finish_of(&self, finish: &Finish) -> Finish {
        match finish {
            Finish::Refusal if !self.has_refused => Finish::ContentFilter,
            other => other.clone(),
        }
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Part => self.breaks = true,
            Delta::Text(text) if text.is_empty() => {}
            Delta::Text(text) => self.in_message(out, |message, wire, out| message.say(false, text, wire, out)),
            Delta::Refusal(text) => {
                self.has_refused = true;
                self.in_message(out, |message, wire, out| message.say(true, text, wire, out));
            }
            Delta::Annotation(annotation) => {
                self.in_message(out, |message, wire, out| message.annotate(annotation, wire, out));
            }
            Delta::Logprobs(content) => self.logprobs(content, out),
            Delta::Reasoning(text) if text.is_empty() => {}
            Delta::Reasoning(text) => self.in_thought(out, |thought, wire, out| thought.say(text, wire, out)),
            Delta::Signature(signature) | Delta::Redacted(signature) => {
                self.in_thought(out, |thought, _, _| thought.prove(signature));
                self.close(out);
            }
            Delta::ReasoningId(id) => {
                if self.breaks || !matches!(self.open, Some(Open::Thought(_))) {
                    self.thought_id = Some(id.clone());
                }
            }
            Delta::ToolCall { call, id, name, signature } => {
                self.call(*call, (id, name), signature.as_ref(), out);
            }
            Delta::Arguments { text, .. } if text.is_empty() => {}
            Delta::Arguments { call, text } => {
                if let Some(call) = self.calls.get_mut(call) {
                    call.say(text, &mut self.wire, out);
                }
            }
            Delta::ToolCallEnd { call } => self.end_call(*call, out),
            Delta::Media(media) => self.media(media, out),
            Delta::Foreign { kind, value } if items_out::is_own(kind, value) => self.item(value.clone(), out),
            // No client of this dialect understands it.
            Delta::Foreign { .. } => {}
        }
    }

    /// A place among the items, and an id that says what stands there.
    fn place(&mut self, prefix: &str) -> (usize, String) {
        let index = self.output.len();
        self.output.push(Value::Null);
        (index, format!("{prefix}_{}_{index}", self.asked.unique))
    }

    fn in_message(&mut self, out: &mut Vec<u8>, change: impl FnOnce(&mut Message, &mut Wire, &mut Vec<u8>)) {
        let breaks = std::mem::take(&mut self.breaks);
        if !matches!(self.open, Some(Open::Message(_))) {
            self.close(out);
            let (index, id) = self.place("msg");
            self.open = Some(Open::Message(Message::begin(index, id, &mut self.wire, out)));
        }
        if let Some(Open::Message(message)) = &mut self.open {
            if breaks {
                message.end_piece(&mut self.wire, out);
            }
            change(message, &mut self.wire, out);
        }
    }

    fn in_thought(&mut self, out: &mut Vec<u8>, change: impl FnOnce(&mut Thought, &mut Wire, &mut Vec<u8>)) {
        let breaks = std::mem::take(&mut self.breaks);
        if breaks || !matches!(self.open, Some(Open::Thought(_))) {
            self.close(out);
            let (index, made) = self.place("rs");
            let id = self.thought_id.take().unwrap_or(made);
            self.open = Some(Open::Thought(Thought::begin(index, id, &mut self.wire, out)));
        }
        if let Some(Open::Thought(thought)) = &mut self.open {
            change(thought, &mut self.wire, out);
        }
    }

    fn logprobs(&mut self, content: &Value, out: &mut Vec<u8>) {
        let all: Vec<Value> = content.as_array().into_iter().flatten().cloned().map(with_bytes).collect();
        if all.is_empty() {
            return;
        }
        if let Some(Open::Message(message)) = &mut self.open {
            message.add_logprobs(&all, &mut self.wire, out);
            return;
        }
        // They come late: their text is whole already, and only the response can still tell.
        let texts = self.output.iter_mut().rev().filter_map(|item| item.get_mut("content")?.as_array_mut());
        let last = texts.flatten().find(|piece| piece["type"] == "output_text");
        if let Some(Value::Array(known)) = last.and_then(|piece| piece.get_mut("logprobs")) {
            known.extend(all);
        }
    }

    fn call(&mut self, call: u32, named: (&str, &str), signature: Option<&Signature>, out: &mut Vec<u8>) {
        self.close(out);
        (self.breaks, self.thought_id) = (false, None);
        if let Some(signature) = signature {
            self.in_thought(out, |thought, _, _| thought.prove_call(signature));
            self.close(out);
        }
        let is_custom = tools_in::is_custom(&self.asked.request, named.1);
        let (index, id) = self.place(if is_custom { "ctc" } else { "fc" });
        let begun = Call::new(index, id, named.0, named.1, is_custom).begin(&mut self.wire, out);
        self.calls.insert(call, begun);
    }

    fn end_call(&mut self, call: u32, out: &mut Vec<u8>) {
        if let Some(call) = self.calls.remove(&call) {
            let (index, item) = call.end(self.item_status(), &mut self.wire, out);
            self.output[index] = item;
        }
    }

    fn media(&mut self, media: &Media, out: &mut Vec<u8>) {
        // Sounds have no item in this dialect, and pictures at an address neither.
        let (Source::Base64(base64), "image") = (&media.source, media.kind) else { return };
        let format = media.media_type.as_deref().and_then(|kind| kind.strip_prefix("image/")).unwrap_or("png");
        let mut item = json!({
            "type": "image_generation_call",
            "status": "completed",
            "output_format": format,
            "result": base64,
        });
        if let Some(signature) = &media.signature {
            item["signature"] = json!(signature.write(Family::OpenAi));
        }
        self.item(item, out);
    }

    /// An item that comes at once.
    fn item(&mut self, mut item: Value, out: &mut Vec<u8>) {
        self.close(out);
        let (index, made) = self.place("ig");
        if item.get("id").is_none_or(Value::is_null) {
            item["id"] = json!(made);
        }
        self.wire.event("response.output_item.added", json!({ "output_index": index, "item": item }), out);
        let (_, item) = message_out::ended(index, item, &mut self.wire, out);
        self.output[index] = item;
    }

    /// Ends the message or the thought.
    fn close(&mut self, out: &mut Vec<u8>) {
        let ended = match self.open.take() {
            None => return,
            Some(Open::Message(message)) => message.end(self.item_status(), &mut self.wire, out),
            Some(Open::Thought(thought)) => thought.end(&mut self.wire, out),
        };
        self.output[ended.0] = ended.1;
        self.breaks = false;
    }

    fn close_all(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        while let Some(call) = self.calls.keys().next().copied() {
            self.end_call(call, out);
        }
    }

    /// What ends before the answer does is complete.
    fn item_status(&self) -> &'static str {
        Standing::of(self.finish.as_ref(), None).status
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(&Start::default(), out);
        self.close_all(out);
        let standing = Standing::of(self.finish.as_ref(), self.usage);
        self.last_word(&standing, out);
    }

    /// The error alone is what SDKs raise; the failed response behind it, which the provider sends as well, is what clients
    /// wait for that know no `error`.
    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        self.begin(&Start::default(), out);
        let object = error::object(failure, &self.asked.request_id);
        let code = [&object["code"], &object["type"]].into_iter().find(|code| !code.is_null());
        let fields = json!({
            "code": code,
            "message": failure.message,
            "param": failure.param,
            "request_id": self.asked.request_id,
            "error": object,
        });
        self.wire.event("error", fields, out);
        let error = Some(error::of_response(failure));
        let standing = Standing { status: "failed", reason: None, error, usage: self.usage };
        self.last_word(&standing, out);
    }

    fn last_word(&mut self, standing: &Standing, out: &mut Vec<u8>) {
        self.output.retain(|item| !item.is_null());
        let start = self.start.clone().unwrap_or_default();
        let response = envelope::response(&self.asked, &start, standing, &self.output);
        self.wire.event(&format!("response.{}", standing.status), json!({ "response": response }), out);
        self.last = Some(response);
    }
}

/// The dialect always has a token's bytes, for which others have `null` or nothing.
fn with_bytes(mut token: Value) -> Value {
    let fill = |token: &mut Value| {
        if token.get("bytes").is_none_or(Value::is_null) {
            let bytes = token["token"].as_str().unwrap_or_default().as_bytes().to_vec();
            token["bytes"] = json!(bytes);
        }
    };
    if !token.is_object() {
        return token;
    }
    fill(&mut token);
    match token.get_mut("top_logprobs") {
        Some(Value::Array(top)) => top.iter_mut().filter(|token| token.is_object()).for_each(fill),
        _ => token["top_logprobs"] = json!([]),
    }
    token
}
