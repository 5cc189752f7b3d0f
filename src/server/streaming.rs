//! Writes one streamed answer of HTTP/1.1 to its socket: the shortest way from a body to the kernel.
//!
//! What a body has ready goes out in one write: head, chunks and end together where they come together. The
//! bytes pass through one buffer per core; only what the socket does not take at once is kept, so a stream
//! whose client keeps up holds nothing here.

use std::cell::Cell;
use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::CONNECTION;
use http::response::Parts;
use http::{HeaderValue, Response};
use http_body::Body;
use tokio::io::AsyncWrite;

use super::connection::ConnectionError;
use super::exchange::Exchange;
use super::head;
use super::link::Link;
use super::outbound::Outbound;
use super::socket::Socket;
use crate::signal::rest::Rest;
use crate::signal::trail;

/// Bytes after which no more is gathered for one write. A frame of the body goes on top, so five times as much at
/// most waits for a client.
const GATHER_BYTES: usize = 32 * 1024;

/// Writes of one stream before everybody else of this core gets a turn.
const WRITES_PER_TURN_MAX: usize = 8;

/// Writes of a stream that are not put off to the end of the lap: its head, and what was read ahead with its first token,
/// are waited for.
const PROMPT_WRITES: u8 = 2;

/// Above it the buffer of the core is given back: some frame was unusually long.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

thread_local! {
    /// Empty between two uses.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// One answer on its way out.
///
/// A chunk of one stream in thousands finds nothing of it in the processor's caches: what is looked at for each
/// chunk stands here, and the exchange is left alone.
pub(super) struct Streaming<B> {
    body: B,
    link: Rc<Link>,
    /// Until it has been written.
    head: Option<Box<Parts>>,
    socket: Socket,
    /// What the socket has not taken.
    rest: Bytes,
    is_flushed: bool,
    /// Those of [`PROMPT_WRITES`] that are still to come.
    prompt: u8,
    /// The body has given its last byte.
    is_over: bool,
    is_last: bool,
    /// Last, so that the exchange is over when its body is gone.
    _exchange: Rc<Exchange>,
}

/// How much of what is ready was gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gathered {
    All,
    Some,
}

impl<B> Streaming<B>
where
    B: Body<Data = Bytes> + Rest + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    pub(super) fn new(socket: Socket, response: Response<Outbound<B>>) -> Self {
        socket.batch_writes(false);
        let (head, body) = response.into_parts();
        let (body, exchange) = body.into_parts();
        Self {
            body,
            link: Rc::clone(&exchange.link),
            is_last: head.headers.contains_key(CONNECTION),
            head: Some(Box::new(head)),
            socket,
            rest: Bytes::new(),
            is_flushed: true,
            prompt: PROMPT_WRITES,
            is_over: false,
            _exchange: exchange,
        }
    }

    /// No answer comes after this one. Said to the client if its head has not been written.
    pub(super) fn let_be_last(&mut self) {
        self.is_last = true;
        if let Some(head) = &mut self.head {
            head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    /// Ends the exchange. The socket, and whether another request may come on it.
    pub(super) fn over(self) -> (Socket, bool) {
        self.socket.batch_writes(true);
        (self.socket, !self.is_last)
    }

    /// Ready when everything is written. After an error nothing more may be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        trail::step(self);
        trail::step(&*self.link);
        let mut gathered = Gathered::Some;
        for _ in 0..WRITES_PER_TURN_MAX {
            ready!(self.poll_rest(cx)).map_err(ConnectionError::Io)?;
            if self.is_over {
                return Poll::Ready(Ok(()));
            }
            if gathered == Gathered::All {
                return Poll::Pending;
            }
            // Taken, not borrowed: the body is anybody's code.
            let mut buffer = BUFFER.take();
            let result = self.gather(cx, &mut buffer);
            let written = if buffer.is_empty() { Ok(()) } else { self.write(cx, &buffer) };
            buffer.clear();
            if buffer.capacity() <= BUFFER_BYTES_MAX {
                BUFFER.set(buffer);
            }
            gathered = result?;
            written.map_err(ConnectionError::Io)?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// What is ready of the answer, up to a bound.
    fn gather(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>) -> Result<Gathered, ConnectionError> {
        if let Some(parts) = self.head.take() {
            head::write(buffer, &parts);
        }
        while buffer.len() < GATHER_BYTES {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(Gathered::All),
                Poll::Ready(Some(Err(error))) => return Err(ConnectionError::Aborted(error.into())),
                Poll::Ready(Some(Ok(frame))) => Some(frame),
                Poll::Ready(None) => None,
            };
            let is_end = frame.is_none() || self.body.is_end_stream();
            // Trailers stay here: none are announced, because `trailer` is a header of one hop.
            if let Some(Ok(data)) = frame.map(http_body::Frame::into_data) {
                self.link.frame_taken(self.body.came_at());
                push(buffer, &data);
            }
            if is_end {
                self.is_over = true;
                buffer.extend_from_slice(b"0\r\n\r\n");
                return Ok(Gathered::All);
            }
            if self.body.is_at_rest() {
                return Ok(Gathered::All);
            }
        }
        Ok(Gathered::Some)
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        self.is_flushed = false;
        let written = match Pin::new(&mut self.socket).poll_write(cx, bytes) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.rest = Bytes::copy_from_slice(&bytes[written..]);
        if self.prompt > 0 {
            self.prompt -= 1;
            if self.prompt == 0 {
                self.socket.batch_writes(true);
            }
        }
        Ok(())
    }

    /// Ready when the socket has everything.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.advance(written);
            if self.rest.is_empty() {
                // An empty rest would keep the whole buffer.
                self.rest = Bytes::new();
            }
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// One chunk of the chunked transfer coding. An empty one would be the last.
fn push(buffer: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        buffer.reserve(data.len() + 20);
        head::write_hex(buffer, data.len());
        buffer.extend_from_slice(b"\r\n");
        buffer.extend_from_slice(data);
        buffer.extend_from_slice(b"\r\n");
    }
}
