//! A connection that has become a tunnel (101): bytes go both ways as they come, and each way waits for the other end of
//! it. At most one read of each direction is held.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::Response;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::ConnectionError;
use super::exchange::Exchange;
use super::head;
use super::outbound::Outbound;
use super::socket::Socket;
use crate::signal::duplex::Duplex;

/// Bytes that are read of a client at once, and at most held of it.
const READ_BYTES: usize = 16 * 1024;

/// Rounds before everybody else of this core gets a turn.
const ROUNDS_PER_TURN_MAX: usize = 16;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// See the module.
pub(super) struct Tunnel<B> {
    body: B,
    socket: Socket,
    /// For the client: what its socket has not taken.
    down: Bytes,
    is_flushed: bool,
    /// The body has given its last byte.
    is_over: bool,
    /// From the client: what the body has not taken.
    up: Bytes,
    /// The client has ended its direction.
    has_ended: bool,
    /// Last, so that the exchange is over when its body is gone.
    _exchange: Rc<Exchange>,
}

impl<B> Tunnel<B>
where
    B: Body<Data = Bytes> + Duplex + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    pub(super) fn new(mut socket: Socket, response: Response<Outbound<B>>) -> Self {
        let (parts, body) = response.into_parts();
        let (body, exchange) = body.into_parts();
        let mut down = Vec::with_capacity(512);
        head::write_bare(&mut down, &parts);
        socket.become_raw();
        Self {
            body,
            socket,
            down: down.into(),
            is_flushed: false,
            is_over: false,
            up: Bytes::new(),
            has_ended: false,
            _exchange: exchange,
        }
    }

    /// Ends the exchange.
    pub(super) fn over(self) -> Socket {
        self.socket
    }

    /// Ready when both directions are over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        for _ in 0..ROUNDS_PER_TURN_MAX {
            let down = self.poll_down(cx)?;
            if down.is_ready() && self.is_over && self.down.is_empty() && self.is_flushed {
                return Poll::Ready(Ok(()));
            }
            let up = if self.is_over { Poll::Pending } else { self.poll_up(cx).map_err(ConnectionError::Io)? };
            if down.is_pending() && up.is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One step towards the client. Ready if there was anything to do.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        while !self.down.is_empty() {
            let written =
                ready!(Pin::new(&mut self.socket).poll_write(cx, &self.down)).map_err(ConnectionError::Io)?;
            if written == 0 {
                return Poll::Ready(Err(ConnectionError::Io(io::ErrorKind::WriteZero.into())));
            }
            self.down.advance(written);
            self.is_flushed = false;
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx)).map_err(ConnectionError::Io)?;
            self.is_flushed = true;
        }
        if self.is_over {
            return Poll::Ready(Ok(()));
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => self.is_over = true,
            Some(Err(error)) => return Poll::Ready(Err(ConnectionError::Aborted(error.into()))),
            Some(Ok(frame)) => self.down = frame.into_data().unwrap_or_default(),
        }
        Poll::Ready(Ok(()))
    }

    /// One step from the client. Ready if there was anything to do.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.up.is_empty() && !self.has_ended {
            self.up = ready!(self.poll_read(cx))?;
            self.has_ended = self.up.is_empty();
        } else if self.up.is_empty() {
            return Poll::Pending;
        }
        let taken = ready!(self.body.poll_take(cx, &self.up))?;
        self.up.advance(taken);
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
        })
    }
}
