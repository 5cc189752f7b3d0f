//! What the mock answers to a wish, event by event, whatever the protocol.

use crate::wire::{DONE, Event, Marks, Wish, unary_mark};

/// Where an answer is written, in the framing of its protocol.
pub(crate) trait Sink {
    /// The head of a stream.
    fn stream_head(&mut self);
    /// One event.
    fn event(&mut self, event: &Event, marks: Marks);
    /// The last word and the end of a stream.
    fn done(&mut self);
    /// A whole answer.
    fn whole(&mut self, body: &str);
}

/// What an answer waits for.
pub(crate) enum Next {
    /// Nothing: it is complete.
    Complete,
    /// Nothing that will come.
    Never,
    /// Nothing: there is more to write at once.
    More,
    /// A moment.
    At(u64),
}

/// State of one answer.
pub(crate) struct Answer {
    wish: Wish,
    sequence: u64,
    /// When the next event is due.
    due: u64,
}

impl Answer {
    /// The answer to `wish`, not begun.
    pub(crate) fn new(wish: Wish) -> Self {
        Self { wish, sequence: 0, due: 0 }
    }

    /// Which stream it is.
    pub(crate) fn id(&self) -> u64 {
        self.wish.id()
    }

    /// Bytes that one call of [`Self::produce`] may write at most, less framing.
    pub(crate) fn bytes_max(&self, event: &Event) -> usize {
        match self.wish {
            Wish::Unary { .. } => 1024,
            Wish::Flood { batch, .. } => usize::try_from(batch).unwrap_or(0) * event.len() + DONE.len(),
            Wish::Paced { .. } | Wish::Silent { .. } => event.len() + DONE.len(),
        }
    }

    /// Writes what is due at `now`.
    pub(crate) fn produce(&mut self, event: &Event, now: u64, sink: &mut impl Sink) -> Next {
        match self.wish {
            Wish::Unary { id, turn } => {
                sink.whole(&unary(id, turn));
                Next::Complete
            }
            Wish::Silent { id } => {
                if self.sequence == 0 {
                    self.put(event, id, now, sink);
                }
                Next::Never
            }
            Wish::Flood { count, batch, id } => {
                for _ in 0..batch.min(count - self.sequence) {
                    self.put(event, id, now, sink);
                }
                self.after(count, Next::More, sink)
            }
            Wish::Paced { rate, count, id } => {
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
                self.put(event, id, now, sink);
                self.after(count, Next::At(self.due), sink)
            }
        }
    }

    fn put(&mut self, event: &Event, id: u64, now: u64, sink: &mut impl Sink) {
        if self.sequence == 0 {
            sink.stream_head();
        }
        sink.event(event, Marks { id, sequence: self.sequence, at: now });
        self.sequence += 1;
    }

    fn after(&self, count: u64, next: Next, sink: &mut impl Sink) -> Next {
        if self.sequence < count {
            return next;
        }
        sink.done();
        Next::Complete
    }
}

fn unary(id: u64, turn: u64) -> String {
    format!(
        "{{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1767225600,\"model\":\"bench\",{},\
         \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{}\"}},\
         \"logprobs\":null,\"finish_reason\":\"stop\"}}],\
         \"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":30,\"total_tokens\":39}}}}",
        unary_mark(id, turn),
        "water over the wheel ".repeat(10),
    )
}
