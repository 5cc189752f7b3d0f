//! A client connection's bytes on their way to and from hyper, and what the watchdog learns from them.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{HeadWatch, Length, Place};
use super::link::{Head, Link};
use crate::reactor::Io;
use crate::signal::bell::Bell;

/// Bytes taken from a client that sends its next request early. The rest stays in the kernel.
const EARLY_BYTES_MAX: usize = 512;

/// Reads in a row of a connection that lingers, and the bytes of each.
const LINGER_READS_MAX: usize = 16;
const LINGER_STEP_BYTES: usize = 8 * 1024;

/// The socket below hyper.
#[derive(Debug)]
pub(super) struct Socket {
    io: Io,
    link: Rc<Link>,
    /// `None` on HTTP/2, where a frame has its length and nothing is ambiguous, and in a tunnel.
    place: Option<Place>,
    /// Read, but of a message whose turn has not come.
    early: Bytes,
    /// Rings when there is something to read while a request is being answered: hyper looks for the end of
    /// the connection at each chunk.
    bell: Bell,
}

impl Socket {
    pub(super) fn new(io: Io, link: Rc<Link>, http1: bool) -> Self {
        let place = http1.then(|| Place::Head(HeadWatch::default()));
        io.conn().batch_writes(http1);
        Self { io, link, place, early: Bytes::new(), bell: Bell::default() }
    }

    /// From here on bytes are nobody's messages. Those that came early are read first.
    pub(super) fn become_raw(&mut self) {
        self.place = None;
        self.batch_writes(false);
    }

    /// See [`Conn::batch_writes`](crate::reactor::Conn::batch_writes).
    pub(super) fn batch_writes(&self, batched: bool) {
        self.io.conn().batch_writes(batched);
    }

    /// Where the next byte belongs, after what has happened above since the last read.
    fn turn(&self, place: Place) -> io::Result<Place> {
        let place = match place {
            Place::HeadOver => match self.link.take_called() {
                Some(Length::Exact(length)) => Place::Body(length),
                Some(Length::Chunked) => Place::Chunks,
                // hyper reads on where we saw the head's end: of two readings one is wrong.
                None => return Err(io::ErrorKind::InvalidData.into()),
            },
            place => place,
        };
        Ok(match place {
            Place::Body(0) if self.link.in_flight() == 0 => Place::Head(HeadWatch::default()),
            place => place,
        })
    }

    /// Gives hyper what belongs to the message at hand, and keeps the rest.
    fn poll_read_message(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        place: Place,
    ) -> Poll<io::Result<()>> {
        if let Place::Body(0) = place {
            return self.poll_read_early(cx);
        }
        let before = buf.filled().len();
        ready!(self.poll_read_next(cx, buf))?;
        let bytes = &buf.filled()[before..];
        let (end, place) = match place {
            Place::Head(mut watch) => {
                if !bytes.is_empty() {
                    self.link.head_bytes();
                }
                match watch.end(bytes) {
                    Some(end) => {
                        self.link.head_over(Head { is_ambiguous: watch.is_ambiguous() });
                        (end, Place::HeadOver)
                    }
                    None => (bytes.len(), Place::Head(watch)),
                }
            }
            Place::Body(left) => {
                let end = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                (end, Place::Body(left - end as u64))
            }
            place => (bytes.len(), place),
        };
        if end < bytes.len() {
            self.early = match &bytes[end..] {
                // The body of a request that came with its head.
                beyond if self.early.is_empty() => Bytes::copy_from_slice(beyond),
                beyond => [beyond, &*self.early].concat().into(),
            };
            buf.set_filled(before + end);
        }
        self.place = Some(place);
        Poll::Ready(Ok(()))
    }

    fn may_be_sending(&self) -> bool {
        let in_head = matches!(&self.place, Some(Place::Head(watch)) if watch.has_begun());
        self.place.is_some() && (in_head || self.link.is_unread())
    }

    /// What came early, and then the socket.
    fn poll_read_next(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            // From here on the socket wakes the reader itself.
            self.bell.disturb();
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let len = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..len]);
        self.early.advance(len);
        if self.early.is_empty() {
            // An empty rest would keep the whole of it.
            self.early = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Looks for the end of the connection while a request is being answered. Ready at that alone: what else
    /// comes is kept until its turn.
    fn poll_read_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.wait_for_turn(cx.waker());
        if !self.early.is_empty() {
            return Poll::Pending;
        }
        let mut part = [0; EARLY_BYTES_MAX];
        let mut part = ReadBuf::new(&mut part);
        let Self { io, bell, .. } = self;
        ready!(bell.poll(cx, |cx| Pin::new(&mut *io).poll_read(cx, &mut part)))?;
        if part.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.early = Bytes::copy_from_slice(part.filled());
        Poll::Pending
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
        let Some(place) = this.place else { return this.poll_read_next(cx, buf) };
        let place = this.turn(place)?;
        this.place = Some(place);
        this.poll_read_message(cx, buf, place)
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

    /// Ends our direction. Closing a socket with unread bytes in it resets the connection, which can take the
    /// answer away before the client has read it; so what it still sends is read and thrown away, until it has
    /// seen our end or the watchdog has enough.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.link.lingers_since().is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            if !self.may_be_sending() {
                return Poll::Ready(Ok(()));
            }
            self.link.lingers();
        }
        // The turns of other connections come between.
        for _ in 0..LINGER_READS_MAX {
            let mut part = [0; LINGER_STEP_BYTES];
            let mut part = ReadBuf::new(&mut part);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut part));
            if read.is_err() || part.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
