//! One HTTP/1.1 connection of the mock: request in, answer out.

use std::io::Write;

use memchr::memmem;

use crate::answer::{Answer, Next, Sink};
use crate::wire::{DONE, Event, Marks, Wish, put_hex};

/// Bytes of a request; more is not one of ours.
const REQUEST_BYTES_MAX: usize = 1 << 20;

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
    transfer-encoding: chunked\r\n\r\n";

/// State of one connection.
#[derive(Default)]
pub(crate) struct Exchange {
    input: Vec<u8>,
    /// Bytes that the socket has not taken yet.
    pub(crate) output: Vec<u8>,
    /// What is being answered.
    pub(crate) answer: Option<Answer>,
}

impl Exchange {
    /// Takes bytes in; `false` if they are no request of ours.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> bool {
        self.input.extend_from_slice(bytes);
        if self.answer.is_some() {
            return self.input.len() < REQUEST_BYTES_MAX;
        }
        let Some(head) = memmem::find(&self.input, b"\r\n\r\n").map(|at| at + 4) else {
            return self.input.len() < REQUEST_BYTES_MAX;
        };
        let Some(length) = content_length(&self.input[..head]) else {
            return false;
        };
        if self.input.len() < head + length {
            return head + length < REQUEST_BYTES_MAX;
        }
        self.answer = Wish::find(&self.input[head..head + length]).map(Answer::new);
        self.input.drain(..head + length);
        self.answer.is_some()
    }

    /// Appends to the output what is due at `now`.
    pub(crate) fn produce(&mut self, event: &Event, now: u64) -> Next {
        let Some(answer) = self.answer.as_mut() else {
            return Next::Never;
        };
        if !self.output.is_empty() {
            // The socket is full: whoever waits for room calls again.
            return Next::More;
        }
        let next = answer.produce(event, now, &mut Chunked(&mut self.output));
        if matches!(next, Next::Complete) {
            self.answer = None;
        }
        next
    }
}

/// The transfer coding: a chunk for each event.
struct Chunked<'a>(&'a mut Vec<u8>);

impl Sink for Chunked<'_> {
    fn stream_head(&mut self) {
        self.0.extend_from_slice(STREAM_HEAD);
    }

    fn event(&mut self, event: &Event, marks: Marks) {
        put_hex(event.len(), self.0);
        event.put(marks, self.0);
        self.0.extend_from_slice(b"\r\n");
    }

    fn done(&mut self) {
        put_hex(DONE.len(), self.0);
        self.0.extend_from_slice(DONE);
        self.0.extend_from_slice(b"\r\n0\r\n\r\n");
    }

    fn whole(&mut self, body: &str) {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
        write!(self.0, "{head} {}\r\n\r\n{body}", body.len()).expect("a vector takes every write");
    }
}

/// What the head of a request says of the length of its body.
pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    let head = str::from_utf8(head).ok()?;
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}
