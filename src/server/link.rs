//! What is known of one client connection: plain cells, shared by everything that runs on it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;

use tokio::time::Instant;

use super::framing::Length;
use crate::reactor::load::{Load, Newcomer};
use crate::telemetry::{EndReason, Recorder};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix domain socket, which has no address worth telling.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// One connection's state, read by its watchdog.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) load: Load,
    pub(super) recorder: Rc<Recorder>,
    /// Until the first request.
    newcomer: RefCell<Option<Newcomer>>,
    /// Requests whose answers have not ended.
    in_flight: Cell<usize>,
    /// When the last exchange ended, or the connection began.
    idle_since: Cell<Instant>,
    /// When the first byte of a request head came that is not complete yet (HTTP/1.1 only).
    head_since: Cell<Option<Instant>>,
    /// When the socket stopped taking bytes.
    stalled_since: Cell<Option<Instant>>,
    /// When the oldest body frame was taken that has not been flushed.
    unflushed_since: Cell<Option<Instant>>,
    /// Why the whole connection was cut, if it was.
    cut: Cell<Option<EndReason>>,
    /// What the socket found out about the head that was read last, for the call that it leads to.
    head: Cell<Option<Head>>,
    /// What hyper made of the framing of the request that it called for last, for the socket.
    called: Cell<Option<Length>>,
    /// The answer is the last one though its request was not read to its end.
    unread: Cell<bool>,
    /// When the connection was ended towards a client that may still be sending.
    lingers_since: Cell<Option<Instant>>,
    /// The socket's reader, if it waits for the end of the exchange in flight.
    next_turn: RefCell<Option<Waker>>,
}

/// A whole request head has been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// It had both a length and a transfer coding.
    pub(super) is_ambiguous: bool,
}

impl Link {
    pub(super) fn new(peer: Peer, newcomer: Newcomer, load: Load, recorder: Rc<Recorder>) -> Rc<Self> {
        Rc::new(Self {
            peer,
            load,
            recorder,
            newcomer: RefCell::new(Some(newcomer)),
            in_flight: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            head_since: Cell::new(None),
            stalled_since: Cell::new(None),
            unflushed_since: Cell::new(None),
            cut: Cell::new(None),
            head: Cell::new(None),
            called: Cell::new(None),
            unread: Cell::new(false),
            lingers_since: Cell::new(None),
            next_turn: RefCell::default(),
        })
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    pub(super) fn exchange_begins(&self) {
        drop(self.newcomer.take());
        self.in_flight.set(self.in_flight.get() + 1);
        self.head_since.set(None);
    }

    pub(super) fn exchange_ends(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
        if self.in_flight.get() == 0 {
            self.idle_since.set(Instant::now());
            if let Some(reader) = self.next_turn.take() {
                reader.wake();
            }
        }
    }

    /// Bytes came while no request was being answered.
    pub(super) fn head_bytes(&self) {
        if self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }

    pub(super) fn head_since(&self) -> Option<Instant> {
        self.head_since.get()
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    pub(super) fn stalled(&self) {
        if self.stalled_since.get().is_none() {
            self.stalled_since.set(Some(Instant::now()));
        }
    }

    pub(super) fn progressed(&self) {
        self.stalled_since.set(None);
    }

    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since.get()
    }

    /// One that came at that time, or now.
    pub(super) fn frame_taken(&self, came_at: Option<Instant>) {
        if self.unflushed_since.get().is_none() {
            self.unflushed_since.set(Some(came_at.unwrap_or_else(Instant::now)));
        }
    }

    /// The connection has had its turn: what was taken is written, unless the socket is full, or goes with the others of its
    /// lap.
    pub(super) fn turn_ended(&self) {
        if let Some(since) = self.unflushed_since.take()
            && self.stalled_since.get().is_none()
        {
            self.recorder.forward_delay(since.elapsed());
        }
    }

    pub(super) fn cut(&self, reason: EndReason) {
        self.cut.set(Some(reason));
    }

    pub(super) fn why_cut(&self) -> Option<EndReason> {
        self.cut.get()
    }

    /// The socket has read a head to its end.
    pub(super) fn head_over(&self, head: Head) {
        self.head.set(Some(head));
    }

    /// hyper has a request with this framing. True if no whole head was seen, or an ambiguous one.
    pub(super) fn call_begins(&self, length: Length) -> bool {
        self.called.set(Some(length));
        self.head.take().is_none_or(|head| head.is_ambiguous)
    }

    /// The last answer begins, and the rest of its request will not be read.
    pub(super) fn leaves_unread(&self) {
        self.unread.set(true);
    }

    /// Whether the client may still be sending what nobody will read: a body, or what follows a head that hyper
    /// has refused itself.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.get() || self.head.get().is_some()
    }

    /// The connection is ended, but for bytes that come in.
    pub(super) fn lingers(&self) {
        if self.lingers_since.get().is_none() {
            self.lingers_since.set(Some(Instant::now()));
        }
    }

    pub(super) fn lingers_since(&self) -> Option<Instant> {
        self.lingers_since.get()
    }

    /// The framing of the request that hyper called for, once.
    pub(super) fn take_called(&self) -> Option<Length> {
        self.called.take()
    }

    /// The reader wants to be woken when nothing is in flight.
    pub(super) fn wait_for_turn(&self, reader: &Waker) {
        let known = self.next_turn.take().filter(|known| known.will_wake(reader));
        self.next_turn.replace(Some(known.unwrap_or_else(|| reader.clone())));
    }
}
