//! A response body that drives its own connection: polling it reads the socket, dropping it closes or resets.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::cache::Cache;
use super::error::BodyError;
use super::http1::Link;
use super::http2::Stream;
use crate::signal::rest::Rest;

/// What an upstream answers with. Ends with `None` only when the response is complete by its framing (see
/// [`Body::framing`]); after an error it ends too.
///
/// Polled to its end (or until `is_end_stream`), it gives its connection back to the pool. Dropped before,
/// it closes an HTTP/1.1 connection at once, and resets an HTTP/2 stream with `CANCEL`.
///
/// Backpressure: whoever does not poll holds back what came in one read with the head on HTTP/1.1 (at most
/// 64 KiB, then the kernel's receive buffer), and one stream window on HTTP/2.
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
    /// With the cache that its connection came from.
    Http1(Box<Link>, Rc<Cache>),
    Http2(Stream),
    #[cfg(test)]
    Scripted(super::script::Rest),
}

type FrameResult = Option<Result<Frame<Bytes>, BodyError>>;

impl Body {
    pub(super) fn http1(framing: Framing, link: Box<Link>, cache: &Rc<Cache>) -> Self {
        if link.is_over() {
            cache.put(link);
            return Self { framing, kind: Kind::Ended };
        }
        Self { framing, kind: Kind::Http1(link, cache.clone()) }
    }

    pub(super) fn http2(stream: Stream) -> Self {
        if stream.is_end() {
            return Self { framing: Framing::Empty, kind: Kind::Ended };
        }
        Self { framing: Framing::H2, kind: Kind::Http2(stream) }
    }

    /// What `rest` brings, for tests of rooms above.
    #[cfg(test)]
    pub(crate) fn scripted(framing: Framing, rest: super::script::Rest) -> Self {
        Self { framing, kind: Kind::Scripted(rest) }
    }

    /// How the end of this body is known.
    pub fn framing(&self) -> Framing {
        self.framing
    }
}

impl Rest for Body {
    fn is_at_rest(&self) -> bool {
        matches!(&self.kind, Kind::Http1(link, _) if link.is_at_rest())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FrameResult> {
        let (frame, ended) = match &mut self.kind {
            Kind::Ended => return Poll::Ready(None),
            Kind::Http1(link, cache) => {
                let frame = ready!(link.poll_frame(cx, &cache.acks));
                (frame, link.is_over())
            }
            Kind::Http2(stream) => {
                let frame = ready!(stream.poll(cx));
                (frame, stream.is_end())
            }
            #[cfg(test)]
            Kind::Scripted(rest) => (ready!(rest.as_mut().poll_frame(cx)), rest.is_end_stream()),
        };
        let last = match &frame {
            Some(Ok(frame)) => ended || frame.is_trailers(),
            Some(Err(_)) | None => true,
        };
        if last {
            // At once, and not at the next poll: a server that knows the length asks no further.
            let kind = mem::replace(&mut self.kind, Kind::Ended);
            if let (Kind::Http1(link, cache), None | Some(Ok(_))) = (kind, &frame) {
                cache.put(link);
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
            Kind::Http1(link, _) => link.left().map(SizeHint::with_exact).unwrap_or_default(),
            Kind::Http2(stream) => stream.left().map(SizeHint::with_exact).unwrap_or_default(),
            #[cfg(test)]
            Kind::Scripted(rest) => rest.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = matches!(self.kind, Kind::Ended);
        f.debug_struct("Body").field("framing", &self.framing).field("ended", &ended).finish()
    }
}
