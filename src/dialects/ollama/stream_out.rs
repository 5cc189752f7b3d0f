//! From the events of an answer to a client's lines.

use std::collections::VecDeque;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::answer_out::{Said, call, end, line};
use super::error;
use super::front::Shape;
use crate::dialects::conversation::{Delta, Event, Finish, Start, Usage};
use crate::dialects::front::{Asked, Encode};

/// Writes one line for each piece. Calls are whole in this dialect, so they alone wait for their end.
#[derive(Debug)]
pub(super) struct Writer {
    shape: Shape,
    asked: Rc<Asked>,
    start: Start,
    /// Calls that have begun, in that order, in which they are written.
    calls: VecDeque<Begun>,
    /// Calls that were written.
    written: usize,
    finish: Option<Finish>,
    usage: Option<Usage>,
    over: bool,
}

#[derive(Debug)]
struct Begun {
    key: u32,
    is_whole: bool,
    id: String,
    name: String,
    arguments: String,
}

impl Writer {
    pub(super) fn new(shape: Shape, asked: Rc<Asked>) -> Self {
        Self {
            shape,
            asked,
            start: Start::default(),
            calls: VecDeque::new(),
            written: 0,
            finish: None,
            usage: None,
            over: false,
        }
    }

    fn line(&self, said: Said) -> Map<String, Value> {
        line(self.shape, &self.start.model, self.start.created, &self.asked, said)
    }

    fn say(&self, said: Said, out: &mut Vec<u8>) {
        put(self.line(said), out);
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Text(text) | Delta::Refusal(text) if !text.is_empty() => {
                self.say(Said { text: text.clone(), ..Said::default() }, out);
            }
            Delta::Reasoning(text) if !text.is_empty() => {
                self.say(Said { thinking: text.clone(), ..Said::default() }, out);
            }
            Delta::Media(media) => self.say(Said::of_media(media), out),
            Delta::Logprobs(content) => {
                self.say(Said { logprobs: Some(content.clone()), ..Said::default() }, out);
            }
            Delta::ToolCall { call, id, name, .. } => {
                let (id, name, arguments) = (id.clone(), name.clone(), String::new());
                self.calls.push_back(Begun { key: *call, is_whole: false, id, name, arguments });
            }
            Delta::Arguments { call, text } => {
                if let Some(begun) = self.calls.iter_mut().find(|begun| begun.key == *call) {
                    begun.arguments.push_str(text);
                }
            }
            Delta::ToolCallEnd { call } => {
                if let Some(begun) = self.calls.iter_mut().find(|begun| begun.key == *call) {
                    begun.is_whole = true;
                }
                while let Some(begun) = self.calls.pop_front_if(|begun| begun.is_whole) {
                    self.call(&begun, out);
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, begun: &Begun, out: &mut Vec<u8>) {
        if let Some(call) = call(&begun.id, &begun.name, &begun.arguments, self.written) {
            self.written += 1;
            self.say(Said { calls: vec![call], ..Said::default() }, out);
        }
    }

    /// The calls whose end nobody has told.
    fn rest(&mut self, out: &mut Vec<u8>) {
        for begun in std::mem::take(&mut self.calls) {
            self.call(&begun, out);
        }
    }
}

impl Encode for Writer {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            Event::Start(start) => {
                self.start = start.clone();
                self.say(Said::default(), out);
            }
            Event::Delta { choice: 0, delta } => self.delta(delta, out),
            Event::Finish { choice: 0, finish } => {
                self.rest(out);
                self.finish = Some(finish.clone());
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Delta { .. } | Event::Finish { .. } | Event::Ping => {}
            Event::Failed(failure) => {
                self.over = true;
                out.extend_from_slice(error::object(failure).to_string().as_bytes());
                out.push(b'\n');
            }
            Event::End => {
                self.rest(out);
                self.over = true;
                let mut last = self.line(Said::default());
                end(&mut last, self.finish.as_ref(), self.usage.as_ref());
                put(last, out);
            }
        }
    }
}

fn put(line: Map<String, Value>, out: &mut Vec<u8>) {
    out.extend_from_slice(Value::Object(line).to_string().as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::conversation::{Answer, Collector, Failure, Request};
    use crate::dialects::front::Front;
    use crate::dialects::ollama::{CHAT, GENERATE};

    fn asked() -> Asked {
        let request = Request { model: "mine".to_owned(), stream: true, ..Request::default() };
        Asked { request, unique: "1".to_owned(), now: 0, request_id: "r".to_owned() }
    }

    fn events() -> Vec<Event> {
        let call =
            |call, id: &str| Delta::ToolCall { call, id: id.to_owned(), name: "f".to_owned(), signature: None };
        let arguments = |call, text: &str| Delta::Arguments { call, text: text.to_owned() };
        let mut events = vec![Event::Start(Start::default())];
        let deltas = [
            Delta::Reasoning("So".to_owned()),
            Delta::Text("Hi".to_owned()),
            call(0, "a"),
            arguments(0, "{\"x\""),
            call(1, "b"),
            arguments(1, ""),
            arguments(0, ":1}"),
            Delta::ToolCallEnd { call: 0 },
            call(2, "c"),
            arguments(2, "{\"cut"),
        ];
        events.extend(deltas.map(Event::delta));
        events.push(Event::Usage(Usage { input: 3, output: 4, ..Usage::default() }));
        events.push(Event::Finish { choice: 0, finish: Finish::ToolCalls });
        events.push(Event::End);
        events
    }

    fn lines(front: &dyn Front, events: &[Event]) -> Vec<Value> {
        let mut encoder = front.encoder(&Rc::new(asked()));
        let mut out = Vec::new();
        for event in events {
            encoder.event(event, &mut out);
        }
        let lines = std::str::from_utf8(&out).expect("text").lines();
        lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn a_conversations_lines() {
        let lines = lines(&CHAT, &events());
        let messages: Vec<String> = lines.iter().map(|line| line["message"].to_string()).collect();
        assert_eq!(
            messages,
            [
                r#"{"role":"assistant","content":""}"#,
                r#"{"role":"assistant","content":"","thinking":"So"}"#,
                r#"{"role":"assistant","content":"Hi"}"#,
                r#"{"role":"assistant","content":"","tool_calls":[{"id":"a","function":{"index":0,"name":"f","arguments":{"x":1}}}]}"#,
                r#"{"role":"assistant","content":"","tool_calls":[{"id":"b","function":{"index":1,"name":"f","arguments":{}}}]}"#,
                r#"{"role":"assistant","content":""}"#,
            ]
        );
        let last = lines.last().expect("a last line");
        assert_eq!(
            last.to_string(),
            concat!(
                r#"{"model":"mine","created_at":"1970-01-01T00:00:00Z","message":{"role":"assistant","content":""},"#,
                r#""done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":4}"#
            )
        );
        assert!(lines[..lines.len() - 1].iter().all(|line| line["done"] == false));
    }

    #[test]
    fn one_turns_lines() {
        let lines = lines(&GENERATE, &events());
        let texts: Vec<_> = lines.iter().filter_map(|line| line["response"].as_str()).collect();
        assert_eq!(texts.concat(), "Hi");
        assert_eq!(lines[1]["thinking"], "So");
        assert_eq!(lines.last().map(|line| &line["done"]), Some(&Value::Bool(true)));
    }

    #[test]
    fn a_failure_is_the_last_word() {
        let failed = Event::Failed(Failure::new(500, "No more."));
        let lines = lines(&CHAT, &[Event::Start(Start::default()), failed, Event::End]);
        assert_eq!(lines.last().map(Value::to_string), Some(r#"{"error":"No more."}"#.to_owned()));
    }

    #[test]
    fn a_whole_answer_says_the_same() {
        let mut collector = Collector::default();
        for event in events() {
            collector.event(event).expect("no failure");
        }
        let answer: Answer = collector.finish().expect("whole");
        let document: Value = serde_json::from_slice(&CHAT.answer(&answer, &asked())).expect("JSON");
        assert_eq!(
            (&document["message"]["content"], &document["message"]["thinking"]),
            (&"Hi".into(), &"So".into())
        );
        assert_eq!(document["message"]["tool_calls"].as_array().map(Vec::len), Some(2));
        assert_eq!((&document["done"], &document["eval_count"]), (&true.into(), &4.into()));
        let document: Value = serde_json::from_slice(&GENERATE.answer(&answer, &asked())).expect("JSON");
        assert_eq!(document["response"], "Hi");
    }
}
