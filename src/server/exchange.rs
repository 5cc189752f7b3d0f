//! One request and its answer, as the connection sees it.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

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
            _load: link.load.stream(),
        })
    }

    /// Who asks.
    pub fn peer(&self) -> Peer {
        self.link.peer
    }

    /// When the request's head was complete.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Whether the request's head said its length in two ways. True once.
    pub fn take_ambiguous_framing(&self) -> bool {
        self.link.take_ambiguous()
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
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
