//! Writes whole answers ("The chat completion object").

use serde_json::{Map, Value, json};

use super::choice_out::{annotation, call, id, join_made, made, model};
use super::finish;
use super::message_out::detail;
use super::thought::{Details, FOREIGN_DETAIL};
use super::usage;
use crate::dialects::Asked;
use crate::dialects::conversation::{Answer, Choice, Content, Part};

/// Writes one.
pub(super) fn write(answer: &Answer, asked: &Asked) -> Vec<u8> {
    let choices: Vec<_> = answer.choices.iter().map(|choice| self::choice(choice, asked)).collect();
    let mut whole = json!({
        "id": id(&answer.id, asked),
        "object": "chat.completion",
        "created": answer.created.unwrap_or(asked.now),
        "model": model(&answer.model, asked),
        "choices": choices,
    });
    for (name, value) in [
        ("usage", answer.usage.as_ref().map(usage::write)),
        ("service_tier", answer.service_tier.as_ref().map(|tier| json!(tier))),
        ("system_fingerprint", answer.fingerprint.as_ref().map(|mark| json!(mark))),
    ] {
        if let Some(value) = value {
            whole[name] = value;
        }
    }
    whole.to_string().into_bytes()
}

fn choice(choice: &Choice, asked: &Asked) -> Value {
    let mut said = Said::default();
    choice.parts.iter().for_each(|part| said.part(part, asked));
    let has_calls = !said.calls.is_empty();
    let word = choice.finish.as_ref().map_or(if has_calls { "tool_calls" } else { "stop" }, finish::word);
    json!({
        "index": choice.index,
        "message": said.message(),
        "logprobs": choice.logprobs,
        "finish_reason": word,
    })
}

#[derive(Default)]
struct Said {
    text: Option<String>,
    refusal: Option<String>,
    thought: String,
    writer: Details,
    details: Vec<Value>,
    annotations: Vec<Value>,
    calls: Vec<Value>,
    made: Map<String, Value>,
}

impl Said {
    fn part(&mut self, part: &Part, asked: &Asked) {
        match &part.content {
            Content::Text { text, annotations } => {
                self.text.get_or_insert_default().push_str(text);
                self.annotations.extend(annotations.iter().filter_map(annotation));
            }
            Content::Refusal(words) => self.refusal.get_or_insert_default().push_str(words),
            Content::Reasoning(reasoning) => {
                self.thought.push_str(&reasoning.text);
                self.writer.close();
                detail(reasoning, &mut self.writer, &mut self.details);
            }
            Content::ToolCall(said) => {
                self.calls.push(call(&said.id, &said.name, &said.arguments, said.signature.as_ref()));
            }
            Content::Media(media) => {
                if let Some((name, value)) = made(media, asked) {
                    join_made(self.made.entry(name).or_insert(Value::Null), value);
                }
            }
            Content::Foreign { kind, value } if kind == FOREIGN_DETAIL => {
                self.details.push(self.writer.foreign(value));
            }
            Content::Foreign { .. } | Content::ToolResult(_) => {}
        }
    }

    fn message(self) -> Value {
        let mut message = json!({ "role": "assistant", "content": self.text, "refusal": self.refusal });
        if !self.thought.is_empty() {
            message["reasoning_content"] = json!(self.thought);
        }
        for (name, list) in
            [("reasoning_details", self.details), ("annotations", self.annotations), ("tool_calls", self.calls)]
        {
            if !list.is_empty() {
                message[name] = Value::Array(list);
            }
        }
        for (name, value) in self.made {
            message[&name] = value;
        }
        message
    }
}
