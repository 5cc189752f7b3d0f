//! One connection of the mock: request in, wish out, events by schedule.

use std::io::Write;

use memchr::memmem;

use crate::wire::{DONE, Event, Marks, Wish, put_hex, unary_mark};

/// Bytes of a request; more is not one of ours.
const REQUEST_BYTES_MAX: usize = 1 << 20;

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
    transfer-encoding: chunked\r\n\r\n";

/// What a connection waits for after a write.
pub(crate) enum Next {
    /// The next request.
    Nothing,
    /// Nothing: there is more to write at once.
    More,
    /// A moment.
    At(u64),
}

/// State of one connection.
#[derive(Default)]
pub(crate) struct Exchange {
    input: Vec<u8>,
    /// Bytes that the socket has not taken yet.
    pub(crate) output: Vec<u8>,
    wish: Option<Wish>,
    sequence: u64,
    /// When the next event is due.
    due: u64,
}

impl Exchange {
    /// Takes bytes in; `false` if they are no request of ours.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> bool {
        self.input.extend_from_slice(bytes);
        if self.wish.is_some() {
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
        self.wish = Wish::find(&self.input[head..head + length]);
        self.input.drain(..head + length);
        self.sequence = 0;
        self.due = 0;
        self.wish.is_some()
    }

    /// Appends to the output what is due at `now`.
    pub(crate) fn produce(&mut self, event: &Event, now: u64) -> Next {
        let Some(wish) = self.wish else {
            return Next::Nothing;
        };
        if !self.output.is_empty() {
            // The socket is full: whoever waits for room calls again.
            return Next::More;
        }
        match wish {
            Wish::Unary { id, turn } => {
                self.put_unary(id, turn);
                Next::Nothing
            }
            Wish::Silent { id } => {
                if self.sequence == 0 {
                    self.put_event(event, id, now);
                }
                Next::Nothing
            }
            Wish::Flood { count, batch, id } => {
                for _ in 0..batch.min(count - self.sequence) {
                    self.put_event(event, id, now);
                }
                if self.sequence == count {
                    self.put_end();
                    return Next::Nothing;
                }
                Next::More
            }
            Wish::Paced { rate, count, id } => self.put_paced(event, (rate, count, id), now),
        }
    }

    fn put_paced(&mut self, event: &Event, (rate, count, id): (f64, u64, u64), now: u64) -> Next {
        if now < self.due {
            // Woken by something else, such as room in the socket.
            return Next::At(self.due);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive period")]
        let period = (1e9 / rate) as u64;
        if self.sequence == 0 {
            // Half to one and a half periods: spreads streams that began together.
            self.due = now + period / 2 + period * (id.wrapping_mul(2_654_435_769) % 1024) / 1024;
        } else {
            self.due += period;
        }
        self.put_event(event, id, now);
        if self.sequence == count {
            self.put_end();
            return Next::Nothing;
        }
        Next::At(self.due)
    }

    fn put_event(&mut self, event: &Event, id: u64, now: u64) {
        if self.sequence == 0 {
            self.output.extend_from_slice(STREAM_HEAD);
        }
        event.put(Marks { id, sequence: self.sequence, at: now }, &mut self.output);
        self.sequence += 1;
    }

    fn put_end(&mut self) {
        put_hex(DONE.len(), &mut self.output);
        self.output.extend_from_slice(DONE);
        self.output.extend_from_slice(b"\r\n0\r\n\r\n");
        self.wish = None;
    }

    fn put_unary(&mut self, id: u64, turn: u64) {
        let body = format!(
            "{{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1767225600,\"model\":\"bench\",{},\
             \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{}\"}},\
             \"logprobs\":null,\"finish_reason\":\"stop\"}}],\
             \"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":30,\"total_tokens\":39}}}}",
            unary_mark(id, turn),
            "water over the wheel ".repeat(10),
        );
        write!(
            self.output,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("a vector takes every write");
        self.wish = None;
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = str::from_utf8(head).ok()?;
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}
