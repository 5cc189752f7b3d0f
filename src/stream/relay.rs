//! The relay: a response body that pulls its upstream's body when it is polled itself.
//!
//! No task and no channel per stream: whoever writes to the client polls this, this polls the upstream's
//! connection, and a client that stops reading stops both. A whole event leaves as soon as its last byte is
//! in; an incomplete one is kept back (up to a bound) so that a break in its middle can still be told as an
//! error event, which costs its reader nothing: no client acts on an event before its blank line.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use super::end::{Abort, End};
use super::phase::PhaseGuard;
use super::sse::Scanner;
use super::tap::{Seen, Tap};
use super::timers::{Clocks, Due, Timers};
use crate::api::endpoint::Ending;
use crate::api::error as dialect;
use crate::error::{Error, Kind};
use crate::signal::{Phase, Watch};
use crate::telemetry::{EndReason, Recorder};
use crate::units::UpstreamId;

/// Frames that are ready at once are merged into one up to this size: one chunk header and one write for
/// many small events in a burst. A frame at least this large is passed on by itself, uncopied.
const MERGE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of an upstream's error answer that are read when the response head has already been sent.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes at the beginning of an over-long event in which its type is looked for.
const EVENT_HEAD_BYTES: usize = 1024;

/// What a relay needs to know of its exchange.
#[derive(Debug)]
pub struct Settings {
    /// The stream's clocks, all counted from `start`.
    pub clocks: Clocks,
    /// When the request came.
    pub start: Instant,
    /// How the end of the answer is recognised, and which dialect errors are told in.
    pub ending: Ending,
    /// The request's `n`.
    pub choices: u32,
    /// Remove the chunk that carries nothing but the usage: the client did not ask for it.
    pub strip_usage: bool,
    /// Bytes of an incomplete event that are kept back at most.
    pub event_hold_bytes_max: usize,
    /// For error events.
    pub request_id: Rc<str>,
    /// Ends the stream at the drain deadline.
    pub recall: Watch<Phase>,
    /// Where chunks and first tokens are counted.
    pub recorder: Rc<Recorder>,
    /// Counts the stream in its phase.
    pub phase: PhaseGuard,
}

/// An upstream's answer, its head already read.
#[derive(Debug)]
pub struct Answer<U> {
    /// Who answers.
    pub upstream: UpstreamId,
    /// The body is an event stream that we can read (not compressed).
    pub events: bool,
    /// The transfer has an end mark of its own (length, chunks or HTTP/2), so that a cut can't pass for an end.
    pub framed: bool,
    /// The body.
    pub body: U,
}

/// An answer that is still awaited, for a client that has been sent its response head already.
pub type Pending<U> = Pin<Box<dyn Future<Output = Result<Answer<U>, Error>>>>;

enum Source<U> {
    /// The head was sent early; the upstream has not answered.
    Awaited(Pending<U>),
    /// An event stream.
    Events(U),
    /// Anything else: passed on as it is.
    Opaque(U),
    /// Not an event stream, though the client was promised one: its text becomes one event.
    Stray(U, BytesMut),
    /// Over, one way or the other.
    Gone,
}

/// What is left to do when the source is gone.
enum Last {
    /// Nothing is known yet: the source is alive.
    Nothing,
    /// The upstream ended its transfer.
    Ended,
    /// It can't go on, and the client must be told.
    Broken(Error, EndReason),
    /// Tell the client's connection to break off. The flag: it has had its turn to flush.
    Abort(EndReason, bool),
    /// All is said.
    Over,
}

/// The response body of a proxied exchange. See the module's documentation.
pub struct Relay<U> {
    settings: Settings,
    source: Source<U>,
    framed: bool,
    scanner: Scanner,
    /// The incomplete event at the end of what was read.
    held: BytesMut,
    /// The beginning of an event that was too long to be held and is being passed on in pieces.
    long_event: Option<Bytes>,
    tap: Tap,
    timers: Timers,
    trailers: Option<HeaderMap>,
    last: Last,
    end: End,
    last_read: Option<Instant>,
    /// Armed no earlier than needed and never put off: the clocks only move on, so a wake-up that comes too
    /// early is cheaper than a timer reset per chunk.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<U> Relay<U>
where
    U: Body<Data = Bytes> + Unpin,
    U::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Relays an answer whose head has been read.
    pub fn new(answer: Answer<U>, mut settings: Settings) -> Self {
        if !answer.events {
            // Comments have no place in something else, and the first byte of a download is no token.
            settings.clocks.keep_alive = None;
            settings.clocks.first_token = None;
        }
        let mut relay = Self::with_source(Source::Gone, settings);
        relay.end.streamed = answer.events;
        relay.source = if answer.events { Source::Events(answer.body) } else { Source::Opaque(answer.body) };
        relay.end.upstream = Some(answer.upstream);
        relay.framed = answer.framed;
        relay
    }

    /// Waits for an answer on behalf of a client that has been told to expect an event stream.
    pub fn awaiting(pending: Pending<U>, settings: Settings) -> Self {
        let mut relay = Self::with_source(Source::Awaited(pending), settings);
        relay.end.streamed = true;
        relay
    }

    fn with_source(source: Source<U>, settings: Settings) -> Self {
        Self {
            source,
            framed: true,
            scanner: Scanner::default(),
            held: BytesMut::new(),
            long_event: None,
            tap: Tap::new(settings.ending, settings.choices),
            timers: Timers::new(settings.clocks, settings.start),
            trailers: None,
            last: Last::Nothing,
            end: End::default(),
            last_read: None,
            sleep: None,
            settings,
        }
    }
}

impl<U> Relay<U> {
    /// How it ended, as far as it has.
    pub fn end(&self) -> End {
        End { usage: self.tap.usage(), finish_reason: self.tap.finish_reason().map(Box::from), ..self.end.clone() }
    }
}

impl<U> Body for Relay<U>
where
    U: Body<Data = Bytes> + Unpin,
    U::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let this = &mut *self;
        if matches!(this.last, Last::Nothing) && this.settings.recall.poll(cx) == Phase::End {
            this.last = Last::Broken(Error::new(Kind::Drained, "the gateway is stopping"), EndReason::Drain);
        }
        loop {
            if matches!(this.last, Last::Nothing)
                && let Some(bytes) = this.pull(cx)
            {
                return this.send(bytes);
            }
            if !matches!(this.last, Last::Nothing) {
                return this.finish(cx);
            }
            match this.poll_timers(cx) {
                Poll::Ready(Some(comment)) => return this.send(comment),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.last, Last::Over)
    }
}

impl<U> Relay<U>
where
    U: Body<Data = Bytes> + Unpin,
    U::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Takes from the source what is ready, up to a bound. `None` when nothing can be sent (yet).
    fn pull(&mut self, cx: &mut Context<'_>) -> Option<Bytes> {
        let mut out = Merged::default();
        let events_before = self.end.events;
        while out.len() < MERGE_BYTES_MAX {
            match self.poll_source(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(frame))) => self.take(frame, &mut out),
                Poll::Ready(Some(Err(error))) => {
                    self.last = Last::Broken(error, EndReason::UpstreamError);
                    break;
                }
                Poll::Ready(None) => {
                    self.last = Last::Ended;
                    break;
                }
            }
        }
        let now = Instant::now();
        if matches!(self.last, Last::Nothing) {
            self.timers.upstream_silent(now);
        } else {
            // Back to its pool, or closed, before anything else is done.
            self.source = Source::Gone;
        }
        self.count(now, events_before);
        if out.is_empty() {
            return None;
        }
        self.timers.sent(now);
        Some(out.into_bytes())
    }

    /// One frame of the source, whatever it is; an awaited answer turns into one on the way.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            match &mut self.source {
                Source::Awaited(pending) => match ready!(pending.as_mut().poll(cx)) {
                    Ok(answer) => {
                        self.end.upstream = Some(answer.upstream);
                        self.framed = answer.framed;
                        self.source = if answer.events {
                            Source::Events(answer.body)
                        } else {
                            Source::Stray(answer.body, BytesMut::new())
                        };
                    }
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                Source::Events(body) | Source::Opaque(body) => {
                    return Pin::new(body).poll_frame(cx).map_err(|error| {
                        Error::new(Kind::StreamTruncated, "the upstream broke the transfer off").with_source(error)
                    });
                }
                Source::Stray(body, text) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        if let Some(data) = frame.data_ref() {
                            let room = ERROR_BODY_BYTES_MAX.saturating_sub(text.len());
                            text.extend_from_slice(&data[..data.len().min(room)]);
                        }
                    }
                    Some(Err(_)) | None => {
                        let event = self.tap.stray(text).then(|| stray_event(text));
                        self.source = Source::Gone;
                        return Poll::Ready(Some(event.map(Frame::data).ok_or_else(|| {
                            Error::new(
                                Kind::UpstreamBroken,
                                "the upstream answered with something else than a stream",
                            )
                        })));
                    }
                },
                Source::Gone => return Poll::Ready(None),
            }
        }
    }

    /// What has been read goes out, but for the incomplete event at its end.
    fn take(&mut self, frame: Frame<Bytes>, out: &mut Merged) {
        self.timers.upstream_spoke();
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                return;
            }
        };
        match self.source {
            Source::Events(_) => self.take_events(data, out),
            Source::Opaque(_) => {
                self.first_token(Instant::now());
                self.tap.piece(&data);
                out.push(data);
            }
            Source::Stray(..) | Source::Awaited(_) | Source::Gone => out.push(data),
        }
    }

    fn take_events(&mut self, mut data: Bytes, out: &mut Merged) {
        if let Some(head) = self.long_event.take() {
            let Some(end) = self.scanner.event_end(&data) else {
                self.tap.piece(&data);
                self.long_event = Some(head);
                return out.push(data);
            };
            let rest = data.split_off(end);
            self.tap.piece(&data);
            self.tap.pieces_end(&head);
            self.end.events += 1;
            out.push(data);
            data = rest;
        }
        let Some(first_end) = self.scanner.event_end(&data) else {
            self.held.extend_from_slice(&data);
            return self.let_go_of_long_event(out);
        };
        let mut at = first_end;
        if !self.held.is_empty() {
            at += self.held.len();
            self.held.extend_from_slice(&data);
            data = std::mem::take(&mut self.held).freeze();
        }
        // `data` starts with an event; its first ends at `at`.
        let (mut event_start, mut kept_from) = (0, 0);
        loop {
            if !self.see(&data[event_start..at]) {
                out.push(data.slice(kept_from..event_start));
                kept_from = at;
            }
            event_start = at;
            match self.scanner.event_end(&data[at..]) {
                Some(length) => at += length,
                None => break,
            }
        }
        self.held.extend_from_slice(&data[event_start..]);
        data.truncate(event_start);
        out.push(data.slice(kept_from..));
        self.let_go_of_long_event(out);
    }

    /// Passes a held event on in pieces once it is longer than may be held.
    fn let_go_of_long_event(&mut self, out: &mut Merged) {
        if self.held.len() > self.settings.event_hold_bytes_max {
            let piece = std::mem::take(&mut self.held).freeze();
            self.tap.piece(&piece);
            self.first_token(Instant::now());
            self.long_event = Some(Bytes::copy_from_slice(&piece[..piece.len().min(EVENT_HEAD_BYTES)]));
            out.push(piece);
        }
    }

    /// Looks at one whole event. False when it is not for the client.
    fn see(&mut self, event: &[u8]) -> bool {
        match self.tap.event(event) {
            Seen::Nothing => true,
            Seen::Preamble => {
                self.end.events += 1;
                true
            }
            Seen::UsageOnly if self.settings.strip_usage => false,
            Seen::UsageOnly | Seen::Token => {
                self.end.events += 1;
                if self.end.first_token.is_none() {
                    self.first_token(Instant::now());
                }
                true
            }
        }
    }

    fn first_token(&mut self, now: Instant) {
        if self.end.first_token.is_some() {
            return;
        }
        self.timers.first_token_seen();
        let after = now.saturating_duration_since(self.settings.start);
        self.end.first_token = Some(after);
        self.settings.phase.streaming();
        if let (true, Some(upstream)) = (self.end.streamed, self.end.upstream) {
            self.settings.recorder.first_token(upstream, after);
        }
    }

    fn count(&mut self, now: Instant, events_before: u64) {
        let (events, Some(upstream)) = (self.end.events - events_before, self.end.upstream) else { return };
        if events == 0 {
            return;
        }
        self.settings.recorder.chunks(upstream, events);
        if let Some(last) = self.last_read.replace(now) {
            self.settings.recorder.chunk_gap(upstream, now.saturating_duration_since(last));
        }
    }

    /// Waits for the next clock. A comment to send, or `None` when something else is to be done now.
    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let Some((at, due)) = self.timers.next() else { return Poll::Pending };
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if sleep.deadline() > at {
                sleep.as_mut().reset(at);
            }
            ready!(sleep.as_mut().poll(cx));
            let now = Instant::now();
            if now < at {
                // It was set for an earlier clock that has moved on since.
                sleep.as_mut().reset(at);
                continue;
            }
            let (kind, detail, reason) = match due {
                Due::KeepAlive => {
                    self.timers.sent(now);
                    if self.long_event.is_some() {
                        continue;
                    }
                    return Poll::Ready(Some(self.keep_alive()));
                }
                Due::FirstToken => (
                    Kind::UpstreamTimeout,
                    "the upstream sent no first token in time",
                    EndReason::FirstTokenTimeout,
                ),
                Due::Idle => (Kind::UpstreamTimeout, "the upstream fell silent", EndReason::IdleTimeout),
                Due::Total => (Kind::UpstreamTimeout, "the answer took too long", EndReason::TotalTimeout),
            };
            self.last = Last::Broken(Error::new(kind, detail), reason);
            return Poll::Ready(None);
        }
    }

    /// A comment, between two events. After an `id` field its blank line would be an event of its own to
    /// parsers that take the last id for content (OpenAI's Python SDK does), so it goes without one then.
    fn keep_alive(&self) -> Bytes {
        Bytes::from_static(if self.tap.has_id() { b": keep-alive\n" } else { b": keep-alive\n\n" })
    }

    /// The source is done: says how, in the way that fits.
    fn finish(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        loop {
            match std::mem::replace(&mut self.last, Last::Over) {
                Last::Nothing | Last::Over => return Poll::Ready(None),
                Last::Ended => {
                    if let Some(step) = self.finish_ended() {
                        return step;
                    }
                }
                Last::Broken(error, reason) => {
                    self.source = Source::Gone;
                    if self.tap.is_over() {
                        // The dialect's last word was said: nothing is missing.
                        self.end.reason = Some(EndReason::Completed);
                        continue;
                    }
                    self.end.reason = Some(reason);
                    tracing::debug!(request_id = %self.settings.request_id, ?reason, %error, "stream broken off");
                    if !self.end.streamed || self.long_event.is_some() {
                        self.last = Last::Abort(reason, false);
                        continue;
                    }
                    return self.send(dialect::event(
                        &error,
                        &self.settings.request_id,
                        self.settings.ending == Ending::Responses,
                        self.tap.next_sequence_number(),
                    ));
                }
                Last::Abort(reason, true) => return Poll::Ready(Some(Err(Abort(reason)))),
                Last::Abort(reason, false) => {
                    // The connection flushes what it has when a body is pending, and drops it when a body fails.
                    self.last = Last::Abort(reason, true);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// After a clean end of the transfer: the rest, and whether it is a success.
    fn finish_ended(&mut self) -> Option<Poll<Option<Result<Frame<Bytes>, Abort>>>> {
        let rest = std::mem::take(&mut self.held).freeze();
        if !self.end.streamed {
            self.tap.pieces_end(b"");
            self.end.reason = Some(EndReason::Completed);
            return self.take_trailers();
        }
        if !rest.is_empty() {
            self.see(&rest);
        }
        if !self.tap.is_complete(self.framed) {
            let detail = "the upstream ended the stream before its end";
            self.last = Last::Broken(Error::new(Kind::StreamTruncated, detail), EndReason::UpstreamTruncated);
            return None;
        }
        let failed = self.tap.is_failed() && !self.tap.is_over();
        self.end.reason = Some(if failed { EndReason::UpstreamError } else { EndReason::Completed });
        if !rest.is_empty() {
            return Some(self.send(rest));
        }
        self.take_trailers()
    }

    fn take_trailers(&mut self) -> Option<Poll<Option<Result<Frame<Bytes>, Abort>>>> {
        self.trailers.take().map(|trailers| Poll::Ready(Some(Ok(Frame::trailers(trailers)))))
    }

    fn send(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        self.end.bytes += bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl<U> fmt::Debug for Relay<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("end", &self.end).finish_non_exhaustive()
    }
}

/// Bytes to send, copied together only when they come in more than one piece.
#[derive(Default)]
struct Merged {
    first: Bytes,
    all: BytesMut,
}

impl Merged {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, bytes: Bytes) {
        if self.is_empty() {
            self.first = bytes;
        } else if !bytes.is_empty() {
            if self.all.is_empty() {
                self.all.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.all.extend_from_slice(&bytes);
        }
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

/// An upstream's whole answer as one event, for a client that has been promised events.
fn stray_event(text: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(text.len() + 16);
    for line in text.split(|&byte| byte == b'\n') {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        event.extend_from_slice(b"\n");
    }
    event.extend_from_slice(b"\n");
    event.freeze()
}

#[cfg(test)]
mod tests;
