//! A client connection's bytes on their way to and from hyper, and what the watchdog learns from them.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::HeadWatch;
use super::link::Link;
use crate::reactor::Io;

/// The socket below hyper.
#[derive(Debug)]
pub(super) struct Socket {
    io: Io,
    link: Rc<Link>,
    /// `None` on HTTP/2, where a frame has its length and nothing is ambiguous.
    head: Option<HeadWatch>,
    /// Whether the last bytes read belonged to an exchange.
    in_exchange: bool,
}

impl Socket {
    pub(super) fn new(io: Io, link: Rc<Link>, http1: bool) -> Self {
        Self { io, link, head: http1.then(HeadWatch::default), in_exchange: false }
    }

    fn bytes_read(&mut self, bytes: &[u8]) {
        let Some(head) = &mut self.head else { return };
        if self.link.in_flight() > 0 {
            self.in_exchange = true;
            return;
        }
        if std::mem::replace(&mut self.in_exchange, false) || self.link.head_since().is_none() {
            head.reset();
        }
        self.link.head_bytes();
        if head.is_ambiguous(bytes) {
            self.link.head_is_ambiguous();
        }
    }

    fn written(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Pending => self.link.stalled(),
            Poll::Ready(Ok(bytes)) if *bytes > 0 => self.link.progressed(),
            Poll::Ready(_) => {}
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let result = Pin::new(&mut this.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            this.bytes_read(&buf.filled()[before..]);
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.written(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(cx);
        if result.is_pending() {
            // TLS: records wait for the socket.
            self.link.stalled();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
