//! What Anthropic's streams say (Anthropic API reference, streaming messages), and its whole answers, which are read as
//! streams in one breath so that both always mean the same.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::blocks_in::{string, taken};
use super::{citation, error, usage};
use crate::dialects::conversation::{Delta, Event, Family, Finish, Signature, Start};
use crate::dialects::{Machine, Malformed};

/// Understands the events.
#[derive(Debug)]
pub(super) struct Reader {
    /// The tool whose call is the answer.
    form_tool: Option<String>,
    /// The open blocks, by index.
    blocks: HashMap<u64, Block>,
    calls: u32,
    form_seen: bool,
    tally: usage::Tally,
}

#[derive(Debug)]
enum Block {
    /// Text, or thought: nothing is left to do at its end.
    Plain,
    Call {
        /// `None`: it is the answer.
        call: Option<u32>,
        /// Its arguments so far, if they came with the beginning.
        input: Option<Value>,
        /// Whether any piece of them has come.
        begun: bool,
    },
    /// What only Anthropic understands, and the pieces of its `input`.
    Foreign { kind: String, value: Map<String, Value>, input: String },
}

impl Reader {
    pub(super) fn new(form_tool: Option<String>) -> Self {
        Self { form_tool, blocks: HashMap::new(), calls: 0, form_seen: false, tally: usage::Tally::default() }
    }

    /// Reads a whole message.
    pub(super) fn message(&mut self, mut message: Value, events: &mut Vec<Event>) -> Result<(), Malformed> {
        let Some(Value::Array(blocks)) = message.get_mut("content").map(Value::take) else {
            return Err(Malformed("a message without content"));
        };
        self.start(&message, events);
        for (index, block) in (0..).zip(blocks) {
            self.block_start(index, block, events);
            self.block_stop(index, events);
        }
        self.finish(&message, events);
        events.push(Event::End);
        Ok(())
    }

    fn start(&mut self, message: &Value, events: &mut Vec<Event>) {
        let text = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let usage = message.get("usage");
        events.push(Event::Start(Start {
            id: text("id"),
            model: text("model"),
            service_tier: usage::read_tier(usage),
            ..Start::default()
        }));
        if self.tally.take(usage) {
            events.push(Event::Usage(self.tally.usage()));
        }
    }

    /// `from` has `stop_reason` and `stop_sequence`.
    fn finish(&mut self, from: &Value, events: &mut Vec<Event>) {
        let Some(reason) = from.get("stop_reason").and_then(Value::as_str) else { return };
        let finish = match reason {
            "end_turn" => Finish::Stop,
            "stop_sequence" => {
                Finish::StopSequence(from.get("stop_sequence").and_then(Value::as_str).map(str::to_owned))
            }
            "max_tokens" => Finish::Length,
            "model_context_window_exceeded" => Finish::Window,
            "tool_use" if self.form_seen && self.calls == 0 => Finish::Stop,
            "tool_use" => Finish::ToolCalls,
            "refusal" => Finish::Refusal,
            "pause_turn" => Finish::Pause,
            other => Finish::Other(other.to_owned()),
        };
        events.push(Event::Finish { choice: 0, finish });
    }

    fn block_start(&mut self, index: u64, block: Value, events: &mut Vec<Event>) {
        let Value::Object(mut block) = block else { return };
        let mut push = |delta: Delta| events.push(Event::delta(delta));
        let kind = string(&mut block, "type").unwrap_or_default();
        let state = match kind.as_str() {
            "text" => {
                push(Delta::Part);
                string(&mut block, "text").filter(|text| !text.is_empty()).map(Delta::Text).map(&mut push);
                if let Some(Value::Array(citations)) = taken(&mut block, "citations") {
                    citations.into_iter().map(citation::read).map(Delta::Annotation).for_each(push);
                }
                Block::Plain
            }
            "thinking" => {
                push(Delta::Part);
                let text = string(&mut block, "thinking").filter(|text| !text.is_empty());
                text.map(Delta::Reasoning).map(&mut push);
                let signature = string(&mut block, "signature").filter(|text| !text.is_empty());
                signature.map(signed).map(push);
                Block::Plain
            }
            "redacted_thinking" => {
                push(Delta::Part);
                let all = string(&mut block, "data").unwrap_or_default();
                push(Delta::Redacted(Signature::new(Family::Anthropic, all)));
                Block::Plain
            }
            "tool_use" => {
                let name = string(&mut block, "name").unwrap_or_default();
                let input = block.remove("input").filter(|input| !is_empty(input));
                let call = if self.form_tool.as_ref() == Some(&name) {
                    self.form_seen = true;
                    push(Delta::Part);
                    None
                } else {
                    let call = self.calls;
                    self.calls += 1;
                    let id = string(&mut block, "id").unwrap_or_default();
                    push(Delta::ToolCall { call, id, name, signature: None });
                    Some(call)
                };
                Block::Call { call, input, begun: false }
            }
            _ => Block::Foreign { kind, value: block, input: String::new() },
        };
        self.blocks.insert(index, state);
    }

    fn block_delta(&mut self, index: u64, delta: Value, events: &mut Vec<Event>) {
        let Value::Object(mut delta) = delta else { return };
        let kind = string(&mut delta, "type").unwrap_or_default();
        let block = self.blocks.get_mut(&index);
        let piece = match (kind.as_str(), block) {
            ("text_delta", _) => string(&mut delta, "text").map(Delta::Text),
            ("thinking_delta", _) => string(&mut delta, "thinking").map(Delta::Reasoning),
            ("signature_delta", _) => string(&mut delta, "signature").map(signed),
            ("citations_delta", _) => taken(&mut delta, "citation").map(citation::read).map(Delta::Annotation),
            ("input_json_delta", Some(Block::Call { call, begun, .. })) => {
                let text = string(&mut delta, "partial_json").filter(|text| !text.is_empty());
                *begun |= text.is_some();
                text.map(|text| arguments(*call, text))
            }
            ("input_json_delta", Some(Block::Foreign { input, .. })) => {
                input.push_str(&string(&mut delta, "partial_json").unwrap_or_default());
                None
            }
            // Members that a block gets later, such as the `content` of a `compaction`.
            (_, Some(Block::Foreign { value, .. })) => {
                value.extend(delta.into_iter().filter(|(name, value)| name != "type" && !value.is_null()));
                None
            }
            _ => None,
        };
        let empty = |delta: &Delta| match delta {
            Delta::Text(text) | Delta::Reasoning(text) => text.is_empty(),
            _ => false,
        };
        events.extend(piece.filter(|delta| !empty(delta)).map(Event::delta));
    }

    fn block_stop(&mut self, index: u64, events: &mut Vec<Event>) {
        match self.blocks.remove(&index) {
            Some(Block::Call { call, input, begun }) => {
                if !begun {
                    // A call without arguments has no piece of them.
                    let text = input.map_or_else(|| "{}".to_owned(), |input| input.to_string());
                    events.push(Event::delta(arguments(call, text)));
                }
                events.extend(call.map(|call| Event::delta(Delta::ToolCallEnd { call })));
            }
            Some(Block::Foreign { kind, mut value, input }) => {
                if let Ok(input) = serde_json::from_str(&input) {
                    value.insert("input".to_owned(), input);
                }
                value.insert("type".to_owned(), Value::String(kind.clone()));
                events.push(Event::delta(Delta::Foreign { kind, value: Value::Object(value) }));
            }
            Some(Block::Plain) | None => {}
        }
    }
}

impl Machine for Reader {
    fn event(&mut self, name: Option<&str>, data: &[u8], events: &mut Vec<Event>) -> Result<(), Malformed> {
        let mut data: Value = serde_json::from_slice(data).map_err(|_| Malformed("an event that is no JSON"))?;
        let index = data.get("index").and_then(Value::as_u64).unwrap_or(0);
        let kind = data.get("type").and_then(Value::as_str).or(name).map(str::to_owned);
        let mut member = |name: &str| data.get_mut(name).map(Value::take).unwrap_or_default();
        match kind.as_deref() {
            Some("message_start") => self.start(&member("message"), events),
            Some("content_block_start") => self.block_start(index, member("content_block"), events),
            Some("content_block_delta") => self.block_delta(index, member("delta"), events),
            Some("content_block_stop") => self.block_stop(index, events),
            Some("message_delta") => {
                self.finish(&member("delta"), events);
                if self.tally.take(data.get("usage")) {
                    events.push(Event::Usage(self.tally.usage()));
                }
            }
            Some("message_stop") => events.push(Event::End),
            Some("ping") => events.push(Event::Ping),
            Some("error") => events.push(Event::Failed(error::of_event(&data))),
            _ => {}
        }
        Ok(())
    }
}

fn signed(signature: String) -> Delta {
    Delta::Signature(Signature::new(Family::Anthropic, signature))
}

fn arguments(call: Option<u32>, text: String) -> Delta {
    match call {
        Some(call) => Delta::Arguments { call, text },
        None => Delta::Text(text),
    }
}

fn is_empty(input: &Value) -> bool {
    input.is_null() || input.as_object().is_some_and(Map::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dialects::conversation::{
        Answer, Collector, Content, FailureKind, Part, Reasoning, ToolCall, Usage,
    };
    use crate::dialects::{Decoder, Framing};

    fn sse(events: &[Value]) -> String {
        let event =
            |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
        events.iter().map(event).collect()
    }

    fn start(index: u64, block: &Value) -> Value {
        json!({"type": "content_block_start", "index": index, "content_block": block})
    }

    fn delta(index: u64, delta: &Value) -> Value {
        json!({"type": "content_block_delta", "index": index, "delta": delta})
    }

    fn stop(index: u64) -> Value {
        json!({"type": "content_block_stop", "index": index})
    }

    fn begin() -> Value {
        let usage = json!({"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 1, "service_tier": "standard"});
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "content": [], "usage": usage}})
    }

    fn end(reason: &str) -> [Value; 2] {
        [
            json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null},
                "usage": {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 3}}}),
            json!({"type": "message_stop"}),
        ]
    }

    fn decoder(form_tool: Option<&str>) -> Decoder {
        Decoder::new(Framing::Sse, Box::new(Reader::new(form_tool.map(str::to_owned))))
    }

    /// The events of a stream, which must be the same however it is split, and without end however it is cut.
    fn events(text: &str, form_tool: Option<&str>) -> Vec<Event> {
        let mut all = Vec::new();
        let mut whole = decoder(form_tool);
        whole.feed(text.as_bytes(), &mut all).expect("the dialect");
        whole.end(&mut all).expect("the dialect");
        for at in (0..text.len()).step_by(7) {
            let (one, two) = text.as_bytes().split_at(at);
            let (mut events, mut parts) = (Vec::new(), decoder(form_tool));
            parts.feed(one, &mut events).expect("the dialect");
            assert!(!events.contains(&Event::End), "cut at {at}");
            parts.feed(two, &mut events).expect("the dialect");
            assert_eq!(events, all, "split at {at}");
        }
        all
    }

    fn gathered(events: Vec<Event>) -> Answer {
        let mut collector = Collector::default();
        for event in events {
            collector.event(event).expect("no failure");
        }
        collector.finish().expect("it is whole")
    }

    fn cited() -> Value {
        json!({"type": "char_location", "cited_text": "c"})
    }

    /// Blocks of every kind, and things that nobody knows yet.
    fn all_kinds() -> Vec<Value> {
        [
            vec![
                begin(),
                json!({"type": "ping"}),
                json!({"type": "of_tomorrow", "index": 7}),
                start(0, &json!({"type": "thinking", "thinking": "", "signature": ""})),
                delta(0, &json!({"type": "thinking_delta", "thinking": "hm"})),
                delta(0, &json!({"type": "signature_delta", "signature": "sig"})),
                stop(0),
                start(1, &json!({"type": "redacted_thinking", "data": "enc"})),
                stop(1),
                start(2, &json!({"type": "text", "text": ""})),
                delta(2, &json!({"type": "text_delta", "text": "Hel"})),
                delta(2, &json!({"type": "of_tomorrow", "text": "?"})),
                delta(2, &json!({"type": "text_delta", "text": "lo"})),
                delta(2, &json!({"type": "citations_delta", "citation": cited()})),
                stop(2),
                start(3, &json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})),
                delta(3, &json!({"type": "input_json_delta", "partial_json": "{\"q\":"})),
                delta(3, &json!({"type": "input_json_delta", "partial_json": "1}"})),
                stop(3),
                start(4, &json!({"type": "tool_use", "id": "t1", "name": "f", "input": {}})),
                delta(4, &json!({"type": "input_json_delta", "partial_json": ""})),
                start(5, &json!({"type": "tool_use", "id": "t2", "name": "g", "input": {}})),
                delta(4, &json!({"type": "input_json_delta", "partial_json": "{\"x\""})),
                stop(5),
                delta(4, &json!({"type": "input_json_delta", "partial_json": ":1}"})),
                stop(4),
            ],
            end("tool_use").to_vec(),
        ]
        .concat()
    }

    #[test]
    fn every_kind_of_block_is_understood_as_in_a_whole_answer() {
        let events = events(&sse(&all_kinds()), None);
        assert!(events.contains(&Event::Ping));
        let streamed = gathered(events);
        let call = |id: &str, name: &str, arguments: &str| {
            Part::new(Content::ToolCall(ToolCall {
                id: id.into(),
                name: name.into(),
                arguments: arguments.into(),
                signature: None,
            }))
        };
        let own = |value: &str| Some(Signature::new(Family::Anthropic, value));
        let thought = |text: &str, signature, redacted| {
            Part::new(Content::Reasoning(Reasoning { text: text.into(), signature, redacted, id: None }))
        };
        let search = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}});
        assert_eq!(
            streamed.choices[0].parts,
            [
                thought("hm", own("sig"), None),
                thought("", None, own("enc")),
                Part::new(Content::Text { text: "Hello".into(), annotations: vec![citation::read(cited())] }),
                Part::new(Content::Foreign { kind: "server_tool_use".into(), value: search.clone() }),
                call("t1", "f", r#"{"x":1}"#),
                call("t2", "g", "{}"),
            ]
        );
        assert_eq!(streamed.choices[0].finish, Some(Finish::ToolCalls));
        let usage = Usage { input: 7, cache_read: Some(2), output: 9, reasoning: Some(3), ..Usage::default() };
        assert_eq!(streamed.usage, Some(usage));
        assert_eq!(streamed.service_tier.as_deref(), Some("default"));

        let whole = json!({
            "id": "msg_1", "type": "message", "model": "claude-x", "stop_reason": "tool_use", "stop_sequence": null,
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "redacted_thinking", "data": "enc"},
                {"type": "text", "text": "Hello", "citations": [cited()]},
                search,
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            ],
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 9, "service_tier": "standard",
                "output_tokens_details": {"thinking_tokens": 3}},
        });
        let mut events = Vec::new();
        Reader::new(None).message(whole, &mut events).expect("a message");
        assert_eq!(gathered(events), streamed);
    }

    #[test]
    fn each_reason_has_its_meaning() {
        for (reason, expected) in [
            ("end_turn", Finish::Stop),
            ("stop_sequence", Finish::StopSequence(Some("END".into()))),
            ("max_tokens", Finish::Length),
            ("model_context_window_exceeded", Finish::Window),
            ("tool_use", Finish::ToolCalls),
            ("refusal", Finish::Refusal),
            ("pause_turn", Finish::Pause),
            ("compaction", Finish::Other("compaction".into())),
        ] {
            let message = json!({"content": [], "stop_reason": reason, "stop_sequence": "END"});
            let mut events = Vec::new();
            Reader::new(None).message(message, &mut events).expect("a message");
            assert!(events.contains(&Event::Finish { choice: 0, finish: expected }), "{reason}");
        }
        let mut events = Vec::new();
        assert!(Reader::new(None).message(json!({"input_tokens": 1}), &mut events).is_err());
    }

    #[test]
    fn the_call_that_is_the_answer_is_text() {
        let stream = [
            vec![
                begin(),
                start(0, &json!({"type": "tool_use", "id": "t", "name": "json_answer", "input": {}})),
                delta(0, &json!({"type": "input_json_delta", "partial_json": "{\"a\":"})),
                delta(0, &json!({"type": "input_json_delta", "partial_json": "1}"})),
                stop(0),
            ],
            end("tool_use").to_vec(),
        ]
        .concat();
        let answer = gathered(events(&sse(&stream), Some("json_answer")));
        assert_eq!(answer.choices[0].parts, [Part::text(r#"{"a":1}"#)]);
        assert_eq!(answer.choices[0].finish, Some(Finish::Stop));
    }

    #[test]
    fn an_error_in_the_stream_ends_it() {
        let stream = [
            begin(),
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}),
            json!({"type": "message_stop"}),
        ];
        let events = events_of_failure(&sse(&stream));
        let Some(Event::Failed(failure)) = events.last() else { panic!("{events:?}") };
        assert_eq!(
            (failure.kind, failure.status, &*failure.message),
            (FailureKind::Overloaded, 529, "Overloaded")
        );
    }

    fn events_of_failure(text: &str) -> Vec<Event> {
        let mut events = Vec::new();
        let mut decoder = decoder(None);
        decoder.feed(text.as_bytes(), &mut events).expect("the dialect");
        decoder.end(&mut events).expect("the dialect");
        events
    }

    #[test]
    fn what_is_no_json_is_not_of_the_dialect() {
        assert!(decoder(None).feed(b"event: ping\ndata: <html>\n\n", &mut Vec::new()).is_err());
    }
}
