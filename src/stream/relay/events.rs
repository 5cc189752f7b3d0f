//! Reads an event stream: which of its bytes may go out, and what is in them.
//!
//! A whole event leaves as soon as its last byte is in; an incomplete one is kept back (up to a bound) so
//! that a break in its middle can still be told as an error event.

use bytes::{Buf, Bytes, BytesMut};

use super::outbox::Outbox;
use crate::api::endpoint::Ending;
use crate::api::sse::{self, Scanner};
use crate::stream::tap::{Seen, Tap};

/// Bytes at the beginning of an over-long event in which its type is looked for.
const EVENT_HEAD_BYTES: usize = 1024;

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug)]
pub(super) struct Events {
    tap: Tap,
    /// Events passed on.
    count: u64,
    strip_usage: bool,
    hold_bytes_max: usize,
    scanner: Scanner,
    /// The incomplete event at the end of what was read.
    held: BytesMut,
    /// The beginning of an event that was too long to be held and is being passed on in pieces.
    long_event: Option<BytesMut>,
    /// An LF at the beginning of the next bytes is half of a CRLF whose CR was followed by something of ours,
    /// or was removed: it would be a blank line now.
    drop_lf: bool,
    /// The first event was read.
    begun: bool,
    /// The client has got something before the upstream's first event.
    commented: bool,
    /// What the last event that went out lacks of its blank line.
    missing: &'static [u8],
}

impl Events {
    /// `scanner` says how events are framed.
    pub(super) fn new(tap: Tap, scanner: Scanner, strip_usage: bool, hold_bytes_max: usize) -> Self {
        Self {
            tap,
            count: 0,
            strip_usage,
            hold_bytes_max,
            scanner,
            held: BytesMut::new(),
            long_event: None,
            drop_lf: false,
            begun: false,
            commented: false,
            missing: b"",
        }
    }

    pub(super) fn tap(&self) -> &Tap {
        &self.tap
    }

    /// For what is no event stream.
    pub(super) fn tap_mut(&mut self) -> &mut Tap {
        &mut self.tap
    }

    /// Bytes of an incomplete event that are kept back at most.
    pub(super) fn hold_bytes_max(&self) -> usize {
        self.hold_bytes_max
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Goes on from what `next` has read and kept, for a client that may have got comments from here.
    pub(super) fn follow(&mut self, next: Self) {
        let commented = self.commented;
        *self = next;
        self.commented |= commented;
    }

    /// Whether the client has got something before the upstream's first event.
    pub(super) fn has_commented(&self) -> bool {
        self.commented
    }

    /// Whether the incomplete event at the end says something, and lacks nothing but its blank line.
    pub(super) fn holds_whole_event(&self) -> bool {
        self.data_of(&self.held).is_some_and(is_whole) && self.tap.says_something(&self.held)
    }

    /// Whether an event has gone out in part, so that nothing else can be said any more.
    pub(super) fn is_inside_long_event(&self) -> bool {
        self.long_event.is_some()
    }

    /// What has been read goes to `out`, but for the incomplete event at its end. True if there was a token.
    pub(super) fn feed(&mut self, mut data: Bytes, out: &mut Outbox) -> bool {
        if !data.is_empty() && std::mem::take(&mut self.drop_lf) && data[0] == b'\n' {
            self.scanner.event_end(&data.split_to(1));
        }
        if let Some(head) = self.long_event.take() {
            match self.feed_long_event(head, data, out) {
                Some(rest) => data = rest,
                None => return false,
            }
        }
        if data.is_empty() {
            return false;
        }
        let mut token = false;
        match self.scanner.event_end(&data) {
            Some(end) => token = self.feed_events(data, end, out),
            // Nothing but line ends.
            None if self.scanner.between_events() => out.push(data),
            None => self.held.extend_from_slice(&data),
        }
        token | self.let_go_of_long_event(out)
    }

    /// What stands behind the end of the long event, if it ends in `data`.
    fn feed_long_event(&mut self, mut head: BytesMut, mut data: Bytes, out: &mut Outbox) -> Option<Bytes> {
        let end = self.scanner.event_end(&data);
        let room = EVENT_HEAD_BYTES.saturating_sub(head.len());
        head.extend_from_slice(&data[..end.unwrap_or(data.len()).min(room)]);
        let Some(end) = end else {
            self.tap.piece(&data);
            self.long_event = Some(head);
            out.push(data);
            return None;
        };
        let rest = data.split_off(end);
        self.tap.piece(&data);
        let seen = self.tap.pieces_end(&head);
        self.saw(seen);
        out.push(data);
        Some(rest)
    }

    /// `data` continues what is held; the first event in it ends at `first_end`.
    fn feed_events(&mut self, mut data: Bytes, first_end: usize, out: &mut Outbox) -> bool {
        let mut at = first_end;
        if !self.held.is_empty() {
            at += self.held.len();
            self.held.extend_from_slice(&data);
            data = std::mem::take(&mut self.held).freeze();
        }
        let (mut event_start, mut kept_from) = (0, 0);
        if !std::mem::replace(&mut self.begun, true) && self.commented && data.starts_with(BYTE_ORDER_MARK) {
            // It is one only at the beginning of everything.
            kept_from = BYTE_ORDER_MARK.len();
        }
        let mut token = false;
        loop {
            match self.tap.event(&data[event_start..at]) {
                Seen::UsageOnly if self.strip_usage => {
                    // The rest of the last event's line end may stand before it.
                    let line_ends = data[event_start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
                    let start = event_start + line_ends.count();
                    out.push(data.slice(kept_from.min(start)..start));
                    kept_from = at;
                }
                seen => token |= self.saw(seen),
            }
            event_start = at;
            match self.scanner.event_end(&data[at..]) {
                Some(length) => at += length,
                None => break,
            }
        }
        self.drop_lf = kept_from == data.len() && self.scanner.is_after_cr();
        if !self.scanner.between_events() {
            self.held.extend_from_slice(&data[event_start..]);
            data.truncate(event_start);
        }
        // Not a slice of it: the first one of a frame costs an allocation.
        data.advance(kept_from.min(data.len()));
        out.push(data);
        token
    }

    fn saw(&mut self, seen: Seen) -> bool {
        self.count += u64::from(seen != Seen::Nothing);
        matches!(seen, Seen::Token | Seen::UsageOnly)
    }

    /// Passes a held event on in pieces once it is longer than may be held.
    fn let_go_of_long_event(&mut self, out: &mut Outbox) -> bool {
        if self.held.len() <= self.hold_bytes_max {
            return false;
        }
        let piece = std::mem::take(&mut self.held).freeze();
        self.tap.piece(&piece);
        self.long_event = Some(BytesMut::from(&piece[..piece.len().min(EVENT_HEAD_BYTES)]));
        self.begun = true;
        out.push(piece);
        true
    }

    /// The transfer is over. What is held is an event without its blank line: passed on as it is if its data
    /// is whole, since what a client makes of it is the client's business, and dropped if it was cut.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        let rest = std::mem::take(&mut self.held).freeze();
        if !self.data_of(&rest).is_some_and(is_whole) {
            return None;
        }
        let seen = self.tap.event(&rest);
        self.saw(seen);
        let is_kept = seen != Seen::UsageOnly || !self.strip_usage;
        if is_kept {
            self.missing = if rest.ends_with(b"\n") || self.scanner.is_of_lines() { b"\n" } else { b"\n\n" };
        }
        is_kept.then_some(rest)
    }

    /// What an event says.
    fn data_of<'a>(&self, event: &'a [u8]) -> Option<&'a [u8]> {
        if self.scanner.is_of_lines() { Some(event) } else { sse::event(event).data }
    }

    /// Whether nothing is missing of what an event says, though its blank line may be.
    pub(super) fn is_whole(event: &[u8]) -> bool {
        sse::event(event).data.is_some_and(is_whole)
    }

    /// Leaves the incomplete event at the end to somebody else, with the place in the stream: only whole ones are fed
    /// from now on.
    pub(super) fn hand_over(&mut self) -> (BytesMut, Scanner) {
        let scanner = self.scanner;
        if !scanner.between_events() {
            self.scanner = scanner.anew();
        }
        (std::mem::take(&mut self.held), scanner)
    }

    /// The incomplete event at the end of everything.
    pub(super) fn hold(&mut self, rest: BytesMut) {
        self.held = rest;
    }

    /// Another upstream's events follow. Returns what the last one lacks of its end, which must go out before them.
    pub(super) fn end_part(&mut self) -> &'static [u8] {
        self.scanner = self.scanner.anew();
        self.held = BytesMut::new();
        self.drop_lf = false;
        std::mem::take(&mut self.missing)
    }

    /// They begin.
    pub(super) fn begin_part(&mut self, strip_usage: bool) {
        self.strip_usage = strip_usage;
    }

    /// What the last event that went out lacks of its end, and another one would run into.
    pub(super) fn missing(&self) -> &'static [u8] {
        self.missing
    }

    /// A comment, if this is a place for one: between two events. Google's SDKs know no comments, but events without
    /// content. After an `id` field its blank line would be
    /// an event of its own to parsers that take the last id for content (OpenAI's Python SDK does), so it
    /// goes without one then.
    pub(super) fn keep_alive(&mut self) -> Option<Bytes> {
        if self.is_inside_long_event() {
            return None;
        }
        let comment = match self.tap.ending() {
            // A line of JSON has no form that says nothing.
            Ending::Ollama => return None,
            Ending::Gemini => "data: {}\n\n",
            _ if self.tap.has_id() => ": keep-alive\n",
            _ => ": keep-alive\n\n",
        };
        self.drop_lf |= self.held.is_empty() && self.scanner.is_after_cr();
        self.commented = true;
        Some(Bytes::from_static(comment.as_bytes()))
    }
}

/// Whether an event's data was not cut.
fn is_whole(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]" || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
}
