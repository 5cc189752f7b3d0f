//! From an answer to a client's document.

use serde_json::{Map, Value, json};

use super::clock;
use super::front::Shape;
use crate::dialects::conversation::{Answer, Choice, Content, Finish, Media, Part, Source, Usage};
use crate::dialects::front::Asked;

/// Writes a whole answer: its first choice, since nobody can ask for more.
pub(super) fn write(shape: Shape, answer: &Answer, asked: &Asked) -> Vec<u8> {
    let empty = Choice::default();
    let choice = answer.choices.first().unwrap_or(&empty);
    let mut said = Said::default();
    for part in &choice.parts {
        said.add(part);
    }
    said.logprobs = choice.logprobs.as_ref().and_then(|logprobs| logprobs.get("content")).cloned();
    let mut document = line(shape, &answer.model, answer.created, asked, said);
    end(&mut document, choice.finish.as_ref(), answer.usage.as_ref());
    Value::Object(document).to_string().into_bytes()
}

/// What a line says.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) thinking: String,
    pub(super) images: Vec<Value>,
    pub(super) calls: Vec<Value>,
    pub(super) logprobs: Option<Value>,
}

impl Said {
    /// A picture, or the words of a sound: the dialect has no sounds.
    pub(super) fn of_media(media: &Media) -> Self {
        let text = media.transcript.clone().unwrap_or_default();
        Self { text, images: image(media).into_iter().collect(), ..Self::default() }
    }

    fn add(&mut self, part: &Part) {
        match &part.content {
            Content::Text { text, .. } | Content::Refusal(text) => self.text.push_str(text),
            Content::Reasoning(thought) => self.thinking.push_str(&thought.text),
            Content::ToolCall(made) => {
                let nth = self.calls.len();
                self.calls.extend(call(&made.id, &made.name, &made.arguments, nth));
            }
            Content::Media(media) => {
                let Self { text, images, .. } = Self::of_media(media);
                self.text.push_str(&text);
                self.images.extend(images);
            }
            Content::ToolResult(_) | Content::Foreign { .. } => {}
        }
    }
}

/// One line, which does not end the answer yet.
pub(super) fn line(
    shape: Shape,
    model: &str,
    created: Option<u64>,
    asked: &Asked,
    said: Said,
) -> Map<String, Value> {
    let model = if model.is_empty() { &asked.request.model } else { model };
    let mut line = Map::new();
    line.insert("model".to_owned(), Value::from(model));
    line.insert("created_at".to_owned(), Value::from(clock::written(created.unwrap_or(asked.now))));
    let Said { text, thinking, images, calls, logprobs } = said;
    match shape {
        Shape::Chat => {
            let mut message = Map::new();
            message.insert("role".to_owned(), json!("assistant"));
            message.insert("content".to_owned(), Value::from(text));
            add(&mut message, "thinking", thinking);
            add_list(&mut message, "images", images);
            add_list(&mut message, "tool_calls", calls);
            line.insert("message".to_owned(), Value::Object(message));
        }
        Shape::Generate => {
            line.insert("response".to_owned(), Value::from(text));
            add(&mut line, "thinking", thinking);
            add_list(&mut line, "tool_calls", calls);
        }
    }
    if let Some(logprobs) = logprobs {
        line.insert("logprobs".to_owned(), logprobs);
    }
    line.insert("done".to_owned(), Value::Bool(false));
    line
}

/// Makes a line the last one. Times are left out: nobody has told them.
pub(super) fn end(line: &mut Map<String, Value>, finish: Option<&Finish>, usage: Option<&Usage>) {
    line.insert("done".to_owned(), Value::Bool(true));
    line.insert("done_reason".to_owned(), Value::from(reason(finish)));
    if let Some(usage) = usage {
        line.insert("prompt_eval_count".to_owned(), Value::from(usage.input));
        line.insert("eval_count".to_owned(), Value::from(usage.output));
    }
}

/// A call, whole. Arguments are an object in this dialect: a call whose arguments were cut off is none, as with Ollama
/// itself.
pub(super) fn call(id: &str, name: &str, arguments: &str, nth: usize) -> Option<Value> {
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    let arguments: Map<String, Value> = serde_json::from_str(arguments).ok()?;
    Some(json!({ "id": id, "function": { "index": nth, "name": name, "arguments": arguments } }))
}

/// A picture that is here; the dialect has no addresses and no sounds.
fn image(media: &Media) -> Option<Value> {
    match &media.source {
        Source::Base64(data) if media.kind == "image" => Some(Value::from(data.as_str())),
        _ => None,
    }
}

/// Ollama itself says `stop` and `length` only; an answer that is not what the model wanted to say must not seem so.
fn reason(finish: Option<&Finish>) -> &str {
    match finish {
        None | Some(Finish::Stop | Finish::StopSequence(_) | Finish::ToolCalls) => "stop",
        Some(Finish::Length | Finish::Window) => "length",
        Some(Finish::ContentFilter) => "content_filter",
        Some(Finish::Refusal) => "refusal",
        Some(Finish::Pause) => "pause",
        Some(Finish::Other(word)) => word,
    }
}

fn add(object: &mut Map<String, Value>, name: &str, text: String) {
    if !text.is_empty() {
        object.insert(name.to_owned(), Value::from(text));
    }
}

fn add_list(object: &mut Map<String, Value>, name: &str, list: Vec<Value>) {
    if !list.is_empty() {
        object.insert(name.to_owned(), Value::Array(list));
    }
}
