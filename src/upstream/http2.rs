//! One HTTP/2 connection, shared by many streams. The `h2` crate without hyper: hyper offers no way to set
//! the budget of small frames.
//!
//! The connection has a task, which ends when the peer closes, when a ping stays unanswered, or when nobody
//! holds the link any more and the last stream is over. Streams are polled by their bodies.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Reason, RecvStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response};
use http_body::Frame;
use tokio::time::Instant;

use super::body::Body;
use super::error::{BodyError, Cause, SendError};
use super::lease::Lease;
use super::ping::Pings;
use super::wire::{Wire, Written};
use crate::reactor::{self, Io};
use crate::telemetry::{ConnectionState, FailurePhase};

/// Unread bytes that one stream may hold, together with the client's own send buffers the whole of what a
/// slow reader costs. Small on purpose: a stream of tokens needs no more, even at a second of delay.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// Unread bytes of all streams of a connection: 256 stalled readers before the first sibling feels them.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// h2 charges each unread DATA frame of p bytes with 256 - p (none at 256 or more, none once it is read) and
/// ends the connection when its budget is spent: one slow reader of a terse upstream would kill all its
/// siblings. The windows bound the unread bytes, a frame has at least one (empty ones are counted apart), so
/// with this much the budget can't be spent by anything the windows allow. What is left to bound is the
/// memory of an upstream that sends single bytes, and that the windows do.
const DATA_FRAME_BUDGET: usize = CONNECTION_WINDOW_BYTES as usize * 255;

/// Bytes of one DATA frame: how long a frame of one stream can keep the others waiting.
const FRAME_BYTES_MAX: u32 = 16 * 1024;

/// Bytes of a response head, uncompressed.
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;

/// Request bytes that h2 accepts before it waits for the peer's window. Bodies are handed over whole and
/// bounded by the caller, so this only sets the size of its steps.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// h2 ends a connection at its 101st empty DATA frame, whatever we do. One that has sent this many gets no
/// new streams, so that a replacement stands before that.
const EMPTY_FRAMES_MAX: u32 = 50;

/// A connection as the pool holds it. When the last holder lets go, it is closed after its last stream.
pub(super) struct Link {
    sender: SendRequest<Bytes>,
    written: Written,
    empty_frames: Rc<Cell<u32>>,
    streams_max: usize,
    state: Rc<State>,
}

/// What the pool, the streams and the connection's task know of each other.
struct State {
    /// Streams promised or open.
    streams: Cell<usize>,
    /// Those whose answer's body has begun.
    running: Cell<usize>,
    /// Whether what comes ends a rest of the worker: only while none runs.
    urgent: Box<dyn Fn(bool)>,
    /// Gets no new streams.
    retired: Cell<bool>,
    idle_since: Cell<Instant>,
    /// Taken when the task ends, because bodies may outlive it.
    lease: RefCell<Option<Lease>>,
    born: Instant,
}

/// The right to one stream on a connection, and then that stream's place on it.
pub(super) struct Ticket {
    link: Rc<Link>,
}

/// The receiving half of one stream.
pub(super) struct Stream {
    /// Before the ticket, so that a reset is queued before the place is free.
    recv: RecvStream,
    /// Bytes outstanding, if the head said how many there are.
    left: Option<u64>,
    begun: bool,
    ticket: Ticket,
}

impl Link {
    /// Shakes hands and waits for the peer's settings: only they prove that it speaks HTTP/2, and say how
    /// many streams it allows. Without a deadline of its own.
    ///
    /// # Errors
    /// `sent: false`, in the handshake.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(super) async fn new(io: Io, streams_max: usize, lease: Lease) -> Result<Rc<Self>, SendError> {
        let failed = |cause| SendError::unsent(FailurePhase::Handshake, cause);
        let urgent = io.conn().urgency();
        let wire = Wire::new(io);
        let empty_frames = wire.empty_frames();
        let written = wire.written();
        let (sender, mut connection) = Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .data_frame_budget(DATA_FRAME_BUDGET)
            .max_frame_size(FRAME_BYTES_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            // None until the settings are here, which is how their arrival shows.
            .initial_max_send_streams(0)
            .enable_push(false)
            .handshake(wire)
            .await
            .map_err(|error| failed(error.into()))?;
        poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(failed(error.into()))),
            Poll::Ready(Ok(())) => Poll::Ready(Err(failed(Cause::Version))),
            Poll::Pending if sender.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        let now = Instant::now();
        let state = Rc::new(State {
            streams: Cell::new(0),
            running: Cell::new(0),
            urgent,
            retired: Cell::new(false),
            idle_since: Cell::new(now),
            lease: RefCell::new(Some(lease)),
            born: now,
        });
        // Not joined: it ends by itself, as the module's head says.
        drop(reactor::spawn(drive(connection, End(state.clone()))));
        Ok(Rc::new(Self { sender, written, empty_frames, streams_max, state }))
    }

    /// Whether it may get new streams at all.
    pub(super) fn is_usable(&self, lifetime_max: Duration) -> bool {
        !self.state.retired.get()
            && self.empty_frames.get() <= EMPTY_FRAMES_MAX
            && self.state.born.elapsed() < lifetime_max
    }

    /// Whether nobody uses it, and has not for so long.
    pub(super) fn is_idle_for(&self, time: Duration) -> bool {
        self.streams() == 0 && self.state.idle_since.get().elapsed() >= time
    }

    /// Streams promised or open.
    pub(super) fn streams(&self) -> usize {
        self.state.streams.get()
    }

    /// Whether one more stream fits, by our bound and by the peer's at this moment.
    pub(super) fn has_room(&self) -> bool {
        self.streams() < self.streams_max.min(self.sender.current_max_send_streams())
    }

    /// Takes a place.
    pub(super) fn reserve(self: &Rc<Self>) -> Ticket {
        self.state.add_stream();
        Ticket { link: self.clone() }
    }
}

impl Ticket {
    pub(super) fn link(&self) -> &Rc<Link> {
        &self.link
    }

    /// Sends the request and waits for the head of its answer.
    ///
    /// # Errors
    /// `sent: false` if the connection takes no more streams, if the peer refused the stream or said that it
    /// was not processed (RFC 9113, section 8.7), or if nothing was written since.
    ///
    /// # Cancel safety
    /// Dropping the future resets the stream with `CANCEL`.
    pub(super) async fn exchange(self, head: http::Request<()>, body: Bytes) -> Result<Response<Body>, SendError> {
        let before = self.link.written.bytes();
        // A clone, because a sender at the peer's limit is blocked until its own last stream is open.
        let mut sender = self.link.sender.clone();
        let (response, mut send) = match sender.send_request(head, body.is_empty()) {
            Ok(opened) => opened,
            Err(error) => {
                self.link.state.retired.set(true);
                return Err(SendError::response(false, error.into()));
            }
        };
        drop(sender);
        if !body.is_empty() {
            // Fails only if the stream is closed again already; the response then tells why.
            drop(send.send_data(body, true));
        }
        drop(send);
        match pin!(response).await {
            Ok(head) => {
                let (head, recv) = head.into_parts();
                let left = content_length(&head.headers);
                Ok(Response::from_parts(head, Body::http2(Stream { recv, left, begun: false, ticket: self })))
            }
            Err(error) => {
                let sent = !is_unprocessed(&error) && self.link.written.bytes() != before;
                if !error.is_reset() {
                    self.link.state.retired.set(true);
                }
                Err(SendError::response(sent, error.into()))
            }
        }
    }
}

impl Stream {
    /// The next frame. The flow-control window opens again only as frames are taken here.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match ready!(self.recv.poll_data(cx)) {
                // The final one; h2 keeps the others to itself. No frame of ours is ever empty.
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    if !mem::replace(&mut self.begun, true) {
                        self.ticket.link.state.begin_running();
                    }
                    // Fails only on a stream that is closed, whose window nobody needs.
                    drop(self.recv.flow_control().release_capacity(data.len()));
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                // 'No error' is for a response that is complete though the request is not. h2 forgets
                // whether it was; the announced length is the only other evidence.
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) && self.left == Some(0) => {
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => {
                    let trailers = ready!(self.recv.poll_trailers(cx)).map_err(BodyError::from);
                    return Poll::Ready(trailers.transpose().map(|found| found.map(Frame::trailers)));
                }
            }
        }
    }

    /// Whether everything was taken.
    pub(super) fn is_end(&self) -> bool {
        self.recv.is_end_stream()
    }

    /// Bytes still to come, where known.
    pub(super) fn left(&self) -> Option<u64> {
        self.left
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.begun {
            self.ticket.link.state.end_running();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.link.state.remove_stream();
    }
}

impl State {
    fn add_stream(&self) {
        self.streams.set(self.streams.get() + 1);
        self.count_as(ConnectionState::Active);
    }

    fn remove_stream(&self) {
        self.streams.set(self.streams.get() - 1);
        if self.streams.get() == 0 {
            self.idle_since.set(Instant::now());
            self.count_as(ConnectionState::Idle);
        }
    }

    fn begin_running(&self) {
        self.running.set(self.running.get() + 1);
        if self.running.get() == 1 {
            (self.urgent)(false);
        }
    }

    fn end_running(&self) {
        self.running.set(self.running.get() - 1);
        if self.running.get() == 0 {
            (self.urgent)(true);
        }
    }

    fn count_as(&self, state: ConnectionState) {
        if let Some(lease) = &*self.lease.borrow() {
            lease.set(state);
        }
    }
}

/// Marks the end of the task, however it ends.
struct End(Rc<State>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.retired.set(true);
        drop(self.0.lease.take());
    }
}

/// Drives a connection until it is over.
async fn drive(mut connection: Connection<Wire, Bytes>, end: End) {
    let mut pings = connection.ping_pong().map(Pings::new);
    poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(%error, "upstream connection ended");
            }
            return Poll::Ready(());
        }
        let busy = end.0.streams.get() > 0;
        let overdue = pings.as_mut().map_or(Poll::Pending, |pings| pings.poll(cx, busy));
        if overdue.is_ready() {
            tracing::debug!("upstream connection does not answer");
        }
        overdue
    })
    .await;
    // The socket before its permit.
    drop(connection);
    drop(end);
}

/// Whether the peer has promised that it did nothing with the request.
fn is_unprocessed(error: &h2::Error) -> bool {
    // h2 gives the error of a peer's GOAWAY only to streams above its last id.
    error.is_remote() && (error.is_go_away() || error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("streams", &self.streams()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.link).finish()
    }
}
