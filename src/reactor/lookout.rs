//! What ends a rest early: an epoll instance of its own, asked while the worker rests and at no other time.
//!
//! In it are the listeners, the clients' connections (what comes there is a request, or they leave), upstream
//! connections while somebody waits for a first byte, and those that are being made. An upstream connection
//! whose stream runs is muted: its chunks are what a rest is meant to gather. So a chunk costs no call here, a
//! connection one, and a stream two.
//!
//! An HTTP/2 connection to an upstream is muted for as long as any stream on it runs, though others may wait for
//! their first byte: readiness does not say for which of them bytes have come. Were it urgent while anybody waits,
//! the chunks of a hundred running siblings would end every rest, because on a shared connection somebody always
//! waits; that is the same as no rests, and a first token is late by no more than a rest.
//!
//! It is level-triggered. What was ready in the last turn and has been read since, the kernel finds empty when
//! the rest begins and forgets; nobody needs to take it out.
//!
//! **A connection ends one rest, and none after it until something has been read of it.** Else one that nobody
//! reads, of a client whose next request came while its stream runs, would end them all. What has ended a rest
//! is asked for by name, which disarms it (`EPOLLONESHOT`), and reading arms it again.
//!
//! Neither driver's: a socket of either holds a [`Watched`] and tells it what happens.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::time::Instant;

use super::turn::TRIMMED_FROM;

/// Bytes, connections, or the end of them.
const URGENT: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ONESHOT);
/// A connection that stands, or has failed.
const CONNECTED: EventFlags = EventFlags::OUT.union(EventFlags::ONESHOT);
/// Nothing but a reset or a failure, of which the kernel tells always.
const MUTED: EventFlags = EventFlags::ONESHOT;
/// How many are asked for by name when a rest ends. Those beyond them may end the next.
const NAMED_MAX: usize = 64;

thread_local! {
    /// This thread's, where it is a worker that rests.
    static HERE: RefCell<Option<Lookout>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Lookout {
    epoll: OwnedFd,
    states: RefCell<States>,
}

/// By key. A byte each and densely, because a chunk looks at one.
#[derive(Debug, Default)]
struct States {
    all: Vec<State>,
    /// Keys that nobody has.
    free: Vec<u32>,
}

/// Of a watched socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What comes ends a rest.
    Armed,
    /// Has ended one, and has not been read since. The kernel tells nothing of it.
    Spent,
    /// What comes can wait.
    Muted,
    /// Nobody's.
    Free,
}

/// A socket's place in its worker's lookout; it goes with the socket. None where workers don't rest, and then
/// everything here does nothing.
///
/// The place does not hold the socket, so each call is given it. Four bytes, and stays on its thread.
#[derive(Debug)]
pub(super) struct Watched {
    /// [`NOWHERE`] if there is no place.
    key: u32,
    _local: PhantomData<Rc<()>>,
}

/// A key that nothing has.
const NOWHERE: u32 = u32::MAX;

/// From now on sockets of this thread are watched.
pub(super) fn begin() -> Result<(), Errno> {
    HERE.with_borrow_mut(|here| {
        // One that is there has its sockets.
        if here.is_none() {
            *here = Some(Lookout { epoll: epoll::create(CreateFlags::CLOEXEC)?, states: RefCell::default() });
        }
        Ok(())
    })
}

/// Blocks the thread for as long, or until something urgent comes, and returns whether it did.
pub(super) fn rest(time: Duration) -> bool {
    HERE.with_borrow(|here| here.as_ref().is_some_and(|lookout| lookout.rest(time)))
}

/// Gives back what a peak of sockets has left.
pub(super) fn trim() {
    HERE.with_borrow(|here| {
        if let Some(lookout) = here {
            lookout.states.borrow_mut().trim();
        }
    });
}

impl Lookout {
    fn rest(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut left = time;
        while let Ok(timeout) = Timespec::try_from(left)
            && !left.is_zero()
        {
            match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return false,
                Ok(_) if self.disarm() => return true,
                // Gone again before it could be named, or a signal.
                Ok(_) | Err(Errno::INTR) => {}
                // Out of memory: no rest is better than one that can't be ended.
                Err(_) => return false,
            }
            left = end.saturating_duration_since(Instant::now());
        }
        false
    }

    /// Asks who has ended the rest, and returns whether anybody has.
    fn disarm(&self) -> bool {
        let mut buffer = [const { MaybeUninit::<Event>::uninit() }; NAMED_MAX];
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut buffer[..], Some(&Timespec::default())) else {
            return false;
        };
        let mut states = self.states.borrow_mut();
        for event in events.iter() {
            let key = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            if let Some(state) = states.all.get_mut(key)
                && *state == State::Armed
            {
                *state = State::Spent;
            }
        }
        !events.is_empty()
    }
}

impl Lookout {
    fn state(&self, key: u32) -> State {
        self.states.borrow().all[key as usize]
    }

    fn note(&self, key: u32, state: State) {
        self.states.borrow_mut().all[key as usize] = state;
    }

    /// Tells the kernel, and notes it.
    fn set(&self, socket: impl AsFd, key: u32, state: State) {
        let events = if state == State::Muted { MUTED } else { URGENT };
        match epoll::modify(&self.epoll, socket, data(key), events) {
            Ok(()) => self.note(key, state),
            Err(error) => tracing::debug!(%error, "what ends a rest can't be changed"),
        }
    }
}

impl States {
    fn insert(&mut self) -> u32 {
        if let Some(key) = self.free.pop() {
            self.all[key as usize] = State::Armed;
            return key;
        }
        self.all.push(State::Armed);
        u32::try_from(self.all.len() - 1).expect("fewer sockets than descriptors")
    }

    fn remove(&mut self, key: u32) {
        self.all[key as usize] = State::Free;
        self.free.push(key);
    }
}

impl States {
    /// Forgets the keys behind the last that somebody has, where most are free.
    fn trim(&mut self) {
        if self.all.len() > TRIMMED_FROM && self.free.len() > self.all.len() / 4 * 3 {
            let taken = self.all.iter().rposition(|state| *state != State::Free).map_or(0, |last| last + 1);
            self.all.truncate(taken);
            self.free.retain(|key| (*key as usize) < taken);
            self.all.shrink_to_fit();
            self.free.shrink_to_fit();
        }
    }
}

impl Watched {
    /// Watches a connection or a listener: urgent, until told otherwise.
    pub(super) fn new(socket: impl AsFd) -> Self {
        Self::add(socket, URGENT)
    }

    /// Watches a socket that is about to connect: done is urgent. It is to be [`connected`](Self::connected).
    pub(super) fn connecting(socket: impl AsFd) -> Self {
        Self::add(socket, CONNECTED)
    }

    fn add(socket: impl AsFd, events: EventFlags) -> Self {
        let mut watched = Self { key: NOWHERE, _local: PhantomData };
        HERE.with_borrow(|here| {
            let Some(lookout) = here else { return };
            let key = lookout.states.borrow_mut().insert();
            match epoll::add(&lookout.epoll, socket, data(key), events) {
                Ok(()) => watched.key = key,
                Err(error) => {
                    // At the limit on watches. It is served as everything is, at the latest when the rest is over.
                    tracing::debug!(%error, "a socket can't end a rest");
                    lookout.states.borrow_mut().remove(key);
                }
            }
        });
        watched
    }

    /// Does something with the lookout, if there is a place in it. None is left when the thread is about to end.
    fn with(&self, act: impl FnOnce(&Lookout)) {
        if self.key != NOWHERE {
            // The error is that of a thread that ends.
            HERE.try_with(|here| {
                if let Some(lookout) = &*here.borrow() {
                    act(lookout);
                }
            })
            .ok();
        }
    }

    /// The connection stands: from now on as any other.
    pub(super) fn connected(&self, socket: impl AsFd) {
        self.with(|lookout| lookout.set(socket, self.key, State::Armed));
    }

    /// Whether what comes ends a rest. No call where nothing changes.
    pub(super) fn urgent(&self, socket: impl AsFd, urgent: bool) {
        self.with(|lookout| match (lookout.state(self.key), urgent) {
            (State::Spent | State::Muted, true) => lookout.set(socket, self.key, State::Armed),
            (State::Armed, false) => lookout.set(socket, self.key, State::Muted),
            // The kernel tells nothing of it as it is.
            (State::Spent, false) => lookout.note(self.key, State::Muted),
            (State::Armed, true) | (State::Muted, false) | (State::Free, _) => {}
        });
    }

    /// Something has been read of it: bytes, or a connection. No call unless it has ended a rest before.
    pub(super) fn read(&self, socket: impl AsFd) {
        self.with(|lookout| {
            if lookout.state(self.key) == State::Spent {
                lookout.set(socket, self.key, State::Armed);
            }
        });
    }

    /// Takes a socket out that stays open: it moves to another worker.
    pub(super) fn leave(self, socket: impl AsFd) {
        self.with(|lookout| {
            if let Err(error) = epoll::delete(&lookout.epoll, socket) {
                tracing::debug!(%error, "a socket can't be let go of");
            }
        });
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The kernel forgets the socket when it is closed. Where something still holds it open, the key may be
        // another's by then: that one is taken for spent once, until it is read.
        self.with(|lookout| lookout.states.borrow_mut().remove(self.key));
    }
}

fn data(key: u32) -> EventData {
    EventData::new_u64(key.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use socket2::{Domain, Socket, Type};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::runtime;

    use super::*;
    use crate::config::Address;
    use crate::reactor::{Conn, SocketOptions};

    /// Whether something ends a rest; else it is one that nobody wants to wait for.
    fn is_cut() -> bool {
        rest(Duration::from_mins(10))
    }

    /// Whether nothing ends a rest.
    fn is_whole() -> bool {
        !rest(Duration::from_millis(1))
    }

    fn watched_pair() -> (UnixStream, Watched, UnixStream) {
        begin().expect("a lookout");
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let watched = Watched::new(&ours);
        (ours, watched, theirs)
    }

    #[test]
    fn a_rest_under_way_ends() {
        let (_ours, _watched, mut theirs) = watched_pair();
        let writer = thread::spawn(move || {
            theirs.write_all(b"a").expect("written");
            theirs
        });
        assert!(is_cut());
        drop(writer.join().expect("no panic"));
    }

    #[test]
    fn what_was_read_before_the_rest_does_not_end_it() {
        let (mut ours, watched, mut theirs) = watched_pair();
        for _ in 0..3 {
            theirs.write_all(b"a").expect("written");
            ours.read_exact(&mut [0]).expect("read");
            watched.read(&ours);
            assert!(is_whole());
        }
        theirs.write_all(b"a").expect("written");
        assert!(is_cut());
    }

    #[test]
    fn each_reading_gives_the_right_to_end_one_rest() {
        let (mut ours, watched, mut theirs) = watched_pair();
        theirs.write_all(b"ab").expect("written");
        assert!(is_cut());
        theirs.write_all(b"c").expect("written");
        for _ in 0..3 {
            assert!(is_whole(), "nobody has read");
        }
        ours.read_exact(&mut [0]).expect("read");
        watched.read(&ours);
        assert!(is_cut(), "there is more");
        ours.read_exact(&mut [0; 2]).expect("read");
        watched.read(&ours);
        assert!(is_whole());
        theirs.write_all(b"d").expect("written");
        assert!(is_cut());
    }

    #[test]
    fn one_that_nobody_reads_keeps_no_other_from_it() {
        let (_ours, _watched, mut theirs) = watched_pair();
        let (mut other, mut its_peer) = UnixStream::pair().expect("a pair");
        let other_watched = Watched::new(&other);
        theirs.write_all(b"a").expect("written");
        assert!(is_cut());
        for _ in 0..3 {
            its_peer.write_all(b"a").expect("written");
            assert!(is_cut());
            other.read_exact(&mut [0]).expect("read");
            other_watched.read(&other);
            assert!(is_whole());
        }
    }

    #[test]
    fn the_muted_end_none_until_they_are_urgent_again() {
        let (mut ours, watched, mut theirs) = watched_pair();
        watched.urgent(&ours, false);
        theirs.write_all(b"a").expect("written");
        assert!(is_whole());
        watched.urgent(&ours, true);
        assert!(is_cut());
        // Spent, muted, and read.
        watched.urgent(&ours, false);
        ours.read_exact(&mut [0]).expect("read");
        watched.read(&ours);
        theirs.write_all(b"a").expect("written");
        assert!(is_whole());
        watched.urgent(&ours, true);
        assert!(is_cut());
        watched.urgent(&ours, true);
        assert!(is_cut(), "who says so again means what comes next");
    }

    #[test]
    fn leaving_ends_one_rest() {
        let (ours, _watched, theirs) = watched_pair();
        drop(theirs);
        assert!(is_cut() && is_whole());
        let (other, its_peer) = UnixStream::pair().expect("a pair");
        let other_watched = Watched::new(&other);
        other_watched.urgent(&other, false);
        drop(its_peer);
        assert!(is_cut() && is_whole(), "a hang-up is told of the muted too");
        drop((ours, other));
    }

    #[test]
    fn the_closed_are_forgotten() {
        let (ours, watched, mut theirs) = watched_pair();
        theirs.write_all(b"a").expect("written");
        drop((ours, watched));
        assert!(is_whole());
        HERE.with_borrow(|here| {
            let states = here.as_ref().expect("begun").states.borrow();
            assert_eq!(states.all.len(), states.free.len());
        });
    }

    #[test]
    fn keys_of_a_peak_are_forgotten_down_to_the_last_that_is_taken() {
        let mut states = States::default();
        let keys: Vec<u32> = (0..10 * TRIMMED_FROM).map(|_| states.insert()).collect();
        let (gone, kept): (Vec<u32>, Vec<u32>) = keys.into_iter().partition(|key| *key != 7);
        gone.into_iter().rev().for_each(|key| states.remove(key));
        states.trim();
        assert_eq!((states.all.len(), states.free.len(), kept), (8, 7, vec![7]));
        let mut again: Vec<u32> = (0..8).map(|_| states.insert()).collect();
        again.sort_unstable();
        assert_eq!(again, [0, 1, 2, 3, 4, 5, 6, 8]);
    }

    #[test]
    fn those_that_leave_are_watched_where_they_arrive() {
        let (ours, watched, mut theirs) = watched_pair();
        watched.leave(&ours);
        theirs.write_all(b"a").expect("written");
        assert!(is_whole());
        let elsewhere = thread::spawn(move || {
            begin().expect("a lookout");
            let _watched = Watched::new(&ours);
            is_cut()
        });
        assert!(elsewhere.join().expect("no panic"));
        assert!(is_whole());
    }

    #[test]
    fn connections_to_accept_end_rests() {
        begin().expect("a lookout");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let watched = Watched::new(&listener);
        assert!(is_whole());
        let address = listener.local_addr().expect("an address");
        let _clients = [(); 2].map(|()| TcpStream::connect(address).expect("connected"));
        assert!(is_cut() && is_whole());
        listener.accept().expect("accepted");
        watched.read(&listener);
        assert!(is_cut(), "there is another");
        listener.accept().expect("accepted");
        watched.read(&listener);
        assert!(is_whole());
    }

    #[test]
    fn a_connection_that_stands_ends_a_rest() {
        begin().expect("a lookout");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).expect("a socket");
        let watched = Watched::connecting(&socket);
        // In progress, it says.
        drop(socket.connect(&address.into()));
        assert!(is_cut() && is_whole());
        watched.connected(&socket);
        assert!(is_whole());
        let (mut accepted, _) = listener.accept().expect("accepted");
        accepted.write_all(b"a").expect("written");
        assert!(is_cut());
    }

    #[test]
    fn without_a_lookout_nothing_happens() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let watched = Watched::new(&ours);
        theirs.write_all(b"a").expect("written");
        watched.read(&ours);
        watched.urgent(&ours, false);
        watched.urgent(&ours, true);
        watched.connected(&ours);
        watched.leave(&ours);
        assert!(is_whole());
    }

    #[test]
    fn conns_are_watched() {
        begin().expect("a lookout");
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
            let address = Address::Tcp(listener.local_addr().expect("an address"));
            let mut conn = Conn::connect(&address, SocketOptions::default()).await.expect("connected");
            let (mut peer, _) = listener.accept().expect("accepted");
            assert!(is_whole());
            for _ in 0..2 {
                peer.write_all(b"a").expect("written");
                assert!(is_cut() && is_whole());
                conn.read_u8().await.expect("a byte");
                assert!(is_whole());
            }
            let urgent = conn.urgency();
            urgent(false);
            peer.write_all(b"a").expect("written");
            assert!(is_whole());
            conn.urgent(true);
            assert!(is_cut());
            let moving = conn.leave().expect("let go");
            peer.write_all(b"a").expect("written");
            urgent(true);
            assert!(is_whole());
            let mut conn = Conn::arrive(moving).expect("taken");
            assert!(is_cut());
            conn.read_exact(&mut [0; 2]).await.expect("bytes");
            conn.shutdown().await.expect("shut down");
            assert!(is_whole());
            drop(peer);
            assert!(is_cut());
        });
    }
}
