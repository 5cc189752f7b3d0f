//! Writes streamed answers ("The chat completion chunk object").

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;
use serde_json::{Value, json};

use super::choice_out::{annotation, call, id, made, model};
use super::thought::{Details, FOREIGN_DETAIL};
use super::{error, finish, usage};
use crate::dialects::conversation::{Delta, Event, Start, Usage};
use crate::dialects::{Asked, Encode};

/// Writes one.
#[derive(Debug)]
pub(super) struct Encoder {
    asked: Rc<Asked>,
    /// The members of every chunk, as its text up to the next comma. Empty before the first.
    head: String,
    choices: BTreeMap<u32, Spoken>,
    usage: Option<Usage>,
}

/// What was said of one choice.
#[derive(Debug, Default)]
struct Spoken {
    details: Details,
    annotations: u32,
    pictures: u32,
    has_sound: bool,
    has_calls: bool,
    is_finished: bool,
}

/// An element of `choices`.
#[derive(Serialize)]
struct Piece<'a, D> {
    index: u32,
    delta: &'a D,
    logprobs: Option<Value>,
    finish_reason: Option<&'a str>,
}

/// The `delta` of nearly every chunk.
#[derive(Serialize)]
struct Content<'a> {
    content: &'a str,
}

/// Adds a member.
fn add(out: &mut Vec<u8>, name: &[u8], value: &impl Serialize) {
    out.extend_from_slice(name);
    serde_json::to_writer(out, value).expect("a vector takes everything, and every name is a string");
}

impl Encoder {
    pub(super) fn new(asked: &Rc<Asked>) -> Self {
        Self { asked: Rc::clone(asked), head: String::new(), choices: BTreeMap::new(), usage: None }
    }

    fn start(&mut self, start: &Start, out: &mut Vec<u8>) {
        let mut head = json!({
            "id": id(&start.id, &self.asked),
            "object": "chat.completion.chunk",
            "created": start.created.unwrap_or(self.asked.now),
            "model": model(&start.model, &self.asked),
        });
        if let Some(tier) = &start.service_tier {
            head["service_tier"] = json!(tier);
        }
        if let Some(mark) = &start.fingerprint {
            head["system_fingerprint"] = json!(mark);
        }
        self.head = head.to_string();
        self.head.pop();
        self.begun(0, out);
    }

    /// A choice, whose first chunk says who speaks.
    fn begun(&mut self, choice: u32, out: &mut Vec<u8>) -> &mut Spoken {
        if self.head.is_empty() {
            self.start(&Start::default(), out);
        }
        if !self.choices.contains_key(&choice) {
            let delta = json!({ "role": "assistant", "content": "", "refusal": null });
            self.chunk(choice, &delta, None, out);
        }
        self.choices.entry(choice).or_default()
    }

    fn chunk(&self, choice: u32, delta: &impl Serialize, finish: Option<&str>, out: &mut Vec<u8>) {
        self.write(&[Piece { index: choice, delta, logprobs: None, finish_reason: finish }], None, out);
    }

    /// Straight into `out`: this is what every event of a stream goes through.
    fn write(&self, choices: &impl Serialize, usage: Option<Value>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(self.head.as_bytes());
        add(out, b",\"choices\":", choices);
        if let Some(usage) = usage {
            add(out, b",\"usage\":", &usage);
        }
        out.extend_from_slice(b"}\n\n");
    }

    fn delta(&mut self, choice: u32, delta: &Delta, out: &mut Vec<u8>) {
        let asked = Rc::clone(&self.asked);
        let spoken = self.begun(choice, out);
        if let Delta::Logprobs(content) = delta {
            let logprobs = Some(json!({ "content": content, "refusal": null }));
            let piece = Piece { index: choice, delta: &json!({}), logprobs, finish_reason: None };
            return self.write(&[piece], None, out);
        }
        if let Delta::Text(text) = delta {
            spoken.details.close();
            return self.chunk(choice, &Content { content: text }, None, out);
        }
        if let Some(said) = spoken.said(delta, &asked) {
            self.chunk(choice, &said, None, out);
        }
    }

    fn finish(&mut self, choice: u32, word: &str, out: &mut Vec<u8>) {
        let spoken = self.begun(choice, out);
        if !std::mem::replace(&mut spoken.is_finished, true) {
            self.chunk(choice, &json!({}), Some(word), out);
        }
    }

    /// What it has cost stands last, in a chunk of its own: clients who did not ask for it never see that one.
    fn end(&mut self, out: &mut Vec<u8>) {
        self.begun(0, out);
        let open: Vec<_> = self.choices.iter().filter(|(_, spoken)| !spoken.is_finished).collect();
        let open: Vec<_> = open.into_iter().map(|(choice, spoken)| (*choice, spoken.has_calls)).collect();
        for (choice, has_calls) in open {
            self.finish(choice, if has_calls { "tool_calls" } else { "stop" }, out);
        }
        if let Some(usage) = self.usage {
            self.write(&json!([]), Some(usage::write(&usage)), out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl Spoken {
    /// A `delta` of this dialect; `None` for what it does not tell.
    fn said(&mut self, delta: &Delta, asked: &Asked) -> Option<Value> {
        if !matches!(delta, Delta::Reasoning(_) | Delta::Signature(_) | Delta::Redacted(_) | Delta::ReasoningId(_))
        {
            self.details.close();
        }
        Some(match delta {
            Delta::Text(text) => json!({ "content": text }),
            Delta::Reasoning(text) => {
                json!({ "reasoning_content": text, "reasoning_details": [self.details.text(text)] })
            }
            Delta::Signature(signature) => json!({ "reasoning_details": [self.details.signature(signature)] }),
            Delta::Redacted(all) => json!({ "reasoning_details": [self.details.encrypted(all)] }),
            Delta::ReasoningId(id) => {
                self.details.id(id);
                return None;
            }
            Delta::ToolCall { call: index, id, name, signature } => {
                self.has_calls = true;
                json!({ "tool_calls": [indexed(*index, call(id, name, "", signature.as_ref()))] })
            }
            Delta::Arguments { call, text } => {
                json!({ "tool_calls": [{ "index": call, "function": { "arguments": text } }] })
            }
            Delta::Refusal(words) => json!({ "refusal": words }),
            Delta::Annotation(said) => {
                let said = annotation(said)?;
                let index = next(&mut self.annotations);
                json!({ "annotations": [indexed(index, said)] })
            }
            Delta::Media(media) => self.made(made(media, asked)?),
            Delta::Foreign { kind, value } if kind == FOREIGN_DETAIL => {
                json!({ "reasoning_details": [self.details.foreign(value)] })
            }
            Delta::Part | Delta::ToolCallEnd { .. } | Delta::Logprobs(_) | Delta::Foreign { .. } => return None,
        })
    }

    /// Pictures are items of a list. A sound comes in pieces, whose texts clients concatenate, its id too.
    fn made(&mut self, (name, value): (&str, Value)) -> Value {
        let value = match value {
            Value::Array(items) => {
                let number = |item| indexed(next(&mut self.pictures), item);
                items.into_iter().map(number).collect()
            }
            Value::Object(mut members) => {
                if std::mem::replace(&mut self.has_sound, true) {
                    members.remove("id");
                }
                Value::Object(members)
            }
            other => other,
        };
        json!({ name: value })
    }
}

/// Counts.
fn next(number: &mut u32) -> u32 {
    std::mem::replace(number, *number + 1)
}

/// An item of a list with the number by which pieces of the same are put together: `OpenAI`'s SDK for Python fails over the
/// second item of a list that has none.
fn indexed(index: u32, mut item: Value) -> Value {
    item["index"] = json!(index);
    item
}

impl Encode for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.start(start, out),
            Event::Delta { choice, delta } => self.delta(*choice, delta, out),
            Event::Finish { choice, finish } => self.finish(*choice, finish::word(finish), out),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Failed(failure) => {
                out.extend_from_slice(error::event(failure, &self.asked.request_id).as_bytes());
            }
            Event::End => self.end(out),
        }
    }
}
