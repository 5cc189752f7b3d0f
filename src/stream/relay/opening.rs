//! The commit point: what is read of an answer before anything of it goes to the client.
//!
//! Until then another upstream can be asked, and nobody will know. After the first token, or what stands for it,
//! this answer is the client's, whatever becomes of it.

use std::error::Error as StdError;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use tokio::time::Instant;

use super::Relay;
use super::events::BYTE_ORDER_MARK;
use super::last::Last;
use super::source::{Read, Source};
use crate::error::Error;
use crate::signal::rest::Rest;
use crate::telemetry::EndReason;

/// What an answer has shown.
#[derive(Debug)]
pub enum Opening {
    /// A token, a whole answer, or as much as may be held back. Polled as a body it gives what was held.
    Committed,
    /// An error as the first event. Polled as a body it passes that on.
    Refused,
    /// It broke off, or ended without having said anything.
    Broken(Error),
}

impl<U> Relay<U>
where
    U: Body<Data = Bytes> + Rest + Unpin,
    U::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Reads ahead until it is known what the answer is worth, and keeps what it reads, up to about
    /// `held_bytes_max` and what one read brings.
    ///
    /// An event stream shows it with its first token; an answer that is only of use as a whole, with its end; of
    /// another one nothing is read. No clock runs here but that of silence, where the first token has none.
    ///
    /// # Cancel safety
    /// It may be given up and polled again; dropping the relay closes the exchange.
    pub fn poll_opening(&mut self, cx: &mut Context<'_>, held_bytes_max: usize) -> Poll<Opening> {
        if !self.course.streamed && !self.whole {
            return Poll::Ready(Opening::Committed);
        }
        self.held_bytes_max = Some(held_bytes_max);
        self.silent = false;
        if matches!(self.last, Last::Nothing) {
            self.pull(cx);
        }
        let mut opening = self.opening(held_bytes_max);
        if opening.is_none() && self.silent && self.timers.poll_idle(cx, Instant::now()).is_ready() {
            self.source = Source::Gone;
            opening = Some(Opening::Broken(Last::idle_error()));
        }
        if opening.is_some() {
            self.held_bytes_max = None;
        }
        // Pending, it is woken by the source, or has woken itself after a turn.
        opening.map_or(Poll::Pending, Poll::Ready)
    }

    fn opening(&mut self, held_bytes_max: usize) -> Option<Opening> {
        let tap = self.events.tap();
        if self.course.streamed {
            if self.is_refused() {
                return Some(Opening::Refused);
            }
            let has_spoken = self.course.first_token.is_some() || tap.last_word().is_some();
            if has_spoken || self.events.is_inside_long_event() {
                return Some(Opening::Committed);
            }
        }
        let is_whole = match &self.last {
            Last::Ended if !self.course.streamed => true,
            Last::Ended => tap.is_complete(self.framed) || self.events.holds_whole_event(),
            Last::Nothing => self.out.len() >= held_bytes_max,
            _ => false,
        };
        if is_whole {
            return Some(Opening::Committed);
        }
        match std::mem::replace(&mut self.last, Last::Nothing) {
            Last::Nothing => None,
            Last::Broken(error, _) => Some(Opening::Broken(error)),
            _ => Some(Opening::Broken(Last::truncated_error())),
        }
    }

    /// What is held back, at most this much of its beginning: what an error says.
    pub fn held(&self, bytes_max: usize) -> Vec<u8> {
        self.out.peek(bytes_max)
    }

    /// Nothing more goes into what is held or about to be sent.
    pub(super) fn is_full(&self) -> bool {
        match self.held_bytes_max {
            Some(bytes_max) => self.out.len() >= bytes_max || self.course.first_token.is_some(),
            None => self.out.is_full(),
        }
    }

    /// Whether the answer failed before it had begun, and nobody has seen it.
    pub(super) fn is_refused(&self) -> bool {
        self.held_bytes_max.is_some()
            && self.course.first_token.is_none()
            && self.events.tap().last_word() == Some(EndReason::UpstreamError)
    }

    /// Goes on with the answer that was awaited, from where `relay` has come to.
    pub(super) fn adopt(&mut self, mut relay: Self) {
        self.course.upstream = relay.course.upstream;
        self.framed = relay.framed;
        self.last_read = relay.last_read;
        self.counted = relay.counted;
        std::mem::swap(&mut self.phase, &mut relay.phase);
        if !relay.course.streamed {
            // Not an event stream, though the client was promised one.
            let mut text = BytesMut::new();
            while let Some(piece) = relay.out.pop() {
                text.extend_from_slice(&piece);
            }
            match relay.source {
                Source::Body(body) => self.source = Source::Stray(body, text),
                _ => self.take(Read::Stray(text.freeze())),
            }
            return;
        }
        self.source = relay.source;
        self.line = relay.line;
        self.trailers = relay.trailers;
        self.last = relay.last;
        self.course.first_token = relay.course.first_token;
        if !relay.timers.waits_for_first_token() {
            self.timers.first_token_seen();
        }
        // A byte order mark is one only at the beginning of everything.
        let mut commented = self.events.has_commented();
        while let Some(mut piece) = relay.out.pop() {
            if std::mem::take(&mut commented) && piece.starts_with(BYTE_ORDER_MARK) {
                piece.advance(BYTE_ORDER_MARK.len());
            }
            self.out.push(piece);
        }
        self.events.follow(relay.events);
    }
}
