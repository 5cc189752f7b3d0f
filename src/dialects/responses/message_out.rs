//! Items of an answer while they are being written: messages, thoughts and calls.

use serde_json::{Value, json};

use super::wire::Wire;
use super::{annotation, thought};
use crate::dialects::conversation::{Annotation, Signature};

/// A message that is not yet whole.
#[derive(Debug)]
pub(super) struct Message {
    index: usize,
    id: String,
    done: Vec<Value>,
    open: Option<Piece>,
}

/// A piece of a message that is not yet whole.
#[derive(Debug, Default)]
struct Piece {
    is_refusal: bool,
    text: String,
    annotations: Vec<Value>,
    logprobs: Vec<Value>,
}

impl Message {
    /// Begins one.
    pub(super) fn begin(index: usize, id: String, wire: &mut Wire, out: &mut Vec<u8>) -> Self {
        let message = Self { index, id, done: Vec::new(), open: None };
        let item = message.item("in_progress");
        wire.event("response.output_item.added", json!({ "output_index": index, "item": item }), out);
        message
    }

    /// Adds text, or words of a refusal.
    pub(super) fn say(&mut self, is_refusal: bool, text: &str, wire: &mut Wire, out: &mut Vec<u8>) {
        self.piece(is_refusal, wire, out).text.push_str(text);
        let (kind, mut fields) = (if is_refusal { "refusal" } else { "output_text" }, self.place());
        fields["delta"] = json!(text);
        if !is_refusal {
            fields["logprobs"] = json!([]);
        }
        wire.event(&format!("response.{kind}.delta"), fields, out);
    }

    /// Adds what the text refers to.
    pub(super) fn annotate(&mut self, annotation: &Annotation, wire: &mut Wire, out: &mut Vec<u8>) {
        let piece = self.piece(false, wire, out);
        let Some(value) = annotation::write(annotation, piece.text.chars().count()) else { return };
        let index = piece.annotations.len();
        piece.annotations.push(value.clone());
        let mut fields = self.place();
        fields["annotation_index"] = json!(index);
        fields["annotation"] = value;
        wire.event("response.output_text.annotation.added", fields, out);
    }

    /// Adds probabilities of the tokens just said.
    pub(super) fn add_logprobs(&mut self, logprobs: &[Value], wire: &mut Wire, out: &mut Vec<u8>) {
        self.piece(false, wire, out).logprobs.extend_from_slice(logprobs);
        let mut fields = self.place();
        fields["delta"] = json!("");
        fields["logprobs"] = json!(logprobs);
        wire.event("response.output_text.delta", fields, out);
    }

    /// Ends the open piece.
    pub(super) fn end_piece(&mut self, wire: &mut Wire, out: &mut Vec<u8>) {
        let mut fields = self.place();
        let Some(piece) = self.open.take() else { return };
        let whole = piece.whole();
        if piece.is_refusal {
            fields["refusal"] = json!(piece.text);
            wire.event("response.refusal.done", fields.clone(), out);
        } else {
            fields["text"] = json!(piece.text);
            fields["logprobs"] = json!(piece.logprobs);
            wire.event("response.output_text.done", fields.clone(), out);
        }
        let mut fields = self.place();
        fields["part"] = whole.clone();
        wire.event("response.content_part.done", fields, out);
        self.done.push(whole);
    }

    /// Ends it: its place and all of it.
    pub(super) fn end(mut self, status: &str, wire: &mut Wire, out: &mut Vec<u8>) -> (usize, Value) {
        self.end_piece(wire, out);
        ended(self.index, self.item(status), wire, out)
    }

    fn item(&self, status: &str) -> Value {
        json!({ "id": self.id, "type": "message", "status": status, "role": "assistant", "content": self.done })
    }

    /// Where the open piece is.
    fn place(&self) -> Value {
        json!({ "item_id": self.id, "output_index": self.index, "content_index": self.done.len() })
    }

    /// The open piece, if it is of this kind; else a new one.
    fn piece(&mut self, is_refusal: bool, wire: &mut Wire, out: &mut Vec<u8>) -> &mut Piece {
        if self.open.as_ref().is_some_and(|piece| piece.is_refusal != is_refusal) {
            self.end_piece(wire, out);
        }
        if self.open.is_none() {
            let mut fields = self.place();
            fields["part"] = Piece { is_refusal, ..Piece::default() }.whole();
            wire.event("response.content_part.added", fields, out);
        }
        self.open.get_or_insert_with(|| Piece { is_refusal, ..Piece::default() })
    }
}

impl Piece {
    fn whole(&self) -> Value {
        let Self { is_refusal, text, annotations, logprobs } = self;
        if *is_refusal {
            json!({ "type": "refusal", "refusal": text })
        } else {
            json!({ "type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs })
        }
    }
}

/// A thought that is not yet whole. What providers show of it stands in its summary, where clients look for it.
#[derive(Debug)]
pub(super) struct Thought {
    index: usize,
    id: String,
    text: String,
    proof: Option<String>,
}

impl Thought {
    /// Begins one.
    pub(super) fn begin(index: usize, id: String, wire: &mut Wire, out: &mut Vec<u8>) -> Self {
        let thought = Self { index, id, text: String::new(), proof: None };
        let item = thought.item();
        wire.event("response.output_item.added", json!({ "output_index": index, "item": item }), out);
        thought
    }

    /// Adds to its summary.
    pub(super) fn say(&mut self, text: &str, wire: &mut Wire, out: &mut Vec<u8>) {
        if self.text.is_empty() {
            let mut fields = self.place();
            fields["part"] = json!({ "type": "summary_text", "text": "" });
            wire.event("response.reasoning_summary_part.added", fields, out);
        }
        self.text.push_str(text);
        let mut fields = self.place();
        fields["delta"] = json!(text);
        wire.event("response.reasoning_summary_text.delta", fields, out);
    }

    /// Takes what proves it.
    pub(super) fn prove(&mut self, signature: &Signature) {
        self.proof = Some(thought::write(signature, &self.id));
    }

    /// Takes what proves the call in the next item.
    pub(super) fn prove_call(&mut self, signature: &Signature) {
        self.proof = Some(thought::write_of_call(signature));
    }

    /// Ends it: its place and all of it.
    pub(super) fn end(self, wire: &mut Wire, out: &mut Vec<u8>) -> (usize, Value) {
        if !self.text.is_empty() {
            let mut fields = self.place();
            fields["text"] = json!(self.text);
            wire.event("response.reasoning_summary_text.done", fields, out);
            let mut fields = self.place();
            fields["part"] = json!({ "type": "summary_text", "text": self.text });
            wire.event("response.reasoning_summary_part.done", fields, out);
        }
        ended(self.index, self.item(), wire, out)
    }

    fn item(&self) -> Value {
        let summary =
            if self.text.is_empty() { json!([]) } else { json!([{ "type": "summary_text", "text": self.text }]) };
        json!({ "id": self.id, "type": "reasoning", "summary": summary, "encrypted_content": self.proof })
    }

    fn place(&self) -> Value {
        json!({ "item_id": self.id, "output_index": self.index, "summary_index": 0 })
    }
}

/// A call that is not yet whole.
#[derive(Debug)]
pub(super) struct Call {
    index: usize,
    id: String,
    /// Pairs it with its output.
    pair: String,
    name: String,
    arguments: String,
    /// The client knows the tool as a custom one, whose text is known when the arguments are whole.
    is_custom: bool,
}

impl Call {
    /// One of the tool of this name, which is to begin.
    pub(super) fn new(index: usize, id: String, call_id: &str, name: &str, is_custom: bool) -> Self {
        let (pair, name) = (call_id.to_owned(), name.to_owned());
        Self { index, id, pair, name, arguments: String::new(), is_custom }
    }

    /// Begins it.
    pub(super) fn begin(self, wire: &mut Wire, out: &mut Vec<u8>) -> Self {
        let (index, item) = (self.index, self.item("in_progress"));
        wire.event("response.output_item.added", json!({ "output_index": index, "item": item }), out);
        self
    }

    /// Adds to its arguments.
    pub(super) fn say(&mut self, text: &str, wire: &mut Wire, out: &mut Vec<u8>) {
        self.arguments.push_str(text);
        if !self.is_custom {
            let fields = json!({ "item_id": self.id, "output_index": self.index, "delta": text });
            wire.event("response.function_call_arguments.delta", fields, out);
        }
    }

    /// Ends it: its place and all of it.
    pub(super) fn end(mut self, status: &str, wire: &mut Wire, out: &mut Vec<u8>) -> (usize, Value) {
        if self.is_custom {
            return self.end_custom(status, wire, out);
        }
        // A call without arguments has an empty object of them: clients parse what is there.
        if self.arguments.is_empty() && status == "completed" {
            self.say("{}", wire, out);
        }
        let Self { index, id, name, arguments, .. } = &self;
        let fields = json!({ "item_id": id, "output_index": index, "name": name, "arguments": arguments });
        wire.event("response.function_call_arguments.done", fields, out);
        ended(self.index, self.item(status), wire, out)
    }

    fn end_custom(self, status: &str, wire: &mut Wire, out: &mut Vec<u8>) -> (usize, Value) {
        let (index, id, input) = (self.index, &self.id, self.input());
        let fields = json!({ "item_id": id, "output_index": index, "delta": input });
        wire.event("response.custom_tool_call_input.delta", fields, out);
        let fields = json!({ "item_id": id, "output_index": index, "input": input });
        wire.event("response.custom_tool_call_input.done", fields, out);
        ended(index, self.item(status), wire, out)
    }

    /// The text in the arguments of a custom tool's call.
    fn input(&self) -> String {
        let arguments: Value = serde_json::from_str(&self.arguments).unwrap_or_default();
        arguments["input"].as_str().unwrap_or(&self.arguments).to_owned()
    }

    fn item(&self, status: &str) -> Value {
        let Self { id, pair, name, arguments, .. } = self;
        if self.is_custom {
            let (kind, input) = ("custom_tool_call", self.input());
            return json!({
                "id": id, "type": kind, "status": status, "call_id": pair, "name": name, "input": input,
            });
        }
        json!({
            "id": id,
            "type": "function_call",
            "status": status,
            "call_id": pair,
            "name": name,
            "arguments": arguments,
        })
    }
}

/// Says that an item is whole.
pub(super) fn ended(index: usize, item: Value, wire: &mut Wire, out: &mut Vec<u8>) -> (usize, Value) {
    wire.event("response.output_item.done", json!({ "output_index": index, "item": item }), out);
    (index, item)
}
