//! Another target goes on where an upstream has died: see `stream::continuation` for what that takes. Only routes that have
//! opted in pay for it.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use tokio::time::Instant;

use super::Relay;
use super::last::Last;
use super::line::{Death, Line, Stopped};
use super::source::Source;
use crate::api::prefill::Prefill;
use crate::error::{Error, Kind};
use crate::signal::rest::Rest;
use crate::stream::continuation::Transcript;
use crate::telemetry::EndReason;
use crate::units::UpstreamId;

/// Finds who goes on with an answer.
pub trait Successors<U> {
    /// Asks another target to go on behind what was `said`. The one before has `died` in this way; `None`: it lives, but
    /// what it sends does not fit. Returns `None` when there is nobody to ask.
    fn next(&mut self, said: &Transcript, died: Option<EndReason>) -> Option<PendingSuccessor<U>>;
}

/// An answer that goes on with another one, still awaited. An error means that nobody is left.
pub type PendingSuccessor<U> = Pin<Box<dyn Future<Output = Result<Box<Successor<U>>, Error>>>>;

/// An answer that goes on with another one.
#[derive(Debug)]
pub struct Successor<U> {
    /// The answer, committed to; [unheard](Relay::unheard), and with its usage chunk.
    pub relay: Box<Relay<U>>,
    /// Who answers.
    pub upstream: UpstreamId,
    /// How it was asked.
    pub style: Prefill,
    /// Whether the usage chunk that it sends was not asked for by the client.
    pub strip_usage: bool,
}

impl<U> Relay<U> {
    /// On a route that continues what breaks off: `successors` may be asked to go on with this answer, of which nothing
    /// has gone out yet. Without any it can't be continued, and that is only counted when it would have to be.
    pub fn continue_by(&mut self, successors: Option<Box<dyn Successors<U>>>) {
        if !self.course.streamed {
            return;
        }
        let successors = successors.filter(|_| !self.events.is_inside_long_event());
        let recorder = Rc::clone(&self.recorder);
        let mut line = Line::new(successors, self.events.hold_bytes_max(), recorder);
        line.begin(&self.out.peek(usize::MAX), &mut self.events);
        if matches!(self.last, Last::Ended) && line.ended(&mut self.events, &mut self.out).is_err() {
            self.last = stopped();
        }
        self.line = Some(Box::new(line));
    }

    /// Leaves it to another relay to tell of chunks and first tokens: the one that goes on with this answer.
    #[must_use]
    pub fn unheard(mut self) -> Self {
        self.course.upstream = None;
        self
    }
}

impl<U> Relay<U>
where
    U: Body<Data = Bytes> + Rest + Unpin,
    U::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// The source is gone. `None`: another answer is awaited here; else what the client is told, behind what goes out.
    pub(super) fn go_on(&mut self, error: Error, reason: EndReason) -> Option<(Error, EndReason)> {
        let Some(mut line) = self.line.take() else { return Some((error, reason)) };
        match line.succeed(error, reason) {
            Ok(pending) => {
                self.line = Some(line);
                self.source = Source::Succeeding(pending);
                self.trailers = None;
                self.silent = false;
                self.timers.upstream_spoke();
                self.out.push(Bytes::from_static(self.events.end_part()));
                None
            }
            Err(Death { error, reason, event }) => {
                if let Some(event) = event {
                    self.events.feed(event, &mut self.out);
                    self.count(Instant::now());
                }
                Some((error, reason))
            }
        }
    }

    /// Goes on with the answer that was awaited.
    pub(super) fn follow(&mut self, successor: Successor<U>) {
        let Successor { relay, upstream, style, strip_usage } = successor;
        let mut next = *relay;
        let mut read = BytesMut::new();
        while let Some(piece) = next.out.pop() {
            read.extend_from_slice(&piece);
        }
        let is_stream = next.course.streamed && !next.events.is_inside_long_event();
        read.extend_from_slice(&next.events.hand_over().0);
        self.framed = next.framed;
        self.trailers = next.trailers;
        self.source = next.source;
        self.course.upstream = Some(upstream);
        self.last_read = None;
        self.events.begin_part(strip_usage);
        let Some(line) = &mut self.line else { return };
        line.follow(style);
        let fed =
            if is_stream { line.feed(read.freeze(), &mut self.events, &mut self.out) } else { line.refuse() };
        if fed.is_err() {
            self.last = stopped();
            return;
        }
        self.last = next.last;
        if matches!(self.last, Last::Ended) {
            self.source_ended();
        }
    }

    /// Data of an event stream. True if there was a token.
    pub(super) fn feed(&mut self, data: Bytes) -> bool {
        let Some(line) = &mut self.line else { return self.events.feed(data, &mut self.out) };
        let fed = line.feed(data, &mut self.events, &mut self.out);
        fed.unwrap_or_else(|Stopped| {
            self.last = stopped();
            false
        })
    }

    /// The upstream has ended its transfer.
    pub(super) fn source_ended(&mut self) {
        self.last = Last::Ended;
        if let Some(line) = &mut self.line
            && line.ended(&mut self.events, &mut self.out).is_err()
        {
            self.last = stopped();
        }
    }
}

fn stopped() -> Last {
    Last::broken(Error::new(Kind::StreamTruncated, "the upstream failed in the midst of its answer"))
}
