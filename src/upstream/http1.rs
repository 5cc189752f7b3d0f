//! One HTTP/1.1 connection, polled by whoever owns it: its request goes out and its answer comes in within the
//! polls of the one task that wants the answer.
//!
//! Without hyper, whose client is made for a task of its own: it keeps a read and a write buffer and a channel
//! for the body for as long as the connection lives (about 20 KiB of each open stream), wakes itself for every
//! chunk, and reads sizes of chunks byte by byte. Here all connections of a core share their buffers
//! ([`scratch`]), and a connection at rest holds nothing but its socket. What is hard to get right is still
//! not ours: heads and trailers are parsed by `httparse`, as in hyper.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Method, Response, StatusCode};
use http_body::Frame;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::acks::{Acks, Pace};
use super::answer::{Head, Reading};
use super::body::Body;
use super::cache::Cache;
use super::error::{BodyError, Cause, SendError};
use super::head::{Origin, Request};
use super::incoming::Incoming;
use super::lease::Lease;
use super::outgoing::Outgoing;
use super::scratch;
use super::upgrade::{Switch, Upgraded};
use crate::reactor::{Idle, Io};
use crate::signal::trail;
use crate::telemetry::ConnectionState;

/// Bodies up to this size are copied behind their head: one buffer to write costs less than two.
const JOINED_BYTES_MAX: usize = 32 * 1024;

/// A connection and everything that lives as long. Boxed by its owners, who hand it on.
pub(super) struct Link {
    io: Io,
    outgoing: Outgoing,
    incoming: Incoming,
    /// Payload that was read and not yet taken: what came together with the head.
    ahead: Bytes,
    /// Whether anything so far forbids another exchange.
    reusable: bool,
    /// The last frame was all that has come, and the task is woken when more does.
    at_rest: bool,
    /// Of an answer that is a stream, and has begun.
    pace: Option<Pace>,
    idle_since: Instant,
    /// Last, so that the socket is closed before its permit is free.
    lease: Lease,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Answer,
    Tunnel,
}

impl Link {
    pub(super) fn new(io: Io, lease: Lease) -> Box<Self> {
        Box::new(Self {
            io,
            outgoing: Outgoing::default(),
            incoming: Incoming::Ended,
            ahead: Bytes::new(),
            reusable: true,
            at_rest: false,
            pace: None,
            idle_since: Instant::now(),
            lease,
        })
    }

    /// Sends the request and waits for the head of its answer. An answer that comes before all of the request
    /// has left is heard; the rest goes on beside its body.
    ///
    /// # Errors
    /// `sent: false` only if no byte was written: the socket took nothing, or has failed before what it took could leave.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection at once.
    pub(super) async fn exchange(
        mut self: Box<Self>,
        origin: &Origin,
        request: &Request,
        cache: &Rc<Cache>,
    ) -> Result<Response<Body>, SendError> {
        let head = self.ask(origin, request, Wanted::Answer).await?;
        Ok(self.answer(head, cache))
    }

    /// Sends the request and waits for the connection to become a tunnel.
    ///
    /// # Errors
    /// As those of [`exchange`](Self::exchange).
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection at once.
    pub(super) async fn switch(
        mut self: Box<Self>,
        origin: &Origin,
        request: &Request,
        cache: &Rc<Cache>,
    ) -> Result<Switch, SendError> {
        let head = self.ask(origin, request, Wanted::Tunnel).await?;
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Switch::Refused(self.answer(head, cache)));
        }
        let Self { io, lease, .. } = *self;
        let mut response = Response::new(Upgraded::new(io, head.rest, lease));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(Switch::Done(response))
    }

    async fn ask(&mut self, origin: &Origin, request: &Request, wanted: Wanted) -> Result<Head, SendError> {
        self.lease.set(ConnectionState::Active);
        self.io.conn().urgent(true);
        self.io.conn().batch_writes(wanted == Wanted::Answer && !request.streams);
        let mut begun = false;
        let mut reading = Reading::default();
        let answer = poll_fn(|cx| {
            if mem::replace(&mut begun, true) {
                self.outgoing.drive(&mut self.io, cx);
            } else {
                self.begin(cx, origin, request, wanted);
            }
            self.poll_head(cx, &request.method, &mut reading, wanted)
        })
        .await;
        answer.map_err(|cause| SendError::response(self.outgoing.may_have_left(&self.io), cause))
    }

    /// The answer that begins with `head`.
    fn answer(mut self: Box<Self>, head: Head, cache: &Rc<Cache>) -> Response<Body> {
        let Head { status, version, headers, framing, length, reusable, mut rest } = head;
        self.incoming = Incoming::new(framing, length);
        let piece = self.incoming.take(&mut rest);
        self.reusable = reusable && piece.used == rest.len();
        if !piece.payload.is_empty() {
            rest.truncate(piece.payload.end);
            rest.advance(piece.payload.start);
            self.ahead = rest.freeze();
        }
        let mut response = Response::new(Body::http1(framing, self, cache));
        *response.status_mut() = status;
        *response.version_mut() = version;
        *response.headers_mut() = headers;
        response
    }

    fn begin(&mut self, cx: &mut Context<'_>, origin: &Origin, request: &Request, wanted: Wanted) {
        scratch::write(|head| {
            origin.http1(request, head);
            if wanted == Wanted::Tunnel {
                head.truncate(head.len() - b"\r\n".len());
                head.extend_from_slice(b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n");
            }
            let mut body = Bytes::new();
            if request.body.len() <= JOINED_BYTES_MAX {
                head.extend_from_slice(&request.body);
            } else {
                body = request.body.clone();
            }
            self.outgoing = Outgoing::begin(&mut self.io, cx, head, body);
        });
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        reading: &mut Reading,
        wanted: Wanted,
    ) -> Poll<Result<Head, Cause>> {
        if !self.outgoing.has_begun()
            && let Some(error) = self.outgoing.take_failure()
        {
            return Poll::Ready(Err(error.into()));
        }
        scratch::read(|buffer| {
            loop {
                let before = reading.kept().len();
                let read = match ready!(poll_read(&mut self.io, cx, &mut buffer[before..])) {
                    Ok(0) => return Poll::Ready(Err(self.unanswered(Cause::Closed))),
                    Ok(read) => read,
                    Err(error) => return Poll::Ready(Err(self.unanswered(error.into()))),
                };
                buffer[..before].copy_from_slice(reading.kept());
                match reading.take(&buffer[..before + read], method) {
                    Ok(Some(head))
                        if head.status == StatusCode::SWITCHING_PROTOCOLS && wanted == Wanted::Answer =>
                    {
                        return Poll::Ready(Err(Cause::Switched));
                    }
                    Ok(Some(head)) => return Poll::Ready(Ok(head)),
                    Ok(None) => {}
                    Err(malformed) => return Poll::Ready(Err(malformed.into())),
                }
            }
        })
    }

    /// Why there is no answer: if the request could not be sent to its end, that came first.
    fn unanswered(&mut self, cause: Cause) -> Cause {
        self.outgoing.take_failure().map_or(cause, Cause::from)
    }

    /// The next frame of the answer's body: all the payloads that one read brought.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        acks: &Acks,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        trail::step(self);
        self.at_rest = false;
        if !self.outgoing.is_done() {
            self.outgoing.drive(&mut self.io, cx);
        }
        loop {
            if !self.ahead.is_empty() {
                if self.pace.is_none() && self.incoming.is_stream() && !self.incoming.is_over() {
                    // Its chunks are what a rest of the worker gathers.
                    self.io.conn().urgent(false);
                    self.pace = Some(Pace::begin(acks, self.io.conn()));
                }
                // Behind the last byte nobody waits for more.
                self.at_rest = self.incoming.is_read() == Ok(false) && self.io.rests(cx);
                return Poll::Ready(Some(Ok(Frame::data(mem::take(&mut self.ahead)))));
            }
            if self.incoming.is_read()? {
                let trailers = self.incoming.take_trailers().transpose()?;
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            ready!(self.poll_payload(cx, acks))?;
        }
    }

    fn poll_payload(&mut self, cx: &mut Context<'_>, acks: &Acks) -> Poll<Result<(), BodyError>> {
        scratch::read(|buffer| {
            let read = ready!(poll_read(&mut self.io, cx, buffer))?;
            if read == 0 {
                self.incoming.end_of_connection()?;
                self.incoming = Incoming::Ended;
            }
            if let Some(pace) = &mut self.pace {
                pace.read(acks, self.io.conn());
            }
            let piece = self.incoming.take(&mut buffer[..read]);
            self.reusable &= piece.used == read;
            self.ahead = Bytes::copy_from_slice(&buffer[piece.payload]);
            Poll::Ready(Ok(()))
        })
    }

    /// Whether polling for another frame is in vain until the task is woken.
    pub(super) fn is_at_rest(&self) -> bool {
        self.at_rest
    }

    /// Whether the whole body has been given out.
    pub(super) fn is_over(&self) -> bool {
        self.ahead.is_empty() && self.incoming.is_over()
    }

    /// Bytes still to be given out, where known.
    pub(super) fn left(&self) -> Option<u64> {
        self.incoming.left().map(|left| left + self.ahead.len() as u64)
    }

    /// Takes the connection out of its last exchange. It may carry another if both messages came to their
    /// ends, the answer's not by the end of the connection, neither side asked to close, and nothing stands
    /// behind the answer.
    pub(super) fn park(&mut self, now: Instant) -> bool {
        self.incoming = Incoming::Ended;
        self.at_rest = false;
        self.pace = None;
        self.idle_since = now;
        self.lease.set(ConnectionState::Idle);
        self.reusable && self.outgoing.is_done() && self.is_silent()
    }

    /// Whether an unused connection is still good, by one look at its socket.
    pub(super) fn is_alive(&mut self) -> bool {
        match self.io.conn().look() {
            Idle::Quiet => true,
            // Session tickets, mostly, which rustls takes. Anything else is the end; so is what stays in the
            // socket because the event loop has not told of it yet, since nobody knows what it is.
            Idle::Data if matches!(self.io, Io::Tls(_)) => {
                self.is_silent() && self.io.conn().look() == Idle::Quiet
            }
            Idle::Data | Idle::Closed => false,
        }
    }

    /// Reads on behalf of nobody: neither bytes nor the end may come.
    ///
    /// Polled by nobody from now on, the connection must not keep the waker of the task that used it, or that
    /// task's memory would stay. The socket keeps one waker for readers, and this poll puts an idle one in its
    /// place; for that it must get through to the socket, whatever the task has used of its turn. The one for
    /// writers is gone since the request has left.
    fn is_silent(&mut self) -> bool {
        scratch::read(|buffer| {
            let read = unconstrained(poll_fn(|cx| poll_read(&mut self.io, cx, buffer)));
            pin!(read).poll(&mut Context::from_waker(Waker::noop())).is_pending()
        })
    }

    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.idle_since)
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        self.lease.age(now)
    }
}

/// Bytes read; none at the end of the connection.
fn poll_read(io: &mut Io, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("lease", &self.lease).finish_non_exhaustive()
    }
}
