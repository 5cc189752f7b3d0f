//! For tests: a model that says the same whoever asks it, on servers that each write it their way, and a client that reads.

use bytes::Bytes;
use serde_json::{Value, json};

use super::event::{self, Said};
use crate::api::sse::Scanner;

const PROMPT_TOKENS: u64 = 11;

/// Sebastiano Vigna's splitmix64.
pub(in crate::stream) struct Random(pub(in crate::stream) u64);

impl Random {
    pub(in crate::stream) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(in crate::stream) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[usize::try_from(self.below(of.len() as u64)).expect("small")]
    }
}

/// How a server writes its events.
pub(in crate::stream) struct Manner {
    line_end: &'static str,
    comments: bool,
    pretty: bool,
    ids: bool,
    byte_order_mark: bool,
    role_everywhere: bool,
    usage_null: bool,
}

impl Manner {
    pub(in crate::stream) fn new(random: &mut Random) -> Self {
        let mut flag = || random.below(3) == 0;
        Self {
            comments: flag(),
            pretty: flag(),
            ids: flag(),
            byte_order_mark: flag(),
            role_everywhere: flag(),
            usage_null: flag(),
            line_end: random.one(&["\n", "\r\n", "\r"]),
        }
    }

    pub(in crate::stream) fn event(&self, at: usize, data: &Value) -> String {
        let data = if self.pretty { format!("{data:#}") } else { data.to_string() };
        let mut lines = Vec::new();
        if self.ids {
            lines.push(format!("id: {at}"));
        }
        lines.extend(data.lines().map(|line| format!("data: {line}")));
        self.lines(&lines)
    }

    pub(in crate::stream) fn lines(&self, lines: &[String]) -> String {
        lines.iter().map(String::as_str).chain([""]).flat_map(|line| [line, self.line_end]).collect()
    }
}

/// What the model says to everybody: its tokens, with the reason of its end.
pub(in crate::stream) struct Model {
    pub(in crate::stream) tokens: Vec<String>,
    pub(in crate::stream) finish: &'static str,
}

impl Model {
    pub(in crate::stream) fn new(random: &mut Random) -> Self {
        let words = [
            "The",
            " mill",
            " wheel",
            " turns",
            "\n\n",
            ", ",
            "\"quoted\"",
            " \u{e4}\u{f6}",
            "\u{1f30a}",
            " the",
            " water",
            " \\n",
            ".",
            " stone",
            " and",
            "grind",
            " 1",
            "7",
            " {\"a\":",
            "\t",
            " river",
            "ing",
            " data:",
        ];
        let length = 1 + random.below(60);
        let tokens = (0..length).map(|_| (0..=random.below(2)).map(|_| random.one::<str>(&words)).collect());
        let (tokens, finish) = (tokens.collect(), random.one(&["stop", "length", "content_filter"]));
        Self { tokens, finish }
    }

    /// One server's answer to `request`, event by event.
    pub(in crate::stream) fn answer(
        &self,
        name: &str,
        request: &[u8],
        sends_back: bool,
        random: &mut Random,
    ) -> Vec<String> {
        let request: Value = serde_json::from_slice(request).expect("JSON");
        let last = request["messages"].as_array().and_then(|messages| messages.last()).expect("a message");
        let given = if last["role"] == "assistant" { last["content"].as_str().expect("text") } else { "" };
        let mut known = 0;
        let mut rest = given;
        while !rest.is_empty() {
            rest = rest.strip_prefix(self.tokens[known].as_str()).expect("what this model says");
            known += 1;
        }
        let allowed = usize::try_from(request["max_tokens"].as_u64().unwrap_or(u64::MAX)).expect("64 bits");
        let left = &self.tokens[known..];
        let (left, finish) = if left.len() > allowed { (&left[..allowed], "length") } else { (left, self.finish) };

        let manner = Manner::new(random);
        let mut chunks = vec![json!({"role": "assistant", "content": ""})];
        if sends_back && !given.trim().is_empty() {
            chunks.push(json!({"content": given.trim_end()}));
            let space = &given[given.trim_end().len()..];
            if !space.is_empty() {
                chunks.push(json!({ "content": space }));
            }
        }
        for token in left {
            chunks.push(json!({ "content": token }));
        }
        chunks.push(json!({}));
        let count = chunks.len();
        let mut events = Vec::new();
        for (at, mut delta) in chunks.into_iter().enumerate() {
            if manner.role_everywhere {
                delta["role"] = json!("assistant");
            }
            let finish = if at + 1 == count { json!(finish) } else { Value::Null };
            let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
            let mut chunk = json!({"id": name, "created": name.len(), "model": name, "choices": choices});
            if manner.usage_null {
                chunk["usage"] = Value::Null;
            }
            if name.len() > 1 {
                chunk["system_fingerprint"] = json!(name);
            }
            if manner.comments {
                events.push(manner.lines(&[": keep-alive".to_owned()]));
            }
            events.push(manner.event(at, &chunk));
        }
        let (prompt, completion) = (PROMPT_TOKENS + known as u64, left.len() as u64);
        let usage = json!({"prompt_tokens": prompt, "completion_tokens": completion,
            "total_tokens": prompt + completion, "prompt_tokens_details": {"cached_tokens": prompt}});
        let choices = json!([]);
        let chunk = json!({"id": name, "created": name.len(), "model": name, "choices": choices, "usage": usage});
        events.push(manner.event(count, &chunk));
        events.push(manner.lines(&["data: [DONE]".to_owned()]));
        if manner.byte_order_mark {
            events[0].insert(0, '\u{feff}');
        }
        events
    }
}

/// What a client makes of a stream.
#[derive(Debug, Default, PartialEq)]
pub(in crate::stream) struct Read {
    pub(in crate::stream) text: String,
    pub(in crate::stream) finish: Option<String>,
    pub(in crate::stream) usage: Option<Value>,
    pub(in crate::stream) roles: usize,
    pub(in crate::stream) marks: usize,
    pub(in crate::stream) identities: Vec<Value>,
    pub(in crate::stream) done: bool,
}

impl Read {
    pub(in crate::stream) fn new(events: &[Bytes]) -> Self {
        // As one stream of bytes, so that nothing runs into each other unseen.
        let (bytes, mut scanner, mut read) = (events.concat(), Scanner::default(), Self::default());
        let mut rest = event::without_mark(&bytes);
        while let Some(end) = scanner.event_end(rest) {
            match event::read(&rest[..end]).expect("an event of the dialect") {
                Said::Nothing => {}
                Said::Done => read.done = true,
                Said::Data(data) => read.chunk(&serde_json::from_str(&data).expect("JSON")),
            }
            rest = &rest[end..];
        }
        assert!(rest.trim_ascii().is_empty());
        read
    }

    pub(in crate::stream) fn chunk(&mut self, chunk: &Value) {
        assert!(!self.done);
        if chunk["usage"].is_object() {
            self.usage = Some(chunk["usage"].clone());
        }
        self.marks += usize::from(chunk["millstream"]["continued"] == true);
        let choice = &chunk["choices"][0];
        if choice.is_object() {
            self.text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
            self.roles += usize::from(choice["delta"]["role"].is_string());
            let identity = json!([chunk["id"], chunk["created"], chunk["model"], chunk["system_fingerprint"]]);
            if self.identities.last() != Some(&identity) {
                self.identities.push(identity);
            }
            if let Some(finish) = choice["finish_reason"].as_str() {
                assert_eq!(self.finish.replace(finish.to_owned()), None);
            }
        }
    }
}
