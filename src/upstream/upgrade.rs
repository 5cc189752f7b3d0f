//! A connection to an upstream that has become a tunnel.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::Response;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::body::Body;
use super::lease::Lease;
use super::scratch;
use crate::reactor::Io;

/// Bytes that are read at once, and so the longest piece.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// What an upstream says that was asked for a tunnel.
#[derive(Debug)]
pub enum Switch {
    /// It is one now.
    Done(Response<Upgraded>),
    /// It is none: an answer like any other.
    Refused(Response<Body>),
}

/// Bytes in both directions. Dropping it closes the connection.
pub struct Upgraded {
    io: Io,
    /// What came together with the head.
    ahead: BytesMut,
    is_flushed: bool,
    /// Last, so that the socket is closed before its permit is free.
    _lease: Lease,
}

impl Upgraded {
    pub(super) fn new(io: Io, ahead: BytesMut, lease: Lease) -> Self {
        Self { io, ahead, is_flushed: true, _lease: lease }
    }

    /// What comes next; nothing at the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.poll_flush(cx)?;
        if !self.ahead.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.ahead).freeze()));
        }
        scratch::read(|buffer| {
            let mut buffer = ReadBuf::new(&mut buffer[..PIECE_BYTES_MAX]);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
        })
    }

    /// Takes some of `bytes`, at least one.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.is_flushed = false;
        self.poll_flush(cx)?;
        Poll::Ready(Ok(written))
    }

    /// TLS keeps what the socket has not taken; the task is woken when it does.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.is_flushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(cx)
        {
            flushed?;
            self.is_flushed = true;
        }
        Ok(())
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").field("ahead", &self.ahead.remaining()).finish_non_exhaustive()
    }
}
