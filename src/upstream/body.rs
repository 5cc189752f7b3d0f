//! A response body that drives its own connection: polling it reads the socket, dropping it closes or resets.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::TRANSFER_ENCODING;
use http::response::Parts;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::cache::Cache;
use super::error::BodyError;
use super::http1::Link;
use super::http2::Stream;
use crate::signal::bell::Bell;

/// What an upstream answers with. Ends with `None` only when the response is complete by its framing (see
/// [`Body::framing`]); after an error it ends too.
///
/// Polled to its end (or until `is_end_stream`), it gives its connection back to the pool. Dropped before,
/// it closes an HTTP/1.1 connection at once, and resets an HTTP/2 stream with `CANCEL`.
///
/// Backpressure: whoever does not poll holds back at most 64 KiB on HTTP/1.1 (and the kernel's receive
/// buffer), and one stream window on HTTP/2.
pub struct Body {
    framing: Framing,
    kind: Kind,
}

/// How the end of a response is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `content-length` over HTTP/1.x.
    Length,
    /// `transfer-encoding: chunked`.
    Chunked,
    /// By the end of an HTTP/1.x connection: a clean end proves nothing, the upstream may have died.
    Close,
    /// By an HTTP/2 flag.
    H2,
    /// There is no body.
    Empty,
}

enum Kind {
    Ended,
    Http1(Http1),
    Http2(Stream),
}

struct Http1 {
    incoming: Incoming,
    link: Option<Box<Link>>,
    bell: Bell,
    cache: Rc<Cache>,
}

type FrameResult = Option<Result<Frame<Bytes>, BodyError>>;

impl Body {
    pub(super) fn http1(head: &Parts, incoming: Incoming, link: Box<Link>, bell: Bell, cache: Rc<Cache>) -> Self {
        let framing = framing(head, &incoming);
        if framing == Framing::Empty {
            cache.put(link);
            return Self { framing, kind: Kind::Ended };
        }
        Self { framing, kind: Kind::Http1(Http1 { incoming, link: Some(link), bell, cache }) }
    }

    pub(super) fn http2(stream: Stream) -> Self {
        if stream.is_end() {
            return Self { framing: Framing::Empty, kind: Kind::Ended };
        }
        Self { framing: Framing::H2, kind: Kind::Http2(stream) }
    }

    /// How the end of this body is known.
    pub fn framing(&self) -> Framing {
        self.framing
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FrameResult> {
        let (frame, ended) = match &mut self.kind {
            Kind::Ended => return Poll::Ready(None),
            Kind::Http1(body) => {
                let frame = ready!(body.poll(cx));
                (frame, body.incoming.is_end_stream())
            }
            Kind::Http2(stream) => {
                let frame = ready!(stream.poll(cx));
                (frame, stream.is_end())
            }
        };
        let last = match &frame {
            Some(Ok(frame)) => ended || frame.is_trailers(),
            Some(Err(_)) | None => true,
        };
        if last {
            // At once, and not at the next poll: a server that knows the length asks no further.
            let kind = mem::replace(&mut self.kind, Kind::Ended);
            if let (Kind::Http1(body), None | Some(Ok(_))) = (kind, &frame) {
                body.finish();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Ended => SizeHint::with_exact(0),
            Kind::Http1(body) => body.incoming.size_hint(),
            Kind::Http2(stream) => stream.left().map(SizeHint::with_exact).unwrap_or_default(),
        }
    }
}

impl Http1 {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<FrameResult> {
        let Self { incoming, link, bell, .. } = self;
        let frame = ready!(bell.poll(cx, |cx| {
            // What is read already comes first, then what the connection can read now.
            if let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) {
                return Poll::Ready(frame);
            }
            if let Some(link) = link {
                link.turn(cx);
            }
            Pin::new(&mut *incoming).poll_frame(cx)
        }));
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
    }

    fn finish(mut self) {
        if let Some(link) = self.link.take() {
            self.cache.put(link);
        }
    }
}

/// hyper has decided already; this repeats the decision from what it left visible.
fn framing(head: &Parts, incoming: &Incoming) -> Framing {
    if incoming.is_end_stream() {
        return Framing::Empty;
    }
    if incoming.size_hint().exact().is_some() {
        return Framing::Length;
    }
    let last = head.headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let coding = last.and_then(|value| value.to_str().ok()).and_then(|value| value.rsplit(',').next());
    match coding {
        Some(coding) if coding.trim().eq_ignore_ascii_case("chunked") => Framing::Chunked,
        _ => Framing::Close,
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = matches!(self.kind, Kind::Ended);
        f.debug_struct("Body").field("framing", &self.framing).field("ended", &ended).finish()
    }
}
