//! An HTTP/2 connection's bytes, with a count of those written (the evidence for whether a request can have
//! left) and of the empty frames among those read.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;
use crate::reactor::Io;

/// [`Io`] that counts. Under TLS it counts plain bytes that rustls has taken, sent or not: an overestimate,
/// which is the safe side.
#[derive(Debug)]
pub(super) struct Wire {
    io: Io,
    written: Written,
    frames: Frames,
}

/// Bytes written so far to one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Written(Rc<Cell<u64>>);

impl Written {
    pub(super) fn bytes(&self) -> u64 {
        self.0.get()
    }

    fn add(&self, written: usize) {
        self.0.set(self.0.get() + written as u64);
    }
}

impl Wire {
    pub(super) fn new(io: Io) -> Self {
        Self { io, written: Written::default(), frames: Frames::default() }
    }

    /// How many empty frames the peer has sent, for as long as the connection lives.
    pub(super) fn empty_frames(&self) -> Rc<Cell<u32>> {
        self.frames.empty()
    }

    pub(super) fn written(&self) -> Written {
        self.written.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.frames.feed(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.written.add(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        self.written.add(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
