//! From events to Google's server-sent events: each is a response with what is new in it.
//!
//! Calls have no pieces here, so that arguments are held until they are whole: that is all that waits.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::answer_out::{call_of, ending, ground, logprobs_of, or, shows_thoughts, usage_of};
use super::{CANDIDATE_NOTES, FOREIGN_PARTS, citation, error, part_out, proof};
use crate::dialects::conversation::{
    Annotation, Delta, Event, Family, Finish, Reasoning, Signature, Start, ToolCall, Usage,
};
use crate::dialects::{Asked, Encode};

/// What Google ends its events with.
const EVENT_END: &[u8] = b"\r\n\r\n";

/// Bytes of a call's arguments, and one piece more. Longer ones are cut, which makes the call a broken one.
const ARGUMENTS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Citations of one choice.
const ANNOTATIONS_MAX: usize = 1000;

/// Writes a stream.
#[derive(Debug)]
pub(super) struct Writer {
    asked: Rc<Asked>,
    start: Start,
    usage: Option<Usage>,
    choices: BTreeMap<u32, Live>,
    shows_thoughts: bool,
}

/// A choice on its way.
#[derive(Debug, Default)]
struct Live {
    /// Calls that are not yet written, in their order, each with whether it is whole.
    calls: BTreeMap<u32, (ToolCall, bool)>,
    /// What comes now belongs to a thought.
    is_thinking: bool,
    /// The provider's id of the thought, which goes out with its signature.
    thought_id: Option<String>,
    said: String,
    annotations: Vec<Annotation>,
    notes: Map<String, Value>,
    is_broken: bool,
    finish: Option<Finish>,
}

impl Writer {
    /// For the answer to `asked`.
    pub(super) fn new(asked: &Rc<Asked>) -> Self {
        Self {
            asked: Rc::clone(asked),
            start: Start::default(),
            usage: None,
            choices: BTreeMap::new(),
            shows_thoughts: shows_thoughts(asked),
        }
    }

    fn delta(&mut self, choice: u32, delta: &Delta, out: &mut Vec<u8>) {
        let shows = self.shows_thoughts;
        let live = self.choices.entry(choice).or_default();
        let mut parts = Vec::new();
        if let Delta::Logprobs(content) = delta {
            let candidate = json!({
                "content": { "parts": [part_out::text("")], "role": "model" },
                "index": choice,
                "logprobsResult": logprobs_of(content),
            });
            self.write(&[candidate], false, out);
            return;
        }
        live.delta(delta, shows, &mut parts);
        self.parts(choice, &parts, out);
    }

    fn parts(&self, choice: u32, parts: &[Value], out: &mut Vec<u8>) {
        if !parts.is_empty() {
            let candidate = json!({ "content": { "parts": parts, "role": "model" }, "index": choice });
            self.write(&[candidate], false, out);
        }
    }

    fn write(&self, candidates: &[Value], is_last: bool, out: &mut Vec<u8>) {
        let mut response = json!({ "candidates": candidates });
        if let Some(usage) = self.usage.as_ref().filter(|_| is_last) {
            response["usageMetadata"] = usage_of(usage, self.start.service_tier.as_deref());
        }
        response["modelVersion"] = or(&self.start.model, &self.asked.request.model).into();
        response["responseId"] = or(&self.start.id, &self.asked.unique).into();
        event(&response, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let mut last = Vec::new();
        for (index, mut live) in std::mem::take(&mut self.choices) {
            let mut parts = Vec::new();
            live.close(&mut parts);
            self.parts(index, &parts, out);
            let content = json!({ "parts": [part_out::text("")], "role": "model" });
            let mut candidate = json!({ "content": content, "index": index });
            ending(&mut candidate, live.finish.as_ref(), live.is_broken);
            ground(&mut live.notes, &live.annotations, &live.said);
            if let Some(candidate) = candidate.as_object_mut() {
                candidate.extend(live.notes);
            }
            last.push(candidate);
        }
        self.write(&last, true, out);
    }
}

impl Encode for Writer {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.start = start.clone(),
            Event::Delta { choice, delta } => self.delta(*choice, delta, out),
            Event::Finish { choice, finish } => {
                let live = self.choices.entry(*choice).or_default();
                let mut parts = Vec::new();
                live.close(&mut parts);
                live.finish = Some(finish.clone());
                self.parts(*choice, &parts, out);
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            // Google's SDK takes a comment for JSON and fails; an empty line it passes over.
            Event::Ping => out.extend_from_slice(b"\r\n"),
            Event::Failed(failure) => {
                let (_, body) = error::write(failure, &self.asked.request_id);
                self::event(&body, out);
            }
            Event::End => self.end(out),
        }
    }
}

impl Live {
    fn delta(&mut self, delta: &Delta, shows: bool, out: &mut Vec<Value>) {
        match delta {
            Delta::Reasoning(text) => {
                self.is_thinking = true;
                if shows && !text.is_empty() {
                    out.push(part_out::thought(text));
                }
            }
            Delta::ReasoningId(id) => self.thought_id = Some(id.clone()),
            Delta::Signature(signature) => self.proof(Some(signature), None, out),
            Delta::Redacted(all) => self.proof(None, Some(all), out),
            // A part may begin with the id of its thought.
            Delta::Part if !self.is_thinking => {}
            Delta::ToolCallEnd { call } => {
                if let Some((_, is_whole)) = self.calls.get_mut(call) {
                    *is_whole = true;
                }
                self.calls(out);
            }
            Delta::Arguments { call, text } => {
                let held = self.calls.get_mut(call).map(|(call, _)| &mut call.arguments);
                if let Some(held) = held.filter(|held| held.len() < ARGUMENTS_BYTES_MAX) {
                    held.push_str(text);
                }
            }
            Delta::Annotation(annotation) if self.annotations.len() < ANNOTATIONS_MAX => {
                self.annotations.push(annotation.clone());
            }
            Delta::Annotation(_) | Delta::Logprobs(_) => {}
            _ => {
                self.end_thought(out);
                self.part(delta, out);
            }
        }
    }

    fn part(&mut self, delta: &Delta, out: &mut Vec<Value>) {
        match delta {
            Delta::Text(text) => {
                citation::remember(&mut self.said, text);
                if !text.is_empty() {
                    out.push(part_out::text(text));
                }
            }
            Delta::Refusal(text) => out.push(part_out::text(text)),
            Delta::ToolCall { call, id, name, signature } => {
                let (id, name, signature) = (id.clone(), name.clone(), signature.clone());
                let begun = ToolCall { id, name, signature, arguments: String::new() };
                self.calls.insert(*call, (begun, false));
            }
            Delta::Media(media) => {
                let signature = media.signature.as_ref().map(proof::write_one);
                out.extend(part_out::media(media).map(|part| part_out::signed(part, signature.as_deref())));
            }
            Delta::Foreign { kind, value } => {
                if FOREIGN_PARTS.contains(&&**kind) {
                    out.push(value.clone());
                } else if CANDIDATE_NOTES.contains(&&**kind) {
                    self.notes.insert(kind.clone(), value.clone());
                }
            }
            _ => {}
        }
    }

    /// The proof of the thought so far, or of the text: Gemini signs both.
    fn proof(&mut self, signature: Option<&Signature>, redacted: Option<&Signature>, out: &mut Vec<Value>) {
        let is_own = signature.is_some_and(|signature| signature.family == Family::Gemini);
        let of_text = is_own && !self.is_thinking;
        let part = if of_text { part_out::text("") } else { part_out::thought("") };
        let id = self.thought_id.take();
        let (signature, redacted) = (signature.cloned(), redacted.cloned());
        let proof = proof::write(&Reasoning { text: String::new(), signature, redacted, id });
        out.push(part_out::signed(part, proof.as_deref()));
        self.is_thinking = false;
    }

    /// A thought that nothing proves; its id may still help its provider.
    fn end_thought(&mut self, out: &mut Vec<Value>) {
        if self.thought_id.is_some() {
            self.proof(None, None, out);
        }
        self.is_thinking = false;
    }

    /// Writes the calls that are whole, up to the first that is not: the order tells which result belongs to which.
    fn calls(&mut self, out: &mut Vec<Value>) {
        while let Some(first) = self.calls.first_entry().filter(|first| first.get().1) {
            let (call, _) = first.remove();
            match call_of(&call) {
                Some(part) => out.push(part),
                None => self.is_broken = true,
            }
        }
    }

    fn close(&mut self, out: &mut Vec<Value>) {
        self.end_thought(out);
        self.calls.values_mut().for_each(|(_, is_whole)| *is_whole = true);
        self.calls(out);
    }
}

fn event(response: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(response.to_string().as_bytes());
    out.extend_from_slice(EVENT_END);
}
