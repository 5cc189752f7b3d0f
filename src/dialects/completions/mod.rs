//! `OpenAI`'s completions of before there were chats ("Completions API reference, legacy"), over models that chat: the prompt
//! is what the user says, and the completion is what the model answers.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::chat;
use super::conversation::{
    Answer, Choice, Content, Delta, Event, Failure, Finish, Message, Part, Request, Role, Start, Usage, Wish,
    Wishes,
};
use super::{Asked, Encode, Front, Place, Refusal};

/// Clients of `POST /v1/completions`.
pub static FRONT: CompletionsFront = CompletionsFront;

/// See [`FRONT`].
#[derive(Clone, Copy, Debug)]
pub struct CompletionsFront;

impl Front for CompletionsFront {
    fn read(&self, body: &[u8], place: &Place<'_>) -> Result<Request, Refusal> {
        let body = chat::object(body)?;
        let mut request = chat::begun(&body, place)?;
        let prompt = prompt(body.get("prompt"))?;
        request.messages.push(Message { role: Role::User, parts: vec![Part::text(prompt)], name: None });
        for (name, value) in &body {
            setting(name, value, &mut request.wishes)?;
        }
        Ok(request)
    }

    fn answer(&self, answer: &Answer, asked: &Asked) -> Vec<u8> {
        let mut whole = head(&answer.id, &answer.model, answer.created, asked);
        let choices = answer
            .choices
            .iter()
            .map(|choice| self::choice(choice.index, &text(choice), Some(word(choice.finish.as_ref()))));
        whole.insert("choices".to_owned(), choices.collect());
        if let Some(usage) = &answer.usage {
            whole.insert("usage".to_owned(), chat::write_usage(usage));
        }
        Value::Object(whole).to_string().into_bytes()
    }

    fn encoder(&self, asked: &Rc<Asked>) -> Box<dyn Encode> {
        Box::new(Encoder { asked: Rc::clone(asked), head: Map::new(), choices: Vec::new(), usage: None })
    }

    fn failure(&self, failure: &Failure, request_id: &str) -> (u16, Vec<u8>) {
        chat::write_error(failure, request_id)
    }
}

/// The one prompt. Several would be several conversations, and tokens are those of a model that nobody has here.
fn prompt(value: Option<&Value>) -> Result<&str, Refusal> {
    let only = |list: &'_ [Value]| if let [only] = list { only.as_str().map(|_| ()) } else { None };
    match value {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Array(list)) if only(list).is_some() => Ok(list[0].as_str().unwrap_or_default()),
        Some(Value::Array(_)) => {
            Err(Refusal::of("prompt", "`prompt` must be one string: this model takes no list"))
        }
        _ => Err(Refusal::of("prompt", "`prompt` must be a string")),
    }
}

/// What is not of chats has no equal in them: `echo`, `suffix`, `best_of`, and `logprobs`, which counts here.
fn setting(name: &str, value: &Value, wishes: &mut Wishes) -> Result<(), Refusal> {
    let is_idle = match name {
        "model" | "prompt" | "stream" | "stream_options" => true,
        "echo" => value == false,
        "suffix" => value == "",
        "best_of" => value == 1,
        "logprobs" => false,
        _ => return chat::setting(name, value, wishes),
    };
    if !is_idle {
        wishes.add(Wish::Other, name, value.clone());
    }
    Ok(())
}

fn head(id: &str, model: &str, created: Option<u64>, asked: &Asked) -> Map<String, Value> {
    let id = if id.is_empty() { format!("cmpl-{}", asked.unique) } else { id.to_owned() };
    let members = [
        ("id", json!(id)),
        ("object", json!("text_completion")),
        ("created", json!(created.unwrap_or(asked.now))),
        ("model", json!(chat::model(model, asked))),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn choice(index: u32, text: &str, finish: Option<&str>) -> Value {
    json!({ "text": text, "index": index, "logprobs": null, "finish_reason": finish })
}

/// What was said, without thoughts.
fn text(choice: &Choice) -> String {
    let texts = choice.parts.iter().filter_map(|part| match &part.content {
        Content::Text { text, .. } | Content::Refusal(text) => Some(&**text),
        _ => None,
    });
    texts.collect()
}

/// There are no calls here.
fn word(finish: Option<&Finish>) -> &'static str {
    match finish {
        None | Some(Finish::ToolCalls) => "stop",
        Some(finish) => chat::finish_word(finish),
    }
}

/// Writes a streamed completion.
#[derive(Debug)]
struct Encoder {
    asked: Rc<Asked>,
    /// The members of every chunk.
    head: Map<String, Value>,
    /// Each choice that was seen, and whether it is finished.
    choices: Vec<(u32, bool)>,
    usage: Option<Usage>,
}

impl Encoder {
    fn write(&mut self, choices: Value, usage: Option<Value>, out: &mut Vec<u8>) {
        if self.head.is_empty() {
            self.head = head("", "", None, &self.asked);
        }
        let mut chunk = self.head.clone();
        chunk.insert("choices".to_owned(), choices);
        chunk.extend(usage.map(|usage| ("usage".to_owned(), usage)));
        out.extend_from_slice(format!("data: {}\n\n", Value::Object(chunk)).as_bytes());
    }

    fn said(&mut self, index: u32, text: &str, out: &mut Vec<u8>) {
        self.seen(index);
        self.write(json!([choice(index, text, None)]), None, out);
    }

    fn seen(&mut self, index: u32) -> &mut bool {
        let at = self.choices.iter().position(|(known, _)| *known == index).unwrap_or(self.choices.len());
        if at == self.choices.len() {
            self.choices.push((index, false));
        }
        &mut self.choices[at].1
    }

    fn finish(&mut self, index: u32, word: &str, out: &mut Vec<u8>) {
        if !std::mem::replace(self.seen(index), true) {
            self.write(json!([choice(index, "", Some(word))]), None, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.seen(0);
        for (index, _) in self.choices.clone() {
            self.finish(index, "stop", out);
        }
        if let Some(usage) = self.usage {
            self.write(json!([]), Some(chat::write_usage(&usage)), out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl Encode for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start(Start { id, model, created, .. }) => {
                self.head = head(id, model, *created, &self.asked);
                self.said(0, "", out);
            }
            Event::Delta { choice, delta: Delta::Text(text) | Delta::Refusal(text) } => {
                self.said(*choice, text, out);
            }
            Event::Delta { .. } => {}
            Event::Finish { choice, finish } => self.finish(*choice, word(Some(finish)), out),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Failed(failure) => {
                out.extend_from_slice(chat::error_event(failure, &self.asked.request_id).as_bytes());
            }
            Event::End => self.end(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::conversation::Collector;

    fn read(body: &Value) -> Result<Request, Refusal> {
        FRONT.read(body.to_string().as_bytes(), &Place::default())
    }

    fn asked() -> Rc<Asked> {
        let request = Request { model: "m".to_owned(), ..Request::default() };
        Rc::new(Asked { request, unique: "0".repeat(32), now: 7, request_id: "req".to_owned() })
    }

    fn events() -> Vec<Event> {
        let say = |choice, delta| Event::Delta { choice, delta };
        vec![
            Event::Start(Start::default()),
            say(0, Delta::Reasoning("hm".to_owned())),
            say(0, Delta::Text("a".to_owned())),
            say(1, Delta::Text("b".to_owned())),
            Event::Usage(Usage { input: 1, output: 2, ..Usage::default() }),
            Event::Finish { choice: 0, finish: Finish::Length },
            Event::End,
        ]
    }

    #[test]
    fn a_prompt_is_what_the_user_says() {
        for prompt in [json!("a"), json!(["a"])] {
            let request =
                read(&json!({ "model": "m", "prompt": prompt, "max_tokens": 3, "stop": "x" })).expect("a request");
            assert_eq!((request.messages.len(), request.messages[0].role), (1, Role::User));
            assert_eq!(request.messages[0].parts, [Part::text("a")]);
            assert_eq!(request.wishes.get(Wish::MaxTokens), Some(&json!(3)));
        }
        for prompt in [json!(["a", "b"]), json!([1, 2]), json!([]), json!(null), json!(1)] {
            let refusal = read(&json!({ "model": "m", "prompt": prompt })).expect_err("no prompt");
            assert_eq!(refusal.param.as_deref(), Some("prompt"));
        }
    }

    #[test]
    fn what_chats_do_not_have_is_named() {
        let idle = json!({ "model": "m", "prompt": "a", "echo": false, "suffix": null, "best_of": 1, "logprobs": null, "n": 1 });
        assert!(read(&idle).expect("a request").wishes.is_empty());
        let body =
            json!({ "model": "m", "prompt": "a", "echo": true, "suffix": "z", "best_of": 2, "logprobs": 0 });
        let request = read(&body).expect("a request");
        let left: Vec<_> = request.wishes.open().left().into_iter().map(|(_, name)| name.to_owned()).collect();
        assert_eq!(left, ["echo", "suffix", "best_of", "logprobs"]);
    }

    #[test]
    fn only_words_are_told() {
        let (mut encoder, mut out) = (FRONT.encoder(&asked()), Vec::new());
        for event in &events() {
            encoder.event(event, &mut out);
        }
        let text = String::from_utf8(out).expect("text");
        let data: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data.last(), Some(&"[DONE]"));
        let chunks: Vec<Value> =
            data[..data.len() - 1].iter().map(|data| serde_json::from_str(data).expect("JSON")).collect();
        let told: Vec<_> = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"].get(0))
            .map(|choice| {
                format!("{}{}{}", choice["index"], choice["text"].as_str().expect("text"), choice["finish_reason"])
            })
            .collect();
        assert_eq!(told, ["0null", "0anull", "1bnull", "0\"length\"", "1\"stop\""]);
        assert_eq!(chunks.last().expect("chunks")["usage"]["total_tokens"], 3);
        assert!(chunks.iter().all(|chunk| chunk["object"] == "text_completion" && chunk["id"] == chunks[0]["id"]));
    }

    #[test]
    fn a_whole_completion_says_the_same() {
        let mut collector = Collector::default();
        for event in events() {
            collector.event(event).expect("no failure");
        }
        let answer = FRONT.answer(&collector.finish().expect("an end"), &asked());
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(answer["choices"][0], choice(0, "a", Some("length")));
        assert_eq!(answer["choices"][1], choice(1, "b", Some("stop")));
        assert_eq!((&answer["object"], &answer["created"]), (&json!("text_completion"), &json!(7)));
    }
}
