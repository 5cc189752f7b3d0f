//! One request and its answer, as the connection sees it.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::framing::Length;
use super::link::{Link, Peer};
use crate::reactor::load::StreamGuard;
use crate::telemetry::EndReason;

/// An exchange in flight: counted on its connection and on its worker until it is dropped, which is when
/// both the service's future and the response body are gone.
#[derive(Debug)]
pub struct Exchange {
    pub(super) link: Rc<Link>,
    began: Instant,
    /// Why the connection cut it off, if it did.
    cut: Cell<Option<EndReason>>,
    /// HTTP/2: when a frame was handed over after which no more was asked for.
    pub(super) blocked_since: Cell<Option<Instant>>,
    /// The request's head said its length in two ways.
    is_ambiguous: Cell<bool>,
    /// Where the request ends is known without a look into its body.
    may_be_followed: Cell<bool>,
    /// The end of the request's body has been read.
    is_read: Cell<bool>,
    _load: StreamGuard,
}

impl Exchange {
    pub(super) fn new(link: &Rc<Link>) -> Rc<Self> {
        link.exchange_begins();
        Rc::new(Self {
            link: Rc::clone(link),
            began: Instant::now(),
            cut: Cell::new(None),
            blocked_since: Cell::new(None),
            is_ambiguous: Cell::new(false),
            may_be_followed: Cell::new(false),
            is_read: Cell::new(false),
            _load: link.load.stream(),
        })
    }

    /// For the tests of rooms above: on a connection of its own, which nobody runs.
    #[cfg(test)]
    pub(crate) fn for_tests(recorder: &Rc<crate::telemetry::Recorder>) -> Rc<Self> {
        use crate::reactor::load::{Load, Loads};
        let load = Load::new(Loads::new(1), 0);
        Self::new(&Link::new(Peer::Unix, load.newcomer(), load, Rc::clone(recorder)))
    }

    /// Who asks.
    pub fn peer(&self) -> Peer {
        self.link.peer
    }

    /// When the request's head was complete.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Whether the request's head said its length in two ways.
    pub fn has_ambiguous_framing(&self) -> bool {
        self.is_ambiguous.get()
    }

    /// HTTP/1.1: hyper has called with a body of this length. Ties the request to what was read as its head.
    /// With `is_last` no other may follow.
    pub(super) fn framed(&self, length: Length, is_last: bool) {
        self.is_ambiguous.set(self.link.call_begins(length));
        self.may_be_followed.set(matches!(length, Length::Exact(_)) && !is_last);
    }

    /// HTTP/1.1: whether another request may follow on the connection: the end of this one is known and read.
    pub(super) fn may_be_followed(&self) -> bool {
        self.is_read() && self.may_be_followed.get()
    }

    /// Whether the end of the request's body has been read.
    pub(super) fn is_read(&self) -> bool {
        self.is_read.get()
    }

    /// Exchanges in flight on this worker, this one included.
    pub fn in_flight_here(&self) -> usize {
        self.link.load.streams()
    }

    /// Why the response body was dropped before its end.
    pub fn departure(&self) -> EndReason {
        self.cut.get().or_else(|| self.link.why_cut()).unwrap_or(EndReason::ClientCancelled)
    }

    pub(super) fn cut(&self, reason: EndReason) {
        self.cut.set(Some(reason));
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.link.exchange_ends();
    }
}

/// A request's body, together with the exchange that it belongs to: a field, so that no layer can lose it.
#[derive(Debug)]
pub struct Inbound {
    incoming: Incoming,
    exchange: Rc<Exchange>,
}

impl Inbound {
    pub(super) fn new(incoming: Incoming, exchange: Rc<Exchange>) -> Self {
        exchange.is_read.set(incoming.is_end_stream());
        Self { incoming, exchange }
    }

    /// The exchange.
    pub fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        self.exchange.is_read.set(frame.is_none() || self.incoming.is_end_stream());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
