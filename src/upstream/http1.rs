//! One HTTP/1.1 connection: hyper's, polled by whoever owns it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::body::Body;
use super::cache::Cache;
use super::error::{Cause, SendError};
use super::lease::Lease;
use super::wire::{Wire, Written};
use crate::reactor::{Idle, Io};
use crate::signal::bell::Bell;
use crate::telemetry::{ConnectionState, FailurePhase};

/// Bytes of a response head, and of what is read ahead of the body's reader.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Fields of a response head.
const HEADERS_MAX: usize = 200;

/// A connection and everything that lives as long. Boxed by its owners, who hand it on.
pub(super) struct Link {
    /// `None` once it has ended.
    connection: Option<http1::Connection<TokioIo<Wire>, Full<Bytes>>>,
    sender: http1::SendRequest<Full<Bytes>>,
    /// Looks at the socket below hyper.
    look: Box<dyn Fn() -> Idle>,
    written: Written,
    tls: bool,
    idle_since: Instant,
    /// Last, so that the socket is closed before its permit is free.
    lease: Lease,
}

impl Link {
    /// # Errors
    /// hyper's, never seen: nothing is exchanged.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(super) async fn new(io: Io, lease: Lease) -> Result<Box<Self>, SendError> {
        let look = Box::new(io.conn().looker());
        let tls = matches!(io, Io::Tls(_));
        let wire = Wire::new(io);
        let written = wire.written();
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|error| SendError::unsent(FailurePhase::Handshake, error.into()))?;
        let connection = Some(connection);
        Ok(Box::new(Self { connection, sender, look, written, tls, idle_since: Instant::now(), lease }))
    }

    /// Sends the request and waits for the head of its answer.
    ///
    /// # Errors
    /// `sent: false` only if no byte was written: hyper gave the request back, or the socket took nothing.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection at once.
    pub(super) async fn exchange(
        mut self: Box<Self>,
        request: http::Request<Full<Bytes>>,
        cache: &Rc<Cache>,
    ) -> Result<Response<Body>, SendError> {
        self.lease.set(ConnectionState::Active);
        let before = self.written.bytes();
        let mut bell = Bell::default();
        let mut response = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|cx| {
            bell.poll(cx, |cx| {
                if let Poll::Ready(answer) = response.as_mut().poll(cx) {
                    return Poll::Ready(answer);
                }
                self.turn(cx);
                response.as_mut().poll(cx)
            })
        })
        .await;
        match answer {
            Ok(head) if head.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Err(SendError::response(true, Cause::Switched))
            }
            Ok(head) => {
                let (head, incoming) = head.into_parts();
                let body = Body::http1(&head, incoming, self, bell, cache.clone());
                Ok(Response::from_parts(head, body))
            }
            Err(mut failed) => {
                let sent = failed.take_message().is_none() && self.written.bytes() != before;
                Err(SendError::response(sent, failed.into_error().into()))
            }
        }
    }

    /// Lets hyper read and write as far as it can. What it learns reaches the response or the body.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(ended) = Pin::new(connection).poll(cx)
        {
            if let Err(error) = ended {
                tracing::debug!(%error, "upstream connection ended");
            }
            // Dropping it gives a request that was not begun back to its sender.
            self.connection = None;
        }
    }

    /// Takes the connection out of its last exchange. Whether it may carry another is hyper's word: the
    /// response ended, was not delimited by the end of the connection and did not ask to close it.
    pub(super) fn park(&mut self) -> bool {
        // Polled by nobody from now on: the waker of the task that used it must not stay behind, or its
        // memory would.
        self.turn(&mut Context::from_waker(Waker::noop()));
        self.idle_since = Instant::now();
        self.lease.set(ConnectionState::Idle);
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Whether an unused connection is still good, by one look at its socket.
    pub(super) fn is_alive(&mut self) -> bool {
        match (self.look)() {
            Idle::Quiet => true,
            // Session tickets, mostly: rustls reads those, and hyper finds out about the rest.
            Idle::Data if self.tls => {
                self.turn(&mut Context::from_waker(Waker::noop()));
                self.connection.is_some() && self.sender.is_ready()
            }
            Idle::Data | Idle::Closed => false,
        }
    }

    pub(super) fn idle_for(&self) -> Duration {
        self.idle_since.elapsed()
    }

    pub(super) fn age(&self) -> Duration {
        self.lease.age()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("lease", &self.lease).finish_non_exhaustive()
    }
}
