//! The response body as the connection sees it: notes when frames are taken and when none is asked for.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::exchange::Exchange;

pin_project_lite::pin_project! {
    /// A response body on its way into hyper.
    #[derive(Debug)]
    pub struct Outbound<B> {
        #[pin]
        body: B,
        // Keeps the exchange in flight until the body is gone.
        exchange: Rc<Exchange>,
    }
}

impl<B> Outbound<B> {
    pub(super) fn new(body: B, exchange: Rc<Exchange>) -> Self {
        Self { body, exchange }
    }

    /// The body, and what keeps its exchange in flight.
    pub(super) fn into_parts(self) -> (B, Rc<Exchange>) {
        (self.body, self.exchange)
    }
}

impl<B: Body<Data = Bytes>> Body for Outbound<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        this.exchange.blocked_since.set(None);
        let frame = ready!(this.body.poll_frame(cx));
        if matches!(frame, Some(Ok(_))) {
            let now = Instant::now();
            this.exchange.blocked_since.set(Some(now));
            this.exchange.link.frame_taken(Some(now));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
