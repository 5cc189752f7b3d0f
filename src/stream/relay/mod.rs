//! The relay: a response body that pulls its upstream's body when it is polled itself.
//!
//! No task and no channel per stream: whoever writes to the client polls this, this polls the upstream's
//! connection, and a client that stops reading stops both. A whole event leaves as soon as its last byte is
//! in; an incomplete one is kept back (up to a bound) so that a break in its middle can still be told as an
//! error event, which costs its reader nothing: no client acts on an event before its blank line.

mod events;
mod last;
mod line;
mod opening;
mod outbox;
mod settings;
mod source;
mod succession;

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::Instant;

use self::events::Events;
use self::last::Last;
use self::line::Line;
pub use self::opening::Opening;
use self::outbox::Outbox;
pub use self::settings::{Answer, Settings};
use self::source::{Read, Source, stray_event};
pub use self::succession::{PendingSuccessor, Successor, Successors};
use super::end::{Abort, End};
use super::phase::PhaseGuard;
use super::tap::Tap;
use super::timers::{Due, Timers};
use crate::api::endpoint::Ending;
use crate::api::error as dialect;
use crate::api::sse::Scanner;
use crate::error::{Error, Kind};
use crate::signal::rest::Rest;
use crate::signal::trail;
use crate::signal::{Phase, Watch};
use crate::telemetry::{EndReason, Recorder};
use crate::units::UpstreamId;

/// Frames taken from the source before everybody else of this core gets a turn.
const FRAMES_PER_TURN_MAX: usize = 64;

/// What a body gives when it is polled and has something.
type Step = Option<Result<Frame<Bytes>, Abort>>;

/// An answer that is still awaited, for a client that has been sent its response head already.
pub type Pending<U> = Pin<Box<dyn Future<Output = Result<Box<Relay<U>>, Error>>>>;

/// The response body of a proxied exchange. See the module's documentation.
///
/// A chunk of one stream in thousands finds nothing of it in the processor's caches, so what is needed no more once the
/// relay runs is not kept.
pub struct Relay<U> {
    start: Instant,
    ending: Ending,
    request_id: Rc<str>,
    recall: Watch<Phase>,
    recorder: Rc<Recorder>,
    phase: PhaseGuard,
    source: Source<U>,
    framed: bool,
    whole: bool,
    /// Bytes that may be held back now, while nothing has gone to the client: see [`Self::poll_opening`].
    held_bytes_max: Option<usize>,
    events: Events,
    /// Who goes on when the upstream dies, on routes that want that.
    line: Option<Box<Line<U>>>,
    /// What goes out next. Whatever happens to the source, this goes first.
    out: Outbox,
    timers: Timers,
    /// On the heap: hardly any answer has them.
    trailers: Option<Box<HeaderMap>>,
    last: Last,
    course: Course,
    last_read: Option<Instant>,
    /// Events that the metrics know of.
    counted: u64,
    /// The source was asked in this poll, and was pending.
    silent: bool,
    /// See [`Rest`].
    at_rest: bool,
}

/// How an answer has gone so far.
#[derive(Debug, Default)]
struct Course {
    reason: Option<EndReason>,
    streamed: bool,
    upstream: Option<UpstreamId>,
    bytes: u64,
    first_token: Option<Duration>,
}

impl<U> Relay<U>
where
    U: Body<Data = Bytes> + Rest + Unpin,
    U::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Relays an answer whose head has been read.
    pub fn new(answer: Answer<U>, mut settings: Settings) -> Self {
        if !answer.events {
            // Comments have no place in something else, and the first byte of a download is no token.
            settings.clocks.keep_alive = None;
            settings.clocks.first_token = None;
        }
        let mut relay = Self::with_source(Source::Body(answer.body), settings);
        relay.course.streamed = answer.events;
        relay.course.upstream = Some(answer.upstream);
        relay.framed = answer.framed;
        relay.whole = answer.whole;
        relay
    }

    /// Waits for an answer on behalf of a client that has been told to expect an event stream.
    ///
    /// Who answers has clocks of its own for its first token and its silence before it, so this has none.
    pub fn awaiting(pending: Pending<U>, mut settings: Settings) -> Self {
        settings.clocks.first_token = None;
        let mut relay = Self::with_source(Source::Awaited(pending), settings);
        relay.course.streamed = true;
        relay
    }

    fn with_source(source: Source<U>, mut settings: Settings) -> Self {
        if settings.ending.is_of_lines() {
            // Nothing can be said there that says nothing.
            settings.clocks.keep_alive = None;
        }
        let tap = Tap::new(settings.ending, settings.choices);
        let scanner = if settings.ending.is_of_lines() { Scanner::of_lines() } else { Scanner::default() };
        Self {
            start: settings.start,
            ending: settings.ending,
            request_id: settings.request_id,
            recall: settings.recall,
            recorder: settings.recorder,
            phase: settings.phase,
            source,
            framed: true,
            whole: false,
            held_bytes_max: None,
            events: Events::new(tap, scanner, settings.strip_usage, settings.event_hold_bytes_max),
            line: None,
            out: Outbox::default(),
            timers: Timers::new(settings.clocks, settings.start, settings.asked),
            trailers: None,
            last: Last::Nothing,
            course: Course::default(),
            last_read: None,
            counted: 0,
            silent: false,
            at_rest: false,
        }
    }
}

impl<U> Relay<U> {
    /// Whether it relays an event stream.
    pub fn is_stream(&self) -> bool {
        self.course.streamed
    }

    /// How it ended, as far as it has.
    pub fn end(&self) -> End {
        let tap = self.events.tap();
        End {
            reason: self.course.reason.or_else(|| self.reason_if_left_now()),
            events: self.events.count(),
            usage: tap.usage(),
            finish_reason: tap.finish_reason().map(Box::from),
            streamed: self.course.streamed,
            upstream: self.course.upstream,
            bytes: self.course.bytes,
            first_token: self.course.first_token,
        }
    }

    /// A client may leave as soon as it has read the last word; and what had gone wrong before it left is the
    /// reason, not its leaving.
    fn reason_if_left_now(&self) -> Option<EndReason> {
        let tap = self.events.tap();
        tap.last_word().or_else(|| match self.last {
            Last::Broken(_, reason) => Some(reason),
            Last::Ended if self.course.streamed && !tap.is_complete(self.framed) => {
                Some(EndReason::UpstreamTruncated)
            }
            Last::Ended => Some(EndReason::Completed),
            _ => None,
        })
    }
}

impl<U> Rest for Relay<U> {
    fn is_at_rest(&self) -> bool {
        self.at_rest
    }

    fn came_at(&self) -> Option<Instant> {
        // Whoever is at rest has looked at the clock when it found so, and sent what it had.
        self.at_rest.then(|| self.timers.last_sent())
    }
}

impl<U> Body for Relay<U>
where
    U: Body<Data = Bytes> + Rest + Unpin,
    U::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Step> {
        let this = &mut *self;
        trail::step(this);
        (this.silent, this.at_rest) = (false, false);
        if matches!(this.last, Last::Nothing) && this.recall.poll(cx) == Phase::End {
            this.last = Last::broken(Error::new(Kind::Drained, "the gateway is stopping"));
        }
        loop {
            let mut now = None;
            if matches!(this.last, Last::Nothing) && this.out.is_empty() {
                now = this.pull(cx);
            }
            if let Some(bytes) = this.out.pop() {
                let nothing_more = this.silent && this.out.is_empty() && matches!(this.last, Last::Nothing);
                let now = now.unwrap_or_else(Instant::now);
                this.at_rest = nothing_more && this.timers.poll(cx, now).is_pending();
                return this.send(bytes);
            }
            if !matches!(this.last, Last::Nothing) {
                match this.finish(cx) {
                    Some(step) => return step,
                    None => continue,
                }
            }
            match this.poll_timers(cx) {
                Poll::Ready(Some(comment)) => return this.send(comment),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.last, Last::Over) && self.out.is_empty()
    }
}

impl<U> Relay<U>
where
    U: Body<Data = Bytes> + Rest + Unpin,
    U::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Takes from the source what is ready, up to a bound. Ends with something to send, with `last` set, or
    /// with the task to be woken. The time of day, if it was looked up.
    fn pull(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let mut turns = 0;
        while !self.is_full() && matches!(self.last, Last::Nothing) {
            turns += 1;
            if turns > FRAMES_PER_TURN_MAX {
                cx.waker().wake_by_ref();
                break;
            }
            match self.source.poll(cx) {
                Poll::Pending => {
                    self.silent = true;
                    break;
                }
                Poll::Ready(Some(Ok(read))) => {
                    self.silent = self.source.is_at_rest();
                    self.take(read);
                    if self.silent {
                        break;
                    }
                }
                Poll::Ready(Some(Err(error))) => self.last = Last::broken(error),
                Poll::Ready(None) => self.source_ended(),
            }
        }
        if self.silent && turns == 1 && self.timers.is_upstream_silent() {
            // Polled in vain: nothing has changed since the last time.
            return None;
        }
        let now = Instant::now();
        if matches!(self.last, Last::Nothing)
            && let Some(due) = self.timers.overdue(now)
        {
            self.last = Last::broken_by(due);
        }
        if !matches!(self.last, Last::Nothing) {
            // Back to its pool, or closed, before anything else is done.
            self.source = Source::Gone;
        } else if self.silent && !matches!(self.source, Source::Awaited(_) | Source::Succeeding(_)) {
            // Who is only awaited has clocks of its own.
            self.timers.upstream_silent(now);
        }
        self.count(now);
        if !self.out.is_empty() {
            self.timers.sent(now);
            if self.events.tap().last_word().is_some() {
                self.timers.last_word_said();
            }
        }
        Some(now)
    }

    fn take(&mut self, read: Read<U>) {
        self.timers.upstream_spoke();
        match read {
            Read::Answered(relay) => self.adopt(*relay),
            Read::Succeeded(successor) => self.follow(*successor),
            Read::Data(data) if self.course.streamed => {
                // What fails before it has begun has no first token.
                if self.feed(data) && !self.is_refused() {
                    self.first_token();
                }
            }
            Read::Data(data) => {
                self.first_token();
                self.events.tap_mut().piece(&data);
                self.out.push(data);
            }
            Read::Trailers(trailers) => self.trailers = Some(Box::new(trailers)),
            Read::Part => {}
            Read::Stray(text) if self.events.tap_mut().stray(&text) => {
                self.out.push(stray_event(&text, self.ending));
            }
            Read::Stray(_) => self.last = Last::stray(),
        }
    }

    fn first_token(&mut self) {
        if !self.timers.waits_for_first_token() {
            return;
        }
        self.timers.first_token_seen();
        self.phase.streaming();
        if self.course.streamed {
            let after = self.start.elapsed();
            self.course.first_token = Some(after);
            if let Some(upstream) = self.course.upstream {
                self.recorder.first_token(upstream, after);
            }
        }
    }

    fn count(&mut self, now: Instant) {
        let events = self.events.count() - std::mem::replace(&mut self.counted, self.events.count());
        let Some(upstream) = self.course.upstream.filter(|_| events > 0) else { return };
        self.recorder.chunks(upstream, events);
        if let Some(last) = self.last_read.replace(now) {
            self.recorder.chunk_gap(upstream, now.saturating_duration_since(last));
        }
    }

    /// Waits for the next clock. A comment to send, or `None` when `last` has been set.
    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let (now, due) = ready!(self.timers.poll(cx, Instant::now()));
            if due != Due::KeepAlive {
                self.last = Last::broken_by(due);
                return Poll::Ready(None);
            }
            self.timers.sent(now);
            if let Some(comment) = self.events.keep_alive() {
                return Poll::Ready(Some(comment));
            }
        }
    }

    /// The source is done: says how, in the way that fits. `None`: there is another source, or more to send before.
    fn finish(&mut self, cx: &mut Context<'_>) -> Option<Poll<Step>> {
        loop {
            match std::mem::replace(&mut self.last, Last::Over) {
                Last::Nothing | Last::Over => return Some(Poll::Ready(None)),
                Last::Ended => {
                    if let Some(step) = self.finish_ended() {
                        return Some(step);
                    }
                }
                Last::Broken(mut error, mut reason) => {
                    self.source = Source::Gone;
                    let last_word = self.events.tap().last_word();
                    if last_word.is_none() && self.line.is_some() {
                        self.last = Last::Nothing;
                        (error, reason) = self.go_on(error, reason)?;
                        if !self.out.is_empty() {
                            self.last = Last::Broken(error, reason);
                            return None;
                        }
                    }
                    self.last = Last::Over;
                    self.course.reason = last_word.or(Some(reason));
                    if last_word.is_some() {
                        continue;
                    }
                    tracing::debug!(request_id = %self.request_id, ?reason, %error, "stream broken off");
                    if !self.course.streamed || self.events.is_inside_long_event() {
                        self.last = Last::Abort(reason, false);
                        continue;
                    }
                    let event = self.farewell(&error);
                    return Some(match self.events.missing() {
                        b"" => self.send(event),
                        missing => self.send([missing, &event].concat().into()),
                    });
                }
                Last::Abort(reason, true) => return Some(Poll::Ready(Some(Err(Abort(reason))))),
                Last::Abort(reason, false) => {
                    // The connection flushes what it has when a body is pending, and drops it when a body fails.
                    self.last = Last::Abort(reason, true);
                    cx.waker().wake_by_ref();
                    return Some(Poll::Pending);
                }
            }
        }
    }

    /// The last event. What follows it waits in `out`, because it is to be a chunk of its own.
    fn farewell(&mut self, error: &Error) -> Bytes {
        let (ending, request_id) = (self.ending, &self.request_id);
        self.out.push(dialect::behind_event(error, ending, request_id).unwrap_or_default());
        dialect::event(error, ending, request_id, self.events.tap().next_sequence_number())
    }

    /// After a clean end of the transfer: the rest, and whether it is a success.
    fn finish_ended(&mut self) -> Option<Poll<Step>> {
        if !self.course.streamed {
            self.events.tap_mut().pieces_end(b"");
            self.course.reason = Some(EndReason::Completed);
            return self.take_trailers();
        }
        if let Some(rest) = self.events.rest() {
            self.first_token();
            self.count(Instant::now());
            self.last = Last::Ended;
            return Some(self.send(rest));
        }
        let last_word = self.events.tap().last_word();
        let is_cut = self.events.is_inside_long_event() || !self.events.tap().is_complete(self.framed);
        if last_word.is_none() && is_cut {
            self.last = Last::truncated();
            return None;
        }
        self.course.reason = last_word.or(Some(EndReason::Completed));
        self.take_trailers()
    }

    fn take_trailers(&mut self) -> Option<Poll<Step>> {
        self.trailers.take().map(|trailers| Poll::Ready(Some(Ok(Frame::trailers(*trailers)))))
    }

    fn send(&mut self, bytes: Bytes) -> Poll<Step> {
        self.course.bytes += bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl<U> fmt::Debug for Relay<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("course", &self.course).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod continue_tests;
#[cfg(test)]
mod opening_tests;
#[cfg(test)]
mod tests;
