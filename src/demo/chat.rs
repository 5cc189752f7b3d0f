//! `POST /v1/chat/completions`: the whole answer and its chunks.

use std::fmt;

use bytes::BytesMut;
use serde_json::Value;

use super::ask::{Ask, Reply};
use super::body::{Events, put, put_string};
use super::respond::{Birth, Refusal};

/// A chat completion, decided entirely before its first byte.
pub(super) struct Chat {
    /// The request.
    pub(super) ask: Ask,
    replies: Vec<Reply>,
    birth: Birth,
    /// What each chunk begins with, up to the list of choices.
    head: String,
    include_usage: bool,
}

impl Chat {
    /// Decides the answer to `body`.
    pub(super) fn new(body: &Value, seed: u64) -> Result<Self, Refusal> {
        let ask = Ask::chat(body)?;
        let replies = (0..ask.choices).map(|choice| ask.reply(seed, choice)).collect();
        let include_usage = body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
        let birth = Birth::now();
        let mut chat = Self { ask, replies, birth, head: String::new(), include_usage };
        let mut head = BytesMut::new();
        chat.put_identity("chat.completion.chunk", &mut head);
        chat.head = format!("data: {}", String::from_utf8_lossy(&head));
        Ok(chat)
    }

    /// Everything up to the value of `choices`.
    fn put_identity(&self, object: &str, out: &mut BytesMut) {
        put!(out, "{{\"id\":\"{}\",\"object\":\"{object}\",", self.birth.id("chatcmpl-"));
        put!(out, "\"created\":{},\"model\":", self.birth.seconds());
        put_string(out, &self.ask.model);
        put!(out, ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_millstream_demo\",\"choices\":");
    }

    fn put_usage(&self, out: &mut BytesMut) {
        let prompt = self.ask.prompt_tokens();
        let completion: usize = self.replies.iter().map(|reply| reply.tokens.len()).sum();
        put!(
            out,
            "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\"total_tokens\":{},\
             \"prompt_tokens_details\":{{\"cached_tokens\":0,\"audio_tokens\":0}},\
             \"completion_tokens_details\":{{\"reasoning_tokens\":0,\"audio_tokens\":0,\
             \"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}}}",
            prompt + completion
        );
    }

    /// The answer in one piece.
    pub(super) fn whole(&self) -> BytesMut {
        let mut out = BytesMut::new();
        self.put_identity("chat.completion", &mut out);
        for (index, reply) in self.replies.iter().enumerate() {
            let comma = if index == 0 { '[' } else { ',' };
            put!(&mut out, "{comma}{{\"index\":{index},\"message\":{{\"role\":\"assistant\",\"content\":");
            match &reply.call {
                None => put_string(&mut out, reply.tokens.text()),
                Some(name) => {
                    put!(&mut out, "null,\"tool_calls\":[{{\"id\":\"{}\",", self.call_id(index));
                    put!(&mut out, "\"type\":\"function\",\"function\":{{\"name\":");
                    put_string(&mut out, name);
                    put!(&mut out, ",\"arguments\":");
                    put_string(&mut out, reply.tokens.text());
                    put!(&mut out, "}}}}]");
                }
            }
            put!(&mut out, ",\"refusal\":null,\"annotations\":[]}},\"logprobs\":null,");
            put!(&mut out, "\"finish_reason\":\"{}\"}}", reply.finish());
        }
        put!(&mut out, "],\"usage\":");
        self.put_usage(&mut out);
        put!(&mut out, "}}");
        out
    }

    fn call_id(&self, index: usize) -> String {
        self.birth.id(&format!("call_{index}"))
    }

    /// The number of tokens of the longest choice, which is how long the answer takes.
    pub(super) fn longest(&self) -> usize {
        self.replies.iter().map(|reply| reply.tokens.len()).max().unwrap_or(0)
    }

    /// Opens a chunk of choice `index`, up to the value of `delta`.
    fn begin(&self, index: usize, out: &mut BytesMut) {
        out.extend_from_slice(self.head.as_bytes());
        put!(out, "[{{\"index\":{index},\"delta\":");
    }

    /// Closes a chunk after the value of `delta`.
    fn end(&self, finish: Option<&str>, out: &mut BytesMut) {
        out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":");
        match finish {
            Some(reason) => put!(out, "\"{reason}\"}}]"),
            None => out.extend_from_slice(b"null}]"),
        }
        if self.include_usage {
            out.extend_from_slice(b",\"usage\":null");
        }
        out.extend_from_slice(b"}\n\n");
    }
}

impl Events for Chat {
    fn steps(&self) -> usize {
        self.longest()
    }

    fn open(&mut self, out: &mut BytesMut) {
        for (index, reply) in self.replies.iter().enumerate() {
            self.begin(index, out);
            match &reply.call {
                None => out.extend_from_slice(b"{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}"),
                Some(name) => {
                    put!(out, "{{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{{\"index\":0,");
                    put!(out, "\"id\":\"{}\",\"type\":\"function\",\"function\":{{\"name\":", self.call_id(index));
                    put_string(out, name);
                    put!(out, ",\"arguments\":\"\"}}}}],\"refusal\":null}}");
                }
            }
            self.end(None, out);
        }
    }

    fn step(&mut self, step: usize, out: &mut BytesMut) {
        for (index, reply) in self.replies.iter().enumerate() {
            let Some(token) = reply.tokens.get(step) else {
                continue;
            };
            self.begin(index, out);
            if reply.call.is_some() {
                put!(out, "{{\"tool_calls\":[{{\"index\":0,\"function\":{{\"arguments\":");
                put_string(out, token);
                put!(out, "}}}}]}}");
            } else {
                put!(out, "{{\"content\":");
                put_string(out, token);
                put!(out, "}}");
            }
            self.end(None, out);
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        for (index, reply) in self.replies.iter().enumerate() {
            self.begin(index, out);
            put!(out, "{{}}");
            self.end(Some(reply.finish()), out);
        }
        if self.include_usage {
            out.extend_from_slice(self.head.as_bytes());
            put!(out, "[],\"usage\":");
            self.put_usage(out);
            put!(out, "}}\n\n");
        }
        put!(out, "data: [DONE]\n\n");
    }
}
