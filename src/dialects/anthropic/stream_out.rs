//! Streamed answers (Anthropic API reference, streaming messages).

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

use super::{answer_out, blocks_out, citation, error, usage};
use crate::dialects::conversation::{Delta, Event, Finish, Signature, Start, ToolCall, Usage};
use crate::dialects::{Asked, Encode};

/// Writes the events. Blocks are opened and closed as the kind of what comes changes; those of calls stay open beside
/// others until their call is whole, because calls may come mixed.
#[derive(Debug)]
pub(super) struct Writer {
    asked: Rc<Asked>,
    started: bool,
    over: bool,
    /// The index of the next block.
    next: u64,
    /// The open block of text or thought.
    open: Option<(Kind, u64)>,
    calls: BTreeMap<u32, Call>,
    ends_with_call: bool,
    has_refusal: bool,
    /// The provider's id of the thought that comes.
    reasoning_id: Option<String>,
    usage: Usage,
    finish: Option<Finish>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
}

#[derive(Debug)]
struct Call {
    index: u64,
    /// Arguments that do not begin as an object does: they can't go out before all of them are there.
    bare: Option<String>,
    begun: bool,
}

impl Writer {
    pub(super) fn new(asked: &Rc<Asked>) -> Self {
        Self {
            asked: Rc::clone(asked),
            started: false,
            over: false,
            next: 0,
            open: None,
            calls: BTreeMap::new(),
            ends_with_call: false,
            has_refusal: false,
            reasoning_id: None,
            usage: Usage::default(),
            finish: None,
        }
    }

    fn start(&mut self, start: &Start, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.started, true) {
            let message = answer_out::message(start, &self.usage, &self.asked);
            send("message_start", &json!({ "type": "message_start", "message": message }), out);
        }
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Part => self.close(out),
            Delta::Text(text) => self.text(text, out),
            Delta::Refusal(text) => {
                self.has_refusal = true;
                self.text(text, out);
            }
            Delta::Reasoning(text) => {
                if !text.is_empty() {
                    let index = self.opened(Kind::Thinking, out);
                    words(index, ["thinking_delta", "thinking"], text, out);
                }
            }
            Delta::Signature(signature) => self.signature(signature, out),
            Delta::Redacted(all) => {
                let id = self.reasoning_id.take();
                self.whole(&blocks_out::redacted_block(&blocks_out::proof(all, id.as_deref())), out);
            }
            Delta::ReasoningId(id) => self.reasoning_id = Some(id.clone()),
            Delta::ToolCall { call, id, name, signature } => {
                self.close(out);
                if let Some(signature) = signature {
                    self.signature(signature, out);
                }
                self.call(*call, id, name, out);
            }
            Delta::Arguments { call, text } => {
                if let Some(call) = self.calls.get_mut(call) {
                    call.arguments(text, out);
                }
            }
            Delta::ToolCallEnd { call } => {
                if let Some(call) = self.calls.remove(call) {
                    call.close(out);
                }
            }
            Delta::Annotation(annotation) => {
                if let Some(citation) = citation::write(annotation) {
                    let index = self.opened(Kind::Text, out);
                    piece(index, &json!({ "type": "citations_delta", "citation": citation }), out);
                }
            }
            Delta::Media(media) => {
                if let Some(block) = blocks_out::media_block(media) {
                    self.whole(&block, out);
                }
            }
            Delta::Foreign { kind, value } => {
                if let Some(block) = blocks_out::foreign_block(kind, value) {
                    self.whole(&block, out);
                }
            }
            Delta::Logprobs(_) => {}
        }
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        if !text.is_empty() {
            let index = self.opened(Kind::Text, out);
            words(index, ["text_delta", "text"], text, out);
        }
    }

    fn signature(&mut self, signature: &Signature, out: &mut Vec<u8>) {
        let index = self.opened(Kind::Thinking, out);
        let proof = blocks_out::proof(signature, self.reasoning_id.take().as_deref());
        piece(index, &json!({ "type": "signature_delta", "signature": proof }), out);
        self.close(out);
    }

    fn call(&mut self, call: u32, id: &str, name: &str, out: &mut Vec<u8>) {
        let named = ToolCall { id: id.to_owned(), name: name.to_owned(), ..ToolCall::default() };
        let index = self.begin(&blocks_out::call_block(&named, json!({})), out);
        if let Some(before) = self.calls.insert(call, Call { index, bare: None, begun: false }) {
            before.close(out);
        }
    }

    /// The index of the open block of this kind, which is opened if there is none.
    fn opened(&mut self, kind: Kind, out: &mut Vec<u8>) -> u64 {
        if let Some((open, index)) = self.open
            && open == kind
        {
            return index;
        }
        self.close(out);
        let block = match kind {
            Kind::Text => json!({ "type": "text", "text": "" }),
            Kind::Thinking => blocks_out::thinking_block("", ""),
        };
        let index = self.begin(&block, out);
        self.open = Some((kind, index));
        index
    }

    fn begin(&mut self, block: &Value, out: &mut Vec<u8>) -> u64 {
        self.ends_with_call = block["type"] == "tool_use";
        let index = self.next;
        self.next += 1;
        let event = json!({ "type": "content_block_start", "index": index, "content_block": block });
        send("content_block_start", &event, out);
        index
    }

    /// Closes what is open of text or thought.
    fn close(&mut self, out: &mut Vec<u8>) {
        if let Some((_, index)) = self.open.take() {
            stop(index, out);
        }
    }

    /// A block that comes at once.
    fn whole(&mut self, block: &Value, out: &mut Vec<u8>) {
        self.close(out);
        let index = self.begin(block, out);
        stop(index, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        for call in std::mem::take(&mut self.calls).into_values() {
            call.close(out);
        }
        let (reason, sequence) = blocks_out::stop(self.finish.as_ref(), self.ends_with_call, self.has_refusal);
        let event = json!({
            "type": "message_delta",
            "delta": { "stop_reason": reason, "stop_sequence": sequence },
            "usage": usage::write(&self.usage),
        });
        send("message_delta", &event, out);
        send("message_stop", &json!({ "type": "message_stop" }), out);
    }
}

impl Encode for Writer {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        if !matches!(event, Event::Start(_) | Event::Ping | Event::Usage(_) | Event::Failed(_)) {
            self.start(&Start::default(), out);
        }
        match event {
            Event::Start(start) => self.start(start, out),
            Event::Delta { choice: 0, delta } => self.delta(delta, out),
            Event::Finish { choice: 0, finish } => self.finish = Some(finish.clone()),
            // The dialect has one choice.
            Event::Delta { .. } | Event::Finish { .. } => {}
            Event::Usage(usage) => self.usage = *usage,
            Event::Ping => send("ping", &json!({ "type": "ping" }), out),
            Event::Failed(failure) => {
                self.over = true;
                send("error", &error::body(failure, &self.asked.request_id), out);
            }
            Event::End => {
                self.over = true;
                self.end(out);
            }
        }
    }
}

impl Call {
    fn arguments(&mut self, text: &str, out: &mut Vec<u8>) {
        let text = if self.begun { text } else { text.trim_start() };
        if text.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.begun, true) && !text.starts_with('{') {
            self.bare = Some(String::new());
        }
        match &mut self.bare {
            Some(bare) => bare.push_str(text),
            None => self.send(text, out),
        }
    }

    fn close(self, out: &mut Vec<u8>) {
        if let Some(bare) = &self.bare {
            self.send(&blocks_out::input(bare).to_string(), out);
        }
        stop(self.index, out);
    }

    fn send(&self, text: &str, out: &mut Vec<u8>) {
        words(self.index, ["input_json_delta", "partial_json"], text, out);
    }
}

fn piece(index: u64, delta: &Value, out: &mut Vec<u8>) {
    send("content_block_delta", &json!({ "type": "content_block_delta", "index": index, "delta": delta }), out);
}

/// What most events are. Its text is the only thing in it that has to be escaped.
fn words(index: u64, [kind, member]: [&str; 2], text: &str, out: &mut Vec<u8>) {
    let text = serde_json::to_string(text).expect("a string is always JSON");
    let event = format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{index},\
         \"delta\":{{\"type\":\"{kind}\",\"{member}\":{text}}}}}\n\n"
    );
    out.extend_from_slice(event.as_bytes());
}

fn stop(index: u64, out: &mut Vec<u8>) {
    send("content_block_stop", &json!({ "type": "content_block_stop", "index": index }), out);
}

fn send(name: &str, data: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::Front as _;
    use crate::dialects::anthropic::FRONT;
    use crate::dialects::conversation::{
        Annotation, Answer, Choice, Content, Failure, Family, Part, Reasoning, Request,
    };

    fn asked() -> Rc<Asked> {
        let request = Request { model: "alias".into(), ..Request::default() };
        Rc::new(Asked { request, unique: "0a".into(), now: 1, request_id: "req".into() })
    }

    fn written(events: &[Event]) -> Vec<Value> {
        let mut writer = Writer::new(&asked());
        let mut out = Vec::new();
        for event in events {
            writer.event(event, &mut out);
        }
        let text = String::from_utf8(out).expect("UTF-8");
        let events = text.split_terminator("\n\n").map(|event| {
            let (name, data) = event.split_once("\ndata: ").expect("two lines");
            let data: Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
            data
        });
        events.collect()
    }

    fn call(call: u32, id: &str, signature: Option<Signature>) -> Event {
        Event::delta(Delta::ToolCall { call, id: id.into(), name: "f".into(), signature })
    }

    fn arguments(call: u32, text: &str) -> Event {
        Event::delta(Delta::Arguments { call, text: text.into() })
    }

    /// What clients make of it: the blocks, and the last `message_delta`.
    fn message(events: &[Event]) -> (Vec<Value>, Value) {
        let (mut blocks, mut open, mut last) = (Vec::new(), Vec::new(), Value::Null);
        let mut inputs = BTreeMap::new();
        for event in written(events) {
            let index = event["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(0);
            let delta = &event["delta"];
            match event["type"].as_str().unwrap_or_default() {
                "content_block_start" => {
                    assert_eq!(index, blocks.len(), "blocks begin in order");
                    blocks.push(event["content_block"].clone());
                    open.push(true);
                }
                "content_block_delta" => {
                    assert!(open[index], "an open block");
                    for name in ["text", "thinking", "signature"] {
                        if let Some(more) = delta[name].as_str() {
                            blocks[index][name] =
                                json!(format!("{}{more}", blocks[index][name].as_str().unwrap_or("")));
                        }
                    }
                    if let Some(more) = delta["partial_json"].as_str() {
                        inputs.entry(index).or_insert_with(String::new).push_str(more);
                    }
                    if !delta["citation"].is_null() {
                        blocks[index]["citations"] = json!([delta["citation"]]);
                    }
                }
                "content_block_stop" => assert!(std::mem::replace(&mut open[index], false), "one end"),
                "message_delta" => last = event,
                _ => {}
            }
        }
        assert!(open.iter().all(|open| !open), "all blocks are closed");
        for (index, input) in inputs {
            blocks[index]["input"] = serde_json::from_str(&input).expect("JSON");
        }
        (blocks, last)
    }

    #[test]
    fn blocks_open_and_close_with_the_kind_of_what_comes() {
        let own = Signature::new(Family::Anthropic, "s");
        let annotation = Annotation { url: Some("https://a.example/".into()), ..Annotation::default() };
        let usage = Usage { input: 9, cache_read: Some(4), output: 3, reasoning: Some(1), ..Usage::default() };
        let start = Start { id: "msg_9".into(), model: "claude-x".into(), ..Start::default() };
        let events = [
            Event::Start(start),
            Event::Usage(usage),
            Event::delta(Delta::Reasoning("a".into())),
            Event::delta(Delta::Reasoning("b".into())),
            Event::delta(Delta::Signature(own.clone())),
            Event::delta(Delta::Redacted(own)),
            Event::Ping,
            Event::delta(Delta::Text("x \"y\"".into())),
            Event::delta(Delta::Text("\n".into())),
            Event::delta(Delta::Annotation(annotation)),
            call(0, "c0", None),
            arguments(0, "{\"a\""),
            call(1, "c1", None),
            arguments(1, " {}"),
            arguments(0, ":1}"),
            Event::delta(Delta::ToolCallEnd { call: 0 }),
            Event::Finish { choice: 0, finish: Finish::ToolCalls },
            Event::Finish { choice: 1, finish: Finish::Length },
            Event::End,
            Event::Ping,
        ];
        let sent = written(&events);
        let kinds: Vec<_> = sent.iter().map(|event| event["type"].as_str().unwrap_or_default()).collect();
        assert_eq!(kinds.first(), Some(&"message_start"));
        assert_eq!(kinds[kinds.len() - 2..], ["message_delta", "message_stop"]);
        assert!(kinds.contains(&"ping"));
        assert_eq!(
            (&sent[0]["message"]["id"], &sent[0]["message"]["model"]),
            (&json!("msg_9"), &json!("claude-x"))
        );
        let (blocks, last) = message(&events);
        assert_eq!(
            blocks,
            [
                json!({"type": "thinking", "thinking": "ab", "signature": "s"}),
                json!({"type": "redacted_thinking", "data": "s"}),
                json!({"type": "text", "text": "x \"y\"\n", "citations": [{"type": "web_search_result_location",
                    "url": "https://a.example/", "title": null, "cited_text": "", "encrypted_index": ""}]}),
                json!({"type": "tool_use", "id": "c0", "name": "f", "input": {"a": 1}}),
                json!({"type": "tool_use", "id": "c1", "name": "f", "input": {}}),
            ]
        );
        assert_eq!(last["delta"], json!({"stop_reason": "tool_use", "stop_sequence": null}));
        assert_eq!(
            last["usage"],
            json!({"input_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 4, "output_tokens": 3,
                "output_tokens_details": {"thinking_tokens": 1}})
        );
    }

    #[test]
    fn the_beginning_goes_out_at_once_and_has_what_a_provider_does_not_say() {
        let sent = written(&[Event::Start(Start::default())]);
        assert_eq!(sent.len(), 1);
        let message = &sent[0]["message"];
        assert_eq!((&message["id"], &message["model"]), (&json!("msg_0a"), &json!("alias")));
        assert_eq!((&message["usage"]["input_tokens"], &message["stop_reason"]), (&json!(0), &Value::Null));
    }

    #[test]
    fn signatures_of_others_travel_sealed() {
        let gemini = Signature::new(Family::Gemini, "g");
        let sealed = Signature::new(Family::OpenAi, "enc");
        let events = [
            Event::delta(Delta::ReasoningId("rs_1".into())),
            Event::delta(Delta::Reasoning("t".into())),
            Event::delta(Delta::Redacted(sealed)),
            Event::delta(Delta::Reasoning("u".into())),
            call(0, "c", Some(gemini)),
            Event::End,
        ];
        let (blocks, last) = message(&events);
        assert_eq!(
            blocks,
            [
                json!({"type": "thinking", "thinking": "t", "signature": ""}),
                json!({"type": "redacted_thinking", "data": "ms1:openai:enc|rs_1"}),
                json!({"type": "thinking", "thinking": "u", "signature": ""}),
                json!({"type": "thinking", "thinking": "", "signature": "ms1:gemini:g"}),
                json!({"type": "tool_use", "id": "c", "name": "f", "input": {}}),
            ]
        );
        // A provider that has no word for it.
        assert_eq!(last["delta"]["stop_reason"], "tool_use");
    }

    #[test]
    fn arguments_that_are_no_object_are_given_as_one() {
        for (pieces, expected) in [
            (vec!["[1", ",2]"], json!({"arguments": "[1,2]"})),
            (vec![" ", "\"x\""], json!({"arguments": "\"x\""})),
            (vec!["nu", "ll"], json!({})),
            (vec!["  "], json!({})),
        ] {
            let mut events = vec![call(0, "c", None)];
            events.extend(pieces.iter().map(|piece| arguments(0, piece)));
            events.push(Event::End);
            assert_eq!(message(&events).0[0]["input"], expected, "{pieces:?}");
            assert_eq!(blocks_out::input(pieces.concat().trim_start()), expected, "{pieces:?}");
        }
    }

    #[test]
    fn ends_have_the_dialects_words() {
        for (finish, reason, sequence) in [
            (Finish::Stop, "end_turn", Value::Null),
            (Finish::StopSequence(Some("END".into())), "stop_sequence", json!("END")),
            (Finish::Length, "max_tokens", Value::Null),
            (Finish::Window, "model_context_window_exceeded", Value::Null),
            (Finish::ContentFilter, "refusal", Value::Null),
            (Finish::Refusal, "refusal", Value::Null),
            (Finish::Pause, "pause_turn", Value::Null),
            (Finish::Other("OTHER".into()), "end_turn", Value::Null),
        ] {
            let (_, last) = message(&[Event::Finish { choice: 0, finish: finish.clone() }, Event::End]);
            assert_eq!(last["delta"], json!({"stop_reason": reason, "stop_sequence": sequence}), "{finish:?}");
        }
        let refused = [
            Event::delta(Delta::Refusal("No.".into())),
            Event::Finish { choice: 0, finish: Finish::Stop },
            Event::End,
        ];
        let (blocks, last) = message(&refused);
        assert_eq!((&blocks[0]["text"], &last["delta"]["stop_reason"]), (&json!("No."), &json!("refusal")));
    }

    #[test]
    fn a_failure_is_the_last_word() {
        let sent = written(&[
            Event::delta(Delta::Text("a".into())),
            Event::Failed(Failure::new(503, "busy")),
            Event::End,
        ]);
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}, "request_id": "req"});
        assert_eq!(sent.last(), Some(&error));
    }

    #[test]
    fn a_whole_answer_is_what_its_stream_is() {
        let thought = Reasoning { text: "t".into(), ..Reasoning::default() };
        let signed = ToolCall {
            id: "c".into(),
            name: "f".into(),
            arguments: r#"{"x":[1]}"#.into(),
            signature: Some(Signature::new(Family::Gemini, "g")),
        };
        let foreign = |kind: &str| Part::new(Content::Foreign { kind: kind.into(), value: json!({"type": kind}) });
        let parts = vec![
            Part::new(Content::Reasoning(thought)),
            Part::text("a"),
            Part::text("b"),
            foreign("web_search_tool_result"),
            foreign("web_search_call"),
            Part::new(Content::ToolCall(signed)),
        ];
        let choice = Choice { parts, finish: Some(Finish::Stop), ..Choice::default() };
        let usage = Some(Usage { input: 3, output: 4, ..Usage::default() });
        let service_tier = Some("priority".to_owned());
        let answer = Answer { id: "x".into(), choices: vec![choice], usage, service_tier, ..Answer::default() };
        let whole: Value = serde_json::from_slice(&FRONT.answer(&answer, &asked())).expect("JSON");
        let (blocks, last) = message(&answer.into_events());
        assert_eq!(whole["content"], json!(blocks));
        assert_eq!(blocks.len(), 6);
        assert_eq!(whole["stop_reason"], last["delta"]["stop_reason"]);
        assert_eq!((&whole["model"], &whole["usage"]["service_tier"]), (&json!("alias"), &json!("priority")));
        assert_eq!(whole["usage"]["output_tokens"], 4);
    }
}
