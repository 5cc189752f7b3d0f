//! `POST /v1/completions`: the older surface without messages.

use std::fmt;

use bytes::BytesMut;
use serde_json::Value;

use super::ask::{Ask, Reply};
use super::body::{Events, put, put_string};
use super::respond::{Birth, Refusal};

/// A legacy completion, decided before its first byte.
pub(super) struct Completion {
    /// The request.
    pub(super) ask: Ask,
    replies: Vec<Reply>,
    /// What the answer and each of its chunks begin with, up to the list of choices.
    head: BytesMut,
    include_usage: bool,
}

impl Completion {
    /// Decides the answer to `body`.
    pub(super) fn new(body: &Value, seed: u64) -> Result<Self, Refusal> {
        let ask = Ask::completion(body)?;
        let replies = (0..ask.choices).map(|choice| ask.reply(seed, choice)).collect();
        let birth = Birth::now();
        let mut head = BytesMut::new();
        put!(&mut head, "{{\"id\":\"{}\",\"object\":\"text_completion\",", birth.id("cmpl-"));
        put!(&mut head, "\"created\":{},\"model\":", birth.seconds());
        put_string(&mut head, &ask.model);
        put!(&mut head, ",\"system_fingerprint\":\"fp_millstream_demo\",\"choices\":");
        let include_usage = body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
        Ok(Self { ask, replies, head, include_usage })
    }

    /// The number of tokens of the longest choice.
    pub(super) fn longest(&self) -> usize {
        self.replies.iter().map(|reply| reply.tokens.len()).max().unwrap_or(0)
    }

    /// The answer in one piece.
    pub(super) fn whole(&self) -> BytesMut {
        let mut out = self.head.clone();
        for (index, reply) in self.replies.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"[" } else { b"," });
            put_choice(index, reply.tokens.text(), Some(reply.finish()), &mut out);
        }
        put!(&mut out, "],\"usage\":");
        self.put_usage(&mut out);
        put!(&mut out, "}}");
        out
    }

    fn put_usage(&self, out: &mut BytesMut) {
        let prompt = self.ask.prompt_tokens();
        let completion: usize = self.replies.iter().map(|reply| reply.tokens.len()).sum();
        put!(out, "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},");
        put!(out, "\"total_tokens\":{}}}", prompt + completion);
    }

    fn put_chunk(&self, index: usize, text: &str, finish: Option<&str>, out: &mut BytesMut) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"[");
        put_choice(index, text, finish, out);
        out.extend_from_slice(b"]");
        if self.include_usage {
            out.extend_from_slice(b",\"usage\":null");
        }
        out.extend_from_slice(b"}\n\n");
    }
}

fn put_choice(index: usize, text: &str, finish: Option<&str>, out: &mut BytesMut) {
    put!(out, "{{\"text\":");
    put_string(out, text);
    put!(out, ",\"index\":{index},\"logprobs\":null,\"finish_reason\":");
    match finish {
        Some(reason) => put!(out, "\"{reason}\"}}"),
        None => put!(out, "null}}"),
    }
}

impl Events for Completion {
    fn steps(&self) -> usize {
        self.longest()
    }

    fn open(&mut self, _out: &mut BytesMut) {}

    fn step(&mut self, step: usize, out: &mut BytesMut) {
        for (index, reply) in self.replies.iter().enumerate() {
            if let Some(token) = reply.tokens.get(step) {
                self.put_chunk(index, token, None, out);
            }
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        for (index, reply) in self.replies.iter().enumerate() {
            self.put_chunk(index, "", Some(reply.finish()), out);
        }
        if self.include_usage {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"[],\"usage\":");
            self.put_usage(out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}
